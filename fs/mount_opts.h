/* SPDX-License-Identifier: MIT */
/*
 * The text after -o: options of mount(8) and fstab, of the kernel, of FUSE, and every key of the
 * [volume] section. libfuse 3.14 accepts unknown options in silence, so we look at all of them
 * ourselves: an unknown one is an error that names the nearest match.
 */
#ifndef C2_FS_MOUNT_OPTS_H
#define C2_FS_MOUNT_OPTS_H

#include "base/buf.h"

struct c2_conf;

struct mount_opts {
    struct c2_buf kernel; /* comma-separated text, for mount(2) and fusermount3 */
    bool nonempty;        /* mount over a folder with files in it */
    bool read_only;
    char *config; /* owned; config=FILE, NULL = none */
    /* Settings of the volume: name '\0' value '\0', repeated; a bare name has the value "yes". */
    struct c2_buf settings;
};

void mount_opts_done(struct mount_opts *o);
/* Adds the options of one -o to *o; later ones win. sloppy: unknown ones are ignored (mount -s).
 * CONFIG with a sentence for people in *ret_error (c2_free). */
C2_RESULT mount_opts_parse(const char *text, bool sloppy, struct mount_opts *o, char **ret_error);
/* Puts the settings into the section of the volume. */
C2_RESULT mount_opts_apply(const struct mount_opts *o, struct c2_conf *conf, const char *volume);

#endif
