/* SPDX-License-Identifier: MIT */
/*
 * A replica's process. The core's memory is one life, the log's another (the node's): a crash must
 * find that the core gives back everything, and the log loses what was not on its disk.
 *
 * Jobs run one at a time, later than they were given. The store is LMDB on real files: a crash
 * loses what was executed since the last checkpoint.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "metadata/store.h"
#include "tests/lib/test_env.h"
#include "tests/sim/bft_scene.h"

#define WAL_PATH   "/wal"
#define SEGMENT    WAL_SEGMENT_SIZE_MIN
#define RESTART_NS (3 * C2_NS_PER_S)
#define FRAIL      30 /* percent of what it signs, and then it loses power */

/* ---- actions --------------------------------------------------------------------------------- */

static void
append(struct bs_proc *p, const struct bft_action *a)
{
    struct c2_slice parts[2] = { a->bytes, c2_slice(NULL, 0) };
    if (a->body != NULL)
        parts[1] = c2_slice(a->body->data + a->body_at, a->body_len);
    struct sim_life *before = sim_node_enter(p->node);
    size_t nparts = parts[1].len > 0 ? 2 : 1;
    uint64_t lsn = a->later ? wal_append_later(p->wal, a->type, parts, nparts)
                            : wal_append(p->wal, a->type, parts, nparts);
    sim_life_leave(before);
    SIM_CHECK(p->s->w, lsn == a->lsn, "the log's record %llu is %llu to the core",
              (unsigned long long)lsn, (unsigned long long)a->lsn);
    bs_durable_append(p, a->type, a->bytes, lsn);
}

/* The worst moment: what was signed is out, and perhaps not on the disk. */
static void
maybe_die(struct bs_proc *p, struct c2_slice msg)
{
    struct bs *s = p->s;
    struct msg_head h;
    unsigned chance = p->frail && !s->healed ? FRAIL : s->sudden;
    if (chance == 0 || p->faulty || (s->sudden_ids >> p->id & 1) == 0 ||
        msg_read_head(msg, &h) != C2_E_OK || !msg_is_signed(h.type) ||
        (s->sudden_types >> h.type & 1) == 0 || c2_timer_armed(&p->die) ||
        !sim_rng_chance(&s->rng, chance))
        return;
    C2_MARK("sim: a replica crashes right after it has signed");
    sim_arm(s->w, &p->die, s->w->now_ns);
}

static void
send_all(struct bs_proc *p, const struct bft_action *a)
{
    struct bs *s = p->s;
    struct c2_slice msg = c2_blob_slice(a->msg);
    const struct bft_config *c = bft_current_config(p->core);
    bs_check_sent(p, msg);
    for (unsigned seat = 0; seat < c->n; seat++) {
        if ((a->seats >> seat & 1) == 0)
            continue;
        for (unsigned i = 0; i < s->nprocs; i++) {
            struct bs_proc *to = &s->proc[i];
            if (to->id == c->member[seat].id && to->id != p->id)
                bs_lie_send(p, to, msg);
        }
    }
    bs_lie_overhear(s, p, msg);
    maybe_die(p, msg);
}

static void
alarm_rings(struct bs_proc *p, const struct bft_action *a)
{
    struct bs *s = p->s;
    char who[16];
    snprintf(who, sizeof who, "alarm%u", p->index);
    sim_trace(s->w, who, "%s", a->text);
    p->alarms |= 1u << a->alarm;
    if (a->alarm == BFT_ALARM_EVIDENCE)
        C2_MARK("sim: evidence against a liar");
    if (p->faulty || p->rotten)
        return;
    SIM_CHECK(s->w,
              a->alarm != BFT_ALARM_HALT && a->alarm != BFT_ALARM_QUARANTINE &&
                  a->alarm != BFT_ALARM_DIVERGED,
              "replica %u: %s", p->index, a->text);
    SIM_CHECK(s->w, a->alarm != BFT_ALARM_EVIDENCE || !s->clean, "replica %u: %s", p->index,
              a->text);
}

