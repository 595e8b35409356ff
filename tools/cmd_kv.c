/* SPDX-License-Identifier: MIT */
/*
 * kv get, put, delete, range, txn: a coordination service used directly.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/str.h"
#include "tools/cmd.h"
#include "tools/kv.h"
#include "tools/service.h"

#define TXN_MAX 64 /* conditions, and operations, on one command line */

/* Options that all kv commands have: -s SERVICE. Further ones in `more`, handled by the caller. */
static const char *
take_service(int *argc, char ***argv)
{
    if (*argc < 3 || (strcmp((*argv)[1], "-s") != 0 && strcmp((*argv)[1], "--service") != 0))
        return NULL;
    const char *name = (*argv)[2];
    (*argv)[2] = (*argv)[0];
    *argc -= 2;
    *argv += 2;
    return name;
}

int
kv_begin_command(const struct cmd_ctx *x, const char *what, int *argc, char ***argv,
                 struct service *s)
{
    const char *name = take_service(argc, argv);
    return service_open(x, what, name, s);
}

/* Text as it is; other bytes as 0x and hex digits. */
void
kv_print_bytes(struct c2_slice b)
{
    bool text = true;
    for (size_t i = 0; i < b.len; i++)
        text = text &&
               ((b.data[i] >= ' ' && b.data[i] != 127) || b.data[i] == '\n' || b.data[i] == '\t');
    if (text) {
        (void)fwrite(b.data, 1, b.len, stdout);
        return;
    }
    (void)printf("0x");
    for (size_t i = 0; i < b.len; i++)
        (void)printf("%02x", b.data[i]);
}

/* Strings of JSON are text: other bytes come as "0x..." under another key. */
void
kv_json_bytes(struct c2_json *j, const char *key, const char *hex_key, struct c2_slice b)
{
    bool text = true;
    if (b.len == 0) {
        c2_json_str(j, key, "");
        return;
    }
    for (size_t i = 0; i < b.len; i++)
        text = text && b.data[i] != '\0' && b.data[i] < 0x80;
    if (text) {
        C2_AUTO(c2_free_auto) char *copy = c2_strndup((const char *)b.data, b.len);
        c2_json_str(j, key, copy);
        return;
    }
    C2_AUTO(c2_free_auto) char *hex = c2_alloc(2 * b.len + 1);
    c2_hex_encode(b.data, b.len, hex);
    c2_json_str(j, hex_key, hex);
}

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
run_get(struct cmd_ctx *x, int argc, char **argv)
{
    struct service s;
    int code = kv_begin_command(x, "kv get", &argc, &argv, &s);
    if (code != CTL_EXIT_OK)
        return code;
    if (argc != 2) {
        service_close(&s);
        return cmd_usage(cmd_find("kv get"), "which key?");
    }
    const struct c2_slice key = c2_slice_str(argv[1]);
    struct service_call c = { .req = { .verb = COORD_GET, .keys = &key, .nkeys = 1 } };
    enum c2_err err = service_run(&s, &c);
    if (err == C2_E_OK && c.req.entries[0].version == 0)
        err = C2_E_NOT_FOUND;
    if (err != C2_E_OK) {
        code = service_fail(&s, err, argv[1]);
    } else if (x->json) {
        struct c2_buf out = { 0 };
        struct c2_json j;
        cmd_json_begin(&j, &out, "c2fs.kv/1");
        json_entry(&j, &c.req.entries[0]);
        cmd_json_print(&j, &out);
    } else {
        kv_print_bytes(c.req.entries[0].value);
        (void)printf("\n");
    }
    coord_req_done(&c.req);
    service_close(&s);
    return code;
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
            kv_print_bytes(r->entries[i].key);
            (void)printf("\t");
            kv_print_bytes(r->entries[i].value);
            (void)printf("\n");
        }
    }
}

