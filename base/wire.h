/* SPDX-License-Identifier: MIT */
/*
 * Cursors over encoded bytes. Little-endian, fixed widths; byte strings are length-prefixed.
 * Both cursors are sticky: after the first failure every further read gives zeros, and one check
 * at the end covers all fields and trailing bytes.
 */
#ifndef C2_BASE_WIRE_H
#define C2_BASE_WIRE_H

#include "base/buf.h"

struct c2_rd {
    const uint8_t *data; /* borrowed */
    size_t len;
    size_t pos;
    enum c2_err err; /* C2_E_PARSE after the first read past the end or over a cap */
};

struct c2_rd c2_rd_init(struct c2_slice in);
uint8_t c2_rd_u8(struct c2_rd *r);
uint16_t c2_rd_u16(struct c2_rd *r);
uint32_t c2_rd_u32(struct c2_rd *r);
uint64_t c2_rd_u64(struct c2_rd *r);
int64_t c2_rd_i64(struct c2_rd *r);
/* Exactly len bytes into out; zeros on failure. */
void c2_rd_copy(struct c2_rd *r, void *out, size_t len);
/* Exactly len bytes, borrowed from the input. */
struct c2_slice c2_rd_raw(struct c2_rd *r, size_t len);
/* u32 length, then that many bytes, at most len_max; borrowed from the input. */
struct c2_slice c2_rd_bytes(struct c2_rd *r, size_t len_max);
size_t c2_rd_left(const struct c2_rd *r);
void c2_rd_fail(struct c2_rd *r); /* the caller found a value it cannot accept */
bool c2_rd_ok(const struct c2_rd *r);
/* C2_E_OK only when nothing failed and nothing is left. */
C2_RESULT c2_rd_finish(const struct c2_rd *r);

/* Writers append to a c2_buf and cannot fail. */
void c2_wr_u8(struct c2_buf *b, uint8_t v);
void c2_wr_u16(struct c2_buf *b, uint16_t v);
void c2_wr_u32(struct c2_buf *b, uint32_t v);
void c2_wr_u64(struct c2_buf *b, uint64_t v);
void c2_wr_i64(struct c2_buf *b, int64_t v);
void c2_wr_raw(struct c2_buf *b, const void *data, size_t len);
void c2_wr_bytes(struct c2_buf *b, struct c2_slice s); /* u32 length, bytes */

/* Single values at fixed offsets. Big-endian is for keys, whose byte order is their sort order. */
uint16_t c2_get_u16(const uint8_t *p);
uint32_t c2_get_u32(const uint8_t *p);
uint64_t c2_get_u64(const uint8_t *p);
uint64_t c2_get_be64(const uint8_t *p);
void c2_put_u16(uint8_t *p, uint16_t v);
void c2_put_u32(uint8_t *p, uint32_t v);
void c2_put_u64(uint8_t *p, uint64_t v);
void c2_put_be64(uint8_t *p, uint64_t v);

#endif
