/* SPDX-License-Identifier: MIT */
/*
 * Replicas of the coordination service (the core, its executor and the real store) over a network
 * that loses, repeats, delays and cuts, with crashes that lose what the log had not made durable.
 * Clients add to counters in transactions. Checked at every step:
 *
 *   agreement     no two batches are executed for one number; equal checkpoints have equal digests
 *   no double     no replica signs two votes for one (view, number, phase), across its restarts
 *   exactly once  in the end every counter is the number of acknowledged additions
 *   liveness      once all is healed, every request is answered in bounded time
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "metadata/bft.h"
#include "metadata/cmd.h"
#include "metadata/exec.h"
#include "metadata/store.h"
#include "tests/lib/test_env.h"
#include "tests/sim/scene.h"

#define N_MAX      4
#define CLIENTS    3
#define INTERVAL   8
#define LOG_MAX    4096
#define VOTES_SEEN 65536
#define DIR_MAX    256

struct bft_scene;

struct record {
    unsigned type;
    struct c2_buf bytes;
};

struct node {
    struct bft_scene *s;
    unsigned i;
    char path[DIR_MAX + 8];
    struct bft_replica *core;
    struct bft_exec *exec;
    bool up;
    unsigned life;
    struct record *log; /* records trimmed - first_lsn on */
    size_t nlog, log_cap;
    uint64_t first_lsn; /* of log[0] */
    uint64_t durable;
    bool syncing_log;
    struct c2_timer tick, sync, restart;
    uint64_t sync_to;
    int64_t skew_ns;
};

struct packet {
    struct c2_timer timer;
    struct bft_scene *s;
    unsigned from, to; /* to >= N_MAX: client */
    unsigned life_to;
    struct c2_blob *msg;
};

struct client {
    struct bft_scene *s;
    unsigned i;
    uint8_t key[MSG_KEY_LEN], secret[C2_ED25519_SECRET_LEN];
    uint64_t session, cseq, acked;
    bool waiting;
    unsigned left;
    uint64_t sent_ns;
    struct c2_blob *request;
    struct c2_timer again;
    uint32_t voted;
    uint8_t digest[N_MAX][MSG_DIGEST_LEN];
    uint64_t reply_n[N_MAX];
};

struct bft_scene {
    struct sim_world *w;
    struct sim_rng rng;
    char dir[DIR_MAX];
    struct bft_config config;
    uint8_t secret[N_MAX][C2_ED25519_SECRET_LEN];
    uint8_t authority[C2_ED25519_SECRET_LEN];
    struct node node[N_MAX];
    struct client client[CLIENTS];
    unsigned loss, dup; /* percent */
    uint64_t delay_ns;
    bool cut[N_MAX][N_MAX];
    struct c2_timer chaos;
    unsigned chaos_left;
    bool healed, done;
    uint8_t decided[LOG_MAX][MSG_DIGEST_LEN];
    bool have[LOG_MAX];
    uint8_t ckpt[LOG_MAX][MSG_DIGEST_LEN];
    bool have_ckpt[LOG_MAX];
    uint8_t *votes; /* VOTES_SEEN * (1 + 32) */
};

/* ---- signatures that cost nothing: the public key is the secret's hash ------------------------
 */

static void
fake_sign(const struct bft_crypto *c, const uint8_t secret[C2_ED25519_SECRET_LEN],
          const uint8_t hash[C2_SHA256_LEN], uint8_t sig[MSG_SIG_LEN])
{
    (void)c;
    const struct c2_slice in[] = { c2_slice(secret + 32, 32), c2_slice(hash, C2_SHA256_LEN) };
    c2_sha256_v(in, 2, sig);
    memset(sig + 32, 7, 32);
}

static bool
fake_verify(const struct bft_crypto *c, const uint8_t key[MSG_KEY_LEN],
            const uint8_t hash[C2_SHA256_LEN], const uint8_t sig[MSG_SIG_LEN])
{
    (void)c;
    uint8_t want[MSG_SIG_LEN];
    const struct c2_slice in[] = { c2_slice(key, 32), c2_slice(hash, C2_SHA256_LEN) };
    c2_sha256_v(in, 2, want);
    memset(want + 32, 7, 32);
    return memcmp(want, sig, sizeof want) == 0;
}

static const struct bft_crypto fake = { fake_sign, fake_verify };

