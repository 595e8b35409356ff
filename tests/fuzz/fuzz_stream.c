/* SPDX-License-Identifier: MIT */
/*
 * Bytes of a connection, from somebody who was let in: 'F' frames between replicas and clients, in
 * TLS; 'H' a request for metrics. They come in pieces: each is one byte of length and that many
 * bytes.
 *
 * What is delivered is the beginning of what was sent; a request is answered with metrics only when
 * it is one.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os_metrics.h"
#include "base/os_net.h"
#include "base/os_tls.h"
#include "base/wire.h"

#define PROTOCOL  "c2fs-fuzz/1"
#define FRAME_MAX 1000u
#define ANSWER    "HTTP/1.1 "
#define GOOD      ANSWER "200 "
#define REQUEST   "GET /metrics"
#define HEAD_END  "\r\n\r\n"

#define PATIENCE_NS (3600 * C2_NS_PER_S) /* no machine is so slow */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct stream {
    struct c2_os *os;
    struct c2_fd_watch watch; /* of the attacker */
    struct c2_tls *tls;       /* NULL = none */
    enum { HANDSHAKE, WRITING, READING } state;
    struct c2_rd pieces;
    struct c2_slice piece; /* what is left of it */
    struct c2_buf sent, got, answer;
    bool broken; /* the other side did not take everything */
    bool ended;
};

/* ---- the attacker ---------------------------------------------------------------------------- */

static enum c2_err
move(struct stream *s, bool out, void *bytes, size_t len, size_t *ret_len)
{
    unsigned events = out ? C2_FD_OUT : C2_FD_IN;
    enum c2_err err = C2_E_OK;
    if (s->tls != NULL && out) {
        err = c2_tls_write(s->tls, bytes, len, ret_len, &events);
    } else if (s->tls != NULL) {
        err = c2_tls_read(s->tls, bytes, len, ret_len, &events);
    } else {
        ssize_t n = out ? send(s->watch.fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT)
                        : recv(s->watch.fd, bytes, len, MSG_DONTWAIT);
        bool again = n < 0 && (errno == EAGAIN || errno == EINTR);
        err = again ? C2_E_AGAIN : n <= 0 ? C2_E_UNREACHABLE : C2_E_OK;
        *ret_len = n > 0 ? (size_t)n : 0;
    }
    if (err == C2_E_AGAIN)
        s->watch.events = events;
    return err;
}

static enum c2_err
write_on(struct stream *s)
{
    size_t n;
    while (s->piece.len == 0 && c2_rd_left(&s->pieces) > 0 && c2_rd_ok(&s->pieces)) {
        size_t len = c2_rd_u8(&s->pieces);
        s->piece = c2_rd_raw(&s->pieces, C2_MIN(len, c2_rd_left(&s->pieces)));
    }
    if (s->piece.len == 0) {
        (void)shutdown(s->watch.fd, SHUT_WR);
        s->state = READING;
        return C2_E_OK;
    }
    uint8_t *bytes = c2_alloc(s->piece.len);
    memcpy(bytes, s->piece.data, s->piece.len);
    enum c2_err err = move(s, true, bytes, s->piece.len, &n);
    if (err == C2_E_OK) {
        c2_buf_append(&s->sent, bytes, n);
        s->piece = c2_slice(s->piece.data + n, s->piece.len - n);
    } else if (err != C2_E_AGAIN) {
        s->broken = true;
        s->state = READING; /* perhaps there is an answer */
        err = C2_E_OK;
    }
    c2_free(bytes);
    return err;
}

static enum c2_err
read_on(struct stream *s)
{
    uint8_t bytes[512];
    size_t n;
    enum c2_err err = move(s, false, bytes, sizeof bytes, &n);
    if (err == C2_E_OK)
        c2_buf_append(&s->answer, bytes, n);
    return err;
}

static void
attacker_ready(struct c2_fd_watch *w, unsigned events)
{
    struct stream *s = C2_CONTAINER_OF(w, struct stream, watch);
    enum c2_err err = C2_E_OK;
    (void)events;
    while (err == C2_E_OK) {
        if (s->state == HANDSHAKE) {
            err = c2_tls_handshake(s->tls, &s->watch.events);
            s->state = err == C2_E_OK ? WRITING : HANDSHAKE;
        } else {
            err = s->state == WRITING ? write_on(s) : read_on(s);
        }
    }
    if (err == C2_E_AGAIN) {
        C2_ASSERT(c2_os_watch(s->os, w) == C2_E_OK);
        return;
    }
    c2_os_unwatch(s->os, w);
    s->ended = true;
}

