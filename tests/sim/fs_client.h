/* SPDX-License-Identifier: MIT */
/*
 * One operation of the random clients, and what the files of the clients share: fs_client.c
 * (running and choosing), fs_client_data.c (handles and content), fs_client_names.c (names),
 * fs_client_look.c (reading attributes and directories).
 */
#ifndef C2_TESTS_SIM_FS_CLIENT_H
#define C2_TESTS_SIM_FS_CLIENT_H

#include <string.h>

#include "base/alloc.h"
#include "tests/sim/fs_scene.h"

#define CLIENT_UID 1000

struct op {
    struct c2_link link; /* scene->ops */
    struct fs_scene *s;
    struct fs_req req;
    bool (*finish)(struct op *op); /* true: the operation goes on with another request */
    char name[MODEL_NAME_MAX], name2[MODEL_NAME_MAX];
    uint64_t lock[SCENE_LOCKS_MAX];
    unsigned nlocks;
    struct scene_handle *handle, *handle2;
    struct c2_blob *data;
    size_t began;   /* snapshot when it was submitted */
    size_t promise; /* snapshot that is durable when it succeeds */
    bool promises, machine;
    struct model_mark marks[MODEL_NODES_MAX];
    bool syncs;
    uint64_t started_ns;
    /* readdir */
    struct model_entry seen[MODEL_ENTRIES_MAX];
    unsigned nseen;
    uint64_t cookie;
};

const char *client_op_name(enum fs_opcode o);
/* Running. submit may complete the operation: nothing may touch it afterwards. */
struct op *client_op(struct fs_scene *s, enum fs_opcode opcode, bool (*finish)(struct op *op));
bool client_lock(struct op *op, struct model_node *n);
void client_submit(struct op *op);
/* The next request of an operation that has several; returns true, for finish. */
bool client_go_on(struct op *op, enum fs_opcode opcode, bool (*finish)(struct op *op));
void client_give_up(struct op *op); /* before submit */

/* Choosing; NULL when there is none. */
struct model_node *client_pick_node(struct fs_scene *s, uint32_t type);
struct scene_handle *client_pick_handle(struct fs_scene *s, bool writes);
const struct model_entry *client_pick_entry(struct fs_scene *s);
void client_pick_name(struct fs_scene *s, char out[MODEL_NAME_MAX]);
struct scene_handle *client_free_handle(struct fs_scene *s);

/* True when it succeeded, as it should. */
bool client_expect(struct op *op, enum c2_err wanted);
/* After the reference was changed; a and b are what changed. */
void client_commit(struct op *op, struct model_node *a, struct model_node *b);

/* Starters. */
void client_make(struct fs_scene *s, enum fs_opcode opcode);
void client_open(struct fs_scene *s);
void client_flush(struct fs_scene *s, struct scene_handle *h, enum fs_opcode opcode);
void client_syncfs(struct fs_scene *s);
void client_write(struct fs_scene *s);
void client_read(struct fs_scene *s);
void client_setattr(struct fs_scene *s, unsigned valid);
void client_fallocate(struct fs_scene *s);
void client_copy(struct fs_scene *s);
void client_link(struct fs_scene *s);
void client_unlink(struct fs_scene *s);
void client_rename(struct fs_scene *s);
void client_look(struct fs_scene *s, enum fs_opcode opcode);
void client_xattr(struct fs_scene *s, enum fs_opcode opcode);
void client_readdir(struct fs_scene *s);

#endif
