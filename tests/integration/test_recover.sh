#!/bin/bash
# SPDX-License-Identifier: MIT
# A machine is lost: the volume comes back on another one from the clouds alone, with any one cloud
# damaged, with a key file, from a recovery kit, keyless without any; the old machine is fenced.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
only_local "a coordination service has the metadata itself"
VOLUME_EXTRA=("pack_delay = 200ms" "log_interval = 500ms")
sample_set "$WORK/src" --sensors 200 --images 5 --large 1x3M
# An order of the providers that is not the one of the seats must not matter.
lose_machine() { # the daemon is gone already; a second one takes the place of the machine
    rm -rf "$WORK/lost"
    mkdir "$WORK/lost"
    mv "$WORK/meta" "$WORK/cache" "$WORK/lost"
    PROVIDERS=(p3 p1 p4 p2)
    write_conf
}
clouds_save() {
    local p
    for p in "${PROVIDERS[@]}"; do cp -a "$WORK/$p" "$WORK/saved-$p"; done
}
clouds_restore() {
    local p
    for p in "${PROVIDERS[@]}"; do rm -rf "${WORK:?}/$p"; cp -a "$WORK/saved-$p" "$WORK/$p"; done
}
recover() {
    c2 recover --from-clouds "$@"
}
contents() {
    same_tree "$WORK/src" "$MNT/src"
}

volume_new --recovery-kit "$WORK/kit"
mount_start
must "copy" rsync -aHAX --modify-window=-1 "$WORK/src" "$MNT/"
flush
shipped() {
    status_is 'd["shipping"]["transactions"]' 0 && status_is 'd["shipping"]["checkpoint_version"] > 0' true
}
check "nothing is left to be shipped" wait_for 10 shipped
check "status says what a recovery would give" grep -q 'recovery: complete' <(c2 status)
mount_kill
check "a store in place is not replaced" ends_with 10 recover
cp -a "$WORK/meta" "$WORK/meta.copy"
cp -a "$WORK/cache" "$WORK/cache.copy"
lose_machine
clouds_save
damaged=0
for p in p1 p2 p3 p4; do
    [ -n "$(find "$WORK/$p" -type f -print -quit)" ] || continue # the spare one may be empty
    damaged=$((damaged + 1))
    for kind in delete corrupt empty reseat; do
        provider_damage "$p" "$kind"
        rm -rf "$WORK/meta" "$WORK/cache"
        must "recover with $p: $kind" recover
        mount_start
        check "everything is there with $p: $kind" contents
        mount_kill
        clouds_restore
    done
done

check "damaged each of at least three clouds" [ "$damaged" -ge 3 ]

note "from the recovery kit"
rm -rf "$WORK/meta" "$WORK/cache" "$WORK/t.key"
check "status says that there is no volume here" ends_with 4 c2 status
check "and what to do" eval 'c2 status 2>&1 | grep -q "recover --from-clouds"'
check "without the key file" ends_with 4 recover
check "key restore without a terminal says what to do" grep -q 'hint: .*--no-passphrase' <(c2 key restore "$WORK/kit" 2>&1 </dev/null)
must "key restore" c2 key restore "$WORK/kit" --no-passphrase
must "recover" recover
mount_start
check "everything is there" contents
echo new >"$MNT/new"
flush

note "the old machine comes back"
mount_stop
mv "$WORK/meta" "$WORK/meta.new"
mv "$WORK/cache" "$WORK/cache.new"
mv "$WORK/meta.copy" "$WORK/meta"
mv "$WORK/cache.copy" "$WORK/cache"
mount_start
check "it becomes read-only" wait_for 60 fails touch "$MNT/old"
check "what it had can be read" contents
mount_kill
rm -rf "$WORK/meta" "$WORK/cache"
mv "$WORK/meta.new" "$WORK/meta"
mv "$WORK/cache.new" "$WORK/cache"
mount_start
check "the new one goes on" touch "$MNT/more"
check "with its own files" grep -q new "$MNT/new"
flush
mount_stop

note "killed at work, recovered elsewhere (KILLS=3)"
nothing_torn() {
    local bad=0 file
    while IFS= read -r -d '' file; do
        cmp -s "$WORK/src/$file" "$MNT/more/$file" || { echo "torn: $file"; bad=1; }
    done < <(cd "$MNT/more" && find . -type f ! -name '.*' -print0)
    return $bad
}
VOLUME_EXTRA=("pack_delay = 100ms" "log_interval = 200ms" "checkpoint_bytes = 64K" "checkpoint_interval = 1s")
write_conf
RANDOM=$SEED
for round in $(seq "${KILLS:-3}"); do
    mount_start
    echo "$round" >"$MNT/promised-$round"
    flush
    rm -rf "$MNT/more"
    rsync -aHAX "$WORK/src/" "$MNT/more/" >>"$LOG" 2>&1 &
    copier=$!
    sleep "$((RANDOM % 2)).$(printf '%03d' $((RANDOM % 1000)))"
    mount_kill
    # With an error for every file its processes can wait for each other for ever.
    kill $copier 2>/dev/null
    wait $copier
    lose_machine
    must "round $round: recover" recover
    mount_start
    check "round $round: what was flushed is there" contents
    for k in $(seq "$round"); do check "round $round: promise $k" grep -qx "$k" "$MNT/promised-$k"; done
    check "round $round: nothing torn" nothing_torn
    mount_stop
done

note "keyless"
VOLUME_EXTRA=("pack_delay = 200ms" "log_interval = 500ms")
rm -rf "$WORK"/p? "$WORK/meta" "$WORK/cache" "$WORK/t.key"
PROVIDERS=(p1 p2 p3 p4)
volume_new --keyless
mount_start
must "copy" rsync -aHAX --modify-window=-1 "$WORK/src" "$MNT/"
flush
mount_kill
lose_machine
rm "$WORK/t.key"
provider_damage p2 empty
must "recover without a key file" recover
must "the key file is there again" [ -s "$WORK/t.key" ]
mount_start
check "everything is there" contents
mount_stop
finish
