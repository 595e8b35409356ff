/* SPDX-License-Identifier: MIT */
/*
 * Binary heap; a timer's heap_index is its place plus one, so that a zeroed timer is idle.
 */
#include "base/timers.h"

#include "base/alloc.h"

void
c2_timers_done(struct c2_timers *h)
{
    c2_free(h->heap);
    *h = (struct c2_timers){ 0 };
}

static void
put(struct c2_timers *h, size_t at, struct c2_timer *t)
{
    h->heap[at] = t;
    t->heap_index = at + 1;
}

static void
sift_up(struct c2_timers *h, size_t at, struct c2_timer *t)
{
    while (at > 0 && h->heap[(at - 1) / 2]->deadline_ns > t->deadline_ns) {
        put(h, at, h->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(h, at, t);
}

static void
sift_down(struct c2_timers *h, size_t at, struct c2_timer *t)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= h->count)
            break;
        if (child + 1 < h->count && h->heap[child + 1]->deadline_ns < h->heap[child]->deadline_ns)
            child++;
        if (h->heap[child]->deadline_ns >= t->deadline_ns)
            break;
        put(h, at, h->heap[child]);
        at = child;
    }
    put(h, at, t);
}

void
c2_timers_arm(struct c2_timers *h, struct c2_timer *t, uint64_t deadline_ns)
{
    c2_timers_stop(h, t);
    if (h->count == h->cap) {
        h->cap = C2_MAX(h->cap * 2, (size_t)16);
        h->heap = c2_realloc(h->heap, h->cap, sizeof(struct c2_timer *));
    }
    t->deadline_ns = deadline_ns;
    h->count++;
    sift_up(h, h->count - 1, t);
}

void
c2_timers_stop(struct c2_timers *h, struct c2_timer *t)
{
    if (t->heap_index == 0)
        return;
    size_t at = t->heap_index - 1;
    C2_ASSERT(at < h->count && h->heap[at] == t);
    t->heap_index = 0;
    struct c2_timer *last = h->heap[--h->count];
    if (last == t)
        return;
    if (at > 0 && h->heap[(at - 1) / 2]->deadline_ns > last->deadline_ns)
        sift_up(h, at, last);
    else
        sift_down(h, at, last);
}

struct c2_timer *
c2_timers_first(const struct c2_timers *h)
{
    return h->count == 0 ? NULL : h->heap[0];
}
