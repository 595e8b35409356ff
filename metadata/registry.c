/* SPDX-License-Identifier: MIT */
/*
 * From a URL to an implementation.
 */
#include "metadata/registry.h"

#include <string.h>

#include "base/alloc.h"
#include "base/os_file.h"
#include "base/os_net.h"
#include "metadata/bft_client.h"
#include "metadata/identity.h"
#include "metadata/local.h"
#include "metadata/node.h"

static const char local_scheme[] = "local:";
static const char bft_scheme[] = "bft:";

/* What the keys of a [metadata] section say. */
struct service {
    const struct c2_conf *conf;
    const char *name;
    struct bft_config config;
    char addresses[MSG_REPLICAS_MAX][BFT_ADDRESS_MAX]; /* as configured; empty = as in config */
    struct identity_client client;
    struct c2_buf prefix; /* owned */
};

bool
coord_prefix_of(const char *name, struct c2_buf *out)
{
    size_t len = strlen(name);
    bool good = len > 0 && len <= COORD_PREFIX_NAME_MAX;
    for (const char *p = name; *p != '\0'; p++) {
        bool letter = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z');
        good = good && (letter || (*p >= '0' && *p <= '9') || strchr("._-", *p) != NULL);
    }
    if (good)
        c2_buf_printf(out, "/%s/", name);
    return good;
}

static C2_RESULT
read_file(const char *path, struct c2_buf *text, struct c2_os_file_info *info, char **ret_error)
{
    enum c2_err err = c2_os_read_file(path, IDENTITY_FILE_MAX, text, info);
    if (err != C2_E_OK)
        *ret_error = c2_asprintf("cannot read %s: %s", path, c2_err_text(err));
    return err;
}

static C2_RESULT
path_of(const struct service *s, const char *key, const char **ret_path, char **ret_error)
{
    *ret_path = c2_conf_str(s->conf, "metadata", s->name, key);
    if (*ret_path != NULL && **ret_path != '\0')
        return C2_E_OK;
    *ret_error = c2_asprintf("[metadata \"%s\"] lacks the key \"%s\"", s->name, key);
    return C2_E_CONFIG;
}

static C2_RESULT
load_trust(struct service *s, char **ret_error)
{
    C2_AUTO(c2_buf_done) struct c2_buf text = { 0 };
    const char *path = NULL;
    C2_TRY(path_of(s, "trust", &path, ret_error));
    C2_TRY(read_file(path, &text, NULL, ret_error));
    enum c2_err err = identity_read_cluster(c2_buf_slice(&text), &s->config);
    if (err != C2_E_OK)
        *ret_error = c2_asprintf("cannot use %s as trust: %s", path,
                                 identity_problem(c2_buf_slice(&text), IDENTITY_CLUSTER, err));
    return err;
}

static C2_RESULT
load_identity(struct service *s, char **ret_error)
{
    struct c2_buf text = { 0 };
    struct c2_os_file_info info = { 0 };
    const char *path = NULL;
    C2_TRY(path_of(s, "identity", &path, ret_error));
    enum c2_err err = read_file(path, &text, &info, ret_error);
    if (err == C2_E_OK && (info.mode & 077) != 0) {
        *ret_error = c2_asprintf("others may read %s; type: chmod 600 %s", path, path);
        err = C2_E_ACCESS;
    } else if (err == C2_E_OK) {
        err = identity_read_client(c2_buf_slice(&text), &s->client);
        if (err != C2_E_OK)
            *ret_error = c2_asprintf("cannot use %s as identity of a client: %s", path,
                                     identity_problem(c2_buf_slice(&text), IDENTITY_CLIENT, err));
    }
    if (text.data != NULL)
        c2_wipe(text.data, text.cap);
    c2_buf_done(&text);
    if (err == C2_E_OK && s->client.cluster != s->config.cluster) {
        *ret_error = c2_asprintf("%s and %s belong to different services", path,
                                 c2_conf_str(s->conf, "metadata", s->name, "trust"));
        err = C2_E_CONFIG;
    }
    return err;
}

/* The configuration may have other addresses than the trust file, in the same order; those of a
 * trust file that was written after changes of the members are newer. */
