/* SPDX-License-Identifier: MIT */
/*
 * Snapshots and fetched states, from whoever makes them: the digests and chains are made right, so
 * that the bytes behind them are the fuzzer's.
 *
 * 'D' then chunks of a dump: kind, len, bytes. A last one of kind 0 is the right end.
 * 'F' then the state that is fetched:
 *   'K' key version session value    an entry; key and value with lengths of one byte
 *   'R' len bytes                    the bytes of an entry
 *   'S' id ttl deadline              a session
 *   'O' key value                    an entry that was there before, and is not in the other state
 *   'X' part at new                  one byte of a part changes, before it is hashed: 0 is the
 *                                    head, then the nodes from the root on; 255: one byte of every
 *                                    leaf with its entries, behind the hash
 *
 * What is complete in the end is sound, and is the state with that digest.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/wire.h"
#include "metadata/store_int.h"
#include "metadata/tree.h"
#include "tests/lib/test_env.h"

#define CHUNKS_MAX  32u
#define CHUNK_BYTES 4096u
#define ENTRIES_MAX 200u
#define PARTS_MAX   512u
#define EDITS_MAX   16u
#define ROUNDS_MAX  256u
#define FORMAT      1 /* docs/metadata.md */
#define FANOUT      16u
#define SLOT_LEN    40u
#define BRANCH_EDIT 255u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64];

static struct replica_app *
new_store(void)
{
    static const struct store_options o = {
        .map_size = 16u << 20, .create = true, .replicated = true, .fetch = { 500, 4000, 20000 }
    };
    struct replica_app *app = NULL;
    char *error = NULL;
    static bool ready;
    if (!ready)
        C2_ASSERT(c2_crypto_init() == C2_E_OK);
    ready = true;
    /* In memory, if there is such a place: every state is made durable, again and again. */
    const char *top = access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(folder, sizeof folder, "%s/c2fs-fuzz-XXXXXX", top);
    C2_ASSERT(mkdtemp(folder) != NULL);
    C2_ASSERT(store_open(folder, &o, &app, &error) == C2_E_OK);
    return app;
}

static void
free_store(struct replica_app *app)
{
    app->ops->close(app);
    test_disk_remove_tree(folder);
}

static void
expect_sound(struct replica_app *app)
{
    struct store_verified v;
    enum c2_err err = store_verify(app, &v);
    if (err != C2_E_OK)
        (void)fprintf(stderr, "verify: %s\n", v.problem);
    C2_ASSERT(err == C2_E_OK);
}

/* ---- a dump ---------------------------------------------------------------------------------- */

struct dump {
    uint8_t chain[C2_SHA256_LEN];
    uint64_t seq;
    size_t bytes;
};

static C2_RESULT
dumped(void *arg, struct c2_slice chunk)
{
    size_t *bytes = arg;
    C2_ASSERT(chunk.len <= REPLICA_CHUNK_MAX);
    *bytes += chunk.len;
    return C2_E_OK;
}

/* The end says how many entries and sessions there were; numbers are tried, as there are few. */
static C2_RESULT
load_end(struct replica_app *app, const struct dump *d)
{
    for (uint64_t i = 0; i < 64; i++) {
        struct c2_buf chunk = { 0 };
        c2_wr_u8(&chunk, FORMAT);
        c2_wr_u8(&chunk, 4);
        c2_wr_u64(&chunk, d->seq);
        c2_wr_u64(&chunk, i / 8);
        c2_wr_u64(&chunk, i % 8);
        c2_wr_raw(&chunk, d->chain, sizeof d->chain);
        enum c2_err err = app->ops->restore(app, c2_buf_slice(&chunk));
        c2_buf_done(&chunk);
        if (err == C2_E_OK)
            return err;
    }
    return C2_E_CORRUPT;
}

