/* SPDX-License-Identifier: MIT */
/*
 * meta replica, meta root: changes of a coordination service at work.
 *
 *   connect ─► plan and sign ─► files of the newcomer ─► ordered ─► (batches) ─► the next epoch
 *
 * A change takes effect at a checkpoint that lies a window of batches ahead. A busy service gets
 * there by itself; here it is made busy with requests that change nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os_file.h"
#include "base/str.h"
#include "metadata/cluster.h"
#include "tools/meta.h"

#define FIRST_START  "data/" CLUSTER_FIRST_START
#define OWNER        "data/" CLUSTER_OWNER
#define KEY_FILE_MAX (64u << 10)
#define BATCHES_MAX  4096 /* more than a window and a checkpoint interval */
#define SETTLE_MAX   1024 /* also more than those of a new service */
#define ASK_NS       (500 * C2_NS_PER_MS)
#define CONNECT_NS   (3 * C2_NS_PER_S)  /* for a replica that runs, until it is connected */
#define STANDING_NS  (10 * C2_NS_PER_S) /* and until it says that it runs */

/* ---- batches --------------------------------------------------------------------------------- */

/* A request that is ordered and changes nothing: a session that nobody has is kept alive. */
enum c2_err
meta_push(struct service *s)
{
    struct service_call c = { .req = { .verb = COORD_SESSION_KEEPALIVE, .session = UINT64_MAX } };
    enum c2_err err = service_run(s, &c);
    coord_req_done(&c.req);
    return err == C2_E_SESSION ? C2_E_OK : err;
}

/* Connected, and in the epoch that the service is in. */
int
meta_connect(struct service *s, struct cluster_info *ret_info)
{
    if (!cluster_look(s->coord, ret_info))
        return cmd_fail(s->x, C2_E_UNSUPPORTED, s->what, s->url, "this is not a replicated service",
                        NULL);
    enum c2_err err = meta_push(s);
    if (err != C2_E_OK)
        return service_fail(s, err, s->url);
    (void)cluster_look(s->coord, ret_info);
    return CTL_EXIT_OK;
}

/* ---- meta replica ---------------------------------------------------------------------------- */

struct change {
    const struct cmd_ctx *x;
    const char *verb;
    struct cluster_change c;
    const char *service; /* NULL = the only one */
    const char *admin_path, *out_dir;
    struct service s;
    const char *trust_path;
    char *admin_default, *dir; /* owned */
    struct cluster_plan plan;
    unsigned after; /* so many replicas there are then */
};

static const char what[] = "meta replica";

/* A file beside the trust file. */
static char *
beside(const char *trust, const char *name)
{
    const char *slash = strrchr(trust, '/');
    return c2_asprintf("%.*s%s", slash == NULL ? 0 : (int)(slash - trust + 1), trust, name);
}

static int
read_admin(struct change *a, struct c2_buf *text)
{
    struct c2_os_file_info info;
    if (a->admin_path == NULL)
        a->admin_path = a->admin_default = beside(a->trust_path, "admin.key");
    enum c2_err err = c2_os_read_file(a->admin_path, KEY_FILE_MAX, text, &info);
    if (err != C2_E_OK)
        return cmd_fail(a->x, err, what, a->admin_path, NULL,
                        "the administrator's key signs the change: --admin FILE");
    if ((info.mode & 077) == 0)
        return CTL_EXIT_OK;
    C2_AUTO(c2_free_auto) char *hint = c2_asprintf("chmod 600 %s", a->admin_path);
    return cmd_fail(a->x, C2_E_ACCESS, what, a->admin_path, "others may read it", hint);
}

static int
plan(struct change *a)
{
    struct c2_buf text = { 0 };
    char *error = NULL;
    int code = read_admin(a, &text);
    if (code == CTL_EXIT_OK) {
        enum c2_err err =
            cluster_plan_change(a->s.coord, &a->c, c2_buf_slice(&text), &a->plan, &error);
        if (err != C2_E_OK)
            code = cmd_fail(a->x, err, what, err == C2_E_KEY ? a->admin_path : NULL, error,
                            err == C2_E_KEY ? "the administrator's key signs it: --admin FILE"
                                            : "c2fsctl meta status shows the replicas");
    }
    if (text.data != NULL)
        c2_wipe(text.data, text.cap);
    c2_buf_done(&text);
    c2_free(error);
    return code;
}