static void
make_key(struct bft_scene *s, uint8_t secret[C2_ED25519_SECRET_LEN], uint8_t key[MSG_KEY_LEN])
{
    sim_rng_fill(&s->rng, secret, C2_ED25519_SECRET_LEN);
    memcpy(key, secret + 32, MSG_KEY_LEN);
}

/* ---- network ----------------------------------------------------------------------------------
 */

static void client_hears(struct client *c, unsigned from, struct c2_slice msg);
static void node_event(struct node *n, struct bft_event *ev);

static void
packet_due(struct c2_timer *t)
{
    struct packet *p = C2_CONTAINER_OF(t, struct packet, timer);
    struct bft_scene *s = p->s;
    if (p->to >= N_MAX) {
        client_hears(&s->client[p->to - N_MAX], p->from, c2_blob_slice(p->msg));
    } else if (s->node[p->to].up && s->node[p->to].life == p->life_to) {
        struct bft_event ev = { .kind = BFT_EV_MESSAGE, .seat = (uint16_t)p->from, .msg = p->msg };
        if (p->from >= N_MAX) {
            ev.kind = BFT_EV_CLIENT;
            ev.conn = p->from;
            ev.key = s->client[p->from - N_MAX].key;
        }
        node_event(&s->node[p->to], &ev);
    }
    c2_blob_unref(p->msg);
    c2_free(p);
}

static void
send_one(struct bft_scene *s, unsigned from, unsigned to, struct c2_blob *msg)
{
    if (from < N_MAX && to < N_MAX && s->cut[from][to])
        return;
    struct packet *p = c2_calloc(1, sizeof *p);
    p->timer.fire = packet_due;
    p->s = s;
    p->from = from;
    p->to = to;
    p->life_to = to < N_MAX ? s->node[to].life : 0;
    p->msg = c2_blob_ref(msg);
    sim_arm(s->w, &p->timer, s->w->now_ns + 1000 + sim_rng_below(&s->rng, s->delay_ns));
}

static void
network(struct bft_scene *s, unsigned from, unsigned to, struct c2_blob *msg)
{
    if (!sim_rng_chance(&s->rng, s->loss))
        send_one(s, from, to, msg);
    if (sim_rng_chance(&s->rng, s->dup))
        send_one(s, from, to, msg);
}

/* ---- invariants -------------------------------------------------------------------------------
 */

/* Every vote that leaves a replica, for ever. */
static void
check_votes(struct bft_scene *s, unsigned from, struct c2_slice msg)
{
    struct msg_head h;
    struct msg_votes v;
    if (msg_read_votes(msg, &h, &v) != C2_E_OK)
        return;
    for (uint32_t i = 0; i < v.count; i++) {
        uint8_t id[25] = { (uint8_t)from };
        uint8_t sum[C2_SHA256_LEN];
        id[1] = h.type;
        c2_put_u64(id + 2, v.view);
        c2_put_u64(id + 10, v.vote[i].n);
        c2_sha256(c2_slice(id, sizeof id), sum);
        for (unsigned at = c2_get_u16(sum);; at = (at + 1) % VOTES_SEEN) {
            uint8_t *e = s->votes + (size_t)at * 64;
            if (e[0] == 0) {
                e[0] = 1;
                memcpy(e + 1, id, sizeof id);
                memcpy(e + 32, v.vote[i].digest, 32);
                break;
            }
            if (memcmp(e + 1, id, sizeof id) != 0)
                continue;
            SIM_CHECK(s->w, memcmp(e + 32, v.vote[i].digest, 32) == 0,
                      "replica %u voted twice for view %llu, %llu", from,
                      (unsigned long long)v.view, (unsigned long long)v.vote[i].n);
            break;
        }
    }
}

static void
check_digest(struct bft_scene *s, uint8_t (*table)[MSG_DIGEST_LEN], bool *have, uint64_t n,
             const uint8_t *digest, const char *what)
{
    SIM_CHECK(s->w, n < LOG_MAX, "too many batches");
    if (have[n]) {
        SIM_CHECK(s->w, memcmp(table[n], digest, MSG_DIGEST_LEN) == 0, "two %s for %llu", what,
                  (unsigned long long)n);
        return;
    }
    have[n] = true;
    memcpy(table[n], digest, MSG_DIGEST_LEN);
}

/* ---- a replica's driver ------------------------------------------------------------------------
 */

