/* SPDX-License-Identifier: MIT */
/*
 * The replica: life, dispatch, time. What happens then is in the other bft_*.c files.
 */
#include "metadata/bft.h"

#include <string.h>

#include "base/alloc.h"
#include "metadata/bft_int.h"

/* ---- life ------------------------------------------------------------------------------------ */

C2_RESULT
bft_new(const struct bft_setup *s, struct bft_replica **ret_replica, const char **ret_why)
{
    C2_TRY(bft_config_check(&s->config, ret_why));
    if (s->limits.batch_requests > MSG_BATCH_REQS_MAX || s->limits.batch_bytes > MSG_BATCH_MAX ||
        s->limits.in_flight == 0 || s->limits.batch_requests == 0 || s->limits.jobs < 4) {
        *ret_why = "a limit is out of range";
        return C2_E_INVALID;
    }
    struct bft_replica *r = c2_calloc(1, sizeof *r);
    r->setup = *s;
    r->crypto = s->crypto;
    r->rng = s->seed;
    r->ring = c2_calloc(BFT_RING, sizeof *r->ring);
    r->sig_cache = c2_calloc(BFT_SIG_CACHE, sizeof *r->sig_cache);
    c2_map_init(&r->queues, s->seed ^ 1);
    c2_map_init(&r->principals, s->seed ^ 2);
    c2_map_init(&r->sessions, s->seed ^ 2);
    c2_list_init(&r->session_list);
    c2_list_init(&r->turns);
    c2_list_init(&r->ages);
    c2_list_init(&r->reads);
    r->seat = MSG_SENDER_CLIENT;
    bft_add_key(r, s->sign_secret);
    c2_wipe(r->setup.sign_secret, sizeof r->setup.sign_secret);
    bft_use_config(r, &s->config);
    r->log_epoch = s->config.epoch;
    r->stable = r->proposed = s->config.base;
    *ret_replica = r;
    return C2_E_OK;
}

static void
views_free(struct bft_replica *r)
{
    for (unsigned i = 0; i < MSG_REPLICAS_MAX; i++)
        bft_vc_clear(&r->vc[i]);
    bft_nv_clear(&r->nv);
    for (unsigned i = 0; i < MSG_REPLICAS_MAX; i++)
        bft_nv_clear(&r->nv_next[i]);
    c2_blob_unref(r->own_vc);
}

void
bft_free(struct bft_replica *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < BFT_RING; i++) {
        if (r->ring[i].n != 0)
            bft_slot_clear(r, &r->ring[i]);
    }
    bft_requests_free(r);
    bft_reads_free(r);
    bft_sessions_clear(r);
    c2_map_done(&r->sessions);
    views_free(r);
    bft_epochs_free(r);
    bft_out_done(r);
    c2_buf_done(&r->config_bytes);
    c2_buf_done(&r->stable_cert);
    c2_buf_done(&r->next_config);
    c2_free(r->ring);
    c2_free(r->sig_cache);
    c2_free(r);
}

/* ---- messages -------------------------------------------------------------------------------- */

static void
on_forward(struct bft_replica *r, struct c2_blob *blob)
{
    struct c2_slice request;
    if (msg_read_forward(c2_blob_slice(blob), &request) == C2_E_OK)
        bft_on_request(r, blob, request, 0, true);
    else
        r->count.dropped++;
}

static void
on_wish(struct bft_replica *r, uint16_t seat, struct c2_blob *blob)
{
    struct msg_wish w;
    if (msg_read_wish(c2_blob_slice(blob), &w) == C2_E_OK)
        bft_on_wish(r, seat, w.view);
    else
        r->count.dropped++;
}

