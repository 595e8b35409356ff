/* SPDX-License-Identifier: MIT */
/*
 * The hash map against a plain array.
 */
#include "base/map.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "tests/lib/death.h"

#define ITEMS 5000

struct item {
    struct c2_map_node node;
    uint64_t key;
    bool in;
    unsigned seen;
};

struct fixture {
    struct c2_map map;
    struct item items[ITEMS];
};

static int
setup(void **state)
{
    struct fixture *f = c2_calloc(1, sizeof(*f));
    c2_map_init(&f->map, 42);
    for (uint64_t i = 0; i < ITEMS; i++)
        f->items[i].key = i * 7919;
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    c2_map_done(&f->map);
    c2_free(f);
    return 0;
}

static void
add(struct fixture *f, size_t i)
{
    f->items[i].node.hash = c2_map_hash_u64(&f->map, f->items[i].key);
    c2_map_insert(&f->map, &f->items[i].node);
    f->items[i].in = true;
}

static void
drop(struct fixture *f, size_t i)
{
    c2_map_remove(&f->map, &f->items[i].node);
    f->items[i].in = false;
}

static struct item *
look_up(const struct fixture *f, uint64_t key)
{
    struct c2_map_node *n = c2_map_find(&f->map, c2_map_hash_u64(&f->map, key));
    while (n != NULL && C2_CONTAINER_OF(n, struct item, node)->key != key)
        n = c2_map_find_next(n);
    return n == NULL ? NULL : C2_CONTAINER_OF(n, struct item, node);
}

static void
check_all(struct fixture *f)
{
    size_t count = 0;
    for (size_t i = 0; i < ITEMS; i++) {
        assert_ptr_equal(look_up(f, f->items[i].key), f->items[i].in ? &f->items[i] : NULL);
        count += f->items[i].in;
        f->items[i].seen = 0;
    }
    assert_int_equal(f->map.count, count);
    size_t walked = 0;
    for (struct c2_map_node *n = c2_map_next(&f->map, NULL); n != NULL;
         n = c2_map_next(&f->map, n)) {
        C2_CONTAINER_OF(n, struct item, node)->seen++;
        walked++;
    }
    assert_int_equal(walked, count);
    for (size_t i = 0; i < ITEMS; i++)
        assert_int_equal(f->items[i].seen, f->items[i].in);
}

static void
map__empty_finds_nothing(void **state)
{
    struct fixture *f = *state;
    assert_null(look_up(f, 1));
    assert_null(c2_map_next(&f->map, NULL));
}

static void
map__keeps_what_is_inserted_and_not_removed(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < ITEMS; i++)
        add(f, i);
    check_all(f);
    for (size_t i = 0; i < ITEMS; i += 3)
        drop(f, i);
    check_all(f);
    for (size_t i = 0; i < ITEMS; i += 6)
        add(f, i);
    check_all(f);
    for (size_t i = 0; i < ITEMS; i++) {
        if (f->items[i].in)
            drop(f, i);
    }
    check_all(f);
}

static void
map__gives_memory_back_on_the_next_insert(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < ITEMS; i++)
        add(f, i);
    size_t buckets = f->map.nbuckets;
    assert_true(buckets >= ITEMS);
    for (size_t i = 10; i < ITEMS; i++)
        drop(f, i);
    assert_int_equal(f->map.nbuckets, buckets); /* an iteration may be on its way */
    add(f, 10);
    assert_true(f->map.nbuckets < buckets);
    check_all(f);
}

static void
map__allows_removal_while_walking(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < ITEMS; i++)
        add(f, i);
    size_t walked = 0;
    struct c2_map_node *next;
    for (struct c2_map_node *n = c2_map_next(&f->map, NULL); n != NULL; n = next) {
        next = c2_map_next(&f->map, n);
        walked++;
        drop(f, (size_t)(C2_CONTAINER_OF(n, struct item, node) - f->items));
    }
    assert_int_equal(walked, ITEMS);
    check_all(f);
}

