/* SPDX-License-Identifier: MIT */
#include "tools/status.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "backends/provider.h"
#include "base/alloc.h"
#include "base/env.h"
#include "base/os_env.h"
#include "base/str.h"
#include "tools/ctl_client.h"
#include "tools/health.h"
#include "tools/job.h"
#include "tools/outside.h"

C2_RESULT
status_get(const struct cmd_ctx *x, const char *volume, struct ctl_status *ret_status,
           bool *ret_mounted, char **ret_error)
{
    struct ctl_client c;
    const char *cache_dir = cmd_cache_dir(x, volume);
    *ret_mounted = false;
    enum c2_err err = C2_E_NOT_MOUNTED;
    if (cache_dir != NULL)
        err = ctl_client_open(cache_dir, &c);
    if (err == C2_E_NOT_MOUNTED)
        return outside_status(x, volume, ret_status, ret_error);
    if (err != C2_E_OK) {
        *ret_error = c2_asprintf("the daemon of this mount belongs to somebody else");
        return err;
    }
    const struct ctl_request q = { .verb = CTL_STATUS, .number = x->as_known };
    struct ctl_answer a;
    err = ctl_client_call(&c, &q, NULL, NULL, &a);
    if (err == C2_E_OK)
        err = a.err;
    if (err == C2_E_OK)
        err = ctl_status_decode(a.body, ret_status);
    *ret_mounted = err == C2_E_OK;
    if (err != C2_E_OK)
        *ret_error = c2_asprintf("the daemon does not answer: %s", c2_err_text(err));
    ctl_client_close(&c);
    return err;
}

/* ---- providers --------------------------------------------------------------------------------
 */

static void
latency_text(const struct ctl_provider *p, char *out, size_t size)
{
    char p50[C2_SIZE_TEXT_MAX], p99[C2_SIZE_TEXT_MAX];
    if (p->p50_ns == 0)
        (void)snprintf(out, size, "-");
    else
        (void)snprintf(out, size, "%s/%s", c2_duration_format(p->p50_ns, p50),
                       c2_duration_format(p->p99_ns, p99));
}

static void
last_ok_text(const struct ctl_provider *p, char out[C2_SIZE_TEXT_MAX])
{
    if (p->last_ok_age_ns == UINT64_MAX)
        (void)snprintf(out, C2_SIZE_TEXT_MAX, "never");
    else if (p->last_ok_age_ns < 5000000000ull)
        (void)snprintf(out, C2_SIZE_TEXT_MAX, "now");
    else
        (void)c2_duration_format(p->last_ok_age_ns, out);
}

static void
upper(const char *text, char *out, size_t size)
{
    size_t k = 0;
    for (; text[k] != '\0' && k + 1 < size; k++)
        out[k] = (char)toupper((unsigned char)text[k]);
    out[k] = '\0';
}

static char *
number(uint64_t v)
{
    return c2_asprintf("%llu", (unsigned long long)v);
}

void
status_providers_table(const struct ctl_status *s, const char *indent)
{
    struct cmd_table t = { .ncolumns = 9,
                           .headers = { "PROVIDER", "STATE", ">LATENCY p50/p99", ">UP", ">DOWN",
                                        ">ERRORS", ">MISSING", ">CORRUPT", "LAST OK" } };
    for (uint32_t k = 0; k < s->nproviders; k++) {
        const struct ctl_provider *p = &s->providers[k];
        char state[CTL_NAME_MAX], latency[2 * C2_SIZE_TEXT_MAX], last[C2_SIZE_TEXT_MAX];
        char up[C2_SIZE_TEXT_MAX], down[C2_SIZE_TEXT_MAX];
        char *errors = number(p->errors), *absent = number(p->absent),
             *corrupt = number(p->corrupt);
        upper(p->state, state, sizeof(state));
        latency_text(p, latency, sizeof(latency));
        last_ok_text(p, last);
        cmd_table_add(&t, p->name, state, latency, c2_size_format(p->bytes_up, up),
                      c2_size_format(p->bytes_down, down), errors, absent, corrupt, last);
        c2_free(errors);
        c2_free(absent);
        c2_free(corrupt);
    }
    cmd_table_print(&t, indent);
}

