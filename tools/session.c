/* SPDX-License-Identifier: MIT */
#include "tools/session.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/os_file.h"
#include "base/os_loop.h"
#include "base/os_tty.h"
#include "base/wire.h"

static void
opened(struct volume_open *o)
{
    *(bool *)o->priv = true;
}

C2_RESULT
session_open(const struct cmd_ctx *x, struct session *s, char **ret_error)
{
    *s = (struct session){ 0 };
    C2_TRY(c2_crypto_init());
    C2_TRY(c2_os_new(1, &s->os));
    bool done = false;
    struct volume_open o = { .env = c2_os_env(s->os),
                             .os = s->os,
                             .conf = x->conf,
                             .volume = x->volume,
                             .holder = "c2fsctl",
                             .ask = c2_os_has_tty() ? c2_os_ask_secret : NULL,
                             .read_only = true,
                             .done = opened,
                             .priv = &done };
    volume_open_start(&o);
    c2_os_run_until(s->os, &done);
    s->volume = o.volume_out;
    if (s->volume != NULL)
        return C2_E_OK;
    bool hint = o.error.hint[0] != '\0';
    *ret_error = c2_asprintf("%s%s%s", o.error.text, hint ? "\nhint: " : "", o.error.hint);
    c2_os_drain(s->os);
    c2_os_free(s->os);
    s->os = NULL;
    return o.error.err;
}

static void
closed(void *arg)
{
    *(bool *)arg = true;
}

void
session_close(struct session *s)
{
    bool done = false;
    if (s->os == NULL)
        return;
    volume_close(s->volume, closed, &done);
    c2_os_run_until(s->os, &done);
    c2_os_drain(s->os);
    c2_os_free(s->os);
    s->os = NULL;
}

struct read {
    struct coord_req req;
    bool done;
};

static void
read_done(struct coord_req *r)
{
    C2_CONTAINER_OF(r, struct read, req)->done = true;
}

C2_RESULT
session_usage(const struct cmd_ctx *x, uint64_t *ret_bytes, uint64_t *ret_files, char **ret_error)
{
    struct session s;
    C2_TRY(session_open(x, &s, ret_error));
    const struct ck keys[2] = { ck_usage("bytes"), ck_usage("files") };
    const struct c2_slice slices[2] = { ck_slice(&keys[0]), ck_slice(&keys[1]) };
    uint64_t *const out[2] = { ret_bytes, ret_files };
    struct read r = { .req = { .verb = COORD_GET,
                               .keys = slices,
                               .nkeys = 2,
                               .deadline_ns = C2_NEVER,
                               .done = read_done } };
    coord_submit(s.volume->coord, &r.req);
    c2_os_run_until(s.os, &r.done);
    enum c2_err err = r.req.err;
    for (size_t k = 0; err == C2_E_OK && k < 2; k++) {
        struct c2_slice v = r.req.entries[k].value;
        *out[k] = v.len == 8 ? c2_get_u64(v.data) : 0;
    }
    coord_req_done(&r.req);
    session_close(&s);
    return err;
}

int
session_write_secret(const struct cmd_ctx *x, const char *what, const char *path,
                     const struct c2_buf *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return cmd_fail(x, c2_err_from_errno(errno), what, path, NULL,
                        errno == EEXIST ? "choose a new file name" : NULL);
    enum c2_err err = c2_os_write_all(fd, text->data, text->len);
    if (err == C2_E_OK && fsync(fd) != 0)
        err = c2_err_from_errno(errno);
    close(fd);
    return err == C2_E_OK ? CTL_EXIT_OK : cmd_fail(x, err, what, path, NULL, NULL);
}
