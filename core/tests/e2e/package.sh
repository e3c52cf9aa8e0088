#!/usr/bin/env bash
# The SDK as it is shipped: two components (weir, weir-dev) with exactly these files, headers that
# compile each alone, a kit that exports kit_* alone, and weir's own policies built with nothing else.
# A release build packs them for Debian too and looks at what comes out of the packages; so does
# WEIR_PACKAGES=full with any build.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "package: $*" >&2; exit 1; }
for tool in cmake gcc g++ pkg-config readelf nm; do
    if ! command -v "$tool" >/dev/null; then
        echo "skipped: there is no $tool"
        exit 0
    fi
done
unset WEIR WEIR_BINARY WEIR_PLUGIN_DIR WEIR_PLUGIN_PATH
sanitized=$(sed -n 's/^WEIR_SANITIZE:[A-Z]*=//p' "$WEIR_BUILD_DIR/CMakeCache.txt")
full=${WEIR_PACKAGES:-}
[ -n "$sanitized" ] || full=full
for tool in cpack dpkg-deb dpkg-shlibdeps file; do
    if [ "$full" = full ] && ! command -v "$tool" >/dev/null; then
        echo "package: there is no $tool, so no Debian packages"
        full=
    fi
done

# ---- what is installed, and what should be

below() { (cd "$1" && find . \( -type f -o -type l \) "${@:2}" | sed 's,^\./,,'); }
expected_weir() {
    echo bin/weir
    echo bin/weir-token
    for policy in "$WEIR_SOURCE_DIR"/plugins/*/; do
        echo "lib/weir/plugins/$(basename "$policy").so"
    done
    echo share/man/man1/weir.1
    below "$WEIR_SOURCE_DIR/conf" | sed 's,^,share/weir/,'
}
expected_dev() {
    local pages=share/doc/weir/sdk folder page
    below "$WEIR_SOURCE_DIR/sdk/include" | sed 's,^,include/,'
    (cd "$WEIR_SOURCE_DIR/sdk/testkit" && printf 'include/%s\n' weir_testkit*.h)
    printf 'lib/%s\n' libweir_bodies.a libweir_redis.a libweir_testkit.so weir/weir-plugin
    printf 'lib/cmake/WeirPlugin/WeirPlugin%s.cmake\n' '' Build Config ConfigVersion
    printf 'lib/pkgconfig/weir-%s.pc\n' plugin testkit bodies redis
    for folder in template examples; do
        [ ! -d "$WEIR_SOURCE_DIR/sdk/$folder" ] || below "$WEIR_SOURCE_DIR/sdk/$folder" \
            -not -path '*/build/*' -not -path '*/target/*' | sed "s,^,share/weir/$folder/,"
    done
    printf "$pages/%s\n" examples template include
    for page in "$WEIR_SOURCE_DIR"/sdk/{*.md,testkit/*.md,abi/*.md,abi/*.lock}; do
        echo "$pages/${page#"$WEIR_SOURCE_DIR/sdk/"}"
    done
}
same_files() { # folder expected what
    diff -u <(LC_ALL=C sort "$2") <(below "$1" | LC_ALL=C sort) ||
        fail "$3: other files than these (+ is there, - should be)"
}
expected_weir >"$work/weir.files"
expected_dev >"$work/weir-dev.files"
for component in weir weir-dev; do
    cmake --install "$WEIR_BUILD_DIR" --prefix "$work/$component" --component $component \
        >"$work/install.log" || fail "cmake --install --component $component"
    same_files "$work/$component" "$work/$component.files" "component $component"
done
prefix=$work/prefix
mkdir "$prefix"
cp -a "$work/weir/." "$work/weir-dev/." "$prefix/"

# ---- Debian packages: what is looked at from here on comes out of them

if [ "$full" = full ]; then
    (cd "$work" && cpack -G DEB --config "$WEIR_BUILD_DIR/CPackConfig.cmake" -B "$work/debs") \
        >"$work/cpack.log" 2>&1 || { cat "$work/cpack.log" >&2; fail "cpack -G DEB"; }
    rm -rf "$work/debs/_CPack_Packages" "$prefix"
    for package in weir weir-dev; do
        deb=$(echo "$work/debs/${package}"_*.deb)
        field() { dpkg-deb -f "$deb" "$1"; }
        [ "$(field Package)" = $package ] || fail "$deb is $(field Package)"
        for name in Version Architecture Maintainer Section Description; do
            [ -n "$(field $name)" ] || fail "$package has no $name"
        done
        [[ "$(field Depends)" == *libc6* ]] || fail "$package depends on $(field Depends)"
        dpkg-deb -c "$deb" >"$work/$package.list"
        awk '{ if ($2 != "root/root") print }
             $1 ~ /^d/ && $1 != "drwxr-xr-x" { print }
             $1 ~ /^-/ && $1 != ($6 ~ "/bin/|/weir-plugin$" ? "-rwxr-xr-x" : "-rw-r--r--") { print }
             ' "$work/$package.list" >"$work/odd"
        [ ! -s "$work/odd" ] || { cat "$work/odd" >&2; fail "$package: owner or permissions"; }
        { sed 's,\(man1/.*\),\1.gz,' "$work/$package.files"
          printf "share/doc/$package/%s\n" copyright changelog.gz; } >"$work/$package.packed"
        mkdir "$work/$package.root"
        dpkg-deb -x "$deb" "$work/$package.root"
        same_files "$work/$package.root/usr" "$work/$package.packed" "package $package"
        dpkg-deb -x "$deb" "$work/root" # over each other, as dpkg does
    done
    [[ "$(field Depends)" == *"weir (= $(field Version))"* ]] || fail "weir-dev fits any weir"
    [[ "$(dpkg-deb -f "$work"/debs/weir_*.deb Depends)" == *libhiredis* ]] ||
        fail "weir's package does not depend on what its plugins link"
    prefix=$work/root/usr
fi
weir=$prefix/bin/weir

# ---- links, exports, headers

[ -f "$prefix/share/doc/weir/sdk/include/weir/weir.h" ] || fail "the pages point at nothing"
[ -d "$prefix/share/doc/weir/sdk/examples/tenant-quota" ] || fail "the pages point at nothing"
exports() { nm -D --defined-only "$1" | awk '{ sub("@.*", "", $3); print $3 }' | LC_ALL=C sort; }
kit=$prefix/lib/libweir_testkit.so
diff <(grep -oh '\bkit_[a-z_0-9]*(' "$prefix"/include/weir_testkit*.h | tr -d '(' | LC_ALL=C sort -u) \
    <(exports "$kit") >"$work/diff" || { grep '^>' "$work/diff" >&2 && fail "the kit exports these"; }
[ "$(exports "$kit" | wc -l)" -gt 50 ] || fail "the kit exports too little"
for image in "$weir" "$prefix/lib/weir/weir-plugin" "$kit" "$prefix"/lib/weir/plugins/*.so; do
    readelf -d "$image" >"$work/dynamic"
    ! grep -E 'RPATH|RUNPATH' "$work/dynamic" || fail "$image looks for libraries of its own"
    grep -qE 'TEXTREL' "$work/dynamic" && fail "$image has text relocations"
done

strict=(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wundef -Werror -fsyntax-only
    -fmax-errors=3 -I "$prefix/include")
while read -r header; do
    # A part of another, that says so to whoever includes it.
    ! grep -q '^#error "include <weir' "$prefix/include/$header" || continue
    echo "#include <$header>" >"$work/one.c"
    cp "$work/one.c" "$work/one.cc"
    for standard in c11 c17; do
        gcc -std=$standard "${strict[@]}" "$work/one.c" || fail "$header alone is no $standard"
    done
    for standard in c++17 c++20; do
        g++ -std=$standard "${strict[@]}" "$work/one.cc" || fail "$header alone is no $standard"
    done
done < <(below "$prefix/include")

# ---- weir's policies, in a folder of their own, against this

nine=$work/nine
mkdir "$nine"
cp -r "$WEIR_SOURCE_DIR/plugins" "$nine/plugins"
rm -r "$nine/plugins/jwt/token-tool" # a program beside its policy
sed -i '/token-tool/d' "$nine/plugins/jwt/CMakeLists.txt"
cat >"$nine/CMakeLists.txt" <<'EOF'
cmake_minimum_required(VERSION 3.20)
project(nine LANGUAGES C)
find_package(WeirPlugin REQUIRED)
function(weir_plugin) # what each plugins/NAME/CMakeLists.txt says
    cmake_parse_arguments(PLUGIN "" "" "LIBS" ${ARGN})
    get_filename_component(name ${CMAKE_CURRENT_SOURCE_DIR} NAME)
    file(GLOB sources ${CMAKE_CURRENT_SOURCE_DIR}/*.c)
    weir_add_plugin(${name} SOURCES ${sources} LIBS ${PLUGIN_LIBS})
    set_target_properties(${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
endfunction()
file(GLOB folders plugins/*)
foreach(folder ${folders})
    add_subdirectory(${folder})
endforeach()
EOF
generator=()
! command -v ninja >/dev/null || generator=(-G Ninja)
{ cmake -S "$nine" -B "$nine/build" "${generator[@]}" -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_C_FLAGS='-D_GNU_SOURCE -Wall -Wno-missing-field-initializers -Werror' &&
    cmake --build "$nine/build" --parallel 2; } >"$work/nine.log" 2>&1 ||
    { tail -n 30 "$work/nine.log" >&2; fail "they do not build against the installed SDK"; }
[ "$(sed -n 's/^WeirPlugin_DIR:PATH=//p' "$nine/build/CMakeCache.txt")" = \
    "$prefix/lib/cmake/WeirPlugin" ] || fail "another WeirPlugin was found"
! grep -rlF -e "$WEIR_SOURCE_DIR/" -e "$WEIR_BUILD_DIR/" "$nine/build" \
    --include='*.ninja' --include='*.d' --include='*.make' || fail "these know weir's own tree"
for installed in "$prefix"/lib/weir/plugins/*.so; do
    built=$nine/build/$(basename "$installed")
    [ -f "$built" ] || fail "no $(basename "$installed") was built"
    [ "$(exports "$built")" = weir_plugin_v1 ] || fail "$built exports $(exports "$built")"
    "$weir" plugin inspect "$built" >"$work/inspect.log" 2>&1 ||
        { cat "$work/inspect.log" >&2; fail "weir would not load $built"; }
done
cat >"$work/nine.yaml" <<EOF
_format_version: "3.0"
services: [{name: s, host: localhost, routes: [{name: r, paths: [/]}]}]
plugins:
- name: correlation-id
- name: cors
- {name: file-log, config: {path: $work/log}}
- name: jwt
- name: key-auth
- name: prometheus
- {name: rate-limiting, config: {minute: 5}}
- {name: request-transformer, config: {add: {headers: ["a:b"]}}}
- {name: response-transformer, config: {add: {headers: ["a:b"]}}}
EOF
for file in "$work/nine.yaml" "$WEIR_SOURCE_DIR/conf/weir.yaml"; do
    WEIR_PLUGIN_PATH=$nine/build "$weir" check "$file" >"$work/check.log" 2>&1 ||
        { cat "$work/check.log" >&2; fail "weir check refuses $file with them"; }
done

# ---- a test without CMake, against the installed kit

if ! echo '#include <criterion/criterion.h>' | gcc -E -x c - >"$work/criterion" 2>&1; then
    echo "package: there is no Criterion, so no test against the kit"
else
    cat >"$work/test.c" <<'EOF'
#include <criterion/criterion.h>
#include <weir_testkit.h>
Test(key_auth, a_stranger_is_refused)
{
    struct kit *kit = kit_open("_format_version: '3.0'\n"
                               "services: [{name: s, host: t, routes: [{name: r, paths: [/]}]}]\n"
                               "plugins: [{name: key-auth}]\n");
    cr_assert_not_null(kit, "%s", kit_error());
    kit_request *r = kit_request_new(kit, "GET", "/");
    cr_expect_eq(kit_run(r), 401);
    kit_close(kit);
}
EOF
    # shellcheck disable=SC2046  # flags are words
    gcc "$work/test.c" -o "$work/test" $(PKG_CONFIG_PATH=$prefix/lib/pkgconfig \
        pkg-config --cflags --libs weir-testkit criterion) || fail "pkg-config's flags do not do"
    WEIR_PLUGIN_DIR=$nine/build "$work/test" >"$work/test.log" 2>&1 ||
        { cat "$work/test.log" >&2; fail "a test against the installed kit"; }
fi
echo "package: $(wc -l <"$work/weir.files") and $(wc -l <"$work/weir-dev.files") files," \
    "$(below "$prefix/include" | wc -l) headers, $(find "$nine/build" -name '*.so' | wc -l) policies" \
    "built against them${full:+, from Debian packages}"
