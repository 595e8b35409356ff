/* SPDX-License-Identifier: MIT */
/*
 * Configurations. An administrative request carries the next one, signed by k administrators. It
 * is executed at some n; the epoch ends at the first checkpoint B that lies a window beyond, so no
 * proposal above B can be accepted before n is part of a stable checkpoint. Nothing above B is
 * proposed, voted on or executed in the old epoch. The certificate of B names the new
 * configuration by its hash: whoever knows the old members can verify who the new ones are.
 *
 * A new epoch begins in view 0 with an empty window after B. Signatures name their epoch, so
 * nothing of the old one counts in it; members may have new keys.
 *
 * To those of a later epoch a replica that they have replaced is a stranger: they tell it nothing,
 * but answer when it asks for the certificate. So whoever hears no f + 1 others in its epoch asks.
 * It believes the certificate, and nobody's word.
 *
 * ADMIN request: configuration (base 0) as a byte string, u8 count, count times u8 administrator,
 * signature over SHA-256 of "C2FS-BFT1-ADMIN", u64 cluster, configuration.
 * ADMIN_COMMAND: the same with a command of the application, and "C2FS-BFT1-ADMIN-COMMAND", u64
 * cluster, the client's key, command: nobody else can have it done.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/mark.h"
#include "base/wire.h"
#include "metadata/bft_int.h"

static const char admin_tag[] = "C2FS-BFT1-ADMIN";
static const char command_tag[] = "C2FS-BFT1-ADMIN-COMMAND";

/* ---- the configuration in force -------------------------------------------------------------- */

static void
find_secret(struct bft_replica *r)
{
    if (r->seat >= r->config.n)
        return;
    const uint8_t *key = r->config.member[r->seat].sign_key;
    r->have_secret = false;
    for (unsigned i = 0; i < r->nsecrets; i++) {
        /* the second half of a secret key is the public one */
        if (memcmp(r->secrets[i] + C2_ED25519_SECRET_LEN - MSG_KEY_LEN, key, MSG_KEY_LEN) != 0)
            continue;
        memcpy(r->secret, r->secrets[i], C2_ED25519_SECRET_LEN);
        r->have_secret = true;
    }
}

void
bft_use_config(struct bft_replica *r, const struct bft_config *c)
{
    r->config = *c;
    r->q = bft_quorum(c);
    c2_buf_clear(&r->config_bytes);
    bft_config_encode(c, &r->config_bytes);
    c2_sha256(c2_buf_slice(&r->config_bytes), r->config_hash);
    r->seat = MSG_SENDER_CLIENT;
    for (unsigned i = 0; i < c->n; i++) {
        if (c->member[i].id == r->setup.id)
            r->seat = (uint16_t)i;
    }
    r->was_member = r->was_member || r->seat < c->n;
    find_secret(r);
}

void
bft_add_key(struct bft_replica *r, const uint8_t secret[C2_ED25519_SECRET_LEN])
{
    if (r->nsecrets == BFT_SECRETS_MAX) {
        memmove(r->secrets[0], r->secrets[1], sizeof r->secrets - sizeof r->secrets[0]);
        r->nsecrets--;
    }
    memcpy(r->secrets[r->nsecrets++], secret, C2_ED25519_SECRET_LEN);
    find_secret(r);
}

/* ---- administrative requests ----------------------------------------------------------------- */

void
bft_admin_hash(uint64_t cluster, struct c2_slice config, uint8_t out[C2_SHA256_LEN])
{
    uint8_t number[8];
    c2_put_u64(number, cluster);
    const struct c2_slice in[] = {
        c2_slice_str(admin_tag),
        c2_slice(number, sizeof number),
        config,
    };
    c2_sha256_v(in, C2_ARRAY_LEN(in), out);
}

void
bft_admin_command_hash(uint64_t cluster, const uint8_t key[MSG_KEY_LEN], struct c2_slice cmd,
                       uint8_t out[C2_SHA256_LEN])
{
    uint8_t number[8];
    c2_put_u64(number, cluster);
    const struct c2_slice in[] = {
        c2_slice_str(command_tag),
        c2_slice(number, sizeof number),
        c2_slice(key, MSG_KEY_LEN),
        cmd,
    };
    c2_sha256_v(in, C2_ARRAY_LEN(in), out);
}

