/* SPDX-License-Identifier: MIT */
/*
 * provider add, plan, replace, drain, remove, offline, online, set-credentials: who holds the data
 * of a mounted volume.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/env.h"
#include "base/str.h"
#include "tools/conf_edit.h"
#include "tools/job.h"
#include "tools/price.h"
#include "tools/request.h"

#define SEATS_MAX 8
#define OTHER     "other/" /* counters: who else holds data */
#define PARALLEL  8        /* requests that a walk has under way, as fs/seat_walk.c */

/* ---- asking the mount ------------------------------------------------------------------------ */

/* OK, or an error with a text that may hold a hint (c2_free). */
static enum c2_err
ask(const struct cmd_ctx *x, const struct ctl_request *q, struct c2_buf *ret_body, char **ret_error)
{
    return cmd_request(x, q, "providers are changed while it is mounted", ret_body, ret_error);
}

static int
done(const struct cmd_ctx *x, const char *what, const char *name, const char *text)
{
    struct c2_buf out = { 0 };
    struct c2_json j;
    if (!x->json) {
        (void)printf("%s: %s\n", name, text);
        return CTL_EXIT_OK;
    }
    cmd_json_begin(&j, &out, "c2fs.provider_change/1");
    c2_json_str(&j, "command", what);
    c2_json_str(&j, "provider", name);
    cmd_json_print(&j, &out);
    return CTL_EXIT_OK;
}

static int
change(const struct cmd_ctx *x, const char *what, const char *action, const char *name,
       const char *text)
{
    char *error = NULL;
    const struct ctl_request q = { .verb = CTL_PROVIDER_CHANGE,
                                   .text = c2_slice_str(action),
                                   .text2 = c2_slice_str(name) };
    enum c2_err err = ask(x, &q, NULL, &error);
    int code =
        err == C2_E_OK ? done(x, what, name, text) : cmd_fail(x, err, what, name, error, NULL);
    c2_free(error);
    return code;
}

/* ---- plan ------------------------------------------------------------------------------------ */

struct plan {
    const char *action; /* "replace" "drain" "remove" */
    const char *name, *other;
    uint64_t limit; /* bytes per second, 0 = none */
    uint64_t objects, bytes, answers, latency_ns, faults;
    char others[SEATS_MAX][CTL_NAME_MAX + 1]; /* who else holds data */
    size_t nothers;
    bool cheaper; /* f+1 of them together than the old provider */
};

static void
take(void *arg, const char *name, uint64_t value)
{
    struct plan *p = arg;
    if (strcmp(name, "objects") == 0)
        p->objects = value;
    else if (strcmp(name, "bytes") == 0)
        p->bytes = value;
    else if (strcmp(name, "answers") == 0)
        p->answers = value;
    else if (strcmp(name, "latency_ns") == 0)
        p->latency_ns = value;
    else if (strcmp(name, "faults") == 0)
        p->faults = value;
    else if (strncmp(name, OTHER, strlen(OTHER)) == 0 && p->nothers < SEATS_MAX)
        (void)snprintf(p->others[p->nothers++], sizeof(p->others[0]), "%s", name + strlen(OTHER));
}

/* The old provider is asked for its own shares; as the rebuild decides it. */
static bool
copies(const struct plan *p)
{
    return p->other != NULL && p->answers != 0 && !p->cheaper;
}

static void
compare_prices(const struct cmd_ctx *x, struct plan *p)
{
    const char *others[SEATS_MAX], *old = p->name;
    uint64_t share = p->objects == 0 ? 0 : p->bytes / p->objects;
    for (size_t k = 0; k < p->nothers; k++)
        others[k] = p->others[k];
    double gather = price_cheapest_read(x, others, p->nothers, p->faults + 1, share);
    p->cheaper = gather >= 0 && gather < price_cheapest_read(x, &old, 1, 1, share);
}

/* How many bytes are read for one that is written. */
static uint64_t
reads(const struct plan *p)
{
    return copies(p) ? 1 : p->faults + 1;
}

