/* SPDX-License-Identifier: MIT */
/*
 * A mount moves to the next configuration epoch (storage.md section 9).
 *
 *   COMMIT (fence, session, C is as we know it: put C) --> seats change in the client --> done
 *      ^            | no answer
 *      '------------'
 *
 * Commits of objects name the version of C, so what was placed by the old configuration cannot be
 * committed by somebody who has not heard of the new one. A mount that did not know that its own
 * change has happened could never commit anything again: so a change whose outcome is unknown is
 * asked for until there is an answer, or until the mount ends and commits nothing more: the next
 * one reads C. No two values of C are sealed to the same bytes, so one that finds its own there has
 * happened.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "fs/volume_impl.h"

#define RETRY_NS    C2_NS_PER_S
#define COND_CONFIG 2 /* its place among the conditions */

void
volume_retire(struct volume *v, struct provider *p)
{
    if (p == NULL)
        return;
    v->retired = c2_realloc(v->retired, v->nretired + 1, sizeof(struct provider *));
    v->retired[v->nretired++] = p;
}

void
volume_retired_close(struct volume *v)
{
    size_t kept = 0;
    if (v->retired_holds > 0)
        return;
    for (size_t i = 0; i < v->nretired; i++) {
        if (ds_client_uses(v->ds, v->retired[i]))
            v->retired[kept++] = v->retired[i];
        else
            prov_close(v->retired[i]);
    }
    v->nretired = kept;
}

void
volume_retired_hold(struct volume *v)
{
    v->retired_holds++;
}

void
volume_retired_release(struct volume *v)
{
    C2_ASSERT(v->retired_holds > 0);
    v->retired_holds--;
    volume_retired_close(v);
}

struct provider *
volume_retired_find(struct volume *v, const char *name)
{
    for (size_t i = 0; i < v->nretired; i++)
        if (strcmp(v->retired[i]->name, name) == 0)
            return v->retired[i];
    return NULL;
}

void
volume_seat_reopen(struct volume *v, unsigned seat, struct provider *p)
{
    volume_retire(v, v->providers[seat]);
    v->providers[seat] = p;
    c2_free(v->seat_errors[seat]);
    v->seat_errors[seat] = NULL;
    volume_seat_use(v, seat);
}

static void
move_to(struct volume *v, const struct volume_change *c)
{
    const struct volume_config *old = &v->config, *next = &c->next;
    for (unsigned i = 0; i < next->n; i++)
        if (i >= old->n || old->seats[i].state != next->seats[i].state ||
            strcmp(old->seats[i].provider, next->seats[i].provider) != 0)
            c2_log(INFO, "volume", "epoch=%u seat=%u provider=%s state=%s", next->config_epoch, i,
                   next->seats[i].provider, volume_seat_state_name(next->seats[i].state));
    v->config = *next;
    if (c->provider != NULL)
        volume_seat_reopen(v, c->seat, c->provider);
    for (unsigned i = 0; i < next->n; i++)
        volume_seat_use(v, i);
    ds_client_set_epoch(v->ds, volume_config_voters(next), next->config_epoch);
}

/* An earlier try, whose answer was lost. */
static bool
happened_already(const struct volume_change *c, const struct coord_req *r)
{
    return r->err == C2_E_CONFLICT && r->cond_failed == COND_CONFIG && r->nentries >= 1 &&
           c2_slice_equal(r->entries[0].value, c2_buf_slice(&c->sealed));
}

static void
finish(struct volume_change *c)
{
    struct volume *v = c->volume;
    c2_timer_stop(v->env, &c->last);
    c2_list_remove(&v->changes_open, &c->link);
    coord_req_done(&c->req);
    c2_buf_done(&c->sealed);
    c->done(c);
}

static void
no_answer(struct volume_change *c)
{
    struct volume *v = c->volume;
    C2_MARK("volume: a change of the configuration that has no answer");
    c2_log(WARN, "volume", "volume=%s err=%s it is not known whether epoch %u has begun; %s",
           v->name, c2_err_name(c->err), c->next.config_epoch,
           c->given_up ? "the next mount sees" : "asking");
    if (c->given_up)
        finish(c);
    else
        c2_timer_arm(v->env, &c->retry, c2_now_ns(v->env) + RETRY_NS);
}

