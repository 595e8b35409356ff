/* SPDX-License-Identifier: MIT */
/*
 * What the store keeps of an object under its `O` key, readable without the volume key: where its
 * shares are, and what a share is checked against. So repair needs neither keys nor inodes.
 *
 *   version 2   u8 2, u8 state, u32 placed, u64 plain length, u64 stored bytes, root[32],
 *               u32 key epoch, u32 domain id
 *   version 1   the same without root and what follows; no longer written
 */
#ifndef C2_FS_OBJECT_RECORD_H
#define C2_FS_OBJECT_RECORD_H

#include "fs/coord_keys.h"

struct fs_object;

struct fs_object_record {
    uint8_t state; /* 0 = live */
    uint32_t placed;
    uint64_t stored_bytes;
    struct ds_ref ref; /* the id is in the key */
    bool has_root;     /* false: a record of version 1, ref has no root */
};

/* Whether a reference has a root: the ones of version 1 have not. */
bool fs_ref_has_root(const struct ds_ref *ref);
void fs_object_rec_encode(const struct fs_object_record *rec, struct c2_buf *out);
/* ret->ref.oid stays as it is. VERSION, PARSE. */
C2_RESULT fs_object_rec_decode(struct c2_slice record, struct fs_object_record *ret);
/* The id that an `O` or `R` key names. */
C2_RESULT fs_object_key_decode(struct c2_slice key, struct ds_oid *ret_oid);

/* A live object's record from and into the object in memory. */
void fs_object_record_encode(const struct fs_object *o, struct c2_buf *out);
C2_RESULT fs_object_record_decode(struct c2_slice record, struct fs_object *o);

#endif
