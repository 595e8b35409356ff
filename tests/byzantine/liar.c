/* SPDX-License-Identifier: MIT */
/*
 * Makes a liar of the daemon: linked to its objects with --wrap, so that everything a replica says
 * to others and to clients goes through here. It has its own key and cannot sign for others.
 * C2FS_LIES names what it does (default: everything), C2FS_LIES_SEED is the seed; the log counts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/wire.h"
#include "metadata/bft_int.h"
#include "metadata/node_int.h"

#define SAY_EVERY 20

enum lie { SPLIT, VOTE, BODY, STATE, HIDE, STATUS, MUTATE, DROP, ANSWER, READ, LIES };

static const char *const names[LIES] = { "split",  "vote",   "body", "state",  "hide",
                                         "status", "mutate", "drop", "answer", "read" };

static struct {
    bool ready;
    bool on[LIES];
    uint64_t told[LIES];
    uint64_t random;
} liar;

void __real_node_send(struct node *n, uint32_t seats, struct c2_blob *msg);
void __wrap_node_send(struct node *n, uint32_t seats, struct c2_blob *msg);
void __real_node_reply(struct node *n, const struct bft_action *a, struct c2_blob *msg);
void __wrap_node_reply(struct node *n, const struct bft_action *a, struct c2_blob *msg);

static uint64_t
random_below(uint64_t limit)
{
    liar.random ^= liar.random << 13;
    liar.random ^= liar.random >> 7;
    liar.random ^= liar.random << 17;
    return liar.random % limit;
}

static void
get_ready(void)
{
    const char *lies = getenv("C2FS_LIES"), *seed = getenv("C2FS_LIES_SEED");
    if (liar.ready)
        return;
    liar.ready = true;
    liar.random = 0x9e3779b97f4a7c15 + (seed == NULL ? 0 : strtoull(seed, NULL, 10));
    for (unsigned i = 0; i < LIES; i++)
        liar.on[i] = lies == NULL || strstr(lies, names[i]) != NULL;
}

/* Whether to tell this lie now. */
static bool
tells(enum lie lie, unsigned percent)
{
    return liar.on[lie] && random_below(100) < percent;
}

static void
count(enum lie lie)
{
    liar.told[lie]++;
    if (liar.told[lie] % SAY_EVERY == 1)
        c2_log(WARN, "liar", "lie=%s told=%llu", names[lie], (unsigned long long)liar.told[lie]);
}

static unsigned
type_of(struct c2_slice msg)
{
    struct msg_head h;
    return msg_read_head(msg, &h) == C2_E_OK ? h.type : 0;
}

static void
sign_again(const struct node *n, struct c2_buf *msg)
{
    unsigned type = type_of(c2_buf_slice(msg));
    uint8_t hash[C2_SHA256_LEN];
    size_t end = type == MSG_PRE_PREPARE ? MSG_PROPOSAL_LEN : msg->len;
    if (!msg_is_signed(type) || end > msg->len || end < MSG_HEAD_LEN + MSG_SIG_LEN)
        return;
    const struct c2_slice in[] = { c2_slice_str("C2FS-BFT1"),
                                   c2_slice(msg->data, end - MSG_SIG_LEN) };
    c2_sha256_v(in, C2_ARRAY_LEN(in), hash);
    n->crypto->sign(n->crypto, n->core->secret, hash, msg->data + end - MSG_SIG_LEN);
}

/* ---- to other replicas ----------------------------------------------------------------------- */

/* Another proposal for the same number, as good as the first. */
static void
split_proposal(const struct node *n, struct c2_buf *msg)
{
    struct msg_pre_prepare m;
    if (msg_read_pre_prepare(c2_buf_slice(msg), &m) != C2_E_OK)
        return;
    if (m.batch.len > 8 && random_below(2) == 0)
        msg->data[MSG_PROPOSAL_LEN] ^= 1; /* its time */
    else
        msg->len = MSG_PROPOSAL_LEN;
    msg_batch_digest(c2_slice(msg->data + MSG_PROPOSAL_LEN, msg->len - MSG_PROPOSAL_LEN),
                     msg->data + MSG_HEAD_LEN + 16);
    sign_again(n, msg);
    count(SPLIT);
}

static void
split_vote(const struct node *n, struct c2_buf *msg)
{
    size_t digest = MSG_HEAD_LEN + 8 + 1 + 8;
    if (msg->len <= digest + MSG_DIGEST_LEN)
        return;
    msg->data[digest] ^= 1;
    sign_again(n, msg);
    count(VOTE);
}

