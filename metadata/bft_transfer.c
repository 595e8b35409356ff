/* SPDX-License-Identifier: MIT */
/*
 * Fetching the state of a checkpoint, as far as it differs from what is here.
 *
 * The executor walks the digest tree of the checkpoint from its root and wants what differs: nodes
 * by path and hash, entries by hash. Everything is verified by its hash, so it does not matter who
 * is asked (but only who was asked may answer, or a liar could always be the first), and a peer
 * that has moved on to a newer checkpoint can still answer for what is the same in it. When nobody
 * has an item any more, the target moves to a newer checkpoint; what was fetched stays. A crash
 * loses at most the last part: the application knows that it is incomplete, and the walk begins
 * again over what is there.
 *
 *   wanted ──► under way to a seat ──► answered: a job for the executor, which wants more
 *      ▲            │ left out, not there, no answer in time
 *      └────────────┘
 *
 * The seat that has least to answer is asked next, so that one that is slow gets little. One that
 * did not answer in time is asked for one message of items at a time until something comes from it:
 * a replica that is down, or a liar that says nothing, holds up little. If that answer was late, it
 * gets twice the time from then on. When little is left to do, nobody gets more time than the items
 * were asked for in vain before.
 *
 * f + 1 signatures are enough for a target: one is a correct replica's, which has executed what was
 * decided. To wait for a stable one would be a trap: the others may have moved on to checkpoints
 * that become stable only with the help of this replica.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "metadata/bft_int.h"

_Static_assert(MSG_WANTED_MAX < 32, "answers of a message are bits");

static void
give_sync_job(struct bft_replica *r, struct bft_job *job)
{
    struct bft_sync *y = &r->sync;
    job->n = y->n;
    memcpy(job->digest, y->digest, MSG_DIGEST_LEN);
    job->count = BFT_SYNC_ITEMS;
    y->jobs++;
    y->waiting += job->in.len;
    bft_give_job(r, job);
}

/* The answers with a bit in `useful`. */
static void
put_useful(const struct msg_state *m, uint32_t useful, struct c2_buf *out)
{
    struct c2_rd in = c2_rd_init(m->answers);
    for (uint32_t i = 0; i < m->count; i++) {
        size_t from = in.pos;
        c2_rd_u8(&in);
        c2_rd_raw(&in, MSG_DIGEST_LEN);
        c2_rd_bytes(&in, MSG_BYTES_MAX);
        if ((useful >> i & 1) != 0)
            c2_wr_raw(out, m->answers.data + from, in.pos - from);
    }
}

/* What the seat was not asked for stays out: the executor would take it and want more instead,
 * while others are still asked for the same, until there is no room for all that. */
static void
give_answers(struct bft_replica *r, struct c2_blob *blob, const struct msg_state *m, uint16_t seat,
             uint32_t useful)
{
    struct bft_job *job = bft_job_new(BFT_JOB_SYNC);
    job->seat = seat;
    if (useful == (1u << m->count) - 1) {
        job->body = c2_blob_ref(blob);
        job->in = m->answers;
    } else {
        c2_buf_clear(&r->scratch);
        put_useful(m, useful, &r->scratch);
        job->body = bft_take_scratch(r);
        job->in = c2_blob_slice(job->body);
    }
    give_sync_job(r, job);
}

static void
forget_items(struct bft_sync *y)
{
    y->nitems = 0;
    for (unsigned i = 0; i < MSG_REPLICAS_MAX * BFT_SYNC_OUT; i++)
        y->ask[i / BFT_SYNC_OUT][i % BFT_SYNC_OUT].nitems = 0;
}

void
bft_sync_resume(struct bft_replica *r)
{
    r->sync.n = 0;
    forget_items(&r->sync);
    r->sync.finished = false;
    r->mode = BFT_SYNCING;
    r->syncing = true;
    bft_sync_start(r);
}