/* Whoever replaces one member after the other comes to the last one that clients know. */
static int
check_trust(const struct change *a)
{
    C2_AUTO(c2_buf_done) struct c2_buf trust = { 0 };
    enum c2_err err = c2_os_read_file(a->trust_path, KEY_FILE_MAX, &trust, NULL);
    if (err != C2_E_OK)
        return cmd_fail(a->x, err, what, a->trust_path, NULL, NULL);
    if (a->x->yes || cluster_trust_lasts(a->s.coord, &a->c, c2_buf_slice(&trust)))
        return CTL_EXIT_OK;
    return cmd_fail(a->x, C2_E_PRECONDITION, what, a->trust_path,
                    "none of its replicas would be a member after this, and whoever has this file "
                    "would not find the service any more",
                    "c2fsctl meta root FILE writes a newer one, to be put in its place here and at "
                    "all clients before; with --yes it is done all the same");
}

/* Who of the members of now runs, as they say themselves. */
struct standing {
    struct service *s;
    struct cluster_info *info;
    unsigned leaves; /* number of the one that does not count; 0 = none */
    unsigned need;
    bool runs[CLUSTER_REPLICAS_MAX];
    bool over;
    struct c2_timer again;
    uint64_t begin_ns;
};

static unsigned
count_standing(const struct standing *t)
{
    unsigned count = 0;
    for (unsigned i = 0; i < t->info->n; i++)
        count += t->runs[i] && i + 1 != t->leaves;
    return count;
}

static unsigned
count_connected(const struct standing *t)
{
    unsigned count = 0;
    for (unsigned i = 0; i < t->info->n; i++)
        count += t->info->replica[i].up && i + 1 != t->leaves;
    return count;
}

static void
standing_told(void *arg, unsigned seat, struct c2_slice json)
{
    struct standing *t = arg;
    if (seat >= t->info->n)
        return;
    C2_AUTO(c2_free_auto) char *text = c2_strndup((const char *)json.data, json.len);
    C2_AUTO(c2_free_auto) char *mode = meta_field(text, "mode");
    t->runs[seat] = strcmp(mode, "running") == 0;
    t->over = t->over || count_standing(t) >= t->need;
}

static void
standing_again(struct c2_timer *timer)
{
    struct standing *t = C2_CONTAINER_OF(timer, struct standing, again);
    uint64_t now_ns = c2_now_ns(t->s->env);
    (void)cluster_look(t->s->coord, t->info);
    bool hopeless = now_ns >= t->begin_ns + CONNECT_NS && count_connected(t) < t->need;
    t->over = t->over || hopeless || now_ns >= t->begin_ns + STANDING_NS;
    cluster_ask(t->s->coord, standing_told, t);
    c2_timer_arm(t->s->env, timer, now_ns + ASK_NS / 4);
}

/* A newcomer does not run yet: with too few of the others the service would stand still until it
 * does. Whoever changes one member after the other without starting the new ones comes to that. */
static int
check_standing(struct change *a, struct cluster_info *info)
{
    struct standing t = { .s = &a->s, .info = info, .leaves = a->c.leaves };
    a->after = info->n + (a->c.address != NULL) - (a->c.leaves != 0);
    t.need = cluster_quorum(a->after, info->f);
    t.again.fire = standing_again;
    t.begin_ns = c2_now_ns(a->s.env);
    c2_timer_arm(a->s.env, &t.again, c2_now_ns(a->s.env));
    c2_os_run_until(a->s.os, &t.over);
    c2_timer_stop(a->s.env, &t.again);
    cluster_ask(a->s.coord, NULL, NULL);
    unsigned count = count_standing(&t);
    if (count >= t.need || a->x->yes)
        return CTL_EXIT_OK;
    C2_AUTO(c2_free_auto)
    char *text = c2_asprintf("%u of the %u replicas would run after this, and %u are needed", count,
                             a->after, t.need);
    return cmd_fail(a->x, C2_E_PRECONDITION, what, NULL, text,
                    "first start those that c2fsctl meta status shows as not running; with --yes "
                    "the service stands still until enough run");
}

