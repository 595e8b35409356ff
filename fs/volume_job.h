/* SPDX-License-Identifier: MIT */
/*
 * The jobs that change who holds the data: "replace" (params old= new=) and "drain" (name=, with
 * remove=yes the seat is given up at the end). storage.md section 9; fs/job.h is the frame.
 */
#ifndef C2_FS_VOLUME_JOB_H
#define C2_FS_VOLUME_JOB_H

#include "fs/fs.h"
#include "fs/job.h"
#include "fs/volume.h"

struct seat_jobs {
    struct volume *volume; /* borrowed, as all of these */
    struct fs *fs;
    /* Reads the configuration again, for providers that came later; may be NULL. */
    C2_RESULT (*reload)(void *arg, char **ret_error);
    /* Opens the provider of a section; NULL = as configured. */
    C2_RESULT (*open)(void *arg, const char *name, struct provider **ret_provider,
                      char **ret_error);
    void *arg;
    struct job_kind replace, drain; /* for jobs_register; filled by seat_jobs_init */
};

void seat_jobs_init(struct seat_jobs *x);

#endif
