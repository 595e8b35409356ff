/* SPDX-License-Identifier: MIT */
#include "tests/lib/coord_fixture.h"

#include "base/alloc.h"
#include "base/crypto.h"
#include "metadata/local.h"
#include "tests/lib/bft_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

void
coord_fixture_open(struct coord_fixture *f)
{
    char *error = NULL;
    if (f->rig != NULL) {
        bft_rig_start_all(f->rig);
        f->c = bft_rig_client(f->rig, 0);
        return;
    }
    enum c2_err err =
        coord_local_open(f->env, f->path, false, COORD_FIXTURE_MAP_SIZE, &f->c, &error);
    if (err != C2_E_OK)
        fail_msg("cannot open: %s", error);
}

void
coord_fixture_close(struct coord_fixture *f)
{
    coord_close(f->c);
    f->c = NULL;
    test_env_run_ready(f->t);
    for (unsigned i = 0; f->rig != NULL && i < f->rig->n; i++) {
        if (f->rig->replica[i].node != NULL) /* else the test has ended it */
            bft_rig_stop(f->rig, i);
    }
}

void
coord_fixture_init(struct coord_fixture *f)
{
    assert_int_equal(c2_crypto_init(), C2_E_OK);
    f->rig = NULL;
    f->t = test_env_new(1);
    f->env = test_env_env(f->t);
    f->path = test_env_path(f->t, "meta");
    char *error = NULL;
    enum c2_err err =
        coord_local_open(f->env, f->path, true, COORD_FIXTURE_MAP_SIZE, &f->c, &error);
    if (err != C2_E_OK)
        fail_msg("cannot create: %s", error);
}

void
coord_fixture_done(struct coord_fixture *f)
{
    coord_fixture_close(f);
    if (f->rig != NULL)
        bft_rig_free(f->rig);
    c2_free(f->path);
    test_env_free(f->t);
}

int
coord_fixture_setup(void **state)
{
    struct coord_fixture *f = c2_calloc(1, sizeof *f);
    coord_fixture_init(f);
    *state = f;
    return 0;
}

int
coord_fixture_setup_bft(void **state)
{
    struct coord_fixture *f = c2_calloc(1, sizeof *f);
    assert_int_equal(c2_crypto_init(), C2_E_OK);
    f->t = test_env_new(1);
    f->env = test_env_env(f->t);
    f->rig = bft_rig_new(f->t, 1);
    coord_fixture_open(f);
    *state = f;
    return 0;
}

int
coord_fixture_teardown(void **state)
{
    struct coord_fixture *f = *state;
    coord_fixture_done(f);
    c2_free(f);
    return 0;
}

static void
call_done(struct coord_req *r)
{
    struct coord_call *call = C2_CONTAINER_OF(r, struct coord_call, r);
    assert_false(call->completed);
    call->completed = true;
    if (call->counter != NULL)
        call->order = ++*call->counter;
}

void
coord_call_prepare(struct coord_call *call)
{
    call->completed = false;
    call->r.done = call_done;
}

void
coord_call_start(struct coord_fixture *f, struct coord_call *call)
{
    coord_call_prepare(call);
    coord_submit(f->c, &call->r);
    assert_false(call->completed);
}

void
coord_call_wait(struct coord_fixture *f, struct coord_call *call)
{
    test_env_run_until(f->t, &call->completed);
}

enum c2_err
coord_call_run(struct coord_fixture *f, struct coord_call *call)
{
    coord_call_start(f, call);
    coord_call_wait(f, call);
    return call->r.err;
}

static struct c2_slice
text(const char *s)
{
    return s == NULL ? c2_slice(NULL, 0) : c2_slice_str(s);
}

struct coord_cond
cond(enum coord_cond_kind kind, const char *key, const char *value, uint64_t number)
{
    return (struct coord_cond){ kind, text(key), text(value), number };
}

struct coord_op
op(enum coord_op_kind kind, const char *key, const char *value, int64_t number)
{
    return (struct coord_op){ kind, text(key), text(value), number };
}

