/* SPDX-License-Identifier: MIT */
#include "fs/key_file.h"

#include "base/alloc.h"
#include "base/str.h"
#include "base/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const uint8_t volume_key[C2_KEY_LEN] = "0123456789abcdef0123456789abcde";
static const uint8_t uuid[16] = "fifteen letters";
static const struct key_file_cost cheap = { .memory_kib = 64, .iterations = 1, .lanes = 1 };

static struct c2_slice
str(const char *s)
{
    return c2_slice_str(s);
}

/* ---- derivation, sealing, names ------------------------------------------------------------ */

static void
derive__differs_by_key_uuid_purpose_and_context(void **state)
{
    (void)state;
    uint8_t other_key[C2_KEY_LEN] = "another";
    uint8_t other_uuid[16] = "another";
    struct keys *k[3] = { keys_new(volume_key, uuid), keys_new(other_key, uuid),
                          keys_new(volume_key, other_uuid) };
    uint8_t out[7][C2_KEY_LEN];
    keys_derive(k[0], "data", str("0"), out[0]);
    keys_derive(k[0], "data", str("1"), out[1]);
    keys_derive(k[0], "cache", str("0"), out[2]);
    keys_derive(k[0], "data", str(""), out[3]);
    keys_derive(k[0], "dat", str("a0"), out[4]);
    keys_derive(k[1], "data", str("0"), out[5]);
    keys_derive(k[2], "data", str("0"), out[6]);
    for (size_t i = 0; i < 7; i++) {
        for (size_t j = i + 1; j < 7; j++)
            assert_memory_not_equal(out[i], out[j], C2_KEY_LEN);
    }
    uint8_t again[C2_KEY_LEN];
    keys_derive(k[0], "data", str("0"), again);
    assert_memory_equal(again, out[0], C2_KEY_LEN);
    for (size_t i = 0; i < 3; i++)
        keys_free(k[i]);
}

static void
check_value__tells_keys_apart(void **state)
{
    (void)state;
    uint8_t other[C2_KEY_LEN] = "another";
    struct keys *a = keys_new(volume_key, uuid), *b = keys_new(volume_key, uuid);
    struct keys *c = keys_new(other, uuid);
    uint8_t va[16], vb[16], vc[16];
    keys_check_value(a, va);
    keys_check_value(b, vb);
    keys_check_value(c, vc);
    assert_memory_equal(va, vb, 16);
    assert_memory_not_equal(va, vc, 16);
    keys_free(a);
    keys_free(b);
    keys_free(c);
}

static void
seal__opens_only_under_the_same_key_place_and_bytes(void **state)
{
    (void)state;
    struct keys *k = keys_new(volume_key, uuid);
    struct keys *reader = keys_new(volume_key, uuid); /* another mount, another session */
    keys_set_session(k, 7);
    keys_set_session(reader, 8);
    for (size_t len = 0; len < 100; len += 33) {
        struct c2_buf sealed = { 0 }, plain = { 0 };
        uint8_t bytes[100];
        memset(bytes, 'x', sizeof bytes);
        keys_seal(k, str("I1"), c2_slice(bytes, len), &sealed);
        assert_int_equal(sealed.len, len + KEYS_SEAL_OVERHEAD);
        c2_buf_puts(&plain, "before");
        assert_int_equal(keys_open(reader, str("I1"), c2_buf_slice(&sealed), &plain), C2_E_OK);
        assert_int_equal(plain.len, 6 + len);
        assert_memory_equal(plain.data + 6, bytes, len);
        assert_int_equal(keys_open(reader, str("I2"), c2_buf_slice(&sealed), &plain), C2_E_CORRUPT);
        assert_int_equal(plain.len, 6 + len);
        for (size_t i = 0; i < sealed.len; i++) {
            sealed.data[i] ^= 1;
            assert_int_equal(keys_open(reader, str("I1"), c2_buf_slice(&sealed), &plain),
                             C2_E_CORRUPT);
            sealed.data[i] ^= 1;
        }
        assert_int_equal(
            keys_open(reader, str("I1"), c2_slice(sealed.data, KEYS_SEAL_OVERHEAD - 1), &plain),
            C2_E_PARSE);
        c2_buf_done(&sealed);
        c2_buf_done(&plain);
    }
    keys_free(k);
    keys_free(reader);
}

