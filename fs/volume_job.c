/* SPDX-License-Identifier: MIT */
/*
 * replace:  COUNT ─► ENTER ─► SAVE ─► WALK ─► SYNC ─► WALK ─► LEAVE ─► SAVE ─► done
 * drain:    COUNT ─► ENTER ─────────► WALK ─► SYNC ─► WALK ─► [LEAVE ─► SAVE] ─► done
 *
 * COUNT  how much there is, for progress and estimate, and which objects are at risk.
 * ENTER  replace: the new provider is opened and probed, then it has the seat (REBUILDING), and the
 *        next epoch begins: from now on nobody writes to the old one. drain: the seat is DRAINING.
 * SAVE   metadata = local: a checkpoint at the seats as they are now. It stands for all that the
 *        journal and older checkpoints had in the old place, and it has the new configuration.
 * WALK   fs/seat_walk.h, the most endangered objects first, and again and again until one walk
 *        finds nothing to do. What fails is tried again in the next walk; after some of them nobody
 *        waits for objects of which too few shares are left: they are counted, their records stay,
 *        a scrub reports them.
 * SYNC   puts that began under the old epoch may be committed after a walk has passed their place:
 *        once everything written so far is committed, files that are being written included, one
 *        more walk finds them. Only a walk that began after it and found nothing counts.
 * LEAVE  the seat is ACTIVE, or empty.
 *
 * Every phase may be repeated: what was done is found done. The cursor says where to go on.
 */
#include "fs/volume_job_impl.h"

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

#define POLL_NS (200 * C2_NS_PER_MS)

static const char *const counter_names[] = { "shares_moved", "bytes_written", "bytes_read",
                                             "shares_lost",  "walks",         NULL };

C2_RESULT
seat_run_open(struct seat_run *r, const char *name, struct provider **ret_provider,
              char **ret_error)
{
    struct volume *v = seat_run_volume(r);
    if (r->x->open != NULL)
        return r->x->open(r->x->arg, name, ret_provider, ret_error);
    return prov_open(v->env, v->os, v->conf, name, ret_provider, ret_error);
}

void
seat_run_say(struct seat_run *r, const char *text)
{
    (void)snprintf(r->j->rec.message, sizeof(r->j->rec.message), "%s", text);
}

void
seat_run_say_end(struct seat_run *r)
{
    char *text;
    if (!r->drain)
        text = c2_asprintf("%s is in the place of %s, which is not asked any more; provider purge "
                           "%s deletes what it still has",
                           r->name, r->old, r->old);
    else if (r->remove)
        text = c2_asprintf("%s does not belong to the volume any more; provider purge %s deletes "
                           "what it still has",
                           r->name, r->name);
    else
        text = c2_asprintf("%s holds nothing any more; provider remove gives its seat up", r->name);
    seat_run_say(r, text);
    c2_free(text);
}

/* ---- the cursor ------------------------------------------------------------------------------ */

static void
save_cursor(struct seat_run *r)
{
    struct job_record *rec = &r->j->rec;
    struct c2_buf out = { 0 };
    c2_wr_u8(&out, r->phase);
    c2_wr_u8(&out, r->synced ? 1 : 0);
    c2_wr_u64(&out, r->undone);
    c2_wr_u64(&out, r->failed);
    c2_wr_u64(&out, r->wall_ns);
    c2_wr_u64(&out, r->objects);
    c2_wr_u64(&out, r->bytes);
    c2_wr_u32(&out, r->at_risks);
    c2_wr_bytes(&out, ck_slice(&r->after));
    C2_ASSERT(out.len <= sizeof(rec->cursor));
    memcpy(rec->cursor, out.data, out.len);
    rec->cursor_len = out.len;
    c2_buf_done(&out);
}

