#!/bin/bash
# SPDX-License-Identifier: MIT
# the S3 provider against Ceph, Swift and s3rver over HTTP and TLS, exchanging objects with libs3
#
# C2FS_BUILD: folder of the programs. S3_SERVERS="rgw swift ..." picks servers. S3RVER_MODULES: a
# folder with node_modules/@20minutes/s3rver; without it npm is asked.
set -u
cd "$(dirname "$0")/../.." || exit 2
here=$PWD/tests/integration/s3servers
driver=${C2FS_BUILD:-build/gcc-asan}/integration/s3_driver
export S3_ACCESS_KEY=C2FSTESTACCESSKEY001
export S3_SECRET_KEY=c2fstestsecret0123456789abcdefghijklmnop
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1
export LSAN_OPTIONS=suppressions=$PWD/tests/suppressions/lsan:print_suppressions=0
export LC_ALL=C.UTF-8
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
passed=0 failed=0 skipped=0
started=() # "recipe folder"
pids=()

work=$(mktemp -d "${C2FS_TEST_DIR:-/tmp}/c2s3.XXXXXX")

cleanup() {
    local rc=$? entry
    trap - EXIT
    for entry in "${started[@]}"; do
        STOP_SIGNAL=-KILL "$here/${entry%% *}.sh" stop "${entry#* }" &
    done
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
    wait
    [ "$rc" -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
    if [ "$failed" -gt 0 ]; then
        echo "    kept: $work"
    else
        rm -rf --one-file-system "$work"
    fi
    echo "s3_driver: $passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ] || exit 1
    exit 0
}
trap cleanup EXIT
trap 'exit 130' INT TERM

skip() {
    echo "s3_driver: skipped: $*"
    skipped=$((skipped + 1))
}

# free_ports : the first of 60 ports in a row that are free on loopback.
free_ports() {
    python3 - <<'EOF'
import random, socket
while True:
    base = random.randrange(20000, 32000, 60)
    held = []
    try:
        for port in range(base, base + 60):
            s = socket.socket()
            held.append(s)
            s.bind(('127.0.0.1', port))
        print(base)
        break
    except OSError:
        pass
    finally:
        for s in held:
            s.close()
EOF
}

certificate() { # FOLDER SUBJECT-ALTERNATIVE-NAMES
    mkdir -p "$1"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
        -keyout "$1/key.pem" -out "$1/crt.pem" -subj /CN=c2fs-test -addext "subjectAltName=$2" \
        2>/dev/null
}

expired_certificate() { # FOLDER
    mkdir -p "$1/db"
    : >"$1/db/index.txt"
    printf '[ca]\ndefault_ca=d\n[d]\ndatabase=%s/index.txt\nnew_certs_dir=%s\npolicy=p\nrand_serial=yes\ndefault_md=sha256\nx509_extensions=e\n[p]\ncommonName=supplied\n[e]\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n' \
        "$1/db" "$1/db" >"$1/ca.cnf"
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1/key.pem" \
        -out "$1/req.pem" -subj /CN=c2fs-test 2>/dev/null
    openssl ca -batch -selfsign -config "$1/ca.cnf" -keyfile "$1/key.pem" -in "$1/req.pem" \
        -startdate 20200101000000Z -enddate 20200201000000Z -out "$1/crt.pem" 2>"$1/ca.log"
}

# count_results LOG : cmocka's lines.
count_results() {
    local p f s
    p=$(grep -c '^\[       OK \]' "$1")
    f=$(grep -c '^\[  FAILED  \] [a-z]' "$1")
    s=$(grep -c '^\[  SKIPPED \] [a-z]' "$1")
    # Failures and skipped tests are listed twice.
    passed=$((passed + p)) failed=$((failed + f / 2)) skipped=$((skipped + s / 2))
}

# drive NAME : runs the driver with the settings of the environment.
drive() {
    local log=$work/$1.log rc
    timeout -k 10 1200 "$driver" >"$log" 2>&1
    rc=$?
    count_results "$log"
    if [ "$rc" -ne 0 ]; then
        [ "$(grep -c '^\[  FAILED  \] [a-z]' "$log")" -gt 0 ] || failed=$((failed + 1))
        echo "FAILED: $1 (exit code $rc)"
        grep -aE -A12 'ERROR|FAILED|LINE' "$log" | head -n 60
    fi
}

make_bucket() { # URL REGION CA-FILE
    local ca=()
    [ -z "$3" ] || ca=(--cacert "$3")
    curl -sS --noproxy '*' "${ca[@]}" --aws-sigv4 "aws:amz:$2:s3" -u "$S3_ACCESS_KEY:$S3_SECRET_KEY" \
        -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' -X PUT -o /dev/null -f "$1/c2fs-test"
}

have() {
    local command
    for command in "$@"; do
        command -v "$command" >/dev/null || return 1
    done
}

# missing RECIPE : what to install; fails when nothing is missing.
missing() {
    case $1 in
    rgw) ! have radosgw ceph-mon ceph-osd radosgw-admin && echo "radosgw ceph-mon ceph-osd" ;;
    swift)
        ! have swift-proxy-server swift-object-server memcached &&
            echo "swift-proxy swift-account swift-container swift-object memcached"
        ;;
    s3rver) ! have node && echo "nodejs npm" ;;
    esac
}

