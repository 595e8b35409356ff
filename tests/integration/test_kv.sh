#!/bin/bash
# SPDX-License-Identifier: MIT
# c2fsctl kv by hand: what is typed wrong changes nothing, any bytes come back, a lost lock is told.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
METADATA=bft
begin "$@"
kv() { meta kv "$@"; }
value_is() { # KEY VALUE
    [ "$(kv get "$1")" = "$2" ]
}
says() { # CODE TEXT COMMAND... : it ends with this code and says this
    local code=$1 text=$2 rc
    shift 2
    "$@" >"$WORK/says" 2>&1 </dev/null
    rc=$?
    [ "$rc" -eq "$code" ] && grep -qF -- "$text" "$WORK/says" || { echo "exit code $rc:"; head -5 "$WORK/says"; return 1; }
}

note "a new service"
for address in a:0 a:05 a 'a b:1' '*:1' ::1:1 '[::1:1' '[]:1' 'http://a:1'; do
    check "$address is no address" says 3 "HOST:PORT, [IPV6]:PORT" "$C2FSCTL" meta init "$WORK/none" "$address" b:1 c:1 d:1
done
check "three replicas are too few" ends_with 3 "$C2FSCTL" meta init "$WORK/none" a:1 b:1 c:1
check "a dry run" says 0 "nothing was written" "$C2FSCTL" --dry-run meta init "$WORK/none" '[::1]:1' b:1 c:1 d:1
check "leaves nothing" [ ! -e "$WORK/none" ]
# Files of 1 KiB at most: root.pub has more.
# shellcheck disable=SC2016 # for the other shell
check "a file that cannot be written" says 1 "larger than its limit" \
    bash -c 'trap "" XFSZ; ulimit -f 1; exec "$@"' - "$C2FSCTL" meta init "$WORK/none" a:1 b:1 c:1 d:1
check "leaves nothing either" [ ! -e "$WORK/none" ]
replicas_new
check "a replica that has never run is not damaged" says 0 "never run" "$METAD" --verify -C "$COORD/replica-1/c2fs-metad.conf"
check "a folder that is there is not taken" ends_with 10 "$C2FSCTL" --dry-run meta init "$COORD" a:1 b:1 c:1 d:1
replicas_start
check "all replicas run" wait_for 60 replicas_run
cp -r "$COORD/replica-1" "$WORK/copy"
check "a copy of a folder finds the port in use" says 1 "another program does" "$METAD" -C "$WORK/copy/c2fs-metad.conf" -f

note "what is typed wrong changes nothing"
check "a key" kv put a 1
check "an option behind the key is none" says 2 "comes before the keys" kv delete a --prefix
check "an unknown option is none" says 2 "comes after --" kv delete --all a
check "there is no trying" says 2 "nothing was done" meta --dry-run kv delete a
check "not of transactions either" says 2 "nothing was done" meta --dry-run kv txn --delete a
check "an empty key" says 1 "1 to 500 bytes" kv put "" 1
check "a key of the service" says 1 "0xff" kv delete $'\xff'
check "an operation that is none" says 2 "--remove is no condition" kv txn --delete a --remove a
check "one word too few" says 2 "--put takes KEY VALUE" kv txn --delete a --put b
check "a version that is none" says 2 "a version is a number" kv txn --if-version a x --delete a
check "standard input twice" says 2 "one key only" kv txn --put a - --put b -
check "a counter that is none" says 1 "a counter" kv txn --add a 1
check "a condition that does not hold" says 10 "condition 2, --if-absent, does not hold" \
    kv txn --if-exists a --if-absent a --delete a
head -c 65537 /dev/zero >"$WORK/large"
put_large() { kv put a - <"$WORK/large"; }
check "a value that is too large" ends_with 1 put_large
check "the key has its value still" value_is a 1
check "an option of c2fsctl behind a transaction" says 2 "--json comes in front of the command" kv txn --delete a --json
check "an option that meta init does not know" says 2 "--json comes in front" "$C2FSCTL" meta init "$WORK/none" a:1 b:1 c:1 d:1 --json
check "every command tells what it takes" says 0 "usage: c2fsctl kv txn" kv txn --help

usage_is_json() { # COMMAND...
    "$@" 2>"$WORK/says" </dev/null
    [ "$(json '[d["schema"], d["code"], d["exit"]]' <"$WORK/says")" = "['c2fs.error/1', 'E_USAGE', 2]" ]
}
check "a wrong call is JSON for programs" usage_is_json meta --json kv get
check "an option that there is not" usage_is_json meta --json meta client --none
check "a command that there is not" usage_is_json meta --json kv gett a

long=$(printf '%0501d' 0)
check "a prefix that no key has" says 1 "1 to 500 bytes" kv range "$long"
check "not to be watched either" says 1 "1 to 500 bytes" kv watch "$long"
check "an option of c2fsctl itself" says 2 "-C comes in front of the command" "$C2FSCTL" kv get a -C "$COORD/client.conf"
check "an option without its value" says 2 "-s takes the name of a service" kv get -s
check "a number that is none" says 2 "--count takes a number" kv watch --count x a
check "a lock for no command" says 2 "which command?" kv lock l --
check "an option that a command has not" says 2 "cannot use --all here" meta meta dump --all
check "is no file's name" [ ! -e --all ]
check "a dump of a service by its option" says 0 "keys are in" meta meta dump "$WORK/dump" -s coord

