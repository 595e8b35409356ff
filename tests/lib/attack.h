/* SPDX-License-Identifier: MIT */
/*
 * Clients that mean harm: keys that are admitted, their sessions, and many connections to each
 * replica, over which a kind of attack sends as fast as they take it. A connection that ends is
 * made again at once.
 *
 * What must have happened before, a kind prepares by one request, the first one of a session; the
 * attack begins when a replica has answered it. Its answers are compared: another number means that
 * it was executed twice.
 */
#ifndef C2_TESTS_LIB_ATTACK_H
#define C2_TESTS_LIB_ATTACK_H

#include "base/os_loop.h"
#include "metadata/bft_client.h"
#include "metadata/identity.h"

#define ATTACK_LINKS_MAX    32
#define ATTACK_SESSIONS_MAX 32
#define ATTACK_IN_A_ROW     16 /* messages on one link, then the next one's turn */

struct attack;

struct attack_session {
    uint64_t nonce, id;
    uint64_t next, low; /* the next number; all up to low are answered */
    uint64_t done;      /* bits from low + 1 on */
    struct c2_blob *open;
};

/* A key that is admitted. */
struct attack_person {
    struct attack *attack;
    struct c2_net *net;
    uint8_t secret[C2_ED25519_SECRET_LEN], key[MSG_KEY_LEN], cert[MSG_SIG_LEN];
    struct attack_session session[ATTACK_SESSIONS_MAX];
    unsigned nsessions;
};

struct attack_lane {
    struct attack *attack;
    struct attack_person *person;
    struct attack_session *session; /* whose OPEN admits it */
    struct c2_net_link *net;
    struct c2_task more;
    uint64_t number; /* of what it has sent */
    bool stuck;
};

struct attack_kind {
    const char *name;
    struct c2_blob *(*next)(struct attack_lane *l); /* an owned reference; NULL = nothing for now */
    void (*prepare)(struct attack *a); /* sends what must be done before; NULL = nothing */
    unsigned sessions;
    bool deaf;
};

/* Set before attack_begin: os, config, admin, kind, nlinks; the rest begins as zeros. */
struct attack {
    struct c2_os *os; /* borrowed */
    struct bft_config config;
    struct identity_admin admin; /* who admits */
    const struct attack_kind *kind;
    unsigned nlinks; /* of `me`, to each replica */

    struct c2_env *env;
    struct attack_person me, other;
    struct attack_lane lane[MSG_REPLICAS_MAX][ATTACK_LINKS_MAX];
    struct attack_lane witness[MSG_REPLICAS_MAX]; /* connections of the other one */
    struct c2_blob *before;     /* the request that prepares all, and is played again */
    struct c2_blob *ammunition; /* for the kind's use; NULL = `before` */
    struct attack_person *prepares;
    bool prepared;
    uint64_t version; /* the number that the request `before` got */
    uint64_t sent, bytes, answers, connected, ended, versions;
};

/* Connects all; false = it cannot. */
bool attack_begin(struct attack *a);
/* From time to time: opens sessions that no lane opens, and asks again for what a broken connection
 * has lost. */
void attack_again(struct attack *a);

/* A blob of the buffer, which becomes empty. */
struct c2_blob *attack_take(struct c2_buf *b);
/* A signed request; an owned reference. */
struct c2_blob *attack_request(struct attack_person *p, struct attack_session *s, uint8_t kind,
                               uint64_t cseq, struct c2_slice op);
void attack_send_to_all(struct attack_person *p, const struct attack_session *s, struct c2_blob *b);
/* What a kind's `prepare` does: sends what make returns, and plays it later, if there is no other
 * ammunition. Nothing happens before the session is open: attack_again comes back to it. */
void attack_prepare_by(struct attack *a, struct attack_person *p,
                       struct c2_blob *(*make)(struct attack_person *p));

#endif
