/* SPDX-License-Identifier: MIT */
/*
 * What the clouds list below a prefix: the union over at least n-f complete lists, and what time
 * it is there. Names are outside data and prove nothing by themselves. A page that does not
 * advance, or too many of them, end the seat's list as failed.
 *
 * The time of the clouds is the median of what the answering seats say: at most f of at least
 * 2f+1 lie, so it is between the clocks of two correct ones. A seat read its clock somewhere
 * between our sending and receiving, hence the two bounds. A provider without a clock of its own
 * gives ours.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "depsky/unit_impl.h"

#define NAMES_MAX 50000u /* per seat; lists begin with the newest, so a cut costs old garbage */
#define PAGES_MAX 50000u

static int
compare(const void *a, const void *b)
{
    const struct unit_name *x = a;
    const struct unit_name *y = b;
    return strcmp(x->text, y->text);
}

static void
merge(struct unit_names *n)
{
    size_t total = 0;
    size_t kept = 0;
    for (unsigned i = 0; i < n->c->n; i++)
        total += n->seat[i].complete ? n->seat[i].count : 0;
    struct unit_name *all = c2_calloc(total, sizeof(*all));
    size_t at = 0;
    for (unsigned i = 0; i < n->c->n; i++) {
        struct names_seat *s = &n->seat[i];
        C2_ASSERT(s->count == 0 || s->items != NULL);
        for (size_t k = 0; s->complete && k < s->count; k++)
            all[at++] = s->items[k];
        if (s->complete)
            s->count = 0; /* the texts have a new owner */
    }
    qsort(all, total, sizeof(*all), compare);
    for (size_t k = 0; k < total; k++) {
        if (kept > 0 && strcmp(all[kept - 1].text, all[k].text) == 0) {
            all[kept - 1].seats |= all[k].seats;
            c2_free(all[k].text);
        } else {
            all[kept++] = all[k];
        }
    }
    n->items = all;
    n->nitems = kept;
}

