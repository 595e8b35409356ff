/* SPDX-License-Identifier: MIT */
/*
 * Key files and recovery kits as somebody may edit them. The first byte says what the rest is:
 * 'T' the text of a key file, 'B' the bytes behind one (checksum and base64 are made right), 'R'
 * the text of a recovery kit, 'U' the keys of those who write units. No passphrase: Argon2id of
 * hostile cost is bounded elsewhere.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "fs/key_file.h"
#include "tools/unit_keys.h"

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

static bool
is_writer(const struct unit_keys *k, const uint8_t *public_key)
{
    for (size_t i = 0; i < k->nwriters; i++)
        if (memcmp(k->writers[i], public_key, DS_UNIT_PUBLIC_LEN) == 0)
            return true;
    return false;
}

static void
expect_same_writers(const struct unit_keys *k)
{
    struct c2_buf text = { 0 };
    struct unit_keys again = { 0 };
    const char *problem = NULL;
    for (size_t i = 0; i < k->nwriters; i++) {
        char hex[UNIT_KEYS_HEX_LEN + 1];
        c2_hex_encode(k->writers[i], DS_UNIT_PUBLIC_LEN, hex);
        c2_buf_printf(&text, i % 2 == 0 ? "public = %s\n" : "%s\n", hex);
    }
    C2_ASSERT(unit_keys_parse(&again, c2_buf_slice(&text), false, &problem) == C2_E_OK);
    C2_ASSERT(again.nwriters == k->nwriters && again.secret == NULL);
    C2_ASSERT(memcmp(again.writers, k->writers, sizeof k->writers) == 0);
    c2_buf_done(&text);
}

static void
unit_keys(struct c2_slice text)
{
    struct unit_keys k = { 0 };
    const char *problem = NULL;
    enum c2_err err = unit_keys_parse(&k, text, true, &problem);
    C2_ASSERT((err == C2_E_CONFIG) == (problem != NULL));
    C2_ASSERT(err == C2_E_OK || err == C2_E_CONFIG || k.nwriters == DS_UNIT_WRITERS_MAX);
    C2_ASSERT(k.nwriters <= DS_UNIT_WRITERS_MAX);
    if (k.secret != NULL) {
        uint8_t secret[DS_UNIT_SECRET_LEN], public_key[DS_UNIT_PUBLIC_LEN];
        ds_unit_keypair(k.secret, secret, public_key);
        C2_ASSERT(memcmp(secret, k.secret, sizeof secret) == 0 && is_writer(&k, public_key));
    }
    if (err == C2_E_OK)
        expect_same_writers(&k);
    unit_keys_done(&k);
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
    case 'U':
        unit_keys(rest);
        break;
    default:
        break;
    }
    return 0;
}
