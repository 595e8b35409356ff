/* SPDX-License-Identifier: MIT */
/*
 * Text helpers: hex, base64, sizes, durations, percent-encoding, nearest match.
 */
#ifndef C2_BASE_STR_H
#define C2_BASE_STR_H

#include "base/buf.h"

#define C2_SIZE_TEXT_MAX 32

/* Lower-case hex; out has room for 2 * len + 1. */
void c2_hex_encode(const void *data, size_t len, char *out);
/* text has exactly 2 * len hex digits. */
C2_RESULT c2_hex_decode(struct c2_slice text, void *out, size_t len);
/* The same, of lower-case digits only: one text per value, for names of files and objects. */
C2_RESULT c2_hex_decode_name(struct c2_slice text, void *out, size_t len);
void c2_base64_encode(struct c2_slice in, struct c2_buf *out);
C2_RESULT c2_base64_decode(struct c2_slice in, struct c2_buf *out);
/* "10G", "64MiB", "512": binary units K M G T P. */
C2_RESULT c2_size_parse(const char *text, uint64_t *ret_bytes);
/* "12.3 GiB"; returns out. */
const char *c2_size_format(uint64_t bytes, char out[C2_SIZE_TEXT_MAX]);
/* "250ms" "30s" "5m" "2h" "7d". */
C2_RESULT c2_duration_parse(const char *text, uint64_t *ret_ns);
const char *c2_duration_format(uint64_t ns, char out[C2_SIZE_TEXT_MAX]);
/* "12", "0.0053", ".5": billionths. Digits behind the ninth must be zero; no sign, no exponent. */
C2_RESULT c2_decimal_parse(const char *text, uint64_t *ret_billionths);
C2_RESULT c2_u64_parse(struct c2_slice text, uint64_t max, uint64_t *ret_value);
/* RFC 3986: everything but A-Za-z0-9-_.~ is encoded, upper-case hex; '/' stays when keep_slash. */
void c2_url_encode(struct c2_slice in, bool keep_slash, struct c2_buf *out);
/* Decodes %XX only ('+' stays). */
C2_RESULT c2_url_decode(struct c2_slice in, struct c2_buf *out);
/* The candidate with the smallest edit distance, or NULL when none is near enough to suggest. */
const char *c2_nearest(const char *word, const char *const *candidates, size_t count);
/* Monotonic wall time as ISO 8601 UTC, "2026-01-31T12:00:00Z". */
void c2_time_format(uint64_t wall_ns, char out[C2_SIZE_TEXT_MAX]);

#endif
