/* SPDX-License-Identifier: MIT */
/*
 * The open batch holds what was executed since the last checkpoint on disk. When the application
 * needs more room it loses the batch; `redo` has the commands to do it again, and the records of
 * checkpoints that were held. To make one of those durable when more was executed since, its part
 * is done again in a batch of its own.
 */
#include "metadata/exec.h"

#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "metadata/cmd.h"

#define SERVE_BYTES (1u << 20)
#define SERVE_USUAL (96u << 10) /* most answers are not longer */

_Static_assert(REPLICA_HEAD == (int)MSG_STATE_HEAD && REPLICA_NODE == (int)MSG_STATE_NODE &&
                   REPLICA_ENTRY == (int)MSG_STATE_ENTRY && REPLICA_BRANCH == (int)MSG_STATE_BRANCH,
               "parts have the same names in messages");

/* What one EXECUTE has done, or one CHECKPOINT that was held. */
struct redo {
    struct c2_link link; /* x->redo */
    uint64_t n;
    uint64_t time_ns;
    bool held;             /* a checkpoint: only the next two count */
    struct c2_buf records; /* owned */
    uint8_t digest[MSG_DIGEST_LEN];
    struct c2_blob *body;         /* owned reference */
    struct bft_command *commands; /* owned */
    uint32_t ncommands;
};

struct bft_exec {
    struct replica_app *app;     /* owned */
    struct replica_batch *batch; /* owned; NULL = nothing since the last checkpoint */
    struct c2_list redo;
    bool fetching;        /* a state, and it is not complete */
    struct c2_buf expire; /* owned: the command that lets time pass */
    uint64_t acl_told;    /* changes of the access control list that jobs have told; + 1 */
    bool is_committed;    /* committed is the digest of what is on disk */
    uint8_t committed[MSG_DIGEST_LEN];
};

struct bft_exec *
bft_exec_new(struct replica_app *app)
{
    struct bft_exec *x = c2_calloc(1, sizeof *x);
    const struct coord_req r = { .verb = COORD_EXPIRE };
    x->app = app;
    c2_list_init(&x->redo);
    coord_txn_encode(&r, &x->expire);
    return x;
}

static void
redo_free(struct bft_exec *x, struct redo *d)
{
    c2_list_remove(&x->redo, &d->link);
    c2_blob_unref(d->body);
    c2_free(d->commands);
    c2_buf_done(&d->records);
    c2_free(d);
}

static void
forget_redo(struct bft_exec *x)
{
    while (!c2_list_empty(&x->redo))
        redo_free(x, C2_LIST_FIRST(&x->redo, struct redo, link));
}

static void
drop_batch(struct bft_exec *x)
{
    x->app->ops->end(x->batch);
    x->batch = NULL;
}

void
bft_exec_free(struct bft_exec *x)
{
    if (x == NULL)
        return;
    drop_batch(x);
    forget_redo(x);
    x->app->ops->close(x->app);
    c2_buf_done(&x->expire);
    c2_free(x);
}

/* ---- execution ------------------------------------------------------------------------------- */

/* Small commands can have long answers, and what one replica has no memory for, none has. Which
 * ones are left out depends on the batch alone. */
static void
limit_answer(struct c2_buf *out, size_t from)
{
    if (out->len <= BFT_ANSWERS_MAX || out->len - from <= BFT_ANSWER_SHORT)
        return;
    C2_MARK("exec: too many answers for one batch");
    out->len = from;
}

/* Commands of one agreed batch; out_end may be NULL. */
static C2_RESULT
apply(struct bft_exec *x, uint64_t time_ns, struct bft_command *commands, uint32_t count,
      struct c2_buf *out, uint32_t *out_end)
{
    const struct replica_app_ops *ops = x->app->ops;
    if (time_ns != 0) { /* it passes also when nothing is changed */
        size_t len = out->len;
        C2_TRY(ops->apply(x->batch, time_ns, NULL, c2_buf_slice(&x->expire), out));
        out->len = len;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct bft_command *c = &commands[i];
        const struct replica_client by = { .key = c->key, .admin = c->admin };
        size_t from = out->len;
        uint64_t before = x->batch->work;
        if (c->query)
            C2_TRY(ops->read(x->batch, &by, c->op, out));
        else
            C2_TRY(ops->apply(x->batch, time_ns, &by, c->op, out));
        limit_answer(out, from);
        c->work = x->batch->work - before;
        if (out_end != NULL)
            out_end[i] = (uint32_t)out->len;
    }
    return C2_E_OK;
}

