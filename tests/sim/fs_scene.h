/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the file system scenario share: scene_fs.c (the script), fs_client.c (random
 * operations), fs_verify.c (what a mount shows against the reference).
 */
#ifndef C2_TESTS_SIM_FS_SCENE_H
#define C2_TESTS_SIM_FS_SCENE_H

#include "tests/sim/fs_model.h"
#include "tests/sim/fs_mount.h"

#define SCENE_HANDLES_MAX 12
#define SCENE_LOCKS_MAX   4
#define SCENE_CLOUDS      4
#define SCENE_SPARES      2

struct scene_handle {
    struct fs_handle *handle; /* NULL = free slot */
    uint64_t ino;
    bool writes, busy;
};

/* Of providers, fs_change.c. */
struct scene_change {
    struct sim_rng rng;
    struct c2_timer due;
    unsigned left; /* to begin */
    struct job_ask ask;
    unsigned seat;
    struct volume_change add;
    bool asking, adding, refused;
    bool drained; /* the drain at the end was started */
    bool syncs;   /* a job commits held files at a moment of its own */
    struct model_mark marks[MODEL_NODES_MAX];
    bool frail; /* another seat fails while shares are not in their places */
    bool lost;  /* shares that nobody could rebuild were counted and given up */
};

struct fs_scene {
    struct sim_world *w;
    struct sim_rng rng;
    struct sim_clouds *clouds;
    struct sim_mount *m;
    enum sim_weather weather;
    bool healed;
    bool repaired; /* clouds hold what is said of them, also those that had destroyed something */
    struct model model;
    struct scene_handle handle[SCENE_HANDLES_MAX];
    struct c2_list ops; /* running, fs_client.c */
    unsigned ops_left, ops_at_once, crashes_left;
    bool big;       /* large sequential files, small packs */
    uint64_t stamp; /* makes written bytes distinct */
    struct c2_timer next, crash;
    enum sim_crash crash_how;
    struct scene_change change;
    bool idle;
};

/* Operations. */
void client_start_one(struct fs_scene *s);
void client_close_all(struct fs_scene *s); /* starts what can be closed now */
bool client_has_handles(const struct fs_scene *s);
void client_died(struct fs_scene *s); /* forgets what was running */
/* Whether an operation may fail because of the clouds. */
bool scene_tolerates(const struct fs_scene *s, enum c2_err err);

/* Compares all that the mount shows with the reference. After a crash (how >= 0) any snapshot that
 * may be left is right, and the reference adopts what is there. False when the node died. */
bool verify_mount(struct fs_scene *s, int how);
/* After everything was committed: records of the store against files and clouds (I11). */
bool verify_store(struct fs_scene *s);
/* After the collector has had its way: the clouds hold objects that have a record, and no others
 * (I11). */
bool verify_clouds(struct fs_scene *s);

/* Of providers: adds spare clouds and decides how many changes there will be; plans the next one
 * after the mount came up; forgets what ran when the node died. */
void change_init(struct fs_scene *s);
void change_plan(struct fs_scene *s);
void change_stop(struct fs_scene *s);
void change_died(struct fs_scene *s);
bool change_runs(const struct fs_scene *s);
/* A replacement gave shares up, of which too few others were left then. */
bool change_has_lost(struct fs_scene *s);
/* Without faults: what was begun comes to its end. False when the node died. */
bool change_settle(struct fs_scene *s);

/* Everybody behaves from now on; every object comes back to its goal. False when the node died. */
bool repair_all(struct fs_scene *s);

#endif
