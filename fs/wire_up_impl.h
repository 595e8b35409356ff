/* SPDX-License-Identifier: MIT */
/*
 * What wire_up.c (life of a mount) and wire_up_ctl.c (control requests) share.
 *
 *   SERVING --stop--> DRAINING --synced or deadline--> UNMOUNTING --ended, answered--> CLOSING
 *      |                                                  ^                             |
 *      '--------------- ended: umount(8) -----------------'      synced or deadline: close, DONE
 *
 * DRAINING waits for the clouds while the mount still works, CLOSING for what was written after.
 * One deadline, set when the end begins, counts for both. Stopped twice it is now: what is left
 * stays in the journal.
 */
#ifndef C2_FS_WIRE_UP_IMPL_H
#define C2_FS_WIRE_UP_IMPL_H

#include "base/os_loop.h"
#include "base/os_metrics.h"
#include "fs/ctl.h"
#include "fs/fs.h"
#include "fs/fsck.h"
#include "fs/job.h"
#include "fs/mount_fuse.h"
#include "fs/volume_job.h"
#include "fs/volume.h"
#include "fs/watch.h"
#include "fs/wire_up.h"

enum wire_state { WIRE_SERVING, WIRE_DRAINING, WIRE_UNMOUNTING, WIRE_CLOSING, WIRE_DONE };

struct wire {
    struct c2_os *os;                                            /* borrowed */
    struct c2_env *env;                                          /* of os */
    const struct c2_conf *conf;                                  /* borrowed */
    char *volume_name, *mountpoint, *kernel_options, *cache_dir; /* owned */
    bool read_only, debug;
    uint64_t started_ns;

    struct volume *volume; /* owned, as all below */
    struct cache *cache;
    struct fs *fs;
    struct watch *watch;
    struct fs_scrubber *scrubber;
    struct seat_jobs seats;
    struct wire_change *change; /* a request about providers that is being worked on, or NULL */
    C2_RESULT (*reload)(void *arg, struct c2_conf **ret_conf, char **ret_error);
    void *reload_arg;
    struct c2_conf **confs; /* owned: read after the start; the last one is in use */
    size_t nconfs;
    struct jobs *jobs;        /* NULL before the mount and after its end */
    struct wire_usage *usage; /* what the providers were asked */
    struct mount_fuse *mount;
    struct ctl *ctl;
    struct c2_os_metrics *metrics; /* NULL: not configured */
    struct fs_open_report report;

    bool flag; /* of the step that start-up waits for */
    enum c2_err err;
    char *error; /* owned */

    enum wire_state state;
    bool ended; /* the kernel's mount is gone */
    bool hurry; /* stopped twice: what is left stays in the journal */
    uint64_t drain_deadline_ns;
    struct fs_sync sync;
    bool syncing;
    struct c2_timer tick; /* runs from the beginning of the end on */
    uint64_t logged_ns;
    bool synced;      /* CLOSING: nothing more to wait for but control calls */
    bool left_behind; /* not everything is in the clouds */
    bool abandoned;   /* a request never ended: nothing can be freed, the process must end */
    bool done;
    bool jobs_stopping, jobs_draining;
    struct c2_list estimates; /* of scrubs, running: struct estimate */
    struct c2_list waiting;   /* struct wire_wait: control calls that wait */
    struct c2_list gcs;       /* struct wire_gc: rounds on demand */
    struct c2_list verifies;  /* struct wire_verify */
    struct wire_fsck *fsck;   /* the one at work, or NULL */
};

/* A FLUSH or STOP that waits. */
struct wire_wait {
    struct wire *w;
    struct c2_link link;
    struct ctl_call *call;
    bool stop; /* answered when the mount has ended */
    struct fs_sync sync;
    bool syncing, canceled;
    uint64_t deadline_ns;
    struct c2_timer tick;
};

/* Begins the end; timeout 0 = that of the configuration. */
void wire_begin_stop(struct wire *w, uint64_t timeout_ns);

/* How everything is; *ret_status is zero before. */
void wire_ctl_status(struct wire *w, struct ctl_status *ret_status);
/* Serves metrics when the configuration wants it. The mount exists before the loop runs again. */
C2_RESULT wire_metrics_start(struct wire *w, char **ret_error);

/* ---- wire_up_jobs.c ---- */

void wire_jobs_start(struct wire *w);
void wire_jobs_stop(struct wire *w);
/* At the end: true when none runs any more; else what they wait for is ended. */
bool wire_jobs_ended(struct wire *w);
void wire_jobs_request(struct wire *w, struct ctl_call *call, const struct ctl_request *q);
void wire_jobs_status(struct wire *w, struct ctl_status *ret_status);

/* ---- wire_up_gc.c ---- */

void wire_gc_request(struct wire *w, struct ctl_call *call, const struct ctl_request *q);
/* At the end: true when no round on demand runs any more; else they are ended. */
bool wire_gc_ended(struct wire *w);
void wire_gc_status(const struct fs_gc_status *g, struct ctl_status *s);

/* ---- wire_up_fsck.c ---- */

void wire_fsck_request(struct wire *w, struct ctl_call *call, const struct ctl_request *q);
/* At the end: true when none runs any more; else it is ended. */
bool wire_fsck_ended(struct wire *w);

/* ---- wire_up_verify.c ---- */

void wire_verify_request(struct wire *w, struct ctl_call *call, const struct ctl_request *q);
/* At the end: true when none runs any more; else they are ended. */
bool wire_verify_ended(struct wire *w);

/* ---- wire_up_usage.c ---- */

void wire_usage_start(struct wire *w);
/* Saves; no provider works any more. */
void wire_usage_end(struct wire *w, void (*ended)(void *arg), void *arg);
void wire_usage_request(struct wire *w, struct ctl_call *call);
void wire_evidence_request(struct wire *w, struct ctl_call *call);

/* ---- wire_up_scrub.c ---- */

void wire_scrub_register(struct wire *w);
void wire_scrub_done(struct wire *w); /* the jobs are gone */
void wire_scrub_request(struct wire *w, struct ctl_call *call, const struct ctl_request *q);
/* At the end: true when no estimate is made any more; else they are ended. */
bool wire_scrub_ended(struct wire *w);

/* ---- wire_up_providers.c ---- */

void wire_providers_request(struct wire *w, struct ctl_call *call, const struct ctl_request *q);
void wire_change_cancel(struct wire *w);
/* Reads the configuration again; arg is the wire. */
C2_RESULT wire_reload(void *arg, char **ret_error);

void wire_ctl_request(void *arg, struct ctl_call *c, const struct ctl_request *q);
/* Cancels the syncs of calls that wait; true when none is left. */
bool wire_ctl_cancel(struct wire *w);
/* Answers what waits for the end; nothing else waits any more. */
void wire_ctl_finish(struct wire *w);

#endif
