/* SPDX-License-Identifier: MIT */
/*
 * The metadata of one revision, signed by its writer; docs/formats.md has every byte. Only the
 * length, the magic and the writer's key, all at fixed places, are looked at before the signature
 * has been verified with the key of a trusted writer.
 */
#include "depsky/unit_impl.h"

#include <string.h>

#include "base/wire.h"

#define MAGIC   "C2FSUNT1"
#define DOMAIN  "c2unit meta v1"
#define VERSION 1

enum { FLAG_DELETED = 1 << 0 };

enum { /* the fixed part */
       AT_MAGIC = 0,
       AT_VERSION = 8,
       AT_FLAGS = 10,
       AT_LEN = 12,
       AT_WRITER = 16,
       AT_VOLUME = 48,
       AT_REST = 64,
};

#define ENTRY_LEN (8 + 8 + 8 + 1 + 1 + 4 + 4 + 32 + 32 + DS_UNIT_RND_LEN + DS_UNIT_SIG_LEN)

_Static_assert(AT_REST + 8 + 8 + 8 + 64 + 4 + DS_UNIT_NAME_MAX + 2 +
                       DS_UNIT_VERSIONS_MAX * ENTRY_LEN + DS_UNIT_SIG_LEN <=
                   UNIT_META_MAX,
               "metadata fits its limit");

static void
signed_hash(struct c2_slice text, uint8_t out[C2_SHA256_LEN])
{
    const struct c2_slice parts[] = { c2_slice_str(DOMAIN), text };
    c2_sha256_v(parts, C2_ARRAY_LEN(parts), out);
}

static void
encode_version(struct c2_buf *b, const struct ds_unit_version *v)
{
    c2_wr_u64(b, v->version);
    c2_wr_u64(b, v->size);
    c2_wr_u64(b, v->time_ns);
    c2_wr_u8(b, (uint8_t)v->protocol);
    c2_wr_u8(b, (uint8_t)v->placed);
    c2_wr_u32(b, v->key_epoch);
    c2_wr_u32(b, v->domain_id);
    c2_wr_raw(b, v->writer, sizeof(v->writer));
    c2_wr_raw(b, v->hash, sizeof(v->hash));
    c2_wr_raw(b, v->rnd, sizeof(v->rnd));
    c2_wr_raw(b, v->sig, sizeof(v->sig));
}

struct c2_blob *
unit_meta_encode(const struct ds_unit *u, const struct unit_meta *m)
{
    struct c2_buf b = { 0 };
    uint8_t hash[C2_SHA256_LEN];
    uint8_t sig[DS_UNIT_SIG_LEN];
    C2_ASSERT(u->secret != NULL && m->count <= DS_UNIT_VERSIONS_MAX);
    c2_wr_raw(&b, MAGIC, 8);
    c2_wr_u16(&b, VERSION);
    c2_wr_u16(&b, m->deleted ? FLAG_DELETED : 0);
    c2_wr_u32(&b, 0); /* the length, below */
    c2_wr_raw(&b, u->public_key, DS_UNIT_PUBLIC_LEN);
    c2_wr_raw(&b, u->c->config->volume, 16);
    c2_wr_u64(&b, m->id.number);
    c2_wr_raw(&b, m->id.rnd, sizeof(m->id.rnd));
    c2_wr_u64(&b, m->time_ns);
    c2_wr_bytes(&b, c2_slice_str(u->name));
    c2_wr_u16(&b, (uint16_t)m->count);
    for (unsigned i = 0; i < m->count; i++)
        encode_version(&b, &m->version[i]);
    c2_put_u32(b.data + AT_LEN, (uint32_t)(b.len + sizeof(sig)));
    signed_hash(c2_buf_slice(&b), hash);
    c2_ed25519_sign(u->secret, c2_slice(hash, sizeof(hash)), sig);
    c2_wr_raw(&b, sig, sizeof(sig));
    struct c2_blob *blob = c2_blob_copy(b.data, b.len);
    c2_buf_done(&b);
    return blob;
}

