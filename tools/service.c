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
service_parse(const struct cmd_ctx *x, const char *what, int argc, char **argv, const char *problem,
              struct service_words *w)
{
    const struct cmd *c = cmd_find(what);
    bool takes_file = strncmp(c->args, "FILE", 4) == 0, ended = false;
    *w = (struct service_words){ 0 };
    for (int i = 1; i < argc; i++) {
        bool option = !ended && argv[i][0] == '-' && argv[i][1] != '\0';
        bool service = option && (strcmp(argv[i], "-s") == 0 || strcmp(argv[i], "--service") == 0);
        if (option && strcmp(argv[i], "--") == 0) {
            ended = true;
        } else if (option && !service) {
            C2_AUTO(c2_free_auto) char *text = c2_asprintf("cannot use %s here", argv[i]);
            return cmd_usage_words(x, c, text, argc - i, argv + i);
        } else if (takes_file && !service && w->file == NULL) {
            w->file = argv[i];
        } else if (w->service != NULL || (service && i + 1 == argc)) {
            return cmd_usage_words(x, c, problem, argc - i, argv + i);
        } else {
            w->service = argv[service ? ++i : i];
        }
    }
    return takes_file && w->file == NULL ? cmd_usage(x, c, problem) : CTL_EXIT_OK;
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
    c2_buf_printf(&out, "%u of %u replicas are connected, %u are needed", up, i->n,
                  cluster_quorum(i->n, i->f));
    if (up >= cluster_quorum(i->n, i->f))
        c2_buf_puts(&out, ", but they did not agree in time");
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

/* The service has ended the session in which it was sent. */
static int
fail_ended(const struct service *s, const char *object, bool changes)
{
    C2_AUTO(c2_free_auto)
    char *text = c2_asprintf("the service has ended the session of this command, as it does when "
                             "many programs use one client's key at a time%s",
                             changes ? "; it is not known whether the change was made" : "");
    return cmd_fail(s->x, C2_E_UNAVAILABLE, s->what, object, text,
                    "16 programs may use a key: c2fsctl meta client makes keys for the others");
}

static int
fail(const struct service *s, enum c2_err err, const char *object, bool changes)
{
    struct cluster_info i;
    bool unanswered = err == C2_E_TIMEOUT || err == C2_E_UNAVAILABLE;
    if (err == C2_E_NOT_PERMITTED)
        return cmd_fail(s->x, err, s->what, object, "this client's key may not do that",
                        "an administrator of the service gives rights: c2fsctl meta acl grant");
    if (!unanswered || !cluster_look(s->coord, &i))
        return cmd_fail(s->x, err, s->what, object, NULL, NULL);
    if (err == C2_E_UNAVAILABLE)
        return fail_ended(s, object, changes);
    C2_AUTO(c2_free_auto) char *text = unreachable_text(&i);
    C2_AUTO(c2_free_auto)
    char *all = c2_asprintf("%s%s", text,
                            !changes    ? ""
                            : i.session ? "; it is not known whether the change was made, and it "
                                          "may be made yet"
                                        : "; nothing was changed");
    return cmd_fail(s->x, C2_E_UNREACHABLE, s->what, object, all,
                    "c2fsctl meta status shows the replicas");
}

int
service_fail(const struct service *s, enum c2_err err, const char *object)
{
    return fail(s, err, object, false);
}

int
service_fail_change(const struct service *s, enum c2_err err, const char *object)
{
    return fail(s, err, object, true);
}
