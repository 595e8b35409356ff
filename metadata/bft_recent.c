/* SPDX-License-Identifier: MIT */
/*
 * Which keys have asked for something lately: from us, or in a batch that was executed, so that a
 * backup knows it too when all the others ask the primary. Of more than BFT_RECENT keys the ones
 * heard of last are known. Nothing that replicas agree on depends on it.
 */
#include <string.h>

#include "metadata/bft_int.h"

#define LATELY_NS C2_NS_PER_S

static bool
is_recent(const struct bft_replica *r, const struct bft_recent *k)
{
    return k->seen_ns != 0 && k->seen_ns + LATELY_NS > r->now_ns;
}

void
bft_note_key(struct bft_replica *r, const uint8_t key[MSG_KEY_LEN])
{
    struct bft_recent *k = &r->recent[0];
    for (unsigned i = 0; i < BFT_RECENT; i++) {
        if (memcmp(r->recent[i].key, key, MSG_KEY_LEN) == 0) {
            k = &r->recent[i];
            break;
        }
        if (r->recent[i].seen_ns < k->seen_ns)
            k = &r->recent[i];
    }
    memcpy(k->key, key, MSG_KEY_LEN);
    k->seen_ns = r->now_ns;
}

unsigned
bft_keys_active(const struct bft_replica *r)
{
    unsigned count = 0;
    for (unsigned i = 0; i < BFT_RECENT; i++)
        count += is_recent(r, &r->recent[i]);
    return count;
}

bool
bft_is_contended(const struct bft_replica *r, const uint8_t key[MSG_KEY_LEN])
{
    for (unsigned i = 0; i < BFT_RECENT; i++) {
        const struct bft_recent *k = &r->recent[i];
        if (is_recent(r, k) && memcmp(k->key, key, MSG_KEY_LEN) != 0)
            return true;
    }
    return false;
}
