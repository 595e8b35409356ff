/* SPDX-License-Identifier: MIT */
/*
 * The configuration: sections and entries in the order they were seen. A later value of a key
 * replaces the earlier one. The section name "*" stands for all sections of a type (environment
 * variables); between it and a named section the later value counts.
 */
#include "base/conf.h"

#include <ctype.h>
#include <string.h>

#include "base/alloc.h"
#include "base/conf_ini.h"
#include "base/conf_value.h"
#include "base/os_env.h"
#include "base/os_file.h"
#include "base/str.h"

#define ALL_NAMES     "*"
#define SYSTEM_FOLDER "/etc/c2fs"
#define NEAREST_MAX   128

const struct c2_conf_key c2_conf_keys[] = {
#define X(section, name, type, def, limits, help)                                                  \
    { #section, #name, C2_CONF_##type, def, limits, help },
#include "base/conf_keys.def"
#undef X
};

const size_t c2_conf_keys_count = C2_ARRAY_LEN(c2_conf_keys);

static const struct section_type {
    const char *name;
    bool named;
} section_types[] = {
    { "c2fs", false },    { "volume", true },   { "provider", true },
    { "metadata", true }, { "replica", false },
};

struct section {
    const struct section_type *type;
    char *name; /* owned; "" of a type without names */
};

struct entry {
    const struct c2_conf_key *key;
    char *section_name; /* owned; ALL_NAMES for all */
    char *text;         /* owned */
    char *origin;       /* owned; "FILE:12", "C2FS_CLOSE", "-o" */
    uint64_t number;
    uint64_t order; /* of setting */
};

struct c2_conf {
    struct section *sections; /* owned, capacity a power of two */
    size_t nsections;
    struct entry *entries; /* owned, likewise */
    size_t nentries;
    uint64_t order;
    unsigned nfiles;
    char *error; /* owned, or NULL */
};

/* What one load knows while it reads. */
struct source {
    struct c2_conf *conf;
    const char *origin;   /* file name, or what the caller calls it */
    const char *base_dir; /* relative paths belong here */
    unsigned line;
    unsigned depth;
    struct section *section; /* the current one, NULL before the first */
};

struct c2_conf *
c2_conf_new(void)
{
    return c2_calloc(1, sizeof(struct c2_conf));
}

void
c2_conf_free(struct c2_conf *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->nsections; i++)
        c2_free(c->sections[i].name);
    for (size_t i = 0; i < c->nentries; i++) {
        c2_free(c->entries[i].section_name);
        c2_free(c->entries[i].text);
        c2_free(c->entries[i].origin);
    }
    c2_free(c->sections);
    c2_free(c->entries);
    c2_free(c->error);
    c2_free(c);
}

const char *
c2_conf_error(const struct c2_conf *c)
{
    return c->error == NULL ? "" : c->error;
}

/* Takes the sentence and puts the place in front. */
static enum c2_err
fail(const struct source *s, char *sentence)
{
    c2_free(s->conf->error);
    s->conf->error = s->line == 0 ? c2_asprintf("%s: %s", s->origin, sentence)
                                  : c2_asprintf("%s:%u: %s", s->origin, s->line, sentence);
    c2_free(sentence);
    return C2_E_CONFIG;
}

/* Room for one more in an array whose capacity is the next power of two of its count. */
static void *
grow(void *array, size_t count, size_t size)
{
    bool full = (count & (count - 1)) == 0;
    return full ? c2_realloc(array, C2_MAX(count * 2, (size_t)1), size) : array;
}

static bool
same(const struct entry *e, const struct c2_conf_key *key, const char *section_name)
{
    return e->key == key && strcmp(e->section_name, section_name) == 0;
}

static enum c2_err
put_entry(const struct source *s, const struct c2_conf_key *key, const char *section_name,
          const char *text)
{
    struct c2_conf *c = s->conf;
    char *kept, *problem;
    uint64_t number;
    if (c2_conf_value_parse(key, text, s->base_dir, &kept, &number, &problem) != C2_E_OK)
        return fail(s, problem);
    struct entry *e = NULL;
    for (size_t i = 0; i < c->nentries && e == NULL; i++)
        e = same(&c->entries[i], key, section_name) ? &c->entries[i] : NULL;
    if (e == NULL && c->nentries == C2_CONF_ENTRIES_MAX) {
        c2_free(kept);
        return fail(s, c2_asprintf("more than %u keys", C2_CONF_ENTRIES_MAX));
    }
    if (e == NULL) {
        c->entries = grow(c->entries, c->nentries, sizeof(*c->entries));
        e = &c->entries[c->nentries++];
        *e = (struct entry){ .key = key, .section_name = c2_strdup(section_name) };
    }
    c2_free(e->text);
    c2_free(e->origin);
    e->text = kept;
    e->origin = s->line == 0 ? c2_strdup(s->origin) : c2_asprintf("%s:%u", s->origin, s->line);
    e->number = number;
    e->order = ++c->order;
    return C2_E_OK;
}

