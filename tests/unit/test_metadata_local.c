/* SPDX-License-Identifier: MIT */
/*
 * Groups, order, cancellation, growth and failure of the local service.
 */
#include "metadata/local.h"

#include "base/alloc.h"
#include "base/mark.h"
#include "metadata/registry.h"
#include "tests/lib/coord_fixture.h"
#include "tests/lib/death.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* --- groups ---------------------------------------------------------------------------------- */

static void
group__commits_once_for_all_that_came_in_one_turn(void **state)
{
    struct coord_fixture *f = *state;
    enum { N = 100 };
    struct coord_op ops[N];
    char keys[N][16];
    struct coord_call calls[N] = { 0 };
    uint64_t counter = 0;
    uint64_t before = coord_local_commits(f->c);
    for (size_t i = 0; i < N; i++) {
        snprintf(keys[i], sizeof keys[i], "k%03zu", i);
        ops[i] = op(COORD_PUT, keys[i], "v", 0);
        calls[i].r.ops = &ops[i];
        calls[i].r.nops = 1;
        calls[i].counter = &counter;
        coord_call_start(f, &calls[i]);
    }
    for (size_t i = 0; i < N; i++) {
        coord_call_wait(f, &calls[i]);
        assert_int_equal(calls[i].r.err, C2_E_OK);
        assert_int_equal(calls[i].r.version, i + 1); /* in order, each its own */
        assert_int_equal(calls[i].order, i + 1);
    }
    assert_int_equal(coord_local_commits(f->c), before + 1);
    assert_int_equal(f->c->txns, N);
}

static void
group__keeps_its_members_apart(void **state)
{
    struct coord_fixture *f = *state;
    const struct coord_cond absent = cond(COORD_ABSENT, "lock", NULL, 0);
    struct coord_op ops[3] = { op(COORD_PUT, "lock", "first", 0),
                               op(COORD_PUT, "lock", "second", 0),
                               op(COORD_PUT, "other", "third", 0) };
    struct coord_call calls[3] = { 0 };
    for (size_t i = 0; i < 3; i++) {
        calls[i].r.conds = &absent;
        calls[i].r.nconds = i < 2;
        calls[i].r.ops = &ops[i];
        calls[i].r.nops = 1;
        coord_call_start(f, &calls[i]);
    }
    for (size_t i = 0; i < 3; i++)
        coord_call_wait(f, &calls[i]);
    assert_int_equal(calls[0].r.err, C2_E_OK);
    assert_int_equal(calls[0].r.version, 1);
    /* The second saw the first, although both were one commit. */
    assert_int_equal(calls[1].r.err, C2_E_CONFLICT);
    assert_true(c2_slice_equal(calls[1].r.entries[0].value, c2_slice_str("first")));
    coord_req_done(&calls[1].r);
    assert_int_equal(calls[2].r.err, C2_E_OK);
    assert_int_equal(calls[2].r.version, 2);
    assert_value(f, "lock", "first");
    assert_value(f, "other", "third");
}

static void
group__that_only_fails_writes_nothing(void **state)
{
    struct coord_fixture *f = *state;
    uint64_t before = coord_local_commits(f->c);
    for (int i = 0; i < 3; i++)
        assert_int_equal(txn_if(f, cond(COORD_EXISTS, "none", NULL, 0), op(COORD_PUT, "a", "", 0)),
                         C2_E_CONFLICT);
    assert_int_equal(coord_local_commits(f->c), before);
}

static void
read__sees_what_completed_before(void **state)
{
    struct coord_fixture *f = *state;
    struct coord_op o = op(COORD_PUT, "k", "new", 0);
    struct coord_call write = { .r = { .ops = &o, .nops = 1 } };
    const struct c2_slice key = c2_slice_str("k");
    struct coord_call read = { .r = { .verb = COORD_GET, .keys = &key, .nkeys = 1 } };
    assert_int_equal(coord_call_run(f, &write), C2_E_OK);
    assert_int_equal(coord_call_run(f, &read), C2_E_OK);
    assert_int_equal(read.r.version, write.r.version);
    assert_int_equal(read.r.entries[0].version, write.r.version);
    coord_req_done(&read.r);
    assert_int_equal(f->c->reads, 1);
}

/* --- cancel and deadlines -------------------------------------------------------------------- */

