/* SPDX-License-Identifier: MIT */
/*
 * Contents of files against arrays of bytes, while data moves from memory to the journal and the
 * clouds, inodes are dropped and loaded again, mounts end and begin, and clouds come and go.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "backends/mem.h"
#include "base/alloc.h"
#include "tests/lib/fs_check.h"
#include "tests/lib/fs_fixture.h"

#define FILES    5u
#define FILE_MAX (3u << 20)

struct file {
    char name[16];
    uint64_t ino; /* 0 = is not there */
    struct fs_handle *h;
    size_t size;
    uint8_t *bytes; /* FILE_MAX */
};

struct rig {
    struct fsx *x;
    struct file file[FILES];
    uint64_t random;
    bool clouds_down;
};

static int
setup(void **state)
{
    struct fsx *x = c2_calloc(1, sizeof(*x));
    fsx_init(x);
    *state = x;
    return 0;
}

static int
teardown(void **state)
{
    struct fsx *x = *state;
    fsx_done(x);
    c2_free(x);
    return 0;
}

static uint64_t
next(struct rig *g, uint64_t n)
{
    g->random ^= g->random << 13;
    g->random ^= g->random >> 7;
    g->random ^= g->random << 17;
    return g->random % n;
}

static void
set_clouds(struct rig *g, bool down)
{
    g->clouds_down = down;
    fsx_fault(g->x, 1, down ? "error" : "");
    fsx_fault(g->x, 3, down ? "hang" : "");
}

/* ---- changes -------------------------------------------------------------------------------- */

static void
open_file(struct rig *g, struct file *f)
{
    if (f->h != NULL)
        return;
    if (f->ino != 0) {
        f->h = fsx_open(g->x, f->ino, O_RDWR);
        return;
    }
    assert_int_equal(fsx_create(g->x, FS_ROOT_INO, f->name, O_RDWR, &f->h, &f->ino), C2_E_OK);
    f->size = 0;
}

static void
write_some(struct rig *g, struct file *f)
{
    static const size_t lens[] = { 1, 100, 4096, 50000, 300000, 1u << 20 };
    size_t len = 1 + (size_t)next(g, lens[next(g, C2_ARRAY_LEN(lens))]);
    uint64_t off = next(g, 2) == 0 ? f->size : next(g, f->size + 5000);
    if (off + len > FILE_MAX)
        return;
    uint8_t *data = fsx_bytes(next(g, UINT32_MAX), len);
    assert_int_equal(fsx_write(g->x, f->h, off, data, len), C2_E_OK);
    if (off > f->size)
        memset(f->bytes + f->size, 0, off - f->size);
    memcpy(f->bytes + off, data, len);
    f->size = C2_MAX(f->size, off + len);
    c2_free(data);
}

static void
truncate_to(struct rig *g, struct file *f, size_t size)
{
    struct fs_req r = {
        .op = FS_SETATTR, .ino = f->ino, .handle = f->h, .valid = FS_SET_SIZE, .attr.size = size
    };
    assert_int_equal(fsx_run(g->x, &r), C2_E_OK);
    if (size > f->size)
        memset(f->bytes + f->size, 0, size - f->size);
    f->size = size;
}

static void
punch(struct rig *g, struct file *f)
{
    uint64_t off = next(g, f->size + 1), len = 1 + next(g, 100000);
    struct fs_req r = { .op = FS_FALLOCATE,
                        .handle = f->h,
                        .mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        .off = off,
                        .len = len };
    assert_int_equal(fsx_run(g->x, &r), C2_E_OK);
    if (off < f->size)
        memset(f->bytes + off, 0, C2_MIN(len, f->size - off));
}

static void
clone(struct rig *g, struct file *from, struct file *to)
{
    uint64_t off = next(g, from->size + 1), off2 = next(g, to->size + 1);
    uint64_t len = 1 + next(g, 500000);
    if (off >= from->size || off2 + len > FILE_MAX)
        return;
    len = C2_MIN(len, from->size - off);
    if (from == to && off < off2 + len && off2 < off + len)
        return;
    struct fs_req r = { .op = FS_COPY_RANGE,
                        .handle = from->h,
                        .handle2 = to->h,
                        .off = off,
                        .off2 = off2,
                        .len = len };
    assert_int_equal(fsx_run(g->x, &r), C2_E_OK);
    assert_int_equal(r.count, len);
    memmove(to->bytes + off2, from->bytes + off, len);
    to->size = C2_MAX(to->size, off2 + len);
}

static void
close_file(struct rig *g, struct file *f)
{
    if (f->h != NULL)
        assert_int_equal(fsx_close(g->x, f->h), C2_E_OK);
    f->h = NULL;
}

