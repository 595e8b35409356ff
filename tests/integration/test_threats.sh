#!/bin/bash
# SPDX-License-Identifier: MIT
# T01 to T15 at one provider while files are copied, read cold, synchronised, read at random: all exact.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
# The whole matrix: FILES=2000 ALL=1, with the default TEST_TIMEOUT raised. ALL=1 means: every threat
# at every provider in turn, mounted under the fault, repaired one by one; all of them at f+1
# providers; all of that for f = 2, n = 7.
FILES=${FILES:-16}  # small files of the data set
READS=${READS:-60} # random reads of 4 KiB
THREATS=${THREATS:-T01 T02 T03 T04 T05 T06 T07 T08 T09 T10 T11 T12 T13 T14 T15}
[ -z "${ALL-}" ] || TWO=${TWO-$THREATS} FIVE=${FIVE-$THREATS} SIX=${SIX-$THREATS}
TWO=${TWO-T01 T06}                           # at two of four
FIVE=${FIVE-T08}                             # at two of seven
SIX=${SIX-T03}                               # at three of seven
DEADLINE=$((FILES > 100 ? 900 : 120))        # seconds that one workload may take

VOLUME_EXTRA=("pack_size = 256K" "repair = manual" "gc = no")
EXTRA="retries = 1"$'\n'"backoff = 5ms"
sample_set "$WORK/src" --sensors "$FILES" --images 2 --large 1x1M

volume() { # [FORMAT OPTION...] : with faults that can be switched
    local p
    for p in "${PROVIDERS[@]}"; do PROVIDER_EXTRA[$p]="$EXTRA"$'\nfault ='; done
    volume_new "$@"
}
faults() { # SPEC PROVIDER... : of the running mount and of the next one
    local p spec=$1
    shift
    for p; do
        PROVIDER_EXTRA[$p]="$EXTRA"$'\n'"fault = $spec"
        provider_fault "$p" "$spec"
    done
    write_conf
}
injected() { # PROVIDER... : since the mount began
    local p sum=0
    for p; do sum=$((sum + $(c2 --json provider fault "$p" | json 'sum(d["injected"].values())'))); done
    echo "$sum"
}
in_time() { # COMMAND...
    timeout "$DEADLINE" "$@"
}
nothing_to_do() { # SRC DST : rsync finds no difference
    in_time rsync -aHAXi "$1/" "$2/" >"$WORK/rsync.out" || return 1
    cat "$WORK/rsync.out"
    [ ! -s "$WORK/rsync.out" ]
}
ends() { # COMMAND... : with any answer, but not by the clock
    "$@"
    [ $? -ne 124 ]
}
# Every read is exact, or ends with EIO. Sets exact and eio.
read_all() { # [READS SEED]
    in_time "$LIB/read_exact" "$WORK/src" "$at" "$@" >"$WORK/read.out" || return 1
    read -r exact eio <"$WORK/read.out"
    echo "$exact exact, $eio EIO"
}
all_exact() { # [READS SEED]
    read_all "$@" && [ "$exact" -gt 0 ] && [ "$eio" -eq 0 ]
}
scrub_in_time() { # OPTION...
    in_time "$C2FSCTL" -C "$CONF" -V t --progress=none scrub start "$@"
}
# It may find something.
scrub() { # OPTION...
    local rc
    scrub_in_time "$@"
    rc=$?
    [ "$rc" -eq 0 ] || [ "$rc" -eq 6 ] || { echo "exit code $rc"; return 1; }
}
# What is written while a provider comes back may be at too few again.
mended() {
    c2 --progress=none repair && c2 --progress=none scrub start --data
}
mends() { # NAME
    check "$1: repair, then every byte of every share is there" wait_for "$DEADLINE" mended
    check "$1: and every object is at its goal" test "$(c2 --json scrub report | json 'd["job"]["counters"]["verified"]')" \
        = "$(c2 --json scrub report | json 'd["job"]["counters"]["objects"]')"
}

