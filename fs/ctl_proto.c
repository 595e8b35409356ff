/* SPDX-License-Identifier: MIT */
#include "fs/ctl_proto.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

/* ---- requests and answers ------------------------------------------------------------------- */

void
ctl_request_encode(const struct ctl_request *r, struct c2_buf *out)
{
    c2_wr_u8(out, CTL_VERSION);
    c2_wr_u8(out, (uint8_t)r->verb);
    c2_wr_u64(out, r->number);
    c2_wr_bytes(out, r->text);
    c2_wr_bytes(out, r->text2);
}

static C2_RESULT
check_version(struct c2_rd *r)
{
    uint8_t version = c2_rd_u8(r);
    if (!c2_rd_ok(r))
        return C2_E_PARSE;
    return version == CTL_VERSION ? C2_E_OK : C2_E_VERSION;
}

C2_RESULT
ctl_request_decode(struct c2_slice frame, struct ctl_request *ret_request)
{
    struct c2_rd r = c2_rd_init(frame);
    struct ctl_request q = { .verb = CTL_STATUS };
    C2_TRY(check_version(&r));
    uint8_t verb = c2_rd_u8(&r);
    q.number = c2_rd_u64(&r);
    q.text = c2_rd_bytes(&r, CTL_TEXT_MAX);
    q.text2 = c2_rd_bytes(&r, CTL_TEXT_MAX);
    C2_TRY(c2_rd_finish(&r));
    if (verb < CTL_STATUS || verb > CTL_VERB_LAST)
        return C2_E_UNSUPPORTED;
    q.verb = (enum ctl_verb)verb;
    *ret_request = q;
    return C2_E_OK;
}

void
ctl_answer_encode(const struct ctl_answer *a, struct c2_buf *out)
{
    c2_wr_u8(out, CTL_VERSION);
    c2_wr_u8(out, (uint8_t)a->kind);
    if (a->kind == CTL_PROGRESS) {
        c2_wr_u64(out, a->files);
        c2_wr_u64(out, a->bytes);
        return;
    }
    c2_wr_bytes(out, c2_slice_str(c2_err_name(a->err)));
    c2_wr_bytes(out, a->message);
    c2_wr_bytes(out, a->body);
}

/* An error that this program does not know is an I/O error to it. */
static enum c2_err
error_of(struct c2_slice name)
{
    for (unsigned e = 0; e < C2_E_COUNT; e++)
        if (c2_slice_equal(name, c2_slice_str(c2_err_name((enum c2_err)e))))
            return (enum c2_err)e;
    return C2_E_IO;
}

C2_RESULT
ctl_answer_decode(struct c2_slice frame, struct ctl_answer *ret_answer)
{
    struct c2_rd r = c2_rd_init(frame);
    struct ctl_answer a = { .kind = CTL_RESULT };
    C2_TRY(check_version(&r));
    uint8_t kind = c2_rd_u8(&r);
    if (kind == CTL_PROGRESS) {
        a.kind = CTL_PROGRESS;
        a.files = c2_rd_u64(&r);
        a.bytes = c2_rd_u64(&r);
    } else if (kind == CTL_RESULT) {
        a.kind = CTL_RESULT;
        a.err = error_of(c2_rd_bytes(&r, CTL_NAME_MAX));
        a.message = c2_rd_bytes(&r, CTL_TEXT_MAX);
        a.body = c2_rd_bytes(&r, CTL_ANSWER_MAX);
    } else {
        return C2_E_PARSE;
    }
    C2_TRY(c2_rd_finish(&r));
    *ret_answer = a;
    return C2_E_OK;
}

/* ---- status --------------------------------------------------------------------------------- */

void
ctl_set(char *field, size_t size, const char *text)
{
    size_t len = text == NULL ? 0 : strnlen(text, size - 1);
    if (len > 0)
        memcpy(field, text, len);
    memset(field + len, 0, size - len);
}

static void
put_text(struct c2_buf *out, const char *text)
{
    c2_wr_bytes(out, c2_slice_str(text));
}

