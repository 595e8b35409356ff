/* SPDX-License-Identifier: MIT */
/*
 * What of a group goes into its next transaction. anchor.c says what the order is for.
 *
 *   BEGIN (key J) --> INODES --> ENTRIES --> REMOVALS --> DELETIONS --> LATE --> POSITION --> END
 *
 * A part takes items until one does not fit; that one begins the next part.
 */
#include "fs/anchor_impl.h"

#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "fs/manifest.h"
#include "fs/object_record.h"
#include "fs/records.h"

#define COUNT_EXTENTS_MAX 512u /* of a deleted file, counted at once */
#define PART_OPS          (COORD_TXN_OPS_MAX - 16)
#define PART_GAINS        (COORD_TXN_CONDS_MAX - 16) /* objects that must have their record */
#define PART_OBJECTS      1000u
#define PART_BYTES        (COORD_TXN_BYTES_MAX - (COORD_TXN_BYTES_MAX / 8))
/* What things take in the encoding of a transaction, at most. */
#define OP_BYTES        64u  /* an operation beside its key and value */
#define OBJECT_BYTES    400u /* record, counter and condition */
#define ITEM_KEYS_BYTES 64u
#define ENTRY_BYTES     (FS_NAME_MAX + KEYS_SEAL_OVERHEAD + 64u)
#define END_BYTES       4096u

/* ---- operations of a part -------------------------------------------------------------------- */

static struct anchor_op *
add_op(struct anchor_build *b, enum coord_op_kind kind, const struct ck *key)
{
    C2_ASSERT(b->nops < COORD_TXN_OPS_MAX);
    struct anchor_op *o = &b->ops[b->nops++];
    *o = (struct anchor_op){ .kind = kind, .key = b->bytes.len, .key_len = key->len };
    c2_buf_append(&b->bytes, key->bytes, key->len);
    o->value = b->bytes.len;
    return o;
}

static void
add_plain(struct anchor_build *b, const struct ck *key, struct c2_slice value)
{
    struct anchor_op *o = add_op(b, COORD_PUT, key);
    c2_buf_append(&b->bytes, value.data, value.len);
    o->value_len = b->bytes.len - o->value;
}

static void
add_sealed(struct anchor_build *b, const struct ck *key, struct c2_slice plain)
{
    struct anchor_op *o = add_op(b, COORD_PUT, key);
    keys_seal(b->a->fs->part.keys, ck_slice(key), plain, &b->bytes);
    o->value_len = b->bytes.len - o->value;
}

static void
add_counter(struct anchor_build *b, const struct ck *key, int64_t number)
{
    if (number != 0)
        add_op(b, COORD_ADD, key)->number = number;
}

/* Those that must have their record, because a file gets bytes of them. */
static size_t
gains(const struct fs_live *live)
{
    size_t n = 0;
    C2_LIST_FOREACH (&live->changes, struct fs_live_change, c, link) {
        n += c->bytes > 0 && c->object->recorded;
    }
    return n;
}

/* So many operations and bytes beside what the part has, and the changes of the item. Objects that
 * the part has already are counted again: it is a little less full than it could be. */
static bool
fits(const struct anchor_build *b, size_t nops, size_t bytes)
{
    size_t objects = b->live.changes.count + b->item.changes.count;
    return b->nops + nops + 2 * objects <= PART_OPS && objects <= PART_OBJECTS &&
           b->ngains + gains(&b->item) <= PART_GAINS &&
           b->bytes.len + (b->nops + nops) * OP_BYTES + bytes + objects * OBJECT_BYTES <=
               PART_BYTES;
}

/* ---- items ----------------------------------------------------------------------------------- */

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
count_live(struct fs_live *live, const struct txg_inode *x)
{
    const struct fs_inode *i = x->inode;
    if (counted_later(x))
        return;
    if (x->map != NULL || x->deleted)
        fs_live_content(live, i->committed, x->deleted ? NULL : x->map);
    if (x->manifest != NULL || x->deleted)
        fs_live_leaves(live, i->manifest, -1);
    fs_live_leaves(live, x->manifest, 1);
}

