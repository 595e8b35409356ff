/* SPDX-License-Identifier: MIT */
/*
 * kv get, put, delete, range, txn: a coordination service used directly.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "tools/cmd.h"
#include "tools/kv.h"
#include "tools/service.h"
#include "tools/txn_words.h"

static void
json_entry(struct c2_json *j, const struct coord_entry *e)
{
    kv_json_bytes(j, "key", "key_hex", e->key);
    kv_json_bytes(j, "value", "value_hex", e->value);
    c2_json_u64(j, "version", e->version);
    c2_json_u64(j, "session", e->session);
}

/* "-" = standard input. */
static enum c2_err
read_value(const char *arg, struct c2_buf *out)
{
    if (strcmp(arg, "-") != 0) {
        c2_buf_puts(out, arg);
        return C2_E_OK;
    }
    for (;;) {
        c2_buf_reserve(out, 65536);
        ssize_t n = read(STDIN_FILENO, out->data + out->len, 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return c2_err_from_errno(errno);
        if (n == 0)
            return C2_E_OK;
        out->len += (size_t)n;
        if (out->len > COORD_VALUE_MAX)
            return C2_E_TOO_LARGE;
    }
}

/* ---- get, range ------------------------------------------------------------------------------ */

static int
print_value(const struct service *s, const struct kv_args *a, const struct coord_entry *e)
{
    if (a->number && e->value.len != sizeof(int64_t))
        return cmd_fail(s->x, C2_E_INVALID, s->what, a->argv[0], "its value is not a counter",
                        "without --number it is shown as it is");
    if (a->number) {
        (void)printf("%lld\n", (long long)c2_get_u64(e->value.data));
    } else if (a->raw && e->value.len > 0) {
        (void)fwrite(e->value.data, 1, e->value.len, stdout);
    } else if (!a->raw) {
        kv_print_bytes(e->value);
        (void)printf("\n");
    }
    return CTL_EXIT_OK;
}

static int
get(struct service *s, void *arg)
{
    const struct kv_args *a = arg;
    const struct c2_slice key = c2_slice_str(a->argv[0]);
    struct service_call c = { .req = { .verb = COORD_GET, .keys = &key, .nkeys = 1 } };
    enum c2_err err = service_run(s, &c);
    int code = CTL_EXIT_OK;
    if (err == C2_E_OK && c.req.entries[0].version == 0)
        code = cmd_fail(s->x, C2_E_NOT_FOUND, s->what, a->argv[0], "there is no such key",
                        "c2fsctl kv range PREFIX shows which there are");
    else if (err != C2_E_OK)
        code = kv_fail(s, err, a->argv[0]);
    else if (!s->x->json)
        code = print_value(s, a, &c.req.entries[0]);
    if (code == CTL_EXIT_OK && s->x->json) {
        struct c2_buf out = { 0 };
        struct c2_json j;
        cmd_json_begin(&j, &out, "c2fs.kv/1");
        json_entry(&j, &c.req.entries[0]);
        cmd_json_print(&j, &out);
    }
    coord_req_done(&c.req);
    return code;
}

static int
run_get(struct cmd_ctx *x, int argc, char **argv)
{
    const struct kv_form form = { "kv get", 1, 1, "which key?", .keys = 1 };
    struct kv_args a;
    int code = kv_parse(x, &form, argc, argv, &a);
    if (code == CTL_EXIT_OK && a.raw + a.number + x->json > 1)
        code = cmd_usage(x, cmd_find(form.name), "one of --raw, --number, --json");
    return code == CTL_EXIT_OK ? service_use(x, form.name, a.service, get, &a) : code;
}

static void
print_range(const struct cmd_ctx *x, const struct coord_req *r, struct c2_json *j)
{
    for (size_t i = 0; i < r->nentries; i++) {
        if (x->json) {
            c2_json_object(j, NULL);
            json_entry(j, &r->entries[i]);
            c2_json_object_end(j);
        } else {
            kv_print_field(r->entries[i].key);
            (void)printf("\t");
            kv_print_field(r->entries[i].value);
            (void)printf("\n");
        }
    }
}

static int
range(struct service *s, void *arg)
{
    const struct kv_args *a = arg;
    const char *text = a->argc == 1 ? a->argv[0] : "";
    const struct c2_slice prefix = c2_slice_str(text);
    C2_AUTO(c2_buf_done) struct c2_buf after = { 0 };
    struct c2_buf out = { 0 };
    struct c2_json j;
    bool more = true;
    int code = CTL_EXIT_OK;
    cmd_json_begin(&j, &out, "c2fs.kv-range/1");
    c2_json_array(&j, "entries");
    while (more && code == CTL_EXIT_OK) {
        struct service_call c = { .req = { .verb = COORD_RANGE, .keys = &prefix, .nkeys = 1 } };
        c.req.after = c2_buf_slice(&after);
        enum c2_err err = service_run(s, &c);
        more = err == C2_E_OK && c.req.more && c.req.nentries > 0;
        if (err == C2_E_OK)
            print_range(s->x, &c.req, &j);
        else
            code = kv_fail(s, err, text);
        if (more) {
            struct c2_slice last = c.req.entries[c.req.nentries - 1].key;
            c2_buf_clear(&after);
            c2_buf_append(&after, last.data, last.len);
        }
        coord_req_done(&c.req);
    }
    c2_json_array_end(&j);
    if (s->x->json && code == CTL_EXIT_OK)
        cmd_json_print(&j, &out);
    c2_buf_done(&out);
    return code;
}

static int
run_range(struct cmd_ctx *x, int argc, char **argv)
{
    const struct kv_form form = { "kv range", 0, 1, "takes one prefix", .prefixes = 1 };
    struct kv_args a;
    int code = kv_parse(x, &form, argc, argv, &a);
    return code == CTL_EXIT_OK ? service_use(x, form.name, a.service, range, &a) : code;
}

/* ---- changes --------------------------------------------------------------------------------- */

static void
print_version(const struct cmd_ctx *x, uint64_t version)
{
    struct c2_buf out = { 0 };
    struct c2_json j;
    if (!x->json)
        return;
    cmd_json_begin(&j, &out, "c2fs.kv-txn/1");
    c2_json_bool(&j, "done", true);
    c2_json_u64(&j, "version", version);
    cmd_json_print(&j, &out);
}

/* name: of the condition that does not hold. */
static void
print_conflict(const struct cmd_ctx *x, const struct coord_req *r, const char *name)
{
    struct c2_buf out = { 0 };
    struct c2_json j;
    if (x->json) {
        cmd_json_begin(&j, &out, "c2fs.kv-txn/1");
        c2_json_bool(&j, "done", false);
        c2_json_u64(&j, "condition", r->cond_failed + 1);
        c2_json_array(&j, "entries");
        print_range(x, r, &j);
        c2_json_array_end(&j);
        cmd_json_print(&j, &out);
        return;
    }
    (void)fprintf(stderr,
                  "c2fsctl: kv txn: condition %llu, %s, does not hold; nothing was changed "
                  "[E_CONFLICT]\nhint: with --json the present values are shown\n",
                  (unsigned long long)r->cond_failed + 1, name);
}

struct changing {
    const char *object; /* for messages; NULL = several */
    struct coord_req req;
};

/* Runs one transaction and reports. */
static int
change(struct service *s, void *arg)
{
    const struct changing *g = arg;
    const struct coord_req *r = &g->req;
    struct service_call c = { .req = *r };
    c.req.verb = COORD_TXN;
    enum c2_err err = service_run(s, &c);
    int code = CTL_EXIT_OK;
    if (err == C2_E_OK) {
        print_version(s->x, c.req.version);
    } else if (err == C2_E_CONFLICT && c.req.cond_failed < r->nconds) {
        print_conflict(s->x, &c.req, txn_words_cond(r->conds[c.req.cond_failed].kind));
        code = CTL_EXIT_CONFLICT;
    } else {
        code = kv_fail_change(s, err, g->object);
    }
    coord_req_done(&c.req);
    return code;
}

static int
run_put(struct cmd_ctx *x, int argc, char **argv)
{
    const struct kv_form form = { "kv put", 2, 2, "which key, which value?", .keys = 1 };
    struct kv_args a;
    C2_AUTO(c2_buf_done) struct c2_buf value = { 0 };
    int code = kv_parse(x, &form, argc, argv, &a);
    if (code != CTL_EXIT_OK)
        return code;
    enum c2_err err = read_value(a.argv[1], &value);
    if (err == C2_E_OK && value.len > COORD_VALUE_MAX)
        err = C2_E_TOO_LARGE;
    if (err != C2_E_OK)
        return cmd_fail(x, err, form.name, err == C2_E_TOO_LARGE ? a.argv[0] : "standard input",
                        NULL, err == C2_E_TOO_LARGE ? "a value has up to 64 KiB" : NULL);
    const struct coord_op op = { .kind = COORD_PUT,
                                 .key = c2_slice_str(a.argv[0]),
                                 .value = c2_buf_slice(&value) };
    struct changing g = { a.argv[0], { .ops = &op, .nops = 1 } };
    return service_use(x, form.name, a.service, change, &g);
}

static int
run_delete(struct cmd_ctx *x, int argc, char **argv)
{
    const struct kv_form form = { "kv delete", 1, TXN_WORDS_MAX, "takes 1 to 64 keys",
                                  .keys = TXN_WORDS_MAX };
    struct kv_args a;
    struct coord_op ops[TXN_WORDS_MAX] = { 0 };
    int code = kv_parse(x, &form, argc, argv, &a);
    if (code != CTL_EXIT_OK)
        return code;
    for (int i = 0; i < a.argc; i++) {
        ops[i].kind = a.prefix ? COORD_DELETE_RANGE : COORD_DELETE;
        ops[i].key = c2_slice_str(a.argv[i]);
    }
    struct changing g = { a.argv[0], { .ops = ops, .nops = (size_t)a.argc } };
    return service_use(x, form.name, a.service, change, &g);
}

/* ---- txn ------------------------------------------------------------------------------------- */

/* The value that standard input is; an exit code, after a message. */
static int
read_stdin(const struct cmd_ctx *x, struct txn_words *t, struct c2_buf *value)
{
    const struct cmd *cmd = cmd_find("kv txn");
    if (t->stdin_op == t->nops)
        return CTL_EXIT_OK;
    enum c2_err err = read_value("-", value);
    if (err != C2_E_OK)
        return cmd_usage(
            x, cmd, err == C2_E_TOO_LARGE ? TXN_WORDS_TOO_LARGE : "standard input cannot be read");
    t->ops[t->stdin_op].value = c2_buf_slice(value);
    return CTL_EXIT_OK;
}

/* What the words say; an exit code, after a message. */
static int
read_words(const struct cmd_ctx *x, struct txn_words *t, int argc, char **argv)
{
    const struct cmd *cmd = cmd_find("kv txn");
    C2_AUTO(c2_free_auto) char *problem = txn_words_parse(t, argc, argv);
    if (problem != NULL)
        return cmd_usage_words(x, cmd, problem, argc, argv);
    int code = CTL_EXIT_OK;
    for (size_t i = 0; code == CTL_EXIT_OK && i < t->nconds; i++)
        code = kv_check_key(x, cmd->name, (const char *)t->conds[i].key.data);
    for (size_t i = 0; code == CTL_EXIT_OK && i < t->nops; i++)
        code = kv_check_key(x, cmd->name, (const char *)t->ops[i].key.data);
    return code;
}

static int
run_txn(struct cmd_ctx *x, int argc, char **argv)
{
    struct kv_args a = { .argc = argc - 1, .argv = argv + 1 };
    C2_AUTO(c2_buf_done) struct c2_buf value = { 0 };
    const struct cmd *cmd = cmd_find("kv txn");
    if (argc > 1 && (strcmp(argv[1], "-s") == 0 || strcmp(argv[1], "--service") == 0)) {
        if (argc < 3)
            return cmd_usage(x, cmd, "-s takes the name of a service");
        a = (struct kv_args){ .service = argv[2], .argc = argc - 3, .argv = argv + 3 };
    }
    if (a.argc == 0)
        return cmd_usage(x, cmd, "which conditions and operations?");
    struct txn_words *t = c2_calloc(1, sizeof *t);
    int code = read_words(x, t, a.argc, a.argv);
    if (code == CTL_EXIT_OK)
        code = read_stdin(x, t, &value);
    if (code == CTL_EXIT_OK) {
        struct changing g = {
            .req = { .conds = t->conds, .nconds = t->nconds, .ops = t->ops, .nops = t->nops }
        };
        code = service_use(x, cmd->name, a.service, change, &g);
    }
    c2_free(t);
    return code;
}

const struct cmd cmds_kv[] = {
    { .name = "kv get",
      .args = "[-s SERVICE] [--raw|--number] KEY",
      .summary = "print the value of a key of a coordination service",
      .help =
          "Linearizable: sees every change that was completed before. Bytes that are not text\n"
          "are shown as 0x and hex digits; --raw gives the bytes themselves, without an end of\n"
          "line, and --number the number of a counter (kv txn --add).\n",
      .options = "-s --raw --number",
      .needs = CMD_NEEDS_CONF,
      .run = run_get },
    { .name = "kv put",
      .args = "[-s SERVICE] KEY VALUE|-",
      .summary = "set a key; - reads the value from standard input",
      .help =
          "A value has up to 64 KiB. A key has 1 to 500 bytes and does not begin with 0xff; one\n"
          "that begins with a dash comes after --.\n",
      .options = "-s",
      .needs = CMD_NEEDS_CONF,
      .run = run_put },
    { .name = "kv delete",
      .args = "[-s SERVICE] [--prefix] KEY ...",
      .summary = "delete keys, or all that begin with a prefix",
      .help = "All or none. At most 4096 keys have the prefix.\n",
      .options = "-s --prefix",
      .needs = CMD_NEEDS_CONF,
      .run = run_delete },
    { .name = "kv range",
      .args = "[-s SERVICE] [PREFIX]",
      .summary = "print the keys that begin with a prefix, and their values",
      .help = "In the order of their bytes. A long range is read in several steps, each of one\n"
              "moment.\n",
      .options = "-s",
      .needs = CMD_NEEDS_CONF,
      .run = run_range },
    { .name = "kv txn",
      .args = "[-s SERVICE] [--if-exists|--if-absent|--if-version|--if-value KEY ...] "
              "[--put|--delete|--delete-prefix|--add KEY ...]",
      .summary = "change several keys at once, if conditions hold",
      .help = "All conditions hold and all operations happen, in one step, or nothing does\n"
              "(exit code 10, with --json the current values).\n"
              "Conditions: --if-exists KEY, --if-absent KEY, --if-version KEY VERSION,\n"
              "            --if-value KEY VALUE\n"
              "Operations: --put KEY VALUE|-, --delete KEY, --delete-prefix PREFIX,\n"
              "            --add KEY NUMBER (a signed 64-bit counter)\n",
      .options = "-s --if-exists --if-absent --if-version --if-value --put --delete "
                 "--delete-prefix --add",
      .needs = CMD_NEEDS_CONF,
      .run = run_txn },
    { .name = NULL },
};
