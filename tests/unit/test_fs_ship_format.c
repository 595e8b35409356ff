/* SPDX-License-Identifier: MIT */
/*
 * Journal objects and checkpoints as bytes. The files tests/fixtures/v1/ship.* were written by
 * version 1 of the format and never change; `test_fs_ship_format --write` makes them anew, and the
 * corpus of the fuzz target from them; for a new format they get a new folder.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/os_file.h"
#include "base/wire.h"
#include "fs/ship_format.h"
#include "tests/lib/test_env.h"

#define FOLDER   "tests/fixtures/v1"
#define CORPUS   "tests/fuzz/corpus/ship"
#define FILE_MAX (1u << 20)

static const uint8_t uuid[16] = { 'f', 'u', 'z', 'z' };

static void
make_secret(uint8_t secret[C2_ED25519_SECRET_LEN], uint8_t which)
{
    const uint8_t seed[32] = { which };
    uint8_t public_key[C2_ED25519_PUBLIC_LEN];
    c2_ed25519_keypair(seed, secret, public_key);
}

static void
add_entry(struct c2_buf *log, uint64_t version, uint64_t time_ns, const char *cmd)
{
    c2_wr_u64(log, version);
    c2_wr_u32(log, (uint32_t)(8 + strlen(cmd)));
    c2_wr_u64(log, time_ns);
    c2_wr_raw(log, cmd, strlen(cmd));
}

static struct ship_position
position(uint64_t generation, uint64_t seq, uint64_t version)
{
    struct ship_position p = { .generation = generation, .seq = seq, .version = version };
    memset(p.hash, 0x11, sizeof(p.hash));
    p.ref = (struct ds_ref){ .oid = { .sid = generation, .seq = seq, .rnd = { 1, 2, 3 } },
                             .plain_len = 500,
                             .key_epoch = 1,
                             .domain_id = 2 };
    memset(p.ref.root, 0x22, sizeof(p.ref.root));
    return p;
}

/* The second object of generation 7 with the entries 101 and 102. */
static struct ship_object
make_object(struct c2_buf *log)
{
    struct ship_object o = { .kind = SHIP_LOG, .generation = 7, .seq = 1 };
    memcpy(o.uuid, uuid, sizeof(o.uuid));
    o.base = position(7, 1, 100);
    add_entry(log, 101, 5000, "first");
    add_entry(log, 102, 6000, "second");
    o.version = 102;
    o.time_ns = 6000;
    o.log = c2_buf_slice(log);
    return o;
}

static void
encode_object(struct c2_buf *out)
{
    struct c2_buf log = { 0 };
    uint8_t secret[C2_ED25519_SECRET_LEN];
    struct ship_object o = make_object(&log);
    make_secret(secret, 1);
    ship_object_encode(&o, secret, out);
    c2_buf_done(&log);
}

static void
encode_seal(struct c2_buf *out)
{
    uint8_t secret[C2_ED25519_SECRET_LEN];
    struct ship_object o = { .kind = SHIP_SEAL, .generation = 7, .seq = 2, .version = 102 };
    memcpy(o.uuid, uuid, sizeof(o.uuid));
    o.base = position(7, 2, 102);
    make_secret(secret, 1);
    ship_object_encode(&o, secret, out);
}

static struct ship_checkpoint
make_checkpoint(void)
{
    return (struct ship_checkpoint){ .generation = 7,
                                     .number = 3,
                                     .version = 101,
                                     .wall_ns = 1234567890123456789ull,
                                     .bytes = 70000,
                                     .journal = position(7, 1, 100) };
}

static void
encode_index(struct c2_buf *out, bool with_key)
{
    uint8_t secret[C2_ED25519_SECRET_LEN];
    struct ds_ref parts[2] = { position(7, 3 << 16, 0).ref, position(7, (3 << 16) + 1, 0).ref };
    struct ship_index x = { .checkpoint = make_checkpoint(),
                            .id = c2_slice_str("the record V"),
                            .config = c2_slice_str("the record C"),
                            .has_key = with_key,
                            .parts = parts,
                            .nparts = 2 };
    memcpy(x.uuid, uuid, sizeof(x.uuid));
    memset(x.volume_key, 0x33, sizeof(x.volume_key));
    make_secret(secret, 1);
    ship_index_encode(&x, secret, out);
}

static void
encode_index_plain(struct c2_buf *out)
{
    encode_index(out, false);
}

static void
encode_index_keyless(struct c2_buf *out)
{
    encode_index(out, true);
}

static void
encode_record(struct c2_buf *out)
{
    struct ship_record r = { .at = position(7, 2, 102),
                             .cost = 65536,
                             .log_bytes = 300,
                             .checkpoints = { make_checkpoint() },
                             .ncheckpoints = 1 };
    ship_record_encode(&r, out);
}

static void
encode_head(struct c2_buf *out)
{
    struct ship_position p = position(7, 2, 102);
    ship_head_encode(uuid, &p, out);
}

