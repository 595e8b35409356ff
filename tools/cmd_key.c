/* SPDX-License-Identifier: MIT */
/*
 * key status, verify, recovery-kit, restore, change-passphrase.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/os_file.h"
#include "base/os_loop.h"
#include "base/os_tty.h"
#include "base/str.h"
#include "fs/key_admin.h"
#include "tools/cmd.h"
#include "tools/session.h"

#define KIT_MAX (64u << 10)

static int
begin(const struct cmd_ctx *x, const char *what, struct key_admin *a)
{
    *a = (struct key_admin){ .conf = x->conf,
                             .volume = x->volume,
                             .ask = c2_os_has_tty() ? c2_os_ask_secret : NULL };
    if (c2_crypto_init() != C2_E_OK || c2_os_new(1, &a->os) != C2_E_OK)
        return cmd_fail(x, C2_E_IO, what, x->volume, "cannot start", NULL);
    return CTL_EXIT_OK;
}

/* Frees what begin made; the exit code for err. */
static int
end(const struct cmd_ctx *x, const char *what, struct key_admin *a, enum c2_err err)
{
    c2_os_free(a->os);
    if (err == C2_E_OK)
        return CTL_EXIT_OK;
    return cmd_fail(x, err, what, x->volume, a->error.text,
                    a->error.hint[0] != '\0' ? a->error.hint : NULL);
}

static void
print_info(const struct cmd_ctx *x, const char *schema, const char *path,
           const struct key_file *info, const char *check)
{
    char uuid[33];
    c2_hex_encode(info->uuid, sizeof(info->uuid), uuid);
    if (x->json) {
        struct c2_buf out = { 0 };
        struct c2_json j;
        cmd_json_begin(&j, &out, schema);
        c2_json_str(&j, "volume", info->volume);
        c2_json_str(&j, "uuid", uuid);
        c2_json_str(&j, "file", path);
        c2_json_bool(&j, "sealed", info->sealed);
        c2_json_bool(&j, "keyless", info->keyless);
        c2_json_str(&j, "check", check);
        cmd_json_print(&j, &out);
        return;
    }
    (void)printf("volume     %s\nuuid       %s\n", info->volume, uuid);
    if (path != NULL)
        (void)printf("file       %s\n", path);
    (void)printf("passphrase %s\n", info->sealed ? "yes" : "NO: whoever has the file has the key");
    (void)printf("data       %s\n", info->keyless
                                        ? "needs no key (keyless volume); names and metadata do"
                                        : "needs this key");
    if (check != NULL)
        (void)printf("check      %s\n", check);
}

static int
run_status(struct cmd_ctx *x, int argc, char **argv)
{
    (void)argv;
    if (argc != 1)
        return cmd_usage(x, cmd_find("key status"), "takes no arguments");
    struct key_admin a;
    struct key_file info;
    char *path = NULL;
    int code = begin(x, "key status", &a);
    if (code != CTL_EXIT_OK)
        return code;
    enum c2_err err = key_admin_status(&a, &path, &info);
    if (err == C2_E_OK)
        print_info(x, "c2fs.key/1", path, &info, NULL);
    c2_free(path);
    return end(x, "key status", &a, err);
}

/* Compares with the store when no mount has it open. */
static enum c2_err
compare_with_store(const struct cmd_ctx *x, const char **ret_what)
{
    struct session s;
    char *error = NULL;
    enum c2_err err = session_open(x, &s, &error);
    c2_free(error);
    *ret_what = "the key file opens and belongs to the volume";
    if (err == C2_E_OK)
        session_close(&s);
    if (err == C2_E_BUSY)
        *ret_what = "the key file opens; the volume is mounted, so it was compared at the mount";
    return err == C2_E_BUSY ? C2_E_OK : err;
}