static C2_RESULT
load_one(struct replica_app *app, struct dump *d, uint8_t kind, struct c2_slice body)
{
    struct c2_buf chunk = { 0 };
    c2_wr_u8(&chunk, FORMAT);
    c2_wr_u8(&chunk, kind);
    c2_wr_u64(&chunk, d->seq);
    c2_buf_append(&chunk, body.data, body.len);
    enum c2_err err = app->ops->restore(app, c2_buf_slice(&chunk));
    if (err == C2_E_OK) {
        const struct c2_slice in[] = { c2_slice(d->chain, sizeof d->chain), c2_buf_slice(&chunk) };
        c2_sha256_v(in, C2_ARRAY_LEN(in), d->chain);
        d->seq++;
    }
    c2_buf_done(&chunk);
    return err;
}

static void
load_dump(struct c2_rd *in)
{
    struct replica_app *app = new_store();
    struct dump d = { .seq = 0 };
    bool complete = false;
    for (unsigned i = 0; i < CHUNKS_MAX && c2_rd_left(in) > 0 && !complete; i++) {
        uint8_t kind = c2_rd_u8(in);
        struct c2_slice body = c2_rd_raw(in, c2_rd_u16(in) % CHUNK_BYTES);
        if (kind == 0)
            complete = load_end(app, &d) == C2_E_OK;
        else if (load_one(app, &d, kind, body) != C2_E_OK)
            break;
    }
    uint64_t version = 0;
    enum c2_err err = app->ops->dump(app, dumped, &d.bytes, &version);
    if (complete) {
        C2_ASSERT(err == C2_E_OK && d.bytes > 0);
        expect_sound(app);
    } else {
        C2_ASSERT(d.seq == 0 || err == C2_E_UNAVAILABLE);
    }
    free_store(app);
}

/* ---- a state that is fetched ----------------------------------------------------------------- */

struct part {
    uint8_t kind;
    uint8_t hash[TREE_HASH_LEN];
    struct c2_buf bytes; /* owned */
};

struct edit {
    uint8_t part;
    uint16_t at;
    uint8_t value;
};

struct source {
    struct part part[PARTS_MAX]; /* entries first; the head has its place after them */
    unsigned nparts, nentries;
    struct c2_buf sessions; /* owned */
    struct edit edit[EDITS_MAX];
    unsigned nedits;
    uint8_t digest[32];
};

static struct part *
new_part(struct source *s, uint8_t kind)
{
    C2_ASSERT(s->nparts < PARTS_MAX);
    struct part *p = &s->part[s->nparts++];
    p->kind = kind;
    return p;
}

static void
change(const struct source *s, const struct part *p, struct c2_buf *bytes)
{
    for (unsigned i = 0; i < s->nedits; i++) {
        if (s->nentries + s->edit[i].part == (size_t)(p - s->part) && bytes->len > 0)
            bytes->data[s->edit[i].at % bytes->len] = s->edit[i].value;
    }
}

static void
add_entry(struct source *s, struct c2_slice bytes)
{
    struct c2_slice key;
    struct store_entry e;
    if (s->nentries == ENTRIES_MAX || store_parse_part_entry(bytes, &key, &e) != C2_E_OK)
        return;
    struct part *p = new_part(s, REPLICA_ENTRY);
    s->nentries++;
    store_entry_hash(key, &e, p->hash);
    c2_buf_append(&p->bytes, bytes.data, bytes.len);
    for (unsigned i = 0; i + 1 < s->nentries; i++) {
        if (memcmp(s->part[i].hash, p->hash, sizeof p->hash) != 0)
            continue;
        c2_buf_done(&p->bytes); /* it is there already */
        s->nentries--;
        s->nparts--;
        return;
    }
}

static int
compare(const void *a, const void *b)
{
    return memcmp(((const struct part *)a)->hash, ((const struct part *)b)->hash, TREE_HASH_LEN);
}

static unsigned
nibble(const uint8_t *hash, unsigned at)
{
    return at % 2 == 0 ? hash[at / 2] >> 4 : hash[at / 2] & 15;
}

