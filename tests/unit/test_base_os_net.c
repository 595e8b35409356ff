/* SPDX-License-Identifier: MIT */
/*
 * The network: two correct ends, and what strangers, liars and dead peers can do to one.
 */
#include "base/os_net_impl.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/os_tls.h"
#include "base/wire.h"

#define PROTOCOL "c2fs-test/1"
#define SMALL    (64u << 10)
#define LONG_NS  (300 * C2_NS_PER_S)
#define SHORT_NS (200 * C2_NS_PER_MS)

struct key {
    uint8_t secret[C2_ED25519_SECRET_LEN];
    uint8_t public_key[C2_ED25519_PUBLIC_LEN];
};

/* One end: a net, and what its links reported. */
struct end {
    struct fixture *f;
    struct c2_net *net;
    struct c2_net_link *link; /* the last that came up */
    struct c2_buf got;        /* messages, joined */
    unsigned ups, downs, writables, messages;
    unsigned ups_wanted, downs_wanted, messages_wanted, writables_wanted;
    enum c2_err why;
    bool close_on_message, pause_on_message;
    bool done; /* all that is wanted has happened */
};

struct fixture {
    struct c2_os *os;
    struct c2_env *env;
    struct key keys[3]; /* server, client, stranger */
    struct end server, client;
    struct c2_net_admission welcome; /* what the server says to the client's key */
    unsigned asked;                  /* admissions */
    uint64_t setup_ns, dead_ns,
        frame_ns; /* of the next net; a loaded machine reaches none of them */
};

static void
look(struct end *e)
{
    e->done = e->ups >= e->ups_wanted && e->downs >= e->downs_wanted &&
              e->messages >= e->messages_wanted && e->writables >= e->writables_wanted;
}

static void
on_up(struct c2_net_link *l)
{
    struct end *e = l->user;
    e->link = l;
    e->ups++;
    look(e);
}

static void
on_message(struct c2_net_link *l, struct c2_slice m)
{
    struct end *e = l->user;
    c2_buf_append(&e->got, m.data, m.len);
    e->messages++;
    if (e->close_on_message)
        c2_net_close(l);
    if (e->pause_on_message)
        c2_net_pause(l, true);
    look(e);
}

static void
on_writable(struct c2_net_link *l)
{
    struct end *e = l->user;
    e->writables++;
    look(e);
}

static void
on_down(struct c2_net_link *l, enum c2_err why)
{
    struct end *e = l->user;
    e->downs++;
    e->why = why;
    look(e);
}

static const struct c2_net_events events = {
    .up = on_up, .message = on_message, .writable = on_writable, .down = on_down
};

static bool
admit(void *arg, const uint8_t key[C2_NET_KEY_LEN], struct c2_net_admission *ret)
{
    struct fixture *f = arg;
    f->asked++;
    if (memcmp(key, f->keys[1].public_key, C2_NET_KEY_LEN) != 0)
        return false;
    *ret = f->welcome;
    return true;
}

static struct c2_net *
net_with(struct fixture *f, const struct key *k, const char *protocol)
{
    const struct c2_os_net_options o = {
        .secret = k->secret,
        .protocol = protocol,
        .ping_ns = 20 * C2_NS_PER_MS,
        .dead_ns = f->dead_ns,
        .setup_ns = f->setup_ns,
        .frame_ns = f->frame_ns,
        .backoff_min_ns = 2 * C2_NS_PER_MS,
        .backoff_max_ns = 10 * C2_NS_PER_MS,
    };
    struct c2_net *n = NULL;
    assert_int_equal(c2_os_net_new(f->os, &o, &n), C2_E_OK);
    return n;
}

static void
listen_at(struct fixture *f, const char *address)
{
    const struct c2_net_listen l = {
        .address = address, .links_max = 100, .admit = admit, .arg = f
    };
    assert_int_equal(c2_net_listen(f->server.net, &l), C2_E_OK);
}

