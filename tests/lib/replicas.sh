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
TOLD=                     # by replica_told
declare -A REPLICA_BINARY=() # by number: another build than $METAD

# Free ports, all at once so that they differ. The kernel gives none of them to a connection: a
# replica that is down for a while finds its port free.
free_ports() { # N
    python3 - "$1" <<'END'
import random, socket, sys
low, high = map(int, open("/proc/sys/net/ipv4/ip_local_port_range").read().split())
ports = [p for p in range(10000, 65000) if not low <= p <= high]
random.shuffle(ports)
held = []
for port in ports:
    if len(held) == int(sys.argv[1]):
        break
    s = socket.socket()
    try:
        s.bind(("127.0.0.1", port))
        held.append(s)
    except OSError:
        pass
print(*(s.getsockname()[1] for s in held))
END
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

replica_launch() { # NUMBER
    local i=$1
    : >"$COORD/replica-$i/out" # here: what it said last time must be gone when this returns
    "${REPLICA_BINARY[$i]-$METAD}" -C "$COORD/replica-$i/c2fs-metad.conf" -f \
        </dev/null >>"$COORD/replica-$i/out" 2>>"$COORD/replica-$i/log" &
    REPLICA_PID[i]=$!
}

# Waits until it listens: it takes part as soon as enough of the others do.
replica_started() { # NUMBER
    local i=$1 line
    wait_for 60 replica_up_or_gone "$i"
    line=$(cat "$COORD/replica-$i/out")
    must "replica $i starts: $line" alive "${REPLICA_PID[i]}"
}

replica_start() { # NUMBER
    replica_launch "$1"
    replica_started "$1"
}

replica_up_or_gone() { # NUMBER
    grep -q 'takes part' "$COORD/replica-$1/out" || ! alive "${REPLICA_PID[$1]}"
}

# All at once: a mount that cannot reach enough of them for 30 seconds gives up its session.
replicas_start() { # [NUMBER...] : all of them by default
    local i
    [ $# -gt 0 ] || set -- $(seq "$REPLICAS")
    for i in "$@"; do replica_launch "$i"; done
    for i in "$@"; do replica_started "$i"; done
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

# replica_told NUMBER FIELD : the same, in $TOLD; fails when it does not answer in time.
replica_told() {
    TOLD=$(replica_says "$1" "$2")
    [ -n "$TOLD" ] && [ "$TOLD" != None ]
}

replica_is() { # NUMBER MODE
    [ "$(replica_says "$1" mode)" = "$2" ]
}

replica_runs() { # NUMBER
    replica_is "$1" running
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