static const struct section_type *
find_type(const char *name)
{
    for (size_t i = 0; i < C2_ARRAY_LEN(section_types); i++) {
        if (strcmp(section_types[i].name, name) == 0)
            return &section_types[i];
    }
    return NULL;
}

static const struct c2_conf_key *
find_key(const char *section, const char *name)
{
    for (size_t i = 0; i < c2_conf_keys_count; i++) {
        if (strcmp(c2_conf_keys[i].section, section) == 0 &&
            strcmp(c2_conf_keys[i].name, name) == 0)
            return &c2_conf_keys[i];
    }
    return NULL;
}

static enum c2_err
unknown_key(const struct source *s, const char *section, const char *name)
{
    const char *candidates[NEAREST_MAX];
    size_t n = 0;
    for (size_t i = 0; i < c2_conf_keys_count && n < NEAREST_MAX; i++) {
        if (strcmp(c2_conf_keys[i].section, section) == 0)
            candidates[n++] = c2_conf_keys[i].name;
    }
    const char *nearest = c2_nearest(name, candidates, n);
    if (nearest != NULL)
        return fail(s, c2_asprintf("unknown key \"%s\" in [%s], did you mean \"%s\"?", name,
                                   section, nearest));
    /* Perhaps it stands in the wrong section. */
    for (size_t i = 0; i < c2_conf_keys_count; i++) {
        if (strcmp(c2_conf_keys[i].name, name) == 0)
            return fail(s, c2_asprintf("unknown key \"%s\" in [%s], it belongs to [%s]", name,
                                       section, c2_conf_keys[i].section));
    }
    return fail(s, c2_asprintf("unknown key \"%s\" in [%s]", name, section));
}

/* Names become parts of paths, environment variables and metrics. */
static bool
good_name(const char *name)
{
    size_t len = strlen(name);
    size_t plain = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "._-");
    return len > 0 && len <= C2_CONF_NAME_MAX && plain == len && isalnum((unsigned char)name[0]);
}

static struct section *
find_section(const struct c2_conf *c, const char *type, const char *name)
{
    for (size_t i = 0; i < c->nsections; i++) {
        if (strcmp(c->sections[i].type->name, type) == 0 && strcmp(c->sections[i].name, name) == 0)
            return &c->sections[i];
    }
    return NULL;
}

/* Finds or adds it. */
static enum c2_err
open_section(const struct source *s, const char *type_name, const char *name,
             struct section **ret_section)
{
    struct c2_conf *c = s->conf;
    const struct section_type *type = find_type(type_name);
    if (type == NULL) {
        const char *names[C2_ARRAY_LEN(section_types)];
        for (size_t i = 0; i < C2_ARRAY_LEN(names); i++)
            names[i] = section_types[i].name;
        const char *nearest = c2_nearest(type_name, names, C2_ARRAY_LEN(names));
        return fail(
            s, nearest != NULL
                   ? c2_asprintf("unknown section [%s], did you mean [%s]?", type_name, nearest)
                   : c2_asprintf("unknown section [%s], want c2fs, volume, provider, "
                                 "metadata or replica",
                                 type_name));
    }
    if (type->named && *name == '\0')
        return fail(s,
                    c2_asprintf("section [%s] needs a name: [%s \"NAME\"]", type_name, type_name));
    if (type->named && !good_name(name))
        return fail(s, c2_asprintf("bad name \"%s\": want up to %u letters, digits, \".\", \"_\" "
                                   "and \"-\", a letter or digit first",
                                   name, C2_CONF_NAME_MAX));
    if (!type->named && *name != '\0')
        return fail(s, c2_asprintf("section [%s] has no name", type_name));
    *ret_section = find_section(c, type_name, name);
    if (*ret_section != NULL)
        return C2_E_OK;
    if (c->nsections == C2_CONF_ENTRIES_MAX)
        return fail(s, c2_asprintf("more than %u sections", C2_CONF_ENTRIES_MAX));
    c->sections = grow(c->sections, c->nsections, sizeof(*c->sections));
    *ret_section = &c->sections[c->nsections++];
    **ret_section = (struct section){ .type = type, .name = c2_strdup(name) };
    return C2_E_OK;
}

