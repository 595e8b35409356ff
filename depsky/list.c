/* SPDX-License-Identifier: MIT */
/*
 * Which objects exist: the union of what the seats list. Any n-f complete lists meet every write
 * of w = k+f shares in at least one correct seat (n-f + w - n >= k of them hold it), so an object
 * that was acknowledged is in the union; what a faulty seat invents is filtered by its caller, who
 * reads the object. Stragglers get a moment after the n-f'th answer. A patient caller gives them as
 * long again as the others took, and as long as a request may take: no correct seat is missing then
 * that is only slow, and none can go on for ever.
 *
 * Keys are outside data: a name that is not exactly ours is ignored; a page that does not advance,
 * more pages than `max` objects can fill, or more than `max` objects when that is the whole, end
 * the seat's list as failed.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/str.h"
#include "base/wire.h"
#include "depsky/client.h"

#define PAGES_SPARE 64 /* pages of names that are not ours, before we give up on a seat */

struct list_seat {
    struct list *op;
    unsigned index;
    bool complete, failed;
    bool cut; /* stopped at max */
    struct ds_call *call;
    struct ds_list_item *items; /* owned, in key order */
    size_t count, cap;
    unsigned pages;
    char after[PROV_KEY_MAX + 1];
};

struct list {
    struct ds_client *c;
    struct ds_list *l; /* the caller's */
    struct c2_task task;
    struct c2_timer grace;
    uint64_t started_ns;
    char prefix[DS_PREFIX_MAX];    /* of the kind */
    char asked_for[DS_PREFIX_MAX]; /* the same, or with the sid */
    unsigned sid_digits;
    unsigned pages_max;
    struct list_seat seat[DS_SEATS_MAX];
};

static int
compare(const void *a, const void *b)
{
    const struct ds_list_item *x = a;
    const struct ds_list_item *y = b;
    if (x->sid != y->sid)
        return x->sid < y->sid ? -1 : 1;
    if (x->seq != y->seq)
        return x->seq < y->seq ? -1 : 1;
    return 0;
}

/* The greatest item that every cut list reaches: beyond it the union is not complete. */
static const struct ds_list_item *
horizon(const struct list *op)
{
    const struct ds_list_item *lowest = NULL;
    for (unsigned i = 0; i < op->c->n; i++) {
        const struct list_seat *s = &op->seat[i];
        if (!s->complete || !s->cut)
            continue;
        const struct ds_list_item *last = &s->items[s->count - 1];
        if (lowest == NULL || compare(last, lowest) < 0)
            lowest = last;
    }
    return lowest;
}

static void
merge(struct list *op)
{
    struct ds_list *l = op->l;
    size_t total = 0;
    const struct ds_list_item *limit = horizon(op);
    for (unsigned i = 0; i < op->c->n; i++)
        total += op->seat[i].complete ? op->seat[i].count : 0;
    struct ds_list_item *all = c2_calloc(total, sizeof(*all));
    size_t count = 0;
    for (unsigned i = 0; i < op->c->n; i++) {
        const struct list_seat *s = &op->seat[i];
        C2_ASSERT(s->count == 0 || s->items != NULL);
        for (size_t j = 0; s->complete && j < s->count; j++) {
            if (limit == NULL || compare(&s->items[j], limit) <= 0)
                all[count++] = s->items[j];
        }
    }
    qsort(all, count, sizeof(*all), compare);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && compare(&all[kept - 1], &all[i]) == 0) {
            all[kept - 1].seats |= all[i].seats;
        } else {
            all[kept++] = all[i];
        }
    }
    l->items = all;
    l->nitems = kept;
    l->more = limit != NULL;
}

