/* SPDX-License-Identifier: MIT */
/*
 *   PAGE (the next records) ──► for each, several at a time: LOOK (is the share there already?)
 *        ──no──► MEND (fs/mend.h) ──► PLACE (records, when their placement changes) ──► done
 */
#include "fs/fill.h"

#include "base/alloc.h"
#include "base/mark.h"
#include "fs/repair.h"

#define PARALLEL_MAX 16u

struct slot {
    struct fs_fill_batch *b;
    const struct fs_object_record *rec;
    struct ds_check look;
    uint64_t since; /* of the look */
    struct fs_mend mend;
    bool busy;
};

struct fs_fill_batch {
    struct fs_fill *f;
    struct fs_record_page page;
    size_t next; /* record */
    unsigned running;
    bool paging, canceled;
    struct slot slot[PARALLEL_MAX];
    struct fs_place place;
};

static void pump(struct fs_fill_batch *b);

static void
finish(struct fs_fill_batch *b, enum c2_err err)
{
    struct fs_fill *f = b->f;
    f->err = b->canceled ? C2_E_CANCELED : err;
    if (f->err == C2_E_OK && b->page.n > 0)
        fs_record_after_object(&f->after, &b->page.rec[b->page.n - 1].ref.oid);
    f->finished = f->err == C2_E_OK && b->page.last;
    f->own = NULL;
    c2_free(b);
    f->done(f);
}

static void
placed(struct fs_place *p)
{
    struct fs_fill_batch *b = C2_CONTAINER_OF(p, struct fs_fill_batch, place);
    for (size_t k = 0; p->err == C2_E_OK && k < p->n; k++)
        b->f->failed += p->item[k].stale && !p->item[k].gone;
    finish(b, p->err);
}

static void
all_had_their_turn(struct fs_fill_batch *b)
{
    if (b->place.n == 0 || b->canceled) {
        finish(b, C2_E_OK);
        return;
    }
    b->place.fs = b->f->fs;
    b->place.done = placed;
    fs_place_start(&b->place);
}

static void
slot_over(struct slot *s)
{
    s->busy = false;
    s->b->running--;
    pump(s->b);
}

static void
mended(struct fs_mend *m)
{
    struct slot *s = C2_CONTAINER_OF(m, struct slot, mend);
    struct fs_fill *f = s->b->f;
    f->bytes_read += m->bytes_read;
    f->bytes_written += m->bytes_written;
    if (m->err != C2_E_OK) {
        f->failed++;
        f->last_error = m->err;
        fs_repair_found(f->fs, &m->ref, s->rec->placed | m->fill, m->fill);
    } else {
        f->filled++;
    }
    if (m->err == C2_E_OK && (s->rec->placed & m->fill) == 0)
        s->b->place.item[s->b->place.n++] =
            (struct fs_place_item){ .ref = m->ref, .set = m->fill, .since = m->since };
    slot_over(s);
}

static void
mend(struct slot *s)
{
    struct fs_fill *f = s->b->f;
    s->mend = (struct fs_mend){ .ds = f->fs->part.ds,
                                .kind = DS_KIND_OBJECT,
                                .ref = s->rec->ref,
                                .placed = s->rec->placed,
                                .fill = 1u << f->seat,
                                .source = f->source,
                                .done = mended };
    fs_mend_start(&s->mend);
}

static void
looked(struct ds_check *k)
{
    struct slot *s = C2_CONTAINER_OF(k, struct slot, look);
    struct fs_fill *f = s->b->f;
    uint32_t bit = 1u << f->seat;
    f->bytes_read += k->bytes_read;
    if (k->good != 0) {
        C2_MARK("fill: the share is there already");
        f->present++;
        if ((s->rec->placed & bit) == 0)
            s->b->place.item[s->b->place.n++] =
                (struct fs_place_item){ .ref = k->ref, .set = bit, .since = s->since };
        slot_over(s);
        return;
    }
    mend(s);
}

static void
begin(struct fs_fill_batch *b, const struct fs_object_record *rec)
{
    struct slot *s = b->slot;
    while (s->busy)
        s++;
    s->b = b;
    s->rec = rec;
    s->busy = true;
    b->running++;
    if (!rec->has_root) { /* the mend finds out */
        mend(s);
        return;
    }
    s->since = ds_client_changes(b->f->fs->part.ds);
    s->look = (struct ds_check){ .kind = DS_KIND_OBJECT,
                                 .ref = rec->ref,
                                 .seats = 1u << b->f->seat,
                                 .headers_only = true,
                                 .done = looked };
    ds_check_start(b->f->fs->part.ds, &s->look);
}

static bool
concerns(const struct fs_fill *f, const struct fs_object_record *rec)
{
    return rec->state == 0 && rec->placed != 0 && (f->every || (rec->placed >> f->seat & 1) != 0);
}

static void
pump(struct fs_fill_batch *b)
{
    while (!b->canceled && b->next < b->page.n && b->running < b->f->parallel) {
        const struct fs_object_record *rec = &b->page.rec[b->next++];
        b->f->objects++;
        if (concerns(b->f, rec))
            begin(b, rec);
    }
    if (b->running == 0)
        all_had_their_turn(b);
}

static void
page_read(struct fs_record_page *p)
{
    struct fs_fill_batch *b = C2_CONTAINER_OF(p, struct fs_fill_batch, page);
    b->paging = false;
    if (p->err != C2_E_OK)
        finish(b, p->err);
    else
        pump(b);
}

void
fs_fill_start(struct fs_fill *f)
{
    C2_ASSERT(f->max > 0 && f->max <= FS_PLACE_MAX && f->max <= FS_RECORD_PAGE_MAX);
    C2_ASSERT(f->parallel > 0 && f->parallel <= PARALLEL_MAX);
    struct fs_fill_batch *b = c2_calloc(1, sizeof(*b));
    f->own = b;
    f->objects = f->present = f->filled = f->failed = 0;
    f->bytes_read = f->bytes_written = 0;
    f->last_error = C2_E_OK;
    b->f = f;
    b->page =
        (struct fs_record_page){ .fs = f->fs, .after = f->after, .max = f->max, .done = page_read };
    b->paging = true;
    fs_record_page_start(&b->page);
}

void
fs_fill_cancel(struct fs_fill *f)
{
    struct fs_fill_batch *b = f->own;
    C2_ASSERT(b != NULL);
    b->canceled = true;
    if (b->paging)
        fs_record_page_cancel(&b->page);
}
