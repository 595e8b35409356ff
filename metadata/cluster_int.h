/* SPDX-License-Identifier: MIT */
/*
 * What making a service and changing its members share.
 */
#ifndef C2_METADATA_CLUSTER_INT_H
#define C2_METADATA_CLUSTER_INT_H

#include "metadata/cluster.h"

extern const char cluster_first_start[];

bool cluster_good_address(const char *a); /* HOST:PORT */
bool cluster_is_loopback(const char *a);
void cluster_wipe(struct c2_buf *b); /* and frees */

#endif
