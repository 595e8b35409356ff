/* SPDX-License-Identifier: MIT */
/*
 * scrub start, status, pause, resume, cancel, report, and repair: jobs of the mount that look for
 * damage and remove it.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "backends/provider.h"
#include "base/str.h"
#include "tools/job.h"
#include "tools/price.h"

#define PERMILLE    1000.0
#define PARAMS_MAX  64
#define COLUMNS_MAX 8

/* ---- numbers per provider -------------------------------------------------------------------- */

/* Counters "PROVIDER/NAME", as they come: those of a provider follow each other. */
struct numbers {
    const char *const *names; /* wanted, ends with NULL */
    struct cmd_table *table;  /* or */
    struct c2_json *json;
    char provider[CTL_NAME_MAX + 1]; /* of the row at hand */
    uint64_t value[COLUMNS_MAX];
    uint64_t objects, bytes; /* counters without a provider */
};

static void
end_row(struct numbers *n)
{
    char *cell[COLUMNS_MAX] = { NULL };
    if (n->provider[0] == '\0')
        return;
    if (n->json != NULL) {
        c2_json_object(n->json, NULL);
        c2_json_str(n->json, "name", n->provider);
    }
    for (unsigned k = 0; n->names[k] != NULL; k++) {
        char size[C2_SIZE_TEXT_MAX];
        if (n->json != NULL)
            c2_json_u64(n->json, n->names[k], n->value[k]);
        else if (strcmp(n->names[k], "bytes") == 0)
            cell[k] = c2_strdup(c2_size_format(n->value[k], size));
        else
            cell[k] = c2_asprintf("%llu", (unsigned long long)n->value[k]);
    }
    if (n->json != NULL)
        c2_json_object_end(n->json);
    else
        cmd_table_add(n->table, n->provider, cell[0], cell[1], cell[2], cell[3], cell[4], cell[5],
                      cell[6]);
    for (unsigned k = 0; k < COLUMNS_MAX; k++)
        c2_free(cell[k]);
    n->provider[0] = '\0';
    memset(n->value, 0, sizeof(n->value));
}

static void
take(void *arg, const char *name, uint64_t value)
{
    struct numbers *n = arg;
    const char *slash = strrchr(name, '/');
    if (slash == NULL) {
        if (strcmp(name, "objects") == 0)
            n->objects = value;
        else if (strcmp(name, "bytes") == 0)
            n->bytes = value;
        return;
    }
    size_t len = C2_MIN((size_t)(slash - name), (size_t)CTL_NAME_MAX);
    if (strncmp(n->provider, name, len) != 0 || n->provider[len] != '\0') {
        end_row(n);
        memcpy(n->provider, name, len);
        n->provider[len] = '\0';
    }
    for (unsigned k = 0; n->names[k] != NULL; k++)
        if (strcmp(n->names[k], slash + 1) == 0)
            n->value[k] = value;
}

static int
fail(const struct cmd_ctx *x, enum c2_err err, const char *what, char *error)
{
    int code = cmd_fail(x, err, what, x->volume, error != NULL ? error : c2_err_text(err), NULL);
    c2_free(error);
    return code;
}

/* ---- start ----------------------------------------------------------------------------------- */

/* PROVIDER/shares and PROVIDER/bytes of everything; and their sums. */
struct estimate {
    struct price_account account; /* gets and down: of everything */
    uint64_t objects, bytes;
};

static void
take_estimate(void *arg, const char *name, uint64_t value)
{
    struct estimate *e = arg;
    const char *slash = strrchr(name, '/');
    if (slash == NULL) {
        if (strcmp(name, "objects") == 0)
            e->objects = value;
        else if (strcmp(name, "bytes") == 0)
            e->bytes = value;
        return;
    }
    struct price_line *l = price_line_of(&e->account, name, (size_t)(slash - name));
    if (l != NULL && strcmp(slash + 1, "bytes") == 0)
        l->down = value;
    else if (l != NULL && strcmp(slash + 1, "shares") == 0)
        l->gets = value;
}

