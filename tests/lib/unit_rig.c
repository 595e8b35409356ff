/* SPDX-License-Identifier: MIT */
#include "tests/lib/unit_rig.h"

#include <string.h>

#include "backends/mem.h"
#include "tests/lib/prov_gate.h"
#include "tests/lib/test_env.h"

void
unit_rig_init(struct unit_rig *rig, unsigned n, unsigned f)
{
    ds_rig_init(&rig->ds, n, f);
    for (unsigned i = 0; i < n; i++) {
        rig->gate[i] = prov_gate_new(rig->ds.seat[i]);
        rig->ds.seat[i] = rig->gate[i];
    }
    ds_rig_open(&rig->ds);
    for (unsigned i = 0; i < C2_ARRAY_LEN(rig->secret); i++) {
        uint8_t seed[DS_UNIT_SEED_LEN];
        memset(seed, (int)i + 1, sizeof(seed));
        ds_unit_keypair(seed, rig->secret[i], rig->public_key[i]);
    }
}

void
unit_rig_done(struct unit_rig *rig)
{
    ds_rig_done(&rig->ds);
}

static struct ds_unit *
open_unit(struct unit_rig *rig, unsigned writer, struct ds_unit_config config)
{
    uint8_t writers[2][DS_UNIT_PUBLIC_LEN];
    struct ds_unit *u = NULL;
    memcpy(writers, rig->public_key, sizeof(writers));
    if (writer == 2)
        memcpy(writers[1], rig->public_key[2], sizeof(writers[1]));
    config.writers = (const uint8_t(*)[DS_UNIT_PUBLIC_LEN])writers;
    config.nwriters = C2_ARRAY_LEN(writers);
    if (writer != UNIT_RIG_NOBODY)
        config.secret = rig->secret[writer];
    C2_ASSERT(ds_unit_open(rig->ds.c, &config, &u) == C2_E_OK);
    return u;
}

struct ds_unit *
unit_rig_open(struct unit_rig *rig, const char *name, unsigned writer, bool single)
{
    return open_unit(rig, writer, (struct ds_unit_config){ .name = name, .single_writer = single });
}

struct ds_unit *
unit_rig_open_session(struct unit_rig *rig, const char *name, unsigned writer, uint64_t session)
{
    return open_unit(rig, writer, (struct ds_unit_config){ .name = name, .session = session });
}

struct waited_write {
    struct ds_unit_write w;
    bool done;
};

static void
write_done(struct ds_unit_write *w)
{
    C2_CONTAINER_OF(w, struct waited_write, w)->done = true;
}

struct ds_unit_write
unit_rig_write(struct unit_rig *rig, struct ds_unit *u, enum ds_unit_protocol protocol,
               const void *data, size_t len)
{
    struct c2_slice pieces[2] = { c2_slice(data, len / 3),
                                  c2_slice((const uint8_t *)data + len / 3, len - len / 3) };
    struct waited_write w = {
        .w = { .protocol = protocol, .data = pieces, .ndata = 2, .done = write_done }
    };
    ds_unit_write_start(u, &w.w);
    C2_ASSERT(!w.done);
    ds_rig_wait(&rig->ds, &w.done);
    test_env_run_ready(rig->ds.t); /* what was not waited for arrives as well */
    w.w.data = NULL;
    return w.w;
}

uint64_t
unit_rig_store(struct unit_rig *rig, struct ds_unit *u, enum ds_unit_protocol protocol,
               const char *text)
{
    struct ds_unit_write w = unit_rig_write(rig, u, protocol, text, strlen(text));
    C2_ASSERT(w.err == C2_E_OK);
    return w.written.version;
}

struct waited_read {
    struct ds_unit_read r;
    bool done;
};

static void
read_done(struct ds_unit_read *r)
{
    C2_CONTAINER_OF(r, struct waited_read, r)->done = true;
}

struct ds_unit_read
unit_rig_read(struct unit_rig *rig, struct ds_unit *u, uint64_t version)
{
    struct waited_read w = { .r = { .version = version, .done = read_done } };
    ds_unit_read_start(u, &w.r);
    C2_ASSERT(!w.done);
    ds_rig_wait(&rig->ds, &w.done);
    C2_ASSERT((w.r.err == C2_E_OK) == (w.r.data != NULL));
    return w.r;
}

void
unit_rig_expect(struct unit_rig *rig, struct ds_unit *u, uint64_t version, const char *text)
{
    struct ds_unit_read r = unit_rig_read(rig, u, version);
    C2_ASSERT(r.err == C2_E_OK);
    C2_ASSERT(version == 0 || r.found.version == version);
    C2_ASSERT(c2_slice_equal(c2_blob_slice(r.data), c2_slice_str(text)));
    c2_blob_unref(r.data);
}

