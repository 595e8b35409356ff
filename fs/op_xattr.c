/* SPDX-License-Identifier: MIT */
/*
 * Extended attributes. They are kept as an encoded list in the inode (fs/records.h) and go wherever
 * its record goes. Two attributes of files are made up on reading and never listed, so that
 * programs which copy attributes do not trip over them:
 *
 *   user.c2fs.state   local | uploading | committed | failed
 *   user.c2fs.info    JSON: size, extents, objects and where their shares are
 *
 * Access control lists are attributes too (fs/acl.h): the kernel reads and enforces them, and
 * leaves it to us to keep the mode in step.
 */
#include <string.h>
#include <sys/xattr.h>

#include "base/json.h"
#include "fs/acl.h"
#include "fs/op.h"

#define OWN_PREFIX       "user.c2fs."
#define TRUSTED_PREFIX   "trusted."
#define SELINUX_LABEL    "security.selinux"
#define INFO_OBJECTS_MAX 256u

static bool
starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool
is_acl(const char *name)
{
    return strcmp(name, FS_ACL_ACCESS) == 0 || strcmp(name, FS_ACL_DEFAULT) == 0;
}

static C2_RESULT
check_name(const char *name)
{
    static const char *const spaces[] = { "user.", "trusted.", "security." };
    if (strlen(name) > FS_XATTR_NAME_MAX)
        return C2_E_RANGE;
    if (is_acl(name))
        return C2_E_OK;
    for (size_t k = 0; k < C2_ARRAY_LEN(spaces); k++)
        if (starts_with(name, spaces[k]) && name[strlen(spaces[k])] != '\0')
            return C2_E_OK;
    return C2_E_UNSUPPORTED;
}

bool
fs_xattr_find(const struct fs_inode *i, const char *name, struct fs_xattr *ret_xattr)
{
    struct c2_rd r = c2_rd_init(c2_buf_slice(&i->xattrs));
    while (fs_xattr_next(&r, ret_xattr))
        if (c2_slice_equal(ret_xattr->name, c2_slice_str(name)))
            return true;
    return false;
}

/* The list without `name`. */
static void
copy_without(const struct fs_inode *i, const char *name, struct c2_buf *out)
{
    struct c2_rd r = c2_rd_init(c2_buf_slice(&i->xattrs));
    struct fs_xattr x;
    while (fs_xattr_next(&r, &x))
        if (!c2_slice_equal(x.name, c2_slice_str(name)))
            fs_xattr_append(out, x.name, x.value);
}

void
fs_xattr_put(struct fs_inode *i, const char *name, struct c2_slice value)
{
    struct c2_buf list = { 0 };
    copy_without(i, name, &list);
    if (value.len > 0)
        fs_xattr_append(&list, c2_slice_str(name), value);
    c2_buf_done(&i->xattrs);
    i->xattrs = list;
}

static void
replace_list(struct fs_req *r, struct fs_inode *i, struct c2_buf *list)
{
    c2_buf_done(&i->xattrs);
    i->xattrs = *list;
    fs_inode_touch(r->fs, i, FS_SET_CTIME);
    fs_changed(r->fs);
}

/* ---- attributes that are made up ------------------------------------------------------------ */

static void
object_json(struct c2_json *j, const struct fs_object *o)
{
    struct c2_buf id = { 0 };
    c2_buf_printf(&id, "%016llx/%016llx", (unsigned long long)o->ref.oid.sid,
                  (unsigned long long)o->ref.oid.seq);
    c2_json_object(j, NULL);
    c2_json_str(j, "id", c2_buf_cstr(&id));
    c2_buf_done(&id);
    c2_json_u64(j, "bytes", o->ref.plain_len);
    c2_json_u64(j, "key_epoch", o->ref.key_epoch);
    if (o->placed_known) {
        c2_json_array(j, "seats");
        for (unsigned seat = 0; seat < DS_SEATS_MAX; seat++)
            if ((o->placed >> seat & 1) != 0)
                c2_json_u64(j, NULL, seat);
        c2_json_array_end(j);
    }
    c2_json_object_end(j);
}

