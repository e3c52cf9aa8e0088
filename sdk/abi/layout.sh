#!/usr/bin/env bash
# Print the layout of every public struct: one line for each member, "struct.member offset size".
# The member names are read from the headers, so a new member cannot be forgotten.
#   layout.sh INCLUDE_DIR
set -euo pipefail
include=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# struct NAME { … }; at the start of a line, one declaration after another, joined up to its ';'.
members() { # struct
    sed -n "/^\(typedef \)\?struct $1 {/,/^}/p" "$include"/weir/{weir,host}.h |
        sed -e 's@/\*.*\*/@@' -e '1d' -e '/^}/d' -e '/^ *\/\*/,/\*\//d' | tr '\n' ' ' | tr ';' '\n' | sed 's/, *\**/,/g' |
        sed -n -e 's/.*(\*\([a-z0-9_]*\))(.*/\1/p;t' -e 's/^ *//' -e '/^$/d' \
            -e 's/^\(.*[ *]\)\([a-z0-9_]*\(,[a-z0-9_]*\)*\) *$/\2/p' | tr -d ' ' | tr ',' '\n'
}

{
    echo '#include <weir/weir.h>'
    echo '#include <stdio.h>'
    echo 'int main(void) {'
    for name in weir_str weir_list weir_pair weir_field weir_credential_kind weir_plugin weir_take \
        weir_host weir_peer weir_stream_events weir_fetch_request weir_fetch_answer \
        weir_file_options; do
        echo "printf(\"$name %zu\\n\", sizeof(struct $name));"
        for member in $(members "$name"); do
            echo "printf(\"$name.$member %zu %zu\\n\", offsetof(struct $name, $member)," \
                "sizeof(((struct $name *)0)->$member));"
        done
    done
    # Every numeric constant of the ABI keeps its value, too.
    sed -e ':join' -e '/\\$/{N;s/\\\n */ /;b join' -e '}' "$include"/weir/{weir,host}.h |
        grep -oE '^#define WEIR_[A-Z_]+ +(\(?1U?L*L? ?<< ?[0-9]+\)?|\(1ULL << [0-9]+\)|[0-9]+U?|INT64_MIN)( |$)' | awk '{print $2}' | sort -u | while read -r constant; do
        echo "printf(\"$constant %lld\\n\", (long long)($constant));"
    done
    echo 'return 0; }'
} >"$work/layout.c"
${CC:-cc} -std=c11 -I"$include" -o "$work/layout" "$work/layout.c" -Wl,--unresolved-symbols=ignore-all
"$work/layout"
