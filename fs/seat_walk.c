/* SPDX-License-Identifier: MIT */
/*
 *   RANGE (records) --> [LIST (target)] --> shares, several at once --> PLACE (records) -->
 *       [DELETE (shares of objects that were deleted meanwhile)] --> done
 *
 * A key in the list is no proof: a provider that had another seat before still holds that seat's
 * shares, under the same keys. So the header of each is looked at.
 *
 * A collection that runs at the same time may delete an object between RANGE and the PUT of its
 * share: the record is looked at again after the PUT, and what nobody knows any more goes.
 */
#include "fs/seat_walk.h"

#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "fs/fs.h"

#define PARALLEL_MAX   8u
#define PARALLEL_BYTES (64u << 20) /* plain bytes of objects in work */
#define COUNT_RECORDS  1024u

enum outcome { PENDING, SKIPPED, MOVED, FAILED, LOST };

struct seat_walk_item {
    struct seat_walk *w;
    struct ck key;
    struct fs_object_record rec;
    enum outcome outcome;
    bool listed, looking; /* FILL */
    struct prov_req head;
    char name[PROV_KEY_MAX];
    uint32_t tried;  /* LEAVE: seats that were tried */
    unsigned target; /* seat */
    struct ds_rebuild rebuild;
};

static void next_items(struct seat_walk *w);
static void list_target(struct seat_walk *w);

static struct ds_client *
client(const struct seat_walk *w)
{
    return w->fs->part.ds;
}

static void
finish(struct seat_walk *w, enum c2_err err)
{
    w->err = err;
    if (err == C2_E_OK) {
        w->after = w->last;
        w->at_end = w->last_is_end;
    }
    coord_req_done(&w->req);
    w->req = (struct coord_req){ 0 };
    c2_free(w->item);
    c2_free(w->keys);
    c2_free(w->keys_text);
    w->item = NULL;
    w->keys = NULL;
    w->keys_text = NULL;
    w->done(w);
}

static uint64_t
share_bytes(const struct fs_object_record *rec)
{
    unsigned seats = (unsigned)__builtin_popcount(rec->placed);
    return seats == 0 ? 0 : rec->stored_bytes / seats;
}

/* ---- after the shares ------------------------------------------------------------------------ */

static void
deleted(struct prov_req *r)
{
    struct seat_walk *w = C2_CONTAINER_OF(r, struct seat_walk, del);
    w->deleting = false;
    if (r->err != C2_E_OK) /* the orphans of this session are looked for by the collection */
        c2_log(WARN, "seat", "provider=%s err=%s a share of a deleted object stays",
               w->target->name, c2_err_name(r->err));
    prov_req_done(r);
    finish(w, C2_E_OK);
}

/* Objects that were deleted while their share was brought. */
static void
delete_gone(struct seat_walk *w)
{
    size_t n = 0;
    for (size_t k = 0; w->what == SEAT_WALK_FILL && k < w->place.n; k++)
        n += w->place.item[k].gone;
    if (n == 0) {
        finish(w, C2_E_OK);
        return;
    }
    C2_MARK("seat walk: an object was deleted meanwhile");
    w->keys_text = c2_alloc(n * PROV_KEY_MAX);
    w->keys = c2_calloc(n, sizeof(*w->keys));
    n = 0;
    for (size_t k = 0; k < w->place.n; k++) {
        if (!w->place.item[k].gone)
            continue;
        char *key = w->keys_text + n * PROV_KEY_MAX;
        ds_object_key(client(w), DS_KIND_OBJECT, w->place.item[k].ref.oid, key);
        w->keys[n++] = key;
    }
    w->del = (struct prov_req){ .verb = PROV_DELETE_MANY,
                                .keys = w->keys,
                                .nkeys = n,
                                .deadline_ns = C2_NEVER,
                                .done = deleted };
    w->deleting = true;
    prov_submit(w->target, &w->del);
}

static void
placed(struct fs_place *p)
{
    struct seat_walk *w = C2_CONTAINER_OF(p, struct seat_walk, place);
    for (size_t k = 0; p->err == C2_E_OK && k < p->n; k++)
        w->failed += p->item[k].stale && !p->item[k].gone;
    if (p->err != C2_E_OK)
        finish(w, p->err); /* the batch is repeated */
    else
        delete_gone(w);
}

