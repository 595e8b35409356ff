/* SPDX-License-Identifier: MIT */
/*
 * What prov_tls_look asks, one after the other, each on a connection of its own:
 *
 *   AS_CONFIGURED --TLS--> NOBODY --> OTHER_HOST --> done
 *         |
 *         +-- plain http, dir:, mem: --> done
 *
 * The name of the other host does not exist; its requests are sent to the endpoint's address.
 */
#include "backends/registry.h"

#include "backends/http.h"
#include "backends/s3_target.h"
#include "base/alloc.h"

#include <stdio.h>
#include <string.h>

#define OTHER_HOST_NAME    "c2fs-other-host.invalid"
#define DEADLINE_NS        (20 * C2_NS_PER_S)
#define CONNECT_TIMEOUT_NS (10 * C2_NS_PER_S)
#define SCHEME_LEN         8 /* "https://" */

enum question { AS_CONFIGURED, NOBODY, OTHER_HOST, QUESTIONS };

struct look {
    struct prov_tls_look *l; /* the caller's */
    struct c2_env *env;
    struct c2_os *os;
    struct s3_target target;
    char *ca_file, *proxy; /* owned */
    bool insecure_http;
    enum question question;
    struct http_pool *pool; /* owned: of the question at hand */
    struct http_req http;
    char *url, *route; /* owned: of the question at hand */
    struct c2_task task;
};

static void
finish(struct look *s)
{
    struct prov_tls_look *l = s->l;
    s3_target_done(&s->target);
    c2_free(s->ca_file);
    c2_free(s->proxy);
    c2_free(s);
    l->private_state = NULL;
    l->done(l);
}

static void ask(struct look *s);

static void
take(struct look *s)
{
    struct prov_tls_look *l = s->l;
    const struct http_req *r = &s->http;
    const char *location = http_head_get(&r->head, "location");
    if (s->question == NOBODY) {
        l->nobody = r->err;
        return;
    }
    if (s->question == OTHER_HOST) {
        l->other_host = r->err;
        return;
    }
    l->err = r->err;
    l->status = r->err == C2_E_OK ? r->head.status : 0;
    memcpy(l->version, r->tls, sizeof(l->version));
    (void)snprintf(l->detail, sizeof(l->detail), "%s", r->detail);
    if (l->status / 100 == 3)
        http_sanitise(c2_slice_str(location != NULL ? location : "nowhere"), l->location,
                      sizeof(l->location));
}

static void
answered(struct http_req *r)
{
    struct look *s = C2_CONTAINER_OF(r, struct look, http);
    take(s);
    http_req_done(r);
    http_pool_free(s->pool);
    s->pool = NULL;
    c2_free(s->url);
    c2_free(s->route);
    s->url = s->route = NULL;
    s->question++;
    if (s->question == QUESTIONS || !s->l->tls || s->l->err != C2_E_OK)
        finish(s);
    else
        ask(s);
}

/* "::HOST:PORT" of "https://HOST[:PORT]": libcurl's form of "whatever the URL says, go there". */
static char *
route_to(const char *origin)
{
    const char *host = origin + SCHEME_LEN;
    const char *end = strchr(host, ']'); /* of an IPv6 address */
    bool has_port = strchr(end != NULL ? end : host, ':') != NULL;
    return c2_asprintf("::%s%s", host, has_port ? "" : ":443");
}

static void
ask(struct look *s)
{
    struct http_settings settings = {
        .ca_file = s->ca_file,
        .proxy = s->proxy,
        .plain = s->l->tls          ? HTTP_PLAIN_NEVER
                 : s->insecure_http ? HTTP_PLAIN_ANY
                                    : HTTP_PLAIN_LOOPBACK,
        .connections = 1,
        .connect_timeout_ns = CONNECT_TIMEOUT_NS,
        .tls_info = s->question == AS_CONFIGURED,
        .trust_nobody = s->question == NOBODY,
    };
    if (s->question == OTHER_HOST) {
        s->url = c2_strdup("https://" OTHER_HOST_NAME "/");
        settings.connect_to = s->route = route_to(s->target.origin);
    } else {
        s->url = c2_asprintf("%s/", s->target.origin);
    }
    s->pool = http_pool_new(s->env, s->os, &settings);
    s->http = (struct http_req){ .method = HTTP_GET,
                                 .url = s->url,
                                 .reply_len_max = HTTP_ERROR_BODY_MAX,
                                 .deadline_ns = c2_now_ns(s->env) + DEADLINE_NS,
                                 .done = answered };
    http_submit(s->pool, &s->http);
}

static void
begin(struct c2_task *t)
{
    struct look *s = C2_CONTAINER_OF(t, struct look, task);
    if (s->l->network)
        ask(s);
    else
        finish(s);
}

static char *
copy(const char *text)
{
    return text != NULL ? c2_strdup(text) : NULL;
}

C2_RESULT
prov_tls_look_start(struct c2_env *env, struct c2_os *os, const struct c2_conf *conf,
                    const char *name, struct prov_tls_look *l)
{
    C2_ASSERT(l->done != NULL && l->private_state == NULL);
    if (!c2_conf_has_section(conf, "provider", name))
        return C2_E_NOT_FOUND;
    const char *url = c2_conf_str(conf, "provider", name, "url");
    struct s3_target target = { 0 };
    char *error = NULL;
    bool network = url != NULL && strncmp(url, "s3://", 5) == 0;
    if (network) {
        const char *addressing = c2_conf_str(conf, "provider", name, "addressing");
        struct prov_s3_config cfg = {
            .name = name,
            .url = url,
            .endpoint = c2_conf_str(conf, "provider", name, "endpoint"),
            .region = c2_conf_str(conf, "provider", name, "region"),
            .addressing = strcmp(addressing, "vhost") == 0 ? PROV_S3_VHOST : PROV_S3_PATH,
        };
        enum c2_err err = s3_target_parse(&cfg, &target, &error);
        c2_free(error);
        C2_TRY(err);
    }
    struct look *s = c2_calloc(1, sizeof(*s));
    *l = (struct prov_tls_look){ .done = l->done, .network = network, .tls = target.tls };
    l->private_state = s;
    s->l = l;
    s->env = env;
    s->os = os;
    s->target = target;
    s->ca_file = copy(c2_conf_str(conf, "provider", name, "ca_file"));
    s->proxy = copy(c2_conf_str(conf, "provider", name, "proxy"));
    s->insecure_http = c2_conf_bool(conf, "provider", name, "insecure_http");
    s->task.run = begin;
    c2_defer(env, &s->task);
    return C2_E_OK;
}
