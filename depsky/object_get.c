/* SPDX-License-Identifier: MIT */
/*
 * Reading an object, whole or a range (DepSky-CA §3.5 with the anchor's hash in place of the
 * signed metadata; k seats instead of n-f because every byte is verified).
 *
 *   PLAN_HEADERS ─┐                                       ┌─► PLAN_DIRECT ─┐
 *   PLAN_WHOLE ───┼── first verified header: layout ──────┤                ├─► unseal ─► done
 *   guess ────────┘                                       └─► PLAN_DECODE ─┘
 *
 * The content key needs the verified headers of k seats, the data either what the range occupies
 * of each data row (DIRECT) or one window of any k rows (DECODE). Both are goals, not phases:
 * get_step starts whatever is still missing, and a seat that fails or is late simply does not count
 * any more. A first read of a small range of a raw object is one round trip, because the layout of
 * a raw object follows from its length: it is guessed, and the header confirms it.
 *
 * NOT_FOUND only when so many seats say "absent" that fewer than k can have it; "unreachable" is
 * not "absent".
 */
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "depsky/get.h"

#define WHOLE_BYTES (256u << 10) /* a share up to here is read whole: 2 requests instead of 3 */

/* ---- end ------------------------------------------------------------------------------- */

static void
release(struct get *op)
{
    struct ds_client *c = op->c;
    for (unsigned i = 0; i < DS_SEATS_MAX; i++)
        get_seat_done(&op->seat[i]);
    ds_object_unref(op->obj);
    ds_layout_done(&op->guess);
    c2_blob_unref(op->unseal.out);
    c2_free(op);
    ds_op_end(c);
}

void
get_job_over(struct get *op)
{
    C2_ASSERT(op->jobs > 0);
    op->jobs--;
    if (op->finished && op->jobs == 0)
        release(op);
}

static void
finish(struct get *op, enum c2_err err)
{
    struct ds_get *g = op->g;
    C2_ASSERT(!op->finished);
    g->err = err;
    g->priv = NULL;
    if (op->trusted)
        g->ref_found = op->ref;
    if (err == C2_E_OK) {
        g->data = op->unseal.out;
        op->unseal.out = NULL;
    }
    for (unsigned i = 0; i < op->c->n; i++)
        get_seat_stop(&op->seat[i]);
    op->finished = true;
    if (op->jobs == 0)
        release(op);
    g->done(g);
}

/* ---- plan ------------------------------------------------------------------------------ */

static bool
expected_at(const struct get *op, unsigned seat)
{
    return op->g->placed == 0 || (op->g->placed & (1u << seat)) != 0;
}

/* From the k seats that would be asked for a window, instead of the seats of the data rows. */
static bool
decoding_is_cheaper(const struct get *op)
{
    const struct ds_client *c = op->c;
    unsigned rank[DS_SEATS_MAX];
    unsigned ranked = ds_health_rank(op->c, DS_CLASS_GET, rank);
    unsigned asked = 0;
    double direct = 0, decode = 0;
    for (unsigned r = 0; r < c->k; r++) {
        struct ds_span need = op->need[r];
        if (need.lo != need.hi)
            direct += prov_price_read(&c->seat[r].provider->price, need.hi - need.lo);
    }
    for (unsigned i = 0; i < ranked && asked < c->k; i++) {
        if (!expected_at(op, rank[i]) || op->seat[rank[i]].failed)
            continue;
        decode += prov_price_read(&c->seat[rank[i]].provider->price, op->window.hi - op->window.lo);
        asked++;
    }
    return asked == c->k && decode < direct;
}

static void
make_plan(struct get *op, const struct ds_layout *l)
{
    uint32_t first = (uint32_t)(op->offset / DS_SEGMENT_SIZE);
    uint32_t last = (uint32_t)((op->offset + op->len - 1) / DS_SEGMENT_SIZE);
    bool direct = true;
    op->window = (struct ds_span){ l->row_len, 0 };
    for (unsigned r = 0; r < l->k; r++) {
        struct ds_span need = ds_layout_to_leaves(l, ds_layout_need(l, first, last, r));
        op->need[r] = need;
        if (need.lo == need.hi)
            continue;
        op->window.lo = C2_MIN(op->window.lo, need.lo);
        op->window.hi = C2_MAX(op->window.hi, need.hi);
        if (!ds_health_good(op->c, DS_CLASS_GET, r) || op->seat[r].failed || op->seat[r].late ||
            !expected_at(op, r))
            direct = false;
    }
    op->plan = direct && !decoding_is_cheaper(op) ? PLAN_DIRECT : PLAN_DECODE;
}

static void
clip(struct get *op)
{
    uint64_t plain = op->ref.plain_len;
    op->offset = C2_MIN(op->g->offset, plain);
    op->len = plain - op->offset;
    if (op->g->len != 0)
        op->len = C2_MIN(op->len, op->g->len);
}

