/* SPDX-License-Identifier: MIT */
/*
 *   RANGE K --> [SHIP, once a round] --> DELETE from every seat --> FORGET who confirmed --> pause
 *     ^                                                                                     |
 *     '-------------------------------------------------------------------------------------'
 *
 * SHIP comes before the first DELETE: the sentences, those of a mount that crashed included, are in
 * the log that the clouds have. Whoever recovers the volume from them, or takes it over, knows that
 * nothing names these objects; and a mount that has lost the volume finds out there, and deletes
 * nothing.
 *
 * A seat that was not or could not be asked has not confirmed, and the record stays.
 */
#include <string.h>

#include "base/mark.h"
#include "fs/gc_impl.h"

static gc_step page_read, all_shipped, page_deleted, page_forgotten, rested;

static void
next_page(struct fs_gc *g)
{
    /* A page takes about a second. */
    size_t rate = C2_MIN(C2_MAX((size_t)g->fs->conf.gc_rate, (size_t)1), (size_t)GC_PAGE / 2);
    gc_ask_page(g, rate, page_read);
}

static void
page_over(struct fs_gc *g)
{
    if (g->more)
        next_page(g);
    else
        gc_orphans_start(g);
}

static void
take_sentence(struct fs_gc *g, const struct coord_entry *e)
{
    struct fs_object_record rec = { 0 };
    if (fs_object_key_decode(e->key, &rec.ref.oid) != C2_E_OK ||
        gc_sentence_decode(e->value, &rec) != C2_E_OK)
        return;
    g->items[g->nitems] = (struct gc_item){ .oid = rec.ref.oid,
                                            .placed = rec.placed,
                                            .stored_bytes = rec.stored_bytes };
    g->oids[g->nitems++] = rec.ref.oid;
    g->report.free_objects++;
    g->report.free_bytes += rec.stored_bytes;
    gc_count_seats(g, rec.placed, rec.stored_bytes);
}

static void
page_read(struct fs_gc *g, enum c2_err err)
{
    struct coord_req *r = &g->req;
    g->nitems = 0;
    g->more = r->more;
    for (size_t k = 0; err == C2_E_OK && k < r->nentries; k++)
        take_sentence(g, &r->entries[k]);
    if (err == C2_E_OK && r->nentries > 0) {
        const struct c2_slice last = r->entries[r->nentries - 1].key;
        memcpy(g->cursor.bytes, last.data, C2_MIN(last.len, sizeof(g->cursor.bytes)));
        g->cursor.len = C2_MIN(last.len, sizeof(g->cursor.bytes));
    }
    coord_req_done(r);
    if (err != C2_E_OK)
        gc_round_over(g, err);
    else if (g->nitems == 0 || g->dry_run)
        page_over(g);
    else if (!g->shipped)
        gc_ship(g, all_shipped);
    else
        gc_delete(g, g->nitems, page_deleted);
}

static void
all_shipped(struct fs_gc *g, enum c2_err err)
{
    if (err != C2_E_OK) {
        gc_round_over(g, err);
        return;
    }
    g->shipped = true;
    gc_delete(g, g->nitems, page_deleted);
}

static void
page_deleted(struct fs_gc *g, enum c2_err err)
{
    size_t n = 0;
    for (size_t k = 0; err == C2_E_OK && k < g->nitems; k++) {
        const struct gc_item *it = &g->items[k];
        /* Every occupied seat, and those that the record names: one of them may be missing. */
        if (g->delete.err != C2_E_OK || (it->placed & ~g->delete.confirmed) != 0) {
            C2_MARK("gc: a seat has not confirmed");
            g->report.held_up_objects++;
            g->report.held_up_bytes += it->stored_bytes;
            continue;
        }
        g->items[n] = *it;
        gc_add_delete(g, n++, ck_condemned(&it->oid));
    }
    g->nitems = n;
    if (err != C2_E_OK)
        gc_round_over(g, err);
    else if (n > 0)
        gc_commit(g, 2, n, page_forgotten);
    else
        gc_pause(g, g->fs->conf.gc_rate, rested);
}

static void
page_forgotten(struct fs_gc *g, enum c2_err err)
{
    coord_req_done(&g->req);
    if (err == C2_E_CONFLICT || err == C2_E_SESSION)
        err = C2_E_FENCED;
    if (err != C2_E_OK) {
        gc_round_over(g, err);
        return;
    }
    for (size_t k = 0; k < g->nitems; k++) {
        g->report.deleted_objects++;
        g->report.deleted_bytes += g->items[k].stored_bytes;
    }
    gc_pause(g, g->nitems, rested);
}

static void
rested(struct fs_gc *g, enum c2_err err)
{
    if (err != C2_E_OK)
        gc_round_over(g, err);
    else
        page_over(g);
}

void
gc_delete_start(struct fs_gc *g)
{
    g->prefix = g->cursor = ck_letter('K');
    next_page(g);
}
