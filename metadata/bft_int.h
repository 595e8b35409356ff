/* SPDX-License-Identifier: MIT */
/*
 * What the files of the replica call of each other. docs/bft.md says which part of the protocol is
 * where, bft_replica.h what they share.
 */
#ifndef C2_METADATA_BFT_INT_H
#define C2_METADATA_BFT_INT_H

#include "metadata/bft_replica.h"

/* ---- bft_out.c: actions, signatures ---- */
struct msg_head bft_head(const struct bft_replica *r, enum msg_type type);
/* A blob of what is in r->scratch, which becomes empty; one reference, the caller's. */
struct c2_blob *bft_take_scratch(struct bft_replica *r);
void bft_send(struct bft_replica *r, uint32_t seats, struct c2_blob *msg);
uint32_t bft_others(const struct bft_replica *r);
void bft_reply_to(struct bft_replica *r, uint64_t conn, struct c2_blob *msg);
/* ... wherever the session of the key is that was opened with the nonce; 0 = not known. */
void bft_reply_session(struct bft_replica *r, const uint8_t *key, uint64_t nonce,
                       struct c2_blob *msg);
/* Returns the record's lsn; body may be NULL. */
uint64_t bft_append(struct bft_replica *r, enum wal_type type, const struct wal_record *rec,
                    const struct bft_bytes *body);
void bft_trim(struct bft_replica *r, uint64_t lsn);
void bft_give_job(struct bft_replica *r, struct bft_job *job);
void bft_alarm(struct bft_replica *r, enum bft_alarm alarm, const char *text);
void bft_halt(struct bft_replica *r, const char *text);
void bft_announce_config(struct bft_replica *r);
void bft_out_begin(struct bft_replica *r);
void bft_out_end(struct bft_replica *r, struct bft_actions *ret_actions);
void bft_out_done(struct bft_replica *r);
/* A whole signed message by the key; remembers good ones. */
bool bft_verify(struct bft_replica *r, const uint8_t key[MSG_KEY_LEN], struct c2_slice msg);
bool bft_verify_seat(struct bft_replica *r, uint16_t seat, struct c2_slice msg);
bool bft_verify_stable(struct bft_replica *r, const struct msg_stable *s);
void bft_sign_scratch(struct bft_replica *r, size_t from);

/* ---- bft_recent.c ---- */
void bft_note_key(struct bft_replica *r, const uint8_t key[MSG_KEY_LEN]); /* it wants something */

/* ---- bft_request.c ---- */
void bft_on_request(struct bft_replica *r, struct c2_blob *blob, struct c2_slice msg, uint64_t conn,
                    bool forwarded);
/* Forgets the request, if it is there: it was executed. Returns when it was passed on to the
 * primary, 0 = it was not. */
uint64_t bft_request_done(struct bft_replica *r, const struct msg_request *m);
void bft_requests_new_view(struct bft_replica *r); /* nothing is proposed any more */
/* After the session table changed wholesale, or the configuration. */
void bft_requests_recheck(struct bft_replica *r);
void bft_requests_tick(struct bft_replica *r);
void bft_requests_free(struct bft_replica *r);
bool bft_request_valid(struct bft_replica *r, struct c2_slice msg, struct msg_request *ret);
unsigned bft_request_commands(const struct msg_request *m); /* how many it has */
/* Since when the session that waits longest has waited in this view; C2_NEVER = none waits. */
uint64_t bft_requests_wait_since(const struct bft_replica *r);
uint64_t bft_requests_deadline(const struct bft_replica *r);

/* ---- bft_batch.c ---- */
/* The request waits to be proposed. */
void bft_batch_join(struct bft_replica *r, struct bft_request *req);
/* It neither waits any more nor is it under way. */
void bft_batch_leave(struct bft_replica *r, struct bft_request *req);
/* Proposes what there is, as far as the pipeline allows. */
void bft_propose(struct bft_replica *r);
uint64_t bft_propose_deadline(const struct bft_replica *r);

/* ---- bft_normal.c ---- */
void bft_on_pre_prepare(struct bft_replica *r, uint16_t seat, struct c2_blob *blob);
void bft_on_votes(struct bft_replica *r, uint16_t seat, struct c2_blob *blob);
/* Takes a proposal of the current view whose signature is good; its batch is the caller's to find.
 */
void bft_take_proposal(struct bft_replica *r, struct bft_slot *s, const struct msg_proposal *p,
                       struct c2_slice proposal, bool reissued);
