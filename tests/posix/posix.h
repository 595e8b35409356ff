/* SPDX-License-Identifier: MIT */
/*
 * A table of system calls: each case is a line of steps separated by `;` and the line of answers
 * expected, one per step. An answer is `0`, a value, or the name of the error. The same table runs
 * on a native file system, which proves the table, and on the file system under test.
 */
#ifndef C2_TESTS_POSIX_H
#define C2_TESTS_POSIX_H

#include <stddef.h>
#include <sys/types.h>

struct posix_case {
    const char *name;
    const char *steps;
    const char *want;
};

extern const struct posix_case posix_cases[];
extern const size_t posix_cases_count;

#define POSIX_FDS      8
#define POSIX_ARGS_MAX 8

struct posix_run {
    int fd[POSIX_FDS];
    char out[2048];
    size_t out_len;
    struct timespec marked[3]; /* atime, mtime, ctime of the last `mark` */
};

/* Runs one step, appends its answer to r->out. */
void posix_step(struct posix_run *r, int argc, char **argv);

#endif
