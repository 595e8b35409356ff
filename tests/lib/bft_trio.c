/* SPDX-License-Identifier: MIT */
#include "tests/lib/bft_trio.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"

struct sent {
    struct c2_link link; /* trio.events */
    unsigned to;
    struct bft_event ev; /* msg, job: owned */
};

/* ---- events ---------------------------------------------------------------------------------- */

static void
enqueue(struct trio *t, unsigned to, const struct bft_event *ev)
{
    struct sent *s = c2_calloc(1, sizeof *s);
    s->to = to;
    s->ev = *ev;
    c2_blob_ref(ev->msg);
    c2_list_append(&t->events, &s->link);
}

static void
sent_free(struct trio *t, struct sent *s)
{
    c2_list_remove(&t->events, &s->link);
    c2_blob_unref(s->ev.msg);
    c2_free(s);
}

static void
on_tape(struct trio *t, struct c2_blob *msg)
{
    struct c2_blob **place = &t->tape[t->tape_at++ % TRIO_TAPE];
    c2_blob_unref(*place);
    *place = c2_blob_ref(msg);
}

void
trio_send(struct trio *t, unsigned from, unsigned mask, struct c2_blob *msg)
{
    struct bft_event ev = { .kind = BFT_EV_MESSAGE, .seat = (uint16_t)from, .msg = msg };
    on_tape(t, msg);
    for (unsigned i = 0; i < TRIO_CORRECT; i++) {
        bool lost = from < TRIO_CORRECT && (t->lost >> (from * TRIO_CORRECT + i) & 1) != 0;
        if (i != from && (mask >> i & 1) != 0 && !lost)
            enqueue(t, i, &ev);
    }
}

static void
remember_session(struct trio *t, const struct bft_action *a)
{
    struct msg_reply r;
    if (msg_read_reply(c2_blob_slice(a->msg), &r) != C2_E_OK || r.code != MSG_OK ||
        r.session != 0 || r.result.len != 8)
        return;
    for (unsigned k = 0; k < TRIO_CLIENTS; k++) {
        bool told =
            a->conn == 0 ? memcmp(a->key, t->client[k] + 32, MSG_KEY_LEN) == 0 : a->conn == k + 1;
        if (told)
            t->session[k] = c2_get_u64(r.result.data);
    }
}

static void
append(struct trio *t, unsigned i, const struct bft_action *a)
{
    struct trio_replica *p = &t->replica[i];
    C2_ASSERT(a->lsn == p->last + 1 && p->last < TRIO_LOG_MAX);
    struct trio_record *r = &p->log[p->last++];
    r->type = a->type;
    c2_buf_append(&r->bytes, a->bytes.data, a->bytes.len);
    if (a->body != NULL)
        c2_buf_append(&r->bytes, a->body->data + a->body_at, a->body_len);
    const struct bft_event ev = { .kind = BFT_EV_DURABLE, .lsn = a->lsn };
    enqueue(t, i, &ev);
}

static void
alarm_rings(const struct trio *t, const struct bft_action *a)
{
    bool expected = a->alarm == BFT_ALARM_EVIDENCE || t->lawless;
    if (!expected)
        (void)fprintf(stderr, "alarm: %s\n", a->text);
    C2_ASSERT(expected);
}

static void
carry_out(struct trio *t, unsigned i, const struct bft_action *a)
{
    struct bft_event ev = { .kind = BFT_EV_JOB };
    switch (a->kind) {
    case BFT_ACT_SEND:
        trio_send(t, i, a->seats, a->msg);
        return;
    case BFT_ACT_REPLY:
        remember_session(t, a);
        return;
    case BFT_ACT_APPEND:
        append(t, i, a);
        return;
    case BFT_ACT_TRIM:
        t->replica[i].trimmed = a->lsn - 1;
        return;
    case BFT_ACT_JOB:
        ev.job = a->job;
        enqueue(t, i, &ev);
        return;
    case BFT_ACT_CONFIG:
        t->config = *a->config;
        return;
    case BFT_ACT_ALARM:
        alarm_rings(t, a);
        return;
    }
}

