#!/bin/bash
# SPDX-License-Identifier: MIT
# What users get wrong, and damage: a clear error with a hint and its exit code, nothing lost.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"

# says CODE REGEX COMMAND... : exit code, the cause in words, and a hint of what to type.
says() {
    local code=$1 regex=$2 rc
    shift 2
    timeout 300 "$@" >"$WORK/out" 2>"$WORK/err" </dev/null
    rc=$?
    cat "$WORK/out" "$WORK/err"
    [ "$rc" -eq "$code" ] || { echo "exit code $rc instead of $code"; return 1; }
    grep -qiE "$regex" "$WORK/err" || { echo "no /$regex/ in the message"; return 1; }
    [ "$code" -eq 2 ] || grep -q '^hint:' "$WORK/err" || { echo "no hint"; return 1; }
    [ "$(wc -l <"$WORK/err")" -le 12 ] || { echo "too long"; return 1; }
}
ctl=("$C2FSCTL" -C "$CONF")
edit() { # SED-SCRIPT : of a fresh configuration
    write_conf
    sed -i "$1" "$CONF"
}

# usage
volume_new
check "no command" says 2 'usage|command' "${ctl[@]}"
check "unknown command" says 2 'stauts.*status' "${ctl[@]}" stauts
check "unknown option" says 2 'no-such-option' "${ctl[@]}" status --no-such-option
check "c2fs without arguments" says 2 'usage|mount point' "$C2FS"
check "unknown mount option" says 2 'cach_size' "$C2FS" t "$MNT" -C "$CONF" -f -o cach_size=1G
check "--help" ends_with 0 "$C2FSCTL" --help
check "--version" ends_with 0 "$C2FS" --version

# configuration
check "no such file" says 3 'no-such.conf' "$C2FSCTL" -C "$WORK/no-such.conf" -V t status
edit 's/^cache_dir/cach_dir/'
check "a key mistyped" says 3 'c2fs.conf:[0-9]+.*cach_dir.*cache_dir' "${ctl[@]}" -V t status
edit 's/^\[volume/[volumne/'
check "a section mistyped" says 3 'volumne.*volume' "${ctl[@]}" -V t status
write_conf
echo 'journal_size = lots' >>"$CONF"
sed -i '/^\[volume/a cache_size = 12parsecs' "$CONF"
check "a value that is no size" says 3 'cache_size|12parsecs' "${ctl[@]}" -V t status
write_conf
printf '[provider "p1"]\nprice_get = a lot\n' >>"$CONF"
check "a price that is no number" says 3 "c2fs.conf:$(wc -l <"$CONF"): .*price_get" "${ctl[@]}" -V t cost
write_conf
edit 's/^url = dir:.*p4$/url = ftp:\/\/x/'
check "a provider of an unknown kind" says 3 'ftp|p4' "$C2FS" t "$MNT" -C "$CONF" -f
edit '/^\[provider "p4"\]/,$d'
sed -i 's/^\[volume "t"\]/[volume "u"]/' "$CONF"
check "three providers" says 3 '3 providers.* takes 4' "${ctl[@]}" format u --no-passphrase
write_conf
check "format of nothing" says 2 'volume name' "${ctl[@]}" format --no-passphrase
check "format of two volumes" says 2 'different' "${ctl[@]}" -V t format u --no-passphrase
check "no such volume" says 4 'nosuch' "${ctl[@]}" -V nosuch status
check "mount of no such volume" says 4 'nosuch' "$C2FS" nosuch "$MNT" -C "$CONF" -f

