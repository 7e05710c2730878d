# SPDX-License-Identifier: Apache-2.0
"""What Prometheus is told to ask in a cluster: everybody once, by the labels that dashboards and alarms look for."""
import re

import yaml

from manifests import ROOT, quantity, rendered, selects
from watching import COMPONENT, of_alarms, of_dashboards

NODE = "__meta_kubernetes_pod_node_name"


def endpoints(cluster):
    """(what it selects, its endpoint) of each monitor."""
    for kind, field in (("PodMonitor", "podMetricsEndpoints"), ("ServiceMonitor", "endpoints")):
        for one in cluster.all(kind):
            for endpoint in one["spec"][field]:
                yield one, endpoint


def values():
    return yaml.safe_load((ROOT / "deploy" / "charts" / "kube-prometheus-stack.yaml").read_text())


def test_every_gateway_is_asked_once():
    cluster = rendered("eks")
    monitor, = cluster.all("ServiceMonitor")
    endpoint, = monitor["spec"]["endpoints"]
    services = [one for one in cluster.all("Service") if selects(monitor["spec"]["selector"], one["metadata"]["labels"])]
    service, = [one for one in services if endpoint["port"] in {port.get("name") for port in one["spec"]["ports"]}]
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"]
    gateways = cluster.selected({"matchLabels": service["spec"]["selector"]}, "millrace")
    assert [pod.name for pod in gateways] == ["millrace-api"]
    assert not any(selects(one["spec"]["selector"], pod.labels) for one in cluster.all("PodMonitor") for pod in gateways)


def test_every_pod_of_ours_that_has_numbers_is_asked():
    cluster = rendered("eks")
    asked = {pod.name for one in cluster.all("PodMonitor") for pod in cluster.selected(one["spec"]["selector"], "millrace")}
    have = {pod.name for pod in cluster.pods for port in pod.container.get("ports", ())
            if pod.namespace == "millrace" and port.get("name") in ("metrics", "prometheus")}
    assert have - asked == {"millrace-api"}  # by a Service


def test_the_node_of_what_computes_is_told():
    for one, endpoint in endpoints(rendered("eks")):
        if one["metadata"]["name"] in ("millrace-api", "millrace-worker", "millrace-rabbitmq"):
            assert {"sourceLabels": [NODE], "targetLabel": "node"} in endpoint["relabelings"], one["metadata"]["name"]


def test_the_chart_takes_what_is_not_its_own():
    spec = values()["prometheus"]["prometheusSpec"]
    assert not any(spec[f"{what}SelectorNilUsesHelmValues"] for what in ("serviceMonitor", "podMonitor", "rule", "probe"))


def test_the_chart_gives_nodes_the_names_that_queries_join_by():
    relabelings = values()["prometheus-node-exporter"]["prometheus"]["monitor"]["relabelings"]
    assert [one["sourceLabels"] for one in relabelings if one["targetLabel"] == "node"] == [[NODE]]
    allowed, = values()["kube-state-metrics"]["metricLabelsAllowlist"]
    told = {"label_" + re.sub(r"\W", "_", label) for label in re.fullmatch(r"nodes=\[(.*)\]", allowed)[1].split(",")}
    used = {name for one in of_dashboards("1m") + of_alarms() for name in re.findall(r"\blabel_\w+", one.text)}
    assert used and used <= told
    worker, = [group for group in yaml.safe_load((ROOT / "hpa" / "nodes.yaml").read_text())["groups"]
               if group["name"] == "millrace-worker"]
    assert {"label_" + re.sub(r"\W", "_", label) for label in worker["labels"]} & used


def test_the_volume_is_of_a_class_that_is_there_and_is_not_filled():
    spec = values()["prometheus"]["prometheusSpec"]
    claim = spec["storageSpec"]["volumeClaimTemplate"]["spec"]
    assert claim["storageClassName"] in {one["metadata"]["name"] for one in rendered("eks").all("StorageClass")}
    kept = float(spec["retentionSize"].removesuffix("GB")) * 1e9
    assert kept < 0.9 * quantity(claim["resources"]["requests"]["storage"])


def test_node_exporter_is_on_every_node_and_fits_there():
    exporter = values()["prometheus-node-exporter"]
    assert {"operator": "Exists"} in exporter["tolerations"]
    for group in yaml.safe_load((ROOT / "hpa" / "nodes.yaml").read_text())["groups"]:
        assert quantity(exporter["resources"]["requests"]["cpu"]) < quantity(group["daemons"]["cpu"]) / 4


def test_one_version_of_the_exporter_of_redis():
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["store-numbers"]["image"]
    assert rendered("eks").pod("millrace-redis-exporter").container["image"] == compose


def test_compose_asks_for_single_queues_as_a_cluster_does():
    compose = yaml.safe_load(yaml.safe_load((ROOT / "compose.yaml").read_text())["configs"]["prometheus"]["content"])
    detailed, = [one for monitor in yaml.safe_load_all((COMPONENT / "monitors.yaml").read_text())
                 for one in monitor["spec"].get("podMetricsEndpoints", ()) if "params" in one]
    assert {(one["metrics_path"], *one["params"]["family"]) for one in compose["scrape_configs"] if "params" in one} == \
        {(detailed["path"], *detailed["params"]["family"])}
