/* SPDX-License-Identifier: MIT */
/*
 * The metadata log in the clouds has no records that could name single pieces: when some were
 * written to too few seats, all of it is looked through.
 *
 *   found --grace time--> is one of the seats back? --> JOURNAL --> CHECKPOINTS --> over
 *                           ^ no, or not all mended: later |            |
 *                           +------------------------------+------------+
 */
#include "base/log.h"
#include "base/mark.h"
#include "fs/repair_impl.h"

static void
wait_for(struct repair_log *l, uint64_t ns)
{
    struct c2_env *env = l->r->env;
    c2_timer_arm(env, &l->timer, c2_now_ns(env) + ns);
}

static void
finish(struct repair_log *l, bool mended)
{
    l->running = false;
    if (l->r->stopped)
        return;
    if (!mended) {
        wait_for(l, repair_retry_ns(l->tries++));
        return;
    }
    l->tries = 0;
    if (l->again) /* some came meanwhile: perhaps it had passed their place */
        wait_for(l, l->r->fs->conf.repair_delay_ns);
    else
        l->wanted = 0;
}

static void scan(struct repair_log *l, enum ds_kind kind);

static void
scanned(struct fs_scan_log *s)
{
    struct repair_log *l = C2_CONTAINER_OF(s, struct repair_log, scan);
    l->r->total.shares_total += s->rebuilt;
    if (s->rebuilt > 0 || s->below > 0)
        c2_log(INFO, "repair", "pieces of the log=%llu shares rebuilt=%llu below their goal=%llu",
               (unsigned long long)s->objects, (unsigned long long)s->rebuilt,
               (unsigned long long)s->below);
    if (s->err != C2_E_OK || s->below > 0 || l->r->stopped)
        finish(l, false);
    else if (s->kind == DS_KIND_JOURNAL)
        scan(l, DS_KIND_CHECKPOINT);
    else
        finish(l, true);
}

static void
scan(struct repair_log *l, enum ds_kind kind)
{
    l->scan = (struct fs_scan_log){ .fs = l->r->fs, .kind = kind, .mend = true, .done = scanned };
    fs_scan_log_start(&l->scan);
}

static void
due(struct c2_timer *t)
{
    struct repair_log *l = C2_CONTAINER_OF(t, struct repair_log, timer);
    bool back = false;
    for (unsigned i = 0; i < ds_client_n(l->r->fs->part.ds); i++)
        back = back || ((l->wanted >> i & 1) != 0 && repair_seat_takes(l->r, i));
    if (!back) {
        wait_for(l, REPAIR_RETRY_NS);
        return;
    }
    C2_MARK("repair: the metadata log is looked through");
    l->running = true;
    l->again = false;
    scan(l, DS_KIND_JOURNAL);
}

void
fs_repair_log_found(struct fs *fs, uint32_t placed)
{
    struct repair_log *l = &fs->repair->log;
    const struct ds_client *ds = fs->part.ds;
    bool enough = (unsigned)__builtin_popcount(placed) >= ds_client_goal_of(ds, placed);
    if (enough || l->r->stopped || !fs->conf.repair_auto)
        return;
    for (unsigned i = 0; i < ds_client_n(ds); i++)
        if ((placed >> i & 1) == 0 && ds_client_seat_takes(ds, i))
            l->wanted |= 1u << i;
    l->again = l->running;
    if (!l->running && !c2_timer_armed(&l->timer))
        wait_for(l, fs->conf.repair_delay_ns);
}

void
repair_log_stop(struct repair_log *l)
{
    c2_timer_stop(l->r->env, &l->timer);
    if (l->running)
        fs_scan_log_cancel(&l->scan);
}

void
repair_log_init(struct repair_log *l, struct fs_repair *r)
{
    l->r = r;
    l->timer.fire = due;
}
