/* SPDX-License-Identifier: MIT */
/*
 * Text helpers. Parsers take the whole text or nothing; overflow is an error, never a wrap.
 */
#include "base/str.h"

#include <stdio.h>
#include <string.h>

#include "base/env.h"

#define NEAREST_WORD_MAX ((size_t)64)
#define DIGITS           "0123456789"
#define BILLION          UINT64_C(1000000000)

static const char hex_lower[] = "0123456789abcdef";
static const char hex_upper[] = "0123456789ABCDEF";

void
c2_hex_encode(const void *data, size_t len, char *out)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = hex_lower[p[i] >> 4];
        out[2 * i + 1] = hex_lower[p[i] & 15];
    }
    out[2 * len] = '\0';
}

/* 0..15, or 16 for anything else. */
static unsigned
hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - (unsigned)'0';
    if (c >= 'a' && c <= 'f')
        return c - (unsigned)'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - (unsigned)'A' + 10;
    return 16;
}

enum c2_err
c2_hex_decode(struct c2_slice text, void *out, size_t len)
{
    uint8_t *p = out;
    if (text.len / 2 != len || text.len % 2 != 0)
        return C2_E_PARSE;
    for (size_t i = 0; i < text.len; i++) {
        if (hex_digit(text.data[i]) > 15)
            return C2_E_PARSE;
    }
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)(hex_digit(text.data[2 * i]) << 4 | hex_digit(text.data[2 * i + 1]));
    return C2_E_OK;
}

enum c2_err
c2_hex_decode_name(struct c2_slice text, void *out, size_t len)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] >= 'A' && text.data[i] <= 'F')
            return C2_E_PARSE;
    }
    return c2_hex_decode(text, out, len);
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void
c2_base64_encode(struct c2_slice in, struct c2_buf *out)
{
    for (size_t i = 0; i < in.len; i += 3) {
        size_t n = C2_MIN(in.len - i, (size_t)3);
        uint32_t v = (uint32_t)in.data[i] << 16;
        v |= n > 1 ? (uint32_t)in.data[i + 1] << 8 : 0;
        v |= n > 2 ? (uint32_t)in.data[i + 2] : 0;
        char quad[4] = { base64_digits[v >> 18], base64_digits[v >> 12 & 63],
                         n > 1 ? base64_digits[v >> 6 & 63] : '=',
                         n > 2 ? base64_digits[v & 63] : '=' };
        c2_buf_append(out, quad, 4);
    }
}

static unsigned
base64_digit(uint8_t c)
{
    const char *at = c == 0 ? NULL : strchr(base64_digits, c);
    return at == NULL ? 64 : (unsigned)(at - base64_digits);
}

/* Four digits; at the end of the text one or two of them may be padding. */
static enum c2_err
base64_quad(const uint8_t *p, bool last, struct c2_buf *out)
{
    size_t pad = !last || p[3] != '=' ? 0 : p[2] == '=' ? 2 : 1;
    uint32_t v = 0;
    for (size_t i = 0; i < 4; i++) {
        unsigned digit = i >= 4 - pad ? 0 : base64_digit(p[i]);
        if (digit > 63)
            return C2_E_PARSE;
        v = v << 6 | digit;
    }
    /* One text per value: bits that the padding cuts off must be zero. */
    if ((pad == 1 && (v & 0xff) != 0) || (pad == 2 && (v & 0xffff) != 0))
        return C2_E_PARSE;
    uint8_t bytes[3] = { (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };
    c2_buf_append(out, bytes, 3 - pad);
    return C2_E_OK;
}

enum c2_err
c2_base64_decode(struct c2_slice in, struct c2_buf *out)
{
    if (in.len % 4 != 0)
        return C2_E_PARSE;
    size_t before = out->len;
    for (size_t i = 0; i < in.len; i += 4) {
        enum c2_err err = base64_quad(in.data + i, i + 4 == in.len, out);
        if (err != C2_E_OK) {
            out->len = before;
            return err;
        }
    }
    return C2_E_OK;
}

enum c2_err
c2_u64_parse(struct c2_slice text, uint64_t max, uint64_t *ret_value)
{
    uint64_t v = 0;
    if (text.len == 0)
        return C2_E_PARSE;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return C2_E_PARSE;
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(text.data[i] - '0'), &v))
            return C2_E_RANGE;
    }
    if (v > max)
        return C2_E_RANGE;
    *ret_value = v;
    return C2_E_OK;
}

