/* SPDX-License-Identifier: MIT */
/*
 * A coordination service in a test environment, local or of four replicas, and requests that wait
 * for their answer. Keys and values are C strings.
 */
#ifndef C2_TESTS_LIB_COORD_FIXTURE_H
#define C2_TESTS_LIB_COORD_FIXTURE_H

#include "metadata/coord.h"
#include "tests/lib/test_env.h"

#define COORD_FIXTURE_MAP_SIZE (64u << 20)

struct bft_rig;

struct coord_fixture {
    struct bft_rig *rig; /* NULL = a local one */
    struct test_env *t;
    struct c2_env *env;
    struct coord *c;
    char *path;
};

struct coord_call {
    struct coord_req r;
    bool completed;
    uint64_t order;    /* 1, 2, 3 … over the calls of *counter */
    uint64_t *counter; /* may be NULL */
};

/* A watch that counts what it is told. */
struct coord_counter {
    struct coord_watch w;
    unsigned events, reloads;
};

/* A new store in the folder "meta" of the test environment. */
void coord_fixture_init(struct coord_fixture *f);
void coord_fixture_done(struct coord_fixture *f);
/* Ends the service, with all replicas, and starts it again. */
void coord_fixture_close(struct coord_fixture *f);
void coord_fixture_open(struct coord_fixture *f);
/* For setup and teardown of cmocka: *state is a struct coord_fixture. */
int coord_fixture_setup(void **state);
int coord_fixture_setup_bft(void **state); /* of four replicas, in the same process */
int coord_fixture_teardown(void **state);

/* For coord_watch, which must not find it elsewhere later. The prefix is borrowed. */
struct coord_counter coord_counter(const char *prefix);

/* For whoever submits it in another way. */
void coord_call_prepare(struct coord_call *call);
void coord_call_start(struct coord_fixture *f, struct coord_call *call);
void coord_call_wait(struct coord_fixture *f, struct coord_call *call);
enum c2_err coord_call_run(struct coord_fixture *f, struct coord_call *call);

struct coord_cond cond(enum coord_cond_kind kind, const char *key, const char *value,
                       uint64_t number);
struct coord_op op(enum coord_op_kind kind, const char *key, const char *value, int64_t number);

/* One transaction; *ret_version may be NULL. What a conflict shows is thrown away. */
enum c2_err txn(struct coord_fixture *f, const struct coord_cond *conds, size_t nconds,
                const struct coord_op *ops, size_t nops, uint64_t *ret_version);
enum c2_err txn_op(struct coord_fixture *f, struct coord_op o, uint64_t *ret_version);
enum c2_err txn_if(struct coord_fixture *f, struct coord_cond c, struct coord_op o);
uint64_t put(struct coord_fixture *f, const char *key, const char *value);
/* The value, "" when absent; the version, 0 when absent. The caller frees the value. */
char *get(struct coord_fixture *f, const char *key, uint64_t *ret_version);
void assert_value(struct coord_fixture *f, const char *key, const char *value);
void assert_absent(struct coord_fixture *f, const char *key);
uint64_t session_open(struct coord_fixture *f, uint64_t ttl_ns);
enum c2_err session_keepalive(struct coord_fixture *f, uint64_t session);
enum c2_err session_close(struct coord_fixture *f, uint64_t session);

#endif
