/* SPDX-License-Identifier: MIT */
/*
 * Sorting more records than memory has room for.
 */
#include "metadata/spool.h"

#include "base/alloc.h"
#include "base/wire.h"
#include "tests/lib/test_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define RECORDS 2000u
#define MEMORY  4096u

struct rig {
    struct test_env *t;
    char *path;
    struct spool *s;
    uint64_t random;
};

static int
set_up(void **state)
{
    struct rig *g = c2_calloc(1, sizeof *g);
    g->t = test_env_new(1);
    g->path = test_env_path(g->t, "records");
    g->random = 88172645463325252ull;
    *state = g;
    return 0;
}

static int
tear_down(void **state)
{
    struct rig *g = *state;
    spool_free(g->s);
    c2_free(g->path);
    test_env_free(g->t);
    c2_free(g);
    return 0;
}

static uint64_t
next_random(struct rig *g)
{
    g->random ^= g->random << 13;
    g->random ^= g->random >> 7;
    g->random ^= g->random << 17;
    return g->random;
}

/* A record "nnnn KEY ....", whose number and filling follow from the key's number. */
static enum c2_err
add(struct rig *g, const char *key, uint32_t number)
{
    C2_AUTO(c2_buf_done) struct c2_buf b = { 0 };
    c2_wr_u32(&b, number);
    c2_wr_raw(&b, key, strlen(key));
    for (uint32_t i = 0; i < number % 97; i++)
        c2_wr_u8(&b, (uint8_t)(number + i));
    const struct spool_record r = { .bytes = c2_buf_slice(&b),
                                    .key = c2_slice(b.data + 4, strlen(key)) };
    return spool_add(g->s, &r);
}

static void
assert_record(const struct spool_record *r, const char *key)
{
    uint32_t number = c2_get_u32(r->bytes.data);
    assert_true(c2_slice_equal(r->key, c2_slice_str(key)));
    assert_ptr_equal(r->key.data, r->bytes.data + 4);
    assert_int_equal(r->bytes.len, 4 + strlen(key) + number % 97);
    for (uint32_t i = 0; i < number % 97; i++)
        assert_int_equal(r->bytes.data[4 + strlen(key) + i], (uint8_t)(number + i));
}

/* What is before and behind the number in a key. */
struct form {
    const char *before, *behind;
};

static const struct form plain = { "", "" };

static const char *
key_of(const struct form *form, uint32_t number, char out[96])
{
    snprintf(out, 96, "%s%08u%s", form->before, number, form->behind);
    return out;
}

/* Numbers 0 to RECORDS - 1 in some order. */
static void
add_shuffled(struct rig *g, const struct form *form)
{
    char key[96];
    static uint32_t order[RECORDS];
    for (uint32_t i = 0; i < RECORDS; i++)
        order[i] = i;
    for (uint32_t i = RECORDS - 1; i > 0; i--) {
        uint32_t other = (uint32_t)(next_random(g) % (i + 1));
        uint32_t one = order[i];
        order[i] = order[other];
        order[other] = one;
    }
    for (uint32_t i = 0; i < RECORDS; i++)
        assert_int_equal(add(g, key_of(form, order[i], key), order[i]), C2_E_OK);
}

static void
assert_in_order(struct rig *g, const struct form *form)
{
    struct spool_record r;
    char key[96];
    for (uint32_t i = 0; i < RECORDS; i++) {
        assert_int_equal(spool_next(g->s, &r), C2_E_OK);
        assert_record(&r, key_of(form, i, key));
        assert_int_equal(c2_get_u32(r.bytes.data), i);
    }
    assert_int_equal(spool_next(g->s, &r), C2_E_NOT_FOUND);
    assert_int_equal(spool_next(g->s, &r), C2_E_NOT_FOUND);
}

static void
spool__gives_records_in_the_order_of_their_keys(void **state)
{
    struct rig *g = *state;
    /* What the keys have in common may be long, and so may be the part in which they differ. */
    const struct form forms[] = { plain,
                                  { "a long beginning that all have, ", "" },
                                  { "", " and a long end that all have" } };
    const size_t memories[] = { 1, MEMORY, 64 * MEMORY, (size_t)1 << 30 };
    for (size_t i = 0; i < C2_ARRAY_LEN(memories); i++) {
        g->s = spool_new(g->path, memories[i]);
        for (size_t j = 0; j < C2_ARRAY_LEN(forms); j++) {
            struct spool_record r;
            add_shuffled(g, &forms[j]);
            assert_int_equal(add(g, "\x01", 0), C2_E_OK); /* and one that is like none */
            assert_true(spool_bytes(g->s) > 4ull * RECORDS);
            for (unsigned again = 0; again < 2; again++) {
                assert_int_equal(spool_rewind(g->s), C2_E_OK);
                assert_int_equal(spool_next(g->s, &r), C2_E_OK);
                assert_record(&r, "\x01");
                assert_in_order(g, &forms[j]);
            }
            assert_false(test_disk_exists(g->path)); /* it has no name */
            assert_int_equal(spool_clear(g->s), C2_E_OK);
            assert_int_equal(spool_bytes(g->s), 0);
        }
        spool_free(g->s);
        g->s = NULL;
    }
}