static void
log_append(struct node *n, const struct bft_action *a)
{
    if (n->nlog == n->log_cap) {
        n->log_cap = C2_MAX(n->log_cap * 2, 64);
        n->log = c2_realloc(n->log, n->log_cap, sizeof *n->log);
    }
    SIM_CHECK(n->s->w, a->lsn == n->first_lsn + n->nlog, "a gap in the log");
    struct record *r = &n->log[n->nlog++];
    *r = (struct record){ .type = a->type };
    c2_buf_append(&r->bytes, a->bytes.data, a->bytes.len);
    if (a->body != NULL)
        c2_buf_append(&r->bytes, a->body->data + a->body_at, a->body_len);
    if (!n->syncing_log) {
        n->syncing_log = true;
        sim_arm(n->s->w, &n->sync, n->s->w->now_ns + 1 + sim_rng_below(&n->s->rng, 400000));
    }
}

static void
log_cut(struct node *n, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        c2_buf_done(&n->log[i].bytes);
}

static void
log_trim(struct node *n, uint64_t lsn)
{
    SIM_CHECK(n->s->w, lsn <= n->durable + 1, "trims what is not durable");
    if (lsn <= n->first_lsn)
        return;
    size_t drop = (size_t)(lsn - n->first_lsn);
    log_cut(n, 0, drop);
    memmove(n->log, n->log + drop, (n->nlog - drop) * sizeof *n->log);
    n->nlog -= drop;
    n->first_lsn = lsn;
}

static void
run_job(struct node *n, struct bft_job *job)
{
    struct bft_scene *s = n->s;
    bft_exec_run(n->exec, job);
    SIM_CHECK(s->w, job->err == C2_E_OK, "job %d of replica %u: %s", job->kind, n->i,
              c2_err_name(job->err));
    if (job->kind == BFT_JOB_EXECUTE) {
        uint8_t digest[MSG_DIGEST_LEN];
        c2_sha256(c2_buf_slice(&job->out), digest);
        check_digest(s, s->decided, s->have, job->n, digest, "results");
    } else if (job->kind == BFT_JOB_CHECKPOINT) {
        check_digest(s, s->ckpt, s->have_ckpt, job->n, job->digest, "states");
    }
    struct bft_event ev = { .kind = BFT_EV_JOB, .job = job };
    node_event(n, &ev);
}

static void
to_client(struct node *n, const struct bft_action *a)
{
    for (unsigned c = 0; c < CLIENTS; c++) {
        if (memcmp(n->s->client[c].key, a->key, MSG_KEY_LEN) == 0)
            network(n->s, n->i, N_MAX + c, a->msg);
    }
}

static void
carry_out(struct node *n, const struct bft_action *a)
{
    struct bft_scene *s = n->s;
    switch (a->kind) {
    case BFT_ACT_SEND:
        check_votes(s, n->i, c2_blob_slice(a->msg));
        for (unsigned to = 0; to < s->config.n; to++) {
            if ((a->seats >> to & 1) != 0)
                network(s, n->i, to, a->msg);
        }
        break;
    case BFT_ACT_REPLY:
        to_client(n, a);
        break;
    case BFT_ACT_APPEND:
        log_append(n, a);
        break;
    case BFT_ACT_TRIM:
        log_trim(n, a->lsn);
        break;
    case BFT_ACT_ALARM:
        sim_trace(s->w, "alarm", "replica %u: %s", n->i, a->text);
        SIM_CHECK(s->w, a->alarm != BFT_ALARM_HALT && a->alarm != BFT_ALARM_EVIDENCE,
                  "replica %u: %s", n->i, a->text);
        break;
    case BFT_ACT_JOB:
    case BFT_ACT_CONFIG:
        break;
    }
}

static void
node_event(struct node *n, struct bft_event *ev)
{
    struct bft_actions acts;
    struct bft_job *jobs[128];
    unsigned njobs = 0;
    ev->now_ns = n->s->w->now_ns;
    ev->wall_ns = (uint64_t)((int64_t)(n->s->w->now_ns + 1700000000ull * C2_NS_PER_S) + n->skew_ns);
    bft_step(n->core, ev, &acts);
    for (size_t i = 0; i < acts.count; i++) {
        carry_out(n, &acts.action[i]);
        if (acts.action[i].kind == BFT_ACT_JOB) {
            C2_ASSERT(njobs < C2_ARRAY_LEN(jobs));
            jobs[njobs++] = acts.action[i].job;
        }
    }
    for (unsigned i = 0; i < njobs; i++)
        run_job(n, jobs[i]);
    uint64_t due = bft_deadline_ns(n->core);
    if (due != C2_NEVER)
        sim_arm(n->s->w, &n->tick, C2_MAX(due, n->s->w->now_ns + 1000));
}

