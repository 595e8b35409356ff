/* SPDX-License-Identifier: MIT */
/*
 * version, stats, log-level, completion; doctor has a file of its own.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "tools/cmd.h"
#include "tools/ctl_client.h"
#include "tools/doctor.h"
#include "tools/status.h"

/* ---- version --------------------------------------------------------------------------------- */

static int
run_version(struct cmd_ctx *x, int argc, char **argv)
{
    (void)argv;
    if (argc != 1)
        return cmd_usage(x, cmd_find("version"), "takes no arguments");
    if (x->json) {
        struct c2_buf out = { 0 };
        struct c2_json j;
        cmd_json_begin(&j, &out, "c2fs.version/1");
        c2_json_str(&j, "version", C2_VERSION);
        c2_json_u64(&j, "control_protocol", CTL_VERSION);
        cmd_json_print(&j, &out);
    } else {
        (void)printf("c2fsctl %s\n", C2_VERSION);
    }
    return CTL_EXIT_OK;
}

/* ---- stats ----------------------------------------------------------------------------------- */

static C2_RESULT
ask(const struct cmd_ctx *x, const struct ctl_request *q, struct ctl_client *c,
    struct ctl_answer *ret_answer)
{
    const char *cache_dir = cmd_cache_dir(x, x->volume);
    if (cache_dir == NULL)
        return C2_E_CONFIG;
    C2_TRY(ctl_client_open(cache_dir, c));
    enum c2_err err = ctl_client_call(c, q, NULL, NULL, ret_answer);
    if (err != C2_E_OK)
        ctl_client_close(c);
    return err;
}

/* "fuse.read" is member "read" of object "fuse"; counters of one group are neighbours. */
struct group {
    struct c2_json *j;
    char name[2 * CTL_NAME_MAX + 1];
};

static void
counter_json(void *arg, const char *name, uint64_t value)
{
    struct group *g = arg;
    size_t len = strcspn(name, ".");
    if (strncmp(g->name, name, len) != 0 || g->name[len] != '\0') {
        if (g->name[0] != '\0')
            c2_json_object_end(g->j);
        memcpy(g->name, name, len);
        g->name[len] = '\0';
        c2_json_object(g->j, g->name);
    }
    c2_json_u64(g->j, name[len] == '.' ? name + len + 1 : name, value);
}

static void
counter_text(void *arg, const char *name, uint64_t value)
{
    (void)arg;
    (void)printf("%-28s %llu\n", name, (unsigned long long)value);
}

static void
provider_text(const struct ctl_status *s)
{
    for (uint32_t k = 0; k < s->nproviders; k++) {
        const struct ctl_provider *p = &s->providers[k];
        char name[2 * CTL_NAME_MAX];
        uint64_t total = 0;
        for (unsigned v = 0; v < CTL_VERBS_MAX; v++)
            total += p->requests[v];
        (void)snprintf(name, sizeof(name), "provider.%s.requests", p->name);
        counter_text(NULL, name, total);
        (void)snprintf(name, sizeof(name), "provider.%s.bytes_up", p->name);
        counter_text(NULL, name, p->bytes_up);
        (void)snprintf(name, sizeof(name), "provider.%s.bytes_down", p->name);
        counter_text(NULL, name, p->bytes_down);
    }
}

static C2_RESULT
print_stats(const struct cmd_ctx *x, const struct ctl_status *s, struct c2_slice counters)
{
    if (!x->json) {
        C2_TRY(ctl_counters_decode(counters, counter_text, NULL));
        provider_text(s);
        return C2_E_OK;
    }
    struct c2_buf out = { 0 };
    struct c2_json j;
    struct group g = { .j = &j };
    cmd_json_begin(&j, &out, "c2fs.stats/1");
    c2_json_str(&j, "volume", x->volume);
    enum c2_err err = ctl_counters_decode(counters, counter_json, &g);
    if (g.name[0] != '\0')
        c2_json_object_end(&j);
    status_providers_json(&j, s);
    if (err == C2_E_OK)
        cmd_json_print(&j, &out);
    c2_buf_done(&out);
    return err;
}

static int
run_stats(struct cmd_ctx *x, int argc, char **argv)
{
    (void)argv;
    if (argc != 1)
        return cmd_usage(x, cmd_find("stats"), "takes no arguments");
    struct ctl_client c;
    struct ctl_answer a;
    struct ctl_status *s = c2_calloc(1, sizeof(*s));
    char *error = NULL;
    bool mounted = false;
    x->as_known = true;
    enum c2_err err = status_get(x, x->volume, s, &mounted, &error);
    if (err == C2_E_OK && !mounted)
        err = C2_E_NOT_MOUNTED;
    const struct ctl_request q = { .verb = CTL_STATS };
    if (err == C2_E_OK)
        err = ask(x, &q, &c, &a);
    if (err == C2_E_OK) {
        err = print_stats(x, s, a.body);
        ctl_client_close(&c);
    }
    int code = CTL_EXIT_OK;
    if (err != C2_E_OK)
        code = cmd_fail(x, err, "stats", x->volume, error, NULL);
    c2_free(error);
    c2_free(s);
    return code;
}

/* ---- log-level ------------------------------------------------------------------------------- */

