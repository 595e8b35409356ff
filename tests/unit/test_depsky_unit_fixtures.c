/* SPDX-License-Identifier: MIT */
/*
 * Metadata and names of a unit as version 1 of the format has them, in tests/fixtures/v1. They
 * never change: every later program must read them, and write the same bytes from the same inputs.
 *
 * `test_depsky_unit_fixtures --write` writes the files anew; for a new format they get a new
 * folder. With --corpus FOLDER it writes inputs for the fuzzer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "depsky/unit_impl.h"
#include "tests/lib/unit_rig.h"

#define FOLDER   "tests/fixtures/v1"
#define FILE_MAX 20000u

enum { META, META_DELETED, META_FULL, NAME_VALUE, NAME_LOCK, FIXTURES };

static const char *const files[FIXTURES] = { "unit.meta", "unit.meta-deleted", "unit.meta-full",
                                             "unit.name-value", "unit.name-lock" };
static const char corpus_kind[FIXTURES] = { 'M', 'M', 'M', 'N', 'L' };

static void
fill(uint8_t *out, size_t len, uint8_t first)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(first + i);
}

static struct ds_unit_version
version(const struct unit_rig *rig, unsigned i)
{
    struct ds_unit_version v = { .version = 1000 - i,
                                 .protocol = i % 2 == 0 ? DS_UNIT_CA : DS_UNIT_A,
                                 .size = 0x1234560u + i,
                                 .time_ns = UINT64_C(0x0102030405060708) - i,
                                 .placed = i % 2 == 0 ? 0x7 : 0xf,
                                 .key_epoch = 7,
                                 .domain_id = 8 };
    memcpy(v.writer, rig->public_key[i % 2], sizeof(v.writer));
    fill(v.hash, sizeof(v.hash), (uint8_t)(0x40 + i));
    fill(v.rnd, sizeof(v.rnd), (uint8_t)(0x80 + i));
    fill(v.sig, sizeof(v.sig), (uint8_t)(0xa0 + i));
    return v;
}

static void
meta(const struct unit_rig *rig, unsigned file, struct unit_meta *m)
{
    *m = (struct unit_meta){ .id = { .number = 1000 }, .time_ns = UINT64_C(0x0102030405060709) };
    fill(m->id.rnd, sizeof(m->id.rnd), 0x21);
    memcpy(m->writer, rig->public_key[0], sizeof(m->writer));
    m->deleted = file == META_DELETED;
    m->count = file == META ? 2 : file == META_FULL ? DS_UNIT_VERSIONS_MAX : 0;
    for (unsigned i = 0; i < m->count; i++)
        m->version[i] = version(rig, i);
}

/* What a file must contain. */
static struct c2_blob *
make(const struct unit_rig *rig, const struct ds_unit *u, unsigned file)
{
    char key[PROV_KEY_MAX];
    struct unit_id id = { .number = UINT64_C(0x1122334455667788) };
    if (file <= META_FULL) {
        struct unit_meta *m = c2_alloc(sizeof(*m));
        meta(rig, file, m);
        struct c2_blob *b = unit_meta_encode(u, m);
        c2_free(m);
        return b;
    }
    enum unit_folder folder = file == NAME_LOCK ? UNIT_LOCK : UNIT_VALUE;
    fill(id.rnd, sizeof(id.rnd), 0x31);
    unit_id_sign(u, folder, &id);
    unit_key(u, folder, &id, key);
    return c2_blob_copy(key, strlen(key));
}

static struct c2_blob *
load(unsigned file)
{
    char path[128];
    snprintf(path, sizeof(path), FOLDER "/%s", files[file]);
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        fail_msg("cannot open %s", path);
    struct c2_blob *b = c2_blob_new(FILE_MAX);
    b->len = fread(b->data, 1, FILE_MAX, f);
    assert_int_equal(fclose(f), 0);
    return b;
}