/* Each share is one PUT, and its header and its body are read from who has it, or those of f+1
 * others; the new provider is listed, 1,000 keys at a time, at least twice. */
static uint64_t
gets(const struct plan *p)
{
    return p->objects * 2 * reads(p);
}

static uint64_t
lists(const struct plan *p)
{
    return strcmp(p->action, "replace") == 0 ? 2 * (p->objects / 1000 + 1) : 0;
}

/* Latency and limit give a lower bound; what the line gives shows when it runs. */
static uint64_t
least_ns(const struct plan *p)
{
    uint64_t requests = p->objects + gets(p);
    uint64_t waiting = requests * p->latency_ns / PARALLEL;
    uint64_t limited = p->limit == 0 ? 0 : (uint64_t)((double)p->bytes * 1e9 / (double)p->limit);
    return C2_MAX(waiting, limited);
}

/* Among several that may be asked the dearest: it costs at most that. */
static double
cost(const struct cmd_ctx *x, const struct plan *p, struct price_account *a)
{
    const char *others[SEATS_MAX];
    for (size_t k = 0; k < p->nothers; k++)
        others[k] = p->others[k];
    const char *to = p->other, *from = p->name, *egress = p->name;
    if (to == NULL)
        to = price_dearest(x, others, p->nothers, "price_put");
    if (!copies(p)) {
        from = price_dearest(x, others, p->nothers, "price_get");
        egress = price_dearest(x, others, p->nothers, "price_egress");
    }
    struct price_line *l = to != NULL ? price_line_of(a, to, strlen(to)) : NULL;
    if (l != NULL)
        l->puts = p->objects + lists(p);
    l = from != NULL ? price_line_of(a, from, strlen(from)) : NULL;
    if (l != NULL)
        l->gets = gets(p);
    l = egress != NULL ? price_line_of(a, egress, strlen(egress)) : NULL;
    if (l != NULL)
        l->down = p->bytes * reads(p);
    return price_sum(x, a);
}

static void
print_plan(const struct cmd_ctx *x, const struct plan *p)
{
    char bytes[C2_SIZE_TEXT_MAX], time[C2_SIZE_TEXT_MAX], text[PRICE_TEXT_MAX];
    struct price_account *a = c2_calloc(1, sizeof(*a));
    double sum = cost(x, p, a);
    if (p->other != NULL)
        (void)printf("%s: %s by %s\n", p->action, p->name, p->other);
    else
        (void)printf("%s: %s\n", p->action, p->name);
    (void)printf("   moves: %llu shares, %s to upload\n", (unsigned long long)p->objects,
                 c2_size_format(p->bytes, bytes));
    (void)printf("  source: %s\n",
                 copies(p) ? "copied from the provider that leaves, each one verified"
                 : p->other != NULL && p->answers != 0
                     ? "rebuilt from the shares of other providers, which are cheaper to read"
                     : "rebuilt from the shares of the other providers");
    (void)printf("requests: about %llu PUT, %llu GET, %llu LIST\n", (unsigned long long)p->objects,
                 (unsigned long long)gets(p), (unsigned long long)lists(p));
    (void)printf("  egress: %s read\n", c2_size_format(p->bytes * reads(p), bytes));
    const char *price = price_text(x, a, sum, text);
    (void)printf("    cost: %s%s\n", price[0] == 'n' ? "" : "at most ", price);
    (void)printf("    time: at least %s, and as long as the line takes for the upload\n",
                 c2_duration_format(C2_MAX(least_ns(p), C2_NS_PER_S), time));
    (void)printf("meanwhile files can be read and written.\n");
    c2_free(a);
}

