# SPDX-License-Identifier: Apache-2.0
"""Who may speak to whom, by the network policies as Kubernetes understands them: what is needed, and nothing else."""
import ipaddress
from dataclasses import dataclass

import pytest

from manifests import each_rendering, selects


@dataclass(frozen=True)
class End:
    """One end of a connection: a pod, by its labels and namespace, or an address. HERE is the fleet's namespace."""
    labels: tuple = ()
    namespace: str = ""
    address: str = "198.51.100.7"


HERE = "the fleet's"


def ours(name):
    return End((("app.kubernetes.io/name", name),), HERE, "10.0.0.9")


API, WORKER, BROKER, STORE = (ours(f"millrace-{name}") for name in ("api", "worker", "rabbitmq", "redis"))
EXPORTER = ours("millrace-redis-exporter")
KEDA, MONITORING, DNS, OTHER = (End((), name, "10.0.0.8") for name in ("keda", "monitoring", "kube-system", "others"))
BESIDE = ours("somebody-elses")  # where the namespace is shared
ANYBODY, CLUSTER_API, METADATA = End(), End(address="172.20.0.1"), End(address="169.254.169.254")

ALLOWED = [
    (ANYBODY, API, 8080), (OTHER, API, 8080),
    (API, BROKER, 5672), (API, STORE, 6379), (WORKER, BROKER, 5672), (WORKER, STORE, 6379),
    (KEDA, BROKER, 15672), (WORKER, CLUSTER_API, 443),
    (MONITORING, API, 9090), (MONITORING, WORKER, 9090), (MONITORING, BROKER, 15692),
    *((one, DNS, 53) for one in (API, WORKER, BROKER, STORE)),
]
DENIED = [
    (ANYBODY, WORKER, 9090), (ANYBODY, BROKER, 5672), (ANYBODY, STORE, 6379), (ANYBODY, API, 9090),
    (OTHER, BROKER, 15672), (OTHER, STORE, 6379), (KEDA, STORE, 6379), (KEDA, BROKER, 5672), (MONITORING, STORE, 6379),
    (WORKER, API, 8080), (WORKER, BROKER, 15672), (WORKER, WORKER, 9090), (API, WORKER, 9090), (STORE, BROKER, 5672),
    (BROKER, STORE, 6379), (WORKER, ANYBODY, 443), (WORKER, METADATA, 80), (API, ANYBODY, 443), (API, CLUSTER_API, 443),
    (STORE, ANYBODY, 443), (WORKER, CLUSTER_API, 22),
]


def allows(cluster, source, target, port):
    """Both ends have a say, each where a policy selects it; about whom none speaks, all is allowed."""
    return says(cluster, source, "Egress", target, port) and says(cluster, target, "Ingress", source, port)


def policies_of(cluster, end, direction):
    return [one["spec"] for one in cluster.all("NetworkPolicy") if end.namespace == HERE
            and direction in one["spec"]["policyTypes"] and selects(one["spec"]["podSelector"], dict(end.labels))]


def says(cluster, end, direction, other, port):
    selecting = policies_of(cluster, end, direction)
    field, side = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    return not selecting or any(
        has_port(rule, port) and (side not in rule or any(is_meant(peer, other) for peer in rule[side]))
        for spec in selecting for rule in spec.get(field, ()))


def has_port(rule, port):
    return any(one["port"] <= port <= one.get("endPort", one["port"]) for one in rule["ports"])


def is_meant(peer, end):
    if "ipBlock" in peer:
        network = ipaddress.ip_network(peer["ipBlock"]["cidr"])
        return not end.namespace and ipaddress.ip_address(end.address) in network
    if "namespaceSelector" in peer:
        in_space = selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": end.namespace})
    else:
        in_space = end.namespace == HERE
    return bool(end.namespace) and in_space and selects(peer.get("podSelector", {}), dict(end.labels))


@each_rendering("local", "eks", "ec2")
@pytest.mark.parametrize("source, target, port", ALLOWED)
def test_what_is_needed_is_allowed(cluster, source, target, port):
    assert allows(cluster, source, target, port)


@each_rendering("local", "eks", "ec2")
@pytest.mark.parametrize("source, target, port", DENIED)
def test_the_rest_is_not(cluster, source, target, port):
    fetches_blobs = cluster.name == "ec2" and (source, target, port) == (WORKER, API, 8080)
    assert allows(cluster, source, target, port) == fetches_blobs


@each_rendering("local", "eks", "ec2")
def test_nobody_of_ours_is_left_open(cluster):
    assert cluster.all("NetworkPolicy")[0]["metadata"]["namespace"] == cluster.namespace
    for end in (API, WORKER, BROKER, STORE):
        assert policies_of(cluster, end, "Ingress") and policies_of(cluster, end, "Egress")


@each_rendering("local")
def test_pods_of_others_in_a_shared_namespace_are_left_alone(cluster):
    assert not policies_of(cluster, BESIDE, "Ingress") and not policies_of(cluster, BESIDE, "Egress")
    assert allows(cluster, BESIDE, API, 8080)
    for target, port in ((BROKER, 5672), (BROKER, 15672), (STORE, 6379), (WORKER, 9090)):
        assert not allows(cluster, BESIDE, target, port)


@each_rendering("eks", "ec2")
def test_members_of_a_cluster_of_brokers_find_each_other(cluster):
    for port in (4369, 25672, 35672):
        assert allows(cluster, BROKER, BROKER, port)
    assert allows(cluster, BROKER, CLUSTER_API, 443)  # where they look for each other


@each_rendering("eks")
def test_the_store_is_asked_for_its_numbers_by_one_pod(cluster):
    assert allows(cluster, EXPORTER, STORE, 6379) and allows(cluster, MONITORING, EXPORTER, 9121)
    for source, target, port in ((EXPORTER, BROKER, 5672), (EXPORTER, ANYBODY, 443), (OTHER, EXPORTER, 9121),
                                 (WORKER, EXPORTER, 9121), (STORE, EXPORTER, 9121)):
        assert not allows(cluster, source, target, port)


@each_rendering("ec2")
def test_where_services_are_followed_before_policies_the_servers_own_port_is_open(cluster):
    server = End(address="10.64.0.10")
    assert allows(cluster, BROKER, server, 6443) and allows(cluster, WORKER, server, 6443)
    assert not allows(cluster, STORE, server, 6443) and not allows(cluster, WORKER, server, 2049)
