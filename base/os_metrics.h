/* SPDX-License-Identifier: MIT */
/*
 * Metrics for Prometheus: answers GET /metrics with one text, on a loopback address or a Unix
 * socket for its owner. There is no authentication, so nothing that other machines could reach is
 * listened on. Connections (8), bytes (4 KiB) and time (5 s) of a request are bounded; one
 * connection serves one request.
 */
#ifndef C2_BASE_OS_METRICS_H
#define C2_BASE_OS_METRICS_H

#include "base/buf.h"
#include "base/os_loop.h"

struct c2_os_metrics;

/* address: "unix:/PATH", or "127.0.0.1:PORT", "[::1]:PORT", "localhost:PORT"; CONFIG for anything
 * else. write fills the text, on the loop. ret_error gets a sentence on failure (c2_free). */
C2_RESULT c2_os_metrics_open(struct c2_os *os, const char *address,
                             void (*write)(void *arg, struct c2_buf *out), void *arg,
                             struct c2_os_metrics **ret_metrics, char **ret_error);
/* Of the requests to come, from the connection to the last byte. */
void c2_os_metrics_set_deadline(struct c2_os_metrics *m, uint64_t ns);
/* Closes the connections and removes the socket; NULL is fine. */
void c2_os_metrics_close(struct c2_os_metrics *m);

#endif
