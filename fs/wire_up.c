/* SPDX-License-Identifier: MIT */
#include "fs/wire_up.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/conf.h"
#include "base/log.h"
#include "base/os_tty.h"
#include "base/str.h"
#include "fs/wire_up_impl.h"

#define CACHE_MEMORY_MIN (64ull << 20)
#define GC_ORPHAN_NS     (24 * 3600 * C2_NS_PER_S)
#define JOURNAL_DELAY_NS (5 * C2_NS_PER_S)
#define GC_ORPHAN_NS     (24 * 3600 * C2_NS_PER_S)
#define TICK_NS          (100 * C2_NS_PER_MS)
#define HOST_MAX         64
#define LOG_EVERY_NS     (10 * C2_NS_PER_S)
#define LAST_REQUESTS_NS (5 * C2_NS_PER_S) /* for what the kernel asked before it left */

/* ---- configuration --------------------------------------------------------------------------- */

static const char *
conf_str(const struct wire *w, const char *key)
{
    return c2_conf_str(w->conf, "volume", w->volume_name, key);
}

static uint64_t
conf_u64(const struct wire *w, const char *key)
{
    return c2_conf_u64(w->conf, "volume", w->volume_name, key);
}

static struct fs_config
fs_settings(const struct wire *w)
{
    struct fs_config c = { 0 };
    c.close_sync = strcmp(conf_str(w, "close"), "sync") == 0;
    c.fsync_cloud = strcmp(conf_str(w, "fsync"), "cloud") == 0;
    c.write_buffer = conf_u64(w, "write_buffer");
    c.upload_parallel = (unsigned)conf_u64(w, "upload_parallel");
    c.readahead = conf_u64(w, "readahead");
    c.pack_size = conf_u64(w, "pack_size");
    c.pack_delay_ns = conf_u64(w, "pack_delay");
    c.journal_delay_ns = JOURNAL_DELAY_NS;
    c.log_interval_ns = conf_u64(w, "log_interval");
    c.repair_auto = strcmp(conf_str(w, "repair"), "auto") == 0 && !w->read_only;
    c.repair_delay_ns = conf_u64(w, "repair_delay");
    c.repair_parallel = (unsigned)conf_u64(w, "repair_parallel");
    c.repair_rate = conf_u64(w, "repair_bandwidth");
    c.checkpoint_bytes = conf_u64(w, "checkpoint_bytes");
    c.checkpoint_interval_ns = conf_u64(w, "checkpoint_interval");
    c.gc = !w->read_only && c2_conf_bool(w->conf, "volume", w->volume_name, "gc");
    c.gc_retention_ns = conf_u64(w, "gc_retention");
    c.gc_interval_ns = conf_u64(w, "gc_interval");
    c.gc_rate = (unsigned)conf_u64(w, "gc_rate");
    c.compact = !w->read_only && c2_conf_bool(w->conf, "volume", w->volume_name, "compact");
    c.compact_rate = conf_u64(w, "compact_rate");
    c.gc_orphan_ns = GC_ORPHAN_NS;
    return c;
}

/* ---- opening --------------------------------------------------------------------------------- */

static void
volume_opened(struct volume_open *o)
{
    struct wire *w = o->priv;
    w->flag = true;
}

static void
volume_lost(struct volume *v, void *arg)
{
    struct wire *w = arg;
    c2_log(ERROR, "mount", "volume=%s %s, the mount is read-only now", w->volume_name,
           v->is_taken ? "another mount has the volume" : "the lock was taken away");
    if (w->fs != NULL)
        fs_fence(w->fs);
}

static C2_RESULT
open_volume(struct wire *w, char **ret_error)
{
    char host[HOST_MAX + 1] = "";
    if (gethostname(host, HOST_MAX) != 0)
        host[0] = '\0';
    char *holder = c2_asprintf("%s on %s, process %ld", w->mountpoint, host, (long)getpid());
    struct volume_open o = { .env = w->env,
                             .os = w->os,
                             .conf = w->conf,
                             .volume = w->volume_name,
                             .holder = holder,
                             .ask = c2_os_has_tty() ? c2_os_ask_secret : NULL,
                             .done = volume_opened,
                             .priv = w };
    w->flag = false;
    volume_open_start(&o);
    c2_os_run_until(w->os, &w->flag);
    c2_free(holder);
    if (o.volume_out == NULL) {
        bool hint = o.error.hint[0] != '\0';
        *ret_error = c2_asprintf("%s%s%s", o.error.text, hint ? "\nhint: " : "", o.error.hint);
        return o.error.err;
    }
    w->volume = o.volume_out;
    w->volume->lost = volume_lost;
    w->volume->lost_arg = w;
    return C2_E_OK;
}

