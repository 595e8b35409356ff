#!/bin/bash
# SPDX-License-Identifier: MIT
# A provider is replaced over real S3 servers of two makes while rsync writes and readers verify; killed.
#
# Once with the old provider alive, once with it dead. At KILLS random points of the progress of each
# the replacement is interrupted, in turn:
#   command   kill -9 of the c2fsctl that runs it, and the same command again
#   line      the line to the new provider breaks in the middle of everything, and is mended later
#   job       it is cancelled, and started again
#   daemon    kill -9 of the mount, and mounted again
# A mount ends with its daemon: a reader or writer that meets the death of the daemon, and only that,
# begins again. Any other error that one of them sees fails the test, and so does a wrong byte.
#
# Full size: SIZE=4G KILLS=20 RATE=40M OLD=alive (and OLD=dead) C2FS_BUILD=build/gcc-release.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
SIZE=$(numfmt --from=iec "${SIZE:-6M}")
KILLS=${KILLS:-2}          # of each replacement
RATE=${RATE:-600K}
OLD=${OLD:-alive dead}
RANDOM=$SEED
begin "$@"
# shellcheck source=tests/lib/s3_volume.sh
. "$LIB/s3_volume.sh"
FULL=$((SIZE >= 1 << 30))
VOLUME_EXTRA=("cache_size = 1G")
[ "$FULL" -eq 1 ] || VOLUME_EXTRA+=("pack_size = 256K")

export S3_SERVER_BYTES=$((3 * SIZE + (1 << 30)))
s3_start one rgw us-east-1
s3_start two swift us-east-1
s3_provider p1 one c2fs-1
s3_provider p2 two c2fs-2
s3_provider p3 two c2fs-3
s3_provider p4 one c2fs-4
s3_provider p5 two c2fs-5
s3_provider p6 one c2fs-6
for p in p1 p2 p5 p6; do relay_start $p; done

# ---- who works ----------------------------------------------------------------------------------

