#!/bin/bash
# SPDX-License-Identifier: MIT
# Shared by the recipes beside it, each of which starts one real S3 server on loopback as an
# ordinary user, without systemd:
#
#     NAME.sh start DIR PORT     NAME.sh stop DIR
#
# DIR is short and absolute; each server also uses ports above PORT, up to PORT + 49. Environment:
# S3_ACCESS_KEY, S3_SECRET_KEY, S3_REGION, S3_TLS_DIR (folder with crt.pem and key.pem: serve TLS).

# shellcheck disable=SC2034 # used by the recipes
set -u
COMMAND=${1:?start or stop}
DIR=${2:?folder of the server}
PORT=${3:-0}
S3_ACCESS_KEY=${S3_ACCESS_KEY:-C2FSTESTACCESSKEY001}
S3_SECRET_KEY=${S3_SECRET_KEY:-c2fstestsecret0123456789abcdefghijklmnop}
S3_TLS_DIR=${S3_TLS_DIR-}
SCHEME=http${S3_TLS_DIR:+s}

# background NAME COMMAND... : its pid is kept in DIR/NAME.pid, its output in DIR/log/NAME.out.
background() {
    local name=$1
    shift
    setsid "$@" </dev/null >>"$DIR/log/$name.out" 2>&1 &
    echo $! >"$DIR/$name.pid"
}

# stop_one NAME : ends it and waits until it is gone.
stop_one() {
    local pid i
    pid=$(cat "$DIR/$1.pid" 2>/dev/null) || return 0
    kill "${STOP_SIGNAL:--TERM}" "$pid" 2>/dev/null
    for ((i = 0; i < 100; i++)); do
        grep -qs '^State:.[^ZX]' "/proc/$pid/status" || break
        sleep 0.05
    done
    kill -KILL "$pid" 2>/dev/null
    rm -f "$DIR/$1.pid"
}

# answers URL : something speaks HTTP there, whatever it says.
answers() {
    curl -kso /dev/null --max-time 5 --noproxy '*' "$1"
}

# wait_until SECONDS COMMAND...
wait_until() {
    local i
    for ((i = 0; i < $1 * 10; i++)); do
        "${@:2}" && return 0
        sleep 0.1
    done
    echo "$(basename "$0"): not up after $1 s, see $DIR/log" >&2
    return 1
}
