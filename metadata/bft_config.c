/* SPDX-License-Identifier: MIT */
/*
 * The configuration of an epoch, and defaults.
 *
 * Encoding, format 1: u8 1, u64 cluster, u32 epoch, u64 base, u8 f, u8 n, n members (u16 id,
 * address, identity key, sign key, two TLS hashes), client authority, u8 k, u8 m, m admin keys, u32
 * checkpoint interval, u32 window, u32 sessions, u64 skew.
 */
#include <string.h>

#include "base/env.h"
#include "base/wire.h"
#include "metadata/bft.h"

#define FORMAT          1
#define SESSIONS_LIMIT  65536
#define INTERVAL_MIN    4
#define SKEW_DEFAULT_NS (3 * C2_NS_PER_S)

static bool
is_zero(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (p[i] != 0)
            return false;
    }
    return true;
}

void
bft_config_default(struct bft_config *c)
{
    *c = (struct bft_config){ .f = 1, .n = 4 };
    c->checkpoint_interval = 128;
    c->window = 256;
    c->sessions_max = 1024;
    c->clock_skew_ns = SKEW_DEFAULT_NS;
}

void
bft_timing_default(struct bft_timing *t)
{
    *t = (struct bft_timing){
        .batch_ns = 3 * C2_NS_PER_MS,
        .null_ns = C2_NS_PER_S,
        .heartbeat_ns = 4 * C2_NS_PER_S,
        .forward_ns = 500 * C2_NS_PER_MS,
        .request_ns = 2 * C2_NS_PER_S,
        .request_max_ns = 64 * C2_NS_PER_S,
        .slow_ns = 30 * C2_NS_PER_S,
        .status_ns = 200 * C2_NS_PER_MS,
        .status_idle_ns = C2_NS_PER_S,
        .fetch_ns = 300 * C2_NS_PER_MS,
        .read_ns = 500 * C2_NS_PER_MS,
    };
}

void
bft_timing_lan(struct bft_timing *t)
{
    *t = (struct bft_timing){
        .batch_ns = C2_NS_PER_MS,
        .null_ns = C2_NS_PER_S,
        .heartbeat_ns = 2 * C2_NS_PER_S,
        .forward_ns = 150 * C2_NS_PER_MS,
        .request_ns = 500 * C2_NS_PER_MS,
        .request_max_ns = 32 * C2_NS_PER_S,
        .slow_ns = 4 * C2_NS_PER_S,
        .status_ns = 50 * C2_NS_PER_MS,
        .status_idle_ns = C2_NS_PER_S,
        .fetch_ns = 50 * C2_NS_PER_MS,
        .read_ns = 100 * C2_NS_PER_MS,
    };
}

void
bft_limits_default(struct bft_limits *l)
{
    *l = (struct bft_limits){
        .in_flight = 16,
        .batch_requests = 512,
        .batch_bytes = 256u << 10,
        .requests = 16384,
        .requests_client = BFT_SESSION_WINDOW,
        .requests_bytes = 64u << 20,
        .bodies_bytes = 192u << 20,
        .reads = 1024,
        .jobs = 64,
    };
}

unsigned
bft_quorum(const struct bft_config *c)
{
    return (c->n + c->f + 2u) / 2; /* ceil((n + f + 1) / 2) */
}

static const char *
check_member(const struct bft_config *c, unsigned i)
{
    const struct bft_member *m = &c->member[i];
    if (is_zero(m->identity_key, MSG_KEY_LEN) || is_zero(m->sign_key, MSG_KEY_LEN))
        return "a member has no key";
    if (memchr(m->address, 0, sizeof m->address) == NULL)
        return "a member's address is too long";
    for (unsigned j = 0; j < i; j++) {
        if (c->member[j].id == m->id)
            return "two members have the same id";
        if (memcmp(c->member[j].sign_key, m->sign_key, MSG_KEY_LEN) == 0)
            return "two members have the same key";
    }
    return NULL;
}

static const char *
find_fault(const struct bft_config *c)
{
    if (c->f > BFT_F_MAX || c->n < 3 * c->f + 1 || c->n > 3 * c->f + 3 || c->n > MSG_REPLICAS_MAX)
        return "the number of members must be 3f+1 to 3f+3, f at most 3";
    for (unsigned i = 0; i < c->n; i++) {
        const char *why = check_member(c, i);
        if (why != NULL)
            return why;
    }
    if (c->nadmins > BFT_ADMINS_MAX || c->admins_needed > c->nadmins)
        return "more administrators are needed than there are";
    if (c->nadmins > 0 && c->admins_needed == 0)
        return "at least one administrator must sign";
    if (c->checkpoint_interval < INTERVAL_MIN || c->window > MSG_WINDOW_MAX ||
        c->window < 2 * c->checkpoint_interval || c->window % c->checkpoint_interval != 0)
        return "the window must be a multiple of the checkpoint interval, at least twice";
    if (c->base % c->checkpoint_interval != 0)
        return "an epoch begins at a checkpoint";
    if (c->sessions_max == 0 || c->sessions_max > SESSIONS_LIMIT)
        return "the number of sessions is out of range";
    if (c->clock_skew_ns < C2_NS_PER_MS || c->clock_skew_ns > 3600 * C2_NS_PER_S)
        return "the clock skew is out of range";
    return NULL;
}