static void
attack(struct stream *s, const struct sockaddr *to, socklen_t len)
{
    int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    C2_ASSERT(fd >= 0 && connect(fd, to, len) == 0);
    C2_ASSERT(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    s->watch = (struct c2_fd_watch){ .fd = fd, .events = C2_FD_OUT, .ready = attacker_ready };
}

static void
run(struct stream *s)
{
    C2_ASSERT(c2_os_watch(s->os, &s->watch) == C2_E_OK);
    c2_os_run_until(s->os, &s->ended);
    c2_tls_free(s->tls);
    close(s->watch.fd);
}

/* ---- frames ---------------------------------------------------------------------------------- */

static void
on_up(struct c2_net_link *l)
{
    (void)l;
}

static void
on_message(struct c2_net_link *l, struct c2_slice m)
{
    struct stream *s = l->user;
    C2_ASSERT(m.len >= 1 && m.len <= FRAME_MAX);
    c2_wr_bytes(&s->got, m);
}

static void
on_down(struct c2_net_link *l, enum c2_err why)
{
    (void)l;
    (void)why;
}

static bool
admit(void *arg, const uint8_t key[C2_NET_KEY_LEN], struct c2_net_admission *ret)
{
    static const struct c2_net_events events = { .up = on_up,
                                                 .message = on_message,
                                                 .down = on_down };
    (void)key;
    *ret = (struct c2_net_admission){
        .events = &events, .user = arg, .queue_max = 1u << 20, .frame_max = FRAME_MAX
    };
    return true;
}

/* Frames of no byte say that the sender lives, and are not delivered. */
static void
check_frames(const struct stream *s)
{
    struct c2_buf wanted = { 0 };
    struct c2_rd r = c2_rd_init(c2_buf_slice(&s->sent));
    while (c2_rd_ok(&r) && c2_rd_left(&r) > 0) {
        struct c2_slice m = c2_rd_bytes(&r, FRAME_MAX);
        if (c2_rd_ok(&r) && m.len > 0)
            c2_wr_bytes(&wanted, m);
    }
    C2_ASSERT(c2_slice_starts_with(c2_buf_slice(&wanted), c2_buf_slice(&s->got)));
    C2_ASSERT(s->broken || s->got.len == wanted.len);
    c2_buf_done(&wanted);
}

static void
frames(struct stream *s)
{
    uint8_t secret[C2_ED25519_SECRET_LEN], key[C2_ED25519_PUBLIC_LEN];
    static const uint8_t seed[32] = { 1 };
    const struct c2_os_net_options o = { .secret = secret,
                                         .protocol = PROTOCOL,
                                         .dead_ns = PATIENCE_NS,
                                         .setup_ns = PATIENCE_NS,
                                         .frame_ns = PATIENCE_NS };
    const struct c2_net_listen l = {
        .address = "127.0.0.1:0", .links_max = 10, .admit = admit, .arg = s
    };
    struct sockaddr_in to = { .sin_family = AF_INET };
    struct c2_net *net = NULL;
    struct c2_tls_context *context = NULL;
    c2_ed25519_keypair(seed, secret, key);
    C2_ASSERT(c2_os_net_new(s->os, &o, &net) == C2_E_OK && c2_net_listen(net, &l) == C2_E_OK);
    C2_ASSERT(c2_tls_context_new(secret, PROTOCOL, &context) == C2_E_OK);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(net->port);
    attack(s, (const struct sockaddr *)&to, sizeof to);
    s->tls = c2_tls_new(context, s->watch.fd, true, NULL);
    s->state = HANDSHAKE;
    run(s);
    c2_tls_context_free(context);
    c2_net_free(net);
    check_frames(s);
}

/* ---- metrics --------------------------------------------------------------------------------- */

static void
write_metrics(void *arg, struct c2_buf *out)
{
    (void)arg;
    c2_buf_puts(out, "one 1\n");
}

static void
metrics(struct stream *s)
{
    static char folder[] = "/tmp/c2fs-fuzz.XXXXXX";
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    struct c2_os_metrics *m = NULL;
    char *error = NULL;
    C2_ASSERT(mkdtemp(memcpy(to.sun_path, folder, sizeof folder)) != NULL);
    C2_AUTO(c2_free_auto) char *path = c2_strdup(to.sun_path);
    strcat(to.sun_path, "/m");
    C2_AUTO(c2_free_auto) char *address = c2_asprintf("unix:%s", to.sun_path);
    C2_ASSERT(c2_os_metrics_open(s->os, address, write_metrics, s, &m, &error) == C2_E_OK);
    c2_os_metrics_set_deadline(m, PATIENCE_NS);
    attack(s, (const struct sockaddr *)&to, sizeof to);
    s->state = WRITING;
    run(s);
    c2_os_metrics_close(m);
    C2_ASSERT(rmdir(path) == 0);
    struct c2_slice answer = c2_buf_slice(&s->answer), sent = c2_buf_slice(&s->sent);
    C2_ASSERT(answer.len == 0 || c2_slice_starts_with(answer, c2_slice_str(ANSWER)));
    bool whole = !s->broken && sent.len > 0 &&
                 memmem(sent.data, sent.len, HEAD_END, strlen(HEAD_END)) != NULL;
    C2_ASSERT(answer.len > 0 || !whole);
    if (c2_slice_starts_with(answer, c2_slice_str(GOOD)))
        C2_ASSERT(c2_slice_starts_with(sent, c2_slice_str(REQUEST)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct c2_os *os;
    struct stream s = { 0 };
    if (os == NULL)
        C2_ASSERT(c2_crypto_init() == C2_E_OK && c2_os_new(1, &os) == C2_E_OK);
    if (size == 0)
        return 0;
    s.os = os;
    s.pieces = c2_rd_init(c2_slice(data + 1, size - 1));
    if (data[0] == 'F')
        frames(&s);
    else if (data[0] == 'H')
        metrics(&s);
    c2_os_drain(os);
    c2_buf_done(&s.sent);
    c2_buf_done(&s.got);
    c2_buf_done(&s.answer);
    return 0;
}