# Up to f providers do what the threat says, while all kinds of work go on.
endures() { # THREAT PROVIDER...
    local threat=$1 name p written=0
    shift
    name="$threat at $*"
    at=$(tr ' ' - <<<"$MNT/$threat-$*")
    # A new mount, since the last one knows whom to avoid. Nothing is read from a seat without shares.
    VOLUME_EXTRA[3]=
    [ "$1" != p4 ] || VOLUME_EXTRA[3]="redundancy = full"
    for p; do PROVIDER_EXTRA[$p]="$EXTRA"$'\n'"fault = $threat"; done
    mount_stop
    write_conf
    mount_start
    check "$name: cp -a" in_time cp -a "$WORK/src" "$at"
    check "$name: into the clouds" in_time "$C2FSCTL" -C "$CONF" -V t flush
    must "empty the cache" c2 cache clear
    check "$name: random reads, cold" all_exact "$READS" "$SEED"
    if [ -n "${ALL-}" ]; then
        check "$name: scrub" scrub --data # reads shares that nobody needs
        written=$(injected "$@")
        remount_cold
    fi
    check "$name: every byte" all_exact
    check "$name: rsync has nothing to do" nothing_to_do "$WORK/src" "$at"
    [ "$threat" != T14 ] || check "$name: scrub of lists" scrub --exists
    # On a slow machine others may have been faster at all of it. A scrub asks everybody.
    [ $((written + $(injected "$@"))) -gt 0 ] || check "$name: scrub" scrub --data
    if [ $((written + $(injected "$@"))) -gt 0 ]; then
        check "$name: the fault happened" true
    else
        skip "$name: nothing was asked of this provider"
    fi
    faults "" "$@"
    if [ -n "${ALL-}" ]; then
        mends "$name"
        check "$name: every byte and attribute without the fault" same_tree "$WORK/src" "$at"
        rm -rf "$at"
        flush
        must "collect what is not used any more" in_time "$C2FSCTL" -C "$CONF" -V t --yes gc --delete --retention 0
    fi
}

# More than f of them: an error or the right bytes, whatever was written before and is written now.
never_lies() { # THREAT PROVIDER...
    local threat=$1 name before
    shift
    name="$threat at $*"
    # A mount that remembers the last threat asks these providers as little as it can.
    remount_cold
    before=$(injected "$@")
    faults "$threat" "$@"
    at=$MNT/good
    check "$name: exact or EIO" read_all
    # What is written goes to the journal, whatever the clouds say; flush may have to wait for them.
    at=$MNT/more-$threat
    check "$name: rsync of new files" in_time rsync -aHAX "$WORK/src/" "$at/"
    c2 flush --timeout 1s >/dev/null 2>&1
    must "empty the cache" c2 cache clear
    check "$name: new files are exact or EIO" read_all
    # Nothing else asks for lists. More than f of them are believed by nobody.
    [ "$threat" != T14 ] || check "$name: scrub of lists ends" ends scrub_in_time --exists
    check "$name: the fault happened" [ "$(injected "$@")" -gt "$before" ]
    faults "" "$@"
    at=$MNT/good
    check "$name: everything is back without a remount" wait_for "$DEADLINE" all_exact
    [ -z "${ALL-}" ] || rm -rf "$MNT/more-$threat"
}

# ---- f = 1, n = 4 -------------------------------------------------------------------------------

volume
mount_start
k=0
for threat in $THREATS; do
    for p in "${PROVIDERS[@]}"; do
        # Reads need the first two; the fourth is the spare of writes.
        [ -n "${ALL-}" ] || [ "$p" = "${PROVIDERS[$((k % 2))]}" ] || continue
        endures "$threat" "$p"
    done
    k=$((k + 1))
done
# Without a share at every provider, so that two of four cannot be avoided.
VOLUME_EXTRA[3]=
mount_stop
write_conf
mount_start
must "fill" rsync -aHAX "$WORK/src/" "$MNT/good/"
flush
mends "all of them"
remount_cold
for at in "$MNT"/*; do
    check "$(basename "$at"): every byte after a new mount" all_exact
done
for threat in $TWO; do
    never_lies "$threat" p1 p2
done
mount_stop

# ---- f = 2, n = 7 -------------------------------------------------------------------------------

volume_forget
PROVIDERS=(p1 p2 p3 p4 p5 p6 p7)
volume --f 2
mount_start
must "fill" rsync -aHAX "$WORK/src/" "$MNT/good/"
flush
k=0
for threat in $FIVE; do
    endures "$threat" "p$((k % 5 + 1))" "p$((k % 5 + 2))"
    k=$((k + 1))
done
mends "f = 2"
for threat in $SIX; do
    never_lies "$threat" p1 p2 p3
done
mount_stop
finish
