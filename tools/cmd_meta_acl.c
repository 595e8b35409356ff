/* SPDX-License-Identifier: MIT */
/*
 * meta client, meta acl: who uses a coordination service, and who may do what in it.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os_file.h"
#include "base/str.h"
#include "metadata/cluster.h"
#include "metadata/registry.h"
#include "tools/kv.h"
#include "tools/meta.h"

#define KEY_FILE_MAX (64u << 10)
#define TRIES        8 /* somebody else may change the list at the same time */

/* ---- keys in files --------------------------------------------------------------------------- */

/* A file beside the trust file of the service. */
static char *
beside_trust(const struct cmd_ctx *x, const char *service, const char *name)
{
    const char *trust = c2_conf_str(x->conf, "metadata", service, "trust");
    const char *slash = trust == NULL ? NULL : strrchr(trust, '/');
    return c2_asprintf("%.*s%s", slash == NULL ? 0 : (int)(slash - trust + 1),
                       trust == NULL ? "" : trust, name);
}

static void
wipe(struct c2_buf *b)
{
    if (b->data != NULL)
        c2_wipe(b->data, b->cap);
    c2_buf_done(b);
}

static int
read_admin(const struct cmd_ctx *x, const char *what, const char *service, const char *path,
           struct c2_buf *text)
{
    struct c2_os_file_info info;
    C2_AUTO(c2_free_auto) char *usual = beside_trust(x, service, "admin.key");
    const char *file = path != NULL ? path : usual;
    enum c2_err err = c2_os_read_file(file, KEY_FILE_MAX, text, &info);
    if (err != C2_E_OK)
        return cmd_fail(x, err, what, file, NULL, "the administrator's key signs it: --admin FILE");
    if ((info.mode & 077) == 0)
        return CTL_EXIT_OK;
    C2_AUTO(c2_free_auto) char *hint = c2_asprintf("chmod 600 %s", file);
    return cmd_fail(x, C2_E_ACCESS, what, file, "others may read it", hint);
}

/* ---- meta client ----------------------------------------------------------------------------- */

static const char client_what[] = "meta client";

struct client {
    const struct cmd_ctx *x;
    const char *dir, *prefix, *admin_path;
    const char *service; /* name of its section */
};

static int
read_trust(const struct client *a, struct c2_buf *text)
{
    const char *path = c2_conf_str(a->x->conf, "metadata", a->service, "trust");
    if (path == NULL)
        return cmd_fail(a->x, C2_E_CONFIG, client_what, a->service, "it has no trust file", NULL);
    enum c2_err err = c2_os_read_file(path, KEY_FILE_MAX, text, NULL);
    return err == C2_E_OK ? CTL_EXIT_OK : cmd_fail(a->x, err, client_what, path, NULL, NULL);
}

static int
put_client(const struct client *a, const struct c2_buf *trust, const struct cluster_client *c)
{
    const struct meta_file files[] = {
        { a->dir, "root.pub", 0644, trust },
        { a->dir, "client.key", 0600, &c->key },
        { a->dir, "client.conf", 0644, &c->conf },
    };
    static const char *const names[] = { "client.conf", "client.key", "root.pub" };
    if (a->x->dry_run)
        return access(a->dir, F_OK) != 0 ? CTL_EXIT_OK
                                         : cmd_fail(a->x, C2_E_EXISTS, client_what, a->dir,
                                                    "exists already", "choose a new folder");
    int code = meta_make_dir(a->x, client_what, a->dir);
    if (code != CTL_EXIT_OK)
        return code;
    for (size_t i = 0; code == CTL_EXIT_OK && i < C2_ARRAY_LEN(files); i++)
        code = meta_put_file(a->x, client_what, &files[i]);
    if (code != CTL_EXIT_OK)
        meta_remove(a->dir, names, C2_ARRAY_LEN(names));
    return code;
}

