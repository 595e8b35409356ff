/* SPDX-License-Identifier: MIT */
/*
 * Applies commands. One command at time t:
 *
 *   1. t = max(t, the state's clock)
 *   2. sessions with deadline <= t end: one step, version + 1, logged as an EXPIRE command; of very
 *      many the rest at the next time (it is dead until then, but has its keys): nobody waits long
 *   3. the command itself: on success version + 1, clock = t, logged; on failure nothing changes
 *
 * Invariants: version and clock never go down, and change only together with the log; a failed
 * command leaves no trace, so that the state is a function of the logged commands and their times.
 * Operations of a transaction are done in order and undone in reverse when a later one fails.
 */
#include "metadata/store_int.h"

#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"

static const char format_key[] = "format";

/* --- transactions ---------------------------------------------------------------------------- */

/* NOT_FOUND: it is not alive; also when it is still to be ended. */
static C2_RESULT
get_alive(struct store_batch *b, uint64_t id, struct store_session *ret_session)
{
    C2_TRY(store_get_session(b->txn, id, ret_session));
    return ret_session->deadline_ns > b->now_ns ? C2_E_OK : C2_E_NOT_FOUND;
}

/* Whether the condition holds; the state of its key for the answer. */
static C2_RESULT
check_cond(struct store_batch *b, const struct coord_cond *c, bool *ret_holds,
           struct coord_entry *ret_now)
{
    if (c->kind == COORD_SESSION_ALIVE) {
        struct store_session s;
        enum c2_err err = get_alive(b, c->number, &s);
        *ret_holds = err == C2_E_OK;
        return err == C2_E_NOT_FOUND ? C2_E_OK : err;
    }
    struct store_entry e = { 0 };
    enum c2_err err = store_get(b->txn, c->key, &e);
    bool present = err == C2_E_OK;
    if (!present && err != C2_E_NOT_FOUND)
        return err;
    *ret_now = (struct coord_entry){ c->key, e.value, e.version, e.session };
    switch (c->kind) {
    case COORD_EXISTS:
        *ret_holds = present;
        break;
    case COORD_ABSENT:
        *ret_holds = !present;
        break;
    case COORD_VERSION_EQ:
        *ret_holds = e.version == c->number;
        break;
    case COORD_VERSION_LE:
        *ret_holds = e.version <= c->number;
        break;
    case COORD_VALUE_EQ:
        *ret_holds = present && c2_slice_equal(e.value, c->value);
        break;
    case COORD_SESSION_ALIVE:
        C2_UNREACHABLE();
    }
    return C2_E_OK;
}

/* Appends the state of each failed condition's key; head->err = CONFLICT when there is one. */
static C2_RESULT
check_conds(struct store_batch *b, const struct coord_req *r, struct c2_buf *reply,
            struct cmd_reply *head)
{
    size_t at = reply->len;
    for (size_t i = 0; i < r->nconds; i++) {
        bool holds = false;
        struct coord_entry now = { 0 };
        C2_TRY(check_cond(b, &r->conds[i], &holds, &now));
        if (holds)
            continue;
        if (head->err == C2_E_OK) {
            head->err = C2_E_CONFLICT;
            head->cond_failed = i;
        }
        if (now.key.len == 0)
            continue;
        if (head->more || reply->len - at + now.value.len + 1024 > COORD_REPLY_BYTES_MAX) {
            head->more = true;
            continue;
        }
        cmd_reply_entry(reply, &now);
        head->nentries++;
    }
    return C2_E_OK;
}

static C2_RESULT
set_key(struct store_batch *b, struct c2_slice key, uint64_t session, struct c2_slice value)
{
    struct store_entry e = { .version = b->step, .session = session, .value = value };
    C2_TRY(store_change(b, key, &e));
    store_event(b, key, false);
    return C2_E_OK;
}

static C2_RESULT
delete_key(struct store_batch *b, struct c2_slice key)
{
    struct store_entry e;
    enum c2_err err = store_get(b->txn, key, &e);
    if (err == C2_E_NOT_FOUND)
        return C2_E_OK;
    C2_TRY(err);
    C2_TRY(store_change(b, key, NULL));
    store_event(b, key, true);
    return C2_E_OK;
}

