#!/usr/bin/env bash
# The promises of the SDK headers: they compile alone as C11, C17 and C++17/20; the layout is the locked
# one; a plugin has one exported symbol and a manifest that survives strip.
#   check.sh SDK_DIR
set -euo pipefail
sdk=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc=${CC:-cc}

fail() { echo "abi: $*" >&2; exit 1; }

strict=(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -Wno-missing-field-initializers)
for language in c11 c17; do
    echo '#include <weir/weir.h>' | "$cc" -x c -std=$language "${strict[@]}" -I"$sdk/include" \
        -fsyntax-only - || fail "weir.h is no $language"
done
for language in c++17 c++20; do
    echo '#include <weir/weir.h>' | "${CXX:-c++}" -x c++ -std=$language "${strict[@]}" \
        -I"$sdk/include" -fsyntax-only - || fail "weir.h is no $language"
done

"$sdk/abi/layout.sh" "$sdk/include" >"$work/layout"
[ "$(wc -l <"$work/layout")" -gt 150 ] || fail "the layout has too few lines: $(wc -l <"$work/layout")"
diff -u "$sdk/abi/v1.lock" "$work/layout" ||
    fail "the layout differs from sdk/abi/v1.lock (+ is what the headers say now)"

for source in "$sdk"/examples/*/*.c; do
    plugin=$work/$(basename "$source" .c).so
    "$cc" -std=c11 "${strict[@]}" -O2 -shared -fPIC -fvisibility=hidden -I"$sdk/include" \
        -Wl,-z,defs -Wl,-z,now "$source" -o "$plugin"
    strip "$plugin"
    exports=$(nm -D --defined-only "$plugin" | awk '{print $3}')
    [ "$exports" = weir_plugin_v1 ] || fail "$(basename "$source") exports: $exports"
    readelf -p .weir.manifest "$plugin" | grep -q 'abi=1\.' || fail "$(basename "$source") has no manifest"
done
echo "abi: $(wc -l <"$work/layout") facts hold"
