/* SPDX-License-Identifier: MIT */
/*
 * What the daemon tells those who ask for metrics: the status that c2fsctl gets, and counters.
 */
#include "base/alloc.h"
#include "base/conf.h"
#include "base/log.h"
#include "fs/metrics_text.h"
#include "fs/wire_up_impl.h"

static void
add_op(void *arg, const char *op, uint64_t count)
{
    const struct metrics_label labels[2] = { { "op", op } };
    metrics_count(arg, "c2fs_fuse_ops_total", labels, count);
}

static void
add_counters(struct wire *w, struct c2_buf *out)
{
    const struct metrics_label no_labels[2] = { 0 };
    const struct metrics_label memory[2] = { { "from", "memory" } };
    const struct metrics_label disk[2] = { { "from", "disk" } };
    struct cache_stats c;
    cache_stats(w->cache, &c);
    metrics_family(out, "c2fs_meta_commits_total", "counter", "Metadata transactions.");
    metrics_count(out, "c2fs_meta_commits_total", no_labels, w->volume->coord->txns);
    metrics_family(out, "c2fs_meta_reads_total", "counter", "Reads of the metadata store.");
    metrics_count(out, "c2fs_meta_reads_total", no_labels, w->volume->coord->reads);
    metrics_family(out, "c2fs_cache_hits_total", "counter", "Blocks that the cache had.");
    metrics_count(out, "c2fs_cache_hits_total", memory, c.hits_memory);
    metrics_count(out, "c2fs_cache_hits_total", disk, c.hits_disk);
    metrics_family(out, "c2fs_cache_misses_total", "counter", "Blocks that it did not have.");
    metrics_count(out, "c2fs_cache_misses_total", no_labels, c.misses);
    metrics_family(out, "c2fs_fuse_ops_total", "counter", "Requests of the kernel.");
    mount_fuse_counts(w->mount, add_op, out);
}

static void
collect(void *arg, struct c2_buf *out)
{
    struct wire *w = arg;
    struct ctl_status *s = c2_calloc(1, sizeof(*s));
    wire_ctl_status(w, s);
    metrics_status(out, s);
    c2_free(s);
    add_counters(w, out);
}

C2_RESULT
wire_metrics_start(struct wire *w, char **ret_error)
{
    const char *address = c2_conf_str(w->conf, "volume", w->volume_name, "metrics");
    if (address[0] == '\0')
        return C2_E_OK;
    C2_TRY(c2_os_metrics_open(w->os, address, collect, w, &w->metrics, ret_error));
    c2_log(INFO, "metrics", "address=\"%s\" serving /metrics", address);
    return C2_E_OK;
}
