/* SPDX-License-Identifier: MIT */
/*
 * The cases of provider_contract.h, each one sentence of the contract.
 */
#include "tests/lib/provider_contract.h"
#include "tests/lib/test_env.h"

#include "base/alloc.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

/* "<prefix><folder>/<name>"; caller frees. */
static char *
key_of(const struct provider_contract *c, const char *folder, const char *name)
{
    return c2_asprintf("%s%s/%s", c->prefix, folder, name);
}

static void
put_text(struct provider_contract *c, const char *key, const char *text)
{
    assert_int_equal(test_prov_put(c, key, c2_slice_str(text), false), C2_E_OK);
}

static void
put_then_get_returns_the_bytes(struct provider_contract *c)
{
    char *key = key_of(c, "put", "object");
    put_text(c, key, "some bytes");
    test_prov_assert_body(c, key, c2_slice_str("some bytes"));
    c2_free(key);
}

static void
get_and_head_of_an_absent_key_are_not_found(struct provider_contract *c)
{
    char *key = key_of(c, "absent", "object");
    char *deep = key_of(c, "absent", "a/b/c/d");
    struct c2_blob *body = NULL;
    uint64_t size = 0;
    assert_int_equal(test_prov_get(c, key, &body), C2_E_NOT_FOUND);
    assert_int_equal(test_prov_head(c, key, &size), C2_E_NOT_FOUND);
    assert_int_equal(test_prov_get(c, deep, &body), C2_E_NOT_FOUND);
    assert_int_equal(test_prov_head(c, deep, &size), C2_E_NOT_FOUND);
    c2_free(key);
    c2_free(deep);
}

static void
part_of_a_key_is_no_key(struct provider_contract *c)
{
    char *key = key_of(c, "part", "folder/object");
    char *folder = key_of(c, "part", "folder");
    char *below = key_of(c, "part", "folder/object/below");
    struct c2_blob *body = NULL;
    uint64_t size = 0;
    put_text(c, key, "x");
    assert_int_equal(test_prov_get(c, folder, &body), C2_E_NOT_FOUND);
    assert_int_equal(test_prov_head(c, folder, &size), C2_E_NOT_FOUND);
    assert_int_equal(test_prov_get(c, below, &body), C2_E_NOT_FOUND);
    assert_int_equal(test_prov_head(c, below, &size), C2_E_NOT_FOUND);
    assert_int_equal(test_prov_delete(c, folder), C2_E_OK);
    assert_int_equal(test_prov_delete(c, below), C2_E_OK);
    test_prov_assert_body(c, key, c2_slice_str("x"));
    c2_free(key);
    c2_free(folder);
    c2_free(below);
}

static void
put_replaces_an_older_object(struct provider_contract *c)
{
    char *key = key_of(c, "replace", "object");
    put_text(c, key, "the first, longer one");
    put_text(c, key, "second");
    test_prov_assert_body(c, key, c2_slice_str("second"));
    c2_free(key);
}

static void
put_if_absent_refuses_an_existing_key(struct provider_contract *c)
{
    char *key = key_of(c, "if_absent", "object");
    bool can_tell = (c->p->caps & PROV_CAP_IF_ABSENT) != 0;
    assert_int_equal(test_prov_put(c, key, c2_slice_str("first"), true), C2_E_OK);
    enum c2_err err = test_prov_put(c, key, c2_slice_str("second"), true);
    assert_int_equal(err, can_tell ? C2_E_EXISTS : C2_E_OK);
    test_prov_assert_body(c, key, c2_slice_str(can_tell ? "first" : "second"));
    assert_int_equal(test_prov_delete(c, key), C2_E_OK);
    assert_int_equal(test_prov_put(c, key, c2_slice_str("third"), true), C2_E_OK);
    test_prov_assert_body(c, key, c2_slice_str("third"));
    c2_free(key);
}

