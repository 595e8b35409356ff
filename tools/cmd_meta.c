/* SPDX-License-Identifier: MIT */
/*
 * meta init, status: coordination services.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/os_file.h"
#include "base/str.h"
#include "metadata/cluster.h"
#include "tools/cmd.h"
#include "tools/meta.h"
#include "tools/service.h"

#define FORMER_MAX     16
#define FORMER_NS      C2_NS_PER_S /* for those that are not members any more */
#define STATUS_NS      (3 * C2_NS_PER_S)
#define REPLICAS_MAX   64 /* that may be typed */
#define NAME_MAX_CHARS 63

/* ---- meta init ------------------------------------------------------------------------------- */

struct init {
    const struct cmd_ctx *x;
    const char *dir;
    const char *addresses[REPLICAS_MAX];
    size_t n;
    uint64_t f;
    char name[NAME_MAX_CHARS + 1];
};

int
meta_make_dir(const struct cmd_ctx *x, const char *what, const char *path)
{
    if (mkdir(path, 0700) == 0)
        return CTL_EXIT_OK;
    return cmd_fail(x, c2_err_from_errno(errno), what, path,
                    errno == EEXIST ? "exists already" : strerror(errno),
                    errno == EEXIST ? "choose a new folder" : NULL);
}

int
meta_put_file(const struct cmd_ctx *x, const char *what, const struct meta_file *f)
{
    C2_AUTO(c2_free_auto) char *path = c2_asprintf("%s/%s", f->dir, f->name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, f->mode);
    if (fd < 0)
        return cmd_fail(x, c2_err_from_errno(errno), what, path,
                        errno == EEXIST ? "exists already" : strerror(errno),
                        errno == EEXIST ? "choose a new file" : NULL);
    enum c2_err err = c2_os_write_all(fd, f->text->data, f->text->len);
    if (err == C2_E_OK && fsync(fd) != 0)
        err = c2_err_from_errno(errno);
    close(fd);
    if (err == C2_E_OK)
        return CTL_EXIT_OK;
    (void)unlink(path); /* ours, and no file at all */
    return cmd_fail(x, err, what, path, NULL, NULL);
}

void
meta_remove(const char *dir, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        C2_AUTO(c2_free_auto) char *path = c2_asprintf("%s/%s", dir, names[i]);
        if (unlink(path) != 0)
            (void)rmdir(path);
    }
    (void)rmdir(dir);
}

void
meta_remove_replica(const char *dir)
{
    static const char *const names[] = {
        "data/" CLUSTER_FIRST_START, "data/" CLUSTER_OWNER, "data",
        "c2fs-metad.conf",           "replica.key",         "root.pub"
    };
    meta_remove(dir, names, C2_ARRAY_LEN(names));
}

/* A new file below the folder. */
static int
put_file(const struct init *a, const char *name, unsigned mode, const struct c2_buf *text)
{
    const struct meta_file f = { .dir = a->dir, .name = name, .mode = mode, .text = text };
    return meta_put_file(a->x, "meta init", &f);
}

static int
make_dir(const struct init *a, const char *path)
{
    return meta_make_dir(a->x, "meta init", path);
}

static int
put_replica(const struct init *a, const struct cluster_files *f, size_t i)
{
    const struct {
        const char *name;
        unsigned mode;
        const struct c2_buf *text;
    } files[] = {
        { "root.pub", 0644, &f->trust },
        { "replica.key", 0600, &f->key[i] },
        { "c2fs-metad.conf", 0644, &f->conf[i] },
        { "data/" CLUSTER_OWNER, 0600, &f->owner[i] },
        { "data/" CLUSTER_FIRST_START, 0600, &f->first_start },
    };
    C2_AUTO(c2_free_auto) char *dir = c2_asprintf("%s/replica-%zu", a->dir, i + 1);
    C2_AUTO(c2_free_auto) char *data = c2_asprintf("%s/data", dir);
    int code = make_dir(a, dir);
    if (code == CTL_EXIT_OK)
        code = make_dir(a, data);
    for (size_t k = 0; code == CTL_EXIT_OK && k < C2_ARRAY_LEN(files); k++) {
        C2_AUTO(c2_free_auto) char *name = c2_asprintf("replica-%zu/%s", i + 1, files[k].name);
        code = put_file(a, name, files[k].mode, files[k].text);
    }
    return code;
}

