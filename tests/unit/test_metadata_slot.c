/* SPDX-License-Identifier: MIT */
/*
 * Batches in memory: what goes when there is no room.
 */
#include "base/alloc.h"
#include "metadata/bft_int.h"
#include "tests/lib/test_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define BATCH  1000
#define STABLE 8

static void
no_sign(const struct bft_crypto *c, const uint8_t secret[C2_ED25519_SECRET_LEN],
        const uint8_t hash[C2_SHA256_LEN], uint8_t sig[MSG_SIG_LEN])
{
    (void)c;
    (void)secret;
    (void)hash;
    memset(sig, 0, MSG_SIG_LEN);
}

static bool
no_verify(const struct bft_crypto *c, const uint8_t key[MSG_KEY_LEN],
          const uint8_t hash[C2_SHA256_LEN], const uint8_t sig[MSG_SIG_LEN])
{
    (void)c;
    (void)key;
    (void)hash;
    (void)sig;
    return false;
}

static const struct bft_crypto crypto = { no_sign, no_verify };

/* A replica that has executed as far as its stable checkpoint. */
static struct bft_replica *
make_replica(size_t bodies_bytes)
{
    struct bft_setup setup = { .crypto = &crypto };
    struct bft_replica *r = NULL;
    const char *why = NULL;
    bft_config_default(&setup.config);
    bft_limits_default(&setup.limits);
    bft_timing_lan(&setup.timing);
    setup.limits.bodies_bytes = bodies_bytes;
    setup.config.f = 1;
    setup.config.n = 4;
    for (unsigned i = 0; i < 4; i++) {
        setup.config.member[i].id = (uint16_t)i;
        setup.config.member[i].sign_key[0] = setup.config.member[i].identity_key[0] =
            (uint8_t)(i + 1);
    }
    assert_int_equal(bft_new(&setup, &r, &why), C2_E_OK);
    r->stable = r->executed = STABLE;
    return r;
}

/* A batch of n that came with its proof, as one message. */
static struct c2_blob *
decide(struct bft_replica *r, uint64_t n)
{
    uint8_t bytes[BATCH];
    memset(bytes, (int)n, sizeof bytes);
    struct c2_blob *msg = c2_blob_copy(bytes, sizeof bytes);
    struct bft_slot *s = bft_slot_make(r, n);
    assert_non_null(s);
    bft_bytes_set(r, &s->final, msg, c2_blob_slice(msg));
    s->decided = s->have_final = true;
    s->proof = c2_blob_ref(msg);
    return msg;
}

static void
room__is_made_of_what_the_stable_checkpoint_covers_with_its_proofs(void **state)
{
    (void)state;
    struct bft_replica *r = make_replica((STABLE + 1) * BATCH);
    struct c2_blob *msg[STABLE + 2];
    for (uint64_t n = 1; n <= STABLE + 1; n++)
        msg[n] = decide(r, n);
    assert_true(bft_body_room(r, BATCH));
    assert_int_equal(r->bodies_bytes, STABLE * BATCH);
    assert_int_equal(msg[1]->refs, 1); /* only ours: nothing of it is kept */
    assert_int_equal(msg[2]->refs, 3);
    assert_true(bft_body_room(r, STABLE * BATCH));
    assert_int_equal(msg[STABLE]->refs, 1);
    assert_int_equal(msg[STABLE + 1]->refs, 3);
    assert_false(bft_body_room(r, (STABLE + 1) * BATCH)); /* the newest is needed */
    assert_int_equal(msg[STABLE + 1]->refs, 3);
    for (uint64_t n = 1; n <= STABLE + 1; n++)
        c2_blob_unref(msg[n]);
    bft_free(r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(room__is_made_of_what_the_stable_checkpoint_covers_with_its_proofs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
