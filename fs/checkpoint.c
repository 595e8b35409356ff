/* SPDX-License-Identifier: MIT */
/*
 * Checkpoints: snapshots of the store in the clouds, so that a recovery does not replay everything
 * since the beginning and old journal objects can go.
 *
 *   IDLE ─due─► CLEAN ─► DUMP (pool) ─► [READ] PART ... ─► SHIP ─► CONFIG ─► INDEX ─► LIST, DELETE
 *
 * Cost must follow the changes. A journal object costs its log bytes, at least 64 KiB (three
 * requests cost as much as that). With C the cost since the last checkpoint and B the size of that
 * checkpoint, one is due when
 *
 *     C >= max(1 MiB, B / 2)  and  (log bytes >= checkpoint_bytes  or  checkpoint_interval is over)
 *
 * or when there is none at all. So checkpoints never upload more than twice what the log does, and
 * a recovery replays at most max(checkpoint_bytes, B / 2) of log.
 *
 * The index is written last, and only when the journal has everything that the snapshot has: who
 * finds an index knows that its state is part of the history that every later writer continues.
 *
 * A snapshot that does not fit one part goes through a file in state_dir: the pool job must not
 * wait for uploads, for the store cannot grow while it runs. Its values are sealed.
 *
 * The last two are kept, with the journal from the older one on. Deleting is by list, so what a
 * crash or an unreachable cloud left behind goes the next time.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/os_file.h"
#include "base/wire.h"
#include "fs/coord_keys.h"
#include "fs/ship_state.h"
#include "metadata/registry.h"

#define SPOOL_NAME "checkpoint.tmp"
#define COST_MIN   (1u << 20)
#define PAUSE_NS   (60 * C2_NS_PER_S) /* after a failure */

enum state { IDLE, CLEAN, DUMP, READ, PART, SHIP, CONFIG, INDEX, LIST_JOURNAL, LIST_CHECKPOINTS };

/* What the pool job owns while it runs. */
struct dump {
    struct c2_work work;
    struct coord *coord; /* borrowed */
    const char *path;    /* borrowed: the file, made when it is needed */
    int file;            /* -1: no file yet */
    struct c2_buf part;  /* the last part; the only one when there is no file */
    uint32_t *lens;      /* of the parts; owned */
    size_t nparts;
    uint64_t bytes;
    uint64_t version;
    enum c2_err err;
};

struct checkpoint {
    struct fs_ship *s;
    enum state state;
    bool stopping;
    bool wanted;        /* whatever it costs */
    uint64_t number;    /* of the next one of this generation */
    uint64_t counts_ns; /* the interval and pauses count from here */
    uint64_t pause_ns;  /* after a failure */
    struct c2_timer timer;
    char *path; /* owned */
    struct ship_checkpoint made;
    uint64_t cost_before, log_before;
    struct dump dump;
    struct ds_ref *refs; /* owned */
    size_t next;
    uint64_t offset; /* of the next part in the file */
    struct c2_disk_req disk;
    struct c2_blob *blob; /* a part read back */
    struct ds_put put;
    struct c2_slice slice;
    struct fs_ship_wait wait;
    struct coord_req get;
    struct ck keys[2];
    struct c2_slice key_slices[2];
    struct c2_buf index;
    struct ds_list list;
    struct ds_delete delete;
    struct ds_oid *oids; /* owned: to be deleted, in this order */
    size_t noids;
};

static void put_part(struct checkpoint *c);
static void list_start(struct checkpoint *c, enum ds_kind kind);

/* ---- end ------------------------------------------------------------------------------------ */

static void
spool_gone(struct c2_disk_req *r)
{
    struct checkpoint *c = C2_CONTAINER_OF(r, struct checkpoint, disk);
    c->state = IDLE;
    checkpoint_consider(c);
}

