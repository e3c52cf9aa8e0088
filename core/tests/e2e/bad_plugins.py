#!/usr/bin/env python3
"""Plugins that are broken, each in one way: `weir check` refuses them with one sentence that names field,
have and want; a running gateway refuses to swap to them and goes on; `weir plugin lint` finds beforehand
what can be seen without running them. Nothing crashes."""
import atexit
import os
import re
import shutil
import subprocess
import sys
import tempfile

from lib_weir import WEIR, Upstream, Weir, run_tests, service

HERE = os.path.dirname(os.path.abspath(__file__))
if shutil.which("gcc") is None:
    print("skipped: there is no gcc")
    sys.exit(0)
WORK = tempfile.mkdtemp(prefix="weir-bad-")
atexit.register(shutil.rmtree, WORK)


def broken(statement):
    return ["-DBREAK=" + statement]


def manifest(text):
    return ["-DMANIFEST=" + '"' + text.replace("\n", "\\n") + '"']


def patched(offset, *values):
    def patch(data):
        return data[:offset] + bytes(values) + data[offset + len(values):]
    return patch


# case: how it is broken (the compiler's words, or what is done to the bytes of a good one), what the loader
# says behind "plugin 'policy': ", what lint says behind "error: "; None: only its code could tell.
SAME = object()
CASES = [
    ("text", lambda data: b"this is no program\n", "{file}: not an ELF shared object: field 'magic': have 'this', want '?ELF'", SAME),
    ("empty", lambda data: b"", "{file}: not an ELF shared object: field 'magic': have '', want '?ELF'", SAME),
    ("cut", lambda data: data[:3000], "{file}: the file is cut short: field 'section table': have 3000 bytes, want {size}", SAME),
    ("machine", patched(18, 243), "{file}: field 'ELF machine': have 243, want {machine}", SAME),
    ("type", patched(16, 2), "{file}: field 'ELF type': have 2, want 3", SAME),
    ("no-manifest", ["-DNO_MANIFEST"], "{file}: field 'manifest': have none, want what WEIR_PLUGIN writes", SAME),
    ("garbled", manifest("weir plugin, honestly\n"), "{file}: field 'manifest': have 'weir plugin, honestly', want weir-plugin/1 in its first line", SAME),
    ("no-version", manifest("weir-plugin/1\nname=policy\nabi=1.0\n"), "{file}: field 'version': have none, want version=VERSION in the manifest", SAME),
    ("odd-abi", manifest("weir-plugin/1\nname=policy\nversion=1\nabi=one\n"), "{file}: field 'abi': have 'one', want MAJOR.MINOR", SAME),
    ("next-major", manifest("weir-plugin/1\nname=policy\nversion=1\nabi=2.0\n"), "{file}: field 'major': have 2, want 1",
     "field 'major': have 2, want 1"),
    ("no-entry", ["-DENTRY=weir_plugin_v2"], "{file}: field 'entry': have none, want an exported weir_plugin_v1", SAME),
    ("other-name", ['-DNAME="other"'], "{file}: field 'name': have 'other', want 'policy'", None),
    ("import", broken("descriptor->minor = (uint16_t)not_there_at_all()"), "field 'imports': have {copy}: undefined symbol: not_there_at_all, want all found",
     "imports: have not_there_at_all, want what libc or a library it names defines"),
    ("library", ["-lgone"], "field 'imports': have libgone.so: cannot open shared object file: No such file or directory, want all found",
     "libraries: have libgone.so, want libraries that are installed"),
    ("constructor", ["-DCONSTRUCTOR"], "crashed: SIGSEGV in policy (build ????????????), load", None),
    ("entry-crashes", broken("abort()"), "crashed: SIGABRT in policy (build ????????????), load", None),
    ("null", broken("return NULL"), "field 'descriptor': have NULL, want what weir_plugin_v1() returns", None),
    ("major", broken("descriptor->major = 2"), "field 'major': have 2, want 1", None),
    ("minor", broken("descriptor->minor = 7"), "field 'minor': have 7, want at most 0", None),
    ("short", broken("descriptor->size = 16"), "field 'size': have 16, want 24 to 65536", None),
    ("tail", broken("descriptor->size = sizeof(offered); offered.later[3] = 1"), "field 'size': have {longer} and the tail is used, want at most {descriptor}", None),
    ("name", broken('descriptor->name = "somebody"'), "field 'name': have 'somebody' in the descriptor, want 'policy'", None),
    ("version", broken("descriptor->version = NULL"), "field 'version': have none, want a text", None),
    ("capability", broken("descriptor->capabilities = 1ULL << 40"), "field 'capabilities': have 0x10000000000, want bits of 0x7f", None),
    ("body", broken("descriptor->request_body_need = 9"), "field 'request_body_need': have 9, want at most 3", None),
    ("self", broken("descriptor->self_size = 1U << 31"), "field 'self_size': have 2147483648, want at most 67108864", None),
    ("context", broken("descriptor->context_size = 1U << 31"), "field 'context_size': have 2147483648, want at most 1048576", None),
    ("stride", broken("descriptor->field_stride = 0"), "field 'field_stride': have 2 rows of 0 bytes, want at most 4096 rows", None),
    ("twice", broken('rows[1].name = "number"'), "field 'fields': row 1 has key 'number', want another than row 0", None),
    ("no-name", broken("rows[1].name = NULL"), "field 'fields': row 1 has no name, want that of its member", None),
    ("offset", broken("rows[1].offset = 4096"), "field 'fields': row 1 has a member that ends at 4104, want at most 24, the struct's size", None),
    ("row-type", broken("rows[1].type = 99"), "field 'fields': row 1 has type 99, want 1 to 10", None),
]


