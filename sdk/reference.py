#!/usr/bin/env python3
"""The reference of the SDK, made from the comments of its headers: reference.py INCLUDE_DIR > reference.md

It fails when a contract says too little: a call without when, a view or handle without lifetime, a
status without its errors, a capability that the comment and the host's table do not agree about
(with --table core/plugin_host/table.c), a hook that does not say what DONE and WAIT mean.
"""
import argparse
import re
import sys

CALL = re.compile(r"(/\*(?:(?!\*/).)*\*/)\n(static inline [^{;]*?\b(weir_\w+)\([^{]*?\))\n\{|"
                  r"(/\*(?:(?!\*/).)*\*/)\n#define (weir_\w+)(\([^)]*\))", re.S)
STATUS = ("WEIR_NO_MEMORY", "WEIR_NOT_FOUND", "WEIR_INVALID", "WEIR_FULL", "WEIR_PHASE",
          "WEIR_DENIED", "WEIR_GONE")
HOOKS = ("configure", "start", "rewrite", "access", "request_body", "upstream",
         "response_headers", "response_body", "log", "export_state", "import_state", "stop")
PHASES = ("rewrite", "access", "request_body", "upstream", "response_headers", "response_body",
          "log")
problems = []


def plain(comment):
    """The text of a comment, on one line."""
    return " ".join(re.sub(r"^\s*\*\s?", "", line) for line in
                    comment.strip()[2:-2].strip().split("\n")).strip()


def squeeze(text):
    return re.sub(r"\s+", " ", text).strip()


def code(text):
    """Names in the text as code; what Markdown would read otherwise, escaped."""
    text = text.replace("<", "&lt;").replace("|", "\\|").replace("*", "\\*")
    return re.sub(r"(?<![`\w/])((?:WEIR|weir)_\w+(?:\(\))?(?:…)?)", r"`\1`", text)


class Call:
    def __init__(self, name, signature, comment):
        self.name, self.signature, self.text = name, squeeze(signature), plain(comment)
        self.returns = re.sub(r"^static inline ", "", self.signature).split(name)[0].strip()
        tag = re.search(r"\[([^\]]*)\]\.?$", self.text)
        self.when = tag.group(1) if tag else None
        self.contract = self.text[:tag.start()].strip() if tag else self.text
        self.needs = re.findall(r"Needs (WEIR_CAP_\w+)", self.text)
        self.errors = [status for status in STATUS if status in self.text]

    def check(self):
        if self.when is None:
            problems.append(f"{self.name}: when may it be called? The contract ends without [...]")
        lives = re.search(r"\b[Ll]ives?\b|until the request ends|as long as", self.text)
        if self.returns.endswith("*") and "NULL" not in self.text and "NULL" not in self.contract:
            problems.append(f"{self.name}: what does NULL mean?")
        if (self.returns.endswith("*") or "weir_str" in self.returns) and not lives:
            problems.append(f"{self.name}: how long does what it returns live?")
        if self.returns == "weir_status" and not self.errors and "Errors as of" not in self.text \
                and not (self.when or "").startswith("as "):
            problems.append(f"{self.name}: which errors?")

    def allows(self, phase):
        """May a hook of that phase call it? None: wherever there is a request or a worker."""
        when = self.when or ""
        named = [p for p in PHASES if re.search(rf"\b{p}\b", when)]
        return None if not named else phase in named


def parse_calls(header):
    calls = []
    for match in CALL.finditer(header):
        if match.group(3):
            calls.append(Call(match.group(3), match.group(2), match.group(1)))
        else:
            calls.append(Call(match.group(5), match.group(5) + match.group(6), match.group(4)))
    for call in calls:
        call.check()
        other = re.fullmatch(r"as (weir_\w+)\(\)", call.when or "")
        if other:
            call.when = next(c.when for c in calls if c.name == other.group(1))
    return calls


def slots_by_group(host):
    """[(title, [slot])] in the order of the table."""
    body = re.search(r"struct weir_host \{(.*?)\n\};", host, re.S).group(1)
    groups = []
    for item in re.finditer(r"/\*(?P<title>[^*]*)\*/|\(\*(?P<slot>\w+)\)\(|(?P<blank>\n\n)", body):
        if item.group("title"):
            groups.append((item.group("title").strip(), []))
        elif item.group("blank"):
            groups.append(("", []))
        elif item.group("slot"):
            # A parameter that is a function would look the same; the table has none.
            groups[-1][1].append(item.group("slot"))
    titled = []
    for title, slots in groups:
        if title or not titled:
            titled.append((title, slots))
        elif slots:
            titled.append(("added at the end of 1.0's table", slots))
    return [(title, slots) for title, slots in titled if slots]


