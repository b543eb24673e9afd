#!/bin/sh
# work.git.sh TEMPLATE SCRATCH - history, repack and check of a copy of a repository; prints sums.
set -e
export HOME="$2" GIT_CONFIG_NOSYSTEM=1
rm -rf "$2"
cp -r "$1" "$2"
cd "$2"
git log -p --stat -M main | cksum
git -c pack.threads=1 repack -adfq --window=20
git rev-list --objects --all | cksum
cksum <"$(echo objects/pack/pack-*.pack)"
git fsck --no-progress
