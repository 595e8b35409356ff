/* SPDX-License-Identifier: MIT */
/*
 * The key file and the recovery kit.
 *
 * Key file: a line "C2FS-KEY 1", comment lines, base64 of: magic u32, version u16, flags u16, uuid
 * 16, name, KDF memory KiB u32, iterations u32, lanes u32, salt 16, key, the first 8 bytes of
 * SHA-256 over all of it. `key` is the volume key or, when sealed, its AES-256-GCM under Argon2id
 * of the passphrase, with everything before it as AAD. Nonce: zero, because each salt is fresh and
 * its key seals once. The checksum tells a damaged file from a wrong passphrase.
 *
 * Recovery kit: the same content without KDF in numbered lines of 15 bytes: six groups of four
 * characters (base 32 without I, L, O, U) and four more that check the line and its number.
 */
#include "fs/key_file.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/wire.h"

#define FILE_MAGIC      0x464b3243u /* "C2KF" */
#define FORMAT_VERSION  1
#define CHECK_LEN       8
#define FLAG_SEALED     1u
#define FLAG_KEYLESS    2u
#define FLAGS_KNOWN     (FLAG_SEALED | FLAG_KEYLESS)
#define BASE64_LINE_LEN 64
#define SEALED_KEY_LEN  (C2_KEY_LEN + C2_GCM_TAG_LEN)
#define CONTENT_MAX     512

#define KIT_LINE_BYTES  15
#define KIT_LINE_CHARS  24
#define KIT_CHECK_CHARS 4
#define KIT_LINES_MAX   16
#define KIT_CHECK_LEN   4

static const char file_head[] = "C2FS-KEY ";
static const char kit_head[] = "C2FS-RECOVERY-KIT ";
static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/* 256 MiB and three passes: about half a second, and as much for each guess. */
static const struct key_file_cost cost_default = { .memory_kib = 256u << 10,
                                                   .iterations = 3,
                                                   .lanes = 1 };

static void
wipe_buf(struct c2_buf *b)
{
    if (b->data != NULL)
        c2_wipe(b->data, b->cap);
    c2_buf_done(b);
}

static bool
cost_in_bounds(const struct key_file_cost *c)
{
    return c->memory_kib >= 8 * c->lanes && c->memory_kib <= KEY_FILE_MEMORY_KIB_MAX &&
           c->iterations >= 1 && c->iterations <= KEY_FILE_ITERATIONS_MAX && c->lanes >= 1 &&
           c->lanes <= KEY_FILE_LANES_MAX;
}

static void
append_check(struct c2_buf *b, size_t len)
{
    uint8_t hash[C2_SHA256_LEN];
    c2_sha256(c2_buf_slice(b), hash);
    c2_wr_raw(b, hash, len);
}

static bool
check_matches(struct c2_slice content, size_t len)
{
    uint8_t hash[C2_SHA256_LEN];
    c2_sha256(c2_slice(content.data, content.len - len), hash);
    return memcmp(hash, content.data + content.len - len, len) == 0;
}

/* Names come from files: anything that could disturb a terminal or a comment line is an error. */
static bool
take_name(struct c2_slice name, char out[64])
{
    if (name.len > 63)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] <= ' ' || name.data[i] >= 0x7f)
            return false;
    }
    memset(out, 0, 64);
    if (name.len > 0)
        memcpy(out, name.data, name.len);
    return true;
}

/* ---- key file ------------------------------------------------------------------------------ */

static void
put_comment(const struct key_file *info, bool sealed, struct c2_buf *out)
{
    char uuid[33];
    c2_hex_encode(info->uuid, sizeof info->uuid, uuid);
    c2_buf_printf(out, "%s%d\n# volume %s %s\n", file_head, FORMAT_VERSION, info->volume, uuid);
    c2_buf_puts(out, sealed ? "# sealed with a passphrase"
                            : "# NOT sealed: whoever reads this file"
                              " can read the volume");
    c2_buf_puts(out, "\n# Keep a copy in a safe place: without this key the data is lost.\n");
}

static void
put_lines(struct c2_slice text, struct c2_buf *out)
{
    for (size_t pos = 0; pos < text.len; pos += BASE64_LINE_LEN) {
        c2_buf_append(out, text.data + pos, C2_MIN(text.len - pos, (size_t)BASE64_LINE_LEN));
        c2_buf_puts(out, "\n");
    }
}

