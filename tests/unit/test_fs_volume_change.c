/* SPDX-License-Identifier: MIT */
/*
 * The configuration of an open volume changes: epochs, and what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "backends/registry.h"
#include "base/alloc.h"
#include "fs/seat_rules.h"
#include "fs/volume_impl.h"
#include "tests/lib/coord_gate.h"
#include "tests/lib/volume_rig.h"

static struct volume_rig *
open_rig(void)
{
    struct volume_rig *r = vr_new();
    vr_format(r);
    vr_open_ok(r);
    vr_conf_provider(r, "p5");
    return r;
}

struct waited {
    struct volume_change change;
    bool done;
};

static void
changed(struct volume_change *c)
{
    C2_CONTAINER_OF(c, struct waited, change)->done = true;
}

static enum c2_err
run(struct volume_rig *r, struct waited *w)
{
    w->change.volume = r->volume;
    w->change.done = changed;
    volume_change_start(&w->change);
    assert_false(w->done);
    test_env_run_until(r->env, &w->done);
    return w->change.err;
}

/* The seat's state becomes this one. */
static enum c2_err
set_state(struct volume_rig *r, unsigned seat, enum volume_seat_state state)
{
    struct waited w = { .change.next = r->volume->config };
    w.change.next.seats[seat].state = state;
    return run(r, &w);
}

static enum c2_err
put_in(struct volume_rig *r, unsigned seat, const char *name, enum volume_seat_state state)
{
    struct waited w = { .change.next = r->volume->config, .change.seat = seat };
    struct volume_seat *s = &w.change.next.seats[seat];
    struct volume *v = r->volume;
    assert_int_equal(prov_open(v->env, NULL, v->conf, name, &w.change.provider, NULL), C2_E_OK);
    memcpy(s->old_provider, s->provider, sizeof(s->old_provider));
    memcpy(s->old_url, s->url, sizeof(s->old_url));
    snprintf(s->provider, sizeof s->provider, "%s", name);
    snprintf(s->url, sizeof s->url, "%s", c2_conf_str(v->conf, "provider", name, "url"));
    s->state = state;
    if (seat == w.change.next.n)
        w.change.next.n++;
    return run(r, &w);
}

static void
change__begins_an_epoch_that_outlives_a_mount(void **state)
{
    (void)state;
    struct volume_rig *r = open_rig();
    uint32_t epoch = r->volume->config.config_epoch;
    uint64_t version = r->volume->config_version;
    struct provider *old = r->volume->providers[1];
    assert_int_equal(put_in(r, 1, "p5", VOLUME_SEAT_REBUILDING), C2_E_OK);
    assert_int_equal(r->volume->config.config_epoch, epoch + 1);
    assert_true(r->volume->config_version > version);
    assert_string_equal(r->volume->providers[1]->name, "p5");
    assert_ptr_equal(volume_retired_find(r->volume, "p2"), old);
    volume_retired_hold(r->volume);
    volume_retired_hold(r->volume);
    volume_retired_close(r->volume);
    volume_retired_release(r->volume);
    assert_ptr_equal(volume_retired_find(r->volume, "p2"), old); /* still held */
    volume_retired_release(r->volume);
    assert_null(volume_retired_find(r->volume, "p2"));
    assert_int_equal(set_state(r, 3, VOLUME_SEAT_OFFLINE), C2_E_OK);
    struct ds_seat_status s;
    ds_seat_status(r->volume->ds, 3, &s);
    assert_int_equal(s.state, DS_SEAT_EMPTY);
    vr_close(r);
    vr_open_ok(r);
    assert_int_equal(r->volume->config.config_epoch, epoch + 2);
    assert_string_equal(r->volume->config.seats[1].provider, "p5");
    assert_string_equal(r->volume->config.seats[1].old_provider, "p2");
    assert_null(r->volume->providers[3]); /* offline: not even opened */
    assert_int_equal(put_in(r, 3, "p4", VOLUME_SEAT_ACTIVE), C2_E_OK);
    ds_seat_status(r->volume->ds, 3, &s);
    assert_int_equal(s.state, DS_SEAT_ONLINE);
    vr_free(r);
}

