#!/bin/bash
# SPDX-License-Identifier: MIT
# Every state of a provider: what leads there, that status shows it, what it means for shares, and the way back.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
PROVIDERS=(p1 p2 p3 p4 p5)
for p in "${PROVIDERS[@]}"; do PROVIDER_EXTRA[$p]="retries = 1"$'\n'"backoff = 5ms"$'\n'"fault ="; done
VOLUME_EXTRA=("repair = manual")
volume_new
mount_start

state_is() { # PROVIDER STATE
    status_is "[p['state'] for p in d['providers'] if p['name'] == '$1'][0]" "$2"
}
all_online() {
    status_is "' '.join(sorted({p['state'] for p in d['providers']}))" online
}
files=0
write_one() { # an object of its own
    files=$((files + 1))
    head -c 20000 /dev/urandom >"$WORK/file.$files"
    cp "$WORK/file.$files" "$MNT/file.$files" && timeout 300 "$C2FSCTL" -C "$CONF" -V t flush
}
last_is_in() { # PROVIDER
    providers_of "$MNT/file.$files" | grep -qx "$1"
}
write_to() { # PROVIDER
    write_one && last_is_in "$1"
}
write_until() { # PROVIDER STATE
    write_one && state_is "$1" "$2"
}
refusals() {
    c2 --json provider fault p1 | json 'd["injected"]["forbidden"]'
}
gets() { # PROVIDER
    c2 --json stats | json "[p['requests']['get'] for p in d['providers'] if p['name'] == '$1'][0]"
}

must "all are ONLINE" wait_for 60 all_online
must "a file in p1" wait_for 60 write_to p1
in_p1=$files
mapfile -t holders < <(providers_of "$MNT/file.$in_p1" | grep -vx p1)

# ---- READONLY: it refuses what is new, it gives what it has ----------------------------------------
provider_fault p1 put.forbidden
must "p1 refuses PUTs: READONLY" wait_for 60 write_until p1 readonly
refused=$(refusals) since=$SECONDS
for _ in 1 2 3 4 5 6 7 8; do check "READONLY: writes succeed" write_one; done
check "READONLY: no share goes there" fails last_is_in p1
check "READONLY: it was asked" [ "$refused" -ge 3 ]
check "READONLY: now it is at most every 30 s" [ "$(($(refusals) - refused))" -le $((1 + (SECONDS - since) / 30)) ]
must "empty the cache" c2 cache clear
for p in "${holders[@]:1}"; do provider_fault "$p" get.error; done # k = 2 are left, p1 is one
gets0=$(gets p1)
check "READONLY: it is read" cmp "$WORK/file.$in_p1" "$MNT/file.$in_p1"
check "READONLY: it gave its share" [ "$(gets p1)" -gt "$gets0" ]
check "READONLY: it stays so" state_is p1 readonly
for p in "${holders[@]:1}"; do provider_fault "$p" ""; done

provider_fault p1 "" # in the next 30 s it is tried again
# ---- SUSPECT: it gave other bytes ------------------------------------------------------------------
must "a file in p2" wait_for 60 write_to p2
provider_fault p2 get.corrupt
check "a scrub finds wrong shares" ends_with 6 c2 --progress=none scrub start --data
check "p2 lied: SUSPECT" state_is p2 suspect
check "SUSPECT: there is evidence" eval "c2 --json provider evidence p2 | grep -q found_sha256"
provider_fault p2 ""
trusted_again() {
    c2 --progress=none scrub start --data
    fails state_is p2 suspect
}
check "SUSPECT: good shares win its trust back" wait_for 60 trusted_again

# ---- UNREACH, DEGRADED -----------------------------------------------------------------------------
provider_fault p3 down
provider_fault p4 head.forbidden
check "p3 does not answer: UNREACHABLE" wait_for 60 state_is p3 unreachable
check "p4 answers with errors: DEGRADED" wait_for 60 state_is p4 degraded
provider_fault p3 ""
provider_fault p4 ""
writes_and_all_are_online() {
    write_one && all_online
}
must "all are ONLINE again" wait_for 120 writes_and_all_are_online
check "p1 takes new shares" wait_for 60 write_to p1

# ---- OFFLINE, DRAINING: by command -----------------------------------------------------------------
must "offline" c2 provider offline p5
check "OFFLINE" state_is p5 offline
must "online" c2 provider online p5
check "ONLINE" wait_for 60 state_is p5 online
must "drain p1, slowly" c2 --yes provider drain p1 --limit 1K --detach
check "DRAINING" wait_for 60 state_is p1 draining
check "DRAINING: it gets no new shares" eval 'write_one && fails last_is_in p1'
must "think better of it" c2 job cancel drain
must "online" c2 provider online p1
check "ONLINE" wait_for 60 state_is p1 online
check "p1 takes new shares" wait_for 60 write_to p1
for ((k = 1; k <= files; k++)); do check "file $k" cmp "$WORK/file.$k" "$MNT/file.$k"; done
mount_stop
finish
