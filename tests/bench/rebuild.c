/* SPDX-License-Identifier: MIT */
/*
 * rebuild FILE MIB PARALLEL RUNS MIN : how fast ds_rebuild makes a seat's shares, beside a plain
 * copy of the same bytes between the same servers by the same HTTP client. FILE is a configuration
 * with five providers: four seats, and one that takes the place of the second.
 *
 *   copied     ds_rebuild while the leaving provider is there        / GET there + PUT
 *   rebuilt    ds_rebuild from two other seats                       / GET of both + PUT
 *
 * Each round measures all four in turn; printed are medians of the seat's bytes per second and of
 * the ratios. Exit code 1 when a ratio is below MIN, or when a rebuilt share is not the lost one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/registry.h"
#include "base/alloc.h"
#include "base/conf.h"
#include "base/crypto.h"
#include "base/os_loop.h"
#include "depsky/depsky.h"

#define SEATS        4
#define LEAVING      1 /* the seat whose provider is replaced */
#define RUNS_MAX     25
#define PARALLEL_MAX 64
#define SHARE_MAX    ((size_t)24 << 20)

enum { PLAIN_ONE, COPIED, PLAIN_TWO, REBUILT, WAYS };
static const char *const ways[WAYS] = { "plain copy of the seat's bytes", "ds_rebuild, copied",
                                        "plain copy, two read for one written",
                                        "ds_rebuild, from two others" };

struct bench {
    struct c2_os *os;
    struct c2_env *env;
    struct c2_conf *conf;
    struct provider *p[SEATS + 1];
    struct ds_client *old, *new; /* before and after the seat changed hands */
    size_t nobjects, parallel;
    struct ds_ref *ref;
    uint64_t bytes; /* of all shares of the seat */
    /* one way at a time */
    unsigned way;
    size_t started, running;
    bool idle;
    unsigned failed;
};

/* One object on its way. */
struct move {
    struct bench *b;
    size_t index;
    struct prov_req get[2], put;
    unsigned gets;
    char key[PROV_KEY_MAX], copy_key[PROV_KEY_MAX + 8];
    struct ds_rebuild rebuild;
};

static void
die(const char *what)
{
    fprintf(stderr, "rebuild: %s\n", what);
    exit(2);
}

static void next(struct bench *b);

static void
moved(struct move *m, enum c2_err err)
{
    struct bench *b = m->b;
    if (err != C2_E_OK) {
        fprintf(stderr, "rebuild: %s: object %zu: %s\n", ways[b->way], m->index, c2_err_text(err));
        b->failed++;
    }
    c2_free(m);
    b->running--;
    next(b);
}

static void
put_done(struct prov_req *r)
{
    struct move *m = C2_CONTAINER_OF(r, struct move, put);
    enum c2_err err = r->err;
    for (unsigned i = 0; i < 2; i++)
        prov_req_done(&m->get[i]);
    moved(m, err);
}

static void
got(struct move *m)
{
    if (--m->gets > 0)
        return;
    if (m->get[0].err != C2_E_OK) {
        moved(m, m->get[0].err);
        return;
    }
    m->put = (struct prov_req){ .verb = PROV_PUT,
                                .key = m->copy_key,
                                .body = m->get[0].reply,
                                .deadline_ns = C2_NEVER,
                                .done = put_done };
    prov_submit(m->b->p[SEATS], &m->put);
}

static void
first_done(struct prov_req *r)
{
    got(C2_CONTAINER_OF(r, struct move, get[0]));
}

static void
second_done(struct prov_req *r)
{
    got(C2_CONTAINER_OF(r, struct move, get[1]));
}

static void
get(struct move *m, unsigned slot, unsigned seat)
{
    m->get[slot] = (struct prov_req){ .verb = PROV_GET,
                                      .key = m->key,
                                      .body_len_max = SHARE_MAX,
                                      .deadline_ns = C2_NEVER,
                                      .done = slot == 0 ? first_done : second_done };
    prov_submit(m->b->p[seat], &m->get[slot]);
}

static void
rebuild_done(struct ds_rebuild *r)
{
    struct move *m = C2_CONTAINER_OF(r, struct move, rebuild);
    moved(m, r->err);
}