/* Back to IDLE, from any state in which nothing runs. */
static void
finish(struct checkpoint *c, enum c2_err err)
{
    struct c2_env *env = c->s->fs->part.env;
    bool spooled = c->dump.file >= 0;
    if (err != C2_E_OK && err != C2_E_CANCELED)
        c2_log(WARN, "checkpoint", "number=%llu err=%s given up, trying again later",
               (unsigned long long)c->number - 1, c2_err_name(err));
    c->counts_ns = c2_now_ns(env);
    c->pause_ns = err == C2_E_OK ? 0 : PAUSE_NS;
    c2_buf_done(&c->dump.part);
    c2_free(c->dump.lens);
    c2_free(c->refs);
    c2_free(c->oids);
    c2_blob_unref(c->blob);
    if (c->index.data != NULL)
        c2_wipe(c->index.data, c->index.len);
    c2_buf_done(&c->index);
    c->refs = NULL;
    c->oids = NULL;
    c->blob = NULL;
    c->dump = (struct dump){ .file = -1 };
    c->state = IDLE;
    if (spooled) {
        c->state = CLEAN;
        c->disk =
            (struct c2_disk_req){ .verb = C2_DISK_UNLINK, .path = c->path, .done = spool_gone };
        c2_disk(env, &c->disk);
    }
    if (c->stopping)
        return;
    if (c->s->rec.ncheckpoints > 0)
        ship_end_waiters(c->s, C2_E_OK);
    else if (err != C2_E_CANCELED)
        ship_end_waiters(c->s, err);
    checkpoint_consider(c);
}

/* Whether the step that ended ends everything. */
static bool
ended(struct checkpoint *c, enum c2_err err)
{
    if (err == C2_E_OK && !c->stopping && !c->s->fs->fenced)
        return false;
    finish(c, c->stopping || c->s->fs->fenced ? C2_E_CANCELED : err);
    return true;
}

/* ---- deleting what is not needed any more --------------------------------------------------- */

static const struct ship_checkpoint *
oldest_kept(const struct checkpoint *c)
{
    const struct ship_record *r = &c->s->rec;
    return r->ncheckpoints == SHIP_CHECKPOINTS_MAX ? &r->checkpoints[r->ncheckpoints - 1] : NULL;
}

static bool
is_index(const struct ds_list_item *i)
{
    return (i->seq & SHIP_INDEX_SEQ) == SHIP_INDEX_SEQ;
}

static bool
is_old(const struct checkpoint *c, const struct ds_list_item *i)
{
    const struct ship_checkpoint *keep = oldest_kept(c);
    if (keep == NULL)
        return false;
    struct ship_position at = { .generation = i->sid, .seq = i->seq };
    struct ship_position first = keep->journal;
    if (c->list.kind == DS_KIND_CHECKPOINT) {
        at.seq >>= 16;
        first = (struct ship_position){ .generation = keep->generation, .seq = keep->number };
    }
    return ship_position_compare(&at, &first) < 0;
}

/* An index before its parts, so that nobody finds an index without them. */
static void
collect_old(struct checkpoint *c)
{
    const struct ds_list *l = &c->list;
    c2_free(c->oids);
    c->oids = c2_calloc(l->nitems, sizeof(*c->oids));
    c->noids = 0;
    c->next = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t k = 0; k < l->nitems; k++) {
            const struct ds_list_item *i = &l->items[k];
            bool first = l->kind == DS_KIND_CHECKPOINT && is_index(i);
            if (first == (pass == 0) && is_old(c, i))
                c->oids[c->noids++] = (struct ds_oid){ .sid = i->sid, .seq = i->seq };
        }
    }
}

static void delete_some(struct checkpoint *c);

static void
deleted(struct ds_delete *d)
{
    struct checkpoint *c = C2_CONTAINER_OF(d, struct checkpoint, delete);
    if (ended(c, C2_E_OK))
        return;
    if (d->err != C2_E_OK)
        c2_log(INFO, "checkpoint", "confirmed=%x some clouds still have old objects, later again",
               d->confirmed);
    c->next += d->noids;
    delete_some(c);
}

static void
delete_some(struct checkpoint *c)
{
    if (c->next == c->noids) {
        if (c->state == LIST_JOURNAL)
            list_start(c, DS_KIND_CHECKPOINT);
        else
            finish(c, C2_E_OK);
        return;
    }
    c->delete =
        (struct ds_delete){ .kind = c->list.kind,
                            .oids = c->oids + c->next,
                            .noids = C2_MIN(c->noids - c->next, (size_t)PROV_DELETE_MANY_MAX),
                            .done = deleted };
    ds_delete_start(c->s->fs->part.ds, &c->delete);
}

