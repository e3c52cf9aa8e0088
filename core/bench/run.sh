#!/usr/bin/env bash
# weir beside nginx and haproxy from Debian, one worker each, on the same upstream and the same load.
#   run.sh [--rounds N] [--seconds N] [--instructions [--policies]]
set -euo pipefail
cd "$(dirname "$0")"
missing=()
for tool in nginx haproxy wrk valgrind; do
    command -v "$tool" >/dev/null || [ -x "/usr/sbin/$tool" ] || missing+=("$tool")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "bench: installing ${missing[*]}"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends "${missing[@]}" >/dev/null
fi
exec python3 bench.py "$@"
