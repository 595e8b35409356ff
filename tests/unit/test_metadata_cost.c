/* SPDX-License-Identifier: MIT */
/*
 * What a checkpoint costs, as counts: it follows what has changed, not what there is.
 */
#include "metadata/store.h"

#include "base/alloc.h"
#include "base/os_lock.h"
#include "metadata/cmd.h"
#include "tests/lib/test_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEYS       100000u
#define PUTS       1000u /* in one transaction */
#define CHANGED    100u
#define PAGE       4096u
#define PAGES_EACH 16u /* a leaf in each of three tables, their parents, and what LMDB keeps */
#define VALUE_LEN  64

struct rig {
    struct test_env *t;
    char *path;
    struct replica_app *app;
    struct replica_batch *batch;
    uint64_t time_ns;
};

static int
set_up(void **state)
{
    struct rig *g = c2_calloc(1, sizeof *g);
    const struct store_options o = { .map_size = 256u << 20, .create = true, .replicated = true };
    char *error = NULL;
    g->t = test_env_new(1);
    g->path = test_env_path(g->t, "store");
    assert_int_equal(store_open(g->path, &o, &g->app, &error), C2_E_OK);
    *state = g;
    return 0;
}

static int
tear_down(void **state)
{
    struct rig *g = *state;
    g->app->ops->close(g->app);
    c2_free(g->path);
    test_env_free(g->t);
    c2_free(g);
    return 0;
}

/* Bytes that this process has given to write(2) and its like. */
static uint64_t
written(void)
{
    char text[512];
    FILE *f = fopen("/proc/self/io", "r");
    assert_non_null(f);
    size_t len = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    text[len] = '\0';
    const char *at = strstr(text, "wchar: ");
    assert_non_null(at);
    return strtoull(at + 7, NULL, 10);
}

/* Puts `count` keys, `step` apart, in one transaction. */
static void
put(struct rig *g, unsigned first, unsigned step, unsigned count)
{
    static char names[PUTS][24], value[VALUE_LEN];
    static struct coord_op ops[PUTS];
    struct c2_buf cmd = { 0 }, reply = { 0 };
    assert_true(count <= PUTS);
    for (unsigned i = 0; i < count; i++) {
        int len = snprintf(names[i], sizeof names[i], "key/%09u", first + i * step);
        ops[i] = (struct coord_op){ .kind = COORD_PUT, .key = c2_slice(names[i], (size_t)len) };
        ops[i].value = c2_slice(value, sizeof value);
    }
    const struct coord_req r = { .verb = COORD_TXN, .ops = ops, .nops = count };
    coord_txn_encode(&r, &cmd);
    enum c2_err err = g->app->ops->apply(g->batch, ++g->time_ns, NULL, c2_buf_slice(&cmd), &reply);
    assert_int_equal(err, C2_E_OK);
    c2_buf_done(&cmd);
    c2_buf_done(&reply);
}

static void
begin(struct rig *g)
{
    assert_int_equal(g->app->ops->begin(g->app, &g->batch), C2_E_OK);
}

/* Returns the pages that it wrote. */
static uint64_t
checkpoint(struct rig *g, uint8_t digest[32])
{
    uint64_t before = written();
    assert_int_equal(g->app->ops->digest(g->batch, digest), C2_E_OK);
    assert_int_equal(g->app->ops->commit(g->batch), C2_E_OK);
    uint64_t after = written();
    g->app->ops->end(g->batch);
    return (after - before) / PAGE;
}

static void
checkpoint__follows_what_has_changed_and_not_what_there_is(void **state)
{
    struct rig *g = *state;
    uint8_t digest[32];
    struct store_verified v;
    uint64_t size = 0;
    begin(g);
    for (unsigned first = 0; first < KEYS; first += PUTS)
        put(g, first, 1, PUTS);
    uint64_t all = checkpoint(g, digest);
    begin(g);
    put(g, 7, KEYS / CHANGED, CHANGED);
    uint64_t some = checkpoint(g, digest);
    begin(g);
    put(g, 7, KEYS / CHANGED, 1);
    uint64_t one = checkpoint(g, digest);
    print_message("pages: %u keys %llu, %u keys %llu, 1 key %llu\n", KEYS, (unsigned long long)all,
                  CHANGED, (unsigned long long)some, (unsigned long long)one);
    assert_true(one > 0 && one <= 4 * PAGES_EACH);
    assert_true(some > CHANGED && some <= CHANGED * PAGES_EACH);

    /* What was hashed little by little is what all of it hashes to. */
    assert_int_equal(store_verify(g->app, &v), C2_E_OK);
    assert_int_equal(v.keys, KEYS);
    assert_memory_equal(v.digest, digest, sizeof digest);
    C2_AUTO(c2_free_auto) char *file = c2_asprintf("%s/data.mdb", g->path);
    assert_int_equal(c2_os_file_size(file, &size), C2_E_OK);
    assert_true(size / PAGE > 4ull * CHANGED * PAGES_EACH); /* far more than was written */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(checkpoint__follows_what_has_changed_and_not_what_there_is,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
