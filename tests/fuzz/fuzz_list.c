/* SPDX-License-Identifier: MIT */
/*
 * Keys in the lists of four clouds, all of which say what the fuzzer wants. The first byte says
 * who asks: 'O' for the objects of one session, 'A' of all sessions, 'J' for journal objects, 'U'
 * for names of units, 'K' for keys below a prefix. Two more: how many are wanted, and after which
 * (0 = from the start). Then the pages, in the order in which they are asked for:
 *
 *   flags (bit 0: it goes on; bit 1: it fails; from bit 4 on: how many keys), then for each key
 *     0..63    seq             a good one; the byte has the session
 *     64..127  seq at new      ... with one character changed
 *     128..    len bytes       bytes below the prefix that was asked for, 255: from anywhere
 *
 * What comes of it is in order, has nothing that no cloud has listed, and misses nothing that a
 * cloud whose list counts has listed.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/layer.h"
#include "base/alloc.h"
#include "base/crypto.h"
#include "base/wire.h"
#include "depsky/client.h"
#include "depsky/unit_impl.h"
#include "tests/lib/test_env.h"

#define N        4u
#define SAID_MAX 4096u
#define SESSIONS 4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct said {
    unsigned seat;
    bool good; /* the key of this object, in its place */
    struct ds_oid oid;
    char *key; /* owned */
};

struct world {
    struct test_env *t;
    struct c2_env *env;
    struct ds_client *c;
    struct provider cloud[N];
    enum ds_kind kind;
    bool units; /* keys are those of units */
    struct c2_rd in;
    struct said said[SAID_MAX];
    size_t nsaid;
    bool done;
};

static struct world world; /* requests find it without an argument */

/* ---- clouds ---------------------------------------------------------------------------------- */

struct op {
    struct prov_call call; /* first */
    struct c2_task task;
    bool canceled;
};

static void
good_key(struct said *s, uint8_t tag, char out[PROV_KEY_MAX])
{
    s->oid = (struct ds_oid){ .sid = tag % SESSIONS, .seq = c2_rd_u8(&world.in) };
    s->good = !world.units;
    if (world.units)
        snprintf(out, PROV_KEY_MAX, "v1/c2c2c2c2/u/%c%s/v/%02x", (char)('a' + tag % SESSIONS),
                 tag & 8 ? ".b-c" : "", (unsigned)s->oid.seq);
    else
        ds_object_key(world.c, world.kind, s->oid, out);
}

/* Whether the seat lists its keys in order so far: what is behind those that are wanted is not
 * looked at. */
static bool
comes_next(const struct world *w, unsigned seat, const char *key)
{
    for (size_t i = w->nsaid; i > 0; i--)
        if (w->said[i - 1].seat == seat)
            return strcmp(w->said[i - 1].key, key) < 0;
    return true;
}

static void
say(struct world *w, unsigned seat, const char *prefix, struct c2_buf *out)
{
    char key[PROV_KEY_MAX] = "";
    uint8_t tag = c2_rd_u8(&w->in);
    struct said *s = &w->said[w->nsaid];
    *s = (struct said){ .seat = seat };
    if (tag < 128) {
        good_key(s, tag, key);
        if (tag >= 64) {
            size_t at = c2_rd_u8(&w->in) % strlen(key);
            s->good = false;
            key[at] = (char)c2_rd_u8(&w->in);
        }
    } else {
        struct c2_slice bytes = c2_rd_raw(&w->in, c2_rd_u8(&w->in));
        snprintf(key, sizeof key, "%s%.*s", tag == 255 ? "" : prefix, (int)bytes.len,
                 bytes.len == 0 ? "" : (const char *)bytes.data);
    }
    s->good = s->good && comes_next(w, seat, key);
    s->key = c2_strdup(key);
    w->nsaid++;
    c2_buf_append(out, key, strlen(key) + 1);
}