static const struct fixture {
    const char *name;
    char kind;   /* of the fuzz target */
    size_t tail; /* that the fuzz target puts behind it */
    void (*encode)(struct c2_buf *out);
} fixtures[] = {
    { "object", 'o', C2_ED25519_SIG_LEN, encode_object },
    { "seal", 'o', C2_ED25519_SIG_LEN, encode_seal },
    { "index", 'c', C2_ED25519_SIG_LEN, encode_index_plain },
    { "index-keyless", 'c', C2_ED25519_SIG_LEN, encode_index_keyless },
    { "record", 'r', 0, encode_record },
    { "head", 'h', C2_SHA256_LEN, encode_head },
};

static void
fixtures__are_what_we_write(void **state)
{
    (void)state;
    for (size_t k = 0; k < C2_ARRAY_LEN(fixtures); k++) {
        struct c2_buf want = { 0 }, got = { 0 };
        char *path = c2_asprintf(FOLDER "/ship.%s", fixtures[k].name);
        assert_int_equal(c2_os_read_file(path, FILE_MAX, &want, NULL), C2_E_OK);
        fixtures[k].encode(&got);
        assert_int_equal(got.len, want.len);
        assert_memory_equal(got.data, want.data, want.len);
        c2_buf_done(&want);
        c2_buf_done(&got);
        c2_free(path);
    }
}

static void
object__decodes_to_what_it_was(void **state)
{
    (void)state;
    struct c2_buf log = { 0 }, bytes = { 0 };
    struct ship_object o, want = make_object(&log);
    encode_object(&bytes);
    assert_int_equal(ship_object_decode(c2_buf_slice(&bytes), uuid, &o), C2_E_OK);
    assert_int_equal(o.kind, SHIP_LOG);
    assert_int_equal(o.generation, 7);
    assert_int_equal(o.seq, 1);
    assert_int_equal(ship_position_compare(&o.base, &want.base), 0);
    assert_memory_equal(&o.base.ref, &want.base.ref, sizeof(o.base.ref));
    assert_memory_equal(o.base.hash, want.base.hash, sizeof(o.base.hash));
    assert_int_equal(o.version, 102);
    assert_int_equal(o.time_ns, 6000);
    assert_true(c2_slice_equal(o.log, want.log));
    c2_buf_done(&log);
    c2_buf_done(&bytes);
}

/* Every single byte counts. */
static void
object__with_any_byte_changed_is_refused(void **state)
{
    (void)state;
    struct c2_buf bytes = { 0 };
    struct ship_object o;
    encode_object(&bytes);
    for (size_t k = 0; k < bytes.len; k++) {
        bytes.data[k] ^= 0x40;
        assert_int_not_equal(ship_object_decode(c2_buf_slice(&bytes), uuid, &o), C2_E_OK);
        bytes.data[k] ^= 0x40;
    }
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_not_equal(ship_object_decode(c2_slice(bytes.data, len), uuid, &o), C2_E_OK);
    c2_buf_append(&bytes, "x", 1);
    assert_int_equal(ship_object_decode(c2_buf_slice(&bytes), uuid, &o), C2_E_PARSE);
    c2_buf_done(&bytes);
}

static void
index__with_any_byte_changed_is_refused(void **state)
{
    (void)state;
    struct c2_buf bytes = { 0 };
    struct ship_index x;
    encode_index(&bytes, true);
    assert_int_equal(ship_index_decode(c2_buf_slice(&bytes), uuid, &x), C2_E_OK);
    assert_true(x.has_key);
    assert_int_equal(x.nparts, 2);
    assert_true(c2_slice_equal(x.config, c2_slice_str("the record C")));
    c2_free(x.parts);
    for (size_t k = 0; k < bytes.len; k++) {
        bytes.data[k] ^= 0x40;
        assert_int_not_equal(ship_index_decode(c2_buf_slice(&bytes), uuid, &x), C2_E_OK);
        bytes.data[k] ^= 0x40;
    }
    c2_buf_done(&bytes);
}

static void
object__of_another_volume_or_version_is_told_apart(void **state)
{
    (void)state;
    static const uint8_t other[16] = { 1 };
    struct c2_buf bytes = { 0 };
    struct ship_object o;
    encode_object(&bytes);
    assert_int_equal(ship_object_decode(c2_buf_slice(&bytes), other, &o), C2_E_PARSE);
    c2_put_u16(bytes.data + 8, SHIP_FORMAT_VERSION + 1);
    assert_int_equal(ship_object_decode(c2_buf_slice(&bytes), uuid, &o), C2_E_VERSION);
    c2_buf_done(&bytes);
}

/* Signed by the device all the same: what it says must make sense. */
static enum c2_err
signed_but(void (*change)(struct ship_object *o))
{
    struct c2_buf log = { 0 }, bytes = { 0 };
    uint8_t secret[C2_ED25519_SECRET_LEN];
    struct ship_object o = make_object(&log), got;
    change(&o);
    make_secret(secret, 1);
    ship_object_encode(&o, secret, &bytes);
    enum c2_err err = ship_object_decode(c2_buf_slice(&bytes), uuid, &got);
    c2_buf_done(&log);
    c2_buf_done(&bytes);
    return err;
}

static void
change_nothing(struct ship_object *o)
{
    (void)o;
}

