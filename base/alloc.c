/* SPDX-License-Identifier: MIT */
/*
 * Allocation that cannot fail: it aborts with a message. Everything here goes through malloc's
 * family, so one c2_free fits all (secrets excepted, see crypto.c).
 */
#include "base/alloc.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/base.h"

#define ALIGNMENT      ((size_t)64)
#define LARGE_PAGE     ((size_t)2 << 20)
#define MMAP_THRESHOLD (256 << 10)
#define TRIM_THRESHOLD (8 << 20)
#define ARENAS_MAX     2

C2_NORETURN static void
out_of_memory(size_t count, size_t size)
{
    fprintf(stderr, "c2fs: out of memory: %zu x %zu bytes cannot be allocated; aborting\n", count,
            size);
    abort();
}

void *
c2_alloc(size_t size)
{
    void *p = malloc(size == 0 ? 1 : size);
    if (p == NULL)
        out_of_memory(1, size);
    return p;
}

void *
c2_calloc(size_t count, size_t size)
{
    void *p = calloc(count == 0 ? 1 : count, size == 0 ? 1 : size);
    if (p == NULL)
        out_of_memory(count, size);
    return p;
}

void *
c2_realloc(void *ptr, size_t count, size_t size)
{
    bool empty = count == 0 || size == 0;
    void *p = reallocarray(ptr, empty ? 1 : count, empty ? 1 : size);
    if (p == NULL)
        out_of_memory(count, size);
    return p;
}

/* What holds a whole share or object gets large pages where the system has them: the faults of
 * 1,024 small ones take as long as hashing what is in them. */
void *
c2_alloc_aligned(size_t size)
{
    if (size > SIZE_MAX - LARGE_PAGE)
        out_of_memory(1, size);
    size_t rounded = size == 0 ? ALIGNMENT : (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    void *p = NULL;
    if (posix_memalign(&p, size >= LARGE_PAGE ? LARGE_PAGE : ALIGNMENT, rounded) != 0)
        out_of_memory(1, size);
    if (size >= LARGE_PAGE)
        (void)madvise(p, size / LARGE_PAGE * LARGE_PAGE, MADV_HUGEPAGE);
    return p;
}

char *
c2_strndup(const char *s, size_t len)
{
    /* An empty slice may have no address. */
    size_t n = len == 0 ? 0 : strnlen(s, len);
    char *p = c2_alloc(n + 1);
    if (n > 0)
        memcpy(p, s, n);
    p[n] = '\0';
    return p;
}

char *
c2_strdup(const char *s)
{
    return c2_strndup(s, strlen(s));
}

char *
c2_asprintf(const char *fmt, ...)
{
    char *p = NULL;
    va_list args;
    va_start(args, fmt);
    int n = vasprintf(&p, fmt, args);
    va_end(args);
    if (n < 0)
        out_of_memory(1, strlen(fmt));
    return p;
}

void
c2_alloc_init(void)
{
    /* glibc raises its threshold to 32 MiB by itself when large blocks are freed; objects of 8 MiB
     * then fragment the heap: 900 MiB were seen where 150 are in use. */
    (void)mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
    (void)mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD);
    (void)mallopt(M_ARENA_MAX, ARENAS_MAX);
}

void
c2_free(void *ptr)
{
    free(ptr);
}

void
c2_free_auto(void *ptr_to_ptr)
{
    void *p;
    memcpy(&p, ptr_to_ptr, sizeof(p));
    free(p);
}
