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
#include "metadata/cmd.h"
#include "tests/lib/attack.h"

#define REPORT_NS (C2_NS_PER_S / 4)
#define OVERSIZED (MSG_REQUEST_MAX + 1)
#define PIECES    15 /* of COORD_VALUE_MAX: what fits into a transaction, and into an answer */
#define PREFIXES  64

/* ---- messages -------------------------------------------------------------------------------- */

static struct c2_blob *
make_read(struct attack_lane *l, const struct coord_req *r)
{
    const struct msg_head h = { .sender = MSG_SENDER_CLIENT, .cluster = l->attack->config.cluster };
    struct c2_buf op = { 0 }, out = { 0 };
    cmd_encode(r, c2_slice(NULL, 0), &op);
    const struct msg_read m = { .rseq = l->number, .full = 1, .op = c2_buf_slice(&op) };
    msg_write_read(&out, &h, &m);
    c2_buf_done(&op);
    return attack_take(&out);
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

/* ---- what it does ---------------------------------------------------------------------------- */

/* The same over and over again. */
static struct c2_blob *
next_ammunition(struct attack_lane *l)
{
    return c2_blob_ref(l->attack->ammunition);
}

static struct c2_blob *
next_frame(struct attack_lane *l)
{
    if (l->attack->ammunition == NULL)
        l->attack->ammunition = c2_blob_new(OVERSIZED);
    return next_ammunition(l);
}

/* Each is another one, so that no replica has seen it. */
static struct c2_blob *
next_forged(struct attack_lane *l)
{
    struct attack_session *s = l->session;
    if (s->id == 0)
        return NULL;
    struct c2_blob *b =
        attack_request(l->person, s, MSG_REQ_COMMAND, ++s->next, c2_slice("nothing", 7));
    b->data[b->len - 1] ^= 1;
    return b;
}

/* Requests go to all replicas at once, from here; the lane itself has none. */
static struct c2_blob *
next_of_sessions(struct attack_lane *l, unsigned count, size_t len)
{
    struct attack *a = l->attack;
    unsigned first = (unsigned)(l - a->lane[0]);
    if (first >= a->nlinks)
        return NULL; /* not of the first replica */
    for (unsigned i = first; i < a->me.nsessions; i += a->nlinks) {
        struct attack_session *s = &a->me.session[i];
        for (unsigned k = 0; k < ATTACK_IN_A_ROW && !l->stuck; k++) {
            if (s->id == 0 || s->next >= s->low + BFT_SESSION_WINDOW)
                break;
            struct c2_buf op = { 0 };
            char name[24];
            snprintf(name, sizeof name, "hostile/%u", i);
            encode_puts(&op, name, count, len);
            struct c2_blob *b =
                attack_request(&a->me, s, MSG_REQ_COMMAND, ++s->next, c2_buf_slice(&op));
            attack_send_to_all(&a->me, s, b);
            c2_blob_unref(b);
            c2_buf_done(&op);
        }
    }
    return NULL;
}

static struct c2_blob *
next_large(struct attack_lane *l)
{
    return next_of_sessions(l, PIECES, COORD_VALUE_MAX);
}

static struct c2_blob *
next_greedy(struct attack_lane *l)
{
    return next_of_sessions(l, 1, 64);
}

static struct c2_blob *
next_read(struct attack_lane *l)
{
    struct c2_slice key = c2_slice_str("hostile/read");
    const struct coord_req r = { .verb = COORD_GET, .keys = &key, .nkeys = 1 };
    return make_read(l, &r);
}

static struct c2_blob *
next_range(struct attack_lane *l)
{
    struct c2_slice key = c2_slice_str("hostile/large/");
    const struct coord_req r = { .verb = COORD_RANGE, .keys = &key, .nkeys = 1 };
    return make_read(l, &r);
}

static struct c2_blob *
next_watch(struct attack_lane *l)
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
    return attack_take(&out);
}

/* ---- what must be there before --------------------------------------------------------------- */

/* 64 commands in one request. */
static struct c2_blob *
many_commands(struct attack_person *p)
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
    struct c2_blob *b = attack_request(p, &p->session[0], MSG_REQ_COMMANDS, 1, c2_buf_slice(&ops));
    c2_buf_done(&ops);
    return b;
}

static void
prepare_replay(struct attack *a)
{
    attack_prepare_by(a, &a->me, many_commands);
}

static void
prepare_stolen(struct attack *a)
{
    attack_prepare_by(a, &a->other, many_commands);
}

static struct c2_blob *
closing(struct attack_person *p)
{
    p->attack->ammunition = many_commands(p);
    return attack_request(p, &p->session[0], MSG_REQ_CLOSE, 1, c2_slice(NULL, 0));
}

static void
prepare_stale(struct attack *a)
{
    attack_prepare_by(a, &a->me, closing);
}

static struct c2_blob *
large_values(struct attack_person *p)
{
    struct c2_buf op = { 0 };
    encode_puts(&op, "hostile/large", PIECES, COORD_VALUE_MAX);
    struct c2_blob *b = attack_request(p, &p->session[0], MSG_REQ_COMMAND, 1, c2_buf_slice(&op));
    c2_buf_done(&op);
    return b;
}

static void
prepare_ranges(struct attack *a)
{
    attack_prepare_by(a, &a->other, large_values);
}

static const struct attack_kind kinds[] = {
    { "frames", next_frame, NULL, 1, false },
    { "large", next_large, NULL, ATTACK_SESSIONS_MAX, false },
    { "forged", next_forged, NULL, 1, false },
    { "replay", next_ammunition, prepare_replay, 1, false },
    { "stale", next_ammunition, prepare_stale, 1, false },
    { "stolen", next_ammunition, prepare_stolen, 1, false },
    { "greedy", next_greedy, NULL, ATTACK_SESSIONS_MAX, false },
    { "reads", next_read, NULL, 1, false },
    { "ranges", next_range, prepare_ranges, 1, false },
    { "watch", next_watch, NULL, 1, false },
    { "deaf", next_range, prepare_ranges, 1, true },
};

/* ---- the program ----------------------------------------------------------------------------- */

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
    return a->kind != NULL && a->nlinks >= 1 && a->nlinks <= ATTACK_LINKS_MAX;
}

struct program {
    struct attack attack;
    struct c2_timer report;
};

static void
report(struct c2_timer *t)
{
    struct attack *a = &C2_CONTAINER_OF(t, struct program, report)->attack;
    attack_again(a);
    printf("sent=%" PRIu64 " bytes=%" PRIu64 " answers=%" PRIu64 " connected=%" PRIu64
           " ended=%" PRIu64 " versions=%" PRIu64 "\n",
           a->sent, a->bytes, a->answers, a->connected, a->ended, a->versions);
    (void)fflush(stdout);
    c2_timer_arm(a->env, t, c2_now_ns(a->env) + REPORT_NS);
}

int
main(int argc, char **argv)
{
    struct program *p = c2_calloc(1, sizeof *p);
    struct attack *a = &p->attack;
    bool never = false;
    if (!choose(a, argc, argv)) {
        fprintf(stderr, "usage: hostile ROOT.PUB ADMIN.KEY KIND [LINKS]\n");
        return 2;
    }
    if (c2_crypto_init() != C2_E_OK || !read_files(a, argv[1], argv[2]) ||
        c2_os_new(1, &a->os) != C2_E_OK || !attack_begin(a)) {
        fprintf(stderr, "hostile: cannot use %s and %s\n", argv[1], argv[2]);
        return 2;
    }
    p->report.fire = report;
    report(&p->report);
    c2_os_run_until(a->os, &never);
    return 1;
}
