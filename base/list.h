/* SPDX-License-Identifier: MIT */
/*
 * Intrusive doubly linked list. A zeroed link is "in no list".
 */
#ifndef C2_BASE_LIST_H
#define C2_BASE_LIST_H

#include "base/base.h"

struct c2_link {
    struct c2_link *next, *prev;
};

struct c2_list {
    struct c2_link head;
    size_t count;
};

static inline void
c2_list_init(struct c2_list *l)
{
    l->head.next = l->head.prev = &l->head;
    l->count = 0;
}

static inline bool
c2_link_linked(const struct c2_link *k)
{
    return k->next != NULL;
}

static inline void
c2_list_insert_before(struct c2_list *l, struct c2_link *at, struct c2_link *k)
{
    C2_ASSERT(!c2_link_linked(k) && at->prev != NULL);
    k->next = at;
    k->prev = at->prev;
    at->prev->next = k;
    at->prev = k;
    l->count++;
}

static inline void
c2_list_append(struct c2_list *l, struct c2_link *k)
{
    c2_list_insert_before(l, &l->head, k);
}

static inline void
c2_list_prepend(struct c2_list *l, struct c2_link *k)
{
    c2_list_insert_before(l, l->head.next, k);
}

static inline void
c2_list_remove(struct c2_list *l, struct c2_link *k)
{
    C2_ASSERT(c2_link_linked(k) && l->count > 0);
    k->prev->next = k->next;
    k->next->prev = k->prev;
    k->next = k->prev = NULL;
    l->count--;
}

static inline bool
c2_list_empty(const struct c2_list *l)
{
    return l->count == 0;
}

/* First or last entry as `type *`, NULL when empty. */
#define C2_LIST_FIRST(l, type, member)                                                             \
    (c2_list_empty(l) ? NULL : C2_CONTAINER_OF((l)->head.next, type, member))
#define C2_LIST_LAST(l, type, member)                                                              \
    (c2_list_empty(l) ? NULL : C2_CONTAINER_OF((l)->head.prev, type, member))

/* The current entry may be removed inside the loop, no other. */
#define C2_LIST_FOREACH(l, type, var, member)                                                      \
    for (struct c2_link *var##_link = (l)->head.next, *var##_next = var##_link->next;              \
         var##_link != &(l)->head; var##_link = var##_next, var##_next = var##_link->next)         \
        for (type *var = C2_CONTAINER_OF(var##_link, type, member); var != NULL; var = NULL)

#endif
