/* SPDX-License-Identifier: MIT */
/*
 *   IDLE --timer--> OBJECTS (O, R: which are less than half used?) --> FILES --> IDLE
 *
 * FILES are those that were committed in many pieces since the last pass (hints); and, when the
 * unused bytes of sparse objects are worth it, all files that name such an object. Who names an
 * object is not recorded, so this walks through all inode records, a page at a time.
 */
#include "fs/compact.h"

#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/wire.h"
#include "fs/compact_impl.h"
#include "fs/manifest.h"
#include "fs/object_record.h"
#include "fs/records.h"
#include "fs/txg.h"

#define WORTH_PART 64u /* of the used bytes */
#define UNDER_WAY  64u /* files on their way to the clouds, before it waits */

static void next_file(struct fs_compact *c);
static void ask_objects(struct fs_compact *c);

/* ---- when ----------------------------------------------------------------------------------- */

/* A mount that has lost its right to write never gets it back. */
static void
arm(struct fs_compact *c)
{
    struct fs *fs = c->fs;
    uint64_t now = c2_now_ns(fs->part.env);
    if (!c->crowded_only)
        c->due_ns = now + fs->conf.gc_interval_ns;
    if (c->stopped || fs->fenced)
        return;
    if (c->ncrowded > 0)
        c2_timer_arm(fs->part.env, &c->timer, now);
    else if (fs->conf.compact)
        c2_timer_arm(fs->part.env, &c->timer, C2_MAX(c->due_ns, now));
}

bool
compact_seats_are_well(const struct fs *fs)
{
    struct ds_seat_status s;
    for (unsigned seat = 0; seat < ds_client_n(fs->part.ds); seat++) {
        ds_seat_status(fs->part.ds, seat, &s);
        if (s.state != DS_SEAT_ONLINE)
            return false;
    }
    return true;
}

bool
compact_may_go_on(struct fs_compact *c)
{
    struct fs *fs = c->fs;
    return fs->conf.compact && fs->requests == 0 && fs->commit_inodes.count < UNDER_WAY &&
           fs->chunk_bytes < fs->conf.write_buffer / 2 && compact_seats_are_well(fs);
}

static void
pass_over(struct fs_compact *c, enum c2_err err)
{
    coord_req_done(&c->req);
    c->req = (struct coord_req){ 0 };
    c2_free(c->sparse);
    c2_free(c->keys);
    c2_free(c->slices);
    c->sparse = NULL;
    c->keys = NULL;
    c->slices = NULL;
    c->running = false;
    if (err == C2_E_OK && !c->crowded_only)
        c->status.passes++;
    arm(c);
}

static void
begin(struct c2_timer *t)
{
    struct fs_compact *c = C2_CONTAINER_OF(t, struct fs_compact, timer);
    c->crowded_only = c->ncrowded > 0;
    if (c->fs->fenced || (!c->crowded_only && !compact_may_go_on(c))) {
        arm(c);
        return;
    }
    c->running = true;
    c->walking = c->more = false;
    c->ninos = c->next = 0;
    if (c->crowded_only) {
        next_file(c);
        return;
    }
    c->nsparse = 0;
    c->waste = c->live = 0;
    c->sparse = c2_calloc(COMPACT_SPARSE, sizeof(*c->sparse));
    c->keys = c2_calloc(COMPACT_PAGE, sizeof(*c->keys));
    c->slices = c2_calloc(COMPACT_PAGE, sizeof(*c->slices));
    c->prefix = c->cursor = ck_letter('O');
    ask_objects(c);
}

/* ---- asking --------------------------------------------------------------------------------- */

static void
ask_page(struct fs_compact *c, void (*done)(struct coord_req *r))
{
    c->slices[0] = ck_slice(&c->prefix);
    c->req = (struct coord_req){ .verb = COORD_RANGE,
                                 .keys = c->slices,
                                 .nkeys = 1,
                                 .after = ck_slice(&c->cursor),
                                 .limit = COMPACT_PAGE,
                                 .deadline_ns = C2_NEVER,
                                 .done = done };
    c->asking = true;
    coord_submit(c->fs->part.coord, &c->req);
}

