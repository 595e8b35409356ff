/* SPDX-License-Identifier: MIT */
/*
 * A block of the cache on disk: name and contents. Private to fs/cache*.c. Pure functions of
 * memory that may run on the pool.
 *
 *   name      <dir>/<2 hex: low byte of seq>/<sid 16><seq 16><rnd 16>-<block 8>-<length 8>
 *   contents  magic 8, version u16, zero u16, block u32, length u32, zeros up to 32; ciphertext;
 * tag
 *
 * AAD: the 32 bytes and the object id.
 */
#ifndef C2_FS_CACHE_FILE_H
#define C2_FS_CACHE_FILE_H

#include "fs/cache.h"

#include "base/crypto.h"

#define CACHE_FILE_HEAD     32
#define CACHE_FILE_OVERHEAD (CACHE_FILE_HEAD + C2_GCM_TAG_LEN)
#define CACHE_FILE_MAX      (CACHE_FILE_OVERHEAD + CACHE_BLOCK_SIZE)

/* The caller frees. */
char *cache_file_path(const char *dir, const struct ds_oid *oid, uint32_t block, uint32_t len);
/* Of the last part of a path; false: not a name of ours. */
bool cache_file_parse_name(const char *name, struct ds_oid *ret_oid, uint32_t *ret_block,
                           uint32_t *ret_len);
/* out has room for plain.len + CACHE_FILE_OVERHEAD. */
void cache_file_seal(const uint8_t key[C2_KEY_LEN], const struct ds_oid *oid, uint32_t block,
                     struct c2_slice plain, uint8_t *out);
/* PARSE or CORRUPT when it is not that block, sealed by that key. */
C2_RESULT cache_file_open(const uint8_t key[C2_KEY_LEN], const struct ds_oid *oid, uint32_t block,
                          struct c2_slice file, struct c2_blob **ret_plain);

#endif