static void
answer_list(struct world *w, unsigned seat, struct prov_req *r)
{
    uint8_t flags = c2_rd_u8(&w->in);
    size_t n = C2_MIN((size_t)(flags >> 4), r->list_max);
    if (flags & 2) {
        prov_req_fail(r, C2_E_UNREACHABLE, "gone");
        return;
    }
    r->truncated = flags & 1;
    r->entries = c2_calloc(n + 1, sizeof *r->entries);
    for (; r->nentries < n && w->nsaid < SAID_MAX && c2_rd_left(&w->in) > 0; r->nentries++)
        say(w, seat, r->key, &r->list_text);
    const char *at = (const char *)r->list_text.data;
    for (size_t i = 0; i < r->nentries; i++, at += strlen(at) + 1)
        r->entries[i].key = at;
}

static void
answer(struct c2_task *t)
{
    struct op *op = C2_CONTAINER_OF(t, struct op, task);
    struct prov_req *r = op->call.r;
    unsigned seat = (unsigned)(op->call.p - world.cloud);
    if (op->canceled)
        prov_req_fail(r, C2_E_CANCELED, "canceled");
    else if (r->verb == PROV_LIST)
        answer_list(&world, seat, r);
    else
        prov_req_fail(r, C2_E_NOT_FOUND, "empty");
    prov_call_pop(&op->call);
    c2_free(op);
    r->done(r);
}

static void
cloud_submit(struct provider *p, struct prov_req *r)
{
    struct op *op = c2_calloc(1, sizeof *op);
    op->task.run = answer;
    prov_call_push(&op->call, p, r, NULL);
    c2_defer(p->env, &op->task);
}

static void
cloud_cancel(struct provider *p, struct prov_req *r)
{
    struct op *op = prov_call_find(p, r);
    op->canceled = true;
}

static void
cloud_close(struct provider *p)
{
    (void)p;
}

static const struct provider_ops cloud_ops = {
    .submit = cloud_submit,
    .cancel = cloud_cancel,
    .close = cloud_close,
};

/* ---- objects --------------------------------------------------------------------------------- */

static int
compare(uint64_t sid, uint64_t seq, const struct ds_list_item *i)
{
    if (sid != i->sid)
        return sid < i->sid ? -1 : 1;
    return seq < i->seq ? -1 : seq > i->seq;
}

static bool
was_said(unsigned seat, const char *key)
{
    for (size_t i = 0; i < world.nsaid; i++)
        if (world.said[i].seat == seat && strcmp(world.said[i].key, key) == 0)
            return true;
    return false;
}

static void
expect_said(const struct ds_list *l, const struct ds_list_item *item)
{
    char key[PROV_KEY_MAX];
    ds_object_key(world.c, l->kind, (struct ds_oid){ .sid = item->sid, .seq = item->seq }, key);
    C2_ASSERT(item->seats != 0 && (item->seats & ~l->answered) == 0);
    C2_ASSERT(l->all_sids || item->sid == l->sid);
    C2_ASSERT(l->after_seq == UINT64_MAX || compare(l->sid, l->after_seq, item) < 0);
    for (unsigned seat = 0; seat < N; seat++)
        C2_ASSERT((item->seats >> seat & 1) == 0 || was_said(seat, key));
}

static bool
has_item(const struct ds_list *l, const struct said *s)
{
    for (size_t i = 0; i < l->nitems; i++)
        if (compare(s->oid.sid, s->oid.seq, &l->items[i]) == 0)
            return (l->items[i].seats >> s->seat & 1) != 0;
    return false;
}

static void
expect_nothing_is_missing(const struct ds_list *l)
{
    for (size_t i = 0; i < world.nsaid; i++) {
        const struct said *s = &world.said[i];
        bool counts =
            s->good && (l->answered >> s->seat & 1) != 0 && (l->all_sids || s->oid.sid == l->sid);
        if (counts && l->more)
            counts = compare(s->oid.sid, s->oid.seq, &l->items[l->nitems - 1]) <= 0;
        C2_ASSERT(!counts || has_item(l, s));
    }
}

