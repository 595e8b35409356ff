/* SPDX-License-Identifier: MIT */
/*
 * hostile ROOT.PUB ADMIN.KEY KIND [LINKS]
 *
 * A client that means harm. The authority in ADMIN.KEY admits it; it has LINKS connections to each
 * replica, and does one thing over all of them as fast as they take it:
 *
 *   frames    frames longer than any client may send; it connects again at once
 *   large     signed transactions that are as large as they may be, in many sessions
 *   forged    requests with a wrong signature; it connects again at once
 *   replay    its own requests, executed long ago, 64 commands in each
 *   stale     its own requests of a session that it has closed
 *   stolen    valid requests of another client, executed long ago
 *   greedy    small signed transactions in many sessions, each signed alone
 *   reads     fast reads of one key
 *   ranges    fast reads of 1 MiB
 *   watch     watches on everything, over and over again
 *   deaf      fast reads of 1 MiB, and takes no answer
 *
 * Every quarter of a second, and once it is at work, it prints on one line what it has done so far:
 * "sent=N bytes=N answers=N connected=N ended=N versions=N". `versions` counts different versions
 * that the answers to the replayed request had: one, when nothing was executed twice. Ends when it
 * is killed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/os_file.h"
#include "base/os_loop.h"
#include "base/os_net.h"
#include "base/wire.h"
#include "metadata/bft_client.h"
#include "metadata/cmd.h"
#include "metadata/identity.h"
#include "metadata/node.h"

#define LINKS_MAX    32
#define SESSIONS_MAX 32
#define IN_A_ROW     16 /* messages on one link, then the next one's turn */
#define QUEUE_MAX    (256u << 10)
#define REPORT_NS    (C2_NS_PER_S / 4)
#define RETRY_NS     (C2_NS_PER_MS)
#define OVERSIZED    (MSG_REQUEST_MAX + 1)
#define PIECES       15 /* of COORD_VALUE_MAX: what fits into a transaction, and into an answer */
#define PREFIXES     64

struct attack;

struct session {
    uint64_t nonce, id;
    uint64_t next, low; /* the next number; all up to low are answered */
    uint64_t done;      /* bits from low + 1 on */
    struct c2_blob *open;
};

/* A key that is admitted. */
struct person {
    struct attack *attack;
    struct c2_net *net;
    uint8_t secret[C2_ED25519_SECRET_LEN], key[MSG_KEY_LEN], cert[MSG_SIG_LEN];
    struct session session[SESSIONS_MAX];
    unsigned nsessions;
};

struct lane {
    struct attack *attack;
    struct person *person;
    struct session *session; /* whose OPEN admits it */
    struct c2_net_link *net;
    struct c2_task more;
    uint64_t number; /* of what it has sent */
    bool stuck;
};

struct kind {
    const char *name;
    struct c2_blob *(*next)(struct lane *l); /* an owned reference; NULL = nothing for now */
    bool (*prepare)(struct attack *a);       /* sends what must be done before; NULL = nothing */
    unsigned sessions;
    bool deaf;
};

struct attack {
    struct c2_os *os;
    struct c2_env *env;
    struct bft_config config;
    struct identity_admin admin;
    const struct kind *kind;
    struct person me, other;
    struct lane lane[MSG_REPLICAS_MAX][LINKS_MAX];
    struct lane witness[MSG_REPLICAS_MAX]; /* connections of the other one */
    unsigned nlinks;
    struct c2_blob *before; /* the request that prepares all, and is played again */
    struct c2_blob *ammunition;
    struct person *prepares;
    bool prepared, stale;
    uint64_t version; /* the number that the prepared request got */
    uint64_t sent, bytes, answers, connected, ended, versions;
    struct c2_timer report;
};

/* ---- messages -------------------------------------------------------------------------------- */

static struct c2_blob *
take(struct c2_buf *b)
{
    struct c2_blob *blob = c2_blob_copy(b->data, b->len);
    c2_buf_done(b);
    return blob;
}

static struct c2_blob *
make_request(struct person *p, struct session *s, uint8_t kind, uint64_t cseq, struct c2_slice op)
{
    struct msg_request m = { .kind = kind, .session = s->id, .cseq = cseq, .ack_low = s->low };
    struct c2_buf out = { 0 };
    memcpy(m.key, p->key, sizeof m.key);
    m.op = op;
    if (kind == MSG_REQ_OPEN)
        m.session = m.ack_low = 0;
    msg_write_request(&out, p->attack->config.cluster, &m);
    msg_sign(&bft_crypto_ed25519, p->secret, &out, 0);
    return take(&out);
}

