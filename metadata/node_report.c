/* SPDX-License-Identifier: MIT */
/*
 * What a replica says about itself: to its metrics socket, and to clients that ask for its status.
 */
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mark.h"
#include "metadata/node_int.h"

#define CLOCK_TOLD_NS (600 * C2_NS_PER_S) /* from one warning to the next */

static const char *const mode_names[] = {
    [BFT_BOOTING] = "booting",         [BFT_RUNNING] = "running", [BFT_SYNCING] = "syncing",
    [BFT_QUARANTINED] = "quarantined", [BFT_REMOVED] = "removed", [BFT_HALTED] = "halted",
};

void
node_info(const struct node *n, struct node_info *ret_info)
{
    struct node_info i = { .started = n->started, .log_damaged = n->log_damaged };
    bft_info(n->core, &i.bft);
    i.clients = n->nclients;
    i.requests = n->requests;
    i.dropped = n->unsent;
    i.caught = n->caught;
    i.turned_away = n->turned_away;
    i.rests = n->rests;
    i.clock_wrong = bft_clock_is_wrong(n->core, &i.clock_ahead_ns);
    i.checks = n->patrol.walks;
    i.checked_keys = n->patrol.keys;
    i.alarms = n->alarms;
    memcpy(i.alarm, n->alarm, sizeof i.alarm);
    for (unsigned s = 0; s < MSG_REPLICAS_MAX; s++) {
        const struct c2_net_link *l = n->peers[s].net;
        i.peers_up += l != NULL && l->up;
        i.dropped += l != NULL ? l->dropped : 0;
    }
    C2_LIST_FOREACH (&n->conn_list, struct node_conn, c, link)
        i.watches += c->watching ? c->nprefixes : 0;
    if (n->wal != NULL) {
        i.disk_full = wal_waits_for_space(n->wal);
        i.log_bytes = wal_bytes(n->wal);
        i.log_groups = wal_groups(n->wal);
    }
    *ret_info = i;
}

void
node_look_at_clock(struct node *n)
{
    int64_t ahead_ns = 0;
    uint64_t now_ns = c2_now_ns(n->env);
    bool wrong = bft_clock_is_wrong(n->core, &ahead_ns);
    long long ahead_ms = (long long)ahead_ns / (long long)C2_NS_PER_MS;
    if (wrong && (n->clock_told_ns == 0 || now_ns >= n->clock_told_ns + CLOCK_TOLD_NS)) {
        C2_MARK("node: the clock is wrong");
        n->clock_told = true;
        n->clock_told_ns = now_ns;
        c2_log(WARN, "node",
               "ahead_ms=%lld may_ms=%llu this machine's clock is not that of the others: set it "
               "right (NTP); a replica whose clock is ahead does not vote",
               ahead_ms,
               (unsigned long long)(bft_current_config(n->core)->clock_skew_ns / C2_NS_PER_MS));
    } else if (!wrong && n->clock_told) {
        n->clock_told = false;
        c2_log(INFO, "node", "ahead_ms=%lld this machine's clock is right again", ahead_ms);
    }
}

struct metric {
    const char *name;
    const char *help;
    bool counter;
    uint64_t value;
};

static void
put_metric(struct c2_buf *out, const struct metric *m)
{
    c2_buf_printf(out, "# HELP c2fs_metad_%s %s\n# TYPE c2fs_metad_%s %s\nc2fs_metad_%s %llu\n",
                  m->name, m->help, m->name, m->counter ? "counter" : "gauge", m->name,
                  (unsigned long long)m->value);
}

