/* SPDX-License-Identifier: MIT */
/*
 * Who may do what with which keys: the entries of an access control list, as coord.h describes
 * them, in the form in which questions are answered fast.
 */
#ifndef C2_METADATA_RIGHTS_H
#define C2_METADATA_RIGHTS_H

#include "metadata/coord.h"

struct rights_entry {
    struct c2_slice prefix;
    struct c2_slice grants; /* COORD_GRANT_LEN bytes each */
};

/* Zeros are a list without entries. */
struct rights {
    struct c2_buf bytes;        /* owned: what the entries lie in */
    struct rights_entry *entry; /* owned; ascending by prefix */
    size_t n;
    uint16_t *lens; /* owned; how long prefixes are, each once */
    size_t nlens;
};

/* Replaces what is there; `list` is (prefix as byte string, grants as byte string), ascending. */
C2_RESULT rights_load(struct rights *t, struct c2_slice list);
void rights_done(struct rights *t);

/* What the principal may do with the key: COORD_MAY_... */
unsigned rights_of(const struct rights *t, const uint8_t who[COORD_PRINCIPAL_LEN],
                   struct c2_slice key);
/* Whether the principal has these rights on all that may lie below the prefix. */
bool rights_below(const struct rights *t, const uint8_t who[COORD_PRINCIPAL_LEN],
                  struct c2_slice prefix, unsigned needed);
/* The entry of just this prefix; NULL = none. */
const struct rights_entry *rights_find(const struct rights *t, struct c2_slice prefix);
/* What an entry gives the principal. */
unsigned rights_granted(struct c2_slice grants, const uint8_t who[COORD_PRINCIPAL_LEN]);

#endif
