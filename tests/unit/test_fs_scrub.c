/* SPDX-License-Identifier: MIT */
/*
 * The jobs that look for damage and remove it: what they report, what is left, and that they go on
 * in the next mount.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "backends/mem.h"
#include "base/alloc.h"
#include "base/mark.h"
#include "fs/repair.h"
#include "fs/scrub.h"
#include "tests/lib/fs_objects.h"

#define FILES 6

struct mount {
    struct fsx x;
    struct fso o[FILES];
    struct fs_scrub_config config;
    struct fs_scrubber *scrubber;
    struct jobs *jobs;
    bool flag;
    enum c2_err err;
};

static void
opened(void *arg, enum c2_err err)
{
    struct mount *m = arg;
    m->err = err;
    m->flag = true;
}

static void
open_jobs(struct mount *m)
{
    const struct fs_parts *part = &m->x.fs->part;
    const struct jobs_parts parts = { .env = m->x.env,
                                      .coord = m->x.coord,
                                      .keys = m->x.keys,
                                      .fence_key = part->fence_key,
                                      .fence_token = part->fence_token,
                                      .session = part->session };
    m->scrubber = fs_scrubber_new(m->x.fs, &m->config);
    m->jobs = jobs_new(&parts);
    jobs_register(m->jobs, fs_scrubber_scrub(m->scrubber));
    jobs_register(m->jobs, fs_scrubber_repair(m->scrubber));
    m->flag = false;
    jobs_open(m->jobs, opened, m);
    test_env_run_until(m->x.t, &m->flag);
    assert_int_equal(m->err, C2_E_OK);
}

static void
stopped(void *arg)
{
    struct mount *m = arg;
    m->flag = true;
}

static void
close_jobs(struct mount *m)
{
    m->flag = false;
    jobs_stop(m->jobs, stopped, m);
    test_env_run_until(m->x.t, &m->flag);
    jobs_free(m->jobs);
    fs_scrubber_free(m->scrubber);
}

static int
setup(void **state)
{
    static const char *const names[FILES] = { "a", "b", "c", "d", "e", "f" };
    struct mount *m = c2_calloc(1, sizeof(*m));
    fsx_init(&m->x);
    m->x.config.repair_parallel = 2;
    fsx_mount(&m->x);
    for (unsigned k = 0; k < FILES; k++)
        m->o[k] = fso_put(&m->x, names[k]);
    open_jobs(m);
    *state = m;
    c2_mark_reset();
    return 0;
}

static int
teardown(void **state)
{
    struct mount *m = *state;
    for (unsigned k = 0; k < FILES; k++)
        fso_done(&m->o[k]);
    close_jobs(m);
    fsx_stop(&m->x);
    fsx_done(&m->x);
    c2_free(m);
    return 0;
}

/* The next mount on the same machine. */
static void
remount(struct mount *m)
{
    close_jobs(m);
    fsx_drop_cache(&m->x);
    open_jobs(m);
}

struct asked {
    struct job_ask a;
    bool done;
};

static void
answered(struct job_ask *a)
{
    C2_CONTAINER_OF(a, struct asked, a)->done = true;
}

static enum c2_err
start(struct mount *m, const char *kind, const char *params)
{
    struct asked q = { .a = { .done = answered } };
    jobs_start(m->jobs, kind, params, 0, &q.a);
    test_env_run_until(m->x.t, &q.done);
    c2_free(q.a.error);
    return q.a.err;
}

static const struct job_record *
wait_for(struct mount *m, const char *kind)
{
    const struct job *j = jobs_find(m->jobs, kind);
    assert_non_null(j);
    while (j->rec.state == JOB_RUNNING)
        assert_true(test_env_step(m->x.t));
    test_env_run_for(m->x.t, C2_NS_PER_MS); /* the record is saved */
    return &j->rec;
}

static const struct job_record *
run(struct mount *m, const char *kind, const char *params)
{
    assert_int_equal(start(m, kind, params), C2_E_OK);
    const struct job_record *rec = wait_for(m, kind);
    assert_int_equal(rec->state, JOB_DONE);
    return rec;
}

