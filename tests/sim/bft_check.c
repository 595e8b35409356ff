/* SPDX-License-Identifier: MIT */
/*
 * What must hold. The scenario knows the true order: the first correct replica that executes a
 * batch makes it true, and the reference below executes it too.
 *
 *   agreement     no two results for one number, equal checkpoints have equal digests
 *   validity      what is executed in the name of an honest client is what it asked for
 *   exactly once  each (session, number) is executed at most once, the counters say the same
 *   durability    what was acknowledged is in the true order, which never changes
 *   linearizable  a read shows a state between the last one known before it began and now
 *   fencing       tokens of the lock grow; a commit with a token happens only while it is the last
 *   no double     no correct replica signs two different things for one purpose, across restarts
 *   durable votes a vote leaves when its record is on the disk (bft_durable.c)
 *   no amnesia    a VIEW-CHANGE shows everything that its author has sent a COMMIT for
 *   bounded       the core's memory
 */
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "tests/sim/bft_scene.h"

#define VOTES_SEEN  (1u << 17)
#define VOTE_BYTES  80u
#define MEMORY_MORE (3u << 20)

/* ---- votes ----------------------------------------------------------------------------------- */

static void
once(struct bs_proc *p, const struct msg_head *h, uint64_t view, uint64_t n, const uint8_t *digest)
{
    struct bs *s = p->s;
    uint8_t id[24];
    uint8_t sum[C2_SHA256_LEN];
    if (s->votes == NULL)
        s->votes = c2_calloc(VOTES_SEEN, VOTE_BYTES);
    c2_put_u16(id, p->id);
    id[2] = h->type;
    id[3] = 1;
    c2_put_u32(id + 4, h->epoch);
    c2_put_u64(id + 8, view);
    c2_put_u64(id + 16, n);
    c2_sha256(c2_slice(id, sizeof id), sum);
    uint32_t at = c2_get_u32(sum) % VOTES_SEEN;
    for (unsigned tries = 0; tries < 1000; tries++, at = (at + 1) % VOTES_SEEN) {
        uint8_t *e = s->votes + (size_t)at * VOTE_BYTES;
        if (e[3] == 0) {
            memcpy(e, id, sizeof id);
            memcpy(e + 32, digest, MSG_DIGEST_LEN);
            return;
        }
        if (memcmp(e, id, sizeof id) != 0)
            continue;
        SIM_CHECK(s->w, memcmp(e + 32, digest, MSG_DIGEST_LEN) == 0,
                  "replica %u has signed two %s for view %llu, %llu", p->index,
                  msg_type_name(h->type), (unsigned long long)view, (unsigned long long)n);
        return;
    }
}

static struct bs_commit *
commit_of(struct bs *s, uint16_t id, uint64_t n)
{
    SIM_CHECK(s->w, n < BS_LOG_MAX, "too many batches");
    if (s->commits == NULL)
        s->commits = c2_calloc((size_t)BS_IDS * BS_LOG_MAX, sizeof *s->commits);
    return &s->commits[(size_t)id * BS_LOG_MAX + n];
}

static void
has_committed(struct bs_proc *p, const struct msg_head *h, const struct msg_votes *v)
{
    for (uint32_t i = 0; i < v->count && h->type == MSG_COMMIT; i++)
        *commit_of(p->s, p->id, v->vote[i].n) = (struct bs_commit){ h->epoch, v->view + 1 };
}

static void
shows_commits(struct bs_proc *p, const struct msg_head *h, const struct msg_view_change *vc)
{
    struct bs *s = p->s;
    bool shown[2 * BS_INTERVAL] = { false };
    struct c2_slice rest = vc->prepared;
    for (uint32_t i = 0; i < vc->nprepared; i++) {
        struct msg_prepared one;
        bool good = msg_next_prepared(&rest, &one) == C2_E_OK && one.p.n > vc->h &&
                    one.p.n <= vc->h + 2 * BS_INTERVAL;
        SIM_CHECK(s->w, good, "replica %u sends a malformed VIEW-CHANGE", p->index);
        const struct bs_commit *c = commit_of(s, p->id, one.p.n);
        shown[one.p.n - vc->h - 1] = c->epoch != h->epoch || one.p.view + 1 >= c->view_1;
    }
    for (unsigned i = 0; i < 2 * BS_INTERVAL; i++) {
        const struct bs_commit *c = commit_of(s, p->id, vc->h + 1 + i);
        bool sent = c->view_1 != 0 && c->epoch == h->epoch && c->view_1 <= vc->view;
        SIM_CHECK(s->w, !sent || shown[i], "replica %u has forgotten that it committed to %llu",
                  p->index, (unsigned long long)(vc->h + 1 + i));
    }
}

