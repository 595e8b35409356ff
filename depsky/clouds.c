/* SPDX-License-Identifier: MIT */
/*
 * From a configuration file or URLs to a client: URLs become [provider] sections, so both ways end
 * in the same checks and the same errors. This is the composition of libdepsky; a mount has its
 * own (fs/volume_open.c).
 */
#include "depsky/clouds.h"

#include <stdio.h>
#include <string.h>

#include "backends/registry.h"
#include "base/conf.h"
#include "base/crypto.h"

#define URL_MAX          4096
#define NAME_MAX_DEFAULT 8

struct ds_clouds {
    struct c2_os *os;                        /* owned */
    struct c2_conf *conf;                    /* owned */
    unsigned n;                              /* providers that are open */
    struct provider *provider[DS_SEATS_MAX]; /* owned */
    struct ds_client *client;                /* owned */
};

void
ds_clouds_config_default(struct ds_clouds_config *c)
{
    *c = (struct ds_clouds_config){ .threads = 1 };
    ds_config_default(&c->client);
    c->client.keyless = true;
}

/* Takes over the sentence. */
static enum c2_err
refuse(char **ret_error, enum c2_err err, char *sentence)
{
    if (ret_error != NULL)
        *ret_error = sentence;
    else
        c2_free(sentence);
    return err;
}

static enum c2_err
refuse_conf(const struct ds_clouds *c, char **ret_error, enum c2_err err)
{
    return refuse(ret_error, err, c2_strdup(c2_conf_error(c->conf)));
}

/* ---- URLs ------------------------------------------------------------------------------ */

/* The length of NAME in "NAME=dir:/PATH", 0 when there is none. */
static size_t
name_len(const char *url)
{
    size_t len = strcspn(url, "=:/?&");
    return url[len] == '=' ? len : 0;
}

static enum c2_err
set_option(struct ds_clouds *c, const char *name, char *option, char **ret_error)
{
    char *value = strchr(option, '=');
    if (value == NULL)
        return refuse(ret_error, C2_E_CONFIG,
                      c2_asprintf("URL of %s: \"%s\" is not KEY=VALUE", name, option));
    *value++ = '\0';
    enum c2_err err = c2_conf_set(c->conf, "provider", name, option, value, "URL");
    return err == C2_E_OK ? C2_E_OK : refuse_conf(c, ret_error, err);
}

/* Makes a [provider] section of the URL of a seat; `text` is cut into its parts. */
static enum c2_err
add_url(struct ds_clouds *c, unsigned seat, char *text, char **ret_error)
{
    char standard[NAME_MAX_DEFAULT];
    size_t len = name_len(text);
    const char *name = text;
    if (len == 0) {
        (void)snprintf(standard, sizeof(standard), "p%u", seat + 1);
        name = standard;
    } else {
        text[len] = '\0';
        text += len + 1;
    }
    if (c2_conf_has_section(c->conf, "provider", name))
        return refuse(ret_error, C2_E_CONFIG, c2_asprintf("two providers are called %s", name));
    char *options = strchr(text, '?');
    if (options != NULL)
        *options++ = '\0';
    enum c2_err err = c2_conf_set(c->conf, "provider", name, "url", text, "URL");
    if (err != C2_E_OK)
        return refuse_conf(c, ret_error, err);
    for (char *next; options != NULL; options = next) {
        next = strchr(options, '&');
        if (next != NULL)
            *next++ = '\0';
        C2_TRY(set_option(c, name, options, ret_error));
    }
    return C2_E_OK;
}

static enum c2_err
add_urls(struct ds_clouds *c, const struct ds_clouds_config *config, char **ret_error)
{
    for (size_t i = 0; i < config->nurls; i++) {
        if (strnlen(config->urls[i], URL_MAX) >= URL_MAX)
            return refuse(ret_error, C2_E_CONFIG, c2_strdup("a URL is too long"));
        C2_AUTO(c2_free_auto) char *text = c2_strdup(config->urls[i]);
        C2_TRY(add_url(c, (unsigned)i, text, ret_error));
    }
    return C2_E_OK;
}

/* ---- opening --------------------------------------------------------------------------- */

