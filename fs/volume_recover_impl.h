/* SPDX-License-Identifier: MIT */
/*
 * Private to volume_recover.c (the way of a recovery) and volume_recover_clouds.c (how the volume
 * lies in the clouds).
 */
#ifndef C2_FS_VOLUME_RECOVER_IMPL_H
#define C2_FS_VOLUME_RECOVER_IMPL_H

#include "fs/volume_impl.h"
#include "fs/volume_recover.h"

#define CLOUDS_MAX 32 /* provider sections looked at */

struct cloud {
    char name[PROV_NAME_MAX];
    struct provider *provider; /* owned */
    bool found, seated;
    struct ds_share_info info;
};

struct recovering {
    struct volume_recover *r;
    struct c2_env *env;
    struct volume_key key; /* volume_key NULL: there is no key file */
    bool flag;
    struct cloud clouds[CLOUDS_MAX];
    size_t nclouds;
    uint64_t deadline_ns; /* of the cloud that is looked into */
    uint32_t doubted;     /* clouds that are not believed which seat they have */
    uint8_t uuid[16];
    bool have_uuid;
    struct ds_share_info info; /* what more than f clouds agree on */
    struct volume *v;          /* owned */
    char *store, *work;        /* paths, owned */
};

/* Looks into every provider: p->clouds, p->info. */
C2_RESULT recovering_probe(struct recovering *p);
/* A client over the clouds in their seats, in p->v. known: the volume's configuration, or NULL. */
C2_RESULT recovering_connect(struct recovering *p, const struct volume_config *known);
/* Clouds that say that they have the same seat as another one. */
uint32_t recovering_contested(const struct recovering *p);
void recovering_disconnect(struct recovering *p);

#endif
