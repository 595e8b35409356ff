/* SPDX-License-Identifier: MIT */
#include "fs/volume_impl.h"

#include "base/alloc.h"
#include "fs/key_file.h"
#include "tests/lib/volume_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- open: bad inputs ------------------------------------------------------------------------ */

/* A volume whose key file is sealed with a cheap cost. */
static void
seal_key_file(struct volume_rig *r, const char *passphrase)
{
    static const struct key_file_cost cheap = { .memory_kib = 64, .iterations = 1, .lanes = 1 };
    struct c2_buf text = vr_read_file(r, "phr.key"), sealed = { 0 };
    struct key_file info;
    uint8_t key[C2_KEY_LEN];
    assert_int_equal(key_file_decode(c2_buf_slice(&text), NULL, &info, key), C2_E_OK);
    assert_int_equal(key_file_encode_cost(&info, key, passphrase, &cheap, &sealed), C2_E_OK);
    vr_write_file(r, "phr.key", c2_buf_slice(&sealed));
    c2_buf_done(&text);
    c2_buf_done(&sealed);
}

static void
open__takes_the_passphrase_from_file_command_or_terminal(void **state)
{
    (void)state;
    struct volume_rig *r = vr_new();
    vr_format(r);
    seal_key_file(r, "s3cret word");
    r->answers[0] = "s3cret word";
    assert_int_equal(vr_open_as(r, "phr", true), C2_E_OK);
    assert_int_equal(r->asked, 1);
    vr_close(r);
    vr_conf_set(r, "volume", "phr", "passphrase_command", "echo s3cret word");
    assert_int_equal(vr_open_as(r, "phr", true), C2_E_OK);
    assert_int_equal(r->asked, 1); /* not asked */
    vr_close(r);
    vr_conf_set(r, "volume", "phr", "passphrase_command", "exit 1"); /* not run */
    vr_write_file(r, "pass", c2_slice_str("s3cret word\n"));
    char *path = vr_path(r, "pass");
    setenv("C2FS_PASSPHRASE_FILE", path, 1);
    assert_int_equal(vr_open_as(r, "phr", true), C2_E_OK);
    c2_free(path);
    vr_free(r);
}

static void
open__refuses_a_wrong_passphrase(void **state)
{
    (void)state;
    struct volume_rig *r = vr_new();
    vr_format(r);
    seal_key_file(r, "right");
    r->answers[0] = "wrong";
    assert_int_equal(vr_open_as(r, "phr", true), C2_E_KEY);
    vr_assert_says(r, "wrong passphrase", "");
    assert_int_equal(vr_open_as(r, "phr", false), C2_E_KEY);
    vr_assert_says(r, "no terminal", "C2FS_PASSPHRASE_FILE");
    vr_conf_set(r, "volume", "phr", "passphrase_command", "echo");
    assert_int_equal(vr_open_as(r, "phr", true), C2_E_CONFIG);
    vr_assert_says(r, "empty", "");
    vr_free(r);
}

static void
open__refuses_bad_key_files(void **state)
{
    (void)state;
    struct volume_rig *r = vr_new();
    vr_format(r);
    struct c2_buf good = vr_read_file(r, "phr.key");
    char *path = vr_path(r, "phr.key");
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(vr_open_as(r, "phr", false), C2_E_ACCESS);
    vr_assert_says(r, "phr.key", "chmod 600");
    assert_int_equal(chmod(path, 0600), 0);
    vr_write_file(r, "phr.key", c2_slice_str("hello\n"));
    assert_int_equal(vr_open_as(r, "phr", false), C2_E_CONFIG);
    vr_assert_says(r, "is not a key file", "");
    vr_write_file(r, "phr.key", c2_slice_str("C2FS-KEY 2\n"));
    assert_int_equal(vr_open_as(r, "phr", false), C2_E_VERSION);
    vr_assert_says(r, "newer", "");
    struct c2_buf bad = { 0 };
    c2_buf_append(&bad, good.data, good.len);
    bad.data[bad.len - 10] = bad.data[bad.len - 10] == 'A' ? 'B' : 'A';
    vr_write_file(r, "phr.key", c2_buf_slice(&bad));
    assert_int_equal(vr_open_as(r, "phr", false), C2_E_DAMAGED);
    vr_assert_says(r, "damaged", "recovery kit");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(vr_open_as(r, "phr", false), C2_E_KEY);
    vr_assert_says(r, "is not there", "recovery kit");
    c2_buf_done(&bad);
    c2_buf_done(&good);
    c2_free(path);
    vr_free(r);
}

