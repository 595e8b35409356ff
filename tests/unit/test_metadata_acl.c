/* SPDX-License-Identifier: MIT */
/*
 * Who may do what: the same commands of several clients on a store as replicas have it, and on one
 * as local: has it, which must agree on every answer and on the state.
 */
#include "metadata/replica.h"

#include "base/alloc.h"
#include "base/crypto.h"
#include "metadata/cluster.h"
#include "metadata/cmd.h"
#include "metadata/rights.h"
#include "metadata/store.h"
#include "tests/lib/test_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define READ   COORD_MAY_READ
#define WRITE  COORD_MAY_WRITE
#define MANAGE COORD_MAY_ADMINISTER
#define STORES 2

struct rig {
    struct test_env *t;
    char *path[STORES];
    struct replica_app *app[STORES];
    struct replica_batch *batch[STORES];
    uint64_t now_ns;
    struct coord_req r; /* the last answer */
};

static void
open_stores(struct rig *g, bool create)
{
    for (size_t i = 0; i < STORES; i++) {
        struct store_options o = { .map_size = 16u << 20, .create = create };
        char *error = NULL;
        o.replicated = i == 0;
        o.keep_log = i == 1;
        assert_int_equal(store_open(g->path[i], &o, &g->app[i], &error), C2_E_OK);
        assert_int_equal(g->app[i]->ops->begin(g->app[i], &g->batch[i]), C2_E_OK);
    }
}

static void
close_stores(struct rig *g)
{
    uint8_t digest[STORES][32];
    coord_req_done(&g->r);
    for (size_t i = 0; i < STORES; i++) {
        assert_int_equal(g->app[i]->ops->digest(g->batch[i], digest[i]), C2_E_OK);
        assert_int_equal(g->app[i]->ops->commit(g->batch[i]), C2_E_OK);
        g->app[i]->ops->end(g->batch[i]);
        g->app[i]->ops->close(g->app[i]);
    }
    assert_memory_equal(digest[0], digest[1], sizeof digest[0]);
}

static int
set_up(void **state)
{
    struct rig *g = c2_calloc(1, sizeof *g);
    assert_int_equal(c2_crypto_init(), C2_E_OK);
    g->t = test_env_new(1);
    g->path[0] = test_env_path(g->t, "replica");
    g->path[1] = test_env_path(g->t, "local");
    open_stores(g, true);
    *state = g;
    return 0;
}

static int
tear_down(void **state)
{
    struct rig *g = *state;
    close_stores(g);
    for (size_t i = 0; i < STORES; i++)
        c2_free(g->path[i]);
    test_env_free(g->t);
    c2_free(g);
    return 0;
}

/* ---- commands -------------------------------------------------------------------------------- */

/* Who: a letter is a principal, a capital one has the administrators' signature as well. */
static enum c2_err
run(struct rig *g, char who, struct coord_req r)
{
    uint8_t key[COORD_PRINCIPAL_LEN];
    bool admin = who >= 'A' && who <= 'Z';
    memset(key, admin ? who - 'A' + 'a' : who, sizeof key);
    const struct replica_client by = { .key = key, .admin = admin };
    bool reads = !admin && (r.verb == COORD_GET || r.verb == COORD_RANGE ||
                            r.verb == COORD_ACL_LIST || r.verb == COORD_LOG_READ);
    struct c2_buf cmd = { 0 };
    struct c2_buf answer[STORES] = { { 0 } };
    coord_txn_encode(&r, &cmd);
    g->now_ns += C2_NS_PER_MS;
    for (size_t i = 0; i < STORES; i++) {
        const struct replica_app_ops *ops = g->app[i]->ops;
        struct c2_slice in = c2_buf_slice(&cmd);
        enum c2_err err = reads ? ops->read(g->batch[i], &by, in, &answer[i])
                                : ops->apply(g->batch[i], g->now_ns, &by, in, &answer[i]);
        assert_int_equal(err, C2_E_OK);
    }
    assert_true(c2_slice_equal(c2_buf_slice(&answer[0]), c2_buf_slice(&answer[1])));
    coord_req_done(&g->r);
    g->r = (struct coord_req){ .verb = r.verb };
    cmd_reply_take(&g->r, &answer[0]);
    c2_buf_done(&answer[1]);
    c2_buf_done(&cmd);
    return g->r.err;
}

