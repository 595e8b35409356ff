/* SPDX-License-Identifier: MIT */
/*
 * The values of the keys C and V.
 */
#include "fs/volume_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "base/wire.h"

#define CONFIG_PLAIN   1 /* every seat is empty or active */
#define CONFIG_VERSION 2
#define ID_MAGIC       0x56324632u /* "2F2V" */
#define FLAG_KEYLESS   1u
#define FLAG_FULL      2u

void
volume_fail(struct volume_error *e, enum c2_err err, const char *fmt, ...)
{
    C2_ASSERT(err != C2_E_OK);
    if (e->err != C2_E_OK)
        return;
    e->err = err;
    va_list args;
    va_start(args, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, args);
    va_end(args);
}

void
volume_hint(struct volume_error *e, const char *fmt, ...)
{
    if (e->hint[0] != '\0')
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(e->hint, sizeof e->hint, fmt, args);
    va_end(args);
}

void
volume_prefix(const uint8_t uuid[16], char out[VOLUME_PREFIX_LEN])
{
    char hex[9];
    c2_hex_encode(uuid, 4, hex);
    snprintf(out, VOLUME_PREFIX_LEN, "v1/%s", hex);
}

const char *
volume_seat_state_name(enum volume_seat_state s)
{
    static const char *const names[] = { "empty", "active", "rebuilding", "draining", "offline" };
    return names[s];
}

unsigned
volume_config_voters(const struct volume_config *c)
{
    unsigned n = 0;
    for (unsigned i = 0; i < c->n; i++)
        n += c->seats[i].state != VOLUME_SEAT_EMPTY;
    return n;
}

unsigned
volume_config_seat(const struct volume_config *c, const char *provider)
{
    unsigned i = 0;
    while (i < c->n &&
           (c->seats[i].state == VOLUME_SEAT_EMPTY || strcmp(c->seats[i].provider, provider) != 0))
        i++;
    return i;
}

/* What an older program understands is written as it knows it. */
static unsigned
version_of(const struct volume_config *c)
{
    for (unsigned i = 0; i < c->n; i++)
        if (c->seats[i].state > VOLUME_SEAT_REBUILDING || c->seats[i].old_provider[0] != '\0')
            return CONFIG_VERSION;
    return CONFIG_PLAIN;
}

void
volume_config_encode(const struct volume_config *c, struct c2_buf *out)
{
    unsigned version = version_of(c);
    c2_wr_u16(out, (uint16_t)version);
    c2_wr_u16(out,
              (uint16_t)((c->keyless ? FLAG_KEYLESS : 0) | (c->redundancy_full ? FLAG_FULL : 0)));
    c2_wr_u32(out, c->format_version);
    c2_wr_raw(out, c->uuid, sizeof c->uuid);
    c2_wr_bytes(out, c2_slice_str(c->name));
    c2_wr_u8(out, (uint8_t)c->f);
    c2_wr_u8(out, (uint8_t)c->n);
    c2_wr_u32(out, c->config_epoch);
    c2_wr_u32(out, c->key_epoch);
    c2_wr_u32(out, c->domain_id);
    for (unsigned i = 0; i < c->n; i++) {
        c2_wr_u8(out, (uint8_t)c->seats[i].state);
        c2_wr_bytes(out, c2_slice_str(c->seats[i].provider));
        c2_wr_bytes(out, c2_slice_str(c->seats[i].url));
        if (version == CONFIG_PLAIN)
            continue;
        c2_wr_bytes(out, c2_slice_str(c->seats[i].old_provider));
        c2_wr_bytes(out, c2_slice_str(c->seats[i].old_url));
    }
}

/* A byte string without zeros into a zero-terminated field. */
static void
read_text(struct c2_rd *r, char *out, size_t size)
{
    struct c2_slice s = c2_rd_bytes(r, size - 1);
    if (s.len == 0)
        return;
    if (memchr(s.data, '\0', s.len) != NULL)
        c2_rd_fail(r);
    else
        memcpy(out, s.data, s.len);
}

static void
read_seat(struct c2_rd *r, unsigned version, struct volume_seat *seat)
{
    uint8_t state = c2_rd_u8(r);
    if (state > (version == CONFIG_PLAIN ? VOLUME_SEAT_REBUILDING : VOLUME_SEAT_OFFLINE))
        c2_rd_fail(r);
    else
        seat->state = (enum volume_seat_state)state;
    read_text(r, seat->provider, sizeof seat->provider);
    read_text(r, seat->url, sizeof seat->url);
    if (version == CONFIG_PLAIN)
        return;
    read_text(r, seat->old_provider, sizeof seat->old_provider);
    read_text(r, seat->old_url, sizeof seat->old_url);
}

enum c2_err
volume_config_decode(struct c2_slice in, struct volume_config *ret_config)
{
    struct c2_rd r = c2_rd_init(in);
    struct volume_config c = { 0 };
    unsigned version = c2_rd_u16(&r);
    unsigned flags = c2_rd_u16(&r);
    if (c2_rd_ok(&r) && (version > CONFIG_VERSION || (flags & ~(FLAG_KEYLESS | FLAG_FULL)) != 0))
        return C2_E_VERSION;
    c.keyless = (flags & FLAG_KEYLESS) != 0;
    c.redundancy_full = (flags & FLAG_FULL) != 0;
    c.format_version = c2_rd_u32(&r);
    c2_rd_copy(&r, c.uuid, sizeof c.uuid);
    read_text(&r, c.name, sizeof c.name);
    c.f = c2_rd_u8(&r);
    c.n = c2_rd_u8(&r);
    c.config_epoch = c2_rd_u32(&r);
    c.key_epoch = c2_rd_u32(&r);
    c.domain_id = c2_rd_u32(&r);
    if (version == 0 || c.f < 1 || c.f > DS_F_MAX || c.n < 3 * c.f + 1 || c.n > DS_SEATS_MAX)
        return C2_E_PARSE;
    for (unsigned i = 0; i < c.n; i++)
        read_seat(&r, version, &c.seats[i]);
    C2_TRY(c2_rd_finish(&r));
    *ret_config = c;
    return C2_E_OK;
}

void
volume_id_encode(const struct volume_id *id, struct c2_buf *out)
{
    c2_wr_u32(out, ID_MAGIC);
    c2_wr_u32(out, id->format_version);
    c2_wr_u32(out, id->keyless ? FLAG_KEYLESS : 0);
    c2_wr_raw(out, id->uuid, sizeof id->uuid);
    c2_wr_raw(out, id->key_check, sizeof id->key_check);
}

enum c2_err
volume_id_decode(struct c2_slice in, struct volume_id *ret_id)
{
    struct c2_rd r = c2_rd_init(in);
    struct volume_id id = { 0 };
    if (c2_rd_u32(&r) != ID_MAGIC)
        return C2_E_PARSE;
    id.format_version = c2_rd_u32(&r);
    uint32_t flags = c2_rd_u32(&r);
    if (c2_rd_ok(&r) && (id.format_version > VOLUME_FORMAT_VERSION || flags > FLAG_KEYLESS))
        return C2_E_VERSION; /* what follows may look different */
    id.keyless = (flags & FLAG_KEYLESS) != 0;
    c2_rd_copy(&r, id.uuid, sizeof id.uuid);
    c2_rd_copy(&r, id.key_check, sizeof id.key_check);
    C2_TRY(c2_rd_finish(&r));
    if (id.format_version == 0)
        return C2_E_PARSE;
    *ret_id = id;
    return C2_E_OK;
}
