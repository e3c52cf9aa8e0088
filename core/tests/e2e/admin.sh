#!/usr/bin/env bash
# The status and admin listeners of a running weir: probes, documents, and metrics that promtool
# reads.
set -euo pipefail
work=$(mktemp -d)
pids=()
stop() {
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap stop EXIT
fail() { echo "admin: $*" >&2; tail -n 20 "$work"/*.log "$work/out" >&2 2>/dev/null || true; exit 1; }
same() { [ "$1" = "$2" ] || fail "have '$1', want '$2'"; }

cat >"$work/kong.yml" <<'EOF'
_format_version: "3.0"
gateway:
  workers: 2
services:
- name: s
  url: http://127.0.0.1:9
  routes:
  - name: r
    paths: [/a]
EOF
"$WEIR" run "$work/kong.yml" --proxy-listen "unix:$work/proxy" --admin-listen "unix:$work/admin" \
    --status-listen "unix:$work/status" --prefix "$work/prefix" >"$work/weir.log" 2>&1 &
pids+=($!)

status() { curl -s --unix-socket "$work/status" "$@"; }
admin() { curl -s --unix-socket "$work/admin" "$@"; }
code() { curl -s -o "$work/out" -w '%{http_code}' --unix-socket "$@"; }

for _ in $(seq 300); do
    [ "$(code "$work/status" http://x/status/ready 2>/dev/null || true)" = 200 ] && break
    kill -0 "${pids[0]}" 2>/dev/null || fail "weir ended early"
    sleep 0.05
done
same "$(status http://x/status/ready)" '{"message":"ready"}'
same "$(code "$work/status" http://x/status/live)" 200
same "$(code "$work/status" http://x/)" 404
same "$(code "$work/admin" http://x/nope)" 404
same "$(cat "$work/out")" '{"message":"Not found"}'
same "$(code "$work/admin" -X POST http://x/)" 405
same "$(code "$work/admin" http://x/status/ready)" 404

# Counters move with traffic: three requests to nowhere.
for _ in 1 2 3; do
    same "$(code "$work/proxy" http://x/none)" 404
done
status http://x/status | python3 -c '
import json, sys
status = json.load(sys.stdin)
assert status["server"]["total_requests"] >= 3, status
assert status["server"]["connections_accepted"] >= 3, status
assert status["database"]["reachable"] is True
assert len(status["configuration_hash"]) == 32
workers = status["memory"]["workers"]
assert len(workers) == 2 and all(w["state"] == "ready" for w in workers), workers
' || fail "the status document"
admin http://x/ | python3 -c '
import json, sys
root = json.load(sys.stdin)
assert root["tagline"] == "Welcome to weir" and root["configuration"]["database"] == "off"
assert len(root["pids"]["workers"]) == 2 and root["plugins"]["enabled_in_cluster"] == []
' || fail "the root document"

# promtool must be able to read it; it may only dislike names that are Kong's.
for side in status admin; do
    "$side" http://x/metrics >"$work/metrics"
    grep -q '^kong_nginx_requests_total{.*subsystem="http"} ' "$work/metrics" || fail "no requests"
    grep -q '^weir_workers 2$' "$work/metrics" || fail "not two workers"
    if command -v promtool >/dev/null; then
        promtool check metrics <"$work/metrics" >"$work/out" 2>&1 || true
        if grep -v '^kong_[a-z_]* non-counter metrics should not have "_total" suffix$' \
            "$work/out"; then
            fail "promtool"
        fi
    else
        echo "admin: no promtool here (Debian package prometheus), only the names were looked at"
    fi
done

# A status connection that is kept open does not keep it from ending.
kill -TERM "${pids[0]}"
wait "${pids[0]}" || fail "exit code after SIGTERM"
