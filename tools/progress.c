/* SPDX-License-Identifier: MIT */
#include "tools/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "base/env.h"
#include "base/os_env.h"
#include "base/str.h"

#define PLAIN_EVERY_NS (30 * C2_NS_PER_S)

void
progress_begin(struct progress *p, const struct cmd_ctx *x, const char *what)
{
    *p = (struct progress){ .what = what, .kind = x->progress };
    p->rewrites = p->kind == CMD_PROGRESS_AUTO && isatty(STDERR_FILENO);
    if (p->kind == CMD_PROGRESS_AUTO)
        p->kind = CMD_PROGRESS_PLAIN;
    p->started_ns = p->printed_ns = c2_os_now_ns();
}

static void
print_json(const struct progress *p, const struct ctl_answer *a)
{
    (void)fprintf(stderr,
                  "{\"schema\":\"c2fs.progress/1\",\"command\":\"%s\",\"files\":%llu,"
                  "\"bytes\":%llu}\n",
                  p->what, (unsigned long long)a->files, (unsigned long long)a->bytes);
}

static void
print_text(struct progress *p, const struct ctl_answer *a, uint64_t now)
{
    char left[C2_SIZE_TEXT_MAX], rate[C2_SIZE_TEXT_MAX], eta[C2_SIZE_TEXT_MAX];
    uint64_t done = p->first_bytes > a->bytes ? p->first_bytes - a->bytes : 0;
    double seconds = (double)(now - p->started_ns) / 1e9;
    double per_s = seconds > 0 ? (double)done / seconds : 0;
    (void)fprintf(stderr, "%s%s: %llu files, %s left", p->rewrites ? "\r\033[K" : "", p->what,
                  (unsigned long long)a->files, c2_size_format(a->bytes, left));
    if (per_s >= 1) {
        uint64_t eta_ns = (uint64_t)((double)a->bytes / per_s) * C2_NS_PER_S;
        (void)fprintf(stderr, ", %s/s, about %s", c2_size_format((uint64_t)per_s, rate),
                      c2_duration_format(eta_ns, eta));
    }
    if (!p->rewrites)
        (void)fprintf(stderr, "\n");
    (void)fflush(stderr);
    p->shown = true;
}

void
progress_answer(void *arg, const struct ctl_answer *a)
{
    struct progress *p = arg;
    uint64_t now = c2_os_now_ns();
    if (!p->have_first) {
        p->have_first = true;
        p->first_bytes = a->bytes;
    }
    if (p->kind == CMD_PROGRESS_NONE)
        return;
    if (p->kind == CMD_PROGRESS_JSON) {
        print_json(p, a);
        return;
    }
    if (!p->rewrites && now - p->printed_ns < PLAIN_EVERY_NS)
        return;
    p->printed_ns = now;
    print_text(p, a, now);
}

void
progress_end(struct progress *p)
{
    if (p->rewrites && p->shown)
        (void)fprintf(stderr, "\r\033[K");
}
