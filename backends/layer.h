/* SPDX-License-Identifier: MIT */
/*
 * What providers and layers share. Private to backends/.
 *
 * A request travels down a stack; every provider on the way pushes one struct prov_call (embedded
 * first in its own operation struct) and pops it before it hands the request up again:
 *
 *     submit:  prov_call_push(&op->call, p, r, my_done);  prov_submit(p->inner, r);
 *     my_done: op = prov_call_top(r);  ...  prov_call_pop(&op->call);  c2_free(op);  r->done(r);
 *
 * The bottom pushes with done = NULL, which leaves r->done alone.
 */
#ifndef C2_BACKENDS_LAYER_H
#define C2_BACKENDS_LAYER_H

#include "backends/provider.h"

struct prov_call {
    struct provider *p;                     /* who pushed it */
    struct prov_req *r;                     /* borrowed until popped */
    void (*done_above)(struct prov_req *r); /* r->done of the provider above */
};

void prov_call_push(struct prov_call *c, struct provider *p, struct prov_req *r,
                    void (*done)(struct prov_req *r));
/* Of the request whose done is running. */
void *prov_call_top(const struct prov_req *r);
/* The call p pushed for r, which must be outstanding at p: for cancel. */
void *prov_call_find(const struct provider *p, const struct prov_req *r);
/* r->done is the one of the provider above afterwards. */
void prov_call_pop(struct prov_call *c);

/* Forgets what an attempt left in the out fields, so that the request can be submitted again. */
void prov_req_reset(struct prov_req *r);
/* Sets err and the sentence for people. */
void prov_req_fail(struct prov_req *r, enum c2_err err, const char *fmt, ...) C2_PRINTF(3, 4);

/* Name, environment, capabilities and statistics of a new layer come from what it wraps. */
void prov_layer_init(struct provider *p, const struct provider_ops *ops, struct provider *inner);
/* Of a new bottom. */
void prov_bottom_init(struct provider *p, const struct provider_ops *ops, struct c2_env *env,
                      const char *name);
/* The provider in the stack with these operations, or NULL. */
struct provider *prov_stack_find(struct provider *p, const struct provider_ops *ops);

/* Builds the answer of a LIST: add keys in byte order, at most list_max, then finish. */
void prov_list_add(struct prov_req *r, const char *key, uint64_t size);
void prov_list_finish(struct prov_req *r);

/* The part [*ret_offset, *ret_offset + *ret_len) of an object of `size` bytes that a GET wants;
 * C2_E_RANGE and C2_E_TOO_LARGE as in the contract. */
C2_RESULT prov_get_range(const struct prov_req *r, uint64_t size, uint64_t *ret_offset,
                         size_t *ret_len);

#endif
