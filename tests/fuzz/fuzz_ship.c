/* SPDX-License-Identifier: MIT */
/*
 * Journal objects, checkpoint indexes, the record of key H and the head file, as a cloud or a
 * damaged disk may give them. The first byte says which. What is signed is decoded once as it is
 * and once with a signature that fits, because no fuzzer gets past Ed25519. What decodes must
 * encode to the same bytes.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "fs/ship_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t uuid[16] = { 'f', 'u', 'z', 'z' };
static const char object_magic[8] = { 'C', '2', 'F', 'S', 'L', 'O', 'G', '\0' };
static const char index_magic[8] = { 'C', '2', 'F', 'S', 'C', 'K', 'P', '\0' };

static void
make_secret(uint8_t secret[C2_ED25519_SECRET_LEN])
{
    const uint8_t seed[32] = { 1 };
    uint8_t public_key[C2_ED25519_PUBLIC_LEN];
    c2_ed25519_keypair(seed, secret, public_key);
}

/* The input with a signature of our device behind it. */
static void
sign(struct c2_slice in, const char magic[8], struct c2_buf *out)
{
    uint8_t what[8 + C2_SHA256_LEN], secret[C2_ED25519_SECRET_LEN];
    make_secret(secret);
    c2_buf_append(out, in.data, in.len);
    memcpy(what, magic, 8);
    c2_sha256(in, what + 8);
    c2_ed25519_sign(secret, c2_slice(what, sizeof(what)), c2_buf_extend(out, C2_ED25519_SIG_LEN));
}

static bool
decode_object(struct c2_slice in, struct ship_object *o)
{
    if (ship_object_decode(in, uuid, o) != C2_E_OK)
        return false;
    C2_ASSERT(o->log.len <= SHIP_LOG_MAX && o->version >= o->base.version);
    C2_ASSERT((o->kind == SHIP_SEAL) == (o->log.len == 0));
    struct c2_slice rest = ship_log_after(o->log, o->base.version);
    C2_ASSERT(rest.len == o->log.len);
    C2_ASSERT(ship_log_after(o->log, o->version).len == 0);
    if (o->version - o->base.version > 1)
        C2_ASSERT(ship_log_after(o->log, o->version - 1).len > 0);
    return true;
}

static void
object(struct c2_slice in)
{
    struct ship_object o;
    struct c2_buf signed_in = { 0 }, again = { 0 };
    uint8_t secret[C2_ED25519_SECRET_LEN];
    (void)decode_object(in, &o);
    sign(in, object_magic, &signed_in);
    if (decode_object(c2_buf_slice(&signed_in), &o)) {
        make_secret(secret);
        ship_object_encode(&o, secret, &again);
        C2_ASSERT(c2_slice_equal(c2_buf_slice(&again), c2_buf_slice(&signed_in)));
    }
    c2_buf_done(&again);
    c2_buf_done(&signed_in);
}

static void
checkpoint(struct c2_slice in)
{
    struct ship_index x;
    struct c2_buf signed_in = { 0 }, again = { 0 };
    uint8_t secret[C2_ED25519_SECRET_LEN];
    if (ship_index_decode(in, uuid, &x) == C2_E_OK)
        c2_free(x.parts);
    sign(in, index_magic, &signed_in);
    if (ship_index_decode(c2_buf_slice(&signed_in), uuid, &x) == C2_E_OK) {
        make_secret(secret);
        ship_index_encode(&x, secret, &again);
        C2_ASSERT(c2_slice_equal(c2_buf_slice(&again), c2_buf_slice(&signed_in)));
        c2_free(x.parts);
    }
    c2_buf_done(&again);
    c2_buf_done(&signed_in);
}

static void
record(struct c2_slice in)
{
    struct ship_record r;
    struct c2_buf again = { 0 };
    if (ship_record_decode(in, &r) != C2_E_OK)
        return;
    ship_record_encode(&r, &again);
    C2_ASSERT(c2_slice_equal(c2_buf_slice(&again), in));
    c2_buf_done(&again);
}

static void
head(struct c2_slice in)
{
    struct ship_position p;
    struct c2_buf with_hash = { 0 }, again = { 0 };
    if (ship_head_decode(in, uuid, &p) == C2_E_OK)
        C2_ASSERT(p.generation <= SHIP_GENERATION_MAX);
    c2_buf_append(&with_hash, in.data, in.len);
    c2_sha256(in, c2_buf_extend(&with_hash, C2_SHA256_LEN));
    if (ship_head_decode(c2_buf_slice(&with_hash), uuid, &p) == C2_E_OK) {
        ship_head_encode(uuid, &p, &again);
        C2_ASSERT(c2_slice_equal(c2_buf_slice(&again), c2_buf_slice(&with_hash)));
    }
    c2_buf_done(&again);
    c2_buf_done(&with_hash);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (c2_crypto_init() != C2_E_OK || size < 1)
        return 0;
    struct c2_slice in = c2_slice(data + 1, size - 1);
    switch (data[0]) {
    case 'o':
        object(in);
        break;
    case 'c':
        checkpoint(in);
        break;
    case 'r':
        record(in);
        break;
    default:
        head(in);
        break;
    }
    return 0;
}