static int
put_all(const struct init *a, const struct cluster_files *f)
{
    int code = put_file(a, "root.pub", 0644, &f->trust);
    if (code == CTL_EXIT_OK)
        code = put_file(a, "client.key", 0600, &f->client);
    if (code == CTL_EXIT_OK)
        code = put_file(a, "admin.key", 0600, &f->admin);
    for (size_t i = 0; code == CTL_EXIT_OK && i < a->n; i++)
        code = put_replica(a, f, i);
    if (code == CTL_EXIT_OK) /* the last: whoever waits for it finds everything */
        code = put_file(a, "client.conf", 0644, &f->client_conf);
    return code;
}

/* A new folder with everything in it, or none. */
static int
put_folder(const struct init *a, const struct cluster_files *f)
{
    static const char *const names[] = { "client.conf", "admin.key", "client.key", "root.pub" };
    int code = make_dir(a, a->dir);
    if (code != CTL_EXIT_OK)
        return code;
    code = put_all(a, f);
    for (size_t i = 0; code != CTL_EXIT_OK && i < a->n; i++) {
        C2_AUTO(c2_free_auto) char *dir = c2_asprintf("%s/replica-%zu", a->dir, i + 1);
        meta_remove_replica(dir);
    }
    if (code != CTL_EXIT_OK)
        meta_remove(a->dir, names, C2_ARRAY_LEN(names));
    return code;
}

