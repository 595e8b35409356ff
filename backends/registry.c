/* SPDX-License-Identifier: MIT */
/*
 * From [provider "name"] to a stack:
 *
 *     retry( limit( stats( fault( s3 | dir | mem ) ) ) )
 *
 * stats sits where requests leave for the cloud: it counts every attempt, and its latencies are
 * without our queue and our back-off. The fault layer exists only when `fault` is set (to nothing
 * counts as set: then faults can be switched on while running), so what it does is seen by all the
 * others as the cloud's doing.
 */
#include "backends/registry.h"
#include "backends/layer.h"
#include "backends/s3.h"

#include "base/alloc.h"
#include "base/credentials.h"
#include "base/str.h"

#include <string.h>

#define QUEUE_MAX         4096 /* requests that wait for one provider */
#define SECTIONS_MAX      64
#define ROOT_PATH_LEN_MAX 3000 /* leaves room for a key below PATH_MAX */

struct source {
    struct c2_env *env;
    struct c2_os *os;
    const struct c2_conf *conf;
    const char *name;
    char **ret_error;
};

/* Takes over the sentence. */
static enum c2_err
refuse(const struct source *s, enum c2_err err, char *sentence)
{
    if (s->ret_error != NULL)
        *s->ret_error = sentence;
    else
        c2_free(sentence);
    return err;
}

static const char *
str(const struct source *s, const char *key)
{
    return c2_conf_str(s->conf, "provider", s->name, key);
}

static uint64_t
u64(const struct source *s, const char *key)
{
    return c2_conf_u64(s->conf, "provider", s->name, key);
}

static double
price(const struct source *s, const char *key)
{
    return (double)u64(s, key) / 1e9; /* of billionths */
}

static enum c2_err
refuse_unknown_name(const struct source *s)
{
    const char *names[SECTIONS_MAX];
    size_t count = 0;
    while (count < SECTIONS_MAX) {
        const char *name = c2_conf_section(s->conf, "provider", count);
        if (name == NULL)
            break;
        names[count++] = name;
    }
    const char *near = c2_nearest(s->name, names, count);
    if (near != NULL)
        return refuse(
            s, C2_E_NOT_FOUND,
            c2_asprintf("there is no [provider \"%s\"], did you mean \"%s\"?", s->name, near));
    return refuse(
        s, C2_E_NOT_FOUND,
        c2_asprintf("there is no [provider \"%s\"] in the configuration; add the section with "
                    "url = s3://BUCKET or url = dir:/PATH",
                    s->name));
}

/* ---- bottoms ---- */

static enum c2_err
open_dir(const struct source *s, const char *path, struct provider **ret_provider)
{
    if (path[0] != '/')
        return refuse(s, C2_E_CONFIG,
                      c2_asprintf("provider \"%s\": \"dir:%s\" is not an absolute path; write "
                                  "url = dir:/PATH",
                                  s->name, path));
    if (strnlen(path, ROOT_PATH_LEN_MAX + 1) > ROOT_PATH_LEN_MAX)
        return refuse(
            s, C2_E_CONFIG,
            c2_asprintf("provider \"%s\": the path of its directory is too long", s->name));
    *ret_provider = prov_dir_new(s->env, s->name, path);
    return C2_E_OK;
}

static enum c2_err
open_s3(const struct source *s, const char *url, struct provider **ret_provider)
{
    if (s->os == NULL)
        return refuse(s, C2_E_UNSUPPORTED,
                      c2_asprintf("provider \"%s\": s3: needs the network, which is not "
                                  "available here",
                                  s->name));
    struct c2_credentials credentials = { 0 };
    enum c2_err err = c2_credentials_lookup(s->conf, s->name, &credentials, s->ret_error);
    if (err != C2_E_OK)
        return err == C2_E_NOT_FOUND ? C2_E_AUTH : err;
    struct prov_s3_config cfg = {
        .name = s->name,
        .url = url,
        .endpoint = str(s, "endpoint"),
        .region = str(s, "region"),
        .addressing = strcmp(str(s, "addressing"), "vhost") == 0 ? PROV_S3_VHOST : PROV_S3_PATH,
        .ca_file = str(s, "ca_file"),
        .proxy = str(s, "proxy"),
        .insecure_http = c2_conf_bool(s->conf, "provider", s->name, "insecure_http"),
        .timeout_ns =
            c2_conf_is_set(s->conf, "provider", s->name, "timeout") ? u64(s, "timeout") : 0,
        .connect_timeout_ns = u64(s, "connect_timeout"),
        .connections = (unsigned)u64(s, "connections"),
        .access_key_id = credentials.access_key_id,
        .secret_access_key = credentials.secret_access_key,
        .session_token = credentials.session_token,
    };
    err = prov_s3_new(s->env, s->os, &cfg, ret_provider, s->ret_error);
    c2_credentials_done(&credentials);
    return err;
}

