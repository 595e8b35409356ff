/* SPDX-License-Identifier: MIT */
#include "tests/lib/recover_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "backends/mem.h"
#include "base/alloc.h"

/* ---- files ---------------------------------------------------------------------------------- */

void
file_name(unsigned k, char out[32])
{
    snprintf(out, 32, "file-%u", k);
}

void
put_files(struct fsx *x, unsigned from, unsigned to)
{
    char name[32];
    for (unsigned k = from; k < to; k++) {
        size_t len = 100 + (size_t)k * 777;
        uint8_t *data = fsx_bytes(k, len);
        file_name(k, name);
        fsx_put(x, FS_ROOT_INO, name, data, len);
        c2_free(data);
    }
}

void
expect_files(struct fsx *x, unsigned from, unsigned to)
{
    char name[32];
    for (unsigned k = from; k < to; k++) {
        size_t len = 100 + (size_t)k * 777;
        uint8_t *data = fsx_bytes(k, len);
        file_name(k, name);
        fsx_expect(x, FS_ROOT_INO, name, data, len);
        c2_free(data);
    }
}

void
expect_absent(struct fsx *x, unsigned k)
{
    struct fs_attr a;
    char name[32];
    file_name(k, name);
    assert_int_equal(fsx_lookup(x, FS_ROOT_INO, name, &a), C2_E_NOT_FOUND);
}

/* ---- recovering ----------------------------------------------------------------------------- */

static void
recover_done(struct recover *r)
{
    C2_CONTAINER_OF(r, struct recover_call, r)->done = true;
}

void
recover_begin(struct fsx *y, struct recover_call *call)
{
    fsx_create_store(y);
    fsx_connect(y);
    call->done = false;
    call->r.env = y->env;
    call->r.ds = y->ds;
    call->r.coord = y->coord;
    call->r.done = recover_done;
    memcpy(call->r.uuid, fsx_uuid, sizeof(call->r.uuid));
    if (!y->keyless)
        call->r.volume_key = fsx_volume_key;
    recover_start(&call->r);
    assert_false(call->done);
}

void
recover_finish(struct fsx *y, struct recover_call *call)
{
    test_env_run_until(y->t, &call->done);
    fsx_disconnect(y);
    fsx_close_store(y);
    c2_buf_done(&call->r.config);
}

struct recover
recover_with(struct fsx *y, struct recover request)
{
    struct recover_call call = { .r = request };
    recover_begin(y, &call);
    recover_finish(y, &call);
    return call.r;
}

struct recover_report
recover(struct fsx *y)
{
    struct recover r = recover_with(y, (struct recover){ 0 });
    if (r.err != C2_E_OK)
        fail_msg("recover: %s", r.error);
    return r.report;
}

enum c2_err
recover_fails(struct fsx *y, struct recover request)
{
    struct recover r = recover_with(y, request);
    if (r.err == C2_E_OK)
        fail_msg("recovered");
    assert_non_null(r.error);
    c2_free(r.error);
    return r.err;
}

unsigned
count_keys(struct fsx *x, unsigned seat, const char *folder)
{
    unsigned n = 0;
    for (size_t k = 0; prov_mem_key(x->mem[seat], k) != NULL; k++)
        n += strstr(prov_mem_key(x->mem[seat], k), folder) != NULL;
    return n;
}

/* The journal or checkpoint key number `index` of a seat, counted from the end when negative. */
const char *
key_of(struct fsx *x, unsigned seat, const char *folder, int index)
{
    if (index < 0)
        index += (int)count_keys(x, seat, folder);
    for (size_t k = 0; prov_mem_key(x->mem[seat], k) != NULL; k++) {
        const char *key = prov_mem_key(x->mem[seat], k);
        if (strstr(key, folder) != NULL && index-- == 0)
            return key;
    }
    fail_msg("no such key");
    return NULL;
}