static void
print_client(const struct client *a, const struct cluster_client *c)
{
    char key[2 * COORD_PRINCIPAL_LEN + 1];
    c2_hex_encode(c->principal, COORD_PRINCIPAL_LEN, key);
    if (a->x->json) {
        struct c2_buf out = { 0 };
        struct c2_json j;
        cmd_json_begin(&j, &out, "c2fs.meta-client/1");
        c2_json_str(&j, "folder", a->dir);
        c2_json_str(&j, "key", a->x->dry_run ? NULL : key);
        c2_json_str(&j, "prefix", a->prefix);
        cmd_json_print(&j, &out);
        return;
    }
    if (a->x->dry_run) { /* the key is nobody's */
        (void)printf("nothing was written\n");
        return;
    }
    (void)printf("client %s\n  %s  for its machine: root.pub, client.key, client.conf\n", key,
                 a->dir);
    if (a->prefix != NULL)
        (void)printf("\nnow give it its part: c2fsctl meta acl grant %s %s read,write\n", a->prefix,
                     key);
}

static int
make_client(const struct client *a)
{
    struct cluster_client_options o = { .conf = a->x->conf, .service = a->service };
    struct cluster_client c;
    struct c2_buf text = { 0 };
    C2_AUTO(c2_buf_done) struct c2_buf trust = { 0 };
    char *error = NULL;
    int code = read_admin(a->x, client_what, a->service, a->admin_path, &text);
    if (code == CTL_EXIT_OK)
        code = read_trust(a, &trust);
    if (code == CTL_EXIT_OK) {
        o.prefix = a->prefix;
        o.admin = c2_buf_slice(&text);
        o.trust = c2_buf_slice(&trust);
        enum c2_err err = cluster_make_client(&o, &c, &error);
        if (err != C2_E_OK) {
            code = cmd_fail(a->x, err, client_what, a->admin_path, error, NULL);
        } else {
            code = put_client(a, &trust, &c);
            if (code == CTL_EXIT_OK)
                print_client(a, &c);
            cluster_client_done(&c);
        }
    }
    c2_free(error);
    wipe(&text);
    return code;
}

static int
run_client(struct cmd_ctx *x, int argc, char **argv)
{
    static const struct option longs[] = { { "admin", required_argument, NULL, 'a' },
                                           { "prefix", required_argument, NULL, 'p' },
                                           { "service", required_argument, NULL, 's' },
                                           { NULL, 0, NULL, 0 } };
    struct client a = { .x = x };
    const struct cmd *c = cmd_find(client_what);
    C2_AUTO(c2_buf_done) struct c2_buf prefix = { 0 };
    int flag;
    optind = 0;
    while ((flag = getopt_long(argc, argv, "s:", longs, NULL)) != -1) {
        if (flag == 'a')
            a.admin_path = optarg;
        else if (flag == 'p')
            a.prefix = optarg;
        else if (flag == 's')
            a.service = strncmp(optarg, "bft:", 4) == 0 ? optarg + 4 : optarg;
        else
            return cmd_usage_words(x, c, "unknown option", argc, argv);
    }
    if (argc - optind != 1)
        return cmd_usage(x, c, "which new folder?");
    a.dir = argv[optind];
    if (a.prefix != NULL && !coord_prefix_of(a.prefix, &prefix))
        return cmd_usage(x, c, "--prefix takes up to 28 letters, digits, '.', '_' and '-'");
    if (a.service == NULL && c2_conf_section(x->conf, "metadata", 1) != NULL)
        return cmd_usage(x, c, "which coordination service? -s NAME");
    if (a.service == NULL)
        a.service = c2_conf_section(x->conf, "metadata", 0);
    if (a.service == NULL || !c2_conf_has_section(x->conf, "metadata", a.service))
        return cmd_fail(x, C2_E_CONFIG, client_what, a.service,
                        "the configuration has no such [metadata] section",
                        "c2fsctl -C DIR/client.conf, with the file that c2fsctl meta init wrote");
    return make_client(&a);
}

/* ---- meta acl -------------------------------------------------------------------------------- */

static const char acl_what[] = "meta acl";

