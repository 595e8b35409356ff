/* SPDX-License-Identifier: MIT */
/*
 * The tokenizer: one pass, one position, a fixed stack of names.
 *
 *   byte order mark, blanks (some servers send them first, to keep a connection alive)
 *   <?xml ...?>, blanks
 *   <name attributes> | <name attributes/> | </name> | text | <![CDATA[text]]> | <!-- comment -->
 *
 * Every END must match the name on the stack; text outside the root must be blank. The text of an
 * element is collected from its last START on, so that an element with children has none.
 */
#include "backends/s3_xml.h"

#include <string.h>

#define BYTE_ORDER_MARK "\xef\xbb\xbf"
#define CDATA           "<![CDATA["

void
s3_xml_init(struct s3_xml *x, struct c2_slice in)
{
    *x = (struct s3_xml){ .in = in };
}

static bool
at_end(const struct s3_xml *x)
{
    return x->pos == x->in.len;
}

static int
peek(const struct s3_xml *x)
{
    return at_end(x) ? -1 : x->in.data[x->pos];
}

static bool
is_blank(int c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void
skip_blanks(struct s3_xml *x)
{
    while (is_blank(peek(x)))
        x->pos++;
}

static bool
looking_at(const struct s3_xml *x, const char *word)
{
    size_t len = strlen(word);
    return x->in.len - x->pos >= len && memcmp(x->in.data + x->pos, word, len) == 0;
}

/* Moves behind the next `word`. */
static C2_RESULT
skip_past(struct s3_xml *x, const char *word)
{
    size_t len = strlen(word);
    const uint8_t *found = memmem(x->in.data + x->pos, x->in.len - x->pos, word, len);
    if (found == NULL)
        return C2_E_PARSE;
    x->pos = (size_t)(found - x->in.data) + len;
    return C2_E_OK;
}

static bool
is_name_byte(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.' || c == ':';
}

/* out may be NULL: attribute names are not kept. */
static C2_RESULT
read_name(struct s3_xml *x, char out[S3_XML_NAME_MAX + 1])
{
    size_t start = x->pos;
    while (is_name_byte(peek(x)))
        x->pos++;
    size_t len = x->pos - start;
    if (len == 0 || len > S3_XML_NAME_MAX)
        return C2_E_PARSE;
    if (out != NULL) {
        memcpy(out, x->in.data + start, len);
        out[len] = '\0';
    }
    return C2_E_OK;
}

/* Attributes mean nothing to us (xmlns, xsi:type); they must be well-formed to be skipped. */
static C2_RESULT
skip_attributes(struct s3_xml *x)
{
    for (;;) {
        skip_blanks(x);
        if (!is_name_byte(peek(x)))
            return C2_E_OK;
        C2_TRY(read_name(x, NULL));
        skip_blanks(x);
        if (peek(x) != '=')
            return C2_E_PARSE;
        x->pos++;
        skip_blanks(x);
        int quote = peek(x);
        if (quote != '"' && quote != '\'')
            return C2_E_PARSE;
        x->pos++;
        while (!at_end(x) && peek(x) != quote && peek(x) != '<')
            x->pos++;
        if (peek(x) != quote)
            return C2_E_PARSE;
        x->pos++;
    }
}

static C2_RESULT
open_tag(struct s3_xml *x)
{
    x->pos++; /* '<' */
    if (x->depth == S3_XML_DEPTH_MAX || (x->depth == 0 && x->root_seen))
        return C2_E_PARSE;
    C2_TRY(read_name(x, x->name[x->depth]));
    C2_TRY(skip_attributes(x));
    x->empty_tag = peek(x) == '/';
    if (x->empty_tag)
        x->pos++;
    if (peek(x) != '>')
        return C2_E_PARSE;
    x->pos++;
    x->depth++;
    x->root_seen = true;
    x->text_len = 0;
    x->text[0] = '\0';
    return C2_E_OK;
}

static C2_RESULT
close_tag(struct s3_xml *x)
{
    char name[S3_XML_NAME_MAX + 1];
    x->pos += 2; /* "</" */
    C2_TRY(read_name(x, name));
    skip_blanks(x);
    if (peek(x) != '>' || x->depth == 0 || strcmp(name, x->name[x->depth - 1]) != 0)
        return C2_E_PARSE;
    x->pos++;
    x->closing = true;
    return C2_E_OK;
}

static C2_RESULT
append_text(struct s3_xml *x, const char *bytes, size_t len)
{
    if (len > S3_XML_TEXT_MAX - x->text_len)
        return C2_E_PARSE;
    memcpy(x->text + x->text_len, bytes, len);
    x->text_len += len;
    x->text[x->text_len] = '\0';
    return C2_E_OK;
}

static size_t
utf8_encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t extra = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = { 0, 0xc0, 0xe0, 0xf0 };
    out[0] = (char)(lead[extra] | (c >> (6 * extra)));
    for (size_t i = 1; i <= extra; i++)
        out[i] = (char)(0x80 | ((c >> (6 * (extra - i))) & 0x3f));
    return extra + 1;
}

static int
digit_value(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return 99;
}

