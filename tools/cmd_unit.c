/* SPDX-License-Identifier: MIT */
/*
 * unit key, put, get, versions, list, lock, unlock, gc, delete: DepSky data units over the
 * providers of the configuration, without a volume.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/os_file.h"
#include "base/str.h"
#include "tools/unit.h"

#define PUT_WAIT_NS (30 * C2_NS_PER_S)

/* ---- what is printed ------------------------------------------------------------------------- */

static const char *
protocol_name(enum ds_unit_protocol p)
{
    return p == DS_UNIT_A ? "a" : "ca";
}

static void
json_version(const struct unit_cli *u, struct c2_json *j, const struct ds_unit_version *v)
{
    char hex[2 * DS_UNIT_HASH_LEN + 1];
    struct ds_client *client = ds_clouds_client(u->clouds);
    c2_json_u64(j, "version", v->version);
    c2_json_str(j, "protocol", protocol_name(v->protocol));
    c2_json_u64(j, "size", v->size);
    c2_json_u64(j, "time_ns", v->time_ns);
    c2_hex_encode(v->writer, sizeof(v->writer), hex);
    c2_json_str(j, "writer", hex);
    c2_hex_encode(v->hash, sizeof(v->hash), hex);
    c2_json_str(j, "hash", hex);
    c2_json_array(j, "placed");
    for (unsigned i = 0; i < ds_client_n(client); i++) {
        struct ds_seat_status s;
        ds_seat_status(client, i, &s);
        if ((v->placed & 1u << i) != 0)
            c2_json_str(j, NULL, s.name);
    }
    c2_json_array_end(j);
}

static void
print_json_version(const struct unit_cli *u, const struct ds_unit_version *v)
{
    struct c2_buf out = { 0 };
    struct c2_json j;
    cmd_json_begin(&j, &out, "c2fs.unit/1");
    c2_json_str(&j, "name", u->name);
    json_version(u, &j, v);
    cmd_json_print(&j, &out);
}

/* ---- lock around what changes a unit --------------------------------------------------------- */

/* -1: go on. A session's lock is taken too: this handle must know that it is held. */
static int
take_lock(struct unit_cli *u)
{
    if (u->single_writer)
        return -1;
    struct ds_unit_lock l = { .lease_ns = u->lease_ns, .wait_ns = u->wait_ns };
    enum c2_err err = ds_wait_unit_lock(u->clouds, u->unit, &l);
    return err == C2_E_OK ? -1 : unit_fail(u, err, &l);
}

/* What another command holds for this session stays. */
static void
give_lock_back(struct unit_cli *u)
{
    struct ds_unit_unlock l = { 0 };
    if (!u->single_writer && ds_unit_locked(u->unit) &&
        ds_wait_unit_unlock(u->clouds, u->unit, &l) != C2_E_OK)
        (void)fprintf(stderr, "c2fsctl: %s: the lock stays until it expires\n", u->cmd->name);
}

static struct unit_cli
command(const struct cmd_ctx *x, const char *name)
{
    return (struct unit_cli){ .x = x, .cmd = cmd_find(name), .wait_ns = PUT_WAIT_NS };
}

/* Parses and opens. -1: go on. */
static int
begin(struct unit_cli *u, int argc, char **argv, int max)
{
    int code = unit_parse(u, argc, argv, 1, max);
    return code >= 0 ? code : unit_open(u);
}

/* ---- put, get -------------------------------------------------------------------------------- */

/* The whole file, at most one byte more than a value may have. */
static enum c2_err
read_all(int fd, struct c2_buf *out)
{
    for (;;) {
        size_t room = C2_MIN((size_t)1 << 20, DS_OBJECT_SIZE_MAX + 1 - out->len);
        if (room == 0)
            return C2_E_TOO_LARGE;
        c2_buf_reserve(out, room);
        ssize_t n = read(fd, out->data + out->len, room);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? C2_E_OK : c2_err_from_errno(errno);
        out->len += (size_t)n;
    }
}

