/* SPDX-License-Identifier: MIT */
/*
 * Events. Every replica tells of each batch that changes something watched, in order: a stream. It
 * begins with an acknowledgement ("from batch ack_n on"), and each event names the one before, so
 * a stream has no gap that does not show; one with a gap is asked to begin anew.
 *
 * An event for batch n is believed when f + 1 streams have it next: n is the first event that they
 * have not had accepted, they agree on its content, and they began at or before the last accepted
 * batch. One of them is from a correct replica, which has left nothing out since then, so nothing
 * between the two is missing.
 *
 * When fewer than a quorum of streams have run without a gap since the last accepted batch, f + 1
 * correct ones may not be among them, and something may be missed: the watches reload once a quorum
 * runs. They also do when events wait for STUCK_NS on f + 1 streams and no agreement comes of it,
 * which is rare: streams that began at different batches, and a liar between them.
 *
 * A replica that is in another epoch than we are, or lags, acknowledges in vain: it is asked again,
 * less and less often, until the stream runs. One whose stream has a gap again and again, because
 * it lies or cannot keep up, is asked a few times at once, then every AGAIN_NS. Each has its own
 * timer: what one does holds up no other.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/wire.h"
#include "metadata/bft_client_int.h"

#define PENDING_BYTES_MAX (8u << 20) /* of one stream */
#define PREFIXES_MAX      64
#define STUCK_NS          C2_NS_PER_S
#define AGAIN_NS          C2_NS_PER_S
#define AGAIN_MAX_NS      (16 * C2_NS_PER_S)
#define AT_ONCE           4 /* times that a stream is begun in a row */

/* ---- asking ---------------------------------------------------------------------------------- */

/* What an event takes in pending. */
static size_t
cost_of(size_t len)
{
    return sizeof(struct client_event) + len;
}

static void
pop_event(struct client_stream *s)
{
    struct client_event *e = C2_LIST_FIRST(&s->pending, struct client_event, link);
    c2_list_remove(&s->pending, &e->link);
    s->bytes -= cost_of(e->events.len);
    c2_buf_done(&e->events);
    c2_free(e);
}

static void
end_stream(struct client_stream *s)
{
    s->registered = false;
    while (!c2_list_empty(&s->pending))
        pop_event(s);
}

static unsigned
count_streams(const struct bft_client *c)
{
    unsigned count = 0;
    for (unsigned i = 0; i < c->config.n; i++)
        count += c->replicas[i].stream.registered;
    return count;
}

/* Has told of everything since the last accepted batch. */
static bool
is_continuous(const struct bft_client *c, const struct client_stream *s)
{
    return s->registered && s->ack_n <= c->accepted_n;
}

/* Something about a stream has changed. */
static void
check_streams(struct bft_client *c)
{
    unsigned continuous = 0;
    for (unsigned i = 0; i < c->config.n; i++)
        continuous += is_continuous(c, &c->replicas[i].stream);
    if (continuous < bft_quorum(&c->config))
        c->reload_due = true;
    if (c->reload_due && count_streams(c) >= bft_quorum(&c->config))
        c2_defer(c->base.env, &c->reload_task);
}

/* As the service knows it; what is too long for it is cut, and then more comes than is wanted. */
static void
put_prefix(const struct bft_client *c, struct c2_slice prefix, struct c2_buf *out)
{
    size_t len = C2_MIN(prefix.len, COORD_KEY_MAX - c->prefix.len);
    c2_wr_u32(out, (uint32_t)(c->prefix.len + len));
    c2_wr_raw(out, c->prefix.data, c->prefix.len);
    c2_wr_raw(out, prefix.data, len);
}

/* Events as the caller knows the keys. */
static void
strip_events(const struct bft_client *c, struct c2_buf *events)
{
    struct c2_slice prefix = c2_buf_slice(&c->prefix);
    struct c2_rd r = c2_rd_init(c2_buf_slice(events));
    struct c2_buf out = { 0 };
    if (prefix.len == 0)
        return;
    while (c2_rd_left(&r) > 0) {
        uint64_t version = c2_rd_u64(&r);
        uint8_t deleted = c2_rd_u8(&r);
        struct c2_slice key = c2_rd_bytes(&r, COORD_KEY_MAX);
        if (!c2_slice_starts_with(key, prefix))
            continue;
        c2_wr_u64(&out, version);
        c2_wr_u8(&out, deleted);
        c2_wr_bytes(&out, c2_slice(key.data + prefix.len, key.len - prefix.len));
    }
    c2_buf_done(events);
    *events = out;
}

