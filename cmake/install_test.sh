#!/usr/bin/env bash
# install_test.sh BUILD - installs that build aside, under a prefix it was not configured for, and
# builds and runs a user's programs on it: find_package, pkg-config, shared and static.
set -euo pipefail
build=$1
here=$(cd "$(dirname "$0")" && pwd)
stage=$build/stage
rm -rf "$stage" "$build/consumer"
cmake --install "$build" --prefix "$stage" >/dev/null

cmake -S "$here/consumer" -B "$build/consumer" -DCMAKE_PREFIX_PATH="$stage" >/dev/null
cmake --build "$build/consumer" >/dev/null
for program in mallocgc-c mallocgc-cxx static-c static-cxx; do
    "$build/consumer/$program"
done

PKG_CONFIG_PATH=$(dirname "$(find "$stage" -name mallocgc.pc)")
export PKG_CONFIG_PATH
libdir=$(pkg-config --variable=libdir mallocgc)
# shellcheck disable=SC2046
cc -std=c99 $(pkg-config --cflags mallocgc) "$here/consumer/main.c" \
    $(pkg-config --libs mallocgc) -o "$build/consumer/by-pkg-config"
LD_LIBRARY_PATH=$libdir "$build/consumer/by-pkg-config"
[[ $libdir -ef $(dirname "$PKG_CONFIG_PATH") ]]
