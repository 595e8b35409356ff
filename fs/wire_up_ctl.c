/* SPDX-License-Identifier: MIT */
/*
 * What the daemon does for c2fsctl.
 */
#include <string.h>
#include <unistd.h>

#include "backends/registry.h"
#include "base/alloc.h"
#include "base/conf.h"
#include "base/log.h"
#include "fs/repair.h"
#include "fs/deferred.h"
#include "fs/wire_up_impl.h"
#include "metadata/cluster.h"

#define PROGRESS_NS (500 * C2_NS_PER_MS)

static const struct c2_slice nothing;

/* ---- status ---------------------------------------------------------------------------------- */

static void
fill_provider(const struct wire *w, unsigned seat, struct ctl_provider *p)
{
    const struct volume *v = w->volume;
    const struct volume_seat *conf = &v->config.seats[seat];
    struct ds_seat_status s;
    ds_seat_status(v->ds, seat, &s);
    p->seat = seat;
    ctl_set(p->name, sizeof(p->name), conf->provider);
    ctl_set(p->state, sizeof(p->state), ds_seat_state_name(s.state));
    p->puts_ok = s.puts_ok;
    p->gets_ok = s.gets_ok;
    p->errors = s.errors;
    p->absent = s.absent;
    p->corrupt = s.corrupt;
    p->hedges = s.hedges;
    p->last_ok_age_ns = s.last_ok_ns == 0 ? UINT64_MAX : c2_now_ns(w->env) - s.last_ok_ns;
    if (s.last_error != C2_E_OK) {
        ctl_set(p->last_error, sizeof(p->last_error), c2_err_name(s.last_error));
        ctl_set(p->last_detail, sizeof(p->last_detail), s.last_detail);
    }
    if (conf->state != VOLUME_SEAT_ACTIVE)
        ctl_set(p->state, sizeof(p->state), volume_seat_state_name(conf->state));
    if (v->seat_errors[seat] != NULL) { /* it could not even be opened */
        ctl_set(p->state, sizeof(p->state), ds_seat_state_name(DS_SEAT_UNREACH));
        ctl_set(p->last_error, sizeof(p->last_error), c2_err_name(C2_E_CONFIG));
        ctl_set(p->last_detail, sizeof(p->last_detail), v->seat_errors[seat]);
    }
    if (s.stats != NULL) {
        p->p50_ns = s.stats->latency_p50_ns;
        p->p99_ns = s.stats->latency_p99_ns;
        p->bytes_up = s.stats->bytes_up;
        p->bytes_down = s.stats->bytes_down;
        for (unsigned verb = 0; verb < C2_MIN(PROV_VERB_COUNT, CTL_VERBS_MAX); verb++)
            p->requests[verb] = s.stats->requests[verb];
    }
}

static void
fill_volume(struct wire *w, struct ctl_status *s)
{
    const struct volume *v = w->volume;
    ctl_set(s->volume, sizeof(s->volume), w->volume_name);
    ctl_set(s->version, sizeof(s->version), C2_VERSION);
    ctl_set(s->mountpoint, sizeof(s->mountpoint), w->mountpoint);
    ctl_set(s->metadata, sizeof(s->metadata),
            c2_conf_str(w->conf, "volume", w->volume_name, "metadata"));
    s->pid = (uint64_t)getpid();
    s->uptime_ns = c2_now_ns(w->env) - w->started_ns;
    s->n = v->config.n;
    s->f = v->config.f;
    s->draining = w->state != WIRE_SERVING;
    s->fenced = v->is_lost;
    s->read_only = w->read_only;
    s->replayed_groups = w->report.replayed_groups;
    s->replayed_bytes = w->report.replayed_bytes;
    s->damaged_groups = w->report.damaged_groups;
    ctl_set(s->damage, sizeof(s->damage), w->report.damage);
    for (unsigned seat = 0; seat < v->config.n && seat < CTL_PROVIDERS_MAX; seat++)
        if (v->config.seats[seat].state != VOLUME_SEAT_EMPTY)
            fill_provider(w, seat, &s->providers[s->nproviders++]);
}

static void
fill_replicas(const struct wire *w, struct ctl_status *s)
{
    struct cluster_info i;
    if (!cluster_look(w->volume->coord, &i))
        return;
    s->replica_f = i.f;
    s->view = i.view;
    s->nreplicas = C2_MIN(i.n, CTL_REPLICAS_MAX);
    for (uint32_t k = 0; k < s->nreplicas; k++) {
        struct ctl_replica *r = &s->replicas[k];
        ctl_set(r->address, sizeof(r->address), i.replica[k].address);
        r->up = i.replica[k].up;
        if (!r->up && i.replica[k].error != C2_E_OK)
            ctl_set(r->last_error, sizeof(r->last_error), c2_err_name(i.replica[k].error));
    }
}

