#!/bin/bash
# SPDX-License-Identifier: MIT
# @20minutes/s3rver 4.0.4 from npm, repaired from outside by harden.js: no anonymous access, whole
# or nothing PUT, checksums, If-None-Match, right ranges. S3RVER_MODULES is the folder that holds
# its node_modules.
. "$(dirname "$(readlink -f "$0")")/lib.sh"

start() {
    set -e
    : "${S3RVER_MODULES:?the folder that holds node_modules}"
    mkdir -p "$DIR/data" "$DIR/tmp" "$DIR/log"
    cat >"$DIR/run.js" <<EOF
const PKG = '@20minutes/s3rver';
const S3rver = require(PKG), account = require(PKG + '/lib/models/account');
account.DUMMY_ACCOUNT.createKeyPair('$S3_ACCESS_KEY', '$S3_SECRET_KEY');
const app = new S3rver({ address: '127.0.0.1', port: $PORT, silent: true,
                         directory: '$DIR/data', serviceEndpoint: 'localhost' });
require('$(dirname "$(readlink -f "$0")")/harden.js')(app, PKG, '$DIR/tmp');
app.run();
EOF
    # Its continuation tokens are made with DES, which OpenSSL 3 keeps in the legacy provider.
    NODE_PATH=$S3RVER_MODULES/node_modules \
        background s3rver node --openssl-legacy-provider "$DIR/run.js"
    wait_until 300 answers "http://127.0.0.1:$PORT/"
}

case $COMMAND in
start) start ;;
stop) stop_one s3rver ;;
esac
