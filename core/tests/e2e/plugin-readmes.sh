#!/usr/bin/env bash
# The README of every plugin: its first YAML example is a whole configuration that loads without a
# warning, it names every field and the priority that the built plugin has, and its tables of fields are
# what the plugin says (`./dev docs` writes them).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "plugin-readmes: $*" >&2; cat "$work/out" >&2 2>/dev/null || true; exit 1; }
seen=0
for readme in "$WEIR_SOURCE_DIR"/plugins/*/README.md; do
    name=$(basename "$(dirname "$readme")")
    sed -n '/^```yaml$/,/^```$/p;/^```$/q' "$readme" | sed '/^```/d' >"$work/$name.yaml"
    [ -s "$work/$name.yaml" ] || fail "$name: no example in its README"
    grep -qE "name: \"?$name\"?" "$work/$name.yaml" || fail "$name: the example does not use it"
    "$WEIR" check "$work/$name.yaml" >"$work/out" 2>&1 || fail "$name: the example does not load"
    ! grep -q warning "$work/out" || fail "$name: the example has warnings"

    "$WEIR" plugin schema "$name" >"$work/out" 2>&1 || fail "$name: no schema"
    # "  key: default  # type", deeper for the members of records.
    sed -n 's/^ \{2,\}\([a-z][a-z0-9_]*\): .*/\1/p' "$work/out" >"$work/fields"
    [ -s "$work/fields" ] || fail "$name: its schema has no fields"
    while read -r field; do
        grep -q "\`$field\`" "$readme" || fail "$name: the README does not name the field $field"
    done <"$work/fields"
    "$WEIR" plugin schema "$name" --markdown >"$work/out" 2>&1 || fail "$name: no table of fields"
    sed -n '/^<!-- fields -->$/,/^<!-- end of fields -->$/p' "$readme" | sed '1,2d' | sed '$d' |
        sed '$d' >"$work/table"
    diff "$work/table" "$work/out" >"$work/diff" ||
        { cat "$work/diff"; fail "$name: the README's table of fields is old: ./dev docs"; }
    priority=$("$WEIR" plugin list 2>/dev/null | sed -n "s/^$name .* priority \([-0-9]*\) .*/\1/p")
    grep -qE "Priority $priority\b" "$readme" || fail "$name: the README does not say priority $priority"
    seen=$((seen + 1))
done
[ "$seen" -gt 0 ] || fail "no README found"
echo "plugin-readmes: $seen read"