static void
fill_fs(struct wire *w, struct ctl_status *s)
{
    struct fs_status f;
    fs_status(w->fs, &f);
    s->backlog_files = f.backlog_files;
    s->backlog_bytes = f.backlog_bytes;
    s->backlog_oldest_ns = f.backlog_oldest_ns;
    s->journal_used = f.journal_used;
    s->journal_max = f.journal_max;
    s->txgs = f.txgs;
    s->txgs_committed = f.txgs_committed;
    s->objects_written = f.objects_written;
    s->object_bytes = f.object_bytes;
    s->stored_bytes = f.stored_bytes;
    s->used_bytes = f.used_bytes;
    s->used_files = f.used_files;
    s->write_buffer = f.chunk_bytes;
    s->fenced = s->fenced || f.fenced;
    wire_gc_status(&f.gc, s);
    s->compact_files = f.compact.files;
    s->compact_bytes = f.compact.bytes;
    s->lost_files = w->fs->lost.files;
    ctl_set(s->lost, sizeof(s->lost), w->fs->lost.text);
    s->deferred_files = fs_deferred_files(w->fs);
    fs_deferred_describe(w->fs, s->deferred);
    s->ships = f.ship.on;
    s->unshipped_txns = f.ship.unshipped_txns;
    s->unshipped_bytes = f.ship.unshipped_bytes;
    s->unshipped_oldest_ns = f.ship.unshipped_oldest_ns;
    s->checkpoint_version = f.ship.checkpoint_version;
    s->checkpoint_wall_ns = f.ship.checkpoint_wall_ns;
    struct fs_repair_status r;
    fs_repair_status(w->fs, &r);
    s->repair_objects = r.objects;
    s->repair_at_risk = r.at_risk;
    s->repair_running = r.running;
    s->shares_missing = r.shares;
    s->repairs_total = r.shares_total;
    s->repairs_failed = r.failures_total;
    enum c2_err last = f.last_error != C2_E_OK ? f.last_error : f.ship.last_error;
    if (last != C2_E_OK)
        ctl_set(s->last_error, sizeof(s->last_error), c2_err_name(last));
    if (f.journal_error != C2_E_OK)
        ctl_set(s->journal_error, sizeof(s->journal_error), c2_err_text(f.journal_error));
    struct cache_stats c;
    cache_stats(w->cache, &c);
    s->cache_memory = c.memory_bytes;
    s->cache_memory_max = c.memory_max;
    s->cache_disk = c.disk_bytes;
    s->cache_disk_max = c.disk_max;
}

void
wire_ctl_status(struct wire *w, struct ctl_status *ret_status)
{
    fill_volume(w, ret_status);
    fill_replicas(w, ret_status);
    fill_fs(w, ret_status);
    wire_jobs_status(w, ret_status);
}

static void
tell_status(struct wire *w, struct ctl_call *call)
{
    struct ctl_status *s = c2_calloc(1, sizeof(*s));
    struct c2_buf body = { 0 };
    wire_ctl_status(w, s);
    ctl_status_encode(s, &body);
    ctl_result(call, C2_E_OK, NULL, c2_buf_slice(&body));
    c2_buf_done(&body);
    c2_free(s);
}

/* A status that waits until the providers were looked at. */
struct status_wait {
    struct watch_ask ask;
    struct wire *w;
    struct ctl_call *call;
};

static void
watched(struct watch_ask *a)
{
    struct status_wait *s = C2_CONTAINER_OF(a, struct status_wait, ask);
    tell_status(s->w, s->call);
    c2_free(s);
}

static void
answer_status(struct wire *w, struct ctl_call *call, bool as_known)
{
    if (as_known || w->watch == NULL || watch_is_fresh(w->watch)) {
        tell_status(w, call);
        return;
    }
    struct status_wait *s = c2_calloc(1, sizeof(*s));
    s->w = w;
    s->call = call;
    s->ask.done = watched;
    watch_ask(w->watch, &s->ask);
}

static void
add_op(void *arg, const char *op, uint64_t count)
{
    struct c2_buf name = { 0 };
    c2_buf_printf(&name, "fuse.%s", op);
    ctl_counter_add(arg, c2_buf_cstr(&name), count);
    c2_buf_done(&name);
}

