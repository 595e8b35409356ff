/* SPDX-License-Identifier: MIT */
/*
 * A cloud in memory, for tests, simulations and trying things out. Objects live in an array
 * sorted by key. A request takes effect at the moment it completes, so a canceled one has none.
 */
#include "backends/mem.h"
#include "backends/layer.h"
#include "backends/registry.h"

#include "base/alloc.h"
#include "base/crypto.h"

#include <string.h>

struct object {
    char *key;            /* owned */
    struct c2_blob *body; /* one reference */
};

struct store {
    struct object *objects; /* owned, sorted by key */
    size_t count, cap;
    unsigned refs; /* providers on it */
};

struct mem {
    struct provider p;
    struct store *store; /* one of its refs */
    uint64_t latency_ns, jitter_ns;
    uint64_t requests[PROV_VERB_COUNT];
    size_t outstanding;
};

struct op {
    struct prov_call call; /* first */
    struct c2_task task;
    struct c2_timer timer;
    enum c2_err verdict; /* OK = execute it */
};

static const struct provider_ops mem_ops;

/* Of the first object whose key is not below `key`. */
static size_t
lower_bound(const struct store *s, const char *key)
{
    size_t low = 0;
    size_t high = s->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (strcmp(s->objects[mid].key, key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct object *
find(const struct store *s, const char *key)
{
    size_t i = lower_bound(s, key);
    return i < s->count && strcmp(s->objects[i].key, key) == 0 ? &s->objects[i] : NULL;
}

/* Takes over one reference to body. */
static void
store_set(struct store *s, const char *key, struct c2_blob *body)
{
    struct object *old = find(s, key);
    if (old != NULL) {
        c2_blob_unref(old->body);
        old->body = body;
        return;
    }
    if (s->count == s->cap) {
        s->cap = C2_MAX(16, s->cap * 2);
        s->objects = c2_realloc(s->objects, s->cap, sizeof *s->objects);
    }
    size_t at = lower_bound(s, key);
    memmove(&s->objects[at + 1], &s->objects[at], (s->count - at) * sizeof *s->objects);
    s->objects[at] = (struct object){ .key = c2_strdup(key), .body = body };
    s->count++;
}

static bool
store_remove(struct store *s, const char *key)
{
    struct object *o = find(s, key);
    if (o == NULL)
        return false;
    size_t at = (size_t)(o - s->objects);
    c2_free(o->key);
    c2_blob_unref(o->body);
    s->count--;
    memmove(o, o + 1, (s->count - at) * sizeof *o);
    return true;
}

static void
store_clear(struct store *s)
{
    for (size_t i = 0; i < s->count; i++) {
        c2_free(s->objects[i].key);
        c2_blob_unref(s->objects[i].body);
    }
    s->count = 0;
}

static void
store_unref(struct store *s)
{
    if (--s->refs > 0)
        return;
    store_clear(s);
    c2_free(s->objects);
    c2_free(s);
}

static void
execute_put(struct mem *m, struct prov_req *r)
{
    if (r->body_sha256 != NULL) {
        uint8_t sum[C2_SHA256_LEN];
        c2_sha256(c2_blob_slice(r->body), sum);
        if (memcmp(sum, r->body_sha256, sizeof sum) != 0) {
            prov_req_fail(r, C2_E_CORRUPT, "the body does not match its SHA-256");
            return;
        }
    }
    bool conditional = r->if_absent && (m->p.caps & PROV_CAP_IF_ABSENT) != 0;
    if (conditional && find(m->store, r->key) != NULL)
        prov_req_fail(r, C2_E_EXISTS, "key exists");
    else
        store_set(m->store, r->key, c2_blob_ref(r->body));
}

static void
execute_get(struct mem *m, struct prov_req *r)
{
    struct object *o = find(m->store, r->key);
    if (o == NULL) {
        prov_req_fail(r, C2_E_NOT_FOUND, "no such key");
        return;
    }
    r->size = o->body->len;
    if (r->verb == PROV_HEAD)
        return;
    uint64_t offset = 0;
    size_t len = 0;
    enum c2_err err = prov_get_range(r, o->body->len, &offset, &len);
    if (err != C2_E_OK)
        prov_req_fail(r, err, "object has %zu bytes", o->body->len);
    else if (len == o->body->len)
        r->reply = c2_blob_ref(o->body);
    else
        r->reply = c2_blob_copy(o->body->data + offset, len);
}

static void
execute_list(struct mem *m, struct prov_req *r)
{
    const struct store *s = m->store;
    size_t prefix_len = strlen(r->key);
    size_t i = lower_bound(s, r->key);
    if (r->list_after != NULL && strcmp(r->list_after, r->key) >= 0) {
        i = lower_bound(s, r->list_after);
        if (i < s->count && strcmp(s->objects[i].key, r->list_after) == 0)
            i++;
    }
    for (; i < s->count && strncmp(s->objects[i].key, r->key, prefix_len) == 0; i++) {
        if (r->nentries == r->list_max) {
            r->truncated = true;
            break;
        }
        prov_list_add(r, s->objects[i].key, s->objects[i].body->len);
    }
    prov_list_finish(r);
}

static void
execute(struct mem *m, struct prov_req *r)
{
    r->server_wall_ns = c2_wall_ns(m->p.env);
    switch (r->verb) {
    case PROV_PUT:
        execute_put(m, r);
        return;
    case PROV_GET:
    case PROV_HEAD:
        execute_get(m, r);
        return;
    case PROV_DELETE:
        store_remove(m->store, r->key);
        return;
    case PROV_DELETE_MANY:
        for (size_t i = 0; i < r->nkeys; i++)
            store_remove(m->store, r->keys[i]);
        return;
    case PROV_LIST:
        execute_list(m, r);
        return;
    case PROV_VERB_COUNT:
    default:
        C2_UNREACHABLE();
    }
}

static void
finish(struct op *op)
{
    struct prov_req *r = op->call.r;
    struct mem *m = C2_CONTAINER_OF(op->call.p, struct mem, p);
    if (op->verdict == C2_E_OK)
        execute(m, r);
    else
        prov_req_fail(r, op->verdict, "%s", c2_err_text(op->verdict));
    m->outstanding--;
    prov_call_pop(&op->call);
    c2_free(op);
    r->done(r);
}

static void
task_run(struct c2_task *t)
{
    finish(C2_CONTAINER_OF(t, struct op, task));
}

static void
timer_fire(struct c2_timer *t)
{
    finish(C2_CONTAINER_OF(t, struct op, timer));
}

static uint64_t
draw_latency(struct mem *m)
{
    if (m->jitter_ns == 0 || m->latency_ns == C2_NEVER)
        return m->latency_ns;
    uint64_t random = 0;
    c2_random(m->p.env, &random, sizeof random);
    return m->latency_ns + random % (m->jitter_ns + 1);
}

static void
mem_submit(struct provider *p, struct prov_req *r)
{
    struct mem *m = C2_CONTAINER_OF(p, struct mem, p);
    struct op *op = c2_calloc(1, sizeof *op);
    op->task.run = task_run;
    op->timer.fire = timer_fire;
    prov_call_push(&op->call, p, r, NULL);
    m->outstanding++;
    m->requests[r->verb]++;

    uint64_t latency_ns = draw_latency(m);
    uint64_t now_ns = c2_now_ns(p->env);
    uint64_t at_ns = latency_ns > C2_NEVER - now_ns ? C2_NEVER : now_ns + latency_ns;
    if (r->deadline_ns < at_ns || r->deadline_ns <= now_ns) {
        at_ns = r->deadline_ns;
        op->verdict = C2_E_TIMEOUT;
    }
    if (at_ns <= now_ns)
        c2_defer(p->env, &op->task);
    else
        c2_timer_arm(p->env, &op->timer, at_ns);
}

static void
mem_cancel(struct provider *p, struct prov_req *r)
{
    struct op *op = prov_call_find(p, r);
    if (!c2_timer_armed(&op->timer))
        return; /* about to complete anyway */
    c2_timer_stop(p->env, &op->timer);
    op->verdict = C2_E_CANCELED;
    c2_defer(p->env, &op->task);
}

static void
mem_close(struct provider *p)
{
    struct mem *m = C2_CONTAINER_OF(p, struct mem, p);
    C2_ASSERT(m->outstanding == 0);
    store_unref(m->store);
    c2_free(m);
}

static const struct provider_ops mem_ops = {
    .submit = mem_submit,
    .cancel = mem_cancel,
    .close = mem_close,
};

static struct provider *
new_on_store(struct c2_env *env, const char *name, struct store *store)
{
    struct mem *m = c2_calloc(1, sizeof *m);
    prov_bottom_init(&m->p, &mem_ops, env, name);
    m->p.caps = PROV_CAP_IF_ABSENT | PROV_CAP_LOCAL;
    m->store = store;
    store->refs++;
    return &m->p;
}

struct provider *
prov_mem_new(struct c2_env *env, const char *name)
{
    return new_on_store(env, name, c2_calloc(1, sizeof(struct store)));
}

static struct mem *
from_stack(struct provider *p)
{
    struct provider *bottom = prov_stack_find(p, &mem_ops);
    C2_ASSERT(bottom != NULL);
    return C2_CONTAINER_OF(bottom, struct mem, p);
}

struct provider *
prov_mem_share(struct provider *p, struct c2_env *env, const char *name)
{
    return new_on_store(env, name, from_stack(p)->store);
}

size_t
prov_mem_count(struct provider *p)
{
    return from_stack(p)->store->count;
}

const char *
prov_mem_key(struct provider *p, size_t index)
{
    const struct store *s = from_stack(p)->store;
    return index < s->count ? s->objects[index].key : NULL;
}

const struct c2_blob *
prov_mem_peek(struct provider *p, const char *key)
{
    const struct object *o = find(from_stack(p)->store, key);
    return o == NULL ? NULL : o->body;
}

uint64_t
prov_mem_requests(struct provider *p, enum prov_verb verb)
{
    C2_ASSERT(verb < PROV_VERB_COUNT);
    return from_stack(p)->requests[verb];
}

void
prov_mem_store(struct provider *p, const char *key, struct c2_slice body)
{
    store_set(from_stack(p)->store, key, c2_blob_copy(body.data, body.len));
}

/* Bodies are shared with whoever stored or read them: change a copy. */
static struct c2_blob *
copy_of(struct store *s, const char *key)
{
    struct object *o = find(s, key);
    C2_ASSERT(o != NULL);
    return c2_blob_copy(o->body->data, o->body->len);
}

void
prov_mem_corrupt(struct provider *p, const char *key, size_t offset)
{
    struct store *s = from_stack(p)->store;
    struct c2_blob *b = copy_of(s, key);
    C2_ASSERT(offset < b->len);
    b->data[offset] = (uint8_t)~b->data[offset];
    store_set(s, key, b);
}

void
prov_mem_truncate(struct provider *p, const char *key, size_t len)
{
    struct store *s = from_stack(p)->store;
    struct c2_blob *b = copy_of(s, key);
    C2_ASSERT(len <= b->len);
    b->len = len;
    store_set(s, key, b);
}

bool
prov_mem_delete(struct provider *p, const char *key)
{
    return store_remove(from_stack(p)->store, key);
}

void
prov_mem_clear(struct provider *p)
{
    store_clear(from_stack(p)->store);
}

void
prov_mem_set_latency(struct provider *p, uint64_t latency_ns, uint64_t jitter_ns)
{
    struct mem *m = from_stack(p);
    m->latency_ns = latency_ns;
    m->jitter_ns = jitter_ns;
}

void
prov_mem_set_if_absent(struct provider *p, bool supported)
{
    C2_ASSERT(p->ops == &mem_ops);
    p->caps &= ~(unsigned)PROV_CAP_IF_ABSENT;
    p->caps |= supported ? (unsigned)PROV_CAP_IF_ABSENT : 0;
}
