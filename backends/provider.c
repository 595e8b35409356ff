/* SPDX-License-Identifier: MIT */
/*
 * The checked way into a provider, and what all of them share. Every call from one layer to the
 * next goes through here too, so each layer is held to the same contract.
 */
#include "backends/provider.h"
#include "backends/layer.h"

#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *
prov_verb_name(enum prov_verb verb)
{
    static const char *const names[PROV_VERB_COUNT] = {
        [PROV_PUT] = "put",
        [PROV_GET] = "get",
        [PROV_HEAD] = "head",
        [PROV_DELETE] = "delete",
        [PROV_DELETE_MANY] = "delete_many",
        [PROV_LIST] = "list",
    };
    C2_ASSERT(verb < PROV_VERB_COUNT);
    return names[verb];
}

static void
assert_key(const char *key)
{
    C2_ASSERT(key != NULL);
    C2_ASSERT(key[0] != '\0');
    C2_ASSERT(strnlen(key, PROV_KEY_MAX + 1) <= PROV_KEY_MAX);
}

/* Arguments come from our own code, never straight from outside: a wrong one is a bug. */
static void
assert_arguments(const struct prov_req *r)
{
    switch (r->verb) {
    case PROV_PUT:
        assert_key(r->key);
        C2_ASSERT(r->body != NULL);
        break;
    case PROV_GET:
        assert_key(r->key);
        C2_ASSERT(r->offset <= UINT64_MAX - r->len);
        break;
    case PROV_HEAD:
    case PROV_DELETE:
        assert_key(r->key);
        break;
    case PROV_DELETE_MANY:
        C2_ASSERT(r->nkeys >= 1 && r->nkeys <= PROV_DELETE_MANY_MAX);
        for (size_t i = 0; i < r->nkeys; i++)
            assert_key(r->keys[i]);
        break;
    case PROV_LIST:
        C2_ASSERT(r->key != NULL && strnlen(r->key, PROV_KEY_MAX + 1) <= PROV_KEY_MAX);
        C2_ASSERT(r->list_max >= 1 && r->list_max <= PROV_LIST_MAX);
        break;
    case PROV_VERB_COUNT:
    default:
        C2_UNREACHABLE();
    }
}

void
prov_submit(struct provider *p, struct prov_req *r)
{
    C2_ASSERT(p != NULL && r->done != NULL);
    C2_ASSERT(r->depth < PROV_LAYERS_MAX);
    C2_ASSERT(r->deadline_ns > 0); /* forgotten; C2_NEVER is "none" */
    C2_ASSERT(r->reply == NULL && r->entries == NULL && r->list_text.data == NULL);
    assert_arguments(r);
    prov_req_reset(r);
    p->ops->submit(p, r);
}

void
prov_cancel(struct provider *p, struct prov_req *r)
{
    C2_ASSERT(p != NULL && r->done != NULL);
    C2_ASSERT(r->depth > 0); /* outstanding */
    p->ops->cancel(p, r);
}

void
prov_close(struct provider *p)
{
    while (p != NULL) {
        struct provider *inner = p->inner;
        p->ops->close(p);
        p = inner;
    }
}

void
prov_req_done(struct prov_req *r)
{
    c2_blob_unref(r->reply);
    r->reply = NULL;
    c2_free(r->entries);
    r->entries = NULL;
    r->nentries = 0;
    c2_buf_done(&r->list_text);
    r->list_text = (struct c2_buf){ 0 };
}

void
prov_req_reset(struct prov_req *r)
{
    prov_req_done(r);
    r->err = C2_E_OK;
    r->http_status = 0;
    r->detail[0] = '\0';
    r->size = 0;
    r->retry_after_ns = 0;
    r->server_wall_ns = 0;
    r->truncated = false;
}

void
prov_req_fail(struct prov_req *r, enum c2_err err, const char *fmt, ...)
{
    C2_ASSERT(err != C2_E_OK);
    r->err = err;
    va_list args;
    va_start(args, fmt);
    vsnprintf(r->detail, sizeof r->detail, fmt, args);
    va_end(args);
}

void
prov_call_push(struct prov_call *c, struct provider *p, struct prov_req *r,
               void (*done)(struct prov_req *r))
{
    C2_ASSERT(r->depth < PROV_LAYERS_MAX);
    c->p = p;
    c->r = r;
    c->done_above = r->done;
    r->layer[r->depth++] = c;
    if (done != NULL)
        r->done = done;
}

void *
prov_call_top(const struct prov_req *r)
{
    C2_ASSERT(r->depth > 0);
    return r->layer[r->depth - 1];
}

void *
prov_call_find(const struct provider *p, const struct prov_req *r)
{
    for (unsigned i = 0; i < r->depth; i++) {
        struct prov_call *c = r->layer[i];
        if (c->p == p)
            return c;
    }
    C2_UNREACHABLE();
}

void
prov_call_pop(struct prov_call *c)
{
    C2_ASSERT(prov_call_top(c->r) == c);
    c->r->layer[--c->r->depth] = NULL;
    c->r->done = c->done_above;
}

void
prov_layer_init(struct provider *p, const struct provider_ops *ops, struct provider *inner)
{
    C2_ASSERT(inner != NULL);
    p->ops = ops;
    p->env = inner->env;
    memcpy(p->name, inner->name, sizeof p->name);
    p->caps = inner->caps;
    p->inner = inner;
    p->stats = inner->stats;
}

void
prov_bottom_init(struct provider *p, const struct provider_ops *ops, struct c2_env *env,
                 const char *name)
{
    p->ops = ops;
    p->env = env;
    C2_ASSERT(strlen(name) < sizeof p->name);
    snprintf(p->name, sizeof p->name, "%s", name);
}

struct provider *
prov_stack_find(struct provider *p, const struct provider_ops *ops)
{
    while (p != NULL && p->ops != ops)
        p = p->inner;
    return p;
}

/* Keys lie one after the other in list_text, which may move while it grows: finish() points. */
void
prov_list_add(struct prov_req *r, const char *key, uint64_t size)
{
    C2_ASSERT(r->verb == PROV_LIST && r->nentries < r->list_max);
    if (r->entries == NULL)
        r->entries = c2_calloc(r->list_max, sizeof *r->entries);
    r->entries[r->nentries++].size = size;
    c2_buf_append(&r->list_text, key, strlen(key) + 1);
}

void
prov_list_finish(struct prov_req *r)
{
    const char *at = (const char *)r->list_text.data;
    for (size_t i = 0; i < r->nentries; i++) {
        C2_ASSERT(i == 0 || strcmp(r->entries[i - 1].key, at) < 0);
        r->entries[i].key = at;
        at += strlen(at) + 1;
    }
}

C2_RESULT
prov_get_range(const struct prov_req *r, uint64_t size, uint64_t *ret_offset, size_t *ret_len)
{
    /* The whole of an empty object is no range. */
    if (r->offset >= size && (r->offset > 0 || r->len > 0))
        return C2_E_RANGE;
    uint64_t len = size - r->offset;
    if (r->len > 0)
        len = C2_MIN(len, r->len);
    if (len > r->body_len_max)
        return C2_E_TOO_LARGE;
    *ret_offset = r->offset;
    *ret_len = (size_t)len;
    return C2_E_OK;
}
