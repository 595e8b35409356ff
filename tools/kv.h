/* SPDX-License-Identifier: MIT */
/*
 * What the commands on keys share.
 */
#ifndef C2_TOOLS_KV_H
#define C2_TOOLS_KV_H

#include "tools/cmd.h"
#include "tools/service.h"

struct kv_args {
    const char *service; /* NULL = the only one */
    bool prefix, raw, number;
    uint64_t count; /* 0 = not given */
    int argc;       /* what is left, without the command's name */
    char **argv;
};

/* The words of a command, behind its options. */
struct kv_form {
    const char *name; /* of the command */
    int min, max;
    const char *problem; /* what to say when there are fewer or more */
    int keys;            /* of so many words, the first ones, each must be a key */
    int prefixes;        /* or the beginning of one */
};

/*
 * Options come first, those of the command; "--" ends them, for a key that begins with a dash. An
 * option behind a key is an error: "kv delete a --prefix" must not delete the key "a". Returns an
 * exit code, after a message.
 */
int kv_parse(const struct cmd_ctx *x, const struct kv_form *f, int argc, char **argv,
             struct kv_args *ret_args);

/* Whether this may be a key; an exit code, after a message. */
int kv_check_key(const struct cmd_ctx *x, const char *what, const char *key);

/* As service_fail, with the bounds of keys and values where they are what is wrong. */
int kv_fail(const struct service *s, enum c2_err err, const char *object);
int kv_fail_change(const struct service *s, enum c2_err err, const char *object);

/* A lock that somebody waits for and holds, while the command runs; NULL = until interrupted. Both
 * are borrowed. It outlives the service that it was run on. */
struct kv_lock *kv_lock_new(const char *key, char **command);
void kv_lock_free(struct kv_lock *l);
/* Takes the lock, runs the command, gives the lock back: for service_use. Once; an exit code. */
int kv_lock_run(struct service *s, void *lock);

/* Text as it is; other bytes as 0x and hex digits. */
void kv_print_bytes(struct c2_slice b);
/* The same for one of several on a line: ends of lines and tabs are no text there. */
void kv_print_field(struct c2_slice b);
/* Strings of JSON are UTF-8 without zeros: other bytes come as hex digits under another key. */
void kv_json_bytes(struct c2_json *j, const char *key, const char *hex_key, struct c2_slice b);

#endif
