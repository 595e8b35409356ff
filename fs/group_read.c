/* SPDX-License-Identifier: MIT */
#include "fs/group_read.h"

#include "fs/records.h"

#define VERSION_BEFORE 2 /* from here on an inode names the group before */

enum c2_err
group_check_version(struct c2_slice meta)
{
    bool known =
        meta.len == 0 || (meta.len >= 2 && meta.data[0] >= 1 && meta.data[0] <= GROUP_VERSION);
    return known ? C2_E_OK : C2_E_VERSION;
}

struct c2_rd
group_read_begin(struct c2_slice meta, uint8_t *ret_version)
{
    struct c2_rd r = c2_rd_init(meta);
    *ret_version = c2_rd_u8(&r);
    c2_rd_u8(&r);
    return r;
}

static void
read_count(struct c2_rd *r, struct group_item *it)
{
    it->nextents = it->content ? c2_rd_u32(r) : 0;
    if (it->nextents > GROUP_DIFF_MAX)
        c2_rd_fail(r);
}

bool
group_read_item(struct c2_rd *r, uint8_t version, struct group_item *it)
{
    if (!c2_rd_ok(r) || c2_rd_left(r) == 0)
        return false;
    *it = (struct group_item){ .kind = (char)c2_rd_u8(r) };
    if (it->kind == 'N') {
        it->next_ino = c2_rd_u64(r);
    } else if (it->kind == 'I') {
        it->ino = c2_rd_u64(r);
        it->dir = c2_rd_u64(r);
        it->before = version >= VERSION_BEFORE ? c2_rd_u64(r) : 0;
        it->record = c2_rd_bytes(r, COORD_VALUE_MAX);
        it->content = c2_rd_u8(r) != 0;
        read_count(r, it);
    } else if (it->kind == 'X') {
        it->ino = c2_rd_u64(r);
        it->content = true;
        read_count(r, it);
    } else if (it->kind == 'D') {
        it->dir = c2_rd_u64(r);
        it->ino = c2_rd_u64(r);
        it->type = c2_rd_u32(r);
        it->name = c2_rd_bytes(r, FS_NAME_MAX);
        if (!fs_name_valid(it->name))
            c2_rd_fail(r);
    } else {
        c2_rd_fail(r);
    }
    return c2_rd_ok(r);
}

void
group_read_extent(struct c2_rd *r, struct group_extent *x)
{
    *x = (struct group_extent){ .off = c2_rd_u64(r) };
    x->len = c2_rd_u64(r);
    uint8_t kind = c2_rd_u8(r);
    if (kind > GROUP_OBJECT)
        c2_rd_fail(r);
    if (!c2_rd_ok(r))
        return;
    x->kind = (enum group_source)kind;
    if (x->kind == GROUP_PIECE) {
        x->piece = c2_rd_u32(r);
    } else if (x->kind == GROUP_LOC) {
        x->loc = journal_loc_decode(r);
    } else if (x->kind == GROUP_OBJECT) {
        x->ref = ds_ref_decode(r);
        x->placed = c2_rd_u32(r);
        x->stored_bytes = c2_rd_u64(r);
    }
    if (x->kind != GROUP_HOLE)
        x->source_off = c2_rd_u64(r);
}

void
group_skip_extents(struct c2_rd *r, const struct group_item *it)
{
    for (uint32_t k = 0; k < it->nextents && c2_rd_ok(r); k++) {
        struct group_extent x;
        group_read_extent(r, &x);
    }
}

bool
group_is_whole(struct c2_rd r, const struct group_item *it, uint64_t size)
{
    uint64_t end = 0;
    for (uint32_t k = 0; k < it->nextents && c2_rd_ok(&r); k++) {
        struct group_extent x;
        group_read_extent(&r, &x);
        if (x.off > end)
            break;
        end = C2_MAX(end, x.off + x.len);
    }
    return c2_rd_ok(&r) && end >= size;
}
