/* SPDX-License-Identifier: MIT */
#include "fs/volume_impl.h"

#include "backends/registry.h"
#include "base/alloc.h"
#include "base/os_file.h"
#include "base/str.h"
#include "base/wire.h"
#include "fs/key_file.h"
#include "metadata/registry.h"
#include "tests/lib/test_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a machine with a configuration and four folders as providers ---------------------------- */

struct rig {
    struct test_env *env;
    struct c2_conf *conf;
    const char *answers[4]; /* what is typed, in turn; NULL = gives up */
    unsigned asked;
    char last_prompt[128];
    void (*on_ask)(struct rig *r);
    struct volume *volume;
    struct volume_error error;
    struct c2_buf kit;
    bool flag;
};

static const uint8_t uuid[16] = { 0xab, 0xcd, 0xef, 0x01, 5 };

static void conf_add(struct rig *r, const char *fmt, ...) C2_PRINTF(2, 3);

static void
conf_add(struct rig *r, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (c2_conf_load_text(r->conf, c2_slice_str(text), "test") != C2_E_OK)
        fail_msg("%s", c2_conf_error(r->conf));
}

static void
conf_set(struct rig *r, const char *section, const char *name, const char *key, const char *value)
{
    if (c2_conf_set(r->conf, section, name, key, value, "test") != C2_E_OK)
        fail_msg("%s", c2_conf_error(r->conf));
}

static void
conf_volume(struct rig *r, const char *name)
{
    const char *dir = test_env_dir(r->env);
    conf_add(r,
             "[volume \"%s\"]\nmetadata = local:%s/%s.meta\nkey_file = %s/%s.key\n"
             "cache_dir = %s/%s.cache\n",
             name, dir, name, dir, name, dir, name);
}

static void
conf_provider(struct rig *r, const char *name)
{
    conf_add(r, "[provider \"%s\"]\nurl = dir:%s/%s\nretries = 0\n", name, test_env_dir(r->env),
             name);
    char *folder = test_env_path(r->env, name);
    if (!test_disk_exists(folder))
        assert_int_equal(mkdir(folder, 0700), 0);
    c2_free(folder);
}

static struct rig *
rig_new(void)
{
    static const char *const names[] = { "p1", "p2", "p3", "p4" };
    struct rig *r = c2_calloc(1, sizeof *r);
    r->env = test_env_new(11);
    r->conf = c2_conf_new();
    conf_volume(r, "phr");
    for (size_t i = 0; i < 4; i++)
        conf_provider(r, names[i]);
    return r;
}

static void
set_flag(void *arg)
{
    *(bool *)arg = true;
}

static void
rig_close(struct rig *r)
{
    r->flag = false;
    volume_close(r->volume, set_flag, &r->flag);
    assert_false(r->flag);
    test_env_run_until(r->env, &r->flag);
    r->volume = NULL;
}

static void
rig_free(struct rig *r)
{
    if (r->volume != NULL)
        rig_close(r);
    test_env_run_idle(r->env);
    unsetenv("C2FS_PASSPHRASE_FILE");
    c2_conf_free(r->conf);
    c2_buf_done(&r->kit);
    test_env_free(r->env);
    c2_free(r);
}

static enum c2_err
ask(void *arg, const char *prompt, struct c2_buf *out)
{
    struct rig *r = arg;
    snprintf(r->last_prompt, sizeof r->last_prompt, "%s", prompt);
    if (r->on_ask != NULL)
        r->on_ask(r);
    const char *answer = r->asked < 4 ? r->answers[r->asked] : NULL;
    r->asked++;
    if (answer == NULL)
        return C2_E_CANCELED;
    c2_buf_puts(out, answer);
    return C2_E_OK;
}

/* A stand-in for the root directory. */
static void
put_root(void *arg, struct keys *keys, struct c2_buf *backing, struct coord_op *ops, size_t ops_max,
         size_t *ret_nops)
{
    static const struct ck key = { .bytes = "I-root", .len = 6 };
    (void)arg;
    assert_true(ops_max >= 2);
    keys_seal(keys, ck_slice(&key), c2_slice_str("root directory"), backing);
    ops[0] = (struct coord_op){ .kind = COORD_PUT,
                                .key = ck_slice(&key),
                                .value = c2_buf_slice(backing) };
    *ret_nops = 1;
}

static void
formatted(struct volume_format *o)
{
    *(bool *)o->priv = true;
}

