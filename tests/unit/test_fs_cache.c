/* SPDX-License-Identifier: MIT */
#include "fs/cache_file.h"

#include "base/alloc.h"
#include "base/mark.h"
#include "tests/lib/test_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BLOCK ((size_t)CACHE_BLOCK_SIZE)

struct rig {
    struct test_env *env;
    struct cache *cache;
    struct cache_config config;
    bool drained;
};

static void
drained(void *arg)
{
    *(bool *)arg = true;
}

static void
rig_open(struct rig *r)
{
    assert_int_equal(cache_new(test_env_env(r->env), &r->config, &r->cache), C2_E_OK);
}

static void
rig_close(struct rig *r)
{
    r->drained = false;
    cache_drain(r->cache, drained, &r->drained);
    assert_false(r->drained);
    test_env_run_until(r->env, &r->drained);
    cache_free(r->cache);
    r->cache = NULL;
}

static void
rig_reopen(struct rig *r)
{
    rig_close(r);
    rig_open(r);
    test_env_run_ready(r->env);
}

static struct rig *
rig_new(uint64_t memory_blocks, uint64_t disk_blocks)
{
    struct rig *r = c2_calloc(1, sizeof *r);
    r->env = test_env_new(3);
    r->config.dir = disk_blocks == 0 ? NULL : test_env_path(r->env, "cache");
    r->config.memory_max = memory_blocks * BLOCK;
    r->config.disk_max = disk_blocks * CACHE_FILE_MAX;
    memset(r->config.key, 0x33, sizeof r->config.key);
    rig_open(r);
    test_env_run_ready(r->env);
    return r;
}

static void
rig_free(struct rig *r)
{
    if (r->cache != NULL)
        rig_close(r);
    c2_free((void *)(uintptr_t)r->config.dir);
    test_env_free(r->env);
    c2_free(r);
}

static struct ds_oid
oid(uint64_t seq)
{
    return (struct ds_oid){ .sid = 5, .seq = seq, .rnd = "rnd" };
}

static uint8_t
byte_of(uint64_t seq, uint32_t block)
{
    return (uint8_t)(seq * 31 + block * 7 + 1);
}

static void
put_len(struct rig *r, uint64_t seq, uint32_t block, size_t len)
{
    struct ds_oid o = oid(seq);
    struct c2_blob *b = c2_blob_new(len);
    memset(b->data, byte_of(seq, block), len);
    cache_put(r->cache, &o, block, b);
    c2_blob_unref(b);
}

/* Until it is on disk as well. */
static void
put(struct rig *r, uint64_t seq, uint32_t block)
{
    put_len(r, seq, block, BLOCK);
    test_env_run_ready(r->env);
}

struct getting {
    struct cache_get g;
    bool done;
};

static void
got(struct cache_get *g)
{
    C2_CONTAINER_OF(g, struct getting, g)->done = true;
}

static struct c2_blob *
get(struct rig *r, uint64_t seq, uint32_t block)
{
    struct getting x = { .g = { .oid = oid(seq), .block = block, .done = got } };
    cache_get_start(r->cache, &x.g);
    assert_false(x.done);
    test_env_run_until(r->env, &x.done);
    test_env_run_ready(r->env);
    return x.g.data;
}

static void
assert_hit_len(struct rig *r, uint64_t seq, uint32_t block, size_t len)
{
    struct c2_blob *b = get(r, seq, block);
    assert_non_null(b);
    assert_int_equal(b->len, len);
    for (size_t i = 0; i < len; i += 997)
        assert_int_equal(b->data[i], byte_of(seq, block));
    c2_blob_unref(b);
}

static void
assert_hit(struct rig *r, uint64_t seq, uint32_t block)
{
    assert_hit_len(r, seq, block, BLOCK);
}

static void
assert_miss(struct rig *r, uint64_t seq, uint32_t block)
{
    assert_null(get(r, seq, block));
}

static struct cache_stats
stats(const struct rig *r)
{
    struct cache_stats s;
    cache_stats(r->cache, &s);
    return s;
}

static char *
file_of(const struct rig *r, uint64_t seq, uint32_t block, size_t len)
{
    struct ds_oid o = oid(seq);
    return cache_file_path(r->config.dir, &o, block, (uint32_t)len);
}

