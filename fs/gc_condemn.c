/* SPDX-License-Identifier: MIT */
/*
 *   CLOCK: GET T --> PUT T (when it changed)
 *   CONDEMN, page by page: RANGE O --> GET R of each --> [SYNC --> COMMIT ...] --> next page
 *
 * An object may be condemned when
 *   - nothing of it is in use, and has not been since a version that is gc_retention old;
 *   - nothing in memory names it (files that are being written and not committed may);
 *   - nothing in the journal does, or a replay would bring it back. So everything that is
 *     journalled when memory is looked at is committed first. From then on nobody can come to name
 *     it: names come from records in the store, which do not have it, from memory, or from the
 *     journal. The journal of another device counts until this one has committed something: then
 *     it can never be replayed any more.
 * The transaction says so once more: the counter and the record are those that were seen.
 */
#include <string.h>

#include "base/log.h"
#include "base/mark.h"
#include "fs/gc_impl.h"
#include "fs/manifest.h"

static gc_step page_read, live_read, page_synced, some_condemned;
static void next_page(struct fs_gc *g);

/* ---- the clock ------------------------------------------------------------------------------ */

static void
clock_written(struct fs_gc *g, enum c2_err err)
{
    coord_req_done(&g->req);
    if (err == C2_E_CONFLICT || err == C2_E_SESSION)
        err = C2_E_FENCED;
    if (err != C2_E_OK)
        gc_round_over(g, err);
    else
        gc_condemn_start(g);
}

static void
put_clock(struct fs_gc *g, gc_step *then)
{
    c2_buf_clear(&g->bytes);
    gc_clock_encode(&g->clock, &g->bytes);
    g->keys[0] = ck_letter('T');
    g->ops[0] = (struct coord_op){ .kind = COORD_PUT,
                                   .key = ck_slice(&g->keys[0]),
                                   .value = c2_buf_slice(&g->bytes) };
    gc_commit(g, 2, 1, then);
}

void
gc_prove(struct fs_gc *g, gc_step *then)
{
    g->clock.proofs++;
    put_clock(g, then);
}

static void
clock_read(struct fs_gc *g, enum c2_err err)
{
    const struct fs_config *conf = &g->fs->conf;
    uint64_t version = g->req.version;
    struct c2_slice value =
        err == C2_E_OK && g->req.nentries > 0 ? g->req.entries[0].value : c2_slice(NULL, 0);
    g->clock = (struct gc_clock){ 0 };
    if (value.len > 0 && gc_clock_decode(value, &g->clock) != C2_E_OK)
        c2_log(WARN, "gc", "the collector's clock is not readable, it begins anew");
    coord_req_done(&g->req);
    if (err != C2_E_OK) {
        gc_round_over(g, err);
        return;
    }
    bool changed = gc_clock_tick(&g->clock, g->wall_ns, version, g->fs->part.session,
                                 conf->gc_retention_ns, conf->gc_orphan_ns);
    g->dead_version = gc_clock_version_before(&g->clock, g->wall_ns, g->retention_ns, version);
    g->ended_session = gc_clock_session_before(&g->clock, g->wall_ns, conf->gc_orphan_ns);
    if (changed && !g->dry_run)
        put_clock(g, clock_written);
    else
        gc_condemn_start(g);
}

void
gc_clock_start(struct fs_gc *g)
{
    g->keys[0] = ck_letter('T');
    g->slices[0] = ck_slice(&g->keys[0]);
    g->req = (struct coord_req){ .verb = COORD_GET, .keys = g->slices, .nkeys = 1 };
    gc_ask(g, clock_read);
}

/* ---- pages ---------------------------------------------------------------------------------- */

static void
take_record(struct fs_gc *g, const struct coord_entry *e)
{
    struct fs_object_record rec = { 0 };
    struct gc_item *it = &g->items[g->nitems];
    g->report.records++;
    if (e->value.len > GC_VALUE_MAX || fs_object_key_decode(e->key, &it->oid) != C2_E_OK ||
        fs_object_rec_decode(e->value, &rec) != C2_E_OK)
        return; /* of a newer version: not ours to judge */
    it->placed = rec.placed;
    it->stored_bytes = rec.stored_bytes;
    it->o_version = e->version;
    it->value_len = e->value.len;
    memcpy(it->value, e->value.data, e->value.len);
    g->nitems++;
}

