/* SPDX-License-Identifier: MIT */
/*
 * The life of a mount, see fs_mount.h: open the store, format it the first time, session, lock,
 * cache, providers, file system; and back in reverse order.
 */
#include "tests/sim/fs_mount.h"

#include "backends/registry.h"
#include "base/alloc.h"
#include "base/conf.h"
#include "fs/volume_impl.h"
#include "metadata/local.h"
#include "metadata/registry.h"
#include "tests/lib/test_env.h"
#include "tests/sim/disk.h"

#include <stdio.h>
#include <string.h>

#define SEATS       4
#define MAP_SIZE    (16u << 20)
#define UP_NS_MAX   (1800 * C2_NS_PER_S)
#define DOWN_NS_MAX (1800 * C2_NS_PER_S)
#define LOCK_NAME   "/mount"

static const uint8_t uuid[16] = { 0xc2, 0xf5 };

bool
sim_mount_wait(struct sim_mount *m, const bool *flag, uint64_t max_ns, const char *what)
{
    uint64_t end_ns = m->w->now_ns + max_ns;
    while (!*flag && !m->died) {
        SIM_CHECK(m->w, sim_step(m->w), "%s: nothing is pending, it would never happen", what);
        SIM_CHECK(m->w, m->w->now_ns <= end_ns, "%s: not within %llu virtual seconds", what,
                  (unsigned long long)(max_ns / C2_NS_PER_S));
    }
    return !m->died;
}

static void
set_flag(void *arg)
{
    *(bool *)arg = true;
}

/* ---- requests to the store ------------------------------------------------------------------- */

static void
coord_done(struct coord_req *r)
{
    C2_CONTAINER_OF(r, struct sim_mount, req)->flag = true;
}

bool
sim_mount_coord(struct sim_mount *m, struct coord_req *r)
{
    m->flag = false;
    r->deadline_ns = C2_NEVER;
    struct sim_life *before = sim_node_enter(m->node);
    m->req = *r;
    m->req.done = coord_done;
    coord_submit(m->coord, &m->req);
    sim_life_leave(before);
    if (!sim_mount_wait(m, &m->flag, UP_NS_MAX, "a request to the store"))
        return false;
    *r = m->req;
    return true;
}

/* ---- up -------------------------------------------------------------------------------------- */

static void
open_store(struct sim_mount *m)
{
    char *error = NULL;
    enum c2_err err = coord_local_open(sim_node_env(m->node), m->store, !m->formatted, MAP_SIZE,
                                       &m->coord, &error);
    SIM_CHECK(m->w, err == C2_E_OK, "the store cannot be opened: %s", error);
    m->keys = keys_new(m->volume_key, uuid);
}

static bool
open_session(struct sim_mount *m)
{
    struct coord_req r = { .verb = COORD_SESSION_OPEN, .ttl_ns = COORD_TTL_NS_MAX };
    if (!sim_mount_coord(m, &r))
        return false;
    SIM_CHECK(m->w, r.err == C2_E_OK, "no session: %s", c2_err_name(r.err));
    m->volume.session = r.session;
    coord_req_done(&r);
    struct coord_op op = { .kind = COORD_PUT_EPHEMERAL,
                           .key = ck_slice(&m->volume.fence_key),
                           .number = (int64_t)m->volume.session };
    r = (struct coord_req){ .verb = COORD_TXN, .ops = &op, .nops = 1 };
    if (!sim_mount_coord(m, &r))
        return false;
    SIM_CHECK(m->w, r.err == C2_E_OK, "no lock: %s", c2_err_name(r.err));
    m->volume.fence_token = r.version;
    coord_req_done(&r);
    uint64_t counter;
    sim_rng_fill(&m->rng, &counter, sizeof counter);
    keys_set_session(m->keys, m->volume.session);
    keys_set_counter(m->keys, counter >> 1);
    return true;
}

/* The first four clouds, a seat each. */
static void
seal_config(struct sim_mount *m, struct c2_buf *out)
{
    struct volume_config c = { .format_version = VOLUME_FORMAT_VERSION, .f = 1, .n = SEATS };
    struct c2_buf plain = { 0 };
    struct ck key = ck_letter('C');
    (void)snprintf(c.name, sizeof c.name, "sim");
    memcpy(c.uuid, uuid, sizeof c.uuid);
    c.config_epoch = 1;
    for (unsigned i = 0; i < SEATS; i++) {
        c.seats[i].state = VOLUME_SEAT_ACTIVE;
        (void)snprintf(c.seats[i].provider, PROV_NAME_MAX, "cloud%u", i);
        (void)snprintf(c.seats[i].url, PROV_KEY_MAX, "dir:/cloud%u", i);
    }
    volume_config_encode(&c, &plain);
    keys_seal(m->keys, ck_slice(&key), c2_buf_slice(&plain), out);
    c2_buf_done(&plain);
}

