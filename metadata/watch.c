/* SPDX-License-Identifier: MIT */
/*
 * Delivery walks the list by the `next` pointer, which removal keeps valid, so that callbacks may
 * change the list in any way.
 */
#include "metadata/watch.h"

#include "base/wire.h"

void
watch_list_init(struct watch_list *l)
{
    c2_list_init(&l->watches);
    l->next = NULL;
}

void
watch_list_add(struct watch_list *l, struct coord_watch *w)
{
    c2_list_append(&l->watches, &w->link);
}

void
watch_list_remove(struct watch_list *l, struct coord_watch *w)
{
    if (l->next == &w->link)
        l->next = w->link.next;
    c2_list_remove(&l->watches, &w->link);
}

void
watch_list_clear(struct watch_list *l)
{
    C2_LIST_FOREACH (&l->watches, struct coord_watch, w, link)
        watch_list_remove(l, w);
}

static void
deliver_one(struct watch_list *l, struct c2_slice key, uint64_t version, bool deleted)
{
    struct c2_link *end = &l->watches.head;
    for (struct c2_link *at = end->next; at != end; at = l->next) {
        struct coord_watch *w = C2_CONTAINER_OF(at, struct coord_watch, link);
        l->next = at->next;
        if (c2_slice_starts_with(key, w->prefix))
            w->event(w, key, version, deleted);
    }
}

static void
deliver_reload(struct watch_list *l)
{
    struct c2_link *end = &l->watches.head;
    for (struct c2_link *at = end->next; at != end; at = l->next) {
        struct coord_watch *w = C2_CONTAINER_OF(at, struct coord_watch, link);
        l->next = at->next;
        w->reload(w);
    }
}

void
watch_list_deliver(struct watch_list *l, struct c2_slice events, bool lost)
{
    if (lost) {
        deliver_reload(l);
        return;
    }
    struct c2_rd r = c2_rd_init(events);
    while (c2_rd_left(&r) > 0 && !c2_list_empty(&l->watches)) {
        uint64_t version = c2_rd_u64(&r);
        bool deleted = c2_rd_u8(&r) != 0;
        struct c2_slice key = c2_rd_bytes(&r, COORD_KEY_MAX);
        C2_ASSERT(c2_rd_ok(&r)); /* our own store wrote them */
        deliver_one(l, key, version, deleted);
    }
}