static enum c2_err
open_bottom(const struct source *s, struct provider **ret_provider)
{
    const char *url = str(s, "url");
    if (url == NULL)
        return refuse(
            s, C2_E_CONFIG,
            c2_asprintf("provider \"%s\" has no url; write url = s3://BUCKET or url = dir:/PATH",
                        s->name));
    if (strncmp(url, "dir:", 4) == 0)
        return open_dir(s, url + 4, ret_provider);
    if (strncmp(url, "s3://", 5) == 0)
        return open_s3(s, url, ret_provider);
    if (strcmp(url, "mem:") == 0) {
        *ret_provider = prov_mem_new(s->env, s->name);
        return C2_E_OK;
    }
    return refuse(
        s, C2_E_CONFIG,
        c2_asprintf("provider \"%s\": url \"%s\" is none of s3://BUCKET[/PREFIX], dir:/PATH, mem:",
                    s->name, url));
}

/* ---- layers ---- */

/* Checked before anything is opened, so that wrapping cannot fail. */
static enum c2_err
check_fault(const struct source *s)
{
    char *sentence = NULL;
    enum c2_err err = prov_fault_check(str(s, "fault"), &sentence);
    if (err != C2_E_OK)
        err = refuse(s, err, c2_asprintf("provider \"%s\": fault: %s", s->name, sentence));
    c2_free(sentence);
    return err;
}

static struct provider *
wrap(const struct source *s, struct provider *p)
{
    if (c2_conf_is_set(s->conf, "provider", s->name, "fault")) {
        uint64_t seed = 0;
        c2_random(s->env, &seed, sizeof seed);
        enum c2_err err = prov_fault_new(p, str(s, "fault"), seed, &p);
        C2_ASSERT(err == C2_E_OK); /* checked before */
    }
    uint64_t backoff_ns = u64(s, "backoff");
    uint64_t backoff_max_ns = C2_MAX(backoff_ns, u64(s, "backoff_max"));
    p = prov_stats_new(p);
    p = prov_limit_new(p, (unsigned)u64(s, "connections"), QUEUE_MAX, u64(s, "bandwidth"));
    return prov_retry_new(p, (unsigned)u64(s, "retries") + 1, backoff_ns, backoff_max_ns);
}

C2_RESULT
prov_open(struct c2_env *env, struct c2_os *os, const struct c2_conf *conf, const char *name,
          struct provider **ret_provider, char **ret_error)
{
    struct source s = { .env = env, .os = os, .conf = conf, .name = name, .ret_error = ret_error };
    struct provider *bottom = NULL;
    if (!c2_conf_has_section(conf, "provider", name))
        return refuse_unknown_name(&s);
    if (strlen(name) >= PROV_NAME_MAX)
        return refuse(&s, C2_E_CONFIG,
                      c2_asprintf("provider name \"%s\" is longer than %d characters", name,
                                  PROV_NAME_MAX - 1));
    C2_TRY(check_fault(&s));
    C2_TRY(open_bottom(&s, &bottom));
    *ret_provider = wrap(&s, bottom);
    (*ret_provider)->price = (struct prov_price){ .put = price(&s, "price_put"),
                                                  .get = price(&s, "price_get"),
                                                  .egress = price(&s, "price_egress"),
                                                  .storage = price(&s, "price_storage") };
    return C2_E_OK;
}