static void
seal__never_repeats_a_counter(void **state)
{
    (void)state;
    struct keys *k = keys_new(volume_key, uuid);
    struct c2_buf out = { 0 };
    keys_set_session(k, 7);
    keys_set_counter(k, UINT64_MAX); /* wraps */
    for (uint64_t i = 0; i < 3; i++) {
        c2_buf_clear(&out);
        keys_seal(k, str("I1"), str("same"), &out);
        assert_int_equal(c2_get_u64(out.data), 7);
        assert_int_equal(c2_get_u64(out.data + 8), UINT64_MAX + i);
    }
    c2_buf_done(&out);
    keys_free(k);
}

static void
open__works_for_more_sessions_than_are_remembered(void **state)
{
    (void)state;
    enum { N = 100 };
    struct c2_buf sealed[N] = { 0 };
    struct keys *reader = keys_new(volume_key, uuid);
    for (uint64_t i = 0; i < N; i++) {
        struct keys *k = keys_new(volume_key, uuid);
        keys_set_session(k, i);
        keys_seal(k, str("a"), str("text"), &sealed[i]);
        keys_free(k);
    }
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < N; i++) {
            struct c2_buf plain = { 0 };
            assert_int_equal(keys_open(reader, str("a"), c2_buf_slice(&sealed[i]), &plain),
                             C2_E_OK);
            assert_true(c2_slice_equal(c2_buf_slice(&plain), str("text")));
            c2_buf_done(&plain);
        }
    }
    for (size_t i = 0; i < N; i++)
        c2_buf_done(&sealed[i]);
    keys_free(reader);
}

static void
name_hash__depends_on_directory_and_name_and_has_a_clear_top_bit(void **state)
{
    (void)state;
    struct keys *k = keys_new(volume_key, uuid);
    uint8_t a[16], b[16];
    bool second_bit = false;
    keys_name_hash(k, 1, str("file"), a);
    keys_name_hash(k, 1, str("file"), b);
    assert_memory_equal(a, b, 16);
    keys_name_hash(k, 65, str("file"), b); /* shares a slot with 1 */
    assert_memory_not_equal(a, b, 16);
    keys_name_hash(k, 1, str("file"), b);
    assert_memory_equal(a, b, 16);
    keys_name_hash(k, 1, str("file2"), b);
    assert_memory_not_equal(a, b, 16);
    for (uint64_t dir = 1; dir < 200; dir++) {
        keys_name_hash(k, dir, str("x"), a);
        assert_int_equal(a[0] & 0x80, 0);
        second_bit = second_bit || (a[0] & 0x40) != 0;
    }
    assert_true(second_bit);
    keys_free(k);
}

/* ---- key file ------------------------------------------------------------------------------ */

static struct key_file
info_of(const char *volume, bool keyless)
{
    struct key_file info = { .keyless = keyless };
    memcpy(info.uuid, uuid, sizeof info.uuid);
    snprintf(info.volume, sizeof info.volume, "%s", volume);
    return info;
}

static struct c2_buf
file_of(const char *passphrase)
{
    struct key_file info = info_of("phr", true);
    struct c2_buf text = { 0 };
    assert_int_equal(key_file_encode_cost(&info, volume_key, passphrase, &cheap, &text), C2_E_OK);
    return text;
}

static enum c2_err
decode(struct c2_slice text, const char *passphrase, struct key_file *info)
{
    uint8_t key[C2_KEY_LEN] = { 0 };
    enum c2_err err = key_file_decode(text, passphrase, info, key);
    if (err == C2_E_OK)
        assert_memory_equal(key, volume_key, C2_KEY_LEN);
    else
        assert_int_equal(key[0], 0);
    return err;
}

