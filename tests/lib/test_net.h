/* SPDX-License-Identifier: MIT */
/*
 * A network in memory for unit tests: any number of ends on one environment. Messages arrive in
 * the order they were sent on a link, one per step; keys are believed. Links may be cut and
 * messages lost or looked at on their way.
 */
#ifndef C2_TESTS_LIB_TEST_NET_H
#define C2_TESTS_LIB_TEST_NET_H

#include "base/net.h"

struct test_hub;

struct test_hub *test_hub_new(struct c2_env *env);
/* Every net must be gone. */
void test_hub_free(struct test_hub *h);
/* An end with a key; `number` is its name in what follows. */
struct c2_net *test_net_new(struct test_hub *h, unsigned number, const uint8_t key[C2_NET_KEY_LEN]);
/* Whether messages between the two ends are lost, from now on; links go down and stay down. */
void test_hub_cut(struct test_hub *h, unsigned a, unsigned b, bool cut);
/* Called for every message on its way: false = it is lost. The filter may send others. */
void test_hub_filter(struct test_hub *h,
                     bool (*filter)(void *arg, unsigned from, unsigned to, struct c2_slice m),
                     void *arg);
/* Whether the queue of the links from a to b is full of normal messages, from now on: sending there
 * is BUSY, or loses what is not urgent. */
void test_hub_fill(struct test_hub *h, unsigned from, unsigned to, bool full);
/* Delivers bytes as if `from` had sent them to `to`, on any link there is. */
void test_hub_inject(struct test_hub *h, unsigned from, unsigned to, struct c2_slice m);

#endif