/* Sanitised: what a daemon says ends up on a terminal. */
static void
get_text(struct c2_rd *r, char *field, size_t size)
{
    struct c2_slice s = c2_rd_bytes(r, size - 1);
    memset(field, 0, size);
    for (size_t k = 0; k < s.len; k++)
        field[k] = (char)(s.data[k] < 0x20 || s.data[k] == 0x7f ? '?' : s.data[k]);
}

/* Field by field in the order of the struct, so that writing and reading cannot differ. */
struct field {
    size_t offset;
    enum { TEXT, U32, U64, BOOL } type;
    size_t size; /* TEXT: of the array */
};

#define F_TEXT(type, member)                                                                       \
    {                                                                                              \
        offsetof(struct type, member), TEXT, sizeof(((struct type *)0)->member)                    \
    }
#define F_U32(type, member)                                                                        \
    {                                                                                              \
        offsetof(struct type, member), U32, 0                                                      \
    }
#define F_U64(type, member)                                                                        \
    {                                                                                              \
        offsetof(struct type, member), U64, 0                                                      \
    }
#define F_BOOL(type, member)                                                                       \
    {                                                                                              \
        offsetof(struct type, member), BOOL, 0                                                     \
    }

static const struct field status_fields[] = {
    F_TEXT(ctl_status, volume),
    F_TEXT(ctl_status, version),
    F_TEXT(ctl_status, mountpoint),
    F_TEXT(ctl_status, metadata),
    F_U64(ctl_status, pid),
    F_U64(ctl_status, uptime_ns),
    F_U32(ctl_status, n),
    F_U32(ctl_status, f),
    F_BOOL(ctl_status, draining),
    F_BOOL(ctl_status, fenced),
    F_BOOL(ctl_status, read_only),
    F_U64(ctl_status, backlog_files),
    F_U64(ctl_status, backlog_bytes),
    F_U64(ctl_status, backlog_oldest_ns),
    F_U64(ctl_status, journal_used),
    F_U64(ctl_status, journal_max),
    F_U64(ctl_status, txgs),
    F_U64(ctl_status, txgs_committed),
    F_U64(ctl_status, objects_written),
    F_U64(ctl_status, object_bytes),
    F_U64(ctl_status, stored_bytes),
    F_U64(ctl_status, used_bytes),
    F_U64(ctl_status, used_files),
    F_U64(ctl_status, write_buffer),
    F_U64(ctl_status, cache_memory),
    F_U64(ctl_status, cache_memory_max),
    F_U64(ctl_status, cache_disk),
    F_U64(ctl_status, cache_disk_max),
    F_U64(ctl_status, replayed_groups),
    F_U64(ctl_status, replayed_bytes),
    F_U64(ctl_status, damaged_groups),
    F_U64(ctl_status, lost_files),
    F_U64(ctl_status, deferred_files),
    F_BOOL(ctl_status, ships),
    F_U64(ctl_status, unshipped_txns),
    F_U64(ctl_status, unshipped_bytes),
    F_U64(ctl_status, unshipped_oldest_ns),
    F_U64(ctl_status, checkpoint_version),
    F_U64(ctl_status, checkpoint_wall_ns),
    F_BOOL(ctl_status, gc_on),
    F_U64(ctl_status, gc_last_wall_ns),
    F_U64(ctl_status, gc_rounds),
    F_U64(ctl_status, gc_waiting_objects),
    F_U64(ctl_status, gc_waiting_bytes),
    F_U64(ctl_status, gc_deleted_objects),
    F_U64(ctl_status, gc_deleted_bytes),
    F_U64(ctl_status, gc_orphans_deleted),
    F_U64(ctl_status, compact_files),
    F_U64(ctl_status, compact_bytes),
    F_TEXT(ctl_status, gc_error),
    F_U64(ctl_status, repair_objects),
    F_U64(ctl_status, repair_at_risk),
    F_U64(ctl_status, repair_running),
    F_U64(ctl_status, shares_missing),
    F_U64(ctl_status, repairs_total),
    F_U64(ctl_status, repairs_failed),
    F_TEXT(ctl_status, damage),
    F_TEXT(ctl_status, lost),
    F_TEXT(ctl_status, deferred),
    F_TEXT(ctl_status, last_error),
    F_TEXT(ctl_status, journal_error),
    F_U32(ctl_status, replica_f),
    F_U64(ctl_status, view),
};

