/* SPDX-License-Identifier: MIT */
/*
 * Objects, for one window of them after the other:
 *
 *   O (until the window is full) --> R, K (of the same range) --> [every share of each] -->
 *     I, G (all: what do the files use of them?) --> judge --> next window
 */
#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "fs/fsck_impl.h"
#include "fs/lost.h"
#include "fs/repair.h"

#define OID_LEN 24u /* in a key, after its letter */

static fsck_step records_read, counters_read, condemned_read, inodes_read, garbage_read;
static void check_more(struct fsck *f);

/* ---- the table ------------------------------------------------------------------------------ */

bool
fsck_in_window(const struct fsck *f, const struct ds_oid *oid)
{
    struct ck key = ck_object(oid);
    bool after =
        f->objects_after.len == 1 || memcmp(key.bytes + 1, f->objects_after.bytes + 1, OID_LEN) > 0;
    return after &&
           (f->last_window || memcmp(key.bytes + 1, f->objects_to.bytes + 1, OID_LEN) <= 0);
}

struct fsck_object *
fsck_object(struct fsck *f, const struct ds_oid *oid)
{
    uint64_t hash = c2_map_hash_u64(&f->by_id, oid->sid * 0x9e3779b97f4a7c15ull ^ oid->seq);
    for (struct c2_map_node *n = c2_map_find(&f->by_id, hash); n != NULL; n = c2_map_find_next(n)) {
        struct fsck_object *o = C2_CONTAINER_OF(n, struct fsck_object, node);
        const struct ds_oid *have = &o->ref.oid;
        if (have->sid == oid->sid && have->seq == oid->seq &&
            memcmp(have->rnd, oid->rnd, sizeof(oid->rnd)) == 0)
            return o;
    }
    struct fsck_object *o = c2_calloc(1, sizeof(*o));
    o->source = (struct fs_source){ .kind = FS_SOURCE_OBJECT, .refs = 1 };
    o->ref.oid = *oid;
    o->node.hash = hash;
    c2_map_insert(&f->by_id, &o->node);
    c2_list_append(&f->objects, &o->link);
    return o;
}

void
fsck_objects_free(struct fsck *f)
{
    C2_LIST_FOREACH (&f->objects, struct fsck_object, o, link) {
        c2_list_remove(&f->objects, &o->link);
        c2_map_remove(&f->by_id, &o->node);
        c2_free(o);
    }
}

/* ---- records -------------------------------------------------------------------------------- */

static bool
visit_record(struct fsck *f, const struct coord_entry *e)
{
    size_t max = f->k->window_objects != 0 ? f->k->window_objects : FS_FSCK_OBJECTS;
    struct fs_object_record rec = { 0 };
    struct ds_oid oid = { 0 };
    if (f->nrecorded == max)
        return false;
    if (fs_object_key_decode(e->key, &oid) != C2_E_OK)
        return true;
    struct fsck_object *o = fsck_object(f, &oid);
    f->nrecorded++;
    o->recorded = true;
    o->o_version = e->version;
    rec.ref.oid = oid;
    enum c2_err err = fs_object_rec_decode(e->value, &rec);
    if (err != C2_E_OK) {
        fsck_problem(f, FSCK_STAYS, "object %llx.%llx: its record cannot be read: %s",
                     (unsigned long long)oid.sid, (unsigned long long)oid.seq, c2_err_text(err));
        return true;
    }
    o->ref = rec.ref;
    o->placed = rec.placed;
    return true;
}

/* Of an R or K key: false behind the window. */
static bool
object_at(struct fsck *f, const struct coord_entry *e, struct fsck_object **ret_object)
{
    struct ds_oid oid = { 0 };
    *ret_object = NULL;
    if (fs_object_key_decode(e->key, &oid) != C2_E_OK)
        return true;
    if (!fsck_in_window(f, &oid))
        return false;
    *ret_object = fsck_object(f, &oid);
    return true;
}

static bool
visit_counter(struct fsck *f, const struct coord_entry *e)
{
    struct fsck_object *o;
    if (!object_at(f, e, &o))
        return false;
    if (o == NULL)
        return true;
    o->counted = true;
    o->live = e->value.len == 8 ? (int64_t)c2_get_u64(e->value.data) : -1;
    o->r_version = e->version;
    return true;
}

static bool
visit_condemned(struct fsck *f, const struct coord_entry *e)
{
    struct fsck_object *o;
    if (!object_at(f, e, &o))
        return false;
    if (o == NULL)
        return true;
    o->condemned = true;
    o->k_version = e->version;
    return true;
}

static void
next_window(struct fsck *f)
{
    f->nrecorded = 0;
    f->last_window = true; /* until its end is known, everything behind its beginning is in it */
    fsck_walk(f, 'O', &f->objects_after, visit_record, records_read);
}

static void
records_read(struct fsck *f, enum c2_err err)
{
    (void)err; /* the walk ends everything when it fails */
    f->last_window = !f->cut_short;
    f->objects_to = f->cursor;
    fsck_walk(f, 'R', &f->objects_after, visit_counter, counters_read);
}

static void
counters_read(struct fsck *f, enum c2_err err)
{
    (void)err;
    fsck_walk(f, 'K', &f->objects_after, visit_condemned, condemned_read);
}

/* ---- every share ---------------------------------------------------------------------------- */

struct share_check {
    struct fsck *f;
    struct fsck_object *object;
    struct ds_check check;
};

