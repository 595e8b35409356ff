/* SPDX-License-Identifier: MIT */
/*
 * What seats gave that is not what was stored there: bounded, the latest ones. A seat that gives
 * the same wrong thing again is counted, not listed again.
 */
#include <stdio.h>
#include <string.h>

#include "depsky/client.h"

static bool
same(const struct ds_evidence *a, const struct ds_evidence *b)
{
    return a->seat == b->seat && a->len == b->len && strcmp(a->provider, b->provider) == 0 &&
           strcmp(a->key, b->key) == 0 && memcmp(a->found, b->found, sizeof(a->found)) == 0;
}

void
ds_evidence_add(struct ds_client *c, unsigned seat, const char *key, const uint8_t *root,
                struct c2_slice got)
{
    struct ds_evidence e = { .wall_ns = c2_wall_ns(c->env), .seat = seat, .len = got.len };
    const struct provider *p = c->seat[seat].provider;
    if (p == NULL)
        return;
    snprintf(e.provider, sizeof(e.provider), "%s", p->name);
    snprintf(e.key, sizeof(e.key), "%s", key);
    if (root != NULL)
        memcpy(e.expected, root, sizeof(e.expected));
    got.len = C2_MIN(got.len, (size_t)DS_EVIDENCE_BYTES);
    c2_sha256(got, e.found);
    c->evidence_version++;
    for (size_t k = 0; k < c->nevidence; k++) {
        if (!same(&c->evidence[k], &e))
            continue;
        c->evidence[k].wall_ns = e.wall_ns;
        c->evidence[k].count++;
        return;
    }
    e.count = 1;
    if (c->nevidence == DS_EVIDENCE_MAX) {
        memmove(c->evidence, c->evidence + 1, (DS_EVIDENCE_MAX - 1) * sizeof(e));
        c->nevidence--;
    }
    c->evidence[c->nevidence++] = e;
}

const struct ds_evidence *
ds_client_evidence(const struct ds_client *c, size_t *ret_n, uint64_t *ret_version)
{
    *ret_n = c->nevidence;
    *ret_version = c->evidence_version;
    return c->evidence;
}
