/* SPDX-License-Identifier: MIT */
/*
 * The client-side journal: what close(2) and fsync(2) promise is here until the clouds have it.
 * Append-only segment files in <cache_dir>/journal, sealed under a device key, each frame
 * authenticated and bound to its place in the sequence, group commit.
 *
 * A group is a metadata record (opaque here) plus data pieces; it is in the journal whole or not
 * at all, and gets the next sequence number. A data piece can be read back by its location.
 * A segment is freed when its groups are trimmed and no piece in it is held.
 */
#ifndef C2_FS_JOURNAL_H
#define C2_FS_JOURNAL_H

#include "base/env.h"

#define JOURNAL_SEGMENT_SIZE    (64u << 20)
#define JOURNAL_GROUP_BYTES_MAX (24u << 20)
#define JOURNAL_PIECES_MAX      4096
#define JOURNAL_PIECE_MAX       (1u << 20)

/* Where a piece lies; 20 bytes encoded. */
struct journal_loc {
    uint64_t segment;
    uint64_t offset; /* of the frame */
    uint32_t len;    /* plaintext bytes */
    bool damaged;    /* set by the replay: it cannot be read; not encoded */
};

struct c2_rd;
void journal_loc_encode(const struct journal_loc *l, struct c2_buf *out);
struct journal_loc journal_loc_decode(struct c2_rd *r);

struct journal;

struct journal_config {
    const char *dir; /* borrowed for the call */
    uint8_t key[32]; /* the device's; wiped by the caller */
    uint64_t size_max;
    uint64_t segment_size; /* 0 = JOURNAL_SEGMENT_SIZE; a larger group gets a segment of its own */
};

/* What replay found: groups come in order, each once. Pieces of the group are at locs[]. */
struct journal_replay {
    /* An error ends the replay and is returned. */
    enum c2_err (*group)(struct journal_replay *r, uint64_t seq, struct c2_slice meta,
                         const struct journal_loc *locs, size_t nlocs);
    uint64_t after_seq;      /* groups up to this one are committed and are skipped */
    uint64_t groups, bytes;  /* out */
    uint64_t torn_bytes;     /* out: cut from the tail */
    uint64_t damaged_groups; /* out: in the middle: skipped, or delivered with damaged pieces */
    char damage[200];        /* out: where, for people; "" = none */
};

/*
 * Opens the folder (made when absent), replays it and is ready to append. A torn tail is cut.
 * Damage in the middle is reported in *replay and what is intact after it is still delivered.
 * DAMAGED only when nothing can be read although files are there; KEY when sealed by another key.
 */
struct journal_open {
    struct journal_config config;  /* copied; the caller may wipe the key after start */
    struct journal_replay *replay; /* borrowed until done */
    void (*done)(struct journal_open *o);
    enum c2_err err;         /* out */
    struct journal *journal; /* out: the caller's, NULL on failure */
    char *error;             /* out: on failure a sentence for people; the caller's (c2_free) */
    void *priv;              /* the caller's */
};
void journal_open_start(struct c2_env *env, struct journal_open *o);
void journal_close(struct journal *j); /* nothing outstanding */

struct journal_append {
    struct c2_slice meta;          /* borrowed until done; may be empty (data only) */
    const struct c2_slice *pieces; /* borrowed until done, with the bytes behind it */
    size_t npieces;
    bool sync; /* durable (fdatasync) before done; else written to the file */
    void (*done)(struct journal_append *a);
    /* out: NO_SPACE (so do all appends that are outstanding then: no later group overtakes an
     * earlier one; try again when there is space), else the journal is broken: every later append
     * fails the same way. */
    enum c2_err err;
    uint64_t seq;             /* out: set already when journal_append_start returns; never reused */
    struct journal_loc *locs; /* out: npieces, the caller's (c2_free); one hold each */
    struct c2_link link;      /* private to the journal */
    void *priv;               /* the caller's */
};

/* Appends are written in the order of the calls; several may be outstanding. */
void journal_append_start(struct journal *j, struct journal_append *a);

/* Makes everything appended so far durable. */
struct journal_sync {
    void (*done)(struct journal_sync *s);
    enum c2_err err;
    uint64_t seq;        /* private to the journal */
    struct c2_link link; /* private to the journal */
    void *priv;          /* the caller's */
};
void journal_sync_start(struct journal *j, struct journal_sync *s);

struct journal_read {
    struct journal_loc loc;
    void (*done)(struct journal_read *r);
    enum c2_err err;
    struct c2_blob *data; /* out: the caller's */
    void *priv;           /* the caller's */
};
void journal_read_start(struct journal *j, struct journal_read *r);

/* One more or one fewer reason to keep the segment of this piece. Replayed pieces start with one
 * hold. */
void journal_hold(struct journal *j, const struct journal_loc *loc);
void journal_unhold(struct journal *j, const struct journal_loc *loc);
/* Groups up to seq are committed elsewhere. Nothing is freed before the first call: a replayed
 * group may name pieces of groups that are committed, and has to hold them first. */
void journal_trim(struct journal *j, uint64_t seq);

struct journal_stats {
    uint64_t size_max, used_bytes; /* of segment files */
    uint64_t segment_size;         /* that a new one grows to */
    uint64_t last_seq, synced_seq, trimmed_seq;
    uint64_t oldest_ns; /* monotonic time of the oldest untrimmed group, 0 = none */
    uint64_t appends, syncs, bytes_written; /* since open */
    enum c2_err err;                        /* sticky failure */
};
void journal_stats(const struct journal *j, struct journal_stats *ret_stats);

#endif
