/* SPDX-License-Identifier: MIT */
/*
 * A walk through all that a mounted volume has in its coordination store and clouds, independent of
 * the code that wrote it. Everything must be committed (fsx_sync) and nothing under way.
 *
 *   every entry leads to an inode record of its type, in a directory that exists
 *   a link count is the number of entries (directories: 2 and one for each directory in them)
 *   an inode without entries is an orphan with its G record, and no other has one
 *   the live bytes of an object are the sum of the extents and leaves in it
 *   an object in use has its record, and its shares lie where that says (I10: none of it was
 *   deleted or is condemned)
 *   the usage counters are the sums over the inodes
 *
 * And fsck, which does the same in its own way, finds nothing. The first thing that is wrong fails
 * the test.
 */
#ifndef C2_TESTS_LIB_FS_CHECK_H
#define C2_TESTS_LIB_FS_CHECK_H

#include "tests/lib/fs_fixture.h"

struct fsx_check {
    uint64_t inodes, entries, orphans;
    uint64_t garbage;    /* deleted files whose bytes still count as live */
    uint64_t objects;    /* in use */
    uint64_t dead;       /* recorded, nothing in them is in use */
    uint64_t condemned;  /* on their way out of the clouds */
    uint64_t unrecorded; /* shares are stored, no record names them */
};

void fsx_check(struct fsx *x, struct fsx_check *ret_check);

#endif
