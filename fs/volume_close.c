/* SPDX-License-Identifier: MIT */
/*
 * The session of an open volume, and its end.
 *
 *   keepalive   every third of the session's life; a passing error is tried again every second
 *               until the life is over; a dead session is reported once
 *   close       DEFERRED -> (keepalive in flight ends) -> SESSION_CLOSE -> DRAIN -> freed
 *
 * Closing takes whatever an opening reached, so a failed opening ends here as well.
 */
#include "fs/volume_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"

#define RETRY_NS C2_NS_PER_S

struct volume_keepalive {
    struct volume *volume;
    struct c2_timer timer;
    struct coord_req req;
    bool in_flight;
    uint64_t last_ok_ns;
    void (*ended)(void *arg); /* set: call it when the request in flight ends */
    void *ended_arg;
};

struct closing {
    struct volume *volume;
    void (*done)(void *arg);
    void *arg;
    struct c2_task task;
    struct coord_req req;
};

struct volume *
volume_new(struct c2_env *env, const struct c2_conf *conf, const char *name)
{
    struct volume *v = c2_calloc(1, sizeof *v);
    v->env = env;
    v->conf = conf;
    snprintf(v->name, sizeof v->name, "%s", name);
    v->fence_key = ck_session(VOLUME_LOCK_NAME);
    return v;
}

/* ---- keepalive ----------------------------------------------------------------------------- */

static void
session_lost(struct volume *v, enum c2_err err)
{
    v->is_lost = true;
    c2_log(ERROR, "volume", "volume=%s err=%s: the session is lost, nothing can be written",
           v->name, c2_err_name(err));
    if (v->lost != NULL)
        v->lost(v, v->lost_arg);
}

static void
keepalive_done(struct coord_req *r)
{
    struct volume_keepalive *k = C2_CONTAINER_OF(r, struct volume_keepalive, req);
    struct volume *v = k->volume;
    enum c2_err err = r->err;
    uint64_t now_ns = c2_now_ns(v->env);
    coord_req_done(r);
    k->in_flight = false;
    if (k->ended != NULL) {
        k->ended(k->ended_arg);
        return;
    }
    if (err == C2_E_OK) {
        k->last_ok_ns = now_ns;
        c2_timer_arm(v->env, &k->timer, now_ns + VOLUME_SESSION_TTL_NS / 3);
    } else if (err == C2_E_SESSION || now_ns - k->last_ok_ns >= VOLUME_SESSION_TTL_NS) {
        session_lost(v, err);
    } else {
        c2_timer_arm(v->env, &k->timer, now_ns + RETRY_NS);
    }
}

static void
keepalive_fire(struct c2_timer *t)
{
    struct volume_keepalive *k = C2_CONTAINER_OF(t, struct volume_keepalive, timer);
    uint64_t now_ns = c2_now_ns(k->volume->env);
    k->in_flight = true;
    k->req = (struct coord_req){ .verb = COORD_SESSION_KEEPALIVE,
                                 .session = k->volume->session,
                                 .deadline_ns = now_ns + VOLUME_SESSION_TTL_NS / 3,
                                 .done = keepalive_done };
    coord_submit(k->volume->coord, &k->req);
}

void
volume_keepalive_start(struct volume *v)
{
    struct volume_keepalive *k = c2_calloc(1, sizeof *k);
    C2_ASSERT(v->session != 0 && v->keepalive == NULL);
    v->keepalive = k;
    k->volume = v;
    k->timer.fire = keepalive_fire;
    k->last_ok_ns = c2_now_ns(v->env);
    c2_timer_arm(v->env, &k->timer, k->last_ok_ns + VOLUME_SESSION_TTL_NS / 3);
}

/* ---- close --------------------------------------------------------------------------------- */

static void
free_volume(struct volume *v)
{
    ds_client_free(v->ds);
    for (size_t i = 0; i < DS_SEATS_MAX; i++) {
        prov_close(v->providers[i]);
        c2_free(v->seat_errors[i]);
    }
    for (size_t i = 0; i < v->nretired; i++)
        prov_close(v->retired[i]);
    c2_free(v->retired);
    keys_free(v->keys);
    c2_secret_free(v->device_secret, C2_ED25519_SECRET_LEN);
    c2_free(v->keepalive);
    coord_close(v->coord);
    c2_free(v);
}

static void
drained(void *arg)
{
    struct closing *c = arg;
    void (*done)(void *) = c->done;
    void *done_arg = c->arg;
    free_volume(c->volume);
    c2_free(c);
    done(done_arg);
}

static void
drain(struct closing *c)
{
    if (c->volume->ds != NULL)
        ds_client_drain(c->volume->ds, drained, c);
    else
        drained(c);
}

static void
session_closed(struct coord_req *r)
{
    struct closing *c = C2_CONTAINER_OF(r, struct closing, req);
    if (r->err != C2_E_OK && r->err != C2_E_SESSION)
        c2_log(WARN, "volume", "volume=%s err=%s: the session was not closed, it will expire",
               c->volume->name, c2_err_name(r->err));
    coord_req_done(r);
    drain(c);
}

static void
close_session(void *arg)
{
    struct closing *c = arg;
    struct volume *v = c->volume;
    if (v->session == 0 || v->is_lost) {
        drain(c);
        return;
    }
    c->req = (struct coord_req){ .verb = COORD_SESSION_CLOSE,
                                 .session = v->session,
                                 .deadline_ns = c2_now_ns(v->env) + VOLUME_SESSION_TTL_NS,
                                 .done = session_closed };
    coord_submit(v->coord, &c->req);
}

static void
close_start(struct c2_task *t)
{
    struct closing *c = C2_CONTAINER_OF(t, struct closing, task);
    struct volume_keepalive *k = c->volume->keepalive;
    if (k != NULL)
        c2_timer_stop(c->volume->env, &k->timer);
    if (k == NULL || !k->in_flight) {
        close_session(c);
        return;
    }
    k->ended = close_session;
    k->ended_arg = c;
    coord_cancel(c->volume->coord, &k->req);
}

void
volume_close(struct volume *v, void (*done)(void *arg), void *arg)
{
    struct closing *c = c2_calloc(1, sizeof *c);
    c->volume = v;
    c->done = done;
    c->arg = arg;
    c->task.run = close_start;
    c2_defer(v->env, &c->task);
}
