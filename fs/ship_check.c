/* SPDX-License-Identifier: MIT */
/*
 * At the start of a mount: does the journal in the clouds end where we remember, or has somebody
 * gone on with it? Without this a machine that was away could begin a generation beside that of
 * the machine that has taken over.
 *
 *   LIST ──► for each object at or after our position: GET ──► COMPARE with our own log ──► next
 *     ▲ retry                                 │ not readable: never acknowledged, nothing
 *     └───────────────────────────────────────┘
 *
 * The objects after our position are those that the last mount shipped after its last transaction
 * group, and those of mounts that died before their first: they must be, byte for byte, what our
 * own log says about the same versions. Anything else (a seal, other bytes, versions that we do not
 * have) means that another machine, or another copy of this one, has continued: we are fenced.
 *
 * An object that was acknowledged is listed by more than f of the seats, whichever f are faulty;
 * what fewer seats list is a half-written object or a lie, and ignored. So a seat that is only slow
 * must be waited for: else a faulty one could hide what it and the slow one have. Our generation
 * is the one after the newest real one: its first slot is the place where two machines that start
 * at the same time meet, and only one of them can have it.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "fs/ship_state.h"

#define RETRY_MIN_NS (1 * C2_NS_PER_S)
#define RETRY_MAX_NS (60 * C2_NS_PER_S)

struct ship_check {
    struct fs_ship *s;
    struct c2_timer retry;
    uint64_t pause_ns;
    struct ds_list list;
    bool listing, getting, comparing;
    size_t next; /* item */
    struct ds_get get;
    struct ship_object object; /* points into get.data */
    struct coord_req log;
    uint64_t compared; /* our log equals up to this version of the object */
    uint64_t generation;
    bool lost; /* the object before our position is gone */
};

static void step(struct ship_check *c);

static void
check_free(struct ship_check *c)
{
    c->s->check = NULL;
    c2_timer_stop(c->s->fs->part.env, &c->retry);
    c2_blob_unref(c->get.data);
    c2_free(c->list.items);
    c2_free(c);
}

static void
again(struct ship_check *c, const char *what, enum c2_err err)
{
    struct fs_ship *s = c->s;
    c2_log(WARN, "ship", "%s err=%s metadata is not shipped until that works, trying again", what,
           c2_err_name(err));
    s->last_error = err;
    c2_free(c->list.items);
    c->list.items = NULL;
    c->pause_ns = C2_MIN(C2_MAX(RETRY_MIN_NS, 2 * c->pause_ns), RETRY_MAX_NS);
    c2_timer_arm(s->fs->part.env, &c->retry, c2_now_ns(s->fs->part.env) + c->pause_ns);
}

static void
fenced(struct ship_check *c, const char *why)
{
    struct fs_ship *s = c->s;
    const struct ds_list_item *i = &c->list.items[c->next];
    uint64_t generation = i->sid, seq = i->seq;
    check_free(c);
    ship_fence(s, why, generation, seq);
}

/* Nobody has gone on, and yet the clouds do not have what they had acknowledged. */
static void
begin_anew(struct fs_ship *s)
{
    C2_MARK("ship: the clouds have lost the journal");
    c2_log(ERROR, "ship",
           "journal=%llx.%llx is in no cloud any more: more of them than may fail have lost "
           "data or were rolled back; a new checkpoint is made from the local store",
           (unsigned long long)s->rec.at.generation, (unsigned long long)s->rec.at.seq - 1);
    s->rec.ncheckpoints = 0;
    ship_record_changed(s);
}

static void
over(struct ship_check *c)
{
    struct fs_ship *s = c->s;
    uint64_t generation = c->generation + 1;
    if (c->lost)
        begin_anew(s);
    check_free(c);
    if (generation > SHIP_GENERATION_MAX) {
        ship_fence(s, "is the last possible generation", generation, 0);
        return;
    }
    s->generation = generation;
    s->last_error = C2_E_OK;
    c2_log(INFO, "ship", "generation=%llx begins after journal=%llx.%llx version=%llu",
           (unsigned long long)generation, (unsigned long long)s->rec.at.generation,
           (unsigned long long)s->rec.at.seq, (unsigned long long)s->rec.at.version);
    ship_progress(s);
    checkpoint_consider(s->checkpoint);
}

/* ---- compare -------------------------------------------------------------------------------- */

static void compare(struct ship_check *c);

static void
next_item(struct ship_check *c)
{
    c2_blob_unref(c->get.data);
    c->get.data = NULL;
    c->next++;
    step(c);
}

static void
log_read(struct coord_req *r)
{
    struct ship_check *c = C2_CONTAINER_OF(r, struct ship_check, log);
    struct fs_ship *s = c->s;
    struct c2_slice theirs = ship_log_after(c->object.log, c->compared);
    struct c2_slice ours = c2_buf_slice(&r->reply);
    uint64_t version = c->compared, time_ns;
    enum c2_err err = r->err;
    c->comparing = false;
    if (s->stopped) {
        coord_req_done(r);
        check_free(c);
        return;
    }
    if (err == C2_E_OK)
        err = ship_log_check(ours, c->compared, &version, &time_ns);
    size_t len = C2_MIN(ours.len, theirs.len);
    bool equal = len > 0 && memcmp(ours.data, theirs.data, len) == 0;
    coord_req_done(r);
    if (err != C2_E_OK && err != C2_E_NOT_FOUND) {
        again(c, "the own log cannot be read", err);
    } else if (err != C2_E_OK || !equal) {
        C2_MARK("ship: another history");
        fenced(c, "is not what this machine's store has at the same place: another machine, or a "
                  "newer copy of this one, has continued");
    } else {
        c->compared = version;
        compare(c);
    }
}

