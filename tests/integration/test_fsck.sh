#!/bin/bash
# SPDX-License-Identifier: MIT
# fsck and verify: nothing to find, mounted or not; lost shares are told from lost files; what is asked for is what is read.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
VOLUME_EXTRA=("pack_delay = 100ms" "repair = manual")
sample_set "$WORK/src" --sensors 40 --images 2 --large 1x2M
fsck_field() { # EXPRESSION [OPTION...]
    local expression=$1
    shift
    c2 --json fsck "$@" | json "$expression"
}
verify_field() { # EXPRESSION PATH...
    local expression=$1
    shift
    c2 --json verify "$@" | json "$expression"
}
same() { # EXPECTED GOT
    [ "$1" = "$2" ] || { echo "expected $1, got $2"; return 1; }
}

volume_new
mount_start
must "copy" cp -a "$WORK/src" "$MNT/data"
files=$(find "$MNT/data" -type f -printf '%i\n' | sort -u | wc -l)
echo twice >"$MNT/one"
must "a second name" ln "$MNT/one" "$MNT/link"
check_fsck
check "every name is counted" same "$(find "$MNT" -mindepth 1 | wc -l)" "$(fsck_field 'd["entries"]')"
check "every folder is counted" same "$(find "$MNT" -type d | wc -l)" "$(fsck_field 'd["folders"]')"
check "nothing to repair" c2 fsck --repair
check "deep" c2 fsck --deep
check "deep reads all objects" [ "$(fsck_field 'd["shares"]["objects"] == d["objects"] > 0' --deep)" = true ]
exec 7>"$MNT/open"
echo kept >&7
flush
rm "$MNT/open"
flush
check "a file without a name is no problem" same "1 0" "$(fsck_field 'str(d["open_orphans"]) + " " + str(d["problems"])')"
exec 7>&-
check "verify" c2 verify "$MNT/data" "$MNT/link"
check "verify looks at every file" same "$files" "$(verify_field 'd["good"]' "$MNT/data")"
check "verify of nothing of ours" fails c2 verify "$WORK/src"
check "verify without a path" ends_with 2 c2 verify

note "journals that were set aside"
mkdir "$WORK/cache/journal.conflict-17"
check "status names them" bash -c "'$C2FSCTL' -C '$CONF' -V t status | grep 'rm -r $WORK/cache/journal.conflict-17'"
check "status names them, as JSON" status_is 'd["conflicts"]' "['$WORK/cache/journal.conflict-17']"
rmdir "$WORK/cache/journal.conflict-17"
check "else it is silent" status_is 'd["conflicts"]' "[]"

mapfile -t has < <(providers_of "$MNT/data/studies/recording-0.bin")
note "without the mount"
mount_stop
check "fsck without a mount" c2 fsck --deep
check "it says so" same false "$(fsck_field 'd["mounted"]')"
check "it repairs nothing" fails c2 fsck --repair

note "a provider lost everything"
find "$WORK/${has[0]}" -path '*/o/*' -type f -delete
mount_start
check "the metadata is whole" c2 fsck
check "shares are missing" ends_with 6 c2 fsck --deep
check "nothing is lost" same 0 "$(fsck_field 'd["lost"]' --deep)"
check "verify: degraded" ends_with 6 c2 verify "$MNT/data"
check "every file is readable" same_tree "$WORK/src" "$MNT/data"

note "a second one, too"
find "$WORK/${has[1]}" -path '*/o/*' -type f -delete
find "$WORK/${has[2]}" -path '*/o/*' -type f -delete
check "files are lost" ends_with 8 c2 fsck --deep
check "verify: unreadable" ends_with 8 c2 verify "$MNT/data"
check "verify says which" [ "$(verify_field 'd["findings"][0]["verdict"]' "$MNT/data")" = unreadable ]
mount_stop
finish
