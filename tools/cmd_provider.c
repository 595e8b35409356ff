/* SPDX-License-Identifier: MIT */
/*
 * provider list, show, test, fault.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/registry.h"
#include "base/alloc.h"
#include "base/os_loop.h"
#include "base/str.h"
#include "tools/cmd.h"
#include "tools/ctl_client.h"
#include "tools/outside.h"
#include "tools/provider_full.h"
#include "tools/status.h"

static int
no_such_provider(const struct cmd_ctx *x, const char *what, const char *name)
{
    const char *names[CTL_PROVIDERS_MAX];
    size_t n = outside_providers(x, names);
    const char *near = c2_nearest(name, names, n);
    char *hint = near != NULL ? c2_asprintf("did you mean '%s'?", near) : NULL;
    int code = cmd_fail(x, C2_E_NOT_FOUND, what, name, "no such [provider] section", hint);
    c2_free(hint);
    return code;
}

/* ---- list and show --------------------------------------------------------------------------- */

static int
run_list(struct cmd_ctx *x, int argc, char **argv)
{
    (void)argv;
    if (argc != 1)
        return cmd_usage(x, cmd_find("provider list"), "takes no arguments");
    struct ctl_status *s = c2_calloc(1, sizeof(*s));
    char *error = NULL;
    bool mounted;
    enum c2_err err = status_get(x, x->volume, s, &mounted, &error);
    int code = CTL_EXIT_OK;
    if (err != C2_E_OK) {
        code = cmd_fail(x, err, "provider list", x->volume, error, NULL);
    } else if (x->json) {
        struct c2_buf out = { 0 };
        struct c2_json j;
        cmd_json_begin(&j, &out, "c2fs.providers/1");
        c2_json_str(&j, "volume", x->volume);
        status_providers_json(&j, s);
        cmd_json_print(&j, &out);
    } else {
        status_providers_table(s, "");
    }
    c2_free(error);
    c2_free(s);
    return code;
}

static int
run_show(struct cmd_ctx *x, int argc, char **argv)
{
    if (argc != 2)
        return cmd_usage(x, cmd_find("provider show"), "give one provider");
    const char *name = argv[1];
    if (!c2_conf_has_section(x->conf, "provider", name))
        return no_such_provider(x, "provider show", name);
    struct c2_buf out = { 0 };
    struct c2_json j;
    if (x->json) {
        cmd_json_begin(&j, &out, "c2fs.provider/1");
        c2_json_str(&j, "name", name);
    }
    for (size_t k = 0; k < c2_conf_keys_count; k++) {
        const struct c2_conf_key *key = &c2_conf_keys[k];
        if (strcmp(key->section, "provider") != 0)
            continue;
        const char *value = c2_conf_str(x->conf, "provider", name, key->name);
        bool set = c2_conf_is_set(x->conf, "provider", name, key->name);
        if (x->json)
            c2_json_str(&j, key->name, value);
        else if (value != NULL && value[0] != '\0')
            (void)printf("%-16s %s%s\n", key->name, value, set ? "" : "  (default)");
    }
    if (x->json)
        cmd_json_print(&j, &out);
    return CTL_EXIT_OK;
}

/* ---- test ------------------------------------------------------------------------------------ */

struct test {
    struct prov_probe probe;
    struct provider *p;
    bool done;
    bool full; /* it ran: the short one passed, and --full was given */
    struct provider_full long_one;
    enum c2_err err;
};

static void
probed(struct prov_probe *p)
{
    C2_CONTAINER_OF(p, struct test, probe)->done = true;
}

static double
mib_per_s(uint64_t ns)
{
    return ns == 0 ? 0.0 : (double)FULL_SPEED_BYTES / (1 << 20) / ((double)ns / 1e9);
}

static void
print_checks(const struct prov_probe_check *checks, unsigned n)
{
    for (unsigned k = 0; k < n; k++) {
        const struct prov_probe_check *c = &checks[k];
        const char *word = !c->ran ? "skipped" : c->err == C2_E_OK ? "ok" : "FAILED";
        if (c->ran && c->err != C2_E_OK && !c->required)
            word = "no";
        (void)printf("  %-8s %s%s%s\n", word, c->title, c->detail[0] != '\0' ? ": " : "",
                     c->detail);
    }
}

