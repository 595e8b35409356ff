#!/bin/bash
# SPDX-License-Identifier: MIT
# c2fsctl unit: writers, readers and locks over four providers that fail, lie and disappear.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
KILLS=${KILLS:-12}

for p in "${PROVIDERS[@]}"; do
    mkdir "$WORK/$p"
    PROVIDER_EXTRA[$p]=$'retries = 1\nbackoff = 10ms'
done
write_conf
cd "$WORK" || exit 1
unit() { # of the configuration at hand
    timeout 300 "$C2FSCTL" -C "$CONF" "${GLOBAL[@]}" unit "$@"
}
GLOBAL=()
# says CODE REGEX ARGUMENT... : exit code, the cause in words, a hint of what to type.
says() {
    local code=$1 regex=$2 rc
    shift 2
    unit "$@" >"$WORK/out" 2>"$WORK/err" </dev/null
    rc=$?
    cat "$WORK/out" "$WORK/err"
    [ "$rc" -eq "$code" ] || { echo "exit code $rc instead of $code"; return 1; }
    grep -qE -- "$regex" "$WORK/err" || { echo "no /$regex/ in the message"; return 1; }
    [ "$code" -eq 2 ] || grep -qE '^hint:|"hint":' "$WORK/err" || { echo "no hint"; return 1; }
}
gives() { # TEXT ARGUMENT... : of unit get
    local want=$1 got
    shift
    got=$(unit get "$@") || return 1
    [ "$got" = "$want" ] || { echo "got: $got"; return 1; }
}
put() { # TEXT ARGUMENT...
    printf '%s' "$1" | unit put "${@:2}"
}

must "a writer's key" unit key "$WORK/key"
must "another one" unit key "$WORK/key2"
PUB=$(sed -n 's/^public = //p' key)
check "the key is the owner's alone" [ "$(stat -c %a key)" = 600 ]
check "a key is never replaced" says 10 'exists' key "$WORK/key"

# bad input
while IFS='|' read -r code regex arguments; do
    read -r -a words <<<"$arguments"
    check "bad input: unit $arguments" says "$code" "$regex" "${words[@]}"
done <<END
2|an argument is missing|put
2|does not begin with a dot|put .hidden --key key
2|at most 64 letters|put a/b --key key
2|whose signatures count|get a
2|whose signatures count|put a
9|writing takes a key|put a --writer $PUB
2|unknown option|put a --keys key
2|no such option|get a --key key --keep 3
2|--keep takes 1 to 64|put a --key key --keep 65
2|--keep takes 1 to 64|put a --key key --keep 0
2|--protocol takes|put a --key key --protocol b
2|--wait takes a time|put a --key key --wait soon
2|--lease takes 15s|put a --key key --lease 1s
2|--version takes|get a --key key --version 0
2|--version takes|get a --key key --version -1
2|--session takes|unlock a --key key --session 123
2|whose lock|unlock a --key key
2|too many arguments|get a b --key key
2|--f takes|get a --key key --f 3
2|how many versions|gc a --key key
3|4 providers with f = 2|get a --key key --f 2
3|64 hex digits|get a --writer c2fs.conf
4|key3|get a --key key3
4|nowhere|put a nowhere --key key
4|no such unit|get a --key key
4|no such unit|versions a --key key
4|no such unit|gc a --key key --keep 1
4|p9|get a --key key --provider p1 --provider p2 --provider p3 --provider p9
11|every version|delete a --key key
END
chmod 644 key2
check "a key that others can read" says 9 'others can read' put a key --key key2
chmod 600 key2
head -c 33554433 /dev/zero >huge
check "a value of more than 32 MiB" says 1 '32 MiB' put a huge --key key
rm huge
GLOBAL=(--json)
check "an error in JSON" says 4 '"schema":"c2fs.error/1".*"E_NOT_FOUND".*"hint"' get a -o out --key key
GLOBAL=()

# values
head -c 3000000 /dev/urandom >blob
same() {
    unit get "$@" -o back && cmp blob back
}
for protocol in a ca; do
    check "$protocol: put" unit put "blob-$protocol" blob --key key --protocol $protocol
    check "$protocol: get" same "blob-$protocol" --writer "$PUB"
done
check "an empty value" put "" empty --key key
check "comes back" gives "" empty --key key
check "versions" put two empty --key key --keep 2
check "an older version" gives "" empty --version 1 --key key
check "list" [ "$(unit list | tr '\n' ' ')" = "blob-a blob-ca empty " ]
GLOBAL=(--json)
check "JSON of a version" bash -c "$(declare -f unit); C2FSCTL='$C2FSCTL' CONF='$CONF' GLOBAL=(--json)
    unit get blob-ca -o out --key key | python3 -c '
