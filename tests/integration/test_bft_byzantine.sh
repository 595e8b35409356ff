#!/bin/bash
# SPDX-License-Identifier: MIT
# A daemon that lies in proposals, votes, bodies, states, view changes and answers takes the place of a replica (LIARS=).
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
# shellcheck source=tests/lib/copy_at_work.sh
. "$(dirname "$0")/../lib/copy_at_work.sh"
METADATA=bft
begin "$@"
LIARS=${LIARS:-1}
OPS=${OPS:-1000}
LIAR=$BUILD/helpers/c2fs-metad-liar
VOLUME_EXTRA=("pack_delay = 100ms")
kvload() { # KIND OPS CONNECTIONS DEPTH KEYS HISTORY
    "$BUILD/helpers/kvload" "$COORD/client.conf" bft:coord "$@"
}
lies=(vote status mutate drop answer read)
told() { # NUMBER LIE : the liar has told this one
    grep -q "lie=$2 " "$COORD/replica-$1/log"
}
told_all() { # NUMBER
    local lie
    for lie in "${lies[@]}"; do told "$1" "$lie" || return 1; done
}
# Mixed requests and reads of other clients.
histories() { # NAME
    export KVLOAD_PREFIX=$1
    check "$1: mixed requests: no error" kvload mix "$OPS" 3 4 20 "$WORK/history-$1"
    check "$1: mixed requests: linearizable" "$LIB/check_history" "$WORK/history-$1"
    check "$1: only reads: no error" kvload get "$OPS" 2 4 20 "$WORK/reads-$1"
    cat "$WORK/history-$1" "$WORK/reads-$1" >"$WORK/both-$1"
    check "$1: writes and reads: linearizable" "$LIB/check_history" "$WORK/both-$1"
}
check "the checker finds wrong histories" "$LIB/check_history" --selftest
volume_new
sample_set "$WORK/src" --sensors 400 --images 5 --large 1x3M
mount_start
seed=$SEED
for i in $LIARS; do
    note "replica $i becomes a liar during an rsync, and one at work is killed once"
    export C2FS_LIES_SEED=$((seed++))
    copy_start -aHAX --bwlimit=1000
    replica_kill "$i"
    REPLICA_BINARY[$i]=$LIAR
    replica_start "$i"
    # Lies are drawn: as long as it takes until each was told.
    for round in $(seq 20); do
        histories "liar-$i-$round"
        ! told_all "$i" || break
    done
    copy_end "liar $i"
    check "liar $i: every byte and attribute" same_tree "$WORK/src" "$MNT/copy"
    check "liar $i: the mount has its session" status_is 'd["fenced"]' false
    for lie in "${lies[@]}"; do check "liar $i: it has lied: $lie" told "$i" "$lie"; done
    replica_kill "$i"
    unset "REPLICA_BINARY[$i]"
    replica_start "$i"
    check "the true replica $i is back" wait_for 60 replica_runs "$i"
done
remount_cold
check "cold: every byte and attribute" same_tree "$WORK/src" "$MNT/copy"
check "the replicas agree" wait_for 60 replicas_run
mount_stop
replicas_stop
finish
