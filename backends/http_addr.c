/* SPDX-License-Identifier: MIT */
#include "backends/http_addr.h"

#include <string.h>
#include <strings.h>

#include <arpa/inet.h>

static bool
starts_with(const char *text, const char *prefix)
{
    return strncasecmp(text, prefix, strlen(prefix)) == 0;
}

/* "::ffff:1.2.3.4" is 1.2.3.4. */
static const char *
without_mapping(const char *ip)
{
    return starts_with(ip, "::ffff:") ? ip + strlen("::ffff:") : ip;
}

bool
http_addr_is_loopback(const char *ip)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, without_mapping(ip), &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, ip, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool
http_addr_is_link_local(const char *ip)
{
    struct in_addr v4;
    if (inet_pton(AF_INET, without_mapping(ip), &v4) == 1)
        return (ntohl(v4.s_addr) >> 16) == 0xa9fe;
    /* With or without a "%eth0" behind it, so not by inet_pton. */
    return starts_with(ip, "fe8") || starts_with(ip, "fe9") || starts_with(ip, "fea") ||
           starts_with(ip, "feb");
}