# Two states of a tree: every second file is another one, of the same size.
python3 - "$WORK/v1" "$WORK/v2" "$SIZE" "$SEED" <<'END'
import os, random, sys
one, two, size, rng = sys.argv[1], sys.argv[2], int(sys.argv[3]), random.Random(int(sys.argv[4]))
small, large, done, k = 16384, max(size * 15 // 16 // 120, 16384), 0, 0
while done < size:
    length = small if done < size // 16 else large
    folder = f"{k // 500:03d}"
    for top in (one, two):
        os.makedirs(f"{top}/{folder}", exist_ok=True)
        if top == two and k % 2:
            os.link(f"{one}/{folder}/{k}", f"{two}/{folder}/{k}")
            break
        with open(f"{top}/{folder}/{k}", "wb") as f:
            f.write(rng.randbytes(length))
        os.utime(f"{top}/{folder}/{k}", (1e9, 1e9 + (top == two)))
    done += length
    k += 1
END
mapfile -t FILES < <(cd "$WORK/v1" && find . -type f | sort)
: >"$WORK/errors"

# Counts the beginnings and ends of outages of the mount: odd = there is one.
deaths() { # NUMBER
    echo "$1" >"$WORK/deaths.new"
    mv "$WORK/deaths.new" "$WORK/deaths"
}
deaths 0
# met_death BEFORE : there was an outage then, or one has begun since; it is over
met_death() {
    [ $(($1 % 2)) -eq 1 ] || [ "$(cat "$WORK/deaths")" -ne "$1" ] || return 1
    until [ $(($(cat "$WORK/deaths") % 2)) -eq 0 ]; do sleep 0.1; done
}
# until_done WHAT COMMAND... : again after a death of the daemon
until_done() {
    local what=$1 before
    shift
    while before=$(cat "$WORK/deaths"); ! "$@" >>"$WORK/writer.log" 2>&1; do
        met_death "$before" || { echo "writer: $what"; break; }
    done >>"$WORK/errors"
}
# The folder data is in the volume only: nobody writes below where the mount is for a moment not.
writer() { # STATE
    local n
    until_done "rsync" rsync -a --delete "$WORK/$1/" "$MNT/data/tree/"
    for ((n = 0; ; n = (n + 1) % 10)); do
        until_done "a small file" rsync -a "$WORK/v$((n % 2 + 1))/000/0" "$MNT/data/small$n"
        [ -e "$WORK/working" ] || break
        sleep 0.3
    done
}
reader() { # NUMBER
    local file before read=$WORK/read.$1
    RANDOM=$((SEED + $1))
    while [ -e "$WORK/working" ]; do
        before=$(cat "$WORK/deaths")
        file=${FILES[$(((RANDOM * 32768 + RANDOM) % ${#FILES[@]}))]}
        if cat "$MNT/data/tree/$file" >"$read"; then
            cmp -s "$read" "$WORK/v1/$file" || cmp "$read" "$WORK/v2/$file" || echo "wrong: $file"
            echo x >>"$WORK/reads"
        else
            met_death "$before" || echo "reader: $file"
        fi
        [ "$FULL" -eq 1 ] || sleep 0.1 # the servers and the daemon share a small machine with it
    done >"$WORK/reader.$1.log" 2>&1
    grep -E '^(wrong|reader):|differ' "$WORK/reader.$1.log" >>"$WORK/errors"
}

# ---- who interrupts -----------------------------------------------------------------------------

REPLACED=
job_field() { # EXPRESSION of the replacement j of $REPLACED; empty when there is none
    c2 --json job list |
        json "next(($1 for j in d['jobs'] if j['kind'] == 'replace' and j['params'].startswith('old=$REPLACED ')), '')" 2>/dev/null
}
job_goes_on() {
    local state
    state=$(job_field "j['state']")
    [ "$state" = running ] || [ "$state" = 'done' ] || { echo "the job is $state"; return 1; }
}
reached() { # PERMILLE
    local at
    at=$(job_field "j['bytes_done'] * 1000 // max(1, j['bytes_total']) if j['state'] == 'running' else 1000")
    [ "${at:-0}" -ge "$1" ]
}
command_start() { # OLD NEW
    "$C2FSCTL" -C "$CONF" -V t --yes --progress=none provider replace "$1" "$2" --limit "$RATE" >>"$WORK/command.log" 2>&1 &
    COMMAND=$!
    started $COMMAND
}
job_began() {
    [ -n "$(job_field "j['state']")" ]
}
interrupt() { # HOW OLD NEW
    note "interrupt: $1 at $(job_field "j['bytes_done']") of $(job_field "j['bytes_total']")"
    case $1 in
    command)
        kill -9 "$COMMAND" 2>/dev/null
        wait "$COMMAND" 2>/dev/null
        command_start "$2" "$3"
        ;;
    line)
        relay_stop "$3"
        sleep "0.$((RANDOM % 10))"
        relay_start "$3"
        ;;
    job)
        c2 job cancel replace || return 0 # it is done
        wait "$COMMAND" 2>/dev/null
        [ "$(job_field "j['state']")" = 'done' ] || command_start "$2" "$3"
        ;;
    daemon)
        deaths $(($(cat "$WORK/deaths") + 1))
        mount_kill
        mount_start
        deaths $(($(cat "$WORK/deaths") + 1))
        ;;
    esac >>"$LOG" 2>&1
}

# ---- what was uploaded --------------------------------------------------------------------------

# uploaded OLD NEW : of the objects that OLD had, see $WORK/had-OLD, all are at NEW, byte for byte,
# except as many as came too late to OLD to be counted on; and the bodies of the requests that
# brought them, cut off or not, are as many bytes, within 3 %. In a small size, what may have been
# under way when something broke comes on top.
uploaded() {
    s3_objects "$2" >"$WORK/has-$2" || return 1
    python3 - "$WORK/had-$1" "$WORK/has-$2" "$WORK/relay-$2.log" "$FULL" "$KILLS" \
        "$(cat "$WORK/late-$1")" <<'END'
import sys
had, has = ({k: (int(s), t) for k, s, t in map(str.split, open(f))} for f in sys.argv[1:3])
full, kills, late = map(int, sys.argv[4:])
lost = [k for k in had if had[k] != has.get(k)]
stored = sum(size for size, _ in had.values())
not_due = sum(had[k][0] for k in lost)
largest = max(size for size, _ in had.values())
sent = {"whole": 0, "cut": 0}
for line in open(sys.argv[3]):
    verb, path, count, how = line.split()
    if verb == "PUT" and path.split("/some/prefix/")[-1] in had:
        sent[how] += int(count)
total = sum(sent.values())
print(f"{len(had)} objects, {stored} bytes; sent {sent['whole']} whole and {sent['cut']} cut off: "
      f"{100 * total / stored:.2f} %; {len(lost)} not there or different")
under_way = 0 if full else kills * 8 * largest
sys.exit(len(lost) > late or total < stored - not_due or total > 1.03 * stored + under_way)
END
}
at_goal() { # of the scrub's report
    c2 --json scrub report >"$WORK/report.json"
    json '(d["job"]["state"], d["job"]["errors"], d["job"]["counters"]["objects"] > 0,
           d["job"]["counters"]["objects"] == d["job"]["counters"]["healthy"] == d["job"]["counters"]["verified"])' \
        <"$WORK/report.json" >"$WORK/report"
    cat "$WORK/report.json"
    [ "$(cat "$WORK/report")" = "('done', 0, True, True)" ]
}
same_files() { # WANT GOT : the two trees have common files, so link counts differ
    rsync -ac --dry-run -i --delete "$1/" "$2/" >"$WORK/rsync.out" 2>&1 && [ ! -s "$WORK/rsync.out" ] || { head "$WORK/rsync.out"; return 1; }
}

# ---- one replacement ----------------------------------------------------------------------------

# replace_at_work OLD NEW alive|dead STATE : while the tree becomes STATE
replace_at_work() {
    local old=$1 new=$2 how=$3 k point way ways=(line daemon command job) workers=()
    REPLACED=$old
    flush
    s3_objects "$old" >"$WORK/had-$old" || die "cannot list $old"
    must "$how: a look at lists" c2 --progress=none scrub start --exists
    c2 --json scrub report |
        json "[p['extra'] + p['orphan_shares'] for p in d['providers'] if p['name'] == '$old'][0]" >"$WORK/late-$old"
    check "$how: it has something to bring" [ -s "$WORK/had-$old" ]
    touch "$WORK/working"
    : >"$WORK/reads"
    for k in 1 2; do
        reader $k &
        workers+=($!)
    done
    writer "$4" &
    workers+=($!)
    for k in "${workers[@]}"; do started "$k"; done
    [ "$how" = alive ] || relay_stop "$old"
    command_start "$old" "$new"
    check "$how: it begins" wait_for 60 job_began
    for point in $(for ((k = 0; k < KILLS; k++)); do echo $(((RANDOM * 32768 + RANDOM) % 1000)); done | sort -n); do
        must "$how: it comes to $point permille" wait_for 600 reached "$point"
        way=${ways[kill++ % 4]}
        interrupt "$way" "$old" "$new"
        check "$how: after a kill ($way) at $point permille it goes on" wait_for 60 job_goes_on
    done
    c2 job limit replace none >>"$LOG" 2>&1 # it may be done
    must "$how: it comes to its end" timeout 900 "$C2FSCTL" -C "$CONF" -V t --progress=none job watch replace
    wait "$COMMAND" 2>/dev/null
    rm "$WORK/working"
    wait "${workers[@]}"
    check "$how: no reader and no writer saw an error" [ ! -s "$WORK/errors" ]
    head "$WORK/errors"
    check "$how: readers read" [ -s "$WORK/reads" ]
    flush 900
    check "$how: what it had was brought, and not more" uploaded "$old" "$new"
    note "$how: $(cat "$WORK/check.out"); $(wc -l <"$WORK/reads") reads"

    [ "$how" = alive ] || relay_start "$old"
    before=$(relay_requests "$old")
    must "$how: scrub" timeout 900 "$C2FSCTL" -C "$CONF" -V t --progress=none scrub start --data
    check "$how: every object is at its goal" at_goal
    must "$how: empty the cache" c2 cache clear
    check "$how: every byte" same_files "$WORK/$4" "$MNT/data/tree"
    check "$how: every provider is fine" wait_for 60 status_is 'd["state"]' online
    check "$how: the old one is asked for nothing any more" [ "$(relay_requests "$old")" -eq "$before" ]
}

kill=0
volume_new
mount_start
mkdir "$MNT/data"
must "fill" rsync -a "$WORK/v1/" "$MNT/data/tree/"
for k in 5 6; do
    printf '[provider "p%d"]\nurl = %s\n%s\n' $k "${PROVIDER_URL[p$k]}" "${PROVIDER_EXTRA[p$k]}" >>"$CONF"
done
for how in $OLD; do
    case $how in
    alive) replace_at_work p1 p5 alive v2 ;;
    dead) replace_at_work p2 p6 dead v1 ;;
    esac
done
mount_stop
finish
