/* SPDX-License-Identifier: MIT */
/*
 * A service whose members change, and its clients.
 */
#include "base/alloc.h"
#include "base/wire.h"
#include "metadata/cluster.h"
#include "metadata/identity.h"
#include "tests/lib/bft_rig.h"
#include "tests/lib/coord_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define NEWCOMER 4u /* its place in the rig */

/* admin.key of the rig. */
static struct c2_buf
admin_key(uint64_t cluster, uint8_t seed)
{
    struct identity_admin a = { .cluster = cluster, .admin_seed = { seed, 3 } };
    struct c2_buf text = { 0 };
    identity_write_admin(&text, "x", &a);
    return text;
}

static enum c2_err
plan(struct coord_fixture *f, const struct cluster_change *ch, struct cluster_plan *p, char **error)
{
    C2_AUTO(c2_buf_done) struct c2_buf key = admin_key(f->rig->config.cluster, 4);
    return cluster_plan_change(f->c, ch, c2_buf_slice(&key), p, error);
}

struct asked {
    struct cluster_request q;
    bool done;
};

static void
asked_done(struct cluster_request *q)
{
    C2_CONTAINER_OF(q, struct asked, q)->done = true;
}

static enum c2_err
submit(struct coord_fixture *f, const struct cluster_plan *p, struct asked *a)
{
    *a = (struct asked){ .q = { .request = c2_buf_slice(&p->request), .done = asked_done } };
    cluster_submit(f->c, &a->q);
    assert_false(a->done);
    test_env_run_until(f->t, &a->done);
    return a->q.err;
}

static uint32_t
epoch_of(struct coord *c)
{
    struct cluster_info i;
    assert_true(cluster_look(c, &i));
    return i.epoch;
}

/* Batches, until the client is in the epoch. */
static void
work_until(struct coord_fixture *f, uint32_t epoch)
{
    for (unsigned i = 0; epoch_of(f->c) < epoch; i++) {
        assert_true(i < 2000);
        put(f, "work", "done");
    }
}

/* Makes the planned newcomer one of the rig's replicas, and starts it. */
static void
start_newcomer(struct coord_fixture *f, const struct cluster_plan *p, const char *address)
{
    struct bft_rig *r = f->rig;
    struct bft_rig_replica *x = &r->replica[NEWCOMER];
    struct bft_member *m = &r->config.member[NEWCOMER]; /* beyond those of the configuration */
    struct identity_replica k;
    assert_int_equal(identity_read_replica(c2_buf_slice(&p->key), &k), C2_E_OK);
    assert_int_equal(k.id, p->id);
    x->rig = r;
    x->setup = r->replica[0].setup;
    x->setup.id = k.id;
    snprintf(m->address, sizeof m->address, "%s", address);
    c2_ed25519_keypair(k.identity_seed, x->identity_secret, m->identity_key);
    c2_ed25519_keypair(k.sign_seed, x->setup.sign_secret, m->sign_key);
    x->data = test_env_path(f->t, "newcomer");
    assert_int_equal(mkdir(x->data, 0700), 0);
    C2_AUTO(c2_free_auto) char *marker = c2_asprintf("%s/" NODE_FIRST_START, x->data);
    test_disk_write_file(marker, "x", 1);
    bft_rig_start(r, NEWCOMER);
    r->n = NEWCOMER + 1;
}

static void
replace_the_fourth(struct coord_fixture *f)
{
    const struct cluster_change ch = { .address = "newcomer:7", .leaves = 4 };
    struct cluster_plan p;
    struct asked a;
    char *error = NULL;
    assert_int_equal(plan(f, &ch, &p, &error), C2_E_OK);
    assert_int_equal(p.epoch, 1);
    assert_int_equal(submit(f, &p, &a), C2_E_OK);
    assert_true(a.q.last > 0);
    work_until(f, 1);
    start_newcomer(f, &p, ch.address);
    cluster_plan_done(&p);
}