void
node_metrics(const struct node *n, struct c2_buf *out)
{
    struct node_info i;
    node_info(n, &i);
    const struct bft_info *b = &i.bft;
    const struct bft_counters *c = &b->count;
    const struct metric metrics[] = {
        { "up", "1 when the replica takes part.", false, b->mode == BFT_RUNNING },
        { "quarantined", "1 while it must not vote.", false, b->mode == BFT_QUARANTINED },
        { "former", "1 when it is not a member any more.", false, b->former },
        { "primary", "1 when it is the primary.", false, b->seat == b->primary },
        { "epoch", "Version of the configuration.", false, b->epoch },
        { "view", "Current view.", false, b->view },
        { "executed", "Last executed batch.", false, b->executed },
        { "stable", "Last stable checkpoint.", false, b->stable },
        { "time_seconds", "Agreed time.", false, b->time_ns / C2_NS_PER_S },
        { "peers", "Replicas that it can send to.", false, i.peers_up },
        { "clients", "Connections of clients.", false, i.clients },
        { "watches", "Prefixes that clients watch.", false, i.watches },
        { "sessions", "Open sessions.", false, b->sessions },
        { "requests_pending", "Requests that are not executed.", false, b->requests },
        { "requests_pending_bytes", "Bytes of them.", false, b->requests_bytes },
        { "bodies_bytes", "Bytes of batches in memory.", false, b->bodies_bytes },
        { "log_bytes", "Bytes of the write-ahead log.", false, i.log_bytes },
        { "disk_full", "1 while the log waits for space.", false, i.disk_full },
        { "clock_wrong", "1 while its clock is too far from the agreed time.", false,
          i.clock_wrong },
        { "log_groups_total", "Groups made durable.", true, i.log_groups },
        { "batches_total", "Executed batches.", true, c->executed_batches },
        { "requests_total", "Executed requests.", true, c->executed_requests },
        { "duplicates_total", "Requests that were repeated.", true, c->duplicates },
        { "fast_reads_total", "Reads that were not ordered.", true, c->fast_reads },
        { "fast_reads_refused_total", "Reads that came too early.", true, c->fast_reads_refused },
        { "proposed_total", "Batches proposed.", true, c->proposed },
        { "view_changes_total", "Views left.", true, c->view_changes },
        { "wishes_total", "Complaints about a primary.", true, c->wishes },
        { "checkpoints_total", "Checkpoints made.", true, c->checkpoints },
        { "syncs_total", "State transfers.", true, c->syncs },
        { "signatures_made_total", "Signatures made.", true, c->sig_made },
        { "signatures_checked_total", "Signatures checked.", true, c->sig_checked },
        { "signatures_bad_total", "Signatures that were wrong.", true, c->sig_bad },
        { "refused_total", "Messages that were malformed, forged or too many.", true, c->dropped },
        { "clients_caught_total", "Clients that had sent what no honest one sends.", true,
          i.caught },
        { "clients_turned_away_total", "Times that such a client came back too soon.", true,
          i.turned_away },
        { "clients_rested_total", "Times that a client had had its share.", true, i.rests },
        { "lost_total", "Messages that did not leave.", true, i.dropped },
        { "store_checks_total", "Checks of the whole store.", true, i.checks },
        { "store_checked_keys_total", "Keys that were checked.", true, i.checked_keys },
        { "alarms_total", "Alarms.", true, i.alarms },
    };
    for (size_t k = 0; k < C2_ARRAY_LEN(metrics); k++)
        put_metric(out, &metrics[k]);
    c2_buf_printf(out,
                  "# HELP c2fs_metad_clock_ahead_seconds Its clock is ahead of the last proposal's "
                  "time.\n# TYPE c2fs_metad_clock_ahead_seconds gauge\n"
                  "c2fs_metad_clock_ahead_seconds %.3f\n",
                  (double)i.clock_ahead_ns / (double)C2_NS_PER_S);
}

void
node_status(const struct node *n, struct c2_buf *out)
{
    struct node_info i;
    struct c2_json j;
    node_info(n, &i);
    const struct bft_info *b = &i.bft;
    c2_json_init(&j, out);
    c2_json_object(&j, NULL);
    c2_json_u64(&j, "replica", n->id);
    c2_json_str(&j, "mode", mode_names[b->mode]);
    c2_json_u64(&j, "epoch", b->epoch);
    c2_json_u64(&j, "view", b->view);
    c2_json_bool(&j, "leaving", b->leaving);
    c2_json_bool(&j, "primary", b->seat == b->primary);
    c2_json_u64(&j, "executed", b->executed);
    c2_json_u64(&j, "stable", b->stable);
    c2_json_u64(&j, "time_ns", b->time_ns);
    c2_json_u64(&j, "peers", i.peers_up);
    c2_json_u64(&j, "clients", i.clients);
    c2_json_u64(&j, "sessions", b->sessions);
    c2_json_u64(&j, "requests", b->count.executed_requests);
    c2_json_u64(&j, "fast_reads", b->count.fast_reads);
    c2_json_u64(&j, "view_changes", b->count.view_changes);
    c2_json_u64(&j, "syncs", b->count.syncs);
    c2_json_u64(&j, "log_bytes", i.log_bytes);
    c2_json_bool(&j, "log_damaged", i.log_damaged);
    c2_json_bool(&j, "disk_full", i.disk_full);
    c2_json_bool(&j, "clock_wrong", i.clock_wrong);
    c2_json_i64(&j, "clock_ahead_ms", i.clock_ahead_ns / (int64_t)C2_NS_PER_MS);
    c2_json_u64(&j, "store_checks", i.checks);
    c2_json_u64(&j, "alarms", i.alarms);
    c2_json_str(&j, "alarm", i.alarms == 0 ? NULL : i.alarm);
    c2_json_object_end(&j);
}
