/* SPDX-License-Identifier: MIT */
/*
 * The beginning and the end of a mount.
 *
 *   open:   POSITION (what is committed, counters) --> REPLAY (journal) --> ORPHANS (inodes that
 *           were open without a name when the last mount ended) --> ready
 *   close:  shipping and groups stop --> the packer stops --> journal stops --> free
 */
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/wire.h"
#include "fs/coord_keys.h"
#include "fs/deferred.h"
#include "fs/garbage.h"
#include "fs/load.h"
#include "fs/manifest.h"
#include "fs/object_get.h"
#include "fs/pack.h"
#include "fs/publish.h"
#include "fs/records.h"
#include "fs/repair.h"
#include "fs/replay.h"
#include "fs/txg.h"

/* last device, own position, two counters, shipping, commit marker */
#define OPENING_KEYS 6
#define ORPHANS_MAX  COORD_GET_KEYS_MAX /* looked at in one go */

/* ---- format --------------------------------------------------------------------------------- */

void
fs_format_ops(struct keys *keys, uint32_t uid, uint32_t gid, uint64_t wall_ns,
              struct c2_buf *backing, struct coord_op ops[FS_FORMAT_OPS])
{
    struct fs_inode root = { .ino = FS_ROOT_INO, .parent = FS_ROOT_INO };
    struct ck inode = ck_inode(FS_ROOT_INO), position = ck_letter('J');
    struct c2_buf record = { 0 }, pos = { 0 };
    root.attr = (struct fs_attr){
        .ino = FS_ROOT_INO, .mode = S_IFDIR | 0755, .nlink = 2, .uid = uid, .gid = gid
    };
    root.attr.btime = fs_time_of(wall_ns);
    root.attr.atime = root.attr.mtime = root.attr.ctime = root.attr.btime;
    fs_inode_record_encode(&root, &record);
    fs_position_encode(&(struct fs_position){ .next_ino = FS_ROOT_INO + 1 }, &pos);

    size_t start = backing->len;
    c2_buf_append(backing, inode.bytes, inode.len);
    c2_buf_append(backing, position.bytes, position.len);
    size_t v0 = backing->len;
    keys_seal(keys, ck_slice(&inode), c2_buf_slice(&record), backing);
    size_t v1 = backing->len;
    keys_seal(keys, ck_slice(&position), c2_buf_slice(&pos), backing);
    ops[0] = (struct coord_op){ .kind = COORD_PUT,
                                .key = c2_slice(backing->data + start, inode.len),
                                .value = c2_slice(backing->data + v0, v1 - v0) };
    ops[1] = (struct coord_op){ .kind = COORD_PUT,
                                .key = c2_slice(backing->data + start + inode.len, position.len),
                                .value = c2_slice(backing->data + v1, backing->len - v1) };
    c2_buf_done(&record);
    c2_buf_done(&pos);
}

/* ---- open ----------------------------------------------------------------------------------- */

struct opening {
    struct fs *fs;
    void (*done)(void *arg, enum c2_err err, struct fs *fs, char *error);
    void *arg;
    struct fs_replay replay;
    struct ck keys[OPENING_KEYS];
    struct c2_slice slices[OPENING_KEYS];
    struct coord_req req;
    uint64_t orphans[ORPHANS_MAX];
    size_t norphans;
    enum c2_err err;
    char *error;
};

static void
fs_free(struct fs *fs)
{
    fs_ship_free(fs->ship);
    fs_gc_free(fs->gc);
    fs_compact_free(fs->compact);
    fs_garbage_free(fs->garbage);
    fs_deferred_free(fs->deferred);
    fs_repair_free(fs->repair);
    fs_txgs_free(fs->txgs);
    fs_packer_free(fs->packer);
    fs_inode_free_all(fs);
    fs_publisher_free(fs->publisher);
    fs_named_pieces_free(fs);
    c2_map_done(&fs->inodes);
    c2_map_done(&fs->dentries);
    c2_map_done(&fs->objects);
    c2_map_done(&fs->lookups);
    if (fs->journal != NULL)
        journal_close(fs->journal);
    c2_wipe(fs->part.journal_key, sizeof(fs->part.journal_key));
    c2_free(fs);
}