enum c2_err
c2_decimal_parse(const char *text, uint64_t *ret_billionths)
{
    uint64_t value = 0, unit = BILLION;
    size_t whole = strspn(text, DIGITS);
    const char *behind = text + whole + (text[whole] == '.');
    size_t len = strspn(behind, DIGITS);
    if (whole + len == 0 || behind[len] != '\0')
        return C2_E_PARSE;
    if (whole > 0)
        C2_TRY(c2_u64_parse(c2_slice(text, whole), UINT64_MAX / BILLION - 1, &value));
    value *= BILLION;
    for (size_t i = 0; i < len; i++) {
        unit /= 10;
        if (unit == 0 && behind[i] != '0')
            return C2_E_RANGE;
        value += unit * (uint64_t)(behind[i] - '0');
    }
    *ret_billionths = value;
    return C2_E_OK;
}

struct unit {
    const char *name;
    uint64_t factor;
};

/* Digits, then one of the units ("" may be one of them). */
static enum c2_err
parse_with_unit(const char *text, const struct unit *units, size_t nunits, uint64_t *ret_value)
{
    size_t digits = strspn(text, "0123456789");
    uint64_t v;
    C2_TRY(c2_u64_parse(c2_slice(text, digits), UINT64_MAX, &v));
    for (size_t i = 0; i < nunits; i++) {
        if (strcasecmp(text + digits, units[i].name) != 0)
            continue;
        if (__builtin_mul_overflow(v, units[i].factor, &v))
            return C2_E_RANGE;
        *ret_value = v;
        return C2_E_OK;
    }
    return C2_E_PARSE;
}

enum c2_err
c2_size_parse(const char *text, uint64_t *ret_bytes)
{
    static const struct unit units[] = {
        { "", 1 },           { "B", 1 },
        { "K", 1ull << 10 }, { "KiB", 1ull << 10 },
        { "M", 1ull << 20 }, { "MiB", 1ull << 20 },
        { "G", 1ull << 30 }, { "GiB", 1ull << 30 },
        { "T", 1ull << 40 }, { "TiB", 1ull << 40 },
        { "P", 1ull << 50 }, { "PiB", 1ull << 50 },
    };
    return parse_with_unit(text, units, C2_ARRAY_LEN(units), ret_bytes);
}

const char *
c2_size_format(uint64_t bytes, char out[C2_SIZE_TEXT_MAX])
{
    static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    if (bytes < 1024) {
        snprintf(out, C2_SIZE_TEXT_MAX, "%u B", (unsigned)bytes);
        return out;
    }
    unsigned exponent = (63 - (unsigned)__builtin_clzll(bytes)) / 10;
    double value = (double)bytes / (double)(1ull << (10 * exponent));
    if (value >= 1023.95 && exponent < 6) { /* would print as 1024.0 */
        value = 1;
        exponent++;
    }
    snprintf(out, C2_SIZE_TEXT_MAX, "%.1f %s", value, units[exponent - 1]);
    return out;
}

enum c2_err
c2_duration_parse(const char *text, uint64_t *ret_ns)
{
    static const struct unit units[] = {
        { "ns", 1 },
        { "us", 1000 },
        { "ms", C2_NS_PER_MS },
        { "s", C2_NS_PER_S },
        { "m", 60 * C2_NS_PER_S },
        { "min", 60 * C2_NS_PER_S },
        { "h", 3600 * C2_NS_PER_S },
        { "d", 86400 * C2_NS_PER_S },
    };
    /* Zero is the same in every unit. */
    if (strcmp(text, "0") == 0) {
        *ret_ns = 0;
        return C2_E_OK;
    }
    return parse_with_unit(text, units, C2_ARRAY_LEN(units), ret_ns);
}

