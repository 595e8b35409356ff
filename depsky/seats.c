/* SPDX-License-Identifier: MIT */
/*
 * Providers come and go while requests run. An operation looks at the seats whenever it needs one
 * more; a call belongs to the provider that it was sent to. An object has as many shares as there
 * were seats when it was sealed; a seat that came later has none of it.
 */
#include <string.h>

#include "base/alloc.h"
#include "depsky/client.h"

/* Pool jobs read the configuration: it is replaced, never changed. */
static void
replace_config(struct ds_client *c, unsigned voters, uint32_t config_epoch)
{
    struct ds_config *next = c2_secret_alloc(sizeof(*next));
    *next = *c->config;
    next->n = c->n;
    next->voters = voters;
    next->config_epoch = config_epoch;
    c->old = c2_realloc(c->old, c->nold + 1, sizeof(*c->old));
    c->old[c->nold++] = c->config;
    c->config = next;
}

/* By name: with other credentials it is another object and has the same shares. */
static bool
is_same(const struct provider *a, const struct provider *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a->name, b->name) == 0);
}

void
ds_client_set_seat(struct ds_client *c, unsigned seat, struct provider *p, enum ds_seat_use use)
{
    C2_ASSERT(seat <= c->n && seat < DS_SEATS_MAX);
    struct ds_seat *s = &c->seat[seat];
    if (seat == c->n) {
        c->n++;
        replace_config(c, c->voters, c->config->config_epoch);
    }
    C2_ASSERT(p != NULL || s->provider == NULL);
    bool leaves = (use == DS_USE_READ || use == DS_USE_GONE) && s->use != use;
    if (leaves || !is_same(s->provider, p))
        s->changed = ++c->changes;
    s->use = use;
    if (s->provider == p)
        return;
    unsigned stragglers = s->stragglers; /* of calls that are still out */
    *s = (struct ds_seat){
        .provider = p, .use = use, .changed = s->changed, .stragglers = stragglers
    };
    s->state = p != NULL ? DS_SEAT_ONLINE : DS_SEAT_EMPTY;
}

void
ds_client_set_epoch(struct ds_client *c, unsigned voters, uint32_t config_epoch)
{
    C2_ASSERT(voters >= 1 && voters <= c->n);
    c->voters = voters;
    replace_config(c, voters, config_epoch);
}

uint64_t
ds_client_changes(const struct ds_client *c)
{
    return c->changes;
}

uint32_t
ds_client_changed(const struct ds_client *c, uint64_t since)
{
    uint32_t seats = 0;
    for (unsigned i = 0; i < c->n; i++)
        seats |= c->seat[i].changed > since ? 1u << i : 0;
    return seats;
}

bool
ds_client_uses(const struct ds_client *c, const struct provider *p)
{
    for (unsigned i = 0; i < c->n; i++)
        if (c->seat[i].provider == p)
            return true;
    C2_LIST_FOREACH (&c->calls, struct ds_call, call, link) {
        if (call->provider == p)
            return true;
    }
    return false;
}

bool
ds_client_seat_takes(const struct ds_client *c, unsigned seat)
{
    return ds_seat_used(c, seat) && c->seat[seat].use != DS_USE_READ;
}
