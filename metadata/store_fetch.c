/* SPDX-License-Identifier: MIT */
/*
 * Fetching another state.
 *
 *   head ──► root differs? ──► nodes that differ from ours at the same path ──► leaves: entries of
 *   ours that the other has not go, entries that we have not are wanted ──► all there: finish
 *
 * Where we have no node at all, one part has a node and, if it is a leaf, its entries: an empty
 * replica fetches whole leaves and not one entry at a time.
 *
 * Entries are collected and put in place all together, see store_merge.c: at the end, or when they
 * have become many; then the walk stands still until nothing is on its way. Whatever was collected
 * when the fetch turns to another state is put in place before that one is looked at.
 *
 * The walk compares with our own digest tree, which lags behind what was put so far; that does no
 * harm, because each path is visited once. An entry is removed only while its key still has the
 * record of that leaf: the key may have got its new record before. The state record says `loading`
 * from begin to finish.
 */
#include "metadata/store_int.h"

#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/wire.h"
#include "metadata/tree.h"

#define COMMIT_BYTES (32u << 20) /* of changes, beside entries that are collected */
#define FANOUT       16

struct store_fetch {
    uint8_t digest[32];
    bool have_head;
    struct store_head head;     /* sessions: in `sessions` */
    struct c2_buf sessions;     /* owned */
    struct c2_buf wanted;       /* owned; of struct replica_part, a stack */
    struct c2_buf asked;        /* owned; of struct replica_part */
    struct store_hashed hashed; /* owned; scratch: entries of one part */
    struct store_batch *batch;  /* owned; NULL = none open */
    size_t uncommitted;
    bool merging; /* entries are put in place, nothing is on its way */
};

void
store_fetch_free(struct store *s)
{
    struct store_fetch *f = s->fetch;
    if (f == NULL)
        return;
    if (f->batch != NULL)
        s->app.ops->end(&f->batch->base);
    c2_buf_done(&f->sessions);
    c2_buf_done(&f->wanted);
    c2_buf_done(&f->asked);
    store_hashed_done(&f->hashed);
    c2_free(f);
    s->fetch = NULL;
}

static void
want(struct store_fetch *f, const struct replica_part *p)
{
    c2_buf_append(&f->wanted, p, sizeof *p);
}

static C2_RESULT
open_batch(struct store *s)
{
    struct store_fetch *f = s->fetch;
    if (f->batch != NULL)
        return C2_E_OK;
    C2_TRY(store_batch_begin(s, &f->batch));
    f->batch->state.loading = true;
    f->batch->changed = true;
    if (f->have_head) /* no key has a version above it */
        f->batch->state.version = C2_MAX(f->batch->state.version, f->head.version);
    return C2_E_OK;
}

static C2_RESULT
commit(struct store *s)
{
    struct store_fetch *f = s->fetch;
    struct store_batch *b = f->batch;
    f->batch = NULL;
    f->uncommitted = 0;
    enum c2_err err = s->app.ops->commit(&b->base);
    s->app.ops->end(&b->base);
    return err;
}

static C2_RESULT
begin(struct store *s)
{
    struct store_fetch *f = s->fetch;
    struct replica_part head = { .kind = REPLICA_HEAD };
    C2_TRY(store_merge_again(s->merge));
    C2_TRY(open_batch(s));
    f->merging = store_merge_is_due(s->merge, f->batch);
    C2_TRY(commit(s)); /* from here on the state is known to be incomplete */
    memcpy(head.hash, f->digest, sizeof head.hash);
    want(f, &head);
    return C2_E_OK;
}

C2_RESULT
store_fetch_begin(struct replica_app *a, const uint8_t digest[32])
{
    struct store *s = store_of(a);
    C2_ASSERT(s->replicated);
    store_fetch_free(s);
    store_acl_forget(s);
    s->fetch = c2_calloc(1, sizeof *s->fetch);
    if (s->merge == NULL)
        s->merge = store_merge_new(s);
    memcpy(s->fetch->digest, digest, sizeof s->fetch->digest);
    enum c2_err err = begin(s);
    if (err != C2_E_OK)
        store_fetch_free(s);
    return err;
}

/* --- what differs ----------------------------------------------------------------------------- */

