/* SPDX-License-Identifier: MIT */
#include "fs/record_page.h"

#include <string.h>

#include "base/wire.h"
#include "fs/fs.h"

static void
encode(const struct ds_oid *oid, uint8_t out[FS_RECORD_AFTER_LEN])
{
    c2_put_be64(out, oid->sid);
    c2_put_be64(out + 8, oid->seq);
    memcpy(out + 16, oid->rnd, sizeof(oid->rnd));
}

void
fs_record_after_object(struct fs_record_after *a, const struct ds_oid *oid)
{
    a->set = true;
    encode(oid, a->oid);
}

bool
fs_record_is_after(const struct fs_record_after *a, const struct ds_oid *oid)
{
    uint8_t bytes[FS_RECORD_AFTER_LEN];
    encode(oid, bytes);
    return !a->set || memcmp(bytes, a->oid, sizeof(bytes)) > 0;
}

static C2_RESULT
take(struct fs_record_page *p, const struct coord_entry *e)
{
    struct fs_object_record *rec = &p->rec[p->n];
    *rec = (struct fs_object_record){ 0 };
    C2_TRY(fs_object_key_decode(e->key, &rec->ref.oid));
    C2_TRY(fs_object_rec_decode(e->value, rec));
    p->n++;
    return C2_E_OK;
}

static void
listed(struct coord_req *r)
{
    struct fs_record_page *p = C2_CONTAINER_OF(r, struct fs_record_page, req);
    p->err = r->err;
    p->last = !r->more;
    for (size_t k = 0; p->err == C2_E_OK && k < r->nentries; k++)
        p->err = take(p, &r->entries[k]);
    coord_req_done(r);
    p->done(p);
}

void
fs_record_page_start(struct fs_record_page *p)
{
    C2_ASSERT(p->max > 0 && p->max <= FS_RECORD_PAGE_MAX);
    p->n = 0;
    p->prefix_key = p->after_key = ck_letter('O');
    if (p->after.set) {
        memcpy(p->after_key.bytes + 1, p->after.oid, FS_RECORD_AFTER_LEN);
        p->after_key.len = 1 + FS_RECORD_AFTER_LEN;
    }
    p->prefix = ck_slice(&p->prefix_key);
    p->req = (struct coord_req){ .verb = COORD_RANGE,
                                 .keys = &p->prefix,
                                 .nkeys = 1,
                                 .after = ck_slice(&p->after_key),
                                 .limit = p->max,
                                 .deadline_ns = C2_NEVER,
                                 .done = listed };
    coord_submit(p->fs->part.coord, &p->req);
}

void
fs_record_page_cancel(struct fs_record_page *p)
{
    coord_cancel(p->fs->part.coord, &p->req);
}
