/* SPDX-License-Identifier: MIT */
/*
 *   READ (the records) ──► COMMIT (fence, session, configuration, each record's version) ──► done
 *     ▲                        │ a record has changed, or this mount has yet to move on
 *     └────────────────────────┘
 */
#include "fs/placement.h"

#include "base/mark.h"
#include "fs/fs.h"

#define TRIES_MAX   16
#define EPOCH_NS    (10 * C2_NS_PER_MS) /* until this mount has moved to the next epoch */
#define COND_CONFIG 2                   /* its place among the conditions */

static void read_records(struct fs_place *p);

static void
finish(struct fs_place *p, enum c2_err err)
{
    coord_req_done(&p->req);
    c2_buf_done(&p->values);
    p->values = (struct c2_buf){ 0 };
    p->err = err;
    p->done(p);
}

/* What this mount knows in memory follows the store. */
static void
tell_memory(struct fs_place *p)
{
    for (size_t k = 0; k < p->n; k++) {
        struct fs_object *o = fs_object_peek(p->fs, &p->item[k].ref.oid);
        if (o != NULL && o->placed_known && !p->item[k].gone && !p->item[k].stale)
            o->placed = (o->placed | p->item[k].set) & ~p->item[k].clear;
    }
}

static void
committed(struct coord_req *r)
{
    struct fs_place *p = C2_CONTAINER_OF(r, struct fs_place, req);
    uint64_t now = c2_now_ns(p->fs->part.env);
    if (r->err == C2_E_CONFLICT && r->cond_failed == COND_CONFIG && now < p->deadline_ns) {
        C2_MARK("placement: under an old configuration");
        c2_timer_arm(p->fs->part.env, &p->retry, now + EPOCH_NS);
    } else if (r->err == C2_E_CONFLICT && r->cond_failed > COND_CONFIG && ++p->tries < TRIES_MAX) {
        C2_MARK("placement: a record has changed meanwhile");
        read_records(p);
    } else if (r->err == C2_E_SESSION ||
               (r->err == C2_E_CONFLICT && r->cond_failed < COND_CONFIG)) {
        finish(p, C2_E_FENCED);
    } else {
        if (r->err == C2_E_OK)
            tell_memory(p);
        finish(p, r->err);
    }
}

static void
commit(struct fs_place *p)
{
    const struct fs_parts *part = &p->fs->part;
    p->conds[0] = (struct coord_cond){ .kind = COORD_VERSION_EQ,
                                       .key = part->fence_key,
                                       .number = part->fence_token };
    p->conds[1] = (struct coord_cond){ .kind = COORD_SESSION_ALIVE, .number = part->session };
    p->config_key = ck_letter('C');
    p->conds[COND_CONFIG] = p->conds[1]; /* nothing is asked twice when there is none */
    if (part->config_version != NULL)
        p->conds[COND_CONFIG] = (struct coord_cond){ .kind = COORD_VERSION_EQ,
                                                     .key = ck_slice(&p->config_key),
                                                     .number = *part->config_version };
    coord_req_done(&p->req);
    p->req = (struct coord_req){ .verb = COORD_TXN,
                                 .conds = p->conds,
                                 .nconds = p->nops + FS_PLACE_CONDS,
                                 .ops = p->ops,
                                 .nops = p->nops,
                                 .deadline_ns = p->deadline_ns,
                                 .done = committed };
    coord_submit(part->coord, &p->req);
}

/* A record's new value; false when it needs none. */
static bool
change(struct fs_place *p, size_t k, const struct coord_entry *e)
{
    struct fs_place_item *it = &p->item[k];
    struct fs_object_record rec = { .ref = it->ref };
    it->gone = e->version == 0 || fs_object_rec_decode(e->value, &rec) != C2_E_OK || rec.state != 0;
    uint32_t changed = ds_client_changed(p->fs->part.ds, it->since);
    it->stale = ((it->set | it->clear) & changed) != 0;
    uint32_t placed = it->stale ? rec.placed : (rec.placed | it->set) & ~it->clear;
    it->placed = placed;
    bool upgrade = !rec.has_root && fs_ref_has_root(&it->ref);
    if (upgrade)
        rec.ref = it->ref;
    if (it->gone || (placed == rec.placed && !upgrade) || !fs_ref_has_root(&rec.ref))
        return false;
    rec.has_root = true;
    unsigned before = (unsigned)__builtin_popcount(rec.placed);
    unsigned now = (unsigned)__builtin_popcount(placed);
    if (before > 0) /* shares of one object are equally long */
        rec.stored_bytes = rec.stored_bytes / before * now;
    rec.placed = placed;
    p->rec[p->nops] = rec;
    p->conds[p->nops + FS_PLACE_CONDS] =
        (struct coord_cond){ .kind = COORD_VERSION_EQ, .key = p->slices[k], .number = e->version };
    p->ops[p->nops++] = (struct coord_op){ .kind = COORD_PUT, .key = p->slices[k] };
    return true;
}

static void
records_read(struct coord_req *r)
{
    struct fs_place *p = C2_CONTAINER_OF(r, struct fs_place, req);
    if (r->err != C2_E_OK) {
        finish(p, r->err);
        return;
    }
    size_t at[FS_PLACE_MAX + 1];
    p->nops = 0;
    c2_buf_clear(&p->values);
    for (size_t k = 0; k < p->n; k++) {
        if (!change(p, k, &r->entries[k]))
            continue;
        at[p->nops - 1] = p->values.len;
        fs_object_rec_encode(&p->rec[p->nops - 1], &p->values);
    }
    at[p->nops] = p->values.len;
    for (size_t k = 0; k < p->nops; k++)
        p->ops[k].value = c2_slice(p->values.data + at[k], at[k + 1] - at[k]);
    if (p->nops == 0) {
        tell_memory(p);
        finish(p, C2_E_OK);
    } else {
        commit(p);
    }
}

static void
read_records(struct fs_place *p)
{
    coord_req_done(&p->req);
    p->req = (struct coord_req){ .verb = COORD_GET,
                                 .keys = p->slices,
                                 .nkeys = p->n,
                                 .deadline_ns = p->deadline_ns,
                                 .done = records_read };
    coord_submit(p->fs->part.coord, &p->req);
}

static void
retry_due(struct c2_timer *t)
{
    read_records(C2_CONTAINER_OF(t, struct fs_place, retry));
}

void
fs_place_start(struct fs_place *p)
{
    C2_ASSERT(p->n > 0 && p->n <= FS_PLACE_MAX);
    p->tries = 0;
    p->retry = (struct c2_timer){ .fire = retry_due };
    p->deadline_ns = c2_now_ns(p->fs->part.env) + FS_PLACE_WAIT_NS;
    for (size_t k = 0; k < p->n; k++) {
        p->keys[k] = ck_object(&p->item[k].ref.oid);
        p->slices[k] = ck_slice(&p->keys[k]);
    }
    read_records(p);
}
