/* SPDX-License-Identifier: MIT */
/*
 * A journal in a test environment: opened again and again, what replay found, appends that wait
 * for their end, and its segment files as bytes.
 */
#ifndef C2_TESTS_LIB_JOURNAL_RIG_H
#define C2_TESTS_LIB_JOURNAL_RIG_H

#include "fs/journal_segment.h"
#include "tests/lib/test_env.h"

#define JR_GROUPS_MAX 4096

struct jr_found {
    struct journal_replay replay;
    uint64_t seqs[JR_GROUPS_MAX];
    struct journal_loc locs[JR_GROUPS_MAX]; /* of each group's first piece */
    size_t nlocs[JR_GROUPS_MAX];
    char metas[JR_GROUPS_MAX][32];
    size_t count;
    enum c2_err answer;
};

struct journal_rig {
    struct test_env *env;
    struct journal *journal;
    struct journal_config config;
    struct jr_found found;
    enum c2_err open_err;
    char *open_error;
    bool flag;
};

struct jr_write {
    struct journal_append a;
    struct c2_slice pieces[4];
    char meta[32];
    bool done;
};

struct jr_sync {
    struct journal_sync s;
    bool done;
};

struct jr_reading {
    struct journal_read r;
    bool done;
};

enum c2_err jr_group_found(struct journal_replay *r, uint64_t seq, struct c2_slice meta,
                           const struct journal_loc *locs, size_t nlocs);
void jr_opened(struct journal_open *o);
void jr_open_after(struct journal_rig *r, uint64_t after_seq);
void jr_open(struct journal_rig *r);
void jr_close(struct journal_rig *r);
void jr_reopen(struct journal_rig *r);
struct journal_rig *jr_new(void);
void jr_free(struct journal_rig *r);
void jr_write_init(struct jr_write *w, const char *meta);
void jr_write_start(struct journal_rig *r, struct jr_write *w);
void jr_write_free(struct jr_write *w);
/* Appends a group of a meta and a piece (may be empty) and returns the sequence number. */
uint64_t jr_append(struct journal_rig *r, const char *meta, struct c2_slice piece);
uint64_t jr_append_meta(struct journal_rig *r, const char *meta);
enum c2_err jr_append_fails(struct journal_rig *r, size_t piece_len);
void jr_sync_done(struct journal_sync *s);
enum c2_err jr_sync_all(struct journal_rig *r);
void jr_read_done(struct journal_read *r);
enum c2_err jr_read_piece(struct journal_rig *r, struct journal_loc loc, struct c2_blob **ret_data);
void jr_assert_piece(struct journal_rig *r, struct journal_loc loc, const void *bytes, size_t len);
struct journal_stats jr_stats(const struct journal_rig *r);
char *jr_segment_path(const struct journal_rig *r, uint64_t id);
bool jr_segment_exists(const struct journal_rig *r, uint64_t id);
struct c2_buf jr_segment_read(const struct journal_rig *r, uint64_t id);
void jr_segment_write(const struct journal_rig *r, uint64_t id, const void *data, size_t len);
void jr_segment_flip(const struct journal_rig *r, uint64_t id, size_t at);
void jr_fill(uint8_t *out, size_t len, unsigned seed);
enum c2_err jr_fail_verb(void *arg, const struct c2_disk_req *q);

#endif