static void
answer_stats(struct wire *w, struct ctl_call *call)
{
    struct c2_buf body = { 0 };
    struct fs_status f;
    struct cache_stats c;
    struct journal_stats j;
    fs_status(w->fs, &f);
    cache_stats(w->cache, &c);
    journal_stats(w->fs->journal, &j);
    ctl_counter_add(&body, "metadata.transactions", w->volume->coord->txns);
    ctl_counter_add(&body, "metadata.reads", w->volume->coord->reads);
    ctl_counter_add(&body, "journal.appends", j.appends);
    ctl_counter_add(&body, "journal.syncs", j.syncs);
    ctl_counter_add(&body, "journal.bytes", j.bytes_written);
    ctl_counter_add(&body, "groups.created", f.txgs);
    ctl_counter_add(&body, "groups.committed", f.txgs_committed);
    ctl_counter_add(&body, "objects.written", f.objects_written);
    ctl_counter_add(&body, "objects.bytes", f.object_bytes);
    ctl_counter_add(&body, "objects.stored_bytes", f.stored_bytes);
    ctl_counter_add(&body, "gc.rounds", f.gc.rounds);
    ctl_counter_add(&body, "gc.deleted_objects", f.gc.deleted_objects);
    ctl_counter_add(&body, "gc.deleted_bytes", f.gc.deleted_bytes);
    ctl_counter_add(&body, "gc.orphans_deleted", f.gc.orphans_deleted);
    ctl_counter_add(&body, "compact.passes", f.compact.passes);
    ctl_counter_add(&body, "compact.files", f.compact.files);
    ctl_counter_add(&body, "compact.bytes", f.compact.bytes);
    ctl_counter_add(&body, "compact.skipped", f.compact.skipped);
    ctl_counter_add(&body, "cache.hits_memory", c.hits_memory);
    ctl_counter_add(&body, "cache.hits_disk", c.hits_disk);
    ctl_counter_add(&body, "cache.misses", c.misses);
    ctl_counter_add(&body, "cache.damaged", c.damaged);
    ctl_counter_add(&body, "inodes.cached", f.inodes_cached);
    ctl_counter_add(&body, "entries.cached", f.dentries_cached);
    mount_fuse_counts(w->mount, add_op, &body);
    ctl_result(call, C2_E_OK, NULL, c2_buf_slice(&body));
    c2_buf_done(&body);
}

/* ---- flush and stop -------------------------------------------------------------------------- */

static void
wait_end(struct wire_wait *k, enum c2_err err, const char *message)
{
    c2_timer_stop(k->w->env, &k->tick);
    c2_list_remove(&k->w->waiting, &k->link);
    ctl_result(k->call, err, message, nothing);
    c2_free(k);
}

static void
wait_synced(struct fs_sync *s)
{
    struct wire_wait *k = C2_CONTAINER_OF(s, struct wire_wait, sync);
    k->syncing = false;
    if (s->err == C2_E_CANCELED)
        wait_end(k, C2_E_TIMEOUT, "not everything is in the clouds yet");
    else
        wait_end(k, s->err, s->err == C2_E_OK ? NULL : c2_err_text(s->err));
}

static void
wait_tick(struct c2_timer *t)
{
    struct wire_wait *k = C2_CONTAINER_OF(t, struct wire_wait, tick);
    struct fs_status s;
    uint64_t now = c2_now_ns(k->w->env);
    fs_status(k->w->fs, &s);
    ctl_progress(k->call, s.backlog_files, s.backlog_bytes);
    c2_timer_arm(k->w->env, &k->tick, now + PROGRESS_NS);
    if (k->syncing && !k->canceled && now >= k->deadline_ns) {
        k->canceled = true;
        fs_sync_cancel(k->w->fs, &k->sync); /* may end k at once */
    }
}

static struct wire_wait *
wait_new(struct wire *w, struct ctl_call *call, uint64_t timeout_ns)
{
    struct wire_wait *k = c2_calloc(1, sizeof(*k));
    uint64_t now = c2_now_ns(w->env);
    k->w = w;
    k->call = call;
    k->deadline_ns = timeout_ns == 0 || timeout_ns > C2_NEVER - now ? C2_NEVER : now + timeout_ns;
    k->tick.fire = wait_tick;
    c2_list_append(&w->waiting, &k->link);
    c2_timer_arm(w->env, &k->tick, now + PROGRESS_NS);
    return k;
}

static void
start_flush(struct wire *w, struct ctl_call *call, uint64_t timeout_ns)
{
    if (w->synced) {
        ctl_result(call, C2_E_NOT_MOUNTED, "the mount is ending", nothing);
        return;
    }
    struct wire_wait *k = wait_new(w, call, timeout_ns);
    k->syncing = true;
    k->sync.done = wait_synced;
    fs_sync_start(w->fs, &k->sync);
}

static void
start_stop(struct wire *w, struct ctl_call *call, uint64_t timeout_ns)
{
    struct wire_wait *k = wait_new(w, call, 0);
    k->stop = true;
    wire_begin_stop(w, timeout_ns);
}

