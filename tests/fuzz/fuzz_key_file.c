/* SPDX-License-Identifier: MIT */
/*
 * Key files and recovery kits as somebody may edit them. The first byte says what the rest is:
 * 'T' the text of a key file, 'B' the bytes behind one (checksum and base64 are made right), 'R'
 * the text of a recovery kit. No passphrase: Argon2id of hostile cost is bounded elsewhere.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "fs/key_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
assert_same(const struct key_file *a, const struct key_file *b)
{
    C2_ASSERT(memcmp(a->uuid, b->uuid, sizeof a->uuid) == 0);
    C2_ASSERT(strcmp(a->volume, b->volume) == 0);
    C2_ASSERT(a->keyless == b->keyless);
}

/* What decodes can be written again and is then the same. */
static void
key_file(struct c2_slice text)
{
    struct key_file info = { 0 }, again = { 0 };
    uint8_t key[C2_KEY_LEN] = { 0 }, key2[C2_KEY_LEN] = { 0 };
    struct c2_buf out = { 0 };
    if (key_file_decode(text, NULL, &info, key) != C2_E_OK)
        return;
    C2_ASSERT(key_file_encode(&info, key, NULL, &out) == C2_E_OK);
    C2_ASSERT(key_file_decode(c2_buf_slice(&out), NULL, &again, key2) == C2_E_OK);
    assert_same(&info, &again);
    C2_ASSERT(memcmp(key, key2, sizeof key) == 0);
    c2_buf_done(&out);
}

static void
key_file_bytes(struct c2_slice content)
{
    struct c2_buf all = { 0 }, text = { 0 };
    uint8_t hash[C2_SHA256_LEN];
    c2_sha256(content, hash);
    c2_buf_append(&all, content.data, content.len);
    c2_buf_append(&all, hash, 8);
    c2_buf_puts(&text, "C2FS-KEY 1\n");
    c2_base64_encode(c2_buf_slice(&all), &text);
    key_file(c2_buf_slice(&text));
    c2_buf_done(&all);
    c2_buf_done(&text);
}

static void
recovery_kit(struct c2_slice text)
{
    struct key_file info = { 0 }, again = { 0 };
    uint8_t key[C2_KEY_LEN] = { 0 }, key2[C2_KEY_LEN] = { 0 };
    struct c2_buf out = { 0 };
    unsigned bad = key_recovery_kit_bad_line(text);
    if (key_recovery_kit_decode(text, &info, key) != C2_E_OK)
        return;
    C2_ASSERT(bad == 0);
    key_recovery_kit(&info, key, &out);
    C2_ASSERT(key_recovery_kit_decode(c2_buf_slice(&out), &again, key2) == C2_E_OK);
    assert_same(&info, &again);
    C2_ASSERT(memcmp(key, key2, sizeof key) == 0);
    c2_buf_done(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready)
        C2_ASSERT(c2_crypto_init() == C2_E_OK);
    ready = true;
    if (size == 0)
        return 0;
    struct c2_slice rest = c2_slice(data + 1, size - 1);
    switch (data[0]) {
    case 'T':
        key_file(rest);
        break;
    case 'B':
        key_file_bytes(rest);
        break;
    case 'R':
        recovery_kit(rest);
        break;
    default:
        break;
    }
    return 0;
}
