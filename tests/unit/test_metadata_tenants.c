/* SPDX-License-Identifier: MIT */
/*
 * Several clients of one replicated service, each with a part of its own: what they see of each
 * other, through every way in.
 */
#include "metadata/bft_client.h"

#include "base/alloc.h"
#include "tests/lib/bft_rig.h"
#include "tests/lib/coord_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define BOTH (COORD_MAY_READ | COORD_MAY_WRITE)

/* As coord_call_run, with the administrators' signature. */
static enum c2_err
run_signed(struct coord_fixture *f, struct coord_call *call)
{
    uint8_t sig[1 + MSG_SIG_LEN] = { 0 };
    uint8_t hash[C2_SHA256_LEN];
    call->r.deadline_ns = C2_NEVER;
    coord_call_prepare(call);
    bft_client_admin_hash(f->c, &call->r, hash);
    bft_crypto_ed25519.sign(&bft_crypto_ed25519, f->rig->admin_secret, hash, sig + 1);
    bft_client_submit_signed(f->c, &call->r, c2_slice(sig, sizeof sig));
    coord_call_wait(f, call);
    return call->r.err;
}

static enum c2_err
grant(struct coord_fixture *f, const char *prefix, unsigned client, unsigned rights, bool sign)
{
    struct coord_grant g = { .rights = (uint8_t)rights };
    const struct c2_slice key = c2_slice_str(prefix);
    memcpy(g.key, f->rig->client[client].key, sizeof g.key);
    struct coord_call list = { .r = { .verb = COORD_ACL_LIST } };
    assert_int_equal(coord_call_run(f, &list), C2_E_OK);
    coord_req_done(&list.r);
    struct coord_call set = { .r = { .verb = COORD_ACL_SET, .keys = &key, .nkeys = 1 } };
    set.r.grants = &g;
    set.r.ngrants = 1;
    set.r.version_in = list.r.session;
    return sign ? run_signed(f, &set) : coord_call_run(f, &set);
}

static enum c2_err
range(struct coord_fixture *f, const char *prefix, size_t *ret_count)
{
    const struct c2_slice key = c2_slice_str(prefix);
    struct coord_call call = { .r = { .verb = COORD_RANGE, .keys = &key, .nkeys = 1 } };
    enum c2_err err = coord_call_run(f, &call);
    *ret_count = call.r.nentries;
    for (size_t i = 0; i < call.r.nentries; i++)
        assert_true(c2_slice_starts_with(call.r.entries[i].key, key));
    coord_req_done(&call.r);
    return err;
}

/* Two parts with the same names in them; f->c is the first one's client. */
struct parts {
    struct coord *all, *a, *b;
};

static void
open_parts(struct coord_fixture *f, struct parts *p)
{
    p->all = f->c;
    assert_int_equal(grant(f, "/a/", 1, BOTH, true), C2_E_OK);
    assert_int_equal(grant(f, "/b/", 2, BOTH, true), C2_E_OK);
    p->a = bft_rig_client_at(f->rig, 1, "/a/");
    p->b = bft_rig_client_at(f->rig, 2, "/b/");
    f->c = p->b;
    put(f, "k", "of b");
    put(f, "only", "of b");
    f->c = p->a;
    put(f, "k", "of a");
}

/* Another client with the same key, at another time: that is what makes its session another one. */
static struct coord *
client_later(struct coord_fixture *f, unsigned k, const char *prefix)
{
    test_env_run_for(f->t, C2_NS_PER_MS);
    return bft_rig_client_at(f->rig, k, prefix);
}

static void
close_parts(struct coord_fixture *f, struct parts *p)
{
    coord_close(p->a);
    coord_close(p->b);
    f->c = p->all;
}

static void
parts__have_the_same_names_for_different_keys(void **state)
{
    struct coord_fixture *f = *state;
    struct parts p;
    size_t count = 0;
    open_parts(f, &p);
    assert_value(f, "k", "of a");
    assert_absent(f, "only");
    assert_int_equal(range(f, "", &count), C2_E_OK);
    assert_int_equal(count, 1);
    assert_int_equal(
        txn_if(f, cond(COORD_VALUE_EQ, "k", "of a", 0), op(COORD_DELETE_RANGE, "k", NULL, 0)),
        C2_E_OK);
    assert_absent(f, "k");
    f->c = p.b;
    assert_value(f, "k", "of b");
    const struct coord_cond c = cond(COORD_ABSENT, "k", NULL, 0);
    const struct coord_op o = op(COORD_PUT, "k", "x", 0);
    struct coord_call call = { .r = { .conds = &c, .nconds = 1, .ops = &o, .nops = 1 } };
    assert_int_equal(coord_call_run(f, &call), C2_E_CONFLICT);
    assert_int_equal(call.r.nentries, 1); /* what conflicts shows has the name we know */
    assert_true(c2_slice_equal(call.r.entries[0].key, c2_slice_str("k")));
    coord_req_done(&call.r);
    close_parts(f, &p);
}

