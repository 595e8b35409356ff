/* SPDX-License-Identifier: MIT */
/*
 * Sends a request again when the error says that it may succeed later (class RETRY).
 *
 *               submit
 *                 v          RETRY error
 *         +---> SENT ------------------------> WAITING
 *         |      |  \                            |  ^
 *         |      |   \ EXISTS after an own       |  | RETRY error, or the object
 *         |      |    \ attempt of unknown end   |  | is gone again
 *         |      |     `--------> COMPARING -----+--'
 *         |      | anything else      |          |
 *         |      v                    |          |
 *         |    done <-----------------'          |
 *         `--------------------------------------'  timer
 *
 * The wait doubles from backoff_ns to backoff_max_ns, and a random half of it is taken off, so that
 * clients do not come back together. The cloud's own wish (retry_after_ns) is honoured when it is
 * longer, up to RETRY_AFTER_MAX_NS. A request may be content with fewer attempts. When the wait
 * would pass the deadline, the last error is returned at once: it says more than "deadline passed".
 *
 * PUT with if_absent: an attempt whose answer got lost may have stored the object, and then the
 * next one is refused because of it. So EXISTS after such an attempt is not believed at once: the
 * object is fetched and compared. Equal bytes mean that the object is ours (or as good as ours: the
 * caller's bytes are stored under the key, and nobody else's were overwritten); other bytes or
 * another length mean EXISTS. Comparing the size alone would not do: two writers who race for the
 * next slot of a journal write records of equal size, and both would take themselves for the
 * winner.
 */
#include "backends/layer.h"
#include "backends/registry.h"

#include "base/alloc.h"
#include "base/mark.h"

#include <string.h>

#define RETRY_AFTER_MAX_NS (60 * C2_NS_PER_S)

struct retry {
    struct provider p;
    unsigned attempts_max;
    uint64_t backoff_ns, backoff_max_ns;
    size_t outstanding;
};

enum state { SENT, WAITING, COMPARING };

struct op {
    struct prov_call call; /* first */
    enum state state;
    unsigned attempts; /* made so far */
    bool unknown_end;  /* an earlier attempt may have taken effect */
    bool canceled;
    struct c2_timer timer;      /* WAITING */
    struct prov_req comparison; /* COMPARING */
};

static void send(struct op *op);

static void
finish(struct op *op)
{
    struct prov_req *r = op->call.r;
    C2_CONTAINER_OF(op->call.p, struct retry, p)->outstanding--;
    prov_call_pop(&op->call);
    c2_free(op);
    r->done(r);
}

static void
finish_canceled(struct op *op)
{
    prov_req_reset(op->call.r);
    prov_req_fail(op->call.r, C2_E_CANCELED, "%s", c2_err_text(C2_E_CANCELED));
    finish(op);
}

static uint64_t
wait_ns(const struct retry *l, const struct op *op)
{
    uint64_t wait = l->backoff_ns;
    for (unsigned i = 1; i < op->attempts && wait < l->backoff_max_ns; i++)
        wait *= 2;
    wait = C2_MIN(wait, l->backoff_max_ns);
    uint64_t random = 0;
    c2_random(l->p.env, &random, sizeof random);
    wait -= random % (wait / 2 + 1);
    uint64_t wish = C2_MIN(op->call.r->retry_after_ns, RETRY_AFTER_MAX_NS);
    return C2_MAX(wait, wish);
}

/* The request carries an error: waits for the next attempt, or finishes. */
static void
consider(struct op *op)
{
    struct prov_req *r = op->call.r;
    struct retry *l = C2_CONTAINER_OF(op->call.p, struct retry, p);
    bool may_help = c2_err_class(r->err) == C2_CLASS_RETRY && r->err != C2_E_CANCELED;
    if (may_help && op->canceled) {
        finish_canceled(op);
        return;
    }
    unsigned most =
        r->attempts_max == 0 ? l->attempts_max : C2_MIN(r->attempts_max, l->attempts_max);
    if (!may_help || op->attempts >= most) {
        finish(op);
        return;
    }
    uint64_t now_ns = c2_now_ns(l->p.env);
    uint64_t wait = wait_ns(l, op);
    if (r->deadline_ns <= now_ns || wait >= r->deadline_ns - now_ns) {
        finish(op);
        return;
    }
    op->state = WAITING;
    c2_timer_arm(l->p.env, &op->timer, now_ns + wait);
}