static bool
on_disk(const struct rig *r, uint64_t seq, uint32_t block)
{
    char *path = file_of(r, seq, block, BLOCK);
    bool exists = test_disk_exists(path);
    c2_free(path);
    return exists;
}

/* ---- memory -------------------------------------------------------------------------------- */

static void
get__finds_what_was_put_in_memory(void **state)
{
    (void)state;
    struct rig *r = rig_new(4, 0);
    struct ds_oid o = oid(1);
    assert_miss(r, 1, 0);
    assert_null(cache_peek(r->cache, &o, 0));
    put(r, 1, 0);
    put(r, 1, 1);
    assert_hit(r, 1, 0);
    assert_hit(r, 1, 1);
    assert_miss(r, 1, 2);
    assert_miss(r, 2, 0);
    struct c2_blob *b = cache_peek(r->cache, &o, 0);
    assert_non_null(b);
    c2_blob_unref(b);
    assert_int_equal(stats(r).hits_memory, 3);
    assert_int_equal(stats(r).misses, 3);
    assert_int_equal(stats(r).memory_bytes, 2 * BLOCK);
    rig_free(r);
}

static void
put__evicts_the_least_recently_used(void **state)
{
    (void)state;
    struct rig *r = rig_new(3, 0);
    for (uint64_t i = 1; i <= 3; i++)
        put(r, i, 0);
    assert_hit(r, 1, 0);
    put(r, 4, 0);
    assert_miss(r, 2, 0);
    assert_hit(r, 1, 0);
    assert_hit(r, 3, 0);
    assert_hit(r, 4, 0);
    assert_int_equal(stats(r).memory_bytes, 3 * BLOCK);
    rig_free(r);
}

static void
eviction__leaves_references_of_others_alone(void **state)
{
    (void)state;
    struct rig *r = rig_new(1, 0);
    put(r, 1, 0);
    struct c2_blob *b = get(r, 1, 0);
    put(r, 2, 0);
    assert_miss(r, 1, 0);
    assert_int_equal(b->data[BLOCK - 1], byte_of(1, 0));
    c2_blob_unref(b);
    rig_free(r);
}

static void
put__larger_than_the_memory_is_ignored(void **state)
{
    (void)state;
    struct rig *r = rig_new(0, 0);
    put(r, 1, 0);
    assert_miss(r, 1, 0);
    assert_int_equal(stats(r).memory_bytes, 0);
    rig_free(r);
}

/* ---- disk ---------------------------------------------------------------------------------- */

static void
get__finds_on_disk_what_left_memory(void **state)
{
    (void)state;
    struct rig *r = rig_new(1, 10);
    put(r, 1, 0);
    put_len(r, 1, 1, 1000); /* pushes out the first */
    test_env_run_ready(r->env);
    put(r, 2, 0);
    assert_hit(r, 1, 0);
    assert_int_equal(stats(r).hits_disk, 1);
    assert_hit(r, 1, 0); /* back in memory */
    assert_int_equal(stats(r).hits_disk, 1);
    assert_hit_len(r, 1, 1, 1000);
    assert_int_equal(stats(r).hits_disk, 2);
    assert_int_equal(stats(r).disk_bytes, 2 * CACHE_FILE_MAX + 1000 + CACHE_FILE_OVERHEAD);
    rig_free(r);
}

static void
scan__finds_the_blocks_of_an_earlier_run(void **state)
{
    (void)state;
    struct rig *r = rig_new(4, 300);
    for (uint64_t i = 0; i < 260; i += 13)
        put(r, i, (uint32_t)i);
    rig_reopen(r);
    assert_int_equal(stats(r).disk_bytes, 20 * CACHE_FILE_MAX);
    assert_int_equal(stats(r).memory_bytes, 0);
    for (uint64_t i = 0; i < 260; i += 13)
        assert_hit(r, i, (uint32_t)i);
    assert_int_equal(stats(r).hits_disk, 20);
    rig_free(r);
}

