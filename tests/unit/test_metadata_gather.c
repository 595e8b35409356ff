/* SPDX-License-Identifier: MIT */
/*
 * What waits for what, so that fewer signatures and agreements do: commands of one client, and
 * batches of the primary. Counted; the clock of the environment moves only when told.
 */
#include "metadata/bft_client.h"

#include "tests/lib/bft_rig.h"
#include "tests/lib/coord_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define MANY   16
#define ROUNDS 10

/* Requests, and one after the other arrives at the primary. */
struct seen {
    uint64_t requests; /* distinct messages of clients */
    uint64_t proposals;
    bool held; /* nobody's vote for a batch arrives */
};

static bool
counts(void *arg, unsigned from, unsigned to, struct c2_slice m)
{
    struct seen *s = arg;
    struct msg_head h;
    if (msg_read_head(m, &h) != C2_E_OK)
        return true;
    s->requests += h.type == MSG_REQUEST && to == 0 && from >= BFT_RIG_CLIENT;
    s->proposals += h.type == MSG_PRE_PREPARE && from == 0 && to == 1;
    return !(s->held && h.type == MSG_COMMIT);
}

static void
start_put(struct coord_fixture *f, struct coord_call *call, const struct coord_op *o)
{
    *call = (struct coord_call){ .r = { .verb = COORD_TXN, .ops = o, .nops = 1 } };
    coord_call_start(f, call);
}

static void
end_put(struct coord_fixture *f, struct coord_call *call)
{
    coord_call_wait(f, call);
    assert_int_equal(call->r.err, C2_E_OK);
    coord_req_done(&call->r);
}

static void
watch_network(struct coord_fixture *f, struct seen *s)
{
    put(f, "key", "value");
    test_env_run_for(f->t, C2_NS_PER_S);
    *s = (struct seen){ 0 };
    test_hub_filter(f->rig->hub, counts, s);
}

static void
command__that_is_alone_is_sent_at_once(void **state)
{
    struct coord_fixture *f = *state;
    const struct coord_op o = op(COORD_PUT, "key", "v", 0);
    struct coord_call call;
    struct seen s;
    watch_network(f, &s);
    for (unsigned i = 0; i < ROUNDS; i++) {
        start_put(f, &call, &o);
        test_env_run_ready(f->t);
        assert_int_equal(s.requests, i + 1);
        end_put(f, &call);
    }
    test_hub_filter(f->rig->hub, NULL, NULL);
    assert_int_equal(s.proposals, ROUNDS);
}

static void
commands__that_come_one_by_one_have_one_signature(void **state)
{
    struct coord_fixture *f = *state;
    const struct coord_op o = op(COORD_PUT, "key", "v", 0);
    struct coord_call call[MANY];
    struct seen s;
    watch_network(f, &s);
    s.held = true;
    for (unsigned i = 0; i < MANY / 2; i++)
        start_put(f, &call[i], &o);
    test_env_run_ready(f->t);
    assert_int_equal(s.requests, 1);
    for (unsigned i = MANY / 2; i < MANY; i++) { /* within a millisecond */
        start_put(f, &call[i], &o);
        test_env_run_for(f->t, C2_NS_PER_MS / (2 * MANY));
    }
    assert_int_equal(s.requests, 1);
    test_env_run_for(f->t, C2_NS_PER_MS);
    assert_int_equal(s.requests, 2);
    test_hub_filter(f->rig->hub, NULL, NULL);
    for (unsigned i = 0; i < MANY; i++)
        end_put(f, &call[i]);
}

/* All that were answered go on, one after the other: the first does not go alone. */
static void
callers__that_were_answered_together_go_on_together(void **state)
{
    struct coord_fixture *f = *state;
    const struct coord_op o = op(COORD_PUT, "key", "v", 0);
    struct coord_call call[MANY];
    struct seen s;
    watch_network(f, &s);
    for (unsigned i = 0; i < MANY; i++)
        start_put(f, &call[i], &o);
    for (unsigned i = 0; i < MANY; i++)
        end_put(f, &call[i]);
    assert_int_equal(s.requests, 1);
    assert_int_equal(s.proposals, 1);
    for (unsigned i = 0; i < MANY; i++) {
        start_put(f, &call[i], &o);
        test_env_run_for(f->t, C2_NS_PER_MS / (8 * MANY));
    }
    for (unsigned i = 0; i < MANY; i++)
        end_put(f, &call[i]);
    test_hub_filter(f->rig->hub, NULL, NULL);
    assert_int_equal(s.requests, 3); /* almost all, and the rest */
    assert_int_equal(s.proposals, 3);
}

int
main(void)
{
#define T(name)                                                                                    \
    cmocka_unit_test_setup_teardown(name, coord_fixture_setup_bft, coord_fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(command__that_is_alone_is_sent_at_once),
        T(commands__that_come_one_by_one_have_one_signature),
        T(callers__that_were_answered_together_go_on_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