/* Whether the pass goes on with what was read. */
static bool
answered(struct fs_compact *c)
{
    c->asking = false;
    if (c->req.err == C2_E_OK && !c->stopped)
        return true;
    pass_over(c, C2_E_CANCELED);
    return false;
}

static void
move_cursor(struct fs_compact *c)
{
    const struct coord_req *r = &c->req;
    c->more = r->more && r->nentries > 0;
    if (!c->more)
        return;
    const struct c2_slice last = r->entries[r->nentries - 1].key;
    c->cursor.len = C2_MIN(last.len, sizeof(c->cursor.bytes));
    memcpy(c->cursor.bytes, last.data, c->cursor.len);
}

/* ---- objects -------------------------------------------------------------------------------- */

static void choose_files(struct fs_compact *c);

static void
objects_over(struct fs_compact *c)
{
    const struct fs_config *conf = &c->fs->conf;
    uint64_t worth = conf->compact_worth != 0 ? conf->compact_worth
                                              : C2_MAX(conf->pack_size, c->live / WORTH_PART);
    c->status.sparse_bytes = c->waste;
    if (c->waste < worth)
        c->nsparse = 0;
    choose_files(c);
}

static void
live_read(struct coord_req *r)
{
    struct fs_compact *c = C2_CONTAINER_OF(r, struct fs_compact, req);
    if (!answered(c))
        return;
    for (size_t k = 0; k < c->npage; k++) {
        const struct coord_entry *e = &r->entries[k];
        uint64_t live = e->value.len == 8 ? c2_get_u64(e->value.data) : 0;
        c->live += live;
        if (live == 0 || live >= c->page_len[k] - live || live > c->page_len[k])
            continue; /* the collector's, or well used; clones count twice */
        if (c->nsparse == COMPACT_SPARSE)
            break;
        c->sparse[c->nsparse++] = c->page[k];
        c->waste += c->page_len[k] - live;
    }
    coord_req_done(r);
    if (c->more)
        ask_objects(c);
    else
        objects_over(c);
}

static void
objects_read(struct coord_req *r)
{
    struct fs_compact *c = C2_CONTAINER_OF(r, struct fs_compact, req);
    if (!answered(c))
        return;
    c->npage = 0;
    for (size_t k = 0; k < r->nentries; k++) {
        struct fs_object_record rec = { 0 };
        struct ds_oid oid;
        if (fs_object_key_decode(r->entries[k].key, &oid) != C2_E_OK ||
            fs_object_rec_decode(r->entries[k].value, &rec) != C2_E_OK)
            continue;
        c->page[c->npage] = (struct compact_object){ oid.sid, oid.seq };
        c->page_len[c->npage] = rec.ref.plain_len;
        c->keys[c->npage] = ck_live(&oid);
        c->npage++;
    }
    move_cursor(c);
    coord_req_done(r);
    if (c->npage == 0) {
        objects_over(c);
        return;
    }
    for (size_t k = 0; k < c->npage; k++)
        c->slices[k] = ck_slice(&c->keys[k]);
    *r = (struct coord_req){ .verb = COORD_GET,
                             .keys = c->slices,
                             .nkeys = c->npage,
                             .deadline_ns = C2_NEVER,
                             .done = live_read };
    c->asking = true;
    coord_submit(c->fs->part.coord, r);
}

static void
ask_objects(struct fs_compact *c)
{
    ask_page(c, objects_read);
}

/* ---- files ---------------------------------------------------------------------------------- */

static void
content_free(struct fs_inode *i)
{
    fs_map_unref(i->map);
    fs_map_unref(i->journaled);
    fs_map_unref(i->committed);
    fs_manifest_free(i->manifest);
    c2_free(i->symlink);
    c2_buf_done(&i->xattrs);
}

