#!/bin/bash
# SPDX-License-Identifier: MIT
# Large files: holes beyond 4 GiB, overwrites at odd places, truncation, append, copy on the mount.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
SPARSE=${SPARSE:-5G} DATA=${DATA:-96M}
volume_new
mount_start
sample_set "$WORK/src" --sensors 0 --images 0 --large "1x$DATA" --sparse "$SPARSE"
must "cp --sparse=always" cp -a --sparse=always "$WORK/src" "$MNT/sparse"
check "size with holes" [ "$(stat -c %s "$MNT/sparse/studies/mri-sparse.raw")" -eq "$(stat -c %s "$WORK/src/studies/mri-sparse.raw")" ]
check "holes take no room" [ "$(stat -c %b "$MNT/sparse/studies/mri-sparse.raw")" -lt 100000 ]

# The same changes here and there.
change() { # FILE
    python3 - "$1" <<'END'
import os, random, sys
rng = random.Random(7)
f = os.open(sys.argv[1], os.O_RDWR)
size = os.fstat(f).st_size
for _ in range(40):
    os.pwrite(f, rng.randbytes(rng.randrange(1, 300000)), rng.randrange(size))
os.pwrite(f, b"at the end", size)
os.ftruncate(f, size + 100_000)
os.ftruncate(f, size - 12_345)
os.pwrite(f, b"after", size)
os.close(f)
END
}
for file in studies/recording-0.bin studies/mri-sparse.raw; do
    change "$WORK/src/$file"
    must "change $file" change "$MNT/sparse/$file"
    touch -r "$WORK/src/$file" "$MNT/sparse/$file"
    check "$file: warm" cmp "$WORK/src/$file" "$MNT/sparse/$file"
done
must "copy on the mount" cp --sparse=always "$MNT/sparse/studies/recording-0.bin" "$MNT/copy"
remount_cold
check "the copy" cmp "$WORK/src/studies/recording-0.bin" "$MNT/copy"
check "every byte and attribute, cold" same_tree "$WORK/src" "$MNT/sparse"
check "a range in the middle" cmp <(dd if="$WORK/src/studies/recording-0.bin" bs=1 skip=50000001 count=77777 status=none) <(dd if="$MNT/copy" bs=1 skip=50000001 count=77777 status=none)
mount_stop
finish