static enum c2_err
load(struct ds_clouds *c, const struct ds_clouds_config *config, char **ret_error)
{
    enum c2_err err = C2_E_OK;
    if (config->config_file != NULL)
        err = c2_conf_load_default(c->conf,
                                   config->config_file[0] != '\0' ? config->config_file : NULL);
    if (err == C2_E_OK && config->credentials_file != NULL)
        err = c2_conf_set(c->conf, "c2fs", NULL, "credentials", config->credentials_file,
                          "credentials_file");
    if (err != C2_E_OK)
        return refuse_conf(c, ret_error, err);
    return add_urls(c, config, ret_error);
}

/* The name of the provider of a seat, NULL after the last. */
static const char *
name_at(const struct ds_clouds *c, const struct ds_clouds_config *config, size_t seat)
{
    if (config->nnames > 0)
        return seat < config->nnames ? config->names[seat] : NULL;
    return c2_conf_section(c->conf, "provider", seat);
}

static enum c2_err
open_providers(struct ds_clouds *c, const struct ds_clouds_config *config, char **ret_error)
{
    const char *name;
    while ((name = name_at(c, config, c->n)) != NULL) {
        if (c->n == DS_SEATS_MAX)
            return refuse(ret_error, C2_E_INVALID,
                          c2_asprintf("more than %d providers", DS_SEATS_MAX));
        C2_TRY(prov_open(c2_os_env(c->os), c->os, c->conf, name, &c->provider[c->n], ret_error));
        c->n++;
    }
    return C2_E_OK;
}

static enum c2_err
open_client(struct ds_clouds *c, const struct ds_config *config, char **ret_error)
{
    struct ds_config own = *config;
    own.n = c->n;
    enum c2_err err = ds_client_new(c2_os_env(c->os), &own, c->provider, &c->client);
    c2_wipe(&own, sizeof(own));
    if (err != C2_E_OK)
        return refuse(ret_error, err,
                      c2_asprintf("%u providers with f = %u; it takes at least 3f+1, and f is 1 or "
                                  "%d",
                                  c->n, config->f, DS_F_MAX));
    return C2_E_OK;
}

static enum c2_err
open_all(struct ds_clouds *c, const struct ds_clouds_config *config, char **ret_error)
{
    unsigned threads = config->threads == 0 ? 1 : config->threads;
    if ((config->config_file == NULL) == (config->nurls == 0) || threads > C2_POOL_THREADS_MAX)
        return refuse(ret_error, C2_E_INVALID,
                      c2_strdup("give a configuration file or URLs, and at most 16 threads"));
    C2_TRY(load(c, config, ret_error));
    enum c2_err err = c2_crypto_init();
    if (err == C2_E_OK)
        err = c2_os_new(threads, &c->os);
    if (err != C2_E_OK)
        return refuse(ret_error, err, c2_asprintf("cannot start: %s", c2_err_text(err)));
    C2_TRY(open_providers(c, config, ret_error));
    return open_client(c, &config->client, ret_error);
}

C2_RESULT
ds_clouds_open(const struct ds_clouds_config *config, struct ds_clouds **ret_clouds,
               char **ret_error)
{
    struct ds_clouds *c = c2_calloc(1, sizeof(*c));
    c->conf = c2_conf_new();
    enum c2_err err = open_all(c, config, ret_error);
    if (err != C2_E_OK) {
        ds_clouds_close(c);
        return err;
    }
    *ret_clouds = c;
    return C2_E_OK;
}

static void
drained(void *arg)
{
    *(bool *)arg = true;
}

void
ds_clouds_close(struct ds_clouds *c)
{
    if (c == NULL)
        return;
    bool done = c->client == NULL;
    if (!done)
        ds_client_drain(c->client, drained, &done);
    while (!done) /* a stop of the loop ends a run early */
        c2_os_run_until(c->os, &done);
    ds_client_free(c->client);
    while (c->n > 0)
        prov_close(c->provider[--c->n]);
    if (c->os != NULL)
        c2_os_drain(c->os);
    c2_os_free(c->os);
    c2_conf_free(c->conf);
    c2_free(c);
}

struct ds_client *
ds_clouds_client(struct ds_clouds *c)
{
    return c->client;
}

struct c2_os *
ds_clouds_os(struct ds_clouds *c)
{
    return c->os;
}

struct c2_env *
ds_clouds_env(struct ds_clouds *c)
{
    return c2_os_env(c->os);
}
