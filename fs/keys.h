/* SPDX-License-Identifier: MIT */
/*
 * The volume's keys (docs/security.md): derivation from the volume key, sealing of metadata
 * values, hashing of names, and the key file.
 *
 *   VK (32 B) -+- HKDF "meta"            sealing of coordination values
 *              +- HKDF "name"            -> per directory HMAC key of entry names
 *              +- HKDF "data" | epoch    mixed with each object's secret
 *              +- HKDF "journal" | device, "cache" | device    local sealing
 *   device key (Ed25519, one per cache_dir) signs journal objects
 *
 * Nonce discipline of metadata values: one key per writer session (HKDF of "meta" and the session
 * id), a counter per session that never repeats; both are stored with the value.
 */
#ifndef C2_FS_KEYS_H
#define C2_FS_KEYS_H

#include "base/buf.h"
#include "base/crypto.h"

#define KEYS_NAME_HASH_LEN 16
#define KEYS_SEAL_OVERHEAD 32 /* session 8, counter 8, tag 16 */

struct keys; /* in the secret arena */

struct keys *keys_new(const uint8_t volume_key[C2_KEY_LEN], const uint8_t uuid[16]);
void keys_free(struct keys *k);

/* Before the first seal: the session that numbers the nonces. A session id is never used twice. */
void keys_set_session(struct keys *k, uint64_t session);
/* Where the session's counter starts (default 0), before the first seal. A mount gives a random
 * value: a store restored from the clouds can hand out a session id that a lost tail of its log
 * had used before, and the two must not meet at one nonce. */
void keys_set_counter(struct keys *k, uint64_t counter);
/* Appends session, counter, ciphertext, tag. aad = the coordination key the value is stored under:
 * a value moved to another key does not open. */
void keys_seal(struct keys *k, struct c2_slice aad, struct c2_slice plain, struct c2_buf *out);
C2_RESULT keys_open(struct keys *k, struct c2_slice aad, struct c2_slice sealed,
                    struct c2_buf *out);
/* HMAC of an entry name under the directory's key, truncated; the top bit is always 0. */
void keys_name_hash(struct keys *k, uint64_t dir_ino, struct c2_slice name,
                    uint8_t out[KEYS_NAME_HASH_LEN]);
/* purpose: "data", "journal", "cache", ...; context: epoch, device id or nothing. */
void keys_derive(const struct keys *k, const char *purpose, struct c2_slice context,
                 uint8_t out[C2_KEY_LEN]);
/* For the checkpoints of keyless volumes only; the caller wipes it. */
void keys_volume_key(const struct keys *k, uint8_t out[C2_KEY_LEN]);
/* 16 bytes that say whether two keys are the same without telling anything else. */
void keys_check_value(const struct keys *k, uint8_t out[16]);

/*
 * The key file: text header, then base64: version, volume uuid, name, KDF parameters, salt and
 * the volume key, sealed under Argon2id of the passphrase or plain. Bounded on reading (memory <=
 * 4 GiB, iterations <= 64). The recovery kit is the same content for people: printable lines with
 * a checksum each, restorable by typing.
 */
struct key_file {
    uint8_t uuid[16];
    char volume[64];
    bool sealed;
    bool keyless; /* the volume's data needs no volume key (plain DepSky-CA) */
};

/* passphrase NULL: plain. */
C2_RESULT key_file_encode(const struct key_file *info, const uint8_t volume_key[C2_KEY_LEN],
                          const char *passphrase, struct c2_buf *out);
/* passphrase NULL and the file is sealed, or the passphrase is wrong: KEY, with *ret_info filled.
 * PARSE: not a key file; VERSION: a newer one; CORRUPT: damaged; TOO_LARGE: costs out of bounds. */
C2_RESULT key_file_decode(struct c2_slice text, const char *passphrase, struct key_file *ret_info,
                          uint8_t ret_volume_key[C2_KEY_LEN]);
void key_recovery_kit(const struct key_file *info, const uint8_t volume_key[C2_KEY_LEN],
                      struct c2_buf *out);
/* PARSE: a line is missing or not one of a kit; VERSION; CORRUPT: a line's checksum is wrong. */
C2_RESULT key_recovery_kit_decode(struct c2_slice text, struct key_file *ret_info,
                                  uint8_t ret_volume_key[C2_KEY_LEN]);
/* Which numbered line has a typing error, 0 = none. */
unsigned key_recovery_kit_bad_line(struct c2_slice text);

#endif
