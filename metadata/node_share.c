/* SPDX-License-Identifier: MIT */
/*
 * What one key may cost while others want something.
 *
 * Everything a client makes this replica do has a price in time, by constants that a processor of
 * today does not exceed: a message, its bytes, a signature, a command, an answer. While other keys
 * have asked for anything within a second, a key may spend half of its equal part of each second,
 * within SHARE_MOST and SHARE_LEAST, and BURST_NS at once; then all its connections rest until that
 * is paid, and the other end feels it as a network that takes no more. So however much it sends,
 * and whether it is good, bad or old, the others find the replica idle most of the time. Alone, a
 * key may have everything, and owes nothing for it when another one comes.
 *
 * How many keys a command changes shows when it is executed: a few bytes can name very many, also
 * if all of it fails in the end. So does how much is found for a question, of which most replicas
 * send the hash alone. The rest of the price is owed from then on.
 *
 * The primary hears of every request that a backup takes, so there a request costs three times as
 * much: over all replicas a key cannot ask for more than twice what it may have at the primary.
 *
 * Nobody asks a backup for the answers to what it executes, which would cost as much again for each
 * connection of the key. So they go to one connection, that of the session (node_reply); and they
 * go there also when the key has had its share, without long results: a client whose f + 1 answers
 * do not come has to ask all replicas again. That costs a backup less than the request has cost the
 * primary, which counts the answers, too.
 *
 * Who leaves and comes back at once still owes what it has cost.
 *
 * Strangers, who have shown no certificate, have one account together, whatever keys they make.
 *
 * A key that has done what no honest client does is disconnected and not let in again for a while,
 * which doubles each time.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "metadata/node_int.h"

#define SHARE_MOST    4 /* one part in this many */
#define SHARE_LEAST   (2 * BFT_RECENT)
#define BURST_NS      (25 * C2_NS_PER_MS)
#define MESSAGE_NS    10000
#define BYTE_NS       50 /* of what comes: read, hashed, logged, sent on */
#define SIGNATURE_NS  120000
#define COMMAND_NS    10000 /* with the first key that it changes */
#define CHANGE_NS     5000  /* each other one; twice when that is undone */
#define STATUS_NS     100000
#define ANSWER_NS     10000
#define ANSWER_BYTE   25 /* read, hashed, encrypted */
#define RESULT_BYTE   3  /* found and hashed, also where only the hash is sent */
#define WORK_MIN_NS   1000
#define BACKUP_FACTOR 3
#define WORK_MAX_NS   (10 * C2_NS_PER_S) /* owed: who catches up executes much at once */
#define PENALTY_NS    C2_NS_PER_S
#define PENALTY_MAX   6 /* doublings */
#define FORGIVEN_NS   (600 * C2_NS_PER_S)

static struct node_peer_key *
account(const struct node_conn *c)
{
    return c->known ? c->whose : &c->owner->strangers;
}

static bool
is_primary(const struct node *n)
{
    struct bft_info info;
    bft_info(n->core, &info);
    return info.seat == info.primary;
}

static uint64_t
price(const struct node *n, struct c2_slice m)
{
    struct msg_head h;
    struct msg_request r, one;
    uint64_t ns = MESSAGE_NS + m.len * BYTE_NS;
    if (msg_read_head(m, &h) != C2_E_OK)
        return ns;
    if (h.type == MSG_ASK_STATUS)
        return ns + STATUS_NS;
    if (h.type != MSG_REQUEST || msg_read_request(m, &r) != C2_E_OK)
        return ns;
    struct c2_slice rest = r.op;
    ns += SIGNATURE_NS;
    for (uint32_t i = 0; msg_next_command(&r, i, &rest, &one); i++)
        ns += COMMAND_NS;
    return is_primary(n) ? ns : ns * BACKUP_FACTOR;
}

/* Half of what each key would have if all who ask now asked for as much as they could. */
static uint64_t
parts(const struct node *n)
{
    return C2_MIN(C2_MAX(2 * bft_keys_active(n->core), SHARE_MOST), SHARE_LEAST);
}

static bool
is_alone(const struct node_conn *c)
{
    return c->known && !bft_is_contended(c->owner->core, c->whose->key);
}

