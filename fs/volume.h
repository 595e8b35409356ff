/* SPDX-License-Identifier: MIT */
/*
 * A volume: its configuration in the coordination service, making one (c2fsctl format) and opening
 * one (the daemon, the tools). Asynchronous operations for one loop; parts of them block (reading
 * the key file, a passphrase command, opening the local store), which is fine at start-up.
 *
 * Order of opening: configuration -> key file -> store -> V (uuid, format version, key check: says
 * KEY or VERSION before anything is interpreted) -> session -> lock -> C -> providers -> device
 * key.
 *
 * The lock S/mount is an ephemeral key of the session; its version is the fencing token. The store
 * of metadata = local: is locked by its process, so a lock that is found there belongs to a process
 * that is gone: it is taken over. On replicas (bft:) the same holds when the lock names our own
 * device; another machine's is respected until its session ends. A session that ends while its
 * mount lives is replaced, see fs/lease.h.
 */
#ifndef C2_FS_VOLUME_H
#define C2_FS_VOLUME_H

#include "depsky/depsky.h"
#include "fs/coord_keys.h"
#include "fs/keys.h"
#include "metadata/coord.h"

#define VOLUME_FORMAT_VERSION 1
#define VOLUME_NAME_MAX       63
#define VOLUME_SESSION_TTL_NS (30 * C2_NS_PER_S) /* of format */
#define VOLUME_PASSPHRASE_MAX 1024
#define VOLUME_PREFIX_LEN     12 /* "v1/" and 8 hex digits, with the zero */
#define VOLUME_LOCK_NAME      "/mount"
#define VOLUME_OWNER_NAME     "/owner" /* ck_session: who had the lock last, see fs/lease.h */

struct c2_conf;
struct c2_os;

/* What is wrong, for people, and what to type. The exit code follows from err. */
struct volume_error {
    enum c2_err err;
    char text[512];
    char hint[320]; /* "" = none */
};

/* ---- configuration (volume_config.c) --------------------------------------------------------- */

enum volume_seat_state {
    VOLUME_SEAT_EMPTY,
    VOLUME_SEAT_ACTIVE,
    VOLUME_SEAT_REBUILDING, /* new objects go there, the others are being brought */
    VOLUME_SEAT_DRAINING,   /* nothing new goes there, what is there is moved to other seats */
    VOLUME_SEAT_OFFLINE,    /* belongs to the provider, but is not asked */
};

const char *volume_seat_state_name(enum volume_seat_state s); /* "active" */

struct volume_seat {
    enum volume_seat_state state;
    char provider[PROV_NAME_MAX];     /* the section's name */
    char url[PROV_KEY_MAX];           /* as configured when it took the seat */
    char old_provider[PROV_NAME_MAX]; /* REBUILDING: who had the seat before */
    char old_url[PROV_KEY_MAX];
};

struct volume_config {
    uint32_t format_version; /* of the data in the clouds */
    uint8_t uuid[16];
    char name[VOLUME_NAME_MAX + 1];
    unsigned f, n;
    struct volume_seat seats[DS_SEATS_MAX];
    bool keyless;
    bool redundancy_full;
    uint32_t config_epoch, key_epoch, domain_id;
};

/* Seats that belong to a provider. */
unsigned volume_config_voters(const struct volume_config *c);
/* The seat of a provider, or n. */
unsigned volume_config_seat(const struct volume_config *c, const char *provider);

/* Key C, sealed by the caller. */
void volume_config_encode(const struct volume_config *c, struct c2_buf *out);
C2_RESULT volume_config_decode(struct c2_slice in, struct volume_config *ret_config);
/* "v1/<vol8>": where everything of the volume lies in each bucket. */
void volume_prefix(const uint8_t uuid[16], char out[VOLUME_PREFIX_LEN]);

/* Key V, not sealed. */
struct volume_id {
    uint32_t format_version;
    uint8_t uuid[16];
    uint8_t key_check[16];
    bool keyless;
};

void volume_id_encode(const struct volume_id *id, struct c2_buf *out);
/* VERSION when it is newer than we understand; PARSE. */
C2_RESULT volume_id_decode(struct c2_slice in, struct volume_id *ret_id);

/* ---- an open volume (volume_open.c) ---------------------------------------------------------- */

struct volume {
    struct c2_env *env;         /* borrowed */
    struct c2_os *os;           /* borrowed; may be NULL */
    const struct c2_conf *conf; /* borrowed */
    char name[VOLUME_NAME_MAX + 1];
    struct volume_config config;
    uint64_t config_version; /* of key C: every commit that places objects names it */
    struct keys *keys;       /* owned, as all below */
    struct coord *coord;
    /* The same, for whoever names session and fence_token in transactions: see fs/lease.h. */
    struct coord *changes; /* borrowed from coord or lease */
    struct ds_client *ds;
    struct provider *providers[DS_SEATS_MAX]; /* by seat; NULL = empty, or see seat_errors */
    char *seat_errors[DS_SEATS_MAX];          /* why a configured provider could not be opened */
    uint32_t silent; /* seats that did not answer when all were asked last, for fs/seat_rules.h */
    struct provider **retired; /* had a seat; closed when no request needs them any more */
    size_t nretired;
    unsigned retired_holds;      /* jobs that may ask one of them at any time */
    struct c2_list changes_open; /* struct volume_change, see below */
    bool ending;
    uint64_t session;
    struct ck fence_key;
    uint64_t fence_token;
    uint8_t device_id[16];
    uint8_t *device_secret; /* Ed25519, C2_ED25519_SECRET_LEN in the secret arena */
    uint8_t device_public[C2_ED25519_PUBLIC_LEN];
    /* Another one may change the volume now: nothing can be committed any more. May be set at any
     * time. */
    void (*lost)(struct volume *v, void *arg);
    void *lost_arg;
    bool is_lost;
    bool is_taken; /* by another mount, while we had no session */
    struct lease *lease;
};

