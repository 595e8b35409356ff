/* SPDX-License-Identifier: MIT */
/*
 * A coordination service opened by a command, and requests that wait for their answer.
 */
#ifndef C2_TOOLS_SERVICE_H
#define C2_TOOLS_SERVICE_H

#include "base/os_loop.h"
#include "metadata/coord.h"
#include "tools/cmd.h"

#define SERVICE_TIMEOUT_NS (15 * C2_NS_PER_S)

struct service {
    const struct cmd_ctx *x;
    const char *what; /* the command, for messages */
    struct c2_os *os;
    struct c2_env *env;
    struct coord *coord;
    char *url; /* owned */
};

/*
 * name: of a [metadata] section, "bft:NAME" or "local:PATH"; NULL = the only section there is.
 * Returns an exit code; on failure everything is freed and the message printed.
 */
int service_open(const struct cmd_ctx *x, const char *what, const char *name, struct service *s);
void service_close(struct service *s);
/* Opens it, and closes it after what the command does with it; an exit code. */
int service_use(const struct cmd_ctx *x, const char *what, const char *name,
                int (*body)(struct service *s, void *arg), void *arg);
/* Of its section; borrowed. */
const char *service_name(const struct service *s);

/* The words of a command that takes a FILE, if its args begin so, and a service: NAME, -s NAME. */
struct service_words {
    const char *file;
    const char *service; /* NULL = the only one */
};

/* An exit code, after a message; `problem` is what to say when there are fewer or more. */
int service_parse(const struct cmd_ctx *x, const char *what, int argc, char **argv,
                  const char *problem, struct service_words *w);

struct service_call {
    struct coord_req req; /* done and deadline_ns are set by service_run */
    bool done;
};

/* The same in parts: prepares the call; somebody submits it; waits. */
void service_start(struct service *s, struct service_call *c);
enum c2_err service_wait(struct service *s, struct service_call *c);
/* Submits and waits, at most SERVICE_TIMEOUT_NS; c->req.err. coord_req_done is the caller's. */
enum c2_err service_run(struct service *s, struct service_call *c);
/* Prints why a request failed; an exit code. */
int service_fail(const struct service *s, enum c2_err err, const char *object);
/* The same for a request that changes something: says so when that may have happened. */
int service_fail_change(const struct service *s, enum c2_err err, const char *object);

#endif
