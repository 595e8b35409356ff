#!/bin/bash
# SPDX-License-Identifier: MIT
# Replicas with yesterday's disk, with flipped bits in the log and in the store, during an rsync (FILES=).
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
# shellcheck source=tests/lib/copy_at_work.sh
. "$(dirname "$0")/../lib/copy_at_work.sh"
METADATA=bft
begin "$@"
FILES=${FILES:-600}
kvload=$BUILD/helpers/kvload
VOLUME_EXTRA=("pack_delay = 100ms")
volume_new
mount_start
copy_sample

note "yesterday's disk"
replica_stop 1
cp -a "$COORD/replica-1/data" "$WORK/yesterday"
replica_start 1
check "replica 1 runs" wait_for 60 replica_runs 1
copy_start
check "the copy is being committed" goes_on
replica_kill 1
rm -rf "$COORD/replica-1/data"
mv "$WORK/yesterday" "$COORD/replica-1/data"
replica_start 1
check "it finds the others ahead and catches up" wait_for 60 replica_runs 1
copy_end "yesterday's disk"
executed_like_others() { # NUMBER
    local of others
    of=$(replica_says "$1" executed) others=$(replica_says 4 executed)
    [ "${of:-None}" != None ] && [ "${others:-None}" != None ] && [ "$of" -ge $((others - 2)) ]
}
check "replica 1 has executed what the others have" wait_for 60 executed_like_others 1

note "flipped bits"
flip_log() { # FILE : some bits between 20 and 60 percent of what has been written of it
    python3 - "$1" "$SEED" <<'END'
import random, sys
path, seed = sys.argv[1], int(sys.argv[2])
data = bytearray(open(path, "rb").read())
end = len(data.rstrip(b"\0"))  # the log is preallocated
rng = random.Random(seed)
for _ in range(20):
    data[rng.randrange(end * 20 // 100, end * 60 // 100)] ^= 1 << rng.randrange(8)
open(path, "r+b").write(data)
END
}
flip_store() { # NUMBER WHAT
    must "flip bits in the store of replica $1 ($2)" "$LIB/flip_store" "$2" "$COORD/replica-$1/data/store/data.mdb"
}
verdict() { # NUMBER
    "$METAD" -C "$COORD/replica-$1/c2fs-metad.conf" --verify
}
replica_kill 2
check "a good disk is good" verdict 2
log=$(find "$COORD/replica-2/data/wal" -type f -size +0 | sort | head -n 1)
flip_log "$log"
check "--verify finds damage in the log" fails verdict 2
replica_start 2
check "the damage is reported" grep -q 'log is damaged' "$COORD/replica-2/log"
check "replica 2 must not vote, for it may have forgotten its votes" wait_for 10 replica_is 2 quarantined
# Until a checkpoint is stable beyond everything that it can have voted for.
check "the others move on" "$kvload" "$COORD/client.conf" bft:coord put 900 1 1
check "replica 2 votes again" wait_for 60 replica_runs 2
replica_stop 3
flip_store 3 tree
check "--verify finds damage in the store" fails verdict 3
copy_start
check "commits go on meanwhile" goes_on
# It finds the damage at its next checkpoint; then it is started again, as systemd would do.
"$METAD" -C "$COORD/replica-3/c2fs-metad.conf" -f </dev/null >>"$LOG" 2>>"$COORD/replica-3/log" &
REPLICA_PID[3]=$!
check "replica 3 stops at the damage" wait_for 60 fails alive "${REPLICA_PID[3]}"
check "and sets the store aside" grep -q 'is the damaged store' "$COORD/replica-3/log"
replica_start 3
check "replica 3 recovers from the others" wait_for 90 replica_runs 3
copy_end "damaged disks"
check "replica 2 has executed what the others have" wait_for 60 executed_like_others 2
check "replica 3 has executed what the others have" wait_for 60 executed_like_others 3

note "a store that was cut short"
replica_stop 3
store=$COORD/replica-3/data/store/data.mdb
rm -f "$store.damaged"
must "cut the store" truncate -s $(($(stat -c %s "$store") / 3 / 4096 * 4096)) "$store"
check "--verify finds that" ends_with 8 verdict 3
"$METAD" -C "$COORD/replica-3/c2fs-metad.conf" -f </dev/null >>"$LOG" 2>>"$COORD/replica-3/log" &
REPLICA_PID[3]=$!
check "replica 3 stops there" wait_for 60 fails alive "${REPLICA_PID[3]}"
check "and sets the store aside, too" [ -e "$store.damaged" ]
replica_start 3
check "replica 3 recovers from the others once more" wait_for 90 replica_runs 3

note "flipped bits where nobody looks"
replica_stop 4
flip_store 4 load
check "--verify finds damage that nobody would notice" fails verdict 4
# What the manual says.
rm -rf "$COORD/replica-4/data/store"
replica_start 4
check "replica 4 gets its store from the others" wait_for 60 replica_runs 4
check "all replicas run" wait_for 60 replicas_run
mount_stop
replicas_stop
for i in $(seq "$REPLICAS"); do check "--verify replica $i" verdict "$i"; done
finish