static C2_RESULT
read_admin(struct c2_slice op, struct c2_slice *ret_config, struct c2_rd *ret_sigs)
{
    struct c2_rd in = c2_rd_init(op);
    struct c2_slice config = c2_rd_bytes(&in, BFT_CONFIG_MAX);
    struct c2_rd sigs = in;
    unsigned count = c2_rd_u8(&in);
    c2_rd_raw(&in, count * (1 + (size_t)MSG_SIG_LEN));
    C2_TRY(c2_rd_finish(&in));
    *ret_config = config;
    *ret_sigs = sigs;
    return C2_E_OK;
}

/* Part of a request's validity: a signature decides who takes part in an agreement, never what the
 * state becomes. */
bool
bft_admin_valid(struct bft_replica *r, const struct msg_request *m)
{
    struct c2_slice config;
    struct c2_rd sigs;
    uint32_t signers = 0;
    uint8_t hash[C2_SHA256_LEN];
    if (r->config.nadmins == 0 || read_admin(m->op, &config, &sigs) != C2_E_OK)
        return false;
    if (m->kind == MSG_REQ_ADMIN)
        bft_admin_hash(r->config.cluster, config, hash);
    else
        bft_admin_command_hash(r->config.cluster, m->key, config, hash);
    unsigned count = c2_rd_u8(&sigs);
    for (unsigned i = 0; i < count; i++) {
        unsigned who = c2_rd_u8(&sigs);
        struct c2_slice sig = c2_rd_raw(&sigs, MSG_SIG_LEN);
        if (who >= r->config.nadmins || (signers >> who & 1) != 0)
            return false;
        r->count.sig_checked++;
        if (!r->crypto->verify(r->crypto, r->config.admin[who], hash, sig.data))
            return false;
        signers |= 1u << who;
    }
    return (unsigned)__builtin_popcount(signers) >= r->config.admins_needed;
}

struct c2_slice
bft_admin_command(const struct msg_request *m)
{
    struct c2_slice cmd;
    struct c2_rd sigs;
    return read_admin(m->op, &cmd, &sigs) == C2_E_OK ? cmd : c2_slice(NULL, 0);
}

/* Members of one configuration that are not in another one. */
static unsigned
count_missing(const struct bft_config *of, const struct bft_config *in)
{
    unsigned count = 0;
    for (unsigned i = 0; i < of->n; i++)
        count += bft_config_seat(in, of->member[i].id) == in->n;
    return count;
}

/* Depends on the state alone. */
static const char *
find_objection(const struct bft_replica *r, struct c2_slice op, struct bft_config *c)
{
    struct c2_slice config;
    struct c2_rd sigs;
    if (read_admin(op, &config, &sigs) != C2_E_OK || bft_config_decode(config, c) != C2_E_OK)
        return "the configuration is malformed";
    if (c->cluster != r->config.cluster || c->epoch != r->config.epoch + 1 || c->base != 0)
        return "the configuration is not for the next epoch of this cluster";
    if (r->next_boundary != 0)
        return "another configuration is on its way";
    if (c->checkpoint_interval != r->config.checkpoint_interval || c->window != r->config.window)
        return "checkpoint interval and window cannot change";
    if (count_missing(c, &r->config) > C2_MAX(r->config.f, 1))
        return "at most f members can be new at a time";
    /* A quorum has the state with which the epoch begins: one correct one of it must stay. */
    if (count_missing(&r->config, c) > C2_MAX(r->config.f, 1))
        return "at most f members can leave at a time";
    return NULL;
}

void
bft_admin(struct bft_replica *r, const struct msg_request *m, uint64_t n, struct bft_session *s,
          struct bft_answer *a)
{
    struct bft_config c;
    uint8_t number[8];
    const char *why = find_objection(r, m->op, &c);
    if (why != NULL) {
        bft_session_answer(s, a, MSG_ADMIN_REFUSED, c2_slice_str(why));
        return;
    }
    uint64_t step = r->config.checkpoint_interval;
    c.base = (n + r->config.window + step - 1) / step * step;
    r->next_boundary = c.base;
    c2_buf_clear(&r->next_config);
    bft_config_encode(&c, &r->next_config);
    c2_put_u64(number, c.base);
    bft_session_answer(s, a, MSG_OK, c2_slice(number, sizeof number));
}

