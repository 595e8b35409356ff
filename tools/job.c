/* SPDX-License-Identifier: MIT */
/*
 * The view of a job asks the daemon twice a second, so it survives a remount: whoever watches is
 * attached to the job, not to the daemon that happens to run it.
 */
#include "tools/job.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/env.h"
#include "base/os_env.h"
#include "base/str.h"
#include "tools/request.h"

#define LOOK_NS        (500 * C2_NS_PER_MS)
#define PLAIN_EVERY_NS (30 * C2_NS_PER_S)
#define JSON_EVERY_NS  C2_NS_PER_S
#define BAR_WIDTH      24u
#define PERMILLE       1000u

/* ---- one request ----------------------------------------------------------------------------- */

/* An answer's error comes back as text, which may hold a hint. */
enum c2_err
job_request(const struct cmd_ctx *x, const struct ctl_request *q, struct c2_buf *ret_body,
            char **ret_error)
{
    return cmd_request(x, q, "jobs run in the mount", ret_body, ret_error);
}

static enum c2_err
get_jobs(const struct cmd_ctx *x, const char *kind, struct ctl_job *jobs, uint32_t *ret_n,
         char **ret_error)
{
    struct c2_buf body = { 0 };
    const struct ctl_request q = { .verb = CTL_JOB_LIST,
                                   .text = c2_slice_str(kind == NULL ? "" : kind) };
    enum c2_err err = job_request(x, &q, &body, ret_error);
    if (err == C2_E_OK)
        err = ctl_jobs_decode(c2_buf_slice(&body), jobs, CTL_JOBS_MAX, ret_n);
    c2_buf_done(&body);
    return err;
}

enum c2_err
job_get(const struct cmd_ctx *x, const char *kind, struct ctl_job *ret_job, char **ret_error)
{
    struct ctl_job *jobs = c2_calloc(CTL_JOBS_MAX, sizeof(*jobs));
    uint32_t n = 0;
    enum c2_err err = get_jobs(x, kind, jobs, &n, ret_error);
    if (err == C2_E_OK && n == 0)
        err = C2_E_NOT_FOUND;
    if (err == C2_E_OK)
        *ret_job = jobs[0];
    c2_free(jobs);
    return err;
}

static int
fail(const struct cmd_ctx *x, enum c2_err err, const char *what, const char *object, char *error)
{
    int code = cmd_fail(x, err, what, object, error, NULL);
    c2_free(error);
    return code;
}

/* ---- in words -------------------------------------------------------------------------------- */

static bool
is_state(const struct ctl_job *j, const char *state)
{
    return strcmp(j->state, state) == 0;
}

static bool
is_over(const struct ctl_job *j)
{
    return !is_state(j, "running") && !is_state(j, "paused");
}

/* 0..1000; -1 when nobody knows how much there is. */
static int
permille(const struct ctl_job *j)
{
    uint64_t done = j->bytes_done, total = j->bytes_total;
    if (total == 0) {
        done = j->objects_done;
        total = j->objects_total;
    }
    if (total == 0)
        return is_state(j, "done") ? (int)PERMILLE : -1;
    return (int)((double)C2_MIN(done, total) * PERMILLE / (double)total);
}

/* UINT64_MAX = nobody knows. */
static uint64_t
eta_ns(const struct ctl_job *j)
{
    if (!is_state(j, "running"))
        return UINT64_MAX;
    double left = 0, per_s = 0;
    if (j->bytes_total > 0) {
        left = j->bytes_total > j->bytes_done ? (double)(j->bytes_total - j->bytes_done) : 0;
        per_s = (double)j->rate;
    } else if (j->objects_total > 0 && j->run_ns > 0) {
        left =
            j->objects_total > j->objects_done ? (double)(j->objects_total - j->objects_done) : 0;
        per_s = (double)j->objects_done * 1e9 / (double)j->run_ns;
    }
    return per_s > 0 ? (uint64_t)(left / per_s) * C2_NS_PER_S : UINT64_MAX;
}

static void
amount(const struct ctl_job *j, struct c2_buf *out)
{
    char done[C2_SIZE_TEXT_MAX], total[C2_SIZE_TEXT_MAX];
    c2_size_format(j->bytes_done, done);
    c2_size_format(j->bytes_total, total);
    if (j->bytes_total > 0)
        c2_buf_printf(out, "%s of %s", done, total);
    else if (j->objects_total > 0)
        c2_buf_printf(out, "%llu of %llu objects", (unsigned long long)j->objects_done,
                      (unsigned long long)j->objects_total);
    else
        c2_buf_printf(out, "%llu objects, %s", (unsigned long long)j->objects_done, done);
}