static struct volume_format
format_init(struct rig *r)
{
    return (struct volume_format){ .env = test_env_env(r->env),
                                   .conf = r->conf,
                                   .volume = "phr",
                                   .no_passphrase = true,
                                   .uuid = uuid,
                                   .put_root = put_root,
                                   .done = formatted };
}

static enum c2_err
format_run(struct rig *r, struct volume_format *o)
{
    r->flag = false;
    o->priv = &r->flag;
    volume_format_start(o);
    assert_false(r->flag);
    test_env_run_until(r->env, &r->flag);
    r->error = o->error;
    assert_int_equal(o->error.err != C2_E_OK, o->error.text[0] != '\0');
    return o->error.err;
}

static void
format(struct rig *r)
{
    struct volume_format o = format_init(r);
    if (format_run(r, &o) != C2_E_OK)
        fail_msg("%s", o.error.text);
}

static void
opened(struct volume_open *o)
{
    *(bool *)o->priv = true;
}

static enum c2_err
open_as(struct rig *r, const char *volume, bool terminal)
{
    struct volume_open o = { .env = test_env_env(r->env),
                             .conf = r->conf,
                             .volume = volume,
                             .holder = "test, pid 1",
                             .done = opened };
    o.ask = terminal ? ask : NULL;
    o.ask_arg = r;
    r->flag = false;
    o.priv = &r->flag;
    volume_open_start(&o);
    assert_false(r->flag);
    test_env_run_until(r->env, &r->flag);
    assert_int_equal(o.error.err == C2_E_OK, o.volume_out != NULL);
    assert_int_equal(o.error.err != C2_E_OK, o.error.text[0] != '\0');
    r->error = o.error;
    r->volume = o.volume_out;
    return o.error.err;
}

static void
open_ok(struct rig *r)
{
    if (open_as(r, "phr", false) != C2_E_OK)
        fail_msg("%s", r->error.text);
}

static void
assert_says(struct rig *r, const char *text, const char *hint)
{
    if (strstr(r->error.text, text) == NULL || strstr(r->error.hint, hint) == NULL)
        fail_msg("\"%s\" / \"%s\"", r->error.text, r->error.hint);
}

/* ---- direct access to the store -------------------------------------------------------------- */

/* The implementation uses priv, so the flag is found by the address of the request. */
struct call {
    struct coord_req r;
    bool done;
};

static void
call_done(struct coord_req *r)
{
    C2_CONTAINER_OF(r, struct call, r)->done = true;
}

static enum c2_err
call(struct rig *r, struct coord *c, struct call *x)
{
    x->r.done = call_done;
    x->r.deadline_ns = C2_NEVER;
    coord_submit(c, &x->r);
    test_env_run_until(r->env, &x->done);
    return x->r.err;
}

static struct coord *
store_open_raw(struct rig *r, bool create)
{
    struct coord *c;
    char *error = NULL;
    const char *url = c2_conf_str(r->conf, "volume", "phr", "metadata");
    if (coord_open(test_env_env(r->env), url, create, &c, &error) != C2_E_OK)
        fail_msg("%s", error);
    return c;
}

/* The value of a key; absent gives an empty buffer. */
static struct c2_buf
store_get(struct rig *r, struct coord *c, const char *key, uint64_t *ret_version)
{
    struct c2_slice k = c2_slice_str(key);
    struct call x = { .r = { .verb = COORD_GET, .keys = &k, .nkeys = 1 } };
    struct c2_buf out = { 0 };
    assert_int_equal(call(r, c, &x), C2_E_OK);
    c2_buf_append(&out, x.r.entries[0].value.data, x.r.entries[0].value.len);
    *ret_version = x.r.entries[0].version;
    coord_req_done(&x.r);
    return out;
}

static void
store_put(struct rig *r, const char *key, struct c2_slice value)
{
    struct coord *c = store_open_raw(r, false);
    struct coord_op op = { .kind = COORD_PUT, .key = c2_slice_str(key), .value = value };
    struct call x = { .r = { .verb = COORD_TXN, .ops = &op, .nops = 1 } };
    assert_int_equal(call(r, c, &x), C2_E_OK);
    coord_req_done(&x.r);
    coord_close(c);
    test_env_run_idle(r->env);
}

/* Changes a byte of a value; the old one is kept in *was. */
static void
store_flip(struct rig *r, const char *key, size_t at, struct c2_buf *was)
{
    uint64_t version;
    struct coord *c = store_open_raw(r, false);
    *was = store_get(r, c, key, &version);
    coord_close(c);
    test_env_run_idle(r->env);
    assert_true(at < was->len);
    was->data[at] ^= 1;
    store_put(r, key, c2_buf_slice(was));
    was->data[at] ^= 1;
}

