/* SPDX-License-Identifier: MIT */
/*
 *   IDLE --timer, demand--> CLOCK --> CONDEMN (pages of O) --> DELETE (pages of K) --> ORPHANS
 *     ^                                                                                  |
 *     '----------------------------------------------------------------------------------'
 *
 * Steps that fail end the round; the next one begins anew, nothing has to be undone.
 */
#include "fs/gc.h"

#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "fs/gc_impl.h"
#include "fs/txg.h"

#define HELD_NS        (100 * C2_NS_PER_MS)
#define FIRST_ROUND_NS (60 * C2_NS_PER_S) /* after the mount, when the interval is longer */

/* ---- steps ---------------------------------------------------------------------------------- */

static void
go_on(struct fs_gc *g, enum c2_err err)
{
    void (*then)(struct fs_gc * g, enum c2_err err) = g->then;
    g->then = NULL;
    then(g, g->canceled ? C2_E_CANCELED : err);
}

static void
answered(struct coord_req *r)
{
    struct fs_gc *g = C2_CONTAINER_OF(r, struct fs_gc, req);
    g->asking = false;
    go_on(g, r->err);
}

void
gc_ask(struct fs_gc *g, gc_step *then)
{
    g->req.deadline_ns = C2_NEVER;
    g->req.done = answered;
    g->asking = true;
    g->then = then;
    coord_submit(g->fs->part.coord, &g->req);
}

void
gc_ask_page(struct fs_gc *g, size_t limit, gc_step *then)
{
    g->slices[0] = ck_slice(&g->prefix);
    g->req = (struct coord_req){ .verb = COORD_RANGE,
                                 .keys = g->slices,
                                 .nkeys = 1,
                                 .after = ck_slice(&g->cursor),
                                 .limit = limit };
    gc_ask(g, then);
}

void
gc_commit(struct fs_gc *g, size_t nconds, size_t nops, gc_step *then)
{
    const struct fs_parts *part = &g->fs->part;
    g->conds[0] = (struct coord_cond){ .kind = COORD_VERSION_EQ,
                                       .key = part->fence_key,
                                       .number = part->fence_token };
    g->conds[1] = (struct coord_cond){ .kind = COORD_SESSION_ALIVE, .number = part->session };
    g->req = (struct coord_req){
        .verb = COORD_TXN, .conds = g->conds, .nconds = nconds, .ops = g->ops, .nops = nops
    };
    gc_ask(g, then);
}

void
gc_add_delete(struct fs_gc *g, size_t at, struct ck key)
{
    g->keys[at] = key;
    g->ops[at] = (struct coord_op){ .kind = COORD_DELETE, .key = ck_slice(&g->keys[at]) };
}

static void
synced(struct fs_sync *s)
{
    struct fs_gc *g = s->priv;
    g->syncing = false;
    go_on(g, s->err);
}

void
gc_sync(struct fs_gc *g, gc_step *then)
{
    g->sync =
        (struct fs_sync){ .published_only = true, .journal = true, .done = synced, .priv = g };
    g->syncing = true;
    g->then = then;
    fs_sync_start(g->fs, &g->sync);
}

static void
paused(struct c2_timer *t)
{
    struct fs_gc *g = C2_CONTAINER_OF(t, struct fs_gc, pause);
    go_on(g, g->pause_err);
}

static void
shipped(struct fs_ship_wait *w)
{
    struct fs_gc *g = C2_CONTAINER_OF(w, struct fs_gc, ship);
    g->shipping = false;
    go_on(g, w->err);
}

void
gc_ship(struct fs_gc *g, gc_step *then)
{
    g->ship = (struct fs_ship_wait){ .done = shipped };
    g->then = then;
    g->shipping = !fs_ship_wait(g->fs, &g->ship);
    if (g->shipping)
        return;
    g->pause_err = g->ship.err; /* known at once: told from the loop */
    c2_timer_arm(g->fs->part.env, &g->pause, c2_now_ns(g->fs->part.env));
}

static void
deleted(struct ds_delete *d)
{
    struct fs_gc *g = C2_CONTAINER_OF(d, struct fs_gc, delete);
    g->deleting = false;
    go_on(g, C2_E_OK); /* who has confirmed is what counts */
}

