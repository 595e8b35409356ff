/* SPDX-License-Identifier: MIT */
/*
 * The old objects of fault_memory.h.
 */
#include "backends/fault_memory.h"

#include "base/alloc.h"

#include <string.h>

struct old_object {
    struct c2_map_node node;
    struct c2_link link;
    char *key;            /* owned */
    struct c2_blob *body; /* one reference; NULL = there was none */
};

static size_t
bytes_of(const struct c2_blob *body)
{
    return body == NULL ? 0 : body->len;
}

void
fault_memory_init(struct fault_memory *m, uint64_t seed)
{
    c2_map_init(&m->by_key, seed);
    c2_list_init(&m->by_age);
    m->bytes = 0;
}

static void
forget_oldest(struct fault_memory *m)
{
    struct old_object *o = C2_LIST_FIRST(&m->by_age, struct old_object, link);
    C2_ASSERT(o != NULL);
    c2_map_remove(&m->by_key, &o->node);
    c2_list_remove(&m->by_age, &o->link);
    m->bytes -= bytes_of(o->body);
    c2_blob_unref(o->body);
    c2_free(o->key);
    c2_free(o);
}

void
fault_memory_clear(struct fault_memory *m)
{
    while (!c2_list_empty(&m->by_age))
        forget_oldest(m);
}

void
fault_memory_done(struct fault_memory *m)
{
    fault_memory_clear(m);
    c2_map_done(&m->by_key);
}

bool
fault_memory_find(const struct fault_memory *m, const char *key, const struct c2_blob **ret_body)
{
    struct c2_map_node *n =
        c2_map_find(&m->by_key, c2_map_hash_bytes(&m->by_key, c2_slice_str(key)));
    for (; n != NULL; n = c2_map_find_next(n)) {
        const struct old_object *o = C2_CONTAINER_OF(n, struct old_object, node);
        if (strcmp(o->key, key) != 0)
            continue;
        *ret_body = o->body;
        return true;
    }
    return false;
}

bool
fault_memory_has(const struct fault_memory *m, const char *key)
{
    const struct c2_blob *body;
    return fault_memory_find(m, key, &body);
}

void
fault_memory_add(struct fault_memory *m, const char *key, struct c2_blob *body)
{
    if (bytes_of(body) > FAULT_MEMORY_BYTES_MAX || fault_memory_has(m, key))
        return;
    struct old_object *o = c2_calloc(1, sizeof *o);
    o->key = c2_strdup(key);
    o->body = body == NULL ? NULL : c2_blob_ref(body);
    o->node.hash = c2_map_hash_bytes(&m->by_key, c2_slice_str(key));
    c2_map_insert(&m->by_key, &o->node);
    c2_list_append(&m->by_age, &o->link);
    m->bytes += bytes_of(body);
    while (m->by_age.count > FAULT_MEMORY_OBJECTS_MAX || m->bytes > FAULT_MEMORY_BYTES_MAX)
        forget_oldest(m);
}
