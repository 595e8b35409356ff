#!/bin/bash
# SPDX-License-Identifier: MIT
# The table of calls x errors x side effects and random operations, on the mount and natively.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
[ "$(id -u)" -eq 0 ] || skip_all "the table changes users and needs root"
volume_new
mount_start -o allow_other=yes
mkdir "$WORK/native" "$MNT/table"
chmod 755 "$WORK"
check "the table on a native file system" "$BUILD/helpers/posix" "$WORK/native"
check "the table on the mount" "$BUILD/helpers/posix" "$MNT/table"
rounds=${ROUNDS:-6} operations=${OPERATIONS:-3000}
for seed in $(seq "$SEED" $((SEED + rounds - 1))); do
    mkdir "$WORK/native/$seed" "$MNT/$seed"
    check "random operations, seed $seed" "$BUILD/helpers/fsrandom" "$WORK/native/$seed" "$MNT/$seed" "$seed" "$operations"
done
remount_cold -o allow_other=yes
for seed in $(seq "$SEED" $((SEED + rounds - 1))); do
    check "random operations, seed $seed: the tree, cold" same_contents "$WORK/native/$seed" "$MNT/$seed"
done
mount_stop
finish
