#!/usr/bin/env bash
# The life of a gateway as an operator sees it: start, a worker dies and is replaced, reloads good
# and bad, the log moves, stop. Also what refuses to start, and the single process.
set -euo pipefail
work=$(mktemp -d)
pids=()
cleanup() {
    local pid
    for pid in "${pids[@]:-}"; do
        [ -z "$pid" ] || kill -TERM "$pid" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
# The test's own variables are no settings, weir would warn of each.
weir=$WEIR
for name in $(compgen -e | grep '^WEIR_' || true); do
    [ "$name" = WEIR_PLUGIN_PATH ] || unset "$name"
done
unset WEIR
export TMPDIR=$work

fail() {
    echo "process: $*" >&2
    for file in out log log.old run.err; do
        [ ! -f "$work/$file" ] || { echo "--- $file" >&2; tail -n 30 "$work/$file" >&2; }
    done
    exit 1
}
run() { # expected exit code, then the command
    local want=$1 have=0
    shift
    timeout 60 "$@" >"$work/out" 2>&1 || have=$?
    [ "$have" = "$want" ] || fail "exit code $have, want $want: $*"
}
says() { grep -qF -- "$1" "$work/out" || fail "the output lacks: $1"; }
until_true() { # what, then the command; for at most 20 s
    local what=$1 i
    shift
    for ((i = 0; i < 200; i++)); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    fail "never came true: $what"
}
free_ports() { # how many
    python3 -c '
import socket, sys
all = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*[s.getsockname()[1] for s in all])' "$1"
}
# The questions asked most often start no process: on a busy machine those are what takes the time.
ask() { # port, path: descriptor 3 has the answer
    { exec 3<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
    printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$2" 2>/dev/null >&3
}
status() { # port, path: the code, 000 when nobody answers
    local version code=000 rest
    ask "$1" "$2" && read -r -t 5 version code rest <&3 || true
    echo "${code:-000}"
}
answers() { [ "$(status "$1" "$2")" = "$3" ]; }
ready() { answers "$state" /status/ready 200; }
worker_pid() { # of the worker with this number, when it is ready
    local line
    ask "$state" /status || return 0
    while read -r -t 5 line <&3 || [ -n "$line" ]; do
        [[ $line =~ \"worker\":$1,\"pid\":([0-9]+),\"state\":\"ready\" ]] || continue
        echo "${BASH_REMATCH[1]}"
        return
    done
}
is_replaced() { # worker, its old pid
    local now
    now=$(worker_pid "$1") && [ -n "$now" ] && [ "$now" != "$2" ]
}
ended() { ! kill -0 "$1" 2>/dev/null; }

read -r proxy state upstream < <(free_ports 3)
"$weir" echo --listen "127.0.0.1:$upstream" >echo.out 2>&1 &
pids+=($!)
write_config() { # file, path of the route
    cat >"$1" <<YAML
_format_version: "3.0"
gateway:
  proxy_listen: 127.0.0.1:$proxy
  status_listen: 127.0.0.1:$state
  admin_listen: "off"
  workers: 2
  prefix: $work/run
  error_log: $work/log
  drain_timeout: 20s
services:
- name: echo
  url: http://127.0.0.1:$upstream
  routes:
  - name: first
    paths: [$2]
YAML
}
write_config weir.yaml /one

# What does not start says why and leaves nothing behind.
run 2 "$weir" run --wrokers 2 weir.yaml
says "did you mean '--workers'?"
run 2 "$weir" run --workers
run 2 "$weir" run a.yaml b.yaml
run 1 "$weir" run missing.yaml
says 'missing.yaml: No such file or directory'
run 3 "$weir" run --workers many weir.yaml
says '--workers'
sed 's/port: .*//; s/paths: .*/paths: [one]/' weir.yaml >bad.yaml
run 3 "$weir" run bad.yaml
says 'bad.yaml:15:'
[ ! -e run/weir.pid ] || fail "a pid file is left behind"
[ ! -e run/weir.sock ] || fail "a control socket is left behind"
run 1 "$weir" health --prefix run
says 'nobody listens on run/weir.sock'

# Start.
"$weir" run -c weir.yaml >run.err 2>&1 &
master=$!
pids+=("$master")
until_true "ready" ready
until_true "the upstream answers" answers "$upstream" / 200
[ "$(cat run/weir.pid)" = "$master" ] || fail "the pid file does not name the master"
[ "$(stat -c %a run/weir.sock)" = 600 ] || fail "the control socket is open to others"
run 0 "$weir" health --prefix run
[ "$(grep -c '^worker [01]: ready' out)" = 2 ] || fail "want 2 ready workers"
[ "$(status "$proxy" /one)" = 200 ] || fail "the route does not answer"
ask "$proxy" /one
grep -qi '^via:' <&3 || fail "an answer lacks what the settings want"
[ "$(status "$proxy" /two)" = 404 ] || fail "an unknown path is not 404"
[ "$(status "$state" /status/ready)" = 200 ] || fail "it is not ready"
grep -q "2 workers; proxy 127.0.0.1:$proxy" log || fail "the log does not announce"
run 1 "$weir" run --workers 1 weir.yaml
says "already running on $work/run with pid $master"
[ -e run/weir.sock ] || fail "the second start took the control socket away"

# A dead worker is replaced in the same seat, and no request is refused meanwhile.
old=$(worker_pid 1)
kill -9 "$old"
for ((i = 0; i < 20; i++)); do
    [ "$(status "$proxy" /one)" = 200 ] || fail "a request failed while a worker was replaced"
done
until_true "worker 1 is replaced" is_replaced 1 "$old"
grep -q "error master: worker 1 ended: SIGKILL" log || fail "the log does not name the signal"

# A good reload; what is under way ends as it began.
slow() { # path
    curl -s -o /dev/null -m 30 -w '%{http_code}' "http://127.0.0.1:$proxy$1/slow/2500" >slow.out &
    slow_pid=$!
    until_true "the slow request is under way" sh -c \
        "'$weir' health --prefix run | grep -q ', 1 active'"
}
slow_is() {
    wait "$slow_pid" || true
    [ "$(cat slow.out)" = "$1" ] || fail "the slow request ended with $(cat slow.out), want $1"
}
slow /one
write_config weir.yaml /two
run 0 "$weir" reload --prefix run
says 'configuration 2 is in use on 2 workers'
[ "$(status "$proxy" /two)" = 200 ] || fail "the new route does not answer"
[ "$(status "$proxy" /one)" = 404 ] || fail "the old route still answers"
run 0 "$weir" health --prefix run
[ "$(grep -c 'configuration 2,' out)" = 2 ] || fail "want both workers on configuration 2"
slow_is 200

# A bad one changes nothing, whoever asks; its place is told.
sed -i 's/paths: .*/paths: [two]/' weir.yaml
run 3 "$weir" reload --prefix run
says 'weir.yaml:15:'
[ "$(status "$proxy" /two)" = 200 ] || fail "the old configuration does not serve any more"
kill -HUP "$master"
until_true "the log tells of the refusal" \
    test "$(grep -c 'the reload was refused' log)" -ge 1
# A replacement gets what was committed, not what the file says now.
old=$(worker_pid 0)
kill -9 "$old"
until_true "worker 0 is replaced" is_replaced 0 "$old"
for ((i = 0; i < 10; i++)); do
    [ "$(status "$proxy" /two)" = 200 ] || fail "the replacement does not serve what was committed"
done

# Listeners cannot move while it runs.
write_config weir.yaml /three
sed -i 's/workers: 2/workers: 3/' weir.yaml
run 0 "$weir" reload --prefix run
says 'gateway.workers: the change needs a restart'
[ "$(status "$proxy" /three)" = 200 ] || fail "the rest of the file was not taken"

# SIGHUP reloads too.
write_config weir.yaml /four
kill -HUP "$master"
until_true "SIGHUP reloads" answers "$proxy" /four 200

# The log moves in master and workers.
mv log log.old
kill -USR1 "$master"
until_true "a new log" test -e log
before=$(wc -c <log.old)
old=$(worker_pid 0)
kill -TERM "$old"
until_true "a drained worker is replaced" is_replaced 0 "$old"
grep -q 'worker 0 ended: exit code 0' log || fail "the new log has no line"
[ "$(wc -c <log.old)" = "$before" ] || fail "the old log still grows"

# Stop: what is under way ends first, the answer comes when everybody is gone.
slow /four
run 0 "$weir" stop --prefix run
says 'stopped'
slow_is 200
until_true "the master is gone" ended "$master"
[ "$(status "$proxy" /four)" = 000 ] || fail "it still listens"
[ ! -e run/weir.pid ] && [ ! -e run/weir.sock ] || fail "run-time files are left behind"
[ -z "$(ls run/images run/builds | grep -v : || true)" ] || fail "images are left behind"
! grep -qE 'Sanitizer|runtime error' run.err || fail "a sanitizer complains"

# A killed master: the workers drain and end, and the next master starts.
write_config weir.yaml /one
"$weir" run -c weir.yaml >run.err 2>&1 &
master=$!
pids+=("$master")
until_true "ready again" ready
one=$(worker_pid 0) two=$(worker_pid 1)
kill -9 "$master"
until_true "orphan 0 is gone" ended "$one"
until_true "orphan 1 is gone" ended "$two"
"$weir" run -c weir.yaml >run.err 2>&1 &
master=$!
pids+=("$master")
until_true "ready after a kill" ready
# TERM drains; the exit code is 0.
kill -TERM "$master"
code=0
wait "$master" || code=$?
[ "$code" = 0 ] || fail "exit code $code after SIGTERM"

# Before it drains it says so and serves on; the second signal means at once.
"$weir" run -c weir.yaml --drain-delay 30s >run.err 2>&1 &
master=$!
pids+=("$master")
until_true "ready with a delay" ready
run 0 "$weir" reload --prefix run
"$weir" reload --prefix run >one.out 2>&1 &
one=$!
run 0 "$weir" reload --prefix run
wait "$one" || fail "of two reloads at once one failed"
kill -TERM "$master"
until_true "not ready" answers "$state" /status/ready 503
[ "$(status "$proxy" /one)" = 200 ] || fail "it stopped serving before the delay was over"
run 1 "$weir" health --prefix run
run 1 "$weir" reload --prefix run
says 'stopping'
kill -TERM "$master"
code=0
wait "$master" || code=$?
[ "$code" = 0 ] || fail "exit code $code after two SIGTERM"

# One process: the same, without a master.
WEIR_HEADERS=off "$weir" run -c weir.yaml --single-process >run.err 2>&1 &
master=$!
pids+=("$master")
until_true "the single process is ready" ready
run 0 "$weir" health --prefix run
says 'single process'
[ "$(status "$proxy" /one)" = 200 ] || fail "the single process does not serve"
ask "$proxy" /one
! grep -qi '^via:' <&3 || fail "the environment was not asked for settings"
[ "$(status "$state" /status/ready)" = 200 ] || fail "the single process is not ready"
write_config weir.yaml /two
run 0 "$weir" reload --prefix run
[ "$(status "$proxy" /two)" = 200 ] || fail "the single process does not reload"
sed -i 's/paths: .*/paths: [two]/' weir.yaml
run 3 "$weir" reload --prefix run
says 'weir.yaml:15:'
kill -TERM "$master"
code=0
wait "$master" || code=$?
[ "$code" = 0 ] || fail "exit code $code of the single process"
! grep -qE 'Sanitizer|runtime error' run.err || fail "a sanitizer complains"
echo "process: all as an operator expects"