static void
compare(struct ship_check *c)
{
    struct fs_ship *s = c->s;
    if (c->compared >= c->object.version) {
        c->generation = C2_MAX(c->generation, c->object.generation);
        next_item(c);
        return;
    }
    c->comparing = true;
    c->log = (struct coord_req){
        .verb = COORD_LOG_READ, .version_in = c->compared, .deadline_ns = C2_NEVER, .done = log_read
    };
    coord_submit(s->fs->part.coord, &c->log);
}

/* ---- objects -------------------------------------------------------------------------------- */

static void
got(struct ds_get *g)
{
    struct ship_check *c = C2_CONTAINER_OF(g, struct ship_check, get);
    struct fs_ship *s = c->s;
    c->getting = false;
    if (s->stopped) {
        check_free(c);
        return;
    }
    if (g->err == C2_E_NOT_FOUND) {
        next_item(c);
        return;
    }
    if (g->err == C2_E_KEY) {
        fenced(c, "was written with another volume key");
        return;
    }
    if (g->err != C2_E_OK) {
        again(c, "a journal object cannot be read", g->err);
        return;
    }
    const struct ds_list_item *i = &c->list.items[c->next];
    enum c2_err err = ship_object_decode(c2_blob_slice(g->data), s->fs->part.uuid, &c->object);
    if (err != C2_E_OK || c->object.generation != i->sid || c->object.seq != i->seq) {
        fenced(c, err == C2_E_VERSION ? "was written by a newer version of this program"
                                      : "is not a journal object of this volume");
        return;
    }
    if (c->object.kind == SHIP_SEAL) {
        C2_MARK("ship: sealed while away");
        fenced(c, "is a seal: another machine has taken the volume over");
        return;
    }
    c->compared = c->object.base.version;
    compare(c);
}

static bool
counts(const struct ship_check *c, const struct ds_list_item *i)
{
    const struct fs_ship *s = c->s;
    struct ship_position p = { .generation = i->sid, .seq = i->seq };
    unsigned seats = (unsigned)__builtin_popcount(i->seats);
    return seats > ds_client_f(s->fs->part.ds) && ship_position_compare(&p, &s->rec.at) >= 0;
}

static void
step(struct ship_check *c)
{
    struct fs_ship *s = c->s;
    while (c->next < c->list.nitems && !counts(c, &c->list.items[c->next]))
        c->next++;
    if (c->next == c->list.nitems) {
        over(c);
        return;
    }
    const struct ds_list_item *i = &c->list.items[c->next];
    c->getting = true;
    c->get = (struct ds_get){ .kind = DS_KIND_JOURNAL,
                              .ref = { .oid = { .sid = i->sid, .seq = i->seq } },
                              .self_certified = true,
                              .placed = i->seats,
                              .done = got };
    ds_get_start(s->fs->part.ds, &c->get);
}

/* ---- list ----------------------------------------------------------------------------------- */

/* The object before our position is never deleted: the clouds have lost, or were rolled back. */
static bool
journal_lost(const struct ship_check *c)
{
    const struct ship_position *at = &c->s->rec.at;
    if (at->seq == 0)
        return false;
    for (size_t k = 0; k < c->list.nitems; k++) {
        if (c->list.items[k].sid == at->generation && c->list.items[k].seq == at->seq - 1)
            return false;
    }
    return true;
}

static void
listed(struct ds_list *l)
{
    struct ship_check *c = C2_CONTAINER_OF(l, struct ship_check, list);
    struct fs_ship *s = c->s;
    c->listing = false;
    if (s->stopped) {
        check_free(c);
        return;
    }
    if (l->err != C2_E_OK || l->more) {
        again(c, "the journal cannot be listed", l->err != C2_E_OK ? l->err : C2_E_TOO_LARGE);
        return;
    }
    c->lost = journal_lost(c);
    c->next = 0;
    c->generation = s->rec.at.generation;
    step(c);
}

static void
list_start(struct c2_timer *t)
{
    struct ship_check *c = C2_CONTAINER_OF(t, struct ship_check, retry);
    c->listing = true;
    c->list = (struct ds_list){ .kind = DS_KIND_JOURNAL,
                                .all_sids = true,
                                .after_seq = UINT64_MAX,
                                .patient = true,
                                .whole = true,
                                .max = SHIP_LIST_MAX,
                                .done = listed };
    ds_list_start(c->s->fs->part.ds, &c->list);
}

void
ship_check_start(struct fs_ship *s)
{
    C2_ASSERT(s->check == NULL && s->generation == 0);
    struct ship_check *c = c2_calloc(1, sizeof(*c));
    c->s = s;
    c->retry.fire = list_start;
    s->check = c;
    list_start(&c->retry);
}

void
ship_check_stop(struct fs_ship *s)
{
    struct ship_check *c = s->check;
    if (c == NULL)
        return;
    if (c->getting)
        ds_get_cancel(s->fs->part.ds, &c->get);
    else if (!c->listing && !c->comparing)
        check_free(c);
}
