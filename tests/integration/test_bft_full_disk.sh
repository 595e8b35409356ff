#!/bin/bash
# SPDX-License-Identifier: MIT
# The disk of a replica is full while the others go on: it comes back by itself when there is room.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
METADATA=bft
begin "$@"
[ "$(id -u)" -eq 0 ] || skip_all "a full disk needs root"
KEYS=${KEYS:-10000} # that are written meanwhile, 500 in a batch
PUTS=${PUTS:-600}   # and one by one: several checkpoints
kvload=$BUILD/helpers/kvload
small=$WORK/small
mkdir "$small"
must "a small disk" mount -t tmpfs -o size=24M none "$small"
AT_END+=("umount -l $small")
replicas_new
for i in $(seq "$REPLICAS"); do replica_conf "$i" "segment_size = 1M"; done
mv "$COORD/replica-1/data" "$small/data"
sed -i "s|^data .*|data = $small/data|" "$COORD/replica-1/c2fs-metad.conf"

# As systemd does: started again whenever it ends.
supervise() { # NUMBER
    until [ -e "$WORK/stop" ]; do
        "$METAD" -C "$COORD/replica-$1/c2fs-metad.conf" -f </dev/null >>"$COORD/replica-$1/out" 2>>"$COORD/replica-$1/log" &
        echo $! >"$WORK/pid"
        wait $!
        echo $? >>"$WORK/codes"
        sleep 0.5
    done
}
: >"$WORK/codes"
supervise 1 &
supervisor=$!
started "$supervisor"
AT_END+=("touch $WORK/stop")
replicas_start 2 3 4
load() { # KIND OPS
    "$kvload" "$COORD/client.conf" bft:coord "$@" 1 8
}
available() {
    df --output=avail -B1 "$small" | tail -n 1 | tr -d ' '
}
check "all replicas run" wait_for 60 replicas_run
check "requests before" load put 200

note "no room"
fill() { # again when the replica has given some back meanwhile
    cat /dev/zero >>"$small/filler" 2>/dev/null
    [ "$(available)" = 0 ]
}
check "not a byte is left" wait_for 30 fill
check "the others go on" load fill "$KEYS"
check "and on" load put "$PUTS"
says_full() { grep -qE 'the disk is full|no space left' "$COORD/replica-1/log"; }
check "the replica says that its disk is full" wait_for 60 says_full
check "another one says what was confirmed" wait_for 60 replica_told 2 executed
confirmed=$TOLD

note "room again"
rm "$small/filler"
check "it takes part again without help" wait_for 60 replica_runs 1
has_all() { replica_counted 1 executed "$confirmed"; }
check "and has what was confirmed meanwhile" wait_for 60 has_all
check "it ended for no other reason" fails grep -qvx 5 "$WORK/codes"
replica_stop 2
check "its vote is needed, and counts" load put 200
replica_start 2
check "all replicas run again" wait_for 60 replicas_run
touch "$WORK/stop"
kill -TERM "$(cat "$WORK/pid")"
wait "$supervisor"
check "it ends well" [ "$(tail -n 1 "$WORK/codes")" = 0 ]
replicas_stop
for i in $(seq "$REPLICAS"); do
    check "what is on disk $i is good" "$METAD" -C "$COORD/replica-$i/c2fs-metad.conf" --verify
done
finish
