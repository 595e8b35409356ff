/* SPDX-License-Identifier: MIT */
#include "tools/damaged.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/wire.h"

#define LOST_FOUND  "/lost+found"
#define SAME_NAMES  1000 /* links of one name in different folders */
#define RANGES_TOLD 4    /* of a file, to people */

C2_RESULT
damaged_decode(struct c2_slice in, struct damaged_list *ret_list)
{
    struct damaged_list l = { 0 };
    struct c2_rd r = c2_rd_init(in);
    enum c2_err err = C2_E_OK;
    while (err == C2_E_OK && c2_rd_left(&r) > 0) {
        struct damaged d = { 0 };
        err = fs_fsck_damage_decode(&r, &d.damage);
        if (err != C2_E_OK)
            break;
        l.e = c2_realloc(l.e, l.n + 1, sizeof(*l.e));
        l.e[l.n++] = d;
    }
    if (err != C2_E_OK)
        damaged_done(&l);
    else
        *ret_list = l;
    return err;
}

void
damaged_done(struct damaged_list *l)
{
    for (size_t k = 0; k < l->n; k++) {
        fs_fsck_damage_free(&l->e[k].damage);
        c2_free(l->e[k].moved_to);
    }
    c2_free(l->e);
    *l = (struct damaged_list){ 0 };
}

/* ---- setting aside -------------------------------------------------------------------------- */

/* The n-th place for a file, from the root of the volume. The caller frees. */
static char *
place_for(const struct fs_fsck_damage *d, unsigned n)
{
    const char *name = strrchr(d->path, '/') + 1;
    char *number = n == 0 ? c2_asprintf("#%llu", (unsigned long long)d->ino)
                          : c2_asprintf("#%llu.%u", (unsigned long long)d->ino, n);
    bool fits = strlen(number) + 1 + strlen(name) <= NAME_MAX;
    char *place = c2_asprintf(LOST_FOUND "/%s%s%s", number, fits ? " " : "", fits ? name : "");
    c2_free(number);
    return place;
}

static void
set_aside(struct damaged *x, const char *mountpoint)
{
    const struct fs_fsck_damage *d = &x->damage;
    struct stat st;
    char *from = c2_asprintf("%s%s", mountpoint, d->path);
    int err_no = lstat(from, &st) == 0 ? 0 : errno;
    if (err_no == 0 && st.st_ino != d->ino)
        x->why = "another file has its name now";
    for (unsigned n = 0; err_no == 0 && x->why == NULL && x->moved_to == NULL; n++) {
        char *place = place_for(d, n), *to = c2_asprintf("%s%s", mountpoint, place);
        err_no = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0 ? 0 : errno;
        if (err_no == 0)
            x->moved_to = place;
        else
            c2_free(place);
        c2_free(to);
        if (err_no == EEXIST && n < SAME_NAMES)
            err_no = 0;
    }
    if (err_no != 0)
        x->why = strerror(err_no);
    c2_free(from);
}

void
damaged_set_aside(struct damaged_list *l, const char *mountpoint)
{
    char *folder = c2_asprintf("%s" LOST_FOUND, mountpoint);
    int err_no = l->n == 0 || mkdir(folder, 0700) == 0 ? 0 : errno;
    for (size_t k = 0; k < l->n; k++) {
        struct damaged *x = &l->e[k];
        if (x->damage.aside || x->damage.path[0] == '\0')
            continue;
        if (err_no != 0 && err_no != EEXIST)
            x->why = strerror(err_no);
        else
            set_aside(x, mountpoint);
    }
    c2_free(folder);
}

/* ---- telling -------------------------------------------------------------------------------- */

/* Without what would move a terminal's cursor. */
static void
put_path(const char *path)
{
    for (; *path != '\0'; path++)
        (void)putchar((unsigned char)*path < ' ' || *path == 0x7f ? '?' : *path);
}

static void
put_ranges(const struct fs_fsck_damage *d)
{
    uint64_t bytes = 0;
    char size[C2_SIZE_TEXT_MAX];
    for (size_t k = 0; k < d->nranges; k++)
        bytes += d->ranges[k].len;
    (void)printf("%s cannot be read any more: bytes ", c2_size_format(bytes, size));
    for (size_t k = 0; k < C2_MIN(d->nranges, (size_t)RANGES_TOLD); k++)
        (void)printf("%s%llu-%llu", k == 0 ? "" : ", ", (unsigned long long)d->ranges[k].off,
                     (unsigned long long)(d->ranges[k].off + d->ranges[k].len - 1));
    if (d->nranges > RANGES_TOLD)
        (void)printf(" and %zu more ranges", d->nranges - RANGES_TOLD);
}

void
damaged_print(const struct damaged_list *l)
{
    for (size_t k = 0; k < l->n; k++) {
        const struct damaged *x = &l->e[k];
        if (x->damage.path[0] == '\0')
            (void)printf("inode %llu, which has no name", (unsigned long long)x->damage.ino);
        put_path(x->damage.path);
        (void)printf(": ");
        put_ranges(&x->damage);
        (void)printf("\n");
        if (x->moved_to != NULL) {
            (void)printf("    moved to ");
            put_path(x->moved_to);
            (void)printf("\n");
        }
        if (x->why != NULL)
            (void)printf("    not moved: %s\n", x->why);
    }
}

void
damaged_json(const struct damaged_list *l, struct c2_json *j)
{
    c2_json_array(j, "damaged");
    for (size_t k = 0; k < l->n; k++) {
        const struct damaged *x = &l->e[k];
        c2_json_object(j, NULL);
        c2_json_str(j, "path", x->damage.path[0] == '\0' ? NULL : x->damage.path);
        c2_json_u64(j, "inode", x->damage.ino);
        c2_json_bool(j, "set_aside", x->damage.aside || x->moved_to != NULL);
        c2_json_str(j, "moved_to", x->moved_to);
        c2_json_str(j, "error", x->why);
        c2_json_array(j, "ranges");
        for (size_t n = 0; n < x->damage.nranges; n++) {
            c2_json_object(j, NULL);
            c2_json_u64(j, "offset", x->damage.ranges[n].off);
            c2_json_u64(j, "length", x->damage.ranges[n].len);
            c2_json_object_end(j);
        }
        c2_json_array_end(j);
        c2_json_object_end(j);
    }
    c2_json_array_end(j);
}
