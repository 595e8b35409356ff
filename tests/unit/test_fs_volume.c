/* SPDX-License-Identifier: MIT */
#include "fs/volume_impl.h"

#include "backends/registry.h"
#include "base/alloc.h"
#include "base/os_file.h"
#include "tests/lib/volume_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- codecs ---------------------------------------------------------------------------------- */

static struct volume_config
some_config(void)
{
    struct volume_config c = { .format_version = 1, .f = 1, .n = 5, .keyless = true };
    memcpy(c.uuid, vr_uuid, sizeof c.uuid);
    snprintf(c.name, sizeof c.name, "phr");
    c.config_epoch = 3;
    c.key_epoch = 4;
    c.domain_id = 5;
    c.redundancy_full = true;
    for (unsigned i = 0; i < c.n; i++) {
        c.seats[i].state = i == 4 ? VOLUME_SEAT_EMPTY : VOLUME_SEAT_ACTIVE;
        snprintf(c.seats[i].provider, sizeof c.seats[i].provider, "p%u", i);
        snprintf(c.seats[i].url, sizeof c.seats[i].url, "s3://bucket-%u", i);
    }
    c.seats[1].state = VOLUME_SEAT_REBUILDING;
    return c;
}

static void
config__survives_encoding_and_refuses_everything_shorter_or_longer(void **state)
{
    (void)state;
    struct volume_config c = some_config(), d;
    struct c2_buf b = { 0 };
    volume_config_encode(&c, &b);
    assert_int_equal(volume_config_decode(c2_buf_slice(&b), &d), C2_E_OK);
    assert_memory_equal(&c, &d, sizeof c);
    for (size_t len = 0; len < b.len; len++)
        assert_int_equal(volume_config_decode(c2_slice(b.data, len), &d), C2_E_PARSE);
    c2_buf_append(&b, "", 1);
    assert_int_equal(volume_config_decode(c2_buf_slice(&b), &d), C2_E_PARSE);
    c2_buf_done(&b);
}

/* Only what an older program cannot know is written in the newer form. */
static void
config__keeps_states_and_the_provider_before(void **state)
{
    (void)state;
    struct volume_config c = some_config(), d;
    struct c2_buf b = { 0 };
    volume_config_encode(&c, &b);
    assert_int_equal(b.data[0], 1);
    snprintf(c.seats[1].old_provider, sizeof c.seats[1].old_provider, "before");
    snprintf(c.seats[1].old_url, sizeof c.seats[1].old_url, "dir:/before");
    c.seats[2].state = VOLUME_SEAT_DRAINING;
    c.seats[3].state = VOLUME_SEAT_OFFLINE;
    c2_buf_clear(&b);
    volume_config_encode(&c, &b);
    assert_int_equal(b.data[0], 2);
    assert_int_equal(volume_config_decode(c2_buf_slice(&b), &d), C2_E_OK);
    assert_memory_equal(&c, &d, sizeof c);
    for (size_t len = 0; len < b.len; len++)
        assert_int_equal(volume_config_decode(c2_slice(b.data, len), &d), C2_E_PARSE);
    assert_int_equal(volume_config_voters(&c), 4);
    assert_int_equal(volume_config_seat(&c, "p3"), 3);
    assert_int_equal(volume_config_seat(&c, "p4"), 5); /* its seat is empty */
    c2_buf_done(&b);
}

