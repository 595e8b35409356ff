/* SPDX-License-Identifier: MIT */
#include "tests/lib/fs_fixture.h"

#include <errno.h>
#include <fcntl.h>
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
    fs_format_ops(x->keys, 0, 0, &backing, ops);
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

/* ---- requests ------------------------------------------------------------------------------- */

/* priv is a flag of the fixture's own until the request is over. */
static void
req_done(struct fs_req *r)
{
    *(bool *)r->priv = true;
}

static const struct fs_req_ops plain_ops = { .done = req_done };

void
fsx_start(struct fsx *x, struct fs_req *r)
{
    if (r->ops == NULL)
        r->ops = &plain_ops;
    r->priv = c2_calloc(1, sizeof(bool));
    fs_submit(x->fs, r);
}

bool
fsx_answered(const struct fs_req *r)
{
    return r->priv == NULL || *(bool *)r->priv;
}

void
fsx_wait(struct fsx *x, struct fs_req *r)
{
    if (r->priv == NULL)
        return;
    test_env_run_until(x->t, r->priv);
    c2_free(r->priv);
    r->priv = NULL;
}

enum c2_err
fsx_run(struct fsx *x, struct fs_req *r)
{
    fsx_start(x, r);
    fsx_wait(x, r);
    return r->err;
}

enum c2_err
fsx_lookup(struct fsx *x, uint64_t dir, const char *name, struct fs_attr *ret_attr)
{
    struct fs_req r = { .op = FS_LOOKUP, .ino = dir, .name = name };
    enum c2_err err = fsx_run(x, &r);
    if (err == C2_E_OK) {
        *ret_attr = r.attr;
        struct fs_req f = { .op = FS_FORGET, .ino = r.attr.ino, .len = 1 };
        fsx_run(x, &f);
    }
    fs_req_done(&r);
    return err;
}

uint64_t
fsx_ino(struct fsx *x, uint64_t dir, const char *name)
{
    struct fs_attr a;
    enum c2_err err = fsx_lookup(x, dir, name, &a);
    if (err != C2_E_OK)
        fail_msg("lookup %s: %s", name, c2_err_name(err));
    return a.ino;
}

enum c2_err
fsx_create(struct fsx *x, uint64_t dir, const char *name, int flags, struct fs_handle **ret_handle,
           uint64_t *ret_ino)
{
    struct fs_req r = {
        .op = FS_CREATE, .ino = dir, .name = name, .mode = S_IFREG | 0644, .flags = flags
    };
    C2_TRY(fsx_run(x, &r));
    *ret_handle = r.handle;
    *ret_ino = r.attr.ino;
    struct fs_req f = { .op = FS_FORGET, .ino = r.attr.ino, .len = 1 };
    fsx_run(x, &f);
    fs_req_done(&r);
    return C2_E_OK;
}

struct fs_handle *
fsx_open(struct fsx *x, uint64_t ino, int flags)
{
    struct fs_req r = { .op = FS_OPEN, .ino = ino, .flags = flags };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    return r.handle;
}

enum c2_err
fsx_write(struct fsx *x, struct fs_handle *h, uint64_t off, const void *data, size_t len)
{
    const uint8_t *p = data;
    while (len > 0) {
        size_t n = C2_MIN(len, (size_t)FS_WRITE_MAX);
        struct fs_req r = { .op = FS_WRITE, .handle = h, .off = off, .data = c2_slice(p, n) };
        enum c2_err err = fsx_run(x, &r);
        assert_true(err != C2_E_OK || r.count == n);
        fs_req_done(&r);
        C2_TRY(err);
        p += n;
        off += n;
        len -= n;
    }
    return C2_E_OK;
}

static enum c2_err
on_handle(struct fsx *x, struct fs_handle *h, enum fs_opcode op)
{
    struct fs_req r = { .op = op, .handle = h };
    enum c2_err err = fsx_run(x, &r);
    fs_req_done(&r);
    return err;
}

enum c2_err
fsx_flush(struct fsx *x, struct fs_handle *h)
{
    return on_handle(x, h, FS_FLUSH);
}

enum c2_err
fsx_fsync(struct fsx *x, struct fs_handle *h)
{
    return on_handle(x, h, FS_FSYNC);
}

void
fsx_release(struct fsx *x, struct fs_handle *h)
{
    on_handle(x, h, FS_RELEASE);
}

enum c2_err
fsx_close(struct fsx *x, struct fs_handle *h)
{
    enum c2_err err = fsx_flush(x, h);
    fsx_release(x, h);
    return err;
}

enum c2_err
fsx_read(struct fsx *x, struct fs_handle *h, uint64_t off, size_t len, struct c2_buf *ret_data)
{
    while (len > 0) {
        size_t n = C2_MIN(len, (size_t)FS_READ_MAX);
        struct fs_req r = { .op = FS_READ, .handle = h, .off = off, .len = n };
        C2_TRY(fsx_run(x, &r));
        if (r.iov.len > 0)
            c2_buf_append(ret_data, r.iov.data, r.iov.len);
        size_t got = r.iov.len;
        fs_req_done(&r);
        if (got < n)
            break;
        off += got;
        len -= got;
    }
    return C2_E_OK;
}