static void
client__cannot_touch_what_is_not_its_own(void **state)
{
    struct coord_fixture *f = *state;
    struct parts p;
    size_t count = 0;
    open_parts(f, &p);
    struct coord *stranger = client_later(f, 1, "/b/"); /* the prefix alone is no right */
    f->c = stranger;
    const struct c2_slice key = c2_slice_str("k");
    struct coord_call call = { .r = { .verb = COORD_GET, .keys = &key, .nkeys = 1 } };
    assert_int_equal(coord_call_run(f, &call), C2_E_NOT_PERMITTED);
    coord_req_done(&call.r);
    assert_int_equal(range(f, "", &count), C2_E_NOT_PERMITTED);
    assert_int_equal(count, 0);
    assert_int_equal(txn_op(f, op(COORD_PUT, "k", "stolen", 0), NULL), C2_E_NOT_PERMITTED);
    assert_int_equal(txn_op(f, op(COORD_DELETE_RANGE, "k", NULL, 0), NULL), C2_E_NOT_PERMITTED);
    assert_int_equal(grant(f, "/b/", 1, BOTH, false), C2_E_NOT_PERMITTED);
    f->c = p.all; /* nor may one without any part */
    assert_int_equal(range(f, "", &count), C2_E_NOT_PERMITTED);
    assert_int_equal(txn_op(f, op(COORD_PUT, "/b/k", "stolen", 0), NULL), C2_E_NOT_PERMITTED);
    put(f, "free", "yes");
    f->c = p.b;
    assert_value(f, "k", "of b");
    coord_close(stranger);
    close_parts(f, &p);
}

static void
rights__can_be_passed_on_and_taken_away(void **state)
{
    struct coord_fixture *f = *state;
    struct parts p;
    size_t count = 0;
    open_parts(f, &p);
    f->c = p.all;
    assert_int_equal(grant(f, "/b/", 2, BOTH | COORD_MAY_ADMINISTER, true), C2_E_OK);
    f->c = p.b;
    assert_int_equal(grant(f, "/b/", 1, COORD_MAY_READ, false), C2_E_OK); /* to the other alone */
    assert_int_equal(range(f, "", &count), C2_E_NOT_PERMITTED);
    struct coord *reader = client_later(f, 1, "/b/");
    f->c = reader;
    assert_value(f, "k", "of b");
    assert_int_equal(txn_op(f, op(COORD_PUT, "k", "x", 0), NULL), C2_E_NOT_PERMITTED);
    coord_close(reader);
    close_parts(f, &p);
}

static void
signature__of_nobody_or_for_another_client_is_not_served(void **state)
{
    struct coord_fixture *f = *state;
    struct coord_grant g = { .rights = BOTH };
    const struct c2_slice key = c2_slice_str("/a/");
    uint8_t sig[1 + MSG_SIG_LEN] = { 0 };
    uint8_t hash[C2_SHA256_LEN];
    struct coord *other = bft_rig_client(f->rig, 1);
    for (unsigned kind = 0; kind < 2; kind++) {
        struct coord_call call = { .r = { .verb = COORD_ACL_SET, .keys = &key, .nkeys = 1 } };
        call.r.grants = &g;
        call.r.ngrants = 1;
        bft_client_admin_hash(kind == 0 ? f->c : other, &call.r, hash);
        const uint8_t *secret = kind == 0 ? f->rig->client[0].secret : f->rig->admin_secret;
        bft_crypto_ed25519.sign(&bft_crypto_ed25519, secret, hash, sig + 1);
        coord_call_prepare(&call);
        call.r.deadline_ns = c2_now_ns(f->env) + 3 * C2_NS_PER_S;
        bft_client_submit_signed(f->c, &call.r, c2_slice(sig, sizeof sig));
        coord_call_wait(f, &call);
        assert_int_equal(call.r.err, C2_E_TIMEOUT);
    }
    put(f, "/a/k", "open as before");
    coord_close(other);
}

struct watcher {
    struct coord_watch w;
    unsigned events, reloads;
    char last[32];
};

static void
on_event(struct coord_watch *w, struct c2_slice key, uint64_t version, bool deleted)
{
    struct watcher *x = C2_CONTAINER_OF(w, struct watcher, w);
    (void)version;
    (void)deleted;
    x->events++;
    snprintf(x->last, sizeof x->last, "%.*s", (int)key.len, (const char *)key.data);
}

