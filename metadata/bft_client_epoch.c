/* SPDX-License-Identifier: MIT */
/*
 * The client follows the configurations of the service. An epoch's configuration is named by the
 * certificate of the checkpoint that ended the epoch before, signed by a quorum of that epoch's
 * members: whoever trusts those knows the next ones, whoever brings the certificate. So a message
 * of a later epoch is only a reason to ask for the certificate, of the sender and of all others.
 *
 *   message of a later epoch ──► EPOCH-FETCH ──► EPOCH, verified ──► (deferred) move ──► ask again
 *
 * Moving keeps the links to members that stay. Answers of the old epoch do not count any more;
 * what is not answered is sent again. Answers of an epoch that is not ours are never counted: a
 * member that has left may be anybody's.
 *
 * An administrative request goes the same way as every other one; its validity is in what the
 * administrators have signed.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mark.h"
#include "metadata/bft_client_int.h"

#define ASK_NS (100 * C2_NS_PER_MS)

/* ---- learning -------------------------------------------------------------------------------- */

static void
ask_for_epoch(struct bft_client *c)
{
    struct msg_head h = { .type = MSG_EPOCH_FETCH, .sender = MSG_SENDER_CLIENT };
    struct c2_buf out = { 0 };
    h.epoch = c->config.epoch;
    h.cluster = c->config.cluster;
    msg_write_epoch_fetch(&out, &h, c->config.epoch + 1);
    struct c2_blob *b = c2_blob_copy(out.data, out.len);
    c2_buf_done(&out);
    for (unsigned i = 0; i < c->config.n; i++)
        client_send_urgent(c, i, b);
    c2_blob_unref(b);
    c->epoch_ask_ns = c2_now_ns(c->base.env) + ASK_NS;
}

void
client_other_epoch(struct bft_client *c, uint32_t epoch)
{
    if (epoch <= c->config.epoch || c2_now_ns(c->base.env) < c->epoch_ask_ns)
        return;
    if (epoch - c->config.epoch > BFT_EPOCHS_KEPT && !c->told_old) {
        c->told_old = true;
        c2_log(
            ERROR, "metadata",
            "epoch=%u now=%u a replica says that the members have changed since; it has the last "
            "%u changes. If nothing is answered, take the trust file (root.pub) of whoever runs "
            "the service",
            c->config.epoch, epoch, BFT_EPOCHS_KEPT);
    }
    ask_for_epoch(c);
}

static bool
is_signed(const struct bft_config *config, const struct msg_stable *s)
{
    if (s->epoch != config->epoch || s->count < bft_quorum(config))
        return false;
    for (uint32_t i = 0; i < s->count; i++) {
        uint8_t hash[C2_SHA256_LEN];
        uint16_t seat = s->sig[i].seat;
        if (seat >= config->n || (i > 0 && seat <= s->sig[i - 1].seat))
            return false;
        msg_checkpoint_hash(config->cluster, s->epoch, seat, &s->c, hash);
        if (!bft_crypto_ed25519.verify(&bft_crypto_ed25519, config->member[seat].sign_key, hash,
                                       s->sig[i].sig))
            return false;
    }
    return true;
}

void
client_on_epoch(struct client_replica *r, struct c2_slice m)
{
    struct bft_client *c = r->c;
    struct bft_config next;
    struct msg_epoch e;
    struct msg_stable s;
    uint8_t hash[MSG_DIGEST_LEN];
    if (msg_read_epoch(m, &e) != C2_E_OK || msg_get_stable(e.stable, &s) != C2_E_OK ||
        bft_config_decode(e.config, &next) != C2_E_OK)
        return;
    c2_sha256(e.config, hash);
    if (next.epoch != c->config.epoch + 1 || next.cluster != c->config.cluster ||
        next.base != s.c.n || memcmp(hash, s.c.config, sizeof hash) != 0 ||
        !is_signed(&c->config, &s))
        return;
    c->next_config = next;
    c2_defer(c->base.env, &c->epoch_task);
}

/* ---- moving ---------------------------------------------------------------------------------- */

/* The old seat of a member that is the same; n = none. */
static unsigned
old_seat(const struct bft_config *old, const struct bft_member *m)
{
    unsigned i = 0;
    while (i < old->n &&
           (old->member[i].id != m->id || strcmp(old->member[i].address, m->address) != 0 ||
            memcmp(old->member[i].identity_key, m->identity_key, MSG_KEY_LEN) != 0))
        i++;
    return i;
}

