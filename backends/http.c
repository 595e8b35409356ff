/* SPDX-License-Identifier: MIT */
/*
 * The only user of libcurl, with http_easy.c, which configures its handles. Its multi interface
 * tells which descriptors to watch and when to call again; both go to our loop, so that libcurl
 * never blocks and never owns a thread of ours. (Its resolver runs getaddrinfo on a thread of its
 * own that touches nothing of ours; QUICK_EXIT keeps it from waiting for that thread when a request
 * ends early.)
 *
 *              submit
 *                |
 *                v      a connection is free           answer, error
 *             QUEUED ------------------------> RUNNING ---------------> FINISHED --> done
 *                |                             |    ^                      ^      (next turn of
 *                |        dead kept-alive      |    |                      |       the loop)
 *                |        connection, once     +----+                      |
 *                |                             |                           |
 *                +-----------------------------+--- cancel, deadline ------+
 *
 * Invariants: a request in QUEUED is in pool->queue; one in RUNNING has an easy handle that is in
 * the multi handle; done is called from a deferred task, as its last statement, when nothing of the
 * request is referenced any more. libcurl's callbacks call nothing of our callers.
 *
 * An answer is bounded everywhere: head by http_head.c, body by reply_len_max, error bodies by
 * HTTP_ERROR_BODY_MAX, time by the deadline and the low-speed limit. A body must have a declared
 * end (Content-Length or chunked), otherwise a cut one would look complete.
 *
 * A kept-alive connection that the server closed meanwhile fails on its next use. If nothing of an
 * answer was read, the request is sent once more on a fresh connection; libcurl does it for most
 * cases, we do it for the rest. It may then be executed twice. A request for which that is not the
 * same as once is marked `once`, and its second attempt is stopped before anything is sent.
 */
#include "backends/http.h"

#include "backends/http_addr.h"
#include "backends/http_body.h"
#include "backends/http_easy.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/os_loop.h"
#include "base/sm.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

enum call_state { CALL_QUEUED, CALL_RUNNING, CALL_FINISHED };

static const struct c2_sm_state call_states[] = {
    [CALL_QUEUED] = { "queued", C2_SM_TO(CALL_RUNNING) | C2_SM_TO(CALL_FINISHED) },
    [CALL_RUNNING] = { "running", C2_SM_TO(CALL_FINISHED) },
    [CALL_FINISHED] = { "finished", 0 },
};

struct http_call {
    struct http_pool *pool;
    struct http_req *req; /* the caller's */
    struct c2_sm sm;
    struct c2_link link; /* in pool->queue */
    struct c2_timer deadline;
    struct c2_task finish;
    CURL *easy;               /* owned while running */
    struct curl_slist *lines; /* owned */
    struct http_body reply;
    bool retried;
    unsigned nsent;      /* attempts that got as far as a connection */
    bool error_body_cut; /* the transfer was ended on purpose */
    enum c2_err fault;   /* why a callback of ours stopped the transfer */
    char error_text[CURL_ERROR_SIZE];
};

/* One descriptor of libcurl's. */
struct watched {
    struct c2_fd_watch watch;
    struct http_pool *pool;
    struct c2_link link; /* in pool->watches */
};

struct http_pool {
    struct c2_env *env; /* borrowed */
    struct c2_os *os;   /* borrowed */
    CURLM *multi;
    CURLSH *share;                      /* TLS sessions, so that a new connection resumes one */
    char *ca_file, *proxy, *connect_to; /* owned, the settings' */
    struct http_settings settings;
    struct curl_slist *routes; /* owned: of connect_to */
    struct c2_timer timer;     /* libcurl's */
    struct c2_list queue;
    struct c2_list watches;
    CURL *idle[HTTP_CONNECTIONS_MAX]; /* owned: configured handles */
    size_t nidle;
    size_t nrunning;
    size_t noutstanding; /* not yet done */
};

static void start_queued(struct http_pool *pool);

void
http_req_done(struct http_req *r)
{
    C2_ASSERT(r->call == NULL);
    http_head_done(&r->head);
    c2_blob_unref(r->reply);
    r->reply = NULL;
    c2_buf_done(&r->error_body);
}

/* ---- the end of a request ---- */