struct acl {
    struct service s;
    const char *admin_path, *service;
    struct c2_buf admin;  /* owned; empty = as the client that we are */
    struct c2_buf prefix; /* owned */
    const char *name;     /* as it was typed */
    uint8_t key[COORD_PRINCIPAL_LEN];
    unsigned rights; /* 0 = none any more */

    uint64_t number; /* changes of the list, as it was read */
    struct coord_grant grants[COORD_ACL_GRANTS_MAX];
    size_t ngrants;
    bool found;
};

static enum c2_err
submit(struct acl *a, struct service_call *c, char **ret_error)
{
    service_start(&a->s, c);
    enum c2_err err = cluster_submit_acl(a->s.coord, &c->req, c2_buf_slice(&a->admin), ret_error);
    return err == C2_E_OK ? service_wait(&a->s, c) : err;
}

static int
acl_fail(const struct acl *a, enum c2_err err, char *error)
{
    static const char hint[] = "the administrator's key signs it: --admin FILE";
    int code;
    if (error != NULL)
        code = cmd_fail(a->s.x, err, acl_what, a->admin_path, error, hint);
    else if (err == C2_E_NOT_PERMITTED)
        code = cmd_fail(a->s.x, err, acl_what, a->name, "this client may not change that", hint);
    else
        code = service_fail(&a->s, err, a->name);
    c2_free(error);
    return code;
}

/* The list as it was at one moment. */
static enum c2_err
read_list(struct acl *a, struct cluster_acl *l, char **ret_error)
{
    enum c2_err err = C2_E_OK;
    for (unsigned changed = 0; !l->complete && changed < TRIES; changed += err != C2_E_OK) {
        struct service_call c = { .req = { .verb = COORD_ACL_LIST } };
        c.req.after = cluster_acl_after(l);
        err = submit(a, &c, ret_error);
        if (err != C2_E_OK) {
            coord_req_done(&c.req);
            return err;
        }
        err = cluster_acl_take(l, &c.req);
        coord_req_done(&c.req);
        if (err != C2_E_OK && err != C2_E_CONFLICT)
            return err;
    }
    return err;
}

/* Calls fn for each entry that we are shown. */
static int
walk(struct acl *a, void (*fn)(void *arg, const struct coord_entry *e), void *arg)
{
    struct cluster_acl l = { 0 };
    char *error = NULL;
    enum c2_err err = read_list(a, &l, &error);
    if (err != C2_E_OK) {
        cluster_acl_done(&l);
        return acl_fail(a, err, error);
    }
    a->number = l.changes;
    cluster_acl_each(&l, fn, arg);
    cluster_acl_done(&l);
    return CTL_EXIT_OK;
}

static const char *
rights_text(unsigned rights)
{
    static const char *const texts[] = { "none",  "read",       "write",       "read,write",
                                         "admin", "read,admin", "write,admin", "all" };
    return texts[rights & 7];
}

static void
print_entry(void *arg, const struct coord_entry *e)
{
    (void)arg;
    for (size_t at = 0; at + COORD_GRANT_LEN <= e->value.len; at += COORD_GRANT_LEN) {
        char key[2 * COORD_PRINCIPAL_LEN + 1];
        c2_hex_encode(e->value.data + at, COORD_PRINCIPAL_LEN, key);
        (void)printf("%s  %-11s  ", key, rights_text(e->value.data[at + COORD_PRINCIPAL_LEN]));
        if (e->key.len == 0)
            (void)printf("everything");
        kv_print_field(e->key);
        (void)printf("\n");
    }
}

