/* SPDX-License-Identifier: MIT */
/*
 * What the files of the client share: bft_client.c has the requests of the caller and the session,
 * bft_client_gather.c sends them, bft_client_call.c has the answers to ordered requests and fast
 * reads, bft_client_watch.c the events, bft_client_link.c the replicas.
 */
#ifndef C2_METADATA_BFT_CLIENT_INT_H
#define C2_METADATA_BFT_CLIENT_INT_H

#include "metadata/bft_client.h"
#include "metadata/demand.h"
#include "metadata/watch.h"

#define CALLS_MAX  BFT_SESSION_WINDOW
#define FORMER_MAX 16 /* replicas that were members, and are known */
#define READS_MAX  256

struct bft_client;

/* What one replica answered. */
struct call_vote {
    bool have;
    bool has_result;
    uint8_t code;
    uint32_t epoch;
    uint64_t n;       /* of an ordered request */
    uint64_t version; /* of a read */
    uint8_t digest[MSG_DIGEST_LEN];
    struct c2_buf result; /* owned */
};

enum call_state {
    CALL_WAITING, /* for the session, or for a place in the window */
    CALL_ORDERED, /* sent as an ordered request */
    CALL_READING, /* sent as a fast read */
};

struct bft_call {
    struct c2_link link;  /* of list */
    struct c2_list *list; /* c->waiting or c->reading; NULL = neither */
    struct bft_client *c;
    struct coord_req *req;       /* NULL: its caller has given up, its number still counts */
    struct bft_admin_req *admin; /* instead of req */
    enum call_state state;
    enum msg_request_kind kind;
    struct c2_buf op;    /* owned: the encoded command */
    struct c2_blob *msg; /* owned reference: as a request of its own; NULL = not needed yet */
    uint64_t number;     /* cseq or rseq */
    struct c2_timer timer;
    uint64_t wait_ns;    /* until the next repetition */
    uint64_t retry_at;   /* when it is due */
    uint64_t patient_ns; /* how long the caller waits */
    uint64_t sent_ns;    /* last */
    uint64_t began_ns;   /* sent for the first time */
    unsigned tries;
    bool agreed;      /* f + 1 have answered an ordered request, its result is all that lacks */
    uint32_t asked;   /* seats */
    unsigned full;    /* of a read: the seat that was asked for the result, n = all */
    uint32_t useless; /* of a read: seats because of which there was a second round */
    struct call_vote votes[MSG_REPLICAS_MAX];
};

struct client_event {
    struct c2_link link;
    uint64_t n;
    struct c2_buf events; /* owned */
};

/* What one replica tells about changes. */
struct client_stream {
    uint64_t wseq;          /* of the WATCH that was sent last; 0 = none on this connection */
    bool registered;        /* it has acknowledged it */
    uint64_t ack_n;         /* from which batch on */
    uint64_t last_n;        /* of its last event */
    size_t bytes;           /* in pending */
    struct c2_list pending; /* struct client_event, ascending; not accepted yet */
    struct c2_timer again;  /* it is begun anew, if it does not run by then */
    uint64_t again_ns;      /* how long that is waited for; 0 = as long as the first time */
    uint64_t paid_ns;       /* when the times that it was begun are far enough back */
};

struct client_replica {
    struct bft_client *c;
    unsigned seat;
    char address[BFT_ADDRESS_MAX];
    struct c2_net_link *net; /* owned */
    uint64_t view;           /* it says */
    uint64_t srtt_ns;        /* of reads, its own and those that it held up; 0 = unknown */
    uint64_t read_ns;        /* when it was sent the last read */
    struct client_stream stream;
};

/* A replica that was a member. */
struct client_former {
    struct bft_client *c;
    char address[BFT_ADDRESS_MAX];
    uint8_t key[MSG_KEY_LEN];
    struct c2_net_link *net; /* owned; NULL = it was not asked */
    bool over;               /* it has answered, or cannot be reached */
};

/* Ordered requests that wait for each other. */
struct client_gather {
    struct c2_timer timer;
    uint64_t sent_ns;     /* the last ones */
    uint64_t since_ns;    /* one waits; 0 = none */
    struct demand demand; /* calls that waited or were under way at once, of late */
};

struct bft_client {
    struct coord base;
    struct bft_client_options o;   /* pointers are not used after opening */
    struct bft_config config;      /* of the epoch that we are in */
    struct bft_config next_config; /* verified */
    struct c2_task epoch_task;     /* moves there */
    uint64_t epoch_ask_ns;         /* not before */
    bool told_old;                 /* that nobody may have the next epoch any more */
    struct c2_net *net;            /* owned */
    struct c2_buf prefix;          /* owned */
    uint8_t secret[C2_ED25519_SECRET_LEN];
    uint8_t key[MSG_KEY_LEN];
    uint8_t cert[MSG_SIG_LEN];
    struct client_replica replicas[MSG_REPLICAS_MAX]; /* by seat */
    uint64_t rng;

    /* The session. */
    bool open; /* session is valid */
    uint64_t session;
    uint64_t nonce;
    struct bft_call opening; /* number = nonce; never has a caller */
    uint64_t next_cseq;
    uint64_t ack_low;
    struct bft_call *calls[CALLS_MAX]; /* owned, cseq % CALLS_MAX */
    bool answered[CALLS_MAX];