static void
cancel__takes_a_waiting_request_out(void **state)
{
    struct coord_fixture *f = *state;
    struct coord_op o = op(COORD_PUT, "k", "v", 0);
    struct coord_call write = { .r = { .ops = &o, .nops = 1 } };
    const struct c2_slice key = c2_slice_str("k");
    struct coord_call read = { .r = { .verb = COORD_GET, .keys = &key, .nkeys = 1 } };
    struct coord_call refused = { .r = { .verb = COORD_SESSION_OPEN } };
    coord_call_start(f, &write);
    coord_call_start(f, &read);
    coord_call_start(f, &refused);
    coord_cancel(f->c, &write.r);
    coord_cancel(f->c, &read.r);
    coord_cancel(f->c, &refused.r);
    assert_false(write.completed || read.completed || refused.completed);
    coord_call_wait(f, &write);
    coord_call_wait(f, &read);
    coord_call_wait(f, &refused);
    assert_int_equal(write.r.err, C2_E_CANCELED);
    assert_int_equal(read.r.err, C2_E_CANCELED);
    assert_int_equal(refused.r.err, C2_E_INVALID);
    assert_absent(f, "k");
}

static void
cancel__lets_a_request_that_is_being_applied_finish(void **state)
{
    struct coord_fixture *f = *state;
    struct coord_op o = op(COORD_PUT, "k", "v", 0);
    struct coord_call write = { .r = { .ops = &o, .nops = 1 } };
    coord_call_start(f, &write);
    assert_true(test_env_step(f->t)); /* the group is formed and on the pool */
    assert_false(write.completed);
    coord_cancel(f->c, &write.r);
    coord_call_wait(f, &write);
    assert_int_equal(write.r.err, C2_E_OK);
    assert_value(f, "k", "v");
}

static void
deadline__in_the_past_fails_at_once(void **state)
{
    struct coord_fixture *f = *state;
    test_env_run_for(f->t, C2_NS_PER_S);
    struct coord_op o = op(COORD_PUT, "k", "v", 0);
    struct coord_call write = { .r = { .ops = &o, .nops = 1 } };
    write.r.deadline_ns = c2_now_ns(f->env);
    assert_int_equal(coord_call_run(f, &write), C2_E_TIMEOUT);
    assert_absent(f, "k");
}

/* --- growth ---------------------------------------------------------------------------------- */

static void
reopen(struct coord_fixture *f, uint64_t map_size)
{
    char *error = NULL;
    coord_fixture_close(f);
    assert_int_equal(coord_local_open(f->env, f->path, false, map_size, &f->c, &error), C2_E_OK);
}

static void
start_big_put(struct coord_fixture *f, struct coord_call *call, struct coord_op *o)
{
    static uint8_t value[COORD_VALUE_MAX];
    for (size_t i = 0; i < 15; i++) {
        static const char keys[15][2] = { "a", "b", "c", "d", "e", "f", "g", "h",
                                          "i", "j", "k", "l", "m", "n", "o" };
        o[i] =
            (struct coord_op){ COORD_PUT, c2_slice_str(keys[i]), c2_slice(value, sizeof value), 0 };
    }
    *call = (struct coord_call){ .r = { .ops = o, .nops = 15 } };
    coord_call_start(f, call);
}

static void
map__grows_when_it_is_full(void **state)
{
    struct coord_fixture *f = *state;
    reopen(f, 1u << 20);
    for (int i = 0; i < 8; i++) { /* a megabyte each, and as much in the log */
        struct coord_op ops[15];
        struct coord_call call;
        start_big_put(f, &call, ops);
        coord_call_wait(f, &call);
        assert_int_equal(call.r.err, C2_E_OK);
        assert_int_equal(call.r.version, i + 1);
    }
}

struct during_dump {
    struct coord_fixture *f;
    struct coord_call big, late;
    struct coord_op big_ops[15], late_op;
    bool done;
};

/* The dump holds a snapshot: the map cannot move, so the group waits, and what queues behind it
 * keeps to its deadline. */
