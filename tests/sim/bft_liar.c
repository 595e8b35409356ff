/* SPDX-License-Identifier: MIT */
/*
 * A liar is a replica at work whose messages go through here on their way out, and who says things
 * of its own from time to time. It has its own key and whatever it has heard, and the network's
 * word for who it is; it cannot sign for others. All liars of a run know the same.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "tests/sim/bft_scene.h"

#define LIE_NS_MIN (2 * C2_NS_PER_MS)
#define LIE_NS_MAX (400 * C2_NS_PER_MS)

#define FLOOD_REQUESTS  20
#define FLOOD_PROPOSALS 3
#define FLOOD_BYTES     (96u << 10)

static bool
tells(const struct bs_proc *p, enum bs_lie lie)
{
    return (p->lies >> lie & 1) != 0;
}

static unsigned
type_of(struct c2_slice msg)
{
    struct msg_head h;
    return msg_read_head(msg, &h) == C2_E_OK ? h.type : 0;
}

static struct msg_head
head(const struct bs_proc *p, enum msg_type type)
{
    struct bft_info in;
    bft_info(p->core, &in);
    return (struct msg_head){
        .type = (uint8_t)type, .sender = in.seat, .epoch = in.epoch, .cluster = p->s->config.cluster
    };
}

/* Signs again what was changed. */
void
bs_resign(struct bs_proc *p, struct c2_buf *msg)
{
    unsigned type = type_of(c2_buf_slice(msg));
    uint8_t hash[C2_SHA256_LEN];
    if (!msg_is_signed(type) || msg->len < MSG_HEAD_LEN + MSG_SIG_LEN)
        return;
    size_t end = type == MSG_PRE_PREPARE ? MSG_PROPOSAL_LEN : msg->len;
    if (end > msg->len)
        return;
    const struct c2_slice in[] = { c2_slice_str("C2FS-BFT1"),
                                   c2_slice(msg->data, end - MSG_SIG_LEN) };
    c2_sha256_v(in, C2_ARRAY_LEN(in), hash);
    bs_crypto.sign(&bs_crypto, bs_secret_of(p), hash, msg->data + end - MSG_SIG_LEN);
}

/* ---- changes of what a correct one would say ------------------------------------------------- */

static void
mutate(struct bs_proc *p, struct c2_buf *msg)
{
    struct sim_rng *rng = &p->s->rng;
    C2_MARK("sim: lie: a message is changed");
    if (msg->len < 40)
        return;
    if (sim_rng_chance(rng, 50)) { /* view, or n */
        size_t at = MSG_HEAD_LEN + 8 * sim_rng_below(rng, 2);
        uint64_t v = c2_get_u64(msg->data + at);
        uint64_t by = sim_rng_chance(rng, 70) ? 1 : sim_rng_next(rng) >> sim_rng_below(rng, 64);
        c2_put_u64(msg->data + at, sim_rng_chance(rng, 50) ? v + by : v - by);
    } else {
        msg->data[sim_rng_below(rng, msg->len)] ^= (uint8_t)(1u << sim_rng_below(rng, 8));
    }
    if (sim_rng_chance(rng, 80))
        bs_resign(p, msg);
}

/* Another proposal for the same number, as good as the first. */
static void
split_proposal(struct bs_proc *p, struct c2_buf *msg)
{
    struct msg_pre_prepare m;
    if (msg_read_pre_prepare(c2_buf_slice(msg), &m) != C2_E_OK)
        return;
    C2_MARK("sim: lie: two proposals");
    if (m.batch.len > 8 && sim_rng_chance(&p->s->rng, 60))
        msg->data[MSG_PROPOSAL_LEN] ^= 1; /* its time */
    else
        msg->len = MSG_PROPOSAL_LEN;
    struct c2_slice batch = c2_slice(msg->data + MSG_PROPOSAL_LEN, msg->len - MSG_PROPOSAL_LEN);
    msg_batch_digest(batch, msg->data + MSG_HEAD_LEN + 16);
    bs_resign(p, msg);
}

static void
split_vote(struct bs_proc *p, struct c2_buf *msg)
{
    size_t digest = MSG_HEAD_LEN + 8 + 1 + 8;
    C2_MARK("sim: lie: two votes");
    if (msg->len > digest + MSG_DIGEST_LEN)
        msg->data[digest] ^= 1;
    bs_resign(p, msg);
}

