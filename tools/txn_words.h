/* SPDX-License-Identifier: MIT */
/*
 * The conditions and operations of "kv txn", as words.
 */
#ifndef C2_TOOLS_TXN_WORDS_H
#define C2_TOOLS_TXN_WORDS_H

#include "metadata/coord.h"

#define TXN_WORDS_MAX       64 /* conditions, and operations, on one command line */
#define TXN_WORDS_TOO_LARGE "--put KEY VALUE: a value has up to 64 KiB"

/* Keys and values are borrowed from the words, and end in a zero there. */
struct txn_words {
    struct coord_cond conds[TXN_WORDS_MAX];
    struct coord_op ops[TXN_WORDS_MAX];
    size_t nconds, nops;
    size_t stdin_op; /* the operation whose value is standard input; nops = none */
};

/* What is wrong with them, the caller's to free, or NULL. Whether a key may be one is not asked. */
char *txn_words_parse(struct txn_words *t, int argc, char *const *argv);

/* The word of a condition. */
const char *txn_words_cond(enum coord_cond_kind kind);

#endif
