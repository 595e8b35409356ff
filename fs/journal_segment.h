/* SPDX-License-Identifier: MIT */
/*
 * What a journal segment file looks like (docs/formats-local.md has the byte tables), and the
 * pieces that journal.c, journal_scan.c and journal_replay.c share. Private to fs/journal*.c.
 *
 * Keys and nonces: each segment file has keys of its own, HKDF of the journal key and 16 random
 * bytes in its header. The nonce is a counter in the frame; it goes up by one per frame sealed, is
 * never set back (not even when a write failed and its bytes were cut), and starts at 1 because
 * the header's own tag used 0. A process never appends to a segment that it did not create, so no
 * counter has to survive it.
 */
#ifndef C2_FS_JOURNAL_SEGMENT_H
#define C2_FS_JOURNAL_SEGMENT_H

#include "fs/journal.h"

#include "base/crypto.h"

#define JOURNAL_HEADER_AREA 8192 /* two copies of the header, a bad sector takes one */
#define JOURNAL_HEADER_COPY 4096
#define JOURNAL_FRAME_HEAD  48
#define JOURNAL_FRAME_ALIGN 16
#define JOURNAL_CHAIN_LEN   16
#define JOURNAL_COMMIT_HEAD (JOURNAL_CHAIN_LEN + 20)
#define JOURNAL_PIECE_ENTRY 24
/* Plaintext of the largest commit frame: its list and a meta of a whole group. */
#define JOURNAL_COMMIT_MAX                                                                         \
    (JOURNAL_COMMIT_HEAD + JOURNAL_PIECES_MAX * JOURNAL_PIECE_ENTRY + JOURNAL_GROUP_BYTES_MAX)

struct journal_keys { /* in the secret arena */
    uint8_t seal[C2_KEY_LEN];
    uint8_t mac[C2_KEY_LEN];
};

struct journal_segment {
    uint64_t id;
    int file;
    uint8_t salt[16];
    struct journal_keys *keys; /* owned */
    uint64_t size;             /* of the file */
    uint64_t end;              /* size plus what is on its way */
    uint64_t counter;          /* nonce of the next frame */
    uint64_t last_seq;         /* of the last group in it, 0 = none */
    uint64_t holds;            /* pieces somebody needs */
    unsigned uses;             /* disk requests in flight */
    bool dirty;                /* written since its last fdatasync */
};

/* A new segment with fresh keys. */
struct journal_segment *journal_segment_new(const uint8_t key[C2_KEY_LEN], uint64_t id,
                                            const uint8_t salt[16]);
void journal_segment_free(struct journal_segment *s); /* the file is the caller's; NULL is fine */

/* Fills the header area. */
void journal_header_encode(const struct journal_segment *s, uint8_t out[JOURNAL_HEADER_AREA]);
/* DAMAGED, VERSION, or KEY when the header is intact but sealed by another key. */
C2_RESULT journal_header_decode(struct c2_slice area, const uint8_t key[C2_KEY_LEN], uint64_t id,
                                struct journal_segment **ret_segment);
/* "<16 hex>.seg" -> id. */
bool journal_segment_parse_name(const char *name, const char *suffix, uint64_t *ret_id);

enum journal_frame_type { JOURNAL_PIECE = 1, JOURNAL_COMMIT = 2 };

struct journal_frame {
    enum journal_frame_type type;
    uint64_t seq;
    uint64_t counter;
    uint32_t len;   /* of the plaintext */
    uint32_t index; /* piece: its number in the group; commit: how many pieces */
};

/* Bytes of a frame in the file, padding included. */
size_t journal_frame_size(size_t len);
/* False: not a frame of this place. The header is authenticated on its own, so that a length can
 * be trusted although the frame's body is damaged. */
bool journal_frame_decode(const struct journal_segment *s, uint64_t offset, const uint8_t *head,
                          struct journal_frame *ret_frame);
/* whole: header, ciphertext, tag. out has room for frame->len. */
C2_RESULT journal_frame_open(const struct journal_segment *s, uint64_t offset,
                             const struct journal_frame *frame, const uint8_t *whole, uint8_t *out);
/* What the next commit frame names to say that nothing is missing between the two. */
void journal_frame_chain(const uint8_t *whole, const struct journal_frame *frame,
                         uint8_t out[JOURNAL_CHAIN_LEN]);

/* Writes groups one after the other into memory. May run on the pool. */
struct journal_sealer {
    const struct journal_segment *segment; /* id and keys are read, nothing else */
    uint64_t offset;                       /* in the file, of the next frame */
    uint64_t counter;
    uint8_t chain[JOURNAL_CHAIN_LEN]; /* of the last commit frame */
    uint64_t chain_seq;               /* its sequence number */
    uint64_t synced_seq;              /* groups up to it are durable */
    uint8_t *out;                     /* where the next frame goes */
};

