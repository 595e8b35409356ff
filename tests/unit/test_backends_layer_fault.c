/* SPDX-License-Identifier: MIT */
/*
 * Each kind of fault: what the caller sees, what the cloud got, that it is counted.
 */
#include "backends/fault_spec.h"
#include "backends/mem.h"
#include "backends/registry.h"
#include "base/alloc.h"
#include "tests/lib/provider_contract.h"
#include "tests/lib/test_env.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

struct fixture {
    struct test_env *t;
    struct provider_contract c;
};

static int
setup(void **state)
{
    static struct fixture f;
    f.t = test_env_new(1);
    struct provider *p = prov_mem_new(test_env_env(f.t), "mem1");
    assert_int_equal(prov_fault_new(p, "", 42, &p), C2_E_OK);
    f.c = provider_contract_in(f.t, p);
    *state = &f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    assert_false(test_env_has_timers(f->t));
    prov_close(f->c.p);
    test_env_free(f->t);
    return 0;
}

static void
set(struct fixture *f, const char *spec)
{
    assert_int_equal(prov_fault_set(f->c.p, spec), C2_E_OK);
}

static uint64_t
injected(struct fixture *f, const char *kind)
{
    return prov_fault_count_kind(f->c.p, kind);
}

static void
store(struct fixture *f, const char *key, const char *text)
{
    prov_mem_store(f->c.p, key, c2_slice_str(text));
}

static void
fault__empty_spec_passes_the_contract(void **state)
{
    struct fixture *f = *state;
    provider_contract_run_all(&f->c);
    assert_int_equal(prov_fault_count(f->c.p), 0);
}

static void
fault__delay_passes_the_contract(void **state)
{
    struct fixture *f = *state;
    set(f, "delay:200ms,delay:50%:3s");
    provider_contract_run_all(&f->c);
    assert_true(injected(f, "delay") > 50);
}

static void
fault__stale_rule_that_never_hits_passes_the_contract(void **state)
{
    struct fixture *f = *state;
    set(f, "stale:0%,swap:0%");
    provider_contract_run_all(&f->c);
    assert_int_equal(prov_fault_count(f->c.p), 0);
}

static void
fault__plain_errors_never_reach_the_cloud(void **state)
{
    static const struct {
        const char *spec;
        enum c2_err err;
        unsigned http_status;
        uint64_t retry_after_ns;
    } cases[] = {
        { "error", C2_E_UNAVAILABLE, 500, 0 },
        { "down", C2_E_UNREACHABLE, 0, 0 },
        { "throttle", C2_E_THROTTLED, 503, C2_NS_PER_S },
        { "protocol", C2_E_PROTOCOL, 0, 0 },
        { "redirect", C2_E_REDIRECT, 307, 0 },
        { "tls", C2_E_TLS, 0, 0 },
        { "denied", C2_E_AUTH, 403, 0 },
        { "forbidden", C2_E_ACCESS, 403, 0 },
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < C2_ARRAY_LEN(cases); i++) {
        set(f, cases[i].spec);
        for (unsigned verb = 0; verb < PROV_VERB_COUNT; verb++) {
            const char *keys[] = { "k" };
            struct test_prov_req t;
            test_prov_req_init(&f->c, &t, (enum prov_verb)verb, "k");
            t.r.body = c2_blob_copy("x", 1);
            t.r.keys = keys;
            t.r.nkeys = 1;
            assert_int_equal(test_prov_run(&f->c, &t), cases[i].err);
            assert_int_equal(t.r.http_status, cases[i].http_status);
            assert_int_equal(t.r.retry_after_ns, cases[i].retry_after_ns);
            assert_int_equal(prov_mem_requests(f->c.p, (enum prov_verb)verb), 0);
            c2_blob_unref(t.r.body);
            test_prov_req_done(&t);
        }
        assert_int_equal(injected(f, cases[i].spec), PROV_VERB_COUNT);
    }
    assert_int_equal(prov_fault_count(f->c.p), C2_ARRAY_LEN(cases) * PROV_VERB_COUNT);
}

