#!/bin/bash
# SPDX-License-Identifier: MIT
# Ceph's S3 gateway over one monitor and one storage daemon in memory; no manager, no cephx.
# Packages: radosgw ceph-mon ceph-osd. S3_REGION becomes the name of the zone group.
. "$(dirname "$(readlink -f "$0")")/lib.sh"

export CEPH_CONF=$DIR/ceph.conf
FSID=11111111-2222-3333-4444-555555555555
OSD_UUID=66666666-2222-3333-4444-555555555555
MON_PORT=$((PORT + 1))

write_conf() {
    cat >"$CEPH_CONF" <<EOF
[global]
fsid = $FSID
mon_initial_members = a
mon_host = [v2:127.0.0.1:$MON_PORT]
ms_bind_msgr1 = false
ms_bind_port_min = $((PORT + 10))
ms_bind_port_max = $((PORT + 49))
public_network = 127.0.0.0/8
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_mon_client_mode = crc
run_dir = $DIR/run
admin_socket =
pid_file =
log_file = $DIR/log/\$name.log
mon_cluster_log_file = $DIR/log/cluster.log
crash_dir = $DIR/log
mon_data = $DIR/mon
osd_data = $DIR/osd
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
osd_crush_update_on_start = false
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
paxos_propose_interval = 0.05
osd_objectstore = memstore
memstore_device_bytes = ${S3_SERVER_BYTES:-3221225472}
osd_op_num_shards = 2
osd_fast_shutdown = false
mon_data_avail_crit = 1
[client.rgw]
rgw_frontends = beast ${S3_TLS_DIR:+ssl_}endpoint=127.0.0.1:$PORT${S3_TLS_DIR:+ ssl_certificate=$S3_TLS_DIR/crt.pem ssl_private_key=$S3_TLS_DIR/key.pem} tcp_nodelay=1
rgw_data = $DIR/run
rgw_thread_pool_size = 32
rgw_dns_name = localhost
rgw_run_sync_thread = false
rgw_override_bucket_index_max_shards = 1
rgw_dynamic_resharding = false
rgw_gc_obj_min_wait = 5
rgw_gc_processor_period = 10
rgw_gc_processor_max_time = 10
EOF
}

start() {
    set -e
    rm -rf "${DIR:?}/mon" "$DIR/osd"
    mkdir -p "$DIR/mon" "$DIR/osd" "$DIR/run" "$DIR/log"
    write_conf
    monmaptool --create --clobber --fsid "$FSID" --addv a "[v2:127.0.0.1:$MON_PORT]" \
        "$DIR/monmap" >/dev/null
    ceph-mon --mkfs -i a --monmap "$DIR/monmap" --keyring /dev/null
    background mon ceph-mon -f -i a
    ceph osd new "$OSD_UUID" 0 >/dev/null
    ceph osd crush add osd.0 1.0 root=default host=h >/dev/null 2>&1
    ceph-osd -i 0 --mkfs --osd-uuid "$OSD_UUID" >"$DIR/log/mkfs.out" 2>&1
    background osd ceph-osd -f -i 0
    radosgw-admin --name client.rgw user create --uid=test --display-name=test \
        --access-key="$S3_ACCESS_KEY" --secret-key="$S3_SECRET_KEY" \
        >"$DIR/user.json" 2>"$DIR/log/admin.err"
    if [ -n "${S3_REGION-}" ]; then
        radosgw-admin --name client.rgw zonegroup modify --rgw-zonegroup=default \
            --api-name="$S3_REGION" >"$DIR/zonegroup.json" 2>"$DIR/log/zonegroup.err"
    fi
    background rgw radosgw -f --name client.rgw
    wait_until 3000 answers "$SCHEME://127.0.0.1:$PORT/"
}

case $COMMAND in
start) start ;;
stop) for name in rgw osd mon; do stop_one $name; done ;;
esac