/* Proposals of this view that came before it. */
void bft_take_later(struct bft_replica *r);
/* Goes on with a slot after anything about it has changed. */
void bft_slot_step(struct bft_replica *r, struct bft_slot *s);
void bft_votes_durable(struct bft_replica *r);
/* Appends the slot's certificate to the log. */
void bft_log_cert(struct bft_replica *r, struct bft_slot *s);
/* body: NULL = look for it. */
void bft_decide(struct bft_replica *r, struct bft_slot *s, uint64_t view, const uint8_t *digest,
                const struct bft_bytes *body);
/* Gives a batch to every slot that waits for it. */
void bft_on_batch_body(struct bft_replica *r, struct c2_blob *blob, struct c2_slice bytes);
bool bft_is_primary(const struct bft_replica *r);
uint16_t bft_primary(const struct bft_replica *r, uint64_t view);
/* This replica may vote. */
bool bft_may_vote(const struct bft_replica *r);
/* It follows views and decisions. */
bool bft_may_follow(const struct bft_replica *r);
/* Sends own votes for the slots again, those given by the callback's seats. */
void bft_resend_votes(struct bft_replica *r, uint32_t seats, uint64_t from, uint64_t to);

/* ---- bft_clock.c ---- */
/* r->time_ns may have changed. */
void bft_clock_agreed(struct bft_replica *r);
/* False: perhaps later, our clock or the primary's is off. */
bool bft_clock_accepts(const struct bft_replica *r, uint64_t time_ns);
/* The time of the next batch of this primary. */
uint64_t bft_clock_propose(struct bft_replica *r);
/* What was proposed when our own clock was wrong does not count any more. */
void bft_clock_new_view(struct bft_replica *r);
/* Our clock with the time of the slot's proposal, or of the decision. */
void bft_clock_compare(struct bft_replica *r, struct bft_slot *s, uint64_t time_ns, bool decided);

/* ---- bft_execute.c ---- */
void bft_execute(struct bft_replica *r); /* everything that can be */
void bft_on_job(struct bft_replica *r, struct bft_job *job);
/* The state already knows what becomes of the request: answers it and returns true. */
bool bft_answer_again(struct bft_replica *r, const struct msg_request *m, uint64_t conn);
void bft_on_read(struct bft_replica *r, uint64_t conn, const uint8_t *key, struct c2_blob *blob);
void bft_reads_step(struct bft_replica *r);
void bft_reads_free(struct bft_replica *r);
uint64_t bft_reads_deadline(const struct bft_replica *r);
struct bft_job *bft_job_new(enum bft_job_kind kind);

/* ---- bft_session.c ---- */
enum bft_seen { BFT_NEW, BFT_DONE, BFT_UNKNOWN, BFT_OUTSIDE };

struct bft_session *bft_session_find(struct bft_replica *r, uint64_t id);
/* What the state says about a request. */
enum bft_seen bft_session_check(struct bft_replica *r, const struct msg_request *m,
                                struct bft_session **ret_session);
/* An id that can never mean a session again. */
bool bft_session_is_gone(struct bft_replica *r, uint64_t id);
/* The sequence number of the OPEN that made it. */
uint64_t bft_session_opened_at(const struct bft_session *s);
void bft_session_touch(struct bft_session *s, uint64_t n);
/* Marks the request executed at n; its answer is pending. */
struct bft_answer *bft_session_mark(struct bft_session *s, const struct msg_request *m, uint64_t n);
struct c2_slice bft_answer_result(const struct bft_answer *a);
struct bft_answer *bft_session_find_answer(struct bft_session *s, uint64_t cseq);
void bft_session_answer(struct bft_session *s, struct bft_answer *a, uint8_t code,
                        struct c2_slice result);
/* Opens one at (n, place in the batch), or finds the one the nonce has opened before; 0 and the
 * last nonce when the nonce is too old. */
uint64_t bft_session_open(struct bft_replica *r, const struct msg_request *m, uint64_t n,
                          unsigned place, uint64_t *ret_last);
/* In the batch that is being issued. */
void bft_session_close(struct bft_replica *r, struct bft_session *s);
/* Appends the records that changed since the last time, and marks them clean. */
void bft_sessions_save(struct bft_replica *r, struct c2_buf *records);
C2_RESULT bft_session_load(struct bft_replica *r, uint64_t id, struct c2_slice value);
void bft_sessions_clear(struct bft_replica *r);