/* The node over the entries [from, to); its place is taken before those of its children. */
static void
add_node(struct source *s, unsigned from, unsigned to, unsigned depth, uint8_t hash[TREE_HASH_LEN])
{
    struct part *p = new_part(s, REPLICA_NODE);
    struct c2_buf *b = &p->bytes;
    c2_wr_u8(b, to - from > TREE_LEAF_MAX ? 'N' : 'L');
    for (unsigned i = from; i < to && b->data[0] == 'L'; i++)
        c2_wr_raw(b, s->part[i].hash, TREE_HASH_LEN);
    for (unsigned child = 0; child < FANOUT && b->data[0] == 'N'; child++) {
        uint8_t slot[SLOT_LEN] = { 0 };
        unsigned end = from;
        while (end < to && nibble(s->part[end].hash, depth) == child)
            end++;
        c2_put_u64(slot, end - from);
        if (end > from)
            add_node(s, from, end, depth + 1, slot + 8);
        c2_wr_raw(b, slot, sizeof slot);
        from = end;
    }
    change(s, p, b);
    c2_sha256(c2_buf_slice(b), p->hash);
    memcpy(hash, p->hash, TREE_HASH_LEN);
}

static void
add_head(struct source *s)
{
    struct store_head h = { .version = 200, .now_ns = 1000, .nkeys = s->nentries };
    struct part *p = new_part(s, REPLICA_HEAD);
    qsort(s->part, s->nentries, sizeof s->part[0], compare);
    if (s->nentries > 0)
        add_node(s, 0, s->nentries, 0, h.root);
    c2_wr_u64(&p->bytes, h.version);
    c2_wr_u64(&p->bytes, h.now_ns);
    c2_wr_u64(&p->bytes, h.nkeys);
    c2_wr_raw(&p->bytes, h.root, sizeof h.root);
    c2_wr_bytes(&p->bytes, c2_buf_slice(&s->sessions));
    change(s, p, &p->bytes);
    if (store_parse_head(c2_buf_slice(&p->bytes), &h) == C2_E_OK)
        store_head_digest(&h, s->digest);
    memcpy(p->hash, s->digest, sizeof p->hash);
}

/* A node, after a leaf its entries. */
static C2_RESULT
put_branch(struct replica_app *app, const struct source *s, const struct part *node)
{
    C2_AUTO(c2_buf_done) struct c2_buf b = { 0 };
    struct c2_slice record = c2_buf_slice(&node->bytes);
    c2_wr_bytes(&b, record);
    for (unsigned i = 0; i < s->nentries && record.data[0] == 'L'; i++) {
        for (size_t at = 1; at + TREE_HASH_LEN <= record.len; at += TREE_HASH_LEN) {
            if (memcmp(record.data + at, s->part[i].hash, TREE_HASH_LEN) == 0)
                c2_wr_bytes(&b, c2_buf_slice(&s->part[i].bytes));
        }
    }
    for (unsigned i = 0; i < s->nedits; i++) {
        if (s->edit[i].part == BRANCH_EDIT)
            b.data[s->edit[i].at % b.len] = s->edit[i].value;
    }
    return app->ops->fetch_put(app, REPLICA_BRANCH, node->hash, c2_buf_slice(&b));
}

static C2_RESULT
put_part(struct replica_app *app, const struct source *s, const struct replica_part *wanted)
{
    bool branch = wanted->kind == REPLICA_BRANCH;
    for (unsigned i = 0; i < s->nparts; i++) {
        const struct part *p = &s->part[i];
        bool kind = p->kind == (branch ? REPLICA_NODE : wanted->kind);
        if (!kind || memcmp(p->hash, wanted->hash, TREE_HASH_LEN) != 0)
            continue;
        return branch ? put_branch(app, s, p)
                      : app->ops->fetch_put(app, p->kind, p->hash, c2_buf_slice(&p->bytes));
    }
    return C2_E_NOT_FOUND;
}

/* Gives what is wanted, as long as it changes anything. */
static C2_RESULT
fetch(struct replica_app *app, struct source *s)
{
    bool done = false;
    C2_TRY(app->ops->fetch_begin(app, s->digest));
    for (unsigned round = 0; round < ROUNDS_MAX && !done; round++) {
        C2_AUTO(c2_buf_done) struct c2_buf list = { 0 };
        C2_TRY(app->ops->fetch_want(app, 16, &list, &done));
        C2_ASSERT(list.len <= 16 * sizeof(struct replica_part));
        for (size_t at = 0; at < list.len; at += sizeof(struct replica_part)) {
            struct replica_part w;
            memcpy(&w, list.data + at, sizeof w);
            C2_TRY(put_part(app, s, &w));
        }
    }
    return done ? C2_E_OK : C2_E_TIMEOUT;
}