def capabilities_of(table):
    """slot -> the capability without which the host puts a refusing stub in it."""
    needs = {}
    for block in re.finditer(r"\(capabilities & (WEIR_CAP_\w+)\) == 0\) \{(.*?)\n    \}", table,
                             re.S):
        for slot in re.findall(r"table->(\w+) = ", block.group(2)):
            needs[slot] = block.group(1)
    return needs


def check_against_table(calls, slots, table):
    needs = capabilities_of(table)
    if not needs:
        problems.append("table.c: no capabilities found")
    for call in calls:
        want = [needs[call.name[5:]]] if call.name[5:] in needs else []
        if call.name[5:] in slots and call.needs != want:
            problems.append(f"{call.name}: the comment says it needs {call.needs}, the host {want}")
    filled = set(re.findall(r"^    \.(\w+) = call_", table, re.M))
    for slot in sorted(slots ^ filled):
        problems.append(f"{slot}: in the table of host.h or of table.c, not in both")


def member_rows(struct, header):
    """[(declaration, comment)] of a struct; a comment stands behind its member or before it."""
    text = re.search(rf"(?:typedef )?struct {struct} \{{\n(.*?)\n\}}", header, re.S).group(1)
    rows, before, behind = [], "", False
    for item in re.finditer(r"/\*.*?\*/|[^;/]+;", text, re.S):
        if not item.group().startswith("/*"):
            rows.append([squeeze(item.group()).rstrip(";"), before])
            before = ""
            line_end = text.find("\n", item.end())
            behind = "/*" in text[item.end():line_end if line_end >= 0 else len(text)]
        elif behind:
            rows[-1][1], behind = plain(item.group()), False
        else:
            before = plain(item.group())
    return [tuple(row) for row in rows]


def hooks_chapter(out, weir, calls):
    rows = dict()
    for declaration, comment in member_rows("weir_plugin", weir):
        name = re.search(r"\(\*(\w+)\)\(|\*(\w+)$", declaration)
        if name:
            rows[name.group(1) or name.group(2)] = (declaration, comment)
    rows["import_state"] = (rows["import_state"][0], rows["export_state"][1])
    out.append("## Hooks\n")
    out.append("In the order in which they run. Every one is optional. `self` is the policy, `context` "
               "belongs to this request and policy.\n")
    for hook in HOOKS:
        declaration, comment = rows[hook]
        text = re.sub(r"\s*\[[^\]]*\]$", "", comment)
        out.append(f"### `{hook}`\n\n```c\n{declaration};\n```\n\n{code(text)}\n")
        if hook in PHASES and hook != "log":
            for word in ("NEXT", "DONE", "WAIT"):
                if word not in comment:
                    problems.append(f"hook {hook}: what does {word} mean?")
        if not comment:
            problems.append(f"hook {hook}: no contract")
        if hook in PHASES:
            able = [c.name for c in calls if c.allows(hook)]
            not_able = [c.name for c in calls if c.allows(hook) is False]
            out.append("Of the calls that are bound to phases: "
                       + (", ".join(f"`{n}`" for n in able) if able else "none") + ".\n")
            if not able and not not_able:
                problems.append("no call is bound to phases")


def callbacks_chapter(out, headers):
    out.append("## Callbacks\n")
    for name in re.findall(r"^typedef \w[\w ]*? \*?(weir_(?:\w+_)?(?:hook|visit))\(", headers, re.M):
        found = re.search(rf"((?:/\*(?:(?!\*/).)*\*/)?)\n(typedef [^;]*?\b{name}\([^;]*);", headers, re.S)
        text = plain(found.group(1)) if found.group(1) else ""
        if not text:
            problems.append(f"{name}: no contract")
        out.append(f"### `{name}`\n\n```c\n{squeeze(found.group(2))};\n```\n\n{code(text)}\n")


def calls_chapter(out, groups, calls):
    by_name = {call.name: call for call in calls}
    written = set()
    out.append("## Calls\n")
    for title, slots in groups:
        out.append(f"### {title[0].upper() + title[1:]}\n")
        for slot in slots:
            names = ["weir_" + slot] + [n for n in by_name if n.startswith(f"weir_{slot}_number")
                                        and n[5:] not in {s for _, g in groups for s in g}]
            for name in names:
                call = by_name.get(name)
                if call is None:
                    problems.append(f"{name}: a slot without a wrapper that has a contract")
                    continue
                written.add(name)
                signature = re.sub(r"^static inline ", "", call.signature)
                out.append(f"#### `{name}`\n\n```c\n{signature};\n```\n\n{code(call.contract)}\n")
                facts = [f"when: {code(call.when or '?')}"]
                if call.needs:
                    facts.append("needs " + code(call.needs[0]))
                if call.errors and call.returns == "weir_status":
                    facts.append("errors: " + ", ".join(f"`{e}`" for e in call.errors))
                out.append("*" + "; ".join(facts) + "*\n")
    for name in sorted(set(by_name) - written):
        problems.append(f"{name}: a wrapper without a slot")


