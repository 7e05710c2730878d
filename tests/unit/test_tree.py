# SPDX-License-Identifier: Apache-2.0
"""The tree keeps its own rules: walls between folders, generated pages, file lengths."""
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MILLRACE_BUILD", ROOT / "build" / "release"))
sys.path.insert(0, str(ROOT / "tools"))

import check_includes  # noqa: E402


def test_every_include_stays_inside_its_walls():
    assert list(check_includes.faults()) == []


@pytest.mark.parametrize("page", ["settings", "errors", "metrics", "events", "image"])
def test_a_page_that_is_a_table_is_what_the_table_says(page):
    printed = subprocess.run([BUILD / "print-docs", page], capture_output=True, text=True, check=True).stdout
    assert (ROOT / "docs" / f"{page}.md").read_text() == printed


def test_every_source_says_its_licence_and_its_purpose():
    for path in [*ROOT.glob("*/**/*.[ch]"), *ROOT.glob("*/**/*.py"), *ROOT.glob("common/store/lua/*.lua")]:
        if "build" in path.parts:
            continue
        head = path.read_text().splitlines()[:6]
        assert any("SPDX-License-Identifier: Apache-2.0" in line for line in head), path


def test_every_program_tells_its_version_and_its_use():
    for program in ("millrace", "millrace-api", "millrace-worker", "millrace-exec", "millrace-exec-image",
                    "millrace-exec-command"):
        version = subprocess.run([BUILD / program, "--version"], capture_output=True, text=True, check=True).stdout
        assert version.startswith(program + " ")
        usage = subprocess.run([BUILD / program, "--help"], capture_output=True, text=True, check=True).stdout
        assert program in usage


def test_nothing_is_left_of_a_merge():
    marks = re.compile("^(<{7} |={7}$|>{7} )", re.MULTILINE)
    for path in (path for path in ROOT.rglob("*") if path.suffix in (".c", ".h", ".py", ".md", ".lua", ".txt")):
        if "build" not in path.parts:
            assert not marks.search(path.read_text()), path


def test_run_is_thin():
    assert len((ROOT / "run").read_text().splitlines()) <= 100
