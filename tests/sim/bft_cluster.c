/* SPDX-License-Identifier: MIT */
/*
 * A cluster for the scenarios: configuration, keys, processes.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "tests/lib/test_env.h"
#include "tests/sim/bft_scene.h"

/* ---- signatures that cost nothing: the public key is half of the secret --------------------- */

static void
fake_sign(const struct bft_crypto *c, const uint8_t secret[C2_ED25519_SECRET_LEN],
          const uint8_t hash[C2_SHA256_LEN], uint8_t sig[MSG_SIG_LEN])
{
    (void)c;
    const struct c2_slice in[] = { c2_slice(secret + 32, 32), c2_slice(hash, C2_SHA256_LEN) };
    c2_sha256_v(in, 2, sig);
    memset(sig + 32, 7, 32);
}

static bool
fake_verify(const struct bft_crypto *c, const uint8_t key[MSG_KEY_LEN],
            const uint8_t hash[C2_SHA256_LEN], const uint8_t sig[MSG_SIG_LEN])
{
    (void)c;
    uint8_t want[MSG_SIG_LEN];
    const struct c2_slice in[] = { c2_slice(key, 32), c2_slice(hash, C2_SHA256_LEN) };
    c2_sha256_v(in, 2, want);
    memset(want + 32, 7, 32);
    return memcmp(want, sig, sizeof want) == 0;
}

const struct bft_crypto bs_crypto = { fake_sign, fake_verify };

void
bs_make_key(struct bs *s, uint8_t secret[C2_ED25519_SECRET_LEN], uint8_t key[MSG_KEY_LEN])
{
    sim_rng_fill(&s->rng, secret, C2_ED25519_SECRET_LEN);
    memcpy(key, secret + 32, MSG_KEY_LEN);
}

/* ---- cluster --------------------------------------------------------------------------------- */

struct bs_proc *
bs_add_proc(struct bs *s, uint16_t id)
{
    struct bs_proc *p = &s->proc[s->nprocs];
    C2_ASSERT(s->nprocs < BS_PROCS && id < BS_IDS);
    *p = (struct bs_proc){ .s = s, .index = s->nprocs++, .id = id };
    bs_proc_init(p);
    return p;
}

const uint8_t *
bs_secret_of(const struct bs_proc *p)
{
    const struct bft_config *c = p->core != NULL ? bft_current_config(p->core) : &p->s->config;
    const uint8_t *next = p->s->next_secret[p->id];
    for (unsigned i = 0; i < c->n; i++) {
        if (memcmp(c->member[i].sign_key, next + 32, MSG_KEY_LEN) == 0)
            return next;
    }
    return p->s->secret[p->id];
}

static void
make_config(struct bs *s, unsigned f)
{
    uint8_t unused[MSG_KEY_LEN];
    struct bft_config *c = &s->config;
    bft_config_default(c);
    c->f = (uint8_t)f;
    c->n = (uint8_t)(3 * f + 1);
    c->cluster = 42;
    c->checkpoint_interval = BS_INTERVAL;
    c->window = 2 * BS_INTERVAL;
    bs_make_key(s, s->authority, c->client_authority);
    c->admins_needed = c->nadmins = 2;
    for (unsigned i = 0; i < 2; i++)
        bs_make_key(s, s->admin[i], c->admin[i]);
    for (unsigned id = 0; id < BS_IDS; id++) {
        bs_make_key(s, s->secret[id], unused);
        bs_make_key(s, s->next_secret[id], unused);
    }
    for (unsigned i = 0; i < c->n; i++) {
        c->member[i].id = (uint16_t)i;
        memcpy(c->member[i].sign_key, s->secret[i] + 32, MSG_KEY_LEN);
        memcpy(c->member[i].identity_key, s->secret[i] + 32, MSG_KEY_LEN);
    }
    s->epochs[0] = *c;
    s->have_epoch[0] = true;
}

struct bs *
bs_new(const char *name, uint64_t seed, const struct sim_options *o, unsigned f)
{
    struct bs *s = c2_calloc(1, sizeof *s);
    s->w = sim_world_new(name, seed, o->trace);
    s->rng = sim_rng_fork(&s->w->rng, 9);
    snprintf(s->dir, sizeof s->dir, "%s/%s-%llx", o->dir, name, (unsigned long long)seed);
    s->victim = s->admin_seat = -1;
    s->sudden_ids = UINT32_MAX;
    s->sudden_types = UINT64_MAX;
    bft_timing_lan(&s->timing);
    bft_limits_default(&s->limits);
    s->limits.bodies_bytes = 2u << 20;
    s->limits.requests_bytes = 256u << 10;
    s->limits.requests = 400;
    s->delay_ns = 2 * C2_NS_PER_MS;
    make_config(s, f);
    for (unsigned i = 0; i <= s->config.n; i++)
        bs_add_proc(s, (uint16_t)i);
    return s;
}

/* All that are correct, members, and not in quarantine have executed everything. */
bool
bs_converged(struct bs *s)
{
    unsigned epoch = 0;
    for (unsigned e = 0; e < BS_EPOCHS; e++)
        epoch = s->have_epoch[e] ? e : epoch;
    const struct bft_config *c = &s->epochs[epoch];
    for (unsigned i = 0; i < s->nprocs; i++) {
        const struct bs_proc *p = &s->proc[i];
        struct bft_info in;
        bool member = false;
        for (unsigned k = 0; k < c->n; k++)
            member = member || c->member[k].id == p->id;
        if (p->faulty || p->keep_down || !member)
            continue;
        if (!p->up || !p->started)
            return false;
        bft_info(p->core, &in);
        if (in.mode == BFT_QUARANTINED)
            continue;
        if (in.mode != BFT_RUNNING || in.executed < s->model_n || in.epoch != epoch)
            return false;
    }
    return true;
}

void
bs_free(struct bs *s, struct sim_tally *tally)
{
    for (unsigned i = 0; i < s->nprocs; i++)
        bs_proc_done(&s->proc[i]);
    for (unsigned i = 0; i < s->nclients; i++)
        bs_client_stop(&s->client[i]);
    sim_stop(s->w, &s->chaos);
    sim_stop(s->w, &s->look);
    while (sim_step(s->w))
        continue; /* packets to nobody */
    for (unsigned i = 0; i < BS_TAPE; i++)
        c2_blob_unref(s->tape[i]);
    for (unsigned i = 0; i < BS_PROCS; i++) {
        c2_blob_unref(s->kept[i][0]);
        c2_blob_unref(s->kept[i][1]);
    }
    test_disk_remove_tree(s->dir);
    tally->events += s->w->events;
    tally->batches += s->model_n;
    sim_world_free(s->w);
    c2_free(s->votes);
    c2_free(s->commits);
    c2_free(s);
}