void
bs_check_sent(struct bs_proc *p, struct c2_slice msg)
{
    struct msg_head h;
    struct msg_votes v;
    struct msg_pre_prepare pp;
    struct msg_checkpoint c;
    struct msg_view_change vc;
    uint8_t digest[MSG_DIGEST_LEN];
    if (p->faulty || p->rotten || msg_read_head(msg, &h) != C2_E_OK)
        return;
    if (msg_read_votes(msg, &h, &v) == C2_E_OK) {
        for (uint32_t i = 0; i < v.count; i++)
            once(p, &h, v.view, v.vote[i].n, v.vote[i].digest);
        has_committed(p, &h, &v);
        bs_durable_voted(p, &h, &v);
    } else if (msg_read_checkpoint(msg, &c) == C2_E_OK) {
        once(p, &h, 0, c.n, c.digest);
    } else if (msg_read_pre_prepare(msg, &pp) == C2_E_OK) {
        struct bft_info in;
        bft_info(p->core, &in);
        if (h.sender == in.seat)
            once(p, &h, pp.p.view, pp.p.n, pp.p.digest);
    } else if (msg_read_view_change(msg, &vc) == C2_E_OK) {
        msg_digest(msg, digest);
        once(p, &h, vc.view, 0, digest);
        shows_commits(p, &h, &vc);
    }
}

/* ---- the true order -------------------------------------------------------------------------- */

static void
same(struct bs *s, uint8_t (*table)[MSG_DIGEST_LEN], bool *have, uint64_t n, const uint8_t *digest,
     const char *what)
{
    SIM_CHECK(s->w, n < BS_LOG_MAX, "too many batches");
    SIM_CHECK(s->w, !have[n] || memcmp(table[n], digest, MSG_DIGEST_LEN) == 0, "two %s for %llu",
              what, (unsigned long long)n);
    have[n] = true;
    memcpy(table[n], digest, MSG_DIGEST_LEN);
}

static struct bs_client *
honest_client(struct bs *s, const uint8_t *key)
{
    for (unsigned i = 0; i < s->nclients; i++) {
        if (!s->client[i].liar && memcmp(s->client[i].key, key, MSG_KEY_LEN) == 0)
            return &s->client[i];
    }
    return NULL;
}

static void
take_result(struct bs *s, const struct bs_client *who, struct bs_issued *is, struct coord_req *r,
            uint64_t *value)
{
    switch (is->kind) {
    case BS_OP_ACL:
        SIM_CHECK(s->w, r->err == C2_E_OK && s->acl_n == 0, "the list was not changed: %s",
                  c2_err_name(r->err));
        s->acl_n = is->executed_at;
        return;
    case BS_OP_ADD:
        if (bs_is_outsider(s, who) && s->acl_n != 0) {
            C2_MARK("sim: a client without rights is refused");
            SIM_CHECK(s->w, r->err == C2_E_NOT_PERMITTED, "a client without rights may add: %s",
                      c2_err_name(r->err));
            return;
        }
        SIM_CHECK(s->w, r->err == C2_E_OK, "an addition failed: %s", c2_err_name(r->err));
        value[is->key]++;
        return;
    case BS_OP_OPEN:
        is->token = r->session;
        return;
    case BS_OP_LOCK:
        if (r->err != C2_E_OK)
            return;
        C2_MARK("sim: a lock is taken");
        SIM_CHECK(s->w, r->version > s->last_token, "fencing token %llu after %llu",
                  (unsigned long long)r->version, (unsigned long long)s->last_token);
        s->last_token = is->token = r->version;
        return;
    case BS_OP_COMMIT:
        if (r->err != C2_E_OK) {
            C2_MARK("sim: a stale holder is fenced");
            return;
        }
        SIM_CHECK(s->w, is->token == s->last_token, "a commit with token %llu after %llu",
                  (unsigned long long)is->token, (unsigned long long)s->last_token);
        return;
    default:
        return;
    }
}

/* An ordered read sees the middle of a batch. */
static void
check_query(struct bs *s, const struct bs_client *who, const struct bft_command *c,
            struct c2_slice result, const uint64_t *value)
{
    struct cmd cmd = { 0 };
    struct c2_buf copy = { 0 };
    SIM_CHECK(s->w, cmd_decode(c->op, &cmd) == C2_E_OK, "an honest query is malformed");
    c2_buf_append(&copy, result.data, result.len);
    cmd_reply_take(&cmd.req, &copy);
    bool refused = bs_is_outsider(s, who) && s->acl_n != 0;
    SIM_CHECK(s->w, cmd.req.nentries == (refused ? 0 : BS_KEYS), "a query failed");
    for (unsigned i = 0; i < BS_KEYS && !refused; i++) {
        struct c2_slice v = cmd.req.entries[i].value;
        SIM_CHECK(s->w, (v.len == 8 ? c2_get_u64(v.data) : 0) == value[i],
                  "an ordered read of counter %u differs", i);
    }
    coord_req_done(&cmd.req);
    cmd_done(&cmd);
}

