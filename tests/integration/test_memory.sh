#!/bin/bash
# SPDX-License-Identifier: MIT
# Memory of the daemon stays within its caches + 256 MiB, however many inodes are visited (INODES=).
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
INODES=${INODES:-30000}
# Sanitizers keep several times what the program uses: this is about the program as it is shipped.
if nm "$C2FS" 2>/dev/null | grep -q __asan_init; then
    C2FS=$TOP/build/gcc-release/c2fs C2FSCTL=$TOP/build/gcc-release/c2fsctl
    [ -x "$C2FS" ] || skip_all "needs a release build: make check-release"
fi
BUFFER_MB=32
VOLUME_EXTRA=("write_buffer = ${BUFFER_MB}M" "cache_size = 64M" "readahead = 4M")
volume_new
mount_start

# Anonymous memory at its worst since the last look; the pages of LMDB's file are the kernel's cache.
anonymous_kb() {
    awk '/^RssAnon:/ {print $2}' "/proc/$DAEMON/status"
}
within() { # LIMIT-MB
    local got
    got=$(anonymous_kb)
    echo "$NAME: $((got / 1024)) MiB (at most $1)"
    [ "$got" -le $(($1 * 1024)) ]
}
make_many() {
    python3 - "$MNT" "$INODES" <<'END'
import os, sys
top, count = sys.argv[1], int(sys.argv[2])
for i in range(count):
    if i % 1000 == 0:
        folder = f"{top}/{i // 1000:05d}"
        os.mkdir(folder)
    os.close(os.open(f"{folder}/{i % 1000:04d}", os.O_CREAT | os.O_WRONLY, 0o644))
END
}
check "the daemon starts small" within $((64 + BUFFER_MB))
must "make $INODES files" make_many
check "after making them" within $((256 + BUFFER_MB))
remount_cold
check "visit them all" bash -c "[ \$(find '$MNT' -type f -printf '%s %m\n' | wc -l) -eq $INODES ]"
check "after visiting them" within $((256 + BUFFER_MB))
check "change them all, twice" bash -c "chmod -R g+w '$MNT' && chmod -R g-w '$MNT'"
check "after changing them" within $((256 + BUFFER_MB))
head -c 300M /dev/zero >"$MNT/large"
check "after writing 300 MiB" within $((256 + 2 * BUFFER_MB))
cat "$MNT/large" >/dev/null
check "after reading them" within $((256 + 2 * BUFFER_MB))
mount_stop
finish
