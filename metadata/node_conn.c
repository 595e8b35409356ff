/* SPDX-License-Identifier: MIT */
/*
 * The connections of a replica. It dials every other member and sends to it only on that link; what
 * others send comes on the links that they dialled. Clients dial all replicas. A replica that was
 * replaced is a client without certificate to the members of today: it gets the certificate of the
 * next epoch when it asks for it, as everybody does, and nothing else.
 *
 * A client may do nothing but open a session until it has shown, on this connection, that the
 * client authority has admitted its key: that is the certificate inside an OPEN request. Whoever
 * does not do so in time is disconnected.
 *
 * No key gets more than NODE_TURN_MAX messages or NODE_TURN_BYTES in a row, over all of its
 * connections: then they rest until the next turn of the loop; and they rest while the key has had
 * its share (node_share.c). Then its connections go on one after the other. Whoever comes before
 * the log was read rests until then. A client that has signed a request wrongly, or sends that of
 * another one, over a channel that nothing can change, is disconnected and punished.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "metadata/node_int.h"

#define REPLICA_QUEUE_MAX (32u << 20)
#define CLIENT_QUEUE_MAX  (4u << 20)
#define CLIENT_LINKS_MAX  16 /* of one key */
#define REPLICA_LINKS_MAX 2
#define ANSWER_MAX        (16u << 10) /* on a link that we dialled */
#define SHOW_NS           (10 * C2_NS_PER_S)
#define SLACK_LINKS       128

/* ---- who is who ------------------------------------------------------------------------------ */

/* The member with this transport key; n of them when there is none. */
static unsigned
seat_of_key(const struct bft_config *c, const uint8_t *key)
{
    uint8_t hash[C2_SHA256_LEN];
    c2_sha256(c2_slice(key, MSG_KEY_LEN), hash);
    for (unsigned i = 0; i < c->n; i++) {
        const struct bft_member *m = &c->member[i];
        if (memcmp(m->identity_key, key, MSG_KEY_LEN) == 0 ||
            memcmp(m->tls_hash[0], hash, sizeof hash) == 0 ||
            memcmp(m->tls_hash[1], hash, sizeof hash) == 0)
            return i;
    }
    return c->n;
}

struct node_conn *
node_find_conn(const struct node *n, uint64_t id)
{
    struct c2_map_node *m = c2_map_find(&n->conns, c2_map_hash_u64(&n->conns, id));
    for (; m != NULL; m = c2_map_find_next(m)) {
        struct node_conn *c = C2_CONTAINER_OF(m, struct node_conn, node);
        if (c->id == id)
            return c;
    }
    return NULL;
}

static void
free_conn(struct node_conn *c)
{
    struct node *n = c->owner;
    node_leave_key(n, c->whose);
    c2_map_remove(&n->conns, &c->node);
    c2_list_remove(&n->conn_list, &c->link);
    if (c2_link_linked(&c->rest))
        c2_list_remove(&n->resting, &c->rest);
    if (!c->replica)
        n->nclients--;
    if (!c->replica && !c->known)
        n->nunknown--;
    node_unwatch(c);
    c2_free(c);
}

/* No event of it comes any more. */
static void
end_conn(struct node_conn *c)
{
    struct c2_net_link *l = c->net;
    free_conn(c);
    c2_net_close(l);
}

/* ---- what comes ------------------------------------------------------------------------------ */

/* All connections of the key end. */
static void
catch_client(struct node *n, const struct node_conn *c)
{
    uint8_t key[C2_NET_KEY_LEN];
    memcpy(key, c->net->peer, sizeof key);
    node_punish(n, key);
    C2_LIST_FOREACH (&n->conn_list, struct node_conn, o, link) {
        if (memcmp(o->net->peer, key, sizeof key) == 0)
            end_conn(o);
    }
}

static uint64_t
count_bad_signatures(const struct node *n)
{
    struct bft_info info;
    bft_info(n->core, &info);
    return info.count.sig_bad;
}

/* The step may end the connection itself: another epoch may have begun. */
static void
give_client_message(struct node *n, struct node_conn *c, struct c2_slice m)
{
    uint64_t bad = count_bad_signatures(n);
    uint64_t id = c->id;
    struct c2_blob *b = c2_blob_copy(m.data, m.len);
    struct bft_event ev = { .kind = BFT_EV_CLIENT, .conn = c->id, .key = c->net->peer, .msg = b };
    node_step(n, &ev);
    c2_blob_unref(b);
    if (n->failed || count_bad_signatures(n) == bad || node_find_conn(n, id) == NULL)
        return;
    C2_MARK("node: a wrong signature of a client");
    catch_client(n, c);
}