static void
new_config(struct bs_proc *p, const struct bft_config *c)
{
    struct bs *s = p->s;
    if (p->faulty)
        return;
    SIM_CHECK(s->w, c->epoch <= s->admins, "an epoch that nobody asked for");
    SIM_CHECK(s->w, c->epoch < BS_EPOCHS, "too many epochs");
    C2_MARK("sim: a new epoch");
    struct c2_buf one = { 0 };
    struct c2_buf other = { 0 };
    bft_config_encode(c, &one);
    bft_config_encode(s->have_epoch[c->epoch] ? &s->epochs[c->epoch] : c, &other);
    SIM_CHECK(s->w, c2_slice_equal(c2_buf_slice(&one), c2_buf_slice(&other)), "two epochs %u",
              c->epoch);
    c2_buf_done(&one);
    c2_buf_done(&other);
    s->have_epoch[c->epoch] = true;
    s->epochs[c->epoch] = *c;
    sim_trace(s->w, "epoch", "replica %u begins epoch %u", p->index, c->epoch);
}

static void
carry_out(struct bs_proc *p, const struct bft_action *a)
{
    switch (a->kind) {
    case BFT_ACT_SEND:
        send_all(p, a);
        return;
    case BFT_ACT_REPLY:
        bs_to_client(p, a);
        return;
    case BFT_ACT_APPEND:
        append(p, a);
        return;
    case BFT_ACT_TRIM: {
        struct sim_life *before = sim_node_enter(p->node);
        wal_trim(p->wal, a->lsn);
        sim_life_leave(before);
        return;
    }
    case BFT_ACT_JOB:
        c2_list_append(&p->jobs, &a->job->link);
        if (!c2_timer_armed(&p->exec_timer))
            sim_arm(p->s->w, &p->exec_timer,
                    p->s->w->now_ns + sim_rng_below(&p->s->rng, p->exec_ns));
        return;
    case BFT_ACT_CONFIG:
        new_config(p, a->config);
        return;
    case BFT_ACT_ALARM:
        alarm_rings(p, a);
        return;
    }
}

void
bs_event(struct bs_proc *p, struct bft_event *ev)
{
    struct bs *s = p->s;
    struct bft_actions acts;
    ev->now_ns = s->w->now_ns;
    ev->wall_ns = (uint64_t)((int64_t)(s->w->now_ns + BS_WALL_NS) + p->skew_ns);
    struct sim_life *before = sim_life_enter(&p->life);
    bft_step(p->core, ev, &acts);
    sim_life_enter(NULL);
    for (size_t i = 0; i < acts.count; i++)
        carry_out(p, &acts.action[i]);
    uint64_t due = bft_deadline_ns(p->core);
    if (due != C2_NEVER)
        sim_arm(s->w, &p->tick, C2_MAX(due, s->w->now_ns + 1000));
    bs_check_step(p);
    sim_life_leave(before);
}