static void
check_bounds(const struct bft_replica *core)
{
    struct bft_limits l;
    struct bft_info info;
    bft_limits_default(&l);
    bft_info(core, &info);
    C2_ASSERT(info.requests <= l.requests && info.requests_bytes <= l.requests_bytes);
    C2_ASSERT(info.bodies_bytes <= l.bodies_bytes + MSG_BYTES_MAX && info.jobs <= l.jobs);
    C2_ASSERT(info.sessions <= TRIO_SESSIONS);
}

static void
step(struct trio *t, unsigned i, struct bft_event *ev)
{
    struct trio_replica *p = &t->replica[i];
    struct bft_actions acts;
    ev->now_ns = t->now_ns;
    ev->wall_ns = TRIO_START_NS + t->now_ns;
    bft_step(p->core, ev, &acts);
    for (size_t k = 0; k < acts.count; k++)
        carry_out(t, i, &acts.action[k]);
    check_bounds(p->core);
}

/* All correct replicas execute the same. */
static void
check_executed(struct trio *t, const struct bft_job *job)
{
    uint8_t hash[C2_SHA256_LEN];
    struct c2_buf all = { 0 };
    C2_ASSERT(job->n < TRIO_BATCHES);
    c2_wr_u64(&all, job->time_ns);
    for (uint32_t k = 0; k < job->ncommands; k++)
        c2_wr_bytes(&all, job->commands[k].op);
    c2_sha256(c2_buf_slice(&all), hash);
    c2_buf_done(&all);
    C2_ASSERT(!t->have[job->n] || memcmp(t->batch[job->n], hash, sizeof hash) == 0);
    memcpy(t->batch[job->n], hash, sizeof hash);
    t->have[job->n] = true;
}

void
trio_settle(struct trio *t)
{
    while (!c2_list_empty(&t->events)) {
        struct sent *s = C2_LIST_FIRST(&t->events, struct sent, link);
        struct trio_replica *p = &t->replica[s->to];
        bool room = ++t->nevents < TRIO_EVENTS && p->last + 256 < TRIO_LOG_MAX;
        if (s->ev.kind == BFT_EV_JOB) {
            bft_exec_run(p->exec, s->ev.job);
            C2_ASSERT(s->ev.job->err == C2_E_OK);
            if (s->ev.job->kind == BFT_JOB_EXECUTE && !t->lawless)
                check_executed(t, s->ev.job);
        } else if (s->ev.kind == BFT_EV_DURABLE) {
            p->durable = s->ev.lsn;
        }
        if (room || s->ev.kind == BFT_EV_JOB)
            step(t, s->to, &s->ev);
        sent_free(t, s);
    }
}

void
trio_time_passes(struct trio *t, unsigned n)
{
    for (unsigned k = 0; k < n && t->nevents < TRIO_EVENTS; k++) {
        t->now_ns += 10 * C2_NS_PER_MS;
        for (unsigned i = 0; i < TRIO_CORRECT; i++) {
            struct bft_event ev = { .kind = BFT_EV_TICK };
            if (bft_deadline_ns(t->replica[i].core) <= t->now_ns)
                step(t, i, &ev);
        }
        trio_settle(t);
    }
}

/* ---- life of a replica ----------------------------------------------------------------------- */

