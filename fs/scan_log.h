/* SPDX-License-Identifier: MIT */
/*
 * The same for the metadata log and its checkpoints (fs/ship.h): objects of which nobody keeps a
 * record. Whether enough seats have them is what can be asked; their roots are those on which f+1
 * shares agree. They come and go by themselves: whatever looks wrong is looked at again.
 */
#ifndef C2_FS_SCAN_LOG_H
#define C2_FS_SCAN_LOG_H

#include "fs/fs.h"

#define FS_SCAN_LOG_AGAIN_NS (3 * C2_NS_PER_S) /* an upload may be under way */

struct fs_scan_log {
    struct fs *fs;     /* borrowed until done */
    enum ds_kind kind; /* DS_KIND_JOURNAL or DS_KIND_CHECKPOINT */
    bool mend;         /* what is below its goal is repaired */
    void (*done)(struct fs_scan_log *s);

    enum c2_err err;  /* out: OK; QUORUM when too few seats can list; CANCELED */
    uint64_t objects; /* out */
    uint64_t below;   /* out: of them, after mending */
    uint64_t rebuilt; /* out: shares */
    uint64_t bytes;   /* out: read and written */

    struct fs_scan_log_run *own; /* private */
};

void fs_scan_log_start(struct fs_scan_log *s);
void fs_scan_log_cancel(struct fs_scan_log *s); /* done runs soon (when the client quiesces) */

#endif
