/* SPDX-License-Identifier: MIT */
#include "fs/leftover.h"

#include "base/alloc.h"
#include "base/env.h"
#include "base/wire.h"
#include "fs/group_read.h"

#define NAMES_MAX 5

static void
mention(struct leftover *l, struct c2_slice name)
{
    if (l->nnames++ >= NAMES_MAX)
        return;
    c2_buf_puts(&l->names, l->nnames == 1 ? "" : ", ");
    for (size_t k = 0; k < name.len; k++)
        c2_wr_u8(&l->names, name.data[k] < ' ' || name.data[k] == 0x7f ? '?' : name.data[k]);
}

void
leftover_count(struct leftover *l, struct c2_slice meta)
{
    uint8_t version;
    struct c2_rd r = group_read_begin(meta, &version);
    struct group_item it;
    bool changes = false;
    while (group_read_item(&r, version, &it)) {
        group_skip_extents(&r, &it);
        changes = changes || it.kind != 'N';
        l->inodes += it.kind == 'I';
        if (it.kind == 'D')
            mention(l, it.name);
    }
    l->groups += changes;
}

char *
leftover_text(struct leftover *l, const char *journal_dir, uint64_t wall_ns)
{
    return c2_asprintf(
        "another machine has changed the volume since this one had it, and the journal of "
        "this machine has changes that never reached the clouds (groups: %u, changed files "
        "and folders: %u, names: %s%s); they are not applied over a newer state\n"
        "hint: mv %s %s.conflict-%llu sets them aside, then mount again",
        l->groups, l->inodes, l->nnames == 0 ? "none" : c2_buf_cstr(&l->names),
        l->nnames > NAMES_MAX ? ", ..." : "", journal_dir, journal_dir,
        (unsigned long long)(wall_ns / C2_NS_PER_S));
}

void
leftover_done(struct leftover *l)
{
    c2_buf_done(&l->names);
}