static int
compare_clock(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void
read_clocks(struct unit_names *n)
{
    int64_t low[DS_SEATS_MAX] = { 0 };
    int64_t high[DS_SEATS_MAX] = { 0 };
    unsigned count = 0;
    for (unsigned i = 0; i < n->c->n; i++) {
        if (!n->seat[i].complete)
            continue;
        low[count] = (int64_t)n->seat[i].clock_low;
        high[count++] = (int64_t)n->seat[i].clock_high;
    }
    C2_ASSERT(count > 0);
    qsort(low, count, sizeof(low[0]), compare_clock);
    qsort(high, count, sizeof(high[0]), compare_clock);
    n->clock_low = (uint64_t)low[(count - 1) / 2];
    n->clock_high = (uint64_t)high[count / 2];
}

void
unit_names_free(struct unit_names *n)
{
    for (size_t i = 0; i < n->nitems; i++)
        c2_free(n->items[i].text);
    c2_free(n->items);
    n->items = NULL;
    n->nitems = 0;
}

static void
finish(struct unit_names *n)
{
    struct ds_client *c = n->c;
    unsigned complete = 0;
    c2_timer_stop(c->env, &n->grace);
    for (unsigned i = 0; i < c->n; i++)
        complete += n->seat[i].complete;
    n->err = complete >= c->n - c->f ? C2_E_OK : C2_E_QUORUM;
    if (n->err == C2_E_OK) {
        read_clocks(n);
        merge(n);
    }
    for (unsigned i = 0; i < c->n; i++) {
        struct names_seat *s = &n->seat[i];
        ds_call_cancel(s->call);
        for (size_t k = 0; k < s->count; k++)
            c2_free(s->items[k].text);
        c2_free(s->items);
    }
    n->done(n);
}

static void
check_end(struct unit_names *n)
{
    struct ds_client *c = n->c;
    unsigned complete = 0;
    unsigned running = 0;
    for (unsigned i = 0; i < c->n; i++) {
        complete += n->seat[i].complete;
        running += n->seat[i].call != NULL;
    }
    bool enough = complete >= c->n - c->f;
    if (running == 0 || complete + running < c->n - c->f || (enough && n->grace_ns == 0))
        finish(n);
    else if (enough && !c2_timer_armed(&n->grace))
        c2_timer_arm(c->env, &n->grace, c2_now_ns(c->env) + n->grace_ns);
}

static void
grace_over(struct c2_timer *t)
{
    finish(C2_CONTAINER_OF(t, struct unit_names, grace));
}

static void
run_task(struct c2_task *t)
{
    check_end(C2_CONTAINER_OF(t, struct unit_names, task));
}

/* ---- pages ----------------------------------------------------------------------------- */

static void
add(struct names_seat *s, char *text)
{
    if (s->count == s->cap) {
        s->cap = C2_MAX(64, 2 * s->cap);
        s->items = c2_realloc(s->items, s->cap, sizeof(*s->items));
    }
    s->items[s->count++] = (struct unit_name){ .text = text, .seats = 1u << s->index };
}

/* The unit that a key belongs to, unless it is the one we have just had. */
static void
add_unit(struct names_seat *s, const char *key)
{
    const char *name = key + strlen(s->n->prefix);
    const char *end = strchr(name, '/');
    if (end == NULL || end - name > DS_UNIT_NAME_MAX)
        return;
    char *text = c2_strndup(name, (size_t)(end - name));
    bool known = s->count > 0 && strcmp(s->items[s->count - 1].text, text) == 0;
    if (ds_unit_name_valid(text) && !known)
        add(s, text);
    else
        c2_free(text);
}

/* False when the page is not a continuation of what came before. */
static bool
take_page(struct names_seat *s, const struct prov_req *r)
{
    const struct unit_names *n = s->n;
    for (size_t i = 0; i < r->nentries; i++) {
        const char *key = r->entries[i].key;
        if (strcmp(key, s->after) <= 0 || strlen(key) >= sizeof(s->after) ||
            strncmp(key, n->prefix, strlen(n->prefix)) != 0)
            return false;
        memcpy(s->after, key, strlen(key) + 1);
        if (s->count < NAMES_MAX && n->units)
            add_unit(s, key);
        else if (s->count < NAMES_MAX)
            add(s, c2_strdup(key));
    }
    return !r->truncated || (r->nentries > 0 && s->pages < PAGES_MAX);
}

/* Past everything else of the unit that the page ended in. */
static void
skip_unit(struct names_seat *s)
{
    size_t root = strlen(s->n->prefix);
    char *end = strchr(s->after + root, '/');
    if (end != NULL && (size_t)(end - s->after) + 2 < sizeof(s->after))
        memcpy(end + 1, "~", 2);
}

static void ask(struct names_seat *s);

static void
page_arrived(struct ds_call *call)
{
    struct names_seat *s = call->owner;
    struct c2_env *env = s->n->c->env;
    const struct prov_req *r = &call->req;
    s->call = NULL;
    if (r->err == C2_E_OK && !take_page(s, r)) {
        C2_MARK("unit: a list does not advance");
        ds_health_corrupt(s->n->c, s->index);
    } else if (r->err == C2_E_OK && r->truncated && s->count < NAMES_MAX) {
        if (s->n->units)
            skip_unit(s);
        ask(s);
    } else if (r->err == C2_E_OK) {
        uint64_t wall = r->server_wall_ns != 0 ? r->server_wall_ns : c2_wall_ns(env);
        s->complete = true;
        s->clock_low = wall - c2_now_ns(env);
        s->clock_high = r->server_wall_ns != 0 ? wall - call->started_ns : s->clock_low;
    }
    check_end(s->n);
}

static void
ask(struct names_seat *s)
{
    struct ds_client *c = s->n->c;
    s->pages++;
    s->call = ds_call_new(c, s->index, PROV_LIST, s->n->prefix);
    s->call->req.list_max = PROV_LIST_MAX;
    if (s->after[0] != '\0') {
        memcpy(s->call->after, s->after, sizeof(s->after));
        s->call->req.list_after = s->call->after;
    }
    s->call->done = page_arrived;
    s->call->owner = s;
    ds_call_start(s->call, c->config->get_timeout_ns);
}

void
unit_names_start(struct unit_names *n)
{
    struct ds_client *c = n->c;
    unsigned asked = 0;
    C2_ASSERT(n->done != NULL && n->prefix[0] != '\0');
    memset(n->seat, 0, sizeof(n->seat));
    n->items = NULL;
    n->nitems = 0;
    n->grace = (struct c2_timer){ .fire = grace_over };
    n->task = (struct c2_task){ .run = run_task };
    for (unsigned i = 0; i < c->n; i++) {
        n->seat[i].n = n;
        n->seat[i].index = i;
        if (!ds_seat_used(c, i))
            continue;
        ask(&n->seat[i]);
        asked++;
    }
    if (asked == 0)
        c2_defer(c->env, &n->task);
}

/* ---- deletion -------------------------------------------------------------------------- */

struct purge {
    struct ds_client *c;
    char **keys; /* owned, with the texts */
    size_t nkeys;
    void (*done)(void *arg, uint32_t confirmed, bool all);
    void *arg;
    size_t next[DS_SEATS_MAX]; /* first key that was not sent yet */
    unsigned waiting;
    uint32_t wanted, confirmed;
    struct c2_task task; /* nobody to ask */
};

static void
purge_finish(struct purge *p)
{
    struct purge over = *p;
    for (size_t i = 0; i < p->nkeys; i++)
        c2_free(p->keys[i]);
    c2_free(p->keys);
    c2_free(p);
    ds_op_end(over.c);
    if (over.done != NULL)
        over.done(over.arg, over.confirmed, over.confirmed == over.wanted);
}

static void
purge_nothing(struct c2_task *t)
{
    purge_finish(C2_CONTAINER_OF(t, struct purge, task));
}

static void purge_send(struct purge *p, unsigned seat);

static void
purge_arrived(struct ds_call *call)
{
    struct purge *p = call->owner;
    unsigned seat = call->seat;
    p->waiting--;
    if (call->req.err == C2_E_OK && p->next[seat] < p->nkeys)
        purge_send(p, seat);
    else if (call->req.err == C2_E_OK)
        p->confirmed |= 1u << seat;
    if (p->waiting == 0)
        purge_finish(p);
}

static void
purge_send(struct purge *p, unsigned seat)
{
    size_t from = p->next[seat];
    size_t count = C2_MIN(p->nkeys - from, (size_t)PROV_DELETE_MANY_MAX);
    struct ds_call *call = ds_call_new(p->c, seat, PROV_DELETE_MANY, NULL);
    call->req.keys = (const char *const *)(p->keys + from);
    call->req.nkeys = count;
    call->done = purge_arrived;
    call->owner = p;
    p->next[seat] = from + count;
    p->waiting++;
    ds_call_start(call, p->c->config->get_timeout_ns);
}

void
unit_purge(struct ds_client *c, char **keys, size_t nkeys,
           void (*done)(void *arg, uint32_t confirmed, bool all), void *arg)
{
    struct purge *p = c2_calloc(1, sizeof(*p));
    *p = (struct purge){ .c = c, .keys = keys, .nkeys = nkeys, .done = done, .arg = arg };
    p->task.run = purge_nothing;
    ds_op_begin(c);
    for (unsigned i = 0; i < c->n; i++) {
        if (!ds_seat_used(c, i))
            continue;
        p->wanted |= 1u << i;
        if (nkeys == 0)
            p->confirmed |= 1u << i;
        else if (!c->seat[i].open) /* else it would be waited for in vain */
            purge_send(p, i);
    }
    if (p->waiting == 0)
        c2_defer(c->env, &p->task);
}
