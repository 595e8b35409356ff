/* SPDX-License-Identifier: MIT */
/*
 * A machine in a test environment: a configuration with volume "phr" and four folders as providers,
 * format and open that wait for their end, and the store as keys and values.
 */
#ifndef C2_TESTS_LIB_VOLUME_RIG_H
#define C2_TESTS_LIB_VOLUME_RIG_H

#include "base/conf.h"
#include "fs/volume.h"
#include "tests/lib/test_env.h"

struct volume_rig {
    struct test_env *env;
    struct c2_conf *conf;
    const char *answers[4]; /* what is typed, in turn; NULL = gives up */
    unsigned asked;
    char last_prompt[128];
    void (*on_ask)(struct volume_rig *r);
    struct volume *volume;
    struct volume_error error;
    struct c2_buf kit;
    bool flag;
};

struct vr_call {
    struct coord_req r;
    bool done;
};

extern const uint8_t vr_uuid[16];

void vr_conf_add(struct volume_rig *r, const char *fmt, ...) C2_PRINTF(2, 3);
void vr_conf_set(struct volume_rig *r, const char *section, const char *name, const char *key,
                 const char *value);
void vr_conf_volume(struct volume_rig *r, const char *name);
void vr_conf_provider(struct volume_rig *r, const char *name);
struct volume_rig *vr_new(void);
void vr_close(struct volume_rig *r);
void vr_free(struct volume_rig *r);
enum c2_err vr_ask(void *arg, const char *prompt, struct c2_buf *out);
struct volume_format vr_format_init(struct volume_rig *r);
enum c2_err vr_format_run(struct volume_rig *r, struct volume_format *o);
void vr_format(struct volume_rig *r);
void vr_opened(struct volume_open *o);
enum c2_err vr_open_as(struct volume_rig *r, const char *volume, bool terminal);
void vr_open_ok(struct volume_rig *r);
void vr_assert_says(struct volume_rig *r, const char *text, const char *hint);
enum c2_err vr_call(struct volume_rig *r, struct coord *c, struct vr_call *x);
struct coord *vr_store_open(struct volume_rig *r, bool create);
/* The value of a key; absent gives an empty buffer. */
struct c2_buf vr_store_get(struct volume_rig *r, struct coord *c, const char *key,
                           uint64_t *ret_version);
void vr_store_put(struct volume_rig *r, const char *key, struct c2_slice value);
/* Changes a byte of a value; the old one is kept in *was. */
void vr_store_flip(struct volume_rig *r, const char *key, size_t at, struct c2_buf *was);
char *vr_path(struct volume_rig *r, const char *name);
bool vr_exists(struct volume_rig *r, const char *name);
void vr_write_file(struct volume_rig *r, const char *name, struct c2_slice data);
struct c2_buf vr_read_file(struct volume_rig *r, const char *name);

#endif
