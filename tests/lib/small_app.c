/* SPDX-License-Identifier: MIT */
#include "tests/lib/small_app.h"

#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/wire.h"

struct small_app {
    struct replica_app app;
    struct small_disk *disk; /* borrowed */
    uint8_t wanted[32];      /* digest of the state that is fetched */
    bool asked, have;
};

struct small_batch {
    struct replica_batch base;
    struct small_state state;
};

static struct small_app *
app_of(struct replica_app *a)
{
    return C2_CONTAINER_OF(a, struct small_app, app);
}

static struct small_batch *
batch_of(struct replica_batch *b)
{
    return C2_CONTAINER_OF(b, struct small_batch, base);
}

/* ---- states ---------------------------------------------------------------------------------- */

static void
state_done(struct small_state *s)
{
    for (size_t i = 0; i < s->nkeys; i++) {
        c2_buf_done(&s->key[i]);
        c2_buf_done(&s->value[i]);
    }
    memset(s, 0, sizeof *s);
}

static void
encode(const struct small_state *s, struct c2_buf *out)
{
    c2_wr_u64(out, s->version);
    c2_wr_raw(out, s->hash, sizeof s->hash);
    for (size_t i = 0; i < s->nkeys; i++) {
        c2_wr_bytes(out, c2_buf_slice(&s->key[i]));
        c2_wr_u8(out, 1);
        c2_wr_bytes(out, c2_buf_slice(&s->value[i]));
    }
}

/* Bytes that hash to what they should are those of a state. */
static void
decode(struct c2_slice in, struct small_state *s)
{
    struct c2_rd r = c2_rd_init(in);
    s->version = c2_rd_u64(&r);
    c2_rd_copy(&r, s->hash, sizeof s->hash);
    for (; c2_rd_left(&r) > 0; s->nkeys++) {
        C2_ASSERT(s->nkeys < SMALL_KEYS);
        struct c2_slice key = c2_rd_bytes(&r, 512);
        C2_ASSERT(c2_rd_u8(&r) == 1);
        struct c2_slice value = c2_rd_bytes(&r, REPLICA_CHUNK_MAX);
        C2_ASSERT(c2_rd_ok(&r));
        c2_buf_append(&s->key[s->nkeys], key.data, key.len);
        c2_buf_append(&s->value[s->nkeys], value.data, value.len);
    }
}

static void
copy(struct small_state *to, const struct small_state *from)
{
    struct c2_buf bytes = { 0 };
    encode(from, &bytes);
    state_done(to);
    decode(c2_buf_slice(&bytes), to);
    c2_buf_done(&bytes);
}

static void
state_digest(const struct small_state *s, uint8_t out[32])
{
    struct c2_buf bytes = { 0 };
    encode(s, &bytes);
    c2_sha256(c2_buf_slice(&bytes), out);
    c2_buf_done(&bytes);
}

/* ---- batches --------------------------------------------------------------------------------- */

static C2_RESULT
begin(struct replica_app *a, struct replica_batch **ret_batch)
{
    struct small_batch *b = c2_calloc(1, sizeof *b);
    b->base.app = a;
    copy(&b->state, &app_of(a)->disk->state);
    *ret_batch = &b->base;
    return C2_E_OK;
}

static C2_RESULT
apply(struct replica_batch *base, uint64_t time_ns, const struct replica_client *by,
      struct c2_slice cmd, struct c2_buf *reply)
{
    (void)by;
    struct small_state *s = &batch_of(base)->state;
    uint8_t time[8];
    c2_put_u64(time, time_ns);
    const struct c2_slice parts[] = { c2_slice(s->hash, sizeof s->hash), c2_slice(time, 8), cmd };
    c2_sha256_v(parts, C2_ARRAY_LEN(parts), s->hash);
    base->version = ++s->version;
    c2_buf_append(reply, s->hash, sizeof s->hash);
    return C2_E_OK;
}

static C2_RESULT
commit(struct replica_batch *base)
{
    copy(&app_of(base->app)->disk->state, &batch_of(base)->state);
    return C2_E_OK;
}

static void
end(struct replica_batch *base)
{
    if (base == NULL)
        return;
    struct small_batch *b = batch_of(base);
    state_done(&b->state);
    c2_buf_done(&b->base.events);
    c2_free(b);
}

/* The answer is of the form that cmd_reply_hide_version takes: long enough. */
static void
answer(const struct small_state *s, struct c2_buf *reply)
{
    c2_buf_append(reply, s->hash, sizeof s->hash);
}

static C2_RESULT
read_state(struct replica_batch *b, const struct replica_client *by, struct c2_slice cmd,
           struct c2_buf *reply)
{
    (void)by;
    (void)cmd;
    answer(&batch_of(b)->state, reply);
    return C2_E_OK;
}

/* Everybody may do everything. */
static C2_RESULT
acl(struct replica_batch *b, struct c2_buf *out)
{
    (void)b;
    (void)out;
    return C2_E_OK;
}