import json, sys
v = json.load(sys.stdin)
assert v[\"schema\"] == \"c2fs.unit/1\" and v[\"size\"] == 3000000 and v[\"protocol\"] == \"ca\"
assert v[\"writer\"] == \"$PUB\" and len(v[\"placed\"]) >= 3'"
GLOBAL=()
check "somebody else's key is not believed" says 9 'not among the writers' get empty --key key2
check "nor may it write" says 9 'not among the writers' put empty key --key key2
check "two writers who know each other" put three empty --key key2 --writer "$PUB"
check "are believed by who knows both" gives three empty --writer key --writer key2
check "no provider has a value of protocol ca" fails grep -rqF "$(head -c 40 blob | tr -d '\0\n')" p1/v1/00000000/u/blob-ca

# a provider that is gone, corrupt, lying
save() { rm -rf "$WORK/saved" && mkdir "$WORK/saved" && cp -r p? "$WORK/saved"; }
restore() { rm -rf p? && cp -r "$WORK"/saved/p? . ; }
save
damage() { # KIND PROVIDER
    case $1 in
    gone) rm -r "$2" && touch "$2" ;;
    empty) rm -r "$2" && mkdir "$2" ;;
    corrupt) find "$2" -type f -exec sh -c 'for f; do printf x | dd of="$f" bs=1 seek=70 conv=notrunc status=none; done' - {} + ;;
    stale) rm -r "$2" && cp -r "$WORK/stale" "$2" ;;
    esac
}
cp -r p1 stale
check "a newer version" put newest empty --key key --writer key2
save
for kind in gone empty corrupt stale; do
    for protocol in a ca; do
        damage $kind p1
        check "p1 $kind: get, $protocol" same "blob-$protocol" --key key
        check "p1 $kind: get the newest" gives newest empty --key key --writer key2
        check "p1 $kind: put, $protocol" put "with $kind" "x-$protocol" --key key --protocol $protocol
        check "p1 $kind: get that" gives "with $kind" "x-$protocol" --key key
        restore
    done
done
for fault in lie corrupt forge noack truncate; do
    PROVIDER_EXTRA[p2]="${PROVIDER_EXTRA[p1]}"$'\n'"fault = $fault"
    write_conf
    check "p2 with $fault: put" put "with $fault" y --key key
    check "p2 with $fault: get" gives "with $fault" y --key key
done
PROVIDER_EXTRA[p2]=${PROVIDER_EXTRA[p1]}
write_conf
damage gone p1
damage gone p2
check "two gone: get" says 5 'too few providers' get blob-ca --key key
check "two gone: put" says 5 'too few providers' put blob-ca key --key key --wait 0s
check "two gone: list" says 5 'too few providers' list
restore
check "two back" same blob-ca --key key

# locks
S=$(unit lock shared --lease 1h --key key)
check "lock prints a session" grep -qE '^[0-9a-f]{16}$' <<<"$S"
check "others wait" says 10 'locked by the writer' put shared key --key key2 --writer key --wait 0s
check "so do other commands of the same writer" says 10 'locked by' put shared key --key key --wait 0s
check "the session writes" put mine shared --key key --session "$S"
check "and still holds the lock" says 10 'locked by' put shared key --key key --wait 0s
check "readers do not wait" gives mine shared --key key
check "unlock" unit unlock shared --key key --session "$S"
check "free again" put yours shared --key key2 --writer key --wait 250s
pids=()
for i in 1 2 3 4 5 6; do
    k=key o=key2
    [ $((i % 2)) -eq 0 ] || { k=key2 o=key; }
    put "writer $i" shared --key $k --writer $o --wait 250s >"$WORK/w$i" 2>&1 &
    pids+=($!)
done
together=0
for pid in "${pids[@]}"; do wait "$pid" || together=1; done
check "six writers at once all succeed" [ $together -eq 0 ]
check "with versions of their own" [ "$(cat w? | sort -u | wc -l)" -eq 6 ]
check "and the last one counts" [ "$(unit get shared --key key --writer key2)" = \
    "writer $(grep -l "version 8," w? | tr -dc 0-9)" ]

# writers that die at any moment: a write takes longer than the longest that one lives
for p in "${PROVIDERS[@]}"; do PROVIDER_EXTRA[$p]+=$'\nfault = put.delay:500ms'; done
write_conf
last=0 killed=0
for i in $(seq 1 "$KILLS"); do
    printf 'value %d' "$i" >value
    "$C2FSCTL" -C "$CONF" unit put mortal value --key key --single-writer >/dev/null 2>&1 &
    pid=$!
    sleep "0.$((i * 17 % 30 + 5))"
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    [ $? -ne 137 ] || killed=$((killed + 1))
    got=$(unit get mortal --key key 2>/dev/null)
    rc=$?
    now=${got#value }
    [ $rc -eq 0 ] || [ "$last" -eq 0 ] || { echo "lost after kill $i" >>bad; break; }
    [ $rc -ne 0 ] || [ "$now" -ge "$last" ] || { echo "older after kill $i" >>bad; break; }
    [ $rc -ne 0 ] || last=$now
done
check "writers were killed" [ "$killed" -eq "$KILLS" ]
check "nothing was lost, nothing went back" [ ! -e bad ]
check "the next writer writes" put alive mortal --key key --single-writer
check "and is read" gives alive mortal --key key
check "what they left is collected" unit gc mortal --keep 1 --key key --single-writer
check "from all providers" [ "$(find p?/v1/00000000/u/mortal/v -type f ! -name ".c2tmp-*" -size +0 | wc -l)" -le 4 ]

# the end
GLOBAL=(--yes)
check "delete" unit delete mortal --key key
GLOBAL=()
check "deleted" says 4 'no such unit' get mortal --key key
check "written again, with a new number" [ "$(put again mortal --key key | sed 's/,.*//')" != "mortal version 1" ]
finish