static void
fault__full_refuses_puts_and_gives_what_it_has(void **state)
{
    struct fixture *f = *state;
    struct c2_blob *body = NULL;
    set(f, "");
    assert_int_equal(test_prov_put(&f->c, "k", c2_slice_str("x"), false), C2_E_OK);
    set(f, "full");
    assert_int_equal(test_prov_put(&f->c, "k", c2_slice_str("y"), false), C2_E_QUOTA);
    assert_int_equal(test_prov_get(&f->c, "k", &body), C2_E_OK);
    assert_true(c2_slice_equal(c2_blob_slice(body), c2_slice_str("x")));
    c2_blob_unref(body);
    assert_int_equal(prov_fault_count_kind(f->c.p, "full"), 1);
}

static void
fault__verb_filter_spares_the_others(void **state)
{
    struct fixture *f = *state;
    struct c2_blob *body = NULL;
    set(f, "get.error");
    assert_int_equal(test_prov_put(&f->c, "k", c2_slice_str("x"), false), C2_E_OK);
    assert_int_equal(test_prov_get(&f->c, "k", &body), C2_E_UNAVAILABLE);
    assert_int_equal(test_prov_delete(&f->c, "k"), C2_E_OK);
    assert_int_equal(injected(f, "error"), 1);
}

static void
fault__lost_answer_has_taken_effect(void **state)
{
    struct fixture *f = *state;
    set(f, "noack");
    assert_int_equal(test_prov_put(&f->c, "k", c2_slice_str("x"), false), C2_E_UNREACHABLE);
    assert_non_null(prov_mem_peek(f->c.p, "k"));
    struct test_prov_req t;
    test_prov_req_init(&f->c, &t, PROV_GET, "k");
    assert_int_equal(test_prov_run(&f->c, &t), C2_E_UNREACHABLE);
    assert_null(t.r.reply);
    assert_int_equal(injected(f, "noack"), 2);
}

static void
fault__hang_ends_at_the_deadline(void **state)
{
    struct fixture *f = *state;
    struct test_prov_req t;
    set(f, "get.hang");
    test_prov_req_init(&f->c, &t, PROV_GET, "k");
    t.r.deadline_ns = c2_now_ns(f->c.p->env) + 5 * C2_NS_PER_S;
    assert_int_equal(test_prov_run(&f->c, &t), C2_E_TIMEOUT);
    assert_int_equal(c2_now_ns(f->c.p->env), t.r.deadline_ns);
    uint64_t start_ns = c2_now_ns(f->c.p->env);
    test_prov_req_init(&f->c, &t, PROV_GET, "k");
    assert_int_equal(test_prov_run(&f->c, &t), C2_E_TIMEOUT);
    assert_int_equal(c2_now_ns(f->c.p->env) - start_ns, 60 * C2_NS_PER_S);
    assert_int_equal(injected(f, "hang"), 2);
}

static void
fault__hang_and_delay_can_be_canceled(void **state)
{
    static const char *const specs[] = { "hang", "delay:1h" };
    struct fixture *f = *state;
    for (size_t i = 0; i < C2_ARRAY_LEN(specs); i++) {
        struct test_prov_req t;
        set(f, specs[i]);
        uint64_t start_ns = c2_now_ns(f->c.p->env);
        test_prov_req_init(&f->c, &t, PROV_GET, "k");
        prov_submit(f->c.p, &t.r);
        test_env_run_ready(f->t);
        prov_cancel(f->c.p, &t.r);
        assert_false(t.completed);
        test_prov_wait(&f->c, &t);
        assert_int_equal(t.r.err, C2_E_CANCELED);
        assert_int_equal(c2_now_ns(f->c.p->env), start_ns);
    }
    assert_int_equal(prov_mem_requests(f->c.p, PROV_GET), 0);
}

static void
fault__delay_honours_the_deadline(void **state)
{
    struct fixture *f = *state;
    struct test_prov_req t;
    set(f, "delay:10s");
    test_prov_req_init(&f->c, &t, PROV_GET, "k");
    t.r.deadline_ns = c2_now_ns(f->c.p->env) + 5 * C2_NS_PER_S;
    assert_int_equal(test_prov_run(&f->c, &t), C2_E_TIMEOUT);
    assert_int_equal(c2_now_ns(f->c.p->env), t.r.deadline_ns);
}

