/* SPDX-License-Identifier: MIT */
/*
 * bft_load ROOT.PUB ADMIN.KEY put|get OPS CLIENTS RATE
 *
 * Load by CLIENTS separate clients: each has a key of its own that the authority in ADMIN.KEY
 * admits, connections and a session of its own, and signs each of its requests alone. RATE 0: each
 * client has one request under way, and sends the next one when it is answered. Else the clients
 * offer RATE requests per second together, evenly, however long the answers take; latencies count
 * from the moment when a request was due. Values have 256 bytes, 1000 keys are used.
 *
 * Prints "ops=N errors=N seconds=S per_second=R p50_us=L p95_us=L p99_us=L"; exit code 1 when a
 * request failed.
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
#include "metadata/bft_client.h"
#include "metadata/identity.h"
#include "metadata/node.h"
#include "tests/lib/load_report.h"

#define VALUE_LEN   256
#define KEYS        1000
#define CLIENTS_MAX 256
#define OPS_MAX     10000000
#define TIMEOUT_NS  (60 * C2_NS_PER_S)

struct load;

struct op {
    struct load *load;
    struct coord_req req;
    struct coord_op put;
    struct c2_slice key;
    char key_text[32];
    unsigned client;
    uint64_t due_ns;
};

struct load {
    struct c2_os *os;
    struct c2_env *env;
    struct bft_config config;
    struct identity_admin admin;
    struct coord *clients[CLIENTS_MAX];
    unsigned nclients;
    bool reads;
    uint64_t rate; /* per second; 0 = closed loop */
    uint64_t ops, begun, ended, errors;
    uint64_t from_ns, random;
    uint64_t *latency_us;
    char value[VALUE_LEN];
    struct c2_timer timer;
    bool over;
};

static void submit(struct load *l, unsigned client, uint64_t due_ns);

static void
done(struct coord_req *r)
{
    struct op *o = C2_CONTAINER_OF(r, struct op, req);
    struct load *l = o->load;
    uint64_t now_ns = c2_now_ns(l->env);
    unsigned client = o->client;
    if (r->err != C2_E_OK) {
        fprintf(stderr, "bft_load: %s\n", c2_err_name(r->err));
        l->errors++;
    }
    l->latency_us[l->ended++] = (now_ns - o->due_ns) / 1000;
    l->over = l->ended == l->ops;
    coord_req_done(r);
    c2_free(o);
    if (l->rate == 0 && l->begun < l->ops)
        submit(l, client, now_ns);
}

static void
submit(struct load *l, unsigned client, uint64_t due_ns)
{
    struct op *o = c2_calloc(1, sizeof *o);
    l->random = l->random * 6364136223846793005 + 1442695040888963407;
    snprintf(o->key_text, sizeof o->key_text, "load/%" PRIu64, (l->random >> 33) % KEYS);
    l->begun++;
    o->load = l;
    o->client = client;
    o->due_ns = due_ns;
    o->key = c2_slice_str(o->key_text);
    o->req.deadline_ns = c2_now_ns(l->env) + TIMEOUT_NS;
    o->req.done = done;
    if (l->reads) {
        o->req.verb = COORD_GET;
        o->req.keys = &o->key;
        o->req.nkeys = 1;
    } else {
        o->put = (struct coord_op){ .kind = COORD_PUT, .key = o->key };
        o->put.value = c2_slice(l->value, sizeof l->value);
        o->req.verb = COORD_TXN;
        o->req.ops = &o->put;
        o->req.nops = 1;
    }
    coord_submit(l->clients[client], &o->req);
}

/* Everything that is due by now. */
static void
offer(struct c2_timer *t)
{
    struct load *l = C2_CONTAINER_OF(t, struct load, timer);
    uint64_t now_ns = c2_now_ns(l->env), due_ns = now_ns;
    while (l->begun < l->ops) {
        due_ns = l->from_ns + l->begun * C2_NS_PER_S / l->rate;
        if (due_ns > now_ns)
            break;
        submit(l, (unsigned)(l->begun % l->nclients), due_ns);
    }
    if (l->begun < l->ops)
        c2_timer_arm(l->env, t, due_ns);
}

