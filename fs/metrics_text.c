/* SPDX-License-Identifier: MIT */
#include "fs/metrics_text.h"

#include <string.h>

#include "backends/provider.h"

static const struct metrics_label no_labels[2];

void
metrics_family(struct c2_buf *out, const char *name, const char *kind, const char *help)
{
    c2_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

static void
escaped(struct c2_buf *out, const char *value)
{
    for (const char *p = value; *p != '\0'; p++) {
        if (*p == '\n')
            c2_buf_puts(out, "\\n");
        else if (*p == '\\' || *p == '"')
            c2_buf_printf(out, "\\%c", *p);
        else
            c2_buf_append(out, p, 1);
    }
}

static void
name_and_labels(struct c2_buf *out, const char *name, const struct metrics_label labels[2])
{
    c2_buf_puts(out, name);
    for (size_t k = 0; k < 2 && labels[k].name != NULL; k++) {
        c2_buf_printf(out, "%s%s=\"", k == 0 ? "{" : ",", labels[k].name);
        escaped(out, labels[k].value);
        c2_buf_puts(out, "\"");
    }
    c2_buf_puts(out, labels[0].name != NULL ? "} " : " ");
}

void
metrics_count(struct c2_buf *out, const char *name, const struct metrics_label labels[2],
              uint64_t value)
{
    name_and_labels(out, name, labels);
    c2_buf_printf(out, "%llu\n", (unsigned long long)value);
}

void
metrics_seconds(struct c2_buf *out, const char *name, const struct metrics_label labels[2],
                uint64_t ns)
{
    name_and_labels(out, name, labels);
    c2_buf_printf(out, "%llu.%09llu\n", (unsigned long long)(ns / C2_NS_PER_S),
                  (unsigned long long)(ns % C2_NS_PER_S));
}

/* ---- the volume ------------------------------------------------------------------------------ */

static void
one_count(struct c2_buf *out, const char *name, const char *kind, const char *help, uint64_t value)
{
    metrics_family(out, name, kind, help);
    metrics_count(out, name, no_labels, value);
}

static void
one_duration(struct c2_buf *out, const char *name, const char *help, uint64_t ns)
{
    metrics_family(out, name, "gauge", help);
    metrics_seconds(out, name, no_labels, ns);
}

static void
health(struct c2_buf *out, const struct ctl_status *s)
{
    const struct metrics_label info[2] = { { "volume", s->volume }, { "version", s->version } };
    uint64_t bad = 0;
    for (uint32_t k = 0; k < s->nproviders; k++)
        bad += ctl_provider_is_bad(&s->providers[k]);
    metrics_family(out, "c2fs_info", "gauge", "The volume and the version of the program.");
    metrics_count(out, "c2fs_info", info, 1);
    one_duration(out, "c2fs_uptime_seconds", "Age of the mount.", s->uptime_ns);
    one_count(out, "c2fs_degraded", "gauge",
              "1: a provider fails, something was lost, or the journal cannot be written.",
              bad > 0 || s->fenced || s->damaged_groups > 0 || s->lost_files > 0 ||
                  s->repair_objects > 0 || s->journal_error[0] != '\0');
    one_count(out, "c2fs_fenced", "gauge", "1: the session is lost, the mount is read-only.",
              s->fenced);
    one_count(out, "c2fs_providers_tolerated", "gauge", "How many providers may fail.", s->f);
}

static void
work(struct c2_buf *out, const struct ctl_status *s)
{
    one_count(out, "c2fs_journal_bytes", "gauge", "Used space of the journal.", s->journal_used);
    one_count(out, "c2fs_journal_max_bytes", "gauge", "Size of the journal.", s->journal_max);
    one_duration(out, "c2fs_journal_oldest_seconds",
                 "Age of the oldest change that is not in the clouds.", s->backlog_oldest_ns);
    one_count(out, "c2fs_backlog_files", "gauge", "Files that are not yet in the clouds.",
              s->backlog_files);
    one_count(out, "c2fs_backlog_bytes", "gauge", "Bytes that are not yet in the clouds.",
              s->backlog_bytes);
    one_count(out, "c2fs_journal_damaged_groups", "gauge",
              "Groups of changes that could not be read at the mount.", s->damaged_groups);
    one_count(out, "c2fs_write_buffer_bytes", "gauge", "Written data in memory.", s->write_buffer);
    one_count(out, "c2fs_objects_written_total", "counter", "Objects that were uploaded.",
              s->objects_written);
    one_count(out, "c2fs_object_bytes_total", "counter", "Their bytes, before coding.",
              s->object_bytes);
    one_count(out, "c2fs_stored_bytes_total", "counter", "Their bytes at all providers together.",
              s->stored_bytes);
    one_count(out, "c2fs_used_bytes", "gauge", "Bytes in the files of the volume.", s->used_bytes);
    one_count(out, "c2fs_used_files", "gauge", "Files of the volume.", s->used_files);
    one_count(out, "c2fs_cache_memory_bytes", "gauge", "The cache in memory.", s->cache_memory);
    one_count(out, "c2fs_cache_disk_bytes", "gauge", "The cache on disk.", s->cache_disk);
    one_count(out, "c2fs_groups_committed_total", "counter", "Transaction groups in the clouds.",
              s->txgs_committed);
    one_count(out, "c2fs_gc_waiting_bytes", "gauge",
              "Bytes at all providers that no file uses, not deleted yet.", s->gc_waiting_bytes);
    one_count(out, "c2fs_gc_waiting_objects", "gauge", "Their objects.", s->gc_waiting_objects);
    one_count(out, "c2fs_gc_deleted_bytes_total", "counter", "Bytes that were deleted.",
              s->gc_deleted_bytes);
    one_count(out, "c2fs_gc_deleted_objects_total", "counter", "Their objects.",
              s->gc_deleted_objects);
    one_count(out, "c2fs_gc_rounds_total", "counter", "Complete looks for what can be deleted.",
              s->gc_rounds);
    one_count(out, "c2fs_shares_missing", "gauge",
              "Shares that are known to be lost and are not rebuilt yet.", s->shares_missing);
    one_count(out, "c2fs_repair_objects", "gauge", "Objects that have lost shares.",
              s->repair_objects);
    one_count(out, "c2fs_repairs_total", "counter", "Shares that were rebuilt.", s->repairs_total);
    one_count(out, "c2fs_repairs_failed_total", "counter",
              "Objects that stayed below their goal when it was their turn.", s->repairs_failed);
    one_count(out, "c2fs_compact_bytes_total", "counter",
              "Bytes that were rewritten because they were in too many pieces.", s->compact_bytes);
    one_count(out, "c2fs_compact_files_total", "counter", "Their files.", s->compact_files);
    if (!s->ships)
        return;
    one_count(out, "c2fs_unshipped_transactions", "gauge",
              "Metadata transactions whose log is not in the clouds.", s->unshipped_txns);
    one_duration(out, "c2fs_unshipped_oldest_seconds", "Age of the oldest of them.",
                 s->unshipped_oldest_ns);
}

/* ---- the providers --------------------------------------------------------------------------- */

static void
provider_states(struct c2_buf *out, const struct ctl_status *s)
{
    metrics_family(out, "c2fs_provider_up", "gauge",
                   "1: it answers. It is asked when data goes there, and every 5 minutes.");
    for (uint32_t k = 0; k < s->nproviders; k++) {
        const struct ctl_provider *p = &s->providers[k];
        const struct metrics_label labels[2] = { { "provider", p->name } };
        metrics_count(out, "c2fs_provider_up", labels, strcmp(p->state, "unreachable") != 0);
    }
    metrics_family(out, "c2fs_provider_state", "gauge", "1: it is in this state.");
    for (uint32_t k = 0; k < s->nproviders; k++) {
        const struct ctl_provider *p = &s->providers[k];
        const struct metrics_label labels[2] = { { "provider", p->name }, { "state", p->state } };
        metrics_count(out, "c2fs_provider_state", labels, 1);
    }
}

static void
provider_latencies(struct c2_buf *out, const struct ctl_status *s)
{
    metrics_family(out, "c2fs_provider_seconds", "gauge",
                   "How long recent successful requests took.");
    for (uint32_t k = 0; k < s->nproviders; k++) {
        const struct ctl_provider *p = &s->providers[k];
        const struct metrics_label p50[2] = { { "provider", p->name }, { "quantile", "0.5" } };
        const struct metrics_label p99[2] = { { "provider", p->name }, { "quantile", "0.99" } };
        if (p->p99_ns == 0)
            continue; /* there was none */
        metrics_seconds(out, "c2fs_provider_seconds", p50, p->p50_ns);
        metrics_seconds(out, "c2fs_provider_seconds", p99, p->p99_ns);
    }
}

static void
provider_errors(struct c2_buf *out, const struct ctl_status *s)
{
    metrics_family(out, "c2fs_provider_errors_total", "counter",
                   "Requests that failed or came too late (request), shares that were not what "
                   "they should be (corrupt).");
    for (uint32_t k = 0; k < s->nproviders; k++) {
        const struct ctl_provider *p = &s->providers[k];
        const struct metrics_label request[2] = { { "provider", p->name }, { "class", "request" } };
        const struct metrics_label corrupt[2] = { { "provider", p->name }, { "class", "corrupt" } };
        metrics_count(out, "c2fs_provider_errors_total", request, p->errors);
        metrics_count(out, "c2fs_provider_errors_total", corrupt, p->corrupt);
    }
    metrics_family(out, "c2fs_hedges_total", "counter",
                   "How often another provider was asked because this one was late.");
    for (uint32_t k = 0; k < s->nproviders; k++) {
        const struct metrics_label labels[2] = { { "provider", s->providers[k].name } };
        metrics_count(out, "c2fs_hedges_total", labels, s->providers[k].hedges);
    }
    metrics_family(out, "c2fs_shares_missing_total", "counter",
                   "How often a share was not where it should be.");
    for (uint32_t k = 0; k < s->nproviders; k++) {
        const struct metrics_label labels[2] = { { "provider", s->providers[k].name } };
        metrics_count(out, "c2fs_shares_missing_total", labels, s->providers[k].absent);
    }
}

static void
provider_traffic(struct c2_buf *out, const struct ctl_status *s)
{
    metrics_family(out, "c2fs_requests_total", "counter",
                   "Requests sent, repetitions of failed ones included.");
    for (uint32_t k = 0; k < s->nproviders; k++) {
        const struct ctl_provider *p = &s->providers[k];
        for (unsigned verb = 0; verb < C2_MIN(PROV_VERB_COUNT, CTL_VERBS_MAX); verb++) {
            const struct metrics_label labels[2] = { { "provider", p->name },
                                                     { "verb", prov_verb_name(verb) } };
            metrics_count(out, "c2fs_requests_total", labels, p->requests[verb]);
        }
    }
    metrics_family(out, "c2fs_provider_bytes_total", "counter", "Bytes sent and received.");
    for (uint32_t k = 0; k < s->nproviders; k++) {
        const struct ctl_provider *p = &s->providers[k];
        const struct metrics_label up[2] = { { "provider", p->name }, { "direction", "up" } };
        const struct metrics_label down[2] = { { "provider", p->name }, { "direction", "down" } };
        metrics_count(out, "c2fs_provider_bytes_total", up, p->bytes_up);
        metrics_count(out, "c2fs_provider_bytes_total", down, p->bytes_down);
    }
}

void
metrics_status(struct c2_buf *out, const struct ctl_status *s)
{
    health(out, s);
    work(out, s);
    provider_states(out, s);
    provider_latencies(out, s);
    provider_errors(out, s);
    provider_traffic(out, s);
}