void
status_providers_json(struct c2_json *j, const struct ctl_status *s)
{
    c2_json_array(j, "providers");
    for (uint32_t k = 0; k < s->nproviders; k++) {
        const struct ctl_provider *p = &s->providers[k];
        c2_json_object(j, NULL);
        c2_json_str(j, "name", p->name);
        c2_json_u64(j, "seat", p->seat);
        c2_json_str(j, "state", p->state);
        c2_json_u64(j, "puts_ok", p->puts_ok);
        c2_json_u64(j, "gets_ok", p->gets_ok);
        c2_json_u64(j, "errors", p->errors);
        c2_json_u64(j, "missing", p->absent);
        c2_json_u64(j, "corrupt", p->corrupt);
        c2_json_u64(j, "hedges", p->hedges);
        c2_json_str(j, "last_error", p->last_error[0] != '\0' ? p->last_error : NULL);
        c2_json_str(j, "last_detail", p->last_detail[0] != '\0' ? p->last_detail : NULL);
        if (p->last_ok_age_ns != UINT64_MAX)
            c2_json_u64(j, "last_ok_age_ns", p->last_ok_age_ns);
        else
            c2_json_str(j, "last_ok_age_ns", NULL);
        c2_json_u64(j, "latency_p50_ns", p->p50_ns);
        c2_json_u64(j, "latency_p99_ns", p->p99_ns);
        c2_json_u64(j, "bytes_up", p->bytes_up);
        c2_json_u64(j, "bytes_down", p->bytes_down);
        c2_json_object(j, "requests");
        for (unsigned v = 0; v < C2_MIN(PROV_VERB_COUNT, CTL_VERBS_MAX); v++)
            c2_json_u64(j, prov_verb_name((enum prov_verb)v), p->requests[v]);
        c2_json_object_end(j);
        c2_json_object_end(j);
    }
    c2_json_array_end(j);
}

/* Those of the coordination service; nothing for metadata = local:. */
static void
print_replicas(const struct ctl_status *s)
{
    struct cmd_table t = { .ncolumns = 3, .headers = { "REPLICA", "STATE", "LAST ERROR" } };
    if (s->nreplicas == 0)
        return;
    for (uint32_t k = 0; k < s->nreplicas; k++) {
        const struct ctl_replica *r = &s->replicas[k];
        cmd_table_add(&t, r->address, r->up ? "CONNECTED" : "UNREACHABLE",
                      r->last_error[0] != '\0' ? r->last_error : "-");
    }
    cmd_table_print(&t, "  ");
    (void)printf("\n");
}

static void
replicas_json(struct c2_json *j, const struct ctl_status *s)
{
    c2_json_object(j, "coordination");
    c2_json_bool(j, "replicated", s->nreplicas > 0);
    c2_json_u64(j, "f", s->replica_f);
    c2_json_u64(j, "view", s->view);
    c2_json_array(j, "replicas");
    for (uint32_t k = 0; k < s->nreplicas; k++) {
        const struct ctl_replica *r = &s->replicas[k];
        c2_json_object(j, NULL);
        c2_json_str(j, "address", r->address);
        c2_json_bool(j, "connected", r->up);
        c2_json_str(j, "last_error", r->last_error[0] != '\0' ? r->last_error : NULL);
        c2_json_object_end(j);
    }
    c2_json_array_end(j);
    c2_json_object_end(j);
}

/* ---- text -------------------------------------------------------------------------------------
 */

/* Wrapped to the width of a terminal, under a label of nine columns. */
static void
print_wrapped(const char *label, const char *text)
{
    (void)printf("%8s:", label);
    size_t column = 9;
    while (*text != '\0') {
        size_t len = strcspn(text, " ");
        if (column + 1 + len > 96) {
            (void)printf("\n         ");
            column = 9;
        }
        (void)printf(" %.*s", (int)len, text);
        column += 1 + len;
        text += len;
        text += strspn(text, " ");
    }
    (void)printf("\n");
}

static void
print_backlog(const struct ctl_status *s, bool mounted)
{
    char bytes[C2_SIZE_TEXT_MAX], age[C2_SIZE_TEXT_MAX];
    if (!mounted) {
        (void)printf(" journal: %s on disk; what is not in the clouds yet is uploaded by the next "
                     "mount\n",
                     c2_size_format(s->journal_used, bytes));
        return;
    }
    bool none = s->backlog_files == 0 && s->backlog_bytes == 0;
    if (none && s->unshipped_txns == 0)
        (void)printf(" backlog: none, everything is in the clouds\n");
    else if (!none)
        (void)printf(" backlog: %llu files, %s not yet in the clouds, oldest %s\n",
                     (unsigned long long)s->backlog_files, c2_size_format(s->backlog_bytes, bytes),
                     c2_duration_format(s->backlog_oldest_ns, age));
}

