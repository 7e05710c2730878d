#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who may include whom: the walls of docs/design.md, checked.

Each rule names the files it is about, and what they may include from the
project (`ours`) and from libraries (`libraries`). A library that is not named
for a file may not be included there: one library, one place.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
GROUND = r"common/[a-z]+\.(h|def)"
SPECS = r"kinds/(kind\.h|decode\.h|render\.h|kinds\.def|programs\.def|command/list\.h)"

# First match wins: (files, project headers allowed, library headers allowed).
RULES = [
    (r"common/broker/.*", rf"{GROUND}|common/broker/.*", r"amqp.*|uv\.h"),
    (r"common/store/.*", rf"{GROUND}|common/store/.*", r"hiredis/.*|uv\.h"),
    (r"common/blob/remote\.c", rf"{GROUND}|common/blob/.*", r"uv\.h|jansson\.h"),
    (r"common/blob/.*", rf"{GROUND}|common/blob/.*", r"uv\.h|openssl/.*|jansson\.h"),
    (r"common/curl\.[ch]", GROUND, r"curl/.*"),
    (r"common/checksum\.c", GROUND, r"xxhash\.h"),
    (r"common/msg\.[ch]", GROUND, r"jansson\.h"),
    (r"common/.*", GROUND, r"(?!)"),
    (r"kinds/hash/run\.c", rf"{GROUND}|kinds/(task|kind|raw)\.h|kinds/hash/.*", r"openssl/.*"),
    (r"kinds/matrix/blas\.c", rf"{GROUND}|kinds/(task|kind)\.h|kinds/matrix/.*", r"cblas\.h|blis\.h"),
    (r"kinds/image/(ops|sniff|jpeg|spec|image)\.[ch]", rf"{GROUND}|{SPECS}|kinds/image/(image|ops|sniff|jpeg)\.h", r"(?!)"),
    (r"kinds/image/lossless\.[ch]", rf"{GROUND}|{SPECS}|kinds/(task|raw)\.h|kinds/image/.*", r"turbojpeg\.h"),
    (r"kinds/image/.*", rf"{GROUND}|{SPECS}|kinds/(task|raw)\.h|kinds/image/.*", r"vips/.*"),
    (r"kinds/command/(list|entry|fill|spec|rows)\.[ch]", rf"{GROUND}|{SPECS}|kinds/command/(list|entry|fill|rows)\.h", r"jansson\.h"),
    (r"kinds/command/walls\.c", rf"{GROUND}|kinds/command/walls\.h", r"seccomp\.h"),
    (r"kinds/command/.*", rf"{GROUND}|{SPECS}|kinds/(task|raw)\.h|kinds/command/.*", r"(?!)"),
    (r"kinds/(\w+)/.*", rf"{GROUND}|{SPECS}|kinds/(task|crew)\.h|kinds/(hash|matrix|spin)/.*", r"jansson\.h"),
    (r"kinds/.*", rf"{GROUND}|{SPECS}|kinds/(task|raw|crew)\.h", r"jansson\.h"),
    (r"api/(http|request)\.c|api/http_impl\.h", rf"{GROUND}|api/.*", r"microhttpd\.h|uv\.h"),
    (r"api/auth\.c", rf"{GROUND}|api/.*", r"openssl/.*"),
    (r"api/.*", rf"{GROUND}|common/(store|broker|blob)/(store|record|broker|browse|blob)\.h|{SPECS}|api/.*", r"uv\.h|jansson\.h"),
    (r"cli/(http|exchange)\.[ch]", rf"{GROUND}|cli/.*", r"curl/.*|jansson\.h"),
    (r"cli/.*", rf"{GROUND}|cli/.*", r"jansson\.h"),
    (r"worker/executor/.*", rf"{GROUND}|{SPECS}|kinds/(task|crew|matrix/kernel|image/prepare|command/folder|command/tree)\.h|worker/frame\.h|worker/executor/.*",
     r"seccomp\.h"),
    (r"worker/probe\.c", rf"{GROUND}|worker/probe\.h", r"microhttpd\.h|uv\.h"),
    (r"worker/pod\.c", rf"{GROUND}|worker/pod\.h", r"uv\.h"),
    (r"worker/.*", rf"{GROUND}|common/(store|broker|blob)/(store|record|broker|blob)\.h|{SPECS}|worker/[a-z_]+\.h",
     r"uv\.h|jansson\.h"),
]
LIBRARIES = re.compile(r"(amqp|hiredis|microhttpd|jansson|uv\.h|openssl|cblas|blis|seccomp|curl|xxhash|vips|turbojpeg)")


def faults():
    for path in sorted(ROOT.glob("*/**/*.[ch]")):
        name = path.relative_to(ROOT).as_posix()
        rule = next((r for r in RULES if re.fullmatch(r[0], name)), None)
        if rule is None:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = re.match(r'\s*#\s*include\s+(["<])([^">]+)', line)
            if not found:
                continue
            quote, header = found.groups()
            if quote == '"' and not re.fullmatch(rule[1], header):
                yield f"{name}:{number}: may not include {header}"
            if quote == "<" and LIBRARIES.match(header) and not re.fullmatch(rule[2], header):
                yield f"{name}:{number}: may not know {header}"


if __name__ == "__main__":
    found = list(faults())
    print("\n".join(found) or "every include stays inside its walls")
    sys.exit(bool(found))
