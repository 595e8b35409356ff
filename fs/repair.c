/* SPDX-License-Identifier: MIT */
/*
 * An object in the queue:
 *
 *   WAITING --grace over, or a run--> READY --its turn--> RECORD (is it in use? where?) --> MEND
 *      ▲                                                     │ no                            │
 *      │                                                    gone        healthy: PLACE <─────┤
 *      └──────────────────── not at its goal: later, and later still ◄───────────────────────┘
 *
 * READY is a list per number of lost shares, most first. PLACE: fs/repair_place.c.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "fs/repair_impl.h"

#define RETRY_MAX_NS (3600 * C2_NS_PER_S)

enum entry_state { WAITING, READY, RECORD, MEND };

struct entry {
    struct c2_map_node node;
    struct c2_link link; /* in waiting, ready[] or running */
    struct fs_repair *r;
    enum entry_state state;
    struct ds_ref ref;
    uint32_t placed, lost; /* as found; corrected by the mend */
    uint32_t since_found;  /* lost ones that were found while it was mended */
    uint64_t due_ns;
    unsigned tries;
    uint64_t run_id; /* of the run that gave it its last turn */
    bool in_run;
    struct ck key;
    struct c2_slice key_slice;
    struct coord_req record;
    struct fs_mend mend;
};

static void pump(struct fs_repair *r);

static unsigned
bits(uint32_t set)
{
    return (unsigned)__builtin_popcount(set);
}

/* ---- the queue ------------------------------------------------------------------------------- */

static uint64_t
hash_of(const struct fs_repair *r, const struct ds_oid *oid)
{
    return c2_map_hash_u64(&r->entries, oid->sid * 0x9e3779b97f4a7c15ull ^ oid->seq);
}

static struct entry *
find(const struct fs_repair *r, const struct ds_oid *oid)
{
    for (struct c2_map_node *n = c2_map_find(&r->entries, hash_of(r, oid)); n != NULL;
         n = c2_map_find_next(n)) {
        struct entry *e = C2_CONTAINER_OF(n, struct entry, node);
        if (e->ref.oid.sid == oid->sid && e->ref.oid.seq == oid->seq &&
            memcmp(e->ref.oid.rnd, oid->rnd, sizeof(oid->rnd)) == 0)
            return e;
    }
    return NULL;
}

static struct c2_list *
list_of(struct fs_repair *r, const struct entry *e)
{
    switch (e->state) {
    case WAITING:
        return &r->waiting;
    case READY:
        return &r->ready[C2_MIN(bits(e->lost), (unsigned)DS_SEATS_MAX)];
    case RECORD:
    case MEND:
        break;
    }
    return &r->running;
}

static void
arm(struct fs_repair *r)
{
    const struct entry *e = C2_LIST_FIRST(&r->waiting, struct entry, link);
    uint64_t at = e != NULL && r->fs->conf.repair_auto ? e->due_ns : C2_NEVER;
    if (r->pace_ns > c2_now_ns(r->env)) /* what waits for another reason is begun when that ends */
        at = C2_MIN(at, r->pace_ns);
    if (at == C2_NEVER || r->stopped)
        c2_timer_stop(r->env, &r->timer);
    else
        c2_timer_arm(r->env, &r->timer, C2_MAX(at, c2_now_ns(r->env)));
}

/* Most of them come at the end: the search from there is short. */
static void
insert_waiting(struct fs_repair *r, struct entry *e, uint64_t due_ns)
{
    e->state = WAITING;
    e->due_ns = due_ns;
    struct c2_link *at = &r->waiting.head;
    while (at->prev != &r->waiting.head &&
           C2_CONTAINER_OF(at->prev, struct entry, link)->due_ns > due_ns)
        at = at->prev;
    c2_list_insert_before(&r->waiting, at, &e->link);
}

static void
make_ready(struct fs_repair *r, struct entry *e)
{
    c2_list_remove(list_of(r, e), &e->link);
    e->state = READY;
    c2_list_append(list_of(r, e), &e->link);
}

