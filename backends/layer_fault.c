/* SPDX-License-Identifier: MIT */
/*
 * A cloud that misbehaves on demand: the language is in fault_spec.h. Which requests are hit
 * follows from the seed and the order of requests alone.
 *
 *     submit --> DELAYING --> begin() --> SENT ----------------------> spoil the answer --> done
 *                               | |        ^                `--> DRIPPING --^
 *                               | `--> ASIDE (old or other object) --> done
 *                               +----> HANGING ----------------------> done (TIMEOUT)
 *                               `----> ANSWERING (without asking) ---> done, from the loop
 *
 * A fault is counted when it has really happened to an answer, so a test can prove that it did.
 */
#include "backends/fault_memory.h"
#include "backends/fault_spec.h"
#include "backends/fault_spoil.h"
#include "backends/layer.h"
#include "backends/registry.h"

#include "base/alloc.h"

#include <string.h>

#define HANG_MAX_NS (60 * C2_NS_PER_S)
#define DRIP_BYTES  ((size_t)32 << 10)

struct fault {
    struct provider p; /* first */
    struct fault_spec spec;
    struct fault_dice dice;
    struct fault_memory old; /* what `stale` answers */
    size_t outstanding;
};

enum state { DELAYING, HANGING, ANSWERING, ASIDE, SENT, DRIPPING };

struct op {
    struct prov_call call; /* first */
    enum state state;
    bool canceled;
    unsigned hits; /* OR of 1 << enum fault_kind */
    uint64_t delay_ns;
    uint64_t drip_ns;        /* for DRIP_BYTES; 0 = too long */
    const char *list_after;  /* SENT of loop: the caller's */
    enum fault_kind verdict; /* ANSWERING */
    struct c2_timer timer;   /* DELAYING, HANGING, DRIPPING */
    struct c2_task task;     /* ANSWERING */
    struct prov_req aside;   /* ASIDE */
    char *other_key;         /* ASIDE of swap; owned */
    bool wrapped;            /* ASIDE of swap: looked from the first key on */
};

static const struct provider_ops fault_ops;

static struct fault *
layer_of(const struct op *op)
{
    return C2_CONTAINER_OF(op->call.p, struct fault, p);
}

static bool
hit(const struct op *op, enum fault_kind kind)
{
    return (op->hits & (1u << kind)) != 0;
}

static void
finish(struct op *op)
{
    struct prov_req *r = op->call.r;
    layer_of(op)->outstanding--;
    prov_call_pop(&op->call);
    c2_free(op->other_key);
    c2_free(op);
    r->done(r);
}

static void
finish_with(struct op *op, enum c2_err err)
{
    prov_req_reset(op->call.r);
    prov_req_fail(op->call.r, err, "%s", c2_err_text(err));
    finish(op);
}

static bool
has_rule(const struct fault_spec *spec, enum fault_kind kind)
{
    for (size_t i = 0; i < spec->count; i++) {
        if (spec->rules[i].kind == kind)
            return true;
    }
    return false;
}

/* ---- spoiling an answer ---- */

static bool
lists_again(const struct op *op)
{
    return op->call.r->verb == PROV_LIST && hit(op, FAULT_LOOP);
}

/* The rest of the answer is on its way. */
static void
drip(struct op *op)
{
    const struct prov_req *r = op->call.r;
    struct c2_env *env = op->call.p->env;
    uint64_t latest_ns = C2_MIN(r->deadline_ns, c2_now_ns(env) + HANG_MAX_NS);
    size_t len = r->reply != NULL ? r->reply->len : r->list_text.len;
    uint64_t takes_ns = (len / DRIP_BYTES + 1) * C2_MIN(op->drip_ns, HANG_MAX_NS);
    bool in_time = op->drip_ns != 0 && c2_now_ns(env) + takes_ns < latest_ns;
    if (!in_time)
        op->hits |= 1u << FAULT_HANG;
    op->state = DRIPPING;
    layer_of(op)->dice.counts[FAULT_DRIP]++;
    c2_timer_arm(env, &op->timer, in_time ? c2_now_ns(env) + takes_ns : latest_ns);
}

static void
answered(struct prov_req *r)
{
    struct op *op = prov_call_top(r);
    C2_ASSERT(op->state == SENT);
    if (lists_again(op))
        r->list_after = op->list_after;
    fault_spoil(&layer_of(op)->dice, op->hits, r);
    if (hit(op, FAULT_DRIP) && r->err == C2_E_OK)
        drip(op);
    else
        finish(op);
}