static struct c2_blob *
make_read(struct lane *l, const struct coord_req *r)
{
    const struct msg_head h = { .sender = MSG_SENDER_CLIENT, .cluster = l->attack->config.cluster };
    struct c2_buf op = { 0 }, out = { 0 };
    cmd_encode(r, c2_slice(NULL, 0), &op);
    const struct msg_read m = { .rseq = l->number, .full = 1, .op = c2_buf_slice(&op) };
    msg_write_read(&out, &h, &m);
    c2_buf_done(&op);
    return take(&out);
}

/* `count` puts of len bytes each under other keys. */
static void
encode_puts(struct c2_buf *out, const char *name, unsigned count, size_t len)
{
    struct coord_op ops[PIECES] = { 0 };
    char keys[PIECES][48];
    uint8_t *value = c2_calloc(1, len);
    C2_ASSERT(count <= PIECES);
    for (unsigned i = 0; i < count; i++) {
        snprintf(keys[i], sizeof keys[i], "%s/%u", name, i);
        ops[i] = (struct coord_op){ .kind = COORD_PUT, .key = c2_slice_str(keys[i]) };
        ops[i].value = c2_slice(value, len);
    }
    const struct coord_req r = { .verb = COORD_TXN, .ops = ops, .nops = count };
    cmd_encode(&r, c2_slice(NULL, 0), out);
    c2_free(value);
}

static void
send_on(struct lane *l, struct c2_blob *b)
{
    struct attack *a = l->attack;
    if (l->net == NULL || !l->net->up)
        return;
    l->stuck = c2_net_send(l->net, C2_NET_NORMAL, b) != C2_E_OK;
    l->number += !l->stuck;
    a->sent += !l->stuck;
    a->bytes += l->stuck ? 0 : b->len;
}

static struct lane *
lane_of(struct attack *a, const struct person *p, unsigned replica, unsigned session)
{
    return p == &a->me ? &a->lane[replica][session % a->nlinks] : &a->witness[replica];
}

static void
send_to_all(struct person *p, const struct session *s, struct c2_blob *b)
{
    struct attack *a = p->attack;
    for (unsigned i = 0; i < a->config.n; i++)
        send_on(lane_of(a, p, i, (unsigned)(s - p->session)), b);
}

/* ---- what it does ---------------------------------------------------------------------------- */

/* The same over and over again. */
static struct c2_blob *
next_ammunition(struct lane *l)
{
    return c2_blob_ref(l->attack->ammunition);
}

static struct c2_blob *
next_frame(struct lane *l)
{
    if (l->attack->ammunition == NULL)
        l->attack->ammunition = c2_blob_new(OVERSIZED);
    return next_ammunition(l);
}

/* Each is another one, so that no replica has seen it. */
static struct c2_blob *
next_forged(struct lane *l)
{
    struct session *s = l->session;
    if (s->id == 0)
        return NULL;
    struct c2_blob *b =
        make_request(l->person, s, MSG_REQ_COMMAND, ++s->next, c2_slice("nothing", 7));
    b->data[b->len - 1] ^= 1;
    return b;
}

/* Requests go to all replicas at once, from here; the lane itself has none. */
static struct c2_blob *
next_of_sessions(struct lane *l, unsigned count, size_t len)
{
    struct attack *a = l->attack;
    unsigned first = (unsigned)(l - a->lane[0]);
    if (first >= a->nlinks)
        return NULL; /* not of the first replica */
    for (unsigned i = first; i < a->me.nsessions; i += a->nlinks) {
        struct session *s = &a->me.session[i];
        for (unsigned k = 0; k < IN_A_ROW && !l->stuck; k++) {
            if (s->id == 0 || s->next >= s->low + BFT_SESSION_WINDOW)
                break;
            struct c2_buf op = { 0 };
            char name[24];
            snprintf(name, sizeof name, "hostile/%u", i);
            encode_puts(&op, name, count, len);
            struct c2_blob *b =
                make_request(&a->me, s, MSG_REQ_COMMAND, ++s->next, c2_buf_slice(&op));
            send_to_all(&a->me, s, b);
            c2_blob_unref(b);
            c2_buf_done(&op);
        }
    }
    return NULL;
}

static struct c2_blob *
next_large(struct lane *l)
{
    return next_of_sessions(l, PIECES, COORD_VALUE_MAX);
}

