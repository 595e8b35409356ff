/* SPDX-License-Identifier: MIT */
/*
 * A drain from its start to its end: what is most endangered goes first, cancelled and begun again,
 * and who had a seat before stays open while it runs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "fs/placement.h"
#include "fs/volume_job.h"
#include "tests/lib/coord_gate.h"
#include "tests/lib/fs_objects.h"

#define FILES   5u
#define LEAVING 1u
#define SPARE   3u

struct mount {
    struct fsx x;
    struct fso o[FILES];
    struct volume volume; /* as much of it as a drain needs */
    struct seat_jobs kinds;
    struct jobs *jobs;
    bool flag;
};

static void
opened(void *arg, enum c2_err err)
{
    assert_int_equal(err, C2_E_OK);
    ((struct mount *)arg)->flag = true;
}

static void
stopped(void *arg)
{
    ((struct mount *)arg)->flag = true;
}

static void
open_volume(struct mount *m)
{
    const struct fs_parts *part = &m->x.fs->part;
    struct volume *v = &m->volume;
    static const char *const names[FSX_SEATS] = { "p1", "p2", "p3", "p4" };
    c2_list_init(&v->changes_open);
    v->env = m->x.env;
    v->coord = v->changes = m->x.coord;
    v->keys = m->x.keys;
    v->ds = m->x.ds;
    v->session = part->session;
    v->fence_token = part->fence_token;
    v->fence_key.len = part->fence_key.len;
    memcpy(v->fence_key.bytes, part->fence_key.data, part->fence_key.len);
    v->config.f = 1;
    v->config.n = FSX_SEATS;
    for (unsigned i = 0; i < FSX_SEATS; i++) {
        v->config.seats[i].state = VOLUME_SEAT_ACTIVE;
        (void)snprintf(v->config.seats[i].provider, PROV_NAME_MAX, "%s", names[i]);
        v->providers[i] = m->x.seat[i];
    }
}

static void
open_jobs(struct mount *m)
{
    const struct jobs_parts parts = { .env = m->x.env,
                                      .coord = m->x.coord,
                                      .keys = m->x.keys,
                                      .fence_key = ck_slice(&m->volume.fence_key),
                                      .fence_token = m->volume.fence_token,
                                      .session = m->volume.session };
    m->jobs = jobs_new(&parts);
    jobs_register(m->jobs, &m->kinds.drain);
    m->flag = false;
    jobs_open(m->jobs, opened, m);
    test_env_run_until(m->x.t, &m->flag);
}

static void
close_jobs(struct mount *m)
{
    m->flag = false;
    jobs_stop(m->jobs, stopped, m);
    test_env_run_until(m->x.t, &m->flag);
    jobs_free(m->jobs);
    assert_int_equal(m->volume.retired_holds, 0);
}