static void
fault__lie_acknowledges_without_storing(void **state)
{
    struct fixture *f = *state;
    set(f, "lie");
    assert_int_equal(test_prov_put(&f->c, "k", c2_slice_str("x"), false), C2_E_OK);
    assert_int_equal(prov_mem_count(f->c.p), 0);
    assert_int_equal(prov_mem_requests(f->c.p, PROV_PUT), 0);
    assert_int_equal(injected(f, "lie"), 1);
}

static void
fault__absent_hides_objects(void **state)
{
    struct fixture *f = *state;
    struct c2_blob *body = NULL;
    uint64_t size = 0;
    store(f, "k", "x");
    set(f, "absent");
    assert_int_equal(test_prov_get(&f->c, "k", &body), C2_E_NOT_FOUND);
    assert_int_equal(test_prov_head(&f->c, "k", &size), C2_E_NOT_FOUND);
    assert_int_equal(injected(f, "absent"), 2);
}

static void
fault__absent_leaves_keys_out_of_lists(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 20; i++) {
        char key[8];
        snprintf(key, sizeof key, "%02u", i);
        store(f, key, "x");
    }
    set(f, "list.absent");
    struct test_prov_req t;
    test_prov_req_init(&f->c, &t, PROV_LIST, "");
    assert_int_equal(test_prov_run(&f->c, &t), C2_E_OK);
    assert_in_range(t.r.nentries, 1, 19);
    for (size_t i = 1; i < t.r.nentries; i++)
        assert_true(strcmp(t.r.entries[i - 1].key, t.r.entries[i].key) < 0);
    test_prov_req_done(&t);
    assert_int_equal(injected(f, "absent"), 1);
}

static void
fault__empty_has_no_bytes_and_no_keys(void **state)
{
    struct fixture *f = *state;
    store(f, "k", "x");
    set(f, "empty");
    test_prov_assert_body(&f->c, "k", c2_slice_str(""));
    struct c2_buf list = { 0 };
    assert_int_equal(test_prov_list(&f->c, "", NULL, 10, &list), C2_E_OK);
    assert_int_equal(list.len, 0);
    assert_int_equal(injected(f, "empty"), 2);
}

static void
fault__corrupt_changes_one_byte_of_the_answer_only(void **state)
{
    struct fixture *f = *state;
    store(f, "k", "0123456789");
    store(f, "nothing", "");
    set(f, "corrupt");
    struct c2_blob *body = NULL;
    assert_int_equal(test_prov_get(&f->c, "k", &body), C2_E_OK);
    assert_int_equal(body->len, 10);
    unsigned wrong = 0;
    for (size_t i = 0; i < 10; i++)
        wrong += body->data[i] != '0' + i;
    assert_int_equal(wrong, 1);
    c2_blob_unref(body);
    test_prov_assert_body(&f->c, "nothing", c2_slice_str("")); /* nothing to corrupt */
    assert_int_equal(injected(f, "corrupt"), 1);
    set(f, "");
    test_prov_assert_body(&f->c, "k", c2_slice_str("0123456789"));
}

static void
fault__truncate_loses_the_end(void **state)
{
    struct fixture *f = *state;
    store(f, "k", "0123456789");
    set(f, "truncate");
    struct c2_blob *body = NULL;
    assert_int_equal(test_prov_get(&f->c, "k", &body), C2_E_OK);
    assert_true(body->len < 10);
    assert_memory_equal(body->data, "0123456789", body->len);
    c2_blob_unref(body);
    assert_int_equal(injected(f, "truncate"), 1);
}

