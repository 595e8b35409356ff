/* SPDX-License-Identifier: MIT */
/*
 * Three ways to hold bytes:
 *   c2_slice  borrowed: pointer and length, valid as long as its owner says
 *   c2_buf    owned and growing: build something, then hand it over or free it
 *   c2_blob   immutable once filled, reference-counted, 64-byte aligned: large data on its way
 *             through the layers. The count is atomic, because pool jobs hold references too.
 */
#ifndef C2_BASE_BUF_H
#define C2_BASE_BUF_H

#include "base/base.h"

struct c2_slice {
    const uint8_t *data; /* borrowed */
    size_t len;
};

static inline struct c2_slice
c2_slice(const void *data, size_t len)
{
    return (struct c2_slice){ .data = data, .len = len };
}

/* Of a zero-terminated string, without the zero. */
struct c2_slice c2_slice_str(const char *s);
bool c2_slice_equal(struct c2_slice a, struct c2_slice b);
/* memcmp order, a shorter prefix first. */
int c2_slice_compare(struct c2_slice a, struct c2_slice b);
bool c2_slice_starts_with(struct c2_slice s, struct c2_slice prefix);

struct c2_buf {
    uint8_t *data; /* owned */
    size_t len;
    size_t cap;
};

/* A zeroed c2_buf is a valid empty one. */
void c2_buf_done(struct c2_buf *b);
void c2_buf_clear(struct c2_buf *b); /* keeps the memory */
void c2_buf_reserve(struct c2_buf *b, size_t extra);
void c2_buf_append(struct c2_buf *b, const void *data, size_t len);
/* Appends len uninitialised bytes and returns where they start. */
uint8_t *c2_buf_extend(struct c2_buf *b, size_t len);
void c2_buf_printf(struct c2_buf *b, const char *fmt, ...) C2_PRINTF(2, 3);
void c2_buf_puts(struct c2_buf *b, const char *s);
struct c2_slice c2_buf_slice(const struct c2_buf *b);
/* The text so far, zero-terminated; valid until the next change. */
const char *c2_buf_cstr(struct c2_buf *b);

struct c2_blob {
    uint8_t *data; /* owned, 64-byte aligned */
    size_t len;    /* the filler may lower it before the blob is shared, never after */
    size_t cap;
    uint32_t refs; /* atomic */
};

/* len uninitialised bytes, one reference. */
struct c2_blob *c2_blob_new(size_t len);
struct c2_blob *c2_blob_copy(const void *data, size_t len);
struct c2_blob *c2_blob_ref(struct c2_blob *b); /* returns b; NULL is fine */
void c2_blob_unref(struct c2_blob *b);          /* NULL is fine */
/* False: the caller's is the only reference, so nobody sees what it changes. */
bool c2_blob_is_shared(const struct c2_blob *b);
struct c2_slice c2_blob_slice(const struct c2_blob *b);

#endif