/* Keys for this device: "journal", "cache". */
void volume_device_key(const struct volume *v, const char *purpose, uint8_t out[C2_KEY_LEN]);

/* Asks on a terminal. OK with the passphrase appended; anything else gives up. */
typedef enum c2_err volume_ask(void *arg, const char *prompt, struct c2_buf *out);

struct volume_open {
    struct c2_env *env;
    struct c2_os *os; /* may be NULL: then no s3: */
    const struct c2_conf *conf;
    const char *volume;
    const char *holder; /* who we are, for the message that others get: "mount /mnt/c2fs, pid 7" */
    volume_ask *ask;    /* NULL = there is no terminal */
    void *ask_arg;
    /* Whoever writes has locked the cache_dir before, so that there is one process per device. */
    /* Tools that only look: no session, no lock, no device key; several may run. */
    bool read_only;
    void (*done)(struct volume_open *o);
    struct volume *volume_out;  /* out: the caller's; NULL on failure */
    struct volume_error error;  /* out */
    void *priv;                 /* the caller's */
    struct volume_opening *own; /* private */
};

void volume_open_start(struct volume_open *o);
/* Gives up the lock and frees everything; nothing may be outstanding on coord and ds. */
void volume_close(struct volume *v, void (*done)(void *arg), void *arg);

/* ---- another configuration (volume_change.c) --------------------------------------------------
 */

/*
 * The next configuration epoch: committed on condition that the one we know is the current one,
 * then this mount moves to it, while everything runs. One change at a time.
 */
struct volume_change {
    struct volume *volume;
    struct volume_config next; /* in: as it shall be; the epoch is counted by the change */
    /* The opened provider of one seat of `next`, NULL = none is new. Ours when the change is
     * successful, else it stays the caller's. */
    struct provider *provider;
    unsigned seat;
    void (*done)(struct volume_change *c);
    /* out: CONFLICT = somebody else changed it; FENCED; of a volume that ends UNAVAILABLE, TIMEOUT
     * or CANCELED = it is not known whether it has happened */
    enum c2_err err;

    struct c2_link link; /* private, as all below; in changes_open */
    struct coord_req req;
    struct c2_timer retry, last;
    bool given_up;
    struct coord_cond conds[3];
    struct coord_op op;
    struct ck key;
    struct c2_buf sealed;
};

void volume_change_start(struct volume_change *c);
/* The volume ends: from now on a change, also one that begins later, takes only so long, whatever
 * the service does. */
#define VOLUME_CHANGE_LAST_NS (10 * C2_NS_PER_S)
void volume_changes_end(struct volume *v);
/* Another provider object for a seat that stays as it is: new credentials. Takes it over. */
void volume_seat_reopen(struct volume *v, unsigned seat, struct provider *p);
/* Takes a provider that is in no seat over; it is closed as below, or with the volume. */
void volume_retire(struct volume *v, struct provider *p);
/* Closes retired providers that no request of the client needs, unless somebody holds them. */
void volume_retired_close(struct volume *v);
/* None is closed between these two. */
void volume_retired_hold(struct volume *v);
void volume_retired_release(struct volume *v);
/* The opened provider with this name among the retired ones, or NULL. */
struct provider *volume_retired_find(struct volume *v, const char *name);

/* ---- format (volume_format.c) ---------------------------------------------------------------- */

struct volume_format {
    struct c2_env *env;
    struct c2_os *os;
    const struct c2_conf *conf;
    const char *volume;
    unsigned f;                   /* 0 = 1 */
    const char *const *providers; /* section names in seat order; NULL = all sections */
    size_t nproviders;
    bool keyless;
    bool no_passphrase;  /* write the key file unsealed */
    bool dry_run;        /* check everything, write nothing */
    const uint8_t *uuid; /* NULL = random */
    volume_ask *ask;     /* asked twice; NULL = no terminal */
    void *ask_arg;
    /* Appends the operations that make an empty file system; NULL = none. */
    void (*put_root)(void *arg, struct keys *keys, struct c2_buf *backing, struct coord_op *ops,
                     size_t ops_max, size_t *ret_nops);
    void *put_root_arg;
    struct c2_buf *ret_recovery_kit; /* NULL = not wanted; the caller wipes it */
    void (*done)(struct volume_format *o);
    struct volume_config config;   /* out */
    struct volume_error error;     /* out */
    void *priv;                    /* the caller's */
    struct volume_formatting *own; /* private */
};

void volume_format_start(struct volume_format *o);

#endif