static void
config__refuses_impossible_values(void **state)
{
    (void)state;
    static const struct {
        size_t at; /* version 0, flags 2, format 4, uuid 8, name 24 (4 + 3), f 31, n 32,
                    * epochs 33, first seat: state 45, name length 46 */
        uint8_t value;
        enum c2_err err;
    } rows[] = {
        { 0, 3, C2_E_VERSION }, { 0, 0, C2_E_PARSE },   { 2, 4, C2_E_VERSION },
        { 31, 0, C2_E_PARSE },  { 31, 2, C2_E_PARSE },  { 31, 200, C2_E_PARSE },
        { 32, 3, C2_E_PARSE },  { 32, 9, C2_E_PARSE },  { 32, 255, C2_E_PARSE },
        { 45, 3, C2_E_PARSE },  { 46, 64, C2_E_PARSE }, { 50, 0, C2_E_PARSE },
    };
    for (size_t i = 0; i < C2_ARRAY_LEN(rows); i++) {
        struct volume_config c = some_config(), d;
        struct c2_buf b = { 0 };
        volume_config_encode(&c, &b);
        b.data[rows[i].at] = rows[i].value;
        if (volume_config_decode(c2_buf_slice(&b), &d) != rows[i].err)
            fail_msg("row %zu", i);
        c2_buf_done(&b);
    }
}

static void
id__survives_encoding_and_says_version(void **state)
{
    (void)state;
    struct volume_id id = { .format_version = 1, .keyless = true, .uuid = "u", .key_check = "k" };
    struct volume_id d;
    struct c2_buf b = { 0 };
    volume_id_encode(&id, &b);
    assert_int_equal(volume_id_decode(c2_buf_slice(&b), &d), C2_E_OK);
    assert_int_equal(d.format_version, 1);
    assert_true(d.keyless);
    assert_memory_equal(id.uuid, d.uuid, sizeof id.uuid);
    assert_memory_equal(id.key_check, d.key_check, sizeof id.key_check);
    for (size_t len = 0; len < b.len; len++)
        assert_int_equal(volume_id_decode(c2_slice(b.data, len), &d), C2_E_PARSE);
    b.data[4] = 2;
    assert_int_equal(volume_id_decode(c2_slice(b.data, 12), &d), C2_E_VERSION);
    b.data[4] = 0;
    assert_int_equal(volume_id_decode(c2_buf_slice(&b), &d), C2_E_PARSE);
    c2_buf_done(&b);
}

/* ---- format and open ------------------------------------------------------------------------- */

static void
format__makes_a_volume_that_opens(void **state)
{
    (void)state;
    struct volume_rig *r = vr_new();
    struct volume_format o = vr_format_init(r);
    uint64_t version;
    o.ret_recovery_kit = &r->kit;
    assert_int_equal(vr_format_run(r, &o), C2_E_OK);
    assert_int_equal(o.config.n, 4);
    assert_int_equal(o.config.f, 1);
    assert_string_equal(o.config.seats[2].provider, "p3");
    vr_open_ok(r);
    struct volume *v = r->volume;
    assert_string_equal(v->config.name, "phr");
    assert_memory_equal(v->config.uuid, vr_uuid, 16);
    assert_int_equal(ds_client_n(v->ds), 4);
    for (size_t i = 0; i < 4; i++)
        assert_non_null(v->providers[i]);
    struct c2_buf sealed = vr_store_get(r, v->coord, "I-root", &version), plain = { 0 };
    assert_int_equal(keys_open(v->keys, c2_slice_str("I-root"), c2_buf_slice(&sealed), &plain),
                     C2_E_OK);
    assert_true(c2_slice_equal(c2_buf_slice(&plain), c2_slice_str("root directory")));
    struct c2_buf lock = vr_store_get(r, v->coord, "S/mount", &version);
    assert_int_equal(version, v->fence_token);
    assert_true(v->fence_token > 0);
    c2_buf_done(&sealed);
    c2_buf_done(&plain);
    c2_buf_done(&lock);
    vr_close(r);
    struct coord *c = vr_store_open(r, false);
    lock = vr_store_get(r, c, "S/mount", &version);
    assert_int_equal(version, 0); /* given up */
    c2_buf_done(&lock);
    coord_close(c);
    vr_free(r);
}

