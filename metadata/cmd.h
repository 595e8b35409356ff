/* SPDX-License-Identifier: MIT */
/*
 * Encoded requests and answers of the coordination service, version 1. The layout is in
 * docs/metadata.md; golden bytes in the unit test pin it.
 *
 * An encoding is canonical: fields a verb does not use are not written, so equal requests are
 * equal bytes, and whatever decodes encodes to the same bytes again.
 */
#ifndef C2_METADATA_CMD_H
#define C2_METADATA_CMD_H

#include "metadata/coord.h"

/* A decoded request. Its arrays are kept for the next one; a zeroed struct is valid. */
struct cmd {
    struct coord_req req;     /* in fields only; slices borrow from the encoded bytes */
    struct coord_cond *conds; /* owned */
    size_t conds_cap;
    struct coord_op *ops; /* owned */
    size_t ops_cap;
    struct c2_slice *keys; /* owned */
    size_t keys_cap;
    struct coord_grant *grants; /* owned */
    size_t grants_cap;
};

/* TOO_LARGE beyond a bound, INVALID for what makes no sense, whatever the state is. */
C2_RESULT cmd_check(const struct coord_req *r);
/* PARSE for malformed bytes, else cmd_check of the result. */
C2_RESULT cmd_decode(struct c2_slice in, struct cmd *c);
void cmd_done(struct cmd *c);

/* The encoding of the request with `prefix` before each of its keys, but not before those of an
 * ACL; and whether they are short enough for that. */
void cmd_encode(const struct coord_req *r, struct c2_slice prefix, struct c2_buf *out);
bool cmd_fits(const struct coord_req *r, struct c2_slice prefix);
/* Takes the prefix from the keys of an answer; PROTOCOL in r->err when one lacks it. */
void cmd_strip(struct coord_req *r, struct c2_slice prefix);

/* The fixed part of an answer. */
struct cmd_reply {
    enum c2_err err;
    uint64_t version;
    uint64_t session;
    uint64_t cond_failed;
    bool more;
    uint32_t nentries;
};

/* An answer is the fixed part, then nentries entries, then the log as a byte string. begin keeps
 * room for the fixed part and returns its place, which end fills. */
size_t cmd_reply_begin(struct c2_buf *out);
void cmd_reply_entry(struct c2_buf *out, const struct coord_entry *e);
void cmd_reply_end(struct c2_buf *out, size_t at, const struct cmd_reply *fixed,
                   struct c2_slice log);
/* A whole answer that has nothing but its fixed part. */
void cmd_reply_plain(struct c2_buf *out, const struct cmd_reply *fixed);

/* Sets the version in an encoded answer to 0 and returns what it was. */
uint64_t cmd_reply_hide_version(struct c2_buf *reply);

/* Sets the out fields of r from an encoded answer and takes its memory; PROTOCOL in r->err when the
 * answer is malformed. */
void cmd_reply_take(struct coord_req *r, struct c2_buf *reply);

#endif
