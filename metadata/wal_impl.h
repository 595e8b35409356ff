/* SPDX-License-Identifier: MIT */
/*
 * What the files of the log share: wal.c appends and makes durable, wal_files.c prepares and
 * removes segments, wal_open.c reads and judges what is there.
 */
#ifndef C2_METADATA_WAL_IMPL_H
#define C2_METADATA_WAL_IMPL_H

#include "metadata/wal.h"
#include "metadata/wal_format.h"

#define WAL_GROUP_MAX    (4u << 20) /* bytes after which a new group begins */
#define WAL_SEGMENTS_MAX 65536
#define WAL_FILE_MAX     (256u << 20) /* bytes of a segment that is read */

struct wal_segment {
    struct c2_link link;
    uint64_t number;
    uint64_t first_seq;
    uint64_t first_lsn;
    uint8_t prev[C2_SHA256_LEN];
    bool started; /* its first group is durable, the fields above are set */
    size_t size;
};

/* Records of one or more turns that will be written together. */
struct wal_group {
    struct c2_link link;
    struct c2_buf bytes; /* room for the head, then the payload */
    uint64_t first_lsn;
    uint32_t nrecords;
    bool urgent; /* somebody waits for it */
};

enum wal_io { WAL_IO_IDLE, WAL_IO_GROUP, WAL_IO_SEAL };

enum wal_files_state {
    WAL_FILES_IDLE,
    WAL_FILES_CLOSE,  /* the segment that is full */
    WAL_FILES_ANCHOR, /* the log begins later now */
    WAL_FILES_REMOVE, /* what is before it, one by one */
    WAL_FILES_REUSE,  /* the next segment, from an old one or a new one */
    WAL_FILES_OPEN,
    WAL_FILES_FILL,
    WAL_FILES_HEAD,
    WAL_FILES_SYNC,
    WAL_FILES_SYNC_DIR,
    WAL_FILES_GIVE_UP, /* no space: closes, tries again later */
};

/* Everything about files that is not on the way of a record. */
struct wal_files {
    struct c2_disk_req req;
    enum wal_files_state state;
    struct c2_timer retry;
    char *path;  /* owned; of the request */
    char *path2; /* owned */
    struct c2_slice iov;
    uint8_t *block; /* owned; what is written */
    uint8_t anchor[WAL_ANCHOR_LEN];
    struct c2_list doomed; /* of struct wal_segment */
    bool anchor_due;
    bool full;     /* the disk, the last time that space was needed */
    unsigned held; /* states that had no space: as bits, until the next try */
    bool has_spare;
    size_t spare_filled; /* bytes that are known to be there; one from before may be smaller */

    int close_file; /* -1 = none */

    /* The next segment. */
    bool wanted; /* may be prepared */
    bool ready;  /* can be used */
    uint64_t number;
    int file; /* -1 = not open */
    size_t size;
    size_t size_wanted;
    size_t filled;    /* bytes of it that were written */
    size_t prefilled; /* of a file that is there from before */
    struct wal_segment_head head;
};

struct wal_reader;

struct wal {
    struct c2_env *env;
    struct wal_options o; /* path borrowed */
    uint64_t log_id;
    struct wal_anchor anchor;

    struct c2_list segments; /* oldest first; the last one is written to */
    int file;                /* of the last */
    uint64_t pos;            /* where its next group goes */

    uint64_t seq; /* of the next group */
    uint64_t lsn; /* of the next record */
    uint64_t synced;
    uint64_t ngroups;
    uint8_t prev[C2_SHA256_LEN];

    struct c2_list groups; /* waiting; the first one is under way when io says so */
    unsigned nurgent;      /* of them */
    enum wal_io io;
    struct c2_disk_req req;
    struct c2_slice iov;
    struct c2_task flush;
    struct c2_timer idle_timer;
    uint8_t *seal; /* owned; a block */
    bool sealed;   /* nothing was written since the last seal */

    struct wal_files files;
    struct wal_reader *reader; /* owned; while opening */

    bool ready;
    bool failed;
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

static inline struct wal_segment *
wal_current(const struct wal *w)
{
    C2_ASSERT(!c2_list_empty(&w->segments));
    return C2_CONTAINER_OF(w->segments.head.prev, struct wal_segment, link);
}

/* wal.c */
void wal_fail(struct wal *w, enum c2_err err);
/* Closing without space: what waits was not said to be durable, and goes. */
void wal_give_up(struct wal *w);
/* Goes on with whatever can go on. */
void wal_kick(struct wal *w);
void wal_segment_free(struct wal_segment *s);
/* The next segment takes the place of the current one; files.ready. */
void wal_adopt(struct wal *w);

/* wal_files.c */
void wal_files_init(struct wal *w);
void wal_files_done(struct wal *w);
/* Does what is due, one thing at a time. */
void wal_files_kick(struct wal *w);
bool wal_files_busy(const struct wal *w);
/* The next segment must be able to hold a group of so many bytes. */
void wal_files_want(struct wal *w, size_t group_size);
char *wal_segment_path(const struct wal *w, uint64_t number);

/* wal_open.c */
void wal_reader_start(struct wal *w);
/* The first segment of a new part is there, and wal_adopt was called. */
void wal_reader_prepared(struct wal *w);
void wal_reader_free(struct wal_reader *r);

#endif