static void
print_latency(const char *what, const struct full_latency *l)
{
    char p50[C2_SIZE_TEXT_MAX], p95[C2_SIZE_TEXT_MAX];
    (void)printf("  latency  %s 4 KiB: p50 %s, p95 %s of %u\n", what,
                 c2_duration_format(l->p50_ns, p50), c2_duration_format(l->p95_ns, p95), l->n);
}

static void
print_test(const char *name, const struct test *t)
{
    char put[C2_SIZE_TEXT_MAX], get[C2_SIZE_TEXT_MAX], skew[C2_SIZE_TEXT_MAX];
    const struct prov_probe *p = &t->probe;
    const struct provider_full *f = &t->long_one;
    (void)printf("%s: %s\n", name, t->err == C2_E_OK ? "usable" : "NOT USABLE");
    print_checks(p->checks, PROV_CHECK_COUNT);
    if (t->full)
        print_checks(f->line, FULL_COUNT);
    if (t->full && p->clock_known)
        (void)printf("  clock    the cloud's is %s%s ours\n",
                     c2_duration_format((uint64_t)llabs(p->clock_skew_ns), skew),
                     p->clock_skew_ns >= 0 ? " ahead of" : " behind");
    if (!t->full) {
        (void)printf("  latency  write %s, read %s\n", c2_duration_format(p->latency_put_ns, put),
                     c2_duration_format(p->latency_get_ns, get));
        return;
    }
    print_latency("write", &f->put);
    print_latency("read", &f->get);
    (void)printf("  speed    8 MiB up %.1f MiB/s, down %.1f MiB/s\n", mib_per_s(f->put_8mib_ns),
                 mib_per_s(f->get_8mib_ns));
}

static void
checks_json(struct c2_json *j, const struct prov_probe_check *checks, unsigned n)
{
    for (unsigned k = 0; k < n; k++) {
        const struct prov_probe_check *c = &checks[k];
        c2_json_object(j, NULL);
        c2_json_str(j, "name", c->name);
        c2_json_bool(j, "required", c->required);
        c2_json_bool(j, "ran", c->ran);
        c2_json_str(j, "error", c->ran && c->err != C2_E_OK ? c2_err_name(c->err) : NULL);
        c2_json_str(j, "detail", c->detail[0] != '\0' ? c->detail : NULL);
        c2_json_object_end(j);
    }
}

static void
test_json(struct c2_json *j, const char *name, const struct test *t)
{
    const struct prov_probe *p = &t->probe;
    const struct provider_full *f = &t->long_one;
    c2_json_object(j, NULL);
    c2_json_str(j, "name", name);
    c2_json_bool(j, "usable", t->err == C2_E_OK);
    c2_json_array(j, "checks");
    checks_json(j, p->checks, PROV_CHECK_COUNT);
    if (t->full)
        checks_json(j, f->line, FULL_COUNT);
    c2_json_array_end(j);
    c2_json_u64(j, "latency_put_ns", p->latency_put_ns);
    c2_json_u64(j, "latency_get_ns", p->latency_get_ns);
    if (p->clock_known)
        c2_json_i64(j, "clock_skew_ns", p->clock_skew_ns);
    if (t->full) {
        c2_json_str(j, "tls", f->tls[0] != '\0' ? f->tls : NULL);
        c2_json_u64(j, "put_4kib_p50_ns", f->put.p50_ns);
        c2_json_u64(j, "put_4kib_p95_ns", f->put.p95_ns);
        c2_json_u64(j, "get_4kib_p50_ns", f->get.p50_ns);
        c2_json_u64(j, "get_4kib_p95_ns", f->get.p95_ns);
        c2_json_u64(j, "put_8mib_ns", f->put_8mib_ns);
        c2_json_u64(j, "get_8mib_ns", f->get_8mib_ns);
    }
    c2_json_object_end(j);
}