static struct c2_blob *
next_greedy(struct lane *l)
{
    return next_of_sessions(l, 1, 64);
}

static struct c2_blob *
next_read(struct lane *l)
{
    struct c2_slice key = c2_slice_str("hostile/read");
    const struct coord_req r = { .verb = COORD_GET, .keys = &key, .nkeys = 1 };
    return make_read(l, &r);
}

static struct c2_blob *
next_range(struct lane *l)
{
    struct c2_slice key = c2_slice_str("hostile/large/");
    const struct coord_req r = { .verb = COORD_RANGE, .keys = &key, .nkeys = 1 };
    return make_read(l, &r);
}

static struct c2_blob *
next_watch(struct lane *l)
{
    const struct msg_head h = { .sender = MSG_SENDER_CLIENT, .cluster = l->attack->config.cluster };
    struct c2_buf prefixes = { 0 }, out = { 0 };
    if (l->number > 1 && l != &l->attack->lane[0][0])
        return NULL; /* these only watch */
    for (unsigned i = 0; i < PREFIXES; i++)
        msg_put_bytes(&prefixes, i + 1 < PREFIXES ? c2_slice_str("zzzz") : c2_slice(NULL, 0));
    const struct msg_watch w = { .wseq = l->number,
                                 .count = PREFIXES,
                                 .prefixes = c2_buf_slice(&prefixes) };
    msg_write_watch(&out, &h, &w);
    c2_buf_done(&prefixes);
    return take(&out);
}

/* ---- what must be there before --------------------------------------------------------------- */

/* 64 commands in one request. */
static struct c2_blob *
many_commands(struct person *p)
{
    struct c2_buf ops = { 0 };
    for (unsigned i = 0; i < MSG_COMMANDS_MAX; i++) {
        struct c2_buf op = { 0 };
        const struct coord_op add = { .kind = COORD_ADD,
                                      .number = 1,
                                      .key = c2_slice_str("hostile/counter") };
        const struct coord_req r = { .verb = COORD_TXN, .ops = &add, .nops = 1 };
        cmd_encode(&r, c2_slice(NULL, 0), &op);
        msg_put_bytes(&ops, c2_buf_slice(&op));
        c2_buf_done(&op);
    }
    struct c2_blob *b = make_request(p, &p->session[0], MSG_REQ_COMMANDS, 1, c2_buf_slice(&ops));
    c2_buf_done(&ops);
    return b;
}

static bool
prepare_by(struct attack *a, struct person *p, struct c2_blob *(*make)(struct person *p))
{
    if (p->session[0].id == 0)
        return false;
    a->prepares = p;
    if (a->before == NULL)
        a->before = make(p);
    if (a->ammunition == NULL)
        a->ammunition = c2_blob_ref(a->before);
    send_to_all(p, &p->session[0], a->before);
    return true;
}

static bool
prepare_replay(struct attack *a)
{
    return prepare_by(a, &a->me, many_commands);
}

static bool
prepare_stolen(struct attack *a)
{
    return prepare_by(a, &a->other, many_commands);
}

static struct c2_blob *
closing(struct person *p)
{
    p->attack->ammunition = many_commands(p);
    return make_request(p, &p->session[0], MSG_REQ_CLOSE, 1, c2_slice(NULL, 0));
}

static bool
prepare_stale(struct attack *a)
{
    a->stale = true;
    return prepare_by(a, &a->me, closing);
}

static struct c2_blob *
large_values(struct person *p)
{
    struct c2_buf op = { 0 };
    encode_puts(&op, "hostile/large", PIECES, COORD_VALUE_MAX);
    struct c2_blob *b = make_request(p, &p->session[0], MSG_REQ_COMMAND, 1, c2_buf_slice(&op));
    c2_buf_done(&op);
    return b;
}

static bool
prepare_ranges(struct attack *a)
{
    return prepare_by(a, &a->other, large_values);
}

static const struct kind kinds[] = {
    { "frames", next_frame, NULL, 1, false },
    { "large", next_large, NULL, SESSIONS_MAX, false },
    { "forged", next_forged, NULL, 1, false },
    { "replay", next_ammunition, prepare_replay, 1, false },
    { "stale", next_ammunition, prepare_stale, 1, false },
    { "stolen", next_ammunition, prepare_stolen, 1, false },
    { "greedy", next_greedy, NULL, SESSIONS_MAX, false },
    { "reads", next_read, NULL, 1, false },
    { "ranges", next_range, prepare_ranges, 1, false },
    { "watch", next_watch, NULL, 1, false },
    { "deaf", next_range, prepare_ranges, 1, true },
};