static int
setup(void **state)
{
    struct fixture *f = c2_calloc(1, sizeof *f);
    assert_int_equal(c2_crypto_init(), C2_E_OK);
    assert_int_equal(c2_os_new(1, &f->os), C2_E_OK);
    f->env = c2_os_env(f->os);
    for (unsigned i = 0; i < 3; i++) {
        uint8_t seed[32] = { (uint8_t)(i + 1) };
        c2_ed25519_keypair(seed, f->keys[i].secret, f->keys[i].public_key);
    }
    f->server.f = f->client.f = f;
    f->setup_ns = f->dead_ns = f->frame_ns = LONG_NS;
    f->welcome = (struct c2_net_admission){ .events = &events,
                                            .user = &f->server,
                                            .policy = C2_NET_DROP,
                                            .queue_max = 4u << 20,
                                            .frame_max = C2_NET_FRAME_MAX };
    f->server.net = net_with(f, &f->keys[0], PROTOCOL);
    listen_at(f, "127.0.0.1:0");
    c2_mark_reset();
    *state = f;
    return 0;
}

/* A server with one impatience; everybody else is patient. */
static void
serve_impatiently(struct fixture *f, uint64_t *which, uint64_t ns)
{
    *which = ns;
    c2_net_free(f->server.net);
    f->server.net = net_with(f, &f->keys[0], PROTOCOL);
    listen_at(f, "127.0.0.1:0");
    *which = LONG_NS;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    c2_net_free(f->client.net);
    c2_net_free(f->server.net);
    c2_os_drain(f->os);
    c2_os_free(f->os);
    c2_buf_done(&f->client.got);
    c2_buf_done(&f->server.got);
    c2_free(f);
    return 0;
}

static struct c2_net_link *
dial_as(struct fixture *f, const struct key *k, const char *protocol, const uint8_t *peer)
{
    f->client.net = net_with(f, k, protocol);
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%u", f->server.net->port);
    struct c2_net_dial d = { .address = address, .as = f->welcome };
    memcpy(d.peer, peer, sizeof d.peer);
    d.as.user = &f->client;
    return c2_net_dial(f->client.net, &d);
}

static struct c2_net_link *
dial(struct fixture *f)
{
    return dial_as(f, &f->keys[1], PROTOCOL, f->keys[0].public_key);
}

static void
wait_for(struct end *e)
{
    look(e);
    if (!e->done)
        c2_os_run_until(e->f->os, &e->done);
}

static void
wait_up(struct end *e, unsigned n)
{
    e->ups_wanted = n;
    wait_for(e);
}

static void
wait_down(struct end *e, unsigned n)
{
    e->downs_wanted = n;
    wait_for(e);
}

static void
wait_messages(struct end *e, unsigned n)
{
    e->messages_wanted = n;
    wait_for(e);
}

static void
connect_both(struct fixture *f)
{
    dial(f);
    wait_up(&f->client, 1);
    wait_up(&f->server, 1);
}

static enum c2_err
say(struct c2_net_link *l, enum c2_net_class c, const void *data, size_t len)
{
    struct c2_blob *b = c2_blob_copy(data, len);
    enum c2_err err = c2_net_send(l, c, b);
    c2_blob_unref(b);
    return err;
}

struct alarm_clock {
    struct c2_timer timer;
    bool rang;
};

static void
ring(struct c2_timer *t)
{
    C2_CONTAINER_OF(t, struct alarm_clock, timer)->rang = true;
}

/* Lets the loop run on for a moment. */
static void
run_for(struct fixture *f, uint64_t ns)
{
    struct alarm_clock a = { .timer = { .fire = ring } };
    c2_timer_arm(f->env, &a.timer, c2_now_ns(f->env) + ns);
    c2_os_run_until(f->os, &a.rang);
}

/* ---- two correct ends ------------------------------------------------------------------------ */

static void
net__carries_messages_both_ways_and_knows_the_peer(void **state)
{
    struct fixture *f = *state;
    connect_both(f);
    assert_memory_equal(f->server.link->peer, f->keys[1].public_key, C2_NET_KEY_LEN);
    assert_int_equal(say(f->client.link, C2_NET_NORMAL, "hello", 5), C2_E_OK);
    wait_messages(&f->server, 1);
    assert_string_equal(c2_buf_cstr(&f->server.got), "hello");
    assert_int_equal(say(f->server.link, C2_NET_URGENT, "welcome", 7), C2_E_OK);
    wait_messages(&f->client, 1);
    assert_string_equal(c2_buf_cstr(&f->client.got), "welcome");
    assert_int_equal(f->client.link->sent_bytes, 5);
    assert_int_equal(f->client.link->got_bytes, 7);
}

