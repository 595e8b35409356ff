#!/bin/bash
# SPDX-License-Identifier: MIT
# The installed library: headers, pkg-config, exports; the examples with one and two clouds gone.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"

PACKAGE=depsky
# shellcheck source=tests/lib/installed_library.sh
. "$LIB/installed_library.sh"
check "manual pages" test -s "$root/opt/c2/share/man/man3/libdepsky.3"

# What the headers declare is what the library exports, and is in the manual.
check "headers were installed" test "${#headers[@]}" -ge 12
check "exports are the declarations" library_exports_declarations
manual() {
    local name
    for name in $(grep -E '^ds_(clouds|unit|wait)_|_start$' "$WORK/declared"); do
        cat "$root"/opt/c2/share/man/man3/*.3 | grep -qE "^\.(Fo|Fn|Ft.*|Nm) $name" ||
            { echo "no manual page has $name"; return 1; }
    done
}
check "every request has a manual page" manual
check "every header compiles alone, in plain C11" library_headers_compile

cd "$WORK" || exit 1
for name in notes objects; do
    for kind in shared static; do
        must "$name builds, $kind" library_build "$name" "$kind"
    done
done
check "the shared one uses the library" bash -c "ldd '$WORK/notes-shared' | grep -q libdepsky.so.0"

# Over four directories and no file system.
urls=()
for i in 1 2 3 4; do urls+=("dir:$WORK/cloud$i?retries=1&backoff=10ms"); mkdir "$WORK/cloud$i"; done
head -c 32 /dev/urandom >"$WORK/key"
head -c 32 /dev/urandom >"$WORK/otherkey"
notes() {
    "$WORK/notes-$1" "$WORK/${KEY:-key}" "${urls[@]}" "${@:2}"
}
says() { # TEXT COMMAND...
    local want=$1 got
    shift
    got=$("$@" 2>&1)
    [ "$got" = "$want" ] || { echo "got: $got"; return 1; }
}
check "put" says "version 1" notes shared put diary "the first entry"
check "get by the other build" says "the first entry" notes static get diary
check "put again" says "version 2" notes static put diary "the second entry"
check "no cloud has it in the clear" fails grep -rq "second entry" "$WORK"/cloud?
check "what is not there" fails notes shared get nothing
KEY=otherkey check "somebody else's key is not believed" fails notes shared get diary
rm -r "$WORK/cloud2"
echo lost >"$WORK/cloud2"
check "one cloud gone: get" says "the second entry" notes shared get diary
check "one cloud gone: put" says "version 3" notes shared put diary "the third entry"
check "log" says $'version 3, 15 bytes\nversion 2, 16 bytes\nversion 1, 15 bytes' notes shared log diary
check "objects side by side" says "$(printf '%s\n' 'deleted, but not yet everywhere: too few providers answered correctly' \
    '20 objects, 0 failures')" "$WORK/objects-static" 20 300000 "${urls[@]}"
find "$WORK/cloud3" -type f -exec sh -c 'for f; do printf xxxx | dd of="$f" bs=1 seek=3 conv=notrunc status=none; done' - {} +
check "one gone and one corrupt: refused, not wrong" fails notes shared get diary
rm "$WORK/cloud2"
mkdir "$WORK/cloud2"
check "one empty and one corrupt: read again" says "the third entry" notes static get diary
check "usage" ends_with 2 "$WORK/notes-shared"
check "a URL of an unknown kind" ends_with 1 "$WORK/notes-shared" key ftp://x dir:a dir:b dir:c get n
check "three URLs" ends_with 1 "$WORK/notes-shared" key dir:a dir:b dir:c dir:a get n
finish
