/* SPDX-License-Identifier: MIT */
/*
 *   LOOK (headers; every byte of suspects) ──► REBUILD each lost share
 *        ──► LOOK at other seats, as many as are still missing: a late PUT may have got there
 *        ──► REBUILD there ──► VERIFY what was rebuilt
 *                 ▲ not there, whatever the PUT said │
 *                 └──────────────────────────────────┘
 *
 * A target that fails does not end the work: its share goes to a seat that had none. A seat that
 * cannot be asked is not taken for empty: it may come back with its share.
 */
#include "fs/mend.h"

#include "base/mark.h"
#include "fs/object_record.h"

static void next(struct fs_mend *m);

static unsigned
bits(uint32_t set)
{
    return (unsigned)__builtin_popcount(set);
}

static unsigned
goal(const struct fs_mend *m)
{
    return ds_client_goal_of(m->ds, m->placed | m->good);
}

static void
finish(struct fs_mend *m)
{
    bool enough = m->fill != 0 ? m->failed == 0 : bits(m->good) >= goal(m);
    m->placed_now = m->placed | m->rebuilt | m->spare;
    /* Not there, cannot be put there, and not needed there any more: the record tells the truth. */
    if (enough)
        m->placed_now &= ~(m->failed & m->missing);
    if (enough)
        m->err = C2_E_OK;
    else if (m->why != C2_E_OK)
        m->err = m->why;
    else
        m->err = C2_E_UNREACHABLE;
    m->done(m);
}

static bool to_spares(struct fs_mend *m);

/* ---- verifying ------------------------------------------------------------------------------- */

static void
verified(struct ds_check *k)
{
    struct fs_mend *m = C2_CONTAINER_OF(k, struct fs_mend, check);
    uint32_t said = m->rebuilt;
    m->bytes_read += k->bytes_read;
    m->good |= k->good;
    m->rebuilt = k->good;
    if (k->good != said) {
        C2_MARK("mend: a seat acknowledged a share and has it not");
        m->failed |= said & ~k->good;
        m->why = k->unknown != 0 ? C2_E_UNREACHABLE : C2_E_CORRUPT;
        if (m->fill == 0 && to_spares(m))
            return;
    }
    finish(m);
}

static void
check(struct fs_mend *m, uint32_t seats, bool headers_only, void (*done)(struct ds_check *k))
{
    m->check = (struct ds_check){
        .kind = m->kind, .ref = m->ref, .seats = seats, .headers_only = headers_only, .done = done
    };
    ds_check_start(m->ds, &m->check);
}

static void
verify(struct fs_mend *m)
{
    if (m->rebuilt == 0)
        finish(m);
    else
        check(m, m->rebuilt, true, verified);
}

/* ---- rebuilding ------------------------------------------------------------------------------ */

/* Seats that could hold a share and should not yet: with nothing that speaks against them, or any.
 */
static uint32_t
spare_seats(const struct fs_mend *m, bool any)
{
    uint32_t spare = 0;
    struct ds_seat_status s;
    for (unsigned i = 0; i < ds_client_n(m->ds); i++) {
        ds_seat_status(m->ds, i, &s);
        bool fine = s.state == DS_SEAT_ONLINE || s.state == DS_SEAT_DEGRADED;
        if (ds_client_seat_takes(m->ds, i) && (fine || (any && s.state != DS_SEAT_EMPTY)))
            spare |= 1u << i;
    }
    return spare & ~(m->placed | m->rebuilt | m->failed | m->spare);
}

static void
spares_looked_at(struct ds_check *k)
{
    struct fs_mend *m = C2_CONTAINER_OF(k, struct fs_mend, check);
    m->bytes_read += k->bytes_read;
    m->good |= k->good;
    m->spare |= k->good;
    m->todo &= ~(k->good | k->unknown);
    m->failed |= k->unknown; /* nor could be said whether it took one: k shares need not be read */
    if (k->unknown != 0)
        m->why = C2_E_UNREACHABLE;
    if (k->good != 0)
        C2_MARK("mend: another seat has a share already");
    next(m);
}

/* What is still missing goes to others: to suspect ones only when nobody else is left. False: there
 * is nobody, or nothing is missing. */