bool
bft_epoch_is_old(const struct bft_replica *r)
{
    return r->state_epoch > r->config.epoch;
}

bool
bft_may_issue(const struct bft_replica *r, uint64_t n)
{
    return r->next_boundary == 0 || n <= r->next_boundary;
}

/* ---- moving on ------------------------------------------------------------------------------- */

static struct bft_epoch_proof *
proof_of(struct bft_replica *r, uint32_t epoch)
{
    struct bft_epoch_proof *p = &r->epochs[epoch % BFT_EPOCHS_KEPT];
    return p->epoch == epoch && epoch > 0 ? p : NULL;
}

static void
keep_proof(struct bft_replica *r, uint32_t epoch, struct c2_slice config, struct c2_slice stable)
{
    struct bft_epoch_proof *p = &r->epochs[epoch % BFT_EPOCHS_KEPT];
    p->epoch = epoch;
    c2_buf_clear(&p->config);
    c2_buf_append(&p->config, config.data, config.len);
    c2_buf_clear(&p->stable);
    c2_buf_append(&p->stable, stable.data, stable.len);
}

/* Nothing of the old epoch's agreement means anything in the new one. */
static void
forget_agreement(struct bft_replica *r)
{
    for (size_t i = 0; i < BFT_RING; i++) {
        if (r->ring[i].n > r->config.base)
            bft_slot_clear(r, &r->ring[i]);
        else if (r->ring[i].n != 0)
            bft_slot_settle(r, &r->ring[i]);
    }
    for (unsigned i = 0; i < MSG_REPLICAS_MAX; i++) {
        bft_vc_clear(&r->vc[i]);
        r->wish[i] = 0;
        r->answered_ns[i] = r->spoke_ns[i] = 0;
        r->heard_n[i] = 0;
    }
    bft_nv_clear(&r->nv);
    for (unsigned i = 0; i < MSG_REPLICAS_MAX; i++)
        bft_nv_clear(&r->nv_next[i]);
    c2_blob_unref(r->own_vc);
    r->own_vc = NULL;
    memset(r->ckpt, 0, sizeof r->ckpt);
    r->sync.liars = 0;
    c2_buf_clear(&r->stable_cert);
    r->view = r->my_wish = r->vc_lsn = r->nv_lsn = r->wish_lsn = 0;
    r->phase = BFT_NORMAL;
    r->abdicated = r->accused = false;
    r->backoff = 0;
    r->epoch_ask_ns = 0;
    r->proposed = r->config.base;
    if (r->next_boundary > r->config.base)
        return; /* the state is ahead: that is the end of this epoch, or of a later one */
    r->next_boundary = 0;
    c2_buf_clear(&r->next_config);
}

static void
begin_epoch(struct bft_replica *r, const struct bft_config *c, struct c2_slice stable)
{
    struct msg_stable s;
    enum c2_err err = msg_get_stable(stable, &s);
    C2_ASSERT(err == C2_E_OK && s.c.n == c->base);
    C2_AUTO(c2_buf_done) struct c2_buf cert = { 0 };
    c2_buf_append(&cert, stable.data, stable.len); /* may be r->stable_cert itself */
    bft_use_config(r, c);
    keep_proof(r, c->epoch, c2_buf_slice(&r->config_bytes), c2_buf_slice(&cert));
    forget_agreement(r);
    r->stable = s.c.n;
    r->stable_c = s.c;
    r->committed_to = C2_MAX(r->committed_to, r->stable);
    bft_quarantine_epoch(r);
}

static void
say_former(struct bft_replica *r)
{
    bft_alarm(r, BFT_ALARM_REMOVED,
              "this replica is not a member any more: another one has its place, or it was removed;"
              " nobody needs it, stop it for good");
}

static void
leave_members(struct bft_replica *r)
{
    bool told = r->mode == BFT_REMOVED;
    r->mode = BFT_REMOVED;
    if (!told && r->was_member)
        say_former(r);
}

void
bft_epoch_none(struct bft_replica *r, bool complete)
{
    r->syncing = !complete;
    if (r->was_member)
        say_former(r);
}

/* Whoever was in the middle of fetching a state when it ceased to be a member has half of it. */
static void
join_members(struct bft_replica *r)
{
    r->mode = r->quarantined ? BFT_QUARANTINED : BFT_RUNNING;
    if (r->syncing)
        bft_sync_resume(r);
}