static void
run_finish(struct c2_task *t)
{
    struct http_call *call = C2_CONTAINER_OF(t, struct http_call, finish);
    struct http_req *r = call->req;
    C2_ASSERT(call->sm.state == CALL_FINISHED && call->easy == NULL);
    call->pool->noutstanding--;
    curl_slist_free_all(call->lines);
    http_body_done(&call->reply);
    c2_free(call);
    r->call = NULL;
    r->done(r);
}

static void
finish(struct http_call *call, enum c2_err err)
{
    c2_sm_go(&call->sm, CALL_FINISHED);
    c2_timer_stop(call->pool->env, &call->deadline);
    call->req->err = err;
    c2_defer(call->pool->env, &call->finish);
}

static void
set_detail(struct http_call *call, const char *text)
{
    http_sanitise(c2_slice_str(text), call->req->detail, sizeof(call->req->detail));
}

/* Takes the easy handle back; libcurl closes the connection unless the answer was complete. */
static void
release_easy(struct http_call *call)
{
    struct http_pool *pool = call->pool;
    C2_ASSERT(call->easy != NULL && pool->nrunning > 0);
    curl_multi_remove_handle(pool->multi, call->easy);
    curl_easy_setopt(call->easy, CURLOPT_ERRORBUFFER, NULL); /* it is the call's */
    pool->nrunning--;
    pool->idle[pool->nidle++] = call->easy;
    call->easy = NULL;
}

/* Ends a request that has no answer: canceled or too late. */
static void
abort_call(struct http_call *call, enum c2_err err, const char *detail)
{
    struct http_pool *pool = call->pool;
    set_detail(call, detail);
    if (call->sm.state == CALL_QUEUED)
        c2_list_remove(&pool->queue, &call->link);
    else
        release_easy(call);
    finish(call, err);
    start_queued(pool);
}

static void
deadline_passed(struct c2_timer *t)
{
    struct http_call *call = C2_CONTAINER_OF(t, struct http_call, deadline);
    abort_call(call, C2_E_TIMEOUT,
               call->sm.state == CALL_QUEUED ? "no free connection before the deadline"
                                             : "no complete answer before the deadline");
}

/* ---- what libcurl found out ---- */

static bool
body_end_is_declared(const struct http_call *call)
{
    const struct http_head *h = &call->req->head;
    const char *coding = http_head_get(h, "transfer-encoding");
    return call->req->method == HTTP_HEAD || h->status == 204 ||
           http_head_get(h, "content-length") != NULL ||
           (coding != NULL && strcasecmp(coding, "chunked") == 0);
}

static void
answer_complete(struct http_call *call)
{
    struct http_req *r = call->req;
    if (r->head.status / 100 == 2) {
        if (!body_end_is_declared(call)) {
            set_detail(call, "answer without Content-Length");
            finish(call, C2_E_PROTOCOL);
            return;
        }
        r->reply = http_body_take(&call->reply);
    }
    finish(call, C2_E_OK);
}

/* A kept-alive connection that was dead when the request was sent on it. */
static bool
is_dead_connection(struct http_call *call, CURLcode code)
{
    long connects = 1;
    curl_easy_getinfo(call->easy, CURLINFO_NUM_CONNECTS, &connects);
    bool lost = code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING;
    return lost && connects == 0 && call->req->head.bytes == 0 && !call->retried &&
           !call->req->once;
}

static void
send_again(struct http_call *call)
{
    struct http_pool *pool = call->pool;
    C2_MARK("http: request repeated after a dead connection");
    call->retried = true;
    call->error_text[0] = '\0';
    curl_multi_remove_handle(pool->multi, call->easy);
    curl_easy_setopt(call->easy, CURLOPT_FRESH_CONNECT, 1L);
    CURLMcode mc = curl_multi_add_handle(pool->multi, call->easy);
    C2_ASSERT(mc == CURLM_OK);
}

static void
transfer_ended(struct http_call *call, CURLcode code)
{
    if (is_dead_connection(call, code)) {
        send_again(call);
        return;
    }
    release_easy(call);
    if (code == CURLE_OK || call->error_body_cut) {
        answer_complete(call);
    } else if (call->fault != C2_E_OK) {
        finish(call, call->fault); /* detail is set */
    } else {
        const char *text =
            call->error_text[0] != '\0' ? call->error_text : curl_easy_strerror(code);
        set_detail(call, text);
        finish(call, http_easy_error(code, text));
    }
}

