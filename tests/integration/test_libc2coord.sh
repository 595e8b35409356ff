#!/bin/bash
# SPDX-License-Identifier: MIT
# The installed library of the coordination service: pkg-config, exports; the example with a replica gone.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"

PACKAGE=c2coord
# shellcheck source=tests/lib/installed_library.sh
. "$LIB/installed_library.sh"
check "exports are the declarations" library_exports_declarations
manual() {
    local name
    for name in $(grep '^coord_' "$WORK/declared"); do
        cat "$root"/opt/c2/share/man/man3/*coord*.3 | grep -qE "^\.Nm $name( |$)" ||
            { echo "no manual page has $name"; return 1; }
    done
}
check "every function has a manual page" manual
check "every header compiles alone, in plain C11" library_headers_compile
for kind in shared static; do must "kv builds, $kind" library_build kv "$kind"; done

says() { # TEXT COMMAND...
    local want=$1 got
    shift
    got=$("$@" 2>/dev/null)
    [ "$got" = "$want" ] || { echo "got: $got"; return 1; }
}
kv() { # shared|static COMMAND...
    timeout 900 "$WORK/kv-$1" "$WHERE" "${@:2}"
}
use() {
    check "$1: put" kv shared put a/1 one
    check "$1: get by the other build" says one kv static get a/1
    check "$1: what is not there" ends_with 1 kv shared get nothing
    check "$1: a counter" says 1 kv shared count n
    check "$1: counts on" says 2 kv static count n
    check "$1: under a lock" says 1 kv shared exclusive m
}
WHERE=local:$WORK/folder
use "a folder"
replicas_new
replicas_start
WHERE=$COORD/client.conf
use "replicas"
kv shared watch a/ 2 >"$WORK/changes" 2>&1 &
watcher=$!
started $watcher
check "a watch begins" wait_for 60 grep -q reload "$WORK/changes"
replica_kill 2
check "a replica less: put" kv static put a/1 uno
check "a replica less: get" says uno kv shared get a/1
declare -a all=()
for i in 1 2 3 4 5; do
    kv shared exclusive m >>"$WORK/numbers" 2>&1 &
    all+=($!)
done
for pid in "${all[@]}"; do wait "$pid" || echo "one failed" >>"$WORK/numbers"; done
check "five at once under a lock: none counts twice" says "2 3 4 5 6" sh -c "sort -n '$WORK/numbers' | xargs"
check "put" kv shared put a/2 two
# After a "reload" it has missed something: there is more to see until it ends.
for _ in $(seq 20); do
    alive $watcher || break
    kv shared put a/1 eins >>"$LOG" 2>&1
    kv shared put a/2 zwei >>"$LOG" 2>&1
done
wait $watcher
rc=$?
check "the watch ends after two changes (exit code $rc)" [ "$rc" -eq 0 ]
check "they are those" says "2" grep -c '^set a/[12] version' "$WORK/changes"
check "usage" ends_with 2 "$WORK/kv-shared"
check "no such file" ends_with 1 "$WORK/kv-shared" "$WORK/none.conf" get a
replicas_stop
finish
