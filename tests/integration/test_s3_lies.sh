#!/bin/bash
# SPDX-License-Identifier: MIT
# A real S3 server whose answers are changed on the way, T01 to T15, while files are copied and read cold: all exact, then mended.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
# ALL=1: every threat, told of a server of each make.
FILES=${FILES:-16} # small files that are copied under each of them
READS=${READS:-30} # random reads of 4 KiB
[ -z "${ALL-}" ] || THREATS=${THREATS:-T01 T02 T03 T04 T05 T06 T07 T08 T09 T10 T11 T12 T13 T14 T15}
[ -z "${ALL-}" ] || TWO=${TWO:-$THREATS}
THREATS=${THREATS:-T01 T03 T05 T08 T12 T14}
TWO=${TWO:-T04} # told by two of four
DEADLINE=600    # seconds that one piece of work may take
# shellcheck source=tests/lib/s3_volume.sh
. "$LIB/s3_volume.sh"
VOLUME_EXTRA=("pack_size = 256K" "pack_delay = 100ms" "repair = manual" "gc = no" "redundancy = full")
sample_set "$WORK/src" --sensors "$FILES" --images 2 --large 1x1M

s3_start one rgw us-east-1
two=one
if [ -n "${ALL-}" ]; then
    two=two
    s3_start two swift us-east-1
fi
s3_provider p1 one c2fs-1
s3_provider p2 $two c2fs-2
s3_provider p3 one c2fs-3
s3_provider p4 $two c2fs-4
# All of them go through a program that can lie, so that no one is read less than the others.
declare -A honest=()
for p in "${PROVIDERS[@]}"; do
    liar_start "$p"
    PROVIDER_EXTRA[$p]+=$'\nretries = 1\nbackoff = 5ms'
    honest[$p]=${PROVIDER_EXTRA[$p]}
done

in_time() { # COMMAND...
    timeout "$DEADLINE" "$@"
}
# Every read is exact, or ends with EIO. Sets exact and eio.
read_all() { # TREE [READS SEED]
    in_time "$LIB/read_exact" "$WORK/src" "$@" >"$WORK/read.out" || return 1
    read -r exact eio <"$WORK/read.out"
    echo "$exact exact, $eio EIO"
}
all_exact() { # TREE [READS SEED]
    read_all "$@" && [ "$exact" -gt 0 ] && [ "$eio" -eq 0 ]
}
nothing_to_do() { # SRC DST : rsync finds no difference
    in_time rsync -aHAXi "$1/" "$2/" >"$WORK/rsync.out" || return 1
    cat "$WORK/rsync.out"
    [ ! -s "$WORK/rsync.out" ]
}
# It may find something.
scrub() { # OPTION...
    local rc
    in_time "$C2FSCTL" -C "$CONF" -V t --progress=none scrub start "$@"
    rc=$?
    [ "$rc" -eq 0 ] || [ "$rc" -eq 6 ] || { echo "exit code $rc"; return 1; }
}
mended() {
    c2 --progress=none repair && c2 --progress=none scrub start --data
}
report() { # EXPRESSION of the scrub's report
    c2 --json scrub report | json "$1"
}
evidence() { # PROVIDER : pieces of it
    c2 --json provider evidence "$1" | json "len([e for e in d['evidence'] if e['provider'] == '$1'])"
}

told() { # THREAT PROVIDER... : lies so far
    local p threat=$1 sum=0
    shift
    for p; do sum=$((sum + $(lies_told "$p" "$threat"))); done
    echo "$sum"
}

# One provider lies, while all kinds of work go on; then it does not any more.
endures() { # THREAT PROVIDER
    local threat=$1 p=$2 name="$1 at $2" at=$MNT/$1-$2
    mount_stop
    [ "$threat" != T08 ] || PROVIDER_EXTRA[$p]+=$'\ntimeout = 3s'
    write_conf
    lie "$p" "$([ "$threat" = T03 ] && echo mark || echo "$threat")"
    mount_start
    check "$name: cp -a" in_time cp -a "$WORK/src" "$at"
    check "$name: into the clouds" in_time "$C2FSCTL" -C "$CONF" -V t flush
    lie "$p" "$threat"
    must "empty the cache" c2 cache clear
    check "$name: random reads, cold" all_exact "$at" "$READS" "$SEED"
    check "$name: every byte" all_exact "$at"
    check "$name: rsync has nothing to do" nothing_to_do "$WORK/src" "$at"
    case $threat in T09 | T14) check "$name: scrub of lists" scrub --exists ;; esac
    # Reads may have been served by others.
    [ -z "${ALL-}" ] && [[ $threat != T0[124] ]] && [ "$(told "$threat" "$p")" -gt 0 ] || check "$name: scrub" scrub --data
    check "$name: it happened" [ "$(told "$threat" "$p")" -gt 0 ]
    case $threat in T01 | T02 | T04) check "$name: there is evidence" [ "$(evidence "$p")" -gt 0 ] ;; esac
    check "$name: no redirect was followed" [ "$(told followed "$p")" -eq 0 ]
    lie "$p" ""
    PROVIDER_EXTRA[$p]=${honest[$p]}
    check "$name: repair, then every byte of every share is there" wait_for "$DEADLINE" mended
    check "$name: every object is at its goal" \
        [ "$(report 'd["job"]["counters"]["verified"] == d["job"]["counters"]["objects"] > 0')" = true ]
    rm -rf "$at"
    flush
    must "collect what is not used any more" in_time "$C2FSCTL" -C "$CONF" -V t --yes gc --delete --retention 0
}

# More than f of them: the right bytes or an error, also of what is written meanwhile.
never_lies() { # THREAT PROVIDER...
    local p threat=$1 name before
    shift
    name="$threat at $*"
    before=$(told "$threat" "$@")
    for p; do lie "$p" "$threat"; done
    must "empty the cache" c2 cache clear
    check "$name: exact or EIO" read_all "$MNT/good"
    check "$name: rsync of new files" in_time rsync -aHAX "$WORK/src/" "$MNT/more-$threat/"
    c2 flush --timeout 1s >>"$LOG" 2>&1 # it may have to wait for them
    must "empty the cache" c2 cache clear
    check "$name: new files are exact or EIO" read_all "$MNT/more-$threat"
    check "$name: it happened" [ "$(told "$threat" "$@")" -gt "$before" ]
    for p; do lie "$p" ""; done
    check "$name: everything is back without a remount" wait_for "$DEADLINE" all_exact "$MNT/good"
    check "$name: what was written meanwhile, too" wait_for "$DEADLINE" all_exact "$MNT/more-$threat"
}

volume_new
mount_start
for threat in $THREATS; do
    endures "$threat" p1
    [ -z "${ALL-}" ] || endures "$threat" p2
done
mount_stop
write_conf
mount_start
must "fill" rsync -aHAX "$WORK/src/" "$MNT/good/"
flush
for threat in $TWO; do
    never_lies "$threat" p1 p2
done
mount_stop
finish
