/* SPDX-License-Identifier: MIT */
/*
 * Commands and answers of the coordination service as a hostile client or replica may send them.
 * The first byte says what the rest is: 'C' one command, 'R' an answer, 'S' commands, each with
 * its length and a step of the clock, for a store that forgets them afterwards; 'L' who (u8), a key
 * with its length (u8), and an access control list.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/wire.h"
#include "metadata/cmd.h"
#include "metadata/rights.h"
#include "metadata/store.h"
#include "tests/lib/test_env.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What decodes is canonical. */
static void
command(struct c2_slice in)
{
    struct cmd c = { 0 };
    struct c2_buf again = { 0 };
    if (cmd_decode(in, &c) == C2_E_OK) {
        coord_txn_encode(&c.req, &again);
        C2_ASSERT(c2_slice_equal(in, c2_buf_slice(&again)));
    }
    c2_buf_done(&again);
    cmd_done(&c);
}

static void
answer(struct c2_slice in)
{
    struct c2_buf reply = { 0 };
    struct coord_req r = { .verb = COORD_GET };
    c2_buf_append(&reply, in.data, in.len);
    cmd_reply_take(&r, &reply);
    size_t bytes = 0;
    for (size_t i = 0; i < r.nentries; i++) {
        for (size_t j = 0; j < r.entries[i].value.len; j++)
            bytes += r.entries[i].value.data[j];
        C2_ASSERT(r.entries[i].key.len <= COORD_KEY_MAX);
    }
    C2_ASSERT(r.err != C2_E_PROTOCOL || (r.nentries == 0 && bytes == 0));
    coord_req_done(&r);
}

/* ---- rights ---------------------------------------------------------------------------------- */

/* The definition: all entries that cover the key, one after the other. */
static unsigned
slow_rights_of(const struct rights *t, const uint8_t *who, struct c2_slice key)
{
    unsigned rights = 0;
    bool covered = false;
    for (size_t i = 0; i < t->n; i++) {
        if (!c2_slice_starts_with(key, t->entry[i].prefix))
            continue;
        covered = true;
        rights |= rights_granted(t->entry[i].grants, who);
    }
    return covered ? rights : COORD_MAY_READ | COORD_MAY_WRITE;
}

static void
expect_same_list(const struct rights *t, struct c2_slice list)
{
    struct c2_buf again = { 0 };
    for (size_t i = 0; i < t->n; i++) {
        c2_wr_bytes(&again, t->entry[i].prefix);
        c2_wr_bytes(&again, t->entry[i].grants);
        C2_ASSERT(rights_find(t, t->entry[i].prefix) == &t->entry[i]);
    }
    C2_ASSERT(c2_slice_equal(list, c2_buf_slice(&again)));
    c2_buf_done(&again);
}

static void
access_list(struct c2_rd *in)
{
    uint8_t who[COORD_PRINCIPAL_LEN];
    struct rights t = { 0 };
    memset(who, c2_rd_u8(in), sizeof who);
    struct c2_slice key = c2_rd_raw(in, c2_rd_u8(in));
    struct c2_slice list = c2_rd_raw(in, c2_rd_left(in));
    if (!c2_rd_ok(in) || rights_load(&t, list) != C2_E_OK)
        return;
    expect_same_list(&t, list);
    unsigned rights = rights_of(&t, who, key);
    C2_ASSERT(rights == slow_rights_of(&t, who, key));
    for (size_t len = 0; len <= key.len; len++)
        C2_ASSERT((rights & COORD_MAY_READ) != 0 ||
                  !rights_below(&t, who, c2_slice(key.data, len), COORD_MAY_READ));
    rights_done(&t);
}

/* ---- a store --------------------------------------------------------------------------------- */

static char folder[] = "/tmp/c2fs-fuzz-XXXXXX";
static struct replica_app *app;

static void
remove_store(void)
{
    app->ops->close(app);
    test_disk_remove_tree(folder);
}

/* One store for all inputs: making one takes longer than everything else. */
static void
make_store(void)
{
    char *error = NULL;
    const struct store_options o = { .map_size = 256u << 20, .create = true, .keep_log = true };
    C2_ASSERT(c2_crypto_init() == C2_E_OK && mkdtemp(folder) != NULL);
    C2_ASSERT(store_open(folder, &o, &app, &error) == C2_E_OK);
    atexit(remove_store);
}

static void
commands(struct c2_slice in)
{
    if (app == NULL)
        make_store();
    struct replica_batch *b = NULL;
    struct c2_buf reply = { 0 };
    struct c2_rd r = c2_rd_init(in);
    uint64_t now_ns = 0;
    C2_ASSERT(app->ops->begin(app, &b) == C2_E_OK);
    while (c2_rd_left(&r) > 0) {
        now_ns += c2_rd_u16(&r) * C2_NS_PER_MS;
        struct c2_slice cmd = c2_rd_raw(&r, c2_rd_u8(&r));
        if (!c2_rd_ok(&r))
            break;
        uint64_t before = b->version;
        C2_ASSERT(app->ops->apply(b, now_ns, NULL, cmd, &reply) == C2_E_OK);
        C2_ASSERT(b->version >= before && b->version <= before + 2);
        struct coord_req req = { .verb = COORD_TXN };
        cmd_reply_take(&req, &reply);
        C2_ASSERT(req.version == b->version);
        coord_req_done(&req);
        c2_buf_done(&reply);
    }
    app->ops->end(b); /* the state is empty again */
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct c2_slice rest = c2_slice(data + 1, size - 1);
    struct c2_rd in = c2_rd_init(rest);
    switch (data[0]) {
    case 'C':
        command(rest);
        break;
    case 'R':
        answer(rest);
        break;
    case 'S':
        commands(rest);
        break;
    case 'L':
        access_list(&in);
        break;
    default:
        break;
    }
    return 0;
}
