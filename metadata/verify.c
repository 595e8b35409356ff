/* SPDX-License-Identifier: MIT */
/*
 *   LOG (loop) ─► STORE (pool) ─► done
 */
#include "metadata/verify.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "metadata/registry.h"
#include "metadata/store.h"
#include "metadata/wal.h"
#include "metadata/wal_record.h"

struct verify_run {
    struct c2_env *env;
    char *wal_path, *store_path; /* owned */
    struct wal *wal;
    uint64_t records, malformed;
    struct c2_work work;
    enum c2_err store_err;
    char *store_error; /* owned */
    struct store_verified store;
    enum c2_err err;
    struct c2_buf text;
    void (*done)(void *arg, enum c2_err err, const char *text);
    void *arg;
};

static void
worst(struct verify_run *v, enum c2_err err)
{
    if (v->err == C2_E_OK || (err == C2_E_DAMAGED && v->err != C2_E_DAMAGED))
        v->err = err;
}

static void
one_record(void *arg, uint64_t lsn, unsigned type, struct c2_slice body)
{
    struct verify_run *v = arg;
    struct wal_record r;
    (void)lsn;
    v->records++;
    v->malformed += wal_record_read(type, body, &r) != C2_E_OK;
}

static void
log_opened(void *arg, enum c2_err err, const struct wal_report *r)
{
    struct verify_run *v = arg;
    if (err != C2_E_OK) {
        c2_buf_printf(&v->text, "log:   cannot be read: %s\n", c2_err_text(err));
        worst(v, err);
    } else if (r->damaged) {
        c2_buf_printf(&v->text, "log:   DAMAGED: %s\n", r->damage);
        worst(v, C2_E_DAMAGED);
    } else if (v->malformed > 0) {
        c2_buf_printf(&v->text, "log:   DAMAGED: %llu records are malformed\n",
                      (unsigned long long)v->malformed);
        worst(v, C2_E_DAMAGED);
    } else {
        char size[C2_SIZE_TEXT_MAX];
        c2_buf_printf(&v->text, "log:   good, %llu records in %s%s\n",
                      (unsigned long long)v->records, c2_size_format(r->bytes, size),
                      r->torn ? ", the last group was torn by a crash and does not count" : "");
    }
}

static void
check_store(struct c2_work *w)
{
    struct verify_run *v = C2_CONTAINER_OF(w, struct verify_run, work);
    struct replica_app *app = NULL;
    const struct store_options o = { .map_size = COORD_MAP_SIZE_DEFAULT, .replicated = true };
    v->store_err = store_open(v->store_path, &o, &app, &v->store_error);
    if (v->store_err != C2_E_OK)
        return;
    v->store_err = store_verify(app, &v->store);
    app->ops->close(app);
}

static void
store_checked(struct c2_work *w)
{
    struct verify_run *v = C2_CONTAINER_OF(w, struct verify_run, work);
    char hex[65], size[C2_SIZE_TEXT_MAX];
    if (v->store_err == C2_E_OK) {
        c2_hex_encode(v->store.digest, sizeof v->store.digest, hex);
        c2_buf_printf(
            &v->text, "store: good, %llu keys (%s), %llu sessions, version %llu, digest %s\n",
            (unsigned long long)v->store.keys, c2_size_format(v->store.bytes, size),
            (unsigned long long)v->store.sessions, (unsigned long long)v->store.version, hex);
    } else {
        const char *why = v->store_error != NULL        ? v->store_error
                          : v->store.problem[0] != '\0' ? v->store.problem
                                                        : c2_err_text(v->store_err);
        const char *what = v->store_err == C2_E_DAMAGED       ? "DAMAGED"
                           : v->store_err == C2_E_UNAVAILABLE ? "INCOMPLETE"
                                                              : "cannot be read";
        c2_buf_printf(&v->text, "store: %s: %s\n", what, why);
        worst(v, v->store_err);
    }
    v->done(v->arg, v->err, c2_buf_cstr(&v->text));
    c2_buf_done(&v->text);
    c2_free(v->store_error);
    c2_free(v->wal_path);
    c2_free(v->store_path);
    c2_free(v);
}

static void
log_closed(void *arg)
{
    struct verify_run *v = arg;
    v->work.run = check_store;
    v->work.done = store_checked;
    c2_work(v->env, &v->work);
}

static void
log_looked_at(void *arg, enum c2_err err, const struct wal_report *r)
{
    struct verify_run *v = arg;
    log_opened(v, err, r);
    wal_close(v->wal, log_closed, v);
}

static void
no_write(void *arg, enum c2_err err)
{
    (void)arg;
    (void)err;
    C2_UNREACHABLE(); /* nothing is written */
}

struct verify_run *
verify_start(struct c2_env *env, const char *data,
             void (*done)(void *arg, enum c2_err err, const char *text), void *arg)
{
    struct verify_run *v = c2_calloc(1, sizeof *v);
    v->env = env;
    v->done = done;
    v->arg = arg;
    v->wal_path = c2_asprintf("%s/wal", data);
    v->store_path = c2_asprintf("%s/store", data);
    const struct wal_options o = { .path = v->wal_path,
                                   .read_only = true,
                                   .replay = one_record,
                                   .opened = log_looked_at,
                                   .failed = no_write,
                                   .arg = v };
    v->wal = wal_open(env, &o);
    return v;
}
