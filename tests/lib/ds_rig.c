/* SPDX-License-Identifier: MIT */
#include "tests/lib/ds_rig.h"

#include <stdio.h>
#include <string.h>

#include "backends/mem.h"
#include "backends/registry.h"
#include "base/alloc.h"
#include "base/crypto.h"
#include "tests/lib/test_env.h"

void
ds_rig_init(struct ds_rig *rig, unsigned n, unsigned f)
{
    C2_ASSERT(c2_crypto_init() == C2_E_OK);
    *rig = (struct ds_rig){ 0 };
    rig->t = test_env_new(7);
    rig->env = test_env_env(rig->t);
    ds_config_default(&rig->config);
    rig->config.n = n;
    rig->config.f = f;
    memset(rig->config.volume, 0xc2, sizeof(rig->config.volume));
    memset(rig->config.data_key, 0x5a, sizeof(rig->config.data_key));
    for (unsigned i = 0; i < n; i++) {
        char name[PROV_NAME_MAX];
        snprintf(name, sizeof(name), "cloud%u", i);
        rig->mem[i] = prov_mem_new(rig->env, name);
        C2_ASSERT(prov_fault_new(rig->mem[i], "", i + 1, &rig->seat[i]) == C2_E_OK);
    }
}

void
ds_rig_open(struct ds_rig *rig)
{
    C2_ASSERT(ds_client_new(rig->env, &rig->config, rig->seat, &rig->c) == C2_E_OK);
}

static void
set_flag(void *arg)
{
    *(bool *)arg = true;
}

void
ds_rig_close(struct ds_rig *rig)
{
    bool drained = false;
    ds_client_drain(rig->c, set_flag, &drained);
    test_env_run_until(rig->t, &drained);
    ds_client_free(rig->c);
    rig->c = NULL;
}

void
ds_rig_reopen(struct ds_rig *rig)
{
    ds_rig_close(rig);
    ds_rig_open(rig);
}

void
ds_rig_done(struct ds_rig *rig)
{
    if (rig->c != NULL)
        ds_rig_close(rig);
    for (unsigned i = 0; i < rig->config.n; i++)
        prov_close(rig->seat[i]);
    test_env_free(rig->t);
}

void
ds_rig_fault(struct ds_rig *rig, unsigned seat, const char *spec)
{
    C2_ASSERT(prov_fault_set(rig->seat[seat], spec) == C2_E_OK);
}

uint64_t
ds_rig_requests(struct ds_rig *rig, enum prov_verb verb)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < rig->config.n; i++)
        total += prov_mem_requests(rig->mem[i], verb);
    return total;
}

struct c2_blob *
ds_rig_random(uint64_t seed, size_t len)
{
    struct c2_blob *b = c2_blob_new(len);
    uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;
    for (size_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        b->data[i] = (uint8_t)(x >> 32);
    }
    return b;
}

struct c2_blob *
ds_rig_text(size_t len)
{
    struct c2_buf text = { 0 };
    for (unsigned i = 0; text.len < len; i++)
        c2_buf_printf(&text, "2026-01-%02u,%u,%u.%u,mmHg\n", i % 31 + 1, i, 60 + i * i % 97,
                      i * 7 % 10);
    struct c2_blob *b = c2_blob_copy(text.data, len);
    c2_buf_done(&text);
    return b;
}

void
ds_rig_wait(struct ds_rig *rig, const bool *flag)
{
    test_env_run_until(rig->t, flag);
}

struct waited_put {
    struct ds_put p;
    bool done;
};

static void
put_done(struct ds_put *p)
{
    C2_CONTAINER_OF(p, struct waited_put, p)->done = true;
}

struct ds_put
ds_rig_put(struct ds_rig *rig, const void *data, size_t len)
{
    struct c2_slice piece = c2_slice(data, len);
    struct waited_put w = { .p = { .data = &piece, .ndata = 1, .done = put_done } };
    w.p.oid = (struct ds_oid){ .sid = 1, .seq = ++rig->seq, .rnd = { 1, 2, 3, 4, 5, 6, 7, 8 } };
    ds_put_start(rig->c, &w.p);
    C2_ASSERT(!w.done);
    test_env_run_until(rig->t, &w.done);
    w.p.data = NULL;
    w.p.done = NULL;
    return w.p;
}

struct ds_ref
ds_rig_store(struct ds_rig *rig, const void *data, size_t len)
{
    struct ds_put p = ds_rig_put(rig, data, len);
    C2_ASSERT(p.err == C2_E_OK);
    return p.ref;
}

struct waited_get {
    struct ds_get g;
    bool done;
};

static void
get_done(struct ds_get *g)
{
    C2_CONTAINER_OF(g, struct waited_get, g)->done = true;
}

static struct ds_get
get(struct ds_rig *rig, const struct ds_get *request)
{
    struct waited_get w = { .g = *request };
    w.g.done = get_done;
    ds_get_start(rig->c, &w.g);
    C2_ASSERT(!w.done);
    test_env_run_until(rig->t, &w.done);
    C2_ASSERT((w.g.err == C2_E_OK) == (w.g.data != NULL));
    w.g.done = NULL;
    return w.g;
}

struct ds_get
ds_rig_get_placed(struct ds_rig *rig, const struct ds_ref *ref, uint32_t placed, uint64_t offset,
                  uint64_t len)
{
    struct ds_get g = { .ref = *ref, .placed = placed, .offset = offset, .len = len };
    return get(rig, &g);
}

struct ds_get
ds_rig_get(struct ds_rig *rig, const struct ds_ref *ref, uint64_t offset, uint64_t len)
{
    return ds_rig_get_placed(rig, ref, 0, offset, len);
}

struct ds_get
ds_rig_get_self_certified(struct ds_rig *rig, const struct ds_ref *ref)
{
    struct ds_get g = { .ref = *ref, .self_certified = true };
    return get(rig, &g);
}

void
ds_rig_expect(struct ds_rig *rig, const struct ds_ref *ref, const struct c2_blob *whole,
              uint64_t offset, uint64_t len)
{
    struct ds_get g = ds_rig_get(rig, ref, offset, len);
    C2_ASSERT(g.err == C2_E_OK);
    size_t from = C2_MIN(offset, whole->len);
    size_t want = whole->len - from;
    if (len != 0)
        want = C2_MIN(want, len);
    C2_ASSERT(c2_slice_equal(c2_blob_slice(g.data), c2_slice(whole->data + from, want)));
    c2_blob_unref(g.data);
}

const char *
ds_rig_key(struct ds_rig *rig, const struct ds_ref *ref, char out[PROV_KEY_MAX])
{
    ds_object_key(rig->c, DS_KIND_OBJECT, ref->oid, out);
    return out;
}
