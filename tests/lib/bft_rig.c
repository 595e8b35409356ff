/* SPDX-License-Identifier: MIT */
#include "tests/lib/bft_rig.h"

#include "base/alloc.h"
#include "metadata/identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define MAP_SIZE     (64u << 20)
#define SEGMENT_SIZE (256u << 10)

static void
make_members(struct bft_rig *r)
{
    struct bft_config *c = &r->config;
    uint8_t seed[32] = { 0 };
    for (unsigned i = 0; i < r->n; i++) {
        struct bft_member *m = &c->member[i];
        struct bft_rig_replica *p = &r->replica[i];
        m->id = (uint16_t)(i + 1);
        snprintf(m->address, sizeof m->address, "replica:%u", i + 1);
        seed[0] = (uint8_t)(i + 1);
        seed[1] = 1;
        c2_ed25519_keypair(seed, p->identity_secret, m->identity_key);
        seed[1] = 2;
        c2_ed25519_keypair(seed, p->setup.sign_secret, m->sign_key);
        c2_sha256(c2_slice(m->identity_key, MSG_KEY_LEN), m->tls_hash[0]);
    }
    seed[1] = 3;
    c2_ed25519_keypair(seed, r->admin_secret, c->admin[0]);
}

static void
make_clients(struct bft_rig *r)
{
    struct identity_admin a = { .cluster = r->config.cluster };
    uint8_t secret[C2_ED25519_SECRET_LEN];
    memset(a.authority_seed, 7, sizeof a.authority_seed);
    c2_ed25519_keypair(a.authority_seed, secret, r->config.client_authority);
    for (unsigned k = 0; k < BFT_RIG_CLIENTS; k++) {
        uint8_t seed[32] = { 0x70, (uint8_t)k };
        struct identity_client c;
        identity_make_client(&a, seed, &c);
        memcpy(r->client[k].cert, c.cert, sizeof c.cert);
        c2_ed25519_keypair(seed, r->client[k].secret, r->client[k].key);
    }
}

static void
make_folder(struct bft_rig_replica *p)
{
    C2_AUTO(c2_free_auto) char *marker = c2_asprintf("%s/" NODE_FIRST_START, p->data);
    assert_int_equal(mkdir(p->data, 0700), 0);
    test_disk_write_file(marker, "x", 1);
}

struct bft_rig *
bft_rig_new(struct test_env *t, unsigned f)
{
    struct bft_rig *r = c2_calloc(1, sizeof *r);
    assert_int_equal(c2_crypto_init(), C2_E_OK);
    r->t = t;
    r->env = test_env_env(t);
    r->hub = test_hub_new(r->env);
    r->n = 3 * f + 1;
    bft_config_default(&r->config);
    r->config.cluster = 0xc2f5;
    r->config.f = (uint8_t)f;
    r->config.n = (uint8_t)r->n;
    r->config.nadmins = r->config.admins_needed = 1;
    make_members(r);
    make_clients(r);
    for (unsigned i = 0; i < r->n; i++) {
        struct bft_rig_replica *p = &r->replica[i];
        char name[32];
        p->rig = r;
        p->setup.config = r->config;
        p->setup.id = (uint16_t)(i + 1);
        p->setup.crypto = &bft_crypto_ed25519;
        p->setup.seed = i + 1;
        bft_timing_lan(&p->setup.timing);
        bft_limits_default(&p->setup.limits);
        snprintf(name, sizeof name, "replica-%u", i + 1);
        p->data = test_env_path(t, name);
        make_folder(p);
    }
    return r;
}

static void
on_started(void *arg)
{
    struct bft_rig_replica *p = arg;
    p->started = true;
}

static void
on_failed(void *arg, enum c2_err err, const char *why)
{
    struct bft_rig_replica *p = arg;
    print_message("replica %u: %s\n", p->setup.id, why);
    p->failed = err;
    p->started = true;
}

static void
on_closed(void *arg)
{
    struct bft_rig_replica *p = arg;
    p->closed = true;
}

void
bft_rig_open(struct bft_rig *r, unsigned i)
{
    struct bft_rig_replica *p = &r->replica[i];
    char *error = NULL;
    assert_null(p->node);
    p->net = test_net_new(r->hub, i, r->config.member[i].identity_key);
    p->started = false;
    p->failed = C2_E_OK;
    const struct node_options o = {
        .setup = &p->setup,
        .data = p->data,
        .listen = r->config.member[i].address,
        .net = p->net,
        .map_size = MAP_SIZE,
        .segment_size = SEGMENT_SIZE,
        .started = on_started,
        .failed = on_failed,
        .arg = p,
    };
    if (node_open(p->env != NULL ? p->env : r->env, &o, &p->node, &error) != C2_E_OK)
        fail_msg("replica %u: %s", i + 1, error);
}

void
bft_rig_start(struct bft_rig *r, unsigned i)
{
    bft_rig_open(r, i);
    test_env_run_until(r->t, &r->replica[i].started);
}

void
bft_rig_start_all(struct bft_rig *r)
{
    for (unsigned i = 0; i < r->n; i++)
        bft_rig_start(r, i);
}

void
bft_rig_stop(struct bft_rig *r, unsigned i)
{
    struct bft_rig_replica *p = &r->replica[i];
    p->closed = false;
    node_close(p->node, on_closed, p);
    test_env_run_until(r->t, &p->closed);
    p->node = NULL;
    c2_net_free(p->net);
    p->net = NULL;
}

void
bft_rig_wipe(struct bft_rig *r, unsigned i)
{
    assert_null(r->replica[i].node);
    test_disk_remove_tree(r->replica[i].data);
    assert_int_equal(mkdir(r->replica[i].data, 0700), 0);
}

struct bft_info
bft_rig_info(const struct bft_rig *r, unsigned i)
{
    struct node_info info;
    node_info(r->replica[i].node, &info);
    return info.bft;
}

uint64_t
bft_rig_caught(const struct bft_rig *r, unsigned i)
{
    struct node_info info;
    node_info(r->replica[i].node, &info);
    return info.caught;
}

struct coord *
bft_rig_client(struct bft_rig *r, unsigned k)
{
    return bft_rig_client_at(r, k, "");
}

struct coord *
bft_rig_client_at(struct bft_rig *r, unsigned k, const char *prefix)
{
    struct bft_client_options o = { .config = &r->config };
    o.secret = r->client[k].secret;
    o.cert = r->client[k].cert;
    o.net = test_net_new(r->hub, BFT_RIG_CLIENT + k, r->client[k].key);
    o.seed = k;
    o.prefix = c2_slice_str(prefix);
    return bft_client_new(r->env, &o);
}

void
bft_rig_free(struct bft_rig *r)
{
    for (unsigned i = 0; i < r->n; i++) {
        if (r->replica[i].node != NULL)
            bft_rig_stop(r, i);
    }
    test_env_run_ready(r->t);
    test_hub_free(r->hub);
    for (unsigned i = 0; i < r->n; i++)
        c2_free(r->replica[i].data);
    c2_free(r);
}