/* Of what is everything: what is read of it, and one LIST for a thousand keys. */
static void
reduce(struct estimate *e, unsigned permille)
{
    for (size_t k = 0; k < e->account.n; k++) {
        struct price_line *l = &e->account.line[k];
        l->puts = l->gets / PROV_LIST_MAX + 1;
        l->gets = (uint64_t)((double)l->gets * permille / PERMILLE + 0.5);
        l->down = (uint64_t)((double)l->down * permille / PERMILLE + 0.5);
    }
    e->objects = (uint64_t)((double)e->objects * permille / PERMILLE + 0.5);
    e->bytes = (uint64_t)((double)e->bytes * permille / PERMILLE + 0.5);
}

static void
estimate_text(const struct cmd_ctx *x, const struct estimate *e, double sum)
{
    struct cmd_table t = { .ncolumns = 5,
                           .headers = { "PROVIDER", ">LIST", ">GET", ">TO READ", ">COST" } };
    char size[C2_SIZE_TEXT_MAX], text[PRICE_TEXT_MAX];
    for (size_t k = 0; k < e->account.n; k++) {
        const struct price_line *l = &e->account.line[k];
        char *lists = c2_asprintf("%llu", (unsigned long long)l->puts);
        char *gets = c2_asprintf("%llu", (unsigned long long)l->gets);
        char *cost = c2_asprintf("%.4f", l->cost);
        cmd_table_add(&t, l->provider, lists, gets, c2_size_format(l->down, size), cost);
        c2_free(lists);
        c2_free(gets);
        c2_free(cost);
    }
    cmd_table_print(&t, "");
    (void)printf("%llu objects, %s to read, cost: %s\n", (unsigned long long)e->objects,
                 c2_size_format(e->bytes, size), price_text(x, &e->account, sum, text));
}

static void
estimate_json(const struct estimate *e, double sum)
{
    struct c2_buf out = { 0 };
    struct c2_json j;
    cmd_json_begin(&j, &out, "c2fs.scrub_estimate/1");
    c2_json_array(&j, "providers");
    for (size_t k = 0; k < e->account.n; k++) {
        const struct price_line *l = &e->account.line[k];
        c2_json_object(&j, NULL);
        c2_json_str(&j, "name", l->provider);
        c2_json_u64(&j, "shares", l->gets);
        c2_json_u64(&j, "bytes", l->down);
        c2_json_u64(&j, "list_requests", l->puts);
        c2_json_u64(&j, "get_requests", l->gets);
        c2_json_u64(&j, "cost_micro", price_micro(l->cost));
        c2_json_object_end(&j);
    }
    c2_json_array_end(&j);
    c2_json_u64(&j, "objects", e->objects);
    c2_json_u64(&j, "bytes", e->bytes);
    c2_json_u64(&j, "cost_micro", price_micro(sum));
    cmd_json_print(&j, &out);
}

/* What it would take, before much is read: requests, bytes, money. */
static int
show_estimate(const struct cmd_ctx *x, unsigned permille)
{
    const struct ctl_request q = { .verb = CTL_SCRUB_ESTIMATE };
    struct c2_buf body = { 0 };
    struct estimate *e = c2_calloc(1, sizeof(*e));
    char *error = NULL;
    enum c2_err err = job_request(x, &q, &body, &error);
    if (err == C2_E_OK)
        err = ctl_counters_decode(c2_buf_slice(&body), take_estimate, e);
    int code = CTL_EXIT_OK;
    reduce(e, permille);
    double sum = price_sum(x, &e->account);
    if (err != C2_E_OK)
        code = fail(x, err, "scrub start", error);
    else if (x->json)
        estimate_json(e, sum);
    else
        estimate_text(x, e, sum);
    c2_buf_done(&body);
    c2_free(e);
    return code;
}

