/* SPDX-License-Identifier: MIT */
/*
 * Which providers occupy the seats of a volume: chosen when it is made, opened when it is used.
 */
#include "fs/volume_impl.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "backends/registry.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/wire.h"

static const char *
provider_str(const struct c2_conf *conf, const char *name, const char *key)
{
    const char *value = c2_conf_str(conf, "provider", name, key);
    return value == NULL ? "" : value;
}

/* ---- choosing ------------------------------------------------------------------------------ */

/* Length of "s3://bucket" or of a path without slashes at its end. */
static size_t
place_len(const char *url)
{
    if (strncmp(url, "s3://", 5) == 0)
        return 5 + strcspn(url + 5, "/");
    size_t len = strlen(url);
    while (len > 0 && url[len - 1] == '/')
        len--;
    return len;
}

/* One failure would take both: the same bucket, or one folder inside the other. */
bool
volume_same_place(const struct c2_conf *conf, const char *a, const char *b)
{
    const char *url_a = provider_str(conf, a, "url"), *url_b = provider_str(conf, b, "url");
    size_t len_a = place_len(url_a), len_b = place_len(url_b);
    size_t len = C2_MIN(len_a, len_b);
    if (strcmp(url_a, "mem:") == 0 || strncmp(url_a, url_b, len) != 0)
        return false;
    if (strncmp(url_a, "s3://", 5) != 0)
        return len_a == len_b || (len_a > len_b ? url_a : url_b)[len] == '/';
    if (len_a != len_b)
        return false;
    const char *end_a = provider_str(conf, a, "endpoint");
    const char *end_b = provider_str(conf, b, "endpoint");
    size_t end_len = C2_MAX(place_len(end_a), place_len(end_b));
    if (*end_a == '\0' && *end_b == '\0') /* AWS: bucket names are global */
        return true;
    return place_len(end_a) == place_len(end_b) && strncasecmp(end_a, end_b, end_len) == 0;
}

static enum c2_err
take_seat(const struct volume_format *o, struct volume_config *config, const char *name,
          struct volume_error *e)
{
    struct volume_seat *seat = &config->seats[config->n];
    if (config->n == DS_SEATS_MAX) {
        volume_fail(e, C2_E_CONFIG, "more than %d providers", DS_SEATS_MAX);
        volume_hint(e, "name the ones to use with --provider");
        return C2_E_CONFIG;
    }
    for (unsigned i = 0; i < config->n; i++) {
        const char *other = config->seats[i].provider;
        if (strcmp(other, name) == 0) {
            volume_fail(e, C2_E_INVALID, "provider \"%s\" is named twice", name);
            return C2_E_INVALID;
        }
        if (volume_same_place(o->conf, other, name)) {
            volume_fail(e, C2_E_CONFIG,
                        "providers \"%s\" and \"%s\" are the same place (%s): they would be lost "
                        "together",
                        other, name, provider_str(o->conf, name, "url"));
            volume_hint(e, "use a bucket of another company, or another folder, for one of them");
            return C2_E_CONFIG;
        }
    }
    snprintf(seat->provider, sizeof seat->provider, "%s", name);
    snprintf(seat->url, sizeof seat->url, "%s", provider_str(o->conf, name, "url"));
    seat->state = VOLUME_SEAT_ACTIVE;
    config->n++;
    return C2_E_OK;
}

enum c2_err
volume_seats_choose(const struct volume_format *o, struct volume_config *config,
                    struct volume_error *e)
{
    config->f = o->f == 0 ? 1 : o->f;
    if (config->f > DS_F_MAX) {
        volume_fail(e, C2_E_INVALID, "at most %d faulty providers can be tolerated, not %u",
                    DS_F_MAX, config->f);
        return C2_E_INVALID;
    }
    for (size_t i = 0; o->providers == NULL || i < o->nproviders; i++) {
        const char *name =
            o->providers == NULL ? c2_conf_section(o->conf, "provider", i) : o->providers[i];
        if (name == NULL)
            break;
        C2_TRY(take_seat(o, config, name, e));
    }
    if (config->n >= 3 * config->f + 1)
        return C2_E_OK;
    volume_fail(e, C2_E_CONFIG, "%u providers are configured; to survive %u faulty one%s takes %u",
                config->n, config->f, config->f == 1 ? "" : "s", 3 * config->f + 1);
    volume_hint(e, "add [provider \"NAME\"] sections with url = s3://BUCKET or url = dir:/PATH");
    return C2_E_CONFIG;
}

/* ---- what the client does with a seat -------------------------------------------------------- */

