/* SPDX-License-Identifier: MIT */
/*
 * The contract of backends/provider.h as a table of tests that every provider and every stack of
 * layers passes. The provider may hold other objects; everything happens below `prefix`, and each
 * case works in a folder of its own.
 *
 *     struct provider_contract c = { .p = p, .prefix = "contract/", .run_until = ..., .arg = ... };
 *     provider_contract_run_all(&c);
 *
 * The test_prov_* functions wait for one request; other tests of providers use them as well.
 */
#ifndef C2_TESTS_LIB_PROVIDER_CONTRACT_H
#define C2_TESTS_LIB_PROVIDER_CONTRACT_H

#include "backends/provider.h"

struct test_env;

struct provider_contract {
    struct provider *p;                             /* borrowed */
    const char *prefix;                             /* "" or ending in '/', at most 64 characters */
    uint64_t timeout_ns;                            /* of each request; 0 = none */
    void (*run_until)(void *arg, const bool *flag); /* runs the loop */
    void *arg;
};

struct provider_contract_case {
    const char *name;
    void (*run)(struct provider_contract *c);
};

extern const struct provider_contract_case provider_contract_cases[];
extern const size_t provider_contract_cases_count;

/* In the deterministic environment. */
struct provider_contract provider_contract_in(struct test_env *t, struct provider *p);
void provider_contract_run_all(struct provider_contract *c);

/* A request whose completion sets `completed`. The caller frees with test_prov_req_done. */
struct test_prov_req {
    struct prov_req r; /* first */
    bool completed;
    unsigned completions;
};

/* Zeroed, with done and a deadline from c. */
void test_prov_req_init(struct provider_contract *c, struct test_prov_req *t, enum prov_verb verb,
                        const char *key);
void test_prov_wait(struct provider_contract *c, struct test_prov_req *t);
/* Submits, asserts that done did not run inside, waits; returns r.err. */
enum c2_err test_prov_run(struct provider_contract *c, struct test_prov_req *t);
void test_prov_req_done(struct test_prov_req *t);

/* One request each, key used as it is (no prefix added). */
enum c2_err test_prov_put(struct provider_contract *c, const char *key, struct c2_slice body,
                          bool if_absent);
/* *ret_body is set on success; caller frees with c2_blob_unref. */
enum c2_err test_prov_get(struct provider_contract *c, const char *key, struct c2_blob **ret_body);
enum c2_err test_prov_head(struct provider_contract *c, const char *key, uint64_t *ret_size);
enum c2_err test_prov_delete(struct provider_contract *c, const char *key);
/* Fails the test unless the object has these bytes. */
void test_prov_assert_body(struct provider_contract *c, const char *key, struct c2_slice body);
/* The keys of one LIST, one per line: "a\nb\n", with "..." at the end when truncated. */
enum c2_err test_prov_list(struct provider_contract *c, const char *prefix, const char *after,
                           size_t max, struct c2_buf *out);

#endif