static void
tick_due(struct c2_timer *t)
{
    struct node *n = C2_CONTAINER_OF(t, struct node, tick);
    struct bft_event ev = { .kind = BFT_EV_TICK };
    struct bft_info in;
    char who[16];
    node_event(n, &ev);
    bft_info(n->core, &in);
    snprintf(who, sizeof who, "replica%u", n->i);
    sim_trace(n->s->w, who, "mode %d, view %llu%s, stable %llu, executed %llu, %u requests",
              (int)in.mode, (unsigned long long)in.view, in.leaving ? " leaving" : "",
              (unsigned long long)in.stable, (unsigned long long)in.executed, in.requests);
}

static void
sync_due(struct c2_timer *t)
{
    struct node *n = C2_CONTAINER_OF(t, struct node, sync);
    n->syncing_log = false;
    n->durable = n->first_lsn + n->nlog - 1;
    struct bft_event ev = { .kind = BFT_EV_DURABLE, .lsn = n->durable };
    node_event(n, &ev);
}

static void
node_start(struct node *n, bool create)
{
    struct bft_scene *s = n->s;
    struct store_options o = { .map_size = 64u << 20, .create = create, .replicated = true };
    struct replica_app *app = NULL;
    char *error = NULL;
    const char *why = NULL;
    SIM_CHECK(s->w, store_open(n->path, &o, &app, &error) == C2_E_OK, "store: %s", error);
    n->exec = bft_exec_new(app);
    struct bft_setup setup = { .config = s->config, .id = (uint16_t)n->i, .crypto = &fake };
    memcpy(setup.sign_secret, s->secret[n->i], sizeof setup.sign_secret);
    bft_timing_lan(&setup.timing);
    bft_limits_default(&setup.limits);
    setup.seed = sim_rng_next(&s->rng);
    SIM_CHECK(s->w, bft_new(&setup, &n->core, &why) == C2_E_OK, "setup: %s", why);
    n->up = true;
    for (size_t i = 0; i < n->nlog; i++) {
        struct bft_event ev = { .kind = BFT_EV_RECORD, .lsn = n->first_lsn + i };
        ev.type = n->log[i].type;
        ev.bytes = c2_buf_slice(&n->log[i].bytes);
        node_event(n, &ev);
    }
    struct bft_event ev = { .kind = BFT_EV_START, .lsn = n->first_lsn + n->nlog - 1 };
    node_event(n, &ev);
}

static void
node_stop(struct node *n)
{
    sim_stop(n->s->w, &n->tick);
    sim_stop(n->s->w, &n->sync);
    bft_free(n->core);
    bft_exec_free(n->exec);
    n->core = NULL;
    n->exec = NULL;
    n->up = false;
    n->life++;
}

/* What was not durable is kept up to some point. */
static void
node_crash(struct node *n)
{
    uint64_t last = n->first_lsn + n->nlog - 1;
    uint64_t keep = sim_rng_between(&n->s->rng, n->durable, C2_MAX(last, n->durable));
    sim_trace(n->s->w, "crash", "replica %u", n->i);
    node_stop(n);
    log_cut(n, (size_t)(keep + 1 - n->first_lsn), n->nlog);
    n->nlog = (size_t)(keep + 1 - n->first_lsn);
    n->durable = keep;
    n->syncing_log = false;
}

static void
restart_due(struct c2_timer *t)
{
    struct node *n = C2_CONTAINER_OF(t, struct node, restart);
    if (!n->up)
        node_start(n, false);
}

/* ---- clients ------------------------------------------------------------------------------------
 */

static void
ask(struct client *c)
{
    for (unsigned i = 0; i < c->s->config.n; i++)
        network(c->s, N_MAX + c->i, i, c->request);
    sim_arm(c->s->w, &c->again, c->s->w->now_ns + 300 * C2_NS_PER_MS);
}

static void
again_due(struct c2_timer *t)
{
    ask(C2_CONTAINER_OF(t, struct client, again));
}