const char *
c2_duration_format(uint64_t ns, char out[C2_SIZE_TEXT_MAX])
{
    double s = (double)ns / (double)C2_NS_PER_S;
    if (ns < 1000)
        snprintf(out, C2_SIZE_TEXT_MAX, "%u ns", (unsigned)ns);
    else if (ns < C2_NS_PER_MS)
        snprintf(out, C2_SIZE_TEXT_MAX, "%.1f us", s * 1e6);
    else if (ns < C2_NS_PER_S)
        snprintf(out, C2_SIZE_TEXT_MAX, "%.1f ms", s * 1e3);
    else if (s < 60)
        snprintf(out, C2_SIZE_TEXT_MAX, "%.1f s", s);
    else if (s < 3600)
        snprintf(out, C2_SIZE_TEXT_MAX, "%um%02us", (unsigned)s / 60, (unsigned)s % 60);
    else if (s < 86400)
        snprintf(out, C2_SIZE_TEXT_MAX, "%uh%02um", (unsigned)s / 3600, (unsigned)s / 60 % 60);
    else
        snprintf(out, C2_SIZE_TEXT_MAX, "%llud%02uh", (unsigned long long)(s / 86400),
                 (unsigned)((uint64_t)s / 3600 % 24));
    return out;
}

void
c2_url_encode(struct c2_slice in, bool keep_slash, struct c2_buf *out)
{
    for (size_t i = 0; i < in.len; i++) {
        uint8_t c = in.data[i];
        bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '_' || c == '.' || c == '~' || (c == '/' && keep_slash);
        char escape[3] = { '%', hex_upper[c >> 4], hex_upper[c & 15] };
        c2_buf_append(out, plain ? (const char *)&in.data[i] : escape, plain ? 1 : 3);
    }
}

enum c2_err
c2_url_decode(struct c2_slice in, struct c2_buf *out)
{
    size_t before = out->len;
    for (size_t i = 0; i < in.len; i++) {
        uint8_t c = in.data[i];
        if (c == '%') {
            if (in.len - i < 3 || c2_hex_decode(c2_slice(in.data + i + 1, 2), &c, 1) != C2_E_OK) {
                out->len = before;
                return C2_E_PARSE;
            }
            i += 2;
        }
        c2_buf_append(out, &c, 1);
    }
    return C2_E_OK;
}

/* How many letters must be changed, added, dropped or swapped with their neighbour; both words at
 * most NEAREST_WORD_MAX long. Rows are those of the last three letters of a. */
static size_t
edit_distance(const char *a, const char *b)
{
    size_t rows[3][NEAREST_WORD_MAX + 1];
    size_t na = strlen(a), nb = strlen(b);
    for (size_t k = 0; k <= nb; k++)
        rows[0][k] = k;
    for (size_t i = 1; i <= na; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i - 1) % 3], *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t k = 1; k <= nb; k++) {
            size_t change = above[k - 1] + (a[i - 1] == b[k - 1] ? 0 : 1);
            row[k] = C2_MIN(change, C2_MIN(row[k - 1], above[k]) + 1);
            if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1])
                row[k] = C2_MIN(row[k], two_above[k - 2] + 1);
        }
    }
    return rows[na % 3][nb];
}

const char *
c2_nearest(const char *word, const char *const *candidates, size_t count)
{
    size_t len = strlen(word);
    if (len > NEAREST_WORD_MAX)
        return NULL;
    /* Two letters swapped, or a third of the word: more is a guess, not a typing mistake. */
    size_t best = (len < 4 ? 1 : C2_MAX(len / 3, (size_t)2)) + 1;
    const char *nearest = NULL;
    for (size_t i = 0; i < count; i++) {
        if (strlen(candidates[i]) > NEAREST_WORD_MAX)
            continue;
        size_t distance = edit_distance(word, candidates[i]);
        if (distance < best) {
            best = distance;
            nearest = candidates[i];
        }
    }
    return nearest;
}

void
c2_time_format(uint64_t wall_ns, char out[C2_SIZE_TEXT_MAX])
{
    uint64_t s = wall_ns / C2_NS_PER_S;
    uint64_t days = s / 86400 + 719468; /* since 0000-03-01, so that leap days end a year */
    uint64_t era = days / 146097, in_era = days % 146097;
    uint64_t year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    uint64_t in_year = in_era - (365 * year + year / 4 - year / 100);
    uint64_t shifted = (5 * in_year + 2) / 153; /* 0 = March */
    unsigned day = (unsigned)(in_year - (153 * shifted + 2) / 5) + 1;
    unsigned month = (unsigned)(shifted < 10 ? shifted + 3 : shifted - 9);
    unsigned y = (unsigned)(year + era * 400 + (month <= 2 ? 1 : 0));
    snprintf(out, C2_SIZE_TEXT_MAX, "%04u-%02u-%02uT%02u:%02u:%02uZ", y % 10000, month, day,
             (unsigned)(s / 3600 % 24), (unsigned)(s / 60 % 60), (unsigned)(s % 60));
}
