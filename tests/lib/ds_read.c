/* SPDX-License-Identifier: MIT */
#include "tests/lib/ds_read.h"

#include "base/mark.h"

const char *const ds_read_faults[] = { "get.error",  "get.down",  "get.throttle", "get.hang",
                                       "get.absent", "get.empty", "get.corrupt",  "get.truncate",
                                       "get.huge",   "get.swap",  "get.delay:3s" };
const size_t ds_read_faults_count = C2_ARRAY_LEN(ds_read_faults);

struct ds_read
ds_read_open(struct c2_blob *data)
{
    struct ds_read f;
    ds_rig_init(&f.rig, 4, 1);
    ds_rig_open(&f.rig);
    f.data = data;
    struct ds_put p = ds_rig_put(&f.rig, data->data, data->len);
    C2_ASSERT(p.err == C2_E_OK);
    f.ref = p.ref;
    f.placed = p.placed;
    ds_rig_reopen(&f.rig);
    c2_mark_reset();
    return f;
}

void
ds_read_close(struct ds_read *f)
{
    c2_blob_unref(f->data);
    ds_rig_done(&f->rig);
}

void
ds_read_add_other(struct ds_read *f)
{
    struct c2_blob *other = ds_rig_random(99, f->data->len);
    ds_rig_store(&f->rig, other->data, other->len);
    c2_blob_unref(other);
}