static C2_RESULT
query(struct replica_app *a, const struct replica_client *by, struct c2_slice cmd,
      struct c2_buf *reply)
{
    (void)by;
    (void)cmd;
    answer(&app_of(a)->disk->state, reply);
    return C2_E_OK;
}

static void
remove_key(struct small_state *s, size_t i)
{
    c2_buf_done(&s->key[i]);
    c2_buf_done(&s->value[i]);
    s->nkeys--;
    memmove(&s->key[i], &s->key[i + 1], (s->nkeys - i) * sizeof s->key[0]);
    memmove(&s->value[i], &s->value[i + 1], (s->nkeys - i) * sizeof s->value[0]);
}

static C2_RESULT
put_system(struct replica_batch *b, struct c2_slice key, const struct c2_slice *value)
{
    struct small_state *s = &batch_of(b)->state;
    size_t i = 0;
    while (i < s->nkeys && c2_slice_compare(c2_buf_slice(&s->key[i]), key) < 0)
        i++;
    if (i < s->nkeys && c2_slice_equal(c2_buf_slice(&s->key[i]), key))
        remove_key(s, i);
    if (value == NULL)
        return C2_E_OK;
    C2_ASSERT(s->nkeys < SMALL_KEYS);
    memmove(&s->key[i + 1], &s->key[i], (s->nkeys - i) * sizeof s->key[0]);
    memmove(&s->value[i + 1], &s->value[i], (s->nkeys - i) * sizeof s->value[0]);
    s->key[i] = s->value[i] = (struct c2_buf){ 0 };
    s->nkeys++;
    c2_buf_append(&s->key[i], key.data, key.len);
    c2_buf_append(&s->value[i], value->data, value->len);
    return C2_E_OK;
}

static C2_RESULT
digest(struct replica_batch *b, uint8_t out[32])
{
    state_digest(&batch_of(b)->state, out);
    return C2_E_OK;
}

/* ---- the disk -------------------------------------------------------------------------------- */

static C2_RESULT
list_system(struct replica_app *a, struct c2_buf *out, bool *ret_complete)
{
    const struct small_disk *d = app_of(a)->disk;
    struct c2_buf all = { 0 };
    encode(&d->state, &all);
    c2_buf_append(out, all.data + 8 + 32, all.len - 8 - 32);
    c2_buf_done(&all);
    *ret_complete = !d->loading;
    return C2_E_OK;
}

static C2_RESULT
part(struct replica_app *a, const struct replica_part *p, struct c2_buf *out)
{
    const struct small_disk *d = app_of(a)->disk;
    uint8_t have[32];
    state_digest(&d->state, have);
    if (d->loading || p->kind != REPLICA_HEAD || memcmp(have, p->hash, sizeof have) != 0)
        return C2_E_NOT_FOUND;
    encode(&d->state, out);
    return C2_E_OK;
}

static C2_RESULT
fetch_begin(struct replica_app *a, const uint8_t wanted[32])
{
    struct small_app *s = app_of(a);
    s->disk->loading = true;
    s->asked = s->have = false;
    memcpy(s->wanted, wanted, sizeof s->wanted);
    return C2_E_OK;
}

static C2_RESULT
fetch_want(struct replica_app *a, size_t max, struct c2_buf *out, bool *ret_done)
{
    struct small_app *s = app_of(a);
    struct replica_part head = { .kind = REPLICA_HEAD };
    memcpy(head.hash, s->wanted, sizeof head.hash);
    if (!s->asked && max > 0)
        c2_buf_append(out, &head, sizeof head);
    s->asked = true;
    *ret_done = s->have;
    return C2_E_OK;
}

static C2_RESULT
fetch_put(struct replica_app *a, uint8_t kind, const uint8_t hash[32], struct c2_slice bytes)
{
    struct small_app *s = app_of(a);
    uint8_t is[32];
    c2_sha256(bytes, is);
    if (kind != REPLICA_HEAD || memcmp(hash, s->wanted, sizeof is) != 0)
        return C2_E_OK; /* nobody asked for it */
    if (memcmp(is, s->wanted, sizeof is) != 0) {
        s->asked = false;
        return C2_E_CORRUPT;
    }
    state_done(&s->disk->state);
    decode(bytes, &s->disk->state);
    s->disk->loading = false;
    s->have = true;
    return C2_E_OK;
}

static void
close_app(struct replica_app *a)
{
    c2_free(app_of(a));
}

static const struct replica_app_ops ops = {
    .begin = begin,
    .apply = apply,
    .commit = commit,
    .end = end,
    .read = read_state,
    .acl = acl,
    .put_system = put_system,
    .digest = digest,
    .query = query,
    .list_system = list_system,
    .part = part,
    .fetch_begin = fetch_begin,
    .fetch_want = fetch_want,
    .fetch_put = fetch_put,
    .close = close_app,
};

struct replica_app *
small_app_open(struct small_disk *d)
{
    struct small_app *s = c2_calloc(1, sizeof *s);
    s->app.ops = &ops;
    s->disk = d;
    return &s->app;
}

void
small_disk_done(struct small_disk *d)
{
    state_done(&d->state);
}
