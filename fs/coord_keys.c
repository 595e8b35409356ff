/* SPDX-License-Identifier: MIT */
#include "fs/coord_keys.h"

#include <string.h>

#include "base/wire.h"

static struct ck
with_u64(char letter, uint64_t v)
{
    struct ck k = { .len = 9 };
    k.bytes[0] = (uint8_t)letter;
    c2_put_be64(k.bytes + 1, v);
    return k;
}

static struct ck
with_oid(char letter, const struct ds_oid *oid)
{
    struct ck k = with_u64(letter, oid->sid);
    c2_put_be64(k.bytes + 9, oid->seq);
    memcpy(k.bytes + 17, oid->rnd, sizeof(oid->rnd));
    k.len = 25;
    return k;
}

static struct ck
with_name(char letter, const char *name)
{
    struct ck k = { .len = 1 + strlen(name) };
    C2_ASSERT(k.len <= CK_KEY_MAX);
    k.bytes[0] = (uint8_t)letter;
    memcpy(k.bytes + 1, name, k.len - 1);
    return k;
}

struct ck
ck_inode(uint64_t ino)
{
    return with_u64('I', ino);
}

struct ck
ck_dentries(uint64_t dir)
{
    return with_u64('D', dir);
}

struct ck
ck_dentry(uint64_t dir, const uint8_t hash[KEYS_NAME_HASH_LEN])
{
    struct ck k = with_u64('D', dir);
    memcpy(k.bytes + k.len, hash, KEYS_NAME_HASH_LEN);
    k.len += KEYS_NAME_HASH_LEN;
    return k;
}

struct ck
ck_xattr(uint64_t ino, uint32_t index)
{
    struct ck k = with_u64('X', ino);
    for (int shift = 24; shift >= 0; shift -= 8)
        k.bytes[k.len++] = (uint8_t)(index >> shift);
    return k;
}

struct ck
ck_object(const struct ds_oid *oid)
{
    return with_oid('O', oid);
}

struct ck
ck_live(const struct ds_oid *oid)
{
    return with_oid('R', oid);
}

struct ck
ck_condemned(const struct ds_oid *oid)
{
    return with_oid('K', oid);
}

struct ck
ck_orphan(uint64_t ino)
{
    return with_u64('G', ino);
}

struct ck
ck_usage(const char *name)
{
    return with_name('Q', name);
}

struct ck
ck_letter(char letter)
{
    return with_name(letter, "");
}

struct ck
ck_journal(const uint8_t device[16])
{
    struct ck k = with_name('J', "");
    memcpy(k.bytes + k.len, device, 16);
    k.len += 16;
    return k;
}

struct ck
ck_session(const char *name)
{
    return with_name('S', name);
}

struct ck
ck_job(const char *kind)
{
    return with_name('W', kind);
}