/* The folder of a file as an absolute path; the caller frees. */
static char *
folder_of(const char *path, const char *base_dir)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - path);
    if (*path == '/')
        return len == 0 ? c2_strdup("/") : c2_strndup(path, len);
    return len == 0 ? c2_strdup(base_dir) : c2_asprintf("%s/%.*s", base_dir, (int)len, path);
}

static enum c2_err load_file(struct c2_conf *c, const char *path, const struct source *parent);

/* Paths are compared as text: a loop through different names ends at the depth limit. */
static enum c2_err
include(const struct source *s, const char *path)
{
    if (*path == '\0')
        return fail(s, c2_strdup("include without a file"));
    if (s->depth + 1 > C2_CONF_INCLUDE_DEPTH_MAX)
        return fail(s, c2_asprintf("files are included more than %u deep; does one include "
                                   "itself?",
                                   C2_CONF_INCLUDE_DEPTH_MAX));
    C2_AUTO(c2_free_auto)
    char *full = *path == '/' ? c2_strdup(path) : c2_asprintf("%s/%s", s->base_dir, path);
    return load_file(s->conf, full, s);
}

static enum c2_err
key_line(struct source *s, const char *key_name, const char *value)
{
    if (strcmp(key_name, "include") == 0) {
        size_t current = s->section == NULL ? SIZE_MAX : (size_t)(s->section - s->conf->sections);
        enum c2_err err = include(s, value);
        if (current != SIZE_MAX) /* the array may have moved */
            s->section = &s->conf->sections[current];
        return err;
    }
    if (s->section == NULL)
        return fail(s, c2_asprintf("key \"%s\" stands before the first section", key_name));
    const struct c2_conf_key *key = find_key(s->section->type->name, key_name);
    if (key == NULL)
        return unknown_key(s, s->section->type->name, key_name);
    return put_entry(s, key, s->section->name, value);
}

static enum c2_err
load_lines(struct source *s, struct c2_slice text)
{
    struct c2_ini ini;
    enum c2_err err = C2_E_OK;
    c2_ini_init(&ini, text);
    while (err == C2_E_OK && c2_ini_next(&ini) != C2_INI_END) {
        s->line = ini.line;
        if (ini.kind == C2_INI_BAD)
            err = fail(s, c2_strdup(ini.problem));
        else if (ini.kind == C2_INI_SECTION)
            err = open_section(s, c2_ini_first(&ini), c2_ini_second(&ini), &s->section);
        else
            err = key_line(s, c2_ini_first(&ini), c2_ini_second(&ini));
    }
    c2_ini_done(&ini);
    return err;
}

static enum c2_err
load_file(struct c2_conf *c, const char *path, const struct source *parent)
{
    C2_AUTO(c2_free_auto) char *current = c2_os_current_dir();
    C2_AUTO(c2_free_auto) char *folder = folder_of(path, current);
    struct source s = { .conf = c,
                        .origin = path,
                        .base_dir = folder,
                        .depth = parent == NULL ? 0 : parent->depth + 1 };
    /* A file that cannot be read is the fault of the line that asked for it. */
    const struct source *blame = parent == NULL ? &s : parent;
    if (++c->nfiles > C2_CONF_FILES_MAX)
        return fail(blame, c2_asprintf("more than %u files are included", C2_CONF_FILES_MAX));
    struct c2_buf text = { 0 };
    struct c2_os_file_info info;
    enum c2_err err = c2_os_read_file(path, C2_CONF_FILE_MAX, &text, &info);
    if (err != C2_E_OK) {
        fail(blame, c2_asprintf("cannot read %s: %s", path, c2_err_text(err)));
        err = err == C2_E_NOT_FOUND ? err : C2_E_CONFIG;
    } else if ((info.mode & 02) != 0) {
        err = fail(blame, c2_asprintf("everyone may change it and it can name commands; type: "
                                      "chmod o-w %s",
                                      path));
    } else {
        err = load_lines(&s, c2_buf_slice(&text));
    }
    c2_buf_done(&text);
    return err;
}

