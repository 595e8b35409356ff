/* SPDX-License-Identifier: MIT */
/*
 * What the commands of `c2fsctl unit` share: options, key files, the clouds of the configuration,
 * errors in words. The work is done by libdepsky (depsky/clouds.h).
 */
#ifndef C2_TOOLS_UNIT_H
#define C2_TOOLS_UNIT_H

#include "depsky/clouds.h"
#include "tools/cmd.h"
#include "tools/unit_keys.h"

#define UNIT_KEY_FILE_MAX (64u << 10)

struct unit_cli {
    const struct cmd_ctx *x;
    const struct cmd *cmd;
    const char *name; /* of the unit, NULL = none */

    /* options */
    const char *key_file;
    struct unit_keys keys; /* without a secret: reads only */
    unsigned f;
    const char *providers[DS_SEATS_MAX];
    size_t nproviders;
    enum ds_unit_protocol protocol;
    unsigned keep;
    uint64_t wait_ns, lease_ns, session, version;
    bool single_writer, locked; /* locked: by --session, and so it stays */
    const char *output;

    struct ds_clouds *clouds; /* owned */
    struct ds_unit *unit;     /* owned */
};

/*
 * Takes the options out of the arguments; `rest` gets what is left, at least `min` and at most
 * `max` of them. Opens nothing. -1: go on, else the exit code.
 */
int unit_parse(struct unit_cli *u, int argc, char **argv, int min, int max);
/* Opens the clouds, and the unit if it has a name. -1: go on, else the exit code. */
int unit_open(struct unit_cli *u);
/* Frees everything; gives the code back. */
int unit_close(struct unit_cli *u, int code);
/* Says in words why it failed; the exit code. `holder` is of a lock that somebody else has. */
int unit_fail(const struct unit_cli *u, enum c2_err err, const struct ds_unit_lock *other);

/* Adds what a key file has. With need_secret the file must have one, and be readable by its owner
 * only. */
int unit_load_keys(struct unit_cli *u, const char *path, bool need_secret);
/* Makes a key file; prints the public key. */
int unit_make_key(const struct cmd_ctx *x, const char *path);

#endif
