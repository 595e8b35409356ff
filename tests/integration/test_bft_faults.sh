#!/bin/bash
# SPDX-License-Identifier: MIT
# Replicas killed one by one and all at once during an rsync (FILES=, ROUNDS=), other clients at work.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
# shellcheck source=tests/lib/copy_at_work.sh
. "$(dirname "$0")/../lib/copy_at_work.sh"
METADATA=bft
begin "$@"
FILES=${FILES:-1000}
ROUNDS=${ROUNDS:-1}
OPS=${OPS:-1000}
kvload=$BUILD/helpers/kvload
VOLUME_EXTRA=("pack_delay = 100ms")
volume_new
mount_start
copy_sample

for round in $(seq "$ROUNDS"); do
    note "round $round: each replica in turn"
    copy_start
    export KVLOAD_PREFIX=round-$round
    "$kvload" "$COORD/client.conf" bft:coord mix "$OPS" 3 2 20 "$WORK/history-$round" >>"$LOG" 2>&1 &
    load=$!
    started $load
    for i in $(seq "$REPLICAS"); do
        must "rsync is at work" alive "$RSYNC"
        replica_kill "$i"
        check "without replica $i commits go on" goes_on
        replica_start "$i"
        check "replica $i is back" wait_for 60 replica_runs "$i"
    done
    copy_end "each replica was killed"
    wait $load
    check "no request of others failed" [ $? -eq 0 ]
    check "their history is linearizable" "$LIB/check_history" "$WORK/history-$round"

    note "round $round: all of them at once"
    copy_start
    check "the copy is being committed" goes_on
    must "rsync is at work" alive "$RSYNC"
    echo "confirmed $round" >"$MNT/confirmed"
    sync "$MNT/confirmed"
    flush
    for i in $(seq "$REPLICAS"); do replica_kill "$i"; done
    echo more >>"$MNT/confirmed"
    check "nothing is committed without them" fails timeout 2 "$C2FSCTL" -C "$CONF" -V t flush
    replicas_start
    check "commits go on with them" timeout 600 "$C2FSCTL" -C "$CONF" -V t flush
    copy_end "all were killed"
    check "what was confirmed is there" grep -q "confirmed $round" "$MNT/confirmed"
done
check "all replicas run" wait_for 60 replicas_run
mount_stop
replicas_stop
finish