static int
run_verify(struct cmd_ctx *x, int argc, char **argv)
{
    (void)argv;
    if (argc != 1)
        return cmd_usage(x, cmd_find("key verify"), "takes no arguments");
    struct key_admin a;
    struct key_file info;
    uint8_t check[16];
    char text[33];
    int code = begin(x, "key verify", &a);
    if (code != CTL_EXIT_OK)
        return code;
    enum c2_err err = key_admin_verify(&a, &info, check);
    code = end(x, "key verify", &a, err);
    if (code != CTL_EXIT_OK)
        return code;
    const char *what;
    err = compare_with_store(x, &what);
    if (err != C2_E_OK)
        return cmd_fail(x, err, "key verify", x->volume,
                        "the key file opens, but the volume does not accept it", NULL);
    c2_hex_encode(check, sizeof(check), text);
    print_info(x, "c2fs.key_verify/1", NULL, &info, text);
    if (!x->json)
        (void)printf("%s\n", what);
    return CTL_EXIT_OK;
}

static int
run_kit(struct cmd_ctx *x, int argc, char **argv)
{
    if (argc > 2)
        return cmd_usage(x, cmd_find("key recovery-kit"), "give at most one file");
    struct key_admin a;
    struct c2_buf kit = { 0 };
    int code = begin(x, "key recovery-kit", &a);
    if (code != CTL_EXIT_OK)
        return code;
    enum c2_err err = key_admin_kit(&a, &kit);
    code = end(x, "key recovery-kit", &a, err);
    if (code == CTL_EXIT_OK && argc == 2) {
        code = session_write_secret(x, "key recovery-kit", argv[1], &kit);
        if (code == CTL_EXIT_OK)
            (void)printf("written to %s: print it, then delete the file\n", argv[1]);
    } else if (code == CTL_EXIT_OK) {
        (void)fputs(c2_buf_cstr(&kit), stdout);
    }
    if (kit.data != NULL)
        c2_wipe(kit.data, kit.cap);
    c2_buf_done(&kit);
    return code;
}

/* ---- a new passphrase ------------------------------------------------------------------------ */

struct new_passphrase {
    const char *file;
    bool none;
    struct c2_buf text;
};

static const struct option new_options[] = { { "new-passphrase-file", required_argument, NULL,
                                               'f' },
                                             { "no-passphrase", no_argument, NULL, 'n' },
                                             { NULL, 0, NULL, 0 } };

/* -1: go on. */
static int
parse_new(const struct cmd_ctx *x, const struct cmd *c, int argc, char **argv,
          struct new_passphrase *n)
{
    int flag;
    optind = 0; /* getopt starts anew */
    while ((flag = getopt_long(argc, argv, "", new_options, NULL)) != -1) {
        if (flag == 'f')
            n->file = optarg;
        else if (flag == 'n')
            n->none = true;
        else
            return cmd_usage(x, c, "unknown option");
    }
    return n->file != NULL && n->none ? cmd_usage(x, c, "a passphrase or none?") : -1;
}

static int
read_new(const struct cmd_ctx *x, const char *what, struct new_passphrase *n)
{
    if (n->file == NULL)
        return CTL_EXIT_OK;
    enum c2_err err = c2_os_read_file(n->file, VOLUME_PASSPHRASE_MAX, &n->text, NULL);
    if (err != C2_E_OK)
        return cmd_fail(x, err, what, n->file, NULL, NULL);
    while (n->text.len > 0 &&
           (n->text.data[n->text.len - 1] == '\n' || n->text.data[n->text.len - 1] == '\r'))
        n->text.len--;
    if (n->text.len == 0)
        return cmd_fail(x, C2_E_INVALID, what, n->file, "the passphrase is empty",
                        "--no-passphrase leaves the key file unprotected");
    return CTL_EXIT_OK;
}

/* NULL = ask, "" = none. */
static const char *
text_of(struct new_passphrase *n)
{
    if (n->none)
        return "";
    return n->file != NULL ? c2_buf_cstr(&n->text) : NULL;
}

static void
new_done(struct new_passphrase *n)
{
    if (n->text.data != NULL)
        c2_wipe(n->text.data, n->text.cap);
    c2_buf_done(&n->text);
}

