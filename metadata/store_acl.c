/* SPDX-License-Identifier: MIT */
/*
 * Who may do what: an access control list, and to whom sessions belong. Both are keys of the
 * service's own, so they are part of the digest, of dumps and of transfers like all others.
 *
 *   0xff 'A' prefix       grants, COORD_GRANT_LEN bytes each, ascending
 *   0xff 'G'              u64 changes of the list so far
 *   0xff 'O' session      the principal that opened it; session big-endian
 *   0xff 'P' principal    u32 sessions that it has
 *
 * A session without owner was opened before sessions had owners, or by the process that has the
 * store: everybody may use it.
 */
#include <string.h>

#include "base/wire.h"
#include "metadata/store_int.h"

#define ENTRY_OVERHEAD 24 /* of an entry in an answer, beyond key and value */

struct own_key {
    uint8_t bytes[COORD_KEY_MAX];
    size_t len;
};

static struct c2_slice
own_key(struct own_key *k, char kind, struct c2_slice rest)
{
    k->bytes[0] = REPLICA_SYSTEM_KEY;
    k->bytes[1] = (uint8_t)kind;
    C2_ASSERT(rest.len + 2 <= sizeof k->bytes);
    if (rest.len > 0)
        memcpy(k->bytes + 2, rest.data, rest.len);
    k->len = rest.len + 2;
    return c2_slice(k->bytes, k->len);
}

/* Sets one of our keys in the running step, or removes it. */
static C2_RESULT
set_own(struct store_batch *b, struct c2_slice key, const struct c2_slice *value)
{
    struct store_entry e = { .version = b->step };
    if (value != NULL)
        e.value = *value;
    return store_change(b, key, value != NULL ? &e : NULL);
}

/* ---- the list -------------------------------------------------------------------------------- */

C2_RESULT
store_acl_changes(struct kv_txn *txn, uint64_t *ret_changes)
{
    struct own_key k;
    struct store_entry e;
    *ret_changes = 0;
    enum c2_err err = store_get(txn, own_key(&k, 'G', c2_slice(NULL, 0)), &e);
    if (err == C2_E_NOT_FOUND)
        return C2_E_OK;
    C2_TRY(err);
    if (e.value.len != 8)
        return C2_E_DAMAGED;
    *ret_changes = c2_get_u64(e.value.data);
    return C2_E_OK;
}

static C2_RESULT
read_list(struct kv_txn *txn, struct c2_buf *out)
{
    struct own_key k;
    struct c2_slice from = own_key(&k, 'A', c2_slice(NULL, 0));
    struct c2_slice key;
    struct c2_slice record;
    enum c2_err err = kv_seek(txn, KV_DATA, from, &key, &record);
    for (; err == C2_E_OK && c2_slice_starts_with(key, from);
         err = kv_next(txn, KV_DATA, &key, &record)) {
        struct store_entry e;
        C2_TRY(store_parse_entry(record, &e));
        c2_wr_bytes(out, c2_slice(key.data + 2, key.len - 2));
        c2_wr_bytes(out, e.value);
    }
    return err == C2_E_NOT_FOUND ? C2_E_OK : err;
}

C2_RESULT
store_acl(struct replica_batch *base, struct c2_buf *out)
{
    return read_list(batch_of(base)->txn, out);
}

void
store_acl_forget(struct store *s)
{
    rights_done(&s->rights);
    s->rights_of = UINT64_MAX;
}

/* Has the list of this transaction in s->rights. */
static C2_RESULT
load(struct store *s, struct kv_txn *txn)
{
    uint64_t changes = 0;
    C2_TRY(store_acl_changes(txn, &changes));
    if (changes == s->rights_of)
        return C2_E_OK;
    C2_AUTO(c2_buf_done) struct c2_buf list = { 0 };
    store_acl_forget(s);
    C2_TRY(read_list(txn, &list));
    C2_TRY(rights_load(&s->rights, c2_buf_slice(&list)));
    s->rights_of = changes;
    return C2_E_OK;
}

/* ---- checking -------------------------------------------------------------------------------- */

static bool
may_txn(const struct rights *t, const uint8_t *who, const struct coord_req *r)
{
    for (size_t i = 0; i < r->nconds; i++) {
        const struct coord_cond *c = &r->conds[i];
        if (c->kind != COORD_SESSION_ALIVE && (rights_of(t, who, c->key) & COORD_MAY_READ) == 0)
            return false;
    }
    for (size_t i = 0; i < r->nops; i++) {
        const struct coord_op *o = &r->ops[i];
        bool may = o->kind == COORD_DELETE_RANGE
                       ? rights_below(t, who, o->key, COORD_MAY_WRITE)
                       : (rights_of(t, who, o->key) & COORD_MAY_WRITE) != 0;
        if (!may)
            return false;
    }
    return true;
}

