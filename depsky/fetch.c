/* SPDX-License-Identifier: MIT */
#include "depsky/fetch.h"

#include <stdio.h>

#include "base/alloc.h"

void
ds_fetch_free(struct ds_fetch *f)
{
    if (f == NULL)
        return;
    c2_blob_unref(f->blob);
    c2_free(f);
}

/* The last thing that happens to a fetch by itself. */
static void
finish(struct ds_fetch *f, enum c2_err err)
{
    struct ds_client *c = f->c;
    f->err = err;
    ds_op_end(c);
    f->done(f);
}

/* Wrong bytes of a provider outside the seats are nobody's fault here. */
static void
finish_corrupt(struct ds_fetch *f)
{
    if (!f->outside) {
        ds_health_corrupt(f->c, f->seat);
        ds_evidence_add(f->c, f->seat, f->key, f->ref.root,
                        f->blob != NULL ? c2_blob_slice(f->blob) : c2_slice(NULL, 0));
    }
    finish(f, C2_E_CORRUPT);
}

static void
run_verify(struct c2_work *w)
{
    struct ds_fetch *f = C2_CONTAINER_OF(w, struct ds_fetch, work);
    struct c2_slice body = c2_slice(f->blob->data + f->sh.hdr_len, f->sh.row_len);
    f->err = ds_leaves_verify(body, f->leaves, 0);
}

static void
verify_done(struct c2_work *w)
{
    struct ds_fetch *f = C2_CONTAINER_OF(w, struct ds_fetch, work);
    if (f->err != C2_E_OK) {
        finish_corrupt(f);
    } else {
        finish(f, C2_E_OK);
    }
}

/* The header under the trusted root, and the length it implies. */
static enum c2_err
check_head(struct ds_fetch *f, const struct prov_req *r)
{
    struct ds_layout layout;
    C2_TRY(ds_share_verify(c2_blob_slice(f->blob), f->ref.root, &f->sh, &layout, &f->leaves));
    ds_layout_done(&layout);
    uint64_t len = (uint64_t)f->sh.hdr_len + f->sh.row_len;
    if (!ds_share_belongs(f->c, &f->sh, &f->ref, f->seat) || (r->size != 0 && r->size != len) ||
        (!f->headers_only && f->blob->len != len))
        return C2_E_CORRUPT;
    return C2_E_OK;
}

static void
arrived(struct ds_call *call)
{
    struct ds_fetch *f = call->owner;
    struct prov_req *r = &call->req;
    f->call = NULL;
    if (r->err == C2_E_TOO_LARGE || r->err == C2_E_RANGE) {
        finish_corrupt(f);
        return;
    }
    if (r->err != C2_E_OK) {
        finish(f, r->err);
        return;
    }
    f->blob = r->reply;
    r->reply = NULL;
    f->bytes = f->blob->len;
    if (check_head(f, r) != C2_E_OK) {
        finish_corrupt(f);
    } else if (f->headers_only || f->unhashed) {
        finish(f, C2_E_OK);
    } else {
        f->work.run = run_verify;
        f->work.done = verify_done;
        c2_work(f->c->env, &f->work);
    }
}

void
ds_fetch_start(const struct ds_fetch *setup, const char *key, struct provider *source)
{
    struct ds_fetch *f = c2_calloc(1, sizeof(*f));
    *f = *setup;
    struct ds_client *c = f->c;
    ds_op_begin(c);
    snprintf(f->key, sizeof(f->key), "%s", key);
    f->outside = source != NULL;
    if (source == NULL)
        source = c->seat[f->seat].provider;
    f->call = ds_call_new_outside(c, f->seat, source, PROV_GET, key);
    f->call->req.body_len_max = ds_share_len_max(c->k, f->ref.plain_len);
    if (f->headers_only) {
        f->call->req.len = ds_share_tables_max(c->k, f->ref.plain_len);
        f->call->req.body_len_max = f->call->req.len;
    }
    f->call->done = arrived;
    f->call->owner = f;
    f->call->background = true;
    ds_call_start(f->call, c->config->get_timeout_ns);
}
