#!/bin/bash
# SPDX-License-Identifier: MIT
# Providers are replaced, added, drained, removed while people work; killed anywhere and resumed.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
KILLS=${KILLS:-2}          # of the daemon while a provider is replaced
SENSORS=${SENSORS:-24}     # files of the data set; the full size: 20000, with LARGE=4x512M
LARGE=${LARGE:-1x6M}
RATE=${RATE:-6M}           # of the first replacement, so that there is something to interrupt
RANDOM=$SEED

sample_set "$WORK/src" --sensors "$SENSORS" --images 2 --large "$LARGE"
sample_set "$WORK/more" --sensors "$SENSORS" --images 2
VOLUME_EXTRA=("pack_size = 256K")
volume_new
mount_start
mkdir "$MNT/a" "$MNT/b"
must "fill" rsync -aHAX "$WORK/src/" "$MNT/a/"
flush

section() { # NAME : a provider that the volume does not have yet
    mkdir -p "$WORK/$1"
    printf '[provider "%s"]\nurl = dir:%s\n' "$1" "$WORK/$1" >>"$CONF"
}
seat_bytes() { # NAME
    find "$WORK/$1" -path '*/o/*' -type f ! -name '.c2tmp-*' -printf '%s\n' | awk '{ s += $1 } END { print s + 0 }'
}
job_is() { # KIND STATE
    [ "$(c2 --json job list | json "[j['state'] for j in d['jobs'] if j['kind'] == '$1'][0]")" = "$2" ]
}
counter() { # KIND NAME
    c2 --json job list | json "[j['counters']['$2'] for j in d['jobs'] if j['kind'] == '$1'][0]"
}
# What a kill has left half written is no object.
same_objects() { # A B : every object of A is in B, byte for byte
    local key n=0
    while read -r key; do
        cmp "$WORK/$1/$key" "$WORK/$2/$key" || return 1
        n=$((n + 1))
    done < <(cd "$WORK/$1" && find . -path '*/o/*' -type f ! -name '.c2tmp-*')
    [ "$n" -gt 0 ]
}
# Runs until the file is gone: reads everything again and again, counts what is wrong.
reader() {
    while [ -e "$WORK/reading" ]; do
        cmp -s "$WORK/src/$victim" "$MNT/a/$victim" || mounted || continue
        cmp "$WORK/src/$victim" "$MNT/a/$victim" >>"$WORK/reader.errors" 2>&1 && echo x >>"$WORK/reader.count"
        sleep 0.05
    done
}

# A file that is being written: half of it is in the clouds and in no record.
write_half() { # NAME
    rm -f "$WORK/rest"
    python3 - "$WORK/$1" "$MNT/$1" "$WORK/rest" <<'END' &
import os, sys, time
data = open(sys.argv[1], "rb").read()
with open(sys.argv[2], "wb", buffering=0) as f:
    f.write(data[:4 << 20])
    while not os.path.exists(sys.argv[3]):
        time.sleep(0.05)
    f.write(data[4 << 20:])
END
    half=$!
    started "$half"
}
objects_of() { # FILE
    getfattr --only-values -n user.c2fs.info "$1" | json 'len(d["objects"])'
}
in_objects() { # NAME
    [ "$(objects_of "$MNT/$1")" -ge 2 ]
}
write_rest() {
    touch "$WORK/rest"
    wait "$half"
}

# ---- refusals -----------------------------------------------------------------------------------
check "a plan shows shares and bytes" [ "$(c2 --json provider plan drain p1 | json 'd["upload_bytes"] > 0')" = true ]
check "remove is refused: too few would be left" ends_with 11 c2 provider remove p1
check "an unknown provider is named" ends_with 4 c2 provider remove p9
check "a new one needs a section" ends_with 3 c2 --yes provider replace p1 p5
must "offline" c2 provider offline p4
check "a second one offline is refused" ends_with 11 c2 provider offline p3
section p4x
check "replacing another one meanwhile is refused" ends_with 11 c2 --yes provider replace p3 p4x
check "status knows" status_is '[p["state"] for p in d["providers"] if p["name"] == "p4"][0]' offline
must "online" c2 provider online p4