static void
remove_file(struct rig *g, struct file *f)
{
    if (f->ino == 0)
        return;
    close_file(g, f);
    assert_int_equal(fsx_unlink(g->x, FS_ROOT_INO, f->name), C2_E_OK);
    f->ino = 0;
    f->size = 0;
}

static void
rename_over(struct rig *g, struct file *from, struct file *to)
{
    if (from == to || from->ino == 0)
        return;
    close_file(g, to);
    assert_int_equal(fsx_rename(g->x, FS_ROOT_INO, from->name, FS_ROOT_INO, to->name, 0), C2_E_OK);
    close_file(g, from);
    to->ino = from->ino;
    to->size = from->size;
    memcpy(to->bytes, from->bytes, from->size);
    from->ino = 0;
    from->size = 0;
}

/* ---- checks --------------------------------------------------------------------------------- */

static void
compare_some(struct rig *g, struct file *f)
{
    struct c2_buf got = { 0 };
    uint64_t off = next(g, f->size + 1), len = 1 + next(g, 200000);
    size_t want = (size_t)C2_MIN(len, f->size - off);
    enum c2_err err = fsx_read(g->x, f->h, off, len, &got);
    if (err != C2_E_OK && g->clouds_down) {
        c2_buf_done(&got); /* what is in the clouds only cannot be read now */
        return;
    }
    assert_int_equal(err, C2_E_OK);
    assert_int_equal(got.len, want);
    if (want > 0)
        assert_memory_equal(got.data, f->bytes + off, want);
    c2_buf_done(&got);
}

static void
compare_all(struct rig *g)
{
    struct fs_attr attr;
    for (unsigned k = 0; k < FILES; k++) {
        const struct file *f = &g->file[k];
        if (f->ino != 0)
            fsx_expect(g->x, FS_ROOT_INO, f->name, f->bytes, f->size);
        else
            assert_int_equal(fsx_lookup(g->x, FS_ROOT_INO, f->name, &attr), C2_E_NOT_FOUND);
    }
}

static void
close_all(struct rig *g)
{
    for (unsigned k = 0; k < FILES; k++)
        close_file(g, &g->file[k]);
}

/* The end of a mount, one way or another: what was closed is there again. */
static void
remount(struct rig *g)
{
    close_all(g);
    switch (next(g, 3)) {
    case 0:
        set_clouds(g, false);
        fsx_unmount(g->x);
        break;
    case 1:
        fsx_stop(g->x);
        break;
    default:
        fsx_crash(g->x);
        break;
    }
    if (fsx_try_mount(g->x) == C2_E_OK)
        return;
    /* The journal has changes of a file whose extents cannot be read now. */
    assert_true(g->clouds_down);
    set_clouds(g, false);
    fsx_mount(g->x);
}

static void
check_all(struct rig *g)
{
    struct fsx_check c;
    set_clouds(g, false);
    assert_int_equal(fsx_sync(g->x), C2_E_OK);
    fsx_check(g->x, &c);
    compare_all(g);
}

static void
change(struct rig *g, struct file *f)
{
    struct file *other = &g->file[next(g, FILES)];
    open_file(g, f);
    switch (next(g, 16)) {
    case 0:
        truncate_to(g, f, (size_t)next(g, f->size + 10000));
        break;
    case 1:
        punch(g, f);
        break;
    case 2:
    case 3:
        open_file(g, other);
        clone(g, f, other);
        break;
    case 4:
        close_file(g, f);
        f->h = fsx_open(g->x, f->ino, O_RDWR | O_TRUNC);
        f->size = 0;
        write_some(g, f);
        break;
    case 5:
    case 6:
        compare_some(g, f);
        break;
    case 7:
        close_file(g, f);
        break;
    case 8:
        assert_int_equal(next(g, 2) == 0 ? fsx_flush(g->x, f->h) : fsx_fsync(g->x, f->h), C2_E_OK);
        break;
    default:
        write_some(g, f);
        break;
    }
}

static void
step(struct rig *g)
{
    struct file *f = &g->file[next(g, FILES)];
    switch (next(g, 40)) {
    case 0:
        remount(g);
        break;
    case 1:
        check_all(g);
        break;
    case 2:
    case 3:
        set_clouds(g, !g->clouds_down);
        break;
    case 4:
        remove_file(g, f);
        break;
    case 5:
        rename_over(g, f, &g->file[next(g, FILES)]);
        break;
    case 6:
    case 7:
        test_env_run_for(g->x->t, next(g, 10) * C2_NS_PER_S);
        break;
    case 8:
        for (unsigned s = 0; s < FSX_SEATS; s++)
            prov_mem_set_latency(g->x->mem[s], next(g, 3) * C2_NS_PER_S, C2_NS_PER_S);
        break;
    default:
        change(g, f);
        break;
    }
}

