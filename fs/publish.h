/* SPDX-License-Identifier: MIT */
/*
 * Journal groups: what they say and how they are read back. Private to publish.c, group.c and
 * replay.c. Most groups are a moment of their own; a large one is several groups in a row, of which
 * a replay takes all or none.
 *
 *   group    u8 version = 2, u8 flags (1 = the moment goes on in the next group, 2 = this group
 *            goes on with the moment of the one before), items until the end
 *   item 'N' u64 next_ino
 *   item 'I' u64 ino, u64 dir_ino, u64 before (not in version 1), bytes inode record
 *            (fs/records.h), u8 has content, content: u32 n, n * { u64 off, u64 len, u8 kind,
 *            source }: what changed since the last moment that had some. `before` is the first
 *            group of that one, 0 = the change fits what the store has: where it was not applied,
 *            this one must not be either
 *   item 'X' u64 ino, content: goes on with the content of an inode of this moment
 *   item 'D' u64 dir, u64 ino (0 = removed), u32 type, bytes name
 *   source   hole: nothing; piece: u32 index of a piece of this group, u64 offset in it;
 *            loc: location of a piece of an earlier group, u64 offset in it;
 *            object: ref[72], u32 placed, u64 stored bytes, u64 offset in it
 */
#ifndef C2_FS_PUBLISH_H
#define C2_FS_PUBLISH_H

#include "fs/fs.h"

#define GROUP_VERSION   2
#define GROUP_CONTINUES 1u
#define GROUP_FOLLOWS   2u
#define GROUP_DIFF_MAX  (1u << 22) /* extents of one item */

#define FS_JOURNAL_FULL_PERCENT 90 /* from here on changes wait */

enum group_source { GROUP_HOLE, GROUP_PIECE, GROUP_LOC, GROUP_OBJECT };

struct fs_publisher *fs_publisher_new(struct fs *fs);
void fs_publisher_free(struct fs_publisher *p); /* nothing running */
/* Something is dirty: it reaches the disk within journal_delay_ns. */
void fs_publisher_changed(struct fs *fs);
void fs_publisher_stop(struct fs *fs); /* no timer any more */
/* Memory is short: chunks that are not on their way to the clouds go to the journal. */
void fs_publisher_spill(struct fs *fs);
/* The state of a journal that cannot be written (NO_SPACE: a full disk, not a full journal); OK
 * otherwise. */
enum c2_err fs_publisher_error(const struct fs *fs);
/* For people: why what was written last is not on the local disk, OK = it is, or will be. */
enum c2_err fs_publisher_trouble(const struct fs *fs);
bool fs_publisher_idle(const struct fs *fs);

#endif