/* ---- connections ----------------------------------------------------------------------------- */

static void
go_on(struct c2_task *t)
{
    struct lane *l = C2_CONTAINER_OF(t, struct lane, more);
    struct attack *a = l->attack;
    if (!l->net->up || l->stuck || !a->prepared || l->person != &a->me)
        return;
    for (unsigned i = 0; i < IN_A_ROW && !l->stuck; i++) {
        struct c2_blob *b = a->kind->next(l);
        if (b == NULL)
            return;
        send_on(l, b);
        c2_blob_unref(b);
    }
    if (!l->stuck)
        c2_defer(a->env, &l->more);
}

static void
all_go_on(struct attack *a)
{
    for (unsigned i = 0; i < a->config.n; i++) {
        for (unsigned k = 0; k < a->nlinks; k++)
            c2_defer(a->env, &a->lane[i][k].more);
    }
}

static void
lane_up(struct c2_net_link *net)
{
    struct lane *l = net->user;
    l->attack->connected++;
    l->stuck = false;
    l->number = 0;
    send_on(l, l->session->open);
    if (l->attack->kind->deaf && l->person == &l->attack->me)
        c2_net_pause(net, true);
    c2_defer(l->attack->env, &l->more);
}

static void
lane_down(struct c2_net_link *net, enum c2_err why)
{
    (void)why;
    struct lane *l = net->user;
    l->attack->ended++;
}

static void
lane_writable(struct c2_net_link *net)
{
    struct lane *l = net->user;
    l->stuck = false;
    c2_defer(l->attack->env, &l->more);
}

static void
opened(struct person *p, struct session *s, const struct msg_reply *m)
{
    if (m->code != MSG_OK || m->result.len != 8 || s->id != 0)
        return;
    s->id = c2_get_u64(m->result.data);
    struct attack *a = p->attack;
    if (a->kind->prepare == NULL)
        a->prepared = true;
    else if (!a->prepared && s == &p->session[0])
        (void)a->kind->prepare(a);
    all_go_on(a);
}

static void
answered(struct session *s, uint64_t cseq)
{
    if (cseq > s->low && cseq <= s->low + BFT_SESSION_WINDOW)
        s->done |= 1ull << (cseq - s->low - 1);
    while ((s->done & 1) != 0) {
        s->done >>= 1;
        s->low++;
    }
}

/* The prepared request has happened, and should not happen again: its answer stays the same. */
static void
check_again(struct attack *a, const struct session *s, const struct msg_reply *m)
{
    if (s != &a->prepares->session[0] || m->cseq != 1 || m->n == 0)
        return;
    if (m->n != a->version)
        a->versions++;
    a->version = m->n;
    if (!a->prepared) {
        a->prepared = true;
        all_go_on(a);
    }
}

static void
lane_message(struct c2_net_link *net, struct c2_slice bytes)
{
    struct lane *l = net->user;
    struct attack *a = l->attack;
    struct person *p = l->person;
    struct msg_reply m;
    a->answers++;
    if (msg_read_reply(bytes, &m) != C2_E_OK)
        return;
    for (unsigned i = 0; i < p->nsessions; i++) {
        struct session *s = &p->session[i];
        if (m.session == 0 && m.cseq == s->nonce) {
            opened(p, s, &m);
        } else if (m.session == s->id && s->id != 0) {
            if (a->prepares != NULL)
                check_again(a, s, &m);
            else
                answered(s, m.cseq);
        }
    }
    if (a->prepares == NULL)
        c2_defer(a->env, &lane_of(a, p, 0, (unsigned)(l->session - p->session))->more);
}

static const struct c2_net_events lane_events = {
    .up = lane_up, .message = lane_message, .writable = lane_writable, .down = lane_down
};

static void
dial(struct lane *l, struct person *p, unsigned replica, unsigned session)
{
    const struct bft_member *m = &p->attack->config.member[replica];
    struct c2_net_dial d = { .address = m->address };
    l->attack = p->attack;
    l->person = p;
    l->session = &p->session[session];
    l->more.run = go_on;
    memcpy(d.peer, m->identity_key, sizeof d.peer);
    d.as = (struct c2_net_admission){ .events = &lane_events,
                                      .user = l,
                                      .policy = C2_NET_PRESSURE,
                                      .queue_max = QUEUE_MAX,
                                      .frame_max = MSG_BYTES_MAX };
    l->net = c2_net_dial(p->net, &d);
}