static void
listed(struct ds_list *l)
{
    struct checkpoint *c = C2_CONTAINER_OF(l, struct checkpoint, list);
    if (l->err == C2_E_OK)
        collect_old(c);
    enum c2_err err = l->err;
    c2_free(l->items);
    l->items = NULL;
    if (ended(c, C2_E_OK))
        return;
    if (err != C2_E_OK) {
        finish(c, C2_E_OK); /* the checkpoint is there; deleting can wait for the next one */
        return;
    }
    delete_some(c);
}

static void
list_start(struct checkpoint *c, enum ds_kind kind)
{
    c->state = kind == DS_KIND_JOURNAL ? LIST_JOURNAL : LIST_CHECKPOINTS;
    c->list = (struct ds_list){ .kind = kind,
                                .all_sids = true,
                                .after_seq = UINT64_MAX,
                                .max = SHIP_LIST_MAX,
                                .done = listed };
    ds_list_start(c->s->fs->part.ds, &c->list);
}

/* ---- index ---------------------------------------------------------------------------------- */

static void
remember(struct checkpoint *c)
{
    struct ship_record *r = &c->s->rec;
    r->checkpoints[1] = r->checkpoints[0];
    r->checkpoints[0] = c->made;
    r->ncheckpoints = C2_MIN(r->ncheckpoints + 1, (size_t)SHIP_CHECKPOINTS_MAX);
    r->cost -= C2_MIN(c->cost_before, r->cost);
    r->log_bytes -= C2_MIN(c->log_before, r->log_bytes);
    ship_record_changed(c->s);
    c2_log(INFO, "checkpoint", "generation=%llx number=%llu version=%llu bytes=%llu parts=%zu",
           (unsigned long long)c->made.generation, (unsigned long long)c->made.number,
           (unsigned long long)c->made.version, (unsigned long long)c->made.bytes, c->dump.nparts);
}

static void
count_put(struct checkpoint *c)
{
    c->s->objects++;
    c->s->object_bytes += c->slice.len;
    c->s->stored_bytes += c->put.stored_bytes;
    fs_repair_log_found(c->s->fs, c->put.placed);
}

static void
index_put(struct ds_put *p)
{
    struct checkpoint *c = C2_CONTAINER_OF(p, struct checkpoint, put);
    if (p->err == C2_E_OK) {
        remember(c);
        count_put(c);
    }
    if (ended(c, p->err))
        return;
    if (oldest_kept(c) != NULL)
        list_start(c, DS_KIND_JOURNAL);
    else
        finish(c, C2_E_OK);
}

static void
put_start(struct checkpoint *c, uint64_t low, void (*done)(struct ds_put *p))
{
    struct fs *fs = c->s->fs;
    c->put =
        (struct ds_put){ .kind = DS_KIND_CHECKPOINT,
                         .oid = { .sid = c->made.generation, .seq = c->made.number << 16 | low },
                         .data = &c->slice,
                         .ndata = 1,
                         .persist = true,
                         .done = done };
    c2_random(fs->part.env, c->put.oid.rnd, sizeof(c->put.oid.rnd));
    ds_put_start(fs->part.ds, &c->put);
}

static C2_RESULT
build_index(struct checkpoint *c)
{
    const struct fs_parts *part = &c->s->fs->part;
    const struct coord_entry *e = c->get.entries;
    struct c2_buf config = { 0 };
    struct ship_index x = {
        .checkpoint = c->made, .id = e[0].value, .parts = c->refs, .nparts = c->dump.nparts
    };
    memcpy(x.uuid, part->uuid, sizeof(x.uuid));
    enum c2_err err = C2_E_OK;
    if (e[1].value.len > 0)
        err = keys_open(part->keys, c->key_slices[1], e[1].value, &config);
    x.config = c2_buf_slice(&config);
    x.has_key = part->keyless;
    if (x.has_key)
        keys_volume_key(part->keys, x.volume_key);
    if (err == C2_E_OK)
        ship_index_encode(&x, part->device_secret, &c->index);
    c2_wipe(x.volume_key, sizeof(x.volume_key));
    c2_buf_done(&config);
    return err;
}

static void
config_read(struct coord_req *r)
{
    struct checkpoint *c = C2_CONTAINER_OF(r, struct checkpoint, get);
    enum c2_err err = r->err;
    if (err == C2_E_OK)
        err = build_index(c);
    coord_req_done(r);
    if (ended(c, err))
        return;
    c->state = INDEX;
    c->slice = c2_buf_slice(&c->index);
    put_start(c, SHIP_INDEX_SEQ, index_put);
}

