/* SPDX-License-Identifier: MIT */
/*
 * What a server-less volume keeps of its metadata in the clouds: journal objects (pieces of the
 * store's transaction log) and checkpoints (snapshots of the store). docs/formats-metadata-log.md.
 *
 * Everything here was read from clouds: decoders bound all fields and check the signature. They do
 * not say whether an object belongs where it was found; that is the reader's part (generation, seq,
 * base).
 */
#ifndef C2_FS_SHIP_FORMAT_H
#define C2_FS_SHIP_FORMAT_H

#include "base/crypto.h"
#include "depsky/depsky.h"
#include "metadata/coord.h"

#define SHIP_FORMAT_VERSION  1
#define SHIP_LOG_MAX         COORD_LOG_BYTES_MAX /* log bytes of one journal object */
#define SHIP_GENERATION_MAX  UINT32_MAX          /* eight digits in a key */
#define SHIP_PART_MAX        (8u << 20)          /* bytes of one part of a checkpoint */
#define SHIP_PARTS_MAX       65535
#define SHIP_INDEX_SEQ       0xffff /* low 16 bits of an index's seq; a part has its number there */
#define SHIP_RECORD_MAX      COORD_VALUE_MAX
#define SHIP_CHECKPOINTS_MAX 2 /* kept */

/* A point between two journal objects: where the next one goes and what lies before it. All zero =
 * before the first. */
struct ship_position {
    uint64_t generation;
    uint64_t seq;                /* of the next object */
    uint8_t hash[C2_SHA256_LEN]; /* of the object before */
    struct ds_ref ref;           /* of the object before */
    uint64_t version;            /* log entries up to this one are in the objects before */
};

/* By generation and seq. */
int ship_position_compare(const struct ship_position *a, const struct ship_position *b);

enum ship_kind {
    SHIP_LOG = 1,  /* log entries */
    SHIP_SEAL = 2, /* another machine takes over: the writer of the generation ends here */
};

struct ship_object {
    enum ship_kind kind;
    uint8_t uuid[16];
    uint64_t generation, seq;
    struct ship_position base; /* what this object continues */
    uint64_t version;          /* of the last entry; of the base when there is none */
    uint64_t time_ns;          /* agreed time of the last entry */
    uint8_t device[C2_ED25519_PUBLIC_LEN];
    struct c2_slice log;         /* as LOG_READ gives it; borrowed */
    uint8_t hash[C2_SHA256_LEN]; /* out: of the object, signature not included */
};

/* Fills o->device and o->hash. */
void ship_object_encode(struct ship_object *o, const uint8_t secret[C2_ED25519_SECRET_LEN],
                        struct c2_buf *out);
/* VERSION: a newer format; PARSE: not a journal object, or of another volume; CORRUPT: the
 * signature is wrong. */
C2_RESULT ship_object_decode(struct c2_slice in, const uint8_t uuid[16],
                             struct ship_object *ret_object);

/* Whether log is whole entries with versions after + 1, after + 2, …; gives the last one and its
 * time. */
C2_RESULT ship_log_check(struct c2_slice log, uint64_t after, uint64_t *ret_version,
                         uint64_t *ret_time_ns);
/* The part of a checked log with versions greater than after. */
struct c2_slice ship_log_after(struct c2_slice log, uint64_t after);

/* What is remembered of a checkpoint. */
struct ship_checkpoint {
    uint64_t generation, number;
    uint64_t version;             /* the state it has */
    uint64_t wall_ns;             /* when it was made */
    uint64_t bytes;               /* of the snapshot */
    struct ship_position journal; /* where to go on; entries up to version are to be skipped */
};

struct ship_index {
    uint8_t uuid[16];
    struct ship_checkpoint checkpoint;
    struct c2_slice id;     /* record V, borrowed */
    struct c2_slice config; /* record C, opened, borrowed */
    bool has_key;
    uint8_t volume_key[C2_KEY_LEN]; /* keyless volumes: to be wiped by the owner */
    uint8_t device[C2_ED25519_PUBLIC_LEN];
    struct ds_ref *parts; /* encode: borrowed; decode: the caller's (c2_free) */
    size_t nparts;
};

void ship_index_encode(struct ship_index *x, const uint8_t secret[C2_ED25519_SECRET_LEN],
                       struct c2_buf *out);
C2_RESULT ship_index_decode(struct c2_slice in, const uint8_t uuid[16],
                            struct ship_index *ret_index);

/* Coordination key H, sealed by the caller: what the mount remembers of its shipping. */
struct ship_record {
    struct ship_position at;
    uint64_t cost; /* of the log since the last checkpoint, see checkpoint.c */
    uint64_t log_bytes;
    struct ship_checkpoint checkpoints[SHIP_CHECKPOINTS_MAX]; /* newest first */
    size_t ncheckpoints;
};

void ship_record_encode(const struct ship_record *r, struct c2_buf *out);
C2_RESULT ship_record_decode(struct c2_slice in, struct ship_record *ret_record);

/* The file that remembers on this machine how far the clouds were seen to be. */
void ship_head_encode(const uint8_t uuid[16], const struct ship_position *at, struct c2_buf *out);
C2_RESULT ship_head_decode(struct c2_slice in, const uint8_t uuid[16], struct ship_position *ret);

#endif
