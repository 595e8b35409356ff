/* SPDX-License-Identifier: MIT */
/*
 * Adding, removing and replacing replicas. The administrator signs the next configuration; the
 * service orders it like any other request, and moves to it at a checkpoint, see bft_epoch.c. A new
 * replica has a number that none has had: it follows from the epoch.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "metadata/bft_client.h"
#include "metadata/cluster_int.h"
#include "metadata/identity.h"

#define FIRST_NEW_ID 16 /* those of the first epoch have 1 .. */

static C2_RESULT
refuse(char **ret_error, char *text)
{
    *ret_error = text;
    return C2_E_CONFIG;
}

static C2_RESULT
check_change(const struct bft_config *c, const struct cluster_change *ch, char **ret_error)
{
    unsigned n = c->n + (ch->address != NULL ? 1u : 0u) - (ch->leaves != 0 ? 1u : 0u);
    unsigned min = 3u * c->f + 1;
    if (ch->leaves > c->n)
        return refuse(ret_error,
                      c2_asprintf("there is no replica %u, there are 1 to %u", ch->leaves, c->n));
    if (n < min || n > min + 2 || n > CLUSTER_REPLICAS_MAX)
        return refuse(ret_error,
                      c2_asprintf("there would be %u replicas; %u to %u are needed so that any %u "
                                  "may fail",
                                  n, min, min + 2, c->f));
    if (ch->address == NULL)
        return C2_E_OK;
    if (!cluster_good_address(ch->address))
        return refuse(ret_error,
                      c2_asprintf("\"%s\" is not of the form HOST:PORT, [IPV6]:PORT", ch->address));
    for (unsigned i = 0; i < c->n; i++) {
        if (i + 1 != ch->leaves && strcmp(c->member[i].address, ch->address) == 0)
            return refuse(ret_error,
                          c2_asprintf("replica %u has the address %s", i + 1, ch->address));
    }
    return C2_E_OK;
}

/* Keys and files of the newcomer. */
static void
make_member(const struct bft_config *next, const char *address, struct bft_member *m,
            struct cluster_plan *p)
{
    uint8_t secret[C2_ED25519_SECRET_LEN];
    struct identity_replica k = { .cluster = next->cluster };
    *m = (struct bft_member){ .id = (uint16_t)(FIRST_NEW_ID + next->epoch) };
    k.id = m->id;
    p->id = m->id;
    snprintf(m->address, sizeof m->address, "%s", address);
    c2_random_bytes(k.identity_seed, sizeof k.identity_seed);
    c2_random_bytes(k.sign_seed, sizeof k.sign_seed);
    c2_ed25519_keypair(k.identity_seed, secret, m->identity_key);
    c2_ed25519_keypair(k.sign_seed, secret, m->sign_key);
    c2_sha256(c2_slice(m->identity_key, MSG_KEY_LEN), m->tls_hash[0]);
    C2_AUTO(c2_free_auto)
    char *what = c2_asprintf("The keys of the replica at %s. Secret.", m->address);
    identity_write_replica(&p->key, what, &k);
    c2_wipe(&k, sizeof k);
    c2_wipe(secret, sizeof secret);
    bool nearby = true;
    for (unsigned i = 0; i < next->n; i++)
        nearby = nearby && cluster_is_loopback(next->member[i].address);
    c2_buf_printf(&p->conf,
                  "; A replica that came in epoch %u.\n"
                  "; Run it with: c2fs-metad -C c2fs-metad.conf\n"
                  "[replica]\ntrust  = root.pub\nkey    = replica.key\ndata   = data\n"
                  "listen = %s\ntiming = %s\n",
                  next->epoch, m->address, nearby ? "lan" : "wan");
    identity_write_owner(&p->owner, next->cluster, m->id);
    c2_buf_puts(&p->first_start, cluster_first_start);
}

static void
make_next(const struct bft_config *now, const struct cluster_change *ch, struct bft_config *next,
          struct cluster_plan *p)
{
    *next = *now;
    next->epoch++;
    next->base = 0;
    p->epoch = next->epoch;
    unsigned at = ch->leaves != 0 ? ch->leaves - 1 : next->n++;
    if (ch->address != NULL) {
        memset(&next->member[at], 0, sizeof next->member[at]);
        snprintf(next->member[at].address, BFT_ADDRESS_MAX, "%s", ch->address);
        make_member(next, ch->address, &next->member[at], p);
        return;
    }
    next->n--;
    for (unsigned i = at; i < next->n; i++)
        next->member[i] = next->member[i + 1];
    memset(&next->member[next->n], 0, sizeof next->member[next->n]);
}