static void
add_inode(struct anchor_build *b, const struct txg_inode *x)
{
    struct fs_inode *i = x->inode;
    struct ck key = ck_inode(i->ino);
    struct ck orphan = ck_orphan(i->ino);
    add_sealed(b, &key, c2_buf_slice(&x->record));
    if (x->orphaned)
        add_plain(b, &orphan, c2_slice(NULL, 0));
    b->used_files += i->committed_counted ? 0 : 1;
    b->used_bytes += S_ISREG(i->attr.mode) ? (int64_t)fs_counted_bytes(x->size) : 0;
    b->used_bytes -= i->committed_counted ? (int64_t)fs_counted_bytes(i->committed_size) : 0;
}

static void
add_deletion(struct anchor_build *b, const struct txg_inode *x)
{
    struct fs_inode *i = x->inode;
    struct ck key = ck_inode(i->ino);
    struct ck orphan = ck_orphan(i->ino);
    add_op(b, COORD_DELETE, &key);
    if (counted_later(x)) {
        add_sealed(b, &orphan, c2_buf_slice(&x->record));
        b->has_garbage = true;
    } else if (x->orphaned) {
        add_op(b, COORD_DELETE, &orphan);
    }
    b->used_files -= i->committed_counted ? 1 : 0;
    b->used_bytes -= i->committed_counted ? (int64_t)fs_counted_bytes(i->committed_size) : 0;
}

/* The record that is put, with its content; for a deletion the one of the garbage queue. */
static void
complete_record(struct txg_inode *x)
{
    struct fs_inode *i = x->inode;
    const struct fs_manifest *m = x->manifest != NULL ? x->manifest : i->manifest;
    if (!x->deleted) {
        if (S_ISREG(i->attr.mode))
            fs_content_encode(m, x->map != NULL ? x->map : i->committed, &x->record);
        return;
    }
    if (!counted_later(x))
        return;
    struct c2_buf plain = { 0 };
    c2_wr_u64(&plain, 0); /* objects done */
    c2_wr_raw(&plain, x->record.data, x->record.len);
    fs_content_encode(i->manifest, i->committed, &plain);
    c2_buf_done(&x->record);
    x->record = plain;
}

/* Moves changes that have this sign, at most so many, and forgets those that came to nothing. */
static void
move_changes(struct fs_live *from, struct fs_live *to, int sign, size_t max)
{
    C2_LIST_FOREACH (&from->changes, struct fs_live_change, c, link) {
        bool wanted = sign == 0 || (sign > 0) == (c->bytes > 0);
        if (to->changes.count >= max)
            return;
        if (!wanted && c->bytes != 0)
            continue;
        fs_live_add(to, c->object, c->bytes);
        fs_live_forget(from, c);
    }
}

/* An inode, or its deletion, with what it changes of objects. False: in another part. */
static bool
take_inode(struct anchor_build *b, struct txg_inode *x)
{
    if (!b->ready) {
        complete_record(x);
        count_live(&b->item, x);
        b->ready = true;
        b->spread = b->item.changes.count > PART_OBJECTS || gains(&b->item) > PART_GAINS;
        if (b->spread)
            C2_MARK("anchor: a file with more objects than fit a transaction");
    }
    if (b->spread) { /* what it loses waits, the rest comes first, a part at a time */
        if (b->live.changes.count > 0)
            return false;
        move_changes(&b->item, &b->late, -1, SIZE_MAX);
        move_changes(&b->item, &b->live, 1, PART_GAINS);
        b->spread = b->item.changes.count > 0;
        if (b->live.changes.count > 0)
            return false;
    }
    if (!fits(b, 2, x->record.len + 2 * KEYS_SEAL_OVERHEAD + ITEM_KEYS_BYTES))
        return false;
    b->ngains += gains(&b->item);
    if (x->deleted)
        add_deletion(b, x);
    else
        add_inode(b, x);
    move_changes(&b->item, &b->live, 0, SIZE_MAX);
    b->ready = false;
    return true;
}

static bool
take_dentry(struct anchor_build *b, const struct txg_dentry *x)
{
    struct fs_dentry *e = x->entry;
    struct ck key = ck_dentry(e->dir, e->hash);
    if (!fits(b, 1, ENTRY_BYTES))
        return false;
    if (x->ino == 0) {
        add_op(b, COORD_DELETE, &key);
        return true;
    }
    struct c2_buf plain = { 0 };
    fs_dentry_record_encode(x->ino, x->type, e->name, &plain);
    add_sealed(b, &key, c2_buf_slice(&plain));
    c2_buf_done(&plain);
    return true;
}

