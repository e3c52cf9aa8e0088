#!/usr/bin/env bash
# rate-limiting through a real weir: exact over workers under concurrency, and counters that outlive
# a reload and a worker that is killed.
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
fail() { echo "rate-limiting: $*" >&2; tail -n 20 "$work"/*.log >&2 2>/dev/null || true; exit 1; }
same() { [ "$1" = "$2" ] || fail "$3: have '$1', want '$2'"; }
until_true() { # what, then the condition
    local what=$1
    shift
    for _ in $(seq 300); do
        "$@" && return
        kill -0 "${pids[1]}" 2>/dev/null || fail "weir ended early"
        sleep 0.05
    done
    fail "never: $what"
}

"$WEIR" echo --listen 127.0.0.1:0 >"$work/echo.log" 2>&1 &
pids+=($!)
for _ in $(seq 300); do
    grep -q '^echo: listening' "$work/echo.log" && break
    sleep 0.05
done
upstream=$(sed -n 's/^echo: listening on //p' "$work/echo.log")

# A year's window, so that none ends while this runs.
configure() { # routes
    cat >"$work/kong.yml" <<EOF
_format_version: "3.0"
services:
- name: s
  url: http://$upstream
  routes: [$1]
plugins:
- name: rate-limiting
  config: {year: 50, limit_by: header, header_name: X-Client}
EOF
}
configure '{name: a, paths: [/a]}'
"$WEIR" run "$work/kong.yml" --workers 2 --proxy-listen "unix:$work/proxy" --admin-listen off \
    --status-listen "unix:$work/status" --prefix "$work/prefix" \
    >"$work/weir.log" 2>&1 &
pids+=($!)
status() { curl -s --unix-socket "$work/status" "http://x$1"; }
ready() { status /status/ready 2>/dev/null | grep -q '"ready"'; }
until_true ready ready

# 200 requests, 20 at a time, on whichever worker accepts: exactly 50 pass.
seq 200 | xargs -P 20 -n 10 bash -c '
    for _ in "$@"; do
        curl -s -o /dev/null -w "%{http_code}\n" --unix-socket "$0" -H "X-Client: one" http://x/a
    done' "$work/proxy" >"$work/codes"
same "$(grep -c '^200$' "$work/codes")" 50 "passed"
same "$(grep -c '^429$' "$work/codes")" 150 "refused"

code() {
    curl -s -o /dev/null -w '%{http_code}' --unix-socket "$work/proxy" -H "X-Client: $1" "http://x/$2"
}
left() {
    curl -s -o /dev/null -D - --unix-socket "$work/proxy" -H "X-Client: $1" "http://x/$2" | tr -d '\r' |
        sed -n 's/^[Xx]-[Rr]ate[Ll]imit-[Rr]emaining-[Yy]ear: //p'
}
same "$(code one a)" 429 "used up"
same "$(left two a)" 49 "another client"

# Another route joins: a global policy goes on where it stopped.
configure '{name: a, paths: [/a]}, {name: b, paths: [/b]}'
"$WEIR" reload --prefix "$work/prefix" >"$work/reload.log" 2>&1 || fail "reload"
same "$(code one b)" 429 "used up on the new route too"
same "$(left two b)" 48 "the other client goes on"

# Both workers die; their replacements count on.
workers() {
    status /status | python3 -c '
import json, sys
for worker in json.load(sys.stdin)["memory"]["workers"]:
    if worker["state"] == "ready":
        print(worker["pid"])' | sort
}
before=$(workers)
same "$(echo "$before" | wc -l)" 2 "workers"
kill -9 $before
replaced() {
    local now
    now=$(workers 2>/dev/null) || return 1
    [ "$(echo "$now" | wc -l)" = 2 ] && [ -z "$(comm -12 <(echo "$before") <(echo "$now"))" ]
}
until_true "two new workers" replaced
same "$(code one a)" 429 "used up after the crash"
same "$(left two a)" 47 "the other client after the crash"
