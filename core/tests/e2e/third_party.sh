#!/usr/bin/env bash
# A stranger's policy: built out of the tree against an installed SDK, with CMake and with pkg-config,
# and run by the installed weir in place.
set -euo pipefail
for tool in cmake gcc pkg-config curl; do
    if ! command -v "$tool" >/dev/null; then
        echo "skipped: there is no $tool"
        exit 0
    fi
done
work=$(mktemp -d)
weir_pid= target_pid=
cleanup() {
    local code=$?
    [ $code = 0 ] || tail -n 40 "$work"/*.log >&2 || true
    for pid in $weir_pid $target_pid; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
fail() { echo "third_party: $*" >&2; exit 1; }

prefix=$work/prefix
cmake --install "$WEIR_BUILD_DIR" --prefix "$prefix" >"$work/install.log"
weir=$prefix/bin/weir
unset WEIR_PLUGIN_PATH WEIR_PLUGIN_DIR

# The source alone, in a folder that knows nothing of weir's tree.
mkdir -p "$work/mine" "$work/by-cmake" "$work/by-hand"
cp "$WEIR_SOURCE_DIR/sdk/examples/tenant-quota/tenant-quota.c" "$work/mine/"
cat >"$work/mine/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.20)
project(tenant-quota LANGUAGES C)
find_package(WeirPlugin REQUIRED)
weir_add_plugin(tenant-quota SOURCES tenant-quota.c)
set_target_properties(tenant-quota PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${OUT})
END
cmake -S "$work/mine" -B "$work/mine/build" -DCMAKE_PREFIX_PATH="$prefix" -DOUT="$work/by-cmake" \
    >"$work/cmake.log" 2>&1 || fail "find_package(WeirPlugin) does not work"
cmake --build "$work/mine/build" >>"$work/cmake.log" 2>&1 || fail "it does not build with CMake"
grep -q "$prefix" "$work/mine/build/CMakeCache.txt" || fail "another WeirPlugin was found"
# shellcheck disable=SC2046  # flags are words
PKG_CONFIG_PATH=$prefix/lib/pkgconfig gcc -shared -fPIC -O2 -Wall -Wextra -Werror -Wl,-z,defs \
    $(PKG_CONFIG_PATH=$prefix/lib/pkgconfig pkg-config --cflags weir-plugin) \
    "$work/mine/tenant-quota.c" -o "$work/by-hand/tenant-quota.so" || fail "pkg-config's flags do not do"
for built in by-cmake by-hand; do
    "$weir" plugin inspect "$work/$built/tenant-quota.so" >"$work/inspect.log" ||
        fail "$built: weir plugin inspect refuses it"
    grep -q 'abi: 1.0' "$work/inspect.log" || fail "$built: no abi in what inspect says"
done

python3 - "$work/port" >"$work/target.log" 2>&1 <<'END' &
import http.server, sys
class Target(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "8")
        self.end_headers()
        self.wfile.write(b"an order")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Target)
with open(sys.argv[1] + ".new", "w") as f:
    f.write(str(server.server_address[1]))
import os
os.rename(sys.argv[1] + ".new", sys.argv[1])
server.serve_forever()
END
target_pid=$!
until [ -s "$work/port" ]; do sleep 0.05; done
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

request() { # tenant or empty, then curl's arguments; prints status and X-Quota-Left
    local tenant=$1
    shift
    curl -s -o "$work/body" -D "$work/head" "${@}" ${tenant:+-H "X-Customer: $tenant"} \
        "http://127.0.0.1:$proxy/orders"
    awk 'NR == 1 { status = $2 } tolower($1) == "x-quota-left:" { left = $2 }
         END { gsub("\r", "", left); print status, left }' "$work/head"
}
expect() { # what, expected, got
    [ "$2" = "$3" ] || fail "$1: want '$2', have '$3'"
}

serve() { # folder of the third party
    proxy=$(free_port) status=$(free_port)
    cat >"$work/weir.yaml" <<END
_format_version: "3.0"
gateway:
  proxy_listen: 127.0.0.1:$proxy
  status_listen: 127.0.0.1:$status
  admin_listen: "off"
  workers: 2
  prefix: $work/run
  error_log: $work/error.log
services:
- name: orders
  url: http://127.0.0.1:$(cat "$work/port")
  routes:
  - name: orders
    paths: [/orders]
  plugins:
  - name: correlation-id       # one of weir's own, found beside the program
  - name: tenant-quota         # the stranger's
    config:
      header: X-Customer
      limit: 3
      window: 60s
END
    export WEIR_PLUGIN_PATH=$1:$prefix/lib/weir/plugins
    "$weir" check "$work/weir.yaml" >"$work/check.log" 2>&1 ||
        fail "weir check refuses the configuration"
    "$weir" run -c "$work/weir.yaml" >"$work/weir.log" 2>&1 &
    weir_pid=$!
    for _ in $(seq 200); do
        curl -sf -o "$work/ready" "http://127.0.0.1:$status/status/ready" && return
        kill -0 "$weir_pid" 2>/dev/null || fail "weir ended"
        sleep 0.1
    done
    fail "weir is not ready"
}

for built in by-cmake by-hand; do
    serve "$work/$built"
    expect "$built: without the header" "400 0" "$(request '')"
    grep -q 'which tenant?' "$work/body" || fail "the message is another one"
    for left in 2 1 0; do
        expect "$built: a request of ann" "200 $left" "$(request ann)"
        expect "the answer" "an order" "$(cat "$work/body")"
    done
    expect "$built: over the limit, whichever worker answers" "429 0" "$(request ann)"
    grep -q 'quota used up' "$work/body" || fail "the message is another one"
    expect "$built: another tenant" "200 2" "$(request bob)"
    kill -TERM "$weir_pid"
    code=0
    wait "$weir_pid" || code=$?
    weir_pid=
    expect "$built: the exit code" 0 "$code"
done

unset WEIR_PLUGIN_PATH
# Without the folder it is not installed, and says so before it starts.
code=0
"$weir" check "$work/weir.yaml" >"$work/check.log" 2>&1 || code=$?
expect "weir check without the folder" 3 "$code"
grep -q "plugin 'tenant-quota' is not installed" "$work/check.log" || fail "no word of tenant-quota"
grep -q "plugin 'correlation-id'" "$work/check.log" && fail "its own plugins are not found"
echo "third_party: built with CMake and by hand, and both do what their YAML says"