static void
spoil_body(struct bs_proc *p, struct c2_buf *msg)
{
    C2_MARK("sim: lie: a wrong body");
    if (type_of(c2_buf_slice(msg)) == MSG_PRE_PREPARE) {
        if (msg->len > MSG_PROPOSAL_LEN)
            msg->data[MSG_PROPOSAL_LEN + sim_rng_below(&p->s->rng, msg->len - MSG_PROPOSAL_LEN)] ^=
                4;
        return;
    }
    msg->data[msg->len - 1] ^= 1;
}

/* Proof that the null batch was prepared, in the last view in which the liar was primary; the votes
 * of the others are invented. */
static void
forge(struct bs_proc *p, struct c2_buf *msg, const struct msg_head *h, struct msg_view_change *m)
{
    const struct bft_config *c = bft_current_config(p->core);
    struct c2_buf proposal = { 0 };
    struct c2_buf votes = { 0 };
    struct c2_buf prepared = { 0 };
    struct c2_buf out = { 0 };
    if (m->view <= h->sender)
        return;
    C2_MARK("sim: lie: an invented certificate");
    struct msg_head ph = { .type = MSG_PRE_PREPARE, .sender = h->sender };
    ph.epoch = h->epoch;
    ph.cluster = h->cluster;
    struct msg_proposal pr = { .n = m->h + 1 + sim_rng_below(&p->s->rng, 6) };
    pr.view = m->view - 1 - (m->view - 1 + c->n - h->sender) % c->n;
    msg_batch_digest(c2_slice(NULL, 0), pr.digest);
    msg_write_proposal(&proposal, &ph, &pr);
    c2_buf_extend(&proposal, MSG_SIG_LEN);
    bs_resign(p, &proposal);
    struct msg_prepared one = { .nvotes = bft_quorum(c) - 1, .proposal = c2_buf_slice(&proposal) };
    uint32_t used = 0;
    for (uint32_t seat = 0; used < one.nvotes; seat++) {
        struct c2_buf vote = { 0 };
        struct msg_votes v = { .view = pr.view, .count = 1 };
        if (seat == h->sender)
            continue;
        ph.type = MSG_PREPARE;
        ph.sender = (uint16_t)seat;
        v.vote[0].n = pr.n;
        memcpy(v.vote[0].digest, pr.digest, MSG_DIGEST_LEN);
        msg_write_votes(&vote, &ph, &v);
        memset(c2_buf_extend(&vote, MSG_SIG_LEN), 7, MSG_SIG_LEN);
        msg_put_bytes(&votes, c2_buf_slice(&vote));
        c2_buf_done(&vote);
        one.votes[used] = (uint16_t)used;
        used++;
    }
    msg_put_prepared(&prepared, &one);
    m->nprepares = one.nvotes;
    m->prepares = c2_buf_slice(&votes);
    m->nprepared = 1;
    m->prepared = c2_buf_slice(&prepared);
    msg_write_view_change(&out, h, m);
    c2_buf_extend(&out, MSG_SIG_LEN);
    c2_buf_done(msg);
    *msg = out;
    bs_resign(p, msg);
    c2_buf_done(&proposal);
    c2_buf_done(&votes);
    c2_buf_done(&prepared);
}

/* The VIEW-CHANGE without certificates. */
static void
show_nothing(struct bs_proc *p, struct c2_buf *msg, const struct msg_head *h,
             struct msg_view_change *m)
{
    struct c2_buf out = { 0 };
    m->nprepares = m->nprepared = 0;
    m->prepares = m->prepared = c2_slice(NULL, 0);
    msg_write_view_change(&out, h, m);
    c2_buf_extend(&out, MSG_SIG_LEN);
    c2_buf_done(msg);
    *msg = out;
    bs_resign(p, msg);
}

static void
hide(struct bs_proc *p, struct c2_buf *msg)
{
    struct msg_view_change m;
    struct msg_head h;
    struct c2_slice in = c2_buf_slice(msg);
    if (msg_read_view_change(in, &m) != C2_E_OK || msg_read_head(in, &h) != C2_E_OK)
        return;
    if (tells(p, BS_LIE_FORGET)) {
        show_nothing(p, msg, &h, &m);
        return;
    }
    if (sim_rng_chance(&p->s->rng, 40)) {
        forge(p, msg, &h, &m);
        return;
    }
    if (sim_rng_chance(&p->s->rng, 40)) {
        C2_MARK("sim: lie: a false certificate");
        if (m.nprepared > 0) /* the digest of the first one */
            msg->data[(size_t)(m.prepared.data - msg->data) + MSG_HEAD_LEN + 16] ^= 1;
        bs_resign(p, msg);
        return;
    }
    C2_MARK("sim: lie: a hidden certificate");
    if (sim_rng_chance(&p->s->rng, 30)) {
        m.h = bft_current_config(p->core)->base;
        m.stable = c2_slice(NULL, 0);
    }
    show_nothing(p, msg, &h, &m);
}