/* Each object once as long as its extents are neighbours, which is how files are written. */
static void
info_json(struct fs *fs, const struct fs_inode *i, struct c2_buf *out)
{
    struct c2_json j;
    const struct fs_source *last = NULL;
    uint64_t local = 0;
    unsigned nobjects = 0;
    c2_json_init(&j, out);
    c2_json_object(&j, NULL);
    c2_json_str(&j, "schema", "c2fs.info/1");
    c2_json_u64(&j, "ino", i->ino);
    c2_json_str(&j, "state", fs_inode_state(fs, i));
    c2_json_u64(&j, "size", i->attr.size);
    c2_json_u64(&j, "extents", i->map->n);
    c2_json_array(&j, "objects");
    for (size_t k = 0; k < i->map->n; k++) {
        uint64_t off;
        struct fs_source *s = fs_extent_source(&i->map->e[k], &off);
        if (s->kind == FS_SOURCE_CHUNK)
            local += i->map->e[k].len;
        else if (s != last && nobjects++ < INFO_OBJECTS_MAX)
            object_json(&j, C2_CONTAINER_OF(s, struct fs_object, source));
        last = s;
    }
    c2_json_array_end(&j);
    c2_json_u64(&j, "local_bytes", local);
    c2_json_bool(&j, "more", nobjects > INFO_OBJECTS_MAX);
    c2_json_object_end(&j);
}

static C2_RESULT
get_own(struct fs_req *r)
{
    const char *what = r->name + strlen(OWN_PREFIX);
    struct fs_inode *i;
    C2_TRY(fs_inode_find(r, r->ino, &i));
    if (!S_ISREG(i->attr.mode))
        return C2_E_NO_DATA;
    if (strcmp(what, "state") == 0) {
        c2_buf_puts(&r->reply, fs_inode_state(r->fs, i));
        return C2_E_OK;
    }
    if (strcmp(what, "info") != 0)
        return C2_E_NO_DATA;
    C2_TRY(fs_inode_find_content(r, r->ino, &i));
    info_json(r->fs, i, &r->reply);
    return C2_E_OK;
}

/* ---- operations ---------------------------------------------------------------------------- */

/*
 * Programs ask for security.selinux of every file that they list (ls -l), and for nothing more on
 * this file system after they heard once that it has no such thing. It is kept where it is set, for
 * copies. Where SELinux is at work the kernel answers itself.
 */
static enum c2_err
absent(const char *name)
{
    return strcmp(name, SELINUX_LABEL) == 0 ? C2_E_UNSUPPORTED : C2_E_NO_DATA;
}

/* The kernel asks for security.capability before every write: the inode is in memory then. */
enum c2_err
fs_op_getxattr(struct fs_req *r)
{
    struct fs_inode *i;
    struct fs_xattr x;
    C2_TRY(check_name(r->name));
    if (starts_with(r->name, OWN_PREFIX))
        return get_own(r);
    C2_TRY(fs_inode_find(r, r->ino, &i));
    if (!fs_xattr_find(i, r->name, &x))
        return absent(r->name);
    c2_buf_append(&r->reply, x.value.data, x.value.len);
    return C2_E_OK;
}

enum c2_err
fs_op_listxattr(struct fs_req *r)
{
    struct fs_inode *i;
    struct fs_xattr x;
    C2_TRY(fs_inode_find(r, r->ino, &i));
    struct c2_rd rd = c2_rd_init(c2_buf_slice(&i->xattrs));
    while (fs_xattr_next(&rd, &x)) {
        /* The kernel lets nobody but root read them: programs that copy all that is listed would
         * fail. */
        if (r->uid != 0 && c2_slice_starts_with(x.name, c2_slice_str(TRUSTED_PREFIX)))
            continue;
        c2_buf_append(&r->reply, x.name.data, x.name.len);
        c2_buf_append(&r->reply, "", 1);
    }
    return C2_E_OK;
}