static void
sign(const struct bft_config *next, unsigned who, const uint8_t secret[C2_ED25519_SECRET_LEN],
     struct c2_buf *out)
{
    C2_AUTO(c2_buf_done) struct c2_buf config = { 0 };
    uint8_t hash[C2_SHA256_LEN];
    bft_config_encode(next, &config);
    bft_admin_hash(next->cluster, c2_buf_slice(&config), hash);
    c2_wr_bytes(out, c2_buf_slice(&config));
    c2_wr_u8(out, 1);
    c2_wr_u8(out, (uint8_t)who);
    bft_crypto_ed25519.sign(&bft_crypto_ed25519, secret, hash, c2_buf_extend(out, MSG_SIG_LEN));
}

static C2_RESULT
plan(const struct bft_config *now, const struct cluster_change *ch,
     const struct identity_admin *admin, struct cluster_plan *p, char **ret_error)
{
    uint8_t secret[C2_ED25519_SECRET_LEN], key[MSG_KEY_LEN];
    struct bft_config next;
    const char *why = NULL;
    unsigned who = 0;
    c2_ed25519_keypair(admin->admin_seed, secret, key);
    while (who < now->nadmins && memcmp(now->admin[who], key, sizeof key) != 0)
        who++;
    enum c2_err err = C2_E_OK;
    if (admin->cluster != now->cluster || who == now->nadmins) {
        *ret_error = c2_strdup("the key is not that of an administrator of this service");
        err = C2_E_KEY;
    } else if (now->admins_needed > 1) {
        err = refuse(ret_error,
                     c2_asprintf("%u administrators must sign, this is one", now->admins_needed));
    }
    if (err == C2_E_OK)
        err = check_change(now, ch, ret_error);
    if (err == C2_E_OK) {
        make_next(now, ch, &next, p);
        err =
            bft_config_check(&next, &why) == C2_E_OK ? C2_E_OK : refuse(ret_error, c2_strdup(why));
    }
    if (err == C2_E_OK)
        sign(&next, who, secret, &p->request);
    c2_wipe(secret, sizeof secret);
    return err;
}

C2_RESULT
cluster_plan_change(const struct coord *c, const struct cluster_change *change,
                    struct c2_slice admin, struct cluster_plan *ret_plan, char **ret_error)
{
    struct identity_admin a;
    struct cluster_plan p = { 0 };
    enum c2_err err = identity_read_admin(admin, &a);
    if (err != C2_E_OK) {
        *ret_error = c2_asprintf("an administrator's key is needed: %s",
                                 identity_problem(admin, IDENTITY_ADMIN, err));
        return C2_E_KEY;
    }
    err = plan(bft_client_config(c), change, &a, &p, ret_error);
    c2_wipe(&a, sizeof a);
    if (err == C2_E_OK)
        *ret_plan = p;
    else
        cluster_plan_done(&p);
    return err;
}

void
cluster_plan_done(struct cluster_plan *p)
{
    c2_buf_done(&p->request);
    cluster_wipe(&p->key);
    c2_buf_done(&p->conf);
    c2_buf_done(&p->owner);
    c2_buf_done(&p->first_start);
}

bool
cluster_trust_lasts(const struct coord *c, const struct cluster_change *change,
                    struct c2_slice trust)
{
    const struct bft_config *now = bft_client_config(c);
    struct bft_config known;
    if (identity_read_cluster(trust, &known) != C2_E_OK)
        return false;
    for (unsigned i = 0; i < now->n; i++) {
        for (unsigned k = 0; i + 1 != change->leaves && k < known.n; k++) {
            if (memcmp(now->member[i].identity_key, known.member[k].identity_key, MSG_KEY_LEN) == 0)
                return true;
        }
    }
    return false;
}

/* ---- asking ---------------------------------------------------------------------------------- */

struct submitted {
    struct bft_admin_req a;
    struct cluster_request *q;
};

static void
answered(struct bft_admin_req *a)
{
    struct submitted *s = C2_CONTAINER_OF(a, struct submitted, a);
    struct cluster_request *q = s->q;
    q->err = a->err;
    q->last = a->err == C2_E_OK && a->result.len == 8 ? c2_get_u64(a->result.data) : 0;
    snprintf(q->why, sizeof q->why, "%.*s", a->err == C2_E_NOT_PERMITTED ? (int)a->result.len : 0,
             a->result.len > 0 ? (const char *)a->result.data : "");
    c2_buf_done(&a->result);
    c2_free(s);
    q->done(q);
}

void
cluster_submit(struct coord *c, struct cluster_request *q)
{
    struct submitted *s = c2_calloc(1, sizeof *s);
    s->q = q;
    s->a = (struct bft_admin_req){ .op = q->request, .done = answered };
    s->a.deadline_ns = q->deadline_ns;
    bft_client_admin(c, &s->a);
}
