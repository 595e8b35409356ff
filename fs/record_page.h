/* SPDX-License-Identifier: MIT */
/*
 * The next so many object records after a place in their order, for walks over all objects.
 */
#ifndef C2_FS_RECORD_PAGE_H
#define C2_FS_RECORD_PAGE_H

#include "fs/object_record.h"
#include "metadata/coord.h"

#define FS_RECORD_PAGE_MAX  512u
#define FS_RECORD_AFTER_LEN 24u

struct fs;

/* The place after an object: ids are in the order of keys. */
struct fs_record_after {
    uint8_t oid[FS_RECORD_AFTER_LEN]; /* sid, seq, rnd; big-endian */
    bool set;                         /* false: from the first one */
};

struct fs_record_page {
    struct fs *fs; /* borrowed until done */
    struct fs_record_after after;
    size_t max; /* at most FS_RECORD_PAGE_MAX */
    void (*done)(struct fs_record_page *p);

    enum c2_err err;                                 /* out */
    struct fs_object_record rec[FS_RECORD_PAGE_MAX]; /* out: with their ids, in order */
    size_t n;
    bool last; /* out: no record follows */

    /* private */
    struct coord_req req;
    struct c2_slice prefix;
    struct ck prefix_key, after_key;
};

/* Damaged records end it with PARSE or VERSION. */
void fs_record_page_start(struct fs_record_page *p);
void fs_record_page_cancel(struct fs_record_page *p); /* done runs soon */

void fs_record_after_object(struct fs_record_after *a, const struct ds_oid *oid);
/* Whether the object comes after that place. */
bool fs_record_is_after(const struct fs_record_after *a, const struct ds_oid *oid);

#endif