static bool
may_get(const struct rights *t, const uint8_t *who, const struct coord_req *r)
{
    for (size_t i = 0; i < r->nkeys; i++) {
        if ((rights_of(t, who, r->keys[i]) & COORD_MAY_READ) == 0)
            return false;
    }
    return true;
}

/* Whoever may administer, changes the grants of what is there; making and removing entries is for
 * the administrators of the service, so that nobody else can fill the list. */
static bool
may_set(const struct rights *t, const uint8_t *who, const struct coord_req *r)
{
    return r->ngrants > 0 && rights_find(t, r->keys[0]) != NULL &&
           (rights_of(t, who, r->keys[0]) & COORD_MAY_ADMINISTER) != 0;
}

static bool
may(const struct rights *t, const uint8_t *who, const struct coord_req *r)
{
    switch (r->verb) {
    case COORD_TXN:
        return may_txn(t, who, r);
    case COORD_GET:
        return may_get(t, who, r);
    case COORD_RANGE:
        return rights_below(t, who, r->keys[0], COORD_MAY_READ);
    case COORD_ACL_SET:
        return may_set(t, who, r);
    case COORD_SESSION_OPEN:
    case COORD_SESSION_KEEPALIVE:
    case COORD_SESSION_CLOSE:
    case COORD_ACL_LIST: /* shows what concerns the client */
        return true;
    case COORD_LOG_READ: /* of all keys */
    case COORD_LOG_TRIM:
    case COORD_EXPIRE:
        return t->n == 0;
    }
    C2_UNREACHABLE();
}

C2_RESULT
store_acl_check(struct store *s, struct kv_txn *txn, const struct replica_client *by,
                const struct coord_req *r, enum c2_err *ret_verdict)
{
    *ret_verdict = C2_E_OK;
    bool list = r->verb == COORD_ACL_SET || r->verb == COORD_ACL_LIST;
    if (by == NULL || by->admin) { /* what administrators sign is about the list alone */
        *ret_verdict = by == NULL || list ? C2_E_OK : C2_E_INVALID;
        return C2_E_OK;
    }
    C2_TRY(load(s, txn));
    if ((s->rights.n > 0 || r->verb == COORD_ACL_SET) && !may(&s->rights, by->key, r))
        *ret_verdict = C2_E_NOT_PERMITTED;
    return C2_E_OK;
}

/* ---- changing and listing -------------------------------------------------------------------- */

static C2_RESULT
count_entries(struct kv_txn *txn, size_t *ret_count)
{
    C2_AUTO(c2_buf_done) struct c2_buf list = { 0 };
    struct rights t = { 0 };
    C2_TRY(read_list(txn, &list));
    enum c2_err err = rights_load(&t, c2_buf_slice(&list));
    *ret_count = t.n;
    rights_done(&t);
    return err;
}

C2_RESULT
store_acl_set(struct store_batch *b, const struct coord_req *r)
{
    struct own_key k;
    struct store_entry old;
    uint64_t changes = 0;
    uint8_t number[8];
    C2_AUTO(c2_buf_done) struct c2_buf grants = { 0 };
    C2_TRY(store_acl_changes(b->txn, &changes));
    if (r->version_in != changes) {
        b->verdict = C2_E_CONFLICT;
        return C2_E_OK;
    }
    struct c2_slice name = own_key(&k, 'A', r->keys[0]);
    enum c2_err err = store_get(b->txn, name, &old);
    if (err == C2_E_NOT_FOUND && r->ngrants > 0) {
        size_t count = 0;
        C2_TRY(count_entries(b->txn, &count));
        if (count >= COORD_ACL_ENTRIES_MAX) {
            b->verdict = C2_E_QUOTA;
            return C2_E_OK;
        }
    } else if (err != C2_E_NOT_FOUND) {
        C2_TRY(err);
    }
    for (size_t i = 0; i < r->ngrants; i++) {
        c2_wr_raw(&grants, r->grants[i].key, COORD_PRINCIPAL_LEN);
        c2_wr_u8(&grants, r->grants[i].rights);
    }
    struct c2_slice value = c2_buf_slice(&grants);
    C2_TRY(set_own(b, name, r->ngrants > 0 ? &value : NULL));
    c2_put_u64(number, changes + 1);
    value = c2_slice(number, sizeof number);
    C2_TRY(set_own(b, own_key(&k, 'G', c2_slice(NULL, 0)), &value));
    b->base.acl = changes + 1;
    return C2_E_OK;
}

