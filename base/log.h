/* SPDX-License-Identifier: MIT */
/*
 * Logging: c2_log(WARN, "quorum", "unit=%s need=%u", …): level, subsystem, constant key=value
 * message. Goes to stderr as one line; the last lines are kept in a ring that a failed assertion
 * dumps. Never keys, tokens or file contents. Thread-safe.
 */
#ifndef C2_BASE_LOG_H
#define C2_BASE_LOG_H

#include "base/base.h"

enum c2_log_level { C2_LOG_ERROR, C2_LOG_WARN, C2_LOG_INFO, C2_LOG_DEBUG, C2_LOG_TRACE };

#define c2_log(level, subsystem, ...)                                                              \
    (c2_log_enabled(C2_LOG_##level) ? c2_log_write(C2_LOG_##level, subsystem, __VA_ARGS__)         \
                                    : (void)0)

bool c2_log_enabled(enum c2_log_level level);
void c2_log_write(enum c2_log_level level, const char *subsystem, const char *fmt, ...)
    C2_PRINTF(3, 4);
void c2_log_set_level(enum c2_log_level level);
enum c2_log_level c2_log_get_level(void);
/* "error" "warn" "info" "debug" "trace". */
C2_RESULT c2_log_level_parse(const char *text, enum c2_log_level *ret_level);
/* Appends to the file from now on instead of stderr (NULL: stderr). */
C2_RESULT c2_log_to_file(const char *path);
void c2_log_dump_ring(void);

#endif