# ---- replace, old alive, killed -----------------------------------------------------------------
section p5
echo 'price_put = 1000' >>"$CONF"
check "a dry run changes nothing" c2 --dry-run provider replace p2 p5
check "a plan has the price of every request" [ "$(c2 --json provider plan replace p2 p5 |
    json 'd["cost_micro"] == (d["put_requests"] + d["list_requests"]) * 1000000 and d["egress_bytes"] == d["upload_bytes"] > 0')" = true ]
check "and says it" eval "c2 provider plan replace p2 p5 | grep -qE '^ +cost: at most [0-9]+[.][0-9]{4}\$'"
cp "$CONF" "$WORK/dear.conf"
printf '[provider "p2"]\nprice_egress = 1000\n' >>"$WORK/dear.conf"
check "a plan counts two shares of cheap ones for one of a dear one" [ "$("$C2FSCTL" -C "$WORK/dear.conf" -V t --json provider plan replace p2 p5 |
    json 'd["old_answers"] and not d["copied"] and d["egress_bytes"] == 2 * d["upload_bytes"] > 0 and d["get_requests"] == 4 * d["shares"]')" = true ]
check "nothing is there" [ "$(seat_bytes p5)" -eq 0 ]
must "start to replace p2" c2 --yes provider replace p2 p5 --limit 16K --detach
must "p5 gets its seat" wait_for 60 status_is '[p["state"] for p in d["providers"] if p["name"] == "p5"]' "['rebuilding']"
must "think better of it" c2 job cancel replace
check "status tells both ways" eval 'c2 status | tr -s " \\n" " " | grep -q "replace p2 p5. goes on with it, .c2fsctl provider replace p5 p2. takes it back"'
must "back to p2" c2 --yes --progress=none provider replace p5 p2
check "p2 has its seat" status_is '[p["state"] for p in d["providers"] if p["name"] == "p2"][0]' online
rm -rf "$WORK/p5"
mkdir "$WORK/p5"
must "start to replace p2 again" c2 --yes provider replace p2 p5 --limit 16K --detach
must "p5 gets its seat again" wait_for 60 status_is '[p["state"] for p in d["providers"] if p["name"] == "p5"]' "['rebuilding']"
check "a plan meanwhile does not count on p2" [ "$(c2 --json provider plan replace p2 p5 | json 'd["old_answers"]')" = false ]
check "the same command goes on with it" c2 --yes provider replace p2 p5 --limit "$RATE" --detach
for ((k = 0; k < KILLS; k++)); do
    sleep "0.$((RANDOM % 9))"
    mount_kill
    mount_start
    check "kill $k: the job goes on or is done" wait_for 60 eval 'job_is replace running || job_is replace done'
done
c2 job limit replace none >/dev/null 2>&1 # it may be done
check "it comes to its end" timeout 300 "$C2FSCTL" -C "$CONF" -V t --progress=json job watch replace
# Not the other way round: p2 may also have a share that came too late to count.
check "every share in the new place is the old one" same_objects p5 p2
check "none is missing" ends_with 0 c2 --progress=none scrub start --exists
rm -rf "$WORK/p2"
check "everything is there" same_tree "$WORK/src" "$MNT/a"

# ---- replace under load, old dead ---------------------------------------------------------------
section p6
victim=$(cd "$WORK/src" && find . -type f -size +100k | sort | head -1)
touch "$WORK/reading"
reader &
reader=$!
started "$reader"
rsync -aHAX "$WORK/more/" "$MNT/b/" >"$WORK/rsync.log" 2>&1 &
writer=$!
started "$writer"
head -c 5M /dev/urandom >"$WORK/half"
write_half half
must "half of a file is uploaded" wait_for 60 in_objects half
mv "$WORK/p3" "$WORK/p3-gone" # whole at once, while it is written to
check "a plan does not count on it" [ "$(c2 --json provider plan replace p3 p6 | json 'd["old_answers"]')" = false ]
must "replace a dead provider while files are written and read" c2 --yes --progress=none provider replace p3 p6
check "no writer saw an error" wait "$writer"
check "readers read" wait_for 60 [ -s "$WORK/reader.count" ]
rm "$WORK/reading"
wait "$reader"
check "no reader saw an error" [ ! -s "$WORK/reader.errors" ]
check "the rest of the file is written" write_rest
flush
check "no share is missing" ends_with 0 c2 --progress=none scrub start --exists

