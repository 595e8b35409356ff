/* SPDX-License-Identifier: MIT */
/*
 * DepSky for a program that has nothing yet: an event loop, the providers at their seats and a
 * client over them, from a configuration file or from URLs. libdepsky(3) has the tour,
 * docs/examples two programs.
 *
 * One thread calls everything. A program with more to do than one request at a time starts
 * requests (depsky/depsky.h, depsky/unit.h) and runs the loop with c2_os_run_until; a simple one
 * uses the ds_wait_ functions below.
 */
#ifndef C2_DEPSKY_CLOUDS_H
#define C2_DEPSKY_CLOUDS_H

#include "base/alloc.h"
#include "base/log.h"
#include "base/os_loop.h"
#include "depsky/depsky.h"
#include "depsky/unit.h"

struct ds_clouds_config {
    /* Either a configuration file whose [provider] sections take the seats in their order
     * ("" = the system's, see c2fs.conf(5)) ... */
    const char *config_file;
    const char *const *names; /* ... or only these sections of it, in this order */
    size_t nnames;            /* 0 = all */

    /* ... or one URL per seat: [NAME=]dir:/PATH or [NAME=]s3://BUCKET[/PREFIX], then
     * ?KEY=VALUE&KEY=VALUE with the other keys of a [provider] section: endpoint, region, ca_file.
     * A seat without a name is called p1, p2, ... */
    const char *const *urls;
    size_t nurls;
    /* File with access keys; NULL = as the configuration says. Other places where they may be:
     * c2fs.conf(5). */
    const char *credentials_file;

    unsigned threads; /* that compress, encrypt and code; 0 = 1 */
    /* n is the number of providers and set by ds_clouds_open. Whoever shares objects or units must
     * have the same providers in the same order, f, volume and keys. */
    struct ds_config client;
};

/* f = 1, plain DepSky-CA: any f+1 clouds restore the data without a key. */
void ds_clouds_config_default(struct ds_clouds_config *c);

struct ds_clouds;

/*
 * Asks no provider: one that is down shows itself when it is needed. CONFIG, AUTH (no access keys),
 * INVALID (n, f), NOT_FOUND (no such file or section): *ret_error, if ret_error is not NULL, gets a
 * sentence for people, to be freed with c2_free.
 */
C2_RESULT ds_clouds_open(const struct ds_clouds_config *config, struct ds_clouds **ret_clouds,
                         char **ret_error);
/* Ends lists, deletes, probes, checks and rebuilds that are under way, then frees everything. Puts,
 * gets and requests of units have ended, units are closed; NULL is fine. */
void ds_clouds_close(struct ds_clouds *c);

/* Borrowed, until ds_clouds_close. */
struct ds_client *ds_clouds_client(struct ds_clouds *c);
struct c2_os *ds_clouds_os(struct ds_clouds *c);
struct c2_env *ds_clouds_env(struct ds_clouds *c);

/*
 * Start the request, run the loop until it is done and return its err. `done` is not called, all
 * else is as documented at the request. A c2_os_stop meanwhile has no effect.
 */
C2_RESULT ds_wait_put(struct ds_clouds *c, struct ds_put *r);
C2_RESULT ds_wait_get(struct ds_clouds *c, struct ds_get *r);
C2_RESULT ds_wait_delete(struct ds_clouds *c, struct ds_delete *r);
C2_RESULT ds_wait_list(struct ds_clouds *c, struct ds_list *r);
void ds_wait_check(struct ds_clouds *c, struct ds_check *r);
C2_RESULT ds_wait_rebuild(struct ds_clouds *c, struct ds_rebuild *r);
void ds_wait_probe(struct ds_clouds *c, struct ds_probe *r);
C2_RESULT ds_wait_unit_write(struct ds_clouds *c, struct ds_unit *u, struct ds_unit_write *r);
C2_RESULT ds_wait_unit_read(struct ds_clouds *c, struct ds_unit *u, struct ds_unit_read *r);
C2_RESULT ds_wait_unit_versions(struct ds_clouds *c, struct ds_unit *u, struct ds_unit_versions *r);
C2_RESULT ds_wait_unit_lock(struct ds_clouds *c, struct ds_unit *u, struct ds_unit_lock *r);
C2_RESULT ds_wait_unit_renew(struct ds_clouds *c, struct ds_unit *u, struct ds_unit_lock *r);
C2_RESULT ds_wait_unit_unlock(struct ds_clouds *c, struct ds_unit *u, struct ds_unit_unlock *r);
C2_RESULT ds_wait_unit_gc(struct ds_clouds *c, struct ds_unit *u, struct ds_unit_gc *r);
C2_RESULT ds_wait_unit_delete(struct ds_clouds *c, struct ds_unit *u, struct ds_unit_gc *r);
C2_RESULT ds_wait_unit_list(struct ds_clouds *c, struct ds_unit_list *r);

#endif
