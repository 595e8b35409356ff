/* SPDX-License-Identifier: MIT */
/*
 * Answers. An ordered request is answered by f + 1 equal replies, of which one is from a correct
 * replica. A fast read is answered by a quorum of equal ones: every quorum has a correct replica
 * that knows of each completed change, and refuses to answer before it has executed it.
 *
 * An ordered request goes to the primary; if no answer comes in time, to all. A long result comes
 * from one of those that answer, which the request's number names: when f + 1 have sent its digest
 * and it does not come, a command is repeated (then all send what they have kept), and a read gets
 * another number. No read gets that of a replica that is known to be down. A fast read goes to
 * the quorum that answered fastest of late, one of them is asked for the result and the others for
 * its digest; then to all for everything; then it becomes an ordered request. Whoever made a second
 * round necessary, because it is silent, lags or lies, counts as having answered as late as the
 * read ended, so that others are asked soon; and is tried again after some thousand reads.
 *
 * Each replica is asked now and then, besides a quorum: one that hears of us can keep back those
 * who would leave nothing to us (bft_recent.c), also where what they send there burdens others.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "metadata/bft_client_int.h"
#include "metadata/cmd.h"

#define VERSION_AT  3                 /* in an encoded answer */
#define QUERY_TRIES 4                 /* of an ordered read, then it gets another number */
#define LATE        4                 /* times retry_ns that an answer is waited for at most */
#define UNKNOWN_NS  C2_NS_PER_S       /* patience with a replica that never answered a read */
#define FORGET      1024              /* reads without a replica, then it seems faster by a third */
#define SHOW_NS     (C2_NS_PER_S / 2) /* who heard of no read for that long gets the next one */

void
client_votes_clear(struct bft_call *call)
{
    for (unsigned i = 0; i < MSG_REPLICAS_MAX; i++)
        c2_buf_done(&call->votes[i].result);
    memset(call->votes, 0, sizeof call->votes);
    call->asked = 0;
    call->agreed = false;
}

/* Its caller has not given up. */
static bool
is_wanted(const struct bft_call *call)
{
    return call->req != NULL || call->admin != NULL;
}

void
client_arm(struct bft_call *call)
{
    uint64_t at_ns = call->retry_at;
    if (is_wanted(call))
        at_ns = C2_MIN(at_ns, call->patient_ns);
    if (at_ns == C2_NEVER)
        c2_timer_stop(call->c->base.env, &call->timer);
    else
        c2_timer_arm(call->c->base.env, &call->timer, at_ns);
}

static bool
same_vote(const struct call_vote *a, const struct call_vote *b)
{
    return a->have && b->have && a->epoch == b->epoch && a->n == b->n && a->code == b->code &&
           memcmp(a->digest, b->digest, sizeof a->digest) == 0;
}

/* A vote that `need` replicas agree on; NULL when there is none. */
static const struct call_vote *
agreed(const struct bft_call *call, unsigned need)
{
    const struct bft_config *config = &call->c->config;
    for (unsigned i = 0; i < config->n; i++) {
        unsigned same = 0;
        for (unsigned k = 0; k < config->n; k++)
            same += same_vote(&call->votes[i], &call->votes[k]);
        if (same >= need)
            return &call->votes[i];
    }
    return NULL;
}

/* The result behind an agreed digest, if anybody sent it. */
static struct c2_buf *
result_of(struct bft_call *call, const struct call_vote *v)
{
    for (unsigned i = 0; i < call->c->config.n; i++) {
        struct call_vote *o = &call->votes[i];
        if (o->has_result && same_vote(v, o))
            return &o->result;
    }
    return NULL;
}

static void
keep_result(struct call_vote *v, bool has_result, struct c2_slice result)
{
    uint8_t digest[C2_SHA256_LEN];
    c2_buf_done(&v->result);
    v->has_result = false;
    if (!has_result)
        return;
    c2_sha256(result, digest);
    if (memcmp(digest, v->digest, sizeof digest) != 0)
        return; /* not what it says it is */
    c2_buf_append(&v->result, result.data, result.len);
    v->has_result = true;
}

/* ---- ordered requests ------------------------------------------------------------------------ */

