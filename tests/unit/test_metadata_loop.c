/* SPDX-License-Identifier: MIT */
/*
 * The local service on the real loop with a real pool: what runs at the same time does not
 * disturb each other. Worth most under the thread sanitizer.
 */
#include "metadata/registry.h"

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/os_loop.h"
#include "metadata/local.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/test_env.h"

#define WRITERS 16
#define ROUNDS  40

struct loop_fixture {
    struct c2_os *os;
    struct c2_env *env;
    struct coord *c;
    char path[64];
    size_t writers_left;
    bool finished;
};

/* Puts its key again and again, each time only if nobody else did, and reads it back. */
struct writer {
    struct loop_fixture *f;
    struct coord_req r;
    struct coord_cond c;
    struct coord_op o;
    struct c2_slice key;
    char name[16];
    uint64_t version;
    size_t round;
};

static void writer_write(struct writer *w);

static void
read_done(struct coord_req *r)
{
    struct writer *w = C2_CONTAINER_OF(r, struct writer, r);
    assert_int_equal(r->err, C2_E_OK);
    assert_int_equal(r->entries[0].version, w->version);
    coord_req_done(r);
    if (++w->round < ROUNDS) {
        writer_write(w);
        return;
    }
    w->f->finished = --w->f->writers_left == 0;
}

static void
write_done(struct coord_req *r)
{
    struct writer *w = C2_CONTAINER_OF(r, struct writer, r);
    assert_int_equal(r->err, C2_E_OK);
    assert_true(r->version > w->version);
    w->version = r->version;
    *r = (struct coord_req){ .verb = COORD_GET, .keys = &w->key, .nkeys = 1, .done = read_done };
    coord_submit(w->f->c, r);
}

static void
writer_write(struct writer *w)
{
    w->c = (struct coord_cond){ COORD_VERSION_EQ, w->key, c2_slice("", 0), w->version };
    w->o = (struct coord_op){ COORD_PUT, w->key, w->key, 0 };
    w->r = (struct coord_req){
        .conds = &w->c, .nconds = 1, .ops = &w->o, .nops = 1, .done = write_done
    };
    coord_submit(w->f->c, &w->r);
}

/* Dumps on the pool while the others write. */
struct dumper {
    struct c2_work work;
    struct loop_fixture *f;
    uint64_t version;
    enum c2_err err;
    bool completed;
};

static enum c2_err
drop_chunk(void *arg, struct c2_slice chunk)
{
    (void)arg;
    return chunk.len > 0 ? C2_E_OK : C2_E_IO;
}

static void
dump_run(struct c2_work *w)
{
    struct dumper *d = C2_CONTAINER_OF(w, struct dumper, work);
    for (int i = 0; i < 20 && d->err == C2_E_OK; i++)
        d->err = coord_local_dump(d->f->c, drop_chunk, NULL, &d->version);
}

static void
dump_done(struct c2_work *w)
{
    C2_CONTAINER_OF(w, struct dumper, work)->completed = true;
}

static void
writers_readers_dumps_and_digests__run_side_by_side(void **state)
{
    struct loop_fixture *f = *state;
    struct writer *writers = c2_calloc(WRITERS, sizeof *writers);
    f->writers_left = WRITERS;
    for (size_t i = 0; i < WRITERS; i++) {
        struct writer *w = &writers[i];
        w->f = f;
        snprintf(w->name, sizeof w->name, "key %zu", i);
        w->key = c2_slice_str(w->name);
        writer_write(w);
    }
    struct dumper d = { .f = f, .work = { .run = dump_run, .done = dump_done } };
    c2_work(f->env, &d.work);
    uint8_t digest[32];
    assert_int_equal(coord_local_digest(f->c, digest), C2_E_OK);
    c2_os_run_until(f->os, &d.completed);
    assert_int_equal(d.err, C2_E_OK);
    assert_int_equal(coord_local_digest(f->c, digest), C2_E_OK);
    c2_os_run_until(f->os, &f->finished);
    /* Those that waited together were committed together. */
    assert_true(coord_local_commits(f->c) < (uint64_t)WRITERS * ROUNDS / 2);
    assert_int_equal(f->c->txns, WRITERS * ROUNDS);
    c2_free(writers);
}

static int
setup(void **state)
{
    struct loop_fixture *f = c2_calloc(1, sizeof *f);
    strcpy(f->path, "/tmp/c2fs-test-XXXXXX");
    assert_non_null(mkdtemp(f->path));
    assert_int_equal(c2_crypto_init(), C2_E_OK);
    assert_int_equal(c2_os_new(3, &f->os), C2_E_OK);
    f->env = c2_os_env(f->os);
    char *url = c2_asprintf("local:%s/meta", f->path);
    assert_int_equal(coord_open(f->env, url, true, &f->c, NULL), C2_E_OK);
    c2_free(url);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct loop_fixture *f = *state;
    coord_close(f->c);
    c2_os_free(f->os);
    test_disk_remove_tree(f->path);
    c2_free(f);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writers_readers_dumps_and_digests__run_side_by_side, setup,
                                        teardown),
    };
    return cmocka_run_group_tests_name("metadata_loop", tests, NULL, NULL);
}
