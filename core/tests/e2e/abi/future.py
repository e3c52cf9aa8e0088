#!/usr/bin/env python3
"""Headers of a minor that does not exist yet, made from today's: future.py INCLUDE_DIR OUT_DIR [HOW]

Everything that may grow has grown: a hook, a longer row, longer structs, two slots at the end of the
table, a capability, a flag, a deprecated call. HOW says how well the minor was made:
  hidden     what is new is there only for those whose WEIR_TARGET_MINOR is the new one (the rule)
  visible    the tails are there for everybody; who uses nothing new leaves them zero
"""
import os
import re
import sys

TAILS = {  # struct: what a later minor adds at its end
    "weir_plugin": "    weir_hook *trailers;\n    uint64_t later[3];\n",
    "weir_field": "    const char *unit;\n    uint64_t later[2];\n",
    "weir_credential_kind": "    uint64_t later[2];\n",
    "weir_take": "    int64_t weight;\n",
    "weir_peer": "    weir_str proxy;\n",
    "weir_stream_events": "    void (*drained)(void *self, void *user);\n",
    "weir_fetch_request": "    weir_str proxy;\n",
    "weir_file_options": "    uint64_t later;\n",
}


def replace(text, old, new):
    assert text.count(old) == 1, (text.count(old), old)
    return text.replace(old, new)


def grow(text, struct, tail, how):
    end = f"\n}} {struct};\n"
    if how == "visible":
        return replace(text, end, "\n" + tail.rstrip("\n") + end)
    return replace(text, end, f"\n#if WEIR_TARGET_MINOR >= {MINOR}\n{tail}#endif{end}")


def main():
    source, out, how = sys.argv[1], sys.argv[2], (sys.argv[3:] + ["hidden"])[0]
    text = {}
    for name in ("weir", "host", "calls"):
        with open(f"{source}/weir/{name}.h", encoding="utf-8") as f:
            text[name] = f.read()
    global MINOR
    MINOR = int(re.search(r"#define WEIR_MINOR (\d+)", text["weir"]).group(1)) + 1
    text["weir"] = replace(text["weir"], f"#define WEIR_MINOR {MINOR - 1}\n",
                           f"#define WEIR_MINOR {MINOR}\n")
    text["weir"] = replace(text["weir"], "#define WEIR_CAP_SHARED_MEMORY",
                           "#define WEIR_CAP_TRAILERS (1ULL << 20)\n#define WEIR_LATER (1U << 20)\n"
                           "#define WEIR_CAP_SHARED_MEMORY")
    for name in text:
        for struct, tail in TAILS.items():
            if f"}} {struct};" in text[name]:
                text[name] = grow(text[name], struct, tail, how)
    text["host"] = replace(text["host"], "void *user);\n};\n",
                           "void *user);\n    weir_status (*trailer_set)(weir_request *request, "
                           "weir_header_id id, weir_str value);\n    int64_t (*fast_ns)(const "
                           "weir_host *host);\n};\n")
    text["calls"] = replace(text["calls"], "/* ---- the one macro",
                            f"#if WEIR_TARGET_MINOR >= {MINOR}\n"
                            "/* Nanoseconds. [worker] */\nstatic inline int64_t weir_fast_ns(void)\n{\n"
                            "    return weir_host_table->fast_ns(weir_host_table);\n}\n#endif\n\n"
                            "/* ---- the one macro")
    text["calls"] = replace(text["calls"], "static inline void weir_random(",
                            f'WEIR_DEPRECATED_SINCE_({MINOR}, "ask getrandom()")\n'
                            "static inline void weir_random(")
    os.makedirs(out + "/weir", exist_ok=True)
    for name in text:
        with open(f"{out}/weir/{name}.h", "w", encoding="utf-8") as f:
            f.write(text[name])


main()
