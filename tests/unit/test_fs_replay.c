/* SPDX-License-Identifier: MIT */
/*
 * A crash at every disk request of a scenario: whatever was being done, the next mount shows the
 * tree as it was after one of the steps, none that was promised is missing, and store and clouds
 * are consistent.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "tests/lib/fs_check.h"
#include "tests/lib/fs_fixture.h"

#define STEPS_MAX 64

struct variant {
    bool torn;        /* the request that dies writes a part */
    bool clouds_down; /* nothing is committed before the crash */
    bool seldom;      /* transaction groups are cut before the journal has their changes */
    unsigned full;    /* instead of dying the disk is full for so many writes */
};

struct rig {
    struct fsx *x;
    struct variant v;
    struct fs_handle *h;       /* of the file that is unlinked while it is open */
    char *tree[STEPS_MAX + 1]; /* after so many steps */
    size_t nsteps;
    size_t promised, begun; /* steps */
    /* the crash */
    uint64_t requests, die_at;
    bool dead;
};

/* ---- the disk ------------------------------------------------------------------------------- */

/* The first part of what a request wanted to write. */
static void
write_a_part(const struct c2_disk_req *r)
{
    struct c2_disk_req part = *r;
    struct c2_slice some = c2_slice(r->iov[0].data, r->iov[0].len * 2 / 3);
    part.iov = &some;
    part.niov = 1;
    test_disk_execute(&part);
}

static enum c2_err
disk(void *arg, const struct c2_disk_req *r)
{
    struct rig *g = arg;
    if (g->v.full > 0) {
        bool writes = r->verb == C2_DISK_PWRITE || r->verb == C2_DISK_OPEN;
        g->requests += writes;
        g->dead = g->dead || g->requests >= g->die_at;
        return writes && g->requests >= g->die_at && g->requests < g->die_at + g->v.full
                   ? C2_E_NO_SPACE
                   : C2_E_OK;
    }
    if (!g->dead && ++g->requests == g->die_at) {
        g->dead = true;
        if (g->v.torn && r->verb == C2_DISK_PWRITE)
            write_a_part(r);
    }
    return g->dead && r->verb != C2_DISK_CLOSE ? C2_E_IO : C2_E_OK;
}

/* ---- what is there -------------------------------------------------------------------------- */