static enum c2_err
write_during_dump(void *arg, struct c2_slice chunk)
{
    struct during_dump *d = arg;
    (void)chunk;
    if (d->done)
        return C2_E_OK;
    d->done = true;
    start_big_put(d->f, &d->big, d->big_ops);
    test_env_run_ready(d->f->t);
    assert_false(d->big.completed);
    d->late_op = op(COORD_PUT, "late", "", 0);
    d->late = (struct coord_call){ .r = { .ops = &d->late_op, .nops = 1 } };
    d->late.r.deadline_ns = c2_now_ns(d->f->env) + C2_NS_PER_S;
    coord_call_start(d->f, &d->late);
    test_env_run_for(d->f->t, 10 * C2_NS_PER_S);
    assert_false(d->big.completed);
    assert_true(d->late.completed);
    assert_int_equal(d->late.r.err, C2_E_TIMEOUT);
    return C2_E_OK;
}

static void
map__waits_for_a_dump_before_it_grows(void **state)
{
    struct coord_fixture *f = *state;
    reopen(f, 1u << 20);
    put(f, "x", "y");
    struct during_dump d = { .f = f };
    uint64_t version = 0;
    assert_int_equal(coord_local_dump(f->c, write_during_dump, &d, &version), C2_E_OK);
    assert_int_equal(version, 1);
    coord_call_wait(f, &d.big);
    assert_int_equal(d.big.r.err, C2_E_OK);
    assert_absent(f, "late");
}

/* --- failing disks --------------------------------------------------------------------------- */

