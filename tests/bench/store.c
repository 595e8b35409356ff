/* SPDX-License-Identifier: MIT */
/*
 * store FOLDER KEYS [CHANGED...]
 *
 * What a store of the coordination service costs at KEYS/100, KEYS/10 and KEYS keys of 256 B: a
 * transaction on a random key, with its share of a checkpoint after 10000 of them, and a checkpoint
 * after CHANGED of them (100, 1000 and 10000), as what is written to the disk, what is hashed, and
 * time. Then how long it takes to open it again, and to copy its state into an empty store, as a
 * replica fetches it, without a network between. FOLDER and FOLDER-2 must not exist.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/os_file.h"
#include "metadata/cmd.h"
#include "metadata/store.h"

#define VALUE_LEN  256
#define PUTS       500   /* in one transaction, while it fills */
#define COMMIT     50000 /* keys between two commits, while it fills */
#define TXNS       10000 /* that are timed: fewer than the digest tree waits for */
#define MAP_SIZE   (64ull << 30)
#define CHANGED    3
#define PAGE_BYTES 4096
#define PARTS      64 /* on their way */

static uint64_t hashes; /* counted, see the Makefile */

void __real_c2_sha256(struct c2_slice in, uint8_t out[C2_SHA256_LEN]);
void __wrap_c2_sha256(struct c2_slice in, uint8_t out[C2_SHA256_LEN]);
void __real_c2_sha256_v(const struct c2_slice *in, size_t n, uint8_t out[C2_SHA256_LEN]);
void __wrap_c2_sha256_v(const struct c2_slice *in, size_t n, uint8_t out[C2_SHA256_LEN]);

void
__wrap_c2_sha256(struct c2_slice in, uint8_t out[C2_SHA256_LEN])
{
    hashes++;
    __real_c2_sha256(in, out);
}

void
__wrap_c2_sha256_v(const struct c2_slice *in, size_t n, uint8_t out[C2_SHA256_LEN])
{
    hashes++;
    __real_c2_sha256_v(in, n, out);
}

struct bench {
    const char *folder;
    struct replica_app *app;
    struct replica_batch *batch;
    uint64_t keys;    /* there are */
    uint64_t time_ns; /* agreed */
    uint64_t random;
    struct c2_buf cmd, reply;
};

static void
fail(const char *what, enum c2_err err)
{
    fprintf(stderr, "store: %s: %s\n", what, c2_err_name(err));
    exit(1);
}

static double
clock_s(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A number from a file of /proc: the one after `name`. */
static uint64_t
proc_number(const char *path, const char *name)
{
    FILE *f = fopen(path, "r");
    char line[256];
    uint64_t n = 0;
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0)
            n = strtoull(line + strlen(name), NULL, 10);
    }
    if (f != NULL)
        fclose(f);
    return n;
}

static uint64_t
written(void)
{
    return proc_number("/proc/self/io", "wchar:");
}

static uint64_t
next_random(struct bench *b)
{
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return b->random;
}

/* ---- the store ------------------------------------------------------------------------------- */

static void
open_store(struct bench *b, bool create)
{
    const struct store_options o = { .map_size = MAP_SIZE, .create = create, .replicated = true };
    char *error = NULL;
    enum c2_err err = store_open(b->folder, &o, &b->app, &error);
    if (err != C2_E_OK)
        fail(error, err);
}

static void
begin(struct bench *b)
{
    enum c2_err err = b->app->ops->begin(b->app, &b->batch);
    if (err != C2_E_OK)
        fail("begin", err);
}

/* The digest of everything, and all of it on the disk. */
static void
checkpoint(struct bench *b)
{
    uint8_t digest[32];
    enum c2_err err = b->app->ops->digest(b->batch, digest);
    if (err == C2_E_OK)
        err = b->app->ops->commit(b->batch);
    if (err != C2_E_OK)
        fail("checkpoint", err);
    b->app->ops->end(b->batch);
}

/* Puts keys first, first + 1, ... in one transaction. */
static void
put(struct bench *b, uint64_t first, unsigned count)
{
    static char names[PUTS][32], value[VALUE_LEN];
    static struct coord_op ops[PUTS];
    snprintf(value, sizeof value, "%" PRIu64, b->time_ns);
    for (unsigned i = 0; i < count; i++) {
        int len = snprintf(names[i], sizeof names[i], "key/%012" PRIu64, first + i);
        ops[i] = (struct coord_op){ .kind = COORD_PUT, .key = c2_slice(names[i], (size_t)len) };
        ops[i].value = c2_slice(value, sizeof value);
    }
    const struct coord_req r = { .verb = COORD_TXN, .ops = ops, .nops = count };
    c2_buf_clear(&b->cmd);
    c2_buf_clear(&b->reply);
    coord_txn_encode(&r, &b->cmd);
    enum c2_err err =
        b->app->ops->apply(b->batch, ++b->time_ns, NULL, c2_buf_slice(&b->cmd), &b->reply);
    if (err != C2_E_OK)
        fail("apply", err);
}

static void
fill(struct bench *b, uint64_t keys)
{
    double since = clock_s(CLOCK_MONOTONIC);
    uint64_t before = b->keys;
    begin(b);
    while (b->keys < keys) {
        unsigned count = (unsigned)C2_MIN(keys - b->keys, (uint64_t)PUTS);
        put(b, b->keys, count);
        b->keys += count;
        if (b->keys / COMMIT != (b->keys - count) / COMMIT) {
            checkpoint(b);
            begin(b);
        }
    }
    checkpoint(b);
    fprintf(stderr, "store: %" PRIu64 " keys in %.1f s\n", b->keys - before,
            clock_s(CLOCK_MONOTONIC) - since);
}

/* ---- figures --------------------------------------------------------------------------------- */

