/* SPDX-License-Identifier: MIT */
/*
 * What making a service and changing its members share.
 */
#ifndef C2_METADATA_CLUSTER_INT_H
#define C2_METADATA_CLUSTER_INT_H

#include "metadata/bft.h"
#include "metadata/cluster.h"

extern const char cluster_first_start[];

bool cluster_good_address(const char *a); /* HOST:PORT */
bool cluster_is_loopback(const char *a);
/* Appends the text of root.pub. name: of the service, or NULL. */
void cluster_trust_text(const struct bft_config *c, const char *name, struct c2_buf *out);
void cluster_wipe(struct c2_buf *b); /* and frees */

#endif
