/* SPDX-License-Identifier: MIT */
/*
 * Reading commands, answered from a snapshot.
 */
#include "metadata/store_int.h"

#include <string.h>

/* What an entry takes in an answer beyond key and value. */
#define ENTRY_OVERHEAD 24

struct question {
    const struct replica_client *by;
    struct cmd cmd;
};

static bool
fits(const struct c2_buf *reply, size_t at, const struct coord_entry *e)
{
    return reply->len - at + e->key.len + e->value.len + ENTRY_OVERHEAD <= COORD_REPLY_BYTES_MAX;
}

static C2_RESULT
read_keys(struct kv_txn *txn, const struct coord_req *r, struct c2_buf *reply, size_t at,
          struct cmd_reply *head)
{
    for (size_t i = 0; i < r->nkeys; i++) {
        struct coord_entry out = { .key = r->keys[i] };
        struct store_entry e;
        enum c2_err err = store_get(txn, r->keys[i], &e);
        if (err == C2_E_OK) {
            out.value = e.value;
            out.version = e.version;
            out.session = e.session;
        } else if (err != C2_E_NOT_FOUND) {
            return err;
        }
        if (!fits(reply, at, &out)) {
            head->err = C2_E_TOO_LARGE;
            return C2_E_OK;
        }
        cmd_reply_entry(reply, &out);
        head->nentries++;
    }
    return C2_E_OK;
}

static C2_RESULT
read_range(struct kv_txn *txn, const struct coord_req *r, struct c2_buf *reply, size_t at,
           struct cmd_reply *head)
{
    struct c2_slice prefix = r->keys[0];
    size_t limit = r->limit == 0 ? COORD_RANGE_MAX : r->limit;
    bool resume = c2_slice_compare(r->after, prefix) >= 0 && r->after.len > 0;
    struct c2_slice key;
    struct c2_slice record;
    enum c2_err err = kv_seek(txn, KV_DATA, resume ? r->after : prefix, &key, &record);
    if (err == C2_E_OK && resume && c2_slice_equal(key, r->after))
        err = kv_next(txn, KV_DATA, &key, &record);
    while (err == C2_E_OK && c2_slice_starts_with(key, prefix) &&
           key.data[0] != REPLICA_SYSTEM_KEY) {
        struct store_entry e;
        C2_TRY(store_parse_entry(record, &e));
        struct coord_entry out = { key, e.value, e.version, e.session };
        if (head->nentries == limit || !fits(reply, at, &out)) {
            head->more = true;
            return C2_E_OK;
        }
        cmd_reply_entry(reply, &out);
        head->nentries++;
        err = kv_next(txn, KV_DATA, &key, &record);
    }
    return err == C2_E_NOT_FOUND ? C2_E_OK : err;
}

static C2_RESULT
answer_log(struct kv_txn *txn, const struct coord_req *r, const struct store_state *s,
           struct c2_buf *reply, struct cmd_reply *head)
{
    if (r->version_in < s->trimmed) {
        head->err = C2_E_NOT_FOUND;
        cmd_reply_plain(reply, head);
        return C2_E_OK;
    }
    struct c2_buf log = { 0 };
    enum c2_err err = store_log_read(txn, r, &log, &head->more);
    if (err == C2_E_OK)
        cmd_reply_end(reply, cmd_reply_begin(reply), head, c2_buf_slice(&log));
    c2_buf_done(&log);
    return err;
}

static C2_RESULT
answer_entries(struct kv_txn *txn, const struct replica_client *by, const struct coord_req *r,
               struct c2_buf *reply, struct cmd_reply *head)
{
    size_t at = cmd_reply_begin(reply);
    if (r->verb == COORD_GET) {
        C2_TRY(read_keys(txn, r, reply, at, head));
    } else if (r->verb == COORD_ACL_LIST) {
        C2_TRY(store_acl_list(txn, by, r, reply, head));
    } else {
        C2_TRY(read_range(txn, r, reply, at, head));
    }
    if (head->err != C2_E_OK) { /* an answer cut in the middle is none */
        head->nentries = 0;
        reply->len = at;
        cmd_reply_plain(reply, head);
        return C2_E_OK;
    }
    cmd_reply_end(reply, at, head, c2_slice(NULL, 0));
    return C2_E_OK;
}

static C2_RESULT
answer(struct store *store, struct kv_txn *txn, const struct store_state *s, struct question *q,
       struct c2_buf *reply)
{
    const struct replica_client *by = q->by;
    const struct coord_req *r = &q->cmd.req;
    if (s->loading)
        return C2_E_UNAVAILABLE;
    struct cmd_reply head = { .version = s->version };
    C2_TRY(store_acl_check(store, txn, by, r, &head.err));
    if (head.err != C2_E_OK) {
        cmd_reply_plain(reply, &head);
        return C2_E_OK;
    }
    switch (r->verb) {
    case COORD_GET:
    case COORD_RANGE:
    case COORD_ACL_LIST:
        return answer_entries(txn, by, r, reply, &head);
    case COORD_LOG_READ:
        return answer_log(txn, r, s, reply, &head);
    case COORD_TXN:
    case COORD_ACL_SET:
    case COORD_SESSION_OPEN:
    case COORD_SESSION_KEEPALIVE:
    case COORD_SESSION_CLOSE:
    case COORD_LOG_TRIM:
    case COORD_EXPIRE:
        break;
    }
    head.err = C2_E_INVALID; /* changes the state: must be ordered */
    cmd_reply_plain(reply, &head);
    return C2_E_OK;
}

/* Decodes the command; a malformed one has its answer, and *ret_ok is false. */
static void
decode(struct c2_slice cmd, struct cmd *c, struct c2_buf *reply, bool *ret_ok)
{
    enum c2_err err = cmd_decode(cmd, c);
    *ret_ok = err == C2_E_OK;
    if (err == C2_E_OK)
        return;
    cmd_done(c);
    struct cmd_reply head = { .err = err == C2_E_PARSE ? C2_E_PROTOCOL : err };
    cmd_reply_plain(reply, &head);
}

C2_RESULT
store_read(struct replica_batch *base, const struct replica_client *by, struct c2_slice cmd,
           struct c2_buf *reply)
{
    struct store_batch *b = batch_of(base);
    struct question q = { .by = by };
    bool ok = false;
    size_t len = reply->len;
    decode(cmd, &q.cmd, reply, &ok);
    if (!ok)
        return C2_E_OK;
    enum c2_err err = answer(b->store, b->txn, &b->state, &q, reply);
    if (err != C2_E_OK)
        reply->len = len;
    cmd_done(&q.cmd);
    return err;
}

C2_RESULT
store_query(struct replica_app *a, const struct replica_client *by, struct c2_slice cmd,
            struct c2_buf *reply)
{
    struct question q = { .by = by };
    struct kv_txn *txn = NULL;
    struct store_state s;
    bool ok = false;
    size_t len = reply->len;
    decode(cmd, &q.cmd, reply, &ok);
    if (!ok)
        return C2_E_OK;
    enum c2_err err = kv_begin(store_of(a)->kv, false, &txn);
    if (err == C2_E_OK)
        err = store_read_state(txn, &s);
    if (err == C2_E_OK)
        err = answer(store_of(a), txn, &s, &q, reply);
    if (err != C2_E_OK)
        reply->len = len;
    kv_abort(txn);
    cmd_done(&q.cmd);
    return err;
}
