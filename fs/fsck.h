/* SPDX-License-Identifier: MIT */
/*
 * fsck: does the metadata of a volume fit together, and with the objects in the clouds?
 *
 *   configuration   keys V and C can be read, belong together and make sense
 *   names           every entry leads to an inode of its type, from a folder that exists, under the
 *                   hash of its name; link counts are the numbers of entries; every inode has an
 *                   entry or is an orphan that knows it (G); folders hang from the root
 *   objects         live counters (R) are the sums of the extents and leaves in an object; what is
 *                   in use is recorded (O) and not condemned (K)
 *   deep            every byte of every share verifies
 *   damage          which files cannot be read any more, by name and range
 *   sums            usage counters, the next inode number
 *
 * It looks at the coordination store, which holds still meanwhile: transaction groups and
 * collectors of the mount wait, files go on changing in memory and journal. Tables are windows over
 * the inodes and the objects, so memory is bounded; what does not fit is another pass.
 *
 * What it mends loses nothing: counts are counted again, inodes without a name get one in
 * /lost+found, names and records of what is not there go.
 */
#ifndef C2_FS_FSCK_H
#define C2_FS_FSCK_H

#include "depsky/depsky.h"
#include "fs/keys.h"
#include "metadata/coord.h"

struct c2_rd;
struct fs;
struct fsck;

#define FS_FSCK_INODES   (256u << 10) /* in one window, 48 bytes each */
#define FS_FSCK_OBJECTS  (32u << 10)  /* in one window, 250 bytes each */
#define FS_FSCK_TEXT_MAX 400

struct fs_fsck_counts {
    uint64_t inodes, entries, folders;
    uint64_t open_orphans; /* without a name, deleted when they are closed */
    uint64_t garbage;      /* deleted files whose objects still count as used */
    uint64_t objects, dead, condemned;
    uint64_t problems; /* all of them */
    uint64_t repaired; /* of them */
    uint64_t lost;     /* of them: data or names that nothing can bring back */
    uint64_t damaged;  /* files whose data cannot be read any more; of them in /lost+found, */
    uint64_t aside;    /* which is no problem: somebody knows */
    uint64_t unknown;  /* could not be looked at: too few providers answered */
    /* deep */
    uint64_t verified;              /* objects */
    uint64_t shares_bad;            /* missing or wrong; told to repair */
    uint64_t shares_unknown, bytes; /* not answered; read */
};

/* Bytes of a file that cannot be read any more. */
struct fsck_range {
    uint64_t ino, off, len;
};

struct fs_fsck_damage {
    uint64_t ino;
    char *path; /* from the root of the volume; "" = it has no name */
    bool aside; /* it is in /lost+found: its place in the tree is free for another one */
    struct fsck_range *ranges; /* ascending */
    size_t nranges;
};

struct fs_fsck {
    struct c2_env *env; /* borrowed until done, as all below */
    struct coord *coord;
    struct keys *keys;
    struct ds_client *ds;
    struct fs *fs; /* the mount that has the volume; NULL = nobody has it, nothing is mended */
    bool repair, deep;
    size_t window_inodes, window_objects;               /* 0 = FS_FSCK_* */
    void (*found)(struct fs_fsck *k, const char *text); /* a problem, for people */
    /* For each name of a file whose data cannot be read any more; NULL is fine. */
    void (*damaged)(struct fs_fsck *k, const struct fs_fsck_damage *d);
    void (*done)(struct fs_fsck *k);
    void *priv; /* the caller's */

    enum c2_err err; /* out: OK = everything was looked at; BUSY, CANCELED, FENCED, why the store
                      * cannot be read */
    struct fs_fsck_counts counts; /* out, and while it runs */
    struct fsck *own;             /* private */
};

/* For a daemon's answer. What was decoded is owned: path and ranges. */
void fs_fsck_damage_encode(const struct fs_fsck_damage *d, struct c2_buf *out);
C2_RESULT fs_fsck_damage_decode(struct c2_rd *r, struct fs_fsck_damage *ret_damage);
void fs_fsck_damage_free(struct fs_fsck_damage *d);

void fs_fsck_start(struct fs_fsck *k);
void fs_fsck_cancel(struct fs_fsck *k); /* done runs soon */

#endif
