/* SPDX-License-Identifier: MIT */
/*
 * c2fsctl recover --from-clouds: a configuration with providers, and the key file (or none, when
 * the volume is keyless), become a volume that can be mounted. How the volume lies in the clouds
 * (which provider has which seat, how many may fail) is read from the shares themselves. Runs the
 * loop until it is done: for tools.
 *
 * The store is rebuilt beside its place and moved there when it is whole. A journal of another
 * store in cache_dir is set aside: its changes belong to a state that is gone.
 */
#ifndef C2_FS_VOLUME_RECOVER_H
#define C2_FS_VOLUME_RECOVER_H

#include "fs/recover.h"
#include "fs/volume.h"

struct volume_recover {
    struct c2_os *os;
    const struct c2_conf *conf;
    const char *volume;
    const char *uuid; /* NULL, or hex digits that tell one keyless volume from others */
    volume_ask *ask;  /* NULL = there is no terminal */
    bool accept_loss;

    struct volume_error error;    /* out */
    struct recover_report report; /* out */
    struct volume_config config;  /* out: as found: uuid, n, f, keyless, providers by seat */
    bool key_written;             /* out: the key of a keyless volume is in the key file */
    char *journal_aside;          /* out: where the old journal is now (c2_free), or NULL */
};

C2_RESULT volume_recover_run(struct volume_recover *r);

#endif