/* Removes the entry of a leaf of ours, unless its key has another record by now. */
static C2_RESULT
remove_leaf(struct store_fetch *f, const uint8_t *leaf)
{
    struct store_batch *b = f->batch;
    struct c2_slice key;
    struct store_entry e;
    uint8_t hash[32];
    uint8_t copy[COORD_KEY_MAX];
    enum c2_err err = store_leaf_key(b->txn, leaf, &key);
    if (err == C2_E_OK)
        err = store_get(b->txn, key, &e);
    if (err == C2_E_NOT_FOUND)
        return C2_E_OK;
    C2_TRY(err);
    store_entry_hash(key, &e, hash);
    if (memcmp(hash, leaf, sizeof hash) != 0)
        return C2_E_OK;
    C2_ASSERT(key.len <= sizeof copy);
    memcpy(copy, key.data, key.len);
    f->uncommitted += key.len + e.value.len;
    return store_change(b, c2_slice(copy, key.len), NULL);
}

static bool
contains(struct c2_slice hashes, const uint8_t *hash)
{
    for (size_t at = 0; at < hashes.len; at += TREE_HASH_LEN) {
        if (memcmp(hashes.data + at, hash, TREE_HASH_LEN) == 0)
            return true;
    }
    return false;
}

/* Makes what we have under a path what the other has there; theirs is a set of leaves, of which
 * some have come already: bits of `got`. */
static C2_RESULT
match_leaves(struct store *s, const struct replica_part *at, struct c2_slice theirs, uint64_t got)
{
    struct store_fetch *f = s->fetch;
    C2_AUTO(c2_buf_done) struct c2_buf ours = { 0 };
    C2_TRY(tree_collect(f->batch->txn, at->path, at->depth, &ours));
    for (size_t i = 0; i < ours.len; i += TREE_HASH_LEN) {
        if (!contains(theirs, ours.data + i))
            C2_TRY(remove_leaf(f, ours.data + i));
    }
    for (size_t i = 0; i < theirs.len; i += TREE_HASH_LEN) {
        struct replica_part entry = { .kind = REPLICA_ENTRY };
        if ((got >> i / TREE_HASH_LEN & 1) != 0 || contains(c2_buf_slice(&ours), theirs.data + i))
            continue;
        memcpy(entry.hash, theirs.data + i, TREE_HASH_LEN);
        want(f, &entry);
    }
    return C2_E_OK;
}

/* Wants a node, unless it is the one that we have. */
static void
want_node(struct store_fetch *f, struct replica_part *p)
{
    struct c2_slice record;
    uint8_t hash[32];
    C2_ASSERT(f->batch != NULL);
    p->kind = REPLICA_BRANCH;
    if (tree_node(f->batch->txn, p->path, p->depth, &record) == C2_E_OK) {
        p->kind = REPLICA_NODE;
        c2_sha256(record, hash);
        if (memcmp(hash, p->hash, sizeof hash) == 0)
            return;
    }
    want(f, p);
}

static C2_RESULT
match_children(struct store *s, const struct replica_part *at, struct c2_slice record)
{
    for (unsigned i = FANOUT; i-- > 0;) { /* the first is asked for first */
        struct replica_part child = *at;
        const uint8_t *hash = tree_child(record, i);
        tree_path_set(child.path, child.depth++, i);
        if (hash == NULL) {
            C2_TRY(match_leaves(s, &child, c2_slice(NULL, 0), 0));
            continue;
        }
        memcpy(child.hash, hash, TREE_HASH_LEN);
        want_node(s->fetch, &child);
    }
    return C2_E_OK;
}

static bool
on_path(const struct replica_part *p, struct c2_slice hashes)
{
    for (size_t at = 0; at < hashes.len; at += TREE_HASH_LEN) {
        uint8_t prefix[TREE_HASH_LEN] = { 0 };
        memcpy(prefix, hashes.data + at, p->depth / 2);
        if (p->depth % 2 == 1)
            prefix[p->depth / 2] = hashes.data[at + p->depth / 2] & 0xf0;
        if (memcmp(prefix, p->path, sizeof prefix) != 0)
            return false;
    }
    return true;
}