static uint64_t
counter(struct mount *m, const char *kind, const char *name)
{
    const struct job *j = jobs_find(m->jobs, kind);
    for (unsigned k = 0; j->kind->counters[k] != NULL; k++)
        if (strcmp(j->kind->counters[k], name) == 0)
            return j->rec.counter[k];
    fail_msg("no counter %s", name);
    return 0;
}

/* Two missing, one corrupt, one of another object. */
static void
wound(struct mount *m)
{
    struct fsx *x = &m->x;
    const struct c2_blob *other = m->o[4].share[fso_seat(&m->o[4])];
    prov_mem_delete(x->mem[fso_seat(&m->o[0])], m->o[0].key);
    prov_mem_delete(x->mem[fso_seat(&m->o[1])], m->o[1].key);
    fso_damage(x, &m->o[2], fso_seat(&m->o[2]));
    prov_mem_store(x->mem[fso_seat(&m->o[3])], m->o[3].key, c2_blob_slice(other));
}

static bool
all_whole(struct mount *m)
{
    bool whole = true;
    for (unsigned k = 0; k < FILES; k++)
        whole = whole && fso_whole(&m->x, &m->o[k], m->o[k].placed);
    return whole;
}

static void
scrub__reports_exactly_what_is_wrong_and_changes_nothing(void **state)
{
    struct mount *m = *state;
    wound(m);
    uint64_t puts = fsx_requests(&m->x, PROV_PUT);
    const struct job_record *rec = run(m, "scrub", "mode=data");
    assert_int_equal(rec->objects_total, FILES);
    assert_int_equal(rec->objects_done, FILES);
    assert_int_equal(rec->errors, 4);
    assert_true(rec->bytes_done > 0 && rec->bytes_done <= rec->bytes_total);
    assert_int_equal(counter(m, "scrub", "missing"), 2);
    assert_int_equal(counter(m, "scrub", "corrupt"), 2);
    assert_int_equal(counter(m, "scrub", "present"), 3 * FILES - 4);
    assert_int_equal(counter(m, "scrub", "verified"), FILES);
    assert_int_equal(fsx_requests(&m->x, PROV_PUT), puts);
    struct fs_scan_counts c;
    fs_scrub_counts(jobs_find(m->jobs, "scrub"), &c);
    assert_int_equal(c.seat[fso_seat(&m->o[0])].missing, 2);
}

static void
repair__brings_every_object_to_its_goal(void **state)
{
    struct mount *m = *state;
    wound(m);
    run(m, "scrub", "mode=data");
    const struct job_record *rec = run(m, "repair", "");
    assert_int_equal(rec->errors, 0);
    assert_int_equal(counter(m, "repair", "repaired_shares"), 4);
    assert_int_equal(counter(m, "repair", "healthy"), FILES);
    assert_true(all_whole(m));
    assert_true(c2_mark_count("scrub: healthy is what a new scan says") > 0);
    rec = run(m, "scrub", "mode=data");
    assert_int_equal(rec->errors, 0);
    assert_string_equal(rec->message, "all 6 objects are at their goal");
}

static void
repair__without_a_scrub_finds_what_is_missing_itself(void **state)
{
    struct mount *m = *state;
    unsigned seat = fso_seat(&m->o[0]);
    for (unsigned k = 0; k < FILES; k++)
        prov_mem_delete(m->x.mem[seat], m->o[k].key);
    const struct job_record *rec = run(m, "repair", "");
    assert_int_equal(rec->errors, 0);
    assert_true(all_whole(m));
}

/* A piece that was on its way while the log was listed. */
static void
repair__looks_at_the_log_once_more_at_its_end(void **state)
{
    struct mount *m = *state;
    struct fsx *x = &m->x;
    unsigned lost = 0;
    const char *key;
    close_jobs(m);
    fsx_stop(x);
    x->ship = true;
    fsx_mount(x);
    open_jobs(m);
    fsx_put(x, FS_ROOT_INO, "more", "x", 1);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    assert_int_equal(start(m, "repair", ""), C2_E_OK);
    while (counter(m, "repair", "log_objects") == 0)
        assert_true(test_env_step(x->t));
    for (size_t k = 0; (key = prov_mem_key(x->mem[0], k)) != NULL;) {
        if (strstr(key, "/j/") == NULL) {
            k++;
            continue;
        }
        prov_mem_delete(x->mem[0], key);
        lost++;
    }
    assert_true(lost > 0);
    assert_int_equal(wait_for(m, "repair")->errors, 0);
    assert_int_equal(counter(m, "repair", "log_below_goal"), 0);
    assert_int_equal(run(m, "scrub", "mode=exists")->errors, 0);
}

