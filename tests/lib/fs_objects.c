/* SPDX-License-Identifier: MIT */
#include "tests/lib/fs_objects.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "backends/mem.h"
#include "base/alloc.h"
#include "tests/lib/fs_check.h"

static const struct fs_object *
newest(struct fsx *x)
{
    const struct fs_object *found = NULL;
    for (struct c2_map_node *n = c2_map_next(&x->fs->objects, NULL); n != NULL;
         n = c2_map_next(&x->fs->objects, n)) {
        const struct fs_object *o = C2_CONTAINER_OF(n, struct fs_object, node);
        if (found == NULL || o->ref.oid.seq > found->ref.oid.seq)
            found = o;
    }
    assert_non_null(found);
    return found;
}

struct fso
fso_put(struct fsx *x, const char *name)
{
    struct fso o = { 0 };
    uint8_t *data = fsx_bytes((uint64_t)name[0], FSO_SIZE);
    snprintf(o.name, sizeof(o.name), "%s", name);
    fsx_put(x, FS_ROOT_INO, name, data, FSO_SIZE);
    assert_int_equal(fsx_sync(x), C2_E_OK);
    c2_free(data);
    test_env_run_for(x->t, C2_NS_PER_S);
    const struct fs_object *known = newest(x);
    o.ref = known->ref;
    o.placed = known->placed;
    ds_object_key(x->ds, DS_KIND_OBJECT, o.ref.oid, o.key);
    for (unsigned s = 0; s < FSX_SEATS; s++) {
        const struct c2_blob *b = prov_mem_peek(x->mem[s], o.key);
        o.share[s] = b == NULL ? NULL : c2_blob_copy(b->data, b->len);
        assert_int_equal(b != NULL, o.placed >> s & 1);
    }
    return o;
}

void
fso_done(struct fso *o)
{
    for (unsigned s = 0; s < FSX_SEATS; s++)
        c2_blob_unref(o->share[s]);
}

void
fso_expect(struct fsx *x, const struct fso *o)
{
    uint8_t *data = fsx_bytes((uint64_t)o->name[0], FSO_SIZE);
    fsx_expect(x, FS_ROOT_INO, o->name, data, FSO_SIZE);
    c2_free(data);
}

bool
fso_whole(struct fsx *x, const struct fso *o, uint32_t seats)
{
    for (unsigned s = 0; s < FSX_SEATS; s++) {
        const struct c2_blob *b = prov_mem_peek(x->mem[s], o->key);
        if ((seats >> s & 1) == 0)
            continue;
        if (b == NULL || b->len != o->share[s]->len ||
            memcmp(b->data, o->share[s]->data, b->len) != 0)
            return false;
    }
    return true;
}

unsigned
fso_seat(const struct fso *o)
{
    return (unsigned)__builtin_ctz(o->placed);
}

unsigned
fso_spare(const struct fso *o)
{
    return (unsigned)__builtin_ctz(~o->placed);
}

void
fso_damage(struct fsx *x, const struct fso *o, unsigned seat)
{
    size_t len = prov_mem_peek(x->mem[seat], o->key)->len;
    prov_mem_corrupt(x->mem[seat], o->key, len - 1);
}

uint32_t
fso_recorded(struct fsx *x, const struct fso *o)
{
    struct fsx_check c;
    uint32_t placed = 0;
    assert_int_equal(fsx_sync(x), C2_E_OK);
    fsx_check(x, &c); /* every recorded share is there */
    fsx_drop_cache(x);
    fso_expect(x, o); /* reads the record */
    placed = fs_object_peek(x->fs, &o->ref.oid)->placed;
    return placed;
}