/* ---- the end of a file system -----------------------------------------------------------------
 */

struct ending {
    struct fs *fs;
    void (*done)(void *arg);
    void *arg;
    struct c2_timer poll;
};

/* What still runs was told to end, and does so by itself. */
static void
ending_check(struct c2_timer *t)
{
    struct ending *e = C2_CONTAINER_OF(t, struct ending, poll);
    struct fs *fs = e->fs;
    bool busy = fs_txgs_committing(fs) || !fs_publisher_idle(fs) || !c2_list_empty(&fs->loads) ||
                !c2_list_empty(&fs->object_gets) || fs->prefetches > 0 || !fs_garbage_idle(fs) ||
                !fs_repair_idle(fs) || !fs_gc_idle(fs) || !fs_compact_idle(fs) || !fs_ship_idle(fs);
    if (busy) {
        c2_timer_arm(fs->part.env, &e->poll, c2_now_ns(fs->part.env) + C2_NS_PER_MS);
        return;
    }
    c2_timer_stop(fs->part.env, &fs->throttle);
    fs_publisher_stop(fs);
    fs_free(fs);
    e->done(e->arg);
    c2_free(e);
}

void
fs_loads_end(struct fs *fs)
{
    fs_loads_cancel(fs);
    fs_object_gets_cancel(fs);
}

static void
packer_stopped(void *arg)
{
    struct ending *e = arg;
    fs_loads_end(e->fs);
    /* Not here: the caller may be a callback of something that is not done with fs. */
    c2_timer_arm(e->fs->part.env, &e->poll, c2_now_ns(e->fs->part.env));
}

/* Stops everything, then frees fs. */
static void
fs_end(struct fs *fs, void (*done)(void *arg), void *arg)
{
    struct ending *e = c2_calloc(1, sizeof(*e));
    e->fs = fs;
    e->done = done;
    e->arg = arg;
    e->poll.fire = ending_check;
    fs->stopping = true;
    fs_gc_stop(fs);
    fs_compact_stop(fs);
    fs_ship_stop(fs);
    fs_garbage_stop(fs);
    fs_deferred_stop(fs);
    ds_client_quiesce(fs->part.ds);
    fs_repair_stop(fs);
    fs_txgs_stop(fs);
    fs_packer_stop(fs, packer_stopped, e);
}

/* ---- open ----------------------------------------------------------------------------------- */

static void
open_failed(void *arg)
{
    struct opening *o = arg;
    o->done(o->arg, o->err, NULL, o->error);
    c2_free(o);
}

static void
open_end(struct opening *o, enum c2_err err, char *error)
{
    struct fs *fs = o->fs;
    coord_req_done(&o->req);
    if (err == C2_E_OK) {
        fs_ship_start(fs);
        fs_garbage_wake(fs);
        fs_gc_start(fs);
        fs_deferred_start(fs);
        fs_compact_start(fs);
        o->done(o->arg, C2_E_OK, fs, error);
        c2_free(o);
        return;
    }
    o->err = err;
    o->error = error != NULL
                   ? error
                   : c2_asprintf("the volume's metadata cannot be read: %s", c2_err_text(err));
    fs_end(fs, open_failed, o);
}

static void list_orphans(struct opening *o);

static void
orphans_loaded(void *arg, enum c2_err err)
{
    struct opening *o = arg;
    struct fs *fs = o->fs;
    /* One that is damaged stays: nobody can reach it, and the load has said which it is. */
    if (c2_err_class(err) == C2_CLASS_DATA)
        err = C2_E_OK;
    for (size_t k = 0; err == C2_E_OK && k < o->norphans; k++) {
        struct fs_inode *i = fs_inode_peek(fs, o->orphans[k]);
        if (i == NULL || i->attr.mode == 0)
            continue;
        i->orphaned = true;
        fs_inode_links_changed(fs, i);
    }
    if (err == C2_E_OK && o->req.more) {
        list_orphans(o);
        return;
    }
    if (err == C2_E_OK)
        fs_changed(fs);
    open_end(o, err, NULL);
}