find_s3rver() {
    [ -z "${S3RVER_MODULES-}" ] || return 0
    export S3RVER_MODULES=$work/npm
    # A registry that does not answer must not cost minutes.
    have npm && mkdir -p "$S3RVER_MODULES" &&
        timeout 120 npm install --prefix "$S3RVER_MODULES" --silent --no-audit --no-fund \
            --fetch-timeout=10000 --fetch-retries=1 --fetch-retry-mintimeout=1000 \
            --fetch-retry-maxtimeout=1000 \
            @20minutes/s3rver@4.0.4 >"$work/npm.log" 2>&1
}

# test_server NAME RECIPE REGION TLS-FOLDER [SETTING=VALUE...]
test_server() {
    local name=$1 recipe=$2 region=$3 tls=$4 port what
    shift 4
    case " ${S3_SERVERS-$name} " in *" $name "*) ;; *) return ;; esac
    if what=$(missing "$recipe"); then
        skip "$name: apt-get install $what"
        return
    fi
    if [ "$recipe" = s3rver ] && ! find_s3rver; then
        skip "$name: @20minutes/s3rver cannot be installed from npm here"
        return
    fi
    port=$(free_ports)
    started+=("$recipe $work/$name")
    mkdir -p "$work/$name"
    if ! S3_REGION=$region S3_TLS_DIR=$tls "$here/$recipe.sh" start "$work/$name" "$port" ||
        ! make_bucket "http${tls:+s}://127.0.0.1:$port" "$region" "${tls:+$tls/crt.pem}"; then
        failed=$((failed + 1))
        echo "FAILED: $name does not start"
        return
    fi
    (
        export S3_ENDPOINT=http${tls:+s}://127.0.0.1:$port S3_REGION=$region S3_BUCKET=c2fs-test
        export S3_CA_FILE=${tls:+$tls/crt.pem}
        for setting in "$@"; do export "${setting?}"; done
        drive "$name"
        if [ "$recipe" = rgw ]; then
            export S3_ADDRESSING=vhost S3_ENDPOINT=http${tls:+s}://localhost:$port S3_LIBS3=
            [ -n "$tls" ] || drive "$name-vhost"
        fi
        echo "$passed $failed $skipped" >"$work/$name.count"
    )
    read -r passed failed skipped <"$work/$name.count"
    STOP_SIGNAL=-KILL "$here/$recipe.sh" stop "$work/$name"
}

# test_refused NAME CERTIFICATE-FOLDER [OPTION OF s_server...] : TLS that must not be trusted.
test_refused() {
    local name=$1 folder=$2 port
    shift 2
    port=$(free_ports)
    openssl s_server -accept "127.0.0.1:$port" -cert "$folder/crt.pem" -key "$folder/key.pem" -www \
        "$@" >"$work/$name.server" 2>&1 </dev/null &
    pids+=($!)
    for _ in $(seq 1200); do
        (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
        sleep 0.1
    done
    (
        export S3_ENDPOINT=https://127.0.0.1:$port S3_REGION=us-east-1 S3_BUCKET=c2fs-test
        export S3_CA_FILE=$folder/crt.pem S3_EXPECT_TLS_ERROR=1
        drive "$name"
        echo "$passed $failed $skipped" >"$work/$name.count"
    )
    read -r passed failed skipped <"$work/$name.count"
}

[ -x "$driver" ] || { echo "s3_driver: no $driver; make check-integration builds it" >&2; exit 1; }
certificate "$work/tls" DNS:localhost,IP:127.0.0.1
certificate "$work/other" DNS:other.example
expired_certificate "$work/expired"

test_refused wrong-name "$work/other"
test_refused expired "$work/expired"
test_refused old-tls "$work/tls" -tls1_1 -cipher ALL:@SECLEVEL=0
test_server rgw rgw us-east-1 "" S3_LIBS3=1 S3_HASH_CHECKED=1
test_server rgw-tls rgw eu-central-1 "$work/tls" S3_LIBS3=1 S3_HASH_CHECKED=1
test_server swift swift us-east-1 "" S3_LIBS3=1 S3_HASH_CHECKED=1 S3_REGION_CHECKED=1
test_server swift-tls swift eu-west-3 "$work/tls" S3_LIBS3=1 S3_HASH_CHECKED=1 S3_REGION_CHECKED=1
# s3rver lists folder by folder instead of in byte order, and leaves '%' and '+' bare in lists: the
# provider refuses such lists, as it must. Names of volumes do not run into it.
test_server s3rver s3rver us-east-1 "" S3_HASH_CHECKED=1 S3_SKIP="list_is_in_byte_order \
list_prefix_need_not_end_at_a_slash list_starts_strictly_after list_says_whether_more_follow \
list_gives_sizes_and_forgets_deleted_keys unusual_keys_are_plain_keys"
