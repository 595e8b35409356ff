/* SPDX-License-Identifier: MIT */
/*
 * One file system request and how its answer leaves: mount_fuse.c turns kernel requests into
 * fs_req and results into kernel answers; simulated clients do the same without a kernel.
 *
 * The submitter owns the request until ops->done runs, exactly once, on the loop, possibly from
 * inside fs_submit. Names and `data` are borrowed until done, except that `data` of a write is
 * borrowed only until fs_submit returns.
 */
#ifndef C2_FS_FS_REQ_H
#define C2_FS_FS_REQ_H

#include "base/buf.h"
#include "base/list.h"

#define FS_NAME_MAX         255
#define FS_SYMLINK_MAX      4095
#define FS_XATTR_NAME_MAX   255
#define FS_XATTR_VALUE_MAX  (64u << 10)
#define FS_XATTRS_BYTES_MAX (36u << 10) /* all of one inode */
#define FS_READ_MAX         (1u << 20)
#define FS_WRITE_MAX        (1u << 20)
#define FS_ROOT_INO         1

struct fs;
struct fs_handle;

enum fs_opcode {
    FS_LOOKUP,      /* ino, name -> entry */
    FS_FORGET,      /* ino, len = count; no answer needed, done runs all the same */
    FS_GETATTR,     /* ino, [handle] -> attr */
    FS_SETATTR,     /* ino, [handle], attr, valid -> attr */
    FS_READLINK,    /* ino -> reply */
    FS_MKNOD,       /* ino, name, mode, rdev -> entry */
    FS_MKDIR,       /* ino, name, mode -> entry */
    FS_SYMLINK,     /* ino, name, target = name2 -> entry */
    FS_UNLINK,      /* ino, name */
    FS_RMDIR,       /* ino, name */
    FS_RENAME,      /* ino, name, ino2, name2, flags = RENAME_* */
    FS_LINK,        /* ino, ino2, name2 -> entry */
    FS_CREATE,      /* ino, name, mode, flags = O_* -> entry, handle */
    FS_OPEN,        /* ino, flags -> handle */
    FS_READ,        /* handle, off, len -> iov */
    FS_WRITE,       /* handle, off, data -> count */
    FS_FLUSH,       /* handle */
    FS_RELEASE,     /* handle */
    FS_FSYNC,       /* handle (files and directories) */
    FS_OPENDIR,     /* ino -> handle */
    FS_READDIR,     /* handle, off = cookie, plus -> ops->dirent per entry */
    FS_RELEASEDIR,  /* handle */
    FS_STATFS,      /* -> statfs */
    FS_SETXATTR,    /* ino, name, data, flags = XATTR_* */
    FS_GETXATTR,    /* ino, name -> reply */
    FS_LISTXATTR,   /* ino -> reply: zero-terminated names */
    FS_REMOVEXATTR, /* ino, name */
    FS_FALLOCATE,   /* handle, mode = FALLOC_*, off, len */
    FS_LSEEK,       /* handle, off, whence = flags -> off */
    FS_COPY_RANGE,  /* handle, off -> handle2, off2, len -> count */
    FS_SYNCFS,      /* everything to the clouds */
    FS_OPCODE_COUNT,
};

struct fs_time {
    int64_t sec;
    uint32_t nsec;
};

struct fs_attr {
    uint64_t ino;
    uint32_t mode; /* with the type bits */
    uint32_t nlink;
    uint32_t uid, gid;
    uint64_t rdev;
    uint64_t size;
    uint64_t blocks; /* of 512 bytes, holes not counted */
    struct fs_time atime, mtime, ctime, btime;
};

enum {
    FS_SET_MODE = 1 << 0,
    FS_SET_UID = 1 << 1,
    FS_SET_GID = 1 << 2,
    FS_SET_SIZE = 1 << 3,
    FS_SET_ATIME = 1 << 4,
    FS_SET_MTIME = 1 << 5,
    FS_SET_ATIME_NOW = 1 << 6,
    FS_SET_MTIME_NOW = 1 << 7,
    FS_SET_CTIME = 1 << 8,
};

struct fs_dirent {
    const char *name; /* zero-terminated, borrowed for the call */
    uint64_t ino;
    uint32_t type;              /* S_IFMT bits */
    uint64_t cookie;            /* pass as off to go on after this entry; < 2^63 */
    const struct fs_attr *attr; /* READDIR with plus, else NULL; the answer counts as a lookup */
};

struct fs_statfs {
    uint64_t total_bytes, free_bytes;
    uint64_t files, files_free;
};

struct fs_req;

struct fs_req_ops {
    void (*done)(struct fs_req *r);
    /* False when the answer is full: the entry is not in it. */
    bool (*dirent)(struct fs_req *r, const struct fs_dirent *e);
};

struct fs_req {
    const struct fs_req_ops *ops;
    enum fs_opcode op;
    uint64_t ino, ino2;
    const char *name, *name2;
    uint32_t uid, gid, umask;
    const uint32_t *groups; /* SETXATTR of an access list: others that the caller is in */
    size_t ngroups;
    uint32_t mode;
    uint64_t rdev;
    uint64_t off, off2, len;
    int flags;
    bool plus;
    unsigned valid;      /* FS_SET_* */
    struct fs_attr attr; /* SETATTR: in; entry and attr: out */
    struct fs_handle *handle, *handle2;
    struct c2_slice data;

    /* out */
    enum c2_err err;
    uint64_t count;
    struct c2_buf reply;      /* freed by fs_req_done */
    struct c2_blob *iov_blob; /* READ: holds the bytes, freed by fs_req_done */
    struct c2_slice iov;      /* READ */
    struct fs_statfs statfs;
    bool keep_cache; /* OPEN: the kernel's pages of this inode are still right */

    /* private to fs/ */
    struct fs *fs;
    struct c2_link link;
    struct c2_list *parked;     /* the list `link` is in while the request waits, see fs_park */
    struct c2_blob *data_owned; /* WRITE that has to wait */
    bool slowed;                /* has waited its moment, see fs/admit.c */
    void *priv;
    /* Set while it waits for something that it need not wait for; answers with INTERRUPTED soon. */
    void (*interrupt)(struct fs_req *r);
    void *waits; /* interrupt's own */
};

/* Frees what a completed request holds; the struct stays the submitter's. */
void fs_req_done(struct fs_req *r);

void fs_submit(struct fs *fs, struct fs_req *r);
/* A signal arrived: a request that waits is answered with C2_E_INTERRUPTED soon. */
void fs_interrupt(struct fs *fs, struct fs_req *r);

#endif