static struct ds_unit_version
decode_version(struct c2_rd *r)
{
    struct ds_unit_version v = { 0 };
    v.version = c2_rd_u64(r);
    v.size = c2_rd_u64(r);
    v.time_ns = c2_rd_u64(r);
    uint8_t protocol = c2_rd_u8(r);
    v.placed = c2_rd_u8(r);
    v.key_epoch = c2_rd_u32(r);
    v.domain_id = c2_rd_u32(r);
    c2_rd_copy(r, v.writer, sizeof(v.writer));
    c2_rd_copy(r, v.hash, sizeof(v.hash));
    c2_rd_copy(r, v.rnd, sizeof(v.rnd));
    c2_rd_copy(r, v.sig, sizeof(v.sig));
    if (v.version == 0 || protocol > DS_UNIT_CA || v.size > DS_OBJECT_SIZE_MAX)
        c2_rd_fail(r);
    v.protocol = protocol == DS_UNIT_CA ? DS_UNIT_CA : DS_UNIT_A;
    return v;
}

/* Of a trusted writer, but a bug of his must not become one of ours. */
static enum c2_err
decode_rest(const struct ds_unit *u, struct c2_slice rest, struct unit_meta *m)
{
    struct c2_rd r = c2_rd_init(rest);
    m->id.number = c2_rd_u64(&r);
    c2_rd_copy(&r, m->id.rnd, sizeof(m->id.rnd));
    m->time_ns = c2_rd_u64(&r);
    struct c2_slice name = c2_rd_bytes(&r, DS_UNIT_NAME_MAX);
    m->count = c2_rd_u16(&r);
    if (m->count > DS_UNIT_VERSIONS_MAX)
        return C2_E_PARSE;
    for (unsigned i = 0; i < m->count; i++) {
        m->version[i] = decode_version(&r);
        if (m->version[i].version > (i == 0 ? m->id.number : m->version[i - 1].version - 1))
            c2_rd_fail(&r);
    }
    C2_TRY(c2_rd_finish(&r));
    return c2_slice_equal(name, c2_slice_str(u->name)) ? C2_E_OK : C2_E_CORRUPT;
}

static const uint8_t *
trusted(const struct ds_unit *u, const uint8_t *writer)
{
    for (size_t i = 0; i < u->nwriters; i++) {
        if (memcmp(u->writers[i], writer, DS_UNIT_PUBLIC_LEN) == 0)
            return u->writers[i];
    }
    return NULL;
}

C2_RESULT
unit_meta_decode(const struct ds_unit *u, struct c2_slice in, struct unit_meta *ret_meta)
{
    uint8_t hash[C2_SHA256_LEN];
    if (in.len < AT_REST + DS_UNIT_SIG_LEN || in.len > UNIT_META_MAX ||
        memcmp(in.data + AT_MAGIC, MAGIC, 8) != 0 || c2_get_u32(in.data + AT_LEN) != in.len)
        return C2_E_PARSE;
    if (c2_get_u16(in.data + AT_VERSION) != VERSION)
        return C2_E_VERSION;
    const uint8_t *writer = trusted(u, in.data + AT_WRITER);
    if (writer == NULL)
        return C2_E_KEY;
    struct c2_slice text = c2_slice(in.data, in.len - DS_UNIT_SIG_LEN);
    signed_hash(text, hash);
    if (c2_ed25519_verify(writer, c2_slice(hash, sizeof(hash)), in.data + text.len) != C2_E_OK)
        return C2_E_CORRUPT;
    if (memcmp(in.data + AT_VOLUME, u->c->config->volume, 16) != 0)
        return C2_E_CORRUPT;
    uint16_t flags = c2_get_u16(in.data + AT_FLAGS);
    if ((flags & ~FLAG_DELETED) != 0)
        return C2_E_PARSE;
    struct unit_meta m = { .deleted = (flags & FLAG_DELETED) != 0 };
    memcpy(m.writer, writer, sizeof(m.writer));
    C2_TRY(decode_rest(u, c2_slice(in.data + AT_REST, text.len - AT_REST), &m));
    if (m.deleted != (m.count == 0))
        return C2_E_PARSE;
    *ret_meta = m;
    return C2_E_OK;
}