C2_RESULT
store_acl_list(struct kv_txn *txn, const struct replica_client *by, const struct coord_req *r,
               struct c2_buf *reply, struct cmd_reply *head)
{
    struct own_key k;
    struct own_key f;
    struct c2_slice all = own_key(&k, 'A', c2_slice(NULL, 0));
    size_t after_len = C2_MIN(r->after.len, (size_t)COORD_ACL_PREFIX_MAX);
    struct c2_slice after = own_key(&f, 'A', c2_slice(r->after.data, after_len));
    size_t limit = r->limit == 0 ? COORD_RANGE_MAX : r->limit;
    size_t at = reply->len;
    struct c2_slice key;
    struct c2_slice record;
    C2_TRY(store_acl_changes(txn, &head->session));
    enum c2_err err = kv_seek(txn, KV_DATA, r->after.len > 0 ? after : all, &key, &record);
    for (; err == C2_E_OK && c2_slice_starts_with(key, all);
         err = kv_next(txn, KV_DATA, &key, &record)) {
        struct store_entry e;
        C2_TRY(store_parse_entry(record, &e));
        struct coord_entry out = { c2_slice(key.data + 2, key.len - 2), e.value, e.version, 0 };
        bool concerns = by == NULL || by->admin || rights_granted(e.value, by->key) != 0;
        if (!concerns || (r->after.len > 0 && c2_slice_compare(out.key, r->after) <= 0))
            continue;
        size_t len = reply->len - at + out.key.len + out.value.len + ENTRY_OVERHEAD;
        if (head->nentries == limit || len > COORD_REPLY_BYTES_MAX) {
            head->more = true;
            return C2_E_OK;
        }
        cmd_reply_entry(reply, &out);
        head->nentries++;
    }
    return err == C2_E_NOT_FOUND ? C2_E_OK : err;
}

/* ---- sessions -------------------------------------------------------------------------------- */

static struct c2_slice
owner_key(struct own_key *k, uint64_t id)
{
    uint8_t number[8];
    c2_put_be64(number, id);
    return own_key(k, 'O', c2_slice(number, sizeof number));
}

static C2_RESULT
count_sessions(struct kv_txn *txn, struct c2_slice name, uint32_t *ret_count)
{
    struct store_entry e;
    *ret_count = 0;
    enum c2_err err = store_get(txn, name, &e);
    if (err == C2_E_NOT_FOUND)
        return C2_E_OK;
    C2_TRY(err);
    if (e.value.len != 4)
        return C2_E_DAMAGED;
    *ret_count = c2_get_u32(e.value.data);
    return C2_E_OK;
}

static C2_RESULT
set_count(struct store_batch *b, struct c2_slice name, uint32_t count)
{
    uint8_t bytes[4];
    c2_put_u32(bytes, count);
    struct c2_slice value = c2_slice(bytes, sizeof bytes);
    return set_own(b, name, count > 0 ? &value : NULL);
}

C2_RESULT
store_own_session(struct store_batch *b, uint64_t id)
{
    struct own_key owner;
    struct own_key count_key;
    uint32_t count = 0;
    if (b->by == NULL)
        return C2_E_OK;
    struct c2_slice who = c2_slice(b->by->key, COORD_PRINCIPAL_LEN);
    struct c2_slice name = own_key(&count_key, 'P', who);
    C2_TRY(count_sessions(b->txn, name, &count));
    if (count >= COORD_SESSIONS_KEY) {
        b->verdict = C2_E_QUOTA;
        return C2_E_OK;
    }
    C2_TRY(set_count(b, name, count + 1));
    return set_own(b, owner_key(&owner, id), &who);
}

C2_RESULT
store_session_is_of(struct kv_txn *txn, const struct replica_client *by, uint64_t id, bool *ret_is)
{
    struct own_key k;
    struct store_entry e;
    *ret_is = true;
    if (by == NULL)
        return C2_E_OK;
    enum c2_err err = store_get(txn, owner_key(&k, id), &e);
    if (err == C2_E_NOT_FOUND)
        return C2_E_OK;
    C2_TRY(err);
    *ret_is = c2_slice_equal(e.value, c2_slice(by->key, COORD_PRINCIPAL_LEN));
    return C2_E_OK;
}

C2_RESULT
store_disown_session(struct store_batch *b, uint64_t id)
{
    struct own_key owner;
    struct own_key count_key;
    struct store_entry e;
    uint32_t count = 0;
    enum c2_err err = store_get(b->txn, owner_key(&owner, id), &e);
    if (err == C2_E_NOT_FOUND)
        return C2_E_OK;
    C2_TRY(err);
    if (e.value.len != COORD_PRINCIPAL_LEN)
        return C2_E_DAMAGED;
    struct c2_slice name = own_key(&count_key, 'P', e.value); /* a copy */
    C2_TRY(count_sessions(b->txn, name, &count));
    if (count == 0)
        return C2_E_DAMAGED;
    C2_TRY(set_count(b, name, count - 1));
    return set_own(b, c2_slice(owner.bytes, owner.len), NULL);
}