static void
compared(struct prov_req *c)
{
    struct op *op = C2_CONTAINER_OF(c, struct op, comparison);
    struct prov_req *r = op->call.r;
    C2_ASSERT(op->state == COMPARING && r->err == C2_E_EXISTS);
    enum c2_err err = c->err;
    bool ours = err == C2_E_OK && c2_slice_equal(c2_blob_slice(c->reply), c2_blob_slice(r->body));
    uint64_t retry_after_ns = c->retry_after_ns;
    prov_req_done(c);

    if (ours) {
        C2_MARK("retry: the object that exists is ours");
        prov_req_reset(r);
        finish(op);
    } else if (op->canceled && err != C2_E_OK) {
        finish_canceled(op);
    } else if (err == C2_E_OK || err == C2_E_TOO_LARGE) {
        finish(op); /* somebody else's: EXISTS */
    } else {
        /* Gone again, or cannot tell: both leave open whether the body is stored. */
        prov_req_fail(r, err == C2_E_NOT_FOUND ? C2_E_UNAVAILABLE : err,
                      "key exists, but reading it back: %s", c2_err_text(err));
        r->retry_after_ns = retry_after_ns;
        consider(op);
    }
}

static void
compare(struct op *op)
{
    struct prov_req *r = op->call.r;
    op->state = COMPARING;
    op->comparison = (struct prov_req){
        .verb = PROV_GET,
        .key = r->key,
        .deadline_ns = r->deadline_ns,
        .body_len_max = r->body->len,
        .done = compared,
    };
    prov_submit(op->call.p->inner, &op->comparison);
}

static void
answered(struct prov_req *r)
{
    struct op *op = prov_call_top(r);
    C2_ASSERT(op->state == SENT);
    if (r->err == C2_E_EXISTS && r->verb == PROV_PUT && op->unknown_end) {
        if (op->canceled)
            finish_canceled(op); /* whose object it is stays open */
        else
            compare(op);
        return;
    }
    /* A cloud that asks to slow down has not done anything; everything else might have. */
    if (r->err != C2_E_THROTTLED)
        op->unknown_end = true;
    consider(op);
}

static void
send(struct op *op)
{
    op->state = SENT;
    op->attempts++;
    prov_submit(op->call.p->inner, op->call.r);
}

static void
waited(struct c2_timer *t)
{
    struct op *op = C2_CONTAINER_OF(t, struct op, timer);
    C2_ASSERT(op->state == WAITING);
    prov_req_reset(op->call.r);
    if (op->canceled)
        finish_canceled(op);
    else
        send(op);
}

static void
retry_submit(struct provider *p, struct prov_req *r)
{
    struct op *op = c2_calloc(1, sizeof *op);
    op->timer.fire = waited;
    C2_CONTAINER_OF(p, struct retry, p)->outstanding++;
    prov_call_push(&op->call, p, r, answered);
    send(op);
}

static void
retry_cancel(struct provider *p, struct prov_req *r)
{
    struct op *op = prov_call_find(p, r);
    op->canceled = true;
    switch (op->state) {
    case SENT:
        prov_cancel(p->inner, r);
        break;
    case WAITING:
        c2_timer_arm(p->env, &op->timer, c2_now_ns(p->env));
        break;
    case COMPARING:
        prov_cancel(p->inner, &op->comparison);
        break;
    default:
        C2_UNREACHABLE();
    }
}

static void
retry_close(struct provider *p)
{
    struct retry *l = C2_CONTAINER_OF(p, struct retry, p);
    C2_ASSERT(l->outstanding == 0);
    c2_free(l);
}

static const struct provider_ops retry_ops = {
    .submit = retry_submit,
    .cancel = retry_cancel,
    .close = retry_close,
};

struct provider *
prov_retry_new(struct provider *inner, unsigned attempts_max, uint64_t backoff_ns,
               uint64_t backoff_max_ns)
{
    C2_ASSERT(attempts_max >= 1);
    C2_ASSERT(backoff_ns <= backoff_max_ns);
    C2_ASSERT(backoff_max_ns <= UINT64_MAX / 2);
    struct retry *l = c2_calloc(1, sizeof *l);
    prov_layer_init(&l->p, &retry_ops, inner);
    l->attempts_max = attempts_max;
    l->backoff_ns = backoff_ns;
    l->backoff_max_ns = backoff_max_ns;
    return &l->p;
}
