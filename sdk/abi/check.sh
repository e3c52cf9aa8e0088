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
# shellcheck disable=SC2054  # commas of the linker
shared=(-O1 -shared -fPIC -fvisibility=hidden -I"$sdk/include" -Wl,-z,defs -Wl,-z,now)

# A whole plugin with every macro, not the headers alone: exported under the one name, with a manifest.
is_plugin() { # NAME.so what
    local exports
    exports=$(nm -D --defined-only "$1" | awk '{print $3}')
    [ "$exports" = weir_plugin_v1 ] || fail "$2 exports: $exports"
    readelf -p .weir.manifest "$1" | grep -q 'abi=1\.' || fail "$2 has no manifest"
}
for language in c11 c17; do
    echo '#include <weir/weir.h>' | "$cc" -x c -std=$language "${strict[@]}" -I"$sdk/include" \
        -fsyntax-only - || fail "weir.h is no $language"
    "$cc" -x c -std=$language "${strict[@]}" "${shared[@]}" "$sdk/abi/samples/everything.h" \
        -o "$work/c.so" || fail "a plugin does not compile as $language"
    is_plugin "$work/c.so" "a plugin in $language"
done
# Designators came into C++ with 20; compilers have them before, and say so when they are pedantic.
for language in c++17 c++20; do
    pedantic=(-Wpedantic)
    [ $language = c++17 ] && pedantic=(-Wno-pedantic)
    echo '#include <weir/weir.h>' | "${CXX:-c++}" -x c++ -std=$language "${strict[@]}" \
        -I"$sdk/include" -fsyntax-only - || fail "weir.h is no $language"
    "${CXX:-c++}" -x c++ -std=$language "${strict[@]}" "${pedantic[@]}" "${shared[@]}" \
        "$sdk/abi/samples/everything.h" -o "$work/c++.so" ||
        fail "a plugin does not compile as $language"
    is_plugin "$work/c++.so" "a plugin in $language"
done
for warning in "-DWEIR_TARGET_MINOR=0" "-DWEIR_TARGET_MINOR=99"; do
    expected=0
    [ "$warning" = "-DWEIR_TARGET_MINOR=99" ] && expected=1
    code=0
    echo '#include <weir/weir.h>' | "$cc" -x c "$warning" -I"$sdk/include" -fsyntax-only - \
        2>/dev/null || code=1
    [ $code = $expected ] || fail "$warning: compiling it gives $code"
done

"$sdk/abi/layout.sh" "$sdk/include" >"$work/layout"
[ "$(wc -l <"$work/layout")" -gt 150 ] || fail "the layout has too few lines: $(wc -l <"$work/layout")"
diff -u "$sdk/abi/v1.lock" "$work/layout" ||
    fail "the layout differs from sdk/abi/v1.lock (+ is what the headers say now)"

# What is left when the author strips it.
strip "$work/c.so"
is_plugin "$work/c.so" "a stripped plugin"

# The reference says what the headers say, and no contract says too little.
if command -v python3 >/dev/null; then
    table=("$sdk"/../core/plugin_host/table.c) # of a source tree: what the host really wants
    [ ! -f "${table[0]}" ] || table=(--table "${table[0]}")
    [ "${#table[@]}" = 2 ] || table=()
    python3 "$sdk/reference.py" "$sdk/include" "${table[@]}" >"$work/reference.md"
    diff -u "$sdk/reference.md" "$work/reference.md" >"$work/diff" ||
        { head -n 40 "$work/diff"; fail "sdk/reference.md is old: sdk/reference.sh makes it anew"; }
fi

# What abi/tests.md names exists (in a source tree).
if [ -d "$sdk/../core/tests" ]; then
    grep '^| ' "$sdk/abi/tests.md" | grep -oE '`(test_[a-z_]+|[a-z]+_[a-z_]+)`' | tr -d '`' | sort -u |
        while read -r name; do
            grep -rqE "(def |, )$name\\(?\\)?" "$sdk/../core/tests" || fail "abi/tests.md: no test is called $name"
        done
fi

# Released header sets are as they were released: their layouts are the first lines of today's.
for released in "$sdk"/abi/[0-9]*/; do
    [ -d "$released" ] || continue
    (cd "$released" && sha256sum --quiet -c SHA256SUMS) || fail "$released was changed"
    "$sdk/abi/layout.sh" "$released/include" | diff -u "$released/lock" - ||
        fail "$released: its headers have another layout than when they were released"
    "$sdk/abi/grown.py" "$released/lock" "$work/layout" "$released/include" "$sdk/include" ||
        fail "$released is not what today's headers grew from"
done
echo "abi: $(wc -l <"$work/layout") facts hold"
