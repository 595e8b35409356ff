/* SPDX-License-Identifier: MIT */
/*
 * <cache_dir>/device.key: the identity of this device in the volume. Ed25519, its secret sealed
 * under a key of the volume; the id is the hash of the public key. Journal and cache of the folder
 * are sealed under keys of that id, so that two devices never share one.
 *
 *   magic 8, version u16, zeros 6, volume uuid 16, salt 16, sealed seed 48
 *
 * Key: HKDF "device" of the volume key and the salt. It seals once, so the nonce is zero. AAD: the
 * 48 bytes before.
 */
#include "fs/volume_impl.h"

#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"

#define MAGIC    "C2FSDEVK"
#define VERSION  1
#define HEAD_LEN 48
#define SEED_LEN 32

static const uint8_t zero_nonce[C2_GCM_NONCE_LEN];

static void
take_seed(struct volume *v, const uint8_t seed[SEED_LEN])
{
    uint8_t hash[C2_SHA256_LEN];
    if (v->device_secret == NULL)
        v->device_secret = c2_secret_alloc(C2_ED25519_SECRET_LEN);
    c2_ed25519_keypair(seed, v->device_secret, v->device_public);
    c2_sha256(c2_slice(v->device_public, sizeof v->device_public), hash);
    memcpy(v->device_id, hash, sizeof v->device_id);
}

static void
sealing_key(const struct volume *v, const uint8_t head[HEAD_LEN], uint8_t key[C2_KEY_LEN])
{
    keys_derive(v->keys, "device", c2_slice(head + 32, 16), key);
}

void
volume_device_new(struct volume *v, uint8_t out[VOLUME_DEVICE_FILE_LEN])
{
    uint8_t key[C2_KEY_LEN], seed[SEED_LEN];
    memset(out, 0, HEAD_LEN);
    memcpy(out, MAGIC, 8);
    c2_put_u16(out + 8, VERSION);
    memcpy(out + 16, v->config.uuid, sizeof v->config.uuid);
    c2_random(v->env, out + 32, 16);
    c2_random(v->env, seed, sizeof seed);
    sealing_key(v, out, key);
    c2_gcm_seal(key, zero_nonce, c2_slice(out, HEAD_LEN), c2_slice(seed, sizeof seed),
                out + HEAD_LEN);
    take_seed(v, seed);
    c2_wipe(key, sizeof key);
    c2_wipe(seed, sizeof seed);
}

enum c2_err
volume_device_decode(struct volume *v, struct c2_slice file)
{
    uint8_t key[C2_KEY_LEN], seed[SEED_LEN];
    if (file.len != VOLUME_DEVICE_FILE_LEN || memcmp(file.data, MAGIC, 8) != 0)
        return C2_E_PARSE;
    if (c2_get_u16(file.data + 8) != VERSION)
        return C2_E_VERSION;
    if (memcmp(file.data + 16, v->config.uuid, sizeof v->config.uuid) != 0)
        return C2_E_KEY;
    sealing_key(v, file.data, key);
    enum c2_err err = c2_gcm_open(key, zero_nonce, c2_slice(file.data, HEAD_LEN),
                                  c2_slice(file.data + HEAD_LEN, SEED_LEN + C2_GCM_TAG_LEN), seed);
    if (err == C2_E_OK)
        take_seed(v, seed);
    c2_wipe(key, sizeof key);
    c2_wipe(seed, sizeof seed);
    return err;
}

void
volume_device_key(const struct volume *v, const char *purpose, uint8_t out[C2_KEY_LEN])
{
    C2_ASSERT(v->device_secret != NULL);
    keys_derive(v->keys, purpose, c2_slice(v->device_id, sizeof v->device_id), out);
}