static void
plan_json(const struct cmd_ctx *x, const struct plan *p)
{
    struct c2_buf out = { 0 };
    struct c2_json j;
    struct price_account *a = c2_calloc(1, sizeof(*a));
    cmd_json_begin(&j, &out, "c2fs.provider_plan/1");
    c2_json_str(&j, "volume", x->volume);
    c2_json_str(&j, "action", p->action);
    c2_json_str(&j, "provider", p->name);
    c2_json_str(&j, "by", p->other);
    c2_json_u64(&j, "shares", p->objects);
    c2_json_u64(&j, "upload_bytes", p->bytes);
    c2_json_u64(&j, "put_requests", p->objects);
    c2_json_u64(&j, "get_requests", gets(p));
    c2_json_u64(&j, "list_requests", lists(p));
    c2_json_u64(&j, "egress_bytes", p->bytes * reads(p));
    c2_json_u64(&j, "cost_micro", price_micro(cost(x, p, a)));
    c2_json_u64(&j, "least_ns", least_ns(p));
    c2_json_bool(&j, "old_answers", p->answers != 0);
    c2_json_bool(&j, "copied", copies(p));
    cmd_json_print(&j, &out);
    c2_free(a);
}

/* Asks the mount and shows the answer; an exit code. */
static int
show_plan(const struct cmd_ctx *x, const char *what, struct plan *p, bool quiet)
{
    struct c2_buf body = { 0 };
    char *error = NULL;
    char *names = p->other != NULL ? c2_asprintf("%s %s", p->name, p->other) : c2_strdup(p->name);
    const struct ctl_request q = { .verb = CTL_PROVIDER_PLAN,
                                   .text = c2_slice_str(p->action),
                                   .text2 = c2_slice_str(names) };
    enum c2_err err = ask(x, &q, &body, &error);
    if (err == C2_E_OK)
        err = ctl_counters_decode(c2_buf_slice(&body), take, p);
    compare_prices(x, p);
    int code = CTL_EXIT_OK;
    if (err != C2_E_OK)
        code = cmd_fail(x, err, what, p->name, error, NULL);
    else if (x->json && !quiet)
        plan_json(x, p);
    else if (!quiet)
        print_plan(x, p);
    c2_buf_done(&body);
    c2_free(names);
    c2_free(error);
    return code;
}

/* Programs and --yes are not asked. */
static bool
confirmed(const struct cmd_ctx *x)
{
    char line[16];
    if (x->yes || !isatty(STDIN_FILENO))
        return true;
    (void)printf("Go on? [y/N] ");
    (void)fflush(stdout);
    return fgets(line, sizeof(line), stdin) != NULL && (line[0] == 'y' || line[0] == 'Y');
}

struct options {
    uint64_t limit;
    bool detach;
};