static void
key_file__round_trips_plain_and_sealed(void **state)
{
    (void)state;
    static const char *const passphrases[] = { NULL, "correct horse", "" };
    for (size_t i = 0; i < 3; i++) {
        struct key_file info = { 0 };
        struct c2_buf text = file_of(passphrases[i]);
        assert_int_equal(decode(c2_buf_slice(&text), passphrases[i], &info), C2_E_OK);
        assert_string_equal(info.volume, "phr");
        assert_memory_equal(info.uuid, uuid, 16);
        assert_true(info.keyless);
        assert_int_equal(info.sealed, passphrases[i] != NULL);
        c2_buf_done(&text);
    }
}

/* The bytes behind the text. */
static struct c2_buf
content_of(struct c2_buf *text)
{
    struct c2_buf lines = { 0 }, content = { 0 };
    for (const char *p = c2_buf_cstr(text); *p != '\0';) {
        size_t len = strcspn(p, "\n");
        if (*p != '#' && strncmp(p, "C2FS", 4) != 0)
            c2_buf_append(&lines, p, len);
        p += len + 1;
    }
    assert_int_equal(c2_base64_decode(c2_buf_slice(&lines), &content), C2_E_OK);
    c2_buf_done(&lines);
    return content;
}

static void
key_file__sealed_does_not_contain_the_key(void **state)
{
    (void)state;
    struct c2_buf sealed = file_of("secret"), again = file_of("secret"), plain = file_of(NULL);
    struct c2_buf in_sealed = content_of(&sealed), in_plain = content_of(&plain);
    assert_false(c2_slice_equal(c2_buf_slice(&sealed), c2_buf_slice(&again))); /* fresh salt */
    assert_non_null(memmem(in_plain.data, in_plain.len, volume_key, C2_KEY_LEN));
    assert_null(memmem(in_sealed.data, in_sealed.len, volume_key, 8));
    assert_non_null(strstr(c2_buf_cstr(&plain), "NOT sealed"));
    assert_null(strstr(c2_buf_cstr(&sealed), "NOT sealed"));
    c2_buf_done(&in_sealed);
    c2_buf_done(&in_plain);
    c2_buf_done(&sealed);
    c2_buf_done(&again);
    c2_buf_done(&plain);
}

static void
key_file__says_key_for_a_wrong_or_missing_passphrase(void **state)
{
    (void)state;
    static const char *const wrong[] = { NULL, "", "secreT", "secret " };
    struct c2_buf text = file_of("secret");
    for (size_t i = 0; i < C2_ARRAY_LEN(wrong); i++) {
        struct key_file info = { 0 };
        assert_int_equal(decode(c2_buf_slice(&text), wrong[i], &info), C2_E_KEY);
        assert_string_equal(info.volume, "phr"); /* for the prompt */
        assert_true(info.sealed);
    }
    c2_buf_done(&text);
}

static void
key_file__tells_damage_at_every_byte(void **state)
{
    (void)state;
    struct c2_buf text = file_of("secret");
    struct key_file info = { 0 };
    unsigned harmless = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t was = text.data[i];
        text.data[i] ^= 4;
        enum c2_err err = decode(c2_buf_slice(&text), "secret", &info);
        if (err == C2_E_OK)
            harmless++; /* a comment */
        else
            assert_true(err == C2_E_CORRUPT || err == C2_E_PARSE || err == C2_E_VERSION);
        text.data[i] = was;
    }
    assert_true(harmless > 50 && harmless < 200);
    for (size_t len = 0; len + 1 < text.len; len++)
        assert_int_not_equal(decode(c2_slice(text.data, len), "secret", &info), C2_E_OK);
    c2_buf_done(&text);
}

/* Applies fn to the bytes behind the text and makes the checksum right again. */
static struct c2_buf
forge(struct c2_buf *text, void (*fn)(struct c2_buf *content, uint32_t arg), uint32_t arg)
{
    struct c2_buf content = content_of(text), out = { 0 };
    content.len -= 8;
    fn(&content, arg);
    uint8_t hash[32];
    c2_sha256(c2_buf_slice(&content), hash);
    c2_buf_append(&content, hash, 8);
    c2_buf_puts(&out, "C2FS-KEY 1\n");
    c2_base64_encode(c2_buf_slice(&content), &out);
    c2_buf_done(&content);
    return out;
}

