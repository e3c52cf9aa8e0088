#!/usr/bin/env bash
# Make reference.md anew from the headers. sdk/abi/check.sh compares.
set -euo pipefail
sdk=$(dirname "$(readlink -f "$0")")
python3 "$sdk/reference.py" "$sdk/include" --table "$sdk/../core/plugin_host/table.c" >"$sdk/reference.md.new"
mv "$sdk/reference.md.new" "$sdk/reference.md"
