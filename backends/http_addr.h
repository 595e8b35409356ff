/* SPDX-License-Identifier: MIT */
/*
 * Which addresses plain text may be sent to, and which nothing may be sent to.
 */
#ifndef C2_BACKENDS_HTTP_ADDR_H
#define C2_BACKENDS_HTTP_ADDR_H

#include <stdbool.h>

/* This host: 127.0.0.0/8, ::1. ip is numeric, IPv6 without brackets. */
bool http_addr_is_loopback(const char *ip);
/* 169.254.0.0/16, fe80::/10: where clouds keep their metadata services. */
bool http_addr_is_link_local(const char *ip);

#endif
