/* SPDX-License-Identifier: MIT */
#include "tests/lib/wal_rig.h"

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/mark.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void
on_replay(void *arg, uint64_t lsn, unsigned type, struct c2_slice body)
{
    struct wal_rig *f = arg;
    f->replayed++;
    if (body.len <= 64)
        c2_buf_printf(&f->texts, "%llu:%u:%.*s ", (unsigned long long)lsn, type, (int)body.len,
                      (const char *)body.data);
    else
        c2_buf_printf(&f->texts, "%llu:%u:#%zu ", (unsigned long long)lsn, type, body.len);
}

static void
on_opened(void *arg, enum c2_err err, const struct wal_report *r)
{
    struct wal_rig *f = arg;
    f->err = err;
    f->report = *r;
    f->opened = true;
}

static void
on_synced(void *arg, uint64_t lsn)
{
    struct wal_rig *f = arg;
    assert_true(lsn > f->synced);
    f->synced = lsn;
    f->synced_enough = lsn >= f->synced_wanted;
}

static void
on_failed(void *arg, enum c2_err err)
{
    struct wal_rig *f = arg;
    f->failure = err;
}

static void
on_closed(void *arg)
{
    struct wal_rig *f = arg;
    f->closed = true;
}

void
wal_rig_start(struct wal_rig *f)
{
    const struct wal_options o = {
        .path = f->path,
        .segment_size = f->segment_size,
        .fresh = f->fresh,
        .read_only = f->read_only,
        .replay = on_replay,
        .opened = on_opened,
        .synced = on_synced,
        .failed = on_failed,
        .arg = f,
    };
    c2_buf_clear(&f->texts);
    f->replayed = 0;
    f->opened = false;
    f->synced = 0;
    f->report = (struct wal_report){ .damaged = false };
    f->w = wal_open(f->env, &o);
}

void
wal_rig_open(struct wal_rig *f)
{
    wal_rig_start(f);
    test_env_run_until(f->t, &f->opened);
    assert_int_equal(f->err, C2_E_OK);
    f->fresh = false;
}

void
wal_rig_close(struct wal_rig *f)
{
    f->closed = false;
    wal_close(f->w, on_closed, f);
    test_env_run_until(f->t, &f->closed);
    f->w = NULL;
}

uint64_t
wal_rig_append(struct wal_rig *f, unsigned type, const char *text)
{
    const struct c2_slice part = c2_slice_str(text);
    return wal_append(f->w, type, &part, 1);
}

void
wal_rig_wait(struct wal_rig *f, uint64_t lsn)
{
    f->synced_wanted = lsn;
    f->synced_enough = f->synced >= lsn;
    if (!f->synced_enough)
        test_env_run_until(f->t, &f->synced_enough);
}

void
wal_rig_put(struct wal_rig *f, const char *text)
{
    wal_rig_wait(f, wal_rig_append(f, 7, text));
}

int
wal_rig_setup(void **state)
{
    struct wal_rig *f = c2_calloc(1, sizeof *f);
    assert_int_equal(c2_crypto_init(), C2_E_OK);
    f->t = test_env_new(1);
    f->env = test_env_env(f->t);
    f->path = test_env_path(f->t, "wal");
    f->fresh = true;
    f->segment_size = WAL_RIG_SEGMENT;
    c2_mark_reset();
    *state = f;
    return 0;
}

int
wal_rig_teardown(void **state)
{
    struct wal_rig *f = *state;
    if (f->w != NULL)
        wal_rig_close(f);
    test_env_run_ready(f->t);
    test_env_free(f->t);
    c2_buf_done(&f->texts);
    c2_free(f->path);
    c2_free(f);
    return 0;
}

unsigned
wal_rig_count(const struct wal_rig *f, const char *end)
{
    DIR *d = opendir(f->path);
    assert_non_null(d);
    unsigned n = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        size_t len = strlen(e->d_name), end_len = strlen(end);
        n += len >= end_len && strcmp(e->d_name + len - end_len, end) == 0;
    }
    closedir(d);
    return n;
}
