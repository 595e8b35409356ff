/* SPDX-License-Identifier: MIT */
/*
 *   IDLE --wake, timer--> LIST (the next G keys) --> for each with a value:
 *       LEAVES (of its manifest, from the clouds) --> COUNT (a transaction for so many objects, the
 *       last one removes the key; again until all are done) --> next key ... --> IDLE
 *
 * The value says how many objects are done, in the order in which leaves and extents name them, so
 * that none is counted twice whenever it ends. A file whose leaves cannot be read is left for
 * later.
 */
#include "fs/garbage.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/wire.h"
#include "fs/coord_keys.h"
#include "fs/fetch.h"
#include "fs/live.h"
#include "fs/manifest.h"
#include "fs/records.h"

#define LIST_KEYS   16u
#define COUNT_MAX   256u /* objects in one transaction */
#define SOON_NS     C2_NS_PER_S
#define LATER_NS    (600 * C2_NS_PER_S) /* after a failure */
#define KEY_LEN     9u
#define COND_RECORD 2 /* its place among the conditions */

struct fs_garbage {
    struct fs *fs;
    struct c2_timer timer;
    bool running, stopped;
    bool again;  /* woken while it ran */
    bool failed; /* something was left for later */
    struct coord_req list, txn;
    struct coord_req *waiting; /* for the answer of one of them */
    struct c2_slice prefix;
    struct ck prefix_key, key; /* key: of the file at hand, or of the last one */
    size_t next;               /* in the list's answer */

    /* the file at hand */
    struct fs_inode inode; /* in no table */
    struct c2_buf record;  /* as it was kept, after the number of objects done */
    uint64_t done_objects;
    size_t leaf;
    struct fs_map *base;
    struct fs_fetch fetch;
    struct fs_live live;
    struct c2_buf bytes; /* keys and the value of the transaction */
    struct ck live_keys[COUNT_MAX];
    struct coord_op ops[COUNT_MAX + 1];
    struct coord_cond conds[3];
    uint64_t record_version;
    uint64_t counted; /* objects in the transaction */
};

static void next_file(struct fs_garbage *g);
static void list_keys(struct fs_garbage *g);

/* ---- passes --------------------------------------------------------------------------------- */

static void
arm(struct fs_garbage *g, uint64_t delay_ns)
{
    if (!g->stopped)
        c2_timer_arm(g->fs->part.env, &g->timer, c2_now_ns(g->fs->part.env) + delay_ns);
}

static void
begin(struct c2_timer *t)
{
    struct fs_garbage *g = C2_CONTAINER_OF(t, struct fs_garbage, timer);
    if (g->fs->store_held > 0) {
        arm(g, SOON_NS);
        return;
    }
    g->running = true;
    g->again = g->failed = false;
    g->key = g->prefix_key;
    list_keys(g);
}

static void
end_pass(struct fs_garbage *g)
{
    coord_req_done(&g->list);
    g->list = (struct coord_req){ 0 };
    g->running = false;
    if (g->again)
        arm(g, SOON_NS);
    else if (g->failed)
        arm(g, LATER_NS);
}

static void
listed(struct coord_req *r)
{
    struct fs_garbage *g = C2_CONTAINER_OF(r, struct fs_garbage, list);
    g->waiting = NULL;
    g->failed = g->failed || r->err != C2_E_OK;
    if (r->err != C2_E_OK || g->stopped) {
        end_pass(g);
        return;
    }
    g->next = 0;
    next_file(g);
}

static void
list_keys(struct fs_garbage *g)
{
    coord_req_done(&g->list);
    g->prefix = ck_slice(&g->prefix_key);
    g->list = (struct coord_req){ .verb = COORD_RANGE,
                                  .keys = &g->prefix,
                                  .nkeys = 1,
                                  .after = ck_slice(&g->key),
                                  .limit = LIST_KEYS,
                                  .deadline_ns = C2_NEVER,
                                  .done = listed };
    g->waiting = &g->list;
    coord_submit(g->fs->part.coord, &g->list);
}

/* ---- one file ------------------------------------------------------------------------------- */

static void
forget_file(struct fs_garbage *g)
{
    struct fs_inode *i = &g->inode;
    fs_live_done(&g->live);
    fs_map_unref(g->base);
    fs_map_unref(i->map);
    fs_map_unref(i->committed);
    fs_map_unref(i->journaled);
    fs_manifest_free(i->manifest);
    c2_free(i->symlink);
    c2_buf_done(&i->xattrs);
    c2_buf_done(&g->record);
    g->inode = (struct fs_inode){ 0 };
    g->record = (struct c2_buf){ 0 };
    g->base = NULL;
}