static bool
format(struct sim_mount *m)
{
    struct c2_buf backing = { 0 }, config = { 0 };
    struct coord_op ops[FS_FORMAT_OPS + 1];
    struct ck key = ck_letter('C');
    struct sim_life *before = sim_node_enter(m->node);
    c2_buf_reserve(&backing, 4096);
    fs_format_ops(m->keys, 1000, 1000, 0, &backing, ops);
    seal_config(m, &config);
    ops[FS_FORMAT_OPS] = (struct coord_op){ .kind = COORD_PUT,
                                            .key = ck_slice(&key),
                                            .value = c2_buf_slice(&config) };
    sim_life_leave(before);
    struct coord_req r = { .verb = COORD_TXN, .ops = ops, .nops = FS_FORMAT_OPS + 1 };
    if (!sim_mount_coord(m, &r))
        return false;
    SIM_CHECK(m->w, r.err == C2_E_OK, "format failed: %s", c2_err_name(r.err));
    coord_req_done(&r);
    c2_buf_done(&backing);
    c2_buf_done(&config);
    m->formatted = true;
    return true;
}

static bool
read_config(struct sim_mount *m)
{
    struct ck key = ck_letter('C');
    struct c2_slice slice = ck_slice(&key);
    struct coord_req r = { .verb = COORD_GET, .keys = &slice, .nkeys = 1 };
    struct c2_buf plain = { 0 };
    if (!sim_mount_coord(m, &r))
        return false;
    SIM_CHECK(m->w, r.err == C2_E_OK && r.entries[0].version != 0, "no configuration");
    struct sim_life *before = sim_node_enter(m->node);
    m->volume.config_version = r.entries[0].version;
    enum c2_err err = keys_open(m->keys, slice, r.entries[0].value, &plain);
    if (err == C2_E_OK)
        err = volume_config_decode(c2_buf_slice(&plain), &m->volume.config);
    c2_buf_done(&plain);
    sim_life_leave(before);
    SIM_CHECK(m->w, err == C2_E_OK, "the configuration is damaged: %s", c2_err_name(err));
    coord_req_done(&r);
    return true;
}

static struct sim_cloud *
cloud_named(const struct sim_mount *m, const char *name)
{
    for (unsigned i = 0; i < m->clouds->n; i++) {
        if (strcmp(m->clouds->cloud[i].name, name) == 0)
            return &m->clouds->cloud[i];
    }
    return NULL;
}

struct sim_cloud *
sim_mount_cloud(const struct sim_mount *m, unsigned seat)
{
    return cloud_named(m, m->volume.config.seats[seat].provider);
}

struct provider *
sim_mount_open_cloud(struct sim_mount *m, const char *name)
{
    const struct sim_cloud *cloud = cloud_named(m, name);
    C2_ASSERT(cloud != NULL);
    struct provider *p = sim_cloud_provider(m->clouds, cloud->index, m->node);
    if (m->stacked) {
        p = prov_limit_new(prov_stats_new(p), 8, 1000, 0);
        p = prov_retry_new(p, 3, 100 * C2_NS_PER_MS, 5 * C2_NS_PER_S);
    }
    return p;
}

static enum c2_err
open_section(void *arg, const char *name, struct provider **ret_provider, char **ret_error)
{
    (void)ret_error;
    *ret_provider = sim_mount_open_cloud(arg, name);
    return C2_E_OK;
}

