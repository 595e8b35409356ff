/* SPDX-License-Identifier: MIT */
/*
 * Keys of a unit's objects, see unit_impl.h. What a signature covers:
 *
 *   "c2unit name v1" | 'r' (revision: values and metadata) or 'l' (lock) | volume id |
 *   length of the unit's name (u8) | its name | number (u64) | random bytes
 */
#include "depsky/unit_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "base/wire.h"

#define DOMAIN      "c2unit name v1"
#define DOMAIN_LEN  14
#define MESSAGE_MAX (DOMAIN_LEN + 1 + 16 + 1 + DS_UNIT_NAME_MAX + 8 + DS_UNIT_RND_LEN)
#define AT_RND      17
#define AT_SIG      34

void
unit_root(const struct ds_client *c, char out[UNIT_PREFIX_MAX])
{
    char vol[2 * DS_VOL_BYTES + 1];
    c2_hex_encode(c->config->volume, DS_VOL_BYTES, vol);
    snprintf(out, UNIT_PREFIX_MAX, "v1/%s/u/", vol);
}

void
unit_prefix(const struct ds_unit *u, enum unit_folder folder, char out[UNIT_PREFIX_MAX])
{
    unit_root(u->c, out);
    size_t len = strlen(out);
    snprintf(out + len, UNIT_PREFIX_MAX - len, "%s/%c/", u->name, (char)folder);
}

void
unit_key(const struct ds_unit *u, enum unit_folder folder, const struct unit_id *id,
         char out[PROV_KEY_MAX])
{
    char rnd[2 * DS_UNIT_RND_LEN + 1];
    char sig[2 * DS_UNIT_SIG_LEN + 1];
    char prefix[UNIT_PREFIX_MAX];
    c2_hex_encode(id->rnd, sizeof(id->rnd), rnd);
    c2_hex_encode(id->sig, sizeof(id->sig), sig);
    unit_prefix(u, folder, prefix);
    /* Descending numbers in ascending order of names. */
    unsigned long long order = UINT64_MAX - id->number;
    snprintf(out, PROV_KEY_MAX, "%s%016llx-%s-%s", prefix, order, rnd, sig);
}

static struct c2_slice
message(const struct ds_unit *u, enum unit_folder folder, const struct unit_id *id,
        uint8_t out[MESSAGE_MAX])
{
    size_t name_len = strlen(u->name);
    uint8_t *at = out;
    memcpy(at, DOMAIN, DOMAIN_LEN);
    at += DOMAIN_LEN;
    *at++ = folder == UNIT_LOCK ? 'l' : 'r';
    memcpy(at, u->c->config->volume, 16);
    at += 16;
    *at++ = (uint8_t)name_len;
    memcpy(at, u->name, name_len);
    at += name_len;
    c2_put_u64(at, id->number);
    at += 8;
    memcpy(at, id->rnd, sizeof(id->rnd));
    at += sizeof(id->rnd);
    return c2_slice(out, (size_t)(at - out));
}

void
unit_id_sign(const struct ds_unit *u, enum unit_folder folder, struct unit_id *id)
{
    uint8_t text[MESSAGE_MAX];
    C2_ASSERT(u->secret != NULL);
    c2_ed25519_sign(u->secret, message(u, folder, id, text), id->sig);
}

bool
unit_id_parse(const char *name, struct unit_id *ret_id)
{
    struct unit_id id;
    uint8_t inverted[8];
    if (strnlen(name, UNIT_NAME_LEN + 1) != UNIT_NAME_LEN)
        return false;
    if (strspn(name, "0123456789abcdef") != AT_RND - 1 || name[AT_RND - 1] != '-' ||
        strspn(name + AT_RND, "0123456789abcdef") != 2 * DS_UNIT_RND_LEN ||
        name[AT_SIG - 1] != '-' ||
        strspn(name + AT_SIG, "0123456789abcdef") != (size_t)2 * DS_UNIT_SIG_LEN)
        return false;
    if (c2_hex_decode(c2_slice(name, 16), inverted, sizeof(inverted)) != C2_E_OK ||
        c2_hex_decode(c2_slice(name + AT_RND, sizeof(id.rnd) * 2), id.rnd, sizeof(id.rnd)) !=
            C2_E_OK ||
        c2_hex_decode(c2_slice(name + AT_SIG, sizeof(id.sig) * 2), id.sig, sizeof(id.sig)) !=
            C2_E_OK)
        return false;
    id.number = ~c2_get_be64(inverted);
    *ret_id = id;
    return true;
}

const uint8_t *
unit_id_signer(const struct ds_unit *u, enum unit_folder folder, const struct unit_id *id)
{
    uint8_t text[MESSAGE_MAX];
    struct c2_slice m = message(u, folder, id, text);
    for (size_t i = 0; i < u->nwriters; i++) {
        if (c2_ed25519_verify(u->writers[i], m, id->sig) == C2_E_OK)
            return u->writers[i];
    }
    return NULL;
}

bool
unit_id_equal(const struct unit_id *a, const struct unit_id *b)
{
    return unit_id_compare(a, b) == 0;
}

int
unit_id_compare(const struct unit_id *a, const struct unit_id *b)
{
    if (a->number != b->number)
        return a->number < b->number ? -1 : 1;
    return memcmp(a->rnd, b->rnd, sizeof(a->rnd));
}
