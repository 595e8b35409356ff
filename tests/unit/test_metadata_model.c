/* SPDX-License-Identifier: MIT */
/*
 * Random histories against a reference model that is as simple as the words in coord.h: an array of
 * keys and an array of sessions. Every answer is compared, then the whole state, then the state
 * that the log and a snapshot give. A failure names its seed; C2_MODEL_SEED replays it.
 */
#include "base/alloc.h"
#include "base/wire.h"
#include "metadata/local.h"
#include "metadata/registry.h"
#include "tests/lib/coord_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEYS      40
#define SESSIONS  6
#define CONDS_MAX 3
#define OPS_MAX   5
#define STEPS     400

struct model_key {
    bool present;
    uint64_t version;
    uint64_t session;
    uint8_t value[8];
    size_t len;
};

struct model_session {
    uint64_t id; /* 0 = none */
    uint64_t ttl_ns;
    uint64_t deadline_ns;
};

struct model {
    uint64_t version;
    struct model_key keys[KEYS];
    struct model_session sessions[SESSIONS];
};

struct run {
    struct coord_fixture f;
    struct model m;
    uint64_t random;
    char names[KEYS][8];
};

static uint64_t
pick(struct run *x, uint64_t n)
{
    x->random = x->random * 6364136223846793005ull + 1442695040888963407ull;
    return (x->random >> 33) % n;
}

/* --- the model ------------------------------------------------------------------------------- */

static size_t
key_index(struct run *x, struct c2_slice key)
{
    for (size_t i = 0; i < KEYS; i++) {
        if (c2_slice_equal(key, c2_slice_str(x->names[i])))
            return i;
    }
    fail_msg("unknown key");
    return 0;
}

static struct model_session *
find_session(struct model *m, uint64_t id)
{
    for (size_t i = 0; i < SESSIONS; i++) {
        if (id != 0 && m->sessions[i].id == id)
            return &m->sessions[i];
    }
    return NULL;
}

static void
end_session(struct model *m, struct model_session *s)
{
    for (size_t i = 0; i < KEYS; i++) {
        if (m->keys[i].present && m->keys[i].session == s->id)
            m->keys[i] = (struct model_key){ 0 };
    }
    *s = (struct model_session){ 0 };
}

static void
expire(struct model *m, uint64_t now_ns)
{
    bool any = false;
    for (size_t i = 0; i < SESSIONS; i++) {
        if (m->sessions[i].id != 0 && m->sessions[i].deadline_ns <= now_ns) {
            end_session(m, &m->sessions[i]);
            any = true;
        }
    }
    m->version += any;
}

static bool
holds(struct run *x, const struct coord_cond *c)
{
    if (c->kind == COORD_SESSION_ALIVE)
        return find_session(&x->m, c->number) != NULL;
    const struct model_key *k = &x->m.keys[key_index(x, c->key)];
    switch (c->kind) {
    case COORD_EXISTS:
        return k->present;
    case COORD_ABSENT:
        return !k->present;
    case COORD_VERSION_EQ:
        return k->version == c->number;
    case COORD_VERSION_LE:
        return k->version <= c->number;
    case COORD_VALUE_EQ:
        return k->present && c2_slice_equal(c2_slice(k->value, k->len), c->value);
    case COORD_SESSION_ALIVE:
        break;
    }
    return false;
}

static void
model_set(struct model *m, struct model_key *k, uint64_t session, struct c2_slice value)
{
    *k = (struct model_key){ .present = true, .version = m->version + 1, .session = session };
    if (value.len > 0)
        memcpy(k->value, value.data, value.len);
    k->len = value.len;
}

static enum c2_err
model_add(struct model *m, struct model_key *k, int64_t delta)
{
    if (k->present && k->len != 8)
        return C2_E_INVALID;
    int64_t sum = k->present ? (int64_t)c2_get_u64(k->value) : 0;
    if (__builtin_add_overflow(sum, delta, &sum))
        return C2_E_RANGE;
    uint8_t bytes[8];
    c2_put_u64(bytes, (uint64_t)sum);
    model_set(m, k, k->session, c2_slice(bytes, 8));
    return C2_E_OK;
}