static void
concurrent_puts_if_absent_have_one_winner(struct provider_contract *c)
{
    if ((c->p->caps & PROV_CAP_IF_ABSENT) == 0)
        return;
    char *key = key_of(c, "race", "object");
    struct test_prov_req t[4];
    unsigned winners = 0;
    for (unsigned i = 0; i < C2_ARRAY_LEN(t); i++) {
        uint8_t byte = (uint8_t)('a' + i);
        test_prov_req_init(c, &t[i], PROV_PUT, key);
        t[i].r.body = c2_blob_copy(&byte, 1);
        t[i].r.if_absent = true;
        prov_submit(c->p, &t[i].r);
    }
    char winner = 0;
    for (unsigned i = 0; i < C2_ARRAY_LEN(t); i++) {
        test_prov_wait(c, &t[i]);
        if (t[i].r.err == C2_E_OK) {
            winners++;
            winner = (char)('a' + i);
        } else {
            assert_int_equal(t[i].r.err, C2_E_EXISTS);
        }
        c2_blob_unref(t[i].r.body);
        test_prov_req_done(&t[i]);
    }
    assert_int_equal(winners, 1);
    test_prov_assert_body(c, key, c2_slice(&winner, 1));
    c2_free(key);
}

static void
empty_object_is_an_object(struct provider_contract *c)
{
    char *key = key_of(c, "empty", "object");
    uint64_t size = 99;
    put_text(c, key, "");
    test_prov_assert_body(c, key, c2_slice_str(""));
    assert_int_equal(test_prov_head(c, key, &size), C2_E_OK);
    assert_int_equal(size, 0);
    c2_free(key);
}

static void
large_object_comes_back_whole(struct provider_contract *c)
{
    char *key = key_of(c, "large", "object");
    struct c2_blob *body = c2_blob_new((5u << 20) + 17);
    for (size_t i = 0; i < body->len; i++)
        body->data[i] = (uint8_t)(i * 2654435761u >> 13);
    assert_int_equal(test_prov_put(c, key, c2_blob_slice(body), false), C2_E_OK);
    test_prov_assert_body(c, key, c2_blob_slice(body));
    c2_blob_unref(body);
    c2_free(key);
}

static void
get_range_is_cut_at_the_end(struct provider_contract *c)
{
    static const struct {
        uint64_t offset, len;
        enum c2_err err;
        const char *want;
    } cases[] = {
        { 2, 3, C2_E_OK, "234" },        { 0, 10, C2_E_OK, "0123456789" },
        { 0, 1, C2_E_OK, "0" },          { 9, 1, C2_E_OK, "9" },
        { 7, 100, C2_E_OK, "789" },      { 4, 0, C2_E_OK, "456789" },
        { 0, 0, C2_E_OK, "0123456789" }, { 0, 1000000, C2_E_OK, "0123456789" },
        { 10, 1, C2_E_RANGE, "" },       { 10, 0, C2_E_RANGE, "" },
        { 1000, 5, C2_E_RANGE, "" },     { UINT64_C(1) << 40, 0, C2_E_RANGE, "" },
    };
    char *key = key_of(c, "range", "object");
    put_text(c, key, "0123456789");
    for (size_t i = 0; i < C2_ARRAY_LEN(cases); i++) {
        struct test_prov_req t;
        test_prov_req_init(c, &t, PROV_GET, key);
        t.r.offset = cases[i].offset;
        t.r.len = cases[i].len;
        assert_int_equal(test_prov_run(c, &t), cases[i].err);
        if (cases[i].err == C2_E_OK) {
            assert_true(c2_slice_equal(c2_blob_slice(t.r.reply), c2_slice_str(cases[i].want)));
            assert_int_equal(t.r.size, 10);
        } else {
            assert_null(t.r.reply);
        }
        test_prov_req_done(&t);
    }
    c2_free(key);
}

