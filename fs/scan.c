/* SPDX-License-Identifier: MIT */
/*
 *   RECORDS (the next ones) ──► LIST (the same range, at every seat) ──► CHECK (what lists lack,
 *        samples, or everything) ──► AGAIN (are the damaged ones still in use?)
 *        ──► for each object without a record: is there still none, is it still listed? ──► count
 *
 * Sessions that may be at work are left out of the search for objects without a record: theirs
 * come after the bytes.
 *
 * A list proves nothing, and up to f seats can invent as much as they like. Who has listed too many
 * objects without a record is asked for each share instead.
 */
#include "fs/scan.h"

#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "fs/record_page.h"
#include "fs/repair.h"

#define PARALLEL_MAX 16u
#define LIST_MAX     1000u
#define SESSION_LEN  17u /* of a key with session and number, and no random part */

/* What is known of one object in the window. */
struct seen {
    const struct fs_object_record *rec;
    uint32_t listed;
    bool check, full;
    uint32_t good, missing, bad, unknown; /* of the seats that should have it */
    bool gone;
};

struct slot {
    struct fs_scan_window *w;
    struct seen *seen;
    struct ds_check check;
    bool busy;
};

struct fs_scan_window {
    struct fs_scan *s;
    struct fs_record_page page;
    struct ds_list list;
    size_t nrecords; /* of the page that are in the window */
    size_t nlisted;  /* items of the list that are in the window */
    bool finished, canceled;
    uint32_t without; /* seats whose lists have too much that no record names */
    struct seen seen[FS_SCAN_WINDOW];
    size_t next;
    unsigned running;
    struct slot slot[PARALLEL_MAX];
    struct coord_req *waiting; /* for the store, or NULL */
    struct coord_req again;
    struct ck keys[FS_SCAN_WINDOW];
    struct c2_slice slices[FS_SCAN_WINDOW];
    struct seen *damaged[FS_SCAN_WINDOW];
    size_t ndamaged;
    struct fs_scan_counts counts;
    size_t *strays; /* owned: items of the list without a record */
    size_t nstrays, stray;
    bool condemned;      /* that kind of record is looked for */
    struct ds_list look; /* for one of them */
};

static void next_stray(struct fs_scan_window *w);