/* Whether the bytes are the node that was wanted. */
static C2_RESULT
check_node(const struct replica_part *p, struct c2_slice record)
{
    uint8_t hash[32];
    c2_sha256(record, hash);
    if (memcmp(hash, p->hash, sizeof hash) != 0)
        return C2_E_CORRUPT;
    C2_TRY(tree_check_record(record));
    bool good =
        tree_is_inner(record) ? p->depth < 2 * TREE_HASH_LEN : on_path(p, tree_hashes(record));
    return good ? C2_E_OK : C2_E_CORRUPT;
}

static C2_RESULT
put_node(struct store *s, const struct replica_part *p, struct c2_slice record)
{
    C2_TRY(check_node(p, record));
    if (tree_is_inner(record))
        return match_children(s, p, record);
    return match_leaves(s, p, tree_hashes(record), 0);
}

static C2_RESULT
read_entry(struct store_fetch *f, struct c2_slice bytes)
{
    struct c2_slice key;
    struct store_entry e;
    if (f->hashed.count == TREE_LEAF_MAX)
        return C2_E_CORRUPT;
    C2_TRY(store_parse_part_entry(bytes, &key, &e));
    store_hashed_add(&f->hashed, key, &e);
    return C2_E_OK;
}

/* Whether what was read are some of these leaves, in their order; *ret_got has a bit for each. */
static C2_RESULT
check_entries(struct store_fetch *f, struct c2_slice leaves, uint64_t *ret_got)
{
    size_t leaf = 0;
    *ret_got = 0;
    store_hashed_compute(&f->hashed);
    for (size_t i = 0; i < f->hashed.count; i++, leaf++) {
        const uint8_t *hash = store_hashed_at(&f->hashed, i).data;
        while (leaf * TREE_HASH_LEN < leaves.len &&
               memcmp(leaves.data + leaf * TREE_HASH_LEN, hash, TREE_HASH_LEN) != 0)
            leaf++;
        if (leaf * TREE_HASH_LEN >= leaves.len)
            return C2_E_CORRUPT;
        *ret_got |= (uint64_t)1 << leaf;
    }
    return C2_E_OK;
}

static C2_RESULT
add_entries(struct store *s)
{
    struct store_fetch *f = s->fetch;
    for (size_t i = 0; i < f->hashed.count; i++) {
        struct store_session session;
        struct store_entry e;
        struct c2_slice record = store_hashed_at(&f->hashed, i);
        (void)store_hashed_entry(record, &e);
        if (e.session != 0 && store_get_session(f->batch->txn, e.session, &session) != C2_E_OK)
            return C2_E_DAMAGED; /* the head has all sessions */
        C2_TRY(store_merge_add(s->merge, f->batch, record, &f->uncommitted));
    }
    return C2_E_OK;
}

static C2_RESULT
put_entry(struct store *s, const struct replica_part *p, struct c2_slice bytes)
{
    uint64_t got = 0;
    store_hashed_clear(&s->fetch->hashed);
    C2_TRY(read_entry(s->fetch, bytes));
    C2_TRY(check_entries(s->fetch, c2_slice(p->hash, sizeof p->hash), &got));
    return add_entries(s);
}

static C2_RESULT
put_branch(struct store *s, const struct replica_part *p, struct c2_slice bytes)
{
    struct c2_rd in = c2_rd_init(bytes);
    struct c2_slice record = c2_rd_bytes(&in, bytes.len);
    uint64_t got = 0;
    if (!c2_rd_ok(&in) || record.len == 0)
        return C2_E_CORRUPT;
    C2_TRY(check_node(p, record));
    if (tree_is_inner(record))
        return c2_rd_left(&in) == 0 ? match_children(s, p, record) : C2_E_CORRUPT;
    store_hashed_clear(&s->fetch->hashed);
    while (c2_rd_left(&in) > 0) {
        struct c2_slice entry = c2_rd_bytes(&in, bytes.len);
        if (!c2_rd_ok(&in))
            return C2_E_CORRUPT;
        C2_TRY(read_entry(s->fetch, entry));
    }
    C2_TRY(check_entries(s->fetch, tree_hashes(record), &got));
    C2_TRY(add_entries(s));
    return match_leaves(s, p, tree_hashes(record), got);
}

/* --- head and end ----------------------------------------------------------------------------- */