bool
wire_ctl_cancel(struct wire *w)
{
    bool none = true;
    C2_LIST_FOREACH (&w->waiting, struct wire_wait, k, link) {
        none = none && !k->syncing;
        if (k->syncing && !k->canceled) {
            k->canceled = true;
            fs_sync_cancel(w->fs, &k->sync);
        }
    }
    return none;
}

void
wire_ctl_finish(struct wire *w)
{
    struct wire_wait *k;
    while ((k = C2_LIST_FIRST(&w->waiting, struct wire_wait, link)) != NULL) {
        C2_ASSERT(k->stop && !k->syncing);
        if (w->left_behind)
            wait_end(k, C2_E_TIMEOUT, "what is not in the clouds stays in the journal");
        else
            wait_end(k, C2_E_OK, NULL);
    }
}

/* ---- small ones ------------------------------------------------------------------------------ */

static char *
text_of(struct c2_slice s)
{
    return c2_strndup((const char *)s.data, s.len);
}

/* Sets faults, unless it only asks; tells how many there were of each kind. */
static void
set_fault(struct wire *w, struct ctl_call *call, const struct ctl_request *q)
{
    char *name = text_of(q->text), *spec = text_of(q->text2), *error = NULL;
    struct c2_buf counts = { 0 };
    enum c2_err err = C2_E_NOT_FOUND;
    const char *message = "the volume has no such provider", *kind;
    for (unsigned seat = 0; seat < DS_SEATS_MAX; seat++) {
        struct provider *p = w->volume->providers[seat];
        if (p == NULL || strcmp(w->volume->config.seats[seat].provider, name) != 0)
            continue;
        err = q->number == CTL_FAULT_ASK ? C2_E_OK : prov_fault_check(spec, &error);
        if (err == C2_E_OK && q->number != CTL_FAULT_ASK)
            err = prov_fault_set(p, spec);
        message = error;
        if (err == C2_E_UNSUPPORTED)
            message = "its section has no key `fault`; add \"fault =\" and mount again";
        for (size_t i = 0; (kind = prov_fault_kind(i)) != NULL; i++)
            ctl_counter_add(&counts, kind, prov_fault_count_kind(p, kind));
    }
    ctl_result(call, err, message, err == C2_E_OK ? c2_buf_slice(&counts) : nothing);
    c2_buf_done(&counts);
    c2_free(name);
    c2_free(spec);
    c2_free(error);
}

static const char *
level_name(enum c2_log_level level)
{
    static const char *const names[] = { "error", "warn", "info", "debug", "trace" };
    return names[level];
}

static void
set_log_level(struct ctl_call *call, const struct ctl_request *q)
{
    char *text = text_of(q->text);
    enum c2_log_level level;
    const char *before = level_name(c2_log_get_level());
    enum c2_err err = C2_E_OK;
    if (text[0] != '\0') { /* nothing: only ask */
        err = c2_log_level_parse(text, &level);
        if (err == C2_E_OK)
            c2_log_set_level(level);
    }
    ctl_result(call, err, err == C2_E_OK ? NULL : "levels are error, warn, info, debug, trace",
               c2_slice_str(before));
    c2_free(text);
}

void
wire_ctl_request(void *arg, struct ctl_call *c, const struct ctl_request *q)
{
    struct wire *w = arg;
    switch (q->verb) {
    case CTL_STATUS:
        answer_status(w, c, q->number == 1);
        break;
    case CTL_FLUSH:
        start_flush(w, c, q->number);
        break;
    case CTL_STOP:
        start_stop(w, c, q->number);
        break;
    case CTL_STATS:
        answer_stats(w, c);
        break;
    case CTL_PROVIDER_FAULT:
        set_fault(w, c, q);
        break;
    case CTL_CACHE_CLEAR:
        cache_clear(w->cache);
        ctl_result(c, C2_E_OK, NULL, nothing);
        break;
    case CTL_LOG_LEVEL:
        set_log_level(c, q);
        break;
    case CTL_GC:
        wire_gc_request(w, c, q);
        break;
    case CTL_FSCK:
        wire_fsck_request(w, c, q);
        break;
    case CTL_VERIFY:
        wire_verify_request(w, c, q);
        break;
    case CTL_JOB_START:
    case CTL_JOB_CONTROL:
    case CTL_JOB_LIST:
        wire_jobs_request(w, c, q);
        break;
    case CTL_EVIDENCE:
        wire_evidence_request(w, c);
        break;
    case CTL_USAGE:
        wire_usage_request(w, c);
        break;
    case CTL_SCRUB_REPORT:
    case CTL_SCRUB_ESTIMATE:
        wire_scrub_request(w, c, q);
        break;
    case CTL_PROVIDER_CHANGE:
    case CTL_PROVIDER_PLAN:
        wire_providers_request(w, c, q);
        break;
    }
}