static void
dispatch(struct bft_replica *r, uint16_t seat, enum msg_type type, struct c2_blob *blob)
{
    switch (type) {
    case MSG_PRE_PREPARE:
        bft_on_pre_prepare(r, seat, blob);
        return;
    case MSG_PREPARE:
    case MSG_COMMIT:
        bft_on_votes(r, seat, blob);
        return;
    case MSG_CHECKPOINT:
        bft_on_checkpoint(r, seat, blob);
        return;
    case MSG_WISH:
        on_wish(r, seat, blob);
        return;
    case MSG_VIEW_CHANGE:
        bft_on_view_change(r, seat, c2_blob_slice(blob));
        return;
    case MSG_NEW_VIEW:
        bft_on_new_view(r, blob);
        return;
    case MSG_STATUS:
        bft_on_status(r, seat, blob);
        return;
    case MSG_FETCH:
        bft_on_fetch(r, seat, blob);
        return;
    case MSG_BODY:
        bft_on_body(r, seat, blob);
        return;
    case MSG_DECIDED:
        bft_on_decided(r, seat, blob);
        return;
    case MSG_STABLE:
        bft_on_stable(r, blob);
        return;
    case MSG_FORWARD:
        on_forward(r, blob);
        return;
    case MSG_STATE_FETCH:
        bft_on_state_fetch(r, seat, blob);
        return;
    case MSG_STATE:
        bft_on_state(r, seat, blob);
        return;
    case MSG_EPOCH_FETCH:
        bft_on_epoch_fetch(r, 1u << seat, 0, blob);
        return;
    case MSG_EPOCH:
        bft_on_epoch(r, blob);
        return;
    case MSG_REQUEST:
    case MSG_READ:
    case MSG_WATCH:
    case MSG_ASK_STATUS:
    case MSG_REPLY:
    case MSG_READ_REPLY:
    case MSG_EVENT:
    case MSG_TELL_STATUS:
        r->count.dropped++; /* no replica sends those to another */
        return;
    }
}

/* A proposal may be passed on by anybody, a NEW-VIEW and an epoch as well: they prove themselves.
 */
static bool
may_be_relayed(unsigned type)
{
    return type == MSG_PRE_PREPARE || type == MSG_NEW_VIEW || type == MSG_DECIDED;
}

static void
on_message(struct bft_replica *r, uint16_t seat, struct c2_blob *blob)
{
    struct msg_head h;
    if (msg_read_head(c2_blob_slice(blob), &h) != C2_E_OK || h.cluster != r->config.cluster ||
        seat >= r->config.n || seat == r->seat) {
        r->count.dropped++;
        return;
    }
    if (h.type == MSG_EPOCH || h.type == MSG_EPOCH_FETCH) {
        dispatch(r, seat, (enum msg_type)h.type, blob);
        return;
    }
    if (h.epoch != r->config.epoch) {
        bft_other_epoch(r, seat, h.epoch);
        return;
    }
    r->spoke_ns[seat] = r->now_ns;
    if ((h.sender != seat && !may_be_relayed(h.type)) || r->mode == BFT_REMOVED) {
        r->count.dropped++;
        return;
    }
    dispatch(r, seat, (enum msg_type)h.type, blob);
}

