/* SPDX-License-Identifier: MIT */
/*
 * The write-ahead log of a replica: records with consecutive numbers, durable when `synced` says
 * so, given back in order at the next opening. What records mean is not known here.
 *
 * Whatever is appended in one turn of the loop becomes one group with one fdatasync. A group that
 * a crash tore is the end of the log: nobody was told that it is durable. A group that was durable
 * and cannot be read any more is damage, in the report: the records after it are lost, and whoever
 * promised something in them must not act as if there had been no promise. The format, and how
 * both cases are told apart, are in docs/formats-local.md.
 *
 * All calls and callbacks on the loop, callbacks never from inside a call.
 */
#ifndef C2_METADATA_WAL_H
#define C2_METADATA_WAL_H

#include "base/env.h"

#define WAL_SEGMENT_SIZE_DEFAULT (16u << 20)
#define WAL_SEGMENT_SIZE_MIN     (64u << 10)
#define WAL_BODY_MAX             (48u << 20) /* bytes of one record */
#define WAL_WAIT_MAX             (64u << 20) /* bytes that wait for space; with more it fails */
#define WAL_TEXT_MAX             160

struct wal_report {
    bool damaged;       /* records that were durable are lost; stays so until they are trimmed */
    bool torn;          /* a group at the end was not complete, and is gone */
    uint64_t first_lsn; /* of the records that there are; 0 = none */
    uint64_t last_lsn;  /* 0 = none were ever written */
    uint64_t groups;
    uint64_t bytes;            /* of the files */
    char damage[WAL_TEXT_MAX]; /* where and what, for people */
};

struct wal_options {
    const char *path;    /* folder, made when absent; borrowed while open */
    size_t segment_size; /* a multiple of 4096; 0 = WAL_SEGMENT_SIZE_DEFAULT */
    bool fresh;          /* the first start ever: that there is no log is no damage */
    bool read_only;      /* look, report, change nothing; only close may follow */

    /* Each record, in order; before `opened`. body is borrowed for the call. */
    void (*replay)(void *arg, uint64_t lsn, unsigned type, struct c2_slice body);
    /* OK, or why the log cannot be used; then only close may follow. */
    void (*opened)(void *arg, enum c2_err err, const struct wal_report *r);
    /* Every record up to lsn is durable. */
    void (*synced)(void *arg, uint64_t lsn);
    /* Writing or syncing failed: nobody knows what is on the disk, so the process must end at once.
     * Or NO_SPACE: too much waits for it. No callback comes after it. */
    void (*failed)(void *arg, enum c2_err err);
    void *arg;
};

struct wal;

struct wal *wal_open(struct c2_env *env, const struct wal_options *o);
/* The parts are joined and copied. Returns the record's number: 1, 2, 3 … over the log's life. */
uint64_t wal_append(struct wal *w, unsigned type, const struct c2_slice *parts, size_t nparts);
/* The same for what nobody waits for: it goes with the next record that is not so, or by itself
 * after a short while. */
uint64_t wal_append_later(struct wal *w, unsigned type, const struct c2_slice *parts,
                          size_t nparts);
/* Records before lsn are not needed any more. */
void wal_trim(struct wal *w, uint64_t lsn);
uint64_t wal_last(const struct wal *w);   /* number of the last appended record */
uint64_t wal_synced(const struct wal *w); /* the last durable one */
/* The disk is full: records that do not fit any more, or a trim, wait; tries again by itself. */
bool wal_waits_for_space(const struct wal *w);
uint64_t wal_bytes(const struct wal *w);  /* of the files in use */
uint64_t wal_groups(const struct wal *w); /* made durable since opening */
/* Makes what was appended durable, unless the disk is full, then done(arg); nothing else is called
 * any more. */
void wal_close(struct wal *w, void (*done)(void *arg), void *arg);

#endif