static void
page_read(struct fs_gc *g, enum c2_err err)
{
    struct coord_req *r = &g->req;
    g->nitems = g->next = 0;
    g->more = r->more;
    for (size_t k = 0; err == C2_E_OK && k < r->nentries; k++)
        take_record(g, &r->entries[k]);
    if (err == C2_E_OK && r->nentries > 0) {
        const struct c2_slice last = r->entries[r->nentries - 1].key;
        memcpy(g->cursor.bytes, last.data, C2_MIN(last.len, sizeof(g->cursor.bytes)));
        g->cursor.len = C2_MIN(last.len, sizeof(g->cursor.bytes));
    }
    coord_req_done(r);
    if (err != C2_E_OK) {
        gc_round_over(g, err);
        return;
    }
    if (g->nitems == 0) {
        next_page(g);
        return;
    }
    for (size_t k = 0; k < g->nitems; k++) {
        g->keys[k] = ck_live(&g->items[k].oid);
        g->slices[k] = ck_slice(&g->keys[k]);
    }
    *r = (struct coord_req){ .verb = COORD_GET, .keys = g->slices, .nkeys = g->nitems };
    gc_ask(g, live_read);
}

/* Nothing of it is in use, as the store says. */
static bool
is_dead(const struct coord_entry *live)
{
    return live->version == 0 || (live->value.len == 8 && c2_get_u64(live->value.data) == 0);
}

/*
 * The leaves of a manifest name what was in the file when they were written; what was overwritten
 * since is named by nobody else, and nobody asks for it there. Such names do not count.
 */
static void
count_leaf_names(struct fs *fs)
{
    for (struct c2_map_node *n = c2_map_next(&fs->objects, NULL); n != NULL;
         n = c2_map_next(&fs->objects, n))
        C2_CONTAINER_OF(n, struct fs_object, node)->leaf_names = 0;
    for (struct c2_map_node *n = c2_map_next(&fs->inodes, NULL); n != NULL;
         n = c2_map_next(&fs->inodes, n)) {
        const struct fs_manifest *m = C2_CONTAINER_OF(n, struct fs_inode, node)->manifest;
        if (m == NULL || m->base == NULL || m->base->refs > 1)
            continue; /* what the file has now, too */
        for (size_t k = 0; k < m->base->n; k++) {
            struct fs_source *s = m->base->e[k].source;
            if (s->kind == FS_SOURCE_OBJECT)
                C2_CONTAINER_OF(s, struct fs_object, source)->leaf_names++;
        }
    }
}

static bool
is_named(struct fs_gc *g, const struct ds_oid *oid, bool *counted)
{
    struct fs *fs = g->fs;
    if (!fs_object_known(fs, oid->sid, oid->seq))
        return false;
    if (!*counted)
        count_leaf_names(fs);
    *counted = true;
    const struct fs_object *o = fs_object_peek(fs, oid);
    return o == NULL || o->source.refs > o->leaf_names;
}

/* What may be condemned stays in g->items. */
static void
sort_out(struct fs_gc *g)
{
    size_t n = 0;
    bool counted = false;
    for (size_t k = 0; k < g->nitems; k++) {
        struct gc_item it = g->items[k];
        const struct coord_entry *live = &g->req.entries[k];
        if (!is_dead(live))
            continue;
        it.r_version = live->version;
        bool old = C2_MAX(it.r_version, it.o_version) <= g->dead_version;
        old = old && !g->fs->foreign;
        if (old && is_named(g, &it.oid, &counted)) {
            C2_MARK("gc: a dead object that memory names");
            old = false;
        }
        if (!old) {
            g->report.young_objects++;
            g->report.young_bytes += it.stored_bytes;
            continue;
        }
        g->items[n++] = it;
    }
    g->nitems = n;
}