static int
read_value(const struct unit_cli *u, const char *path, struct c2_buf *value)
{
    bool standard = path == NULL || strcmp(path, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    enum c2_err err = fd < 0 ? c2_err_from_errno(errno) : read_all(fd, value);
    if (fd >= 0 && !standard)
        close(fd);
    if (err == C2_E_OK)
        return -1;
    if (err == C2_E_TOO_LARGE)
        return unit_fail(u, err, NULL);
    return cmd_fail(u->x, err, u->cmd->name, standard ? "standard input" : path, NULL, NULL);
}

static int
put_value(struct unit_cli *u, const struct c2_buf *value)
{
    struct c2_slice piece = c2_buf_slice(value);
    struct ds_unit_write w = {
        .protocol = u->protocol, .data = &piece, .ndata = 1, .keep = u->keep
    };
    int code = take_lock(u);
    if (code >= 0)
        return code;
    enum c2_err err = ds_wait_unit_write(u->clouds, u->unit, &w);
    give_lock_back(u);
    if (err != C2_E_OK)
        return unit_fail(u, err, NULL);
    if (u->x->json)
        print_json_version(u, &w.written);
    else
        (void)printf("%s version %llu, %llu bytes\n", u->name,
                     (unsigned long long)w.written.version, (unsigned long long)value->len);
    return CTL_EXIT_OK;
}

static int
run_put(struct cmd_ctx *x, int argc, char **argv)
{
    struct unit_cli u = command(x, "unit put");
    struct c2_buf value = { 0 };
    int code = unit_parse(&u, argc, argv, 1, 2);
    if (code < 0 && u.keys.secret == NULL)
        code = unit_fail(&u, C2_E_NOT_PERMITTED, NULL);
    if (code < 0) /* getopt has put the arguments last */
        code = read_value(&u, argv[argc - 1] != u.name ? argv[argc - 1] : NULL, &value);
    if (code < 0)
        code = unit_open(&u);
    if (code < 0)
        code = put_value(&u, &value);
    c2_buf_done(&value);
    return unit_close(&u, code);
}

/* The file appears whole or not at all. */
static enum c2_err
write_file(const char *path, const struct c2_blob *data)
{
    C2_AUTO(c2_free_auto) char *part = c2_asprintf("%s.part-%d", path, (int)getpid());
    int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return c2_err_from_errno(errno);
    enum c2_err err = c2_os_write_all(fd, data->data, data->len);
    if (close(fd) != 0 && err == C2_E_OK)
        err = c2_err_from_errno(errno);
    if (err == C2_E_OK && rename(part, path) != 0)
        err = c2_err_from_errno(errno);
    if (err != C2_E_OK)
        (void)unlink(part);
    return err;
}

static int
give_out(const struct unit_cli *u, const struct ds_unit_read *r)
{
    bool standard = u->output == NULL || strcmp(u->output, "-") == 0;
    enum c2_err err = standard ? c2_os_write_all(STDOUT_FILENO, r->data->data, r->data->len)
                               : write_file(u->output, r->data);
    if (err != C2_E_OK)
        return cmd_fail(u->x, err, u->cmd->name, standard ? "standard output" : u->output, NULL,
                        NULL);
    if (u->x->json)
        print_json_version(u, &r->found);
    return CTL_EXIT_OK;
}

static int
run_get(struct cmd_ctx *x, int argc, char **argv)
{
    struct unit_cli u = command(x, "unit get");
    int code = begin(&u, argc, argv, 1);
    if (code < 0 && x->json && (u.output == NULL || strcmp(u.output, "-") == 0))
        code = cmd_usage(x, u.cmd, "with --json the value needs a file: -o FILE");
    if (code < 0) {
        struct ds_unit_read r = { .version = u.version };
        enum c2_err err = ds_wait_unit_read(u.clouds, u.unit, &r);
        code = err == C2_E_OK ? give_out(&u, &r) : unit_fail(&u, err, NULL);
        if (err == C2_E_OK)
            c2_blob_unref(r.data);
    }
    return unit_close(&u, code);
}

/* ---- versions, list -------------------------------------------------------------------------- */

static void
print_versions(const struct ds_unit_versions *v)
{
    struct cmd_table t = { .ncolumns = 6,
                           .headers = { ">VERSION", "PROTOCOL", ">SIZE", "TIME", "WRITER",
                                        ">PROVIDERS" } };
    for (size_t i = 0; i < v->nitems; i++) {
        const struct ds_unit_version *e = &v->items[i];
        char number[24], size[C2_SIZE_TEXT_MAX], when[C2_SIZE_TEXT_MAX], writer[17], placed[16];
        (void)snprintf(number, sizeof(number), "%llu", (unsigned long long)e->version);
        c2_time_format(e->time_ns, when);
        c2_hex_encode(e->writer, 8, writer);
        (void)snprintf(placed, sizeof(placed), "%d", __builtin_popcount(e->placed));
        cmd_table_add(&t, number, protocol_name(e->protocol), c2_size_format(e->size, size), when,
                      writer, placed);
    }
    cmd_table_print(&t, "");
}

static int
run_versions(struct cmd_ctx *x, int argc, char **argv)
{
    struct unit_cli u = command(x, "unit versions");
    int code = begin(&u, argc, argv, 1);
    if (code >= 0)
        return unit_close(&u, code);
    struct ds_unit_versions v = { 0 };
    enum c2_err err = ds_wait_unit_versions(u.clouds, u.unit, &v);
    if (err != C2_E_OK)
        return unit_close(&u, unit_fail(&u, err, NULL));
    if (x->json) {
        struct c2_buf out = { 0 };
        struct c2_json j;
        cmd_json_begin(&j, &out, "c2fs.unit_versions/1");
        c2_json_str(&j, "name", u.name);
        c2_json_array(&j, "versions");
        for (size_t i = 0; i < v.nitems; i++) {
            c2_json_object(&j, NULL);
            json_version(&u, &j, &v.items[i]);
            c2_json_object_end(&j);
        }
        c2_json_array_end(&j);
        cmd_json_print(&j, &out);
    } else {
        print_versions(&v);
    }
    c2_free(v.items);
    return unit_close(&u, CTL_EXIT_OK);
}

static int
run_list(struct cmd_ctx *x, int argc, char **argv)
{
    struct unit_cli u = command(x, "unit list");
    int code = unit_parse(&u, argc, argv, 0, 0);
    if (code < 0)
        code = unit_open(&u);
    if (code >= 0)
        return unit_close(&u, code);
    struct ds_unit_list l = { 0 };
    enum c2_err err = ds_wait_unit_list(u.clouds, &l);
    if (err != C2_E_OK)
        return unit_close(&u, unit_fail(&u, err, NULL));
    if (x->json) {
        struct c2_buf out = { 0 };
        struct c2_json j;
        cmd_json_begin(&j, &out, "c2fs.units/1");
        c2_json_array(&j, "units");
        for (size_t i = 0; i < l.nnames; i++)
            c2_json_str(&j, NULL, l.names[i]);
        c2_json_array_end(&j);
        cmd_json_print(&j, &out);
    } else {
        for (size_t i = 0; i < l.nnames; i++)
            (void)printf("%s\n", l.names[i]);
    }
    c2_free(l.names);
    return unit_close(&u, CTL_EXIT_OK);
}

/* ---- lock, unlock ---------------------------------------------------------------------------- */

static void
print_lock(const struct unit_cli *u, const struct ds_unit_lock *l)
{
    char session[17];
    (void)snprintf(session, sizeof(session), "%016llx",
                   (unsigned long long)ds_unit_session(u->unit));
    if (!u->x->json) {
        (void)printf("%s\n", session);
        return;
    }
    struct c2_buf out = { 0 };
    struct c2_json j;
    cmd_json_begin(&j, &out, "c2fs.unit_lock/1");
    c2_json_str(&j, "name", u->name);
    c2_json_str(&j, "session", session);
    c2_json_u64(&j, "expires_ns", l->expires_wall_ns);
    cmd_json_print(&j, &out);
}

static int
run_lock(struct cmd_ctx *x, int argc, char **argv)
{
    struct unit_cli u = command(x, "unit lock");
    u.wait_ns = 0;
    int code = begin(&u, argc, argv, 1);
    if (code < 0) {
        struct ds_unit_lock l = { .lease_ns = u.lease_ns, .wait_ns = u.wait_ns };
        enum c2_err err = ds_wait_unit_lock(u.clouds, u.unit, &l);
        code = err == C2_E_OK ? CTL_EXIT_OK : unit_fail(&u, err, &l);
        if (err == C2_E_OK)
            print_lock(&u, &l);
    }
    return unit_close(&u, code);
}

static int
run_unlock(struct cmd_ctx *x, int argc, char **argv)
{
    struct unit_cli u = command(x, "unit unlock");
    int code = unit_parse(&u, argc, argv, 1, 1);
    if (code < 0 && !u.locked)
        code = cmd_usage(x, u.cmd, "whose lock? --session as unit lock printed it");
    if (code < 0)
        code = unit_open(&u);
    if (code < 0) {
        struct ds_unit_unlock l = { .whole_session = true };
        enum c2_err err = ds_wait_unit_unlock(u.clouds, u.unit, &l);
        code = err == C2_E_OK ? CTL_EXIT_OK : unit_fail(&u, err, NULL);
    }
    return unit_close(&u, code);
}

/* ---- gc, delete ------------------------------------------------------------------------------ */

static int
print_collected(const struct unit_cli *u, const struct ds_unit_gc *g)
{
    unsigned n = ds_client_n(ds_clouds_client(u->clouds));
    unsigned confirmed = (unsigned)__builtin_popcount(g->confirmed);
    if (u->x->json) {
        struct c2_buf out = { 0 };
        struct c2_json j;
        cmd_json_begin(&j, &out, "c2fs.unit_gc/1");
        c2_json_str(&j, "name", u->name);
        c2_json_u64(&j, "forgotten", g->forgotten);
        c2_json_u64(&j, "removed", g->removed);
        c2_json_u64(&j, "providers_done", confirmed);
        cmd_json_print(&j, &out);
    } else {
        (void)printf("%s: %u versions forgotten, %zu objects removed at %u of %u providers\n",
                     u->name, g->forgotten, g->removed, confirmed, n);
    }
    return confirmed < n ? CTL_EXIT_DEGRADED : CTL_EXIT_OK;
}

static int
collect(struct unit_cli *u, int argc, char **argv, bool all)
{
    int code = begin(u, argc, argv, 1);
    if (code < 0 && !all && u->keep == 0)
        code = cmd_usage(u->x, u->cmd, "how many versions are kept? --keep N");
    if (code < 0 && all && !u->x->yes)
        code = cmd_fail(u->x, C2_E_PRECONDITION, u->cmd->name, u->name,
                        "this deletes every version", "c2fsctl --yes unit delete ...");
    if (code < 0)
        code = take_lock(u);
    if (code < 0) {
        struct ds_unit_gc g = { .keep = u->keep };
        enum c2_err err = all ? ds_wait_unit_delete(u->clouds, u->unit, &g)
                              : ds_wait_unit_gc(u->clouds, u->unit, &g);
        give_lock_back(u);
        code = err == C2_E_OK ? print_collected(u, &g) : unit_fail(u, err, NULL);
    }
    return unit_close(u, code);
}

static int
run_gc(struct cmd_ctx *x, int argc, char **argv)
{
    struct unit_cli u = command(x, "unit gc");
    return collect(&u, argc, argv, false);
}

static int
run_delete(struct cmd_ctx *x, int argc, char **argv)
{
    struct unit_cli u = command(x, "unit delete");
    return collect(&u, argc, argv, true);
}

static int
run_key(struct cmd_ctx *x, int argc, char **argv)
{
    if (argc != 2 || argv[1][0] == '-')
        return cmd_usage(x, cmd_find("unit key"), "give the name of a new file");
    return unit_make_key(x, argv[1]);
}

#define KEYS    "--key FILE [--writer KEY ...]"
#define LOCKING "[--wait TIME] [--lease TIME] [--session HEX] [--single-writer]"
#define CLOUDS  "[--f N] [--provider NAME ...]"
#define CLOUDS_HELP                                                                                \
    "  --f N            providers that may fail or lie: 1 (default) or 2\n"                        \
    "  --provider NAME  use these in this order instead of all; always the same\n"
#define WRITERS_HELP                                                                               \
    "  --key FILE       key of the writer\n"                                                       \
    "  --writer KEY     public key, or a file of them, whose signatures count too\n"
#define LOCK_HELP                                                                                  \
    "  --wait TIME      how long to try for the lock (30s)\n"                                      \
    "  --lease TIME     when the lock ends if this command dies (1m)\n"                            \
    "  --session HEX    the lock of `unit lock` is used\n"                                         \
    "  --single-writer  nobody else ever writes this unit: no lock\n"
#define WRITE_OPTIONS "--key --writer --f --provider --wait --lease --session --single-writer"

const struct cmd cmds_unit[] = {
    { "unit key", "FILE", "make the key of a writer of units",
      "Prints the public key; readers get it with --writer.\n", "", CMD_NEEDS_NOTHING, run_key },
    { "unit put", "NAME [FILE|-] " KEYS " [--protocol a|ca] [--keep N] " LOCKING " " CLOUDS,
      "write a version of a unit",
      "A unit is a named value with versions in the clouds, signed by its writer: DepSky.\n"
      "Needs no volume. Without FILE the value is read from standard input.\n"
      "  --protocol P     ca (default): no provider can read it; a: each one has all of it\n"
      "  --keep N         versions that the unit remembers from now on, 1 to 64 (64)\n" WRITERS_HELP
          LOCK_HELP CLOUDS_HELP,
      WRITE_OPTIONS " --keep --protocol", CMD_NEEDS_CONF, run_put },
    { "unit get", "NAME [--output FILE] [--version N] --writer KEY|--key FILE ... " CLOUDS,
      "read a unit",
      "The latest version, or one that the unit remembers; to standard output without -o.\n"
      "Never bytes that no trusted writer wrote, and never an older version than a completed\n"
      "put.\n" WRITERS_HELP CLOUDS_HELP,
      "--output --version --key --writer --f --provider", CMD_NEEDS_CONF, run_get },
    { "unit versions", "NAME --writer KEY|--key FILE ... " CLOUDS,
      "the versions that a unit remembers", WRITERS_HELP CLOUDS_HELP,
      "--key --writer --f --provider", CMD_NEEDS_CONF, run_versions },
    { "unit list", CLOUDS, "names of the units",
      "Deleted ones are listed while a provider shows them.\n" CLOUDS_HELP, "--f --provider",
      CMD_NEEDS_CONF, run_list },
    { "unit lock", "NAME " KEYS " [--wait TIME] [--lease TIME] [--session HEX] " CLOUDS,
      "lock a unit for several commands",
      "Prints the session for their --session. Ends by itself after the lease; again with the\n"
      "same session it lasts longer.\n" WRITERS_HELP
      "  --wait TIME      how long to try (0: once)\n"
      "  --lease TIME     15s to 24h (1m)\n" CLOUDS_HELP,
      "--key --writer --f --provider --wait --lease --session", CMD_NEEDS_CONF, run_lock },
    { "unit unlock", "NAME --session HEX " KEYS " " CLOUDS, "give a lock back",
      "A provider that is away may show it until it expires.\n" WRITERS_HELP CLOUDS_HELP,
      "--key --writer --f --provider --session", CMD_NEEDS_CONF, run_unlock },
    { "unit gc", "NAME --keep N " KEYS " " LOCKING " " CLOUDS, "forget old versions of a unit",
      "Deletes their values, and what writers left behind that crashed. Exit code 6 when a\n"
      "provider was away: again later.\n"
      "  --keep N         newest versions that stay, 1 to 64\n" WRITERS_HELP LOCK_HELP CLOUDS_HELP,
      WRITE_OPTIONS " --keep", CMD_NEEDS_CONF, run_gc },
    { "unit delete", "NAME " KEYS " " LOCKING " " CLOUDS, "delete a unit",
      "All versions; what stays is a signed note, so that a provider which was away cannot\n"
      "bring them back. Needs --yes.\n" WRITERS_HELP LOCK_HELP CLOUDS_HELP,
      WRITE_OPTIONS, CMD_NEEDS_CONF, run_delete },
    { NULL, NULL, NULL, NULL, NULL, CMD_NEEDS_NOTHING, NULL },
};
