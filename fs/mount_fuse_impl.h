/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the FUSE side share; private to mount_fuse*.c, the only users of libfuse:
 *
 *   mount_fuse.c           the session: mount, the device on the loop, the end
 *   mount_fuse_requests.c  kernel request -> struct fs_req
 *   mount_fuse_answers.c   result -> kernel answer
 *
 * A request is read, turned into a struct fs_req and submitted; its answer goes back from done.
 * Names are copied (libfuse's buffer is reused), the bytes of a write are not (fs_submit copies
 * them when it has to wait).
 *
 * Handles are kept in a list: when the connection ends, the kernel does not release what was still
 * open, so we do (mount_fuse_release).
 */
#ifndef C2_FS_MOUNT_FUSE_IMPL_H
#define C2_FS_MOUNT_FUSE_IMPL_H

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)

#include <fuse_lowlevel.h>

#include "base/os_loop.h"
#include "fs/fs_req.h"
#include "fs/mount_fuse.h"

#define MF_WRITE_MAX   FS_WRITE_MAX
#define MF_READDIR_MAX (256u << 10)

struct mount_fuse {
    struct c2_os *os;
    struct fs *fs;
    struct mount_fuse_events events;
    struct fuse_session *se; /* owned */
    struct fuse_buf buf;     /* owned memory, reused */
    struct c2_fd_watch watch;
    struct c2_task end_task;
    double attr_timeout, entry_timeout; /* seconds */
    bool writeback_cache, initialised, announced, ended;
    struct c2_timer looks;  /* armed while a call waits that may have to end early */
    struct c2_list calls;   /* struct mf_call: not answered */
    struct c2_list handles; /* struct mf_handle */
    uint64_t counts[FS_OPCODE_COUNT];
};

/* What fuse_file_info.fh points to. */
struct mf_handle {
    struct c2_link link;
    struct fs_handle *h;
    bool dir;
};

struct mf_call {
    struct fs_req r;
    struct c2_link link; /* in m->calls until answered */
    struct mount_fuse *m;
    fuse_req_t req; /* NULL: nobody waits for an answer */
    bool submitting, answered;
    pid_t pid;         /* of the thread that asks; 0 = not in our name space */
    bool signalled;    /* a signal came while it waits */
    uint64_t since_ns; /* since when it waits */
    uint64_t look_ns;  /* not before then is it looked at whether it may end */
    bool orphan;       /* the connection ended before it was answered */
    struct fuse_file_info fi;
    struct mf_handle *handle; /* RELEASE: freed with the call */
    size_t size;              /* most bytes of the answer: READDIR, xattrs */
    char *out;                /* READDIR; owned */
    size_t out_len;
    gid_t *groups;                                      /* SETXATTR of an access list; owned */
    char *text;                                         /* symlink target or value; owned */
    char name[FS_NAME_MAX + 2], name2[FS_NAME_MAX + 2]; /* too long: cut one byte over */
};

extern const struct fuse_lowlevel_ops mf_ops;
extern const struct fs_req_ops mf_call_ops;

/* req NULL: nobody waits for an answer. */
struct mf_call *mf_call_new(struct mount_fuse *m, fuse_req_t req, enum fs_opcode op, uint64_t ino);
void mf_call_submit(struct mf_call *c);
/* The call was not answered at once. */
void mf_waits(struct mf_call *c);
/* A signal has come for the process that waits for it. */
void mf_signalled(struct mf_call *c);
void mf_call_free(struct mf_call *c);
/* Tells the file system that a handle is closed; the kernel did, or its connection is gone. */
void mf_release(struct mount_fuse *m, struct mf_handle *h, fuse_req_t req);
/* The kernel did not take an entry that was given to it. */
void mf_forget(struct mount_fuse *m, uint64_t ino, uint64_t count);

#endif
