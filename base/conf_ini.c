/* SPDX-License-Identifier: MIT */
/*
 * The INI grammar, one line at a time.
 */
#include "base/conf_ini.h"

#include <string.h>

#include "base/alloc.h"

void
c2_ini_init(struct c2_ini *ini, struct c2_slice text)
{
    static const uint8_t mark[] = { 0xef, 0xbb, 0xbf }; /* of some editors */
    *ini = (struct c2_ini){ .text = text };
    if (c2_slice_starts_with(text, c2_slice(mark, sizeof(mark))))
        ini->pos = sizeof(mark);
    /* Never reallocated: no copies of secrets stay behind. */
    c2_buf_reserve(&ini->first, text.len + 1);
    c2_buf_reserve(&ini->second, text.len + 1);
}

void
c2_ini_done(struct c2_ini *ini)
{
    c2_wipe(ini->first.data, ini->first.cap);
    c2_wipe(ini->second.data, ini->second.cap);
    c2_buf_done(&ini->first);
    c2_buf_done(&ini->second);
}

const char *
c2_ini_first(const struct c2_ini *ini)
{
    return (const char *)ini->first.data;
}

const char *
c2_ini_second(const struct c2_ini *ini)
{
    return (const char *)ini->second.data;
}

static bool
is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static struct c2_slice
trim(struct c2_slice s)
{
    while (s.len > 0 && is_blank(s.data[0]))
        s = c2_slice(s.data + 1, s.len - 1);
    while (s.len > 0 && is_blank(s.data[s.len - 1]))
        s.len--;
    return s;
}

static void
set(struct c2_buf *b, struct c2_slice s)
{
    c2_buf_clear(b);
    c2_buf_append(b, s.data, s.len);
    c2_buf_cstr(b);
}

static enum c2_ini_kind
bad(struct c2_ini *ini, const char *problem)
{
    ini->problem = problem;
    return ini->kind = C2_INI_BAD;
}

/* Where the comment after a value begins, or the length; SIZE_MAX when a quote stays open. */
static size_t
value_end(struct c2_slice s)
{
    bool quoted = false;
    for (size_t i = 0; i < s.len; i++) {
        if (quoted && s.data[i] == '\\' && i + 1 < s.len)
            i++;
        else if (s.data[i] == '"')
            quoted = !quoted;
        else if (!quoted && s.data[i] == ';' && (i == 0 || is_blank(s.data[i - 1])))
            return i;
    }
    return quoted ? SIZE_MAX : s.len;
}

/* The index of the quote that ends the string that begins at 0; the quotes are balanced. */
static size_t
closing_quote(struct c2_slice s)
{
    size_t i = 1;
    while (i < s.len && s.data[i] != '"')
        i += s.data[i] == '\\' ? 2 : 1;
    return i;
}

/* NULL, or what is wrong. */
static const char *
unquote(struct c2_slice s, struct c2_buf *out)
{
    c2_buf_clear(out);
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        if (c == '\\') {
            c = s.data[++i];
            if (c == 'n')
                c = '\n';
            else if (c == 't')
                c = '\t';
            else if (c != '"' && c != '\\')
                return "unknown escape inside quotes, want \\\" \\\\ \\n or \\t";
        }
        c2_buf_append(out, &c, 1);
    }
    c2_buf_cstr(out);
    return NULL;
}

static enum c2_ini_kind
parse_key(struct c2_ini *ini, struct c2_slice line)
{
    const uint8_t *equals = memchr(line.data, '=', line.len);
    if (equals == NULL)
        return bad(ini, "expected \"key = value\" or \"[section]\"");
    size_t at = (size_t)(equals - line.data);
    struct c2_slice key = trim(c2_slice(line.data, at));
    struct c2_slice value = c2_slice(equals + 1, line.len - at - 1);
    if (key.len == 0)
        return bad(ini, "no key in front of \"=\"");
    size_t end = value_end(value);
    if (end == SIZE_MAX)
        return bad(ini, "quote is not closed");
    value = trim(c2_slice(value.data, end));
    set(&ini->first, key);
    set(&ini->second, value);
    if (value.len >= 2 && value.data[0] == '"' && closing_quote(value) == value.len - 1) {
        const char *problem = unquote(c2_slice(value.data + 1, value.len - 2), &ini->second);
        if (problem != NULL)
            return bad(ini, problem);
    }
    return ini->kind = C2_INI_KEY;
}

static enum c2_ini_kind
parse_section(struct c2_ini *ini, struct c2_slice line)
{
    const uint8_t *close = memchr(line.data, ']', line.len);
    if (close == NULL)
        return bad(ini, "\"]\" is missing");
    size_t at = (size_t)(close - line.data);
    struct c2_slice rest = trim(c2_slice(close + 1, line.len - at - 1));
    if (rest.len > 0 && rest.data[0] != ';' && rest.data[0] != '#')
        return bad(ini, "text after \"]\"");
    struct c2_slice inside = trim(c2_slice(line.data + 1, at - 1));
    size_t type_len = 0;
    while (type_len < inside.len && !is_blank(inside.data[type_len]) &&
           inside.data[type_len] != '"')
        type_len++;
    struct c2_slice name = trim(c2_slice(inside.data + type_len, inside.len - type_len));
    if (type_len == 0)
        return bad(ini, "section without a type");
    if (name.len > 0) {
        bool quoted = name.len >= 2 && name.data[0] == '"' && name.data[name.len - 1] == '"';
        if (!quoted)
            return bad(ini, "name of a section must be quoted: [type \"name\"]");
        name = c2_slice(name.data + 1, name.len - 2);
        if (name.len == 0 || memchr(name.data, '"', name.len) != NULL)
            return bad(ini, "bad name of a section");
    }
    set(&ini->first, c2_slice(inside.data, type_len));
    set(&ini->second, name);
    return ini->kind = C2_INI_SECTION;
}

static bool
has_control_bytes(struct c2_slice line)
{
    for (size_t i = 0; i < line.len; i++) {
        if ((line.data[i] < 0x20 && line.data[i] != '\t') || line.data[i] == 0x7f)
            return true;
    }
    return false;
}

enum c2_ini_kind
c2_ini_next(struct c2_ini *ini)
{
    while (ini->pos < ini->text.len) {
        const uint8_t *start = ini->text.data + ini->pos;
        size_t left = ini->text.len - ini->pos;
        const uint8_t *newline = memchr(start, '\n', left);
        size_t len = newline == NULL ? left : (size_t)(newline - start);
        ini->pos += C2_MIN(len + 1, left);
        ini->line++;
        if (len > 0 && start[len - 1] == '\r')
            len--;
        struct c2_slice line = trim(c2_slice(start, len));
        if (has_control_bytes(line))
            return bad(ini, "control character");
        if (line.len == 0 || line.data[0] == ';' || line.data[0] == '#')
            continue;
        return line.data[0] == '[' ? parse_section(ini, line) : parse_key(ini, line);
    }
    return ini->kind = C2_INI_END;
}