# A swap to each that is refused at a place of its own.
SWAPPED = ("text cut machine no-manifest garbled next-major no-entry other-name import constructor entry-crashes "
           "null minor tail name capability twice offset stride").split()


def compile_one(case, flags, defs=True):
    folder = f"{WORK}/{case}"
    os.mkdir(folder)
    subprocess.run(["gcc", "-std=gnu11", "-O1", "-w", "-shared", "-fPIC", "-fvisibility=hidden",
                    "-I", os.environ["WEIR_SOURCE_DIR"] + "/sdk/include", *(["-Wl,-z,defs"] if defs else []),
                    HERE + "/abi/bad.c", "-L", WORK, *flags, "-o", folder + "/policy.so"], check=True)
    with open(folder + "/policy.so", "rb") as f:
        return f.read()


def compile_all():
    with open(WORK + "/gone.c", "w", encoding="utf-8") as f:
        f.write("int gone(void) { return 1; }\n")
    subprocess.run(["gcc", "-shared", "-fPIC", WORK + "/gone.c", "-o", WORK + "/libgone.so"], check=True)
    good = compile_one("good", [])
    for case, how, _, _ in CASES:
        if isinstance(how, list):
            compile_one(case, how if how != ["-lgone"] else ["-Wl,--no-as-needed", "-lgone"], case != "import")
            continue
        os.mkdir(f"{WORK}/{case}")
        with open(f"{WORK}/{case}/policy.so", "wb") as f:
            f.write(how(good))
    os.unlink(WORK + "/libgone.so")
    return good


GOOD = compile_all()
UPSTREAM = Upstream()


def numbers():
    """What the sentences need of the headers."""
    source = (f"#include <stdio.h>\n#include <weir/weir.h>\nconst weir_host *weir_host_table;\n"
              f"int main(void) {{ return printf(\"%zu %zu\", sizeof(weir_plugin), sizeof(weir_field)) < 0; }}\n")
    with open(WORK + "/sizes.c", "w", encoding="utf-8") as f:
        f.write(source)
    subprocess.run(["gcc", "-I", os.environ["WEIR_SOURCE_DIR"] + "/sdk/include", WORK + "/sizes.c", "-o",
                    WORK + "/sizes"], check=True)
    descriptor, row = map(int, subprocess.run([WORK + "/sizes"], check=True, capture_output=True,
                                              text=True).stdout.split())
    section_table = int.from_bytes(GOOD[40:48], "little")
    return {"descriptor": descriptor, "row": row, "longer": descriptor + 32,
            "size": section_table + 64 * int.from_bytes(GOOD[60:62], "little"),
            "machine": int.from_bytes(GOOD[18:20], "little")}