static enum c2_err
do_op(struct rig *g, char who, enum coord_op_kind kind, const char *key)
{
    const struct coord_op op = {
        .kind = kind, .key = c2_slice_str(key), .value = c2_slice_str("value"), .number = 1
    };
    return run(g, who, (struct coord_req){ .verb = COORD_TXN, .ops = &op, .nops = 1 });
}

static enum c2_err
put(struct rig *g, char who, const char *key)
{
    return do_op(g, who, COORD_PUT, key);
}

static enum c2_err
get(struct rig *g, char who, const char *key)
{
    const struct c2_slice k = c2_slice_str(key);
    return run(g, who, (struct coord_req){ .verb = COORD_GET, .keys = &k, .nkeys = 1 });
}

static enum c2_err
range(struct rig *g, char who, const char *prefix)
{
    const struct c2_slice k = c2_slice_str(prefix);
    return run(g, who, (struct coord_req){ .verb = COORD_RANGE, .keys = &k, .nkeys = 1 });
}

/* grants: pairs of a letter and rights. */
static enum c2_err
set_at(struct rig *g, char who, const char *prefix, const char *names, const unsigned *rights,
       uint64_t number)
{
    struct coord_grant grants[8];
    const struct c2_slice k = c2_slice_str(prefix);
    size_t n = strlen(names);
    for (size_t i = 0; i < n; i++) {
        memset(grants[i].key, names[i], sizeof grants[i].key);
        grants[i].rights = (uint8_t)rights[i];
    }
    return run(g, who,
               (struct coord_req){ .verb = COORD_ACL_SET,
                                   .keys = &k,
                                   .nkeys = 1,
                                   .grants = grants,
                                   .ngrants = n,
                                   .version_in = number });
}

static enum c2_err
list(struct rig *g, char who)
{
    return run(g, who, (struct coord_req){ .verb = COORD_ACL_LIST });
}

/* The administrators' change of the list as it is. */
static void
grant(struct rig *g, const char *prefix, const char *names, const unsigned *rights)
{
    assert_int_equal(list(g, 'a'), C2_E_OK);
    uint64_t number = g->r.session;
    assert_int_equal(set_at(g, 'Z', prefix, names, rights, number), C2_E_OK);
    assert_int_equal(g->r.session, number + 1);
}

