/* SPDX-License-Identifier: MIT */
/*
 * How a volume lies in the clouds, when nothing but the clouds knows: the first shares of every
 * provider say which volume they are of, which seat the provider has and how many may fail.
 */
#include <stdio.h>
#include <string.h>

#include "backends/registry.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/os_loop.h"
#include "base/str.h"
#include "fs/volume_recover_impl.h"

#define VOLUMES_MAX 64                 /* in one cloud, when the uuid is not known */
#define PROBE_KEYS  4                  /* shares looked at in one cloud */
#define CLOUD_NS    (60 * C2_NS_PER_S) /* for looking into one cloud: it may hang all the time */

/* ---- blocking calls ------------------------------------------------------------------------- */

struct prov_call {
    struct prov_req req;
    bool done;
};

static void
prov_call_done(struct prov_req *req)
{
    C2_CONTAINER_OF(req, struct prov_call, req)->done = true;
}

/* The caller ends it with prov_req_done. */
static C2_RESULT
prov_call_run(struct recovering *p, struct provider *provider, struct prov_call *c)
{
    c->req.deadline_ns = p->deadline_ns;
    c->req.done = prov_call_done;
    prov_submit(provider, &c->req);
    c2_os_run_until(p->r->os, &c->done);
    return c->req.err;
}

/* ---- what lies in the clouds ---------------------------------------------------------------- */

/* The first share under a prefix that says something, after `after` (NULL = from the start). */
static bool
probe_prefix(struct recovering *p, struct cloud *c, const char *prefix, const char *after,
             char ret_key[PROV_KEY_MAX])
{
    struct prov_call list = {
        .req = { .verb = PROV_LIST, .key = prefix, .list_after = after, .list_max = PROBE_KEYS }
    };
    bool found = false;
    if (prov_call_run(p, c->provider, &list) != C2_E_OK)
        c2_log(WARN, "recover", "provider=%s cannot be listed: err=%s %s", c->name,
               c2_err_name(list.req.err), list.req.detail);
    ret_key[0] = '\0';
    for (size_t k = 0; !found && k < list.req.nentries; k++) {
        const char *key = list.req.entries[k].key;
        struct prov_call get = { .req = { .verb = PROV_GET,
                                          .key = key,
                                          .len = DS_SHARE_INFO_BYTES,
                                          .body_len_max = DS_SHARE_INFO_BYTES } };
        (void)snprintf(ret_key, PROV_KEY_MAX, "%s", key);
        found = prov_call_run(p, c->provider, &get) == C2_E_OK &&
                ds_share_info(c2_blob_slice(get.req.reply), &c->info) == C2_E_OK;
        prov_req_done(&get.req);
    }
    prov_req_done(&list.req);
    return found;
}

static bool
uuid_wanted(const struct recovering *p, const struct ds_share_info *info)
{
    char hex[33];
    if (p->have_uuid)
        return memcmp(info->volume, p->uuid, sizeof(p->uuid)) == 0;
    c2_hex_encode(info->volume, sizeof(info->volume), hex);
    return info->keyless &&
           (p->r->uuid == NULL || strncmp(hex, p->r->uuid, strlen(p->r->uuid)) == 0);
}

/* Which volumes have shares there; one that fits is taken, a second one is an error. */
static C2_RESULT
search_cloud(struct recovering *p, struct cloud *c)
{
    char after[PROV_KEY_MAX] = "", key[PROV_KEY_MAX];
    struct ds_share_info fits = { 0 };
    for (unsigned k = 0; k < VOLUMES_MAX; k++) {
        bool told = probe_prefix(p, c, "v1/", after[0] == '\0' ? NULL : after, key);
        if (key[0] == '\0')
            break;
        if (told && uuid_wanted(p, &c->info)) {
            if (c->found) {
                volume_fail(&p->r->error, C2_E_CONFLICT,
                            "provider \"%s\" has several keyless volumes", c->name);
                volume_hint(&p->r->error, "say which one with --uuid");
                return C2_E_CONFLICT;
            }
            c->found = true;
            fits = c->info;
        }
        /* "v1/<8 digits>/..." -> after everything of that volume: '0' comes after '/' */
        size_t len = C2_MIN(strlen(key), (size_t)VOLUME_PREFIX_LEN - 1);
        memcpy(after, key, len);
        (void)snprintf(after + len, sizeof(after) - len, "0");
    }
    c->info = fits;
    return C2_E_OK;
}

