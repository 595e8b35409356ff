/* SPDX-License-Identifier: MIT */
/*
 * gc: what no file uses any more leaves the providers.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "tools/cmd.h"
#include "tools/ctl_client.h"

#define AS_CONFIGURED UINT64_MAX
#define PROVIDER      "provider."

struct provider_line {
    char name[CTL_NAME_MAX + 1];
    uint64_t objects, bytes;
};

struct result {
    bool deleted; /* not only looked */
    uint64_t young_objects, young_bytes, free_objects, free_bytes;
    uint64_t deleted_objects, deleted_bytes, held_up_objects, held_up_bytes;
    uint64_t orphans, orphans_deleted;
    struct provider_line providers[CTL_PROVIDERS_MAX];
    size_t nproviders;
};

static void
take_provider(struct result *r, const char *name, uint64_t value)
{
    const char *dot = strrchr(name, '.');
    size_t len = dot == NULL ? 0 : (size_t)(dot - name);
    if (len == 0 || len > CTL_NAME_MAX)
        return;
    struct provider_line *p = r->nproviders > 0 ? &r->providers[r->nproviders - 1] : NULL;
    if (p == NULL || strlen(p->name) != len || memcmp(p->name, name, len) != 0) {
        if (r->nproviders == C2_ARRAY_LEN(r->providers))
            return;
        p = &r->providers[r->nproviders++];
        memcpy(p->name, name, len);
    }
    if (strcmp(dot, ".objects") == 0)
        p->objects = value;
    else if (strcmp(dot, ".bytes") == 0)
        p->bytes = value;
}

static void
take_counter(void *arg, const char *name, uint64_t value)
{
    struct result *r = arg;
    const struct {
        const char *name;
        uint64_t *to;
    } known[] = {
        { "young.objects", &r->young_objects },     { "young.bytes", &r->young_bytes },
        { "free.objects", &r->free_objects },       { "free.bytes", &r->free_bytes },
        { "deleted.objects", &r->deleted_objects }, { "deleted.bytes", &r->deleted_bytes },
        { "held_up.objects", &r->held_up_objects }, { "held_up.bytes", &r->held_up_bytes },
        { "orphans.found", &r->orphans },           { "orphans.deleted", &r->orphans_deleted },
    };
    if (strncmp(name, PROVIDER, strlen(PROVIDER)) == 0) {
        take_provider(r, name + strlen(PROVIDER), value);
        return;
    }
    for (size_t k = 0; k < C2_ARRAY_LEN(known); k++)
        if (strcmp(name, known[k].name) == 0)
            *known[k].to = value;
}

static void
json_pair(struct c2_json *j, const char *name, uint64_t objects, uint64_t bytes)
{
    c2_json_object(j, name);
    c2_json_u64(j, "objects", objects);
    c2_json_u64(j, "bytes", bytes);
    c2_json_object_end(j);
}

static void
print_json(const struct cmd_ctx *x, const struct result *r)
{
    struct c2_buf out = { 0 };
    struct c2_json j;
    cmd_json_begin(&j, &out, "c2fs.gc/1");
    c2_json_str(&j, "volume", x->volume);
    c2_json_bool(&j, "dry_run", !r->deleted);
    json_pair(&j, "free", r->free_objects, r->free_bytes);
    json_pair(&j, "deleted", r->deleted_objects, r->deleted_bytes);
    json_pair(&j, "held_up", r->held_up_objects, r->held_up_bytes);
    json_pair(&j, "retained", r->young_objects, r->young_bytes);
    c2_json_object(&j, "orphans");
    c2_json_u64(&j, "found", r->orphans);
    c2_json_u64(&j, "deleted", r->orphans_deleted);
    c2_json_object_end(&j);
    c2_json_array(&j, "providers");
    for (size_t k = 0; k < r->nproviders; k++) {
        c2_json_object(&j, NULL);
        c2_json_str(&j, "name", r->providers[k].name);
        c2_json_u64(&j, "objects", r->providers[k].objects);
        c2_json_u64(&j, "bytes", r->providers[k].bytes);
        c2_json_object_end(&j);
    }
    c2_json_array_end(&j);
    cmd_json_print(&j, &out);
}

static void
print_line(const char *what, uint64_t objects, uint64_t bytes, const char *note)
{
    char size[C2_SIZE_TEXT_MAX];
    (void)printf("%-14s %8llu objects  %10s%s%s\n", what, (unsigned long long)objects,
                 c2_size_format(bytes, size), note[0] != '\0' ? "  " : "", note);
}