uint64_t
fsx_mkdir(struct fsx *x, uint64_t dir, const char *name)
{
    struct fs_req r = { .op = FS_MKDIR, .ino = dir, .name = name, .mode = 0755 };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    struct fs_req f = { .op = FS_FORGET, .ino = r.attr.ino, .len = 1 };
    fsx_run(x, &f);
    return r.attr.ino;
}

static enum c2_err
on_name(struct fsx *x, enum fs_opcode op, uint64_t dir, const char *name)
{
    struct fs_req r = { .op = op, .ino = dir, .name = name };
    return fsx_run(x, &r);
}

enum c2_err
fsx_unlink(struct fsx *x, uint64_t dir, const char *name)
{
    return on_name(x, FS_UNLINK, dir, name);
}

enum c2_err
fsx_rmdir(struct fsx *x, uint64_t dir, const char *name)
{
    return on_name(x, FS_RMDIR, dir, name);
}

enum c2_err
fsx_rename(struct fsx *x, uint64_t dir, const char *name, uint64_t dir2, const char *name2,
           int flags)
{
    struct fs_req r = {
        .op = FS_RENAME, .ino = dir, .name = name, .ino2 = dir2, .name2 = name2, .flags = flags
    };
    return fsx_run(x, &r);
}

enum c2_err
fsx_sync(struct fsx *x)
{
    struct fs_req r = { .op = FS_SYNCFS };
    return fsx_run(x, &r);
}

struct gc_call {
    struct fs_gc_run r;
    bool done;
};

static void
gc_done(struct fs_gc_run *r)
{
    C2_CONTAINER_OF(r, struct gc_call, r)->done = true;
}

enum c2_err
fsx_gc(struct fsx *x, bool dry_run, uint64_t retention_ns, struct fs_gc_report *ret_report)
{
    struct gc_call c = { .r = {
                             .dry_run = dry_run, .retention_ns = retention_ns, .done = gc_done } };
    fs_gc_run_start(x->fs, &c.r);
    test_env_run_until(x->t, &c.done);
    *ret_report = c.r.report;
    return c.r.err;
}

void
fsx_put(struct fsx *x, uint64_t dir, const char *name, const void *data, size_t len)
{
    struct fs_handle *h;
    struct fs_attr a;
    uint64_t ino;
    if (fsx_lookup(x, dir, name, &a) == C2_E_OK)
        h = fsx_open(x, a.ino, O_WRONLY | O_TRUNC);
    else
        assert_int_equal(fsx_create(x, dir, name, O_WRONLY, &h, &ino), C2_E_OK);
    assert_int_equal(fsx_write(x, h, 0, data, len), C2_E_OK);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
}

void
fsx_expect(struct fsx *x, uint64_t dir, const char *name, const void *data, size_t len)
{
    struct fs_attr a;
    struct c2_buf got = { 0 };
    enum c2_err err = fsx_lookup(x, dir, name, &a);
    if (err != C2_E_OK)
        fail_msg("%s: %s", name, c2_err_name(err));
    assert_int_equal(a.size, len);
    struct fs_handle *h = fsx_open(x, a.ino, O_RDONLY);
    err = fsx_read(x, h, 0, len + 1, &got);
    if (err != C2_E_OK)
        fail_msg("read %s: %s", name, c2_err_name(err));
    assert_int_equal(got.len, len);
    if (len > 0)
        assert_memory_equal(got.data, data, len);
    c2_buf_done(&got);
    fsx_close(x, h);
}

struct listing {
    struct fs_req r;
    struct c2_buf names;
    uint64_t cookie;
    unsigned n;
};

static bool
take_name(struct fs_req *r, const struct fs_dirent *e)
{
    struct listing *l = C2_CONTAINER_OF(r, struct listing, r);
    if (l->n == 100)
        return false;
    l->n++;
    l->cookie = e->cookie;
    if (strcmp(e->name, ".") != 0 && strcmp(e->name, "..") != 0)
        c2_buf_printf(&l->names, "%s%s", l->names.len > 0 ? " " : "", e->name);
    return true;
}

static const struct fs_req_ops list_ops = { .done = req_done, .dirent = take_name };

char *
fsx_list(struct fsx *x, uint64_t dir)
{
    struct fs_req open = { .op = FS_OPENDIR, .ino = dir };
    struct listing l = { 0 };
    assert_int_equal(fsx_run(x, &open), C2_E_OK);
    do {
        l.n = 0;
        l.r = (struct fs_req){
            .ops = &list_ops, .op = FS_READDIR, .handle = open.handle, .off = l.cookie
        };
        assert_int_equal(fsx_run(x, &l.r), C2_E_OK);
    } while (l.n > 0);
    on_handle(x, open.handle, FS_RELEASEDIR);
    char *names = c2_strdup(c2_buf_cstr(&l.names));
    c2_buf_done(&l.names);
    return names;
}

struct fs_status
fsx_status(struct fsx *x)
{
    struct fs_status s;
    fs_status(x->fs, &s);
    return s;
}

uint8_t *
fsx_bytes(uint64_t seed, size_t len)
{
    uint8_t *p = c2_alloc(len + 8);
    uint64_t s = seed * 0x9e3779b97f4a7c15ull + 1;
    for (size_t k = 0; k < len; k += 8) {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        memcpy(p + k, &s, 8);
    }
    return p;
}