static void
run(struct load *l, uint64_t ops, uint64_t rate)
{
    l->ops = ops;
    l->rate = rate;
    l->begun = l->ended = 0;
    l->over = false;
    l->from_ns = c2_now_ns(l->env);
    if (rate != 0)
        offer(&l->timer);
    else
        for (unsigned i = 0; i < l->nclients && l->begun < ops; i++)
            submit(l, i, l->from_ns);
    c2_os_run_until(l->os, &l->over);
}

static struct coord *
new_client(struct load *l)
{
    uint8_t seed[32], secret[C2_ED25519_SECRET_LEN], key[C2_ED25519_PUBLIC_LEN];
    struct identity_client id;
    struct bft_client_options o = { .config = &l->config, .secret = secret, .cert = id.cert };
    c2_random_bytes(seed, sizeof seed);
    c2_random_bytes(&o.seed, sizeof o.seed);
    identity_make_client(&l->admin, seed, &id);
    c2_ed25519_keypair(seed, secret, key);
    const struct c2_os_net_options net = { .secret = secret, .protocol = NODE_PROTOCOL };
    return c2_os_net_new(l->os, &net, &o.net) == C2_E_OK ? bft_client_new(l->env, &o) : NULL;
}

static bool
read_files(struct load *l, const char *trust, const char *admin)
{
    struct c2_buf text = { 0 };
    bool good = c2_os_read_file(trust, IDENTITY_FILE_MAX, &text, NULL) == C2_E_OK &&
                identity_read_cluster(c2_buf_slice(&text), &l->config) == C2_E_OK;
    c2_buf_clear(&text);
    good = good && c2_os_read_file(admin, IDENTITY_FILE_MAX, &text, NULL) == C2_E_OK &&
           identity_read_admin(c2_buf_slice(&text), &l->admin) == C2_E_OK;
    c2_buf_done(&text);
    return good;
}

int
main(int argc, char **argv)
{
    struct load *l = c2_calloc(1, sizeof *l);
    uint64_t ops = argc == 7 ? strtoull(argv[4], NULL, 10) : 0;
    uint64_t rate = argc == 7 ? strtoull(argv[6], NULL, 10) : 0;
    l->nclients = argc == 7 ? (unsigned)strtoul(argv[5], NULL, 10) : 0;
    if (ops == 0 || ops > OPS_MAX || l->nclients == 0 || l->nclients > CLIENTS_MAX) {
        fprintf(stderr, "usage: bft_load ROOT.PUB ADMIN.KEY put|get OPS CLIENTS RATE\n");
        return 2;
    }
    if (c2_crypto_init() != C2_E_OK || !read_files(l, argv[1], argv[2]) ||
        c2_os_new(1, &l->os) != C2_E_OK) {
        fprintf(stderr, "bft_load: cannot use %s and %s\n", argv[1], argv[2]);
        return 2;
    }
    l->env = c2_os_env(l->os);
    l->latency_us = c2_calloc(C2_MAX(ops, l->nclients), sizeof *l->latency_us);
    l->timer.fire = offer;
    memset(l->value, '.', sizeof l->value);
    for (unsigned i = 0; i < l->nclients; i++)
        if ((l->clients[i] = new_client(l)) == NULL)
            return 2;
    run(l, l->nclients, 0); /* all are connected, and have their session */
    l->reads = strcmp(argv[3], "get") == 0;
    run(l, l->nclients, 0);
    uint64_t from_ns = c2_now_ns(l->env);
    run(l, ops, rate);
    load_report(l->latency_us, l->ops, l->errors, c2_now_ns(l->env) - from_ns);
    for (unsigned i = 0; i < l->nclients; i++)
        coord_close(l->clients[i]);
    c2_os_drain(l->os);
    c2_os_free(l->os);
    int code = l->errors == 0 ? 0 : 1;
    c2_wipe(&l->admin, sizeof l->admin);
    c2_free(l->latency_us);
    c2_free(l);
    return code;
}