static void
net__keeps_order_and_content_of_many_messages_of_all_sizes(void **state)
{
    struct fixture *f = *state;
    f->welcome.queue_max = 64u << 20;
    connect_both(f);
    struct c2_buf sent = { 0 };
    static const size_t sizes[] = { 1, 3, 4, 5, 1000, 16384, 65536, 65535, 300000, 1, 2000000 };
    unsigned n = 0;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < C2_ARRAY_LEN(sizes); i++) {
            struct c2_blob *b = c2_blob_new(sizes[i]);
            for (size_t k = 0; k < b->len; k++)
                b->data[k] = (uint8_t)(k * 7 + n);
            c2_buf_append(&sent, b->data, b->len);
            assert_int_equal(c2_net_send(f->client.link, C2_NET_NORMAL, b), C2_E_OK);
            c2_blob_unref(b);
            n++;
        }
    }
    wait_messages(&f->server, n);
    assert_int_equal(f->server.messages, n);
    assert_int_equal(f->server.got.len, sent.len);
    assert_memory_equal(f->server.got.data, sent.data, sent.len);
    c2_buf_done(&sent);
}

static void
net__carries_the_longest_message_and_refuses_a_longer_one(void **state)
{
    struct fixture *f = *state;
    f->welcome.queue_max = 32u << 20;
    f->welcome.frame_max = 1000;
    connect_both(f);
    uint8_t bytes[1001] = { 0 };
    assert_int_equal(say(f->client.link, C2_NET_NORMAL, bytes, 1000), C2_E_OK);
    wait_messages(&f->server, 1);
    assert_int_equal(say(f->client.link, C2_NET_NORMAL, bytes, 1001), C2_E_OK);
    wait_down(&f->server, 1);
    assert_int_equal(f->server.why, C2_E_PROTOCOL);
    assert_int_equal(f->server.messages, 1);
}

static void
net__higher_classes_leave_first(void **state)
{
    struct fixture *f = *state;
    connect_both(f);
    assert_int_equal(say(f->client.link, C2_NET_BULK, "c", 1), C2_E_OK);
    assert_int_equal(say(f->client.link, C2_NET_NORMAL, "b", 1), C2_E_OK);
    assert_int_equal(say(f->client.link, C2_NET_URGENT, "a", 1), C2_E_OK);
    wait_messages(&f->server, 3);
    assert_string_equal(c2_buf_cstr(&f->server.got), "abc");
}

static void
net__connects_again_after_a_loss(void **state)
{
    struct fixture *f = *state;
    connect_both(f);
    c2_net_close(f->server.link);
    wait_down(&f->client, 1);
    assert_int_equal(f->client.why, C2_E_UNREACHABLE);
    assert_int_equal(f->server.downs, 0); /* who closes hears nothing */
    wait_up(&f->client, 2);
    wait_up(&f->server, 2);
    assert_int_equal(say(f->client.link, C2_NET_NORMAL, "x", 1), C2_E_OK);
    wait_messages(&f->server, 1);
}

/* At a port that the kernel gives to nobody else, as long as nobody listens there. */
static void
listen_somewhere(struct fixture *f, char ret_address[32])
{
    unsigned port = 10000 + (unsigned)getpid() % 20000;
    enum c2_err err;
    do {
        snprintf(ret_address, 32, "127.0.0.1:%u", port++);
        const struct c2_net_listen l = {
            .address = ret_address, .links_max = 100, .admit = admit, .arg = f
        };
        err = c2_net_listen(f->server.net, &l);
    } while (err == C2_E_EXISTS && port < 32000);
    assert_int_equal(err, C2_E_OK);
}