/* What others have signed is theirs to send: whoever has got hold of it could make us answer, or
 * find out what they were answered. */
static void
client_request(struct node *n, struct node_conn *c, struct c2_slice m)
{
    struct msg_request r;
    bool reads = msg_read_request(m, &r) == C2_E_OK;
    if (reads && memcmp(r.key, c->net->peer, MSG_KEY_LEN) != 0) {
        C2_MARK("node: a request of another client");
        catch_client(n, c);
        return;
    }
    if (reads && r.kind == MSG_REQ_OPEN)
        c->nonce = r.cseq;
    give_client_message(n, c, m);
}

static void
tell_status(struct node *n, struct node_conn *c)
{
    const struct bft_config *config = bft_current_config(n->core);
    struct msg_head h = { .type = MSG_TELL_STATUS, .epoch = config->epoch };
    struct c2_buf json = { 0 }, out = { 0 };
    struct bft_info info;
    bft_info(n->core, &info);
    h.sender = info.seat;
    h.cluster = config->cluster;
    node_status(n, &json);
    msg_write_tell_status(&out, &h, c2_buf_slice(&json));
    struct c2_blob *b = c2_blob_copy(out.data, out.len);
    node_reply_on(n, c, b);
    c2_blob_unref(b);
    c2_buf_done(&json);
    c2_buf_done(&out);
}

/* Whether this OPEN proves that the channel's key is admitted. */
static bool
shows_certificate(const struct node *n, const struct node_conn *c, struct c2_slice m)
{
    const struct bft_config *config = bft_current_config(n->core);
    struct msg_request r;
    uint8_t hash[C2_SHA256_LEN];
    if (msg_read_request(m, &r) != C2_E_OK || r.kind != MSG_REQ_OPEN || r.op.len != MSG_SIG_LEN ||
        memcmp(r.key, c->net->peer, MSG_KEY_LEN) != 0)
        return false;
    msg_client_hash(config->cluster, r.key, hash);
    const struct bft_crypto *crypto = n->crypto;
    return crypto->verify(crypto, config->client_authority, hash, r.op.data);
}

static void
client_message(struct node *n, struct node_conn *c, struct c2_slice m)
{
    struct msg_head h;
    n->requests++;
    if (msg_read_head(m, &h) != C2_E_OK) {
        end_conn(c);
        return;
    }
    if (h.type == MSG_EPOCH_FETCH) {
        give_client_message(n, c, m);
        return;
    }
    if (!c->known && shows_certificate(n, c, m)) {
        if (n->nclients - n->nunknown >= n->o.clients_max) {
            end_conn(c);
            return;
        }
        c->known = true;
        n->nunknown--;
    }
    if (!c->known) {
        C2_MARK("node: a client without certificate");
        if (c2_now_ns(n->env) - c->since_ns >= SHOW_NS)
            end_conn(c); /* on the next one it begins with its certificate */
        return;
    }
    if (h.type == MSG_ASK_STATUS)
        tell_status(n, c);
    else if (h.type == MSG_WATCH)
        node_watch(n, c, m);
    else if (h.type == MSG_REQUEST)
        client_request(n, c, m);
    else if (h.type == MSG_READ)
        give_client_message(n, c, m);
}

static void
member_message(struct node *n, uint16_t id, struct c2_slice m)
{
    const struct bft_config *config = bft_current_config(n->core);
    unsigned seat = bft_config_seat(config, id);
    if (seat == config->n)
        return;
    struct c2_blob *b = c2_blob_copy(m.data, m.len);
    struct bft_event ev = { .kind = BFT_EV_MESSAGE, .seat = (uint16_t)seat, .msg = b };
    node_step(n, &ev);
    c2_blob_unref(b);
}

static void
conn_message(struct c2_net_link *l, struct c2_slice m)
{
    struct node_conn *c = l->user;
    struct node *n = c->owner;
    if (n->failed)
        return;
    C2_ASSERT(n->started);
    c->whose->turn++;
    c->whose->turn_bytes += m.len;
    if (c->whose->turn >= NODE_TURN_MAX || c->whose->turn_bytes >= NODE_TURN_BYTES)
        node_rest(c);
    if (c->replica) {
        member_message(n, c->member, m);
        return;
    }
    node_charge(c, m);
    client_message(n, c, m);
}

/* ---- connections that come ------------------------------------------------------------------- */

