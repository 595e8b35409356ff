/* SPDX-License-Identifier: MIT */
/*
 * Derivation from the volume key, sealing of metadata values, hashing of names. All derivations
 * are HKDF-SHA-256 with the volume's uuid as salt and "c2fs 1 <purpose>\0<context>" as info.
 *
 * A sealed value is session (8), counter (8), ciphertext, tag (16). Its key belongs to the session
 * and its nonce is the counter, which goes up by one per value and starts where the mount says.
 * Keys of the sessions met on reading are kept in a small table, replaced in turn.
 */
#include "fs/keys.h"

#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"

#define SESSION_KEYS  32
#define DIR_KEYS      64 /* power of two */
#define SEAL_HEAD_LEN 16
#define INFO_MAX      128

struct session_key {
    bool used;
    uint64_t session;
    uint8_t key[C2_KEY_LEN];
};

struct dir_key {
    uint64_t ino; /* 0 = free */
    uint8_t key[C2_KEY_LEN];
};

struct keys {
    uint8_t volume_key[C2_KEY_LEN];
    uint8_t uuid[16];
    uint8_t meta[C2_KEY_LEN];
    uint8_t name[C2_KEY_LEN];
    bool session_set;
    bool sealed_any;
    uint64_t session;
    uint64_t counter; /* of the next value */
    uint8_t seal_key[C2_KEY_LEN];
    struct session_key sessions[SESSION_KEYS];
    unsigned session_next; /* entry to replace */
    struct dir_key dirs[DIR_KEYS];
};

static struct c2_slice
key_slice(const uint8_t key[C2_KEY_LEN])
{
    return c2_slice(key, C2_KEY_LEN);
}

void
keys_derive(const struct keys *k, const char *purpose, struct c2_slice context,
            uint8_t out[C2_KEY_LEN])
{
    uint8_t info[INFO_MAX];
    static const char prefix[] = "c2fs 1 ";
    size_t purpose_len = strlen(purpose) + 1; /* the zero ends it */
    size_t prefix_len = sizeof prefix - 1;
    C2_ASSERT(prefix_len + purpose_len + context.len <= sizeof info);
    memcpy(info, prefix, prefix_len);
    memcpy(info + prefix_len, purpose, purpose_len);
    if (context.len > 0)
        memcpy(info + prefix_len + purpose_len, context.data, context.len);
    c2_hkdf(key_slice(k->volume_key), c2_slice(k->uuid, sizeof k->uuid),
            c2_slice(info, prefix_len + purpose_len + context.len), out, C2_KEY_LEN);
}

struct keys *
keys_new(const uint8_t volume_key[C2_KEY_LEN], const uint8_t uuid[16])
{
    struct keys *k = c2_secret_alloc(sizeof *k);
    memcpy(k->volume_key, volume_key, C2_KEY_LEN);
    memcpy(k->uuid, uuid, sizeof k->uuid);
    keys_derive(k, "meta", c2_slice(NULL, 0), k->meta);
    keys_derive(k, "name", c2_slice(NULL, 0), k->name);
    return k;
}

void
keys_free(struct keys *k)
{
    c2_secret_free(k, sizeof *k);
}

static void
derive_from(const uint8_t key[C2_KEY_LEN], const char *label, uint64_t number,
            uint8_t out[C2_KEY_LEN])
{
    uint8_t info[16] = { 0 };
    C2_ASSERT(strlen(label) <= 8);
    memcpy(info, label, strlen(label));
    c2_put_u64(info + 8, number);
    c2_hkdf(key_slice(key), c2_slice(NULL, 0), c2_slice(info, sizeof info), out, C2_KEY_LEN);
}

void
keys_set_session(struct keys *k, uint64_t session)
{
    C2_ASSERT(!k->session_set);
    k->session = session;
    k->session_set = true;
    derive_from(k->meta, "session", session, k->seal_key);
}

void
keys_set_counter(struct keys *k, uint64_t counter)
{
    C2_ASSERT(!k->sealed_any);
    k->counter = counter;
}

static void
make_nonce(uint64_t counter, uint8_t nonce[C2_GCM_NONCE_LEN])
{
    memset(nonce, 0, C2_GCM_NONCE_LEN);
    c2_put_u64(nonce, counter);
}

void
keys_seal(struct keys *k, struct c2_slice aad, struct c2_slice plain, struct c2_buf *out)
{
    C2_ASSERT(k->session_set);
    uint8_t nonce[C2_GCM_NONCE_LEN];
    k->sealed_any = true;
    c2_wr_u64(out, k->session);
    c2_wr_u64(out, k->counter);
    make_nonce(k->counter++, nonce);
    uint8_t *to = c2_buf_extend(out, plain.len + C2_GCM_TAG_LEN);
    c2_gcm_seal(k->seal_key, nonce, aad, plain, to);
}

static const uint8_t *
session_key(struct keys *k, uint64_t session)
{
    if (k->session_set && k->session == session)
        return k->seal_key;
    for (size_t i = 0; i < SESSION_KEYS; i++) {
        if (k->sessions[i].used && k->sessions[i].session == session)
            return k->sessions[i].key;
    }
    struct session_key *s = &k->sessions[k->session_next++ % SESSION_KEYS];
    s->used = true;
    s->session = session;
    derive_from(k->meta, "session", session, s->key);
    return s->key;
}

enum c2_err
keys_open(struct keys *k, struct c2_slice aad, struct c2_slice sealed, struct c2_buf *out)
{
    if (sealed.len < KEYS_SEAL_OVERHEAD)
        return C2_E_PARSE;
    uint8_t nonce[C2_GCM_NONCE_LEN];
    make_nonce(c2_get_u64(sealed.data + 8), nonce);
    const uint8_t *key = session_key(k, c2_get_u64(sealed.data));
    size_t plain_len = sealed.len - KEYS_SEAL_OVERHEAD;
    uint8_t *to = c2_buf_extend(out, plain_len);
    enum c2_err err = c2_gcm_open(
        key, nonce, aad, c2_slice(sealed.data + SEAL_HEAD_LEN, plain_len + C2_GCM_TAG_LEN), to);
    if (err != C2_E_OK)
        out->len -= plain_len;
    return err;
}

void
keys_name_hash(struct keys *k, uint64_t dir_ino, struct c2_slice name,
               uint8_t out[KEYS_NAME_HASH_LEN])
{
    struct dir_key *d = &k->dirs[dir_ino % DIR_KEYS];
    C2_ASSERT(dir_ino != 0);
    if (d->ino != dir_ino) {
        derive_from(k->name, "dir", dir_ino, d->key);
        d->ino = dir_ino;
    }
    uint8_t mac[C2_SHA256_LEN];
    c2_hmac_sha256(key_slice(d->key), &name, 1, mac);
    memcpy(out, mac, KEYS_NAME_HASH_LEN);
    out[0] &= 0x7f;
}

void
keys_volume_key(const struct keys *k, uint8_t out[C2_KEY_LEN])
{
    memcpy(out, k->volume_key, C2_KEY_LEN);
}

void
keys_check_value(const struct keys *k, uint8_t out[16])
{
    uint8_t full[C2_KEY_LEN];
    keys_derive(k, "check", c2_slice(NULL, 0), full);
    memcpy(out, full, 16);
    c2_wipe(full, sizeof full);
}