static int
run_range(struct cmd_ctx *x, int argc, char **argv)
{
    struct service s;
    int code = kv_begin_command(x, "kv range", &argc, &argv, &s);
    if (code != CTL_EXIT_OK)
        return code;
    if (argc > 2) {
        service_close(&s);
        return cmd_usage(cmd_find("kv range"), "takes one prefix");
    }
    const struct c2_slice prefix = c2_slice_str(argc == 2 ? argv[1] : "");
    C2_AUTO(c2_buf_done) struct c2_buf after = { 0 };
    struct c2_buf out = { 0 };
    struct c2_json j;
    bool more = true;
    cmd_json_begin(&j, &out, "c2fs.kv-range/1");
    c2_json_array(&j, "entries");
    while (more && code == CTL_EXIT_OK) {
        struct service_call c = { .req = { .verb = COORD_RANGE, .keys = &prefix, .nkeys = 1 } };
        c.req.after = c2_buf_slice(&after);
        enum c2_err err = service_run(&s, &c);
        more = err == C2_E_OK && c.req.more && c.req.nentries > 0;
        if (err == C2_E_OK)
            print_range(x, &c.req, &j);
        else
            code = service_fail(&s, err, NULL);
        if (more) {
            struct c2_slice last = c.req.entries[c.req.nentries - 1].key;
            c2_buf_clear(&after);
            c2_buf_append(&after, last.data, last.len);
        }
        coord_req_done(&c.req);
    }
    c2_json_array_end(&j);
    if (x->json && code == CTL_EXIT_OK)
        cmd_json_print(&j, &out);
    c2_buf_done(&out);
    service_close(&s);
    return code;
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

static void
print_conflict(const struct cmd_ctx *x, const struct coord_req *r)
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
    (void)fprintf(stderr, "c2fsctl: condition %llu does not hold\n",
                  (unsigned long long)r->cond_failed + 1);
}

/* Runs one transaction and reports; an exit code. */
static int
change(struct service *s, const struct coord_cond *conds, size_t nconds, const struct coord_op *ops,
       size_t nops)
{
    struct service_call c = {
        .req = { .verb = COORD_TXN, .conds = conds, .nconds = nconds, .ops = ops, .nops = nops }
    };
    enum c2_err err = service_run(s, &c);
    int code = CTL_EXIT_OK;
    if (err == C2_E_OK) {
        print_version(s->x, c.req.version);
    } else if (err == C2_E_CONFLICT) {
        print_conflict(s->x, &c.req);
        code = CTL_EXIT_CONFLICT;
    } else {
        code = service_fail(s, err, NULL);
    }
    coord_req_done(&c.req);
    return code;
}

static int
run_put(struct cmd_ctx *x, int argc, char **argv)
{
    struct service s;
    int code = kv_begin_command(x, "kv put", &argc, &argv, &s);
    if (code != CTL_EXIT_OK)
        return code;
    C2_AUTO(c2_buf_done) struct c2_buf value = { 0 };
    if (argc != 3) {
        code = cmd_usage(cmd_find("kv put"), "which key, which value?");
    } else {
        enum c2_err err = read_value(argv[2], &value);
        const struct coord_op op = { .kind = COORD_PUT,
                                     .key = c2_slice_str(argv[1]),
                                     .value = c2_buf_slice(&value) };
        code = err == C2_E_OK ? change(&s, NULL, 0, &op, 1) : service_fail(&s, err, argv[1]);
    }
    service_close(&s);
    return code;
}

static int
run_delete(struct cmd_ctx *x, int argc, char **argv)
{
    struct service s;
    struct coord_op ops[TXN_MAX] = { 0 };
    size_t n = 0;
    int code = kv_begin_command(x, "kv delete", &argc, &argv, &s);
    if (code != CTL_EXIT_OK)
        return code;
    bool prefix = argc > 1 && strcmp(argv[1], "--prefix") == 0;
    for (int i = prefix ? 2 : 1; i < argc && n < TXN_MAX; i++) {
        ops[n].kind = prefix ? COORD_DELETE_RANGE : COORD_DELETE;
        ops[n++].key = c2_slice_str(argv[i]);
    }
    if (n == 0 || n == TXN_MAX)
        code = cmd_usage(cmd_find("kv delete"), "takes 1 to 63 keys");
    else
        code = change(&s, NULL, 0, ops, n);
    service_close(&s);
    return code;
}