static void
fault__huge_exceeds_what_was_asked_but_not_the_callers_limit(void **state)
{
    struct fixture *f = *state;
    store(f, "k", "0123456789");
    set(f, "huge");
    struct test_prov_req t;
    test_prov_req_init(&f->c, &t, PROV_GET, "k");
    t.r.len = 4;
    t.r.body_len_max = 50;
    assert_int_equal(test_prov_run(&f->c, &t), C2_E_OK);
    assert_int_equal(t.r.reply->len, 50);
    assert_memory_equal(t.r.reply->data, "0123", 4);
    assert_true(t.r.size > (UINT64_C(1) << 60));
    test_prov_req_done(&t);

    test_prov_req_init(&f->c, &t, PROV_GET, "k");
    t.r.body_len_max = 10;
    assert_int_equal(test_prov_run(&f->c, &t), C2_E_TOO_LARGE);
    assert_null(t.r.reply);
    uint64_t size = 0;
    assert_int_equal(test_prov_head(&f->c, "k", &size), C2_E_OK);
    assert_true(size > (UINT64_C(1) << 60));
    assert_int_equal(injected(f, "huge"), 3);
}

static void
fault__swap_answers_another_object(void **state)
{
    struct fixture *f = *state;
    store(f, "a", "of a");
    set(f, "swap");
    test_prov_assert_body(&f->c, "a", c2_slice_str("of a")); /* there is no other */
    assert_int_equal(injected(f, "swap"), 0);
    store(f, "b", "of b");
    test_prov_assert_body(&f->c, "a", c2_slice_str("of b"));
    test_prov_assert_body(&f->c, "b", c2_slice_str("of a"));
    assert_int_equal(injected(f, "swap"), 2);
    struct test_prov_req t;
    test_prov_req_init(&f->c, &t, PROV_GET, "a");
    t.r.offset = 3;
    assert_int_equal(test_prov_run(&f->c, &t), C2_E_OK);
    assert_true(c2_slice_equal(c2_blob_slice(t.r.reply), c2_slice_str("b")));
    test_prov_req_done(&t);
}

static void
fault__stale_answers_what_was_before(void **state)
{
    struct fixture *f = *state;
    store(f, "k", "old!");
    store(f, "deleted", "was here");
    set(f, "stale");
    test_prov_assert_body(&f->c, "k", c2_slice_str("old!"));
    assert_int_equal(injected(f, "stale"), 0); /* still true */
    assert_int_equal(test_prov_put(&f->c, "k", c2_slice_str("newer"), false), C2_E_OK);
    assert_int_equal(test_prov_put(&f->c, "k", c2_slice_str("newest"), false), C2_E_OK);
    assert_int_equal(test_prov_put(&f->c, "fresh", c2_slice_str("f"), false), C2_E_OK);
    assert_int_equal(test_prov_delete(&f->c, "deleted"), C2_E_OK);
    uint64_t size = 0;
    test_prov_assert_body(&f->c, "k", c2_slice_str("old!"));
    assert_int_equal(test_prov_head(&f->c, "k", &size), C2_E_OK);
    assert_int_equal(size, 4);
    test_prov_assert_body(&f->c, "deleted", c2_slice_str("was here"));
    struct c2_blob *body = NULL;
    assert_int_equal(test_prov_get(&f->c, "fresh", &body), C2_E_NOT_FOUND);
    assert_int_equal(test_prov_head(&f->c, "fresh", &size), C2_E_NOT_FOUND);
    assert_int_equal(injected(f, "stale"), 5);
    set(f, "");
    test_prov_assert_body(&f->c, "k", c2_slice_str("newest"));
    test_prov_assert_body(&f->c, "fresh", c2_slice_str("f"));
    assert_int_equal(test_prov_get(&f->c, "deleted", &body), C2_E_NOT_FOUND);
}

static void
fault__stale_memory_is_bounded(void **state)
{
    struct fixture *f = *state;
    char key[16];
    for (unsigned i = 0; i < 1100; i++) {
        snprintf(key, sizeof key, "%04u", i);
        store(f, key, "old");
    }
    set(f, "stale");
    for (unsigned i = 0; i < 1100; i++) {
        snprintf(key, sizeof key, "%04u", i);
        assert_int_equal(test_prov_put(&f->c, key, c2_slice_str("new"), false), C2_E_OK);
    }
    test_prov_assert_body(&f->c, "0000", c2_slice_str("new")); /* forgotten */
    test_prov_assert_body(&f->c, "1099", c2_slice_str("old"));
}

