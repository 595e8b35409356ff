/* SPDX-License-Identifier: MIT */
/*
 * The head of an HTTP answer: collects status and headers under caps, and parses the few header
 * values we act on. Pure; the bytes come from a provider that may be hostile.
 */
#ifndef C2_BACKENDS_HTTP_HEAD_H
#define C2_BACKENDS_HTTP_HEAD_H

#include "base/buf.h"

#define HTTP_HEADERS_MAX 64           /* lines, those of interim answers and trailers included */
#define HTTP_HEAD_MAX    (16u * 1024) /* bytes of them */

struct http_head {
    unsigned status;    /* of the last status line, 0 = none yet */
    size_t lines;       /* seen so far */
    size_t bytes;       /* seen so far */
    struct c2_buf text; /* "name\0value\0" of the last answer, names in lower case */
};

void http_head_done(struct http_head *h);
/*
 * One line with or without its line end: a status line, a header or the empty line. C2_E_PARSE when
 * it is none of them or over a cap. A status line forgets the headers before it (100 Continue).
 */
C2_RESULT http_head_line(struct http_head *h, struct c2_slice line);
/* The first header of that lower-case name, or NULL. */
const char *http_head_get(const struct http_head *h, const char *name);

struct http_content_range {
    bool unsatisfied; /* "bytes * / total": then first and last mean nothing */
    uint64_t first, last;
    bool total_known;
    uint64_t total;
};

C2_RESULT http_content_range_parse(const char *text, struct http_content_range *ret_range);
/* "Sun, 06 Nov 1994 08:49:37 GMT", the form every server must send; ns since 1970. */
C2_RESULT http_date_parse(const char *text, uint64_t *ret_wall_ns);
/* Seconds or a date, as ns from now, at most one hour; 0 for anything else. text may be NULL. */
uint64_t http_retry_after_parse(const char *text, uint64_t wall_now_ns);

/* For people and logs: at most size - 1 bytes; anything but printable ASCII becomes '?'. */
void http_sanitise(struct c2_slice in, char *out, size_t size);

#endif
