/* SPDX-License-Identifier: MIT */
#include "tools/request.h"

#include "base/alloc.h"
#include "base/str.h"
#include "tools/ctl_client.h"

enum c2_err
cmd_request(const struct cmd_ctx *x, const struct ctl_request *q, const char *why,
            struct c2_buf *ret_body, char **ret_error)
{
    struct ctl_client client;
    struct ctl_answer a;
    const char *dir = cmd_cache_dir(x, x->volume);
    enum c2_err err = dir == NULL ? C2_E_CONFIG : ctl_client_open(dir, &client);
    if (err == C2_E_NOT_MOUNTED)
        *ret_error = c2_asprintf("the volume is not mounted on this machine\n"
                                 "hint: %s: c2fs %s MOUNTPOINT",
                                 why, x->volume);
    if (err != C2_E_OK)
        return err;
    err = ctl_client_call(&client, q, NULL, NULL, &a);
    if (err == C2_E_OK && a.err != C2_E_OK) {
        err = a.err;
        if (a.message.len > 0)
            *ret_error = c2_strndup((const char *)a.message.data, a.message.len);
    } else if (err == C2_E_OK && ret_body != NULL) {
        c2_buf_append(ret_body, a.body.data, a.body.len);
    }
    ctl_client_close(&client);
    return err;
}