/* Twice what it takes, where replicas are far away or have much to do: a repetition costs all of
 * them more than the request. */
static uint64_t
first_wait(const struct bft_client *c)
{
    return C2_MIN(C2_MAX(c->o.retry_ns, 2 * c->ordered_ns), LATE * c->o.retry_ns);
}

/* It was sent. */
static void
wait_longer(struct bft_call *call)
{
    const struct bft_client *c = call->c;
    call->sent_ns = c2_now_ns(c->base.env);
    if (call->tries == 0) {
        call->began_ns = call->sent_ns;
        call->wait_ns = first_wait(c);
    } else {
        call->wait_ns = C2_MIN(call->wait_ns + call->wait_ns / 2, c->o.retry_max_ns);
    }
    call->retry_at = call->sent_ns + call->wait_ns;
    call->tries++;
    client_arm(call);
}

static void
note_time(struct bft_client *c, const struct bft_call *call)
{
    uint64_t ns = C2_MIN(c2_now_ns(c->base.env) - call->began_ns, LATE * c->o.retry_ns);
    c->ordered_ns = c->ordered_ns == 0 ? ns : (c->ordered_ns * 7 + ns) / 8;
}

void
client_call_send(struct bft_call *call, bool all)
{
    struct bft_client *c = call->c;
    unsigned primary = client_primary(c);
    if (!client_is_up(c, primary))
        all = true;
    for (unsigned i = 0; i < c->config.n; i++) {
        if (call == &c->opening)
            client_send_urgent(c, i, call->msg);
        else if (all || i == primary)
            client_send(c, i, client_call_msg(call));
    }
    wait_longer(call);
}

void
client_calls_send(struct bft_client *c, uint64_t first, unsigned count, struct c2_blob *msg)
{
    unsigned primary = client_primary(c);
    bool all = !client_is_up(c, primary);
    for (unsigned i = 0; i < c->config.n; i++) {
        if (all || i == primary)
            client_send(c, i, msg);
    }
    for (unsigned i = 0; i < count; i++) {
        wait_longer(c->calls[(first + i) % CALLS_MAX]);
    }
}

/* Numbers that are answered in a row need not be remembered by the service any more. */
static void
number_is_over(struct bft_client *c, uint64_t number)
{
    c->answered[number % CALLS_MAX] = true;
    while (c->ack_low + 1 < c->next_cseq && c->answered[(c->ack_low + 1) % CALLS_MAX]) {
        c->ack_low++;
        c->answered[c->ack_low % CALLS_MAX] = false;
    }
}

static void
finish_number(struct bft_client *c, struct bft_call *call)
{
    c->calls[call->number % CALLS_MAX] = NULL;
    c->under_way--;
    number_is_over(c, call->number);
    client_pump(c);
}

void
client_skip_numbers(struct bft_client *c)
{
    for (unsigned i = 0; i < c->config.f; i++) {
        bool more = c->next_cseq < c->ack_low + CALLS_MAX;
        if (!more || client_is_up(c, (unsigned)(c->next_cseq % c->config.n)))
            return;
        c->next_cseq++;
        number_is_over(c, c->next_cseq - 1);
    }
}

/* The same once more, with a number of its own: it has changed nothing. */
static void
ask_anew(struct bft_client *c, struct bft_call *call)
{
    finish_number(c, call);
    client_votes_clear(call);
    client_enlist(call, &c->waiting);
}

/* Whoever is to send the result may be farther away than those that have answered: it gets as long
 * as they took. */
static void
expect_result(struct bft_call *call)
{
    const struct bft_client *c = call->c;
    uint64_t now_ns = c2_now_ns(c->base.env);
    if (call->agreed)
        return;
    call->agreed = true;
    call->retry_at = C2_MIN(call->retry_at, now_ns + C2_MAX(c->o.hedge_ns, now_ns - call->sent_ns));
    client_arm(call);
}

