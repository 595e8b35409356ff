#!/bin/bash
# SPDX-License-Identifier: MIT
# For tests of replicas while a copy is at work: sample files in $WORK/src, an rsync of them to
# $MNT/copy that goes on until it is told to stop, and what tells that the volume goes on. Sourced
# after integration.sh; FILES= is how many files.

copy_sample() {
    python3 - "$WORK/src" "$FILES" "$SEED" <<'END'
import os, random, sys
top, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)
for i in range(count):
    folder = f"{top}/{i // 50:03d}"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/{i:05d}", "wb") as f:
        f.write(rng.randbytes(rng.randrange(1, 16384)))
END
}
RSYNC=
# Copies again and again until it is told to stop, so that it is at work whatever the machine does.
copy_start() { # [RSYNC OPTION...]
    [ $# -gt 0 ] || set -- -a --bwlimit=1500
    rm -f "$WORK/stop"
    : >"$WORK/rsync.log"
    while :; do
        rm -rf "$MNT/copy" || exit 1
        rsync "$@" "$WORK/src/" "$MNT/copy/" || exit 1
        [ ! -e "$WORK/stop" ] || exit 0
    done >"$WORK/rsync.log" 2>&1 &
    RSYNC=$!
    started $RSYNC
}
copy_end() { # WHEN
    touch "$WORK/stop"
    wait "$RSYNC"
    check "$1: rsync ends well" [ $? -eq 0 ]
    check "$1: rsync has said nothing" [ ! -s "$WORK/rsync.log" ]
    check "$1: flush" timeout 600 "$C2FSCTL" -C "$CONF" -V t flush
    check "$1: every byte" same_contents "$WORK/src" "$MNT/copy"
}
transactions() {
    c2 --json stats | json 'd["metadata"]["transactions"]'
}
more_transactions() { # THAN
    [ "$(transactions)" -gt "$1" ]
}
# What is written now gets committed.
goes_on() {
    local before
    before=$(transactions)
    wait_for 60 more_transactions "$((before + 1))"
}