/* One that cannot be understood: from the start, every phase may be repeated. */
static void
load_cursor(struct seat_run *r)
{
    struct c2_rd in = c2_rd_init(c2_slice(r->j->rec.cursor, r->j->rec.cursor_len));
    struct seat_run at = { 0 };
    at.phase = c2_rd_u8(&in);
    at.synced = c2_rd_u8(&in) == 1;
    at.undone = c2_rd_u64(&in);
    at.failed = c2_rd_u64(&in);
    at.wall_ns = c2_rd_u64(&in);
    at.objects = c2_rd_u64(&in);
    at.bytes = c2_rd_u64(&in);
    at.at_risks = c2_rd_u32(&in);
    struct c2_slice after = c2_rd_bytes(&in, CK_KEY_MAX);
    if (c2_rd_finish(&in) != C2_E_OK || at.phase >= SEAT_JOB_PHASES)
        return;
    r->phase = at.phase;
    r->synced = at.synced;
    r->undone = at.undone;
    r->failed = at.failed;
    r->wall_ns = at.wall_ns;
    r->objects = at.objects;
    r->bytes = at.bytes;
    r->at_risks = at.at_risks;
    r->after.len = after.len;
    if (after.len > 0)
        memcpy(r->after.bytes, after.data, after.len);
}

void
seat_run_step_over(struct seat_run *r, enum c2_err err, bool finished)
{
    save_cursor(r);
    job_step_done(r->j, r->stopping && err != C2_E_OK ? C2_E_CANCELED : err, finished);
}

static void
later(struct c2_task *t)
{
    struct seat_run *r = C2_CONTAINER_OF(t, struct seat_run, task);
    seat_run_step_over(r, r->err, r->finished);
}

/* Never from inside the step. */
static void
step_later(struct seat_run *r, enum c2_err err, bool finished)
{
    r->err = err;
    r->finished = finished;
    r->task.run = later;
    c2_defer(seat_run_volume(r)->env, &r->task);
}

/* From a phase to the next. */
void
seat_run_go(struct seat_run *r, enum seat_job_phase phase)
{
    r->phase = (uint8_t)phase;
    r->after.len = 0;
    r->undone = r->failed = 0;
    r->objects = r->bytes = 0;
    r->wall_ns = 0;
}

static void
failed_for_good(struct seat_run *r, enum c2_err err, char *text)
{
    if (c2_err_class(err) == C2_CLASS_RETRY) /* it would be tried again for ever, unseen */
        err = C2_E_CONFIG;
    if (text != NULL)
        seat_run_say(r, text);
    c2_free(text);
    step_later(r, err, false);
}

/* ---- epochs ---------------------------------------------------------------------------------- */

static void
entered(struct volume_change *c)
{
    struct seat_run *r = C2_CONTAINER_OF(c, struct seat_run, change);
    if (c->err == C2_E_OK)
        r->opened = NULL;
    if (c->err == C2_E_OK)
        seat_run_go(r, r->drain ? SEAT_JOB_WALK : SEAT_JOB_SAVE_FIRST);
    seat_run_step_over(r, c->err, false);
}

static void
enter_epoch(struct seat_run *r)
{
    struct volume *v = seat_run_volume(r);
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
    struct seat_run *r = C2_CONTAINER_OF(p, struct seat_run, probe);
    r->probing = false;
    if (p->err == C2_E_OK && !r->stopping) {
        enter_epoch(r);
        return;
    }
    prov_close(r->opened);
    r->opened = NULL;
    if (r->stopping)
        seat_run_step_over(r, C2_E_CANCELED, false);
    else
        failed_for_good(
            r, p->err,
            c2_asprintf("provider \"%s\" is not usable: %s", r->name, prov_probe_reason(p)));
}

