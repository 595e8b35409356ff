/* SPDX-License-Identifier: MIT */
#include "tests/lib/volume_rig.h"

#include "base/alloc.h"
#include "base/os_file.h"
#include "metadata/registry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- a machine with a configuration and four folders as providers ---------------------------- */

const uint8_t vr_uuid[16] = { 0xab, 0xcd, 0xef, 0x01, 5 };

void
vr_conf_add(struct volume_rig *r, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (c2_conf_load_text(r->conf, c2_slice_str(text), "test") != C2_E_OK)
        fail_msg("%s", c2_conf_error(r->conf));
}

void
vr_conf_set(struct volume_rig *r, const char *section, const char *name, const char *key,
            const char *value)
{
    if (c2_conf_set(r->conf, section, name, key, value, "test") != C2_E_OK)
        fail_msg("%s", c2_conf_error(r->conf));
}

void
vr_conf_volume(struct volume_rig *r, const char *name)
{
    const char *dir = test_env_dir(r->env);
    vr_conf_add(r,
                "[volume \"%s\"]\nmetadata = local:%s/%s.meta\nkey_file = %s/%s.key\n"
                "cache_dir = %s/%s.cache\n",
                name, dir, name, dir, name, dir, name);
}

void
vr_conf_provider(struct volume_rig *r, const char *name)
{
    vr_conf_add(r, "[provider \"%s\"]\nurl = dir:%s/%s\nretries = 0\n", name, test_env_dir(r->env),
                name);
    char *folder = test_env_path(r->env, name);
    if (!test_disk_exists(folder))
        assert_int_equal(mkdir(folder, 0700), 0);
    c2_free(folder);
}

struct volume_rig *
vr_new(void)
{
    static const char *const names[] = { "p1", "p2", "p3", "p4" };
    struct volume_rig *r = c2_calloc(1, sizeof *r);
    r->env = test_env_new(11);
    r->conf = c2_conf_new();
    vr_conf_volume(r, "phr");
    for (size_t i = 0; i < 4; i++)
        vr_conf_provider(r, names[i]);
    return r;
}

static void
set_flag(void *arg)
{
    *(bool *)arg = true;
}

void
vr_close(struct volume_rig *r)
{
    r->flag = false;
    volume_close(r->volume, set_flag, &r->flag);
    assert_false(r->flag);
    test_env_run_until(r->env, &r->flag);
    r->volume = NULL;
}

void
vr_free(struct volume_rig *r)
{
    if (r->volume != NULL)
        vr_close(r);
    test_env_run_idle(r->env);
    unsetenv("C2FS_PASSPHRASE_FILE");
    c2_conf_free(r->conf);
    c2_buf_done(&r->kit);
    test_env_free(r->env);
    c2_free(r);
}

