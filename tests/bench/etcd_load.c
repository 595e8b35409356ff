/* SPDX-License-Identifier: MIT */
/*
 * etcd_load PORT put|get OPS [CONNECTIONS [DEPTH [KEYS]]]
 *
 * The load of tests/helpers/kvload on an etcd that listens on this port of the loopback device, so
 * that both can be compared: the same keys, values of 256 bytes, and DEPTH requests under way on
 * each of CONNECTIONS connections. It speaks etcd's own interface (gRPC: protobuf in HTTP/2 over
 * TLS), gets are linearizable. Prints "ops=N errors=N seconds=S per_second=R p50_us=L p99_us=L";
 * exit code 1 when a request failed.
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
#include <time.h>

#define VALUE_LEN       256
#define MESSAGE_MAX     (VALUE_LEN + 128)
#define CONNECTIONS_MAX 64
#define DEPTH_MAX       1024

struct load {
    char url[96];
    bool reads;
    uint64_t ops, keys;
    unsigned depth;
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

static bool
begin_next(CURLM *multi, struct stream *s, uint64_t *seed)
{
    uint64_t number = atomic_fetch_add(&s->load->begun, 1);
    if (number >= s->load->ops)
        return false;
    *seed = *seed * 6364136223846793005 + 1442695040888963407;
    size_t len = encode(s, number, *seed >> 33);
    s->answer_len = 0;
    s->status_ok = false;
    s->begin_ns = now_ns();
    curl_easy_setopt(s->curl, CURLOPT_POSTFIELDS, s->message);
    curl_easy_setopt(s->curl, CURLOPT_POSTFIELDSIZE, (long)len);
    return curl_multi_add_handle(multi, s->curl) == CURLM_OK;
}

static void
end_one(struct stream *s, CURLcode code)
{
    struct load *l = s->load;
    if (code != CURLE_OK || !s->status_ok || s->answer_len < 5)
        atomic_fetch_add(&l->errors, 1);
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
static void *
run_connection(void *priv)
{
    struct load *l = priv;
    CURLM *multi = curl_multi_init();
    struct stream *streams = calloc(l->depth, sizeof *streams);
    uint64_t seed = now_ns();
    unsigned under_way = 0;
    int running, left;
    if (multi == NULL || streams == NULL)
        abort();
    curl_multi_setopt(multi, CURLMOPT_MAX_HOST_CONNECTIONS, 1L);
    for (unsigned i = 0; i < l->depth; i++) {
        stream_init(&streams[i], l);
        under_way += begin_next(multi, &streams[i], &seed);
    }
    while (under_way > 0) {
        curl_multi_perform(multi, &running);
        for (CURLMsg *m; (m = curl_multi_info_read(multi, &left)) != NULL;) {
            struct stream *s;
            CURLcode code = m->data.result;
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&s);
            curl_multi_remove_handle(multi, s->curl);
            end_one(s, code);
            under_way -= !begin_next(multi, s, &seed);
        }
        if (under_way > 0)
            curl_multi_poll(multi, NULL, 0, 1000, NULL);
    }
    for (unsigned i = 0; i < l->depth; i++)
        curl_easy_cleanup(streams[i].curl);
    curl_multi_cleanup(multi);
    free(streams);
    return NULL;
}

static int
by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t
number(int argc, char **argv, int at, uint64_t otherwise)
{
    return argc > at ? strtoull(argv[at], NULL, 10) : otherwise;
}

int
main(int argc, char **argv)
{
    struct load l = { .depth = (unsigned)number(argc, argv, 5, 1) };
    unsigned connections = (unsigned)number(argc, argv, 4, 1);
    pthread_t threads[CONNECTIONS_MAX];
    l.ops = number(argc, argv, 3, 0);
    l.keys = number(argc, argv, 6, 1000);
    if (argc < 4 || l.ops == 0 || l.keys == 0 || connections == 0 ||
        connections > CONNECTIONS_MAX || l.depth == 0 || l.depth > DEPTH_MAX) {
        fprintf(stderr, "usage: etcd_load PORT put|get OPS [CONNECTIONS [DEPTH [KEYS]]]\n");
        return 2;
    }
    l.reads = strcmp(argv[2], "get") == 0;
    snprintf(l.url, sizeof l.url, "https://127.0.0.1:%" PRIu64 "/etcdserverpb.KV/%s",
             number(argc, argv, 1, 0), l.reads ? "Range" : "Put");
    l.latency_us = calloc(l.ops, sizeof *l.latency_us);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    l.headers = curl_slist_append(NULL, "content-type: application/grpc");
    l.headers = curl_slist_append(l.headers, "te: trailers");
    if (l.latency_us == NULL || l.headers == NULL)
        abort();
    uint64_t from_ns = now_ns();
    for (unsigned i = 0; i < connections; i++)
        if (pthread_create(&threads[i], NULL, run_connection, &l) != 0)
            abort();
    for (unsigned i = 0; i < connections; i++)
        pthread_join(threads[i], NULL);
    double seconds = (double)(now_ns() - from_ns) / 1e9;
    qsort(l.latency_us, l.ops, sizeof *l.latency_us, by_size);
    printf("ops=%" PRIu64 " errors=%" PRIuFAST64 " seconds=%.3f per_second=%.0f p50_us=%" PRIu64
           " p99_us=%" PRIu64 "\n",
           l.ops, l.errors, seconds, (double)l.ops / seconds, l.latency_us[l.ops / 2],
           l.latency_us[l.ops * 99 / 100]);
    curl_slist_free_all(l.headers);
    curl_global_cleanup();
    free(l.latency_us);
    return l.errors == 0 ? 0 : 1;
}
