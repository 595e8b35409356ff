/* SPDX-License-Identifier: MIT */
/*
 * kvload CONF SERVICE KIND OPS [CONNECTIONS [DEPTH [KEYS [HISTORY]]]]
 *
 * Load on a coordination service: OPS requests in all, over CONNECTIONS clients with DEPTH requests
 * under way in each. KIND: put | get | mix; or fill: OPS keys in order, 500 in a request. Prints
 * "ops=N errors=N seconds=S per_second=R p50_us=L p95_us=L p99_us=L". Keys begin with
 * $KVLOAD_PREFIX. With HISTORY, a line per request: client begin end op key value version ("-" =
 * unknown), for tests/lib/check_history. Exit code 1 when a request failed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/conf.h"
#include "base/crypto.h"
#include "base/os_loop.h"
#include "metadata/registry.h"
#include "tests/lib/load_report.h"

#define VALUE_LEN  256
#define TIMEOUT_NS (120 * C2_NS_PER_S)
#define FILL       500 /* keys in one request */

struct slot {
    struct load *load;
    struct coord *coord;
    unsigned number;
    struct coord_req req;
    struct coord_op op;
    struct c2_slice key;
    char key_text[48];
    char value[VALUE_LEN];
    bool reads;
    uint64_t begin_ns;
    struct coord_op *fill_ops; /* owned: FILL of them; NULL = not filling */
    char (*fill_keys)[24];     /* owned */
};

struct load {
    struct c2_os *os;
    struct c2_env *env;
    const char *kind, *prefix;
    uint64_t ops, begun, ended, errors, keys;
    uint64_t *latency_us;
    FILE *history;
    bool over;
};

static void next(struct slot *s);

static void
record(const struct slot *s, uint64_t end_ns)
{
    const struct coord_req *r = &s->req;
    const char *value = s->value;
    char read[VALUE_LEN + 1] = "";
    if (s->load->history == NULL)
        return;
    if (s->reads && r->err == C2_E_OK) {
        snprintf(read, sizeof read, "%.*s", (int)C2_MIN(r->entries[0].value.len, VALUE_LEN),
                 r->entries[0].version == 0 ? "" : (const char *)r->entries[0].value.data);
        value = read[0] == '\0' ? "none" : read;
    }
    uint64_t version = s->reads && r->err == C2_E_OK ? r->entries[0].version : r->version;
    fprintf(s->load->history, "%u %" PRIu64 " ", s->number, s->begin_ns);
    if (r->err == C2_E_OK)
        fprintf(s->load->history, "%" PRIu64 " %s %s %.40s %" PRIu64 "\n", end_ns,
                s->reads ? "get" : "put", s->key_text, value, version);
    else
        fprintf(s->load->history, "- %s %s %.40s -\n", s->reads ? "get" : "put", s->key_text,
                s->reads ? "none" : value);
}

static void
done(struct coord_req *r)
{
    struct slot *s = C2_CONTAINER_OF(r, struct slot, req);
    struct load *l = s->load;
    uint64_t now_ns = c2_now_ns(l->env);
    record(s, now_ns);
    if (r->err != C2_E_OK) {
        fprintf(stderr, "kvload: %s\n", c2_err_name(r->err));
        l->errors++;
    }
    coord_req_done(r);
    l->latency_us[l->ended++] = (now_ns - s->begin_ns) / 1000;
    l->over = l->ended == l->ops;
    next(s);
}

/* The next keys, all in one request. */
static void
fill(struct slot *s)
{
    struct load *l = s->load;
    uint64_t first = l->begun++ * FILL;
    memset(s->value, '.', sizeof s->value);
    for (unsigned i = 0; i < FILL; i++) {
        int len = snprintf(s->fill_keys[i], sizeof s->fill_keys[i], "fill/%012" PRIu64, first + i);
        s->fill_ops[i] = (struct coord_op){ .kind = COORD_PUT };
        s->fill_ops[i].key = c2_slice(s->fill_keys[i], (size_t)len);
        s->fill_ops[i].value = c2_slice(s->value, sizeof s->value);
    }
    s->begin_ns = c2_now_ns(l->env);
    s->req = (struct coord_req){ .verb = COORD_TXN, .ops = s->fill_ops, .nops = FILL };
    s->req.deadline_ns = s->begin_ns + TIMEOUT_NS;
    s->req.done = done;
    coord_submit(s->coord, &s->req);
}