static void
get_of_more_than_body_len_max_is_too_large(struct provider_contract *c)
{
    char *key = key_of(c, "limit", "object");
    struct test_prov_req t;
    put_text(c, key, "0123456789");

    test_prov_req_init(c, &t, PROV_GET, key);
    t.r.body_len_max = 9;
    assert_int_equal(test_prov_run(c, &t), C2_E_TOO_LARGE);
    assert_null(t.r.reply);
    test_prov_req_done(&t);

    test_prov_req_init(c, &t, PROV_GET, key);
    t.r.body_len_max = 10;
    assert_int_equal(test_prov_run(c, &t), C2_E_OK);
    test_prov_req_done(&t);

    test_prov_req_init(c, &t, PROV_GET, key); /* the limit is for the part, not for the whole */
    t.r.body_len_max = 4;
    t.r.offset = 3;
    t.r.len = 4;
    assert_int_equal(test_prov_run(c, &t), C2_E_OK);
    assert_int_equal(t.r.reply->len, 4);
    test_prov_req_done(&t);
    c2_free(key);
}

static void
head_gives_the_size(struct provider_contract *c)
{
    char *key = key_of(c, "head", "object");
    uint64_t size = 0;
    put_text(c, key, "12345");
    assert_int_equal(test_prov_head(c, key, &size), C2_E_OK);
    assert_int_equal(size, 5);
    c2_free(key);
}

static void
delete_is_idempotent(struct provider_contract *c)
{
    char *key = key_of(c, "delete", "object");
    char *other = key_of(c, "delete", "other");
    struct c2_blob *body = NULL;
    assert_int_equal(test_prov_delete(c, key), C2_E_OK);
    put_text(c, key, "x");
    put_text(c, other, "y");
    assert_int_equal(test_prov_delete(c, key), C2_E_OK);
    assert_int_equal(test_prov_get(c, key, &body), C2_E_NOT_FOUND);
    assert_int_equal(test_prov_delete(c, key), C2_E_OK);
    test_prov_assert_body(c, other, c2_slice_str("y"));
    c2_free(key);
    c2_free(other);
}

static void
delete_many_takes_absent_keys(struct provider_contract *c)
{
    enum { COUNT = 6 };
    char *keys[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        char name[16];
        snprintf(name, sizeof name, "%u/object", i);
        keys[i] = key_of(c, "many", name);
        if (i != 2)
            put_text(c, keys[i], "x");
    }
    struct test_prov_req t;
    const char *doomed[] = { keys[0], keys[2], keys[3], keys[5] };
    test_prov_req_init(c, &t, PROV_DELETE_MANY, NULL);
    t.r.keys = doomed;
    t.r.nkeys = C2_ARRAY_LEN(doomed);
    assert_int_equal(test_prov_run(c, &t), C2_E_OK);
    test_prov_req_done(&t);
    for (unsigned i = 0; i < COUNT; i++) {
        uint64_t size = 0;
        bool kept = i == 1 || i == 4;
        assert_int_equal(test_prov_head(c, keys[i], &size), kept ? C2_E_OK : C2_E_NOT_FOUND);
        c2_free(keys[i]);
    }
}

/* In byte order '-' < '.' < '/' < '0', so folders and objects beside them interleave. */
static const char *const list_names[] = {
    "A", "a-1", "a.1", "a/1", "a/2/x", "a/2/y", "a/3", "a0", "aa/b/c", "b", "b-", "c/~",
};

static char *
list_folder(struct provider_contract *c, const char *folder)
{
    for (size_t i = C2_ARRAY_LEN(list_names); i > 0; i--) {
        char *key = key_of(c, folder, list_names[i - 1]);
        put_text(c, key, list_names[i - 1]);
        c2_free(key);
    }
    return key_of(c, folder, "");
}

