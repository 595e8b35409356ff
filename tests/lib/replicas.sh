#!/bin/bash
# SPDX-License-Identifier: MIT
# Part of integration.sh: a coordination service of four real c2fs-metad on loopback, each with its
# own folder $WORK/coord/replica-<i>, started and ended one by one. With METADATA=bft the volume of
# a test uses it; a test may also have one without a volume:
#
#     begin; replicas_new; replicas_start; check "…" meta kv put a 1; replica_kill 2; finish
#
# Replicas are numbered from 1.

METAD=${C2FS_METAD:-$BUILD/c2fs-metad}
METADATA=${METADATA:-local}
REPLICAS=${REPLICAS:-4}
COORD=                    # folder of the service; set by replicas_new
declare -a REPLICA_PID=() # by number; empty = not running
declare -A REPLICA_BINARY=() # by number: another build than $METAD

# Free ports of the kernel's choice, all at once so that they differ.
free_ports() { # N
    python3 -c '
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in sockets:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))' "$1"
}

replicas_new() { # [OPTION of meta init ...] : on free ports, without --replica among the options
    local port
    local -a addresses=()
    COORD=$WORK/coord
    if [[ " $* " != *" --replica "* ]]; then
        for port in $(free_ports "$REPLICAS"); do addresses+=(--replica "127.0.0.1:$port"); done
    fi
    must "meta init" "$C2FSCTL" meta init "$COORD" "${addresses[@]}" "$@"
}

replica_conf() { # NUMBER LINE... : more keys of its [replica] section
    local i=$1
    shift
    printf '%s\n' "$@" >>"$COORD/replica-$i/c2fs-metad.conf"
}

# Starts one and waits until it listens: it takes part as soon as enough of the others do.
replica_start() { # NUMBER
    local i=$1 line
    "${REPLICA_BINARY[$i]-$METAD}" -C "$COORD/replica-$i/c2fs-metad.conf" -f \
        </dev/null >"$COORD/replica-$i/out" 2>>"$COORD/replica-$i/log" &
    REPLICA_PID[i]=$!
    wait_for 60 replica_up_or_gone "$i"
    line=$(cat "$COORD/replica-$i/out")
    must "replica $i starts: $line" alive "${REPLICA_PID[i]}"
}

replica_up_or_gone() { # NUMBER
    grep -q 'takes part' "$COORD/replica-$1/out" || ! alive "${REPLICA_PID[$1]}"
}

replicas_start() { # [NUMBER...] : all of them by default
    local i
    [ $# -gt 0 ] || set -- $(seq "$REPLICAS")
    for i in "$@"; do replica_start "$i"; done
}

replica_kill() { # NUMBER
    kill -9 "${REPLICA_PID[$1]}"
    wait "${REPLICA_PID[$1]}" 2>/dev/null
    REPLICA_PID[$1]=
}

replica_stop() { # NUMBER : in good order
    local rc
    kill -TERM "${REPLICA_PID[$1]}"
    wait "${REPLICA_PID[$1]}"
    rc=$?
    REPLICA_PID[$1]=
    must "replica $1 ends well (exit code $rc)" [ "$rc" -eq 0 ]
}

replicas_stop() {
    local i
    for i in $(seq "$REPLICAS"); do
        [ -z "${REPLICA_PID[i]-}" ] || replica_stop "$i"
    done
}

# c2fsctl on the service alone.
meta() {
    "$C2FSCTL" -C "$COORD/client.conf" "$@"
}

# replica_says NUMBER FIELD : what `meta status` tells of it; "None" when it does not answer.
replica_says() {
    meta --json meta status | json "d['replicas'][$1 - 1].get('$2')"
}

replica_runs() { # NUMBER
    [ "$(replica_says "$1" mode)" = running ]
}

replicas_run() {
    [ "$(meta --json meta status | json 'd["state"]')" = ONLINE ]
}

# replica_counted NUMBER FIELD MIN : a counter of the replica has at least this value.
replica_counted() {
    local got
    got=$(replica_says "$1" "$2")
    [ "${got:-None}" != None ] && [ "$got" -ge "$3" ]
}