static void
committed(struct coord_req *r)
{
    struct volume_change *c = C2_CONTAINER_OF(r, struct volume_change, req);
    struct volume *v = c->volume;
    c->err = r->err;
    if (r->err == C2_E_UNAVAILABLE || r->err == C2_E_TIMEOUT || r->err == C2_E_CANCELED) {
        no_answer(c);
        return;
    }
    if (happened_already(c, r)) {
        c->err = C2_E_OK;
        r->version = r->entries[0].version;
    }
    if (c->err == C2_E_SESSION || (c->err == C2_E_CONFLICT && r->cond_failed < COND_CONFIG))
        c->err = C2_E_FENCED;
    if (c->err == C2_E_OK) {
        v->config_version = r->version;
        move_to(v, c);
    }
    finish(c);
}

static void
submit(struct c2_timer *t)
{
    struct volume_change *c = C2_CONTAINER_OF(t, struct volume_change, retry);
    coord_req_done(&c->req);
    c->req = (struct coord_req){ .verb = COORD_TXN,
                                 .conds = c->conds,
                                 .nconds = COND_CONFIG + 1,
                                 .ops = &c->op,
                                 .nops = 1,
                                 .deadline_ns = C2_NEVER,
                                 .done = committed };
    coord_submit(c->volume->changes, &c->req);
}

static void
give_up(struct c2_timer *t)
{
    struct volume_change *c = C2_CONTAINER_OF(t, struct volume_change, last);
    c->given_up = true;
    if (!c2_timer_armed(&c->retry)) {
        coord_cancel(c->volume->changes, &c->req);
        return;
    }
    c2_timer_stop(c->volume->env, &c->retry);
    no_answer(c);
}

static void
end_soon(struct volume_change *c)
{
    struct c2_env *env = c->volume->env;
    c2_timer_arm(env, &c->last, c2_now_ns(env) + VOLUME_CHANGE_LAST_NS);
}

void
volume_changes_end(struct volume *v)
{
    C2_ASSERT(!v->ending);
    v->ending = true;
    C2_LIST_FOREACH (&v->changes_open, struct volume_change, c, link) {
        end_soon(c);
    }
}

void
volume_change_start(struct volume_change *c)
{
    struct volume *v = c->volume;
    struct c2_buf plain = { 0 };
    C2_ASSERT(c->next.n >= v->config.n && c->next.n <= v->config.n + 1);
    c->next.config_epoch = v->config.config_epoch + 1;
    c->key = ck_letter('C');
    c->sealed = (struct c2_buf){ 0 };
    volume_config_encode(&c->next, &plain);
    keys_seal(v->keys, ck_slice(&c->key), c2_buf_slice(&plain), &c->sealed);
    c2_buf_done(&plain);
    c->conds[0] = (struct coord_cond){ .kind = COORD_VERSION_EQ,
                                       .key = ck_slice(&v->fence_key),
                                       .number = v->fence_token };
    c->conds[1] = (struct coord_cond){ .kind = COORD_SESSION_ALIVE, .number = v->session };
    c->conds[COND_CONFIG] = (struct coord_cond){ .kind = COORD_VERSION_EQ,
                                                 .key = ck_slice(&c->key),
                                                 .number = v->config_version };
    c->op = (struct coord_op){ .kind = COORD_PUT,
                               .key = ck_slice(&c->key),
                               .value = c2_buf_slice(&c->sealed) };
    c->req = (struct coord_req){ 0 };
    c->retry = (struct c2_timer){ .fire = submit };
    c->last = (struct c2_timer){ .fire = give_up };
    c->given_up = false;
    c->link = (struct c2_link){ 0 };
    c2_list_append(&v->changes_open, &c->link);
    if (v->ending)
        end_soon(c);
    submit(&c->retry);
}
