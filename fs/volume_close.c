/* SPDX-License-Identifier: MIT */
/*
 * An open volume's right to change it (fs/lease.h), and the end.
 *
 *   close       DEFERRED -> (the lease asks nothing any more) -> SESSION_CLOSE -> DRAIN -> freed
 *
 * Closing takes whatever an opening reached, so a failed opening ends here as well.
 */
#include "fs/volume_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"

#define CLOSE_TIMEOUT_NS (30 * C2_NS_PER_S)

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
    c2_list_init(&v->changes_open);
    return v;
}

/* ---- lease ---------------------------------------------------------------------------------- */

static void
lease_lost(void *arg, bool taken)
{
    struct volume *v = arg;
    v->is_lost = true;
    v->is_taken = taken;
    if (v->lost != NULL)
        v->lost(v, v->lost_arg);
}

void
volume_lease_start(struct volume *v, struct c2_slice lock_value,
                   const uint8_t owner[LEASE_OWNER_LEN])
{
    struct lease_config c = { .env = v->env,
                              .coord = v->coord,
                              .name = v->name,
                              .lock_key = v->fence_key,
                              .owner_key = ck_session(VOLUME_OWNER_NAME),
                              .lock_value = lock_value,
                              .session = v->session,
                              .token = v->fence_token,
                              .ttl_ns = c2_conf_u64(v->conf, "volume", v->name, "lease"),
                              .lost = lease_lost,
                              .arg = v };
    C2_ASSERT(v->lease == NULL);
    memcpy(c.owner, owner, sizeof c.owner);
    v->lease = lease_new(&c);
    v->changes = lease_coord(v->lease);
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
    lease_free(v->lease);
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
close_session(void *arg, uint64_t session)
{
    struct closing *c = arg;
    struct volume *v = c->volume;
    if (session == 0) {
        drain(c);
        return;
    }
    c->req = (struct coord_req){ .verb = COORD_SESSION_CLOSE,
                                 .session = session,
                                 .deadline_ns = c2_now_ns(v->env) + CLOSE_TIMEOUT_NS,
                                 .done = session_closed };
    coord_submit(v->coord, &c->req);
}

static void
close_start(struct c2_task *t)
{
    struct closing *c = C2_CONTAINER_OF(t, struct closing, task);
    if (c->volume->lease != NULL)
        lease_stop(c->volume->lease, close_session, c);
    else
        close_session(c, c->volume->session);
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
