# SPDX-License-Identifier: Apache-2.0
"""What scales, by what, how far, onto which nodes, and what a pod that is scaled in is granted."""
import math
import re

import pytest

from manifests import KINDS, ROOT, defined, each_rendering, groups_of_nodes, quantity, rendered

MIB = 1 << 20


def queue_of(kind):
    """As common/broker/topology.c names it, which the gateway declares for every kind."""
    pattern = re.search(r'topology_work_queue\(.*?snprintf\(out, QUEUE_NAME_BYTES, "([^"]+)"',
                        (ROOT / "common/broker/topology.c").read_text(), re.DOTALL)[1]
    return pattern.replace("%s", kind)


def scalers(cluster):
    return cluster.all("ScaledObject") + cluster.all("ScaledJob") + cluster.all("HorizontalPodAutoscaler")


def target(scaler):
    return scaler["spec"].get("scaleTargetRef", scaler["metadata"])["name"]


def maximum(scaler):
    return scaler["spec"].get("maxReplicaCount") or scaler["spec"]["maxReplicas"]


# ---- what scales ----------------------------------------------------------------------------------------------


@each_rendering()
def test_every_worker_has_one_scaler_and_no_number_of_its_own(cluster):
    assert sorted(target(one) for one in scalers(cluster)) == sorted(pod.name for pod in cluster.workers)
    for pod in cluster.workers:
        assert "replicas" not in pod.owner["spec"], "an apply would fight with the autoscaler"


@each_rendering("local", "eks", "ec2", "local-tolerance", "eks-scaledjob")
def test_the_backlog_is_that_of_the_kind_as_the_gateway_declares_it(cluster):
    queues = set()
    for one in cluster.all("ScaledObject") + cluster.all("ScaledJob"):
        pod = cluster.pod(target(one))
        trigger, = one["spec"]["triggers"]
        queue = trigger["metadata"]["queueName"]
        assert queue == queue_of(pod.kind) and pod.env(cluster)["MILLRACE_KINDS"] == pod.kind
        assert trigger["metadata"]["value"] == pod.env(cluster)["MILLRACE_SLOTS"]
        queues.add(queue)
        assert trigger["type"] == "rabbitmq" and trigger["metadata"]["mode"] == "QueueLength"
        assert trigger["metadata"]["protocol"] == "http", "AMQP counts waiting jobs alone: busy pods would be deleted"
        assert "excludeUnacknowledged" not in trigger["metadata"]
        cluster.get("TriggerAuthentication", trigger["authenticationRef"]["name"])
    assert queues == {queue_of(kind) for kind, _ in KINDS}


def test_working_hours_stand_beside_the_queue_and_within_its_maximum():
    plain, cluster = rendered("eks"), rendered("eks-calendar")
    kept = {}
    for one in cluster.all("ScaledObject"):
        queue, *hours = one["spec"]["triggers"]
        assert [queue] == plain.get("ScaledObject", one["metadata"]["name"])["spec"]["triggers"]
        for trigger in hours:
            assert trigger["type"] == "cron" and "authenticationRef" not in trigger
            kept[target(one)] = int(trigger["metadata"]["desiredReplicas"])
            assert 0 < kept[target(one)] <= maximum(one) and one["spec"]["minReplicaCount"] == 0
    assert kept


@each_rendering("local", "eks", "ec2", "local-tolerance", "eks-scaledjob")
def test_a_broker_that_is_away_moves_nothing(cluster):
    assert not any("fallback" in one["spec"] for one in cluster.all("ScaledObject"))


@each_rendering("local", "eks", "ec2", "local-tolerance", "eks-scaledjob")
def test_scaling_is_said_in_full(cluster):
    for one in cluster.all("ScaledObject"):
        spec = one["spec"]
        behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        for direction in ("scaleUp", "scaleDown"):
            assert {"stabilizationWindowSeconds", "selectPolicy", "policies"} <= set(behavior[direction])
        assert spec["pollingInterval"] == 5 and spec["minReplicaCount"] == 0 and "cooldownPeriod" in spec
        up, = behavior["scaleUp"]["policies"]
        assert up["type"] == "Pods" and up["value"] >= spec["maxReplicaCount"], "one step to what the backlog asks for"
        assert (behavior["scaleUp"].get("tolerance") == "0") == (cluster.name == "local-tolerance")


@each_rendering("local-cpu-hpa", "eks-cpu-hpa")
def test_without_keda_nothing_of_it_is_left(cluster):
    assert not [one for one in cluster.objects if one["apiVersion"].startswith("keda.sh")]
    by_backlog = {target(one): maximum(one) for one in rendered("eks").all("ScaledObject")}
    assert {target(one): maximum(one) for one in cluster.all("HorizontalPodAutoscaler")} == by_backlog
    for one in cluster.all("HorizontalPodAutoscaler"):
        cluster.pod(target(one)).request("cpu")  # utilization is of the request