static void
charge(struct node_conn *c, uint64_t cost_ns)
{
    struct node *n = c->owner;
    struct node_peer_key *k = account(c);
    uint64_t now_ns = c2_now_ns(n->env);
    if (is_alone(c))
        k->paid_ns = now_ns;
    else
        k->paid_ns = C2_MAX(k->paid_ns, now_ns) + cost_ns * parts(n);
}

void
node_charge_answer(struct node_conn *c, size_t len)
{
    if (!c->replica)
        charge(c, ANSWER_NS + len * ANSWER_BYTE);
}

void
node_charge_owed(struct node_conn *c, size_t len)
{
    if (is_primary(c->owner))
        node_charge_answer(c, len);
}

/* ---- accounts ------------------------------------------------------------------------------- */

struct node_peer_key *
node_join_key(struct node *n, const uint8_t *key)
{
    uint64_t hash = c2_map_hash_bytes(&n->keys, c2_slice(key, C2_NET_KEY_LEN));
    struct c2_map_node *m = c2_map_find(&n->keys, hash);
    for (; m != NULL; m = c2_map_find_next(m)) {
        struct node_peer_key *k = C2_CONTAINER_OF(m, struct node_peer_key, node);
        if (memcmp(k->key, key, sizeof k->key) == 0) {
            if (k->conns++ == 0)
                c2_list_remove(&n->debtors, &k->debtor);
            return k;
        }
    }
    struct node_peer_key *k = c2_calloc(1, sizeof *k);
    memcpy(k->key, key, sizeof k->key);
    k->conns = 1;
    k->node.hash = hash;
    c2_map_insert(&n->keys, &k->node);
    return k;
}

static void
owe(struct node *n, const uint8_t *key, uint64_t cost_ns)
{
    uint64_t now_ns = c2_now_ns(n->env);
    if (cost_ns < WORK_MIN_NS || !bft_is_contended(n->core, key))
        return;
    struct node_peer_key *k = node_join_key(n, key);
    uint64_t owed_ns = C2_MAX(k->paid_ns, now_ns) + cost_ns * parts(n);
    k->paid_ns = C2_MAX(k->paid_ns, C2_MIN(owed_ns, now_ns + WORK_MAX_NS));
    node_leave_key(n, k);
}

void
node_charge_work(struct node *n, const struct bft_job *job)
{
    size_t from = 0;
    if (job->kind == BFT_JOB_QUERY)
        owe(n, job->key, job->out.len * RESULT_BYTE);
    for (uint32_t i = 0; i < job->ncommands; i++) {
        const struct bft_command *c = &job->commands[i];
        uint64_t changes_ns = c->work > 1 ? (c->work - 1) * CHANGE_NS : 0;
        owe(n, c->key, changes_ns + (job->out_end[i] - from) * RESULT_BYTE);
        from = job->out_end[i];
    }
}

static void
forget_debtor(struct node *n, struct node_peer_key *k)
{
    c2_list_remove(&n->debtors, &k->debtor);
    c2_map_remove(&n->keys, &k->node);
    c2_free(k);
}

void
node_leave_key(struct node *n, struct node_peer_key *k)
{
    if (--k->conns > 0)
        return;
    c2_list_append(&n->debtors, &k->debtor);
    struct c2_link *link = n->debtors.head.next;
    for (size_t left = n->debtors.count; left > 0; left--) {
        struct node_peer_key *d = C2_CONTAINER_OF(link, struct node_peer_key, debtor);
        link = link->next;
        if (d->paid_ns <= c2_now_ns(n->env) || n->debtors.count > NODE_DEBTORS_MAX)
            forget_debtor(n, d);
    }
}

void
node_forget_debtors(struct node *n)
{
    while (!c2_list_empty(&n->debtors))
        forget_debtor(n, C2_LIST_FIRST(&n->debtors, struct node_peer_key, debtor));
}

/* ---- rest ------------------------------------------------------------------------------------ */

/* When its key may go on; 0 = now. */
static uint64_t
rests_until(const struct node_conn *c)
{
    const struct node *n = c->owner;
    const struct node_peer_key *k = account(c);
    if (c->replica || is_alone(c) || k->paid_ns <= c2_now_ns(n->env) + BURST_NS)
        return 0;
    return k->paid_ns - BURST_NS;
}

bool
node_has_had_its_share(const struct node_conn *c)
{
    return rests_until(c) != 0;
}

