/* SPDX-License-Identifier: MIT */
/*
 * Both engines do one thing: multiply k source rows by a small coefficient matrix. Encoding and
 * every kind of rebuilding are products of that form, so the matrix is computed here, once, and no
 * library's idea of "decode" can differ from the other's.
 *
 * jerasure: its two default fields (8, and 32 for XOR) are created lazily and unsynchronised, so
 * they are created here under a mutex before anything else; it aborts when source and destination
 * differ in address modulo 16, so such buffers go through an aligned bounce buffer.
 * ISA-L has none of these rules, see isal_end.h for the one it has.
 */
#include "depsky/erasure.h"

#include <pthread.h>
#include <string.h>

#include <isa-l/erasure_code.h>

#include <jerasure.h>

#include "base/alloc.h"
#include "depsky/gf256.h"
#include "depsky/isal_end.h"

#define COEF_MAX    (DS_K_MAX * DS_SEATS_MAX)
#define BOUNCE_LEN  (32u << 10)
#define ALIGN_MASK  15u
#define GF_BITS     8
#define GF_XOR_BITS 32

static pthread_mutex_t init_mutex = PTHREAD_MUTEX_INITIALIZER;
static bool init_done;

void
ds_erasure_init(void)
{
    pthread_mutex_lock(&init_mutex);
    if (!init_done) {
        C2_ASSERT(galois_init_default_field(GF_BITS) == 0);
        C2_ASSERT(galois_init_default_field(GF_XOR_BITS) == 0);
        init_done = true;
    }
    pthread_mutex_unlock(&init_mutex);
}

void
ds_erasure_row(unsigned k, unsigned row, uint8_t *coef)
{
    C2_ASSERT(k >= 1 && k <= DS_K_MAX);
    C2_ASSERT(row < DS_SEATS_MAX);
    memset(coef, 0, k);
    if (row < k) {
        coef[row] = 1;
        return;
    }
    uint8_t g = (uint8_t)(row - k + 1);
    uint8_t power = 1;
    for (unsigned c = 0; c < k; c++) {
        coef[c] = power;
        power = ds_gf_mul(power, g);
    }
}

/* One product: dst[i] = sum over j of coef[i * k + j] * src[j]. */
struct product {
    unsigned k, m;
    uint8_t coef[COEF_MAX];
    const uint8_t *src[DS_K_MAX];
    uint8_t *dst[DS_SEATS_MAX];
    size_t len;
};

static void
run_isal(const struct product *p)
{
    uint8_t coef[COEF_MAX];
    uint8_t tables[32 * COEF_MAX];
    uint8_t *src[DS_K_MAX] = { NULL };
    uint8_t *dst[DS_SEATS_MAX] = { NULL };
    memcpy(coef, p->coef, sizeof(coef));
    for (unsigned j = 0; j < p->k; j++)
        src[j] = (uint8_t *)(uintptr_t)p->src[j]; /* ISA-L only reads its sources */
    for (unsigned i = 0; i < p->m; i++)
        dst[i] = p->dst[i];
    ec_init_tables((int)p->k, (int)p->m, coef, tables);
    ec_encode_data((int)p->len, (int)p->k, (int)p->m, tables, src, dst);
    ds_isal_end();
}

static bool
all_congruent(const struct product *p)
{
    uintptr_t offset = (uintptr_t)p->dst[0] & ALIGN_MASK;
    for (unsigned j = 0; j < p->k; j++) {
        if (((uintptr_t)p->src[j] & ALIGN_MASK) != offset)
            return false;
    }
    for (unsigned i = 0; i < p->m; i++) {
        if (((uintptr_t)p->dst[i] & ALIGN_MASK) != offset)
            return false;
    }
    return true;
}

static void
run_jerasure_congruent(const struct product *p)
{
    int row[DS_K_MAX] = { 0 };
    char *src[DS_K_MAX] = { NULL };
    char *dst[1] = { NULL };
    for (unsigned j = 0; j < p->k; j++)
        src[j] = (char *)(uintptr_t)p->src[j]; /* jerasure only reads its sources */
    for (unsigned i = 0; i < p->m; i++) {
        for (unsigned j = 0; j < p->k; j++)
            row[j] = p->coef[i * p->k + j];
        dst[0] = (char *)p->dst[i];
        jerasure_matrix_dotprod((int)p->k, GF_BITS, row, NULL, (int)p->k, src, dst, (int)p->len);
    }
}

