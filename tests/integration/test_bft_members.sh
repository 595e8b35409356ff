#!/bin/bash
# SPDX-License-Identifier: MIT
# A replica is replaced during an rsync (FILES=), one is added, one is removed; dump, load, checkpoint.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
# shellcheck source=tests/lib/copy_at_work.sh
. "$(dirname "$0")/../lib/copy_at_work.sh"
METADATA=bft
begin "$@"
FILES=${FILES:-200}
VOLUME_EXTRA=("pack_delay = 100ms")
volume_new
mount_start
copy_sample
replicas_are() { # NUMBER
    [ "$(meta --json meta status | json 'len(d["replicas"])')" = "$1" ]
}
# A change is refused while those that it needs do not say in time that they run: then once more.
change() { # WORDS of meta replica
    local rc
    for _ in $(seq 10); do
        meta meta replica "$@"
        rc=$?
        [ "$rc" -eq 11 ] || break
    done
    return "$rc"
}
stable_is_above() { # NUMBER
    [ "$(replica_says 2 stable)" -gt "$1" ]
}

note "a replica is replaced during a copy"
copy_start
check "the copy is being committed" goes_on
port=$(free_ports 1)
check "without the administrator's key nothing is changed" \
    ends_with 4 meta meta replica replace 4 "127.0.0.1:$port" --admin "$WORK/none"
check "too few replicas are refused" ends_with 3 meta meta replica remove 4
check "a plan changes nothing" meta --dry-run meta replica replace 4 "127.0.0.1:$port"
check "nothing was written" [ ! -e "$COORD/replica-17" ]
check "replica 4 is replaced" change replace 4 "127.0.0.1:$port"
check "nobody else is before the new one runs" ends_with 11 meta --dry-run meta replica replace 3 127.0.0.1:1
check "but by who wants it" meta --dry-run --yes meta replica replace 3 127.0.0.1:1
replica_start 17
replica_stop 4
check "commits go on" goes_on
check "the new one runs" wait_for 60 replica_runs 4
is_at_its_address() {
    [ "$(replica_says 4 address)" = "127.0.0.1:$port" ]
}
check "at its address" wait_for 60 is_at_its_address
copy_end "a replica was replaced"
check "all replicas run" wait_for 60 replicas_run
check "the mount knows them" wait_for 30 status_is 'sum(r["connected"] for r in d["coordination"]["replicas"])' 4
replica_kill 1
echo needed >"$MNT/needed"
check "the new one is needed, and there" timeout 300 "$C2FSCTL" -C "$CONF" -V t flush
replica_start 1
check "replica 1 runs again" wait_for 60 replica_runs 1

note "one comes, one goes"
port=$(free_ports 1)
check "one is added" change add "127.0.0.1:$port"
replica_start 18
check "there are five" wait_for 30 replicas_are 5
check "all of them run" wait_for 60 replicas_run
replica_stop 1
check "one that is down is removed" change remove 1
check "there are four" wait_for 30 replicas_are 4
check "all of the rest run" wait_for 60 replicas_run
: >"$COORD/replica-1/log"
replica_start 1
check "it learns that it is not a member any more" wait_for 30 grep -q 'not a member any more' "$COORD/replica-1/log"
replica_stop 1 # it did not end by itself, to be started again for ever
replica_launch 1
check "and knows it from then on" wait_for 30 grep -q 'not a member any more' "$COORD/replica-1/out"
lists_former() {
    [ "$(meta --json meta status | json '[f["mode"] for f in d["former"]] == ["removed"]')" = true ]
}
check "who has not stopped it sees that" wait_for 30 lists_former
replica_stop 1
replica_stop 17
replica_start 17
check "a replica that came later starts again" wait_for 60 replicas_run
echo later >"$MNT/later"
flush
mount_stop
mount_start
check "a new mount finds those of today" grep -q later "$MNT/later"

note "those who were away for too long"
members() { grep -v '^#' "$1"; }
check "a newer root.pub" meta meta root "$WORK/root.pub"
check "it does not replace a file" ends_with 10 meta meta root "$WORK/root.pub"
check "a replica keeps the same members" [ "$(members "$WORK/root.pub")" = "$(members "$COORD/replica-17/data/root.pub")" ]
mkdir "$WORK/away"
cp "$COORD/client.key" "$WORK/root.pub" "$WORK/away/"
sed 's/^replicas .*/replicas = 127.0.0.1:1 127.0.0.1:2 127.0.0.1:3 127.0.0.1:4/' "$COORD/client.conf" >"$WORK/away/client.conf"
away() { "$C2FSCTL" -C "$WORK/away/client.conf" "$@"; }
check "a client that knows nobody else is back" away kv range
replica_stop 2
cp "$WORK/root.pub" "$COORD/replica-2/root.pub"
replica_start 2
check "a replica, too" wait_for 60 replicas_run
replica_stop 2
replica_start 2
check "again" wait_for 60 replicas_run
replica_stop 3
mv "$COORD/replica-3/replica.key" "$WORK/3.key"
cp "$COORD/replica-2/replica.key" "$COORD/replica-3/"
check "a replica with the key of another one is refused" ends_with 3 "$METAD" -C "$COORD/replica-3/c2fs-metad.conf"
cp "$WORK/3.key" "$COORD/replica-3/replica.key"
replica_start 3
check "with its own it runs" wait_for 60 replicas_run

note "checkpoint, dump and load"
check "what is stable" wait_for 60 replica_told 2 stable
before=$TOLD
echo more >"$MNT/later2"
flush
check "a checkpoint" meta meta checkpoint
check "it is a new one" wait_for 60 stable_is_above "$before"
check "while a mount is there, too" meta meta dump "$WORK/mounted.dump"
mount_stop
check "a dump" meta meta dump "$WORK/dump"
check "nobody else may read it" [ "$(stat -c %a "$WORK/dump")" = 600 ]
check "it does not replace a file" ends_with 10 meta meta dump "$WORK/dump"
check "a service with keys takes none" ends_with 10 meta meta load "$WORK/dump"
for i in 2 3 17 18; do replica_stop "$i"; done
mv "$COORD" "$WORK/first"
replicas_new
replicas_start
check "all replicas of a new service run" wait_for 60 replicas_run
sed -E '3s/value":"0/value":"1/;t;3s/value":"./value":"0/' "$WORK/dump" >"$WORK/damaged.dump"
check "a damaged dump is refused" ends_with 8 meta meta load "$WORK/damaged.dump"
head -n -1 "$WORK/dump" >"$WORK/cut.dump"
check "half a dump, too" ends_with 8 meta meta load "$WORK/cut.dump"
meta kv put .c2fs-load another >>"$LOG" 2>&1
check "nor one into which another one is loaded" ends_with 10 meta meta load "$WORK/dump"
check "what is half loaded is not dumped" ends_with 11 meta meta dump "$WORK/half.dump"
check "and leaves no file" fails ls "$WORK"/half.dump*
meta kv put .c2fs-load "$(tail -n 1 "$WORK/dump" | json 'd["sha256"]')" >>"$LOG" 2>&1
check "a load that was interrupted is done again" meta meta load "$WORK/dump"
check "the same keys" meta meta dump "$WORK/dump2"
check "and values" cmp "$WORK/dump" "$WORK/dump2"
mount_start
check "the volume is there" grep -q later "$MNT/later"
check "every byte" grep -q needed "$MNT/needed"
mount_stop
replicas_stop
finish
