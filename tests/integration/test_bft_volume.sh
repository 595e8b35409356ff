#!/bin/bash
# SPDX-License-Identifier: MIT
# A volume on four replicas: one mount at a time, takeover after a crash, fencing, status, loss of replicas.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
METADATA=bft
begin "$@"
VOLUME_EXTRA=("pack_delay = 200ms")
volume_new
check "a service has one volume" ends_with 10 "$C2FSCTL" -C "$CONF" format t --no-passphrase
mount_start
sample_set "$WORK/src" --sensors 60 --images 3 --large 1x3M
must "copy" rsync -aHAX "$WORK/src/" "$MNT/src/"
flush
check "status: online" wait_for 60 status_is 'd["state"].lower()' online
check "status: four replicas" wait_for 60 status_is 'sum(r["connected"] for r in d["coordination"]["replicas"])' 4
check "status for people shows replicas" grep -q CONNECTED <(c2 status)
check "nothing is shipped" status_is 'd["shipping"]["on"]' false

note "another machine: its own cache folder, the same volume and key"
sed "s|^cache_dir.*|cache_dir = $WORK/cache2|" "$CONF" >"$WORK/other.conf"
mkdir "$WORK/mnt2"
other() {
    timeout 300 "$C2FS" t "$WORK/mnt2" -C "$WORK/other.conf" >"$WORK/other.out" 2>&1
}
check "a second mount is refused" ends_with 10 other
check "and is told who has it" grep -q "in use by another machine: $MNT" "$WORK/other.out"
check "the first one goes on" touch "$MNT/goes-on"
flush

note "a crash of the daemon: the same machine takes over at once"
echo promised >"$MNT/promised"
sync "$MNT/promised"
mount_kill
check "another machine has to wait for the session to end" ends_with 10 other
mount_start
check "nothing is lost" grep -q promised "$MNT/promised"
check "takeover: every byte" same_tree "$WORK/src" "$MNT/src"
mount_stop
check "status without a mount" wait_for 60 status_is 'sum(r["connected"] for r in d["coordination"]["replicas"])' 4

note "an orderly end frees the volume for other machines"
must "the other machine mounts" other
check "it sees everything" same_contents "$WORK/src" "$WORK/mnt2/src"
echo other >"$WORK/mnt2/other"
check "it unmounts" timeout 300 "$C2FSCTL" -C "$WORK/other.conf" umount "$WORK/mnt2"

note "whoever lost the lock cannot commit"
mount_start
check "what the other one wrote is here" grep -q other "$MNT/other"
echo before >"$MNT/before"
flush
meta kv delete S/mount >>"$LOG" 2>&1
echo after >"$MNT/after"
check "a flush after the lock is gone fails" fails timeout 300 "$C2FSCTL" -C "$CONF" -V t flush
check "status says so" wait_for 60 status_is 'd["fenced"]' true
check "nothing can be written" fails touch "$MNT/more"
check "reading goes on" grep -q before "$MNT/before"
mount_kill
mount_start
check "the next mount has all that was committed" grep -q before "$MNT/before"
flush

note "a mount that was cut off for longer than its lease goes on"
mount_stop
sed -i 's/^cache_dir/lease = 1s\n&/' "$CONF" "$WORK/other.conf"
mount_start
lock_is_gone() {
    ends_with 4 meta kv get S/mount
}
echo before >"$MNT/cut-off"
flush
for i in $(seq "$REPLICAS"); do replica_kill "$i"; done
check "without any replica the journal takes writes" timeout 300 sh -c "echo alone >'$MNT/cut-off'"
sleep 2 # the lease may be over or not when they are back: both are to work
replicas_start
check "what was written is committed when they are back" timeout 300 "$C2FSCTL" -C "$CONF" -V t flush
kill -STOP "$DAEMON"
check "a machine that stands still loses its lock" wait_for 60 lock_is_gone
kill -CONT "$DAEMON"
check "it takes it again" wait_for 60 grep -q "nobody else had the volume: going on" "$LOG"
echo again >>"$MNT/cut-off"
check "and commits" timeout 300 "$C2FSCTL" -C "$CONF" -V t flush
check "it is not fenced" status_is 'd["fenced"]' false

