/* SPDX-License-Identifier: MIT */
/*
 * The file of meta dump and meta load:
 *
 *   {"c2fs_meta_dump":1}
 *   {"key":"6b","value":"76"}             for each key, in their order; hex digits
 *   {"keys":1,"sha256":"..."}             of the lines between
 *
 * It is canonical: for the same keys and values there is one file, to the last byte.
 */
#ifndef C2_TOOLS_DUMP_FILE_H
#define C2_TOOLS_DUMP_FILE_H

#include <stdio.h>

#include "base/crypto.h"
#include "metadata/coord.h"

#define DUMP_FILE_MARK     ".c2fs-load" /* a key that is in no dump: a load is under way */
#define DUMP_FILE_HASH_LEN (2 * C2_SHA256_LEN)
#define DUMP_FILE_LINE_MAX (2 * (COORD_KEY_MAX + COORD_VALUE_MAX) + 64)

struct dump_writer {
    FILE *out;                      /* borrowed */
    struct c2_sha256_stream *lines; /* owned, until dump_file_end */
    uint64_t keys;
    enum c2_err err; /* the first of the file; what is not yet flushed may have others */
};

void dump_file_begin(struct dump_writer *w, FILE *out);
/* Keys come in their order. */
void dump_file_add(struct dump_writer *w, struct c2_slice key, struct c2_slice value);
void dump_file_end(struct dump_writer *w, uint8_t ret_hash[C2_SHA256_LEN]);

struct dump_reader {
    FILE *in; /* borrowed */
    uint64_t keys;
    char hash[DUMP_FILE_HASH_LEN + 1]; /* the file's name, so to say: of its lines, in hex */
    char line[DUMP_FILE_LINE_MAX];     /* private */
};

/* Reads all of it; what is wrong, or NULL: `keys` and `hash` are known. */
const char *dump_file_check(struct dump_reader *r);

/* Once more, what was checked: `keys` times an entry, appended to `out` from at[0] (key) and at[1]
 * (value) to at[2]. False: it is not the same file any more. */
bool dump_file_restart(struct dump_reader *r);
bool dump_file_next(struct dump_reader *r, struct c2_buf *out, size_t at[3]);

#endif