/* ---- bft_pace.c ---- */
void bft_pace_decided(struct bft_replica *r, const struct bft_slot *s);
/* Whether a proposal of n has many before it that are not executed. */
bool bft_pace_crowded(const struct bft_replica *r, uint64_t n);
/* A request in this slot is executed; passed_ns: as bft_request_done has it. */
void bft_pace_request(struct bft_replica *r, const struct bft_slot *s, uint64_t session,
                      uint64_t passed_ns);

/* ---- bft_checkpoint.c ---- */
void bft_on_checkpoint(struct bft_replica *r, uint16_t seat, struct c2_blob *blob);
void bft_on_stable(struct bft_replica *r, struct c2_blob *blob);
/* Takes a certificate whose signatures are good. */
void bft_adopt_stable(struct bft_replica *r, const struct msg_stable *s);
void bft_checkpointed(struct bft_replica *r, const struct bft_job *job);
/* The application is durable up to n. */
void bft_committed(struct bft_replica *r, uint64_t n);
/* Whether what the application has on disk must stay there. */
bool bft_holds_base(const struct bft_replica *r);
void bft_remember_checkpoint(struct bft_replica *r, uint64_t n, const uint8_t *digest);
void bft_send_checkpoint(struct bft_replica *r, uint32_t seats, const struct msg_checkpoint *c);
/* The newest one that f + 1 have signed, at least the stable one: a state to fetch. */
const struct msg_checkpoint *bft_sync_target(const struct bft_replica *r);
/* The newest one of this replica since it started; NULL = none. */
const struct msg_checkpoint *bft_last_own_checkpoint(const struct bft_replica *r);
void bft_save_records(struct bft_replica *r, struct c2_buf *records);
C2_RESULT bft_load_records(struct bft_replica *r, struct c2_slice records, uint64_t *ret_n);
bool bft_is_boundary(const struct bft_replica *r, uint64_t n);

/* ---- bft_view.c, bft_new_view.c ---- */
void bft_wish(struct bft_replica *r, uint64_t view);
void bft_on_wish(struct bft_replica *r, uint16_t seat, uint64_t view);
/* From a seat, which may pass on that of another. */
void bft_on_view_change(struct bft_replica *r, uint16_t seat, struct c2_slice msg);
void bft_view_durable(struct bft_replica *r);
void bft_view_tick(struct bft_replica *r);
uint64_t bft_patience_ns(const struct bft_replica *r);
void bft_on_new_view(struct bft_replica *r, struct c2_blob *blob);
/* Makes or installs a NEW-VIEW if everything for it is there. */
void bft_try_new_view(struct bft_replica *r);
struct c2_blob *bft_find_vc(struct bft_replica *r, const uint8_t digest[MSG_DIGEST_LEN]);
/* Bytes of a VIEW-CHANGE, at most. */
size_t bft_vc_len_max(const struct bft_replica *r);
/* Everything a VIEW-CHANGE says is proven. */
bool bft_vc_valid(struct bft_replica *r, struct c2_slice msg);
void bft_vc_set(struct bft_vc *v, struct c2_blob *msg, uint64_t view);
void bft_vc_clear(struct bft_vc *v);
void bft_nv_clear(struct bft_new_view *nv);
/* A NEW-VIEW waits to be complete. */
bool bft_nv_waits(const struct bft_replica *r);
void bft_leave(struct bft_replica *r, uint64_t view);
uint64_t bft_view_deadline(const struct bft_replica *r);
void bft_log_view(struct bft_replica *r);
uint64_t bft_log_new_view(struct bft_replica *r, const struct bft_new_view *nv);
/* The NEW-VIEW of this view, if there is one. */
void bft_send_new_view(struct bft_replica *r, uint32_t seats);
/* After a restart: proposals of the NEW-VIEW that were not voted on yet. */
void bft_retake_proposals(struct bft_replica *r);
void bft_on_vc_body(struct bft_replica *r, struct c2_slice msg);
/* Digests of VIEW-CHANGEs that a NEW-VIEW names and that are missing. */
unsigned bft_missing_vcs(const struct bft_replica *r, uint8_t (*out)[MSG_DIGEST_LEN], unsigned max);
/* The view's record is on its way: everything else about it starts afresh. */
void bft_enter_view(struct bft_replica *r);

/* ---- bft_transfer.c ---- */
/* Starts to fetch the state of the stable checkpoint. */
void bft_sync_start(struct bft_replica *r);
/* The application is incomplete, a fetch was interrupted: nothing is executed before it has a state
 * again, even if no checkpoint is known yet (what told of it was not durable). */
