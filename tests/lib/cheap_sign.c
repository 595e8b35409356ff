/* SPDX-License-Identifier: MIT */
#include "tests/lib/cheap_sign.h"

#include <string.h>

static void
sign(const struct bft_crypto *c, const uint8_t secret[C2_ED25519_SECRET_LEN],
     const uint8_t hash[C2_SHA256_LEN], uint8_t sig[MSG_SIG_LEN])
{
    (void)c;
    for (size_t i = 0; i < MSG_SIG_LEN; i++)
        sig[i] = secret[32 + i % 32] ^ hash[i % 32];
}

static bool
verify(const struct bft_crypto *c, const uint8_t key[MSG_KEY_LEN],
       const uint8_t hash[C2_SHA256_LEN], const uint8_t sig[MSG_SIG_LEN])
{
    (void)c;
    for (size_t i = 0; i < MSG_SIG_LEN; i++) {
        if (sig[i] != (key[i % 32] ^ hash[i % 32]))
            return false;
    }
    return true;
}

const struct bft_crypto cheap_sign = { .sign = sign, .verify = verify };

void
cheap_sign_key(const char *name, unsigned number, uint8_t secret[C2_ED25519_SECRET_LEN],
               uint8_t key[MSG_KEY_LEN])
{
    const uint8_t n = (uint8_t)number;
    const struct c2_slice parts[] = { c2_slice_str(name), c2_slice(&n, 1) };
    c2_sha256_v(parts, C2_ARRAY_LEN(parts), secret + 32);
    memcpy(secret, secret + 32, 32);
    memcpy(key, secret + 32, MSG_KEY_LEN);
}

void
cheap_sign_setup(struct bft_setup *ret_setup, unsigned seat, unsigned f)
{
    *ret_setup = (struct bft_setup){ .crypto = &cheap_sign, .id = (uint16_t)seat };
    bft_config_default(&ret_setup->config);
    bft_limits_default(&ret_setup->limits);
    bft_timing_lan(&ret_setup->timing);
    ret_setup->config.f = (uint8_t)f;
    ret_setup->config.n = (uint8_t)(3 * f + 1);
    for (unsigned i = 0; i < ret_setup->config.n; i++) {
        struct bft_member *m = &ret_setup->config.member[i];
        uint8_t secret[C2_ED25519_SECRET_LEN];
        m->id = (uint16_t)i;
        cheap_sign_key("replica", i, secret, m->sign_key);
        memcpy(m->identity_key, m->sign_key, MSG_KEY_LEN);
        if (i == seat)
            memcpy(ret_setup->sign_secret, secret, sizeof secret);
    }
}
