/* SPDX-License-Identifier: MIT */
/*
 * What the commands on keys share.
 */
#ifndef C2_TOOLS_KV_H
#define C2_TOOLS_KV_H

#include "tools/cmd.h"
#include "tools/service.h"

/* Takes "-s SERVICE" from the front of the arguments and opens it; an exit code. */
int kv_begin_command(const struct cmd_ctx *x, const char *what, int *argc, char ***argv,
                     struct service *s);
void kv_print_bytes(struct c2_slice b);
void kv_json_bytes(struct c2_json *j, const char *key, const char *hex_key, struct c2_slice b);

#endif