/* What a recovery from the clouds alone would give. */
static void
print_shipping(const struct ctl_status *s)
{
    char age[C2_SIZE_TEXT_MAX], when[C2_SIZE_TEXT_MAX] = "none yet";
    if (!s->ships)
        return;
    if (s->checkpoint_wall_ns != 0)
        c2_time_format(s->checkpoint_wall_ns, when);
    if (s->unshipped_txns == 0)
        (void)printf("recovery: complete, checkpoint %s\n", when);
    else
        (void)printf("recovery: would lose %llu metadata transactions, the oldest %s old; "
                     "checkpoint %s\n",
                     (unsigned long long)s->unshipped_txns,
                     c2_duration_format(s->unshipped_oldest_ns, age), when);
}

static void
print_space(const struct ctl_status *s)
{
    char used[C2_SIZE_TEXT_MAX], journal[C2_SIZE_TEXT_MAX], journal_max[C2_SIZE_TEXT_MAX];
    char disk[C2_SIZE_TEXT_MAX], disk_max[C2_SIZE_TEXT_MAX];
    (void)printf("   space: %s in %llu files and folders\n", c2_size_format(s->used_bytes, used),
                 (unsigned long long)s->used_files);
    (void)printf("   local: journal %s of %s, cache %s of %s\n",
                 c2_size_format(s->journal_used, journal),
                 c2_size_format(s->journal_max, journal_max), c2_size_format(s->cache_disk, disk),
                 c2_size_format(s->cache_disk_max, disk_max));
}

/* What no file uses any more, and still costs money. */
static void
print_garbage(const struct ctl_status *s)
{
    char bytes[C2_SIZE_TEXT_MAX], when[C2_SIZE_TEXT_MAX] = "not yet";
    if (s->gc_last_wall_ns != 0)
        c2_time_format(s->gc_last_wall_ns, when);
    if (!s->gc_on && s->gc_rounds == 0)
        (void)printf(" garbage: not collected in the background; c2fsctl gc shows it\n");
    else
        (void)printf(" garbage: %llu unused objects, %s, wait for deletion; last look %s%s%s\n",
                     (unsigned long long)s->gc_waiting_objects,
                     c2_size_format(s->gc_waiting_bytes, bytes), when,
                     s->gc_error[0] != '\0' ? ", failed: " : "", s->gc_error);
}

/* A job that ended well is no news after a day. */
#define SCAN_OLD_NS (24 * 3600 * C2_NS_PER_S)

static bool
is_news(const struct ctl_job *j)
{
    bool over = strcmp(j->state, "running") != 0 && strcmp(j->state, "paused") != 0;
    uint64_t now = c2_os_wall_ns();
    return !over || j->error[0] != '\0' || j->errors > 0 || now < j->ended_wall_ns + SCAN_OLD_NS;
}

static void
print_scan(const struct ctl_status *s)
{
    const char *label = "    scan: ";
    for (uint32_t k = 0; k < s->njobs; k++) {
        char line[JOB_LINE_MAX];
        if (!is_news(&s->jobs[k]))
            continue;
        job_line(&s->jobs[k], line);
        (void)printf("%s%s\n", label, line);
        label = "          ";
    }
}

static void
print_repair(const struct ctl_status *s)
{
    if (s->repair_objects > 0)
        (void)printf("  repair: %llu objects have lost %llu shares, %llu are being repaired\n",
                     (unsigned long long)s->repair_objects, (unsigned long long)s->shares_missing,
                     (unsigned long long)s->repair_running);
    else if (s->repairs_total > 0)
        (void)printf("  repair: nothing to do; %llu shares were rebuilt since the mount\n",
                     (unsigned long long)s->repairs_total);
}

static void
print_errors(const struct ctl_status *s)
{
    if (s->lost_files > 0)
        (void)printf("  errors: data of %llu files is lost: %s\n",
                     (unsigned long long)s->lost_files, s->lost);
    else if (s->damaged_groups > 0)
        (void)printf("  errors: %llu groups of the journal are damaged: %s\n",
                     (unsigned long long)s->damaged_groups, s->damage);
    else if (s->last_error[0] != '\0')
        (void)printf("  errors: the latest upload failed (%s) and is repeated; no known data "
                     "errors\n",
                     s->last_error);
    else
        (void)printf("  errors: no known data errors\n");
    for (uint32_t k = 0; k < s->nproviders; k++)
        if (s->providers[k].last_detail[0] != '\0' && strcmp(s->providers[k].state, "online") != 0)
            (void)printf("          %s: %s\n", s->providers[k].name, s->providers[k].last_detail);
}