static int
setup(void **state)
{
    static const char *const names[FILES] = { "a", "b", "c", "d", "e" };
    struct mount *m = c2_calloc(1, sizeof(*m));
    fsx_init(&m->x);
    fsx_mount(&m->x);
    for (unsigned k = 0; k < FILES; k++)
        m->o[k] = fso_put(&m->x, names[k]);
    open_volume(m);
    m->kinds.volume = &m->volume;
    m->kinds.fs = m->x.fs;
    seat_jobs_init(&m->kinds);
    open_jobs(m);
    c2_mark_reset();
    *state = m;
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

struct asked {
    struct job_ask a;
    bool done;
};

static void
answered(struct job_ask *a)
{
    C2_CONTAINER_OF(a, struct asked, a)->done = true;
}

static void
drain(struct mount *m, uint64_t rate)
{
    struct asked q = { .a = { .done = answered } };
    jobs_start(m->jobs, "drain", "name=p2", rate, &q.a);
    test_env_run_until(m->x.t, &q.done);
    assert_int_equal(q.a.err, C2_E_OK);
}

/* The mount moves to a new epoch with the volume, as wire_up.c sees to. */
static void
step(struct mount *m)
{
    assert_true(test_env_step(m->x.t));
    if (m->volume.config_version != 0)
        m->x.config_version = m->volume.config_version;
}

static const struct job_record *
finish(struct mount *m)
{
    const struct job *j = jobs_find(m->jobs, "drain");
    while (j->rec.state == JOB_RUNNING)
        step(m);
    return &j->rec;
}

static uint32_t
placed(struct mount *m, unsigned k)
{
    for (struct c2_map_node *n = c2_map_next(&m->x.fs->objects, NULL); n != NULL;
         n = c2_map_next(&m->x.fs->objects, n)) {
        const struct fs_object *o = C2_CONTAINER_OF(n, struct fs_object, node);
        if (memcmp(&o->ref.oid, &m->o[k].ref.oid, sizeof(o->ref.oid)) == 0)
            return o->placed;
    }
    fail_msg("object %u is not known", k);
    return 0;
}

static unsigned
moved(struct mount *m)
{
    unsigned n = 0;
    for (unsigned k = 0; k < FILES; k++)
        n += (placed(m, k) & 1u << LEAVING) == 0;
    return n;
}

static void
record_changed(struct fs_place *p)
{
    assert_int_equal(p->err, C2_E_OK);
    p->n = 0;
}

static void
drain__moves_the_most_endangered_object_first(void **state)
{
    struct mount *m = *state;
    struct fs_place *less = c2_calloc(1, sizeof(*less));
    *less = (struct fs_place){ .fs = m->x.fs, .n = 1, .done = record_changed };
    less->item[0] = (struct fs_place_item){ .ref = m->o[FILES - 1].ref, .clear = 1u << 2 };
    fs_place_start(less);
    while (less->n > 0)
        assert_true(test_env_step(m->x.t));
    c2_free(less);
    drain(m, 0);
    while (moved(m) == 0)
        step(m);
    assert_int_equal(placed(m, FILES - 1) & 1u << LEAVING, 0);
    assert_int_equal(moved(m), 1);
    const struct job_record *rec = finish(m);
    assert_int_equal(rec->state, JOB_DONE);
    assert_int_equal(rec->errors, 0);
    assert_int_equal(moved(m), FILES);
    assert_int_equal(c2_mark_count("seat: the most endangered objects were first"), 1);
    assert_int_equal(rec->objects_done, FILES);
    assert_int_equal(rec->objects_total, FILES);
    assert_int_equal(rec->counter[0], FILES); /* none of them twice */
}

static void
drain__in_one_stage_when_all_are_as_well_off(void **state)
{
    struct mount *m = *state;
    drain(m, 0);
    const struct job_record *rec = finish(m);
    assert_int_equal(rec->state, JOB_DONE);
    assert_int_equal(moved(m), FILES);
    assert_int_equal(c2_mark_count("seat: the most endangered objects were first"), 0);
    assert_int_equal(m->volume.config.seats[LEAVING].state, VOLUME_SEAT_DRAINING);
    for (unsigned k = 0; k < FILES; k++)
        assert_int_equal(placed(m, k), 1u << 0 | 1u << 2 | 1u << SPARE);
}

static void
drain__that_was_cancelled_goes_on_when_it_is_started_again(void **state)
{
    struct mount *m = *state;
    struct asked q = { .a = { .done = answered } };
    drain(m, 1000); /* a byte more than one object, and the next has to wait for minutes */
    while (moved(m) == 0)
        step(m);
    jobs_control(m->jobs, "drain", JOB_CANCEL, &q.a);
    while (!q.done)
        step(m);
    assert_int_equal(q.a.err, C2_E_OK);
    assert_int_equal(jobs_find(m->jobs, "drain")->rec.state, JOB_CANCELED);
    assert_int_equal(m->volume.retired_holds, 0);
    uint32_t epoch = m->volume.config.config_epoch;
    unsigned before = moved(m);
    assert_true(before < FILES);
    drain(m, 0);
    assert_int_equal(m->volume.retired_holds, 1);
    const struct job_record *rec = finish(m);
    assert_int_equal(rec->state, JOB_DONE);
    assert_int_equal(m->volume.config.config_epoch, epoch);
    assert_int_equal(rec->counter[0], FILES - before);
    assert_int_equal(moved(m), FILES);
}

/* The mount ends while the seat's state changes. */
static void
drain__of_a_mount_that_ends_does_not_wait_for_a_service_that_is_away(void **state)
{
    struct mount *m = *state;
    struct volume *v = &m->volume;
    struct coord_gate gate;
    coord_gate_init(&gate, v->changes);
    v->changes = &gate.base;
    gate.mute = true;
    drain(m, 0);
    test_env_run_for(m->x.t, 3600 * C2_NS_PER_S);
    assert_int_equal(v->config.seats[LEAVING].state, VOLUME_SEAT_ACTIVE);
    uint64_t from_ns = c2_now_ns(v->env);
    volume_changes_end(v);
    close_jobs(m);
    assert_in_range(c2_now_ns(v->env) - from_ns, 0, 2 * VOLUME_CHANGE_LAST_NS);
    v->changes = m->x.coord;
    open_jobs(m);
    assert_int_equal(finish(m)->state, JOB_DONE); /* the next one goes on */
    assert_int_equal(moved(m), FILES);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(drain__moves_the_most_endangered_object_first),
        T(drain__in_one_stage_when_all_are_as_well_off),
        T(drain__that_was_cancelled_goes_on_when_it_is_started_again),
        T(drain__of_a_mount_that_ends_does_not_wait_for_a_service_that_is_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