static void
drop(struct fs_repair *r, struct entry *e)
{
    c2_list_remove(list_of(r, e), &e->link);
    c2_map_remove(&r->entries, &e->node);
    coord_req_done(&e->record);
    c2_free(e);
}

void
fs_repair_found(struct fs *fs, const struct ds_ref *ref, uint32_t placed, uint32_t lost)
{
    struct fs_repair *r = fs->repair;
    bool few = bits(placed) < ds_client_goal_of(fs->part.ds, placed);
    if (r->stopped || placed == 0 || ((lost & placed) == 0 && !few))
        return;
    struct entry *e = find(r, &ref->oid);
    if (e != NULL) {
        if (e->state >= RECORD) {
            e->since_found |= lost;
            return;
        }
        struct c2_list *before = list_of(r, e);
        e->lost |= lost & placed;
        if (list_of(r, e) != before) {
            c2_list_remove(before, &e->link);
            c2_list_append(list_of(r, e), &e->link);
        }
        return;
    }
    if (r->entries.count >= FS_REPAIR_QUEUE_MAX) {
        r->total.forgotten++;
        return;
    }
    e = c2_calloc(1, sizeof(*e));
    e->r = r;
    e->ref = *ref;
    e->placed = placed;
    e->lost = lost & placed;
    e->node.hash = hash_of(r, &ref->oid);
    c2_map_insert(&r->entries, &e->node);
    insert_waiting(r, e, c2_now_ns(r->env) + fs->conf.repair_delay_ns);
    arm(r);
}

/* ---- one object ------------------------------------------------------------------------------ */

static void
end_run(struct fs_repair *r)
{
    struct fs_repair_run *run = r->run;
    r->run = NULL;
    run->more = false;
    for (unsigned k = 0; k <= DS_SEATS_MAX; k++)
        run->more = run->more || !c2_list_empty(&r->ready[k]);
    run->done(run);
}

static size_t
memory_of(const struct entry *e)
{
    return (size_t)(2 * e->ref.plain_len + (1u << 20));
}

static bool
has_gained(const struct fs_mend *m)
{
    return (m->rebuilt | m->spare) != 0;
}

static void
count_turn(struct fs_repair *r, struct entry *e, enum c2_err err, bool gone)
{
    struct fs_repair_run *run = e->in_run ? r->run : NULL;
    const struct fs_mend *m = &e->mend;
    uint64_t bytes = m->bytes_read + m->bytes_written;
    r->total.bytes_read += m->bytes_read;
    r->total.bytes_written += m->bytes_written;
    r->total.shares_total += bits(m->rebuilt);
    r->total.objects_total += err == C2_E_OK && has_gained(m);
    r->total.failures_total += err != C2_E_OK && err != C2_E_CANCELED;
    r->total.last_error = err;
    uint64_t rate = r->fs->conf.repair_rate;
    if (rate > 0)
        r->pace_ns = C2_MAX(r->pace_ns, c2_now_ns(r->env)) + bytes * C2_NS_PER_S / rate;
    e->in_run = false;
    if (run == NULL)
        return;
    run->running--;
    run->objects++;
    run->healthy += err == C2_E_OK && !gone;
    run->healed += err == C2_E_OK && has_gained(m);
    run->gone += gone;
    run->shares += bits(m->rebuilt);
    run->bytes += bytes;
    if (err != C2_E_OK)
        run->last_error = err;
}

uint64_t
repair_retry_ns(unsigned tries)
{
    return C2_MIN(REPAIR_RETRY_NS << C2_MIN(tries, 10u), RETRY_MAX_NS);
}

bool
repair_seat_takes(const struct fs_repair *r, unsigned seat)
{
    struct ds_seat_status s;
    ds_seat_status(r->fs->part.ds, seat, &s);
    return ds_client_seat_takes(r->fs->part.ds, seat) &&
           (s.state == DS_SEAT_ONLINE || s.state == DS_SEAT_DEGRADED);
}