static void
first_plan(struct get *op)
{
    struct ds_client *c = op->c;
    if (!op->trusted) {
        op->plan = PLAN_WHOLE;
        return;
    }
    if (op->obj != NULL) {
        make_plan(op, &op->obj->layout);
        return;
    }
    uint64_t plain = op->ref.plain_len;
    if (ds_share_len_max(c->k, plain) <= WHOLE_BYTES || op->len >= plain / 2) {
        op->plan = PLAN_WHOLE;
    } else if (c->expect_raw) {
        enum c2_err err = ds_layout_init(&op->guess, c->k, plain, NULL);
        C2_ASSERT(err == C2_E_OK);
        op->guessing = true;
        make_plan(op, &op->guess);
    } else {
        op->plan = PLAN_HEADERS;
    }
}

void
get_layout_known(struct get *op)
{
    bool raw = op->obj->layout.stored == NULL;
    op->c->expect_raw = raw;
    if (op->guessing && raw) {
        op->guessing = false;
        return;
    }
    if (op->guessing) {
        C2_MARK("get: guessed wrong");
        op->guessing = false;
        for (unsigned i = 0; i < op->c->n; i++)
            get_seat_forget_body(&op->seat[i]);
    }
    bool whole = op->plan == PLAN_WHOLE;
    make_plan(op, &op->obj->layout);
    if (whole)
        op->plan = PLAN_DECODE; /* whole shares of any k rows are on their way */
}

/* ---- who is asked next ----------------------------------------------------------------- */

/* An idle seat worth asking: where the object should be first, then the others, best first. */
static struct get_seat *
next_seat(struct get *op, bool (*satisfied)(const struct get_seat *s))
{
    unsigned rank[DS_SEATS_MAX];
    unsigned ranked = ds_health_rank(op->c, DS_CLASS_GET, rank);
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < ranked; i++) {
            struct get_seat *s = &op->seat[rank[i]];
            if (expected_at(op, s->index) != (pass == 0) || s->failed || get_seat_active(s) ||
                satisfied(s))
                continue;
            if (op->obj == NULL || s->index < op->obj->n)
                return s;
        }
    }
    return NULL;
}

static bool
has_head(const struct get_seat *s)
{
    return get_seat_has_row(s);
}

static bool
has_window(const struct get_seat *s)
{
    return s->have.data != NULL && get_span_covers(s->have.span, s->op->window);
}

static bool
on_time(const struct get_seat *s)
{
    return get_seat_active(s) && !s->late;
}

/* It will be asked for row bytes when its header is there. */
static bool
brings_head_only(const struct get_seat *s)
{
    return s->head != NULL && !s->whole && s->want.lo == s->want.hi;
}

static void
extend_headers(struct get *op)
{
    for (;;) {
        unsigned sure = 0;
        for (unsigned i = 0; i < op->c->n; i++) {
            const struct get_seat *s = &op->seat[i];
            sure += has_head(s) || (s->want_head && on_time(s));
        }
        struct get_seat *s = sure < op->c->k ? next_seat(op, has_head) : NULL;
        if (s == NULL)
            return;
        get_seat_fetch(s, (struct ds_span){ 0, 0 });
    }
}

/* False when a data row cannot be had from its seat in time. */
static bool
extend_direct(struct get *op)
{
    for (unsigned r = 0; r < op->c->k; r++) {
        struct get_seat *s = &op->seat[r];
        struct ds_span need = op->need[r];
        if (need.lo == need.hi || get_span_covers(s->have.span, need))
            continue;
        if (on_time(s) && (get_span_covers(s->want, need) || brings_head_only(s)))
            continue;
        if (s->failed || get_seat_active(s))
            return false;
        get_seat_fetch(s, need);
    }
    return true;
}

static bool
brings_window(const struct get_seat *s)
{
    if (!on_time(s))
        return false;
    return s->whole || get_span_covers(s->want, s->op->window) || brings_head_only(s);
}

unsigned
get_helpers(const struct get_seat *late)
{
    const struct get *op = late->op;
    unsigned sure = 0;
    if (op->plan != PLAN_DIRECT)
        return 1;
    for (unsigned i = 0; i < op->c->n; i++) {
        const struct get_seat *s = &op->seat[i];
        sure += s != late && (has_window(s) || brings_window(s));
    }
    return C2_MAX(op->c->k, sure + 1) - sure;
}

static void
extend_window(struct get *op)
{
    for (;;) {
        unsigned sure = 0;
        for (unsigned i = 0; i < op->c->n; i++)
            sure += has_window(&op->seat[i]) || brings_window(&op->seat[i]);
        struct get_seat *s = sure < op->c->k ? next_seat(op, has_window) : NULL;
        if (s == NULL)
            return;
        get_seat_fetch(s, op->window);
    }
}

