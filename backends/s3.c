/* SPDX-License-Identifier: MIT */
/*
 * The S3 provider: checks the configuration, owns what the requests share. s3_op.c does the verbs,
 * s3_call.c signed requests, http.c the wire.
 */
#include "backends/s3.h"
#include "backends/s3_op.h"

#include "base/alloc.h"
#include "base/os_file.h"

#include <string.h>

#define CONNECT_TIMEOUT_NS (5 * C2_NS_PER_S)
#define CONNECTIONS        8
#define CA_FILE_MAX        (4u << 20)
/* Slower than this for this long is hung, not slow: a 256 kbit/s line shared by 8 requests is
 * faster. The deadline ends what only drips. */
#define LOW_SPEED_BYTES_PER_S 2048
#define LOW_SPEED_S           30

static void
s3_submit(struct provider *p, struct prov_req *r)
{
    s3_op_start(C2_CONTAINER_OF(p, struct s3, p), r);
}

static void
s3_cancel(struct provider *p, struct prov_req *r)
{
    s3_op_cancel(C2_CONTAINER_OF(p, struct s3, p), r);
}

static void
s3_close(struct provider *p)
{
    struct s3 *s3 = C2_CONTAINER_OF(p, struct s3, p);
    struct s3_client *c = &s3->client;
    C2_ASSERT(s3->outstanding == 0);
    http_pool_free(c->http);
    s3_signer_free(c->signer);
    if (c->session_token != NULL)
        c2_secret_free(c->session_token, strlen(c->session_token) + 1);
    s3_target_done(&c->target);
    c2_free(s3);
}

static const struct provider_ops s3_ops = {
    .submit = s3_submit,
    .cancel = s3_cancel,
    .close = s3_close,
};

/* A header's value cannot hold them, and a signature over them would be about something else. */
static bool
is_header_text(const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f)
            return false;
    }
    return text[0] != '\0';
}

static C2_RESULT
check_credentials(const struct prov_s3_config *cfg, char **ret_error)
{
    if (cfg->access_key_id == NULL || cfg->secret_access_key == NULL) {
        *ret_error = c2_asprintf("no credentials: put access_key_id and secret_access_key into "
                                 "section [provider \"%s\"] of the credentials file",
                                 cfg->name);
        return C2_E_CONFIG;
    }
    bool token_good = cfg->session_token == NULL || is_header_text(cfg->session_token);
    if (!is_header_text(cfg->access_key_id) || strchr(cfg->access_key_id, '/') != NULL ||
        cfg->secret_access_key[0] == '\0' || !token_good) {
        *ret_error =
            c2_asprintf("the credentials of provider \"%s\" are malformed: check for blanks "
                        "and line ends",
                        cfg->name);
        return C2_E_CONFIG;
    }
    return C2_E_OK;
}

static C2_RESULT
check_ca_file(const struct prov_s3_config *cfg, char **ret_error)
{
    if (cfg->ca_file == NULL)
        return C2_E_OK;
    C2_AUTO(c2_buf_done) struct c2_buf text = { 0 };
    enum c2_err err = c2_os_read_file(cfg->ca_file, CA_FILE_MAX, &text, NULL);
    if (err != C2_E_OK) {
        *ret_error = c2_asprintf("ca_file \"%s\": %s", cfg->ca_file, c2_err_text(err));
        return C2_E_CONFIG;
    }
    if (strstr(c2_buf_cstr(&text), "-----BEGIN CERTIFICATE-----") == NULL) {
        *ret_error = c2_asprintf("ca_file \"%s\" holds no PEM certificate", cfg->ca_file);
        return C2_E_CONFIG;
    }
    return C2_E_OK;
}

static struct http_pool *
new_pool(struct c2_env *env, struct c2_os *os, const struct prov_s3_config *cfg, bool tls)
{
    struct http_settings s = {
        .ca_file = cfg->ca_file,
        .proxy = cfg->proxy,
        .plain = tls                  ? HTTP_PLAIN_NEVER
                 : cfg->insecure_http ? HTTP_PLAIN_ANY
                                      : HTTP_PLAIN_LOOPBACK,
        .connections = cfg->connections != 0 ? cfg->connections : CONNECTIONS,
        .connect_timeout_ns =
            cfg->connect_timeout_ns != 0 ? cfg->connect_timeout_ns : CONNECT_TIMEOUT_NS,
        .low_speed_bytes_per_s = LOW_SPEED_BYTES_PER_S,
        .low_speed_s = LOW_SPEED_S,
    };
    s.connections = C2_MIN(s.connections, HTTP_CONNECTIONS_MAX);
    return http_pool_new(env, os, &s);
}

static C2_RESULT
check(const struct prov_s3_config *cfg, struct s3_target *ret_target, char **ret_error)
{
    C2_TRY(check_credentials(cfg, ret_error));
    C2_TRY(check_ca_file(cfg, ret_error));
    return s3_target_parse(cfg, ret_target, ret_error);
}

C2_RESULT
prov_s3_new(struct c2_env *env, struct c2_os *os, const struct prov_s3_config *cfg,
            struct provider **ret_provider, char **ret_error)
{
    struct s3_target target;
    char *error = NULL;
    C2_ASSERT(os != NULL && cfg->name != NULL);
    enum c2_err err = check(cfg, &target, &error);
    if (err != C2_E_OK) {
        if (ret_error != NULL)
            *ret_error = c2_asprintf("provider \"%s\": %s", cfg->name, error);
        c2_free(error);
        return err;
    }
    struct s3 *s3 = c2_calloc(1, sizeof(*s3));
    prov_bottom_init(&s3->p, &s3_ops, env, cfg->name);
    /* Believed until the cloud says 501; whether it is true is what the probe finds out. */
    s3->p.caps = PROV_CAP_IF_ABSENT;
    s3->timeout_ns = cfg->timeout_ns;
    s3->client.env = env;
    s3->client.name = s3->p.name;
    s3->client.target = target;
    s3->client.http = new_pool(env, os, cfg, target.tls);
    s3->client.signer =
        s3_signer_new(cfg->access_key_id, cfg->secret_access_key, target.region, "s3");
    if (cfg->session_token != NULL) {
        size_t size = strlen(cfg->session_token) + 1;
        s3->client.session_token = c2_secret_alloc(size);
        memcpy(s3->client.session_token, cfg->session_token, size);
    }
    *ret_provider = &s3->p;
    return C2_E_OK;
}
