/* SPDX-License-Identifier: MIT */
/*
 * The consistency anchor (SCFS, ATC 2014, section 2.3): the bytes are in the clouds, now their
 * hashes are committed to the coordination service, in one transaction for the whole group:
 *
 *   ENCODE --> TXN (conditions: our lock still has our token, our session lives) --> done
 *
 * A transaction that fails for a reason that may pass is sent again. A group that does not fit one
 * transaction is split: objects and inodes first, then entries, then removals, and the journal
 * position last, so that a crash in between is repaired by the journal. An object record is
 * committed with, never before, the first inode that names it.
 */
#include "fs/txg.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/wire.h"
#include "fs/coord_keys.h"
#include "fs/fetch.h"
#include "fs/manifest.h"
#include "fs/records.h"

#define RETRY_NS   (1 * C2_NS_PER_S)
#define PART_OPS   (COORD_TXN_OPS_MAX - 16)
#define PART_BYTES (COORD_TXN_BYTES_MAX - (COORD_TXN_BYTES_MAX / 8))

struct op {
    enum coord_op_kind kind;
    size_t key, key_len, value, value_len; /* in bytes */
    int64_t number;
};

/* Live bytes gained or lost by an object in this group. */
struct delta {
    struct c2_map_node node;
    struct fs_object *object; /* one reference */
    int64_t live;
};

struct build {
    struct anchor *a;
    struct c2_buf bytes; /* keys and values */
    struct op *ops;
    size_t nops, cap, next;
    struct c2_map deltas;
    int64_t used_bytes, used_files;
    size_t part_first; /* first operation of the running transaction */
    bool has_ship_record;
    struct coord_op part[COORD_TXN_OPS_MAX];
    struct coord_cond conds[2];
    struct c2_timer retry;
};

static void submit_part(struct build *b);

/* ---- collecting operations ------------------------------------------------------------------ */

static struct op *
add_op(struct build *b, enum coord_op_kind kind, const struct ck *key)
{
    if (b->nops == b->cap) {
        b->cap = b->cap == 0 ? 256 : b->cap * 2;
        b->ops = c2_realloc(b->ops, b->cap, sizeof(*b->ops));
    }
    struct op *o = &b->ops[b->nops++];
    *o = (struct op){ .kind = kind, .key = b->bytes.len, .key_len = key->len };
    c2_buf_append(&b->bytes, key->bytes, key->len);
    o->value = b->bytes.len;
    return o;
}

static void
add_plain(struct build *b, const struct ck *key, struct c2_slice value)
{
    struct op *o = add_op(b, COORD_PUT, key);
    c2_buf_append(&b->bytes, value.data, value.len);
    o->value_len = b->bytes.len - o->value;
}

static void
add_sealed(struct build *b, const struct ck *key, struct c2_slice plain)
{
    struct op *o = add_op(b, COORD_PUT, key);
    keys_seal(b->a->fs->part.keys, ck_slice(key), plain, &b->bytes);
    o->value_len = b->bytes.len - o->value;
}

static void
add_counter(struct build *b, const struct ck *key, int64_t number)
{
    if (number != 0)
        add_op(b, COORD_ADD, key)->number = number;
}

static struct delta *
delta_of(struct build *b, struct fs_object *o)
{
    uint64_t hash = c2_map_hash_u64(&b->deltas, (uint64_t)(uintptr_t)o);
    for (struct c2_map_node *n = c2_map_find(&b->deltas, hash); n != NULL;
         n = c2_map_find_next(n)) {
        struct delta *d = C2_CONTAINER_OF(n, struct delta, node);
        if (d->object == o)
            return d;
    }
    struct delta *d = c2_calloc(1, sizeof(*d));
    d->object = o;
    fs_source_ref(&o->source);
    d->node.hash = hash;
    c2_map_insert(&b->deltas, &d->node);
    return d;
}

static void
live_changed(struct build *b, const struct fs_extent *e, int sign)
{
    uint64_t off;
    if (e->source == NULL)
        return;
    struct fs_source *s = fs_extent_source(e, &off);
    C2_ASSERT(s->kind == FS_SOURCE_OBJECT);
    delta_of(b, C2_CONTAINER_OF(s, struct fs_object, source))->live += sign * (int64_t)e->len;
}

static void
gained(void *arg, const struct fs_extent *e)
{
    live_changed(arg, e, 1);
}

static void
lost(void *arg, const struct fs_extent *e)
{
    live_changed(arg, e, -1);
}

static void
leaves_changed(struct build *b, const struct fs_manifest *m, int sign)
{
    for (size_t k = 0; m != NULL && k < m->nleaves; k++) {
        struct fs_extent e = { .len = m->leaves[k].len,
                               .source = m->leaves[k].source,
                               .source_off = m->leaves[k].source_off };
        live_changed(b, &e, sign);
    }
}