/* The link says `user` = node until it is up. */
static struct node_conn *
new_conn(struct node *n, struct c2_net_link *l)
{
    const struct bft_config *config = bft_current_config(n->core);
    unsigned seat = seat_of_key(config, l->peer);
    struct node_conn *c = c2_calloc(1, sizeof *c);
    c->owner = n;
    c->net = l;
    c->whose = node_join_key(n, l->peer);
    c->id = ++n->next_conn;
    c->since_ns = c2_now_ns(n->env);
    c->replica = seat < config->n;
    if (c->replica)
        c->member = config->member[seat].id;
    else
        n->nclients++;
    n->nunknown += !c->replica;
    c->node.hash = c2_map_hash_u64(&n->conns, c->id);
    c2_map_insert(&n->conns, &c->node);
    c2_list_append(&n->conn_list, &c->link);
    l->user = c;
    return c;
}

static struct node_conn *
oldest_unknown(const struct node *n)
{
    C2_LIST_FOREACH (&n->conn_list, struct node_conn, c, link) {
        if (!c->replica && !c->known)
            return c;
    }
    return NULL;
}

/* What comes before the log was read waits: a client shows its certificate once. */
static void
conn_up(struct c2_net_link *l)
{
    struct node *n = l->user;
    if (n->closing) {
        c2_net_close(l); /* it was shaking hands when all others were closed */
        return;
    }
    struct node_conn *u = n->nunknown < NODE_UNKNOWN_MAX ? NULL : oldest_unknown(n);
    if (u != NULL) {
        C2_MARK("node: the oldest stranger makes room");
        end_conn(u);
    }
    struct node_conn *c = new_conn(n, l);
    if (n->started)
        return;
    C2_MARK("node: a connection before the start");
    c2_net_pause(l, true);
    c2_list_append(&n->resting, &c->rest);
}

static void
conn_writable(struct c2_net_link *l)
{
    struct node_conn *c = l->user;
    if (!c->owner->failed)
        node_watch_writable(c->owner, c);
}

static void
conn_down(struct c2_net_link *l, enum c2_err why)
{
    (void)why;
    free_conn(l->user);
}

static const struct c2_net_events conn_events = {
    .up = conn_up, .message = conn_message, .writable = conn_writable, .down = conn_down
};

/* Strangers that showed no certificate in time make room. */
static void
end_unknown(struct node *n)
{
    uint64_t now_ns = c2_now_ns(n->env);
    C2_LIST_FOREACH (&n->conn_list, struct node_conn, c, link) {
        if (c->replica || c->known || now_ns - c->since_ns < SHOW_NS)
            continue;
        end_conn(c);
    }
}

static bool
admit(void *arg, const uint8_t key[C2_NET_KEY_LEN], struct c2_net_admission *ret)
{
    struct node *n = arg;
    const struct bft_config *config = bft_current_config(n->core);
    if (n->closing)
        return false;
    end_unknown(n);
    ret->events = &conn_events;
    ret->user = n;
    if (seat_of_key(config, key) < config->n) {
        ret->policy = C2_NET_DROP;
        ret->queue_max = REPLICA_QUEUE_MAX;
        ret->frame_max = MSG_BYTES_MAX;
        ret->links_max = REPLICA_LINKS_MAX;
        return true;
    }
    if (n->nclients - n->nunknown >= n->o.clients_max) {
        C2_MARK("node: too many clients");
        return false;
    }
    if (node_is_punished(n, key)) {
        C2_MARK("node: somebody comes back too soon");
        n->turned_away++;
        return false;
    }
    ret->policy = C2_NET_PRESSURE;
    ret->queue_max = CLIENT_QUEUE_MAX;
    ret->frame_max = MSG_REQUEST_MAX;
    ret->links_max = CLIENT_LINKS_MAX;
    return true;
}

C2_RESULT
node_listen(struct node *n, const char *address)
{
    node_share_init(n);
    const struct c2_net_listen l = {
        .address = address,
        .links_max = n->o.clients_max + NODE_UNKNOWN_MAX + SLACK_LINKS +
                     MSG_REPLICAS_MAX * REPLICA_LINKS_MAX,
        .admit = admit,
        .arg = n,
    };
    return c2_net_listen(n->o.net, &l);
}

/* ---- connections to others ------------------------------------------------------------------- */

/* Nothing comes on a link that we dialled but one answer to each question for an epoch: to members
 * of a later one we are a client, and they have no link to us. */