# ---- add, drain, remove -------------------------------------------------------------------------
mkdir "$WORK/p7"
must "add a fifth" c2 provider add p7 "dir:$WORK/p7"
check "the configuration has it" grep -q '^\[provider "p7"\]' "$CONF"
cp -a "$WORK/more" "$WORK/late"
must "write to five" rsync -aHAX "$WORK/late/" "$MNT/c/"
flush
must "remove one of five" c2 --yes --progress=none provider remove p1
check "it is not listed any more" fails grep -q '^p1 ' <(c2 provider list)
mv "$WORK/p1" "$WORK/p1-gone"
remount_cold
check "a" same_tree "$WORK/src" "$MNT/a"
check "b" same_tree "$WORK/more" "$MNT/b"
check "c" same_tree "$WORK/late" "$MNT/c"
check "the file that was written meanwhile" cmp "$WORK/half" "$MNT/half"
check "online" wait_for 60 status_is 'd["state"]' online
check "new credentials are taken over" c2 provider set-credentials p5
mount_stop

# ---- from the clouds alone, with two buckets that say they are the same seat ----------------------
mv "$WORK/p1-gone" "$WORK/p1"
rm -rf "$WORK/meta" "$WORK/cache"
must "recover with the configuration as it is now" c2 recover --from-clouds --accept-loss
mount_start
check "recovered: a" same_tree "$WORK/src" "$MNT/a"
check "recovered: c" same_tree "$WORK/late" "$MNT/c"
check "recovered: the providers as they were last" fails grep -q '^p1 ' <(c2 provider list)

# ---- what a provider still has that has left ------------------------------------------------------
check "it is not asked of one in use" ends_with 11 c2 --yes provider purge p5
check "there is something" [ "$(c2 --json --dry-run provider purge p1 | json 'd["objects"] > 0 and not d["deleted"]')" = true ]
check "without a yes it stays" fails c2 provider purge p1 </dev/null
check "it has stayed" [ "$(seat_bytes p1)" -gt 0 ]
touch "$WORK/p1/something-else"
check "with a yes it goes" c2 --yes provider purge p1
check "all of it" [ -z "$(find "$WORK/p1" -path '*/v1/*' -type f ! -name '.c2tmp-*')" ]
check "and nothing else" [ -e "$WORK/p1/something-else" ]
check "again there is nothing" [ "$(c2 --json --yes provider purge p1 | json 'd["objects"]')" = 0 ]
must "empty the cache" c2 cache clear
check "nobody misses it" same_tree "$WORK/src" "$MNT/a"
mount_stop

# ---- f = 2 ----------------------------------------------------------------------------------------
rm -rf "$WORK/meta" "$WORK/cache" "$WORK/t.key"
PROVIDERS=(q1 q2 q3 q4 q5 q6 q7)
volume_new --f 2
mount_start
must "seven: fill" rsync -aHAX "$WORK/more/" "$MNT/"
flush
mv "$WORK/q1" "$WORK/q1-gone"
rm -rf "$WORK/q2"
remount_cold
check "seven: two are lost, everything is there" same_tree "$WORK/more" "$MNT"
section q8
must "seven: replace one of two dead ones" c2 --yes --progress=none provider replace q1 q8
written=$(counter replace bytes_written)
new_bytes=$(seat_bytes q8)
check "as much as the seat had was uploaded, within 3 % ($written of $new_bytes)" \
    [ "$((written * 100))" -ge "$((new_bytes * 97))" -a "$((written * 100))" -le "$((new_bytes * 103))" ]
check "seven: the same shares" same_objects q8 q1-gone
check "seven: everything is there" same_tree "$WORK/more" "$MNT"
check_fsck
mount_stop
finish