static void
enter_epoch(struct bft_replica *r, const struct bft_config *c, struct c2_slice stable)
{
    begin_epoch(r, c, stable);
    r->view_ns = r->progress_ns = r->status_ns = r->now_ns;
    uint64_t first = r->lsn + 1;
    bft_log_again(r);
    r->view_lsn = r->lsn;
    r->trim_lsn = first;
    r->trim_wait_lsn = r->lsn;
    if (r->mode == BFT_QUARANTINED && !r->quarantined)
        r->mode = BFT_RUNNING;
    bft_announce_config(r);
    if (r->seat >= c->n)
        leave_members(r);
    else if (r->mode == BFT_REMOVED)
        join_members(r);
    bft_requests_recheck(r);
    bft_requests_new_view(r);
}

void
bft_epoch_step(struct bft_replica *r)
{
    struct bft_config c;
    uint8_t hash[MSG_DIGEST_LEN];
    if (r->next_boundary == 0 || r->stable != r->next_boundary || r->executed != r->stable ||
        r->last_ckpt != r->stable || r->stable_cert.len == 0)
        return;
    c2_sha256(c2_buf_slice(&r->next_config), hash);
    if (!bft_digest_equal(hash, r->stable_c.config))
        return; /* our state is wrong, and is being repaired */
    enum c2_err err = bft_config_decode(c2_buf_slice(&r->next_config), &c);
    C2_ASSERT(err == C2_E_OK && c.base == r->stable);
    enter_epoch(r, &c, c2_buf_slice(&r->stable_cert));
}

/* ---- learning of epochs ---------------------------------------------------------------------- */

C2_RESULT
bft_epoch_load(struct bft_replica *r, struct c2_slice config, struct c2_slice stable)
{
    struct bft_config c;
    struct msg_stable s;
    C2_TRY(bft_config_decode(config, &c));
    C2_TRY(msg_get_stable(stable, &s));
    if (s.c.n != c.base)
        return C2_E_PARSE;
    r->was_member = r->was_member || bft_config_seat(&c, r->setup.id) < c.n;
    if (c.epoch > r->log_epoch) {
        r->log_epoch = c.epoch;
        begin_epoch(r, &c, stable);
        return C2_E_OK;
    }
    /* Written again for a log whose beginning was trimmed: records of the epoch came before it. */
    keep_proof(r, c.epoch, config, stable);
    if (c.epoch <= r->config.epoch)
        return C2_E_OK;
    bft_use_config(r, &c);
    if (r->stable <= c.base) {
        r->stable = s.c.n;
        r->stable_c = s.c;
    }
    r->committed_to = C2_MAX(r->committed_to, r->stable);
    return C2_E_OK;
}

bool
bft_epoch_of_log(struct bft_replica *r, uint32_t epoch)
{
    if (epoch > r->log_epoch) {
        r->log_epoch = epoch;
        forget_agreement(r);
    }
    return epoch == r->log_epoch;
}

void
bft_epoch_log(struct bft_replica *r)
{
    uint32_t first = r->config.epoch >= BFT_EPOCHS_KEPT ? r->config.epoch - BFT_EPOCHS_KEPT + 1 : 1;
    for (uint32_t e = first; e <= r->config.epoch; e++) {
        const struct bft_epoch_proof *p = proof_of(r, e);
        if (p == NULL)
            continue;
        struct wal_record rec = { .config = c2_buf_slice(&p->config) };
        rec.msg = c2_buf_slice(&p->stable);
        (void)bft_append(r, WAL_EPOCH, &rec, NULL);
    }
}

void
bft_on_epoch(struct bft_replica *r, struct c2_blob *blob)
{
    struct msg_epoch m;
    struct msg_stable s;
    struct bft_config c;
    uint8_t hash[MSG_DIGEST_LEN];
    if (msg_read_epoch(c2_blob_slice(blob), &m) != C2_E_OK ||
        msg_get_stable(m.stable, &s) != C2_E_OK || bft_config_decode(m.config, &c) != C2_E_OK) {
        r->count.dropped++;
        return;
    }
    c2_sha256(m.config, hash);
    if (c.epoch != r->config.epoch + 1 || c.base != s.c.n || c.cluster != r->config.cluster ||
        !bft_digest_equal(hash, s.c.config) || !bft_verify_stable(r, &s))
        return;
    enter_epoch(r, &c, m.stable);
    if (r->executed < c.base || r->last_ckpt < c.base) {
        r->lag_since_ns = r->now_ns;
        bft_sync_start(r);
    }
    bft_epoch_ask(r); /* it may be over, too */
}