static void
next_request(struct client *c)
{
    struct c2_buf op = { 0 };
    struct c2_buf msg = { 0 };
    struct msg_request m = { .kind = MSG_REQ_COMMAND, .session = c->session, .cseq = ++c->cseq };
    char key[16];
    if (c->session == 0) {
        uint8_t hash[C2_SHA256_LEN];
        m.kind = MSG_REQ_OPEN;
        msg_client_hash(c->s->config.cluster, c->key, hash);
        fake_sign(&fake, c->s->authority, hash, c2_buf_extend(&op, MSG_SIG_LEN));
    } else {
        snprintf(key, sizeof key, "counter%u", c->i);
        const struct coord_op add = { .kind = COORD_ADD, .key = c2_slice_str(key), .number = 1 };
        const struct coord_req r = { .verb = COORD_TXN, .ops = &add, .nops = 1 };
        coord_txn_encode(&r, &op);
        m.ack_low = c->cseq - 1;
    }
    m.op = c2_buf_slice(&op);
    memcpy(m.key, c->key, MSG_KEY_LEN);
    msg_write_request(&msg, c->s->config.cluster, &m);
    msg_sign(&fake, c->secret, &msg, 0);
    c2_blob_unref(c->request);
    c->request = c2_blob_copy(msg.data, msg.len);
    c2_buf_done(&op);
    c2_buf_done(&msg);
    c->waiting = true;
    c->voted = 0;
    c->sent_ns = c->s->w->now_ns;
    ask(c);
}

static void
client_hears(struct client *c, unsigned from, struct c2_slice msg)
{
    struct msg_reply m;
    if (!c->waiting || msg_read_reply(msg, &m) != C2_E_OK || m.cseq != c->cseq ||
        m.session != c->session || from >= N_MAX)
        return;
    c->voted |= 1u << from;
    memcpy(c->digest[from], m.digest, MSG_DIGEST_LEN);
    c->reply_n[from] = m.n;
    SIM_CHECK(c->s->w, m.code == MSG_OK, "client %u: code %u", c->i, m.code);
    for (unsigned i = 0; i < c->s->config.n; i++) {
        if (i == from || (c->voted >> i & 1) == 0)
            continue;
        SIM_CHECK(c->s->w,
                  c->reply_n[i] == m.n && memcmp(c->digest[i], m.digest, MSG_DIGEST_LEN) == 0,
                  "client %u: two answers", c->i);
    }
    if (__builtin_popcount(c->voted) <= c->s->config.f)
        return;
    c->waiting = false;
    sim_stop(c->s->w, &c->again);
    if (c->session == 0) {
        struct c2_slice r = m.result;
        SIM_CHECK(c->s->w, m.has_result && r.len == 8, "no session");
        c->session = c2_get_u64(r.data);
        c->cseq = 0;
    } else {
        c->acked++;
    }
    if (c->left-- > 1)
        next_request(c);
    bool done = true;
    for (unsigned i = 0; i < CLIENTS; i++)
        done = done && !c->s->client[i].waiting;
    c->s->done = done;
}

/* ---- script
 * -------------------------------------------------------------------------------------- */

static void
heal(struct bft_scene *s)
{
    memset(s->cut, 0, sizeof s->cut);
    s->loss = s->dup = 0;
    s->healed = true;
    for (unsigned i = 0; i < s->config.n; i++) {
        if (!s->node[i].up)
            node_start(&s->node[i], false);
    }
}

static void
chaos_due(struct c2_timer *t)
{
    struct bft_scene *s = C2_CONTAINER_OF(t, struct bft_scene, chaos);
    if (s->chaos_left-- == 0) {
        heal(s);
        return;
    }
    struct node *n = &s->node[sim_rng_below(&s->rng, s->config.n)];
    unsigned dice = (unsigned)sim_rng_below(&s->rng, 100);
    if (dice < 45 && n->up) {
        node_crash(n);
        sim_arm(s->w, &n->restart, s->w->now_ns + sim_rng_scale(&s->rng, 1000, 3 * C2_NS_PER_S));
    } else if (dice < 75) {
        unsigned to = (unsigned)sim_rng_below(&s->rng, s->config.n);
        s->cut[n->i][to] = true;
        if (sim_rng_chance(&s->rng, 50))
            s->cut[to][n->i] = true;
    } else {
        memset(s->cut, 0, sizeof s->cut);
    }
    sim_arm(s->w, t, s->w->now_ns + sim_rng_scale(&s->rng, C2_NS_PER_MS, 2 * C2_NS_PER_S));
}

