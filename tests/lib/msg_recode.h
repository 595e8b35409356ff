/* SPDX-License-Identifier: MIT */
#ifndef C2_TESTS_LIB_MSG_RECODE_H
#define C2_TESTS_LIB_MSG_RECODE_H

#include "metadata/msg.h"

/* Decodes a message of any type and encodes what came out; walks the lists inside. */
C2_RESULT msg_recode(struct c2_slice in, struct c2_buf *out);

#endif
