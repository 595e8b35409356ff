/* SPDX-License-Identifier: MIT */
/*
 * Access to the records of the store, with what must change together kept together:
 *
 *   KV_DATA entry of a key with session s   <=>  KV_EPHEMERAL record (s, key), counted in the
 * session KV_SESSION record with deadline d       <=>  KV_EXPIRY record (d, session) entry differs
 * from its leaf in KV_TREE   =>  KV_DIRTY record with that leaf (empty = no leaf)
 */
#include "metadata/store_int.h"

#include <string.h>

#include "base/mark.h"
#include "base/wire.h"

#define STATE_LEN   49
#define SESSION_LEN 20
#define ID_LEN      8
#define LOADING     1u /* flags of the state */
#define TORN        2u

static const char state_key[] = "state";

static struct c2_slice
id_key(uint8_t out[ID_LEN], uint64_t id)
{
    c2_put_be64(out, id);
    return c2_slice(out, ID_LEN);
}

/* --- state ----------------------------------------------------------------------------------- */

C2_RESULT
store_read_state(struct kv_txn *txn, struct store_state *ret_state)
{
    struct c2_slice record;
    C2_TRY(kv_get(txn, KV_META, c2_slice_str(state_key), &record));
    struct c2_rd r = c2_rd_init(record);
    struct store_state s = { 0 };
    s.version = c2_rd_u64(&r);
    s.now_ns = c2_rd_u64(&r);
    s.trimmed = c2_rd_u64(&r);
    s.ndirty = c2_rd_u64(&r);
    s.nsessions = c2_rd_u64(&r);
    s.folded = c2_rd_u64(&r);
    uint8_t flags = c2_rd_u8(&r);
    s.loading = flags != 0;
    s.torn = (flags & TORN) != 0;
    if (c2_rd_finish(&r) != C2_E_OK)
        return C2_E_DAMAGED;
    *ret_state = s;
    return C2_E_OK;
}

C2_RESULT
store_write_state(struct kv_txn *txn, const struct store_state *s)
{
    uint8_t *p = NULL;
    C2_TRY(kv_reserve(txn, KV_META, c2_slice_str(state_key), STATE_LEN, &p));
    c2_put_u64(p, s->version);
    c2_put_u64(p + 8, s->now_ns);
    c2_put_u64(p + 16, s->trimmed);
    c2_put_u64(p + 24, s->ndirty);
    c2_put_u64(p + 32, s->nsessions);
    c2_put_u64(p + 40, s->folded);
    p[48] = (uint8_t)((s->loading ? LOADING : 0) | (s->torn ? TORN : 0));
    return C2_E_OK;
}

/* --- sessions -------------------------------------------------------------------------------- */

C2_RESULT
store_get_session(struct kv_txn *txn, uint64_t id, struct store_session *ret_session)
{
    uint8_t key[ID_LEN];
    struct c2_slice record;
    C2_TRY(kv_get(txn, KV_SESSION, id_key(key, id), &record));
    if (record.len != SESSION_LEN)
        return C2_E_DAMAGED;
    ret_session->ttl_ns = c2_get_u64(record.data);
    ret_session->deadline_ns = c2_get_u64(record.data + 8);
    ret_session->nkeys = c2_get_u32(record.data + 16);
    return C2_E_OK;
}

static C2_RESULT
write_session(struct store_batch *b, uint64_t id, const struct store_session *s)
{
    uint8_t key[ID_LEN];
    uint8_t *p = NULL;
    C2_TRY(kv_reserve(b->txn, KV_SESSION, id_key(key, id), SESSION_LEN, &p));
    c2_put_u64(p, s->ttl_ns);
    c2_put_u64(p + 8, s->deadline_ns);
    c2_put_u32(p + 16, s->nkeys);
    return C2_E_OK;
}

static struct c2_slice
expiry_key(uint8_t out[2 * ID_LEN], uint64_t deadline_ns, uint64_t id)
{
    c2_put_be64(out, deadline_ns);
    c2_put_be64(out + ID_LEN, id);
    return c2_slice(out, 2 * ID_LEN);
}

