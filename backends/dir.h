/* SPDX-License-Identifier: MIT */
/*
 * Inside of the dir: provider, shared by dir.c (requests on one object) and dir_list.c (LIST).
 */
#ifndef C2_BACKENDS_DIR_H
#define C2_BACKENDS_DIR_H

#include "backends/layer.h"

#define DIR_SEGMENT_MAX   255
#define DIR_PUT_TRIES_MAX 4
/* Names of one directory, in bytes: some millions of objects. */
#define DIR_NAMES_MAX ((size_t)256 << 20)

struct dir {
    struct provider p;
    char *root; /* owned, without a slash at the end */
    size_t outstanding;
};

/* One directory that a LIST is in. */
struct dir_frame {
    char *prefix;       /* owned: "" or what all its keys start with, ending in '/' */
    struct c2_buf text; /* the next names in byte order, each zero-terminated; folders end in '/' */
    size_t at;          /* of the next name in text */
    char *last;         /* owned: the last name handed out, NULL = none yet */
    bool cut;           /* names after those in text were left out */
};

struct dir_walk {
    struct dir_frame *frames; /* owned; the innermost is the last */
    size_t depth, cap;
    bool folder_vanished; /* while we looked: the root may have, too */
    struct c2_buf left;   /* names of temporary files of the innermost folder, zero-terminated */
    size_t left_at;       /* of the next one in it */
};

enum dir_step {
    DIR_REFUSE,     /* nothing asked of the disk: op->refusal */
    DIR_ROOT,       /* is the root there? */
    DIR_WRITE,      /* PUT into a folder that should exist */
    DIR_WRITE_DEEP, /* PUT that makes the folders */
    DIR_READ,
    DIR_STAT,
    DIR_UNLINK,
    DIR_RMDIR,
    DIR_WALK_LIST, /* LIST: names of the innermost frame */
    DIR_WALK_STAT, /* LIST: size of an object */
    DIR_LEFT_STAT, /* LIST: age of a temporary file */
    DIR_LEFT_UNLINK,
};

struct dir_op {
    struct prov_call call; /* first */
    enum dir_step step;
    bool started; /* submit has returned: done may run */
    bool canceled;
    enum c2_err refusal;
    struct c2_task task; /* DIR_REFUSE */
    struct c2_disk_req disk;
    char *path;           /* owned: of the running disk request */
    struct c2_slice body; /* PUT */
    unsigned tries;       /* PUT */
    size_t index;         /* DELETE_MANY: key in work */
    enum c2_err failure;  /* DELETE_MANY: the first one; PUT: the last one */
    struct dir_walk walk; /* LIST */
};

/* "root/key", without a slash at the end. */
char *dir_path_of(const struct dir_op *op, const char *key);
/* Starts the next disk request on op->path; finishes instead when canceled or out of time. */
void dir_next(struct dir_op *op, enum dir_step step, enum c2_disk_verb verb);
void dir_finish(struct dir_op *op);
void dir_fail(struct dir_op *op, enum c2_err err);
/* Asks whether the root is there; the answer decides what "not found" means. */
void dir_check_root(struct dir_op *op);

void dir_walk_start(struct dir_op *op);
/* The disk has answered one of DIR_WALK_LIST ... DIR_LEFT_UNLINK. */
void dir_walk_answered(struct dir_op *op);
/* The root is there although a folder vanished. */
void dir_walk_end(struct dir_op *op);
void dir_walk_done(struct dir_walk *w);

#endif
