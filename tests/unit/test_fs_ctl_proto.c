/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/alloc.h"
#include "fs/ctl_proto.h"

static void
request__round_trip(void **state)
{
    (void)state;
    struct ctl_request in = { .verb = CTL_PROVIDER_FAULT, .number = 7 };
    in.text = c2_slice_str("p1");
    in.text2 = c2_slice_str("error:5%");
    struct c2_buf b = { 0 };
    ctl_request_encode(&in, &b);
    struct ctl_request out;
    assert_int_equal(ctl_request_decode(c2_buf_slice(&b), &out), C2_E_OK);
    assert_int_equal(out.verb, CTL_PROVIDER_FAULT);
    assert_int_equal(out.number, 7);
    assert_true(c2_slice_equal(out.text, in.text));
    assert_true(c2_slice_equal(out.text2, in.text2));
    for (size_t len = 0; len < b.len; len++)
        assert_int_equal(ctl_request_decode(c2_slice(b.data, len), &out), C2_E_PARSE);
    b.data[1] = 99;
    assert_int_equal(ctl_request_decode(c2_buf_slice(&b), &out), C2_E_UNSUPPORTED);
    b.data[0] = CTL_VERSION + 1;
    assert_int_equal(ctl_request_decode(c2_buf_slice(&b), &out), C2_E_VERSION);
    c2_buf_done(&b);
}

static void
request__text_over_its_limit_is_refused(void **state)
{
    (void)state;
    char *text = c2_calloc(1, CTL_TEXT_MAX + 1);
    struct ctl_request in = { .verb = CTL_LOG_LEVEL };
    in.text = c2_slice(text, CTL_TEXT_MAX + 1);
    struct c2_buf b = { 0 };
    ctl_request_encode(&in, &b);
    struct ctl_request out;
    assert_int_equal(ctl_request_decode(c2_buf_slice(&b), &out), C2_E_PARSE);
    c2_buf_done(&b);
    c2_free(text);
}

static void
answer__round_trip_of_both_kinds(void **state)
{
    (void)state;
    struct ctl_answer in = { .kind = CTL_PROGRESS, .files = 3, .bytes = 4 }, out;
    struct c2_buf b = { 0 };
    ctl_answer_encode(&in, &b);
    assert_int_equal(ctl_answer_decode(c2_buf_slice(&b), &out), C2_E_OK);
    assert_int_equal(out.kind, CTL_PROGRESS);
    assert_int_equal(out.files, 3);
    assert_int_equal(out.bytes, 4);
    c2_buf_clear(&b);

    in = (struct ctl_answer){ .kind = CTL_RESULT, .err = C2_E_QUORUM };
    in.message = c2_slice_str("two providers are gone");
    in.body = c2_slice("\0\1\2", 3);
    ctl_answer_encode(&in, &b);
    assert_int_equal(ctl_answer_decode(c2_buf_slice(&b), &out), C2_E_OK);
    assert_int_equal(out.kind, CTL_RESULT);
    assert_int_equal(out.err, C2_E_QUORUM);
    assert_true(c2_slice_equal(out.message, in.message));
    assert_true(c2_slice_equal(out.body, in.body));
    c2_buf_append(&b, "x", 1);
    assert_int_equal(ctl_answer_decode(c2_buf_slice(&b), &out), C2_E_PARSE);
    c2_buf_done(&b);
}

