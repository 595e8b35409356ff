/* SPDX-License-Identifier: MIT */
/*
 * igzip reports success when the output space runs out before the stream ends, so "finished" is
 * read from its state. Its level buffer lives as long as the context.
 */
#include "depsky/compress.h"

#include <string.h>
#include <zlib.h>

#include <isa-l/igzip_lib.h>

#include "base/alloc.h"
#include "depsky/isal_end.h"

#define LEVEL     1
#define LEVEL_BUF ISAL_DEF_LVL1_LARGE

struct ds_deflate {
    enum ds_compress engine;
    struct isal_zstream isal;
    uint8_t *level_buf; /* owned */
    z_stream zlib;
};

struct ds_deflate *
ds_deflate_new(enum ds_compress engine)
{
    C2_ASSERT(engine != DS_COMPRESS_NONE);
    struct ds_deflate *d = c2_calloc(1, sizeof(*d));
    d->engine = engine;
    if (engine == DS_COMPRESS_ZLIB) {
        C2_ASSERT(deflateInit(&d->zlib, LEVEL) == Z_OK);
        return d;
    }
    d->level_buf = c2_alloc(LEVEL_BUF);
    isal_deflate_init(&d->isal);
    d->isal.level = LEVEL;
    d->isal.level_buf = d->level_buf;
    d->isal.level_buf_size = LEVEL_BUF;
    d->isal.gzip_flag = IGZIP_ZLIB;
    return d;
}

void
ds_deflate_free(struct ds_deflate *d)
{
    if (d == NULL)
        return;
    if (d->engine == DS_COMPRESS_ZLIB)
        deflateEnd(&d->zlib);
    c2_free(d->level_buf);
    c2_free(d);
}

static bool
isal_part(struct ds_deflate *d, const uint8_t *in, size_t len, bool last)
{
    d->isal.next_in = (uint8_t *)(uintptr_t)in; /* igzip only reads its input */
    d->isal.avail_in = (uint32_t)len;
    d->isal.end_of_stream = last ? 1 : 0;
    d->isal.flush = last ? NO_FLUSH : FULL_FLUSH;
    int rc = isal_deflate(&d->isal);
    ds_isal_end();
    if (rc != COMP_OK || d->isal.avail_in != 0)
        return false;
    if (last)
        return d->isal.internal_state.state == ZSTATE_END;
    return d->isal.avail_out > 0; /* a full buffer may hide an unfinished flush */
}

static bool
zlib_part(struct ds_deflate *d, const uint8_t *in, size_t len, bool last)
{
    d->zlib.next_in = (uint8_t *)(uintptr_t)in; /* zlib only reads its input */
    d->zlib.avail_in = (uInt)len;
    int rc = deflate(&d->zlib, last ? Z_FINISH : Z_FULL_FLUSH);
    if (last)
        return rc == Z_STREAM_END;
    return rc == Z_OK && d->zlib.avail_in == 0 && d->zlib.avail_out > 0;
}

static void
rewind_stream(struct ds_deflate *d, uint8_t *out, size_t out_max)
{
    if (d->engine == DS_COMPRESS_ZLIB) {
        C2_ASSERT(deflateReset(&d->zlib) == Z_OK);
        d->zlib.next_out = out;
        d->zlib.avail_out = (uInt)out_max;
        return;
    }
    isal_deflate_reset(&d->isal);
    d->isal.gzip_flag = IGZIP_ZLIB; /* igzip changes it once the header is written */
    d->isal.next_out = out;
    d->isal.avail_out = (uint32_t)out_max;
}

size_t
ds_deflate_run(struct ds_deflate *d, struct c2_slice in, const struct ds_cuts *cuts, uint8_t *out,
               size_t out_max)
{
    C2_ASSERT(in.len > 0 && in.len <= DS_SEGMENT_SIZE);
    C2_ASSERT(out_max <= DS_SEGMENT_SIZE);
    rewind_stream(d, out, out_max);
    size_t pos = 0;
    for (size_t i = 0; i <= cuts->count; i++) {
        bool last = i == cuts->count;
        size_t end = last ? in.len : cuts->at[i] - cuts->base;
        C2_ASSERT(end > pos && end <= in.len);
        bool fits = d->engine == DS_COMPRESS_ZLIB ? zlib_part(d, in.data + pos, end - pos, last)
                                                  : isal_part(d, in.data + pos, end - pos, last);
        if (!fits)
            return 0;
        pos = end;
    }
    return d->engine == DS_COMPRESS_ZLIB ? d->zlib.total_out : d->isal.total_out;
}

struct ds_inflate {
    enum ds_compress engine;
    struct inflate_state isal;
    z_stream zlib;
};

struct ds_inflate *
ds_inflate_new(enum ds_compress engine)
{
    struct ds_inflate *i = c2_calloc(1, sizeof(*i));
    i->engine = engine;
    if (engine == DS_COMPRESS_ZLIB)
        C2_ASSERT(inflateInit(&i->zlib) == Z_OK);
    return i;
}

void
ds_inflate_free(struct ds_inflate *i)
{
    if (i == NULL)
        return;
    if (i->engine == DS_COMPRESS_ZLIB)
        inflateEnd(&i->zlib);
    c2_free(i);
}

static bool
inflate_zlib(z_stream *z, struct c2_slice in, uint8_t *out, size_t out_len)
{
    C2_ASSERT(inflateReset(z) == Z_OK);
    z->next_in = (uint8_t *)(uintptr_t)in.data; /* zlib only reads its input */
    z->avail_in = (uInt)in.len;
    z->next_out = out;
    z->avail_out = (uInt)out_len;
    return inflate(z, Z_FINISH) == Z_STREAM_END && z->avail_in == 0 && z->avail_out == 0;
}

static bool
inflate_isal(struct inflate_state *s, struct c2_slice in, uint8_t *out, size_t out_len)
{
    isal_inflate_init(s);
    s->crc_flag = ISAL_ZLIB;
    s->next_in = (uint8_t *)(uintptr_t)in.data; /* igzip only reads its input */
    s->avail_in = (uint32_t)in.len;
    s->next_out = out;
    s->avail_out = (uint32_t)out_len;
    int rc = isal_inflate(s);
    ds_isal_end();
    return rc == ISAL_DECOMP_OK && s->block_state == ISAL_BLOCK_FINISH && s->avail_in == 0 &&
           s->read_in_length < 8 && s->avail_out == 0; /* it reads whole bytes ahead */
}

C2_RESULT
ds_inflate_run(struct ds_inflate *i, struct c2_slice in, uint8_t *out, size_t out_len)
{
    C2_ASSERT(out_len <= DS_SEGMENT_SIZE);
    if (in.len > DS_SEGMENT_SIZE)
        return C2_E_CORRUPT;
    bool ok = i->engine == DS_COMPRESS_ZLIB ? inflate_zlib(&i->zlib, in, out, out_len)
                                            : inflate_isal(&i->isal, in, out, out_len);
    return ok ? C2_E_OK : C2_E_CORRUPT;
}
