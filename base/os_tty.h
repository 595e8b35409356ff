/* SPDX-License-Identifier: MIT */
/*
 * The terminal of the person who started the program, for the few questions that are asked.
 */
#ifndef C2_BASE_OS_TTY_H
#define C2_BASE_OS_TTY_H

#include "base/buf.h"

#define C2_OS_ANSWER_MAX 1024

/* Whether there is one that can be asked. */
bool c2_os_has_tty(void);
/*
 * Asks and reads one line without showing it; appended to out without the newline. NOT_FOUND
 * without a terminal, CANCELED at its end, TOO_LARGE. `arg` is not used: the function fits
 * call-backs that have one. out is reserved once, so that no copy stays behind.
 */
C2_RESULT c2_os_ask_secret(void *arg, const char *prompt, struct c2_buf *out);
/* Asks for a line that is shown. */
C2_RESULT c2_os_ask_line(const char *prompt, struct c2_buf *out);

#endif