static void
spool__knows_a_key_that_another_one_begins_with(void **state)
{
    struct rig *g = *state;
    static const char *const keys[] = { "", "a", "aa", "aaaaaaaa", "aaaaaaaaa", "aaaaaaaaab", "b" };
    const size_t memories[] = { 1, 1000 };
    for (size_t i = 0; i < C2_ARRAY_LEN(memories); i++) {
        struct spool_record r;
        g->s = spool_new(g->path, memories[i]);
        for (size_t k = C2_ARRAY_LEN(keys); k-- > 0;)
            assert_int_equal(add(g, keys[k], (uint32_t)k), C2_E_OK);
        assert_int_equal(add(g, "aa", 2), C2_E_OK); /* the same key twice */
        assert_int_equal(spool_rewind(g->s), C2_E_OK);
        for (size_t k = 0; k < C2_ARRAY_LEN(keys); k++) {
            for (unsigned times = k == 2 ? 2 : 1; times > 0; times--) {
                assert_int_equal(spool_next(g->s, &r), C2_E_OK);
                assert_record(&r, keys[k]);
            }
        }
        assert_int_equal(spool_next(g->s, &r), C2_E_NOT_FOUND);
        spool_free(g->s);
        g->s = NULL;
    }
}

static void
spool__without_records_has_none(void **state)
{
    struct rig *g = *state;
    struct spool_record r;
    g->s = spool_new(g->path, MEMORY);
    assert_int_equal(spool_rewind(g->s), C2_E_OK);
    assert_int_equal(spool_next(g->s, &r), C2_E_NOT_FOUND);
    assert_int_equal(spool_rewind(g->s), C2_E_OK);
    assert_int_equal(spool_next(g->s, &r), C2_E_NOT_FOUND);
    assert_int_equal(spool_clear(g->s), C2_E_OK);
    assert_int_equal(add(g, "key", 3), C2_E_OK);
    assert_int_equal(spool_rewind(g->s), C2_E_OK);
    assert_int_equal(spool_next(g->s, &r), C2_E_OK);
}

static void
spool__says_when_it_has_many_runs(void **state)
{
    struct rig *g = *state;
    g->s = spool_new(g->path, 1); /* each record is a run, but for the last */
    for (uint32_t i = 0; i <= SPOOL_RUNS_MAX; i++) {
        assert_false(spool_is_full(g->s));
        assert_int_equal(add(g, "key", i), C2_E_OK);
    }
    assert_true(spool_is_full(g->s));
    assert_int_equal(spool_clear(g->s), C2_E_OK);
    assert_false(spool_is_full(g->s));
}

/* The open file that has lost this name. */
static int
find_file(const char *path)
{
    C2_AUTO(c2_free_auto) char *name = c2_asprintf("%s (deleted)", path);
    for (int fd = 3; fd < 100; fd++) {
        char link[64];
        char target[512];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, target, sizeof target);
        if (n > 0 && (size_t)n == strlen(name) && memcmp(target, name, (size_t)n) == 0)
            return fd;
    }
    fail_msg("no open file was %s", path);
    return -1;
}

static void
spool__notices_a_file_that_does_not_give_back_what_was_written(void **state)
{
    struct rig *g = *state;
    for (unsigned i = 0; i < 40; i++) {
        struct spool_record r;
        uint8_t byte = 0;
        g->s = spool_new(g->path, MEMORY);
        add_shuffled(g, &plain);
        assert_int_equal(spool_rewind(g->s), C2_E_OK);
        int fd = find_file(g->path);
        off_t size = lseek(fd, 0, SEEK_END);
        off_t at = (off_t)(next_random(g) % (uint64_t)size);
        if (i == 0) {
            assert_int_equal(ftruncate(fd, size - 1), 0);
        } else {
            assert_int_equal(pread(fd, &byte, 1, at), 1);
            byte ^= (uint8_t)(1u << i % 8);
            assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        }
        enum c2_err err = spool_rewind(g->s);
        for (uint32_t n = 0; err == C2_E_OK && n <= RECORDS; n++)
            err = spool_next(g->s, &r);
        assert_int_equal(err, C2_E_IO);
        spool_free(g->s);
        g->s = NULL;
    }
}

static void
spool__tells_that_there_is_no_place_for_a_file(void **state)
{
    struct rig *g = *state;
    C2_AUTO(c2_free_auto) char *path = c2_asprintf("%s/not/there", g->path);
    g->s = spool_new(path, 1);
    assert_int_equal(add(g, "key", 0), C2_E_OK); /* one has its place in memory */
    assert_int_equal(add(g, "key", 1), C2_E_NOT_FOUND);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(spool__gives_records_in_the_order_of_their_keys),
        T(spool__knows_a_key_that_another_one_begins_with),
        T(spool__without_records_has_none),
        T(spool__says_when_it_has_many_runs),
        T(spool__notices_a_file_that_does_not_give_back_what_was_written),
        T(spool__tells_that_there_is_no_place_for_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
