/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/alloc.h"
#include "base/env.h"
#include "tools/health.h"
#include "tools/mounts.h"

static struct ctl_status *
four_providers(void)
{
    static const char *const names[] = { "p1", "p2", "p3", "p4" };
    struct ctl_status *s = c2_calloc(1, sizeof(*s));
    s->n = 4;
    s->f = 1;
    s->nproviders = 4;
    for (unsigned k = 0; k < 4; k++) {
        ctl_set(s->providers[k].name, sizeof(s->providers[k].name), names[k]);
        ctl_set(s->providers[k].state, sizeof(s->providers[k].state), "online");
    }
    return s;
}

static void
set_state(struct ctl_status *s, unsigned k, const char *state)
{
    ctl_set(s->providers[k].state, sizeof(s->providers[k].state), state);
}

static void
health__online_asks_for_nothing(void **state)
{
    (void)state;
    struct ctl_status *s = four_providers();
    struct health h;
    set_state(s, 3, "empty"); /* an empty seat is no fault */
    health_of(s, &h);
    assert_int_equal(h.state, HEALTH_ONLINE);
    assert_string_equal(h.action, "");
    assert_int_equal(health_exit(h.state), CTL_EXIT_OK);
    c2_free(s);
}

static void
health__one_bad_provider_is_named_with_an_action(void **state)
{
    (void)state;
    static const char *const states[] = { "unreachable", "degraded", "suspect" };
    for (size_t k = 0; k < C2_ARRAY_LEN(states); k++) {
        struct ctl_status *s = four_providers();
        struct health h;
        set_state(s, 2, states[k]);
        health_of(s, &h);
        assert_int_equal(h.state, HEALTH_DEGRADED);
        assert_non_null(strstr(h.sentence, "'p3'"));
        assert_non_null(strstr(h.action, "c2fsctl provider test p3"));
        assert_int_equal(health_exit(h.state), CTL_EXIT_DEGRADED);
        c2_free(s);
    }
}

static void
health__a_new_provider_says_how_its_replacement_goes_on(void **state)
{
    (void)state;
    static const char *const jobs[][2] = {
        { "running", "job watch replace" },
        { "paused", "job resume replace" },
        { "canceled", "'c2fsctl provider replace p9 p3' goes on" },
        { "canceled", "'c2fsctl provider replace p3 p9' takes it back" },
        { "failed", "provider replace p9 p3" },
    };
    for (size_t k = 0; k < C2_ARRAY_LEN(jobs); k++) {
        struct ctl_status *s = four_providers();
        struct health h;
        set_state(s, 2, "rebuilding");
        s->njobs = 2;
        ctl_set(s->jobs[0].kind, sizeof(s->jobs[0].kind), "scrub");
        ctl_set(s->jobs[1].kind, sizeof(s->jobs[1].kind), "replace");
        ctl_set(s->jobs[1].params, sizeof(s->jobs[1].params), "old=p9 new=p3");
        ctl_set(s->jobs[1].state, sizeof(s->jobs[1].state), jobs[k][0]);
        health_of(s, &h);
        assert_int_equal(h.state, HEALTH_DEGRADED);
        assert_non_null(strstr(h.sentence, "'p3' is new"));
        assert_non_null(strstr(h.action, jobs[k][1]));
        ctl_set(s->jobs[1].params, sizeof(s->jobs[1].params), "old=p3 new=p8"); /* another one */
        ctl_set(s->jobs[1].state, sizeof(s->jobs[1].state), "done");
        health_of(s, &h);
        assert_non_null(strstr(h.action, "does not run"));
        c2_free(s);
    }
}

