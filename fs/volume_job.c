/* SPDX-License-Identifier: MIT */
/*
 * replace:  COUNT ─► ENTER ─► SAVE ─► WALK ─► SYNC ─► WALK ─► LEAVE ─► SAVE ─► done
 * drain:    COUNT ─► ENTER ─────────► WALK ─► SYNC ─► WALK ─► [LEAVE ─► SAVE] ─► done
 *
 * COUNT  how much there is, for progress and estimate.
 * ENTER  replace: the new provider is opened and probed, then it has the seat (REBUILDING), and the
 *        next epoch begins: from now on nobody writes to the old one. drain: the seat is DRAINING.
 * SAVE   metadata = local: a checkpoint at the seats as they are now. It stands for all that the
 *        journal and older checkpoints had in the old place, and it has the new configuration.
 * WALK   fs/seat_walk.h, again and again until one finds nothing to do. What fails is tried again
 *        in the next walk; after GIVE_UP_AFTER of them nobody waits for objects of which too few
 *        shares are left: they are counted, their records stay, a scrub reports them.
 * SYNC   puts that began under the old epoch may be committed after a walk has passed their place:
 *        once everything written so far is committed, files that are being written included, one
 *        more walk finds them. Only a walk that began after it and found nothing counts.
 * LEAVE  the seat is ACTIVE, or empty.
 *
 * Every phase may be repeated: what was done is found done. The cursor says where to go on.
 */
#include "fs/volume_job.h"

#include <stdio.h>
#include <string.h>

#include "backends/registry.h"
#include "base/alloc.h"
#include "base/conf.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/wire.h"
#include "fs/seat_rules.h"
#include "fs/seat_walk.h"

#define GIVE_UP_AFTER 3u
#define STEP_BYTES    (32u << 20) /* of shares; with a limit what it allows in a second */
#define POLL_NS       (200 * C2_NS_PER_MS)
#define PROBE_NS      (60 * C2_NS_PER_S)
#define PROBE_PREFIX  "v1"

enum phase { COUNT, ENTER, SAVE_FIRST, WALK, SYNC, LEAVE, SAVE_LAST, PHASES };
enum { SHARES_COPIED, BYTES_WRITTEN, BYTES_READ, LOST, WALKS };

static const char *const counter_names[] = { "shares_moved", "bytes_written", "bytes_read",
                                             "shares_lost",  "walks",         NULL };

struct run {
    struct seat_jobs *x;
    struct job *j;
    bool drain;
    bool remove;
    bool stopping;
    char *old, *name; /* owned; drain: only name */
    unsigned seat;

    /* the cursor */
    uint8_t phase;
    bool synced;      /* the walk at hand began after SYNC */
    uint64_t undone;  /* shares that the walk at hand moved or failed to move */
    uint64_t failed;  /* of them, failed */
    uint64_t wall_ns; /* SAVE: a checkpoint after this moment */
    struct ck after;

    struct seat_walk walk;
    struct volume_change change;
    struct prov_probe probe;
    struct provider *opened; /* owned until the change takes it */
    struct provider *source; /* the volume's */
    struct fs_sync sync;
    bool syncing, probing, walking;
    struct c2_timer timer;
    struct c2_task task; /* the end of a step that was decided at once */
    enum c2_err err;
    bool finished;
};

static struct volume *
volume(const struct run *r)
{
    return r->x->volume;
}

static void
say(struct run *r, const char *text)
{
    (void)snprintf(r->j->rec.message, sizeof(r->j->rec.message), "%s", text);
}

static void
say_end(struct run *r)
{
    char *text;
    if (!r->drain)
        text =
            c2_asprintf("%s is in the place of %s, which is not asked any more", r->name, r->old);
    else if (r->remove)
        text = c2_asprintf("%s does not belong to the volume any more", r->name);
    else
        text = c2_asprintf("%s holds nothing any more; provider remove gives its seat up", r->name);
    say(r, text);
    c2_free(text);
}

/* ---- the cursor ------------------------------------------------------------------------------ */