/* A target that acknowledges and stores nothing, and no other seat to take the shares. */
/* The volume's own log: what a machine without a disk starts from. */
static void
jobs__look_after_the_metadata_log(void **state)
{
    struct mount *m = *state;
    struct fsx *x = &m->x;
    unsigned log = 0, lost = 0;
    close_jobs(m);
    fsx_stop(x);
    x->ship = true;
    fsx_mount(x);
    for (unsigned k = 0; k < 4; k++) {
        fsx_put(x, FS_ROOT_INO, "more", "x", 1);
        assert_int_equal(fsx_sync(x), C2_E_OK);
        test_env_run_for(x->t, 10 * C2_NS_PER_S);
    }
    open_jobs(m);
    const struct job_record *rec = run(m, "scrub", "mode=exists");
    assert_int_equal(rec->errors, 0);
    log = (unsigned)counter(m, "scrub", "log_objects");
    assert_true(log >= 4);
    char *first = NULL;
    struct c2_blob *share = NULL;
    const char *key;
    for (size_t k = 0; (key = prov_mem_key(x->mem[0], k)) != NULL;) {
        if (strstr(key, "/j/") == NULL && strstr(key, "/c/") == NULL) {
            k++;
            continue;
        }
        if (first == NULL) {
            const struct c2_blob *b = prov_mem_peek(x->mem[0], key);
            first = c2_strdup(key);
            share = c2_blob_copy(b->data, b->len);
        }
        prov_mem_delete(x->mem[0], key);
        lost++;
    }
    assert_true(lost > 0);
    rec = run(m, "scrub", "mode=exists");
    assert_int_equal(rec->errors, lost);
    assert_int_equal(counter(m, "scrub", "log_below_goal"), lost);
    rec = run(m, "repair", "");
    assert_int_equal(rec->errors, 0);
    rec = run(m, "scrub", "mode=exists");
    assert_int_equal(rec->errors, 0);
    const struct c2_blob *now = prov_mem_peek(x->mem[0], first);
    if (now != NULL) /* another seat may have taken it */
        assert_memory_equal(now->data, share->data, share->len);
    c2_free(first);
    c2_blob_unref(share);
}

static void
repair__says_so_when_objects_stay_below_their_goal(void **state)
{
    struct mount *m = *state;
    unsigned seat = fso_seat(&m->o[0]);
    for (unsigned k = 0; k < FILES; k++)
        prov_mem_delete(m->x.mem[seat], m->o[k].key);
    fsx_fault(&m->x, seat, "put.lie");
    fsx_fault(&m->x, fso_spare(&m->o[0]), "put.error");
    const struct job_record *rec = run(m, "repair", "");
    assert_int_equal(rec->errors, FILES);
    assert_int_equal(counter(m, "repair", "missing"), FILES);
    assert_int_equal(counter(m, "repair", "failed_attempts"), FILES);
    fsx_fault(&m->x, seat, "");
    fsx_fault(&m->x, fso_spare(&m->o[0]), "");
    rec = run(m, "repair", "");
    assert_int_equal(rec->errors, 0);
    assert_true(all_whole(m));
}

