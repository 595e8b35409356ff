/* SPDX-License-Identifier: MIT */
/*
 * POSIX access control lists as the kernel has them in extended attributes: u32 version, then per
 * entry u16 tag, u16 permissions, u32 id. The kernel checks access by them; here they are kept in
 * step with the mode and handed on to new files. Lists given to all but fs_acl_valid are valid.
 */
#ifndef C2_FS_ACL_H
#define C2_FS_ACL_H

#include "base/buf.h"

#define FS_ACL_ACCESS  "system.posix_acl_access"
#define FS_ACL_DEFAULT "system.posix_acl_default"
/* A new folder gets two of them from its parent, which must fit FS_XATTRS_BYTES_MAX. */
#define FS_ACL_BYTES_MAX (8u << 10)

bool fs_acl_valid(struct c2_slice acl);
/* No entry that the permission bits of a mode could not say. */
bool fs_acl_minimal(struct c2_slice acl);
/* `mode` with the permission bits that the list stands for. */
uint32_t fs_acl_mode(struct c2_slice acl, uint32_t mode);
/* The list after chmod. */
void fs_acl_chmod(struct c2_slice acl, uint32_t mode, struct c2_buf *out);
/* The list of a new file that is created with `mode` where `acl` is the default. */
void fs_acl_inherit(struct c2_slice acl, uint32_t mode, struct c2_buf *out);

#endif
