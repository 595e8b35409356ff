/* SPDX-License-Identifier: MIT */
/*
 * cost: what this machine's requests of a month cost, by the prices in the configuration; and what
 * reading everything for a scrub would. And provider evidence.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os_env.h"
#include "base/str.h"
#include "base/wire.h"
#include "fs/usage.h"
#include "tools/job.h"
#include "tools/price.h"

#define MONTH_LEN 7u

struct bill {
    char month[MONTH_LEN + 1];
    struct price_account account;
};

/* MONTH/PROVIDER/NAME */
static void
take_usage(void *arg, const char *name, uint64_t value)
{
    struct bill *b = arg;
    const char *provider = strchr(name, '/'), *what = strrchr(name, '/');
    if (provider == NULL || provider == what || (size_t)(provider - name) != MONTH_LEN ||
        strncmp(name, b->month, MONTH_LEN) != 0)
        return;
    struct price_line *l = price_line_of(&b->account, provider + 1, (size_t)(what - provider - 1));
    what++;
    if (l == NULL)
        return;
    if (strcmp(what, "put") == 0 || strcmp(what, "list") == 0)
        l->puts += value;
    else if (strcmp(what, "get") == 0 || strcmp(what, "head") == 0)
        l->gets += value;
    else if (strcmp(what, "delete") == 0 || strcmp(what, "delete_many") == 0)
        l->deletes += value;
    else if (strcmp(what, "up") == 0)
        l->up += value;
    else if (strcmp(what, "down") == 0)
        l->down += value;
}

/* PROVIDER/shares and PROVIDER/bytes of everything that is stored now. */
struct stored {
    struct price_account *account;
    bool as_scrub; /* what reading it once takes */
};

static void
take_stored(void *arg, const char *name, uint64_t value)
{
    struct stored *s = arg;
    const char *what = strrchr(name, '/');
    if (what == NULL)
        return;
    struct price_line *l = price_line_of(s->account, name, (size_t)(what - name));
    if (l == NULL)
        return;
    if (strcmp(what + 1, "bytes") == 0 && s->as_scrub)
        l->down += value;
    else if (strcmp(what + 1, "bytes") == 0)
        l->stored += value;
    else if (s->as_scrub)
        l->gets += value;
}

static void
print_text(const struct cmd_ctx *x, const struct bill *b, double sum)
{
    char text[PRICE_TEXT_MAX];
    const struct price_account *a = &b->account;
    struct cmd_table t = { .ncolumns = 8,
                           .headers = { "PROVIDER", ">PUT+LIST", ">GET+HEAD", ">DELETE", ">SENT",
                                        ">READ", ">STORED", ">COST" } };
    for (size_t k = 0; k < a->n; k++) {
        const struct price_line *l = &a->line[k];
        char up[C2_SIZE_TEXT_MAX], down[C2_SIZE_TEXT_MAX], stored[C2_SIZE_TEXT_MAX];
        char *puts = c2_asprintf("%llu", (unsigned long long)l->puts);
        char *gets = c2_asprintf("%llu", (unsigned long long)l->gets);
        char *deletes = c2_asprintf("%llu", (unsigned long long)l->deletes);
        char *cost = c2_asprintf("%.4f", l->cost);
        cmd_table_add(&t, l->provider, puts, gets, deletes, c2_size_format(l->up, up),
                      c2_size_format(l->down, down), c2_size_format(l->stored, stored), cost);
        c2_free(puts);
        c2_free(gets);
        c2_free(deletes);
        c2_free(cost);
    }
    cmd_table_print(&t, "");
    (void)printf("%s: %s\n", b->month, price_text(x, a, sum, text));
}

static void
print_json(const struct bill *b, double sum)
{
    const struct price_account *a = &b->account;
    struct c2_buf out = { 0 };
    struct c2_json j;
    cmd_json_begin(&j, &out, "c2fs.cost/1");
    c2_json_str(&j, "month", b->month);
    c2_json_array(&j, "providers");
    for (size_t k = 0; k < a->n; k++) {
        const struct price_line *l = &a->line[k];
        c2_json_object(&j, NULL);
        c2_json_str(&j, "name", l->provider);
        c2_json_u64(&j, "puts_lists", l->puts);
        c2_json_u64(&j, "gets_heads", l->gets);
        c2_json_u64(&j, "deletes", l->deletes);
        c2_json_u64(&j, "bytes_up", l->up);
        c2_json_u64(&j, "bytes_down", l->down);
        c2_json_u64(&j, "bytes_stored", l->stored);
        c2_json_u64(&j, "cost_micro", price_micro(l->cost));
        c2_json_object_end(&j);
    }
    c2_json_array_end(&j);
    c2_json_u64(&j, "cost_micro", price_micro(sum));
    cmd_json_print(&j, &out);
}

static enum c2_err
get(const struct cmd_ctx *x, enum ctl_verb verb,
    void (*fn)(void *arg, const char *name, uint64_t value), void *arg, char **ret_error)
{
    const struct ctl_request q = { .verb = verb };
    struct c2_buf body = { 0 };
    enum c2_err err = job_request(x, &q, &body, ret_error);
    if (err == C2_E_OK)
        err = ctl_counters_decode(c2_buf_slice(&body), fn, arg);
    c2_buf_done(&body);
    return err;
}

/* "2026-11" */
static bool
is_month(const char *text)
{
    for (unsigned k = 0; k < MONTH_LEN; k++)
        if (k == 4 ? text[k] != '-' : text[k] < '0' || text[k] > '9')
            return false;
    unsigned month = (unsigned)(text[5] - '0') * 10 + (unsigned)(text[6] - '0');
    return month >= 1 && month <= 12;
}

