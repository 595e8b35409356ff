/* SPDX-License-Identifier: MIT */
/*
 * The disk verbs as blocking calls. Private to base.
 */
#ifndef C2_BASE_OS_DISK_H
#define C2_BASE_OS_DISK_H

#include "base/env.h"

/* Runs the request on the calling thread and fills its out fields. */
void c2_os_disk_run(struct c2_disk_req *r);

#endif