static void
collect_live(struct build *b, const struct txg_inode *x)
{
    const struct fs_inode *i = x->inode;
    const struct fs_map *now = x->deleted ? NULL : x->map;
    if (x->map != NULL || x->deleted) {
        fs_map_diff(i->committed, now, gained, b);
        fs_map_diff(now, i->committed, lost, b);
    }
    if (x->manifest != NULL || x->deleted)
        leaves_changed(b, i->manifest, -1);
    leaves_changed(b, x->manifest, 1);
}

static void
collect_inode(struct build *b, struct txg_inode *x)
{
    struct fs_inode *i = x->inode;
    struct ck key = ck_inode(i->ino);
    struct ck orphan = ck_orphan(i->ino);
    bool unread = i->manifest != NULL && i->committed == NULL;
    uint64_t size = S_ISREG(i->attr.mode) ? x->size : 0;
    if (!x->deleted) {
        const struct fs_manifest *m = x->manifest != NULL ? x->manifest : i->manifest;
        if (S_ISREG(i->attr.mode))
            fs_content_encode(m, x->map != NULL ? x->map : i->committed, &x->record);
        add_sealed(b, &key, c2_buf_slice(&x->record));
        if (x->orphaned)
            add_plain(b, &orphan, c2_slice(NULL, 0));
        collect_live(b, x);
        b->used_files += i->committed_counted ? 0 : 1;
        b->used_bytes += (int64_t)size - (i->committed_counted ? (int64_t)i->committed_size : 0);
        return;
    }
    add_op(b, COORD_DELETE, &key);
    if (unread) {
        /* The extents were never read: the garbage queue keeps the record, to count them later. */
        fs_content_encode(i->manifest, NULL, &x->record);
        add_sealed(b, &orphan, c2_buf_slice(&x->record));
    } else {
        if (x->orphaned)
            add_op(b, COORD_DELETE, &orphan);
        collect_live(b, x);
    }
    b->used_files -= i->committed_counted ? 1 : 0;
    b->used_bytes -= i->committed_counted ? (int64_t)i->committed_size : 0;
}

static void
collect_dentry(struct build *b, const struct txg_dentry *x)
{
    struct fs_dentry *e = x->entry;
    struct ck key = ck_dentry(e->dir, e->hash);
    if (x->ino == 0) {
        add_op(b, COORD_DELETE, &key);
        return;
    }
    struct c2_buf plain = { 0 };
    fs_dentry_record_encode(x->ino, x->type, e->name, &plain);
    add_sealed(b, &key, c2_buf_slice(&plain));
    c2_buf_done(&plain);
}

static void
collect_objects(struct build *b)
{
    struct c2_map_node *next;
    for (struct c2_map_node *n = c2_map_take_all(&b->deltas); n != NULL; n = next) {
        struct delta *d = C2_CONTAINER_OF(n, struct delta, node);
        next = n->next;
        if (!d->object->recorded) {
            struct ck key = ck_object(&d->object->ref.oid);
            struct c2_buf record = { 0 };
            fs_object_record_encode(d->object, &record);
            add_plain(b, &key, c2_buf_slice(&record));
            c2_buf_done(&record);
        }
        struct ck live = ck_live(&d->object->ref.oid);
        add_counter(b, &live, d->live);
        fs_source_unref(&d->object->source);
        c2_free(d);
    }
}

static void
collect(struct build *b)
{
    const struct txg *t = b->a->txg;
    for (size_t k = 0; k < t->ninodes; k++)
        if (!t->inodes[k].deleted)
            collect_inode(b, &t->inodes[k]);
    for (size_t k = 0; k < t->ndentries; k++)
        if (t->dentries[k].ino != 0)
            collect_dentry(b, &t->dentries[k]);
    for (size_t k = 0; k < t->ndentries; k++)
        if (t->dentries[k].ino == 0)
            collect_dentry(b, &t->dentries[k]);
    for (size_t k = 0; k < t->ninodes; k++)
        if (t->inodes[k].deleted)
            collect_inode(b, &t->inodes[k]);
    collect_objects(b);
    struct ck bytes = ck_usage("bytes"), files = ck_usage("files"), position = ck_letter('J');
    add_counter(b, &bytes, b->used_bytes);
    add_counter(b, &files, b->used_files);
    struct c2_buf plain = { 0 };
    c2_wr_u64(&plain, t->journal_seq);
    c2_wr_u64(&plain, t->next_ino);
    add_sealed(b, &position, c2_buf_slice(&plain));
    c2_buf_clear(&plain);
    if (fs_ship_record(b->a->fs, &plain)) {
        struct ck shipped = ck_letter('H');
        add_sealed(b, &shipped, c2_buf_slice(&plain));
        b->has_ship_record = true;
    }
    c2_buf_done(&plain);
}

