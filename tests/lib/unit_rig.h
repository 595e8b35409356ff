/* SPDX-License-Identifier: MIT */
/*
 * Data units over the memory clouds of ds_rig, with blocking calls. Three writers have keys:
 * numbers 0 and 1 are trusted by every handle, 2 by nobody.
 */
#ifndef C2_TESTS_LIB_UNIT_RIG_H
#define C2_TESTS_LIB_UNIT_RIG_H

#include "depsky/unit.h"
#include "tests/lib/ds_rig.h"

#define UNIT_RIG_NOBODY UINT32_MAX /* a reader */

struct unit_rig {
    struct ds_rig ds;
    struct provider *gate[DS_SEATS_MAX]; /* prov_gate.h, on top of each seat's stack */
    uint8_t secret[3][DS_UNIT_SECRET_LEN];
    uint8_t public_key[3][DS_UNIT_PUBLIC_LEN];
};

void unit_rig_init(struct unit_rig *rig, unsigned n, unsigned f);
void unit_rig_done(struct unit_rig *rig);

/* A handle of writer number `writer`, who is the only one or needs the lock. */
struct ds_unit *unit_rig_open(struct unit_rig *rig, const char *name, unsigned writer, bool single);
/* A writer with this session. */
struct ds_unit *unit_rig_open_session(struct unit_rig *rig, const char *name, unsigned writer,
                                      uint64_t session);

struct ds_unit_write unit_rig_write(struct unit_rig *rig, struct ds_unit *u,
                                    enum ds_unit_protocol protocol, const void *data, size_t len);
/* The same, asserting success; gives the version. */
uint64_t unit_rig_store(struct unit_rig *rig, struct ds_unit *u, enum ds_unit_protocol protocol,
                        const char *text);
/* The caller unrefs data. */
struct ds_unit_read unit_rig_read(struct unit_rig *rig, struct ds_unit *u, uint64_t version);
/* Asserts that a version (0 = the latest) has this text. */
void unit_rig_expect(struct unit_rig *rig, struct ds_unit *u, uint64_t version, const char *text);
/* The caller frees items. */
struct ds_unit_versions unit_rig_versions(struct unit_rig *rig, struct ds_unit *u);

/* Zero: the defaults. */
struct ds_unit_lock unit_rig_lock(struct unit_rig *rig, struct ds_unit *u, uint64_t lease_ns,
                                  uint64_t wait_ns);
struct ds_unit_lock unit_rig_renew(struct unit_rig *rig, struct ds_unit *u);
enum c2_err unit_rig_unlock(struct unit_rig *rig, struct ds_unit *u);
struct ds_unit_gc unit_rig_gc(struct unit_rig *rig, struct ds_unit *u, unsigned keep);
struct ds_unit_gc unit_rig_delete(struct unit_rig *rig, struct ds_unit *u);
/* The caller frees names. */
struct ds_unit_list unit_rig_list(struct unit_rig *rig);

/* How many objects a cloud has whose key contains this: "/v/", "/m/", "/l/". */
size_t unit_rig_count(struct unit_rig *rig, unsigned seat, const char *part);
/* The index-th of them, in byte order. */
const char *unit_rig_key(struct unit_rig *rig, unsigned seat, const char *part, size_t index);

#endif