static C2_RESULT
put_sessions(struct store_batch *b, struct c2_slice sessions)
{
    for (size_t at = 0; at < sessions.len; at += 24) {
        struct store_session now = { 0 };
        uint64_t id = c2_get_be64(sessions.data + at);
        enum c2_err err = store_get_session(b->txn, id, &now);
        if (err != C2_E_OK && err != C2_E_NOT_FOUND)
            return err;
        now.ttl_ns = c2_get_u64(sessions.data + at + 8);
        now.deadline_ns = c2_get_u64(sessions.data + at + 16);
        C2_TRY(store_put_session(b, id, &now));
    }
    return C2_E_OK;
}

static C2_RESULT
put_head(struct store *s, struct c2_slice bytes)
{
    struct store_fetch *f = s->fetch;
    struct store_head h;
    uint8_t digest[32];
    static const uint8_t empty[TREE_HASH_LEN];
    struct replica_part root = { .kind = REPLICA_NODE };
    C2_TRY(store_parse_head(bytes, &h));
    store_head_digest(&h, digest);
    if (memcmp(digest, f->digest, sizeof digest) != 0)
        return C2_E_CORRUPT;
    f->head = h;
    c2_buf_append(&f->sessions, h.sessions.data, h.sessions.len);
    f->head.sessions = c2_buf_slice(&f->sessions);
    f->have_head = true;
    struct store_batch *b = f->batch;
    b->state.version = C2_MAX(b->state.version, h.version);
    if (b->state.ndirty > 0) /* so that our tree is what we have */
        C2_TRY(store_fold(b));
    C2_TRY(put_sessions(b, f->head.sessions));
    C2_TRY(commit(s)); /* entries may be put in place when this fetch was given up: they need it */
    C2_TRY(open_batch(s));
    memcpy(root.hash, h.root, sizeof root.hash);
    if (memcmp(h.root, empty, sizeof empty) == 0)
        return match_leaves(s, &root, c2_slice(NULL, 0), 0);
    want_node(f, &root);
    return C2_E_OK;
}

