/* SPDX-License-Identifier: MIT */
/*
 * Memory. Every queue, cache and message has a named limit, so an allocation that fails is the
 * machine failing, not the request: these functions never return NULL, they abort with a message.
 * A crash at any instruction is safe (the journal is replayed), a half-handled NULL is not.
 * Sizes that come from outside must be bounded by the caller before they get here.
 */
#ifndef C2_BASE_ALLOC_H
#define C2_BASE_ALLOC_H

#include <stddef.h>

/* Uninitialised; size 0 gives a unique pointer. Free with c2_free. */
__attribute__((malloc, returns_nonnull)) void *c2_alloc(size_t size);
/* Zeroed; the product is checked for overflow. */
__attribute__((malloc, returns_nonnull)) void *c2_calloc(size_t count, size_t size);
__attribute__((returns_nonnull)) void *c2_realloc(void *ptr, size_t count, size_t size);
/* 64-byte aligned, as the erasure coders want it; size is rounded up to 64. Free with c2_free. */
__attribute__((malloc, returns_nonnull)) void *c2_alloc_aligned(size_t size);
__attribute__((malloc, returns_nonnull)) char *c2_strdup(const char *s);
__attribute__((malloc, returns_nonnull)) char *c2_strndup(const char *s, size_t len);
__attribute__((malloc, returns_nonnull, format(printf, 1, 2))) char *c2_asprintf(const char *fmt,
                                                                                 ...);
/* c2_os_new calls it, before there are threads: large blocks come from and go back to the system,
 * so that memory follows what is in use and not its peak. */
void c2_alloc_init(void);
/* NULL is fine. */
void c2_free(void *ptr);
/* Frees the pointer a variable holds, for C2_AUTO(c2_free_auto). */
void c2_free_auto(void *ptr_to_ptr);

/* Allocates in the locked, non-dumpable arena for keys; zeroed. */
__attribute__((malloc, returns_nonnull)) void *c2_secret_alloc(size_t size);
/* Wipes and frees; NULL is fine. */
void c2_secret_free(void *ptr, size_t size);
/* Overwrites memory in a way the compiler keeps. */
void c2_wipe(void *ptr, size_t size);

#endif
