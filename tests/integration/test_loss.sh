#!/bin/bash
# SPDX-License-Identifier: MIT
# Each provider in turn is deleted, corrupted, swapped, emptied, failing, hanging: reads stay exact.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
KINDS=${KINDS:-delete clear corrupt swap empty truncate error hang}
sample_set "$WORK/src" --sensors "${SENSORS:-60}" --images 2 --large 1x3M --sparse 10M
volume_new
mount_start
must "fill" rsync -aHAX "$WORK/src/" "$MNT/"
mount_stop
must "empty the cache" c2 cache clear
volume_save

# Faults on disk are there before the mount; the others are injected by the provider's own layer.
injure() { # KIND PROVIDER
    case $1 in
    error) PROVIDER_EXTRA[$2]="fault = error:100%" ;;
    hang) PROVIDER_EXTRA[$2]="fault = hang"$'\n'"timeout = 3s" ;;
    *) provider_damage "$2" "$1" ;;
    esac
    write_conf
}
heal() { # PROVIDER
    unset "PROVIDER_EXTRA[$1]"
    volume_restore
    write_conf
}
says_degraded() { # PROVIDER
    local rc
    c2 status >"$WORK/status.out"
    rc=$?
    cat "$WORK/status.out"
    [ "$rc" -eq 6 ] || { echo "exit code $rc"; return 1; }
    grep -q DEGRADED "$WORK/status.out" && grep -q "$1" "$WORK/status.out" &&
        grep -qi 'action:' "$WORK/status.out"
}
applies() { # KIND PROVIDER : a provider that holds nothing can only vanish or fail
    case $1 in
    delete | error | hang) true ;;
    swap) [ "$(find "$WORK/$2" -path '*/o/*' -type f | wc -l)" -ge 2 ] ;;
    *) grep -qx "$2" <<<"$holding" ;;
    esac
}
holding=$(holders)
for kind in $KINDS; do
    for p in "${PROVIDERS[@]}"; do
        applies "$kind" "$p" || continue
        injure "$kind" "$p"
        mount_start
        check "$p, $kind: every byte and attribute" same_tree "$WORK/src" "$MNT"
        check "$p, $kind: status is DEGRADED, names the provider and an action, exit 6" wait_for 60 says_degraded "$p"
        check "$p, $kind: status in JSON" wait_for 60 status_is 'd["state"].lower()' degraded
        mount_stop
        heal "$p"
    done
done
must "empty the cache" c2 cache clear
mount_start
check "all is well again" same_tree "$WORK/src" "$MNT"
check "status" healthy
check_fsck
mount_stop
finish