static void
save_cursor(struct run *r)
{
    struct job_record *rec = &r->j->rec;
    struct c2_buf out = { 0 };
    c2_wr_u8(&out, r->phase);
    c2_wr_u8(&out, r->synced ? 1 : 0);
    c2_wr_u64(&out, r->undone);
    c2_wr_u64(&out, r->failed);
    c2_wr_u64(&out, r->wall_ns);
    c2_wr_bytes(&out, ck_slice(&r->after));
    C2_ASSERT(out.len <= sizeof(rec->cursor));
    memcpy(rec->cursor, out.data, out.len);
    rec->cursor_len = out.len;
    c2_buf_done(&out);
}

/* One that cannot be understood: from the start, every phase may be repeated. */
static void
load_cursor(struct run *r)
{
    struct c2_rd in = c2_rd_init(c2_slice(r->j->rec.cursor, r->j->rec.cursor_len));
    struct run at = { 0 };
    at.phase = c2_rd_u8(&in);
    at.synced = c2_rd_u8(&in) == 1;
    at.undone = c2_rd_u64(&in);
    at.failed = c2_rd_u64(&in);
    at.wall_ns = c2_rd_u64(&in);
    struct c2_slice after = c2_rd_bytes(&in, CK_KEY_MAX);
    if (c2_rd_finish(&in) != C2_E_OK || at.phase >= PHASES)
        return;
    r->phase = at.phase;
    r->synced = at.synced;
    r->undone = at.undone;
    r->failed = at.failed;
    r->wall_ns = at.wall_ns;
    r->after.len = after.len;
    if (after.len > 0)
        memcpy(r->after.bytes, after.data, after.len);
}

static void
step_over(struct run *r, enum c2_err err, bool finished)
{
    save_cursor(r);
    job_step_done(r->j, r->stopping && err != C2_E_OK ? C2_E_CANCELED : err, finished);
}

static void
later(struct c2_task *t)
{
    struct run *r = C2_CONTAINER_OF(t, struct run, task);
    step_over(r, r->err, r->finished);
}

/* Never from inside the step. */
static void
step_later(struct run *r, enum c2_err err, bool finished)
{
    r->err = err;
    r->finished = finished;
    r->task.run = later;
    c2_defer(volume(r)->env, &r->task);
}

/* From a phase to the next. */
static void
go(struct run *r, enum phase phase)
{
    r->phase = (uint8_t)phase;
    r->after.len = 0;
    r->undone = r->failed = 0;
    r->wall_ns = 0;
}

static void
failed_for_good(struct run *r, enum c2_err err, char *text)
{
    if (c2_err_class(err) == C2_CLASS_RETRY) /* it would be tried again for ever, unseen */
        err = C2_E_CONFIG;
    if (text != NULL)
        say(r, text);
    c2_free(text);
    step_later(r, err, false);
}

/* ---- epochs ---------------------------------------------------------------------------------- */

static void
entered(struct volume_change *c)
{
    struct run *r = C2_CONTAINER_OF(c, struct run, change);
    if (c->err == C2_E_OK)
        r->opened = NULL;
    if (c->err == C2_E_OK)
        go(r, r->drain ? WALK : SAVE_FIRST);
    step_over(r, c->err, false);
}

static void
enter_epoch(struct run *r)
{
    struct volume *v = volume(r);
    struct volume_seat *s = &r->change.next.seats[r->seat];
    r->change = (struct volume_change){ .volume = v, .next = v->config, .done = entered };
    r->change.seat = r->seat;
    if (r->drain) {
        s->state = VOLUME_SEAT_DRAINING;
    } else {
        if (s->state != VOLUME_SEAT_REBUILDING) { /* else the one before it has the data */
            memcpy(s->old_provider, s->provider, sizeof(s->old_provider));
            memcpy(s->old_url, s->url, sizeof(s->old_url));
        }
        s->state = VOLUME_SEAT_REBUILDING;
        (void)snprintf(s->provider, sizeof(s->provider), "%s", r->name);
        (void)snprintf(s->url, sizeof(s->url), "%s",
                       c2_conf_str(v->conf, "provider", r->name, "url"));
        r->change.provider = r->opened;
    }
    volume_change_start(&r->change);
}