C2_RESULT
store_put_session(struct store_batch *b, uint64_t id, const struct store_session *s)
{
    uint8_t key[2 * ID_LEN];
    struct store_session old;
    enum c2_err err = store_get_session(b->txn, id, &old);
    if (err == C2_E_NOT_FOUND) {
        b->state.nsessions++;
    } else {
        C2_TRY(err);
        C2_TRY(kv_del(b->txn, KV_EXPIRY, expiry_key(key, old.deadline_ns, id)));
    }
    C2_TRY(kv_put(b->txn, KV_EXPIRY, expiry_key(key, s->deadline_ns, id), c2_slice("", 0)));
    return write_session(b, id, s);
}

C2_RESULT
store_end_session(struct store_batch *b, uint64_t id)
{
    uint8_t prefix[ID_LEN];
    uint8_t copy[COORD_KEY_MAX];
    (void)id_key(prefix, id);
    for (;;) {
        struct c2_slice key;
        struct c2_slice value;
        enum c2_err err = kv_seek(b->txn, KV_EPHEMERAL, c2_slice(prefix, ID_LEN), &key, &value);
        if (err == C2_E_NOT_FOUND || (err == C2_E_OK && memcmp(key.data, prefix, ID_LEN) != 0))
            break;
        C2_TRY(err);
        if (key.len <= ID_LEN || key.len > ID_LEN + sizeof copy)
            return C2_E_DAMAGED;
        memcpy(copy, key.data + ID_LEN, key.len - ID_LEN);
        struct c2_slice name = c2_slice(copy, key.len - ID_LEN);
        C2_TRY(store_change(b, name, NULL));
        store_event(b, name, true);
    }
    struct store_session s;
    uint8_t key[2 * ID_LEN];
    C2_TRY(store_get_session(b->txn, id, &s));
    if (s.nkeys != 0)
        return C2_E_DAMAGED;
    C2_TRY(kv_del(b->txn, KV_EXPIRY, expiry_key(key, s.deadline_ns, id)));
    C2_TRY(kv_del(b->txn, KV_SESSION, id_key(prefix, id)));
    b->state.nsessions--;
    b->base.work++;
    return store_disown_session(b, id);
}

uint64_t
store_deadline(uint64_t now_ns, uint64_t ttl_ns)
{
    return ttl_ns < C2_NEVER - now_ns ? now_ns + ttl_ns : C2_NEVER - 1;
}

C2_RESULT
store_next_deadline(struct kv_txn *txn, uint64_t *ret_ns, uint64_t *ret_session)
{
    struct c2_slice key;
    struct c2_slice value;
    enum c2_err err = kv_seek(txn, KV_EXPIRY, c2_slice(NULL, 0), &key, &value);
    if (err == C2_E_NOT_FOUND) {
        *ret_ns = C2_NEVER;
        *ret_session = 0;
        return C2_E_OK;
    }
    C2_TRY(err);
    if (key.len != (size_t)2 * ID_LEN)
        return C2_E_DAMAGED;
    *ret_ns = c2_get_be64(key.data);
    *ret_session = c2_get_be64(key.data + ID_LEN);
    return C2_E_OK;
}

/* Adds the key to its session's index or takes it out. */
static C2_RESULT
index_key(struct store_batch *b, uint64_t session, struct c2_slice name, bool add)
{
    uint8_t key[ID_LEN + COORD_KEY_MAX];
    c2_put_be64(key, session);
    memcpy(key + ID_LEN, name.data, name.len);
    struct c2_slice k = c2_slice(key, ID_LEN + name.len);
    if (add) {
        C2_TRY(kv_put(b->txn, KV_EPHEMERAL, k, c2_slice("", 0)));
    } else {
        C2_TRY(kv_del(b->txn, KV_EPHEMERAL, k));
    }
    struct store_session s;
    C2_TRY(store_get_session(b->txn, session, &s));
    s.nkeys = add ? s.nkeys + 1 : s.nkeys - 1;
    return write_session(b, session, &s);
}

/* --- keys ------------------------------------------------------------------------------------ */

