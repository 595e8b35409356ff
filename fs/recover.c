/* SPDX-License-Identifier: MIT */
/*
 *   HEAD ─► LIST checkpoints, journal ─► INDEX (newest that is readable) ─► PARTS, loaded one by
 * one ─► the journal (recover_chain.c) ─► the takeover (recover_seal.c) ─► done
 *
 * An index that cannot be read is no loss, as the journal goes back to the one before.
 */
#include "fs/recover_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/str.h"
#include "base/wire.h"
#include "metadata/registry.h"

#define HEAD_FILE_MAX 4096

static void next_index(struct recovery *v);
static void next_part(struct recovery *v);

/* ---- end ------------------------------------------------------------------------------------ */

static void
recovery_free(struct recovery *v)
{
    c2_free(v->checkpoints.items);
    c2_free(v->journal.items);
    c2_free(v->parts);
    c2_free(v->bases);
    c2_free(v->generations);
    c2_free(v->steps);
    c2_blob_unref(v->held_blob);
    c2_blob_unref(v->get.data);
    for (size_t k = 0; k < RECOVER_WINDOW; k++)
        c2_blob_unref(v->fetch[k].get.data);
    c2_buf_done(&v->body);
    c2_buf_done(&v->sealed);
    coord_req_done(&v->req);
    keys_free(v->keys);
    c2_wipe(v->secret, sizeof(v->secret));
    c2_free(v);
}

static void
end_now(struct c2_task *t)
{
    struct recovery *v = C2_CONTAINER_OF(t, struct recovery, end_task);
    struct recover *r = v->r;
    r->err = v->end_err;
    r->error = v->end_error;
    r->own = NULL;
    recovery_free(v);
    r->done(r);
}

void
recover_end(struct recovery *v)
{
    v->ending = true;
    if (v->running == 0)
        c2_defer(v->r->env, &v->end_task);
}

void
recover_fail(struct recovery *v, enum c2_err err, const char *fmt, ...)
{
    char line[512];
    va_list args;
    C2_ASSERT(err != C2_E_OK);
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    if (!v->ending) {
        v->end_err = err;
        v->end_error = c2_strdup(line);
        for (size_t k = 0; k < RECOVER_WINDOW; k++) {
            struct recover_fetch *f = &v->fetch[k];
            if (f->used && !f->done)
                ds_get_cancel(v->r->ds, &f->get);
        }
    }
    recover_end(v);
}

bool
recover_loss(struct recovery *v, const char *what, uint64_t generation, uint64_t seq,
             enum c2_err err)
{
    struct recover_report *rep = &v->r->report;
    char when[C2_SIZE_TEXT_MAX] = "the beginning";
    if (rep->time_ns != 0)
        c2_time_format(rep->time_ns, when);
    (void)snprintf(rep->loss, sizeof(rep->loss), "journal object %llx.%llx %s (%s)",
                   (unsigned long long)generation, (unsigned long long)seq, what, c2_err_text(err));
    if (v->r->accept_loss) {
        C2_MARK("recover: loss accepted");
        rep->lossy = true;
        return true;
    }
    recover_fail(v, err == C2_E_QUORUM ? C2_E_QUORUM : C2_E_DAMAGED,
                 "%s; without it the volume is as it was at %s, version %llu", rep->loss, when,
                 (unsigned long long)v->version);
    return false;
}

/* ---- reading -------------------------------------------------------------------------------- */

bool
recover_counts(const struct recovery *v, const struct ds_list_item *i)
{
    return (unsigned)__builtin_popcount(i->seats) > ds_client_f(v->r->ds);
}

void
recover_get(struct recovery *v, enum ds_kind kind, const struct ds_ref *ref, uint32_t placed,
            void (*done)(struct ds_get *g))
{
    c2_blob_unref(v->get.data);
    v->get = (struct ds_get){
        .kind = kind, .ref = *ref, .self_certified = true, .placed = placed, .done = done
    };
    ds_get_start(v->r->ds, &v->get);
}

C2_RESULT
recover_decode(const struct recovery *v, const struct c2_blob *blob, uint64_t generation,
               uint64_t seq, struct ship_object *ret_object)
{
    struct ship_object o;
    C2_TRY(ship_object_decode(c2_blob_slice(blob), v->r->uuid, &o));
    if (o.generation != generation || o.seq != seq)
        return C2_E_CORRUPT;
    *ret_object = o;
    return C2_E_OK;
}

bool
recover_continues(const struct recovery *v, const struct ship_object *o)
{
    return ship_position_compare(&o->base, &v->at) == 0 &&
           memcmp(o->base.hash, v->at.hash, sizeof(v->at.hash)) == 0 &&
           o->base.version == v->at.version;
}