static void
all_done(struct seat_walk *w)
{
    uint32_t bit = 1u << w->seat;
    w->place.fs = w->fs;
    w->place.n = 0;
    w->place.done = placed;
    for (size_t k = 0; k < w->n; k++) {
        const struct seat_walk_item *it = &w->item[k];
        w->objects++;
        w->bytes += share_bytes(&it->rec);
        struct fs_place_item change = { .ref = it->rec.ref, .since = w->since };
        w->moved += it->outcome == MOVED;
        w->failed += it->outcome == FAILED;
        w->lost += it->outcome == LOST;
        if (w->what == SEAT_WALK_FILL && it->outcome == MOVED)
            change.set = bit; /* it is: nothing but a look at the record */
        else if (w->what == SEAT_WALK_LEAVE && it->outcome != FAILED && it->outcome != PENDING)
            change.clear = bit;
        else
            continue;
        if (w->what == SEAT_WALK_LEAVE && it->outcome == MOVED)
            change.set = 1u << it->target;
        w->place.item[w->place.n++] = change;
    }
    if (w->canceled)
        finish(w, C2_E_CANCELED);
    else if (w->place.n > 0)
        fs_place_start(&w->place);
    else
        finish(w, C2_E_OK);
}

/* ---- shares ---------------------------------------------------------------------------------- */

static void start_item(struct seat_walk_item *it);

/* Nobody can bring it back. */
static bool
is_hopeless(enum c2_err err)
{
    return err == C2_E_NOT_FOUND || err == C2_E_CORRUPT || err == C2_E_INVALID;
}

static void
item_over(struct seat_walk_item *it, enum outcome outcome)
{
    struct seat_walk *w = it->w;
    it->outcome = outcome;
    w->running--;
    w->running_bytes -= it->rec.ref.plain_len;
    next_items(w);
}

static void
rebuilt(struct ds_rebuild *r)
{
    struct seat_walk_item *it = C2_CONTAINER_OF(r, struct seat_walk_item, rebuild);
    struct seat_walk *w = it->w;
    w->moved_bytes += r->bytes_written;
    w->read_bytes += r->bytes_read;
    if (r->err == C2_E_OK) {
        item_over(it, MOVED);
        return;
    }
    w->why = r->err;
    if (w->what == SEAT_WALK_LEAVE && !w->canceled) {
        start_item(it); /* another seat? */
        return;
    }
    c2_log(WARN, "seat", "object=%llx.%llx seat=%u err=%s", (unsigned long long)r->ref.oid.sid,
           (unsigned long long)r->ref.oid.seq, it->target, c2_err_name(r->err));
    bool lost = w->what == SEAT_WALK_FILL && w->give_up && is_hopeless(r->err);
    item_over(it, lost ? LOST : FAILED);
}

/* LEAVE: a seat for new shares that has none of this object; false when there is no other. */
static bool
choose_target(struct seat_walk_item *it)
{
    struct ds_seat_status s;
    const struct ds_client *ds = client(it->w);
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < ds_client_n(ds); i++) {
            uint32_t bit = 1u << i;
            ds_seat_status(ds, i, &s);
            bool well = s.state == DS_SEAT_ONLINE;
            if (i == it->w->seat || ((it->rec.placed | it->tried) & bit) != 0 ||
                s.state == DS_SEAT_EMPTY || !ds_client_seat_takes(ds, i) || well != (pass == 0))
                continue;
            it->tried |= bit;
            it->target = i;
            return true;
        }
    }
    return false;
}

static void
start_item(struct seat_walk_item *it)
{
    struct seat_walk *w = it->w;
    it->target = w->seat;
    if (w->what == SEAT_WALK_LEAVE && !choose_target(it)) {
        if (w->why == C2_E_OK)
            w->why = C2_E_QUORUM;
        item_over(it, FAILED);
        return;
    }
    it->rebuild = (struct ds_rebuild){ .kind = DS_KIND_OBJECT,
                                       .ref = it->rec.ref,
                                       .seat = it->target,
                                       .placed = it->rec.placed,
                                       .source = w->what == SEAT_WALK_FILL ? w->source : NULL,
                                       .done = rebuilt };
    ds_rebuild_start(client(w), &it->rebuild);
}

/* Only a mount that reads the object can tell what a share must be when the record has no root. */
static void
bring_item(struct seat_walk_item *it)
{
    struct seat_walk *w = it->w;
    if (it->rec.has_root) {
        start_item(it);
        return;
    }
    w->why = C2_E_VERSION;
    item_over(it, FAILED);
}

static void
looked(struct prov_req *r)
{
    struct seat_walk_item *it = C2_CONTAINER_OF(r, struct seat_walk_item, head);
    struct seat_walk *w = it->w;
    struct ds_share_info info;
    enum c2_err err = w->canceled ? C2_E_CANCELED : r->err;
    bool there = r->err == C2_E_OK && ds_share_info(c2_blob_slice(r->reply), &info) == C2_E_OK &&
                 info.seat == w->seat;
    it->looking = false;
    prov_req_done(r);
    if (there) {
        item_over(it, SKIPPED);
    } else if (err == C2_E_OK || is_hopeless(err)) {
        C2_MARK("seat walk: what the target lists is not the seat's share");
        bring_item(it);
    } else {
        w->why = err;
        item_over(it, FAILED);
    }
}

