#!/usr/bin/env bash
# install_test.sh BUILD - installs that build aside, under a prefix it was not configured for, and
# builds and runs a user's programs on it: find_package, pkg-config, shared and static; by versioned names.
set -euo pipefail
build=$1
here=$(cd "$(dirname "$0")" && pwd)
stage=$build/stage
rm -rf "$stage" "$build/consumer"
cmake --install "$build" --prefix "$stage" >/dev/null

cmake -S "$here/consumer" -B "$build/consumer" -DCMAKE_PREFIX_PATH="$stage" >/dev/null
cmake --build "$build/consumer" >/dev/null
for program in {mallocgc,static}{,-inlined}-{c,cxx}; do
    "$build/consumer/$program"
done
"$build/consumer/malloc-c"

PKG_CONFIG_PATH=$(dirname "$(find "$stage" -name mallocgc.pc)")
export PKG_CONFIG_PATH
libdir=$(pkg-config --variable=libdir mallocgc)
# shellcheck disable=SC2046
cc -std=c99 $(pkg-config --cflags mallocgc) "$here/consumer/main.c" \
    $(pkg-config --libs mallocgc) -o "$build/consumer/by-pkg-config"
LD_LIBRARY_PATH=$libdir "$build/consumer/by-pkg-config"
[[ $libdir -ef $(dirname "$PKG_CONFIG_PATH") ]]
# shellcheck disable=SC2046
cc -static $(pkg-config --cflags mallocgc) "$here/consumer/main.c" \
    $(pkg-config --libs --static mallocgc) -o "$build/consumer/static-by-pkg-config"
"$build/consumer/static-by-pkg-config"

# What a program asks the dynamic linker for: the soname, and symbols by their version. A version that may
# differ is refused by CMake.
version=$(cat "$here/../VERSION")
for library in mallocgc mallocgc-malloc; do
    [[ $(readlink -f "$libdir/lib$library.so") == */lib$library.so.$version ]]
    [[ $(readlink "$libdir/lib$library.so") == lib$library.so.${version%%.*} ]]
done
objdump -p "$build/consumer/by-pkg-config" | grep -q "NEEDED *libmallocgc.so.${version%%.*}$"
nm -D "$build/consumer/by-pkg-config" | grep -q 'U mgc_alloc@MALLOCGC_0.1'
if cmake -S "$here/consumer" -B "$build/consumer/newer" -DCMAKE_PREFIX_PATH="$stage" \
    -DWANTED=0.99 >/dev/null 2>&1; then
    echo "install_test: find_package took another version"
    exit 1
fi

# libgc's interface, by the pkg-config file in its own folder.
PKG_CONFIG_PATH=$(dirname "$(find "$stage" -name bdw-gc.pc)")
gcdir=$(pkg-config --variable=libdir bdw-gc)
# shellcheck disable=SC2046
cc $(pkg-config --cflags bdw-gc) "$here/../test/conform/libgc/programs/typed.c" \
    $(pkg-config --libs bdw-gc) -o "$build/consumer/libgc"
LD_LIBRARY_PATH=$gcdir "$build/consumer/libgc" | cmp - "$here/../test/conform/libgc/programs/typed.expected"
PKG_CONFIG_PATH=$(dirname "$(find "$stage" -name mallocgc.pc)")

# A program that was compiled with the inlined paths of another layout does not start.
mkdir -p "$build/consumer/other"
sed 's/MGC_INLINE_LAYOUT [0-9]*u/MGC_INLINE_LAYOUT 999u/' \
    "$(find "$stage" -name mallocgc-inline.h)" >"$build/consumer/other/mallocgc-inline.h"
# shellcheck disable=SC2046
cc -std=c99 -I"$build/consumer/other" $(pkg-config --cflags mallocgc) "$here/consumer/inlined.c" \
    $(pkg-config --libs mallocgc) -o "$build/consumer/other-layout"
if LD_LIBRARY_PATH=$libdir "$build/consumer/other-layout" 2>"$build/consumer/message"; then
    echo "install_test: a program of another layout ran"
    exit 1
fi
grep -q 'layout 999.*compile it again' "$build/consumer/message"
