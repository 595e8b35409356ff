/* SPDX-License-Identifier: MIT */
#include "metadata/cluster.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "metadata/bft_client.h"
#include "metadata/cluster_int.h"
#include "metadata/identity.h"
#include "metadata/node.h"

_Static_assert(CLUSTER_REPLICAS_MAX == MSG_REPLICAS_MAX, "one bound");

const char cluster_first_start[] =
    "This replica has never run. Its first start removes this file; without it, an\n"
    "empty folder means that the replica has lost its memory, and may not vote\n"
    "until the others have moved on. Never put it back.\n";

struct plan {
    const char *name;
    const char *const *addresses;
    struct bft_config config;
    struct identity_admin admin;
    struct identity_replica keys[CLUSTER_REPLICAS_MAX];
    bool nearby; /* every address is of this machine */
};

/* A name or an IPv4 address; an IPv6 address has brackets, or its end would be taken for the port.
 */
static bool
good_host(const char *host, size_t len)
{
    if (host[0] != '[')
        return len > 0 && memchr(host, ':', len) == NULL && strcspn(host, "[]*/ \t\n\"#;,") >= len;
    return len > 2 && host[len - 1] == ']' &&
           strspn(host + 1, "0123456789abcdefABCDEF:.") == len - 2;
}

bool
cluster_good_address(const char *a)
{
    const char *colon = strrchr(a, ':');
    uint64_t port = 0;
    return colon != NULL && strlen(a) < BFT_ADDRESS_MAX && good_host(a, (size_t)(colon - a)) &&
           colon[1] != '0' && c2_u64_parse(c2_slice_str(colon + 1), UINT16_MAX, &port) == C2_E_OK &&
           port != 0;
}

bool
cluster_is_loopback(const char *a)
{
    return strncmp(a, "127.", 4) == 0 || strncmp(a, "localhost:", 10) == 0 ||
           strncmp(a, "[::1]:", 6) == 0;
}

static C2_RESULT
check_addresses(const char *const *addresses, size_t n, unsigned f, char **ret_error)
{
    if (f < 1 || f > BFT_F_MAX) {
        *ret_error = c2_asprintf("--f takes 1 to %u", BFT_F_MAX);
        return C2_E_CONFIG;
    }
    if (n < 3 * f + 1 || n > 3 * f + 3 || n > CLUSTER_REPLICAS_MAX) {
        *ret_error = c2_asprintf("%zu replicas cannot tolerate %u faulty ones: --f takes 1 to %u, "
                                 "and %u .. %u replicas are needed",
                                 n, f, BFT_F_MAX, 3 * f + 1, 3 * f + 3);
        return C2_E_CONFIG;
    }
    for (size_t i = 0; i < n; i++) {
        if (!cluster_good_address(addresses[i])) {
            *ret_error =
                c2_asprintf("\"%s\" is not of the form HOST:PORT, [IPV6]:PORT", addresses[i]);
            return C2_E_CONFIG;
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(addresses[i], addresses[k]) == 0) {
                *ret_error = c2_asprintf("two replicas have the address %s", addresses[i]);
                return C2_E_CONFIG;
            }
        }
    }
    return C2_E_OK;
}

static void
make_keys(struct plan *p)
{
    struct bft_config *c = &p->config;
    uint8_t secret[C2_ED25519_SECRET_LEN];
    c2_random_bytes(&c->cluster, sizeof c->cluster);
    p->admin.cluster = c->cluster;
    c2_random_bytes(p->admin.admin_seed, sizeof p->admin.admin_seed);
    c2_random_bytes(p->admin.authority_seed, sizeof p->admin.authority_seed);
    c2_ed25519_keypair(p->admin.admin_seed, secret, c->admin[0]);
    c2_ed25519_keypair(p->admin.authority_seed, secret, c->client_authority);
    c->nadmins = c->admins_needed = 1;
    p->nearby = true;
    for (unsigned i = 0; i < c->n; i++) {
        struct bft_member *m = &c->member[i];
        struct identity_replica *k = &p->keys[i];
        m->id = k->id = (uint16_t)(i + 1);
        k->cluster = c->cluster;
        snprintf(m->address, sizeof m->address, "%s", p->addresses[i]);
        c2_random_bytes(k->identity_seed, sizeof k->identity_seed);
        c2_random_bytes(k->sign_seed, sizeof k->sign_seed);
        c2_ed25519_keypair(k->identity_seed, secret, m->identity_key);
        c2_ed25519_keypair(k->sign_seed, secret, m->sign_key);
        c2_sha256(c2_slice(m->identity_key, MSG_KEY_LEN), m->tls_hash[0]);
        p->nearby = p->nearby && cluster_is_loopback(m->address);
    }
    c2_wipe(secret, sizeof secret);
}

void
cluster_trust_text(const struct bft_config *c, const char *name, struct c2_buf *out)
{
    C2_AUTO(c2_buf_done) struct c2_buf comment = { 0 };
    const char *quote = name == NULL ? "" : "\"";
    c2_buf_printf(&comment, "The replicas of the coordination service %s%s%s%sand their keys",
                  quote, name == NULL ? "" : name, quote, name == NULL ? "" : " ");
    if (c->epoch > 0)
        c2_buf_printf(&comment, ", after %u changes", c->epoch);
    c2_buf_puts(&comment, ".\nNot secret, but whoever can change it can take the service over.\n");
    for (unsigned i = 0; i < c->n; i++) {
        char key[2 * MSG_KEY_LEN + 1];
        c2_hex_encode(c->member[i].identity_key, MSG_KEY_LEN, key);
        c2_buf_printf(&comment, "replica %u  %s  %s\n", i + 1, c->member[i].address, key);
    }
    identity_write_cluster(out, c2_buf_cstr(&comment), c);
}