static void
start(struct bench *b, size_t index)
{
    struct move *m = c2_calloc(1, sizeof(*m));
    m->b = b;
    m->index = index;
    ds_object_key(b->old, DS_KIND_OBJECT, b->ref[index].oid, m->key);
    snprintf(m->copy_key, sizeof(m->copy_key), "copy/%s", m->key);
    if (b->way == PLAIN_ONE) {
        m->gets = 1;
        get(m, 0, LEAVING);
    } else if (b->way == PLAIN_TWO) {
        m->gets = 2;
        get(m, 0, 2);
        get(m, 1, 3);
    } else {
        m->rebuild = (struct ds_rebuild){ .kind = DS_KIND_OBJECT,
                                          .ref = b->ref[index],
                                          .seat = LEAVING,
                                          .placed = 0xf & ~(1u << LEAVING) & ~1u,
                                          .source = b->way == COPIED ? b->p[LEAVING] : NULL,
                                          .done = rebuild_done };
        ds_rebuild_start(b->new, &m->rebuild);
    }
}

/* Keeps `parallel` objects on their way. */
static void
next(struct bench *b)
{
    while (b->running < b->parallel && b->started < b->nobjects) {
        b->running++;
        start(b, b->started++);
    }
    b->idle = b->running == 0;
}

/* Bytes of the seat per second. */
static double
measure(struct bench *b, unsigned way)
{
    uint64_t begin = c2_now_ns(b->env);
    b->way = way;
    b->started = b->running = 0;
    next(b);
    c2_os_run_until(b->os, &b->idle);
    return (double)b->bytes / ((double)(c2_now_ns(b->env) - begin) / 1e9);
}

/* ---- the volume ------------------------------------------------------------------------ */

struct waited {
    struct ds_put put;
    struct prov_req req;
    bool done;
};

static void
stored(struct ds_put *p)
{
    C2_CONTAINER_OF(p, struct waited, put)->done = true;
}

static void
fetched(struct prov_req *r)
{
    C2_CONTAINER_OF(r, struct waited, req)->done = true;
}

/* The share as a provider has it; the caller's. */
static struct c2_blob *
share(struct bench *b, unsigned provider, size_t index)
{
    char key[PROV_KEY_MAX];
    struct waited w = { .req = { .verb = PROV_GET,
                                 .key = key,
                                 .body_len_max = SHARE_MAX,
                                 .deadline_ns = C2_NEVER,
                                 .done = fetched } };
    ds_object_key(b->old, DS_KIND_OBJECT, b->ref[index].oid, key);
    prov_submit(b->p[provider], &w.req);
    c2_os_run_until(b->os, &w.done);
    if (w.req.err != C2_E_OK)
        die("a share cannot be read");
    return w.req.reply;
}

static void
fill(struct bench *b)
{
    struct c2_blob *data = c2_blob_new(DS_OBJECT_SIZE_DEFAULT);
    b->ref = c2_calloc(b->nobjects, sizeof(*b->ref));
    for (size_t i = 0; i < b->nobjects; i++) {
        c2_random(b->env, data->data, data->len);
        struct c2_slice piece = c2_blob_slice(data);
        struct waited w = { .put = { .data = &piece, .ndata = 1, .done = stored } };
        w.put.oid = (struct ds_oid){ .sid = 1, .seq = i };
        c2_random(b->env, w.put.oid.rnd, sizeof(w.put.oid.rnd));
        ds_put_start(b->old, &w.put);
        c2_os_run_until(b->os, &w.done);
        if (w.put.err != C2_E_OK)
            die(c2_err_text(w.put.err));
        b->ref[i] = w.put.ref;
        struct c2_blob *s = share(b, LEAVING, i); /* late PUTs have arrived, too */
        b->bytes += s->len;
        c2_blob_unref(s);
        for (unsigned seat = 2; seat < SEATS; seat++)
            c2_blob_unref(share(b, seat, i));
    }
    c2_blob_unref(data);
}