static void
client__follows_when_a_replica_is_replaced(void **state)
{
    struct coord_fixture *f = *state;
    struct cluster_info i;
    put(f, "before", "1");
    uint64_t session = session_open(f, 3600 * C2_NS_PER_S);
    replace_the_fourth(f);
    assert_true(cluster_look(f->c, &i));
    assert_int_equal(i.n, 4);
    assert_string_equal(i.replica[3].address, "newcomer:7");
    assert_value(f, "before", "1");
    assert_int_equal(session_keepalive(f, session), C2_E_OK);
    test_env_run_for(f->t, 10 * C2_NS_PER_S);
    assert_int_equal(bft_rig_info(f->rig, 3).mode, BFT_REMOVED);
    assert_int_equal(bft_rig_info(f->rig, NEWCOMER).mode, BFT_RUNNING);
    /* The newcomer is needed now. */
    bft_rig_stop(f->rig, 3);
    bft_rig_stop(f->rig, 2);
    put(f, "after", "2");
    assert_value(f, "after", "2");
    assert_value(f, "before", "1");
    assert_true(cluster_look(f->c, &i));
    assert_true(i.replica[3].up);
}

static void
client__that_knows_the_first_members_finds_those_of_today(void **state)
{
    struct coord_fixture *f = *state;
    put(f, "before", "1");
    replace_the_fourth(f);
    bft_rig_stop(f->rig, 3);
    struct coord *first = f->c;
    f->c = bft_rig_client(f->rig, 1);
    assert_value(f, "before", "1");
    assert_int_equal(epoch_of(f->c), 1);
    coord_close(f->c);
    f->c = first;
}

/* ---- a replica that was replaced while it was down ---------------------------------------------
 */

#define GONE 3u /* its place in the rig */

static void
assert_gone(struct coord_fixture *f, uint32_t epoch)
{
    struct node_info i;
    node_info(f->rig->replica[GONE].node, &i);
    assert_int_equal(i.bft.mode, BFT_REMOVED);
    assert_true(i.bft.former);
    assert_int_equal(i.bft.epoch, epoch);
    assert_int_equal(i.alarms, 1);
    assert_non_null(strstr(i.alarm, "not a member any more"));
}

static void
former_member__learns_that_it_was_replaced_while_it_was_down(void **state)
{
    struct coord_fixture *f = *state;
    put(f, "before", "1");
    bft_rig_stop(f->rig, GONE);
    replace_the_fourth(f);
    bft_rig_start(f->rig, GONE);
    test_env_run_for(f->t, 30 * C2_NS_PER_S);
    assert_gone(f, 1);
    bft_rig_stop(f->rig, GONE); /* from its own log, and it says so again */
    for (unsigned i = 0; i < f->rig->n; i++) {
        if (i != GONE)
            test_hub_cut(f->rig->hub, GONE, i, true);
    }
    bft_rig_start(f->rig, GONE);
    test_env_run_for(f->t, C2_NS_PER_S);
    assert_gone(f, 1);
}

struct former {
    unsigned told;
    bool removed;
    char address[BFT_ADDRESS_MAX];
};

static void
former_told(void *arg, const char *address, struct c2_slice json)
{
    struct former *x = arg;
    C2_AUTO(c2_free_auto) char *text = c2_strndup((const char *)json.data, json.len);
    x->told++;
    x->removed = strstr(text, "\"mode\":\"removed\"") != NULL;
    snprintf(x->address, sizeof x->address, "%s", address);
}

/* Nobody has stopped it, and it does not say so by itself. */
static void
former_member__is_asked_how_it_is(void **state)
{
    struct coord_fixture *f = *state;
    struct former x = { 0 };
    put(f, "before", "1");
    assert_int_equal(bft_client_ask_former(f->c, former_told, &x), 0);
    replace_the_fourth(f);
    put(f, "after", "1");
    test_env_run_for(f->t, 30 * C2_NS_PER_S);
    assert_int_equal(bft_client_ask_former(f->c, former_told, &x), 1);
    test_env_run_for(f->t, C2_NS_PER_S);
    assert_int_equal(bft_client_ask_former(f->c, former_told, &x), 0);
    assert_int_equal(x.told, 1);
    assert_true(x.removed);
    assert_string_equal(x.address, f->rig->config.member[GONE].address);
    bft_rig_stop(f->rig, GONE);
    struct coord *other = bft_rig_client(f->rig, 1); /* it begins with the old members */
    test_env_run_for(f->t, 30 * C2_NS_PER_S);
    assert_int_equal(epoch_of(other), 1);
    (void)bft_client_ask_former(other, former_told, &x);
    test_env_run_for(f->t, 5 * C2_NS_PER_S);
    assert_int_equal(bft_client_ask_former(other, former_told, &x), 0);
    assert_int_equal(x.told, 1);
    coord_close(other);
}

