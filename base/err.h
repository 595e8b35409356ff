/* SPDX-License-Identifier: MIT */
/*
 * One error enumeration for the whole project. The table is base/err.def; c2fs-errors(7) explains
 * each entry and a test compares the two.
 */
#ifndef C2_BASE_ERR_H
#define C2_BASE_ERR_H

enum c2_err {
#define X(name, err_no, err_class, text) C2_E_##name,
#include "base/err.def"
#undef X
    C2_E_COUNT,
};

enum c2_err_class { C2_CLASS_OK, C2_CLASS_RETRY, C2_CLASS_PERM, C2_CLASS_DATA, C2_CLASS_BUG };

/* "not_found": stable, lower case, used in logs and JSON. */
const char *c2_err_name(enum c2_err err);
/* "not found": for people. */
const char *c2_err_text(enum c2_err err);
enum c2_err_class c2_err_class(enum c2_err err);
/* The errno that the kernel or a caller outside gets; positive, 0 for C2_E_OK. */
int c2_err_errno(enum c2_err err);
/* The nearest error for an errno value; C2_E_IO when nothing fits. */
enum c2_err c2_err_from_errno(int err_no);

#endif