static void
open_all(struct bench *b, const char *file)
{
    struct provider *seats[SEATS];
    struct ds_config config;
    if (c2_crypto_init() != C2_E_OK || c2_os_new(2, &b->os) != C2_E_OK)
        die("cannot start");
    b->env = c2_os_env(b->os);
    b->conf = c2_conf_new();
    if (c2_conf_load_file(b->conf, file) != C2_E_OK)
        die(c2_conf_error(b->conf));
    for (unsigned i = 0; i <= SEATS; i++) {
        const char *name = c2_conf_section(b->conf, "provider", i);
        char *error = NULL;
        if (name == NULL || prov_open(b->env, b->os, b->conf, name, &b->p[i], &error) != C2_E_OK)
            die(error != NULL ? error : "the configuration needs five providers");
    }
    ds_config_default(&config);
    config.keyless = true;
    config.write_all = true;
    config.compress = DS_COMPRESS_NONE;
    memcpy(seats, b->p, sizeof(seats));
    if (ds_client_new(b->env, &config, seats, &b->old) != C2_E_OK)
        die("cannot open");
    seats[LEAVING] = b->p[SEATS];
    if (ds_client_new(b->env, &config, seats, &b->new) != C2_E_OK)
        die("cannot open");
}

static void
drained(void *arg)
{
    *(bool *)arg = true;
}

static void
close_all(struct bench *b)
{
    struct ds_client *clients[2] = { b->old, b->new };
    for (unsigned i = 0; i < 2; i++) {
        bool done = false;
        ds_client_drain(clients[i], drained, &done);
        c2_os_run_until(b->os, &done);
        ds_client_free(clients[i]);
    }
    for (unsigned i = 0; i <= SEATS; i++)
        prov_close(b->p[i]);
    c2_os_drain(b->os);
    c2_os_free(b->os);
    c2_conf_free(b->conf);
    c2_free(b->ref);
}

static bool
all_equal(struct bench *b)
{
    bool equal = true;
    for (size_t i = 0; i < b->nobjects; i++) {
        struct c2_blob *was = share(b, LEAVING, i), *is = share(b, SEATS, i);
        equal = equal && c2_slice_equal(c2_blob_slice(was), c2_blob_slice(is));
        c2_blob_unref(was);
        c2_blob_unref(is);
    }
    return equal;
}

/* ---- figures --------------------------------------------------------------------------- */

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double
median(const double *v, size_t n)
{
    double sorted[RUNS_MAX];
    memcpy(sorted, v, n * sizeof(*v));
    qsort(sorted, n, sizeof(*sorted), by_value);
    return sorted[n / 2];
}

int
main(int argc, char **argv)
{
    static struct bench b;
    static double speed[WAYS][RUNS_MAX], ratio[2][RUNS_MAX];
    if (argc != 6)
        die("usage: rebuild FILE MIB PARALLEL RUNS MIN");
    size_t runs = strtoul(argv[4], NULL, 10);
    double min = strtod(argv[5], NULL);
    b.nobjects = strtoul(argv[2], NULL, 10) / (DS_OBJECT_SIZE_DEFAULT >> 20);
    b.parallel = strtoul(argv[3], NULL, 10);
    if (b.nobjects < 1 || runs < 1 || runs > RUNS_MAX || b.parallel < 1 ||
        b.parallel > PARALLEL_MAX)
        die("MIB from 8 on, PARALLEL 1 to 64, RUNS 1 to 25");
    open_all(&b, argv[1]);
    fill(&b);
    for (size_t r = 0; r < runs; r++) {
        for (unsigned way = 0; way < WAYS; way++)
            speed[way][r] = measure(&b, way);
        ratio[0][r] = speed[COPIED][r] / speed[PLAIN_ONE][r];
        ratio[1][r] = speed[REBUILT][r] / speed[PLAIN_TWO][r];
    }
    bool equal = all_equal(&b);
    for (unsigned way = 0; way < WAYS; way++)
        printf("%-40s %8.1f MB/s\n", ways[way], median(speed[way], runs) / 1e6);
    printf("%-40s %8.2f\n%-40s %8.2f\n", "ratio, copied", median(ratio[0], runs), "ratio, rebuilt",
           median(ratio[1], runs));
    bool good = median(ratio[0], runs) >= min && median(ratio[1], runs) >= min;
    if (!equal)
        fprintf(stderr, "rebuild: a rebuilt share differs from the lost one\n");
    if (!good)
        fprintf(stderr, "rebuild: a ratio is below %.2f\n", min);
    if (b.failed > 0)
        fprintf(stderr, "rebuild: %u objects failed\n", b.failed);
    unsigned failed = b.failed;
    close_all(&b);
    return equal && good && failed == 0 ? 0 : 1;
}
