#!/usr/bin/env bash
# tidy.sh [BUILD] - clang-tidy over src/, with the flags of that build (default build/).
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v run-clang-tidy-19 >/dev/null; then
    echo "tidy: clang-tidy-19 is not installed (make deps-all)"
    exit 77
fi
n=$(grep -c '"file": .*/src/' "${1:-build}/compile_commands.json" || true)
if ((n == 0)); then
    echo "tidy: no sources in ${1:-build}/compile_commands.json"
    exit 1
fi
if ! report=$(run-clang-tidy-19 -quiet -p "${1:-build}" "$PWD/src/.*\.c$" 2>/dev/null); then
    grep -A2 'error:' <<<"$report" || echo "$report"
    exit 1
fi
echo "tidy: $n sources"