static void
change__can_add_a_seat(void **state)
{
    (void)state;
    struct volume_rig *r = open_rig();
    assert_int_equal(put_in(r, 4, "p5", VOLUME_SEAT_ACTIVE), C2_E_OK);
    assert_int_equal(r->volume->config.n, 5);
    assert_int_equal(ds_client_n(r->volume->ds), 5);
    vr_free(r);
}

static void
change__of_a_configuration_that_is_not_the_current_one_is_refused(void **state)
{
    (void)state;
    struct volume_rig *r = open_rig();
    uint32_t epoch = r->volume->config.config_epoch;
    r->volume->config_version--;
    assert_int_equal(set_state(r, 3, VOLUME_SEAT_OFFLINE), C2_E_CONFLICT);
    assert_int_equal(r->volume->config.config_epoch, epoch);
    assert_int_equal(r->volume->config.seats[3].state, VOLUME_SEAT_ACTIVE);
    r->volume->config_version++;
    r->volume->fence_token--;
    assert_int_equal(set_state(r, 3, VOLUME_SEAT_OFFLINE), C2_E_FENCED);
    r->volume->fence_token++;
    assert_int_equal(set_state(r, 3, VOLUME_SEAT_OFFLINE), C2_E_OK);
    vr_free(r);
}

/* What a mount on replicas sees when its session with them is lost: the change has happened. If it
 * did not find out, no commit under the old version of the configuration would ever be accepted. */
static void
change__whose_answer_is_lost_has_happened_once(void **state)
{
    (void)state;
    struct volume_rig *r = open_rig();
    struct coord *changes = r->volume->changes;
    struct coord_gate gate;
    uint32_t epoch = r->volume->config.config_epoch;
    coord_gate_init(&gate, changes);
    r->volume->changes = &gate.base;
    gate.lie = 1;
    assert_int_equal(set_state(r, 3, VOLUME_SEAT_OFFLINE), C2_E_OK);
    assert_int_equal(gate.lie, 0);
    assert_int_equal(r->volume->config.config_epoch, epoch + 1);
    assert_int_equal(r->volume->config.seats[3].state, VOLUME_SEAT_OFFLINE);
    r->volume->changes = changes;
    assert_int_equal(set_state(r, 2, VOLUME_SEAT_DRAINING), C2_E_OK); /* it knows the version */
    vr_close(r);
    vr_open_ok(r);
    assert_int_equal(r->volume->config.config_epoch, epoch + 2);
    vr_free(r);
}

/* Nothing has happened, and the service is away for a while. */
static void
change__waits_for_a_service_that_is_away(void **state)
{
    (void)state;
    struct volume_rig *r = open_rig();
    struct coord *changes = r->volume->changes;
    struct coord_gate gate;
    struct waited w = { .change.next = r->volume->config };
    w.change.next.seats[3].state = VOLUME_SEAT_OFFLINE;
    w.change.volume = r->volume;
    w.change.done = changed;
    coord_gate_init(&gate, changes);
    r->volume->changes = &gate.base;
    gate.silent = true;
    volume_change_start(&w.change);
    test_env_run_for(r->env, 10 * C2_NS_PER_S);
    assert_false(w.done);
    gate.silent = false;
    test_env_run_until(r->env, &w.done);
    assert_int_equal(w.change.err, C2_E_OK);
    assert_int_equal(r->volume->config.seats[3].state, VOLUME_SEAT_OFFLINE);
    r->volume->changes = changes;
    vr_free(r);
}