/* What could not be mended may be deleted before the repair ends: then nothing is wrong. */
static void
repair__forgives_an_object_that_was_deleted_meanwhile(void **state)
{
    struct mount *m = *state;
    struct ck key = ck_object(&m->o[2].ref.oid);
    const struct coord_op op = { .kind = COORD_DELETE, .key = ck_slice(&key) };
    unsigned seat = fso_seat(&m->o[2]), spare = fso_spare(&m->o[2]);
    fso_damage(&m->x, &m->o[2], seat);
    assert_int_equal(run(m, "scrub", "mode=data")->errors, 1);
    fsx_fault(&m->x, seat, "put.error");
    fsx_fault(&m->x, spare, "put.error");
    const struct job_record *rec = run(m, "repair", "");
    assert_int_equal(rec->errors, 1); /* lists do not show it, the queue does */
    assert_int_equal(counter(m, "repair", "below_goal"), 0);
    c2_mark_reset();
    assert_int_equal(start(m, "repair", ""), C2_E_OK);
    while (c2_mark_count("scrub: healthy is what a new scan says") == 0)
        assert_true(test_env_step(m->x.t));
    fsx_txn(&m->x, &op, 1);
    rec = wait_for(m, "repair");
    assert_int_equal(rec->state, JOB_DONE);
    assert_int_equal(rec->errors, 0);
    assert_int_equal(c2_mark_count("scrub: what the queue had is gone, or as it was"), 1);
    fsx_fault(&m->x, seat, "");
    fsx_fault(&m->x, spare, "");
}

static void
jobs__go_on_in_the_next_mount(void **state)
{
    struct mount *m = *state;
    wound(m);
    for (unsigned k = 0; k < FSX_SEATS; k++)
        fsx_fault(&m->x, k, "get.delay:2s");
    assert_int_equal(start(m, "scrub", "mode=data"), C2_E_OK);
    test_env_run_for(m->x.t, C2_NS_PER_S); /* in the middle of a window */
    remount(m);
    for (unsigned k = 0; k < FSX_SEATS; k++)
        fsx_fault(&m->x, k, "");
    const struct job_record *rec = wait_for(m, "scrub");
    assert_int_equal(rec->state, JOB_DONE);
    assert_int_equal(rec->errors, 4);
    assert_int_equal(counter(m, "scrub", "objects"), FILES);
    assert_int_equal(start(m, "repair", ""), C2_E_OK);
    while (counter(m, "repair", "missing") == 0)
        assert_true(test_env_step(m->x.t));
    remount(m); /* the queue is gone, what is missing is found again */
    rec = wait_for(m, "repair");
    assert_int_equal(rec->state, JOB_DONE);
    assert_true(fso_whole(&m->x, &m->o[0], m->o[0].placed));
    assert_true(fso_whole(&m->x, &m->o[1], m->o[1].placed));
}

static void
scrub__keeps_its_hours_and_the_rates_of_seats(void **state)
{
    struct mount *m = *state;
    close_jobs(m);
    uint64_t now = c2_wall_ns(m->x.env);
    unsigned hour = (unsigned)(now / (3600 * C2_NS_PER_S) % 24);
    m->config.from_hour = (hour + 2) % 24;
    m->config.to_hour = (hour + 3) % 24;
    m->config.seat_rate[fso_seat(&m->o[0])] = 10000;
    open_jobs(m);
    run(m, "scrub", "mode=data");
    assert_true(c2_mark_count("scrub: waits for its hours") > 0);
    uint64_t took = c2_wall_ns(m->x.env) - now;
    assert_true(took >= 3600 * C2_NS_PER_S);
    assert_true(took < 3 * 3600 * C2_NS_PER_S);
}

static void
scrub__refuses_what_it_does_not_understand(void **state)
{
    struct mount *m = *state;
    static const char *const wrong[] = { "mode=all", "mode=sample", "mode=sample permille=0",
                                         "mode=sample permille=1001", "mode=sample permille=x" };
    for (size_t k = 0; k < C2_ARRAY_LEN(wrong); k++)
        assert_int_equal(start(m, "scrub", wrong[k]), C2_E_INVALID);
    run(m, "scrub", "mode=sample permille=500");
    run(m, "scrub", "");
    assert_int_equal(counter(m, "scrub", "verified"), 0);
}

int
main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(scrub__reports_exactly_what_is_wrong_and_changes_nothing),
        T(repair__brings_every_object_to_its_goal),
        T(repair__without_a_scrub_finds_what_is_missing_itself),
        T(jobs__look_after_the_metadata_log),
        T(repair__looks_at_the_log_once_more_at_its_end),
        T(repair__says_so_when_objects_stay_below_their_goal),
        T(repair__forgives_an_object_that_was_deleted_meanwhile),
        T(jobs__go_on_in_the_next_mount),
        T(scrub__keeps_its_hours_and_the_rates_of_seats),
        T(scrub__refuses_what_it_does_not_understand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
