/* SPDX-License-Identifier: MIT */
/*
 * The consistency anchor (SCFS, ATC 2014, section 2.3): the bytes are in the clouds, now their
 * hashes are committed to the coordination service, in one transaction for the whole group:
 *
 *   ENCODE --> TXN (conditions: our lock still has our token, our session lives, the commit marker
 *              is as we left it, what gains bytes and was recorded before is still recorded)
 *          --> done
 *
 * A transaction that fails for a reason that may pass is sent again. A replicated service may have
 * carried it out although it says that it failed, and counters must not be added to twice: every
 * transaction writes the commit marker, our session and the number of the commit, and one that
 * finds its own marker there has happened already.
 *
 * A group that does not fit one transaction is split. Each part takes whole files, with what they
 * add to the counters of objects and take from them, so that the counters are right after every
 * part: a crash in between leaves nothing that is counted and not used, whatever the replay of the
 * journal makes of the rest. The order of the parts errs on the safe side: that this device changes
 * the store, then inodes, entries, removals, deleted inodes, and the journal position last. Only
 * the one file whose change touches more objects than fit a transaction is spread over several:
 * what it gains before, what it loses after everything else. An object is never in use without its
 * record, and never counted too low.
 *
 * The collector (fs/gc.h) takes the record of an object away before it deletes it. A group that
 * names such an object is refused as a whole: what the clouds are losing is never referred to. It
 * does not happen, because the collector leaves alone what memory or the journal name; if it does,
 * nothing more is committed and the journal keeps everything.
 */
#include "fs/anchor_impl.h"

#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/wire.h"
#include "fs/garbage.h"
#include "fs/object_record.h"
#include "fs/repair.h"

#define RETRY_NS    (1 * C2_NS_PER_S)
#define EPOCH_NS    (10 * C2_NS_PER_MS) /* until this mount has moved to the next epoch */
#define COND_MARKER 2                   /* its place among the conditions */
#define COND_CONFIG 3

static void submit_part(struct anchor_build *b);

/* ---- committing ----------------------------------------------------------------------------- */

static void
finish(struct anchor_build *b, enum c2_err err)
{
    struct anchor *a = b->a;
    coord_req_done(&a->req);
    c2_buf_done(&b->bytes);
    c2_free(b->ops);
    fs_live_done(&b->live);
    fs_live_done(&b->item);
    fs_live_done(&b->late);
    c2_free(b);
    a->err = err;
    a->done(a);
}

static void
mark_recorded(struct anchor_build *b)
{
    C2_LIST_FOREACH (&b->live.changes, struct fs_live_change, c, link) {
        struct fs_object *o = c->object;
        if (!o->recorded && o->placed_known) /* redundancy = full, and one did not take its share */
            fs_repair_found(b->a->fs, &o->ref, o->placed, 0);
        o->recorded = true;
    }
}

/* The service said that this very transaction failed, but it had happened. */
static bool
happened_already(const struct anchor_build *b, const struct coord_req *r)
{
    return r->err == C2_E_CONFLICT && r->cond_failed == COND_MARKER && r->nentries >= 1 &&
           c2_slice_equal(r->entries[0].value, c2_slice(b->marker, sizeof(b->marker)));
}

static void
refused(const struct anchor_build *b, struct c2_slice key)
{
    struct ds_oid oid = { 0 };
    C2_MARK("anchor: a group that names a condemned object");
    if (fs_object_key_decode(key, &oid) == C2_E_OK)
        c2_log(ERROR, "anchor", "group=%llu object=%llx.%llx is being deleted, and a file uses it",
               (unsigned long long)b->a->txg->id, (unsigned long long)oid.sid,
               (unsigned long long)oid.seq);
}

/* The volume's counters are beyond what they can hold (fs_admit_size): they are not worth a commit,
 * and fsck counts anew. */
static bool
drop_usage(struct anchor_build *b)
{
    struct ck bytes = ck_usage("bytes"), files = ck_usage("files");
    size_t n = 0, before = b->nops;
    for (size_t k = 0; k < before; k++) {
        struct c2_slice key = c2_slice(b->bytes.data + b->ops[k].key, b->ops[k].key_len);
        if (!c2_slice_equal(key, ck_slice(&bytes)) && !c2_slice_equal(key, ck_slice(&files)))
            b->ops[n++] = b->ops[k];
    }
    b->nops = n;
    return n > 0 && n < before;
}

