/* SPDX-License-Identifier: MIT */
#include "tests/lib/fs_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "backends/mem.h"
#include "backends/registry.h"
#include "base/alloc.h"
#include "fs/coord_keys.h"
#include "fs/txg.h"
#include "metadata/registry.h"

#define DEADLINE_NS (600 * C2_NS_PER_S)

const uint8_t fsx_volume_key[C2_KEY_LEN] = { 1, 2, 3 };
const uint8_t fsx_uuid[16] = { 9 };

/* ---- coordination --------------------------------------------------------------------------- */

struct call {
    struct coord_req r;
    bool done;
};

static void
call_done(struct coord_req *r)
{
    C2_CONTAINER_OF(r, struct call, r)->done = true;
}

static void
call(struct fsx *x, struct call *c)
{
    c->r.deadline_ns = C2_NEVER;
    c->r.done = call_done;
    coord_submit(x->coord, &c->r);
    test_env_run_until(x->t, &c->done);
    assert_int_equal(c->r.err, C2_E_OK);
}

void
fsx_txn(struct fsx *x, const struct coord_op *ops, size_t nops)
{
    struct call t = { .r = { .verb = COORD_TXN, .ops = ops, .nops = nops } };
    call(x, &t);
    coord_req_done(&t.r);
}

static void
open_store(struct fsx *x, bool create)
{
    char *url = c2_asprintf("local:%s/meta", x->home);
    char *error = NULL;
    enum c2_err err = coord_open(x->env, url, create, &x->coord, &error);
    if (err != C2_E_OK)
        fail_msg("coord_open: %s", error);
    c2_free(url);
}

/* A session of this mount and the lock that fences it. */
static void
take_lock(struct fsx *x)
{
    struct call s = { .r = { .verb = COORD_SESSION_OPEN, .ttl_ns = COORD_TTL_NS_MAX } };
    call(x, &s);
    x->session = s.r.session;
    coord_req_done(&s.r);
    struct ck key = ck_session("mount");
    struct coord_op op = { .kind = COORD_PUT_EPHEMERAL,
                           .key = ck_slice(&key),
                           .value = c2_slice("x", 1),
                           .number = (int64_t)x->session };
    struct call t = { .r = { .verb = COORD_TXN, .ops = &op, .nops = 1 } };
    call(x, &t);
    x->token = t.r.version;
    coord_req_done(&t.r);
    keys_free(x->keys);
    x->keys = keys_new(fsx_volume_key, fsx_uuid);
    keys_set_session(x->keys, x->session);
}

