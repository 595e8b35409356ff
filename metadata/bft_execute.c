/* SPDX-License-Identifier: MIT */
/*
 * Execution in order, answers, fast reads.
 *
 * Decided batches go to the executor one after the other; what the sessions say about each request
 * is settled here, at the moment of issue, and is a function of the batches issued so far. At a
 * checkpoint the next batch waits until the answers of all batches before are back, because they
 * are part of the state.
 *
 * Fast read: answered only when everything is issued that this replica has ever sent a COMMIT for.
 * Any write that was completed before the read began was committed at a correct replica, so f + 1
 * correct ones had sent their COMMIT; 2f + 1 readers meet one of those.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "metadata/bft_int.h"

#define RESULT_INLINE_MAX 256                /* larger ones come in full from one replica only */
#define REFUSALS_MAX      MSG_BATCH_REQS_MAX /* of a batch are answered; others ask again */

/* ---- jobs ------------------------------------------------------------------------------------ */

struct bft_job *
bft_job_new(enum bft_job_kind kind)
{
    struct bft_job *job = c2_calloc(1, sizeof *job);
    job->kind = kind;
    return job;
}

void
bft_job_free(struct bft_job *job)
{
    if (job == NULL)
        return;
    c2_blob_unref(job->body);
    c2_free(job->commands);
    c2_buf_done(&job->records);
    c2_buf_done(&job->out);
    c2_free(job->out_end);
    c2_buf_done(&job->events);
    c2_buf_done(&job->acl);
    c2_free(job);
}

/* ---- answers --------------------------------------------------------------------------------- */

struct answer {
    uint64_t session, cseq, n;
    uint8_t code;
    bool full;
    struct c2_slice result;
};

/* With which the session was opened that the answer belongs to; 0 = it is not known any more. */
static uint64_t
nonce_of(struct bft_replica *r, const struct answer *a)
{
    if (a->session == 0)
        return a->cseq;
    const struct bft_session *s = bft_session_find(r, a->session);
    return s != NULL ? s->nonce : 0;
}

static void
send_answer(struct bft_replica *r, const uint8_t *key, uint64_t conn, const struct answer *a)
{
    struct msg_head h = bft_head(r, MSG_REPLY);
    struct msg_reply m = { .view = r->view, .session = a->session, .cseq = a->cseq, .n = a->n };
    m.code = a->code;
    m.result = a->result;
    c2_sha256(a->result, m.digest);
    bool mine = r->config.n > 0 && a->cseq % r->config.n == r->seat;
    m.has_result = a->full || mine || a->result.len <= RESULT_INLINE_MAX;
    c2_buf_clear(&r->scratch);
    msg_write_reply(&r->scratch, &h, &m);
    struct c2_blob *blob = bft_take_scratch(r);
    if (conn != 0)
        bft_reply_to(r, conn, blob);
    else
        bft_reply_session(r, key, nonce_of(r, a), blob);
    c2_blob_unref(blob);
}

static void
answer_code(struct bft_replica *r, const struct msg_request *m, uint64_t conn, uint64_t n,
            uint8_t code)
{
    struct answer a = { .session = m->session, .cseq = m->cseq, .n = n, .code = code };
    send_answer(r, m->key, conn, &a);
}

static void
answer_open(struct bft_replica *r, const struct msg_request *m, uint64_t conn, uint64_t n,
            uint8_t code, uint64_t number)
{
    uint8_t bytes[8];
    c2_put_u64(bytes, number);
    struct answer a = { .cseq = m->cseq, .n = n, .code = code };
    a.result = c2_slice(bytes, sizeof bytes);
    send_answer(r, m->key, conn, &a);
}

static void
answer_cached(struct bft_replica *r, const struct msg_request *m, struct bft_session *s,
              uint64_t conn)
{
    struct bft_answer *a = bft_session_find_answer(s, m->cseq);
    if (a == NULL || a->pending)
        return; /* it is on its way */
    struct answer out = { .session = s->id, .cseq = a->cseq, .n = a->n, .code = a->code };
    out.full = true;
    out.result = bft_answer_result(a);
    send_answer(r, m->key, conn, &out);
}

