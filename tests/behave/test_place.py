# SPDX-License-Identifier: Apache-2.0
"""millrace place on recorded clusters (tests/data/clusters, made for these tests), held against sums of our own; and with
a program in the place of kubectl that writes down what it is called with. No API server takes part."""
import json
import math
import os
import pathlib
import random
import signal
import stat
import subprocess
from fractions import Fraction

import pytest
from cli import INTERRUPTED, KUBECTL, LOCAL, NOWHERE, OK, PROGRAM, USAGE, Client
from harness import BUILD, REPOSITORY, eventually

CLUSTERS = pathlib.Path(REPOSITORY, "tests", "data", "clusters")
EXAMPLE = pathlib.Path(REPOSITORY, "examples", "batchJob.json")
SUFFIXES = {"n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "": 1, "k": 10**3, "M": 10**6,
            "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18,
            **{letter + "i": 1024**power for power, letter in enumerate("KMGTPE", 1)}}


# ---- quantities -------------------------------------------------------------------------


def amount(text):
    """A well-formed quantity as a fraction, by other means than those of the program."""
    text = str(text)
    mantissa = text.rstrip("numkKMGTPEi") if "e" not in text and not text[-1].isdigit() else text
    suffix = text[len(mantissa):]
    return Fraction(mantissa) * SUFFIXES[suffix]


def away(value, unit):
    """In units, rounded away from zero."""
    count = value / unit
    return math.ceil(count) if count >= 0 else math.floor(count)


def test_quantities_are_those_of_exact_fractions():
    dice = random.Random(6)
    texts = ["2E", "2e3", "2E3", "12e6", "0.1", "1.5Ki", "500m", "3.5Gi"]
    for _ in range(20000):
        text = dice.choice(["", "", "-", "+"]) + str(dice.randrange(10 ** dice.randrange(1, 22)))
        if dice.random() < 0.6:
            text += "." + "".join(dice.choices("0123456789", k=dice.randrange(0, 25)))
        text += dice.choice([*SUFFIXES, "", f"e{dice.randrange(-25, 25)}", f"E+{dice.randrange(20)}"])
        texts.append(text)
    said = subprocess.run([os.path.join(BUILD, "quantity-probe")], input="\n".join(texts) + "\n", capture_output=True,
                          text=True, check=True, timeout=60).stdout.splitlines()
    taken = 0
    for text, line in zip(texts, said, strict=True):
        exact = amount(text.lower() if "E" in text and text[-1].isdigit() else text)
        nano = away(exact, Fraction(1, 10**9))
        if abs(nano) > (2**63 - 1) * 10**9:
            assert line == "no", text
            continue
        rounded = Fraction(nano, 10**9)
        assert line == f"{nano} {away(rounded, Fraction(1, 1000))} {away(rounded, 1)}", text
        taken += 1
    assert taken > 10000


# ---- the packing ---------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path):
    """Calls the verb with a batch and a recorded cluster; the ended process."""
    client = Client("http://127.0.0.1:1")

    def call(batch, cluster, *words, status=OK):
        if not isinstance(batch, (str, os.PathLike)):
            (tmp_path / "batch.json").write_text(json.dumps(batch))
            batch = tmp_path / "batch.json"
        if isinstance(cluster, (dict, list)):
            (tmp_path / "cluster.json").write_text(json.dumps(cluster))
            cluster = tmp_path / "cluster.json"
        return client.run("place", "-f", batch, "--cluster", cluster, *words, status=status)
    return call


@pytest.fixture
def explained(place):
    return lambda batch, cluster, status=OK: json.loads(place(batch, cluster, "--explain", "--json", status=status).stdout)


def recorded(name):
    return CLUSTERS / f"{name}.json"


def one(name="one", cpu="1", memory="4e9", **more):
    return {"name": name, "image": "example:1", "cpu": cpu, "memory": memory, **more}


def requests_of(container):
    asked = container.get("resources", {}).get("requests", {})
    return [amount(asked.get(name, 0)) for name in ("cpu", "memory")]


def effective(spec):
    """What a pod takes: the peak of its start, or all at work; then its overhead."""
    total = []
    for i, name in enumerate(("cpu", "memory")):
        beside, peak = Fraction(0), Fraction(0)
        for init in spec.get("initContainers", []):
            peak = max(peak, beside + requests_of(init)[i])
            if init.get("restartPolicy") == "Always":
                beside += requests_of(init)[i]
        work = beside + sum(requests_of(container)[i] for container in spec["containers"])
        total.append(max(peak, work) + amount(spec.get("overhead", {}).get(name, 0)))
    return total


