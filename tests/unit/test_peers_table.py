# SPDX-License-Identifier: Apache-2.0
"""The table of docs/peers.md: medians of the lines of ./run bench peers, a row and a column each."""
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = ROOT / "loadtest" / "peers" / "table.py"


def table(lines):
    text = "".join(json.dumps(line) + "\n" for line in lines)
    ended = subprocess.run([sys.executable, os.fspath(TABLE)], input=text, capture_output=True, text=True, check=True)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in ended.stdout.splitlines()]


def measured(what, **fields):
    return {"bench": "peers", "measure": what, **fields}


def test_table__has_the_median_of_each_side():
    rows = table([measured("latency_millrace", p50_ms=p50, p99_ms=3) for p50 in (9, 1, 2)]
                 + [measured("latency_celery", p50_ms=4, p99_ms=5), {"bench": "peers", "summary": "latency", "value": 0},
                    measured("product_default_celery", outcome="lost")])
    latency = next(row for row in rows if row[0].startswith("submit to result"))
    assert latency[1:3] == ["2.00 / 3.00", "4.00 / 5.00"]
    default = next(row for row in rows if "default limits" in row[0])
    assert default[1:3] == ["-", "lost"]


def test_table__is_the_one_of_the_page():
    """Same rows in the same order, whatever the numbers."""
    rows = [row[0] for row in table([]) if row[0] and not row[0].startswith("-")]
    page = (ROOT / "docs" / "peers.md").read_text()
    found = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")]
    assert [row for row in found if row] == rows
