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
mount_here() { (cd "$WORK" && "$C2FS" t "$MNT" -C "./${CONF##*/}"); }
must "mount with a configuration of this folder" mount_here
check "the daemon finds it again" c2 provider offline p4
check "and again" c2 provider online p4
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

must "mount once more" wait_for 60 "$C2FS" t "$MNT" -C "$CONF"
for p in p1 p2 p3 p4; do mv "$WORK/$p" "$WORK/$p.away"; done
echo late >"$MNT/late"
check "umount -l with no provider there" umount -l "$MNT"
"$C2FS" t "$MNT" -C "$CONF" >"$WORK/mount.out" 2>&1
rc=$?
check "a mount meanwhile is refused (exit code $rc)" [ "$rc" -eq 10 ]
check "and says why" grep -q 'its daemon still uploads' "$WORK/mount.out"
for p in p1 p2 p3 p4; do mv "$WORK/$p.away" "$WORK/$p"; done
check "the daemon ends when they are back" wait_for 120 fails test -S "$WORK/cache/ctl"
must "mount after that" wait_for 60 "$C2FS" t "$MNT" -C "$CONF"
check "nothing is lost" grep -q late "$MNT/late"
check "last umount" umount "$MNT"

note "a mount that is told to end while it begins"
for i in $(seq 10); do
    wait_for 60 fails test -S "$WORK/cache/ctl"
    "$C2FS" t "$MNT" -C "$CONF" -f >>"$WORK/begins.out" 2>&1 &
    daemon=$!
    until grep -q " $MNT " /proc/self/mounts || fails alive "$daemon"; do :; done
    kill -TERM "$daemon" 2>/dev/null
    check "it ends ($i)" wait_for 60 fails alive "$daemon"
    wait "$daemon"
done
check "it is unmounted" fails mountpoint -q "$MNT"
finish
