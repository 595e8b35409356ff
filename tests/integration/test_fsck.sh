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
fsck8() { # as fsck(8) calls it
    PATH=$BUILD:$PATH "$TOP/packaging/fsck.c2fs" -o "ro,config=$CONF" "$@"
}
check "fsck.c2fs: nothing found" ends_with 0 fsck8 c2fs:t
check "fsck.c2fs: nothing to repair" ends_with 0 fsck8 -y t
check "fsck.c2fs: nothing to do at boot" ends_with 0 fsck8 -a -C0 no-such-volume
check "fsck.c2fs: wrong call" ends_with 16 fsck8
check "fsck.c2fs: no such volume" ends_with 8 fsck8 no-such-volume
exec 7>"$MNT/open"
echo kept >&7
flush
rm "$MNT/open"
flush
check "a file without a name is no problem" same "1 0" "$(fsck_field 'str(d["open_orphans"]) + " " + str(d["problems"])')"
exec 7>&-
check "verify" c2 verify "$MNT/data" "$MNT/link"
check "verify looks at every file" same "$files" "$(verify_field 'd["good"]' "$MNT/data")"
dashed() { # COMMAND : a name that begins with a dash, as scripts give names
    (mkdir "$MNT/dash" && cd "$MNT/dash" && echo x >-rf && c2 "$1" -- -rf && rm -r "$MNT/dash")
}
check "verify of a name with a dash" dashed verify
check "info of a name with a dash" dashed info
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

for p in "${PROVIDERS[@]}"; do cp -a "$WORK/$p" "$WORK/saved-$p"; done

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

note "damaged files are named, and make room"
# Everything is damaged that has bytes, and nothing else is.
damaged() { # EXPRESSION of a damaged file f [OPTION...]
    local expression=$1
    shift
    c2 --json "$@" fsck --deep | json "'\n'.join(sorted(set(str($expression) for f in d['damaged'])))"
}
(cd "$WORK/src" && find . -type f -size +0 -printf '/data/%P\n' | sort) >"$WORK/expected"
damaged 'f["path"]' >"$WORK/named"
printf '%s\n' /link /one | sort - "$WORK/expected" >"$WORK/expected.all"
check "by their paths" diff <(sort "$WORK/named") "$WORK/expected.all"
size=$(stat -c %s "$MNT/data/studies/recording-0.bin")
check "with their ranges" same "0 $size" \
    "$(c2 --json fsck --deep | json "[f'{f[\"ranges\"][0][\"offset\"]} {f[\"ranges\"][0][\"length\"]}' for f in d['damaged'] if f['path'].endswith('recording-0.bin')][0]")"
check "people are told, too" bash -c "'$C2FSCTL' -C '$CONF' -V t fsck --deep | grep -F '/data/studies/recording-0.bin: '"
check "without --yes they stay" ends_with 8 c2 fsck --deep --repair
check "they have not moved" [ -e "$MNT/data/studies/recording-0.bin" ]
check "a dry run moves nothing" ends_with 8 c2 --yes --dry-run fsck --deep --repair
check "they have not moved then" [ -e "$MNT/data/studies/recording-0.bin" ]
inode=$(stat -c %i "$MNT/data/studies/recording-0.bin")
check "with --yes they go" ends_with 8 c2 --yes fsck --deep --repair
check "out of the way" [ ! -e "$MNT/data/studies/recording-0.bin" ]
check "to lost+found" same "$inode" "$(stat -c %i "$MNT/lost+found/#$inode recording-0.bin")"
check "both names of a file" [ ! -e "$MNT/one" -a ! -e "$MNT/link" ]
must "their places can be taken again" cp -a "$WORK/src/." "$MNT/data/"
flush
check "that is no problem any more" ends_with 6 c2 fsck --deep
check "they are told all the same" [ "$(damaged 'f["set_aside"]')" = True ]
check "what was brought back is right" same_tree "$WORK/src" "$MNT/data"

note "the providers come back"
for p in "${has[@]}"; do cp -a "$WORK/saved-$p/." "$WORK/$p/"; done
check "everything can be read again" wait_for 60 cmp "$WORK/src/studies/recording-0.bin" "$MNT/lost+found/#$inode recording-0.bin"
check "and nothing is damaged" ends_with 0 c2 fsck --deep
mount_stop
finish
