#!/bin/bash
# SPDX-License-Identifier: MIT
# Tests of the main job with the metadata on four replicas (BFT_TESTS="basic ..." picks others).
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
export METADATA=bft KILLS=${KILLS:-3} FILES=${FILES:-2000} LARGE_MB=${LARGE_MB:-16}
for name in ${BFT_TESTS:-basic programs kill9 counts}; do
    out=$WORK/$name.out
    timeout "${TEST_TIMEOUT:-1500}" "$TOP/tests/integration/test_$name.sh" >"$out" 2>&1
    rc=$?
    grep -v "^$name: [0-9]* passed" "$out" | sed 's/^/    /'
    read -r p f s <<<"$(sed -nE 's/^.*: ([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$/\1 \2 \3/p' "$out" | tail -n 1)"
    passed=$((passed + ${p:-0})) failed=$((failed + ${f:-1})) skipped=$((skipped + ${s:-0}))
    check "$name on replicas (exit code $rc)" [ "$rc" -eq 0 ]
done
finish