struct waited_versions {
    struct ds_unit_versions v;
    bool done;
};

static void
versions_done(struct ds_unit_versions *v)
{
    C2_CONTAINER_OF(v, struct waited_versions, v)->done = true;
}

struct ds_unit_versions
unit_rig_versions(struct unit_rig *rig, struct ds_unit *u)
{
    struct waited_versions w = { .v = { .done = versions_done } };
    ds_unit_versions_start(u, &w.v);
    C2_ASSERT(!w.done);
    ds_rig_wait(&rig->ds, &w.done);
    return w.v;
}

struct waited_lock {
    struct ds_unit_lock l;
    bool done;
};

static void
lock_done(struct ds_unit_lock *l)
{
    C2_CONTAINER_OF(l, struct waited_lock, l)->done = true;
}

struct ds_unit_lock
unit_rig_lock(struct unit_rig *rig, struct ds_unit *u, uint64_t lease_ns, uint64_t wait_ns)
{
    struct waited_lock w = { .l = { .lease_ns = lease_ns, .wait_ns = wait_ns, .done = lock_done } };
    ds_unit_lock_start(u, &w.l);
    C2_ASSERT(!w.done);
    ds_rig_wait(&rig->ds, &w.done);
    test_env_run_ready(rig->ds.t);
    return w.l;
}

struct ds_unit_lock
unit_rig_renew(struct unit_rig *rig, struct ds_unit *u)
{
    struct waited_lock w = { .l = { .done = lock_done } };
    ds_unit_renew_start(u, &w.l);
    C2_ASSERT(!w.done);
    ds_rig_wait(&rig->ds, &w.done);
    test_env_run_ready(rig->ds.t);
    return w.l;
}

struct waited_unlock {
    struct ds_unit_unlock l;
    bool done;
};

static void
unlock_done(struct ds_unit_unlock *l)
{
    C2_CONTAINER_OF(l, struct waited_unlock, l)->done = true;
}

enum c2_err
unit_rig_unlock(struct unit_rig *rig, struct ds_unit *u)
{
    struct waited_unlock w = { .l = { .done = unlock_done } };
    ds_unit_unlock_start(u, &w.l);
    C2_ASSERT(!w.done);
    ds_rig_wait(&rig->ds, &w.done);
    return w.l.err;
}

struct waited_gc {
    struct ds_unit_gc g;
    bool done;
};

static void
gc_done(struct ds_unit_gc *g)
{
    C2_CONTAINER_OF(g, struct waited_gc, g)->done = true;
}

struct ds_unit_gc
unit_rig_gc(struct unit_rig *rig, struct ds_unit *u, unsigned keep)
{
    struct waited_gc w = { .g = { .keep = keep, .done = gc_done } };
    ds_unit_gc_start(u, &w.g);
    C2_ASSERT(!w.done);
    ds_rig_wait(&rig->ds, &w.done);
    return w.g;
}

struct ds_unit_gc
unit_rig_delete(struct unit_rig *rig, struct ds_unit *u)
{
    struct waited_gc w = { .g = { .done = gc_done } };
    ds_unit_delete_start(u, &w.g);
    C2_ASSERT(!w.done);
    ds_rig_wait(&rig->ds, &w.done);
    return w.g;
}

struct waited_list {
    struct ds_unit_list l;
    bool done;
};

static void
list_done(struct ds_unit_list *l)
{
    C2_CONTAINER_OF(l, struct waited_list, l)->done = true;
}

struct ds_unit_list
unit_rig_list(struct unit_rig *rig)
{
    struct waited_list w = { .l = { .done = list_done } };
    ds_unit_list_start(rig->ds.c, &w.l);
    C2_ASSERT(!w.done);
    ds_rig_wait(&rig->ds, &w.done);
    return w.l;
}

const char *
unit_rig_key(struct unit_rig *rig, unsigned seat, const char *part, size_t index)
{
    struct provider *mem = rig->ds.mem[seat];
    for (size_t i = 0; i < prov_mem_count(mem); i++) {
        const char *key = prov_mem_key(mem, i);
        if (strstr(key, part) != NULL && index-- == 0)
            return key;
    }
    return NULL;
}

size_t
unit_rig_count(struct unit_rig *rig, unsigned seat, const char *part)
{
    size_t count = 0;
    while (unit_rig_key(rig, seat, part, count) != NULL)
        count++;
    return count;
}