static const struct field provider_fields[] = {
    F_TEXT(ctl_provider, name),        F_U32(ctl_provider, seat),
    F_TEXT(ctl_provider, state),       F_U64(ctl_provider, puts_ok),
    F_U64(ctl_provider, gets_ok),      F_U64(ctl_provider, errors),
    F_U64(ctl_provider, absent),       F_U64(ctl_provider, corrupt),
    F_U64(ctl_provider, hedges),       F_TEXT(ctl_provider, last_error),
    F_TEXT(ctl_provider, last_detail), F_U64(ctl_provider, last_ok_age_ns),
    F_U64(ctl_provider, p50_ns),       F_U64(ctl_provider, p99_ns),
    F_U64(ctl_provider, bytes_up),     F_U64(ctl_provider, bytes_down),
};

static const struct field job_fields[] = {
    F_TEXT(ctl_job, kind),           F_TEXT(ctl_job, state),        F_TEXT(ctl_job, params),
    F_TEXT(ctl_job, message),        F_TEXT(ctl_job, error),        F_U64(ctl_job, id),
    F_U64(ctl_job, started_wall_ns), F_U64(ctl_job, ended_wall_ns), F_U64(ctl_job, run_ns),
    F_U64(ctl_job, objects_done),    F_U64(ctl_job, objects_total), F_U64(ctl_job, bytes_done),
    F_U64(ctl_job, bytes_total),     F_U64(ctl_job, errors),        F_U64(ctl_job, rate),
    F_U64(ctl_job, rate_limit),      F_U64(ctl_job, spent),
};

static const struct field replica_fields[] = {
    F_TEXT(ctl_replica, address),
    F_BOOL(ctl_replica, up),
    F_TEXT(ctl_replica, last_error),
};

static void
encode_fields(const void *object, const struct field *f, size_t n, struct c2_buf *out)
{
    for (size_t k = 0; k < n; k++) {
        const char *at = (const char *)object + f[k].offset;
        uint32_t v32;
        uint64_t v64;
        switch (f[k].type) {
        case TEXT:
            put_text(out, at);
            break;
        case U32:
            memcpy(&v32, at, sizeof(v32));
            c2_wr_u32(out, v32);
            break;
        case U64:
            memcpy(&v64, at, sizeof(v64));
            c2_wr_u64(out, v64);
            break;
        case BOOL:
            c2_wr_u8(out, *(const bool *)at ? 1 : 0);
            break;
        }
    }
}

static void
decode_fields(struct c2_rd *r, void *object, const struct field *f, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        char *at = (char *)object + f[k].offset;
        uint32_t v32;
        uint64_t v64;
        switch (f[k].type) {
        case TEXT:
            get_text(r, at, f[k].size);
            break;
        case U32:
            v32 = c2_rd_u32(r);
            memcpy(at, &v32, sizeof(v32));
            break;
        case U64:
            v64 = c2_rd_u64(r);
            memcpy(at, &v64, sizeof(v64));
            break;
        case BOOL:
            *(bool *)at = c2_rd_u8(r) != 0;
            break;
        }
    }
}

bool
ctl_provider_is_bad(const struct ctl_provider *p)
{
    return strcmp(p->state, "online") != 0 && strcmp(p->state, "empty") != 0 &&
           strcmp(p->state, "draining") != 0;
}

unsigned
ctl_replicas_down(const struct ctl_status *s)
{
    unsigned down = 0;
    for (uint32_t k = 0; k < s->nreplicas; k++)
        down += !s->replicas[k].up;
    return down;
}