void
bft_sync_start(struct bft_replica *r)
{
    struct bft_sync *y = &r->sync;
    const struct msg_checkpoint *target = bft_sync_target(r);
    bool again = r->mode == BFT_SYNCING;
    if (again && (y->n == target->n || y->finished))
        return; /* what is complete is loaded first */
    if (target->n == 0 || (!again && r->mode != BFT_RUNNING && r->mode != BFT_QUARANTINED))
        return;
    C2_MARK("bft: fetches the state");
    if (target->n > r->stable)
        C2_MARK("bft: fetches a state that is not stable yet");
    y->n = target->n;
    memcpy(y->digest, target->digest, MSG_DIGEST_LEN);
    y->answer = BFT_SYNC_ANSWER;
    y->finished = false;
    forget_items(y);
    r->mode = BFT_SYNCING;
    r->syncing = true;
    r->count.syncs++;
    struct bft_job *job = bft_job_new(BFT_JOB_SYNC);
    job->begin = true;
    give_sync_job(r, job);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static unsigned
count_asks(const struct bft_sync *y, unsigned seat)
{
    unsigned count = 0;
    for (unsigned i = 0; i < BFT_SYNC_OUT; i++)
        count += y->ask[seat][i].nitems > 0;
    return count;
}

static unsigned
count_all_asks(const struct bft_sync *y)
{
    unsigned count = 0;
    for (unsigned seat = 0; seat < MSG_REPLICAS_MAX; seat++)
        count += count_asks(y, seat);
    return count;
}

static unsigned
count_under_way(const struct bft_sync *y)
{
    unsigned count = 0;
    for (unsigned i = 0; i < MSG_REPLICAS_MAX * BFT_SYNC_OUT; i++)
        count += y->ask[i / BFT_SYNC_OUT][i % BFT_SYNC_OUT].nitems;
    return count;
}

/* There is little to wait for, and nothing else to do. */
static bool
is_short_of_work(const struct bft_sync *y)
{
    return y->nitems == 0 && y->jobs == 0 && count_under_way(y) <= BFT_SYNC_OUT * MSG_WANTED_MAX;
}

/* When an answer has come too late. */
static uint64_t
ask_due_ns(const struct bft_replica *r, const struct bft_sync_ask *a, bool hurry)
{
    unsigned doubled = C2_MIN(a->tries, (unsigned)BFT_BACKOFF_MAX);
    if (!hurry)
        doubled = C2_MAX(doubled, a->patience);
    return a->since_ns + (r->setup.timing.fetch_ns << doubled);
}

static uint32_t
usable_seats(struct bft_replica *r)
{
    struct bft_sync *y = &r->sync;
    uint32_t others = bft_others(r);
    if ((others & ~y->liars) == 0)
        y->liars = 0; /* all of them: then it was not them */
    return others & ~y->liars;
}

/* What is still in it is wanted again. */
static void
end_ask(struct bft_sync *y, struct bft_sync_ask *a, uint32_t vain)
{
    for (unsigned i = 0; i < a->nitems; i++) {
        C2_ASSERT(y->nitems < BFT_SYNC_ITEMS);
        struct bft_sync_item *item = &y->item[y->nitems++];
        *item = a->item[i];
        item->vain |= vain;
        y->vain = y->vain || item->vain != 0;
    }
    a->nitems = 0;
}

static void
end_asks_of(struct bft_sync *y, unsigned seat)
{
    for (unsigned i = 0; i < BFT_SYNC_OUT; i++)
        end_ask(y, &y->ask[seat][i], 1u << seat);
}

/* Items that all have been asked for in vain begin anew; returns whether there is one. */
static bool
begin_rounds(struct bft_replica *r, uint32_t seats)
{
    struct bft_sync *y = &r->sync;
    bool any = false;
    for (unsigned i = 0; i < y->nitems && y->vain; i++) {
        struct bft_sync_item *item = &y->item[i];
        if ((seats & ~item->vain) != 0)
            continue;
        item->vain = 0;
        item->due_ns = y->again_ns = r->now_ns + r->setup.timing.fetch_ns;
        any = true;
    }
    y->vain = false;
    return any;
}

static bool
has_room(const struct bft_sync *y)
{
    size_t asks = count_all_asks(y);
    return asks + y->waiting == 0 || y->waiting + (asks + 1) * y->answer <= BFT_SYNC_BYTES;
}

/* The one of these seats with the least to answer that may be asked for more; n = none. */
static unsigned
choose_seat(const struct bft_replica *r, uint32_t seats)
{
    const struct bft_sync *y = &r->sync;
    unsigned best = r->config.n;
    unsigned least = BFT_SYNC_OUT;
    for (unsigned i = 1; i <= r->config.n; i++) {
        unsigned seat = (y->turn + i) % r->config.n;
        unsigned asks = count_asks(y, seat);
        if ((seats >> seat & 1) == 0 || asks >= least || (asks > 0 && (y->silent >> seat & 1) != 0))
            continue;
        best = seat;
        least = asks;
    }
    return best;
}

/* Moves as many items to the ask as a message holds. */
static void
take_items(struct bft_replica *r, unsigned seat, struct bft_sync_ask *a)
{
    struct bft_sync *y = &r->sync;
    unsigned kept = 0;
    a->tries = 0;
    for (unsigned i = 0; i < y->nitems; i++) {
        struct bft_sync_item *item = &y->item[i];
        bool takes = a->nitems < MSG_WANTED_MAX && item->due_ns <= r->now_ns &&
                     (item->vain >> seat & 1) == 0;
        if (takes) {
            a->tries = C2_MAX(a->tries, item->tries);
            item->tries++;
            a->item[a->nitems++] = *item;
        } else {
            y->item[kept++] = *item;
        }
    }
    y->nitems = kept;
}

/* False: there is nothing for this seat. */
static bool
ask_seat(struct bft_replica *r, unsigned seat)
{
    struct bft_sync *y = &r->sync;
    struct bft_sync_ask *a = y->ask[seat];
    while (a->nitems > 0)
        a++;
    take_items(r, seat, a);
    if (a->nitems == 0)
        return false;
    a->since_ns = r->now_ns;
    a->patience = y->patience[seat];
    struct msg_state_fetch f = { .n = y->n, .count = a->nitems };
    for (unsigned i = 0; i < a->nitems; i++)
        f.item[i] = a->item[i].item;
    struct msg_head h = bft_head(r, MSG_STATE_FETCH);
    c2_buf_clear(&r->scratch);
    msg_write_state_fetch(&r->scratch, &h, &f);
    struct c2_blob *blob = bft_take_scratch(r);
    bft_send(r, 1u << seat, blob);
    c2_blob_unref(blob);
    return true;
}

/* Asks for all that can be asked for; or turns to a newer state, when nobody has this one. */
static void
go_on(struct bft_replica *r)
{
    struct bft_sync *y = &r->sync;
    uint32_t seats = usable_seats(r);
    if (begin_rounds(r, seats) && bft_sync_target(r)->n > y->n) {
        C2_MARK("bft: fetches a newer state");
        bft_sync_start(r);
        return;
    }
    while (y->nitems > 0 && has_room(y)) {
        unsigned seat = choose_seat(r, seats);
        if (seat == r->config.n)
            return;
        y->turn = seat;
        if (!ask_seat(r, seat))
            seats &= ~(1u << seat);
    }
}

/* What the executor wants, in the form of a STATE-FETCH. */
static void
take_wanted(struct bft_replica *r, struct c2_slice out)
{
    struct bft_sync *y = &r->sync;
    struct c2_rd in = c2_rd_init(out);
    while (c2_rd_left(&in) > 0) {
        C2_ASSERT(y->nitems < BFT_SYNC_ITEMS);
        struct bft_sync_item *item = &y->item[y->nitems++];
        *item = (struct bft_sync_item){ 0 };
        item->item.kind = c2_rd_u8(&in);
        item->item.depth = c2_rd_u8(&in);
        c2_rd_copy(&in, item->item.path, sizeof item->item.path);
        c2_rd_copy(&in, item->item.hash, MSG_DIGEST_LEN);
    }
    C2_ASSERT(c2_rd_ok(&in));
}

void
bft_synced(struct bft_replica *r, struct bft_job *job)
{
    struct bft_sync *y = &r->sync;
    C2_ASSERT(y->jobs > 0 && y->waiting >= job->in.len);
    y->jobs--;
    y->waiting -= job->in.len;
    if (job->bad)
        y->liars |= 1u << job->seat;
    y->vain = y->vain || job->bad; /* there are fewer to ask */
    if (job->n != y->n || r->mode != BFT_SYNCING)
        return; /* of a target given up */
    if (job->bad)
        bft_alarm(r, BFT_ALARM_EVIDENCE, "a replica has sent a state that is not the state");
    if (job->begin)
        forget_items(y);
    if (job->bad)
        end_asks_of(y, job->seat);
    if (y->finished)
        return;
    if (job->finished) {
        y->finished = true;
        forget_items(y);
        bft_give_job(r, bft_job_new(BFT_JOB_LOAD));
        return;
    }
    take_wanted(r, c2_buf_slice(&job->out));
    if (y->nitems == 0 && y->jobs == 0 && count_under_way(y) == 0) /* it has work of its own */
        give_sync_job(r, bft_job_new(BFT_JOB_SYNC));
    go_on(r);
}

void
bft_sync_over(struct bft_replica *r)
{
    r->syncing = false;
    forget_items(&r->sync);
    r->lag_since_ns = 0;
    if (r->mode == BFT_REMOVED)
        return;
    r->mode = r->quarantined ? BFT_QUARANTINED : BFT_RUNNING;
    r->progress_ns = r->now_ns;
    r->status_ns = r->now_ns;
    const struct msg_checkpoint *own = bft_last_own_checkpoint(r);
    if (own != NULL && own->n == r->executed && own->n > r->stable)
        bft_send_checkpoint(r, bft_others(r), own);
    bft_requests_recheck(r);
    bft_try_new_view(r);
}

/* ---- answers --------------------------------------------------------------------------------- */

static struct bft_sync_item *
find_item(struct bft_sync *y, uint16_t seat, uint8_t kind, const uint8_t *hash,
          struct bft_sync_ask **ret_ask)
{
    for (unsigned i = 0; i < BFT_SYNC_OUT; i++) {
        struct bft_sync_ask *a = &y->ask[seat][i];
        for (unsigned k = 0; k < a->nitems; k++) {
            const struct msg_state_item *item = &a->item[k].item;
            if (item->kind != kind || !bft_digest_equal(item->hash, hash))
                continue;
            *ret_ask = a;
            return &a->item[k];
        }
    }
    return NULL;
}

/* The seat has answered at all: it gets more to do, and less time if it does not need it. */
static void
note_answer(struct bft_replica *r, uint16_t seat, const struct bft_sync_ask *a)
{
    struct bft_sync *y = &r->sync;
    uint64_t time_ns = r->setup.timing.fetch_ns << y->patience[seat];
    y->silent &= ~(1u << seat);
    if (r->now_ns - a->since_ns < time_ns / 4 && y->patience[seat] > 0)
        y->patience[seat]--;
}

/* Nobody waits for it any more, so it is as good as nothing; but the seat is there. */
static void
note_late_answer(struct bft_sync *y, uint16_t seat)
{
    if ((y->silent >> seat & 1) == 0)
        return;
    C2_MARK("bft: a state comes late");
    y->silent &= ~(1u << seat);
    y->patience[seat] = C2_MIN(y->patience[seat] + 1, (unsigned)BFT_BACKOFF_MAX);
}

/* A message has room for so many bytes: what it leaves out is asked for again at once. */
static void
end_answered(struct bft_replica *r, uint16_t seat)
{
    for (unsigned i = 0; i < BFT_SYNC_OUT; i++) {
        struct bft_sync_ask *a = &r->sync.ask[seat][i];
        if (!a->answered)
            continue;
        a->answered = false;
        note_answer(r, seat, a);
        for (unsigned k = 0; k < a->nitems; k++)
            a->item[k].tries -= (a->item[k].vain >> seat & 1) == 0;
        end_ask(&r->sync, a, 0);
    }
}

/* Takes an answer off the list; returns whether anything was asked for, and a bit for each part
 * that was and is there. */
static bool
take_answers(struct bft_sync *y, uint16_t seat, const struct msg_state *m, uint32_t *ret_useful)
{
    bool asked = false;
    struct c2_rd in = c2_rd_init(m->answers);
    *ret_useful = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        uint8_t hash[MSG_DIGEST_LEN];
        uint8_t kind = c2_rd_u8(&in);
        c2_rd_copy(&in, hash, sizeof hash);
        struct c2_slice bytes = c2_rd_bytes(&in, MSG_BYTES_MAX);
        struct bft_sync_ask *a = NULL;
        struct bft_sync_item *item = find_item(y, seat, kind, hash, &a);
        if (item == NULL)
            continue;
        a->answered = asked = true;
        if (bytes.len == 0) {
            item->vain |= 1u << seat; /* that one has not got it */
            continue;
        }
        *item = a->item[--a->nitems];
        *ret_useful |= 1u << i;
    }
    return asked;
}