static int
run_log_level(struct cmd_ctx *x, int argc, char **argv)
{
    if (argc > 2)
        return cmd_usage(x, cmd_find("log-level"), "give at most one level");
    struct ctl_client c;
    struct ctl_answer a;
    const struct ctl_request q = { .verb = CTL_LOG_LEVEL,
                                   .text = c2_slice_str(argc == 2 ? argv[1] : "") };
    enum c2_err err = ask(x, &q, &c, &a);
    if (err != C2_E_OK)
        return cmd_fail(x, err, "log-level", x->volume, NULL, NULL);
    int code = CTL_EXIT_OK;
    if (a.err != C2_E_OK) {
        char *cause = c2_strndup((const char *)a.message.data, a.message.len);
        (void)cmd_fail(x, a.err, "log-level", argc == 2 ? argv[1] : NULL, cause, NULL);
        c2_free(cause);
        code = CTL_EXIT_USAGE;
    } else if (argc == 1) {
        (void)printf("%.*s\n", (int)a.body.len, (const char *)a.body.data);
    }
    ctl_client_close(&c);
    return code;
}

/* ---- completion ------------------------------------------------------------------------------ */

/* The first word of every command, each once: commands of one group are neighbours. */
static void
print_first_words(void)
{
    const struct cmd *c;
    char last[64] = "";
    for (size_t n = 0; (c = cmd_at(n)) != NULL; n++) {
        char word[64];
        (void)snprintf(word, sizeof(word), "%.*s", (int)strcspn(c->name, " "), c->name);
        if (strcmp(word, last) != 0)
            (void)printf("%s ", word);
        memcpy(last, word, sizeof(last));
    }
    (void)printf("help");
}

static void
print_cases(void)
{
    const struct cmd *c;
    char group[64] = "";
    for (size_t n = 0; (c = cmd_at(n)) != NULL; n++) {
        const char *second = strchr(c->name, ' ');
        if (second == NULL) {
            (void)printf("    %s) words=\"%s\" ;;\n", c->name, c->options);
            continue;
        }
        char word[64];
        (void)snprintf(word, sizeof(word), "%.*s", (int)strcspn(c->name, " "), c->name);
        if (strcmp(word, group) == 0)
            continue;
        memcpy(group, word, sizeof(group));
        (void)printf("    %s) words=\"", word);
        const struct cmd *other;
        for (size_t m = 0; (other = cmd_at(m)) != NULL; m++)
            if (strncmp(other->name, word, strlen(word)) == 0 && other->name[strlen(word)] == ' ')
                (void)printf("%s ", other->name + strlen(word) + 1);
        (void)printf("\" ;;\n");
    }
}

static int
run_completion(struct cmd_ctx *x, int argc, char **argv)
{
    (void)x;
    if (argc != 2 || strcmp(argv[1], "bash") != 0)
        return cmd_usage(x, cmd_find("completion"), "only bash is known");
    (void)printf("_c2fsctl() {\n"
                 "    local cur=${COMP_WORDS[COMP_CWORD]} first='' words='' i skip=0\n"
                 "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
                 "        if ((skip)); then skip=0; continue; fi\n"
                 "        case ${COMP_WORDS[i]} in\n"
                 "        -C | -V | --config | --volume) skip=1 ;;\n"
                 "        -*) ;;\n"
                 "        *) first=${COMP_WORDS[i]}; break ;;\n"
                 "        esac\n"
                 "    done\n"
                 "    case $first in\n"
                 "    '') words=\"-C -V --json --progress= --dry-run --yes --help ");
    print_first_words();
    (void)printf("\" ;;\n");
    print_cases();
    (void)printf("    esac\n"
                 "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
                 "    [ ${#COMPREPLY[@]} -gt 0 ] || mapfile -t COMPREPLY < <(compgen -f -- "
                 "\"$cur\")\n"
                 "}\n"
                 "complete -o filenames -F _c2fsctl c2fsctl\n");
    return CTL_EXIT_OK;
}

const struct cmd cmds_system[] = {
    { "doctor", "", "check this machine, the configuration, providers and keys",
      "Looks at the kernel, /dev/fuse, permissions of key and credentials files, the cache folder\n"
      "and its free space, the clock, and every provider, and says what to do about each finding.\n"
      "Changes nothing. Exit code 1 when something must be repaired before a volume can be used.\n",
      "", CMD_NEEDS_NOTHING, doctor_run },
    { "stats", "", "counters of a running mount",
      "Requests, transactions, journal writes, cache hits since the mount began.\n", "",
      CMD_NEEDS_VOLUME, run_stats },
    { "log-level", "[LEVEL]", "show or set what a running mount logs",
      "Levels: error, warn, info, debug, trace. Lasts until the volume is unmounted.\n",
      "error warn info debug trace", CMD_NEEDS_VOLUME, run_log_level },
    { "version", "", "version of this program", "", "", CMD_NEEDS_NOTHING, run_version },
    { "completion", "bash", "completion script for a shell",
      "Use it with: eval \"$(c2fsctl completion bash)\"\n", "bash", CMD_NEEDS_NOTHING,
      run_completion },
    { NULL, NULL, NULL, NULL, NULL, CMD_NEEDS_NOTHING, NULL },
};
