/* SPDX-License-Identifier: MIT */
/*
 * A tiny HTTP server on the test's own loop that answers as a script says: the n-th complete
 * request, on whichever connection, gets the n-th reply. Bytes go out exactly as written, so that
 * it can break every rule.
 */
#ifndef C2_TESTS_LIB_HTTP_FIXTURE_H
#define C2_TESTS_LIB_HTTP_FIXTURE_H

#include "base/os_loop.h"

struct http_fixture;

enum {
    FIXTURE_CLOSE = 1 << 0, /* closes the connection behind the bytes */
    FIXTURE_RESET = 1 << 1, /* resets the connection instead of answering */
    FIXTURE_HANG = 1 << 2,  /* never answers */
    FIXTURE_DRIP = 1 << 3,  /* one byte of `repeat` every few milliseconds, for ever */
};

struct http_fixture_reply {
    const char *text;    /* borrowed; status line, headers, body */
    size_t text_len;     /* 0 = strlen(text) */
    const char *repeat;  /* borrowed; sent behind text, repeat_count times */
    size_t repeat_count; /* SIZE_MAX = for ever */
    unsigned flags;
};

struct http_fixture *http_fixture_new(struct c2_os *os);
void http_fixture_free(struct http_fixture *f);
/* "http://127.0.0.1:12345" */
const char *http_fixture_url(const struct http_fixture *f);
void http_fixture_script(struct http_fixture *f, const struct http_fixture_reply *replies,
                         size_t count);
/* Appends one reply that is just text, which is copied. */
void http_fixture_answer(struct http_fixture *f, const char *text);

size_t http_fixture_connections(const struct http_fixture *f); /* accepted so far */
size_t http_fixture_requests(const struct http_fixture *f);
/* The n-th request as it came: request line, headers, empty line, body. */
const char *http_fixture_request(struct http_fixture *f, size_t n);
/* Whether it has this text anywhere. */
bool http_fixture_saw(struct http_fixture *f, size_t n, const char *text);
/* Replies of the script that nobody asked for yet. */
size_t http_fixture_left(const struct http_fixture *f);

#endif