static C2_RESULT
write_records(struct bft_exec *x, struct c2_slice records)
{
    struct c2_rd in = c2_rd_init(records);
    while (c2_rd_left(&in) > 0) {
        struct c2_slice key = c2_rd_bytes(&in, COORD_KEY_MAX - 1);
        bool present = c2_rd_u8(&in) == 1;
        struct c2_slice value = c2_rd_bytes(&in, COORD_VALUE_MAX);
        C2_ASSERT(c2_rd_ok(&in));
        C2_TRY(x->app->ops->put_system(x->batch, key, present ? &value : NULL));
    }
    return C2_E_OK;
}

static C2_RESULT
do_again(struct bft_exec *x, const struct redo *d)
{
    C2_AUTO(c2_buf_done) struct c2_buf ignored = { 0 };
    if (d->held)
        return write_records(x, c2_buf_slice(&d->records));
    return apply(x, d->time_ns, d->commands, d->ncommands, &ignored, NULL);
}

/* Opens a batch in which everything since the checkpoint on disk is done, as far as `last` (NULL =
 * all of it). */
static C2_RESULT
redo_until(struct bft_exec *x, const struct redo *last)
{
    enum c2_err err = C2_E_OK;
    bool past = false;
    C2_TRY(x->app->ops->begin(x->app, &x->batch));
    C2_LIST_FOREACH (&x->redo, struct redo, d, link) {
        if (err == C2_E_OK && !past)
            err = do_again(x, d);
        past = past || d == last;
    }
    c2_buf_clear(&x->batch->events);
    if (err != C2_E_OK)
        drop_batch(x);
    return err;
}

static C2_RESULT
open_batch(struct bft_exec *x)
{
    return x->batch != NULL ? C2_E_OK : redo_until(x, NULL);
}

static void
remember(struct bft_exec *x, const struct bft_job *job)
{
    struct redo *d = c2_calloc(1, sizeof *d);
    d->n = job->n;
    d->time_ns = job->time_ns;
    d->body = c2_blob_ref(job->body);
    d->ncommands = job->ncommands;
    d->commands = c2_calloc(job->ncommands, sizeof *d->commands);
    if (job->ncommands > 0)
        memcpy(d->commands, job->commands, job->ncommands * sizeof *d->commands);
    c2_list_append(&x->redo, &d->link);
}

/* Whoever filters events must know the list by which it does. */
static C2_RESULT
tell_acl(struct bft_exec *x, struct bft_job *job)
{
    c2_buf_clear(&job->acl);
    job->acl_changed = x->acl_told != x->batch->acl + 1;
    if (job->acl_changed)
        C2_TRY(x->app->ops->acl(x->batch, &job->acl));
    x->acl_told = x->batch->acl + 1;
    return C2_E_OK;
}

static C2_RESULT
execute(struct bft_exec *x, struct bft_job *job)
{
    c2_buf_clear(&job->out);
    if (job->out_end == NULL)
        job->out_end = c2_calloc(job->ncommands, sizeof *job->out_end);
    C2_TRY(open_batch(x));
    C2_TRY(apply(x, job->time_ns, job->commands, job->ncommands, &job->out, job->out_end));
    C2_TRY(tell_acl(x, job));
    remember(x, job);
    job->due = x->batch->due;
    job->events = x->batch->events;
    job->events_lost = x->batch->events_lost;
    x->batch->events = (struct c2_buf){ 0 };
    x->batch->events_lost = false;
    return C2_E_OK;
}

static void
remember_held(struct bft_exec *x, const struct bft_job *job)
{
    struct redo *d = c2_calloc(1, sizeof *d);
    d->n = job->n;
    d->held = true;
    memcpy(d->digest, job->digest, sizeof d->digest);
    c2_buf_append(&d->records, job->records.data, job->records.len);
    c2_list_append(&x->redo, &d->link);
}