/* ---- txn ------------------------------------------------------------------------------------- */

struct txn {
    struct coord_cond conds[TXN_MAX];
    struct coord_op ops[TXN_MAX];
    struct c2_buf values[TXN_MAX]; /* owned; of --put with "-" */
    size_t nconds, nops;
};

struct word {
    const char *name;
    int nargs;
    bool cond;
    int kind;
};

static const struct word words[] = {
    { "--if-exists", 1, true, COORD_EXISTS },
    { "--if-absent", 1, true, COORD_ABSENT },
    { "--if-version", 2, true, COORD_VERSION_EQ },
    { "--if-value", 2, true, COORD_VALUE_EQ },
    { "--put", 2, false, COORD_PUT },
    { "--delete", 1, false, COORD_DELETE },
    { "--delete-prefix", 1, false, COORD_DELETE_RANGE },
    { "--add", 2, false, COORD_ADD },
};

static bool
signed_number(const char *text, int64_t *ret)
{
    char *end = NULL;
    errno = 0;
    *ret = strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == '\0';
}

/* One condition or operation at argv[0]; how many words it took, 0 = malformed. */
static int
parse_word(struct txn *t, int argc, char **argv)
{
    const struct word *w = NULL;
    for (size_t i = 0; i < C2_ARRAY_LEN(words); i++) {
        if (strcmp(argv[0], words[i].name) == 0)
            w = &words[i];
    }
    if (w == NULL || argc <= w->nargs || t->nconds == TXN_MAX || t->nops == TXN_MAX)
        return 0;
    struct c2_slice key = c2_slice_str(argv[1]);
    if (w->cond) {
        struct coord_cond *c = &t->conds[t->nconds++];
        *c = (struct coord_cond){ .kind = (enum coord_cond_kind)w->kind, .key = key };
        if (c->kind == COORD_VALUE_EQ)
            c->value = c2_slice_str(argv[2]);
        if (c->kind == COORD_VERSION_EQ &&
            c2_u64_parse(c2_slice_str(argv[2]), UINT64_MAX, &c->number) != C2_E_OK)
            return 0;
    } else {
        struct coord_op *o = &t->ops[t->nops];
        *o = (struct coord_op){ .kind = (enum coord_op_kind)w->kind, .key = key };
        if (o->kind == COORD_PUT) {
            if (read_value(argv[2], &t->values[t->nops]) != C2_E_OK)
                return 0;
            o->value = c2_buf_slice(&t->values[t->nops]);
        }
        if (o->kind == COORD_ADD && !signed_number(argv[2], &o->number))
            return 0;
        t->nops++;
    }
    return w->nargs + 1;
}

static int
run_txn(struct cmd_ctx *x, int argc, char **argv)
{
    struct service s;
    int code = kv_begin_command(x, "kv txn", &argc, &argv, &s);
    if (code != CTL_EXIT_OK)
        return code;
    struct txn *t = c2_calloc(1, sizeof *t);
    int at = 1;
    for (int took = 1; at < argc && took > 0; at += took) /* stays where it is malformed */
        took = parse_word(t, argc - at, argv + at);
    if (argc == 1 || at != argc)
        code = cmd_usage(cmd_find("kv txn"), "conditions and operations, see c2fsctl help kv txn");
    else
        code = change(&s, t->conds, t->nconds, t->ops, t->nops);
    for (size_t i = 0; i < TXN_MAX; i++)
        c2_buf_done(&t->values[i]);
    c2_free(t);
    service_close(&s);
    return code;
}

const struct cmd cmds_kv[] = {
    { .name = "kv get",
      .args = "[-s SERVICE] KEY",
      .summary = "print the value of a key of a coordination service",
      .help = "Linearizable: sees every change that was completed before.\n",
      .options = "-s",
      .needs = CMD_NEEDS_CONF,
      .run = run_get },
    { .name = "kv put",
      .args = "[-s SERVICE] KEY VALUE|-",
      .summary = "set a key; - reads the value from standard input",
      .help = "",
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