NUMBERS = numbers()


def file_of(case):
    return f"{WORK}/{case}/policy.so"


def sentence(case, text):
    """A pattern: the copy that is opened has a name of its own, wherever it lies."""
    filled = text.format(file=file_of(case), copy="\0", **NUMBERS)
    return re.escape(filled).replace(re.escape("\0"), r"\S*policy\.[0-9a-f]{64}\.so").replace(
        re.escape("?" * 12), "[0-9a-f]{12}")


def environment(case):
    return {"WEIR_PLUGIN_PATH": f"{WORK}/{case}", "PATH": os.environ["PATH"], "TMPDIR": WORK}


def test_check_says_what_is_wrong():
    config = WORK + "/kong.yml"
    with open(config, "w", encoding="utf-8") as f:
        f.write('_format_version: "3.0"\n' + service(UPSTREAM.port) + "plugins:\n- name: policy\n")
    done = subprocess.run([WEIR, "check", config], capture_output=True, text=True, env=environment("good"),
                          check=False)
    assert done.returncode == 0, done
    for case, _, said, _ in CASES:
        done = subprocess.run([WEIR, "check", config], capture_output=True, text=True, env=environment(case),
                              timeout=60, check=False)
        told = done.stdout + done.stderr
        assert done.returncode in (1, 3), (case, done.returncode, told)
        assert re.search(sentence(case, said), told), f"{case}: want {said}\nhave {told}"
        if not said.startswith("crashed"):
            assert done.returncode == 3 and told.count("plugin 'policy': ") == 1, f"{case}: one sentence, not: {told}"