static void
health__a_full_provider_is_degraded_two_are_no_place_for_writes(void **state)
{
    (void)state;
    struct ctl_status *s = four_providers();
    struct health h;
    set_state(s, 1, "readonly");
    health_of(s, &h);
    assert_int_equal(h.state, HEALTH_DEGRADED);
    assert_int_equal(h.failing, 0);
    assert_non_null(strstr(h.sentence, "'p2' refuses to store more"));
    assert_non_null(strstr(h.action, "quota"));
    set_state(s, 2, "readonly");
    health_of(s, &h);
    assert_int_equal(h.state, HEALTH_FAULTED);
    assert_non_null(strstr(h.sentence, "2 of 4 providers store nothing more"));
    assert_non_null(strstr(h.sentence, "Everything can be read"));
    set_state(s, 2, "unreachable"); /* the same for writes */
    health_of(s, &h);
    assert_int_equal(h.state, HEALTH_FAULTED);
    assert_non_null(strstr(h.sentence, "Everything can be read"));
    s->providers[1].absent = 1; /* now it is one that fails */
    health_of(s, &h);
    assert_int_equal(h.failing, 2);
    assert_null(strstr(h.sentence, "Everything can be read"));
    c2_free(s);
}

static void
health__a_late_answer_beside_a_dead_provider_is_not_an_outage(void **state)
{
    (void)state;
    struct ctl_status *s = four_providers();
    struct health h;
    set_state(s, 1, "degraded");
    set_state(s, 2, "unreachable");
    health_of(s, &h);
    assert_int_equal(h.state, HEALTH_DEGRADED);
    assert_int_equal(h.failing, 1);
    assert_non_null(strstr(h.sentence, "'p3'"));
    s->providers[1].absent = 1;
    health_of(s, &h);
    assert_int_equal(h.state, HEALTH_FAULTED);
    assert_int_equal(h.failing, 2);
    c2_free(s);
}

static void
health__more_than_f_is_faulted(void **state)
{
    (void)state;
    struct ctl_status *s = four_providers();
    struct health h;
    set_state(s, 0, "unreachable");
    set_state(s, 1, "suspect");
    health_of(s, &h);
    assert_int_equal(h.state, HEALTH_FAULTED);
    assert_non_null(strstr(h.sentence, "2 of 4"));
    assert_int_equal(health_exit(h.state), CTL_EXIT_UNAVAILABLE);
    s->f = 2;
    health_of(s, &h);
    assert_int_equal(h.state, HEALTH_DEGRADED);
    c2_free(s);
}

static void
health__lost_session_comes_first_and_lost_journal_is_told(void **state)
{
    (void)state;
    struct ctl_status *s = four_providers();
    struct health h;
    s->damaged_groups = 3;
    ctl_set(s->damage, sizeof(s->damage), "segment 7");
    health_of(s, &h);
    assert_int_equal(h.state, HEALTH_DEGRADED);
    assert_non_null(strstr(h.sentence, "segment 7"));
    s->deferred_files = 1;
    ctl_set(s->deferred, sizeof(s->deferred), "eeg.dat (inode 8)");
    health_of(s, &h);
    assert_int_equal(h.state, HEALTH_DEGRADED); /* it has just been mounted */
    s->uptime_ns = 600 * C2_NS_PER_S;
    health_of(s, &h);
    assert_int_equal(h.state, HEALTH_FAULTED);
    assert_non_null(strstr(h.sentence, "1 files that were changed"));
    assert_non_null(strstr(h.sentence, "(eeg.dat (inode 8))"));
    s->deferred_files = 0;
    ctl_set(s->journal_error, sizeof(s->journal_error), "no space left");
    health_of(s, &h);
    assert_int_equal(h.state, HEALTH_FAULTED);
    assert_non_null(strstr(h.sentence, "cannot be written (no space left)"));
    assert_non_null(strstr(h.action, "cache_dir"));
    s->lost_files = 2;
    ctl_set(s->lost, sizeof(s->lost), "ecg.dat (inode 9)");
    health_of(s, &h);
    assert_int_equal(h.state, HEALTH_FAULTED);
    assert_non_null(strstr(h.sentence, "2 files is lost (ecg.dat (inode 9))"));
    assert_non_null(strstr(h.action, "user.c2fs.state"));
    s->fenced = true;
    health_of(s, &h);
    assert_int_equal(h.state, HEALTH_FAULTED);
    assert_non_null(strstr(h.sentence, "session"));
    c2_free(s);
}