static void
scan__keeps_within_a_bound_that_became_smaller(void **state)
{
    (void)state;
    struct rig *r = rig_new(1, 10);
    for (uint64_t i = 0; i < 10; i++)
        put(r, i, 0);
    r->config.disk_max = 4 * CACHE_FILE_MAX;
    rig_reopen(r);
    assert_int_equal(stats(r).disk_bytes, 4 * CACHE_FILE_MAX);
    unsigned left = 0;
    for (uint64_t i = 0; i < 10; i++)
        left += on_disk(r, i, 0);
    assert_int_equal(left, 4);
    rig_free(r);
}

static void
scan__ignores_other_files(void **state)
{
    (void)state;
    static const char *const names[] = {
        "00/x",
        "00/" C2_DISK_TMP_PREFIX "0",
        "00/000000000000000500000000000000017200000000000000-00000000",
        "00/000000000000000500000000000000017200000000000000-00000000-ffffffff",
        "00/000000000000000500000000000000017200000000000000-0000000g-00000010",
        "00/000000000000000500000000000000017200000000000000_00000000-00000010",
        "readme",
    };
    struct rig *r = rig_new(1, 10);
    put(r, 0, 0); /* makes the folder 00 */
    rig_close(r);
    for (size_t i = 0; i < C2_ARRAY_LEN(names); i++) {
        char *path = c2_asprintf("%s/%s", r->config.dir, names[i]);
        test_disk_write_file(path, "hello", 5);
        c2_free(path);
    }
    rig_open(r);
    test_env_run_ready(r->env);
    assert_int_equal(stats(r).disk_bytes, CACHE_FILE_MAX);
    rig_free(r);
}

static void
scan__meets_blocks_that_were_put_meanwhile(void **state)
{
    (void)state;
    struct rig *r = rig_new(4, 10);
    put(r, 1, 0);
    put(r, 2, 0);
    rig_close(r);
    rig_open(r);
    put_len(r, 1, 0, BLOCK); /* before the scan */
    put_len(r, 3, 0, BLOCK);
    test_env_run_ready(r->env);
    assert_int_equal(stats(r).disk_bytes, 3 * CACHE_FILE_MAX);
    for (uint64_t i = 1; i <= 3; i++)
        assert_hit(r, i, 0);
    rig_free(r);
}

static void
disk__evicts_the_least_recently_used(void **state)
{
    (void)state;
    struct rig *r = rig_new(1, 3);
    for (uint64_t i = 1; i <= 3; i++)
        put(r, i, 0);
    assert_hit(r, 1, 0);
    put(r, 4, 0);
    assert_true(on_disk(r, 1, 0));
    assert_false(on_disk(r, 2, 0));
    assert_true(on_disk(r, 3, 0));
    assert_true(on_disk(r, 4, 0));
    assert_int_equal(stats(r).disk_bytes, 3 * CACHE_FILE_MAX);
    assert_miss(r, 2, 0);
    assert_hit(r, 3, 0);
    rig_free(r);
}

static void
get__takes_damaged_bytes_for_a_miss_and_removes_them(void **state)
{
    (void)state;
    static const size_t at[] = {
        0, 8, 12, 16, CACHE_FILE_HEAD, CACHE_FILE_HEAD + 500, 1031 + CACHE_FILE_HEAD
    };
    struct rig *r = rig_new(0, 10);
    r->config.memory_max = 1016 + CACHE_FILE_OVERHEAD;
    rig_reopen(r);
    for (size_t i = 0; i < C2_ARRAY_LEN(at); i++) {
        put_len(r, 1, 0, 1016);
        test_env_run_ready(r->env);
        rig_reopen(r);
        char *path = file_of(r, 1, 0, 1016);
        FILE *f = fopen(path, "r+be");
        assert_non_null(f);
        fseek(f, (long)at[i], SEEK_SET);
        int c = getc(f);
        fseek(f, (long)at[i], SEEK_SET);
        putc(c ^ 1, f);
        fclose(f);
        assert_miss(r, 1, 0);
        assert_int_equal(stats(r).damaged, 1);
        assert_int_equal(stats(r).disk_bytes, 0);
        assert_false(test_disk_exists(path));
        put_len(r, 1, 0, 1016); /* and it can be had again */
        test_env_run_ready(r->env);
        rig_reopen(r);
        assert_hit_len(r, 1, 0, 1016);
        c2_free(path);
    }
    rig_free(r);
}