/* What was written here and overtaken by another machine. */
static void
print_conflicts(const struct ctl_status *s)
{
    size_t len;
    for (const char *line = s->conflicts; (len = strcspn(line, "\n")) > 0; line += len + 1) {
        (void)printf("conflict: %.*s has changes that another machine was faster than; they were "
                     "never\n"
                     "          uploaded and are read by nothing: bring them in again from where "
                     "they came\n"
                     "          from, then type: rm -r %.*s\n",
                     (int)len, line, (int)len, line);
    }
}

int
status_print(const struct ctl_status *s, bool mounted, bool brief)
{
    struct health h;
    char up[C2_SIZE_TEXT_MAX];
    health_of(s, &h);
    if (brief && h.state == HEALTH_ONLINE && s->conflicts[0] == '\0')
        return CTL_EXIT_OK;
    (void)printf("  volume: %s\n", s->volume);
    (void)printf("   state: %s\n", health_name(h.state));
    print_wrapped("status", h.sentence);
    if (h.action[0] != '\0')
        print_wrapped("action", h.action);
    if (mounted)
        (void)printf(" mounted: %s%s, pid %llu, up %s%s\n", s->mountpoint,
                     s->read_only ? " (read-only)" : "", (unsigned long long)s->pid,
                     c2_duration_format(s->uptime_ns, up), s->draining ? ", being unmounted" : "");
    else
        (void)printf(" mounted: no\n");
    (void)printf("metadata: %s\n\n", s->metadata);
    status_providers_table(s, "  ");
    (void)printf("\n");
    print_replicas(s);
    print_backlog(s, mounted);
    if (mounted) {
        print_scan(s);
        print_repair(s);
        print_shipping(s);
        print_space(s);
        print_garbage(s);
    }
    print_errors(s);
    print_conflicts(s);
    return (int)health_exit(h.state);
}

/* ---- JSON and check ---------------------------------------------------------------------------
 */

static void
lower(const char *text, char *out, size_t size)
{
    size_t k = 0;
    for (; text[k] != '\0' && k + 1 < size; k++)
        out[k] = (char)tolower((unsigned char)text[k]);
    out[k] = '\0';
}

static void
json_body(struct c2_json *j, const struct ctl_status *s)
{
    c2_json_object(j, "backlog");
    c2_json_u64(j, "files", s->backlog_files);
    c2_json_u64(j, "bytes", s->backlog_bytes);
    c2_json_u64(j, "oldest_ns", s->backlog_oldest_ns);
    c2_json_object_end(j);
    c2_json_object(j, "shipping");
    c2_json_bool(j, "on", s->ships);
    c2_json_u64(j, "transactions", s->unshipped_txns);
    c2_json_u64(j, "bytes", s->unshipped_bytes);
    c2_json_u64(j, "oldest_ns", s->unshipped_oldest_ns);
    c2_json_u64(j, "checkpoint_version", s->checkpoint_version);
    c2_json_u64(j, "checkpoint_wall_ns", s->checkpoint_wall_ns);
    c2_json_object_end(j);
    c2_json_object(j, "garbage");
    c2_json_bool(j, "on", s->gc_on);
    c2_json_u64(j, "waiting_objects", s->gc_waiting_objects);
    c2_json_u64(j, "waiting_bytes", s->gc_waiting_bytes);
    c2_json_u64(j, "deleted_objects", s->gc_deleted_objects);
    c2_json_u64(j, "deleted_bytes", s->gc_deleted_bytes);
    c2_json_u64(j, "orphans_deleted", s->gc_orphans_deleted);
    c2_json_u64(j, "rounds", s->gc_rounds);
    c2_json_u64(j, "rewritten_files", s->compact_files);
    c2_json_u64(j, "rewritten_bytes", s->compact_bytes);
    c2_json_u64(j, "last_wall_ns", s->gc_last_wall_ns);
    c2_json_str(j, "last_error", s->gc_error[0] != '\0' ? s->gc_error : NULL);
    c2_json_object_end(j);
    c2_json_object(j, "journal");
    c2_json_u64(j, "used_bytes", s->journal_used);
    c2_json_u64(j, "size_bytes", s->journal_max);
    c2_json_u64(j, "replayed_groups", s->replayed_groups);
    c2_json_u64(j, "replayed_bytes", s->replayed_bytes);
    c2_json_u64(j, "damaged_groups", s->damaged_groups);
    c2_json_u64(j, "deferred_files", s->deferred_files);
    c2_json_u64(j, "lost_files", s->lost_files);
    c2_json_str(j, "lost", s->lost[0] != '\0' ? s->lost : NULL);
    c2_json_str(j, "damage", s->damage[0] != '\0' ? s->damage : NULL);
    c2_json_str(j, "error", s->journal_error[0] != '\0' ? s->journal_error : NULL);
    c2_json_object_end(j);
    c2_json_object(j, "cache");
    c2_json_u64(j, "memory_bytes", s->cache_memory);
    c2_json_u64(j, "memory_size_bytes", s->cache_memory_max);
    c2_json_u64(j, "disk_bytes", s->cache_disk);
    c2_json_u64(j, "disk_size_bytes", s->cache_disk_max);
    c2_json_object_end(j);
    c2_json_object(j, "space");
    c2_json_u64(j, "used_bytes", s->used_bytes);
    c2_json_u64(j, "files", s->used_files);
    c2_json_object_end(j);
    c2_json_object(j, "uploads");
    c2_json_u64(j, "objects", s->objects_written);
    c2_json_u64(j, "object_bytes", s->object_bytes);
    c2_json_u64(j, "stored_bytes", s->stored_bytes);
    c2_json_str(j, "last_error", s->last_error[0] != '\0' ? s->last_error : NULL);
    c2_json_object_end(j);
}

