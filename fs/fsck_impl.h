/* SPDX-License-Identifier: MIT */
/*
 * Private to fs/fsck*.c. One thing is under way at a time; when it ends f->then goes on.
 */
#ifndef C2_FS_FSCK_IMPL_H
#define C2_FS_FSCK_IMPL_H

#include "fs/coord_keys.h"
#include "fs/fs.h"
#include "fs/fsck.h"
#include "fs/manifest.h"
#include "fs/object_record.h"

#define FSCK_PAGE       1000u
#define FSCK_FIXES_MAX  20000u       /* in one run */
#define FSCK_BATCH      100u         /* keys changed in one transaction */
#define FSCK_CHECKS     8u           /* objects read at the same time */
#define FSCK_FOLDERS    (512u << 10) /* followed to the root, 32 bytes each */
#define FSCK_RANGES_MAX (64u << 10)  /* damaged ones, in one run */
#define FSCK_DEPTH_MAX  4096u        /* of folders in a path */

/* An inode in the window. */
struct fsck_node {
    uint64_t ino;
    uint64_t parent, seen_in; /* folders: where .. leads, and the folder of the entry found */
    uint32_t mode, nlink;     /* mode 0: its record cannot be read */
    uint32_t entries, subdirs;
    bool orphan;
};

struct fsck_folder {
    uint64_t ino, parent;
    uint32_t mark; /* of the walk that has been there */
    char *name;    /* owned: of those above a damaged file, or NULL */
};

/* A name of a damaged file. */
struct fsck_name {
    uint64_t ino, dir;
    char *name; /* owned */
};

/* An object in the window, or one that is named from there. */
struct fsck_object {
    struct fs_source source; /* what maps point to */
    struct c2_map_node node;
    struct c2_link link;
    struct ds_ref ref;
    bool outside; /* of the window: not judged */
    bool recorded, counted, condemned, named, unreadable;
    uint32_t placed;
    int64_t live, sum; /* what R says, what the files say */
    uint64_t o_version, r_version, k_version;
    uint64_t file; /* scratch: the file that was seen to use it last */
    int64_t file_bytes;
};

enum fsck_fix_kind {
    FSCK_DELETE_KEY, /* key, version */
    FSCK_PUT_COUNTER,
    FSCK_LINKS,  /* ino, number = delta */
    FSCK_PARENT, /* ino, dir */
    FSCK_NAME,   /* ino gets one in lost+found; number = nlink it shall have */
    FSCK_UNNAME, /* entry name in dir, which leads to ino */
    FSCK_TYPE,   /* the same: its type is wrong */
    FSCK_NEXT_INO,
};

struct fsck_fix {
    enum fsck_fix_kind kind;
    struct ck key;
    uint64_t version, ino, dir;
    int64_t number;
    int64_t *used; /* PUT_COUNTER of the usage: what it was; NULL for others */
    char *name;    /* owned, or NULL */
};

struct fsck;
typedef void fsck_step(struct fsck *f, enum c2_err err);
/* False: the walk ends before this entry. */
typedef bool fsck_visit(struct fsck *f, const struct coord_entry *e);

struct fsck {
    struct fs_fsck *k;
    bool canceled;
    bool holding; /* the store */
    uint64_t hold_deadline_ns;
    struct c2_timer timer;

    /* asking */
    fsck_step *then;
    bool asking;
    struct coord_req req;
    struct c2_slice slices[8];
    struct ck keys[8];

    /* a walk */
    struct ck prefix, cursor;
    fsck_visit *visit;
    fsck_step *walked;
    bool more, cut_short;

    /* names */
    bool first_pass; /* of the inodes: things are counted once */
    struct fsck_node *nodes;
    size_t nnodes, nodes_cap;
    uint64_t from_ino, to_ino; /* the window: [from, to] */
    struct ck inodes_after;
    struct fsck_folder *folders;
    size_t nfolders, folders_cap;
    uint64_t ino_max, next_ino;
    int64_t sum_bytes, sum_files, used_bytes, used_files;
    uint64_t used_version[2];

