/* SPDX-License-Identifier: MIT */
/*
 * Decoders of the three S3 documents, on the pull parser of s3_xml.c, and the one that we send.
 */
#include "backends/s3_xml.h"

#include "backends/http_head.h"
#include "base/alloc.h"
#include "base/str.h"

#include <string.h>

static struct c2_slice
text_of(const struct s3_xml *x)
{
    return c2_slice(x->text, x->text_len);
}

/* The next END; *ret_more is false at the end of a document whose root is `root`. */
static C2_RESULT
next_end(struct s3_xml *x, const char *root, bool *ret_more)
{
    enum s3_xml_event event;
    do {
        C2_TRY(s3_xml_next(x, &event));
        if (event == S3_XML_START && x->depth == 1 && strcmp(s3_xml_local(x->name[0]), root) != 0)
            return C2_E_PARSE;
    } while (event == S3_XML_START);
    *ret_more = event == S3_XML_END;
    return C2_E_OK;
}

static void
take_error_field(const struct s3_xml *x, unsigned depth, struct s3_error *e)
{
    if (s3_xml_at(x, depth, "Error", "Code"))
        http_sanitise(text_of(x), e->code, sizeof(e->code));
    else if (s3_xml_at(x, depth, "Error", "Message"))
        http_sanitise(text_of(x), e->message, sizeof(e->message));
    else if (s3_xml_at(x, depth, "Error", "Region"))
        http_sanitise(text_of(x), e->region, sizeof(e->region));
}

C2_RESULT
s3_xml_error(struct c2_slice in, struct s3_error *ret_error)
{
    if (in.len > S3_XML_ERROR_MAX)
        return C2_E_PARSE;
    struct s3_xml x;
    struct s3_error e = { 0 };
    s3_xml_init(&x, in);
    for (;;) {
        bool more;
        C2_TRY(next_end(&x, "Error", &more));
        if (!more)
            break;
        take_error_field(&x, 2, &e);
    }
    *ret_error = e;
    return C2_E_OK;
}

C2_RESULT
s3_xml_delete_result(struct c2_slice in, struct s3_delete_result *ret_result)
{
    if (in.len > S3_XML_DOCUMENT_MAX)
        return C2_E_PARSE;
    struct s3_xml x;
    struct s3_delete_result d = { 0 };
    struct s3_error e = { 0 };
    s3_xml_init(&x, in);
    for (;;) {
        bool more;
        C2_TRY(next_end(&x, "DeleteResult", &more));
        if (!more)
            break;
        take_error_field(&x, 3, &e);
        if (!s3_xml_at(&x, 2, "DeleteResult", "Error"))
            continue;
        /* A key that was not there is as deleted as we wish it to be. */
        if (strcmp(e.code, "NoSuchKey") != 0 && d.nerrors++ == 0)
            d.first = e;
        e = (struct s3_error){ 0 };
    }
    *ret_result = d;
    return C2_E_OK;
}

void
s3_xml_delete(const char *prefix, const char *const *keys, size_t nkeys, struct c2_buf *out)
{
    c2_buf_puts(out, "<Delete><Quiet>true</Quiet>");
    for (size_t i = 0; i < nkeys; i++) {
        c2_buf_puts(out, "<Object><Key>");
        s3_xml_escape(prefix, out);
        s3_xml_escape(keys[i], out);
        c2_buf_puts(out, "</Key></Object>");
    }
    c2_buf_puts(out, "</Delete>");
}

void
s3_list_done(struct s3_list *l)
{
    c2_buf_done(&l->text);
    c2_free(l->keys);
    c2_free(l->token);
    *l = (struct s3_list){ 0 };
}

struct list_reader {
    struct s3_list list;
    size_t keys_max, key_len_max;
    size_t nseen;
    bool url_encoded;
    bool key_seen, size_seen; /* of the current <Contents> */
    struct s3_list_key key;   /* its raw text is in list.text */
    bool truncated_seen;
};

