/* SPDX-License-Identifier: MIT */
/*
 * Files that a mount or a replica finds on its own disk, and their names. The first byte says what
 * the rest is:
 *
 *   'd' a file as device.key          'D' edits (at, xor) of one that is good
 *   'b' a file as a block of the cache
 *   'B' object (24) block (u32) n, n edits (u16 at, u8 xor), u16 cut, plaintext: a good one, edited
 *   'N' the name of a block of the cache, of a segment of the journal, of one of a replica's log
 *
 * A sealed file opens when it is the one that was written, in its place; a name that is one is
 * written the same.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "fs/cache_file.h"
#include "fs/journal_segment.h"
#include "fs/volume_impl.h"
#include "metadata/wal_format.h"
#include "tests/lib/test_env.h"

#define PLAIN_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t key[C2_KEY_LEN] = { 'k', 'e', 'y' };

/* ---- device.key ------------------------------------------------------------------------------ */

/* A volume as far as its device key is concerned. */
static struct test_env *env;
static struct volume *volume;
static uint8_t device_file[VOLUME_DEVICE_FILE_LEN];

static void
end(void)
{
    keys_free(volume->keys);
    c2_secret_free(volume->device_secret, C2_ED25519_SECRET_LEN);
    c2_free(volume);
    test_env_free(env);
}

static void
begin(void)
{
    if (env != NULL)
        return;
    C2_ASSERT(c2_crypto_init() == C2_E_OK);
    env = test_env_new(7);
    volume = c2_calloc(1, sizeof *volume);
    volume->env = test_env_env(env);
    memset(volume->config.uuid, 0xc2, sizeof volume->config.uuid);
    volume->keys = keys_new(key, volume->config.uuid);
    volume_device_new(volume, device_file);
    (void)atexit(end);
}

static void
device(struct c2_slice in)
{
    struct volume before = *volume;
    bool good = c2_slice_equal(in, c2_slice(device_file, sizeof device_file));
    memset(volume->device_id, 0, sizeof volume->device_id);
    enum c2_err err = volume_device_decode(volume, in);
    C2_ASSERT((err == C2_E_OK) == good);
    C2_ASSERT(!good || memcmp(volume->device_id, before.device_id, sizeof before.device_id) == 0);
    memcpy(volume->device_id, before.device_id, sizeof before.device_id);
}

static void
edited_device(struct c2_rd *in)
{
    uint8_t file[VOLUME_DEVICE_FILE_LEN];
    memcpy(file, device_file, sizeof file);
    while (c2_rd_left(in) >= 2) {
        size_t at = c2_rd_u8(in) % sizeof file;
        file[at] ^= c2_rd_u8(in);
    }
    device(c2_slice(file, sizeof file));
}

/* ---- blocks of the cache --------------------------------------------------------------------- */

static bool
opens(const struct ds_oid *oid, uint32_t block, struct c2_slice file, struct c2_slice plain)
{
    struct c2_blob *found = NULL;
    enum c2_err err = cache_file_open(key, oid, block, file, &found);
    C2_ASSERT((err == C2_E_OK) == (found != NULL));
    C2_ASSERT(err != C2_E_OK || c2_slice_equal(c2_blob_slice(found), plain));
    c2_blob_unref(found);
    return err == C2_E_OK;
}

static struct ds_oid
read_oid(struct c2_rd *in)
{
    struct ds_oid oid = { .sid = c2_rd_u64(in), .seq = c2_rd_u64(in) };
    c2_rd_copy(in, oid.rnd, sizeof oid.rnd);
    return oid;
}

static void
edited_block(struct c2_rd *in)
{
    C2_AUTO(c2_buf_done) struct c2_buf file = { 0 };
    struct ds_oid oid = read_oid(in);
    uint32_t block = c2_rd_u32(in);
    uint8_t nedits = c2_rd_u8(in);
    struct c2_rd edits = c2_rd_init(c2_rd_raw(in, 3u * nedits));
    size_t cut = c2_rd_u16(in);
    struct c2_slice plain = c2_rd_raw(in, C2_MIN(c2_rd_left(in), PLAIN_MAX));
    if (!c2_rd_ok(in))
        return;
    cache_file_seal(key, &oid, block, plain, c2_buf_extend(&file, plain.len + CACHE_FILE_OVERHEAD));
    C2_ASSERT(opens(&oid, block, c2_buf_slice(&file), plain));
    struct ds_oid other = oid;
    other.rnd[0] ^= 1;
    C2_ASSERT(!opens(&other, block, c2_buf_slice(&file), plain));
    C2_ASSERT(!opens(&oid, block ^ 1, c2_buf_slice(&file), plain));
    C2_AUTO(c2_buf_done) struct c2_buf edited = { 0 };
    c2_buf_append(&edited, file.data, file.len);
    while (c2_rd_left(&edits) > 0) {
        size_t at = c2_rd_u16(&edits) % file.len;
        edited.data[at] ^= c2_rd_u8(&edits);
    }
    edited.len -= C2_MIN(cut, edited.len);
    bool same = c2_slice_equal(c2_buf_slice(&edited), c2_buf_slice(&file));
    C2_ASSERT(opens(&oid, block, c2_buf_slice(&edited), plain) == same);
}

/* ---- names ----------------------------------------------------------------------------------- */

static void
expect_last_part(char *path, const char *name)
{
    C2_ASSERT(strcmp(strrchr(path, '/') + 1, name) == 0);
    c2_free(path);
}

static void
names(const char *name)
{
    struct ds_oid oid;
    uint32_t block, len;
    uint64_t number;
    char text[32];
    if (cache_file_parse_name(name, &oid, &block, &len)) {
        C2_ASSERT(len <= CACHE_BLOCK_SIZE);
        expect_last_part(cache_file_path("dir", &oid, block, len), name);
    }
    if (journal_segment_parse_name(name, ".seg", &number))
        expect_last_part(journal_segment_path("dir", number), name);
    if (wal_parse_segment_name(c2_slice_str(name), &number)) {
        snprintf(text, sizeof text, "%016llx.wal", (unsigned long long)number);
        C2_ASSERT(strcmp(text, name) == 0 && number > 0);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    begin();
    if (size == 0)
        return 0;
    struct c2_slice rest = c2_slice(data + 1, size - 1);
    struct c2_rd in = c2_rd_init(rest);
    const struct ds_oid oid = { .sid = 1, .seq = 2 };
    C2_AUTO(c2_free_auto) char *text = NULL;
    switch (data[0]) {
    case 'd':
        device(rest);
        break;
    case 'D':
        edited_device(&in);
        break;
    case 'b':
        C2_ASSERT(!opens(&oid, 0, rest, rest));
        break;
    case 'B':
        edited_block(&in);
        break;
    case 'N':
        text = c2_strndup((const char *)rest.data, rest.len);
        names(text);
        break;
    default:
        break;
    }
    return 0;
}
