/* SPDX-License-Identifier: MIT */
/*
 * What c2fsctl does with key files: show, verify, recovery kit and back, another passphrase. A
 * passphrase comes from where mounts get it (C2FS_PASSPHRASE_FILE, passphrase_command, the
 * terminal). Runs the loop until it is done: for tools.
 */
#ifndef C2_FS_KEY_ADMIN_H
#define C2_FS_KEY_ADMIN_H

#include "fs/volume.h"

struct key_admin {
    struct c2_os *os;
    const struct c2_conf *conf;
    const char *volume;
    volume_ask *ask;           /* NULL = there is no terminal */
    struct volume_error error; /* out */
};

/* Where the file is (c2_free) and what its header says; no passphrase is needed. */
C2_RESULT key_admin_status(struct key_admin *a, char **ret_path, struct key_file *ret_info);
/* Opens it; ret_check: 16 bytes that identify the key without telling it. */
C2_RESULT key_admin_verify(struct key_admin *a, struct key_file *ret_info, uint8_t ret_check[16]);
/* The key as text for paper; the caller wipes it. */
C2_RESULT key_admin_kit(struct key_admin *a, struct c2_buf *ret_kit);
/* Seals the file anew. new_passphrase NULL: asked for on the terminal, twice; "": plain. The file
 * is replaced whole or not at all. */
C2_RESULT key_admin_change(struct key_admin *a, const char *new_passphrase);
/* Makes the key file from a kit; refuses to replace one (EXISTS). *ret_bad_line: the numbered line
 * that is mistyped, 0 = none. */
C2_RESULT key_admin_restore(struct key_admin *a, struct c2_slice kit, const char *new_passphrase,
                            unsigned *ret_bad_line);

#endif
