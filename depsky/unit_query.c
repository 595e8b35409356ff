/* SPDX-License-Identifier: MIT */
/*
 * What the clouds know of a unit: the paper's queryMetadata (§3.3: "the highest version number
 * among n-f correctly signed metadata files").
 *
 * Per seat:
 *
 *   LIST m/ ──newest name──► GET it ──signature good──► ANSWERED
 *     │  ▲                     │ └── bad ──► FAILED (and the seat is suspect)
 *     │  └── gone meanwhile ───┘
 *     ├── no name, or one whose metadata this seat gave before ──► ANSWERED
 *     └── error ─────────────────────────────────────────────────► FAILED
 *
 *   LIST v/ ──highest signed name──► ANSWERED           only for writers: the claims
 *
 * Only answers count: a seat that cannot be reached, or whose answer does not verify, is not
 * "absent". A seat that lists a revision has to show its metadata, even when another seat has shown
 * the same already; so what comes out depends on what the seats have, never on the order in which
 * they answer. Any n-f answers meet the n-f acknowledgements of every complete write in at least
 * n-2f > f seats, so in a correct one, however many of the others are gone or damaged: nothing, but
 * never an old version. For the same reason the claims of n-f seats contain every revision of which
 * metadata may exist anywhere: its value had k+f acknowledgements before.
 *
 * Names that nobody we trust has signed are skipped; when more than f seats show such a name
 * before any trusted one, somebody writes this unit with a key that we do not know: KEY.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "depsky/unit_impl.h"

#define NAMES     16 /* newest names asked for */
#define TRIES_MAX 4  /* of a seat whose metadata is collected while we read it */

static void
finish(struct unit_query *q, enum c2_err err)
{
    struct ds_unit *u = q->u;
    C2_ASSERT(!q->over);
    q->over = true;
    q->err = err;
    for (unsigned i = 0; i < u->c->n; i++) {
        ds_call_cancel(q->seat[i].meta_call);
        ds_call_cancel(q->seat[i].claim_call);
    }
    q->done(q);
}

static void
step(struct unit_query *q)
{
    struct ds_client *c = q->u->c;
    unsigned answered = 0;
    unsigned running = 0;
    unsigned foreign = 0;
    for (unsigned i = 0; i < c->n; i++) {
        const struct query_seat *s = &q->seat[i];
        foreign += s->foreign;
        if (s->meta == QUERY_ANSWERED && s->claim == QUERY_ANSWERED)
            answered++;
        else if (s->meta != QUERY_FAILED && s->claim != QUERY_FAILED)
            running++;
    }
    if (foreign > c->f) {
        C2_MARK("unit: somebody else writes it");
        finish(q, C2_E_KEY);
    } else if (answered >= c->n - c->f) {
        finish(q, C2_E_OK);
    } else if (answered + running < c->n - c->f) {
        finish(q, C2_E_QUORUM);
    }
}

static void
seat_failed(struct query_seat *s, const char *what, enum c2_err err)
{
    s->meta = QUERY_FAILED;
    c2_log(DEBUG, "unit", "seat failed unit=%s seat=%u what=%s err=%s", s->q->u->name, s->index,
           what, c2_err_name(err));
}

/* ---- names ----------------------------------------------------------------------------- */

/*
 * The newest name that a trusted writer signed. False when the seat's list cannot be used: the
 * page is full of other names.
 */
static bool
newest(struct query_seat *s, enum unit_folder folder, const struct prov_req *r,
       struct unit_id *ret_id, bool *ret_found)
{
    struct ds_unit *u = s->q->u;
    char prefix[UNIT_PREFIX_MAX];
    unit_prefix(u, folder, prefix);
    size_t len = strlen(prefix);
    *ret_found = false;
    for (size_t i = 0; i < r->nentries; i++) {
        struct unit_id id;
        if (strncmp(r->entries[i].key, prefix, len) != 0 ||
            !unit_id_parse(r->entries[i].key + len, &id))
            continue;
        if (unit_id_signer(u, folder, &id) != NULL) {
            *ret_id = id;
            *ret_found = true;
            return true;
        }
        s->foreign = true;
    }
    return !s->foreign && !r->truncated;
}

static struct ds_call *
list(struct query_seat *s, enum unit_folder folder, void (*arrived)(struct ds_call *call))
{
    struct ds_client *c = s->q->u->c;
    char prefix[UNIT_PREFIX_MAX];
    unit_prefix(s->q->u, folder, prefix);
    struct ds_call *call = ds_call_new(c, s->index, PROV_LIST, prefix);
    call->req.list_max = NAMES;
    call->done = arrived;
    call->owner = s;
    ds_call_start(call, c->config->get_timeout_ns);
    return call;
}

