/* SPDX-License-Identifier: MIT */
/*
 * A handle of a unit: what it knows, what it may do. Operations are in files of their own.
 *
 * `known` only ever grows: a read returns what the handle has seen before rather than what a slow
 * or lying quorum says now (the paper's regular register, made monotonic per handle).
 */
#include "depsky/unit_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"

#define SKEW_NS (5 * C2_NS_PER_S)

void
ds_unit_keypair(const uint8_t seed[DS_UNIT_SEED_LEN], uint8_t secret[DS_UNIT_SECRET_LEN],
                uint8_t public_key[DS_UNIT_PUBLIC_LEN])
{
    c2_ed25519_keypair(seed, secret, public_key);
}

bool
ds_unit_name_valid(const char *name)
{
    size_t len = strnlen(name, DS_UNIT_NAME_MAX + 1);
    size_t good = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return len >= 1 && len <= DS_UNIT_NAME_MAX && good == len && name[0] != '.';
}

/* An Ed25519 secret key is its seed and then the public key. */
static const uint8_t *
find_writer(const struct ds_unit *u)
{
    const uint8_t *public_key = u->secret + DS_UNIT_SEED_LEN;
    for (size_t i = 0; i < u->nwriters; i++) {
        if (memcmp(u->writers[i], public_key, DS_UNIT_PUBLIC_LEN) == 0)
            return u->writers[i];
    }
    return NULL;
}

C2_RESULT
ds_unit_open(struct ds_client *c, const struct ds_unit_config *config, struct ds_unit **ret_unit)
{
    if (!ds_unit_name_valid(config->name) || config->nwriters < 1 ||
        config->nwriters > DS_UNIT_WRITERS_MAX)
        return C2_E_INVALID;
    struct ds_unit *u = c2_calloc(1, sizeof(*u));
    u->c = c;
    snprintf(u->name, sizeof(u->name), "%s", config->name);
    u->nwriters = config->nwriters;
    u->writers = c2_calloc(u->nwriters, sizeof(*u->writers));
    memcpy(u->writers, config->writers, u->nwriters * sizeof(*u->writers));
    u->single_writer = config->single_writer;
    u->session = config->session;
    while (u->session == 0)
        c2_random(c->env, &u->session, sizeof(u->session));
    u->skew_ns = config->skew_ns != 0 ? config->skew_ns : SKEW_NS;
    u->known = c2_calloc(1, sizeof(*u->known));
    if (config->secret != NULL) {
        u->secret = c2_secret_alloc(DS_UNIT_SECRET_LEN);
        memcpy(u->secret, config->secret, DS_UNIT_SECRET_LEN);
        u->public_key = find_writer(u);
        if (u->public_key == NULL) {
            ds_unit_close(u);
            return C2_E_INVALID;
        }
    }
    *ret_unit = u;
    return C2_E_OK;
}

void
ds_unit_close(struct ds_unit *u)
{
    if (u == NULL)
        return;
    C2_ASSERT(u->requests == 0);
    c2_secret_free(u->secret, DS_UNIT_SECRET_LEN);
    c2_free(u->writers);
    c2_free(u->known);
    c2_free(u);
}

uint64_t
ds_unit_session(const struct ds_unit *u)
{
    return u->session;
}

void
unit_request_begin(struct ds_unit *u)
{
    u->requests++;
    ds_op_begin(u->c);
}

void
unit_request_end(struct ds_unit *u)
{
    C2_ASSERT(u->requests > 0);
    u->requests--;
    ds_op_end(u->c);
}

bool
ds_unit_locked(const struct ds_unit *u)
{
    return unit_lock_valid(u);
}

bool
unit_lock_valid(const struct ds_unit *u)
{
    struct c2_env *env = u->c->env;
    return u->lock.held && c2_now_ns(env) < u->lock.until_ns &&
           c2_wall_ns(env) < u->lock.until_wall_ns;
}

enum c2_err
unit_may_write(const struct ds_unit *u, uint64_t tenure)
{
    bool ours = unit_lock_valid(u) && u->lock.number == tenure;
    return u->single_writer || ours ? C2_E_OK : C2_E_FENCED;
}

enum c2_err
unit_writing_begin(struct ds_unit *u)
{
    if (u->secret == NULL)
        return C2_E_NOT_PERMITTED;
    if (u->writing)
        return C2_E_BUSY;
    C2_TRY(unit_may_write(u, u->lock.number));
    u->writing = true;
    return C2_E_OK;
}

void
unit_writing_end(struct ds_unit *u)
{
    C2_ASSERT(u->writing);
    u->writing = false;
}

struct unit_id
unit_next_id(struct ds_unit *u)
{
    struct unit_id id = { .number = ++u->used };
    c2_random(u->c->env, id.rnd, sizeof(id.rnd));
    unit_id_sign(u, UNIT_VALUE, &id);
    return id;
}

uint64_t
unit_wall_ns(const struct ds_unit *u)
{
    return c2_wall_ns(u->c->env);
}

void
unit_learn(struct ds_unit *u, const struct unit_meta *m, uint32_t seats)
{
    for (unsigned i = 0; i < DS_SEATS_MAX; i++) {
        if ((seats & (1u << i)) != 0)
            u->proved[i] = m->id;
    }
    if (unit_id_compare(&m->id, &u->known->id) > 0)
        *u->known = *m;
    u->used = C2_MAX(u->used, m->id.number);
}

struct ds_oid
unit_oid(const struct ds_unit_version *v)
{
    struct ds_oid oid = { .seq = v->version };
    oid.sid = c2_get_be64(v->writer);
    memcpy(oid.rnd, v->rnd, sizeof(oid.rnd));
    return oid;
}