static int
run_cost(struct cmd_ctx *x, int argc, char **argv)
{
    static const struct option longs[] = { { "scrub", no_argument, NULL, 's' },
                                           { NULL, 0, NULL, 0 } };
    const struct cmd *c = cmd_find("cost");
    struct bill *b = c2_calloc(1, sizeof(*b));
    struct stored s = { .account = &b->account };
    char now[C2_SIZE_TEXT_MAX], *error = NULL;
    int flag, code = CTL_EXIT_OK;
    optind = 1;
    while ((flag = getopt_long(argc, argv, "", longs, NULL)) == 's')
        s.as_scrub = true;
    c2_time_format(c2_os_wall_ns(), now);
    const char *month = optind < argc ? argv[optind] : now;
    if (flag != -1 || argc > optind + 1 || (s.as_scrub && optind < argc) ||
        strnlen(month, MONTH_LEN) < MONTH_LEN || !is_month(month) ||
        (month != now && month[MONTH_LEN] != '\0')) {
        c2_free(b);
        return cmd_usage(x, c, "give a month like 2026-11, or --scrub");
    }
    memcpy(b->month, s.as_scrub ? "a scrub" : month, MONTH_LEN);
    enum c2_err err = C2_E_OK;
    if (!s.as_scrub)
        err = get(x, CTL_USAGE, take_usage, b, &error);
    if (err == C2_E_OK && (s.as_scrub || strncmp(month, now, MONTH_LEN) == 0))
        err = get(x, CTL_SCRUB_ESTIMATE, take_stored, &s, &error);
    double sum = price_sum(x, &b->account);
    if (err != C2_E_OK)
        code = cmd_fail(x, err, "cost", x->volume, error != NULL ? error : c2_err_text(err), NULL);
    else if (x->json)
        print_json(b, sum);
    else
        print_text(x, b, sum);
    c2_free(error);
    c2_free(b);
    return code;
}

/* ---- evidence -------------------------------------------------------------------------------- */

static void
hex(const uint8_t bytes[DS_ROOT_LEN], char out[2 * DS_ROOT_LEN + 1])
{
    c2_hex_encode(bytes, DS_ROOT_LEN, out);
}

static void
print_proof(const struct ds_evidence *e, struct c2_json *j)
{
    char expected[2 * DS_ROOT_LEN + 1], found[2 * DS_ROOT_LEN + 1], when[C2_SIZE_TEXT_MAX];
    hex(e->expected, expected);
    hex(e->found, found);
    c2_time_format(e->wall_ns, when);
    if (j == NULL) {
        (void)printf("%s  %s  %s\n    %llu times, the last %s\n    expected root   %s\n"
                     "    found sha256    %s (%llu bytes)\n",
                     e->provider, e->key, "gave something else", (unsigned long long)e->count, when,
                     expected, found, (unsigned long long)e->len);
        return;
    }
    c2_json_object(j, NULL);
    c2_json_str(j, "provider", e->provider);
    c2_json_u64(j, "seat", e->seat);
    c2_json_str(j, "key", e->key);
    c2_json_str(j, "expected_root", expected);
    c2_json_str(j, "found_sha256", found);
    c2_json_u64(j, "found_bytes", e->len);
    c2_json_u64(j, "count", e->count);
    c2_json_u64(j, "last_wall_ns", e->wall_ns);
    c2_json_object_end(j);
}

static int
run_evidence(struct cmd_ctx *x, int argc, char **argv)
{
    const struct ctl_request q = { .verb = CTL_EVIDENCE };
    struct c2_buf body = { 0 }, out = { 0 };
    struct c2_json j;
    char *error = NULL;
    unsigned shown = 0;
    if (argc > 2)
        return cmd_usage(x, cmd_find("provider evidence"), "give one provider, or none for all");
    enum c2_err err = job_request(x, &q, &body, &error);
    if (err != C2_E_OK) {
        int code = cmd_fail(x, err, "provider evidence", x->volume,
                            error != NULL ? error : c2_err_text(err), NULL);
        c2_free(error);
        return code;
    }
    if (x->json) {
        cmd_json_begin(&j, &out, "c2fs.evidence/1");
        c2_json_array(&j, "evidence");
    }
    struct c2_rd r = c2_rd_init(c2_buf_slice(&body));
    while (c2_rd_ok(&r) && c2_rd_left(&r) > 0) {
        struct ds_evidence e;
        usage_proof_decode(&r, &e);
        if (!c2_rd_ok(&r) || (argc == 2 && strcmp(e.provider, argv[1]) != 0))
            continue;
        print_proof(&e, x->json ? &j : NULL);
        shown++;
    }
    c2_buf_done(&body);
    if (x->json) {
        c2_json_array_end(&j);
        cmd_json_print(&j, &out);
    } else if (shown == 0) {
        (void)printf("none: no provider gave anything but what was stored there\n");
    }
    return CTL_EXIT_OK;
}

const struct cmd cmds_cost[] = {
    { "cost", "[MONTH|--scrub]", "what the providers charge for this month",
      "Requests and bytes that this machine caused, by the prices in the configuration\n"
      "(price_put and others), and for the current month what is stored now, for a month.\n"
      "--scrub: what reading everything once would cost.\n",
      "--scrub", CMD_NEEDS_VOLUME, run_cost },
    { "provider evidence", "[NAME]", "what providers gave that was not stored there",
      "The latest 64 cases, of earlier mounts as well: which object, the root that it has, the\n"
      "hash of (the first 64 KiB of) what came instead, how often and when.\n",
      "", CMD_NEEDS_VOLUME, run_evidence },
    { NULL, NULL, NULL, NULL, NULL, CMD_NEEDS_NOTHING, NULL },
};
