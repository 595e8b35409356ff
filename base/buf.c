/* SPDX-License-Identifier: MIT */
/*
 * Slices, growing buffers and shared blobs. A buffer doubles, so appending is linear overall.
 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

#define BUF_CAP_MIN ((size_t)64)

struct c2_slice
c2_slice_str(const char *s)
{
    return c2_slice(s, strlen(s));
}

bool
c2_slice_equal(struct c2_slice a, struct c2_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

int
c2_slice_compare(struct c2_slice a, struct c2_slice b)
{
    size_t common = C2_MIN(a.len, b.len);
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    if (order != 0)
        return order < 0 ? -1 : 1;
    return (a.len > b.len) - (a.len < b.len);
}

bool
c2_slice_starts_with(struct c2_slice s, struct c2_slice prefix)
{
    return s.len >= prefix.len && c2_slice_equal(c2_slice(s.data, prefix.len), prefix);
}

void
c2_buf_done(struct c2_buf *b)
{
    c2_free(b->data);
    *b = (struct c2_buf){ 0 };
}

void
c2_buf_clear(struct c2_buf *b)
{
    b->len = 0;
}

void
c2_buf_reserve(struct c2_buf *b, size_t extra)
{
    C2_ASSERT(extra <= SIZE_MAX / 2 && b->len <= SIZE_MAX / 2);
    size_t need = b->len + extra;
    if (need <= b->cap)
        return;
    size_t cap = C2_MAX(C2_MAX(b->cap * 2, need), BUF_CAP_MIN);
    b->data = c2_realloc(b->data, cap, 1);
    b->cap = cap;
}

uint8_t *
c2_buf_extend(struct c2_buf *b, size_t len)
{
    c2_buf_reserve(b, C2_MAX(len, (size_t)1));
    uint8_t *start = b->data + b->len;
    b->len += len;
    return start;
}

void
c2_buf_append(struct c2_buf *b, const void *data, size_t len)
{
    if (len == 0)
        return;
    memcpy(c2_buf_extend(b, len), data, len);
}

void
c2_buf_printf(struct c2_buf *b, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    C2_ASSERT(n >= 0);
    size_t len = (size_t)n;
    c2_buf_reserve(b, len + 1);
    vsnprintf((char *)b->data + b->len, len + 1, fmt, again);
    va_end(again);
    b->len += len;
}

void
c2_buf_puts(struct c2_buf *b, const char *s)
{
    c2_buf_append(b, s, strlen(s));
}

struct c2_slice
c2_buf_slice(const struct c2_buf *b)
{
    return c2_slice(b->data, b->len);
}

const char *
c2_buf_cstr(struct c2_buf *b)
{
    c2_buf_reserve(b, 1);
    b->data[b->len] = '\0';
    return (const char *)b->data;
}

struct c2_blob *
c2_blob_new(size_t len)
{
    struct c2_blob *b = c2_calloc(1, sizeof(*b));
    b->data = c2_alloc_aligned(len);
    b->len = b->cap = len;
    b->refs = 1;
    return b;
}

struct c2_blob *
c2_blob_copy(const void *data, size_t len)
{
    struct c2_blob *b = c2_blob_new(len);
    if (len > 0)
        memcpy(b->data, data, len);
    return b;
}

bool
c2_blob_is_shared(const struct c2_blob *b)
{
    return __atomic_load_n(&b->refs, __ATOMIC_ACQUIRE) > 1;
}

struct c2_blob *
c2_blob_ref(struct c2_blob *b)
{
    if (b != NULL) {
        uint32_t before = __atomic_fetch_add(&b->refs, 1, __ATOMIC_RELAXED);
        C2_ASSERT(before > 0 && before < UINT32_MAX);
    }
    return b;
}

void
c2_blob_unref(struct c2_blob *b)
{
    if (b == NULL)
        return;
    /* Release: our writes happen before the free; acquire: the last one sees everybody's. */
    uint32_t before = __atomic_fetch_sub(&b->refs, 1, __ATOMIC_ACQ_REL);
    C2_ASSERT(before > 0);
    if (before == 1) {
        c2_free(b->data);
        c2_free(b);
    }
}

struct c2_slice
c2_blob_slice(const struct c2_blob *b)
{
    return c2_slice(b->data, b->len);
}