static C2_RESULT
probe_cloud(struct recovering *p, struct cloud *c)
{
    char prefix[VOLUME_PREFIX_LEN + 1], key[PROV_KEY_MAX];
    if (!p->have_uuid)
        return search_cloud(p, c);
    volume_prefix(p->uuid, prefix);
    prefix[VOLUME_PREFIX_LEN - 1] = '/';
    prefix[VOLUME_PREFIX_LEN] = '\0';
    c->found = probe_prefix(p, c, prefix, NULL, key) && uuid_wanted(p, &c->info);
    return C2_E_OK;
}

static C2_RESULT
look_into_all(struct recovering *p)
{
    struct volume_recover *r = p->r;
    const char *name;
    for (size_t k = 0; (name = c2_conf_section(r->conf, "provider", k)) != NULL; k++) {
        if (p->nclouds == CLOUDS_MAX)
            break;
        struct cloud *c = &p->clouds[p->nclouds++];
        char *text = NULL;
        (void)snprintf(c->name, sizeof(c->name), "%s", name);
        enum c2_err err = prov_open(p->env, r->os, r->conf, name, &c->provider, &text);
        if (err != C2_E_OK) {
            c2_log(WARN, "recover", "provider=%s err=%s, going on without it: %s", name,
                   c2_err_name(err), text == NULL ? "" : text);
            c2_free(text);
            continue;
        }
        p->deadline_ns = c2_now_ns(p->env) + CLOUD_NS;
        C2_TRY(probe_cloud(p, c));
    }
    return C2_E_OK;
}

/* But for the number of seats: it grows when a provider is added. */
static bool
same_volume(const struct ds_share_info *a, const struct ds_share_info *b)
{
    return memcmp(a->volume, b->volume, sizeof(a->volume)) == 0 && a->k == b->k &&
           a->keyless == b->keyless && a->key_epoch == b->key_epoch && a->domain_id == b->domain_id;
}

/* The largest number of seats that k clouds know of. */
static void
agree_on_seats(struct recovering *p)
{
    for (unsigned n = DS_SEATS_MAX; n > p->info.k; n--) {
        unsigned say = 0;
        for (size_t i = 0; i < p->nclouds; i++)
            say += p->clouds[i].found && same_volume(&p->clouds[i].info, &p->info) &&
                   p->clouds[i].info.n >= n;
        if (say < p->info.k)
            continue;
        p->info.n = n;
        return;
    }
}

/* What k clouds agree on is true, for fewer than k lie. */
static C2_RESULT
agree(struct recovering *p)
{
    unsigned best = 0;
    for (size_t i = 0; i < p->nclouds; i++) {
        unsigned same = 0;
        const struct cloud *c = &p->clouds[i];
        for (size_t j = 0; c->found && j < p->nclouds; j++)
            same += p->clouds[j].found && same_volume(&c->info, &p->clouds[j].info);
        if (c->found && same >= c->info.k && same > best) {
            best = same;
            p->info = c->info;
        }
    }
    if (best > 0) {
        agree_on_seats(p);
        return C2_E_OK;
    }
    volume_fail(&p->r->error, C2_E_NOT_FOUND, "the providers have nothing of volume \"%s\"",
                p->r->volume);
    if (p->have_uuid)
        volume_hint(&p->r->error, "the [provider] sections must name the same buckets and prefixes "
                                  "as on the lost machine");
    else
        volume_hint(&p->r->error,
                    "the key file is not there, so only a keyless volume can be recovered; bring "
                    "the key file back from a copy or from the recovery kit (c2fsctl key restore)");
    return C2_E_NOT_FOUND;
}

C2_RESULT
recovering_probe(struct recovering *p)
{
    C2_TRY(look_into_all(p));
    return agree(p);
}

/* ---- client --------------------------------------------------------------------------------- */

static bool
claims_seat(const struct recovering *p, const struct cloud *c)
{
    return c->found && same_volume(&c->info, &p->info);
}

uint32_t
recovering_contested(const struct recovering *p)
{
    uint32_t contested = 0;
    for (size_t i = 0; i < p->nclouds; i++) {
        for (size_t j = 0; j < p->nclouds; j++) {
            const struct cloud *a = &p->clouds[i], *b = &p->clouds[j];
            if (i != j && claims_seat(p, a) && claims_seat(p, b) && a->info.seat == b->info.seat)
                contested |= 1u << i;
        }
    }
    return contested;
}

static void
seat_take(struct recovering *p, unsigned seat, struct cloud *c)
{
    struct volume_seat *s = &p->v->config.seats[seat];
    s->state = VOLUME_SEAT_ACTIVE;
    (void)snprintf(s->provider, sizeof(s->provider), "%s", c->name);
    p->v->providers[seat] = c->provider;
    c->seated = true;
}