def test_lint_finds_what_can_be_seen():
    done = subprocess.run([WEIR, "plugin", "lint", *[file_of(row[0]) for row in CASES], file_of("good")],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and done.stderr == "", done
    for case, _, said, found in CASES:
        errors = [line for line in done.stdout.splitlines() if line.startswith(file_of(case) + ": error: ")]
        if found is None:
            assert not errors, (case, errors)
            continue
        want = sentence(case, said[len("{file}: "):] if found is SAME else found)
        assert len(errors) == 1 and re.search("error: " + want, errors[0]), \
            f"{case}: want {want}\nhave {errors}"
    assert f"{file_of('good')}: error" not in done.stdout, done.stdout
    assert f"{file_of('other-name')}: warning: field 'name': have 'other' in policy.so, want NAME in NAME.so" in \
        done.stdout, done.stdout


HAZARDS = [  # level, what, have
    ("error", "libraries", "{dir}/libgone.so"), ("error", "stack", "PT_GNU_STACK that is executable, or none"),
    ("error", "imports", "gone"),
    ("warning", "unloading", "DF_1_NODELETE"), ("warning", "thread-local storage", "DF_STATIC_TLS, 4 bytes"),
    ("warning", "static data", "counter"), ("warning", "thread keys", "pthread_key_create"),
    ("warning", "code at exit", "__cxa_atexit"), ("warning", "exported symbols", "helper"),
    ("warning", "symbols of a library", "puts"), ("warning", "blocking calls", "sleep"),
    ("warning", "threads without the capability", "pthread_create"), ("warning", "signals", "signal"),
    ("warning", "the process's state", "setlocale"), ("warning", "processes", "fork"),
    ("warning", "loading code", "dlopen"), ("warning", "text relocations", "DT_TEXTREL"),
    ("warning", "libraries by path", "{dir}/libgone.so"), ("warning", "search path", "/opt/there"),
    ("note", "field 'version'", "'one'"), ("note", "calls that may block", "poll"),
    ("note", "constructors", "1"), ("note", "build id", "none"), ("note", "debug information", "none"),
]
OF_CXX = [
    ("warning", "unique symbols", "STB_GNU_UNIQUE symbols"), ("warning", "C++ thread_local", "__cxa_thread_atexit"),
    ("note", "threads", "pthread_create"), ("note", "ending the process", "abort"),
]
CXX = """
#include <cstdlib>
#include <pthread.h>
#include <weir/weir.h>
struct thing { int *at = nullptr; ~thing() { delete at; } };
template <typename T> struct once { static T value; };
template <typename T> T once<T>::value;
static thread_local thing of_thread;
__attribute__((visibility("default"))) int *use() { pthread_t t; pthread_create(&t, nullptr, nullptr, &of_thread);
    if (!of_thread.at) abort(); return &once<int>::value; }
WEIR_PLUGIN("cxx", "1.0", WEIR_CAP_THREADS, .priority = 1);
"""


def lint(path, *words):
    done = subprocess.run([WEIR, "plugin", "lint", *words, path], capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.stderr == "", done.stderr
    return done.returncode, done.stdout


def expect_findings(path, rows):
    code, told = lint(path)
    for level, what, have in rows:
        want = f"{path}: {level}: {what}: have {have.format(dir=WORK)}, want "
        assert want in told, f"want {want}\nhave {told}"
    assert code == (1 if any(level == "error" for level, _, _ in rows) else 0), told
    return told


def test_lint_names_every_hazard():
    path = WORK + "/hazards.so"
    sdk = os.environ["WEIR_SOURCE_DIR"] + "/sdk/include"
    subprocess.run(["gcc", "-shared", "-fPIC", WORK + "/gone.c", "-o", WORK + "/libgone.so"], check=True)
    subprocess.run(["gcc", "-std=gnu11", "-w", "-shared", "-fPIC", "-fvisibility=hidden", "-ftls-model=initial-exec",
                    "-I", sdk, HERE + "/abi/hazards.c", WORK + "/libgone.so", "-Wl,-z,nodelete,-z,execstack,-z,notext",
                    "-Wl,-rpath,/opt/there", "-Wl,--build-id=none", "-o", path], check=True)
    os.unlink(WORK + "/libgone.so")
    told = expect_findings(path, HAZARDS)
    assert told.endswith(f"{path}: 3 errors, 16 warnings, 5 notes\n"), told
    subprocess.run(["strip", path], check=True)
    told = expect_findings(path, [row for row in HAZARDS if row[1] not in (
        "static data", "threads without the capability")])
    assert re.search(r"static data: have \d+ bytes", told) and "note: threads: have pthread_create" in told, told


def test_lint_of_cxx():
    if shutil.which("g++") is None:
        print("     skipped: there is no g++")
        return
    with open(WORK + "/cxx.cc", "w", encoding="utf-8") as f:
        f.write(CXX)
    subprocess.run(["g++", "-w", "-O0", "-shared", "-fPIC", "-g", "-I", os.environ["WEIR_SOURCE_DIR"] + "/sdk/include",
                    WORK + "/cxx.cc", "-o", WORK + "/cxx.so"], check=True)
    told = expect_findings(WORK + "/cxx.so", OF_CXX)
    assert "without the capability" not in told, told
    assert lint(WORK + "/cxx.so", "--strict")[0] == 1, "with --strict warnings are errors"


def test_a_running_gateway_goes_on():
    with Weir(service(UPSTREAM.port) + "plugins:\n- name: policy\n", workers=1,
              settings={"plugin_path": WORK + "/good", "swap_watch": "0"}) as weir:
        workers = weir.workers()
        assert weir.get("/").get("X-Number") == "1"
        for case, _, said, _ in CASES:
            if case not in SWAPPED:
                continue
            told = weir.run("plugin", "swap", "policy", file_of(case))
            assert told.returncode == 1, (case, told)
            assert re.search(sentence(case, said), told.stderr), f"{case}: want {said}\nhave {told.stderr}"
            assert weir.get("/").get("X-Number") == "1", case
        assert weir.workers() == workers, "no worker was lost over it"
        told = weir.run("plugin", "swap", "policy", file_of("good"))
        assert told.returncode == 0, told


run_tests(globals())
