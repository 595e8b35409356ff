/* SPDX-License-Identifier: MIT */
/*
 * Values of the volume's own keys as a hostile coordination service may return them: 'C' the
 * configuration (behind its seal), 'V' the unsealed identity, 'S' any value with its seal:
 *
 *   len key   n, n edits (u16 at, u8 xor) of the sealed bytes   u8 cut   u8 other   plaintext
 *
 * and 'O' the key of an object.
 *
 * A sealed value opens when it is the one that was written, under its key (`other` changes that);
 * a key of an object is one object's.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/wire.h"
#include "fs/object_record.h"
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

static struct keys *keys;

static void
free_keys(void)
{
    keys_free(keys);
}

static void
make_keys(void)
{
    static const uint8_t volume_key[C2_KEY_LEN] = { 1 }, uuid[16] = { 2 };
    C2_ASSERT(c2_crypto_init() == C2_E_OK);
    keys = keys_new(volume_key, uuid);
    keys_set_session(keys, 1);
    (void)atexit(free_keys);
}

static bool
opens(struct c2_slice key, struct c2_slice sealed, struct c2_slice plain)
{
    struct c2_buf found = { 0 };
    c2_buf_puts(&found, "before");
    enum c2_err err = keys_open(keys, key, sealed, &found);
    C2_ASSERT(found.len == strlen("before") + (err == C2_E_OK ? plain.len : 0));
    C2_ASSERT(err != C2_E_OK || plain.len == 0 ||
              memcmp(found.data + strlen("before"), plain.data, plain.len) == 0);
    c2_buf_done(&found);
    return err == C2_E_OK;
}

static void
sealed_value(struct c2_rd *in)
{
    struct c2_buf sealed = { 0 }, edited = { 0 }, place = { 0 };
    struct c2_slice key = c2_rd_raw(in, c2_rd_u8(in));
    struct c2_rd edits = c2_rd_init(c2_rd_raw(in, 3u * c2_rd_u8(in)));
    size_t cut = c2_rd_u8(in);
    uint8_t other = c2_rd_u8(in);
    struct c2_slice plain = c2_rd_raw(in, c2_rd_left(in));
    if (!c2_rd_ok(in))
        return;
    keys_seal(keys, key, plain, &sealed);
    C2_ASSERT(opens(key, c2_buf_slice(&sealed), plain));
    c2_buf_append(&edited, sealed.data, sealed.len);
    while (c2_rd_left(&edits) > 0) {
        size_t at = c2_rd_u16(&edits) % sealed.len;
        edited.data[at] ^= c2_rd_u8(&edits);
    }
    edited.len -= C2_MIN(cut, edited.len);
    c2_buf_append(&place, key.data, key.len);
    if (key.len > 0)
        place.data[0] ^= other;
    bool same = c2_slice_equal(c2_buf_slice(&edited), c2_buf_slice(&sealed)) &&
                c2_slice_equal(c2_buf_slice(&place), key);
    C2_ASSERT(opens(c2_buf_slice(&place), c2_buf_slice(&edited), plain) == same);
    c2_buf_done(&sealed);
    c2_buf_done(&edited);
    c2_buf_done(&place);
}

static void
object_key(struct c2_slice in)
{
    struct ds_oid oid = { 0 };
    if (fs_object_key_decode(in, &oid) != C2_E_OK)
        return;
    struct ck again = ck_object(&oid);
    C2_ASSERT(c2_slice_equal(c2_slice(in.data + 1, in.len - 1),
                             c2_slice(again.bytes + 1, again.len - 1)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (keys == NULL)
        make_keys();
    if (size == 0)
        return 0;
    struct c2_rd in = c2_rd_init(c2_slice(data + 1, size - 1));
    if (data[0] == 'C')
        config(c2_slice(data + 1, size - 1));
    else if (data[0] == 'V')
        identity(c2_slice(data + 1, size - 1));
    else if (data[0] == 'S')
        sealed_value(&in);
    else if (data[0] == 'O')
        object_key(c2_slice(data + 1, size - 1));
    return 0;
}