static void
send(struct op *op)
{
    struct prov_req *r = op->call.r;
    op->state = SENT;
    op->list_after = r->list_after;
    if (lists_again(op))
        r->list_after = NULL; /* until it is answered */
    prov_submit(op->call.p->inner, r);
}

/* ---- answers without asking ---- */

static void
answer_old(struct fault *l, struct prov_req *r)
{
    const struct c2_blob *body = NULL;
    bool known = fault_memory_find(&l->old, r->key, &body);
    C2_ASSERT(known);
    if (body == NULL) {
        r->http_status = 404;
        prov_req_fail(r, C2_E_NOT_FOUND, "injected: no such key yet");
        return;
    }
    r->size = body->len;
    if (r->verb == PROV_HEAD)
        return;
    uint64_t offset = 0;
    size_t len = 0;
    enum c2_err err = prov_get_range(r, body->len, &offset, &len);
    if (err != C2_E_OK)
        prov_req_fail(r, err, "object has %zu bytes", body->len);
    else
        r->reply = c2_blob_copy(body->data + offset, len);
}

/* What a verdict is when it is an error. */
static const struct refusal {
    enum fault_kind kind;
    enum c2_err err;
    unsigned http_status;
    uint64_t retry_after_ns;
    const char *detail;
} refusals[] = {
    { FAULT_DOWN, C2_E_UNREACHABLE, 0, 0, "injected: no connection" },
    { FAULT_TLS, C2_E_TLS, 0, 0, "injected: the certificate does not verify" },
    { FAULT_ERROR, C2_E_UNAVAILABLE, 500, 0, "injected: internal error" },
    { FAULT_THROTTLE, C2_E_THROTTLED, 503, C2_NS_PER_S, "injected: slow down" },
    { FAULT_REDIRECT, C2_E_REDIRECT, 307, 0, "injected: go elsewhere" },
    { FAULT_DENIED, C2_E_AUTH, 403, 0, "injected: the request's time is too skewed" },
    { FAULT_FULL, C2_E_QUOTA, 403, 0, "injected: quota exceeded" },
    { FAULT_FORBIDDEN, C2_E_ACCESS, 403, 0, "injected: access denied" },
    { FAULT_PROTOCOL, C2_E_PROTOCOL, 0, 0, "injected: malformed answer" },
    { FAULT_ABSENT, C2_E_NOT_FOUND, 404, 0, "injected: no such key" },
};

static void
answer(struct c2_task *t)
{
    struct op *op = C2_CONTAINER_OF(t, struct op, task);
    struct fault *l = layer_of(op);
    struct prov_req *r = op->call.r;
    l->dice.counts[op->verdict]++;
    for (size_t i = 0; i < C2_ARRAY_LEN(refusals); i++) {
        const struct refusal *f = &refusals[i];
        if (f->kind != op->verdict)
            continue;
        r->http_status = f->http_status;
        r->retry_after_ns = f->retry_after_ns;
        prov_req_fail(r, f->err, "%s", f->detail);
    }
    if (op->verdict == FAULT_EMPTY && r->verb == PROV_GET)
        r->reply = c2_blob_new(0);
    else if (op->verdict == FAULT_STALE)
        answer_old(l, r);
    finish(op); /* nothing more to do for lie, rollback and an empty list */
}

/* ---- looking aside ---- */

static void aside_start(struct op *op, enum prov_verb verb, const char *key,
                        void (*done)(struct prov_req *r));

static void
old_fetched(struct prov_req *a)
{
    struct op *op = C2_CONTAINER_OF(a, struct op, aside);
    if (a->err == C2_E_OK || a->err == C2_E_NOT_FOUND)
        fault_memory_add(&layer_of(op)->old, op->call.r->key, a->reply);
    prov_req_done(a);
    if (op->canceled)
        finish_with(op, C2_E_CANCELED);
    else
        send(op);
}

static void
other_fetched(struct prov_req *a)
{
    struct op *op = C2_CONTAINER_OF(a, struct op, aside);
    struct prov_req *r = op->call.r;
    if (op->canceled) {
        prov_req_done(a);
        finish_with(op, C2_E_CANCELED);
    } else if (a->err != C2_E_OK) {
        prov_req_done(a);
        send(op);
    } else {
        r->reply = c2_blob_ref(a->reply);
        r->size = a->size;
        prov_req_done(a);
        layer_of(op)->dice.counts[FAULT_SWAP]++;
        finish(op);
    }
}