static void
on_client(struct bft_replica *r, const struct bft_event *ev)
{
    struct msg_head h;
    struct msg_request m;
    struct c2_slice msg = c2_blob_slice(ev->msg);
    if (msg_read_head(msg, &h) != C2_E_OK || h.cluster != r->config.cluster) {
        r->count.dropped++;
        return;
    }
    if (h.type == MSG_EPOCH_FETCH) {
        bft_on_epoch_fetch(r, 0, ev->conn, ev->msg);
    } else if (r->mode == BFT_REMOVED) {
        bft_epoch_pass_on(r, ev->conn, h.epoch);
    } else if (h.type == MSG_READ) {
        bft_on_read(r, ev->conn, ev->key, ev->msg);
    } else if (h.type == MSG_REQUEST && msg_read_request(msg, &m) == C2_E_OK &&
               memcmp(m.key, ev->key, MSG_KEY_LEN) == 0) {
        bft_on_request(r, ev->msg, msg, ev->conn, false);
    } else {
        r->count.dropped++; /* nobody may speak for another key */
    }
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void
on_durable(struct bft_replica *r, uint64_t lsn)
{
    C2_ASSERT(lsn <= r->lsn);
    if (lsn <= r->durable_lsn)
        return;
    r->durable_lsn = lsn;
    bft_votes_durable(r);
    bft_view_durable(r);
    if (r->trim_wait_lsn != 0 && r->trim_wait_lsn <= lsn) {
        r->trim_wait_lsn = 0;
        bft_trim(r, r->trim_lsn);
    }
}

static void
on_tick(struct bft_replica *r)
{
    if (r->mode == BFT_REMOVED) {
        bft_epoch_tick(r);
        return;
    }
    bft_requests_tick(r);
    bft_view_tick(r);
    bft_catchup_tick(r);
    bft_sync_tick(r);
}

static void
handle(struct bft_replica *r, const struct bft_event *ev)
{
    switch (ev->kind) {
    case BFT_EV_RECORD:
        bft_on_record(r, ev->type, ev->lsn, ev->bytes);
        return;
    case BFT_EV_START:
        bft_start(r, ev->lsn, ev->health);
        return;
    case BFT_EV_JOB:
        bft_on_job(r, ev->job);
        return;
    case BFT_EV_DURABLE:
        if (r->mode != BFT_HALTED)
            on_durable(r, ev->lsn);
        return;
    case BFT_EV_MESSAGE:
        if (r->mode != BFT_BOOTING && r->mode != BFT_HALTED)
            on_message(r, ev->seat, ev->msg);
        return;
    case BFT_EV_CLIENT:
        if (r->mode != BFT_BOOTING && r->mode != BFT_HALTED)
            on_client(r, ev);
        return;
    case BFT_EV_TICK:
        if (r->mode != BFT_BOOTING && r->mode != BFT_HALTED)
            on_tick(r);
        return;
    }
}

void
bft_step(struct bft_replica *r, const struct bft_event *ev, struct bft_actions *ret_actions)
{
    bft_out_begin(r);
    r->now_ns = C2_MAX(r->now_ns, ev->now_ns);
    r->wall_ns = ev->wall_ns;
    handle(r, ev);
    if (r->mode != BFT_BOOTING && r->mode != BFT_HALTED && r->mode != BFT_REMOVED) {
        bft_epoch_step(r);
        bft_execute(r);
        bft_propose(r);
        bft_reads_step(r);
    }
    bft_out_end(r, ret_actions);
}

uint64_t
bft_deadline_ns(const struct bft_replica *r)
{
    if (r->mode == BFT_BOOTING || r->mode == BFT_HALTED)
        return C2_NEVER;
    if (r->mode == BFT_REMOVED)
        return r->status_ns;
    uint64_t due = C2_MIN(bft_catchup_deadline(r), bft_view_deadline(r));
    due = C2_MIN(due, C2_MIN(bft_requests_deadline(r), bft_propose_deadline(r)));
    return C2_MIN(due, C2_MIN(bft_reads_deadline(r), bft_sync_deadline(r)));
}

/* ---- status ---------------------------------------------------------------------------------- */

void
bft_info(const struct bft_replica *r, struct bft_info *ret_info)
{
    *ret_info = (struct bft_info){
        .mode = r->mode,
        .epoch = r->config.epoch,
        .view = r->view,
        .leaving = r->phase == BFT_LEAVING,
        .former = r->was_member && r->seat >= r->config.n,
        .seat = r->seat,
        .primary = bft_primary(r, r->view),
        .stable = r->stable,
        .executed = r->executed,
        .committed_to = r->committed_to,
        .proposed = r->proposed,
        .boundary = r->next_boundary,
        .time_ns = r->time_ns,
        .requests = r->nrequests,
        .sessions = (uint32_t)r->session_list.count - r->nclosed,
        .jobs = r->jobs,
        .requests_bytes = r->requests_bytes,
        .bodies_bytes = r->bodies_bytes,
        .count = r->count,
    };
}

const struct bft_config *
bft_current_config(const struct bft_replica *r)
{
    return &r->config;
}
