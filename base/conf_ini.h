/* SPDX-License-Identifier: MIT */
/*
 * The INI grammar: a pull parser over text in memory.
 *
 *   [type "name"]   [type]                 sections
 *   key = value     key = "quoted ; text"  \" \\ \n \t inside quotes
 *   ; comment       # comment              lines of their own
 *   key = value  ; comment                 after white space, not inside quotes
 *
 * A value that is one quoted string loses its quotes; quotes inside a longer value stay.
 */
#ifndef C2_BASE_CONF_INI_H
#define C2_BASE_CONF_INI_H

#include "base/buf.h"

enum c2_ini_kind { C2_INI_END, C2_INI_SECTION, C2_INI_KEY, C2_INI_BAD };

/* Texts are valid until the next call. */
struct c2_ini {
    struct c2_slice text; /* borrowed */
    size_t pos;
    unsigned line; /* of the last item, from 1 */

    enum c2_ini_kind kind;
    struct c2_buf first;  /* type of a section, name of a key; zero-terminated */
    struct c2_buf second; /* name of a section or "", value of a key; zero-terminated */
    const char *problem;  /* C2_INI_BAD: what is wrong with the line */
};

void c2_ini_init(struct c2_ini *ini, struct c2_slice text);
/* Wipes what it held: values may be secrets. */
void c2_ini_done(struct c2_ini *ini);
enum c2_ini_kind c2_ini_next(struct c2_ini *ini);
const char *c2_ini_first(const struct c2_ini *ini);
const char *c2_ini_second(const struct c2_ini *ini);

#endif
