#!/usr/bin/env bash
# The first YAML example in the README of every plugin is a whole configuration that loads.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
seen=0
for readme in "$WEIR_SOURCE_DIR"/plugins/*/README.md; do
    name=$(basename "$(dirname "$readme")")
    sed -n '/^```yaml$/,/^```$/p;/^```$/q' "$readme" | sed '/^```/d' >"$work/$name.yaml"
    [ -s "$work/$name.yaml" ] || { echo "$name: no example in its README" >&2; exit 1; }
    grep -qE "name: \"?$name\"?|name: $name" "$work/$name.yaml" ||
        { echo "$name: the example does not use the plugin" >&2; exit 1; }
    "$WEIR" check "$work/$name.yaml" || { echo "$name: the example does not load" >&2; exit 1; }
    seen=$((seen + 1))
done
[ "$seen" -gt 0 ] || { echo "no README found" >&2; exit 1; }
