#!/bin/bash
# SPDX-License-Identifier: MIT
# umount(8) itself waits until everything is in the clouds, through its helper.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
helper=/sbin/umount.fuse.c2fs
[ "$(id -u)" -eq 0 ] || skip_all "umount(8) runs helpers for root only"
[ -e "$helper" ] || rm -f "$helper" # of a test that was killed
[ ! -e "$helper" ] || skip_all "$helper is installed already"
ln -s "$C2FSCTL" "$helper"
AT_END+=("rm -f $helper")
volume_new

# By the program itself: the test library keeps the daemon in the foreground.
must "mount" "$C2FS" t "$MNT" -C "$CONF"
must "write" dd if=/dev/urandom of="$MNT/file" bs=1M count=24 status=none
sum=$(sha256sum <"$MNT/file")
check "umount" eval 'umount "$MNT" >"$WORK/umount.out" 2>&1'
check "it has waited and says so" grep -q 'in the clouds' "$WORK/umount.out"
check "it is unmounted" fails mountpoint -q "$MNT"
check "the daemon has ended" wait_for 10 fails test -S "$WORK/cache/ctl"
must "mount again" "$C2FS" t "$MNT" -C "$CONF"
check "every byte" [ "$(sha256sum <"$MNT/file")" = "$sum" ]
check "umount -l does not wait" umount -l "$MNT"
check "it is unmounted" fails mountpoint -q "$MNT"
check "the daemon ends in the background" wait_for 60 fails test -S "$WORK/cache/ctl"
finish
