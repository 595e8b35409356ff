/* SPDX-License-Identifier: MIT */
/*
 * A replica looks at all of its store soon after its start and then once a day, a piece at a time,
 * so that damage is found while the others are there to help, and not when they are gone:
 *
 *   RESTING ──(due)──► PIECE (pool) ──► PAUSE ──► PIECE … ──► all seen ──► RESTING
 *                        │ damaged
 *                        └──► the same as damage that is found in use
 *
 * Pieces and jobs of the protocol take turns on one thread; a piece is a few milliseconds.
 */
#include "base/log.h"
#include "metadata/node_int.h"

#define FIRST_NS    C2_NS_PER_S
#define INTERVAL_NS (24 * 3600 * C2_NS_PER_S)
#define PAUSE_NS    (10 * C2_NS_PER_MS)
#define LATER_NS    C2_NS_PER_S /* while the state is not complete */

static void
run_piece(struct c2_work *w)
{
    struct node_patrol *p = C2_CONTAINER_OF(w, struct node_patrol, work);
    p->walk.digest = bft_exec_committed(p->node->exec);
    p->err = store_patrol(p->node->app, &p->walk);
}

static void
begin_anew(struct node_patrol *p)
{
    p->walk = (struct store_patrol){ .digest = NULL };
}

static void
piece_done(struct c2_work *w)
{
    struct node_patrol *p = C2_CONTAINER_OF(w, struct node_patrol, work);
    struct node *n = p->node;
    uint64_t now_ns = c2_now_ns(n->env), wait_ns = PAUSE_NS;
    p->running = false;
    if (n->closing) {
        node_go_on_closing(n);
        return;
    }
    if (n->failed)
        return;
    if (p->err == C2_E_BUSY) {
        begin_anew(p);
        wait_ns = LATER_NS;
    } else if (p->err != C2_E_OK) {
        c2_log(ERROR, "node", "the check of the store found: %s",
               p->walk.problem[0] != '\0' ? p->walk.problem : c2_err_text(p->err));
        n->store_damaged = p->err == C2_E_DAMAGED;
        node_fail(n, p->err, "the store is damaged");
        return;
    } else if (p->walk.finished) {
        c2_log(INFO, "node", "keys=%llu bytes=%llu the store was checked and is good",
               (unsigned long long)p->walk.keys, (unsigned long long)p->walk.bytes);
        p->walks++;
        p->keys += p->walk.keys;
        begin_anew(p);
        wait_ns = INTERVAL_NS;
    }
    c2_timer_arm(n->env, &p->timer, now_ns + wait_ns);
}

static void
timer_fired(struct c2_timer *t)
{
    struct node_patrol *p = C2_CONTAINER_OF(t, struct node_patrol, timer);
    p->running = true;
    c2_work(p->node->env, &p->work);
}

void
node_patrol_start(struct node *n)
{
    struct node_patrol *p = &n->patrol;
    p->node = n;
    p->work.run = run_piece;
    p->work.done = piece_done;
    p->timer.fire = timer_fired;
    c2_timer_arm(n->env, &p->timer, c2_now_ns(n->env) + FIRST_NS);
}

void
node_patrol_stop(struct node *n)
{
    c2_timer_stop(n->env, &n->patrol.timer);
}
