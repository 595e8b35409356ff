/* SPDX-License-Identifier: MIT */
/*
 * How far the store has what journals promised. Each device has a journal and a position of its
 * own (key J and its id); key J says which device committed last, and the inode numbers given out.
 *
 * A device that left groups above its position may replay them only onto the state that they were
 * made for: as long as no other device has committed since. So J is in the first transaction of
 * every group, and the position in its last.
 *
 *   J            u8 version = 2, u8[16] device (zeros: nobody yet), u64 next_ino
 *   J device16   u8 version = 1, u64 sequence number
 *
 * Version 1 of J was u64 sequence number, u64 next_ino: of the only device there could be.
 */
#ifndef C2_FS_POSITION_H
#define C2_FS_POSITION_H

#include "base/buf.h"

#define FS_DEVICE_ID_LEN 16

struct fs_position {
    uint8_t device[FS_DEVICE_ID_LEN]; /* that committed last */
    uint64_t next_ino;
    uint64_t seq; /* of the device that asks */
};

void fs_position_encode(const struct fs_position *p, struct c2_buf *out);     /* J */
void fs_position_encode_seq(const struct fs_position *p, struct c2_buf *out); /* J device */
/* own: the value of the device that asks, empty when it has none. PARSE or VERSION. */
C2_RESULT fs_position_decode(struct c2_slice last, struct c2_slice own,
                             const uint8_t device[FS_DEVICE_ID_LEN], struct fs_position *ret);
/* Another device has committed after this one. */
bool fs_position_is_foreign(const struct fs_position *p, const uint8_t device[FS_DEVICE_ID_LEN]);

#endif