/* Of the first check without which a provider cannot be used. */
static const char *
first_failure(const struct prov_probe_check *checks, unsigned n)
{
    for (unsigned k = 0; k < n; k++) {
        if (checks[k].required && checks[k].ran && checks[k].err != C2_E_OK)
            return checks[k].detail;
    }
    return NULL;
}

static void
report_failure(const struct cmd_ctx *x, const char *name, const struct test *t)
{
    const char *detail = first_failure(t->probe.checks, PROV_CHECK_COUNT);
    if (detail == NULL && t->full)
        detail = first_failure(t->long_one.line, FULL_COUNT);
    const char *hint = c2_err_class(t->err) == C2_CLASS_RETRY
                           ? "check address and network, then try again"
                           : "check bucket, region and access keys of its section";
    if (t->probe.err == C2_E_OK)
        hint = "the lines above tell what it does not do; use another provider";
    (void)cmd_fail(x, t->err, "provider test", name, detail, hint);
}

static enum c2_err
test_one(const struct cmd_ctx *x, struct c2_os *os, const char *name, bool full, struct c2_json *j)
{
    struct test *t = c2_calloc(1, sizeof(*t));
    char *error = NULL;
    enum c2_err err = prov_open(c2_os_env(os), os, x->conf, name, &t->p, &error);
    if (err != C2_E_OK) {
        (void)cmd_fail(x, err, "provider test", name, error,
                       "c2fsctl provider show tells what is configured");
        c2_free(error);
        c2_free(t);
        return err;
    }
    t->probe = (struct prov_probe){ .provider = t->p,
                                    .key_prefix = PROV_PROBE_PREFIX,
                                    .deadline_ns = c2_now_ns(c2_os_env(os)) + PROV_PROBE_NS,
                                    .done = probed };
    prov_probe_start(&t->probe);
    c2_os_run_until(os, &t->done);
    t->err = t->probe.err;
    t->full = full && t->err == C2_E_OK;
    if (t->full)
        t->err = provider_full_run(os, x->conf, name, t->p, &t->long_one);
    err = t->err;
    if (x->json)
        test_json(j, name, t);
    else
        print_test(name, t);
    if (err != C2_E_OK)
        report_failure(x, name, t);
    prov_close(t->p);
    c2_free(t);
    return err;
}

static int
test_all(const struct cmd_ctx *x, const char *const *names, size_t n, bool full)
{
    struct c2_os *os;
    struct c2_buf out = { 0 };
    struct c2_json j;
    if (c2_os_new(1, &os) != C2_E_OK)
        return cmd_fail(x, C2_E_IO, "provider test", NULL, "cannot start", NULL);
    cmd_json_begin(&j, &out, "c2fs.provider_test/1");
    c2_json_array(&j, "providers");
    enum c2_err first = C2_E_OK;
    for (size_t k = 0; k < n; k++) {
        enum c2_err err = test_one(x, os, names[k], full, &j);
        first = first == C2_E_OK ? err : first;
    }
    c2_json_array_end(&j);
    if (x->json)
        cmd_json_print(&j, &out);
    c2_buf_done(&out);
    c2_os_drain(os);
    c2_os_free(os);
    return (int)ctl_exit_code(first);
}

