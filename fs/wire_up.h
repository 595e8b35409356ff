/* SPDX-License-Identifier: MIT */
/*
 * From a configuration to a running mount and back: the volume with its providers, coordination
 * service and keys; the file system; the FUSE session; the control socket. The only file of a
 * mount that knows them all.
 *
 *   wire_open  volume, journal replay        blocks, running the loop
 *   wire_mount the kernel's mount is there   blocks, running the loop
 *   wire_run   serves until the mount ends, drains the backlog, closes everything in order
 *   wire_stop  from a signal: drain, unmount, end. Again: end now, the journal keeps the rest
 */
#ifndef C2_FS_WIRE_UP_H
#define C2_FS_WIRE_UP_H

#include "base/base.h"

struct c2_conf;
struct c2_os;

struct wire_config {
    struct c2_os *os;           /* borrowed, as all of this */
    const struct c2_conf *conf; /* borrowed until wire_free */
    const char *volume;
    const char *mountpoint;
    const char *kernel_options;
    bool read_only;
    bool debug;
    /* Reads the configuration again, for providers that came later; may be NULL. */
    C2_RESULT (*reload)(void *arg, struct c2_conf **ret_conf, char **ret_error);
    void *reload_arg;
};

struct wire;

C2_RESULT wire_open(const struct wire_config *config, struct wire **ret_wire, char **ret_error);
C2_RESULT wire_mount(struct wire *w, char **ret_error);
/* OK, or TIMEOUT when something was left in the journal for the next mount. *ret_abandoned: a
 * request never ended, the process must end without freeing anything. */
C2_RESULT wire_run(struct wire *w, bool *ret_abandoned);
/* False: nothing is mounted yet; the process may end without further ado, the journal keeps
 * everything. */
bool wire_stop(struct wire *w);
/* Whatever was reached; NULL is fine. */
void wire_free(struct wire *w);

#endif