static void
objects_listed(struct ds_list *l)
{
    world.done = true;
    C2_ASSERT(l->err == C2_E_OK || (l->err == C2_E_QUORUM && l->items == NULL));
    if (l->err != C2_E_OK)
        return;
    C2_ASSERT(ds_bits(l->answered) >= N - 1 && l->nitems <= N * l->max);
    C2_ASSERT(!l->more || l->nitems > 0);
    for (size_t i = 0; i < l->nitems; i++) {
        C2_ASSERT(i == 0 || compare(l->items[i - 1].sid, l->items[i - 1].seq, &l->items[i]) < 0);
        expect_said(l, &l->items[i]);
    }
    expect_nothing_is_missing(l);
}

static void
objects(uint8_t who)
{
    uint8_t max = c2_rd_u8(&world.in), after = c2_rd_u8(&world.in);
    struct ds_list l = { .kind = world.kind,
                         .all_sids = who != 'O',
                         .sid = 1,
                         .after_seq = after == 0 ? UINT64_MAX : after,
                         .resume = after != 0,
                         .max = max + 1u,
                         .done = objects_listed };
    ds_list_start(world.c, &l);
    test_env_run_until(world.t, &world.done);
    c2_free(l.items);
}

/* ---- units ----------------------------------------------------------------------------------- */

static void
names_listed(struct unit_names *n)
{
    size_t prefix = strlen(n->prefix);
    world.done = true;
    C2_ASSERT(n->err == C2_E_OK || (n->err == C2_E_QUORUM && n->nitems == 0));
    for (size_t i = 0; i < n->nitems; i++) {
        const struct unit_name *u = &n->items[i];
        C2_ASSERT(i == 0 || strcmp(n->items[i - 1].text, u->text) < 0);
        C2_ASSERT(u->seats != 0 && u->seats < 1u << N);
        C2_ASSERT(!n->units || ds_unit_name_valid(u->text));
        C2_ASSERT(n->units || strncmp(u->text, n->prefix, prefix) == 0);
        for (unsigned seat = 0; seat < N && !n->units; seat++)
            C2_ASSERT((u->seats >> seat & 1) == 0 || was_said(seat, u->text));
    }
}

static void
names(uint8_t who)
{
    struct unit_names *n = c2_calloc(1, sizeof *n);
    n->c = world.c;
    n->units = who == 'U';
    n->grace_ns = c2_rd_u8(&world.in);
    n->done = names_listed;
    unit_root(world.c, n->prefix);
    unit_names_start(n);
    test_env_run_until(world.t, &world.done);
    unit_names_free(n);
    c2_free(n);
}

/* ---------------------------------------------------------------------------------------------- */

static void
set_flag(void *arg)
{
    *(bool *)arg = true;
}

static void
new_client(void)
{
    struct provider *seat[N];
    struct ds_config config;
    ds_config_default(&config);
    config.n = N;
    config.f = 1;
    memset(config.volume, 0xc2, sizeof config.volume);
    for (unsigned i = 0; i < N; i++)
        seat[i] = &world.cloud[i];
    C2_ASSERT(ds_client_new(world.env, &config, seat, &world.c) == C2_E_OK);
}

static void
end(void)
{
    test_env_free(world.t);
}

static void
begin(void)
{
    static bool ready;
    if (ready)
        return;
    C2_ASSERT(c2_crypto_init() == C2_E_OK);
    world.t = test_env_new(7);
    world.env = test_env_env(world.t);
    for (unsigned i = 0; i < N; i++)
        prov_bottom_init(&world.cloud[i], &cloud_ops, world.env, "cloud");
    ready = true;
    (void)atexit(end);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || memchr("OAJUK", data[0], 5) == NULL)
        return 0;
    begin();
    bool drained = false;
    world.kind = data[0] == 'J' ? DS_KIND_JOURNAL : DS_KIND_OBJECT;
    world.units = data[0] == 'U' || data[0] == 'K';
    world.in = c2_rd_init(c2_slice(data + 1, size - 1));
    world.nsaid = 0;
    world.done = false;
    new_client();
    if (world.units)
        names(data[0]);
    else
        objects(data[0]);
    ds_client_drain(world.c, set_flag, &drained);
    test_env_run_until(world.t, &drained);
    ds_client_free(world.c);
    for (size_t i = 0; i < world.nsaid; i++)
        c2_free(world.said[i].key);
    return 0;
}
