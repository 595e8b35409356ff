#!/bin/bash
# SPDX-License-Identifier: MIT
# Names and contents appear in no bucket, cache, journal, metadata, log; keyless: in no one bucket.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
canary=CANARYxQ7patientZk93
fill() {
    mkdir "$MNT/$canary-folder"
    for i in 1 2 3 4 5; do
        yes "$canary contents $i" | head -c 30000 >"$MNT/$canary-folder/$canary-$i.txt"
    done
    printf '%s' "$canary short" >"$MNT/$canary-short"
    yes "$canary large" | head -c 9000000 >"$MNT/$canary-large"
    ln -s "$canary-target" "$MNT/$canary-link"
    setfattr -n "user.$canary" -v "$canary" "$MNT/$canary-short"
}
# The text as it is, and what it becomes in base64 at each of three offsets, in hex and reversed.
patterns() {
    python3 - "$canary" <<'END'
import base64, sys
text = sys.argv[1].encode()
print(sys.argv[1])
print(sys.argv[1][::-1])
print(text.hex())
for shift in range(3):
    print(base64.b64encode(b" " * shift + text)[4:-4].decode())
END
}
patterns >"$WORK/patterns"
absent_in() { # PATH...
    local found
    found=$(grep -raliF -f "$WORK/patterns" -- "$@" 2>/dev/null; find "$@" 2>/dev/null | grep -iF -f "$WORK/patterns")
    [ -z "$found" ] || { echo "$found"; return 1; }
}
check_all() { # WHEN
    check "$1: buckets" absent_in "$WORK"/p1 "$WORK"/p2 "$WORK"/p3 "$WORK"/p4
    check "$1: cache and journal" absent_in "$WORK/cache"
    check "$1: metadata" absent_in "$WORK/$(metadata_dir)"
    check "$1: log" absent_in "$LOG"
}
echo "$canary" >"$WORK/probe"
check "the search finds what is there" fails absent_in "$WORK/probe"

volume_new
mount_start -o log_level=trace
fill
check_all "while it is being written"
flush
check_all "after flush"
c2 cache clear >/dev/null 2>&1
cat "$MNT/$canary-folder"/* "$MNT/$canary-large" >/dev/null
check_all "after reading"
c2 info "$MNT/$canary-short" >/dev/null 2>&1
mount_kill
check_all "after a crash"
mount_start
check "and it can be read" grep -q "$canary contents 5" "$MNT/$canary-folder/$canary-5.txt"
check "something was stored" [ "$(du -s --apparent-size -k "$WORK/p1" "$WORK/p2" "$WORK/p3" "$WORK/p4" | awk '{s+=$1} END {print (s > 100)}')" -eq 1 ]
check "a mount point is not readable by others" [ "$(stat -c %a "$WORK/cache")" = 700 ]
mount_stop

volume_forget
volume_new --keyless
mount_start
fill
flush
mount_stop
for p in "${PROVIDERS[@]}"; do check "keyless: $p alone" absent_in "$WORK/$p"; done
finish
