/* SPDX-License-Identifier: MIT */
/*
 * Checks a whole store: every record against the digest tree, every node of the tree against its
 * parent, sessions against their keys. What this finds whole is what the digest says, and the
 * digest is what the replicas have signed.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/wire.h"
#include "metadata/store_int.h"
#include "metadata/tree.h"

struct verify {
    struct kv_txn *txn; /* borrowed */
    struct store_verified *out;
    uint64_t in_tree;
};

__attribute__((format(printf, 2, 3))) static C2_RESULT
bad(struct verify *v, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(v->out->problem, sizeof v->out->problem, fmt, ap);
    va_end(ap);
    return C2_E_DAMAGED;
}

/* ---- the tree -------------------------------------------------------------------------------- */

struct step {
    uint8_t path[TREE_HASH_LEN];
    uint8_t hash[TREE_HASH_LEN];
    unsigned depth;
};

static C2_RESULT
check_leaf(struct verify *v, const struct step *s, struct c2_slice hashes)
{
    for (size_t at = 0; at < hashes.len; at += TREE_HASH_LEN) {
        bool sorted = at == 0 ||
                      memcmp(hashes.data + at - TREE_HASH_LEN, hashes.data + at, TREE_HASH_LEN) < 0;
        bool whole = memcmp(hashes.data + at, s->path, s->depth / 2) == 0;
        if (!sorted || !whole)
            return bad(v, "a leaf of the digest tree at depth %u is out of order", s->depth);
        v->in_tree++;
    }
    return C2_E_OK;
}

static C2_RESULT
check_node(struct verify *v, const struct step *s, struct c2_buf *todo)
{
    struct c2_slice record;
    uint8_t hash[TREE_HASH_LEN];
    if (tree_node(v->txn, s->path, s->depth, &record) != C2_E_OK ||
        tree_check_record(record) != C2_E_OK)
        return bad(v, "a node of the digest tree at depth %u cannot be read", s->depth);
    c2_sha256(record, hash);
    if (s->depth > 0 && memcmp(hash, s->hash, sizeof hash) != 0)
        return bad(v, "a node of the digest tree at depth %u differs from its hash", s->depth);
    v->out->nodes++;
    if (!tree_is_inner(record))
        return check_leaf(v, s, tree_hashes(record));
    for (unsigned i = 0; i < 16; i++) {
        const uint8_t *child = tree_child(record, i);
        struct step next = *s;
        if (child == NULL)
            continue;
        if (s->depth + 1 >= 2 * TREE_HASH_LEN)
            return bad(v, "the digest tree is too deep");
        tree_path_set(next.path, s->depth, i);
        memcpy(next.hash, child, sizeof next.hash);
        next.depth = s->depth + 1;
        c2_buf_append(todo, &next, sizeof next);
    }
    return C2_E_OK;
}

static C2_RESULT
check_tree(struct verify *v)
{
    C2_AUTO(c2_buf_done) struct c2_buf todo = { 0 };
    uint8_t root[TREE_HASH_LEN];
    uint64_t count = 0;
    struct step s = { .depth = 0 };
    if (tree_root(v->txn, root, &count) != C2_E_OK)
        return bad(v, "the root of the digest tree cannot be read");
    if (count > 0)
        c2_buf_append(&todo, &s, sizeof s);
    while (todo.len > 0) {
        todo.len -= sizeof s;
        memcpy(&s, todo.data + todo.len, sizeof s);
        C2_TRY(check_node(v, &s, &todo));
    }
    if (v->in_tree != count)
        return bad(v, "the digest tree has %llu leaves and says %llu",
                   (unsigned long long)v->in_tree, (unsigned long long)count);
    return C2_E_OK;
}

/* ---- the records ----------------------------------------------------------------------------- */

/* Whether the hash is in the tree, whose nodes are known to be good. */
static C2_RESULT
find_hash(struct verify *v, const uint8_t *hash, bool *ret_found)
{
    struct c2_slice record;
    *ret_found = false;
    for (unsigned depth = 0; depth < 2 * TREE_HASH_LEN; depth++) {
        enum c2_err err = tree_node(v->txn, hash, depth, &record);
        if (err == C2_E_NOT_FOUND)
            return C2_E_OK;
        C2_TRY(err);
        if (tree_is_inner(record))
            continue;
        struct c2_slice hashes = tree_hashes(record);
        for (size_t at = 0; at < hashes.len && !*ret_found; at += TREE_HASH_LEN)
            *ret_found = memcmp(hashes.data + at, hash, TREE_HASH_LEN) == 0;
        return C2_E_OK;
    }
    return C2_E_OK;
}