struct journal_group {
    uint64_t seq;
    struct c2_slice meta;
    const struct c2_slice *pieces;
    size_t npieces;
};

/* Seals one frame at s->out, gives it its counter and moves on; plain may be where the ciphertext
 * goes. */
void journal_frame_seal(struct journal_sealer *s, struct journal_frame *f, struct c2_slice plain);
size_t journal_group_size(const struct journal_group *g);
void journal_group_seal(struct journal_sealer *s, const struct journal_group *g,
                        struct journal_loc *ret_locs);

struct journal_commit {
    uint8_t chain[JOURNAL_CHAIN_LEN]; /* of the commit frame before */
    uint64_t chain_seq;
    uint64_t synced_seq; /* what was durable when this group was sealed */
    uint32_t npieces;
    struct c2_slice list; /* npieces entries */
    struct c2_slice meta;
};

struct journal_piece {
    uint32_t offset;
    uint32_t len;
    uint8_t tag[C2_GCM_TAG_LEN];
};

C2_RESULT journal_commit_decode(struct c2_slice plain, struct journal_commit *ret_commit);
struct journal_piece journal_commit_piece(const struct journal_commit *c, size_t index);

/* ---- scanner (journal_scan.c) --------------------------------------------------------------- */

/*
 * Finds the groups in segments that are fed to it in order. A bad spot is stepped over 16 bytes at
 * a time until a header authenticates; the chain of the commit frames tells whether groups are
 * missing, so garbage that was never part of a committed group is not damage.
 *
 * A missing group is either damaged or was never durable: a power cut keeps any of the writes since
 * the last sync. What follows is held back until a commit frame says that the missing group was
 * durable: then that is damage, and what follows counts. When no frame says so the log ends before
 * the missing group: what follows was never promised, and without it would be half a history.
 */
struct journal_limbo; /* a group that is held back */

struct journal_scan {
    struct journal_replay *replay; /* borrowed */
    /* over all segments */
    bool chain_known;
    uint8_t chain[JOURNAL_CHAIN_LEN];
    uint64_t chain_seq; /* last good commit frame */
    uint64_t seq_max;   /* of any frame */
    bool doubtful;      /* groups are missing that may never have been durable */
    uint64_t missing;   /* how many, and the last of them */
    uint64_t missing_seq;
    char missing_text[200];
    struct c2_list limbo;
    /* where what counts ends */
    struct journal_segment *good_segment; /* borrowed; NULL = nothing does */
    uint64_t good_end, good_seq;
    uint8_t good_chain[JOURNAL_CHAIN_LEN];
    /* the segment */
    struct journal_segment *segment; /* borrowed */
    uint64_t pos;
    uint64_t commit_end; /* end of its last good commit frame, 0 = none */
    /* pieces of the group that is being read */
    struct scan_piece {
        struct journal_piece piece;
        bool good;
    } * pieces; /* owned, JOURNAL_PIECES_MAX */
    size_t npieces;
    uint64_t pieces_seq;
    struct journal_loc *locs; /* owned, JOURNAL_PIECES_MAX */
    struct c2_buf plain;      /* scratch */
};

void journal_scan_init(struct journal_scan *s, struct journal_replay *replay);
void journal_scan_done(struct journal_scan *s);
/* segment->size is how far it reads. */
void journal_scan_segment(struct journal_scan *s, struct journal_segment *segment);
/* bytes: of the file from s->pos on. *ret_need: how many more are wanted, counted from the new
 * s->pos; 0 = the segment is done. An error is the one that replay->group returned. */
C2_RESULT journal_scan_bytes(struct journal_scan *s, struct c2_slice bytes, size_t *ret_need);
/* After the last segment. True: the log ends at good_segment and good_end, what was read behind it
 * does not count. */
bool journal_scan_end(struct journal_scan *s);
/* Notes damage: counts groups and keeps the first sentence. */
void journal_scan_damage(struct journal_scan *s, uint64_t groups, const char *fmt, ...)
    C2_PRINTF(3, 4);

/* ---- what replay leaves behind (journal.c) --------------------------------------------------- */

struct journal_start {
    struct journal_segment **segments; /* owned, by id; files open */
    size_t nsegments;
    uint64_t next_id;
    uint64_t last_seq; /* highest ever seen */
    uint8_t chain[JOURNAL_CHAIN_LEN];
    uint64_t chain_seq;
};

/* Takes the segments and the array. */
struct journal *journal_new(struct c2_env *env, const struct journal_config *config,
                            const struct journal_start *start, uint64_t trimmed_seq);
char *journal_segment_path(const char *dir, uint64_t id);
/* In the background, outliving the journal: closes a file, or closes and unlinks it. */
void journal_file_close(struct c2_env *env, int file);
void journal_file_drop(struct c2_env *env, int file, char *path_owned);

#endif
