/* SPDX-License-Identifier: MIT */
/*
 * Files whose data cannot be read any more, by name and range: what users need to know to bring
 * them back from a backup. Nothing is changed here: the record of a file keeps naming its objects,
 * so that the file is whole again when enough providers are back.
 *
 *   (ranges are noted while the objects are looked at) --> D (the names of these files) -->
 *     D (the names of the folders above them) --> tell --> sums
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "fs/fsck_impl.h"
#include "fs/records.h"

#define KEY_DENTRY 25u /* letter, folder, hash of the name */
#define ABOVE      UINT32_MAX
#define LOST_FOUND "/lost+found/"

static fsck_step names_found, folders_found;

/* ---- ranges --------------------------------------------------------------------------------- */

/* It begins where the range before it ends. */
static bool
goes_on(struct fsck *f, uint64_t ino, uint64_t off, uint64_t len)
{
    struct fsck_range *last = &f->ranges[f->nranges - 1];
    if (last->ino != ino || last->off + last->len != off)
        return false;
    last->len += len;
    return true;
}

void
fsck_damaged(struct fsck *f, uint64_t ino, uint64_t off, uint64_t len)
{
    if (len == 0 || (f->nranges > 0 && goes_on(f, ino, off, len)))
        return;
    if (f->nranges == FSCK_RANGES_MAX) {
        f->ranges_cut = true;
        return;
    }
    if (f->nranges == f->ranges_cap) {
        f->ranges_cap = f->ranges_cap == 0 ? 16 : 2 * f->ranges_cap;
        f->ranges = c2_realloc(f->ranges, f->ranges_cap, sizeof(*f->ranges));
    }
    f->ranges[f->nranges++] = (struct fsck_range){ .ino = ino, .off = off, .len = len };
}

static int
by_place(const void *left, const void *right)
{
    const struct fsck_range *a = left, *b = right;
    if (a->ino != b->ino)
        return a->ino < b->ino ? -1 : 1;
    return a->off < b->off ? -1 : a->off > b->off;
}

/* They were found object by object. */
static void
sort_ranges(struct fsck *f)
{
    size_t n = 0;
    qsort(f->ranges, f->nranges, sizeof(*f->ranges), by_place);
    for (size_t k = 1; k < f->nranges; k++) {
        struct fsck_range *last = &f->ranges[n], *r = &f->ranges[k];
        if (last->ino == r->ino && r->off <= last->off + last->len)
            last->len = C2_MAX(last->len, r->off + r->len - last->off);
        else
            f->ranges[++n] = *r;
    }
    f->nranges = n + 1;
}

static bool
is_damaged(const struct fsck *f, uint64_t ino)
{
    size_t low = 0, high = f->nranges;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (f->ranges[middle].ino < ino)
            low = middle + 1;
        else
            high = middle;
    }
    return low < f->nranges && f->ranges[low].ino == ino;
}

/* ---- names ---------------------------------------------------------------------------------- */

/* What cannot be read was reported before. */
static bool
read_entry(const struct fsck *f, const struct coord_entry *e, struct fs_dentry_record *rec)
{
    struct c2_buf plain = { 0 };
    enum c2_err err = e->key.len == KEY_DENTRY ? C2_E_OK : C2_E_PARSE;
    if (err == C2_E_OK)
        err = keys_open(f->k->keys, e->key, e->value, &plain);
    struct c2_rd r = c2_rd_init(c2_buf_slice(&plain));
    if (err == C2_E_OK)
        err = fs_dentry_record_decode(&r, rec);
    c2_buf_done(&plain);
    return err == C2_E_OK;
}

static bool
visit_file(struct fsck *f, const struct coord_entry *e)
{
    struct fs_dentry_record rec = { 0 };
    if (!read_entry(f, e, &rec) || !is_damaged(f, rec.ino))
        return true;
    if (f->nnames == f->names_cap) {
        f->names_cap = f->names_cap == 0 ? 16 : 2 * f->names_cap;
        f->names = c2_realloc(f->names, f->names_cap, sizeof(*f->names));
    }
    f->names[f->nnames++] = (struct fsck_name){ .ino = rec.ino,
                                                .dir = c2_get_be64(e->key.data + 1),
                                                .name = c2_strdup(rec.name) };
    return true;
}

static bool
visit_folder(struct fsck *f, const struct coord_entry *e)
{
    struct fs_dentry_record rec = { 0 };
    struct fsck_folder *d = read_entry(f, e, &rec) ? fsck_folder(f, rec.ino) : NULL;
    if (d != NULL && d->mark == ABOVE && d->name == NULL)
        d->name = c2_strdup(rec.name);
    return true;
}