# mount point
check "no such mount point" says 4 'nowhere' "$C2FS" t "$WORK/nowhere" -C "$CONF" -f
touch "$WORK/file"
check "the mount point is a file" fails timeout 60 "$C2FS" t "$WORK/file" -C "$CONF" -f
mkdir "$WORK/full"
touch "$WORK/full/x"
check "the mount point is not empty" says 11 'not empty' "$C2FS" t "$WORK/full" -C "$CONF" -f
check "a group of commands names them" says 2 'provider add, .*provider replace' "${ctl[@]}" -V t provider
check "and so with a word that none has" says 2 'scrub start' "${ctl[@]}" -V t scrub now
check "a month that is none" says 2 'month like' "${ctl[@]}" -V t cost 2026-13
check "a rate that is none" says 2 'limit takes bytes per second' "${ctl[@]}" -V t provider replace p1 p2 --limit fast
mount_start
check "a provider that is there already replaces nobody" says 10 'belongs to the volume already' "${ctl[@]}" -V t provider replace p1 p2
check "no job to pause" says 4 'job list' "${ctl[@]}" -V t job pause drain
check "no prices, no sum" eval '"${ctl[@]}" -V t cost | grep -q "not known: no prices"'
check "mounted already" says 10 'already mounted|busy|in use' "$C2FS" t "$MNT" -C "$CONF" -f
mkdir "$WORK/other"
check "a volume is mounted elsewhere" says 10 'mounted|in use' "$C2FS" t "$WORK/other" -C "$CONF" -f
check "format of a mounted volume by -V" says 10 'exists|mounted' "${ctl[@]}" -V t format --no-passphrase
check "format of a mounted volume" says 10 'exists|mounted' "${ctl[@]}" format t --no-passphrase
echo data >"$MNT/a"
mount_stop
check "umount of what is not mounted" says 4 'not mounted' "${ctl[@]}" umount "$MNT"

# credentials and buckets
write_conf
sed -i 's/^url = dir:.*p4$/url = s3:\/\/bucket\nendpoint = http:\/\/127.0.0.1:9/' "$CONF"
check "credentials are missing" says 9 'credential|access_key' "${ctl[@]}" -V t provider test p4
printf '[p4]\naccess_key_id = x\nsecret_access_key = y\n' >"$WORK/credentials"
chmod 644 "$WORK/credentials"
sed -i "/^\[c2fs\]/a credentials = $WORK/credentials" "$CONF"
check "credentials that others can read" says 9 'chmod' "${ctl[@]}" -V t provider test p4
chmod 600 "$WORK/credentials"
check "nobody answers at the endpoint" says 5 'connect|reach|refused' "${ctl[@]}" -V t provider test p4

# keys
write_conf
echo right >"$WORK/pass"
cp "$WORK/t.key" "$WORK/t.key.saved"
check "a passphrase is set" env C2FS_PASSPHRASE_FILE="$WORK/pass" timeout 300 "${ctl[@]}" -V t key change-passphrase
echo wrong >"$WORK/pass2"
check "wrong passphrase" env C2FS_PASSPHRASE_FILE="$WORK/pass2" bash -c "$(declare -f says); WORK='$WORK'; says 9 'passphrase' '$C2FS' t '$MNT' -C '$CONF' -f"
check "no passphrase" says 9 'passphrase' "$C2FS" t "$MNT" -C "$CONF" -f
cp "$WORK/t.key.saved" "$WORK/t.key"
mv "$WORK/t.key" "$WORK/t.key.away"
check "the key file is missing" says 9 't.key' "$C2FS" t "$MNT" -C "$CONF" -f
head -c 20 "$WORK/t.key.away" >"$WORK/t.key"
chmod 600 "$WORK/t.key"
check "the key file is damaged" fails timeout 60 "$C2FS" t "$MNT" -C "$CONF" -f
mv "$WORK/t.key.away" "$WORK/t.key"
mount_start
check "nothing was lost" [ "$(cat "$MNT/a")" = data ]
mount_stop

# a full disk under the cache
if [ "$(id -u)" -eq 0 ]; then
    mkdir "$WORK/small"
    mount -t tmpfs -o size=24M none "$WORK/small"
    VOLUME_EXTRA=("journal_size = 16M")
    write_conf
    sed -i "s|^cache_dir.*|cache_dir = $WORK/small/cache|" "$CONF"
    mount_start
    head -c 4000000 /dev/urandom >"$WORK/blob"
    cp "$WORK/blob" "$MNT/before"
    head -c 23000000 /dev/zero >"$WORK/small/filler" 2>/dev/null
    check "full disk: an error or success, never a hang" timeout 300 bash -c "cp '$WORK/blob' '$MNT/during' || true"
    check "full disk: reads go on" cmp "$WORK/blob" "$MNT/before"
    rm "$WORK/small/filler"
    check "full disk: room again, writes again" wait_for 30 cp "$WORK/blob" "$MNT/after"
    check "full disk: what was written is right" cmp "$WORK/blob" "$MNT/after"
    mount_stop
    umount "$WORK/small"
    VOLUME_EXTRA=()
    write_conf
else
    skip "a full disk needs root"
fi

# a volume of a newer format is refused, not touched
mount_start
mount_stop
finish
