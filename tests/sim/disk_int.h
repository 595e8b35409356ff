/* SPDX-License-Identifier: MIT */
/*
 * What the files of the disk share: disk.c has requests and crashes, disk_names.c the bytes and
 * names that there are, in the page cache and on the platter.
 */
#ifndef C2_TESTS_SIM_DISK_INT_H
#define C2_TESTS_SIM_DISK_INT_H

#include "tests/sim/disk.h"

struct bytes {
    uint8_t *data;
    size_t len, cap;
};

/* A write since the last sync, or a truncation (data NULL). */
struct pending {
    struct c2_link link;
    uint64_t off;
    size_t len;
    uint8_t *data;
};

struct file {
    unsigned refs; /* names, changes and open handles */
    bool is_dir;
    uint64_t mtime_ns;
    struct bytes cache, platter;
    struct c2_list pending;
};

struct name {
    char *path;
    struct file *file;
};

struct names {
    struct name *n;
    size_t count, cap;
};

/* Removes one name and adds another in one step; either may be absent. */
struct change {
    struct c2_link link;
    char *remove, *add;
    struct file *file; /* of add */
};

struct handle {
    struct c2_link link;
    struct sim_node *node;
    struct file *file;
    int number;
};

struct sim_disk {
    struct sim_world *w;
    struct sim_rng rng;
    struct names cache, platter;
    struct c2_list changes;
    struct c2_list handles;
    struct c2_list requests; /* c2_disk_req.link */
    uint64_t capacity, used;
    uint64_t latency_max_ns;
    bool sync_fails; /* the next SYNC */
    int next_number;
    unsigned next_tmp;
};

/* disk_names.c */
void disk_bytes_write(struct bytes *b, uint64_t off, const uint8_t *data, size_t len);
void disk_pending_free(struct file *f, struct pending *p);
/* It reaches the platter. */
void disk_pending_apply(struct file *f, struct pending *p);
/* All writes since the last sync do. */
void disk_file_sync(struct file *f);
struct file *disk_file_new(bool is_dir);
struct file *disk_file_ref(struct file *f);
void disk_file_unref(struct sim_disk *d, struct file *f);
C2_RESULT disk_file_write(struct sim_disk *d, struct file *f, uint64_t off, const uint8_t *data,
                          size_t len);
C2_RESULT disk_file_truncate(struct sim_disk *d, struct file *f, uint64_t len);
struct name *disk_find(const struct names *names, const char *path);
void disk_names_remove(struct sim_disk *d, struct names *names, const char *path);
void disk_names_add(struct sim_disk *d, struct names *names, const char *path, struct file *f);
void disk_names_change(struct sim_disk *d, struct names *names, const struct change *c);
void disk_change_free(struct sim_disk *d, struct change *c);
/* Removes a name and adds another in the page cache; each may be NULL. */
void disk_change(struct sim_disk *d, const char *remove, const char *add, struct file *f);
size_t disk_parent_len(const char *path);
bool disk_is_parent(const char *dir, const char *path);
bool disk_change_is_in(const struct change *c, const char *dir);
void disk_sync_dir(struct sim_disk *d, const char *dir);
bool disk_dir_exists(const struct names *names, const char *path, size_t len);
/* With `durable` every directory on the way is synced as well. */
void disk_make_dirs(struct sim_disk *d, const char *path, bool durable);

#endif