static void
count_free(struct fs_gc *g)
{
    for (size_t k = 0; k < g->nitems; k++) {
        const struct gc_item *it = &g->items[k];
        g->report.free_objects++;
        g->report.free_bytes += it->stored_bytes;
        gc_count_seats(g, it->placed, it->stored_bytes);
    }
}

static void
live_read(struct fs_gc *g, enum c2_err err)
{
    if (err == C2_E_OK)
        sort_out(g);
    coord_req_done(&g->req);
    if (err != C2_E_OK) {
        gc_round_over(g, err);
    } else if (g->nitems == 0) {
        next_page(g);
    } else if (g->dry_run) {
        count_free(g);
        next_page(g);
    } else {
        gc_sync(g, page_synced);
    }
}

/* ---- condemning ----------------------------------------------------------------------------- */

static size_t
batch(const struct fs_gc *g)
{
    return C2_MIN(g->nitems - g->next, (size_t)GC_CONDEMN_MAX);
}

static void
add_sentence(struct fs_gc *g, size_t k, const struct gc_item *it, size_t at)
{
    struct ck *keys = &g->keys[3 * k];
    struct coord_cond *conds = &g->conds[2 + 2 * k];
    struct coord_op *ops = &g->ops[3 * k];
    keys[2] = ck_condemned(&it->oid);
    gc_add_delete(g, 3 * k, ck_object(&it->oid));
    gc_add_delete(g, 3 * k + 1, ck_live(&it->oid));
    ops[2] = (struct coord_op){ .kind = COORD_PUT,
                                .key = ck_slice(&keys[2]),
                                .value = c2_slice(g->bytes.data + at, g->bytes.len - at) };
    conds[0] = (struct coord_cond){ .kind = COORD_VERSION_EQ,
                                    .key = ck_slice(&keys[0]),
                                    .number = it->o_version };
    conds[1] = (struct coord_cond){ .kind = COORD_VERSION_EQ,
                                    .key = ck_slice(&keys[1]),
                                    .number = it->r_version };
}

static void
condemn_some(struct fs_gc *g)
{
    size_t n = batch(g);
    c2_buf_clear(&g->bytes);
    c2_buf_reserve(&g->bytes, n * (GC_VALUE_MAX + 16)); /* ops point into it */
    for (size_t k = 0; k < n; k++) {
        const struct gc_item *it = &g->items[g->next + k];
        size_t at = g->bytes.len;
        gc_sentence_encode(g->wall_ns, c2_slice(it->value, it->value_len), &g->bytes);
        add_sentence(g, k, it, at);
    }
    gc_commit(g, 2 + 2 * n, 3 * n, some_condemned);
}

static void
page_synced(struct fs_gc *g, enum c2_err err)
{
    if (err != C2_E_OK)
        gc_round_over(g, err);
    else
        condemn_some(g);
}

static void
some_condemned(struct fs_gc *g, enum c2_err err)
{
    size_t n = batch(g);
    bool changed = err == C2_E_CONFLICT && g->req.cond_failed >= 2;
    coord_req_done(&g->req);
    if (changed) {
        C2_MARK("gc: an object changed while it was looked at");
        g->report.young_objects += n; /* the next round looks again */
    } else if (err == C2_E_CONFLICT || err == C2_E_SESSION) {
        gc_round_over(g, C2_E_FENCED);
        return;
    } else if (err != C2_E_OK) {
        gc_round_over(g, err);
        return;
    }
    C2_MARK("gc: condemned");
    g->next += n;
    if (g->next < g->nitems)
        condemn_some(g);
    else
        next_page(g);
}

static void
next_page(struct fs_gc *g)
{
    if (g->more)
        gc_ask_page(g, GC_PAGE, page_read);
    else
        gc_delete_start(g);
}

void
gc_condemn_start(struct fs_gc *g)
{
    g->prefix = g->cursor = ck_letter('O');
    gc_ask_page(g, GC_PAGE, page_read);
}
