/* SPDX-License-Identifier: MIT */
#include "tools/unit.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/crypto.h"
#include "base/os_file.h"
#include "base/str.h"
#include "tools/session.h"

/* ---- keys ------------------------------------------------------------------------------------ */

/* Why a file, or a key, was not taken; an exit code. */
static int
bad_keys(const struct unit_cli *u, const char *source, enum c2_err err, const char *why)
{
    if (err == C2_E_TOO_LARGE)
        return cmd_fail(u->x, err, u->cmd->name, source, "more than 16 writers", NULL);
    return cmd_fail(u->x, err, u->cmd->name, source, why, "c2fsctl unit key FILE makes a key file");
}

int
unit_load_keys(struct unit_cli *u, const char *path, bool need_secret)
{
    struct c2_os_file_info info;
    struct c2_buf text = { 0 };
    c2_buf_reserve(&text, UNIT_KEY_FILE_MAX + 1); /* no copy of a secret stays behind */
    enum c2_err err = c2_os_read_file(path, UNIT_KEY_FILE_MAX, &text, &info);
    int code = CTL_EXIT_OK;
    if (err != C2_E_OK) {
        code = cmd_fail(u->x, err, u->cmd->name, path, NULL, "c2fsctl unit key FILE makes one");
    } else if (need_secret && (info.mode & 077) != 0) {
        C2_AUTO(c2_free_auto) char *hint = c2_asprintf("chmod 600 %s", path);
        code = cmd_fail(u->x, C2_E_ACCESS, u->cmd->name, path, "others can read this key", hint);
    } else {
        const char *why = NULL;
        err = unit_keys_parse(&u->keys, c2_buf_slice(&text), need_secret, &why);
        if (err == C2_E_OK && need_secret && u->keys.secret == NULL)
            why = "there is no \"secret = HEX\" in it";
        else if (err == C2_E_OK && u->keys.nwriters == 0)
            why = "there is no key in it";
        if (err != C2_E_OK || why != NULL)
            code = bad_keys(u, path, err == C2_E_OK ? C2_E_CONFIG : err, why);
    }
    c2_wipe(text.data, text.cap);
    c2_buf_done(&text);
    return code;
}

int
unit_make_key(const struct cmd_ctx *x, const char *path)
{
    uint8_t seed[DS_UNIT_SEED_LEN], secret[DS_UNIT_SECRET_LEN], public_key[DS_UNIT_PUBLIC_LEN];
    char seed_hex[UNIT_KEYS_HEX_LEN + 1], public_hex[UNIT_KEYS_HEX_LEN + 1];
    struct c2_buf text = { 0 };
    if (c2_crypto_init() != C2_E_OK)
        return cmd_fail(x, C2_E_IO, "unit key", path, "cannot start", NULL);
    c2_random_bytes(seed, sizeof(seed));
    ds_unit_keypair(seed, secret, public_key);
    c2_hex_encode(seed, sizeof(seed), seed_hex);
    c2_hex_encode(public_key, sizeof(public_key), public_hex);
    c2_buf_reserve(&text, 1024);
    c2_buf_printf(&text,
                  "# Key of a writer of units; who has this file may write.\n"
                  "secret = %s\npublic = %s\n",
                  seed_hex, public_hex);
    int code = session_write_secret(x, "unit key", path, &text);
    c2_wipe(text.data, text.cap);
    c2_buf_done(&text);
    c2_wipe(seed, sizeof(seed));
    c2_wipe(secret, sizeof(secret));
    c2_wipe(seed_hex, sizeof(seed_hex));
    if (code != CTL_EXIT_OK)
        return code;
    if (x->json) {
        struct c2_buf out = { 0 };
        struct c2_json j;
        cmd_json_begin(&j, &out, "c2fs.unit_key/1");
        c2_json_str(&j, "file", path);
        c2_json_str(&j, "public", public_hex);
        cmd_json_print(&j, &out);
    } else {
        (void)printf("%s\n", public_hex);
    }
    return code;
}

/* ---- options --------------------------------------------------------------------------------- */

static const struct option options[] = {
    { "key", required_argument, NULL, 'k' },
    { "writer", required_argument, NULL, 'w' },
    { "f", required_argument, NULL, 'f' },
    { "provider", required_argument, NULL, 'P' },
    { "protocol", required_argument, NULL, 'p' },
    { "keep", required_argument, NULL, 'K' },
    { "wait", required_argument, NULL, 'W' },
    { "lease", required_argument, NULL, 'l' },
    { "session", required_argument, NULL, 's' },
    { "single-writer", no_argument, NULL, 'S' },
    { "version", required_argument, NULL, 'v' },
    { "output", required_argument, NULL, 'o' },
    { NULL, 0, NULL, 0 },
};

