# SPDX-License-Identifier: Apache-2.0
"""What the documents point at is there: tests by name, files and headings by link."""
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
IDS = [page.name for page in PAGES]


def anchors(page):
    """Of its headings, as they are made by those who show such files."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_tests_that_are_named_exist(page):
    file = None
    for folder, name, test in re.findall(r"`(?:tests/)?(?:(\w+)/(test_\w+)\.py)?(?:::(test_\w+))?`", page.read_text()):
        if folder:
            file = ROOT / "tests" / folder / f"{name}.py"
            assert file.exists(), f"{page.name} names {file}"
        if test:
            assert re.search(rf"^def {test}\(", file.read_text(), re.MULTILINE), f"{page.name}: {file.name}::{test}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name} links to {target}"
