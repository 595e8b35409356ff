/* SPDX-License-Identifier: MIT */
/*
 * The error table. Names are written out, because the preprocessor cannot lower case; a test
 * compares them with err.def.
 */
#include "base/err.h"

#include <errno.h>
#include <stddef.h>

#include "base/base.h"

struct err_row {
    int err_no;
    enum c2_err_class err_class;
    const char *text;
};

static const struct err_row rows[C2_E_COUNT] = {
#define X(name, err_no, err_class, text) { err_no, C2_CLASS_##err_class, text },
#include "base/err.def"
#undef X
};

static const char *const names[] = {
    "ok",
    "nomem",
    "invalid",
    "parse",
    "too_large",
    "not_found",
    "exists",
    "not_dir",
    "is_dir",
    "not_empty",
    "name_too_long",
    "links",
    "access",
    "not_permitted",
    "read_only",
    "no_space",
    "quota",
    "busy",
    "again",
    "interrupted",
    "canceled",
    "timeout",
    "unreachable",
    "unavailable",
    "throttled",
    "auth",
    "redirect",
    "tls",
    "protocol",
    "precondition",
    "unsupported",
    "corrupt",
    "quorum",
    "damaged",
    "io",
    "conflict",
    "fenced",
    "session",
    "version",
    "key",
    "config",
    "no_data",
    "range",
    "not_mounted",
    "stale",
    "loop",
    "cross_device",
    "no_locks",
    "deadlock",
    "no_device",
    "no_syscall",
    "bad_handle",
};

_Static_assert(C2_ARRAY_LEN(names) == C2_E_COUNT, "a row of err.def has no name here");

static bool
known(enum c2_err err)
{
    return (unsigned)err < C2_E_COUNT;
}

const char *
c2_err_name(enum c2_err err)
{
    return known(err) ? names[err] : "unknown";
}

const char *
c2_err_text(enum c2_err err)
{
    return known(err) ? rows[err].text : "unknown error";
}

enum c2_err_class
c2_err_class(enum c2_err err)
{
    return known(err) ? rows[err].err_class : C2_CLASS_BUG;
}

int
c2_err_errno(enum c2_err err)
{
    return known(err) ? rows[err].err_no : EIO;
}

/* Values that have no row of their own, or whose first row means something narrower. */
static enum c2_err
special_errno(int err_no)
{
    switch (err_no) {
    case EIO:
    case EPROTO:
        return C2_E_IO;
    case ENETUNREACH:
    case ENETDOWN:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
        return C2_E_UNREACHABLE;
    case EUCLEAN:
        return C2_E_DAMAGED;
    case EOVERFLOW:
        return C2_E_RANGE;
    case ENODEV:
        return C2_E_NO_DEVICE;
    case EMFILE:
    case ENFILE:
        return C2_E_BUSY;
    default:
        return C2_E_COUNT;
    }
}

enum c2_err
c2_err_from_errno(int err_no)
{
    enum c2_err special = special_errno(err_no);
    if (special != C2_E_COUNT)
        return special;
    for (unsigned i = 0; i < C2_E_COUNT; i++) {
        if (rows[i].err_no == err_no)
            return (enum c2_err)i;
    }
    return C2_E_IO;
}
