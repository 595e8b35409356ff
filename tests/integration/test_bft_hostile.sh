#!/bin/bash
# SPDX-License-Identifier: MIT
# Strangers at the replicas: half-open connections, floods of garbage and of hellos, oversized frames, other services' keys; clients that
# were admitted and mean harm. What they leave to others is measured by tests/bench/hostile; here nothing breaks, and it is
# certain that each attack has struck.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
OPS=${OPS:-200}
kvload=$BUILD/helpers/kvload
replicas_new
for i in $(seq "$REPLICAS"); do replica_conf "$i" "metrics = unix:$WORK/metrics-$i"; done
replicas_start
mapfile -t addresses < <(meta --json meta status | json '"\n".join(r["address"] for r in d["replicas"])')
check "all replicas run" wait_for 30 replicas_run

# Prints how many connections and bytes it got rid of.
cat >"$WORK/flood.py" <<'END'
import os, random, socket, struct, sys, threading
stop, addresses = sys.argv[1], [a.rsplit(":", 1) for a in sys.argv[2:]]
made = sent = 0
rng = random.Random(1)
kept = []
while not os.path.exists(stop):
    for host, port in addresses:
        try:
            s = socket.create_connection((host, int(port)), 5)
            s.settimeout(0.2)
        except OSError:
            continue
        made += 1
        if made == 300:
            open(sys.argv[1] + ".300", "w").close()
        kind = made % 4
        try:
            if kind == 0:  # nothing at all
                pass
            elif kind == 1:  # a TLS record that says it is huge, and goes on
                sent += s.send(b"\x16\x03\x01" + struct.pack(">H", 0xffff) + rng.randbytes(65535))
            elif kind == 2:  # garbage
                sent += s.send(rng.randbytes(4096))
            else:  # the beginning of a hello
                sent += s.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(20))
        except OSError:
            pass
        kept.append(s)
        if len(kept) > 600:  # most stay half open
            kept.pop(rng.randrange(len(kept))).close()
print(made, sent)
END
check "alone: no request fails" "$kvload" "$COORD/client.conf" bft:coord mix "$OPS" 2 2
python3 "$WORK/flood.py" "$WORK/stop" "${addresses[@]}" >"$WORK/flood.out" 2>>"$LOG" &
flood=$!
started $flood
check "there are hundreds of them" wait_for 60 [ -e "$WORK/stop.300" ]
check "beside strangers: no request fails" "$kvload" "$COORD/client.conf" bft:coord mix "$OPS" 2 2
check "a new client gets in" timeout 300 "$C2FSCTL" -C "$COORD/client.conf" kv put hello world
check "and is answered" grep -qx world <(meta kv get hello)
must "the strangers are at work" alive $flood

touch "$WORK/stop"
wait $flood
read -r made sent <"$WORK/flood.out"
echo "$NAME: $made strange connections, $sent bytes"

# A client of another service, made to look like one of ours: nobody has admitted its key.
must "another service" "$C2FSCTL" meta init "$WORK/other" --replica 127.0.0.1:1 --replica 127.0.0.1:2 --replica 127.0.0.1:3 --replica 127.0.0.1:4
mkdir "$WORK/stranger"
cp "$COORD/client.conf" "$COORD/root.pub" "$COORD/client.key" "$WORK/stranger/"
forge() { # OURS THEIRS : their key and signature, our cluster
    python3 - "$@" <<'END'
import base64, hashlib, sys
def fields(path):
    lines = open(path, encoding="ascii").read().split("\n")[1:]
    return base64.b64decode("".join(line for line in lines if not line.startswith("#")))[:-8]
ours, theirs = fields(sys.argv[1]), fields(sys.argv[2])
made = ours[:8] + theirs[8:]
made += hashlib.sha256(b"C2FS-CLIENT-KEY " + made).digest()[:8]
open(sys.argv[1], "w", encoding="ascii").write("C2FS-CLIENT-KEY 1\n" + base64.b64encode(made).decode() + "\n")
END
}
forge "$WORK/stranger/client.key" "$WORK/other/client.key"
check "a stranger with a forged key is not served" ends_with 5 timeout 300 "$C2FSCTL" -C "$WORK/stranger/client.conf" kv get hello

