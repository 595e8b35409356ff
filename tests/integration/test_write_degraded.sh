#!/bin/bash
# SPDX-License-Identifier: MIT
# Writes with one provider down or hanging succeed; with two, the journal takes them until they return.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
sample_set "$WORK/src" --sensors 150 --images 3 --large 1x6M
for p in "${PROVIDERS[@]}"; do PROVIDER_EXTRA[$p]="timeout = 3s"$'\n'"fault ="; done
volume_new
mount_start

for fault in error:100% hang noack lie full; do
    provider_fault p2 "$fault"
    name=${fault%%:*}
    check "one provider, $fault: rsync" rsync -aHAX "$WORK/src/" "$MNT/$name/"
    check "one provider, $fault: flush ends well" timeout 300 "$C2FSCTL" -C "$CONF" -V t flush
    provider_fault p2 ""
done

backlog() { # is there any?
    [ "$(c2 --json status | json 'd["backlog"]["files"]')" -gt 0 ]
}
provider_fault p2 down
provider_fault p3 down
check "two providers down: rsync" timeout 300 rsync -aHAX "$WORK/src/" "$MNT/two/"
check "two providers down: reads back" same_tree "$WORK/src" "$MNT/two"
check "two providers down: status shows the backlog" backlog
check "two providers down: flush says it is waiting" ends_with 12 timeout 300 "$C2FSCTL" -C "$CONF" -V t flush --timeout 5s
check "two providers down: state of a file" [ "$(getfattr --absolute-names --only-values -n user.c2fs.state "$MNT/two/odd/empty" "$MNT/two/studies/recording-0.bin" 2>/dev/null | grep -c committed)" -eq 0 ]

# The backlog survives a crash of the daemon.
mount_kill
mount_start
check "after a crash: reads back" same_tree "$WORK/src" "$MNT/two"
flush
check "after the providers returned: no backlog" fails backlog
remount_cold
for name in error hang noack lie full two; do
    check "$name: every byte and attribute, cold" same_tree "$WORK/src" "$MNT/$name"
done
provider_fault p1 down
must "empty the cache" c2 cache clear
for name in error hang noack lie full two; do
    check "$name: readable without p1" same_contents "$WORK/src" "$MNT/$name"
done
mount_stop
finish
