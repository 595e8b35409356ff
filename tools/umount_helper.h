/* SPDX-License-Identifier: MIT */
/*
 * umount(8)'s helper for this file system: c2fsctl under the name umount.fuse.c2fs.
 */
#ifndef C2_TOOLS_UMOUNT_HELPER_H
#define C2_TOOLS_UMOUNT_HELPER_H

#include "tools/cmd.h"

/* Options and exit codes of umount(8). */
int umount_helper(struct cmd_ctx *x, int argc, char **argv);

#endif