static void
stretch_status(struct bs_proc *p, struct c2_buf *msg)
{
    static const uint64_t limits[] = { 0,          1, UINT64_MAX, UINT64_MAX - 64, UINT64_MAX - 65,
                                       1ull << 40, 20 };
    static const unsigned fields[] = { 0, 9, 17, 25, 33, 41 };
    struct sim_rng *rng = &p->s->rng;
    C2_MARK("sim: lie: numbers at their limits");
    for (unsigned i = 0; i < C2_ARRAY_LEN(fields); i++) {
        uint64_t v = limits[sim_rng_below(rng, C2_ARRAY_LEN(limits))];
        if (sim_rng_chance(rng, 50))
            c2_put_u64(msg->data + MSG_HEAD_LEN + fields[i], v - sim_rng_below(rng, 3));
    }
}

static void
spoil_state(struct bs_proc *p, struct c2_buf *msg)
{
    C2_MARK("sim: lie: a wrong state");
    if (type_of(c2_buf_slice(msg)) == MSG_STATE || sim_rng_chance(&p->s->rng, 50)) {
        msg->data[msg->len - 1] ^= 1; /* or a CHECKPOINT's signature */
        return;
    }
    msg->data[MSG_HEAD_LEN + 8] ^= 1; /* the digest */
    bs_resign(p, msg);
}

/* Nothing was prepared, says the new primary. */
static void
leave_out(struct bs_proc *p, struct c2_buf *msg)
{
    struct msg_new_view m;
    struct msg_head h;
    struct c2_buf proposals = { 0 };
    struct c2_buf out = { 0 };
    struct c2_slice in = c2_buf_slice(msg);
    if (msg_read_new_view(in, &m) != C2_E_OK || msg_read_head(in, &h) != C2_E_OK ||
        m.nproposals == 0)
        return;
    C2_MARK("sim: lie: a new view without what was prepared");
    for (uint32_t i = 0; i < m.nproposals; i++) {
        struct c2_buf one = { 0 };
        c2_buf_append(&one, m.proposals.data + (size_t)i * MSG_PROPOSAL_LEN, MSG_PROPOSAL_LEN);
        msg_batch_digest(c2_slice(NULL, 0), one.data + MSG_HEAD_LEN + 16);
        bs_resign(p, &one);
        c2_buf_append(&proposals, one.data, one.len);
        c2_buf_done(&one);
    }
    m.proposals = c2_buf_slice(&proposals);
    msg_write_new_view(&out, &h, &m);
    c2_buf_extend(&out, MSG_SIG_LEN);
    c2_buf_done(msg);
    *msg = out;
    bs_resign(p, msg);
    c2_buf_done(&proposals);
}

/* What becomes of a message of this type; false = it is not sent. */
static bool
twist(struct bs_proc *p, const struct bs_proc *to, unsigned type, struct c2_buf *msg)
{
    struct sim_rng *rng = &p->s->rng;
    bool half = (to->index & 1) != 0;
    if (tells(p, BS_LIE_DROP) && (type + to->id) % 3 == 0 && sim_rng_chance(rng, 80)) {
        C2_MARK("sim: lie: silence");
        return false;
    }
    if (tells(p, BS_LIE_EXCLUDE) && to->id % 3 == p->id % 3) {
        C2_MARK("sim: lie: one is excluded");
        return false;
    }
    bool again = tells(p, BS_LIE_AGAIN) && (to->lives & 1) != 0;
    if ((again || (tells(p, BS_LIE_SPLIT) && half)) && type == MSG_PRE_PREPARE)
        split_proposal(p, msg);
    if (tells(p, BS_LIE_SPLIT) && half && (type == MSG_PREPARE || type == MSG_COMMIT))
        split_vote(p, msg);
    bool body = type == MSG_BODY || type == MSG_DECIDED || type == MSG_PRE_PREPARE ||
                type == MSG_PREPARE; /* of this the signature */
    if (tells(p, BS_LIE_BODY) && body && sim_rng_chance(rng, 50))
        spoil_body(p, msg);
    if ((tells(p, BS_LIE_HIDE) || tells(p, BS_LIE_FORGET)) && type == MSG_VIEW_CHANGE)
        hide(p, msg);
    if (tells(p, BS_LIE_SELECT) && type == MSG_NEW_VIEW)
        leave_out(p, msg);
    if (tells(p, BS_LIE_STATUS) && type == MSG_STATUS)
        stretch_status(p, msg);
    if (tells(p, BS_LIE_STATE) && (type == MSG_STATE || type == MSG_CHECKPOINT))
        spoil_state(p, msg);
    if (tells(p, BS_LIE_MUTATE) && sim_rng_chance(rng, 20))
        mutate(p, msg);
    return true;
}