static void
net__waits_for_a_server_that_comes_later(void **state)
{
    struct fixture *f = *state;
    char address[32];
    c2_net_free(f->server.net);
    f->server.net = net_with(f, &f->keys[0], PROTOCOL);
    listen_somewhere(f, address);
    struct c2_net_link *l = dial(f);
    c2_net_free(f->server.net);
    f->server.net = net_with(f, &f->keys[0], PROTOCOL);
    while (l->error == C2_E_OK)
        run_for(f, 5 * C2_NS_PER_MS);
    assert_int_equal(l->error, C2_E_UNREACHABLE);
    assert_int_equal(say(l, C2_NET_NORMAL, "x", 1), C2_E_UNREACHABLE);
    listen_at(f, address);
    wait_up(&f->client, 1);
}

static void
net__two_servers_cannot_have_one_address(void **state)
{
    struct fixture *f = *state;
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", f->server.net->port);
    f->client.net = net_with(f, &f->keys[1], PROTOCOL);
    const struct c2_net_listen l = { .address = address, .links_max = 1, .admit = admit, .arg = f };
    assert_int_equal(c2_net_listen(f->client.net, &l), C2_E_EXISTS);
}

static void
net__bad_addresses_are_errors_of_the_link(void **state)
{
    struct fixture *f = *state;
    f->client.net = net_with(f, &f->keys[1], PROTOCOL);
    static const char *const bad[] = { "", "host", "host:", ":1", "host:x", "host:123456789" };
    for (unsigned i = 0; i < C2_ARRAY_LEN(bad); i++) {
        struct c2_net_dial d = { .address = bad[i], .as = f->welcome };
        struct c2_net_link *l = c2_net_dial(f->client.net, &d);
        while (l->error == C2_E_OK)
            run_for(f, 1 * C2_NS_PER_MS);
        assert_int_equal(l->error, C2_E_INVALID);
        c2_net_close(l);
    }
}

static void
net__resolves_names(void **state)
{
    struct fixture *f = *state;
    f->client.net = net_with(f, &f->keys[1], PROTOCOL);
    char address[64];
    snprintf(address, sizeof address, "localhost:%u", f->server.net->port);
    struct c2_net_dial d = { .address = address, .as = f->welcome };
    memcpy(d.peer, f->keys[0].public_key, sizeof d.peer);
    d.as.user = &f->client;
    c2_net_dial(f->client.net, &d);
    wait_up(&f->client, 1);
}

static void
net__a_link_may_be_closed_while_its_name_is_looked_up(void **state)
{
    struct fixture *f = *state;
    f->client.net = net_with(f, &f->keys[1], PROTOCOL);
    struct c2_net_dial d = { .address = "localhost:1", .as = f->welcome };
    struct c2_net_link *l = c2_net_dial(f->client.net, &d);
    run_for(f, 0);
    c2_net_close(l);
    c2_os_drain(f->os);
}

static void
net__a_link_may_be_closed_from_its_own_message(void **state)
{
    struct fixture *f = *state;
    f->server.close_on_message = true;
    connect_both(f);
    assert_int_equal(say(f->client.link, C2_NET_NORMAL, "one", 3), C2_E_OK);
    assert_int_equal(say(f->client.link, C2_NET_NORMAL, "two", 3), C2_E_OK);
    wait_messages(&f->server, 1);
    wait_down(&f->client, 1);
    assert_int_equal(f->server.messages, 1);
    assert_int_equal(f->server.downs, 0);
}

static void
net__closing_sends_what_is_queued(void **state)
{
    struct fixture *f = *state;
    connect_both(f);
    assert_int_equal(say(f->client.link, C2_NET_NORMAL, "last words", 10), C2_E_OK);
    c2_net_close(f->client.link);
    wait_messages(&f->server, 1);
    assert_string_equal(c2_buf_cstr(&f->server.got), "last words");
}

static void
net__pause_holds_messages_back_until_it_ends(void **state)
{
    struct fixture *f = *state;
    f->server.pause_on_message = true;
    serve_impatiently(f, &f->dead_ns, 2 * C2_NS_PER_S);
    connect_both(f);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(say(f->client.link, C2_NET_NORMAL, "m", 1), C2_E_OK);
    wait_messages(&f->server, 1);
    run_for(f, 2200 * C2_NS_PER_MS); /* longer than a silent peer may be */
    assert_int_equal(f->server.messages, 1);
    assert_int_equal(f->server.downs, 0);
    f->server.pause_on_message = false;
    c2_net_pause(f->server.link, false);
    wait_messages(&f->server, 3);
}

