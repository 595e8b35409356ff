/* SPDX-License-Identifier: MIT */
/*
 * How many wanted something at once, of late: those that wait and those that are being served.
 *
 * Those that are served together ask for the next thing together, a moment later. Whoever serves
 * them together again spares most of what each costs; so it waits until about as many wait as there
 * were, and no longer: then nobody else is expected. One that is always alone goes at once. What
 * there was is forgotten by and by, a part each time that some are served.
 *
 * The primary waits so with a batch, and a client with a signature for several commands.
 */
#ifndef C2_METADATA_DEMAND_H
#define C2_METADATA_DEMAND_H

#include "base/base.h"

#define DEMAND_PART 8 /* this part may be missing, and is forgotten */

struct demand {
    unsigned most;
};

/* So many wait or are being served now. */
static inline void
demand_note(struct demand *d, unsigned now)
{
    d->most = C2_MAX(d->most, now);
}

/* Some of those that waited were sent on their way. */
static inline void
demand_served(struct demand *d)
{
    d->most -= C2_MIN(d->most, d->most / DEMAND_PART + 1);
}

/* Nobody else is expected. */
static inline bool
demand_all_wait(const struct demand *d, unsigned waiting)
{
    return waiting >= d->most - d->most / DEMAND_PART;
}

#endif