static void
run_jerasure(const struct product *p)
{
    if (all_congruent(p)) {
        run_jerasure_congruent(p);
        return;
    }
    C2_AUTO(c2_free_auto) uint8_t *bounce = c2_alloc_aligned((p->k + p->m) * BOUNCE_LEN);
    for (size_t pos = 0; pos < p->len; pos += BOUNCE_LEN) {
        struct product part = *p;
        part.len = C2_MIN((size_t)BOUNCE_LEN, p->len - pos);
        for (unsigned j = 0; j < p->k; j++) {
            uint8_t *copy = bounce + j * BOUNCE_LEN;
            memcpy(copy, p->src[j] + pos, part.len);
            part.src[j] = copy;
        }
        for (unsigned i = 0; i < p->m; i++)
            part.dst[i] = bounce + (p->k + i) * BOUNCE_LEN;
        run_jerasure_congruent(&part);
        for (unsigned i = 0; i < p->m; i++)
            memcpy(p->dst[i] + pos, part.dst[i], part.len);
    }
}

static void
run(enum ds_engine engine, const struct product *p)
{
    C2_ASSERT(p->len <= INT32_MAX);
    if (p->len == 0)
        return;
    if (engine == DS_ENGINE_JERASURE) {
        run_jerasure(p);
    } else {
        run_isal(p);
    }
}

void
ds_erasure_encode(enum ds_engine engine, unsigned k, unsigned n, const uint8_t *const *data,
                  uint8_t *const *parity, size_t len)
{
    C2_ASSERT(k >= 1 && k <= DS_K_MAX);
    C2_ASSERT(n > k && n <= DS_SEATS_MAX);
    struct product p = { .k = k, .m = n - k, .len = len };
    for (unsigned j = 0; j < k; j++)
        p.src[j] = data[j];
    for (unsigned i = 0; i < n - k; i++) {
        p.dst[i] = parity[i];
        ds_erasure_row(k, k + i, p.coef + i * k);
    }
    run(engine, &p);
}

static void
add_row(uint8_t *to, const uint8_t *from, uint8_t factor, unsigned len)
{
    for (unsigned c = 0; c < len; c++)
        to[c] ^= ds_gf_mul(factor, from[c]);
}

/* Gauss-Jordan on [matrix | identity]; the code is MDS, so a pivot is always found. */
static void
invert(unsigned k, const struct ds_erasure_rows *have, uint8_t inverse[DS_K_MAX][2 * DS_K_MAX])
{
    memset(inverse, 0, sizeof(uint8_t[DS_K_MAX][2 * DS_K_MAX]));
    for (unsigned i = 0; i < k; i++) {
        ds_erasure_row(k, have->index[i], inverse[i]);
        inverse[i][k + i] = 1;
    }
    for (unsigned c = 0; c < k; c++) {
        unsigned pivot = c;
        while (pivot < k && inverse[pivot][c] == 0)
            pivot++;
        C2_ASSERT(pivot < k);
        if (pivot != c)
            add_row(inverse[c], inverse[pivot], 1, 2 * k);
        uint8_t scale = ds_gf_inv(inverse[c][c]);
        for (unsigned j = 0; j < 2 * k; j++)
            inverse[c][j] = ds_gf_mul(inverse[c][j], scale);
        for (unsigned i = 0; i < k; i++) {
            if (i != c)
                add_row(inverse[i], inverse[c], inverse[i][c], 2 * k);
        }
    }
}

void
ds_erasure_rebuild(enum ds_engine engine, unsigned k, const struct ds_erasure_rows *have,
                   unsigned want, uint8_t *out, size_t len)
{
    C2_ASSERT(k >= 1 && k <= DS_K_MAX);
    C2_ASSERT(want < DS_SEATS_MAX);
    for (unsigned i = 0; i < k; i++) {
        if (have->index[i] == want) {
            memcpy(out, have->data[i], len);
            return;
        }
    }
    uint8_t inverse[DS_K_MAX][2 * DS_K_MAX];
    uint8_t goal[DS_K_MAX];
    invert(k, have, inverse);
    ds_erasure_row(k, want, goal);
    struct product p = { .k = k, .m = 1, .len = len };
    p.dst[0] = out;
    for (unsigned j = 0; j < k; j++) {
        p.src[j] = have->data[j];
        for (unsigned i = 0; i < k; i++)
            p.coef[j] ^= ds_gf_mul(goal[i], inverse[i][k + j]);
    }
    run(engine, &p);
}