void
bft_on_state(struct bft_replica *r, uint16_t seat, struct c2_blob *blob)
{
    struct bft_sync *y = &r->sync;
    struct msg_state m;
    uint32_t useful = 0;
    if (r->mode != BFT_SYNCING || msg_read_state(c2_blob_slice(blob), &m) != C2_E_OK)
        return;
    if (y->waiting > 2 * (size_t)BFT_SYNC_BYTES)
        return; /* far more than was asked for */
    if (!take_answers(y, seat, &m, &useful)) {
        note_late_answer(y, seat);
        return;
    }
    end_answered(r, seat);
    if (useful != 0) {
        y->answer = (3 * y->answer + blob->len) / 4;
        give_answers(r, blob, &m, seat, useful);
    }
    go_on(r);
}

static void
end_late(struct bft_replica *r)
{
    struct bft_sync *y = &r->sync;
    bool hurry = is_short_of_work(y);
    for (unsigned i = 0; i < MSG_REPLICAS_MAX * BFT_SYNC_OUT; i++) {
        unsigned seat = i / BFT_SYNC_OUT;
        struct bft_sync_ask *a = &y->ask[seat][i % BFT_SYNC_OUT];
        if (a->nitems == 0 || ask_due_ns(r, a, hurry) > r->now_ns)
            continue;
        y->silent |= 1u << seat;
        end_ask(y, a, 1u << seat);
    }
}

