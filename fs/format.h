/* SPDX-License-Identifier: MIT */
/*
 * What `c2fsctl format` needs of the file system: the operations that make an empty one.
 */
#ifndef C2_FS_FORMAT_H
#define C2_FS_FORMAT_H

#include "fs/volume.h"

struct format_owner {
    uint32_t uid, gid; /* of the root directory */
    uint64_t wall_ns;  /* when it is made */
};

/* For volume_format.put_root; arg is a struct format_owner. */
void format_put_root(void *arg, struct keys *keys, struct c2_buf *backing, struct coord_op *ops,
                     size_t ops_max, size_t *ret_nops);

#endif
