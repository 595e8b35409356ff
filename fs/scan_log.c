/* SPDX-License-Identifier: MIT */
/*
 *   LIST (a window) ──► WAIT ──► for each that too few seats have: LOOK again
 *        ──still too few──► (MEND ──► LOOK: is it still wanted? else DELETE) ──► next ... next
 * window
 *
 * What no more than f seats list may be invented, and there is no end to that: who lists too much
 * of it alone is not asked for lists any more.
 */
#include "fs/scan_log.h"

#include "base/alloc.h"
#include "base/mark.h"
#include "fs/mend.h"
#include "fs/repair.h"

#define WINDOW   1000u
#define LONE_MAX 1000u

struct fs_scan_log_run {
    struct fs_scan_log *s;
    struct ds_list list, look;
    unsigned lone[DS_SEATS_MAX]; /* items that no more than f seats list */
    size_t *suspects;            /* owned: items of the list */
    size_t n, at;
    struct c2_timer wait;
    struct fs_mend mend;
    struct ds_delete undo;
    bool canceled;
};

static void list_window(struct fs_scan_log_run *r);
static void next(struct fs_scan_log_run *r);

static unsigned
bits(uint32_t set)
{
    return (unsigned)__builtin_popcount(set);
}

static void
forget_window(struct fs_scan_log_run *r)
{
    c2_free(r->list.items);
    c2_free(r->suspects);
    r->list.items = NULL;
    r->suspects = NULL;
    r->n = r->at = 0;
}

static void
finish(struct fs_scan_log_run *r, enum c2_err err)
{
    struct fs_scan_log *s = r->s;
    s->err = r->canceled ? C2_E_CANCELED : err;
    forget_window(r);
    s->own = NULL;
    c2_free(r);
    s->done(s);
}

static const struct ds_list_item *
item(const struct fs_scan_log_run *r)
{
    return &r->list.items[r->suspects[r->at]];
}

static void
look(struct fs_scan_log_run *r, void (*done)(struct ds_list *l))
{
    const struct ds_list_item *i = item(r);
    r->look = (struct ds_list){ .kind = r->s->kind,
                                .sid = i->sid,
                                .after_seq = i->seq == 0 ? UINT64_MAX : i->seq - 1,
                                .max = 1,
                                .patient = true,
                                .background = true,
                                .done = done };
    ds_list_start(r->s->fs->part.ds, &r->look);
}

/* Seats that list the object now; 0 = it is gone, or nobody can say. */
static uint32_t
seen(struct fs_scan_log_run *r)
{
    const struct ds_list_item *i = item(r);
    const struct ds_list *l = &r->look;
    uint32_t seats = 0;
    if (l->err == C2_E_OK && l->nitems > 0 && l->items[0].sid == i->sid &&
        l->items[0].seq == i->seq)
        seats = l->items[0].seats;
    c2_free(r->look.items);
    r->look.items = NULL;
    return seats;
}

static void
advance(struct fs_scan_log_run *r)
{
    r->at++;
    next(r);
}

/* ---- mending --------------------------------------------------------------------------------- */

static void
undone(struct ds_delete *d)
{
    advance(C2_CONTAINER_OF(d, struct fs_scan_log_run, undo));
}

/* The log may have been trimmed meanwhile: what was there before is gone, ours shall go, too. */
static void
looked_after(struct ds_list *l)
{
    struct fs_scan_log_run *r = C2_CONTAINER_OF(l, struct fs_scan_log_run, look);
    uint32_t others = r->mend.placed & r->look.answered;
    bool listed = l->err == C2_E_OK;
    uint32_t now = seen(r);
    if (!listed || others == 0 || (now & others) != 0) {
        advance(r);
        return;
    }
    C2_MARK("scan: a piece of the log was trimmed while it was mended");
    r->undo = (struct ds_delete){
        .kind = r->s->kind, .oids = &r->mend.ref.oid, .noids = 1, .done = undone
    };
    ds_delete_start(r->s->fs->part.ds, &r->undo);
}

static void
mended(struct fs_mend *m)
{
    struct fs_scan_log_run *r = C2_CONTAINER_OF(m, struct fs_scan_log_run, mend);
    r->s->bytes += m->bytes_read + m->bytes_written;
    r->s->rebuilt += bits(m->rebuilt);
    r->s->below += m->err != C2_E_OK;
    if (m->rebuilt != 0)
        look(r, looked_after);
    else
        advance(r);
}