void
node_rest(struct node_conn *c)
{
    struct node *n = c->owner;
    if (c2_link_linked(&c->rest))
        return;
    c2_net_pause(c->net, true);
    c2_list_append(&n->resting, &c->rest);
    c2_defer(n->env, &n->resume);
}

/* With all others of its account. */
static void
all_rest(struct node *n, const struct node_conn *c)
{
    n->rests++;
    C2_LIST_FOREACH (&n->conn_list, struct node_conn, o, link) {
        if (!o->replica && account(o) == account(c))
            node_rest(o);
    }
}

void
node_charge(struct node_conn *c, struct c2_slice m)
{
    struct node *n = c->owner;
    charge(c, price(n, m));
    if (rests_until(c) != 0)
        all_rest(n, c);
}

/* Whoever had more than its share of late goes on with one connection at a time. */
static bool
goes_on(struct node *n, struct node_conn *c)
{
    struct node_peer_key *k = account(c);
    bool again = k->pass == n->pass && k->paid_ns > c2_now_ns(n->env);
    k->pass = n->pass;
    return c->replica || !again;
}

static void
resume_all(struct c2_task *t)
{
    struct node *n = C2_CONTAINER_OF(t, struct node, resume);
    uint64_t soonest_ns = C2_NEVER;
    bool more = false;
    n->pass++;
    for (size_t left = n->resting.count; left > 0; left--) {
        struct node_conn *c = C2_LIST_FIRST(&n->resting, struct node_conn, rest);
        c2_list_remove(&n->resting, &c->rest);
        c->whose->turn = 0;
        c->whose->turn_bytes = 0;
        uint64_t until_ns = rests_until(c);
        if (until_ns == 0 && goes_on(n, c)) {
            c2_net_pause(c->net, false);
            continue;
        }
        c2_list_append(&n->resting, &c->rest);
        more = more || until_ns == 0;
        if (until_ns != 0)
            soonest_ns = C2_MIN(soonest_ns, until_ns);
    }
    if (more)
        c2_defer(n->env, &n->resume);
    else if (soonest_ns != C2_NEVER)
        c2_timer_arm(n->env, &n->rest, soonest_ns);
}

static void
rest_is_over(struct c2_timer *t)
{
    struct node *n = C2_CONTAINER_OF(t, struct node, rest);
    c2_defer(n->env, &n->resume);
}

void
node_share_init(struct node *n)
{
    n->resume.run = resume_all;
    n->rest.fire = rest_is_over;
}

/* ---- who did what no honest client does ------------------------------------------------------ */

static struct node_caught *
find_caught(struct node *n, const uint8_t *key)
{
    for (unsigned i = 0; i < NODE_CAUGHT_MAX; i++) {
        if (n->culprits[i].until_ns != 0 && memcmp(n->culprits[i].key, key, C2_NET_KEY_LEN) == 0)
            return &n->culprits[i];
    }
    return NULL;
}

static struct node_caught *
make_caught(struct node *n, const uint8_t *key)
{
    struct node_caught *oldest = &n->culprits[0];
    for (unsigned i = 1; i < NODE_CAUGHT_MAX; i++) {
        if (n->culprits[i].until_ns < oldest->until_ns)
            oldest = &n->culprits[i];
    }
    *oldest = (struct node_caught){ 0 };
    memcpy(oldest->key, key, sizeof oldest->key);
    return oldest;
}

void
node_punish(struct node *n, const uint8_t key[C2_NET_KEY_LEN])
{
    uint64_t now_ns = c2_now_ns(n->env);
    struct node_caught *c = find_caught(n, key);
    if (c == NULL)
        c = make_caught(n, key);
    if (now_ns > c->until_ns + FORGIVEN_NS)
        c->times = 0;
    c->until_ns = now_ns + (PENALTY_NS << c->times);
    if (c->times < PENALTY_MAX)
        c->times++;
    n->caught++;
    c2_log(DEBUG, "node", "clients=%llu one has sent what no honest one sends; it is disconnected",
           (unsigned long long)n->caught);
}

bool
node_is_punished(struct node *n, const uint8_t key[C2_NET_KEY_LEN])
{
    const struct node_caught *c = find_caught(n, key);
    return c != NULL && c2_now_ns(n->env) < c->until_ns;
}
