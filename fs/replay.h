/* SPDX-License-Identifier: MIT */
/*
 * Start-up: from the coordination store and the journal to the state at the last crash or unmount.
 */
#ifndef C2_FS_REPLAY_H
#define C2_FS_REPLAY_H

#include "fs/fs.h"

/* Journal groups above the committed position become dirty state in memory, in order. */
struct fs_replay {
    struct fs *fs;
    void (*done)(struct fs_replay *r);
    enum c2_err err;
    char *error; /* a sentence for people; the caller's */
    struct fs_open_report *report;
    uint64_t after_seq;
    bool foreign; /* another device has committed since: nothing may be replayed, CONFLICT */
    void *priv;
};
void fs_replay_start(struct fs_replay *r, const struct fs_parts *parts);

#endif
