/* SPDX-License-Identifier: MIT */
/*
 * Configured handles of libcurl for http.c. Private to backends/http*.c.
 */
#ifndef C2_BACKENDS_HTTP_EASY_H
#define C2_BACKENDS_HTTP_EASY_H

#include "backends/http.h"

#include <curl/curl.h>

/* libcurl copies every string, and fails only without memory or without the feature. */
#define HTTP_EASY_SET(easy, option, value)                                                         \
    do {                                                                                           \
        CURLcode set_code = curl_easy_setopt((easy), (option), (value));                           \
        C2_ASSERT(set_code == CURLE_OK);                                                           \
    } while (0)

/* What is the same for every request of a pool; the callbacks are the caller's. */
CURL *http_easy_new(const struct http_settings *s, CURLSH *share);
/* Method and body of a request, whatever the handle did before. The body is borrowed. */
void http_easy_method(CURL *easy, const struct http_req *r);
/* What libcurl's verdict on a transfer means; text: its message. */
enum c2_err http_easy_error(CURLcode code, const char *text);

#endif
