/* SPDX-License-Identifier: MIT */
/*
 * What a client is answered.
 *
 * A client asks the primary, and all replicas answer: to who has asked, on that connection, else on
 * the one that the request's session was opened on. Where that one is not known, on all of the key,
 * as long as it has not had its share.
 */
#include <string.h>

#include "base/mark.h"
#include "metadata/node_int.h"

#define ANSWER_SHORT (2 * BFT_ANSWER_SHORT) /* with all that is around it */

void
node_reply_on(struct node *n, struct node_conn *c, struct c2_blob *msg)
{
    node_charge_answer(c, msg->len);
    enum c2_err err = c2_net_send(c->net, C2_NET_NORMAL, msg);
    if (err != C2_E_OK)
        n->unsent++; /* the client asks again */
}

/* The digest of a long result is enough for a vote. */
static struct c2_blob *
without_result(const struct c2_blob *msg)
{
    struct msg_head h = { 0 };
    struct msg_reply m = { 0 };
    struct c2_buf out = { 0 };
    enum c2_err err = msg_read_head(c2_blob_slice(msg), &h);
    if (err == C2_E_OK)
        err = msg_read_reply(c2_blob_slice(msg), &m);
    C2_ASSERT(err == C2_E_OK); /* we have written it */
    m.has_result = 0;
    m.result = c2_slice(NULL, 0);
    msg_write_reply(&out, &h, &m);
    struct c2_blob *b = c2_blob_copy(out.data, out.len);
    c2_buf_done(&out);
    return b;
}

/* What was executed is always answered, or its client could not tell a replica that has not from
 * one that will not say so; but a key that has had its share has long results from others, or when
 * it asks again. */
static void
answer_session(struct node *n, struct node_conn *c, struct c2_blob *msg)
{
    if (!node_has_had_its_share(c)) {
        node_reply_on(n, c, msg);
        return;
    }
    C2_MARK("node: an answer to a key that has had its share");
    struct c2_blob *b = msg->len > ANSWER_SHORT ? without_result(msg) : c2_blob_ref(msg);
    node_charge_owed(c, b->len);
    enum c2_err err = c2_net_send(c->net, C2_NET_NORMAL, b);
    if (err != C2_E_OK)
        n->unsent++;
    c2_blob_unref(b);
}

/* Nobody has asked us, or on another connection. */
static void
volunteer(struct node *n, struct node_conn *c, struct c2_blob *msg)
{
    if (node_has_had_its_share(c))
        n->unsent++;
    else
        node_reply_on(n, c, msg);
}

static bool
is_of_key(const struct node_conn *c, const uint8_t *key)
{
    return !c->replica && c->known && memcmp(c->net->peer, key, MSG_KEY_LEN) == 0;
}

static struct node_conn *
find_session(const struct node *n, const uint8_t *key, uint64_t nonce)
{
    struct node_conn *found = NULL;
    C2_LIST_FOREACH (&n->conn_list, struct node_conn, c, link) {
        if (c->nonce == nonce && is_of_key(c, key))
            found = c; /* the others have perhaps ended, and we do not know it yet */
    }
    return found;
}

void
node_reply(struct node *n, const struct bft_action *a, struct c2_blob *msg)
{
    struct node_conn *c = NULL;
    if (a->conn != 0) {
        c = node_find_conn(n, a->conn);
        if (c != NULL)
            node_reply_on(n, c, msg);
        return;
    }
    if (a->nonce != 0)
        c = find_session(n, a->key, a->nonce);
    if (c != NULL) {
        answer_session(n, c, msg);
        return;
    }
    C2_LIST_FOREACH (&n->conn_list, struct node_conn, o, link) {
        if (is_of_key(o, a->key))
            volunteer(n, o, msg);
    }
}
