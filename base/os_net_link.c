/* SPDX-License-Identifier: MIT */
/*
 * Messages over one connection.
 *
 * Out: send puts a message into the queue of its class; at the end of the turn, frames go to `out`
 * from the highest class on, as long as the socket takes them. In: bytes go to `in`, whole frames
 * to the owner. A link never hogs the loop: after MOVE_MAX bytes in either direction it goes on in
 * the next turn.
 *
 * Memory is bounded: the queue by queue_max (or the one message that overflows it), `out` by
 * OUT_MAX and one frame, `in` by READ_SIZE and one frame, and it grows with the bytes that came,
 * not with what a length claims.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/os_net_impl.h"
#include "base/wire.h"

#define HEAD_LEN  4
#define OUT_MAX   (256u << 10)
#define READ_SIZE (64u << 10)
#define MOVE_MAX  (1u << 20)
#define IN_KEEP   (256u << 10) /* larger buffers go back when they are empty */

struct os_message {
    struct c2_link link;
    struct c2_blob *blob; /* one reference */
};

void
os_link_init(struct os_link *l, struct os_net *net)
{
    l->net = net;
    l->base.net = &net->base;
    l->watch.fd = -1;
    for (unsigned c = 0; c < C2_NET_CLASSES; c++)
        c2_list_init(&l->queues[c]);
}

static struct c2_blob *
take(struct os_link *l, struct c2_list *q)
{
    struct os_message *m = C2_LIST_FIRST(q, struct os_message, link);
    struct c2_blob *b = m->blob;
    c2_list_remove(q, &m->link);
    l->queued -= b->len;
    c2_free(m);
    return b;
}

void
os_link_reset(struct os_link *l)
{
    for (unsigned c = 0; c < C2_NET_CLASSES; c++) {
        while (!c2_list_empty(&l->queues[c]))
            c2_blob_unref(take(l, &l->queues[c]));
    }
    c2_buf_done(&l->in);
    c2_buf_done(&l->out);
    l->in_pos = l->out_pos = 0;
    l->paused = l->choked = l->refused = l->wants_out = false;
}

void
os_link_update(struct os_link *l)
{
    bool in = true;
    bool out = l->wants_out;
    if (l->sm.state == OS_LINK_CONNECTING || l->sm.state == OS_LINK_HANDSHAKE) {
        out = out || l->sm.state == OS_LINK_CONNECTING;
        in = !out;
    } else {
        in = !l->paused && !l->choked;
    }
    unsigned events = (in ? (unsigned)C2_FD_IN : 0) | (out ? (unsigned)C2_FD_OUT : 0);
    if (events == l->watch.events && l->watch.active)
        return;
    l->watch.events = events;
    enum c2_err err = c2_os_watch(l->net->os, &l->watch);
    C2_ASSERT(err == C2_E_OK); /* only memory of the kernel can lack */
}

/* ---- out ------------------------------------------------------------------------------------- */

static void
put_head(struct os_link *l, size_t len)
{
    c2_wr_u32(&l->out, (uint32_t)len);
    l->sent_at_ns = c2_now_ns(l->net->base.env);
}

void
os_link_ping(struct os_link *l)
{
    put_head(l, 0);
    c2_defer(l->net->base.env, &l->task);
}

/* Moves frames from the queues to `out`, if there is room; false: there is nothing to send. */
static bool
fill_out(struct os_link *l)
{
    if (l->out_pos == l->out.len) {
        c2_buf_clear(&l->out);
        l->out_pos = 0;
        if (l->out.cap > 2 * OUT_MAX)
            c2_buf_done(&l->out);
    }
    for (unsigned c = C2_NET_CLASSES; c-- > 0;) {
        while (!c2_list_empty(&l->queues[c]) && l->out.len - l->out_pos < OUT_MAX) {
            struct c2_blob *b = take(l, &l->queues[c]);
            put_head(l, b->len);
            c2_wr_raw(&l->out, b->data, b->len);
            l->base.sent_bytes += b->len;
            c2_blob_unref(b);
        }
    }
    return l->out_pos < l->out.len;
}