static struct fs_position
position_of(const struct anchor_build *b)
{
    const struct txg *t = b->a->txg;
    struct fs_position at = { .next_ino = t->next_ino, .seq = t->journal_seq };
    memcpy(at.device, b->a->fs->part.device_id, sizeof(at.device));
    return at;
}

static void
add_beginning(struct anchor_build *b)
{
    const struct fs_position at = position_of(b);
    const struct ck last = ck_letter('J');
    struct c2_buf plain = { 0 };
    fs_position_encode(&at, &plain);
    add_sealed(b, &last, c2_buf_slice(&plain));
    c2_buf_done(&plain);
}

static bool
take_position(struct anchor_build *b)
{
    const struct fs_position at = position_of(b);
    const struct ck position = ck_journal(b->a->fs->part.device_id), shipped = ck_letter('H');
    struct c2_buf plain = { 0 };
    if (!fits(b, 2, END_BYTES))
        return false;
    fs_position_encode_seq(&at, &plain);
    add_sealed(b, &position, c2_buf_slice(&plain));
    c2_buf_clear(&plain);
    if (fs_ship_record(b->a->fs, &plain)) {
        add_sealed(b, &shipped, c2_buf_slice(&plain));
        b->has_ship_record = true;
    }
    c2_buf_done(&plain);
    return true;
}

static bool
take_late(struct anchor_build *b)
{
    if (b->late.changes.count > 0 && b->live.changes.count == 0)
        move_changes(&b->late, &b->live, 0, PART_OBJECTS);
    return b->late.changes.count == 0;
}

/* ---- parts ----------------------------------------------------------------------------------- */

/* The next item of the running phase. False: not into this part. */
static bool
take_item(struct anchor_build *b)
{
    const struct txg *t = b->a->txg;
    bool second = b->phase == PHASE_DELETIONS || b->phase == PHASE_REMOVALS;
    switch (b->phase) {
    case PHASE_INODES:
    case PHASE_DELETIONS:
        return t->inodes[b->at].deleted != second || take_inode(b, &t->inodes[b->at]);
    case PHASE_ENTRIES:
    case PHASE_REMOVALS:
        return (t->dentries[b->at].ino == 0) != second || take_dentry(b, &t->dentries[b->at]);
    case PHASE_LATE:
        return take_late(b);
    case PHASE_POSITION:
        return take_position(b);
    case PHASE_BEGIN:
        add_beginning(b);
        return true;
    case PHASE_END:
        break;
    }
    C2_UNREACHABLE();
}

static size_t
items(const struct anchor_build *b)
{
    const struct txg *t = b->a->txg;
    if (b->phase == PHASE_INODES || b->phase == PHASE_DELETIONS)
        return t->ninodes;
    return b->phase == PHASE_ENTRIES || b->phase == PHASE_REMOVALS ? t->ndentries : 1;
}

static void
must_exist(struct anchor_build *b, const struct ck *key)
{
    C2_ASSERT(ANCHOR_CONDS + b->nexists < COORD_TXN_CONDS_MAX);
    b->exists[b->nexists++] = *key;
}

/* Counters of objects, and the records of those that have none yet. */
static void
add_objects(struct anchor_build *b)
{
    C2_LIST_FOREACH (&b->live.changes, struct fs_live_change, c, link) {
        struct ck key = ck_object(&c->object->ref.oid), live = ck_live(&c->object->ref.oid);
        if (!c->object->recorded) {
            struct c2_buf record = { 0 };
            fs_object_record_encode(c->object, &record);
            add_plain(b, &key, c2_buf_slice(&record));
            c2_buf_done(&record);
        } else if (c->bytes > 0) {
            must_exist(b, &key);
        }
        add_counter(b, &live, c->bytes);
    }
}

void
anchor_build_part(struct anchor_build *b)
{
    c2_buf_clear(&b->bytes);
    b->nops = b->nexists = b->ngains = 0;
    b->used_bytes = b->used_files = 0;
    fs_live_done(&b->live);
    fs_live_init(&b->live);
    bool full = false;
    while (!full && b->phase != PHASE_END) {
        if (b->at == items(b)) {
            b->phase++;
            b->at = 0;
        } else if (take_item(b)) {
            b->at++;
        } else {
            full = true;
        }
    }
    struct ck bytes = ck_usage("bytes"), files = ck_usage("files");
    add_objects(b);
    add_counter(b, &bytes, b->used_bytes);
    add_counter(b, &files, b->used_files);
    C2_ASSERT(b->nops > 0);
}
