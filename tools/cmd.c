/* SPDX-License-Identifier: MIT */
#include "tools/cmd.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

const struct cmd *const cmd_tables[] = { cmds_volume,
                                         cmds_provider,
                                         cmds_seats,
                                         cmds_purge,
                                         cmds_job,
                                         cmds_scrub,
                                         cmds_mount,
                                         cmds_key,
                                         cmds_recover,
                                         cmds_system,
                                         cmds_meta,
                                         cmds_meta_change,
                                         cmds_meta_checkpoint,
                                         cmds_meta_acl,
                                         cmds_meta_dump,
                                         cmds_kv,
                                         cmds_kv_wait,
                                         cmds_gc,
                                         cmds_fsck,
                                         cmds_verify,
                                         cmds_cost,
                                         cmds_unit };
const size_t cmd_tables_count = C2_ARRAY_LEN(cmd_tables);

const struct cmd *
cmd_at(size_t n)
{
    for (size_t t = 0; t < cmd_tables_count; t++)
        for (const struct cmd *c = cmd_tables[t]; c->name != NULL; c++)
            if (n-- == 0)
                return c;
    return NULL;
}

const struct cmd *
cmd_find(const char *name)
{
    const struct cmd *c;
    for (size_t n = 0; (c = cmd_at(n)) != NULL; n++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

const char *const cmd_acting[] = { "provider offline",
                                   "provider online",
                                   "provider set-credentials",
                                   "provider fault",
                                   "job pause",
                                   "job resume",
                                   "job cancel",
                                   "job limit",
                                   "scrub pause",
                                   "scrub resume",
                                   "scrub cancel",
                                   "repair",
                                   "flush",
                                   "umount",
                                   "cache clear",
                                   "key restore",
                                   "key change-passphrase",
                                   "recover",
                                   "log-level",
                                   "meta checkpoint",
                                   "meta dump",
                                   "kv put",
                                   "kv delete",
                                   "kv txn",
                                   "kv lock",
                                   "unit key",
                                   "unit put",
                                   "unit lock",
                                   "unit unlock",
                                   "unit gc",
                                   "unit delete",
                                   NULL };

bool
cmd_acts_at_once(const struct cmd *c)
{
    for (size_t i = 0; cmd_acting[i] != NULL; i++)
        if (strcmp(c->name, cmd_acting[i]) == 0)
            return true;
    return false;
}

/* ---- errors ---------------------------------------------------------------------------------- */

static void
error_json(const char *code, int exit_code, const char *message, const char *hint)
{
    struct c2_buf out = { 0 };
    struct c2_json j;
    cmd_json_begin(&j, &out, "c2fs.error/1");
    c2_json_str(&j, "code", code);
    c2_json_u64(&j, "exit", (uint64_t)exit_code);
    c2_json_str(&j, "message", message);
    c2_json_str(&j, "hint", hint);
    c2_json_object_end(&j);
    (void)fprintf(stderr, "%s\n", c2_buf_cstr(&out));
    c2_buf_done(&out);
}

int
cmd_fail(const struct cmd_ctx *x, enum c2_err err, const char *what, const char *object,
         const char *cause, const char *hint)
{
    char code[CTL_CODE_MAX];
    ctl_error_code(err, code);
    char *text = c2_strdup(cause == NULL || cause[0] == '\0' ? c2_err_text(err) : cause);
    const char *own = ctl_split_hint(text);
    char *where = c2_asprintf("c2fs-errors(7) explains %s", code);
    hint = own != NULL ? own : hint != NULL ? hint : where;
    bool has_object = object != NULL && object[0] != '\0';
    char *message =
        c2_asprintf("%s: %s%s%s", what, has_object ? object : "", has_object ? ": " : "", text);
    if (x->json)
        error_json(code, (int)ctl_exit_code(err), message, hint);
    else
        (void)fprintf(stderr, "c2fsctl: %s [%s]\nhint: %s\n", message, code, hint);
    c2_free(message);
    c2_free(where);
    c2_free(text);
    return (int)ctl_exit_code(err);
}

int
cmd_wrong_call(const struct cmd_ctx *x, const char *problem, const char *help)
{
    static const char hint[] = "hint: ";
    if (x->json)
        error_json("E_USAGE", CTL_EXIT_USAGE, problem,
                   strncmp(help, hint, strlen(hint)) == 0 ? help + strlen(hint) : help);
    else
        (void)fprintf(stderr, "c2fsctl: %s\n%s\n", problem, help);
    return CTL_EXIT_USAGE;
}

int
cmd_usage(const struct cmd_ctx *x, const struct cmd *c, const char *problem)
{
    C2_AUTO(c2_free_auto) char *usage = c2_asprintf("usage: c2fsctl %s %s", c->name, c->args);
    C2_AUTO(c2_free_auto) char *message = c2_asprintf("%s: %s", c->name, problem);
    return cmd_wrong_call(x, message, usage);
}

int
cmd_usage_words(const struct cmd_ctx *x, const struct cmd *c, const char *problem, int argc,
                char **argv)
{
    static const char *const globals[] = { "-C",     "--config",  "-V",   "--volume",
                                           "--json", "--dry-run", "--yes" };
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        for (size_t k = 0; k < C2_ARRAY_LEN(globals); k++) {
            if (strcmp(argv[i], globals[k]) != 0)
                continue;
            C2_AUTO(c2_free_auto)
            char *text = c2_asprintf("%s comes in front of the command: c2fsctl %s ... %s",
                                     globals[k], globals[k], c->name);
            return cmd_usage(x, c, text);
        }
    }
    return cmd_usage(x, c, problem);
}

void
cmd_end_options(int *argc, char ***argv)
{
    if (*argc < 2 || strcmp((*argv)[1], "--") != 0)
        return;
    --*argc;
    ++*argv;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

void
cmd_json_begin(struct c2_json *j, struct c2_buf *out, const char *schema)
{
    c2_json_init(j, out);
    c2_json_object(j, NULL);
    c2_json_str(j, "schema", schema);
}

void
cmd_json_print(struct c2_json *j, struct c2_buf *out)
{
    c2_json_object_end(j);
    (void)printf("%s\n", c2_buf_cstr(out));
    c2_buf_done(out);
}

/* ---- small things ---------------------------------------------------------------------------- */

const char *
cmd_cache_dir(const struct cmd_ctx *x, const char *volume)
{
    return c2_conf_str(x->conf, "volume", volume, "cache_dir");
}

bool
cmd_duration(const char *text, uint64_t *ret_ns)
{
    return c2_duration_parse(text, ret_ns) == C2_E_OK;
}

/* ---- tables ---------------------------------------------------------------------------------- */

void
cmd_table_add(struct cmd_table *t, ...)
{
    C2_ASSERT(t->ncolumns > 0 && t->ncolumns <= CMD_COLUMNS_MAX);
    t->cells = c2_realloc(t->cells, (t->nrows + 1) * t->ncolumns, sizeof(*t->cells));
    va_list args;
    va_start(args, t);
    for (size_t c = 0; c < t->ncolumns; c++)
        t->cells[t->nrows * t->ncolumns + c] = c2_strdup(va_arg(args, const char *));
    va_end(args);
    t->nrows++;
}

static void
print_row(const struct cmd_table *t, const char *const *cells, const int *widths,
          const char *indent)
{
    (void)printf("%s", indent);
    for (size_t c = 0; c < t->ncolumns; c++) {
        const char *gap = c + 1 < t->ncolumns ? "  " : "\n";
        if (t->headers[c][0] == '>')
            (void)printf("%*s%s", widths[c], cells[c], gap);
        else if (c + 1 < t->ncolumns)
            (void)printf("%-*s%s", widths[c], cells[c], gap);
        else
            (void)printf("%s%s", cells[c], gap);
    }
}

void
cmd_table_print(struct cmd_table *t, const char *indent)
{
    const char *row[CMD_COLUMNS_MAX];
    int widths[CMD_COLUMNS_MAX];
    for (size_t c = 0; c < t->ncolumns; c++) {
        row[c] = t->headers[c] + (t->headers[c][0] == '>');
        widths[c] = (int)strlen(row[c]);
        for (size_t r = 0; r < t->nrows; r++)
            widths[c] = C2_MAX(widths[c], (int)strlen(t->cells[r * t->ncolumns + c]));
    }
    print_row(t, row, widths, indent);
    for (size_t r = 0; r < t->nrows; r++) {
        for (size_t c = 0; c < t->ncolumns; c++)
            row[c] = t->cells[r * t->ncolumns + c];
        print_row(t, row, widths, indent);
    }
    for (size_t k = 0; k < t->nrows * t->ncolumns; k++)
        c2_free(t->cells[k]);
    c2_free(t->cells);
    t->cells = NULL;
    t->nrows = 0;
}