def free_of(file):
    items = json.loads(file.read_text())["items"]
    left = {item["metadata"]["name"]: [amount(item["status"]["allocatable"][name]) for name in ("cpu", "memory", "pods")]
            for item in items if item["kind"] == "Node"}
    for item in items:
        if item["kind"] == "Pod" and "nodeName" in item["spec"] and item["status"]["phase"] not in ("Succeeded", "Failed"):
            cpu, memory = effective(item["spec"])
            node = left[item["spec"]["nodeName"]]
            left[item["spec"]["nodeName"]] = [node[0] - cpu, node[1] - memory, node[2] - 1]
    return left


@pytest.mark.parametrize("cluster", ["balanced", "memory-poor", "guarded"])
def test_what_is_free_is_what_no_pod_requests(explained, cluster):
    told = {row["node"]: [Fraction(row["free_cpu_milli"], 1000), row["free_memory_bytes"], row["free_pods"]]
            for row in explained([one()], recorded(cluster))["ranking"]}
    assert told == free_of(recorded(cluster))


def test_init_containers_sidecars_overhead_and_ended_pods_count_as_the_scheduler_counts_them(explained):
    free = {row["node"]: row for row in explained([one()], recorded("balanced"))["ranking"]}
    assert free["even-5"]["free_cpu_milli"] == 7910 - 260 - 2200  # the migration beside its sidecar is the peak
    assert free["even-6"]["free_cpu_milli"] == 7910 - 260 - 500   # with its overhead
    assert free["even-1"]["free_cpu_milli"] == 7910 - 260 - 500   # what succeeded takes nothing
    assert free["even-1"]["free_pods"] == 58 - 4


def test_a_request_of_the_pod_itself_stands_for_its_containers(explained):
    cluster = json.loads(recorded("balanced").read_text())
    pod, = [item for item in cluster["items"] if item["metadata"]["name"] == "mesh-0"]
    pod["spec"]["resources"] = {"requests": {"cpu": "3"}}
    free = {row["node"]: row for row in explained([one()], cluster)["ranking"]}
    assert free["even-5"]["free_cpu_milli"] == 7910 - 260 - 3000
    assert free["even-5"]["free_memory_bytes"] == free_of(recorded("balanced"))["even-5"][1]


@pytest.mark.parametrize("cpu, memory, ratio, by", [("1", "4e9", 1, "cpu"), ("1", "4000000001", 0.99999999975, "memory"),
                                                    ("2", "4G", 2, "cpu"), ("500m", "4e9", 0.5, "memory")])
def test_the_ratio_decides_what_nodes_are_ranked_by(explained, cpu, memory, ratio, by):
    plan = explained([one(cpu=cpu, memory=memory, count=3)], recorded("memory-poor"))
    assert plan["ratio"] == pytest.approx(ratio, rel=1e-12) and plan["by"] == by
    key = "free_cpu_milli" if by == "cpu" else "free_memory_bytes"
    amounts = [row[key] for row in plan["ranking"]]
    assert amounts == sorted(amounts, reverse=True)
    assert plan["ranking"][0]["node"] == ("lean-2" if by == "cpu" else "wide-3")


def test_the_primary_fills_first_and_what_is_over_goes_to_the_next(explained):
    plan = explained([one(cpu="2", memory="1G", count=9)], recorded("balanced"))
    assert plan["jobs"][0]["on"] == [{"node": "even-6", "pods": 3}, {"node": "even-1", "pods": 3}, {"node": "even-2", "pods": 3}]
    assert plan["jobs"][0]["not_needed"] == 3