static void
former_member__follows_all_changes_that_it_has_missed(void **state)
{
    struct coord_fixture *f = *state;
    struct cluster_change ch = { .address = "newcomer:7" };
    struct cluster_plan p;
    struct asked a;
    char *error = NULL;
    put(f, "before", "1");
    bft_rig_stop(f->rig, GONE);
    assert_int_equal(plan(f, &ch, &p, &error), C2_E_OK);
    assert_int_equal(submit(f, &p, &a), C2_E_OK);
    start_newcomer(f, &p, ch.address); /* four of five are needed */
    cluster_plan_done(&p);
    work_until(f, 1);
    test_env_run_for(f->t, 10 * C2_NS_PER_S);
    ch = (struct cluster_change){ .leaves = GONE + 1 };
    assert_int_equal(plan(f, &ch, &p, &error), C2_E_OK);
    assert_int_equal(submit(f, &p, &a), C2_E_OK);
    cluster_plan_done(&p);
    work_until(f, 2);
    bft_rig_start(f->rig, GONE);
    test_env_run_for(f->t, 30 * C2_NS_PER_S);
    assert_gone(f, 2);
}

/* An EPOCH message in which the newcomer has taken the place of the fourth, signed by `count`. */
static struct c2_buf
forge(struct coord_fixture *f, uint16_t count)
{
    struct bft_rig *r = f->rig;
    struct bft_config next = r->config;
    struct msg_stable s = { .epoch = 0, .count = count };
    struct msg_head h = { .type = MSG_EPOCH, .epoch = 1, .cluster = r->config.cluster };
    struct c2_buf config = { 0 }, stable = { 0 }, out = { 0 };
    next.epoch = 1;
    next.base = s.c.n = 384;
    next.member[3].id = 77;
    next.member[3].identity_key[0] ^= 1;
    next.member[3].sign_key[0] ^= 1;
    bft_config_encode(&next, &config);
    c2_sha256(c2_buf_slice(&config), s.c.config);
    for (uint16_t i = 0; i < count; i++) {
        uint8_t hash[C2_SHA256_LEN];
        s.sig[i].seat = i;
        msg_checkpoint_hash(r->config.cluster, 0, i, &s.c, hash);
        bft_crypto_ed25519.sign(&bft_crypto_ed25519, r->replica[i].setup.sign_secret, hash,
                                s.sig[i].sig);
    }
    msg_put_stable(&stable, &s);
    const struct msg_epoch e = { .config = c2_buf_slice(&config), .stable = c2_buf_slice(&stable) };
    msg_write_epoch(&out, &h, &e);
    c2_buf_done(&config);
    c2_buf_done(&stable);
    return out;
}

/* Whoever was asked for the next epoch says what a liar would: something else. */
struct lie {
    struct bft_rig *rig;
    struct c2_buf answer; /* owned */
    unsigned asked;
};

static bool
answer_with_lie(void *arg, unsigned from, unsigned to, struct c2_slice m)
{
    struct lie *l = arg;
    struct msg_head h;
    if (msg_read_head(m, &h) != C2_E_OK)
        return true;
    if (to == GONE && h.type == MSG_EPOCH)
        return c2_slice_equal(m, c2_buf_slice(&l->answer)); /* the lie itself arrives */
    if (from != GONE || h.type != MSG_EPOCH_FETCH)
        return true;
    l->asked++;
    test_hub_inject(l->rig->hub, to, GONE, c2_buf_slice(&l->answer));
    return false;
}