C2_RESULT
bft_config_check(const struct bft_config *c, const char **ret_why)
{
    const char *why = find_fault(c);
    if (why == NULL)
        return C2_E_OK;
    *ret_why = why;
    return C2_E_INVALID;
}

void
bft_config_encode(const struct bft_config *c, struct c2_buf *out)
{
    c2_wr_u8(out, FORMAT);
    c2_wr_u64(out, c->cluster);
    c2_wr_u32(out, c->epoch);
    c2_wr_u64(out, c->base);
    c2_wr_u8(out, c->f);
    c2_wr_u8(out, c->n);
    for (unsigned i = 0; i < c->n; i++) {
        const struct bft_member *m = &c->member[i];
        c2_wr_u16(out, m->id);
        c2_wr_bytes(out, c2_slice_str(m->address));
        c2_wr_raw(out, m->identity_key, MSG_KEY_LEN);
        c2_wr_raw(out, m->sign_key, MSG_KEY_LEN);
        c2_wr_raw(out, m->tls_hash, sizeof m->tls_hash);
    }
    c2_wr_raw(out, c->client_authority, MSG_KEY_LEN);
    c2_wr_u8(out, c->admins_needed);
    c2_wr_u8(out, c->nadmins);
    for (unsigned i = 0; i < c->nadmins; i++)
        c2_wr_raw(out, c->admin[i], MSG_KEY_LEN);
    c2_wr_u32(out, c->checkpoint_interval);
    c2_wr_u32(out, c->window);
    c2_wr_u32(out, c->sessions_max);
    c2_wr_u64(out, c->clock_skew_ns);
}

static void
read_member(struct c2_rd *r, struct bft_member *m)
{
    m->id = c2_rd_u16(r);
    struct c2_slice address = c2_rd_bytes(r, BFT_ADDRESS_MAX - 1);
    if (address.len > 0 && memchr(address.data, 0, address.len) != NULL)
        c2_rd_fail(r);
    else if (address.len > 0)
        memcpy(m->address, address.data, address.len);
    c2_rd_copy(r, m->identity_key, MSG_KEY_LEN);
    c2_rd_copy(r, m->sign_key, MSG_KEY_LEN);
    c2_rd_copy(r, m->tls_hash, sizeof m->tls_hash);
}

C2_RESULT
bft_config_decode(struct c2_slice in, struct bft_config *ret_config)
{
    struct c2_rd r = c2_rd_init(in);
    struct bft_config c = { 0 };
    const char *why = NULL;
    if (in.len > BFT_CONFIG_MAX || c2_rd_u8(&r) != FORMAT)
        return C2_E_PARSE;
    c.cluster = c2_rd_u64(&r);
    c.epoch = c2_rd_u32(&r);
    c.base = c2_rd_u64(&r);
    c.f = c2_rd_u8(&r);
    c.n = c2_rd_u8(&r);
    if (c.n > MSG_REPLICAS_MAX)
        return C2_E_PARSE;
    for (unsigned i = 0; i < c.n; i++)
        read_member(&r, &c.member[i]);
    c2_rd_copy(&r, c.client_authority, MSG_KEY_LEN);
    c.admins_needed = c2_rd_u8(&r);
    c.nadmins = c2_rd_u8(&r);
    if (c.nadmins > BFT_ADMINS_MAX)
        return C2_E_PARSE;
    for (unsigned i = 0; i < c.nadmins; i++)
        c2_rd_copy(&r, c.admin[i], MSG_KEY_LEN);
    c.checkpoint_interval = c2_rd_u32(&r);
    c.window = c2_rd_u32(&r);
    c.sessions_max = c2_rd_u32(&r);
    c.clock_skew_ns = c2_rd_u64(&r);
    C2_TRY(c2_rd_finish(&r));
    if (bft_config_check(&c, &why) != C2_E_OK)
        return C2_E_PARSE;
    *ret_config = c;
    return C2_E_OK;
}

unsigned
bft_config_seat(const struct bft_config *c, uint16_t id)
{
    unsigned i = 0;
    while (i < c->n && c->member[i].id != id)
        i++;
    return i;
}
