/* SPDX-License-Identifier: MIT */
/*
 * Files whose data cannot be read any more, as fsck found them: told to people and programs, and
 * set aside.
 */
#ifndef C2_TOOLS_DAMAGED_H
#define C2_TOOLS_DAMAGED_H

#include "base/json.h"
#include "fs/fsck.h"

struct damaged {
    struct fs_fsck_damage damage; /* owned */
    char *moved_to;               /* owned, from the root of the volume; NULL = it stays */
    const char *why;              /* it could not be moved; NULL = not tried, or done */
};

struct damaged_list {
    struct damaged *e;
    size_t n;
};

C2_RESULT damaged_decode(struct c2_slice in, struct damaged_list *ret_list);
void damaged_done(struct damaged_list *l);

/*
 * Moves what is not there yet to /lost+found, through the mount: the kernel knows at once that the
 * names are free. Nothing that is there is replaced, and a file which took the name meanwhile
 * stays.
 */
void damaged_set_aside(struct damaged_list *l, const char *mountpoint);

void damaged_print(const struct damaged_list *l);
void damaged_json(const struct damaged_list *l, struct c2_json *j); /* an array "damaged" */

#endif