static C2_RESULT
open_cache(struct wire *w, char **ret_error)
{
    char *dir = c2_asprintf("%s/cache", w->cache_dir);
    struct cache_config c = { .dir = dir,
                              .disk_max = conf_u64(w, "cache_size"),
                              .memory_max =
                                  C2_MAX(CACHE_MEMORY_MIN, 2 * conf_u64(w, "readahead")) };
    volume_device_key(w->volume, "cache", c.key);
    enum c2_err err = cache_new(w->env, &c, &w->cache);
    c2_wipe(c.key, sizeof(c.key));
    if (err != C2_E_OK)
        *ret_error = c2_asprintf("the cache folder %s cannot be used: %s", dir, c2_err_text(err));
    c2_free(dir);
    return err;
}

static void
fs_opened(void *arg, enum c2_err err, struct fs *fs, char *error)
{
    struct wire *w = arg;
    w->err = err;
    w->fs = fs;
    w->error = error;
    w->flag = true;
}

static C2_RESULT
open_fs(struct wire *w, char **ret_error)
{
    char *journal = c2_asprintf("%s/journal", w->cache_dir);
    struct fs_config config = fs_settings(w);
    struct fs_parts parts = { .env = w->env,
                              .coord = w->volume->changes,
                              .store = w->volume->coord,
                              .ds = w->volume->ds,
                              .keys = w->volume->keys,
                              .cache = w->cache,
                              .session = w->volume->session,
                              .fence_key = ck_slice(&w->volume->fence_key),
                              .fence_token = w->volume->fence_token,
                              .config_version = &w->volume->config_version,
                              .journal_dir = journal,
                              .journal_size = conf_u64(w, "journal_size") };
    if (strncmp(conf_str(w, "metadata"), "local:", 6) == 0) {
        parts.device_secret = w->volume->device_secret;
        parts.keyless = w->volume->config.keyless;
        parts.state_dir = w->cache_dir;
        memcpy(parts.uuid, w->volume->config.uuid, sizeof(parts.uuid));
    }
    memcpy(parts.device_id, w->volume->device_id, sizeof(parts.device_id));
    volume_device_key(w->volume, "journal", parts.journal_key);
    w->flag = false;
    fs_open(&parts, &config, fs_opened, w, &w->report);
    c2_os_run_until(w->os, &w->flag);
    c2_wipe(parts.journal_key, sizeof(parts.journal_key));
    c2_free(journal);
    *ret_error = w->error;
    w->error = NULL;
    return w->err;
}

static void
log_report(const struct wire *w)
{
    const struct fs_open_report *r = &w->report;
    if (r->replayed_groups > 0)
        c2_log(INFO, "mount", "groups=%llu bytes=%llu replayed from the journal",
               (unsigned long long)r->replayed_groups, (unsigned long long)r->replayed_bytes);
    if (r->damaged_groups > 0)
        c2_log(ERROR, "mount", "groups=%llu of the journal are damaged and lost: %s",
               (unsigned long long)r->damaged_groups, r->damage);
}