static enum c2_err
model_op(struct run *x, const struct coord_op *o)
{
    struct model *m = &x->m;
    if (o->kind == COORD_DELETE_RANGE) {
        for (size_t i = 0; i < KEYS; i++) {
            if (c2_slice_starts_with(c2_slice_str(x->names[i]), o->key))
                m->keys[i] = (struct model_key){ 0 };
        }
        return C2_E_OK;
    }
    struct model_key *k = &m->keys[key_index(x, o->key)];
    switch (o->kind) {
    case COORD_PUT:
        model_set(m, k, 0, o->value);
        return C2_E_OK;
    case COORD_DELETE:
        *k = (struct model_key){ 0 };
        return C2_E_OK;
    case COORD_ADD:
        return model_add(m, k, o->number);
    case COORD_PUT_EPHEMERAL:
        if (find_session(m, (uint64_t)o->number) == NULL)
            return C2_E_SESSION;
        model_set(m, k, (uint64_t)o->number, o->value);
        return C2_E_OK;
    case COORD_DELETE_RANGE:
        break;
    }
    return C2_E_INVALID;
}

static enum c2_err
model_txn(struct run *x, const struct coord_req *r, size_t *ret_failed)
{
    *ret_failed = 0;
    for (size_t i = 0; i < r->nconds; i++) {
        if (!holds(x, &r->conds[i])) {
            *ret_failed = i;
            return C2_E_CONFLICT;
        }
    }
    struct model before = x->m;
    for (size_t i = 0; i < r->nops; i++) {
        enum c2_err err = model_op(x, &r->ops[i]);
        if (err != C2_E_OK) {
            x->m = before;
            return err;
        }
    }
    x->m.version++;
    return C2_E_OK;
}

/* --- random steps ---------------------------------------------------------------------------- */

static uint64_t
some_session(struct run *x)
{
    uint64_t id = x->m.sessions[pick(x, SESSIONS)].id;
    return id != 0 ? id : 1 + pick(x, 1000); /* often a dead one */
}

static struct c2_slice
some_key(struct run *x)
{
    return c2_slice_str(x->names[pick(x, KEYS)]);
}

static struct c2_slice
some_value(struct run *x)
{
    static const uint8_t bytes[] = "abcdefgh";
    return c2_slice(bytes, pick(x, 5) == 0 ? 8 : pick(x, 4));
}

static struct coord_cond
some_cond(struct run *x)
{
    struct coord_cond c = { .kind = (enum coord_cond_kind)pick(x, COORD_SESSION_ALIVE + 1) };
    c.key = some_key(x);
    const struct model_key *k = &x->m.keys[key_index(x, c.key)];
    switch (c.kind) {
    case COORD_VERSION_EQ:
    case COORD_VERSION_LE:
        c.number = k->version + (pick(x, 4) == 0);
        break;
    case COORD_VALUE_EQ:
        c.value = pick(x, 3) == 0 ? some_value(x) : c2_slice(k->value, k->len);
        break;
    case COORD_SESSION_ALIVE:
        c.number = some_session(x);
        c.key = c2_slice(NULL, 0);
        break;
    case COORD_EXISTS:
    case COORD_ABSENT:
        break;
    }
    return c;
}

static struct coord_op
some_op(struct run *x)
{
    static const enum coord_op_kind kinds[] = { COORD_PUT,          COORD_PUT, COORD_PUT,
                                                COORD_DELETE,       COORD_ADD, COORD_PUT_EPHEMERAL,
                                                COORD_PUT_EPHEMERAL };
    struct coord_op o = { .kind = kinds[pick(x, C2_ARRAY_LEN(kinds))] };
    o.key = some_key(x);
    o.value = some_value(x);
    if (pick(x, 20) == 0) {
        o.kind = COORD_DELETE_RANGE;
        o.key.len = 1 + pick(x, 2);
    }
    if (o.kind == COORD_ADD)
        o.number = pick(x, 10) == 0 ? INT64_MAX : (int64_t)pick(x, 100) - 50;
    if (o.kind == COORD_PUT_EPHEMERAL)
        o.number = (int64_t)some_session(x);
    return o;
}

