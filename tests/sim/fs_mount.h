/* SPDX-License-Identifier: MIT */
/*
 * One mount of one volume on a simulated machine: local coordination store (LMDB, real files in a
 * temporary folder), DepSky client over simulated clouds, cache and journal on the simulated disk,
 * the jobs that change providers. What wire_up.c is for the daemon, without kernel and
 * configuration.
 */
#ifndef C2_TESTS_SIM_FS_MOUNT_H
#define C2_TESTS_SIM_FS_MOUNT_H

#include "fs/coord_keys.h"
#include "fs/fs.h"
#include "fs/job.h"
#include "fs/volume_job.h"
#include "tests/sim/clouds.h"

struct sim_mount {
    struct sim_world *w;
    struct sim_rng rng;
    struct sim_disk *disk;
    struct sim_node *node;
    struct sim_clouds *clouds;
    struct sim_hook clouds_hook, hook;
    char *store; /* folder of the coordination store */
    bool formatted;
    uint8_t volume_key[C2_KEY_LEN];
    struct ds_config ds_config; /* n, voters and epoch come from the volume's configuration */
    struct c2_conf *sections;   /* of all clouds, by their names */
    struct fs_config conf;
    uint64_t journal_size, journal_segment_size;
    bool stacked, cache_on_disk;

    /* of one life */
    bool up, died;
    struct coord *coord;
    struct keys *keys;
    struct cache *cache;
    struct ds_client *ds;
    struct fs *fs;
    struct volume volume; /* as much of it as a change of providers needs */
    struct seat_jobs kinds;
    struct jobs *jobs;
    struct fs_open_report report;
    struct coord_req req;
    bool flag;
    enum c2_err err;
};

/* The cloud in a seat; NULL = nobody. */
struct sim_cloud *sim_mount_cloud(const struct sim_mount *m, unsigned seat);
/* A new way to a cloud, for a seat. In the name of the node. */
struct provider *sim_mount_open_cloud(struct sim_mount *m, const char *name);
/* dir: where the folder of the store is made; it must not exist from an earlier run. */
struct sim_mount *sim_mount_new(struct sim_world *w, struct sim_clouds *clouds, const char *dir);
/* Runs the world until the flag is set; false when the node died. */
bool sim_mount_wait(struct sim_mount *m, const bool *flag, uint64_t max_ns, const char *what);
void sim_mount_free(struct sim_mount *m);
/* False when the node died meanwhile; fails the run when the mount cannot be made. */
bool sim_mount_up(struct sim_mount *m);
/* Orderly: everything is given back, checked. No request outstanding. False when the node died. */
bool sim_mount_down(struct sim_mount *m);
/* One request to the store; the caller owns it. False when the node died. */
bool sim_mount_coord(struct sim_mount *m, struct coord_req *r);

#endif
