/* SPDX-License-Identifier: MIT */
/*
 * Values of the volume's own keys as a hostile coordination service may return them: 'C' the
 * configuration (behind its seal), 'V' the unsealed identity.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "fs/volume.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What decodes is canonical. */
static void
config(struct c2_slice in)
{
    struct volume_config c;
    struct c2_buf again = { 0 };
    if (volume_config_decode(in, &c) != C2_E_OK)
        return;
    volume_config_encode(&c, &again);
    C2_ASSERT(c2_slice_equal(in, c2_buf_slice(&again)));
    c2_buf_done(&again);
}

static void
identity(struct c2_slice in)
{
    struct volume_id id;
    struct c2_buf again = { 0 };
    if (volume_id_decode(in, &id) != C2_E_OK)
        return;
    volume_id_encode(&id, &again);
    C2_ASSERT(c2_slice_equal(in, c2_buf_slice(&again)));
    c2_buf_done(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] == 'C')
        config(c2_slice(data + 1, size - 1));
    else if (data[0] == 'V')
        identity(c2_slice(data + 1, size - 1));
    return 0;
}
