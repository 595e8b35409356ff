/* SPDX-License-Identifier: MIT */
/*
 * What c2fsctl and the mount daemon say to each other, from a peer that is neither. The first byte
 * says what the rest is: 'Q' a request; 'A' an answer; then bodies of answers: 'S' a status, 'J'
 * jobs, 'C' counters, 'D' damaged files, 'E' evidence.
 *
 * What decodes can be written, and read again as the same.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "fs/ctl_proto.h"
#include "fs/usage.h"
#include "tools/damaged.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
assert_printable(const char *text, size_t size)
{
    C2_ASSERT(strnlen(text, size) < size);
    for (; *text != '\0'; text++)
        C2_ASSERT((uint8_t)*text >= 0x20 && *text != 0x7f);
}

static void
request(struct c2_slice in)
{
    struct ctl_request q;
    struct c2_buf again = { 0 };
    if (ctl_request_decode(in, &q) != C2_E_OK)
        return;
    C2_ASSERT(q.verb >= CTL_STATUS && q.verb <= CTL_VERB_LAST);
    ctl_request_encode(&q, &again);
    C2_ASSERT(c2_slice_equal(in, c2_buf_slice(&again)));
    c2_buf_done(&again);
}

static void
answer(struct c2_slice in)
{
    struct ctl_answer a, b;
    struct c2_buf again = { 0 };
    if (ctl_answer_decode(in, &a) != C2_E_OK)
        return;
    ctl_answer_encode(&a, &again);
    C2_ASSERT(ctl_answer_decode(c2_buf_slice(&again), &b) == C2_E_OK);
    C2_ASSERT(a.kind == b.kind && a.err == b.err && a.files == b.files && a.bytes == b.bytes);
    C2_ASSERT(c2_slice_equal(a.message, b.message) && c2_slice_equal(a.body, b.body));
    char *text = c2_strndup((const char *)a.message.data, a.message.len);
    (void)ctl_split_hint(text);
    c2_free(text);
    c2_buf_done(&again);
}

static void
check_job(const struct ctl_job *j)
{
    assert_printable(j->kind, sizeof j->kind);
    assert_printable(j->params, sizeof j->params);
    assert_printable(j->message, sizeof j->message);
    C2_ASSERT(j->ncounters <= CTL_JOB_COUNTERS_MAX);
}

static void
status(struct c2_slice in)
{
    struct ctl_status *s = c2_calloc(1, sizeof *s);
    struct c2_buf first = { 0 }, second = { 0 };
    if (ctl_status_decode(in, s) == C2_E_OK) {
        C2_ASSERT(s->nproviders <= CTL_PROVIDERS_MAX && s->nreplicas <= CTL_REPLICAS_MAX);
        C2_ASSERT(ctl_replicas_down(s) <= s->nreplicas && s->njobs <= CTL_JOBS_MAX);
        assert_printable(s->mountpoint, sizeof s->mountpoint);
        assert_printable(s->lost, sizeof s->lost);
        for (uint32_t k = 0; k < s->nproviders; k++)
            assert_printable(s->providers[k].last_detail, sizeof s->providers[k].last_detail);
        for (uint32_t k = 0; k < s->njobs; k++)
            check_job(&s->jobs[k]);
        ctl_status_encode(s, &first);
        C2_ASSERT(ctl_status_decode(c2_buf_slice(&first), s) == C2_E_OK);
        ctl_status_encode(s, &second);
        C2_ASSERT(c2_slice_equal(c2_buf_slice(&first), c2_buf_slice(&second)));
    }
    c2_buf_done(&first);
    c2_buf_done(&second);
    c2_free(s);
}

static void
jobs(struct c2_slice in)
{
    struct ctl_job *j = c2_calloc(CTL_JOBS_MAX, sizeof *j);
    uint32_t n, again;
    struct c2_buf out = { 0 };
    if (ctl_jobs_decode(in, j, CTL_JOBS_MAX, &n) == C2_E_OK) {
        C2_ASSERT(n <= CTL_JOBS_MAX);
        for (uint32_t k = 0; k < n; k++) {
            check_job(&j[k]);
            ctl_job_encode(&j[k], &out);
        }
        C2_ASSERT(ctl_jobs_decode(c2_buf_slice(&out), j, CTL_JOBS_MAX, &again) == C2_E_OK);
        C2_ASSERT(n == again);
    }
    c2_buf_done(&out);
    c2_free(j);
}

static void
one_counter(void *arg, const char *name, uint64_t value)
{
    C2_ASSERT(strlen(name) <= 2 * CTL_NAME_MAX);
    ctl_counter_add(arg, name, value);
}

static void
counters(struct c2_slice in)
{
    struct c2_buf first = { 0 }, second = { 0 };
    if (ctl_counters_decode(in, one_counter, &first) == C2_E_OK) {
        C2_ASSERT(ctl_counters_decode(c2_buf_slice(&first), one_counter, &second) == C2_E_OK);
        C2_ASSERT(c2_slice_equal(c2_buf_slice(&first), c2_buf_slice(&second)));
    }
    c2_buf_done(&first);
    c2_buf_done(&second);
}

static void
write_damaged(const struct damaged_list *l, struct c2_buf *out)
{
    for (size_t k = 0; k < l->n; k++)
        fs_fsck_damage_encode(&l->e[k].damage, out);
}

static void
damaged(struct c2_slice in)
{
    struct damaged_list l = { 0 };
    struct c2_buf first = { 0 }, second = { 0 };
    if (damaged_decode(in, &l) != C2_E_OK)
        return;
    write_damaged(&l, &first);
    damaged_done(&l);
    C2_ASSERT(damaged_decode(c2_buf_slice(&first), &l) == C2_E_OK);
    write_damaged(&l, &second);
    C2_ASSERT(c2_slice_equal(c2_buf_slice(&first), c2_buf_slice(&second)));
    damaged_done(&l);
    c2_buf_done(&first);
    c2_buf_done(&second);
}

static void
evidence(struct c2_slice in)
{
    struct c2_rd r = c2_rd_init(in);
    while (c2_rd_ok(&r) && c2_rd_left(&r) > 0) {
        struct ds_evidence e;
        struct c2_buf again = { 0 };
        usage_proof_decode(&r, &e);
        assert_printable(e.provider, sizeof e.provider);
        assert_printable(e.key, sizeof e.key);
        usage_proof_encode(&e, &again);
        c2_buf_done(&again);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct c2_slice rest = c2_slice(data + 1, size - 1);
    if (data[0] == 'Q')
        request(rest);
    else if (data[0] == 'A')
        answer(rest);
    else if (data[0] == 'S')
        status(rest);
    else if (data[0] == 'J')
        jobs(rest);
    else if (data[0] == 'C')
        counters(rest);
    else if (data[0] == 'D')
        damaged(rest);
    else if (data[0] == 'E')
        evidence(rest);
    return 0;
}
