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
 * f + 1 signatures are enough for a target: one is a correct replica's, which has executed what was
 * decided. To wait for a stable one would be a trap: the others may have moved on to checkpoints
 * that become stable only with the help of this replica.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "metadata/bft_int.h"

static void
give_sync_job(struct bft_replica *r, struct bft_job *job)
{
    struct bft_sync *y = &r->sync;
    job->n = y->n;
    memcpy(job->digest, y->digest, MSG_DIGEST_LEN);
    job->count = BFT_SYNC_ITEMS;
    y->jobs++;
    bft_give_job(r, job);
}

static void
give_answers(struct bft_replica *r, struct c2_blob *blob, uint16_t seat)
{
    struct bft_job *job = bft_job_new(BFT_JOB_SYNC);
    struct msg_state m;
    enum c2_err err = msg_read_state(c2_blob_slice(blob), &m);
    C2_ASSERT(err == C2_E_OK);
    job->body = c2_blob_ref(blob);
    job->in = m.answers;
    job->seat = seat;
    give_sync_job(r, job);
}

void
bft_sync_resume(struct bft_replica *r)
{
    r->sync.n = 0;
    r->sync.nitems = 0;
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
    y->nitems = 0;
    y->finished = false;
    r->mode = BFT_SYNCING;
    r->syncing = true;
    r->count.syncs++;
    struct bft_job *job = bft_job_new(BFT_JOB_SYNC);
    job->begin = true;
    give_sync_job(r, job);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static uint16_t
next_peer(struct bft_replica *r)
{
    struct bft_sync *y = &r->sync;
    uint32_t others = bft_others(r);
    if ((others & ~y->liars) == 0)
        y->liars = 0; /* all of them: then it was not them */
    do
        y->turn = (y->turn + 1) % r->config.n;
    while ((others & ~y->liars & 1u << y->turn) == 0 && r->config.n > 1);
    return (uint16_t)y->turn;
}

/* Sends all items that are not on their way, sixteen to a message. */
static void
ask(struct bft_replica *r)
{
    struct bft_sync *y = &r->sync;
    unsigned i = 0;
    while (i < y->nitems) {
        struct msg_state_fetch f = { .n = y->n };
        uint16_t seat = next_peer(r);
        for (; i < y->nitems && f.count < MSG_WANTED_MAX; i++) {
            struct bft_sync_item *item = &y->item[i];
            if (item->due_ns > r->now_ns)
                continue;
            /* An answer may take long on a slow line: each repetition waits longer. */
            item->due_ns = r->now_ns + (r->setup.timing.fetch_ns << C2_MIN(item->tries, 6u));
            item->tries++;
            item->seat = seat;
            item->message = y->messages;
            f.item[f.count++] = item->item;
        }
        if (f.count == 0)
            return;
        y->messages++;
        struct msg_head h = bft_head(r, MSG_STATE_FETCH);
        c2_buf_clear(&r->scratch);
        msg_write_state_fetch(&r->scratch, &h, &f);
        struct c2_blob *blob = bft_take_scratch(r);
        bft_send(r, 1u << seat, blob);
        c2_blob_unref(blob);
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
    C2_ASSERT(y->jobs > 0);
    y->jobs--;
    if (job->bad)
        y->liars |= 1u << job->seat;
    if (job->n != y->n || r->mode != BFT_SYNCING)
        return; /* of a target given up */
    if (job->bad)
        bft_alarm(r, BFT_ALARM_EVIDENCE, "a replica has sent a state that is not the state");
    if (job->begin)
        y->nitems = 0;
    if (y->finished)
        return;
    if (job->finished) {
        y->finished = true;
        bft_give_job(r, bft_job_new(BFT_JOB_LOAD));
        return;
    }
    take_wanted(r, c2_buf_slice(&job->out));
    if (y->nitems == 0 && y->jobs == 0) /* it has work of its own */
        give_sync_job(r, bft_job_new(BFT_JOB_SYNC));
    ask(r);
}

void
bft_sync_over(struct bft_replica *r)
{
    r->syncing = false;
    r->sync.nitems = 0;
    r->lag_since_ns = 0;
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
find_item(struct bft_sync *y, uint16_t seat, uint8_t kind, const uint8_t *hash)
{
    for (unsigned i = 0; i < y->nitems; i++) {
        bool asked = y->item[i].tries > 0 && y->item[i].seat == seat;
        if (asked && y->item[i].item.kind == kind && bft_digest_equal(y->item[i].item.hash, hash))
            return &y->item[i];
    }
    return NULL;
}

/* A message has room for so many bytes: what it leaves out is asked for again at once. */
static void
ask_for_the_rest(struct bft_replica *r, uint32_t message)
{
    for (unsigned i = 0; i < r->sync.nitems; i++) {
        struct bft_sync_item *item = &r->sync.item[i];
        if (item->message != message || item->tries == 0)
            continue;
        item->due_ns = r->now_ns;
        item->tries--;
    }
}

void
bft_on_state(struct bft_replica *r, uint16_t seat, struct c2_blob *blob)
{
    struct bft_sync *y = &r->sync;
    struct msg_state m;
    bool useful = false;
    uint32_t message = 0;
    if (r->mode != BFT_SYNCING || msg_read_state(c2_blob_slice(blob), &m) != C2_E_OK)
        return;
    struct c2_rd in = c2_rd_init(m.answers);
    for (uint32_t i = 0; i < m.count; i++) {
        uint8_t hash[MSG_DIGEST_LEN];
        uint8_t kind = c2_rd_u8(&in);
        c2_rd_copy(&in, hash, sizeof hash);
        struct c2_slice bytes = c2_rd_bytes(&in, MSG_BYTES_MAX);
        struct bft_sync_item *item = find_item(y, seat, kind, hash);
        if (item == NULL)
            continue;
        if (bytes.len == 0) {
            item->due_ns = r->now_ns; /* that one has not got it: the next, soon */
            continue;
        }
        message = item->message;
        *item = y->item[--y->nitems];
        useful = true;
    }
    if (!useful)
        return;
    ask_for_the_rest(r, message);
    give_answers(r, blob, seat);
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
    for (unsigned i = 0; i < y->nitems; i++) {
        if (y->item[i].tries >= r->config.n && y->item[i].due_ns <= r->now_ns &&
            bft_sync_target(r)->n > y->n) {
            C2_MARK("bft: fetches a newer state");
            bft_sync_start(r);
            return;
        }
    }
    ask(r);
}

uint64_t
bft_sync_deadline(const struct bft_replica *r)
{
    uint64_t due = C2_NEVER;
    if (r->mode != BFT_SYNCING)
        return due;
    for (unsigned i = 0; i < r->sync.nitems; i++)
        due = C2_MIN(due, r->sync.item[i].due_ns);
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
    struct msg_state m = { .n = r->last_ckpt, .count = job->count };
    C2_ASSERT(r->serving[job->seat] > 0);
    r->serving[job->seat]--;
    m.answers = c2_buf_slice(&job->out);
    if (m.count == 0)
        return;
    c2_buf_clear(&r->scratch);
    msg_write_state(&r->scratch, &h, &m);
    struct c2_blob *blob = bft_take_scratch(r);
    bft_send(r, 1u << job->seat, blob);
    c2_blob_unref(blob);
}