void
ctl_status_encode(const struct ctl_status *s, struct c2_buf *out)
{
    C2_ASSERT(s->nproviders <= CTL_PROVIDERS_MAX);
    encode_fields(s, status_fields, C2_ARRAY_LEN(status_fields), out);
    c2_wr_u32(out, s->nproviders);
    for (uint32_t k = 0; k < s->nproviders; k++) {
        const struct ctl_provider *p = &s->providers[k];
        encode_fields(p, provider_fields, C2_ARRAY_LEN(provider_fields), out);
        for (unsigned v = 0; v < CTL_VERBS_MAX; v++)
            c2_wr_u64(out, p->requests[v]);
    }
    C2_ASSERT(s->nreplicas <= CTL_REPLICAS_MAX);
    c2_wr_u32(out, s->nreplicas);
    for (uint32_t k = 0; k < s->nreplicas; k++)
        encode_fields(&s->replicas[k], replica_fields, C2_ARRAY_LEN(replica_fields), out);
    C2_ASSERT(s->njobs <= CTL_JOBS_MAX);
    c2_wr_u32(out, s->njobs);
    for (uint32_t k = 0; k < s->njobs; k++)
        ctl_job_encode(&s->jobs[k], out);
}

void
ctl_job_encode(const struct ctl_job *j, struct c2_buf *out)
{
    C2_ASSERT(j->ncounters <= CTL_JOB_COUNTERS_MAX);
    encode_fields(j, job_fields, C2_ARRAY_LEN(job_fields), out);
    c2_wr_u32(out, j->ncounters);
    for (uint32_t k = 0; k < j->ncounters; k++) {
        put_text(out, j->counters[k].name);
        c2_wr_u64(out, j->counters[k].value);
    }
}

static void
decode_job(struct c2_rd *r, struct ctl_job *j)
{
    decode_fields(r, j, job_fields, C2_ARRAY_LEN(job_fields));
    j->ncounters = c2_rd_u32(r);
    if (j->ncounters > CTL_JOB_COUNTERS_MAX) {
        j->ncounters = 0;
        c2_rd_fail(r);
    }
    for (uint32_t k = 0; k < j->ncounters; k++) {
        get_text(r, j->counters[k].name, sizeof(j->counters[k].name));
        j->counters[k].value = c2_rd_u64(r);
    }
}

C2_RESULT
ctl_jobs_decode(struct c2_slice in, struct ctl_job *jobs, uint32_t max, uint32_t *ret_n)
{
    struct c2_rd r = c2_rd_init(in);
    uint32_t n = 0;
    while (c2_rd_ok(&r) && c2_rd_left(&r) > 0) {
        if (n == max)
            return C2_E_PARSE;
        decode_job(&r, &jobs[n++]);
    }
    C2_TRY(c2_rd_finish(&r));
    *ret_n = n;
    return C2_E_OK;
}

C2_RESULT
ctl_status_decode(struct c2_slice in, struct ctl_status *ret_status)
{
    struct c2_rd r = c2_rd_init(in);
    struct ctl_status *s = c2_calloc(1, sizeof(*s));
    decode_fields(&r, s, status_fields, C2_ARRAY_LEN(status_fields));
    s->nproviders = c2_rd_u32(&r);
    if (s->nproviders > CTL_PROVIDERS_MAX) {
        s->nproviders = 0;
        c2_rd_fail(&r);
    }
    for (uint32_t k = 0; k < s->nproviders; k++) {
        struct ctl_provider *p = &s->providers[k];
        decode_fields(&r, p, provider_fields, C2_ARRAY_LEN(provider_fields));
        for (unsigned v = 0; v < CTL_VERBS_MAX; v++)
            p->requests[v] = c2_rd_u64(&r);
    }
    s->nreplicas = c2_rd_u32(&r);
    if (s->nreplicas > CTL_REPLICAS_MAX) {
        s->nreplicas = 0;
        c2_rd_fail(&r);
    }
    for (uint32_t k = 0; k < s->nreplicas; k++)
        decode_fields(&r, &s->replicas[k], replica_fields, C2_ARRAY_LEN(replica_fields));
    s->njobs = c2_rd_u32(&r);
    if (s->njobs > CTL_JOBS_MAX) {
        s->njobs = 0;
        c2_rd_fail(&r);
    }
    for (uint32_t k = 0; k < s->njobs; k++)
        decode_job(&r, &s->jobs[k]);
    enum c2_err err = c2_rd_finish(&r);
    if (err == C2_E_OK)
        *ret_status = *s;
    c2_free(s);
    return err;
}

