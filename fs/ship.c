/* SPDX-License-Identifier: MIT */
/*
 * Shipping the transaction log.
 *
 *   a key changes (watch) --> READ the log --> [collect] --> PUT one journal object --> position
 *
 * An object goes when it is full, when its oldest transaction is log_interval old, or when somebody
 * waits. One is in flight at a time, so that the chain in the clouds never has a hole. Entries that
 * change no key (sessions being kept alive) do not make an object go, they travel with others.
 *
 * The position (what the clouds have acknowledged) is in memory and, later, in key H: the next
 * transaction group carries it, or the end of the mount. So a position costs no log entry of its
 * own, and none can make itself necessary again. The log is trimmed up to the position that H has,
 * never further: after a crash the mount begins a new generation at H and ships again what the log
 * still has. Its first object names the point where it goes on; what the old generation has beyond
 * it is the same bytes and is not read any more (ship_check.c makes sure of that).
 *
 * EXISTS: another machine has put its seal, or its own object, into our next slot. It has read
 * everything we got acknowledged, and nothing else of ours will ever be: we are fenced.
 */
#include "fs/ship.h"

#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "fs/coord_keys.h"
#include "fs/ship_state.h"

#define HEAD_NAME       "ship.head"
#define OBJECT_COST_MIN (64u << 10) /* of a journal object, see checkpoint.c */

/* ---- waiting -------------------------------------------------------------------------------- */

/* A journal without a checkpoint may begin in the middle, and has no key of a keyless volume. */
static bool
satisfied(const struct fs_ship *s, const struct fs_ship_wait *w)
{
    return w->version <= s->rec.at.version && (s->rec.ncheckpoints > 0 || w->any_base);
}

/* err OK: those that are satisfied, else all. */
void
ship_end_waiters(struct fs_ship *s, enum c2_err err)
{
    C2_LIST_FOREACH (&s->waiters, struct fs_ship_wait, w, link) {
        if (err == C2_E_OK && !satisfied(s, w))
            continue;
        c2_list_remove(&s->waiters, &w->link);
        w->err = err;
        w->done(w);
        ship_end_waiters(s, err); /* the list may be another one now */
        return;
    }
}

static bool
somebody_waits(const struct fs_ship *s)
{
    C2_LIST_FOREACH (&s->waiters, struct fs_ship_wait, w, link) {
        if (w->version > s->rec.at.version)
            return true;
    }
    return false;
}

bool
fs_ship_wait(struct fs *fs, struct fs_ship_wait *w)
{
    struct fs_ship *s = fs->ship;
    w->err = C2_E_OK;
    if (s == NULL)
        return true;
    if (fs->fenced || s->stopped || s->failed != C2_E_OK) {
        w->err = fs->fenced ? C2_E_FENCED : s->stopped ? C2_E_CANCELED : s->failed;
        return true;
    }
    w->version = s->unsure ? UINT64_MAX : s->seen;
    if (satisfied(s, w))
        return true;
    c2_list_append(&s->waiters, &w->link);
    c2_defer(fs->part.env, &s->kick);
    return false;
}

bool
fs_ship_has(const struct fs *fs, uint64_t version)
{
    return fs->ship == NULL || version <= fs->ship->rec.at.version;
}

void
fs_ship_wait_cancel(struct fs *fs, struct fs_ship_wait *w)
{
    if (!c2_link_linked(&w->link))
        return;
    c2_list_remove(&fs->ship->waiters, &w->link);
    w->err = C2_E_CANCELED;
    w->done(w);
}

/* ---- endings -------------------------------------------------------------------------------- */

void
ship_fence(struct fs_ship *s, const char *why, uint64_t generation, uint64_t seq)
{
    c2_log(ERROR, "ship", "journal=%llx.%llx %s; the volume is read-only here now",
           (unsigned long long)generation, (unsigned long long)seq, why);
    fs_fence(s->fs);
}

void
fs_ship_fenced(struct fs *fs)
{
    if (fs->ship != NULL)
        ship_end_waiters(fs->ship, C2_E_FENCED);
}