/* ---- full queues ----------------------------------------------------------------------------- */

static void
net__a_full_queue_drops_the_oldest_of_the_lowest_class(void **state)
{
    struct fixture *f = *state;
    f->welcome.queue_max = 4;
    connect_both(f);
    static const struct {
        enum c2_net_class c;
        const char *text;
    } sends[] = { { C2_NET_BULK, "1" },   { C2_NET_BULK, "2" },   { C2_NET_NORMAL, "3" },
                  { C2_NET_URGENT, "4" }, { C2_NET_NORMAL, "5" }, { C2_NET_URGENT, "6" },
                  { C2_NET_BULK, "7" } };
    for (unsigned i = 0; i < C2_ARRAY_LEN(sends); i++)
        assert_int_equal(say(f->client.link, sends[i].c, sends[i].text, 1), C2_E_OK);
    wait_messages(&f->server, 4);
    run_for(f, 5 * C2_NS_PER_MS);
    assert_string_equal(c2_buf_cstr(&f->server.got), "4635");
    assert_int_equal(f->client.link->dropped, 3);
    assert_int_equal(c2_mark_count("net: a full queue of higher classes"), 1);
}

static void
net__pressure_refuses_and_tells_when_there_is_room(void **state)
{
    struct fixture *f = *state;
    f->welcome.policy = C2_NET_PRESSURE;
    f->welcome.queue_max = 8;
    connect_both(f);
    assert_int_equal(say(f->client.link, C2_NET_NORMAL, "12345678", 8), C2_E_OK);
    assert_int_equal(say(f->client.link, C2_NET_NORMAL, "9", 1), C2_E_BUSY);
    f->client.writables_wanted = 1;
    wait_for(&f->client);
    assert_int_equal(say(f->client.link, C2_NET_NORMAL, "9", 1), C2_E_OK);
    wait_messages(&f->server, 2);
    assert_string_equal(c2_buf_cstr(&f->server.got), "123456789");
}

static void
net__pressure_reads_nothing_from_a_peer_that_takes_nothing(void **state)
{
    struct fixture *f = *state;
    f->welcome.policy = C2_NET_PRESSURE;
    f->welcome.queue_max = SMALL;
    connect_both(f);
    c2_net_pause(f->client.link, true); /* takes nothing */
    static uint8_t bytes[SMALL];
    while (say(f->server.link, C2_NET_NORMAL, bytes, sizeof bytes) == C2_E_OK)
        run_for(f, 1 * C2_NS_PER_MS);
    assert_int_equal(say(f->client.link, C2_NET_NORMAL, "x", 1), C2_E_OK);
    run_for(f, 20 * C2_NS_PER_MS);
    assert_int_equal(f->server.messages, 0);
    c2_net_pause(f->client.link, false);
    wait_messages(&f->server, 1);
    assert_int_equal(f->server.downs, 0);
}

static void
net__a_peer_that_takes_nothing_for_long_is_disconnected(void **state)
{
    struct fixture *f = *state;
    f->welcome.policy = C2_NET_PRESSURE;
    f->welcome.queue_max = SMALL;
    serve_impatiently(f, &f->dead_ns, 2 * C2_NS_PER_S);
    connect_both(f);
    c2_net_pause(f->client.link, true);
    static uint8_t bytes[SMALL];
    /* On a machine that stalls, the time may be up before the queue is full. */
    while (f->server.downs == 0 &&
           say(f->server.link, C2_NET_NORMAL, bytes, sizeof bytes) == C2_E_OK)
        run_for(f, 1 * C2_NS_PER_MS);
    wait_down(&f->server, 1);
    assert_true(f->server.why == C2_E_TIMEOUT || f->server.why == C2_E_UNREACHABLE);
}

/* ---- who may come in ------------------------------------------------------------------------- */

static void
net__a_stranger_is_not_admitted(void **state)
{
    struct fixture *f = *state;
    struct c2_net_link *l = dial_as(f, &f->keys[2], PROTOCOL, f->keys[0].public_key);
    while (f->asked < 3)
        run_for(f, 5 * C2_NS_PER_MS);
    assert_int_equal(f->client.ups, 0);
    assert_int_equal(f->server.ups, 0);
    assert_false(l->up);
    assert_int_not_equal(l->error, C2_E_OK);
}

