/* SPDX-License-Identifier: MIT */
/*
 * Objects that no record names: what a writer had uploaded and not committed when it crashed, PUTs
 * that arrived after they were given up or after their object was deleted.
 *
 *   LIST (a page) --> MATCH with O and K --> [SYNC --> MATCH again --> PROVE, SHIP --> DELETE]
 *     ^                                                                                 |
 *     '---------------------------------------------------------------------------------'
 *
 * Only of sessions that ended gc_orphan_ns ago, by our own clock: they cannot commit any more (the
 * lock is another's), and the last of their PUTs has arrived or never will. What the journal of
 * this machine still names is in memory, or is committed by SYNC before the second look. The proof
 * is a commit of ours that reaches the clouds after the LIST: had another machine taken the volume
 * over and written these objects, its seal would be in the place of ours, and we would be fenced.
 *
 * The journal of another device can name objects until this one has committed something (see
 * gc_condemn.c); it can never be replayed any more then. Until then no orphan is looked for.
 *
 * A LIST that fails ends the round: nothing follows from what is not in it. And it is done once a
 * day, for ever: what arrives late is found by the next one.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "fs/gc_impl.h"

static gc_step matched_page, second_look, proved, proof_shipped, orphans_deleted, rested;
static void list_page(struct fs_gc *g);

static void
clock_saved(struct fs_gc *g, enum c2_err err)
{
    coord_req_done(&g->req);
    gc_round_over(g, err == C2_E_CONFLICT || err == C2_E_SESSION ? C2_E_FENCED : err);
}

static void
all_done(struct fs_gc *g)
{
    if (g->dry_run) {
        gc_round_over(g, C2_E_OK);
        return;
    }
    g->clock.orphans_wall_ns = g->wall_ns;
    gc_prove(g, clock_saved);
}

static void
page_over(struct fs_gc *g)
{
    c2_free(g->list.items);
    g->list.items = NULL;
    if (g->more && g->report.orphans < GC_ORPHANS_MAX)
        list_page(g);
    else
        all_done(g);
}

/* ---- matching ------------------------------------------------------------------------------- */

static int
compare(const struct ds_list_item *i, uint64_t sid, uint64_t seq)
{
    if (i->sid != sid)
        return i->sid < sid ? -1 : 1;
    return i->seq < seq ? -1 : i->seq > seq;
}

/* Takes everything out of the list that a record names. Both are sorted. */
static void
take_out(struct fs_gc *g)
{
    const struct coord_req *r = &g->req;
    size_t n = 0, e = 0;
    for (size_t k = 0; k < g->list.nitems; k++) {
        const struct ds_list_item item = g->list.items[k];
        struct ds_oid oid;
        int order = -1;
        for (; e < r->nentries; e++) {
            if (fs_object_key_decode(r->entries[e].key, &oid) != C2_E_OK)
                continue;
            order = compare(&item, oid.sid, oid.seq);
            if (order <= 0)
                break;
        }
        if (e == r->nentries || order != 0)
            g->list.items[n++] = item;
    }
    g->list.nitems = n;
}

/* Records from just before the first item on. */
static void
match(struct fs_gc *g, char letter)
{
    const struct ds_oid first = { .sid = g->list.items[0].sid, .seq = g->list.items[0].seq };
    g->prefix = ck_letter(letter);
    g->cursor = letter == 'O' ? ck_object(&first) : ck_condemned(&first);
    g->cursor.len -= sizeof(first.rnd);
    gc_ask_page(g, GC_PAGE, matched_page);
}

static void decide(struct fs_gc *g);

static void
matched_page(struct fs_gc *g, enum c2_err err)
{
    struct coord_req *r = &g->req;
    char letter = (char)g->prefix.bytes[0];
    const struct ds_list_item last =
        g->list.nitems > 0 ? g->list.items[g->list.nitems - 1] : (struct ds_list_item){ 0 };
    struct ds_oid oid = { 0 };
    if (err != C2_E_OK) {
        coord_req_done(r);
        gc_round_over(g, err);
        return;
    }
    take_out(g);
    bool more = r->more && r->nentries > 0 && g->list.nitems > 0;
    if (more) {
        const struct c2_slice key = r->entries[r->nentries - 1].key;
        g->cursor.len = C2_MIN(key.len, sizeof(g->cursor.bytes));
        memcpy(g->cursor.bytes, key.data, g->cursor.len);
        more = fs_object_key_decode(key, &oid) != C2_E_OK || compare(&last, oid.sid, oid.seq) > 0;
    }
    coord_req_done(r);
    if (more)
        gc_ask_page(g, GC_PAGE, matched_page);
    else if (letter == 'O' && g->list.nitems > 0)
        match(g, 'K');
    else
        decide(g);
}

