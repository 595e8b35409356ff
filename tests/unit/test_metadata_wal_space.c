/* SPDX-License-Identifier: MIT */
/*
 * The write-ahead log on a full disk: what does not fit waits, nothing that it needs is removed, it
 * goes on by itself, and can be closed.
 */
#include "metadata/wal.h"

#include "base/alloc.h"
#include "base/mark.h"
#include "metadata/wal_impl.h"
#include "tests/lib/wal_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static enum c2_err
no_space(void *arg, const struct c2_disk_req *r)
{
    const bool *full = arg;
    bool makes =
        r->verb == C2_DISK_WRITE || (r->verb == C2_DISK_OPEN && (r->flags & C2_DISK_CREATE) != 0);
    return *full && makes ? C2_E_NO_SPACE : C2_E_OK;
}

static void
wal__a_full_disk_delays_records_until_there_is_space(void **state)
{
    struct wal_rig *f = *state;
    bool full = false;
    wal_rig_open(f);
    test_env_set_disk_hook(f->t, no_space, &full);
    full = true;
    char text[4000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (unsigned i = 0; i < 40; i++)
        wal_rig_append(f, 1, text);
    test_env_run_for(f->t, 3 * C2_NS_PER_S);
    assert_true(f->synced < 40);
    assert_int_equal(f->failure, C2_E_OK);
    assert_true(c2_mark_count("wal: no space for a segment") >= 2);
    assert_true(wal_waits_for_space(f->w));
    full = false;
    wal_rig_wait(f, 40);
    assert_false(wal_waits_for_space(f->w));
    test_env_set_disk_hook(f->t, NULL, NULL);
}

/* Where the log begins is written beside what said so before. */
static void
wal__a_full_disk_delays_a_trim_until_there_is_space(void **state)
{
    struct wal_rig *f = *state;
    bool full = false;
    char text[4000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    wal_rig_open(f);
    for (unsigned i = 1; i <= 100; i++)
        wal_rig_put(f, text);
    test_env_run_for(f->t, C2_NS_PER_S);
    unsigned files = wal_rig_count(f, ".wal");
    test_env_set_disk_hook(f->t, no_space, &full);
    full = true;
    wal_trim(f->w, 95);
    wal_rig_put(f, "goes on");
    test_env_run_for(f->t, 5 * C2_NS_PER_S);
    assert_int_equal(f->failure, C2_E_OK);
    assert_true(wal_waits_for_space(f->w));
    assert_int_equal(wal_rig_count(f, ".wal"), files); /* nothing is gone that the head names */
    wal_rig_close(f);
    wal_rig_open(f);
    assert_int_equal(f->replayed, 101);
    wal_trim(f->w, 95);
    test_env_run_for(f->t, 5 * C2_NS_PER_S);
    full = false;
    test_env_run_for(f->t, 5 * C2_NS_PER_S);
    assert_false(wal_waits_for_space(f->w));
    assert_true(wal_rig_count(f, ".wal") < files);
    test_env_set_disk_hook(f->t, NULL, NULL);
    wal_rig_close(f);
    wal_rig_open(f);
    assert_false(f->report.damaged);
    assert_true(f->report.first_lsn > 50 && f->report.first_lsn <= 95);
    assert_int_equal(f->report.last_lsn, 101);
}

static enum c2_err
no_space_for_a_head(void *arg, const struct c2_disk_req *r)
{
    const bool *full = arg;
    return *full && r->verb == C2_DISK_WRITE ? C2_E_NO_SPACE : C2_E_OK;
}

/* An old segment that is used again needs no space: that there was one says nothing. */
static void
wal__a_full_disk_is_full_as_long_as_a_trim_waits(void **state)
{
    struct wal_rig *f = *state;
    bool full = false;
    char text[4000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    wal_rig_open(f);
    for (unsigned i = 1; i <= 100; i++)
        wal_rig_put(f, text);
    wal_trim(f->w, 50);
    test_env_run_for(f->t, C2_NS_PER_S);
    assert_true(f->w->files.has_spare);
    test_env_set_disk_hook(f->t, no_space_for_a_head, &full);
    full = true;
    wal_trim(f->w, 95);
    test_env_run_for(f->t, C2_NS_PER_S / 2);
    while (f->w->files.has_spare || !f->w->files.ready) {
        wal_rig_put(f, text);
        assert_true(wal_waits_for_space(f->w));
    }
    full = false;
    test_env_run_for(f->t, 5 * C2_NS_PER_S);
    assert_false(wal_waits_for_space(f->w));
    test_env_set_disk_hook(f->t, NULL, NULL);
}

/* Into a segment that is ready. */
static bool
is_group(const struct c2_disk_req *r)
{
    bool writes = r->verb == C2_DISK_PWRITE || r->verb == C2_DISK_SYNC;
    return writes && (r->flags & C2_DISK_DURABLE) != 0;
}

/* Whatever is done for a new or an old segment may find no space, one after the other. */
struct scarce {
    enum c2_disk_verb verb;
    unsigned refused; /* so often */
    bool on;
};

static enum c2_err
no_space_for_verb(void *arg, const struct c2_disk_req *r)
{
    struct scarce *s = arg;
    if (!s->on || r->verb != s->verb || is_group(r))
        return C2_E_OK;
    s->refused++;
    return C2_E_NO_SPACE;
}

static void
wal__a_full_disk_delays_every_step_of_a_new_segment(void **state)
{
    struct wal_rig *f = *state;
    static const enum c2_disk_verb verbs[] = { C2_DISK_OPEN,   C2_DISK_PWRITE,   C2_DISK_SYNC,
                                               C2_DISK_RENAME, C2_DISK_SYNC_DIR, C2_DISK_UNLINK };
    char text[4000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    wal_rig_open(f);
    uint64_t lsn = 0;
    for (size_t i = 0; i < C2_ARRAY_LEN(verbs); i++) {
        struct scarce s = { .verb = verbs[i], .on = true };
        test_env_set_disk_hook(f->t, no_space_for_verb, &s);
        for (unsigned k = 0; k < 80; k++) {
            lsn = wal_rig_append(f, 1, text);
            test_env_run_for(f->t, C2_NS_PER_S / 4);
            if (k % 20 == 19 && f->synced > 20)
                wal_trim(f->w, f->synced - 10);
        }
        assert_true(s.refused > 0);
        assert_true(s.refused < 200); /* it is tried again now and then */
        assert_int_equal(f->failure, C2_E_OK);
        s.on = false;
        wal_rig_wait(f, lsn);
        test_env_run_for(f->t, 3 * C2_NS_PER_S);
        assert_false(wal_waits_for_space(f->w));
        test_env_set_disk_hook(f->t, NULL, NULL);
        wal_rig_close(f);
        wal_rig_open(f);
        assert_false(f->report.damaged);
        assert_int_equal(f->report.last_lsn, lsn);
        assert_true(wal_rig_count(f, ".wal") < 8);
    }
}

struct sync_fails {
    unsigned failed, written; /* syncs; blocks of a segment that is filled, since then */
};

static enum c2_err
no_space_for_one_sync(void *arg, const struct c2_disk_req *r)
{
    struct sync_fails *s = arg;
    if (is_group(r))
        return C2_E_OK;
    if (r->verb == C2_DISK_SYNC && s->failed == 0) {
        s->failed = 1;
        return C2_E_NO_SPACE;
    }
    bool fills = r->verb == C2_DISK_PWRITE && r->iov[0].len > WAL_BLOCK;
    s->written += fills && s->failed > 0;
    return C2_E_OK;
}

/* Another sync says nothing about what the first one should have written. */
static void
wal__a_segment_that_could_not_be_synced_is_written_anew(void **state)
{
    struct wal_rig *f = *state;
    struct sync_fails s = { 0 };
    wal_rig_open(f);
    test_env_set_disk_hook(f->t, no_space_for_one_sync, &s);
    while (s.failed == 0) {
        wal_rig_put(f, "goes on");
        test_env_run_for(f->t, C2_NS_PER_S);
    }
    test_env_run_for(f->t, 3 * C2_NS_PER_S);
    assert_int_equal(f->failure, C2_E_OK);
    assert_true(s.written > 0);
    assert_true(f->w->files.ready);
    assert_false(wal_waits_for_space(f->w));
    test_env_set_disk_hook(f->t, NULL, NULL);
}

/* Whoever has made segments larger since has an old one that is too small for that. */
static void
wal__an_old_segment_of_another_size_is_filled_before_it_is_used(void **state)
{
    struct wal_rig *f = *state;
    char text[4000];
    struct stat st;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    wal_rig_open(f);
    for (unsigned i = 1; i <= 100; i++)
        wal_rig_put(f, text);
    wal_trim(f->w, 95);
    test_env_run_for(f->t, C2_NS_PER_S);
    assert_true(f->w->files.has_spare);
    wal_rig_close(f);
    f->segment_size = 4 * WAL_RIG_SEGMENT;
    wal_rig_open(f);
    while (f->w->files.has_spare || !f->w->files.ready)
        wal_rig_put(f, text);
    C2_AUTO(c2_free_auto) char *path = wal_segment_path(f->w, f->w->files.number);
    assert_int_equal(stat(path, &st), 0);
    assert_true((size_t)st.st_size >= f->segment_size);
}

/* Nothing waits for the segment that is being prepared: the log ends as always, with a seal. */
static void
wal__a_full_disk_is_no_reason_to_end_without_a_seal(void **state)
{
    struct wal_rig *f = *state;
    bool full = false;
    char text[4000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    wal_rig_open(f);
    test_env_set_disk_hook(f->t, no_space, &full);
    full = true;
    for (unsigned i = 1; !f->w->files.full; i++) /* into the segment that was ready */
        wal_rig_put(f, text);
    while (f->w->files.state == WAL_FILES_IDLE) /* until it tries again */
        assert_true(test_env_step(f->t));
    unsigned given_up = (unsigned)c2_mark_count("wal: no space for a segment");
    wal_rig_close(f);
    assert_true(c2_mark_count("wal: no space for a segment") > given_up);
    assert_int_equal(c2_mark_count("wal: ends without space"), 0);
    test_env_set_disk_hook(f->t, NULL, NULL);
}

/* Others go on, and what is to be logged of it takes memory. */
static void
wal__a_full_disk_is_waited_for_with_bounded_memory(void **state)
{
    struct wal_rig *f = *state;
    bool full = false;
    static char text[1u << 20];
    memset(text, 'x', sizeof text - 1);
    wal_rig_open(f);
    test_env_set_disk_hook(f->t, no_space, &full);
    full = true;
    for (unsigned i = 0; i < WAL_WAIT_MAX / sizeof text - 1; i++)
        wal_rig_append(f, 1, text);
    test_env_run_for(f->t, 10 * C2_NS_PER_S);
    assert_int_equal(f->failure, C2_E_OK);
    for (unsigned i = 0; i < 2; i++)
        wal_rig_append(f, 1, text);
    test_env_run_for(f->t, 10 * C2_NS_PER_S);
    assert_int_equal(f->failure, C2_E_NO_SPACE);
    wal_rig_close(f);
    f->failure = C2_E_OK;
    full = false;
    test_env_set_disk_hook(f->t, NULL, NULL);
    wal_rig_open(f); /* nothing that was said to be durable is lost */
    assert_false(f->report.damaged);
    wal_rig_put(f, "goes on");
}

/* A replica is stopped while it waits for space: what waits was never said to be durable. */
static void
wal__a_full_disk_does_not_keep_it_from_closing(void **state)
{
    struct wal_rig *f = *state;
    bool full = false;
    char text[4000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    wal_rig_open(f);
    test_env_set_disk_hook(f->t, no_space, &full);
    full = true;
    for (unsigned i = 0; i < 40; i++)
        wal_rig_append(f, 1, text);
    test_env_run_for(f->t, 3 * C2_NS_PER_S);
    uint64_t synced = f->synced;
    assert_true(synced < 40);
    wal_rig_close(f);
    assert_int_equal(f->failure, C2_E_OK);
    full = false;
    test_env_set_disk_hook(f->t, NULL, NULL);
    wal_rig_open(f);
    assert_false(f->report.damaged);
    assert_true(f->report.last_lsn >= synced);
    wal_rig_put(f, "goes on");
}

static void
wal__a_full_disk_does_not_keep_it_from_closing_before_it_was_open(void **state)
{
    struct wal_rig *f = *state;
    bool full = true;
    test_env_set_disk_hook(f->t, no_space, &full);
    wal_rig_start(f);
    test_env_run_for(f->t, 3 * C2_NS_PER_S);
    assert_false(f->opened);
    wal_rig_close(f);
    full = false;
    test_env_set_disk_hook(f->t, NULL, NULL);
    wal_rig_open(f);
    assert_false(f->report.damaged);
    wal_rig_put(f, "goes on");
}

/* More than a segment waits when it is closed: there is space for it. */
static void
wal__what_waits_when_it_is_closed_gets_segments(void **state)
{
    struct wal_rig *f = *state;
    static char text[WAL_RIG_SEGMENT - (8u << 10)];
    memset(text, 'x', sizeof text - 1);
    f->segment_size = WAL_RIG_SEGMENT;
    wal_rig_open(f);
    for (unsigned i = 0; i < 4; i++) {
        wal_rig_append(f, 1, text);
        while (wal_synced(f->w) == 0 && i == 0) /* groups of their own from here on */
            assert_true(test_env_step(f->t));
    }
    wal_rig_close(f);
    wal_rig_open(f);
    assert_int_equal(f->report.last_lsn, 4);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, wal_rig_setup, wal_rig_teardown)
    const struct CMUnitTest tests[] = {
        T(wal__a_full_disk_delays_records_until_there_is_space),
        T(wal__a_full_disk_delays_a_trim_until_there_is_space),
        T(wal__a_full_disk_is_full_as_long_as_a_trim_waits),
        T(wal__a_full_disk_delays_every_step_of_a_new_segment),
        T(wal__a_segment_that_could_not_be_synced_is_written_anew),
        T(wal__an_old_segment_of_another_size_is_filled_before_it_is_used),
        T(wal__a_full_disk_is_no_reason_to_end_without_a_seal),
        T(wal__a_full_disk_is_waited_for_with_bounded_memory),
        T(wal__a_full_disk_does_not_keep_it_from_closing),
        T(wal__a_full_disk_does_not_keep_it_from_closing_before_it_was_open),
        T(wal__what_waits_when_it_is_closed_gets_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
