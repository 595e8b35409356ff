/* SPDX-License-Identifier: MIT */
/*
 * Strict where it costs nothing: folded headers, headers without a colon and control bytes are
 * errors, because no S3 server sends them and a request smuggler does.
 */
#include "backends/http_head.h"

#include "base/env.h"
#include "base/str.h"

#include <string.h>

#define RETRY_AFTER_S_MAX 3600

void
http_head_done(struct http_head *h)
{
    c2_buf_done(&h->text);
    *h = (struct http_head){ 0 };
}

static bool
is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* "HTTP/1.1 200 OK": the reason is for nobody. */
static C2_RESULT
status_line(struct http_head *h, struct c2_slice line)
{
    const uint8_t *p = line.data;
    if (line.len < 12 || memcmp(p, "HTTP/1.", 7) != 0 || !is_digit(p[7]) || p[8] != ' ')
        return C2_E_PARSE;
    if (!is_digit(p[9]) || !is_digit(p[10]) || !is_digit(p[11]) || p[9] == '0')
        return C2_E_PARSE;
    if (line.len > 12 && p[12] != ' ')
        return C2_E_PARSE;
    h->status =
        (unsigned)(p[9] - '0') * 100 + (unsigned)(p[10] - '0') * 10 + (unsigned)(p[11] - '0');
    c2_buf_clear(&h->text);
    return C2_E_OK;
}

