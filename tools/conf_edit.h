/* SPDX-License-Identifier: MIT */
/*
 * Changes of configuration files on behalf of a command: whole or not at all.
 */
#ifndef C2_TOOLS_CONF_EDIT_H
#define C2_TOOLS_CONF_EDIT_H

#include "tools/cmd.h"

/* Zeroed is valid: nothing was changed. */
struct conf_edit {
    char *path;           /* owned */
    bool existed;         /* before */
    struct c2_buf before; /* what it held */
};

/* A new [provider "name"] section with words[0] as url and KEY=VALUE words: in the file of -C, else
 * in conf.d/NAME.conf. CONFIG when the result cannot be loaded: then nothing was changed. */
C2_RESULT conf_edit_add(struct conf_edit *e, const struct cmd_ctx *x, const char *name,
                        const char *const *words, size_t nwords, char **ret_error);
void conf_edit_undo(struct conf_edit *e);
void conf_edit_done(struct conf_edit *e);
/* Two lines of standard input become the access keys of the provider in the credentials file. */
C2_RESULT conf_edit_credentials(const struct cmd_ctx *x, const char *name, char **ret_error);

#endif
