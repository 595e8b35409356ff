#!/bin/bash
# SPDX-License-Identifier: MIT
# Library of the integration tests: a work directory, a volume over four directory providers, a
# daemon under the test's control, checks that are counted, damage to providers. A test is
#
#     . "$(dirname "$0")/../lib/integration.sh"
#     begin; volume_new; mount_start; check "what must hold" COMMAND...; finish
#
# A test holds on a machine of any speed and load: it waits for a state instead of for a time, makes
# what must be at work go on until it is told to stop, damages what is certainly read, and decides by
# counts. Where a moment is random (kills), every moment is fine.
#
# Environment: C2FS_BUILD (folder of the programs), C2FS_TEST_DIR (where work directories go),
# C2FS_TEST_KEEP=1 (keep the work directory), SEED (of whatever is random), METADATA=bft (the volume
# keeps its metadata on four replicas instead of in a folder, see replicas.sh).

set -u
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=$(cd "$TOP" && readlink -f "${C2FS_BUILD:-build/gcc-asan}")
C2FS=$BUILD/c2fs
C2FSCTL=$BUILD/c2fsctl
LIB=$TOP/tests/lib
PROVIDERS=(p1 p2 p3 p4)
NAME=$(basename "$0" .sh)
NAME=${NAME#test_}
SEED=${SEED:-1}

# shellcheck source=tests/lib/replicas.sh
. "$LIB/replicas.sh"

passed=0 failed=0 skipped=0
DAEMON=
declare -A PROVIDER_URL=()   # instead of a directory in the work directory
declare -A PROVIDER_EXTRA=() # lines to add to a provider's section
declare -a GLOBAL_EXTRA=()   # lines to add to the [c2fs] section
declare -a VOLUME_EXTRA=()   # lines to add to the volume's section
declare -a STARTED=()        # processes to end
declare -a AT_END=()         # commands to run at the end

# ---- frame --------------------------------------------------------------------------------------

begin() {
    unshared "$0" "$@"
    clean_environment
    WORK=$(mktemp -d "$(work_top)/c2fs-$NAME.XXXXXX")
    MNT=$WORK/mnt
    CONF=$WORK/c2fs.conf
    LOG=$WORK/c2fs.log
    mkdir "$MNT"
    export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:log_path=$WORK/sanitizer
    export UBSAN_OPTIONS=print_stacktrace=1:log_path=$WORK/sanitizer
    export LSAN_OPTIONS=suppressions=$TOP/tests/suppressions/lsan:print_suppressions=0
    trap cleanup EXIT
    trap 'exit 130' INT TERM
    [ -x "$C2FS" ] || die "no $C2FS; run make first"
    [ -c /dev/fuse ] || skip_all "no /dev/fuse here"
}

# A mount namespace of its own: nothing stays mounted whatever happens to the test. A network of its
# own, where that is allowed: nobody else takes a port or connects to one.
unshared() { # SCRIPT ARGUMENT...
    local network=()
    if [ "$(id -u)" -eq 0 ] && [ -z "${C2FS_TEST_UNSHARED-}" ]; then
        ! unshare -n "$LIB/loopback_up" 2>/dev/null || network=(-n "$LIB/loopback_up")
        C2FS_TEST_UNSHARED=1 exec unshare -m --propagation private "${network[@]}" "$@"
    fi
}

# What the caller has set for programs of its own must not matter.
clean_environment() {
    local name
    for name in $(compgen -e); do
        case $name in
        C2FS_TEST_* | C2FS_BUILD | C2FS_METAD | C2FS_LIES*) ;;
        C2FS_* | GIT_* | [a-z]*_proxy | *_PROXY | MAKEFLAGS | MFLAGS | MAKELEVEL | MAKEOVERRIDES | CDPATH | \
            GREP_* | RSYNC_* | POSIXLY_CORRECT | TAR_OPTIONS | XZ_* | TZ | LC_* | LANG | LANGUAGE | NOTIFY_SOCKET | \
            CREDENTIALS_DIRECTORY) unset "$name" ;;
        esac
    done
    export LC_ALL=C.UTF-8
    umask 022
}