static void
former_member__believes_a_quorum_and_nothing_less(void **state)
{
    struct coord_fixture *f = *state;
    put(f, "before", "1");
    bft_rig_stop(f->rig, GONE);
    replace_the_fourth(f);
    for (uint16_t count = 2; count <= 3; count++) {
        struct lie lie = { .rig = f->rig, .answer = forge(f, count) };
        test_hub_filter(f->rig->hub, answer_with_lie, &lie);
        if (count == 2)
            bft_rig_start(f->rig, GONE);
        test_env_run_for(f->t, 30 * C2_NS_PER_S);
        assert_true(lie.asked > 0);
        assert_int_equal(bft_rig_info(f->rig, GONE).epoch, count == 3);
        assert_int_equal(bft_rig_info(f->rig, GONE).former, count == 3);
        test_hub_filter(f->rig->hub, NULL, NULL);
        c2_buf_done(&lie.answer);
    }
}

/* A client that knows nobody of today but those who have left. */
static void
former_member__tells_clients_of_those_of_today(void **state)
{
    struct coord_fixture *f = *state;
    put(f, "before", "1");
    replace_the_fourth(f);
    test_env_run_for(f->t, 10 * C2_NS_PER_S);
    assert_gone(f, 1);
    struct coord *first = f->c;
    for (unsigned i = 0; i < GONE; i++)
        test_hub_cut(f->rig->hub, i, BFT_RIG_CLIENT + 1, true);
    f->c = bft_rig_client(f->rig, 1);
    test_env_run_for(f->t, 10 * C2_NS_PER_S);
    assert_int_equal(epoch_of(f->c), 1);
    for (unsigned i = 0; i < GONE; i++)
        test_hub_cut(f->rig->hub, i, BFT_RIG_CLIENT + 1, false);
    assert_value(f, "before", "1");
    coord_close(f->c);
    f->c = first;
}

struct watcher {
    struct coord_watch w;
    unsigned events, reloads;
};

static void
on_event(struct coord_watch *w, struct c2_slice key, uint64_t version, bool deleted)
{
    (void)version;
    (void)deleted;
    if (c2_slice_equal(key, c2_slice_str("seen")))
        C2_CONTAINER_OF(w, struct watcher, w)->events++;
}

static void
on_reload(struct coord_watch *w)
{
    C2_CONTAINER_OF(w, struct watcher, w)->reloads++;
}

static void
watch__goes_on_with_other_members(void **state)
{
    struct coord_fixture *f = *state;
    struct watcher w = {
        .w = { .prefix = c2_slice_str("seen"), .event = on_event, .reload = on_reload }
    };
    coord_watch(f->c, &w.w);
    test_env_run_for(f->t, C2_NS_PER_S);
    replace_the_fourth(f);
    test_env_run_for(f->t, 5 * C2_NS_PER_S);
    unsigned reloads = w.reloads;
    assert_true(reloads > 0);
    put(f, "seen", "1");
    test_env_run_for(f->t, C2_NS_PER_S);
    assert_int_equal(w.events, 1);
    assert_int_equal(w.reloads, reloads);
    coord_unwatch(f->c, &w.w);
}

static void
change__adds_and_removes(void **state)
{
    struct coord_fixture *f = *state;
    struct cluster_change ch = { .address = "newcomer:7" };
    struct cluster_plan p;
    struct cluster_info i;
    struct asked a;
    char *error = NULL;
    assert_int_equal(plan(f, &ch, &p, &error), C2_E_OK);
    assert_int_equal(submit(f, &p, &a), C2_E_OK);
    /* One at a time. */
    assert_int_equal(submit(f, &p, &a), C2_E_NOT_PERMITTED);
    assert_non_null(strstr(a.q.why, "on its way"));
    work_until(f, 1);
    start_newcomer(f, &p, ch.address);
    assert_true(cluster_look(f->c, &i));
    assert_int_equal(i.n, 5);
    assert_int_equal(submit(f, &p, &a), C2_E_NOT_PERMITTED); /* signed for the epoch before */
    cluster_plan_done(&p);
    test_env_run_for(f->t, 10 * C2_NS_PER_S);
    ch = (struct cluster_change){ .leaves = 1 };
    assert_int_equal(plan(f, &ch, &p, &error), C2_E_OK);
    assert_int_equal(p.id, 0);
    assert_int_equal(submit(f, &p, &a), C2_E_OK);
    cluster_plan_done(&p);
    work_until(f, 2);
    assert_true(cluster_look(f->c, &i));
    assert_int_equal(i.n, 4);
    assert_string_equal(i.replica[3].address, "newcomer:7");
    bft_rig_stop(f->rig, 0);
    put(f, "after", "2");
    assert_value(f, "after", "2");
}

