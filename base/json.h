/* SPDX-License-Identifier: MIT */
/*
 * JSON writer: appends to a c2_buf, keeps track of commas and nesting, escapes strings (invalid
 * UTF-8 bytes become U+FFFD). key is NULL inside arrays.
 */
#ifndef C2_BASE_JSON_H
#define C2_BASE_JSON_H

#include "base/buf.h"

#define C2_JSON_DEPTH_MAX 16

struct c2_json {
    struct c2_buf *out; /* borrowed */
    unsigned depth;
    bool comma[C2_JSON_DEPTH_MAX];
};

/* Length of the valid UTF-8 sequence at p, 0 when there is none. */
size_t c2_utf8_len(const uint8_t *p, size_t left);

void c2_json_init(struct c2_json *j, struct c2_buf *out);
void c2_json_object(struct c2_json *j, const char *key);
void c2_json_object_end(struct c2_json *j);
void c2_json_array(struct c2_json *j, const char *key);
void c2_json_array_end(struct c2_json *j);
void c2_json_str(struct c2_json *j, const char *key, const char *value); /* NULL gives null */
void c2_json_u64(struct c2_json *j, const char *key, uint64_t value);
void c2_json_i64(struct c2_json *j, const char *key, int64_t value);
void c2_json_bool(struct c2_json *j, const char *key, bool value);

#endif