static void
file_over(struct fs_garbage *g, enum c2_err err)
{
    if (err != C2_E_OK && err != C2_E_CANCELED) {
        g->failed = true;
        c2_log(WARN, "garbage", "ino=%llu err=%s its objects stay for now",
               (unsigned long long)c2_get_be64(g->key.bytes + 1), c2_err_name(err));
    }
    forget_file(g);
    if (err == C2_E_CANCELED || g->stopped)
        end_pass(g);
    else
        next_file(g);
}

static void count_some(struct fs_garbage *g);

static void
counted(struct coord_req *r)
{
    struct fs_garbage *g = C2_CONTAINER_OF(r, struct fs_garbage, txn);
    enum c2_err err = r->err;
    bool last = g->done_objects + g->counted == g->live.changes.count;
    if (err == C2_E_CONFLICT && r->cond_failed == COND_RECORD) {
        /* Nobody else changes it while we have the lock: what seemed to fail has happened. */
        C2_MARK("garbage: a count that had happened already");
        r->version = r->nentries >= 1 ? r->entries[0].version : 0;
        err = C2_E_OK;
    }
    if (err == C2_E_OK)
        g->record_version = r->version;
    g->waiting = NULL;
    coord_req_done(r);
    g->done_objects += g->counted;
    if (err == C2_E_OK && !last && !g->stopped)
        count_some(g);
    else
        file_over(g, err);
}

/* The counters of the next objects. */
static size_t
add_counters(struct fs_garbage *g)
{
    uint64_t at = 0;
    size_t n = 0;
    C2_LIST_FOREACH (&g->live.changes, struct fs_live_change, c, link) {
        if (at++ < g->done_objects)
            continue;
        if (n == COUNT_MAX)
            break;
        g->live_keys[n] = ck_live(&c->object->ref.oid);
        g->ops[n] = (struct coord_op){ .kind = COORD_ADD,
                                       .key = ck_slice(&g->live_keys[n]),
                                       .number = c->bytes };
        n++;
    }
    return n;
}

static void
count_some(struct fs_garbage *g)
{
    const struct fs_parts *part = &g->fs->part;
    size_t n = add_counters(g);
    g->counted = n;
    c2_buf_clear(&g->bytes);
    g->ops[n] = (struct coord_op){ .kind = COORD_DELETE, .key = ck_slice(&g->key) };
    if (g->done_objects + n < g->live.changes.count) {
        C2_MARK("garbage: a file in several transactions");
        struct c2_buf plain = { 0 };
        c2_wr_u64(&plain, g->done_objects + n);
        c2_wr_raw(&plain, g->record.data, g->record.len);
        keys_seal(part->keys, ck_slice(&g->key), c2_buf_slice(&plain), &g->bytes);
        c2_buf_done(&plain);
        g->ops[n].kind = COORD_PUT;
        g->ops[n].value = c2_buf_slice(&g->bytes);
    }
    g->conds[0] = (struct coord_cond){ .kind = COORD_VERSION_EQ,
                                       .key = part->fence_key,
                                       .number = part->fence_token };
    g->conds[1] = (struct coord_cond){ .kind = COORD_SESSION_ALIVE, .number = part->session };
    g->conds[COND_RECORD] = (struct coord_cond){ .kind = COORD_VERSION_EQ,
                                                 .key = ck_slice(&g->key),
                                                 .number = g->record_version };
    g->txn = (struct coord_req){ .verb = COORD_TXN,
                                 .conds = g->conds,
                                 .nconds = COND_RECORD + 1,
                                 .ops = g->ops,
                                 .nops = n + 1,
                                 .deadline_ns = C2_NEVER,
                                 .done = counted };
    g->waiting = &g->txn;
    coord_submit(part->coord, &g->txn);
}

static void leaf_read(struct fs_fetch *f);