static void
print_text(const struct result *r)
{
    struct cmd_table t = { .ncolumns = 3, .headers = { "PROVIDER", ">OBJECTS", ">BYTES" } };
    char objects[32], size[C2_SIZE_TEXT_MAX];
    if (r->deleted) {
        print_line("deleted", r->deleted_objects, r->deleted_bytes, "");
        if (r->held_up_objects > 0)
            print_line("held up", r->held_up_objects, r->held_up_bytes,
                       "a provider has not confirmed; the next round goes on");
    } else {
        print_line("can be deleted", r->free_objects, r->free_bytes, "");
    }
    if (r->young_objects > 0)
        print_line("retained", r->young_objects, r->young_bytes,
                   "not unused for gc_retention, or still in use here");
    if (r->orphans > 0)
        (void)printf("%-14s %8llu objects  left behind by writers that crashed%s\n", "orphans",
                     (unsigned long long)r->orphans, r->deleted ? ", deleted" : "");
    if (r->free_objects == 0)
        return;
    (void)printf("\n");
    for (size_t k = 0; k < r->nproviders; k++) {
        (void)snprintf(objects, sizeof(objects), "%llu",
                       (unsigned long long)r->providers[k].objects);
        cmd_table_add(&t, r->providers[k].name, objects,
                      c2_size_format(r->providers[k].bytes, size));
    }
    cmd_table_print(&t, "");
    if (!r->deleted)
        (void)printf("\nnothing was deleted; c2fsctl gc --delete does it\n");
}

static int
ask_daemon(const struct cmd_ctx *x, const struct ctl_request *q, struct result *ret)
{
    struct ctl_client c;
    struct ctl_answer a;
    const char *cache_dir = cmd_cache_dir(x, x->volume);
    if (cache_dir == NULL)
        return cmd_fail(x, C2_E_CONFIG, "gc", x->volume, "the volume has no cache_dir", NULL);
    enum c2_err err = ctl_client_open(cache_dir, &c);
    if (err == C2_E_NOT_MOUNTED)
        return cmd_fail(x, err, "gc", x->volume, "not mounted on this machine",
                        "the mount collects; mount the volume");
    if (err != C2_E_OK)
        return cmd_fail(x, err, "gc", x->volume, "the daemon belongs to another user", NULL);
    err = ctl_client_call(&c, q, NULL, NULL, &a);
    int code = CTL_EXIT_OK;
    if (err != C2_E_OK) {
        code = cmd_fail(x, err, "gc", x->volume, "the daemon ended", NULL);
    } else if (a.err != C2_E_OK) {
        char *message =
            c2_strndup(a.message.len > 0 ? (const char *)a.message.data : "", a.message.len);
        const char *hint = ctl_split_hint(message);
        code = cmd_fail(x, a.err, "gc", x->volume, message,
                        hint != NULL ? hint : "c2fsctl status shows what is wrong");
        c2_free(message);
    } else if (ctl_counters_decode(a.body, take_counter, ret) != C2_E_OK) {
        code = cmd_fail(x, C2_E_PARSE, "gc", x->volume, "the daemon's answer is malformed", NULL);
    }
    ctl_client_close(&c);
    return code;
}

static int
run_gc(struct cmd_ctx *x, int argc, char **argv)
{
    static const struct option longs[] = { { "delete", no_argument, NULL, 'd' },
                                           { "retention", required_argument, NULL, 'r' },
                                           { NULL, 0, NULL, 0 } };
    const struct cmd *c = cmd_find("gc");
    struct ctl_request q = { .verb = CTL_GC, .number = AS_CONFIGURED };
    struct result r = { 0 };
    int flag;
    optind = 0; /* getopt starts anew */
    while ((flag = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (flag == 'd')
            r.deleted = true;
        else if (flag != 'r' || !cmd_duration(optarg, &q.number))
            return cmd_usage(x, c,
                             flag == 'r' ? "--retention takes a duration like 0, 12h or 7d"
                                         : "unknown option");
    }
    if (optind < argc)
        return cmd_usage(x, c, "too many arguments");
    r.deleted = r.deleted && !x->dry_run;
    if (r.deleted)
        q.text = c2_slice_str("delete");
    int code = ask_daemon(x, &q, &r);
    if (code != CTL_EXIT_OK)
        return code;
    if (x->json)
        print_json(x, &r);
    else
        print_text(&r);
    return r.held_up_objects > 0 ? CTL_EXIT_DEGRADED : CTL_EXIT_OK;
}

const struct cmd cmds_gc[] = {
    { "gc", "[--delete] [--retention TIME]", "what no file uses any more leaves the providers",
      "Without --delete nothing is changed: it shows what could be deleted at each provider. The\n"
      "mount does the same in the background every gc_interval. Objects are kept for gc_retention\n"
      "after the last file that used them was deleted or changed.\n"
      "\n"
      "  --delete           delete them now, and what writers that crashed have left behind\n"
      "  --retention TIME   instead of gc_retention, this once; 0 = everything that is unused\n"
      "\n"
      "Exit code 6: a provider has not confirmed; the next round tries again.\n",
      "--delete --retention", CMD_NEEDS_VOLUME, run_gc },
    { 0 },
};