static C2_RESULT
take_addresses(struct service *s, char **ret_error)
{
    const char *at = c2_conf_str(s->conf, "metadata", s->name, "replicas");
    unsigned n = 0;
    bool fits = true;
    if (at == NULL || s->config.epoch > 0)
        return C2_E_OK;
    for (at += strspn(at, " \t,"); *at != '\0'; at += strspn(at, " \t,")) {
        size_t len = strcspn(at, " \t,");
        fits = fits && n < s->config.n && len < BFT_ADDRESS_MAX;
        if (fits) {
            memcpy(s->addresses[n], at, len);
            s->addresses[n][len] = '\0';
        }
        n++;
        at += len;
    }
    if (fits && n == s->config.n)
        return C2_E_OK;
    *ret_error = c2_asprintf("[metadata \"%s\"] replicas must name %u replicas, as many as the "
                             "trust file",
                             s->name, s->config.n);
    return C2_E_CONFIG;
}

static C2_RESULT
take_prefix(struct service *s, char **ret_error)
{
    const char *name = c2_conf_str(s->conf, "metadata", s->name, "prefix");
    if (name == NULL || coord_prefix_of(name, &s->prefix))
        return C2_E_OK;
    *ret_error =
        c2_asprintf("[metadata \"%s\"] prefix must be 1 to %u letters, digits, '.', '_' or "
                    "'-'",
                    s->name, COORD_PREFIX_NAME_MAX);
    return C2_E_CONFIG;
}

static C2_RESULT
connect_service(struct c2_env *env, const struct service *s, struct coord **ret_coord,
                char **ret_error)
{
    uint8_t secret[C2_ED25519_SECRET_LEN], key[C2_ED25519_PUBLIC_LEN];
    struct c2_os *os = c2_os_of(env);
    const char *addresses[MSG_REPLICAS_MAX] = { NULL };
    struct bft_client_options o = { .config = &s->config, .secret = secret };
    for (unsigned i = 0; i < s->config.n; i++)
        addresses[i] = s->addresses[i][0] != '\0' ? s->addresses[i] : NULL;
    o.addresses = addresses;
    C2_ASSERT(os != NULL); /* other environments make their own network, see bft_client.h */
    c2_ed25519_keypair(s->client.seed, secret, key);
    const struct c2_os_net_options net = { .secret = secret, .protocol = NODE_PROTOCOL };
    enum c2_err err = c2_os_net_new(os, &net, &o.net);
    if (err == C2_E_OK) {
        o.cert = s->client.cert;
        o.prefix = c2_buf_slice(&s->prefix);
        c2_random(env, &o.seed, sizeof o.seed);
        *ret_coord = bft_client_new(env, &o);
    } else {
        *ret_error = c2_asprintf("cannot set up TLS: %s", c2_err_text(err));
    }
    c2_wipe(secret, sizeof secret);
    return err;
}

static C2_RESULT
open_bft(struct c2_env *env, const struct c2_conf *conf, const char *name, struct coord **ret_coord,
         char **ret_error)
{
    struct service s = { .conf = conf, .name = name };
    if (conf == NULL || !c2_conf_has_section(conf, "metadata", name)) {
        *ret_error = c2_asprintf("there is no [metadata \"%s\"] in the configuration", name);
        return C2_E_CONFIG;
    }
    C2_TRY(load_trust(&s, ret_error));
    enum c2_err err = load_identity(&s, ret_error);
    if (err == C2_E_OK)
        err = take_addresses(&s, ret_error);
    if (err == C2_E_OK)
        err = take_prefix(&s, ret_error);
    if (err == C2_E_OK)
        err = connect_service(env, &s, ret_coord, ret_error);
    c2_buf_done(&s.prefix);
    c2_wipe(&s.client, sizeof s.client);
    return err;
}

C2_RESULT
coord_open_conf(struct c2_env *env, const struct c2_conf *conf, const char *url, bool create,
                struct coord **ret_coord, char **ret_error)
{
    char *error = NULL;
    enum c2_err err = C2_E_CONFIG;
    size_t len = strlen(local_scheme);
    if (strncmp(url, bft_scheme, strlen(bft_scheme)) == 0) {
        err = open_bft(env, conf, url + strlen(bft_scheme), ret_coord, &error);
    } else if (strncmp(url, local_scheme, len) != 0) {
        error = c2_asprintf("metadata \"%s\" is not of the form local:PATH or bft:NAME", url);
    } else if (url[len] == '\0') {
        error = c2_asprintf("metadata \"%s\" lacks the path of a folder", url);
    } else {
        err = coord_local_open(env, url + len, create, COORD_MAP_SIZE_DEFAULT, ret_coord, &error);
    }
    if (err != C2_E_OK && ret_error != NULL) {
        *ret_error = error;
    } else {
        c2_free(error);
    }
    return err;
}

C2_RESULT
coord_open(struct c2_env *env, const char *url, bool create, struct coord **ret_coord,
           char **ret_error)
{
    return coord_open_conf(env, NULL, url, create, ret_coord, ret_error);
}