static bool
answer_one_again(struct bft_replica *r, const struct msg_request *m, uint64_t conn)
{
    struct bft_session *s = NULL;
    switch (bft_session_check(r, m, &s)) {
    case BFT_NEW:
        return false;
    case BFT_DONE:
        if (m->kind == MSG_REQ_OPEN)
            answer_open(r, m, conn, bft_session_opened_at(s), MSG_OK, s->id);
        else
            answer_cached(r, m, s, conn);
        return true;
    case BFT_OUTSIDE:
        if (m->cseq > s->ack_low)
            return false; /* maybe this replica lags */
        answer_code(r, m, conn, 0, MSG_OUT_OF_WINDOW);
        return true;
    case BFT_UNKNOWN:
        if (!bft_session_is_gone(r, m->session))
            return false;
        answer_code(r, m, conn, 0, MSG_NO_SESSION);
        return true;
    }
    C2_UNREACHABLE();
}

bool
bft_answer_again(struct bft_replica *r, const struct msg_request *m, uint64_t conn)
{
    struct c2_slice rest = m->op;
    struct msg_request one;
    bool all = true;
    for (uint32_t i = 0; msg_next_command(m, i, &rest, &one); i++)
        all = answer_one_again(r, &one, conn) && all;
    return all;
}

/* ---- issue ----------------------------------------------------------------------------------- */

static void
add_command(struct bft_job *job, const struct msg_request *m)
{
    uint32_t n = job->ncommands++;
    if ((n & (n - 1)) == 0) /* full: the room doubles */
        job->commands =
            c2_realloc(job->commands, n == 0 ? 1 : 2 * (size_t)n, sizeof *job->commands);
    struct bft_command *c = &job->commands[n];
    *c = (struct bft_command){ 0 };
    c->admin = m->kind == MSG_REQ_ADMIN_COMMAND;
    c->op = c->admin ? bft_admin_command(m) : m->op;
    c->query = m->kind == MSG_REQ_QUERY;
    c->session = m->session;
    c->cseq = m->cseq;
    memcpy(c->key, m->key, MSG_KEY_LEN);
}

static void
open_session(struct bft_replica *r, const struct msg_request *m, uint64_t n, unsigned place)
{
    uint64_t last = 0;
    uint64_t id = bft_session_open(r, m, n, place, &last);
    if (id != 0)
        answer_open(r, m, 0, n, MSG_OK, id);
    else
        answer_open(r, m, 0, n, MSG_OPEN_REFUSED, last);
}

static void
run_new(struct bft_replica *r, struct bft_job *job, const struct msg_request *m,
        struct bft_session *s, unsigned place)
{
    struct bft_answer *a = NULL;
    switch ((enum msg_request_kind)m->kind) {
    case MSG_REQ_OPEN:
        open_session(r, m, job->n, place);
        return;
    case MSG_REQ_QUERY:
        bft_session_touch(s, job->n);
        add_command(job, m);
        return;
    case MSG_REQ_COMMAND:
    case MSG_REQ_ADMIN_COMMAND:
        bft_session_mark(s, m, job->n);
        add_command(job, m);
        return;
    case MSG_REQ_CLOSE:
        bft_session_close(r, s);
        answer_code(r, m, 0, job->n, MSG_OK);
        return;
    case MSG_REQ_ADMIN:
        a = bft_session_mark(s, m, job->n);
        bft_admin(r, m, job->n, s, a);
        answer_cached(r, m, s, 0);
        return;
    case MSG_REQ_COMMANDS:
        break; /* they come one by one */
    }
    C2_UNREACHABLE();
}

static void
refuse(struct bft_replica *r, const struct msg_request *m, uint64_t n, uint8_t code)
{
    if (r->refusals++ < REFUSALS_MAX)
        answer_code(r, m, 0, n, code);
}