/* Nobody answers: neither says so (mute) nor fails at once (silent). */
static void
end_without_answer(struct volume_rig *r, bool mute, bool begins_later)
{
    struct volume *v = r->volume;
    struct coord *changes = v->changes;
    struct coord_gate gate;
    uint32_t epoch = v->config.config_epoch;
    struct waited w = { .change.next = v->config, .change.volume = v, .change.done = changed };
    w.change.next.seats[3].state = VOLUME_SEAT_OFFLINE;
    coord_gate_init(&gate, changes);
    v->changes = &gate.base;
    gate.mute = mute;
    gate.silent = !mute;
    if (!begins_later) {
        volume_change_start(&w.change);
        test_env_run_for(r->env, 3600 * C2_NS_PER_S);
        assert_false(w.done);
    }
    volume_changes_end(v);
    if (begins_later)
        volume_change_start(&w.change);
    uint64_t from_ns = c2_now_ns(v->env);
    test_env_run_until(r->env, &w.done);
    assert_in_range(c2_now_ns(v->env) - from_ns, 0, 2 * VOLUME_CHANGE_LAST_NS);
    assert_int_equal(w.change.err, C2_E_TIMEOUT);
    assert_int_equal(v->config.config_epoch, epoch);
    v->changes = changes;
}

static void
change__of_a_volume_that_ends_does_not_wait_for_a_service_that_is_away(void **state)
{
    (void)state;
    for (unsigned k = 0; k < 4; k++) {
        struct volume_rig *r = open_rig();
        end_without_answer(r, (k & 1) != 0, (k & 2) != 0);
        vr_free(r);
    }
}

/* The last commits need to know of it. */
static void
change__of_a_volume_that_ends_is_heard_of_when_the_service_is_back_soon(void **state)
{
    (void)state;
    struct volume_rig *r = open_rig();
    struct volume *v = r->volume;
    struct coord *changes = v->changes;
    struct coord_gate gate;
    uint32_t epoch = v->config.config_epoch;
    struct waited w = { .change.next = v->config, .change.volume = v, .change.done = changed };
    w.change.next.seats[3].state = VOLUME_SEAT_OFFLINE;
    coord_gate_init(&gate, changes);
    v->changes = &gate.base;
    gate.silent = true;
    volume_change_start(&w.change);
    test_env_run_for(r->env, 3600 * C2_NS_PER_S);
    volume_changes_end(v);
    test_env_run_for(r->env, VOLUME_CHANGE_LAST_NS / 2);
    assert_false(w.done);
    gate.silent = false;
    gate.lie = 1;
    test_env_run_until(r->env, &w.done);
    assert_int_equal(w.change.err, C2_E_OK);
    assert_int_equal(v->config.config_epoch, epoch + 1);
    v->changes = changes;
    vr_free(r);
}

/* ---- rules ----------------------------------------------------------------------------------- */

static void
expect(enum c2_err err, enum c2_err want, char *error, const char *text)
{
    assert_int_equal(err, want);
    if (text == NULL)
        assert_null(error);
    else if (error == NULL || strstr(error, text) == NULL)
        fail_msg("'%s' does not say '%s'", error == NULL ? "" : error, text);
    c2_free(error);
}

#define EXPECT(call, want, text)                                                                   \
    do {                                                                                           \
        char *error = NULL;                                                                        \
        enum c2_err err = (call);                                                                  \
        expect(err, want, error, text);                                                            \
    } while (0)

static void
rules__refuse_what_would_leave_data_below_its_goal(void **state)
{
    (void)state;
    struct volume_rig *r = open_rig();
    const struct volume *v = r->volume;
    unsigned seat = 99;
    EXPECT(seat_may_replace(v, "p2", "p5", &seat, &error), C2_E_OK, NULL);
    assert_int_equal(seat, 1);
    EXPECT(seat_may_replace(v, "p9", "p5", &seat, &error), C2_E_NOT_FOUND, "did you mean");
    EXPECT(seat_may_replace(v, "p2", "p9", &seat, &error), C2_E_CONFIG, "[provider \"p9\"]");
    EXPECT(seat_may_replace(v, "p2", "p3", &seat, &error), C2_E_EXISTS, "already");
    EXPECT(seat_may_leave(v, "p2", true, &seat, &error), C2_E_PRECONDITION, "provider replace p2");
    EXPECT(seat_may_leave(v, "p2", false, &seat, &error), C2_E_OK, NULL);
    EXPECT(seat_may_add(v, "p5", &seat, &error), C2_E_OK, NULL);
    assert_int_equal(seat, 4);
    EXPECT(seat_may_purge(v, "p5", &error), C2_E_OK, NULL);
    EXPECT(seat_may_purge(v, "p9", &error), C2_E_NOT_FOUND, "[provider \"p9\"]");
    EXPECT(seat_may_purge(v, "p2", &error), C2_E_PRECONDITION, "uses \"p2\"");
    EXPECT(seat_may_go_offline(v, "p1", &seat, &error), C2_E_OK, NULL);
    assert_int_equal(set_state(r, 0, VOLUME_SEAT_OFFLINE), C2_E_OK);
    EXPECT(seat_may_go_offline(v, "p2", &seat, &error), C2_E_PRECONDITION, "online p1");
    EXPECT(seat_may_replace(v, "p2", "p5", &seat, &error), C2_E_PRECONDITION, "online p1");
    EXPECT(seat_may_replace(v, "p1", "p5", &seat, &error), C2_E_OK, NULL);
    EXPECT(seat_may_go_online(v, "p1", &seat, &error), C2_E_OK, NULL);
    vr_free(r);
}