static void
tick_due(struct c2_timer *t)
{
    struct bs_proc *p = C2_CONTAINER_OF(t, struct bs_proc, tick);
    struct bft_event ev = { .kind = BFT_EV_TICK };
    bs_event(p, &ev);
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static void
exec_due(struct c2_timer *t)
{
    struct bs_proc *p = C2_CONTAINER_OF(t, struct bs_proc, exec_timer);
    struct bs *s = p->s;
    struct bft_job *job = C2_LIST_FIRST(&p->jobs, struct bft_job, link);
    c2_list_remove(&p->jobs, &job->link);
    bft_exec_run(p->exec, job);
    SIM_CHECK(s->w, job->err == C2_E_OK, "job %d of replica %u: %s", job->kind, p->index,
              c2_err_name(job->err));
    bs_check_job(p, job);
    if (!c2_list_empty(&p->jobs))
        sim_arm(s->w, t, s->w->now_ns + sim_rng_below(&s->rng, p->exec_ns));
    struct bft_event ev = { .kind = BFT_EV_JOB, .job = job };
    bs_event(p, &ev);
}

/* ---- the log --------------------------------------------------------------------------------- */

static void
wal_replays(void *arg, uint64_t lsn, unsigned type, struct c2_slice body)
{
    struct bs_proc *p = arg;
    struct bft_event ev = { .kind = BFT_EV_RECORD, .lsn = lsn, .type = type, .bytes = body };
    bs_event(p, &ev);
}

/* The process must end at once; not inside of the callback. */
static void
wal_failed(void *arg, enum c2_err err)
{
    struct bs_proc *p = arg;
    (void)err;
    C2_MARK("sim: fsync failed");
    p->aborts = true;
    sim_arm(p->s->w, &p->die, p->s->w->now_ns);
}

static void
wal_opened(void *arg, enum c2_err err, const struct wal_report *r)
{
    struct bs_proc *p = arg;
    if (err == C2_E_IO) { /* its end could not be made durable */
        wal_failed(p, err);
        return;
    }
    SIM_CHECK(p->s->w, err == C2_E_OK, "the log of replica %u: %s", p->index, c2_err_name(err));
    SIM_CHECK(p->s->w, !r->damaged || p->rotten || p->faulty, "the log of replica %u: %s", p->index,
              r->damage);
    if (r->damaged)
        C2_MARK("sim: the log is damaged");
    if (r->torn)
        C2_MARK("sim: the log's end is torn");
    struct bft_event ev = { .kind = BFT_EV_START, .lsn = r->last_lsn };
    ev.health = r->damaged ? BFT_WAL_DAMAGED : BFT_WAL_GOOD;
    p->fresh = false;
    p->started = true;
    bs_durable_opened(p, r->last_lsn);
    bs_event(p, &ev);
}

static void
wal_synced_to(void *arg, uint64_t lsn)
{
    struct bs_proc *p = arg;
    struct bft_event ev = { .kind = BFT_EV_DURABLE, .lsn = lsn };
    bs_durable_synced(p, lsn);
    bs_event(p, &ev);
}

static void
die_due(struct c2_timer *t)
{
    struct bs_proc *p = C2_CONTAINER_OF(t, struct bs_proc, die);
    if (!p->up)
        return;
    if (p->aborts)
        bs_kill(p);
    else
        bs_crash(p);
    sim_arm(p->s->w, &p->restart, p->s->w->now_ns + sim_rng_scale(&p->s->rng, 1000, C2_NS_PER_S));
}

/* ---- life ------------------------------------------------------------------------------------ */

static void
open_core(struct bs_proc *p)
{
    struct bs *s = p->s;
    const char *why = NULL;
    struct bft_setup setup = { .config = s->config, .id = p->id, .crypto = &bs_crypto };
    setup.timing = s->timing;
    setup.limits = s->limits;
    setup.seed = sim_rng_next(&s->rng);
    memcpy(setup.sign_secret, s->secret[p->id], sizeof setup.sign_secret);
    struct sim_life *before = sim_life_enter(&p->life);
    enum c2_err err = bft_new(&setup, &p->core, &why);
    SIM_CHECK(s->w, err == C2_E_OK, "setup: %s", why);
    bft_add_key(p->core, s->next_secret[p->id]);
    sim_life_leave(before);
    p->life_base = p->life.bytes;
}

/* Limits of a fetch that little states reach, others in each life; some have none. */
static struct store_fetch_limits
fetch_limits(const struct bs_proc *p)
{
    unsigned turn = p->index + p->lives;
    struct store_fetch_limits l = { .memory = 0 };
    if (turn % 4 != 0) {
        l.memory = (size_t)512 << turn % 3;
        l.file = (uint64_t)1024 << turn % 5;
        l.piece = (size_t)256 << turn % 7;
    }
    return l;
}

void
bs_start(struct bs_proc *p)
{
    struct bs *s = p->s;
    struct store_options o = { .map_size = 64u << 20, .create = !p->created, .replicated = true };
    o.fetch = fetch_limits(p);
    struct replica_app *app = NULL;
    char *error = NULL;
    C2_ASSERT(!p->up);
    sim_trace(s->w, "start", "replica %u", p->index);
    SIM_CHECK(s->w, store_open(p->path, &o, &app, &error) == C2_E_OK, "store: %s", error);
    p->created = true;
    p->exec = bft_exec_new(app);
    open_core(p);
    p->up = true;
    p->started = p->aborts = false;
    memset(&p->last, 0, sizeof p->last);
    const struct wal_options w = {
        .path = WAL_PATH,
        .segment_size = SEGMENT,
        .fresh = p->fresh,
        .replay = wal_replays,
        .opened = wal_opened,
        .synced = wal_synced_to,
        .failed = wal_failed,
        .arg = p,
    };
    struct sim_life *before = sim_node_enter(p->node);
    p->wal = wal_open(sim_node_env(p->node), &w);
    sim_life_leave(before);
    if (p->lies != 0)
        bs_lie_start(p);
}

static void
end_process(struct bs_proc *p, enum sim_crash how)
{
    struct bs *s = p->s;
    C2_ASSERT(p->up);
    sim_trace(s->w, "crash", "replica %u", p->index);
    sim_stop(s->w, &p->tick);
    sim_stop(s->w, &p->exec_timer);
    sim_stop(s->w, &p->lie);
    sim_stop(s->w, &p->die);
    while (!c2_list_empty(&p->jobs)) {
        struct bft_job *job = C2_LIST_FIRST(&p->jobs, struct bft_job, link);
        c2_list_remove(&p->jobs, &job->link);
        bft_job_free(job);
    }
    bft_free(p->core);
    bft_exec_free(p->exec);
    SIM_CHECK(s->w, p->life.blocks.count == 0, "replica %u leaked %zu bytes", p->index,
              p->life.bytes);
    sim_node_crash(p->node, how);
    p->core = NULL;
    p->exec = NULL;
    p->wal = NULL;
    p->up = p->started = false;
    p->lives++;
}

void
bs_crash(struct bs_proc *p)
{
    p->frail = false;
    end_process(p, SIM_CRASH_MACHINE);
}

void
bs_kill(struct bs_proc *p)
{
    C2_MARK("sim: a replica is killed");
    p->frail = sim_rng_chance(&p->s->rng, 50);
    end_process(p, SIM_CRASH_DAEMON);
}

static void
restart_due(struct c2_timer *t)
{
    struct bs_proc *p = C2_CONTAINER_OF(t, struct bs_proc, restart);
    if (!p->up && !p->keep_down)
        bs_start(p);
}

void
bs_lose_store(struct bs_proc *p)
{
    C2_ASSERT(!p->up);
    test_disk_remove_tree(p->path);
    p->created = false;
    C2_MARK("sim: a store is lost");
}

void
bs_lose_log(struct bs_proc *p)
{
    C2_ASSERT(!p->up);
    sim_node_free(p->node);
    sim_disk_free(p->disk);
    p->disk = sim_disk_new(p->s->w);
    p->node = sim_node_new(p->s->w, "replica", p->disk);
    C2_MARK("sim: a log is lost");
}

void
bs_proc_init(struct bs_proc *p)
{
    struct bs *s = p->s;
    p->tick.fire = tick_due;
    p->exec_timer.fire = exec_due;
    p->restart.fire = restart_due;
    p->die.fire = die_due;
    c2_list_init(&p->jobs);
    sim_life_init(&p->life);
    p->fresh = true;
    p->exec_ns = sim_rng_scale(&s->rng, 10000, 5 * C2_NS_PER_MS);
    p->skew_ns = (int64_t)sim_rng_below(&s->rng, 2000) * 1000000 - 1000000000;
    snprintf(p->path, sizeof p->path, "%s/%u", s->dir, p->index);
    p->disk = sim_disk_new(s->w);
    p->node = sim_node_new(s->w, "replica", p->disk);
}

void
bs_proc_done(struct bs_proc *p)
{
    if (p->up)
        bs_crash(p);
    sim_stop(p->s->w, &p->restart);
    bs_durable_done(p);
    sim_node_free(p->node);
    sim_disk_free(p->disk);
}