/* As much as the socket takes. */
static C2_RESULT
write_out(struct os_link *l)
{
    size_t moved = 0;
    l->wants_out = false;
    while (fill_out(l)) {
        if (moved >= MOVE_MAX) {
            c2_defer(l->net->base.env, &l->task);
            return C2_E_OK;
        }
        size_t n = 0;
        unsigned events = 0;
        enum c2_err err = c2_tls_write(l->tls, l->out.data + l->out_pos,
                                       C2_MIN(l->out.len - l->out_pos, OUT_MAX), &n, &events);
        if (err == C2_E_AGAIN) {
            l->wants_out = events == C2_FD_OUT;
            return C2_E_OK;
        }
        C2_TRY(err);
        l->out_pos += n;
        moved += n;
        l->took_at_ns = c2_now_ns(l->net->base.env);
        if (l->out_pos >= OUT_MAX) { /* what is sent does not pile up in front of what is not */
            memmove(l->out.data, l->out.data + l->out_pos, l->out.len - l->out_pos);
            l->out.len -= l->out_pos;
            l->out_pos = 0;
        }
    }
    l->took_at_ns = c2_now_ns(l->net->base.env);
    return C2_E_OK;
}

void
os_link_flush(struct os_link *l)
{
    if (l->sm.state != OS_LINK_UP)
        return;
    enum c2_err err = write_out(l);
    if (err != C2_E_OK)
        c2_log(DEBUG, "net", "err=%s; what was queued is lost", c2_err_name(err));
}

static void
relieve(struct os_link *l)
{
    if (l->queued > l->as.queue_max / 2)
        return;
    if (l->choked) {
        l->choked = false;
        l->got_at_ns = l->frame_at_ns = c2_now_ns(l->net->base.env);
        c2_defer(l->net->base.env, &l->task); /* TLS may hold bytes already */
    }
    if (l->refused) {
        l->refused = false;
        if (l->base.events->writable != NULL)
            l->base.events->writable(&l->base);
    }
}

/* ---- in -------------------------------------------------------------------------------------- */

/* The other side has let us in. */
static void
admitted(struct os_link *l)
{
    l->up_at_ns = c2_now_ns(l->net->base.env);
    os_link_up(l);
}

/* Gives the owner every whole frame. It may pause or close the link. */
static C2_RESULT
deliver(struct os_link *l)
{
    while (l->in.len - l->in_pos >= HEAD_LEN && !l->paused) {
        size_t len = c2_get_u32(l->in.data + l->in_pos);
        if (len > l->as.frame_max)
            return C2_E_PROTOCOL;
        if (l->in.len - l->in_pos - HEAD_LEN < len)
            break;
        struct c2_slice m = c2_slice(l->in.data + l->in_pos + HEAD_LEN, len);
        l->in_pos += HEAD_LEN + len;
        l->frame_at_ns = c2_now_ns(l->net->base.env);
        if (l->sm.state == OS_LINK_ADMISSION) {
            if (len != 0)
                return C2_E_PROTOCOL;
            admitted(l);
        } else if (len != 0) {
            l->base.got_bytes += len;
            l->base.events->message(&l->base, m);
        }
        if (l->sm.state != OS_LINK_UP)
            return C2_E_CANCELED;
    }
    if (l->in_pos == l->in.len) {
        c2_buf_clear(&l->in);
        if (l->in.cap > IN_KEEP)
            c2_buf_done(&l->in);
        l->in_pos = 0;
    } else if (l->in_pos >= READ_SIZE) {
        memmove(l->in.data, l->in.data + l->in_pos, l->in.len - l->in_pos);
        l->in.len -= l->in_pos;
        l->in_pos = 0;
    }
    return C2_E_OK;
}

/* CANCELED: the link is not what it was, touch nothing. */
static C2_RESULT
read_in(struct os_link *l)
{
    C2_TRY(deliver(l)); /* what was there when the owner paused */
    size_t moved = 0;
    while (!l->paused && !l->choked) {
        if (moved >= MOVE_MAX) {
            c2_defer(l->net->base.env, &l->task);
            return C2_E_OK;
        }
        size_t n = 0;
        unsigned events = 0;
        c2_buf_reserve(&l->in, READ_SIZE);
        enum c2_err err = c2_tls_read(l->tls, l->in.data + l->in.len, READ_SIZE, &n, &events);
        if (err == C2_E_AGAIN) {
            l->wants_out = l->wants_out || events == C2_FD_OUT;
            return C2_E_OK;
        }
        C2_TRY(err);
        if (l->in.len == l->in_pos)
            l->frame_at_ns = c2_now_ns(l->net->base.env);
        l->in.len += n;
        l->got_at_ns = c2_now_ns(l->net->base.env);
        moved += n;
        C2_TRY(deliver(l));
        if (!c2_tls_has_more(l->tls)) /* else epoll tells: no call to hear that nothing is there */
            break;
    }
    return C2_E_OK;
}

