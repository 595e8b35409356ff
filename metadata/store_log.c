/* SPDX-License-Identifier: MIT */
/*
 * The log of changes: what a store of the same history is rebuilt from. One entry per version,
 *
 *   u64 agreed time, encoded command
 *
 * cut into records of at most STORE_PART_MAX bytes, keyed by version and part: a record then takes
 * one page at most, and trimming leaves single free pages instead of holes of every size.
 */
#include "metadata/store_int.h"

#include <string.h>

#include "base/wire.h"

#define TIME_LEN        8
#define ENTRY_FIXED_LEN 12 /* version and length in the answer to LOG_READ */

static struct c2_slice
log_key(uint8_t out[STORE_LOG_KEY_LEN], uint64_t version, unsigned part)
{
    c2_put_be64(out, version);
    out[8] = (uint8_t)(part >> 8);
    out[9] = (uint8_t)part;
    return c2_slice(out, STORE_LOG_KEY_LEN);
}

C2_RESULT
store_log_append(struct store_batch *b, struct c2_slice cmd)
{
    C2_ASSERT(cmd.len <= COORD_TXN_BYTES_MAX);
    if (!b->store->keep_log) {
        b->state.trimmed = b->state.version;
        return C2_E_OK;
    }
    uint8_t key[STORE_LOG_KEY_LEN];
    uint8_t *p = NULL;
    size_t len = C2_MIN(cmd.len, (size_t)STORE_PART_MAX - TIME_LEN);
    C2_TRY(kv_reserve(b->txn, KV_LOG, log_key(key, b->state.version, 0), TIME_LEN + len, &p));
    c2_put_u64(p, b->state.now_ns);
    memcpy(p + TIME_LEN, cmd.data, len);
    for (unsigned part = 1; len < cmd.len; part++) {
        size_t n = C2_MIN(cmd.len - len, (size_t)STORE_PART_MAX);
        C2_TRY(kv_put(b->txn, KV_LOG, log_key(key, b->state.version, part),
                      c2_slice(cmd.data + len, n)));
        len += n;
    }
    return C2_E_OK;
}

/* Appends one record to the answer; a first part begins an entry there. */
static void
add_part(struct c2_buf *log, struct c2_slice key, struct c2_slice value, size_t *entry_at)
{
    if (key.data[8] == 0 && key.data[9] == 0) {
        *entry_at = log->len;
        c2_wr_u64(log, c2_get_be64(key.data));
        c2_wr_u32(log, 0);
    }
    c2_wr_raw(log, value.data, value.len);
    c2_put_u32(log->data + *entry_at + 8, (uint32_t)(log->len - *entry_at - ENTRY_FIXED_LEN));
}

C2_RESULT
store_log_read(struct kv_txn *txn, const struct coord_req *r, struct c2_buf *log, bool *ret_more)
{
    size_t limit = r->limit == 0 ? COORD_REPLY_BYTES_MAX : r->limit;
    size_t entry_at = 0;
    size_t entries = 0;
    uint8_t at[STORE_LOG_KEY_LEN];
    struct c2_slice key;
    struct c2_slice value;
    *ret_more = false;
    if (r->version_in == UINT64_MAX)
        return C2_E_OK;
    enum c2_err err = kv_seek(txn, KV_LOG, log_key(at, r->version_in + 1, 0), &key, &value);
    for (; err == C2_E_OK; err = kv_next(txn, KV_LOG, &key, &value)) {
        if (key.len != STORE_LOG_KEY_LEN || value.len > STORE_PART_MAX)
            return C2_E_DAMAGED;
        entries += key.data[8] == 0 && key.data[9] == 0;
        if (entries == 0 || log->len > COORD_LOG_BYTES_MAX)
            return C2_E_DAMAGED;
        if (entries > 1 && log->len >= limit) {
            *ret_more = true;
            return C2_E_OK;
        }
        add_part(log, key, value, &entry_at);
        if (entries > 1 && log->len > limit) { /* this entry does not fit: the next call's */
            log->len = entry_at;
            *ret_more = true;
            return C2_E_OK;
        }
    }
    return err == C2_E_NOT_FOUND ? C2_E_OK : err;
}

C2_RESULT
store_log_trim(struct store_batch *b, uint64_t upto, bool *ret_more)
{
    *ret_more = false;
    for (size_t n = 0; n < STORE_TRIM_MAX; n++) {
        struct c2_slice key;
        struct c2_slice value;
        uint8_t copy[STORE_LOG_KEY_LEN];
        enum c2_err err = kv_seek(b->txn, KV_LOG, c2_slice(NULL, 0), &key, &value);
        if (err == C2_E_OK && key.len != STORE_LOG_KEY_LEN)
            return C2_E_DAMAGED;
        if (err == C2_E_NOT_FOUND || (err == C2_E_OK && c2_get_be64(key.data) > upto)) {
            b->state.trimmed = C2_MAX(b->state.trimmed, upto);
            return C2_E_OK;
        }
        C2_TRY(err);
        memcpy(copy, key.data, sizeof copy);
        b->state.trimmed = C2_MAX(b->state.trimmed, c2_get_be64(copy));
        C2_TRY(kv_del(b->txn, KV_LOG, c2_slice(copy, sizeof copy)));
    }
    *ret_more = true;
    return C2_E_OK;
}

/* --- the log, again -------------------------------------------------------------------------- */

static C2_RESULT
replay_entry(struct replica_batch *b, uint64_t version, struct c2_slice entry)
{
    struct c2_rd r = c2_rd_init(entry);
    uint64_t time_ns = c2_rd_u64(&r);
    struct c2_slice cmd = c2_rd_raw(&r, c2_rd_left(&r));
    if (!c2_rd_ok(&r) || version != b->version + 1)
        return C2_E_CORRUPT;
    C2_AUTO(c2_buf_done) struct c2_buf reply = { 0 };
    C2_TRY(b->app->ops->apply(b, time_ns, NULL, cmd, &reply));
    return b->version == version ? C2_E_OK : C2_E_CORRUPT;
}

static C2_RESULT
replay(struct replica_batch *b, struct c2_slice log)
{
    struct c2_rd r = c2_rd_init(log);
    while (c2_rd_left(&r) > 0) {
        uint64_t version = c2_rd_u64(&r);
        struct c2_slice entry = c2_rd_bytes(&r, COORD_LOG_BYTES_MAX);
        if (!c2_rd_ok(&r))
            return C2_E_CORRUPT;
        C2_TRY(replay_entry(b, version, entry));
    }
    return b->app->ops->commit(b);
}

C2_RESULT
store_replay(struct replica_app *a, struct c2_slice log)
{
    struct replica_batch *b = NULL;
    C2_TRY(a->ops->begin(a, &b));
    enum c2_err err = replay(b, log);
    a->ops->end(b);
    return err;
}
