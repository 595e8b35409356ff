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

# Access control lists: the kernel checks them, programs see them, new files inherit them.
as_daemon() { # COMMAND...
    setpriv --reuid=1 --regid=1 --clear-groups "$@"
}
mkdir "$MNT/acl" && echo secret >"$MNT/acl/f" && chmod 640 "$MNT/acl/f"
check "without a list" fails as_daemon cat "$MNT/acl/f"
check "setfacl" setfacl -m u:1:rw "$MNT/acl/f"
check "a named user may" as_daemon bash -c "cat '$MNT/acl/f' && echo more >>'$MNT/acl/f'"
check "not beyond the mask" bash -c "chmod g-w '$MNT/acl/f' && ! setpriv --reuid=1 --regid=1 --clear-groups bash -c 'echo x >>\"$MNT/acl/f\"'"
check "a default list" setfacl -d -m u:1:rwx "$MNT/acl"
(umask 077 && mkdir "$MNT/acl/sub" && echo new >"$MNT/acl/sub/new")
check "is handed on" as_daemon cat "$MNT/acl/sub/new"
lists() { # FOLDER : in the order of names, which is not that of a folder
    (cd "$1" && find acl -print0 | sort -z | xargs -0 getfacl)
}
cp -a "$MNT/acl" "$WORK/acl"
check "cp -a keeps it" diff <(lists "$MNT") <(lists "$WORK")
mkdir "$MNT/acl/shared" && chown 1:3000 "$MNT/acl/shared" && chmod 2775 "$MNT/acl/shared"
check "a member of the group sets a list" setpriv --reuid=1 --regid=1 --groups=3000 setfacl -m u:2:rwx "$MNT/acl/shared"
check "the group stays inherited" [ -g "$MNT/acl/shared" ]
check "somebody else sets a list" as_daemon setfacl -m u:3:rwx "$MNT/acl/shared"
check "the group is not inherited any more" [ ! -g "$MNT/acl/shared" ]
check "setfacl -b" bash -c "setfacl -bk '$MNT/acl/sub' && [ -z \"\$(getfacl -cs '$MNT/acl/sub')\" ]"
rounds=${ROUNDS:-6} operations=${OPERATIONS:-3000}
for seed in $(seq "$SEED" $((SEED + rounds - 1))); do
    mkdir "$WORK/native/$seed" "$MNT/$seed"
    check "random operations, seed $seed" "$BUILD/helpers/fsrandom" "$WORK/native/$seed" "$MNT/$seed" "$seed" "$operations"
done
ranges_are_kept() { # SEED : reads of everything, cold
    cmp "$WORK/ranges-$1" "$MNT/ranges-$1" && cmp "$WORK/ranges-$1.other" "$MNT/ranges-$1.other"
}
for seed in $(seq "$SEED" $((SEED + rounds - 1))); do
    check "random ranges, seed $seed" "$LIB/ranges" "$MNT/ranges-$seed" "$seed" 400 "$WORK/ranges-$seed"
done
mkdir "$MNT/signals" && (cd "$MNT/signals" && touch $(seq 300))
remount_cold -o allow_other=yes
# A program with a timer, while the store is asked for each name: as on a local disk, no call ends because of a signal.
check "signals end no call" python3 -c 'import os, signal, sys, time
signal.signal(signal.SIGALRM, lambda *unused: None)
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
def call(function, *arguments):
    while True:
        begun = time.monotonic()
        try:
            return function(*arguments)
        except InterruptedError:
            if time.monotonic() - begun < 9:
                raise
os.chdir(sys.argv[1])
for name in range(1, 301):
    call(os.stat, str(name))
    call(os.rename, str(name), "new-%d" % name)
    call(os.unlink, "new-%d" % name)
signal.setitimer(signal.ITIMER_REAL, 0)' "$MNT/signals"
for seed in $(seq "$SEED" $((SEED + rounds - 1))); do
    check "random operations, seed $seed: the tree, cold" same_contents "$WORK/native/$seed" "$MNT/$seed"
    check "random ranges, seed $seed: cold" ranges_are_kept "$seed"
done
mount_stop
mount_start -o allow_other=yes,writeback_cache=yes
mkdir "$MNT/again"
check "the table with the kernel's write-back cache" "$BUILD/helpers/posix" "$MNT/again"
check "random ranges with it" "$LIB/ranges" "$MNT/ranges-again" "$SEED" 400 "$WORK/ranges-again"
written_and_removed() { # the kernel has times of it that it could not write back
    python3 -c 'import ctypes, os, sys
mount = os.open(sys.argv[1], os.O_RDONLY)
f = os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=mount)
os.write(f, b"x")
os.close(f)
os.unlink("f", dir_fd=mount)
sys.exit(-ctypes.CDLL(None).syncfs(mount))' "$MNT"
}
check "syncfs after a file was written and removed" written_and_removed
mount_stop
finish