static void
shipped(struct fs_ship_wait *w)
{
    struct checkpoint *c = C2_CONTAINER_OF(w, struct checkpoint, wait);
    if (ended(c, w->err))
        return;
    c->state = CONFIG;
    c->keys[0] = ck_letter('V');
    c->keys[1] = ck_letter('C');
    c->key_slices[0] = ck_slice(&c->keys[0]);
    c->key_slices[1] = ck_slice(&c->keys[1]);
    c->get = (struct coord_req){ .verb = COORD_GET,
                                 .keys = c->key_slices,
                                 .nkeys = 2,
                                 .deadline_ns = C2_NEVER,
                                 .done = config_read };
    coord_submit(c->s->fs->part.coord, &c->get);
}

/* ---- parts ---------------------------------------------------------------------------------- */

static void
part_put(struct ds_put *p)
{
    struct checkpoint *c = C2_CONTAINER_OF(p, struct checkpoint, put);
    c2_blob_unref(c->blob);
    c->blob = NULL;
    if (ended(c, p->err))
        return;
    count_put(c);
    c->refs[c->next++] = p->ref;
    put_part(c);
}

static void
part_read(struct c2_disk_req *r)
{
    struct checkpoint *c = C2_CONTAINER_OF(r, struct checkpoint, disk);
    c->blob = r->reply;
    enum c2_err err = r->err;
    if (err == C2_E_OK && r->reply->len != c->dump.lens[c->next])
        err = C2_E_IO;
    if (ended(c, err))
        return;
    c->offset += r->reply->len;
    c->slice = c2_blob_slice(c->blob);
    c->state = PART;
    put_start(c, c->next, part_put);
}

static void
put_part(struct checkpoint *c)
{
    struct fs_ship *s = c->s;
    if (c->next == c->dump.nparts) {
        c->state = SHIP;
        s->seen = C2_MAX(s->seen, c->made.version);
        c->wait = (struct fs_ship_wait){ .done = shipped, .any_base = true };
        if (fs_ship_wait(s->fs, &c->wait))
            shipped(&c->wait);
        return;
    }
    if (c->dump.file < 0) {
        c->slice = c2_buf_slice(&c->dump.part);
        c->state = PART;
        put_start(c, c->next, part_put);
        return;
    }
    c->state = READ;
    c->disk = (struct c2_disk_req){ .verb = C2_DISK_READ,
                                    .path = c->path,
                                    .offset = c->offset,
                                    .len_max = c->dump.lens[c->next],
                                    .done = part_read };
    c2_disk(s->fs->part.env, &c->disk);
}

/* ---- dump, on the pool ---------------------------------------------------------------------- */

static C2_RESULT
end_part(struct dump *d, bool to_file)
{
    if (d->nparts == SHIP_PARTS_MAX)
        return C2_E_TOO_LARGE;
    d->lens = c2_realloc(d->lens, d->nparts + 1, sizeof(*d->lens));
    d->lens[d->nparts++] = (uint32_t)d->part.len;
    if (!to_file)
        return C2_E_OK;
    if (d->file < 0)
        C2_TRY(c2_os_open_append(d->path, &d->file));
    C2_TRY(c2_os_write_all(d->file, d->part.data, d->part.len));
    c2_buf_clear(&d->part);
    return C2_E_OK;
}

static enum c2_err
take_chunk(void *arg, struct c2_slice chunk)
{
    struct dump *d = arg;
    if (d->part.len + 4 + chunk.len > SHIP_PART_MAX)
        C2_TRY(end_part(d, true));
    c2_wr_bytes(&d->part, chunk);
    d->bytes += 4 + chunk.len;
    return C2_E_OK;
}

static void
dump_run(struct c2_work *w)
{
    struct dump *d = C2_CONTAINER_OF(w, struct dump, work);
    d->err = coord_local_dump(d->coord, take_chunk, d, &d->version);
    if (d->err == C2_E_OK)
        d->err = end_part(d, d->file >= 0);
    if (d->file >= 0)
        c2_os_close(d->file);
}