static void
open__refuses_another_volumes_key_file_or_cache_dir(void **state)
{
    (void)state;
    struct volume_rig *r = vr_new();
    vr_conf_volume(r, "other");
    vr_format(r);
    struct volume_format o = vr_format_init(r);
    o.volume = "other";
    o.uuid = NULL;
    assert_int_equal(vr_format_run(r, &o), C2_E_OK);
    vr_open_ok(r); /* makes the device key */
    vr_close(r);
    char *key = vr_path(r, "other.key"), *cache = vr_path(r, "phr.cache");
    vr_conf_set(r, "volume", "phr", "key_file", key);
    assert_int_equal(vr_open_as(r, "phr", false), C2_E_KEY);
    vr_assert_says(r, "belongs to another volume (\"other\")", "key_file");
    vr_conf_set(r, "volume", "other", "cache_dir", cache);
    assert_int_equal(vr_open_as(r, "other", false), C2_E_KEY);
    vr_assert_says(r, "phr.cache belongs to another volume", "cache_dir");
    c2_free(key);
    c2_free(cache);
    vr_free(r);
}

static void
open__refuses_bad_configurations(void **state)
{
    (void)state;
    struct volume_rig *r = vr_new();
    assert_int_equal(vr_open_as(r, "nobody", false), C2_E_NOT_FOUND);
    vr_assert_says(r, "[volume \"nobody\"]", "c2fsctl config");
    vr_conf_add(r, "[volume \"less\"]\nmetadata = local:%s/x\nkey_file = %s/y\n",
                test_env_dir(r->env), test_env_dir(r->env));
    assert_int_equal(vr_open_as(r, "less", false), C2_E_CONFIG);
    vr_assert_says(r, "cache_dir", "cache_dir");
    vr_format(r);
    char *nowhere = c2_asprintf("local:%s/nowhere", test_env_dir(r->env));
    vr_conf_set(r, "volume", "phr", "metadata", nowhere);
    assert_int_equal(vr_open_as(r, "phr", false), C2_E_NOT_FOUND);
    vr_assert_says(r, "phr", "c2fsctl format phr");
    assert_false(vr_exists(r, "nowhere"));
    c2_free(nowhere);
    vr_free(r);
}

static void
open__refuses_a_store_without_a_volume(void **state)
{
    (void)state;
    struct volume_rig *r = vr_new();
    vr_format(r);
    char *other = c2_asprintf("local:%s/empty", test_env_dir(r->env));
    vr_conf_set(r, "volume", "phr", "metadata", other);
    coord_close(vr_store_open(r, true));
    test_env_run_idle(r->env);
    assert_int_equal(vr_open_as(r, "phr", false), C2_E_NOT_FOUND);
    vr_assert_says(r, "holds no volume", "format");
    c2_free(other);
    vr_free(r);
}

static void
open__refuses_damaged_and_newer_metadata(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        size_t at;
        enum c2_err err;
        const char *text;
    } rows[] = {
        { "V", 0, C2_E_DAMAGED, "damaged" },  { "V", 7, C2_E_VERSION, "newer" },
        { "V", 11, C2_E_VERSION, "newer" },   { "V", 12, C2_E_KEY, "another volume" },
        { "V", 30, C2_E_KEY, "another" },     { "C", 0, C2_E_DAMAGED, "configuration" },
        { "C", 30, C2_E_DAMAGED, "damaged" },
    };
    struct volume_rig *r = vr_new();
    vr_format(r);
    for (size_t i = 0; i < C2_ARRAY_LEN(rows); i++) {
        struct c2_buf was;
        vr_store_flip(r, rows[i].key, rows[i].at, &was);
        enum c2_err err = vr_open_as(r, "phr", false);
        if (err != rows[i].err || strstr(r->error.text, rows[i].text) == NULL)
            fail_msg("row %zu: %s: %s", i, c2_err_name(err), r->error.text);
        vr_store_put(r, rows[i].key, c2_buf_slice(&was));
        c2_buf_done(&was);
    }
    vr_open_ok(r);
    vr_free(r);
}

