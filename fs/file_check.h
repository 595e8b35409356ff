/* SPDX-License-Identifier: MIT */
/*
 * c2fsctl verify: is every share of what these files consist of at its provider, and right? Reads
 * all shares from the clouds, from no cache. An object that several of the files use is read once.
 */
#ifndef C2_FS_FILE_CHECK_H
#define C2_FS_FILE_CHECK_H

#include "fs/ctl_proto.h"
#include "fs/fs.h"

struct file_check;

struct fs_file_check {
    struct fs *fs;        /* borrowed until done, as inos and verdict */
    const uint64_t *inos; /* of anything; only regular files have data in objects */
    size_t n;
    enum ctl_verdict *verdict; /* out: n of them */
    void (*done)(struct fs_file_check *c);
    void *priv;

    /* out: OK when there is a verdict for each; CANCELED; why the metadata, or the providers, could
     * not be asked */
    enum c2_err err;
    uint64_t objects, bytes, shares_bad, shares_unknown; /* out, and while it runs */
    struct file_check *own;                              /* private */
};

void fs_file_check_start(struct fs_file_check *c); /* done never runs from inside */
/* Nothing new is begun; done runs when what runs has ended (soon when the client quiesces). */
void fs_file_check_cancel(struct fs_file_check *c);

#endif