static void
dump_file(struct fsx *x, const struct fs_attr *a, struct c2_buf *out)
{
    struct c2_buf got = { 0 };
    uint8_t hash[C2_SHA256_LEN];
    struct fs_handle *h = fsx_open(x, a->ino, O_RDONLY);
    assert_int_equal(fsx_read(x, h, 0, a->size + 1, &got), C2_E_OK);
    assert_int_equal(got.len, a->size);
    fsx_release(x, h);
    c2_sha256(c2_buf_slice(&got), hash);
    c2_buf_printf(out, " %llu %02x%02x%02x%02x nlink=%u", (unsigned long long)a->size, hash[0],
                  hash[1], hash[2], hash[3], a->nlink);
    c2_buf_done(&got);
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
dump_dir(struct fsx *x, uint64_t dir, unsigned depth, struct c2_buf *out)
{
    char *names[100], *list = fsx_list(x, dir), *save = NULL;
    size_t n = 0;
    for (char *s = strtok_r(list, " ", &save); s != NULL; s = strtok_r(NULL, " ", &save))
        names[n++] = s;
    qsort(names, n, sizeof(names[0]), by_name);
    for (size_t k = 0; k < n; k++) {
        struct fs_attr a;
        assert_int_equal(fsx_lookup(x, dir, names[k], &a), C2_E_OK);
        c2_buf_printf(out, "%*s%s", (int)depth * 2, "", names[k]);
        if (S_ISREG(a.mode))
            dump_file(x, &a, out);
        c2_buf_puts(out, "\n");
        if (S_ISDIR(a.mode))
            dump_dir(x, a.ino, depth + 1, out);
    }
    c2_free(list);
}

static char *
dump(struct fsx *x)
{
    struct c2_buf out = { 0 };
    dump_dir(x, FS_ROOT_INO, 0, &out);
    char *text = c2_strdup(c2_buf_cstr(&out));
    c2_buf_done(&out);
    return text;
}

/* ---- steps: each changes the tree once, at most ---------------------------------------------- */

static uint64_t
ino_of(struct rig *g, uint64_t dir, const char *name)
{
    struct fs_attr a;
    return fsx_lookup(g->x, dir, name, &a) == C2_E_OK ? a.ino : 0;
}

static enum c2_err
put(struct rig *g, uint64_t dir, const char *name, uint64_t seed, size_t len)
{
    struct fs_handle *h;
    uint64_t ino = ino_of(g, dir, name);
    uint8_t *data = fsx_bytes(seed, len);
    if (ino != 0)
        h = fsx_open(g->x, ino, O_WRONLY | O_TRUNC);
    else
        assert_int_equal(fsx_create(g->x, dir, name, O_WRONLY, &h, &ino), C2_E_OK);
    assert_int_equal(fsx_write(g->x, h, 0, data, len / 2), C2_E_OK);
    assert_int_equal(fsx_write(g->x, h, len / 2, data + len / 2, len - len / 2), C2_E_OK);
    c2_free(data);
    return fsx_close(g->x, h);
}

static enum c2_err
fsync_of(struct rig *g, const char *name)
{
    struct fs_handle *h = fsx_open(g->x, ino_of(g, FS_ROOT_INO, name), O_RDONLY);
    enum c2_err err = fsx_fsync(g->x, h);
    fsx_release(g->x, h);
    return err;
}

/* Overwrites a bit of a file, so that it gets into more and more pieces. */
static enum c2_err
patch(struct rig *g, const char *name, uint64_t off)
{
    struct fs_handle *h = fsx_open(g->x, ino_of(g, FS_ROOT_INO, name), O_WRONLY);
    assert_int_equal(fsx_write(g->x, h, off, "patch", 5), C2_E_OK);
    return fsx_close(g->x, h);
}

static enum c2_err
link_to(struct rig *g, const char *name, const char *name2)
{
    struct fs_req r = {
        .op = FS_LINK, .ino = ino_of(g, FS_ROOT_INO, name), .ino2 = FS_ROOT_INO, .name2 = name2
    };
    return fsx_run(g->x, &r);
}

static enum c2_err
rename_to(struct rig *g, const char *name, const char *name2)
{
    return fsx_rename(g->x, FS_ROOT_INO, name, FS_ROOT_INO, name2, 0);
}

static enum c2_err
wait_a_little(struct rig *g)
{
    test_env_run_for(g->x->t, 6 * C2_NS_PER_S);
    return C2_E_OK;
}

enum promise { NOTHING, ALL }; /* what a step that succeeds promises of itself and those before */

/* One step; returns what it promises. */
static enum c2_err
step(struct rig *g, size_t n, enum promise *promise)
{
    uint64_t dir = ino_of(g, FS_ROOT_INO, "d");
    *promise = NOTHING;
    switch (n) {
    case 0:
        *promise = ALL;
        return put(g, FS_ROOT_INO, "a", 1, 3000);
    case 1:
        *promise = ALL;
        return put(g, FS_ROOT_INO, "b", 2, 70000);
    case 2:
        *promise = ALL;
        return put(g, FS_ROOT_INO, "a", 3, 5000); /* O_TRUNC */
    case 3:
        *promise = ALL;
        return put(g, FS_ROOT_INO, "tmp", 4, 100);
    case 4:
        return rename_to(g, "tmp", "b");
    case 5:
        return link_to(g, "a", "a2");
    case 6:
        return wait_a_little(g);
    case 7:
        fsx_mkdir(g->x, FS_ROOT_INO, "d");
        return C2_E_OK;
    case 8:
        *promise = ALL;
        return put(g, dir, "x", 5, 200000);
    case 9:
        g->h = fsx_open(g->x, ino_of(g, dir, "x"), O_RDWR);
        return fsx_unlink(g->x, dir, "x");
    case 10:
        return fsx_write(g->x, g->h, 100, "more", 4);
    case 11:
        return wait_a_little(g);
    case 12:
        *promise = ALL;
        return fsync_of(g, "b");
    case 13:
        fsx_release(g->x, g->h);
        g->h = NULL;
        return C2_E_OK;
    case 14:
        return fsx_rmdir(g->x, FS_ROOT_INO, "d");
    case 15:
        return fsx_unlink(g->x, FS_ROOT_INO, "a2");
    case 16:
        fsx_mkdir(g->x, FS_ROOT_INO, "d");
        return C2_E_OK;
    case 17:
        return fsx_rename(g->x, FS_ROOT_INO, "b", ino_of(g, FS_ROOT_INO, "d"), "b", 0);
    case 18:
        return wait_a_little(g);
    case 19:
        return rename_to(g, "d", "e");
    case 20:
        *promise = ALL;
        return put(g, FS_ROOT_INO, "large", 6, 300000);
    default:
        if (n > 44)
            return C2_E_INVALID;
        *promise = ALL;
        if (n % 6 == 0)
            return g->v.clouds_down ? wait_a_little(g) : fsx_sync(g->x);
        return patch(g, "large", (n - 20) * 10000);
    }
}

/* ---- runs ----------------------------------------------------------------------------------- */

/* Until a step fails or all are done; the tree after each is noted in the first run. */
static void
run_steps(struct rig *g, bool note)
{
    g->promised = g->begun = 0;
    if (note)
        g->tree[0] = dump(g->x);
    for (size_t n = 0; n < STEPS_MAX; n++) {
        enum promise promise;
        g->begun = n + 1;
        enum c2_err err = step(g, n, &promise);
        if (err == C2_E_NO_SPACE && g->v.full > 0)
            continue; /* the program was told, and goes on */
        if (err != C2_E_OK) {
            assert_true(note || g->dead || err == C2_E_INVALID);
            g->begun = err == C2_E_INVALID ? n : n + 1;
            break;
        }
        if (promise == ALL)
            g->promised = n + 1;
        if (note)
            g->tree[n + 1] = dump(g->x);
    }
    if (note)
        g->nsteps = g->begun;
}

static void
judge(struct rig *g)
{
    struct fsx_check c;
    char *tree = dump(g->x);
    bool found = false;
    for (size_t n = g->promised; n <= g->begun && !found; n++)
        found = strcmp(tree, g->tree[n]) == 0;
    if (!found)
        fail_msg("crash at disk request %llu, steps %zu to %zu: none left this:\n%s\nbut this:\n%s",
                 (unsigned long long)g->die_at, g->promised, g->begun, tree, g->tree[g->promised]);
    c2_free(tree);
    assert_int_equal(fsx_sync(g->x), C2_E_OK);
    fsx_check(g->x, &c);
}

static void
begin(struct rig *g, struct fsx *x)
{
    fsx_init(x);
    x->journal_segment_size = 128u << 10;
    if (g->v.seldom)
        x->config.journal_delay_ns = 600 * C2_NS_PER_S;
    g->x = x;
    g->h = NULL;
    fsx_mount(x);
    for (unsigned s = 0; s < FSX_SEATS; s++)
        fsx_fault(x, s, g->v.clouds_down ? "error" : "");
}

/* A volume of its own, a crash, and the mount after it. False: all steps were done before. */
static bool
crash_at(struct rig *g, uint64_t request)
{
    struct fsx x;
    begin(g, &x);
    g->dead = false;
    g->requests = 0;
    g->die_at = request;
    test_env_set_disk_hook(x.t, disk, g);
    run_steps(g, false);
    if (g->h != NULL)
        fsx_release(&x, g->h);
    if (g->v.full > 0) {
        while (fsync_of(g, "a") != C2_E_OK)
            wait_a_little(g);
        g->promised = g->begun;
    }
    fsx_crash(&x);
    for (unsigned s = 0; s < FSX_SEATS; s++)
        fsx_fault(&x, s, "");
    fsx_mount(&x);
    judge(g);
    fsx_stop(&x);
    fsx_done(&x);
    return g->dead;
}

static void
crash_everywhere(struct variant v)
{
    struct rig g = { .v = v };
    struct fsx x;
    begin(&g, &x);
    run_steps(&g, true);
    fsx_stop(&x);
    fsx_done(&x);
    uint64_t k = 1;
    while (crash_at(&g, k))
        k++;
    assert_true(k > 25);
    for (size_t n = 0; n <= g.nsteps; n++)
        c2_free(g.tree[n]);
}

static void
crash__at_any_disk_request_shows_a_moment_not_before_the_promise(void **state)
{
    (void)state;
    crash_everywhere((struct variant){ 0 });
}

static void
crash__in_the_middle_of_a_write_does_no_harm(void **state)
{
    (void)state;
    crash_everywhere((struct variant){ .torn = true });
}

static void
crash__without_clouds_does_no_harm(void **state)
{
    (void)state;
    crash_everywhere((struct variant){ .clouds_down = true });
}

static void
crash__of_commits_that_the_journal_has_not_seen_does_no_harm(void **state)
{
    (void)state;
    crash_everywhere((struct variant){ .seldom = true });
}

static void
disk_full__for_a_while_loses_nothing(void **state)
{
    (void)state;
    crash_everywhere((struct variant){ .full = 1 });
}

static void
disk_full__without_clouds_loses_nothing(void **state)
{
    (void)state;
    crash_everywhere((struct variant){ .full = 3, .clouds_down = true });
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crash__at_any_disk_request_shows_a_moment_not_before_the_promise),
        cmocka_unit_test(crash__in_the_middle_of_a_write_does_no_harm),
        cmocka_unit_test(crash__without_clouds_does_no_harm),
        cmocka_unit_test(crash__of_commits_that_the_journal_has_not_seen_does_no_harm),
        cmocka_unit_test(disk_full__for_a_while_loses_nothing),
        cmocka_unit_test(disk_full__without_clouds_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
