/* SPDX-License-Identifier: MIT */
#include "metadata/rights.h"

#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"

void
rights_done(struct rights *t)
{
    c2_buf_done(&t->bytes);
    c2_free(t->entry);
    c2_free(t->lens);
    *t = (struct rights){ 0 };
}

static void
note_len(struct rights *t, size_t len)
{
    size_t i = 0;
    while (i < t->nlens && t->lens[i] != len)
        i++;
    if (i == t->nlens)
        t->lens[t->nlens++] = (uint16_t)len;
}

C2_RESULT
rights_load(struct rights *t, struct c2_slice list)
{
    rights_done(t);
    c2_buf_append(&t->bytes, list.data, list.len);
    struct c2_rd in = c2_rd_init(c2_buf_slice(&t->bytes));
    size_t room = list.len / 8; /* an entry has two lengths at least */
    t->entry = c2_calloc(room, sizeof *t->entry);
    t->lens = c2_calloc(room, sizeof *t->lens);
    while (c2_rd_left(&in) > 0) {
        struct rights_entry e;
        e.prefix = c2_rd_bytes(&in, COORD_ACL_PREFIX_MAX);
        e.grants = c2_rd_bytes(&in, COORD_ACL_GRANTS_MAX * COORD_GRANT_LEN);
        bool good = c2_rd_ok(&in) && e.grants.len % COORD_GRANT_LEN == 0 &&
                    (t->n == 0 || c2_slice_compare(t->entry[t->n - 1].prefix, e.prefix) < 0);
        if (!good) {
            rights_done(t);
            return C2_E_DAMAGED;
        }
        t->entry[t->n++] = e;
        note_len(t, e.prefix.len);
    }
    return C2_E_OK;
}

/* Where the first entry is whose prefix is not before this one. */
static size_t
place_of(const struct rights *t, struct c2_slice prefix)
{
    size_t low = 0;
    size_t high = t->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (c2_slice_compare(t->entry[mid].prefix, prefix) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

const struct rights_entry *
rights_find(const struct rights *t, struct c2_slice prefix)
{
    size_t at = place_of(t, prefix);
    bool here = at < t->n && c2_slice_equal(t->entry[at].prefix, prefix);
    return here ? &t->entry[at] : NULL;
}

unsigned
rights_granted(struct c2_slice grants, const uint8_t who[COORD_PRINCIPAL_LEN])
{
    for (size_t at = 0; at < grants.len; at += COORD_GRANT_LEN) {
        if (memcmp(grants.data + at, who, COORD_PRINCIPAL_LEN) == 0)
            return grants.data[at + COORD_PRINCIPAL_LEN];
    }
    return 0;
}

unsigned
rights_of(const struct rights *t, const uint8_t who[COORD_PRINCIPAL_LEN], struct c2_slice key)
{
    unsigned rights = 0;
    bool covered = false;
    for (size_t i = 0; i < t->nlens; i++) {
        if (t->lens[i] > key.len)
            continue;
        const struct rights_entry *e = rights_find(t, c2_slice(key.data, t->lens[i]));
        covered = covered || e != NULL;
        rights |= e != NULL ? rights_granted(e->grants, who) : 0;
    }
    return covered ? rights : COORD_MAY_READ | COORD_MAY_WRITE;
}

bool
rights_below(const struct rights *t, const uint8_t who[COORD_PRINCIPAL_LEN], struct c2_slice prefix,
             unsigned needed)
{
    bool all = (rights_of(t, who, prefix) & needed) == needed;
    for (size_t i = place_of(t, prefix);
         all && i < t->n && c2_slice_starts_with(t->entry[i].prefix, prefix); i++)
        all = (rights_of(t, who, t->entry[i].prefix) & needed) == needed;
    return all;
}