static uint64_t
version_now(struct rig *g)
{
    assert_int_equal(list(g, 'a'), C2_E_OK);
    return g->r.version;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void
service__without_entries_is_open_to_every_client(void **state)
{
    struct rig *g = *state;
    static const unsigned all[] = { READ | WRITE | MANAGE };
    assert_int_equal(put(g, 'a', "k"), C2_E_OK);
    assert_int_equal(put(g, 'b', "k"), C2_E_OK);
    assert_int_equal(range(g, 'b', ""), C2_E_OK);
    assert_int_equal(g->r.nentries, 1);
    assert_int_equal(set_at(g, 'a', "k", "a", all, 0), C2_E_NOT_PERMITTED);
    assert_int_equal(put(g, 'b', "k"), C2_E_OK);
}

static void
principal__may_do_just_what_it_was_granted(void **state)
{
    struct rig *g = *state;
    static const unsigned rights[] = { READ | WRITE, READ, WRITE };
    static const enum coord_op_kind changes[] = { COORD_PUT, COORD_DELETE, COORD_DELETE_RANGE,
                                                  COORD_ADD };
    static const char who[] = "arwx";
    assert_int_equal(put(g, 'x', "/v/k"), C2_E_OK);
    grant(g, "/v/", "arw", rights);
    for (size_t i = 0; who[i] != '\0'; i++) {
        bool reads = who[i] == 'a' || who[i] == 'r';
        bool writes = who[i] == 'a' || who[i] == 'w';
        uint64_t before = version_now(g);
        assert_int_equal(get(g, who[i], "/v/k"), reads ? C2_E_OK : C2_E_NOT_PERMITTED);
        assert_int_equal(g->r.nentries, reads ? 1 : 0);
        assert_int_equal(range(g, who[i], "/v/"), reads ? C2_E_OK : C2_E_NOT_PERMITTED);
        for (size_t k = 0; k < C2_ARRAY_LEN(changes); k++)
            assert_int_equal(do_op(g, who[i], changes[k], "/v/n"),
                             writes ? C2_E_OK : C2_E_NOT_PERMITTED);
        assert_int_equal(version_now(g), before + (writes ? C2_ARRAY_LEN(changes) : 0));
        assert_int_equal(do_op(g, 'a', COORD_DELETE, "/v/n"), C2_E_OK);
    }
    assert_int_equal(put(g, 'x', "/vv"), C2_E_OK); /* nothing covers it */
    assert_int_equal(put(g, 'x', "/"), C2_E_OK);
}

static void
txn__with_one_forbidden_key_does_nothing(void **state)
{
    struct rig *g = *state;
    static const unsigned rights[] = { WRITE };
    const struct coord_op ops[] = { { .kind = COORD_PUT, .key = c2_slice_str("mine") },
                                    { .kind = COORD_PUT, .key = c2_slice_str("/v/k") } };
    struct coord_cond cond = { .kind = COORD_ABSENT, .key = c2_slice_str("/v/none") };
    struct coord_req r = { .verb = COORD_TXN, .ops = ops, .nops = 2 };
    grant(g, "/v/", "a", rights);
    uint64_t before = version_now(g);
    assert_int_equal(run(g, 'b', r), C2_E_NOT_PERMITTED);
    assert_int_equal(g->r.nentries, 0);
    r.conds = &cond;
    r.nconds = 1;
    assert_int_equal(run(g, 'a', r), C2_E_NOT_PERMITTED); /* a condition reads */
    cond.kind = COORD_VALUE_EQ;                           /* which fails */
    assert_int_equal(run(g, 'b', r), C2_E_NOT_PERMITTED);
    assert_int_equal(g->r.nentries, 0);
    assert_int_equal(version_now(g), before);
    assert_int_equal(get(g, 'b', "mine"), C2_E_OK);
    assert_int_equal(g->r.entries[0].version, 0);
    r.nconds = 0;
    assert_int_equal(run(g, 'a', r), C2_E_OK);
    const struct c2_slice keys[] = { c2_slice_str("mine"), c2_slice_str("/v/k") };
    r = (struct coord_req){ .verb = COORD_GET, .keys = keys, .nkeys = 2 };
    assert_int_equal(run(g, 'b', r), C2_E_NOT_PERMITTED);
}

static void
range__needs_the_right_to_all_that_lies_below(void **state)
{
    struct rig *g = *state;
    static const unsigned rights[] = { READ, READ };
    static const unsigned writes[] = { WRITE };
    assert_int_equal(put(g, 'a', "/u/k"), C2_E_OK);
    grant(g, "/u/", "a", rights);
    grant(g, "/v/", "ab", rights);
    assert_int_equal(range(g, 'a', ""), C2_E_OK);
    assert_int_equal(range(g, 'a', "/"), C2_E_OK);
    assert_int_equal(range(g, 'b', ""), C2_E_NOT_PERMITTED);
    assert_int_equal(range(g, 'b', "/"), C2_E_NOT_PERMITTED);
    assert_int_equal(range(g, 'b', "/v"), C2_E_OK);
    assert_int_equal(range(g, 'b', "/v/deeper"), C2_E_OK);
    assert_int_equal(range(g, 'b', "/u/k"), C2_E_NOT_PERMITTED);
    assert_int_equal(range(g, 'b', "other"), C2_E_OK);
    grant(g, "/v/closed/", "a", writes); /* rights add up */
    assert_int_equal(range(g, 'b', "/v/"), C2_E_OK);
    assert_int_equal(do_op(g, 'a', COORD_DELETE_RANGE, "/v/closed/"), C2_E_OK);
    assert_int_equal(do_op(g, 'a', COORD_DELETE_RANGE, "/v/"), C2_E_NOT_PERMITTED);
    assert_int_equal(do_op(g, 'a', COORD_DELETE_RANGE, "/"), C2_E_NOT_PERMITTED);
    grant(g, "", "b", rights);
    assert_int_equal(range(g, 'b', ""), C2_E_OK);
    assert_int_equal(g->r.nentries, 1);
    assert_int_equal(put(g, 'a', "free"), C2_E_NOT_PERMITTED); /* now everything is covered */
}

static void
list__is_changed_by_whoever_may_and_knows_it(void **state)
{
    struct rig *g = *state;
    static const unsigned rights[] = { READ | MANAGE, READ };
    grant(g, "/v/", "ab", rights);
    assert_int_equal(set_at(g, 'Z', "/v/", "b", rights, 0), C2_E_CONFLICT);
    assert_int_equal(set_at(g, 'b', "/v/", "b", rights, 1), C2_E_NOT_PERMITTED);
    assert_int_equal(set_at(g, 'a', "/u/", "a", rights, 1), C2_E_NOT_PERMITTED);
    assert_int_equal(set_at(g, 'a', "/v/sub/", "a", rights, 1), C2_E_NOT_PERMITTED);
    assert_int_equal(set_at(g, 'a', "/v/", "", rights, 1), C2_E_NOT_PERMITTED);
    assert_int_equal(get(g, 'c', "/v/k"), C2_E_NOT_PERMITTED);
    assert_int_equal(set_at(g, 'a', "/v/", "ac", rights, 1), C2_E_OK);
    assert_int_equal(get(g, 'c', "/v/k"), C2_E_OK);
    assert_int_equal(get(g, 'b', "/v/k"), C2_E_NOT_PERMITTED);
    assert_int_equal(set_at(g, 'Z', "/v/", "", rights, 2), C2_E_OK); /* removed */
    assert_int_equal(get(g, 'b', "/v/k"), C2_E_OK);
    assert_int_equal(list(g, 'Z'), C2_E_OK);
    assert_int_equal(g->r.nentries, 0);
    assert_int_equal(g->r.session, 3);
}

static void
signature__of_administrators_is_good_for_the_list_alone(void **state)
{
    struct rig *g = *state;
    static const unsigned rights[] = { READ };
    grant(g, "/v/", "a", rights);
    assert_int_equal(put(g, 'Z', "/v/k"), C2_E_INVALID);
    assert_int_equal(get(g, 'Z', "/v/k"), C2_E_INVALID);
    assert_int_equal(run(g, 'Z', (struct coord_req){ .verb = COORD_LOG_TRIM }), C2_E_INVALID);
}

/* ---- a long list
 * --------------------------------------------------------------------------------- */

#define LONG_LIST 520u /* entries: more than an answer has room for */

static void
make_entry(struct rig *g, unsigned i, uint64_t number)
{
    struct coord_grant grants[COORD_ACL_GRANTS_MAX];
    char prefix[16];
    snprintf(prefix, sizeof prefix, "/%04u/", i);
    const struct c2_slice k = c2_slice_str(prefix);
    for (unsigned n = 0; n < COORD_ACL_GRANTS_MAX; n++) {
        memset(grants[n].key, (int)n, sizeof grants[n].key);
        grants[n].rights = READ;
    }
    const struct coord_req set = { .verb = COORD_ACL_SET,
                                   .keys = &k,
                                   .nkeys = 1,
                                   .grants = grants,
                                   .ngrants = COORD_ACL_GRANTS_MAX,
                                   .version_in = number };
    assert_int_equal(run(g, 'Z', set), C2_E_OK);
}

static enum c2_err
take_page(struct rig *g, struct cluster_acl *l)
{
    const struct coord_req r = { .verb = COORD_ACL_LIST, .after = cluster_acl_after(l) };
    assert_int_equal(run(g, 'Z', r), C2_E_OK);
    return cluster_acl_take(l, &g->r);
}

static void
count_entry(void *arg, const struct coord_entry *e)
{
    unsigned *count = arg;
    char prefix[16];
    snprintf(prefix, sizeof prefix, "/%04u/", *count);
    assert_true(c2_slice_equal(e->key, c2_slice_str(prefix)));
    assert_int_equal(e->value.len, COORD_ACL_GRANTS_MAX * COORD_GRANT_LEN);
    ++*count;
}

/* Whoever changed it by the number of the last answer would undo what came between. */
static void
list__that_takes_several_answers_is_of_one_moment(void **state)
{
    struct rig *g = *state;
    struct cluster_acl l = { 0 };
    unsigned count = 0;
    for (unsigned i = 0; i < LONG_LIST; i++)
        make_entry(g, i, i);
    assert_int_equal(take_page(g, &l), C2_E_OK);
    assert_false(l.complete);
    make_entry(g, 0, LONG_LIST); /* somebody else; what we have read of it is old */
    assert_int_equal(take_page(g, &l), C2_E_CONFLICT);
    assert_int_equal(cluster_acl_after(&l).len, 0);
    for (unsigned pages = 0; !l.complete; pages++) {
        assert_true(pages < 3);
        assert_int_equal(take_page(g, &l), C2_E_OK);
    }
    assert_int_equal(l.changes, LONG_LIST + 1);
    cluster_acl_each(&l, count_entry, &count);
    assert_int_equal(count, LONG_LIST);
    cluster_acl_done(&l);
}

static void
list__shows_each_client_what_concerns_it(void **state)
{
    struct rig *g = *state;
    static const unsigned rights[] = { READ, WRITE };
    grant(g, "/v/", "ab", rights);
    grant(g, "/u/", "a", rights);
    assert_int_equal(list(g, 'a'), C2_E_OK);
    assert_int_equal(g->r.nentries, 2);
    assert_true(c2_slice_equal(g->r.entries[0].key, c2_slice_str("/u/")));
    assert_int_equal(list(g, 'b'), C2_E_OK);
    assert_int_equal(g->r.nentries, 1);
    assert_int_equal(g->r.entries[0].value.len, 2 * COORD_GRANT_LEN);
    assert_int_equal(g->r.entries[0].value.data[COORD_PRINCIPAL_LEN], READ);
    assert_int_equal(list(g, 'c'), C2_E_OK);
    assert_int_equal(g->r.nentries, 0);
    assert_int_equal(g->r.session, 2);
    assert_int_equal(list(g, 'Z'), C2_E_OK);
    assert_int_equal(g->r.nentries, 2);
    struct coord_req r = { .verb = COORD_ACL_LIST, .limit = 1 };
    assert_int_equal(run(g, 'a', r), C2_E_OK);
    assert_true(g->r.more);
    r.after = c2_slice_str("/u/");
    assert_int_equal(run(g, 'a', r), C2_E_OK);
    assert_false(g->r.more);
    assert_true(c2_slice_equal(g->r.entries[0].key, c2_slice_str("/v/")));
}

static void
session__is_alive_only_for_whoever_opened_it(void **state)
{
    struct rig *g = *state;
    struct coord_req open = { .verb = COORD_SESSION_OPEN, .ttl_ns = C2_NS_PER_S };
    assert_int_equal(run(g, 'a', open), C2_E_OK);
    struct coord_op op = { .kind = COORD_PUT_EPHEMERAL, .key = c2_slice_str("lock") };
    op.number = (int64_t)g->r.session;
    struct coord_req r = { .verb = COORD_SESSION_KEEPALIVE, .session = g->r.session };
    const struct coord_req lock = { .verb = COORD_TXN, .ops = &op, .nops = 1 };
    assert_int_equal(run(g, 'b', r), C2_E_SESSION);
    assert_int_equal(run(g, 'b', lock), C2_E_SESSION);
    assert_int_equal(run(g, 'a', lock), C2_E_OK);
    assert_int_equal(run(g, 'a', r), C2_E_OK);
    r.verb = COORD_SESSION_CLOSE;
    assert_int_equal(run(g, 'b', r), C2_E_SESSION);
    assert_int_equal(run(g, 'a', r), C2_E_OK);
    assert_int_equal(get(g, 'b', "lock"), C2_E_OK);
    assert_int_equal(g->r.entries[0].version, 0);
    assert_int_equal(range(g, 'a', ""), C2_E_OK); /* nothing is left of them that shows */
    assert_int_equal(g->r.nentries, 0);
}

static void
sessions__of_one_principal_leave_room_for_others(void **state)
{
    struct rig *g = *state;
    struct coord_req open = { .verb = COORD_SESSION_OPEN, .ttl_ns = 3600 * C2_NS_PER_S };
    for (unsigned i = 0; i < COORD_SESSIONS_KEY; i++)
        assert_int_equal(run(g, 'a', open), C2_E_OK);
    struct coord_req r = { .verb = COORD_SESSION_CLOSE, .session = g->r.session };
    assert_int_equal(run(g, 'a', open), C2_E_QUOTA);
    assert_int_equal(run(g, 'b', open), C2_E_OK);
    assert_int_equal(run(g, 'a', r), C2_E_OK);
    assert_int_equal(run(g, 'a', open), C2_E_OK);
    g->now_ns += 3601 * C2_NS_PER_S; /* all of them end */
    assert_int_equal(run(g, 'a', open), C2_E_OK);
}

static void
rights__are_there_again_after_a_restart(void **state)
{
    struct rig *g = *state;
    static const unsigned rights[] = { READ };
    grant(g, "/v/", "a", rights);
    close_stores(g);
    g->r = (struct coord_req){ 0 };
    open_stores(g, false);
    assert_int_equal(get(g, 'b', "/v/k"), C2_E_NOT_PERMITTED);
    assert_int_equal(get(g, 'a', "/v/k"), C2_E_OK);
    assert_int_equal(g->batch[0]->acl, 1);
    struct c2_buf out = { 0 };
    struct rights t = { 0 };
    assert_int_equal(g->app[0]->ops->acl(g->batch[0], &out), C2_E_OK);
    assert_int_equal(rights_load(&t, c2_buf_slice(&out)), C2_E_OK);
    assert_int_equal(t.n, 1);
    assert_non_null(rights_find(&t, c2_slice_str("/v/")));
    out.data[0] ^= 1; /* a length */
    assert_int_equal(rights_load(&t, c2_buf_slice(&out)), C2_E_DAMAGED);
    rights_done(&t);
    c2_buf_done(&out);
}

static void
log__of_clients_commands_stays_closed_once_there_are_rights(void **state)
{
    struct rig *g = *state;
    static const unsigned rights[] = { READ };
    grant(g, "/v/", "a", rights);
    assert_int_equal(run(g, 'a', (struct coord_req){ .verb = COORD_LOG_READ }), C2_E_NOT_PERMITTED);
    assert_int_equal(run(g, 'a', (struct coord_req){ .verb = COORD_LOG_TRIM }), C2_E_NOT_PERMITTED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(service__without_entries_is_open_to_every_client),
        TEST(principal__may_do_just_what_it_was_granted),
        TEST(txn__with_one_forbidden_key_does_nothing),
        TEST(range__needs_the_right_to_all_that_lies_below),
        TEST(list__is_changed_by_whoever_may_and_knows_it),
        TEST(signature__of_administrators_is_good_for_the_list_alone),
        TEST(list__shows_each_client_what_concerns_it),
        TEST(list__that_takes_several_answers_is_of_one_moment),
        TEST(session__is_alive_only_for_whoever_opened_it),
        TEST(sessions__of_one_principal_leave_room_for_others),
        TEST(rights__are_there_again_after_a_restart),
        TEST(log__of_clients_commands_stays_closed_once_there_are_rights),
    };
    return cmocka_run_group_tests_name("metadata_acl", tests, NULL, NULL);
}
