/* SPDX-License-Identifier: MIT */
#include "tools/service.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "metadata/cluster.h"
#include "metadata/registry.h"

static char *
url_of(const struct cmd_ctx *x, const char *name)
{
    if (name == NULL)
        name = c2_conf_section(x->conf, "metadata", 0);
    if (name == NULL)
        return NULL;
    bool whole = strncmp(name, "bft:", 4) == 0 || strncmp(name, "local:", 6) == 0;
    return whole ? c2_strdup(name) : c2_asprintf("bft:%s", name);
}

int
service_open(const struct cmd_ctx *x, const char *what, const char *name, struct service *s)
{
    char *error = NULL;
    *s = (struct service){ .x = x, .what = what, .url = url_of(x, name) };
    if (s->url == NULL)
        return cmd_fail(x, C2_E_CONFIG, what, NULL, "the configuration has no [metadata] section",
                        "c2fsctl -C DIR/client.conf, with the file that c2fsctl meta init wrote");
    if (name == NULL && c2_conf_section(x->conf, "metadata", 1) != NULL) {
        c2_free(s->url);
        return cmd_fail(x, C2_E_CONFIG, what, NULL, "which coordination service?",
                        "choose one with --service NAME");
    }
    enum c2_err err = c2_crypto_init();
    if (err == C2_E_OK)
        err = c2_os_new(1, &s->os);
    if (err == C2_E_OK) {
        s->env = c2_os_env(s->os);
        err = coord_open_conf(s->env, x->conf, s->url, false, &s->coord, &error);
    }
    if (err == C2_E_OK)
        return CTL_EXIT_OK;
    int code = cmd_fail(x, err, what, s->url, error, NULL);
    c2_free(error);
    c2_free(s->url);
    c2_os_free(s->os);
    return code;
}

void
service_close(struct service *s)
{
    coord_close(s->coord);
    c2_os_drain(s->os);
    c2_os_free(s->os);
    c2_free(s->url);
}

int
service_use(const struct cmd_ctx *x, const char *what, const char *name,
            int (*body)(struct service *s, void *arg), void *arg)
{
    struct service s;
    int code = service_open(x, what, name, &s);
    if (code != CTL_EXIT_OK)
        return code;
    code = body(&s, arg);
    service_close(&s);
    return code;
}

const char *
service_name(const struct service *s)
{
    return strncmp(s->url, "bft:", 4) == 0 ? s->url + 4 : s->url;
}

static void
finished(struct coord_req *r)
{
    C2_CONTAINER_OF(r, struct service_call, req)->done = true;
}

void
service_start(struct service *s, struct service_call *c)
{
    c->done = false;
    c->req.done = finished;
    c->req.deadline_ns = c2_now_ns(s->env) + SERVICE_TIMEOUT_NS;
}

enum c2_err
service_wait(struct service *s, struct service_call *c)
{
    c2_os_run_until(s->os, &c->done);
    return c->req.err;
}

enum c2_err
service_run(struct service *s, struct service_call *c)
{
    service_start(s, c);
    coord_submit(s->coord, &c->req);
    return service_wait(s, c);
}

/* Which replicas cannot be reached, and why. */
static char *
unreachable_text(const struct cluster_info *i)
{
    struct c2_buf out = { 0 };
    unsigned up = 0;
    for (unsigned k = 0; k < i->n; k++)
        up += i->replica[k].up;
    c2_buf_printf(&out, "%u of %u replicas are connected, %u are needed", up, i->n, i->n - i->f);
    for (unsigned k = 0; k < i->n; k++) {
        if (!i->replica[k].up)
            c2_buf_printf(&out, "; %s: %s", i->replica[k].address,
                          c2_err_text(i->replica[k].error == C2_E_OK ? C2_E_UNREACHABLE
                                                                     : i->replica[k].error));
    }
    char *text = c2_strdup(c2_buf_cstr(&out));
    c2_buf_done(&out);
    return text;
}

int
service_fail(const struct service *s, enum c2_err err, const char *object)
{
    struct cluster_info i;
    if (err == C2_E_NOT_PERMITTED)
        return cmd_fail(s->x, err, s->what, object, "this client's key may not do that",
                        "an administrator of the service gives rights: c2fsctl meta acl grant");
    if (err != C2_E_TIMEOUT || !cluster_look(s->coord, &i))
        return cmd_fail(s->x, err, s->what, object, NULL, NULL);
    char *text = unreachable_text(&i);
    int code = cmd_fail(s->x, C2_E_UNREACHABLE, s->what, object, text,
                        "c2fsctl meta status shows the replicas");
    c2_free(text);
    return code;
}
