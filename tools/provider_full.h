/* SPDX-License-Identifier: MIT */
/*
 * provider test --full: what the short probe (backends/registry.h) leaves out because it takes
 * longer: consistency over many objects, races, order and paging, checksums, TLS, latency, speed.
 */
#ifndef C2_TOOLS_PROVIDER_FULL_H
#define C2_TOOLS_PROVIDER_FULL_H

#include "backends/registry.h"

struct c2_os;

#define FULL_SPEED_BYTES (8u << 20)

enum full_check {
    FULL_READ_AFTER_WRITE,
    FULL_LIST_AFTER_WRITE,
    FULL_READ_AFTER_REPLACE,
    FULL_LIST_ORDER,
    FULL_RANGES,
    FULL_CREATE_RACE,
    FULL_DELETE_MANY,
    FULL_READ_AFTER_DELETE,
    FULL_MD5,
    FULL_SHA256,
    FULL_PAYLOAD,
    FULL_TLS,
    FULL_TLS_NOBODY,
    FULL_TLS_OTHER_HOST,
    FULL_REDIRECT,
    FULL_COUNT,
};

struct full_latency {
    uint64_t p50_ns, p95_ns; /* 0 = nothing succeeded */
    unsigned n;
};

struct provider_full {
    struct prov_probe_check line[FULL_COUNT]; /* not ran: there is nothing to look at */
    struct full_latency put, get;             /* of objects of 4 KiB */
    uint64_t put_8mib_ns, get_8mib_ns;        /* 0 = failed */
    char tls[80];                             /* "TLSv1.3 / CIPHER", or "" */
};

/*
 * Blocks. `p` is open, of section `name`, and has passed the short probe; objects are written under
 * v1/probe/ and removed again. Gives the error of the first required line that failed.
 */
C2_RESULT provider_full_run(struct c2_os *os, const struct c2_conf *conf, const char *name,
                            struct provider *p, struct provider_full *ret_full);

#endif