CONSTANT = re.compile(r"^#define (WEIR_[A-Z][A-Z0-9_]*)\s+(?:\\\n\s*)?"
                      r"(\([^()]*\)|[0-9]+U?|INT64_MIN)[ \t]*(/\*(?:(?!\*/).)*\*/)?\n?", re.S | re.M)


def constants_chapter(out, headers):
    """One table for each run of constants, under the comment that stands before it."""
    out.append("## Constants\n")
    at, comment_end = 0, {}
    for comment in re.finditer(r"^/\*(?:(?!\*/).)*\*/\n", headers, re.S | re.M):
        comment_end[comment.end()] = plain(comment.group())
    for match in CONSTANT.finditer(headers):
        name, value, comment = match.groups()
        if match.start() != at:
            title = comment_end.get(match.start(), "")
            if title.startswith("----"):
                title = ""
            out.append((f"\n{code(title)}\n" if title else "") + "\n| name | value | meaning |\n|---|---|---|")
        out.append(f"| `{name}` | `{value}` | {code(plain(comment)) if comment else ''} |")
        at = match.end()
    out.append("")


FIELD_TYPES = ("BOOLEAN", "INTEGER", "NUMBER", "STRING", "ENUM", "DURATION", "BYTES", "LIST", "MAP",
               "RECORD")


def macros_chapter(out, headers):
    """Macros with arguments that authors write: fields and parts of the descriptor."""
    out.append("## Macros\n")
    pattern = re.compile(r"((?:/\*(?:(?!\*/).)*\*/\n)?)(?:#ifdef __cplusplus\n)?"
                         r"#define (WEIR_[A-Z_]+[A-Z])(\([^)]*\))", re.S)
    seen = set()
    for comment, name, arguments in pattern.findall(headers):
        if name in seen or name.endswith("_OF") or name == "WEIR_PRINTF_ARGS":
            continue
        seen.add(name)
        text = plain(comment) if comment and not comment.startswith("/* --") else ""
        if name[5:] in FIELD_TYPES:
            of = re.search(rf"#define WEIR_TYPE_{name[5:]}\s+(?:\\\n\s*)?\d+U\s*(/\*(?:(?!\*/).)*\*/)",
                           headers, re.S)
            if of is None:
                problems.append(f"{name}: which C type?")
            else:
                text = " ".join(filter(None, ("a field: " + plain(of.group(1)) + ".", text)))
        if not text:
            problems.append(f"{name}: no contract")
        out.append(f"- `{name}{re.sub(r'_(?=[,)])', '', arguments)}`"
                   + (f": {code(text)}" if text else ""))
    out.append("")


def structs_chapter(out, headers):
    out.append("## Structs\n")
    for name in re.findall(r"^typedef struct (weir_\w+) \{", headers, re.M):
        if name in ("weir_plugin", "weir_host"):
            continue
        found = re.search(rf"((?:/\*(?:(?!\*/).)*\*/\n)?)typedef struct {name} \{{", headers, re.S)
        text = plain(found.group(1)) if found.group(1) and "----" not in found.group(1) else ""
        if not text:
            problems.append(f"{name}: no contract")
        out.append(f"### `{name}`\n\n{code(text)}\n\n| member | |\n|---|---|")
        for declaration, comment in member_rows(name, headers):
            out.append(f"| `{declaration}` | {code(comment)} |")
        out.append("")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("include")
    parser.add_argument("--table")
    arguments = parser.parse_args()
    text = {}
    for name in ("weir", "host", "calls"):
        with open(f"{arguments.include}/weir/{name}.h", encoding="utf-8") as f:
            text[name] = f.read()
    headers = text["weir"] + text["host"] + text["calls"]
    calls, groups = parse_calls(text["calls"]), slots_by_group(text["host"])
    slots = {slot for _, group in groups for slot in group}
    if arguments.table:
        with open(arguments.table, encoding="utf-8") as f:
            check_against_table(calls, slots, f.read())
    minor = re.search(r"#define WEIR_MINOR (\d+)", headers).group(1)
    top = text["weir"][:text["weir"].index("*/")]
    rules = "\n".join(re.sub(r"^ \*? ?", "", line) for line in top.split("\n")[1:])
    out = [f"# Reference of the plugin ABI 1.{minor}\n",
           "Made by `reference.py` from the comments in `include/weir/`; edit those.\n",
           "## Rules\n", "```text\n" + rules.strip() + "\n```\n"]
    hooks_chapter(out, text["weir"], calls)
    callbacks_chapter(out, headers)
    calls_chapter(out, groups, calls)
    macros_chapter(out, headers)
    structs_chapter(out, headers)
    constants_chapter(out, headers)
    if problems:
        sys.exit("reference: " + "\nreference: ".join(problems))
    sys.stdout.write("\n".join(out).rstrip() + "\n")


if __name__ == "__main__":
    main()
