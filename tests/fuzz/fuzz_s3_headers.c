/* SPDX-License-Identifier: MIT */
/*
 * The head of an answer, line by line, then everything that is made of its values: dates, waits,
 * ranges, and the check of a GET's answer against what was asked (first bytes of the input).
 */
#include "backends/s3_op.h"

#include "backends/http_addr.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
take_lines(struct http_head *h, struct c2_slice in)
{
    while (in.len > 0) {
        const uint8_t *end = memchr(in.data, '\n', in.len);
        size_t len = end == NULL ? in.len : (size_t)(end - in.data) + 1;
        if (http_head_line(h, c2_slice(in.data, len)) != C2_E_OK)
            return false;
        in = c2_slice(in.data + len, in.len - len);
    }
    C2_ASSERT(h->lines <= HTTP_HEADERS_MAX && h->bytes <= HTTP_HEAD_MAX);
    return true;
}

static void
parse_values(const struct http_head *h)
{
    static const char *const names[] = { "date", "retry-after", "content-range", "location" };
    for (size_t i = 0; i < C2_ARRAY_LEN(names); i++) {
        const char *value = http_head_get(h, names[i]);
        uint64_t ns;
        struct http_content_range r;
        char clean[16];
        C2_ASSERT(http_retry_after_parse(value, 0) <= 3600 * C2_NS_PER_S);
        if (value == NULL)
            continue;
        http_sanitise(c2_slice_str(value), clean, sizeof(clean));
        (void)(http_date_parse(value, &ns) == C2_E_OK);
        (void)http_addr_is_loopback(value);
        (void)http_addr_is_link_local(value);
        if (http_content_range_parse(value, &r) == C2_E_OK && !r.unsatisfied) {
            C2_ASSERT(r.first <= r.last);
            C2_ASSERT(!r.total_known || r.last < r.total);
        }
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_head h = { 0 };
    if (size < 3)
        return 0;
    struct prov_req r = { .verb = PROV_GET, .offset = data[0], .len = data[1] };
    size_t body_len = data[2];
    if (take_lines(&h, c2_slice(data + 3, size - 3))) {
        parse_values(&h);
        if (s3_get_check(&r, &h, body_len) == C2_E_OK) {
            /* What is accepted is what was asked for, cut at the end of the object at most. */
            C2_ASSERT(h.status == 200 || h.status == 206);
            C2_ASSERT(r.len == 0 || body_len <= r.len);
            C2_ASSERT(r.size == 0 || r.offset + body_len <= r.size);
        }
    }
    http_head_done(&h);
    return 0;
}