/* What follows the kind and state, or the bar. */
static void
details(const struct ctl_job *j, struct c2_buf *out)
{
    char text[C2_SIZE_TEXT_MAX];
    uint64_t eta = eta_ns(j);
    amount(j, out);
    if (j->rate > 0)
        c2_buf_printf(out, ", %s/s", c2_size_format(j->rate, text));
    if (eta != UINT64_MAX && eta > 0)
        c2_buf_printf(out, ", about %s left", c2_duration_format(eta, text));
    if (j->errors > 0)
        c2_buf_printf(out, ", %llu errors", (unsigned long long)j->errors);
    if (j->error[0] != '\0')
        c2_buf_printf(out, " (%s%s)", j->error, is_state(j, "running") ? ", trying again" : "");
    if (j->message[0] != '\0')
        c2_buf_printf(out, ": %s", j->message);
}

void
job_line(const struct ctl_job *j, char out[JOB_LINE_MAX])
{
    struct c2_buf text = { 0 };
    int part = permille(j);
    c2_buf_printf(&text, "%s %s", j->kind, j->state);
    if (part >= 0 && !is_state(j, "done"))
        c2_buf_printf(&text, ", %d.%d %%", part / 10, part % 10);
    c2_buf_printf(&text, ", ");
    details(j, &text);
    (void)snprintf(out, JOB_LINE_MAX, "%s", c2_buf_cstr(&text));
    c2_buf_done(&text);
}

void
job_json_fields(struct c2_json *j, const struct ctl_job *job)
{
    uint64_t eta = eta_ns(job);
    c2_json_str(j, "kind", job->kind);
    c2_json_str(j, "state", job->state);
    c2_json_str(j, "params", job->params);
    c2_json_str(j, "message", job->message[0] != '\0' ? job->message : NULL);
    c2_json_str(j, "error", job->error[0] != '\0' ? job->error : NULL);
    c2_json_u64(j, "objects_done", job->objects_done);
    c2_json_u64(j, "objects_total", job->objects_total);
    c2_json_u64(j, "bytes_done", job->bytes_done);
    c2_json_u64(j, "bytes_total", job->bytes_total);
    c2_json_u64(j, "bytes_moved", job->spent);
    c2_json_u64(j, "errors", job->errors);
    c2_json_u64(j, "bytes_per_s", job->rate);
    c2_json_u64(j, "limit_bytes_per_s", job->rate_limit);
    if (eta == UINT64_MAX)
        c2_json_str(j, "eta_ns", NULL);
    else
        c2_json_u64(j, "eta_ns", eta);
    c2_json_u64(j, "run_ns", job->run_ns);
    c2_json_u64(j, "started_wall_ns", job->started_wall_ns);
    c2_json_u64(j, "ended_wall_ns", job->ended_wall_ns);
    c2_json_object(j, "counters");
    for (uint32_t k = 0; k < job->ncounters; k++)
        c2_json_u64(j, job->counters[k].name, job->counters[k].value);
    c2_json_object_end(j);
}

void
job_json(struct c2_json *j, const struct ctl_job *job)
{
    c2_json_object(j, NULL);
    job_json_fields(j, job);
    c2_json_object_end(j);
}

/* ---- watching -------------------------------------------------------------------------------- */

struct view {
    const struct cmd_ctx *x;
    const char *what, *kind;
    enum cmd_progress progress;
    bool rewrites; /* a bar on a terminal */
    bool shown;
    uint64_t id; /* of the job that is watched; 0 = not seen yet */
    uint64_t printed_ns;
    struct ctl_job job;
    sigset_t old_signals;
};

static void
print_json_line(const struct ctl_job *job, FILE *to)
{
    struct c2_buf out = { 0 };
    struct c2_json j;
    cmd_json_begin(&j, &out, "c2fs.job/1");
    job_json_fields(&j, job);
    c2_json_object_end(&j);
    (void)fprintf(to, "%s\n", c2_buf_cstr(&out));
    (void)fflush(to);
    c2_buf_done(&out);
}