/* The last proposal of an epoch is not the last one. */
static void
run_over(struct bs_proc *p, struct bs_proc *to)
{
    struct bft_info in;
    struct c2_buf more = { 0 };
    bft_info(p->core, &in);
    if (in.boundary == 0 || in.proposed != in.boundary || in.primary != in.seat || in.leaving)
        return;
    C2_MARK("sim: lie: a proposal beyond the end of an epoch");
    struct msg_head h = head(p, MSG_PRE_PREPARE);
    struct msg_proposal pr = { .view = in.view, .n = in.boundary + 1 };
    msg_batch_digest(c2_slice(NULL, 0), pr.digest);
    msg_write_proposal(&more, &h, &pr);
    c2_buf_extend(&more, MSG_SIG_LEN);
    bs_resign(p, &more);
    bs_send(p->s, p, to, c2_buf_slice(&more), 0);
    c2_buf_done(&more);
}

void
bs_lie_send(struct bs_proc *p, struct bs_proc *to, struct c2_slice msg)
{
    struct bs *s = p->s;
    uint64_t extra_ns = 0;
    struct c2_buf copy = { 0 };
    if (p->lies == 0) {
        bs_send(s, p, to, msg, 0);
        return;
    }
    c2_buf_append(&copy, msg.data, msg.len);
    if (tells(p, BS_LIE_SLOW) && type_of(msg) <= MSG_COMMIT) {
        C2_MARK("sim: lie: slow on purpose");
        extra_ns = p->slow_ns;
    }
    if (twist(p, to, type_of(msg), &copy))
        bs_send(s, p, to, c2_buf_slice(&copy), extra_ns);
    if (tells(p, BS_LIE_OVER))
        run_over(p, to);
    c2_buf_done(&copy);
}

void
bs_lie_reply(struct bs_proc *p, struct c2_buf *msg)
{
    struct msg_reply m;
    struct msg_read_reply r;
    struct msg_head h;
    struct c2_slice in = c2_buf_slice(msg);
    struct c2_buf out = { 0 };
    uint8_t junk[16];
    if (!tells(p, BS_LIE_ANSWER) || msg_read_head(in, &h) != C2_E_OK)
        return;
    C2_MARK("sim: lie: a wrong answer");
    sim_rng_fill(&p->s->rng, junk, sizeof junk);
    if (msg_read_reply(in, &m) == C2_E_OK) {
        m.result = c2_slice(junk, sim_rng_below(&p->s->rng, sizeof junk));
        m.has_result = 1;
        c2_sha256(m.result, m.digest);
        msg_write_reply(&out, &h, &m);
    } else if (msg_read_read_reply(in, &r) == C2_E_OK) {
        r.result = c2_slice(junk, sizeof junk);
        r.has_result = 1;
        c2_sha256(r.result, r.digest);
        msg_write_read_reply(&out, &h, &r);
    }
    if (out.len == 0)
        return;
    c2_buf_done(msg);
    *msg = out;
}

/* ---- things of its own ----------------------------------------------------------------------- */

static void
say(struct bs_proc *p, struct c2_buf *msg)
{
    bs_resign(p, msg);
    for (unsigned i = 0; i < p->s->nprocs; i++) {
        if (p->s->proc[i].id != p->id)
            bs_send(p->s, p, &p->s->proc[i], c2_buf_slice(msg), 0);
    }
    c2_buf_done(msg);
}

