/* SPDX-License-Identifier: MIT */
/*
 * The consistency anchor (SCFS, ATC 2014, section 2.3): the bytes are in the clouds, now their
 * hashes are committed to the coordination service, in one transaction for the whole group:
 *
 *   ENCODE --> TXN (conditions: our lock still has our token, our session lives, the commit marker
 *              is as we left it, what gains bytes and was recorded before is still recorded)
 *          --> done
 *
 * A transaction that fails for a reason that may pass is sent again. A replicated service may have
 * carried it out although it says that it failed, and counters must not be added to twice: every
 * transaction writes the commit marker, our session and the number of the commit, and one that
 * finds its own marker there has happened already. A group that does not fit one
 * transaction is split, so that a crash in between is repaired by the journal and errs on the safe
 * side: that this device changes the store, what comes to objects, then inodes, entries, removals,
 * what goes from objects, and the journal position last. An object is never in use without its
 * record, and never counted too low.
 *
 * The collector (fs/gc.h) takes the record of an object away before it deletes it. A group that
 * names such an object is refused as a whole: what the clouds are losing is never referred to. It
 * does not happen, because the collector leaves alone what memory or the journal name; if it does,
 * nothing more is committed and the journal keeps everything.
 */
#include "fs/object_record.h"
#include "fs/txg.h"

#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/wire.h"
#include "fs/coord_keys.h"
#include "fs/fetch.h"
#include "fs/garbage.h"
#include "fs/live.h"
#include "fs/manifest.h"
#include "fs/records.h"

#define COUNT_EXTENTS_MAX 512u /* of a deleted file, counted at once */
#define RETRY_NS          (1 * C2_NS_PER_S)
#define EPOCH_NS          (10 * C2_NS_PER_MS) /* until this mount has moved to the next epoch */
#define COND_MARKER       2                   /* its place among the conditions */
#define COND_CONFIG       3
#define PART_OPS          (COORD_TXN_OPS_MAX - 16)
#define CONDS_FENCE       4u /* lock, session, marker and configuration */
#define PART_BYTES        (COORD_TXN_BYTES_MAX - (COORD_TXN_BYTES_MAX / 8))

struct op {
    enum coord_op_kind kind;
    size_t key, key_len, value, value_len; /* in bytes */
    size_t exists, exists_len;             /* in bytes: a key that must exist; length 0 = none */
    int64_t number;
};

