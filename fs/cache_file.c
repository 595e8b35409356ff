/* SPDX-License-Identifier: MIT */
#include "fs/cache_file.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/wire.h"

#define MAGIC   "C2FSCACH"
#define VERSION 1
#define OID_LEN 24

static void
put_oid(const struct ds_oid *oid, uint8_t out[OID_LEN])
{
    c2_put_be64(out, oid->sid);
    c2_put_be64(out + 8, oid->seq);
    memcpy(out + 16, oid->rnd, sizeof oid->rnd);
}

static void
put_be32(uint8_t *out, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint32_t
get_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

char *
cache_file_path(const char *dir, const struct ds_oid *oid, uint32_t block, uint32_t len)
{
    uint8_t raw[OID_LEN];
    char hex[2 * OID_LEN + 1];
    put_oid(oid, raw);
    c2_hex_encode(raw, sizeof raw, hex);
    return c2_asprintf("%s/%02x/%s-%08x-%08x", dir, (unsigned)(oid->seq & 0xff), hex, block, len);
}

bool
cache_file_parse_name(const char *name, struct ds_oid *ret_oid, uint32_t *ret_block,
                      uint32_t *ret_len)
{
    uint8_t oid[OID_LEN], block[4], len[4];
    size_t hex = 2 * sizeof oid;
    if (strlen(name) != hex + 18 || name[hex] != '-' || name[hex + 9] != '-')
        return false;
    if (c2_hex_decode_name(c2_slice(name, hex), oid, sizeof oid) != C2_E_OK ||
        c2_hex_decode_name(c2_slice(name + hex + 1, 8), block, 4) != C2_E_OK ||
        c2_hex_decode_name(c2_slice(name + hex + 10, 8), len, 4) != C2_E_OK)
        return false;
    if (get_be32(len) > CACHE_BLOCK_SIZE)
        return false;
    ret_oid->sid = c2_get_be64(oid);
    ret_oid->seq = c2_get_be64(oid + 8);
    memcpy(ret_oid->rnd, oid + 16, sizeof ret_oid->rnd);
    *ret_block = get_be32(block);
    *ret_len = get_be32(len);
    return true;
}

struct sealing {
    uint8_t key[C2_KEY_LEN];
    uint8_t nonce[C2_GCM_NONCE_LEN];
    uint8_t aad[CACHE_FILE_HEAD + OID_LEN];
};

static void
prepare(struct sealing *s, const uint8_t key[C2_KEY_LEN], const struct ds_oid *oid, uint32_t block,
        uint32_t len)
{
    static const char label[] = "c2fs cache object 1";
    uint8_t info[sizeof label + OID_LEN];
    memset(s, 0, sizeof *s);
    put_be32(s->nonce, block);
    put_be32(s->nonce + 4, len);
    memcpy(s->aad, MAGIC, 8);
    c2_put_u16(s->aad + 8, VERSION);
    c2_put_u32(s->aad + 12, block);
    c2_put_u32(s->aad + 16, len);
    put_oid(oid, s->aad + CACHE_FILE_HEAD);
    memcpy(info, label, sizeof label);
    put_oid(oid, info + sizeof label);
    c2_hkdf(c2_slice(key, C2_KEY_LEN), c2_slice(NULL, 0), c2_slice(info, sizeof info), s->key,
            sizeof s->key);
}

void
cache_file_seal(const uint8_t key[C2_KEY_LEN], const struct ds_oid *oid, uint32_t block,
                struct c2_slice plain, uint8_t *out)
{
    struct sealing s;
    C2_ASSERT(plain.len <= CACHE_BLOCK_SIZE);
    prepare(&s, key, oid, block, (uint32_t)plain.len);
    memcpy(out, s.aad, CACHE_FILE_HEAD);
    c2_gcm_seal(s.key, s.nonce, c2_slice(s.aad, sizeof s.aad), plain, out + CACHE_FILE_HEAD);
    c2_wipe(&s, sizeof s);
}

enum c2_err
cache_file_open(const uint8_t key[C2_KEY_LEN], const struct ds_oid *oid, uint32_t block,
                struct c2_slice file, struct c2_blob **ret_plain)
{
    struct sealing s;
    if (file.len < CACHE_FILE_OVERHEAD || file.len > CACHE_FILE_MAX)
        return C2_E_PARSE;
    size_t len = file.len - CACHE_FILE_OVERHEAD;
    prepare(&s, key, oid, block, (uint32_t)len);
    enum c2_err err = C2_E_PARSE;
    if (memcmp(s.aad, file.data, CACHE_FILE_HEAD) == 0) {
        struct c2_blob *plain = c2_blob_new(len);
        struct c2_slice sealed = c2_slice(file.data + CACHE_FILE_HEAD, len + C2_GCM_TAG_LEN);
        err = c2_gcm_open(s.key, s.nonce, c2_slice(s.aad, sizeof s.aad), sealed, plain->data);
        if (err == C2_E_OK)
            *ret_plain = plain;
        else
            c2_blob_unref(plain);
    }
    c2_wipe(&s, sizeof s);
    return err;
}
