/* SPDX-License-Identifier: MIT */
/*
 * For the tests of reading: an object that a fresh client has never read, and the faults of a seat
 * that reading must survive.
 */
#ifndef C2_TESTS_LIB_DS_READ_H
#define C2_TESTS_LIB_DS_READ_H

#include "tests/lib/ds_rig.h"

struct ds_read {
    struct ds_rig rig;
    struct c2_blob *data;
    struct ds_ref ref;
    uint32_t placed;
};

extern const char *const ds_read_faults[];
extern const size_t ds_read_faults_count;

/* An object on seats 0, 1, 2. Takes over data. */
struct ds_read ds_read_open(struct c2_blob *data);
void ds_read_close(struct ds_read *f);
/* So that `swap` and `stale` have something to return. */
void ds_read_add_other(struct ds_read *f);

#endif