static void
on_reload(struct coord_watch *w)
{
    C2_CONTAINER_OF(w, struct watcher, w)->reloads++;
}

static void
watch__shows_what_may_be_read(void **state)
{
    struct coord_fixture *f = *state;
    struct parts p;
    struct watcher mine = { .w = { .event = on_event, .reload = on_reload } };
    struct watcher all = { .w = { .event = on_event, .reload = on_reload } };
    open_parts(f, &p);
    coord_watch(p.a, &mine.w);
    coord_watch(p.all, &all.w);
    test_env_run_for(f->t, C2_NS_PER_S);
    assert_true(mine.reloads > 0 && all.reloads > 0);
    f->c = p.b;
    put(f, "k", "new");
    f->c = p.a;
    put(f, "k", "new");
    f->c = p.all;
    put(f, "free", "new");
    test_env_run_for(f->t, C2_NS_PER_S);
    assert_int_equal(mine.events, 1);
    assert_string_equal(mine.last, "k");
    assert_int_equal(all.events, 1);
    assert_string_equal(all.last, "free");
    assert_int_equal(grant(f, "/a/", 0, BOTH, true), C2_E_OK); /* given away */
    f->c = p.all;
    put(f, "/a/k", "newer");
    test_env_run_for(f->t, C2_NS_PER_S);
    assert_int_equal(mine.events, 1);
    assert_int_equal(all.events, 2);
    assert_string_equal(all.last, "/a/k");
    coord_unwatch(p.a, &mine.w);
    coord_unwatch(p.all, &all.w);
    close_parts(f, &p);
}

static void
session__of_one_client_cannot_be_ended_by_another(void **state)
{
    struct coord_fixture *f = *state;
    struct parts p;
    open_parts(f, &p);
    uint64_t s = session_open(f, 10 * C2_NS_PER_S);
    assert_int_equal(txn_op(f, op(COORD_PUT_EPHEMERAL, "lock", "me", (int64_t)s), NULL), C2_E_OK);
    f->c = p.b;
    assert_int_equal(session_close(f, s), C2_E_SESSION);
    assert_int_equal(txn_op(f, op(COORD_PUT_EPHEMERAL, "lock", "me", (int64_t)s), NULL),
                     C2_E_SESSION);
    f->c = p.a;
    assert_value(f, "lock", "me");
    assert_int_equal(session_close(f, s), C2_E_OK);
    assert_absent(f, "lock");
    close_parts(f, &p);
}

/* It is as long as it may be, and the name of the part comes before each of its keys. */
static void
transaction__that_is_too_long_with_its_prefix_is_refused(void **state)
{
    struct coord_fixture *f = *state;
    static char name[COORD_TXN_OPS_MAX][246];
    struct coord_op *ops = c2_calloc(COORD_TXN_OPS_MAX, sizeof *ops);
    struct parts p;
    open_parts(f, &p);
    for (unsigned i = 0; i < COORD_TXN_OPS_MAX; i++) {
        snprintf(name[i], sizeof name[i], "%0245u", i);
        ops[i] = op(COORD_DELETE, name[i], "", 0);
    }
    for (unsigned part = 0; part < 2; part++) {
        struct coord *part_of = client_later(f, 1, part == 0 ? "/a/" : "/a/more/of/the/same/");
        struct coord_call call = { .r = { .verb = COORD_TXN, .ops = ops } };
        call.r.nops = COORD_TXN_OPS_MAX;
        call.r.deadline_ns = c2_now_ns(f->env) + 60 * C2_NS_PER_S;
        coord_call_prepare(&call);
        coord_submit(part_of, &call.r);
        coord_call_wait(f, &call);
        assert_int_equal(call.r.err, part == 0 ? C2_E_OK : C2_E_TOO_LARGE);
        coord_req_done(&call.r);
        coord_close(part_of);
    }
    c2_free(ops);
    close_parts(f, &p);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, coord_fixture_setup_bft, coord_fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(parts__have_the_same_names_for_different_keys),
        TEST(client__cannot_touch_what_is_not_its_own),
        TEST(rights__can_be_passed_on_and_taken_away),
        TEST(signature__of_nobody_or_for_another_client_is_not_served),
        TEST(watch__shows_what_may_be_read),
        TEST(session__of_one_client_cannot_be_ended_by_another),
        TEST(transaction__that_is_too_long_with_its_prefix_is_refused),
    };
    return cmocka_run_group_tests_name("metadata_tenants", tests, NULL, NULL);
}