static void
run_request(struct bft_replica *r, struct bft_job *job, const struct msg_request *m, unsigned place)
{
    struct bft_session *s = NULL;
    switch (bft_session_check(r, m, &s)) {
    case BFT_NEW:
        run_new(r, job, m, s, place);
        r->count.executed_requests++;
        break;
    case BFT_DONE: /* and answered then; a primary can repeat it as often as it likes */
        r->count.duplicates++;
        break;
    case BFT_UNKNOWN:
        refuse(r, m, job->n, MSG_NO_SESSION);
        break;
    case BFT_OUTSIDE:
        refuse(r, m, job->n, MSG_OUT_OF_WINDOW);
        break;
    }
}

static void
run_commands(struct bft_replica *r, struct bft_job *job, const struct msg_request *m,
             unsigned place)
{
    struct c2_slice rest = m->op;
    struct msg_request one;
    for (uint32_t i = 0; msg_next_command(m, i, &rest, &one); i++)
        run_request(r, job, &one, place);
}

static void
extend_log_hash(struct bft_replica *r, const struct bft_slot *s)
{
    uint8_t number[8];
    c2_put_u64(number, s->n);
    const struct c2_slice in[] = {
        c2_slice(r->log_hash, MSG_DIGEST_LEN),
        c2_slice(number, sizeof number),
        c2_slice(s->decided_digest, MSG_DIGEST_LEN),
    };
    c2_sha256_v(in, C2_ARRAY_LEN(in), r->log_hash);
}

static void
issue(struct bft_replica *r, struct bft_slot *s)
{
    struct msg_batch b;
    struct c2_slice bytes = bft_bytes_slice(&s->final);
    if (msg_read_batch(bytes, &b) != C2_E_OK) {
        bft_halt(r, "a batch that no correct replica accepts was decided");
        return;
    }
    struct bft_job *job = bft_job_new(BFT_JOB_EXECUTE);
    job->n = r->issued = s->n;
    r->issued_ns = r->now_ns;
    job->time_ns = b.time_ns;
    job->body = s->final.blob != NULL ? c2_blob_ref(s->final.blob) : NULL;
    r->time_ns = C2_MAX(r->time_ns, b.time_ns);
    bft_clock_agreed(r);
    if (bytes.len > 0)
        bft_clock_compare(r, s, b.time_ns, true);
    extend_log_hash(r, s);
    r->refusals = 0;
    struct c2_slice rest = b.requests;
    for (uint32_t i = 0; i < b.count; i++) {
        struct c2_slice item;
        struct msg_request m;
        if (msg_next_bytes(&rest, &item) != C2_E_OK || msg_read_request(item, &m) != C2_E_OK)
            continue;
        run_commands(r, job, &m, i);
        bft_pace_request(r, s, m.session, bft_request_done(r, &m));
    }
    r->count.executed_batches++;
    bft_give_job(r, job);
}

static void
save_checkpoint(struct bft_replica *r)
{
    struct bft_job *job = bft_job_new(BFT_JOB_CHECKPOINT);
    job->n = r->issued;
    job->hold = bft_holds_base(r);
    bft_save_records(r, &job->records);
    r->at_checkpoint = false;
    bft_give_job(r, job);
}

void
bft_execute(struct bft_replica *r)
{
    while ((r->mode == BFT_RUNNING || r->mode == BFT_QUARANTINED) && !bft_epoch_is_old(r) &&
           r->jobs < r->setup.limits.jobs) {
        if (r->at_checkpoint && r->executed < r->issued)
            return;
        if (r->at_checkpoint) {
            save_checkpoint(r);
            continue;
        }
        struct bft_slot *s = bft_slot(r, r->issued + 1);
        if (s == NULL || !s->decided || !s->have_final || !bft_may_issue(r, r->issued + 1))
            return;
        issue(r, s);
        r->at_checkpoint = r->issued % r->config.checkpoint_interval == 0;
    }
}

/* ---- shares of fast reads ------------------------------------------------------------------- */

/* Fast reads of the key that are at the executor. */
static struct bft_reader *
find_reader(struct bft_replica *r, const uint8_t *key)
{
    unsigned i = 0;
    while (i < r->nreaders && memcmp(r->readers[i].key, key, MSG_KEY_LEN) != 0)
        i++;
    return i < r->nreaders ? &r->readers[i] : NULL;
}

