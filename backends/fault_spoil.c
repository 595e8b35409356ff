/* SPDX-License-Identifier: MIT */
/*
 * Spoiled answers, see fault_spoil.h. One is counted only if it could be spoiled: there is nothing
 * to corrupt in an empty object.
 */
#include "backends/fault_spoil.h"
#include "backends/layer.h"

#include "base/alloc.h"

#include <string.h>

#define HUGE_EXTRA_MAX  ((size_t)64 << 10)
#define HUGE_SIZE       (UINT64_C(1) << 62)
#define FORGED_NAME_MAX 24
#define SKEW_NS         (UINT64_C(26) * 3600 * C2_NS_PER_S)

/* splitmix64 */
uint64_t
fault_random(struct fault_dice *d)
{
    uint64_t z = (d->state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static void
replace_reply(struct prov_req *r, struct c2_blob *reply)
{
    c2_blob_unref(r->reply);
    r->reply = reply;
}

static void
corrupt(struct fault_dice *d, struct prov_req *r)
{
    if (r->reply == NULL || r->reply->len == 0)
        return;
    struct c2_blob *b = c2_blob_copy(r->reply->data, r->reply->len);
    uint64_t random = fault_random(d);
    b->data[random % b->len] ^= (uint8_t)(1 + (random >> 32) % 255);
    replace_reply(r, b);
    d->counts[FAULT_CORRUPT]++;
}

static void
truncate_reply(struct fault_dice *d, struct prov_req *r)
{
    if (r->reply == NULL || r->reply->len == 0)
        return;
    replace_reply(r, c2_blob_copy(r->reply->data, fault_random(d) % r->reply->len));
    d->counts[FAULT_TRUNCATE]++;
}

static void
exaggerate(struct fault_dice *d, struct prov_req *r)
{
    d->counts[FAULT_HUGE]++;
    r->size = HUGE_SIZE;
    if (r->reply == NULL)
        return; /* HEAD */
    size_t len = r->reply->len;
    size_t extra = C2_MIN(r->body_len_max - len, HUGE_EXTRA_MAX);
    if (extra == 0) {
        replace_reply(r, NULL);
        prov_req_fail(r, C2_E_TOO_LARGE, "the cloud sends more than %zu bytes", r->body_len_max);
        return;
    }
    struct c2_blob *b = c2_blob_new(len + extra);
    memcpy(b->data, r->reply->data, len);
    memset(b->data + len, (int)(fault_random(d) & 0xff), extra);
    replace_reply(r, b);
}

/* Leaves out about half of the keys, and at least one. */
static void
leave_out(struct fault_dice *d, struct prov_req *r)
{
    if (r->nentries == 0)
        return;
    size_t kept = 0;
    size_t victim = fault_random(d) % r->nentries;
    for (size_t i = 0; i < r->nentries; i++) {
        if (i != victim && fault_random(d) % 2 == 0)
            r->entries[kept++] = r->entries[i];
    }
    r->nentries = kept;
    d->counts[FAULT_ABSENT]++;
}

/* Puts an invented key in its place in the order. */
static void
forge(struct fault_dice *d, struct prov_req *r)
{
    char key[PROV_KEY_MAX + FORGED_NAME_MAX];
    struct c2_buf name = { 0 };
    c2_buf_printf(&name, "%sforged-%08x", r->key, (unsigned)(fault_random(d) & 0xffffffff));
    size_t len = name.len;
    memcpy(key, c2_buf_cstr(&name), len + 1);
    c2_buf_done(&name);
    if (len > PROV_KEY_MAX || (r->list_after != NULL && strcmp(key, r->list_after) <= 0))
        return;

    struct prov_list_entry *entries = r->entries;
    size_t count = r->nentries;
    struct c2_buf text = r->list_text;
    r->entries = NULL;
    r->nentries = 0;
    r->list_text = (struct c2_buf){ 0 };
    bool placed = false;
    for (size_t i = 0; i <= count && r->nentries < r->list_max; i++) {
        if (!placed && (i == count || strcmp(key, entries[i].key) < 0)) {
            prov_list_add(r, key, fault_random(d) % 4096);
            placed = true;
        }
        if (i < count && r->nentries < r->list_max)
            prov_list_add(r, entries[i].key, entries[i].size);
    }
    if (r->nentries < count + (placed ? 1 : 0))
        r->truncated = true;
    prov_list_finish(r);
    c2_free(entries);
    c2_buf_done(&text);
    d->counts[FAULT_FORGE] += placed ? 1 : 0;
}

/* The list goes on for ever; the layer has asked for it from its first key on. */
static void
never_end(struct fault_dice *d, struct prov_req *r)
{
    r->truncated = true;
    d->counts[FAULT_LOOP]++;
}

static void
echo_other_checksum(struct fault_dice *d, struct prov_req *r)
{
    prov_req_fail(r, C2_E_CORRUPT, "injected: the checksum is not that of the bytes");
    d->counts[FAULT_CHECKSUM]++;
}

static void
lose_answer(struct fault_dice *d, struct prov_req *r)
{
    prov_req_reset(r);
    prov_req_fail(r, C2_E_UNREACHABLE, "injected: the answer got lost");
    d->counts[FAULT_NOACK]++;
}

/* Of every answer, failures too. */
static void
lie_about_time(struct fault_dice *d, struct prov_req *r)
{
    if (r->server_wall_ns == 0)
        return;
    r->server_wall_ns += fault_random(d) % 2 == 0 ? SKEW_NS : 0 - SKEW_NS;
    d->counts[FAULT_SKEW]++;
}

void
fault_spoil(struct fault_dice *d, unsigned kinds, struct prov_req *r)
{
    static const struct {
        enum fault_kind kind;
        void (*apply)(struct fault_dice *d, struct prov_req *r);
    } spoilers[] = {
        { FAULT_CORRUPT, corrupt },
        { FAULT_TRUNCATE, truncate_reply },
        { FAULT_HUGE, exaggerate },
        { FAULT_ABSENT, leave_out },
        { FAULT_FORGE, forge },
        { FAULT_LOOP, never_end },
        { FAULT_CHECKSUM, echo_other_checksum },
    };
    if (r->err == C2_E_CANCELED)
        return;
    if ((kinds & 1u << FAULT_NOACK) != 0)
        lose_answer(d, r);
    if ((kinds & 1u << FAULT_SKEW) != 0)
        lie_about_time(d, r);
    for (size_t i = 0; i < C2_ARRAY_LEN(spoilers); i++) {
        if (r->err == C2_E_OK && (kinds & 1u << spoilers[i].kind) != 0)
            spoilers[i].apply(d, r);
    }
}