static void
probed(struct prov_probe *p)
{
    struct run *r = C2_CONTAINER_OF(p, struct run, probe);
    const char *detail = "";
    r->probing = false;
    if (p->err == C2_E_OK && !r->stopping) {
        enter_epoch(r);
        return;
    }
    for (unsigned k = PROV_CHECK_COUNT; k-- > 0;)
        if (p->checks[k].required && p->checks[k].ran && p->checks[k].err != C2_E_OK)
            detail = p->checks[k].detail;
    prov_close(r->opened);
    r->opened = NULL;
    if (r->stopping)
        step_over(r, C2_E_CANCELED, false);
    else
        failed_for_good(r, p->err,
                        c2_asprintf("provider \"%s\" is not usable: %s", r->name, detail));
}

static void
enter(struct run *r)
{
    struct volume *v = volume(r);
    const struct volume_seat *s = &v->config.seats[r->seat];
    char *text = NULL;
    if (r->drain ? s->state == VOLUME_SEAT_DRAINING
                 : s->state == VOLUME_SEAT_REBUILDING && strcmp(s->provider, r->name) == 0) {
        C2_MARK("seat: the epoch had begun before");
        go(r, r->drain ? WALK : SAVE_FIRST);
        step_later(r, C2_E_OK, false);
        return;
    }
    if (r->drain) {
        enter_epoch(r);
        return;
    }
    say(r, "the new provider is tested");
    enum c2_err err = prov_open(v->env, v->os, v->conf, r->name, &r->opened, &text);
    if (err != C2_E_OK) {
        failed_for_good(r, err, text);
        return;
    }
    r->probing = true;
    r->probe = (struct prov_probe){ .provider = r->opened,
                                    .key_prefix = PROBE_PREFIX,
                                    .deadline_ns = c2_now_ns(v->env) + PROBE_NS,
                                    .done = probed };
    prov_probe_start(&r->probe);
}

static void
left(struct volume_change *c)
{
    struct run *r = C2_CONTAINER_OF(c, struct run, change);
    if (c->err == C2_E_OK) {
        r->source = NULL; /* closed with the job, and not asked from now on */
        go(r, SAVE_LAST);
    }
    step_over(r, c->err, false);
}