note "any bytes"
check "a key like an option" kv put -- --prefix -5
check "is one" [ "$(kv get -- --prefix)" = -5 ]
head -c 65536 /dev/urandom >"$WORK/bytes"
put_bytes() { kv put bytes - <"$WORK/bytes"; }
check "the largest value" put_bytes
kv get --raw bytes >"$WORK/back"
check "comes back" cmp "$WORK/bytes" "$WORK/back"
full() { kv get --raw bytes >/dev/full; }
check "or not at all" ends_with 1 full
check "a key of two lines" kv put $'lines/a\nb' $'one\ntwo\n'
check "is on one line" [ "$(kv range lines/)" = "0x6c696e65732f610a62	0x6f6e650a74776f0a" ]
check "and as it is alone" [ "$(kv get $'lines/a\nb')" = $'one\ntwo' ]
check "letters" kv put lines/ä ö
check "are text" [ "$(kv range lines/ä)" = "lines/ä	ö" ]
check "for programs as well" [ "$(meta --json kv get lines/ä | json '[d["key"], d["value"]]')" = "['lines/ä', 'ö']" ]
check "half a letter" kv put lines/half $'\xc3'
check "is none" [ "$(kv get lines/half)" = 0xc3 ]
check "an empty value" kv put empty ""
check "is empty" [ -z "$(kv get --raw empty)$(kv get empty)" ]
check "a counter" kv txn --add count 40
check "that goes back" kv txn --add count -41
check "is a number" [ "$(kv get --number count)" = -1 ]

note "closed descriptors"
closed() { "$@" <&- >&- 2>&-; } # for their place in the order, and for the daemon's own files
check "what cannot be written fails" ends_with 1 closed kv get a
check "what cannot be read, too" ends_with 1 closed kv put a -
check "the key has its value" value_is a 1
help_full() { "$C2FSCTL" help kv get >/dev/full; }
check "half a help" ends_with 1 help_full
replica_stop 4
check "a replica that is started without any" closed "$METAD" -C "$COORD/replica-4/c2fs-metad.conf"
REPLICA_PID[4]=$(cat "$COORD/replica-4/data/lock")
check "has its folder for itself" says 1 "replica-4/data is in use by process" "$METAD" -C "$COORD/replica-4/c2fs-metad.conf" -f
check "takes part" wait_for 60 replicas_run
kill "${REPLICA_PID[4]}"
wait_for 60 fails alive "${REPLICA_PID[4]}"
REPLICA_PID[4]=
replica_start 4

note "dump and load"
echo mine >"$WORK/keys.tmp"
check "what is beside a dump" meta meta dump "$WORK/keys"
check "stays what it is" grep -qx mine "$WORK/keys.tmp"
check "and nothing is left there" [ "$(echo "$WORK"/keys*)" = "$WORK/keys $WORK/keys.tmp" ]
check "there is no trying" says 2 "nothing was done" meta --dry-run meta dump "$WORK/tried"
check "a dump is a file" says 1 "first write it to a file" meta meta load <(cat "$WORK/keys" 2>/dev/null)

note "the keys of others"
must "another service" "$C2FSCTL" meta init "$WORK/other" a:1 b:1 c:1 d:1
check "its administrator admits nobody here" says 9 "not that of an administrator of this service" \
    meta meta client "$WORK/stranger" --admin "$WORK/other/admin.key"
check "and no folder is made" [ ! -e "$WORK/stranger" ]
check "a try makes none" says 0 "nothing was written" meta --dry-run meta client "$WORK/c"
check "a client" meta meta client "$WORK/c" --prefix c
check "a folder that is there is not tried" ends_with 10 meta --dry-run meta client "$WORK/c"
check "it gets its part" meta meta acl grant c "$WORK/c/client.key" read --admin "$COORD/admin.key"
check "a grant is told to programs" [ "$(meta --json meta acl grant c "$COORD/client.key" read | json 'd["done"]')" = true ]
check "and its end" [ "$(meta --json meta acl revoke c "$COORD/client.key" | json 'd["done"]')" = true ]
check "who has no rights there loses none" says 4 "this key has no rights there" meta meta acl revoke c "$COORD/client.key"
check "nor in a part that is none" says 4 "no such entry" meta meta acl revoke d "$COORD/client.key"

