/* SPDX-License-Identifier: MIT */
#include "backends/http_addr.h"

#include "base/str.h"

#include <string.h>
#include <strings.h>

static bool
starts_with(const char *text, const char *prefix)
{
    return strncasecmp(text, prefix, strlen(prefix)) == 0;
}

/* "1.2.3.4", also as "::ffff:1.2.3.4". */
static bool
parse_v4(const char *ip, unsigned ret_byte[4])
{
    const char *p = starts_with(ip, "::ffff:") ? ip + strlen("::ffff:") : ip;
    for (int i = 0; i < 4; i++) {
        uint64_t value;
        size_t len = strcspn(p, ".");
        if (len > 3 || c2_u64_parse(c2_slice(p, len), 255, &value) != C2_E_OK)
            return false;
        ret_byte[i] = (unsigned)value;
        p += len;
        if (*p != (i < 3 ? '.' : '\0'))
            return false;
        p++;
    }
    return true;
}

bool
http_addr_is_loopback(const char *ip)
{
    unsigned byte[4];
    if (parse_v4(ip, byte))
        return byte[0] == 127;
    return strcmp(ip, "::1") == 0;
}

bool
http_addr_is_link_local(const char *ip)
{
    unsigned byte[4];
    if (parse_v4(ip, byte))
        return byte[0] == 169 && byte[1] == 254;
    return starts_with(ip, "fe8") || starts_with(ip, "fe9") || starts_with(ip, "fea") ||
           starts_with(ip, "feb");
}