static bool
is_name_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static C2_RESULT
header_line(struct http_head *h, struct c2_slice line)
{
    size_t name_len = 0;
    while (name_len < line.len && is_name_byte(line.data[name_len]))
        name_len++;
    if (h->status == 0 || name_len == 0 || name_len == line.len || line.data[name_len] != ':')
        return C2_E_PARSE;
    size_t start = name_len + 1;
    size_t end = line.len;
    while (start < end && (line.data[start] == ' ' || line.data[start] == '\t'))
        start++;
    while (end > start && (line.data[end - 1] == ' ' || line.data[end - 1] == '\t'))
        end--;
    for (size_t i = start; i < end; i++) {
        if ((line.data[i] < 0x20 && line.data[i] != '\t') || line.data[i] == 0x7f)
            return C2_E_PARSE;
    }
    uint8_t *out = c2_buf_extend(&h->text, name_len + (end - start) + 2);
    for (size_t i = 0; i < name_len; i++) {
        uint8_t c = line.data[i];
        out[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
    }
    out[name_len] = 0;
    memcpy(out + name_len + 1, line.data + start, end - start);
    out[name_len + 1 + end - start] = 0;
    return C2_E_OK;
}

C2_RESULT
http_head_line(struct http_head *h, struct c2_slice line)
{
    h->bytes += line.len;
    if (h->bytes > HTTP_HEAD_MAX)
        return C2_E_PARSE;
    if (line.len > 0 && line.data[line.len - 1] == '\n')
        line.len--;
    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    if (line.len == 0)
        return C2_E_OK;
    if (++h->lines > HTTP_HEADERS_MAX)
        return C2_E_PARSE;
    if (c2_slice_starts_with(line, c2_slice_str("HTTP/")))
        return status_line(h, line);
    return header_line(h, line);
}

const char *
http_head_get(const struct http_head *h, const char *name)
{
    const char *p = (const char *)h->text.data;
    size_t left = h->text.len;
    while (left > 0) {
        size_t name_size = strlen(p) + 1;
        const char *value = p + name_size;
        if (strcmp(p, name) == 0)
            return value;
        size_t size = name_size + strlen(value) + 1;
        C2_ASSERT(size <= left);
        p += size;
        left -= size;
    }
    return NULL;
}

/* Digits up to `end`, which is skipped; '\0' = up to the end of the text. */
static C2_RESULT
number_until(const char **p, char end, uint64_t *ret_value)
{
    const char *stop = strchr(*p, end);
    if (stop == NULL)
        return C2_E_PARSE;
    struct c2_slice digits = c2_slice(*p, (size_t)(stop - *p));
    if (c2_u64_parse(digits, UINT64_MAX, ret_value) != C2_E_OK)
        return C2_E_PARSE;
    *p = end == '\0' ? stop : stop + 1;
    return C2_E_OK;
}

C2_RESULT
http_content_range_parse(const char *text, struct http_content_range *ret_range)
{
    struct http_content_range r = { 0 };
    if (strncmp(text, "bytes ", 6) != 0)
        return C2_E_PARSE;
    const char *p = text + 6;
    if (strncmp(p, "*/", 2) == 0) {
        r.unsatisfied = true;
        p += 2;
    } else {
        C2_TRY(number_until(&p, '-', &r.first));
        C2_TRY(number_until(&p, '/', &r.last));
        if (r.first > r.last)
            return C2_E_PARSE;
    }
    r.total_known = strcmp(p, "*") != 0;
    if (r.total_known)
        C2_TRY(number_until(&p, '\0', &r.total));
    if (r.unsatisfied ? !r.total_known : r.total_known && r.last >= r.total)
        return C2_E_PARSE;
    *ret_range = r;
    return C2_E_OK;
}

/* Days from 1970-01-01 to a date of the Gregorian calendar from 1970 on. */
static uint64_t
days_from_civil(uint64_t year, uint64_t month, uint64_t day)
{
    /* Years begin in March here, so that the leap day is the last one. */
    uint64_t y = month <= 2 ? year - 1 : year;
    uint64_t m = month <= 2 ? month + 9 : month - 3;
    uint64_t day_of_year = (153 * m + 2) / 5 + day - 1;
    uint64_t days_to_1970 = 719468;
    return y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - days_to_1970;
}

static C2_RESULT
digits_at(const char *text, size_t at, size_t len, uint64_t max, uint64_t *ret_value)
{
    return c2_u64_parse(c2_slice(text + at, len), max, ret_value);
}

C2_RESULT
http_date_parse(const char *text, uint64_t *ret_wall_ns)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    /* "Sun, 06 Nov 1994 08:49:37 GMT": the day's name is redundant and not looked at. */
    static const char form[] = "???, ?? ??? ???? ??:??:?? GMT";
    if (strlen(text) != sizeof(form) - 1)
        return C2_E_PARSE;
    for (size_t i = 0; i < sizeof(form) - 1; i++) {
        if (form[i] != '?' && form[i] != text[i])
            return C2_E_PARSE;
    }
    uint64_t day, year, hour, minute, second;
    uint64_t month = 0;
    for (uint64_t i = 0; i < 12; i++) {
        if (memcmp(text + 8, months + 3 * i, 3) == 0)
            month = i + 1;
    }
    if (month == 0 || digits_at(text, 5, 2, 31, &day) != C2_E_OK ||
        digits_at(text, 12, 4, 9999, &year) != C2_E_OK ||
        digits_at(text, 17, 2, 23, &hour) != C2_E_OK ||
        digits_at(text, 20, 2, 59, &minute) != C2_E_OK ||
        digits_at(text, 23, 2, 60, &second) != C2_E_OK)
        return C2_E_PARSE;
    if (day == 0 || year < 1970 || year > 2500) /* 2554 is where 64 bits of ns end */
        return C2_E_PARSE;
    uint64_t days = days_from_civil(year, month, day);
    *ret_wall_ns = (((days * 24 + hour) * 60 + minute) * 60 + second) * C2_NS_PER_S;
    return C2_E_OK;
}

uint64_t
http_retry_after_parse(const char *text, uint64_t wall_now_ns)
{
    uint64_t seconds;
    uint64_t wall_ns;
    uint64_t ns_max = RETRY_AFTER_S_MAX * C2_NS_PER_S;
    if (text == NULL)
        return 0;
    enum c2_err err = c2_u64_parse(c2_slice_str(text), RETRY_AFTER_S_MAX, &seconds);
    if (err == C2_E_OK)
        return seconds * C2_NS_PER_S;
    if (err == C2_E_RANGE)
        return ns_max;
    if (http_date_parse(text, &wall_ns) != C2_E_OK || wall_ns <= wall_now_ns)
        return 0;
    return C2_MIN(wall_ns - wall_now_ns, ns_max);
}

void
http_sanitise(struct c2_slice in, char *out, size_t size)
{
    C2_ASSERT(size > 0);
    size_t len = C2_MIN(in.len, size - 1);
    for (size_t i = 0; i < len; i++)
        out[i] = in.data[i] >= 0x20 && in.data[i] < 0x7f ? (char)in.data[i] : '?';
    out[len] = '\0';
}