static void
call_answered(struct bft_call *call, const struct call_vote *v)
{
    struct bft_client *c = call->c;
    if (v->code == MSG_NO_SESSION) {
        client_session_lost(c);
        return;
    }
    if (v->code == MSG_RESULT_GONE && call->req != NULL) {
        /* Only conflicts and reads have answers that are too large to keep. */
        C2_MARK("client: asks anew for an answer that is gone");
        ask_anew(c, call);
        return;
    }
    if (v->code == MSG_OK || call->admin != NULL) {
        struct c2_buf *result = result_of(call, v);
        if (result == NULL) {
            expect_result(call);
            return;
        }
        if (call->admin != NULL)
            client_admin_end(call, v->code == MSG_OK ? C2_E_OK : C2_E_NOT_PERMITTED,
                             c2_buf_slice(result));
        else
            client_complete(call, result);
        note_time(c, call);
    } else {
        client_complete_err(call, C2_E_PROTOCOL);
    }
    finish_number(c, call);
    client_call_free(call);
}

static void
open_answered(struct bft_client *c, const struct call_vote *v)
{
    const struct c2_buf *result = result_of(&c->opening, v);
    if (result == NULL || result->len != 8 || c->open)
        return;
    uint64_t number = c2_get_u64(result->data);
    if (v->code == MSG_OK)
        client_opened(c, number);
    else if (v->code == MSG_OPEN_REFUSED)
        client_open_again(c, number);
}

void
client_on_reply(struct client_replica *r, struct c2_slice m)
{
    struct bft_client *c = r->c;
    struct msg_reply reply;
    struct msg_head h;
    if (msg_read_reply(m, &reply) != C2_E_OK || msg_read_head(m, &h) != C2_E_OK)
        return;
    r->view = C2_MAX(r->view, reply.view);
    bool opens = reply.cseq == c->nonce && !c->open;
    struct bft_call *call = opens ? &c->opening : c->calls[reply.cseq % CALLS_MAX];
    if (call == NULL || call->number != reply.cseq || (!opens && reply.session != c->session))
        return;
    struct call_vote *v = &call->votes[r->seat];
    bool repeats = v->have && v->n == reply.n && v->code == reply.code &&
                   memcmp(v->digest, reply.digest, sizeof v->digest) == 0;
    if (repeats && v->has_result)
        return;
    v->have = true;
    v->epoch = h.epoch;
    v->n = reply.n;
    v->code = reply.code;
    memcpy(v->digest, reply.digest, sizeof v->digest);
    keep_result(v, reply.has_result != 0, reply.result);
    const struct call_vote *won = agreed(call, client_weak(c));
    if (won == NULL)
        return;
    if (opens)
        open_answered(c, won);
    else
        call_answered(call, won);
}

/* ---- fast reads ------------------------------------------------------------------------------ */

static void
ask(struct bft_call *call, unsigned seat, bool full)
{
    struct bft_client *c = call->c;
    if (!client_is_up(c, seat))
        return;
    struct msg_head h = { .type = MSG_READ, .sender = MSG_SENDER_CLIENT };
    h.epoch = c->config.epoch;
    h.cluster = c->config.cluster;
    const struct msg_read m = { .rseq = call->number, .full = full, .op = c2_buf_slice(&call->op) };
    struct c2_buf out = { 0 };
    msg_write_read(&out, &h, &m);
    struct c2_blob *b = c2_blob_copy(out.data, out.len);
    c2_buf_done(&out);
    client_send(c, seat, b);
    c2_blob_unref(b);
    call->asked |= 1u << seat;
    c->replicas[seat].read_ns = c2_now_ns(c->base.env);
}

static void
ask_all(struct bft_call *call)
{
    client_votes_clear(call);
    call->full = call->c->config.n;
    call->sent_ns = c2_now_ns(call->c->base.env);
    for (unsigned i = 0; i < call->c->config.n; i++)
        ask(call, i, true);
}

/* The replica that answers fastest and is not in `taken`; n = none. */
static unsigned
fastest(const struct bft_client *c, uint32_t taken)
{
    unsigned best = c->config.n;
    for (unsigned i = 0; i < c->config.n; i++) {
        if ((taken & (1u << i)) != 0 || !client_is_up(c, i))
            continue;
        if (best == c->config.n || c->replicas[i].srtt_ns < c->replicas[best].srtt_ns)
            best = i;
    }
    return best;
}