static void
json_entry(void *arg, const struct coord_entry *e)
{
    struct c2_json *j = arg;
    c2_json_object(j, NULL);
    kv_json_bytes(j, "prefix", "prefix_hex", e->key);
    c2_json_array(j, "grants");
    for (size_t at = 0; at + COORD_GRANT_LEN <= e->value.len; at += COORD_GRANT_LEN) {
        char key[2 * COORD_PRINCIPAL_LEN + 1];
        unsigned rights = e->value.data[at + COORD_PRINCIPAL_LEN];
        c2_hex_encode(e->value.data + at, COORD_PRINCIPAL_LEN, key);
        c2_json_object(j, NULL);
        c2_json_str(j, "key", key);
        c2_json_bool(j, "read", (rights & COORD_MAY_READ) != 0);
        c2_json_bool(j, "write", (rights & COORD_MAY_WRITE) != 0);
        c2_json_bool(j, "admin", (rights & COORD_MAY_ADMINISTER) != 0);
        c2_json_object_end(j);
    }
    c2_json_array_end(j);
    c2_json_object_end(j);
}

static int
list(struct acl *a)
{
    struct c2_buf out = { 0 };
    struct c2_json j;
    if (!a->s.x->json)
        return walk(a, print_entry, NULL);
    cmd_json_begin(&j, &out, "c2fs.meta-acl/1");
    c2_json_array(&j, "entries");
    int code = walk(a, json_entry, &j);
    c2_json_array_end(&j);
    c2_json_u64(&j, "changes", a->number);
    if (code == CTL_EXIT_OK)
        cmd_json_print(&j, &out);
    c2_buf_done(&out);
    return code;
}

static void
take_entry(void *arg, const struct coord_entry *e)
{
    struct acl *a = arg;
    if (!c2_slice_equal(e->key, c2_buf_slice(&a->prefix)))
        return;
    a->found = true;
    for (size_t at = 0; at + COORD_GRANT_LEN <= e->value.len; at += COORD_GRANT_LEN) {
        if (a->ngrants == COORD_ACL_GRANTS_MAX)
            return; /* no correct service sends so many */
        struct coord_grant *g = &a->grants[a->ngrants++];
        memcpy(g->key, e->value.data + at, sizeof g->key);
        g->rights = e->value.data[at + COORD_PRINCIPAL_LEN];
    }
}

/* The grants with ours instead of what the key had. TOO_LARGE: there are too many; NOT_FOUND: it
 * had none. */
static enum c2_err
change_grants(struct acl *a)
{
    size_t i = 0;
    while (i < a->ngrants && memcmp(a->grants[i].key, a->key, sizeof a->key) < 0)
        i++;
    bool has = i < a->ngrants && memcmp(a->grants[i].key, a->key, sizeof a->key) == 0;
    if (a->rights == 0 && !has)
        return C2_E_NOT_FOUND;
    if (a->rights == 0) {
        memmove(&a->grants[i], &a->grants[i + 1], (--a->ngrants - i) * sizeof a->grants[0]);
        return C2_E_OK;
    }
    if (!has && a->ngrants == COORD_ACL_GRANTS_MAX)
        return C2_E_TOO_LARGE;
    if (!has)
        memmove(&a->grants[i + 1], &a->grants[i], (a->ngrants++ - i) * sizeof a->grants[0]);
    memcpy(a->grants[i].key, a->key, sizeof a->key);
    a->grants[i].rights = (uint8_t)a->rights;
    return C2_E_OK;
}

static int
grants_fail(const struct acl *a, enum c2_err err)
{
    if (err == C2_E_NOT_FOUND)
        return cmd_fail(a->s.x, err, acl_what, a->name, "this key has no rights there",
                        "c2fsctl meta acl list");
    return cmd_fail(a->s.x, err, acl_what, a->name, "it has 64 keys, which is the most",
                    "revoke those that are not needed");
}

static enum c2_err
set(struct acl *a, char **ret_error)
{
    const struct c2_slice prefix = c2_buf_slice(&a->prefix);
    struct service_call c = { .req = { .verb = COORD_ACL_SET, .keys = &prefix, .nkeys = 1 } };
    c.req.grants = a->grants;
    c.req.ngrants = a->ngrants;
    c.req.version_in = a->number;
    enum c2_err err = submit(a, &c, ret_error);
    coord_req_done(&c.req);
    return err;
}

