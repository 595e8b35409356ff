/* SPDX-License-Identifier: MIT */
/*
 * Allocation with owners, see life.h. A block is a header and then the memory; memory of the world
 * itself is in no list and is left to the leak checker.
 *
 * Defines all of base/alloc.h: the linker therefore never takes alloc.o from the archive. The
 * secret arena is replaced by --wrap, because it lives in crypto.o.
 */
#include "tests/sim/life.h"

#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER 64u

struct block {
    struct c2_link link; /* in life->blocks */
    struct sim_life *life;
    size_t size;
};

_Static_assert(sizeof(struct block) <= HEADER, "the header has room for a block");

static struct sim_life *current;

void
sim_life_init(struct sim_life *l)
{
    c2_list_init(&l->blocks);
    l->bytes = 0;
}

struct sim_life *
sim_life_enter(struct sim_life *l)
{
    struct sim_life *before = current;
    current = l;
    return before;
}

void
sim_life_leave(struct sim_life *before)
{
    current = before;
}

static void *
adopt(void *raw, size_t size)
{
    C2_ASSERT(raw != NULL);
    struct block *b = raw;
    memset(b, 0, sizeof *b);
    b->life = current;
    b->size = size;
    if (current != NULL) {
        c2_list_append(&current->blocks, &b->link);
        current->bytes += size;
    }
    return (uint8_t *)raw + HEADER;
}

static struct block *
block_of(void *ptr)
{
    return (struct block *)(void *)((uint8_t *)ptr - HEADER);
}

void
c2_free(void *ptr)
{
    if (ptr == NULL)
        return;
    struct block *b = block_of(ptr);
    if (b->life != NULL) {
        b->life->bytes -= b->size;
        c2_list_remove(&b->life->blocks, &b->link);
    }
    free(b);
}

void
sim_life_drop(struct sim_life *l)
{
    C2_LIST_FOREACH (&l->blocks, struct block, b, link) {
        c2_list_remove(&l->blocks, &b->link);
        free(b);
    }
    l->bytes = 0;
}

void *
c2_alloc(size_t size)
{
    C2_ASSERT(size < SIZE_MAX - HEADER);
    return adopt(malloc(size + HEADER), size);
}

void *
c2_calloc(size_t count, size_t size)
{
    size_t bytes = 0;
    C2_ASSERT(!__builtin_mul_overflow(count, size, &bytes));
    C2_ASSERT(bytes < SIZE_MAX - HEADER);
    return adopt(calloc(1, bytes + HEADER), bytes);
}

/* The block stays with its owner, whoever is current. */
void *
c2_realloc(void *ptr, size_t count, size_t size)
{
    size_t bytes = 0;
    C2_ASSERT(!__builtin_mul_overflow(count, size, &bytes));
    struct sim_life *before = current;
    if (ptr != NULL)
        current = block_of(ptr)->life;
    void *p = c2_alloc(bytes);
    current = before;
    if (ptr != NULL)
        memcpy(p, ptr, C2_MIN(bytes, block_of(ptr)->size));
    c2_free(ptr);
    return p;
}

void *
c2_alloc_aligned(size_t size)
{
    C2_ASSERT(size < SIZE_MAX - 2 * HEADER);
    size_t rounded = (C2_MAX(size, (size_t)1) + HEADER - 1) / HEADER * HEADER;
    return adopt(aligned_alloc(HEADER, rounded + HEADER), rounded);
}

char *
c2_strndup(const char *s, size_t len)
{
    size_t n = strnlen(s, len);
    char *p = c2_alloc(n + 1);
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
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    C2_ASSERT(n >= 0);
    char *p = c2_alloc((size_t)n + 1);
    va_start(args, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, args);
    va_end(args);
    return p;
}

/* Nothing here grows large. */
void
c2_alloc_init(void)
{
}

void
c2_free_auto(void *ptr_to_ptr)
{
    void *p;
    memcpy(&p, ptr_to_ptr, sizeof p);
    c2_free(p);
}

void *__wrap_c2_secret_alloc(size_t size);
void __wrap_c2_secret_free(void *ptr, size_t size);

void *
__wrap_c2_secret_alloc(size_t size)
{
    return c2_calloc(1, size);
}

void
__wrap_c2_secret_free(void *ptr, size_t size)
{
    if (ptr == NULL)
        return;
    C2_ASSERT(block_of(ptr)->size == size);
    c2_wipe(ptr, size);
    c2_free(ptr);
}
