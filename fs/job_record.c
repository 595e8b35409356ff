/* SPDX-License-Identifier: MIT */
/*
 * What is kept of a job, and its parameters.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "fs/job.h"

#define RECORD_VERSION 1

const char *
job_state_name(enum job_state s)
{
    static const char *const names[] = {
        "none", "running", "paused", "done", "failed", "canceled"
    };
    return names[s];
}

void
job_record_encode(const struct job_record *r, struct c2_buf *out)
{
    c2_wr_u8(out, RECORD_VERSION);
    c2_wr_u8(out, (uint8_t)r->state);
    c2_wr_u64(out, r->id);
    c2_wr_bytes(out, c2_slice_str(r->params));
    c2_wr_u64(out, r->rate_limit);
    c2_wr_u64(out, r->started_wall_ns);
    c2_wr_u64(out, r->ended_wall_ns);
    c2_wr_u64(out, r->run_ns);
    c2_wr_bytes(out, c2_slice_str(c2_err_name(r->err)));
    c2_wr_u64(out, r->spent);
    c2_wr_bytes(out, c2_slice(r->cursor, r->cursor_len));
    c2_wr_u64(out, r->objects_done);
    c2_wr_u64(out, r->objects_total);
    c2_wr_u64(out, r->bytes_done);
    c2_wr_u64(out, r->bytes_total);
    c2_wr_u64(out, r->errors);
    for (unsigned k = 0; k < JOB_COUNTERS_MAX; k++)
        c2_wr_u64(out, r->counter[k]);
    c2_wr_bytes(out, c2_slice_str(r->message));
}

/* A byte string without zeros into a zero-terminated field. */
static void
read_text(struct c2_rd *r, char *out, size_t size)
{
    struct c2_slice s = c2_rd_bytes(r, size - 1);
    memset(out, 0, size);
    if (s.len == 0)
        return;
    if (memchr(s.data, '\0', s.len) != NULL)
        c2_rd_fail(r);
    else
        memcpy(out, s.data, s.len);
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

static enum job_state
read_state(struct c2_rd *r)
{
    uint8_t state = c2_rd_u8(r);
    if (state < JOB_RUNNING || state > JOB_CANCELED) {
        c2_rd_fail(r);
        return JOB_NONE;
    }
    return (enum job_state)state;
}

C2_RESULT
job_record_decode(struct c2_slice in, struct job_record *ret_record)
{
    struct c2_rd r = c2_rd_init(in);
    struct job_record j = { 0 };
    uint8_t version = c2_rd_u8(&r);
    if (c2_rd_ok(&r) && version > RECORD_VERSION)
        return C2_E_VERSION;
    if (version == 0)
        return C2_E_PARSE;
    j.state = read_state(&r);
    j.id = c2_rd_u64(&r);
    read_text(&r, j.params, sizeof(j.params));
    j.rate_limit = c2_rd_u64(&r);
    j.started_wall_ns = c2_rd_u64(&r);
    j.ended_wall_ns = c2_rd_u64(&r);
    j.run_ns = c2_rd_u64(&r);
    j.err = error_of(c2_rd_bytes(&r, 64));
    j.spent = c2_rd_u64(&r);
    struct c2_slice cursor = c2_rd_bytes(&r, JOB_CURSOR_MAX);
    if (cursor.len > 0)
        memcpy(j.cursor, cursor.data, cursor.len);
    j.cursor_len = cursor.len;
    j.objects_done = c2_rd_u64(&r);
    j.objects_total = c2_rd_u64(&r);
    j.bytes_done = c2_rd_u64(&r);
    j.bytes_total = c2_rd_u64(&r);
    j.errors = c2_rd_u64(&r);
    for (unsigned k = 0; k < JOB_COUNTERS_MAX; k++)
        j.counter[k] = c2_rd_u64(&r);
    read_text(&r, j.message, sizeof(j.message));
    C2_TRY(c2_rd_finish(&r));
    *ret_record = j;
    return C2_E_OK;
}

char *
job_param(const struct job *j, const char *key)
{
    size_t len = strlen(key);
    for (const char *at = j->rec.params; *at != '\0'; at += strspn(at, " ")) {
        size_t word = strcspn(at, " ");
        if (word > len && at[len] == '=' && strncmp(at, key, len) == 0)
            return c2_strndup(at + len + 1, word - len - 1);
        at += word;
    }
    return NULL;
}