static enum ds_seat_use
use_of(enum volume_seat_state state)
{
    switch (state) {
    case VOLUME_SEAT_ACTIVE:
        return DS_USE_ALL;
    case VOLUME_SEAT_REBUILDING:
        return DS_USE_NEW;
    case VOLUME_SEAT_DRAINING:
        return DS_USE_READ;
    case VOLUME_SEAT_EMPTY:
        return DS_USE_GONE;
    case VOLUME_SEAT_OFFLINE:
        break;
    }
    return DS_USE_OFF;
}

void
volume_seat_use(struct volume *v, unsigned seat)
{
    ds_client_set_seat(v->ds, seat, v->providers[seat], use_of(v->config.seats[seat].state));
}

/* ---- opening ------------------------------------------------------------------------------- */

static enum c2_err
check_seat(const struct volume *v, const struct volume_seat *seat, struct volume_error *e)
{
    if (!c2_conf_has_section(v->conf, "provider", seat->provider)) {
        volume_fail(e, C2_E_CONFIG,
                    "volume \"%s\" uses provider \"%s\", which the configuration does not have",
                    v->name, seat->provider);
        volume_hint(e, "add [provider \"%s\"] with url = %s", seat->provider, seat->url);
        return C2_E_CONFIG;
    }
    const char *url = provider_str(v->conf, seat->provider, "url");
    if (strcmp(url, seat->url) == 0)
        return C2_E_OK;
    volume_fail(e, C2_E_CONFIG,
                "provider \"%s\" has url = %s, but volume \"%s\" has its data there in %s",
                seat->provider, url, v->name, seat->url);
    volume_hint(e, "put the old url back; c2fsctl provider replace moves data to a new place");
    return C2_E_CONFIG;
}

enum c2_err
volume_seats_open(struct volume *v, struct c2_os *os, struct volume_error *e)
{
    unsigned missing = 0;
    v->os = os;
    for (unsigned i = 0; i < v->config.n; i++) {
        const struct volume_seat *seat = &v->config.seats[i];
        char *text = NULL;
        if (seat->state == VOLUME_SEAT_EMPTY || seat->state == VOLUME_SEAT_OFFLINE)
            continue;
        C2_TRY(check_seat(v, seat, e));
        enum c2_err err = prov_open(v->env, os, v->conf, seat->provider, &v->providers[i], &text);
        if (err == C2_E_OK)
            continue;
        v->seat_errors[i] = text;
        if (c2_err_class(err) != C2_CLASS_RETRY || ++missing > v->config.f) {
            volume_fail(e, err, "%s", text == NULL ? c2_err_text(err) : text);
            return err;
        }
        c2_log(WARN, "volume", "provider=%s err=%s, going on without it: %s", seat->provider,
               c2_err_name(err), text == NULL ? "" : text);
    }
    return C2_E_OK;
}

enum c2_err
volume_client_new(struct volume *v, struct volume_error *e)
{
    struct ds_config c;
    uint8_t epoch[4];
    const char *compression = c2_conf_str(v->conf, "volume", v->name, "compression");
    const char *erasure = c2_conf_str(v->conf, "volume", v->name, "erasure");
    ds_config_default(&c);
    c.n = v->config.n;
    c.f = v->config.f;
    c.write_all = v->config.redundancy_full;
    if (c2_conf_is_set(v->conf, "volume", v->name, "redundancy"))
        c.write_all = strcmp(c2_conf_str(v->conf, "volume", v->name, "redundancy"), "full") == 0;
    c.hedge_percent = (unsigned)c2_conf_u64(v->conf, "volume", v->name, "hedge_budget");
    memcpy(c.volume, v->config.uuid, sizeof c.volume);
    c.keyless = v->config.keyless;
    c.key_epoch = v->config.key_epoch;
    c.domain_id = v->config.domain_id;
    c.config_epoch = v->config.config_epoch;
    c.engine = strcmp(erasure, "jerasure") == 0 ? DS_ENGINE_JERASURE : DS_ENGINE_ISAL;
    c.compress = strcmp(compression, "none") == 0   ? DS_COMPRESS_NONE
                 : strcmp(compression, "zlib") == 0 ? DS_COMPRESS_ZLIB
                                                    : DS_COMPRESS_ISAL;
    c2_put_u32(epoch, v->config.key_epoch);
    keys_derive(v->keys, "data", c2_slice(epoch, sizeof epoch), c.data_key);
    c.voters = v->config_version == 0 ? 0 : volume_config_voters(&v->config);
    enum c2_err err = ds_client_new(v->env, &c, v->providers, &v->ds);
    c2_wipe(c.data_key, sizeof c.data_key);
    for (unsigned i = 0; err == C2_E_OK && i < v->config.n; i++)
        volume_seat_use(v, i);
    if (err != C2_E_OK)
        volume_fail(e, err, "the providers of volume \"%s\" cannot be used: %s", v->name,
                    c2_err_text(err));
    return err;
}
