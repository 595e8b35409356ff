/* SPDX-License-Identifier: MIT */
/*
 * Texts of people and of other programs. The first byte says what the rest is: 'C' configuration;
 * 'M' the text after -o; 'F' a specification of faults; 'S' url, endpoint and region of a bucket,
 * zeros between them; 'P' /proc/self/mountinfo; 'R' the state that a replica tells of itself; 'V' a
 * size, duration, number or encoded bytes.
 *
 * Nothing outside is touched: texts that include files are left out.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "backends/fault_spec.h"
#include "backends/http_addr.h"
#include "backends/s3_target.h"
#include "base/alloc.h"
#include "base/conf.h"
#include "base/str.h"
#include "fs/mount_opts.h"
#include "tools/meta.h"
#include "tools/mounts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
configuration(struct c2_slice in)
{
    struct c2_conf *c = c2_conf_new();
    struct c2_buf dump = { 0 };
    enum c2_err err = C2_E_OK;
    if (memmem(in.data, in.len, "include", 7) == NULL)
        err = c2_conf_load_text(c, in, "text");
    C2_ASSERT((err == C2_E_OK) == (*c2_conf_error(c) == '\0'));
    for (size_t i = 0; i < c2_conf_keys_count; i++) {
        const struct c2_conf_key *k = &c2_conf_keys[i];
        const char *name =
            strcmp(k->section, "c2fs") == 0 ? NULL : c2_conf_section(c, k->section, 0);
        if (name != NULL || strcmp(k->section, "c2fs") == 0)
            (void)c2_conf_str(c, k->section, name, k->name);
    }
    c2_conf_dump(c, &dump);
    c2_buf_done(&dump);
    c2_conf_free(c);
}

static void
mount_options(const char *text)
{
    struct mount_opts o = { 0 };
    char *error = NULL;
    enum c2_err err = mount_opts_parse(text, false, &o, &error);
    C2_ASSERT((err == C2_E_OK) == (error == NULL));
    c2_free(error);
    if (err == C2_E_OK) {
        struct c2_conf *c = c2_conf_new();
        err = mount_opts_apply(&o, c, "volume");
        C2_ASSERT((err == C2_E_OK) == (*c2_conf_error(c) == '\0'));
        c2_conf_free(c);
    }
    mount_opts_done(&o);
}

static void
faults(const char *text)
{
    struct fault_spec spec;
    char *error = NULL;
    enum c2_err err = fault_spec_parse(text, &spec, &error);
    C2_ASSERT((err == C2_E_OK) == (error == NULL));
    c2_free(error);
    for (size_t k = 0; err == C2_E_OK && k < spec.count; k++) {
        C2_ASSERT(spec.count <= FAULT_RULES_MAX && spec.rules[k].kind < FAULT_KIND_COUNT);
        C2_ASSERT(spec.rules[k].verbs != 0 && spec.rules[k].chance_ppm <= FAULT_CHANCE_FULL);
    }
}

static void
bucket(struct c2_slice in)
{
    struct prov_s3_config c = { .name = "name", .access_key_id = "a", .secret_access_key = "s" };
    char *text = c2_calloc(1, in.len + 1);
    const char *end = text + in.len;
    const char **const field[] = { &c.url, &c.endpoint, &c.region };
    struct s3_target t;
    char *error = NULL, *at = text;
    if (in.len > 0)
        memcpy(text, in.data, in.len);
    for (size_t k = 0; k < C2_ARRAY_LEN(field) && at <= end; k++) {
        *field[k] = at;
        at += strlen(at) + 1;
    }
    (void)http_addr_is_loopback(c.url);
    (void)http_addr_is_link_local(c.url);
    enum c2_err err = s3_target_parse(&c, &t, &error);
    C2_ASSERT((err == C2_E_OK) == (error == NULL));
    c2_free(error);
    if (err == C2_E_OK) {
        C2_ASSERT(strlen(t.prefix) <= S3_PREFIX_MAX);
        for (const char *p = t.host; *p != '\0'; p++) /* it becomes a line of a request */
            C2_ASSERT(*p > ' ' && *p < 0x7f);
        s3_target_done(&t);
    }
    c2_free(text);
}

static void
mounts(const char *text)
{
    struct mounts *m = c2_calloc(1, sizeof *m);
    mounts_read(text, m);
    C2_ASSERT(m->n <= MOUNTS_MAX);
    for (size_t k = 0; k < m->n; k++)
        C2_ASSERT(m->e[k].volume != NULL && m->e[k].mountpoint != NULL && m->e[k].options != NULL);
    mounts_done(m);
    c2_free(m);
}

/* It goes to a terminal. */
static void
replica(const char *json)
{
    static const char *const keys[] = { "mode", "view", "primary" };
    for (size_t i = 0; i < C2_ARRAY_LEN(keys); i++) {
        C2_AUTO(c2_free_auto) char *value = meta_field(json, keys[i]);
        C2_ASSERT(strlen(value) <= 40);
        for (const char *p = value; *p != '\0'; p++)
            C2_ASSERT(*p >= ' ' && *p < 0x7f);
    }
}

static void
encodings(struct c2_slice in)
{
    struct c2_buf text = { 0 }, back = { 0 };
    c2_url_encode(in, true, &text);
    C2_ASSERT(c2_url_decode(c2_buf_slice(&text), &back) == C2_E_OK);
    C2_ASSERT(c2_slice_equal(in, c2_buf_slice(&back)));
    c2_buf_clear(&text);
    c2_buf_clear(&back);
    c2_base64_encode(in, &text);
    C2_ASSERT(c2_base64_decode(c2_buf_slice(&text), &back) == C2_E_OK);
    C2_ASSERT(c2_slice_equal(in, c2_buf_slice(&back)));
    c2_buf_clear(&back);
    (void)(c2_base64_decode(in, &back) == C2_E_OK);
    c2_buf_clear(&back);
    (void)(c2_url_decode(in, &back) == C2_E_OK);
    c2_buf_done(&text);
    c2_buf_done(&back);
}

static void
values(const char *text)
{
    char formatted[C2_SIZE_TEXT_MAX];
    uint64_t n;
    if (c2_size_parse(text, &n) == C2_E_OK)
        (void)c2_size_format(n, formatted);
    if (c2_duration_parse(text, &n) == C2_E_OK)
        (void)c2_duration_format(n, formatted);
    if (c2_u64_parse(c2_slice_str(text), UINT64_MAX, &n) == C2_E_OK)
        c2_time_format(n, formatted);
    (void)(c2_decimal_parse(text, &n) == C2_E_OK);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct c2_slice rest = c2_slice(data + 1, size - 1);
    C2_AUTO(c2_free_auto) char *text = c2_strndup((const char *)rest.data, rest.len);
    if (data[0] == 'C')
        configuration(rest);
    else if (data[0] == 'M')
        mount_options(text);
    else if (data[0] == 'F')
        faults(text);
    else if (data[0] == 'S')
        bucket(rest);
    else if (data[0] == 'P')
        mounts(text);
    else if (data[0] == 'R')
        replica(text);
    else if (data[0] == 'V') {
        encodings(rest);
        values(text);
    }
    return 0;
}
