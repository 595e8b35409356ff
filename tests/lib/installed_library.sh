#!/bin/bash
# SPDX-License-Identifier: MIT
# For tests of a library as `make install` leaves it, outside of the source tree. Sourced after
# begin; PACKAGE is its name for pkg-config.
#
#     PACKAGE=depsky; . "$LIB/installed_library.sh"; check "…" library_exports_declarations; library_build put shared

case $BUILD in *clang*) CC=${CC:-clang} ;; *) CC=${CC:-gcc} ;; esac
sanitize=()
case $BUILD in
*-asan) sanitize=("-fsanitize=address,undefined") ;;
*-tsan) sanitize=("-fsanitize=thread") ;;
esac
root=$WORK/root
must "install" make -C "$TOP" -s --no-print-directory "BUILD=$BUILD" "DESTDIR=$root" PREFIX=/opt/c2 \
    SYSCONFDIR=/opt/c2/etc SBINDIR=/opt/c2/sbin install-files
export PKG_CONFIG_PATH=$root/opt/c2/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root
must "pkg-config knows $PACKAGE" pkg-config --exists "$PACKAGE"
check "and its version" [ "$(pkg-config --modversion "$PACKAGE")" = "$(cat "$TOP/VERSION")" ]

# $WORK/declared: the functions of the headers; $WORK/exported: what the library exports.
lib=$root/opt/c2/lib
include=$root/opt/c2/include/$PACKAGE-0
mapfile -t headers < <(cd "$include" && find . -name '*.h')
(cd "$include" && "$TOP/packaging/library-symbols" "${headers[@]}") >"$WORK/declared"
nm -D --defined-only "$lib/lib$PACKAGE.so.0" | awk '$2 ~ /[TDRB]/ { print $3 }' |
    grep -vE '^(__|_init|_fini)' | LC_ALL=C sort -u >"$WORK/exported"
library_exports_declarations() {
    diff "$WORK/declared" "$WORK/exported"
}
library_headers_compile() { # each of them alone
    local header
    for header in "${headers[@]}"; do
        echo "#include <${header#./}>" >"$WORK/one.c"
        "$CC" -std=c11 -Wall -Wextra -pedantic -Werror -fsyntax-only -I "$include" "$WORK/one.c" || return 1
    done
}
# An example as a user builds it: nothing of the source tree but this file.
library_build() { # NAME shared|static : $WORK/NAME-shared
    local flags=() libs=()
    read -r -a flags <<<"$(pkg-config --cflags "$PACKAGE")"
    if [ "$2" = static ]; then
        read -r -a libs <<<"$(pkg-config --static --libs "$PACKAGE")"
        libs=("${libs[@]/#-l$PACKAGE/-l:lib$PACKAGE.a}")
    else
        read -r -a libs <<<"$(pkg-config --libs "$PACKAGE")"
        libs+=("-Wl,-rpath,$lib")
    fi
    "$CC" -std=c11 -Wall -Wextra -Werror "${sanitize[@]}" "${flags[@]}" \
        "$root/opt/c2/share/doc/lib$PACKAGE/examples/$1.c" -o "$WORK/$1-$2" "${libs[@]}"
}