/* "&#34;" or "&#x22;", the "&#" read. Control characters are as unwelcome here as bare ones. */
static C2_RESULT
numeric_entity(struct s3_xml *x)
{
    uint32_t base = peek(x) == 'x' ? 16 : 10;
    if (base == 16)
        x->pos++;
    uint32_t c = 0;
    size_t ndigits = 0;
    while ((uint32_t)digit_value(peek(x)) < base) {
        c = c * base + (uint32_t)digit_value(peek(x));
        x->pos++;
        if (++ndigits > 7 || c > 0x10ffff)
            return C2_E_PARSE;
    }
    bool control = c < 0x20 && c != '\t' && c != '\n' && c != '\r';
    if (ndigits == 0 || peek(x) != ';' || control || (c >= 0xd800 && c <= 0xdfff))
        return C2_E_PARSE;
    x->pos++;
    char bytes[4];
    return append_text(x, bytes, utf8_encode(c, bytes));
}

static C2_RESULT
entity(struct s3_xml *x)
{
    static const struct {
        const char *name, *text;
    } known[] = {
        { "&amp;", "&" }, { "&lt;", "<" }, { "&gt;", ">" }, { "&quot;", "\"" }, { "&apos;", "'" },
    };
    if (looking_at(x, "&#")) {
        x->pos += 2;
        return numeric_entity(x);
    }
    for (size_t i = 0; i < C2_ARRAY_LEN(known); i++) {
        if (looking_at(x, known[i].name)) {
            x->pos += strlen(known[i].name);
            return append_text(x, known[i].text, 1);
        }
    }
    return C2_E_PARSE;
}

/* Up to the next '<' or the end. */
static C2_RESULT
read_text(struct s3_xml *x)
{
    while (!at_end(x) && peek(x) != '<') {
        int c = peek(x);
        if (x->depth == 0) {
            if (!is_blank(c))
                return C2_E_PARSE;
            x->pos++;
        } else if (c == '&') {
            C2_TRY(entity(x));
        } else {
            if (c == 0)
                return C2_E_PARSE;
            char byte = (char)c;
            C2_TRY(append_text(x, &byte, 1));
            x->pos++;
        }
    }
    return C2_E_OK;
}

/* Text in which nothing is special but its end. */
static C2_RESULT
read_cdata(struct s3_xml *x)
{
    size_t start = x->pos += strlen(CDATA);
    C2_TRY(skip_past(x, "]]>"));
    size_t len = x->pos - strlen("]]>") - start;
    if (x->depth == 0 || memchr(x->in.data + start, 0, len) != NULL)
        return C2_E_PARSE;
    return append_text(x, (const char *)x->in.data + start, len);
}

static void
pop(struct s3_xml *x)
{
    C2_ASSERT(x->depth > 0);
    x->closing = false;
    x->depth--;
    x->text_len = 0;
    x->text[0] = '\0';
}

C2_RESULT
s3_xml_next(struct s3_xml *x, enum s3_xml_event *ret_event)
{
    if (x->closing)
        pop(x);
    if (x->empty_tag) {
        x->empty_tag = false;
        x->closing = true;
        *ret_event = S3_XML_END;
        return C2_E_OK;
    }
    if (!x->root_seen) {
        if (x->pos == 0 && looking_at(x, BYTE_ORDER_MARK))
            x->pos += strlen(BYTE_ORDER_MARK);
        skip_blanks(x);
        if (looking_at(x, "<?xml "))
            C2_TRY(skip_past(x, "?>"));
    }
    for (;;) {
        C2_TRY(read_text(x));
        if (at_end(x)) {
            if (x->depth != 0 || !x->root_seen)
                return C2_E_PARSE;
            *ret_event = S3_XML_EOF;
            return C2_E_OK;
        }
        if (looking_at(x, CDATA)) {
            C2_TRY(read_cdata(x));
        } else if (looking_at(x, "<!--")) {
            x->pos += 4;
            C2_TRY(skip_past(x, "-->"));
        } else {
            break;
        }
    }
    if (looking_at(x, "</")) {
        C2_TRY(close_tag(x));
        *ret_event = S3_XML_END;
    } else {
        /* "<!DOCTYPE" and "<?" fail here: '!' and '?' start no name. */
        C2_TRY(open_tag(x));
        *ret_event = S3_XML_START;
    }
    return C2_E_OK;
}

const char *
s3_xml_local(const char *name)
{
    const char *colon = strrchr(name, ':');
    return colon != NULL ? colon + 1 : name;
}

bool
s3_xml_at(const struct s3_xml *x, unsigned depth, const char *parent, const char *name)
{
    C2_ASSERT(depth >= 2);
    return x->depth == depth && strcmp(s3_xml_local(x->name[depth - 1]), name) == 0 &&
           strcmp(s3_xml_local(x->name[depth - 2]), parent) == 0;
}

void
s3_xml_escape(const char *text, struct c2_buf *out)
{
    for (const char *p = text; *p != '\0'; p++) {
        switch (*p) {
        case '&':
            c2_buf_puts(out, "&amp;");
            break;
        case '<':
            c2_buf_puts(out, "&lt;");
            break;
        case '>':
            c2_buf_puts(out, "&gt;");
            break;
        case '"':
            c2_buf_puts(out, "&quot;");
            break;
        case '\'':
            c2_buf_puts(out, "&apos;");
            break;
        default:
            c2_buf_append(out, p, 1);
        }
    }
}
