/* SPDX-License-Identifier: MIT */
/*
 * What objects were before they were written or deleted, for the fault `stale`. Bounded: the
 * entries that are in it longest go first.
 */
#ifndef C2_BACKENDS_FAULT_MEMORY_H
#define C2_BACKENDS_FAULT_MEMORY_H

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"

#define FAULT_MEMORY_OBJECTS_MAX 1024
#define FAULT_MEMORY_BYTES_MAX   ((size_t)64 << 20)

struct fault_memory {
    struct c2_map by_key;
    struct c2_list by_age;
    size_t bytes;
};

void fault_memory_init(struct fault_memory *m, uint64_t seed);
void fault_memory_done(struct fault_memory *m);
void fault_memory_clear(struct fault_memory *m);
/* False when nothing is known. The body is borrowed; NULL = there was no such object. */
bool fault_memory_find(const struct fault_memory *m, const char *key,
                       const struct c2_blob **ret_body);
bool fault_memory_has(const struct fault_memory *m, const char *key);
/* The oldest version of a key stays. Takes a reference of its own; NULL = there was none. */
void fault_memory_add(struct fault_memory *m, const char *key, struct c2_blob *body);

#endif