/* Lists with names relative to `base` and compares; want as test_prov_list writes it. */
static void
expect_list(struct provider_contract *c, const char *base, const char *prefix, const char *after,
            size_t max, const char *want)
{
    struct c2_buf got = { 0 };
    struct c2_buf relative = { 0 };
    char *full_prefix = c2_asprintf("%s%s", base, prefix);
    char *full_after = after == NULL ? NULL : c2_asprintf("%s%s", base, after);
    assert_int_equal(test_prov_list(c, full_prefix, full_after, max, &got), C2_E_OK);
    size_t base_len = strlen(base);
    for (const char *line = c2_buf_cstr(&got); *line != '\0';) {
        if (strncmp(line, base, base_len) == 0)
            line += base_len;
        size_t len = strcspn(line, "\n");
        c2_buf_append(&relative, line, len);
        line += len;
        if (*line == '\n')
            c2_buf_puts(&relative, *line++ == '\n' ? " " : "");
    }
    assert_string_equal(c2_buf_cstr(&relative), want);
    c2_buf_done(&got);
    c2_buf_done(&relative);
    c2_free(full_prefix);
    c2_free(full_after);
}

static void
list_is_in_byte_order(struct provider_contract *c)
{
    char *base = list_folder(c, "order");
    expect_list(c, base, "", NULL, 1000, "A a-1 a.1 a/1 a/2/x a/2/y a/3 a0 aa/b/c b b- c/~ ");
    c2_free(base);
}

static void
list_prefix_need_not_end_at_a_slash(struct provider_contract *c)
{
    char *base = list_folder(c, "prefix");
    expect_list(c, base, "a", NULL, 1000, "a-1 a.1 a/1 a/2/x a/2/y a/3 a0 aa/b/c ");
    expect_list(c, base, "a/", NULL, 1000, "a/1 a/2/x a/2/y a/3 ");
    expect_list(c, base, "a/2", NULL, 1000, "a/2/x a/2/y ");
    expect_list(c, base, "a/2/", NULL, 1000, "a/2/x a/2/y ");
    expect_list(c, base, "a/2/y", NULL, 1000, "a/2/y ");
    expect_list(c, base, "aa/b/c", NULL, 1000, "aa/b/c ");
    expect_list(c, base, "aa/b/c/", NULL, 1000, "");
    expect_list(c, base, "nothing", NULL, 1000, "");
    expect_list(c, base, "nothing/here/", NULL, 1000, "");
    c2_free(base);
}

static void
list_starts_strictly_after(struct provider_contract *c)
{
    char *base = list_folder(c, "after");
    expect_list(c, base, "", "a/2/x", 1000, "a/2/y a/3 a0 aa/b/c b b- c/~ ");
    expect_list(c, base, "", "a/2", 1000, "a/2/x a/2/y a/3 a0 aa/b/c b b- c/~ ");
    expect_list(c, base, "", "a/2/xx", 1000, "a/2/y a/3 a0 aa/b/c b b- c/~ ");
    expect_list(c, base, "", "a/4", 1000, "a0 aa/b/c b b- c/~ ");
    expect_list(c, base, "", "c/~", 1000, "");
    expect_list(c, base, "", "zzz", 1000, "");
    expect_list(c, base, "a/", "A", 1000, "a/1 a/2/x a/2/y a/3 ");
    expect_list(c, base, "a/", "a/1", 1000, "a/2/x a/2/y a/3 ");
    expect_list(c, base, "a/", "b", 1000, "");
    c2_free(base);
}

static void
list_says_whether_more_follow(struct provider_contract *c)
{
    char *base = list_folder(c, "pages");
    expect_list(c, base, "", NULL, 1, "A ...");
    expect_list(c, base, "", NULL, 5, "A a-1 a.1 a/1 a/2/x ...");
    expect_list(c, base, "", "a/2/x", 5, "a/2/y a/3 a0 aa/b/c b ...");
    expect_list(c, base, "", "b", 5, "b- c/~ ");
    expect_list(c, base, "", NULL, 12, "A a-1 a.1 a/1 a/2/x a/2/y a/3 a0 aa/b/c b b- c/~ ");
    expect_list(c, base, "a/", NULL, 4, "a/1 a/2/x a/2/y a/3 ");
    expect_list(c, base, "a/", NULL, 3, "a/1 a/2/x a/2/y ...");
    c2_free(base);
}