static void
orphans_listed(struct coord_req *r)
{
    struct opening *o = C2_CONTAINER_OF(r, struct opening, req);
    o->norphans = 0;
    for (size_t k = 0; r->err == C2_E_OK && k < r->nentries; k++) {
        const struct coord_entry *e = &r->entries[k];
        if (e->key.len != 9)
            continue;
        o->keys[1] = ck_orphan(c2_get_be64(e->key.data + 1)); /* the next list goes on after it */
        if (e->value.len == 0)                                /* the others are fs/garbage.c's */
            o->orphans[o->norphans++] = c2_get_be64(e->key.data + 1);
    }
    if (r->err != C2_E_OK || o->norphans == 0)
        orphans_loaded(o, r->err);
    else
        fs_load_inodes_for(o->fs, o->orphans, o->norphans, orphans_loaded, o);
}

static void
list_orphans(struct opening *o)
{
    coord_req_done(&o->req);
    o->keys[0] = ck_letter('G');
    o->slices[0] = ck_slice(&o->keys[0]);
    o->req = (struct coord_req){ .verb = COORD_RANGE,
                                 .keys = o->slices,
                                 .nkeys = 1,
                                 .after = ck_slice(&o->keys[1]),
                                 .limit = ORPHANS_MAX,
                                 .deadline_ns = C2_NEVER,
                                 .done = orphans_listed };
    coord_submit(o->fs->part.coord, &o->req);
}

static void
replayed(struct fs_replay *rp)
{
    struct opening *o = C2_CONTAINER_OF(rp, struct opening, replay);
    if (rp->err != C2_E_OK) {
        open_end(o, rp->err, rp->error);
        return;
    }
    o->keys[1] = ck_letter('G');
    list_orphans(o);
}

static C2_RESULT
read_position(struct opening *o)
{
    struct fs *fs = o->fs;
    const struct coord_entry *e = o->req.entries;
    struct c2_buf plain = { 0 };
    if (e[0].version == 0)
        return C2_E_DAMAGED;
    struct c2_buf own = { 0 };
    struct fs_position at = { 0 };
    enum c2_err err = keys_open(fs->part.keys, ck_slice(&o->keys[0]), e[0].value, &plain);
    if (err == C2_E_OK && e[1].version != 0)
        err = keys_open(fs->part.keys, ck_slice(&o->keys[1]), e[1].value, &own);
    if (err == C2_E_OK)
        err = fs_position_decode(c2_buf_slice(&plain), c2_buf_slice(&own), fs->part.device_id, &at);
    c2_buf_done(&plain);
    c2_buf_done(&own);
    fs->next_ino = at.next_ino;
    o->replay.after_seq = at.seq;
    o->replay.foreign = fs->foreign = fs_position_is_foreign(&at, fs->part.device_id);
    for (int k = 2; err == C2_E_OK && k < 4; k++) {
        uint64_t v = e[k].value.len == 8 ? c2_get_u64(e[k].value.data) : 0;
        *(k == 2 ? &fs->used_bytes : &fs->used_files) = (int64_t)v < 0 ? 0 : v;
    }
    fs->commit_version = e[5].version;
    if (err == C2_E_OK && fs->part.device_secret != NULL)
        err = fs_ship_new(fs, e[4].value, o->req.version, &fs->ship);
    return err;
}

static void
position_read(struct coord_req *r)
{
    struct opening *o = C2_CONTAINER_OF(r, struct opening, req);
    enum c2_err err = r->err;
    if (err == C2_E_OK)
        err = read_position(o);
    if (err != C2_E_OK) {
        open_end(o, err, NULL);
        return;
    }
    fs_replay_start(&o->replay, &o->fs->part);
}

