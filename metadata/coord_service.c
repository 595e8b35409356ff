/* SPDX-License-Identifier: MIT */
#include "metadata/coord_service.h"

#include <string.h>

#include "base/conf.h"
#include "base/crypto.h"
#include "metadata/registry.h"

struct coord_service {
    struct c2_conf *conf; /* owned, as all below */
    struct c2_os *os;
    struct coord *coord;
};

static bool
is_url(const char *name)
{
    return strncmp(name, "bft:", 4) == 0 || strncmp(name, "local:", 6) == 0;
}

/* The service's URL (c2_free). */
static C2_RESULT
url_of(const struct coord_service *s, const char *name, char **ret_url, char **ret_error)
{
    if (name == NULL && c2_conf_section(s->conf, "metadata", 1) != NULL) {
        *ret_error = c2_strdup("the configuration has several [metadata] sections: which one?");
        return C2_E_CONFIG;
    }
    if (name == NULL)
        name = c2_conf_section(s->conf, "metadata", 0);
    if (name == NULL) {
        *ret_error = c2_strdup("the configuration has no [metadata] section");
        return C2_E_CONFIG;
    }
    *ret_url = is_url(name) ? c2_strdup(name) : c2_asprintf("bft:%s", name);
    return C2_E_OK;
}

static C2_RESULT
load_conf(struct coord_service *s, const char *file, char **ret_error)
{
    if (file == NULL)
        return C2_E_OK;
    enum c2_err err = c2_conf_load_default(s->conf, file[0] != '\0' ? file : NULL);
    if (err != C2_E_OK)
        *ret_error = c2_strdup(c2_conf_error(s->conf));
    return err;
}

static C2_RESULT
open_parts(struct coord_service *s, const struct coord_service_config *config, char **ret_error)
{
    C2_AUTO(c2_free_auto) char *url = NULL;
    C2_TRY(c2_crypto_init());
    s->conf = c2_conf_new();
    C2_TRY(load_conf(s, config->config_file, ret_error));
    C2_TRY(url_of(s, config->service, &url, ret_error));
    C2_TRY(c2_os_new(1, &s->os));
    return coord_open_conf(c2_os_env(s->os), s->conf, url, config->create, &s->coord, ret_error);
}

C2_RESULT
coord_service_open(const struct coord_service_config *config, struct coord_service **ret_service,
                   char **ret_error)
{
    struct coord_service *s = c2_calloc(1, sizeof *s);
    char *error = NULL;
    enum c2_err err = open_parts(s, config, &error);
    if (err == C2_E_OK) {
        *ret_service = s;
        return C2_E_OK;
    }
    coord_service_close(s);
    if (ret_error != NULL)
        *ret_error = error != NULL ? error : c2_strdup(c2_err_text(err));
    else
        c2_free(error);
    return err;
}

void
coord_service_close(struct coord_service *s)
{
    if (s == NULL)
        return;
    coord_close(s->coord);
    if (s->os != NULL) {
        c2_os_drain(s->os);
        c2_os_free(s->os);
    }
    c2_conf_free(s->conf);
    c2_free(s);
}

struct coord *
coord_service_coord(struct coord_service *s)
{
    return s->coord;
}

struct c2_os *
coord_service_os(struct coord_service *s)
{
    return s->os;
}

struct c2_env *
coord_service_env(struct coord_service *s)
{
    return c2_os_env(s->os);
}

/* A request that somebody waits for: a copy, so that the caller's `done` stays what it is. */
struct waiting {
    struct coord_req r;
    bool over;
};

static void
over(struct coord_req *r)
{
    C2_CONTAINER_OF(r, struct waiting, r)->over = true;
}

C2_RESULT
coord_wait(struct coord_service *s, struct coord_req *r)
{
    struct waiting w = { .r = *r };
    w.r.done = over;
    coord_submit(s->coord, &w.r);
    while (!w.over) /* whoever else stops the loop */
        c2_os_run_until(s->os, &w.over);
    w.r.done = r->done;
    *r = w.r;
    return r->err;
}
