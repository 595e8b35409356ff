/* SPDX-License-Identifier: MIT */
/*
 * What the mount as a whole and each file of it is doing, for c2fsctl status and user.c2fs.state.
 */
#include "fs/fs.h"
#include "fs/pack.h"
#include "fs/publish.h"
#include "fs/txg.h"

/* Of the content: what exists only here and is not on its way. */
static uint64_t
local_bytes(const struct fs_map *m)
{
    uint64_t bytes = 0;
    for (size_t k = 0; m != NULL && k < m->n; k++) {
        if (m->e[k].source->kind != FS_SOURCE_CHUNK)
            continue;
        const struct fs_chunk *c = C2_CONTAINER_OF(m->e[k].source, struct fs_chunk, source);
        bytes += c->object == NULL && !c->uploading ? c->len : 0;
    }
    return bytes;
}

void
fs_status(struct fs *fs, struct fs_status *ret_status)
{
    struct fs_status *s = ret_status;
    struct fs_txgs_numbers groups;
    struct journal_stats js;
    struct fs_pack_stats ps;
    fs_txgs_numbers(fs, &groups);
    journal_stats(fs->journal, &js);
    fs_pack_stats(fs, &ps);
    *s = (struct fs_status){ .backlog_files = fs->commit_inodes.count + groups.inodes,
                             .backlog_bytes = ps.waiting_bytes,
                             .backlog_oldest_ns = groups.oldest_ns,
                             .journal_used = js.used_bytes,
                             .journal_max = js.size_max,
                             .txgs = groups.cut,
                             .txgs_committed = groups.committed,
                             .txns = groups.txns,
                             .objects_written = ps.objects,
                             .object_bytes = ps.object_bytes,
                             .stored_bytes = ps.stored_bytes,
                             .chunk_bytes = fs->chunk_bytes,
                             .inodes_cached = fs->inodes.count,
                             .dentries_cached = fs->dentries.count,
                             .used_bytes = fs->used_bytes,
                             .used_files = fs->used_files,
                             .last_error =
                                 groups.last_error != C2_E_OK ? groups.last_error : ps.last_error,
                             .journal_error = fs_publisher_trouble(fs),
                             .fenced = fs->fenced };
    fs_ship_status(fs, &s->ship);
    fs_gc_status(fs, &s->gc);
    fs_compact_status(fs, &s->compact);
    C2_LIST_FOREACH (&fs->commit_inodes, struct fs_inode, i, commit_link) {
        s->backlog_bytes += local_bytes(i->map);
    }
}

const char *
fs_inode_state(struct fs *fs, const struct fs_inode *i)
{
    if (fs_map_has_lost(i->map))
        return "failed";
    if (i->dirty_commit || i->is_new)
        return "local";
    if (i->pins > i->opens || !fs_ship_has(fs, i->committed_version))
        return fs->fenced ? "failed" : "uploading";
    return "committed";
}
