/* SPDX-License-Identifier: MIT */
/*
 * What the journal of this machine has and no replay may apply, because another device has
 * committed since: told to people, who decide.
 */
#ifndef C2_FS_LEFTOVER_H
#define C2_FS_LEFTOVER_H

#include "base/buf.h"

struct leftover {
    unsigned groups, inodes, nnames; /* groups: with changes */
    struct c2_buf names;             /* for people, the first ones; owned */
};

/* One more group; version and whole are checked. */
void leftover_count(struct leftover *l, struct c2_slice meta);
/* A sentence about the journal in this folder, with a hint; the caller's (c2_free). */
char *leftover_text(struct leftover *l, const char *journal_dir, uint64_t wall_ns);
void leftover_done(struct leftover *l);

#endif