static C2_RESULT
delete_range(struct store_batch *b, struct c2_slice prefix)
{
    for (size_t n = 0; b->verdict == C2_E_OK; n++) {
        struct c2_slice key;
        struct c2_slice record;
        uint8_t copy[COORD_KEY_MAX];
        enum c2_err err = kv_seek(b->txn, KV_DATA, prefix, &key, &record);
        if (err == C2_E_NOT_FOUND || (err == C2_E_OK && !c2_slice_starts_with(key, prefix)))
            return C2_E_OK;
        C2_TRY(err);
        if (key.len > sizeof copy)
            return C2_E_DAMAGED;
        if (n == COORD_DELETE_RANGE_MAX) {
            b->verdict = C2_E_TOO_LARGE;
            return C2_E_OK;
        }
        memcpy(copy, key.data, key.len);
        C2_TRY(delete_key(b, c2_slice(copy, key.len)));
    }
    return C2_E_OK;
}

static C2_RESULT
add(struct store_batch *b, const struct coord_op *o)
{
    struct store_entry e = { 0 };
    enum c2_err err = store_get(b->txn, o->key, &e);
    if (err != C2_E_OK && err != C2_E_NOT_FOUND)
        return err;
    if (err == C2_E_OK && e.value.len != 8) {
        b->verdict = C2_E_INVALID;
        return C2_E_OK;
    }
    int64_t sum = err == C2_E_OK ? (int64_t)c2_get_u64(e.value.data) : 0;
    if (__builtin_add_overflow(sum, o->number, &sum)) {
        b->verdict = C2_E_RANGE;
        return C2_E_OK;
    }
    uint8_t value[8];
    c2_put_u64(value, (uint64_t)sum);
    return set_key(b, o->key, e.session, c2_slice(value, sizeof value));
}

/* The session; SESSION in the verdict when it is not alive, or belongs to somebody else. */
static C2_RESULT
get_session(struct store_batch *b, uint64_t id, struct store_session *ret_session)
{
    bool is_of = false;
    C2_TRY(store_session_is_of(b->txn, b->by, id, &is_of));
    enum c2_err err = is_of ? get_alive(b, id, ret_session) : C2_E_NOT_FOUND;
    if (err != C2_E_NOT_FOUND)
        return err;
    b->verdict = C2_E_SESSION;
    return C2_E_OK;
}

static C2_RESULT
put_ephemeral(struct store_batch *b, const struct coord_op *o)
{
    struct store_session s = { 0 };
    uint64_t id = (uint64_t)o->number;
    C2_TRY(get_session(b, id, &s));
    if (b->verdict != C2_E_OK)
        return C2_E_OK;
    if (s.nkeys >= COORD_EPHEMERALS_MAX) {
        struct store_entry e = { 0 };
        enum c2_err err = store_get(b->txn, o->key, &e);
        if (err == C2_E_NOT_FOUND || (err == C2_E_OK && e.session != id)) {
            b->verdict = C2_E_QUOTA;
            return C2_E_OK;
        }
        C2_TRY(err);
    }
    return set_key(b, o->key, id, o->value);
}

static C2_RESULT
do_op(struct store_batch *b, const struct coord_op *o)
{
    switch (o->kind) {
    case COORD_PUT:
        return set_key(b, o->key, 0, o->value);
    case COORD_DELETE:
        return delete_key(b, o->key);
    case COORD_DELETE_RANGE:
        return delete_range(b, o->key);
    case COORD_ADD:
        return add(b, o);
    case COORD_PUT_EPHEMERAL:
        return put_ephemeral(b, o);
    }
    C2_UNREACHABLE(); /* cmd_decode lets nothing else through */
}

static C2_RESULT
undo(struct store_batch *b)
{
    b->keep_undo = false;
    for (size_t left = b->undo.len / sizeof(struct store_undo); left > 0; left--) {
        struct store_undo u;
        memcpy(&u, b->undo.data + (left - 1) * sizeof u, sizeof u);
        const uint8_t *bytes = b->undo_bytes.data + u.at;
        struct store_entry e = { u.version, u.session, c2_slice(bytes + u.key_len, u.value_len) };
        C2_TRY(store_change(b, c2_slice(bytes, u.key_len), u.present ? &e : NULL));
    }
    return C2_E_OK;
}

static C2_RESULT
apply_txn(struct store_batch *b, const struct coord_req *r)
{
    size_t events = b->base.events.len;
    bool events_lost = b->base.events_lost;
    c2_buf_clear(&b->undo);
    c2_buf_clear(&b->undo_bytes);
    b->keep_undo = true;
    for (size_t i = 0; i < r->nops && b->verdict == C2_E_OK; i++)
        C2_TRY(do_op(b, &r->ops[i]));
    if (b->verdict != C2_E_OK) {
        b->base.events.len = events;
        b->base.events_lost = events_lost;
        C2_TRY(undo(b));
    }
    b->keep_undo = false;
    return C2_E_OK;
}

