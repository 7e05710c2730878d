# SPDX-License-Identifier: Apache-2.0
"""The alarms ring when they should, by Prometheus's own reading of them."""
import shutil
import subprocess

import pytest
import yaml

from manifests import rendered

MINUTES = 20


@pytest.fixture
def promtool(tmp_path):
    """Runs promtool with the rules of the overlay in rules.yaml."""
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed")
    rules, = rendered("eks").all("PrometheusRule")
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules["spec"]))

    def run(*arguments):
        done = subprocess.run(["promtool", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
        assert not done.returncode, done.stdout + done.stderr

    run.folder = tmp_path
    return run


def test_the_rules_are_rules(promtool):
    promtool("check", "rules", "rules.yaml")


def series(name, value):
    return {"series": name, "values": f"{value}x{MINUTES}"}


HPA = '{namespace="millrace", horizontalpodautoscaler="keda-hpa-millrace-worker-hash"}'
CASES = {
    "MillraceWorkersAtMaximum": (
        lambda count: [series(f"kube_horizontalpodautoscaler_status_desired_replicas{HPA}", count),
                       series(f"kube_horizontalpodautoscaler_spec_max_replicas{HPA}", 64)], 64, 63),
    "MillraceNodesAtMaximum": (
        lambda count: [series('cluster_autoscaler_nodes_count{state="ready"}', count - 2),
                       series('cluster_autoscaler_nodes_count{state="notStarted"}', 2),
                       series("cluster_autoscaler_max_nodes_count", 23)], 23, 22),
    "MillracePodsWait": (
        lambda count: [series('kube_pod_status_phase{namespace="millrace", phase="Pending", pod="a"}', count)], 1, 0),
}


@pytest.mark.parametrize("alarm", CASES)
def test_an_alarm_rings_at_its_limit_and_not_below(promtool, alarm):
    inputs, at, below = CASES[alarm]
    rule, = [rule for rule in yaml.safe_load((promtool.folder / "rules.yaml").read_text())["groups"][0]["rules"]
             if rule["alert"] == alarm]
    labels = dict(rule["labels"], **({"namespace": "millrace", "horizontalpodautoscaler": "keda-hpa-millrace-worker-hash"}
                                     if alarm == "MillraceWorkersAtMaximum" else {}))
    texts = {name: text.replace("{{ $value }}", str(at)).replace(
        "{{ $labels.horizontalpodautoscaler }}", "keda-hpa-millrace-worker-hash") for name, text in rule["annotations"].items()}
    rings = [{"exp_labels": labels, "exp_annotations": texts}]
    tests = [{"interval": "1m", "input_series": inputs(count),
              "alert_rule_test": [{"eval_time": f"{MINUTES}m", "alertname": alarm, "exp_alerts": expected},
                                  {"eval_time": "1m", "alertname": alarm, "exp_alerts": []}]}
             for count, expected in ((at, rings), (below, []))]
    (promtool.folder / "tests.yaml").write_text(yaml.safe_dump(
        {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}))
    promtool("test", "rules", "tests.yaml")