static C2_RESULT
check_entry(struct verify *v, struct c2_slice key, struct c2_slice record)
{
    struct store_entry e;
    uint8_t hash[32];
    bool found = false;
    if (store_parse_entry(record, &e) != C2_E_OK)
        return bad(v, "the record of key %llu cannot be read", (unsigned long long)v->out->keys);
    store_entry_hash(key, &e, hash);
    C2_TRY(find_hash(v, hash, &found));
    if (!found)
        return bad(v, "key %llu of the store differs from the digest tree",
                   (unsigned long long)v->out->keys);
    v->out->keys++;
    v->out->bytes += key.len + e.value.len;
    v->out->ephemerals += e.session != 0;
    return C2_E_OK;
}

static C2_RESULT
check_data(struct verify *v)
{
    struct c2_slice key, record;
    enum c2_err err = kv_seek(v->txn, KV_DATA, c2_slice(NULL, 0), &key, &record);
    for (; err == C2_E_OK; err = kv_next(v->txn, KV_DATA, &key, &record))
        C2_TRY(check_entry(v, key, record));
    if (err != C2_E_NOT_FOUND)
        return bad(v, "the keys cannot be read after number %llu",
                   (unsigned long long)v->out->keys);
    if (v->out->keys != v->in_tree)
        return bad(v, "%llu keys, but %llu leaves of the digest tree",
                   (unsigned long long)v->out->keys, (unsigned long long)v->in_tree);
    return C2_E_OK;
}

/* ---- sessions -------------------------------------------------------------------------------- */

static C2_RESULT
check_ephemeral(struct verify *v, struct c2_slice index, uint64_t *ret_session)
{
    struct store_entry e;
    if (index.len <= 8)
        return bad(v, "an entry of the session index is malformed");
    *ret_session = c2_get_be64(index.data);
    struct c2_slice key = c2_slice(index.data + 8, index.len - 8);
    if (store_get(v->txn, key, &e) != C2_E_OK || e.session != *ret_session)
        return bad(v, "the index of session %llu names a key it does not own",
                   (unsigned long long)*ret_session);
    return C2_E_OK;
}

static C2_RESULT
check_sessions(struct verify *v)
{
    struct c2_slice key, value;
    uint64_t counted = 0, claimed = 0;
    enum c2_err err = kv_seek(v->txn, KV_EPHEMERAL, c2_slice(NULL, 0), &key, &value);
    for (; err == C2_E_OK; err = kv_next(v->txn, KV_EPHEMERAL, &key, &value)) {
        uint64_t session = 0;
        C2_TRY(check_ephemeral(v, key, &session));
        counted++;
    }
    if (err != C2_E_NOT_FOUND || counted != v->out->ephemerals)
        return bad(v, "the session index has %llu keys, the store %llu",
                   (unsigned long long)counted, (unsigned long long)v->out->ephemerals);
    err = kv_seek(v->txn, KV_SESSION, c2_slice(NULL, 0), &key, &value);
    for (; err == C2_E_OK; err = kv_next(v->txn, KV_SESSION, &key, &value)) {
        struct store_session s;
        if (key.len != 8 || store_get_session(v->txn, c2_get_be64(key.data), &s) != C2_E_OK)
            return bad(v, "a session cannot be read");
        claimed += s.nkeys;
        v->out->sessions++;
    }
    if (err != C2_E_NOT_FOUND || claimed != counted)
        return bad(v, "sessions claim %llu keys, the index has %llu", (unsigned long long)claimed,
                   (unsigned long long)counted);
    return C2_E_OK;
}

C2_RESULT
store_verify(struct replica_app *a, struct store_verified *ret)
{
    struct store_batch *b = NULL;
    memset(ret, 0, sizeof *ret);
    enum c2_err err = store_batch_begin(store_of(a), &b);
    if (err != C2_E_OK) {
        snprintf(ret->problem, sizeof ret->problem, "its state cannot be read");
        return err;
    }
    if (b->state.torn) { /* it is made right when the replica starts */
        snprintf(
            ret->problem, sizeof ret->problem,
            "a state that was being fetched is half in its place; the replica goes on with it");
        a->ops->end(&b->base);
        return C2_E_UNAVAILABLE;
    }
    bool loading = b->state.loading;
    struct verify v = { .txn = b->txn, .out = ret };
    ret->version = b->state.version;
    /* Changes that the tree does not have yet: in a batch that is thrown away. */
    if (b->state.ndirty > 0 && store_fold(b) != C2_E_OK)
        err = bad(&v, "the digest tree does not fit the keys");
    if (err == C2_E_OK)
        err = check_tree(&v);
    if (err == C2_E_OK)
        err = check_data(&v);
    if (err == C2_E_OK)
        err = check_sessions(&v);
    if (err == C2_E_OK)
        err = store_digest(&b->base, ret->digest);
    a->ops->end(&b->base);
    if (err == C2_E_OK && loading) {
        snprintf(ret->problem, sizeof ret->problem,
                 "a state that was being fetched is not complete: what is there is good, %llu keys;"
                 " the replica goes on with it",
                 (unsigned long long)ret->keys);
        return C2_E_UNAVAILABLE;
    }
    return err;
}