/* Runs fn in a child, because it damages the process; true when it returned true. */
static bool
in_child(bool (*fn)(void))
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setenv("CMOCKA_TEST_ABORT", "1", 1); /* a failed assertion must not run the other tests */
        _exit(fn() ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void
set_file_size_limit(rlim_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static bool
full_disk(void)
{
    struct coord_fixture f;
    coord_fixture_init(&f);
    uint64_t before = put(&f, "kept", "value");
    set_file_size_limit(256 << 10);
    struct coord_op ops[15];
    struct coord_call call;
    start_big_put(&f, &call, ops);
    coord_call_wait(&f, &call);
    bool good = call.r.err == C2_E_NO_SPACE;
    assert_value(&f, "kept", "value");
    assert_absent(&f, "a");
    set_file_size_limit(RLIM_INFINITY);
    good = good && put(&f, "next", "") == before + 1;
    coord_fixture_close(&f);
    coord_fixture_open(&f);
    assert_value(&f, "next", "");
    coord_fixture_done(&f);
    return good;
}

static void
full_disk__fails_the_group_and_nothing_else(void **state)
{
    (void)state;
    assert_true(in_child(full_disk));
}

/* Puts a read-only descriptor in the place of the one LMDB writes to. */
static void
break_data_file(const char *folder)
{
    char *file = c2_asprintf("%s/data.mdb", folder);
    int broken = open(file, O_RDONLY);
    assert_true(broken >= 0);
    for (int fd = 3; fd < 100; fd++) {
        char link[64];
        char target[512];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, target, sizeof target);
        if (fd != broken && n > 0 && (size_t)n == strlen(file) &&
            memcmp(target, file, (size_t)n) == 0)
            dup2(broken, fd);
    }
    c2_free(file);
}

static bool
broken_disk(void)
{
    struct coord_fixture f;
    coord_fixture_init(&f);
    put(&f, "kept", "value");
    break_data_file(f.path);
    struct coord_op o = op(COORD_PUT, "lost", "", 0);
    struct coord_call calls[2] = { { .r = { .ops = &o, .nops = 1 } },
                                   { .r = { .ops = &o, .nops = 1 } } };
    coord_call_start(&f, &calls[0]);
    test_env_step(f.t);
    coord_call_start(&f, &calls[1]); /* waits behind the group that fails */
    coord_call_wait(&f, &calls[0]);
    coord_call_wait(&f, &calls[1]);
    bool good = calls[0].r.err == C2_E_IO && calls[1].r.err == C2_E_IO;
    const struct c2_slice key = c2_slice_str("kept");
    struct coord_call read = { .r = { .verb = COORD_GET, .keys = &key, .nkeys = 1 } };
    good = good && coord_call_run(&f, &read) == C2_E_IO;
    coord_fixture_close(&f);
    coord_fixture_open(&f); /* a new descriptor: everything acknowledged is there */
    assert_value(&f, "kept", "value");
    assert_absent(&f, "lost");
    put(&f, "again", "");
    coord_fixture_done(&f);
    return good;
}

static void
broken_disk__stops_the_store_for_good(void **state)
{
    (void)state;
    assert_true(in_child(broken_disk));
}

/* --- closing --------------------------------------------------------------------------------- */

struct closing_call {
    struct coord_req r;
    struct coord_fixture *f;
    bool completed;
};

static void
close_in_done(struct coord_req *r)
{
    struct closing_call *call = C2_CONTAINER_OF(r, struct closing_call, r);
    coord_close(call->f->c);
    call->f->c = NULL;
    call->completed = true;
}

static void
close__may_come_from_the_last_completion(void **state)
{
    struct coord_fixture *f = *state;
    struct coord_op o = op(COORD_PUT, "k", "v", 0);
    struct closing_call call = { .r = { .ops = &o, .nops = 1, .done = close_in_done }, .f = f };
    coord_submit(f->c, &call.r);
    test_env_run_until(f->t, &call.completed);
    test_env_run_ready(f->t);
    coord_fixture_open(f);
    assert_value(f, "k", "v");
}

static void
close__waits_for_an_expiry_in_progress(void **state)
{
    struct coord_fixture *f = *state;
    uint64_t s = session_open(f, C2_NS_PER_S);
    assert_int_equal(txn_op(f, op(COORD_PUT_EPHEMERAL, "e", "", (int64_t)s), NULL), C2_E_OK);
    c2_mark_reset();
    while (c2_mark_count("metadata: expiry due") == 0)
        assert_true(test_env_step(f->t));
    assert_true(test_env_step(f->t)); /* its group is formed */
    coord_close(f->c);
    test_env_run_ready(f->t);
    assert_int_equal(c2_mark_count("metadata: closed after a group"), 1);
    coord_fixture_open(f);
    assert_absent(f, "e");
}

static void
close__before_the_expiry_began_is_fine(void **state)
{
    struct coord_fixture *f = *state;
    session_open(f, C2_NS_PER_S);
    c2_mark_reset();
    while (c2_mark_count("metadata: expiry due") == 0)
        assert_true(test_env_step(f->t));
    coord_close(f->c); /* the task that forms the group is on its way */
    test_env_run_ready(f->t);
    coord_fixture_open(f);
}

/* No machine has so much address space: it takes what there is, and works. */
static void
map__is_smaller_where_address_space_is_scarce(void **state)
{
    struct coord_fixture *f = *state;
    reopen(f, 1ull << 60);
    assert_int_equal(put(f, "k", "v"), 1);
}

static void
close_it(void *arg)
{
    struct coord_fixture *f = arg;
    coord_close(f->c);
}

/* Whoever asked it would never be answered. */
static void
close__before_a_read_is_done_is_a_mistake(void **state)
{
    struct coord_fixture *f = *state;
    static const struct c2_slice key = { (const uint8_t *)"key", 3 };
    struct coord_call call = { .r = { .verb = COORD_GET, .keys = &key, .nkeys = 1 } };
    coord_call_start(f, &call);
    test_aborts(close_it, f, "assertion failed");
    coord_call_wait(f, &call);
    coord_req_done(&call.r);
    coord_call_start(f, &call);
    coord_cancel(f->c, &call.r);
    coord_call_wait(f, &call);
    assert_int_equal(call.r.err, C2_E_CANCELED);
    coord_fixture_close(f);
    coord_fixture_open(f);
}

int
main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, coord_fixture_setup, coord_fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(group__commits_once_for_all_that_came_in_one_turn),
        T(group__keeps_its_members_apart),
        T(group__that_only_fails_writes_nothing),
        T(read__sees_what_completed_before),
        T(cancel__takes_a_waiting_request_out),
        T(cancel__lets_a_request_that_is_being_applied_finish),
        T(deadline__in_the_past_fails_at_once),
        T(map__grows_when_it_is_full),
        T(map__is_smaller_where_address_space_is_scarce),
        T(map__waits_for_a_dump_before_it_grows),
        cmocka_unit_test(full_disk__fails_the_group_and_nothing_else),
        cmocka_unit_test(broken_disk__stops_the_store_for_good),
        T(close__may_come_from_the_last_completion),
        T(close__waits_for_an_expiry_in_progress),
        T(close__before_the_expiry_began_is_fine),
        T(close__before_a_read_is_done_is_a_mistake),
    };
    return cmocka_run_group_tests_name("metadata_local", tests, NULL, NULL);
}