static void
fault__forge_lists_a_key_that_is_not_there(void **state)
{
    struct fixture *f = *state;
    struct test_prov_req t;
    store(f, "p/a", "x");
    store(f, "p/z", "x");
    set(f, "forge");
    test_prov_req_init(&f->c, &t, PROV_LIST, "p/");
    assert_int_equal(test_prov_run(&f->c, &t), C2_E_OK);
    assert_int_equal(t.r.nentries, 3);
    assert_string_equal(t.r.entries[0].key, "p/a");
    assert_non_null(strstr(t.r.entries[1].key, "p/forged-"));
    assert_null(prov_mem_peek(f->c.p, t.r.entries[1].key));
    assert_string_equal(t.r.entries[2].key, "p/z");
    assert_false(t.r.truncated);
    test_prov_req_done(&t);

    test_prov_req_init(&f->c, &t, PROV_LIST, "p/");
    t.r.list_max = 2;
    assert_int_equal(test_prov_run(&f->c, &t), C2_E_OK);
    assert_int_equal(t.r.nentries, 2);
    assert_true(t.r.truncated); /* "p/z" had to go */
    test_prov_req_done(&t);
    assert_int_equal(injected(f, "forge"), 2);
}

static void
fault__loop_begins_again_and_never_ends(void **state)
{
    struct fixture *f = *state;
    struct test_prov_req t;
    store(f, "p/a", "x");
    store(f, "p/b", "x");
    set(f, "loop");
    test_prov_req_init(&f->c, &t, PROV_LIST, "p/");
    t.r.list_after = "p/a";
    assert_int_equal(test_prov_run(&f->c, &t), C2_E_OK);
    assert_int_equal(t.r.nentries, 2);
    assert_string_equal(t.r.entries[0].key, "p/a");
    assert_true(t.r.truncated);
    assert_string_equal(t.r.list_after, "p/a"); /* the caller's question is what it was */
    test_prov_req_done(&t);
    assert_int_equal(injected(f, "loop"), 1);
}

static void
fault__rollback_keeps_the_bucket_as_it_was(void **state)
{
    struct fixture *f = *state;
    struct c2_blob *body = NULL;
    const char *keys[] = { "k" };
    store(f, "k", "old");
    set(f, "rollback");
    assert_int_equal(test_prov_put(&f->c, "k", c2_slice_str("new"), false), C2_E_OK);
    assert_int_equal(test_prov_put(&f->c, "other", c2_slice_str("new"), false), C2_E_OK);
    assert_int_equal(test_prov_delete(&f->c, "k"), C2_E_OK);
    struct test_prov_req t;
    test_prov_req_init(&f->c, &t, PROV_DELETE_MANY, "");
    t.r.keys = keys;
    t.r.nkeys = 1;
    assert_int_equal(test_prov_run(&f->c, &t), C2_E_OK);
    test_prov_assert_body(&f->c, "k", c2_slice_str("old"));
    assert_int_equal(test_prov_get(&f->c, "other", &body), C2_E_NOT_FOUND);
    assert_int_equal(prov_mem_count(f->c.p), 1);
    assert_int_equal(injected(f, "rollback"), 4);
}

static void
fault__checksum_of_other_bytes_fails_a_put_that_was_made(void **state)
{
    struct fixture *f = *state;
    set(f, "checksum");
    assert_int_equal(test_prov_put(&f->c, "k", c2_slice_str("x"), false), C2_E_CORRUPT);
    test_prov_assert_body(&f->c, "k", c2_slice_str("x"));
    assert_int_equal(injected(f, "checksum"), 1);
}

static void
fault__skew_is_a_day(void **state)
{
    struct fixture *f = *state;
    struct test_prov_req t;
    store(f, "k", "x");
    set(f, "skew");
    test_prov_req_init(&f->c, &t, PROV_GET, "k");
    assert_int_equal(test_prov_run(&f->c, &t), C2_E_OK);
    uint64_t ours = c2_wall_ns(f->c.p->env);
    uint64_t theirs = t.r.server_wall_ns;
    uint64_t apart = theirs > ours ? theirs - ours : ours - theirs;
    assert_true(apart > 24 * 3600 * C2_NS_PER_S);
    test_prov_req_done(&t);
    assert_int_equal(injected(f, "skew"), 1);
}