/* While others want something, the reads of a key take a quarter of the executor's line. */
static bool
may_query(struct bft_replica *r, const uint8_t *key)
{
    const struct bft_reader *reader = find_reader(r, key);
    uint32_t jobs = r->setup.limits.jobs;
    if (r->jobs >= jobs || (reader == NULL && r->nreaders == BFT_READERS))
        return false;
    return reader == NULL || reader->jobs < C2_MAX(jobs / 4, 1) || !bft_is_contended(r, key);
}

static void
query_begins(struct bft_replica *r, const uint8_t *key)
{
    struct bft_reader *reader = find_reader(r, key);
    if (reader == NULL) {
        reader = &r->readers[r->nreaders++];
        *reader = (struct bft_reader){ 0 };
        memcpy(reader->key, key, MSG_KEY_LEN);
    }
    reader->jobs++;
}

static void
query_ends(struct bft_replica *r, const uint8_t *key)
{
    struct bft_reader *reader = find_reader(r, key);
    C2_ASSERT(reader != NULL);
    if (--reader->jobs == 0)
        *reader = r->readers[--r->nreaders];
}

/* Too many of one key wait. */
static bool
is_greedy(const struct bft_replica *r, const uint8_t *key)
{
    size_t most = r->setup.limits.reads / 4;
    size_t count = 0;
    if (r->reads.count < most || !bft_is_contended(r, key))
        return false;
    C2_LIST_FOREACH (&r->reads, struct bft_read, w, link)
        count += memcmp(w->key, key, MSG_KEY_LEN) == 0;
    return count >= most;
}

/* ---- results --------------------------------------------------------------------------------- */

static void
executed(struct bft_replica *r, const struct bft_job *job)
{
    C2_ASSERT(job->n == r->executed + 1);
    size_t from = 0;
    for (uint32_t i = 0; i < job->ncommands; i++) {
        const struct bft_command *c = &job->commands[i];
        struct answer a = { .session = c->session, .cseq = c->cseq, .n = job->n };
        a.result = c2_slice(job->out.data + from, job->out_end[i] - from);
        a.code = a.result.len > 0 ? MSG_OK : MSG_RESULT_GONE;
        from = job->out_end[i];
        bft_note_key(r, c->key);
        struct bft_session *s = bft_session_find(r, c->session);
        struct bft_answer *kept =
            s != NULL && !c->query ? bft_session_find_answer(s, c->cseq) : NULL;
        if (kept != NULL && kept->pending)
            bft_session_answer(s, kept, a.code, a.result);
        send_answer(r, c->key, 0, &a);
    }
    r->executed = job->n;
    r->due = job->due;
}

static void
answer_read(struct bft_replica *r, const struct bft_job *job, uint8_t code)
{
    struct msg_head h = bft_head(r, MSG_READ_REPLY);
    struct msg_read_reply m = { .view = r->view, .rseq = job->rseq, .code = code };
    if (code == MSG_OK) {
        m.version = job->version;
        m.result = c2_buf_slice(&job->out);
        m.has_result = job->full;
        r->count.fast_reads++;
    } else {
        r->count.fast_reads_refused++;
    }
    c2_sha256(m.result, m.digest);
    c2_buf_clear(&r->scratch);
    msg_write_read_reply(&r->scratch, &h, &m);
    struct c2_blob *blob = bft_take_scratch(r);
    bft_reply_to(r, job->conn, blob);
    c2_blob_unref(blob);
}

void
bft_on_job(struct bft_replica *r, struct bft_job *job)
{
    C2_ASSERT(r->jobs > 0);
    r->jobs--;
    if (job->kind == BFT_JOB_QUERY)
        query_ends(r, job->key);
    if (r->mode == BFT_HALTED) {
        bft_job_free(job);
        return;
    }
    switch (job->kind) {
    case BFT_JOB_LOAD:
        bft_load_state(r, job);
        break;
    case BFT_JOB_EXECUTE:
        if (!r->syncing)
            executed(r, job);
        break;
    case BFT_JOB_CHECKPOINT:
        if (!r->syncing)
            bft_checkpointed(r, job);
        break;
    case BFT_JOB_COMMIT:
        if (!r->syncing && job->finished)
            bft_committed(r, job->n);
        break;
    case BFT_JOB_QUERY:
        answer_read(r, job, r->syncing ? MSG_RETRY : MSG_OK);
        break;
    case BFT_JOB_SERVE:
        bft_served(r, job);
        break;
    case BFT_JOB_SYNC:
        bft_synced(r, job);
        break;
    }
    bft_job_free(job);
}

