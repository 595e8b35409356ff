/* SPDX-License-Identifier: MIT */
/*
 * meta checkpoint: replicas make one at certain numbers of batches, so it makes batches.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "metadata/cluster.h"
#include "tools/meta.h"

#define BATCHES_MAX    4096 /* more than a window and a checkpoint interval */
#define QUARANTINE_MAX 1024 /* more than two windows */
#define ASK_EVERY      16   /* batches between two looks at the replicas */
#define ASK_NS         (500 * C2_NS_PER_MS)

struct look {
    struct service s;
    struct cluster_info info;
    uint64_t executed[CLUSTER_REPLICAS_MAX], stable[CLUSTER_REPLICAS_MAX];
    bool have[CLUSTER_REPLICAS_MAX], waits[CLUSTER_REPLICAS_MAX]; /* without a vote */
    unsigned answers;
    bool over;
    struct c2_timer timer;
};

static uint64_t
number_of(const char *json, const char *key)
{
    C2_AUTO(c2_free_auto) char *text = meta_field(json, key);
    uint64_t number = 0;
    return c2_u64_parse(c2_slice_str(text), UINT64_MAX, &number) == C2_E_OK ? number : 0;
}

static void
told(void *arg, unsigned seat, struct c2_slice json)
{
    struct look *l = arg;
    if (seat >= l->info.n || l->have[seat])
        return;
    C2_AUTO(c2_free_auto) char *text = c2_strndup((const char *)json.data, json.len);
    l->executed[seat] = number_of(text, "executed");
    l->stable[seat] = number_of(text, "stable");
    C2_AUTO(c2_free_auto) char *mode = meta_field(text, "mode");
    l->waits[seat] = strcmp(mode, "quarantined") == 0;
    l->have[seat] = true;
    l->over = l->over || ++l->answers == l->info.n;
}

static void
look_over(struct c2_timer *t)
{
    C2_CONTAINER_OF(t, struct look, timer)->over = true;
}

static void
look_at_all(struct look *l)
{
    memset(l->have, 0, sizeof l->have);
    l->answers = 0;
    l->over = false;
    cluster_ask(l->s.coord, told, l);
    c2_timer_arm(l->s.env, &l->timer, c2_now_ns(l->s.env) + ASK_NS);
    c2_os_run_until(l->s.os, &l->over);
    c2_timer_stop(l->s.env, &l->timer);
}

/* The highest number that so many replicas have reached. */
static uint64_t
reached_by(const struct look *l, const uint64_t *numbers, unsigned count)
{
    uint64_t best = 0;
    for (unsigned i = 0; i < l->info.n; i++) {
        unsigned as_high = 0;
        for (unsigned k = 0; k < l->info.n; k++)
            as_high += l->have[k] && numbers[k] >= numbers[i];
        if (l->have[i] && as_high >= count)
            best = C2_MAX(best, numbers[i]);
    }
    return best;
}

/* Nobody that we can do something for; what a liar says is believed for so many batches. */
static bool
nobody_waits(const struct look *l, unsigned batches)
{
    bool waits = false;
    for (unsigned i = 0; i < l->info.n; i++)
        waits = waits || (l->have[i] && l->waits[i]);
    return !waits || batches >= QUARANTINE_MAX;
}

static int
make_checkpoint(struct look *l, uint64_t *ret_stable)
{
    int code = meta_connect(&l->s, &l->info);
    if (code != CTL_EXIT_OK)
        return code;
    look_at_all(l);
    uint64_t wanted = reached_by(l, l->executed, l->info.f + 1);
    for (unsigned i = 0; i < BATCHES_MAX; i++) {
        *ret_stable = reached_by(l, l->stable, l->info.n - l->info.f);
        if (wanted > 0 && *ret_stable >= wanted && nobody_waits(l, i))
            return CTL_EXIT_OK;
        enum c2_err err = meta_push(&l->s);
        if (err != C2_E_OK)
            return service_fail(&l->s, err, l->s.url);
        if (i % ASK_EVERY == ASK_EVERY - 1)
            look_at_all(l);
        if (wanted == 0)
            wanted = reached_by(l, l->executed, l->info.f + 1);
    }
    return cmd_fail(l->s.x, C2_E_TIMEOUT, l->s.what, l->s.url,
                    "too few replicas have made a checkpoint",
                    "c2fsctl meta status shows the replicas");
}

static int
run_checkpoint(struct cmd_ctx *x, int argc, char **argv)
{
    struct look l = { .timer = { .fire = look_over } };
    uint64_t stable = 0;
    struct service_words w;
    int code = service_parse(x, "meta checkpoint", argc, argv, "takes the name of one service", &w);
    if (code == CTL_EXIT_OK)
        code = service_open(x, "meta checkpoint", w.service, &l.s);
    if (code != CTL_EXIT_OK)
        return code;
    code = make_checkpoint(&l, &stable);
    if (code == CTL_EXIT_OK && x->json) {
        struct c2_buf out = { 0 };
        struct c2_json j;
        cmd_json_begin(&j, &out, "c2fs.meta-checkpoint/1");
        c2_json_u64(&j, "stable", stable);
        cmd_json_print(&j, &out);
    } else if (code == CTL_EXIT_OK) {
        (void)printf("the state after batch %llu is on the disks of %u replicas\n",
                     (unsigned long long)stable, l.info.n - l.info.f);
    }
    service_close(&l.s);
    return code;
}

const struct cmd cmds_meta_checkpoint[] = {
    { .name = "meta checkpoint",
      .args = "[[-s] SERVICE]",
      .summary = "have the replicas write their state to disk now",
      .help =
          "Returns when all but f have on disk what was done before the command. Replicas do\n"
          "it by themselves all the time; then their logs are short, and they start fast. One in\n"
          "quarantine has its vote again when it returns.\n",
      .options = "-s",
      .needs = CMD_NEEDS_CONF,
      .run = run_checkpoint },
    { .name = NULL },
};