/* An object had its turn. */
static void
turn_over(struct entry *e, enum c2_err err, bool gone)
{
    struct fs_repair *r = e->r;
    count_turn(r, e, err, gone);
    r->memory -= memory_of(e);
    if (err != C2_E_OK && err != C2_E_CANCELED)
        c2_log(WARN, "repair", "object=%llx.%llx err=%s good=%x failed=%x unknown=%x, later again",
               (unsigned long long)e->ref.oid.sid, (unsigned long long)e->ref.oid.seq,
               c2_err_name(err), e->mend.good, e->mend.failed, e->mend.unknown);
    if (gone || (err == C2_E_OK && e->since_found == 0)) {
        drop(r, e);
    } else {
        c2_list_remove(&r->running, &e->link);
        if (e->mend.good != 0)
            e->lost = (e->mend.missing | e->mend.bad | e->mend.failed) & ~e->mend.rebuilt;
        e->lost |= e->since_found & e->placed;
        e->since_found = 0;
        e->tries++;
        insert_waiting(r, e, c2_now_ns(r->env) + repair_retry_ns(e->tries));
    }
    pump(r);
}

static void
ask_record(struct entry *e, void (*done)(struct coord_req *q))
{
    e->state = RECORD;
    e->key = ck_object(&e->ref.oid);
    e->key_slice = ck_slice(&e->key);
    e->record = (struct coord_req){
        .verb = COORD_GET, .keys = &e->key_slice, .nkeys = 1, .deadline_ns = C2_NEVER, .done = done
    };
    coord_submit(e->r->fs->part.coord, &e->record);
}

static void record_after_failure(struct coord_req *q);

static void
mended(struct fs_mend *m)
{
    struct entry *e = C2_CONTAINER_OF(m, struct entry, mend);
    struct fs_repair *r = e->r;
    if (m->rebuilt != 0)
        c2_log(INFO, "repair", "object=%llx.%llx missing=%x bad=%x rebuilt=%x good=%x",
               (unsigned long long)m->ref.oid.sid, (unsigned long long)m->ref.oid.seq, m->missing,
               m->bad, m->rebuilt, m->good);
    repair_places_add(&r->places, m);
    if (m->err == C2_E_OK || r->stopped)
        turn_over(e, m->err, false);
    else
        ask_record(e, record_after_failure);
}

/* Shares that cannot be found may be those of an object that the collector has deleted meanwhile,
 * or is deleting: then nothing is lost. */
static void
record_after_failure(struct coord_req *q)
{
    struct entry *e = C2_CONTAINER_OF(q, struct entry, record);
    struct fs_object_record rec;
    bool known = q->err == C2_E_OK && q->entries[0].version != 0;
    bool gone = q->err == C2_E_OK && q->entries[0].version == 0;
    if (known && fs_object_rec_decode(q->entries[0].value, &rec) == C2_E_OK)
        gone = rec.state != 0 || rec.placed == 0;
    coord_req_done(q);
    if (gone)
        C2_MARK("repair: deleted while it was mended");
    turn_over(e, gone ? C2_E_OK : e->mend.err, gone);
}

static void
record_read(struct coord_req *q)
{
    struct entry *e = C2_CONTAINER_OF(q, struct entry, record);
    struct fs_object_record rec = { .ref = e->ref };
    enum c2_err err = q->err;
    bool gone = err == C2_E_OK && q->entries[0].version == 0;
    if (err == C2_E_OK && !gone)
        err = fs_object_rec_decode(q->entries[0].value, &rec);
    gone = gone || (err == C2_E_OK && (rec.state != 0 || rec.placed == 0));
    coord_req_done(q);
    if (err == C2_E_OK && e->r->stopped)
        err = C2_E_CANCELED;
    if (err != C2_E_OK || gone) {
        turn_over(e, err, gone);
        return;
    }
    e->state = MEND;
    e->placed = rec.placed;
    e->mend = (struct fs_mend){ .ds = e->r->fs->part.ds,
                                .kind = DS_KIND_OBJECT,
                                .ref = e->ref,
                                .placed = rec.placed,
                                .suspect = e->lost & rec.placed,
                                .done = mended };
    fs_mend_start(&e->mend);
}