static enum c2_err
seal_key(const char *passphrase, const struct key_file_cost *cost, const uint8_t salt[16],
         const uint8_t volume_key[C2_KEY_LEN], struct c2_buf *content)
{
    static const uint8_t nonce[C2_GCM_NONCE_LEN];
    uint8_t *kek = c2_secret_alloc(C2_KEY_LEN);
    uint8_t sealed[SEALED_KEY_LEN];
    enum c2_err err = c2_argon2id(c2_slice_str(passphrase), salt, cost->memory_kib,
                                  cost->iterations, cost->lanes, kek);
    if (err == C2_E_OK) {
        c2_gcm_seal(kek, nonce, c2_buf_slice(content), c2_slice(volume_key, C2_KEY_LEN), sealed);
        c2_wr_bytes(content, c2_slice(sealed, sizeof sealed));
    }
    c2_secret_free(kek, C2_KEY_LEN);
    return err;
}

enum c2_err
key_file_encode_cost(const struct key_file *info, const uint8_t volume_key[C2_KEY_LEN],
                     const char *passphrase, const struct key_file_cost *cost, struct c2_buf *out)
{
    struct c2_buf content = { 0 };
    uint8_t salt[C2_ARGON2_SALT_LEN] = { 0 };
    bool sealed = passphrase != NULL;
    C2_ASSERT(cost_in_bounds(cost));
    if (sealed)
        c2_random_bytes(salt, sizeof salt);
    c2_buf_reserve(&content, CONTENT_MAX); /* no copy of the key is left behind by growing */
    c2_wr_u32(&content, FILE_MAGIC);
    c2_wr_u16(&content, FORMAT_VERSION);
    c2_wr_u16(&content,
              (uint16_t)((sealed ? FLAG_SEALED : 0) | (info->keyless ? FLAG_KEYLESS : 0)));
    c2_wr_raw(&content, info->uuid, sizeof info->uuid);
    c2_wr_bytes(&content, c2_slice_str(info->volume));
    c2_wr_u32(&content, sealed ? cost->memory_kib : 0);
    c2_wr_u32(&content, sealed ? cost->iterations : 0);
    c2_wr_u32(&content, sealed ? cost->lanes : 0);
    c2_wr_raw(&content, salt, sizeof salt);
    enum c2_err err = C2_E_OK;
    if (sealed)
        err = seal_key(passphrase, cost, salt, volume_key, &content);
    else
        c2_wr_bytes(&content, c2_slice(volume_key, C2_KEY_LEN));
    if (err == C2_E_OK) {
        struct c2_buf text = { 0 };
        append_check(&content, CHECK_LEN);
        c2_buf_reserve(&text, 2 * CONTENT_MAX);
        c2_base64_encode(c2_buf_slice(&content), &text);
        c2_buf_reserve(out, 4 * CONTENT_MAX);
        put_comment(info, sealed, out);
        put_lines(c2_buf_slice(&text), out);
        wipe_buf(&text);
    }
    wipe_buf(&content);
    return err;
}

enum c2_err
key_file_encode(const struct key_file *info, const uint8_t volume_key[C2_KEY_LEN],
                const char *passphrase, struct c2_buf *out)
{
    return key_file_encode_cost(info, volume_key, passphrase, &cost_default, out);
}

/* The next line without its end; false after the last. */
static bool
next_line(struct c2_slice *text, struct c2_slice *ret_line)
{
    if (text->len == 0)
        return false;
    const uint8_t *end = memchr(text->data, '\n', text->len);
    size_t len = end == NULL ? text->len : (size_t)(end - text->data);
    size_t used = end == NULL ? len : len + 1;
    *ret_line = c2_slice(text->data, len);
    if (len > 0 && text->data[len - 1] == '\r')
        ret_line->len--;
    *text = c2_slice(text->data + used, text->len - used);
    return true;
}

static enum c2_err
check_head(struct c2_slice *text, const char *head)
{
    struct c2_slice line;
    struct c2_slice want = c2_slice_str(head);
    uint64_t version = 0;
    if (!next_line(text, &line) || !c2_slice_starts_with(line, want))
        return C2_E_PARSE;
    C2_TRY(c2_u64_parse(c2_slice(line.data + want.len, line.len - want.len), 9999, &version));
    return version == FORMAT_VERSION ? C2_E_OK : C2_E_VERSION;
}

