/* SPDX-License-Identifier: MIT */
/*
 * What clouds may answer to somebody who uses a unit. The first byte says what the rest is:
 * 'M' metadata; 'S' metadata of a trusted writer, whose key, length and signature are made right;
 * 'N' the name of a value or of metadata; 'L' the name of a lock.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/wire.h"
#include "depsky/unit_impl.h"
#include "tests/lib/unit_rig.h"

#define AT_LEN    12 /* docs/formats.md */
#define AT_WRITER 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What decodes can be written again, to the last byte. */
static void
metadata(const struct ds_unit *u, struct c2_slice in)
{
    struct unit_meta *m = c2_calloc(1, sizeof(*m));
    if (unit_meta_decode(u, in, m) == C2_E_OK) {
        struct c2_blob *out = unit_meta_encode(u, m);
        C2_ASSERT(m->count <= DS_UNIT_VERSIONS_MAX);
        C2_ASSERT(c2_slice_equal(in, c2_blob_slice(out)));
        c2_blob_unref(out);
    }
    c2_free(m);
}

static void
signed_metadata(const struct unit_rig *rig, const struct ds_unit *u, struct c2_slice in)
{
    uint8_t hash[C2_SHA256_LEN];
    if (in.len < AT_WRITER + DS_UNIT_PUBLIC_LEN || in.len > UNIT_META_MAX)
        return;
    struct c2_blob *b = c2_blob_new(in.len + DS_UNIT_SIG_LEN);
    memcpy(b->data, in.data, in.len);
    c2_put_u32(b->data + AT_LEN, (uint32_t)b->len);
    memcpy(b->data + AT_WRITER, rig->public_key[0], DS_UNIT_PUBLIC_LEN);
    const struct c2_slice parts[] = { c2_slice_str("c2unit meta v1"), c2_slice(b->data, in.len) };
    c2_sha256_v(parts, C2_ARRAY_LEN(parts), hash);
    c2_ed25519_sign(rig->secret[0], c2_slice(hash, sizeof(hash)), b->data + in.len);
    metadata(u, c2_blob_slice(b));
    c2_blob_unref(b);
}

/* A name that is one is written the same; the signature alone decides whose it is. */
static void
name(const struct ds_unit *u, enum unit_folder folder, struct c2_slice in)
{
    struct unit_id id;
    char key[PROV_KEY_MAX], prefix[UNIT_PREFIX_MAX];
    char *text = c2_strndup((const char *)in.data, in.len);
    if (unit_id_parse(text, &id)) {
        unit_prefix(u, folder, prefix);
        unit_key(u, folder, &id, key);
        C2_ASSERT(strcmp(key + strlen(prefix), text) == 0);
        const uint8_t *signer = unit_id_signer(u, folder, &id);
        if (signer != NULL) {
            C2_ASSERT(memcmp(signer, u->public_key, DS_UNIT_PUBLIC_LEN) == 0);
            id.number++;
            C2_ASSERT(unit_id_signer(u, folder, &id) == NULL);
        }
    }
    c2_free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct unit_rig rig;
    static struct ds_unit *u;
    if (u == NULL) {
        unit_rig_init(&rig, 4, 1);
        u = unit_rig_open(&rig, "unit", 0, true);
    }
    if (size == 0)
        return 0;
    struct c2_slice rest = c2_slice(data + 1, size - 1);
    switch (data[0]) {
    case 'M':
        metadata(u, rest);
        break;
    case 'S':
        signed_metadata(&rig, u, rest);
        break;
    case 'N':
        name(u, UNIT_VALUE, rest);
        break;
    case 'L':
        name(u, UNIT_LOCK, rest);
        break;
    default:
        break;
    }
    return 0;
}