static bool
to_spares(struct fs_mend *m)
{
    unsigned have = bits(m->good | m->rebuilt | m->unknown);
    uint32_t fine = spare_seats(m, false), any = spare_seats(m, true);
    m->spares = true;
    for (unsigned pass = 0; pass < 2; pass++) {
        uint32_t seats = pass == 0 ? fine : any & ~fine;
        for (; seats != 0 && have < goal(m); seats &= seats - 1, have++) {
            C2_MARK("mend: another seat takes the share");
            m->todo |= seats & (~seats + 1);
        }
    }
    if (m->todo == 0)
        return false;
    m->check = (struct ds_check){ .kind = m->kind,
                                  .ref = m->ref,
                                  .seats = m->todo,
                                  .headers_only = true,
                                  .unsure = true,
                                  .done = spares_looked_at };
    ds_check_start(m->ds, &m->check);
    return true;
}

static void
share_rebuilt(struct ds_rebuild *r)
{
    struct fs_mend *m = C2_CONTAINER_OF(r, struct fs_mend, rebuild);
    uint32_t bit = 1u << r->seat;
    m->bytes_read += r->bytes_read;
    m->bytes_written += r->bytes_written;
    if (r->err == C2_E_OK) {
        m->rebuilt |= bit;
        next(m);
        return;
    }
    m->failed |= bit;
    m->why = r->err;
    if (r->err == C2_E_NOT_FOUND || r->err == C2_E_QUORUM || r->err == C2_E_INVALID ||
        r->err == C2_E_CANCELED) { /* the next one would not fare better */
        m->failed |= m->todo;
        m->todo = 0;
        m->spares = true;
    }
    next(m);
}

static void
next(struct fs_mend *m)
{
    if (m->todo == 0 && !m->spares && to_spares(m))
        return;
    if (m->todo == 0) {
        verify(m);
        return;
    }
    unsigned seat = (unsigned)__builtin_ctz(m->todo);
    m->todo &= m->todo - 1;
    m->rebuild = (struct ds_rebuild){ .kind = m->kind,
                                      .ref = m->ref,
                                      .seat = seat,
                                      .placed = m->fill != 0 ? m->placed & ~m->fill : m->good,
                                      .source = m->source,
                                      .done = share_rebuilt };
    ds_rebuild_start(m->ds, &m->rebuild);
}

/* ---- looking --------------------------------------------------------------------------------- */

static void
take_findings(struct fs_mend *m, const struct ds_check *k)
{
    m->bytes_read += k->bytes_read;
    m->good |= k->good;
    m->missing |= k->absent;
    m->bad |= k->bad;
    m->unknown |= k->unknown;
}

static void
looked(struct fs_mend *m)
{
    m->todo = m->missing | m->bad;
    next(m);
}

static void
suspects_looked_at(struct ds_check *k)
{
    struct fs_mend *m = C2_CONTAINER_OF(k, struct fs_mend, check);
    take_findings(m, k);
    looked(m);
}

static void
headers_looked_at(struct ds_check *k)
{
    struct fs_mend *m = C2_CONTAINER_OF(k, struct fs_mend, check);
    take_findings(m, k);
    if ((m->suspect & m->placed) != 0)
        check(m, m->suspect & m->placed, false, suspects_looked_at);
    else
        looked(m);
}

static void
look(struct fs_mend *m)
{
    uint32_t headers = m->placed & ~m->suspect;
    if (m->fill != 0) {
        m->todo = m->fill;
        next(m);
    } else if (headers != 0) {
        check(m, headers, true, headers_looked_at);
    } else {
        check(m, m->placed, false, suspects_looked_at);
    }
}

/* Of f + 1 providers that agree one at least is correct, and it has what the writer gave it. */
static void
root_read(struct ds_get *g)
{
    struct fs_mend *m = C2_CONTAINER_OF(g, struct fs_mend, get);
    c2_blob_unref(g->data);
    if (g->err != C2_E_OK && g->err != C2_E_KEY) {
        m->why = g->err;
        m->failed = m->fill;
        finish(m);
        return;
    }
    C2_MARK("mend: an old record, the shares tell their root");
    m->ref = g->ref_found;
    look(m);
}

void
fs_mend_start(struct fs_mend *m)
{
    C2_ASSERT(m->done != NULL);
    C2_ASSERT(m->placed != 0);
    C2_ASSERT(m->source == NULL || bits(m->fill) == 1);
    m->good = m->missing = m->bad = m->unknown = m->rebuilt = m->spare = m->failed = m->todo = 0;
    m->bytes_read = m->bytes_written = 0;
    m->spares = m->fill != 0;
    m->since = ds_client_changes(m->ds);
    m->why = C2_E_OK;
    if (fs_ref_has_root(&m->ref)) {
        look(m);
        return;
    }
    m->get = (struct ds_get){ .kind = m->kind,
                              .ref = m->ref,
                              .self_certified = true,
                              .placed = m->placed & ~m->fill,
                              .len = 1,
                              .done = root_read };
    ds_get_start(m->ds, &m->get);
}