static unsigned
bits(uint32_t set)
{
    return (unsigned)__builtin_popcount(set);
}

static void
checked(struct ds_check *k)
{
    struct share_check *s = C2_CONTAINER_OF(k, struct share_check, check);
    struct fsck *f = s->f;
    struct fs_fsck_counts *c = &f->k->counts;
    struct fsck_object *o = s->object;
    uint32_t lost = k->bad | k->absent;
    unsigned needed = ds_client_f(f->k->ds) + 1;
    c->verified++;
    c->bytes += k->bytes_read;
    c->shares_bad += bits(lost);
    c->shares_unknown += bits(k->unknown);
    o->unreadable = bits(k->good | k->unknown) < needed;
    c->unknown += !o->unreadable && bits(k->good) < needed;
    if (lost != 0 && f->k->fs != NULL && !f->k->fs->stopping)
        fs_repair_found(f->k->fs, &o->ref, o->placed, lost);
    c2_free(s);
    f->checking--;
    check_more(f);
}

static void
check_more(struct fsck *f)
{
    while (f->check_next != NULL && f->checking < FSCK_CHECKS && !f->canceled) {
        struct fsck_object *o = f->check_next;
        f->check_next = o->link.next == &f->objects.head
                            ? NULL
                            : C2_CONTAINER_OF(o->link.next, struct fsck_object, link);
        if (!o->recorded || o->placed == 0 || !fs_ref_has_root(&o->ref))
            continue;
        struct share_check *s = c2_calloc(1, sizeof(*s));
        s->f = f;
        s->object = o;
        s->check = (struct ds_check){
            .kind = DS_KIND_OBJECT, .ref = o->ref, .seats = o->placed, .done = checked
        };
        f->checking++;
        ds_check_start(f->k->ds, &s->check);
    }
    if (f->checking > 0)
        return;
    if (f->canceled)
        fsck_end(f, C2_E_CANCELED);
    else
        fsck_walk(f, 'I', NULL, fsck_take_content, inodes_read);
}

static void
condemned_read(struct fsck *f, enum c2_err err)
{
    (void)err;
    f->check_next = f->k->deep ? C2_LIST_FIRST(&f->objects, struct fsck_object, link) : NULL;
    check_more(f);
}

static void
inodes_read(struct fsck *f, enum c2_err err)
{
    (void)err;
    fsck_walk(f, 'G', NULL, fsck_take_content, garbage_read);
}

/* ---- judging -------------------------------------------------------------------------------- */

static struct fsck_fix *
fix_key(struct fsck *f, enum fsck_fix_kind kind, struct ck key, uint64_t version)
{
    struct fsck_fix *fix = fsck_fix(f, kind);
    if (fix == NULL)
        return NULL;
    fix->key = key;
    fix->version = version;
    return fix;
}

static void
judge_counter(struct fsck *f, const struct fsck_object *o)
{
    if (o->live == o->sum || (f->uncounted && o->live > o->sum))
        return;
    fsck_problem(f, FSCK_MENDABLE,
                 "object %llx.%llx: its counter says %lld bytes in use, the files use %lld",
                 (unsigned long long)o->ref.oid.sid, (unsigned long long)o->ref.oid.seq,
                 (long long)o->live, (long long)o->sum);
    struct fsck_fix *fix =
        f->uncounted ? NULL : fix_key(f, FSCK_PUT_COUNTER, ck_live(&o->ref.oid), o->r_version);
    if (fix != NULL)
        fix->number = o->sum;
}

static void
judge_unrecorded(struct fsck *f, const struct fsck_object *o)
{
    unsigned long long sid = o->ref.oid.sid, seq = o->ref.oid.seq;
    if (o->sum > 0) {
        fsck_problem(f, FSCK_LOST, "object %llx.%llx: files use %lld bytes of it, and it is %s",
                     sid, seq, (long long)o->sum, o->condemned ? "being deleted" : "not recorded");
    } else if (o->counted) {
        fsck_problem(f, FSCK_MENDABLE, "object %llx.%llx: a counter without a record", sid, seq);
        (void)fix_key(f, FSCK_DELETE_KEY, ck_live(&o->ref.oid), o->r_version);
    }
}

static void
judge(struct fsck *f, const struct fsck_object *o)
{
    struct fs_fsck_counts *c = &f->k->counts;
    if (o->outside)
        return;
    c->objects += o->recorded;
    c->dead += o->recorded && o->sum == 0;
    c->condemned += o->condemned;
    if (!o->recorded) {
        judge_unrecorded(f, o);
        return;
    }
    if (o->condemned) {
        fsck_problem(f, FSCK_MENDABLE, "object %llx.%llx is recorded as live and as being deleted",
                     (unsigned long long)o->ref.oid.sid, (unsigned long long)o->ref.oid.seq);
        (void)fix_key(f, FSCK_DELETE_KEY, ck_condemned(&o->ref.oid), o->k_version);
    }
    judge_counter(f, o);
}

static void
garbage_read(struct fsck *f, enum c2_err err)
{
    (void)err;
    C2_LIST_FOREACH (&f->objects, struct fsck_object, o, link) {
        judge(f, o);
    }
    fsck_objects_free(f);
    f->first_objects = false;
    f->objects_after = f->objects_to;
    if (f->last_window)
        fsck_damage_start(f);
    else
        next_window(f);
}

void
fsck_objects_start(struct fsck *f)
{
    f->first_objects = true;
    f->objects_after = ck_letter('O');
    next_window(f);
}