static void
dump_done(struct c2_work *w)
{
    struct checkpoint *c = C2_CONTAINER_OF(w, struct checkpoint, dump.work);
    struct dump *d = &c->dump;
    if (ended(c, d->err))
        return;
    c->made.version = d->version;
    c->made.bytes = d->bytes;
    c->refs = c2_calloc(d->nparts, sizeof(*c->refs));
    c->next = 0;
    c->offset = 0;
    put_part(c);
}

static void
cleaned(struct c2_disk_req *r)
{
    struct checkpoint *c = C2_CONTAINER_OF(r, struct checkpoint, disk);
    struct fs_ship *s = c->s;
    if (ended(c, r->err == C2_E_NOT_FOUND ? C2_E_OK : r->err))
        return;
    c->state = DUMP;
    c->wanted = false;
    c->made = (struct ship_checkpoint){ .generation = s->generation,
                                        .number = c->number++,
                                        .wall_ns = c2_wall_ns(s->fs->part.env),
                                        .journal = s->rec.at };
    c->cost_before = s->rec.cost;
    c->log_before = s->rec.log_bytes;
    c->dump = (struct dump){ .coord = s->fs->part.store, .path = c->path, .file = -1 };
    c->dump.work.run = dump_run;
    c->dump.work.done = dump_done;
    c2_work(s->fs->part.env, &c->dump.work);
}

/* ---- when ----------------------------------------------------------------------------------- */

/* When the next one is due as things are; C2_NEVER = not because of time. */
static uint64_t
due_ns(const struct checkpoint *c)
{
    const struct fs_ship *s = c->s;
    const struct ship_record *r = &s->rec;
    const struct fs_config *conf = &s->fs->conf;
    if (s->generation == 0 || r->at.generation != s->generation)
        return C2_NEVER; /* the generation is not known or not begun: it may not be ours */
    if (r->ncheckpoints == 0 || c->wanted)
        return c->counts_ns + c->pause_ns;
    if (r->cost < C2_MAX((uint64_t)COST_MIN, r->checkpoints[0].bytes / 2))
        return C2_NEVER;
    if (r->log_bytes >= conf->checkpoint_bytes)
        return c->counts_ns + c->pause_ns;
    return c->counts_ns + C2_MAX(c->pause_ns, conf->checkpoint_interval_ns);
}

void
checkpoint_consider(struct checkpoint *c)
{
    struct fs_ship *s = c->s;
    struct c2_env *env = s->fs->part.env;
    if (c->state != IDLE || c->stopping || s->stopped || s->fs->fenced || s->failed != C2_E_OK)
        return;
    uint64_t due = due_ns(c);
    if (due > c2_now_ns(env)) {
        if (due != C2_NEVER)
            c2_timer_arm(env, &c->timer, due);
        return;
    }
    c->state = CLEAN;
    c->disk = (struct c2_disk_req){ .verb = C2_DISK_UNLINK, .path = c->path, .done = cleaned };
    c2_disk(env, &c->disk);
}

void
checkpoint_want(struct checkpoint *c)
{
    c->wanted = c->wanted || c->state == IDLE;
    checkpoint_consider(c);
}

static void
timer_due(struct c2_timer *t)
{
    checkpoint_consider(C2_CONTAINER_OF(t, struct checkpoint, timer));
}

/* ---- life ----------------------------------------------------------------------------------- */

struct checkpoint *
checkpoint_new(struct fs_ship *s)
{
    struct checkpoint *c = c2_calloc(1, sizeof(*c));
    c->s = s;
    c->dump.file = -1;
    c->timer.fire = timer_due;
    c->counts_ns = c2_now_ns(s->fs->part.env);
    c->path = c2_asprintf("%s/" SPOOL_NAME, s->fs->part.state_dir);
    return c;
}

bool
checkpoint_idle(const struct checkpoint *c)
{
    return c->state == IDLE;
}

void
checkpoint_stop(struct checkpoint *c)
{
    struct fs *fs = c->s->fs;
    c->stopping = true;
    c2_timer_stop(fs->part.env, &c->timer);
    if (c->state == PART || c->state == INDEX)
        ds_put_cancel(fs->part.ds, &c->put);
}

void
checkpoint_free(struct checkpoint *c)
{
    if (c == NULL)
        return;
    C2_ASSERT(c->state == IDLE);
    c2_free(c->path);
    c2_free(c);
}