/* --- sessions -------------------------------------------------------------------------------- */

static C2_RESULT
open_session(struct store_batch *b, uint64_t ttl_ns, uint64_t now_ns)
{
    if (b->state.nsessions >= COORD_SESSIONS_MAX) {
        b->verdict = C2_E_QUOTA;
        return C2_E_OK;
    }
    struct store_session s = { .ttl_ns = ttl_ns, .deadline_ns = store_deadline(now_ns, ttl_ns) };
    C2_TRY(store_own_session(b, b->step));
    return b->verdict == C2_E_OK ? store_put_session(b, b->step, &s) : C2_E_OK;
}

static C2_RESULT
keepalive(struct store_batch *b, uint64_t id, uint64_t now_ns)
{
    struct store_session s = { 0 };
    C2_TRY(get_session(b, id, &s));
    if (b->verdict != C2_E_OK)
        return C2_E_OK;
    s.deadline_ns = store_deadline(now_ns, s.ttl_ns);
    return store_put_session(b, id, &s);
}

static C2_RESULT
close_session(struct store_batch *b, uint64_t id)
{
    struct store_session s = { 0 };
    C2_TRY(get_session(b, id, &s));
    return b->verdict == C2_E_OK ? store_end_session(b, id) : C2_E_OK;
}

/* --- steps ----------------------------------------------------------------------------------- */

/* Makes a step that succeeded part of the history. */
static C2_RESULT
take_step(struct store_batch *b, uint64_t now_ns, struct c2_slice cmd)
{
    C2_ASSERT(b->step == b->state.version + 1 && now_ns >= b->state.now_ns);
    b->state.version = b->step;
    b->state.now_ns = now_ns;
    b->base.version = b->step;
    b->changed = true;
    return store_log_append(b, cmd);
}

static C2_RESULT
expire(struct store_batch *b, uint64_t now_ns)
{
    bool any = false;
    uint64_t before = b->base.work;
    if (now_ns == b->state.now_ns)
        return C2_E_OK; /* what could end at this time has */
    b->step = b->state.version + 1;
    for (;;) {
        uint64_t deadline_ns = 0;
        uint64_t id = 0;
        C2_TRY(store_next_deadline(b->txn, &deadline_ns, &id));
        b->base.due = deadline_ns <= now_ns;
        if (!b->base.due || b->base.work - before >= STORE_EXPIRE_MAX)
            break;
        C2_TRY(store_end_session(b, id));
        any = true;
    }
    if (!any)
        return C2_E_OK;
    struct coord_req r = { .verb = COORD_EXPIRE };
    C2_AUTO(c2_buf_done) struct c2_buf cmd = { 0 };
    coord_txn_encode(&r, &cmd);
    return take_step(b, now_ns, c2_buf_slice(&cmd));
}

/* What the verb does; the verdict says whether it did. */
static C2_RESULT
change_state(struct store_batch *b, const struct coord_req *r, uint64_t now_ns)
{
    switch (r->verb) {
    case COORD_TXN:
        return apply_txn(b, r);
    case COORD_SESSION_OPEN:
        return open_session(b, r->ttl_ns, now_ns);
    case COORD_SESSION_KEEPALIVE:
        return keepalive(b, r->session, now_ns);
    case COORD_SESSION_CLOSE:
        return close_session(b, r->session);
    case COORD_ACL_SET:
        return store_acl_set(b, r);
    case COORD_GET:
    case COORD_RANGE:
    case COORD_LOG_READ:
    case COORD_LOG_TRIM:
    case COORD_EXPIRE:
    case COORD_ACL_LIST:
        break;
    }
    b->verdict = C2_E_INVALID; /* reading commands are not ordered */
    return C2_E_OK;
}

static C2_RESULT
trim(struct store_batch *b, uint64_t upto, struct cmd_reply *head)
{
    if (upto > b->state.version) {
        head->err = C2_E_INVALID;
        return C2_E_OK;
    }
    b->changed = true;
    return store_log_trim(b, upto, &head->more);
}

/* The command as a step of its own, if its conditions hold. */
static C2_RESULT
try_step(struct store_batch *b, struct c2_slice cmd, uint64_t now_ns, struct c2_buf *reply,
         struct cmd_reply *head)
{
    const struct coord_req *r = &b->cmd.req;
    C2_TRY(check_conds(b, r, reply, head));
    if (head->err != C2_E_OK)
        return C2_E_OK;
    C2_TRY(change_state(b, r, now_ns));
    head->err = b->verdict;
    head->session = r->verb == COORD_SESSION_OPEN ? b->step
                    : r->verb == COORD_ACL_SET    ? b->base.acl
                                                  : r->session;
    return head->err == C2_E_OK ? take_step(b, now_ns, cmd) : C2_E_OK;
}