static void
assert_no_plan(struct coord_fixture *f, struct cluster_change ch, const char *says)
{
    struct cluster_plan p;
    char *error = NULL;
    assert_int_equal(plan(f, &ch, &p, &error), C2_E_CONFIG);
    if (strstr(error, says) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error, says);
    c2_free(error);
}

static void
change__that_makes_no_sense_is_refused(void **state)
{
    struct coord_fixture *f = *state;
    struct cluster_plan p;
    char *error = NULL;
    assert_no_plan(f, (struct cluster_change){ .leaves = 2 }, "3 replicas; 4 to 6 are needed");
    assert_no_plan(f, (struct cluster_change){ .leaves = 5, .address = "a:1" }, "no replica 5");
    assert_no_plan(f, (struct cluster_change){ .address = "nowhere" }, "HOST:PORT");
    assert_no_plan(f, (struct cluster_change){ .address = f->rig->config.member[1].address },
                   "replica 2 has the address");
    C2_AUTO(c2_buf_done) struct c2_buf other = admin_key(f->rig->config.cluster, 5);
    const struct cluster_change ch = { .address = "a:1" };
    assert_int_equal(cluster_plan_change(f->c, &ch, c2_buf_slice(&other), &p, &error), C2_E_KEY);
    c2_free(error);
    error = NULL;
    assert_int_equal(cluster_plan_change(f->c, &ch, c2_slice_str("x"), &p, &error), C2_E_KEY);
    c2_free(error);
}

/* A root.pub of which one replica, by its place, is still a member. */
static struct c2_buf
old_trust(struct coord_fixture *f, unsigned member)
{
    struct bft_config c = f->rig->config;
    struct c2_buf text = { 0 };
    for (unsigned i = 0; i < c.n; i++) {
        if (i + 1 != member)
            c.member[i].identity_key[0] ^= 1;
    }
    identity_write_cluster(&text, "x", &c);
    return text;
}

static void
change__that_takes_the_last_replica_that_is_known_is_noticed(void **state)
{
    struct coord_fixture *f = *state;
    C2_AUTO(c2_buf_done) struct c2_buf trust = old_trust(f, 3);
    C2_AUTO(c2_buf_done) struct c2_buf nobody = old_trust(f, 0);
    struct cluster_change ch = { .address = "a:1", .leaves = 3 };
    assert_false(cluster_trust_lasts(f->c, &ch, c2_buf_slice(&trust)));
    assert_false(cluster_trust_lasts(f->c, &ch, c2_slice_str("x")));
    ch.leaves = 2;
    assert_true(cluster_trust_lasts(f->c, &ch, c2_buf_slice(&trust)));
    assert_false(cluster_trust_lasts(f->c, &ch, c2_buf_slice(&nobody)));
    ch.leaves = 0;
    assert_true(cluster_trust_lasts(f->c, &ch, c2_buf_slice(&trust)));
}