static bool
person_begin(struct attack *a, struct person *p, unsigned nsessions)
{
    uint8_t seed[32];
    struct identity_client id;
    c2_random_bytes(seed, sizeof seed);
    identity_make_client(&a->admin, seed, &id);
    c2_ed25519_keypair(seed, p->secret, p->key);
    memcpy(p->cert, id.cert, sizeof p->cert);
    p->attack = a;
    p->nsessions = nsessions;
    for (unsigned i = 0; i < nsessions; i++) {
        struct session *s = &p->session[i];
        s->nonce = c2_wall_ns(a->env) + i;
        s->open = make_request(p, s, MSG_REQ_OPEN, s->nonce, c2_slice(p->cert, sizeof p->cert));
    }
    const struct c2_os_net_options net = { .secret = p->secret,
                                           .protocol = NODE_PROTOCOL,
                                           .backoff_min_ns = RETRY_NS,
                                           .backoff_max_ns = RETRY_NS };
    return c2_os_net_new(a->os, &net, &p->net) == C2_E_OK;
}

/* ---- the program ----------------------------------------------------------------------------- */

/* Sessions that no lane opens are opened here, and whatever a broken connection has lost again. */
static void
tick(struct c2_timer *t)
{
    struct attack *a = C2_CONTAINER_OF(t, struct attack, report);
    for (unsigned i = 0; i < a->me.nsessions; i++) {
        if (a->me.session[i].id == 0)
            send_to_all(&a->me, &a->me.session[i], a->me.session[i].open);
    }
    if (!a->prepared && a->kind->prepare != NULL)
        (void)a->kind->prepare(a);
    printf("sent=%" PRIu64 " bytes=%" PRIu64 " answers=%" PRIu64 " connected=%" PRIu64
           " ended=%" PRIu64 " versions=%" PRIu64 "\n",
           a->sent, a->bytes, a->answers, a->connected, a->ended, a->versions);
    (void)fflush(stdout);
    c2_timer_arm(a->env, t, c2_now_ns(a->env) + REPORT_NS);
}

static bool
read_files(struct attack *a, const char *trust, const char *admin)
{
    struct c2_buf text = { 0 };
    bool good = c2_os_read_file(trust, IDENTITY_FILE_MAX, &text, NULL) == C2_E_OK &&
                identity_read_cluster(c2_buf_slice(&text), &a->config) == C2_E_OK;
    c2_buf_clear(&text);
    good = good && c2_os_read_file(admin, IDENTITY_FILE_MAX, &text, NULL) == C2_E_OK &&
           identity_read_admin(c2_buf_slice(&text), &a->admin) == C2_E_OK;
    c2_buf_done(&text);
    return good;
}

static bool
choose(struct attack *a, int argc, char **argv)
{
    a->nlinks = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 16;
    for (size_t i = 0; argc > 3 && i < C2_ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i].name, argv[3]) == 0)
            a->kind = &kinds[i];
    }
    return a->kind != NULL && a->nlinks >= 1 && a->nlinks <= LINKS_MAX;
}

int
main(int argc, char **argv)
{
    struct attack *a = c2_calloc(1, sizeof *a);
    bool never = false;
    if (!choose(a, argc, argv)) {
        fprintf(stderr, "usage: hostile ROOT.PUB ADMIN.KEY KIND [LINKS]\n");
        return 2;
    }
    if (c2_crypto_init() != C2_E_OK || !read_files(a, argv[1], argv[2]) ||
        c2_os_new(1, &a->os) != C2_E_OK) {
        fprintf(stderr, "hostile: cannot use %s and %s\n", argv[1], argv[2]);
        return 2;
    }
    a->env = c2_os_env(a->os);
    if (!person_begin(a, &a->me, a->kind->sessions) || !person_begin(a, &a->other, 1))
        return 2;
    for (unsigned i = 0; i < a->config.n; i++) {
        for (unsigned k = 0; k < a->nlinks; k++)
            dial(&a->lane[i][k], &a->me, i, k % a->kind->sessions);
        dial(&a->witness[i], &a->other, i, 0);
    }
    a->report.fire = tick;
    tick(&a->report);
    c2_os_run_until(a->os, &never);
    return 1;
}