static void
map__holds_several_nodes_with_one_hash(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < 3; i++) {
        f->items[i].node.hash = 99;
        c2_map_insert(&f->map, &f->items[i].node);
    }
    f->items[3].node.hash = 99 + 1024; /* the same bucket */
    c2_map_insert(&f->map, &f->items[3].node);
    size_t found = 0;
    for (struct c2_map_node *n = c2_map_find(&f->map, 99); n != NULL; n = c2_map_find_next(n))
        found++;
    assert_int_equal(found, 3);
}

static void
hash__depends_on_every_byte_the_length_and_the_seed(void **state)
{
    struct fixture *f = *state;
    uint8_t key[40] = { 0 };
    struct c2_map other;
    c2_map_init(&other, 43);
    for (size_t len = 0; len <= sizeof(key); len++) {
        struct c2_slice s = c2_slice(key, len);
        uint64_t h = c2_map_hash_bytes(&f->map, s);
        assert_true(h == c2_map_hash_bytes(&f->map, s));
        assert_true(h != c2_map_hash_bytes(&other, s));
        assert_true(len == 0 || h != c2_map_hash_bytes(&f->map, c2_slice(key, len - 1)));
        for (size_t i = 0; i < len; i++) {
            key[i] ^= 1;
            assert_true(h != c2_map_hash_bytes(&f->map, s));
            key[i] ^= 1;
        }
    }
    assert_true(c2_map_hash_u64(&f->map, 5) != c2_map_hash_u64(&other, 5));
}

/* Sequential integers and names must not end up in few buckets. */
static void
hash__spreads_similar_keys(void **state)
{
    struct fixture *f = *state;
    enum { BUCKETS = 256, KEYS = 4096 };
    unsigned by_int[BUCKETS] = { 0 }, by_name[BUCKETS] = { 0 };
    for (uint32_t i = 0; i < KEYS; i++) {
        struct c2_buf name = { 0 };
        c2_buf_printf(&name, "file-%06u.dcm", i);
        by_int[c2_map_hash_u64(&f->map, i) % BUCKETS]++;
        by_name[c2_map_hash_bytes(&f->map, c2_buf_slice(&name)) % BUCKETS]++;
        c2_buf_done(&name);
    }
    for (unsigned i = 0; i < BUCKETS; i++) {
        assert_true(by_int[i] < 3 * KEYS / BUCKETS);
        assert_true(by_name[i] < 3 * KEYS / BUCKETS);
    }
}

static void
remove_stranger(void *arg)
{
    struct fixture *f = arg;
    f->items[1].node.hash = 1;
    c2_map_remove(&f->map, &f->items[1].node);
}

static void
remove__asserts_that_the_node_is_there(void **state)
{
    struct fixture *f = *state;
    add(f, 0);
    test_aborts(remove_stranger, f, "assertion failed");
}

static void
map__take_all_gives_every_node_once_and_leaves_it_empty(void **state)
{
    struct fixture *f = *state;
    size_t n = 0;
    for (size_t i = 0; i < ITEMS; i++)
        add(f, i);
    for (struct c2_map_node *k = c2_map_take_all(&f->map); k != NULL; k = k->next) {
        C2_CONTAINER_OF(k, struct item, node)->seen++;
        n++;
    }
    assert_int_equal(n, ITEMS);
    for (size_t i = 0; i < ITEMS; i++) {
        assert_int_equal(f->items[i].seen, 1);
        f->items[i].in = false;
    }
    check_all(f);
    add(f, 3);
    check_all(f);
    assert_null(c2_map_take_all(&(struct c2_map){ 0 }));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(map__empty_finds_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(map__take_all_gives_every_node_once_and_leaves_it_empty,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(map__keeps_what_is_inserted_and_not_removed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(map__gives_memory_back_on_the_next_insert, setup, teardown),
        cmocka_unit_test_setup_teardown(map__allows_removal_while_walking, setup, teardown),
        cmocka_unit_test_setup_teardown(map__holds_several_nodes_with_one_hash, setup, teardown),
        cmocka_unit_test_setup_teardown(hash__depends_on_every_byte_the_length_and_the_seed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(hash__spreads_similar_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(remove__asserts_that_the_node_is_there, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