static void
mounts__are_found_with_escaped_names_and_the_top_one_counts(void **state)
{
    (void)state;
    static const char text[] =
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "40 22 0:50 / /mnt/c2fs rw,nosuid - fuse.c2fs c2fs:phr rw,user_id=0\n"
        "41 22 0:51 / /mnt/with\\040blank rw shared:7 master:2 - fuse.c2fs c2fs:other rw\n"
        "42 22 0:52 / /mnt/sshfs rw - fuse.sshfs host: rw\n"
        "43 22 0:53 / /mnt/c2fs rw - fuse.c2fs c2fs:above rw\n"
        "garbage\n";
    struct mounts *m = c2_calloc(1, sizeof(*m));
    mounts_read(text, m);
    assert_int_equal(m->n, 3);
    assert_string_equal(m->e[0].volume, "phr");
    assert_string_equal(m->e[0].options, "rw,nosuid");
    assert_string_equal(m->e[1].mountpoint, "/mnt/with blank");
    assert_string_equal(mounts_at(m, "/mnt/with blank")->volume, "other");
    assert_string_equal(mounts_at(m, "/mnt/c2fs/")->volume, "above");
    assert_null(mounts_at(m, "/mnt/sshfs"));
    assert_null(mounts_at(m, "/mnt"));
    mounts_done(m);
    c2_free(m);
}

static void
health__lost_shares_degrade_and_repair_is_the_action(void **state)
{
    (void)state;
    struct ctl_status *s = four_providers();
    struct health h;
    s->repair_objects = 3;
    s->shares_missing = 4;
    s->repair_at_risk = 2;
    health_of(s, &h);
    assert_int_equal(h.state, HEALTH_DEGRADED);
    assert_non_null(strstr(h.sentence, "3 objects have lost 4 shares. 2 of them"));
    assert_non_null(strstr(h.action, "c2fsctl repair"));
    c2_free(s);
}

/* What the last scan left counts, until a later one finds nothing. */
static void
health__is_what_the_latest_scan_says(void **state)
{
    (void)state;
    struct ctl_status *s = four_providers();
    struct health h;
    s->njobs = 2;
    ctl_set(s->jobs[0].kind, sizeof(s->jobs[0].kind), "scrub");
    ctl_set(s->jobs[0].state, sizeof(s->jobs[0].state), "done");
    ctl_set(s->jobs[0].message, sizeof(s->jobs[0].message), "2 of 9 objects");
    s->jobs[0].errors = 2;
    s->jobs[0].ended_wall_ns = 100;
    ctl_set(s->jobs[1].kind, sizeof(s->jobs[1].kind), "repair");
    ctl_set(s->jobs[1].state, sizeof(s->jobs[1].state), "running");
    health_of(s, &h);
    assert_int_equal(h.state, HEALTH_DEGRADED);
    assert_non_null(strstr(h.sentence, "The last scrub says: 2 of 9 objects."));
    ctl_set(s->jobs[1].state, sizeof(s->jobs[1].state), "done");
    s->jobs[1].ended_wall_ns = 101;
    health_of(s, &h);
    assert_int_equal(h.state, HEALTH_ONLINE);
    s->jobs[0].ended_wall_ns = 102;
    health_of(s, &h);
    assert_int_equal(h.state, HEALTH_DEGRADED);
    c2_free(s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(health__online_asks_for_nothing),
        cmocka_unit_test(health__one_bad_provider_is_named_with_an_action),
        cmocka_unit_test(health__a_new_provider_says_how_its_replacement_goes_on),
        cmocka_unit_test(health__a_full_provider_is_degraded_two_are_no_place_for_writes),
        cmocka_unit_test(health__a_late_answer_beside_a_dead_provider_is_not_an_outage),
        cmocka_unit_test(health__more_than_f_is_faulted),
        cmocka_unit_test(health__lost_session_comes_first_and_lost_journal_is_told),
        cmocka_unit_test(mounts__are_found_with_escaped_names_and_the_top_one_counts),
        cmocka_unit_test(health__lost_shares_degrade_and_repair_is_the_action),
        cmocka_unit_test(health__is_what_the_latest_scan_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