note "watches"
"$C2FSCTL" -C "$COORD/client.conf" kv watch w/ > >(head -n 1 >/dev/null) 2>"$WORK/unheard" &
watcher=$!
started $watcher
# shellcheck disable=SC2317 # called by wait_for
unheard() { kv put w/a 1; ! alive $watcher; }
check "one that nobody hears ends" wait_for 60 unheard
wait $watcher
check "and says so" [ $? -eq 1 ]
"$C2FSCTL" -C "$COORD/client.conf" kv watch --count 2 w/ >"$WORK/heard" 2>&1 &
watcher=$!
started $watcher
check "one begins" wait_for 60 grep -q reload "$WORK/heard"
kill -INT $watcher
wait $watcher
check "interrupted before its end it tells" [ $? -eq 130 ]
(trap '' HUP; exec "$C2FSCTL" -C "$COORD/client.conf" kv watch --count 1 w/) >"$WORK/heard2" 2>&1 &
watcher=$!
started $watcher
check "one with nohup begins" wait_for 60 grep -q reload "$WORK/heard2"
kill -HUP $watcher
check "and goes on" kv put w/b 1
wait $watcher
check "to its end" [ $? -eq 0 ]

note "locks"
meta --json kv lock json >"$WORK/token" 2>>"$LOG" &
holder=$!
started $holder
check "the token for programs" wait_for 60 [ -s "$WORK/token" ]
check "is the version of the key" [ "$(json 'd["token"]' <"$WORK/token")" = "$(meta --json kv get json | json 'd["version"]')" ]
pkill -TERM -P $holder
wait $holder
check "a key with a value is no lock" ends_with 10 kv lock a -- true
check "the command's exit code" ends_with 3 kv lock l -- sh -c 'exit 3'
without_children() { # COMMAND... : started by who does not wait for any
    python3 -c 'import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])' "$@"
}
check "whoever started it" ends_with 3 without_children "$C2FSCTL" -C "$COORD/client.conf" kv lock l -- sh -c 'exit 3'
"$LIB/on_terminal" "$C2FSCTL" -C "$COORD/client.conf" kv lock l -- "$LIB/count_int" "$WORK/interrupts" >>"$LOG" 2>&1 &
terminal=$!
started $terminal
check "a command on a terminal" wait_for 60 [ -s "$WORK/interrupts" ]
kill -USR1 $terminal # types Ctrl-C
wait $terminal
check "hears of Ctrl-C once" [ "$(cat "$WORK/interrupts")" = $'ready\x02' ]
check "with options of its own" kv lock -s coord l -- sh -c 'exit 0' -s
"$C2FSCTL" -C "$COORD/client.conf" kv lock l -- sh -c "echo \$\$ >'$WORK/pid'; exec sleep 600" >>"$LOG" 2>&1 &
holder=$!
started $holder
check "a command runs" wait_for 60 [ -s "$WORK/pid" ]
kill -9 $holder
# shellcheck disable=SC2317 # called by wait_for
ended() { ! alive "$(cat "$WORK/pid")"; }
check "and ends with who holds its lock" wait_for 60 ended
wait $holder 2>/dev/null
"$C2FSCTL" -C "$COORD/client.conf" kv lock b -- sh -c "touch '$WORK/mine'; exec sleep 600" >"$WORK/broken" 2>&1 &
holder=$!
started $holder
check "another one is held" wait_for 60 [ -e "$WORK/mine" ]
check "and broken" kv delete b
wait $holder
check "the holder is told" [ $? -eq 10 ]
meta kv lock l -- sh -c "touch '$WORK/held'; exec sleep 600" >"$WORK/holder" 2>&1 &
holder=$!
check "it is held" wait_for 60 [ -e "$WORK/held" ]
replica_kill 3
replica_kill 4
wait "$holder"
rc=$?
check "a holder that the service does not answer is told (exit code $rc)" [ "$rc" -eq 10 ]
check "by a sentence" grep -q 'was lost while the command ran' "$WORK/holder"
meta meta dump "$WORK/late" >>"$LOG" 2>&1 &
dumping=$!
started $dumping
check "a dump waits for the service" wait_for 60 compgen -G "$WORK/late.*"
pkill -INT -P $dumping
wait $dumping
check "interrupted it ends" [ $? -eq 130 ]
check "and leaves nothing" fails compgen -G "$WORK/late*"
replicas_start 3 4
check "another one gets it" wait_for 60 kv lock l -- true

note "a change of the members that is interrupted"
check "all replicas run" wait_for 60 replicas_run
port=$(free_ports 1)
add_one() { # once more, while those that it needs do not say in time that they run
    local rc
    for _ in $(seq 10); do
        meta meta replica add "127.0.0.1:$port"
        rc=$?
        [ "$rc" -eq 11 ] || break
    done
    return "$rc"
}
add_one >>"$LOG" 2>&1 &
adding=$!
started $adding
check "its files are there" wait_for 60 [ -e "$COORD/replica-17/data/first-start" ]
pkill -9 -P $adding
wait $adding 2>/dev/null
# It may be made, be on its way, or be none at all.
add_one >"$WORK/says" 2>&1
if grep -q "its replica is no member" "$WORK/says"; then
    rm -r "$COORD/replica-17"
    check "without what was left it is made" add_one
else
    check "the same once more tells that it is made" grep -qE "is made now|has the address" "$WORK/says"
    check "and does not make it twice" says 3 "has the address" add_one
fi
replica_start 17
REPLICAS=17
check "all of them run" wait_for 60 replicas_run
check "five" [ "$(meta --json meta status | json 'len(d["replicas"])')" = 5 ]
replicas_stop
finish