    /* objects */
    struct c2_map by_id;
    struct c2_list objects; /* fsck_object.link */
    size_t nrecorded;
    bool last_window, first_objects;
    struct ck objects_after, objects_to; /* keys: (after, to] */
    bool uncounted;          /* a list of extents could not be read: sums may be too low */
    struct fs_source nobody; /* stands for objects outside of the window */
    struct fs_source lost;   /* for the object that is nowhere (fs/lost.h) */
    bool keep_all;           /* objects outside get into the table, too */
    struct fsck_object *check_next;
    unsigned checking;
    struct fsck_file *files; /* with a manifest, of the page at hand */
    size_t nfiles, file_at;
    struct ds_ref *leaf_refs; /* while a manifest is parsed, in order */
    size_t nleaf_refs;
    bool leaf_refs_wanted;
    uint64_t file_serial;
    struct ds_get get;
    bool getting;
    struct fs_map *base;

    /* damage */
    struct fsck_range *ranges;
    size_t nranges, ranges_cap;
    bool ranges_cut;
    struct fsck_name *names;
    size_t nnames, names_cap;

    /* fixes */
    struct fsck_fix *fixes;
    size_t nfixes, fix_at, batch;
    bool committing; /* fixes, not looking */
    struct coord_cond conds[2 + FSCK_BATCH];
    struct coord_op ops[FSCK_BATCH];
    uint8_t values[FSCK_BATCH][8];
    struct fs_req fs_req; /* FSCK_NAME, UNNAME, TYPE */
    bool requesting, loading;
    enum { MEND_FOLDER, MEND_PLACE, MEND_ENTRY } mend_step;
    char name[FS_NAME_MAX + 1];
    uint64_t lost_found; /* the folder, 0 = not looked for yet */
    struct fs_publish publish;
    struct c2_task task;
};

/* ---- fsck.c ---- */

/* f->req, filled in up to the deadline. */
void fsck_ask(struct fsck *f, fsck_step *then);
/* All entries under a letter after a key (NULL = from the first one). */
void fsck_walk(struct fsck *f, char letter, const struct ck *after, fsck_visit *visit,
               fsck_step *then);
/* A visit has left something to do before the next page (f->nfiles > 0): now it is done. */
void fsck_walk_on(struct fsck *f);
void fsck_end(struct fsck *f, enum c2_err err);
void fsck_release(struct fsck *f); /* the store */

enum fsck_class { FSCK_MENDABLE, FSCK_STAYS, FSCK_LOST };
void fsck_problem(struct fsck *f, enum fsck_class class, const char *fmt, ...) C2_PRINTF(3, 4);
/* How to mend it. */
struct fsck_fix *fsck_fix(struct fsck *f, enum fsck_fix_kind kind);

/* ---- the phases ---- */

void fsck_names_start(struct fsck *f);  /* fsck_names.c */
void fsck_sums_start(struct fsck *f);   /* fsck.c */
void fsck_damage_start(struct fsck *f); /* fsck_damage.c */
void fsck_damage_free(struct fsck *f);
/* So many bytes of a file cannot be read any more. */
void fsck_damaged(struct fsck *f, uint64_t ino, uint64_t off, uint64_t len);
struct fsck_folder *fsck_folder(struct fsck *f, uint64_t ino); /* fsck_names.c */
void fsck_objects_start(struct fsck *f);                       /* fsck_objects.c */
/* One inode record or garbage record: counts what its content uses. */
bool fsck_take_content(struct fsck *f, const struct coord_entry *e); /* fsck_content.c */
void fsck_read_files(struct fsck *f);                                /* fsck_content.c */
struct fsck_object *fsck_object(struct fsck *f, const struct ds_oid *oid);
bool fsck_in_window(const struct fsck *f, const struct ds_oid *oid);
void fsck_objects_free(struct fsck *f);
void fsck_mend_start(struct fsck *f); /* fsck_mend.c; ends everything */
void fsck_mend_stop(struct fsck *f);

#endif
