/* SPDX-License-Identifier: MIT */
/*
 * Waiting for a lock, on a service that says what the test wants it to: nobody answers a keepalive
 * before the lock is held, so a change that is overlooked is not made up for by anything.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "metadata/watch.h"
#include "tools/kv.h"

#define SESSION 7u
#define OTHER   3u /* the session that has the lock at first */
#define KEY     "lock"
#define TOKEN   9u

struct script {
    struct coord base;
    struct watch_list watches;
    struct service s;
    struct cmd_ctx x;
    unsigned tries, refused;           /* the first ones; 0 = the lock is free */
    void (*between)(struct script *k); /* before the answer to a try that is refused */
    void (*granted)(struct script *k); /* before the answer to the other one, or NULL */
    uint64_t version;                  /* of the key, as it is read */
    struct coord_req *alive;           /* is not answered yet */
    bool closed;
    bool forgets; /* what it was asked first has happened, and it does not say so */
};

static struct script *
script_of(struct coord *c)
{
    return C2_CONTAINER_OF(c, struct script, base);
}

static void
done_task(struct c2_task *t)
{
    struct coord_req *r = C2_CONTAINER_OF(t, struct coord_req, task);
    r->done(r);
}

static void
answer(struct script *k, struct coord_req *r, enum c2_err err)
{
    r->err = err;
    r->task.run = done_task;
    c2_defer(k->base.env, &r->task);
}

static void
answer_try(struct script *k, struct coord_req *r)
{
    if (k->tries++ < k->refused) {
        r->entries = c2_calloc(1, sizeof *r->entries);
        r->entries[0] = (struct coord_entry){ .key = c2_slice_str(KEY), .version = 1 };
        r->entries[0].session = OTHER;
        r->nentries = 1;
        k->between(k);
        answer(k, r, C2_E_CONFLICT);
        return;
    }
    if (k->forgets && k->tries == 1) {
        answer(k, r, C2_E_UNAVAILABLE);
        return;
    }
    if (k->forgets) {
        r->entries = c2_calloc(1, sizeof *r->entries);
        r->entries[0] = (struct coord_entry){ .key = c2_slice_str(KEY), .version = TOKEN };
        r->entries[0].session = SESSION;
        r->nentries = 1;
        answer(k, r, C2_E_CONFLICT);
        return;
    }
    r->version = TOKEN;
    if (k->granted != NULL)
        k->granted(k);
    answer(k, r, C2_E_OK);
    if (k->alive != NULL)
        answer(k, k->alive, C2_E_OK);
    k->alive = NULL;
}

static void
answer_read(struct script *k, struct coord_req *r)
{
    r->entries = c2_calloc(1, sizeof *r->entries);
    r->entries[0] = (struct coord_entry){ .key = c2_slice_str(KEY), .version = k->version };
    r->nentries = 1;
    answer(k, r, C2_E_OK);
}

static void
script_submit(struct coord *c, struct coord_req *r)
{
    struct script *k = script_of(c);
    if (r->verb == COORD_GET) {
        answer_read(k, r);
    } else if (r->verb == COORD_SESSION_OPEN) {
        r->session = SESSION;
        answer(k, r, C2_E_OK);
    } else if (r->verb == COORD_TXN) {
        answer_try(k, r);
    } else if (r->verb == COORD_SESSION_KEEPALIVE && k->tries <= k->refused) {
        k->alive = r;
    } else if (k->forgets && r->verb == COORD_SESSION_CLOSE) {
        answer(k, r, k->closed ? C2_E_SESSION : C2_E_UNAVAILABLE);
        k->closed = true;
    } else {
        k->closed = k->closed || r->verb == COORD_SESSION_CLOSE;
        answer(k, r, C2_E_OK);
    }
}

static void
script_watch(struct coord *c, struct coord_watch *w)
{
    watch_list_add(&script_of(c)->watches, w);
}

static void
script_unwatch(struct coord *c, struct coord_watch *w)
{
    watch_list_remove(&script_of(c)->watches, w);
}

static const struct coord_ops script_ops = { .submit = script_submit,
                                             .watch = script_watch,
                                             .unwatch = script_unwatch };