/* What the list says about the file, and what may be said: OK, or why it cannot be set. */
static C2_RESULT
check_acl(const struct fs_req *r, const struct fs_inode *i)
{
    if (S_ISLNK(i->attr.mode))
        return C2_E_UNSUPPORTED;
    if (strcmp(r->name, FS_ACL_DEFAULT) == 0 && !S_ISDIR(i->attr.mode))
        return C2_E_ACCESS;
    if (r->data.len > FS_ACL_BYTES_MAX)
        return C2_E_NO_SPACE;
    return fs_acl_valid(r->data) ? C2_E_OK : C2_E_INVALID;
}

static bool
in_group(const struct fs_req *r, uint32_t gid)
{
    if (r->gid == gid)
        return true;
    for (size_t k = 0; k < r->ngroups; k++)
        if (r->groups[k] == gid)
            return true;
    return false;
}

/* The mode follows the list. A list that says no more than the mode is not kept. */
static void
follow_acl(struct fs_req *r, struct fs_inode *i, struct c2_slice acl)
{
    if (strcmp(r->name, FS_ACL_ACCESS) != 0)
        return;
    i->attr.mode = fs_acl_mode(acl, i->attr.mode);
    if (r->uid != 0 && !in_group(r, i->attr.gid))
        i->attr.mode &= ~(uint32_t)S_ISGID; /* as chmod does for those outside the group */
    if (fs_acl_minimal(acl))
        fs_xattr_put(i, FS_ACL_ACCESS, c2_slice(NULL, 0));
}

enum c2_err
fs_op_setxattr(struct fs_req *r)
{
    struct fs_inode *i;
    struct fs_xattr x;
    C2_TRY(check_name(r->name));
    if (starts_with(r->name, OWN_PREFIX))
        return C2_E_NOT_PERMITTED;
    if (r->data.len > FS_XATTR_VALUE_MAX)
        return C2_E_NO_SPACE;
    C2_TRY(fs_inode_find(r, r->ino, &i));
    if (is_acl(r->name))
        C2_TRY(check_acl(r, i));
    bool exists = fs_xattr_find(i, r->name, &x);
    if (exists && (r->flags & XATTR_CREATE) != 0)
        return C2_E_EXISTS;
    if (!exists && (r->flags & XATTR_REPLACE) != 0)
        return C2_E_NO_DATA;
    struct c2_buf list = { 0 };
    copy_without(i, r->name, &list);
    fs_xattr_append(&list, c2_slice_str(r->name), r->data);
    enum c2_err err = list.len > FS_XATTRS_BYTES_MAX ? C2_E_NO_SPACE : C2_E_OK;
    if (err == C2_E_OK)
        err = fs_change_admit(r, FS_CHANGE_BYTES + list.len);
    if (err != C2_E_OK) {
        c2_buf_done(&list);
        return err;
    }
    r->fs->ready_attr_bytes += list.len;
    replace_list(r, i, &list);
    follow_acl(r, i, r->data);
    return C2_E_OK;
}

enum c2_err
fs_op_removexattr(struct fs_req *r)
{
    struct fs_inode *i;
    struct fs_xattr x;
    C2_TRY(check_name(r->name));
    if (starts_with(r->name, OWN_PREFIX))
        return C2_E_NOT_PERMITTED;
    C2_TRY(fs_inode_find(r, r->ino, &i));
    if (!fs_xattr_find(i, r->name, &x))
        return is_acl(r->name) ? C2_E_OK : C2_E_NO_DATA; /* as other file systems do */
    C2_TRY(fs_change_admit(r, FS_CHANGE_BYTES));
    struct c2_buf list = { 0 };
    copy_without(i, r->name, &list);
    replace_list(r, i, &list);
    return C2_E_OK;
}
