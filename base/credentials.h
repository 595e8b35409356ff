/* SPDX-License-Identifier: MIT */
/*
 * Access keys of a provider. The first place that has any counts:
 *
 *   1. $CREDENTIALS_DIRECTORY/PROVIDER      systemd credential, `key = value` lines
 *   2. credential_command of [PROVIDER]     in the credentials file; prints such lines, or the JSON
 *                                           of AWS's credential_process
 *   3. the keys of [PROVIDER]               in the credentials file ([c2fs] credentials)
 *   4. C2FS_PROVIDER_ACCESS_KEY_ID, …_SECRET_ACCESS_KEY, …_SESSION_TOKEN; upper case, other
 *      characters than letters and digits become "_"
 *   5. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
 *
 * Keys: access_key_id, secret_access_key, session_token, credential_command. A place that has half
 * a pair, or that cannot be read safely, is an error: falling through would use the wrong account.
 */
#ifndef C2_BASE_CREDENTIALS_H
#define C2_BASE_CREDENTIALS_H

#include "base/conf.h"

#define C2_CREDENTIAL_LEN_MAX  4096
#define C2_CREDENTIAL_FILE_MAX 65536

struct c2_credentials {
    char *access_key_id;     /* owned, in secret memory */
    char *secret_access_key; /* likewise */
    char *session_token;     /* likewise, or NULL */
    char *origin;            /* owned: where they are from, for people */
};

/*
 * Blocks: may run a command for up to 30 s. C2_E_NOT_FOUND when no place has any, C2_E_ACCESS for a
 * file that others can read, C2_E_CONFIG, C2_E_TIMEOUT; ret_error gets a sentence that says what to
 * type (the caller frees). Values are printable and at most C2_CREDENTIAL_LEN_MAX long.
 */
C2_RESULT c2_credentials_lookup(const struct c2_conf *conf, const char *provider,
                                struct c2_credentials *ret, char **ret_error);
/* Wipes and frees; zeroed is fine. */
void c2_credentials_done(struct c2_credentials *c);

#endif
