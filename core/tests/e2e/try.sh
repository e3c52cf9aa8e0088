#!/usr/bin/env bash
# conf/weir.yaml on other ports: each of its policies does what its comments and conf/try.txt say.
set -euo pipefail
work=$(mktemp -d)
pids=()
stop() {
    local pid
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap stop EXIT
fail() {
    echo "try: $*" >&2
    tail -n 20 "$work"/*.log "$work/head" "$work/body" >&2 2>/dev/null || true
    exit 1
}
same() { [ "$1" = "$2" ] || fail "$3: have '$1', want '$2'"; }
weir=$WEIR source=$WEIR_SOURCE_DIR
# The test's own variables are no settings, weir would warn of each.
for name in $(compgen -e | grep '^WEIR_' || true); do unset "$name"; done

"$weir" echo --listen 127.0.0.1:0 >"$work/echo.log" 2>&1 &
pids+=($!)
for _ in $(seq 300); do
    grep -q '^echo: listening' "$work/echo.log" && break
    sleep 0.05
done
upstream=$(sed -n 's/^echo: listening on //p' "$work/echo.log")
[ -n "$upstream" ] || fail "the echo upstream does not listen"

# Only what must be private to this test is replaced, and each of these must be there.
sed -e "s|http://127.0.0.1:9001|http://$upstream|" -e "s|/tmp/weir-access.log|$work/access.log|" \
    "$source/conf/weir.yaml" >"$work/weir.yaml"
same "$(grep -c "$upstream\|$work/access.log" "$work/weir.yaml")" 2 "places that were replaced"
"$weir" run -c "$work/weir.yaml" --workers 2 --prefix "$work/prefix" \
    --proxy-listen "unix:$work/proxy" --status-listen "unix:$work/status" \
    --admin-listen off >"$work/weir.log" 2>&1 &
pids+=($!)

ask() { # path and other arguments of curl; the status, with head and body in files
    local path=$1
    shift
    : >"$work/body"
    curl -s -m 20 --unix-socket "$work/proxy" -D "$work/head.raw" -o "$work/body" \
        -w '%{http_code}' "http://gw.test$path" "$@" || fail "curl $path"
    tr -d '\r' <"$work/head.raw" >"$work/head"
}
head_of() { sed -n "s/^$1: //Ip" "$work/head"; }
seen_by_upstream() { # header; what "weir echo" shows of it
    python3 -c 'import json, sys
for name, value in json.load(open(sys.argv[1]))["headers"]:
    if name.lower() == sys.argv[2].lower():
        print(value)' "$work/body" "$1"
}
status_of() { curl -s -m 20 --unix-socket "$work/status" "http://x$1"; }
for _ in $(seq 400); do
    status_of /status/ready 2>/dev/null | grep -q '"ready"' && break
    kill -0 "${pids[1]}" 2>/dev/null || fail "weir ended early"
    sleep 0.05
done

# key-auth: nothing reaches the upstream without a key, and the answer says what is missing.
same "$(ask /orders/42)" 401 "no key"
same "$(head_of WWW-Authenticate)" Key "no key: WWW-Authenticate"
grep -q 'No API key found in request' "$work/body" || fail "no key: message"
same "$(head_of X-RateLimit-Limit-Minute)" '' "no key: a limit is told, so it was counted"
[ -n "$(head_of X-Correlation-ID)" ] || fail "no key: the answer has no correlation id"
same "$(ask /orders/42 -H 'apikey: wrong')" 401 "wrong key"

# rate-limiting: ten a minute, counted down in the headers, then 429. A minute that ends meanwhile
# begins the count anew: then one more round is made, at the beginning of a minute.
round() {
    local minute=$(($(date +%s) / 60)) i
    for i in $(seq 1 10); do
        same "$(ask /orders/42 -H 'apikey: ann-secret')" 200 "request $i of ten"
        same "$(head_of X-RateLimit-Limit-Minute)" 10 "the limit"
        [ "$(($(date +%s) / 60))" = "$minute" ] || return 1
        same "$(head_of X-RateLimit-Remaining-Minute)" $((10 - i)) "what is left after $i"
        same "$(seen_by_upstream X-Consumer-Username)" ann "the consumer, as the upstream sees it"
    done
    local code
    code=$(ask /orders/42 -H 'apikey: ann-secret')
    [ "$(($(date +%s) / 60))" = "$minute" ] || return 1
    same "$code" 429 "the eleventh"
}
next_minute() {
    local minute=$(($(date +%s) / 60))
    while [ "$(($(date +%s) / 60))" = "$minute" ]; do sleep 0.2; done
}
round || { next_minute; round; } || fail "two rounds of ten requests, and both were cut"
same "$(head_of X-RateLimit-Remaining-Minute)" 0 "left at 429"
same "$(head_of RateLimit-Remaining)" 0 "left at 429, in the standard's header"
retry=$(head_of Retry-After)
[ "$retry" -ge 1 ] && [ "$retry" -le 60 ] || fail "Retry-After is '$retry'"
same "$(head_of RateLimit-Reset)" "$retry" "RateLimit-Reset"
grep -q 'API rate limit exceeded' "$work/body" || fail "429: message"

# correlation-id: one's own goes through to the upstream and back, else a UUID is made.
same "$(ask /public -H 'X-Correlation-ID: my-request-1')" 200 "the open route"
same "$(head_of X-Correlation-ID)" my-request-1 "correlation id to the client"
same "$(seen_by_upstream X-Correlation-ID)" my-request-1 "correlation id to the upstream"
same "$(ask /public)" 200 "the open route"
made=$(head_of X-Correlation-ID)
[[ $made =~ ^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$ ]] || fail "no UUID: '$made'"
same "$(seen_by_upstream X-Correlation-ID)" "$made" "the made id to the upstream"

# cors: the preflight is answered here, with what the file allows; the answer itself names the origin.
same "$(ask /public -X OPTIONS -H 'Origin: https://app.example.com' \
    -H 'Access-Control-Request-Method: POST')" 200 "preflight"
same "$(head_of Access-Control-Allow-Origin)" https://app.example.com "preflight: origin"
same "$(head_of Access-Control-Allow-Methods)" GET,POST "preflight: methods"
same "$(head_of Access-Control-Allow-Headers)" Authorization,apikey "preflight: headers"
same "$(head_of Access-Control-Max-Age)" 3600 "preflight: age"
same "$(wc -c <"$work/body")" 0 "preflight: body"
same "$(ask /public -H 'Origin: https://app.example.com')" 200 "a request of a browser"
same "$(head_of Access-Control-Allow-Origin)" https://app.example.com "its origin"
same "$(ask /orders/42 -X OPTIONS -H 'Origin: https://app.example.com' \
    -H 'Access-Control-Request-Method: POST')" 401 "a preflight where cors is not enabled"

same "$(ask /nowhere)" 404 "no route"
grep -q 'no Route matched with those values' "$work/body" || fail "404: message"
# Of a path no more than its prefix is taken away: strip_path is on unless said otherwise.
same "$(ask /orderspast -H 'X-Correlation-ID: past')" 401 "a longer word has the prefix, too"

# prometheus: by service, route and who answered.
status_of /metrics >"$work/metrics"
count() {
    awk -v want="$1" 'index($0, "kong_http_requests_total{") == 1 && index($0, want) { n += $NF }
        END { print n + 0 }' "$work/metrics"
}
[ "$(count 'route="orders",code="200",source="service"')" -ge 10 ] || fail "metrics: 200"
[ "$(count 'route="orders",code="429",source="kong"')" -ge 1 ] || fail "metrics: 429"
[ "$(count 'route="orders",code="401",source="kong"')" -ge 2 ] || fail "metrics: 401"
grep -q '^kong_request_latency_ms_count{service="echo",route="orders"' "$work/metrics" ||
    fail "metrics: latency"

# file-log: a line of JSON for each request, in the order in which they ended.
python3 - "$work/access.log" <<'PY' || fail "the access log"
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
assert len(lines) >= 19, len(lines)
of = lambda status: [line for line in lines if line["response"]["status"] == status]
good = [line for line in of(200) if line.get("route", {}).get("name") == "orders"]
assert len(good) >= 10, len(good)
assert good[0]["consumer"]["username"] == "ann" and good[0]["service"]["name"] == "echo"
assert good[0]["request"]["uri"] == "/orders/42" and good[0]["request"]["method"] == "GET"
assert good[0]["latencies"]["request"] >= 0 and good[0]["client_ip"]
assert len(of(429)) >= 1 and len(of(404)) == 1 and "route" not in of(404)[0]
assert [l for l in lines if l.get("correlation_id") == "my-request-1"], "no correlation id"
PY

# What ./dev run tries: above each curl stands the status that ./dev run then insists on.
grep -c '^ *\$ curl ' "$source/conf/try.txt" >"$work/curls"
[ "$(cat "$work/curls")" -ge 6 ] || fail "conf/try.txt has only $(cat "$work/curls") curls"
awk '/^ *\$ curl / && before !~ /^ *[1-5][0-9][0-9] / { print; bad = 1 } { before = $0 }
    END { exit bad }' "$source/conf/try.txt" >"$work/out" || fail "no status above: $(cat "$work/out")"