static unsigned
bits(uint32_t set)
{
    return (unsigned)__builtin_popcount(set);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void
add_counts(struct fs_scan_counts *to, const struct fs_scan_counts *more)
{
    to->objects += more->objects;
    to->healthy += more->healthy;
    to->below += more->below;
    to->unreadable += more->unreadable;
    to->verified += more->verified;
    to->orphans += more->orphans;
    for (unsigned k = 0; k < DS_SEATS_MAX; k++) {
        struct fs_scan_seat *t = &to->seat[k];
        const struct fs_scan_seat *m = &more->seat[k];
        t->expected += m->expected;
        t->present += m->present;
        t->missing += m->missing;
        t->bad += m->bad;
        t->unknown += m->unknown;
        t->extra += m->extra;
        t->orphans += m->orphans;
    }
}

static void
finish(struct fs_scan_window *w, enum c2_err err)
{
    struct fs_scan *s = w->s;
    s->err = w->canceled ? C2_E_CANCELED : err;
    if (s->err == C2_E_OK) {
        add_counts(&s->counts, &w->counts);
        const struct ds_oid *last = NULL;
        if (w->nrecords > 0)
            last = &w->page.rec[w->nrecords - 1].ref.oid;
        if (w->nlisted > 0) {
            const struct ds_list_item *i = &w->list.items[w->nlisted - 1];
            if (last == NULL || i->sid > last->sid || (i->sid == last->sid && i->seq > last->seq)) {
                s->after.sid = i->sid;
                s->after.seq = i->seq;
                last = NULL;
            }
        }
        if (last != NULL) {
            s->after.sid = last->sid;
            s->after.seq = last->seq;
        }
        s->after.set = s->after.set || w->nrecords + w->nlisted > 0;
        s->finished = w->finished;
    }
    c2_free(w->list.items);
    c2_free(w->strays);
    s->own = NULL;
    c2_free(w);
    s->done(s);
}

/* ---- counting -------------------------------------------------------------------------------- */

static void
count_seats(struct fs_scan_window *w, const struct seen *o)
{
    for (unsigned k = 0; k < ds_client_n(w->s->fs->part.ds); k++) {
        struct fs_scan_seat *c = &w->counts.seat[k];
        uint32_t bit = 1u << k;
        c->expected += (o->rec->placed & bit) != 0;
        c->present += (o->good & bit) != 0;
        c->missing += (o->missing & bit) != 0;
        c->bad += (o->bad & bit) != 0;
        c->unknown += (o->unknown & bit) != 0;
        c->extra += (o->listed & ~o->rec->placed & bit) != 0;
    }
}

static void
count(struct fs_scan_window *w, const struct seen *o)
{
    const struct ds_client *ds = w->s->fs->part.ds;
    uint32_t lost = o->missing | o->bad;
    bool healthy = bits(o->good) >= ds_client_goal_of(ds, o->rec->placed) && lost == 0;
    w->counts.objects++;
    w->counts.healthy += healthy;
    w->counts.below += !healthy;
    w->counts.verified += o->full;
    w->counts.unreadable += bits(o->good | o->unknown) < ds_client_f(ds) + 1;
    count_seats(w, o);
    if (lost != 0 || bits(o->rec->placed) < ds_client_goal_of(ds, o->rec->placed))
        fs_repair_found(w->s->fs, &o->rec->ref, o->rec->placed, lost);
}

static void
count_all(struct fs_scan_window *w)
{
    for (size_t k = 0; k < w->nrecords; k++)
        if (w->seen[k].rec->state == 0 && !w->seen[k].gone)
            count(w, &w->seen[k]);
    next_stray(w);
}

/* ---- objects without a record ---------------------------------------------------------------- */

static void
stray_looked_at(struct ds_list *l)
{
    struct fs_scan_window *w = C2_CONTAINER_OF(l, struct fs_scan_window, look);
    const struct ds_list_item *i = &w->list.items[w->strays[w->stray]];
    if (l->err == C2_E_OK && l->nitems > 0 && l->items[0].sid == i->sid &&
        l->items[0].seq == i->seq) {
        C2_MARK("scan: an object that no record names");
        w->counts.orphans++;
        for (unsigned k = 0; k < DS_SEATS_MAX; k++)
            w->counts.seat[k].orphans += l->items[0].seats >> k & 1;
    }
    c2_free(l->items);
    w->stray++;
    next_stray(w);
}

static void look_for_record(struct fs_scan_window *w);

static void
record_looked_for(struct coord_req *r)
{
    struct fs_scan_window *w = C2_CONTAINER_OF(r, struct fs_scan_window, again);
    const struct ds_list_item *i = &w->list.items[w->strays[w->stray]];
    bool recorded = r->nentries > 0;
    enum c2_err err = r->err;
    w->waiting = NULL;
    coord_req_done(r);
    if (err != C2_E_OK) {
        finish(w, err);
        return;
    }
    if (!recorded && !w->condemned) {
        w->condemned = true;
        look_for_record(w);
        return;
    }
    w->condemned = false;
    if (recorded) {
        w->stray++;
        next_stray(w);
        return;
    }
    w->look = (struct ds_list){ .kind = DS_KIND_OBJECT,
                                .sid = i->sid,
                                .after_seq = i->seq == 0 ? UINT64_MAX : i->seq - 1,
                                .max = 1,
                                .without = w->without,
                                .patient = true,
                                .background = true,
                                .done = stray_looked_at };
    ds_list_start(w->s->fs->part.ds, &w->look);
}

static void
next_stray(struct fs_scan_window *w)
{
    if (w->stray == w->nstrays || w->canceled)
        finish(w, C2_E_OK);
    else
        look_for_record(w);
}

/* One of an object in use, then one of an object that is about to be deleted (fs/gc.h). */
static void
look_for_record(struct fs_scan_window *w)
{
    const struct ds_list_item *i = &w->list.items[w->strays[w->stray]];
    struct ds_oid oid = { .sid = i->sid, .seq = i->seq };
    w->keys[0] = w->condemned ? ck_condemned(&oid) : ck_object(&oid);
    w->keys[0].len = SESSION_LEN;
    w->slices[0] = ck_slice(&w->keys[0]);
    w->again = (struct coord_req){ .verb = COORD_RANGE,
                                   .keys = w->slices,
                                   .nkeys = 1,
                                   .limit = 1,
                                   .deadline_ns = C2_NEVER,
                                   .done = record_looked_for };
    w->waiting = &w->again;
    coord_submit(w->s->fs->part.coord, &w->again);
}

/* ---- damaged ones: still in use? ------------------------------------------------------------- */

static void
records_again(struct coord_req *r)
{
    struct fs_scan_window *w = C2_CONTAINER_OF(r, struct fs_scan_window, again);
    enum c2_err err = r->err;
    w->waiting = NULL;
    for (size_t k = 0; err == C2_E_OK && k < w->ndamaged; k++) {
        struct fs_object_record rec = { 0 };
        struct seen *o = w->damaged[k];
        if (r->entries[k].version != 0)
            err = fs_object_rec_decode(r->entries[k].value, &rec);
        /* Moved, too: what was looked at is not what is true now. */
        o->gone = r->entries[k].version == 0 || rec.state != 0 || rec.placed != o->rec->placed;
        if (o->gone)
            C2_MARK("scan: an object changed while it was looked at");
    }
    coord_req_done(r);
    if (err != C2_E_OK)
        finish(w, err);
    else
        count_all(w);
}

static void
look_again(struct fs_scan_window *w)
{
    for (size_t k = 0; k < w->nrecords; k++) {
        struct seen *o = &w->seen[k];
        if ((o->missing | o->bad) == 0)
            continue;
        w->keys[w->ndamaged] = ck_object(&o->rec->ref.oid);
        w->slices[w->ndamaged] = ck_slice(&w->keys[w->ndamaged]);
        w->damaged[w->ndamaged++] = o;
    }
    if (w->ndamaged == 0 || w->canceled) {
        count_all(w);
        return;
    }
    w->again = (struct coord_req){ .verb = COORD_GET,
                                   .keys = w->slices,
                                   .nkeys = w->ndamaged,
                                   .deadline_ns = C2_NEVER,
                                   .done = records_again };
    w->waiting = &w->again;
    coord_submit(w->s->fs->part.coord, &w->again);
}

/* ---- checks ---------------------------------------------------------------------------------- */

static void check_more(struct fs_scan_window *w);

static void
count_bytes(struct fs_scan *s, const struct ds_check *k)
{
    s->bytes += k->bytes_read;
    for (unsigned i = 0; i < DS_SEATS_MAX; i++)
        if ((k->seats >> i & 1) != 0)
            s->seat_bytes[i] += k->bytes_read / bits(k->seats);
}

static void
checked(struct ds_check *k)
{
    struct slot *slot = C2_CONTAINER_OF(k, struct slot, check);
    struct seen *o = slot->seen;
    o->good = k->good;
    o->missing = k->absent;
    o->bad = k->bad;
    o->unknown = k->unknown;
    count_bytes(slot->w->s, k);
    slot->busy = false;
    slot->w->running--;
    check_more(slot->w);
}

static void
check(struct fs_scan_window *w, struct seen *o)
{
    struct slot *slot = w->slot;
    while (slot->busy)
        slot++;
    slot->w = w;
    slot->seen = o;
    slot->busy = true;
    w->running++;
    slot->check = (struct ds_check){ .kind = DS_KIND_OBJECT,
                                     .ref = o->rec->ref,
                                     .seats = o->rec->placed,
                                     .headers_only = !o->full,
                                     .done = checked };
    ds_check_start(w->s->fs->part.ds, &slot->check);
}

static void
check_more(struct fs_scan_window *w)
{
    while (!w->canceled && w->next < w->nrecords && w->running < w->s->parallel) {
        struct seen *o = &w->seen[w->next++];
        if (o->check)
            check(w, o);
    }
    if (w->running == 0)
        look_again(w);
}

/* ---- comparing ------------------------------------------------------------------------------- */

/* More than f do not lie. */
static uint32_t
who_invents(const struct fs_scan *s)
{
    uint64_t max = s->orphans_max != 0 ? s->orphans_max : FS_SCAN_ORPHANS_MAX;
    uint32_t seats = 0;
    for (unsigned k = 0; k < DS_SEATS_MAX; k++)
        seats |= s->counts.seat[k].orphans >= max ? 1u << k : 0;
    return bits(seats) <= ds_client_f(s->fs->part.ds) ? seats : 0;
}

static bool
sampled(struct fs_scan_window *w)
{
    uint32_t random;
    if (w->s->mode != FS_SCAN_SAMPLE)
        return w->s->mode == FS_SCAN_DATA;
    c2_random(w->s->fs->part.env, &random, sizeof(random));
    return random % 1000 < w->s->sample_permille;
}

static int
compare(const struct ds_list_item *i, const struct ds_oid *oid)
{
    if (i->sid != oid->sid)
        return i->sid < oid->sid ? -1 : 1;
    if (i->seq != oid->seq)
        return i->seq < oid->seq ? -1 : 1;
    return 0;
}

/* Without a root there is nothing to check against: an older record (fs/object_record.h). */
static void
judge_by_list(struct fs_scan_window *w, struct seen *o)
{
    uint32_t placed = o->rec->placed;
    o->good = placed & o->listed;
    uint32_t told = w->list.answered | w->without;
    o->unknown = placed & ~o->listed & ~told;
    uint32_t lacking = placed & ~o->listed & told;
    if (o->rec->state != 0)
        return;
    o->full = o->rec->has_root && sampled(w);
    o->check = o->full || (o->rec->has_root && lacking != 0);
    o->missing = o->check ? 0 : lacking;
}

static void
merge(struct fs_scan_window *w)
{
    size_t at = 0;
    w->strays = c2_calloc(w->nlisted, sizeof(*w->strays));
    for (size_t k = 0; k < w->nrecords; k++) {
        struct seen *o = &w->seen[k];
        o->rec = &w->page.rec[k];
        while (at < w->nlisted && compare(&w->list.items[at], &o->rec->ref.oid) < 0)
            w->strays[w->nstrays++] = at++;
        if (at < w->nlisted && compare(&w->list.items[at], &o->rec->ref.oid) == 0)
            o->listed = w->list.items[at++].seats;
        judge_by_list(w, o);
    }
    while (at < w->nlisted)
        w->strays[w->nstrays++] = at++;
    size_t kept = 0;
    for (size_t k = 0; k < w->nstrays; k++)
        if (w->list.items[w->strays[k]].sid < w->s->fs->part.session)
            w->strays[kept++] = w->strays[k];
    w->nstrays = kept;
}

/* Where both sides are complete. */
static void
cut(struct fs_scan_window *w)
{
    const struct ds_list *l = &w->list;
    w->nrecords = w->page.n;
    w->nlisted = l->nitems;
    if (!w->page.last) {
        const struct ds_oid *end = &w->page.rec[w->page.n - 1].ref.oid;
        while (w->nlisted > 0 && compare(&l->items[w->nlisted - 1], end) > 0)
            w->nlisted--;
    }
    if (l->more && l->nitems > 0) {
        const struct ds_list_item *end = &l->items[l->nitems - 1];
        while (w->nrecords > 0 && compare(end, &w->page.rec[w->nrecords - 1].ref.oid) < 0)
            w->nrecords--;
    }
    w->finished = w->page.last && !l->more && w->nrecords == w->page.n;
}

static void
listed(struct ds_list *l)
{
    struct fs_scan_window *w = C2_CONTAINER_OF(l, struct fs_scan_window, list);
    if (l->err != C2_E_OK || w->canceled) {
        finish(w, l->err);
        return;
    }
    cut(w);
    merge(w);
    check_more(w);
}

static void
page_read(struct fs_record_page *p)
{
    struct fs_scan_window *w = C2_CONTAINER_OF(p, struct fs_scan_window, page);
    w->waiting = NULL;
    if (p->err != C2_E_OK || w->canceled) {
        finish(w, p->err);
        return;
    }
    w->without = who_invents(w->s);
    w->list = (struct ds_list){ .kind = DS_KIND_OBJECT,
                                .all_sids = true,
                                .without = w->without,
                                .resume = w->s->after.set,
                                .sid = w->s->after.sid,
                                .after_seq = w->s->after.seq,
                                .max = LIST_MAX,
                                .patient = true,
                                .background = true,
                                .done = listed };
    ds_list_start(w->s->fs->part.ds, &w->list);
}

void
fs_scan_start(struct fs_scan *s)
{
    C2_ASSERT(s->window > 0 && s->window <= FS_SCAN_WINDOW);
    C2_ASSERT(s->parallel > 0 && s->parallel <= PARALLEL_MAX);
    struct fs_scan_window *w = c2_calloc(1, sizeof(*w));
    w->s = s;
    s->own = w;
    s->finished = false;
    s->bytes = 0;
    memset(s->seat_bytes, 0, sizeof(s->seat_bytes));
    w->page = (struct fs_record_page){ .fs = s->fs, .max = s->window, .done = page_read };
    if (s->after.set) {
        struct ds_oid oid = { .sid = s->after.sid, .seq = s->after.seq };
        memset(oid.rnd, 0xff, sizeof(oid.rnd));
        fs_record_after_object(&w->page.after, &oid);
    }
    w->waiting = &w->page.req;
    fs_record_page_start(&w->page);
}

void
fs_scan_cancel(struct fs_scan *s)
{
    struct fs_scan_window *w = s->own;
    C2_ASSERT(w != NULL);
    w->canceled = true;
    if (w->waiting != NULL)
        coord_cancel(s->fs->part.coord, w->waiting);
}