/* "5" or "0.1" or "5%" -> permille; false when it is no share of the whole. */
static bool
parse_percent(const char *text, unsigned *ret_permille)
{
    char *end;
    double percent = strtod(text, &end);
    if (*end == '%')
        end++;
    if (end == text || *end != '\0' || !(percent >= 0.1) || percent > 100)
        return false;
    *ret_permille = (unsigned)(percent * PERMILLE / 100 + 0.5);
    return true;
}

static int
run_start(struct cmd_ctx *x, int argc, char **argv)
{
    static const struct option longs[] = {
        { "sample", required_argument, NULL, 's' }, { "data", no_argument, NULL, 'd' },
        { "exists", no_argument, NULL, 'e' },       { "limit", required_argument, NULL, 'l' },
        { "detach", no_argument, NULL, 'D' },       { NULL, 0, NULL, 0 },
    };
    const struct cmd *c = cmd_find("scrub start");
    char params[PARAMS_MAX] = "mode=exists";
    struct job_start s = { .what = "scrub start", .kind = "scrub", .params = params };
    unsigned permille = 0;
    int flag;
    optind = 1;
    while ((flag = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (flag) {
        case 's':
            if (!parse_percent(optarg, &permille))
                return cmd_usage(x, c, "--sample takes a percentage from 0.1 to 100");
            (void)snprintf(params, sizeof(params), "mode=sample permille=%u", permille);
            break;
        case 'd':
            (void)snprintf(params, sizeof(params), "mode=data");
            permille = 1000;
            break;
        case 'e':
            (void)snprintf(params, sizeof(params), "mode=exists");
            permille = 0;
            break;
        case 'l':
            if (c2_size_parse(optarg, &s.rate_limit) != C2_E_OK)
                return cmd_usage(x, c, "--limit takes bytes per second, like 10M");
            break;
        case 'D':
            s.detach = true;
            break;
        default:
            return cmd_usage(x, c, "unknown option");
        }
    }
    if (optind != argc)
        return cmd_usage(x, c, "takes no arguments");
    int code = CTL_EXIT_OK;
    if (x->dry_run || (permille > 0 && !x->json)) /* programs ask with --dry-run */
        code = show_estimate(x, permille);
    return x->dry_run || code != CTL_EXIT_OK ? code : job_run(x, &s);
}

/* ---- the rest -------------------------------------------------------------------------------- */

static int
run_status(struct cmd_ctx *x, int argc, char **argv)
{
    (void)argv;
    if (argc != 1)
        return cmd_usage(x, cmd_find("scrub status"), "takes no arguments");
    return job_list(x, "scrub status", "scrub");
}

static int
control(struct cmd_ctx *x, int argc, char **argv)
{
    char what[32];
    (void)snprintf(what, sizeof(what), "scrub %s", argv[0]);
    if (argc != 1)
        return cmd_usage(x, cmd_find(what), "takes no arguments");
    return job_control(x, what, "scrub", argv[0], 0);
}

static int
run_report(struct cmd_ctx *x, int argc, char **argv)
{
    static const char *const names[] = { "expected",  "present", "missing",       "corrupt",
                                         "unreached", "extra",   "orphan_shares", NULL };
    const struct ctl_request q = { .verb = CTL_SCRUB_REPORT, .text = c2_slice_str("scrub") };
    struct cmd_table table = { .ncolumns = 8,
                               .headers = { "PROVIDER", ">EXPECTED", ">PRESENT", ">MISSING",
                                            ">CORRUPT", ">UNREACHED", ">EXTRA", ">ORPHANS" } };
    struct c2_buf body = { 0 }, out = { 0 };
    struct c2_json j;
    struct numbers n = { .names = names, .table = &table, .json = x->json ? &j : NULL };
    struct ctl_job *job = c2_calloc(1, sizeof(*job));
    char *error = NULL, line[JOB_LINE_MAX];
    (void)argv;
    if (argc != 1) {
        c2_free(job);
        return cmd_usage(x, cmd_find("scrub report"), "takes no arguments");
    }
    enum c2_err err = job_request(x, &q, &body, &error);
    if (err == C2_E_OK)
        err = job_get(x, "scrub", job, &error);
    if (err == C2_E_OK && x->json) {
        cmd_json_begin(&j, &out, "c2fs.scrub_report/1");
        c2_json_array(&j, "providers");
    }
    if (err == C2_E_OK)
        err = ctl_counters_decode(c2_buf_slice(&body), take, &n);
    c2_buf_done(&body);
    if (err != C2_E_OK) {
        c2_free(job);
        c2_buf_done(&out);
        return fail(x, err, "scrub report", error);
    }
    end_row(&n);
    if (x->json) {
        c2_json_array_end(&j);
        c2_json_object(&j, "job");
        job_json_fields(&j, job);
        c2_json_object_end(&j);
        cmd_json_print(&j, &out);
    } else {
        cmd_table_print(&table, "");
        job_line(job, line);
        (void)printf("%s\n", line);
    }
    int code = job->errors > 0 ? CTL_EXIT_DEGRADED : CTL_EXIT_OK;
    c2_free(job);
    return code;
}

static int
run_repair(struct cmd_ctx *x, int argc, char **argv)
{
    static const struct option longs[] = {
        { "limit", required_argument, NULL, 'l' },
        { "detach", no_argument, NULL, 'D' },
        { NULL, 0, NULL, 0 },
    };
    const struct cmd *c = cmd_find("repair");
    struct job_start s = { .what = "repair", .kind = "repair", .params = "" };
    int flag;
    optind = 1;
    while ((flag = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (flag == 'D')
            s.detach = true;
        else if (flag != 'l')
            return cmd_usage(x, c, "unknown option");
        else if (c2_size_parse(optarg, &s.rate_limit) != C2_E_OK)
            return cmd_usage(x, c, "--limit takes bytes per second, like 10M");
    }
    if (optind != argc)
        return cmd_usage(x, c, "takes no arguments");
    return job_run(x, &s);
}

const struct cmd cmds_scrub[] = {
    { "scrub start", "[--sample PERCENT|--data|--exists] [--limit RATE] [--detach]",
      "compare what the clouds have with what they should have",
      "--exists (the default) compares lists with the records: missing shares, objects that\n"
      "no record names; and how many providers have each piece of the metadata log. --sample\n"
      "also reads and verifies every byte of that part of the objects, --data of all of them;\n"
      "Both say first what that takes (requests, bytes, cost); c2fsctl --dry-run scrub start\n"
      "says only that. Damage is told to repair. Exit code 6: objects are below their goal.\n",
      "--sample --data --exists --limit --detach", CMD_NEEDS_VOLUME, run_start },
    { "scrub status", "", "how far the scrub is, or how the last one ended", "", "",
      CMD_NEEDS_VOLUME, run_status },
    { "scrub pause", "", "interrupt the scrub until it is resumed", "", "", CMD_NEEDS_VOLUME,
      control },
    { "scrub resume", "", "let a paused scrub go on", "", "", CMD_NEEDS_VOLUME, control },
    { "scrub cancel", "", "end the scrub", "", "", CMD_NEEDS_VOLUME, control },
    { "scrub report", "", "what the last scrub found, per provider",
      "EXPECTED: shares that the records name. MISSING and CORRUPT ones can be repaired.\n"
      "UNREACHED: the provider did not answer. EXTRA: copies beyond the goal. ORPHANS: shares\n"
      "of objects that no record names.\n",
      "", CMD_NEEDS_VOLUME, run_report },
    { "repair", "[--limit RATE] [--detach]", "rebuild lost shares now",
      "Looks for missing shares, rebuilds what is lost, most endangered objects first, and\n"
      "looks again: it has succeeded when that finds every object at its goal. Corrupt shares\n"
      "are known from reads and scrubs. Exit code 6: objects are still below their goal.\n",
      "--limit --detach", CMD_NEEDS_VOLUME, run_repair },
    { NULL, NULL, NULL, NULL, NULL, CMD_NEEDS_NOTHING, NULL },
};