/* The bytes behind the text, checksum verified and cut off. */
static enum c2_err
file_content(struct c2_slice text, struct c2_buf *ret_content)
{
    struct c2_buf joined = { 0 };
    struct c2_slice line;
    if (text.len > KEY_FILE_TEXT_MAX)
        return C2_E_TOO_LARGE;
    C2_TRY(check_head(&text, file_head));
    c2_buf_reserve(&joined, text.len + 1);
    while (next_line(&text, &line)) {
        if (line.len > 0 && line.data[0] != '#')
            c2_buf_append(&joined, line.data, line.len);
    }
    c2_buf_reserve(ret_content, joined.len + 1);
    enum c2_err err = c2_base64_decode(c2_buf_slice(&joined), ret_content);
    wipe_buf(&joined);
    C2_TRY(err);
    if (ret_content->len <= CHECK_LEN)
        return C2_E_PARSE;
    if (!check_matches(c2_buf_slice(ret_content), CHECK_LEN))
        return C2_E_CORRUPT;
    ret_content->len -= CHECK_LEN;
    return C2_E_OK;
}

static enum c2_err
open_key(struct c2_slice aad, struct c2_slice sealed, const struct key_file_cost *cost,
         const uint8_t salt[16], const char *passphrase, uint8_t ret_volume_key[C2_KEY_LEN])
{
    static const uint8_t nonce[C2_GCM_NONCE_LEN];
    uint8_t *kek = c2_secret_alloc(2 * C2_KEY_LEN);
    enum c2_err err = c2_argon2id(c2_slice_str(passphrase), salt, cost->memory_kib,
                                  cost->iterations, cost->lanes, kek);
    if (err == C2_E_OK && c2_gcm_open(kek, nonce, aad, sealed, kek + C2_KEY_LEN) != C2_E_OK)
        err = C2_E_KEY;
    if (err == C2_E_OK)
        memcpy(ret_volume_key, kek + C2_KEY_LEN, C2_KEY_LEN);
    c2_secret_free(kek, 2 * C2_KEY_LEN);
    return err;
}

static enum c2_err
decode_content(struct c2_slice content, const char *passphrase, struct key_file *ret_info,
               uint8_t ret_volume_key[C2_KEY_LEN])
{
    struct c2_rd r = c2_rd_init(content);
    struct key_file info = { 0 };
    struct key_file_cost cost;
    uint8_t salt[C2_ARGON2_SALT_LEN];
    if (c2_rd_u32(&r) != FILE_MAGIC)
        return C2_E_PARSE;
    if (c2_rd_u16(&r) != FORMAT_VERSION)
        return C2_E_VERSION;
    unsigned flags = c2_rd_u16(&r);
    info.sealed = (flags & FLAG_SEALED) != 0;
    info.keyless = (flags & FLAG_KEYLESS) != 0;
    c2_rd_copy(&r, info.uuid, sizeof info.uuid);
    if (!take_name(c2_rd_bytes(&r, sizeof info.volume - 1), info.volume))
        return C2_E_PARSE;
    cost.memory_kib = c2_rd_u32(&r);
    cost.iterations = c2_rd_u32(&r);
    cost.lanes = c2_rd_u32(&r);
    c2_rd_copy(&r, salt, sizeof salt);
    size_t aad_len = r.pos;
    struct c2_slice key = c2_rd_bytes(&r, SEALED_KEY_LEN);
    C2_TRY(c2_rd_finish(&r));
    if ((flags & ~FLAGS_KNOWN) != 0)
        return C2_E_VERSION;
    if (key.len != (info.sealed ? SEALED_KEY_LEN : C2_KEY_LEN))
        return C2_E_PARSE;
    if (info.sealed && !cost_in_bounds(&cost))
        return C2_E_TOO_LARGE;
    *ret_info = info;
    if (!info.sealed) {
        memcpy(ret_volume_key, key.data, C2_KEY_LEN);
        return C2_E_OK;
    }
    if (passphrase == NULL)
        return C2_E_KEY;
    return open_key(c2_slice(content.data, aad_len), key, &cost, salt, passphrase, ret_volume_key);
}

enum c2_err
key_file_decode(struct c2_slice text, const char *passphrase, struct key_file *ret_info,
                uint8_t ret_volume_key[C2_KEY_LEN])
{
    struct c2_buf content = { 0 };
    enum c2_err err = file_content(text, &content);
    if (err == C2_E_OK)
        err = decode_content(c2_buf_slice(&content), passphrase, ret_info, ret_volume_key);
    wipe_buf(&content);
    return err;
}

/* ---- recovery kit -------------------------------------------------------------------------- */

