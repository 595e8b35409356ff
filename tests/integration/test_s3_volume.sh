#!/bin/bash
# SPDX-License-Identifier: MIT
# A volume over real S3 servers of two makes, plain and TLS: copies, one server dies, two die, returns.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
# shellcheck source=tests/lib/s3_volume.sh
. "$LIB/s3_volume.sh"
s3_start one rgw us-east-1
s3_start two swift us-east-1
s3_start three rgw eu-central-1 tls
s3_start four swift eu-west-3 tls
s3_provider p1 one c2fs-1
s3_provider p2 two c2fs-2
s3_provider p3 three c2fs-3
s3_provider p4 four c2fs-4
sample_set "$WORK/src" --sensors 300 --images 5 --large 1x20M --sparse 50M
volume_new
for p in p2 p4; do check "provider test $p" c2 provider test "$p"; done
# Everything that a probe can find out, of one server without TLS and of one with.
full() { # PROVIDER CHECK : prints ok, no, skipped
    json "[('skipped' if not c['ran'] else 'no' if c['error'] else 'ok') for c in d['providers'][0]['checks'] if c['name'] == '$2'][0]" \
        <"$WORK/full-$1"
}
numbers='(lambda p: 0 < p["get_4kib_p50_ns"] <= p["get_4kib_p95_ns"] and 0 < p["put_4kib_p50_ns"] <= p["put_4kib_p95_ns"] and
    "clock_skew_ns" in p)(d["providers"][0])'
for p in p1 p3; do
    c2 --json provider test "$p" --full >"$WORK/full-$p"
    check "full test of $p: exit code" [ $? -eq 0 ]
    for name in read_after_write list_after_write read_after_replace list_order ranges create_race delete_many \
        read_after_delete checksum_md5 checksum_signed redirect; do
        check "full test of $p: $name" [ "$(full "$p" $name)" = ok ]
    done
    check "full test of $p: latency and clock" [ "$(json "$numbers" <"$WORK/full-$p")" = true ]
done
for name in tls tls_unknown_ca tls_other_host; do
    check "plain http: $name" [ "$(full p1 $name)" = skipped ]
    check "https: $name" [ "$(full p3 $name)" = ok ]
done
check "the version of TLS is told" grep -qE '"tls":"TLSv1\.[23] / [A-Z0-9_]+"' "$WORK/full-p3"
mount_start
must "rsync -aHAX" rsync -aHAX "$WORK/src/" "$MNT/first/"
remount_cold
check "every byte and attribute, cold" same_tree "$WORK/src" "$MNT/first"

s3_stop two
must "empty the cache" c2 cache clear
check "one server is dead: every byte" same_contents "$WORK/src" "$MNT/first"
check "one server is dead: status" wait_for 60 ends_with 6 c2 status
must "one server is dead: rsync" rsync -aHAX "$WORK/src/" "$MNT/second/"
check "one server is dead: flush" timeout 300 "$C2FSCTL" -C "$CONF" -V t flush
must "empty the cache" c2 cache clear
check "written without it: every byte and attribute" same_tree "$WORK/src" "$MNT/second"
mount_stop

# Mistakes in the configuration of a real service.
says() { # CODE REGEX PROVIDER
    c2 provider test "$3" >"$WORK/out" 2>&1
    local rc=$?
    cat "$WORK/out"
    [ "$rc" -eq "$1" ] && grep -qiE "$2" "$WORK/out" && grep -q hint: "$WORK/out"
}
write_conf
sed -i 's|^url = s3://c2fs-1/.*|url = s3://no-such-bucket|' "$CONF"
check "no such bucket" says 3 'NoSuchBucket|no-such-bucket' p1
write_conf
sed -i 's/^secret_access_key = .*/secret_access_key = wrong/' "$WORK/credentials"
check "wrong secret key" says 9 'credential|signature|refused' p1
sed -i "s/^secret_access_key = .*/secret_access_key = $S3_SECRET_KEY/" "$WORK/credentials"
sed -i 's/^region = eu-west-3/region = ap-south-1/' "$CONF"
check "wrong region" says 3 'region|eu-west-3' p4
write_conf
sed -i '/^ca_file/d' "$CONF"
check "a certificate nobody vouches for" says 9 'certificate|TLS' p3
finish