static void
peer_message(struct c2_net_link *l, struct c2_slice m)
{
    struct node_peer *p = l->user;
    struct msg_head h;
    if (!p->asked || msg_read_head(m, &h) != C2_E_OK || h.type != MSG_EPOCH) {
        c2_log(DEBUG, "node", "bytes=%zu on a link for sending; ignored", (size_t)l->got_bytes);
        return;
    }
    p->asked = false;
    if (!p->owner->failed)
        member_message(p->owner, p->member, m);
}

static void
peer_up(struct c2_net_link *l)
{
    const struct node_peer *p = l->user;
    c2_log(INFO, "node", "replica=%u address=%s connected", p->member, p->address);
}

static void
peer_down(struct c2_net_link *l, enum c2_err why)
{
    const struct node_peer *p = l->user;
    c2_log(INFO, "node", "replica=%u address=%s err=%s; connecting again", p->member, p->address,
           c2_err_name(why));
}

static const struct c2_net_events peer_events = { .up = peer_up,
                                                  .message = peer_message,
                                                  .down = peer_down };

static void
dial(struct node *n, struct node_peer *p, const struct bft_member *m)
{
    memcpy(p->address, m->address, sizeof p->address);
    memcpy(p->key, m->identity_key, sizeof p->key);
    p->owner = n;
    p->member = m->id;
    p->asked = false;
    struct c2_net_dial d = { .address = p->address };
    memcpy(d.peer, p->key, sizeof d.peer);
    d.as = (struct c2_net_admission){ .events = &peer_events,
                                      .user = p,
                                      .policy = C2_NET_DROP,
                                      .queue_max = REPLICA_QUEUE_MAX,
                                      .frame_max = ANSWER_MAX };
    p->net = c2_net_dial(n->o.net, &d);
}

void
node_connect(struct node *n, const struct bft_config *config)
{
    for (unsigned i = 0; i < MSG_REPLICAS_MAX; i++) {
        struct node_peer *p = &n->peers[i];
        const struct bft_member *m = i < config->n ? &config->member[i] : NULL;
        bool wanted = m != NULL && m->id != n->id;
        bool same = wanted && p->net != NULL && p->member == m->id &&
                    strcmp(p->address, m->address) == 0 &&
                    memcmp(p->key, m->identity_key, sizeof p->key) == 0;
        if (same)
            continue;
        if (p->net != NULL)
            c2_net_close(p->net);
        p->net = NULL;
        if (wanted && n->started)
            dial(n, p, m);
    }
    /* Whoever came as a member and is none any more, or the reverse, comes again. */
    C2_LIST_FOREACH (&n->conn_list, struct node_conn, c, link) {
        unsigned seat = seat_of_key(config, c->net->peer);
        bool member = seat < config->n;
        if (member == c->replica && (!member || config->member[seat].id == c->member))
            continue;
        end_conn(c);
    }
}

void
node_disconnect(struct node *n)
{
    c2_timer_stop(n->env, &n->rest);
    for (unsigned i = 0; i < MSG_REPLICAS_MAX; i++) {
        if (n->peers[i].net != NULL)
            c2_net_close(n->peers[i].net);
        n->peers[i].net = NULL;
    }
    while (!c2_list_empty(&n->conn_list))
        end_conn(C2_LIST_FIRST(&n->conn_list, struct node_conn, link));
    node_forget_debtors(n);
}

/* ---- what leaves ----------------------------------------------------------------------------- */

/* Votes go before bodies: they are small, and everybody waits for them. */
static enum c2_net_class
class_of(const struct c2_blob *msg)
{
    switch (msg->data[1]) {
    case MSG_PREPARE:
    case MSG_COMMIT:
    case MSG_WISH:
    case MSG_CHECKPOINT:
        return C2_NET_URGENT;
    case MSG_BODY:
    case MSG_DECIDED:
    case MSG_STATE:
    case MSG_EPOCH:
        return C2_NET_BULK;
    default:
        return C2_NET_NORMAL;
    }
}

void
node_send(struct node *n, uint32_t seats, struct c2_blob *msg)
{
    enum c2_net_class class = class_of(msg);
    for (unsigned i = 0; i < MSG_REPLICAS_MAX; i++) {
        struct c2_net_link *l = n->peers[i].net;
        if ((seats & (1u << i)) == 0 || l == NULL)
            continue;
        n->peers[i].asked = n->peers[i].asked || msg->data[1] == MSG_EPOCH_FETCH;
        enum c2_err err = c2_net_send(l, class, msg);
        if (err != C2_E_OK)
            n->unsent++;
    }
}
