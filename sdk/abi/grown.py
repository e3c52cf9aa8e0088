#!/usr/bin/env python3
"""grown.py OLD_LOCK NEW_LOCK [OLD_INCLUDE NEW_INCLUDE]: may a plugin of the old headers meet a host of
the new ones?

Every constant and every member is where it was and means what it did; structs only grow, behind
their old end (the padding of an old struct is not known to be zero); values never grow. With the
headers: every member and every function type is declared as it was.
"""
import re
import sys

VALUES = ("weir_str", "weir_list", "weir_pair")


def read(path):
    with open(path, encoding="utf-8") as f:
        return {line.split()[0]: [int(n) for n in line.split()[1:]] for line in f if line.strip()}


def faults(old, new):
    for name, facts in old.items():
        now = new.get(name)
        if now is None:
            yield f"{name} is gone"
        elif name == "WEIR_MINOR":
            if now < facts:
                yield f"{name} fell from {facts[0]} to {now[0]}"
        elif "." in name or name.startswith("WEIR_") or name in VALUES:
            if now != facts:
                yield f"{name} was {facts}, is {now}"
        elif now < facts:
            yield f"{name} shrank from {facts[0]} to {now[0]}"
    for name, facts in new.items():
        struct = name.split(".")[0]
        if "." in name and name not in old and struct in old and facts[0] < old[struct][0]:
            yield f"{name} is at {facts[0]}, inside the {old[struct][0]} bytes of the old {struct}"


def declarations(include):
    """struct -> its members, and typedef -> its text, without comments and spaces that say nothing."""
    text = ""
    for name in ("weir", "host"):
        with open(f"{include}/weir/{name}.h", encoding="utf-8") as f:
            text += f.read()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    text = re.sub(r"^#(if|endif).*$", "", text, flags=re.M)
    structs = {name: [re.sub(r"\s+", " ", m).strip() for m in body.split(";") if m.strip()]
               for name, body in re.findall(r"struct (weir_\w+) \{\n(.*?)\n\}", text, re.S)}
    types = {name: re.sub(r"\s+", " ", whole) for whole, name in
             re.findall(r"^(typedef [^;{]*?\b(weir_\w+)(?:\([^;]*\))?);", text, re.M)}
    return structs, types


def changes(old, new):
    for name, members in old[0].items():
        if new[0].get(name, [])[:len(members)] != members:
            now = new[0].get(name, [])
            at = next((i for i, m in enumerate(members) if i >= len(now) or now[i] != m))
            yield f"{name}: was '{members[at]}', is '{now[at] if at < len(now) else 'nothing'}'"
    for name, text in old[1].items():
        if new[1].get(name) != text:
            yield f"{name}: was '{text}', is '{new[1].get(name)}'"


found = list(faults(read(sys.argv[1]), read(sys.argv[2])))
if len(sys.argv) == 5:
    found += changes(declarations(sys.argv[3]), declarations(sys.argv[4]))
for fault in found:
    print("abi:", fault, file=sys.stderr)
sys.exit(1 if found else 0)