def terms_of(job):
    affinity = job["spec"]["template"]["spec"]["affinity"]
    assert list(affinity) == ["nodeAffinity"]
    assert list(affinity["nodeAffinity"]) == ["preferredDuringSchedulingIgnoredDuringExecution"]  # nothing is required
    return affinity["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]


def weights_of(job):
    """(weight, nodes), in their order."""
    found = []
    for term in terms_of(job):
        (kind, (need,)), = term["preference"].items()
        assert (kind, need["key"]) in (("matchExpressions", "kubernetes.io/hostname"), ("matchFields", "metadata.name"))
        assert need["operator"] == "In" and (kind == "matchExpressions" or len(need["values"]) == 1)
        found.append((term["weight"], need["values"]))
    return found


def big(count):
    return {"kind": "List", "items": [
        {"kind": "Node", "metadata": {"name": f"n-{i:02}", "labels": {"kubernetes.io/hostname": f"host-{i:02}"}},
         "status": {"allocatable": {"cpu": str(100 - i), "memory": "100Gi", "pods": "110"},
                    "conditions": [{"type": "Ready", "status": "True"}]}} for i in range(count)]}


def test_weights_fall_from_100_to_15_and_on_to_1(place):
    job, = json.loads(place([one()], big(20)).stdout)["items"]
    expected = [(100, ["host-00"])] + [(16 - i, [f"host-{i:02}"]) for i in range(1, 15)]
    assert weights_of(job) == expected + [(1, [f"host-{i:02}" for i in range(15, 20)])]


def test_a_node_without_a_hostname_is_preferred_by_its_name(place):
    job, = json.loads(place([one(nodeSelector={"kubernetes.io/arch": "arm64"})], recorded("guarded")).stdout)["items"]
    assert weights_of(job) == [(100, ["arm-1"])] and "matchFields" in terms_of(job)[0]["preference"]


def test_the_jobs_say_what_the_batch_said(place):
    listed = json.loads(place(EXAMPLE, recorded("balanced"), "--namespace", "night").stdout)
    assert (listed["apiVersion"], listed["kind"]) == ("v1", "List")
    jobs = {job["metadata"]["name"]: job for job in listed["items"]}
    wanted = {job["name"]: job for job in json.loads(EXAMPLE.read_text())["jobs"]}
    assert list(jobs) == ["train-model", "render-frames", "index-archive"]  # the largest first
    for name, want in wanted.items():
        job, spec = jobs[name], jobs[name]["spec"]["template"]["spec"]
        container, = spec["containers"]
        assert job["metadata"]["namespace"] == "night" and spec["restartPolicy"] == "Never"
        assert container["resources"] == {"requests": {"cpu": str(want["cpu"]), "memory": want["memory"]},
                                          "limits": {"memory": want["memory"]}}
        assert [container.get(key) for key in ("image", "command", "args")] == [want.get(key) for key in ("image", "command", "args")]
        assert [spec.get(key) for key in ("nodeSelector", "tolerations")] == [want.get(key) for key in ("nodeSelector", "tolerations")]
        assert job["spec"]["completions"] == job["spec"]["parallelism"] == want.get("count", 1)
    assert "namespace" not in json.loads(place(EXAMPLE, recorded("balanced")).stdout)["items"][0]["metadata"]


def test_a_number_is_written_with_the_digits_that_it_had(place):
    job, = json.loads(place([one(cpu=0.1, memory=12e6)], recorded("balanced")).stdout)["items"]
    asked = job["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]
    assert asked["cpu"] == "0.1" and amount(asked["memory"]) == 12000000


def test_parallelism_bounds_what_is_placed_at_a_time(explained, place):
    batch = [one(cpu="7", count=1000, parallelism=6)]
    assert sum(row["pods"] for row in explained(batch, recorded("balanced"), NOWHERE)["jobs"][0]["on"]) == 4
    job, = json.loads(place(batch, recorded("balanced"), status=NOWHERE).stdout)["items"]
    assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (1000, 6)


# ---- taints, labels, room ------------------------------------------------------------------------


def nodes_of(plan):
    return {row["node"]: row["pods"] for row in plan["jobs"][0]["on"]}


def reasons(plan):
    return {row["node"]: row["why"] for row in plan["jobs"][0]["not"]}


def test_each_refusal_has_its_reason(explained):
    why = reasons(explained([one(nodeSelector={"kubernetes.io/arch": "amd64"}, cpu="7", count=2)], recorded("guarded"), NOWHERE))
    assert why == {"batch-1": "the taint batch=only:NoSchedule is not tolerated",
                   "gpu-1": "the taint gpu=true:NoExecute is not tolerated", "dead-1": "it is not ready",
                   "leaving-1": "it is cordoned", "arm-1": "its label kubernetes.io/arch is not amd64",
                   "plain-1": "too small even when empty: it has 3.920 cores, 15.36 GB and room for 29 pods",
                   "plain-2": "too small even when empty: it has 3.920 cores, 15.36 GB and room for 4 pods"}


@pytest.mark.parametrize("toleration, taken", [
    ({"key": "batch", "operator": "Exists", "effect": "NoSchedule"}, True), ({"key": "batch", "operator": "Exists"}, True),
    ({"key": "batch", "value": "only", "effect": "NoSchedule"}, True), ({"operator": "Exists"}, True),
    ({"key": "batch", "operator": "Equal", "value": "only"}, True), ({"key": "batch", "value": "other"}, False),
    ({"key": "batch"}, False), ({"key": "batch", "operator": "Exists", "effect": "NoExecute"}, False),
    ({"key": "other", "operator": "Exists"}, False), ({"operator": "Exists", "effect": "NoSchedule"}, True)])
def test_tolerations_count_as_the_scheduler_counts_them(explained, toleration, taken):
    plan = explained([one(tolerations=[toleration])], recorded("guarded"))
    assert (nodes_of(plan) == {"batch-1": 1}) is taken


def test_a_dead_node_is_not_revived_and_a_cordoned_one_can_be_tolerated(explained):
    plan = explained([one(tolerations=[{"operator": "Exists"}], cpu="15", memory="1G", count=5)], recorded("guarded"), NOWHERE)
    assert nodes_of(plan) == {"batch-1": 2, "gpu-1": 1, "leaving-1": 1} and reasons(plan)["dead-1"] == "it is not ready"
    cordoned = {"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}
    assert "leaving-1" in nodes_of(explained([one(cpu="15", memory="1G", tolerations=[cordoned])], recorded("guarded")))


def test_a_node_that_is_to_be_spared_comes_last(place):
    job, = json.loads(place([one(nodeSelector={"kubernetes.io/arch": "amd64"})], recorded("guarded")).stdout)["items"]
    assert weights_of(job) == [(100, ["plain-1"]), (15, ["plain-2"]), (14, ["spare-1"])]


def test_a_node_has_only_so_many_pods(explained):
    batch = [one(cpu="1m", memory="1M", count=30, nodeSelector={"kubernetes.io/hostname": "plain-2"})]
    plan = explained(batch, recorded("guarded"), NOWHERE)
    assert nodes_of(plan) == {"plain-2": 1} and plan["jobs"][0]["nowhere"] == 29


def test_what_fits_nowhere_is_told_and_is_the_exit_status(place):
    batch = [one("huge", cpu="100"), one("some", cpu="7", count=6), one("fine", cpu="100m")]
    ended = place(batch, recorded("balanced"), status=NOWHERE)
    assert ended.stderr.splitlines() == [
        "millrace: huge: no node has room for 1 of 1 pods; --explain says why",
        "millrace: some: no node has room for 2 of 6 pods; --explain says why"]
    assert len(json.loads(ended.stdout)["items"]) == 3
    text = place(batch, recorded("balanced"), "--explain", status=NOWHERE).stdout
    assert "huge: 1 pod of 100.000 cores and 4.00 GB\n  nowhere: 1\n  not on even-6: too small even when empty" in text
    assert "not on even-5: full: left are 5.450 cores" in text


# ---- beside the scheduler ---------------------------------------------------------------------------


@pytest.mark.parametrize("cluster", ["balanced", "memory-poor", "guarded"])
def test_fewer_nodes_are_touched_than_by_the_scheduler_alone(explained, cluster):
    batch = [one("frames", "1", "1G", count=4), one("sums", "500m", "500M", count=4)]
    packed, preferring, alone = explained(batch, recorded(cluster))["comparison"]
    assert packed["nodes"] < alone["nodes"] and packed["nodes"] <= preferring["nodes"] <= alone["nodes"]
    assert packed["nowhere"] == preferring["nowhere"] == alone["nowhere"] == 0


def test_less_is_stranded_where_memory_is_short(explained):
    batch = [one("index", "500m", "5G", count=4), one("search", "1", "6G", count=3)]
    packed, _, alone = explained(batch, recorded("memory-poor"))["comparison"]
    assert packed["stranded_cpu_milli"] < alone["stranded_cpu_milli"]
    assert packed["stranded_memory_bytes"] < alone["stranded_memory_bytes"]


def test_the_scheduler_alone_spreads_and_its_scores_are_those_of_its_rules(explained):
    plan = explained([one(cpu="1", memory="4G", count=8)], big(4))
    assert [row["nodes"] for row in plan["comparison"]] == [1, 1, 4]


def random_cluster(dice):
    nodes = [{"kind": "Node", "metadata": {"name": f"node-{i}", "labels": {"kubernetes.io/hostname": f"node-{i}", "pool": dice.choice("ab")}},
              "spec": {"unschedulable": dice.random() < 0.1,
                       "taints": [{"key": dice.choice("xy"), "effect": dice.choice(["NoSchedule", "PreferNoSchedule"])}] if dice.random() < 0.3 else []},
              "status": {"allocatable": {"cpu": f"{dice.randrange(500, 16000)}m", "memory": f"{dice.randrange(1, 64)}Gi", "pods": str(dice.randrange(1, 30))},
                         "conditions": [{"type": "Ready", "status": dice.choice(["True"] * 9 + ["Unknown"])}]}} for i in range(dice.randrange(1, 12))]
    pods = [{"kind": "Pod", "metadata": {"name": f"pod-{i}"}, "status": {"phase": dice.choice(["Running"] * 5 + ["Succeeded"])},
             "spec": {"nodeName": f"node-{dice.randrange(12)}", "containers": [{"resources": {"requests": {
                 "cpu": f"{dice.randrange(2000)}m", "memory": f"{dice.randrange(4000)}Mi"}}}]}} for i in range(dice.randrange(20))]
    return {"kind": "List", "items": pods + nodes}


def random_batch(dice):
    return [one(f"job-{i}", f"{dice.randrange(1, 4000)}m", f"{dice.randrange(1, 8000)}Mi", count=dice.randrange(1, 9),
                **({"nodeSelector": {"pool": dice.choice("ab")}} if dice.random() < 0.3 else {}),
                **({"tolerations": [{"key": "x", "operator": "Exists"}]} if dice.random() < 0.4 else {})) for i in range(dice.randrange(1, 7))]


class Oracle:
    """Both ways of packing, worked out anew in the plainest way: pod by pod, with exact fractions."""

    def __init__(self, cluster, batch):
        (self.nodes, self.batch) = {item["metadata"]["name"]: item for item in cluster["items"] if item["kind"] == "Node"}, batch
        self.all = {name: [amount(node["status"]["allocatable"][what]) for what in ("cpu", "memory", "pods")] for name, node in self.nodes.items()}
        self.free = {name: list(amounts) for name, amounts in self.all.items()}
        for item in cluster["items"]:
            if item["kind"] == "Pod" and item["status"]["phase"] == "Running" and item["spec"]["nodeName"] in self.free:
                self.take(item["spec"]["nodeName"], effective(item["spec"]))
        self.free = {name: [max(each, 0) for each in amounts] for name, amounts in self.free.items()}
        total = [sum(amount(job[what]) * job["count"] for job in batch) for what in ("cpu", "memory")]
        self.first = 0 if total[0] / total[1] * 4 * 10**9 >= 1 else 1
        self.order = sorted(self.nodes, key=lambda name: (-self.free[name][self.first], -self.free[name][1 - self.first], name))
        self.jobs = sorted(batch, key=lambda job: (-amount(job[("cpu", "memory")[self.first]]), -amount(job[("memory", "cpu")[self.first]]), job["name"]))

    def take(self, name, need):
        self.free[name] = [self.free[name][0] - need[0], self.free[name][1] - need[1], self.free[name][2] - 1]

    def taints(self, job, name, effect):
        return [taint for taint in self.nodes[name]["spec"]["taints"]
                if taint["effect"] == effect and not ("tolerations" in job and taint["key"] == "x")]

    def ranking(self, job):
        good = [name for name in self.order if self.nodes[name]["status"]["conditions"][0]["status"] == "True"
                and not self.nodes[name]["spec"]["unschedulable"] and not self.taints(job, name, "NoSchedule")
                and job.get("nodeSelector", {}).items() <= self.nodes[name]["metadata"]["labels"].items()
                and self.all[name][0] >= amount(job["cpu"]) and self.all[name][1] >= amount(job["memory"]) and self.all[name][2] >= 1]
        return sorted(good, key=lambda name: bool(self.taints(job, name, "PreferNoSchedule")))

    def score(self, job, name, weights):
        need, free, every = [amount(job["cpu"]), amount(job["memory"])], self.free[name], self.all[name]
        least = sum(int((free[i] - need[i]) * 100 / every[i]) for i in (0, 1)) // 2
        used = [float(1 - (free[i] - need[i]) / every[i]) for i in (0, 1)]
        discouraged = {other: len(self.taints(job, other, "PreferNoSchedule")) for other in weights}
        score = least + int((1 - abs(used[0] - used[1]) / 2) * 100)
        score += 2 * (100 * weights[name] // max(weights.values())) if any(weights.values()) else 0
        return score + 3 * (100 - (100 * discouraged[name] // max(discouraged.values()) if any(discouraged.values()) else 0))

    def pack(self, choose):
        placed = {}
        for job in self.jobs:
            placed[job["name"]] = {}
            weights = {name: (100 if i == 0 else max(16 - i, 1)) for i, name in enumerate(self.ranking(job))}
            for _ in range(job["count"]):
                room = {name: weight for name, weight in weights.items() if self.free[name][0] >= amount(job["cpu"])
                        and self.free[name][1] >= amount(job["memory"]) and self.free[name][2] >= 1}
                if not room:
                    break
                name = choose(job, room)
                self.take(name, [amount(job["cpu"]), amount(job["memory"])])
                placed[job["name"]][name] = placed[job["name"]].get(name, 0) + 1
        return placed

    def best(self, job, weights):
        return min(weights, key=lambda name: (-self.score(job, name, weights), list(sorted(self.nodes)).index(name)))


def test_random_batches_are_packed_as_by_hand(explained, tmp_path):
    dice = random.Random(61)
    nowhere = 0
    for _ in range(120):
        cluster, batch = random_cluster(dice), random_batch(dice)
        ways = [Oracle(cluster, batch).pack(lambda job, room: next(iter(room))),
                (preferring := Oracle(cluster, batch)).pack(preferring.best),
                (alone := Oracle(cluster, batch)).pack(lambda job, room: alone.best(job, dict.fromkeys(room, 0)))]
        pods = sum(job["count"] for job in batch)
        left = [pods - sum(sum(on.values()) for on in way.values()) for way in ways]
        plan = explained(batch, cluster, NOWHERE if left[0] else OK)
        assert {job["job"]: {row["node"]: row["pods"] for row in job["on"]} for job in plan["jobs"]} == ways[0]
        assert [row["nowhere"] for row in plan["comparison"]] == left
        assert [row["nodes"] for row in plan["comparison"]] == [len(set().union(*way.values())) for way in ways]
        nowhere += left[0] > 0
    assert 10 < nowhere < 110  # both ends were seen


def test_a_large_batch_on_a_large_cluster_takes_seconds(explained):
    batch = [one(f"job-{i}", "1", "1G", count=10) for i in range(300)]
    assert explained(batch, big(99))["pods"] == 3000


# ---- kubectl ------------------------------------------------------------------------------------------

STAND_IN = """#!/bin/sh
echo "$@" >> "$STAND_IN/calls"
case $1 in
get) cat "$STAND_IN/cluster" ;;
apply) cat > "$STAND_IN/applied"; echo job.batch/one created ;;
esac
[ ! -e "$STAND_IN/hang" ] || exec sleep 60
[ ! -e "$STAND_IN/fails-$1" ] || { echo "error: $1 is refused" >&2; exit 3; }
"""


@pytest.fixture
def kubectl(tmp_path):
    """A folder with a recording kubectl, which client_of finds first."""
    folder = tmp_path / "kubectl"
    folder.mkdir()
    program = folder / "kubectl"
    program.write_text(STAND_IN)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    folder.joinpath("cluster").write_bytes(recorded("balanced").read_bytes())
    return folder


def client_of(folder):
    return Client("http://127.0.0.1:1", PATH=f"{folder}:/usr/bin:/bin", STAND_IN=folder)


def calls(folder):
    return (folder / "calls").read_text().splitlines()


def test_apply_gives_kubectl_what_is_printed_without_it(kubectl):
    client = client_of(kubectl)
    printed = client.run("place", "-f", EXAMPLE).stdout
    assert calls(kubectl) == ["get nodes,pods --all-namespaces -o json"]
    assert client.run("place", "-f", EXAMPLE, "--apply").stdout == "job.batch/one created\n"
    assert calls(kubectl)[1:] == ["get nodes,pods --all-namespaces -o json", "apply -f -"]
    assert (kubectl / "applied").read_text() == printed


def test_apply_with_an_explanation_does_both(kubectl):
    told = client_of(kubectl).run("place", "-f", EXAMPLE, "--apply", "--explain").stdout
    assert told.startswith("6 pods want") and told.endswith("job.batch/one created\n")


def test_nothing_is_applied_when_something_fits_nowhere_unless_it_may_wait(kubectl, tmp_path):
    (tmp_path / "batch.json").write_text(json.dumps([one(cpu="100")]))
    client = client_of(kubectl)
    told = client.run("place", "-f", tmp_path / "batch.json", "--apply", status=NOWHERE)
    assert "nothing is applied" in told.stderr and len(calls(kubectl)) == 1
    client.run("place", "-f", tmp_path / "batch.json", "--apply", "--allow-pending", status=NOWHERE)
    assert json.loads((kubectl / "applied").read_text())["items"][0]["metadata"]["name"] == "one"


@pytest.mark.parametrize("verb", ["get", "apply"])
def test_a_kubectl_that_fails_is_told_with_its_own_words(kubectl, verb):
    (kubectl / f"fails-{verb}").touch()
    ended = subprocess.run([PROGRAM, "place", "-f", EXAMPLE, "--apply"], env=client_of(kubectl).env, capture_output=True,
                           text=True, timeout=60, check=False)
    assert ended.returncode == KUBECTL
    assert ended.stderr == f"error: {verb} is refused\nmillrace: kubectl {verb} ended with 3\n"


def test_a_machine_without_kubectl_is_told(tmp_path):
    client = Client("http://127.0.0.1:1", PATH=tmp_path)
    assert "kubectl cannot be run: No such file" in client.run("place", "-f", EXAMPLE, status=KUBECTL).stderr


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"kind":"List","items":[]}', '{"kind":"Status"}'])
def test_a_kubectl_that_says_something_else_is_told(kubectl, text):
    (kubectl / "cluster").write_text(text)
    ended = client_of(kubectl).run("place", "-f", EXAMPLE, status=KUBECTL)
    assert len(ended.stderr.splitlines()) == 1 and "kubectl" in ended.stderr


def test_a_kubectl_that_is_killed_and_one_that_is_interrupted(kubectl):
    (kubectl / "hang").touch()
    for number, status in ((signal.SIGKILL, KUBECTL), (signal.SIGINT, INTERRUPTED)):
        (kubectl / "calls").unlink(missing_ok=True)
        running = subprocess.Popen([PROGRAM, "place", "-f", EXAMPLE], env=client_of(kubectl).env, stderr=subprocess.PIPE,
                                   stdout=subprocess.PIPE, start_new_session=True)
        with running:
            child = eventually(lambda: children_named(running.pid, "sleep"), what="kubectl hangs")
            if number == signal.SIGINT:
                os.killpg(running.pid, number)  # as Ctrl-C does: both of them
            else:
                os.kill(child, number)
            assert running.wait(20) == status, running.stderr.read()


def children_named(pid, name):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        for child in file.read().split():
            if pathlib.Path(f"/proc/{child}/comm").read_text().strip() == name:
                return int(child)
    raise AssertionError(f"no {name} yet")


# ---- what is no batch, and no cluster -----------------------------------------------------------------------

BAD = {
    "no list": [{}, {"jobs": {}}, [], {"jobs": []}],
    "it is no object": [[7], ["x"], [[]]],
    "its name is": [[one("Upper")], [one("-x")], [one("x-")], [one("")], [one("a.b")], [one("a" * 64)], [one("a b")],
                    [one(7)], [one("é")]],
    "it names no image": [[one(image="")], [one(image="a b")], [one(image=7)], [one(image="a\n")], [one(image="a" * 5000)]],
    "two jobs are named same": [[one("same"), one("same")], [one("same"), one("other"), one("same")]],
    "is nothing that it can say": [[one(memmory="1G")], [one(tolerations=[{"kay": "x"}])], {"jobs": [one()], "namespace": "night"}],
    "its cpu": [[one(cpu="")], [one(cpu="x")], [one(cpu="0")], [one(cpu="-1")], [one(cpu=None)], [one(cpu=[])], [one(cpu=True)],
                [one(cpu="1e30")], [one(cpu=0)], [one(cpu=-0.5)]],
    "its memory": [[one(memory="1GB")], [one(memory="0Gi")], [one(memory={})], [one(memory="8Ei")], [one(memory="-")]],
    "its count": [[one(count=0)], [one(count=-1)], [one(count="3")], [one(count=1.5)], [one(count=10**18)], [one(count=[])]],
    "its parallelism": [[one(parallelism=2)], [one(count=3, parallelism=4)], [one(count=10**9, parallelism=10**9)],
                        [one(count=10**6)]],
    "pods at a time": [[one("a", count=60000), one("b", count=60000)]],
    "command": [[one(command="date")], [one(command=[1])], [one(command={})], [one(command=["x" * 200000])]],
    "args": [[one(args="date")], [one(args=[None])]],
    "nodeSelector": [[one(nodeSelector=[])], [one(nodeSelector={"a": 1})], [one(nodeSelector={"": "x"})],
                     [one(nodeSelector={"a b": "x"})], [one(nodeSelector={"/a": "x"})], [one(nodeSelector={"a": "x y"})],
                     [one(nodeSelector={"a": "x" * 64})], [one(nodeSelector={"A_/a": "x"})]],
    "its tolerations": [[one(tolerations={})], [one(tolerations="x")]],
    "its toleration 1": [[one(tolerations=[7])], [one(tolerations=[{"operator": "In"}])], [one(tolerations=[{"effect": "Never"}])],
                         [one(tolerations=[{"key": 7}])], [one(tolerations=[{}])], [one(tolerations=[{"value": "x"}])],
                         [one(tolerations=[{"key": "a", "operator": "Exists", "value": "x"}])],
                         [one(tolerations=[{"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5}])]],
}


@pytest.mark.parametrize("part", BAD)
def test_a_batch_that_is_none_ends_in_a_sentence(place, part):
    for batch in BAD[part]:
        ended = place(batch, recorded("balanced"), status=LOCAL)
        assert part in ended.stderr and len(ended.stderr.splitlines()) == 1, (batch, ended.stderr)
        assert not ended.stdout


@pytest.mark.parametrize("text", ["[" * 100000, '{"jobs":' * 5000, '[{"name":"a","name":"b"}]', "[1e999]", "[99999999999999999999]",
                                  '["\\ud800"]', '[{"a":"\x01"}]', "[] []", '{"a":1', "\x00", "\u00e9", "[{]}", "7", "null", '["a\\u0000"]'])
def test_text_that_is_no_json_ends_in_a_sentence(place, tmp_path, text):
    for words in ((tmp_path / "bad", recorded("balanced")), (EXAMPLE, tmp_path / "bad")):
        (tmp_path / "bad").write_text(text)
        ended = place(*words, status=LOCAL)
        assert len(ended.stderr.splitlines()) == 1


def test_files_that_are_cut_or_damaged_never_crash_it(tmp_path):
    dice = random.Random(60)
    env = Client("http://127.0.0.1:1").env
    wholes = {"batch": EXAMPLE.read_bytes(), "cluster": recorded("guarded").read_bytes()}
    seen = set()
    for turn in range(400):
        which = dice.choice(list(wholes))
        data = bytearray(wholes[which])
        for _ in range(dice.randrange(1, 4)):
            at = dice.randrange(len(data))
            if turn % 3 == 0:
                del data[at:]
                break
            data[at:at + dice.randrange(3)] = dice.choice([b"", b"9", b"-", b'"', b"{", b"]", b"e", b"\xff", b"null", b",", b"[]"])
        files = {name: tmp_path / name for name in wholes}
        for name, file in files.items():
            file.write_bytes(data if name == which else wholes[name])
        ended = subprocess.run([PROGRAM, "place", "-f", files["batch"], "--cluster", files["cluster"],
                                *(["--explain"] if turn % 2 else [])], env=env, capture_output=True, timeout=60, check=False)
        assert ended.returncode in (OK, LOCAL, NOWHERE), (ended.returncode, ended.stderr)
        assert ended.returncode == OK or ended.stderr.startswith(b"millrace: ")
        seen.add(ended.returncode)
    assert {OK, LOCAL} <= seen


@pytest.mark.parametrize("change, words", [
    (lambda items: items.append(items[0]), "two nodes named plain-1"),
    (lambda items: items[0]["status"]["allocatable"].update(cpu="many"), "Node plain-1: 'many' is no quantity"),
    (lambda items: items[0]["status"]["allocatable"].update(memory=[]), "Node plain-1: memory is neither"),
    (lambda items: items[-1]["spec"]["containers"][0]["resources"]["requests"].update(cpu="x"), "'x' is no quantity"),
    (lambda items: items[0]["metadata"].pop("name"), "a node has no name"),
    (lambda items: items.clear(), "no nodes")])
def test_a_cluster_that_is_none_ends_in_a_sentence(place, change, words):
    cluster = json.loads(recorded("guarded").read_text())
    change(cluster["items"])
    ended = place(EXAMPLE, cluster, status=LOCAL)
    assert words in ended.stderr and len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("change", [
    lambda node: node.pop("status"), lambda node: node["status"].pop("allocatable"), lambda node: node["status"].pop("conditions"),
    lambda node: node.update(spec=7), lambda node: node["spec"].update(taints={}), lambda node: node["spec"].update(taints=[1, None]),
    lambda node: node["metadata"].update(labels=[]), lambda node: node["status"].update(allocatable={"cpu": "-5", "memory": "1", "pods": "-1"})])
def test_a_node_that_says_little_is_no_trouble(place, change):
    cluster = json.loads(recorded("guarded").read_text())
    change(cluster["items"][0])
    place(EXAMPLE, cluster, "--explain")


def test_a_folder_of_two_files_is_a_cluster(place, tmp_path):
    items = json.loads(recorded("balanced").read_text())["items"]
    folder = tmp_path / "recorded"
    folder.mkdir()
    (folder / "nodes.json").write_text(json.dumps({"kind": "NodeList", "items": [
        {key: value for key, value in item.items() if key != "kind"} for item in items if item["kind"] == "Node"]}))
    assert "pods.json" in place(EXAMPLE, folder, status=LOCAL).stderr
    (folder / "pods.json").write_text(json.dumps({"kind": "List", "items": [item for item in items if item["kind"] == "Pod"]}))
    assert place(EXAMPLE, folder).stdout == place(EXAMPLE, recorded("balanced")).stdout


def test_names_cannot_command_the_terminal(place):
    cluster = big(2)
    cluster["items"][1]["metadata"]["name"] = "n\033[2J"
    assert "\033" not in place([one(cpu="1000")], cluster, "--explain", status=NOWHERE).stdout


def test_the_command_line_is_checked(kubectl):
    client = client_of(kubectl)
    for words in ((), ("-f", EXAMPLE, "--namespace", "A"), ("-f", EXAMPLE, "--allow-pending"), ("-f", EXAMPLE, "more"),
                  ("-f", EXAMPLE, "--apply", "--cluster", recorded("balanced"))):
        client.run("place", *words, status=USAGE)
    assert not (kubectl / "calls").exists()
    client.run("place", "-f", "/nowhere", status=LOCAL)
    assert json.loads(client.out("place", "-f", "-", "--cluster", recorded("balanced"), input=json.dumps([one()])))["items"]