static void
finish(struct list *op)
{
    struct ds_client *c = op->c;
    struct ds_list *l = op->l;
    c2_timer_stop(c->env, &op->grace);
    l->answered = 0;
    for (unsigned i = 0; i < c->n; i++)
        l->answered |= op->seat[i].complete ? 1u << i : 0u;
    l->err = ds_bits(l->answered) >= c->voters - c->f ? C2_E_OK : C2_E_QUORUM;
    if (l->err == C2_E_OK)
        merge(op);
    for (unsigned i = 0; i < c->n; i++) {
        ds_call_cancel(op->seat[i].call);
        c2_free(op->seat[i].items);
    }
    l->priv = NULL;
    c2_free(op);
    ds_op_end(c);
    l->done(l);
}

/* For stragglers, when n-f seats have answered. */
static uint64_t
grace_ns(const struct list *op)
{
    const struct ds_client *c = op->c;
    if (!op->l->patient)
        return c->config->get_hedge_min_ns;
    return c->config->get_timeout_ns + (c2_now_ns(c->env) - op->started_ns);
}

static void
check_end(struct list *op)
{
    struct ds_client *c = op->c;
    unsigned complete = 0;
    unsigned running = 0;
    for (unsigned i = 0; i < c->n; i++) {
        complete += op->seat[i].complete;
        running += op->seat[i].call != NULL;
    }
    if (running == 0 || (!op->l->patient && complete + running < c->voters - c->f)) {
        finish(op);
    } else if (complete >= c->voters - c->f && !c2_timer_armed(&op->grace)) {
        c2_timer_arm(c->env, &op->grace, c2_now_ns(c->env) + grace_ns(op));
    }
}

static void
grace_over(struct c2_timer *t)
{
    C2_MARK("list: does not wait for the last seat");
    finish(C2_CONTAINER_OF(t, struct list, grace));
}

static void
run_task(struct c2_task *t)
{
    check_end(C2_CONTAINER_OF(t, struct list, task));
}

/* "<prefix><sid>/<seq>" in lower-case hex of the right width, nothing else. */
static bool
parse_key(const struct list *op, const char *key, struct ds_list_item *ret_item)
{
    size_t prefix = strlen(op->prefix);
    size_t seq_at = prefix + op->sid_digits + 1;
    uint8_t sid[8] = { 0 };
    uint8_t seq[8];
    if (strlen(key) != seq_at + 16 || strncmp(key, op->prefix, prefix) != 0 ||
        key[seq_at - 1] != '/')
        return false;
    if (strspn(key + prefix, "0123456789abcdef") != op->sid_digits ||
        strspn(key + seq_at, "0123456789abcdef") != 16)
        return false;
    size_t sid_len = op->sid_digits / 2;
    if (c2_hex_decode(c2_slice(key + prefix, op->sid_digits), sid + 8 - sid_len, sid_len) !=
            C2_E_OK ||
        c2_hex_decode(c2_slice(key + seq_at, 16), seq, 8) != C2_E_OK)
        return false;
    ret_item->sid = c2_get_be64(sid);
    ret_item->seq = c2_get_be64(seq);
    return true;
}

static void
add_item(struct list_seat *s, struct ds_list_item item)
{
    if (s->count == s->cap) {
        s->cap = C2_MAX(64, 2 * s->cap);
        s->items = c2_realloc(s->items, s->cap, sizeof(*s->items));
    }
    item.seats = 1u << s->index;
    s->items[s->count++] = item;
}

/* False when the page is not a continuation of what came before. */
static bool
take_page(struct list_seat *s, const struct prov_req *r)
{
    struct list *op = s->op;
    for (size_t i = 0; i < r->nentries; i++) {
        const char *key = r->entries[i].key;
        if (strcmp(key, s->after) <= 0 || strlen(key) >= sizeof(s->after))
            return false;
        memcpy(s->after, key, strlen(key) + 1);
        struct ds_list_item item = { 0 };
        if (!parse_key(op, key, &item) || (!op->l->all_sids && item.sid != op->l->sid))
            continue;
        if (s->count == op->l->max && op->l->whole)
            return false;
        if (s->count == op->l->max) {
            s->cut = true;
            return true;
        }
        add_item(s, item);
    }
    return !r->truncated || (r->nentries > 0 && s->pages < op->pages_max);
}