/* What was slow once is not for ever. */
static void
forget_slowly(struct bft_client *c, uint32_t asked)
{
    for (unsigned i = 0; i < c->config.n; i++) {
        struct client_replica *r = &c->replicas[i];
        if ((asked & (1u << i)) == 0)
            r->srtt_ns -= r->srtt_ns / FORGET;
    }
}

static void
took(struct client_replica *r, uint64_t ns)
{
    r->srtt_ns = r->srtt_ns == 0 ? ns : (r->srtt_ns * 7 + ns) / 8;
}

/* Seats that were asked, and have not said what f + 1 others or all of them say. */
static uint32_t
find_useless(const struct bft_call *call)
{
    const struct call_vote *v = agreed(call, client_weak(call->c));
    bool says = v != NULL && v->code == MSG_OK;
    uint32_t useless = 0;
    for (unsigned i = 0; i < call->c->config.n; i++) {
        const struct call_vote *o = &call->votes[i];
        bool bad = !o->have || (says && !same_vote(v, o)) || (call->full == i && !o->has_result);
        if (bad)
            useless |= 1u << i;
    }
    return useless & call->asked;
}

/* The read is over. */
static void
judge(const struct bft_call *call)
{
    struct bft_client *c = call->c;
    uint64_t ns = C2_MIN(c2_now_ns(c->base.env) - call->began_ns, UNKNOWN_NS);
    for (unsigned i = 0; i < c->config.n; i++) {
        if ((call->useless & (1u << i)) != 0 && ns > c->replicas[i].srtt_ns)
            took(&c->replicas[i], ns);
    }
}

static void
show_ourselves(struct bft_call *call)
{
    const struct bft_client *c = call->c;
    for (unsigned i = 0; i < c->config.n; i++) {
        if ((call->asked & (1u << i)) == 0 && c->replicas[i].read_ns + SHOW_NS <= call->began_ns)
            ask(call, i, false);
    }
}

void
client_read_start(struct bft_call *call)
{
    struct bft_client *c = call->c;
    unsigned quorum = bft_quorum(&c->config);
    uint64_t slowest_ns = 0;
    call->tries = 0;
    call->useless = 0;
    call->full = c->config.n;
    call->sent_ns = call->began_ns = c2_now_ns(c->base.env);
    for (unsigned i = 0; i < quorum; i++) {
        unsigned seat = fastest(c, call->asked);
        if (seat == c->config.n)
            break;
        slowest_ns = c->replicas[seat].srtt_ns;
        call->full = i == 0 ? seat : call->full;
        ask(call, seat, i == 0);
    }
    forget_slowly(c, call->asked);
    show_ourselves(call);
    call->wait_ns =
        slowest_ns == 0 ? UNKNOWN_NS : C2_MAX(c->o.hedge_ns, slowest_ns + slowest_ns / 3);
    call->retry_at = call->sent_ns + call->wait_ns;
    client_arm(call);
}

static unsigned
count_votes(const struct bft_call *call)
{
    unsigned count = 0;
    for (unsigned i = 0; i < call->c->config.n; i++)
        count += call->votes[i].have;
    return count;
}

/* Of the votes that agree with v, the highest version that a correct replica has seen. */
static uint64_t
believable_version(const struct bft_call *call, const struct call_vote *v)
{
    unsigned n = call->c->config.n;
    for (unsigned i = 0; i < n; i++) {
        unsigned below = 0, same = 0;
        for (unsigned k = 0; k < n; k++) {
            if (!same_vote(v, &call->votes[k]))
                continue;
            below += call->votes[k].version < call->votes[i].version;
            same += call->votes[k].version == call->votes[i].version;
        }
        unsigned wanted = call->c->config.f; /* so many are smaller than the (f+1)-th smallest */
        if (same_vote(v, &call->votes[i]) && below <= wanted && wanted < below + same)
            return call->votes[i].version;
    }
    C2_UNREACHABLE(); /* v itself is one of at least f + 1 */
}

static void
read_answered(struct bft_call *call, const struct call_vote *v, struct c2_buf *result)
{
    struct bft_client *c = call->c;
    if (result->len >= VERSION_AT + 8)
        c2_put_u64(result->data + VERSION_AT, believable_version(call, v));
    c->fast_reads++;
    judge(call);
    c->reads[call->number % READS_MAX] = NULL;
    client_complete(call, result);
    client_call_free(call);
    client_pump(c);
}