static void
put_before(struct replica_app *app, struct c2_rd *in)
{
    struct replica_batch *b = NULL;
    struct c2_buf cmd = { 0 }, reply = { 0 };
    struct coord_op op = { .kind = COORD_PUT };
    op.key = c2_rd_raw(in, c2_rd_u8(in));
    op.value = c2_rd_raw(in, c2_rd_u8(in));
    const struct coord_req r = { .verb = COORD_TXN, .ops = &op, .nops = 1 };
    if (op.key.len == 0 || op.key.data[0] == REPLICA_SYSTEM_KEY)
        return;
    coord_txn_encode(&r, &cmd);
    C2_ASSERT(app->ops->begin(app, &b) == C2_E_OK);
    C2_ASSERT(app->ops->apply(b, 1, NULL, c2_buf_slice(&cmd), &reply) == C2_E_OK);
    C2_ASSERT(app->ops->commit(b) == C2_E_OK);
    app->ops->end(b);
    c2_buf_done(&cmd);
    c2_buf_done(&reply);
}

static void
read_one(struct replica_app *app, struct source *s, struct c2_rd *in)
{
    struct c2_buf bytes = { 0 };
    struct c2_slice raw;
    switch (c2_rd_u8(in)) {
    case 'K':
        c2_wr_bytes(&bytes, c2_rd_raw(in, c2_rd_u8(in)));
        c2_wr_u64(&bytes, c2_rd_u8(in));
        c2_wr_u64(&bytes, c2_rd_u8(in));
        c2_wr_bytes(&bytes, c2_rd_raw(in, c2_rd_u8(in)));
        add_entry(s, c2_buf_slice(&bytes));
        break;
    case 'R':
        raw = c2_rd_raw(in, c2_rd_u16(in) % CHUNK_BYTES);
        add_entry(s, raw);
        break;
    case 'S':
        c2_put_be64(c2_buf_extend(&s->sessions, 8), c2_rd_u8(in));
        c2_wr_u64(&s->sessions, c2_rd_u64(in));
        c2_wr_u64(&s->sessions, c2_rd_u64(in));
        break;
    case 'O':
        put_before(app, in);
        break;
    case 'X':
        if (s->nedits == EDITS_MAX)
            break;
        s->edit[s->nedits].part = c2_rd_u8(in);
        s->edit[s->nedits].at = c2_rd_u16(in);
        s->edit[s->nedits++].value = c2_rd_u8(in);
        break;
    default:
        c2_rd_fail(in);
    }
    c2_buf_done(&bytes);
}

static void
fetch_state(struct c2_rd *in)
{
    struct replica_app *app = new_store();
    struct source *s = c2_calloc(1, sizeof *s);
    uint8_t digest[32];
    uint64_t version = 0;
    while (c2_rd_left(in) > 0 && c2_rd_ok(in))
        read_one(app, s, in);
    add_head(s);
    if (fetch(app, s) == C2_E_OK) {
        C2_ASSERT(app->ops->checkpoint(app, &version, digest) == C2_E_OK);
        C2_ASSERT(memcmp(digest, s->digest, sizeof digest) == 0);
        if (s->nedits == 0)
            expect_sound(app);
    }
    free_store(app);
    for (unsigned i = 0; i < s->nparts; i++)
        c2_buf_done(&s->part[i].bytes);
    c2_buf_done(&s->sessions);
    c2_free(s);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct c2_rd in = c2_rd_init(c2_slice(data, size));
    if (size == 0)
        return 0;
    uint8_t what = c2_rd_u8(&in);
    if (what == 'D')
        load_dump(&in);
    else if (what == 'F')
        fetch_state(&in);
    return 0;
}