static void
get__takes_truncated_swapped_missing_and_foreign_files_for_a_miss(void **state)
{
    (void)state;
    struct rig *r = rig_new(8, 10);
    put_len(r, 1, 0, 500);
    put_len(r, 2, 0, 500);
    put_len(r, 3, 0, 500);
    put_len(r, 4, 0, 500);
    test_env_run_ready(r->env);
    rig_reopen(r);
    char *one = file_of(r, 1, 0, 500), *two = file_of(r, 2, 0, 500);
    char *three = file_of(r, 3, 0, 500);
    assert_int_equal(rename(two, one), 0); /* another block under this name */
    assert_int_equal(truncate(three, 100), 0);
    assert_miss(r, 1, 0);
    assert_miss(r, 2, 0); /* missing */
    assert_miss(r, 3, 0);
    assert_int_equal(stats(r).damaged, 2);
    r->config.key[0] ^= 1;
    rig_reopen(r);
    assert_miss(r, 4, 0); /* of another key */
    assert_int_equal(stats(r).damaged, 1);
    c2_free(one);
    c2_free(two);
    c2_free(three);
    rig_free(r);
}

static enum c2_err
refuse_reads(void *arg, const struct c2_disk_req *q)
{
    (void)arg;
    return q->verb == C2_DISK_READ ? C2_E_IO : C2_E_OK;
}

static void
get__treats_a_failing_disk_as_a_miss(void **state)
{
    (void)state;
    struct rig *r = rig_new(1, 10);
    put(r, 1, 0);
    put(r, 2, 0);
    test_env_set_disk_hook(r->env, refuse_reads, NULL);
    assert_miss(r, 1, 0);
    assert_int_equal(stats(r).damaged, 0);
    assert_int_equal(stats(r).disk_bytes, CACHE_FILE_MAX);
    assert_hit(r, 2, 0); /* memory */
    rig_free(r);
}

struct refusal {
    enum c2_err err;
    unsigned count;
};

static enum c2_err
refuse_writes(void *arg, const struct c2_disk_req *q)
{
    struct refusal *x = arg;
    if (q->verb != C2_DISK_WRITE || x->count == 0)
        return C2_E_OK;
    x->count--;
    return x->err;
}

static void
write__to_a_full_disk_makes_room_by_evicting(void **state)
{
    (void)state;
    struct rig *r = rig_new(2, 20);
    struct refusal full = { .err = C2_E_NO_SPACE, .count = 1 };
    for (uint64_t i = 1; i <= 10; i++)
        put(r, i, 0);
    test_env_set_disk_hook(r->env, refuse_writes, &full);
    put(r, 11, 0);
    assert_hit(r, 11, 0); /* from memory */
    assert_false(on_disk(r, 11, 0));
    assert_int_equal(stats(r).disk_bytes, 9 * CACHE_FILE_MAX);
    assert_false(on_disk(r, 1, 0));
    put(r, 12, 0);
    assert_true(on_disk(r, 12, 0));
    rig_free(r);
}

static void
write__gives_up_on_a_disk_that_keeps_failing(void **state)
{
    (void)state;
    struct rig *r = rig_new(30, 30);
    struct refusal broken = { .err = C2_E_IO, .count = 100 };
    test_env_set_disk_hook(r->env, refuse_writes, &broken);
    for (uint64_t i = 1; i <= 20; i++)
        put(r, i, 0);
    assert_int_equal(broken.count, 100 - 8);
    for (uint64_t i = 1; i <= 20; i++)
        assert_hit(r, i, 0);
    rig_free(r);
}

static void
write__queue_is_bounded(void **state)
{
    (void)state;
    struct rig *r = rig_new(100, 100);
    c2_mark_reset();
    for (uint64_t i = 1; i <= 50; i++)
        put_len(r, i, 0, BLOCK);
    assert_int_equal(c2_mark_count("cache: write queue is full"), 50 - 32 - 2);
    test_env_run_ready(r->env);
    assert_int_equal(stats(r).disk_bytes, 34 * CACHE_FILE_MAX);
    rig_free(r);
}