static void
replay(struct bs_proc *p)
{
    struct bs *s = p->s;
    struct c2_blob *old = s->tape[sim_rng_below(&s->rng, BS_TAPE)];
    if (old == NULL)
        return;
    C2_MARK("sim: lie: an old message again");
    struct c2_buf msg = { 0 };
    c2_buf_append(&msg, old->data, old->len);
    for (unsigned i = 0; i < s->nprocs; i++) {
        if (s->proc[i].id != p->id)
            bs_send(s, p, &s->proc[i], c2_buf_slice(&msg), 0);
    }
    c2_buf_done(&msg);
}

/* A VIEW-CHANGE that is none, and a NEW-VIEW that builds on it for everybody. */
static void
invent_view(struct bs_proc *p)
{
    struct bs *s = p->s;
    const struct bft_config *c = bft_current_config(p->core);
    struct bft_info in;
    struct c2_buf vc = { 0 };
    struct c2_buf msg = { 0 };
    bft_info(p->core, &in);
    if (in.seat >= c->n)
        return;
    C2_MARK("sim: lie: a view out of nothing");
    struct msg_new_view nv = { .nvcs = bft_quorum(c) };
    uint64_t far = sim_rng_chance(&s->rng, 50) ? sim_rng_below(&s->rng, 3)
                                               : sim_rng_scale(&s->rng, 1, 1ull << 40);
    nv.view = (in.view / c->n + far) * c->n + in.seat;
    struct msg_head h = head(p, MSG_VIEW_CHANGE);
    const struct msg_view_change m = { .view = nv.view, .h = c->base };
    msg_write_view_change(&vc, &h, &m);
    c2_buf_extend(&vc, MSG_SIG_LEN);
    bs_resign(p, &vc);
    for (unsigned i = 0; i < nv.nvcs; i++) {
        nv.vc[i].seat = (uint16_t)i;
        msg_digest(c2_buf_slice(&vc), nv.vc[i].digest);
        if (sim_rng_chance(&s->rng, 20))
            nv.vc[i].digest[0] ^= 1;
    }
    h = head(p, MSG_NEW_VIEW);
    msg_write_new_view(&msg, &h, &nv);
    c2_buf_extend(&msg, MSG_SIG_LEN);
    say(p, &msg);
    h = head(p, MSG_BODY);
    const struct msg_body b = { .kind = MSG_BODY_VIEW_CHANGE, .bytes = c2_buf_slice(&vc) };
    msg_write_body(&msg, &h, &b);
    say(p, &msg);
    h = head(p, MSG_WISH);
    const struct msg_wish w = { .view = nv.view };
    msg_write_wish(&msg, &h, &w);
    if (sim_rng_chance(&s->rng, 30))
        say(p, &msg);
    c2_buf_done(&msg);
    c2_buf_done(&vc);
}

/* Requests signed by keys that nobody has admitted, proposals of views to come with large bodies.
 */
static void
flood(struct bs_proc *p)
{
    struct bs *s = p->s;
    C2_MARK("sim: lie: a flood");
    for (unsigned i = 0; i < FLOOD_REQUESTS; i++) {
        uint8_t secret[C2_ED25519_SECRET_LEN];
        struct msg_request m = { .kind = MSG_REQ_COMMAND, .cseq = 1 };
        struct c2_buf request = { 0 };
        struct c2_buf msg = { 0 };
        bs_make_key(s, secret, m.key);
        m.session = (s->model_n + 1 + sim_rng_below(&s->rng, 1000)) << 12 | 1;
        msg_write_request(&request, s->config.cluster, &m);
        msg_sign(&bs_crypto, secret, &request, 0);
        struct msg_head h = head(p, MSG_FORWARD);
        msg_write_forward(&msg, &h, c2_buf_slice(&request));
        say(p, &msg);
        c2_buf_done(&request);
    }
    const struct bft_config *c = bft_current_config(p->core);
    struct bft_info in;
    bft_info(p->core, &in);
    for (unsigned i = 0; i < FLOOD_PROPOSALS; i++) {
        struct msg_head h = head(p, MSG_PRE_PREPARE);
        struct msg_proposal pr = { .n = in.stable + 1 + sim_rng_below(&s->rng, c->window) };
        struct c2_buf msg = { 0 };
        uint64_t views = sim_rng_below(&s->rng, 1000);
        pr.view = (in.view / c->n + views) * c->n + in.seat;
        size_t len = sim_rng_below(&s->rng, FLOOD_BYTES);
        msg_write_proposal(&msg, &h, &pr);
        c2_buf_extend(&msg, MSG_SIG_LEN);
        memset(c2_buf_extend(&msg, len), 3, len);
        msg_batch_digest(c2_slice(msg.data + MSG_PROPOSAL_LEN, len), msg.data + MSG_HEAD_LEN + 16);
        say(p, &msg);
    }
}