static void
move_links(struct bft_client *c, const struct bft_config *next)
{
    struct client_replica was[MSG_REPLICAS_MAX] = { 0 };
    for (unsigned i = 0; i < c->config.n; i++) {
        client_stream_down(&c->replicas[i]);
        was[i] = c->replicas[i]; /* not its list, which is empty now */
        c->replicas[i].net = NULL;
    }
    const struct bft_config old = c->config;
    c->config = *next;
    for (unsigned i = 0; i < next->n; i++) {
        struct client_replica *r = &c->replicas[i];
        unsigned from = old_seat(&old, &next->member[i]);
        r->view = r->srtt_ns = 0;
        if (from == old.n || was[from].net == NULL) {
            memcpy(r->address, next->member[i].address, sizeof r->address);
            client_dial(c, i);
            continue;
        }
        memcpy(r->address, was[from].address, sizeof r->address);
        r->c = c;
        r->seat = i;
        r->srtt_ns = was[from].srtt_ns;
        r->net = was[from].net;
        r->net->user = r;
        was[from].net = NULL;
    }
    for (unsigned i = 0; i < old.n; i++) {
        if (was[i].net != NULL)
            c2_net_close(was[i].net);
    }
}

static void
send_again(struct bft_client *c)
{
    for (unsigned i = 0; i < c->config.n; i++) {
        if (client_is_up(c, i))
            client_stream_up(&c->replicas[i]);
    }
    if (!c->open) {
        client_votes_clear(&c->opening);
        client_call_send(&c->opening, true);
    }
    for (unsigned i = 0; i < CALLS_MAX; i++) {
        if (c->calls[i] == NULL)
            continue;
        client_votes_clear(c->calls[i]);
        client_call_send(c->calls[i], true);
    }
    for (unsigned i = 0; i < READS_MAX; i++) {
        if (c->reads[i] == NULL)
            continue;
        client_votes_clear(c->reads[i]);
        client_read_start(c->reads[i]);
    }
}

static void
move(struct c2_task *t)
{
    struct bft_client *c = C2_CONTAINER_OF(t, struct bft_client, epoch_task);
    if (c->closing || c->next_config.epoch != c->config.epoch + 1)
        return;
    C2_MARK("client: moves to the next epoch");
    const struct bft_config next = c->next_config;
    client_former_note(c, &next);
    move_links(c, &next);
    c2_log(INFO, "metadata", "epoch=%u replicas=%u the service has another configuration",
           next.epoch, next.n);
    send_again(c);
    ask_for_epoch(c);
}

void
client_epoch_init(struct bft_client *c)
{
    c->epoch_task.run = move;
}

const struct bft_config *
bft_client_config(const struct coord *base)
{
    C2_ASSERT(bft_client_is(base));
    const struct bft_client *c =
        (const struct bft_client *)(const void *)((const char *)base -
                                                  offsetof(struct bft_client, base));
    return &c->config;
}

/* ---- administrative requests ----------------------------------------------------------------- */

static void
admin_task(struct c2_task *t)
{
    struct bft_admin_req *a = C2_CONTAINER_OF(t, struct bft_admin_req, task);
    a->done(a);
}

void
client_admin_end(struct bft_call *call, enum c2_err err, struct c2_slice result)
{
    struct bft_admin_req *a = call->admin;
    call->admin = NULL;
    a->err = err;
    c2_buf_append(&a->result, result.data, result.len);
    a->task.run = admin_task;
    c2_defer(call->c->base.env, &a->task);
}

void
bft_client_admin(struct coord *base, struct bft_admin_req *a)
{
    C2_ASSERT(bft_client_is(base) && a->done != NULL);
    struct bft_client *c = C2_CONTAINER_OF(base, struct bft_client, base);
    struct bft_call *call = c2_calloc(1, sizeof *call);
    a->err = C2_E_OK;
    c2_buf_clear(&a->result);
    call->c = c;
    call->admin = a;
    call->kind = MSG_REQ_ADMIN;
    call->patient_ns = a->deadline_ns == 0 ? C2_NEVER : a->deadline_ns;
    call->timer.fire = client_call_timer;
    c2_buf_append(&call->op, a->op.data, a->op.len);
    client_enlist(call, &c->waiting);
}