static void
open__refuses_providers_that_the_file_lacks_or_has_elsewhere(void **state)
{
    (void)state;
    struct volume_rig *r = vr_new();
    vr_format(r);
    char *url = c2_asprintf("dir:%s/moved", test_env_dir(r->env));
    vr_conf_set(r, "provider", "p2", "url", url);
    assert_int_equal(vr_open_as(r, "phr", false), C2_E_CONFIG);
    vr_assert_says(r, "moved", "provider replace");
    c2_conf_free(r->conf);
    r->conf = c2_conf_new();
    vr_conf_volume(r, "phr");
    vr_conf_provider(r, "p1");
    assert_int_equal(vr_open_as(r, "phr", false), C2_E_CONFIG);
    vr_assert_says(r, "\"p2\"", "[provider \"p2\"]");
    c2_free(url);
    vr_free(r);
}

static void
open__works_while_a_provider_does_not(void **state)
{
    (void)state;
    struct volume_rig *r = vr_new();
    vr_format(r);
    vr_conf_set(r, "provider", "p2", "fault", "error:100%");
    vr_open_ok(r);
    vr_free(r);
}

static void
open__refuses_a_damaged_device_key(void **state)
{
    (void)state;
    struct volume_rig *r = vr_new();
    vr_format(r);
    vr_open_ok(r);
    uint8_t journal_key[2][C2_KEY_LEN], cache_key[C2_KEY_LEN];
    volume_device_key(r->volume, "journal", journal_key[0]);
    volume_device_key(r->volume, "cache", cache_key);
    assert_memory_not_equal(journal_key[0], cache_key, C2_KEY_LEN);
    vr_close(r);
    struct c2_buf good = vr_read_file(r, "phr.cache/device.key");
    for (size_t i = 0; i < good.len; i += 5) {
        good.data[i] ^= 1;
        vr_write_file(r, "phr.cache/device.key", c2_buf_slice(&good));
        enum c2_err err = vr_open_as(r, "phr", false);
        assert_true(err == C2_E_DAMAGED || err == C2_E_KEY || err == C2_E_VERSION);
        good.data[i] ^= 1;
    }
    vr_write_file(r, "phr.cache/device.key", c2_slice(good.data, good.len - 1));
    assert_int_equal(vr_open_as(r, "phr", false), C2_E_DAMAGED);
    vr_write_file(r, "phr.cache/device.key", c2_buf_slice(&good));
    vr_open_ok(r);
    volume_device_key(r->volume, "journal", journal_key[1]);
    assert_memory_equal(journal_key[0], journal_key[1], C2_KEY_LEN); /* the same device */
    c2_buf_done(&good);
    vr_free(r);
}

static enum c2_err
fail_mkdir(void *arg, const struct c2_disk_req *q)
{
    (void)arg;
    return q->verb == C2_DISK_MKDIR ? C2_E_ACCESS : C2_E_OK;
}

static void
open__reports_a_cache_dir_that_cannot_be_used(void **state)
{
    (void)state;
    struct volume_rig *r = vr_new();
    vr_format(r);
    test_env_set_disk_hook(r->env, fail_mkdir, NULL);
    assert_int_equal(vr_open_as(r, "phr", false), C2_E_ACCESS);
    vr_assert_says(r, "phr.cache", "writable");
    test_env_set_disk_hook(r->env, NULL, NULL);
    vr_open_ok(r);
    vr_free(r);
}

/* ---- session and lock ------------------------------------------------------------------------ */

static void
open__is_busy_while_somebody_has_the_store(void **state)
{
    (void)state;
    struct volume_rig *r = vr_new();
    vr_format(r);
    vr_open_ok(r);
    struct volume *first = r->volume;
    assert_int_equal(vr_open_as(r, "phr", false), C2_E_BUSY);
    vr_assert_says(r, "phr", "c2fsctl mounts");
    r->volume = first;
    vr_close(r);
    vr_open_ok(r);
    vr_free(r);
}

static void
open__takes_over_from_a_process_that_was_killed(void **state)
{
    (void)state;
    struct volume_rig *r = vr_new();
    vr_format(r);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        enum c2_err err = vr_open_as(r, "phr", false);
        _exit(err == C2_E_OK ? 0 : 1); /* without a word to anybody */
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    uint64_t version;
    struct coord *c = vr_store_open(r, false);
    struct c2_buf lock = vr_store_get(r, c, "S/mount", &version);
    assert_true(version > 0); /* its lock is still there */
    c2_buf_done(&lock);
    coord_close(c);
    test_env_run_ready(r->env);
    vr_open_ok(r);
    assert_true(r->volume->fence_token > version);
    vr_free(r);
}

