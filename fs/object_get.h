/* SPDX-License-Identifier: MIT */
/*
 * Reads of objects from the clouds, shared by everybody who wants the same bytes.
 */
#ifndef C2_FS_OBJECT_GET_H
#define C2_FS_OBJECT_GET_H

#include "fs/fetch.h"

typedef void fs_object_get_fn(struct fs_fetch *f, enum c2_err err, struct c2_slice data,
                              uint64_t data_off);

/* Waits for a get that covers the block: a running one, or a new one (of the block, or of the
 * whole object). */
void fs_object_get_join(struct fs *fs, struct fs_object *o, uint32_t block, bool whole,
                        struct fs_fetch *f, fs_object_get_fn *fn);
/* The whole object into the cache. */
void fs_object_get_background(struct fs *fs, struct fs_object *o);
/* At the end of a mount: they end soon. */
void fs_object_gets_cancel(struct fs *fs);
bool fs_object_get_running(struct fs *fs, const struct fs_object *o);

/* After a replay (fs/objects.c): objects that have a record in the store are marked as recorded. */
void fs_objects_look_up(struct fs *fs, void (*done)(void *arg, enum c2_err err), void *arg);

#endif
