# SPDX-License-Identifier: Apache-2.0
"""hpa/simulate with the shipped manifests: what it reads, what it promises, what it says."""
import functools
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
import yaml

from harness import LONG
from manifests import ROOT, groups_of_nodes, rendered
from paper import KIND  # noqa: F401  (puts hpa/ on the path)

from simulator import kustomize, manifests, plot, report
from simulator.settings import SettingsError

PROGRAM = ROOT / "hpa" / "simulate"


@functools.cache  # the same command says the same; a test below makes sure
def simulate(*arguments, status=0):
    return run(*arguments, status=status)


def run(*arguments, status=0, **changes):
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False,
                          **changes)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if not status else done.stdout + done.stderr


def rows(output):
    """The lines of the table: first column -> {column: text}."""
    table = output[output.index("trace "):].splitlines()
    head, *lines = [re.split(r"\s{2,}", line.strip()) for line in table]
    return [dict(zip(head, line)) for line in lines if len(line) >= len(head)]


# ---- what is shipped -------------------------------------------------------------------------------------------


def test_the_shipped_settings_reach_the_targets_and_a_day_takes_seconds():
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    burst, day = rows(simulate("--targets"))
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 60
    assert (burst["trace"], day["trace"]) == ("burst", "day")
    assert float(burst["paid/used"]) <= 1.25 and float(day["paid/used"]) <= 1.15
    for row in (burst, day):
        assert float(row["beyond boot"]) < 60 and row["killed"] == "0"
    assert int(burst["jobs"]) == pytest.approx(30_000, rel=0.02)


def test_they_do_with_other_dice_too():
    simulate("--targets", "--seed", 2)


def test_settings_that_miss_are_told_apart():
    output = simulate("burst", "--targets", "--set", "autoscaler.unneeded=600", status=1)
    assert "missed: paid/used" in output


def test_pods_that_share_nodes_cost_more_than_a_pod_that_is_a_node():
    """What the shape of the pods is owed to."""
    common = ["step", "--set", "node.cores=16", "--set", "node.cpu=15890", "--set", f"node.memory={59 << 30}", "--set",
              "scale.value=1", "--set", "pod.slots=1", "--set", "pod.cpu=970", "--set", f"pod.memory={3 << 30}",
              "--set", "scale.max=384"]
    shared, = rows(simulate(*common))
    whole, = rows(simulate("step"))
    assert float(shared["paid/used"]) > float(whole["paid/used"]) + 0.1


# ---- what it reads ---------------------------------------------------------------------------------------------


