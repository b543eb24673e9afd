#!/usr/bin/env bash
# format.sh [--check] - clang-format over the C files; --check only tells which ones differ.
set -euo pipefail
cd "$(dirname "$0")/.."
format=$(command -v clang-format-19 || true)
if [[ -z $format ]]; then
    echo "format: clang-format-19 is not installed (make deps-all)"
    exit 77
fi
# Tables that a program wrote stay as it wrote them.
mapfile -t files < <(find src include/mallocgc.h include/mallocgc.hpp include/mallocgc-inline.h adapters cmake test bench examples demo \
    \( -name '*.[ch]' -o -name '*.hpp' -o -name '*.cc' \) \
    ! -name '*_table.h' ! -path '*/third_party/*' 2>/dev/null)
if ((${#files[@]} == 0)); then
    echo "format: no C files"
    exit 1
fi
if [[ ${1:-} == --check ]]; then
    differ=$("$format" --dry-run "${files[@]}" 2>&1 | sed -n 's/:[0-9:]* warning: .*//p' | sort -u)
    if [[ -n $differ ]]; then
        printf '%s: not as clang-format writes it (make format)\n' $differ
        exit 1
    fi
else
    "$format" -i "${files[@]}"
fi
echo "format: ${#files[@]} files"
