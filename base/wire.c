/* SPDX-License-Identifier: MIT */
/*
 * Little-endian cursors. The reader is sticky: take() is the only place that advances, and after a
 * failure it hands out nothing, so every field that follows reads as zero.
 */
#include "base/wire.h"

#include <string.h>

uint16_t
c2_get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | (unsigned)p[1] << 8);
}

uint32_t
c2_get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint64_t
c2_get_u64(const uint8_t *p)
{
    return (uint64_t)c2_get_u32(p) | (uint64_t)c2_get_u32(p + 4) << 32;
}

uint64_t
c2_get_be64(const uint8_t *p)
{
    return __builtin_bswap64(c2_get_u64(p));
}

void
c2_put_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

void
c2_put_u32(uint8_t *p, uint32_t v)
{
    c2_put_u16(p, (uint16_t)v);
    c2_put_u16(p + 2, (uint16_t)(v >> 16));
}

void
c2_put_u64(uint8_t *p, uint64_t v)
{
    c2_put_u32(p, (uint32_t)v);
    c2_put_u32(p + 4, (uint32_t)(v >> 32));
}

void
c2_put_be64(uint8_t *p, uint64_t v)
{
    c2_put_u64(p, __builtin_bswap64(v));
}

struct c2_rd
c2_rd_init(struct c2_slice in)
{
    return (struct c2_rd){ .data = in.data, .len = in.len };
}

void
c2_rd_fail(struct c2_rd *r)
{
    r->err = C2_E_PARSE;
}

bool
c2_rd_ok(const struct c2_rd *r)
{
    return r->err == C2_E_OK;
}

size_t
c2_rd_left(const struct c2_rd *r)
{
    return c2_rd_ok(r) ? r->len - r->pos : 0;
}

/* The next len bytes, or NULL and the sticky failure. */
static const uint8_t *
take(struct c2_rd *r, size_t len)
{
    if (!c2_rd_ok(r) || len > r->len - r->pos) {
        c2_rd_fail(r);
        return NULL;
    }
    const uint8_t *p = r->data + r->pos;
    r->pos += len;
    return p;
}

uint8_t
c2_rd_u8(struct c2_rd *r)
{
    const uint8_t *p = take(r, 1);
    return p == NULL ? 0 : *p;
}

uint16_t
c2_rd_u16(struct c2_rd *r)
{
    const uint8_t *p = take(r, 2);
    return p == NULL ? 0 : c2_get_u16(p);
}

uint32_t
c2_rd_u32(struct c2_rd *r)
{
    const uint8_t *p = take(r, 4);
    return p == NULL ? 0 : c2_get_u32(p);
}

uint64_t
c2_rd_u64(struct c2_rd *r)
{
    const uint8_t *p = take(r, 8);
    return p == NULL ? 0 : c2_get_u64(p);
}

int64_t
c2_rd_i64(struct c2_rd *r)
{
    uint64_t u = c2_rd_u64(r);
    int64_t v;
    memcpy(&v, &u, sizeof(v));
    return v;
}

struct c2_slice
c2_rd_raw(struct c2_rd *r, size_t len)
{
    if (len == 0)
        return c2_slice(NULL, 0);
    const uint8_t *p = take(r, len);
    return p == NULL ? c2_slice(NULL, 0) : c2_slice(p, len);
}

void
c2_rd_copy(struct c2_rd *r, void *out, size_t len)
{
    if (len == 0)
        return;
    const uint8_t *p = take(r, len);
    if (p == NULL)
        memset(out, 0, len);
    else
        memcpy(out, p, len);
}

struct c2_slice
c2_rd_bytes(struct c2_rd *r, size_t len_max)
{
    size_t len = c2_rd_u32(r);
    if (len > len_max) {
        c2_rd_fail(r);
        return c2_slice(NULL, 0);
    }
    return c2_rd_raw(r, len);
}

enum c2_err
c2_rd_finish(const struct c2_rd *r)
{
    if (!c2_rd_ok(r))
        return r->err;
    return r->pos == r->len ? C2_E_OK : C2_E_PARSE;
}

void
c2_wr_u8(struct c2_buf *b, uint8_t v)
{
    *c2_buf_extend(b, 1) = v;
}

void
c2_wr_u16(struct c2_buf *b, uint16_t v)
{
    c2_put_u16(c2_buf_extend(b, 2), v);
}

void
c2_wr_u32(struct c2_buf *b, uint32_t v)
{
    c2_put_u32(c2_buf_extend(b, 4), v);
}

void
c2_wr_u64(struct c2_buf *b, uint64_t v)
{
    c2_put_u64(c2_buf_extend(b, 8), v);
}

void
c2_wr_i64(struct c2_buf *b, int64_t v)
{
    c2_wr_u64(b, (uint64_t)v);
}

void
c2_wr_raw(struct c2_buf *b, const void *data, size_t len)
{
    c2_buf_append(b, data, len);
}

void
c2_wr_bytes(struct c2_buf *b, struct c2_slice s)
{
    C2_ASSERT(s.len <= UINT32_MAX);
    c2_wr_u32(b, (uint32_t)s.len);
    c2_buf_append(b, s.data, s.len);
}
