/* SPDX-License-Identifier: MIT */
/*
 *   scrub:   TOTALS ──► SCAN ──► JOURNAL ──► CHECKPOINTS ──► done
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "fs/scrub_impl.h"

#define PLACE_VERSION 1
#define HOUR_NS       (3600 * C2_NS_PER_S)
#define OFF_HOURS_NS  (60 * C2_NS_PER_S)
#define WINDOW_DATA   32u /* objects whose bytes are read in one step */
#define WINDOW_SAMPLE 200u
#define PARALLEL_DATA 2u
#define PARALLEL      8u

/* ---- the place ------------------------------------------------------------------------------- */

static void
put_counts(struct c2_buf *out, const struct fs_scan_counts *c)
{
    c2_wr_u64(out, c->objects);
    c2_wr_u64(out, c->healthy);
    c2_wr_u64(out, c->below);
    c2_wr_u64(out, c->unreadable);
    c2_wr_u64(out, c->verified);
    c2_wr_u64(out, c->orphans);
    for (unsigned k = 0; k < DS_SEATS_MAX; k++) {
        const struct fs_scan_seat *s = &c->seat[k];
        c2_wr_u64(out, s->expected);
        c2_wr_u64(out, s->present);
        c2_wr_u64(out, s->missing);
        c2_wr_u64(out, s->bad);
        c2_wr_u64(out, s->unknown);
        c2_wr_u64(out, s->extra);
        c2_wr_u64(out, s->orphans);
    }
}

static void
get_counts(struct c2_rd *r, struct fs_scan_counts *c)
{
    c->objects = c2_rd_u64(r);
    c->healthy = c2_rd_u64(r);
    c->below = c2_rd_u64(r);
    c->unreadable = c2_rd_u64(r);
    c->verified = c2_rd_u64(r);
    c->orphans = c2_rd_u64(r);
    for (unsigned k = 0; k < DS_SEATS_MAX; k++) {
        struct fs_scan_seat *s = &c->seat[k];
        s->expected = c2_rd_u64(r);
        s->present = c2_rd_u64(r);
        s->missing = c2_rd_u64(r);
        s->bad = c2_rd_u64(r);
        s->unknown = c2_rd_u64(r);
        s->extra = c2_rd_u64(r);
        s->orphans = c2_rd_u64(r);
    }
}

void
scrub_place_encode(const struct scrub_place *p, struct job_record *rec)
{
    struct c2_buf b = { 0 };
    c2_wr_u8(&b, PLACE_VERSION);
    c2_wr_u8(&b, (uint8_t)p->phase);
    c2_wr_u32(&b, p->round);
    c2_wr_u8(&b, p->set);
    c2_wr_u64(&b, p->sid);
    c2_wr_u64(&b, p->seq);
    c2_wr_u64(&b, p->healed);
    c2_wr_u64(&b, p->log_objects);
    c2_wr_u64(&b, p->log_below);
    put_counts(&b, &p->counts);
    C2_ASSERT(b.len <= sizeof(rec->cursor));
    memcpy(rec->cursor, b.data, b.len);
    rec->cursor_len = b.len;
    c2_buf_done(&b);
}

void
scrub_place_decode(const struct job_record *rec, struct scrub_place *ret_place)
{
    struct c2_rd r = c2_rd_init(c2_slice(rec->cursor, rec->cursor_len));
    struct scrub_place p = { 0 };
    bool known = c2_rd_u8(&r) == PLACE_VERSION;
    uint8_t phase = c2_rd_u8(&r);
    p.round = c2_rd_u32(&r);
    p.set = c2_rd_u8(&r) != 0;
    p.sid = c2_rd_u64(&r);
    p.seq = c2_rd_u64(&r);
    p.healed = c2_rd_u64(&r);
    p.log_objects = c2_rd_u64(&r);
    p.log_below = c2_rd_u64(&r);
    get_counts(&r, &p.counts);
    if (c2_rd_finish(&r) != C2_E_OK || !known || phase > PHASE_CHECKPOINTS)
        p = (struct scrub_place){ 0 };
    else
        p.phase = (enum scrub_phase)phase;
    *ret_place = p;
}