static void
part_done(struct coord_req *r)
{
    struct anchor *a = C2_CONTAINER_OF(r, struct anchor, req);
    struct anchor_build *b = a->priv;
    a->txns++;
    if (happened_already(b, r)) {
        C2_MARK("anchor: a commit that had happened already");
        r->version = r->entries[0].version;
        r->err = C2_E_OK;
    }
    if (r->err == C2_E_CONFLICT && r->cond_failed == COND_CONFIG && !a->stopping) {
        C2_MARK("anchor: under an old configuration");
        c2_timer_arm(a->fs->part.env, &b->retry, c2_now_ns(a->fs->part.env) + EPOCH_NS);
        return;
    }
    if ((r->err == C2_E_CONFLICT && r->cond_failed != COND_CONFIG) || r->err == C2_E_SESSION) {
        if (r->err == C2_E_CONFLICT && r->cond_failed >= ANCHOR_CONDS)
            refused(b, b->conds[r->cond_failed].key);
        finish(b, C2_E_FENCED);
        return;
    }
    if (r->err != C2_E_OK && a->stopping) {
        finish(b, C2_E_CANCELED);
        return;
    }
    if (r->err == C2_E_RANGE && drop_usage(b)) {
        C2_MARK("anchor: counters that are full");
        c2_log(ERROR, "anchor",
               "group=%llu the counters of used bytes and files cannot be kept any more, fsck "
               "counts anew",
               (unsigned long long)a->txg->id);
        submit_part(b);
        return;
    }
    if (r->err != C2_E_OK) {
        c2_log(ERROR, "anchor", "group=%llu commit failed: err=%s, trying again",
               (unsigned long long)a->txg->id, c2_err_name(r->err));
        a->last_error = r->err;
        c2_timer_arm(a->fs->part.env, &b->retry, c2_now_ns(a->fs->part.env) + RETRY_NS);
        return;
    }
    a->last_error = C2_E_OK;
    a->fs->commit_version = r->version;
    a->fs->commits++;
    mark_recorded(b);
    if (b->phase != PHASE_END) {
        C2_MARK("anchor: a group in several transactions");
        anchor_build_part(b);
        submit_part(b);
        return;
    }
    a->fs->foreign = false;
    if (b->has_garbage)
        fs_garbage_wake(a->fs);
    if (b->has_ship_record)
        fs_ship_record_saved(a->fs);
    finish(b, C2_E_OK);
}

static void
submit_part(struct anchor_build *b)
{
    struct anchor *a = b->a;
    const struct fs_parts *part = &a->fs->part;
    size_t n = 0, nconds = ANCHOR_CONDS;
    for (size_t k = 0; k < b->nexists; k++)
        b->conds[nconds++] =
            (struct coord_cond){ .kind = COORD_EXISTS, .key = ck_slice(&b->exists[k]) };
    for (; n < b->nops; n++) {
        const struct anchor_op *o = &b->ops[n];
        b->part[n] = (struct coord_op){ .kind = o->kind,
                                        .key = c2_slice(b->bytes.data + o->key, o->key_len),
                                        .value = c2_slice(b->bytes.data + o->value, o->value_len),
                                        .number = o->number };
    }
    c2_put_u64(b->marker, part->session);
    c2_put_u64(b->marker + 8, a->fs->commits);
    b->part[n++] = (struct coord_op){ .kind = COORD_PUT,
                                      .key = ck_slice(&b->marker_key),
                                      .value = c2_slice(b->marker, sizeof(b->marker)) };
    b->conds[0] = (struct coord_cond){ .kind = COORD_VERSION_EQ,
                                       .key = part->fence_key,
                                       .number = part->fence_token };
    b->conds[1] = (struct coord_cond){ .kind = COORD_SESSION_ALIVE, .number = part->session };
    b->conds[COND_MARKER] = (struct coord_cond){ .kind = COORD_VERSION_EQ,
                                                 .key = ck_slice(&b->marker_key),
                                                 .number = a->fs->commit_version };
    b->config_key = ck_letter('C');
    b->conds[COND_CONFIG] = b->conds[1]; /* nothing is asked twice when there is none */
    if (part->config_version != NULL)
        b->conds[COND_CONFIG] = (struct coord_cond){ .kind = COORD_VERSION_EQ,
                                                     .key = ck_slice(&b->config_key),
                                                     .number = *part->config_version };
    coord_req_done(&a->req);
    a->req = (struct coord_req){ .verb = COORD_TXN,
                                 .conds = b->conds,
                                 .nconds = nconds,
                                 .ops = b->part,
                                 .nops = n,
                                 .deadline_ns = C2_NEVER,
                                 .done = part_done };
    coord_submit(part->coord, &a->req);
}

static void
retry_due(struct c2_timer *t)
{
    submit_part(C2_CONTAINER_OF(t, struct anchor_build, retry));
}

void
anchor_stop(struct anchor *a)
{
    struct anchor_build *b = a->priv;
    a->stopping = true;
    if (!c2_timer_armed(&b->retry)) {
        coord_cancel(a->fs->part.coord, &a->req);
        return;
    }
    c2_timer_stop(a->fs->part.env, &b->retry);
    finish(b, C2_E_CANCELED);
}

void
anchor_start(struct anchor *a)
{
    struct anchor_build *b = c2_calloc(1, sizeof(*b));
    b->a = a;
    b->retry.fire = retry_due;
    b->marker_key = ck_session(FS_COMMIT_MARKER);
    a->priv = b;
    b->ops = c2_calloc(COORD_TXN_OPS_MAX, sizeof(*b->ops));
    fs_live_init(&b->live);
    fs_live_init(&b->item);
    fs_live_init(&b->late);
    anchor_build_part(b);
    submit_part(b);
}