static void
leave(struct run *r)
{
    struct volume *v = volume(r);
    r->change = (struct volume_change){ .volume = v, .next = v->config, .done = left };
    struct volume_seat *s = &r->change.next.seats[r->seat];
    if (r->drain)
        *s = (struct volume_seat){ .state = VOLUME_SEAT_EMPTY };
    else
        s->state = VOLUME_SEAT_ACTIVE;
    memset(s->old_provider, 0, sizeof(s->old_provider));
    memset(s->old_url, 0, sizeof(s->old_url));
    volume_change_start(&r->change);
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

static void
save(struct run *r, bool last)
{
    struct fs_ship_status s;
    struct c2_env *env = volume(r)->env;
    fs_ship_status(r->x->fs, &s);
    if (!s.on || (r->wall_ns != 0 && s.checkpoint_wall_ns > r->wall_ns)) {
        if (last)
            say_end(r);
        else
            go(r, WALK);
        step_later(r, C2_E_OK, last);
        return;
    }
    if (r->wall_ns == 0) {
        say(r, "a checkpoint of the metadata is made");
        r->wall_ns = c2_wall_ns(env);
    }
    fs_ship_checkpoint(r->x->fs);
    c2_timer_arm(env, &r->timer, c2_now_ns(env) + POLL_NS);
}

static void
polled(struct c2_timer *t)
{
    step_over(C2_CONTAINER_OF(t, struct run, timer), C2_E_OK, false);
}

/* ---- walks ----------------------------------------------------------------------------------- */

static void
counted(struct seat_walk *w)
{
    struct run *r = C2_CONTAINER_OF(w, struct run, walk);
    struct job_record *rec = &r->j->rec;
    r->walking = false;
    if (w->err == C2_E_OK) {
        rec->objects_total += w->objects;
        rec->bytes_total += w->bytes;
        r->after = w->after;
        if (w->at_end)
            go(r, ENTER);
    }
    step_over(r, w->err, false);
}

/* The provider that had the seat before, if it still answers to its name and place. */
static struct provider *
find_source(struct run *r)
{
    struct volume *v = volume(r);
    const struct volume_seat *s = &v->config.seats[r->seat];
    struct provider *p = volume_retired_find(v, s->old_provider);
    char *text = NULL;
    if (p != NULL || !c2_conf_has_section(v->conf, "provider", s->old_provider) ||
        strcmp(c2_conf_str(v->conf, "provider", s->old_provider, "url"), s->old_url) != 0)
        return p;
    if (prov_open(v->env, v->os, v->conf, s->old_provider, &p, &text) == C2_E_OK)
        volume_retire(v, p);
    else
        c2_log(WARN, "seat", "provider=%s is not asked: %s", s->old_provider,
               text == NULL ? "it cannot be opened" : text);
    c2_free(text);
    return p;
}

static void
walk_over(struct run *r)
{
    uint64_t undone = r->undone, failed = r->failed;
    bool synced = r->synced;
    r->j->rec.counter[WALKS]++;
    if (failed > 0) {
        go(r, WALK);
        r->synced = false;
        step_over(r,
                  r->walk.why != C2_E_OK && c2_err_class(r->walk.why) == C2_CLASS_RETRY
                      ? r->walk.why
                      : C2_E_QUORUM,
                  false);
        return;
    }
    if (synced && undone == 0) {
        bool over = r->drain && !r->remove;
        if (over)
            say_end(r);
        else
            go(r, LEAVE);
        step_over(r, C2_E_OK, over);
        return;
    }
    go(r, synced ? WALK : SYNC);
    step_over(r, C2_E_OK, false);
}

static void
walked(struct seat_walk *w)
{
    struct run *r = C2_CONTAINER_OF(w, struct run, walk);
    struct job_record *rec = &r->j->rec;
    r->walking = false;
    rec->counter[SHARES_COPIED] += w->moved;
    rec->counter[BYTES_WRITTEN] += w->moved_bytes;
    rec->counter[BYTES_READ] += w->read_bytes;
    job_spend(r->j, w->moved_bytes);
    if (w->err != C2_E_OK) {
        step_over(r, w->err, false);
        return;
    }
    if (rec->counter[WALKS] == 0) {
        rec->objects_done += w->objects;
        rec->bytes_done += w->bytes;
    }
    if (r->after.len == 0)
        rec->counter[LOST] = 0;                                   /* each walk counts anew */
    rec->bytes_total = C2_MAX(rec->bytes_total, rec->bytes_done); /* what came meanwhile */
    rec->objects_total = C2_MAX(rec->objects_total, rec->objects_done);
    rec->counter[LOST] += w->lost;
    rec->errors = rec->counter[LOST] + w->failed;
    r->undone += w->moved + w->failed; /* what is lost does not keep anybody waiting */
    r->failed += w->failed;
    r->after = w->after;
    if (w->at_end)
        walk_over(r);
    else
        step_over(r, C2_E_OK, false);
}

static void
walk(struct run *r, enum seat_walk_what what)
{
    struct volume *v = volume(r);
    uint64_t limit = what == SEAT_WALK_COUNT ? 0 : STEP_BYTES;
    if (limit != 0 && r->j->rec.rate_limit != 0)
        limit = C2_MIN(limit, r->j->rec.rate_limit);
    if (what == SEAT_WALK_FILL && r->source == NULL)
        r->source = find_source(r);
    if (what != SEAT_WALK_COUNT)
        say(r, r->synced                ? "what was written meanwhile is looked at"
               : what == SEAT_WALK_FILL ? "shares are brought to the new provider"
                                        : "shares are moved to the other providers");
    r->walk = (struct seat_walk){ .fs = r->x->fs,
                                  .what = what,
                                  .seat = r->seat,
                                  .target = v->providers[r->seat],
                                  .source = what == SEAT_WALK_FILL ? r->source : NULL,
                                  .bytes_max = limit,
                                  .give_up = r->j->rec.counter[WALKS] >= GIVE_UP_AFTER,
                                  .after = r->after,
                                  .done = what == SEAT_WALK_COUNT ? counted : walked };
    r->walking = true;
    seat_walk_start(&r->walk);
}

static void
synced(struct fs_sync *s)
{
    struct run *r = C2_CONTAINER_OF(s, struct run, sync);
    r->syncing = false;
    if (s->err == C2_E_OK) {
        go(r, WALK);
        r->synced = true;
    }
    step_over(r, s->err, false);
}

static void
sync(struct run *r)
{
    say(r, "what was written before the change is committed");
    r->syncing = true;
    r->sync = (struct fs_sync){ .done = synced };
    fs_sync_start(r->x->fs, &r->sync);
}

/* ---- the kind -------------------------------------------------------------------------------- */

static void
step(struct job *j)
{
    struct run *r = j->run;
    r->stopping = false;
    if (r->seat >= volume(r)->config.n) /* it is given up, only the cursor does not know yet */
        r->phase = SAVE_LAST;
    switch ((enum phase)r->phase) {
    case COUNT:
        walk(r, SEAT_WALK_COUNT);
        break;
    case ENTER:
        enter(r);
        break;
    case SAVE_FIRST:
        save(r, false);
        break;
    case WALK:
        walk(r, r->drain ? SEAT_WALK_LEAVE : SEAT_WALK_FILL);
        break;
    case SYNC:
        sync(r);
        break;
    case LEAVE:
        leave(r);
        break;
    case SAVE_LAST:
        save(r, true);
        break;
    case PHASES:
        C2_UNREACHABLE();
    }
}

static void
stop(struct job *j)
{
    struct run *r = j->run;
    r->stopping = true;
    if (r->walking)
        seat_walk_cancel(&r->walk);
    if (r->probing)
        prov_probe_cancel(&r->probe);
    if (r->syncing)
        fs_sync_cancel(r->x->fs, &r->sync);
}

/* The seat of a job that is under way; n when it is not there any more. */
static unsigned
seat_of(const struct run *r)
{
    const struct volume_config *c = &volume(r)->config;
    for (unsigned i = 0; !r->drain && i < c->n; i++)
        if (c->seats[i].state == VOLUME_SEAT_REBUILDING &&
            strcmp(c->seats[i].old_provider, r->old) == 0)
            return i;
    unsigned seat = volume_config_seat(c, r->drain ? r->name : r->old);
    return seat < c->n || r->drain ? seat : volume_config_seat(c, r->name);
}

static void
begin(struct job *j)
{
    struct run *r = c2_calloc(1, sizeof(*r));
    char *remove = job_param(j, "remove");
    r->x = j->kind->arg;
    r->j = j;
    r->drain = j->kind == &r->x->drain;
    r->remove = remove != NULL;
    r->old = job_param(j, "old");
    r->name = job_param(j, r->drain ? "name" : "new");
    r->timer.fire = polled;
    c2_free(remove);
    load_cursor(r);
    r->seat = seat_of(r);
    volume_retired_hold(r->x->volume); /* whoever plans or changes something else meanwhile */
    j->run = r;
}

static void
end(struct job *j)
{
    struct run *r = j->run;
    C2_ASSERT(!r->walking && !r->probing && !r->syncing);
    prov_close(r->opened);
    volume_retired_release(volume(r));
    c2_free(r->old);
    c2_free(r->name);
    c2_free(r);
}

static enum c2_err
check(struct job *j, char **ret_error)
{
    struct seat_jobs *x = j->kind->arg;
    bool drain = j->kind == &x->drain;
    char *old = job_param(j, "old"), *new = job_param(j, "new"), *name = job_param(j, "name");
    char *remove = job_param(j, "remove");
    unsigned seat;
    enum c2_err err = C2_E_INVALID;
    if (drain ? name != NULL : old != NULL && new != NULL)
        err = x->reload == NULL ? C2_E_OK : x->reload(x->arg, ret_error);
    if (err == C2_E_OK && drain)
        err = seat_may_leave(x->volume, name, remove != NULL, &seat, ret_error);
    else if (err == C2_E_OK)
        err = seat_may_replace(x->volume, old, new, &seat, ret_error);
    c2_free(old);
    c2_free(new);
    c2_free(name);
    c2_free(remove);
    return err;
}

void
seat_jobs_init(struct seat_jobs *x)
{
    x->replace = (struct job_kind){ .name = "replace",
                                    .arg = x,
                                    .counters = counter_names,
                                    .check = check,
                                    .begin = begin,
                                    .step = step,
                                    .stop = stop,
                                    .end = end };
    x->drain = x->replace;
    x->drain.name = "drain";
}