void
gc_delete(struct fs_gc *g, size_t n, gc_step *then)
{
    g->delete =
        (struct ds_delete){ .kind = DS_KIND_OBJECT, .oids = g->oids, .noids = n, .done = deleted };
    g->deleting = true;
    g->then = then;
    ds_delete_start(g->fs->part.ds, &g->delete);
}

void
gc_pause(struct fs_gc *g, size_t n, gc_step *then)
{
    uint64_t rate = C2_MAX(g->fs->conf.gc_rate, 1u);
    g->then = then;
    g->pause_err = C2_E_OK;
    c2_timer_arm(g->fs->part.env, &g->pause, c2_now_ns(g->fs->part.env) + n * C2_NS_PER_S / rate);
}

void
gc_count_seats(struct fs_gc *g, uint32_t placed, uint64_t stored_bytes)
{
    unsigned n = (unsigned)__builtin_popcount(placed);
    for (unsigned seat = 0; n > 0 && seat < DS_SEATS_MAX; seat++) {
        if ((placed >> seat & 1) == 0)
            continue;
        g->report.seat_objects[seat]++;
        g->report.seat_bytes[seat] += stored_bytes / n;
    }
}

/* ---- rounds --------------------------------------------------------------------------------- */

static void
arm(struct fs_gc *g)
{
    struct c2_env *env = g->fs->part.env;
    if (g->stopped || g->running)
        return;
    if (!c2_list_empty(&g->runs))
        c2_timer_arm(env, &g->timer, c2_now_ns(env));
    else if (g->fs->conf.gc)
        c2_timer_arm(env, &g->timer, g->next_round_ns);
}

static void
free_round(struct fs_gc *g)
{
    coord_req_done(&g->req);
    c2_buf_done(&g->bytes);
    c2_free(g->items);
    c2_free(g->ops);
    c2_free(g->keys);
    c2_free(g->slices);
    c2_free(g->oids);
    c2_free(g->list.items);
    g->req = (struct coord_req){ 0 };
    g->bytes = (struct c2_buf){ 0 };
    g->items = NULL;
    g->ops = NULL;
    g->keys = NULL;
    g->slices = NULL;
    g->oids = NULL;
    g->list.items = NULL;
}

static void
note(struct fs_gc *g, enum c2_err err)
{
    const struct fs_gc_report *r = &g->report;
    struct fs_gc_status *s = &g->status;
    s->deleted_objects += r->deleted_objects;
    s->deleted_bytes += r->deleted_bytes;
    s->orphans_deleted += r->orphans_deleted;
    if (err != C2_E_CANCELED)
        s->last_error = err;
    if (err != C2_E_OK)
        return;
    s->rounds++;
    s->last_wall_ns = c2_wall_ns(g->fs->part.env);
    s->waiting_objects = r->young_objects + r->free_objects - r->deleted_objects;
    s->waiting_bytes = r->young_bytes + r->free_bytes - r->deleted_bytes;
}

void
gc_round_over(struct fs_gc *g, enum c2_err err)
{
    const struct fs_gc_report *r = &g->report;
    struct fs_gc_run *run = g->run;
    note(g, err);
    if (err != C2_E_OK && err != C2_E_CANCELED)
        c2_log(WARN, "gc", "err=%s the round ends early, the next one repeats it",
               c2_err_name(err));
    else if (r->deleted_objects + r->held_up_objects + r->orphans > 0)
        c2_log(INFO, "gc", "deleted=%llu bytes=%llu held_up=%llu orphans=%llu of %llu",
               (unsigned long long)r->deleted_objects, (unsigned long long)r->deleted_bytes,
               (unsigned long long)r->held_up_objects, (unsigned long long)r->orphans_deleted,
               (unsigned long long)r->orphans);
    free_round(g);
    g->running = false;
    g->run = NULL;
    g->next_round_ns = c2_now_ns(g->fs->part.env) + g->fs->conf.gc_interval_ns;
    arm(g);
    if (run == NULL)
        return;
    run->err = err;
    run->report = *r;
    run->done(run);
}