static void
next(struct slot *s)
{
    struct load *l = s->load;
    if (l->begun == l->ops)
        return;
    if (s->fill_ops != NULL) {
        fill(s);
        return;
    }
    uint64_t number = l->begun++;
    uint64_t random;
    c2_random_bytes(&random, sizeof random);
    s->reads = strcmp(l->kind, "get") == 0 || (strcmp(l->kind, "mix") == 0 && random % 2 == 0);
    snprintf(s->key_text, sizeof s->key_text, "%.20s/%" PRIu64, l->prefix, random / 2 % l->keys);
    memset(s->value, '.', sizeof s->value);
    int len = snprintf(s->value, sizeof s->value, "v%" PRIu64 "-%u", number, s->number);
    s->value[len] = l->history == NULL ? '.' : '\0';
    s->key = c2_slice_str(s->key_text);
    s->op = (struct coord_op){ .kind = COORD_PUT, .key = s->key };
    s->op.value = l->history == NULL ? c2_slice(s->value, sizeof s->value) : c2_slice_str(s->value);
    s->begin_ns = c2_now_ns(l->env);
    s->req = (struct coord_req){ .verb = s->reads ? COORD_GET : COORD_TXN,
                                 .deadline_ns = s->begin_ns + TIMEOUT_NS,
                                 .done = done };
    if (s->reads) {
        s->req.keys = &s->key;
        s->req.nkeys = 1;
    } else {
        s->req.ops = &s->op;
        s->req.nops = 1;
    }
    coord_submit(s->coord, &s->req);
}

static unsigned
number(int argc, char **argv, int at, unsigned otherwise)
{
    return argc > at ? (unsigned)strtoul(argv[at], NULL, 10) : otherwise;
}

int
main(int argc, char **argv)
{
    struct load l = { .kind = argc > 3 ? argv[3] : "put", .ops = number(argc, argv, 4, 0) };
    unsigned connections = number(argc, argv, 5, 1), depth = number(argc, argv, 6, 1);
    struct coord *coords[64];
    char *error = NULL;
    l.keys = number(argc, argv, 7, 1000);
    if (strcmp(l.kind, "fill") == 0)
        l.ops = (l.ops + FILL - 1) / FILL;
    l.prefix = getenv("KVLOAD_PREFIX") != NULL ? getenv("KVLOAD_PREFIX") : "load";
    if (argc < 5 || l.ops == 0 || connections > C2_ARRAY_LEN(coords) || l.keys == 0) {
        fprintf(stderr, "usage: kvload CONF SERVICE put|get|mix|fill OPS [CONNECTIONS [DEPTH [KEYS "
                        "[HISTORY]]]]\n");
        return 2;
    }
    struct c2_conf *conf = c2_conf_new();
    if (c2_conf_load_file(conf, argv[1]) != C2_E_OK || c2_crypto_init() != C2_E_OK ||
        c2_os_new(1, &l.os) != C2_E_OK) {
        fprintf(stderr, "kvload: %s\n", c2_conf_error(conf));
        return 2;
    }
    l.env = c2_os_env(l.os);
    l.latency_us = c2_calloc(l.ops, sizeof *l.latency_us);
    l.history = argc > 8 ? fopen(argv[8], "we") : NULL;
    struct slot *slots = c2_calloc((size_t)connections * depth, sizeof *slots);
    for (unsigned i = 0; i < connections; i++) {
        if (coord_open_conf(l.env, conf, argv[2], false, &coords[i], &error) != C2_E_OK) {
            fprintf(stderr, "kvload: %s\n", error);
            return 2;
        }
    }
    uint64_t from_ns = c2_now_ns(l.env);
    for (unsigned i = 0; i < connections * depth; i++) {
        slots[i].load = &l;
        slots[i].number = i;
        slots[i].coord = coords[i % connections];
        if (strcmp(l.kind, "fill") == 0) {
            slots[i].fill_ops = c2_calloc(FILL, sizeof *slots[i].fill_ops);
            slots[i].fill_keys = c2_calloc(FILL, sizeof *slots[i].fill_keys);
        }
        next(&slots[i]);
    }
    c2_os_run_until(l.os, &l.over);
    load_report(l.latency_us, l.ops, l.errors, c2_now_ns(l.env) - from_ns);
    for (unsigned i = 0; i < connections; i++)
        coord_close(coords[i]);
    c2_os_drain(l.os);
    c2_os_free(l.os);
    c2_conf_free(conf);
    if (l.history != NULL)
        (void)fclose(l.history);
    for (unsigned i = 0; i < connections * depth; i++) {
        c2_free(slots[i].fill_ops);
        c2_free(slots[i].fill_keys);
    }
    c2_free(l.latency_us);
    c2_free(slots);
    return l.errors == 0 ? 0 : 1;
}