/* A file with a manifest may name anything: it is looked at when its leaves are read. */
static bool
may_need_it(struct fs_compact *c, const struct coord_entry *e)
{
    struct c2_buf plain = { 0 };
    struct fs_inode i = { .ino = c2_get_be64(e->key.data + 1) };
    bool needs = false;
    enum c2_err err = keys_open(c->fs->part.keys, e->key, e->value, &plain);
    struct c2_rd r = c2_rd_init(c2_buf_slice(&plain));
    if (err == C2_E_OK)
        err = fs_inode_record_decode(&r, &i);
    if (err == C2_E_OK && S_ISREG(i.attr.mode)) {
        err = fs_content_decode(c->fs, &r, &i);
        needs = err == C2_E_OK && (i.manifest != NULL || compact_wanted(c, i.map));
    }
    content_free(&i);
    c2_buf_done(&plain);
    return needs;
}

static void
files_read(struct coord_req *r)
{
    struct fs_compact *c = C2_CONTAINER_OF(r, struct fs_compact, req);
    if (!answered(c))
        return;
    c->ninos = c->next = 0;
    for (size_t k = 0; k < r->nentries; k++)
        if (r->entries[k].key.len == 9 && may_need_it(c, &r->entries[k]))
            c->inos[c->ninos++] = c2_get_be64(r->entries[k].key.data + 1);
    move_cursor(c);
    coord_req_done(r);
    next_file(c);
}

static void
choose_files(struct fs_compact *c)
{
    memcpy(c->inos, c->hints, c->nhints * sizeof(c->hints[0]));
    c->ninos = c->nhints;
    c->nhints = c->next = 0;
    c->walking = c->nsparse > 0;
    c->prefix = c->cursor = ck_letter('I');
    c->more = c->walking;
    next_file(c);
}

static void
next_file(struct fs_compact *c)
{
    c->joining = false;
    if (c->stopped || c->fs->fenced) {
        pass_over(c, C2_E_CANCELED);
    } else if (c->ncrowded > 0) {
        c->joining = true;
        c->ino = c->crowded[0];
        c->ncrowded--;
        memmove(c->crowded, c->crowded + 1, c->ncrowded * sizeof(c->crowded[0]));
        compact_file_start(c);
    } else if (c->next < c->ninos) {
        c->ino = c->inos[c->next++];
        compact_file_start(c);
    } else if (c->more) {
        ask_page(c, files_read);
    } else {
        pass_over(c, C2_E_OK);
    }
}

void
compact_file_over(struct fs_compact *c)
{
    next_file(c);
}

void
fs_compact_hint(struct fs *fs, const struct fs_inode *i)
{
    struct fs_compact *c = fs->compact;
    if (!fs->conf.compact || i->committed == NULL || i->committed->n <= FS_COMPACT_EXTENTS)
        return;
    for (size_t k = 0; k < c->nhints; k++)
        if (c->hints[k] == i->ino)
            return;
    if (c->nhints < COMPACT_HINTS)
        c->hints[c->nhints++] = i->ino;
}

/* ---- life ----------------------------------------------------------------------------------- */

void
fs_compact_status(const struct fs *fs, struct fs_compact_status *ret_status)
{
    *ret_status = fs->compact->status;
    ret_status->on = fs->conf.compact;
    ret_status->running = fs->compact->running;
}

void
fs_compact_start(struct fs *fs)
{
    arm(fs->compact);
}

void
fs_compact_stop(struct fs *fs)
{
    struct fs_compact *c = fs->compact;
    c->stopped = true;
    c2_timer_stop(fs->part.env, &c->timer);
    if (c->asking)
        coord_cancel(fs->part.coord, &c->req);
    else if (c->running)
        compact_file_stop(c);
}

bool
fs_compact_idle(const struct fs *fs)
{
    return !fs->compact->running;
}

struct fs_compact *
fs_compact_new(struct fs *fs)
{
    struct fs_compact *c = c2_calloc(1, sizeof(*c));
    c->fs = fs;
    c->timer.fire = begin;
    return c;
}

void
fs_compact_free(struct fs_compact *c)
{
    if (c == NULL)
        return;
    C2_ASSERT(!c->running);
    c2_free(c);
}
