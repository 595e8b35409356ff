/* SPDX-License-Identifier: MIT */
/*
 * Records that the file system keeps in the coordination store, in its journal and in files of its
 * own, as a broken or hostile program may have left them behind their seals. The first byte says
 * what the rest is:
 *
 *   'I' len record (len bytes leaf) ...   an inode with its content, then the bytes of its leaves;
 *                                         lengths have two bytes
 *   'E' an entry of a folder     'O' an object record     'K' a condemned object
 *   'T' the collector's clock    'J' device, sequence number (bytes) and J: a position
 *   'W' a job                    'U' the file "usage" without its hash
 *   'A' an access control list   'G' a journal group
 *
 * What decodes is written and read again as the same, and every byte of a file is inside the
 * object that it is said to be in.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "fs/acl.h"
#include "fs/fs.h"
#include "fs/gc_record.h"
#include "fs/group_read.h"
#include "fs/job.h"
#include "fs/manifest.h"
#include "fs/records.h"
#include "fs/scrub_impl.h"
#include "fs/usage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct c2_slice
part(struct c2_rd *in)
{
    return c2_rd_raw(in, c2_rd_u16(in));
}

/* ---- inodes ---------------------------------------------------------------------------------- */

static void
inode_free(struct fs_inode *i)
{
    fs_map_unref(i->map);
    fs_map_unref(i->committed);
    fs_map_unref(i->journaled);
    fs_manifest_free(i->manifest);
    c2_free(i->symlink);
    c2_buf_done(&i->xattrs);
    *i = (struct fs_inode){ 0 };
}

static void
check_map(const struct fs_map *m)
{
    uint64_t end = 0;
    for (size_t k = 0; k < m->n; k++) {
        const struct fs_extent *e = &m->e[k];
        uint64_t off;
        C2_ASSERT(e->off >= end && e->len > 0 && e->len <= FS_FILE_SIZE_MAX - e->off);
        end = e->off + e->len;
        struct fs_source *s = fs_extent_source(e, &off);
        const struct fs_object *o = C2_CONTAINER_OF(s, struct fs_object, source);
        C2_ASSERT(off <= o->ref.plain_len && e->len <= o->ref.plain_len - off);
    }
}

static bool
read_leaves(struct fs *fs, struct fs_inode *i, struct c2_rd *in)
{
    struct fs_manifest *m = i->manifest;
    m->base = fs_map_new();
    for (size_t k = 0; k < m->nleaves; k++) {
        uint64_t end = k + 1 < m->nleaves ? m->leaves[k + 1].off : FS_FILE_SIZE_MAX;
        if (fs_leaf_decode(fs, part(in), m->leaves[k].off, end, &m->base) != C2_E_OK)
            return false;
    }
    return fs_content_loaded(fs, i) == C2_E_OK;
}

static void
content_again(struct fs *fs, const struct fs_inode *i)
{
    struct c2_buf first = { 0 }, second = { 0 };
    struct fs_inode other = { .ino = i->ino };
    fs_content_encode(NULL, i->map, &first);
    struct c2_rd r = c2_rd_init(c2_buf_slice(&first));
    C2_ASSERT(fs_content_decode(fs, &r, &other) == C2_E_OK && c2_rd_finish(&r) == C2_E_OK);
    C2_ASSERT(fs_map_equal(i->map, other.map));
    fs_content_encode(NULL, other.map, &second);
    C2_ASSERT(c2_slice_equal(c2_buf_slice(&first), c2_buf_slice(&second)));
    inode_free(&other);
    c2_buf_done(&first);
    c2_buf_done(&second);
}

static bool
read_inode(struct fs *fs, struct c2_slice record, struct fs_inode *i)
{
    struct c2_rd r = c2_rd_init(record);
    struct c2_buf again = { 0 };
    if (fs_inode_record_decode(&r, i) != C2_E_OK)
        return false;
    fs_inode_record_encode(i, &again);
    C2_ASSERT(c2_slice_equal(c2_slice(record.data, again.len), c2_buf_slice(&again)));
    C2_ASSERT(again.len + c2_rd_left(&r) == record.len);
    c2_buf_done(&again);
    return S_ISREG(i->attr.mode) && fs_content_decode(fs, &r, i) == C2_E_OK;
}