enum c2_err
c2_conf_load_file(struct c2_conf *c, const char *path)
{
    c->nfiles = 0;
    return load_file(c, path, NULL);
}

enum c2_err
c2_conf_load_text(struct c2_conf *c, struct c2_slice text, const char *origin)
{
    C2_AUTO(c2_free_auto) char *current = c2_os_current_dir();
    struct source s = { .conf = c, .origin = origin, .base_dir = current };
    c->nfiles = 0;
    return load_lines(&s, text);
}

static bool
ends_with(const char *s, const char *end)
{
    size_t len = strlen(s), end_len = strlen(end);
    return len > end_len && strcmp(s + len - end_len, end) == 0;
}

enum c2_err
c2_conf_load_system(struct c2_conf *c, const char *folder)
{
    C2_AUTO(c2_free_auto) char *main_file = c2_asprintf("%s/c2fs.conf", folder);
    C2_AUTO(c2_free_auto) char *parts = c2_asprintf("%s/conf.d", folder);
    enum c2_err err = c2_conf_load_file(c, main_file);
    if (err != C2_E_OK && err != C2_E_NOT_FOUND)
        return err;
    struct c2_buf names = { 0 };
    err = c2_os_list_dir(parts, &names);
    if (err == C2_E_NOT_FOUND)
        err = C2_E_OK;
    else if (err != C2_E_OK)
        err = fail(&(struct source){ .conf = c, .origin = parts },
                   c2_asprintf("cannot list: %s", c2_err_text(err)));
    for (size_t i = 0; i < names.len && err == C2_E_OK;) {
        const char *name = (const char *)names.data + i;
        i += strlen(name) + 1;
        if (name[0] == '.' || !ends_with(name, ".conf"))
            continue;
        C2_AUTO(c2_free_auto) char *path = c2_asprintf("%s/%s", parts, name);
        err = c2_conf_load_file(c, path);
    }
    c2_buf_done(&names);
    if (err == C2_E_OK) { /* nor is there an error when the main file is absent */
        c2_free(c->error);
        c->error = NULL;
    }
    return err;
}

static char *
environment_name(const struct c2_conf_key *key)
{
    char *name = c2_asprintf("C2FS_%s", key->name);
    for (char *p = name; *p != '\0'; p++) {
        if (*p >= 'a' && *p <= 'z')
            *p = (char)(*p - 'a' + 'A');
    }
    return name;
}

static enum c2_err
load_environment(struct c2_conf *c)
{
    C2_AUTO(c2_free_auto) char *current = c2_os_current_dir();
    for (size_t i = 0; i < c2_conf_keys_count; i++) {
        const struct c2_conf_key *key = &c2_conf_keys[i];
        if (strcmp(key->section, "volume") != 0)
            continue;
        C2_AUTO(c2_free_auto) char *variable = environment_name(key);
        const char *value = c2_os_getenv(variable);
        struct source s = { .conf = c, .origin = variable, .base_dir = current };
        if (value != NULL)
            C2_TRY(put_entry(&s, key, ALL_NAMES, value));
    }
    return C2_E_OK;
}

enum c2_err
c2_conf_load_default(struct c2_conf *c, const char *file)
{
    if (file == NULL)
        C2_TRY(c2_conf_load_system(c, SYSTEM_FOLDER));
    else
        C2_TRY(c2_conf_load_file(c, file));
    return load_environment(c);
}

enum c2_err
c2_conf_set(struct c2_conf *c, const char *section, const char *name, const char *key,
            const char *value, const char *origin)
{
    C2_AUTO(c2_free_auto) char *current = c2_os_current_dir();
    struct source s = { .conf = c, .origin = origin, .base_dir = current };
    struct section *found;
    C2_TRY(open_section(&s, section, name == NULL ? "" : name, &found));
    const struct c2_conf_key *k = find_key(section, key);
    if (k == NULL)
        return unknown_key(&s, section, key);
    return put_entry(&s, k, found->name, value);
}

const char *
c2_conf_section(const struct c2_conf *c, const char *type, size_t index)
{
    for (size_t i = 0; i < c->nsections; i++) {
        if (strcmp(c->sections[i].type->name, type) == 0 && index-- == 0)
            return c->sections[i].name;
    }
    return NULL;
}

