/* SPDX-License-Identifier: MIT */
/*
 * Providers of a mounted volume: add, offline, online, new credentials, and what it would cost to
 * move one. One request at a time; what takes long is a job (fs/volume_job.h).
 *
 *   add, online:  who answers? ─► open ─► probe ─► next epoch ─► answer
 *   offline:      who answers? ──────────────────► next epoch ─► answer
 *   reopen:       who answers? ─► open ─► probe ───────────────► answer
 *   plan:         who answers? ─► count (fs/seat_walk.h) ──────► answer
 */
#include <stdio.h>
#include <string.h>

#include "backends/registry.h"
#include "base/alloc.h"
#include "base/log.h"
#include "fs/seat_rules.h"
#include "fs/seat_walk.h"
#include "fs/wire_up_impl.h"

#define PATIENCE_NS (3 * C2_NS_PER_S) /* who does not answer until then counts as not working */

enum action { ADD, OFFLINE, ONLINE, REOPEN, ACTIONS };

static const char *const action_names[ACTIONS] = { "add", "offline", "online", "reopen" };

struct wire_change {
    struct wire *w;
    struct ctl_call *call;
    enum action action;
    char *name; /* owned */
    unsigned seat;
    struct provider *opened; /* owned until somebody takes it over */
    struct prov_probe probe;
    bool probing;
    struct volume_change change;
    struct seat_walk walk;
    bool walking;
    struct ds_probe ask; /* who answers, before anything is decided */
    bool planning;
    struct c2_buf plan; /* what shall be planned; owned */
    uint64_t objects, bytes;
};

static const struct c2_slice nothing;

/* ---- configuration --------------------------------------------------------------------------- */

C2_RESULT
wire_reload(void *arg, char **ret_error)
{
    struct wire *w = arg;
    struct c2_conf *conf = NULL;
    if (w->reload == NULL)
        return C2_E_OK;
    C2_TRY(w->reload(w->reload_arg, &conf, ret_error));
    w->confs = c2_realloc(w->confs, w->nconfs + 1, sizeof(struct c2_conf *));
    w->confs[w->nconfs++] = conf;
    w->conf = conf;
    w->volume->conf = conf;
    return C2_E_OK;
}

/* ---- end ------------------------------------------------------------------------------------- */

static void
finish(struct wire_change *c, enum c2_err err, const char *message, struct c2_slice body)
{
    struct wire *w = c->w;
    w->change = NULL;
    prov_close(c->opened);
    if (err == C2_E_OK)
        volume_retired_close(w->volume);
    ctl_result(c->call, err, message, body);
    c2_buf_done(&c->plan);
    c2_free(c->name);
    c2_free(c);
}

static void
refuse(struct wire_change *c, enum c2_err err, char *text)
{
    finish(c, err, text != NULL ? text : c2_err_text(err), nothing);
    c2_free(text);
}

void
wire_change_cancel(struct wire *w)
{
    struct wire_change *c = w->change;
    if (c == NULL)
        return;
    if (c->probing)
        prov_probe_cancel(&c->probe);
    if (c->walking)
        seat_walk_cancel(&c->walk);
}

/* ---- epochs ---------------------------------------------------------------------------------- */

static void
changed(struct volume_change *v)
{
    struct wire_change *c = C2_CONTAINER_OF(v, struct wire_change, change);
    const char *text = v->err == C2_E_OK ? NULL : c2_err_text(v->err);
    if (v->err == C2_E_OK)
        c->opened = NULL;
    else if (v->err == C2_E_UNAVAILABLE || v->err == C2_E_TIMEOUT || v->err == C2_E_CANCELED)
        text = "the mount ends, and the metadata service did not answer: whether the providers "
               "have changed is seen after the next mount\nhint: c2fsctl status";
    finish(c, v->err, text, nothing);
}

static void
next_epoch(struct wire_change *c)
{
    struct volume *v = c->w->volume;
    c->change = (struct volume_change){ .volume = v, .next = v->config, .done = changed };
    struct volume_config *next = &c->change.next;
    struct volume_seat *s = &next->seats[c->seat];
    c->change.seat = c->seat;
    c->change.provider = c->opened;
    if (c->action == OFFLINE) {
        s->state = VOLUME_SEAT_OFFLINE;
    } else {
        s->state = VOLUME_SEAT_ACTIVE;
        (void)snprintf(s->provider, sizeof(s->provider), "%s", c->name);
        (void)snprintf(s->url, sizeof(s->url), "%s",
                       c2_conf_str(v->conf, "provider", c->name, "url"));
    }
    if (c->seat == next->n)
        next->n++;
    volume_change_start(&c->change);
}