static void
session__lives_as_long_as_the_volume_is_open(void **state)
{
    (void)state;
    struct volume_rig *r = vr_new();
    uint64_t version;
    vr_format(r);
    vr_open_ok(r);
    test_env_run_for(r->env, 3600 * C2_NS_PER_S);
    struct c2_buf lock = vr_store_get(r, r->volume->coord, "S/mount", &version);
    assert_int_equal(version, r->volume->fence_token);
    assert_false(r->volume->is_lost);
    c2_buf_done(&lock);
    vr_free(r);
}

static void
count_lost(struct volume *v, void *arg)
{
    assert_true(v->is_lost);
    ++*(unsigned *)arg;
}

static void
session__that_ends_is_replaced(void **state)
{
    (void)state;
    struct volume_rig *r = vr_new();
    unsigned lost = 0;
    uint64_t version;
    vr_format(r);
    vr_open_ok(r);
    r->volume->lost = count_lost;
    r->volume->lost_arg = &lost;
    struct vr_call x = { .r = { .verb = COORD_SESSION_CLOSE, .session = r->volume->session } };
    assert_int_equal(vr_call(r, r->volume->coord, &x), C2_E_OK);
    coord_req_done(&x.r);
    test_env_run_for(r->env, 60 * C2_NS_PER_S);
    assert_int_equal(lost, 0);
    struct c2_buf lock = vr_store_get(r, r->volume->coord, "S/mount", &version);
    assert_true(version > r->volume->fence_token);
    c2_buf_done(&lock);
    vr_free(r);
}

static void
close__while_a_keepalive_is_in_flight_is_clean(void **state)
{
    (void)state;
    for (unsigned steps = 0; steps < 6; steps++) {
        struct volume_rig *r = vr_new();
        vr_format(r);
        vr_open_ok(r);
        test_env_run_for(r->env, VOLUME_SESSION_TTL_NS / 3 - 1);
        for (unsigned i = 0; i < steps; i++)
            test_env_step(r->env);
        vr_free(r);
    }
}

static void
open__read_only_takes_no_lock(void **state)
{
    (void)state;
    struct volume_rig *r = vr_new();
    uint64_t version;
    vr_format(r);
    struct volume_open o = { .env = test_env_env(r->env),
                             .conf = r->conf,
                             .volume = "phr",
                             .read_only = true,
                             .done = vr_opened,
                             .priv = &r->flag };
    r->flag = false;
    volume_open_start(&o);
    test_env_run_until(r->env, &r->flag);
    assert_int_equal(o.error.err, C2_E_OK);
    r->volume = o.volume_out;
    struct c2_buf lock = vr_store_get(r, r->volume->coord, "S/mount", &version);
    assert_int_equal(version, 0);
    assert_false(vr_exists(r, "phr.cache"));
    c2_buf_done(&lock);
    vr_free(r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open__takes_the_passphrase_from_file_command_or_terminal),
        cmocka_unit_test(open__refuses_a_wrong_passphrase),
        cmocka_unit_test(open__refuses_bad_key_files),
        cmocka_unit_test(open__refuses_another_volumes_key_file_or_cache_dir),
        cmocka_unit_test(open__refuses_bad_configurations),
        cmocka_unit_test(open__refuses_a_store_without_a_volume),
        cmocka_unit_test(open__refuses_damaged_and_newer_metadata),
        cmocka_unit_test(open__refuses_providers_that_the_file_lacks_or_has_elsewhere),
        cmocka_unit_test(open__works_while_a_provider_does_not),
        cmocka_unit_test(open__refuses_a_damaged_device_key),
        cmocka_unit_test(open__reports_a_cache_dir_that_cannot_be_used),
        cmocka_unit_test(open__is_busy_while_somebody_has_the_store),
        cmocka_unit_test(open__takes_over_from_a_process_that_was_killed),
        cmocka_unit_test(session__lives_as_long_as_the_volume_is_open),
        cmocka_unit_test(session__that_ends_is_replaced),
        cmocka_unit_test(close__while_a_keepalive_is_in_flight_is_clean),
        cmocka_unit_test(open__read_only_takes_no_lock),
    };
    unsetenv("C2FS_PASSPHRASE_FILE");
    if (c2_crypto_init() != C2_E_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
