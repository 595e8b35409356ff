#!/bin/bash
# SPDX-License-Identifier: MIT
# Replicas and clients with a wide-area network between them (DELAYS="20 80 200" ms one way, LOSS= percent, OPS=).
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
METADATA=bft
begin "$@"
DELAYS=${DELAYS:-20} LOSS=${LOSS:-1} OPS=${OPS:-300}
kvload=$BUILD/helpers/kvload
[ "$(id -u)" -eq 0 ] || skip_all "only root can make networks"
[ -c /dev/net/tun ] || skip_all "no /dev/net/tun here"

# ---- the network: replica i on node i, everything else on the node behind them -------------------

CLIENT_NODE=$((REPLICAS + 1))
REPORT=$WORK/wide_area.report
network() { # COMMAND ARGUMENT : done when it returns
    local answers
    answers=$(wc -l <"$REPORT")
    echo "$*" >"$WORK/wide_area"
    wait_for 60 network_answered "$answers"
}
network_answered() {
    [ "$(wc -l <"$REPORT")" -gt "$1" ]
}
network_counts() { # delivered | lost | cut
    network count
    sed -n "\$s/.*$1=\\([0-9]*\\).*/\\1/p" "$REPORT"
}
# A program of the build that runs on a node; prints its path.
on_node() { # NODE PROGRAM
    local path
    path=$WORK/node-$1-${2##*/}
    printf '#!/bin/sh\nexec nsenter -t %s -n -- %s "$@"\n' \
        "$(awk -v n="$1" '$1 == "node" && $2 == n { print $3 }' "$REPORT")" "$2" >"$path"
    chmod +x "$path"
    echo "$path"
}
"$LIB/wide_area" "$CLIENT_NODE" "$WORK/wide_area" "$REPORT" >>"$LOG" 2>&1 &
started $!
must "a network" wait_for 60 grep -q ready "$REPORT"
addresses=()
for i in $(seq "$REPLICAS"); do
    REPLICA_BINARY[$i]=$(on_node "$i" "$METAD")
    addresses+=(--replica "10.77.0.$i:7000")
done
C2FS=$(on_node "$CLIENT_NODE" "$C2FS")
C2FSCTL=$(on_node "$CLIENT_NODE" "$C2FSCTL")
kvload=$(on_node "$CLIENT_NODE" "$kvload")

# ---- what is tested ------------------------------------------------------------------------------

round=0
# Clients on random keys: nobody of them gets an error, and all agree on an order.
history() { # WHAT
    round=$((round + 1))
    export KVLOAD_PREFIX=round-$round
    check "$1: no request failed" "$kvload" "$COORD/client.conf" bft:coord mix "$OPS" 3 4 20 "$WORK/history"
    check "$1: the history is linearizable" "$LIB/check_history" "$WORK/history"
}
primary() {
    meta --json meta status | json 'max(r["view"] for r in d["replicas"] if r["mode"] == "running") % len(d["replicas"]) + 1'
}
others_have_a_primary() { # NOT
    local now
    now=$(primary) && [ "$now" -ne "$1" ]
}
replicas_new "${addresses[@]}"
replicas_start
VOLUME_EXTRA=("pack_delay = 100ms")
volume_new
for delay in $DELAYS; do
    network delay "$delay"
    network loss "$LOSS"
    lost=$(network_counts lost)
    check "$delay ms: all replicas run" wait_for 60 replicas_run
    history "$delay ms"
    check "$delay ms: packets were lost" [ "$(network_counts lost)" -gt "$lost" ]

    first=
    must "$delay ms: there is a primary" wait_for 60 eval 'first=$(primary)'
    cut=$(network_counts cut)
    network cut "$first"
    history "$delay ms, the primary is cut off"
    check "$delay ms: packets to and from replica $first were cut" [ "$(network_counts cut)" -gt "$cut" ]
    check "$delay ms: another one is primary" wait_for 60 others_have_a_primary "$first"
    network join "$first"
    check "$delay ms: replica $first is back" wait_for 60 replicas_run

    mount_start
    cp -a "$TOP/tests/lib" "$MNT/at-$delay"
    check "$delay ms: flush" timeout 300 "$C2FSCTL" -C "$CONF" -V t flush
    remount_cold
    check "$delay ms: every byte, cold" same_contents "$TOP/tests/lib" "$MNT/at-$delay"
    mount_stop
done
network loss 0
network delay 0
replicas_stop
finish