/* ---- deciding ------------------------------------------------------------------------------- */

/* Whose session is over for long enough, and what memory does not name. */
static void
keep_candidates(struct fs_gc *g)
{
    size_t n = 0;
    for (size_t k = 0; k < g->list.nitems; k++) {
        const struct ds_list_item item = g->list.items[k];
        if (item.sid < g->ended_session && !fs_object_known(g->fs, item.sid, item.seq))
            g->list.items[n++] = item;
    }
    g->list.nitems = n;
}

static void
decide(struct fs_gc *g)
{
    if (!g->looked_twice)
        keep_candidates(g);
    if (g->list.nitems == 0) {
        page_over(g);
    } else if (g->dry_run) {
        g->report.orphans += g->list.nitems;
        page_over(g);
    } else if (!g->looked_twice) {
        g->looked_twice = true;
        gc_sync(g, second_look);
    } else {
        g->report.orphans += g->list.nitems;
        gc_prove(g, proved);
    }
}

static void
second_look(struct fs_gc *g, enum c2_err err)
{
    if (err != C2_E_OK)
        gc_round_over(g, err);
    else
        match(g, 'O');
}

static void
proved(struct fs_gc *g, enum c2_err err)
{
    coord_req_done(&g->req);
    if (err == C2_E_CONFLICT || err == C2_E_SESSION)
        err = C2_E_FENCED;
    if (err != C2_E_OK)
        gc_round_over(g, err);
    else
        gc_ship(g, proof_shipped);
}

static void
proof_shipped(struct fs_gc *g, enum c2_err err)
{
    if (err != C2_E_OK) {
        gc_round_over(g, err);
        return;
    }
    for (size_t k = 0; k < g->list.nitems; k++)
        g->oids[k] = (struct ds_oid){ .sid = g->list.items[k].sid, .seq = g->list.items[k].seq };
    gc_delete(g, g->list.nitems, orphans_deleted);
}

static void
orphans_deleted(struct fs_gc *g, enum c2_err err)
{
    if (err != C2_E_OK) {
        gc_round_over(g, err);
        return;
    }
    C2_MARK("gc: orphans deleted");
    if (g->delete.err == C2_E_OK)
        g->report.orphans_deleted += g->list.nitems;
    gc_pause(g, g->list.nitems, rested);
}

static void
rested(struct fs_gc *g, enum c2_err err)
{
    if (err != C2_E_OK)
        gc_round_over(g, err);
    else
        page_over(g);
}

/* ---- listing -------------------------------------------------------------------------------- */

static void
listed(struct ds_list *l)
{
    struct fs_gc *g = C2_CONTAINER_OF(l, struct fs_gc, list);
    enum c2_err err = g->canceled ? C2_E_CANCELED : l->err;
    g->listing = false;
    if (err != C2_E_OK) {
        gc_round_over(g, err);
        return;
    }
    g->more = l->more && l->nitems > 0;
    g->looked_twice = false;
    if (l->nitems == 0) {
        page_over(g);
        return;
    }
    g->orphans_sid = l->items[l->nitems - 1].sid;
    g->orphans_seq = l->items[l->nitems - 1].seq;
    match(g, 'O');
}

static void
list_page(struct fs_gc *g)
{
    g->listing = true;
    g->list = (struct ds_list){ .kind = DS_KIND_OBJECT,
                                .all_sids = true,
                                .sid = g->orphans_sid,
                                .after_seq = g->orphans_seq,
                                .resume = g->orphans_sid != 0,
                                .patient = true,
                                .background = true,
                                .max = GC_PAGE,
                                .done = listed };
    ds_list_start(g->fs->part.ds, &g->list);
}

void
gc_orphans_start(struct fs_gc *g)
{
    const struct fs_config *conf = &g->fs->conf;
    uint64_t last_ns = g->clock.orphans_wall_ns;
    bool due = last_ns == 0 || g->wall_ns - last_ns >= conf->gc_orphan_ns;
    bool named = g->fs->foreign; /* by another journal, perhaps */
    if (conf->gc_orphan_ns == 0 || named || g->ended_session == 0 || (g->run == NULL && !due)) {
        gc_round_over(g, C2_E_OK);
        return;
    }
    g->orphans_sid = g->orphans_seq = 0; /* from the start */
    list_page(g);
}
