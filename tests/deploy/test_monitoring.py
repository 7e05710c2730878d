# SPDX-License-Identifier: Apache-2.0
"""Every query of every dashboard and alarm, asked of a real Prometheus that watches a real fleet under load.

    fleet (two gateways, a worker) · RabbitMQ · redis_exporter · node_exporter  <-  Prometheus, each second

A query that is misspelt, or that joins what does not meet, has no answer here. What needs a cluster is in CANNED.
"""
import http.server
import math
import os
import re
import shutil
import signal
import threading

import pytest
import requests
import yaml

from harness import Fleet, Running, Program, Servers, eventually, free_port
from watching import COMPONENT, alarms, of_alarms, of_dashboards, rules

# Numbers that no program of a single machine has. They are read from cluster.prom instead, which shows that the queries
# fit each other; that they fit the programs, nothing here can show.
CANNED = {
    "kube_": "kube-state-metrics asks the API of a cluster",
    "keda_": "KEDA's operator runs in a cluster, and has ScaledObjects only there",
    "cluster_autoscaler_": "the Cluster Autoscaler has nodes to count only in a cloud",
}
NODE = "here"  # as cluster.prom calls it
WINDOW = "10s"


def find(name):
    path = shutil.which(name, path="/usr/bin:/usr/sbin:/usr/local/bin:" + os.environ["PATH"])
    if not path:
        pytest.skip(f"{name} is not installed")
    return path


class Page(http.server.BaseHTTPRequestHandler):
    """Serves cluster.prom."""
    text = (COMPONENT.parents[2] / "tests" / "deploy" / "cluster.prom").read_bytes()

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.text)

    def log_message(self, *_):
        pass


