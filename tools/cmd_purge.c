/* SPDX-License-Identifier: MIT */
/*
 * provider purge: what a provider that has left the volume still has of it is deleted there. The
 * mount says whether it has left, and where the volume lies in each bucket; this program lists that
 * folder and deletes it.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backends/registry.h"
#include "base/alloc.h"
#include "base/os_loop.h"
#include "base/str.h"
#include "tools/cmd.h"
#include "tools/request.h"

#define PREFIX_MAX 32

struct purge {
    const struct cmd_ctx *x;
    const char *name;
    char prefix[PREFIX_MAX]; /* "v1/0123abcd/" */
    struct c2_os *os;
    struct provider *p;
    uint64_t objects, bytes;
    char *after; /* owned: where the listing goes on */
    char *error; /* owned */
};

/* ---- one request ----------------------------------------------------------------------------- */

struct call {
    struct prov_req r;
    bool done;
};

static void
answered(struct prov_req *r)
{
    C2_CONTAINER_OF(r, struct call, r)->done = true;
}

static C2_RESULT
call(struct purge *u, struct call *c)
{
    c->r.deadline_ns = C2_NEVER;
    c->r.done = answered;
    prov_submit(u->p, &c->r);
    c2_os_run_until(u->os, &c->done);
    if (c->r.err != C2_E_OK && u->error == NULL)
        u->error = c2_strdup(c->r.detail[0] != '\0' ? c->r.detail : c2_err_text(c->r.err));
    return c->r.err;
}

/* ---- pages ----------------------------------------------------------------------------------- */

static C2_RESULT
delete_page(struct purge *u, const struct prov_req *page)
{
    const char **keys = c2_calloc(page->nentries, sizeof(*keys));
    struct call c = { .r = { .verb = PROV_DELETE_MANY, .keys = keys, .nkeys = page->nentries } };
    for (size_t k = 0; k < page->nentries; k++)
        keys[k] = page->entries[k].key;
    enum c2_err err = call(u, &c);
    prov_req_done(&c.r);
    c2_free(keys);
    return err;
}

/* All pages in order, each of them counted and maybe deleted. */
static C2_RESULT
walk(struct purge *u, bool delete)
{
    bool more = true;
    u->objects = u->bytes = 0;
    c2_free(u->after);
    u->after = NULL;
    while (more) {
        struct call c = { .r = { .verb = PROV_LIST,
                                 .key = u->prefix,
                                 .list_after = u->after,
                                 .list_max = PROV_DELETE_MANY_MAX } };
        enum c2_err err = call(u, &c);
        size_t n = c.r.nentries;
        for (size_t k = 0; k < n; k++)
            u->bytes += c.r.entries[k].size;
        u->objects += n;
        more = c.r.truncated && n > 0;
        if (err == C2_E_OK && n > 0) {
            c2_free(u->after);
            u->after = c2_strdup(c.r.entries[n - 1].key);
            err = delete ? delete_page(u, &c.r) : C2_E_OK;
        }
        prov_req_done(&c.r);
        C2_TRY(err);
    }
    return C2_E_OK;
}

/* ---- the command ----------------------------------------------------------------------------- */

static void
take_prefix(void *arg, const char *name, uint64_t value)
{
    struct purge *u = arg;
    (void)value;
    (void)snprintf(u->prefix, sizeof(u->prefix), "%s/", name);
}

/* Has it left, and where does the volume lie? */
static C2_RESULT
ask(struct purge *u)
{
    struct c2_buf body = { 0 };
    const struct ctl_request q = { .verb = CTL_PROVIDER_PLAN,
                                   .text = c2_slice_str("purge"),
                                   .text2 = c2_slice_str(u->name) };
    enum c2_err err =
        cmd_request(u->x, &q, "the mount knows which providers it uses", &body, &u->error);
    if (err == C2_E_OK)
        err = ctl_counters_decode(c2_buf_slice(&body), take_prefix, u);
    c2_buf_done(&body);
    return err == C2_E_OK && u->prefix[0] == '\0' ? C2_E_PARSE : err;
}

