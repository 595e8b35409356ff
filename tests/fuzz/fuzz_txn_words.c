/* SPDX-License-Identifier: MIT */
/*
 * The conditions and operations of "c2fsctl kv txn": words, each with a zero behind it.
 *
 * What is taken can be written as words and is then the same; the service takes it as well, unless
 * a key or the whole is beyond its bounds.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "metadata/cmd.h"
#include "tools/txn_words.h"

#define WORDS_MAX (4 * TXN_WORDS_MAX + 8) /* a little more than fit */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const op_words[] = { [COORD_PUT] = "--put",
                                        [COORD_DELETE] = "--delete",
                                        [COORD_DELETE_RANGE] = "--delete-prefix",
                                        [COORD_ADD] = "--add" };

static void
put_word(struct c2_buf *out, const char *text)
{
    c2_buf_append(out, text, strlen(text) + 1);
}

/* A borrowed slice of the words ends where they do. */
static const char *
word_of(struct c2_slice s)
{
    const char *text = (const char *)s.data;
    C2_ASSERT(strlen(text) == s.len);
    return text;
}

static void
write_words(const struct txn_words *t, struct c2_buf *out)
{
    for (size_t i = 0; i < t->nconds; i++) {
        const struct coord_cond *c = &t->conds[i];
        put_word(out, txn_words_cond(c->kind));
        put_word(out, word_of(c->key));
        if (c->kind == COORD_VALUE_EQ)
            put_word(out, word_of(c->value));
        if (c->kind == COORD_VERSION_EQ)
            c2_buf_printf(out, "%llu%c", (unsigned long long)c->number, '\0');
    }
    for (size_t i = 0; i < t->nops; i++) {
        const struct coord_op *o = &t->ops[i];
        put_word(out, op_words[o->kind]);
        put_word(out, word_of(o->key));
        if (o->kind == COORD_PUT)
            put_word(out, i == t->stdin_op ? "-" : word_of(o->value));
        if (o->kind == COORD_ADD)
            c2_buf_printf(out, "%lld%c", (long long)o->number, '\0');
    }
}

/* The words in `text`, which ends in a zero; how many. */
static int
split(struct c2_slice text, char *ret_words[WORDS_MAX])
{
    int n = 0;
    const char *at = (const char *)text.data, *end = at + text.len;
    for (; at < end && n < WORDS_MAX; at += strlen(at) + 1)
        ret_words[n++] = c2_strdup(at); /* of its own, so that a read past the end is seen */
    return n;
}

static void
free_words(char **word, int n)
{
    for (int i = 0; i < n; i++)
        c2_free(word[i]);
}

static void
expect_same(const struct txn_words *t, const struct txn_words *u)
{
    C2_ASSERT(t->nconds == u->nconds && t->nops == u->nops && t->stdin_op == u->stdin_op);
    for (size_t i = 0; i < t->nconds; i++) {
        const struct coord_cond *a = &t->conds[i], *b = &u->conds[i];
        C2_ASSERT(a->kind == b->kind && c2_slice_equal(a->key, b->key));
        C2_ASSERT(c2_slice_equal(a->value, b->value) && a->number == b->number);
    }
    for (size_t i = 0; i < t->nops; i++) {
        const struct coord_op *a = &t->ops[i], *b = &u->ops[i];
        C2_ASSERT(a->kind == b->kind && c2_slice_equal(a->key, b->key));
        C2_ASSERT(c2_slice_equal(a->value, b->value) && a->number == b->number);
    }
}

static void
write_again(const struct txn_words *t)
{
    C2_AUTO(c2_buf_done) struct c2_buf out = { 0 };
    struct txn_words u;
    char *word[WORDS_MAX];
    write_words(t, &out);
    int n = split(c2_buf_slice(&out), word);
    C2_ASSERT(txn_words_parse(&u, n, word) == NULL);
    expect_same(t, &u);
    free_words(word, n);
}

static void
give_to_service(const struct txn_words *t)
{
    const struct coord_req r = {
        .verb = COORD_TXN, .conds = t->conds, .nconds = t->nconds, .ops = t->ops, .nops = t->nops
    };
    C2_AUTO(c2_buf_done) struct c2_buf command = { 0 };
    C2_AUTO(c2_buf_done) struct c2_buf again = { 0 };
    struct cmd c = { 0 };
    enum c2_err err = cmd_check(&r);
    C2_ASSERT(err == C2_E_OK || err == C2_E_INVALID || err == C2_E_TOO_LARGE);
    if (err != C2_E_OK)
        return;
    coord_txn_encode(&r, &command);
    C2_ASSERT(cmd_decode(c2_buf_slice(&command), &c) == C2_E_OK);
    coord_txn_encode(&c.req, &again);
    C2_ASSERT(c2_slice_equal(c2_buf_slice(&command), c2_buf_slice(&again)));
    cmd_done(&c);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    C2_AUTO(c2_buf_done) struct c2_buf text = { 0 };
    struct txn_words t;
    char *word[WORDS_MAX];
    c2_buf_append(&text, data, size);
    c2_buf_append(&text, "", 1);
    int n = split(c2_buf_slice(&text), word);
    char *problem = txn_words_parse(&t, n, word);
    C2_ASSERT(t.nconds <= TXN_WORDS_MAX && t.nops <= TXN_WORDS_MAX && t.stdin_op <= t.nops);
    C2_ASSERT(problem == NULL || *problem != '\0');
    if (problem == NULL) {
        write_again(&t);
        give_to_service(&t);
    }
    c2_free(problem);
    free_words(word, n);
    return 0;
}