static void
list_gives_sizes_and_forgets_deleted_keys(struct provider_contract *c)
{
    char *base = list_folder(c, "sizes");
    char *gone = key_of(c, "sizes", "a/2/x");
    assert_int_equal(test_prov_delete(c, gone), C2_E_OK);
    struct test_prov_req t;
    test_prov_req_init(c, &t, PROV_LIST, base);
    assert_int_equal(test_prov_run(c, &t), C2_E_OK);
    assert_int_equal(t.r.nentries, C2_ARRAY_LEN(list_names) - 1);
    for (size_t i = 0; i < t.r.nentries; i++) {
        assert_int_equal(t.r.entries[i].size, strlen(t.r.entries[i].key + strlen(base)));
        assert_string_not_equal(t.r.entries[i].key, gone);
    }
    test_prov_req_done(&t);
    c2_free(base);
    c2_free(gone);
}

static void
unusual_keys_are_plain_keys(struct provider_contract *c)
{
    static const char *const names[] = {
        "with space",        "plus+plus", "per%20cent", "t~i=l&d?e#f", "(a)!*'$,;:@",
        "\xc3\xa9t\xc3\xa9", ".hidden",   "..dots",     "dot.",        "<x>\"y\"",
    };
    for (size_t i = 0; i < C2_ARRAY_LEN(names); i++) {
        char *key = key_of(c, "unusual", names[i]);
        put_text(c, key, names[i]);
        c2_free(key);
    }
    struct test_prov_req t;
    char *base = key_of(c, "unusual", "");
    test_prov_req_init(c, &t, PROV_LIST, base);
    assert_int_equal(test_prov_run(c, &t), C2_E_OK);
    assert_int_equal(t.r.nentries, C2_ARRAY_LEN(names));
    for (size_t i = 0; i < t.r.nentries; i++)
        test_prov_assert_body(c, t.r.entries[i].key,
                              c2_slice_str(t.r.entries[i].key + strlen(base)));
    test_prov_req_done(&t);
    c2_free(base);
}

static void
longest_key_works(struct provider_contract *c)
{
    char *key = c2_asprintf("%slong/", c->prefix);
    size_t at = strlen(key);
    key = c2_realloc(key, PROV_KEY_MAX + 1, 1);
    for (; at < PROV_KEY_MAX; at++)
        key[at] = at % 100 == 99 ? '/' : 'k';
    key[PROV_KEY_MAX] = '\0';
    put_text(c, key, "deep");
    test_prov_assert_body(c, key, c2_slice_str("deep"));
    struct c2_buf list = { 0 };
    char *prefix = c2_asprintf("%slong/", c->prefix);
    assert_int_equal(test_prov_list(c, prefix, NULL, 10, &list), C2_E_OK);
    assert_int_equal(list.len, PROV_KEY_MAX + 1);
    assert_int_equal(test_prov_delete(c, key), C2_E_OK);
    c2_buf_done(&list);
    c2_free(prefix);
    c2_free(key);
}

static void
many_requests_at_once_all_complete(struct provider_contract *c)
{
    enum { COUNT = 40 };
    struct test_prov_req *t = c2_calloc(COUNT, sizeof *t);
    char *keys[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        char name[16];
        snprintf(name, sizeof name, "%02zu", i);
        keys[i] = key_of(c, "concurrent", name);
        test_prov_req_init(c, &t[i], PROV_PUT, keys[i]);
        t[i].r.body = c2_blob_copy(name, 2);
        prov_submit(c->p, &t[i].r);
    }
    for (size_t i = 0; i < COUNT; i++) {
        test_prov_wait(c, &t[i]);
        assert_int_equal(t[i].r.err, C2_E_OK);
        test_prov_assert_body(c, keys[i], c2_blob_slice(t[i].r.body));
        c2_blob_unref(t[i].r.body);
        test_prov_req_done(&t[i]);
        c2_free(keys[i]);
    }
    c2_free(t);
}

