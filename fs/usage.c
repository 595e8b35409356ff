/* SPDX-License-Identifier: MIT */
#include "fs/usage.h"

#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/str.h"
#include "base/wire.h"

#define USAGE_VERSION 1

static void
add(struct usage_counts *to, const struct usage_counts *more)
{
    for (unsigned k = 0; k < USAGE_VERBS; k++)
        to->requests[k] += more->requests[k];
    to->up += more->up;
    to->down += more->down;
}

static void
drop_oldest_month(struct usage *u)
{
    size_t gone = 0;
    while (gone < u->n && strcmp(u->row[gone].month, u->row[0].month) == 0)
        gone++;
    u->n -= gone;
    memmove(u->row, u->row + gone, u->n * sizeof(u->row[0]));
}

void
usage_add(struct usage *u, uint64_t wall_ns, const char *provider, const struct usage_counts *more)
{
    char month[C2_SIZE_TEXT_MAX];
    c2_time_format(wall_ns, month);
    month[USAGE_MONTH_LEN] = '\0';
    for (size_t k = 0; k < u->n; k++) {
        if (strcmp(u->row[k].month, month) == 0 && strcmp(u->row[k].provider, provider) == 0) {
            add(&u->row[k].counts, more);
            return;
        }
    }
    if (u->n == USAGE_ROWS_MAX)
        drop_oldest_month(u);
    struct usage_row row = { .counts = *more };
    memcpy(row.month, month, USAGE_MONTH_LEN + 1);
    size_t len = strnlen(provider, USAGE_NAME_MAX);
    memcpy(row.provider, provider, len);
    size_t at = u->n++; /* by month, also when the clock was set back */
    for (; at > 0 && strcmp(u->row[at - 1].month, month) > 0; at--)
        u->row[at] = u->row[at - 1];
    u->row[at] = row;
}

static uint64_t
less(uint64_t now, uint64_t before)
{
    return now >= before ? now - before : now;
}

struct usage_counts
usage_since(const struct usage_counts *now, const struct usage_counts *before)
{
    struct usage_counts c;
    for (unsigned k = 0; k < USAGE_VERBS; k++)
        c.requests[k] = less(now->requests[k], before->requests[k]);
    c.up = less(now->up, before->up);
    c.down = less(now->down, before->down);
    return c;
}

bool
usage_is_zero(const struct usage_counts *c)
{
    uint64_t any = c->up | c->down;
    for (unsigned k = 0; k < USAGE_VERBS; k++)
        any |= c->requests[k];
    return any == 0;
}

static void
get_text(struct c2_rd *r, char *out, size_t max)
{
    struct c2_slice s = c2_rd_bytes(r, max);
    for (size_t k = 0; k < s.len; k++)
        out[k] = (char)(s.data[k] < 0x20 || s.data[k] >= 0x7f ? '?' : s.data[k]);
}

static void
get_hash(struct c2_rd *r, uint8_t out[C2_SHA256_LEN])
{
    struct c2_slice s = c2_rd_raw(r, C2_SHA256_LEN);
    if (s.len == C2_SHA256_LEN)
        memcpy(out, s.data, C2_SHA256_LEN);
}

void
usage_proof_encode(const struct ds_evidence *e, struct c2_buf *out)
{
    c2_wr_u64(out, e->wall_ns);
    c2_wr_u64(out, e->count);
    c2_wr_u32(out, e->seat);
    c2_wr_bytes(out, c2_slice_str(e->provider));
    c2_wr_bytes(out, c2_slice_str(e->key));
    c2_wr_raw(out, e->expected, sizeof(e->expected));
    c2_wr_raw(out, e->found, sizeof(e->found));
    c2_wr_u64(out, e->len);
}