/* A VIEW-CHANGE that knows of nothing. */
static void
hide(const struct node *n, struct c2_buf *msg)
{
    struct msg_view_change m;
    struct msg_head h;
    struct c2_buf out = { 0 };
    struct c2_slice in = c2_buf_slice(msg);
    if (msg_read_view_change(in, &m) != C2_E_OK || msg_read_head(in, &h) != C2_E_OK)
        return;
    m.nprepares = m.nprepared = 0;
    m.prepares = m.prepared = c2_slice(NULL, 0);
    msg_write_view_change(&out, &h, &m);
    c2_buf_extend(&out, MSG_SIG_LEN);
    c2_buf_done(msg);
    *msg = out;
    sign_again(n, msg);
    count(HIDE);
}

static void
mutate(const struct node *n, struct c2_buf *msg)
{
    if (msg->len <= MSG_HEAD_LEN)
        return;
    msg->data[random_below(msg->len)] ^= (uint8_t)(1u << random_below(8));
    if (random_below(2) == 0)
        sign_again(n, msg);
    count(MUTATE);
}

static void
spoil(struct c2_buf *msg, enum lie lie)
{
    if (msg->len <= MSG_HEAD_LEN)
        return;
    msg->data[msg->len - 1] ^= 1;
    count(lie);
}

/* False: it is not sent. */
static bool
twist(const struct node *n, unsigned seat, unsigned type, struct c2_buf *msg)
{
    bool half = (seat & 1) != 0;
    if (tells(DROP, 10)) {
        count(DROP);
        return false;
    }
    if (half && type == MSG_PRE_PREPARE && tells(SPLIT, 50))
        split_proposal(n, msg);
    if (half && (type == MSG_PREPARE || type == MSG_COMMIT) && tells(VOTE, 80))
        split_vote(n, msg);
    if ((type == MSG_BODY || type == MSG_DECIDED) && tells(BODY, 60))
        spoil(msg, BODY);
    if (type == MSG_STATE && tells(STATE, 80))
        spoil(msg, STATE);
    if (type == MSG_VIEW_CHANGE && tells(HIDE, 90))
        hide(n, msg);
    if (type == MSG_STATUS && tells(STATUS, 40)) {
        c2_put_u64(msg->data + MSG_HEAD_LEN + 9, UINT64_MAX - random_below(99));
        count(STATUS);
    }
    if (tells(MUTATE, 10))
        mutate(n, msg);
    return true;
}

void
__wrap_node_send(struct node *n, uint32_t seats, struct c2_blob *msg)
{
    get_ready();
    for (unsigned i = 0; i < MSG_REPLICAS_MAX; i++) {
        struct c2_buf copy = { 0 };
        if ((seats & (1u << i)) == 0)
            continue;
        c2_buf_append(&copy, msg->data, msg->len);
        if (twist(n, i, type_of(c2_blob_slice(msg)), &copy)) {
            struct c2_blob *b = c2_blob_copy(copy.data, copy.len);
            __real_node_send(n, 1u << i, b);
            c2_blob_unref(b);
        }
        c2_buf_done(&copy);
    }
}

/* ---- to clients ------------------------------------------------------------------------------ */

/* Something else, which agrees with itself. */
static void
lie_about(struct c2_slice in, struct c2_buf *out)
{
    struct msg_reply m;
    struct msg_read_reply r;
    struct msg_head h;
    uint8_t result[64];
    for (size_t i = 0; i < sizeof result; i++)
        result[i] = (uint8_t)random_below(256);
    if (msg_read_head(in, &h) != C2_E_OK)
        return;
    if (msg_read_reply(in, &m) == C2_E_OK && tells(ANSWER, 90)) {
        m.result = c2_slice(result, 11 + random_below(50));
        m.has_result = 1;
        c2_sha256(m.result, m.digest);
        msg_write_reply(out, &h, &m);
        count(ANSWER);
    } else if (msg_read_read_reply(in, &r) == C2_E_OK && tells(READ, 90)) {
        r.result = c2_slice(result, 11 + random_below(50));
        r.has_result = 1;
        r.version += random_below(1000);
        c2_sha256(r.result, r.digest);
        msg_write_read_reply(out, &h, &r);
        count(READ);
    }
}

void
__wrap_node_reply(struct node *n, const struct bft_action *a, struct c2_blob *msg)
{
    struct c2_buf lie = { 0 };
    get_ready();
    lie_about(c2_blob_slice(msg), &lie);
    if (lie.len == 0) {
        __real_node_reply(n, a, msg);
        return;
    }
    struct c2_blob *b = c2_blob_copy(lie.data, lie.len);
    c2_buf_done(&lie);
    __real_node_reply(n, a, b);
    c2_blob_unref(b);
}
