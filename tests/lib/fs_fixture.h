/* SPDX-License-Identifier: MIT */
/*
 * A mounted volume without a kernel: four memory clouds behind fault layers, a local coordination
 * store and a journal in the test environment's folder, and requests that wait for their answer.
 */
#ifndef C2_TESTS_LIB_FS_FIXTURE_H
#define C2_TESTS_LIB_FS_FIXTURE_H

#include "depsky/depsky.h"
#include "fs/fs.h"
#include "tests/lib/test_env.h"

#define FSX_SEATS 4

struct fsx {
    struct test_env *t;
    struct c2_env *env;
    struct provider *mem[FSX_SEATS];
    struct provider *seat[FSX_SEATS]; /* fault layers above */
    struct fs_config config;          /* change it before fsx_mount */
    uint64_t journal_size, journal_segment_size;
    struct coord *coord;
    struct ds_client *ds;
    struct keys *keys;
    struct cache *cache;
    struct fs *fs;
    char *home; /* the machine's folder: store, journal, state */
    char *journal_dir;
    char *mount_error;
    const char *cache_dir; /* borrowed: a read cache on disk; NULL = in memory only */
    bool write_all;        /* redundancy = full; set it before fsx_mount */
    bool keyless;          /* the checkpoints hold the volume key; set it before fsx_mount */
    bool ship;             /* the log goes to the clouds; set it before fsx_mount */
    uint8_t device_secret[C2_ED25519_SECRET_LEN];
    uint8_t device_id[FS_DEVICE_ID_LEN];
    bool second; /* environment and objects belong to another fsx */
    struct fs_open_report report;
    uint64_t session, token;
    uint64_t config_version; /* of key C, which is absent unless a test puts it */
};

/* A formatted volume, not mounted. */
void fsx_init(struct fsx *x);
void fsx_done(struct fsx *x);
/* Another machine with an empty disk, its own device key and the same clouds. Done before the
 * first. */
void fsx_init_second(struct fsx *y, struct fsx *x);
extern const uint8_t fsx_volume_key[C2_KEY_LEN];
extern const uint8_t fsx_uuid[16];
/* The store of this machine, which has none. Closed by fsx_close_store. */
void fsx_create_store(struct fsx *x);
void fsx_close_store(struct fsx *x);
void fsx_connect(struct fsx *x); /* x->ds, for tests without a mount */
void fsx_disconnect(struct fsx *x);
void fsx_mount(struct fsx *x);
/* It may fail: then nothing is mounted, and mount_error says why. */
enum c2_err fsx_try_mount(struct fsx *x);
/* Everything to the clouds, then an orderly end. */
void fsx_unmount(struct fsx *x);
/* The end without the clouds: what is published is in the journal. */
void fsx_stop(struct fsx *x);
/* kill -9: nothing that is not in the journal file or the store by now gets there. */
void fsx_crash(struct fsx *x);

void fsx_fault(struct fsx *x, unsigned seat, const char *spec);
uint64_t fsx_requests(struct fsx *x, enum prov_verb verb); /* over all clouds */
/* Behind the mount's back; asserts success. */
void fsx_txn(struct fsx *x, const struct coord_op *ops, size_t nops);
void fsx_drop_cache(struct fsx *x); /* a mount with an empty read cache */

/* Sends and waits. */
enum c2_err fsx_run(struct fsx *x, struct fs_req *r);
/* In steps: send, look whether it was answered, wait. */
void fsx_start(struct fsx *x, struct fs_req *r);
bool fsx_answered(const struct fs_req *r);
void fsx_wait(struct fsx *x, struct fs_req *r);
enum c2_err fsx_lookup(struct fsx *x, uint64_t dir, const char *name, struct fs_attr *ret_attr);
uint64_t fsx_ino(struct fsx *x, uint64_t dir, const char *name); /* asserts that it exists */
enum c2_err fsx_create(struct fsx *x, uint64_t dir, const char *name, int flags,
                       struct fs_handle **ret_handle, uint64_t *ret_ino);
struct fs_handle *fsx_open(struct fsx *x, uint64_t ino, int flags);
enum c2_err fsx_write(struct fsx *x, struct fs_handle *h, uint64_t off, const void *data,
                      size_t len);
enum c2_err fsx_flush(struct fsx *x, struct fs_handle *h);
enum c2_err fsx_fsync(struct fsx *x, struct fs_handle *h);
void fsx_release(struct fsx *x, struct fs_handle *h);
enum c2_err fsx_close(struct fsx *x, struct fs_handle *h); /* flush and release */
/* The caller frees with c2_buf_done. */
enum c2_err fsx_read(struct fsx *x, struct fs_handle *h, uint64_t off, size_t len,
                     struct c2_buf *ret_data);
uint64_t fsx_mkdir(struct fsx *x, uint64_t dir, const char *name);
enum c2_err fsx_unlink(struct fsx *x, uint64_t dir, const char *name);
enum c2_err fsx_rmdir(struct fsx *x, uint64_t dir, const char *name);
enum c2_err fsx_rename(struct fsx *x, uint64_t dir, const char *name, uint64_t dir2,
                       const char *name2, int flags);
enum c2_err fsx_sync(struct fsx *x); /* syncfs */
/* A round of the collector, on demand. */
enum c2_err fsx_gc(struct fsx *x, bool dry_run, uint64_t retention_ns,
                   struct fs_gc_report *ret_report);
/* Creates or replaces (O_TRUNC) a file with these bytes: open, write, close. */
void fsx_put(struct fsx *x, uint64_t dir, const char *name, const void *data, size_t len);
/* Asserts that the file has exactly these bytes. */
void fsx_expect(struct fsx *x, uint64_t dir, const char *name, const void *data, size_t len);
/* Names in readdir order, joined by spaces, without . and ..; the caller frees (c2_free). */
char *fsx_list(struct fsx *x, uint64_t dir);
struct fs_status fsx_status(struct fsx *x);

/* Bytes that differ everywhere; the same for the same seed. c2_free. */
uint8_t *fsx_bytes(uint64_t seed, size_t len);

#endif
