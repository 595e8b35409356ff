#!/bin/bash
# SPDX-License-Identifier: MIT
# Two volumes of two clients on one service: each has its part, and neither can see or change the other's.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
METADATA=bft
begin "$@"
replicas_new
replicas_start
check "all replicas run" wait_for 30 replicas_run

note "a part for each of two clients"
for who in alice bob; do
    check "a client for $who" meta meta client "$WORK/$who" --prefix "$who"
    check "its key is private" [ "$(stat -c %a "$WORK/$who/client.key")" = 600 ]
    check "$who gets its part" meta meta acl grant "$who" "$WORK/$who/client.key" read,write
done
check "a folder that is there is left alone" ends_with 10 meta meta client "$WORK/alice" --prefix alice
check "the list has both" [ "$(meta --json meta acl list | json 'len(d["entries"])')" = 2 ]
check "people can read it" grep -q "read,write *\/bob\/$" <(meta meta acl)

part() { # WHO ARGUMENT... : c2fsctl as that client
    local who=$1
    shift
    "$C2FSCTL" -C "$WORK/$who/client.conf" "$@"
}
config() { # WHO
    {
        printf '[c2fs]\ninclude = %s\n' "$WORK/$1/client.conf"
        printf '[volume "%s"]\nmetadata = bft:coord\nkey_file = %s\ncache_dir = %s\npack_delay = 100ms\n' \
            "$1" "$WORK/$1.key" "$WORK/cache-$1"
        for p in "${PROVIDERS[@]}"; do
            mkdir -p "$WORK/$1-$p"
            printf '[provider "%s"]\nurl = dir:%s\n' "$p" "$WORK/$1-$p"
        done
    } >"$WORK/$1.conf"
    mkdir -p "$WORK/mnt-$1"
}

note "both volumes work at the same time"
for who in alice bob; do
    config "$who"
    check "$who formats a volume" "$C2FSCTL" -C "$WORK/$who.conf" format "$who" --no-passphrase
    check "$who mounts it" timeout 300 "$C2FS" "$who" "$WORK/mnt-$who" -C "$WORK/$who.conf"
    echo "of $who" >"$WORK/mnt-$who/same-name"
done
ctl() { # WHO ARGUMENT... : on the volume
    local who=$1
    shift
    timeout 300 "$C2FSCTL" -C "$WORK/$who.conf" -V "$who" "$@"
}
for who in alice bob; do
    check "$who writes to the clouds" ctl "$who" flush
    check "$who reads its own" grep -qx "of $who" "$WORK/mnt-$who/same-name"
    check "$who has keys" [ "$(part "$who" kv range | wc -l)" -gt 5 ]
done
check "a volume is not formatted twice" ends_with 10 "$C2FSCTL" -C "$WORK/alice.conf" format alice --no-passphrase

note "what is not one's own"
sed 's/^prefix.*/prefix = bob/' "$WORK/alice/client.conf" >"$WORK/alice/thief.conf"
thief() { "$C2FSCTL" -C "$WORK/alice/thief.conf" "$@"; }
check "bob has a key of his own" part bob kv put mark bobs
check "nothing can be read" ends_with 9 thief kv range
check "it says what to do" grep -q "c2fsctl meta acl" <(thief kv get S/mount 2>&1)
check "nothing can be written" ends_with 9 thief kv put mark stolen
check "nothing can be deleted" ends_with 9 thief kv delete --prefix mark
check "no right can be taken" ends_with 9 thief meta acl grant bob "$WORK/alice/client.key" all
check "one forbidden key stops all" ends_with 9 meta kv txn --put free 1 --put /bob/x 1
check "and nothing of it was done" fails meta kv get free
check "the whole service can be read by nobody" ends_with 9 meta kv range
check "others are not listed" [ "$(part alice --json meta acl | json '[e["prefix"] for e in d["entries"]]')" = "['/alice/']" ]
mount_thief() {
    sed "s|include = .*|include = $WORK/alice/thief.conf|; s|cache_dir.*|cache_dir = $WORK/cache-thief|" \
        "$WORK/alice.conf" >"$WORK/thief.conf"
    timeout 300 "$C2FS" alice "$WORK/mnt-thief" -C "$WORK/thief.conf"
}
mkdir "$WORK/mnt-thief"
check "the volume cannot be mounted" fails mount_thief
check "bob's key is what it was" grep -qx bobs <(part bob kv get mark)
check "bob reads on" grep -qx "of bob" "$WORK/mnt-bob/same-name"

note "rights can be shared and taken away"
check "bob's part can be read by alice" meta meta acl grant bob "$WORK/alice/client.key" read
check "she reads" thief kv range
check "she does not write" ends_with 9 thief kv put stolen 1
check "it is taken away" meta meta acl revoke bob "$WORK/alice/client.key"
check "she reads no more" ends_with 9 thief kv range
check "the last one stays" ends_with 10 meta meta acl revoke bob "$WORK/bob/client.key"
replica_kill 1
for who in alice bob; do
    echo more >"$WORK/mnt-$who/more"
    check "$who goes on without a replica" ctl "$who" flush
done
replica_start 1
check "the rights are there after a restart" ends_with 9 thief kv range
for who in alice bob; do
    check "$who unmounts" timeout 300 "$C2FSCTL" -C "$WORK/$who.conf" umount "$WORK/mnt-$who"
done
check "all replicas run" wait_for 60 replicas_run
replicas_stop
finish