void
usage_proof_decode(struct c2_rd *r, struct ds_evidence *ret)
{
    *ret = (struct ds_evidence){ 0 };
    ret->wall_ns = c2_rd_u64(r);
    ret->count = c2_rd_u64(r);
    ret->seat = c2_rd_u32(r);
    get_text(r, ret->provider, sizeof(ret->provider) - 1);
    get_text(r, ret->key, sizeof(ret->key) - 1);
    get_hash(r, ret->expected);
    get_hash(r, ret->found);
    ret->len = c2_rd_u64(r);
}

void
usage_add_proof(struct usage *u, const struct ds_evidence *e)
{
    struct ds_evidence new = *e;
    size_t at = 0;
    while (at < u->nproofs && (strcmp(u->proof[at].provider, e->provider) != 0 ||
                               strcmp(u->proof[at].key, e->key) != 0 ||
                               memcmp(u->proof[at].found, e->found, sizeof(e->found)) != 0))
        at++;
    if (at < u->nproofs)
        new.count = C2_MAX(new.count, u->proof[at].count);
    else if (u->nproofs == DS_EVIDENCE_MAX)
        at = 0;
    if (at < u->nproofs) { /* it goes to the end, where the latest are */
        u->nproofs--;
        memmove(u->proof + at, u->proof + at + 1, (u->nproofs - at) * sizeof(u->proof[0]));
    }
    u->proof[u->nproofs++] = new;
}

void
usage_encode(const struct usage *u, struct c2_buf *out)
{
    uint8_t hash[C2_SHA256_LEN];
    size_t start = out->len;
    c2_wr_u8(out, USAGE_VERSION);
    c2_wr_u32(out, (uint32_t)u->n);
    for (size_t k = 0; k < u->n; k++) {
        const struct usage_row *r = &u->row[k];
        c2_wr_bytes(out, c2_slice_str(r->month));
        c2_wr_bytes(out, c2_slice_str(r->provider));
        for (unsigned v = 0; v < USAGE_VERBS; v++)
            c2_wr_u64(out, r->counts.requests[v]);
        c2_wr_u64(out, r->counts.up);
        c2_wr_u64(out, r->counts.down);
    }
    c2_wr_u32(out, (uint32_t)u->nproofs);
    for (size_t k = 0; k < u->nproofs; k++)
        usage_proof_encode(&u->proof[k], out);
    c2_sha256(c2_slice(out->data + start, out->len - start), hash);
    c2_wr_raw(out, hash, sizeof(hash));
}

C2_RESULT
usage_decode(struct c2_slice in, struct usage *ret)
{
    uint8_t hash[C2_SHA256_LEN];
    if (in.len < C2_SHA256_LEN)
        return C2_E_PARSE;
    in.len -= C2_SHA256_LEN;
    c2_sha256(in, hash);
    if (memcmp(hash, in.data + in.len, sizeof(hash)) != 0)
        return C2_E_CORRUPT;
    struct c2_rd r = c2_rd_init(in);
    if (c2_rd_u8(&r) != USAGE_VERSION)
        return C2_E_VERSION;
    uint32_t n = c2_rd_u32(&r);
    if (n > USAGE_ROWS_MAX)
        return C2_E_PARSE;
    struct usage *u = c2_calloc(1, sizeof(*u));
    for (; u->n < n && c2_rd_ok(&r); u->n++) {
        struct usage_row *row = &u->row[u->n];
        get_text(&r, row->month, USAGE_MONTH_LEN);
        get_text(&r, row->provider, USAGE_NAME_MAX);
        for (unsigned v = 0; v < USAGE_VERBS; v++)
            row->counts.requests[v] = c2_rd_u64(&r);
        row->counts.up = c2_rd_u64(&r);
        row->counts.down = c2_rd_u64(&r);
    }
    uint32_t m = c2_rd_u32(&r);
    if (m > DS_EVIDENCE_MAX)
        c2_rd_fail(&r);
    for (; u->nproofs < m && c2_rd_ok(&r); u->nproofs++)
        usage_proof_decode(&r, &u->proof[u->nproofs]);
    enum c2_err err = c2_rd_finish(&r);
    if (err == C2_E_OK)
        *ret = *u;
    c2_free(u);
    return err;
}