static void
look(struct seat_walk_item *it)
{
    struct seat_walk *w = it->w;
    ds_object_key(client(w), DS_KIND_OBJECT, it->rec.ref.oid, it->name);
    it->looking = true;
    it->head = (struct prov_req){ .verb = PROV_GET,
                                  .key = it->name,
                                  .len = DS_SHARE_INFO_BYTES,
                                  .body_len_max = DS_SHARE_INFO_BYTES,
                                  .deadline_ns = C2_NEVER,
                                  .done = looked };
    prov_submit(w->target, &it->head);
}

/* Enough without this seat? */
static bool
can_do_without(const struct seat_walk *w, const struct seat_walk_item *it)
{
    unsigned left = (unsigned)__builtin_popcount(it->rec.placed & ~(1u << w->seat));
    return w->what == SEAT_WALK_LEAVE && left >= 2 * ds_client_f(client(w)) + 1;
}

/* An item may be over at once, inside this. */
static void
next_items(struct seat_walk *w)
{
    if (w->starting)
        return;
    w->starting = true;
    while (!w->canceled && w->next < w->n) {
        struct seat_walk_item *it = &w->item[w->next];
        uint64_t len = it->rec.ref.plain_len;
        bool room = w->running < PARALLEL_MAX && w->running_bytes + len <= PARALLEL_BYTES;
        if (w->running > 0 && !room)
            break;
        w->next++;
        if (can_do_without(w, it)) {
            it->outcome = SKIPPED;
            continue;
        }
        w->running++;
        w->running_bytes += len;
        if (it->listed)
            look(it);
        else
            bring_item(it);
    }
    w->starting = false;
    if (w->running == 0)
        all_done(w);
}

/* ---- what is there --------------------------------------------------------------------------- */

/* Cuts the batch before the k-th item. */
static void
cut(struct seat_walk *w, size_t k)
{
    C2_ASSERT(k > 0);
    w->n = k;
    w->last = w->item[k - 1].key;
    w->last_is_end = false;
}

/* False when the page does not go beyond the one before it: it would never end. */
static bool
advance_list(struct seat_walk *w, const struct prov_req *r)
{
    if (r->nentries == 0)
        return false;
    const char *last = r->entries[r->nentries - 1].key;
    if (strcmp(last, w->list_after) <= 0 || strlen(last) >= sizeof(w->list_after))
        return false;
    memcpy(w->list_after, last, strlen(last) + 1);
    return true;
}

/* A provider whose certificate has run out or that sends nonsense may be put right: what was begun
 * is not given up for it. */
static enum c2_err
worth_repeating(enum c2_err err)
{
    return c2_err_class(err) == C2_CLASS_RETRY ? err : C2_E_UNAVAILABLE;
}

/* Both in the same order: ids, as text there, as bytes here. */
static void
listed(struct prov_req *r)
{
    struct seat_walk *w = C2_CONTAINER_OF(r, struct seat_walk, list);
    enum c2_err err = w->canceled ? C2_E_CANCELED : r->err;
    char key[PROV_KEY_MAX];
    size_t at = 0, k = 0;
    w->listing = false;
    for (; err == C2_E_OK && k < w->n; k++) {
        ds_object_key(client(w), DS_KIND_OBJECT, w->item[k].rec.ref.oid, key);
        while (at < r->nentries && strcmp(r->entries[at].key, key) < 0)
            at++;
        if (at == r->nentries && r->truncated)
            break; /* the list does not reach so far */
        if (at < r->nentries && strcmp(r->entries[at].key, key) == 0)
            w->item[k].listed = true;
    }
    bool stuck = err == C2_E_OK && k == 0 && w->n > 0; /* a page of what no record names */
    if (stuck && !advance_list(w, r))
        err = C2_E_PROTOCOL;
    prov_req_done(r);
    if (err != C2_E_OK) {
        w->why = err;
        finish(w, worth_repeating(err));
    } else if (stuck) {
        list_target(w);
    } else {
        if (k < w->n)
            cut(w, k);
        next_items(w);
    }
}

/* Of the target, after the last key that was dealt with. */
static void
list_target(struct seat_walk *w)
{
    w->listing = true;
    w->list = (struct prov_req){ .verb = PROV_LIST,
                                 .key = w->list_prefix,
                                 .list_after = w->list_after[0] == '\0' ? NULL : w->list_after,
                                 .list_max = PROV_LIST_MAX,
                                 .deadline_ns = C2_NEVER,
                                 .done = listed };
    prov_submit(w->target, &w->list);
}