static void
collect_ended(struct http_pool *pool)
{
    CURLMsg *msg;
    int nleft;
    while ((msg = curl_multi_info_read(pool->multi, &nleft)) != NULL) {
        if (msg->msg != CURLMSG_DONE)
            continue;
        CURLcode code = msg->data.result; /* msg dies with the handle's removal */
        char *call = NULL;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &call);
        transfer_ended((struct http_call *)(void *)call, code);
    }
    start_queued(pool);
}

/* ---- callbacks of libcurl during a transfer ---- */

static size_t
stop_transfer(struct http_call *call, enum c2_err fault, const char *detail)
{
    call->fault = fault;
    set_detail(call, detail);
    return 0;
}

static size_t
on_header(char *data, size_t size, size_t count, void *arg)
{
    struct http_call *call = arg;
    size_t len = size * count;
    if (http_head_line(&call->req->head, c2_slice(data, len)) != C2_E_OK)
        return stop_transfer(call, C2_E_PROTOCOL, "malformed or too many headers");
    return len;
}

static size_t
on_error_body(struct http_call *call, const char *data, size_t len)
{
    struct c2_buf *body = &call->req->error_body;
    size_t take = C2_MIN(len, HTTP_ERROR_BODY_MAX - body->len);
    c2_buf_append(body, data, take);
    call->error_body_cut = take < len;
    return take;
}

static size_t
on_body(char *data, size_t size, size_t count, void *arg)
{
    struct http_call *call = arg;
    size_t len = size * count;
    if (call->req->head.status / 100 != 2)
        return on_error_body(call, data, len);
    curl_off_t declared = 0;
    curl_easy_getinfo(call->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &declared);
    if (http_body_append(&call->reply, c2_slice(data, len), (uint64_t)C2_MAX(declared, 0),
                         call->req->reply_len_max) != C2_E_OK)
        return stop_transfer(call, C2_E_TOO_LARGE, "answer is longer than its limit");
    return len;
}

/* With settings.tls_info only. */
static int
on_trace(CURL *easy, curl_infotype type, char *data, size_t size, void *arg)
{
    static const char using[] = "SSL connection using ";
    struct http_call *call = arg;
    (void)easy;
    size_t skip = sizeof(using) - 1;
    if (size > 0 && data[size - 1] == '\n')
        size--;
    if (type == CURLINFO_TEXT && size > skip && memcmp(data, using, skip) == 0)
        http_sanitise(c2_slice(data + skip, size - skip), call->req->tls, sizeof(call->req->tls));
    return 0;
}

/*
 * Runs when the connection stands and before anything is sent: whatever the name resolves to, no
 * request leaves this host in plain text by accident, and none reaches a cloud's metadata service.
 */
static int
on_connected(void *arg, char *ip, char *local_ip, int port, int local_port)
{
    (void)local_ip;
    (void)port;
    (void)local_port;
    struct http_call *call = arg;
    char text[160];
    bool plain = strncmp(call->req->url, "http:", 5) == 0;
    if (call->nsent++ > 0 && call->req->once) {
        C2_MARK("http: repetition prevented");
        stop_transfer(call, C2_E_UNREACHABLE, "connection lost before the answer");
        return CURL_PREREQFUNC_ABORT;
    }
    if (http_addr_is_link_local(ip)) {
        snprintf(text, sizeof(text), "%s is a link-local address, refused", ip);
    } else if (plain && call->pool->settings.plain != HTTP_PLAIN_ANY &&
               !http_addr_is_loopback(ip)) {
        snprintf(text, sizeof(text),
                 "plain http:// to %s refused: use https:// or set insecure_http = yes", ip);
    } else {
        return CURL_PREREQFUNC_OK;
    }
    stop_transfer(call, C2_E_CONFIG, text);
    return CURL_PREREQFUNC_ABORT;
}

/* ---- libcurl on our loop ---- */

static void
drive(struct http_pool *pool, curl_socket_t fd, int mask)
{
    int nrunning;
    CURLMcode mc = curl_multi_socket_action(pool->multi, fd, mask, &nrunning);
    if (mc != CURLM_OK)
        c2_log(DEBUG, "http", "libcurl=\"%s\"", curl_multi_strerror(mc));
    collect_ended(pool);
}

static void
on_timer(struct c2_timer *t)
{
    struct http_pool *pool = C2_CONTAINER_OF(t, struct http_pool, timer);
    drive(pool, CURL_SOCKET_TIMEOUT, 0);
}

