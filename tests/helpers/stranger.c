/* SPDX-License-Identifier: MIT */
/*
 * stranger KIND ADDRESS...
 *
 * Somebody whom nobody has admitted, at the replicas' addresses:
 *
 *   silent     connections that say nothing, garbage, a TLS record that says it is huge, or half a
 *              hello; most stay open
 *   hello      the same valid hello again and again: it costs the sender nothing and the replica
 *              a signature; the answer is not waited for longer than it takes
 *   handshake  whole handshakes with a key of its own; the connections stay open for a while
 *
 * Every quarter of a second it prints "connected=N bytes=N answers=N". Ends when it is killed.
 */
#include <inttypes.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/os_tls.h"
#include "metadata/node.h"

#define ADDRESSES_MAX 16
#define THREADS       2  /* for each address */
#define KEPT          64 /* connections of a thread that stay open */
#define HELLO_MAX     4096
#define GARBAGE       65536

static const uint8_t huge_record[5] = { 0x16, 3, 1, 0xff, 0xff };

struct stranger;

struct crowd {
    void (*act)(struct stranger *s, int fd);
    struct c2_tls_context *tls;
    uint8_t hello[HELLO_MAX], garbage[GARBAGE];
    size_t hello_len;
    _Atomic uint64_t connected, bytes, answers;
};

struct stranger {
    struct crowd *crowd;
    struct sockaddr_in to;
    struct kept {
        int fd;
        struct c2_tls *tls;
    } kept[KEPT];
    uint64_t made;
};

/* ---- connections ----------------------------------------------------------------------------- */

static int
connect_to(const struct sockaddr_in *to)
{
    const struct timeval patience = { .tv_sec = 2 };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (const struct sockaddr *)to, sizeof *to) == 0)
        return fd;
    close(fd);
    return -1;
}

/* The port is free again at once. */
static void
break_off(int fd)
{
    const struct linger now = { .l_onoff = 1 };
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

static void
keep(struct stranger *s, int fd, struct c2_tls *tls)
{
    struct kept *k = &s->kept[s->made++ % KEPT];
    c2_tls_free(k->tls);
    if (k->fd >= 0)
        break_off(k->fd);
    k->fd = fd;
    k->tls = tls;
}

static void
say(struct stranger *s, int fd, const void *data, size_t len)
{
    ssize_t n = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0)
        s->crowd->bytes += (uint64_t)n;
}

/* ---- what they do ---------------------------------------------------------------------------- */

static void
half_open(struct stranger *s, int fd)
{
    const uint8_t *garbage = s->crowd->garbage;
    switch (s->made % 4) {
    case 0:
        break;
    case 1:
        say(s, fd, garbage, GARBAGE);
        break;
    case 2:
        say(s, fd, garbage + sizeof huge_record, HELLO_MAX);
        break;
    default:
        say(s, fd, s->crowd->hello, s->crowd->hello_len / 2);
        break;
    }
    keep(s, fd, NULL);
}

static void
only_hello(struct stranger *s, int fd)
{
    uint8_t answer[1];
    say(s, fd, s->crowd->hello, s->crowd->hello_len);
    if (recv(fd, answer, sizeof answer, 0) > 0)
        s->crowd->answers++;
    break_off(fd);
}

static void
shake_hands(struct stranger *s, int fd)
{
    unsigned events;
    struct c2_tls *tls = c2_tls_new(s->crowd->tls, fd, true, NULL);
    enum c2_err err = c2_tls_handshake(tls, &events);
    if (err == C2_E_OK)
        s->crowd->answers++;
    keep(s, fd, tls);
}

/* Once. */
static void
be_strange(struct stranger *s)
{
    int fd = connect_to(&s->to);
    if (fd < 0) {
        const struct timespec rest = { .tv_nsec = 1000000 };
        nanosleep(&rest, NULL);
        return;
    }
    s->crowd->connected++;
    s->crowd->act(s, fd);
}

static void *
run(void *arg)
{
    struct stranger *s = arg;
    while (s->crowd->act != NULL)
        be_strange(s);
    return NULL;
}

/* ---- the program ----------------------------------------------------------------------------- */

/* What OpenSSL says first, taken from the other end of a pair. */
static bool
record_hello(struct crowd *c)
{
    int pair[2];
    unsigned events;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
        return false;
    struct c2_tls *tls = c2_tls_new(c->tls, pair[0], true, NULL);
    bool waits = c2_tls_handshake(tls, &events) == C2_E_AGAIN;
    ssize_t n = recv(pair[1], c->hello, sizeof c->hello, 0);
    c->hello_len = n > 0 ? (size_t)n : 0;
    c2_tls_free(tls);
    close(pair[0]);
    close(pair[1]);
    return waits && c->hello_len > 0;
}

static bool
parse_address(const char *text, struct sockaddr_in *ret)
{
    const char *colon = strrchr(text, ':');
    unsigned long port = colon == NULL ? 0 : strtoul(colon + 1, NULL, 10);
    *ret = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    ret->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return port > 0 && port <= UINT16_MAX;
}

static void (*find_act(const char *kind))(struct stranger *s, int fd)
{
    static const struct {
        const char *kind;
        void (*act)(struct stranger *s, int fd);
    } acts[] = { { "silent", half_open }, { "hello", only_hello }, { "handshake", shake_hands } };
    for (size_t i = 0; i < C2_ARRAY_LEN(acts); i++) {
        if (strcmp(acts[i].kind, kind) == 0)
            return acts[i].act;
    }
    return NULL;
}

static bool
begin(struct crowd *c, const char *address)
{
    for (unsigned i = 0; i < THREADS; i++) {
        struct stranger *s = c2_calloc(1, sizeof *s);
        pthread_t thread;
        s->crowd = c;
        for (unsigned k = 0; k < KEPT; k++)
            s->kept[k].fd = -1;
        if (!parse_address(address, &s->to) || pthread_create(&thread, NULL, run, s) != 0)
            return false;
    }
    return true;
}

int
main(int argc, char **argv)
{
    const struct timespec quarter = { .tv_nsec = 250000000 };
    uint8_t seed[32], secret[C2_ED25519_SECRET_LEN], key[C2_ED25519_PUBLIC_LEN];
    struct crowd *c = c2_calloc(1, sizeof *c);
    c->act = argc < 2 ? NULL : find_act(argv[1]);
    if (c->act == NULL || argc < 3 || argc > 2 + ADDRESSES_MAX) {
        fprintf(stderr, "usage: stranger silent|hello|handshake ADDRESS...\n");
        return 2;
    }
    if (c2_crypto_init() != C2_E_OK)
        return 2;
    c2_random_bytes(c->garbage, sizeof c->garbage);
    memcpy(c->garbage, huge_record, sizeof huge_record);
    c2_random_bytes(seed, sizeof seed);
    c2_ed25519_keypair(seed, secret, key);
    if (c2_tls_context_new(secret, NODE_PROTOCOL, &c->tls) != C2_E_OK || !record_hello(c))
        return 2;
    for (int i = 2; i < argc; i++) {
        if (!begin(c, argv[i]))
            return 2;
    }
    for (;;) {
        printf("connected=%" PRIu64 " bytes=%" PRIu64 " answers=%" PRIu64 "\n", c->connected,
               c->bytes, c->answers);
        (void)fflush(stdout);
        nanosleep(&quarter, NULL);
    }
}
