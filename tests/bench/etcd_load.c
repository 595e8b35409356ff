/* SPDX-License-Identifier: MIT */
/*
 * etcd_load PORT put|get OPS [CONNECTIONS [DEPTH [KEYS [RATE]]]]
 *
 * The load of tests/helpers/kvload and bft_load on an etcd that listens on this port of the
 * loopback device, so that both can be compared: the same keys, values of 256 bytes, and DEPTH
 * requests under way on each of CONNECTIONS connections. With RATE the connections offer so many
 * requests per second together, evenly, however long the answers take (as far as DEPTH allows);
 * latencies count from the moment when a request was due. It speaks etcd's own interface (gRPC:
 * protobuf in HTTP/2 over TLS), gets are linearizable. The clock starts when every connection has
 * had an answer. Prints "ops=N errors=N seconds=S per_second=R p50_us=L p95_us=L p99_us=L"; exit
 * code 1 when a request failed.
 */
#include <curl/curl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include "tests/lib/load_report.h"

#define VALUE_LEN       256
#define MESSAGE_MAX     (VALUE_LEN + 128)
#define CONNECTIONS_MAX 256
#define DEPTH_MAX       1024

struct load {
    char url[96];
    bool reads;
    uint64_t ops, keys, rate; /* per second; 0 = no pace */
    unsigned depth, connections;
    uint64_t from_ns;
    pthread_barrier_t ready, go;
    atomic_uint_fast64_t begun, ended, errors;
    uint64_t *latency_us;
    struct curl_slist *headers;
};

/* A request that is sent again and again with another key. */
struct stream {
    struct load *load;
    CURL *curl;
    uint64_t begin_ns;
    size_t answer_len;
    bool status_ok;
    uint8_t message[MESSAGE_MAX];
};

static uint64_t
now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* A length-delimited field of a protobuf message; returns its end. */
static uint8_t *
put_field(uint8_t *at, unsigned field, const void *data, size_t len)
{
    *at++ = (uint8_t)(field << 3 | 2);
    if (len >= 0x80)
        *at++ = (uint8_t)(len | 0x80);
    *at++ = (uint8_t)(len >= 0x80 ? len >> 7 : len);
    memcpy(at, data, len);
    return at + len;
}

/* PutRequest { key = 1, value = 2 } or RangeRequest { key = 1 } behind gRPC's five-byte prefix. */
static size_t
encode(struct stream *s, uint64_t number, uint64_t random)
{
    char key[48], value[VALUE_LEN + 1];
    int key_len = snprintf(key, sizeof key, "load/%" PRIu64, random % s->load->keys);
    uint8_t *at = put_field(s->message + 5, 1, key, (size_t)key_len);
    if (!s->load->reads) {
        memset(value, '.', sizeof value);
        int len = snprintf(value, sizeof value, "v%" PRIu64, number);
        value[len] = '.';
        at = put_field(at, 2, value, VALUE_LEN);
    }
    size_t len = (size_t)(at - s->message);
    memset(s->message, 0, 3);
    s->message[3] = (uint8_t)((len - 5) >> 8);
    s->message[4] = (uint8_t)(len - 5);
    return len;
}

static size_t
take_answer(char *data, size_t size, size_t n, void *priv)
{
    struct stream *s = priv;
    (void)data;
    s->answer_len += size * n;
    return size * n;
}

/* The outcome stands in a trailer. */
static size_t
take_header(char *data, size_t size, size_t n, void *priv)
{
    static const char ok[] = "grpc-status: 0";
    struct stream *s = priv;
    if (size * n >= sizeof ok - 1 && memcmp(data, ok, sizeof ok - 1) == 0)
        s->status_ok = true;
    return size * n;
}

static void
begin(CURLM *multi, struct stream *s, uint64_t number, uint64_t *seed)
{
    *seed = *seed * 6364136223846793005 + 1442695040888963407;
    size_t len = encode(s, number, *seed >> 33);
    s->answer_len = 0;
    s->status_ok = false;
    curl_easy_setopt(s->curl, CURLOPT_POSTFIELDS, s->message);
    curl_easy_setopt(s->curl, CURLOPT_POSTFIELDSIZE, (long)len);
    if (curl_multi_add_handle(multi, s->curl) != CURLM_OK)
        abort();
}