/* ---- fast reads ------------------------------------------------------------------------------ */

static void
query(struct bft_replica *r, struct c2_blob *blob, uint64_t conn, const uint8_t *key)
{
    struct msg_read m;
    enum c2_err err = msg_read_read(c2_blob_slice(blob), &m);
    C2_ASSERT(err == C2_E_OK);
    struct bft_job *job = bft_job_new(BFT_JOB_QUERY);
    job->body = c2_blob_ref(blob);
    job->in = m.op;
    job->full = m.full;
    job->conn = conn;
    memcpy(job->key, key, MSG_KEY_LEN);
    job->rseq = m.rseq;
    query_begins(r, key);
    bft_give_job(r, job);
}

static void
refuse_read(struct bft_replica *r, uint64_t conn, uint64_t rseq)
{
    struct bft_job job = { .conn = conn, .rseq = rseq };
    answer_read(r, &job, MSG_RETRY);
}

/* Who has executed the last batch of an epoch answers no fast read in it any more: the others may
 * be in the next one already, with enough new members to decide without this replica. f + 1
 * correct replicas have executed it before anybody can be there. */
static bool
may_read(const struct bft_replica *r)
{
    return r->mode == BFT_RUNNING && !bft_epoch_is_old(r) &&
           (r->next_boundary == 0 || r->issued < r->next_boundary);
}

void
bft_on_read(struct bft_replica *r, uint64_t conn, const uint8_t *key, struct c2_blob *blob)
{
    struct msg_read m;
    if (msg_read_read(c2_blob_slice(blob), &m) != C2_E_OK) {
        r->count.dropped++;
        return;
    }
    bft_note_key(r, key);
    if (!may_read(r) || r->reads.count >= r->setup.limits.reads || is_greedy(r, key) ||
        r->reads_bytes + blob->len > r->setup.limits.requests_bytes / 8) {
        refuse_read(r, conn, m.rseq);
        return;
    }
    if (r->issued >= r->committed_to && may_query(r, key)) {
        query(r, blob, conn, key);
        return;
    }
    C2_MARK("bft: a fast read waits");
    struct bft_read *w = c2_calloc(1, sizeof *w);
    w->conn = conn;
    w->rseq = m.rseq;
    memcpy(w->key, key, MSG_KEY_LEN);
    w->needs = r->committed_to;
    w->deadline_ns = r->now_ns + r->setup.timing.read_ns;
    w->msg = c2_blob_ref(blob);
    r->reads_bytes += blob->len;
    c2_list_append(&r->reads, &w->link);
}

static void
read_free(struct bft_replica *r, struct bft_read *w)
{
    c2_list_remove(&r->reads, &w->link);
    r->reads_bytes -= w->msg->len;
    c2_blob_unref(w->msg);
    c2_free(w);
}

void
bft_reads_step(struct bft_replica *r)
{
    C2_LIST_FOREACH (&r->reads, struct bft_read, w, link) {
        bool running = may_read(r);
        if (running && r->issued >= w->needs && may_query(r, w->key)) {
            query(r, w->msg, w->conn, w->key);
        } else if (!running || r->now_ns >= w->deadline_ns) {
            refuse_read(r, w->conn, w->rseq);
        } else {
            continue;
        }
        read_free(r, w);
    }
}

uint64_t
bft_reads_deadline(const struct bft_replica *r)
{
    const struct bft_read *w = C2_LIST_FIRST(&r->reads, struct bft_read, link);
    return w != NULL ? w->deadline_ns : C2_NEVER;
}

void
bft_reads_free(struct bft_replica *r)
{
    while (!c2_list_empty(&r->reads))
        read_free(r, C2_LIST_FIRST(&r->reads, struct bft_read, link));
}