static void
fail(struct fs_ship *s, enum c2_err err)
{
    c2_log(ERROR, "ship",
           "err=%s the metadata log cannot be shipped to the clouds any more; the volume goes on "
           "with its local store",
           c2_err_name(err));
    s->failed = err;
    s->last_error = err;
    ship_end_waiters(s, err);
}

/* ---- the remembered position ---------------------------------------------------------------- */

void
ship_record_changed(struct fs_ship *s)
{
    s->rec_serial++;
}

bool
fs_ship_record(struct fs *fs, struct c2_buf *out)
{
    struct fs_ship *s = fs->ship;
    if (s == NULL || s->saved_serial == s->rec_serial)
        return false;
    s->saving_serial = s->rec_serial;
    s->saving_version = s->rec.at.version;
    ship_record_encode(&s->rec, out);
    return true;
}

static void trim(struct fs_ship *s);

static void
trimmed(struct coord_req *r)
{
    struct fs_ship *s = C2_CONTAINER_OF(r, struct fs_ship, trim);
    s->trimming = false;
    if (r->err == C2_E_OK)
        s->trimmed_version = r->version_in;
    else
        c2_log(WARN, "ship", "err=%s the log could not be trimmed, with the next one again",
               c2_err_name(r->err));
    coord_req_done(r);
    if (r->err == C2_E_OK)
        trim(s);
}

static void
trim(struct fs_ship *s)
{
    if (s->trimming || s->stopped || s->trim_version <= s->trimmed_version)
        return;
    s->trimming = true;
    s->trim = (struct coord_req){ .verb = COORD_LOG_TRIM,
                                  .version_in = s->trim_version,
                                  .deadline_ns = C2_NEVER,
                                  .done = trimmed };
    coord_submit(s->fs->part.coord, &s->trim);
}

void
fs_ship_record_saved(struct fs *fs)
{
    struct fs_ship *s = fs->ship;
    s->saved_serial = s->saving_serial;
    s->trim_version = s->saving_version;
    trim(s);
}

static void
saved_at_end(struct coord_req *r)
{
    struct fs_ship *s = C2_CONTAINER_OF(r, struct fs_ship, save);
    s->saving = false;
    if (r->err != C2_E_OK)
        c2_log(INFO, "ship", "err=%s the position is not saved, the next mount ships some again",
               c2_err_name(r->err));
    coord_req_done(r);
}

void
fs_ship_save(struct fs *fs)
{
    struct fs_ship *s = fs->ship;
    struct c2_buf plain = { 0 };
    if (s == NULL || s->stopped || fs->fenced || !fs_ship_record(fs, &plain))
        return;
    s->save_key = ck_letter('H');
    keys_seal(fs->part.keys, ck_slice(&s->save_key), c2_buf_slice(&plain), &s->save_value);
    c2_buf_done(&plain);
    s->save_op = (struct coord_op){ .kind = COORD_PUT,
                                    .key = ck_slice(&s->save_key),
                                    .value = c2_buf_slice(&s->save_value) };
    s->save_cond = (struct coord_cond){ .kind = COORD_VERSION_EQ,
                                        .key = fs->part.fence_key,
                                        .number = fs->part.fence_token };
    s->saving = true;
    s->save = (struct coord_req){ .verb = COORD_TXN,
                                  .conds = &s->save_cond,
                                  .nconds = 1,
                                  .ops = &s->save_op,
                                  .nops = 1,
                                  .deadline_ns = C2_NEVER,
                                  .done = saved_at_end };
    coord_submit(fs->part.coord, &s->save);
}

static void write_head(struct fs_ship *s);

static void
head_written(struct c2_disk_req *r)
{
    struct fs_ship *s = C2_CONTAINER_OF(r, struct fs_ship, head);
    s->head_writing = false;
    if (r->err != C2_E_OK)
        c2_log(WARN, "ship", "file=%s err=%s a rollback of the clouds would not be noticed",
               s->head_path, c2_err_name(r->err));
    if (s->head_stale)
        write_head(s);
}

