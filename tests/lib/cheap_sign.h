/* SPDX-License-Identifier: MIT */
/*
 * Signatures that cost little, for tests that make many: they cannot be guessed by chance, and the
 * public key is half of the secret.
 */
#ifndef C2_TESTS_LIB_CHEAP_SIGN_H
#define C2_TESTS_LIB_CHEAP_SIGN_H

#include "metadata/bft.h"
#include "metadata/msg.h"

extern const struct bft_crypto cheap_sign;

/* The same name, the same key. */
void cheap_sign_key(const char *name, unsigned number, uint8_t secret[C2_ED25519_SECRET_LEN],
                    uint8_t key[MSG_KEY_LEN]);

/* The replica in this seat of 3f + 1 in a LAN. */
void cheap_sign_setup(struct bft_setup *ret_setup, unsigned seat, unsigned f);

#endif