static void ask(struct list_seat *s);

static void
page_arrived(struct ds_call *call)
{
    struct list_seat *s = call->owner;
    s->call = NULL;
    if (call->req.err != C2_E_OK) {
        s->failed = true;
    } else if (!take_page(s, &call->req)) {
        C2_MARK("list: a page does not advance");
        s->failed = true;
        ds_health_corrupt(s->op->c, s->index);
    } else if (s->cut || !call->req.truncated) {
        s->complete = true;
    } else {
        ask(s);
    }
    check_end(s->op);
}

static void
ask(struct list_seat *s)
{
    struct list *op = s->op;
    s->pages++;
    s->call = ds_call_new(op->c, s->index, PROV_LIST, op->asked_for);
    s->call->req.list_max = C2_MIN(op->l->max + 1, (size_t)PROV_LIST_MAX);
    if (s->after[0] != '\0') {
        memcpy(s->call->after, s->after, sizeof(s->after));
        s->call->req.list_after = s->call->after;
    }
    s->call->done = page_arrived;
    s->call->owner = s;
    s->call->background = op->l->background;
    ds_call_start(s->call, op->c->config->get_timeout_ns);
}

static void
first_after(struct list *op, char after[PROV_KEY_MAX + 1])
{
    const struct ds_list *l = op->l;
    after[0] = '\0';
    if (l->all_sids ? !l->resume : l->after_seq == UINT64_MAX)
        return;
    ds_object_key(op->c, l->kind, (struct ds_oid){ .sid = l->sid, .seq = l->after_seq }, after);
}

static void
write_prefixes(struct list *op)
{
    const struct ds_list *l = op->l;
    op->sid_digits = l->kind == DS_KIND_OBJECT ? 16 : 8;
    ds_kind_prefix(op->c, l->kind, op->prefix);
    memcpy(op->asked_for, op->prefix, sizeof(op->prefix));
    if (l->all_sids)
        return;
    char key[PROV_KEY_MAX];
    ds_object_key(op->c, l->kind, (struct ds_oid){ .sid = l->sid }, key);
    size_t len = strlen(op->prefix) + op->sid_digits + 1;
    C2_ASSERT(len < sizeof(op->asked_for));
    memcpy(op->asked_for, key, len);
    op->asked_for[len] = '\0';
}

/* Seats with an open breaker only when the others are too few. */
static unsigned
ask_seats(struct list *op)
{
    struct ds_client *c = op->c;
    unsigned rank[DS_SEATS_MAX];
    unsigned ranked = ds_health_rank(c, DS_CLASS_GET, rank);
    unsigned asked = 0;
    for (unsigned i = 0; i < ranked; i++) {
        if ((op->l->without & 1u << rank[i]) != 0)
            continue;
        if (c->seat[rank[i]].open && asked >= c->voters - c->f && !op->l->patient)
            continue;
        ask(&op->seat[rank[i]]);
        asked++;
    }
    return asked;
}

void
ds_list_start(struct ds_client *c, struct ds_list *l)
{
    C2_ASSERT(l->done != NULL);
    C2_ASSERT(l->max > 0);
    struct list *op = c2_calloc(1, sizeof(*op));
    op->c = c;
    op->l = l;
    op->task.run = run_task;
    op->grace.fire = grace_over;
    op->started_ns = c2_now_ns(c->env);
    op->pages_max = (unsigned)C2_MIN(2 * (l->max / PROV_LIST_MAX) + PAGES_SPARE, UINT32_MAX);
    l->priv = op;
    l->items = NULL;
    l->nitems = 0;
    l->more = false;
    write_prefixes(op);
    ds_op_begin(c);
    for (unsigned i = 0; i < c->n; i++) {
        op->seat[i].op = op;
        op->seat[i].index = i;
        first_after(op, op->seat[i].after);
    }
    if (ask_seats(op) == 0)
        c2_defer(c->env, &op->task);
}