/* The key after ours, or the first one when ours is the last. */
static void
other_found(struct prov_req *a)
{
    struct op *op = C2_CONTAINER_OF(a, struct op, aside);
    struct prov_req *r = op->call.r;
    bool found = a->err == C2_E_OK && a->nentries == 1 && strcmp(a->entries[0].key, r->key) != 0;
    bool look_again = a->err == C2_E_OK && a->nentries == 0 && !op->wrapped;
    if (found)
        op->other_key = c2_strdup(a->entries[0].key);
    prov_req_done(a);
    if (op->canceled) {
        finish_with(op, C2_E_CANCELED);
    } else if (found) {
        aside_start(op, PROV_GET, op->other_key, other_fetched);
    } else if (look_again) {
        op->wrapped = true;
        aside_start(op, PROV_LIST, "", other_found);
    } else {
        send(op);
    }
}

static void
aside_start(struct op *op, enum prov_verb verb, const char *key, void (*done)(struct prov_req *r))
{
    const struct prov_req *r = op->call.r;
    bool for_reply = verb == PROV_GET && r->verb == PROV_GET;
    op->state = ASIDE;
    op->aside = (struct prov_req){
        .verb = verb,
        .key = key,
        .deadline_ns = r->deadline_ns,
        .offset = for_reply ? r->offset : 0,
        .len = for_reply ? r->len : 0,
        .body_len_max = for_reply ? r->body_len_max : FAULT_MEMORY_BYTES_MAX,
        .list_after = op->wrapped ? NULL : r->key,
        .list_max = 1,
        .done = done,
    };
    prov_submit(op->call.p->inner, &op->aside);
}

/* ---- requests ---- */

static void
answer_later(struct op *op, enum fault_kind verdict)
{
    op->state = ANSWERING;
    op->verdict = verdict;
    c2_defer(op->call.p->env, &op->task);
}

static bool
answers_without_asking(const struct op *op, enum fault_kind *ret_kind)
{
    static const enum fault_kind kinds[] = {
        FAULT_DOWN,     FAULT_TLS,       FAULT_ERROR,  FAULT_THROTTLE, FAULT_REDIRECT,
        FAULT_DENIED,   FAULT_FORBIDDEN, FAULT_FULL,   FAULT_PROTOCOL, FAULT_LIE,
        FAULT_ROLLBACK, FAULT_EMPTY,     FAULT_ABSENT, FAULT_STALE,
    };
    const struct prov_req *r = op->call.r;
    for (size_t i = 0; i < C2_ARRAY_LEN(kinds); i++) {
        if (!hit(op, kinds[i]))
            continue;
        bool asks = (kinds[i] == FAULT_ABSENT && r->verb == PROV_LIST) ||
                    (kinds[i] == FAULT_STALE && !fault_memory_has(&layer_of(op)->old, r->key));
        if (asks)
            continue;
        *ret_kind = kinds[i];
        return true;
    }
    return false;
}

static void
begin(struct op *op)
{
    struct prov_req *r = op->call.r;
    struct fault *l = layer_of(op);
    enum fault_kind verdict = FAULT_KIND_COUNT;
    bool replaces = r->verb == PROV_PUT || r->verb == PROV_DELETE;
    if (hit(op, FAULT_HANG)) {
        op->state = HANGING;
        l->dice.counts[FAULT_HANG]++;
        c2_timer_arm(l->p.env, &op->timer,
                     C2_MIN(r->deadline_ns, c2_now_ns(l->p.env) + HANG_MAX_NS));
    } else if (answers_without_asking(op, &verdict)) {
        answer_later(op, verdict);
    } else if (hit(op, FAULT_SWAP)) {
        aside_start(op, PROV_LIST, "", other_found);
    } else if (replaces && has_rule(&l->spec, FAULT_STALE) && !fault_memory_has(&l->old, r->key)) {
        aside_start(op, PROV_GET, r->key, old_fetched);
    } else {
        send(op);
    }
}

static void
waited(struct c2_timer *t)
{
    struct op *op = C2_CONTAINER_OF(t, struct op, timer);
    if (op->canceled)
        finish_with(op, C2_E_CANCELED);
    else if (op->state == DRIPPING && !hit(op, FAULT_HANG))
        finish(op);
    else if (op->state == HANGING || op->state == DRIPPING ||
             c2_now_ns(op->call.p->env) >= op->call.r->deadline_ns)
        finish_with(op, C2_E_TIMEOUT);
    else
        begin(op);
}