static void
set_up(struct bft_scene *s, const char *dir)
{
    s->rng = sim_rng_fork(&s->w->rng, 9);
    snprintf(s->dir, sizeof s->dir, "%s/bft-%llx", dir, (unsigned long long)s->w->seed);
    s->votes = c2_calloc(VOTES_SEEN, 64);
    bft_config_default(&s->config);
    s->config.cluster = 42;
    s->config.checkpoint_interval = INTERVAL;
    s->config.window = 2 * INTERVAL;
    make_key(s, s->authority, s->config.client_authority);
    for (unsigned i = 0; i < s->config.n; i++) {
        s->config.member[i].id = (uint16_t)i;
        make_key(s, s->secret[i], s->config.member[i].sign_key);
        memcpy(s->config.member[i].identity_key, s->config.member[i].sign_key, MSG_KEY_LEN);
    }
    s->loss = sim_rng_chance(&s->rng, 50) ? (unsigned)sim_rng_below(&s->rng, 15) : 0;
    s->dup = (unsigned)sim_rng_below(&s->rng, 5);
    s->delay_ns = sim_rng_scale(&s->rng, 100000, 40 * C2_NS_PER_MS);
    s->chaos_left = (unsigned)sim_rng_below(&s->rng, 8);
    for (unsigned i = 0; i < s->config.n; i++) {
        struct node *n = &s->node[i];
        *n = (struct node){ .s = s, .i = i, .first_lsn = 1 };
        n->tick.fire = tick_due;
        n->sync.fire = sync_due;
        n->restart.fire = restart_due;
        n->skew_ns = (int64_t)sim_rng_below(&s->rng, 2000) * 1000000 - 1000000000;
        snprintf(n->path, sizeof n->path, "%s/%u", s->dir, i);
        node_start(n, true);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *c = &s->client[i];
        *c = (struct client){ .s = s, .i = i, .again.fire = again_due };
        make_key(s, c->secret, c->key);
        c->left = (unsigned)sim_rng_between(&s->rng, 5, 25);
        next_request(c);
    }
    s->chaos.fire = chaos_due;
    sim_arm(s->w, &s->chaos, s->w->now_ns + C2_NS_PER_MS);
}

static void
check_counters(struct bft_scene *s)
{
    struct node *n = NULL;
    for (unsigned i = 0; i < s->config.n; i++) {
        struct bft_info a;
        struct bft_info b;
        bft_info(s->node[i].core, &a);
        if (n != NULL)
            bft_info(n->core, &b);
        if (n == NULL || a.executed > b.executed)
            n = &s->node[i];
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        char name[16];
        snprintf(name, sizeof name, "counter%u", i);
        struct c2_slice key = c2_slice_str(name);
        struct coord_req r = { .verb = COORD_GET, .keys = &key, .nkeys = 1 };
        struct c2_buf op = { 0 };
        coord_txn_encode(&r, &op);
        struct bft_job job = { .kind = BFT_JOB_QUERY, .in = c2_buf_slice(&op) };
        bft_exec_run(n->exec, &job);
        SIM_CHECK(s->w, job.err == C2_E_OK, "query");
        cmd_reply_take(&r, &job.out);
        uint64_t value = r.nentries == 1 && r.entries[0].value.len == 8
                             ? c2_get_u64(r.entries[0].value.data)
                             : 0;
        SIM_CHECK(s->w, value == s->client[i].acked, "counter %u is %llu, acknowledged %llu", i,
                  (unsigned long long)value, (unsigned long long)s->client[i].acked);
        coord_req_done(&r);
        c2_buf_done(&op);
    }
}

static void
tear_down(struct bft_scene *s)
{
    for (unsigned i = 0; i < s->config.n; i++) {
        struct node *n = &s->node[i];
        node_stop(n);
        sim_stop(s->w, &n->restart);
        log_cut(n, 0, n->nlog);
        c2_free(n->log);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        sim_stop(s->w, &s->client[i].again);
        c2_blob_unref(s->client[i].request);
    }
    sim_stop(s->w, &s->chaos);
    while (sim_step(s->w))
        continue; /* packets to nobody */
    test_disk_remove_tree(s->dir);
}

void
sim_scene_bft(uint64_t seed, const struct sim_options *o, struct sim_tally *tally)
{
    struct bft_scene *s = c2_calloc(1, sizeof *s);
    s->w = sim_world_new("bft", seed, o->trace);
    set_up(s, o->dir);
    sim_run_until(s->w, &s->healed, 120 * C2_NS_PER_S, "the end of the faults");
    sim_run_until(s->w, &s->done, 120 * C2_NS_PER_S, "all answers");
    check_counters(s);
    tear_down(s);
    tally->events += s->w->events;
    sim_world_free(s->w);
    c2_free(s->votes);
    c2_free(s);
}
