/* SPDX-License-Identifier: MIT */
/*
 * Files of known contents, and recoveries of a fixture's volume on another machine.
 */
#ifndef C2_TESTS_LIB_RECOVER_FIXTURE_H
#define C2_TESTS_LIB_RECOVER_FIXTURE_H

#include "fs/recover.h"
#include "tests/lib/fs_fixture.h"

/* The files number from..to-1 of the root, each of its own length and contents. */
void put_files(struct fsx *x, unsigned from, unsigned to);
void expect_files(struct fsx *x, unsigned from, unsigned to);
void expect_absent(struct fsx *x, unsigned k);
void file_name(unsigned k, char out[32]);

struct recover_call {
    struct recover r;
    bool done;
};
/* In steps: the store of y is made and its clouds connected; run the loop until call->done. */
void recover_begin(struct fsx *y, struct recover_call *call);
void recover_finish(struct fsx *y, struct recover_call *call);
/* Into a new store of y; the caller frees error. */
struct recover recover_with(struct fsx *y, struct recover request);
struct recover_report recover(struct fsx *y); /* asserts success */
enum c2_err recover_fails(struct fsx *y, struct recover request);

/* Objects of a folder ("/j/", "/c/") that a seat has. */
unsigned count_keys(struct fsx *x, unsigned seat, const char *folder);
/* The key number `index` of them, counted from the end when negative. */
const char *key_of(struct fsx *x, unsigned seat, const char *folder, int index);

#endif