static void
run(struct fsx *x, uint64_t seed, unsigned steps)
{
    struct rig g = { .x = x, .random = seed * 0x9e3779b97f4a7c15ull + 1 };
    for (unsigned k = 0; k < FILES; k++) {
        snprintf(g.file[k].name, sizeof(g.file[k].name), "f%u", k);
        g.file[k].bytes = c2_calloc(1, FILE_MAX);
    }
    fsx_mount(x);
    for (unsigned k = 0; k < steps; k++)
        step(&g);
    close_all(&g);
    check_all(&g);
    fsx_drop_cache(x);
    compare_all(&g);
    for (unsigned k = 0; k < FILES; k++) {
        remove_file(&g, &g.file[k]);
        c2_free(g.file[k].bytes);
    }
    check_all(&g);
    fsx_stop(x);
}

static void
short_of_memory(struct fsx *x)
{
    x->config.write_buffer = 1u << 20;
    x->config.pack_size = 1u << 20;
    x->journal_segment_size = 1u << 20;
    x->config.inodes_max = 8;
    x->config.dentries_max = 8;
}

static void
seldom_journalled(struct fsx *x)
{
    x->config.journal_delay_ns = 60 * C2_NS_PER_S;
    x->config.upload_parallel = 1;
    x->config.pack_delay_ns = C2_NS_PER_S / 2;
}

static void
content__equals_an_array_of_bytes(void **state)
{
    run(*state, 1, 400);
}

static void
content__equals_an_array_when_memory_is_short(void **state)
{
    short_of_memory(*state);
    run(*state, 2, 400);
}

static void
content__equals_an_array_when_little_is_journalled(void **state)
{
    seldom_journalled(*state);
    run(*state, 3, 400);
}

/* A chunk that a file has twice in a row must not become two pieces of one object. */
static void
content__streams_a_chunk_once_that_is_in_the_file_twice(void **state)
{
    struct fsx *x = *state;
    size_t mib = 1u << 20;
    uint8_t *data = fsx_bytes(8, 4 * mib);
    struct fs_handle *h;
    uint64_t ino;
    x->config.pack_size = 2 * mib;
    fsx_mount(x);
    assert_int_equal(fsx_create(x, FS_ROOT_INO, "f", O_RDWR, &h, &ino), C2_E_OK);
    assert_int_equal(fsx_write(x, h, 0, data, mib), C2_E_OK);
    struct fs_req r = { .op = FS_COPY_RANGE, .handle = h, .handle2 = h, .off2 = mib, .len = mib };
    assert_int_equal(fsx_run(x, &r), C2_E_OK);
    memcpy(data + mib, data, mib);
    for (size_t at = 2 * mib; at < 4 * mib; at += mib)
        assert_int_equal(fsx_write(x, h, at, data + at, mib), C2_E_OK);
    assert_int_equal(fsx_close(x, h), C2_E_OK);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    struct fsx_check c;
    fsx_check(x, &c);
    assert_int_equal(fsx_status(x).object_bytes, 3 * mib);
    fsx_expect(x, FS_ROOT_INO, "f", data, 4 * mib);
    fsx_stop(x);
    c2_free(data);
}

struct search {
    uint64_t seed;
    unsigned steps;
};

static void
content__search(void **state)
{
    const struct search *s = *state;
    void *x;
    setup(&x);
    if (s->seed % 3 == 1)
        short_of_memory(x);
    else if (s->seed % 3 == 2)
        seldom_journalled(x);
    run(x, s->seed, s->steps);
    teardown(&x);
}

/* test_fs_content <seed> <steps>: one more run, for searching. */
int
main(int argc, char **argv)
{
    struct search s = { 0 };
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(content__equals_an_array_of_bytes),
        T(content__equals_an_array_when_memory_is_short),
        T(content__equals_an_array_when_little_is_journalled),
        T(content__streams_a_chunk_once_that_is_in_the_file_twice),
    };
    const struct CMUnitTest searches[] = { cmocka_unit_test_prestate(content__search, &s) };
    if (argc != 3)
        return cmocka_run_group_tests(tests, NULL, NULL);
    s.seed = strtoull(argv[1], NULL, 10);
    s.steps = (unsigned)strtoul(argv[2], NULL, 10);
    return cmocka_run_group_tests(searches, NULL, NULL);
}