def test_a_job_for_each_message_runs_one_and_ends():
    cluster = rendered("eks-scaledjob")
    one, = cluster.all("ScaledJob")
    pod = cluster.pod(one["metadata"]["name"])
    assert pod.container["args"] == ["--once"] and pod.spec["restartPolicy"] == "Never"
    assert one["spec"]["rollout"]["strategy"] == "gradual", "a change of the object would end jobs that run"
    plain = rendered("eks").pod(pod.name)
    assert pod.container["image"] == plain.container["image"] and pod.spec["tolerations"] == plain.spec["tolerations"]
    longest = int(pod.env(cluster)["MILLRACE_TIMEOUT_MAX_SECONDS"])
    assert longest > int(plain.env(rendered("eks"))["MILLRACE_TIMEOUT_MAX_SECONDS"])
    assert int(cluster.pod("millrace-api").env(cluster)["MILLRACE_TIMEOUT_MAX_SECONDS"]) == longest


# ---- what scaling in costs -------------------------------------------------------------------------------------


@each_rendering()
def test_the_longest_job_fits_into_the_grace_of_its_worker(cluster):
    after_s = math.ceil(sum(defined("worker/main.c", name) for name in ("HANDBACK_MS", "LEAVE_MS")) / 1000)
    for pod in cluster.workers:
        env = pod.env(cluster)
        grace_s = int(env["MILLRACE_GRACE_SECONDS"])
        assert grace_s >= int(env["MILLRACE_TIMEOUT_MAX_SECONDS"]) >= int(env["MILLRACE_TIMEOUT_SECONDS"])
        assert pod.spec["terminationGracePeriodSeconds"] > grace_s + after_s, pod.name
        assert "lifecycle" not in pod.container, "a hook would be taken from the grace"


@each_rendering()
def test_a_gateway_has_the_time_to_answer(cluster):
    pod = cluster.pod("millrace-api")
    sleep_s = pod.container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod.spec["terminationGracePeriodSeconds"] > sleep_s + defined("api/main.c", "STOP_MAX_MS") / 1000


@each_rendering()
def test_no_node_is_taken_from_under_a_worker(cluster):
    for pod in cluster.workers:
        assert pod.annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
        assert pod.annotations["karpenter.sh/do-not-disrupt"] == "true"
    assert not any("millrace-worker" in str(one["spec"]["selector"]) for one in cluster.all("PodDisruptionBudget"))


def broker_config(cluster):
    """Of RabbitMQ: name -> value, and the text of advanced.config."""
    if cluster.all("RabbitmqCluster"):
        said = cluster.get("RabbitmqCluster", "millrace-rabbitmq")["spec"]["rabbitmq"]
        text, advanced = said["additionalConfig"], said["advancedConfig"]
    else:
        data, = [one["data"] for one in cluster.all("ConfigMap") if "rabbitmq.conf" in one["data"]]
        text, advanced = data["rabbitmq.conf"], data["advanced.config"]
    return dict(re.findall(r"^([\w.]+) = (.*)$", text, re.MULTILINE)), advanced


@each_rendering("local", "eks", "ec2")
def test_the_broker_lets_the_longest_job_be_and_counts_every_second(cluster):
    config, advanced = broker_config(cluster)
    longest_ms = 1000 * max(int(pod.env(cluster)["MILLRACE_TIMEOUT_MAX_SECONDS"]) for pod in cluster.workers)
    assert int(config["consumer_timeout"]) > longest_ms + 3600 * 1000
    assert "collect_statistics_interval" in config
    assert config["management.sample_retention_policies.basic.minute"] == "1"
    assert "{quorum_tick_interval, 1000}" in advanced


def test_both_brokers_are_set_up_alike():
    (single, advanced), (members, advanced_members) = (broker_config(rendered(name)) for name in ("local", "eks"))
    own = {"log.console", "total_memory_available_override_value", "disk_free_limit.absolute"}
    assert {name: members.get(name) for name in set(single) - own} == {name: single[name] for name in set(single) - own}
    assert advanced.split() == advanced_members.split()


# ---- how it fits onto nodes ------------------------------------------------------------------------------------


def room(group, what):
    node = groups_of_nodes()[group]
    return quantity(node["allocatable"][what]) - quantity(node["daemons"][what])


def test_workers_fill_a_node_to_the_last_cpu():
    pods = rendered("eks").workers
    cores = groups_of_nodes()["millrace-worker"]["cores"]
    for pod in pods:
        slots = int(pod.env(rendered("eks"))["MILLRACE_SLOTS"])
        fitting = math.floor(round(room("millrace-worker", "cpu") / pod.request("cpu"), 6))
        assert fitting * slots == cores, pod.name
        assert pod.limit("cpu") == slots
        assert fitting * pod.request("memory") <= room("millrace-worker", "memory")


def test_allocatable_is_what_eks_leaves():
    for group in groups_of_nodes().values():
        cores = group["cores"]
        reserved = 60 + 10 + 2 * 5 + 2.5 * (cores - 4) if cores >= 4 else 70
        assert quantity(group["allocatable"]["cpu"]) == pytest.approx(cores - reserved / 1000)


