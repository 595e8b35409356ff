/* SPDX-License-Identifier: MIT */
/*
 * c2fsctl gc: a round of the collector on demand. The answer is a list of counters.
 */
#include "base/alloc.h"
#include "fs/wire_up_impl.h"

struct wire_gc {
    struct wire *w;
    struct c2_link link; /* in w->gcs */
    struct ctl_call *call;
    struct fs_gc_run run;
    bool canceled;
};

static void
add_provider(const struct wire *w, unsigned seat, const struct fs_gc_report *r, struct c2_buf *body)
{
    struct c2_buf name = { 0 };
    const char *provider = w->volume->config.seats[seat].provider;
    c2_buf_printf(&name, "provider.%s.objects", provider);
    ctl_counter_add(body, c2_buf_cstr(&name), r->seat_objects[seat]);
    c2_buf_clear(&name);
    c2_buf_printf(&name, "provider.%s.bytes", provider);
    ctl_counter_add(body, c2_buf_cstr(&name), r->seat_bytes[seat]);
    c2_buf_done(&name);
}

static void
ended(struct fs_gc_run *run)
{
    struct wire_gc *g = C2_CONTAINER_OF(run, struct wire_gc, run);
    const struct fs_gc_report *r = &run->report;
    struct wire *w = g->w;
    struct c2_buf body = { 0 };
    const char *message = NULL;
    ctl_counter_add(&body, "records", r->records);
    ctl_counter_add(&body, "young.objects", r->young_objects);
    ctl_counter_add(&body, "young.bytes", r->young_bytes);
    ctl_counter_add(&body, "free.objects", r->free_objects);
    ctl_counter_add(&body, "free.bytes", r->free_bytes);
    ctl_counter_add(&body, "deleted.objects", r->deleted_objects);
    ctl_counter_add(&body, "deleted.bytes", r->deleted_bytes);
    ctl_counter_add(&body, "held_up.objects", r->held_up_objects);
    ctl_counter_add(&body, "held_up.bytes", r->held_up_bytes);
    ctl_counter_add(&body, "orphans.found", r->orphans);
    ctl_counter_add(&body, "orphans.deleted", r->orphans_deleted);
    for (unsigned seat = 0; seat < w->volume->config.n; seat++)
        add_provider(w, seat, r, &body);
    if (run->err == C2_E_CANCELED)
        message = "the mount is ending; the next one goes on";
    else if (run->err == C2_E_QUORUM)
        message = "too few providers could be listed";
    else if (run->err != C2_E_OK)
        message = c2_err_text(run->err);
    c2_list_remove(&w->gcs, &g->link);
    ctl_result(g->call, run->err, message, c2_buf_slice(&body));
    c2_buf_done(&body);
    c2_free(g);
}

void
wire_gc_request(struct wire *w, struct ctl_call *call, const struct ctl_request *q)
{
    const struct c2_slice none = { 0 };
    if (w->synced) {
        ctl_result(call, C2_E_NOT_MOUNTED, "the mount is ending", none);
        return;
    }
    bool delete = c2_slice_equal(q->text, c2_slice_str("delete"));
    if (delete &&(w->read_only || w->fs->fenced)) {
        ctl_result(call, C2_E_READ_ONLY,
                   w->read_only ? "the volume is mounted read-only, nothing can be deleted\n"
                                  "hint: mount it for writing, or leave out --delete"
                                : "another mount may have the volume, nothing can be deleted\n"
                                  "hint: unmount, and mount again",
                   none);
        return;
    }
    struct wire_gc *g = c2_calloc(1, sizeof(*g));
    g->w = w;
    g->call = call;
    g->run = (struct fs_gc_run){ .dry_run = !delete, .retention_ns = q->number, .done = ended };
    c2_list_append(&w->gcs, &g->link);
    fs_gc_run_start(w->fs, &g->run);
}

bool
wire_gc_ended(struct wire *w)
{
    C2_LIST_FOREACH (&w->gcs, struct wire_gc, g, link) {
        if (g->canceled)
            continue;
        g->canceled = true;
        fs_gc_run_cancel(w->fs, &g->run); /* may end it at once */
    }
    return c2_list_empty(&w->gcs);
}

void
wire_gc_status(const struct fs_gc_status *g, struct ctl_status *s)
{
    s->gc_on = g->on;
    s->gc_last_wall_ns = g->last_wall_ns;
    s->gc_rounds = g->rounds;
    s->gc_waiting_objects = g->waiting_objects;
    s->gc_waiting_bytes = g->waiting_bytes;
    s->gc_deleted_objects = g->deleted_objects;
    s->gc_deleted_bytes = g->deleted_bytes;
    s->gc_orphans_deleted = g->orphans_deleted;
    if (g->last_error != C2_E_OK)
        ctl_set(s->gc_error, sizeof(s->gc_error), c2_err_name(g->last_error));
}