static void
begin_stream(struct client_replica *r)
{
    struct bft_client *c = r->c;
    struct msg_head h = { .type = MSG_WATCH, .sender = MSG_SENDER_CLIENT };
    struct c2_buf prefixes = { 0 };
    struct msg_watch m = { .wseq = ++c->next_wseq };
    uint64_t now_ns = c2_now_ns(c->base.env);
    end_stream(&r->stream);
    check_streams(c);
    r->stream.wseq = m.wseq;
    if (c->watches.watches.count > PREFIXES_MAX) {
        put_prefix(c, c2_slice(NULL, 0), &prefixes); /* everything, and we look ourselves */
        m.count = 1;
    } else {
        C2_LIST_FOREACH (&c->watches.watches, struct coord_watch, w, link)
            put_prefix(c, w->prefix, &prefixes);
        m.count = (uint32_t)c->watches.watches.count;
    }
    m.prefixes = c2_buf_slice(&prefixes);
    h.epoch = c->config.epoch;
    h.cluster = c->config.cluster;
    struct c2_buf out = { 0 };
    msg_write_watch(&out, &h, &m);
    struct c2_blob *b = c2_blob_copy(out.data, out.len);
    client_send_urgent(c, r->seat, b);
    c2_blob_unref(b);
    c2_buf_done(&out);
    c2_buf_done(&prefixes);
    r->stream.paid_ns = C2_MIN(C2_MAX(r->stream.paid_ns, now_ns) + AGAIN_NS,
                               now_ns + AT_ONCE * AGAIN_NS); /* our own reasons do not count */
    c2_timer_arm(c->base.env, &r->stream.again, now_ns + C2_MAX(r->stream.again_ns, AGAIN_NS));
}

static void
again_fired(struct c2_timer *t)
{
    struct client_replica *r = C2_CONTAINER_OF(t, struct client_replica, stream.again);
    struct client_stream *s = &r->stream;
    if (!client_is_up(r->c, r->seat) || s->registered)
        return;
    C2_MARK("client: a stream that does not begin");
    s->again_ns = C2_MIN(C2_MAX(s->again_ns, AGAIN_NS) * 2, AGAIN_MAX_NS);
    begin_stream(r);
}

/* What it has told is of no use any more. */
static void
begin_after_gap(struct client_replica *r)
{
    struct client_stream *s = &r->stream;
    struct bft_client *c = r->c;
    uint64_t at_ns = s->paid_ns - C2_MIN(s->paid_ns, (AT_ONCE - 1) * AGAIN_NS);
    C2_MARK("client: a stream with a gap");
    if (at_ns <= c2_now_ns(c->base.env)) {
        begin_stream(r);
        return;
    }
    C2_MARK("client: a stream with gaps again and again");
    end_stream(s);
    s->wseq = 0;
    c2_timer_arm(c->base.env, &s->again, at_ns);
    check_streams(c);
}

static void
begin_all(struct bft_client *c)
{
    c->reload_due = true;
    for (unsigned i = 0; i < c->config.n; i++) {
        if (client_is_up(c, i))
            begin_stream(&c->replicas[i]);
    }
}

static void
watch_task(struct c2_task *t)
{
    struct bft_client *c = C2_CONTAINER_OF(t, struct bft_client, watch_task);
    if (!c->closing)
        begin_all(c);
}

void
client_watches_changed(struct bft_client *c)
{
    if (!c->closing)
        c2_defer(c->base.env, &c->watch_task);
}

void
client_stream_up(struct client_replica *r)
{
    if (!c2_list_empty(&r->c->watches.watches))
        begin_stream(r);
}

void
client_stream_down(struct client_replica *r)
{
    struct bft_client *c = r->c;
    end_stream(&r->stream);
    r->stream.wseq = 0;
    c2_timer_stop(c->base.env, &r->stream.again);
    if (!c->closing)
        check_streams(c);
}

/* ---- believing ------------------------------------------------------------------------------- */

/* The next event of a stream that may be counted. */
static struct client_event *
head_of(const struct bft_client *c, unsigned seat)
{
    const struct client_stream *s = &c->replicas[seat].stream;
    if (!is_continuous(c, s))
        return NULL;
    return C2_LIST_FIRST(&s->pending, struct client_event, link);
}

/* The earliest event that f + 1 streams have next; NULL when there is none. */
static struct client_event *
next_event(const struct bft_client *c)
{
    struct client_event *best = NULL;
    for (unsigned i = 0; i < c->config.n; i++) {
        struct client_event *e = head_of(c, i);
        unsigned same = 0;
        for (unsigned k = 0; e != NULL && k < c->config.n; k++) {
            const struct client_event *o = head_of(c, k);
            same += o != NULL && o->n == e->n &&
                    c2_slice_equal(c2_buf_slice(&o->events), c2_buf_slice(&e->events));
        }
        if (e != NULL && same >= client_weak(c) && (best == NULL || e->n < best->n))
            best = e;
    }
    return best;
}

static void
drop_accepted(struct bft_client *c)
{
    for (unsigned i = 0; i < c->config.n; i++) {
        struct client_stream *s = &c->replicas[i].stream;
        const struct client_event *e;
        while ((e = C2_LIST_FIRST(&s->pending, struct client_event, link)) != NULL &&
               e->n <= c->accepted_n)
            pop_event(s);
    }
}

static unsigned
count_waiting(const struct bft_client *c)
{
    unsigned count = 0;
    for (unsigned i = 0; i < c->config.n; i++)
        count += !c2_list_empty(&c->replicas[i].stream.pending);
    return count;
}

