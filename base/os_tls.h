/* SPDX-License-Identifier: MIT */
/*
 * TLS 1.3 between peers that are Ed25519 keys, over non-blocking sockets. Private to base.
 *
 * Each side shows a self-signed certificate made from its key when the process starts; nothing in
 * it but the key means anything, and it never leaves memory. The handshake proves that the peer
 * owns the key; whether that key is welcome is the caller's decision.
 */
#ifndef C2_BASE_OS_TLS_H
#define C2_BASE_OS_TLS_H

#include "base/crypto.h"

struct c2_tls_context; /* our key and the settings */
struct c2_tls;         /* one connection */

/* `protocol`: both sides must name the same, e.g. "c2fs/1". */
C2_RESULT c2_tls_context_new(const uint8_t secret[C2_ED25519_SECRET_LEN], const char *protocol,
                             struct c2_tls_context **ret_context);
void c2_tls_context_free(struct c2_tls_context *c); /* NULL is fine */

/* The descriptor stays the caller's. peer: the key that must be at the other end; NULL = any. */
struct c2_tls *c2_tls_new(struct c2_tls_context *c, int fd, bool client, const uint8_t *peer);
void c2_tls_free(struct c2_tls *t); /* says goodbye if it can; NULL is fine */

/*
 * Each returns AGAIN when the socket is not ready: *ret_events says for what to wait (C2_FD_IN or
 * C2_FD_OUT). TLS: not the protocol, or the wrong key. UNREACHABLE: the connection has ended.
 */
C2_RESULT c2_tls_handshake(struct c2_tls *t, unsigned *ret_events);
/* At least one byte. */
C2_RESULT c2_tls_read(struct c2_tls *t, void *buf, size_t len, size_t *ret_len,
                      unsigned *ret_events);
/* Bytes have come that reading has not given out: no event of the descriptor will tell of them. */
bool c2_tls_has_more(const struct c2_tls *t);
C2_RESULT c2_tls_write(struct c2_tls *t, const void *data, size_t len, size_t *ret_len,
                       unsigned *ret_events);
/* After the handshake: the key at the other end. */
const uint8_t *c2_tls_peer(const struct c2_tls *t);

#endif