def test_it_reads_what_is_shipped_and_has_nothing_of_its_own():
    setup = manifests.settings_of(rendered("eks").objects)
    for one in rendered("eks").all("ScaledObject"):
        kind = one["metadata"]["labels"]["app.kubernetes.io/component"]
        scale, pod = setup.scales[kind], rendered("eks").pod(one["spec"]["scaleTargetRef"]["name"])
        assert scale.max == one["spec"]["maxReplicaCount"] and scale.polling == one["spec"]["pollingInterval"]
        behavior = one["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        assert scale.up.window == behavior["scaleUp"]["stabilizationWindowSeconds"]
        assert scale.down.window == behavior["scaleDown"]["stabilizationWindowSeconds"]
        workload = setup.workloads[kind]
        assert workload.grace == pod.spec["terminationGracePeriodSeconds"]
        assert workload.slots == int(pod.env(rendered("eks"))["MILLRACE_SLOTS"]) and workload.cores == 1.0
        assert workload.cost_after and workload.safe_to_evict == "false"
    assert setup.groups[0].max == groups_of_nodes()["millrace-worker"]["max"] and len(setup.groups) == 1
    assert setup.flags.unneeded == 60 and setup.flags.nodes_max == setup.groups[0].max
    assert (setup.broker.queue_interval, setup.broker.sample_interval) == (1, 1)


@pytest.mark.parametrize("overlay, component", [("eks", "calendar"), ("local", "tolerance")])
def test_without_kubectl_it_reads_the_same(overlay, component, tmp_path):
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    (tmp_path / "python3").symlink_to(sys.executable)
    command = ["--overlay", overlay, "--component", component, "--settings"]
    own = run(*command, env={**os.environ, "PATH": str(tmp_path)})
    assert own == simulate(*command) and "scale.queue = millrace.matrix" in own
    assert {"calendar": "pods=4", "tolerance": "scale.up.tolerance = 0.0"}[component] in own
    pods = [{document["metadata"]["name"]: document["spec"]["template"]["spec"] for document in documents
             if document["kind"] == "Deployment"}
            for documents in (kustomize.build(ROOT / "k8s" / "overlays" / overlay), rendered(overlay).objects)]
    assert pods[0].keys() == pods[1].keys()


FLAGS = "k8s/cluster-autoscaler/deployment.yaml"
BROKER = "k8s/components/rabbitmq-cluster/rabbitmq.yaml"
CHANGES = [  # file, what it says, what it is to say, what the simulator makes of it
    ("hpa/scaling.yaml", "cooldownPeriod: 60", "cooldownPeriod: 61", "scale.cooldown = 61"),
    ("hpa/scaling.yaml", "pollingInterval: 5", "pollingInterval: 7", "scale.polling = 7"),
    ("hpa/scaling.yaml", "minReplicaCount: 0", "minReplicaCount: 2", "scale.min = 2"),
    ("hpa/scaling.yaml", "stabilizationWindowSeconds: 20", "stabilizationWindowSeconds: 21", "scale.up.window = 21"),
    ("hpa/scaling.yaml", "stabilizationWindowSeconds: 60", "tolerance: \"0.05\"", "scale.down.tolerance = 0.05"),
    ("hpa/scaling.yaml", "value: 128, periodSeconds: 15", "value: 99, periodSeconds: 30",
     "scale.up.policies = Pods:99/30"),
    ("hpa/scaling.yaml", "{type: Percent, value: 100,", "{type: Percent, value: 50,",
     "scale.down.policies = Percent:50/15"),
    ("hpa/scaledobjects.yaml", "maxReplicaCount: 96", "maxReplicaCount: 95", "scale.max = 95"),
    ("hpa/scaledobjects.yaml", "protocol: http", "protocol: amqp", "scale.protocol = amqp"),
    ("hpa/scaledobjects.yaml", 'value: "4"', 'value: "3"', "scale.value = 3.0"),
    ("hpa/nodes.yaml", "cpu: 3920m", "cpu: 3910m", "node.cpu = 3910"),
    ("hpa/nodes.yaml", "max: 144", "max: 143", "node.max = 143"),
    ("hpa/nodes.yaml", "cores: 4", "cores: 5", "node.cores = 5"),
    ("k8s/base/worker.yaml", "terminationGracePeriodSeconds: 1830", "terminationGracePeriodSeconds: 1840",
     "pod.grace = 1840.0"),
    ("k8s/base/worker.yaml", "cpu: 3500m, memory: 12Gi", "cpu: 3400m, memory: 11Gi", "pod.cpu = 3400"),
    ("k8s/base/worker.yaml", "safe-to-evict: \"false\"", "safe-to-evict: \"true\"", "pod.safe_to_evict = true"),
    ("k8s/base/settings.env", "MILLRACE_TIMEOUT_SECONDS=1800", "MILLRACE_TIMEOUT_SECONDS=900", "pod.job_limit = 900.0"),
    ("worker/pod.c", "#define BETWEEN_MS 10000", "#define BETWEEN_MS 12000", "pod.cost_pause = 12.0"),
    (FLAGS, "unneeded-time=1m", "unneeded-time=3m", "autoscaler.unneeded = 180.0"),
    (FLAGS, "delay-after-add=1m", "delay-after-add=90s", "autoscaler.delay_after_add = 90.0"),
    (FLAGS, "scan-interval=10s", "scan-interval=11s", "autoscaler.scan = 11.0"),
    (FLAGS, "parallelism=50", "parallelism=9", "autoscaler.parallelism = 9"),
    (FLAGS, "recheck-timeout=1m", "recheck-timeout=2m", "autoscaler.recheck = 120.0"),
    (FLAGS, "max-nodes-total=147", "max-nodes-total=100", "autoscaler.nodes_max = 97"),
    (FLAGS, "skip-nodes-with-local-storage=false", "skip-nodes-with-local-storage=true",
     "autoscaler.skips_local_storage = True"),
    (FLAGS, "graceful-termination-sec=1830", "graceful-termination-sec=60", "autoscaler.graceful = 60.0"),
    (BROKER, "quorum_tick_interval, 1000", "quorum_tick_interval, 4000", "broker.queue_interval = 4.0"),
    (BROKER, "basic.minute = 1", "basic.minute = 3", "broker.sample_interval = 3.0"),
]


def test_a_changed_manifest_changes_what_is_simulated(tmp_path):
    """A copy of the tree with other values in it."""
    for folder in ("hpa", "k8s", "common"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "worker").mkdir()
    shutil.copy(ROOT / "worker" / "pod.c", tmp_path / "worker")
    expected = set()
    for file, old, new, line in CHANGES:
        path = tmp_path / file
        assert old in path.read_text(), (file, old)
        path.write_text(path.read_text().replace(old, new))
        expected.add(line)
    done = subprocess.run([tmp_path / "hpa" / "simulate", "--settings"], capture_output=True, text=True, check=True)
    assert expected <= set(done.stdout.splitlines()), expected - set(done.stdout.splitlines())


def scaled_object(**trigger):
    return {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
            "metadata": {"name": "w", "labels": {"app.kubernetes.io/component": "spin"}},
            "spec": {"scaleTargetRef": {"name": "w"}, "triggers": [{"type": "rabbitmq", "metadata": {
                "queueName": "q", **trigger}}]}}


def test_what_a_manifest_leaves_open_is_what_keda_and_kubernetes_make_of_it():
    scale = manifests.scale_of(scaled_object())
    assert (scale.value, scale.min, scale.max, scale.polling, scale.cooldown) == (20, 0, 100, 30, 300)
    assert scale.up.window == 0 and {policy.type for policy in scale.up.policies} == {"Pods", "Percent"}
    assert scale.down.window == 300 and scale.up.tolerance == 0.1


def with_field(path, value):
    document = scaled_object()
    *path, last = path
    at = document["spec"]
    for name in path:
        at = at[name]
    at[last] = value
    return document


@pytest.mark.parametrize("document, words", [
    (scaled_object(mode="MessageRate"), "no mode but QueueLength"),
    (scaled_object(value="many"), "ScaledObject w: .*many"),
    (with_field(["triggers"], []), "ScaledObject w: the simulator knows one trigger of type rabbitmq"),
    (with_field(["triggers", 0, "metadata"], {}), "ScaledObject w: .*queueName"),
    (with_field(["advanced"], 3), "ScaledObject w: "),
    ({"kind": "ScaledObject"}, "ScaledObject None: .*metadata"),
    (scaled_object(), "there is no Deployment w"),
])
def test_what_it_does_not_know_it_refuses(document, words):
    with pytest.raises(SettingsError, match=words):
        manifests.settings_of([document])
    with pytest.raises(SettingsError, match="no ScaledObject"):
        manifests.settings_of([])


@pytest.mark.parametrize("text, value", [("10s", 10), ("1m30s", 90), ("2h", 7200), ("0", 0), ("500ms", 0.5)])
def test_durations_are_read_as_flags_have_them(text, value):
    assert manifests.seconds(text) == value


@pytest.mark.parametrize("text", ["", "10", "10x5s", "5 s", "1.2.3s"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises((SettingsError, ValueError)):
        manifests.seconds(text)


@pytest.mark.parametrize("text, value", [("1Gi", 1 << 30), ("512Mi", 512 << 20), ("2G", 2e9), (1024, 1024)])
def test_amounts_of_memory_are_read_as_kubernetes_has_them(text, value):
    assert manifests.size(text) == value


# ---- what it says ----------------------------------------------------------------------------------------------


def test_each_value_has_a_line_and_they_differ():
    table = rows(simulate("minute", "--set", "scale.max=8,96"))
    assert [row["nodes"] for row in table] == ["8", "96"]
    assert int(table[0]["p95"]) > int(table[1]["p95"])


def test_a_file_of_jobs_is_replayed_and_explained_and_drawn(tmp_path):
    jobs = tmp_path / "jobs.csv"
    jobs.write_text("arrived,seconds,kind\n"
                    + "".join(f"{100 + n},120,{'hash' if n % 3 else 'matrix'}\n" for n in range(30)))
    output = simulate(jobs, "--explain", "--svg", tmp_path / "curves.svg")
    row, = rows(output)
    assert row["jobs"] == "30" and row["killed"] == "0" and float(row["used core-s"]) == 3600
    decisions = [line for line in output.splitlines() if re.match(r" +[0-9.]+ s  ", line)]
    times = [float(line.split()[0]) for line in decisions]
    assert times == sorted(times) and 100 < times[0] < 115
    for words in ("keda millrace-worker-hash: 2", "hpa millrace-worker-matrix: ", "more nodes of millrace-worker",
                  "is ready after", "ends millrace-worker-", "no job for more than 60 s: 1 -> 0"):
        assert any(words in line for line in decisions), words
    svg = ET.parse(tmp_path / "curves.svg").getroot()
    name = "{http://www.w3.org/2000/svg}"
    assert len(svg.findall(f"{name}path")) == 6
    texts = {text.text for text in svg.iter(f"{name}text")}
    assert {"backlog", "paid", "used", "pods", "nodes"} <= texts


def test_an_explanation_can_be_of_a_part():
    output = simulate("spike", "--explain", "600-660")
    times = [float(line.split()[0]) for line in output.splitlines() if re.match(r" +[0-9.]+ s  ", line)]
    assert times and 600 <= min(times) and max(times) <= 660


def test_the_same_command_says_the_same():
    assert run("minute") == run("minute") != run("minute", "--seed", 2)


@pytest.mark.parametrize("arguments, words", [
    (["nothing.csv"], "nothing.csv: No such file"),
    (["--overlay", "nowhere"], "there is no overlay 'nowhere'"),
    (["--set", "scale.nothing=1"], "there is no setting 'scale.nothing'"),
    (["--set", "scale.max"], "--set takes NAME=VALUE"),
    (["--case", "few: scale.max"], "--case takes NAME=VALUE"),
    (["--set", "node.labels=x"], "node.labels does not take 'x'"),
    (["--rate", "0"], "a number from 0.001 to 1e+06 is needed, not 0"),
    (["--rate", "1e308"], "is needed, not 1e308"),
    (["--cv", "nan"], "is needed, not nan"),
    (["--component", "nothing"], "there is no component 'nothing'"),
    (["--component", "calendar", "--component", "cpu-hpa"], "there is no ScaledObject"),
    (["--targets", "minute"], "there is no target for minute"),
    (["--kind", "nonsense", "--settings"], "is for kind 'nonsense'"),
    (["--nodes", __file__], "test_simulate.py: "),
    (["minute", "--explain", "9-3"], "--explain takes FROM-TO"),
    (["--kind", "nonsense"], "no ScaledObject among the manifests is for kind 'nonsense'"),
    (["minute", "--explain", "soon"], "--explain takes FROM-TO"),
    (["--overlay", "local", "--set", "autoscaler.scan=1"], "no Cluster Autoscaler"),
])
def test_a_mistake_is_said_in_a_sentence(arguments, words):
    output = simulate(*arguments, status=2)
    assert words in output and "Traceback" not in output


@pytest.mark.parametrize("text, words", [
    ("", "has to name the columns"), ("arrived,seconds\n", "no job in it"),
    ("arrived,seconds\n1,2\n3,long\n", "line 3"), ("arrived,seconds\n1,-2\n", "line 2"),
    ("arrived,seconds\n1,nan\n", "line 2"), ("arrived,seconds\n1e300,1\n", "within a year"),
    ("arrived,seconds\n1,\udcff\n", "is no CSV file"),
])
def test_a_file_that_is_no_trace_is_refused_with_its_line(tmp_path, text, words):
    jobs = tmp_path / "jobs.csv"
    jobs.write_text(text, errors="surrogateescape")
    assert words in simulate(jobs, status=2)


def test_one_machine_has_one_node_that_nobody_orders():
    row, = rows(simulate("minute", "--overlay", "local", "--rate", 60, "--job-seconds", 5))
    assert row["nodes"] == "1" and row["pods"] == "4"


def test_a_target_names_each_miss():
    class Bad:
        ratio, killed, completed, submitted = 9.0, 3, 1, 2

        @staticmethod
        def wait_beyond_boot(_share):
            return 61.0
    assert len(list(report.TARGETS[0].misses(Bad))) == 4


def test_axes_have_round_steps():
    assert [plot.step_of(top, 4) for top in (0, 3, 7, 96, 384, 1000)] == [1, 1, 2, 50, 100, 500]


def commands_of_the_page():
    """[(arguments, what the page says it prints)] of docs/scaling.md."""
    page = (ROOT / "docs" / "scaling.md").read_text()
    blocks = re.findall(r"```\n\$ hpa/simulate (.*?[^\\])\n(.*?)```", page, re.DOTALL)
    return [(shlex.split(command.replace("\\\n", " ")), printed) for command, printed in blocks]


@pytest.mark.parametrize("arguments, printed", commands_of_the_page(),
                         ids=lambda value: value[0] if isinstance(value, list) else "")
def test_the_page_on_scaling_says_what_the_program_says(arguments, printed):
    if arguments[0] == "day" and not LONG:
        pytest.skip("only under ./run test --all")
    output = simulate(*arguments)
    for line in printed.strip().splitlines():
        assert line in output.splitlines(), output


def test_the_page_on_scaling_has_such_commands():
    assert {block[0][0] for block in commands_of_the_page()} == {"--targets", "day", "burst", "step", "minute", "week"}


def test_the_lag_is_measured_with_the_clocks_that_are_simulated():
    """./run bench lag reads them from the local overlay's broker."""
    source = "import sys; sys.path.insert(0, 'loadtest'); import bench, benches.lag as lag; " \
             "ms, lines = lag.shipped(); print(ms / 1000, " \
             "lag.seconds_of(lines, 'management.sample_retention_policies.basic.minute'))"
    said = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    broker = manifests.settings_of(rendered("local").objects).broker
    assert [float(word) for word in said.split()] == [broker.queue_interval, broker.sample_interval]


def test_it_needs_nothing_but_debians_yaml():
    sources = [*(ROOT / "hpa" / "simulator").glob("*.py"), PROGRAM]
    imported = {name for path in sources
                for name in re.findall(r"^(?:from|import) (\w+)", path.read_text(), re.MULTILINE)}
    assert imported - set(sys.stdlib_module_names) == {"simulator", "yaml"}
    assert yaml.__name__ == "yaml" and os.access(PROGRAM, os.X_OK)
    assert all(len(path.read_text().splitlines()) <= 500 for path in sources)
