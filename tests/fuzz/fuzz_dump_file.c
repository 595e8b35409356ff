/* SPDX-License-Identifier: MIT */
/*
 * The file that meta load reads, as somebody may edit it. The first byte says what the rest is: 'F'
 * the file; 'L' the lines of the keys, whose count and hash are made right around them.
 *
 * What is taken is what meta dump would write, to the last byte, and nothing in it is refused later
 * by the service.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "metadata/cmd.h"
#include "tools/dump_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
expect_a_good_operation(struct c2_slice key, struct c2_slice value)
{
    const struct coord_op op = { .kind = COORD_PUT, .key = key, .value = value };
    const struct coord_req r = { .verb = COORD_TXN, .ops = &op, .nops = 1 };
    C2_ASSERT(cmd_check(&r) == C2_E_OK);
}

/* The reader is at the start of a file that was checked. */
static void
expect_the_same_again(struct dump_reader *r, struct c2_slice in)
{
    C2_AUTO(c2_buf_done) struct c2_buf bytes = { 0 };
    struct dump_writer w;
    uint8_t hash[C2_SHA256_LEN];
    char hex[DUMP_FILE_HASH_LEN + 1];
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    C2_ASSERT(out != NULL);
    dump_file_begin(&w, out);
    for (uint64_t k = 0; k < r->keys; k++) {
        size_t at[3];
        C2_ASSERT(dump_file_next(r, &bytes, at) && at[2] == bytes.len);
        struct c2_slice key = c2_slice(bytes.data + at[0], at[1] - at[0]);
        struct c2_slice value = c2_slice(bytes.data + at[1], at[2] - at[1]);
        expect_a_good_operation(key, value);
        dump_file_add(&w, key, value);
    }
    dump_file_end(&w, hash);
    c2_hex_encode(hash, sizeof hash, hex);
    fclose(out);
    C2_ASSERT(strcmp(hex, r->hash) == 0);
    C2_ASSERT(c2_slice_equal(in, c2_slice(text, len)));
    free(text);
}

static void
file(struct c2_slice in)
{
    struct dump_reader *r = c2_calloc(1, sizeof *r);
    C2_AUTO(c2_buf_done) struct c2_buf copy = { 0 };
    c2_buf_append(&copy, in.data, in.len);
    r->in = fmemopen(copy.data, copy.len, "r");
    if (r->in != NULL) { /* an empty one cannot be opened everywhere */
        if (dump_file_check(r) == NULL) {
            C2_ASSERT(dump_file_restart(r));
            expect_the_same_again(r, in);
        }
        fclose(r->in);
    }
    c2_free(r);
}

static void
lines(struct c2_slice in)
{
    C2_AUTO(c2_buf_done) struct c2_buf whole = { 0 };
    uint8_t hash[C2_SHA256_LEN];
    char hex[DUMP_FILE_HASH_LEN + 1];
    unsigned long long keys = 0;
    for (size_t i = 0; i < in.len; i++)
        keys += in.data[i] == '\n';
    c2_sha256(in, hash);
    c2_hex_encode(hash, sizeof hash, hex);
    c2_buf_puts(&whole, "{\"c2fs_meta_dump\":1}\n");
    c2_buf_append(&whole, in.data, in.len);
    c2_buf_printf(&whole, "{\"keys\":%llu,\"sha256\":\"%s\"}\n", keys, hex);
    file(c2_buf_slice(&whole));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready)
        C2_ASSERT(c2_crypto_init() == C2_E_OK);
    ready = true;
    if (size == 0)
        return 0;
    struct c2_slice rest = c2_slice(data + 1, size - 1);
    if (data[0] == 'F')
        file(rest);
    else if (data[0] == 'L')
        lines(rest);
    return 0;
}