/* Until the service is in the epoch that we plan, or has done so much that it will not come. */
static enum c2_err
push_to_epoch(struct change *a, struct cluster_info *info, unsigned batches_max)
{
    enum c2_err err = C2_E_OK;
    for (unsigned i = 0; err == C2_E_OK && i < batches_max && info->epoch < a->plan.epoch; i++) {
        err = meta_push(&a->s);
        (void)cluster_look(a->s.coord, info);
    }
    return err;
}

/* A change that was accepted before, by a command that was interrupted or of somebody else, is on
 * its way for as long as nobody asks the service for anything. */
static int
fail_after_others(struct change *a, struct cluster_info *info, const char *object,
                  const char *cause, const char *hint)
{
    enum c2_err err = a->x->dry_run ? C2_E_OK : push_to_epoch(a, info, SETTLE_MAX);
    if (err != C2_E_OK)
        return service_fail(&a->s, err, object);
    if (info->epoch < a->plan.epoch)
        return cmd_fail(a->x, object != NULL ? C2_E_EXISTS : C2_E_CONFLICT, what, object, cause,
                        hint);
    return cmd_fail(a->x, C2_E_CONFLICT, what, object,
                    "another change was on its way, and is made now",
                    "c2fsctl meta status shows the replicas: the files of a new one are needed");
}

/* Its keys may be those of a member, by a change that was made although nobody was told. */
static int
check_folder(struct change *a, struct cluster_info *info)
{
    if (a->out_dir != NULL || access(a->dir, F_OK) != 0)
        return CTL_EXIT_OK;
    return fail_after_others(a, info, a->dir,
                             a->x->dry_run ? "exists already"
                                           : "exists already, and its replica is no member",
                             "what an interrupted command has left there can be removed; or "
                             "choose a new folder with --out");
}

static int
put_files(struct change *a)
{
    C2_AUTO(c2_buf_done) struct c2_buf trust = { 0 };
    const struct meta_file files[] = {
        { a->dir, "root.pub", 0644, &trust },
        { a->dir, "replica.key", 0600, &a->plan.key },
        { a->dir, "c2fs-metad.conf", 0644, &a->plan.conf },
        { a->dir, OWNER, 0600, &a->plan.owner },
        { a->dir, FIRST_START, 0600, &a->plan.first_start },
    };
    C2_AUTO(c2_free_auto) char *data = c2_asprintf("%s/data", a->dir);
    cluster_write_trust(a->s.coord, service_name(&a->s), &trust);
    int code = meta_make_dir(a->x, what, a->dir);
    if (code != CTL_EXIT_OK)
        return code;
    code = meta_make_dir(a->x, what, data);
    for (size_t i = 0; code == CTL_EXIT_OK && i < C2_ARRAY_LEN(files); i++)
        code = meta_put_file(a->x, what, &files[i]);
    if (code != CTL_EXIT_OK)
        meta_remove_replica(a->dir);
    return code;
}

struct asked {
    struct cluster_request q;
    bool done;
};

static void
asked_done(struct cluster_request *q)
{
    C2_CONTAINER_OF(q, struct asked, q)->done = true;
}

static int
order(struct change *a, struct cluster_info *info)
{
    struct asked k = { .q = { .request = c2_buf_slice(&a->plan.request), .done = asked_done } };
    k.q.deadline_ns = c2_now_ns(a->s.env) + SERVICE_TIMEOUT_NS;
    cluster_submit(a->s.coord, &k.q);
    c2_os_run_until(a->s.os, &k.done);
    if (k.q.err == C2_E_OK)
        return CTL_EXIT_OK;
    if (k.q.err == C2_E_NOT_PERMITTED) {
        if (a->dir != NULL)
            meta_remove_replica(a->dir);
        return fail_after_others(a, info, NULL, k.q.why, "try again in a moment");
    }
    return cmd_fail(a->x, k.q.err, what, NULL, "it is not known whether the change was accepted",
                    "c2fsctl meta status shows the replicas");
}