static void
print_bar(struct view *v)
{
    struct c2_buf text = { 0 };
    char bar[BAR_WIDTH + 1];
    int part = permille(&v->job);
    unsigned full = part < 0 ? 0 : (unsigned)part * BAR_WIDTH / PERMILLE;
    memset(bar, ' ', BAR_WIDTH);
    memset(bar, '=', full);
    if (full > 0 && full < BAR_WIDTH)
        bar[full - 1] = '>';
    bar[BAR_WIDTH] = '\0';
    details(&v->job, &text);
    (void)fprintf(stderr, "\r\033[K%s: [%s] ", v->kind, bar);
    if (part >= 0)
        (void)fprintf(stderr, "%3d %%  ", part / 10);
    (void)fprintf(stderr, "%s%s", is_state(&v->job, "paused") ? "paused, " : "",
                  c2_buf_cstr(&text));
    (void)fflush(stderr);
    v->shown = true;
    c2_buf_done(&text);
}

static void
show(struct view *v)
{
    char line[JOB_LINE_MAX];
    uint64_t now = c2_os_now_ns();
    uint64_t every = v->progress == CMD_PROGRESS_JSON ? JSON_EVERY_NS : PLAIN_EVERY_NS;
    if (v->progress == CMD_PROGRESS_NONE)
        return;
    if (v->rewrites) {
        print_bar(v);
        return;
    }
    if (v->printed_ns != 0 && now - v->printed_ns < every)
        return;
    v->printed_ns = now;
    if (v->progress == CMD_PROGRESS_JSON) {
        print_json_line(&v->job, stderr);
        return;
    }
    job_line(&v->job, line);
    (void)fprintf(stderr, "%s\n", line);
}

static void
clear_line(struct view *v)
{
    if (v->shown)
        (void)fprintf(stderr, "\r\033[K");
    v->shown = false;
}

static int
report_end(struct view *v)
{
    const struct ctl_job *j = &v->job;
    char line[JOB_LINE_MAX], took[C2_SIZE_TEXT_MAX];
    clear_line(v);
    if (v->x->json)
        print_json_line(j, stdout);
    else if (v->progress == CMD_PROGRESS_JSON)
        print_json_line(j, stderr);
    if (is_state(j, "failed")) {
        enum c2_err err = C2_E_IO;
        for (unsigned e = 1; e < C2_E_COUNT; e++)
            if (strcmp(c2_err_name((enum c2_err)e), j->error) == 0)
                err = (enum c2_err)e;
        return cmd_fail(v->x, err, v->what, v->x->volume, j->message, NULL);
    }
    if (!v->x->json && v->progress != CMD_PROGRESS_JSON) {
        job_line(j, line);
        (void)printf("%s; took %s\n", line, c2_duration_format(j->run_ns, took));
    }
    if (is_state(j, "canceled"))
        return CTL_EXIT_INTERRUPTED;
    return j->errors > 0 ? CTL_EXIT_DEGRADED : CTL_EXIT_OK;
}

/* False when the user wants to go. */
static bool
wait_a_little(void)
{
    const struct timespec t = { .tv_nsec = (long)LOOK_NS };
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    return sigtimedwait(&set, NULL, &t) < 0;
}

static int
detach(struct view *v)
{
    clear_line(v);
    (void)fprintf(stderr, "detached, the %s goes on. To see it again: c2fsctl -V %s job watch %s\n",
                  v->kind, v->x->volume, v->kind);
    return CTL_EXIT_INTERRUPTED;
}

static int
lost(struct view *v, enum c2_err err, char *error)
{
    clear_line(v);
    if (v->id == 0)
        return fail(v->x, err, v->what, v->x->volume, error);
    c2_free(error);
    char *cause = c2_asprintf("the mount has ended; the %s goes on with the next mount\n"
                              "hint: c2fsctl -V %s job watch %s then",
                              v->kind, v->x->volume, v->kind);
    return fail(v->x, C2_E_UNAVAILABLE, v->what, v->x->volume, cause);
}

static int
watch_loop(struct view *v)
{
    for (;;) {
        char *error = NULL;
        uint32_t n = 0;
        struct ctl_job *jobs = c2_calloc(CTL_JOBS_MAX, sizeof(*jobs));
        enum c2_err err = get_jobs(v->x, v->kind, jobs, &n, &error);
        if (err == C2_E_OK && n > 0)
            v->job = jobs[0];
        c2_free(jobs);
        if (err != C2_E_OK)
            return lost(v, err, error);
        if (n == 0)
            return cmd_fail(v->x, C2_E_NOT_FOUND, v->what, v->kind, "no such job was started",
                            "c2fsctl job list shows the jobs");
        if (v->id == 0)
            v->id = v->job.id;
        if (is_over(&v->job) || v->job.id != v->id)
            return report_end(v);
        show(v);
        if (!wait_a_little())
            return detach(v);
    }
}