static void
status__round_trip_keeps_every_field(void **state)
{
    (void)state;
    struct ctl_status *in = c2_calloc(1, sizeof(*in)), *out = c2_calloc(1, sizeof(*out));
    ctl_set(in->volume, sizeof(in->volume), "phr");
    ctl_set(in->mountpoint, sizeof(in->mountpoint), "/mnt/c2fs");
    ctl_set(in->damage, sizeof(in->damage), "segment 3");
    in->n = 4;
    in->f = 1;
    in->fenced = true;
    in->backlog_oldest_ns = 5;
    in->damaged_groups = 6;
    in->lost_files = 9;
    ctl_set(in->journal_error, sizeof(in->journal_error), "no space left");
    in->deferred_files = 10;
    ctl_set(in->deferred, sizeof(in->deferred), "eeg.dat");
    ctl_set(in->lost, sizeof(in->lost), "ecg.dat");
    in->ships = true;
    in->gc_on = true;
    in->gc_waiting_bytes = 12;
    ctl_set(in->gc_error, sizeof(in->gc_error), "quorum");
    in->unshipped_oldest_ns = 7;
    in->checkpoint_wall_ns = 8;
    in->nproviders = 2;
    ctl_set(in->providers[1].name, sizeof(in->providers[1].name), "aws");
    in->providers[1].requests[CTL_VERBS_MAX - 1] = 77;
    in->providers[1].last_ok_age_ns = UINT64_MAX;
    in->njobs = 2;
    ctl_set(in->jobs[1].kind, sizeof(in->jobs[1].kind), "scrub");
    in->jobs[1].bytes_total = 9;
    in->jobs[1].ncounters = 1;
    in->jobs[1].counters[0].value = 10;
    in->replica_f = 1;
    in->view = 9;
    in->nreplicas = 4;
    ctl_set(in->replicas[3].address, sizeof(in->replicas[3].address), "m4:7400");
    in->replicas[2].up = true;
    assert_int_equal(ctl_replicas_down(in), 3);
    struct c2_buf b = { 0 };
    ctl_status_encode(in, &b);
    assert_int_equal(ctl_status_decode(c2_buf_slice(&b), out), C2_E_OK);
    assert_memory_equal(in, out, sizeof(*in));
    for (size_t len = 0; len < b.len; len++)
        assert_int_equal(ctl_status_decode(c2_slice(b.data, len), out), C2_E_PARSE);
    c2_buf_done(&b);
    c2_free(in);
    c2_free(out);
}

static void
jobs__come_back_in_order_and_are_bounded(void **state)
{
    (void)state;
    struct ctl_job *in = c2_calloc(1, sizeof(*in)), *out = c2_calloc(2, sizeof(*out));
    struct c2_buf b = { 0 };
    uint32_t n = 7;
    assert_int_equal(ctl_jobs_decode(c2_buf_slice(&b), out, 2, &n), C2_E_OK);
    assert_int_equal(n, 0);
    ctl_set(in->kind, sizeof(in->kind), "gc");
    in->ncounters = CTL_JOB_COUNTERS_MAX;
    ctl_job_encode(in, &b);
    size_t one = b.len;
    in->spent = 5;
    ctl_job_encode(in, &b);
    assert_int_equal(ctl_jobs_decode(c2_buf_slice(&b), out, 2, &n), C2_E_OK);
    assert_int_equal(n, 2);
    assert_memory_equal(&out[1], in, sizeof(*in));
    assert_int_equal(ctl_jobs_decode(c2_buf_slice(&b), out, 1, &n), C2_E_PARSE);
    for (size_t len = 1; len < one; len++)
        assert_int_equal(ctl_jobs_decode(c2_slice(b.data, len), out, 2, &n), C2_E_PARSE);
    c2_buf_done(&b);
    c2_free(in);
    c2_free(out);
}

static void
status__control_bytes_never_reach_a_terminal(void **state)
{
    (void)state;
    struct ctl_status *s = c2_calloc(1, sizeof(*s));
    ctl_set(s->volume, sizeof(s->volume), "a\033[2Jb");
    struct c2_buf b = { 0 };
    ctl_status_encode(s, &b);
    assert_int_equal(ctl_status_decode(c2_buf_slice(&b), s), C2_E_OK);
    assert_string_equal(s->volume, "a?[2Jb");
    c2_buf_done(&b);
    c2_free(s);
}

static void
sum(void *arg, const char *name, uint64_t value)
{
    uint64_t *total = arg;
    *total += value * strlen(name);
}

static void
counters__come_back_in_order_and_are_bounded(void **state)
{
    (void)state;
    struct c2_buf b = { 0 };
    uint64_t total = 0;
    ctl_counter_add(&b, "a", 1);
    ctl_counter_add(&b, "bb", 10);
    assert_int_equal(ctl_counters_decode(c2_buf_slice(&b), sum, &total), C2_E_OK);
    assert_int_equal(total, 21);
    for (unsigned k = 0; k < CTL_COUNTERS_MAX; k++)
        ctl_counter_add(&b, "c", 1);
    assert_int_equal(ctl_counters_decode(c2_buf_slice(&b), sum, &total), C2_E_PARSE);
    c2_buf_done(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request__round_trip),
        cmocka_unit_test(request__text_over_its_limit_is_refused),
        cmocka_unit_test(answer__round_trip_of_both_kinds),
        cmocka_unit_test(status__round_trip_keeps_every_field),
        cmocka_unit_test(jobs__come_back_in_order_and_are_bounded),
        cmocka_unit_test(status__control_bytes_never_reach_a_terminal),
        cmocka_unit_test(counters__come_back_in_order_and_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
