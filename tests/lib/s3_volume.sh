#!/bin/bash
# SPDX-License-Identifier: MIT
# Volumes over real S3 servers, for tests that have sourced integration.sh and called begin.
# shellcheck disable=SC2034 # arrays of integration.sh

S3_RECIPES=$TOP/tests/integration/s3servers
export S3_ACCESS_KEY=C2FSTESTACCESSKEY001
export S3_SECRET_KEY=c2fstestsecret0123456789abcdefghijklmnop
declare -A S3_ENDPOINT=() S3_REGION_OF=() S3_CA=() S3_RECIPE=()
declare -A S3_BUCKET_URL=() S3_SERVER=() RELAY_PORT=() RELAY_PID=() # by provider

# The first of 60 ports in a row that are free on loopback.
free_ports() {
    python3 - <<'END'
import random, socket
while True:
    base = random.randrange(20000, 32000, 60)
    held = []
    try:
        for port in range(base, base + 60):
            held.append(socket.socket())
            held[-1].bind(("127.0.0.1", port))
        print(base)
        break
    except OSError:
        pass
    finally:
        for s in held:
            s.close()
END
}

s3_has() { # RECIPE : are its programs here?
    case $1 in
    rgw) command -v radosgw && command -v ceph-mon && command -v ceph-osd ;;
    swift) command -v swift-proxy-server && command -v swift-object-server && command -v memcached ;;
    *) false ;;
    esac >/dev/null
}

# s3_start NAME RECIPE REGION [tls] : a server of its own on loopback.
s3_start() {
    local name=$1 recipe=$2 region=$3 tls=${4-} port scheme=http
    local dir=$WORK/s3-$name
    s3_has "$recipe" || skip_all "no $recipe here: tools/dev/install-deps s3servers"
    mkdir -p "$dir"
    S3_CA[$name]=
    if [ -n "$tls" ]; then
        scheme=https
        S3_CA[$name]=$dir/crt.pem
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
            -keyout "$dir/key.pem" -out "$dir/crt.pem" -subj /CN=c2fs-test \
            -addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>>"$LOG" || die "openssl"
    fi
    port=$(free_ports)
    S3_RECIPE[$name]=$recipe
    S3_REGION_OF[$name]=$region
    S3_ENDPOINT[$name]=$scheme://127.0.0.1:$port
    AT_END+=("s3_stop $name")
    S3_REGION=$region S3_TLS_DIR=${tls:+$dir} "$S3_RECIPES/$recipe.sh" start "$dir" "$port" >>"$LOG" 2>&1 ||
        die "$name does not start"
}

s3_stop() { # NAME
    STOP_SIGNAL=-KILL "$S3_RECIPES/${S3_RECIPE[$1]}.sh" stop "$WORK/s3-$1"
}

# s3_provider PROVIDER NAME BUCKET : makes the bucket and lets the provider live there.
s3_provider() {
    local p=$1 name=$2 bucket=$3 ca=()
    [ -z "${S3_CA[$name]}" ] || ca=(--cacert "${S3_CA[$name]}")
    curl -sSf --noproxy '*' "${ca[@]}" --aws-sigv4 "aws:amz:${S3_REGION_OF[$name]}:s3" \
        -u "$S3_ACCESS_KEY:$S3_SECRET_KEY" -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' -X PUT \
        -o /dev/null "${S3_ENDPOINT[$name]}/$bucket" 2>>"$LOG" || die "cannot make bucket $bucket"
    S3_SERVER[$p]=$name
    S3_BUCKET_URL[$p]=${S3_ENDPOINT[$name]}/$bucket
    PROVIDER_URL[$p]=s3://$bucket/some/prefix
    PROVIDER_EXTRA[$p]="endpoint = ${S3_ENDPOINT[$name]}
region = ${S3_REGION_OF[$name]}"
    [ -z "${S3_CA[$name]}" ] || PROVIDER_EXTRA[$p]+="
ca_file = ${S3_CA[$name]}"
    printf '[%s]\naccess_key_id = %s\nsecret_access_key = %s\n' "$p" "$S3_ACCESS_KEY" \
        "$S3_SECRET_KEY" >>"$WORK/credentials"
    chmod 600 "$WORK/credentials"
    GLOBAL_EXTRA=("credentials = $WORK/credentials")
}