static void
net__a_server_with_another_key_is_not_trusted(void **state)
{
    struct fixture *f = *state;
    struct c2_net_link *l = dial_as(f, &f->keys[1], PROTOCOL, f->keys[2].public_key);
    while (l->error == C2_E_OK)
        run_for(f, 5 * C2_NS_PER_MS);
    assert_int_equal(l->error, C2_E_TLS);
    assert_int_equal(f->client.ups, 0);
    assert_int_equal(f->asked, 0);
}

static void
net__another_protocol_is_refused(void **state)
{
    struct fixture *f = *state;
    struct c2_net_link *l = dial_as(f, &f->keys[1], "c2fs-test/2", f->keys[0].public_key);
    while (l->error == C2_E_OK)
        run_for(f, 5 * C2_NS_PER_MS);
    assert_int_equal(l->error, C2_E_TLS);
    assert_int_equal(f->asked, 0);
}

static void
net__a_new_link_of_the_same_peer_ends_the_oldest(void **state)
{
    struct fixture *f = *state;
    f->welcome.links_max = 1;
    connect_both(f);
    struct c2_net *first = f->client.net;
    dial(f);
    wait_down(&f->server, 1);
    assert_int_equal(f->server.why, C2_E_EXISTS);
    assert_true(c2_mark_count("net: an older link of the same peer ends") >= 1);
    c2_net_free(first);
}

/* ---- hostile peers: plain sockets on a thread of their own ------------------------------------
 */

struct attacker {
    struct fixture *f;
    pthread_t thread;
    void (*script)(struct attacker *a);
    uint16_t port;
    struct key key;
    unsigned count;
    bool ended_by_server;
    bool done;
};

static int
attacker_connect(const struct attacker *a)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(a->port) };
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* Reads until the server ends it. */
static void
attacker_wait_end(struct attacker *a, int fd)
{
    char buf[4096];
    while (recv(fd, buf, sizeof buf, 0) > 0)
        continue;
    a->ended_by_server = true;
    close(fd);
}

static void *
attacker_main(void *arg)
{
    struct attacker *a = arg;
    a->script(a);
    __atomic_store_n(&a->done, true, __ATOMIC_RELEASE);
    c2_os_stop(a->f->os);
    return NULL;
}

/* Runs the loop until the attacker has ended. */
static void
attack(struct fixture *f, struct attacker *a, void (*script)(struct attacker *a))
{
    a->f = f;
    a->script = script;
    a->port = f->server.net->port;
    assert_int_equal(pthread_create(&a->thread, NULL, attacker_main, a), 0);
    while (!__atomic_load_n(&a->done, __ATOMIC_ACQUIRE))
        c2_os_run(f->os);
    pthread_join(a->thread, NULL);
}

