/* SPDX-License-Identifier: MIT */
/*
 * SHA-256 (FIPS 180-4) with the x86 SHA extensions, two independent messages interleaved. The
 * state lives as ABEF and CDGH, as the instructions want it. A quad is four rounds; the message
 * schedule is a ring of four vectors of four words.
 */
#include "base/sha256_x2.h"

#ifdef __x86_64__

#include <cpuid.h>
#include <immintrin.h>
#include <string.h>

#include "base/wire.h"

#define BLOCK ((size_t)64)

#define SHA_TARGET __attribute__((target("sha,sse4.1,ssse3")))
#define SHA_INLINE __attribute__((target("sha,sse4.1,ssse3"), always_inline)) static inline

struct stream {
    __m128i abef, cdgh;
    __m128i w[4];
};

_Alignas(16) static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

bool
c2_sha256_x2_supported(void)
{
    unsigned a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_SSSE3) == 0 || (c & bit_SSE4_1) == 0)
        return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & bit_SHA) != 0;
}

SHA_INLINE void
start(struct stream *s)
{
    s->abef = _mm_set_epi32(0x6a09e667, (int)0xbb67ae85, 0x510e527f, (int)0x9b05688c);
    s->cdgh = _mm_set_epi32(0x3c6ef372, (int)0xa54ff53a, 0x1f83d9ab, 0x5be0cd19);
}

/* Four rounds; i is a constant after unrolling. */
SHA_INLINE void
quad(struct stream *s, const uint8_t *block, unsigned i)
{
    if (i < 4) {
        const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
        __m128i raw = _mm_loadu_si128((const __m128i *)(const void *)(block + 16 * (size_t)i));
        s->w[i] = _mm_shuffle_epi8(raw, big_endian);
    } else {
        __m128i back1 = s->w[(i + 3) % 4];
        __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(s->w[i % 4], s->w[(i + 1) % 4]),
                                    _mm_alignr_epi8(back1, s->w[(i + 2) % 4], 4));
        s->w[i % 4] = _mm_sha256msg2_epu32(sum, back1);
    }
    const __m128i *constants = (const __m128i *)(const void *)round_constants;
    __m128i wk = _mm_add_epi32(s->w[i % 4], _mm_load_si128(&constants[i]));
    s->cdgh = _mm_sha256rnds2_epu32(s->cdgh, s->abef, wk);
    s->abef = _mm_sha256rnds2_epu32(s->abef, s->cdgh, _mm_shuffle_epi32(wk, 0x0e));
}

SHA_TARGET static void
blocks_1(struct stream *s, const uint8_t *p, size_t nblocks)
{
    struct stream x = *s;
    for (size_t n = 0; n < nblocks; n++, p += BLOCK) {
        __m128i abef = x.abef, cdgh = x.cdgh;
#pragma GCC unroll 16
        for (unsigned i = 0; i < 16; i++)
            quad(&x, p, i);
        x.abef = _mm_add_epi32(x.abef, abef);
        x.cdgh = _mm_add_epi32(x.cdgh, cdgh);
    }
    *s = x;
}

SHA_TARGET static void
blocks_2(struct stream *sa, const uint8_t *pa, struct stream *sb, const uint8_t *pb, size_t nblocks)
{
    struct stream a = *sa, b = *sb;
    for (size_t n = 0; n < nblocks; n++, pa += BLOCK, pb += BLOCK) {
        __m128i a_abef = a.abef, a_cdgh = a.cdgh, b_abef = b.abef, b_cdgh = b.cdgh;
#pragma GCC unroll 16
        for (unsigned i = 0; i < 16; i++) {
            quad(&a, pa, i);
            quad(&b, pb, i);
        }
        a.abef = _mm_add_epi32(a.abef, a_abef);
        a.cdgh = _mm_add_epi32(a.cdgh, a_cdgh);
        b.abef = _mm_add_epi32(b.abef, b_abef);
        b.cdgh = _mm_add_epi32(b.cdgh, b_cdgh);
    }
    *sa = a;
    *sb = b;
}

SHA_TARGET static void
finish(struct stream *s, struct c2_slice in, uint8_t out[32])
{
    uint8_t tail[2 * BLOCK] = { 0 };
    size_t left = in.len % BLOCK;
    size_t nblocks = left < BLOCK - 8 ? 1 : 2;
    if (left > 0)
        memcpy(tail, in.data + in.len - left, left);
    tail[left] = 0x80;
    c2_put_be64(tail + nblocks * BLOCK - 8, (uint64_t)in.len * 8);
    blocks_1(s, tail, nblocks);

    /* ABEF, CDGH -> ABCD, EFGH in memory order, each word big-endian. */
    const __m128i reverse = _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f);
    __m128i abcd = _mm_unpackhi_epi64(s->cdgh, s->abef);
    __m128i efgh = _mm_unpacklo_epi64(s->cdgh, s->abef);
    _mm_storeu_si128((__m128i *)(void *)out, _mm_shuffle_epi8(abcd, reverse));
    _mm_storeu_si128((__m128i *)(void *)(out + 16), _mm_shuffle_epi8(efgh, reverse));
}

SHA_TARGET void
c2_sha256_x2(struct c2_slice a, struct c2_slice b, uint8_t out_a[32], uint8_t out_b[32])
{
    struct stream sa = { 0 }, sb = { 0 };
    start(&sa);
    start(&sb);
    size_t na = a.len / BLOCK, nb = b.len / BLOCK;
    size_t both = C2_MIN(na, nb);
    if (both > 0)
        blocks_2(&sa, a.data, &sb, b.data, both);
    if (na > both)
        blocks_1(&sa, a.data + both * BLOCK, na - both);
    if (nb > both)
        blocks_1(&sb, b.data + both * BLOCK, nb - both);
    finish(&sa, a, out_a);
    finish(&sb, b, out_b);
}

#else

bool
c2_sha256_x2_supported(void)
{
    return false;
}

void
c2_sha256_x2(struct c2_slice a, struct c2_slice b, uint8_t out_a[32], uint8_t out_b[32])
{
    (void)a, (void)b, (void)out_a, (void)out_b;
    C2_UNREACHABLE();
}

#endif