static void
begin(struct c2_timer *t)
{
    struct fs_gc *g = C2_CONTAINER_OF(t, struct fs_gc, timer);
    struct fs_gc_run *run = C2_LIST_FIRST(&g->runs, struct fs_gc_run, link);
    bool configured = run == NULL || run->retention_ns == FS_GC_AS_CONFIGURED;
    if (g->fs->store_held > 0) {
        c2_timer_arm(g->fs->part.env, t, c2_now_ns(g->fs->part.env) + HELD_NS);
        return;
    }
    g->run = run;
    if (run != NULL)
        c2_list_remove(&g->runs, &run->link);
    g->running = true;
    g->canceled = g->shipped = false;
    g->dry_run = run != NULL && run->dry_run;
    g->retention_ns = configured ? g->fs->conf.gc_retention_ns : run->retention_ns;
    g->wall_ns = c2_wall_ns(g->fs->part.env);
    g->report = (struct fs_gc_report){ 0 };
    g->items = c2_calloc(GC_PAGE, sizeof(*g->items));
    g->ops = c2_calloc(GC_PAGE, sizeof(*g->ops));
    g->keys = c2_calloc(GC_PAGE, sizeof(*g->keys));
    g->slices = c2_calloc(GC_PAGE, sizeof(*g->slices));
    g->oids = c2_calloc(GC_PAGE, sizeof(*g->oids));
    gc_clock_start(g);
}

void
fs_gc_run_start(struct fs *fs, struct fs_gc_run *r)
{
    struct fs_gc *g = fs->gc;
    C2_ASSERT(!g->stopped);
    r->report = (struct fs_gc_report){ 0 };
    c2_list_append(&g->runs, &r->link);
    arm(g);
}

/* ---- ends ----------------------------------------------------------------------------------- */

/* What cannot be canceled (LIST, DELETE) ends by itself. */
static void
cancel_round(struct fs_gc *g)
{
    struct fs *fs = g->fs;
    if (!g->running || g->canceled)
        return;
    g->canceled = true;
    if (g->asking) {
        coord_cancel(fs->part.coord, &g->req);
    } else if (g->syncing) {
        fs_sync_cancel(fs, &g->sync);
    } else if (g->shipping) {
        fs_ship_wait_cancel(fs, &g->ship);
    } else if (c2_timer_armed(&g->pause)) {
        c2_timer_arm(fs->part.env, &g->pause, c2_now_ns(fs->part.env));
    }
}

void
fs_gc_run_cancel(struct fs *fs, struct fs_gc_run *r)
{
    struct fs_gc *g = fs->gc;
    if (g->run == r) {
        cancel_round(g);
        return;
    }
    c2_list_remove(&g->runs, &r->link);
    r->err = C2_E_CANCELED;
    r->done(r);
}

void
fs_gc_stop(struct fs *fs)
{
    struct fs_gc *g = fs->gc;
    g->stopped = true;
    c2_timer_stop(fs->part.env, &g->timer);
    while (!c2_list_empty(&g->runs))
        fs_gc_run_cancel(fs, C2_LIST_FIRST(&g->runs, struct fs_gc_run, link));
    cancel_round(g);
}

bool
fs_gc_idle(const struct fs *fs)
{
    return !fs->gc->running;
}

void
fs_gc_start(struct fs *fs)
{
    struct fs_gc *g = fs->gc;
    g->next_round_ns =
        c2_now_ns(fs->part.env) + C2_MIN(fs->conf.gc_interval_ns, (uint64_t)FIRST_ROUND_NS);
    arm(g);
}

struct fs_gc *
fs_gc_new(struct fs *fs)
{
    struct fs_gc *g = c2_calloc(1, sizeof(*g));
    g->fs = fs;
    g->timer.fire = begin;
    g->pause.fire = paused;
    c2_list_init(&g->runs);
    return g;
}

void
fs_gc_free(struct fs_gc *g)
{
    if (g == NULL)
        return;
    C2_ASSERT(!g->running && c2_list_empty(&g->runs));
    c2_free(g);
}

void
fs_gc_status(const struct fs *fs, struct fs_gc_status *ret_status)
{
    const struct fs_gc *g = fs->gc;
    *ret_status = g->status;
    ret_status->on = fs->conf.gc;
    ret_status->running = g->running;
}