/* 64 hex digits, or a file. */
static int
take_writer(struct unit_cli *u, const char *arg)
{
    uint8_t key[DS_UNIT_PUBLIC_LEN];
    struct c2_slice text = c2_slice_str(arg);
    if (text.len != UNIT_KEYS_HEX_LEN || c2_hex_decode(text, key, sizeof(key)) != C2_E_OK)
        return unit_load_keys(u, arg, false);
    enum c2_err err = unit_keys_add(&u->keys, key);
    return err == C2_E_OK ? CTL_EXIT_OK : bad_keys(u, arg, err, NULL);
}

static bool
take_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value)
{
    return c2_u64_parse(c2_slice_str(text), max, ret_value) == C2_E_OK && *ret_value >= min;
}

static bool
take_session(const char *text, uint64_t *ret_session)
{
    uint8_t bytes[8];
    if (strlen(text) != 16 || c2_hex_decode(c2_slice_str(text), bytes, 8) != C2_E_OK)
        return false;
    *ret_session = 0;
    for (size_t i = 0; i < sizeof(bytes); i++)
        *ret_session = *ret_session << 8 | bytes[i];
    return *ret_session != 0;
}

static bool
take_protocol(const char *text, enum ds_unit_protocol *ret_protocol)
{
    bool a = strcmp(text, "a") == 0;
    *ret_protocol = a ? DS_UNIT_A : DS_UNIT_CA;
    return a || strcmp(text, "ca") == 0;
}

/* NULL: fine. Else what is wrong. Options whose value cannot be wrong are the caller's. */
static const char *
take_value(struct unit_cli *u, int flag)
{
    uint64_t n = 0;
    switch (flag) {
    case 'f':
        if (!take_number(optarg, 1, DS_F_MAX, &n))
            return "--f takes 1 or 2";
        u->f = (unsigned)n;
        return NULL;
    case 'K':
        if (!take_number(optarg, 1, DS_UNIT_VERSIONS_MAX, &n))
            return "--keep takes 1 to 64 versions";
        u->keep = (unsigned)n;
        return NULL;
    case 'v':
        return take_number(optarg, 1, UINT64_MAX - 1, &u->version)
                   ? NULL
                   : "--version takes the number of a version";
    case 'W':
        return cmd_duration(optarg, &u->wait_ns) ? NULL : "--wait takes a time like 30s";
    case 'l':
        return cmd_duration(optarg, &u->lease_ns) && u->lease_ns >= 15 * C2_NS_PER_S &&
                       u->lease_ns <= DS_UNIT_LEASE_MAX_NS
                   ? NULL
                   : "--lease takes 15s to 24h";
    case 's':
        u->locked = true;
        return take_session(optarg, &u->session) ? NULL : "--session takes what unit lock printed";
    case 'p':
        return take_protocol(optarg, &u->protocol) ? NULL : "--protocol takes a or ca";
    default:
        C2_UNREACHABLE();
    }
}

/* -1: go on. */
static int
take_option(struct unit_cli *u, int flag)
{
    const char *problem = NULL;
    int code = CTL_EXIT_OK;
    switch (flag) {
    case 'k':
        u->key_file = optarg;
        code = unit_load_keys(u, optarg, true);
        break;
    case 'w':
        code = take_writer(u, optarg);
        break;
    case 'P':
        if (u->nproviders == DS_SEATS_MAX)
            return cmd_usage(u->x, u->cmd, "more than 8 providers");
        u->providers[u->nproviders++] = optarg;
        break;
    case 'S':
        u->single_writer = true;
        break;
    case 'o':
        u->output = optarg;
        break;
    default:
        problem = take_value(u, flag);
    }
    if (problem != NULL)
        return cmd_usage(u->x, u->cmd, problem);
    return code == CTL_EXIT_OK ? -1 : code;
}

/* The command has the option: its table says so. */
static bool
allowed(const struct cmd *c, int flag)
{
    for (const struct option *o = options; o->name != NULL; o++) {
        if (o->val != flag)
            continue;
        C2_AUTO(c2_free_auto) char *words = c2_asprintf(" %s ", c->options);
        C2_AUTO(c2_free_auto) char *word = c2_asprintf(" --%s ", o->name);
        return strstr(words, word) != NULL;
    }
    return false;
}

