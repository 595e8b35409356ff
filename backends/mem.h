/* SPDX-License-Identifier: MIT */
/*
 * Looking into and tampering with the objects of a mem: provider, for tests. Private to backends/
 * and tests. Every function takes the provider itself or any stack above it.
 */
#ifndef C2_BACKENDS_MEM_H
#define C2_BACKENDS_MEM_H

#include "backends/provider.h"

/* A second provider on the same objects, seen from another node's environment. */
struct provider *prov_mem_share(struct provider *p, struct c2_env *env, const char *name);

size_t prov_mem_count(struct provider *p);
/* In byte order; NULL at and after the end. Borrowed until the next change. */
const char *prov_mem_key(struct provider *p, size_t index);
/* The stored bytes, or NULL. Borrowed until the next change. */
const struct c2_blob *prov_mem_peek(struct provider *p, const char *key);
/* Requests of a verb that arrived at this provider. */
uint64_t prov_mem_requests(struct provider *p, enum prov_verb verb);

/* Adds or replaces. */
void prov_mem_store(struct provider *p, const char *key, struct c2_slice body);
/* Inverts one byte; the object must be longer than offset. */
void prov_mem_corrupt(struct provider *p, const char *key, size_t offset);
/* Cuts to len bytes; the object must be at least as long. */
void prov_mem_truncate(struct provider *p, const char *key, size_t len);
/* False when it was absent. */
bool prov_mem_delete(struct provider *p, const char *key);
void prov_mem_clear(struct provider *p);

/* Each request takes latency_ns plus up to jitter_ns; latency C2_NEVER = it hangs until its
 * deadline or until it is canceled. Requests that are under way keep their time. */
void prov_mem_set_latency(struct provider *p, uint64_t latency_ns, uint64_t jitter_ns);
/* Without support, if_absent is ignored and a PUT overwrites. Only on the provider itself, before
 * it is wrapped. */
void prov_mem_set_if_absent(struct provider *p, bool supported);

#endif