static void
accept_events(struct bft_client *c)
{
    struct client_event *e;
    while (!c->reload_due && (e = next_event(c)) != NULL) {
        struct c2_buf events = e->events;
        e->events = (struct c2_buf){ 0 };
        c->accepted_n = e->n;
        for (unsigned i = 0; i < c->config.n; i++) /* the bytes are not counted there any more */
            if (head_of(c, i) == e)
                c->replicas[i].stream.bytes -= events.len;
        drop_accepted(c);
        strip_events(c, &events);
        watch_list_deliver(&c->watches, c2_buf_slice(&events), false);
        c2_buf_done(&events);
        c2_timer_stop(c->base.env, &c->stuck);
        if (c->closing)
            return;
    }
    if (count_waiting(c) < client_weak(c))
        c2_timer_stop(c->base.env, &c->stuck);
    else if (!c2_timer_armed(&c->stuck))
        c2_timer_arm(c->base.env, &c->stuck, c2_now_ns(c->base.env) + STUCK_NS);
}

static void
stuck_fired(struct c2_timer *t)
{
    struct bft_client *c = C2_CONTAINER_OF(t, struct bft_client, stuck);
    C2_MARK("client: events without agreement");
    begin_all(c);
}

/* The highest batch from which on f + 1 streams run: a correct replica has executed it. */
static uint64_t
common_start(const struct bft_client *c)
{
    uint64_t best = c->accepted_n;
    for (unsigned i = 0; i < c->config.n; i++) {
        const struct client_stream *s = &c->replicas[i].stream;
        unsigned as_late = 0;
        for (unsigned k = 0; s->registered && k < c->config.n; k++) {
            const struct client_stream *o = &c->replicas[k].stream;
            as_late += o->registered && o->ack_n >= s->ack_n;
        }
        if (as_late >= client_weak(c))
            best = C2_MAX(best, s->ack_n);
    }
    return best;
}

/* A quorum runs: what is read from now on is at least as new as what the streams begin with. */
static void
reload_task(struct c2_task *t)
{
    struct bft_client *c = C2_CONTAINER_OF(t, struct bft_client, reload_task);
    if (c->closing || !c->reload_due || count_streams(c) < bft_quorum(&c->config))
        return;
    c->reload_due = false;
    c->accepted_n = common_start(c);
    c->reloads++;
    drop_accepted(c);
    watch_list_deliver(&c->watches, c2_slice(NULL, 0), true);
    if (!c->closing)
        accept_events(c);
}

/* ---- listening ------------------------------------------------------------------------------- */

/* Whoever fails here is not a correct replica. */
static bool
well_formed(struct c2_slice events)
{
    struct c2_rd r = c2_rd_init(events);
    while (c2_rd_left(&r) > 0) {
        c2_rd_u64(&r);
        c2_rd_u8(&r);
        c2_rd_bytes(&r, COORD_KEY_MAX);
    }
    return c2_rd_finish(&r) == C2_E_OK;
}

void
client_on_event(struct client_replica *r, struct c2_slice m)
{
    struct bft_client *c = r->c;
    struct client_stream *s = &r->stream;
    struct msg_event e;
    if (msg_read_event(m, &e) != C2_E_OK || e.wseq != s->wseq || s->wseq == 0 ||
        !well_formed(e.events))
        return;
    if (!s->registered) {
        s->registered = true;
        s->ack_n = s->last_n = e.n;
        s->again_ns = 0;
        c2_timer_stop(c->base.env, &s->again);
        check_streams(c);
        return;
    }
    if (e.lost != 0 || e.events.len == 0 || e.after != s->last_n || e.n <= s->last_n ||
        s->bytes + cost_of(e.events.len) > PENDING_BYTES_MAX) {
        begin_after_gap(r);
        return;
    }
    s->last_n = e.n;
    if (e.n <= c->accepted_n)
        return;
    struct client_event *p = c2_calloc(1, sizeof *p);
    p->n = e.n;
    c2_buf_append(&p->events, e.events.data, e.events.len);
    s->bytes += cost_of(e.events.len);
    c2_list_append(&s->pending, &p->link);
    accept_events(c);
}

void
client_watch_init(struct bft_client *c)
{
    watch_list_init(&c->watches);
    c->watch_task.run = watch_task;
    c->reload_task.run = reload_task;
    c->stuck.fire = stuck_fired;
    for (unsigned i = 0; i < MSG_REPLICAS_MAX; i++) {
        c2_list_init(&c->replicas[i].stream.pending);
        c->replicas[i].stream.again.fire = again_fired;
    }
}

void
client_watch_done(struct bft_client *c)
{
    c2_timer_stop(c->base.env, &c->stuck);
    for (unsigned i = 0; i < MSG_REPLICAS_MAX; i++) {
        c2_timer_stop(c->base.env, &c->replicas[i].stream.again);
        end_stream(&c->replicas[i].stream);
    }
}
