/* SPDX-License-Identifier: MIT */
#include "fs/format.h"

#include "fs/fs.h"

void
format_put_root(void *arg, struct keys *keys, struct c2_buf *backing, struct coord_op *ops,
                size_t ops_max, size_t *ret_nops)
{
    const struct format_owner *owner = arg;
    C2_ASSERT(ops_max >= FS_FORMAT_OPS);
    fs_format_ops(keys, owner->uid, owner->gid, owner->wall_ns, backing, ops);
    *ret_nops = FS_FORMAT_OPS;
}