static struct fs *
fs_new(const struct fs_parts *parts, const struct fs_config *config)
{
    struct fs *fs = c2_calloc(1, sizeof(*fs));
    uint64_t seed;
    fs->part = *parts;
    if (fs->part.store == NULL)
        fs->part.store = parts->coord;
    fs->conf = *config;
    if (fs->conf.inodes_max == 0)
        fs->conf.inodes_max = FS_INODES_MAX;
    if (fs->conf.dentries_max == 0)
        fs->conf.dentries_max = FS_DENTRIES_MAX;
    if (fs->conf.extents_max == 0)
        fs->conf.extents_max = FS_MAP_EXTENTS_MAX;
    c2_random(parts->env, &seed, sizeof(seed));
    /* A store restored from the clouds can hand out a session id that a lost tail of its log had
     * used before: the objects of the two must not have the same names. */
    c2_random(parts->env, &fs->next_object, sizeof(fs->next_object));
    fs->next_object >>= 16;
    c2_map_init(&fs->inodes, seed);
    c2_map_init(&fs->dentries, seed);
    c2_map_init(&fs->objects, seed);
    c2_map_init(&fs->lookups, seed);
    c2_list_init(&fs->inode_lru);
    c2_list_init(&fs->dentry_lru);
    c2_list_init(&fs->journal_inodes);
    c2_list_init(&fs->journal_dentries);
    c2_list_init(&fs->commit_inodes);
    c2_list_init(&fs->commit_dentries);
    c2_list_init(&fs->chunks_mem);
    c2_list_init(&fs->named_pieces);
    c2_list_init(&fs->loads);
    c2_list_init(&fs->object_gets);
    c2_list_init(&fs->blocked);
    fs->unknown = (struct fs_source){ .kind = FS_SOURCE_OBJECT, .refs = 1, .fs = fs };
    fs->throttle.fire = fs_throttle_due;
    fs->publisher = fs_publisher_new(fs);
    fs->packer = fs_packer_new(fs);
    fs->txgs = fs_txgs_new(fs);
    fs->garbage = fs_garbage_new(fs);
    fs->deferred = fs_deferred_new(fs);
    fs->repair = fs_repair_new(fs);
    fs->gc = fs_gc_new(fs);
    fs->compact = fs_compact_new(fs);
    return fs;
}

void
fs_open(const struct fs_parts *parts, const struct fs_config *config,
        void (*done)(void *arg, enum c2_err err, struct fs *fs, char *error), void *arg,
        struct fs_open_report *report)
{
    struct opening *o = c2_calloc(1, sizeof(*o));
    o->fs = fs_new(parts, config);
    o->done = done;
    o->arg = arg;
    o->replay = (struct fs_replay){ .fs = o->fs, .done = replayed, .report = report };
    o->keys[0] = ck_letter('J');
    o->keys[1] = ck_journal(parts->device_id);
    o->keys[2] = ck_usage("bytes");
    o->keys[3] = ck_usage("files");
    o->keys[4] = ck_letter('H');
    o->keys[5] = ck_session(FS_COMMIT_MARKER);
    for (int k = 0; k < OPENING_KEYS; k++)
        o->slices[k] = ck_slice(&o->keys[k]);
    o->req = (struct coord_req){ .verb = COORD_GET,
                                 .keys = o->slices,
                                 .nkeys = OPENING_KEYS,
                                 .deadline_ns = C2_NEVER,
                                 .done = position_read };
    coord_submit(parts->coord, &o->req);
}

/* ---- close ---------------------------------------------------------------------------------- */

struct closing {
    struct fs *fs;
    void (*done)(void *arg);
    void *arg;
    struct fs_publish publish;
};

static void
published(struct fs_publish *p)
{
    struct closing *c = C2_CONTAINER_OF(p, struct closing, publish);
    if (p->err != C2_E_OK)
        c2_log(ERROR, "close", "the last changes could not be journalled: err=%s",
               c2_err_name(p->err));
    fs_ship_save(c->fs);
    fs_end(c->fs, c->done, c->arg);
    c2_free(c);
}

void
fs_close(struct fs *fs, void (*done)(void *arg), void *arg)
{
    struct closing *c = c2_calloc(1, sizeof(*c));
    C2_ASSERT(fs->requests == 0);
    fs->stopping = true;
    c->fs = fs;
    c->done = done;
    c->arg = arg;
    c->publish = (struct fs_publish){ .sync = true, .done = published };
    fs_publish_start(fs, &c->publish);
}
