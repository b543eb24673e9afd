#!/usr/bin/env bash
# folder_test.sh BUILD - a user's project with this source in a folder of it (add_subdirectory): builds only
# what it links, none of our tests, and runs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$1/folder
rm -rf "$out"
cmake -S "$here/consumer/folder" -B "$out" -DMALLOCGC_SOURCE="$here/.." -DCMAKE_BUILD_TYPE=Debug \
    -DCMAKE_C_FLAGS_DEBUG=-O0 >/dev/null
cmake --build "$out" --parallel 2 >/dev/null
"$out/mallocgc-c"
"$out/static-c"
if [[ -e $out/bin || -e $out/mallocgc/bin || -e $out/mallocgc/test || -e $out/mallocgc/libgc/libgc.so.1 ]]; then
    echo "folder_test: built what the project does not use"
    exit 1
fi
# Nothing of ours is installed with the project.
DESTDIR=$out/installed cmake --install "$out" >/dev/null
[[ ! -e $out/installed ]]