C2_RESULT
wire_open(const struct wire_config *config, struct wire **ret_wire, char **ret_error)
{
    struct wire *w = c2_calloc(1, sizeof(*w));
    w->os = config->os;
    w->env = c2_os_env(config->os);
    w->conf = config->conf;
    w->volume_name = c2_strdup(config->volume);
    w->mountpoint = c2_strdup(config->mountpoint);
    w->kernel_options = c2_strdup(config->kernel_options);
    w->cache_dir = c2_strdup(conf_str(w, "cache_dir"));
    w->read_only = config->read_only;
    w->reload = config->reload;
    w->reload_arg = config->reload_arg;
    w->debug = config->debug;
    w->started_ns = c2_now_ns(w->env);
    c2_list_init(&w->waiting);
    c2_list_init(&w->gcs);
    c2_list_init(&w->verifies);
    c2_list_init(&w->estimates);
    *ret_wire = w;
    C2_TRY(open_volume(w, ret_error));
    C2_TRY(open_cache(w, ret_error));
    C2_TRY(open_fs(w, ret_error));
    log_report(w);
    return C2_E_OK;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void close_all(struct wire *w);

static void
arm_tick(struct wire *w)
{
    c2_timer_arm(w->env, &w->tick, c2_now_ns(w->env) + TICK_NS);
}

static void
log_backlog(struct wire *w, const char *what)
{
    struct fs_status s;
    char size[C2_SIZE_TEXT_MAX];
    fs_status(w->fs, &s);
    w->logged_ns = c2_now_ns(w->env);
    if (s.backlog_files > 0 || s.backlog_bytes > 0)
        c2_log(INFO, "mount", "files=%llu bytes=\"%s\" %s", (unsigned long long)s.backlog_files,
               c2_size_format(s.backlog_bytes, size), what);
}

static void
synced(struct fs_sync *s)
{
    struct wire *w = C2_CONTAINER_OF(s, struct wire, sync);
    w->syncing = false;
    if (s->err != C2_E_OK)
        c2_log(WARN, "mount", "err=%s not everything reached the clouds", c2_err_name(s->err));
    if (w->state == WIRE_CLOSING) {
        w->synced = true;
        w->left_behind = s->err != C2_E_OK;
    } else {
        C2_ASSERT(w->state == WIRE_DRAINING);
        w->state = WIRE_UNMOUNTING;
        mount_fuse_unmount(w->mount); /* nothing happens when it is gone already */
    }
}

static void
start_sync(struct wire *w)
{
    C2_ASSERT(!w->syncing);
    w->syncing = true;
    w->sync = (struct fs_sync){ .done = synced };
    log_backlog(w, "are not in the clouds yet, waiting");
    fs_sync_start(w->fs, &w->sync);
    if (w->hurry)
        fs_sync_cancel(w->fs, &w->sync);
}

static void
begin_end(struct wire *w, enum wire_state state, uint64_t timeout_ns)
{
    w->state = state;
    if (w->drain_deadline_ns == 0)
        w->drain_deadline_ns = c2_now_ns(w->env) + timeout_ns;
    wire_jobs_stop(w);
    (void)wire_fsck_ended(w); /* the last commits must not wait for it */
    arm_tick(w);
}

void
wire_begin_stop(struct wire *w, uint64_t timeout_ns)
{
    if (w->state != WIRE_SERVING)
        return;
    begin_end(w, WIRE_DRAINING, timeout_ns != 0 ? timeout_ns : conf_u64(w, "umount_timeout"));
    start_sync(w);
}

bool
wire_stop(struct wire *w)
{
    if (w->mount == NULL)
        return w->state == WIRE_DONE; /* closing already */
    if (w->state == WIRE_SERVING) {
        wire_begin_stop(w, 0);
        return true;
    }
    c2_log(WARN, "mount", "stopped again: what is left stays in the journal");
    w->hurry = true;
    w->drain_deadline_ns = c2_now_ns(w->env);
    if (w->syncing)
        fs_sync_cancel(w->fs, &w->sync);
    return true;
}

static void
mount_ended(void *arg)
{
    struct wire *w = arg;
    w->ended = true;
    w->flag = true;
    if (w->mount == NULL)
        return; /* it was never there */
    c2_log(INFO, "mount", "volume=%s unmounted", w->volume_name);
    mount_fuse_release(w->mount);
    if (w->state == WIRE_SERVING)
        begin_end(w, WIRE_UNMOUNTING, conf_u64(w, "umount_timeout"));
}

/* A request that never ends keeps everything it may touch: only the end of the process helps, and
 * that is as safe as a crash. */
static void
abandon_requests(struct wire *w)
{
    c2_log(ERROR, "mount", "requests=%zu do not end, giving up; the journal keeps their data",
           mount_fuse_pending(w->mount));
    w->abandoned = true;
    w->left_behind = true;
    w->done = true;
}

/* Everything is told at once to end. */
static bool
all_ended(struct wire *w)
{
    bool asked = wire_ctl_cancel(w), gcs = wire_gc_ended(w), fscks = wire_fsck_ended(w),
         verifies = wire_verify_ended(w);
    if (!w->volume->ending) { /* until now the commits had use for what is asked */
        volume_changes_end(w->volume);
        fs_loads_end(w->fs);
    }
    return asked && gcs && fscks && verifies && wire_jobs_ended(w);
}

static void
tick(struct c2_timer *t)
{
    struct wire *w = C2_CONTAINER_OF(t, struct wire, tick);
    uint64_t now = c2_now_ns(w->env);
    bool late = now >= w->drain_deadline_ns;
    size_t pending = mount_fuse_pending(w->mount);
    if (w->state == WIRE_UNMOUNTING && w->ended && pending == 0) {
        w->state = WIRE_CLOSING;
        start_sync(w);
    } else if (w->state == WIRE_UNMOUNTING && pending > 0 &&
               now >= w->drain_deadline_ns + LAST_REQUESTS_NS) {
        abandon_requests(w);
        return;
    } else if (w->syncing && late) {
        fs_sync_cancel(w->fs, &w->sync);
    } else if (w->syncing && now - w->logged_ns >= LOG_EVERY_NS) {
        log_backlog(w, "are not in the clouds yet, still waiting");
    }
    if (w->synced && all_ended(w))
        close_all(w);
    else
        arm_tick(w);
}

static void
volume_closed(void *arg)
{
    struct wire *w = arg;
    w->volume = NULL;
    w->done = true;
}

static void
usage_ended(void *arg)
{
    struct wire *w = arg;
    volume_close(w->volume, volume_closed, w);
}

static void
ds_drained(void *arg)
{
    struct wire *w = arg;
    watch_free(w->watch);
    w->watch = NULL;
    wire_usage_end(w, usage_ended, w);
}

static void
cache_drained(void *arg)
{
    struct wire *w = arg;
    cache_free(w->cache);
    w->cache = NULL;
    ds_client_drain(w->volume->ds, ds_drained, w);
}

static void
fs_closed(void *arg)
{
    struct wire *w = arg;
    w->fs = NULL;
    if (w->cache != NULL)
        cache_drain(w->cache, cache_drained, w);
    else
        ds_client_drain(w->volume->ds, ds_drained, w);
}

static void
stop_serving(struct wire *w)
{
    c2_os_metrics_close(w->metrics);
    w->metrics = NULL;
    ctl_free(w->ctl);
    w->ctl = NULL;
}

static void
close_all(struct wire *w)
{
    w->state = WIRE_DONE;
    if (w->left_behind)
        log_backlog(w, "stay in the journal and are uploaded after the next mount");
    watch_stop(w->watch);
    wire_ctl_finish(w);
    stop_serving(w);
    mount_fuse_free(w->mount);
    w->mount = NULL;
    fs_close(w->fs, fs_closed, w);
}

/* ---- mounting and running -------------------------------------------------------------------- */

static void
mount_ready(void *arg)
{
    struct wire *w = arg;
    w->flag = true;
}

C2_RESULT
wire_mount(struct wire *w, char **ret_error)
{
    const struct ctl_handler handler = { .arg = w, .request = wire_ctl_request };
    const struct mount_fuse_events events = { .arg = w,
                                              .ready = mount_ready,
                                              .ended = mount_ended };
    char *source = c2_asprintf("c2fs:%s", w->volume_name);
    const struct mount_fuse_config config = {
        .source = source,
        .mountpoint = w->mountpoint,
        .options = w->kernel_options,
        .allow_other = c2_conf_bool(w->conf, "volume", w->volume_name, "allow_other"),
        .writeback_cache = c2_conf_bool(w->conf, "volume", w->volume_name, "writeback_cache"),
        .debug = w->debug,
        .attr_timeout_ns = conf_u64(w, "attr_timeout"),
        .entry_timeout_ns = conf_u64(w, "entry_timeout"),
    };
    w->tick.fire = tick;
    w->flag = false;
    enum c2_err err = ctl_new(w->os, w->cache_dir, &handler, &w->ctl, ret_error);
    if (err == C2_E_OK)
        err = wire_metrics_start(w, ret_error);
    if (err == C2_E_OK)
        err = mount_fuse_new(w->os, w->fs, &config, &events, &w->mount, ret_error);
    c2_free(source);
    C2_TRY(err);
    c2_os_run_until(w->os, &w->flag);
    if (w->ended) {
        *ret_error = c2_asprintf("%s was unmounted at once", w->mountpoint);
        return C2_E_IO;
    }
    w->watch = watch_new(w->env, w->volume->ds, w->fs);
    wire_jobs_start(w);
    wire_usage_start(w);
    if (w->state != WIRE_SERVING) /* it was told to end before the kernel had asked anything */
        wire_jobs_stop(w);
    c2_log(INFO, "mount", "volume=%s mountpoint=%s version=%s mounted", w->volume_name,
           w->mountpoint, C2_VERSION);
    return C2_E_OK;
}

C2_RESULT
wire_run(struct wire *w, bool *ret_abandoned)
{
    c2_os_run_until(w->os, &w->done);
    *ret_abandoned = w->abandoned;
    return w->left_behind ? C2_E_TIMEOUT : C2_E_OK;
}

/* After a start that failed: closes what was reached. The journal keeps what is not uploaded. */
static void
abandon_start(struct wire *w)
{
    if (w->volume == NULL || w->done)
        return;
    if (w->mount != NULL) {
        wire_begin_stop(w, 1);
    } else {
        stop_serving(w);
        if (w->fs != NULL)
            fs_close(w->fs, fs_closed, w);
        else
            fs_closed(w);
    }
    c2_os_run_until(w->os, &w->done);
}

void
wire_free(struct wire *w)
{
    if (w == NULL)
        return;
    C2_ASSERT(!w->abandoned);
    abandon_start(w);
    c2_free(w->volume_name);
    c2_free(w->mountpoint);
    c2_free(w->kernel_options);
    c2_free(w->cache_dir);
    c2_free(w->error);
    for (size_t k = 0; k < w->nconfs; k++)
        c2_conf_free(w->confs[k]);
    c2_free(w->confs);
    c2_free(w);
}