/* Only for detecting that the clouds were rolled back: it may be lost, it need not be durable. */
static void
write_head(struct fs_ship *s)
{
    s->head_stale = s->head_writing;
    if (s->head_writing || s->stopped)
        return;
    s->head_writing = true;
    c2_buf_clear(&s->head_body);
    ship_head_encode(s->fs->part.uuid, &s->rec.at, &s->head_body);
    s->head_slice = c2_buf_slice(&s->head_body);
    s->head = (struct c2_disk_req){ .verb = C2_DISK_WRITE,
                                    .flags = C2_DISK_MAKE_DIRS,
                                    .path = s->head_path,
                                    .iov = &s->head_slice,
                                    .niov = 1,
                                    .done = head_written };
    c2_disk(s->fs->part.env, &s->head);
}

/* ---- putting -------------------------------------------------------------------------------- */

static void
acknowledged(struct fs_ship *s)
{
    struct ship_position *at = &s->rec.at;
    *at = (struct ship_position){ .generation = s->object.generation,
                                  .seq = s->object.seq + 1,
                                  .ref = s->put.ref,
                                  .version = s->object.version };
    memcpy(at->hash, s->object.hash, sizeof(at->hash));
    s->objects++;
    s->object_bytes += s->body.len;
    s->stored_bytes += s->put.stored_bytes;
    s->last_error = C2_E_OK;
    ship_record_changed(s);
    s->rec.cost += C2_MAX(s->flight_log, (uint64_t)OBJECT_COST_MIN);
    s->rec.log_bytes += s->flight_log;
    write_head(s);
    fs_repair_log_found(s->fs, s->put.placed);
}

static void
put_done(struct ds_put *p)
{
    struct fs_ship *s = C2_CONTAINER_OF(p, struct fs_ship, put);
    s->putting = false;
    if (p->err == C2_E_OK) {
        acknowledged(s);
        ship_end_waiters(s, C2_E_OK);
        ship_progress(s);
        checkpoint_consider(s->checkpoint);
    } else if (p->err == C2_E_EXISTS) {
        C2_MARK("ship: fenced by the next slot");
        ship_fence(s, "was written by another machine, which has taken the volume over",
                   s->object.generation, s->object.seq);
    } else if (p->err != C2_E_CANCELED) {
        fail(s, p->err);
    }
}

static void
put_start(struct fs_ship *s)
{
    struct fs *fs = s->fs;
    const struct ship_position *at = &s->rec.at;
    uint64_t version, time_ns;
    enum c2_err err = ship_log_check(c2_buf_slice(&s->log), at->version, &version, &time_ns);
    if (err != C2_E_OK) {
        fail(s, C2_E_DAMAGED);
        return;
    }
    s->object = (struct ship_object){ .kind = SHIP_LOG,
                                      .generation = s->generation,
                                      .seq = at->generation == s->generation ? at->seq : 0,
                                      .base = *at,
                                      .version = version,
                                      .time_ns = time_ns,
                                      .log = c2_buf_slice(&s->log) };
    memcpy(s->object.uuid, fs->part.uuid, sizeof(s->object.uuid));
    c2_buf_clear(&s->body);
    ship_object_encode(&s->object, fs->part.device_secret, &s->body);
    s->object.log = c2_slice(NULL, 0);
    s->flight_log = s->log.len;
    s->flight_oldest_ns = s->oldest_ns;
    c2_buf_done(&s->log);
    s->log = s->next;
    s->next = (struct c2_buf){ 0 };
    s->full = false;
    s->oldest_ns = s->log.len > 0 || s->seen > version ? c2_now_ns(fs->part.env) : 0;

    s->putting = true;
    s->body_slice = c2_buf_slice(&s->body);
    s->put = (struct ds_put){ .kind = DS_KIND_JOURNAL,
                              .oid = { .sid = s->generation, .seq = s->object.seq },
                              .data = &s->body_slice,
                              .ndata = 1,
                              .persist = true,
                              .done = put_done };
    c2_random(fs->part.env, s->put.oid.rnd, sizeof(s->put.oid.rnd));
    ds_put_start(fs->part.ds, &s->put);
}

/* ---- reading -------------------------------------------------------------------------------- */

/* After lost events: the state that the read saw has everything they would have told. */
static void
sure(struct fs_ship *s, uint64_t version)
{
    s->unsure = false;
    s->seen = C2_MAX(s->seen, version);
    C2_LIST_FOREACH (&s->waiters, struct fs_ship_wait, w, link) {
        if (w->version == UINT64_MAX)
            w->version = s->seen;
    }
}

