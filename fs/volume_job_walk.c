/* SPDX-License-Identifier: MIT */
/*
 * The walks of a job that changes who holds the data (fs/volume_job.c). The first one goes in
 * stages: objects with the fewest good shares in other seats, then all that have no more than one
 * more, and so on to all. Usually all have as many, and there is one stage.
 */
#include <string.h>

#include "backends/registry.h"
#include "base/alloc.h"
#include "base/conf.h"
#include "base/log.h"
#include "base/mark.h"
#include "fs/volume_job_impl.h"

#define GIVE_UP_AFTER 3u
#define STEP_BYTES    ((uint64_t)32 << 20) /* of shares; with a limit what it allows in a second */

static void
counted(struct seat_walk *w)
{
    struct seat_run *r = C2_CONTAINER_OF(w, struct seat_run, walk);
    struct job_record *rec = &r->j->rec;
    r->walking = false;
    if (w->err == C2_E_OK) {
        rec->objects_total += w->objects;
        rec->bytes_total += w->bytes;
        r->at_risks |= w->at_risks;
        r->after = w->after;
        if (w->at_end)
            seat_run_go(r, SEAT_JOB_ENTER);
    }
    seat_run_step_over(r, w->err, false);
}

/* The provider that had the seat before, if it still answers to its name and place. */
static struct provider *
find_source(struct seat_run *r)
{
    struct volume *v = seat_run_volume(r);
    const struct volume_seat *s = &v->config.seats[r->seat];
    struct provider *p = volume_retired_find(v, s->old_provider);
    char *text = NULL;
    if (p != NULL || !c2_conf_has_section(v->conf, "provider", s->old_provider) ||
        strcmp(c2_conf_str(v->conf, "provider", s->old_provider, "url"), s->old_url) != 0)
        return p;
    if (seat_run_open(r, s->old_provider, &p, &text) == C2_E_OK)
        volume_retire(v, p);
    else
        c2_log(WARN, "seat", "provider=%s is not asked: %s", s->old_provider,
               text == NULL ? "it cannot be opened" : text);
    c2_free(text);
    return p;
}

/* All objects but those that are better off than others which were not dealt with yet? */
static bool
is_partial(const struct seat_run *r)
{
    return (r->at_risks & (r->at_risks - 1)) != 0;
}

static void
walk_over(struct seat_run *r)
{
    uint64_t undone = r->undone, failed = r->failed;
    bool synced = r->synced;
    if (is_partial(r)) { /* what failed comes again with the next ones */
        C2_MARK("seat: the most endangered objects were first");
        uint64_t objects = r->drain ? r->objects - failed : 0; /* they are not met again */
        uint64_t bytes = r->drain ? r->bytes : 0;
        r->at_risks &= r->at_risks - 1;
        seat_run_go(r, SEAT_JOB_WALK);
        r->objects = objects;
        r->bytes = bytes;
        seat_run_step_over(r, C2_E_OK, false);
        return;
    }
    r->j->rec.counter[SEAT_JOB_WALKS]++;
    if (failed > 0) {
        seat_run_go(r, SEAT_JOB_WALK);
        r->synced = false;
        seat_run_step_over(r,
                           r->walk.why != C2_E_OK && c2_err_class(r->walk.why) == C2_CLASS_RETRY
                               ? r->walk.why
                               : C2_E_QUORUM,
                           false);
        return;
    }
    if (synced && undone == 0) {
        bool over = r->drain && !r->remove;
        if (over)
            seat_run_say_end(r);
        else
            seat_run_go(r, SEAT_JOB_LEAVE);
        seat_run_step_over(r, C2_E_OK, over);
        return;
    }
    seat_run_go(r, synced ? SEAT_JOB_WALK : SEAT_JOB_SYNC);
    seat_run_step_over(r, C2_E_OK, false);
}

static void
say_trouble(struct seat_run *r, enum c2_err why)
{
    char *text =
        c2_asprintf("%s does not tell what it has (%s), trying again", r->name, c2_err_text(why));
    seat_run_say(r, text);
    c2_free(text);
}