static void
open_clouds(struct sim_mount *m)
{
    struct volume *v = &m->volume;
    c2_list_init(&v->changes_open);
    v->env = sim_node_env(m->node);
    v->conf = m->sections;
    v->coord = v->changes = m->coord;
    v->keys = m->keys;
    for (unsigned i = 0; i < v->config.n; i++) {
        enum volume_seat_state state = v->config.seats[i].state;
        if (state != VOLUME_SEAT_EMPTY && state != VOLUME_SEAT_OFFLINE)
            v->providers[i] = sim_mount_open_cloud(m, v->config.seats[i].provider);
    }
    m->ds_config.n = v->config.n;
    m->ds_config.voters = volume_config_voters(&v->config);
    m->ds_config.config_epoch = v->config.config_epoch;
    enum c2_err err = ds_client_new(v->env, &m->ds_config, v->providers, &m->ds);
    C2_ASSERT(err == C2_E_OK);
    v->ds = m->ds;
    for (unsigned i = 0; i < v->config.n; i++)
        volume_seat_use(v, i);
    struct cache_config c = { .dir = m->cache_on_disk ? "/data/cache" : NULL,
                              .disk_max = 4u << 20,
                              .memory_max = 2u << 20 };
    memset(c.key, 0x77, sizeof c.key);
    err = cache_new(sim_node_env(m->node), &c, &m->cache);
    C2_ASSERT(err == C2_E_OK);
}

static void
fs_opened(void *arg, enum c2_err err, struct fs *fs, char *error)
{
    struct sim_mount *m = arg;
    SIM_CHECK(m->w, err == C2_E_OK, "the file system cannot be opened: %s (%s)", c2_err_name(err),
              error);
    m->fs = fs;
    m->flag = true;
}

static bool
open_fs(struct sim_mount *m)
{
    struct fs_parts parts = { .env = sim_node_env(m->node),
                              .coord = m->coord,
                              .ds = m->ds,
                              .keys = m->keys,
                              .cache = m->cache,
                              .session = m->volume.session,
                              .fence_key = ck_slice(&m->volume.fence_key),
                              .fence_token = m->volume.fence_token,
                              .config_version = &m->volume.config_version,
                              .journal_dir = "/data/journal",
                              .journal_size = m->journal_size,
                              .journal_segment_size = m->journal_segment_size };
    memset(parts.journal_key, 0x33, sizeof parts.journal_key);
    memset(parts.device_id, 0x44, sizeof parts.device_id);
    m->report = (struct fs_open_report){ 0 };
    m->flag = false;
    struct sim_life *before = sim_node_enter(m->node);
    fs_open(&parts, &m->conf, fs_opened, m, &m->report);
    sim_life_leave(before);
    return sim_mount_wait(m, &m->flag, UP_NS_MAX, "opening the file system");
}

static void
jobs_opened(void *arg, enum c2_err err)
{
    struct sim_mount *m = arg;
    SIM_CHECK(m->w, err == C2_E_OK, "the jobs cannot be read: %s", c2_err_name(err));
    m->flag = true;
}

/* What changed providers before goes on. */
static bool
open_jobs(struct sim_mount *m)
{
    struct jobs_parts parts = { .env = sim_node_env(m->node),
                                .coord = m->coord,
                                .keys = m->keys,
                                .fence_key = ck_slice(&m->volume.fence_key),
                                .fence_token = m->volume.fence_token,
                                .session = m->volume.session };
    struct sim_life *before = sim_node_enter(m->node);
    m->kinds =
        (struct seat_jobs){ .volume = &m->volume, .fs = m->fs, .open = open_section, .arg = m };
    seat_jobs_init(&m->kinds);
    m->jobs = jobs_new(&parts);
    jobs_register(m->jobs, &m->kinds.replace);
    jobs_register(m->jobs, &m->kinds.drain);
    m->flag = false;
    jobs_open(m->jobs, jobs_opened, m);
    sim_life_leave(before);
    return sim_mount_wait(m, &m->flag, UP_NS_MAX, "reading the jobs");
}

bool
sim_mount_up(struct sim_mount *m)
{
    m->died = false;
    m->volume.fence_key = ck_session(LOCK_NAME);
    struct sim_life *before = sim_node_enter(m->node);
    open_store(m);
    sim_life_leave(before);
    if (!open_session(m) || (!m->formatted && !format(m)) || !read_config(m))
        return false;
    before = sim_node_enter(m->node);
    open_clouds(m);
    sim_life_leave(before);
    if (!open_fs(m) || !open_jobs(m))
        return false;
    SIM_CHECK(m->w, m->report.damaged_groups == 0, "the journal reports damage: %s",
              m->report.damage);
    sim_trace(m->w, m->node->name, "mounted: %llu groups, %llu bytes replayed",
              (unsigned long long)m->report.replayed_groups,
              (unsigned long long)m->report.replayed_bytes);
    m->up = true;
    return true;
}

