/* SPDX-License-Identifier: MIT */
/*
 * A write-ahead log in a test environment, and what it has told.
 */
#ifndef C2_TESTS_LIB_WAL_RIG_H
#define C2_TESTS_LIB_WAL_RIG_H

#include "metadata/wal.h"
#include "tests/lib/test_env.h"

#define WAL_RIG_SEGMENT ((size_t)64 << 10)

struct wal_rig {
    struct test_env *t;
    struct c2_env *env;
    char *path;
    struct wal *w;
    struct wal_report report;
    enum c2_err err;     /* of opening */
    enum c2_err failure; /* of writing */
    bool opened, closed, fresh, read_only;
    uint64_t synced, synced_wanted;
    bool synced_enough;
    /* What was replayed, or appended. */
    struct c2_buf texts; /* "lsn:type:body " for each */
    uint64_t replayed;
    size_t segment_size;
};

/* For setup and teardown of cmocka: *state is a struct wal_rig, its log is not open yet. */
int wal_rig_setup(void **state);
int wal_rig_teardown(void **state);

void wal_rig_start(struct wal_rig *f); /* begins to open it */
void wal_rig_open(struct wal_rig *f);
void wal_rig_close(struct wal_rig *f);
/* Returns the record's number. */
uint64_t wal_rig_append(struct wal_rig *f, unsigned type, const char *text);
void wal_rig_wait(struct wal_rig *f, uint64_t lsn); /* until it is durable */
void wal_rig_put(struct wal_rig *f, const char *text);
/* Files whose names end like this. */
unsigned wal_rig_count(const struct wal_rig *f, const char *end);

#endif