/* Offsets: magic 0, version 4, flags 6, uuid 8, name 24 (4 + 3), memory 31, iterations 35,
 * lanes 39, salt 43, key 59. */
static void
set_version(struct c2_buf *c, uint32_t v)
{
    c2_put_u16(c->data + 4, (uint16_t)v);
}

static void
set_flags(struct c2_buf *c, uint32_t v)
{
    c2_put_u16(c->data + 6, (uint16_t)v);
}

static void
set_memory(struct c2_buf *c, uint32_t v)
{
    c2_put_u32(c->data + 31, v);
}

static void
set_iterations(struct c2_buf *c, uint32_t v)
{
    c2_put_u32(c->data + 35, v);
}

static void
set_lanes(struct c2_buf *c, uint32_t v)
{
    c2_put_u32(c->data + 39, v);
}

static void
set_name_byte(struct c2_buf *c, uint32_t v)
{
    c->data[28] = (uint8_t)v;
}

static void
set_uuid_byte(struct c2_buf *c, uint32_t v)
{
    c->data[8] = (uint8_t)v;
}

static void
key_file__bounds_what_it_reads(void **state)
{
    (void)state;
    static const struct {
        void (*fn)(struct c2_buf *content, uint32_t arg);
        uint32_t arg;
        enum c2_err err;
    } rows[] = {
        { set_version, 2, C2_E_VERSION },
        { set_flags, 3 | 0x80, C2_E_VERSION },
        { set_flags, 2, C2_E_PARSE }, /* says plain, has a sealed key */
        { set_memory, (4u << 20) + 1, C2_E_TOO_LARGE },
        { set_memory, 0xffffffff, C2_E_TOO_LARGE },
        { set_memory, 0, C2_E_TOO_LARGE },
        { set_iterations, 65, C2_E_TOO_LARGE },
        { set_iterations, 0, C2_E_TOO_LARGE },
        { set_lanes, 0, C2_E_TOO_LARGE },
        { set_lanes, 17, C2_E_TOO_LARGE },
        { set_lanes, 0xffffffff, C2_E_TOO_LARGE },
        { set_name_byte, 0x1b, C2_E_PARSE },
        { set_name_byte, 0xff, C2_E_PARSE },
        { set_uuid_byte, 1, C2_E_KEY }, /* bound to the sealed key */
        { set_iterations, 2, C2_E_KEY },
    };
    struct c2_buf text = file_of("secret");
    for (size_t i = 0; i < C2_ARRAY_LEN(rows); i++) {
        struct key_file info = { 0 };
        struct c2_buf forged = forge(&text, rows[i].fn, rows[i].arg);
        if (decode(c2_buf_slice(&forged), "secret", &info) != rows[i].err)
            fail_msg("row %zu", i);
        c2_buf_done(&forged);
    }
    c2_buf_done(&text);
}

static void
key_file__refuses_other_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum c2_err err;
    } rows[] = {
        { "", C2_E_PARSE },
        { "\n", C2_E_PARSE },
        { "C2FS-KEY", C2_E_PARSE },
        { "C2FS-KEY \n", C2_E_PARSE },
        { "C2FS-KEY 2\n", C2_E_VERSION },
        { "C2FS-KEY 1\n", C2_E_PARSE },
        { "C2FS-KEY 1\nAAAA\n", C2_E_PARSE },
        { "C2FS-KEY 1\n!!!!\n", C2_E_PARSE },
        { "C2FS-KEY 1\nAAAAAAAAAAAAAAAAAAAA\n", C2_E_CORRUPT },
        { "-----BEGIN RSA PRIVATE KEY-----\n", C2_E_PARSE },
    };
    struct key_file info = { 0 };
    for (size_t i = 0; i < C2_ARRAY_LEN(rows); i++) {
        enum c2_err err = decode(str(rows[i].text), NULL, &info);
        if (err != rows[i].err)
            fail_msg("row %zu: %s", i, c2_err_name(err));
    }
    char *long_text = c2_calloc(1, KEY_FILE_TEXT_MAX + 2);
    memset(long_text, 'A', KEY_FILE_TEXT_MAX + 1);
    assert_int_equal(decode(str(long_text), NULL, &info), C2_E_TOO_LARGE);
    c2_free(long_text);
}