static C2_RESULT
apply_decoded(struct store_batch *b, struct c2_slice cmd, uint64_t now_ns, struct c2_buf *reply)
{
    const struct coord_req *r = &b->cmd.req;
    size_t at = cmd_reply_begin(reply);
    struct cmd_reply head = { .err = C2_E_OK };
    b->step = b->state.version + 1;
    b->verdict = C2_E_OK;
    C2_TRY(store_acl_check(b->store, b->txn, b->by, r, &head.err));
    if (head.err == C2_E_OK && r->verb == COORD_LOG_TRIM)
        C2_TRY(trim(b, r->version_in, &head));
    else if (head.err == C2_E_OK && r->verb == COORD_ACL_LIST)
        C2_TRY(store_acl_list(b->txn, b->by, r, reply, &head));
    else if (head.err == C2_E_OK && r->verb != COORD_EXPIRE)
        C2_TRY(try_step(b, cmd, now_ns, reply, &head));
    head.version = b->state.version;
    cmd_reply_end(reply, at, &head, c2_slice(NULL, 0));
    return C2_E_OK;
}

static C2_RESULT
store_apply(struct replica_batch *base, uint64_t time_ns, const struct replica_client *by,
            struct c2_slice cmd, struct c2_buf *reply)
{
    struct store_batch *b = batch_of(base);
    C2_ASSERT(b->txn != NULL);
    b->by = by;
    if (b->state.loading)
        return C2_E_UNAVAILABLE;
    uint64_t now_ns = C2_MAX(time_ns, b->state.now_ns);
    b->now_ns = now_ns;
    C2_TRY(expire(b, now_ns));
    enum c2_err err = cmd_decode(cmd, &b->cmd);
    if (err != C2_E_OK) {
        struct cmd_reply head = { .version = b->state.version };
        head.err = err == C2_E_PARSE ? C2_E_PROTOCOL : err;
        cmd_reply_plain(reply, &head);
        return C2_E_OK;
    }
    return apply_decoded(b, cmd, now_ns, reply);
}

/* --- batches --------------------------------------------------------------------------------- */

C2_RESULT
store_batch_begin(struct store *s, struct store_batch **ret_batch)
{
    struct kv_txn *txn = NULL;
    C2_TRY(kv_begin(s->kv, true, &txn));
    struct store_batch *b = c2_calloc(1, sizeof *b);
    b->base.app = &s->app;
    b->store = s;
    b->txn = txn;
    enum c2_err err = store_read_state(txn, &b->state);
    if (err == C2_E_OK)
        err = store_acl_changes(txn, &b->base.acl);
    if (err != C2_E_OK) {
        s->app.ops->end(&b->base);
        return err;
    }
    b->base.version = b->state.version;
    *ret_batch = b;
    return C2_E_OK;
}

static C2_RESULT
store_begin(struct replica_app *a, struct replica_batch **ret_batch)
{
    struct store_batch *b = NULL;
    C2_TRY(store_batch_begin(store_of(a), &b));
    *ret_batch = &b->base;
    return C2_E_OK;
}

static C2_RESULT
store_commit(struct replica_batch *base)
{
    struct store_batch *b = batch_of(base);
    C2_ASSERT(b->txn != NULL);
    uint64_t session = 0;
    C2_TRY(store_next_deadline(b->txn, &base->deadline_ns, &session));
    if (b->changed)
        C2_TRY(store_write_state(b->txn, &b->state));
    struct kv_txn *txn = b->txn;
    b->txn = NULL;
    base->durable = b->changed;
    if (b->changed)
        return kv_commit(txn);
    kv_abort(txn);
    return C2_E_OK;
}

static void
store_end(struct replica_batch *base)
{
    if (base == NULL)
        return;
    struct store_batch *b = batch_of(base);
    kv_abort(b->txn);
    cmd_done(&b->cmd);
    c2_buf_done(&b->undo);
    c2_buf_done(&b->undo_bytes);
    c2_buf_done(&base->events);
    c2_free(b);
}

/* --- opening --------------------------------------------------------------------------------- */

