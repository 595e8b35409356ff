/* SPDX-License-Identifier: MIT */
/*
 * The key file with a chosen cost. Private to fs/: everybody else takes fs/keys.h, tests take a
 * cheap cost from here.
 */
#ifndef C2_FS_KEY_FILE_H
#define C2_FS_KEY_FILE_H

#include "fs/keys.h"

#define KEY_FILE_TEXT_MAX       (16u << 10)
#define KEY_FILE_MEMORY_KIB_MAX (4u << 20)
#define KEY_FILE_ITERATIONS_MAX 64
#define KEY_FILE_LANES_MAX      16

struct key_file_cost {
    uint32_t memory_kib, iterations, lanes;
};

C2_RESULT key_file_encode_cost(const struct key_file *info, const uint8_t volume_key[C2_KEY_LEN],
                               const char *passphrase, const struct key_file_cost *cost,
                               struct c2_buf *out);

#endif
