#!/usr/bin/env bash
# deps.sh GROUP... - install the Debian packages of these groups that are missing.
# Looks with dpkg-query first: when nothing is missing it changes nothing and needs no root.
set -euo pipefail

declare -A group=(
    [build]="gcc g++ make cmake ninja-build python3 pkg-config libncurses-dev libjs-chart.js libdw-dev"
    [test]="libcriterion-dev libcmocka-dev clang-19 libclang-rt-19-dev llvm-19 valgrind chromium gdb liblua5.4-dev libsqlite3-dev python3-dev"
    [lint]="clang-format-19 clang-tidy-19"
    [model]="spin"
    [probes]="bpftrace"
    [bindings]="bindgen rustc libclang-dev"
    [package]="dpkg-dev debootstrap"
    [demo]="guile-3.0 w3m ecl libgc1 libgc-dev"
    [bench]="libmimalloc2.0 libjemalloc2 libtcmalloc-minimal4 valgrind python3 python3-pip gcc g++ git perl lua5.4 sqlite3 redis-server redis-tools nodejs"
    [arm64]="gcc-aarch64-linux-gnu qemu-user-static libc6-dev-arm64-cross"
)

if ! command -v dpkg-query >/dev/null; then
    echo "deps: no dpkg here; please install by other means: $*" >&2
    for name in "$@"; do echo "  $name: ${group[$name]}" >&2; done
    exit 0
fi

missing=()
for name in "$@"; do
    for package in ${group[$name]:?unknown group $name}; do
        status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
        [[ $status == installed ]] || missing+=("$package")
    done
done
if ((${#missing[@]} == 0)); then
    exit 0
fi

echo "deps: missing Debian packages: ${missing[*]}"
install="apt-get install -y --no-install-recommends ${missing[*]}"
if ((EUID != 0)); then
    echo "deps: not root; please run:  sudo apt-get update && sudo $install" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
echo "deps: apt-get update"
apt-get -o DPkg::Lock::Timeout=300 -qq update
echo "deps: $install"
# shellcheck disable=SC2086
apt-get -o DPkg::Lock::Timeout=300 -qq ${install#apt-get } >/dev/null
echo "deps: installed"