static void
note_committed(struct bft_exec *x, const struct bft_job *job)
{
    memcpy(x->committed, job->digest, sizeof x->committed);
    x->is_committed = true;
}

const uint8_t *
bft_exec_committed(const struct bft_exec *x)
{
    return x->is_committed ? x->committed : NULL;
}

static C2_RESULT
checkpoint(struct bft_exec *x, struct bft_job *job)
{
    C2_TRY(open_batch(x));
    C2_TRY(write_records(x, c2_buf_slice(&job->records)));
    C2_TRY(x->app->ops->digest(x->batch, job->digest));
    if (job->hold) {
        remember_held(x, job);
        return C2_E_OK;
    }
    enum c2_err err = x->app->ops->commit(x->batch);
    drop_batch(x);
    if (err == C2_E_OK) {
        forget_redo(x);
        note_committed(x, job);
    }
    return err;
}

static void
forget_until(struct bft_exec *x, const struct redo *last)
{
    bool past = false;
    C2_LIST_FOREACH (&x->redo, struct redo, d, link) {
        bool here = d == last;
        if (!past)
            redo_free(x, d);
        past = past || here;
    }
}

static struct redo *
find_held(struct bft_exec *x, uint64_t n)
{
    C2_LIST_FOREACH (&x->redo, struct redo, d, link) {
        if (d->held && d->n == n)
            return d;
    }
    return NULL;
}

static C2_RESULT
commit_held(struct bft_exec *x, struct bft_job *job)
{
    const struct redo *held = find_held(x, job->n);
    if (held == NULL)
        return C2_E_OK; /* the state was fetched since */
    if (C2_LIST_LAST(&x->redo, struct redo, link) != held) {
        drop_batch(x);
        C2_TRY(redo_until(x, held));
    }
    C2_TRY(open_batch(x));
    C2_TRY(x->app->ops->digest(x->batch, job->digest));
    if (memcmp(job->digest, held->digest, sizeof job->digest) != 0)
        return C2_E_DAMAGED; /* the same commands gave another state */
    enum c2_err err = x->app->ops->commit(x->batch);
    drop_batch(x);
    C2_TRY(err);
    forget_until(x, held);
    note_committed(x, job);
    job->finished = true;
    return C2_E_OK;
}

static C2_RESULT
load(struct bft_exec *x, struct bft_job *job)
{
    c2_buf_clear(&job->records);
    C2_TRY(x->app->ops->list_system(x->app, &job->records, &job->finished));
    C2_TRY(x->app->ops->begin(x->app, &x->batch));
    enum c2_err err = x->app->ops->digest(x->batch, job->digest);
    drop_batch(x);
    return err;
}

static C2_RESULT
query(struct bft_exec *x, struct bft_job *job)
{
    const struct replica_client by = { .key = job->key };
    c2_buf_clear(&job->out);
    if (!c2_list_empty(&x->redo))
        C2_TRY(open_batch(x)); /* the state on disk is older than what was executed */
    if (x->batch != NULL)
        C2_TRY(x->app->ops->read(x->batch, &by, job->in, &job->out));
    else
        C2_TRY(x->app->ops->query(x->app, &by, job->in, &job->out));
    job->version = cmd_reply_hide_version(&job->out);
    return C2_E_OK;
}

/* ---- state for others, state from others ----------------------------------------------------- */

static struct replica_part
part_of(const struct msg_state_item *item)
{
    struct replica_part p = { .kind = item->kind, .depth = item->depth };
    memcpy(p.path, item->path, sizeof p.path);
    memcpy(p.hash, item->hash, sizeof p.hash);
    return p;
}

/* The part behind its length; none when it is not there. */
static C2_RESULT
serve_part(struct bft_exec *x, const struct replica_part *p, struct c2_buf *out)
{
    size_t at = out->len;
    c2_wr_u32(out, 0);
    enum c2_err err = x->app->ops->part(x->app, p, out);
    if (err == C2_E_NOT_FOUND)
        out->len = at + 4;
    else
        C2_TRY(err);
    c2_put_u32(out->data + at, (uint32_t)(out->len - at - 4));
    return C2_E_OK;
}