/* NULL, or what is wrong. */
static const char *
parse(struct cmd_ctx *x, int argc, char **argv, int names, struct options *o)
{
    static const struct option longs[] = { { "limit", required_argument, NULL, 'l' },
                                           { "detach", no_argument, NULL, 'd' },
                                           { "yes", no_argument, NULL, 'y' },
                                           { "dry-run", no_argument, NULL, 'n' },
                                           { NULL, 0, NULL, 0 } };
    int flag;
    *o = (struct options){ 0 };
    optind = 0; /* getopt starts anew */
    while ((flag = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (flag == 'd')
            o->detach = true;
        else if (flag == 'y')
            x->yes = true;
        else if (flag == 'n')
            x->dry_run = true;
        else if (flag != 'l')
            return "unknown option";
        else if (c2_size_parse(optarg, &o->limit) != C2_E_OK)
            return "--limit takes bytes per second, like 10M";
    }
    if (argc - optind == names)
        return NULL;
    return names == 2 ? "give the old and the new provider" : "give a provider";
}

/* Plan, question, job. */
static int
move_data(const struct cmd_ctx *x, const char *what, const struct options *o, struct plan *p,
          char *params)
{
    p->limit = o->limit;
    int code = show_plan(x, what, p, x->json && !x->dry_run);
    if (code == CTL_EXIT_OK && !x->dry_run) {
        const struct job_start s = { .what = what,
                                     .kind = p->other != NULL ? "replace" : "drain",
                                     .params = params,
                                     .rate_limit = o->limit,
                                     .detach = o->detach,
                                     .joins = true };
        if (confirmed(x))
            code = job_run(x, &s);
        else
            code = cmd_fail(x, C2_E_CANCELED, what, p->name, "nothing was changed", NULL);
    }
    c2_free(params);
    return code;
}

/* ---- commands -------------------------------------------------------------------------------- */

static int
run_plan(struct cmd_ctx *x, int argc, char **argv)
{
    const struct cmd *c = cmd_find("provider plan");
    bool replace = argc == 4 && strcmp(argv[1], "replace") == 0;
    bool one = argc == 3 && (strcmp(argv[1], "drain") == 0 || strcmp(argv[1], "remove") == 0);
    if (!replace && !one)
        return cmd_usage(x, c, "what shall be planned?");
    struct plan p = { .action = argv[1], .name = argv[2], .other = replace ? argv[3] : NULL };
    return show_plan(x, "provider plan", &p, false);
}

static int
run_replace(struct cmd_ctx *x, int argc, char **argv)
{
    struct options o;
    const char *wrong = parse(x, argc, argv, 2, &o);
    if (wrong != NULL)
        return cmd_usage(x, cmd_find("provider replace"), wrong);
    struct plan p = { .action = "replace", .name = argv[optind], .other = argv[optind + 1] };
    return move_data(x, "provider replace", &o, &p, c2_asprintf("old=%s new=%s", p.name, p.other));
}

static int
run_drain(struct cmd_ctx *x, int argc, char **argv)
{
    struct options o;
    const char *wrong = parse(x, argc, argv, 1, &o);
    if (wrong != NULL)
        return cmd_usage(x, cmd_find("provider drain"), wrong);
    struct plan p = { .action = "drain", .name = argv[optind] };
    return move_data(x, "provider drain", &o, &p, c2_asprintf("name=%s", p.name));
}

static int
run_remove(struct cmd_ctx *x, int argc, char **argv)
{
    struct options o;
    const char *wrong = parse(x, argc, argv, 1, &o);
    if (wrong != NULL)
        return cmd_usage(x, cmd_find("provider remove"), wrong);
    struct plan p = { .action = "remove", .name = argv[optind] };
    return move_data(x, "provider remove", &o, &p, c2_asprintf("name=%s remove=yes", p.name));
}

static int
run_offline(struct cmd_ctx *x, int argc, char **argv)
{
    if (argc != 2)
        return cmd_usage(x, cmd_find("provider offline"), "give a provider");
    return change(x, "provider offline", "offline", argv[1],
                  "offline; it is asked for nothing until c2fsctl provider online");
}

static int
run_online(struct cmd_ctx *x, int argc, char **argv)
{
    if (argc != 2)
        return cmd_usage(x, cmd_find("provider online"), "give a provider");
    return change(x, "provider online", "online", argv[1], "online");
}

static int
run_add(struct cmd_ctx *x, int argc, char **argv)
{
    const struct cmd *c = cmd_find("provider add");
    struct conf_edit edit = { 0 };
    char *error = NULL;
    if (argc < 2)
        return cmd_usage(x, c, "give a name and a url");
    const char *name = argv[1];
    bool known = c2_conf_has_section(x->conf, "provider", name);
    if (!known && argc < 3)
        return cmd_fail(x, C2_E_CONFIG, c->name, name,
                        "the configuration has no such [provider] section",
                        "give its url as well, like s3://BUCKET or dir:/PATH, and further keys as "
                        "KEY=VALUE");
    if (known && argc > 2 && strcmp(argv[2], c2_conf_str(x->conf, "provider", name, "url")) != 0)
        return cmd_fail(x, C2_E_EXISTS, c->name, name,
                        "the configuration has a section of that name with another url",
                        "c2fsctl provider show tells what is configured");
    enum c2_err err = C2_E_OK;
    if (!known)
        err =
            conf_edit_add(&edit, x, name, (const char *const *)argv + 2, (size_t)argc - 2, &error);
    if (err != C2_E_OK) {
        int code = cmd_fail(x, err, c->name, name, error, NULL);
        c2_free(error);
        return code;
    }
    if (x->dry_run) {
        conf_edit_undo(&edit);
        return done(x, c->name, name, "could be added");
    }
    int code = change(x, c->name, "add", name, "added, it gets its part of what is written now on");
    if (code != CTL_EXIT_OK)
        conf_edit_undo(&edit);
    else
        conf_edit_done(&edit);
    return code;
}

static int
run_set_credentials(struct cmd_ctx *x, int argc, char **argv)
{
    const struct cmd *c = cmd_find("provider set-credentials");
    static const struct option longs[] = { { "stdin", no_argument, NULL, 's' },
                                           { NULL, 0, NULL, 0 } };
    bool from_stdin = false;
    char *error = NULL;
    int flag;
    optind = 0; /* getopt starts anew */
    while ((flag = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (flag != 's')
            return cmd_usage(x, c, "unknown option");
        from_stdin = true;
    }
    if (argc - optind != 1)
        return cmd_usage(x, c, "give a provider");
    const char *name = argv[optind];
    enum c2_err err = from_stdin ? conf_edit_credentials(x, name, &error) : C2_E_OK;
    if (err != C2_E_OK) {
        int code = cmd_fail(x, err, c->name, name, error, NULL);
        c2_free(error);
        return code;
    }
    return change(x, c->name, "reopen", name, "the mount uses the credentials as they are now");
}

const struct cmd cmds_seats[] = {
    { "provider add", "NAME [URL [KEY=VALUE ...]]", "one more provider for a mounted volume",
      "Puts it into a spare seat; new data goes to the best ones of all. Without a [provider]\n"
      "section of that name one is written: to the file of -C, else to conf.d/NAME.conf.\n"
      "Credentials belong into the credentials file before.\n",
      "", CMD_NEEDS_VOLUME, run_add },
    { "provider plan", "replace OLD NEW | drain NAME | remove NAME",
      "what a change would move, without doing it",
      "Shares, bytes, requests, egress, cost by the prices in the configuration, least time; or\n"
      "the refusal that the change would meet.\n",
      "", CMD_NEEDS_VOLUME, run_plan },
    { "provider replace", "OLD NEW [--limit RATE] [--detach]",
      "put another provider into the place of one, while the volume is used",
      "Shows the plan and asks (--yes: does not ask; --dry-run: only the plan). NEW needs a\n"
      "[provider] section. From now on it gets what is written; what OLD has is copied, or "
      "rebuilt\n"
      "from the others when OLD cannot give it, and OLD is not asked any more at the end. May be\n"
      "interrupted anywhere: the job goes on with the mount; the same command shows it again.\n"
      "After job cancel replace it goes on with that, too; NEW and OLD exchanged take it back.\n"
      "  --limit RATE  bytes per second to move, like 10M\n"
      "  --detach      do not wait for the end\n",
      "--limit --detach", CMD_NEEDS_VOLUME, run_replace },
    { "provider drain", "NAME [--limit RATE] [--detach]", "move everything off a provider",
      "It gets nothing new, and what it has is moved to the others. Needs more providers than\n"
      "3f+1 to leave the volume at its goal when it is removed.\n",
      "--limit --detach", CMD_NEEDS_VOLUME, run_drain },
    { "provider remove", "NAME [--limit RATE] [--detach]", "drain a provider and give its seat up",
      "Refused (exit code 11) when too few providers would be left.\n", "--limit --detach",
      CMD_NEEDS_VOLUME, run_remove },
    { "provider offline", "NAME", "do not ask a provider for anything",
      "Until provider online, after remounts too. Refused (exit code 11) when data could not be\n"
      "read then.\n",
      "", CMD_NEEDS_VOLUME, run_offline },
    { "provider online", "NAME", "use a provider again",
      "After offline, or to end a drain. It is tested first.\n", "", CMD_NEEDS_VOLUME, run_online },
    { "provider set-credentials", "NAME [--stdin]", "use new access keys without a remount",
      "The mount reads the credentials again and tests the provider with them.\n"
      "  --stdin  first puts two lines of standard input, the access key id and the secret, into\n"
      "           the credentials file\n",
      "--stdin", CMD_NEEDS_VOLUME, run_set_credentials },
    { NULL, NULL, NULL, NULL, NULL, CMD_NEEDS_NOTHING, NULL },
};
