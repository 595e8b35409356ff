#!/bin/bash
# SPDX-License-Identifier: MIT
# cp -a, rsync -aHAX with and without --inplace and tar: every byte and attribute, cold too.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
sample_set "$WORK/src" --sensors "${SENSORS:-600}" --images "${IMAGES:-20}" --large 2x9M --sparse 200M
volume_new
mount_start

must "cp -a" cp -a "$WORK/src" "$MNT/cp"
must "rsync -aHAX" rsync -aHAX "$WORK/src/" "$MNT/rsync/"
must "rsync -aHAX --inplace" rsync -aHAX --inplace "$WORK/src/" "$MNT/inplace/"
must "tar" tar -C "$WORK" --acls --xattrs --xattrs-include='*' -cf "$WORK/src.tar" src
mkdir "$MNT/tar"
must "tar x" tar -C "$MNT/tar" --acls --xattrs --xattrs-include='*' -xpf "$WORK/src.tar"
rm "$WORK/src.tar"
for how in cp rsync inplace tar/src; do
    check "$how: the same tree, warm" same_tree "$WORK/src" "$MNT/$how"
done
remount_cold
for how in cp rsync inplace tar/src; do
    check "$how: the same tree, cold" same_tree "$WORK/src" "$MNT/$how"
done

check "a second rsync transfers nothing" [ -z "$(rsync -aHAX -i "$WORK/src/" "$MNT/rsync/")" ]

# Changes of every kind arrive by rsync, in place and by replacement.
first=$(find "$WORK/src" -name '*.csv' | sort | head -n 1)
printf 'changed' | dd of="$first" bs=1 seek=100 conv=notrunc status=none
truncate -s 5000 "$(find "$WORK/src" -name '*.csv' | sort | sed -n 2p)"
head -c 100000 /dev/urandom >>"$WORK/src/studies/recording-0.bin"
rm "$(find "$WORK/src" -name '*.jpg' | sort | head -n 1)"
mkdir "$WORK/src/new"
cp "$first" "$WORK/src/new/"
# rsync compares seconds only: a folder changed on both sides in the same one would stay different.
find "$WORK/src" -type d -exec touch -d '2021-03-04 05:06:07.123456789' {} +
must "rsync of the changes" rsync -aHAX --delete "$WORK/src/" "$MNT/rsync/"
must "rsync of the changes in place" rsync -aHAX --inplace --no-whole-file --delete "$WORK/src/" "$MNT/inplace/"
check "replaced" same_tree "$WORK/src" "$MNT/rsync"
check "in place" same_tree "$WORK/src" "$MNT/inplace"
must "rm -r" rm -r "$MNT/cp" "$MNT/tar"
remount_cold
check "replaced, cold" same_tree "$WORK/src" "$MNT/rsync"
check "in place, cold" same_tree "$WORK/src" "$MNT/inplace"
check "removed" [ "$(ls "$MNT" | tr '\n' ' ')" = "inplace rsync " ]
check_fsck --deep
mount_stop
finish