static void
end_one(struct stream *s, CURLcode code)
{
    struct load *l = s->load;
    if (code != CURLE_OK || !s->status_ok || s->answer_len < 5)
        atomic_fetch_add(&l->errors, 1);
    if (s->begin_ns != 0)
        l->latency_us[atomic_fetch_add(&l->ended, 1)] = (now_ns() - s->begin_ns) / 1000;
}

static void
stream_init(struct stream *s, struct load *l)
{
    s->load = l;
    s->curl = curl_easy_init();
    curl_easy_setopt(s->curl, CURLOPT_URL, l->url);
    curl_easy_setopt(s->curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2_0);
    curl_easy_setopt(s->curl, CURLOPT_PIPEWAIT, 1L);
    /* etcd --auto-tls signs its certificate itself, and only numbers are carried. */
    curl_easy_setopt(s->curl, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(s->curl, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(s->curl, CURLOPT_HTTPHEADER, l->headers);
    curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, take_answer);
    curl_easy_setopt(s->curl, CURLOPT_WRITEDATA, s);
    curl_easy_setopt(s->curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(s->curl, CURLOPT_HEADERDATA, s);
    curl_easy_setopt(s->curl, CURLOPT_PRIVATE, s);
}

/* One connection: curl shares a connection within a multi handle only. */
struct connection {
    struct load *load;
    pthread_t thread;
    CURLM *multi;
    struct stream *streams, **idle;
    uint64_t seed, next;
    unsigned index, nidle;
    int timer; /* tells when the next one is due */
    bool over; /* nothing is left to begin */
};

/* Whether another request may begin, and since when it is due. */
static bool
next_due(struct connection *c, uint64_t *ret_number, uint64_t *ret_due_ns)
{
    struct load *l = c->load;
    *ret_number = l->rate == 0 ? atomic_fetch_add(&l->begun, 1) : c->next;
    c->over = *ret_number >= l->ops;
    *ret_due_ns = now_ns();
    if (c->over || l->rate == 0)
        return !c->over;
    uint64_t due_ns = l->from_ns + *ret_number * 1000000000 / l->rate;
    if (due_ns > *ret_due_ns) {
        struct itimerspec at = { .it_value.tv_sec = (time_t)(due_ns / 1000000000) };
        at.it_value.tv_nsec = (long)(due_ns % 1000000000);
        timerfd_settime(c->timer, TFD_TIMER_ABSTIME, &at, NULL);
        return false;
    }
    *ret_due_ns = due_ns;
    c->next += l->connections;
    return true;
}

static void
wait_and_end(struct connection *c)
{
    struct curl_waitfd timer = { .fd = c->timer, .events = CURL_WAIT_POLLIN };
    uint64_t expired;
    int running, left;
    curl_multi_perform(c->multi, &running);
    if ((unsigned)running == c->load->depth - c->nidle) { /* else one is over: no event follows */
        curl_multi_poll(c->multi, &timer, 1, 1000, NULL);
        if (timer.revents != 0 && read(c->timer, &expired, sizeof expired) < 0)
            abort();
        curl_multi_perform(c->multi, &running);
    }
    for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &left)) != NULL;) {
        struct stream *s;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&s);
        curl_multi_remove_handle(c->multi, s->curl);
        end_one(s, code);
        c->idle[c->nidle++] = s;
    }
}

static void
wait_for_all(struct connection *c)
{
    while (c->nidle < c->load->depth)
        wait_and_end(c);
}

static void
begin_what_is_due(struct connection *c)
{
    uint64_t number, due_ns;
    while (c->nidle > 0 && !c->over && next_due(c, &number, &due_ns)) {
        struct stream *s = c->idle[--c->nidle];
        s->begin_ns = due_ns;
        begin(c->multi, s, number, &c->seed);
    }
}

