/* SPDX-License-Identifier: MIT */
/*
 * Requests to the mounted volume of fs_fixture.h, as a kernel would send them.
 */
#include "tests/lib/fs_fixture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"

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
