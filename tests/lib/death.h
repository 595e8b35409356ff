/* SPDX-License-Identifier: MIT */
/*
 * Checks that something ends the process with abort() and says why.
 */
#ifndef C2_TESTS_LIB_DEATH_H
#define C2_TESTS_LIB_DEATH_H

/* Runs fn(arg) in a child; fails unless it aborts and its standard error contains the message. */
void test_aborts(void (*fn)(void *arg), void *arg, const char *message);

#endif
