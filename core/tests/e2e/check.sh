#!/usr/bin/env bash
# weir check and weir plugin as an operator uses them: exit codes, places and words.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir plugins tmp
export WEIR_PLUGIN_PATH=$work/plugins TMPDIR=$work/tmp

fail() { echo "check: $*" >&2; cat "$work/out" >&2 || true; exit 1; }
run() { # expected exit code, then the command
    local want=$1 have=0
    shift
    "$@" >"$work/out" 2>&1 || have=$?
    [ "$have" = "$want" ] || fail "exit code $have, want $want: $*"
}
says() { grep -qF -- "$1" "$work/out" || fail "the output lacks: $1"; }
silent_about() { ! grep -qF -- "$1" "$work/out" || fail "the output has: $1"; }

WEIR_PLUGIN_PATH=$WEIR_PLUGIN_DIR run 0 "$WEIR" check "$WEIR_SOURCE_DIR/conf/weir.yaml"
says 'ok: services 1, routes 2, consumers 1, upstreams 0, policies 6'
silent_about warning
# Without the plugins it names, it says so once for each.
run 3 "$WEIR" check "$WEIR_SOURCE_DIR/conf/weir.yaml"
for name in key-auth rate-limiting cors correlation-id file-log prometheus; do
    says "plugin '$name' is not installed"
done
run 0 "$WEIR" version
run 2 "$WEIR"
run 2 "$WEIR" chekc x
run 2 "$WEIR" check
run 1 "$WEIR" check missing.yaml
says 'missing.yaml: No such file or directory'

# Every error at once, each with its place.
cat >broken.yaml <<'EOF'
_format_version: "3.0"
services:
- name: orders
  host: up.test
  port: 70000
  retires: 3
routes:
- name: r
  service: ordres
  paths: [orders]
EOF
run 3 "$WEIR" check broken.yaml
says 'broken.yaml:5:9: services[0].port: value should be between 0 and 65535'
says 'broken.yaml:6:3: services[0].retires: unknown field'
says "retries"
says 'broken.yaml:9:12: routes[0].service: invalid reference'
says 'broken.yaml:10:11: routes[0].paths'
[ "$(grep -c '^broken.yaml:' out)" = 4 ] || fail "want 4 errors"

# A plugin that is not there stops the start.
cat >quota.yaml <<'EOF'
_format_version: "3.0"
services:
- name: orders
  url: http://up.test
  plugins:
  - name: tenant-quota
    config:
      limit: 0
      window: 5m
EOF
run 3 "$WEIR" check quota.yaml
says "quota.yaml:6:11: services[0].plugins[0].name: "
says "plugin 'tenant-quota' is not installed"

# Built from the SDK alone, its table checks its configuration.
cc -shared -fPIC -fvisibility=hidden -I"$WEIR_SOURCE_DIR/sdk/include" -Wl,-z,defs \
    "$WEIR_SOURCE_DIR/sdk/examples/tenant-quota/tenant-quota.c" -o plugins/tenant-quota.so
run 3 "$WEIR" check quota.yaml
says 'quota.yaml:8:14: services[0].plugins[0].config.limit: '
silent_about 'not installed'
sed -i 's/limit: 0/limit: 10/' quota.yaml
run 0 "$WEIR" check quota.yaml
says 'policies 1'

run 0 "$WEIR" plugin list
says 'tenant-quota'
says 'priority 901'
run 0 "$WEIR" plugin schema tenant-quota
says 'limit:   # integer, required'
says 'header: X-Tenant  # string'
run 0 "$WEIR" plugin inspect plugins/tenant-quota.so
says 'abi: 1.0'
echo 'hello' >plugins/text.so
run 1 "$WEIR" plugin inspect plugins/text.so
says 'not an ELF shared object'
run 1 "$WEIR" plugin list
says "plugin 'text':"
says 'tenant-quota'
run 1 "$WEIR" plugin schema nothing
run 2 "$WEIR" plugin
[ -z "$(ls tmp)" ] || fail "folders of images are left behind: $(ls tmp)"
echo "check: all as an operator expects"