static void
join_run(struct fs_repair_run *run, struct entry *e)
{
    e->in_run = true;
    e->run_id = run->id;
    run->running++;
}

static void
begin(struct fs_repair *r, struct entry *e)
{
    c2_list_remove(list_of(r, e), &e->link);
    c2_list_append(&r->running, &e->link);
    r->memory += memory_of(e);
    e->mend = (struct fs_mend){ 0 };
    if (r->run != NULL && !r->run->canceled)
        join_run(r->run, e);
    ask_record(e, record_read);
}

/* ---- turns ----------------------------------------------------------------------------------- */

static struct entry *
most_endangered(struct fs_repair *r)
{
    for (unsigned k = DS_SEATS_MAX + 1; k-- > 0;) {
        struct entry *e = C2_LIST_FIRST(&r->ready[k], struct entry, link);
        if (e != NULL)
            return e;
    }
    return NULL;
}

static bool
run_is_full(const struct fs_repair_run *run)
{
    return run->canceled || run->objects + run->running >= run->max;
}

static bool
may_begin(struct fs_repair *r, const struct entry *e)
{
    unsigned parallel = C2_MIN(C2_MAX(r->fs->conf.repair_parallel, 1u), REPAIR_PARALLEL_MAX);
    if (e == NULL || r->stopped || r->running.count >= parallel || c2_now_ns(r->env) < r->pace_ns)
        return false;
    if (r->places.n + r->running.count >= FS_PLACE_MAX)
        return false;
    if (r->run != NULL ? run_is_full(r->run) : !r->fs->conf.repair_auto)
        return false;
    return r->running.count == 0 || r->memory + memory_of(e) <= FS_REPAIR_MEMORY_MAX;
}

static void
pump(struct fs_repair *r)
{
    for (;;) {
        struct entry *e = most_endangered(r);
        if (!may_begin(r, e))
            break;
        begin(r, e);
    }
    arm(r);
    if (r->run == NULL || r->run->running > 0 ||
        (!run_is_full(r->run) && !r->stopped && most_endangered(r) != NULL))
        return;
    repair_places_flush(&r->places); /* a run ends when the records say what it did */
    if (r->stopped || r->run->canceled || !repair_places_busy(&r->places))
        end_run(r);
}

void
repair_placed(struct fs_repair *r)
{
    if (r->run != NULL)
        pump(r);
    else
        repair_places_flush(&r->places);
}

/* All of its shares are good, there are too few, and no seat would take one more: a provider has
 * been away since it was written. Whoever starts a run wants it to be tried all the same. */
static bool
waits_for_seat(const struct fs_repair *r, const struct entry *e)
{
    const struct ds_client *ds = r->fs->part.ds;
    unsigned first = 3 * ds_client_f(ds) + 1, seats = 32 - (unsigned)__builtin_clz(e->placed);
    if ((e->lost & e->placed) != 0)
        return false;
    for (unsigned i = 0; i < C2_MIN(C2_MAX(first, seats), ds_client_n(ds)); i++)
        if ((e->placed >> i & 1) == 0 && repair_seat_takes(r, i))
            return false;
    return true;
}

static void
due(struct c2_timer *t)
{
    struct fs_repair *r = C2_CONTAINER_OF(t, struct fs_repair, timer);
    uint64_t now = c2_now_ns(r->env);
    struct entry *e;
    while (r->fs->conf.repair_auto &&
           (e = C2_LIST_FIRST(&r->waiting, struct entry, link)) != NULL && e->due_ns <= now) {
        if (!waits_for_seat(r, e)) {
            make_ready(r, e);
            continue;
        }
        C2_MARK("repair: nobody would take the share that is missing");
        c2_list_remove(&r->waiting, &e->link);
        insert_waiting(r, e, now + REPAIR_RETRY_NS);
    }
    pump(r);
}