static void
change_base(struct ship_object *o)
{
    o->base.seq = 0;
}

static void
change_first(struct ship_object *o)
{
    o->seq = 0; /* a first object that goes on in its own generation */
}

static void
change_version(struct ship_object *o)
{
    o->version++;
}

static void
change_gap(struct ship_object *o)
{
    o->base.version--;
}

static void
change_time(struct ship_object *o)
{
    o->time_ns++;
}

static void
change_kind(struct ship_object *o)
{
    o->kind = SHIP_SEAL; /* with entries */
}

static void
change_empty(struct ship_object *o)
{
    o->log = c2_slice(NULL, 0);
    o->version = o->base.version;
    o->time_ns = 0;
}

static void
change_cut(struct ship_object *o)
{
    o->log.len--;
}

static void
object__that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    assert_int_equal(signed_but(change_nothing), C2_E_OK);
    assert_int_equal(signed_but(change_base), C2_E_PARSE);
    assert_int_equal(signed_but(change_first), C2_E_PARSE);
    assert_int_equal(signed_but(change_version), C2_E_PARSE);
    assert_int_equal(signed_but(change_gap), C2_E_PARSE);
    assert_int_equal(signed_but(change_time), C2_E_PARSE);
    assert_int_equal(signed_but(change_kind), C2_E_PARSE);
    assert_int_equal(signed_but(change_empty), C2_E_PARSE);
    assert_int_equal(signed_but(change_cut), C2_E_PARSE);
}

static void
log__is_cut_between_entries(void **state)
{
    (void)state;
    struct c2_buf log = { 0 };
    (void)make_object(&log);
    struct c2_slice all = c2_buf_slice(&log);
    uint64_t version = 0, time_ns = 0;
    assert_int_equal(ship_log_after(all, 100).len, all.len);
    struct c2_slice rest = ship_log_after(all, 101);
    assert_int_equal(ship_log_check(rest, 101, &version, &time_ns), C2_E_OK);
    assert_int_equal(version, 102);
    assert_int_equal(ship_log_after(all, 102).len, 0);
    assert_int_equal(ship_log_check(all, 101, &version, &time_ns), C2_E_PARSE);
    c2_buf_done(&log);
}

static void
head__with_any_byte_changed_is_refused(void **state)
{
    (void)state;
    struct c2_buf bytes = { 0 };
    struct ship_position p;
    encode_head(&bytes);
    assert_int_equal(ship_head_decode(c2_buf_slice(&bytes), uuid, &p), C2_E_OK);
    assert_int_equal(p.version, 102);
    for (size_t k = 0; k < bytes.len; k++) {
        bytes.data[k] ^= 1;
        assert_int_not_equal(ship_head_decode(c2_buf_slice(&bytes), uuid, &p), C2_E_OK);
        bytes.data[k] ^= 1;
    }
    c2_buf_done(&bytes);
}

static void
record__decodes_to_what_it_was(void **state)
{
    (void)state;
    struct c2_buf bytes = { 0 };
    struct ship_record r;
    encode_record(&bytes);
    assert_int_equal(ship_record_decode(c2_buf_slice(&bytes), &r), C2_E_OK);
    assert_int_equal(r.at.version, 102);
    assert_int_equal(r.ncheckpoints, 1);
    assert_int_equal(r.checkpoints[0].bytes, 70000);
    bytes.data[0]++;
    assert_int_equal(ship_record_decode(c2_buf_slice(&bytes), &r), C2_E_VERSION);
    c2_buf_done(&bytes);
}

static void
write_files(void)
{
    for (size_t k = 0; k < C2_ARRAY_LEN(fixtures); k++) {
        struct c2_buf bytes = { 0 }, fuzz = { 0 };
        char *path = c2_asprintf(FOLDER "/ship.%s", fixtures[k].name);
        char *corpus = c2_asprintf(CORPUS "/%s", fixtures[k].name);
        fixtures[k].encode(&bytes);
        test_disk_write_file(path, bytes.data, bytes.len);
        c2_buf_append(&fuzz, &fixtures[k].kind, 1);
        c2_buf_append(&fuzz, bytes.data, bytes.len - fixtures[k].tail);
        test_disk_write_file(corpus, fuzz.data, fuzz.len);
        c2_buf_done(&bytes);
        c2_buf_done(&fuzz);
        c2_free(path);
        c2_free(corpus);
    }
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixtures__are_what_we_write),
        cmocka_unit_test(object__decodes_to_what_it_was),
        cmocka_unit_test(object__with_any_byte_changed_is_refused),
        cmocka_unit_test(index__with_any_byte_changed_is_refused),
        cmocka_unit_test(object__of_another_volume_or_version_is_told_apart),
        cmocka_unit_test(object__that_makes_no_sense_is_refused),
        cmocka_unit_test(log__is_cut_between_entries),
        cmocka_unit_test(head__with_any_byte_changed_is_refused),
        cmocka_unit_test(record__decodes_to_what_it_was),
    };
    if (c2_crypto_init() != C2_E_OK)
        return 1;
    if (argc > 1 && strcmp(argv[1], "--write") == 0) {
        write_files();
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