static void
claims_arrived(struct ds_call *call)
{
    struct query_seat *s = call->owner;
    struct unit_query *q = s->q;
    struct unit_id id;
    bool found = false;
    s->claim_call = NULL;
    s->claim = QUERY_FAILED;
    if (call->req.err == C2_E_OK && newest(s, UNIT_VALUE, &call->req, &id, &found))
        s->claim = QUERY_ANSWERED;
    if (found && id.number > q->u->used) {
        if (id.number > q->u->known->id.number)
            C2_MARK("unit: a claim is newer than all metadata");
        q->u->used = id.number;
    }
    step(q);
}

/* ---- metadata -------------------------------------------------------------------------- */

static void names_arrived(struct ds_call *call);

static void
take_meta(struct query_seat *s, const struct c2_blob *b)
{
    struct ds_unit *u = s->q->u;
    struct unit_meta *m = c2_alloc(sizeof(*m));
    enum c2_err err = unit_meta_decode(u, c2_blob_slice(b), m);
    if (err == C2_E_OK && unit_id_compare(&m->id, &s->id) != 0)
        err = C2_E_CORRUPT; /* another revision's */
    if (err == C2_E_OK) {
        memcpy(m->id.sig, s->id.sig, sizeof(m->id.sig));
        s->meta = QUERY_ANSWERED;
        unit_learn(u, m, 1u << s->index);
        ds_health_verified(u->c, s->index);
    } else {
        C2_MARK("unit: metadata does not verify");
        seat_failed(s, "metadata", err);
        ds_health_corrupt(u->c, s->index);
    }
    c2_free(m);
}

static void
meta_arrived(struct ds_call *call)
{
    struct query_seat *s = call->owner;
    struct unit_query *q = s->q;
    const struct prov_req *r = &call->req;
    s->meta_call = NULL;
    if (r->err == C2_E_OK) {
        take_meta(s, r->reply);
    } else if (r->err == C2_E_NOT_FOUND && ++s->tries < TRIES_MAX) {
        C2_MARK("unit: metadata was collected meanwhile");
        s->meta_call = list(s, UNIT_META, names_arrived);
    } else {
        seat_failed(s, "metadata", r->err);
    }
    step(q);
}

static void
get_meta(struct query_seat *s)
{
    struct ds_client *c = s->q->u->c;
    char key[PROV_KEY_MAX];
    unit_key(s->q->u, UNIT_META, &s->id, key);
    s->meta_call = ds_call_new(c, s->index, PROV_GET, key);
    s->meta_call->req.body_len_max = UNIT_META_MAX;
    s->meta_call->done = meta_arrived;
    s->meta_call->owner = s;
    ds_call_start(s->meta_call, c->config->get_timeout_ns);
}

static void
names_arrived(struct ds_call *call)
{
    struct query_seat *s = call->owner;
    struct unit_query *q = s->q;
    bool found;
    s->meta_call = NULL;
    if (call->req.err != C2_E_OK) {
        seat_failed(s, "list", call->req.err);
    } else if (!newest(s, UNIT_META, &call->req, &s->id, &found)) {
        seat_failed(s, "names", C2_E_CORRUPT);
    } else if (!found || unit_id_equal(&s->id, &q->u->proved[s->index])) {
        s->meta = QUERY_ANSWERED;
    } else {
        get_meta(s);
    }
    step(q);
}

/* ---- start ----------------------------------------------------------------------------- */

static void
nobody(struct c2_task *t)
{
    step(C2_CONTAINER_OF(t, struct unit_query, task));
}

void
unit_query_start(struct unit_query *q)
{
    struct ds_client *c = q->u->c;
    unsigned asked = 0;
    C2_ASSERT(q->done != NULL);
    q->over = false;
    memset(q->seat, 0, sizeof(q->seat));
    q->task = (struct c2_task){ .run = nobody };
    for (unsigned i = 0; i < c->n; i++) {
        struct query_seat *s = &q->seat[i];
        s->q = q;
        s->index = i;
        s->meta = ds_seat_used(c, i) ? QUERY_ASKED : QUERY_FAILED;
        s->claim = q->claims ? QUERY_ASKED : QUERY_ANSWERED;
    }
    for (unsigned i = 0; i < c->n; i++) {
        struct query_seat *s = &q->seat[i];
        if (s->meta == QUERY_FAILED)
            continue;
        asked++;
        s->meta_call = list(s, UNIT_META, names_arrived);
        if (q->claims)
            s->claim_call = list(s, UNIT_VALUE, claims_arrived);
    }
    if (asked == 0)
        c2_defer(c->env, &q->task);
}
