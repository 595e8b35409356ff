/* SPDX-License-Identifier: MIT */
#include "tools/txn_words.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

struct word {
    const char *name;
    int nargs;
    const char *args; /* of those that take two */
    bool cond;
    int kind;
};

static const struct word words[] = {
    { "--if-exists", 1, NULL, true, COORD_EXISTS },
    { "--if-absent", 1, NULL, true, COORD_ABSENT },
    { "--if-version", 2, "KEY VERSION", true, COORD_VERSION_EQ },
    { "--if-value", 2, "KEY VALUE", true, COORD_VALUE_EQ },
    { "--put", 2, "KEY VALUE", false, COORD_PUT },
    { "--delete", 1, NULL, false, COORD_DELETE },
    { "--delete-prefix", 1, NULL, false, COORD_DELETE_RANGE },
    { "--add", 2, "KEY NUMBER", false, COORD_ADD },
};

static bool
signed_number(const char *text, int64_t *ret)
{
    bool negative = *text == '-', sign = negative || *text == '+';
    uint64_t size, max = (uint64_t)INT64_MAX + negative;
    if (c2_u64_parse(c2_slice_str(text + sign), max, &size) != C2_E_OK)
        return false;
    *ret = (int64_t)(negative ? 0 - size : size);
    return true;
}

const char *
txn_words_cond(enum coord_cond_kind kind)
{
    for (size_t i = 0; i < C2_ARRAY_LEN(words); i++) {
        if (words[i].cond && words[i].kind == (int)kind)
            return words[i].name;
    }
    return "";
}

/* What is wrong with it, or NULL. */
static const char *
parse_cond(struct txn_words *t, const struct word *w, char *const *argv)
{
    struct coord_cond *c = &t->conds[t->nconds];
    if (t->nconds == TXN_WORDS_MAX)
        return "takes at most 64 conditions";
    *c = (struct coord_cond){ .kind = (enum coord_cond_kind)w->kind, .key = c2_slice_str(argv[1]) };
    if (c->kind == COORD_VALUE_EQ)
        c->value = c2_slice_str(argv[2]);
    if (c->kind == COORD_VERSION_EQ &&
        c2_u64_parse(c2_slice_str(argv[2]), UINT64_MAX, &c->number) != C2_E_OK)
        return "--if-version KEY VERSION: a version is a number";
    t->nconds++;
    return NULL;
}

static const char *
parse_op(struct txn_words *t, const struct word *w, char *const *argv)
{
    struct coord_op *o = &t->ops[t->nops];
    if (t->nops == TXN_WORDS_MAX)
        return "takes at most 64 operations";
    *o = (struct coord_op){ .kind = (enum coord_op_kind)w->kind, .key = c2_slice_str(argv[1]) };
    if (o->kind == COORD_ADD && !signed_number(argv[2], &o->number))
        return "--add KEY NUMBER: an integer of 64 bits";
    if (o->kind == COORD_PUT && strcmp(argv[2], "-") == 0) {
        if (t->stdin_op < TXN_WORDS_MAX)
            return "standard input can be the value of one key only";
        t->stdin_op = t->nops;
    } else if (o->kind == COORD_PUT) {
        o->value = c2_slice_str(argv[2]);
        if (o->value.len > COORD_VALUE_MAX)
            return TXN_WORDS_TOO_LARGE;
    }
    t->nops++;
    return NULL;
}

/* One condition or operation at argv[0]: how many words it took, or 0 and what is wrong. */
static int
parse_word(struct txn_words *t, int argc, char *const *argv, char **ret_problem)
{
    const struct word *w = NULL;
    for (size_t i = 0; i < C2_ARRAY_LEN(words); i++) {
        if (strcmp(argv[0], words[i].name) == 0)
            w = &words[i];
    }
    if (w == NULL) {
        *ret_problem = c2_asprintf("%s is no condition and no operation", argv[0]);
        return 0;
    }
    if (argc <= w->nargs) {
        *ret_problem = c2_asprintf("%s takes %s", w->name, w->nargs == 1 ? "a key" : w->args);
        return 0;
    }
    const char *problem = w->cond ? parse_cond(t, w, argv) : parse_op(t, w, argv);
    if (problem != NULL)
        *ret_problem = c2_strdup(problem);
    return problem == NULL ? w->nargs + 1 : 0;
}

char *
txn_words_parse(struct txn_words *t, int argc, char *const *argv)
{
    char *problem = NULL;
    *t = (struct txn_words){ .stdin_op = TXN_WORDS_MAX };
    for (int at = 0, took = 1; at < argc && took > 0; at += took)
        took = parse_word(t, argc - at, argv + at, &problem);
    t->stdin_op = C2_MIN(t->stdin_op, t->nops);
    return problem;
}
