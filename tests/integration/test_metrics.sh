#!/bin/bash
# SPDX-License-Identifier: MIT
# Metrics on a Unix socket and on a loopback address; addresses that others could reach.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
SOCKET=$WORK/metrics.socket
PAGE=$TOP/docs/man/c2fs.conf.5

scrape() { # CURL OPTION... URL
    curl -sSf --noproxy '*' --max-time 300 "$@" >"$WORK/metrics"
}
has() { # LINE
    grep -qxE -- "$1" "$WORK/metrics" || { echo "no line $1"; return 1; }
}
# What is served is what the manual page lists.
families() {
    sed -n 's/^# TYPE \([^ ]*\) .*/\1/p' "$WORK/metrics" | sort
}
documented() {
    sed -n '/^\.Sh METRICS/,/^\.Sh FILES/p' "$PAGE" | grep '^\.It Li' | grep -oE 'c2fs_[a-z_]+' | sort
}
refused() { # ADDRESS TEXT
    timeout 300 "$C2FS" t "$MNT" -C "$CONF" -o "metrics=$1" >"$WORK/refused" 2>&1 && return 1
    ! mounted && grep -qF -- "$2" "$WORK/refused" || { cat "$WORK/refused"; return 1; }
}

PROVIDER_EXTRA[p2]="fault ="
VOLUME_EXTRA=("metrics = unix:$SOCKET")
volume_new
check "an address of the network is refused" refused 0.0.0.0:9090 'want unix:/PATH'
check "a name is refused" refused example.org:9090 'want unix:/PATH'
check "a folder that is not there is named" refused "unix:$WORK/none/m" "unix:$WORK/none/m"
touch "$WORK/precious"
check "a file is not replaced" refused "unix:$WORK/precious" 'exists already'
check "it is still there" [ -f "$WORK/precious" ]

mount_daemon
check "the socket is its owner's" [ "$(stat -c %a "$SOCKET")" = 600 ]
must "write" cp -r "$TOP/docs" "$MNT/docs"
flush
check "all is well" healthy
check "scrape" scrape --unix-socket "$SOCKET" http://localhost/metrics
check "volume and version" has 'c2fs_info\{volume="t",version="[^"]+"\} 1'
check "all is well" has 'c2fs_degraded 0'
check "nothing waits" has 'c2fs_backlog_files 0'
check "every provider is up" [ "$(grep -c '^c2fs_provider_up{provider="p[1-4]"} 1$' "$WORK/metrics")" -eq 4 ]
check "latencies" has 'c2fs_provider_seconds\{provider="p1",quantile="0.99"\} [0-9]+\.[0-9]{9}'
check "requests" has 'c2fs_requests_total\{provider="p1",verb="put"\} [1-9][0-9]*'
check "requests of the kernel" has 'c2fs_fuse_ops_total\{op="write"\} [1-9][0-9]*'
check "transactions" has 'c2fs_meta_commits_total [1-9][0-9]*'
check "as documented" diff <(families) <(documented)
check "another path is not found" fails scrape --unix-socket "$SOCKET" http://localhost/
provider_fault p2 error:100%
check "status sees the fault" wait_for 30 status_is 'd["state"].lower()' degraded
check "scrape again" scrape --unix-socket "$SOCKET" http://localhost/metrics
check "it shows" has 'c2fs_degraded 1'
check "errors are counted" has 'c2fs_provider_errors_total\{provider="p2",class="request"\} [1-9][0-9]*'
provider_fault p2 ""
kill -9 "$DAEMON"
wait_for 30 fails alive "$DAEMON"
check "a killed daemon leaves its socket" [ -S "$SOCKET" ]
mount_daemon
check "the next one serves it" scrape --unix-socket "$SOCKET" http://localhost/metrics
must "unmount" timeout 300 "$C2FSCTL" -C "$CONF" umount "$MNT"
must "the daemon ends" wait_for 60 fails alive "$DAEMON"
check "the socket is gone" [ ! -e "$SOCKET" ]

port=$(free_ports 1)
mount_daemon -o "metrics=127.0.0.1:$port"
check "scrape over TCP" scrape "http://127.0.0.1:$port/metrics"
check "the same" has 'c2fs_info\{volume="t",.*'
must "unmount" timeout 300 "$C2FSCTL" -C "$CONF" umount "$MNT"
must "the daemon ends" wait_for 60 fails alive "$DAEMON"
DAEMON=
finish