static bool
never(const struct get_seat *s)
{
    (void)s;
    return false;
}

/* How many held shares carry the same root, and which: the largest group. */
static unsigned
largest_group(const struct get *op, const uint8_t **ret_root)
{
    unsigned best = 0;
    for (unsigned i = 0; i < op->c->n; i++) {
        unsigned same = 0;
        for (unsigned j = 0; j < op->c->n && op->seat[i].held != NULL; j++) {
            same += op->seat[j].held != NULL &&
                    memcmp(op->seat[j].held_root, op->seat[i].held_root, DS_ROOT_LEN) == 0;
        }
        if (same <= best)
            continue;
        best = same;
        *ret_root = op->seat[i].held_root;
    }
    return best;
}

static void
extend_whole(struct get *op)
{
    for (;;) {
        const uint8_t *root = NULL;
        unsigned sure = largest_group(op, &root);
        for (unsigned i = 0; i < op->c->n; i++)
            sure += op->seat[i].held == NULL && on_time(&op->seat[i]);
        struct get_seat *s = sure < op->c->k ? next_seat(op, never) : NULL;
        if (s == NULL)
            return;
        get_seat_fetch_whole(s);
    }
}

static void
extend(struct get *op)
{
    if (op->plan == PLAN_WHOLE) {
        extend_whole(op);
        return;
    }
    if (op->plan == PLAN_DIRECT && !extend_direct(op)) {
        C2_MARK("get: from direct to decoding");
        op->plan = PLAN_DECODE;
    }
    if (op->plan == PLAN_DECODE)
        extend_window(op);
    if (op->obj == NULL || !op->obj->have_key)
        extend_headers(op);
}

/* ---- step ------------------------------------------------------------------------------ */

/* k seats agree on a root: at least one of them is correct. */
static void
adopt_root(struct get *op)
{
    const uint8_t *root = NULL;
    if (op->trusted || largest_group(op, &root) < op->c->k)
        return;
    C2_ASSERT(root != NULL);
    struct ds_share sh;
    memcpy(op->ref.root, root, DS_ROOT_LEN);
    for (unsigned i = 0; i < op->c->n; i++) {
        struct get_seat *s = &op->seat[i];
        if (s->held == NULL || memcmp(s->held_root, op->ref.root, DS_ROOT_LEN) != 0)
            continue;
        enum c2_err err = ds_share_decode(c2_blob_slice(s->held), &sh);
        C2_ASSERT(err == C2_E_OK); /* it was verified when it came */
        op->ref.oid = sh.oid;
        op->ref.plain_len = sh.plain_len;
        op->ref.key_epoch = sh.key_epoch;
        op->ref.domain_id = sh.domain_id;
        break;
    }
    op->trusted = true;
    clip(op);
    if (op->len == 0)
        return;
    for (unsigned i = 0; i < op->c->n; i++) {
        if (op->seat[i].held != NULL)
            get_seat_adopt(&op->seat[i]);
    }
}

static bool
data_ready(const struct get *op)
{
    unsigned windows = 0;
    bool direct = true;
    if (op->plan != PLAN_DIRECT && op->plan != PLAN_DECODE)
        return false;
    for (unsigned r = 0; r < op->c->k; r++) {
        struct ds_span need = op->need[r];
        const struct ds_row_bytes *have = &op->seat[r].have;
        if (need.lo != need.hi && (have->data == NULL || !get_span_covers(have->span, need)))
            direct = false;
    }
    for (unsigned i = 0; i < op->c->n; i++)
        windows += has_window(&op->seat[i]);
    return direct || windows >= op->c->k;
}

static void
run_unseal(struct c2_work *w)
{
    struct get *op = C2_CONTAINER_OF(w, struct get, work);
    ds_codec_unseal(&op->unseal);
}

static void
unseal_done(struct c2_work *w)
{
    struct get *op = C2_CONTAINER_OF(w, struct get, work);
    if (op->finished) {
        get_job_over(op);
        return;
    }
    op->jobs--;
    op->unsealing = false;
    if (!op->canceled) /* else the task finishes it */
        finish(op, op->unseal.err);
}

static void
start_unseal(struct get *op)
{
    struct ds_unseal *u = &op->unseal;
    u->layout = &op->obj->layout;
    u->oid = op->obj->ref.oid;
    u->key = op->obj->key;
    u->engine = op->c->config->engine;
    u->compress = op->c->config->compress;
    u->n = op->obj->n;
    u->offset = op->offset;
    u->len = op->len;
    for (unsigned i = 0; i < op->obj->n; i++)
        u->row[i] = op->seat[i].have;
    op->unsealing = true;
    op->jobs++;
    op->work.run = run_unseal;
    op->work.done = unseal_done;
    c2_work(op->c->env, &op->work);
}