int
job_watch(const struct cmd_ctx *x, const char *what, const char *kind)
{
    struct view *v = c2_calloc(1, sizeof(*v));
    sigset_t set;
    v->x = x;
    v->what = what;
    v->kind = kind;
    v->progress = x->progress;
    v->rewrites = v->progress == CMD_PROGRESS_AUTO && isatty(STDERR_FILENO);
    /* The signals are taken by sigtimedwait while nothing else happens. */
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &set, &v->old_signals);
    int code = watch_loop(v);
    (void)sigprocmask(SIG_SETMASK, &v->old_signals, NULL);
    c2_free(v);
    return code;
}

/* ---- the rest -------------------------------------------------------------------------------- */

/* OK when the job that is in the way is the one that was asked for: it goes on, with the limit that
 * was given now, if one was. */
static enum c2_err
join(const struct cmd_ctx *x, const struct job_start *s, char **ret_error)
{
    struct ctl_job *job = c2_calloc(1, sizeof(*job));
    struct ctl_request q = { .verb = CTL_JOB_CONTROL,
                             .text = c2_slice_str(s->kind),
                             .text2 = c2_slice_str("resume") };
    enum c2_err err = job_get(x, s->kind, job, ret_error);
    if (err == C2_E_OK && (is_over(job) || strcmp(job->params, s->params) != 0))
        err = C2_E_BUSY;
    if (err == C2_E_OK && is_state(job, "paused"))
        err = job_request(x, &q, NULL, ret_error);
    if (err == C2_E_OK && s->rate_limit != 0) {
        q.text2 = c2_slice_str("limit");
        q.number = s->rate_limit;
        err = job_request(x, &q, NULL, ret_error);
    }
    c2_free(job);
    return err;
}

int
job_run(const struct cmd_ctx *x, const struct job_start *s)
{
    char *error = NULL;
    const struct ctl_request q = { .verb = CTL_JOB_START,
                                   .number = s->rate_limit,
                                   .text = c2_slice_str(s->kind),
                                   .text2 = c2_slice_str(s->params) };
    enum c2_err err = job_request(x, &q, NULL, &error);
    bool joined = err == C2_E_BUSY && s->joins;
    if (joined) {
        char *other = NULL;
        if (join(x, s, &other) == C2_E_OK)
            err = C2_E_OK;
        c2_free(other);
    }
    if (err != C2_E_OK)
        return fail(x, err, s->what, x->volume, error);
    c2_free(error);
    if (!s->detach)
        return job_watch(x, s->what, s->kind);
    if (!x->json)
        (void)printf("%s %s; c2fsctl -V %s job watch %s shows it\n", s->kind,
                     joined ? "goes on" : "started", x->volume, s->kind);
    return CTL_EXIT_OK;
}

int
job_control(const struct cmd_ctx *x, const char *what, const char *kind, const char *verb,
            uint64_t rate_limit)
{
    char *error = NULL;
    const struct ctl_request q = { .verb = CTL_JOB_CONTROL,
                                   .number = rate_limit,
                                   .text = c2_slice_str(kind),
                                   .text2 = c2_slice_str(verb) };
    enum c2_err err = job_request(x, &q, NULL, &error);
    if (err == C2_E_OK)
        return CTL_EXIT_OK;
    int code = cmd_fail(x, err, what, kind, error,
                        err == C2_E_NOT_FOUND ? "c2fsctl job list shows the jobs" : NULL);
    c2_free(error);
    return code;
}

int
job_list(const struct cmd_ctx *x, const char *what, const char *kind)
{
    char *error = NULL;
    uint32_t n = 0;
    struct ctl_job *jobs = c2_calloc(CTL_JOBS_MAX, sizeof(*jobs));
    enum c2_err err = get_jobs(x, kind, jobs, &n, &error);
    int code = CTL_EXIT_OK;
    if (err != C2_E_OK) {
        code = fail(x, err, what, x->volume, error);
    } else if (x->json) {
        struct c2_buf out = { 0 };
        struct c2_json j;
        cmd_json_begin(&j, &out, "c2fs.jobs/1");
        c2_json_str(&j, "volume", x->volume);
        c2_json_array(&j, "jobs");
        for (uint32_t k = 0; k < n; k++)
            job_json(&j, &jobs[k]);
        c2_json_array_end(&j);
        cmd_json_print(&j, &out);
    } else {
        for (uint32_t k = 0; k < n; k++) {
            char line[JOB_LINE_MAX];
            job_line(&jobs[k], line);
            (void)printf("%s\n", line);
        }
        if (n == 0)
            (void)printf("none\n");
    }
    c2_free(jobs);
    return code;
}