/* The last part of the folder's path, as far as it may be the name of a section. */
static void
choose_name(struct init *a)
{
    size_t len = strlen(a->dir);
    while (len > 0 && a->dir[len - 1] == '/')
        len--;
    size_t from = len;
    while (from > 0 && a->dir[from - 1] != '/')
        from--;
    size_t out = 0;
    for (size_t i = from; i < len && out < NAME_MAX_CHARS; i++) {
        char c = a->dir[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (letter || (out > 0 && strchr("._-", c) != NULL))
            a->name[out++] = c;
    }
    if (out == 0)
        strncpy(a->name, "main", sizeof a->name - 1);
}

static void
print_init(const struct init *a)
{
    if (a->x->json) {
        struct c2_buf out = { 0 };
        struct c2_json j;
        cmd_json_begin(&j, &out, "c2fs.meta-init/1");
        c2_json_str(&j, "name", a->name);
        c2_json_str(&j, "folder", a->dir);
        c2_json_u64(&j, "replicas", a->n);
        c2_json_u64(&j, "f", a->f);
        cmd_json_print(&j, &out);
        return;
    }
    (void)printf("coordination service \"%s\": %zu replicas, any %llu of them may fail or lie\n\n",
                 a->name, a->n, (unsigned long long)a->f);
    if (a->x->dry_run) {
        (void)printf("nothing was written\n");
        return;
    }
    for (size_t i = 0; i < a->n; i++)
        (void)printf("  %s/replica-%zu  for %s\n", a->dir, i + 1, a->addresses[i]);
    (void)printf("  %s/client.conf  for clients, with root.pub and client.key\n"
                 "  %s/admin.key    keep it away from all of them\n\n"
                 "move each folder to its machine, as /var/lib/c2fs-metad/N, and start it there:\n"
                 "  systemctl enable --now c2fs-metad@N, or c2fs-metad -C c2fs-metad.conf\n"
                 "when the replicas run: c2fsctl -C '%s/client.conf' meta status\n",
                 a->dir, a->dir, a->dir);
}

static int
run_init(struct cmd_ctx *x, int argc, char **argv)
{
    static const struct option longs[] = { { "replica", required_argument, NULL, 'r' },
                                           { "f", required_argument, NULL, 'f' },
                                           { NULL, 0, NULL, 0 } };
    struct init a = { .x = x, .f = 1 };
    const struct cmd *c = cmd_find("meta init");
    int flag;
    optind = 0;
    while ((flag = getopt_long(argc, argv, "r:f:", longs, NULL)) != -1) {
        if (flag == '?')
            return cmd_usage_words(x, c, "unknown option, or one without its value", argc, argv);
        if (flag == 'r' && a.n < REPLICAS_MAX)
            a.addresses[a.n++] = optarg;
        else if (flag != 'f' || c2_u64_parse(c2_slice_str(optarg), 100, &a.f) != C2_E_OK)
            return cmd_usage(x, c, "--f takes a number, --replica HOST:PORT");
    }
    if (argc - optind < 1)
        return cmd_usage(x, c, "which folder?");
    a.dir = argv[optind++];
    for (; optind < argc; optind++) { /* more replicas without the option */
        if (a.n == REPLICAS_MAX)
            return cmd_usage(x, c, "too many replicas");
        a.addresses[a.n++] = argv[optind];
    }
    choose_name(&a);
    struct cluster_files files = { 0 };
    char *error = NULL;
    if (c2_crypto_init() != C2_E_OK)
        return cmd_fail(x, C2_E_UNSUPPORTED, "meta init", a.dir, "cannot start", NULL);
    enum c2_err err = cluster_make(a.name, a.addresses, a.n, (unsigned)a.f, &files, &error);
    int code = CTL_EXIT_OK;
    if (err != C2_E_OK)
        code = cmd_fail(x, err, "meta init", a.dir, error, "c2fsctl help meta init");
    else if (x->dry_run && access(a.dir, F_OK) == 0)
        code =
            cmd_fail(x, C2_E_EXISTS, "meta init", a.dir, "exists already", "choose a new folder");
    else if (!x->dry_run)
        code = put_folder(&a, &files);
    if (code == CTL_EXIT_OK)
        print_init(&a);
    c2_free(error);
    cluster_files_done(&files);
    return code;
}

/* ---- meta status ----------------------------------------------------------------------------- */

struct look {
    struct service s;
    struct cluster_info info;
    char *json[CLUSTER_REPLICAS_MAX]; /* owned; what each said */
    unsigned answers;
    struct {
        char *address, *json; /* owned */
    } former[FORMER_MAX];
    unsigned nformer, former_asked;
    uint64_t all_ns; /* when all members had spoken; 0 = not yet */
    bool over;
    struct c2_timer timer, poll;
};

/* Every replica spoke, and together they gave this command a session. Those that were members get a
 * moment, and perhaps do not run. */
static void
look_enough(struct look *l)
{
    uint64_t now_ns = c2_now_ns(l->s.env);
    (void)cluster_look(l->s.coord, &l->info);
    if (!l->info.session || l->answers < l->info.n)
        return;
    if (l->all_ns == 0)
        l->all_ns = now_ns;
    l->over = l->over || l->former_asked == 0 || now_ns >= l->all_ns + FORMER_NS;
}

static void
former_told(void *arg, const char *address, struct c2_slice json)
{
    struct look *l = arg;
    if (l->nformer == FORMER_MAX)
        return;
    l->former[l->nformer].address = c2_strdup(address);
    l->former[l->nformer++].json = c2_strndup((const char *)json.data, json.len);
}

static void
told(void *arg, unsigned seat, struct c2_slice json)
{
    struct look *l = arg;
    if (l->json[seat] != NULL || seat >= l->info.n)
        return;
    l->json[seat] = c2_strndup((const char *)json.data, json.len);
    l->answers++;
    look_enough(l);
}

static void
look_over(struct c2_timer *t)
{
    C2_CONTAINER_OF(t, struct look, timer)->over = true;
}

/* Asks again now and then: links come up one by one. */
static void
look_again(struct c2_timer *t)
{
    struct look *l = C2_CONTAINER_OF(t, struct look, poll);
    uint32_t epoch = l->info.epoch;
    (void)cluster_look(l->s.coord, &l->info);
    for (unsigned i = 0; l->info.epoch != epoch && i < CLUSTER_REPLICAS_MAX; i++) {
        c2_free(l->json[i]); /* their places have changed */
        l->json[i] = NULL;
        l->answers = 0;
    }
    cluster_ask(l->s.coord, told, l);
    l->former_asked = cluster_ask_former(l->s.coord, former_told, l);
    look_enough(l);
    c2_timer_arm(l->s.env, t, c2_now_ns(l->s.env) + 100 * C2_NS_PER_MS);
}

/* The value of a key in the flat object that a replica sent: it may be anything. */
char *
meta_field(const char *json, const char *key)
{
    C2_AUTO(c2_free_auto) char *quoted = c2_asprintf("\"%s\":", key);
    const char *at = json == NULL ? NULL : strstr(json, quoted);
    if (at == NULL)
        return c2_strdup("-");
    at += strlen(quoted);
    bool text = *at == '"';
    at += text;
    size_t len = strcspn(at, text ? "\"" : ",}");
    char *value = c2_strndup(at, C2_MIN(len, (size_t)40));
    for (char *p = value; *p != '\0'; p++)
        *p = *p >= ' ' && *p < 127 ? *p : '?';
    return value;
}

/* What is wrong with the replica's clock, NULL = nothing. */
static char *
clock_note(const char *json)
{
    C2_AUTO(c2_free_auto) char *wrong = meta_field(json, "clock_wrong");
    C2_AUTO(c2_free_auto) char *ahead = meta_field(json, "clock_ahead_ms");
    if (strcmp(wrong, "true") != 0)
        return NULL;
    bool behind = ahead[0] == '-';
    return c2_asprintf("its clock is %s ms %s", ahead + behind, behind ? "behind" : "ahead");
}

static void
print_replicas(const struct look *l)
{
    struct cmd_table t = { .ncolumns = 8,
                           .headers = { "REPLICA", "ADDRESS", "STATE", ">VIEW", ">EXECUTED",
                                        ">STABLE", ">CLIENTS", "" } };
    static const char *const keys[] = { "mode", "view", "executed", "stable", "clients" };
    for (unsigned i = 0; i < l->info.n; i++) {
        char *v[C2_ARRAY_LEN(keys)];
        char number[16];
        for (size_t k = 0; k < C2_ARRAY_LEN(keys); k++)
            v[k] = meta_field(l->json[i], keys[k]);
        C2_AUTO(c2_free_auto) char *primary = meta_field(l->json[i], "primary");
        C2_AUTO(c2_free_auto) char *full = meta_field(l->json[i], "disk_full");
        const struct cluster_replica *r = &l->info.replica[i];
        (void)snprintf(number, sizeof number, "%u", i + 1);
        const char *state = l->json[i] != NULL ? v[0] : r->up ? "silent" : "unreachable";
        C2_AUTO(c2_free_auto) char *clock = clock_note(l->json[i]);
        const char *note = l->json[i] == NULL && !r->up   ? c2_err_text(r->error)
                           : strcmp(full, "true") == 0    ? "disk full"
                           : clock != NULL                ? clock
                           : strcmp(primary, "true") == 0 ? "primary"
                                                          : "";
        cmd_table_add(&t, number, r->address, state, v[1], v[2], v[3], v[4], note);
        for (size_t k = 0; k < C2_ARRAY_LEN(keys); k++)
            c2_free(v[k]);
    }
    for (unsigned i = 0; i < l->nformer; i++) {
        C2_AUTO(c2_free_auto) char *mode = meta_field(l->former[i].json, "mode");
        cmd_table_add(&t, "-", l->former[i].address, mode, "-", "-", "-", "-",
                      "is not a member any more: stop it for good");
    }
    cmd_table_print(&t, "  ");
}

static unsigned
count_running(const struct look *l)
{
    unsigned running = 0;
    for (unsigned i = 0; i < l->info.n; i++) {
        C2_AUTO(c2_free_auto) char *mode = meta_field(l->json[i], "mode");
        running += strcmp(mode, "running") == 0;
    }
    return running;
}

static unsigned
count_wrong_clocks(const struct look *l)
{
    unsigned wrong = 0;
    for (unsigned i = 0; i < l->info.n; i++) {
        C2_AUTO(c2_free_auto) char *clock = clock_note(l->json[i]);
        wrong += clock != NULL;
    }
    return wrong;
}

static const char *
state_of(const struct look *l, unsigned running)
{
    if (!l->info.session || running < cluster_quorum(l->info.n, l->info.f))
        return "FAULTED";
    return running < l->info.n || count_wrong_clocks(l) > 0 ? "DEGRADED" : "ONLINE";
}

static const char *
action_of(const struct look *l, unsigned running)
{
    unsigned up = 0, strangers = 0, lost = 0, catching = 0;
    for (unsigned i = 0; i < l->info.n; i++) {
        C2_AUTO(c2_free_auto) char *mode = meta_field(l->json[i], "mode");
        bool quarantined = strcmp(mode, "quarantined") == 0;
        lost += quarantined;
        catching += quarantined || strcmp(mode, "syncing") == 0 || strcmp(mode, "booting") == 0;
        up += l->info.replica[i].up;
        strangers += !l->info.replica[i].up && l->info.replica[i].error == C2_E_TLS;
    }
    if (running + catching == l->info.n && lost <= l->info.f && catching > 0)
        return lost > 0 ? "those that are quarantined have lost their log, and get their vote back "
                          "when\n"
                          "         the others have done more: c2fsctl meta checkpoint hastens it"
                        : "wait: those that are not running fetch the state from the others";
    if (lost > l->info.f)
        return "more replicas have lost their data than may: bring the data folders back, or make\n"
               "         a new service and load a dump: c2fsctl meta init, c2fsctl meta load";
    if (running == l->info.n && count_wrong_clocks(l) > 0)
        return "set the clocks right, and keep them so (NTP)";
    if (running == l->info.n)
        return "look again: they may be choosing a primary. If it stays so, set clocks right that\n"
               "         are more than 3 s off, and read the logs (journalctl -u 'c2fs-metad@*')";
    if (up == 0 && strangers > 0)
        return "is this root.pub of this service? If replicas have been replaced since, get a "
               "newer "
               "one:\n         c2fsctl meta root, by another client";
    return up == 0
               ? "start the replicas; if all of them have been replaced, get a newer root.pub:\n"
                 "         c2fsctl meta root, by another client"
               : "look at the replicas that are not running (journalctl -u 'c2fs-metad@*')";
}

static void
print_look(const struct look *l, const char *state, unsigned running)
{
    struct c2_buf out = { 0 };
    struct c2_json j;
    if (!l->s.x->json) {
        (void)printf("service: %s\nstate:   %s\nfaults:  any %u of %u replicas\n", l->s.url + 4,
                     state, l->info.f, l->info.n);
        if (strcmp(state, "ONLINE") != 0)
            (void)printf("action:  %s\n", action_of(l, running));
        (void)printf("\n");
        print_replicas(l);
        return;
    }
    cmd_json_begin(&j, &out, "c2fs.meta-status/1");
    c2_json_str(&j, "service", l->s.url + 4);
    c2_json_str(&j, "state", state);
    c2_json_u64(&j, "f", l->info.f);
    c2_json_bool(&j, "session", l->info.session);
    c2_json_u64(&j, "epoch", l->info.epoch);
    c2_json_u64(&j, "view", l->info.view);
    c2_json_array(&j, "replicas");
    for (unsigned i = 0; i < l->info.n; i++) {
        const struct cluster_replica *r = &l->info.replica[i];
        static const char *const numbers[] = { "view",     "executed",     "stable", "clients",
                                               "requests", "view_changes", "syncs" };
        C2_AUTO(c2_free_auto) char *mode = meta_field(l->json[i], "mode");
        C2_AUTO(c2_free_auto) char *full = meta_field(l->json[i], "disk_full");
        c2_json_object(&j, NULL);
        c2_json_u64(&j, "replica", i + 1);
        c2_json_str(&j, "address", r->address);
        c2_json_bool(&j, "connected", r->up);
        c2_json_str(&j, "error", r->up ? NULL : c2_err_name(r->error));
        c2_json_str(&j, "mode", l->json[i] == NULL ? NULL : mode);
        c2_json_bool(&j, "disk_full", strcmp(full, "true") == 0);
        C2_AUTO(c2_free_auto) char *clock = clock_note(l->json[i]);
        c2_json_str(&j, "clock", clock);
        for (size_t k = 0; l->json[i] != NULL && k < C2_ARRAY_LEN(numbers); k++) {
            C2_AUTO(c2_free_auto) char *v = meta_field(l->json[i], numbers[k]);
            uint64_t value = 0;
            if (c2_u64_parse(c2_slice_str(v), UINT64_MAX, &value) == C2_E_OK)
                c2_json_u64(&j, numbers[k], value);
        }
        c2_json_object_end(&j);
    }
    c2_json_array_end(&j);
    c2_json_array(&j, "former");
    for (unsigned i = 0; i < l->nformer; i++) {
        C2_AUTO(c2_free_auto) char *mode = meta_field(l->former[i].json, "mode");
        c2_json_object(&j, NULL);
        c2_json_str(&j, "address", l->former[i].address);
        c2_json_str(&j, "mode", mode);
        c2_json_object_end(&j);
    }
    c2_json_array_end(&j);
    cmd_json_print(&j, &out);
}

static int
run_status(struct cmd_ctx *x, int argc, char **argv)
{
    struct look l = { .timer = { .fire = look_over }, .poll = { .fire = look_again } };
    struct service_words w;
    int code = service_parse(x, "meta status", argc, argv, "takes the name of one service", &w);
    if (code == CTL_EXIT_OK)
        code = service_open(x, "meta status", w.service, &l.s);
    if (code != CTL_EXIT_OK)
        return code;
    if (!cluster_look(l.s.coord, &l.info)) {
        code = cmd_fail(x, C2_E_UNSUPPORTED, "meta status", l.s.url,
                        "this is not a replicated service", NULL);
        service_close(&l.s);
        return code;
    }
    uint64_t now_ns = c2_now_ns(l.s.env);
    c2_timer_arm(l.s.env, &l.timer, now_ns + STATUS_NS);
    c2_timer_arm(l.s.env, &l.poll, now_ns);
    c2_os_run_until(l.s.os, &l.over);
    c2_timer_stop(l.s.env, &l.timer);
    c2_timer_stop(l.s.env, &l.poll);
    (void)cluster_look(l.s.coord, &l.info);
    unsigned running = count_running(&l);
    const char *state = state_of(&l, running);
    print_look(&l, state, running);
    code = strcmp(state, "ONLINE") == 0     ? CTL_EXIT_OK
           : strcmp(state, "DEGRADED") == 0 ? CTL_EXIT_DEGRADED
                                            : CTL_EXIT_UNAVAILABLE;
    for (unsigned i = 0; i < CLUSTER_REPLICAS_MAX; i++)
        c2_free(l.json[i]);
    service_close(&l.s);
    for (unsigned i = 0; i < l.nformer; i++) {
        c2_free(l.former[i].address);
        c2_free(l.former[i].json);
    }
    return code;
}

const struct cmd cmds_meta[] = {
    { .name = "meta init",
      .args = "DIR --replica HOST:PORT ... [--f 1]",
      .summary = "make the configuration and keys of a coordination service",
      .help = "Writes DIR/replica-1, DIR/replica-2, ... with what each c2fs-metad needs, and\n"
              "DIR/client.conf, root.pub and client.key for clients. --f is how many replicas may\n"
              "fail or lie at the same time; 3f+1 are needed, in different clouds.\n"
              "DIR/admin.key admits clients and changes the members: keep it somewhere else.\n",
      .options = "--replica --f",
      .needs = CMD_NEEDS_NOTHING,
      .run = run_init },
    { .name = "meta status",
      .args = "[[-s] SERVICE]",
      .summary = "show a coordination service and its replicas",
      .help =
          "Exit code 0 when all replicas run, 6 when some do not or have a wrong clock, 5 when\n"
          "too few do. Replicas that were members and were not stopped are listed, too, as far\n"
          "as they were in root.pub or came after it.\n"
          "What a replica says about itself is not proven.\n",
      .options = "-s",
      .needs = CMD_NEEDS_CONF,
      .run = run_status },
    { .name = NULL },
};