/* ---- committing ----------------------------------------------------------------------------- */

static void
finish(struct build *b, enum c2_err err)
{
    struct anchor *a = b->a;
    coord_req_done(&a->req);
    c2_buf_done(&b->bytes);
    c2_free(b->ops);
    c2_map_done(&b->deltas);
    c2_free(b);
    a->err = err;
    a->done(a);
}

static void
mark_recorded(const struct txg *t)
{
    for (size_t k = 0; k < t->ninodes; k++) {
        const struct fs_map *m = t->inodes[k].deleted ? NULL : t->inodes[k].map;
        for (size_t e = 0; m != NULL && e < m->n; e++) {
            uint64_t off;
            struct fs_source *s = fs_extent_source(&m->e[e], &off);
            if (s->kind == FS_SOURCE_OBJECT)
                C2_CONTAINER_OF(s, struct fs_object, source)->recorded = true;
        }
        const struct fs_manifest *x = t->inodes[k].manifest;
        for (size_t l = 0; x != NULL && l < x->nleaves; l++) {
            struct fs_extent e = { .source = x->leaves[l].source };
            uint64_t off;
            struct fs_source *s = fs_extent_source(&e, &off);
            C2_CONTAINER_OF(s, struct fs_object, source)->recorded = true;
        }
    }
}

static void
part_done(struct coord_req *r)
{
    struct anchor *a = C2_CONTAINER_OF(r, struct anchor, req);
    struct build *b = a->priv;
    a->txns++;
    if (r->err == C2_E_CONFLICT || r->err == C2_E_SESSION) {
        finish(b, C2_E_FENCED);
        return;
    }
    if (r->err != C2_E_OK && a->stopping) {
        finish(b, C2_E_CANCELED);
        return;
    }
    if (r->err != C2_E_OK) {
        c2_log(ERROR, "anchor", "group=%llu commit failed: err=%s, trying again",
               (unsigned long long)a->txg->id, c2_err_name(r->err));
        a->last_error = r->err;
        b->next = b->part_first;
        c2_timer_arm(a->fs->part.env, &b->retry, c2_now_ns(a->fs->part.env) + RETRY_NS);
        return;
    }
    a->last_error = C2_E_OK;
    if (b->next < b->nops) {
        submit_part(b);
        return;
    }
    mark_recorded(a->txg);
    if (b->has_ship_record)
        fs_ship_record_saved(a->fs);
    finish(b, C2_E_OK);
}

static void
submit_part(struct build *b)
{
    struct anchor *a = b->a;
    const struct fs_parts *part = &a->fs->part;
    size_t n = 0, bytes = 0;
    b->part_first = b->next;
    while (b->next < b->nops && n < PART_OPS) {
        const struct op *o = &b->ops[b->next];
        size_t cost = o->key_len + o->value_len + 32;
        if (n > 0 && bytes + cost > PART_BYTES)
            break;
        b->part[n++] = (struct coord_op){ .kind = o->kind,
                                          .key = c2_slice(b->bytes.data + o->key, o->key_len),
                                          .value = c2_slice(b->bytes.data + o->value, o->value_len),
                                          .number = o->number };
        bytes += cost;
        b->next++;
    }
    b->conds[0] = (struct coord_cond){ .kind = COORD_VERSION_EQ,
                                       .key = part->fence_key,
                                       .number = part->fence_token };
    b->conds[1] = (struct coord_cond){ .kind = COORD_SESSION_ALIVE, .number = part->session };
    coord_req_done(&a->req);
    a->req = (struct coord_req){ .verb = COORD_TXN,
                                 .conds = b->conds,
                                 .nconds = 2,
                                 .ops = b->part,
                                 .nops = n,
                                 .deadline_ns = C2_NEVER,
                                 .done = part_done };
    coord_submit(part->coord, &a->req);
}

static void
retry_due(struct c2_timer *t)
{
    submit_part(C2_CONTAINER_OF(t, struct build, retry));
}

void
anchor_stop(struct anchor *a)
{
    struct build *b = a->priv;
    a->stopping = true;
    if (!c2_timer_armed(&b->retry)) {
        coord_cancel(a->fs->part.coord, &a->req);
        return;
    }
    c2_timer_stop(a->fs->part.env, &b->retry);
    finish(b, C2_E_CANCELED);
}

void
anchor_start(struct anchor *a)
{
    struct build *b = c2_calloc(1, sizeof(*b));
    b->a = a;
    b->retry.fire = retry_due;
    a->priv = b;
    c2_map_init(&b->deltas, 0);
    collect(b);
    submit_part(b);
}