void bft_sync_resume(struct bft_replica *r);
/* The state was loaded after a fetch. */
void bft_sync_over(struct bft_replica *r);
void bft_served(struct bft_replica *r, struct bft_job *job);
void bft_synced(struct bft_replica *r, struct bft_job *job);
void bft_on_state_fetch(struct bft_replica *r, uint16_t seat, struct c2_blob *blob);
void bft_on_state(struct bft_replica *r, uint16_t seat, struct c2_blob *blob);
void bft_sync_tick(struct bft_replica *r);
uint64_t bft_sync_deadline(const struct bft_replica *r);

/* ---- bft_restart.c ---- */
void bft_on_record(struct bft_replica *r, unsigned type, uint64_t lsn, struct c2_slice bytes);
void bft_start(struct bft_replica *r, uint64_t lsn, enum bft_wal_health health);
void bft_load_state(struct bft_replica *r, struct bft_job *job);
/* What a quarantined replica learns from the others. */
void bft_quarantine_hears(struct bft_replica *r, uint16_t seat, const struct msg_status *st);
/* ... and what an epoch that begins means for it. */
void bft_quarantine_epoch(struct bft_replica *r);
/* Appends what the log must not forget: epoch, view, wish, stable checkpoint, mode. */
void bft_log_again(struct bft_replica *r);

/* ---- bft_epoch.c ---- */
/* An administrative request; sets the answer. */
void bft_admin(struct bft_replica *r, const struct msg_request *m, uint64_t n,
               struct bft_session *s, struct bft_answer *a);
C2_RESULT bft_epoch_load(struct bft_replica *r, struct c2_slice config, struct c2_slice stable);
/* While the log is read: a record of the epoch. False when it is of an epoch that is over. */
bool bft_epoch_of_log(struct bft_replica *r, uint32_t epoch);
void bft_epoch_log(struct bft_replica *r);
void bft_on_epoch(struct bft_replica *r, struct c2_blob *blob);
void bft_on_epoch_fetch(struct bft_replica *r, uint32_t seats, uint64_t conn, struct c2_blob *blob);
/* A message of another epoch has come from the seat. */
void bft_other_epoch(struct bft_replica *r, uint16_t seat, uint32_t epoch);
bool bft_admin_valid(struct bft_replica *r, const struct msg_request *m);
/* The command inside a MSG_REQ_ADMIN_COMMAND; empty when it is malformed. */
struct c2_slice bft_admin_command(const struct msg_request *m);
/* Moves on to the next epoch when its certificate is complete. */
void bft_epoch_step(struct bft_replica *r);
/* Not a member: asks from time to time whether that has changed. */
void bft_epoch_tick(struct bft_replica *r);
/* Asks whether this epoch is over, if too few speak in it: they may all be in another one, in which
 * this replica is nobody to them. */
void bft_epoch_ask(struct bft_replica *r);
/* To a client when this replica is not a member: the certificate of the epoch after the client's.
 */
void bft_epoch_pass_on(struct bft_replica *r, uint64_t conn, uint32_t epoch);
/* It is no member, and has the whole state of its last checkpoint or not. */
void bft_epoch_none(struct bft_replica *r, bool complete);
/* The state that was loaded is of a later epoch: the log, or its end, is lost. */
bool bft_epoch_is_old(const struct bft_replica *r);
/* Nothing beyond the end of an epoch is executed in it. */
bool bft_may_issue(const struct bft_replica *r, uint64_t n);
void bft_epochs_free(struct bft_replica *r);
/* Makes a configuration the one in force. */
void bft_use_config(struct bft_replica *r, const struct bft_config *c);

/* ---- bft_catchup.c ---- */
void bft_on_status(struct bft_replica *r, uint16_t seat, struct c2_blob *blob);
void bft_on_fetch(struct bft_replica *r, uint16_t seat, struct c2_blob *blob);
void bft_on_body(struct bft_replica *r, uint16_t seat, struct c2_blob *blob);
void bft_on_decided(struct bft_replica *r, uint16_t seat, struct c2_blob *blob);
void bft_catchup_tick(struct bft_replica *r);
uint64_t bft_catchup_deadline(const struct bft_replica *r);
/* A seat speaks of this number; one alone is not believed. */
void bft_hear_of(struct bft_replica *r, uint16_t seat, uint64_t n);
/* Asks for a batch at once. */
void bft_fetch_body(struct bft_replica *r, const uint8_t digest[MSG_DIGEST_LEN], uint16_t seat);

static inline bool
bft_digest_equal(const uint8_t *a, const uint8_t *b)
{
    return __builtin_memcmp(a, b, MSG_DIGEST_LEN) == 0;
}

#endif