static void
looked_again(struct ds_list *l)
{
    struct fs_scan_log_run *r = C2_CONTAINER_OF(l, struct fs_scan_log_run, look);
    uint32_t now = seen(r);
    if (l->err != C2_E_OK) {
        finish(r, l->err);
        return;
    }
    if (now == 0) {
        r->s->objects--; /* it was on its way out */
        advance(r);
    } else if (bits(now) >= ds_client_goal_of(r->s->fs->part.ds, now)) {
        advance(r);
    } else if (!r->s->mend) {
        r->s->below++;
        fs_repair_log_found(r->s->fs, now);
        advance(r);
    } else {
        r->mend = (struct fs_mend){ .ds = r->s->fs->part.ds,
                                    .kind = r->s->kind,
                                    .ref = { .oid = { .sid = item(r)->sid, .seq = item(r)->seq } },
                                    .placed = now,
                                    .done = mended };
        fs_mend_start(&r->mend);
    }
}

static void
next(struct fs_scan_log_run *r)
{
    const struct ds_list *l = &r->list;
    if (r->canceled || (r->at == r->n && !l->more)) {
        finish(r, C2_E_OK);
    } else if (r->at < r->n) {
        look(r, looked_again);
    } else {
        C2_ASSERT(l->nitems > 0);
        const struct ds_list_item last = l->items[l->nitems - 1];
        forget_window(r);
        r->list.resume = true;
        r->list.sid = last.sid;
        r->list.after_seq = last.seq;
        list_window(r);
    }
}

static void
waited(struct c2_timer *t)
{
    next(C2_CONTAINER_OF(t, struct fs_scan_log_run, wait));
}

/* More than f do not lie. */
static uint32_t
who_invents(const struct fs_scan_log_run *r)
{
    uint32_t seats = 0;
    for (unsigned k = 0; k < DS_SEATS_MAX; k++)
        seats |= r->lone[k] >= LONE_MAX ? 1u << k : 0;
    return bits(seats) <= ds_client_f(r->s->fs->part.ds) ? seats : 0;
}

static void
suspect(struct fs_scan_log_run *r, size_t k)
{
    uint32_t seats = r->list.items[k].seats;
    r->suspects[r->n++] = k;
    for (unsigned i = 0; i < DS_SEATS_MAX; i++)
        r->lone[i] += bits(seats) <= ds_client_f(r->s->fs->part.ds) && (seats >> i & 1) != 0;
}

static void
listed(struct ds_list *l)
{
    struct fs_scan_log_run *r = C2_CONTAINER_OF(l, struct fs_scan_log_run, list);
    struct c2_env *env = r->s->fs->part.env;
    if (l->err != C2_E_OK || r->canceled) {
        finish(r, l->err);
        return;
    }
    r->s->objects += l->nitems;
    r->suspects = c2_calloc(l->nitems, sizeof(*r->suspects));
    for (size_t k = 0; k < l->nitems; k++)
        if (bits(l->items[k].seats) < ds_client_goal_of(r->s->fs->part.ds, l->items[k].seats))
            suspect(r, k);
    if (r->n == 0)
        next(r);
    else
        c2_timer_arm(env, &r->wait, c2_now_ns(env) + FS_SCAN_LOG_AGAIN_NS);
}

static void
list_window(struct fs_scan_log_run *r)
{
    struct ds_list l = { .kind = r->s->kind,
                         .all_sids = true,
                         .resume = r->list.resume,
                         .sid = r->list.sid,
                         .after_seq = r->list.after_seq,
                         .max = WINDOW,
                         .without = who_invents(r),
                         .patient = true,
                         .background = true,
                         .done = listed };
    r->list = l;
    ds_list_start(r->s->fs->part.ds, &r->list);
}

void
fs_scan_log_start(struct fs_scan_log *s)
{
    struct fs_scan_log_run *r = c2_calloc(1, sizeof(*r));
    s->own = r;
    s->objects = s->below = s->rebuilt = s->bytes = 0;
    r->s = s;
    r->wait.fire = waited;
    list_window(r);
}

void
fs_scan_log_cancel(struct fs_scan_log *s)
{
    struct fs_scan_log_run *r = s->own;
    struct c2_env *env = s->fs->part.env;
    r->canceled = true;
    if (c2_timer_armed(&r->wait))
        c2_timer_arm(env, &r->wait, c2_now_ns(env));
}
