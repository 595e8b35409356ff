/* SPDX-License-Identifier: MIT */
/*
 * Taking over:
 *
 *   SEAL at the next slot of the last generation ─► acknowledged: its writer is fenced
 *     ▲ └─ EXISTS: somebody wrote there ─► read it, apply it ─┐
 *     └───────────────────────────────────────────────────────┘
 *   ─► a session of the new store ─► record H: the next mount goes on after the seal ─► trim ─►
 * done
 *
 * What somebody wrote there may be the rest of a write that a crash ended. Such a slot has too few
 * clouds left when one is away; what k of them hold, our own seal, is read like another's object,
 * and the next slot is tried.
 *
 * After a loss the seal goes behind everything that the last generation has, and no checkpoint is
 * remembered, so that the next mount makes one at once.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "fs/recover_impl.h"

#define SEALS_MAX      1000
#define SESSION_TTL_NS (60 * C2_NS_PER_S)

static void put_seal(struct recovery *v);

static void
cannot_seal(struct recovery *v, enum c2_err err)
{
    recover_fail(v, err,
                 "the journal cannot be sealed, so the machine that had the volume could go on: %s",
                 c2_err_text(err));
}

/* ---- the new store -------------------------------------------------------------------------- */

static void
request(struct recovery *v, struct coord_req req, void (*done)(struct coord_req *r))
{
    coord_req_done(&v->req);
    v->req = req;
    v->req.deadline_ns = C2_NEVER;
    v->req.done = done;
    coord_submit(v->r->coord, &v->req);
}

static bool
request_ok(struct recovery *v)
{
    if (v->req.err == C2_E_OK)
        return true;
    recover_fail(v, v->req.err, "the rebuilt store cannot be written: %s", c2_err_text(v->req.err));
    return false;
}

static void
trimmed(struct coord_req *r)
{
    struct recovery *v = C2_CONTAINER_OF(r, struct recovery, req);
    if (request_ok(v))
        recover_end(v);
}

static void
session_closed(struct coord_req *r)
{
    struct recovery *v = C2_CONTAINER_OF(r, struct recovery, req);
    if (request_ok(v))
        request(v, (struct coord_req){ .verb = COORD_LOG_TRIM, .version_in = v->at.version },
                trimmed);
}

static void
recorded(struct coord_req *r)
{
    struct recovery *v = C2_CONTAINER_OF(r, struct recovery, req);
    if (request_ok(v))
        request(v, (struct coord_req){ .verb = COORD_SESSION_CLOSE, .session = v->session },
                session_closed);
}

static void
session_opened(struct coord_req *r)
{
    struct recovery *v = C2_CONTAINER_OF(r, struct recovery, req);
    const struct recover *rec = v->r;
    struct ship_record h = { .at = v->at, .cost = rec->report.log_bytes };
    struct c2_buf plain = { 0 };
    uint64_t counter;
    if (!request_ok(v))
        return;
    h.log_bytes = h.cost;
    if (v->have_index && !v->broken)
        h.checkpoints[h.ncheckpoints++] = v->checkpoint;
    v->session = r->session;
    v->keys = keys_new(rec->found_key ? rec->ret_volume_key : rec->volume_key, rec->uuid);
    keys_set_session(v->keys, v->session);
    c2_random(rec->env, &counter, sizeof(counter));
    keys_set_counter(v->keys, counter);
    v->key = ck_letter('H');
    ship_record_encode(&h, &plain);
    keys_seal(v->keys, ck_slice(&v->key), c2_buf_slice(&plain), &v->sealed);
    c2_buf_done(&plain);
    v->op = (struct coord_op){ .kind = COORD_PUT,
                               .key = ck_slice(&v->key),
                               .value = c2_buf_slice(&v->sealed) };
    request(v, (struct coord_req){ .verb = COORD_TXN, .ops = &v->op, .nops = 1 }, recorded);
}

/* ---- the seal ------------------------------------------------------------------------------- */

static void
sealed(struct recovery *v)
{
    v->at = (struct ship_position){ .generation = v->seal.generation,
                                    .seq = v->seal.seq + 1,
                                    .ref = v->put.ref,
                                    .version = v->version };
    memcpy(v->at.hash, v->seal.hash, sizeof(v->at.hash));
    v->r->report.sealed = v->seal.generation;
    request(v, (struct coord_req){ .verb = COORD_SESSION_OPEN, .ttl_ns = SESSION_TTL_NS },
            session_opened);
}