# counted METRIC : of all replicas together
counted() {
    local i
    for i in $(seq "$REPLICAS"); do
        curl -s --unix-socket "$WORK/metrics-$i" http://localhost/metrics
    done | awk -v name="c2fs_metad_$1" '$1 == name { sum += $2 } END { printf "%d\n", sum }'
}
# did FIELD MIN : of what the attacker says it has done
did() {
    local n
    n=$(tail -n 1 "$WORK/attack" | sed -n "s/.*\b$1=\([0-9]*\).*/\1/p")
    [ "${n:-0}" -ge "$2" ]
}
more() { # METRIC BEFORE MIN
    [ "$(counted "$1")" -ge $(($2 + $3)) ]
}
attack() { # PROGRAM ARGUMENT...
    "$@" </dev/null >"$WORK/attack" 2>>"$LOG" &
    attacker=$!
    started $attacker
}
attack_as() { # KIND
    attack "$BUILD/helpers/hostile" "$COORD/root.pub" "$COORD/admin.key" "$1" 2
}
# Beside the attack, which is at work before and after that.
others_are_served() { # KIND
    check "beside $1: no request fails" "$kvload" "$COORD/client.conf" bft:coord mix 20 1 2
    must "$1 goes on" alive $attacker
    kill -9 $attacker
    wait $attacker 2>/dev/null
}
added() { # what the commands of the replayed requests have added up to
    meta kv get hostile/counter | python3 -c 'import struct, sys; print(struct.unpack("<q", bytes.fromhex(sys.stdin.read().strip()[2:]))[0])'
}
note "clients that mean harm"
attack "$BUILD/helpers/stranger" hello "${addresses[@]}"
check "a flood of hellos is answered" wait_for 60 did answers 200
others_are_served hellos
attack_as frames
check "who sends oversized frames is disconnected, again and again" wait_for 60 did ended 12
others_are_served "oversized frames"
before=$(counted signatures_bad_total)
attack_as forged
check "wrong signatures are noticed by all" wait_for 60 more signatures_bad_total "$before" "$REPLICAS"
check "who signs wrongly is shut out" wait_for 60 more clients_turned_away_total 0 "$REPLICAS"
others_are_served "wrong signatures"
attack_as replay
check "old requests come by the hundred" wait_for 60 did sent 200
others_are_served "old requests"
check "they were executed once" [ "$(added)" = 64 ]
attack_as stale
check "requests of a closed session come by the hundred" wait_for 60 did sent 200
others_are_served "requests of a closed session"
check "they were not executed" [ "$(added)" = 64 ]
before=$(counted clients_caught_total)
attack_as stolen
check "who plays another client's requests is caught by all" wait_for 60 more clients_caught_total "$before" "$REPLICAS"
others_are_served "another client's requests"
check "they were executed once, as that one had wanted" [ "$(added)" = 128 ]
echo "$NAME: views left: $(counted view_changes_total)"

# A client that was admitted, with a key of its own, and wants everything at once. What it may have
# is counted in the unit test "metadata_budget"; here it must not stop anybody, and how fast the
# other one is meanwhile is printed.
note "a greedy client that was admitted"
GREEDY_OPS=${GREEDY_OPS:-40}
must "a key for it" meta meta client "$WORK/greedy"
requests() { # executed by the first replica
    replica_says 1 requests
}
modest() { # FILE : what kvload prints
    "$kvload" "$COORD/client.conf" bft:coord mix "$GREEDY_OPS" 1 2 >"$1"
}
seconds() { # FILE
    sed -n 's/.*seconds=\([0-9.]*\).*/\1/p' "$1"
}
check "alone: no request fails" modest "$WORK/alone"
KVLOAD_PREFIX=greedy "$kvload" "$WORK/greedy/client.conf" bft:coord put 100000000 8 64 >"$WORK/greedy.out" 2>>"$LOG" &
greedy=$!
started $greedy
before=$(requests)
goes_on_for_it() {
    local now
    now=$(requests)
    [ "$now" != None ] && [ "$now" -gt "$((before + 100))" ]
}
check "it is served" wait_for 60 goes_on_for_it
check "beside it: no request fails" modest "$WORK/beside"
must "it is at work" alive $greedy
kill -9 $greedy
wait $greedy 2>/dev/null
echo "$NAME: $GREEDY_OPS requests alone $(seconds "$WORK/alone") s, beside the greedy client $(seconds "$WORK/beside") s"
check "all replicas run" wait_for 30 replicas_run
for i in $(seq "$REPLICAS"); do check "replica $i was never restarted" alive "${REPLICA_PID[i]}"; done
replicas_stop
finish
