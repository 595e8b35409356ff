#!/bin/bash
# SPDX-License-Identifier: MIT
# The disk of the cache folder is full: programs are told, status says why, and it goes on when there is room.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
[ "$(id -u)" -eq 0 ] || skip_all "a small disk is mounted, which needs root"
mkdir "$WORK/cache"
must "a small disk" mount -t tmpfs -o size=32M none "$WORK/cache"
AT_END+=("umount -l $WORK/cache")
volume_new
mount_start
promise() { # NAME : written, and on the disk when this returns
    seq 1000 >"$MNT/$1" && sync "$MNT/$1"
}
state_is() { # WORD
    status_is 'd["state"].lower()' "$1"
}
check "a promise" promise before
dd if=/dev/zero of="$WORK/cache/other" bs=64k 2>/dev/null
dd if=/dev/zero of="$WORK/cache/other" bs=1 oflag=append conv=notrunc 2>/dev/null
many_fail() { # what is left of the disk's last block takes some of them
    for i in $(seq 20); do promise "refused-$i" || return 0; done
    return 1
}
check "there is none when the disk is full" many_fail
# What goes to the clouds needs the journal no more: somebody writes on.
write_on() {
    until [ -e "$WORK/stop" ]; do
        promise again
        sleep 0.1
    done
}
write_on >>"$LOG" 2>&1 &
writer=$!
started $writer
says_why() {
    c2 status | tr -s ' \n' ' ' | grep -q "journal cannot be written (no space left)"
}
check "status says so" wait_for 60 state_is faulted
check "and why" wait_for 60 says_why
check "its exit code" wait_for 60 ends_with 5 c2 status
touch "$WORK/stop"
wait $writer
check "what is there can be read" diff "$MNT/before" <(seq 1000)
check "what is in memory goes to the clouds all the same" timeout 300 "$C2FSCTL" -C "$CONF" -V t flush
rm "$WORK/cache/other"
check "a promise when there is room again" wait_for 60 promise after
check "status is well" wait_for 60 state_is online
flush
remount_cold
check "everything is there" diff "$MNT/after" <(seq 1000)
check "what was refused went the other way" diff "$MNT/refused-1" <(seq 1000)
check_fsck
mount_stop
finish
