# SPDX-License-Identifier: Apache-2.0
"""The alarms ring when they should and are silent when they should, by Prometheus's own reading of them: alerts/*.yaml
has the cases. And each says what to do."""
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

from manifests import ROOT, rendered
from watching import alarms, rules

CASES = sorted((pathlib.Path(__file__).parent / "alerts").glob("*.yaml"))
SCHEMAS = pathlib.Path(os.environ.get("MILLRACE_SCHEMAS", ROOT.parent / "shared" / "schemas"))


@pytest.fixture
def promtool(tmp_path):
    """Runs promtool in a folder with the rules in rules.yaml."""
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed")

    def run(*arguments, book=None):
        (tmp_path / "rules.yaml").write_text(yaml.safe_dump(book or rules()))
        return subprocess.run(["promtool", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)

    run.folder = tmp_path
    return run


@functools.lru_cache(None)
def without_texts():
    """Cases are about when, not about words: with annotations each would have to repeat them."""
    book = rules()
    for group in book["groups"]:
        for rule in group["rules"]:
            del rule["annotations"]
    return book


def case(path):
    return yaml.safe_load(path.read_text())


def test_the_rules_are_rules(promtool):
    done = promtool("check", "rules", "rules.yaml")
    assert not done.returncode, done.stdout + done.stderr


def test_the_cluster_gets_them():
    one, = rendered("eks").all("PrometheusRule")
    assert one["spec"] == rules()


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_they_ring_at_their_limits_and_not_below(promtool, path):
    (promtool.folder / "case.yaml").write_text(path.read_text())
    done = promtool("test", "rules", "case.yaml", book=without_texts())
    assert not done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_cases_notice_an_alarm_that_does_not_ring(promtool, path):
    """Each case that expects one fails where the limit is beyond reach."""
    book = json.loads(json.dumps(without_texts()))
    for group in book["groups"]:
        for rule in group["rules"]:
            rule["expr"] = f"({rule['expr']}) > 1e9"
    (promtool.folder / "case.yaml").write_text(path.read_text())
    done = promtool("test", "rules", "case.yaml", book=book)
    expected = {one["alertname"] for test in case(path)["tests"] for one in test["alert_rule_test"] if one["exp_alerts"]}
    assert done.returncode and all(name in done.stdout + done.stderr for name in expected)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_cases_are_as_promtool_reads_them(path):
    jsonschema = pytest.importorskip("jsonschema", reason="python3-jsonschema is not installed")
    schema = SCHEMAS / "prometheus.rules.test.json"
    if not schema.exists():
        pytest.skip("no schemas: MILLRACE_SCHEMAS names a folder without prometheus.rules.test.json")
    jsonschema.Draft7Validator(json.loads(schema.read_text())).validate(case(path))


def test_every_alarm_has_a_case_in_which_it_rings_and_one_in_which_it_does_not():
    asked = [one for path in CASES for test in case(path)["tests"] for one in test["alert_rule_test"]]
    for name in alarms():
        cases = {bool(one["exp_alerts"]) for one in asked if one["alertname"] == name}
        assert cases == {True, False}, name


@pytest.mark.parametrize("name", alarms())
def test_every_alarm_says_how_bad_it_is_and_what_to_do(name):
    rule = alarms()[name]
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"]["runbook"] == f"docs/monitoring.md#{name.lower()}"
    page = (ROOT / "docs" / "monitoring.md").read_text()
    entry = re.search(rf"^### {name}\n(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
    assert entry, f"docs/monitoring.md has no heading {name}"
    for part in ("**Means.**", "**Look.**", "**Do.**"):
        assert part in entry[1], f"{name}: {part}"


def test_the_runbook_is_about_alarms_that_there_are():
    page = (ROOT / "docs" / "monitoring.md").read_text()
    assert set(re.findall(r"^### (Millrace\w+)$", page, re.MULTILINE)) == set(alarms())