static void
enter(struct seat_run *r)
{
    struct volume *v = seat_run_volume(r);
    const struct volume_seat *s = &v->config.seats[r->seat];
    char *text = NULL;
    if (r->drain ? s->state == VOLUME_SEAT_DRAINING
                 : s->state == VOLUME_SEAT_REBUILDING && strcmp(s->provider, r->name) == 0) {
        C2_MARK("seat: the epoch had begun before");
        seat_run_go(r, r->drain ? SEAT_JOB_WALK : SEAT_JOB_SAVE_FIRST);
        step_later(r, C2_E_OK, false);
        return;
    }
    if (r->drain) {
        enter_epoch(r);
        return;
    }
    if (s->state == VOLUME_SEAT_ACTIVE && strcmp(s->provider, r->name) == 0) {
        C2_MARK("seat: the change was over, only the cursor did not know yet");
        seat_run_go(r, SEAT_JOB_SAVE_LAST);
        step_later(r, C2_E_OK, false);
        return;
    }
    seat_run_say(r, "the new provider is tested");
    enum c2_err err = seat_run_open(r, r->name, &r->opened, &text);
    if (err != C2_E_OK) {
        failed_for_good(r, err, text);
        return;
    }
    r->probing = true;
    r->probe = (struct prov_probe){ .provider = r->opened,
                                    .key_prefix = PROV_PROBE_PREFIX,
                                    .deadline_ns = c2_now_ns(v->env) + PROV_PROBE_NS,
                                    .done = probed };
    prov_probe_start(&r->probe);
}

static void
left(struct volume_change *c)
{
    struct seat_run *r = C2_CONTAINER_OF(c, struct seat_run, change);
    if (c->err == C2_E_OK) {
        r->source = NULL; /* closed with the job, and not asked from now on */
        seat_run_go(r, SEAT_JOB_SAVE_LAST);
    }
    seat_run_step_over(r, c->err, false);
}

static void
leave(struct seat_run *r)
{
    struct volume *v = seat_run_volume(r);
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
save(struct seat_run *r, bool last)
{
    struct fs_ship_status s;
    struct c2_env *env = seat_run_volume(r)->env;
    fs_ship_status(r->x->fs, &s);
    if (!s.on || (r->wall_ns != 0 && s.checkpoint_wall_ns > r->wall_ns)) {
        if (last)
            seat_run_say_end(r);
        else
            seat_run_go(r, SEAT_JOB_WALK);
        step_later(r, C2_E_OK, last);
        return;
    }
    if (r->wall_ns == 0) {
        seat_run_say(r, "a checkpoint of the metadata is made");
        r->wall_ns = c2_wall_ns(env);
    }
    fs_ship_checkpoint(r->x->fs);
    c2_timer_arm(env, &r->timer, c2_now_ns(env) + POLL_NS);
}

static void
polled(struct c2_timer *t)
{
    seat_run_step_over(C2_CONTAINER_OF(t, struct seat_run, timer), C2_E_OK, false);
}

/* ---- the kind -------------------------------------------------------------------------------- */

static void
step(struct job *j)
{
    struct seat_run *r = j->run;
    r->stopping = false;
    if (r->seat >=
        seat_run_volume(r)->config.n) /* it is given up, only the cursor does not know yet */
        r->phase = SEAT_JOB_SAVE_LAST;
    switch ((enum seat_job_phase)r->phase) {
    case SEAT_JOB_COUNT:
        seat_run_count(r);
        break;
    case SEAT_JOB_ENTER:
        enter(r);
        break;
    case SEAT_JOB_SAVE_FIRST:
        save(r, false);
        break;
    case SEAT_JOB_WALK:
        seat_run_walk(r);
        break;
    case SEAT_JOB_SYNC:
        seat_run_sync(r);
        break;
    case SEAT_JOB_LEAVE:
        leave(r);
        break;
    case SEAT_JOB_SAVE_LAST:
        save(r, true);
        break;
    case SEAT_JOB_PHASES:
        C2_UNREACHABLE();
    }
}

static void
stop(struct job *j)
{
    struct seat_run *r = j->run;
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
seat_of(const struct seat_run *r)
{
    const struct volume_config *c = &seat_run_volume(r)->config;
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
    struct seat_run *r = c2_calloc(1, sizeof(*r));
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
    struct seat_run *r = j->run;
    C2_ASSERT(!r->walking && !r->probing && !r->syncing);
    prov_close(r->opened);
    volume_retired_release(seat_run_volume(r));
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
