/* SPDX-License-Identifier: MIT */
/*
 * An HTTP/1.1 client for one server: a pool of kept-alive connections, driven by libcurl on our own
 * loop. It never follows a redirect, never decompresses, never buffers more than the caller allows.
 */
#ifndef C2_BACKENDS_HTTP_H
#define C2_BACKENDS_HTTP_H

#include "backends/http_head.h"
#include "base/env.h"

struct c2_os;
struct http_pool;
struct http_call;

#define HTTP_CONNECTIONS_MAX 64
#define HTTP_ERROR_BODY_MAX                                                                        \
    (16u * 1024) /* what is kept of the body of an answer that is no 2xx                           \
                  */
#define HTTP_HEADER_LINES_MAX 20

enum http_plain {
    HTTP_PLAIN_NEVER,    /* https:// only */
    HTTP_PLAIN_LOOPBACK, /* http:// when the address connected to is this host */
    HTTP_PLAIN_ANY,
};

struct http_settings {
    const char *ca_file; /* PEM; NULL = the system's */
    const char *proxy;   /* NULL = none, whatever the environment says */
    enum http_plain plain;
    unsigned connections; /* 1..HTTP_CONNECTIONS_MAX; more requests wait in a queue */
    uint64_t connect_timeout_ns;
    uint64_t low_speed_bytes_per_s; /* slower than this ... */
    unsigned low_speed_s;           /* ... for this long is C2_E_TIMEOUT */

    /* For looking at a server's TLS. */
    bool trust_nobody;      /* no certificate is believed, ca_file or not */
    const char *connect_to; /* "NAME:PORT:HOST:PORT": requests to NAME are sent to HOST; or NULL */
    bool tls_info;          /* fills in http_req.tls */
};

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_PUT, HTTP_POST, HTTP_DELETE };

struct http_req {
    enum http_method method;
    const char *url;           /* absolute, encoded; sent as it is. Borrowed until done */
    const char *const *header; /* "name: value" lines. Borrowed until done */
    size_t nheaders;
    struct c2_slice body; /* PUT, POST. Borrowed until done */
    bool once;            /* never repeated here: a lost answer is C2_E_UNREACHABLE */
    size_t reply_len_max; /* of the body of a 2xx answer */
    uint64_t deadline_ns; /* monotonic; C2_NEVER = none */
    void (*done)(struct http_req *r);

    /* out; http_req_done frees */
    enum c2_err err; /* C2_E_OK: there is an answer, whatever its status */
    struct http_head head;
    struct c2_blob *reply;    /* the body of a 2xx answer, maybe empty; NULL otherwise */
    struct c2_buf error_body; /* of any other answer, cut */
    char detail[160];         /* when err: what went wrong, sanitised, for people */
    char tls[80];             /* "TLSv1.3 / CIPHER" of the connection it opened, else "" */

    struct http_call *call; /* private, owned by the pool; NULL = idle */
};

/* Frees what a completed request holds; the struct stays the caller's. */
void http_req_done(struct http_req *r);

struct http_pool *http_pool_new(struct c2_env *env, struct c2_os *os,
                                const struct http_settings *settings);
/* No request may be outstanding. NULL is fine. May be called from a request's done. */
void http_pool_free(struct http_pool *pool);

/* done runs exactly once, on the loop, never from inside submit or cancel. */
void http_submit(struct http_pool *pool, struct http_req *r);
/* done will run soon with C2_E_CANCELED, or with the real outcome when that is known already. */
void http_cancel(struct http_pool *pool, struct http_req *r);

#endif