static void
inode(struct c2_rd *in)
{
    static struct fs fs;
    struct fs_inode i = { 0 };
    c2_map_init(&fs.objects, 1);
    if (read_inode(&fs, part(in), &i)) {
        bool whole = i.manifest == NULL || read_leaves(&fs, &i, in);
        if (i.manifest != NULL)
            check_map(i.manifest->base);
        if (whole) {
            check_map(i.map);
            content_again(&fs, &i);
        }
    }
    inode_free(&i);
    C2_ASSERT(c2_map_next(&fs.objects, NULL) == NULL);
    c2_map_done(&fs.objects);
}

static void
entry(struct c2_slice in)
{
    struct c2_rd r = c2_rd_init(in);
    struct fs_dentry_record e;
    struct c2_buf again = { 0 };
    if (fs_dentry_record_decode(&r, &e) != C2_E_OK)
        return;
    C2_ASSERT(e.name_len == strlen(e.name));
    fs_dentry_record_encode(e.ino, e.type, e.name, &again);
    C2_ASSERT(c2_slice_equal(c2_slice(in.data, again.len), c2_buf_slice(&again)));
    c2_buf_done(&again);
}

/* ---- objects --------------------------------------------------------------------------------- */

static void
object(struct c2_slice in)
{
    struct fs_object_record rec = { 0 };
    struct c2_buf again = { 0 };
    if (fs_object_rec_decode(in, &rec) != C2_E_OK || !rec.has_root)
        return;
    fs_object_rec_encode(&rec, &again);
    C2_ASSERT(c2_slice_equal(in, c2_buf_slice(&again)));
    c2_buf_done(&again);
}

static void
condemned(struct c2_slice in)
{
    struct fs_object_record rec = { 0 };
    if (gc_sentence_decode(in, &rec) == C2_E_OK)
        object(c2_slice(in.data + 9, in.len - 9));
}

static void
gc_clock(struct c2_slice in)
{
    struct gc_clock c;
    struct c2_buf again = { 0 };
    if (gc_clock_decode(in, &c) != C2_E_OK)
        return;
    gc_clock_encode(&c, &again);
    C2_ASSERT(c2_slice_equal(in, c2_buf_slice(&again)));
    c2_buf_done(&again);
    for (uint64_t wall_ns = C2_NS_PER_S; wall_ns < UINT64_MAX / 4; wall_ns *= 3) {
        (void)gc_clock_tick(&c, wall_ns, 5, 7, C2_NS_PER_S, C2_NS_PER_S);
        C2_ASSERT(c.nsamples <= GC_SAMPLES_MAX && c.nsessions <= GC_SESSIONS_MAX);
        (void)gc_clock_version_before(&c, wall_ns, C2_NS_PER_S, 5);
        (void)gc_clock_session_before(&c, wall_ns, C2_NS_PER_S);
    }
}

/* ---- the rest -------------------------------------------------------------------------------- */

static void
position(struct c2_rd *in)
{
    static const uint8_t device[FS_DEVICE_ID_LEN] = { 1 };
    struct fs_position p, q;
    struct c2_slice own = part(in), last = part(in);
    struct c2_buf last2 = { 0 }, own2 = { 0 };
    if (fs_position_decode(last, own, device, &p) != C2_E_OK)
        return;
    fs_position_encode(&p, &last2);
    fs_position_encode_seq(&p, &own2);
    C2_ASSERT(fs_position_decode(c2_buf_slice(&last2), c2_buf_slice(&own2), device, &q) == C2_E_OK);
    C2_ASSERT(p.seq == q.seq && p.next_ino == q.next_ino);
    C2_ASSERT(fs_position_is_foreign(&p, device) == fs_position_is_foreign(&q, device));
    c2_buf_done(&last2);
    c2_buf_done(&own2);
}