static C2_RESULT
serve(struct bft_exec *x, struct bft_job *job)
{
    struct msg_state_fetch f;
    c2_buf_clear(&job->out);
    c2_buf_reserve(&job->out, SERVE_USUAL);
    job->count = 0;
    enum c2_err err = msg_read_state_fetch(job->in, &f);
    C2_ASSERT(err == C2_E_OK);
    for (; job->count < f.count && job->out.len < SERVE_BYTES; job->count++) {
        const struct replica_part p = part_of(&f.item[job->count]);
        c2_wr_u8(&job->out, p.kind);
        c2_wr_raw(&job->out, p.hash, sizeof p.hash);
        C2_TRY(serve_part(x, &p, &job->out));
    }
    return C2_E_OK;
}

static C2_RESULT
take_parts(struct bft_exec *x, struct bft_job *job)
{
    struct c2_rd in = c2_rd_init(job->in);
    while (c2_rd_left(&in) > 0) {
        uint8_t hash[MSG_DIGEST_LEN];
        uint8_t kind = c2_rd_u8(&in);
        c2_rd_copy(&in, hash, sizeof hash);
        struct c2_slice bytes = c2_rd_bytes(&in, MSG_BYTES_MAX);
        C2_ASSERT(c2_rd_ok(&in));
        if (bytes.len == 0)
            continue;
        enum c2_err err = x->app->ops->fetch_put(x->app, kind, hash, bytes);
        if (err == C2_E_CORRUPT)
            job->bad = true;
        else
            C2_TRY(err);
    }
    return C2_E_OK;
}

static C2_RESULT
want_parts(struct bft_exec *x, struct bft_job *job)
{
    C2_AUTO(c2_buf_done) struct c2_buf list = { 0 };
    C2_TRY(x->app->ops->fetch_want(x->app, job->count, &list, &job->finished));
    c2_buf_clear(&job->out);
    for (size_t at = 0; at < list.len; at += sizeof(struct replica_part)) {
        struct replica_part p;
        memcpy(&p, list.data + at, sizeof p);
        c2_wr_u8(&job->out, p.kind);
        c2_wr_u8(&job->out, p.depth);
        c2_wr_raw(&job->out, p.path, sizeof p.path);
        c2_wr_raw(&job->out, p.hash, sizeof p.hash);
    }
    return C2_E_OK;
}

static C2_RESULT
sync_step(struct bft_exec *x, struct bft_job *job)
{
    if (job->begin) {
        drop_batch(x);
        forget_redo(x);
        x->is_committed = false;
        x->acl_told = 0;
        C2_TRY(x->app->ops->fetch_begin(x->app, job->digest));
    } else if (x->fetching) {
        C2_TRY(take_parts(x, job));
    } else {
        return C2_E_OK; /* the answer before this one had all that was missing */
    }
    C2_TRY(want_parts(x, job));
    x->fetching = !job->finished;
    return C2_E_OK;
}

static C2_RESULT
sync_state(struct bft_exec *x, struct bft_job *job)
{
    enum c2_err err = sync_step(x, job);
    if (err != C2_E_OK)
        x->fetching = false; /* the application has given it up */
    return err;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static C2_RESULT
run_once(struct bft_exec *x, struct bft_job *job)
{
    switch (job->kind) {
    case BFT_JOB_LOAD:
        return load(x, job);
    case BFT_JOB_EXECUTE:
        return execute(x, job);
    case BFT_JOB_CHECKPOINT:
        return checkpoint(x, job);
    case BFT_JOB_COMMIT:
        return commit_held(x, job);
    case BFT_JOB_QUERY:
        return query(x, job);
    case BFT_JOB_SERVE:
        return serve(x, job);
    case BFT_JOB_SYNC:
        return sync_state(x, job);
    }
    C2_UNREACHABLE();
}

void
bft_exec_run(struct bft_exec *x, struct bft_job *job)
{
    job->err = run_once(x, job);
    while (job->err == C2_E_AGAIN) { /* more room, and all of it again */
        drop_batch(x);
        if (job->kind == BFT_JOB_SYNC)
            job->begin = true;
        job->err = x->app->ops->grow(x->app);
        if (job->err == C2_E_OK)
            job->err = run_once(x, job);
    }
    if (job->err != C2_E_OK)
        drop_batch(x);
}