static C2_RESULT
contents_field(struct list_reader *r, const struct s3_xml *x)
{
    if (s3_xml_at(x, 3, "Contents", "Key")) {
        if (r->key_seen)
            return C2_E_PARSE;
        r->key_seen = true;
        r->key.at = r->list.text.len;
        c2_buf_append(&r->list.text, x->text, x->text_len + 1);
    } else if (s3_xml_at(x, 3, "Contents", "Size")) {
        r->size_seen = true;
        if (c2_u64_parse(text_of(x), UINT64_MAX, &r->key.size) != C2_E_OK)
            return C2_E_PARSE;
    }
    return C2_E_OK;
}

static C2_RESULT
contents_end(struct list_reader *r)
{
    if (!r->key_seen || !r->size_seen || ++r->nseen > r->keys_max)
        return C2_E_PARSE;
    r->list.keys[r->list.nkeys++] = r->key;
    r->key_seen = r->size_seen = false;
    return C2_E_OK;
}

static C2_RESULT
list_field(struct list_reader *r, const struct s3_xml *x)
{
    C2_TRY(contents_field(r, x));
    if (x->depth != 2)
        return C2_E_OK;
    const char *name = s3_xml_local(x->name[1]);
    if (strcmp(name, "Contents") == 0)
        return contents_end(r);
    if (strcmp(name, "EncodingType") == 0) {
        r->url_encoded = strcmp(x->text, "url") == 0;
    } else if (strcmp(name, "IsTruncated") == 0) {
        r->truncated_seen = true;
        r->list.truncated = strcmp(x->text, "true") == 0;
        if (!r->list.truncated && strcmp(x->text, "false") != 0)
            return C2_E_PARSE;
    } else if (strcmp(name, "NextContinuationToken") == 0) {
        c2_free(r->list.token);
        r->list.token = c2_strndup(x->text, x->text_len);
    }
    return C2_E_OK;
}

static bool
key_is_usable(const char *key, size_t len, size_t len_max)
{
    if (len == 0 || len > len_max || strlen(key) != len)
        return false;
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)key[i] < 0x20 || key[i] == 0x7f)
            return false;
    }
    return true;
}

/*
 * Keys are decoded after the whole document was read, because only then it is known whether they
 * are encoded. A decoded key is never longer, so it replaces the encoded one in place. A key that
 * does not decode stays as it is: s3rver leaves '%' bare, and such a key is not one of ours.
 */
static void
decode_keys(struct list_reader *r)
{
    struct s3_list *l = &r->list;
    C2_AUTO(c2_buf_done) struct c2_buf plain = { 0 };
    size_t kept = 0;
    for (size_t i = 0; i < l->nkeys; i++) {
        char *key = (char *)l->text.data + l->keys[i].at;
        size_t len = strlen(key);
        c2_buf_clear(&plain);
        if (r->url_encoded && c2_url_decode(c2_slice(key, len), &plain) == C2_E_OK) {
            C2_ASSERT(plain.len <= len);
            len = plain.len;
            if (len > 0)
                memcpy(key, plain.data, len);
            key[len] = '\0';
        }
        if (key_is_usable(key, len, r->key_len_max))
            l->keys[kept++] = l->keys[i];
        else
            l->nskipped++;
    }
    l->nkeys = kept;
}

static C2_RESULT
read_list(struct list_reader *r, struct c2_slice in)
{
    struct s3_xml x;
    s3_xml_init(&x, in);
    for (;;) {
        bool more;
        C2_TRY(next_end(&x, "ListBucketResult", &more));
        if (!more)
            break;
        C2_TRY(list_field(r, &x));
    }
    /* Without IsTruncated nobody knows whether this is everything. */
    return r->truncated_seen ? C2_E_OK : C2_E_PARSE;
}

C2_RESULT
s3_xml_list(struct c2_slice in, size_t keys_max, size_t key_len_max, struct s3_list *ret_list)
{
    if (in.len > S3_XML_DOCUMENT_MAX)
        return C2_E_PARSE;
    struct list_reader r = { .keys_max = keys_max, .key_len_max = key_len_max };
    r.list.keys = c2_calloc(keys_max, sizeof(r.list.keys[0]));
    enum c2_err err = read_list(&r, in);
    if (err != C2_E_OK) {
        s3_list_done(&r.list);
        return err;
    }
    decode_keys(&r);
    *ret_list = r.list;
    return C2_E_OK;
}
