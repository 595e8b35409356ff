/* SPDX-License-Identifier: MIT */
/*
 * How often a late request is helped by one more, so that a slow day does not double the bill.
 *
 *   each GET or PUT ──► credit + hedge_percent, at most HEDGE_BURST requests' worth
 *   late, credit    ──► as many more as take its place (one; k when a data row is to be decoded
 *                       instead), credit - 100 each
 *   late, no credit ──► later: when there is credit again, or when it has waited PATIENCE times as
 *                       long as a late one: then the seat is not slow but hangs, and what takes its
 *                       place is not a hedge any more (it counts as an error of the seat, and three
 *                       of them open its breaker)
 *
 * Each is counted at the seat that was late. A request that takes the place of a failed one needs
 * no credit: that is what the seats are for.
 */
#include "base/mark.h"
#include "depsky/client.h"

#define HEDGE_COST  100u /* of one request, in hundredths */
#define HEDGE_BURST 20u
#define PATIENCE    4u

void
ds_hedge_init(struct ds_client *c)
{
    for (unsigned class = 0; class < DS_CLASS_COUNT; class ++)
        c->hedge_credit[class] = HEDGE_BURST * HEDGE_COST;
}

void
ds_hedge_earn(struct ds_client *c, const struct ds_call *call)
{
    if (call->background || (call->req.verb != PROV_PUT && call->req.verb != PROV_GET))
        return;
    uint32_t *credit = &c->hedge_credit[call->req.verb == PROV_PUT ? DS_CLASS_PUT : DS_CLASS_GET];
    *credit = C2_MIN(*credit + c->config->hedge_percent, HEDGE_BURST * HEDGE_COST);
}

bool
ds_hedge_now(const struct ds_call *call, size_t bytes, unsigned more, struct c2_timer *again)
{
    struct ds_client *c = call->c;
    enum ds_class class = call->req.verb == PROV_PUT ? DS_CLASS_PUT : DS_CLASS_GET;
    uint64_t late = ds_health_hedge_ns(c, class, bytes);
    uint64_t now = c2_now_ns(c->env);
    if (c->hedge_credit[class] >= more * HEDGE_COST) {
        c->hedge_credit[class] -= more * HEDGE_COST;
        c->seat[call->seat].hedges++;
        return true;
    }
    if (now - call->started_ns >= PATIENCE * late)
        return true;
    C2_MARK("hedge: no budget");
    c2_timer_arm(c->env, again, now + late);
    return false;
}