static void
names_found(struct fsck *f, enum c2_err err)
{
    (void)err; /* the walk ends everything when it fails */
    for (size_t k = 0; k < f->nnames; k++) {
        struct fsck_folder *d = fsck_folder(f, f->names[k].dir);
        for (; d != NULL && d->mark != ABOVE; d = fsck_folder(f, d->parent))
            d->mark = ABOVE;
    }
    fsck_walk(f, 'D', NULL, visit_folder, folders_found);
}

/* Of a name, from the root; what is not known on the way is three dots. The caller frees. */
static char *
path_of(struct fsck *f, const struct fsck_name *n)
{
    char *path = c2_asprintf("/%s", n->name);
    uint64_t ino = n->dir;
    for (unsigned depth = 0; ino != FS_ROOT_INO; depth++) {
        const struct fsck_folder *d = fsck_folder(f, ino);
        bool known = d != NULL && d->name != NULL && depth < FSCK_DEPTH_MAX;
        char *longer = c2_asprintf("/%s%s", known ? d->name : "...", path);
        c2_free(path);
        path = longer;
        ino = known ? d->parent : FS_ROOT_INO;
    }
    return path;
}

/* ---- telling -------------------------------------------------------------------------------- */

static void
tell(struct fsck *f, struct fsck_range *ranges, size_t n)
{
    struct fs_fsck *k = f->k;
    bool named = false, aside = true;
    struct fs_fsck_damage damage = { .ino = ranges[0].ino, .nranges = n };
    damage.ranges = ranges;
    for (size_t i = 0; i <= f->nnames; i++) {
        if (i < f->nnames ? f->names[i].ino != damage.ino : named)
            continue;
        char *path = i < f->nnames ? path_of(f, &f->names[i]) : c2_strdup("");
        damage.path = path;
        damage.aside = strncmp(path, LOST_FOUND, strlen(LOST_FOUND)) == 0;
        named = true;
        aside = aside && damage.aside;
        if (k->damaged != NULL)
            k->damaged(k, &damage);
        c2_free(path);
    }
    C2_MARK("fsck: a file is damaged");
    k->counts.damaged++;
    k->counts.aside += aside;
    k->counts.problems += !aside;
    k->counts.lost += !aside;
}

static void
folders_found(struct fsck *f, enum c2_err err)
{
    (void)err;
    for (size_t k = 0, n; k < f->nranges; k += n) {
        for (n = 1; k + n < f->nranges && f->ranges[k + n].ino == f->ranges[k].ino;)
            n++;
        tell(f, &f->ranges[k], n);
    }
    if (f->ranges_cut)
        fsck_problem(f, FSCK_LOST, "more is damaged than is listed");
    fsck_sums_start(f);
}

void
fsck_damage_start(struct fsck *f)
{
    if (f->nranges == 0) {
        fsck_sums_start(f);
        return;
    }
    sort_ranges(f);
    fsck_walk(f, 'D', NULL, visit_file, names_found);
}

void
fsck_damage_free(struct fsck *f)
{
    for (size_t k = 0; k < f->nnames; k++)
        c2_free(f->names[k].name);
    for (size_t k = 0; k < f->nfolders; k++)
        c2_free(f->folders[k].name);
    c2_free(f->names);
    c2_free(f->ranges);
}

/* ---- for a daemon's answer ------------------------------------------------------------------ */

void
fs_fsck_damage_encode(const struct fs_fsck_damage *d, struct c2_buf *out)
{
    c2_wr_u64(out, d->ino);
    c2_wr_u8(out, d->aside);
    c2_wr_bytes(out, c2_slice_str(d->path));
    c2_wr_u32(out, (uint32_t)d->nranges);
    for (size_t k = 0; k < d->nranges; k++) {
        c2_wr_u64(out, d->ranges[k].off);
        c2_wr_u64(out, d->ranges[k].len);
    }
}

C2_RESULT
fs_fsck_damage_decode(struct c2_rd *r, struct fs_fsck_damage *ret_damage)
{
    struct fs_fsck_damage d = { .ino = c2_rd_u64(r) };
    d.aside = c2_rd_u8(r) != 0;
    struct c2_slice path = c2_rd_bytes(r, c2_rd_left(r));
    d.nranges = c2_rd_u32(r);
    if (!c2_rd_ok(r) || d.nranges > c2_rd_left(r) / (2 * sizeof(uint64_t)))
        return C2_E_PARSE;
    struct fsck_range *ranges = c2_calloc(d.nranges + 1, sizeof(*ranges));
    for (size_t k = 0; k < d.nranges; k++) {
        ranges[k].ino = d.ino;
        ranges[k].off = c2_rd_u64(r);
        ranges[k].len = c2_rd_u64(r);
    }
    d.ranges = ranges;
    d.path = c2_strndup((const char *)path.data, path.len);
    *ret_damage = d;
    return C2_E_OK;
}

void
fs_fsck_damage_free(struct fs_fsck_damage *d)
{
    c2_free(d->ranges);
    c2_free(d->path);
}
