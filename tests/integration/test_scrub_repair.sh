#!/bin/bash
# SPDX-License-Identifier: MIT
# Shares are deleted, corrupted, swapped: scrub reports exact numbers, repair brings back the same bytes.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
VOLUME_EXTRA=("pack_size = 64K" "repair = manual")
for p in "${PROVIDERS[@]}"; do PROVIDER_EXTRA[$p]="fault ="$'\n'"retries = 1"$'\n'"backoff = 5ms"; done
sample_set "$WORK/src" --sensors 60 --images 2 --large 1x2M
volume_new
mount_start
must "fill" rsync -aHAX "$WORK/src/" "$MNT/"
must "into the clouds" c2 flush
# On a slow machine: parts of files that were packed before the whole, and shares that came too late
# to count. The numbers below are about what the files need.
must "no garbage" wait_for 60 c2 gc --delete --retention 0
must "which shares there are" eval '"$LIB/shares" "$MNT" "$WORK" >"$WORK/shares"'
mount_stop
# Not before it has shares: who is dearer than the others gets none.
plain=${PROVIDER_EXTRA[p1]}
PROVIDER_EXTRA[p1]+=$'\n'"price_get = 1000"$'\n'"price_egress = 0.5"
write_conf
(cd "$WORK" && comm -13 <(cut -d' ' -f3 shares | sort) <(find p? -path '*/o/*' -type f | sort) | xargs -r rm -v) >>"$LOG"

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
check "what it tells is a GET per share of p1, and its bytes" [ "$(c2 --json --dry-run scrub start --data | json 'd["cost_micro"]')" \
    -ge "$(($(objects p1 | wc -l) * 1000000))" ]
check "a scrub that reads nothing costs nothing here" [ "$(c2 --json --dry-run scrub start | json 'd["cost_micro"]')" = 0 ]

# ---- damage at one provider ---------------------------------------------------------------------

is_as_before() { # PROVIDER... : as saved last
    hashes "$@" | cmp "$WORK/saved" -
}