int
unit_parse(struct unit_cli *u, int argc, char **argv, int min, int max)
{
    int flag;
    u->f = 1;
    u->protocol = DS_UNIT_CA;
    u->lease_ns = DS_UNIT_LEASE_NS;
    optind = 0; /* getopt starts anew */
    while ((flag = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
        if (!allowed(u->cmd, flag))
            return cmd_usage(u->x, u->cmd,
                             flag == '?' ? "unknown option" : "it has no such option");
        int code = take_option(u, flag);
        if (code >= 0)
            return code;
    }
    int left = argc - optind;
    if (left < min)
        return cmd_usage(u->x, u->cmd,
                         max == 1 ? "one argument is missing" : "an argument is missing");
    if (left > max)
        return cmd_usage(u->x, u->cmd, "too many arguments");
    if (max > 0) {
        u->name = argv[optind];
        if (!ds_unit_name_valid(u->name))
            return cmd_usage(u->x, u->cmd,
                             "a unit's name has at most 64 letters, digits, . _ and -, and "
                             "does not begin with a dot");
        if (u->keys.nwriters == 0)
            return cmd_usage(u->x, u->cmd, "whose signatures count? --key FILE or --writer KEY");
    }
    return -1;
}

/* ---- opening --------------------------------------------------------------------------------- */

int
unit_open(struct unit_cli *u)
{
    struct ds_clouds_config config;
    char *error = NULL;
    ds_clouds_config_default(&config);
    config.config_file = u->x->config_file != NULL ? u->x->config_file : "";
    config.names = u->providers;
    config.nnames = u->nproviders;
    config.client.f = u->f;
    enum c2_err err = ds_clouds_open(&config, &u->clouds, &error);
    if (err != C2_E_OK) {
        err = err == C2_E_INVALID ? C2_E_CONFIG : err;
        int code = cmd_fail(u->x, err, u->cmd->name, NULL, error,
                            "choose them with --provider NAME, or add [provider] sections");
        c2_free(error);
        return code;
    }
    if (u->name == NULL)
        return -1;
    const struct ds_unit_config unit = { .name = u->name,
                                         .writers =
                                             (const uint8_t(*)[DS_UNIT_PUBLIC_LEN])u->keys.writers,
                                         .nwriters = u->keys.nwriters,
                                         .secret = u->keys.secret,
                                         .single_writer = u->single_writer,
                                         .session = u->session };
    err = ds_unit_open(ds_clouds_client(u->clouds), &unit, &u->unit);
    return err == C2_E_OK ? -1 : unit_fail(u, err, NULL);
}

int
unit_close(struct unit_cli *u, int code)
{
    ds_unit_close(u->unit);
    ds_clouds_close(u->clouds);
    unit_keys_done(&u->keys);
    return code;
}

/* ---- errors ---------------------------------------------------------------------------------- */

static int
fail_busy(const struct unit_cli *u, const struct ds_unit_lock *other)
{
    char holder[UNIT_KEYS_HEX_LEN + 1], left[C2_SIZE_TEXT_MAX];
    uint64_t now = c2_wall_ns(ds_clouds_env(u->clouds));
    c2_hex_encode(other->holder, sizeof(other->holder), holder);
    uint64_t ns = other->expires_wall_ns > now ? other->expires_wall_ns - now : 0;
    C2_AUTO(c2_free_auto)
    char *cause = c2_asprintf("locked by the writer %.16s for %s more at most", holder,
                              c2_duration_format(ns / C2_NS_PER_S * C2_NS_PER_S, left));
    return cmd_fail(u->x, C2_E_BUSY, u->cmd->name, u->name, cause, "try for longer: --wait 2m");
}

int
unit_fail(const struct unit_cli *u, enum c2_err err, const struct ds_unit_lock *other)
{
    static const struct {
        enum c2_err err;
        const char *cause, *hint;
    } words[] = {
        { C2_E_NOT_FOUND, "there is no such unit or version", "c2fsctl unit list" },
        { C2_E_KEY, "signed by somebody who is not among the writers",
          "add the writer's public key: --writer KEY" },
        { C2_E_QUORUM, "too few providers answered correctly", "c2fsctl provider test" },
        { C2_E_FENCED, "the lock was lost; nothing was changed",
          "try again, with a longer --lease" },
        { C2_E_NOT_PERMITTED, "writing takes a key",
          "--key FILE; c2fsctl unit key FILE makes one" },
        { C2_E_BUSY, "somebody else tries to lock it at the same time", "try again: --wait 30s" },
        { C2_E_TOO_LARGE, "a value has at most 32 MiB", "split it, or use a volume" },
    };
    if (err == C2_E_BUSY && other != NULL && other->expires_wall_ns != 0)
        return fail_busy(u, other);
    for (size_t i = 0; i < C2_ARRAY_LEN(words); i++)
        if (words[i].err == err)
            return cmd_fail(u->x, err, u->cmd->name, u->name, words[i].cause, words[i].hint);
    return cmd_fail(u->x, err, u->cmd->name, u->name, NULL, NULL);
}