static int
setup(void **state)
{
    struct script *k = c2_calloc(1, sizeof *k);
    assert_int_equal(c2_os_new(1, &k->s.os), C2_E_OK);
    k->s.env = c2_os_env(k->s.os);
    k->s.x = &k->x;
    k->s.what = "kv lock";
    k->s.coord = &k->base;
    k->base.ops = &script_ops;
    k->base.env = k->s.env;
    k->version = TOKEN;
    watch_list_init(&k->watches);
    *state = k;
    return 0;
}

static int
teardown(void **state)
{
    struct script *k = *state;
    c2_os_drain(k->s.os);
    c2_os_free(k->s.os);
    c2_free(k);
    return 0;
}

/* The exit code of this command of the shell. */
static int
run_command(struct script *k, char *text)
{
    static char sh[] = "sh", c[] = "-c";
    char *command[] = { sh, c, text, NULL };
    struct kv_lock *l = kv_lock_new(KEY, command);
    int code = kv_lock_run(&k->s, l);
    c2_os_drain(k->s.os);
    kv_lock_free(l);
    return code;
}

static int
run(struct script *k)
{
    static char say[] = "exit 3";
    return run_command(k, say);
}

static void
lock__that_is_free_is_taken_and_given_back(void **state)
{
    struct script *k = *state;
    assert_int_equal(run(k), 3);
    assert_int_equal(k->tries, 1);
    assert_true(k->closed);
}

/* The answer was made before the release, and is heard of after it. */
static void
release(struct script *k)
{
    C2_LIST_FOREACH (&k->watches.watches, struct coord_watch, w, link)
        w->event(w, w->prefix, 2, true);
}

static void
lock__that_is_released_before_the_answer_is_tried_again_at_once(void **state)
{
    struct script *k = *state;
    k->refused = 1;
    k->between = release;
    assert_int_equal(run(k), 3);
    assert_int_equal(k->tries, 2);
    assert_true(k->closed);
}

/* The watch has begun meanwhile: what happened before is not told. */
static void
begin(struct script *k)
{
    C2_LIST_FOREACH (&k->watches.watches, struct coord_watch, w, link)
        w->reload(w);
}

static void
lock__that_is_released_before_the_watch_began_is_tried_again_at_once(void **state)
{
    struct script *k = *state;
    k->refused = 1;
    k->between = begin;
    assert_int_equal(run(k), 3);
    assert_int_equal(k->tries, 2);
    assert_true(k->closed);
}

static void
break_it(struct script *k)
{
    C2_LIST_FOREACH (&k->watches.watches, struct coord_watch, w, link)
        w->event(w, w->prefix, TOKEN + 1, true);
}

static void
lock__that_is_broken_before_the_answer_runs_nothing(void **state)
{
    struct script *k = *state;
    k->granted = break_it;
    assert_int_equal(run(k), CTL_EXIT_CONFLICT);
}

static void
lock__that_is_taken_is_no_broken_one(void **state)
{
    struct script *k = *state;
    k->granted = release; /* of the one before */
    assert_int_equal(run(k), 3);
}

static char for_ever[] = "exec sleep 1000";

/* The watch begins anew when the command runs: what was missed is read. */
static void
lock__that_was_broken_while_nothing_was_told_ends_the_command(void **state)
{
    struct script *k = *state;
    k->granted = begin;
    k->version = TOKEN + 1;
    assert_int_equal(run_command(k, for_ever), CTL_EXIT_CONFLICT);
}

/* The replicas have ended the session of the protocol, as of a key that many programs use. */
static void
lock__is_held_and_given_back_once_when_answers_are_lost(void **state)
{
    struct script *k = *state;
    static char token[] = "exit $C2FS_LOCK_TOKEN";
    k->forgets = true;
    assert_int_equal(run_command(k, token), TOKEN);
    assert_int_equal(k->tries, 2);
    assert_true(k->closed);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(lock__that_is_free_is_taken_and_given_back),
        T(lock__that_is_released_before_the_answer_is_tried_again_at_once),
        T(lock__that_is_released_before_the_watch_began_is_tried_again_at_once),
        T(lock__that_is_broken_before_the_answer_runs_nothing),
        T(lock__that_is_taken_is_no_broken_one),
        T(lock__that_was_broken_while_nothing_was_told_ends_the_command),
        T(lock__is_held_and_given_back_once_when_answers_are_lost),
    };
    return cmocka_run_group_tests_name("tools/kv_lock", tests, NULL, NULL);
}