/* Five bits per character, most significant first. */
static void
base32_encode(const uint8_t *data, size_t len, char *out)
{
    C2_ASSERT(len * 8 % 5 == 0);
    for (size_t i = 0; i < len * 8 / 5; i++) {
        size_t bit = i * 5;
        unsigned pair = (unsigned)data[bit / 8] << 8;
        pair |= bit / 8 + 1 < len ? data[bit / 8 + 1] : 0;
        out[i] = alphabet[(pair >> (11 - bit % 8)) & 31];
    }
}

static void
base32_decode(const uint8_t *values, size_t count, uint8_t *out)
{
    memset(out, 0, count * 5 / 8);
    for (size_t bit = 0; bit < count * 5; bit++) {
        if ((values[bit / 5] >> (4 - bit % 5) & 1) != 0)
            out[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
    }
}

/* What people type instead of what was printed; 32 = not a character of a kit. */
static uint8_t
kit_value(uint8_t c)
{
    if (c >= 'a' && c <= 'z')
        c = (uint8_t)(c - 'a' + 'A');
    if (c == 'O')
        return 0;
    if (c == 'I' || c == 'L')
        return 1;
    const char *at = c == '\0' ? NULL : strchr(alphabet, c);
    return at == NULL ? 32 : (uint8_t)(at - alphabet);
}

/* Twenty bits over the line's number and bytes. */
static void
line_check(unsigned number, const uint8_t bytes[KIT_LINE_BYTES], uint8_t out[KIT_CHECK_CHARS])
{
    uint8_t in[1 + KIT_LINE_BYTES];
    uint8_t hash[C2_SHA256_LEN];
    in[0] = (uint8_t)number;
    memcpy(in + 1, bytes, KIT_LINE_BYTES);
    c2_sha256(c2_slice(in, sizeof in), hash);
    for (size_t i = 0; i < KIT_CHECK_CHARS; i++)
        out[i] = hash[i] & 31;
    c2_wipe(in, sizeof in);
}

static void
put_kit_line(unsigned number, const uint8_t bytes[KIT_LINE_BYTES], struct c2_buf *out)
{
    char chars[KIT_LINE_CHARS];
    uint8_t check[KIT_CHECK_CHARS];
    base32_encode(bytes, KIT_LINE_BYTES, chars);
    line_check(number, bytes, check);
    c2_buf_printf(out, "%2u:", number);
    for (size_t i = 0; i < KIT_LINE_CHARS; i += 4)
        c2_buf_printf(out, " %.4s", chars + i);
    c2_buf_printf(out, "  %c%c%c%c\n", alphabet[check[0]], alphabet[check[1]], alphabet[check[2]],
                  alphabet[check[3]]);
    c2_wipe(chars, sizeof chars);
}

void
key_recovery_kit(const struct key_file *info, const uint8_t volume_key[C2_KEY_LEN],
                 struct c2_buf *out)
{
    struct c2_buf content = { 0 };
    char uuid[33];
    c2_buf_reserve(&content, CONTENT_MAX);
    c2_wr_u8(&content, FORMAT_VERSION);
    c2_wr_u8(&content, info->keyless ? FLAG_KEYLESS : 0);
    c2_wr_raw(&content, info->uuid, sizeof info->uuid);
    c2_wr_raw(&content, volume_key, C2_KEY_LEN);
    c2_wr_u8(&content, (uint8_t)strlen(info->volume));
    c2_wr_raw(&content, info->volume, strlen(info->volume));
    append_check(&content, KIT_CHECK_LEN);
    while (content.len % KIT_LINE_BYTES != 0)
        c2_wr_u8(&content, 0);
    c2_hex_encode(info->uuid, sizeof info->uuid, uuid);
    c2_buf_reserve(out, 4 * CONTENT_MAX);
    c2_buf_printf(out, "%s%d\n# volume %s %s\n", kit_head, FORMAT_VERSION, info->volume, uuid);
    c2_buf_puts(out, "# Whoever has these lines and the providers' data can read the volume.\n"
                     "# To restore, type them in a file; case, blanks and dashes do not matter.\n");
    for (size_t pos = 0; pos < content.len; pos += KIT_LINE_BYTES)
        put_kit_line((unsigned)(pos / KIT_LINE_BYTES + 1), content.data + pos, out);
    wipe_buf(&content);
}

/* "12: ABCD ...": a number, a colon, 28 characters between blanks and dashes. */
static enum c2_err
take_kit_line(struct c2_slice line, unsigned number, uint8_t out[KIT_LINE_BYTES])
{
    uint8_t values[KIT_LINE_CHARS + KIT_CHECK_CHARS];
    uint8_t check[KIT_CHECK_CHARS];
    size_t count = 0;
    uint64_t found = 0;
    const uint8_t *colon = memchr(line.data, ':', line.len);
    if (colon == NULL)
        return C2_E_PARSE;
    struct c2_slice digits = c2_slice(line.data, (size_t)(colon - line.data));
    while (digits.len > 0 && digits.data[0] == ' ')
        digits = c2_slice(digits.data + 1, digits.len - 1);
    if (c2_u64_parse(digits, KIT_LINES_MAX, &found) != C2_E_OK || found != number)
        return C2_E_PARSE;
    for (const uint8_t *p = colon + 1; p < line.data + line.len; p++) {
        if (*p == ' ' || *p == '-' || *p == '\t')
            continue;
        uint8_t value = kit_value(*p);
        if (value > 31 || count == sizeof values)
            return C2_E_CORRUPT;
        values[count++] = value;
    }
    if (count != sizeof values)
        return C2_E_CORRUPT;
    base32_decode(values, KIT_LINE_CHARS, out);
    line_check(number, out, check);
    bool same = memcmp(check, values + KIT_LINE_CHARS, KIT_CHECK_CHARS) == 0;
    c2_wipe(values, sizeof values);
    return same ? C2_E_OK : C2_E_CORRUPT;
}

/* *ret_line: the numbered line that failed, 0 = none. */
static enum c2_err
kit_content(struct c2_slice text, struct c2_buf *content, unsigned *ret_line)
{
    struct c2_slice line;
    unsigned number = 0;
    *ret_line = 0;
    if (text.len > KEY_FILE_TEXT_MAX)
        return C2_E_TOO_LARGE;
    C2_TRY(check_head(&text, kit_head));
    c2_buf_reserve(content, KIT_LINES_MAX * KIT_LINE_BYTES);
    while (next_line(&text, &line)) {
        if (line.len == 0 || line.data[0] == '#')
            continue;
        if (++number > KIT_LINES_MAX)
            return C2_E_PARSE;
        *ret_line = number;
        C2_TRY(take_kit_line(line, number, c2_buf_extend(content, KIT_LINE_BYTES)));
    }
    *ret_line = 0;
    return C2_E_OK;
}

static enum c2_err
decode_kit(struct c2_slice content, struct key_file *ret_info, uint8_t ret_volume_key[C2_KEY_LEN])
{
    struct c2_rd r = c2_rd_init(content);
    struct key_file info = { 0 };
    unsigned version = c2_rd_u8(&r);
    unsigned flags = c2_rd_u8(&r);
    c2_rd_copy(&r, info.uuid, sizeof info.uuid);
    struct c2_slice key = c2_rd_raw(&r, C2_KEY_LEN);
    struct c2_slice name = c2_rd_raw(&r, c2_rd_u8(&r));
    size_t checked = r.pos + KIT_CHECK_LEN;
    c2_rd_raw(&r, KIT_CHECK_LEN);
    if (!c2_rd_ok(&r))
        return C2_E_PARSE; /* lines are missing at the end */
    if (version != FORMAT_VERSION || (flags & ~FLAG_KEYLESS) != 0)
        return C2_E_VERSION;
    if (!check_matches(c2_slice(content.data, checked), KIT_CHECK_LEN))
        return C2_E_CORRUPT;
    if (!take_name(name, info.volume) || content.len - checked >= KIT_LINE_BYTES)
        return C2_E_PARSE;
    info.keyless = (flags & FLAG_KEYLESS) != 0;
    *ret_info = info;
    memcpy(ret_volume_key, key.data, C2_KEY_LEN);
    return C2_E_OK;
}

enum c2_err
key_recovery_kit_decode(struct c2_slice text, struct key_file *ret_info,
                        uint8_t ret_volume_key[C2_KEY_LEN])
{
    struct c2_buf content = { 0 };
    unsigned line;
    enum c2_err err = kit_content(text, &content, &line);
    if (err == C2_E_OK)
        err = decode_kit(c2_buf_slice(&content), ret_info, ret_volume_key);
    wipe_buf(&content);
    return err;
}

unsigned
key_recovery_kit_bad_line(struct c2_slice text)
{
    struct c2_buf content = { 0 };
    unsigned line;
    enum c2_err err = kit_content(text, &content, &line);
    wipe_buf(&content);
    return err == C2_E_OK ? 0 : line;
}