static unsigned
count_absent(const struct get *op)
{
    unsigned absent = 0;
    for (unsigned i = 0; i < op->c->n; i++)
        absent += op->seat[i].absent;
    return absent;
}

/* Self-certified: k seats will not agree, no more than f are silent, and no more than 2f should
 * have it, fewer than k of them correct: what is left of a write, and what faulty seats claim. */
static bool
was_never_written(const struct get *op)
{
    unsigned silent = 0, expected = ds_bits(op->g->placed);
    for (unsigned i = 0; i < op->c->n; i++) {
        const struct get_seat *s = &op->seat[i];
        silent += op->c->seat[i].use != DS_USE_GONE && s->held == NULL && !s->absent && !s->corrupt;
    }
    return !op->trusted && silent <= op->c->f && expected > 0 && expected <= 2 * op->c->f;
}

static bool
anything_active(const struct get *op)
{
    for (unsigned i = 0; i < op->c->n; i++) {
        const struct get_seat *s = &op->seat[i];
        if (s->head != NULL || s->body != NULL || s->verifying)
            return true;
    }
    return false;
}

static void
nothing_wanted(struct get *op)
{
    op->unseal.out = c2_blob_new(0);
    finish(op, C2_E_OK);
}

void
get_step(struct get *op)
{
    if (op->canceled || op->unsealing || op->finished)
        return;
    adopt_root(op);
    if (op->trusted && op->len == 0) {
        nothing_wanted(op);
        return;
    }
    enum c2_err key = C2_E_AGAIN;
    if (op->obj != NULL)
        key = ds_object_recover_key(op->obj, op->c->config->data_key);
    if (key == C2_E_KEY) {
        finish(op, C2_E_KEY);
        return;
    }
    if (key == C2_E_OK && data_ready(op)) {
        start_unseal(op);
        return;
    }
    if (count_absent(op) > op->c->n - op->c->k) {
        finish(op, C2_E_NOT_FOUND);
        return;
    }
    extend(op);
    if (!anything_active(op))
        finish(op, was_never_written(op) ? C2_E_NOT_FOUND : C2_E_QUORUM);
}

static void
run_task(struct c2_task *t)
{
    struct get *op = C2_CONTAINER_OF(t, struct get, task);
    if (op->canceled) {
        finish(op, C2_E_CANCELED);
    } else if (op->refused) {
        finish(op, C2_E_INVALID);
    } else {
        get_step(op);
    }
}

static bool
is_zero(const uint8_t *p, size_t len)
{
    uint8_t any = 0;
    for (size_t i = 0; i < len; i++)
        any |= p[i];
    return any == 0;
}

static struct ds_object *
known_object(struct get *op)
{
    struct ds_object *o = ds_cache_find(&op->c->cache, op->ref.root);
    if (o == NULL ||
        (ds_oid_equal(&o->ref.oid, &op->ref.oid) && o->ref.plain_len == op->ref.plain_len))
        return o;
    ds_object_unref(o); /* the reference contradicts itself; the shares will not match it */
    return NULL;
}

static void
write_key(struct get *op)
{
    const struct ds_get *g = op->g;
    if (g->key == NULL) {
        ds_object_key(op->c, g->kind, g->ref.oid, op->key);
        return;
    }
    C2_ASSERT(strnlen(g->key, sizeof(op->key)) < sizeof(op->key));
    memcpy(op->key, g->key, strlen(g->key) + 1);
}

void
ds_get_start(struct ds_client *c, struct ds_get *g)
{
    C2_ASSERT(g->done != NULL);
    struct get *op = c2_calloc(1, sizeof(*op));
    op->c = c;
    op->g = g;
    op->ref = g->ref;
    op->trusted = !g->self_certified || !is_zero(g->ref.root, DS_ROOT_LEN);
    op->task.run = run_task;
    g->priv = op;
    g->data = NULL;
    g->seats_bad = 0;
    g->seats_slow = 0;
    write_key(op);
    for (unsigned i = 0; i < DS_SEATS_MAX; i++) /* a seat may come while it runs */
        get_seat_init(&op->seat[i], op, i);
    ds_op_begin(c);
    if (op->trusted && !ds_ref_possible(&op->ref)) {
        op->refused = true;
    } else if (op->trusted) {
        clip(op);
        op->obj = known_object(op);
    }
    if (!op->refused && (!op->trusted || op->len > 0))
        first_plan(op);
    c2_defer(c->env, &op->task);
}

void
ds_get_cancel(struct ds_client *c, struct ds_get *g)
{
    struct get *op = g->priv;
    C2_ASSERT(op != NULL && op->c == c);
    op->canceled = true;
    c2_defer(c->env, &op->task);
}
