/* SPDX-License-Identifier: MIT */
/*
 * The scripted layer of prov_script.h.
 */
#include "tests/lib/prov_script.h"
#include "backends/layer.h"

#include "base/alloc.h"

struct script {
    struct provider p; /* first */
    struct prov_script_step steps[PROV_SCRIPT_STEPS_MAX];
    size_t nsteps, next;
    struct prov_script_entry log[PROV_SCRIPT_LOG_MAX];
    size_t nlog;
};

struct op {
    struct prov_call call; /* first */
    struct prov_script_step step;
    struct c2_task task;
};

static void
finish(struct op *op)
{
    struct prov_req *r = op->call.r;
    if (op->step.err != C2_E_OK) {
        prov_req_reset(r);
        prov_req_fail(r, op->step.err, "scripted: %s", c2_err_text(op->step.err));
        r->retry_after_ns = op->step.retry_after_ns;
    }
    prov_call_pop(&op->call);
    c2_free(op);
    r->done(r);
}

static void
answered(struct prov_req *r)
{
    finish(prov_call_top(r));
}

static void
task_run(struct c2_task *t)
{
    finish(C2_CONTAINER_OF(t, struct op, task));
}

static void
script_submit(struct provider *p, struct prov_req *r)
{
    struct script *s = C2_CONTAINER_OF(p, struct script, p);
    struct op *op = c2_calloc(1, sizeof *op);
    C2_ASSERT(s->nlog < PROV_SCRIPT_LOG_MAX);
    s->log[s->nlog++] = (struct prov_script_entry){ r->verb, c2_now_ns(p->env) };
    if (s->next < s->nsteps)
        op->step = s->steps[s->next++];
    op->task.run = task_run;
    prov_call_push(&op->call, p, r, answered);
    if (op->step.err == C2_E_OK || op->step.apply)
        prov_submit(p->inner, r);
    else
        c2_defer(p->env, &op->task);
}

static void
script_cancel(struct provider *p, struct prov_req *r)
{
    struct op *op = prov_call_find(p, r);
    if (!c2_link_linked(&op->task.link))
        prov_cancel(p->inner, r);
}

static void
script_close(struct provider *p)
{
    c2_free(C2_CONTAINER_OF(p, struct script, p));
}

static const struct provider_ops script_ops = {
    .submit = script_submit,
    .cancel = script_cancel,
    .close = script_close,
};

struct provider *
prov_script_new(struct provider *inner)
{
    struct script *s = c2_calloc(1, sizeof *s);
    prov_layer_init(&s->p, &script_ops, inner);
    return &s->p;
}

void
prov_script_add(struct provider *script, struct prov_script_step step)
{
    struct script *s = C2_CONTAINER_OF(script, struct script, p);
    C2_ASSERT(script->ops == &script_ops && s->nsteps < PROV_SCRIPT_STEPS_MAX);
    s->steps[s->nsteps++] = step;
}

const struct prov_script_entry *
prov_script_log(const struct provider *script, size_t *ret_count)
{
    C2_ASSERT(script->ops == &script_ops);
    const struct script *s = (const struct script *)script;
    *ret_count = s->nlog;
    return s->log;
}