static void
on_ready(struct c2_fd_watch *w, unsigned events)
{
    struct watched *watched = C2_CONTAINER_OF(w, struct watched, watch);
    int mask = 0;
    if ((events & C2_FD_IN) != 0)
        mask |= CURL_CSELECT_IN;
    if ((events & C2_FD_OUT) != 0)
        mask |= CURL_CSELECT_OUT;
    drive(watched->pool, w->fd, mask); /* may free watched */
}

static int
on_timer_wish(CURLM *multi, long timeout_ms, void *arg)
{
    (void)multi;
    struct http_pool *pool = arg;
    if (timeout_ms < 0)
        c2_timer_stop(pool->env, &pool->timer);
    else
        c2_timer_arm(pool->env, &pool->timer,
                     c2_now_ns(pool->env) + (uint64_t)timeout_ms * C2_NS_PER_MS);
    return 0;
}

static int
on_socket_wish(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    (void)easy;
    struct http_pool *pool = arg;
    struct watched *w = socket_arg;
    if (what == CURL_POLL_REMOVE) {
        if (w != NULL) {
            c2_os_unwatch(pool->os, &w->watch);
            c2_list_remove(&pool->watches, &w->link);
            curl_multi_assign(pool->multi, fd, NULL);
            c2_free(w);
        }
        return 0;
    }
    if (w == NULL) {
        w = c2_calloc(1, sizeof(*w));
        w->pool = pool;
        w->watch.fd = fd;
        w->watch.ready = on_ready;
        c2_list_append(&pool->watches, &w->link);
        curl_multi_assign(pool->multi, fd, w);
    }
    w->watch.events = 0;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        w->watch.events |= C2_FD_IN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        w->watch.events |= C2_FD_OUT;
    return c2_os_watch(pool->os, &w->watch) == C2_E_OK ? 0 : -1;
}

/* ---- the start of a request ---- */

static CURL *
new_easy(struct http_pool *pool)
{
    CURL *easy = http_easy_new(&pool->settings, pool->share);
    HTTP_EASY_SET(easy, CURLOPT_HEADERFUNCTION, on_header);
    HTTP_EASY_SET(easy, CURLOPT_WRITEFUNCTION, on_body);
    HTTP_EASY_SET(easy, CURLOPT_PREREQFUNCTION, on_connected);
    HTTP_EASY_SET(easy, CURLOPT_DEBUGFUNCTION, on_trace);
    return easy;
}

static void
build_lines(struct http_call *call)
{
    const struct http_req *r = call->req;
    /* "Name:" makes libcurl leave a header out that it would send on its own. */
    struct curl_slist *lines = curl_slist_append(NULL, "Expect:");
    C2_ASSERT(lines != NULL);
    for (size_t i = 0; i < r->nheaders; i++) {
        lines = curl_slist_append(lines, r->header[i]);
        C2_ASSERT(lines != NULL);
    }
    call->lines = lines;
}

static void
start_call(struct http_call *call)
{
    struct http_pool *pool = call->pool;
    c2_list_remove(&pool->queue, &call->link);
    c2_sm_go(&call->sm, CALL_RUNNING);
    CURL *easy = pool->nidle > 0 ? pool->idle[--pool->nidle] : new_easy(pool);
    call->easy = easy;
    pool->nrunning++;
    build_lines(call);
    http_easy_method(easy, call->req);
    HTTP_EASY_SET(easy, CURLOPT_URL, call->req->url);
    HTTP_EASY_SET(easy, CURLOPT_CONNECT_TO, pool->routes);
    HTTP_EASY_SET(easy, CURLOPT_HTTPHEADER, call->lines);
    HTTP_EASY_SET(easy, CURLOPT_FRESH_CONNECT, 0L);
    HTTP_EASY_SET(easy, CURLOPT_ERRORBUFFER, call->error_text);
    HTTP_EASY_SET(easy, CURLOPT_HEADERDATA, call);
    HTTP_EASY_SET(easy, CURLOPT_WRITEDATA, call);
    HTTP_EASY_SET(easy, CURLOPT_PREREQDATA, call);
    HTTP_EASY_SET(easy, CURLOPT_DEBUGDATA, call);
    HTTP_EASY_SET(easy, CURLOPT_PRIVATE, call);
    CURLMcode mc = curl_multi_add_handle(pool->multi, easy);
    C2_ASSERT(mc == CURLM_OK);
}