/* ---- applying, on the pool ------------------------------------------------------------------ */

static C2_RESULT
load_parts(struct coord *coord, struct c2_slice bytes)
{
    struct c2_rd r = c2_rd_init(bytes);
    while (c2_rd_left(&r) > 0) {
        struct c2_slice chunk = c2_rd_bytes(&r, SHIP_PART_MAX);
        if (!c2_rd_ok(&r))
            return C2_E_CORRUPT;
        C2_TRY(coord_local_load(coord, chunk));
    }
    return C2_E_OK;
}

static void
apply_run(struct c2_work *w)
{
    struct recover_apply *a = C2_CONTAINER_OF(w, struct recover_apply, work);
    if (a->parts)
        a->err = load_parts(a->coord, a->bytes);
    else
        a->err = coord_local_replay_log(a->coord, a->bytes);
}

static void
apply_done(struct c2_work *w)
{
    struct recovery *v = C2_CONTAINER_OF(w, struct recovery, apply.work);
    if (v->apply.err != C2_E_OK) {
        recover_fail(v, v->apply.err, "the metadata store cannot be rebuilt: %s",
                     c2_err_text(v->apply.err));
        return;
    }
    v->apply.done(v);
}

void
recover_apply_start(struct recovery *v, struct c2_slice bytes, bool parts,
                    void (*done)(struct recovery *v))
{
    v->apply = (struct recover_apply){
        .coord = v->r->coord, .bytes = bytes, .parts = parts, .done = done
    };
    v->apply.work.run = apply_run;
    v->apply.work.done = apply_done;
    c2_work(v->r->env, &v->apply.work);
}

/* ---- checkpoint ----------------------------------------------------------------------------- */

static void
part_loaded(struct recovery *v)
{
    v->next_part++;
    next_part(v);
}

static void
got_part(struct ds_get *g)
{
    struct recovery *v = C2_CONTAINER_OF(g, struct recovery, get);
    if (g->err != C2_E_OK) {
        recover_fail(v, g->err == C2_E_QUORUM ? C2_E_QUORUM : C2_E_CORRUPT,
                     "part %zu of %zu of the checkpoint cannot be read: %s", v->next_part + 1,
                     v->nparts, c2_err_text(g->err));
        return;
    }
    v->r->report.checkpoint_bytes += g->data->len;
    recover_apply_start(v, c2_blob_slice(g->data), true, part_loaded);
}

static void
next_part(struct recovery *v)
{
    if (v->next_part == v->nparts) {
        recover_chain_start(v);
        return;
    }
    recover_get(v, DS_KIND_CHECKPOINT, &v->parts[v->next_part], 0, got_part);
}

static void
take_index(struct recovery *v, struct ship_index *x)
{
    struct recover *r = v->r;
    v->have_index = true;
    v->checkpoint = x->checkpoint;
    v->parts = x->parts;
    v->nparts = x->nparts;
    v->at = x->checkpoint.journal;
    v->version = x->checkpoint.version;
    r->report.checkpoint_version = v->version;
    r->report.checkpoint_wall_ns = x->checkpoint.wall_ns;
    r->report.version = v->version;
    r->report.time_ns = x->checkpoint.wall_ns;
    if (x->has_key) {
        r->found_key = true;
        memcpy(r->ret_volume_key, x->volume_key, C2_KEY_LEN);
        c2_wipe(x->volume_key, sizeof(x->volume_key));
    }
    if (x->config.len > 0)
        c2_buf_append(&r->config, x->config.data, x->config.len);
    if (r->look_only)
        recover_end(v);
    else
        next_part(v);
}

static void
got_index(struct ds_get *g)
{
    struct recovery *v = C2_CONTAINER_OF(g, struct recovery, get);
    const struct ds_list_item *i = &v->checkpoints.items[v->candidate];
    struct ship_index x;
    enum c2_err err = g->err;
    if (err == C2_E_KEY) {
        recover_fail(v, err, "the key does not fit the volume in the clouds");
        return;
    }
    if (err == C2_E_OK)
        err = ship_index_decode(c2_blob_slice(g->data), v->r->uuid, &x);
    if (err == C2_E_OK &&
        (x.checkpoint.generation != i->sid || x.checkpoint.number != i->seq >> 16)) {
        c2_free(x.parts);
        err = C2_E_CORRUPT;
    }
    if (err == C2_E_VERSION) {
        recover_fail(v, err, "the checkpoint was written by a newer version of c2fs");
        return;
    }
    if (err != C2_E_OK) {
        C2_MARK("recover: an older checkpoint");
        c2_log(WARN, "recover", "checkpoint=%llx.%llx err=%s trying the one before",
               (unsigned long long)i->sid, (unsigned long long)i->seq, c2_err_name(err));
        v->r->report.checkpoints_bad++;
        next_index(v);
        return;
    }
    take_index(v, &x);
}