static struct c2_blob *
write_epoch(struct bft_replica *r, uint32_t epoch)
{
    const struct bft_epoch_proof *p = proof_of(r, epoch);
    struct msg_head h = bft_head(r, MSG_EPOCH);
    struct msg_epoch m;
    if (p == NULL)
        return NULL;
    m.config = c2_buf_slice(&p->config);
    m.stable = c2_buf_slice(&p->stable);
    c2_buf_clear(&r->scratch);
    msg_write_epoch(&r->scratch, &h, &m);
    return bft_take_scratch(r);
}

void
bft_on_epoch_fetch(struct bft_replica *r, uint32_t seats, uint64_t conn, struct c2_blob *blob)
{
    uint32_t epoch = 0;
    if (msg_read_epoch_fetch(c2_blob_slice(blob), &epoch) != C2_E_OK) {
        r->count.dropped++;
        return;
    }
    struct c2_blob *answer = write_epoch(r, epoch);
    if (answer == NULL)
        return;
    if (conn != 0)
        bft_reply_to(r, conn, answer);
    else
        bft_send(r, seats, answer);
    c2_blob_unref(answer);
}

void
bft_epoch_pass_on(struct bft_replica *r, uint64_t conn, uint32_t epoch)
{
    struct c2_blob *blob = epoch < r->config.epoch ? write_epoch(r, epoch + 1) : NULL;
    if (blob == NULL)
        return;
    C2_MARK("bft: who is no member any more tells of those who are");
    bft_reply_to(r, conn, blob);
    c2_blob_unref(blob);
}

static void
ask_for_epoch(struct bft_replica *r, uint32_t seats)
{
    struct msg_head h = bft_head(r, MSG_EPOCH_FETCH);
    c2_buf_clear(&r->scratch);
    msg_write_epoch_fetch(&r->scratch, &h, r->config.epoch + 1);
    struct c2_blob *blob = bft_take_scratch(r);
    bft_send(r, seats, blob);
    c2_blob_unref(blob);
}

/* One of f + 1 is correct, and in this epoch: then it is not over, or not known to be. */
static bool
is_alone(const struct bft_replica *r)
{
    unsigned speak = 0;
    for (unsigned i = 0; i < r->config.n; i++)
        speak += r->spoke_ns[i] != 0 && r->now_ns < r->spoke_ns[i] + r->setup.timing.heartbeat_ns;
    return speak <= r->config.f;
}

void
bft_epoch_ask(struct bft_replica *r)
{
    if (r->now_ns < r->epoch_ask_ns || r->mode == BFT_REMOVED || !is_alone(r))
        return;
    r->epoch_ask_ns = r->now_ns + r->setup.timing.status_idle_ns;
    ask_for_epoch(r, bft_others(r));
}

void
bft_epoch_tick(struct bft_replica *r)
{
    if (r->now_ns < r->status_ns)
        return;
    r->status_ns = r->now_ns + r->setup.timing.status_idle_ns;
    ask_for_epoch(r, bft_others(r));
}

void
bft_other_epoch(struct bft_replica *r, uint16_t seat, uint32_t epoch)
{
    if (r->answered_ns[seat] + r->setup.timing.status_ns / 2 > r->now_ns)
        return;
    r->answered_ns[seat] = r->now_ns;
    if (epoch > r->config.epoch) {
        ask_for_epoch(r, 1u << seat);
        return;
    }
    struct c2_blob *blob = write_epoch(r, epoch + 1);
    if (blob != NULL)
        bft_send(r, 1u << seat, blob);
    c2_blob_unref(blob);
}

void
bft_epochs_free(struct bft_replica *r)
{
    for (unsigned i = 0; i < BFT_EPOCHS_KEPT; i++) {
        c2_buf_done(&r->epochs[i].config);
        c2_buf_done(&r->epochs[i].stable);
    }
    c2_wipe(r->secrets, sizeof r->secrets);
    c2_wipe(r->secret, sizeof r->secret);
}
