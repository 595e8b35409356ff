/* SPDX-License-Identifier: MIT */
/*
 * Metrics for Prometheus: answers every HTTP request with one text. On a loopback address or a
 * Unix socket, for this machine only.
 */
#ifndef C2_BASE_OS_METRICS_H
#define C2_BASE_OS_METRICS_H

#include "base/buf.h"
#include "base/os_loop.h"

struct c2_os_metrics;

/* address: "unix:PATH" or "ADDRESS:PORT" with a loopback address. write fills the text, on the
 * loop. ret_error gets a sentence on failure (c2_free). */
C2_RESULT c2_os_metrics_open(struct c2_os *os, const char *address,
                             void (*write)(void *arg, struct c2_buf *out), void *arg,
                             struct c2_os_metrics **ret_metrics, char **ret_error);
void c2_os_metrics_close(struct c2_os_metrics *m); /* NULL is fine */

#endif