static void
probed(struct prov_probe *p)
{
    struct wire_change *c = C2_CONTAINER_OF(p, struct wire_change, probe);
    c->probing = false;
    if (p->err != C2_E_OK) {
        refuse(c, p->err,
               c2_asprintf("provider \"%s\" is not usable: %s\nhint: c2fsctl provider "
                           "test %s",
                           c->name, prov_probe_reason(p), c->name));
    } else if (c->w->jobs_stopping) {
        refuse(c, C2_E_CANCELED, NULL);
    } else if (c->action == REOPEN) {
        volume_seat_reopen(c->w->volume, c->seat, c->opened);
        c->opened = NULL;
        finish(c, C2_E_OK, NULL, nothing);
    } else {
        next_epoch(c);
    }
}

static void
open_and_probe(struct wire_change *c)
{
    struct volume *v = c->w->volume;
    char *text = NULL;
    enum c2_err err = prov_open(v->env, v->os, v->conf, c->name, &c->opened, &text);
    if (err != C2_E_OK) {
        refuse(c, err, text);
        return;
    }
    c->probing = true;
    c->probe = (struct prov_probe){ .provider = c->opened,
                                    .key_prefix = PROV_PROBE_PREFIX,
                                    .deadline_ns = c2_now_ns(v->env) + PROV_PROBE_NS,
                                    .done = probed };
    prov_probe_start(&c->probe);
}

static enum c2_err
may(struct wire_change *c, char **ret_error)
{
    const struct volume *v = c->w->volume;
    switch (c->action) {
    case ADD:
        return seat_may_add(v, c->name, &c->seat, ret_error);
    case OFFLINE:
        return seat_may_go_offline(v, c->name, &c->seat, ret_error);
    case ONLINE:
    case REOPEN:
    case ACTIONS:
        break;
    }
    return seat_may_go_online(v, c->name, &c->seat, ret_error);
}

static void
decide_change(struct wire_change *c)
{
    char *text = NULL;
    enum c2_err err = may(c, &text);
    if (err != C2_E_OK)
        refuse(c, err, text);
    else if (c->action == OFFLINE)
        next_epoch(c);
    else
        open_and_probe(c);
}

static void decide_plan(struct wire_change *c);

static void
asked(struct ds_probe *p)
{
    struct wire_change *c = C2_CONTAINER_OF(p, struct wire_change, ask);
    struct volume *v = c->w->volume;
    v->silent = 0;
    for (unsigned i = 0; i < v->config.n; i++)
        if (v->config.seats[i].state == VOLUME_SEAT_ACTIVE && (p->answered & (1u << i)) == 0)
            v->silent |= 1u << i;
    if (c->w->jobs_stopping)
        refuse(c, C2_E_CANCELED, NULL);
    else if (c->planning)
        decide_plan(c);
    else
        decide_change(c);
}

/* What is known of the providers may be old. */
static void
ask_all(struct wire_change *c)
{
    c->ask = (struct ds_probe){ .patience_ns = PATIENCE_NS, .done = asked };
    ds_probe_start(c->w->volume->ds, &c->ask);
}

/* NULL: the call was refused. */
static struct wire_change *
change_new(struct wire *w, struct ctl_call *call, struct c2_slice name)
{
    if (w->change != NULL || w->jobs_stopping) {
        ctl_result(call, C2_E_BUSY, "another request about providers is being worked on", nothing);
        return NULL;
    }
    struct wire_change *c = c2_calloc(1, sizeof(*c));
    w->change = c;
    c->w = w;
    c->call = call;
    c->name = c2_strndup((const char *)name.data, name.len);
    return c;
}

static void
change(struct wire *w, struct ctl_call *call, const struct ctl_request *q)
{
    unsigned action = 0;
    char *text = NULL;
    while (action < ACTIONS && !c2_slice_equal(q->text, c2_slice_str(action_names[action])))
        action++;
    if (action == ACTIONS) {
        ctl_result(call, C2_E_UNSUPPORTED, NULL, nothing);
        return;
    }
    struct wire_change *c = change_new(w, call, q->text2);
    if (c == NULL)
        return;
    c->action = (enum action)action;
    enum c2_err err = wire_reload(w, &text);
    if (err != C2_E_OK)
        refuse(c, err, text);
    else
        ask_all(c);
}

/* ---- plan ------------------------------------------------------------------------------------ */