enum c2_err
txn(struct coord_fixture *f, const struct coord_cond *conds, size_t nconds,
    const struct coord_op *ops, size_t nops, uint64_t *ret_version)
{
    struct coord_call call = { 0 };
    call.r.verb = COORD_TXN;
    call.r.conds = conds;
    call.r.nconds = nconds;
    call.r.ops = ops;
    call.r.nops = nops;
    enum c2_err err = coord_call_run(f, &call);
    if (ret_version != NULL)
        *ret_version = call.r.version;
    coord_req_done(&call.r);
    return err;
}

enum c2_err
txn_op(struct coord_fixture *f, struct coord_op o, uint64_t *ret_version)
{
    return txn(f, NULL, 0, &o, 1, ret_version);
}

enum c2_err
txn_if(struct coord_fixture *f, struct coord_cond c, struct coord_op o)
{
    return txn(f, &c, 1, &o, 1, NULL);
}

uint64_t
put(struct coord_fixture *f, const char *key, const char *value)
{
    uint64_t version = 0;
    assert_int_equal(txn_op(f, op(COORD_PUT, key, value, 0), &version), C2_E_OK);
    return version;
}

char *
get(struct coord_fixture *f, const char *key, uint64_t *ret_version)
{
    const struct c2_slice k = c2_slice_str(key);
    struct coord_call call = { 0 };
    call.r.verb = COORD_GET;
    call.r.keys = &k;
    call.r.nkeys = 1;
    assert_int_equal(coord_call_run(f, &call), C2_E_OK);
    assert_int_equal(call.r.nentries, 1);
    struct c2_slice v = call.r.entries[0].value;
    char *value = v.len == 0 ? c2_strdup("") : c2_strndup((const char *)v.data, v.len);
    if (ret_version != NULL)
        *ret_version = call.r.entries[0].version;
    coord_req_done(&call.r);
    return value;
}

void
assert_value(struct coord_fixture *f, const char *key, const char *value)
{
    uint64_t version = 0;
    char *have = get(f, key, &version);
    assert_string_equal(have, value);
    assert_int_not_equal(version, 0);
    c2_free(have);
}

void
assert_absent(struct coord_fixture *f, const char *key)
{
    uint64_t version = 1;
    c2_free(get(f, key, &version));
    assert_int_equal(version, 0);
}

uint64_t
session_open(struct coord_fixture *f, uint64_t ttl_ns)
{
    struct coord_call call = { 0 };
    call.r.verb = COORD_SESSION_OPEN;
    call.r.ttl_ns = ttl_ns;
    assert_int_equal(coord_call_run(f, &call), C2_E_OK);
    assert_int_not_equal(call.r.session, 0);
    return call.r.session;
}

static enum c2_err
session_call(struct coord_fixture *f, enum coord_verb verb, uint64_t session)
{
    struct coord_call call = { 0 };
    call.r.verb = verb;
    call.r.session = session;
    return coord_call_run(f, &call);
}

enum c2_err
session_keepalive(struct coord_fixture *f, uint64_t session)
{
    return session_call(f, COORD_SESSION_KEEPALIVE, session);
}

enum c2_err
session_close(struct coord_fixture *f, uint64_t session)
{
    return session_call(f, COORD_SESSION_CLOSE, session);
}

static void
count_event(struct coord_watch *w, struct c2_slice key, uint64_t version, bool deleted)
{
    (void)key;
    (void)version;
    (void)deleted;
    C2_CONTAINER_OF(w, struct coord_counter, w)->events++;
}

static void
count_reload(struct coord_watch *w)
{
    C2_CONTAINER_OF(w, struct coord_counter, w)->reloads++;
}

struct coord_counter
coord_counter(const char *prefix)
{
    return (struct coord_counter){
        .w = { .prefix = c2_slice_str(prefix), .event = count_event, .reload = count_reload }
    };
}
