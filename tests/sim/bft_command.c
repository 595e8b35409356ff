/* SPDX-License-Identifier: MIT */
/*
 * Commands of clients: on counters and the lock, and what takes administrators' signatures.
 */
#include <stdio.h>
#include <string.h>

#include "base/wire.h"
#include "tests/sim/bft_scene.h"

static void
counter_name(unsigned i, char name[16])
{
    snprintf(name, 16, "c%u", i);
}

void
bs_encode_get(struct c2_buf *out)
{
    char names[BS_KEYS][16];
    struct c2_slice keys[BS_KEYS];
    for (unsigned i = 0; i < BS_KEYS; i++) {
        counter_name(i, names[i]);
        keys[i] = c2_slice_str(names[i]);
    }
    const struct coord_req r = { .verb = COORD_GET, .keys = keys, .nkeys = BS_KEYS };
    coord_txn_encode(&r, out);
}

void
bs_encode_op(struct bs_client *c, unsigned kind, unsigned key, struct c2_buf *out)
{
    char name[16];
    counter_name(key, name);
    struct coord_op op = { .kind = COORD_ADD, .key = c2_slice_str(name), .number = 1 };
    struct coord_cond cond = { .kind = COORD_ABSENT, .key = c2_slice_str("lock") };
    struct coord_req r = { .verb = COORD_TXN, .ops = &op, .nops = 1 };
    switch (kind) {
    case BS_OP_OPEN:
        r = (struct coord_req){ .verb = COORD_SESSION_OPEN };
        r.ttl_ns = sim_rng_between(&c->s->rng, 200, 3000) * C2_NS_PER_MS;
        break;
    case BS_OP_CLOSE:
        r = (struct coord_req){ .verb = COORD_SESSION_CLOSE, .session = c->store_session };
        break;
    case BS_OP_LOCK:
        op = (struct coord_op){ .kind = COORD_PUT_EPHEMERAL, .key = c2_slice_str("lock") };
        op.number = (int64_t)c->store_session;
        r.conds = &cond;
        r.nconds = 1;
        break;
    case BS_OP_COMMIT:
        cond.kind = COORD_VERSION_EQ;
        cond.number = c->token;
        op.key = c2_slice_str("fenced");
        r.conds = &cond;
        r.nconds = 1;
        break;
    default:
        break;
    }
    coord_txn_encode(&r, out);
}

struct c2_blob *
bs_sign_request(struct bs_client *c, struct msg_request *m, struct c2_slice op)
{
    struct c2_buf msg = { 0 };
    m->op = op;
    memcpy(m->key, c->key, MSG_KEY_LEN);
    msg_write_request(&msg, c->s->config.cluster, m);
    msg_sign(&bs_crypto, c->secret, &msg, 0);
    struct c2_blob *b = c2_blob_copy(msg.data, msg.len);
    c2_buf_done(&msg);
    return b;
}

/* ---- administrators -------------------------------------------------------------------------- */

static bool
is_member(const struct bft_config *c, uint16_t id)
{
    unsigned i = 0;
    while (i < c->n && c->member[i].id != id)
        i++;
    return i < c->n;
}

/* The newest configuration, with new keys (kind 1, 3) and the spare instead of a member (2, 3). */
void
bs_encode_admin(struct bs *s, struct c2_buf *out)
{
    unsigned last = 0;
    struct c2_buf config = { 0 };
    uint8_t hash[C2_SHA256_LEN];
    for (unsigned e = 0; e < BS_EPOCHS; e++)
        last = s->have_epoch[e] ? e : last;
    struct bft_config c = s->epochs[last];
    uint16_t spare = 0; /* the id that is no member */
    c.epoch++;
    c.base = 0;
    while (is_member(&c, spare))
        spare++;
    if (s->admin_kind >= 2)
        c.member[s->admin_seat >= 0 ? (uint64_t)s->admin_seat : sim_rng_below(&s->rng, c.n)].id =
            spare;
    for (unsigned i = 0; i < c.n; i++) {
        const uint8_t *secret = s->secret[c.member[i].id];
        if (s->admin_kind != 2 && last % 2 == 0)
            secret = s->next_secret[c.member[i].id];
        memcpy(c.member[i].sign_key, secret + 32, MSG_KEY_LEN);
    }
    bft_config_encode(&c, &config);
    msg_put_bytes(out, c2_buf_slice(&config));
    bft_admin_hash(c.cluster, c2_buf_slice(&config), hash);
    c2_wr_u8(out, 2);
    for (uint8_t i = 0; i < 2; i++) {
        c2_wr_u8(out, i);
        bs_crypto.sign(&bs_crypto, s->admin[i], hash, c2_buf_extend(out, MSG_SIG_LEN));
    }
    c2_buf_done(&config);
}

/* The counters are the first three clients', with both administrators' signatures. The command
 * alone is what is executed. */
void
bs_encode_acl(struct bs_client *c, struct c2_buf *cmd, struct c2_buf *out)
{
    struct bs *s = c->s;
    struct coord_grant grants[BS_CLIENTS - 1];
    const struct c2_slice prefix = c2_slice_str("c");
    struct coord_req r = { .verb = COORD_ACL_SET, .keys = &prefix, .nkeys = 1 };
    uint8_t hash[C2_SHA256_LEN];
    for (unsigned i = 0; i < BS_CLIENTS - 1; i++) {
        unsigned at = i;
        for (; at > 0 && memcmp(grants[at - 1].key, s->client[i].key, MSG_KEY_LEN) > 0; at--)
            grants[at] = grants[at - 1];
        memcpy(grants[at].key, s->client[i].key, MSG_KEY_LEN);
        grants[at].rights = COORD_MAY_READ | COORD_MAY_WRITE;
    }
    r.grants = grants;
    r.ngrants = BS_CLIENTS - 1;
    coord_txn_encode(&r, cmd);
    bft_admin_command_hash(s->config.cluster, c->key, c2_buf_slice(cmd), hash);
    msg_put_bytes(out, c2_buf_slice(cmd));
    c2_wr_u8(out, 2);
    for (uint8_t i = 0; i < 2; i++) {
        c2_wr_u8(out, i);
        bs_crypto.sign(&bs_crypto, s->admin[i], hash, c2_buf_extend(out, MSG_SIG_LEN));
    }
}