/* The answers cannot agree any more, or take too long. */
static void
read_differently(struct bft_call *call)
{
    const struct bft_client *c = call->c;
    if (call->tries == 0) {
        call->tries = 1;
        call->useless = find_useless(call);
        call->retry_at = c2_now_ns(c->base.env) + call->wait_ns * 2;
        client_arm(call);
        ask_all(call);
        return;
    }
    judge(call);
    client_order(call);
}

void
client_on_read_reply(struct client_replica *r, struct c2_slice m)
{
    struct bft_client *c = r->c;
    struct msg_read_reply reply;
    struct msg_head h;
    if (msg_read_read_reply(m, &reply) != C2_E_OK || msg_read_head(m, &h) != C2_E_OK)
        return;
    r->view = C2_MAX(r->view, reply.view);
    struct bft_call *call = c->reads[reply.rseq % READS_MAX];
    if (call == NULL || call->number != reply.rseq)
        return;
    took(r, c2_now_ns(c->base.env) - call->sent_ns);
    struct call_vote *v = &call->votes[r->seat];
    v->have = true;
    v->epoch = h.epoch;
    v->code = reply.code;
    v->version = reply.version;
    memcpy(v->digest, reply.digest, sizeof v->digest);
    keep_result(v, reply.has_result != 0, reply.result);
    const struct call_vote *won = agreed(call, bft_quorum(&c->config));
    if (won != NULL && won->code == MSG_OK) {
        struct c2_buf *result = result_of(call, won);
        if (result != NULL) {
            read_answered(call, won, result);
            return;
        }
    }
    if (count_votes(call) >= (unsigned)__builtin_popcount(call->asked)) {
        c->mismatches++;
        read_differently(call);
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

static void
give_up(struct bft_call *call)
{
    struct bft_client *c = call->c;
    if (call->admin != NULL)
        client_admin_end(call, C2_E_TIMEOUT, c2_slice(NULL, 0));
    if (call->state == CALL_ORDERED) { /* it keeps its number */
        C2_MARK("client: deadline of a request that may happen yet");
        client_complete_err(call, C2_E_TIMEOUT);
        client_arm(call);
        return;
    }
    if (call->state == CALL_READING)
        c->reads[call->number % READS_MAX] = NULL;
    else
        client_unlist(call);
    client_complete_err(call, C2_E_TIMEOUT);
    client_call_free(call);
    client_pump(c);
}

/* An ordered read changes nothing, so it need not wait for the answer to this very number: with
 * another one it is another replica's turn to send the result. */
static void
query_differently(struct bft_call *call)
{
    struct bft_client *c = call->c;
    C2_MARK("client: an ordered read gets another number");
    if (call->req != NULL) {
        ask_anew(c, call);
        return;
    }
    finish_number(c, call); /* nobody waits for it any more */
    client_call_free(call);
}

void
client_call_timer(struct c2_timer *t)
{
    struct bft_call *call = C2_CONTAINER_OF(t, struct bft_call, timer);
    struct bft_client *c = call->c;
    uint64_t now_ns = c2_now_ns(c->base.env);
    if (is_wanted(call) && call->patient_ns <= now_ns) {
        give_up(call);
        return;
    }
    bool in_vain = call->agreed || call->tries >= QUERY_TRIES;
    if (call->state == CALL_ORDERED && call->kind == MSG_REQ_QUERY && in_vain) {
        query_differently(call);
    } else if (call->state == CALL_ORDERED) {
        c->repeated++;
        client_call_send(call, true);
    } else if (call->state == CALL_READING) {
        read_differently(call);
    }
}

void
client_call_link_up(struct bft_client *c, unsigned seat)
{
    if (seat == client_primary(c)) {
        for (unsigned i = 0; i < CALLS_MAX; i++) {
            if (c->calls[i] != NULL)
                client_send(c, seat, client_call_msg(c->calls[i]));
        }
    }
    for (unsigned i = 0; i < READS_MAX; i++) {
        struct bft_call *call = c->reads[i];
        if (call != NULL && (call->asked & (1u << seat)) == 0)
            ask(call, seat, true);
    }
}
