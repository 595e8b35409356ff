/* SPDX-License-Identifier: MIT */
/*
 * One slot per sequence number, in a ring. It holds (stable - kept, stable + window]: what is
 * agreed on, and what was decided lately and may still help others to catch up. Batches are
 * bounded in bytes: when there is no room, those that the last stable checkpoint covers go first.
 */
#include <string.h>

#include "metadata/bft_int.h"

static uint64_t
ring_low(const struct bft_replica *r)
{
    uint64_t kept = BFT_RING - r->config.window;
    return r->stable > kept ? r->stable - kept : 0;
}

uint64_t
bft_first_slot(const struct bft_replica *r, uint64_t n)
{
    return C2_MAX(n, ring_low(r) + 1);
}

bool
bft_in_window(const struct bft_replica *r, uint64_t n)
{
    return n > r->stable && n <= r->stable + r->config.window;
}

struct bft_slot *
bft_slot(struct bft_replica *r, uint64_t n)
{
    struct bft_slot *s = &r->ring[n % BFT_RING];
    return n > 0 && s->n == n ? s : NULL;
}

struct bft_slot *
bft_slot_make(struct bft_replica *r, uint64_t n)
{
    if (n <= ring_low(r) || n > r->stable + r->config.window)
        return NULL;
    struct bft_slot *s = &r->ring[n % BFT_RING];
    if (s->n != n) {
        C2_ASSERT(s->n < n);
        bft_slot_clear(r, s);
        s->n = n;
    }
    return s;
}

/* ---- batches --------------------------------------------------------------------------------- */

void
bft_bytes_clear(struct bft_replica *r, struct bft_bytes *b)
{
    C2_ASSERT(b->blob == NULL || b->shared || r->bodies_bytes >= b->len);
    if (b->blob != NULL && !b->shared)
        r->bodies_bytes -= b->len;
    c2_blob_unref(b->blob);
    *b = (struct bft_bytes){ 0 };
}

void
bft_bytes_set(struct bft_replica *r, struct bft_bytes *dst, struct c2_blob *blob,
              struct c2_slice bytes)
{
    struct bft_bytes now = { 0 };
    if (bytes.len > 0) {
        C2_ASSERT(blob != NULL);
        now.blob = c2_blob_ref(blob);
        now.at = (size_t)(bytes.data - blob->data);
        now.len = bytes.len;
        r->bodies_bytes += bytes.len;
    }
    bft_bytes_clear(r, dst);
    *dst = now;
}

void
bft_bytes_share(struct bft_replica *r, struct bft_bytes *dst, const struct bft_bytes *body)
{
    struct bft_bytes now = *body;
    c2_blob_ref(now.blob);
    now.shared = true;
    bft_bytes_clear(r, dst);
    *dst = now;
}

void
bft_final_set(struct bft_replica *r, struct bft_slot *s, struct c2_blob *blob,
              struct c2_slice bytes)
{
    if (blob != NULL && s->body.blob == blob)
        bft_bytes_share(r, &s->final, &s->body);
    else
        bft_bytes_set(r, &s->final, blob, bytes);
    s->have_final = true;
}

struct c2_slice
bft_bytes_slice(const struct bft_bytes *b)
{
    return b->blob != NULL ? c2_slice(b->blob->data + b->at, b->len) : c2_slice(NULL, 0);
}

bool
bft_is_null(const uint8_t digest[MSG_DIGEST_LEN])
{
    uint8_t null[MSG_DIGEST_LEN];
    msg_batch_digest(c2_slice(NULL, 0), null);
    return bft_digest_equal(null, digest);
}