static char *
path_of(struct rig *r, const char *name)
{
    return test_env_path(r->env, name);
}

static bool
exists(struct rig *r, const char *name)
{
    char *path = path_of(r, name);
    bool there = test_disk_exists(path);
    c2_free(path);
    return there;
}

static void
write_file(struct rig *r, const char *name, struct c2_slice data)
{
    char *path = path_of(r, name);
    test_disk_write_file(path, data.data, data.len);
    assert_int_equal(chmod(path, 0600), 0);
    c2_free(path);
}

static struct c2_buf
read_file(struct rig *r, const char *name)
{
    struct c2_buf b = { 0 };
    char *path = path_of(r, name);
    assert_int_equal(c2_os_read_file(path, 1u << 20, &b, NULL), C2_E_OK);
    c2_free(path);
    return b;
}

/* ---- codecs -------------------------------------------------------------------------------- */

static struct volume_config
some_config(void)
{
    struct volume_config c = { .format_version = 1, .f = 1, .n = 5, .keyless = true };
    memcpy(c.uuid, uuid, sizeof c.uuid);
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

static void
config__refuses_impossible_values(void **state)
{
    (void)state;
    static const struct {
        size_t at; /* version 0, flags 2, format 4, uuid 8, name 24 (4 + 3), f 31, n 32, epochs 33,
                    * first seat: state 45, name length 46 */
        uint8_t value;
        enum c2_err err;
    } rows[] = {
        { 0, 2, C2_E_VERSION }, { 0, 0, C2_E_PARSE },   { 2, 4, C2_E_VERSION },
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

/* ---- format and open ------------------------------------------------------------------------ */

static void
format__makes_a_volume_that_opens(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    struct volume_format o = format_init(r);
    uint64_t version;
    o.ret_recovery_kit = &r->kit;
    assert_int_equal(format_run(r, &o), C2_E_OK);
    assert_int_equal(o.config.n, 4);
    assert_int_equal(o.config.f, 1);
    assert_string_equal(o.config.seats[2].provider, "p3");
    open_ok(r);
    struct volume *v = r->volume;
    assert_string_equal(v->config.name, "phr");
    assert_memory_equal(v->config.uuid, uuid, 16);
    assert_int_equal(ds_client_n(v->ds), 4);
    for (size_t i = 0; i < 4; i++)
        assert_non_null(v->providers[i]);
    struct c2_buf sealed = store_get(r, v->coord, "I-root", &version), plain = { 0 };
    assert_int_equal(keys_open(v->keys, c2_slice_str("I-root"), c2_buf_slice(&sealed), &plain),
                     C2_E_OK);
    assert_true(c2_slice_equal(c2_buf_slice(&plain), c2_slice_str("root directory")));
    struct c2_buf lock = store_get(r, v->coord, "S/mount", &version);
    assert_int_equal(version, v->fence_token);
    assert_true(v->fence_token > 0);
    c2_buf_done(&sealed);
    c2_buf_done(&plain);
    c2_buf_done(&lock);
    rig_close(r);
    struct coord *c = store_open_raw(r, false);
    lock = store_get(r, c, "S/mount", &version);
    assert_int_equal(version, 0); /* given up */
    c2_buf_done(&lock);
    coord_close(c);
    rig_free(r);
}

static void
format__leaves_nothing_but_key_and_store(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    struct stat st;
    format(r);
    char *key = path_of(r, "phr.key");
    assert_int_equal(stat(key, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    c2_free(key);
    struct provider *p;
    assert_int_equal(prov_open(test_env_env(r->env), NULL, r->conf, "p1", &p, NULL), C2_E_OK);
    prov_close(p);
    char *folder = path_of(r, "p1/v1/abcdef01/probe");
    struct c2_buf names = { 0 };
    if (test_disk_exists(folder))
        assert_int_equal(c2_os_list_dir(folder, &names), C2_E_OK);
    assert_int_equal(names.len, 0); /* the probe cleaned up */
    c2_buf_done(&names);
    c2_free(folder);
    assert_false(exists(r, "phr.cache/device.key"));
    rig_free(r);
}

static void
format__recovery_kit_restores_the_key(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    struct volume_format o = format_init(r);
    struct key_file info;
    uint8_t key[C2_KEY_LEN];
    struct c2_buf text = { 0 };
    o.ret_recovery_kit = &r->kit;
    assert_int_equal(format_run(r, &o), C2_E_OK);
    assert_int_equal(key_recovery_kit_decode(c2_buf_slice(&r->kit), &info, key), C2_E_OK);
    assert_int_equal(key_file_encode(&info, key, NULL, &text), C2_E_OK);
    write_file(r, "phr.key", c2_buf_slice(&text));
    open_ok(r);
    c2_buf_done(&text);
    rig_free(r);
}

static void
format__dry_run_checks_and_writes_nothing(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    struct volume_format o = format_init(r);
    o.dry_run = true;
    assert_int_equal(format_run(r, &o), C2_E_OK);
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
    conf_set(r, "provider", "p3", "fault", "error:100%");
    assert_int_not_equal(format_run(r, &o), C2_E_OK);
    assert_says(r, "\"p3\"", "provider test p3");
    rig_free(r);
}

static void
format__with_passphrase_asks_twice_and_open_once(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    struct volume_format o = format_init(r);
    o.no_passphrase = false;
    o.ask = ask;
    o.ask_arg = r;
    r->answers[0] = r->answers[1] = r->answers[2] = "correct horse";
    assert_int_equal(format_run(r, &o), C2_E_OK);
    assert_int_equal(r->asked, 2);
    assert_int_equal(open_as(r, "phr", true), C2_E_OK);
    assert_int_equal(r->asked, 3);
    assert_non_null(strstr(r->last_prompt, "phr"));
    rig_free(r);
}

static void
format__takes_an_empty_store_that_an_interrupted_one_left(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    coord_close(store_open_raw(r, true));
    test_env_run_idle(r->env);
    format(r);
    open_ok(r);
    rig_free(r);
}

static void
break_metadata_folder(struct rig *r)
{
    write_file(r, "phr.meta", c2_slice_str("in the way"));
}

static void
format__removes_its_key_file_when_the_store_cannot_be_made(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    struct volume_format o = format_init(r);
    o.no_passphrase = false;
    o.ask = ask;
    o.ask_arg = r;
    r->answers[0] = r->answers[1] = "correct horse";
    r->on_ask = break_metadata_folder;
    assert_int_not_equal(format_run(r, &o), C2_E_OK);
    assert_false(exists(r, "phr.key"));
    rig_free(r);
}

/* ---- format: bad inputs ---------------------------------------------------------------------- */

struct format_row {
    const char *what;
    void (*prepare)(struct rig *r, struct volume_format *o);
    enum c2_err err;
    const char *text, *hint;
};

static void
bad_name(struct rig *r, struct volume_format *o)
{
    (void)r;
    o->volume = "../phr";
}

static void
no_section(struct rig *r, struct volume_format *o)
{
    (void)r;
    o->volume = "other";
}

static void
no_key_file(struct rig *r, struct volume_format *o)
{
    conf_add(r, "[volume \"other\"]\nmetadata = local:%s/o\ncache_dir = %s/c\n",
             test_env_dir(r->env), test_env_dir(r->env));
    o->volume = "other";
}

static void
no_metadata(struct rig *r, struct volume_format *o)
{
    conf_add(r, "[volume \"other\"]\nkey_file = %s/o\ncache_dir = %s/c\n", test_env_dir(r->env),
             test_env_dir(r->env));
    o->volume = "other";
}

static void
f_too_large(struct rig *r, struct volume_format *o)
{
    (void)r;
    o->f = 3;
}

static void
f_2_with_4(struct rig *r, struct volume_format *o)
{
    (void)r;
    o->f = 2;
}

static const char *const three[] = { "p1", "p2", "p3" };
static const char *const twice[] = { "p1", "p2", "p3", "p1" };
static const char *const with_other[] = { "p1", "p2", "p3", "other" };
static const char *const with_two[] = { "p1", "p2", "other", "third" };

static void
only_three(struct rig *r, struct volume_format *o)
{
    (void)r;
    o->providers = three;
    o->nproviders = 3;
}

static void
one_twice(struct rig *r, struct volume_format *o)
{
    (void)r;
    o->providers = twice;
    o->nproviders = 4;
}

static void
choose_other(struct rig *r, struct volume_format *o, const char *url)
{
    if (url != NULL)
        conf_add(r, "[provider \"other\"]\nurl = %s\n", url);
    o->providers = with_other;
    o->nproviders = 4;
}

static void
unknown_provider(struct rig *r, struct volume_format *o)
{
    choose_other(r, o, NULL);
}

static void
same_folder(struct rig *r, struct volume_format *o)
{
    char *url = c2_asprintf("dir:%s/p2/", test_env_dir(r->env));
    choose_other(r, o, url);
    c2_free(url);
}

static void
folder_inside(struct rig *r, struct volume_format *o)
{
    char *url = c2_asprintf("dir:%s/p2/inner", test_env_dir(r->env));
    choose_other(r, o, url);
    c2_free(url);
}

static void
two_buckets(struct rig *r, struct volume_format *o, const char *a, const char *b)
{
    conf_add(r, "[provider \"other\"]\n%s\n[provider \"third\"]\n%s\n", a, b);
    o->providers = with_two;
    o->nproviders = 4;
}

static void
same_bucket(struct rig *r, struct volume_format *o)
{
    two_buckets(r, o, "url = s3://b/one", "url = s3://b/two");
}

static void
same_bucket_same_endpoint(struct rig *r, struct volume_format *o)
{
    two_buckets(r, o, "url = s3://b\nendpoint = https://s3.example",
                "url = s3://b/x\nendpoint = "
                "https://S3.example/");
}

static void
same_bucket_other_endpoint(struct rig *r, struct volume_format *o)
{
    two_buckets(r, o, "url = s3://b\nendpoint = https://s3.example",
                "url = s3://b\nendpoint = "
                "https://s4.example");
}

static void
key_exists(struct rig *r, struct volume_format *o)
{
    (void)o;
    write_file(r, "phr.key", c2_slice_str("precious"));
}

static void
device_exists(struct rig *r, struct volume_format *o)
{
    (void)o;
    char *dir = path_of(r, "phr.cache");
    assert_int_equal(mkdir(dir, 0700), 0);
    c2_free(dir);
    write_file(r, "phr.cache/device.key", c2_slice_str("precious"));
}

static void
store_exists(struct rig *r, struct volume_format *o)
{
    (void)o;
    coord_close(store_open_raw(r, true));
    test_env_run_idle(r->env);
    store_put(r, "x", c2_slice_str("y"));
}

static void
prefix_taken(struct rig *r, struct volume_format *o)
{
    (void)o;
    struct provider *p = prov_dir_new(test_env_env(r->env), "raw",
                                      c2_conf_str(r->conf, "provider", "p2", "url") + 4);
    char *folder = path_of(r, "p2/v1/abcdef01/o");
    char *command = c2_asprintf("mkdir -p %s", folder);
    assert_int_equal(system(command), 0);
    prov_close(p);
    c2_free(command);
    c2_free(folder);
    write_file(r, "p2/v1/abcdef01/o/object", c2_slice_str("data"));
}

static void
folder_missing(struct rig *r, struct volume_format *o)
{
    (void)o;
    char *path = path_of(r, "p3");
    assert_int_equal(rmdir(path), 0);
    c2_free(path);
}

static void
provider_fails(struct rig *r, struct volume_format *o)
{
    (void)o;
    conf_set(r, "provider", "p4", "fault", "error:100%");
}

static void
provider_corrupts(struct rig *r, struct volume_format *o)
{
    (void)o;
    conf_set(r, "provider", "p4", "fault", "corrupt:100%");
}

static void
no_terminal(struct rig *r, struct volume_format *o)
{
    (void)r;
    o->no_passphrase = false;
}

static void
with_answers(struct rig *r, struct volume_format *o, const char *first, const char *second)
{
    o->no_passphrase = false;
    o->ask = ask;
    o->ask_arg = r;
    r->answers[0] = first;
    r->answers[1] = second;
}

static void
gives_up(struct rig *r, struct volume_format *o)
{
    with_answers(r, o, NULL, NULL);
}

static void
answers_differ(struct rig *r, struct volume_format *o)
{
    with_answers(r, o, "one", "two");
}

static void
answers_nothing(struct rig *r, struct volume_format *o)
{
    with_answers(r, o, "", "");
}

static void
passphrase_file_missing(struct rig *r, struct volume_format *o)
{
    (void)r;
    o->no_passphrase = false;
    setenv("C2FS_PASSPHRASE_FILE", "/nonexistent/passphrase", 1);
}

static void
command_fails(struct rig *r, struct volume_format *o)
{
    o->no_passphrase = false;
    conf_set(r, "volume", "phr", "passphrase_command", "exit 3");
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
        { "store exists", store_exists, C2_E_EXISTS, "holds a volume", "destroy" },
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
        struct rig *r = rig_new();
        struct volume_format o = format_init(r);
        rows[i].prepare(r, &o);
        bool key_before = exists(r, "phr.key"), meta_before = exists(r, "phr.meta");
        enum c2_err err = format_run(r, &o);
        if (err != rows[i].err || strstr(o.error.text, rows[i].text) == NULL ||
            strstr(o.error.hint, rows[i].hint) == NULL)
            fail_msg("%s: %s: \"%s\" / \"%s\"", rows[i].what, c2_err_name(err), o.error.text,
                     o.error.hint);
        assert_int_equal(exists(r, "phr.key"), key_before);
        assert_int_equal(exists(r, "phr.meta"), meta_before);
        rig_free(r);
    }
}

/* ---- open: bad inputs ------------------------------------------------------------------------ */

/* A volume whose key file is sealed with a cheap cost. */
static void
seal_key_file(struct rig *r, const char *passphrase)
{
    static const struct key_file_cost cheap = { .memory_kib = 64, .iterations = 1, .lanes = 1 };
    struct c2_buf text = read_file(r, "phr.key"), sealed = { 0 };
    struct key_file info;
    uint8_t key[C2_KEY_LEN];
    assert_int_equal(key_file_decode(c2_buf_slice(&text), NULL, &info, key), C2_E_OK);
    assert_int_equal(key_file_encode_cost(&info, key, passphrase, &cheap, &sealed), C2_E_OK);
    write_file(r, "phr.key", c2_buf_slice(&sealed));
    c2_buf_done(&text);
    c2_buf_done(&sealed);
}

static void
open__takes_the_passphrase_from_file_command_or_terminal(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    format(r);
    seal_key_file(r, "s3cret word");
    r->answers[0] = "s3cret word";
    assert_int_equal(open_as(r, "phr", true), C2_E_OK);
    assert_int_equal(r->asked, 1);
    rig_close(r);
    conf_set(r, "volume", "phr", "passphrase_command", "echo s3cret word");
    assert_int_equal(open_as(r, "phr", true), C2_E_OK);
    assert_int_equal(r->asked, 1); /* not asked */
    rig_close(r);
    conf_set(r, "volume", "phr", "passphrase_command", "exit 1"); /* not run */
    write_file(r, "pass", c2_slice_str("s3cret word\n"));
    char *path = path_of(r, "pass");
    setenv("C2FS_PASSPHRASE_FILE", path, 1);
    assert_int_equal(open_as(r, "phr", true), C2_E_OK);
    c2_free(path);
    rig_free(r);
}

static void
open__refuses_a_wrong_passphrase(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    format(r);
    seal_key_file(r, "right");
    r->answers[0] = "wrong";
    assert_int_equal(open_as(r, "phr", true), C2_E_KEY);
    assert_says(r, "wrong passphrase", "");
    assert_int_equal(open_as(r, "phr", false), C2_E_KEY);
    assert_says(r, "no terminal", "C2FS_PASSPHRASE_FILE");
    conf_set(r, "volume", "phr", "passphrase_command", "echo");
    assert_int_equal(open_as(r, "phr", true), C2_E_CONFIG);
    assert_says(r, "empty", "");
    rig_free(r);
}

static void
open__refuses_bad_key_files(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    format(r);
    struct c2_buf good = read_file(r, "phr.key");
    char *path = path_of(r, "phr.key");
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(open_as(r, "phr", false), C2_E_ACCESS);
    assert_says(r, "phr.key", "chmod 600");
    assert_int_equal(chmod(path, 0600), 0);
    write_file(r, "phr.key", c2_slice_str("hello\n"));
    assert_int_equal(open_as(r, "phr", false), C2_E_CONFIG);
    assert_says(r, "is not a key file", "");
    write_file(r, "phr.key", c2_slice_str("C2FS-KEY 2\n"));
    assert_int_equal(open_as(r, "phr", false), C2_E_VERSION);
    assert_says(r, "newer", "");
    struct c2_buf bad = { 0 };
    c2_buf_append(&bad, good.data, good.len);
    bad.data[bad.len - 10] = bad.data[bad.len - 10] == 'A' ? 'B' : 'A';
    write_file(r, "phr.key", c2_buf_slice(&bad));
    assert_int_equal(open_as(r, "phr", false), C2_E_DAMAGED);
    assert_says(r, "damaged", "recovery kit");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(open_as(r, "phr", false), C2_E_NOT_FOUND);
    assert_says(r, "is not there", "recovery kit");
    c2_buf_done(&bad);
    c2_buf_done(&good);
    c2_free(path);
    rig_free(r);
}

static void
open__refuses_another_volumes_key_file_or_cache_dir(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    conf_volume(r, "other");
    format(r);
    struct volume_format o = format_init(r);
    o.volume = "other";
    o.uuid = NULL;
    assert_int_equal(format_run(r, &o), C2_E_OK);
    open_ok(r); /* makes the device key */
    rig_close(r);
    char *key = path_of(r, "other.key"), *cache = path_of(r, "phr.cache");
    conf_set(r, "volume", "phr", "key_file", key);
    assert_int_equal(open_as(r, "phr", false), C2_E_KEY);
    assert_says(r, "belongs to another volume (\"other\")", "key_file");
    conf_set(r, "volume", "other", "cache_dir", cache);
    assert_int_equal(open_as(r, "other", false), C2_E_KEY);
    assert_says(r, "phr.cache belongs to another volume", "cache_dir");
    c2_free(key);
    c2_free(cache);
    rig_free(r);
}

static void
open__refuses_bad_configurations(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    assert_int_equal(open_as(r, "nobody", false), C2_E_NOT_FOUND);
    assert_says(r, "[volume \"nobody\"]", "c2fsctl config");
    conf_add(r, "[volume \"less\"]\nmetadata = local:%s/x\nkey_file = %s/y\n", test_env_dir(r->env),
             test_env_dir(r->env));
    assert_int_equal(open_as(r, "less", false), C2_E_CONFIG);
    assert_says(r, "cache_dir", "cache_dir");
    format(r);
    char *nowhere = c2_asprintf("local:%s/nowhere", test_env_dir(r->env));
    conf_set(r, "volume", "phr", "metadata", nowhere);
    assert_int_equal(open_as(r, "phr", false), C2_E_NOT_FOUND);
    assert_says(r, "phr", "c2fsctl format phr");
    assert_false(exists(r, "nowhere"));
    c2_free(nowhere);
    rig_free(r);
}

static void
open__refuses_a_store_without_a_volume(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    format(r);
    char *other = c2_asprintf("local:%s/empty", test_env_dir(r->env));
    conf_set(r, "volume", "phr", "metadata", other);
    coord_close(store_open_raw(r, true));
    test_env_run_idle(r->env);
    assert_int_equal(open_as(r, "phr", false), C2_E_NOT_FOUND);
    assert_says(r, "holds no volume", "format");
    c2_free(other);
    rig_free(r);
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
    struct rig *r = rig_new();
    format(r);
    for (size_t i = 0; i < C2_ARRAY_LEN(rows); i++) {
        struct c2_buf was;
        store_flip(r, rows[i].key, rows[i].at, &was);
        enum c2_err err = open_as(r, "phr", false);
        if (err != rows[i].err || strstr(r->error.text, rows[i].text) == NULL)
            fail_msg("row %zu: %s: %s", i, c2_err_name(err), r->error.text);
        store_put(r, rows[i].key, c2_buf_slice(&was));
        c2_buf_done(&was);
    }
    open_ok(r);
    rig_free(r);
}

static void
open__refuses_providers_that_the_file_lacks_or_has_elsewhere(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    format(r);
    char *url = c2_asprintf("dir:%s/moved", test_env_dir(r->env));
    conf_set(r, "provider", "p2", "url", url);
    assert_int_equal(open_as(r, "phr", false), C2_E_CONFIG);
    assert_says(r, "moved", "provider replace");
    c2_conf_free(r->conf);
    r->conf = c2_conf_new();
    conf_volume(r, "phr");
    conf_provider(r, "p1");
    assert_int_equal(open_as(r, "phr", false), C2_E_CONFIG);
    assert_says(r, "\"p2\"", "[provider \"p2\"]");
    c2_free(url);
    rig_free(r);
}

static void
open__works_while_a_provider_does_not(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    format(r);
    conf_set(r, "provider", "p2", "fault", "error:100%");
    open_ok(r);
    rig_free(r);
}

static void
open__refuses_a_damaged_device_key(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    format(r);
    open_ok(r);
    uint8_t journal_key[2][C2_KEY_LEN], cache_key[C2_KEY_LEN];
    volume_device_key(r->volume, "journal", journal_key[0]);
    volume_device_key(r->volume, "cache", cache_key);
    assert_memory_not_equal(journal_key[0], cache_key, C2_KEY_LEN);
    rig_close(r);
    struct c2_buf good = read_file(r, "phr.cache/device.key");
    for (size_t i = 0; i < good.len; i += 5) {
        good.data[i] ^= 1;
        write_file(r, "phr.cache/device.key", c2_buf_slice(&good));
        enum c2_err err = open_as(r, "phr", false);
        assert_true(err == C2_E_DAMAGED || err == C2_E_KEY || err == C2_E_VERSION);
        good.data[i] ^= 1;
    }
    write_file(r, "phr.cache/device.key", c2_slice(good.data, good.len - 1));
    assert_int_equal(open_as(r, "phr", false), C2_E_DAMAGED);
    write_file(r, "phr.cache/device.key", c2_buf_slice(&good));
    open_ok(r);
    volume_device_key(r->volume, "journal", journal_key[1]);
    assert_memory_equal(journal_key[0], journal_key[1], C2_KEY_LEN); /* the same device */
    c2_buf_done(&good);
    rig_free(r);
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
    struct rig *r = rig_new();
    format(r);
    test_env_set_disk_hook(r->env, fail_mkdir, NULL);
    assert_int_equal(open_as(r, "phr", false), C2_E_ACCESS);
    assert_says(r, "phr.cache", "writable");
    test_env_set_disk_hook(r->env, NULL, NULL);
    open_ok(r);
    rig_free(r);
}

/* ---- session and lock ------------------------------------------------------------------------ */

static void
open__is_busy_while_somebody_has_the_store(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    format(r);
    open_ok(r);
    struct volume *first = r->volume;
    assert_int_equal(open_as(r, "phr", false), C2_E_BUSY);
    assert_says(r, "phr", "c2fsctl mounts");
    r->volume = first;
    rig_close(r);
    open_ok(r);
    rig_free(r);
}

static void
open__takes_over_from_a_process_that_was_killed(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    format(r);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        enum c2_err err = open_as(r, "phr", false);
        _exit(err == C2_E_OK ? 0 : 1); /* without a word to anybody */
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    uint64_t version;
    struct coord *c = store_open_raw(r, false);
    struct c2_buf lock = store_get(r, c, "S/mount", &version);
    assert_true(version > 0); /* its lock is still there */
    c2_buf_done(&lock);
    coord_close(c);
    test_env_run_ready(r->env);
    open_ok(r);
    assert_true(r->volume->fence_token > version);
    rig_free(r);
}

static void
session__lives_as_long_as_the_volume_is_open(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    uint64_t version;
    format(r);
    open_ok(r);
    test_env_run_for(r->env, 3600 * C2_NS_PER_S);
    struct c2_buf lock = store_get(r, r->volume->coord, "S/mount", &version);
    assert_int_equal(version, r->volume->fence_token);
    assert_false(r->volume->is_lost);
    c2_buf_done(&lock);
    rig_free(r);
}

static void
count_lost(struct volume *v, void *arg)
{
    assert_true(v->is_lost);
    ++*(unsigned *)arg;
}

static void
session__that_ends_is_reported_once(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    unsigned lost = 0;
    format(r);
    open_ok(r);
    r->volume->lost = count_lost;
    r->volume->lost_arg = &lost;
    struct call x = { .r = { .verb = COORD_SESSION_CLOSE, .session = r->volume->session } };
    assert_int_equal(call(r, r->volume->coord, &x), C2_E_OK);
    coord_req_done(&x.r);
    test_env_run_for(r->env, 60 * C2_NS_PER_S);
    assert_int_equal(lost, 1);
    rig_free(r);
}

static void
close__while_a_keepalive_is_in_flight_is_clean(void **state)
{
    (void)state;
    for (unsigned steps = 0; steps < 6; steps++) {
        struct rig *r = rig_new();
        format(r);
        open_ok(r);
        test_env_run_for(r->env, VOLUME_SESSION_TTL_NS / 3 - 1);
        for (unsigned i = 0; i < steps; i++)
            test_env_step(r->env);
        rig_free(r);
    }
}

static void
open__read_only_takes_no_lock(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    uint64_t version;
    format(r);
    struct volume_open o = { .env = test_env_env(r->env),
                             .conf = r->conf,
                             .volume = "phr",
                             .read_only = true,
                             .done = opened,
                             .priv = &r->flag };
    r->flag = false;
    volume_open_start(&o);
    test_env_run_until(r->env, &r->flag);
    assert_int_equal(o.error.err, C2_E_OK);
    r->volume = o.volume_out;
    struct c2_buf lock = store_get(r, r->volume->coord, "S/mount", &version);
    assert_int_equal(version, 0);
    assert_false(exists(r, "phr.cache"));
    c2_buf_done(&lock);
    rig_free(r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config__survives_encoding_and_refuses_everything_shorter_or_longer),
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
        cmocka_unit_test(session__that_ends_is_reported_once),
        cmocka_unit_test(close__while_a_keepalive_is_in_flight_is_clean),
        cmocka_unit_test(open__read_only_takes_no_lock),
    };
    unsetenv("C2FS_PASSPHRASE_FILE");
    if (c2_crypto_init() != C2_E_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