# The two that have most: a provider that is slow for a while gets less.
read -r victim silent _ < <(for p in "${PROVIDERS[@]}"; do echo "$(objects "$p" | wc -l) $p"; done | sort -rn | cut -d' ' -f2 | xargs)
mapfile -t at_victim < <(objects "$victim")
[ ${#at_victim[@]} -ge 8 ] || die "too few objects at $victim: ${#at_victim[@]}"
rm "${at_victim[0]}" "${at_victim[1]}" "${at_victim[2]}"
printf 'x' | dd of="${at_victim[3]}" bs=1 seek=600 conv=notrunc status=none
truncate -s -1 "${at_victim[4]}"
cp "${at_victim[5]}" "$WORK/swap" && cp "${at_victim[6]}" "${at_victim[5]}" && cp "$WORK/swap" "${at_victim[6]}"
check "lists show what is missing" scrub_ends 6 --exists
check "three are" report_says "$victim" missing 3
check "reading everything shows the rest" scrub_ends 6 --data
check "three missing" report_says "$victim" missing 3
check "four corrupt" report_says "$victim" corrupt 4
check "there is evidence of each" [ "$(c2 --json provider evidence "$victim" | json 'len({e["key"] for e in d["evidence"]})')" = 4 ]
check "with what should have come" [ "$(c2 provider evidence "$victim" | grep -c 'expected root')" -ge 4 ]
check "nothing elsewhere" report_says all missing 3
check "seven objects are below their goal" report_says all below_goal 7
check "status says so" repair_says shares_missing 7
check "status has an action" grep -q 'c2fsctl repair' <(c2 status)
check "repair" ends_with 0 c2 --progress=none repair
check "every share is what it was, byte for byte" cmp "$WORK/before" <(hashes "${PROVIDERS[@]}")
check "scrub agrees" scrub_ends 0 --data
check "nothing is left to repair" repair_says objects 0
check "seven shares were rebuilt" repair_says shares_rebuilt 7

grep_status() { # TEXT : in the status of the scrub
    c2 scrub status | grep -q "$1"
}
# ---- a crash in the middle ----------------------------------------------------------------------

rm "${at_victim[@]}"
# So slow that it does not end by itself, whatever else takes its time here.
must "a slow scrub" c2 scrub start --data --limit 30K --detach
check "it runs" wait_for 30 grep_status running
kill -9 "$DAEMON"
wait "$DAEMON" 2>/dev/null
mount_start
check "it goes on" wait_for 30 grep_status running
check "faster" c2 job limit scrub none
check "to its end" ends_with 6 c2 --progress=none job watch scrub
check "with exact numbers" report_says "$victim" missing "${#at_victim[@]}"
check "a whole provider comes back" ends_with 0 c2 --progress=none repair
check "byte for byte" cmp "$WORK/before" <(hashes "${PROVIDERS[@]}")

# ---- faults meanwhile ---------------------------------------------------------------------------

must "$silent is down" c2 provider fault "$silent" down
check "unreachable is not missing" scrub_ends 6 --exists
check "nothing is missing" report_says all missing 0
check "$silent could not be asked" report_says "$silent" unreached "$(objects "$silent" | wc -l)"
must "$silent is back" c2 provider fault "$silent" ''
rm "${at_victim[0]}" "${at_victim[1]}"
must "$victim acknowledges and stores nothing" c2 provider fault "$victim" put.lie
check "another provider takes the shares" ends_with 0 c2 --progress=none repair
check "$victim has none" test ! -e "${at_victim[0]}"
check "it lied" grep -q 'shares_missing' <(c2 --json status)
must "$victim is honest again" c2 provider fault "$victim" ''
check "what was logged meanwhile is repaired, too" ends_with 0 c2 --progress=none repair
check "every object is at its goal" scrub_ends 0 --data
cp "${at_victim[7]}" "$(dirname "${at_victim[7]}")/00000000000000ff"
check "an object that no record names does no harm" scrub_ends 0 --exists
check "but is reported" report_says "$victim" orphan_shares 1
paid=$(cost)
mount_stop
rm "$(dirname "${at_victim[7]}")/00000000000000ff"

# ---- by itself ----------------------------------------------------------------------------------

VOLUME_EXTRA=("pack_size = 64K" "repair_delay = 1s")
write_conf
must "empty the cache" c2 cache clear
hashes "${PROVIDERS[@]}" >"$WORK/saved"
# Of one object the share that reads ask for first, of another one the second, at another provider.
mapfile -t damaged < <(awk '{ split($3, part, "/"); at = part[1] }
    $2 == 0 { first[++n] = $1; first_at[n] = at; first_path[n] = $3 }
    $2 == 1 { second[++m] = $1; second_at[m] = at; second_path[m] = $3 }
    END {
        for (i = 1; i <= n; i++)
            for (j = 1; j <= m; j++)
                if (first[i] != second[j] && first_at[i] != second_at[j]) {
                    print first_path[i] "\n" second_path[j]
                    exit
                }
    }' <(grep -vF -e "${at_victim[0]#*/o/}" -e "${at_victim[1]#*/o/}" "$WORK/shares")) # those have moved
[ ${#damaged[@]} -eq 2 ] || die "no two objects to damage"
for file in "${damaged[@]}"; do printf 'x' | dd of="$WORK/$file" bs=1 seek=700 conv=notrunc status=none; done
# Reads go to the lower seats first, but not to one that was late: as often as it takes.
met_and_repaired() {
    is_as_before "${PROVIDERS[@]}" && return
    c2 cache clear && same_tree "$WORK/src" "$MNT" || touch "$WORK/inexact"
    return 1
}
mount_start
check "the account goes on after a new mount" [ "$(cost)" -ge "$paid" ]
mount_stop
PROVIDER_EXTRA[p1]=$plain # reads would avoid it
write_conf
mount_start
check "reads are exact" same_tree "$WORK/src" "$MNT"
check "what they met is repaired by itself" wait_for 60 met_and_repaired
check "all reads were exact" [ ! -e "$WORK/inexact" ]
check "status says so" wait_for 20 repair_says objects 0
check "repair has nothing to do" ends_with 0 c2 --progress=none repair
mount_stop
finish
