/* SPDX-License-Identifier: MIT */
/*
 * What every daemon does to its own process.
 */
#ifndef C2_BASE_OS_PROCESS_H
#define C2_BASE_OS_PROCESS_H

/* No core dump, no debugger of another user, as many descriptors as the limit allows. */
void c2_os_harden(void);
/* Tells systemd ("READY=1"), if it started us. */
void c2_os_notify(const char *state);
/* Leaves the terminal. */
void c2_os_leave_terminal(void);

#endif
