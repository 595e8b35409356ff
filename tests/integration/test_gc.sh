#!/bin/bash
# SPDX-License-Identifier: MIT
# Deleted files leave the buckets, and nothing else does: killed in between, with a cloud away, recovered.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
VOLUME_EXTRA=("pack_delay = 100ms" "log_interval = 300ms" "gc_interval = 1d" "gc_rate = 100000" "pack_size = 64K")
PROVIDER_EXTRA[p2]="fault ="$'\n'"retries = 1"
sample_set "$WORK/src" --sensors 60 --images 3 --large 1x2M
objects() { # all shares of file data in all buckets
    find "$WORK"/p? -type f -path '*/o/*' ! -name '.c2tmp-*' | wc -l
}
same() { # EXPECTED GOT...
    [ "$1" = "$2" ] || { echo "expected $1, got $2"; return 1; }
}
gc_field() { # EXPRESSION [OPTION...]
    local expression=$1
    shift
    c2 --json gc "$@" | json "$expression"
}
nothing_left() { # what is unused is gone: nothing is free any more
    same 0 "$(gc_field 'd["free"]["objects"] + d["retained"]["objects"]' --retention 0)"
}
# Who does not answer in time on a loaded machine keeps its garbage for the next round.
collect() {
    wait_for 60 c2 gc --delete --retention 0
}
waste() { # files that are in the clouds, and deleted
    cp -a "$WORK/src" "$MNT/waste-$1"
    flush
    rm -rf "$MNT/waste-$1"
    flush
}

volume_new
mount_start
must "copy" cp -a "$WORK/src" "$MNT/kept"
flush
# A slow copy may have packed parts of files before the whole.
must "delete what the copy has left" collect
kept=$(objects)
deleted=$(c2 --json status | json 'd["garbage"]["deleted_objects"]')
note "a round on demand"
waste 1
more=$(objects)
check "the clouds have both" [ "$more" -gt "$((kept + 30))" ]
check "the retention counts" same 0 "$(gc_field 'd["free"]["objects"]')"
check "a dry run finds it" [ "$(gc_field 'd["free"]["objects"]' --retention 0)" -gt 10 ]
check "and each provider's part" [ "$(gc_field 'sum(p["objects"] for p in d["providers"])' --retention 0)" -gt 30 ]
check "and deletes nothing" same "$more" "$(objects)"
check "--dry-run wins" c2 --dry-run gc --delete --retention 0
check "nothing was deleted by it" same "$more" "$(objects)"
check "status knows of garbage" status_is 'd["garbage"]["waiting_objects"] > 10' true
check "delete" collect
check "the buckets shrink" same "$kept" "$(objects)"
check "nothing unused is left" nothing_left
check "status says so" status_is 'd["garbage"]["waiting_objects"]' 0
check "status counts" status_is 'd["garbage"]["deleted_objects"] > '"$deleted + 10" true

note "cold"
remount_cold
check "everything is there" same_tree "$WORK/src" "$MNT/kept"

note "with a cloud away"
waste 2
provider_fault p2 delete_many.error
check "it is not done" ends_with 6 c2 gc --delete --retention 0
provider_fault p2 ""
check "it is, when the cloud is back" collect
check "nothing unused is left" nothing_left
check "the buckets are as before" same "$kept" "$(objects)"

note "killed in the middle (KILLS=2)"
RANDOM=$SEED
for round in $(seq "${KILLS:-2}"); do
    waste "k$round"
    c2 gc --delete --retention 0 >>"$LOG" 2>&1 &
    collector=$!
    sleep "0.0$((RANDOM % 100))"
    mount_kill
    wait $collector
    mount_start
done
must "the next mount goes on" collect
check "nothing unused is left" nothing_left
check "everything is there" same_tree "$WORK/src" "$MNT/kept"

note "recovered from the clouds"
waste 3
must "delete" collect
mount_kill
rm -rf "$WORK/meta" "$WORK/cache"
must "recover" c2 recover --from-clouds
mount_start
check "everything is there" same_tree "$WORK/src" "$MNT/kept"
waste 4
must "the new machine collects" collect
check "nothing unused is left" nothing_left
check "everything is still there" same_tree "$WORK/src" "$MNT/kept"
mount_stop

note "in the background"
VOLUME_EXTRA=("pack_delay = 100ms" "log_interval = 300ms" "gc_interval = 1s" "gc_retention = 0")
write_conf
mount_start
waste 5
collected() { status_is 'd["garbage"]["deleted_objects"] > 0 and d["garbage"]["waiting_objects"] == 0' true; }
check "it happens by itself" wait_for 30 collected
check "everything is there in the end" same_tree "$WORK/src" "$MNT/kept"
check_fsck
mount_stop

note "read-only"
mount_start -o ro
refused() { ! c2 gc --delete >"$WORK/refused" 2>&1 && grep "mounted read-only" "$WORK/refused"; }
check "nothing is deleted on a read-only mount" refused
check "looking is fine" c2 gc
mount_stop
finish