static C2_RESULT
store_clock(struct replica_app *a, uint64_t *ret_now_ns, uint64_t *ret_deadline_ns)
{
    struct kv_txn *txn = NULL;
    C2_TRY(kv_begin(store_of(a)->kv, false, &txn));
    struct store_state s;
    uint64_t session = 0;
    enum c2_err err = store_read_state(txn, &s);
    if (err == C2_E_OK)
        err = store_next_deadline(txn, ret_deadline_ns, &session);
    if (err == C2_E_OK)
        *ret_now_ns = s.now_ns;
    kv_abort(txn);
    return err;
}

static C2_RESULT
store_grow(struct replica_app *a)
{
    return kv_grow(store_of(a)->kv);
}

static void
store_close(struct replica_app *a)
{
    struct store *s = store_of(a);
    store_fetch_free(s);
    store_merge_free(s->merge);
    store_acl_forget(s);
    kv_close(s->kv);
    c2_free(s);
}

static const struct replica_app_ops store_ops = {
    .begin = store_begin,
    .apply = store_apply,
    .commit = store_commit,
    .end = store_end,
    .read = store_read,
    .acl = store_acl,
    .put_system = store_put_system,
    .digest = store_digest,
    .query = store_query,
    .clock = store_clock,
    .checkpoint = store_checkpoint,
    .dump = store_dump,
    .restore = store_restore,
    .list_system = store_list_system,
    .part = store_part,
    .fetch_begin = store_fetch_begin,
    .fetch_want = store_fetch_want,
    .fetch_put = store_fetch_put,
    .grow = store_grow,
    .close = store_close,
};

/* Writes the first records of a new store, or reads those of an old one. */
static C2_RESULT
check_format(struct kv_txn *txn, bool create, struct store_state *ret_state)
{
    struct c2_slice record;
    enum c2_err err = kv_get(txn, KV_META, c2_slice_str(format_key), &record);
    if (err == C2_E_OK && create)
        return C2_E_EXISTS;
    if (err == C2_E_NOT_FOUND && create) {
        uint8_t format[4];
        c2_put_u32(format, STORE_FORMAT);
        *ret_state = (struct store_state){ 0 };
        C2_TRY(kv_put(txn, KV_META, c2_slice_str(format_key), c2_slice(format, sizeof format)));
        return store_write_state(txn, ret_state);
    }
    C2_TRY(err);
    if (record.len != 4)
        return C2_E_DAMAGED;
    if (c2_get_u32(record.data) != STORE_FORMAT)
        return C2_E_VERSION;
    C2_TRY(store_read_state(txn, ret_state));
    return ret_state->loading ? C2_E_CONFLICT : C2_E_OK;
}

static C2_RESULT
prepare(struct kv *kv, const char *path, const struct store_options *o, char **ret_error)
{
    bool create = o->create;
    struct kv_txn *txn = NULL;
    struct store_state state;
    enum c2_err err = kv_begin(kv, create, &txn);
    if (err == C2_E_OK)
        err = check_format(txn, create, &state);
    if (err == C2_E_CONFLICT && o->replicated)
        err = C2_E_OK; /* the fetch goes on */
    if (err == C2_E_OK && create) {
        err = kv_commit(txn);
        txn = NULL;
    }
    kv_abort(txn);
    if (err == C2_E_EXISTS) {
        *ret_error = c2_asprintf("%s already holds a metadata store", path);
    } else if (err == C2_E_NOT_FOUND) {
        *ret_error = c2_asprintf("there is no metadata store in %s", path);
    } else if (err == C2_E_VERSION) {
        *ret_error = c2_asprintf("the metadata store in %s was made by a newer version", path);
    } else if (err == C2_E_CONFLICT) {
        *ret_error = c2_asprintf(
            "a restore into %s was interrupted; remove the folder and restore again", path);
        err = C2_E_DAMAGED;
    } else if (err != C2_E_OK) {
        *ret_error =
            c2_asprintf("cannot read the metadata store in %s: %s", path, c2_err_text(err));
    }
    return err;
}

C2_RESULT
store_open(const char *path, const struct store_options *o, struct replica_app **ret_app,
           char **ret_error)
{
    struct kv *kv = NULL;
    C2_TRY(kv_open(path, o->map_size, o->create, &kv, ret_error));
    enum c2_err err = prepare(kv, path, o, ret_error);
    if (err != C2_E_OK) {
        kv_close(kv);
        return err;
    }
    struct store *s = c2_calloc(1, sizeof *s);
    s->app.ops = &store_ops;
    s->kv = kv;
    s->keep_log = o->keep_log;
    s->replicated = o->replicated;
    s->rights_of = UINT64_MAX;
    s->limits = o->fetch;
    *ret_app = &s->app;
    return C2_E_OK;
}