static void
script_noise(struct attacker *a)
{
    int fd = attacker_connect(a);
    static const char noise[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    send(fd, noise, sizeof noise, MSG_NOSIGNAL);
    attacker_wait_end(a, fd);
}

static void
script_silence(struct attacker *a)
{
    attacker_wait_end(a, attacker_connect(a));
}

/* A byte of a handshake every few milliseconds, for ever. */
static void
script_slow_handshake(struct attacker *a)
{
    int fd = attacker_connect(a);
    static const uint8_t hello[] = { 0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3 };
    for (unsigned i = 0;; i++) {
        if (send(fd, &hello[i < sizeof hello ? i : 10], 1, MSG_NOSIGNAL) != 1)
            break;
        struct pollfd p = { .fd = fd, .events = POLLIN };
        if (poll(&p, 1, 20) > 0)
            break;
    }
    a->ended_by_server = true;
    close(fd);
}

static void
script_many_half_open(struct attacker *a)
{
    int fds[150];
    for (unsigned i = 0; i < C2_ARRAY_LEN(fds); i++)
        fds[i] = attacker_connect(a);
    attacker_wait_end(a, fds[0]);
    for (unsigned i = 1; i < C2_ARRAY_LEN(fds); i++)
        close(fds[i]);
}

static struct c2_tls *
attacker_tls(struct attacker *a, int fd, struct c2_tls_context **ret_context)
{
    unsigned want = 0;
    assert_int_equal(c2_tls_context_new(a->key.secret, PROTOCOL, ret_context), C2_E_OK);
    struct c2_tls *t = c2_tls_new(*ret_context, fd, true, NULL);
    assert_int_equal(c2_tls_handshake(t, &want), C2_E_OK);
    return t;
}

/* Reads frames until the server ends the connection. */
static void
attacker_tls_wait_end(struct attacker *a, struct c2_tls *t)
{
    uint8_t buf[256];
    size_t n;
    unsigned want;
    enum c2_err err = C2_E_OK;
    while (err == C2_E_OK || err == C2_E_AGAIN)
        err = c2_tls_read(t, buf, sizeof buf, &n, &want);
    a->ended_by_server = true;
}

static void
attacker_frames(struct attacker *a, const uint8_t *bytes, size_t len)
{
    struct c2_tls_context *c = NULL;
    int fd = attacker_connect(a);
    struct c2_tls *t = attacker_tls(a, fd, &c);
    size_t n;
    unsigned want;
    if (c2_tls_write(t, bytes, len, &n, &want) == C2_E_OK) {
        attacker_tls_wait_end(a, t);
    } else {
        a->ended_by_server = true; /* that was too slow for it */
    }
    c2_tls_free(t);
    c2_tls_context_free(c);
    close(fd);
}

static void
script_huge_frame(struct attacker *a)
{
    static const uint8_t head[] = { 0xff, 0xff, 0xff, 0x7f, 1, 2, 3 };
    attacker_frames(a, head, sizeof head);
}

/* Admitted, then says nothing: not even that it lives. */
static void
script_dead(struct attacker *a)
{
    static const uint8_t ping[4] = { 0 };
    attacker_frames(a, ping, sizeof ping);
}

/* Admitted, then a byte of a message now and then. */
static void
script_slow_frame(struct attacker *a)
{
    struct c2_tls_context *c = NULL;
    int fd = attacker_connect(a);
    struct c2_tls *t = attacker_tls(a, fd, &c);
    size_t n;
    unsigned want;
    static const uint8_t head[] = { 0, 1, 0, 0 };
    enum c2_err err = c2_tls_write(t, head, sizeof head, &n, &want);
    while (err == C2_E_OK) {
        poll(NULL, 0, 20);
        err = c2_tls_write(t, head, 1, &n, &want);
    }
    a->ended_by_server = true;
    c2_tls_free(t);
    c2_tls_context_free(c);
    close(fd);
}

static SSL_CTX *
foreign_context(int version)
{
    SSL_CTX *c = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(c, version);
    SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
    static const unsigned char alpn[] = "\x0b" PROTOCOL;
    SSL_CTX_set_alpn_protos(c, alpn, sizeof alpn - 1);
    return c;
}

/* A TLS client without a certificate, or of an older version. */
static void
script_foreign(struct attacker *a)
{
    SSL_CTX *c = foreign_context(a->count == 0 ? TLS1_3_VERSION : TLS1_2_VERSION);
    int fd = attacker_connect(a);
    SSL *s = SSL_new(c);
    SSL_set_fd(s, fd);
    char byte;
    bool refused = SSL_connect(s) != 1 && !SSL_is_init_finished(s);
    a->ended_by_server = refused || SSL_read(s, &byte, 1) <= 0;
    SSL_free(s);
    SSL_CTX_free(c);
    close(fd);
}

static void
net__noise_is_not_a_peer(void **state)
{
    struct fixture *f = *state;
    struct attacker a = { 0 };
    attack(f, &a, script_noise);
    assert_true(a.ended_by_server);
    assert_int_equal(f->asked, 0);
    connect_both(f); /* nobody else has suffered */
}

static void
net__a_client_without_certificate_or_of_old_tls_is_refused(void **state)
{
    struct fixture *f = *state;
    for (unsigned old = 0; old < 2; old++) {
        struct attacker a = { .count = old };
        attack(f, &a, script_foreign);
        assert_true(a.ended_by_server);
    }
    assert_int_equal(f->asked, 0);
}

static void
net__silent_and_slow_strangers_are_ended(void **state)
{
    struct fixture *f = *state;
    struct attacker silent = { 0 }, slow = { 0 };
    serve_impatiently(f, &f->setup_ns, SHORT_NS);
    attack(f, &silent, script_silence);
    assert_true(silent.ended_by_server);
    attack(f, &slow, script_slow_handshake);
    assert_true(slow.ended_by_server);
    assert_int_equal(f->server.ups, 0);
}

static void
net__half_open_connections_do_not_lock_others_out(void **state)
{
    struct fixture *f = *state;
    struct attacker a = { 0 }; /* no deadline helps here */
    attack(f, &a, script_many_half_open);
    assert_true(a.ended_by_server);
    assert_true(c2_mark_count("net: the oldest stranger makes room") >= 1);
    dial(f);
    wait_up(&f->client, 1);
}

static void
net__accepting_rests_when_it_has_had_its_share(void **state)
{
    struct fixture *f = *state;
    struct os_net *n = C2_CONTAINER_OF(f->server.net, struct os_net, base);
    os_net_charge(n, 1000 * C2_NS_PER_S);
    dial(f);
    while (c2_mark_count("net: accepting has had its share") == 0)
        run_for(f, C2_NS_PER_MS);
    assert_int_equal(f->server.ups, 0);
    assert_true(c2_timer_armed(&n->rest));
    n->paid_ns = 0;
    c2_timer_arm(f->env, &n->rest, 0);
    wait_up(&f->client, 1);
}

static void
net__a_hostile_peer_that_is_admitted_is_ended(void **state)
{
    struct fixture *f = *state;
    static void (*const scripts[])(struct attacker *) = { script_huge_frame, script_dead,
                                                          script_slow_frame };
    static const enum c2_err expect[] = { C2_E_PROTOCOL, C2_E_TIMEOUT, C2_E_TIMEOUT };
    uint64_t *const impatience[] = { &f->setup_ns, &f->dead_ns, &f->frame_ns };
    for (unsigned i = 0; i < C2_ARRAY_LEN(scripts); i++) {
        struct attacker a = { .key = f->keys[1] };
        serve_impatiently(f, impatience[i], i == 0 ? LONG_NS : SHORT_NS);
        attack(f, &a, scripts[i]);
        assert_true(a.ended_by_server);
        wait_down(&f->server, i + 1);
        assert_int_equal(f->server.why, expect[i]);
        assert_int_equal(f->server.messages, 0);
    }
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(net__carries_messages_both_ways_and_knows_the_peer),
        T(net__keeps_order_and_content_of_many_messages_of_all_sizes),
        T(net__carries_the_longest_message_and_refuses_a_longer_one),
        T(net__higher_classes_leave_first),
        T(net__connects_again_after_a_loss),
        T(net__waits_for_a_server_that_comes_later),
        T(net__two_servers_cannot_have_one_address),
        T(net__bad_addresses_are_errors_of_the_link),
        T(net__resolves_names),
        T(net__a_link_may_be_closed_while_its_name_is_looked_up),
        T(net__a_link_may_be_closed_from_its_own_message),
        T(net__closing_sends_what_is_queued),
        T(net__pause_holds_messages_back_until_it_ends),
        T(net__a_full_queue_drops_the_oldest_of_the_lowest_class),
        T(net__pressure_refuses_and_tells_when_there_is_room),
        T(net__pressure_reads_nothing_from_a_peer_that_takes_nothing),
        T(net__a_peer_that_takes_nothing_for_long_is_disconnected),
        T(net__a_stranger_is_not_admitted),
        T(net__a_server_with_another_key_is_not_trusted),
        T(net__another_protocol_is_refused),
        T(net__a_new_link_of_the_same_peer_ends_the_oldest),
        T(net__noise_is_not_a_peer),
        T(net__a_client_without_certificate_or_of_old_tls_is_refused),
        T(net__silent_and_slow_strangers_are_ended),
        T(net__accepting_rests_when_it_has_had_its_share),
        T(net__half_open_connections_do_not_lock_others_out),
        T(net__a_hostile_peer_that_is_admitted_is_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
