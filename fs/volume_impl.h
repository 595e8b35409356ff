/* SPDX-License-Identifier: MIT */
/*
 * What opening and formatting a volume share. Private to fs/volume*.c.
 */
#ifndef C2_FS_VOLUME_IMPL_H
#define C2_FS_VOLUME_IMPL_H

#include "fs/volume.h"

#include "base/conf.h"
#include "fs/lease.h"

/* Both keep what is there already: the first cause is the one people need. */
void volume_fail(struct volume_error *e, enum c2_err err, const char *fmt, ...) C2_PRINTF(3, 4);
void volume_hint(struct volume_error *e, const char *fmt, ...) C2_PRINTF(2, 3);

/* ---- volume_key.c ---- */

/* Where passphrases come from; all borrowed. */
struct volume_secrets {
    const struct c2_conf *conf;
    const char *volume;
    volume_ask *ask;
    void *ask_arg;
};

/* A key file on its way through Argon2id, on the pool. */
struct volume_key {
    char *path;           /* owned */
    struct c2_buf text;   /* of the file; wiped */
    struct c2_buf secret; /* passphrase, zero-terminated; wiped; empty = none */
    struct key_file info;
    uint8_t *volume_key; /* owned, in the secret arena */
    struct c2_work work;
    enum c2_err err;
    void (*done)(struct volume_key *k);
};

void volume_key_done(struct volume_key *k); /* wipes; zeroed is fine */
/* The configured path of the key file, or CONFIG. */
C2_RESULT volume_key_path(const struct volume_secrets *s, char **ret_path, struct volume_error *e);
/* Reads the file and, when it is sealed, gets the passphrase. Blocks. */
C2_RESULT volume_key_read(struct volume_key *k, const struct volume_secrets *s,
                          struct volume_error *e);
/* On the pool: text and secret -> info and volume_key; err. */
void volume_key_open(struct volume_key *k, struct c2_env *env);
/* Gets a passphrase for a new file, a typed one twice. Blocks. */
C2_RESULT volume_key_ask_new(struct volume_key *k, const struct volume_secrets *s,
                             struct volume_error *e);
/* On the pool: info, volume_key and secret -> text; err. */
void volume_key_seal(struct volume_key *k, struct c2_env *env);
/* Says what a failed volume_key_open means. */
void volume_key_explain(const struct volume_key *k, struct volume_error *e);

/* ---- volume_device.c ---- */

#define VOLUME_DEVICE_FILE_LEN 96
/* A new device with random identity, sealed under the volume's keys. */
void volume_device_new(struct volume *v, uint8_t out[VOLUME_DEVICE_FILE_LEN]);
/* PARSE, VERSION, CORRUPT; KEY when it belongs to another volume. */
C2_RESULT volume_device_decode(struct volume *v, struct c2_slice file);

/* ---- volume_close.c ---- */

struct volume *volume_new(struct c2_env *env, const struct c2_conf *conf, const char *name);
/* Session and lock have been taken, with the owner written beside the lock. */
void volume_lease_start(struct volume *v, struct c2_slice lock_value,
                        const uint8_t owner[LEASE_OWNER_LEN]);

/* ---- configuration of providers (volume_seats.c) ---- */

/* f, number and names of the providers, no two of them in one place -> config->seats. */
C2_RESULT volume_seats_choose(const struct volume_format *o, struct volume_config *config,
                              struct volume_error *e);
/* Opens the provider of each seat; CONFIG when file and seat disagree. Up to f that fail for a
 * passing reason leave their seat empty. */
C2_RESULT volume_seats_open(struct volume *v, struct c2_os *os, struct volume_error *e);
/* Two sections that one failure would take both: the same bucket, or one folder in the other. */
/* Tells the client who is in the seat and what for. */
void volume_seat_use(struct volume *v, unsigned seat);
bool volume_same_place(const struct c2_conf *conf, const char *a, const char *b);
C2_RESULT volume_client_new(struct volume *v, struct volume_error *e);

#endif