static void
json_repair(struct c2_json *j, const struct ctl_status *s)
{
    c2_json_object(j, "repair");
    c2_json_u64(j, "objects", s->repair_objects);
    c2_json_u64(j, "at_risk", s->repair_at_risk);
    c2_json_u64(j, "running", s->repair_running);
    c2_json_u64(j, "shares_missing", s->shares_missing);
    c2_json_u64(j, "shares_rebuilt", s->repairs_total);
    c2_json_u64(j, "failed", s->repairs_failed);
    c2_json_object_end(j);
}

static void
json_lines(struct c2_json *j, const char *lines)
{
    size_t len;
    for (; (len = strcspn(lines, "\n")) > 0; lines += len + 1) {
        char *line = c2_strndup(lines, len);
        c2_json_str(j, NULL, line);
        c2_free(line);
    }
}

int
status_print_json(const struct ctl_status *s, bool mounted)
{
    struct health h;
    struct c2_buf out = { 0 };
    struct c2_json j;
    char state[16];
    health_of(s, &h);
    lower(health_name(h.state), state, sizeof(state));
    cmd_json_begin(&j, &out, "c2fs.status/1");
    c2_json_str(&j, "volume", s->volume);
    c2_json_str(&j, "state", state);
    c2_json_str(&j, "status", h.sentence);
    c2_json_str(&j, "action", h.action[0] != '\0' ? h.action : NULL);
    c2_json_bool(&j, "mounted", mounted);
    c2_json_str(&j, "mountpoint", mounted ? s->mountpoint : NULL);
    c2_json_u64(&j, "pid", s->pid);
    c2_json_u64(&j, "uptime_ns", s->uptime_ns);
    c2_json_str(&j, "version", s->version);
    c2_json_str(&j, "metadata", s->metadata);
    c2_json_u64(&j, "n", s->n);
    c2_json_u64(&j, "f", s->f);
    c2_json_bool(&j, "fenced", s->fenced);
    c2_json_bool(&j, "draining", s->draining);
    c2_json_bool(&j, "read_only", s->read_only);
    status_providers_json(&j, s);
    c2_json_array(&j, "jobs");
    for (uint32_t k = 0; k < s->njobs; k++)
        job_json(&j, &s->jobs[k]);
    c2_json_array_end(&j);
    c2_json_array(&j, "conflicts");
    json_lines(&j, s->conflicts);
    c2_json_array_end(&j);
    json_repair(&j, s);
    replicas_json(&j, s);
    json_body(&j, s);
    cmd_json_print(&j, &out);
    return (int)health_exit(h.state);
}

int
status_print_check(const struct ctl_status *s, bool mounted)
{
    static const char *const words[] = { "OK", "WARNING", "CRITICAL" };
    struct health h;
    health_of(s, &h);
    int code = h.state == HEALTH_ONLINE ? 0 : h.state == HEALTH_DEGRADED ? 1 : 2;
    (void)printf("C2FS %s - %s: %s%s | backlog_files=%llu backlog_bytes=%lluB used=%lluB\n",
                 words[code], s->volume, h.sentence, mounted ? "" : " Not mounted.",
                 (unsigned long long)s->backlog_files, (unsigned long long)s->backlog_bytes,
                 (unsigned long long)s->used_bytes);
    return code;
}