static void
run_command(struct bs *s, uint64_t n, const struct bft_command *c, struct c2_slice result,
            uint64_t *value)
{
    struct bs_client *who = honest_client(s, c->key);
    uint8_t op[C2_SHA256_LEN];
    if (who == NULL)
        return;
    if (c->query) {
        check_query(s, who, c, result, value);
        return;
    }
    SIM_CHECK(s->w, c->session == who->session && c->cseq < BS_CSEQ_MAX && c->cseq <= who->cseq,
              "client %u never asked for %llu", who->i, (unsigned long long)c->cseq);
    struct bs_issued *is = &who->issued[c->cseq];
    c2_sha256(c->op, op);
    SIM_CHECK(s->w, memcmp(op, is->op, sizeof op) == 0, "client %u asked for something else",
              who->i);
    SIM_CHECK(s->w, is->executed_at == 0, "request %llu of client %u is executed twice",
              (unsigned long long)c->cseq, who->i);
    is->executed_at = n;
    struct cmd cmd = { 0 };
    SIM_CHECK(s->w, cmd_decode(c->op, &cmd) == C2_E_OK, "an honest command is malformed");
    struct c2_buf copy = { 0 };
    c2_buf_append(&copy, result.data, result.len);
    cmd_reply_take(&cmd.req, &copy);
    take_result(s, who, is, &cmd.req, value);
    coord_req_done(&cmd.req);
    cmd_done(&cmd);
}

static void
run_batch(struct bs *s, const struct bft_job *job)
{
    uint64_t value[BS_KEYS];
    SIM_CHECK(s->w, job->n <= s->model_n + 1, "a batch that nobody else has: %llu",
              (unsigned long long)job->n);
    if (job->n <= s->model_n)
        return;
    memcpy(value, s->hist[s->model_n], sizeof value);
    size_t from = 0;
    for (uint32_t i = 0; i < job->ncommands; i++) {
        struct c2_slice result = c2_slice(job->out.data + from, job->out_end[i] - from);
        from = job->out_end[i];
        run_command(s, job->n, &job->commands[i], result, value);
    }
    s->model_n = job->n;
    memcpy(s->hist[job->n], value, sizeof value);
}

void
bs_check_job(struct bs_proc *p, const struct bft_job *job)
{
    struct bs *s = p->s;
    uint8_t digest[MSG_DIGEST_LEN];
    if (p->faulty)
        return;
    if (job->kind == BFT_JOB_EXECUTE) {
        c2_sha256(c2_buf_slice(&job->out), digest);
        same(s, s->decided, s->have, job->n, digest, "results");
        run_batch(s, job);
    } else if (job->kind == BFT_JOB_CHECKPOINT) {
        same(s, s->ckpt, s->have_ckpt, job->n, job->digest, "states");
    }
}

/* ---- reads ----------------------------------------------------------------------------------- */

void
bs_check_read(struct bs *s, struct bs_op *op, const uint64_t value[BS_KEYS])
{
    for (uint64_t n = op->low; n <= s->model_n; n++) {
        if (memcmp(s->hist[n], value, sizeof s->hist[n]) != 0)
            continue;
        s->low = C2_MAX(s->low, n);
        return;
    }
    sim_fail(s->w, "client %u reads what was never there since %llu", op->c->i,
             (unsigned long long)op->low);
}

/* ---- steps ----------------------------------------------------------------------------------- */

void
bs_check_step(struct bs_proc *p)
{
    struct bs *s = p->s;
    struct bft_info in;
    const struct bft_limits *l = &s->limits;
    bft_info(p->core, &in);
    if (in.view != p->last.view || in.mode != p->last.mode || in.leaving != p->last.leaving)
        sim_trace(s->w, p->node->name, "%u: mode %d, view %llu%s, stable %llu, executed %llu",
                  p->index, (int)in.mode, (unsigned long long)in.view, in.leaving ? " leaving" : "",
                  (unsigned long long)in.stable, (unsigned long long)in.executed);
    SIM_CHECK(s->w, in.stable >= p->last.stable && in.committed_to >= p->last.committed_to,
              "replica %u goes back", p->index);
    SIM_CHECK(s->w, in.epoch > p->last.epoch || in.view >= p->last.view,
              "replica %u goes back to view %llu", p->index, (unsigned long long)in.view);
    SIM_CHECK(s->w, in.epoch >= p->last.epoch, "replica %u goes back to epoch %u", p->index,
              in.epoch);
    SIM_CHECK(s->w,
              p->life.bytes <= p->life_base + l->bodies_bytes + 2 * l->requests_bytes + MEMORY_MORE,
              "replica %u uses %zu bytes", p->index, p->life.bytes);
    p->last = in;
}

void
bs_check_end(struct bs *s)
{
    for (unsigned k = 0; k < BS_KEYS; k++)
        SIM_CHECK(s->w, s->hist[s->model_n][k] == s->acked[k],
                  "counter %u is %llu, acknowledged %llu", k,
                  (unsigned long long)s->hist[s->model_n][k], (unsigned long long)s->acked[k]);
}