void
trio_start(struct trio *t, unsigned i)
{
    struct trio_replica *p = &t->replica[i];
    struct bft_setup setup = { .config = t->first, .id = (uint16_t)i, .crypto = &cheap_sign };
    const char *why = NULL;
    setup.seed = i + 1;
    bft_timing_lan(&setup.timing);
    bft_limits_default(&setup.limits);
    memcpy(setup.sign_secret, t->secret[i], sizeof setup.sign_secret);
    C2_ASSERT(bft_new(&setup, &p->core, &why) == C2_E_OK);
    bft_add_key(p->core, t->next_secret[i]);
    p->exec = bft_exec_new(small_app_open(&p->disk));
    p->last = p->durable;
    for (uint64_t lsn = p->trimmed + 1; lsn <= p->last; lsn++) {
        struct bft_event ev = { .kind = BFT_EV_RECORD, .lsn = lsn, .type = p->log[lsn - 1].type };
        ev.bytes = c2_buf_slice(&p->log[lsn - 1].bytes);
        step(t, i, &ev);
    }
    struct bft_event ev = { .kind = BFT_EV_START, .lsn = p->last, .health = BFT_WAL_GOOD };
    step(t, i, &ev);
}

void
trio_stop(struct trio *t, unsigned i)
{
    struct trio_replica *p = &t->replica[i];
    C2_LIST_FOREACH (&t->events, struct sent, s, link) {
        if (s->to != i)
            continue;
        if (s->ev.kind == BFT_EV_JOB)
            bft_job_free(s->ev.job);
        sent_free(t, s);
    }
    bft_free(p->core);
    bft_exec_free(p->exec);
    for (uint64_t lsn = p->durable + 1; lsn <= p->last; lsn++)
        c2_buf_done(&p->log[lsn - 1].bytes);
}

/* ---- the world ------------------------------------------------------------------------------- */

struct trio *
trio_new(void)
{
    struct trio *t = c2_calloc(1, sizeof *t);
    uint8_t unused[MSG_KEY_LEN];
    struct bft_config *c = &t->config;
    bft_config_default(c);
    c2_list_init(&t->events);
    c->cluster = 42;
    c->checkpoint_interval = TRIO_INTERVAL;
    c->window = 2 * TRIO_INTERVAL;
    c->sessions_max = TRIO_SESSIONS;
    c->admins_needed = c->nadmins = 1;
    cheap_sign_key("authority", 0, t->authority, c->client_authority);
    cheap_sign_key("admin", 0, t->admin, c->admin[0]);
    for (unsigned i = 0; i < TRIO_CLIENTS; i++)
        cheap_sign_key("client", i, t->client[i], unused);
    for (unsigned i = 0; i <= TRIO_CORRECT; i++) {
        c->member[i].id = (uint16_t)i;
        cheap_sign_key("next", i, t->next_secret[i], unused);
        cheap_sign_key("replica", i, t->secret[i], c->member[i].sign_key);
        memcpy(c->member[i].identity_key, c->member[i].sign_key, MSG_KEY_LEN);
    }
    t->first = *c;
    for (unsigned i = 0; i < TRIO_CORRECT; i++)
        trio_start(t, i);
    trio_settle(t);
    return t;
}

void
trio_free(struct trio *t)
{
    for (unsigned i = 0; i < TRIO_CORRECT; i++) {
        trio_stop(t, i);
        for (uint64_t lsn = 1; lsn <= t->replica[i].durable; lsn++)
            c2_buf_done(&t->replica[i].log[lsn - 1].bytes);
        small_disk_done(&t->replica[i].disk);
    }
    for (unsigned i = 0; i < TRIO_TAPE; i++)
        c2_blob_unref(t->tape[i]);
    c2_free(t);
}

void
trio_client_sends(struct trio *t, unsigned k, unsigned mask, struct c2_blob *msg)
{
    struct bft_event ev = { .kind = BFT_EV_CLIENT, .conn = k + 1, .key = t->client[k] + 32 };
    ev.msg = msg;
    for (unsigned i = 0; i < TRIO_CORRECT; i++) {
        if ((mask >> i & 1) != 0)
            enqueue(t, i, &ev);
    }
}

void
trio_add_record(struct trio *t, unsigned i, unsigned type, struct c2_slice bytes)
{
    struct trio_replica *p = &t->replica[i];
    if (p->durable + 256 >= TRIO_LOG_MAX)
        return;
    struct trio_record *r = &p->log[p->durable++];
    r->type = type;
    c2_buf_append(&r->bytes, bytes.data, bytes.len);
}