enum c2_err
vr_ask(void *arg, const char *prompt, struct c2_buf *out)
{
    struct volume_rig *r = arg;
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

struct volume_format
vr_format_init(struct volume_rig *r)
{
    return (struct volume_format){ .env = test_env_env(r->env),
                                   .conf = r->conf,
                                   .volume = "phr",
                                   .no_passphrase = true,
                                   .uuid = vr_uuid,
                                   .put_root = put_root,
                                   .done = formatted };
}

enum c2_err
vr_format_run(struct volume_rig *r, struct volume_format *o)
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

void
vr_format(struct volume_rig *r)
{
    struct volume_format o = vr_format_init(r);
    if (vr_format_run(r, &o) != C2_E_OK)
        fail_msg("%s", o.error.text);
}

void
vr_opened(struct volume_open *o)
{
    *(bool *)o->priv = true;
}

enum c2_err
vr_open_as(struct volume_rig *r, const char *volume, bool terminal)
{
    struct volume_open o = { .env = test_env_env(r->env),
                             .conf = r->conf,
                             .volume = volume,
                             .holder = "test, pid 1",
                             .done = vr_opened };
    o.ask = terminal ? vr_ask : NULL;
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

void
vr_open_ok(struct volume_rig *r)
{
    if (vr_open_as(r, "phr", false) != C2_E_OK)
        fail_msg("%s", r->error.text);
}

void
vr_assert_says(struct volume_rig *r, const char *text, const char *hint)
{
    if (strstr(r->error.text, text) == NULL || strstr(r->error.hint, hint) == NULL)
        fail_msg("\"%s\" / \"%s\"", r->error.text, r->error.hint);
}

/* ---- direct access to the store -------------------------------------------------------------- */

static void
call_done(struct coord_req *r)
{
    C2_CONTAINER_OF(r, struct vr_call, r)->done = true;
}

enum c2_err
vr_call(struct volume_rig *r, struct coord *c, struct vr_call *x)
{
    x->r.done = call_done;
    x->r.deadline_ns = C2_NEVER;
    coord_submit(c, &x->r);
    test_env_run_until(r->env, &x->done);
    return x->r.err;
}

struct coord *
vr_store_open(struct volume_rig *r, bool create)
{
    struct coord *c;
    char *error = NULL;
    const char *url = c2_conf_str(r->conf, "volume", "phr", "metadata");
    if (coord_open(test_env_env(r->env), url, create, &c, &error) != C2_E_OK)
        fail_msg("%s", error);
    return c;
}

/* The value of a key; absent gives an empty buffer. */
struct c2_buf
vr_store_get(struct volume_rig *r, struct coord *c, const char *key, uint64_t *ret_version)
{
    struct c2_slice k = c2_slice_str(key);
    struct vr_call x = { .r = { .verb = COORD_GET, .keys = &k, .nkeys = 1 } };
    struct c2_buf out = { 0 };
    assert_int_equal(vr_call(r, c, &x), C2_E_OK);
    c2_buf_append(&out, x.r.entries[0].value.data, x.r.entries[0].value.len);
    *ret_version = x.r.entries[0].version;
    coord_req_done(&x.r);
    return out;
}

void
vr_store_put(struct volume_rig *r, const char *key, struct c2_slice value)
{
    struct coord *c = vr_store_open(r, false);
    struct coord_op op = { .kind = COORD_PUT, .key = c2_slice_str(key), .value = value };
    struct vr_call x = { .r = { .verb = COORD_TXN, .ops = &op, .nops = 1 } };
    assert_int_equal(vr_call(r, c, &x), C2_E_OK);
    coord_req_done(&x.r);
    coord_close(c);
    test_env_run_idle(r->env);
}

/* Changes a byte of a value; the old one is kept in *was. */
void
vr_store_flip(struct volume_rig *r, const char *key, size_t at, struct c2_buf *was)
{
    uint64_t version;
    struct coord *c = vr_store_open(r, false);
    *was = vr_store_get(r, c, key, &version);
    coord_close(c);
    test_env_run_idle(r->env);
    assert_true(at < was->len);
    was->data[at] ^= 1;
    vr_store_put(r, key, c2_buf_slice(was));
    was->data[at] ^= 1;
}

char *
vr_path(struct volume_rig *r, const char *name)
{
    return test_env_path(r->env, name);
}

bool
vr_exists(struct volume_rig *r, const char *name)
{
    char *path = vr_path(r, name);
    bool there = test_disk_exists(path);
    c2_free(path);
    return there;
}

void
vr_write_file(struct volume_rig *r, const char *name, struct c2_slice data)
{
    char *path = vr_path(r, name);
    test_disk_write_file(path, data.data, data.len);
    assert_int_equal(chmod(path, 0600), 0);
    c2_free(path);
}

struct c2_buf
vr_read_file(struct volume_rig *r, const char *name)
{
    struct c2_buf b = { 0 };
    char *path = vr_path(r, name);
    assert_int_equal(c2_os_read_file(path, 1u << 20, &b, NULL), C2_E_OK);
    c2_free(path);
    return b;
}