static void
read_done(struct coord_req *r)
{
    struct fs_ship *s = C2_CONTAINER_OF(r, struct fs_ship, read);
    uint64_t version = 0, time_ns;
    s->reading = false;
    if (s->stopped) {
        coord_req_done(r);
        return;
    }
    enum c2_err err = r->err == C2_E_NOT_FOUND ? C2_E_DAMAGED : r->err;
    if (err == C2_E_OK)
        err = ship_log_check(c2_buf_slice(&r->reply), s->read_version, &version, &time_ns);
    if (err != C2_E_OK) {
        coord_req_done(r);
        fail(s, err);
        return;
    }
    bool fits = s->log.len + r->reply.len <= SHIP_LOG_MAX;
    struct c2_buf *to = fits ? &s->log : &s->next;
    if (r->reply.len > 0)
        c2_buf_append(to, r->reply.data, r->reply.len);
    s->full = r->more || !fits;
    s->seen = version == s->read_version ? version : C2_MAX(s->seen, version);
    s->read_version = version;
    if (s->unsure)
        sure(s, r->version);
    coord_req_done(r);
    ship_progress(s);
}

static void
read_start(struct fs_ship *s)
{
    size_t room = SHIP_LOG_MAX - s->log.len;
    s->reading = true;
    s->read = (struct coord_req){ .verb = COORD_LOG_READ,
                                  .version_in = s->read_version,
                                  .limit = C2_MIN(room, (size_t)COORD_REPLY_BYTES_MAX),
                                  .deadline_ns = C2_NEVER,
                                  .done = read_done };
    coord_submit(s->fs->part.coord, &s->read);
}

static bool
due(const struct fs_ship *s)
{
    uint64_t now = c2_now_ns(s->fs->part.env);
    return s->full || somebody_waits(s) ||
           (s->oldest_ns != 0 && now >= s->oldest_ns + s->fs->conf.log_interval_ns);
}

void
ship_progress(struct fs_ship *s)
{
    if (s->stopped || s->fs->fenced || s->failed != C2_E_OK || s->generation == 0)
        return;
    if (!s->reading && !s->full && s->seen > s->read_version)
        read_start(s);
    if (s->putting || s->reading || s->log.len == 0)
        return;
    if (!due(s)) {
        if (s->oldest_ns != 0)
            c2_timer_arm(s->fs->part.env, &s->timer, s->oldest_ns + s->fs->conf.log_interval_ns);
        return;
    }
    put_start(s);
    if (s->putting && !s->full && s->seen > s->read_version)
        read_start(s);
}

static void
timer_due(struct c2_timer *t)
{
    ship_progress(C2_CONTAINER_OF(t, struct fs_ship, timer));
}

static void
kicked(struct c2_task *t)
{
    ship_progress(C2_CONTAINER_OF(t, struct fs_ship, kick));
}

static void
changed(struct fs_ship *s, uint64_t version)
{
    if (version <= s->rec.at.version || (s->putting && version <= s->object.version))
        return; /* it was read before it was told */
    s->seen = C2_MAX(s->seen, version);
    if (s->oldest_ns == 0)
        s->oldest_ns = c2_now_ns(s->fs->part.env);
    c2_defer(s->fs->part.env, &s->kick);
}

static void
key_changed(struct coord_watch *w, struct c2_slice key, uint64_t version, bool deleted)
{
    (void)key;
    (void)deleted;
    changed(C2_CONTAINER_OF(w, struct fs_ship, watch), version);
}

/* Events were lost: at least one more transaction than we know of. */
static void
reload(struct coord_watch *w)
{
    struct fs_ship *s = C2_CONTAINER_OF(w, struct fs_ship, watch);
    s->unsure = true;
    changed(s, s->seen + 1);
}

/* ---- life ----------------------------------------------------------------------------------- */