bool
c2_conf_has_section(const struct c2_conf *c, const char *type, const char *name)
{
    return find_section(c, type, name == NULL ? "" : name) != NULL;
}

/* The entry that counts, or NULL. */
static const struct entry *
effective(const struct c2_conf *c, const struct c2_conf_key *key, const char *section_name)
{
    const struct entry *found = NULL;
    for (size_t i = 0; i < c->nentries; i++) {
        const struct entry *e = &c->entries[i];
        bool applies = same(e, key, section_name) || same(e, key, ALL_NAMES);
        if (applies && (found == NULL || e->order > found->order))
            found = e;
    }
    return found;
}

static const struct c2_conf_key *
must_find_key(const char *section, const char *key)
{
    const struct c2_conf_key *k = find_key(section, key);
    C2_ASSERT(k != NULL);
    return k;
}

bool
c2_conf_is_set(const struct c2_conf *c, const char *section, const char *name, const char *key)
{
    return effective(c, must_find_key(section, key), name == NULL ? "" : name) != NULL;
}

const char *
c2_conf_str(const struct c2_conf *c, const char *section, const char *name, const char *key)
{
    const struct c2_conf_key *k = must_find_key(section, key);
    const struct entry *e = effective(c, k, name == NULL ? "" : name);
    return e == NULL ? k->def : e->text;
}

static uint64_t
number_of(const struct c2_conf *c, const struct c2_conf_key *k, const char *name)
{
    const struct entry *e = effective(c, k, name == NULL ? "" : name);
    if (e != NULL)
        return e->number;
    char *text, *problem;
    uint64_t number;
    C2_ASSERT(k->def != NULL);
    C2_ASSERT(c2_conf_value_parse(k, k->def, "/", &text, &number, &problem) == C2_E_OK);
    c2_free(text);
    return number;
}

uint64_t
c2_conf_u64(const struct c2_conf *c, const char *section, const char *name, const char *key)
{
    const struct c2_conf_key *k = must_find_key(section, key);
    C2_ASSERT(k->type == C2_CONF_SIZE || k->type == C2_CONF_DURATION || k->type == C2_CONF_U64 ||
              k->type == C2_CONF_DECIMAL);
    return number_of(c, k, name);
}

bool
c2_conf_bool(const struct c2_conf *c, const char *section, const char *name, const char *key)
{
    const struct c2_conf_key *k = must_find_key(section, key);
    C2_ASSERT(k->type == C2_CONF_BOOL);
    return number_of(c, k, name) != 0;
}

/* So that the dump can be loaded again. */
static void
dump_value(const char *text, struct c2_buf *out)
{
    size_t len = strlen(text);
    bool plain =
        len > 0 && strpbrk(text, "\"\\;\n\t") == NULL && text[0] != ' ' && text[len - 1] != ' ';
    if (plain) {
        c2_buf_puts(out, text);
        return;
    }
    c2_buf_puts(out, "\"");
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '\n')
            c2_buf_puts(out, "\\n");
        else if (*p == '\t')
            c2_buf_puts(out, "\\t");
        else
            c2_buf_printf(out, *p == '"' || *p == '\\' ? "\\%c" : "%c", *p);
    }
    c2_buf_puts(out, "\"");
}

static void
dump_section(const struct c2_conf *c, const char *type, const char *name, struct c2_buf *out)
{
    c2_buf_printf(out, *name == '\0' ? "[%s]\n" : "[%s \"%s\"]\n", type, name);
    for (size_t i = 0; i < c2_conf_keys_count; i++) {
        const struct c2_conf_key *key = &c2_conf_keys[i];
        if (strcmp(key->section, type) != 0)
            continue;
        const struct entry *e = effective(c, key, name);
        const char *text = e == NULL ? key->def : e->text;
        if (text == NULL)
            continue;
        c2_buf_printf(out, "%s = ", key->name);
        dump_value(text, out);
        c2_buf_printf(out, " ; %s\n", e == NULL ? "default" : e->origin);
    }
}

void
c2_conf_dump(const struct c2_conf *c, struct c2_buf *out)
{
    dump_section(c, "c2fs", "", out);
    for (size_t i = 0; i < c->nsections; i++) {
        if (!c->sections[i].type->named)
            continue;
        c2_buf_puts(out, "\n");
        dump_section(c, c->sections[i].type->name, c->sections[i].name, out);
    }
}