C2_RESULT
store_parse_entry(struct c2_slice record, struct store_entry *ret_entry)
{
    if (record.len < STORE_ENTRY_HEAD_LEN)
        return C2_E_DAMAGED;
    ret_entry->version = c2_get_u64(record.data);
    ret_entry->session = c2_get_u64(record.data + 8);
    ret_entry->value =
        c2_slice(record.data + STORE_ENTRY_HEAD_LEN, record.len - STORE_ENTRY_HEAD_LEN);
    return C2_E_OK;
}

C2_RESULT
store_get(struct kv_txn *txn, struct c2_slice key, struct store_entry *ret_entry)
{
    struct c2_slice record;
    C2_TRY(kv_get(txn, KV_DATA, key, &record));
    return store_parse_entry(record, ret_entry);
}

/* False and a verdict when the transaction changes or replaces too much: a few bytes can name very
 * many keys, again and again, if all of it is undone in the end. */
static bool
remember(struct store_batch *b, struct c2_slice key, const struct store_entry *old)
{
    struct store_undo u = { .at = b->undo_bytes.len, .key_len = key.len };
    if (old != NULL) {
        u.present = true;
        u.version = old->version;
        u.session = old->session;
        u.value_len = old->value.len;
    }
    if (b->undo.len / sizeof u >= COORD_TXN_CHANGES_MAX ||
        u.at + u.key_len + u.value_len + b->undo.len > COORD_REPLACED_MAX) {
        b->verdict = C2_E_TOO_LARGE;
        return false;
    }
    c2_buf_append(&b->undo_bytes, key.data, key.len);
    if (old != NULL && old->value.len > 0)
        c2_buf_append(&b->undo_bytes, old->value.data, old->value.len);
    c2_buf_append(&b->undo, &u, sizeof u);
    return true;
}

C2_RESULT
store_write_entry(struct store_batch *b, struct c2_slice key, uint64_t old_session,
                  const struct store_entry *e, bool last)
{
    uint64_t session = e == NULL ? 0 : e->session;
    if (old_session != session && old_session != 0)
        C2_TRY(index_key(b, old_session, key, false));
    if (old_session != session && session != 0)
        C2_TRY(index_key(b, session, key, true));
    if (e == NULL)
        return kv_del(b->txn, KV_DATA, key);
    uint8_t *p = NULL;
    size_t len = STORE_ENTRY_HEAD_LEN + e->value.len;
    C2_TRY(last ? kv_append_room(b->txn, KV_DATA, key, len, &p)
                : kv_reserve(b->txn, KV_DATA, key, len, &p));
    c2_put_u64(p, e->version);
    c2_put_u64(p + 8, e->session);
    if (e->value.len > 0)
        memcpy(p + STORE_ENTRY_HEAD_LEN, e->value.data, e->value.len);
    return C2_E_OK;
}

C2_RESULT
store_change(struct store_batch *b, struct c2_slice key, const struct store_entry *e)
{
    struct store_entry old = { 0 };
    if (b->state.ndirty >= STORE_DIRTY_MAX) {
        C2_MARK("metadata: folded in the middle");
        C2_TRY(store_fold(b));
    }
    enum c2_err err = store_get(b->txn, key, &old);
    bool present = err == C2_E_OK;
    if (!present && err != C2_E_NOT_FOUND)
        return err;
    if (!present && e == NULL)
        return C2_E_OK;
    if (b->keep_undo && !remember(b, key, present ? &old : NULL))
        return C2_E_OK;
    b->base.work++;
    C2_TRY(store_mark_dirty(b, key, present ? &old : NULL)); /* old.value is gone from here on */
    return store_write_entry(b, key, old.session, e, false);
}

void
store_event(struct store_batch *b, struct c2_slice key, bool deleted)
{
    struct c2_buf *out = &b->base.events;
    if (out->len > STORE_EVENTS_MAX) {
        b->base.events_lost = true;
        return;
    }
    c2_wr_u64(out, b->step);
    c2_wr_u8(out, deleted);
    c2_wr_bytes(out, key);
}