static void
rules__allow_one_change_at_a_time(void **state)
{
    (void)state;
    struct volume_rig *r = open_rig();
    const struct volume *v = r->volume;
    unsigned seat = 99;
    assert_int_equal(put_in(r, 1, "p5", VOLUME_SEAT_REBUILDING), C2_E_OK);
    EXPECT(seat_may_replace(v, "p2", "p5", &seat, &error), C2_E_OK, NULL); /* goes on */
    assert_int_equal(seat, 1);
    vr_conf_provider(r, "p6");
    EXPECT(seat_may_replace(v, "p2", "p6", &seat, &error), C2_E_OK, NULL); /* another one instead */
    EXPECT(seat_may_replace(v, "p3", "p6", &seat, &error), C2_E_BUSY, "provider replace p2 p5");
    EXPECT(seat_may_leave(v, "p3", false, &seat, &error), C2_E_BUSY, "being replaced");
    EXPECT(seat_may_go_offline(v, "p3", &seat, &error), C2_E_BUSY, "being replaced");
    EXPECT(seat_may_go_online(v, "p5", &seat, &error), C2_E_BUSY, "being replaced");
    EXPECT(seat_may_purge(v, "p2", &error), C2_E_PRECONDITION, "still moving away from \"p2\"");
    EXPECT(seat_may_purge(v, "p5", &error), C2_E_PRECONDITION, "uses \"p5\"");
    vr_free(r);
}

static void
rules__with_a_spare_provider_one_may_go(void **state)
{
    (void)state;
    struct volume_rig *r = open_rig();
    unsigned seat = 99;
    assert_int_equal(put_in(r, 4, "p5", VOLUME_SEAT_ACTIVE), C2_E_OK);
    EXPECT(seat_may_leave(r->volume, "p2", true, &seat, &error), C2_E_OK, NULL);
    assert_int_equal(set_state(r, 1, VOLUME_SEAT_EMPTY), C2_E_OK);
    EXPECT(seat_may_leave(r->volume, "p3", true, &seat, &error), C2_E_PRECONDITION, "needs 4");
    EXPECT(seat_may_add(r->volume, "p2", &seat, &error), C2_E_OK, NULL);
    assert_int_equal(seat, 1); /* empty seats are taken first */
    vr_free(r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(change__begins_an_epoch_that_outlives_a_mount),
        cmocka_unit_test(change__can_add_a_seat),
        cmocka_unit_test(change__of_a_configuration_that_is_not_the_current_one_is_refused),
        cmocka_unit_test(change__whose_answer_is_lost_has_happened_once),
        cmocka_unit_test(change__waits_for_a_service_that_is_away),
        cmocka_unit_test(change__of_a_volume_that_ends_does_not_wait_for_a_service_that_is_away),
        cmocka_unit_test(change__of_a_volume_that_ends_is_heard_of_when_the_service_is_back_soon),
        cmocka_unit_test(rules__refuse_what_would_leave_data_below_its_goal),
        cmocka_unit_test(rules__allow_one_change_at_a_time),
        cmocka_unit_test(rules__with_a_spare_provider_one_may_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
