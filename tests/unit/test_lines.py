# SPDX-License-Identifier: Apache-2.0
"""tools/fleet/lines.py: lines of daemons, short."""
import pathlib
import subprocess
import sys

import pytest

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

from fleet.lines import short  # noqa: E402

LINE = ('{"time":"2026-11-21T22:16:59.791Z","level":"info","program":"millrace-worker","pid":28785,"event":"job-failed",'
        '"job_id":"01a2","attempt":1,"reason":"has \\u001b[2J \\u009b"}')
SHORT = '22:16:59.791 info  worker[28785] job-failed job_id=01a2 attempt=1 reason="has \\u001b[2J \\u009b"'


def test_a_line_becomes_a_short_one_that_no_terminal_obeys():
    assert short(LINE) == SHORT


@pytest.mark.parametrize("line", ["", "Segmentation fault", "{", "[1]", "7", '{"event":"x"}'])
def test_what_is_no_such_line_is_left_as_it_is(line):
    assert short(line) == line


def test_it_is_a_filter():
    told = subprocess.run([TOOLS / "fleet" / "lines.py"], input=f"{LINE}\nwords\n", capture_output=True, text=True, timeout=20,
                          check=True)
    assert told.stdout == f"{SHORT}\nwords\n"
