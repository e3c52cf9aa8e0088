#!/bin/bash
# The test kit as a stranger's plain program in C++ has it: no Criterion, nothing of weir's tree but
# what is installed; and under valgrind, which finds nothing.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail()
{
    echo "FAIL: $*" >&2
    exit 1
}

if ! command -v c++ >/dev/null; then
    echo "skipped: there is no C++ compiler"
    exit 0
fi
kit="$WEIR_BUILD_DIR/lib/libweir_testkit.so"
[ -e "$kit" ] || fail "there is no $kit"
flags=
readelf -d "$kit" | grep -q 'libasan' && flags="-fsanitize=address,undefined"

mkdir "$work/include"
cp -r "$WEIR_SOURCE_DIR/sdk/include/weir" "$WEIR_SOURCE_DIR"/sdk/testkit/weir_testkit*.h "$work/include/"
cc -std=gnu11 -O1 -g -fPIC -shared -fvisibility=hidden -Wl,-z,defs -I"$work/include" $flags \
    -o "$work/tenant-quota.so" "$WEIR_SOURCE_DIR/sdk/examples/tenant-quota/tenant-quota.c"
c++ -std=c++17 -O1 -g -Wall -Wextra -Wpedantic -Werror -I"$work/include" $flags \
    -o "$work/plain" "$WEIR_SOURCE_DIR/plugin-tests/testkit/plain.cc" "$kit" \
    -Wl,-rpath,"$WEIR_BUILD_DIR/lib"
export WEIR_PLUGIN_DIR=$work
"$work/plain" || fail "the plain program"

if [ -n "$flags" ]; then
    echo "skipped under valgrind: this build has AddressSanitizer in it"
elif ! command -v valgrind >/dev/null; then
    echo "skipped under valgrind: it is not installed"
else
    valgrind --quiet --leak-check=full --errors-for-leak-kinds=definite,indirect,possible \
        --error-exitcode=9 "$work/plain" 2>"$work/valgrind" || {
        cat "$work/valgrind" >&2
        fail "valgrind found errors"
    }
fi
echo ok
