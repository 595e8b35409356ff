/* SPDX-License-Identifier: MIT */
/*
 * Text files of keys: "C2FS-CLUSTER 1", comment lines with '#', base64 in lines. The last 8 bytes
 * behind the base64 are the first 8 of SHA-256 over the title line and the bytes before.
 */
#include "metadata/identity.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/wire.h"

#define LINE_LEN 76
#define SUM_LEN  8

static const char *const titles[] = {
    [IDENTITY_CLUSTER] = "C2FS-CLUSTER ",
    [IDENTITY_REPLICA] = "C2FS-REPLICA-KEY ",
    [IDENTITY_CLIENT] = "C2FS-CLIENT-KEY ",
    [IDENTITY_ADMIN] = "C2FS-ADMIN-KEY ",
};

static void
checksum(enum identity_kind kind, struct c2_slice bytes, uint8_t out[SUM_LEN])
{
    uint8_t hash[C2_SHA256_LEN];
    const struct c2_slice parts[] = { c2_slice_str(titles[kind]), bytes };
    c2_sha256_v(parts, C2_ARRAY_LEN(parts), hash);
    memcpy(out, hash, SUM_LEN);
}

static void
wipe(struct c2_buf *b)
{
    if (b->data != NULL)
        c2_wipe(b->data, b->cap);
    c2_buf_done(b);
}

/* Takes bytes and wipes them. */
static void
write_file(struct c2_buf *out, enum identity_kind kind, const char *comment, struct c2_buf *bytes)
{
    struct c2_buf text = { 0 };
    uint8_t sum[SUM_LEN];
    checksum(kind, c2_buf_slice(bytes), sum);
    c2_wr_raw(bytes, sum, sizeof sum);
    c2_buf_printf(out, "%s1\n", titles[kind]);
    while (*comment != '\0') {
        size_t len = strcspn(comment, "\n");
        c2_buf_printf(out, "# %.*s\n", (int)len, comment);
        comment += len + (comment[len] == '\n');
    }
    c2_buf_reserve(&text, bytes->len * 2 + 8);
    c2_buf_reserve(out, bytes->len * 2 + 64); /* no copy stays behind */
    c2_base64_encode(c2_buf_slice(bytes), &text);
    for (size_t at = 0; at < text.len; at += LINE_LEN) {
        c2_buf_append(out, text.data + at, C2_MIN(text.len - at, (size_t)LINE_LEN));
        c2_buf_append(out, "\n", 1);
    }
    wipe(&text);
    wipe(bytes);
}

static struct c2_slice
next_line(struct c2_slice *text)
{
    C2_ASSERT(text->data != NULL);
    const uint8_t *end = text->len == 0 ? NULL : memchr(text->data, '\n', text->len);
    size_t len = end == NULL ? text->len : (size_t)(end - text->data);
    struct c2_slice line = c2_slice(text->data, len);
    size_t skip = len + (end != NULL);
    *text = c2_slice(skip == text->len ? NULL : text->data + skip, text->len - skip);
    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    return line;
}

/* What is behind the base64, without the checksum. */
static C2_RESULT
read_file(struct c2_slice text, enum identity_kind kind, struct c2_buf *out)
{
    struct c2_slice title = c2_slice_str(titles[kind]);
    if (text.len > IDENTITY_FILE_MAX)
        return C2_E_TOO_LARGE;
    if (text.len == 0)
        return C2_E_PARSE;
    struct c2_slice line = next_line(&text);
    if (!c2_slice_starts_with(line, title))
        return C2_E_PARSE;
    if (line.len != title.len + 1 || line.data[title.len] != '1')
        return C2_E_VERSION;
    struct c2_buf joined = { 0 };
    c2_buf_reserve(&joined, text.len + 1);
    c2_buf_reserve(out, text.len + 1);
    while (text.len > 0) {
        line = next_line(&text);
        if (line.len > 0 && line.data[0] != '#')
            c2_buf_append(&joined, line.data, line.len);
    }
    enum c2_err err = c2_base64_decode(c2_buf_slice(&joined), out);
    wipe(&joined);
    if (err != C2_E_OK || out->len < SUM_LEN)
        return C2_E_PARSE;
    uint8_t sum[SUM_LEN];
    out->len -= SUM_LEN;
    checksum(kind, c2_buf_slice(out), sum);
    return memcmp(sum, out->data + out->len, SUM_LEN) == 0 ? C2_E_OK : C2_E_CORRUPT;
}

const char *
identity_problem(struct c2_slice text, enum identity_kind wanted, enum c2_err err)
{
    static const char *const kinds[] = {
        [IDENTITY_CLUSTER] = "it lists the replicas (root.pub), it is no key",
        [IDENTITY_REPLICA] = "it is the key of a replica",
        [IDENTITY_CLIENT] = "it is the key of a client",
        [IDENTITY_ADMIN] = "it is the key of an administrator",
    };
    for (size_t i = 0; i < C2_ARRAY_LEN(kinds); i++) {
        if (i != (size_t)wanted && c2_slice_starts_with(text, c2_slice_str(titles[i])))
            return kinds[i];
    }
    return c2_err_text(err);
}

/* ---- the kinds ------------------------------------------------------------------------------- */

