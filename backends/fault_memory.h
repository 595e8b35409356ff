/* SPDX-License-Identifier: MIT */
/*
 * What objects were before they were overwritten or deleted, for the fault `stale`. Bounded: the
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
/* Borrowed; NULL when nothing is known. */
const struct c2_blob *fault_memory_find(const struct fault_memory *m, const char *key);
/* The oldest version of a key stays. Takes a reference of its own. */
void fault_memory_add(struct fault_memory *m, const char *key, struct c2_blob *body);

#endif
