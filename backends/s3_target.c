/* SPDX-License-Identifier: MIT */
/*
 *   url       s3://BUCKET[/PREFIX]
 *   endpoint  [https://|http://]HOST[:PORT][/]     default https://s3.REGION.amazonaws.com
 *
 *   path style   ORIGIN/BUCKET/PREFIX/KEY          any server
 *   vhost style  SCHEME://BUCKET.HOST/PREFIX/KEY   AWS wants it; the certificate must match, so the
 *                                                  bucket's name may have no dot over TLS
 */
#include "backends/s3_target.h"

#include "backends/http_addr.h"
#include "base/alloc.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define BUCKET_MAX 255 /* 63 at AWS; older Ceph allows more */
#define HOST_MAX   255

struct endpoint {
    bool tls;
    char host[HOST_MAX + 1]; /* IPv6 with brackets */
    unsigned port;           /* 0 = the scheme's */
};

void
s3_target_done(struct s3_target *t)
{
    c2_free(t->origin);
    c2_free(t->host);
    c2_free(t->base_path);
    c2_free(t->prefix);
    c2_free(t->region);
    *t = (struct s3_target){ 0 };
}

static bool
only_of(const char *text, size_t len, const char *also)
{
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && (c == '\0' || strchr(also, c) == NULL))
            return false;
    }
    return len > 0;
}

static C2_RESULT
parse_url(const struct prov_s3_config *cfg, char **ret_bucket, char **ret_prefix, char **ret_error)
{
    const char *p = cfg->url;
    if (p == NULL || strncmp(p, "s3://", 5) != 0) {
        *ret_error =
            c2_asprintf("url \"%s\" is not of the form s3://bucket[/prefix]", p == NULL ? "" : p);
        return C2_E_CONFIG;
    }
    p += 5;
    size_t bucket_len = strcspn(p, "/");
    if (bucket_len > BUCKET_MAX || !only_of(p, bucket_len, ".-_")) {
        *ret_error = c2_asprintf("url \"%s\": the bucket's name may have letters, digits, '.', '-' "
                                 "and '_' only",
                                 cfg->url);
        return C2_E_CONFIG;
    }
    const char *prefix = p + bucket_len;
    while (*prefix == '/')
        prefix++;
    size_t len = strlen(prefix);
    while (len > 0 && prefix[len - 1] == '/')
        len--;
    if (len > 0 && (len > S3_PREFIX_MAX || !only_of(prefix, len, ".-_/"))) {
        *ret_error = c2_asprintf("url \"%s\": the prefix may have letters, digits, '.', '-', '_' "
                                 "and '/' only, at most %d of them",
                                 cfg->url, S3_PREFIX_MAX);
        return C2_E_CONFIG;
    }
    *ret_bucket = c2_strndup(p, bucket_len);
    *ret_prefix = len > 0 ? c2_asprintf("%.*s/", (int)len, prefix) : c2_strdup("");
    return C2_E_OK;
}

/* HOST[:PORT] */
static C2_RESULT
parse_authority(const char *text, struct endpoint *ret)
{
    size_t len = strcspn(text, "/");
    if (text[len] == '/' && text[len + 1] != '\0')
        return C2_E_CONFIG; /* a path would have to be signed and has no meaning */
    size_t host_len = strcspn(text, text[0] == '[' ? "]" : ":/");
    if (text[0] == '[')
        host_len++;
    if (host_len > len || host_len > HOST_MAX)
        return C2_E_CONFIG;
    bool v6 = text[0] == '[';
    if (v6 ? host_len < 4 || !only_of(text + 1, host_len - 2, ":.")
           : !only_of(text, host_len, "-."))
        return C2_E_CONFIG;
    memcpy(ret->host, text, host_len);
    ret->host[host_len] = '\0';
    if (host_len == len)
        return C2_E_OK;
    uint64_t port;
    if (text[host_len] != ':' ||
        c2_u64_parse(c2_slice(text + host_len + 1, len - host_len - 1), 65535, &port) != C2_E_OK ||
        port == 0)
        return C2_E_CONFIG;
    ret->port = (unsigned)port;
    return C2_E_OK;
}

