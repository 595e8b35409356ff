/* SPDX-License-Identifier: MIT */
/*
 * What every daemon does to its own process.
 */
#ifndef C2_BASE_OS_PROCESS_H
#define C2_BASE_OS_PROCESS_H

#include <stdbool.h>

#include "base/base.h"

#define C2_OS_REPORT_MAX 8192u

/* First of all, what may be inherited and is not wanted: closed standard descriptors are opened, so
 * that no file or connection becomes one of them (who reads or writes there gets an error, as
 * before), and the end of children is told, also where who started us does not care for his. */
void c2_os_begin(void);
/* No core dump, no debugger of another user, as many descriptors as the limit allows. */
void c2_os_harden(void);
/* Tells systemd ("READY=1"), if it started us. */
void c2_os_notify(const char *state);
/* Leaves the terminal. */
void c2_os_leave_terminal(void);

/*
 * What to do when a part of a mapped file cannot be read, because the disk fails there or the file
 * was cut short (SIGBUS). fn runs on the thread that has touched addr, and ends the process. Once.
 */
void c2_os_on_unreadable(void (*fn)(void *arg, const void *addr), void *arg);
/* Whether the file is what is mapped there. */
bool c2_os_is_mapped(const char *path, const void *addr);

/*
 * A daemon starts in a child, and the process that the user started lives until the child has
 * reported how that went.
 */
struct c2_os_start {
    bool parent;
    int report_fd; /* child: for c2_os_report */
    bool reported; /* parent: else the child ended without a word, with this wait status */
    int status;
    int code; /* parent: what was reported */
    char text[C2_OS_REPORT_MAX + 1];
};
/* Forks; returns in the child at once, in the parent after the report, of a failed child after its
 * end: what it had locked is free then. */
C2_RESULT c2_os_start_daemon(struct c2_os_start *ret_start);
/* The code and what to print: to the waiting parent, once, and then or with *fd -1 to the terminal.
 */
void c2_os_report(int *fd, int code, const char *text);

#endif
