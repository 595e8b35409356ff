/* SPDX-License-Identifier: MIT */
/*
 * INI configuration: `[type "name"]` sections with `key = value`, `;` and `#` comments, `include =
 * FILE`. base/conf_keys.def is the table of every key: section type, name, value type, default,
 * limits, help. A key, section or value outside the table is an error that names file, line and
 * the nearest match. c2fs.conf.example and c2fs.conf(5) are compared with the table by a test.
 */
#ifndef C2_BASE_CONF_H
#define C2_BASE_CONF_H

#include "base/buf.h"

#define C2_CONF_FILE_MAX          (1u << 20)
#define C2_CONF_INCLUDE_DEPTH_MAX 8
#define C2_CONF_FILES_MAX         256  /* in one load, includes counted */
#define C2_CONF_ENTRIES_MAX       4096 /* keys set, in all sections together */
#define C2_CONF_NAME_MAX          63   /* of a section */

enum c2_conf_type {
    C2_CONF_STR,
    C2_CONF_PATH,     /* absolute after loading: relative ones belong to the file's folder */
    C2_CONF_SIZE,     /* bytes */
    C2_CONF_DURATION, /* ns */
    C2_CONF_U64,
    C2_CONF_DECIMAL, /* "0.0053": billionths */
    C2_CONF_BOOL,
    C2_CONF_ENUM,     /* limits = "async|sync" */
    C2_CONF_LOCATION, /* "dir:PATH"; limits = the forms; relative PATHs as in C2_CONF_PATH */
};

struct c2_conf_key {
    const char *section; /* "volume" */
    const char *name;    /* "cache_size" */
    enum c2_conf_type type;
    const char *def;    /* default as text; NULL = none, "" = empty */
    const char *limits; /* "min..max" as text, or enum words; NULL = none */
    const char *help;   /* one sentence */
};

extern const struct c2_conf_key c2_conf_keys[];
extern const size_t c2_conf_keys_count;

struct c2_conf;

struct c2_conf *c2_conf_new(void);
void c2_conf_free(struct c2_conf *c);
/* Later loads override earlier ones key by key. Errors are described in error_text(). */
C2_RESULT c2_conf_load_file(struct c2_conf *c, const char *path);
C2_RESULT c2_conf_load_text(struct c2_conf *c, struct c2_slice text, const char *origin);
/* /etc/c2fs/c2fs.conf, conf.d/NAME.conf in name order (both may be absent), then `file` if not NULL
 * (then the system files are not read), then C2FS_<KEY> variables for volume keys. */
C2_RESULT c2_conf_load_default(struct c2_conf *c, const char *file);
/* Sets one key, as from -o or a flag. */
C2_RESULT c2_conf_set(struct c2_conf *c, const char *section, const char *name, const char *key,
                      const char *value, const char *origin);
/* The system's part of the above; for tests, and for those who live in another root. */
C2_RESULT c2_conf_load_system(struct c2_conf *c, const char *folder);
/* "FILE:12: unknown key "cach_size" in [volume], did you mean "cache_size"?", or "". */
const char *c2_conf_error(const struct c2_conf *c);

/*
 * Reading. `name` is NULL for [c2fs], the section without one. Asking for a section that is not
 * there gives the defaults. Texts are valid until the configuration changes.
 */

/* Names of the sections of a type, in file order; NULL after the last. */
const char *c2_conf_section(const struct c2_conf *c, const char *type, size_t index);
bool c2_conf_has_section(const struct c2_conf *c, const char *type, const char *name);
bool c2_conf_is_set(const struct c2_conf *c, const char *section, const char *name,
                    const char *key);
/* The value or the default of a key of the table (asserted); text, validated at load. */
const char *c2_conf_str(const struct c2_conf *c, const char *section, const char *name,
                        const char *key); /* NULL when unset and without default */
uint64_t c2_conf_u64(const struct c2_conf *c, const char *section, const char *name,
                     const char *key); /* sizes in bytes, durations in ns */
bool c2_conf_bool(const struct c2_conf *c, const char *section, const char *name, const char *key);
/* The effective configuration, one `key = value ; origin` per line; secrets are never in it. */
void c2_conf_dump(const struct c2_conf *c, struct c2_buf *out);

#endif