@each_rendering()
def test_memory_of_an_executor_leaves_room_for_its_worker(cluster):
    for pod in cluster.workers:
        own = quantity(pod.env(cluster)["MILLRACE_MEMORY_MAX"])
        slots = int(pod.env(cluster)["MILLRACE_SLOTS"])
        assert slots * own + 128 * MIB <= pod.limit("memory"), pod.name
        if not cluster.name.startswith("local"):
            assert pod.request("memory") == pod.limit("memory"), "a node that runs short would kill it"


@each_rendering("local", "eks")
def test_the_store_has_room_beside_what_is_kept_for_a_bad_day(cluster):
    pod = cluster.pod("millrace-redis")
    room_bytes = quantity(pod.env(cluster)["REDIS_MAXMEMORY"].removesuffix("mb")) * MIB
    assert room_bytes * 1.5 <= pod.limit("memory"), "rewriting its file copies what changes meanwhile"
    defaults = dict(re.findall(r'"MILLRACE_(KEPT_MAX|OUTBOX_MAX)", *\d+, \d+, "(\d+)"',
                               (ROOT / "common" / "settings.def").read_text()))
    env = cluster.pod("millrace-api").env(cluster)
    for_bad_days = sum(int(env.get(f"MILLRACE_{name}", default)) for name, default in defaults.items())
    assert len(defaults) == 2 and for_bad_days <= 0.6 * room_bytes


@each_rendering("local", "eks")
def test_a_gateway_has_memory_for_all_its_connections(cluster):
    pod = cluster.pod("millrace-api")
    connections = int(pod.env(cluster)["MILLRACE_CONNECTIONS_MAX"])
    assert connections * (256 + 64) * 1024 < 0.75 * pod.limit("memory"), "each may hold an input that travels in a message"


@each_rendering()
def test_every_container_has_limits(cluster):
    for pod in cluster.pods:
        if pod.app not in ("cluster-autoscaler", "cloud-controller-manager"):
            assert pod.limit("cpu") and pod.limit("memory") and pod.request("cpu") and pod.request("memory")


def test_the_maxima_fit_the_nodes_and_each_other():
    cluster = rendered("eks")
    nodes = groups_of_nodes()
    workers = nodes["millrace-worker"]
    assert sum(maximum(one) * cluster.pod(target(one)).request("cpu") for one in scalers(cluster)) <= (
        workers["max"] * room("millrace-worker", "cpu"))
    flags = cluster.pod("cluster-autoscaler").container["command"]
    assert f"--max-nodes-total={sum(group['max'] for group in nodes.values())}" in flags


def test_the_rest_fits_the_system_nodes():
    """Nobody of it goes to a worker node, whose taint it does not tolerate; what must lie apart does."""
    cluster = rendered("eks")
    taint, = groups_of_nodes()["millrace-worker"]["taints"]
    needs = {"cpu": 0, "memory": 0}
    for pod in cluster.pods:
        if pod in cluster.workers:
            assert taint["key"] in {one["key"] for one in pod.spec["tolerations"]}
            assert pod.spec["nodeSelector"].items() <= groups_of_nodes()["millrace-worker"]["labels"].items()
            continue
        assert not pod.spec.get("tolerations") and not pod.spec.get("nodeSelector"), pod.name
        for what, number in needs.items():
            needs[what] = number + pod.request(what) * pod.owner["spec"]["replicas"]
    count = groups_of_nodes()["system"]["min"]
    for what, number in needs.items():
        assert number <= 0.75 * count * room("system", what), "KEDA, DNS and monitoring need room too"
    on_one = sum(cluster.pod(name).request("cpu") for name in ("millrace-api", "millrace-rabbitmq", "millrace-redis"))
    assert on_one <= room("system", "cpu")


def test_a_gateway_is_granted_all_it_asks_for():
    resources = rendered("eks").pod("millrace-api").container["resources"]
    assert resources["requests"] == resources["limits"]


def test_the_autoscaler_of_nodes_waits_for_the_longest_grace():
    cluster = rendered("eks")
    flags = dict(re.findall(r"^--([\w-]+)=(.*)$", "\n".join(cluster.pod("cluster-autoscaler").container["command"]),
                            re.MULTILINE))
    assert int(flags["max-graceful-termination-sec"]) >= max(pod.spec["terminationGracePeriodSeconds"]
                                                             for pod in cluster.workers)
    assert flags["skip-nodes-with-local-storage"] == "false", "every worker has an emptyDir"
    assert flags["node-group-auto-discovery"].endswith("k8s.io/cluster-autoscaler/$(CLUSTER)")
    assert flags["expander"] == "least-waste"


def test_somebody_hears_when_a_maximum_is_reached():
    rules = [rule for one in rendered("eks").all("PrometheusRule") for group in one["spec"]["groups"]
             for rule in group["rules"]]
    assert {"MillraceWorkersAtMaximum", "MillraceNodesAtMaximum"} <= {rule["alert"] for rule in rules}
