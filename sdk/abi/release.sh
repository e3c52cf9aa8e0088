#!/usr/bin/env bash
# Freeze today's headers as those of a released minor: sdk/abi/MAJOR.MINOR/ gets the headers that make up
# the ABI, their layout and their checksums. What is released is never written again.
#   release.sh MAJOR.MINOR
set -euo pipefail
[ $# = 1 ] || { echo "usage: release.sh MAJOR.MINOR" >&2; exit 64; }
version=$1
sdk=$(dirname "$(dirname "$(readlink -f "$0")")")
release=$sdk/abi/$version
fail() { echo "release: $*" >&2; exit 1; }

number() { sed -n "s/^#define WEIR_$1 \([0-9]*\)$/\1/p" "$sdk/include/weir/weir.h"; }
[ "$version" = "$(number MAJOR).$(number MINOR)" ] ||
    fail "the headers say $(number MAJOR).$(number MINOR), not $version"
[ ! -e "$release" ] || fail "$release exists: what is released stays as it is"
grep -q "^## $version\b" "$sdk/abi/history.md" || fail "history.md has no chapter $version"
grep -q "^ \*  - $version: " "$sdk/include/weir/weir.h" || fail "the history in weir.h has no line $version"
"$sdk/abi/check.sh" "$sdk"

mkdir -p "$release.new/include/weir"
cp "$sdk"/include/weir/{weir,calls,host}.h "$release.new/include/weir/"
"$sdk/abi/layout.sh" "$release.new/include" >"$release.new/lock"
(cd "$release.new" && sha256sum include/weir/*.h lock >SHA256SUMS)
mv "$release.new" "$release"
echo "release: $release"