static void
tell_plan(struct wire_change *c)
{
    struct volume *v = c->w->volume;
    struct c2_buf body = { 0 };
    struct ds_seat_status s;
    ds_seat_status(v->ds, c->seat, &s);
    ctl_counter_add(&body, "seat", c->seat);
    ctl_counter_add(&body, "objects", c->objects);
    ctl_counter_add(&body, "bytes", c->bytes);
    ctl_counter_add(&body, "providers", volume_config_voters(&v->config));
    ctl_counter_add(&body, "faults", v->config.f);
    /* Of a replacement that is under way, the new one answers; who had the seat was not asked. */
    bool answers = v->config.seats[c->seat].state != VOLUME_SEAT_REBUILDING &&
                   (c->ask.answered >> c->seat & 1) != 0;
    ctl_counter_add(&body, "answers", answers);
    ctl_counter_add(&body, "latency_ns", s.stats != NULL ? s.stats->latency_p50_ns : 0);
    for (unsigned i = 0; i < v->config.n; i++) {
        char name[PROV_NAME_MAX + 8];
        if (i == c->seat || v->config.seats[i].state != VOLUME_SEAT_ACTIVE)
            continue;
        (void)snprintf(name, sizeof(name), "other/%s", v->config.seats[i].provider);
        ctl_counter_add(&body, name, 1);
    }
    finish(c, C2_E_OK, NULL, c2_buf_slice(&body));
    c2_buf_done(&body);
}

static void
counted(struct seat_walk *w)
{
    struct wire_change *c = C2_CONTAINER_OF(w, struct wire_change, walk);
    c->objects += w->objects;
    c->bytes += w->bytes;
    c->walking = false;
    if (w->err != C2_E_OK) {
        refuse(c, w->err, NULL);
    } else if (w->at_end) {
        tell_plan(c);
    } else {
        c->walking = true;
        seat_walk_start(w);
    }
}

/* "replace OLD NEW", "drain NAME", "remove NAME", "add NAME": refused now what is refused then. */
static enum c2_err
may_plan(struct wire_change *c, struct c2_slice action, char **ret_error)
{
    const struct volume *v = c->w->volume;
    char *second = strchr(c->name, ' ');
    if (second != NULL)
        *second++ = '\0';
    if (c2_slice_equal(action, c2_slice_str("replace")) && second != NULL)
        return seat_may_replace(v, c->name, second, &c->seat, ret_error);
    if (c2_slice_equal(action, c2_slice_str("drain")))
        return seat_may_leave(v, c->name, false, &c->seat, ret_error);
    if (c2_slice_equal(action, c2_slice_str("remove")))
        return seat_may_leave(v, c->name, true, &c->seat, ret_error);
    return C2_E_UNSUPPORTED;
}

/* Only what is in the volume's configuration counts; nobody is asked. The answer is where the
 * volume lies in each bucket. */
static void
plan_purge(struct wire_change *c)
{
    char *text = NULL, prefix[VOLUME_PREFIX_LEN];
    struct c2_buf body = { 0 };
    enum c2_err err = seat_may_purge(c->w->volume, c->name, &text);
    if (err != C2_E_OK) {
        refuse(c, err, text);
        return;
    }
    volume_prefix(c->w->volume->config.uuid, prefix);
    ctl_counter_add(&body, prefix, 1);
    finish(c, C2_E_OK, NULL, c2_buf_slice(&body));
    c2_buf_done(&body);
}

static void
plan(struct wire *w, struct ctl_call *call, const struct ctl_request *q)
{
    char *text = NULL;
    struct wire_change *c = change_new(w, call, q->text2);
    if (c == NULL)
        return;
    enum c2_err err = wire_reload(w, &text);
    if (err != C2_E_OK) {
        refuse(c, err, text);
        return;
    }
    if (c2_slice_equal(q->text, c2_slice_str("purge"))) {
        plan_purge(c);
        return;
    }
    c->planning = true;
    c2_buf_append(&c->plan, q->text.data, q->text.len);
    ask_all(c);
}

static void
decide_plan(struct wire_change *c)
{
    char *text = NULL;
    enum c2_err err = may_plan(c, c2_buf_slice(&c->plan), &text);
    if (err != C2_E_OK) {
        refuse(c, err, text);
        return;
    }
    c->walk = (struct seat_walk){
        .fs = c->w->fs, .what = SEAT_WALK_COUNT, .seat = c->seat, .done = counted
    };
    c->walking = true;
    seat_walk_start(&c->walk);
}

void
wire_providers_request(struct wire *w, struct ctl_call *call, const struct ctl_request *q)
{
    if (q->verb == CTL_PROVIDER_PLAN)
        plan(w, call, q);
    else
        change(w, call, q);
}