static C2_RESULT
open_record(struct fs *fs, struct c2_slice sealed, struct ship_record *ret_record)
{
    struct ck key = ck_letter('H');
    struct c2_buf plain = { 0 };
    if (sealed.len == 0)
        return C2_E_OK;
    enum c2_err err = keys_open(fs->part.keys, ck_slice(&key), sealed, &plain);
    if (err == C2_E_OK)
        err = ship_record_decode(c2_buf_slice(&plain), ret_record);
    c2_buf_done(&plain);
    return err;
}

C2_RESULT
fs_ship_new(struct fs *fs, struct c2_slice record, uint64_t version, struct fs_ship **ret_ship)
{
    struct ship_record rec = { 0 };
    C2_TRY(open_record(fs, record, &rec));
    struct fs_ship *s = c2_calloc(1, sizeof(*s));
    s->fs = fs;
    s->rec = rec;
    s->read_version = rec.at.version;
    s->trimmed_version = rec.at.version;
    s->seen = version;
    s->kick.run = kicked;
    s->timer.fire = timer_due;
    s->watch.event = key_changed;
    s->watch.reload = reload;
    c2_list_init(&s->waiters);
    s->head_path = c2_asprintf("%s/" HEAD_NAME, fs->part.state_dir);
    s->checkpoint = checkpoint_new(s);
    *ret_ship = s;
    return C2_E_OK;
}

void
fs_ship_start(struct fs *fs)
{
    struct fs_ship *s = fs->ship;
    if (s == NULL)
        return;
    coord_watch(fs->part.coord, &s->watch);
    if (s->seen > s->rec.at.version)
        s->oldest_ns = c2_now_ns(fs->part.env);
    ship_check_start(s);
}

void
fs_ship_stop(struct fs *fs)
{
    struct fs_ship *s = fs->ship;
    if (s == NULL || s->stopped)
        return;
    s->stopped = true;
    coord_unwatch(fs->part.coord, &s->watch);
    c2_timer_stop(fs->part.env, &s->timer);
    ship_check_stop(s);
    checkpoint_stop(s->checkpoint);
    if (s->putting)
        ds_put_cancel(fs->part.ds, &s->put);
    ship_end_waiters(s, C2_E_CANCELED);
}

bool
fs_ship_idle(const struct fs *fs)
{
    const struct fs_ship *s = fs->ship;
    return s == NULL ||
           (!s->putting && !s->reading && !s->trimming && !s->saving && !s->head_writing &&
            !c2_link_linked(&s->kick.link) && s->check == NULL && checkpoint_idle(s->checkpoint));
}

void
fs_ship_free(struct fs_ship *s)
{
    if (s == NULL)
        return;
    checkpoint_free(s->checkpoint);
    c2_buf_done(&s->log);
    c2_buf_done(&s->next);
    c2_buf_done(&s->body);
    c2_buf_done(&s->head_body);
    c2_buf_done(&s->save_value);
    c2_free(s->head_path);
    c2_free(s);
}

void
fs_ship_status(const struct fs *fs, struct fs_ship_status *ret_status)
{
    const struct fs_ship *s = fs->ship;
    *ret_status = (struct fs_ship_status){ 0 };
    if (s == NULL)
        return;
    uint64_t oldest = s->putting ? s->flight_oldest_ns : s->oldest_ns;
    const struct ship_position *at = &s->rec.at;
    const struct ship_checkpoint *last = s->rec.ncheckpoints > 0 ? &s->rec.checkpoints[0] : NULL;
    *ret_status = (struct fs_ship_status){
        .on = true,
        .unshipped_txns = s->seen > at->version ? s->seen - at->version : 0,
        .unshipped_bytes = s->log.len + s->next.len + (s->putting ? s->flight_log : 0),
        .objects = s->objects,
        .object_bytes = s->object_bytes,
        .stored_bytes = s->stored_bytes,
        .generation = s->generation,
        .checkpoint_version = last != NULL ? last->version : 0,
        .checkpoint_wall_ns = last != NULL ? last->wall_ns : 0,
        .last_error = s->last_error
    };
    if (oldest != 0 && ret_status->unshipped_txns > 0)
        ret_status->unshipped_oldest_ns = c2_now_ns(fs->part.env) - oldest;
}

void
fs_ship_checkpoint(struct fs *fs)
{
    if (fs->ship != NULL)
        checkpoint_want(fs->ship->checkpoint);
}