static void
fault__drip_takes_its_time(void **state)
{
    struct fixture *f = *state;
    struct test_prov_req t;
    store(f, "k", "x");
    set(f, "drip:2s");
    uint64_t start_ns = c2_now_ns(f->c.p->env);
    test_prov_assert_body(&f->c, "k", c2_slice_str("x"));
    assert_int_equal(c2_now_ns(f->c.p->env) - start_ns, 2 * C2_NS_PER_S);

    test_prov_req_init(&f->c, &t, PROV_GET, "k"); /* too long for this one */
    t.r.deadline_ns = c2_now_ns(f->c.p->env) + C2_NS_PER_S;
    assert_int_equal(test_prov_run(&f->c, &t), C2_E_TIMEOUT);
    assert_int_equal(c2_now_ns(f->c.p->env), t.r.deadline_ns);
    assert_null(t.r.reply);

    set(f, "drip");
    start_ns = c2_now_ns(f->c.p->env);
    test_prov_req_init(&f->c, &t, PROV_GET, "k");
    assert_int_equal(test_prov_run(&f->c, &t), C2_E_TIMEOUT);
    assert_int_equal(c2_now_ns(f->c.p->env) - start_ns, 60 * C2_NS_PER_S);
    assert_int_equal(injected(f, "drip"), 3);

    test_prov_req_init(&f->c, &t, PROV_GET, "nothing"); /* there is nothing to drip */
    assert_int_equal(test_prov_run(&f->c, &t), C2_E_NOT_FOUND);
    assert_int_equal(injected(f, "drip"), 3);
}

static void
fault__drip_can_be_canceled(void **state)
{
    struct fixture *f = *state;
    struct test_prov_req t;
    store(f, "k", "x");
    set(f, "drip");
    uint64_t start_ns = c2_now_ns(f->c.p->env);
    test_prov_req_init(&f->c, &t, PROV_GET, "k");
    prov_submit(f->c.p, &t.r);
    test_env_run_ready(f->t);
    assert_int_equal(injected(f, "drip"), 1);
    prov_cancel(f->c.p, &t.r);
    assert_false(t.completed);
    test_prov_wait(&f->c, &t);
    assert_int_equal(t.r.err, C2_E_CANCELED);
    assert_null(t.r.reply);
    assert_int_equal(c2_now_ns(f->c.p->env), start_ns);
}

static void
fault__every_threat_strikes(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < FAULT_THREATS; i++) {
        uint64_t before = prov_fault_count(f->c.p);
        set(f, fault_threats[i].name);
        for (unsigned k = 0; k < 20; k++) {
            char key[16];
            struct test_prov_req t;
            snprintf(key, sizeof key, "%02u-%02u", i, k);
            (void)test_prov_put(&f->c, key, c2_slice_str("x"), false);
            test_prov_req_init(&f->c, &t, PROV_GET, key);
            t.r.deadline_ns = c2_now_ns(f->c.p->env) + C2_NS_PER_S;
            (void)test_prov_run(&f->c, &t);
            test_prov_req_done(&t);
            test_prov_req_init(&f->c, &t, PROV_LIST, "");
            t.r.deadline_ns = c2_now_ns(f->c.p->env) + C2_NS_PER_S;
            (void)test_prov_run(&f->c, &t);
            test_prov_req_done(&t);
        }
        if (prov_fault_count(f->c.p) == before)
            fail_msg("%s (%s) did nothing", fault_threats[i].name, fault_threats[i].what);
    }
}

static void
fault__chance_is_about_right(void **state)
{
    struct fixture *f = *state;
    struct c2_blob *body = NULL;
    set(f, "error:10%");
    for (unsigned i = 0; i < 2000; i++) {
        enum c2_err err = test_prov_get(&f->c, "k", &body);
        assert_true(err == C2_E_NOT_FOUND || err == C2_E_UNAVAILABLE);
    }
    assert_in_range(injected(f, "error"), 150, 250);
}

