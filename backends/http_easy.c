/* SPDX-License-Identifier: MIT */
/*
 * How libcurl's handles are configured: what every request of a pool has in common, and what is
 * never done: no redirect is followed, nothing is decompressed, no certificate goes unverified.
 */
#include "backends/http_easy.h"

#include <string.h>

#define RECEIVE_BUFFER    (256L * 1024) /* 0-25 % faster GETs than curl's 16 KiB */
#define IDLE_S_MAX        20L           /* below the idle time of common servers */
#define KEEPALIVE_S       30L
#define NS_PER_MS_ROUNDUP (C2_NS_PER_MS - 1)

enum c2_err
http_easy_error(CURLcode code, const char *text)
{
    switch ((int)code) {
    case CURLE_OPERATION_TIMEDOUT:
        return C2_E_TIMEOUT;
    case CURLE_SSL_CONNECT_ERROR:
        /* A connection lost during the handshake is no verdict on the certificate. */
        if (strstr(text, "SSL_ERROR_SYSCALL") != NULL || strstr(text, "reset by peer") != NULL)
            return C2_E_UNREACHABLE;
        return C2_E_TLS;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return C2_E_TLS;
    case CURLE_UNSUPPORTED_PROTOCOL:
        return strstr(text, "HTTP/0.9") != NULL ? C2_E_PROTOCOL : C2_E_CONFIG;
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_LOGIN_DENIED: /* a user name in the URL */
    case CURLE_URL_MALFORMAT:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return C2_E_CONFIG;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
        return C2_E_PROTOCOL;
    case CURLE_OUT_OF_MEMORY:
        return C2_E_NOMEM;
    default: /* resolve, connect, send, receive, cut body */
        return C2_E_UNREACHABLE;
    }
}

static long
ms_of(uint64_t ns)
{
    return (long)((ns + NS_PER_MS_ROUNDUP) / C2_NS_PER_MS);
}

static void
set_tls(CURL *easy, const struct http_settings *s, CURLSH *share)
{
    HTTP_EASY_SET(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    HTTP_EASY_SET(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    HTTP_EASY_SET(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    HTTP_EASY_SET(easy, CURLOPT_SSL_CIPHER_LIST, "ECDHE+AESGCM:ECDHE+CHACHA20");
    if (s->ca_file != NULL)
        HTTP_EASY_SET(easy, CURLOPT_CAINFO, s->ca_file);
    if (s->trust_nobody) {
        HTTP_EASY_SET(easy, CURLOPT_CAINFO, NULL);
        HTTP_EASY_SET(easy, CURLOPT_CAPATH, NULL);
    }
    HTTP_EASY_SET(easy, CURLOPT_SHARE, share);
}

CURL *
http_easy_new(const struct http_settings *s, CURLSH *share)
{
    CURL *easy = curl_easy_init();
    C2_ASSERT(easy != NULL);
    set_tls(easy, s, share);
    HTTP_EASY_SET(easy, CURLOPT_PROTOCOLS_STR,
                  s->plain == HTTP_PLAIN_NEVER ? "https" : "http,https");
    HTTP_EASY_SET(easy, CURLOPT_REDIR_PROTOCOLS_STR, "https");
    HTTP_EASY_SET(easy, CURLOPT_FOLLOWLOCATION, 0L);
    HTTP_EASY_SET(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    HTTP_EASY_SET(easy, CURLOPT_HTTP09_ALLOWED, 0L);
    HTTP_EASY_SET(easy, CURLOPT_PATH_AS_IS, 1L);
    HTTP_EASY_SET(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    HTTP_EASY_SET(easy, CURLOPT_PROXY, s->proxy != NULL ? s->proxy : "");
    HTTP_EASY_SET(easy, CURLOPT_NOPROXY, "");
    HTTP_EASY_SET(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    HTTP_EASY_SET(easy, CURLOPT_USERAGENT, "c2fs/" C2_VERSION);
    HTTP_EASY_SET(easy, CURLOPT_NOSIGNAL, 1L);
    HTTP_EASY_SET(easy, CURLOPT_QUICK_EXIT, 1L);
    HTTP_EASY_SET(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    HTTP_EASY_SET(easy, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_S);
    HTTP_EASY_SET(easy, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_S);
    HTTP_EASY_SET(easy, CURLOPT_MAXAGE_CONN, IDLE_S_MAX);
    HTTP_EASY_SET(easy, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER);
    HTTP_EASY_SET(easy, CURLOPT_CONNECTTIMEOUT_MS, ms_of(s->connect_timeout_ns));
    HTTP_EASY_SET(easy, CURLOPT_LOW_SPEED_LIMIT, (long)s->low_speed_bytes_per_s);
    HTTP_EASY_SET(easy, CURLOPT_LOW_SPEED_TIME, (long)s->low_speed_s);
    HTTP_EASY_SET(easy, CURLOPT_VERBOSE, s->tls_info ? 1L : 0L);
    return easy;
}

void
http_easy_method(CURL *easy, const struct http_req *r)
{
    HTTP_EASY_SET(easy, CURLOPT_HTTPGET, 1L); /* undoes what the handle's last request set */
    HTTP_EASY_SET(easy, CURLOPT_CUSTOMREQUEST, NULL);
    switch (r->method) {
    case HTTP_GET:
        break;
    case HTTP_HEAD:
        HTTP_EASY_SET(easy, CURLOPT_NOBODY, 1L);
        break;
    case HTTP_DELETE:
        HTTP_EASY_SET(easy, CURLOPT_CUSTOMREQUEST, "DELETE");
        break;
    case HTTP_PUT:
    case HTTP_POST:
        /* Not UPLOAD: a body in memory goes out in one send with the headers. */
        HTTP_EASY_SET(easy, CURLOPT_POST, 1L);
        HTTP_EASY_SET(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len);
        HTTP_EASY_SET(easy, CURLOPT_POSTFIELDS, r->body.len > 0 ? (const char *)r->body.data : "");
        if (r->method == HTTP_PUT)
            HTTP_EASY_SET(easy, CURLOPT_CUSTOMREQUEST, "PUT");
        break;
    default:
        C2_UNREACHABLE();
    }
}
