/* SPDX-License-Identifier: MIT */
/*
 * What the commands of c2fsctl share. A command is a row of a table (tools/cmd_*.c each have one):
 * the program's help, its completion and the manual page's test all come from the tables.
 */
#ifndef C2_TOOLS_CMD_H
#define C2_TOOLS_CMD_H

#include "base/conf.h"
#include "base/json.h"
#include "fs/ctl_proto.h"

struct cmd_ctx {
    const char *config_file; /* -C, NULL = the system's */
    const char *volume;      /* -V, NULL = not given */
    struct c2_conf *conf;    /* loaded when the command asks for it */
    bool json, yes, dry_run;
    bool as_known; /* status without asking the providers: counters must not count themselves */
    enum cmd_progress {
        CMD_PROGRESS_AUTO,
        CMD_PROGRESS_PLAIN,
        CMD_PROGRESS_JSON,
        CMD_PROGRESS_NONE
    } progress;
};

enum cmd_needs { CMD_NEEDS_NOTHING, CMD_NEEDS_CONF, CMD_NEEDS_VOLUME };

struct cmd {
    const char *name;    /* "status", "provider list" */
    const char *args;    /* "[-x] [--check]" */
    const char *summary; /* one line */
    const char *help;    /* more of it, for `c2fsctl help COMMAND`; lines end in \n */
    const char *options; /* of the command, separated by blanks, for completion */
    enum cmd_needs needs;
    int (*run)(struct cmd_ctx *x, int argc, char **argv); /* argv[0] is the command's last word */
};

/* Ends with an entry whose name is NULL. */
extern const struct cmd cmds_volume[], cmds_provider[], cmds_mount[], cmds_key[], cmds_recover[],
    cmds_system[], cmds_job[], cmds_seats[], cmds_scrub[], cmds_meta[], cmds_meta_change[],
    cmds_meta_dump[], cmds_meta_checkpoint[], cmds_meta_acl[], cmds_kv[], cmds_kv_wait[], cmds_gc[],
    cmds_fsck[], cmds_verify[], cmds_cost[], cmds_unit[], cmds_purge[];
extern const struct cmd *const cmd_tables[];
extern const size_t cmd_tables_count;
/* The n-th command of all tables, NULL after the last. */
const struct cmd *cmd_at(size_t n);
const struct cmd *cmd_find(const char *name);
/* As cmd_usage, for words that cannot be used as they are: an option that belongs in front of the
 * command is what is wrong with them, where there is one. */
int cmd_usage_words(const struct cmd_ctx *x, const struct cmd *c, const char *problem, int argc,
                    char **argv);
/* It changes something and has no --dry-run. */
bool cmd_acts_at_once(const struct cmd *c);
extern const char *const cmd_acting[]; /* their names, NULL at the end */

/*
 * "c2fsctl: what: object: cause", then "hint: ..."; with --json an object on standard error as
 * well. Returns the exit code for err.
 */
int cmd_fail(const struct cmd_ctx *x, enum c2_err err, const char *what, const char *object,
             const char *cause, const char *hint);
/* A usage error, of the command, told like other errors: exit code 2. */
int cmd_wrong_call(const struct cmd_ctx *x, const char *problem, const char *help);
int cmd_usage(const struct cmd_ctx *x, const struct cmd *c, const char *problem);
/* A command without options that takes paths: "--" in front of them says, as elsewhere, that what
 * begins with a dash is one. */
void cmd_end_options(int *argc, char ***argv);

/* Starts an object with its schema; cmd_json_print ends it, prints it and frees the text. */
void cmd_json_begin(struct c2_json *j, struct c2_buf *out, const char *schema);
void cmd_json_print(struct c2_json *j, struct c2_buf *out);

/* Folder of a volume's cache, or NULL when it is not configured. */
const char *cmd_cache_dir(const struct cmd_ctx *x, const char *volume);

/* Sizes and durations as options of a command: false and a message when malformed. */
bool cmd_duration(const char *text, uint64_t *ret_ns);

/* ---- tables on standard output ----------------------------------------------------------------
 */

#define CMD_COLUMNS_MAX 16

/* Rows of texts; columns whose header begins with '>' are aligned to the right. */
struct cmd_table {
    size_t ncolumns;
    const char *headers[CMD_COLUMNS_MAX];
    size_t nrows;
    char **cells; /* owned */
};

void cmd_table_add(struct cmd_table *t, ...);                  /* ncolumns texts */
void cmd_table_print(struct cmd_table *t, const char *indent); /* and frees the cells */

#endif