void
cluster_write_trust(const struct coord *c, const char *name, struct c2_buf *out)
{
    cluster_trust_text(bft_client_config(c), name, out);
}

static void
write_texts(const struct plan *p, struct cluster_files *f)
{
    const struct bft_config *c = &p->config;
    cluster_trust_text(c, p->name, &f->trust);
    identity_write_admin(&f->admin,
                         "The administrator's keys: admits clients, changes the members.\n"
                         "Needed rarely. Keep it away from replicas and clients.",
                         &p->admin);
    struct identity_client client;
    uint8_t seed[32];
    c2_random_bytes(seed, sizeof seed);
    identity_make_client(&p->admin, seed, &client);
    identity_write_client(&f->client, "The key of a client. Secret.", &client);
    c2_wipe(&client, sizeof client);
    c2_wipe(seed, sizeof seed);
    c2_buf_printf(&f->client_conf,
                  "; For clients: include = this file, metadata = bft:%s\n"
                  "[metadata \"%s\"]\nreplicas =",
                  p->name, p->name);
    for (unsigned i = 0; i < c->n; i++)
        c2_buf_printf(&f->client_conf, " %s", c->member[i].address);
    c2_buf_printf(&f->client_conf, "\ntrust    = root.pub\nidentity = client.key\n");
    c2_buf_puts(&f->first_start, cluster_first_start);
    for (unsigned i = 0; i < c->n; i++) {
        C2_AUTO(c2_free_auto)
        char *what =
            c2_asprintf("The keys of replica %u, at %s. Secret.", i + 1, c->member[i].address);
        identity_write_replica(&f->key[i], what, &p->keys[i]);
        identity_write_owner(&f->owner[i], c->cluster, p->keys[i].id);
        c2_buf_printf(&f->conf[i],
                      "; Replica %u of the coordination service \"%s\", at %s.\n"
                      "; Run it with: c2fs-metad -C c2fs-metad.conf\n"
                      "[replica]\ntrust  = root.pub\nkey    = replica.key\ndata   = data\n"
                      "timing = %s\n",
                      i + 1, p->name, c->member[i].address, p->nearby ? "lan" : "wan");
    }
}

C2_RESULT
cluster_make(const char *name, const char *const *addresses, size_t n, unsigned f,
             struct cluster_files *ret_files, char **ret_error)
{
    const char *why = NULL;
    C2_TRY(check_addresses(addresses, n, f, ret_error));
    struct plan *p = c2_calloc(1, sizeof *p);
    p->name = name;
    p->addresses = addresses;
    bft_config_default(&p->config);
    p->config.n = (uint8_t)n;
    p->config.f = (uint8_t)f;
    make_keys(p);
    enum c2_err err = bft_config_check(&p->config, &why);
    if (err == C2_E_OK) {
        memset(ret_files, 0, sizeof *ret_files);
        write_texts(p, ret_files);
    } else {
        *ret_error = c2_strdup(why);
        err = C2_E_CONFIG;
    }
    c2_wipe(p, sizeof *p);
    c2_free(p);
    return err;
}

void
cluster_wipe(struct c2_buf *b)
{
    if (b->data != NULL)
        c2_wipe(b->data, b->cap);
    c2_buf_done(b);
}

void
cluster_files_done(struct cluster_files *f)
{
    c2_buf_done(&f->trust);
    c2_buf_done(&f->client_conf);
    c2_buf_done(&f->first_start);
    cluster_wipe(&f->client);
    cluster_wipe(&f->admin);
    for (size_t i = 0; i < CLUSTER_REPLICAS_MAX; i++) {
        cluster_wipe(&f->key[i]);
        c2_buf_done(&f->conf[i]);
        c2_buf_done(&f->owner[i]);
    }
}

unsigned
cluster_quorum(unsigned n, unsigned f)
{
    const struct bft_config c = { .n = (uint8_t)n, .f = (uint8_t)f };
    return bft_quorum(&c);
}

bool
cluster_look(struct coord *c, struct cluster_info *ret_info)
{
    struct bft_client_info i;
    if (!bft_client_is(c))
        return false;
    bft_client_info(c, &i);
    *ret_info = (struct cluster_info){ .n = i.replicas, .f = i.f, .view = i.view };
    ret_info->epoch = i.epoch;
    ret_info->session = i.session;
    for (unsigned s = 0; s < i.replicas; s++)
        ret_info->replica[s] = (struct cluster_replica){ .address = bft_client_address(c, s),
                                                         .up = i.up[s],
                                                         .error = i.error[s] };
    return true;
}

void
cluster_ask(struct coord *c, void (*told)(void *arg, unsigned seat, struct c2_slice json),
            void *arg)
{
    bft_client_ask_status(c, told, arg);
}

unsigned
cluster_ask_former(struct coord *c,
                   void (*told)(void *arg, const char *address, struct c2_slice json), void *arg)
{
    return bft_client_ask_former(c, told, arg);
}
