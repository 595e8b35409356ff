#!/bin/bash
# SPDX-License-Identifier: MIT
# The installed library of the coordination service: pkg-config, exports; the example with a replica gone.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"

case $BUILD in *clang*) CC=${CC:-clang} ;; *) CC=${CC:-gcc} ;; esac
sanitize=()
case $BUILD in
*-asan) sanitize=("-fsanitize=address,undefined") ;;
*-tsan) sanitize=("-fsanitize=thread") ;;
esac
root=$WORK/root
must "install" make -C "$TOP" -s --no-print-directory "BUILD=$BUILD" "DESTDIR=$root" PREFIX=/opt/c2 \
    SYSCONFDIR=/opt/c2/etc SBINDIR=/opt/c2/sbin install-files
export PKG_CONFIG_PATH=$root/opt/c2/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root
check "pkg-config knows c2coord" [ "$(pkg-config --modversion c2coord)" = "$(cat "$TOP/VERSION")" ]
lib=$root/opt/c2/lib
include=$root/opt/c2/include/c2coord-0
mapfile -t headers < <(cd "$include" && find . -name '*.h')
(cd "$include" && "$TOP/packaging/library-symbols" "${headers[@]}") >"$WORK/declared"
nm -D --defined-only "$lib/libc2coord.so.0" | awk '$2 ~ /[TDRB]/ { print $3 }' |
    grep -vE '^(__|_init|_fini)' | LC_ALL=C sort -u >"$WORK/exported"
check "exports are the declarations" diff "$WORK/declared" "$WORK/exported"
manual() {
    local name
    for name in $(grep '^coord_' "$WORK/declared"); do
        cat "$root"/opt/c2/share/man/man3/*coord*.3 | grep -qE "^\.Nm $name( |$)" ||
            { echo "no manual page has $name"; return 1; }
    done
}
check "every function has a manual page" manual
each_header() {
    local header
    for header in "${headers[@]}"; do
        echo "#include <${header#./}>" >"$WORK/one.c"
        "$CC" -std=c11 -Wall -Wextra -pedantic -Werror -fsyntax-only -I "$include" "$WORK/one.c" || return 1
    done
}
check "every header compiles alone, in plain C11" each_header
build() { # shared|static
    local flags=() libs=()
    read -r -a flags <<<"$(pkg-config --cflags c2coord)"
    if [ "$1" = static ]; then
        read -r -a libs <<<"$(pkg-config --static --libs c2coord)"
        libs=("${libs[@]/#-lc2coord/-l:libc2coord.a}")
    else
        read -r -a libs <<<"$(pkg-config --libs c2coord)"
        libs+=("-Wl,-rpath,$lib")
    fi
    "$CC" -std=c11 -Wall -Wextra -Werror "${sanitize[@]}" "${flags[@]}" \
        "$root/opt/c2/share/doc/libc2coord/examples/kv.c" -o "$WORK/kv-$1" "${libs[@]}"
}
for kind in shared static; do must "kv builds, $kind" build "$kind"; done

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
