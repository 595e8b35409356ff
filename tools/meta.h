/* SPDX-License-Identifier: MIT */
/*
 * What the commands on coordination services share.
 */
#ifndef C2_TOOLS_META_H
#define C2_TOOLS_META_H

#include "metadata/cluster.h"
#include "tools/cmd.h"
#include "tools/service.h"

/* A new folder, private; an exit code. */
int meta_make_dir(const struct cmd_ctx *x, const char *what, const char *path);

struct meta_file {
    const char *dir, *name;
    unsigned mode;
    const struct c2_buf *text;
};

/* A new file, durable; an exit code. */
int meta_put_file(const struct cmd_ctx *x, const char *what, const struct meta_file *f);

/* What could not be finished goes: files and folders of these names, in this order, in a folder of
 * ours, and that. */
void meta_remove(const char *dir, const char *const *names, size_t n);
void meta_remove_replica(const char *dir);

/* A request that is ordered and changes nothing: the service does a batch more. */
enum c2_err meta_push(struct service *s);
/* Connected, and in the epoch that the service is in; an exit code. */
int meta_connect(struct service *s, struct cluster_info *ret_info);

/* The value of a key in the flat object that a replica sent: it may be anything. The caller's to
 * free; "-" = it is not there. */
char *meta_field(const char *json, const char *key);

#endif
