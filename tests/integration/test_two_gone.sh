#!/bin/bash
# SPDX-License-Identifier: MIT
# With two providers gone or lying: EIO, never wrong bytes; everything is back when they are.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
sample_set "$WORK/src" --sensors 40 --images 3 --large 1x3M
# Each of these reads is retried before it is given up.
for p in "${PROVIDERS[@]}"; do PROVIDER_EXTRA[$p]="retries = 1"$'\n'"backoff = 5ms"$'\n'"fault ="; done
volume_new
mount_start
must "fill" rsync -aHAX "$WORK/src/" "$MNT/"
flush
head -c 1M /dev/urandom >"$WORK/src/another-object"
must "more" rsync -aHAX --modify-window=-1 "$WORK/src/" "$MNT/"
flush
# Two of these providers are one more than both objects can do without.
mapfile -t have_both < <(comm -12 <(providers_of "$MNT/studies/recording-0.bin") <(providers_of "$MNT/another-object"))
[ ${#have_both[@]} -ge 2 ] || die "no two providers have both objects: ${have_both[*]}"
mount_stop
must "empty the cache" c2 cache clear
volume_save

no_wrong_bytes() { # wants some EIO
    local exact eio
    read -r exact eio < <("$LIB/read_exact" "$WORK/src" "$MNT") || return 1
    echo "$exact exact, $eio EIO"
    [ -n "$eio" ] && [ "$eio" -gt 0 ]
}
says_faulted() {
    c2 status | grep -qE 'FAULTED|DEGRADED'
}
pairs=("${have_both[0]} ${have_both[1]}")
[ ${#have_both[@]} -lt 3 ] || pairs+=("${have_both[0]} ${have_both[2]}" "${have_both[1]} ${have_both[2]}")
for pair in "${pairs[@]}"; do
    for kind in delete corrupt swap; do
        must "empty the cache" c2 cache clear
        mount_start
        for p in $pair; do provider_damage "$p" "$kind"; done
        check "$pair, $kind: EIO, never wrong bytes" no_wrong_bytes
        check "$pair, $kind: status says FAULTED" wait_for 60 says_faulted
        for p in $pair; do rm -rf "${WORK:?}/$p" && cp -a "$WORK/saved-$p" "$WORK/$p"; done
        check "$pair, $kind: back without a remount" wait_for 60 same_contents "$WORK/src" "$MNT"
        mount_stop
        volume_restore
    done
done
mount_start
check "every byte and attribute" same_tree "$WORK/src" "$MNT"
mount_stop

# Who waits for the clouds can be killed.
mount_start -o close=sync,fsync=cloud
for p in p1 p2; do provider_fault "$p" error:100%; done
python3 -c 'import os, sys
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
os.write(fd, b"x" * 5000)
os.fsync(fd)' "$MNT/waits" &
writer=$!
started $writer
written() { [ "$(stat -c %s "$MNT/waits")" -eq 5000 ]; }
check "the writer has written" wait_for 60 written
check "fsync waits for the clouds" ends_with 124 timeout 2 tail --pid=$writer -f /dev/null
# One with a timer: its handler runs again and again, and no call of it may fail for that.
python3 -c 'import ctypes, os, signal, sys
libc = ctypes.CDLL(None) # os.fsync would call again
signal.signal(signal.SIGALRM, lambda *unused: None)
signal.siginterrupt(signal.SIGALRM, False)
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
os.write(fd, b"x" * 5000)
signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
failed = libc.fsync(fd) != 0 or libc.close(fd) != 0
signal.setitimer(signal.ITIMER_REAL, 0) # at its end Python handles no signal any more, and would die of one
sys.exit(failed)' "$MNT/timer" &
timer=$!
started $timer
check "signals that are handled do not end fsync" ends_with 124 timeout 14 tail --pid=$timer -f /dev/null
kill -9 $writer
check "a process that is killed does not wait for ever" wait_for 60 fails alive $writer
for p in p1 p2; do provider_fault "$p" ""; done
check "it ends when the clouds are back" wait $timer
check "what it wrote reaches the clouds" timeout 300 sync -f "$MNT"
check "the file is whole" written
mount_stop
finish
