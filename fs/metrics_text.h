/* SPDX-License-Identifier: MIT */
/*
 * Metrics in Prometheus' text format. A family is announced first, its values follow; every family
 * is written once.
 */
#ifndef C2_FS_METRICS_TEXT_H
#define C2_FS_METRICS_TEXT_H

#include "fs/ctl_proto.h"

struct metrics_label {
    const char *name, *value; /* the value is escaped; name NULL = no label */
};

/* kind: "gauge" or "counter"; help is one line. */
void metrics_family(struct c2_buf *out, const char *name, const char *kind, const char *help);
void metrics_count(struct c2_buf *out, const char *name, const struct metrics_label labels[2],
                   uint64_t value);
void metrics_seconds(struct c2_buf *out, const char *name, const struct metrics_label labels[2],
                     uint64_t ns);

/* Everything that a status says in numbers. */
void metrics_status(struct c2_buf *out, const struct ctl_status *s);

#endif
