#!/bin/bash
# SPDX-License-Identifier: MIT
# First contact: format, mount in the background, write, status, unmount, mount again, read.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
volume_new
check "the key file is private" [ "$(stat -c %a "$WORK/t.key")" = 600 ]
check "format refuses to do it twice" ends_with 10 "$C2FSCTL" -C "$CONF" format t --no-passphrase

"$C2FS" t "$MNT" -C "$CONF" >"$WORK/mount.out" 2>&1
check "c2fs returns 0 when the mount answers" [ $? -eq 0 ]
check "and says so in one line" [ "$(wc -l <"$WORK/mount.out")" -eq 1 ]
must "it is mounted" mounted
DAEMON=$(daemon_pid)
check "type and source" [ "$(findmnt -no FSTYPE,SOURCE "$MNT" | tr -s ' ')" = "fuse.c2fs c2fs:t" ]

check "the folder is as old as the volume" fails [ "$MNT" -ot "$CONF" ]
echo hello >"$MNT/a"
mkdir "$MNT/d"
printf x >>"$MNT/a"
check "reads back" [ "$(cat "$MNT/a")" = "hello
x" ]
check "state of a new file" grep -qE '^(local|uploading|committed)$' <(getfattr --absolute-names --only-values -n user.c2fs.state "$MNT/a")
flush
check "state after flush" [ "$(getfattr --absolute-names --only-values -n user.c2fs.state "$MNT/a")" = committed ]
check "info is JSON" python3 -c 'import json,os,sys; json.loads(os.getxattr(sys.argv[1], "user.c2fs.info"))' "$MNT/a"
check "the virtual attributes are not listed" fails grep -q user.c2fs <(getfattr --absolute-names -d "$MNT/a" 2>&1)
check "the virtual attributes are read-only" fails setfattr -n user.c2fs.state -v x "$MNT/a"

check "status: exit code" healthy
check "status: state" wait_for 60 status_is 'd["state"].lower()' online
check "status: schema" status_is 'd["schema"]' c2fs.status/1
check "status for people names every provider" grep -q p4 <(c2 status)
says_little() { [ "$(c2 status -x | wc -l)" -le 1 ]; }
check "status -x says little when all is well" wait_for 60 says_little
check "mounts" grep -qF "$MNT" <(c2 mounts)
check "df" c2 df
check "statfs" [ "$(stat -fc %l "$MNT")" -eq 255 ]
check "a busy mount point is refused" fails timeout 30 "$C2FS" t "$MNT" -C "$CONF"

pid=$DAEMON
check "umount" timeout 300 "$C2FSCTL" -C "$CONF" umount "$MNT"
check "nothing is mounted" fails mounted
check "the daemon is gone" wait_for 30 fails alive "$pid"
check "the folder below is as it was" [ -z "$(ls -A "$MNT")" ]

mount_daemon
check "after the remount" [ "$(cat "$MNT/a")" = "hello
x" ]
check "umount(8)" timeout 300 umount "$MNT"
check "ends the daemon too" wait_for 60 fails alive "$DAEMON"
DAEMON=

ln -s "$C2FS" "$WORK/mount.c2fs"
check "mount.c2fs with fstab options" timeout 300 "$WORK/mount.c2fs" t "$MNT" -o "rw,_netdev,nofail,noauto,x-test=1,config=$CONF"
DAEMON=$(daemon_pid)
check "mounted by the helper" [ "$(head -c 5 "$MNT/a")" = hello ]
check "unmount" timeout 300 umount "$MNT"
check "the daemon ends" wait_for 60 fails alive "$DAEMON"
DAEMON=
finish