static void
step_txn(struct run *x)
{
    struct coord_cond conds[CONDS_MAX];
    struct coord_op ops[OPS_MAX];
    struct coord_call call = { 0 };
    call.r.nconds = pick(x, CONDS_MAX + 1);
    call.r.nops = pick(x, OPS_MAX + 1);
    for (size_t i = 0; i < call.r.nconds; i++)
        conds[i] = some_cond(x);
    for (size_t i = 0; i < call.r.nops; i++)
        ops[i] = some_op(x);
    call.r.conds = conds;
    call.r.ops = ops;
    /* VALUE_EQ may point into the model: answer first, then let the model change. */
    enum c2_err have = coord_call_run(&x->f, &call);
    size_t failed = 0;
    enum c2_err want = model_txn(x, &call.r, &failed);
    if (have != want)
        fail_msg("txn: %s instead of %s", c2_err_name(have), c2_err_name(want));
    assert_int_equal(call.r.cond_failed, failed);
    assert_int_equal(call.r.version, x->m.version);
    for (size_t i = 0; i < call.r.nentries; i++) {
        const struct model_key *k = &x->m.keys[key_index(x, call.r.entries[i].key)];
        assert_int_equal(call.r.entries[i].version, k->version);
        assert_int_equal(call.r.entries[i].session, k->session);
    }
    coord_req_done(&call.r);
}

static void
step_session_open(struct run *x, uint64_t now_ns)
{
    struct model_session *s = NULL;
    for (size_t i = 0; i < SESSIONS && s == NULL; i++)
        s = x->m.sessions[i].id == 0 ? &x->m.sessions[i] : NULL;
    if (s == NULL)
        return;
    s->ttl_ns = (1 + pick(x, 20)) * C2_NS_PER_S;
    s->id = session_open(&x->f, s->ttl_ns);
    s->deadline_ns = now_ns + s->ttl_ns;
    assert_int_equal(s->id, ++x->m.version);
}

static void
step_session_other(struct run *x, uint64_t now_ns)
{
    uint64_t id = some_session(x);
    struct model_session *s = find_session(&x->m, id);
    bool keep = pick(x, 3) != 0;
    enum c2_err err = keep ? session_keepalive(&x->f, id) : session_close(&x->f, id);
    assert_int_equal(err, s == NULL ? C2_E_SESSION : C2_E_OK);
    if (s == NULL)
        return;
    x->m.version++;
    if (keep) {
        s->deadline_ns = now_ns + s->ttl_ns;
    } else {
        end_session(&x->m, s);
    }
}

static void
compare_all(struct run *x)
{
    const struct c2_slice prefix = { 0 };
    struct coord_call call = { .r = { .verb = COORD_RANGE, .keys = &prefix, .nkeys = 1 } };
    assert_int_equal(coord_call_run(&x->f, &call), C2_E_OK);
    size_t present = 0;
    for (size_t i = 0; i < KEYS; i++)
        present += x->m.keys[i].present;
    assert_int_equal(call.r.nentries, present);
    assert_int_equal(call.r.version, x->m.version);
    for (size_t i = 0; i < call.r.nentries; i++) {
        const struct coord_entry *e = &call.r.entries[i];
        const struct model_key *k = &x->m.keys[key_index(x, e->key)];
        assert_true(k->present);
        assert_int_equal(e->version, k->version);
        assert_int_equal(e->session, k->session);
        assert_true(c2_slice_equal(e->value, c2_slice(k->value, k->len)));
        if (i > 0)
            assert_true(c2_slice_compare(call.r.entries[i - 1].key, e->key) < 0);
    }
    coord_req_done(&call.r);
}