    struct c2_list waiting;            /* bft_call.link: for a place among the calls */
    struct c2_list reading;            /* bft_call.link: for a place among the reads */
    struct bft_call *reads[READS_MAX]; /* owned, rseq % READS_MAX */
    uint64_t next_rseq;
    struct c2_task pump;
    unsigned under_way;  /* calls in calls[] */
    uint64_t ordered_ns; /* what an ordered request took of late; 0 = unknown */
    struct client_gather gather;

    /* Watches. */
    struct watch_list watches;
    struct c2_task watch_task; /* prefixes have changed */
    struct c2_timer stuck;     /* events that are not accepted */
    struct c2_task reload_task;
    uint64_t next_wseq;
    uint64_t accepted_n;
    bool reload_due;

    uint64_t requests, repeated, fast_reads, ordered_reads, mismatches, reloads;
    void (*told)(void *arg, unsigned seat, struct c2_slice json);
    void *told_arg;
    struct client_former former[FORMER_MAX];
    unsigned nformer;
    void (*former_told)(void *arg, const char *address, struct c2_slice json);
    void *former_arg;
    bool closing;
    struct c2_task bye;
};

static inline unsigned
client_weak(const struct bft_client *c)
{
    return c->config.f + 1u;
}

/* bft_client.c */
/* The question how a replica is; one reference, the caller's. */
struct c2_blob *client_make_ask_status(const struct bft_client *c);
/* Puts the call at the end of a list of those that wait. */
void client_enlist(struct bft_call *call, struct c2_list *list);
void client_unlist(struct bft_call *call);
/* Completes the request from an answer, which is taken; or with an error. Later, on the loop. */
void client_complete(struct bft_call *call, struct c2_buf *answer);
void client_complete_err(struct bft_call *call, enum c2_err err);
void client_pump(struct bft_client *c);
void client_call_free(struct bft_call *call);
/* The call as a request of its own; borrowed. */
struct c2_blob *client_call_msg(struct bft_call *call);
/* The session is gone; what was sent in it may have happened. */
void client_session_lost(struct bft_client *c);
void client_opened(struct bft_client *c, uint64_t session);
void client_open_again(struct bft_client *c, uint64_t nonce_above);
/* A fast read did not work: the same as an ordered request. */
void client_order(struct bft_call *call);

/* A signed request; an owned reference. */
struct c2_blob *client_make_request(struct bft_client *c, enum msg_request_kind kind,
                                    uint64_t number, struct c2_slice op);

/* bft_client_gather.c */
/* Sends what waits, or arms the timer that will. */
void client_send_waiting(struct bft_client *c);
void client_gather_init(struct bft_client *c);
void client_gather_done(struct bft_client *c);

/* bft_client_call.c */
void client_call_send(struct bft_call *call, bool all);
/* One message for the calls with these numbers, for the first time. */
void client_calls_send(struct bft_client *c, uint64_t first, unsigned count, struct c2_blob *msg);
/* Before a read is numbered: its result does not come from a replica that is down. */
void client_skip_numbers(struct bft_client *c);
void client_call_timer(struct c2_timer *t);
void client_read_start(struct bft_call *call);
void client_on_reply(struct client_replica *r, struct c2_slice m);
void client_on_read_reply(struct client_replica *r, struct c2_slice m);
/* Arms the timer for the repetition or the deadline. */
void client_arm(struct bft_call *call);
void client_votes_clear(struct bft_call *call);
/* The link is up: it gets what it may lack. */
void client_call_link_up(struct bft_client *c, unsigned seat);

/* bft_client_link.c */
void client_connect(struct bft_client *c);
void client_dial(struct bft_client *c, unsigned seat);
void client_disconnect(struct bft_client *c);
bool client_is_up(const struct bft_client *c, unsigned seat);
void client_send(struct bft_client *c, unsigned seat, struct c2_blob *m);
/* Before what waits in the queue, and however full that is: certificate, watches, epochs. */
void client_send_urgent(struct bft_client *c, unsigned seat, struct c2_blob *m);
unsigned client_primary(const struct bft_client *c);
/* The highest view that at least one correct replica is in. */
uint64_t client_view(const struct bft_client *c);

/* bft_client_watch.c */
void client_watch_init(struct bft_client *c);
void client_watch_done(struct bft_client *c);
void client_on_event(struct client_replica *r, struct c2_slice m);
void client_stream_up(struct client_replica *r);
void client_stream_down(struct client_replica *r);
void client_watches_changed(struct bft_client *c);

/* bft_client_former.c */
/* The members of the epoch that ends, when this one comes. */
void client_former_note(struct bft_client *c, const struct bft_config *next);
void client_former_done(struct bft_client *c);

/* bft_client_epoch.c */
void client_epoch_init(struct bft_client *c);
/* Somebody is in another epoch. */
void client_other_epoch(struct bft_client *c, uint32_t epoch);
void client_on_epoch(struct client_replica *r, struct c2_slice m);
void client_admin_end(struct bft_call *call, enum c2_err err, struct c2_slice result);

#endif