void
bft_sync_tick(struct bft_replica *r)
{
    struct bft_sync *y = &r->sync;
    if (r->mode != BFT_SYNCING || y->finished)
        return;
    if (y->n == 0) { /* it has gone on without a target */
        bft_sync_start(r);
        return;
    }
    end_late(r);
    y->vain = true; /* there may be others to ask than before */
    go_on(r);
}

uint64_t
bft_sync_deadline(const struct bft_replica *r)
{
    const struct bft_sync *y = &r->sync;
    uint64_t due = C2_NEVER;
    if (r->mode != BFT_SYNCING)
        return due;
    if (y->nitems > 0 && y->again_ns > r->now_ns)
        due = y->again_ns;
    bool hurry = is_short_of_work(y);
    for (unsigned i = 0; i < MSG_REPLICAS_MAX * BFT_SYNC_OUT; i++) {
        const struct bft_sync_ask *a = &y->ask[i / BFT_SYNC_OUT][i % BFT_SYNC_OUT];
        if (a->nitems > 0)
            due = C2_MIN(due, ask_due_ns(r, a, hurry));
    }
    return due;
}

/* ---- serving --------------------------------------------------------------------------------- */

void
bft_on_state_fetch(struct bft_replica *r, uint16_t seat, struct c2_blob *blob)
{
    struct msg_state_fetch f;
    if (msg_read_state_fetch(c2_blob_slice(blob), &f) != C2_E_OK) {
        r->count.dropped++;
        return;
    }
    if (r->mode == BFT_SYNCING || r->serving[seat] >= BFT_SYNC_OUT)
        return;
    struct bft_job *job = bft_job_new(BFT_JOB_SERVE);
    job->seat = seat;
    job->body = c2_blob_ref(blob);
    job->in = c2_blob_slice(job->body);
    r->serving[seat]++;
    bft_give_job(r, job);
}

void
bft_served(struct bft_replica *r, struct bft_job *job)
{
    struct msg_head h = bft_head(r, MSG_STATE);
    const struct msg_state m = { .n = r->last_ckpt, .count = job->count };
    C2_ASSERT(r->serving[job->seat] > 0);
    r->serving[job->seat]--;
    if (m.count == 0)
        return;
    c2_buf_clear(&r->scratch);
    msg_write_state(&r->scratch, &h, &m); /* the answers follow, and are copied only once */
    struct c2_blob *blob = c2_blob_new(r->scratch.len + job->out.len);
    memcpy(blob->data, r->scratch.data, r->scratch.len);
    memcpy(blob->data + r->scratch.len, job->out.data, job->out.len);
    bft_send(r, 1u << job->seat, blob);
    c2_blob_unref(blob);
}