static void
format__leaves_nothing_but_key_and_store(void **state)
{
    (void)state;
    struct volume_rig *r = vr_new();
    struct stat st;
    vr_format(r);
    char *key = vr_path(r, "phr.key");
    assert_int_equal(stat(key, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    c2_free(key);
    struct provider *p;
    assert_int_equal(prov_open(test_env_env(r->env), NULL, r->conf, "p1", &p, NULL), C2_E_OK);
    prov_close(p);
    char *folder = vr_path(r, "p1/v1/abcdef01/probe");
    struct c2_buf names = { 0 };
    if (test_disk_exists(folder))
        assert_int_equal(c2_os_list_dir(folder, &names), C2_E_OK);
    assert_int_equal(names.len, 0); /* the probe cleaned up */
    c2_buf_done(&names);
    c2_free(folder);
    assert_false(vr_exists(r, "phr.cache/device.key"));
    vr_free(r);
}

static void
format__recovery_kit_restores_the_key(void **state)
{
    (void)state;
    struct volume_rig *r = vr_new();
    struct volume_format o = vr_format_init(r);
    struct key_file info;
    uint8_t key[C2_KEY_LEN];
    struct c2_buf text = { 0 };
    o.ret_recovery_kit = &r->kit;
    assert_int_equal(vr_format_run(r, &o), C2_E_OK);
    assert_int_equal(key_recovery_kit_decode(c2_buf_slice(&r->kit), &info, key), C2_E_OK);
    assert_int_equal(key_file_encode(&info, key, NULL, &text), C2_E_OK);
    vr_write_file(r, "phr.key", c2_buf_slice(&text));
    vr_open_ok(r);
    c2_buf_done(&text);
    vr_free(r);
}

static void
format__dry_run_checks_and_writes_nothing(void **state)
{
    (void)state;
    struct volume_rig *r = vr_new();
    struct volume_format o = vr_format_init(r);
    o.dry_run = true;
    assert_int_equal(vr_format_run(r, &o), C2_E_OK);
    assert_int_equal(o.config.n, 4);
    static const char *const folders[] = { "", "/p1", "/p2", "/p3", "/p4" };
    for (size_t i = 0; i < C2_ARRAY_LEN(folders); i++) {
        char *path = c2_asprintf("%s%s", test_env_dir(r->env), folders[i]);
        struct c2_buf names = { 0 };
        assert_int_equal(c2_os_list_dir(path, &names), C2_E_OK);
        assert_int_equal(names.len, i == 0 ? sizeof "p1" * 4 : 0); /* the folders themselves */
        c2_buf_done(&names);
        c2_free(path);
    }
    vr_conf_set(r, "provider", "p3", "fault", "error:100%");
    assert_int_not_equal(vr_format_run(r, &o), C2_E_OK);
    vr_assert_says(r, "\"p3\"", "provider test p3");
    vr_free(r);
}

static void
format__with_passphrase_asks_twice_and_open_once(void **state)
{
    (void)state;
    struct volume_rig *r = vr_new();
    struct volume_format o = vr_format_init(r);
    o.no_passphrase = false;
    o.ask = vr_ask;
    o.ask_arg = r;
    r->answers[0] = r->answers[1] = r->answers[2] = "correct horse";
    assert_int_equal(vr_format_run(r, &o), C2_E_OK);
    assert_int_equal(r->asked, 2);
    assert_int_equal(vr_open_as(r, "phr", true), C2_E_OK);
    assert_int_equal(r->asked, 3);
    assert_non_null(strstr(r->last_prompt, "phr"));
    vr_free(r);
}

static void
format__takes_an_empty_store_that_an_interrupted_one_left(void **state)
{
    (void)state;
    struct volume_rig *r = vr_new();
    coord_close(vr_store_open(r, true));
    test_env_run_idle(r->env);
    vr_format(r);
    vr_open_ok(r);
    vr_free(r);
}

static void
break_metadata_folder(struct volume_rig *r)
{
    vr_write_file(r, "phr.meta", c2_slice_str("in the way"));
}

static void
format__removes_its_key_file_when_the_store_cannot_be_made(void **state)
{
    (void)state;
    struct volume_rig *r = vr_new();
    struct volume_format o = vr_format_init(r);
    o.no_passphrase = false;
    o.ask = vr_ask;
    o.ask_arg = r;
    r->answers[0] = r->answers[1] = "correct horse";
    r->on_ask = break_metadata_folder;
    assert_int_not_equal(vr_format_run(r, &o), C2_E_OK);
    assert_false(vr_exists(r, "phr.key"));
    vr_free(r);
}

/* ---- format: bad inputs ---------------------------------------------------------------------- */

struct format_row {
    const char *what;
    void (*prepare)(struct volume_rig *r, struct volume_format *o);
    enum c2_err err;
    const char *text, *hint;
};

static void
bad_name(struct volume_rig *r, struct volume_format *o)
{
    (void)r;
    o->volume = "../phr";
}

static void
no_section(struct volume_rig *r, struct volume_format *o)
{
    (void)r;
    o->volume = "other";
}

static void
no_key_file(struct volume_rig *r, struct volume_format *o)
{
    vr_conf_add(r, "[volume \"other\"]\nmetadata = local:%s/o\ncache_dir = %s/c\n",
                test_env_dir(r->env), test_env_dir(r->env));
    o->volume = "other";
}

static void
no_metadata(struct volume_rig *r, struct volume_format *o)
{
    vr_conf_add(r, "[volume \"other\"]\nkey_file = %s/o\ncache_dir = %s/c\n", test_env_dir(r->env),
                test_env_dir(r->env));
    o->volume = "other";
}

static void
f_too_large(struct volume_rig *r, struct volume_format *o)
{
    (void)r;
    o->f = 3;
}

static void
f_2_with_4(struct volume_rig *r, struct volume_format *o)
{
    (void)r;
    o->f = 2;
}

static const char *const three[] = { "p1", "p2", "p3" };
static const char *const twice[] = { "p1", "p2", "p3", "p1" };
static const char *const with_other[] = { "p1", "p2", "p3", "other" };
static const char *const with_two[] = { "p1", "p2", "other", "third" };

static void
only_three(struct volume_rig *r, struct volume_format *o)
{
    (void)r;
    o->providers = three;
    o->nproviders = 3;
}

static void
one_twice(struct volume_rig *r, struct volume_format *o)
{
    (void)r;
    o->providers = twice;
    o->nproviders = 4;
}

static void
choose_other(struct volume_rig *r, struct volume_format *o, const char *url)
{
    if (url != NULL)
        vr_conf_add(r, "[provider \"other\"]\nurl = %s\n", url);
    o->providers = with_other;
    o->nproviders = 4;
}

static void
unknown_provider(struct volume_rig *r, struct volume_format *o)
{
    choose_other(r, o, NULL);
}

static void
same_folder(struct volume_rig *r, struct volume_format *o)
{
    char *url = c2_asprintf("dir:%s/p2/", test_env_dir(r->env));
    choose_other(r, o, url);
    c2_free(url);
}

static void
folder_inside(struct volume_rig *r, struct volume_format *o)
{
    char *url = c2_asprintf("dir:%s/p2/inner", test_env_dir(r->env));
    choose_other(r, o, url);
    c2_free(url);
}

static void
two_buckets(struct volume_rig *r, struct volume_format *o, const char *a, const char *b)
{
    vr_conf_add(r, "[provider \"other\"]\n%s\n[provider \"third\"]\n%s\n", a, b);
    o->providers = with_two;
    o->nproviders = 4;
}

static void
same_bucket(struct volume_rig *r, struct volume_format *o)
{
    two_buckets(r, o, "url = s3://b/one", "url = s3://b/two");
}

static void
same_bucket_same_endpoint(struct volume_rig *r, struct volume_format *o)
{
    two_buckets(r, o, "url = s3://b\nendpoint = https://s3.example",
                "url = s3://b/x\nendpoint = "
                "https://S3.example/");
}

static void
same_bucket_other_endpoint(struct volume_rig *r, struct volume_format *o)
{
    two_buckets(r, o, "url = s3://b\nendpoint = https://s3.example",
                "url = s3://b\nendpoint = "
                "https://s4.example");
}

static void
key_exists(struct volume_rig *r, struct volume_format *o)
{
    (void)o;
    vr_write_file(r, "phr.key", c2_slice_str("precious"));
}

static void
device_exists(struct volume_rig *r, struct volume_format *o)
{
    (void)o;
    char *dir = vr_path(r, "phr.cache");
    assert_int_equal(mkdir(dir, 0700), 0);
    c2_free(dir);
    vr_write_file(r, "phr.cache/device.key", c2_slice_str("precious"));
}

static void
store_exists(struct volume_rig *r, struct volume_format *o)
{
    (void)o;
    coord_close(vr_store_open(r, true));
    test_env_run_idle(r->env);
    vr_store_put(r, "x", c2_slice_str("y"));
}

static void
prefix_taken(struct volume_rig *r, struct volume_format *o)
{
    (void)o;
    char *folder = vr_path(r, "p2/v1/abcdef01/o");
    for (char *slash = strstr(folder, "/v1"); slash != NULL; slash = strchr(slash + 1, '/')) {
        char *part = c2_strndup(folder, (size_t)(slash - folder) + strcspn(slash + 1, "/") + 1);
        assert_int_equal(mkdir(part, 0700), 0);
        c2_free(part);
    }
    c2_free(folder);
    vr_write_file(r, "p2/v1/abcdef01/o/object", c2_slice_str("data"));
}

static void
folder_missing(struct volume_rig *r, struct volume_format *o)
{
    (void)o;
    char *path = vr_path(r, "p3");
    assert_int_equal(rmdir(path), 0);
    c2_free(path);
}

static void
provider_fails(struct volume_rig *r, struct volume_format *o)
{
    (void)o;
    vr_conf_set(r, "provider", "p4", "fault", "error:100%");
}

static void
provider_corrupts(struct volume_rig *r, struct volume_format *o)
{
    (void)o;
    vr_conf_set(r, "provider", "p4", "fault", "corrupt:100%");
}

static void
no_terminal(struct volume_rig *r, struct volume_format *o)
{
    (void)r;
    o->no_passphrase = false;
}

static void
with_answers(struct volume_rig *r, struct volume_format *o, const char *first, const char *second)
{
    o->no_passphrase = false;
    o->ask = vr_ask;
    o->ask_arg = r;
    r->answers[0] = first;
    r->answers[1] = second;
}

static void
gives_up(struct volume_rig *r, struct volume_format *o)
{
    with_answers(r, o, NULL, NULL);
}

static void
answers_differ(struct volume_rig *r, struct volume_format *o)
{
    with_answers(r, o, "one", "two");
}

static void
answers_nothing(struct volume_rig *r, struct volume_format *o)
{
    with_answers(r, o, "", "");
}

static void
passphrase_file_missing(struct volume_rig *r, struct volume_format *o)
{
    (void)r;
    o->no_passphrase = false;
    setenv("C2FS_PASSPHRASE_FILE", "/nonexistent/passphrase", 1);
}

static void
command_fails(struct volume_rig *r, struct volume_format *o)
{
    o->no_passphrase = false;
    vr_conf_set(r, "volume", "phr", "passphrase_command", "exit 3");
}

static void
format__refuses_bad_inputs_and_writes_nothing(void **state)
{
    (void)state;
    static const struct format_row rows[] = {
        { "name", bad_name, C2_E_INVALID, "../phr", "letters" },
        { "section", no_section, C2_E_CONFIG, "[volume \"other\"]", "metadata" },
        { "key file", no_key_file, C2_E_CONFIG, "key_file", "other.key" },
        { "metadata", no_metadata, C2_E_CONFIG, "metadata", "metadata" },
        { "f", f_too_large, C2_E_INVALID, "at most 2", "" },
        { "f 2", f_2_with_4, C2_E_CONFIG, "takes 7", "[provider" },
        { "three", only_three, C2_E_CONFIG, "3 providers", "[provider" },
        { "twice", one_twice, C2_E_INVALID, "\"p1\" is named twice", "" },
        { "unknown", unknown_provider, C2_E_NOT_FOUND, "other", "" },
        { "same folder", same_folder, C2_E_CONFIG, "\"p2\" and \"other\"", "another" },
        { "inside", folder_inside, C2_E_CONFIG, "\"p2\" and \"other\"", "another" },
        { "bucket", same_bucket, C2_E_CONFIG, "\"other\" and \"third\"", "another" },
        { "endpoint", same_bucket_same_endpoint, C2_E_CONFIG, "same place", "another" },
        { "other endpoint", same_bucket_other_endpoint, C2_E_UNSUPPORTED, "network", "" },
        { "key exists", key_exists, C2_E_EXISTS, "phr.key", "only key" },
        { "device exists", device_exists, C2_E_EXISTS, "device.key", "cache_dir" },
        { "store exists", store_exists, C2_E_EXISTS, "holds a volume", "choose another" },
        { "prefix", prefix_taken, C2_E_EXISTS, "\"p2\" already holds", "provider test p2" },
        { "folder", folder_missing, C2_E_UNREACHABLE, "\"p3\" does not answer", "mkdir" },
        { "fails", provider_fails, C2_E_UNAVAILABLE, "\"p4\"", "provider test p4" },
        { "corrupts", provider_corrupts, C2_E_CORRUPT, "\"p4\" cannot", "provider test p4" },
        { "terminal", no_terminal, C2_E_KEY, "no terminal", "--no-passphrase" },
        { "gives up", gives_up, C2_E_CANCELED, "no passphrase", "" },
        { "differ", answers_differ, C2_E_INVALID, "not the same", "" },
        { "nothing", answers_nothing, C2_E_CONFIG, "empty", "" },
        { "file", passphrase_file_missing, C2_E_CONFIG, "/nonexistent", "C2FS_PASSPHRASE_FILE" },
        { "command", command_fails, C2_E_CONFIG, "passphrase_command", "exit 3" },
    };
    for (size_t i = 0; i < C2_ARRAY_LEN(rows); i++) {
        struct volume_rig *r = vr_new();
        struct volume_format o = vr_format_init(r);
        rows[i].prepare(r, &o);
        bool key_before = vr_exists(r, "phr.key"), meta_before = vr_exists(r, "phr.meta");
        enum c2_err err = vr_format_run(r, &o);
        if (err != rows[i].err || strstr(o.error.text, rows[i].text) == NULL ||
            strstr(o.error.hint, rows[i].hint) == NULL)
            fail_msg("%s: %s: \"%s\" / \"%s\"", rows[i].what, c2_err_name(err), o.error.text,
                     o.error.hint);
        assert_int_equal(vr_exists(r, "phr.key"), key_before);
        assert_int_equal(vr_exists(r, "phr.meta"), meta_before);
        vr_free(r);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config__survives_encoding_and_refuses_everything_shorter_or_longer),
        cmocka_unit_test(config__keeps_states_and_the_provider_before),
        cmocka_unit_test(config__refuses_impossible_values),
        cmocka_unit_test(id__survives_encoding_and_says_version),
        cmocka_unit_test(format__makes_a_volume_that_opens),
        cmocka_unit_test(format__leaves_nothing_but_key_and_store),
        cmocka_unit_test(format__recovery_kit_restores_the_key),
        cmocka_unit_test(format__dry_run_checks_and_writes_nothing),
        cmocka_unit_test(format__with_passphrase_asks_twice_and_open_once),
        cmocka_unit_test(format__takes_an_empty_store_that_an_interrupted_one_left),
        cmocka_unit_test(format__removes_its_key_file_when_the_store_cannot_be_made),
        cmocka_unit_test(format__refuses_bad_inputs_and_writes_nothing),
    };
    unsetenv("C2FS_PASSPHRASE_FILE");
    if (c2_crypto_init() != C2_E_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
