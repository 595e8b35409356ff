/* SPDX-License-Identifier: MIT */
/*
 * JSON writer. comma[depth] says whether the current object or array has an element already.
 */
#include "base/json.h"

#include <inttypes.h>

void
c2_json_init(struct c2_json *j, struct c2_buf *out)
{
    *j = (struct c2_json){ .out = out };
}

size_t
c2_utf8_len(const uint8_t *p, size_t left)
{
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (len == 0 || p[0] > 0xf4 || len > left)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    /* Over-long forms, surrogates and what lies above U+10FFFF. */
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}

static void
put_ascii(struct c2_buf *out, uint8_t c)
{
    if (c == '"' || c == '\\')
        c2_buf_printf(out, "\\%c", c);
    else if (c == '\n')
        c2_buf_puts(out, "\\n");
    else if (c == '\t')
        c2_buf_puts(out, "\\t");
    else if (c == '\r')
        c2_buf_puts(out, "\\r");
    else if (c < 0x20 || c == 0x7f)
        c2_buf_printf(out, "\\u%04x", c);
    else
        c2_buf_append(out, &c, 1);
}

static void
put_string(struct c2_buf *out, const char *s)
{
    struct c2_slice in = c2_slice_str(s);
    c2_buf_puts(out, "\"");
    for (size_t i = 0; i < in.len;) {
        size_t len = c2_utf8_len(in.data + i, in.len - i);
        if (len == 0)
            c2_buf_puts(out, "\xef\xbf\xbd");
        else if (len == 1)
            put_ascii(out, in.data[i]);
        else
            c2_buf_append(out, in.data + i, len);
        i += C2_MAX(len, (size_t)1);
    }
    c2_buf_puts(out, "\"");
}

/* The comma and the key in front of a value. */
static void
begin(struct c2_json *j, const char *key)
{
    if (j->comma[j->depth])
        c2_buf_puts(j->out, ",");
    j->comma[j->depth] = true;
    if (key != NULL) {
        put_string(j->out, key);
        c2_buf_puts(j->out, ":");
    }
}

static void
open_nested(struct c2_json *j, const char *key, const char *bracket)
{
    begin(j, key);
    C2_ASSERT(j->depth + 1 < C2_JSON_DEPTH_MAX);
    j->depth++;
    j->comma[j->depth] = false;
    c2_buf_puts(j->out, bracket);
}

static void
close_nested(struct c2_json *j, const char *bracket)
{
    C2_ASSERT(j->depth > 0);
    j->depth--;
    c2_buf_puts(j->out, bracket);
}

void
c2_json_object(struct c2_json *j, const char *key)
{
    open_nested(j, key, "{");
}

void
c2_json_object_end(struct c2_json *j)
{
    close_nested(j, "}");
}

void
c2_json_array(struct c2_json *j, const char *key)
{
    open_nested(j, key, "[");
}

void
c2_json_array_end(struct c2_json *j)
{
    close_nested(j, "]");
}

void
c2_json_str(struct c2_json *j, const char *key, const char *value)
{
    begin(j, key);
    if (value == NULL)
        c2_buf_puts(j->out, "null");
    else
        put_string(j->out, value);
}

void
c2_json_u64(struct c2_json *j, const char *key, uint64_t value)
{
    begin(j, key);
    c2_buf_printf(j->out, "%" PRIu64, value);
}

void
c2_json_i64(struct c2_json *j, const char *key, int64_t value)
{
    begin(j, key);
    c2_buf_printf(j->out, "%" PRId64, value);
}

void
c2_json_bool(struct c2_json *j, const char *key, bool value)
{
    begin(j, key);
    c2_buf_puts(j->out, value ? "true" : "false");
}