static void
key_file__survives_an_editor(void **state)
{
    (void)state;
    struct c2_buf text = file_of("secret"), crlf = { 0 };
    struct key_file info = { 0 };
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\n')
            c2_buf_puts(&crlf, "\r");
        c2_buf_append(&crlf, text.data + i, 1);
    }
    c2_buf_puts(&crlf, "\r\n# my note\r\n");
    assert_int_equal(decode(c2_buf_slice(&crlf), "secret", &info), C2_E_OK);
    c2_buf_done(&text);
    c2_buf_done(&crlf);
}

static void
key_file__default_cost_is_a_quarter_gigabyte(void **state)
{
    (void)state;
    struct key_file info = info_of("phr", false);
    struct c2_buf text = { 0 };
    assert_int_equal(key_file_encode(&info, volume_key, "secret", &text), C2_E_OK);
    struct c2_buf forged = forge(&text, set_memory, 256u << 10); /* as it was */
    assert_int_equal(decode(c2_buf_slice(&forged), "secret", &info), C2_E_OK);
    c2_buf_done(&text);
    c2_buf_done(&forged);
}

/* ---- recovery kit -------------------------------------------------------------------------- */

static enum c2_err
decode_kit(struct c2_slice text, struct key_file *info)
{
    uint8_t key[C2_KEY_LEN] = { 0 };
    enum c2_err err = key_recovery_kit_decode(text, info, key);
    if (err == C2_E_OK)
        assert_memory_equal(key, volume_key, C2_KEY_LEN);
    return err;
}

static void
kit__round_trips_for_every_length_of_name(void **state)
{
    (void)state;
    for (size_t len = 0; len < 64; len++) {
        char name[64] = { 0 };
        memset(name, 'n', len);
        struct key_file info = info_of(name, len % 2 == 0), found = { 0 };
        struct c2_buf text = { 0 };
        key_recovery_kit(&info, volume_key, &text);
        assert_int_equal(decode_kit(c2_buf_slice(&text), &found), C2_E_OK);
        assert_string_equal(found.volume, name);
        assert_memory_equal(found.uuid, uuid, 16);
        assert_int_equal(found.keyless, info.keyless);
        assert_int_equal(key_recovery_kit_bad_line(c2_buf_slice(&text)), 0);
        c2_buf_done(&text);
    }
}

static void
kit__is_restored_as_people_type_it(void **state)
{
    (void)state;
    struct key_file info = info_of("phr", false), found = { 0 };
    struct c2_buf text = { 0 }, typed = { 0 };
    key_recovery_kit(&info, volume_key, &text);
    c2_buf_puts(&typed, "C2FS-RECOVERY-KIT 1\n\n");
    bool line_start = false;
    for (const char *p = strstr(c2_buf_cstr(&text), " 1:"); *p != '\0'; p++) {
        char c = (char)tolower((unsigned char)*p);
        c = c == '0' && !line_start ? 'o' : c;
        c = c == ' ' && p[-1] != '\n' ? '-' : c;
        c2_buf_append(&typed, &c, 1);
    }
    assert_int_equal(decode_kit(c2_buf_slice(&typed), &found), C2_E_OK);
    assert_string_equal(found.volume, "phr");
    c2_buf_done(&text);
    c2_buf_done(&typed);
}