/* ---- both ------------------------------------------------------------------------------------ */

void
os_link_move(struct os_link *l, unsigned events)
{
    enum c2_err err = C2_E_OK;
    if ((events & C2_FD_IN) != 0)
        err = read_in(l);
    if (err == C2_E_OK && l->sm.state == OS_LINK_UP)
        err = write_out(l);
    if (err == C2_E_OK && l->sm.state == OS_LINK_UP)
        relieve(l);
    if (err == C2_E_CANCELED || l->sm.state == OS_LINK_CLOSED || l->sm.state == OS_LINK_WAITING)
        return;
    if (err != C2_E_OK)
        os_link_fail(l, err);
    else
        os_link_update(l);
}

void
os_link_up(struct os_link *l)
{
    struct c2_env *e = l->net->base.env;
    uint64_t now_ns = c2_now_ns(e);
    l->got_at_ns = l->sent_at_ns = l->took_at_ns = l->frame_at_ns = now_ns;
    c2_sm_go(&l->sm, OS_LINK_UP);
    l->base.up = true;
    c2_timer_arm(e, &l->timer, now_ns + l->net->opts.ping_ns / 2);
    c2_defer(e, &l->task);
    os_link_update(l);
    if (l->base.events->up != NULL)
        l->base.events->up(&l->base);
}

/* Is the peer still there, and does it know that we are? */
void
os_link_tick(struct os_link *l)
{
    const struct c2_os_net_options *o = &l->net->opts;
    struct c2_env *e = l->net->base.env;
    uint64_t now_ns = c2_now_ns(e);
    bool reads = !l->paused && !l->choked;
    bool silent = reads && now_ns - l->got_at_ns > o->dead_ns;
    bool stuck = l->out_pos < l->out.len && now_ns - l->took_at_ns > o->dead_ns;
    bool dribbles = reads && l->in.len > l->in_pos && now_ns - l->frame_at_ns > o->frame_ns;
    if (silent || stuck || dribbles) {
        C2_MARK("net: a dead peer");
        os_link_fail(l, C2_E_TIMEOUT);
        return;
    }
    if (now_ns - l->sent_at_ns >= o->ping_ns && l->out_pos == l->out.len)
        os_link_ping(l);
    c2_timer_arm(e, &l->timer, now_ns + o->ping_ns / 2);
}

/* Room for len bytes, if that costs only messages of class c and below. */
static bool
drop_for(struct os_link *l, enum c2_net_class c, size_t len)
{
    for (unsigned low = 0; low <= (unsigned)c; low++) {
        while (l->queued + len > l->as.queue_max && !c2_list_empty(&l->queues[low])) {
            c2_blob_unref(take(l, &l->queues[low]));
            l->base.dropped++;
        }
    }
    return l->queued + len <= l->as.queue_max || l->queued == 0;
}

C2_RESULT
os_link_send(struct c2_net_link *base, enum c2_net_class c, struct c2_blob *b)
{
    struct os_link *l = os_link_of(base);
    C2_ASSERT((unsigned)c < C2_NET_CLASSES);
    if (!base->up)
        return C2_E_UNREACHABLE;
    if (l->as.policy == C2_NET_DROP) {
        if (!drop_for(l, c, b->len)) {
            C2_MARK("net: a full queue of higher classes");
            base->dropped++;
            return C2_E_OK;
        }
    } else if (l->queued > 0 && l->queued + b->len > l->as.queue_max) {
        l->refused = true;
        l->choked = true;
        os_link_update(l);
        return C2_E_BUSY;
    }
    struct os_message *m = c2_calloc(1, sizeof *m);
    m->blob = c2_blob_ref(b);
    c2_list_append(&l->queues[c], &m->link);
    l->queued += b->len;
    c2_defer(l->net->base.env, &l->task);
    return C2_E_OK;
}

void
os_link_pause(struct c2_net_link *base, bool paused)
{
    struct os_link *l = os_link_of(base);
    if (!base->up || l->paused == paused)
        return;
    l->paused = paused;
    l->got_at_ns = l->frame_at_ns = c2_now_ns(l->net->base.env);
    os_link_update(l);
    if (!paused)
        c2_defer(l->net->base.env, &l->task);
}