/* Sessions that end while time passes make one step for each moment at which some end. */
static void
pass_time(struct run *x, uint64_t ns)
{
    uint64_t end_ns = c2_now_ns(x->f.env) + ns;
    test_env_run_for(x->f.t, ns);
    for (;;) {
        uint64_t next_ns = C2_NEVER;
        for (size_t i = 0; i < SESSIONS; i++) {
            if (x->m.sessions[i].id != 0)
                next_ns = C2_MIN(next_ns, x->m.sessions[i].deadline_ns);
        }
        if (next_ns > end_ns)
            return;
        expire(&x->m, next_ns);
    }
}

static void
step(struct run *x)
{
    uint64_t now_ns = c2_now_ns(x->f.env);
    uint8_t digest[32];
    switch (pick(x, 20)) {
    case 0:
    case 1:
        step_session_open(x, now_ns);
        break;
    case 2:
        step_session_other(x, now_ns);
        break;
    case 3:
        pass_time(x, pick(x, 4) * C2_NS_PER_S);
        break;
    case 4:
        compare_all(x);
        break;
    case 5:
        if (pick(x, 4) == 0) {
            coord_fixture_close(&x->f);
            coord_fixture_open(&x->f);
        }
        break;
    case 6:
        assert_int_equal(coord_local_digest(x->f.c, digest), C2_E_OK);
        break;
    default:
        step_txn(x);
        break;
    }
}

/* --- the same state by other ways ------------------------------------------------------------ */

static struct coord *
open_other(struct run *x, const char *name)
{
    struct coord *c = NULL;
    char *error = NULL;
    char *path = test_env_path(x->f.t, name);
    assert_int_equal(coord_local_open(x->f.env, path, true, COORD_FIXTURE_MAP_SIZE, &c, &error),
                     C2_E_OK);
    c2_free(path);
    return c;
}

static void
assert_digest(struct run *x, struct coord *other)
{
    uint8_t a[32];
    uint8_t b[32];
    assert_int_equal(coord_local_digest(x->f.c, a), C2_E_OK);
    assert_int_equal(coord_local_digest(other, b), C2_E_OK);
    assert_memory_equal(a, b, sizeof a);
    coord_close(other);
}

static enum c2_err
load_chunk(void *arg, struct c2_slice chunk)
{
    return coord_local_load(arg, chunk);
}

static void
compare_copies(struct run *x)
{
    struct coord *loaded = open_other(x, "loaded");
    uint64_t version = 0;
    assert_int_equal(coord_local_dump(x->f.c, load_chunk, loaded, &version), C2_E_OK);
    assert_int_equal(version, x->m.version);
    assert_digest(x, loaded);
    struct coord *replayed = open_other(x, "replayed");
    struct coord_call call = { .r = { .verb = COORD_LOG_READ } };
    assert_int_equal(coord_call_run(&x->f, &call), C2_E_OK);
    assert_false(call.r.more);
    assert_int_equal(coord_local_replay_log(replayed, c2_buf_slice(&call.r.reply)), C2_E_OK);
    coord_req_done(&call.r);
    assert_digest(x, replayed);
}

static void
run_seed(uint64_t seed)
{
    struct run *x = c2_calloc(1, sizeof *x);
    x->random = seed * 0x9e3779b97f4a7c15ull + 1;
    for (size_t i = 0; i < KEYS; i++)
        snprintf(x->names[i], sizeof x->names[i], "%c%zu", 'a' + (char)(i % 3), i);
    coord_fixture_init(&x->f);
    print_message("seed %llu\n", (unsigned long long)seed);
    for (size_t i = 0; i < STEPS; i++)
        step(x);
    compare_all(x);
    compare_copies(x);
    coord_fixture_done(&x->f);
    c2_free(x);
}

static void
model__agrees_with_the_store_on_random_histories(void **state)
{
    (void)state;
    const char *only = getenv("C2_MODEL_SEED");
    if (only != NULL) {
        run_seed(strtoull(only, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= 12; seed++)
        run_seed(seed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(model__agrees_with_the_store_on_random_histories),
    };
    return cmocka_run_group_tests_name("metadata_model", tests, NULL, NULL);
}
