/* SPDX-License-Identifier: MIT */
/*
 * POSIX access control lists.
 *
 *   owner, named users..., owning group, named groups..., [mask], others
 *
 * in this order; a list with named entries has a mask. The group bits of the mode are the mask when
 * there is one, and the owning group's permissions when there is none.
 */
#include "fs/acl.h"

#include "base/wire.h"

#define VERSION    2u
#define HEADER_LEN 4u
#define ENTRY_LEN  8u

#define TAG_OWNER  0x01u
#define TAG_USER   0x02u
#define TAG_GROUP  0x04u
#define TAG_GROUPS 0x08u
#define TAG_MASK   0x10u
#define TAG_OTHERS 0x20u

struct entry {
    unsigned tag, perm;
    uint32_t id;
};

static bool
next(struct c2_rd *r, struct entry *ret_entry)
{
    if (c2_rd_left(r) < ENTRY_LEN)
        return false;
    ret_entry->tag = c2_rd_u16(r);
    ret_entry->perm = c2_rd_u16(r);
    ret_entry->id = c2_rd_u32(r);
    return true;
}

static struct c2_rd
entries(struct c2_slice acl)
{
    struct c2_rd r = c2_rd_init(acl);
    (void)c2_rd_u32(&r);
    return r;
}

static size_t
count(struct c2_slice acl, unsigned tag)
{
    struct c2_rd r = entries(acl);
    struct entry e;
    size_t n = 0;
    while (next(&r, &e))
        n += e.tag == tag;
    return n;
}

bool
fs_acl_valid(struct c2_slice acl)
{
    struct c2_rd r = c2_rd_init(acl);
    struct entry e;
    unsigned last = 0;
    if (c2_rd_u32(&r) != VERSION || c2_rd_left(&r) % ENTRY_LEN != 0)
        return false;
    while (next(&r, &e)) {
        bool named = e.tag == TAG_USER || e.tag == TAG_GROUPS;
        bool known = named || e.tag == TAG_OWNER || e.tag == TAG_GROUP || e.tag == TAG_MASK ||
                     e.tag == TAG_OTHERS;
        if (!known || e.perm > 7 || e.tag < last || (e.tag == last && !named))
            return false;
        last = e.tag;
    }
    bool has_named = count(acl, TAG_USER) > 0 || count(acl, TAG_GROUPS) > 0;
    return count(acl, TAG_OWNER) == 1 && count(acl, TAG_GROUP) == 1 &&
           count(acl, TAG_OTHERS) == 1 && (!has_named || count(acl, TAG_MASK) == 1);
}

bool
fs_acl_minimal(struct c2_slice acl)
{
    return acl.len <= HEADER_LEN + 3 * ENTRY_LEN;
}

/* By how many bits the permissions of an entry are shifted in the mode; -1: they are not there. */
static int
shift_of(unsigned tag, bool has_mask)
{
    switch (tag) {
    case TAG_OWNER:
        return 6;
    case TAG_GROUP:
        return has_mask ? -1 : 3;
    case TAG_MASK:
        return 3;
    case TAG_OTHERS:
        return 0;
    default:
        return -1;
    }
}

uint32_t
fs_acl_mode(struct c2_slice acl, uint32_t mode)
{
    bool has_mask = count(acl, TAG_MASK) > 0;
    struct c2_rd r = entries(acl);
    struct entry e;
    mode &= ~0777u;
    while (next(&r, &e)) {
        int shift = shift_of(e.tag, has_mask);
        if (shift >= 0)
            mode |= e.perm << shift;
    }
    return mode;
}

/* The list with the bits of `mode`, or with those of them only that it has itself. */
static void
with_mode(struct c2_slice acl, uint32_t mode, bool only_less, struct c2_buf *out)
{
    bool has_mask = count(acl, TAG_MASK) > 0;
    struct c2_rd r = entries(acl);
    struct entry e;
    c2_wr_u32(out, VERSION);
    while (next(&r, &e)) {
        int shift = shift_of(e.tag, has_mask);
        if (shift >= 0)
            e.perm = (mode >> shift & 7u) & (only_less ? e.perm : 7u);
        c2_wr_u16(out, (uint16_t)e.tag);
        c2_wr_u16(out, (uint16_t)e.perm);
        c2_wr_u32(out, e.id);
    }
}

void
fs_acl_chmod(struct c2_slice acl, uint32_t mode, struct c2_buf *out)
{
    with_mode(acl, mode, false, out);
}

void
fs_acl_inherit(struct c2_slice acl, uint32_t mode, struct c2_buf *out)
{
    with_mode(acl, mode, true, out);
}