static void
fixtures__of_version_1_are_read(void **state)
{
    (void)state;
    struct unit_rig rig;
    unit_rig_init(&rig, 4, 1);
    struct ds_unit *u = unit_rig_open(&rig, "unit", UNIT_RIG_NOBODY, false);
    for (unsigned file = META; file <= META_FULL; file++) {
        struct unit_meta *m = c2_calloc(1, sizeof(*m)), *want = c2_alloc(sizeof(*want));
        struct c2_blob *b = load(file);
        assert_int_equal(unit_meta_decode(u, c2_blob_slice(b), m), C2_E_OK);
        meta(&rig, file, want);
        assert_int_equal(m->id.number, want->id.number);
        assert_memory_equal(m->id.rnd, want->id.rnd, sizeof(m->id.rnd));
        assert_int_equal(m->time_ns, want->time_ns);
        assert_int_equal(m->deleted, want->deleted);
        assert_int_equal(m->count, want->count);
        assert_memory_equal(m->writer, want->writer, sizeof(m->writer));
        for (unsigned i = 0; i < m->count; i++) {
            assert_int_equal(m->version[i].version, want->version[i].version);
            assert_int_equal(m->version[i].protocol, want->version[i].protocol);
            assert_int_equal(m->version[i].size, want->version[i].size);
            assert_int_equal(m->version[i].placed, want->version[i].placed);
            assert_memory_equal(m->version[i].hash, want->version[i].hash, DS_UNIT_HASH_LEN);
            assert_memory_equal(m->version[i].sig, want->version[i].sig, DS_UNIT_SIG_LEN);
        }
        c2_blob_unref(b);
        c2_free(m);
        c2_free(want);
    }
    for (unsigned file = NAME_VALUE; file <= NAME_LOCK; file++) {
        struct c2_blob *b = load(file);
        char *key = c2_strndup((const char *)b->data, b->len);
        struct unit_id id;
        assert_true(unit_id_parse(strrchr(key, '/') + 1, &id));
        assert_int_equal(id.number, UINT64_C(0x1122334455667788));
        const uint8_t *signer = unit_id_signer(u, file == NAME_LOCK ? UNIT_LOCK : UNIT_VALUE, &id);
        assert_non_null(signer);
        assert_memory_equal(signer, rig.public_key[0], DS_UNIT_PUBLIC_LEN);
        /* A lock is no revision, nor the reverse. */
        assert_null(unit_id_signer(u, file == NAME_LOCK ? UNIT_VALUE : UNIT_LOCK, &id));
        c2_free(key);
        c2_blob_unref(b);
    }
    ds_unit_close(u);
    unit_rig_done(&rig);
}

static void
fixtures__of_version_1_are_written_again(void **state)
{
    (void)state;
    struct unit_rig rig;
    unit_rig_init(&rig, 4, 1);
    struct ds_unit *u = unit_rig_open(&rig, "unit", 0, true);
    for (unsigned file = 0; file < FIXTURES; file++) {
        struct c2_blob *stored = load(file), *made = make(&rig, u, file);
        assert_true(c2_slice_equal(c2_blob_slice(stored), c2_blob_slice(made)));
        c2_blob_unref(stored);
        c2_blob_unref(made);
    }
    ds_unit_close(u);
    unit_rig_done(&rig);
}

static void
write_all(const char *folder, bool corpus)
{
    struct unit_rig rig;
    unit_rig_init(&rig, 4, 1);
    struct ds_unit *u = unit_rig_open(&rig, "unit", 0, true);
    for (unsigned file = 0; file < FIXTURES; file++) {
        struct c2_blob *b = make(&rig, u, file);
        struct c2_slice in = c2_blob_slice(b);
        char path[256];
        snprintf(path, sizeof(path), "%s/%s", folder, files[file]);
        FILE *f = fopen(path, "wb");
        C2_ASSERT(f != NULL);
        if (corpus) { /* a name without its folder */
            C2_ASSERT(fputc(corpus_kind[file], f) != EOF);
            const uint8_t *slash = file > META_FULL ? memrchr(in.data, '/', in.len) : NULL;
            if (slash != NULL)
                in = c2_slice(slash + 1, (size_t)(in.data + in.len - slash - 1));
        }
        C2_ASSERT(fwrite(in.data, 1, in.len, f) == in.len);
        C2_ASSERT(fclose(f) == 0);
        c2_blob_unref(b);
    }
    ds_unit_close(u);
    unit_rig_done(&rig);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixtures__of_version_1_are_read),
        cmocka_unit_test(fixtures__of_version_1_are_written_again),
    };
    if (argc == 2 && strcmp(argv[1], "--write") == 0) {
        write_all(FOLDER, false);
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "--corpus") == 0) {
        write_all(argv[2], true);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