static int
wait_for_epoch(struct change *a, struct cluster_info *info)
{
    enum c2_err err = push_to_epoch(a, info, BATCHES_MAX);
    if (info->epoch >= a->plan.epoch)
        return CTL_EXIT_OK;
    return cmd_fail(a->x, err == C2_E_OK ? C2_E_TIMEOUT : err, what, NULL,
                    "the change is accepted, and will take effect when the service has done some "
                    "more",
                    "c2fsctl meta status shows the replicas");
}

static void
print_change(const struct change *a)
{
    struct c2_buf out = { 0 };
    struct c2_json j;
    if (a->x->json) {
        cmd_json_begin(&j, &out, "c2fs.meta-replica/1");
        c2_json_u64(&j, "epoch", a->plan.epoch);
        c2_json_u64(&j, "replicas", a->after);
        c2_json_str(&j, "folder", a->c.address != NULL ? a->dir : NULL);
        cmd_json_print(&j, &out);
        return;
    }
    (void)printf("%s: epoch %u has %u replicas\n", a->x->dry_run ? "planned" : "done",
                 a->plan.epoch, a->after);
    if (a->c.address != NULL)
        (void)printf("  %s  for %s: move it there, as /var/lib/c2fs-metad/N;\n"
                     "  systemctl enable --now c2fs-metad@N, or c2fs-metad -C c2fs-metad.conf\n",
                     a->dir, a->c.address);
    if (a->c.leaves != 0)
        (void)printf("  the replica that was number %u is not needed any more: end it\n",
                     a->c.leaves);
}

static int
run_change(struct change *a)
{
    struct cluster_info info;
    int code = meta_connect(&a->s, &info);
    a->trust_path = c2_conf_str(a->x->conf, "metadata", service_name(&a->s), "trust");
    if (code == CTL_EXIT_OK)
        code = plan(a);
    if (code == CTL_EXIT_OK)
        code = check_trust(a);
    if (code == CTL_EXIT_OK)
        code = check_standing(a, &info);
    if (code != CTL_EXIT_OK)
        return code;
    if (a->c.address != NULL) {
        C2_AUTO(c2_free_auto) char *folder = c2_asprintf("replica-%u", a->plan.id);
        a->dir = a->out_dir != NULL ? c2_strdup(a->out_dir) : beside(a->trust_path, folder);
    }
    if (a->dir != NULL)
        code = check_folder(a, &info);
    if (code == CTL_EXIT_OK && !a->x->dry_run) {
        if (a->dir != NULL)
            code = put_files(a);
        if (code == CTL_EXIT_OK)
            code = order(a, &info);
        if (code == CTL_EXIT_OK)
            code = wait_for_epoch(a, &info);
    }
    if (code == CTL_EXIT_OK)
        print_change(a);
    return code;
}

static bool
parse_change(struct change *a, int argc, char **argv)
{
    uint64_t number = 0;
    if (argc < 2)
        return false;
    a->verb = argv[0];
    bool add = strcmp(a->verb, "add") == 0, replace = strcmp(a->verb, "replace") == 0;
    if (!add && !replace && strcmp(a->verb, "remove") != 0)
        return false;
    if (argc != (replace ? 3 : 2))
        return false;
    if (!add && (c2_u64_parse(c2_slice_str(argv[1]), CLUSTER_REPLICAS_MAX, &number) != C2_E_OK ||
                 number == 0))
        return false;
    a->c.leaves = (unsigned)number;
    a->c.address = add ? argv[1] : replace ? argv[2] : NULL;
    return true;
}

static int
run_replica(struct cmd_ctx *x, int argc, char **argv)
{
    static const struct option longs[] = { { "admin", required_argument, NULL, 'a' },
                                           { "out", required_argument, NULL, 'o' },
                                           { "service", required_argument, NULL, 's' },
                                           { NULL, 0, NULL, 0 } };
    struct change a = { .x = x };
    const struct cmd *c = cmd_find(what);
    int flag;
    optind = 0;
    while ((flag = getopt_long(argc, argv, "s:", longs, NULL)) != -1) {
        if (flag == 'a')
            a.admin_path = optarg;
        else if (flag == 'o')
            a.out_dir = optarg;
        else if (flag == 's')
            a.service = optarg;
        else
            return cmd_usage_words(x, c, "unknown option", argc, argv);
    }
    if (!parse_change(&a, argc - optind, argv + optind))
        return cmd_usage(x, c, "add HOST:PORT, remove NUMBER or replace NUMBER HOST:PORT");
    int code = service_open(x, what, a.service, &a.s);
    if (code != CTL_EXIT_OK)
        return code;
    code = run_change(&a);
    service_close(&a.s);
    cluster_plan_done(&a.plan);
    c2_free(a.admin_default);
    c2_free(a.dir);
    return code;
}