class Prometheus(Running):
    def __init__(self, folder, program, targets):
        """targets: job -> (port, path with parameters, labels)."""
        jobs = [{"job_name": f"{job}-{index}", "metrics_path": path, "params": params,
                 "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": labels}]}
                for job, those in targets.items() for index, (port, path, params, labels) in enumerate(those)]
        config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
                  "rule_files": ["rules.yaml"], "scrape_configs": jobs}
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        (folder / "rules.yaml").write_text(yaml.safe_dump(rules()))
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/api/v1"
        super().__init__(Program("prometheus", [
            program, f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}"], dict(os.environ), str(folder / "prometheus.log")))

    def ask(self, query):
        """[(labels, value)]; a query that it does not take is a failure."""
        answer = requests.get(f"{self.url}/query", {"query": query}, timeout=10).json()
        if answer["status"] != "success":
            pytest.fail(f"{answer['error']}: {query}")
        return [(one["metric"], float(one["value"][1])) for one in answer["data"]["result"]]

    def number(self, query):
        found = self.ask(query)
        assert len(found) == 1, f"{found} for {query}"
        return found[0][1]

    def get(self, path):
        return requests.get(f"{self.url}/{path}", timeout=10).json()["data"]

    def rings(self, alarm):
        return any(one["labels"]["alertname"] == alarm and one["state"] == "firing" for one in self.get("alerts")["alerts"])


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """(Prometheus, fleet) under load; everything that there is was scraped."""
    programs = {name: find(name) for name in ("prometheus", "prometheus-node-exporter", "prometheus-redis-exporter")}
    folder = tmp_path_factory.mktemp("watched")
    ports = {name: free_port() for name in ("broker", "node", "redis", "worker", "gateway-0", "gateway-1")}
    started = []
    page = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=page.serve_forever, daemon=True).start()
    servers = Servers(metrics_port=ports["broker"])
    try:
        servers.store().config_set("maxmemory", "1gb")
        fleet = Fleet(servers, folder)
        started.append(fleet)
        for index in range(2):
            fleet.start_gateway(MILLRACE_METRICS_PORT=ports[f"gateway-{index}"])
        fleet.start_worker(MILLRACE_PROBE_PORT=ports["worker"], MILLRACE_SLOTS=2)
        exporters = (("prometheus-node-exporter", [f"--web.listen-address=127.0.0.1:{ports['node']}"]),
                     ("prometheus-redis-exporter", [f"--web.listen-address=127.0.0.1:{ports['redis']}",
                                                    f"--redis.addr={servers.redis_url}"]))
        for name, arguments in exporters:
            started.append(Running(Program(name, [programs[name], *arguments], dict(os.environ), str(folder / name))))
        prometheus = Prometheus(folder, programs["prometheus"], targets(ports, page.server_port))
        started.append(prometheus)
        eventually(lambda: all(one["health"] == "up" for one in prometheus.get("targets")["activeTargets"]), deadline=20)
        load(fleet)
        yield prometheus, fleet
    finally:
        for one in reversed(started):
            one.stop()
        servers.close()
        page.shutdown()


def targets(ports, page):
    """As monitors.yaml has them, the labels that it makes included."""
    detailed, = [one for monitor in yaml.safe_load_all((COMPONENT / "monitors.yaml").read_text())
                 for one in monitor["spec"].get("podMetricsEndpoints", ()) if "params" in one]
    labels = lambda pod, component: {"node": NODE, "pod": pod, "component": component}  # noqa: E731
    return {
        "millrace-api": [(ports[f"gateway-{i}"], "/metrics", {}, labels(f"api-{i}", "gateway")) for i in range(2)],
        "millrace-worker": [(ports["worker"], "/metrics", {}, labels("worker-1", "hash"))],
        "millrace-rabbitmq": [(ports["broker"], "/metrics", {}, labels("rabbitmq-0", "broker")),
                              (ports["broker"], detailed["path"], detailed["params"], labels("rabbitmq-0", "broker"))],
        "millrace-redis": [(ports["redis"], "/metrics", {}, {})],
        "node-exporter": [(ports["node"], "/metrics", {}, {"node": NODE})],
        "cluster": [(page, "/metrics", {}, {})],
    }


def load(fleet):
    """Of everything a little: jobs that end well and badly, that run, that wait, and one that is lost with its executor."""
    lost = fleet.submit("spin", seconds=600)
    fleet.wait_state(lost, "in-progress")
    os.kill(fleet.workers[0].executors()[0], signal.SIGKILL)
    eventually(lambda: fleet.job(lost)["losses"] == 1)
    for _ in range(3):
        fleet.submit("spin", seconds=600)
    for index in range(20):
        fleet.submit_hash(b"x", 1000 + index, gateway=fleet.gateways[index % 2])
    fleet.submit_matrix([[1e200]], [[1e200]])
    fleet.call("GET", "/audit")


def is_canned(expression):
    return any(re.search(rf"\b{prefix}\w", expression.text) for prefix in CANNED)


def test_every_query_has_an_answer(watched):
    prometheus, _ = watched
    queries = of_dashboards(WINDOW) + of_alarms()
    assert len(queries) > 100
    silent = queries

    def all_answered():
        nonlocal silent
        silent = [one for one in silent if not prometheus.ask(one.text)]
        return not silent

    try:
        eventually(all_answered, deadline=30, every=0.5)
    except AssertionError:
        pytest.fail("no data for\n" + "\n".join(map(str, silent)))
    assert sum(map(is_canned, queries)) < len(queries) / 3


def test_a_query_that_is_wrong_is_noticed(watched):
    prometheus, _ = watched
    for query in ('millrace_jobs{state="waiting"}', "millrace_job * on (kind) millrace_worker_busy"):
        assert prometheus.ask(query) == []
    with pytest.raises(pytest.fail.Exception, match="parse error"):
        prometheus.ask("sum(millrace_jobs")
    with pytest.raises(pytest.fail.Exception, match="many-to-many"):
        prometheus.ask("millrace_jobs * on (kind) millrace_jobs")


def test_what_is_canned_is_what_cannot_be_had(watched):
    names = {line.split("{")[0].split()[0] for line in Page.text.decode().splitlines() if not line.startswith("#")}
    assert all(any(name.startswith(prefix) for prefix in CANNED) for name in names), CANNED
    used = " ".join(one.text for one in of_dashboards(WINDOW) + of_alarms())
    assert all(re.search(rf"\b{name}\b", used) for name in names)


def value_of(prometheus, where, legend=0):
    """The one number that a panel shows."""
    return prometheus.number([one.text for one in of_dashboards(WINDOW) if one.where == where][legend])


def test_the_nodes_are_shown_as_they_are(watched):
    prometheus, _ = watched
    assert value_of(prometheus, "nodes, Active nodes") == 1
    assert value_of(prometheus, "nodes, CPU of the cluster: cores") == os.cpu_count()
    assert 0 < value_of(prometheus, "nodes, CPU of the cluster") <= 1.05
    assert 0 < value_of(prometheus, "nodes, CPU of each node") <= 1.05
    assert math.isclose(value_of(prometheus, "nodes, Tight fit"), (3.5 + 0.126) / 3.92)
    assert math.isclose(value_of(prometheus, "nodes, Cores: allocatable, requested, used"), 3.92)
    assert 0 < value_of(prometheus, "nodes, Cores: allocatable, requested, used", 2) <= os.cpu_count() * 1.05
    assert value_of(prometheus, "nodes, Nodes not ready") == 0


def test_the_fleet_is_shown_as_it_is(watched):
    prometheus, _ = watched
    assert eventually(lambda: value_of(prometheus, "fleet, Running") == 2)
    assert value_of(prometheus, "fleet, Slots at work") == 1
    assert value_of(prometheus, "fleet, Books") == 0
    assert value_of(prometheus, "gateway, Gateways") == value_of(prometheus, "gateway, With RabbitMQ") == 2
    assert prometheus.number('max(millrace_job_losses_total{kind="spin"})') == 1
    assert eventually(lambda: value_of(prometheus, "fleet, Oldest pending") > 0)


def test_every_alarm_is_evaluated_and_those_without_patience_are_silent(watched):
    prometheus, _ = watched
    found = [rule for group in eventually(lambda: all_evaluated(prometheus)) for rule in group["rules"]]
    assert {rule["name"] for rule in found} == set(alarms())
    assert [rule for rule in found if rule["health"] != "ok"] == []
    assert [rule["name"] for rule in found if rule["state"] == "firing"] == []


def all_evaluated(prometheus):
    groups = prometheus.get("rules")["groups"]
    return all(rule["health"] != "unknown" for group in groups for rule in group["rules"]) and groups


def test_an_alarm_rings_on_a_fleet_whose_books_are_wrong(watched):
    prometheus, fleet = watched
    fleet.servers.store().hincrby("count", "accepted:hash", 1)
    eventually(lambda: prometheus.rings("MillraceAuditMismatch"), deadline=20)
    fleet.servers.store().hincrby("count", "accepted:hash", -1)
    eventually(lambda: not prometheus.rings("MillraceAuditMismatch"), deadline=20)