static int
print_change(const struct acl *a)
{
    struct c2_buf out = { 0 };
    struct c2_json j;
    if (!a->s.x->json)
        return CTL_EXIT_OK;
    cmd_json_begin(&j, &out, "c2fs.meta-acl-set/1");
    c2_json_bool(&j, "done", !a->s.x->dry_run);
    cmd_json_print(&j, &out);
    return CTL_EXIT_OK;
}

/* Reads the list, changes it, and does it again when somebody else was faster. */
static int
change(struct acl *a, bool remove)
{
    enum c2_err err = C2_E_CONFLICT;
    char *error = NULL;
    for (unsigned i = 0; i < TRIES && err == C2_E_CONFLICT; i++) {
        a->ngrants = 0;
        a->found = false;
        int code = walk(a, take_entry, a);
        if (code != CTL_EXIT_OK)
            return code;
        if ((remove || a->rights == 0) && !a->found)
            return cmd_fail(a->s.x, C2_E_NOT_FOUND, acl_what, a->name, "there is no such entry",
                            "c2fsctl meta acl list");
        if (remove)
            a->ngrants = 0;
        err = remove ? C2_E_OK : change_grants(a);
        if (err != C2_E_OK)
            return grants_fail(a, err);
        if (!remove && a->ngrants == 0)
            return cmd_fail(a->s.x, C2_E_CONFLICT, acl_what, a->name,
                            "nobody would be left, and what nobody has is open to every client",
                            "grant it to another key first; or c2fsctl meta acl remove");
        err = a->s.x->dry_run ? C2_E_OK : set(a, &error);
    }
    return err == C2_E_OK ? print_change(a) : acl_fail(a, err, error);
}

static bool
parse_rights(const char *text, unsigned *ret_rights)
{
    static const struct {
        const char *word;
        unsigned rights;
    } words[] = { { "read", COORD_MAY_READ },
                  { "write", COORD_MAY_WRITE },
                  { "admin", COORD_MAY_ADMINISTER },
                  { "all", COORD_MAY_READ | COORD_MAY_WRITE | COORD_MAY_ADMINISTER } };
    *ret_rights = 0;
    for (const char *at = text; *at != '\0'; at += strspn(at, ",")) {
        size_t len = strcspn(at, ",");
        unsigned rights = 0;
        for (size_t i = 0; i < C2_ARRAY_LEN(words); i++) {
            if (strlen(words[i].word) == len && strncmp(words[i].word, at, len) == 0)
                rights = words[i].rights;
        }
        if (rights == 0)
            return false;
        *ret_rights |= rights;
        at += len;
    }
    return *ret_rights != 0;
}

/* A public key in hex digits, or the file of a client's key. */
static bool
parse_key(const char *text, uint8_t key[COORD_PRINCIPAL_LEN])
{
    struct c2_buf file = { 0 };
    if (strlen(text) == (size_t)2 * COORD_PRINCIPAL_LEN &&
        c2_hex_decode(c2_slice_str(text), key, COORD_PRINCIPAL_LEN) == C2_E_OK)
        return true;
    bool good = c2_os_read_file(text, KEY_FILE_MAX, &file, NULL) == C2_E_OK &&
                cluster_principal(c2_buf_slice(&file), key) == C2_E_OK;
    wipe(&file);
    return good;
}

static bool
parse_prefix(struct acl *a, const char *name)
{
    a->name = name;
    if (strcmp(name, "everything") == 0)
        return true;
    if (name[0] != '/')
        return coord_prefix_of(name, &a->prefix);
    c2_buf_puts(&a->prefix, name);
    return a->prefix.len <= COORD_ACL_PREFIX_MAX;
}

