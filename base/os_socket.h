/* SPDX-License-Identifier: MIT */
/*
 * What the sockets that daemons serve have in common.
 */
#ifndef C2_BASE_OS_SOCKET_H
#define C2_BASE_OS_SOCKET_H

#include "base/buf.h"

/*
 * Listens on the Unix socket `name` in the folder of dir_fd, mode 0600, in place of one that nobody
 * serves any more. BUSY: somebody does. EXISTS: the name belongs to something else.
 */
C2_RESULT c2_os_socket_listen(int dir_fd, const char *name, int backlog, int *ret_fd);

/* Sends as much from *at on as the socket takes now. An error: the connection broke. */
C2_RESULT c2_os_socket_send(int fd, struct c2_slice out, size_t *at);

#endif
