/* SPDX-License-Identifier: MIT */
/*
 * Access keys as text: `key = value` lines, or the JSON of AWS's credential_process. Private to
 * base/credentials*.c.
 */
#ifndef C2_BASE_CREDENTIALS_TEXT_H
#define C2_BASE_CREDENTIALS_TEXT_H

#include "base/credentials.h"

enum c2_cred_field { C2_CRED_ID, C2_CRED_SECRET, C2_CRED_TOKEN, C2_CRED_FIELDS };

extern const char *const c2_cred_names[C2_CRED_FIELDS]; /* "access_key_id" */

/* What one place gave. */
struct c2_cred_found {
    char *value[C2_CRED_FIELDS]; /* secret memory; NULL = absent, never empty */
    char *command;               /* owned, or NULL */
};

/* Wipes and frees; zeroed is fine. */
void c2_cred_found_done(struct c2_cred_found *f);

/*
 * All fail with C2_E_CONFIG and a sentence (the caller frees); *f is to be freed all the same. An
 * empty value counts as absent. origin: where the text is from, for people.
 */
C2_RESULT c2_cred_keep(struct c2_cred_found *f, enum c2_cred_field field, struct c2_slice v,
                       const char *origin, char **ret_error);
/* With a section name only the lines below [section] count, but all are checked; without one there
 * must be no sections. */
C2_RESULT c2_cred_parse_lines(struct c2_slice text, const char *section, const char *origin,
                              struct c2_cred_found *f, char **ret_error);
/* What a command printed: lines, or JSON. Changes the text, and does not move it when there is room
 * for a zero. */
C2_RESULT c2_cred_parse_output(struct c2_buf *text, const char *origin, struct c2_cred_found *f,
                               char **ret_error);

#endif