/* No checkpoint is no loss while the journal is whole, from the first transaction on. */
static void
next_index(struct recovery *v)
{
    while (v->candidate > 0) {
        const struct ds_list_item *i = &v->checkpoints.items[--v->candidate];
        if ((i->seq & SHIP_INDEX_SEQ) != SHIP_INDEX_SEQ || !recover_counts(v, i))
            continue;
        if (v->skipped < v->r->skip_checkpoints) {
            v->skipped++;
            continue;
        }
        struct ds_ref ref = { .oid = { .sid = i->sid, .seq = i->seq } };
        recover_get(v, DS_KIND_CHECKPOINT, &ref, i->seats, got_index);
        return;
    }
    if (v->r->volume_key == NULL || v->r->look_only)
        recover_fail(v, C2_E_NOT_FOUND, "no checkpoint of the volume is in the clouds");
    else
        recover_chain_start(v);
}

/* ---- lists ---------------------------------------------------------------------------------- */

static bool
list_ok(struct recovery *v, const struct ds_list *l)
{
    if (l->err == C2_E_OK && !l->more)
        return true;
    recover_fail(v, l->err != C2_E_OK ? l->err : C2_E_TOO_LARGE, "the clouds cannot be listed: %s",
                 l->err != C2_E_OK ? c2_err_text(l->err) : "too many objects");
    return false;
}

static void
journal_listed(struct ds_list *l)
{
    struct recovery *v = C2_CONTAINER_OF(l, struct recovery, journal);
    if (!list_ok(v, l))
        return;
    if (l->nitems == 0 && v->checkpoints.nitems == 0) {
        recover_fail(v, C2_E_NOT_FOUND, "nothing of the volume's metadata is in the clouds");
        return;
    }
    v->candidate = v->checkpoints.nitems;
    next_index(v);
}

/* Patient: of f+1 correct seats that hold the end of the journal, one may be slow, and a faulty
 * one hides it. */
static void
list(struct recovery *v, struct ds_list *l, enum ds_kind kind, void (*done)(struct ds_list *l))
{
    *l = (struct ds_list){ .kind = kind,
                           .all_sids = true,
                           .after_seq = UINT64_MAX,
                           .patient = true,
                           .whole = true,
                           .max = RECOVER_LIST_MAX,
                           .done = done };
    ds_list_start(v->r->ds, l);
}

static void
checkpoints_listed(struct ds_list *l)
{
    struct recovery *v = C2_CONTAINER_OF(l, struct recovery, checkpoints);
    if (list_ok(v, l))
        list(v, &v->journal, DS_KIND_JOURNAL, journal_listed);
}

/* ---- start ---------------------------------------------------------------------------------- */

static void
head_read(struct c2_disk_req *d)
{
    struct recovery *v = C2_CONTAINER_OF(d, struct recovery, disk);
    enum c2_err err = d->err;
    if (err == C2_E_OK)
        err = ship_head_decode(c2_blob_slice(d->reply), v->r->uuid, &v->head);
    v->have_head = err == C2_E_OK;
    if (err != C2_E_OK && err != C2_E_NOT_FOUND)
        c2_log(WARN, "recover", "file=%s err=%s what this machine saw last is not known", d->path,
               c2_err_name(err));
    c2_blob_unref(d->reply);
    list(v, &v->checkpoints, DS_KIND_CHECKPOINT, checkpoints_listed);
}

void
recover_start(struct recover *r)
{
    struct recovery *v = c2_calloc(1, sizeof(*v));
    v->r = r;
    v->end_task.run = end_now;
    v->end_err = C2_E_OK;
    r->own = v;
    r->error = NULL;
    r->found_key = false;
    r->config = (struct c2_buf){ 0 };
    r->report = (struct recover_report){ 0 };
    uint8_t seed[32], public_key[C2_ED25519_PUBLIC_LEN];
    c2_random(r->env, seed, sizeof(seed));
    c2_ed25519_keypair(seed, v->secret, public_key);
    c2_wipe(seed, sizeof(seed));
    for (size_t k = 0; k < RECOVER_WINDOW; k++)
        v->fetch[k].v = v;
    if (r->head_path == NULL) {
        list(v, &v->checkpoints, DS_KIND_CHECKPOINT, checkpoints_listed);
        return;
    }
    v->disk = (struct c2_disk_req){
        .verb = C2_DISK_READ, .path = r->head_path, .len_max = HEAD_FILE_MAX, .done = head_read
    };
    c2_disk(r->env, &v->disk);
}