static void
begin_list(struct seat_walk *w)
{
    struct ds_oid oid = { 0 };
    char key[PROV_KEY_MAX];
    ds_object_key(client(w), DS_KIND_OBJECT, oid, key);
    size_t sid_at = strlen(key) - 33; /* sid16 / seq16 */
    memcpy(w->list_prefix, key, sid_at);
    w->list_prefix[sid_at] = '\0';
    w->list_after[0] = '\0';
    if (w->after.len > 0 && fs_object_key_decode(ck_slice(&w->after), &oid) == C2_E_OK)
        ds_object_key(client(w), DS_KIND_OBJECT, oid, w->list_after);
    list_target(w);
}

/* Seats whose shares can be expected to be good. */
static uint32_t
good_seats(const struct seat_walk *w)
{
    struct ds_seat_status s;
    const struct ds_client *ds = client(w);
    uint32_t good = 0;
    for (unsigned i = 0; i < ds_client_n(ds); i++) {
        ds_seat_status(ds, i, &s);
        bool well =
            s.state == DS_SEAT_ONLINE || s.state == DS_SEAT_DEGRADED || s.state == DS_SEAT_READONLY;
        good |= i != w->seat && well ? 1u << i : 0;
    }
    return good;
}

/* Takes the objects that the seat should hold. */
static void
take_records(struct seat_walk *w, const struct coord_req *r)
{
    size_t max = w->what == SEAT_WALK_COUNT ? r->nentries : FS_PLACE_MAX;
    w->item = c2_calloc(r->nentries, sizeof(*w->item));
    size_t k = 0;
    uint64_t bytes = 0;
    uint32_t good = good_seats(w);
    for (; k < r->nentries && w->n < max && (w->bytes_max == 0 || bytes < w->bytes_max); k++) {
        struct seat_walk_item *it = &w->item[w->n];
        *it = (struct seat_walk_item){ .w = w };
        it->key.len = C2_MIN(r->entries[k].key.len, sizeof(it->key.bytes));
        memcpy(it->key.bytes, r->entries[k].key.data, it->key.len);
        w->last = it->key;
        if (fs_object_key_decode(r->entries[k].key, &it->rec.ref.oid) != C2_E_OK ||
            fs_object_rec_decode(r->entries[k].value, &it->rec) != C2_E_OK) {
            w->failed++;
            w->why = C2_E_PARSE;
            continue;
        }
        if (it->rec.state != 0 || (it->rec.placed & (1u << w->seat)) == 0)
            continue;
        unsigned shares = (unsigned)__builtin_popcount(it->rec.placed & good);
        if (w->good_below != 0 && shares >= w->good_below)
            continue;
        w->at_risks |= 1u << shares;
        bytes += share_bytes(&it->rec);
        w->n++;
    }
    w->last_is_end = k == r->nentries && !r->more;
}

static void
records_read(struct coord_req *r)
{
    struct seat_walk *w = C2_CONTAINER_OF(r, struct seat_walk, req);
    if (r->err != C2_E_OK || w->canceled) {
        finish(w, r->err != C2_E_OK ? r->err : C2_E_CANCELED);
        return;
    }
    take_records(w, r);
    if (w->what == SEAT_WALK_FILL && w->n > 0)
        begin_list(w);
    else if (w->what == SEAT_WALK_COUNT)
        all_done(w);
    else
        next_items(w);
}

void
seat_walk_start(struct seat_walk *w)
{
    w->objects = w->bytes = w->moved = w->moved_bytes = w->read_bytes = w->failed = w->lost = 0;
    w->n = w->next = 0;
    w->why = C2_E_OK;
    w->at_risks = 0;
    w->since = ds_client_changes(client(w));
    w->canceled = w->at_end = false;
    w->prefix_key = ck_letter('O');
    w->prefix = ck_slice(&w->prefix_key);
    w->last = w->after;
    w->req = (struct coord_req){ .verb = COORD_RANGE,
                                 .keys = &w->prefix,
                                 .nkeys = 1,
                                 .after = ck_slice(&w->after),
                                 .limit = w->what == SEAT_WALK_COUNT ? COUNT_RECORDS : FS_PLACE_MAX,
                                 .deadline_ns = C2_NEVER,
                                 .done = records_read };
    coord_submit(w->fs->part.coord, &w->req);
}

/* Rebuilds end by themselves: the client quiesces, or they are soon done. */
void
seat_walk_cancel(struct seat_walk *w)
{
    w->canceled = true;
    if (w->listing)
        prov_cancel(w->target, &w->list);
    for (size_t k = 0; w->item != NULL && k < w->n; k++)
        if (w->item[k].looking)
            prov_cancel(w->target, &w->item[k].head);
    if (w->deleting)
        prov_cancel(w->target, &w->del);
}
