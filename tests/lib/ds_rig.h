/* SPDX-License-Identifier: MIT */
/*
 * A DepSky client over memory clouds in the deterministic environment, each behind a fault layer,
 * with blocking calls. Names of tests say what happens; this file only removes the noise.
 */
#ifndef C2_TESTS_LIB_DS_RIG_H
#define C2_TESTS_LIB_DS_RIG_H

#include "backends/provider.h"
#include "depsky/depsky.h"

struct test_env;

struct ds_rig {
    struct test_env *t;
    struct c2_env *env;
    struct ds_config config; /* change it between ds_rig_init and ds_rig_open */
    struct provider *mem[DS_SEATS_MAX];
    struct provider *seat[DS_SEATS_MAX]; /* the fault layers above */
    struct ds_client *c;
    uint64_t seq;
};

void ds_rig_init(struct ds_rig *rig, unsigned n, unsigned f);
void ds_rig_open(struct ds_rig *rig);
void ds_rig_close(struct ds_rig *rig);  /* drains and frees the client only */
void ds_rig_reopen(struct ds_rig *rig); /* a new client: nothing cached, all seats trusted */
void ds_rig_done(struct ds_rig *rig);

/* "hang", "absent", … see prov_fault_new; "" = healthy. */
void ds_rig_fault(struct ds_rig *rig, unsigned seat, const char *spec);
uint64_t ds_rig_requests(struct ds_rig *rig, enum prov_verb verb); /* over all seats */
/* Bytes that differ everywhere and do not shrink; the same for the same seed. */
struct c2_blob *ds_rig_random(uint64_t seed, size_t len);
/* Lines of a sensor log: shrinks to about a quarter. */
struct c2_blob *ds_rig_text(size_t len);

/* Puts under a fresh oid and waits. Asserts nothing about the outcome. */
struct ds_put ds_rig_put(struct ds_rig *rig, const void *data, size_t len);
/* The same, asserting success. */
struct ds_ref ds_rig_store(struct ds_rig *rig, const void *data, size_t len);
/* Waits; the caller unrefs data. */
struct ds_get ds_rig_get(struct ds_rig *rig, const struct ds_ref *ref, uint64_t offset,
                         uint64_t len);
/* The same with the placement known. */
struct ds_get ds_rig_get_placed(struct ds_rig *rig, const struct ds_ref *ref, uint32_t placed,
                                uint64_t offset, uint64_t len);
/* Only (sid, seq) of the reference are known. */
struct ds_get ds_rig_get_self_certified(struct ds_rig *rig, const struct ds_ref *ref);
/* Reads a range and asserts that it equals the same range of `whole`. */
void ds_rig_expect(struct ds_rig *rig, const struct ds_ref *ref, const struct c2_blob *whole,
                   uint64_t offset, uint64_t len);
/* The key of an object. */
const char *ds_rig_key(struct ds_rig *rig, const struct ds_ref *ref, char out[PROV_KEY_MAX]);

void ds_rig_wait(struct ds_rig *rig, const bool *flag);

#endif
