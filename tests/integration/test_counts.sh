#!/bin/bash
# SPDX-License-Identifier: MIT
# Requests, transactions and stored bytes of 10,000 files of 16 KiB (FILES=) and of large random files.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
FILES=${FILES:-10000}
LARGE_MB=${LARGE_MB:-128}
volume_new
mount_start

# Counters of the daemon: requests by verb over all providers, metadata transactions.
counter() { # EXPRESSION on `c2fsctl --json stats`
    c2 --json stats | json "$1"
}
puts() {
    counter 'sum(p["requests"]["put"] for p in d["providers"])'
}
gets() {
    counter 'sum(p["requests"]["get"] for p in d["providers"])'
}
transactions() {
    counter 'd["metadata"]["transactions"]'
}
stored() {
    find "$WORK"/p[1-4] -type f -printf '%s\n' | awk '{s += $1} END {print s + 0}'
}
at_most() { # WHAT GOT LIMIT
    echo "$NAME: $1: $2 (at most $3)"
    check "$1: $2 of at most $3" python3 -c "import sys; sys.exit(0 if float('$2') <= float('$3') else 1)"
}
scale() { # LIMIT for 10,000 files, in proportion to FILES but never below a tenth
    python3 -c "print(max($1 * $FILES / 10000, $1 / 10))"
}

python3 - "$WORK/src" "$FILES" "$SEED" <<'END'
import os, random, sys
top, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)
for i in range(count):
    folder = f"{top}/{i // 500:03d}"
    if i % 500 == 0:
        os.makedirs(folder)
    with open(f"{folder}/{i % 500:03d}", "wb") as f:
        f.write(rng.randbytes(16384))
END
flush
puts0=$(puts) transactions0=$(transactions) stored0=$(stored)
must "cp -r of $FILES files of 16 KiB" cp -r "$WORK/src" "$MNT/small"
flush
at_most "PUTs" $(($(puts) - puts0)) "$(scale 100)"
at_most "metadata transactions" $(($(transactions) - transactions0)) "$(scale 200)"
at_most "stored bytes per byte, small files" "$(python3 -c "print(($(stored) - $stored0) / ($FILES * 16384))")" 1.56

remount_cold
gets0=$(gets)
check "one file, cold" cmp "$WORK/src/003/250" "$MNT/small/003/250"
at_most "GETs for one cold file" $(($(gets) - gets0)) 3
gets0=$(gets)
for i in $(seq 245 255); do cmp "$WORK/src/003/$i" "$MNT/small/003/$i" || break; done
at_most "GETs for its neighbours in the pack" $(($(gets) - gets0)) 0

stored0=$(stored)
head -c "${LARGE_MB}M" /dev/urandom >"$WORK/large"
must "copy a large file" cp "$WORK/large" "$MNT/large"
flush
at_most "stored bytes per byte, large file" "$(python3 -c "print(($(stored) - $stored0) / ($LARGE_MB << 20))")" 1.51
gets0=$(gets)
must "rsync with nothing changed" rsync -a "$WORK/src/" "$MNT/small/"
at_most "GETs for an rsync with nothing changed" $(($(gets) - gets0)) 0
check "every byte" diff -r "$WORK/src" "$MNT/small"
mount_stop
finish