static void
put__of_a_longer_piece_replaces_the_shorter(void **state)
{
    (void)state;
    struct rig *r = rig_new(4, 4);
    put_len(r, 1, 0, 100);
    test_env_run_ready(r->env);
    put(r, 1, 0); /* the old file is being removed */
    put(r, 1, 0);
    assert_hit(r, 1, 0);
    char *shorter = file_of(r, 1, 0, 100);
    assert_false(test_disk_exists(shorter));
    assert_true(on_disk(r, 1, 0));
    assert_int_equal(stats(r).disk_bytes, CACHE_FILE_MAX);
    c2_free(shorter);
    rig_free(r);
}

/* ---- forgetting ---------------------------------------------------------------------------- */

static void
forget_object__takes_memory_and_files(void **state)
{
    (void)state;
    struct rig *r = rig_new(10, 10);
    struct ds_oid o = oid(1);
    put(r, 1, 0);
    put(r, 1, 7);
    put(r, 2, 0);
    cache_forget_object(r->cache, &o);
    o = oid(99);
    cache_forget_object(r->cache, &o); /* unknown: fine */
    test_env_run_ready(r->env);
    assert_miss(r, 1, 0);
    assert_miss(r, 1, 7);
    assert_hit(r, 2, 0);
    assert_false(on_disk(r, 1, 0));
    assert_false(on_disk(r, 1, 7));
    assert_true(on_disk(r, 2, 0));
    assert_int_equal(stats(r).disk_bytes, CACHE_FILE_MAX);
    assert_int_equal(stats(r).memory_bytes, BLOCK);
    rig_free(r);
}

static void
forget_object__wins_over_a_write_under_way(void **state)
{
    (void)state;
    for (unsigned steps = 0; steps < 6; steps++) {
        struct rig *r = rig_new(10, 10);
        struct ds_oid o = oid(1);
        for (uint32_t block = 0; block < 4; block++)
            put_len(r, 1, block, BLOCK); /* two are being written, two wait */
        for (unsigned i = 0; i < steps; i++)
            test_env_step(r->env);
        cache_forget_object(r->cache, &o);
        test_env_run_ready(r->env);
        for (uint32_t block = 0; block < 4; block++) {
            assert_miss(r, 1, block);
            assert_false(on_disk(r, 1, block));
        }
        assert_int_equal(stats(r).disk_bytes, 0);
        assert_int_equal(stats(r).memory_bytes, 0);
        rig_free(r);
    }
}

static void
forget_object__during_a_read_is_harmless(void **state)
{
    (void)state;
    for (unsigned steps = 0; steps < 5; steps++) {
        struct rig *r = rig_new(1, 10);
        struct ds_oid o = oid(1);
        put(r, 1, 0);
        put(r, 2, 0);
        struct getting x = { .g = { .oid = o, .block = 0, .done = got } };
        cache_get_start(r->cache, &x.g);
        for (unsigned i = 0; i < steps; i++)
            test_env_step(r->env);
        cache_forget_object(r->cache, &o);
        test_env_run_until(r->env, &x.done);
        if (x.g.data != NULL)
            assert_int_equal(x.g.data->data[0], byte_of(1, 0));
        c2_blob_unref(x.g.data);
        test_env_run_ready(r->env);
        assert_false(on_disk(r, 1, 0));
        assert_miss(r, 1, 0);
        rig_free(r);
    }
}

static void
clear__empties_memory_and_disk(void **state)
{
    (void)state;
    struct rig *r = rig_new(3, 10);
    for (uint64_t i = 1; i <= 6; i++)
        put(r, i, 0);
    cache_clear(r->cache);
    test_env_run_ready(r->env);
    assert_int_equal(stats(r).disk_bytes, 0);
    assert_int_equal(stats(r).memory_bytes, 0);
    for (uint64_t i = 1; i <= 6; i++) {
        assert_miss(r, i, 0);
        assert_false(on_disk(r, i, 0));
    }
    put(r, 1, 0);
    assert_hit(r, 1, 0);
    rig_free(r);
}