void
fs_scrub_counts(const struct job *j, struct fs_scan_counts *ret_counts)
{
    struct scrub_place p;
    scrub_place_decode(&j->rec, &p);
    *ret_counts = p.counts;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void
pause_over(struct c2_timer *t)
{
    struct scrub_run *r = C2_CONTAINER_OF(t, struct scrub_run, pause);
    job_step_done(r->job, C2_E_OK, false);
}

static void
end_step_later(struct scrub_run *r, uint64_t ns)
{
    struct c2_env *env = r->own->fs->part.env;
    c2_timer_arm(env, &r->pause, c2_now_ns(env) + ns);
}

/* How long the seats of the last window need a rest. */
static uint64_t
rest_ns(const struct scrub_run *r)
{
    uint64_t rest = 0;
    for (unsigned k = 0; k < DS_SEATS_MAX; k++) {
        uint64_t rate = r->own->config.seat_rate[k];
        if (rate > 0)
            rest = C2_MAX(rest, (uint64_t)((double)r->scan.seat_bytes[k] * 1e9 / (double)rate));
    }
    return rest;
}

void
scrub_step_end(struct scrub_run *r, bool finished)
{
    uint64_t rest = rest_ns(r);
    scrub_place_encode(&r->place, &r->job->rec);
    memset(r->scan.seat_bytes, 0, sizeof(r->scan.seat_bytes));
    if (!finished && rest > 0)
        end_step_later(r, rest);
    else
        job_step_done(r->job, C2_E_OK, finished);
}

static void
page_counted(struct fs_record_page *p)
{
    struct scrub_run *r = C2_CONTAINER_OF(p, struct scrub_run, page);
    struct job_record *rec = &r->job->rec;
    r->paging = false;
    if (p->err != C2_E_OK) {
        job_step_done(r->job, p->err, false);
        return;
    }
    for (size_t k = 0; k < p->n; k++) {
        if (p->rec[k].state != 0)
            continue;
        rec->objects_total++;
        rec->bytes_total += r->mode == FS_SCAN_DATA ? p->rec[k].stored_bytes : 0;
    }
    r->place.set = p->n > 0;
    if (p->n > 0) {
        r->place.sid = p->rec[p->n - 1].ref.oid.sid;
        r->place.seq = p->rec[p->n - 1].ref.oid.seq;
    }
    if (p->last) {
        r->place.set = false;
        r->place.phase = r->totals_then;
    }
    scrub_step_end(r, false);
}

void
scrub_totals_step(struct scrub_run *r)
{
    r->page = (struct fs_record_page){ .fs = r->own->fs,
                                       .max = FS_RECORD_PAGE_MAX,
                                       .done = page_counted };
    if (r->place.set) {
        struct ds_oid oid = { .sid = r->place.sid, .seq = r->place.seq };
        memset(oid.rnd, 0xff, sizeof(oid.rnd));
        fs_record_after_object(&r->page.after, &oid);
    } else {
        r->job->rec.objects_total = r->job->rec.bytes_total = 0;
    }
    r->paging = true;
    fs_record_page_start(&r->page);
}

static void
log_scanned(struct fs_scan_log *s)
{
    struct scrub_run *r = C2_CONTAINER_OF(s, struct scrub_run, log);
    r->logging = false;
    if (s->err != C2_E_OK) {
        job_step_done(r->job, s->err, false);
        return;
    }
    job_spend(r->job, s->bytes);
    r->place.log_objects += s->objects;
    r->place.log_below += s->below;
    r->job->rec.bytes_done += s->bytes;
    bool journal = r->place.phase == PHASE_JOURNAL;
    r->place.phase = journal ? PHASE_CHECKPOINTS : r->log_then;
    scrub_message(r);
    if (!journal && r->log_over != NULL)
        r->log_over(r);
    else
        scrub_step_end(r, !journal && r->log_then_done);
}

void
scrub_log_step(struct scrub_run *r, bool mend, enum scrub_phase then, bool then_done)
{
    bool journal = r->place.phase == PHASE_JOURNAL;
    r->log = (struct fs_scan_log){ .fs = r->own->fs,
                                   .kind = journal ? DS_KIND_JOURNAL : DS_KIND_CHECKPOINT,
                                   .mend = mend,
                                   .done = log_scanned };
    if (journal)
        r->place.log_objects = r->place.log_below = 0;
    r->log_then = then;
    r->log_then_done = then_done;
    r->logging = true;
    fs_scan_log_start(&r->log);
}

static void
window_scanned(struct fs_scan *s)
{
    struct scrub_run *r = C2_CONTAINER_OF(s, struct scrub_run, scan);
    struct job_record *rec = &r->job->rec;
    r->scanning = false;
    if (s->err != C2_E_OK) {
        job_step_done(r->job, s->err, false);
        return;
    }
    job_spend(r->job, s->bytes);
    rec->bytes_done += s->bytes;
    rec->objects_done = s->counts.objects;
    r->place.counts = s->counts;
    r->place.set = s->after.set;
    r->place.sid = s->after.sid;
    r->place.seq = s->after.seq;
    r->scanned(r);
}

void
scrub_scan_step(struct scrub_run *r)
{
    static const unsigned windows[] = { [FS_SCAN_EXISTS] = FS_SCAN_WINDOW,
                                        [FS_SCAN_SAMPLE] = WINDOW_SAMPLE,
                                        [FS_SCAN_DATA] = WINDOW_DATA };
    r->scan = (struct fs_scan){ .fs = r->own->fs,
                                .mode = r->mode,
                                .sample_permille = r->permille,
                                .window = windows[r->mode],
                                .parallel = r->mode == FS_SCAN_EXISTS ? PARALLEL : PARALLEL_DATA,
                                .after = { r->place.set, r->place.sid, r->place.seq },
                                .counts = r->place.counts,
                                .done = window_scanned };
    r->scanning = true;
    fs_scan_start(&r->scan);
}

static struct fs_scan_seat
over_all_seats(const struct fs_scan_counts *c)
{
    struct fs_scan_seat all = { 0 };
    for (unsigned k = 0; k < DS_SEATS_MAX; k++) {
        all.expected += c->seat[k].expected;
        all.present += c->seat[k].present;
        all.missing += c->seat[k].missing;
        all.bad += c->seat[k].bad;
        all.unknown += c->seat[k].unknown;
        all.extra += c->seat[k].extra;
        all.orphans += c->seat[k].orphans;
    }
    return all;
}

void
scrub_message(struct scrub_run *r)
{
    const struct fs_scan_counts *c = &r->place.counts;
    struct job_record *rec = &r->job->rec;
    struct fs_scan_seat all = over_all_seats(c);
    uint64_t numbers[] = { c->objects,  c->healthy,  c->below,    c->unreadable,
                           c->verified, all.present, all.missing, all.bad,
                           all.unknown, all.extra,   c->orphans,  all.orphans };
    memcpy(rec->counter, numbers, sizeof(numbers));
    rec->errors = c->below + r->place.log_below;
    rec->counter[SCRUB_LOG_OBJECTS] = r->place.log_objects;
    rec->counter[SCRUB_LOG_BELOW] = r->place.log_below;
    if (rec->errors == 0)
        (void)snprintf(rec->message, sizeof(rec->message), "all %llu objects are at their goal",
                       (unsigned long long)c->objects);
    else if (c->below == 0)
        (void)snprintf(rec->message, sizeof(rec->message),
                       "%llu of %llu pieces of the metadata log are at too few providers",
                       (unsigned long long)r->place.log_below,
                       (unsigned long long)r->place.log_objects);
    else
        (void)snprintf(rec->message, sizeof(rec->message),
                       "%llu of %llu objects are below their goal: %llu shares are missing, %llu "
                       "are corrupt, %llu could not be asked for",
                       (unsigned long long)c->below, (unsigned long long)c->objects,
                       (unsigned long long)all.missing, (unsigned long long)all.bad,
                       (unsigned long long)all.unknown);
}

/* ---- the job --------------------------------------------------------------------------------- */

static const char *const counters[] = { "objects",     "healthy",        "below_goal",
                                        "unreadable",  "verified",       "present",
                                        "missing",     "corrupt",        "unreached",
                                        "extra",       "orphans",        "orphan_shares",
                                        "log_objects", "log_below_goal", NULL };

struct scrub_run *
scrub_run_new(struct job *j, struct fs_scrubber *own)
{
    struct scrub_run *r = c2_calloc(1, sizeof(*r));
    r->job = j;
    r->own = own;
    r->totals_then = PHASE_SCAN;
    r->pause.fire = pause_over;
    scrub_place_decode(&j->rec, &r->place);
    return r;
}

void
scrub_run_stop(struct scrub_run *r)
{
    struct fs *fs = r->own->fs;
    if (r->scanning)
        fs_scan_cancel(&r->scan);
    if (r->paging)
        fs_record_page_cancel(&r->page);
    if (r->logging)
        fs_scan_log_cancel(&r->log);
    if (r->mending)
        fs_repair_run_cancel(fs, &r->mend);
    if (c2_timer_armed(&r->pause))
        end_step_later(r, 0);
}

/* exists, sample, data -> *ret_mode and *ret_permille. */
static C2_RESULT
parse(const struct job *j, enum fs_scan_mode *ret_mode, unsigned *ret_permille)
{
    static const char *const names[] = { "exists", "sample", "data" };
    char *mode = job_param(j, "mode"), *part = job_param(j, "permille");
    enum c2_err err = mode == NULL ? C2_E_OK : C2_E_INVALID;
    unsigned permille = 0;
    *ret_mode = FS_SCAN_EXISTS;
    for (size_t k = 0; mode != NULL && k < C2_ARRAY_LEN(names); k++) {
        if (strcmp(mode, names[k]) != 0)
            continue;
        *ret_mode = (enum fs_scan_mode)k;
        err = C2_E_OK;
    }
    for (const char *p = part; p != NULL && *p != '\0' && err == C2_E_OK; p++) {
        if (*p < '0' || *p > '9' || permille > 1000)
            err = C2_E_INVALID;
        else
            permille = permille * 10 + (unsigned)(*p - '0');
    }
    if (err == C2_E_OK && *ret_mode == FS_SCAN_SAMPLE && (permille == 0 || permille > 1000))
        err = C2_E_INVALID;
    *ret_permille = permille;
    c2_free(mode);
    c2_free(part);
    return err;
}

static enum c2_err
scrub_check(struct job *j, char **ret_error)
{
    enum fs_scan_mode mode;
    unsigned permille;
    enum c2_err err = parse(j, &mode, &permille);
    if (err != C2_E_OK)
        *ret_error = c2_strdup("a scrub has mode=exists, sample (and permille=1..1000) or data");
    return err;
}

static void
scrub_begin(struct job *j)
{
    struct scrub_run *r = scrub_run_new(j, j->kind->arg);
    if (parse(j, &r->mode, &r->permille) != C2_E_OK)
        r->mode = FS_SCAN_EXISTS;
    j->run = r;
}

static void
scrub_scanned(struct scrub_run *r)
{
    scrub_message(r);
    if (r->scan.finished)
        r->place.phase = PHASE_JOURNAL;
    scrub_step_end(r, false);
}

static bool
off_hours(const struct scrub_run *r)
{
    const struct fs_scrub_config *c = &r->own->config;
    uint64_t hour = c2_wall_ns(r->own->fs->part.env) / HOUR_NS % 24;
    if (c->from_hour == c->to_hour)
        return false;
    if (c->from_hour < c->to_hour)
        return hour < c->from_hour || hour >= c->to_hour;
    return hour < c->from_hour && hour >= c->to_hour;
}

static void
scrub_step(struct job *j)
{
    struct scrub_run *r = j->run;
    if (off_hours(r)) {
        C2_MARK("scrub: waits for its hours");
        (void)snprintf(j->rec.message, sizeof(j->rec.message), "waits until %02u:00 UTC",
                       r->own->config.from_hour);
        end_step_later(r, OFF_HOURS_NS);
        return;
    }
    r->scanned = scrub_scanned;
    if (r->place.phase == PHASE_TOTALS)
        scrub_totals_step(r);
    else if (r->place.phase >= PHASE_JOURNAL)
        scrub_log_step(r, false, PHASE_JOURNAL, true);
    else
        scrub_scan_step(r);
}

static void
stop(struct job *j)
{
    scrub_run_stop(j->run);
}

static void
end(struct job *j)
{
    c2_free(j->run);
}

struct fs_scrubber *
fs_scrubber_new(struct fs *fs, const struct fs_scrub_config *config)
{
    struct fs_scrubber *s = c2_calloc(1, sizeof(*s));
    s->fs = fs;
    s->config = *config;
    s->scrub = (struct job_kind){ .name = "scrub",
                                  .arg = s,
                                  .counters = counters,
                                  .check = scrub_check,
                                  .begin = scrub_begin,
                                  .step = scrub_step,
                                  .stop = stop,
                                  .end = end };
    s->repair = scrub_repair_kind(s);
    s->repair.stop = stop;
    s->repair.end = end;
    return s;
}

void
fs_scrubber_free(struct fs_scrubber *s)
{
    c2_free(s);
}

const struct job_kind *
fs_scrubber_scrub(const struct fs_scrubber *s)
{
    return &s->scrub;
}

const struct job_kind *
fs_scrubber_repair(const struct fs_scrubber *s)
{
    return &s->repair;
}