static void
request_can_be_used_again(struct provider_contract *c)
{
    char *key = key_of(c, "again", "object");
    struct test_prov_req t;
    test_prov_req_init(c, &t, PROV_GET, key);
    assert_int_equal(test_prov_run(c, &t), C2_E_NOT_FOUND);
    put_text(c, key, "x");
    t.completed = false;
    t.completions = 0;
    assert_int_equal(test_prov_run(c, &t), C2_E_OK);
    assert_string_equal(t.r.detail, "");
    assert_int_equal(t.r.reply->len, 1);
    test_prov_req_done(&t);
    c2_free(key);
}

static void
cancel_completes_each_request_once(struct provider_contract *c)
{
    static const enum prov_verb verbs[] = { PROV_PUT, PROV_GET, PROV_HEAD, PROV_LIST, PROV_DELETE };
    char *key = key_of(c, "cancel", "object");
    put_text(c, key, "x");
    for (size_t i = 0; i < C2_ARRAY_LEN(verbs); i++) {
        struct test_prov_req t;
        test_prov_req_init(c, &t, verbs[i], key);
        t.r.body = c2_blob_copy("x", 1);
        prov_submit(c->p, &t.r);
        prov_cancel(c->p, &t.r);
        assert_false(t.completed); /* never from inside cancel */
        prov_cancel(c->p, &t.r);   /* once more is harmless */
        test_prov_wait(c, &t);
        assert_true(t.r.err == C2_E_CANCELED || t.r.err == C2_E_OK);
        c2_blob_unref(t.r.body);
        test_prov_req_done(&t);
    }
    c2_free(key);
}

static void
passed_deadline_is_a_timeout(struct provider_contract *c)
{
    char *key = key_of(c, "deadline", "object");
    struct test_prov_req t;
    put_text(c, key, "x");
    test_prov_req_init(c, &t, PROV_GET, key);
    t.r.deadline_ns = 1;
    assert_int_equal(test_prov_run(c, &t), C2_E_TIMEOUT);
    assert_null(t.r.reply);
    test_prov_req_done(&t);
    c2_free(key);
}

#define CASE(name)                                                                                 \
    {                                                                                              \
#name, name                                                                                \
    }

const struct provider_contract_case provider_contract_cases[] = {
    CASE(put_then_get_returns_the_bytes),
    CASE(get_and_head_of_an_absent_key_are_not_found),
    CASE(part_of_a_key_is_no_key),
    CASE(put_replaces_an_older_object),
    CASE(put_if_absent_refuses_an_existing_key),
    CASE(concurrent_puts_if_absent_have_one_winner),
    CASE(empty_object_is_an_object),
    CASE(large_object_comes_back_whole),
    CASE(get_range_is_cut_at_the_end),
    CASE(get_of_more_than_body_len_max_is_too_large),
    CASE(head_gives_the_size),
    CASE(delete_is_idempotent),
    CASE(delete_many_takes_absent_keys),
    CASE(list_is_in_byte_order),
    CASE(list_prefix_need_not_end_at_a_slash),
    CASE(list_starts_strictly_after),
    CASE(list_says_whether_more_follow),
    CASE(list_gives_sizes_and_forgets_deleted_keys),
    CASE(unusual_keys_are_plain_keys),
    CASE(longest_key_works),
    CASE(many_requests_at_once_all_complete),
    CASE(request_can_be_used_again),
    CASE(cancel_completes_each_request_once),
    CASE(passed_deadline_is_a_timeout),
};
const size_t provider_contract_cases_count = C2_ARRAY_LEN(provider_contract_cases);

static void
run_until_in_test_env(void *arg, const bool *flag)
{
    test_env_run_until(arg, flag);
}

struct provider_contract
provider_contract_in(struct test_env *t, struct provider *p)
{
    return (struct provider_contract){
        .p = p, .prefix = "contract/", .run_until = run_until_in_test_env, .arg = t
    };
}

void
provider_contract_run_all(struct provider_contract *c)
{
    for (size_t i = 0; i < provider_contract_cases_count; i++) {
        print_message("             %s\n", provider_contract_cases[i].name);
        provider_contract_cases[i].run(c);
    }
}
