#!/bin/bash
# SPDX-License-Identifier: MIT
# A real source tree by cp -a, rsync and tar (Debian's linux-source if it is there; TREE_FILES=2500).
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
TREE_FILES=${TREE_FILES:-2500}
archive=$(ls /usr/src/linux-source-*.tar.xz 2>/dev/null | tail -n 1)
mkdir "$WORK/src"
if [ -n "$archive" ]; then
    tar -tf "$archive" 2>/dev/null | awk -v n="$TREE_FILES" '!/\/$/ && ++i <= n' >"$WORK/list"
    must "unpack $TREE_FILES files of $archive" tar -C "$WORK/src" --no-recursion -xf "$archive" -T "$WORK/list"
else
    find /usr/include /usr/share /usr/lib/python3* -xdev \( -type f -size -1M -o -type l \) -readable 2>/dev/null |
        sort | head -n "$TREE_FILES" >"$WORK/list"
    note "no linux-source package: a tree of this system's files instead"
    must "gather $TREE_FILES files" bash -c "tar -cf - -T '$WORK/list' 2>/dev/null | tar -C '$WORK/src' -xpf -"
fi
volume_new
mount_start
must "cp -a" cp -a "$WORK/src" "$MNT/cp"
must "rsync -a" rsync -a "$WORK/src/" "$MNT/rsync/"
must "tar x" bash -c "mkdir '$MNT/tar' && tar -C '$WORK/src' --format=posix -cf - . | tar -C '$MNT/tar' -xpf -"
remount_cold
for how in cp rsync tar; do check "$how: cold" same_tree "$WORK/src" "$MNT/$how"; done
rm -rf "$WORK"/p1/*
must "empty the cache" c2 cache clear
check "one provider deleted" same_tree "$WORK/src" "$MNT/cp"
check "rm -r" rm -r "$MNT/cp" "$MNT/rsync" "$MNT/tar"
check "nothing is left" [ -z "$(ls -A "$MNT")" ]
mount_stop
finish