static void
format(struct fsx *x)
{
    struct coord_op ops[FS_FORMAT_OPS];
    struct c2_buf backing = { 0 };
    c2_buf_reserve(&backing, 4096);
    take_lock(x);
    fs_format_ops(x->keys, 0, 0, 0, &backing, ops);
    struct call t = { .r = { .verb = COORD_TXN, .ops = ops, .nops = FS_FORMAT_OPS } };
    call(x, &t);
    coord_req_done(&t.r);
    c2_buf_done(&backing);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void
init_machine(struct fsx *x, uint8_t device)
{
    uint8_t seed[32] = { device }, public_key[C2_ED25519_PUBLIC_LEN];
    c2_ed25519_keypair(seed, x->device_secret, public_key);
    memset(x->device_id, device, sizeof(x->device_id));
    x->journal_dir = c2_asprintf("%s/journal", x->home);
}

static void
wrap_seats(struct fsx *x)
{
    for (unsigned s = 0; s < FSX_SEATS; s++)
        assert_int_equal(prov_fault_new(x->mem[s], "", s, &x->seat[s]), C2_E_OK);
}

void
fsx_init(struct fsx *x)
{
    *x = (struct fsx){ .journal_size = 1ull << 30 };
    x->t = test_env_new(1);
    x->env = test_env_env(x->t);
    x->home = c2_strdup(test_env_dir(x->t));
    x->config = (struct fs_config){ .write_buffer = 64u << 20,
                                    .upload_parallel = 4,
                                    .readahead = 32u << 20,
                                    .pack_size = 8u << 20,
                                    .pack_delay_ns = 2 * C2_NS_PER_S,
                                    .journal_delay_ns = 5 * C2_NS_PER_S,
                                    .log_interval_ns = 5 * C2_NS_PER_S,
                                    .checkpoint_bytes = 64u << 20,
                                    .checkpoint_interval_ns = 300 * C2_NS_PER_S,
                                    .gc_retention_ns = 24 * 3600 * C2_NS_PER_S,
                                    .gc_interval_ns = 3600 * C2_NS_PER_S,
                                    .gc_rate = 1000,
                                    .compact_rate = 8u << 20,
                                    .gc_orphan_ns = 24 * 3600 * C2_NS_PER_S };
    for (unsigned s = 0; s < FSX_SEATS; s++) {
        char name[] = "p0";
        name[1] = (char)('0' + s);
        x->mem[s] = prov_mem_new(x->env, name);
    }
    wrap_seats(x);
    init_machine(x, 1);
    open_store(x, true);
    format(x);
    coord_close(x->coord);
    x->coord = NULL;
}

void
fsx_init_second(struct fsx *y, struct fsx *x)
{
    *y = (struct fsx){ .journal_size = 1ull << 30,
                       .t = x->t,
                       .env = x->env,
                       .config = x->config,
                       .ship = true,
                       .second = true };
    y->home = test_env_path(x->t, "second");
    test_disk_remove_tree(y->home);
    for (unsigned s = 0; s < FSX_SEATS; s++)
        y->mem[s] = prov_mem_share(x->mem[s], x->env, x->mem[s]->name);
    wrap_seats(y);
    init_machine(y, 2);
}

void
fsx_create_store(struct fsx *x)
{
    struct c2_disk_req r = { .verb = C2_DISK_MKDIR, .path = x->home };
    test_disk_execute(&r);
    assert_int_equal(r.err, C2_E_OK);
    open_store(x, true);
}

void
fsx_close_store(struct fsx *x)
{
    coord_close(x->coord);
    x->coord = NULL;
}

void
fsx_done(struct fsx *x)
{
    assert_null(x->fs);
    for (unsigned s = 0; s < FSX_SEATS; s++)
        prov_close(x->seat[s]);
    keys_free(x->keys);
    c2_free(x->journal_dir);
    c2_free(x->mount_error);
    c2_free(x->home);
    if (!x->second)
        test_env_free(x->t);
}

struct opening {
    struct fsx *x;
    enum c2_err err;
    char *error;
    bool done;
};

static void
opened(void *arg, enum c2_err err, struct fs *fs, char *error)
{
    struct opening *o = arg;
    o->x->fs = fs;
    o->err = err;
    o->error = error;
    o->done = true;
}

void
fsx_connect(struct fsx *x)
{
    struct ds_config dc;
    ds_config_default(&dc);
    memcpy(dc.volume, fsx_uuid, sizeof(fsx_uuid));
    dc.keyless = x->keyless;
    dc.write_all = x->write_all;
    assert_int_equal(ds_client_new(x->env, &dc, x->seat, &x->ds), C2_E_OK);
}

static void
set_flag(void *arg)
{
    *(bool *)arg = true;
}

void
fsx_disconnect(struct fsx *x)
{
    bool done = false;
    ds_client_drain(x->ds, set_flag, &done);
    test_env_run_until(x->t, &done);
    ds_client_free(x->ds);
    x->ds = NULL;
}

static void
disconnect_all(struct fsx *x)
{
    bool done = false;
    fsx_disconnect(x);
    cache_drain(x->cache, set_flag, &done);
    test_env_run_until(x->t, &done);
    cache_free(x->cache);
    coord_close(x->coord);
    x->coord = NULL;
    test_env_run_ready(x->t); /* files that are being closed */
}

enum c2_err
fsx_try_mount(struct fsx *x)
{
    struct cache_config cc = { .memory_max = 64u << 20,
                               .dir = x->cache_dir,
                               .disk_max = x->cache_dir == NULL ? 0 : 64u << 20 };
    struct opening o = { .x = x };
    static const char lock[] = "Smount";
    open_store(x, false);
    take_lock(x);
    fsx_connect(x);
    assert_int_equal(cache_new(x->env, &cc, &x->cache), C2_E_OK);
    struct fs_parts parts = { .env = x->env,
                              .coord = x->coord,
                              .ds = x->ds,
                              .keys = x->keys,
                              .cache = x->cache,
                              .session = x->session,
                              .fence_key = c2_slice(lock, sizeof(lock) - 1),
                              .fence_token = x->token,
                              .config_version = &x->config_version,
                              .journal_dir = x->journal_dir,
                              .journal_key = { 7 },
                              .journal_size = x->journal_size,
                              .journal_segment_size = x->journal_segment_size,
                              .device_secret = x->ship ? x->device_secret : NULL,
                              .keyless = x->keyless,
                              .state_dir = x->home };
    memcpy(parts.uuid, fsx_uuid, sizeof(fsx_uuid));
    memcpy(parts.device_id, x->device_id, sizeof(parts.device_id));
    fs_open(&parts, &x->config, opened, &o, &x->report);
    test_env_run_until(x->t, &o.done);
    c2_free(x->mount_error);
    x->mount_error = o.error;
    if (o.err != C2_E_OK)
        disconnect_all(x);
    return o.err;
}

void
fsx_mount(struct fsx *x)
{
    if (fsx_try_mount(x) != C2_E_OK)
        fail_msg("fs_open: %s", x->mount_error);
}

static void
end(struct fsx *x)
{
    bool done = false;
    fs_close(x->fs, set_flag, &done);
    test_env_run_until(x->t, &done);
    x->fs = NULL;
    disconnect_all(x);
}

void
fsx_unmount(struct fsx *x)
{
    assert_int_equal(fsx_sync(x), C2_E_OK);
    end(x);
}

void
fsx_stop(struct fsx *x)
{
    end(x);
}

static enum c2_err
dead_disk(void *arg, const struct c2_disk_req *r)
{
    (void)arg;
    return r->verb == C2_DISK_CLOSE ? C2_E_OK : C2_E_IO;
}

void
fsx_crash(struct fsx *x)
{
    fs_ship_stop(x->fs);
    fs_txgs_stop(x->fs);
    test_env_set_disk_hook(x->t, dead_disk, NULL);
    end(x);
    test_env_set_disk_hook(x->t, NULL, NULL);
}

void
fsx_fault(struct fsx *x, unsigned seat, const char *spec)
{
    assert_int_equal(prov_fault_set(x->seat[seat], spec), C2_E_OK);
}

uint64_t
fsx_requests(struct fsx *x, enum prov_verb verb)
{
    uint64_t n = 0;
    for (unsigned s = 0; s < FSX_SEATS; s++)
        n += prov_mem_requests(x->mem[s], verb);
    return n;
}

void
fsx_drop_cache(struct fsx *x)
{
    fsx_unmount(x);
    fsx_mount(x);
}