static int
run_test(struct cmd_ctx *x, int argc, char **argv)
{
    static const struct option longs[] = { { "full", no_argument, NULL, 'f' },
                                           { NULL, 0, NULL, 0 } };
    const struct cmd *c = cmd_find("provider test");
    const char *names[CTL_PROVIDERS_MAX];
    bool full = false;
    int flag;
    optind = 0; /* getopt starts anew */
    while ((flag = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (flag != 'f')
            return cmd_usage(x, c, "unknown option");
        full = true;
    }
    size_t n = (size_t)(argc - optind);
    if (n == 0)
        return test_all(x, names, outside_providers(x, names), full);
    if (n > CTL_PROVIDERS_MAX)
        return cmd_usage(x, c, "too many providers");
    for (size_t k = 0; k < n; k++) {
        names[k] = argv[optind + (int)k];
        if (!c2_conf_has_section(x->conf, "provider", names[k]))
            return no_such_provider(x, "provider test", names[k]);
    }
    return test_all(x, names, n, full);
}

/* ---- fault ----------------------------------------------------------------------------------- */

static void
fault_text(void *arg, const char *name, uint64_t value)
{
    (void)arg;
    if (value > 0)
        (void)printf("%-10s %llu\n", name, (unsigned long long)value);
}

static void
fault_json(void *arg, const char *name, uint64_t value)
{
    c2_json_u64(arg, name, value);
}

static enum c2_err
print_faults(const struct cmd_ctx *x, const char *provider, struct c2_slice counters)
{
    if (!x->json)
        return ctl_counters_decode(counters, fault_text, NULL);
    struct c2_buf out = { 0 };
    struct c2_json j;
    cmd_json_begin(&j, &out, "c2fs.faults/1");
    c2_json_str(&j, "name", provider);
    c2_json_object(&j, "injected");
    enum c2_err err = ctl_counters_decode(counters, fault_json, &j);
    c2_json_object_end(&j);
    cmd_json_print(&j, &out);
    return err;
}

static int
run_fault(struct cmd_ctx *x, int argc, char **argv)
{
    if (argc != 2 && argc != 3)
        return cmd_usage(x, cmd_find("provider fault"), "give a provider and a specification");
    struct ctl_client client;
    const char *cache_dir = cmd_cache_dir(x, x->volume);
    enum c2_err err = cache_dir == NULL ? C2_E_CONFIG : ctl_client_open(cache_dir, &client);
    if (err != C2_E_OK)
        return cmd_fail(x, err, "provider fault", x->volume, NULL,
                        "faults are injected into a running mount");
    const struct ctl_request q = { .verb = CTL_PROVIDER_FAULT,
                                   .number = argc == 2 ? CTL_FAULT_ASK : 0,
                                   .text = c2_slice_str(argv[1]),
                                   .text2 = c2_slice_str(argc == 3 ? argv[2] : "") };
    struct ctl_answer a;
    err = ctl_client_call(&client, &q, NULL, NULL, &a);
    int code = CTL_EXIT_OK;
    if (err == C2_E_OK && a.err != C2_E_OK) {
        char *cause = c2_strndup((const char *)a.message.data, a.message.len);
        code = cmd_fail(x, a.err, "provider fault", argv[1], cause, NULL);
        c2_free(cause);
    } else {
        if (err == C2_E_OK && argc == 2)
            err = print_faults(x, argv[1], a.body);
        if (err != C2_E_OK)
            code = cmd_fail(x, err, "provider fault", argv[1], NULL, NULL);
    }
    ctl_client_close(&client);
    return code;
}

const struct cmd cmds_provider[] = {
    { "provider list", "", "providers, their state and traffic",
      "As the running mount sees them; without one they are asked directly.\n", "",
      CMD_NEEDS_VOLUME, run_list },
    { "provider show", "NAME", "configuration of one provider",
      "Every key of its section that has a value. Never secrets.\n", "", CMD_NEEDS_CONF, run_show },
    { "provider test", "[NAME ...] [--full]", "exercise a provider and say what it can do",
      "Writes, reads, lists and deletes a few small objects under v1/probe/, as C2FS itself "
      "would.\n"
      "Without names all providers of the configuration. Changes no volume.\n"
      "  --full  also looks for consistency over 20 objects, races of writers, order and pages of\n"
      "          lists, ranges, checksums, TLS, redirects, clock, latency (p50, p95) and the "
      "speed\n"
      "          with an object of 8 MiB; a few hundred requests\n",
      "--full", CMD_NEEDS_CONF, run_test },
    { "provider fault", "NAME [SPEC]", "inject faults into a provider of a running mount",
      "For tests. SPEC is a comma-separated list like error:5%,delay:200ms,corrupt:1%,hang,T03; "
      "an\n"
      "empty one ends the faults, without one it says how many there were of each kind. The\n"
      "provider's section must have a key `fault`.\n",
      "", CMD_NEEDS_VOLUME, run_fault },
    { NULL, NULL, NULL, NULL, NULL, CMD_NEEDS_NOTHING, NULL },
};
