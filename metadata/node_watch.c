/* SPDX-License-Identifier: MIT */
/*
 * What clients watch. Every batch that changes something under a prefix of a connection gives it
 * one EVENT message, in order; `after` names the one before, so a lost one shows. The first EVENT
 * after a WATCH has no changes: it says from which batch on the client hears of them.
 *
 * What does not fit into the queue of the connection, or was never executed here because the state
 * was fetched, is lost to the stream. The next event would show that, but perhaps nothing changes
 * any more: so an event without changes says `lost` as soon as it can, and the client asks anew.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "metadata/node_int.h"

#define EVENTS_MAX (MSG_BYTES_MAX / 2)

static void
send_event(struct node *n, struct node_conn *c, uint64_t at, bool lost, struct c2_slice events)
{
    const struct bft_config *config = bft_current_config(n->core);
    struct bft_info info;
    bft_info(n->core, &info);
    struct msg_head h = { .type = MSG_EVENT, .sender = info.seat, .epoch = config->epoch };
    h.cluster = config->cluster;
    const struct msg_event e = {
        .wseq = c->wseq, .n = at, .after = c->last_n, .lost = lost, .events = events
    };
    struct c2_buf out = { 0 };
    msg_write_event(&out, &h, &e);
    struct c2_blob *b = c2_blob_copy(out.data, out.len);
    c2_buf_done(&out);
    node_charge_answer(c, b->len);
    c->last_n = at;
    c->lost = c2_net_send(c->net, C2_NET_NORMAL, b) != C2_E_OK;
    c2_blob_unref(b);
}

/* From the batch that was executed last on it is told of everything. */
static void
say_lost(struct node *n, struct node_conn *c)
{
    struct bft_info info;
    bft_info(n->core, &info);
    send_event(n, c, info.executed, true, c2_slice(NULL, 0));
}

void
node_watch_writable(struct node *n, struct node_conn *c)
{
    if (!c->watching || !c->lost)
        return;
    C2_MARK("node: a watch learns that its queue was full");
    say_lost(n, c);
}

void
node_watches_lost(struct node *n)
{
    C2_LIST_FOREACH (&n->conn_list, struct node_conn, c, link) {
        if (c->watching)
            say_lost(n, c);
    }
}

void
node_unwatch(struct node_conn *c)
{
    c->watching = false;
    c->nprefixes = 0;
    c2_buf_done(&c->prefixes);
}

void
node_watch(struct node *n, struct node_conn *c, struct c2_slice msg)
{
    struct msg_watch w;
    if (msg_read_watch(msg, &w) != C2_E_OK || w.count > NODE_PREFIXES_MAX || w.wseq <= c->wseq)
        return;
    struct bft_info info;
    bft_info(n->core, &info);
    node_unwatch(c);
    c->wseq = w.wseq;
    c->nprefixes = w.count;
    c2_buf_append(&c->prefixes, w.prefixes.data, w.prefixes.len);
    c->watching = w.count > 0;
    c->last_n = 0;
    send_event(n, c, info.executed, false, c2_slice(NULL, 0));
}

static void
take_acl(struct node *n, const struct bft_job *job)
{
    if (!job->acl_changed)
        return;
    enum c2_err err = rights_load(&n->rights, c2_buf_slice(&job->acl));
    C2_ASSERT(err == C2_E_OK); /* it comes from our own executor */
}

static bool
is_watched(const struct node_conn *c, struct c2_slice key)
{
    struct c2_rd r = c2_rd_init(c2_buf_slice(&c->prefixes));
    for (uint32_t i = 0; i < c->nprefixes; i++) {
        if (c2_slice_starts_with(key, c2_rd_bytes(&r, SIZE_MAX)))
            return true;
    }
    return false;
}

/* Those of the events that the connection watches, and that its client may know of. */
static void
filter(const struct node *n, const struct node_conn *c, struct c2_slice events, struct c2_buf *out)
{
    struct c2_rd r = c2_rd_init(events);
    while (c2_rd_left(&r) > 0) {
        uint64_t version = c2_rd_u64(&r);
        uint8_t deleted = c2_rd_u8(&r);
        struct c2_slice key = c2_rd_bytes(&r, SIZE_MAX);
        C2_ASSERT(c2_rd_ok(&r));
        if (!is_watched(c, key) || (rights_of(&n->rights, c->net->peer, key) & COORD_MAY_READ) == 0)
            continue;
        c2_wr_u64(out, version);
        c2_wr_u8(out, deleted);
        c2_wr_bytes(out, key);
    }
}

void
node_tell(struct node *n, const struct bft_job *job)
{
    uint64_t at = job->n;
    struct c2_slice events = c2_buf_slice(&job->events);
    bool lost = job->events_lost;
    take_acl(n, job);
    if (events.len == 0 && !lost)
        return;
    C2_LIST_FOREACH (&n->conn_list, struct node_conn, c, link) {
        if (!c->watching)
            continue;
        struct c2_buf mine = { 0 };
        if (!lost)
            filter(n, c, events, &mine);
        bool too_many = lost || mine.len > EVENTS_MAX;
        if (too_many)
            send_event(n, c, at, true, c2_slice(NULL, 0));
        else if (mine.len > 0)
            send_event(n, c, at, false, c2_buf_slice(&mine));
        c2_buf_done(&mine);
    }
}
