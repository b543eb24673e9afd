#!/usr/bin/env bash
# fuzz.sh SECONDS - run each libFuzzer target for that long. A crash is left in test/fuzz/corpus,
# where every later `make test` replays it.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
cmake --preset fuzz --log-level=WARNING >/dev/null
cmake --build --preset fuzz --parallel --target fuzzers
shopt -s nullglob
ran=0
for target in build/fuzz/fuzzers/fuzz-*; do
    name=${target##*/fuzz-}
    mkdir -p "test/fuzz/corpus/$name" "build/fuzz/found/$name"
    "$target" -max_total_time="$seconds" -artifact_prefix="test/fuzz/corpus/$name/" \
        "build/fuzz/found/$name" "test/fuzz/corpus/$name"
    ran=$((ran + 1))
done
echo "fuzz: $ran targets"
((ran > 0))