/* ---- counters ------------------------------------------------------------------------------- */

void
ctl_counter_add(struct c2_buf *out, const char *name, uint64_t value)
{
    C2_ASSERT(strlen(name) <= 2 * CTL_NAME_MAX);
    put_text(out, name);
    c2_wr_u64(out, value);
}

C2_RESULT
ctl_counters_decode(struct c2_slice in, void (*fn)(void *arg, const char *name, uint64_t value),
                    void *arg)
{
    struct c2_rd r = c2_rd_init(in);
    for (unsigned n = 0; c2_rd_ok(&r) && c2_rd_left(&r) > 0; n++) {
        char name[2 * CTL_NAME_MAX + 1];
        get_text(&r, name, sizeof(name));
        uint64_t value = c2_rd_u64(&r);
        if (n >= CTL_COUNTERS_MAX)
            c2_rd_fail(&r);
        if (c2_rd_ok(&r))
            fn(arg, name, value);
    }
    return c2_rd_finish(&r);
}

/* ---- exit codes ------------------------------------------------------------------------------ */

enum ctl_exit
ctl_exit_code(enum c2_err err)
{
    static const struct {
        enum c2_err err;
        enum ctl_exit code;
    } table[] = {
        { C2_E_OK, CTL_EXIT_OK },
        { C2_E_CONFIG, CTL_EXIT_CONFIG },
        { C2_E_NOT_FOUND, CTL_EXIT_NOT_FOUND },
        { C2_E_NOT_MOUNTED, CTL_EXIT_NOT_FOUND },
        { C2_E_TIMEOUT, CTL_EXIT_UNAVAILABLE },
        { C2_E_UNREACHABLE, CTL_EXIT_UNAVAILABLE },
        { C2_E_UNAVAILABLE, CTL_EXIT_UNAVAILABLE },
        { C2_E_THROTTLED, CTL_EXIT_UNAVAILABLE },
        { C2_E_QUORUM, CTL_EXIT_UNAVAILABLE },
        { C2_E_CORRUPT, CTL_EXIT_DATA_LOST },
        { C2_E_DAMAGED, CTL_EXIT_DATA_LOST },
        { C2_E_ACCESS, CTL_EXIT_ACCESS },
        { C2_E_NOT_PERMITTED, CTL_EXIT_ACCESS },
        { C2_E_AUTH, CTL_EXIT_ACCESS },
        { C2_E_KEY, CTL_EXIT_ACCESS },
        { C2_E_TLS, CTL_EXIT_ACCESS },
        { C2_E_BUSY, CTL_EXIT_CONFLICT },
        { C2_E_CONFLICT, CTL_EXIT_CONFLICT },
        { C2_E_EXISTS, CTL_EXIT_CONFLICT },
        { C2_E_FENCED, CTL_EXIT_CONFLICT },
        { C2_E_NOT_EMPTY, CTL_EXIT_REFUSED },
        { C2_E_PRECONDITION, CTL_EXIT_REFUSED },
        { C2_E_VERSION, CTL_EXIT_VERSION },
        { C2_E_INTERRUPTED, CTL_EXIT_INTERRUPTED },
        { C2_E_CANCELED, CTL_EXIT_INTERRUPTED },
    };
    for (size_t k = 0; k < C2_ARRAY_LEN(table); k++)
        if (table[k].err == err)
            return table[k].code;
    return CTL_EXIT_FAILED;
}

void
ctl_error_code(enum c2_err err, char out[CTL_CODE_MAX])
{
    int len = snprintf(out, CTL_CODE_MAX, "E_%s", c2_err_name(err));
    for (int k = 0; k < len && k < (int)CTL_CODE_MAX - 1; k++)
        out[k] = (char)toupper((unsigned char)out[k]);
}

char *
ctl_split_hint(char *text)
{
    static const char *const marks[] = { "\nhint: ", "; type: " };
    for (size_t k = 0; k < C2_ARRAY_LEN(marks); k++) {
        char *at = strstr(text, marks[k]);
        if (at != NULL) {
            *at = '\0';
            return at + strlen(marks[k]);
        }
    }
    return NULL;
}