static int
run_verb(struct acl *a, int argc, char **argv)
{
    const struct cmd_ctx *x = a->s.x;
    const struct cmd *c = cmd_find(acl_what);
    const char *verb = argc > 0 ? argv[0] : "list";
    bool grants = strcmp(verb, "grant") == 0;
    bool revokes = strcmp(verb, "revoke") == 0;
    bool removes = strcmp(verb, "remove") == 0;
    if (strcmp(verb, "list") == 0 && argc <= 1)
        return list(a);
    if ((!grants && !revokes && !removes) || argc != (grants ? 4 : revokes ? 3 : 2))
        return cmd_usage(x, c, "list, grant PREFIX KEY RIGHTS, revoke PREFIX KEY or remove PREFIX");
    if (!parse_prefix(a, argv[1]))
        return cmd_usage(x, c, "PREFIX is the name of a part, \"everything\", or begins with /");
    if (!removes && !parse_key(argv[2], a->key))
        return cmd_usage(x, c, "KEY is what c2fsctl meta client printed, or a client.key");
    if (grants && !parse_rights(argv[3], &a->rights))
        return cmd_usage(x, c, "RIGHTS are of read, write and admin, separated by commas; or all");
    return change(a, removes);
}

static int
run_acl(struct cmd_ctx *x, int argc, char **argv)
{
    static const struct option longs[] = { { "admin", required_argument, NULL, 'a' },
                                           { "service", required_argument, NULL, 's' },
                                           { NULL, 0, NULL, 0 } };
    struct acl a = { 0 };
    int flag;
    optind = 0;
    while ((flag = getopt_long(argc, argv, "s:a:", longs, NULL)) != -1) {
        if (flag == 'a')
            a.admin_path = optarg;
        else if (flag == 's')
            a.service = optarg;
        else
            return cmd_usage_words(x, cmd_find(acl_what), "unknown option", argc, argv);
    }
    struct cluster_info info;
    int code = service_open(x, acl_what, a.service, &a.s);
    if (code != CTL_EXIT_OK)
        return code;
    if (!cluster_look(a.s.coord, &info))
        code = cmd_fail(x, C2_E_UNSUPPORTED, acl_what, a.s.url, "this is not a replicated service",
                        NULL);
    C2_AUTO(c2_free_auto) char *usual = beside_trust(x, a.s.url + 4, "admin.key");
    bool sign = a.admin_path != NULL || access(usual, F_OK) == 0;
    if (code == CTL_EXIT_OK && sign)
        code = read_admin(x, acl_what, a.s.url + 4, a.admin_path, &a.admin);
    if (code == CTL_EXIT_OK)
        code = run_verb(&a, argc - optind, argv + optind);
    service_close(&a.s);
    wipe(&a.admin);
    c2_buf_done(&a.prefix);
    return code;
}

const struct cmd cmds_meta_acl[] = {
    { .name = "meta client",
      .args = "[-s SERVICE] DIR [--prefix NAME] [--admin FILE]",
      .summary = "make the key and configuration of another client",
      .help =
          "Writes DIR/client.conf, root.pub and client.key for one more client of the service.\n"
          "With --prefix it uses the keys below /NAME/ alone, so that several volumes share the\n"
          "service; who else may touch them is said with c2fsctl meta acl.\n"
          "--admin is the key that c2fsctl meta init wrote (default: beside root.pub).\n",
      .options = "-s --prefix --admin",
      .needs = CMD_NEEDS_CONF,
      .run = run_client },
    { .name = "meta acl",
      .args = "[-s SERVICE] [--admin FILE] [list|grant PREFIX KEY RIGHTS|revoke PREFIX KEY|remove "
              "PREFIX]",
      .summary = "who may read, write and administer which keys of a service",
      .help =
          "PREFIX is the name of a part of the service (prefix = NAME in its client.conf), the\n"
          "beginning of keys itself when it starts with /, or \"everything\". KEY is a client's\n"
          "public key or its client.key file, RIGHTS of read,write,admin; or all. Rights of\n"
          "several entries that cover a key add up. What no entry covers is open to every\n"
          "client: remove makes it so again. The administrator's key signs (default: admin.key\n"
          "beside root.pub); without it a client sees what concerns it, and changes the grants\n"
          "of entries on which it has admin.\n",
      .options = "-s --admin",
      .needs = CMD_NEEDS_CONF,
      .run = run_acl },
    { .name = NULL },
};