void
identity_write_cluster(struct c2_buf *out, const char *comment, const struct bft_config *c)
{
    struct c2_buf b = { 0 };
    bft_config_encode(c, &b);
    write_file(out, IDENTITY_CLUSTER, comment, &b);
}

C2_RESULT
identity_read_cluster(struct c2_slice text, struct bft_config *ret)
{
    C2_AUTO(c2_buf_done) struct c2_buf b = { 0 };
    C2_TRY(read_file(text, IDENTITY_CLUSTER, &b));
    return bft_config_decode(c2_buf_slice(&b), ret);
}

void
identity_write_replica(struct c2_buf *out, const char *comment, const struct identity_replica *k)
{
    struct c2_buf b = { 0 };
    c2_buf_reserve(&b, 256);
    c2_wr_u64(&b, k->cluster);
    c2_wr_u16(&b, k->id);
    c2_wr_raw(&b, k->identity_seed, sizeof k->identity_seed);
    c2_wr_raw(&b, k->sign_seed, sizeof k->sign_seed);
    write_file(out, IDENTITY_REPLICA, comment, &b);
}

C2_RESULT
identity_read_replica(struct c2_slice text, struct identity_replica *ret)
{
    struct c2_buf b = { 0 };
    struct identity_replica k = { 0 };
    enum c2_err err = read_file(text, IDENTITY_REPLICA, &b);
    if (err == C2_E_OK) {
        struct c2_rd r = c2_rd_init(c2_buf_slice(&b));
        k.cluster = c2_rd_u64(&r);
        k.id = c2_rd_u16(&r);
        c2_rd_copy(&r, k.identity_seed, sizeof k.identity_seed);
        c2_rd_copy(&r, k.sign_seed, sizeof k.sign_seed);
        err = c2_rd_finish(&r);
    }
    wipe(&b);
    if (err == C2_E_OK)
        *ret = k;
    c2_wipe(&k, sizeof k);
    return err;
}

void
identity_write_client(struct c2_buf *out, const char *comment, const struct identity_client *k)
{
    struct c2_buf b = { 0 };
    c2_buf_reserve(&b, 256);
    c2_wr_u64(&b, k->cluster);
    c2_wr_raw(&b, k->seed, sizeof k->seed);
    c2_wr_raw(&b, k->cert, sizeof k->cert);
    write_file(out, IDENTITY_CLIENT, comment, &b);
}

C2_RESULT
identity_read_client(struct c2_slice text, struct identity_client *ret)
{
    struct c2_buf b = { 0 };
    struct identity_client k = { 0 };
    enum c2_err err = read_file(text, IDENTITY_CLIENT, &b);
    if (err == C2_E_OK) {
        struct c2_rd r = c2_rd_init(c2_buf_slice(&b));
        k.cluster = c2_rd_u64(&r);
        c2_rd_copy(&r, k.seed, sizeof k.seed);
        c2_rd_copy(&r, k.cert, sizeof k.cert);
        err = c2_rd_finish(&r);
    }
    wipe(&b);
    if (err == C2_E_OK)
        *ret = k;
    c2_wipe(&k, sizeof k);
    return err;
}

void
identity_write_admin(struct c2_buf *out, const char *comment, const struct identity_admin *k)
{
    struct c2_buf b = { 0 };
    c2_buf_reserve(&b, 256);
    c2_wr_u64(&b, k->cluster);
    c2_wr_raw(&b, k->admin_seed, sizeof k->admin_seed);
    c2_wr_raw(&b, k->authority_seed, sizeof k->authority_seed);
    write_file(out, IDENTITY_ADMIN, comment, &b);
}

C2_RESULT
identity_read_admin(struct c2_slice text, struct identity_admin *ret)
{
    struct c2_buf b = { 0 };
    struct identity_admin k = { 0 };
    enum c2_err err = read_file(text, IDENTITY_ADMIN, &b);
    if (err == C2_E_OK) {
        struct c2_rd r = c2_rd_init(c2_buf_slice(&b));
        k.cluster = c2_rd_u64(&r);
        c2_rd_copy(&r, k.admin_seed, sizeof k.admin_seed);
        c2_rd_copy(&r, k.authority_seed, sizeof k.authority_seed);
        err = c2_rd_finish(&r);
    }
    wipe(&b);
    if (err == C2_E_OK)
        *ret = k;
    c2_wipe(&k, sizeof k);
    return err;
}

void
identity_make_client(const struct identity_admin *a, const uint8_t seed[32],
                     struct identity_client *ret)
{
    uint8_t secret[C2_ED25519_SECRET_LEN], key[C2_ED25519_PUBLIC_LEN], unused[32];
    uint8_t hash[C2_SHA256_LEN];
    ret->cluster = a->cluster;
    memcpy(ret->seed, seed, sizeof ret->seed);
    c2_ed25519_keypair(seed, secret, key);
    msg_client_hash(a->cluster, key, hash);
    c2_ed25519_keypair(a->authority_seed, secret, unused);
    c2_ed25519_sign(secret, c2_slice(hash, sizeof hash), ret->cert);
    c2_wipe(secret, sizeof secret);
}

void
identity_write_owner(struct c2_buf *out, uint64_t cluster, unsigned id)
{
    c2_buf_printf(out, "replica %u of service %016llx\n", id, (unsigned long long)cluster);
}
