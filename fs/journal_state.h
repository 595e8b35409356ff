/* SPDX-License-Identifier: MIT */
/*
 * The running journal, shared by journal.c (groups on their way to the file), journal_sync.c
 * (fdatasync) and journal_files.c (segments: reading, holding, freeing). Private to fs/journal*.c.
 */
#ifndef C2_FS_JOURNAL_STATE_H
#define C2_FS_JOURNAL_STATE_H

#include "fs/journal_segment.h"

/* Up to here sealing and opening take less time than a trip to the pool and back. */
#define JOURNAL_INLINE_MAX ((size_t)64 << 10)

enum journal_batch_state { BATCH_IDLE, BATCH_SEALING, BATCH_SEALED, BATCH_WRITING };

struct journal_batch {
    enum journal_batch_state state;
    struct journal *journal;
    struct c2_list appends;
    struct journal_segment *segment;
    uint64_t offset; /* in the file, of data[0] */
    size_t len;
    uint8_t *data; /* owned, kept from batch to batch */
    size_t cap;
    struct journal_sealer sealer;
    struct c2_work work;
    struct c2_disk_req io;
    struct c2_slice iov;
};

struct journal {
    struct c2_env *env;
    char *dir;    /* owned */
    uint8_t *key; /* owned, in the secret arena */
    uint64_t size_max, segment_size;
    enum c2_err err; /* sticky */
    bool closed;     /* only the kick still refers to it */
    bool replaying;  /* not trimmed yet: what was replayed may name pieces of trimmed groups */

    struct journal_segment **segments; /* owned, by id */
    size_t nsegments;
    struct journal_segment *current; /* appended to; one of segments, NULL = to be made */
    uint64_t next_id;
    struct journal_segment *opening; /* owned */
    char *open_path;                 /* owned */
    struct c2_disk_req open_io;
    uint8_t header[JOURNAL_HEADER_AREA];
    struct c2_slice header_iov;

    struct c2_list queue; /* of journal_append, not in a batch yet */
    struct journal_batch batches[2];
    unsigned next_batch; /* to be formed */
    struct c2_task kick;
    uint64_t seq;                                                       /* last one given away */
    uint8_t written_chain[JOURNAL_CHAIN_LEN], chain[JOURNAL_CHAIN_LEN]; /* of the last group */
    uint64_t written_seq, chain_seq; /* written, and in a batch */

    bool cutting;                        /* a write ran out of space */
    struct journal_segment *cut_segment; /* being truncated */
    struct c2_disk_req cut_io;
    struct c2_list failed; /* appends that wait for the end of the cut */

    struct c2_list wait_sync; /* appends written, not yet durable */
    struct c2_list syncs;     /* of journal_sync, waiting */
    bool syncing;
    struct c2_list covered_appends, covered_syncs; /* by the running sync */
    struct journal_segment *sync_segment;          /* its file is being synced */
    uint64_t sync_from, sync_to;                   /* ids still to be synced */
    uint64_t sync_seq;                             /* becomes synced_seq */
    bool dir_dirty;                                /* a file was made since the folder's sync */
    struct c2_disk_req sync_io;

    struct c2_list ages; /* of journal_age, oldest first */
    unsigned reads;      /* in flight */
    struct journal_stats stats;
};

/* journal.c */
void journal_step(struct journal *j);
/* All groups up to here are written or have failed. */
uint64_t journal_settled(const struct journal *j);
void journal_complete_appends(struct c2_list *appends, enum c2_err err);
void journal_move_all(struct c2_list *from, struct c2_list *to);

/* journal_sync.c */
void journal_sync_step(struct journal *j);
void journal_complete_syncs(struct c2_list *syncs, enum c2_err err);

/* journal_files.c */
size_t journal_lower_bound(const struct journal *j, uint64_t id); /* index in segments */
uint64_t journal_used_bytes(const struct journal *j);
bool journal_droppable(const struct journal *j, const struct journal_segment *s);
void journal_drop_segment(struct journal *j, struct journal_segment *s);
void journal_drop_unneeded(struct journal *j);
void journal_release_use(struct journal *j, struct journal_segment *s);
void journal_note_age(struct journal *j, uint64_t seq);
void journal_free_files(struct journal *j);

#endif
