#!/bin/bash
# SPDX-License-Identifier: MIT
# kill -9 of the daemon at random moments of rsync and of a writer that logs its promises (KILLS=200).
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
KILLS=${KILLS:-12}
RANDOM=$SEED
durable=$BUILD/helpers/durable
sample_set "$WORK/src" --sensors 800 --images 10 --large 2x3M
VOLUME_EXTRA=("pack_delay = 200ms")
volume_new

# What has its final name was renamed there when complete: old, new or absent, never torn.
nothing_torn() {
    local bad=0 file
    while IFS= read -r -d '' file; do
        cmp -s "$WORK/src/$file" "$MNT/rsync/$file" || { echo "torn: $file"; bad=1; }
    done < <(cd "$MNT/rsync" && find . -type f ! -name '.*' -print0)
    return $bad
}
# Again and again, until the mount dies: whenever the kill comes, it is at work.
copy_on() {
    while rsync -aHAX "$WORK/src/" "$MNT/rsync/" && rm -rf "$MNT/rsync/patients"; do :; done
    return 3
}
both_alive() {
    alive "$writer" && alive "$copier"
}
mount_start
mkdir "$MNT/durable" "$MNT/rsync"
flush
for round in $(seq "$KILLS"); do
    log=$WORK/promises.log
    rm -rf "$MNT/durable"
    mkdir "$MNT/durable"
    rm -f "$log"
    "$durable" write "$MNT/durable" "$log" "$round" >>"$LOG" 2>&1 &
    writer=$!
    copy_on >>"$LOG" 2>&1 &
    copier=$!
    started $writer
    started $copier
    check "round $round: a first promise" wait_for 60 [ -s "$log" ]
    sleep "$((RANDOM % 2)).$(printf '%03d' $((RANDOM % 1000)))"
    # Neither ends of itself: alive before the kill and failed after it were at work during it.
    check "round $round: writer and rsync are at work" both_alive
    mount_kill
    # With an error for every file the processes of an rsync can wait for each other for ever.
    pkill -P $copier -x rsync
    wait $writer
    check "round $round: the writer was at work" [ $? -eq 3 ]
    wait $copier
    check "round $round: rsync was at work" [ $? -eq 3 ]
    note "round $round: $(wc -l <"$log") promises"
    check "round $round: a dead daemon is not an empty folder" fails ls "$MNT"
    mount_start
    check "round $round: promises" "$durable" verify "$MNT/durable" "$log" "$round"
    check "round $round: nothing torn" nothing_torn
done
check "a last rsync" rsync -aHAX --delete "$WORK/src/" "$MNT/rsync/"
remount_cold
check "every byte and attribute, cold" same_tree "$WORK/src" "$MNT/rsync"
check_fsck
mount_stop
finish
