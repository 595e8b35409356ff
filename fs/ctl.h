/* SPDX-License-Identifier: MIT */
/*
 * The daemon's end of the control socket: accepts connections of its own user and of root, reads
 * one request at a time from each, hands it to the owner, writes the answer. Bounded in
 * connections and bytes; a client that stops reading is dropped.
 */
#ifndef C2_FS_CTL_H
#define C2_FS_CTL_H

#include "fs/ctl_proto.h"

#define CTL_CONNECTIONS_MAX 16

struct c2_os;
struct ctl;
struct ctl_call; /* a request that waits for its answer */

/* `request` owns the call until it calls ctl_result, once. */
struct ctl_handler {
    void *arg;
    void (*request)(void *arg, struct ctl_call *c, const struct ctl_request *q);
};

/* Binds <dir>/ctl, mode 0600, replacing a dead one. ret_error as usual. */
C2_RESULT ctl_new(struct c2_os *os, const char *dir, const struct ctl_handler *handler,
                  struct ctl **ret_ctl, char **ret_error);
/* Every call has been answered. Closes the connections and removes the socket; NULL is fine. */
void ctl_free(struct ctl *c);

/* Nobody waits for the result any more. */
bool ctl_client_is_gone(const struct ctl_call *c);
void ctl_progress(struct ctl_call *c, uint64_t files, uint64_t bytes);
void ctl_result(struct ctl_call *c, enum c2_err err, const char *message, struct c2_slice body);

#endif
