#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The lines that daemons log, made short for people: tools/fleet/lines.py [FILE ..], or as a filter behind tail -f.

    22:49:00.123 info  worker[4711] job-completed job_id=0193.. kind=hash attempt=1 run_ms=12

What is no such line (a library's own words) is left as it is.
"""
import json
import sys


def short(line):
    """One line without its end, for a terminal: as the daemons escape what a terminal would obey, so does this."""
    try:
        fields = json.loads(line)
        time, level, program, pid, event = (fields.pop(name) for name in ("time", "level", "program", "pid", "event"))
    except (ValueError, KeyError, AttributeError, TypeError):
        return line
    program = str(program).removeprefix("millrace-")
    words = [f"{name}={value if _is_word(value) else json.dumps(value)}" for name, value in fields.items()]
    return " ".join([str(time)[11:23], f"{level:5}", f"{program}[{pid}]", str(event), *words])


def _is_word(value):
    return not isinstance(value, str) or value.isascii() and value.isprintable() and not set(value) & set(' "\\=')


def main(paths):
    for file in [open(path, encoding="utf-8", errors="replace") for path in paths] or [sys.stdin]:
        with file:
            for line in file:
                print(short(line.rstrip("\n")), flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (BrokenPipeError, KeyboardInterrupt):
        sys.stderr.close()