static void
measure_txns(struct bench *b)
{
    double since = clock_s(CLOCK_PROCESS_CPUTIME_ID);
    begin(b);
    for (unsigned i = 0; i < TXNS; i++)
        put(b, next_random(b) % b->keys, 1);
    double done = clock_s(CLOCK_PROCESS_CPUTIME_ID);
    checkpoint(b);
    printf("| %10" PRIu64 " | %9.1f | %9.1f |", b->keys, (done - since) * 1e6 / TXNS,
           (clock_s(CLOCK_PROCESS_CPUTIME_ID) - done) * 1e6 / TXNS);
}

static void
measure_checkpoint(struct bench *b, unsigned changed)
{
    begin(b);
    for (unsigned i = 0; i < changed; i++)
        put(b, next_random(b) % b->keys, 1);
    uint64_t hashed = hashes, bytes = written();
    double since = clock_s(CLOCK_MONOTONIC);
    checkpoint(b);
    double took = clock_s(CLOCK_MONOTONIC) - since;
    printf(" %5.1f | %5.1f | %7.1f |", (double)(written() - bytes) / PAGE_BYTES / changed,
           (double)(hashes - hashed) / changed, took * 1e3);
    fflush(stdout);
}

static void
measure(struct bench *b, const unsigned *changed)
{
    measure_txns(b);
    for (unsigned i = 0; i < CHANGED; i++)
        measure_checkpoint(b, changed[i]);
    printf("\n");
}

static void
print_head(const unsigned *changed)
{
    printf("|       keys | CPU µs a txn | and in the checkpoint |");
    for (unsigned i = 0; i < CHANGED; i++)
        printf(" %u changed: pages a key | hashes a key | ms |", changed[i]);
    printf("\n|---:|---:|---:|");
    for (unsigned i = 0; i < CHANGED; i++)
        printf("---:|---:|---:|");
    printf("\n");
}

/* ---- the state of one store into another ----------------------------------------------------- */

static C2_RESULT
copy_parts(struct bench *from, struct bench *to, struct c2_buf *list, uint64_t *bytes)
{
    struct c2_buf part = { 0 };
    enum c2_err err = C2_E_OK;
    for (size_t at = 0; at < list->len && err == C2_E_OK; at += sizeof(struct replica_part)) {
        struct replica_part p;
        memcpy(&p, list->data + at, sizeof p);
        c2_buf_clear(&part);
        err = from->app->ops->part(from->app, &p, &part);
        *bytes += part.len;
        if (err == C2_E_OK)
            err = to->app->ops->fetch_put(to->app, p.kind, p.hash, c2_buf_slice(&part));
    }
    c2_buf_done(&part);
    return err;
}

static C2_RESULT
copy_state(struct bench *from, struct bench *to, uint64_t *bytes)
{
    uint8_t digest[32];
    uint64_t version = 0;
    bool done = false;
    struct c2_buf list = { 0 };
    C2_TRY(from->app->ops->checkpoint(from->app, &version, digest));
    C2_TRY(to->app->ops->fetch_begin(to->app, digest));
    enum c2_err err = C2_E_OK;
    while (err == C2_E_OK && !done) {
        c2_buf_clear(&list);
        err = to->app->ops->fetch_want(to->app, PARTS, &list, &done);
        if (err == C2_E_OK)
            err = copy_parts(from, to, &list, bytes);
    }
    c2_buf_done(&list);
    return err;
}

static void
measure_copy(struct bench *from)
{
    C2_AUTO(c2_free_auto) char *folder = c2_asprintf("%s-2", from->folder);
    struct bench to = { .folder = folder };
    uint64_t bytes = 0, disk = written();
    open_store(&to, true);
    double since = clock_s(CLOCK_MONOTONIC), cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID);
    enum c2_err err = copy_state(from, &to, &bytes);
    if (err != C2_E_OK)
        fail("copying the state", err);
    cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    double took = clock_s(CLOCK_MONOTONIC) - since;
    printf("its state into an empty store: %.0f MB in %.1f s, %.1f s of CPU: %.0f MB/s; "
           "%.0f MB written\n",
           (double)bytes / 1e6, took, cpu, (double)bytes / 1e6 / took,
           (double)(written() - disk) / 1e6);
    to.app->ops->close(to.app);
}

int
main(int argc, char **argv)
{
    unsigned changed[CHANGED] = { 100, 1000, 10000 };
    if (argc < 3 || argc > 3 + CHANGED) {
        fprintf(stderr, "usage: store FOLDER KEYS [CHANGED...]\n");
        return 2;
    }
    struct bench b = { .folder = argv[1], .random = 88172645463325252ull };
    uint64_t keys = strtoull(argv[2], NULL, 10);
    for (int i = 3; i < argc; i++)
        changed[i - 3] = (unsigned)strtoul(argv[i], NULL, 10);
    if (c2_crypto_init() != C2_E_OK)
        return 1;
    open_store(&b, true);
    print_head(changed);
    for (uint64_t part = 100; part >= 1; part /= 10) {
        fill(&b, C2_MAX(keys / part, (uint64_t)1000));
        measure(&b, changed);
    }
    b.app->ops->close(b.app);
    double since = clock_s(CLOCK_MONOTONIC);
    open_store(&b, false);
    printf("open again: %.0f ms; memory: %" PRIu64 " MiB at most, %" PRIu64
           " MiB of it not the file's\n",
           (clock_s(CLOCK_MONOTONIC) - since) * 1e3,
           proc_number("/proc/self/status", "VmHWM:") / 1024,
           proc_number("/proc/self/status", "RssAnon:") / 1024);
    measure_copy(&b);
    b.app->ops->close(b.app);
    c2_buf_done(&b.cmd);
    c2_buf_done(&b.reply);
    return 0;
}
