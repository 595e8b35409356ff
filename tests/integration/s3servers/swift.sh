#!/bin/bash
# SPDX-License-Identifier: MIT
# OpenStack Swift with its S3 interface: proxy, account, container and object server, one replica.
# Packages: swift-proxy swift-account swift-container swift-object memcached. DIR must be on a file
# system with user.* attributes.
. "$(dirname "$(readlink -f "$0")")/lib.sh"

S3_REGION=${S3_REGION:-us-east-1}
SERVERS=(account container object)

write_server_conf() { # NAME PORT
    cat >"$DIR/etc/$1-server.conf" <<EOF
[DEFAULT]
bind_port = $2
$COMMON
[pipeline:main]
pipeline = $1-server
[app:$1-server]
use = egg:swift#$1
replication_concurrency = 0
EOF
}

write_proxy_conf() {
    cat >"$DIR/etc/proxy-server.conf" <<EOF
[DEFAULT]
bind_port = $PORT
${S3_TLS_DIR:+cert_file = $S3_TLS_DIR/crt.pem}
${S3_TLS_DIR:+key_file = $S3_TLS_DIR/key.pem}
$COMMON
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats bulk s3api access_key tempauth slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:$((PORT + 4))
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = $S3_REGION
storage_domain = localhost
s3_acl = false
auth_pipeline_check = false
[filter:access_key]
paste.filter_factory = access_key:filter_factory
access_key = $S3_ACCESS_KEY
account_user = test:tester
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = $S3_SECRET_KEY .admin
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
EOF
}

write_python() {
    cat >"$DIR/etc/run_server.py" <<'EOF'
# Starts a Swift server with our own swift.conf: the stock launchers always read /etc/swift.
import sys, runpy, swift.common.utils as u
server, folder = sys.argv[1:3]
u.SWIFT_CONF_FILE = folder + '/swift.conf'
sys.argv = ['swift-%s-server' % server, '%s/%s-server.conf' % (folder, server), '--verbose']
runpy.run_path('/usr/bin/' + sys.argv[0], run_name='__main__')
EOF
    cat >"$DIR/etc/access_key.py" <<'EOF'
# Access keys of tempauth are "account:user"; this gives that pair one without a colon.
def filter_factory(global_conf, **conf):
    def factory(app):
        def middleware(env, start):
            d = env.get('s3api.auth_details')
            if d and d.get('access_key') == conf['access_key']:
                d['access_key'] = conf['account_user']
                env['PATH_INFO'] = env['PATH_INFO'].replace(
                    conf['access_key'], conf['account_user'], 1)
            return app(env, start)
        return middleware
    return factory
EOF
}

build_rings() {
    /usr/bin/python3 - "$DIR/etc" "$PORT" <<'EOF'
import sys
from swift.common.ring import RingBuilder
folder, port = sys.argv[1], int(sys.argv[2])
for i, server in enumerate(('account', 'container', 'object')):
    b = RingBuilder(2, 1, 1)
    b.add_dev(dict(region=1, zone=1, ip='127.0.0.1', port=port + 1 + i, device='d1', weight=1))
    b.rebalance()
    b.get_ring().save('%s/%s.ring.gz' % (folder, server))
EOF
}

healthy() {
    [ "$(curl -ks --max-time 5 --noproxy '*' "$SCHEME://127.0.0.1:$PORT/healthcheck")" = OK ]
}

listens() {
    (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

start() {
    set -e
    local me i
    me=$(id -un)
    mkdir -p "$DIR/etc" "$DIR/log" "$DIR/dev/d1" "$DIR/cache"
    COMMON="bind_ip = 127.0.0.1
workers = 0
user = $me
swift_dir = $DIR/etc
devices = $DIR/dev
mount_check = false
fallocate_reserve = 0
log_level = ERROR
recon_cache_path = $DIR/cache"
    cat >"$DIR/etc/swift.conf" <<'EOF'
[swift-hash]
swift_hash_path_prefix = c2fs
swift_hash_path_suffix = c2fs
[storage-policy:0]
name = one
default = yes
[swift-constraints]
max_meta_value_length = 2048
max_header_size = 16384
EOF
    for i in 0 1 2; do write_server_conf "${SERVERS[$i]}" $((PORT + 1 + i)); done
    write_proxy_conf
    write_python
    build_rings
    export PYTHONPATH=$DIR/etc PYTHONDONTWRITEBYTECODE=1
    local as_user=()
    [ "$me" != root ] || as_user=(-u root)
    background memcached memcached "${as_user[@]}" -l 127.0.0.1 -p $((PORT + 4)) -U 0 -m 16 -t 1
    for i in "${SERVERS[@]}" proxy; do
        background "$i" /usr/bin/python3 "$DIR/etc/run_server.py" "$i" "$DIR/etc"
    done
    wait_until 3000 healthy
    for i in 1 2 3; do wait_until 300 listens $((PORT + i)); done
}

case $COMMAND in
start) start ;;
stop) for name in proxy object container account memcached; do stop_one $name; done ;;
esac