/* ---- meta root ------------------------------------------------------------------------------- */

static const char root_what[] = "meta root";

static int
put_root(const struct service *s, const char *path)
{
    C2_AUTO(c2_buf_done) struct c2_buf text = { 0 };
    const char *slash = strrchr(path, '/');
    C2_AUTO(c2_free_auto)
    char *dir = slash == NULL ? c2_strdup(".") : c2_strndup(path, (size_t)(slash - path));
    cluster_write_trust(s->coord, service_name(s), &text);
    const struct meta_file f = {
        .dir = dir, .name = slash == NULL ? path : slash + 1, .mode = 0644, .text = &text
    };
    return meta_put_file(s->x, root_what, &f);
}

static void
print_root(const struct service *s, const char *path, const struct cluster_info *info)
{
    struct c2_buf out = { 0 };
    struct c2_json j;
    if (s->x->json) {
        cmd_json_begin(&j, &out, "c2fs.meta-root/1");
        c2_json_str(&j, "file", path);
        c2_json_u64(&j, "epoch", info->epoch);
        c2_json_u64(&j, "replicas", info->n);
        cmd_json_print(&j, &out);
        return;
    }
    (void)printf("%s: %u replicas, epoch %u\n"
                 "  in the place of the root.pub of a client or a replica that was away too long; "
                 "start it again then\n",
                 path, info->n, info->epoch);
}

static int
run_root(struct cmd_ctx *x, int argc, char **argv)
{
    struct service s;
    struct cluster_info info;
    struct service_words w;
    int code = service_parse(x, root_what, argc, argv, "takes a new file, and a service", &w);
    if (code == CTL_EXIT_OK)
        code = service_open(x, root_what, w.service, &s);
    if (code != CTL_EXIT_OK)
        return code;
    code = meta_connect(&s, &info); /* what is written works now */
    if (code == CTL_EXIT_OK && !x->dry_run)
        code = put_root(&s, w.file);
    if (code == CTL_EXIT_OK)
        print_root(&s, w.file, &info);
    service_close(&s);
    return code;
}

const struct cmd cmds_meta_change[] = {
    { .name = "meta replica",
      .args = "[-s SERVICE] add HOST:PORT|remove NUMBER|replace NUMBER HOST:PORT [--admin FILE] "
              "[--out DIR]",
      .summary = "add, remove or replace a replica while the service works",
      .help =
          "NUMBER is the place that c2fsctl meta status shows. --admin is the key that c2fsctl\n"
          "meta init wrote (default: admin.key beside root.pub). The files of a new replica\n"
          "come into --out (default: a folder beside root.pub): move it to its machine and\n"
          "start c2fs-metad; it gets the state from the others. Clients find the new members\n"
          "by themselves. One change at a time; until a new replica runs, one less may fail.\n",
      .options = "-s --admin --out",
      .needs = CMD_NEEDS_CONF,
      .run = run_replica },
    { .name = "meta root",
      .args = "FILE [[-s] SERVICE]",
      .summary = "write the members of a coordination service to a new root.pub",
      .help =
          "For a client or a replica that was away for more than 256 changes of the members, or\n"
          "knows none of today: it cannot verify them any more, and needs this file in the\n"
          "place of its root.pub, from somebody it trusts. This command has verified them\n"
          "from its own root.pub on, and they have answered. Each replica keeps such a file,\n"
          "too: root.pub in its data folder.\n",
      .options = "-s",
      .needs = CMD_NEEDS_CONF,
      .run = run_root },
    { .name = NULL },
};