static void *
run_connection(void *priv)
{
    struct connection *c = priv;
    struct load *l = c->load;
    begin(c->multi, c->idle[--c->nidle], 0, &c->seed);
    wait_for_all(c);
    pthread_barrier_wait(&l->ready);
    pthread_barrier_wait(&l->go);
    while (!c->over) {
        begin_what_is_due(c);
        if (!c->over)
            wait_and_end(c);
    }
    wait_for_all(c);
    return NULL;
}

static void
connection_init(struct connection *c, struct load *l, unsigned index)
{
    c->load = l;
    c->index = index;
    c->next = index;
    c->seed = now_ns() + index;
    c->multi = curl_multi_init();
    c->streams = calloc(l->depth, sizeof *c->streams);
    c->idle = calloc(l->depth, sizeof(struct stream *));
    c->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (c->multi == NULL || c->streams == NULL || c->idle == NULL || c->timer < 0)
        abort();
    curl_multi_setopt(c->multi, CURLMOPT_MAX_HOST_CONNECTIONS, 1L);
    for (unsigned i = 0; i < l->depth; i++) {
        stream_init(&c->streams[i], l);
        c->idle[c->nidle++] = &c->streams[i];
    }
}

static void
connection_done(struct connection *c)
{
    for (unsigned i = 0; i < c->load->depth; i++)
        curl_easy_cleanup(c->streams[i].curl);
    curl_multi_cleanup(c->multi);
    close(c->timer);
    free(c->streams);
    free(c->idle);
}

/* The time it took, from when all were connected. */
static uint64_t
run(struct load *l, struct connection *connections)
{
    for (unsigned i = 0; i < l->connections; i++) {
        connection_init(&connections[i], l, i);
        if (pthread_create(&connections[i].thread, NULL, run_connection, &connections[i]) != 0)
            abort();
    }
    pthread_barrier_wait(&l->ready);
    l->from_ns = now_ns();
    pthread_barrier_wait(&l->go);
    for (unsigned i = 0; i < l->connections; i++)
        pthread_join(connections[i].thread, NULL);
    uint64_t taken_ns = now_ns() - l->from_ns;
    for (unsigned i = 0; i < l->connections; i++)
        connection_done(&connections[i]);
    return taken_ns;
}

static uint64_t
number(int argc, char **argv, int at, uint64_t otherwise)
{
    return argc > at ? strtoull(argv[at], NULL, 10) : otherwise;
}

int
main(int argc, char **argv)
{
    static struct connection connections[CONNECTIONS_MAX];
    struct load l = { .depth = (unsigned)number(argc, argv, 5, 1) };
    l.connections = (unsigned)number(argc, argv, 4, 1);
    l.ops = number(argc, argv, 3, 0);
    l.keys = number(argc, argv, 6, 1000);
    l.rate = number(argc, argv, 7, 0);
    if (argc < 4 || l.ops == 0 || l.keys == 0 || l.connections == 0 ||
        l.connections > CONNECTIONS_MAX || l.depth == 0 || l.depth > DEPTH_MAX) {
        fprintf(stderr, "usage: etcd_load PORT put|get OPS [CONNECTIONS [DEPTH [KEYS [RATE]]]]\n");
        return 2;
    }
    l.reads = strcmp(argv[2], "get") == 0;
    snprintf(l.url, sizeof l.url, "https://127.0.0.1:%" PRIu64 "/etcdserverpb.KV/%s",
             number(argc, argv, 1, 0), l.reads ? "Range" : "Put");
    l.latency_us = calloc(l.ops, sizeof *l.latency_us);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    l.headers = curl_slist_append(NULL, "content-type: application/grpc");
    l.headers = curl_slist_append(l.headers, "te: trailers");
    if (l.latency_us == NULL || l.headers == NULL ||
        pthread_barrier_init(&l.ready, NULL, l.connections + 1) != 0 ||
        pthread_barrier_init(&l.go, NULL, l.connections + 1) != 0)
        abort();
    uint64_t taken_ns = run(&l, connections);
    load_report(l.latency_us, l.ops, l.errors, taken_ns);
    pthread_barrier_destroy(&l.ready);
    pthread_barrier_destroy(&l.go);
    curl_slist_free_all(l.headers);
    curl_global_cleanup();
    free(l.latency_us);
    return l.errors == 0 ? 0 : 1;
}
