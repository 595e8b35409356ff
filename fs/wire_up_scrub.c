/* SPDX-License-Identifier: MIT */
/*
 * Scrubs and repairs of a mount: their configuration, and what c2fsctl wants to know of them beyond
 * what every job tells.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/conf.h"
#include "base/log.h"
#include "fs/record_page.h"
#include "fs/scrub.h"
#include "fs/wire_up_impl.h"

static const struct c2_slice nothing;

/* ---- configuration --------------------------------------------------------------------------- */

/* "22-6": false when it is no such thing. */
static bool
parse_hours(const char *text, unsigned *ret_from, unsigned *ret_to)
{
    unsigned hour[2] = { 0, 0 };
    for (unsigned k = 0; k < 2; k++) {
        if (*text < '0' || *text > '9')
            return false;
        while (*text >= '0' && *text <= '9' && hour[k] < 24)
            hour[k] = hour[k] * 10 + (unsigned)(*text++ - '0');
        if (hour[k] > 24 || *text != (k == 0 ? '-' : '\0'))
            return false;
        text++;
    }
    *ret_from = hour[0] % 24;
    *ret_to = hour[1] % 24;
    return true;
}

void
wire_scrub_register(struct wire *w)
{
    struct fs_scrub_config c = { 0 };
    const struct volume_config *v = &w->volume->config;
    const char *hours = c2_conf_str(w->conf, "volume", w->volume_name, "scrub_hours");
    if (hours[0] != '\0' && !parse_hours(hours, &c.from_hour, &c.to_hour))
        c2_log(WARN, "scrub", "scrub_hours=\"%s\" is not like 22-6, scrubs run at any time", hours);
    for (unsigned seat = 0; seat < v->n; seat++)
        if (v->seats[seat].state != VOLUME_SEAT_EMPTY)
            c.seat_rate[seat] =
                c2_conf_u64(w->conf, "provider", v->seats[seat].provider, "scrub_bandwidth");
    w->scrubber = fs_scrubber_new(w->fs, &c);
    jobs_register(w->jobs, fs_scrubber_scrub(w->scrubber));
    jobs_register(w->jobs, fs_scrubber_repair(w->scrubber));
}

void
wire_scrub_done(struct wire *w)
{
    fs_scrubber_free(w->scrubber);
    w->scrubber = NULL;
}

/* ---- report ---------------------------------------------------------------------------------- */

static void
add(struct c2_buf *out, const char *provider, const char *name, uint64_t value)
{
    struct c2_buf full = { 0 };
    c2_buf_printf(&full, "%s/%s", provider, name);
    ctl_counter_add(out, c2_buf_cstr(&full), value);
    c2_buf_done(&full);
}

static void
report(struct wire *w, struct ctl_call *call, const struct ctl_request *q)
{
    char *kind = c2_strndup((const char *)q->text.data, q->text.len);
    bool known = strcmp(kind, "scrub") == 0 || strcmp(kind, "repair") == 0;
    const struct job *j = known ? jobs_find(w->jobs, kind) : NULL;
    const struct volume_config *v = &w->volume->config;
    struct fs_scan_counts c;
    struct c2_buf body = { 0 };
    c2_free(kind);
    if (j == NULL || j->rec.state == JOB_NONE) {
        ctl_result(call, C2_E_NOT_FOUND, "there was none yet", nothing);
        return;
    }
    fs_scrub_counts(j, &c);
    for (unsigned k = 0; k < v->n; k++) {
        const char *name = v->seats[k].provider;
        if (v->seats[k].state == VOLUME_SEAT_EMPTY)
            continue;
        add(&body, name, "expected", c.seat[k].expected);
        add(&body, name, "present", c.seat[k].present);
        add(&body, name, "missing", c.seat[k].missing);
        add(&body, name, "corrupt", c.seat[k].bad);
        add(&body, name, "unreached", c.seat[k].unknown);
        add(&body, name, "extra", c.seat[k].extra);
        add(&body, name, "orphan_shares", c.seat[k].orphans);
    }
    ctl_result(call, C2_E_OK, NULL, c2_buf_slice(&body));
    c2_buf_done(&body);
}

/* ---- estimate -------------------------------------------------------------------------------- */

/* A walk through the records that belongs to a call. */
struct estimate {
    struct wire *w;
    struct c2_link link; /* in w->estimates */
    bool canceled;
    struct ctl_call *call;
    struct fs_record_page page;
    uint64_t objects, bytes;
    uint64_t shares[DS_SEATS_MAX];
    uint64_t seat_bytes[DS_SEATS_MAX];
};

static void
tell_estimate(struct estimate *e, enum c2_err err)
{
    const struct volume_config *v = &e->w->volume->config;
    struct c2_buf body = { 0 };
    ctl_counter_add(&body, "objects", e->objects);
    ctl_counter_add(&body, "bytes", e->bytes);
    for (unsigned k = 0; k < v->n; k++) {
        if (v->seats[k].state == VOLUME_SEAT_EMPTY)
            continue;
        add(&body, v->seats[k].provider, "shares", e->shares[k]);
        add(&body, v->seats[k].provider, "bytes", e->seat_bytes[k]);
    }
    ctl_result(e->call, err, err == C2_E_CANCELED ? "the mount is ending" : NULL,
               c2_buf_slice(&body));
    c2_buf_done(&body);
    c2_list_remove(&e->w->estimates, &e->link);
    c2_free(e);
}

static void
count_record(struct estimate *e, const struct fs_object_record *rec)
{
    unsigned shares = (unsigned)__builtin_popcount(rec->placed);
    if (rec->state != 0 || shares == 0)
        return;
    e->objects++;
    e->bytes += rec->stored_bytes;
    for (unsigned k = 0; k < DS_SEATS_MAX; k++) {
        if ((rec->placed >> k & 1) == 0)
            continue;
        e->shares[k]++;
        e->seat_bytes[k] += rec->stored_bytes / shares;
    }
}

static void
page_read(struct fs_record_page *p)
{
    struct estimate *e = C2_CONTAINER_OF(p, struct estimate, page);
    for (size_t k = 0; p->err == C2_E_OK && k < p->n; k++)
        count_record(e, &p->rec[k]);
    if (p->err == C2_E_OK && !p->last && e->canceled)
        p->err = C2_E_CANCELED;
    if (p->err != C2_E_OK || p->last) {
        tell_estimate(e, p->err);
        return;
    }
    fs_record_after_object(&p->after, &p->rec[p->n - 1].ref.oid);
    fs_record_page_start(p);
}

static void
estimate(struct wire *w, struct ctl_call *call)
{
    struct estimate *e = c2_calloc(1, sizeof(*e));
    e->w = w;
    e->call = call;
    e->page = (struct fs_record_page){ .fs = w->fs, .max = FS_RECORD_PAGE_MAX, .done = page_read };
    c2_list_append(&w->estimates, &e->link);
    fs_record_page_start(&e->page);
}

bool
wire_scrub_ended(struct wire *w)
{
    C2_LIST_FOREACH (&w->estimates, struct estimate, e, link) {
        if (e->canceled)
            continue;
        e->canceled = true;
        fs_record_page_cancel(&e->page);
    }
    return c2_list_empty(&w->estimates);
}

void
wire_scrub_request(struct wire *w, struct ctl_call *call, const struct ctl_request *q)
{
    if (w->jobs == NULL || w->state != WIRE_SERVING)
        ctl_result(call, C2_E_NOT_MOUNTED, "the mount is ending", nothing);
    else if (q->verb == CTL_SCRUB_REPORT)
        report(w, call, q);
    else
        estimate(w, call);
}
