/* SPDX-License-Identifier: MIT */
/*
 * Runs a command of the configuration and takes what it prints: passphrases, access keys. Blocks,
 * so it belongs to start-up or into c2_work.
 */
#ifndef C2_BASE_OS_SPAWN_H
#define C2_BASE_OS_SPAWN_H

#include "base/buf.h"

#define C2_OS_COMMAND_OUTPUT_MAX ((size_t)65536)

/*
 * Runs `/bin/sh -c command` with no input, errors going where ours go, and `variable`
 * ("NAME=value", or NULL) added to the environment. Everything that it prints is appended to out,
 * which is reserved once, so that no copy of a secret stays behind. A command that fails, prints
 * more than C2_OS_COMMAND_OUTPUT_MAX or runs longer than timeout_ns gives C2_E_CONFIG or
 * C2_E_TIMEOUT and ret_problem (the caller frees): "ended with status 3".
 */
C2_RESULT c2_os_command(const char *command, const char *variable, uint64_t timeout_ns,
                        struct c2_buf *out, char **ret_problem);

#endif
