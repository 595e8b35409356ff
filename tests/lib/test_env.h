/* SPDX-License-Identifier: MIT */
/*
 * A deterministic environment for unit tests: one thread, a virtual clock, a seeded generator and
 * a temporary directory. Deferred tasks, work and disk requests run one per step in the order they
 * came; the clock moves only when none of them is left, straight to the next timer. Disk requests
 * use real files; paths outside the temporary directory are refused by an assertion.
 *
 *     struct test_env *t = test_env_new(1);
 *     struct c2_env *env = test_env_env(t);
 *     ... start something whose done sets `flag` ...
 *     test_env_run_until(t, &flag);
 *     test_env_free(t);
 */
#ifndef C2_TESTS_LIB_TEST_ENV_H
#define C2_TESTS_LIB_TEST_ENV_H

#include "base/env.h"

/* run_until fails the test when this much virtual time passes: a livelock of periodic timers. */
#define TEST_ENV_RUN_MAX_NS (7ull * 24 * 3600 * C2_NS_PER_S)

struct test_env;

struct test_env *test_env_new(uint64_t seed);
/* Removes the temporary directory; asserts that no task, work or disk request is left behind. */
void test_env_free(struct test_env *t);
struct c2_env *test_env_env(struct test_env *t);

/* Disk requests go before work from now on. */
void test_env_fast_disk(struct test_env *t);

/* Absolute path of the temporary directory, without a slash at the end. */
const char *test_env_dir(const struct test_env *t);
/* "<dir>/<name>"; caller frees with c2_free. */
char *test_env_path(const struct test_env *t, const char *name);

/* One task, work, disk request or timer. False when nothing is pending. */
bool test_env_step(struct test_env *t);
/* Until *flag; fails the test when nothing is pending before that. */
void test_env_run_until(struct test_env *t, const bool *flag);
/* Everything that can run without moving the clock. */
void test_env_run_ready(struct test_env *t);
/* Everything that happens in the next ns nanoseconds, then the clock stands there. */
void test_env_run_for(struct test_env *t, uint64_t ns);
/* Until nothing is pending at all; armed periodic timers make this fail the test. */
void test_env_run_idle(struct test_env *t);
bool test_env_has_timers(const struct test_env *t);

/* Moves the wall clock against the monotonic one. */
void test_env_wall_jump(struct test_env *t, int64_t ns);

/*
 * Called before each disk request; anything but C2_E_OK becomes its result and nothing is done.
 * NULL takes the hook away.
 */

void test_env_set_disk_hook(struct test_env *t,
                            enum c2_err (*hook)(void *arg, const struct c2_disk_req *r), void *arg);
/* How many requests of a verb were executed, failed ones included. */
uint64_t test_env_disk_count(const struct test_env *t, enum c2_disk_verb verb);

/* Executes one request on real files; for other environments. Does not call done. */
void test_disk_execute(struct c2_disk_req *r);
/* Removes a directory and everything in it; absent is fine. */
void test_disk_remove_tree(const char *path);
/* Whole-file helpers that assert success. */
void test_disk_write_file(const char *path, const void *data, size_t len);
bool test_disk_exists(const char *path);

#endif
