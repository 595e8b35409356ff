/* SPDX-License-Identifier: MIT */
/*
 * A coordination service for a program that has nothing yet: an event loop, and the service that a
 * configuration names. libc2coord(3) has the tour, docs/examples/kv.c is a program.
 *
 * One thread calls everything. A program with more to do than one request at a time submits
 * requests (metadata/coord.h) and runs the loop with c2_os_run_until; a simple one uses coord_wait.
 */
#ifndef C2_METADATA_COORD_SERVICE_H
#define C2_METADATA_COORD_SERVICE_H

#include "base/alloc.h"
#include "base/log.h"
#include "base/os_loop.h"
#include "metadata/coord.h"

struct coord_service_config {
    /* With [metadata "NAME"] sections, as c2fsctl meta init writes client.conf; "" = the system's,
     * see c2fs.conf(5); NULL = none. */
    const char *config_file;
    /* NAME or bft:NAME of a section, or local:PATH, a folder, with no servers; NULL = the only
     * section there is. */
    const char *service;
    bool create; /* local: make a new, empty store; EXISTS when there is one */
};

struct coord_service;

/*
 * Connects in the background: a service that is down shows itself when it is needed, so give
 * requests a deadline. CONFIG, ACCESS, NOT_FOUND, PARSE, BUSY (local: another process has it), ...:
 * *ret_error, if ret_error is not NULL, gets a sentence for people, to be freed with c2_free.
 */
C2_RESULT coord_service_open(const struct coord_service_config *config,
                             struct coord_service **ret_service, char **ret_error);
/* Requests have ended and their coord_req_done was called; watches end. NULL is fine. */
void coord_service_close(struct coord_service *s);

/* Borrowed, until coord_service_close. */
struct coord *coord_service_coord(struct coord_service *s);
struct c2_os *coord_service_os(struct coord_service *s);
struct c2_env *coord_service_env(struct coord_service *s);

/* Submits the request, runs the loop until it is done and returns its err. `done` is not called,
 * all else is as documented at the request; coord_req_done is the caller's. Not from a callback,
 * where the loop runs already: that submits. */
C2_RESULT coord_wait(struct coord_service *s, struct coord_req *r);

#endif