/* One letter per request. */
static void
run_of_errors(struct fixture *f, uint64_t seed, char out[65])
{
    struct provider *p = prov_mem_share(f->c.p, test_env_env(f->t), "m");
    assert_int_equal(prov_fault_new(p, "error:50%", seed, &p), C2_E_OK);
    struct provider_contract c = provider_contract_in(f->t, p);
    for (unsigned i = 0; i < 64; i++) {
        struct c2_blob *body = NULL;
        out[i] = test_prov_get(&c, "k", &body) == C2_E_UNAVAILABLE ? 'e' : '.';
    }
    out[64] = '\0';
    prov_close(p);
}

static void
fault__seed_decides_what_is_hit(void **state)
{
    struct fixture *f = *state;
    char first[65];
    char again[65];
    char other[65];
    run_of_errors(f, 5, first);
    run_of_errors(f, 5, again);
    run_of_errors(f, 6, other);
    assert_string_equal(first, again);
    assert_string_not_equal(first, other);
}

static void
fault__set_finds_the_layer_anywhere_in_the_stack(void **state)
{
    struct fixture *f = *state;
    struct provider *p = prov_mem_new(test_env_env(f->t), "m");
    assert_int_equal(prov_fault_set(p, "error"), C2_E_UNSUPPORTED);
    assert_int_equal(prov_fault_count(p), 0);
    assert_int_equal(prov_fault_new(p, "", 1, &p), C2_E_OK);
    p = prov_retry_new(prov_limit_new(prov_stats_new(p), 4, 4, 0), 1, 1, 1);
    struct provider_contract c = provider_contract_in(f->t, p);
    struct c2_blob *body = NULL;
    assert_int_equal(prov_fault_set(p, "error"), C2_E_OK);
    assert_int_equal(test_prov_get(&c, "k", &body), C2_E_UNAVAILABLE);
    assert_int_equal(prov_fault_count(p), 1);
    assert_int_equal(prov_fault_count_kind(p, "nonsense"), 0);
    prov_close(p);
}

static void
fault__bad_spec_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct c2_blob *body = NULL;
    set(f, "error");
    assert_int_equal(prov_fault_set(f->c.p, "eror"), C2_E_CONFIG);
    assert_int_equal(test_prov_get(&f->c, "k", &body), C2_E_UNAVAILABLE);
    struct provider *none = NULL;
    assert_int_equal(prov_fault_new(f->c.p, "eror", 1, &none), C2_E_CONFIG);
    assert_null(none);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(fault__empty_spec_passes_the_contract),
        TEST(fault__delay_passes_the_contract),
        TEST(fault__stale_rule_that_never_hits_passes_the_contract),
        TEST(fault__plain_errors_never_reach_the_cloud),
        TEST(fault__full_refuses_puts_and_gives_what_it_has),
        TEST(fault__verb_filter_spares_the_others),
        TEST(fault__lost_answer_has_taken_effect),
        TEST(fault__hang_ends_at_the_deadline),
        TEST(fault__hang_and_delay_can_be_canceled),
        TEST(fault__delay_honours_the_deadline),
        TEST(fault__lie_acknowledges_without_storing),
        TEST(fault__absent_hides_objects),
        TEST(fault__absent_leaves_keys_out_of_lists),
        TEST(fault__empty_has_no_bytes_and_no_keys),
        TEST(fault__corrupt_changes_one_byte_of_the_answer_only),
        TEST(fault__truncate_loses_the_end),
        TEST(fault__huge_exceeds_what_was_asked_but_not_the_callers_limit),
        TEST(fault__swap_answers_another_object),
        TEST(fault__stale_answers_what_was_before),
        TEST(fault__stale_memory_is_bounded),
        TEST(fault__forge_lists_a_key_that_is_not_there),
        TEST(fault__loop_begins_again_and_never_ends),
        TEST(fault__rollback_keeps_the_bucket_as_it_was),
        TEST(fault__checksum_of_other_bytes_fails_a_put_that_was_made),
        TEST(fault__skew_is_a_day),
        TEST(fault__drip_takes_its_time),
        TEST(fault__drip_can_be_canceled),
        TEST(fault__every_threat_strikes),
        TEST(fault__chance_is_about_right),
        TEST(fault__seed_decides_what_is_hit),
        TEST(fault__set_finds_the_layer_anywhere_in_the_stack),
        TEST(fault__bad_spec_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