static void
client__believes_a_quorum_and_nothing_less(void **state)
{
    struct coord_fixture *f = *state;
    put(f, "k", "v");
    for (uint16_t count = 2; count <= 3; count++) {
        C2_AUTO(c2_buf_done) struct c2_buf m = forge(f, count);
        test_hub_inject(f->rig->hub, 0, BFT_RIG_CLIENT, c2_buf_slice(&m));
        test_env_run_for(f->t, C2_NS_PER_S);
        assert_int_equal(epoch_of(f->c), count == 3);
    }
    C2_AUTO(c2_buf_done) struct c2_buf again = forge(f, 3);
    again.data[again.len - 1] ^= 1;
    test_hub_inject(f->rig->hub, 0, BFT_RIG_CLIENT, c2_buf_slice(&again));
    test_env_run_for(f->t, C2_NS_PER_S);
    assert_int_equal(epoch_of(f->c), 1);
}

/* The answers to the first ordered request that comes are lost for ever, and all fast reads. */
struct lost {
    uint64_t cseq;
    unsigned count;
};

static bool
lose(void *arg, unsigned from, unsigned to, struct c2_slice m)
{
    struct lost *l = arg;
    struct msg_head h;
    struct msg_reply reply;
    (void)from;
    if (to < BFT_RIG_CLIENT || msg_read_head(m, &h) != C2_E_OK)
        return true;
    if (h.type == MSG_READ_REPLY)
        return false;
    if (h.type != MSG_REPLY || msg_read_reply(m, &reply) != C2_E_OK || reply.session == 0)
        return true;
    if (l->cseq == 0)
        l->cseq = reply.cseq;
    l->count += reply.cseq == l->cseq;
    return reply.cseq != l->cseq;
}

static void
change__that_is_not_answered_ends_and_happens_all_the_same(void **state)
{
    struct coord_fixture *f = *state;
    const struct cluster_change ch = { .address = "newcomer:7", .leaves = 4 };
    struct cluster_plan p;
    struct lost l = { 0 };
    char *error = NULL;
    put(f, "k", "v");
    test_env_run_for(f->t, C2_NS_PER_S); /* all have answered */
    assert_int_equal(plan(f, &ch, &p, &error), C2_E_OK);
    test_hub_filter(f->rig->hub, lose, &l);
    struct asked a = { .q = { .request = c2_buf_slice(&p.request), .done = asked_done } };
    a.q.deadline_ns = c2_now_ns(f->env) + 10 * C2_NS_PER_S;
    cluster_submit(f->c, &a.q);
    test_env_run_for(f->t, 20 * C2_NS_PER_S);
    assert_true(l.count > 0);
    assert_true(a.done);
    assert_int_equal(a.q.err, C2_E_TIMEOUT);
    test_hub_filter(f->rig->hub, NULL, NULL);
    work_until(f, 1);
    cluster_plan_done(&p);
}

static void
client__reads_with_another_number_when_one_is_not_answered(void **state)
{
    struct coord_fixture *f = *state;
    struct lost lost = { 0 };
    put(f, "k", "v");
    test_env_run_for(f->t, C2_NS_PER_S);
    test_hub_filter(f->rig->hub, lose, &lost);
    assert_value(f, "k", "v");
    assert_true(lost.count > 0);
    put(f, "k", "w");
    assert_value(f, "k", "w");
    test_hub_filter(f->rig->hub, NULL, NULL);
}

int
main(void)
{
#define R(name)                                                                                    \
    cmocka_unit_test_setup_teardown(name, coord_fixture_setup_bft, coord_fixture_teardown)
    const struct CMUnitTest tests[] = {
        R(client__follows_when_a_replica_is_replaced),
        R(client__that_knows_the_first_members_finds_those_of_today),
        R(former_member__learns_that_it_was_replaced_while_it_was_down),
        R(former_member__is_asked_how_it_is),
        R(former_member__follows_all_changes_that_it_has_missed),
        R(former_member__believes_a_quorum_and_nothing_less),
        R(former_member__tells_clients_of_those_of_today),
        R(watch__goes_on_with_other_members),
        R(change__adds_and_removes),
        R(change__that_makes_no_sense_is_refused),
        R(change__that_takes_the_last_replica_that_is_known_is_noticed),
        R(change__that_is_not_answered_ends_and_happens_all_the_same),
        R(client__believes_a_quorum_and_nothing_less),
        R(client__reads_with_another_number_when_one_is_not_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