# relay_start PROVIDER : what the volume asks of it goes through a relay from now on (tests/lib/s3_relay).
relay_start() {
    local p=$1 server
    server=${S3_ENDPOINT[${S3_SERVER[$p]}]##*:}
    if [ -z "${RELAY_PORT[$p]-}" ]; then
        RELAY_PORT[$p]=$(free_ports)
        PROVIDER_EXTRA[$p]=${PROVIDER_EXTRA[$p]/:$server/:${RELAY_PORT[$p]}}
    fi
    "$LIB/s3_relay" "${RELAY_PORT[$p]}" "$server" "$WORK/relay-$p.log" >>"$LOG" 2>&1 &
    RELAY_PID[$p]=$!
    started $!
    wait_for 30 curl -so /dev/null --noproxy '*' "http://127.0.0.1:${RELAY_PORT[$p]}/" || die "no relay for $p"
}

relay_stop() { # PROVIDER : nothing of it can be reached; its log is complete
    kill "${RELAY_PID[$1]}"
    wait "${RELAY_PID[$1]}" 2>/dev/null
}

# relay_requests PROVIDER : so many of the volume's so far
relay_requests() {
    grep -c /some/prefix/ "$WORK/relay-$1.log"
}

# Certificates of liars: the right one, one of nobody, one that is trusted and of another name.
liar_certificates() {
    local name dir=$WORK/liar
    mkdir "$dir"
    for name in good:127.0.0.1 self:127.0.0.1 other:127.0.0.2; do
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -keyout "$dir/key" \
            -out "$dir/crt" -subj /CN=c2fs-test -addext "subjectAltName=IP:${name#*:}" 2>>"$LOG" || die "openssl"
        cat "$dir/crt" "$dir/key" >"$dir/${name%:*}.pem"
        [ "${name%:*}" = self ] || cat "$dir/crt" >>"$dir/trusted.crt"
    done
}

# liar_start PROVIDER : what the volume asks of it goes, with TLS, through one who can lie (tests/lib/s3_liar).
liar_start() {
    local p=$1 server port
    server=${S3_ENDPOINT[${S3_SERVER[$p]}]##*:}
    [ -d "$WORK/liar" ] || liar_certificates
    mkdir "$WORK/liar-$p"
    port=$(free_ports)
    PROVIDER_EXTRA[$p]="endpoint = https://127.0.0.1:$port
region = ${S3_REGION_OF[${S3_SERVER[$p]}]}
ca_file = $WORK/liar/trusted.crt"
    lie "$p" ""
    "$LIB/s3_liar" "$port" "$server" "$WORK/liar-$p" "$WORK/liar" >>"$LOG" 2>&1 &
    started $!
    wait_for 30 curl -so /dev/null --noproxy '*' --cacert "$WORK/liar/trusted.crt" "https://127.0.0.1:$port/" ||
        die "no liar for $p"
}

# lie PROVIDER THREAT : from now on; "" = the truth, "mark" = what T03 goes back to.
lie() {
    echo "$2" >"$WORK/liar-$1/lie.new"
    mv "$WORK/liar-$1/lie.new" "$WORK/liar-$1/lie"
}

# lies_told PROVIDER THREAT : so many so far
lies_told() {
    grep -c "^$2 " "$WORK/liar-$1/told"
}

# s3_objects PROVIDER : "KEY SIZE ETAG" of the file data in its bucket, asked of the server itself
s3_objects() {
    python3 - "${S3_BUCKET_URL[$1]}" "${S3_REGION_OF[${S3_SERVER[$1]}]}" <<'END'
import os, subprocess, sys, urllib.parse
import xml.etree.ElementTree as xml
url, region = sys.argv[1:]
user = os.environ["S3_ACCESS_KEY"] + ":" + os.environ["S3_SECRET_KEY"]
prefix, after = "some/prefix/", ""
while True:
    query = "list-type=2&prefix=" + urllib.parse.quote(prefix, safe="")
    query += "&start-after=" + urllib.parse.quote(after, safe="") if after else ""
    page = xml.fromstring(subprocess.run(
        ["curl", "-sSf", "--noproxy", "*", "--aws-sigv4", f"aws:amz:{region}:s3", "-u", user, "-H",
         "x-amz-content-sha256: UNSIGNED-PAYLOAD", f"{url}?{query}"],
        check=True, stdout=subprocess.PIPE).stdout)
    space = page.tag[: page.tag.index("}") + 1] if "}" in page.tag else ""
    for entry in page.iter(space + "Contents"):
        after, size, tag = (entry.find(space + name).text for name in ("Key", "Size", "ETag"))
        if "/o/" in after:
            print(after[len(prefix):], size, tag.strip('"'))
    if page.find(space + "IsTruncated").text != "true":
        break
END
}