note "unless another one has taken the volume over"
kill -STOP "$DAEMON"
check "the lock goes" wait_for 60 lock_is_gone
must "the other machine mounts" other
check "it has what was committed" [ "$(cat "$WORK/mnt2/cut-off")" = "$(printf 'alone\nagain')" ]
echo taken >"$WORK/mnt2/cut-off"
check "it unmounts" timeout 300 "$C2FSCTL" -C "$WORK/other.conf" umount "$WORK/mnt2"
kill -CONT "$DAEMON"
check "the first one is fenced" wait_for 60 status_is 'd["fenced"]' true
check "it says why" grep -q "another mount has taken the volume over" "$LOG"
check "nothing can be written there" fails touch "$MNT/more"
check "reading goes on" grep -q again "$MNT/cut-off"
mount_kill
sed -i '/^lease/d' "$CONF"
mount_start
check "mounted again it has what the other one wrote" grep -qx taken "$MNT/cut-off"

note "replicas go away"
replica_kill 2
names_unreachable() { c2 status | grep -q UNREACHABLE; }
check "status says DEGRADED and which one" wait_for 30 names_unreachable
check "exit code of status" wait_for 10 ends_with 6 c2 status
echo three >"$MNT/three"
check "three of four commit" timeout 300 "$C2FSCTL" -C "$CONF" -V t flush
replica_kill 3
check "status says FAULTED" wait_for 30 status_is 'd["state"].lower()' faulted
replica_start 3
check "it goes on with three" timeout 300 "$C2FSCTL" -C "$CONF" -V t flush
replica_kill 3
check "files that are known can be written" timeout 300 sh -c "echo two >'$MNT/three'"
check "two of four do not" fails timeout 2 "$C2FSCTL" -C "$CONF" -V t flush
check "and read" timeout 300 grep -q two "$MNT/three"
replicas_start 2 3
check "it goes on when they are back" timeout 300 "$C2FSCTL" -C "$CONF" -V t flush
check "state of the file" [ "$(getfattr --absolute-names --only-values -n user.c2fs.state "$MNT/three")" = committed ]

note "a daemon that shall end although no replica answers"
for i in $(seq "$REPLICAS"); do kill -STOP "${REPLICA_PID[$i]}"; done
check "the journal takes what is written" timeout 300 sh -c "echo late >'$MNT/three'"
c2 --dry-run scrub start >"$WORK/estimate.out" 2>&1 &
c2 provider offline p4 >"$WORK/offline.out" 2>&1 &
offline=$!
sleep 4 # then it waits for the service, if not for a provider's answer: it is to end anyhow
ends_when_told_again() { # told once, it waits until everything is in the clouds
    kill -TERM "$DAEMON" 2>/dev/null
    fails alive "$DAEMON"
}
check "it ends" wait_for 200 ends_when_told_again
wait "$DAEMON"
DAEMON=
check "a change of the providers that has no answer is no success" fails wait "$offline"
for i in $(seq "$REPLICAS"); do replica_kill "$i"; done # what they were sent goes with them
"$C2FS" t "$MNT" -C "$CONF" -f >"$WORK/opening.out" 2>&1 &
opening=$!
takes_signals() { # it does, or is about to: then SIGTERM ends it as any program
    (((0x$(sed -n 's/^SigBlk:\t//p' "/proc/$opening/status") >> 14 & 1) == 1))
}
check "a mount begins without any replica" wait_for 60 takes_signals
kill -TERM "$opening"
wait "$opening"
rc=$?
check "it ends when it is told (exit code $rc)" [ "$rc" -gt 128 ]
replicas_start
check "all replicas run" wait_for 60 replicas_run
mount_start
check "nothing is lost" grep -qx late "$MNT/three"
check "the providers have not changed" wait_for 60 status_is 'd["state"].lower()' online
flush
remount_cold
check "every byte and attribute" same_tree "$WORK/src" "$MNT/src"
large_attributes() { # more of them than one transaction takes
    python3 - "$MNT/attributes" <<'END'
import os, sys
os.mkdir(sys.argv[1])
for i in range(60):
    path = f"{sys.argv[1]}/{i}"
    open(path, "w").close()
    os.setxattr(path, "user.large", bytes([i]) * 30000)
END
}
attributes_are_there() {
    [ "$(getfattr --absolute-names --only-values -n user.large "$MNT/attributes/59" | wc -c)" -eq 30000 ]
}
check "large attributes" large_attributes
check_fsck
remount_cold
check "large attributes are there" attributes_are_there
check_fsck
mount_stop
replicas_stop
finish
