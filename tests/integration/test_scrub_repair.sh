#!/bin/bash
# SPDX-License-Identifier: MIT
# Shares are deleted, corrupted, swapped: scrub reports exact numbers, repair brings back the same bytes.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
VOLUME_EXTRA=("pack_size = 64K" "repair = manual")
for p in "${PROVIDERS[@]}"; do PROVIDER_EXTRA[$p]="fault ="$'\n'"retries = 1"$'\n'"backoff = 5ms"; done
PROVIDER_EXTRA[p1]+=$'\n'"price_get = 1000"$'\n'"price_egress = 0.5"
sample_set "$WORK/src" --sensors 60 --images 2 --large 1x2M
volume_new
mount_start
must "fill" rsync -aHAX "$WORK/src/" "$MNT/"
must "into the clouds" c2 flush
mount_stop

objects() { # PROVIDER : files of its objects, in order
    find "$WORK/$1" -path '*/o/*' -type f | LC_ALL=C sort
}
hashes() { # of every object at these providers
    local p
    for p; do objects "$p"; done | xargs -d '\n' sha256sum
}
report_says() { # PROVIDER or "all", NAME, NUMBER
    local got
    if [ "$1" = all ]; then
        got=$(c2 --json scrub report | json "d['job']['counters']['$2']")
    else
        got=$(c2 --json scrub report | json "[p['$2'] for p in d['providers'] if p['name'] == '$1'][0]")
    fi
    [ "$got" = "$3" ] || { echo "$1: $2 is $got instead of $3"; return 1; }
}
repair_says() { # NAME NUMBER : in the status
    [ "$(c2 --json status | json "d['repair']['$1']")" = "$2" ]
}
scrub_ends() { # CODE OPTION...
    local code=$1
    shift
    ends_with "$code" c2 --progress=none scrub start "$@"
}
hashes "${PROVIDERS[@]}" >"$WORK/before"
note "$(wc -l <"$WORK/before") shares"

mount_start
check "a healthy volume" scrub_ends 0 --data
check "nothing is missing" report_says all missing 0
check "every object was verified" test "$(c2 --json scrub report | json 'd["job"]["counters"]["verified"]')" \
    = "$(c2 --json scrub report | json 'd["job"]["counters"]["objects"]')"
check "the report knows each provider's shares" report_says p1 expected "$(objects p1 | wc -l)"

cost() { # [OPTION...] : millionths
    c2 --json cost "$@" | json 'd["cost_micro"]'
}
check "a scrub of everything would cost a GET per share of p1, and its bytes" \
    [ "$(cost --scrub)" -ge "$(($(objects p1 | wc -l) * 1000000))" ]
paid=$(cost)
check "what was read until now has its price" [ "$paid" -ge "$(($(objects p1 | wc -l) * 1000000))" ]
check "the other providers are free" [ "$(c2 --json cost | json 'sum(p["cost_micro"] for p in d["providers"] if p["name"] != "p1")')" = 0 ]
check "--dry-run tells, and reads nothing" ends_with 0 c2 --dry-run scrub start --data

# ---- damage at one provider ---------------------------------------------------------------------

is_as_before() { # PROVIDER... : as saved last
    hashes "$@" | cmp "$WORK/saved" -
}

mapfile -t at2 < <(objects p2)
[ ${#at2[@]} -ge 8 ] || die "too few objects at p2: ${#at2[@]}"
rm "${at2[0]}" "${at2[1]}" "${at2[2]}"
printf 'x' | dd of="${at2[3]}" bs=1 seek=600 conv=notrunc status=none
truncate -s -1 "${at2[4]}"
cp "${at2[5]}" "$WORK/swap" && cp "${at2[6]}" "${at2[5]}" && cp "$WORK/swap" "${at2[6]}"
check "lists show what is missing" scrub_ends 6 --exists
check "three are" report_says p2 missing 3
check "reading everything shows the rest" scrub_ends 6 --data
check "three missing" report_says p2 missing 3
check "four corrupt" report_says p2 corrupt 4
check "there is evidence of each" [ "$(c2 --json provider evidence p2 | json 'len({e["key"] for e in d["evidence"]})')" = 4 ]
check "with what should have come" [ "$(c2 provider evidence p2 | grep -c 'expected root')" -ge 4 ]
check "nothing elsewhere" report_says all missing 3
check "seven objects are below their goal" report_says all below_goal 7
check "status says so" repair_says shares_missing 7
check "status has an action" grep -q 'c2fsctl repair' <(c2 status)
check "repair" ends_with 0 c2 --progress=none repair
check "every share is what it was, byte for byte" cmp "$WORK/before" <(hashes "${PROVIDERS[@]}")
check "scrub agrees" scrub_ends 0 --data
check "nothing is left to repair" repair_says objects 0
check "seven shares were rebuilt" repair_says shares_rebuilt 7

# ---- a crash in the middle ----------------------------------------------------------------------

rm "${at2[@]}"
must "a slow scrub" c2 scrub start --data --limit 300K --detach
sleep 1
kill -9 "$DAEMON"
wait "$DAEMON" 2>/dev/null
mount_start
check "it goes on" grep -q running <(c2 scrub status)
check "faster" c2 job limit scrub none
check "to its end" ends_with 6 c2 --progress=none job watch scrub
check "with exact numbers" report_says p2 missing "${#at2[@]}"
check "a whole provider comes back" ends_with 0 c2 --progress=none repair
check "byte for byte" cmp "$WORK/before" <(hashes "${PROVIDERS[@]}")

# ---- faults meanwhile ---------------------------------------------------------------------------

must "p1 is down" c2 provider fault p1 down
check "unreachable is not missing" scrub_ends 6 --exists
check "nothing is missing" report_says all missing 0
check "p1 could not be asked" report_says p1 unreached "$(objects p1 | wc -l)"
must "p1 is back" c2 provider fault p1 ''
rm "${at2[0]}" "${at2[1]}"
must "p2 acknowledges and stores nothing" c2 provider fault p2 put.lie
check "another provider takes the shares" ends_with 0 c2 --progress=none repair
check "p2 has none" test ! -e "${at2[0]}"
check "it lied" grep -q 'shares_missing' <(c2 --json status)
must "p2 is honest again" c2 provider fault p2 ''
check "what was logged meanwhile is repaired, too" ends_with 0 c2 --progress=none repair
check "every object is at its goal" scrub_ends 0 --data
cp "${at2[7]}" "$(dirname "${at2[7]}")/00000000000000ff"
check "an object that no record names does no harm" scrub_ends 0 --exists
check "but is reported" report_says p2 orphan_shares 1
paid=$(cost)
mount_stop
rm "$(dirname "${at2[7]}")/00000000000000ff"
hashes p1 p3 p4 >"$WORK/saved"

# ---- by itself ----------------------------------------------------------------------------------

VOLUME_EXTRA=("pack_size = 64K" "repair_delay = 1s")
write_conf
must "empty the cache" c2 cache clear
for k in 1 3; do
    # Of a different object at each provider.
    file=$(objects p1 | sed -n "$((9 + k))p")
    printf 'x' | dd of="$WORK/p$k/${file#"$WORK/p1/"}" bs=1 seek=700 conv=notrunc status=none
done
mount_start
check "the account goes on after a new mount" [ "$(cost)" -ge "$paid" ]
check "reads are exact" same_tree "$WORK/src" "$MNT"
check "what they met is repaired by itself" wait_for 60 is_as_before p1 p3 p4
check "status says so" wait_for 20 repair_says objects 0
check "repair has nothing to do" ends_with 0 c2 --progress=none repair
mount_stop
finish