struct build {
    struct anchor *a;
    struct c2_buf bytes; /* keys and values */
    struct op *ops;
    size_t nops, cap, next;
    struct fs_live live;
    int64_t used_bytes, used_files;
    size_t part_first; /* first operation of the running transaction */
    bool has_ship_record, has_garbage;
    struct coord_op part[COORD_TXN_OPS_MAX];
    struct coord_cond conds[COORD_TXN_CONDS_MAX];
    struct ck marker_key;
    uint8_t marker[FS_COMMIT_MARKER_LEN];
    struct ck config_key;
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

/* Of the latest operation. */
static void
must_exist(struct build *b, const struct ck *key)
{
    struct op *o = &b->ops[b->nops - 1];
    o->exists = b->bytes.len;
    o->exists_len = key->len;
    c2_buf_append(&b->bytes, key->bytes, key->len);
}

/*
 * A deletion that the garbage queue counts later (fs/garbage.c): the extents were never read, or
 * there are so many that they would fill the transaction.
 */
static bool
counted_later(const struct txg_inode *x)
{
    const struct fs_inode *i = x->inode;
    return x->deleted && i->manifest != NULL &&
           (i->committed == NULL || i->committed->n > COUNT_EXTENTS_MAX);
}

static void
count_live(struct build *b, const struct txg_inode *x)
{
    const struct fs_inode *i = x->inode;
    if (counted_later(x))
        return;
    if (x->map != NULL || x->deleted)
        fs_live_content(&b->live, i->committed, x->deleted ? NULL : x->map);
    if (x->manifest != NULL || x->deleted)
        fs_live_leaves(&b->live, i->manifest, -1);
    fs_live_leaves(&b->live, x->manifest, 1);
}

static void
collect_inode(struct build *b, struct txg_inode *x)
{
    struct fs_inode *i = x->inode;
    struct ck key = ck_inode(i->ino);
    struct ck orphan = ck_orphan(i->ino);
    const struct fs_manifest *m = x->manifest != NULL ? x->manifest : i->manifest;
    if (S_ISREG(i->attr.mode))
        fs_content_encode(m, x->map != NULL ? x->map : i->committed, &x->record);
    add_sealed(b, &key, c2_buf_slice(&x->record));
    if (x->orphaned)
        add_plain(b, &orphan, c2_slice(NULL, 0));
    b->used_files += i->committed_counted ? 0 : 1;
    b->used_bytes += S_ISREG(i->attr.mode) ? (int64_t)x->size : 0;
    b->used_bytes -= i->committed_counted ? (int64_t)i->committed_size : 0;
}

static void
collect_deletion(struct build *b, struct txg_inode *x)
{
    struct fs_inode *i = x->inode;
    struct ck key = ck_inode(i->ino);
    struct ck orphan = ck_orphan(i->ino);
    add_op(b, COORD_DELETE, &key);
    if (counted_later(x)) {
        struct c2_buf plain = { 0 };
        c2_wr_u64(&plain, 0); /* objects done */
        c2_wr_raw(&plain, x->record.data, x->record.len);
        fs_content_encode(i->manifest, i->committed, &plain);
        add_sealed(b, &orphan, c2_buf_slice(&plain));
        c2_buf_done(&plain);
        b->has_garbage = true;
    } else if (x->orphaned) {
        add_op(b, COORD_DELETE, &orphan);
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

/* What comes to objects, with their records; or what goes from them. */
static void
collect_objects(struct build *b, bool gains)
{
    C2_LIST_FOREACH (&b->live.changes, struct fs_live_change, c, link) {
        struct ck key = ck_object(&c->object->ref.oid), live = ck_live(&c->object->ref.oid);
        if (gains && !c->object->recorded) {
            struct c2_buf record = { 0 };
            fs_object_record_encode(c->object, &record);
            add_plain(b, &key, c2_buf_slice(&record));
            c2_buf_done(&record);
        }
        if (gains != (c->bytes > 0))
            continue;
        add_counter(b, &live, c->bytes);
        if (gains && c->object->recorded)
            must_exist(b, &key);
    }
}

static void
collect(struct build *b)
{
    const struct txg *t = b->a->txg;
    const struct fs_parts *part = &b->a->fs->part;
    struct fs_position at = { .next_ino = t->next_ino, .seq = t->journal_seq };
    memcpy(at.device, part->device_id, sizeof(at.device));
    struct ck last = ck_letter('J'), position = ck_journal(part->device_id);
    struct c2_buf plain = { 0 };
    fs_position_encode(&at, &plain);
    add_sealed(b, &last, c2_buf_slice(&plain));
    for (size_t k = 0; k < t->ninodes; k++)
        count_live(b, &t->inodes[k]);
    collect_objects(b, true);
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
            collect_deletion(b, &t->inodes[k]);
    collect_objects(b, false);
    struct ck bytes = ck_usage("bytes"), files = ck_usage("files");
    add_counter(b, &bytes, b->used_bytes);
    add_counter(b, &files, b->used_files);
    c2_buf_clear(&plain);
    fs_position_encode_seq(&at, &plain);
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
    fs_live_done(&b->live);
    c2_free(b);
    a->err = err;
    a->done(a);
}

static void
mark_recorded(struct build *b)
{
    C2_LIST_FOREACH (&b->live.changes, struct fs_live_change, c, link) {
        c->object->recorded = true;
    }
}

/* The service said that this very transaction failed, but it had happened. */
static bool
happened_already(const struct build *b, const struct coord_req *r)
{
    return r->err == C2_E_CONFLICT && r->cond_failed == COND_MARKER && r->nentries >= 1 &&
           c2_slice_equal(r->entries[0].value, c2_slice(b->marker, sizeof(b->marker)));
}

static void
refused(const struct build *b, struct c2_slice key)
{
    struct ds_oid oid = { 0 };
    C2_MARK("anchor: a group that names a condemned object");
    if (fs_object_key_decode(key, &oid) == C2_E_OK)
        c2_log(ERROR, "anchor", "group=%llu object=%llx.%llx is being deleted, and a file uses it",
               (unsigned long long)b->a->txg->id, (unsigned long long)oid.sid,
               (unsigned long long)oid.seq);
}

static void
part_done(struct coord_req *r)
{
    struct anchor *a = C2_CONTAINER_OF(r, struct anchor, req);
    struct build *b = a->priv;
    a->txns++;
    if (happened_already(b, r)) {
        C2_MARK("anchor: a commit that had happened already");
        r->version = r->entries[0].version;
        r->err = C2_E_OK;
    }
    if (r->err == C2_E_CONFLICT && r->cond_failed == COND_CONFIG && !a->stopping) {
        C2_MARK("anchor: under an old configuration");
        b->next = b->part_first;
        c2_timer_arm(a->fs->part.env, &b->retry, c2_now_ns(a->fs->part.env) + EPOCH_NS);
        return;
    }
    if ((r->err == C2_E_CONFLICT && r->cond_failed != COND_CONFIG) || r->err == C2_E_SESSION) {
        if (r->err == C2_E_CONFLICT && r->cond_failed >= CONDS_FENCE)
            refused(b, b->conds[r->cond_failed].key);
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
    a->fs->commit_version = r->version;
    a->fs->commits++;
    if (b->next < b->nops) {
        submit_part(b);
        return;
    }
    mark_recorded(b);
    a->fs->foreign = false;
    if (b->has_garbage)
        fs_garbage_wake(a->fs);
    if (b->has_ship_record)
        fs_ship_record_saved(a->fs);
    finish(b, C2_E_OK);
}

static void
submit_part(struct build *b)
{
    struct anchor *a = b->a;
    const struct fs_parts *part = &a->fs->part;
    size_t n = 0, bytes = 0, nconds = CONDS_FENCE;
    b->part_first = b->next;
    while (b->next < b->nops && n < PART_OPS) {
        const struct op *o = &b->ops[b->next];
        size_t cost = o->key_len + o->value_len + o->exists_len + 64;
        if (n > 0 && (bytes + cost > PART_BYTES || nconds == COORD_TXN_CONDS_MAX))
            break;
        if (o->exists_len > 0)
            b->conds[nconds++] =
                (struct coord_cond){ .kind = COORD_EXISTS,
                                     .key = c2_slice(b->bytes.data + o->exists, o->exists_len) };
        b->part[n++] = (struct coord_op){ .kind = o->kind,
                                          .key = c2_slice(b->bytes.data + o->key, o->key_len),
                                          .value = c2_slice(b->bytes.data + o->value, o->value_len),
                                          .number = o->number };
        bytes += cost;
        b->next++;
    }
    c2_put_u64(b->marker, part->session);
    c2_put_u64(b->marker + 8, a->fs->commits);
    b->part[n++] = (struct coord_op){ .kind = COORD_PUT,
                                      .key = ck_slice(&b->marker_key),
                                      .value = c2_slice(b->marker, sizeof(b->marker)) };
    b->conds[0] = (struct coord_cond){ .kind = COORD_VERSION_EQ,
                                       .key = part->fence_key,
                                       .number = part->fence_token };
    b->conds[1] = (struct coord_cond){ .kind = COORD_SESSION_ALIVE, .number = part->session };
    b->conds[COND_MARKER] = (struct coord_cond){ .kind = COORD_VERSION_EQ,
                                                 .key = ck_slice(&b->marker_key),
                                                 .number = a->fs->commit_version };
    b->config_key = ck_letter('C');
    b->conds[COND_CONFIG] = b->conds[1]; /* nothing is asked twice when there is none */
    if (part->config_version != NULL)
        b->conds[COND_CONFIG] = (struct coord_cond){ .kind = COORD_VERSION_EQ,
                                                     .key = ck_slice(&b->config_key),
                                                     .number = *part->config_version };
    coord_req_done(&a->req);
    a->req = (struct coord_req){ .verb = COORD_TXN,
                                 .conds = b->conds,
                                 .nconds = nconds,
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
    b->marker_key = ck_session(FS_COMMIT_MARKER);
    a->priv = b;
    fs_live_init(&b->live);
    collect(b);
    submit_part(b);
}
