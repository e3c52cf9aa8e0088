#!/usr/bin/env bash
# A plugin that aborts or hangs wherever it can: the trial, the workers' preparation, a request. What
# served before serves on, the reason is told, and a worker always loads the build that was tried.
set -euo pipefail
work=$(mktemp -d)
master=
cleanup() {
    [ -z "$master" ] || kill -TERM "$master" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
weir=$WEIR source=$WEIR_SOURCE_DIR
for name in $(compgen -e | grep '^WEIR_' || true); do unset "$name"; done
unset WEIR
export TMPDIR=$work

fail() {
    echo "process-crash: $*" >&2
    for file in out log run.err; do
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
logged() { grep -qF -- "$1" "$work/log"; }
until_true() { # what, then the command; for at most 20 s
    local what=$1 i
    shift
    for i in $(seq 200); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    fail "never came true: $what"
}
body() { curl -s -m 5 "http://127.0.0.1:$proxy/" || true; }
body_is() { [ "$(body)" = "$1" ]; }
worker_pid() { "$weir" health --prefix run | sed -n "s/^worker $1: ready, pid \([0-9]*\),.*/\1/p"; }
is_replaced() { # worker, its old pid
    local now
    now=$(worker_pid "$1") && [ -n "$now" ] && [ "$now" != "$2" ]
}

cat >brittle.c <<'C'
#include <stdlib.h>
#include <string.h>
#include <weir/weir.h>

typedef struct {
    weir_str when;
} brittle;

static const weir_field fields[] = {
    WEIR_STRING(brittle, when, .def = "never", .help = "where it aborts"),
};
static int now(const brittle *self, const char *where)
{
    return self->when.size == strlen(where) && memcmp(self->when.data, where, strlen(where)) == 0;
}
static int configure(void *self, weir_error *error)
{
    (void)error;
    if (now(self, "configure"))
        abort();
    return 0;
}
static int start(void *self)
{
    if (now(self, "start"))
        abort();
    return now(self, "refuse") ? -1 : 0;
}
static weir_verdict on_access(weir_request *request, void *self, void *context)
{
    (void)context;
    if (now(self, "access"))
        abort();
    return weir_respond(request, 200, WEIR_LIT("text/plain"), WEIR_LIT(BUILD)) ? WEIR_FAIL
                                                                              : WEIR_DONE;
}
WEIR_PLUGIN("brittle", "1.0.1", 0, .priority = 5, WEIR_SELF(brittle), WEIR_FIELDS(fields),
            .configure = configure, .start = start, .access = on_access);
C
build() { # text of its answer
    cc -shared -fPIC -fvisibility=hidden -I"$source/sdk/include" -Wl,-z,defs "-DBUILD=\"$1\"" \
        brittle.c -o plugins/new.so
    mv plugins/new.so plugins/brittle.so
}
proxy=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
write_config() { # where it aborts
    cat >weir.yaml <<YAML
_format_version: "3.0"
gateway:
  proxy_listen: 127.0.0.1:$proxy
  status_listen: "off"
  admin_listen: "off"
  workers: 2
  prefix: $work/run
  plugin_path: $work/plugins
  error_log: $work/log
  quarantine_crashes: 0
services:
- name: up
  url: http://127.0.0.1:9
  routes:
  - name: all
    paths: [/]
plugins:
- name: brittle
  config:
    when: $1
YAML
}
mkdir plugins
build one

# At start: the trial dies, a worker dies, a worker refuses. Nothing is left.
write_config configure
run 1 "$weir" run weir.yaml
says 'crashed: SIGABRT'
says 'brittle'
write_config start
run 1 "$weir" run weir.yaml
says 'ended while starting: SIGABRT'
write_config refuse
run 1 "$weir" run weir.yaml
says 'cannot serve'
[ ! -e run/weir.pid ] || fail "a pid file is left behind"

write_config never
"$weir" run weir.yaml >run.err 2>&1 &
master=$!
until_true "ready" "$weir" health --prefix run
[ "$(body)" = one ] || fail "the plugin does not answer"

# The trial crashes: only a refusal.
write_config configure
run 1 "$weir" reload --prefix run
says 'crashed: SIGABRT'
says 'brittle'
# A worker dies of it: what served before serves on, with a replacement.
write_config start
run 1 "$weir" reload --prefix run
says 'died preparing it: SIGABRT'
until_true "both serve" "$weir" health --prefix run
write_config refuse
run 1 "$weir" reload --prefix run
says 'worker '
for _ in $(seq 10); do
    [ "$(body)" = one ] || fail "a refused reload changed something"
done
run 0 "$weir" health --prefix run
[ "$(grep -c 'configuration 1,' out)" = 2 ] || fail "want both workers on configuration 1"

# A new build replaces the file: nobody notices before the reload, not even a replacement.
build two
write_config never
old=$(worker_pid 0)
kill -9 "$old"
until_true "worker 0 is replaced" is_replaced 0 "$old"
for _ in $(seq 10); do
    [ "$(body)" = one ] || fail "a replacement took a build that was never tried"
done
run 0 "$weir" reload --prefix run
for _ in $(seq 10); do
    [ "$(body)" = two ] || fail "the new build does not serve"
done
# The file rots: what was accepted stays.
echo rubbish >plugins/brittle.so
old=$(worker_pid 1)
kill -9 "$old"
until_true "worker 1 is replaced" is_replaced 1 "$old"
for _ in $(seq 10); do
    [ "$(body)" = two ] || fail "a replacement depends on a file that changed"
done
run 3 "$weir" reload --prefix run
says 'brittle'

# It crashes on requests: the log says who and where, the worker comes back, later and later.
build three
write_config access
run 0 "$weir" reload --prefix run
[ -z "$(body)" ] || fail "an answer from a crash"
until_true "blame" logged 'SIGABRT in brittle 1.0.1 (build '
until_true "the phase" logged '), access'
for _ in $(seq 14); do
    body >/dev/null
    sleep 0.05
done
until_true "a pause" grep -qE 'replaced in [1-9][0-9]*00 ms' log
# A good configuration ends the pauses.
write_config never
run 0 "$weir" reload --prefix run
until_true "it serves again" body_is three
until_true "both serve again" "$weir" health --prefix run

run 0 "$weir" stop --prefix run
wait "$master" || fail "exit code $? after stop"
master=
echo "process-crash: every crash was only a crash"