static void
next_leaf(struct fs_garbage *g)
{
    const struct fs_manifest *m = g->inode.manifest;
    if (m != NULL && g->leaf < m->nleaves) {
        const struct fs_leaf *leaf = &m->leaves[g->leaf];
        g->fetch = (struct fs_fetch){ .source = leaf->source,
                                      .off = leaf->source_off,
                                      .len = leaf->len,
                                      .whole_object = true,
                                      .done = leaf_read };
        fs_fetch_start(g->fs, &g->fetch);
        return;
    }
    if (m != NULL) {
        g->inode.manifest->base = g->base;
        g->base = NULL;
        enum c2_err err = fs_content_loaded(g->fs, &g->inode);
        if (err != C2_E_OK) {
            file_over(g, err);
            return;
        }
    }
    fs_live_leaves(&g->live, m, -1);
    fs_live_content(&g->live, g->inode.map, NULL);
    count_some(g);
}

static void
leaf_read(struct fs_fetch *f)
{
    struct fs_garbage *g = C2_CONTAINER_OF(f, struct fs_garbage, fetch);
    const struct fs_manifest *m = g->inode.manifest;
    uint64_t end = g->leaf + 1 < m->nleaves ? m->leaves[g->leaf + 1].off : FS_FILE_SIZE_MAX;
    enum c2_err err = f->err;
    if (err == C2_E_OK)
        err = fs_leaf_decode(g->fs, f->data, m->leaves[g->leaf].off, end, &g->base);
    fs_fetch_done(f);
    g->leaf++;
    if (err == C2_E_OK && g->stopped)
        err = C2_E_CANCELED;
    if (err != C2_E_OK)
        file_over(g, err);
    else
        next_leaf(g);
}

static C2_RESULT
open_record(struct fs_garbage *g, struct c2_slice sealed)
{
    struct c2_buf plain = { 0 };
    enum c2_err err = keys_open(g->fs->part.keys, ck_slice(&g->key), sealed, &plain);
    struct c2_rd r = c2_rd_init(c2_buf_slice(&plain));
    if (err == C2_E_OK) {
        g->done_objects = c2_rd_u64(&r);
        size_t at = plain.len - c2_rd_left(&r);
        c2_buf_append(&g->record, plain.data + at, plain.len - at);
        err = fs_inode_record_decode(&r, &g->inode);
    }
    if (err == C2_E_OK && !S_ISREG(g->inode.attr.mode))
        err = C2_E_PARSE;
    if (err == C2_E_OK)
        err = fs_content_decode(g->fs, &r, &g->inode);
    c2_buf_done(&plain);
    return err;
}

static void
begin_file(struct fs_garbage *g, const struct coord_entry *e)
{
    fs_live_init(&g->live);
    g->base = fs_map_new();
    g->leaf = 0;
    g->done_objects = 0;
    g->record_version = e->version;
    enum c2_err err = open_record(g, e->value);
    if (err != C2_E_OK)
        file_over(g, err);
    else
        next_leaf(g);
}

/* The next key with a value; the ones without are files that are open. */
static void
next_file(struct fs_garbage *g)
{
    while (g->next < g->list.nentries) {
        const struct coord_entry *e = &g->list.entries[g->next++];
        if (e->key.len != KEY_LEN)
            continue;
        g->key = ck_orphan(c2_get_be64(e->key.data + 1));
        if (e->value.len > 0) {
            begin_file(g, e);
            return;
        }
    }
    if (g->list.more)
        list_keys(g);
    else
        end_pass(g);
}

/* ---- life ----------------------------------------------------------------------------------- */

void
fs_garbage_wake(struct fs *fs)
{
    struct fs_garbage *g = fs->garbage;
    g->again = true;
    if (!g->running)
        arm(g, SOON_NS);
}

void
fs_garbage_stop(struct fs *fs)
{
    struct fs_garbage *g = fs->garbage;
    g->stopped = true;
    c2_timer_stop(fs->part.env, &g->timer);
    if (g->waiting != NULL)
        coord_cancel(fs->part.coord, g->waiting);
}

bool
fs_garbage_idle(const struct fs *fs)
{
    return !fs->garbage->running;
}

struct fs_garbage *
fs_garbage_new(struct fs *fs)
{
    struct fs_garbage *g = c2_calloc(1, sizeof(*g));
    g->fs = fs;
    g->timer.fire = begin;
    g->prefix_key = ck_letter('G');
    return g;
}

void
fs_garbage_free(struct fs_garbage *g)
{
    if (g == NULL)
        return;
    C2_ASSERT(!g->running);
    c2_buf_done(&g->bytes);
    c2_free(g);
}
