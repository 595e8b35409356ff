/* SPDX-License-Identifier: MIT */
/*
 * The body of an answer as it arrives, never longer than allowed.
 */
#ifndef C2_BACKENDS_HTTP_BODY_H
#define C2_BACKENDS_HTTP_BODY_H

#include "base/buf.h"

/* Zeroed is empty. */
struct http_body {
    struct c2_blob *blob; /* owned; NULL before the first byte */
    size_t len;           /* bytes of it that are filled */
};

/*
 * declared: Content-Length, 0 = none. C2_E_TOO_LARGE as soon as the declared or the real length
 * passes len_max; nothing beyond it is ever allocated.
 */
C2_RESULT http_body_append(struct http_body *b, struct c2_slice bytes, uint64_t declared,
                           size_t len_max);
/* What was collected, maybe empty: one reference, the caller's. The body is empty afterwards. */
struct c2_blob *http_body_take(struct http_body *b);
void http_body_done(struct http_body *b);

#endif