static bool
confirmed(const struct purge *u)
{
    char line[16], size[C2_SIZE_TEXT_MAX];
    if (u->x->yes)
        return true;
    if (u->x->json || !isatty(STDIN_FILENO))
        return false;
    (void)printf("Delete %llu objects, %s, at %s? [y/N] ", (unsigned long long)u->objects,
                 c2_size_format(u->bytes, size), u->name);
    (void)fflush(stdout);
    return fgets(line, sizeof(line), stdin) != NULL && (line[0] == 'y' || line[0] == 'Y');
}

static void
report(const struct purge *u, bool deleted)
{
    struct c2_buf out = { 0 };
    struct c2_json j;
    char size[C2_SIZE_TEXT_MAX];
    if (!u->x->json) {
        (void)printf("%s: %llu objects, %s, of this volume%s\n", u->name,
                     (unsigned long long)u->objects, c2_size_format(u->bytes, size),
                     deleted ? " deleted; its section of the configuration is not needed any more"
                             : "");
        return;
    }
    cmd_json_begin(&j, &out, "c2fs.provider_purge/1");
    c2_json_str(&j, "provider", u->name);
    c2_json_u64(&j, "objects", u->objects);
    c2_json_u64(&j, "bytes", u->bytes);
    c2_json_bool(&j, "deleted", deleted);
    cmd_json_print(&j, &out);
}

/* A cloud may say that it has deleted. */
static C2_RESULT
look_again(struct purge *u)
{
    uint64_t objects = u->objects, bytes = u->bytes;
    C2_TRY(walk(u, false));
    if (u->objects > 0) {
        u->error = c2_asprintf("%llu objects are still there\n"
                               "hint: repeat the command, or empty its bucket by other means",
                               (unsigned long long)u->objects);
        return C2_E_UNAVAILABLE;
    }
    u->objects = objects;
    u->bytes = bytes;
    return C2_E_OK;
}

static C2_RESULT
purge(struct purge *u)
{
    C2_TRY(ask(u));
    C2_TRY(prov_open(c2_os_env(u->os), u->os, u->x->conf, u->name, &u->p, &u->error));
    C2_TRY(walk(u, false));
    bool delete = u->objects > 0 && !u->x->dry_run;
    if (delete &&!confirmed(u)) {
        u->error = c2_asprintf("nothing was deleted\n"
                               "hint: c2fsctl -V %s --yes provider purge %s deletes %llu objects",
                               u->x->volume, u->name, (unsigned long long)u->objects);
        return C2_E_CANCELED;
    }
    if (delete) {
        C2_TRY(walk(u, true));
        C2_TRY(look_again(u));
    }
    report(u, delete);
    return C2_E_OK;
}

static int
run_purge(struct cmd_ctx *x, int argc, char **argv)
{
    static const struct option longs[] = { { "yes", no_argument, NULL, 'y' },
                                           { "dry-run", no_argument, NULL, 'n' },
                                           { NULL, 0, NULL, 0 } };
    const struct cmd *c = cmd_find("provider purge");
    int flag;
    optind = 0; /* getopt starts anew */
    while ((flag = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (flag == '?')
            return cmd_usage(x, c, "unknown option");
        *(flag == 'y' ? &x->yes : &x->dry_run) = true;
    }
    if (argc - optind != 1)
        return cmd_usage(x, c, "give a provider");
    struct purge u = { .x = x, .name = argv[optind] };
    int code = CTL_EXIT_OK;
    if (c2_os_new(1, &u.os) != C2_E_OK)
        return cmd_fail(x, C2_E_IO, c->name, u.name, "cannot start", NULL);
    enum c2_err err = purge(&u);
    if (err != C2_E_OK) {
        char *hint = u.error == NULL ? NULL : ctl_split_hint(u.error);
        code = cmd_fail(x, err, c->name, u.name, u.error, hint);
    }
    prov_close(u.p);
    c2_os_drain(u.os);
    c2_os_free(u.os);
    c2_free(u.after);
    c2_free(u.error);
    return code;
}

const struct cmd cmds_purge[] = {
    { "provider purge", "NAME", "delete what a provider that has left the volume still has of it",
      "After replace and remove the old shares stay where they are. This lists them, asks, and\n"
      "deletes them (--yes: does not ask; --dry-run: only counts), if the provider answers and "
      "its\n"
      "[provider] section is still there. Refused while the volume uses it. The volume must be\n"
      "mounted; other volumes in the same bucket are not touched.\n",
      "", CMD_NEEDS_VOLUME, run_purge },
    { 0 },
};
