/* SPDX-License-Identifier: MIT */
/*
 * Files in objects of their own on a mounted fixture, and what the clouds first had of them: for
 * tests that lose shares and want them back as they were.
 */
#ifndef C2_TESTS_LIB_FS_OBJECTS_H
#define C2_TESTS_LIB_FS_OBJECTS_H

#include "tests/lib/fs_fixture.h"

#define FSO_SIZE 300000u

struct fso {
    struct ds_ref ref;
    uint32_t placed;
    char name[16], key[PROV_KEY_MAX];
    struct c2_blob *share[FSX_SEATS]; /* NULL = none */
};

/* A file with bytes that follow from its name, in an object of its own. fso_done frees it. */
struct fso fso_put(struct fsx *x, const char *name);
void fso_done(struct fso *o);
void fso_expect(struct fsx *x, const struct fso *o);
/* As it was written, at each of these seats, which it was written to. */
bool fso_whole(struct fsx *x, const struct fso *o, uint32_t seats);
unsigned fso_seat(const struct fso *o);  /* the first that has a share */
unsigned fso_spare(const struct fso *o); /* the first that has none */
void fso_damage(struct fsx *x, const struct fso *o, unsigned seat);
/* What the store says of its place; asserts that it is consistent. The mount is a new one then. */
uint32_t fso_recorded(struct fsx *x, const struct fso *o);

#endif