static void
clear__during_the_scan_takes_what_it_has_not_found_yet(void **state)
{
    (void)state;
    struct rig *r = rig_new(3, 10);
    for (uint64_t i = 1; i <= 6; i++)
        put(r, i, 0);
    rig_close(r);
    rig_open(r);
    for (int i = 0; i < 5; i++)
        test_env_step(r->env);
    cache_clear(r->cache);
    test_env_run_ready(r->env);
    for (uint64_t i = 1; i <= 6; i++)
        assert_false(on_disk(r, i, 0));
    rig_free(r);
}

static void
drain__at_any_moment_ends_cleanly(void **state)
{
    (void)state;
    for (unsigned steps = 0; steps < 30; steps++) {
        struct rig *r = rig_new(2, 3);
        for (uint64_t i = 1; i <= 5; i++)
            put_len(r, i, 0, 1000);
        struct getting x = { .g = { .oid = oid(4), .block = 0, .done = got } };
        cache_get_start(r->cache, &x.g);
        for (unsigned i = 0; i < steps; i++)
            test_env_step(r->env);
        rig_close(r);
        assert_true(x.done);
        c2_blob_unref(x.g.data);
        rig_free(r);
    }
}

/* ---- contents ------------------------------------------------------------------------------ */

static void
file__has_no_plaintext(void **state)
{
    (void)state;
    uint8_t key[32] = { 1 };
    struct ds_oid o = oid(1);
    static const char text[] = "canary canary canary canary";
    uint8_t file[sizeof text + CACHE_FILE_OVERHEAD];
    cache_file_seal(key, &o, 3, c2_slice(text, sizeof text), file);
    assert_null(memmem(file, sizeof file, "canary", 6));
    struct c2_blob *plain;
    assert_int_equal(cache_file_open(key, &o, 3, c2_slice(file, sizeof file), &plain), C2_E_OK);
    assert_memory_equal(plain->data, text, sizeof text);
    c2_blob_unref(plain);
    assert_int_not_equal(cache_file_open(key, &o, 4, c2_slice(file, sizeof file), &plain), C2_E_OK);
    for (size_t len = 0; len < sizeof file; len++)
        assert_int_not_equal(cache_file_open(key, &o, 3, c2_slice(file, len), &plain), C2_E_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(get__finds_what_was_put_in_memory),
        cmocka_unit_test(put__evicts_the_least_recently_used),
        cmocka_unit_test(eviction__leaves_references_of_others_alone),
        cmocka_unit_test(put__larger_than_the_memory_is_ignored),
        cmocka_unit_test(get__finds_on_disk_what_left_memory),
        cmocka_unit_test(scan__finds_the_blocks_of_an_earlier_run),
        cmocka_unit_test(scan__keeps_within_a_bound_that_became_smaller),
        cmocka_unit_test(scan__ignores_other_files),
        cmocka_unit_test(scan__meets_blocks_that_were_put_meanwhile),
        cmocka_unit_test(disk__evicts_the_least_recently_used),
        cmocka_unit_test(get__takes_damaged_bytes_for_a_miss_and_removes_them),
        cmocka_unit_test(get__takes_truncated_swapped_missing_and_foreign_files_for_a_miss),
        cmocka_unit_test(get__treats_a_failing_disk_as_a_miss),
        cmocka_unit_test(write__to_a_full_disk_makes_room_by_evicting),
        cmocka_unit_test(write__gives_up_on_a_disk_that_keeps_failing),
        cmocka_unit_test(write__queue_is_bounded),
        cmocka_unit_test(put__of_a_longer_piece_replaces_the_shorter),
        cmocka_unit_test(forget_object__takes_memory_and_files),
        cmocka_unit_test(forget_object__wins_over_a_write_under_way),
        cmocka_unit_test(forget_object__during_a_read_is_harmless),
        cmocka_unit_test(clear__empties_memory_and_disk),
        cmocka_unit_test(clear__during_the_scan_takes_what_it_has_not_found_yet),
        cmocka_unit_test(drain__at_any_moment_ends_cleanly),
        cmocka_unit_test(file__has_no_plaintext),
    };
    if (c2_crypto_init() != C2_E_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