static void
got_other(struct ds_get *g)
{
    struct recovery *v = C2_CONTAINER_OF(g, struct recovery, get);
    enum c2_err err = g->err;
    if (err == C2_E_OK)
        err = recover_decode(v, g->data, v->at.generation, v->at.seq, &v->held);
    if (err == C2_E_OK) {
        v->held_blob = g->data;
        v->held_ref = g->ref_found;
        g->data = NULL;
        if (recover_apply_held(v, put_seal))
            return;
        err = C2_E_CONFLICT;
    }
    if (v->put.err == C2_E_QUORUM) {
        cannot_seal(v, C2_E_QUORUM);
        return;
    }
    recover_fail(v, C2_E_CONFLICT,
                 "another machine writes journal object %llx.%llx at this moment (%s); end it, "
                 "then recover again",
                 (unsigned long long)v->at.generation, (unsigned long long)v->at.seq,
                 c2_err_text(err));
}

static void
seal_put(struct ds_put *p)
{
    struct recovery *v = C2_CONTAINER_OF(p, struct recovery, put);
    uint32_t others = 0;
    if (p->err == C2_E_OK) {
        sealed(v);
        return;
    }
    for (unsigned seat = 0; seat < ds_client_n(v->r->ds); seat++)
        others |= p->seat_err[seat] == C2_E_EXISTS ? 1u << seat : 0;
    if (p->err != C2_E_EXISTS && (p->err != C2_E_QUORUM || others == 0)) {
        cannot_seal(v, p->err);
        return;
    }
    if (p->err == C2_E_QUORUM)
        others = p->placed;
    C2_MARK("recover: somebody wrote meanwhile");
    struct ds_ref ref = { .oid = p->oid };
    recover_get(v, DS_KIND_JOURNAL, &ref, others, got_other);
}

static void
put_seal(struct recovery *v)
{
    struct recover *r = v->r;
    if (++v->seals > SEALS_MAX) {
        recover_fail(v, C2_E_CONFLICT,
                     "another machine goes on writing to the volume; end it, "
                     "then recover again");
        return;
    }
    v->seal = (struct ship_object){ .kind = SHIP_SEAL,
                                    .generation = v->at.generation,
                                    .seq = v->at.seq,
                                    .base = v->at,
                                    .version = v->at.version };
    memcpy(v->seal.uuid, r->uuid, sizeof(v->seal.uuid));
    c2_buf_clear(&v->body);
    ship_object_encode(&v->seal, v->secret, &v->body);
    v->body_slice = c2_buf_slice(&v->body);
    v->put = (struct ds_put){ .kind = DS_KIND_JOURNAL,
                              .oid = { .sid = v->seal.generation, .seq = v->seal.seq },
                              .data = &v->body_slice,
                              .ndata = 1,
                              .done = seal_put };
    c2_random(r->env, v->put.oid.rnd, sizeof(v->put.oid.rnd));
    ds_put_start(r->ds, &v->put);
}

/* Behind everything that anybody lists: the journal is broken before. */
static void
go_behind(struct recovery *v)
{
    const struct ds_list *l = &v->journal;
    struct ship_position last = { .generation = v->at.generation, .seq = v->at.seq };
    for (size_t k = 0; k < l->nitems; k++) {
        struct ship_position p = { .generation = l->items[k].sid, .seq = l->items[k].seq + 1 };
        if (recover_counts(v, &l->items[k]) && ship_position_compare(&p, &last) > 0)
            last = p;
    }
    last.version = v->version;
    v->at = last;
}

void
recover_take_over(struct recovery *v)
{
    const struct ship_position *h = &v->head;
    bool behind = v->have_head && h->version > v->version && ship_position_compare(h, &v->at) > 0;
    if (behind && !v->broken) {
        C2_MARK("recover: the clouds were rolled back");
        if (!recover_loss(v,
                          "was the last that this machine saw, and is not there: more clouds "
                          "than may fail have lost data or were rolled back",
                          h->generation, h->seq - 1, C2_E_DAMAGED))
            return;
    }
    if (v->broken)
        go_behind(v);
    if (v->at.generation == 0) {
        recover_fail(v, C2_E_NOT_FOUND, "no readable metadata of the volume is in the clouds");
        return;
    }
    put_seal(v);
}
