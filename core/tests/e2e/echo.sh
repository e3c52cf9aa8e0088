#!/usr/bin/env bash
# weir echo as somebody tries a configuration against it: what it answers, and how it ends.
set -euo pipefail
work=$(mktemp -d)
echo_pid=
stop() {
    [ -z "$echo_pid" ] || kill "$echo_pid" 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT
fail() { echo "echo: $*" >&2; cat "$work"/* >&2 || true; exit 1; }

start() { # arguments of weir echo
    : >"$work/out"
    "$WEIR" echo "$@" >"$work/out" 2>"$work/err" &
    echo_pid=$!
    for _ in $(seq 200); do
        grep -q '^echo: listening on ' "$work/out" && return
        kill -0 "$echo_pid" 2>/dev/null || fail "ended early"
        sleep 0.05
    done
    fail "never listened"
}
ends_with() { # signal
    local code=0
    kill "-$1" "$echo_pid"
    wait "$echo_pid" || code=$?
    echo_pid=
    [ "$code" = 0 ] || fail "exit code $code after $1"
}
same() { [ "$1" = "$2" ] || fail "have '$1', want '$2'"; }

start --listen 127.0.0.1:0
url=http://$(sed -n 's/^echo: listening on //p' "$work/out")
case $url in *:0) fail "port 0 is not the real one" ;; esac
curl -s "$url/a?b=1" -H 'X-A: one' -H 'X-A: "two"' -d hello >"$work/answer"
python3 - "$work/answer" <<'PY' || fail "not what was sent"
import json, sys
answer = json.load(open(sys.argv[1]))
assert answer["method"] == "POST" and answer["target"] == "/a?b=1" and answer["body"] == "hello"
assert [v for n, v in answer["headers"] if n == "X-A"] == ["one", '"two"']
PY
same "$(curl -s -o /dev/null -w '%{http_code} %{content_type}' "$url/status/503")" '503 application/json'
same "$(curl -s -o /dev/null -w '%{http_code}' "$url/status/204")" 204
same "$(curl -s -o /dev/null -w '%{http_code}' "$url/status/100")" 400
same "$(curl -s "$url/bytes/3000000" | wc -c)" 3000000
same "$(curl -sI "$url/bytes/7" | tr -d '\r' | sed -n 's/^Content-Length: //p')" 7
head -c 2000000 /dev/zero | tr '\0' z >"$work/big"
shown=$(curl -s -H 'Transfer-Encoding: chunked' --data-binary "@$work/big" "$url/" |
    python3 -c 'import json, sys; print(len(json.load(sys.stdin)["body"]))')
same "$shown" 1048576
rm "$work/big"
took=$(curl -s -o /dev/null -w '%{time_total}' "$url/slow/200")
python3 -c "import sys; sys.exit(not 0.2 <= $took)" || fail "/slow/200 took $took"
ends_with TERM

start --listen "unix:$work/socket" --delay 100
same "$(curl -s --unix-socket "$work/socket" -o /dev/null -w '%{http_code}' http://x/)" 200
ends_with INT
[ ! -e "$work/socket" ] || fail "the socket is left behind"

code=0
"$WEIR" echo --delay x >"$work/out" 2>&1 || code=$?
same "$code" 2
"$WEIR" echo --help | grep -q -- '--listen ADDRESS' || fail "no help"