static int
run_change(struct cmd_ctx *x, int argc, char **argv)
{
    const char *what = "key change-passphrase";
    const struct cmd *c = cmd_find(what);
    struct new_passphrase n = { 0 };
    struct key_admin a;
    int code = parse_new(x, c, argc, argv, &n);
    if (code >= 0)
        return code;
    if (optind != argc)
        return cmd_usage(x, c, "takes no arguments");
    code = read_new(x, what, &n);
    if (code == CTL_EXIT_OK)
        code = begin(x, what, &a);
    if (code == CTL_EXIT_OK)
        code = end(x, what, &a, key_admin_change(&a, text_of(&n)));
    new_done(&n);
    if (code == CTL_EXIT_OK && !x->json)
        (void)printf("the key file is %s now\n",
                     n.none ? "not protected by a passphrase" : "sealed with the new passphrase");
    return code;
}

static int
restore(const struct cmd_ctx *x, const char *what, const char *path, struct new_passphrase *n)
{
    struct key_admin a;
    struct c2_buf kit = { 0 };
    unsigned bad_line = 0;
    enum c2_err err = c2_os_read_file(path, KIT_MAX, &kit, NULL);
    if (err != C2_E_OK)
        return cmd_fail(x, err, what, path, NULL, NULL);
    int code = begin(x, what, &a);
    if (code == CTL_EXIT_OK) {
        err = key_admin_restore(&a, c2_buf_slice(&kit), text_of(n), &bad_line);
        c2_os_free(a.os);
        char *hint = bad_line == 0 ? c2_strdup(a.error.hint)
                                   : c2_asprintf("line %u has a typing error", bad_line);
        if (err != C2_E_OK)
            code = cmd_fail(x, err, what, x->volume, a.error.text, hint[0] != '\0' ? hint : NULL);
        c2_free(hint);
    }
    c2_wipe(kit.data, kit.cap);
    c2_buf_done(&kit);
    return code;
}

static int
run_restore(struct cmd_ctx *x, int argc, char **argv)
{
    const char *what = "key restore";
    const struct cmd *c = cmd_find(what);
    struct new_passphrase n = { 0 };
    int code = parse_new(x, c, argc, argv, &n);
    if (code >= 0)
        return code;
    if (argc - optind != 1)
        return cmd_usage(x, c, "give the file with the recovery kit");
    code = read_new(x, what, &n);
    if (code == CTL_EXIT_OK)
        code = restore(x, what, argv[optind], &n);
    new_done(&n);
    if (code == CTL_EXIT_OK && !x->json)
        (void)printf("the key file is back; c2fsctl key verify compares it with the volume\n");
    return code;
}

const struct cmd cmds_key[] = {
    { "key status", "", "the key file and whether a passphrase protects it",
      "Reads only the header of the key file; no passphrase is needed.\n", "", CMD_NEEDS_VOLUME,
      run_status },
    { "key verify", "", "prove that the key file opens and fits the volume",
      "Opens the key file with its passphrase and compares it with the volume. Nothing secret is\n"
      "shown. Do this now and then, and after every copy of the key file.\n",
      "", CMD_NEEDS_VOLUME, run_verify },
    { "key recovery-kit", "[FILE]", "the key as text for paper",
      "Numbered lines with a checksum each, to be printed and locked away. Whoever has it needs "
      "no\n"
      "passphrase. Without FILE it goes to standard output.\n",
      "", CMD_NEEDS_VOLUME, run_kit },
    { "key restore", "FILE [--new-passphrase-file FILE | --no-passphrase]",
      "make the key file again from a recovery kit",
      "FILE has the lines of the kit as they were typed in; a line with an error is named. A key\n"
      "file that exists is not replaced.\n",
      "--new-passphrase-file --no-passphrase", CMD_NEEDS_VOLUME, run_restore },
    { "key change-passphrase", "[--new-passphrase-file FILE | --no-passphrase]",
      "seal the key file with another passphrase",
      "Asks for the old and the new one. The volume's key stays the same: copies of the old key\n"
      "file still open with the old passphrase.\n",
      "--new-passphrase-file --no-passphrase", CMD_NEEDS_VOLUME, run_change },
    { NULL, NULL, NULL, NULL, NULL, CMD_NEEDS_NOTHING, NULL },
};