static void
work(struct c2_slice in)
{
    struct job_record *j = c2_calloc(1, sizeof *j), *again = c2_calloc(1, sizeof *again);
    struct c2_buf out = { 0 }, out_again = { 0 };
    if (job_record_decode(in, j) == C2_E_OK) {
        struct scrub_place place;
        const struct job job = { .rec = *j };
        job_record_encode(j, &out);
        C2_ASSERT(job_record_decode(c2_buf_slice(&out), again) == C2_E_OK);
        job_record_encode(again, &out_again);
        C2_ASSERT(c2_slice_equal(c2_buf_slice(&out), c2_buf_slice(&out_again)));
        c2_free(job_param(&job, "mode"));
        scrub_place_decode(j, &place);
        scrub_place_encode(&place, again);
    }
    c2_buf_done(&out);
    c2_buf_done(&out_again);
    c2_free(j);
    c2_free(again);
}

static void
usage(struct c2_slice in)
{
    struct usage *u = c2_calloc(1, sizeof *u);
    uint8_t hash[C2_SHA256_LEN];
    struct c2_buf file = { 0 }, again = { 0 };
    c2_sha256(in, hash);
    c2_buf_append(&file, in.data, in.len);
    c2_buf_append(&file, hash, sizeof hash);
    if (usage_decode(c2_buf_slice(&file), u) == C2_E_OK) {
        const struct usage_counts more = { .up = 1 };
        usage_encode(u, &again);
        C2_ASSERT(usage_decode(c2_buf_slice(&again), u) == C2_E_OK);
        usage_add(u, 0, "provider", &more);
        for (size_t k = 0; k < u->nproofs; k++)
            usage_add_proof(u, &u->proof[k]);
    }
    c2_buf_done(&file);
    c2_buf_done(&again);
    c2_free(u);
}

static void
acl(struct c2_slice in)
{
    struct c2_buf changed = { 0 }, inherited = { 0 };
    if (!fs_acl_valid(in))
        return;
    uint32_t mode = fs_acl_mode(in, S_IFREG | 0777);
    C2_ASSERT((mode & ~(uint32_t)(S_IFMT | 07777)) == 0);
    fs_acl_chmod(in, 0640, &changed);
    C2_ASSERT(fs_acl_valid(c2_buf_slice(&changed)));
    C2_ASSERT(fs_acl_mode(c2_buf_slice(&changed), 0) == 0640);
    fs_acl_inherit(in, 0640, &inherited);
    C2_ASSERT(fs_acl_valid(c2_buf_slice(&inherited)));
    C2_ASSERT((fs_acl_mode(c2_buf_slice(&inherited), 0) & ~0640u) == 0);
    c2_buf_done(&changed);
    c2_buf_done(&inherited);
}

static void
group(struct c2_slice in)
{
    struct group_item it;
    uint8_t version;
    if (group_check_version(in) != C2_E_OK)
        return;
    struct c2_rd r = group_read_begin(in, &version);
    while (group_read_item(&r, version, &it)) {
        struct fs_inode i = { 0 };
        struct c2_rd record = c2_rd_init(it.record);
        if (it.kind == 'I' && fs_inode_record_decode(&record, &i) == C2_E_OK)
            (void)group_is_whole(r, &it, i.attr.size);
        inode_free(&i);
        group_skip_extents(&r, &it);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready)
        C2_ASSERT(c2_crypto_init() == C2_E_OK);
    ready = true;
    if (size == 0)
        return 0;
    struct c2_slice rest = c2_slice(data + 1, size - 1);
    struct c2_rd in = c2_rd_init(rest);
    switch (data[0]) {
    case 'I':
        inode(&in);
        break;
    case 'E':
        entry(rest);
        break;
    case 'O':
        object(rest);
        break;
    case 'K':
        condemned(rest);
        break;
    case 'T':
        gc_clock(rest);
        break;
    case 'J':
        position(&in);
        break;
    case 'W':
        work(rest);
        break;
    case 'U':
        usage(rest);
        break;
    case 'A':
        acl(rest);
        break;
    case 'G':
        group(rest);
        break;
    default:
        break;
    }
    return 0;
}
