/* SPDX-License-Identifier: MIT */
/*
 * The test_prov_* functions of provider_contract.h: one request, waited for.
 */
#include "tests/lib/provider_contract.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#define BODY_MAX ((size_t)64 << 20)

static void
completed(struct prov_req *r)
{
    struct test_prov_req *t = C2_CONTAINER_OF(r, struct test_prov_req, r);
    t->completed = true;
    t->completions++;
}

void
test_prov_req_init(struct provider_contract *c, struct test_prov_req *t, enum prov_verb verb,
                   const char *key)
{
    *t = (struct test_prov_req){ .r = { .verb = verb, .key = key, .done = completed } };
    t->r.deadline_ns = c->timeout_ns == 0 ? C2_NEVER : c2_now_ns(c->p->env) + c->timeout_ns;
    t->r.body_len_max = BODY_MAX;
    t->r.list_max = PROV_LIST_MAX;
}

void
test_prov_wait(struct provider_contract *c, struct test_prov_req *t)
{
    c->run_until(c->arg, &t->completed);
    assert_int_equal(t->completions, 1);
    assert_int_equal(t->r.depth, 0);
}

enum c2_err
test_prov_run(struct provider_contract *c, struct test_prov_req *t)
{
    prov_submit(c->p, &t->r);
    assert_false(t->completed); /* never from inside submit */
    test_prov_wait(c, t);
    return t->r.err;
}

void
test_prov_req_done(struct test_prov_req *t)
{
    prov_req_done(&t->r);
}

enum c2_err
test_prov_put(struct provider_contract *c, const char *key, struct c2_slice body, bool if_absent)
{
    struct test_prov_req t;
    test_prov_req_init(c, &t, PROV_PUT, key);
    t.r.body = c2_blob_copy(body.data, body.len);
    t.r.if_absent = if_absent;
    enum c2_err err = test_prov_run(c, &t);
    c2_blob_unref(t.r.body);
    test_prov_req_done(&t);
    return err;
}

enum c2_err
test_prov_get(struct provider_contract *c, const char *key, struct c2_blob **ret_body)
{
    struct test_prov_req t;
    test_prov_req_init(c, &t, PROV_GET, key);
    enum c2_err err = test_prov_run(c, &t);
    if (err == C2_E_OK) {
        assert_non_null(t.r.reply);
        *ret_body = c2_blob_ref(t.r.reply);
    }
    test_prov_req_done(&t);
    return err;
}

enum c2_err
test_prov_head(struct provider_contract *c, const char *key, uint64_t *ret_size)
{
    struct test_prov_req t;
    test_prov_req_init(c, &t, PROV_HEAD, key);
    enum c2_err err = test_prov_run(c, &t);
    if (err == C2_E_OK)
        *ret_size = t.r.size;
    test_prov_req_done(&t);
    return err;
}

enum c2_err
test_prov_delete(struct provider_contract *c, const char *key)
{
    struct test_prov_req t;
    test_prov_req_init(c, &t, PROV_DELETE, key);
    enum c2_err err = test_prov_run(c, &t);
    test_prov_req_done(&t);
    return err;
}

void
test_prov_assert_body(struct provider_contract *c, const char *key, struct c2_slice body)
{
    struct c2_blob *got = NULL;
    assert_int_equal(test_prov_get(c, key, &got), C2_E_OK);
    C2_ASSERT(got != NULL);
    assert_int_equal(got->len, body.len);
    assert_memory_equal(got->data, body.data, body.len);
    c2_blob_unref(got);
}

enum c2_err
test_prov_list(struct provider_contract *c, const char *prefix, const char *after, size_t max,
               struct c2_buf *out)
{
    struct test_prov_req t;
    test_prov_req_init(c, &t, PROV_LIST, prefix);
    t.r.list_after = after;
    t.r.list_max = max;
    enum c2_err err = test_prov_run(c, &t);
    assert_true(t.r.nentries <= max);
    for (size_t i = 0; err == C2_E_OK && i < t.r.nentries; i++)
        c2_buf_printf(out, "%s\n", t.r.entries[i].key);
    if (err == C2_E_OK && t.r.truncated)
        c2_buf_puts(out, "...");
    test_prov_req_done(&t);
    return err;
}
