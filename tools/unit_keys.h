/* SPDX-License-Identifier: MIT */
/*
 * Key files of those who write units: "secret = HEX" and "public = HEX" lines, or bare public keys;
 * # begins a comment.
 */
#ifndef C2_TOOLS_UNIT_KEYS_H
#define C2_TOOLS_UNIT_KEYS_H

#include "depsky/unit.h"

#define UNIT_KEYS_HEX_LEN (2 * DS_UNIT_PUBLIC_LEN)

struct unit_keys {
    uint8_t writers[DS_UNIT_WRITERS_MAX][DS_UNIT_PUBLIC_LEN]; /* each once */
    size_t nwriters;
    uint8_t
        *secret; /* owned, in secret memory; NULL = none. Its public half is among the writers */
};

/* Wipes and frees; zeroed is fine. */
void unit_keys_done(struct unit_keys *k);
/* TOO_LARGE: there are too many. */
C2_RESULT unit_keys_add(struct unit_keys *k, const uint8_t writer[DS_UNIT_PUBLIC_LEN]);
/* Adds what a file has, its secret only when it is wanted and there is none yet. TOO_LARGE; CONFIG
 * and what is wrong. */
C2_RESULT unit_keys_parse(struct unit_keys *k, struct c2_slice text, bool want_secret,
                          const char **ret_problem);

#endif
