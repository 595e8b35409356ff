/* SPDX-License-Identifier: MIT */
#include "tools/kv.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

#define KEY_RULES "a key has 1 to 500 bytes and does not begin with 0xff"
#define SIZE_RULES                                                                                 \
    "values have up to 64 KiB, keys up to 500 bytes with the /NAME/ of the client's part, a "      \
    "transaction up to 1 MiB; a prefix deletes up to 4096 keys"

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

/* One option at argv[0]; how many words it took, 0 = it is wrong, and *ret_problem (c2_free) why.
 */
static int
take_option(const struct cmd *cmd, int argc, char **argv, struct kv_args *a, char **ret_problem)
{
    bool service = strcmp(argv[0], "--service") == 0 || strcmp(argv[0], "-s") == 0;
    bool count = strcmp(argv[0], "--count") == 0;
    if (!has_option(cmd, service ? "-s" : argv[0])) {
        *ret_problem = c2_asprintf("cannot use %s here; a key that begins with a dash comes after "
                                   "--",
                                   argv[0]);
        return 0;
    }
    if (service && argc > 1) {
        a->service = argv[1];
        return 2;
    }
    if (count && argc > 1 &&
        c2_u64_parse(c2_slice_str(argv[1]), UINT32_MAX, &a->count) == C2_E_OK && a->count > 0)
        return 2;
    if (service || count) {
        *ret_problem = c2_asprintf("%s takes %s", argv[0],
                                   service ? "the name of a service" : "a number, 1 or more");
        return 0;
    }
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
        C2_AUTO(c2_free_auto) char *problem = NULL;
        int took = ended ? 1 : take_option(cmd, argc - at, argv + at, &a, &problem);
        if (took == 0)
            return cmd_usage_words(x, cmd, problem, argc - at, argv + at);
        at += took;
    }
    for (int i = at; i < argc && !ended && strcmp(argv[i], "--") != 0; i++) {
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

/* A prefix may be empty. */
static int
check_prefix(const struct cmd_ctx *x, const char *what, const char *prefix)
{
    return strlen(prefix) <= COORD_KEY_MAX
               ? CTL_EXIT_OK
               : cmd_fail(x, C2_E_INVALID, what, NULL, "no key begins with this", KEY_RULES);
}

int
kv_parse(const struct cmd_ctx *x, const struct kv_form *f, int argc, char **argv,
         struct kv_args *ret_args)
{
    struct kv_args a = { 0 };
    const struct cmd *cmd = cmd_find(f->name);
    int code = parse_options(x, cmd, argc, argv, &a);
    if (code == CTL_EXIT_OK && (a.argc < f->min || a.argc > f->max))
        code = cmd_usage_words(x, cmd, f->problem, a.argc, a.argv);
    for (int i = 0; code == CTL_EXIT_OK && i < C2_MIN(a.argc, f->keys); i++)
        code = kv_check_key(x, f->name, a.argv[i]);
    for (int i = 0; code == CTL_EXIT_OK && i < C2_MIN(a.argc, f->prefixes); i++)
        code = check_prefix(x, f->name, a.argv[i]);
    if (code == CTL_EXIT_OK)
        *ret_args = a;
    return code;
}

static int
fail(const struct service *s, enum c2_err err, const char *object, bool changes)
{
    if (err == C2_E_TOO_LARGE)
        return cmd_fail(s->x, err, s->what, object, NULL, SIZE_RULES);
    if (err == C2_E_QUOTA)
        return cmd_fail(s->x, err, s->what, object,
                        "the service has as many sessions, of this client's key or of all, as it "
                        "may have",
                        "each lock that is held or waited for has one, a key up to 1024: c2fsctl "
                        "meta client makes another key");
    if (err == C2_E_RANGE)
        return cmd_fail(s->x, err, s->what, object, "the counter would not fit",
                        "counters have 64 bits, and a sign");
    if (err == C2_E_INVALID)
        return cmd_fail(s->x, err, s->what, object, NULL,
                        KEY_RULES "; --add takes a key that is absent or a counter");
    return changes ? service_fail_change(s, err, object) : service_fail(s, err, object);
}

int
kv_fail(const struct service *s, enum c2_err err, const char *object)
{
    return fail(s, err, object, false);
}

int
kv_fail_change(const struct service *s, enum c2_err err, const char *object)
{
    return fail(s, err, object, true);
}

/* UTF-8 without the characters that do something to a terminal, but for those that are allowed. */
static bool
is_text(struct c2_slice b, const char *allowed)
{
    size_t len = 0;
    for (size_t i = 0; i < b.len; i += len) {
        uint8_t c = b.data[i];
        len = c2_utf8_len(b.data + i, b.len - i);
        bool c0 = c < ' ' && (c == '\0' || strchr(allowed, c) == NULL);
        bool c1 = c == 0xc2 && len == 2 && b.data[i + 1] < 0xa0;
        if (len == 0 || c0 || c1 || c == 127)
            return false;
    }
    return true;
}

static void
print_bytes(struct c2_slice b, bool text)
{
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
kv_print_bytes(struct c2_slice b)
{
    print_bytes(b, is_text(b, "\n\t"));
}

void
kv_print_field(struct c2_slice b)
{
    print_bytes(b, is_text(b, ""));
}

void
kv_json_bytes(struct c2_json *j, const char *key, const char *hex_key, struct c2_slice b)
{
    size_t at = 0, len = 1;
    if (b.len == 0) {
        c2_json_str(j, key, "");
        return;
    }
    while (at < b.len && len > 0 && b.data[at] != '\0') {
        len = c2_utf8_len(b.data + at, b.len - at);
        at += len;
    }
    if (at == b.len) {
        C2_AUTO(c2_free_auto) char *copy = c2_strndup((const char *)b.data, b.len);
        c2_json_str(j, key, copy);
        return;
    }
    C2_AUTO(c2_free_auto) char *hex = c2_alloc(2 * b.len + 1);
    c2_hex_encode(b.data, b.len, hex);
    c2_json_str(j, hex_key, hex);
}
