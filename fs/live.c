/* SPDX-License-Identifier: MIT */
#include "fs/live.h"

#include "base/alloc.h"
#include "fs/manifest.h"

void
fs_live_init(struct fs_live *l)
{
    c2_map_init(&l->by_object, 0); /* keys are addresses, not anybody's choice */
    c2_list_init(&l->changes);
}

void
fs_live_forget(struct fs_live *l, struct fs_live_change *c)
{
    c2_list_remove(&l->changes, &c->link);
    c2_map_remove(&l->by_object, &c->node);
    fs_source_unref(&c->object->source);
    c2_free(c);
}

void
fs_live_done(struct fs_live *l)
{
    C2_LIST_FOREACH (&l->changes, struct fs_live_change, c, link) {
        fs_live_forget(l, c);
    }
    c2_map_done(&l->by_object);
}

static struct fs_live_change *
change_of(struct fs_live *l, struct fs_object *o)
{
    uint64_t hash = c2_map_hash_u64(&l->by_object, (uint64_t)(uintptr_t)o);
    for (struct c2_map_node *n = c2_map_find(&l->by_object, hash); n != NULL;
         n = c2_map_find_next(n)) {
        struct fs_live_change *c = C2_CONTAINER_OF(n, struct fs_live_change, node);
        if (c->object == o)
            return c;
    }
    struct fs_live_change *c = c2_calloc(1, sizeof(*c));
    c->object = o;
    fs_source_ref(&o->source);
    c->node.hash = hash;
    c2_map_insert(&l->by_object, &c->node);
    c2_list_append(&l->changes, &c->link);
    return c;
}

void
fs_live_add(struct fs_live *l, struct fs_object *o, int64_t bytes)
{
    change_of(l, o)->bytes += bytes;
}

static void
count(struct fs_live *l, const struct fs_extent *e, int sign)
{
    uint64_t off;
    if (e->source == NULL)
        return;
    struct fs_source *s = fs_extent_source(e, &off);
    C2_ASSERT(s->kind == FS_SOURCE_OBJECT);
    struct fs_object *o = C2_CONTAINER_OF(s, struct fs_object, source);
    if (!fs_object_is_nowhere(o))
        fs_live_add(l, o, sign * (int64_t)e->len);
}

static void
gained(void *arg, const struct fs_extent *e)
{
    count(arg, e, 1);
}

static void
lost(void *arg, const struct fs_extent *e)
{
    count(arg, e, -1);
}

void
fs_live_content(struct fs_live *l, const struct fs_map *from, const struct fs_map *to)
{
    fs_map_diff(from, to, gained, l);
    fs_map_diff(to, from, lost, l);
}

void
fs_live_leaves(struct fs_live *l, const struct fs_manifest *m, int sign)
{
    for (size_t k = 0; m != NULL && k < m->nleaves; k++) {
        struct fs_extent e = { .len = m->leaves[k].len,
                               .source = m->leaves[k].source,
                               .source_off = m->leaves[k].source_off };
        count(l, &e, sign);
    }
}
