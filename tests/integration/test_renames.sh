#!/bin/bash
# SPDX-License-Identifier: MIT
# Four processes rename, exchange and link the same files at random while the daemon is killed: each has one name (KILLS=20).
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
KILLS=${KILLS:-3}
RANDOM=$SEED
VOLUME_EXTRA=("pack_delay = 200ms")
volume_new

# names make DIR, names work DIR SEED READY, names check DIR
# No call replaces anything and every file has its number in it: what is there once stays there once.
cat >"$WORK/names" <<'END'
import ctypes, errno, os, random, sys
FOLDERS = ["a", "b", "b/c", "d"]
FILES = 80
EXPECTED = (errno.ENOENT, errno.EEXIST, errno.EINVAL)
libc = ctypes.CDLL(None, use_errno=True)
os.chdir(sys.argv[2])

def make():
    for folder in FOLDERS:
        os.mkdir(folder)
    for i in range(FILES):
        path = f"{FOLDERS[i % 4]}/{i}"
        if i % 8 == 0:
            os.mkdir(path)
            path += "/in"
        with open(path, "w") as f:
            f.write(str(i))

def work(rng, ready):
    own = f"d/link-{os.getpid()}"
    for done in range(10**9):
        old, new = (f"{rng.choice(FOLDERS)}/{rng.randrange(FILES + 40)}" for _ in range(2))
        flags = rng.choice((1, 2))  # RENAME_NOREPLACE, RENAME_EXCHANGE
        if libc.renameat2(-100, old.encode(), -100, new.encode(), flags) < 0:
            if ctypes.get_errno() not in EXPECTED:
                sys.exit(3)
        if done % 16 == 0:
            try:
                os.link(new, own)
                os.unlink(own)
            except (FileNotFoundError, PermissionError):
                pass
            except OSError:
                sys.exit(3)
        if done == 100:
            open(ready, "w").close()

def check():
    names = {}
    for folder, _, files in os.walk("."):
        for name in files:
            path = f"{folder}/{name}"
            if name.startswith("link-"):
                os.unlink(path)
                continue
            with open(path) as f:
                names.setdefault(f.read(), []).append(path)
    for number in map(str, range(FILES)):
        if len(names.pop(number, [])) != 1:
            sys.exit(f"{number} has not one name")
    if names:
        sys.exit(f"nobody made this: {names}")

if sys.argv[1] == "make":
    make()
elif sys.argv[1] == "work":
    work(random.Random(int(sys.argv[3])), sys.argv[4])
else:
    check()
END
all_ready() {
    [ "$(find "$WORK" -maxdepth 1 -name 'ready.*' | wc -l)" -eq 4 ]
}
mount_start
mkdir "$MNT/names"
must "files" python3 "$WORK/names" make "$MNT/names"
flush
for round in $(seq "$KILLS"); do
    rm -f "$WORK"/ready.*
    workers=()
    for i in 1 2 3 4; do
        python3 "$WORK/names" work "$MNT/names" "$((SEED * 1000 + round * 10 + i))" "$WORK/ready.$i" &
        workers+=($!)
        started $!
    done
    must "round $round: all are at work" wait_for 60 all_ready
    sleep "$((RANDOM % 2)).$(printf '%03d' $((RANDOM % 1000)))"
    mount_kill
    for worker in "${workers[@]}"; do
        wait "$worker"
        check "round $round: it was at work" [ $? -eq 3 ]
    done
    mount_start
    check "round $round: each file has one name" python3 "$WORK/names" check "$MNT/names"
done
check_fsck
remount_cold
check "cold: each file has one name" python3 "$WORK/names" check "$MNT/names"
mount_stop
finish
