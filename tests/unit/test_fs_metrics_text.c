/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/env.h"
#include "fs/metrics_text.h"

static void
text__escapes_labels(void **state)
{
    (void)state;
    const struct metrics_label labels[2] = { { "a", "x\"y\\z\nw" }, { "b", "" } };
    const struct metrics_label none[2] = { 0 };
    struct c2_buf out = { 0 };
    metrics_family(&out, "n", "gauge", "Help.");
    metrics_count(&out, "n", labels, UINT64_MAX);
    metrics_seconds(&out, "n", none, 1500000001);
    assert_string_equal(c2_buf_cstr(&out), "# HELP n Help.\n"
                                           "# TYPE n gauge\n"
                                           "n{a=\"x\\\"y\\\\z\\nw\",b=\"\"} 18446744073709551615\n"
                                           "n 1.500000001\n");
    c2_buf_done(&out);
}

static struct ctl_status *
sample_status(void)
{
    struct ctl_status *s = c2_calloc(1, sizeof(*s));
    ctl_set(s->volume, sizeof(s->volume), "v");
    ctl_set(s->version, sizeof(s->version), "1");
    s->n = 4;
    s->f = 1;
    s->journal_used = 7;
    s->backlog_oldest_ns = 2 * C2_NS_PER_S;
    s->nproviders = 2;
    for (unsigned k = 0; k < 2; k++) {
        struct ctl_provider *p = &s->providers[k];
        ctl_set(p->name, sizeof(p->name), k == 0 ? "aws" : "ovh");
        ctl_set(p->state, sizeof(p->state), "online");
        p->requests[0] = 10 + k;
    }
    s->providers[0].p50_ns = 1000000;
    s->providers[0].p99_ns = 2000000;
    s->providers[1].errors = 3;
    s->providers[1].corrupt = 4;
    s->providers[1].absent = 5;
    s->providers[1].hedges = 6;
    return s;
}

static char *
status_text(const struct ctl_status *s)
{
    struct c2_buf out = { 0 };
    metrics_status(&out, s);
    char *text = c2_strdup(c2_buf_cstr(&out));
    c2_buf_done(&out);
    return text;
}

static void
has_line(const char *text, const char *line)
{
    char *want = c2_asprintf("\n%s\n", line);
    if (strstr(text, want) == NULL)
        fail_msg("no line \"%s\" in:\n%s", line, text);
    c2_free(want);
}

static void
text__has_what_the_status_says(void **state)
{
    (void)state;
    struct ctl_status *s = sample_status();
    char *text = status_text(s);
    has_line(text, "c2fs_info{volume=\"v\",version=\"1\"} 1");
    has_line(text, "c2fs_degraded 0");
    has_line(text, "c2fs_journal_bytes 7");
    has_line(text, "c2fs_journal_oldest_seconds 2.000000000");
    has_line(text, "c2fs_provider_up{provider=\"ovh\"} 1");
    has_line(text, "c2fs_provider_seconds{provider=\"aws\",quantile=\"0.5\"} 0.001000000");
    has_line(text, "c2fs_provider_seconds{provider=\"aws\",quantile=\"0.99\"} 0.002000000");
    assert_null(strstr(text, "c2fs_provider_seconds{provider=\"ovh\""));
    has_line(text, "c2fs_provider_errors_total{provider=\"ovh\",class=\"request\"} 3");
    has_line(text, "c2fs_provider_errors_total{provider=\"ovh\",class=\"corrupt\"} 4");
    has_line(text, "c2fs_hedges_total{provider=\"aws\"} 0");
    has_line(text, "c2fs_hedges_total{provider=\"ovh\"} 6");
    has_line(text, "c2fs_shares_missing_total{provider=\"ovh\"} 5");
    has_line(text, "c2fs_requests_total{provider=\"ovh\",verb=\"put\"} 11");
    assert_null(strstr(text, "c2fs_unshipped"));
    c2_free(text);

    ctl_set(s->providers[0].state, sizeof(s->providers[0].state), "unreachable");
    s->ships = true;
    s->unshipped_txns = 6;
    s->shares_missing = 21;
    s->repairs_total = 22;
    text = status_text(s);
    has_line(text, "c2fs_shares_missing 21");
    has_line(text, "c2fs_repairs_total 22");
    has_line(text, "c2fs_degraded 1");
    has_line(text, "c2fs_provider_up{provider=\"aws\"} 0");
    has_line(text, "c2fs_provider_up{provider=\"ovh\"} 1");
    has_line(text, "c2fs_provider_state{provider=\"aws\",state=\"unreachable\"} 1");
    has_line(text, "c2fs_unshipped_transactions 6");
    c2_free(text);
    c2_free(s);
}

/* Each family is announced once, and its values follow at once. */
static void
text__keeps_families_together(void **state)
{
    (void)state;
    struct ctl_status *s = sample_status();
    s->ships = true;
    char *text = status_text(s), *rest = text, *seen = c2_strdup(" "), family[80] = "";
    unsigned values = 0;
    for (char *line = strsep(&rest, "\n"); rest != NULL; line = strsep(&rest, "\n")) {
        if (sscanf(line, "# HELP %79s", family) == 1) {
            char *mark = c2_asprintf(" %s ", family);
            assert_null(strstr(seen, mark));
            char *more = c2_asprintf("%s%s ", seen, family);
            c2_free(mark);
            c2_free(seen);
            seen = more;
        } else if (strncmp(line, "# TYPE ", 7) == 0) {
            assert_memory_equal(line + 7, family, strlen(family));
        } else {
            size_t len = strcspn(line, "{ ");
            assert_int_equal(len, strlen(family));
            assert_memory_equal(line, family, len);
            values++;
        }
    }
    assert_true(values > 30);
    c2_free(seen);
    c2_free(text);
    c2_free(s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text__escapes_labels),
        cmocka_unit_test(text__has_what_the_status_says),
        cmocka_unit_test(text__keeps_families_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
