/* SPDX-License-Identifier: MIT */
#include "tools/unit_keys.h"

#include <ctype.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

void
unit_keys_done(struct unit_keys *k)
{
    c2_secret_free(k->secret, DS_UNIT_SECRET_LEN);
    *k = (struct unit_keys){ 0 };
}

enum c2_err
unit_keys_add(struct unit_keys *k, const uint8_t writer[DS_UNIT_PUBLIC_LEN])
{
    for (size_t i = 0; i < k->nwriters; i++)
        if (memcmp(k->writers[i], writer, DS_UNIT_PUBLIC_LEN) == 0)
            return C2_E_OK;
    if (k->nwriters == DS_UNIT_WRITERS_MAX)
        return C2_E_TOO_LARGE;
    memcpy(k->writers[k->nwriters++], writer, DS_UNIT_PUBLIC_LEN);
    return C2_E_OK;
}

/* Blanks at both ends do not count. */
static struct c2_slice
trim(struct c2_slice s)
{
    while (s.len > 0 && isspace(s.data[0])) {
        s.data++;
        s.len--;
    }
    while (s.len > 0 && isspace(s.data[s.len - 1]))
        s.len--;
    return s;
}

static enum c2_err
add_secret(struct unit_keys *k, const uint8_t seed[DS_UNIT_SEED_LEN], bool want_secret)
{
    uint8_t public_key[DS_UNIT_PUBLIC_LEN], secret[DS_UNIT_SECRET_LEN];
    ds_unit_keypair(seed, secret, public_key);
    enum c2_err err = unit_keys_add(k, public_key);
    if (err == C2_E_OK && want_secret && k->secret == NULL) {
        k->secret = c2_secret_alloc(DS_UNIT_SECRET_LEN);
        memcpy(k->secret, secret, sizeof secret);
    }
    c2_wipe(secret, sizeof secret);
    return err;
}

static enum c2_err
take_line(struct unit_keys *k, struct c2_slice line, bool want_secret, const char **ret_problem)
{
    static const char secret_word[] = "secret", public_word[] = "public";
    uint8_t bytes[DS_UNIT_PUBLIC_LEN];
    bool is_secret = c2_slice_starts_with(line, c2_slice_str(secret_word));
    if (is_secret || c2_slice_starts_with(line, c2_slice_str(public_word))) {
        size_t len = sizeof secret_word - 1;
        line = trim(c2_slice(line.data + len, line.len - len));
        if (line.len == 0 || line.data[0] != '=') {
            *ret_problem = "a line is not \"secret = HEX\" or \"public = HEX\"";
            return C2_E_CONFIG;
        }
        line = trim(c2_slice(line.data + 1, line.len - 1));
    }
    if (line.len != UNIT_KEYS_HEX_LEN || c2_hex_decode(line, bytes, sizeof bytes) != C2_E_OK) {
        *ret_problem = "a key is not 64 hex digits";
        return C2_E_CONFIG;
    }
    enum c2_err err = is_secret ? add_secret(k, bytes, want_secret) : unit_keys_add(k, bytes);
    c2_wipe(bytes, sizeof bytes);
    return err;
}

enum c2_err
unit_keys_parse(struct unit_keys *k, struct c2_slice text, bool want_secret,
                const char **ret_problem)
{
    while (text.len > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end == NULL ? text.len : (size_t)(end - text.data);
        struct c2_slice line = trim(c2_slice(text.data, len));
        text = c2_slice(text.data + len, text.len - len);
        if (text.len > 0)
            text = c2_slice(text.data + 1, text.len - 1);
        if (line.len > 0 && line.data[0] != '#')
            C2_TRY(take_line(k, line, want_secret, ret_problem));
    }
    return C2_E_OK;
}