/* ---- down ------------------------------------------------------------------------------------ */

bool
sim_mount_down(struct sim_mount *m)
{
    bool stopped = false, closed = false, cached = false, drained = false;
    struct sim_life *before = sim_node_enter(m->node);
    m->up = false;
    ds_client_quiesce(m->ds);
    jobs_stop(m->jobs, set_flag, &stopped);
    sim_life_leave(before);
    if (!sim_mount_wait(m, &stopped, DOWN_NS_MAX, "stopping the jobs"))
        return false;
    before = sim_node_enter(m->node);
    jobs_free(m->jobs);
    fs_close(m->fs, set_flag, &closed);
    sim_life_leave(before);
    if (!sim_mount_wait(m, &closed, DOWN_NS_MAX, "closing the file system"))
        return false;
    before = sim_node_enter(m->node);
    cache_drain(m->cache, set_flag, &cached);
    ds_client_drain(m->ds, set_flag, &drained);
    sim_life_leave(before);
    if (!sim_mount_wait(m, &cached, DOWN_NS_MAX, "draining the cache") ||
        !sim_mount_wait(m, &drained, DOWN_NS_MAX, "draining the client"))
        return false;
    before = sim_node_enter(m->node);
    cache_free(m->cache);
    ds_client_free(m->ds);
    for (unsigned i = 0; i < DS_SEATS_MAX; i++)
        prov_close(m->volume.providers[i]);
    for (size_t i = 0; i < m->volume.nretired; i++)
        prov_close(m->volume.retired[i]);
    c2_free(m->volume.retired);
    sim_life_leave(before);
    struct coord_req r = { .verb = COORD_SESSION_CLOSE, .session = m->volume.session };
    if (!sim_mount_coord(m, &r))
        return false;
    coord_req_done(&r);
    before = sim_node_enter(m->node);
    coord_close(m->coord);
    keys_free(m->keys);
    sim_life_leave(before);
    m->coord = NULL;
    m->volume = (struct volume){ 0 };
    /* What is still on its way: timers that were due, the last task of the store. */
    sim_run_for(m->w, C2_NS_PER_S);
    sim_node_quiet(m->node);
    return true;
}

/* The files of the store must be closed: the kernel would do it for a process that ends. */
static void
node_died(void *arg, struct sim_node *n)
{
    struct sim_mount *m = arg;
    struct sim_life *before = sim_node_enter(n);
    if (m->coord != NULL)
        coord_local_crash(m->coord);
    sim_life_leave(before);
    m->coord = NULL;
    m->fs = NULL;
    m->jobs = NULL;
    m->volume = (struct volume){ 0 };
    m->up = false;
    m->died = true;
}

static void
add_section(struct sim_mount *m, const struct sim_cloud *cloud)
{
    char url[32];
    (void)snprintf(url, sizeof url, "dir:/%s", cloud->name);
    enum c2_err err = c2_conf_set(m->sections, "provider", cloud->name, "url", url, "sim");
    C2_ASSERT(err == C2_E_OK);
}

struct sim_mount *
sim_mount_new(struct sim_world *w, struct sim_clouds *clouds, const char *dir)
{
    struct sim_mount *m = c2_calloc(1, sizeof *m);
    m->w = w;
    m->rng = sim_rng_fork(&w->rng, 5);
    m->clouds = clouds;
    m->disk = sim_disk_new(w);
    m->node = sim_node_new(w, "mount", m->disk);
    m->store = c2_asprintf("%s/store-%llu", dir, (unsigned long long)w->seed);
    test_disk_remove_tree(m->store);
    m->sections = c2_conf_new();
    for (unsigned i = 0; i < clouds->n; i++)
        add_section(m, &clouds->cloud[i]);
    sim_rng_fill(&m->rng, m->volume_key, sizeof m->volume_key);
    sim_clouds_attach(clouds, &m->clouds_hook, m->node);
    m->hook = (struct sim_hook){ .died = node_died, .arg = m };
    sim_node_hook(m->node, &m->hook);
    return m;
}

void
sim_mount_free(struct sim_mount *m)
{
    sim_node_free(m->node);
    sim_disk_free(m->disk);
    test_disk_remove_tree(m->store);
    c2_free(m->store);
    c2_conf_free(m->sections);
    c2_free(m);
}
