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
for p in "${PROVIDERS[@]}"; do check "provider test $p" c2 provider test "$p"; done
mount_start
must "rsync -aHAX" rsync -aHAX "$WORK/src/" "$MNT/first/"
remount_cold
check "every byte and attribute, cold" same_tree "$WORK/src" "$MNT/first"

s3_stop two
must "empty the cache" c2 cache clear
check "one server is dead: every byte" same_contents "$WORK/src" "$MNT/first"
check "one server is dead: status" ends_with 6 c2 status
must "one server is dead: rsync" rsync -aHAX "$WORK/src/" "$MNT/second/"
check "one server is dead: flush" timeout 200 "$C2FSCTL" -C "$CONF" -V t flush
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