# Where work directories go: a short path, for sockets, which other users may enter.
work_top() {
    local top=${C2FS_TEST_DIR:-${TMPDIR:-/tmp}}
    if [ ${#top} -gt 48 ] || { [ "$(id -u)" -eq 0 ] && ! setpriv --reuid=1 --regid=1 --clear-groups test -x "$top"; }; then
        top=/tmp
    fi
    echo "$top"
}

die() {
    echo "$NAME: cannot go on: $*" >&2
    failed=$((failed + 1))
    exit 1
}

skip() { # REASON : one check that cannot be made here
    echo "$NAME: skipped: $*"
    skipped=$((skipped + 1))
}

skip_all() {
    skip "$*"
    exit 0
}

note() {
    [ -z "${C2FS_TEST_VERBOSE-}" ] || echo "$NAME: $*"
    echo "== $*" >>"$LOG"
}

# check TEXT COMMAND... : the command must succeed; a failure is counted and the test goes on.
check() {
    local text=$1
    shift
    echo "== check: $text" >>"$LOG"
    if "$@" >"$WORK/check.out" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $NAME: $text"
        head -n 20 "$WORK/check.out" | sed 's/^/    /'
    fi
}

# must TEXT COMMAND... : like check, but nothing after it makes sense when it fails.
must() {
    local before=$failed
    check "$@"
    [ "$failed" -eq "$before" ] || exit 1
}

# ends_with CODE COMMAND... : the command's exit code is CODE.
ends_with() {
    local want=$1 rc
    shift
    "$@"
    rc=$?
    [ "$rc" -eq "$want" ] || { echo "exit code $rc instead of $want: $*"; return 1; }
}

fails() {
    ! "$@"
}

# wait_for SECONDS COMMAND... : until the command succeeds. SECONDS are what it may take on a quiet
# machine; a loaded one gets some minutes.
wait_for() {
    local deadline=$((SECONDS + 4 * $1 + 60))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || { echo "waited in vain for: $*"; return 1; }
        sleep 0.1
    done
}

finish() {
    exit 0
}

# The work directory and a script that repeats the test stay behind after a failure.
cleanup() {
    local rc=$? pid command
    trap - EXIT
    [ "$rc" -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
    for pid in "${STARTED[@]}" $DAEMON "${REPLICA_PID[@]}"; do
        [ -n "$pid" ] || continue
        kill -9 "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    for command in "${AT_END[@]}"; do $command >>"$LOG" 2>&1; done
    umount -l "$MNT" 2>/dev/null || fusermount3 -uz "$MNT" 2>/dev/null
    if compgen -G "$WORK/sanitizer.*" >/dev/null; then
        failed=$((failed + 1))
        echo "FAILED: $NAME: the sanitizer found something"
        head -n 40 "$WORK"/sanitizer.* | sed 's/^/    /'
    fi
    if [ "$failed" -gt 0 ]; then
        {
            echo '#!/bin/bash'
            echo "# Repeats the failed test; its files are beside this script."
            echo "cd '$TOP' && SEED=$SEED METADATA=$METADATA C2FS_BUILD='$BUILD' C2FS_TEST_KEEP=1 '$0'"
        } >"$WORK/repro.sh"
        chmod +x "$WORK/repro.sh"
        tail -n 15 "$LOG" 2>/dev/null | sed 's/^/    log: /'
        echo "    kept: $WORK (repro.sh repeats it)"
    elif [ -z "${C2FS_TEST_KEEP-}" ]; then
        rm -rf --one-file-system "$WORK"
    fi
    echo "$NAME: $passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ] || exit 1
    exit 0
}

# started PID : a process that must end with the test.
started() {
    STARTED+=("$1")
}

# ---- the volume ---------------------------------------------------------------------------------

write_conf() {
    local p
    {
        echo '[c2fs]'
        [ ${#GLOBAL_EXTRA[@]} -eq 0 ] || printf '%s\n' "${GLOBAL_EXTRA[@]}"
        [ "$METADATA" != bft ] || echo "include = $COORD/client.conf"
        echo '[volume "t"]'
        if [ "$METADATA" = bft ]; then
            echo "metadata = bft:coord"
        else
            echo "metadata = local:$WORK/meta"
        fi
        echo "key_file = $WORK/t.key"
        echo "cache_dir = $WORK/cache"
        [ ${#VOLUME_EXTRA[@]} -eq 0 ] || printf '%s\n' "${VOLUME_EXTRA[@]}"
        for p in "${PROVIDERS[@]}"; do
            echo "[provider \"$p\"]"
            echo "url = ${PROVIDER_URL[$p]-dir:$WORK/$p}"
            [ -z "${PROVIDER_EXTRA[$p]-}" ] || printf '%s\n' "${PROVIDER_EXTRA[$p]}"
        done
    } >"$CONF"
}

c2() {
    "$C2FSCTL" -C "$CONF" -V t "$@"
}

volume_new() { # [FORMAT OPTION...]
    local p
    for p in "${PROVIDERS[@]}"; do mkdir -p "$WORK/$p"; done
    if [ "$METADATA" = bft ] && [ -z "$COORD" ]; then
        replicas_new
        replicas_start
    fi
    write_conf
    must "format a volume" "$C2FSCTL" -C "$CONF" format t --no-passphrase "$@"
}

mounted() { # and alive: the kernel remembers the folder of a dead one
    # In this order: a daemon takes a dead mount away before it makes its own.
    stat -f "$MNT" >/dev/null 2>&1 && mountpoint -q "$MNT"
}
# In the background mode, as users start it.
mount_daemon() { # [OPTION...]
    must "mount in the background" timeout 300 "$C2FS" t "$MNT" -C "$CONF" "$@"
    DAEMON=$(daemon_pid)
}

# A zombie waits for its parent and lives no more.
alive() { # PID
    [ -d "/proc/$1" ] && ! grep -q '^State:.*Z' "/proc/$1/status"
}

# The process that serves our mount point, found by its own program and arguments.
daemon_pid() {
    local dir
    for dir in /proc/[0-9]*; do
        [ "$(readlink "$dir/exe" 2>/dev/null)" = "$(readlink -f "$C2FS")" ] || continue
        tr '\0' '\n' <"$dir/cmdline" | grep -qxF "$MNT" && echo "${dir#/proc/}" && return
    done
    return 1
}

daemon_gone_or_mounted() {
    mounted || ! alive "$DAEMON"
}

mount_start() { # [OPTION...] : in the foreground mode, as a child of the test
    "$C2FS" t "$MNT" -C "$CONF" -f "$@" >>"$LOG" 2>&1 &
    DAEMON=$!
    wait_for 60 daemon_gone_or_mounted
    # A dead mount that is being cleaned up can look mounted and alive for a moment.
    must "mount" wait_for 10 mounted
}

mount_stop() {
    must "unmount" timeout 300 "$C2FSCTL" -C "$CONF" umount "$MNT"
    must "the daemon ends" wait_for 60 fails alive "$DAEMON"
    wait "$DAEMON"
    local rc=$?
    DAEMON=
    must "the daemon ends well (exit code $rc)" [ "$rc" -eq 0 ]
}

mount_kill() {
    kill -9 "$DAEMON"
    wait "$DAEMON" 2>/dev/null
    DAEMON=
}

flush() {
    must "flush" timeout "${1:-600}" "$C2FSCTL" -C "$CONF" -V t flush
}

# What is in the store fits together; everything else in the test says it, too, or will.
check_fsck() { # [OPTION...]
    flush 300
    check "fsck finds nothing" c2 fsck "$@"
}

# Unmounts, forgets what is cached of the clouds' contents, mounts again.
remount_cold() {
    mount_stop
    must "empty the cache" c2 cache clear
    mount_start "$@"
}

# json EXPRESSION : evaluates Python on the object read from stdin, named d.
json() {
    python3 -c '
import json, sys
d = json.load(sys.stdin)
v = eval(sys.argv[1])
print(str(v).lower() if isinstance(v, bool) else v)' "$1"
}

# A late answer on a loaded machine is nothing that a test is about: it passes.
healthy() {
    wait_for 60 c2 status
}

status_is() { # EXPRESSION VALUE
    local got
    got=$(c2 --json status | json "$1")
    [ "$got" = "$2" ] || { echo "status: $1 is $got, not $2"; return 1; }
}

# ---- trees --------------------------------------------------------------------------------------

# Names, kinds, modes, owners, sizes, link counts of files, times, targets, attributes.
attributes_of() {
    (
        cd "$1" || exit 1
        find . -type d -printf '%P %y %m %U %G %T@\n' -o -printf '%P %y %m %U %G %n %s %T@ %l\n' | sort
        find . -print0 | sort -z | xargs -0 getfattr -hd -m '^(user|trusted|security|system)\.' -e hex -- 2>/dev/null |
            grep -v '^user\.c2fs\.'
    )
}

same_tree() { # WANT GOT : contents and every attribute
    local rc=0
    rsync -aHAXc --dry-run -i --delete "$1"/ "$2"/ >"$WORK/rsync.out" 2>&1 || rc=1
    [ ! -s "$WORK/rsync.out" ] || rc=1
    head -n 10 "$WORK/rsync.out"
    diff <(attributes_of "$1") <(attributes_of "$2") >"$WORK/attributes.diff" || rc=1
    head -n 10 "$WORK/attributes.diff"
    return $rc
}

same_contents() { # WANT GOT ; diff has a message for two fifos, that they are fifos
    diff -r --no-dereference "$1" "$2" >"$WORK/contents.diff" 2>&1
    ! grep -vE '^File .* is a (fifo|socket|.* special file) while file .* is a \1$' "$WORK/contents.diff"
}

sample_set() { # DIR [PHR_GEN OPTION...]
    local dir=$1
    shift
    "$LIB/phr_gen" --seed "$SEED" "$@" "$dir" >>"$LOG" 2>&1 || die "phr_gen"
}

# ---- damage -------------------------------------------------------------------------------------

# Keeps the state of the whole unmounted volume, to start from again: putting back a provider alone
# would roll it back behind the others.
volume_save() {
    local part
    [ "$METADATA" != bft ] || replicas_stop
    for part in "${PROVIDERS[@]}" "$(metadata_dir)" cache; do
        rm -rf "$WORK/saved-$part"
        cp -a "$WORK/$part" "$WORK/saved-$part"
    done
    [ "$METADATA" != bft ] || replicas_start
}

volume_restore() {
    local part
    [ "$METADATA" != bft ] || replicas_stop
    for part in "${PROVIDERS[@]}" "$(metadata_dir)" cache; do
        rm -rf "${WORK:?}/$part"
        cp -a "$WORK/saved-$part" "$WORK/$part"
    done
    [ "$METADATA" != bft ] || replicas_start
}

# Nothing is left of the unmounted volume.
volume_forget() {
    if [ "$METADATA" = bft ]; then
        replicas_stop
        COORD=
    fi
    rm -rf "${PROVIDERS[@]/#/$WORK/}" "${WORK:?}/$(metadata_dir)" "$WORK/cache" "$WORK/t.key"
}

# Where the metadata of the volume lies, below the work directory.
metadata_dir() {
    [ "$METADATA" = bft ] && echo coord || echo meta
}

# only_local REASON : the test makes no sense on replicas.
only_local() {
    [ "$METADATA" != bft ] || skip_all "METADATA=bft: $*"
}

# Providers that hold a share of each object of a file on the mount, best first: it depends on who
# answered in time. Reads ask the first ones.
providers_of() { # FILE
    local seat
    for seat in $(c2 --json info "$1" | json '" ".join(map(str, sorted(set.intersection(*(set(o["seats"]) for o in d["objects"])))))'); do
        echo "${PROVIDERS[$seat]}"
    done
}

# Providers that hold shares of file data: the spare seat may have none.
holders() {
    local p
    for p in "${PROVIDERS[@]}"; do
        [ -z "$(find "$WORK/$p" -path '*/o/*' -type f -print -quit 2>/dev/null)" ] || echo "$p"
    done
}

# provider_damage NAME delete|clear|corrupt|swap|empty|truncate|reseat : on disk, behind the daemon's back.
provider_damage() {
    "$LIB/damage" "$2" "$WORK/$1" "$SEED" >>"$LOG" || die "damage $2 $1"
}

# provider_fault NAME SPEC : of the running daemon; "" ends the fault.
provider_fault() {
    must "inject \"$2\" into $1" c2 provider fault "$1" "$2"
}
