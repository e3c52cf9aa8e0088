#!/usr/bin/env bash
# What weir says of itself: every verb explains itself, every setting is listed with its default, and
# the manual page and the README say no less.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "help: $*" >&2; exit 1; }

"$WEIR" help >"$work/help"
"$WEIR" --help | cmp -s - "$work/help" || fail "--help is not help"
sed -n 's/^  weir \([a-z]*\) .*/\1/p' "$work/help" >"$work/verbs"
[ "$(wc -l <"$work/verbs")" -ge 9 ] || fail "only these verbs: $(tr '\n' ' ' <"$work/verbs")"

"$WEIR" help --man >"$work/weir.1"
# As it reads: without the escapes of roff.
sed 's/\\-/-/g; s/\\&//g; s/\\e/\\/g' "$work/weir.1" >"$work/page"
while read -r verb; do
    "$WEIR" "$verb" --help >"$work/verb" || fail "$verb --help: exit code $?"
    "$WEIR" help "$verb" | cmp -s - "$work/verb" || fail "help $verb is not $verb --help"
    head -n 1 "$work/verb" | grep -q "^usage: weir $verb " || fail "$verb --help has no usage line"
    head -n 1 "$work/verb" | sed 's/^usage: /.SS /' >"$work/title"
    grep -qxFf "$work/title" "$work/page" || fail "the manual page lacks: $(cat "$work/title")"
    awk 'length($0) > 100 && !/^  [a-z_]+ / { print; bad = 1 } END { exit bad }' "$work/verb" ||
        fail "$verb --help has a line that is too long"
done <"$work/verbs"

# A setting is a line of `run --help`: its name, what it is, and its default unless that is nothing.
"$WEIR" run --help | sed -n '/^settings/,$p' | sed 1d >"$work/settings"
[ "$(wc -l <"$work/settings")" -ge 30 ] || fail "run --help lists few settings"
while read -r name meaning; do
    [[ $name =~ ^[a-z_]+$ ]] || fail "no setting: $name"
    [ -n "$meaning" ] || fail "$name has no meaning"
    grep -qxF ".B $name" "$work/page" || fail "the manual page lacks the setting $name"
    grep -qxF -- "$meaning" "$work/page" || fail "the manual page says something else of $name"
done <"$work/settings"
for fact in 'workers .*(default auto)' 'admin_listen .*(default 127.0.0.1:8001)' \
    'status_listen .*(default 127.0.0.1:8100)' 'proxy_listen .*(default 0.0.0.0:8000 '; do
    grep -q "^  $fact" "$work/settings" || fail "run --help does not say: $fact"
done

# Every macro is one of man(7), and where there is a reader it has nothing to complain about.
! grep '^\.' "$work/weir.1" | grep -vE '^\.(TH|SH|SS|PP|TP|B|I)( |$)' || fail "unknown macros"
if command -v groff >/dev/null; then
    groff -man -Tascii -ww "$work/weir.1" 2>"$work/complaints" >/dev/null
    [ ! -s "$work/complaints" ] || fail "groff: $(cat "$work/complaints")"
else
    echo "help: no groff here (Debian package groff-base), the page is not rendered"
fi
