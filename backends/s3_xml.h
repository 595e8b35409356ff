/* SPDX-License-Identifier: MIT */
/*
 * The XML that S3 answers with, and nothing more of XML: a bounded pull parser and decoders for the
 * three documents we read. The bytes come from a provider that may be hostile: whatever is not
 * plainly well-formed, is too deep or too long, or has a DOCTYPE or an entity beyond the five of
 * XML, is C2_E_PARSE. Nothing recurses, nothing expands. A namespace means nothing, so its prefix
 * does not either.
 */
#ifndef C2_BACKENDS_S3_XML_H
#define C2_BACKENDS_S3_XML_H

#include "base/buf.h"

#define S3_XML_DEPTH_MAX    8
#define S3_XML_NAME_MAX     63
#define S3_XML_TEXT_MAX     4096               /* a key of 1,024 bytes, each as %XX, fits */
#define S3_XML_ERROR_MAX    (16u * 1024)       /* bytes of an <Error> document */
#define S3_XML_DOCUMENT_MAX (4u * 1024 * 1024) /* bytes of any other */

enum s3_xml_event {
    S3_XML_START, /* name[depth - 1] was opened */
    S3_XML_END,   /* name[depth - 1] is closed; text is what stood behind its last child */
    S3_XML_EOF,   /* the root element is closed and nothing but blanks follows */
};

struct s3_xml {
    struct c2_slice in; /* borrowed */
    size_t pos;
    unsigned depth;
    bool closing;   /* the END of name[depth - 1] was reported, it is popped by the next call */
    bool empty_tag; /* <a/>: its END comes next */
    bool root_seen;
    char name[S3_XML_DEPTH_MAX][S3_XML_NAME_MAX + 1];
    size_t text_len;
    char text[S3_XML_TEXT_MAX + 1]; /* zero-terminated; it holds no zero byte of its own */
};

/* An element's name without the prefix of its namespace. */
const char *s3_xml_local(const char *name);
void s3_xml_init(struct s3_xml *x, struct c2_slice in);
C2_RESULT s3_xml_next(struct s3_xml *x, enum s3_xml_event *ret_event);
/* Whether the current element is <root><...><name>, with `parent` right above it. */
bool s3_xml_at(const struct s3_xml *x, unsigned depth, const char *parent, const char *name);

/* <Error>. Texts are cut to their size and hold printable ASCII only. */
struct s3_error {
    char code[64];
    char message[128];
    char region[32];
};

C2_RESULT s3_xml_error(struct c2_slice in, struct s3_error *ret_error);

/* <ListBucketResult>, version 2. */
struct s3_list_key {
    size_t at; /* where the zero-terminated key starts in text */
    uint64_t size;
};

struct s3_list {
    struct c2_buf text;
    struct s3_list_key *keys; /* owned */
    size_t nkeys;
    size_t nskipped; /* keys that no request of ours could name: control bytes, too long */
    bool truncated;
    char *token; /* owned; of the next page, NULL = none */
};

void s3_list_done(struct s3_list *l);
/* More than keys_max keys are an error: the provider was asked for at most that many. Keys longer
 * than key_len_max or with control bytes are skipped. */
C2_RESULT s3_xml_list(struct c2_slice in, size_t keys_max, size_t key_len_max,
                      struct s3_list *ret_list);

/* <DeleteResult>: how many keys failed, and how the first one did. */
struct s3_delete_result {
    size_t nerrors;
    struct s3_error first;
};

C2_RESULT s3_xml_delete_result(struct c2_slice in, struct s3_delete_result *ret_result);

/* Appends <Delete> of these keys, each with the prefix before it; the answer lists failures only.
 */
void s3_xml_delete(const char *prefix, const char *const *keys, size_t nkeys, struct c2_buf *out);
/* Appends text with the five special characters as entities. */
void s3_xml_escape(const char *text, struct c2_buf *out);

#endif
