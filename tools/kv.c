/* SPDX-License-Identifier: MIT */
#include "tools/kv.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

#define KEY_RULES   "a key has 1 to 500 bytes and does not begin with 0xff"
#define VALUE_RULES "values have up to 64 KiB, a transaction up to 1 MiB and 4096 changes"

static bool
has_option(const struct cmd *cmd, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = cmd->options; len > 0 && (at = strstr(at, word)) != NULL; at += len) {
        bool begins = at == cmd->options || at[-1] == ' ';
        if (begins && (at[len] == ' ' || at[len] == '\0'))
            return true;
    }
    return false;
}

/* One option at argv[0]; how many words it took, 0 = it is wrong. */
static int
take_option(const struct cmd *cmd, int argc, char **argv, struct kv_args *a)
{
    bool long_service = strcmp(argv[0], "--service") == 0;
    if (!long_service && !has_option(cmd, argv[0]))
        return 0;
    if (long_service || strcmp(argv[0], "-s") == 0) {
        a->service = argv[1];
        return argc > 1 ? 2 : 0;
    }
    if (strcmp(argv[0], "--count") == 0)
        return argc > 1 && c2_u64_parse(c2_slice_str(argv[1]), UINT32_MAX, &a->count) == C2_E_OK &&
                       a->count > 0
                   ? 2
                   : 0;
    a->prefix = a->prefix || strcmp(argv[0], "--prefix") == 0;
    a->raw = a->raw || strcmp(argv[0], "--raw") == 0;
    a->number = a->number || strcmp(argv[0], "--number") == 0;
    return 1;
}

static int
parse_options(const struct cmd_ctx *x, const struct cmd *cmd, int argc, char **argv,
              struct kv_args *ret_args)
{
    struct kv_args a = { 0 };
    bool ended = false;
    int at = 1;
    while (at < argc && !ended && argv[at][0] == '-' && argv[at][1] != '\0') {
        ended = strcmp(argv[at], "--") == 0;
        int took = ended ? 1 : take_option(cmd, argc - at, argv + at, &a);
        if (took == 0) {
            C2_AUTO(c2_free_auto)
            char *problem = c2_asprintf("cannot use %s here; a key that begins with a dash comes "
                                        "after --",
                                        argv[at]);
            return cmd_usage(x, cmd, problem);
        }
        at += took;
    }
    for (int i = at; i < argc && !ended; i++) {
        if (!has_option(cmd, argv[i]))
            continue;
        C2_AUTO(c2_free_auto)
        char *problem =
            c2_asprintf("%s comes before the keys; as a key, it comes after --", argv[i]);
        return cmd_usage(x, cmd, problem);
    }
    a.argc = argc - at;
    a.argv = argv + at;
    *ret_args = a;
    return CTL_EXIT_OK;
}

int
kv_check_key(const struct cmd_ctx *x, const char *what, const char *key)
{
    size_t len = strlen(key);
    if (len >= 1 && len <= COORD_KEY_MAX && (unsigned char)key[0] != 0xff)
        return CTL_EXIT_OK;
    return cmd_fail(x, C2_E_INVALID, what, len > COORD_KEY_MAX ? NULL : key, "this cannot be a key",
                    KEY_RULES);
}

int
kv_parse(const struct cmd_ctx *x, const struct kv_form *f, int argc, char **argv,
         struct kv_args *ret_args)
{
    struct kv_args a = { 0 };
    const struct cmd *cmd = cmd_find(f->name);
    int code = parse_options(x, cmd, argc, argv, &a);
    if (code == CTL_EXIT_OK && (a.argc < f->min || a.argc > f->max))
        code = cmd_usage(x, cmd, f->problem);
    for (int i = 0; code == CTL_EXIT_OK && i < C2_MIN(a.argc, f->keys); i++)
        code = kv_check_key(x, f->name, a.argv[i]);
    if (code == CTL_EXIT_OK)
        *ret_args = a;
    return code;
}

int
kv_fail(const struct service *s, enum c2_err err, const char *object)
{
    if (err == C2_E_TOO_LARGE)
        return cmd_fail(s->x, err, s->what, object, NULL, VALUE_RULES);
    if (err == C2_E_RANGE)
        return cmd_fail(s->x, err, s->what, object, "the counter would not fit",
                        "counters have 64 bits, and a sign");
    if (err == C2_E_INVALID)
        return cmd_fail(s->x, err, s->what, object, NULL,
                        KEY_RULES "; --add takes a key that is absent or a counter");
    return service_fail(s, err, object);
}

void
kv_print_bytes(struct c2_slice b)
{
    bool text = true;
    for (size_t i = 0; i < b.len; i++)
        text = text &&
               ((b.data[i] >= ' ' && b.data[i] != 127) || b.data[i] == '\n' || b.data[i] == '\t');
    if (b.len == 0)
        return;
    if (text) {
        (void)fwrite(b.data, 1, b.len, stdout);
        return;
    }
    (void)printf("0x");
    for (size_t i = 0; i < b.len; i++)
        (void)printf("%02x", b.data[i]);
}

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
