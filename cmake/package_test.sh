#!/usr/bin/env bash
# package_test.sh - the Debian packages, in a fresh Debian: they install, a program is built and run on them, the
# command runs one on each face, and nothing is left when they are removed. Needs root, debootstrap, the network.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if ((EUID != 0)) || ! command -v debootstrap >/dev/null; then
    echo "package_test: skipped: needs root and debootstrap (tools/deps.sh package)"
    exit 77
fi
cd "$here/.."
make deb >/dev/null
root=$PWD/build/package/root
rm -rf "$root"
# shellcheck disable=SC1091
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
debootstrap --variant=minbase --include=gcc,libc6-dev,pkg-config,libncursesw6,libdw1,man-db,libgc1 \
    "$suite" "$root" >build/package/debootstrap.log
inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C "$@"; }
trap 'umount "$root/proc" 2>/dev/null || true' EXIT
# What packages may leave changed: caches and dpkg's own lists.
listing() {
    (cd "$root" && find . -path ./proc -prune -o -path ./var/lib/dpkg -prune -o -path ./var/cache -prune -o \
        -path ./var/log -prune -o -path ./tmp -prune -o -type f -print -o -type l -print | sort)
}
listing >build/package/before
cp build/package/packages/*.deb build/package/packages/*.ddeb "$root/tmp/"
cp "$here/consumer/main.c" examples/list.c "$root/tmp/"
inside bash -ec 'dpkg -i /tmp/*.deb /tmp/*.ddeb >/dev/null
    cd /tmp
    gcc main.c $(pkg-config --cflags --libs mallocgc) -o shared && ./shared
    gcc main.c $(pkg-config --cflags mallocgc) -Wl,-Bstatic -lmallocgc -Wl,-Bdynamic -pthread -ldl -o static
    ./static
    gcc -g list.c $(pkg-config --cflags --libs mallocgc) -o list && ./list >/dev/null
    objdump -p shared | grep -q "NEEDED *libmallocgc.so.0"
    nm -D shared | grep -q "mgc_alloc@MALLOCGC_0.1"
    mallocgc --version
    mallocgc run --malloc --stats text:/tmp/stats -- ls / >/dev/null
    test -s /tmp/stats
    # without /proc: stacks have their bounds all the same
    for i in 1 2 3 4 5 6 7 8; do mallocgc bench --quick --only gcbench >/dev/null; done 2>/dev/null'
mount -t proc proc "$root/proc"
inside bash -ec 'cd /tmp
    mallocgc bench --quick 2>missing | grep -q "^binary-trees .*[0-9]"
    grep -q "mimalloc is not installed, and left out (Debian: libmimalloc2.0)" missing
    mallocgc run --report list.html -- ./list >/dev/null && grep -q "Chart.js" list.html
    # the command, stripped, and its symbols, which lie apart
    nm /usr/bin/mallocgc 2>&1 | grep -q "no symbols"
    id=$(readelf -n /usr/bin/mallocgc | sed -n "s/.*Build ID: //p")
    nm "/usr/lib/debug/.build-id/${id:0:2}/${id:2}.debug" | grep -q " main$"
    MGC_PROFILE=list.pb MGC_DEBUG=samplerate=1KiB ./list >/dev/null
    mallocgc profile list.pb | grep -q main
    for page in "1 mallocgc" "7 mallocgc" "3 mallocgc" "3 mgc_alloc" "3 mgc_heap_calloc"; do
        man -w $page >/dev/null
    done
    . /usr/share/bash-completion/completions/mallocgc
    for package in mallocgc mallocgc-bench libmallocgc0 libmallocgc-dev; do test -r /usr/share/doc/$package/copyright; done
    # the command alone needs no other collector
    if dpkg-query -W -f "\${Depends}" mallocgc | grep libgc1; then exit 1; fi
    dpkg -r mallocgc-bench-dbgsym mallocgc-bench >/dev/null
    if mallocgc bench --quick 2>missing; then exit 1; fi
    grep -q "are missing.*Debian: mallocgc-bench" missing
    rm shared static list list.html list.pb stats missing main.c list.c'
umount "$root/proc"
rm "$root"/tmp/*.deb "$root"/tmp/*.ddeb
# In two steps: what one package needs, another may not take with it.
if inside dpkg -r libmallocgc0 2>/dev/null; then
    echo "package_test: the library was removed under the others"
    exit 1
fi
inside dpkg --purge mallocgc-dbgsym libmallocgc0-dbgsym mallocgc libmallocgc-dev libmallocgc0 >/dev/null
listing >build/package/after
diff build/package/before build/package/after
rm -rf "$root"
echo "package_test: installed, used and removed"