static void
run_task(struct c2_task *t)
{
    struct fs_repair_run *run = C2_CONTAINER_OF(t, struct fs_repair_run, task);
    struct fs_repair *r = run->repair;
    C2_LIST_FOREACH (&r->waiting, struct entry, e, link) {
        if (e->run_id != run->id && !run->canceled)
            make_ready(r, e);
    }
    C2_LIST_FOREACH (&r->running, struct entry, e, link) { /* their turn began before */
        if (e->run_id != run->id && !run->canceled)
            join_run(run, e);
    }
    pump(r);
}

void
fs_repair_run_start(struct fs *fs, struct fs_repair_run *run)
{
    struct fs_repair *r = fs->repair;
    C2_ASSERT(r->run == NULL && run->id != 0 && run->max > 0);
    run->objects = run->healthy = run->healed = run->shares = run->gone = run->running = 0;
    run->bytes = 0;
    run->last_error = C2_E_OK;
    run->canceled = false;
    r->run = run;
    run->task = (struct c2_task){ .run = run_task };
    run->repair = r;
    c2_defer(r->env, &run->task);
}

void
fs_repair_run_cancel(struct fs *fs, struct fs_repair_run *run)
{
    C2_ASSERT(fs->repair->run == run);
    run->canceled = true;
    c2_defer(fs->repair->env, &run->task);
}

/* ---- life ------------------------------------------------------------------------------------ */

void
fs_repair_stop(struct fs *fs)
{
    struct fs_repair *r = fs->repair;
    r->stopped = true;
    c2_timer_stop(r->env, &r->timer);
    c2_timer_stop(r->env, &r->places.timer);
    repair_log_stop(&r->log);
    if (r->run != NULL)
        c2_defer(r->env, &r->run->task);
    repair_places_flush(&r->places); /* the last one: what runs from now on rebuilds nothing */
    C2_LIST_FOREACH (&r->running, struct entry, e, link) {
        if (e->state == RECORD)
            coord_cancel(fs->part.coord, &e->record);
    }
}

bool
fs_repair_idle(const struct fs *fs)
{
    const struct fs_repair *r = fs->repair;
    const struct repair_places *p = &r->places;
    return c2_list_empty(&r->running) && !p->placing && !p->undoing && p->n == 0 &&
           r->run == NULL && !r->log.running;
}

struct fs_repair *
fs_repair_new(struct fs *fs)
{
    struct fs_repair *r = c2_calloc(1, sizeof(*r));
    r->fs = fs;
    r->env = fs->part.env;
    c2_map_init(&r->entries, fs->objects.seed);
    c2_list_init(&r->waiting);
    c2_list_init(&r->running);
    for (unsigned k = 0; k <= DS_SEATS_MAX; k++)
        c2_list_init(&r->ready[k]);
    r->timer.fire = due;
    repair_places_init(&r->places, r);
    repair_log_init(&r->log, r);
    return r;
}

void
fs_repair_free(struct fs_repair *r)
{
    if (r == NULL)
        return;
    C2_ASSERT(c2_list_empty(&r->running));
    struct c2_map_node *n = c2_map_take_all(&r->entries);
    while (n != NULL) {
        struct entry *e = C2_CONTAINER_OF(n, struct entry, node);
        n = n->next;
        c2_free(e);
    }
    c2_map_done(&r->entries);
    c2_free(r);
}

static unsigned
lacks(const struct fs_repair *r, const struct entry *e)
{
    unsigned goal = ds_client_goal_of(r->fs->part.ds, e->placed);
    unsigned good = bits(e->placed & ~e->lost), lost = bits(e->lost);
    return C2_MAX(lost, goal > good ? goal - good : 0);
}

void
fs_repair_status(const struct fs *fs, struct fs_repair_status *ret_status)
{
    const struct fs_repair *r = fs->repair;
    *ret_status = r->total;
    ret_status->objects = r->entries.count;
    ret_status->running = r->running.count;
    for (struct c2_map_node *n = c2_map_next(&r->entries, NULL); n != NULL;
         n = c2_map_next(&r->entries, n)) {
        const struct entry *e = C2_CONTAINER_OF(n, struct entry, node);
        ret_status->shares += lacks(r, e);
        ret_status->at_risk += bits(e->placed & ~e->lost) <= ds_client_f(r->fs->part.ds) + 1;
    }
}