static void
kit__names_the_line_with_a_typing_error(void **state)
{
    (void)state;
    struct key_file info = info_of("phr", false), found = { 0 };
    struct c2_buf text = { 0 };
    key_recovery_kit(&info, volume_key, &text);
    unsigned line = 0;
    for (size_t i = (size_t)(strstr(c2_buf_cstr(&text), " 1:") - c2_buf_cstr(&text)); i < text.len;
         i++) {
        char c = (char)text.data[i];
        if (c == ':')
            line++;
        if (!isupper((unsigned char)c) && (!isdigit((unsigned char)c) || text.data[i + 1] == ':'))
            continue;
        text.data[i] = c == 'Z' ? 'Y' : 'Z';
        assert_int_equal(decode_kit(c2_buf_slice(&text), &found), C2_E_CORRUPT);
        assert_int_equal(key_recovery_kit_bad_line(c2_buf_slice(&text)), line);
        text.data[i] = (uint8_t)c;
    }
    assert_true(line >= 4);
    c2_buf_done(&text);
}

static void
kit__refuses_missing_and_swapped_lines(void **state)
{
    (void)state;
    struct key_file info = info_of("phr", false), found = { 0 };
    struct c2_buf text = { 0 };
    key_recovery_kit(&info, volume_key, &text);
    char *all = c2_strdup(c2_buf_cstr(&text));
    size_t head = (size_t)(strstr(all, " 1:") - all);
    size_t line_len = strcspn(all + head, "\n") + 1;
    size_t lines = strlen(all + head) / line_len;
    for (size_t gone = 0; gone < lines; gone++) {
        struct c2_buf less = { 0 };
        c2_buf_append(&less, all, head + gone * line_len);
        c2_buf_puts(&less, all + head + (gone + 1) * line_len);
        assert_int_equal(decode_kit(c2_buf_slice(&less), &found), C2_E_PARSE);
        c2_buf_done(&less);
    }
    struct c2_buf swapped = { 0 }; /* lines 1 and 2 under each other's number */
    c2_buf_append(&swapped, all, head);
    c2_buf_puts(&swapped, " 1");
    c2_buf_append(&swapped, all + head + line_len + 2, line_len - 2);
    c2_buf_puts(&swapped, " 2");
    c2_buf_append(&swapped, all + head + 2, line_len - 2);
    c2_buf_puts(&swapped, all + head + 2 * line_len);
    assert_int_equal(decode_kit(c2_buf_slice(&swapped), &found), C2_E_CORRUPT);
    c2_buf_done(&swapped);
    c2_buf_puts(&text, c2_buf_cstr(&text) + head); /* too many */
    assert_int_not_equal(decode_kit(c2_buf_slice(&text), &found), C2_E_OK);
    assert_int_equal(decode_kit(str("C2FS-RECOVERY-KIT 2\n"), &found), C2_E_VERSION);
    assert_int_equal(decode_kit(str("C2FS-RECOVERY-KIT 1\n"), &found), C2_E_PARSE);
    assert_int_equal(decode_kit(str("C2FS-KEY 1\n"), &found), C2_E_PARSE);
    c2_free(all);
    c2_buf_done(&text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(derive__differs_by_key_uuid_purpose_and_context),
        cmocka_unit_test(check_value__tells_keys_apart),
        cmocka_unit_test(seal__opens_only_under_the_same_key_place_and_bytes),
        cmocka_unit_test(seal__never_repeats_a_counter),
        cmocka_unit_test(open__works_for_more_sessions_than_are_remembered),
        cmocka_unit_test(name_hash__depends_on_directory_and_name_and_has_a_clear_top_bit),
        cmocka_unit_test(key_file__round_trips_plain_and_sealed),
        cmocka_unit_test(key_file__sealed_does_not_contain_the_key),
        cmocka_unit_test(key_file__says_key_for_a_wrong_or_missing_passphrase),
        cmocka_unit_test(key_file__tells_damage_at_every_byte),
        cmocka_unit_test(key_file__bounds_what_it_reads),
        cmocka_unit_test(key_file__refuses_other_texts),
        cmocka_unit_test(key_file__survives_an_editor),
        cmocka_unit_test(key_file__default_cost_is_a_quarter_gigabyte),
        cmocka_unit_test(kit__round_trips_for_every_length_of_name),
        cmocka_unit_test(kit__is_restored_as_people_type_it),
        cmocka_unit_test(kit__names_the_line_with_a_typing_error),
        cmocka_unit_test(kit__refuses_missing_and_swapped_lines),
    };
    if (c2_crypto_init() != C2_E_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