static bool
in_head(const struct store_head *h, uint64_t id)
{
    size_t low = 0;
    size_t high = h->sessions.len / 24;
    while (low < high) { /* they are in order */
        size_t mid = (low + high) / 2;
        if (c2_get_be64(h->sessions.data + mid * 24) < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low < h->sessions.len / 24 && c2_get_be64(h->sessions.data + low * 24) == id;
}

/* Sessions that the other has not; their ephemeral keys went with the entries. */
static C2_RESULT
end_sessions(struct store_batch *b, const struct store_head *h)
{
    C2_AUTO(c2_buf_done) struct c2_buf gone = { 0 };
    struct c2_slice key;
    struct c2_slice value;
    enum c2_err err = kv_seek(b->txn, KV_SESSION, c2_slice(NULL, 0), &key, &value);
    for (; err == C2_E_OK; err = kv_next(b->txn, KV_SESSION, &key, &value)) {
        if (key.len != 8)
            return C2_E_DAMAGED;
        if (!in_head(h, c2_get_be64(key.data)))
            c2_buf_append(&gone, key.data, key.len);
    }
    if (err != C2_E_NOT_FOUND)
        return err;
    for (size_t at = 0; at < gone.len; at += 8)
        C2_TRY(store_end_session(b, c2_get_be64(gone.data + at)));
    return C2_E_OK;
}

static C2_RESULT
finish(struct store *s)
{
    struct store_fetch *f = s->fetch;
    struct store_batch *b = f->batch;
    uint8_t digest[32];
    C2_TRY(end_sessions(b, &f->head));
    b->state.version = b->step = f->head.version;
    b->state.now_ns = f->head.now_ns;
    b->state.trimmed = f->head.version;
    if (b->state.ndirty > 0)
        C2_TRY(store_fold(b));
    b->state.folded = f->head.version;
    C2_TRY(store_digest(&b->base, digest));
    if (memcmp(digest, f->digest, sizeof digest) != 0)
        return C2_E_DAMAGED; /* our own tables contradict each other */
    b->state.loading = false;
    C2_TRY(commit(s));
    store_fetch_free(s);
    store_merge_free(s->merge);
    s->merge = NULL;
    return C2_E_OK;
}

/* --- interface -------------------------------------------------------------------------------- */

/* An error of the machine ends the fetch: its transaction is in the way of whoever makes more room.
 */
static C2_RESULT
unless_failed(struct store *s, enum c2_err err)
{
    if (err != C2_E_OK && err != C2_E_CORRUPT)
        store_fetch_free(s);
    return err;
}

static void
hand_out(struct store_fetch *f, size_t max, struct c2_buf *out)
{
    while (f->asked.len < max * sizeof(struct replica_part) && f->wanted.len > 0) {
        f->wanted.len -= sizeof(struct replica_part);
        const uint8_t *p = f->wanted.data + f->wanted.len;
        c2_buf_append(&f->asked, p, sizeof(struct replica_part));
        c2_buf_append(out, p, sizeof(struct replica_part));
    }
}

/* A piece of what has come is put in place. */
static C2_RESULT
merge(struct store *s)
{
    struct store_fetch *f = s->fetch;
    bool done = false;
    C2_TRY(open_batch(s));
    C2_TRY(store_merge_step(s->merge, f->batch, &done));
    f->merging = !done;
    return commit(s);
}

static C2_RESULT
want_parts(struct store *s, size_t max, struct c2_buf *out, bool *ret_done)
{
    struct store_fetch *f = s->fetch;
    if (!f->merging && !store_merge_is_full(s->merge))
        hand_out(f, max, out);
    if (f->asked.len > 0)
        return C2_E_OK;
    C2_TRY(open_batch(s));
    if (f->merging || store_merge_is_due(s->merge, f->batch))
        return merge(s);
    C2_ASSERT(f->have_head);
    C2_TRY(finish(s));
    *ret_done = true;
    return C2_E_OK;
}

C2_RESULT
store_fetch_want(struct replica_app *a, size_t max, struct c2_buf *out, bool *ret_done)
{
    struct store *s = store_of(a);
    C2_ASSERT(s->fetch != NULL);
    *ret_done = false;
    return unless_failed(s, want_parts(s, max, out, ret_done));
}

static C2_RESULT
put_part(struct store *s, const struct replica_part *p, struct c2_slice bytes)
{
    switch ((enum replica_part_kind)p->kind) {
    case REPLICA_HEAD:
        return put_head(s, bytes);
    case REPLICA_NODE:
        return put_node(s, p, bytes);
    case REPLICA_ENTRY:
        return put_entry(s, p, bytes);
    case REPLICA_BRANCH:
        return put_branch(s, p, bytes);
    }
    C2_UNREACHABLE();
}

/* Takes the part from those on their way; false = nobody waits for it any more. */
static bool
take_asked(struct store_fetch *f, uint8_t kind, const uint8_t *hash, struct replica_part *ret_part)
{
    for (size_t at = 0; at < f->asked.len; at += sizeof *ret_part) {
        struct replica_part p;
        if (memcmp(f->asked.data + at + offsetof(struct replica_part, hash), hash, sizeof p.hash) !=
            0)
            continue;
        memcpy(&p, f->asked.data + at, sizeof p);
        if (p.kind != kind)
            continue;
        f->asked.len -= sizeof p;
        memmove(f->asked.data + at, f->asked.data + f->asked.len, sizeof p);
        *ret_part = p;
        return true;
    }
    return false;
}

static C2_RESULT
put_asked(struct store *s, const struct replica_part *p, struct c2_slice bytes)
{
    struct store_fetch *f = s->fetch;
    C2_TRY(open_batch(s));
    enum c2_err err = put_part(s, p, bytes);
    if (err == C2_E_CORRUPT)
        want(f, p);
    C2_TRY(err);
    return f->uncommitted >= COMMIT_BYTES ? commit(s) : C2_E_OK;
}

C2_RESULT
store_fetch_put(struct replica_app *a, uint8_t kind, const uint8_t hash[32], struct c2_slice bytes)
{
    struct store *s = store_of(a);
    struct replica_part p;
    C2_ASSERT(s->fetch != NULL);
    if (!take_asked(s->fetch, kind, hash, &p))
        return C2_E_OK;
    return unless_failed(s, put_asked(s, &p, bytes));
}
