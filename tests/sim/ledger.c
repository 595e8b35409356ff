/* SPDX-License-Identifier: MIT */
/*
 * The ledger of clouds.h. Per key: what it is an object of, and the hash of the share of each seat
 * that a cloud was ever asked to store; what is no share is remembered by its bytes alone. A second
 * map goes from the commitment to a content key back to the one key that may have it: a content key
 * is used once, and so is every nonce under it.
 */
#include "tests/sim/ledger.h"

#include "base/alloc.h"
#include "base/crypto.h"
#include "depsky/share.h"

#include <string.h>

struct entry {
    struct c2_map_node by_key, by_commit;
    char *key;
    bool plain; /* no share: nothing of it is in the second map */
    struct ds_oid oid;
    uint8_t root[DS_ROOT_LEN];
    uint8_t commit[C2_SHA256_LEN];
    uint32_t seen; /* seats with a hash */
    uint8_t share[SIM_CLOUDS_MAX][C2_SHA256_LEN];
};

void
sim_ledger_init(struct sim_clouds *c)
{
    c2_map_init(&c->ledger, 1);
    c2_map_init(&c->commits, 2);
}

void
sim_ledger_done(struct sim_clouds *c)
{
    struct c2_map_node *node = c2_map_next(&c->ledger, NULL);
    while (node != NULL) {
        struct entry *e = C2_CONTAINER_OF(node, struct entry, by_key);
        node = c2_map_next(&c->ledger, node);
        c2_map_remove(&c->ledger, &e->by_key);
        if (!e->plain)
            c2_map_remove(&c->commits, &e->by_commit);
        c2_free(e->key);
        c2_free(e);
    }
    c2_map_done(&c->ledger);
    c2_map_done(&c->commits);
}

static struct entry *
find_key(struct sim_clouds *c, const char *key)
{
    uint64_t hash = c2_map_hash_bytes(&c->ledger, c2_slice_str(key));
    for (struct c2_map_node *n = c2_map_find(&c->ledger, hash); n; n = c2_map_find_next(n)) {
        struct entry *e = C2_CONTAINER_OF(n, struct entry, by_key);
        if (strcmp(e->key, key) == 0)
            return e;
    }
    return NULL;
}

static struct entry *
find_commit(struct sim_clouds *c, const uint8_t *commit)
{
    uint64_t hash = c2_map_hash_bytes(&c->commits, c2_slice(commit, C2_SHA256_LEN));
    for (struct c2_map_node *n = c2_map_find(&c->commits, hash); n; n = c2_map_find_next(n)) {
        struct entry *e = C2_CONTAINER_OF(n, struct entry, by_commit);
        if (memcmp(e->commit, commit, C2_SHA256_LEN) == 0)
            return e;
    }
    return NULL;
}

static struct entry *
add(struct sim_clouds *c, const char *key, const struct ds_share *sh)
{
    struct entry *twin = find_commit(c, sh->key_commit);
    SIM_CHECK(c->w, twin == NULL, "I7: %s and %s are sealed with one key", key, twin->key);
    struct entry *e = c2_calloc(1, sizeof *e);
    e->key = c2_strdup(key);
    e->oid = sh->oid;
    memcpy(e->root, sh->object_root, sizeof e->root);
    memcpy(e->commit, sh->key_commit, sizeof e->commit);
    e->by_key.hash = c2_map_hash_bytes(&c->ledger, c2_slice_str(key));
    e->by_commit.hash = c2_map_hash_bytes(&c->commits, c2_slice(e->commit, sizeof e->commit));
    c2_map_insert(&c->ledger, &e->by_key);
    c2_map_insert(&c->commits, &e->by_commit);
    return e;
}

static struct entry *
add_plain(struct sim_clouds *c, const char *key)
{
    struct entry *e = c2_calloc(1, sizeof *e);
    e->key = c2_strdup(key);
    e->plain = true;
    e->by_key.hash = c2_map_hash_bytes(&c->ledger, c2_slice_str(key));
    c2_map_insert(&c->ledger, &e->by_key);
    return e;
}

/* Of a unit: metadata, locks, claims and replicas are the same in all clouds. */
static bool
is_plain(const char *key, struct c2_slice body)
{
    struct ds_share sh;
    return strstr(key, "/u/") != NULL && ds_share_decode(body, &sh) != C2_E_OK;
}

/* "…/m/<revision>-<random>-<signature>": one random for each revision. */
static void
check_revision(struct sim_clouds *c, const char *key)
{
    uint8_t hash[C2_SHA256_LEN];
    const char *folder = strstr(key, "/m/");
    const char *dash = folder != NULL ? strchr(folder, '-') : NULL;
    if (strstr(key, "/u/") == NULL || dash == NULL || c->weather == SIM_WRECK)
        return;
    char *revision = c2_strndup(key, (size_t)(dash - key));
    struct entry *e = find_key(c, revision);
    c2_sha256(c2_slice_str(key), hash);
    if (e == NULL) {
        e = add_plain(c, revision);
        memcpy(e->share[0], hash, sizeof hash);
    }
    SIM_CHECK(c->w, memcmp(e->share[0], hash, sizeof hash) == 0, "%s is published twice", revision);
    c2_free(revision);
}

void
sim_ledger_put(struct sim_clouds *c, const char *key, struct c2_slice body)
{
    if (strstr(key, "/probe/") != NULL)
        return;
    struct ds_share sh = { 0 };
    uint8_t hash[C2_SHA256_LEN];
    check_revision(c, key);
    bool plain = is_plain(key, body);
    struct entry *e = find_key(c, key);
    SIM_CHECK(c->w, plain || ds_share_decode(body, &sh) == C2_E_OK, "PUT of %s: not a share", key);
    if (e == NULL)
        e = plain ? add_plain(c, key) : add(c, key, &sh);
    SIM_CHECK(c->w, e->plain == plain, "I4: %s is put as something else", key);
    SIM_CHECK(c->w, plain || ds_oid_equal(&e->oid, &sh.oid), "I4: %s is put as another object",
              key);
    SIM_CHECK(c->w, plain || memcmp(e->root, sh.object_root, sizeof e->root) == 0,
              "I4: %s is put with another content", key);
    /* By seat: a share that is moved to another cloud is the one that it was (I12). */
    unsigned seat = plain ? 0 : sh.seat;
    c2_sha256(body, hash);
    SIM_CHECK(c->w, seat < SIM_CLOUDS_MAX, "PUT of %s: seat %u", key, seat);
    if ((e->seen & (1u << seat)) != 0)
        SIM_CHECK(c->w, memcmp(e->share[seat], hash, sizeof hash) == 0,
                  "I4: %s is put with other bytes", key);
    e->seen |= 1u << seat;
    memcpy(e->share[seat], hash, sizeof hash);
}
