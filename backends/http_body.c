/* SPDX-License-Identifier: MIT */
/*
 * A declared length is allocated at once and filled in place; an undeclared one doubles.
 */
#include "backends/http_body.h"

#include <string.h>

#define START_LEN (64u * 1024)

static void
reserve(struct http_body *b, size_t want, uint64_t declared, size_t len_max)
{
    if (b->blob != NULL && b->blob->len >= want)
        return;
    size_t size = b->blob == NULL ? START_LEN : C2_MIN(2 * b->blob->len, len_max);
    if (declared > 0)
        size = (size_t)declared;
    struct c2_blob *larger = c2_blob_new(C2_MAX(C2_MIN(size, len_max), want));
    if (b->blob != NULL)
        memcpy(larger->data, b->blob->data, b->len);
    c2_blob_unref(b->blob);
    b->blob = larger;
}

C2_RESULT
http_body_append(struct http_body *b, struct c2_slice bytes, uint64_t declared, size_t len_max)
{
    C2_ASSERT(b->len <= len_max);
    if (bytes.len > len_max - b->len || declared > len_max)
        return C2_E_TOO_LARGE;
    if (bytes.len == 0)
        return C2_E_OK;
    reserve(b, b->len + bytes.len, declared, len_max);
    memcpy(b->blob->data + b->len, bytes.data, bytes.len);
    b->len += bytes.len;
    return C2_E_OK;
}

struct c2_blob *
http_body_take(struct http_body *b)
{
    struct c2_blob *blob = b->blob != NULL ? b->blob : c2_blob_new(0);
    blob->len = b->len;
    *b = (struct http_body){ 0 };
    return blob;
}

void
http_body_done(struct http_body *b)
{
    c2_blob_unref(b->blob);
    *b = (struct http_body){ 0 };
}