static struct cloud *
cloud_named(struct recovering *p, const char *name)
{
    for (size_t k = 0; k < p->nclouds; k++) {
        if (strcmp(p->clouds[k].name, name) == 0)
            return &p->clouds[k];
    }
    return NULL;
}

static struct cloud *
cloud_left(struct recovering *p)
{
    for (size_t k = 0; k < p->nclouds; k++) {
        if (!p->clouds[k].seated && p->clouds[k].provider != NULL)
            return &p->clouds[k];
    }
    return NULL;
}

/* Who has a seat by the volume's own configuration, under the same name and at the same place: the
 * bucket of a provider that was replaced says the same of itself. */
static void
take_known_seats(struct recovering *p, const struct volume_config *known)
{
    for (unsigned seat = 0; seat < known->n; seat++) {
        const struct volume_seat *s = &known->seats[seat];
        struct cloud *c = s->state == VOLUME_SEAT_EMPTY ? NULL : cloud_named(p, s->provider);
        const char *url =
            c == NULL ? NULL : c2_conf_str(p->r->conf, "provider", s->provider, "url");
        if (url != NULL && c->provider != NULL && strcmp(url, s->url) == 0)
            seat_take(p, seat, c);
    }
}

/* First who is known to have a seat, then what the shares say, then, for clouds that have none, the
 * volume's own configuration; while that is not known, any place does: there is nothing to be read
 * from them. */
static void
take_seats(struct recovering *p, const struct volume_config *known)
{
    struct volume *v = p->v;
    for (size_t k = 0; k < p->nclouds; k++)
        p->clouds[k].seated = false;
    if (known != NULL)
        take_known_seats(p, known);
    for (size_t k = 0; k < p->nclouds; k++) {
        struct cloud *c = &p->clouds[k];
        if (c->seated || !claims_seat(p, c) || (p->doubted & 1u << k) != 0 ||
            c->info.seat >= v->config.n ||
            (known != NULL && known->seats[c->info.seat].state == VOLUME_SEAT_EMPTY))
            continue;
        if (v->providers[c->info.seat] == NULL)
            seat_take(p, c->info.seat, c);
        else
            c2_log(WARN, "recover", "provider=%s says it is seat %u, which another one has",
                   c->name, c->info.seat);
    }
    for (unsigned seat = 0; seat < v->config.n; seat++) {
        if (v->providers[seat] != NULL)
            continue;
        if (known != NULL && known->seats[seat].state == VOLUME_SEAT_EMPTY)
            continue;
        struct cloud *c =
            known != NULL ? cloud_named(p, known->seats[seat].provider) : cloud_left(p);
        if (c != NULL && c->provider != NULL && !c->seated)
            seat_take(p, seat, c);
    }
}

static void
closed(void *arg)
{
    ((struct recovering *)arg)->flag = true;
}

void
recovering_disconnect(struct recovering *p)
{
    if (p->v == NULL)
        return;
    p->flag = false;
    if (p->v->ds != NULL) {
        ds_client_drain(p->v->ds, closed, p);
        c2_os_run_until(p->r->os, &p->flag);
        ds_client_free(p->v->ds);
        p->v->ds = NULL;
    }
    memset(p->v->providers, 0, sizeof(p->v->providers)); /* they stay ours */
    p->flag = false;
    volume_close(p->v, closed, p);
    c2_os_run_until(p->r->os, &p->flag);
    p->v = NULL;
}

/* known: the volume's configuration, or NULL. */
C2_RESULT
recovering_connect(struct recovering *p, const struct volume_config *known)
{
    static const uint8_t no_key[C2_KEY_LEN];
    const struct ds_share_info *i = &p->info;
    recovering_disconnect(p);
    p->v = volume_new(p->env, p->r->conf, p->r->volume);
    struct volume_config *config = &p->v->config;
    memcpy(config->uuid, i->volume, sizeof(config->uuid));
    memcpy(p->uuid, i->volume, sizeof(p->uuid));
    config->n = known != NULL ? known->n : i->n;
    config->f = i->k - 1;
    config->keyless = i->keyless;
    config->key_epoch = i->key_epoch;
    config->domain_id = i->domain_id;
    config->config_epoch = i->config_epoch;
    if (p->key.volume_key == NULL && !i->keyless) {
        volume_fail(&p->r->error, C2_E_KEY, "the volume needs its key file");
        return C2_E_KEY;
    }
    take_seats(p, known);
    p->v->keys = keys_new(p->key.volume_key == NULL ? no_key : p->key.volume_key, p->uuid);
    C2_TRY(volume_client_new(p->v, &p->r->error));
    p->r->config = *config;
    return C2_E_OK;
}