static C2_RESULT
parse_endpoint(const struct prov_s3_config *cfg, const char *region, struct endpoint *ret,
               char **ret_error)
{
    struct endpoint e = { .tls = true };
    if (cfg->endpoint == NULL || cfg->endpoint[0] == '\0') {
        C2_AUTO(c2_free_auto) char *aws = c2_asprintf("s3.%s.amazonaws.com", region);
        if (parse_authority(aws, &e) != C2_E_OK) {
            *ret_error =
                c2_asprintf("region \"%.64s\" is none of AWS: set it right, or set endpoint "
                            "for another provider",
                            region);
            return C2_E_CONFIG;
        }
        *ret = e;
        return C2_E_OK;
    }
    const char *p = cfg->endpoint;
    if (strncasecmp(p, "http://", 7) == 0) {
        e.tls = false;
        p += 7;
    } else if (strncasecmp(p, "https://", 8) == 0) {
        p += 8;
    }
    if (parse_authority(p, &e) != C2_E_OK) {
        *ret_error =
            c2_asprintf("endpoint \"%s\" is not of the form https://host[:port]", cfg->endpoint);
        return C2_E_CONFIG;
    }
    *ret = e;
    return C2_E_OK;
}

static bool
host_is_loopback(const char *host)
{
    char bare[HOST_MAX + 1];
    size_t len = strlen(host);
    if (strcasecmp(host, "localhost") == 0)
        return true;
    if (host[0] != '[')
        return http_addr_is_loopback(host);
    memcpy(bare, host + 1, len - 2);
    bare[len - 2] = '\0';
    return http_addr_is_loopback(bare);
}

static bool
wants_vhost(const struct prov_s3_config *cfg, const struct endpoint *e, const char *bucket)
{
    if (cfg->addressing != PROV_S3_AUTO)
        return cfg->addressing == PROV_S3_VHOST;
    bool aws = strcasestr(e->host, ".amazonaws.com") != NULL;
    return aws && strchr(bucket, '.') == NULL && strchr(bucket, '_') == NULL;
}

static void
build(const struct endpoint *e, const char *bucket, bool vhost, struct s3_target *t)
{
    char port[16] = "";
    if (e->port != 0 && e->port != (e->tls ? 443 : 80))
        snprintf(port, sizeof(port), ":%u", e->port);
    t->tls = e->tls;
    t->loopback = host_is_loopback(e->host);
    t->host = c2_asprintf("%s%s%s%s", vhost ? bucket : "", vhost ? "." : "", e->host, port);
    t->origin = c2_asprintf("%s://%s", e->tls ? "https" : "http", t->host);
    t->base_path = vhost ? c2_strdup("") : c2_asprintf("/%s", bucket);
}

C2_RESULT
s3_target_parse(const struct prov_s3_config *cfg, struct s3_target *ret_target, char **ret_error)
{
    struct endpoint e;
    C2_AUTO(c2_free_auto) char *bucket = NULL;
    C2_AUTO(c2_free_auto) char *prefix = NULL;
    const char *region = cfg->region != NULL && cfg->region[0] != '\0' ? cfg->region : "us-east-1";
    if (!only_of(region, strlen(region), "-_.")) {
        *ret_error = c2_asprintf("region \"%s\" is not a region's name", region);
        return C2_E_CONFIG;
    }
    C2_TRY(parse_url(cfg, &bucket, &prefix, ret_error));
    C2_TRY(parse_endpoint(cfg, region, &e, ret_error));
    bool vhost = wants_vhost(cfg, &e, bucket);
    if (vhost && e.tls && strchr(bucket, '.') != NULL) {
        *ret_error =
            c2_asprintf("bucket \"%s\" has a dot, so its host name matches no certificate: "
                        "set addressing = path",
                        bucket);
        return C2_E_CONFIG;
    }
    if (vhost && (e.host[0] == '[' || http_addr_is_loopback(e.host))) {
        *ret_error = c2_asprintf("addressing = vhost needs an endpoint with a host name");
        return C2_E_CONFIG;
    }
    struct s3_target t = { 0 };
    build(&e, bucket, vhost, &t);
    if (!t.tls && !t.loopback && !cfg->insecure_http) {
        *ret_error = c2_asprintf("endpoint \"%s\" sends everything in plain text: use https://, or "
                                 "set insecure_http = yes",
                                 cfg->endpoint);
        s3_target_done(&t);
        return C2_E_CONFIG;
    }
    t.region = c2_strdup(region);
    t.prefix = prefix;
    prefix = NULL;
    *ret_target = t;
    return C2_E_OK;
}