bool
bft_find_body(struct bft_replica *r, const uint8_t digest[MSG_DIGEST_LEN],
              struct bft_bytes *ret_body)
{
    *ret_body = (struct bft_bytes){ 0 };
    if (bft_is_null(digest))
        return true;
    for (size_t i = 0; i < BFT_RING; i++) {
        const struct bft_slot *s = &r->ring[i];
        if (s->n == 0)
            continue;
        if (s->have_body && bft_digest_equal(s->digest, digest)) {
            *ret_body = s->body;
        } else if (s->have_final && bft_digest_equal(s->decided_digest, digest)) {
            *ret_body = s->final;
        } else if (s->cert.have && bft_digest_equal(s->cert.digest, digest)) {
            *ret_body = s->cert.body;
        }
        if (ret_body->blob != NULL)
            return true;
    }
    return false;
}

bool
bft_look_for_body(struct bft_replica *r, struct bft_slot *s)
{
    struct bft_bytes found;
    if (!s->have_body && bft_find_body(r, s->digest, &found)) {
        bft_bytes_set(r, &s->body, found.blob, bft_bytes_slice(&found));
        s->have_body = true;
    }
    return s->have_body;
}

size_t
bft_bytes_under_way(const struct bft_replica *r)
{
    size_t bytes = 0;
    for (uint64_t n = r->issued + 1; n <= r->proposed && n <= r->issued + BFT_RING; n++) {
        const struct bft_slot *s = &r->ring[n % BFT_RING];
        bytes += s->n == n ? s->body.len : 0;
    }
    return bytes;
}

bool
bft_body_room(struct bft_replica *r, size_t len)
{
    uint64_t end = C2_MIN(r->stable, r->executed);
    uint64_t n = C2_MAX(r->dropped_to, ring_low(r));
    while (r->bodies_bytes + len > r->setup.limits.bodies_bytes && n < end) {
        struct bft_slot *s = bft_slot(r, ++n);
        if (s != NULL) {
            bft_bytes_clear(r, &s->body);
            bft_bytes_clear(r, &s->final);
            s->have_body = s->have_final = false;
            c2_blob_unref(s->proof); /* it holds the batch, too */
            s->proof = NULL;
        }
        r->dropped_to = n;
    }
    return r->bodies_bytes + len <= r->setup.limits.bodies_bytes;
}

/* ---- votes ----------------------------------------------------------------------------------- */

void
bft_vote_set(struct bft_vote *v, struct c2_blob *msg, uint64_t view, const uint8_t *digest)
{
    struct c2_blob *old = v->msg;
    v->msg = c2_blob_ref(msg);
    v->view = view;
    memcpy(v->digest, digest, MSG_DIGEST_LEN);
    c2_blob_unref(old);
}

void
bft_vote_clear(struct bft_vote *v)
{
    c2_blob_unref(v->msg);
    *v = (struct bft_vote){ 0 };
}

static void
clear_votes(struct bft_vote *votes)
{
    for (unsigned i = 0; i < MSG_REPLICAS_MAX; i++)
        bft_vote_clear(&votes[i]);
}

unsigned
bft_vote_count(const struct bft_replica *r, const struct bft_vote *votes, uint64_t view,
               const uint8_t *digest)
{
    unsigned count = 0;
    for (unsigned i = 0; i < r->config.n; i++) {
        count += votes[i].msg != NULL && votes[i].view == view &&
                 bft_digest_equal(votes[i].digest, digest);
    }
    return count;
}

void
bft_cert_clear(struct bft_replica *r, struct bft_cert *c)
{
    for (unsigned i = 0; i < c->nvotes; i++)
        c2_blob_unref(c->votes[i]);
    bft_bytes_clear(r, &c->body);
    *c = (struct bft_cert){ 0 };
}

void
bft_slot_settle(struct bft_replica *r, struct bft_slot *s)
{
    clear_votes(s->prepare);
    bft_cert_clear(r, &s->cert);
    s->have_later = false;
    s->prepare_lsn = s->commit_lsn = 0;
    s->first_lsn = 0;
}

void
bft_slot_clear(struct bft_replica *r, struct bft_slot *s)
{
    bft_slot_settle(r, s);
    clear_votes(s->commit);
    bft_bytes_clear(r, &s->body);
    bft_bytes_clear(r, &s->final);
    c2_blob_unref(s->proof);
    *s = (struct bft_slot){ 0 };
}
