/* SPDX-License-Identifier: MIT */
/*
 * Admitting clients, and saying what they may do.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "metadata/bft_client.h"
#include "metadata/cluster_int.h"
#include "metadata/identity.h"

static C2_RESULT
read_admin(struct c2_slice text, struct identity_admin *a, char **ret_error)
{
    enum c2_err err = identity_read_admin(text, a);
    if (err == C2_E_OK)
        return C2_E_OK;
    *ret_error = c2_asprintf("an administrator's key is needed: %s",
                             identity_problem(text, IDENTITY_ADMIN, err));
    return C2_E_KEY;
}

static C2_RESULT
refuse_key(char **ret_error)
{
    *ret_error = c2_strdup("the key is not that of an administrator of this service");
    return C2_E_KEY;
}

/* ---- a new client ---------------------------------------------------------------------------- */

/* Of another service it would admit nobody, and whoever gets the key would not be told. */
static C2_RESULT
check_admin(const struct identity_admin *a, struct c2_slice trust, char **ret_error)
{
    struct bft_config config;
    uint8_t secret[C2_ED25519_SECRET_LEN], authority[C2_ED25519_PUBLIC_LEN];
    enum c2_err err = identity_read_cluster(trust, &config);
    if (err != C2_E_OK) {
        *ret_error = c2_asprintf("cannot use the trust file: %s", c2_err_text(err));
        return err;
    }
    c2_ed25519_keypair(a->authority_seed, secret, authority);
    c2_wipe(secret, sizeof secret);
    bool ours = a->cluster == config.cluster &&
                memcmp(authority, config.client_authority, sizeof authority) == 0;
    return ours ? C2_E_OK : refuse_key(ret_error);
}

C2_RESULT
cluster_make_client(const struct cluster_client_options *o, struct cluster_client *ret_client,
                    char **ret_error)
{
    struct identity_admin a;
    struct identity_client k;
    struct cluster_client c = { 0 };
    uint8_t seed[32], secret[C2_ED25519_SECRET_LEN];
    const char *replicas = c2_conf_str(o->conf, "metadata", o->service, "replicas");
    C2_TRY(read_admin(o->admin, &a, ret_error));
    enum c2_err err = check_admin(&a, o->trust, ret_error);
    if (err != C2_E_OK) {
        c2_wipe(&a, sizeof a);
        return err;
    }
    c2_random_bytes(seed, sizeof seed);
    identity_make_client(&a, seed, &k);
    c2_ed25519_keypair(seed, secret, c.principal);
    identity_write_client(&c.key, "The key of a client. Secret.", &k);
    c2_buf_printf(&c.conf,
                  "; For a client: include = this file, metadata = bft:%s\n[metadata \"%s\"]\n",
                  o->service, o->service);
    if (replicas != NULL)
        c2_buf_printf(&c.conf, "replicas = %s\n", replicas);
    c2_buf_puts(&c.conf, "trust    = root.pub\nidentity = client.key\n");
    if (o->prefix != NULL)
        c2_buf_printf(&c.conf, "prefix   = %s\n", o->prefix);
    c2_wipe(&a, sizeof a);
    c2_wipe(&k, sizeof k);
    c2_wipe(seed, sizeof seed);
    c2_wipe(secret, sizeof secret);
    *ret_client = c;
    return C2_E_OK;
}

void
cluster_client_done(struct cluster_client *c)
{
    cluster_wipe(&c->key);
    c2_buf_done(&c->conf);
}

C2_RESULT
cluster_principal(struct c2_slice client, uint8_t ret[COORD_PRINCIPAL_LEN])
{
    struct identity_client k;
    uint8_t secret[C2_ED25519_SECRET_LEN];
    C2_TRY(identity_read_client(client, &k));
    c2_ed25519_keypair(k.seed, secret, ret);
    c2_wipe(&k, sizeof k);
    c2_wipe(secret, sizeof secret);
    return C2_E_OK;
}

/* ---- rights ---------------------------------------------------------------------------------- */

static C2_RESULT
sign(const struct coord *c, const struct coord_req *r, const struct identity_admin *a,
     uint8_t sig[1 + MSG_SIG_LEN], char **ret_error)
{
    const struct bft_config *config = bft_client_config(c);
    uint8_t secret[C2_ED25519_SECRET_LEN], key[MSG_KEY_LEN], hash[C2_SHA256_LEN];
    unsigned who = 0;
    c2_ed25519_keypair(a->admin_seed, secret, key);
    while (who < config->nadmins && memcmp(config->admin[who], key, sizeof key) != 0)
        who++;
    enum c2_err err = C2_E_OK;
    if (a->cluster != config->cluster || who == config->nadmins) {
        err = refuse_key(ret_error);
    } else if (config->admins_needed > 1) {
        *ret_error = c2_asprintf("%u administrators must sign, this is one", config->admins_needed);
        err = C2_E_CONFIG;
    } else {
        bft_client_admin_hash(c, r, hash);
        sig[0] = (uint8_t)who;
        bft_crypto_ed25519.sign(&bft_crypto_ed25519, secret, hash, sig + 1);
    }
    c2_wipe(secret, sizeof secret);
    return err;
}

C2_RESULT
cluster_submit_acl(struct coord *c, struct coord_req *r, struct c2_slice admin, char **ret_error)
{
    struct identity_admin a;
    uint8_t sig[1 + MSG_SIG_LEN];
    if (admin.len == 0) {
        coord_submit(c, r);
        return C2_E_OK;
    }
    C2_TRY(read_admin(admin, &a, ret_error));
    enum c2_err err = sign(c, r, &a, sig, ret_error);
    c2_wipe(&a, sizeof a);
    if (err == C2_E_OK)
        bft_client_submit_signed(c, r, c2_slice(sig, sizeof sig));
    return err;
}