static void
start_queued(struct http_pool *pool)
{
    while (pool->nrunning < pool->settings.connections && !c2_list_empty(&pool->queue))
        start_call(C2_LIST_FIRST(&pool->queue, struct http_call, link));
}

void
http_submit(struct http_pool *pool, struct http_req *r)
{
    C2_ASSERT(r->call == NULL && r->done != NULL);
    C2_ASSERT(r->nheaders <= HTTP_HEADER_LINES_MAX);
    struct http_call *call = c2_calloc(1, sizeof(*call));
    call->pool = pool;
    call->req = r;
    call->finish.run = run_finish;
    call->deadline.fire = deadline_passed;
    c2_sm_init(&call->sm, call_states, CALL_QUEUED);
    r->call = call;
    r->err = C2_E_OK;
    r->detail[0] = r->tls[0] = '\0';
    pool->noutstanding++;
    c2_list_append(&pool->queue, &call->link);
    if (r->deadline_ns != C2_NEVER)
        c2_timer_arm(pool->env, &call->deadline, r->deadline_ns);
    start_queued(pool);
}

void
http_cancel(struct http_pool *pool, struct http_req *r)
{
    struct http_call *call = r->call;
    C2_ASSERT(call != NULL && call->pool == pool);
    if (call->sm.state != CALL_FINISHED)
        abort_call(call, C2_E_CANCELED, "canceled");
}

/* ---- the pool ---- */

static char *
copy(const char *text)
{
    return text != NULL ? c2_strdup(text) : NULL;
}

struct http_pool *
http_pool_new(struct c2_env *env, struct c2_os *os, const struct http_settings *settings)
{
    C2_ASSERT(settings->connections >= 1 && settings->connections <= HTTP_CONNECTIONS_MAX);
    /* Counted and thread-safe in libcurl; each pool takes one reference. */
    CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
    C2_ASSERT(code == CURLE_OK);
    struct http_pool *pool = c2_calloc(1, sizeof(*pool));
    pool->env = env;
    pool->os = os;
    pool->settings = *settings;
    pool->settings.ca_file = pool->ca_file = copy(settings->ca_file);
    pool->settings.proxy = pool->proxy = copy(settings->proxy);
    pool->settings.connect_to = pool->connect_to = copy(settings->connect_to);
    if (pool->connect_to != NULL) {
        pool->routes = curl_slist_append(NULL, pool->connect_to);
        C2_ASSERT(pool->routes != NULL);
    }
    pool->timer.fire = on_timer;
    c2_list_init(&pool->queue);
    c2_list_init(&pool->watches);
    pool->share = curl_share_init();
    pool->multi = curl_multi_init();
    C2_ASSERT(pool->share != NULL && pool->multi != NULL);
    curl_share_setopt(pool->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    curl_multi_setopt(pool->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wish);
    curl_multi_setopt(pool->multi, CURLMOPT_SOCKETDATA, pool);
    curl_multi_setopt(pool->multi, CURLMOPT_TIMERFUNCTION, on_timer_wish);
    curl_multi_setopt(pool->multi, CURLMOPT_TIMERDATA, pool);
    curl_multi_setopt(pool->multi, CURLMOPT_MAXCONNECTS, (long)settings->connections);
    return pool;
}

void
http_pool_free(struct http_pool *pool)
{
    if (pool == NULL)
        return;
    C2_ASSERT(pool->noutstanding == 0 && pool->nrunning == 0);
    for (size_t i = 0; i < pool->nidle; i++)
        curl_easy_cleanup(pool->idle[i]);
    curl_multi_cleanup(pool->multi); /* closes the kept connections: descriptors are unwatched */
    curl_share_cleanup(pool->share);
    c2_timer_stop(pool->env, &pool->timer);
    C2_LIST_FOREACH (&pool->watches, struct watched, w, link) {
        c2_os_unwatch(pool->os, &w->watch);
        c2_list_remove(&pool->watches, &w->link);
        c2_free(w);
    }
    curl_global_cleanup();
    curl_slist_free_all(pool->routes);
    c2_free(pool->ca_file);
    c2_free(pool->proxy);
    c2_free(pool->connect_to);
    c2_free(pool);
}
