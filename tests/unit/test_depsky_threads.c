/* SPDX-License-Identifier: MIT */
/*
 * The layer on the real loop and its pool: many puts and gets at once. With VARIANT=tsan this shows
 * that pool jobs touch nothing but their own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backends/mem.h"
#include "backends/registry.h"
#include "base/crypto.h"
#include "base/os_loop.h"
#include "tests/lib/ds_rig.h"

#define OBJECTS 24u

struct pair {
    struct all *all;
    struct ds_put p;
    struct ds_get g;
    struct c2_slice piece;
    struct c2_blob *data;
    uint64_t offset, len;
};

struct all {
    struct ds_client *c;
    unsigned left;
    bool done;
    struct pair pair[OBJECTS];
};

static void
got(struct ds_get *g)
{
    struct pair *x = C2_CONTAINER_OF(g, struct pair, g);
    assert_int_equal(g->err, C2_E_OK);
    assert_int_equal(g->data->len, x->len);
    assert_memory_equal(g->data->data, x->data->data + x->offset, x->len);
    c2_blob_unref(g->data);
    x->all->done = --x->all->left == 0;
}

static void
stored(struct ds_put *p)
{
    struct pair *x = C2_CONTAINER_OF(p, struct pair, p);
    assert_int_equal(p->err, C2_E_OK);
    x->g.ref = p->ref;
    x->g.offset = x->offset;
    x->g.len = x->len;
    x->g.done = got;
    ds_get_start(x->all->c, &x->g);
}

static void
set_flag(void *arg)
{
    *(bool *)arg = true;
}

static void
run_all(enum ds_engine engine, enum ds_compress compress)
{
    struct c2_os *os;
    struct provider *seat[4];
    struct ds_config config;
    static struct all all;
    assert_int_equal(c2_os_new(4, &os), C2_E_OK);
    struct c2_env *env = c2_os_env(os);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(prov_fault_new(prov_mem_new(env, "cloud"), i == 1 ? "get.corrupt:20%" : "",
                                        i, &seat[i]),
                         C2_E_OK);
    ds_config_default(&config);
    config.engine = engine;
    config.compress = compress;
    memset(&all, 0, sizeof(all));
    all.left = OBJECTS;
    assert_int_equal(ds_client_new(env, &config, seat, &all.c), C2_E_OK);
    for (unsigned i = 0; i < OBJECTS; i++) {
        struct pair *x = &all.pair[i];
        size_t len = 1 + i * 37000u;
        x->all = &all;
        x->data = i % 2 == 0 ? ds_rig_random(i, len) : ds_rig_text(len);
        x->offset = len / 3;
        x->len = len - x->offset;
        x->piece = c2_blob_slice(x->data);
        x->p.data = &x->piece;
        x->p.ndata = 1;
        x->p.oid = (struct ds_oid){ .sid = 1, .seq = i };
        x->p.done = stored;
        ds_put_start(all.c, &x->p);
    }
    c2_os_run_until(os, &all.done);
    bool drained = false;
    ds_client_drain(all.c, set_flag, &drained);
    c2_os_run_until(os, &drained);
    ds_client_free(all.c);
    for (unsigned i = 0; i < OBJECTS; i++)
        c2_blob_unref(all.pair[i].data);
    for (unsigned i = 0; i < 4; i++)
        prov_close(seat[i]);
    c2_os_free(os);
}

static void
threads__do_not_meet_with_isal(void **state)
{
    (void)state;
    run_all(DS_ENGINE_ISAL, DS_COMPRESS_ISAL);
}

static void
threads__do_not_meet_with_jerasure_and_zlib(void **state)
{
    (void)state;
    run_all(DS_ENGINE_JERASURE, DS_COMPRESS_ZLIB);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads__do_not_meet_with_isal),
        cmocka_unit_test(threads__do_not_meet_with_jerasure_and_zlib),
    };
    C2_ASSERT(c2_crypto_init() == C2_E_OK);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