static void
roll(struct op *op, const struct fault_spec *spec)
{
    for (size_t i = 0; i < spec->count; i++) {
        const struct fault_rule *rule = &spec->rules[i];
        if ((rule->verbs & (1u << op->call.r->verb)) == 0)
            continue;
        if (fault_random(&layer_of(op)->dice) % FAULT_CHANCE_FULL >= rule->chance_ppm)
            continue;
        op->hits |= 1u << rule->kind;
        if (rule->kind == FAULT_DRIP)
            op->drip_ns = rule->delay_ns;
        else
            op->delay_ns += rule->delay_ns;
    }
}

static void
fault_submit(struct provider *p, struct prov_req *r)
{
    struct fault *l = C2_CONTAINER_OF(p, struct fault, p);
    struct op *op = c2_calloc(1, sizeof *op);
    op->timer.fire = waited;
    op->task.run = answer;
    l->outstanding++;
    prov_call_push(&op->call, p, r, answered);
    roll(op, &l->spec);
    if (!hit(op, FAULT_DELAY)) {
        begin(op);
        return;
    }
    op->state = DELAYING;
    l->dice.counts[FAULT_DELAY]++;
    c2_timer_arm(p->env, &op->timer, C2_MIN(r->deadline_ns, c2_now_ns(p->env) + op->delay_ns));
}

static void
fault_cancel(struct provider *p, struct prov_req *r)
{
    struct op *op = prov_call_find(p, r);
    op->canceled = true;
    switch (op->state) {
    case DELAYING:
    case HANGING:
    case DRIPPING:
        c2_timer_arm(p->env, &op->timer, c2_now_ns(p->env));
        break;
    case ANSWERING:
        break; /* soon done */
    case ASIDE:
        prov_cancel(p->inner, &op->aside);
        break;
    case SENT:
        prov_cancel(p->inner, r);
        break;
    default:
        C2_UNREACHABLE();
    }
}

static void
fault_close(struct provider *p)
{
    struct fault *l = C2_CONTAINER_OF(p, struct fault, p);
    C2_ASSERT(l->outstanding == 0);
    fault_memory_done(&l->old);
    c2_free(l);
}

static const struct provider_ops fault_ops = {
    .submit = fault_submit,
    .cancel = fault_cancel,
    .close = fault_close,
};

/* ---- interface ---- */

C2_RESULT
prov_fault_new(struct provider *inner, const char *spec, uint64_t seed,
               struct provider **ret_provider)
{
    struct fault_spec parsed;
    C2_TRY(fault_spec_parse(spec, &parsed, NULL));
    struct fault *l = c2_calloc(1, sizeof *l);
    prov_layer_init(&l->p, &fault_ops, inner);
    l->spec = parsed;
    l->dice.state = seed;
    fault_memory_init(&l->old, seed);
    *ret_provider = &l->p;
    return C2_E_OK;
}

static const struct fault *
find_layer(const struct provider *stack)
{
    while (stack != NULL && stack->ops != &fault_ops)
        stack = stack->inner;
    return (const struct fault *)stack;
}

C2_RESULT
prov_fault_set(struct provider *stack, const char *spec)
{
    struct provider *p = prov_stack_find(stack, &fault_ops);
    if (p == NULL)
        return C2_E_UNSUPPORTED;
    struct fault *l = C2_CONTAINER_OF(p, struct fault, p);
    C2_TRY(fault_spec_parse(spec, &l->spec, NULL));
    if (!has_rule(&l->spec, FAULT_STALE))
        fault_memory_clear(&l->old);
    return C2_E_OK;
}

C2_RESULT
prov_fault_check(const char *spec, char **ret_error)
{
    struct fault_spec parsed;
    return fault_spec_parse(spec, &parsed, ret_error);
}

const char *
prov_fault_kind(size_t index)
{
    return index < FAULT_KIND_COUNT ? fault_kind_name((enum fault_kind)index) : NULL;
}

uint64_t
prov_fault_count(const struct provider *stack)
{
    const struct fault *l = find_layer(stack);
    uint64_t sum = 0;
    for (unsigned i = 0; l != NULL && i < FAULT_KIND_COUNT; i++)
        sum += l->dice.counts[i];
    return sum;
}

uint64_t
prov_fault_count_kind(const struct provider *stack, const char *kind)
{
    const struct fault *l = find_layer(stack);
    enum fault_kind k = FAULT_KIND_COUNT;
    return l != NULL && fault_kind_find(kind, &k) ? l->dice.counts[k] : 0;
}
