/* SPDX-License-Identifier: MIT */
/*
 * The real network of base/net.h: TLS 1.3 over TCP, on the loop.
 *
 * On a connection, frames: u32 length (little-endian), then so many bytes. A frame of length 0 says
 * only that the sender lives; the side that accepted sends one when it has admitted the other.
 */
#ifndef C2_BASE_OS_NET_H
#define C2_BASE_OS_NET_H

#include "base/net.h"
#include "base/os_loop.h"

/* Times in ns; 0 = the default. */
struct c2_os_net_options {
    const uint8_t *secret; /* our Ed25519 key; copied */
    const char *protocol;  /* both ends must name the same */
    uint64_t ping_ns;      /* something is sent at least so often; 1 s */
    uint64_t dead_ns;  /* a peer that says nothing, or takes nothing, for so long is gone; 5 s */
    uint64_t setup_ns; /* for connecting, and again for the handshake; 5 s */
    uint64_t frame_ns; /* for one message to arrive; 60 s */
    uint64_t backoff_min_ns; /* before a broken link is connected again; 50 ms, doubled up to */
    uint64_t backoff_max_ns; /* 5 s */
};

C2_RESULT c2_os_net_new(struct c2_os *os, const struct c2_os_net_options *o,
                        struct c2_net **ret_net);

#endif
