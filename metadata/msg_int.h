/* SPDX-License-Identifier: MIT */
/*
 * What the files that encode and decode messages share.
 */
#ifndef C2_METADATA_MSG_INT_H
#define C2_METADATA_MSG_INT_H

#include "base/wire.h"
#include "metadata/msg.h"

void msg_put_head(struct c2_buf *out, const struct msg_head *h, enum msg_type type);
/* Checks the head and the type; a cursor over the body, without the signature. */
C2_RESULT msg_body(struct c2_slice in, enum msg_type type, struct c2_rd *ret_body);
/* count byte strings, as one slice. */
struct c2_slice msg_rd_list(struct c2_rd *r, uint32_t count);

#endif
