/* SPDX-License-Identifier: MIT */
/*
 * What may be done with the providers of a volume as things are. PRECONDITION is a refusal for
 * safety: it would leave data below its goal, and the text says which command would be right
 * ("...\nhint: ..."; c2_free). Nothing here waits or changes anything.
 */
#ifndef C2_FS_SEAT_RULES_H
#define C2_FS_SEAT_RULES_H

#include "fs/volume.h"

/* `new` takes the seat of `old`, or goes on taking it. */
C2_RESULT seat_may_replace(const struct volume *v, const char *old, const char *new,
                           unsigned *ret_seat, char **ret_error);
/* Everything of the provider is moved to the others; with `remove` its seat is given up then. */
C2_RESULT seat_may_leave(const struct volume *v, const char *name, bool remove, unsigned *ret_seat,
                         char **ret_error);
/* What the provider still has of the volume may be deleted there: it has no seat any more. */
C2_RESULT seat_may_purge(const struct volume *v, const char *name, char **ret_error);
C2_RESULT seat_may_add(const struct volume *v, const char *name, unsigned *ret_seat,
                       char **ret_error);
C2_RESULT seat_may_go_offline(const struct volume *v, const char *name, unsigned *ret_seat,
                              char **ret_error);
C2_RESULT seat_may_go_online(const struct volume *v, const char *name, unsigned *ret_seat,
                             char **ret_error);

#endif