static void
walked(struct seat_walk *w)
{
    struct seat_run *r = C2_CONTAINER_OF(w, struct seat_run, walk);
    struct job_record *rec = &r->j->rec;
    r->walking = false;
    rec->counter[SEAT_JOB_MOVED] += w->moved;
    rec->counter[SEAT_JOB_WRITTEN] += w->moved_bytes;
    rec->counter[SEAT_JOB_READ] += w->read_bytes;
    job_spend(r->j, w->moved_bytes);
    if (w->err != C2_E_OK) {
        if (w->why != C2_E_OK && w->why != C2_E_CANCELED)
            say_trouble(r, w->why);
        seat_run_step_over(r, w->err, false);
        return;
    }
    if (r->after.len == 0)
        rec->counter[SEAT_JOB_LOST] = 0; /* each walk counts anew */
    r->objects += w->objects;
    r->bytes += w->bytes;
    rec->objects_done = C2_MAX(rec->objects_done, r->objects);
    rec->bytes_done = C2_MAX(rec->bytes_done, r->bytes);
    rec->objects_total = C2_MAX(rec->objects_total, rec->objects_done); /* some came meanwhile */
    rec->bytes_total = C2_MAX(rec->bytes_total, rec->bytes_done);
    rec->counter[SEAT_JOB_LOST] += w->lost;
    rec->errors = rec->counter[SEAT_JOB_LOST] + w->failed;
    r->undone += w->moved + w->failed; /* what is lost does not keep anybody waiting */
    r->failed += w->failed;
    r->after = w->after;
    if (w->at_end)
        walk_over(r);
    else
        seat_run_step_over(r, C2_E_OK, false);
}

static void
walk(struct seat_run *r, enum seat_walk_what what, uint64_t bytes_max, unsigned good_below)
{
    r->walk = (struct seat_walk){ .fs = r->x->fs,
                                  .what = what,
                                  .seat = r->seat,
                                  .target = seat_run_volume(r)->providers[r->seat],
                                  .source = what == SEAT_WALK_FILL ? r->source : NULL,
                                  .bytes_max = bytes_max,
                                  .good_below = good_below,
                                  .give_up = r->j->rec.counter[SEAT_JOB_WALKS] >= GIVE_UP_AFTER,
                                  .after = r->after,
                                  .done = what == SEAT_WALK_COUNT ? counted : walked };
    r->walking = true;
    seat_walk_start(&r->walk);
}

void
seat_run_count(struct seat_run *r)
{
    struct job_record *rec = &r->j->rec;
    if (r->after.len == 0) {
        rec->objects_total = rec->bytes_total = 0;
        r->at_risks = 0;
    }
    walk(r, SEAT_WALK_COUNT, 0, 0);
}

void
seat_run_walk(struct seat_run *r)
{
    uint64_t limit = r->j->rec.rate_limit;
    if (!r->drain && r->source == NULL)
        r->source = find_source(r);
    seat_run_say(r, r->synced  ? "what was written meanwhile is looked at"
                    : r->drain ? "shares are moved to the other providers"
                               : "shares are brought to the new provider");
    walk(r, r->drain ? SEAT_WALK_LEAVE : SEAT_WALK_FILL,
         limit == 0 ? STEP_BYTES : C2_MIN(limit, STEP_BYTES),
         is_partial(r) ? (unsigned)__builtin_ctz(r->at_risks) + 1 : 0);
}

static void
synced(struct fs_sync *s)
{
    struct seat_run *r = C2_CONTAINER_OF(s, struct seat_run, sync);
    r->syncing = false;
    if (s->err == C2_E_OK) {
        seat_run_go(r, SEAT_JOB_WALK);
        r->synced = true;
    }
    seat_run_step_over(r, s->err, false);
}

void
seat_run_sync(struct seat_run *r)
{
    seat_run_say(r, "what was written before the change is committed");
    r->syncing = true;
    r->sync = (struct fs_sync){ .done = synced };
    fs_sync_start(r->x->fs, &r->sync);
}
