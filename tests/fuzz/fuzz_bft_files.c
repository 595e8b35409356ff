/* SPDX-License-Identifier: MIT */
/*
 * The files that say who is who in a coordination service, and the configurations in them. The
 * first byte says what the rest is: 'C' an encoded configuration; 'T' the text of a file; '0' to
 * '3' the bytes behind the base64 of a file of that kind, whose title and checksum are made right.
 *
 * What is read is written and read again as the same.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/str.h"
#include "metadata/identity.h"

#define SUM_LEN 8 /* docs/formats-local.md */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
configuration(struct c2_slice in)
{
    struct bft_config c;
    struct c2_buf again = { 0 };
    const char *why = NULL;
    if (bft_config_decode(in, &c) != C2_E_OK)
        return;
    C2_ASSERT(bft_config_check(&c, &why) == C2_E_OK && bft_quorum(&c) <= c.n);
    C2_ASSERT(2 * bft_quorum(&c) > c.n + c.f && c.n > 3 * c.f);
    bft_config_encode(&c, &again);
    C2_ASSERT(c2_slice_equal(in, c2_buf_slice(&again)) && again.len <= BFT_CONFIG_MAX);
    c2_buf_done(&again);
}

/* Padding inside of the structs is zero: readers fill whole ones. */
#define READ_AGAIN(text, name)                                                                     \
    do {                                                                                           \
        struct c2_buf again = { 0 }, third = { 0 };                                                \
        if (identity_read_##name(text, &(name)) != C2_E_OK)                                        \
            break;                                                                                 \
        identity_write_##name(&again, "two\nlines", &(name));                                      \
        C2_ASSERT(identity_read_##name(c2_buf_slice(&again), &(name)) == C2_E_OK);                 \
        identity_write_##name(&third, "two\nlines", &(name));                                      \
        C2_ASSERT(c2_slice_equal(c2_buf_slice(&again), c2_buf_slice(&third)));                     \
        c2_buf_done(&again);                                                                       \
        c2_buf_done(&third);                                                                       \
    } while (0)

static void
file(struct c2_slice text)
{
    struct bft_config cluster;
    struct identity_replica replica;
    struct identity_client client;
    struct identity_admin admin;
    READ_AGAIN(text, cluster);
    READ_AGAIN(text, replica);
    READ_AGAIN(text, client);
    READ_AGAIN(text, admin);
}

static void
framed(unsigned kind, struct c2_slice bytes)
{
    static const char *const titles[] = { "C2FS-CLUSTER ", "C2FS-REPLICA-KEY ", "C2FS-CLIENT-KEY ",
                                          "C2FS-ADMIN-KEY " };
    struct c2_buf all = { 0 }, text = { 0 };
    uint8_t hash[C2_SHA256_LEN];
    const struct c2_slice parts[] = { c2_slice_str(titles[kind]), bytes };
    c2_sha256_v(parts, C2_ARRAY_LEN(parts), hash);
    c2_buf_append(&all, bytes.data, bytes.len);
    c2_buf_append(&all, hash, SUM_LEN);
    c2_buf_printf(&text, "%s1\n# comment\r\n", titles[kind]);
    c2_base64_encode(c2_buf_slice(&all), &text);
    file(c2_buf_slice(&text));
    c2_buf_done(&all);
    c2_buf_done(&text);
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
    if (data[0] == 'C')
        configuration(rest);
    else if (data[0] == 'T')
        file(rest);
    else if (data[0] >= '0' && data[0] <= '3')
        framed(data[0] - '0', rest);
    return 0;
}
