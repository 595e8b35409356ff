/* SPDX-License-Identifier: MIT */
/*
 * From configuration to a ready stack: stats( retry( limit( fault( s3 | dir | mem ) ) ) ).
 */
#ifndef C2_BACKENDS_REGISTRY_H
#define C2_BACKENDS_REGISTRY_H

#include "backends/provider.h"
#include "base/conf.h"

struct c2_os;

/*
 * Builds the stack of [provider "name"]. `os` is needed for s3: (sockets live on its loop); it may
 * be NULL for dir: and mem:. On failure ret_error, if not NULL, gets a sentence for people
 * (caller frees with c2_free): what is wrong and what to type.
 */
C2_RESULT prov_open(struct c2_env *env, struct c2_os *os, const struct c2_conf *conf,
                    const char *name, struct provider **ret_provider, char **ret_error);

/* Bare constructors, for tests and for stacks built by hand. */
struct provider *prov_mem_new(struct c2_env *env, const char *name);
struct provider *prov_dir_new(struct c2_env *env, const char *name, const char *path);
/* Each takes ownership of inner. */
struct provider *prov_stats_new(struct provider *inner);
struct provider *prov_retry_new(struct provider *inner, unsigned attempts_max, uint64_t backoff_ns,
                                uint64_t backoff_max_ns);
struct provider *prov_limit_new(struct provider *inner, unsigned in_flight_max, size_t queue_max,
                                uint64_t bytes_per_s); /* 0 = unlimited */
/* spec: "error:5%,delay:200ms,hang,corrupt:1%,absent:2%,empty,throttle:10%,lie:1%", see
 * docs/operations.md. "" = pass through; can be changed while running. */
C2_RESULT prov_fault_new(struct provider *inner, const char *spec, uint64_t seed,
                         struct provider **ret_provider);
C2_RESULT prov_fault_set(struct provider *fault_layer, const char *spec);
/* How many faults of any kind were injected so far. */
uint64_t prov_fault_count(const struct provider *fault_layer);

#endif