/* A checkpoint to come that nobody else has signed. */
static void
invent_stable(struct bs_proc *p)
{
    struct bs *s = p->s;
    const struct bft_config *c = bft_current_config(p->core);
    struct bft_info in;
    struct c2_buf own = { 0 };
    struct c2_buf msg = { 0 };
    bft_info(p->core, &in);
    if (in.seat >= c->n)
        return;
    C2_MARK("sim: lie: an invented checkpoint");
    struct msg_head h = head(p, MSG_CHECKPOINT);
    struct msg_stable st = { .epoch = c->epoch, .count = 1 };
    st.c.n = in.stable + c->checkpoint_interval * sim_rng_between(&s->rng, 1, 2);
    sim_rng_fill(&s->rng, st.c.digest, sizeof st.c.digest);
    msg_write_checkpoint(&own, &h, &st.c);
    c2_buf_extend(&own, MSG_SIG_LEN);
    bs_resign(p, &own);
    st.sig[0].seat = in.seat;
    memcpy(st.sig[0].sig, own.data + own.len - MSG_SIG_LEN, MSG_SIG_LEN);
    for (uint16_t seat = in.seat + 1; seat < c->n; seat++) /* in the name of others */
        st.sig[st.count++].seat = seat;
    if (sim_rng_chance(&s->rng, 50))
        st.count = 1;
    h = head(p, MSG_STABLE);
    msg_write_stable(&msg, &h, &st);
    say(p, &msg);
    c2_buf_done(&own);
}

static void
lie_due(struct c2_timer *t)
{
    struct bs_proc *p = C2_CONTAINER_OF(t, struct bs_proc, lie);
    struct bs *s = p->s;
    if (tells(p, BS_LIE_REPLAY))
        replay(p);
    if (tells(p, BS_LIE_VIEW) && sim_rng_chance(&s->rng, 50))
        invent_view(p);
    if (tells(p, BS_LIE_STABLE) && sim_rng_chance(&s->rng, 50))
        invent_stable(p);
    if (tells(p, BS_LIE_FLOOD) && sim_rng_chance(&s->rng, 30))
        flood(p);
    sim_arm(s->w, t, s->w->now_ns + sim_rng_scale(&s->rng, LIE_NS_MIN, LIE_NS_MAX));
}

void
bs_lie_start(struct bs_proc *p)
{
    p->lie.fire = lie_due;
    sim_arm(p->s->w, &p->lie, p->s->w->now_ns + LIE_NS_MAX);
}

/* Somebody fetches a state: the liar answers first, whoever was asked. */
static void
answer_first(struct bs_proc *p, struct bs_proc *to, const struct msg_state_fetch *f)
{
    struct c2_buf answers = { 0 };
    struct c2_buf msg = { 0 };
    struct msg_head h = head(p, MSG_STATE);
    C2_MARK("sim: lie: a state before anybody asked");
    for (uint32_t i = 0; i < f->count; i++) {
        c2_wr_u8(&answers, f->item[i].kind);
        c2_wr_raw(&answers, f->item[i].hash, MSG_DIGEST_LEN);
        c2_wr_bytes(&answers, c2_slice_str("nonsense"));
    }
    const struct msg_state m = { .n = f->n, .count = f->count, .answers = c2_buf_slice(&answers) };
    msg_write_state(&msg, &h, &m);
    bs_send(p->s, p, to, c2_buf_slice(&msg), 0);
    c2_buf_done(&msg);
    c2_buf_done(&answers);
}

void
bs_lie_overhear(struct bs *s, struct bs_proc *from, struct c2_slice msg)
{
    struct msg_state_fetch f;
    unsigned at = s->tape_at++ % BS_TAPE;
    c2_blob_unref(s->tape[at]);
    s->tape[at] = c2_blob_copy(msg.data, msg.len);
    if (msg_read_state_fetch(msg, &f) != C2_E_OK)
        return;
    for (unsigned i = 0; i < s->nprocs; i++) {
        struct bs_proc *p = &s->proc[i];
        bool first = tells(p, BS_LIE_STATE) || tells(p, BS_LIE_FIRST);
        if (p->up && p->started && first && p->id != from->id)
            answer_first(p, from, &f);
    }
}
