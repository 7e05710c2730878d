# SPDX-License-Identifier: Apache-2.0
"""What a worker shows of itself: probes, metrics, and in a cluster what its pod costs to delete.

The cluster's API is a small HTTPS server here: a real one speaks the same, and what is
tested is what the worker says, and that nothing the API does can hurt a job.
"""

import json
import os
import re
import signal
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from harness import eventually, free_port

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
COST = "controller.kubernetes.io/pod-deletion-cost"


# ---- probes and metrics ---------------------------------------------------------------


@pytest.fixture
def probe(fleet):
    """Asks the worker that the test starts."""
    port = free_port()

    def ask(path, method="GET"):
        return requests.request(method, f"http://127.0.0.1:{port}{path}", timeout=5)

    ask.settings = {"MILLRACE_PROBE_PORT": port}
    return ask


def test_a_worker_is_ready_when_the_broker_has_confirmed_its_consumer(servers, fleet, probe):
    fleet.start_gateway()
    worker = fleet.start_worker(**probe.settings)
    assert probe("/healthz").status_code == 200
    eventually(lambda: probe("/readyz").status_code == 200)
    servers.rabbitmq.sigstop()
    try:
        assert probe("/healthz").status_code == 200
    finally:
        servers.rabbitmq.sigcont()
    servers.rabbitmq.restart()
    eventually(lambda: probe("/readyz").status_code == 200, deadline=30)
    job = fleet.submit("spin", seconds=1)
    eventually(lambda: fleet.job(job)["state"] == "in-progress")
    worker.sigterm()
    eventually(lambda: probe("/readyz").status_code == 503)
    assert probe("/healthz").status_code == 200
    assert worker.wait() == 0
    assert fleet.job(job)["state"] == "completed"


def test_a_worker_counts_what_it_settled(fleet, probe):
    fleet.start_gateway()
    fleet.start_worker(**probe.settings)
    good, bad = fleet.submit_hash(b"x"), fleet.submit_matrix([[1e308]], [[1e308]])
    fleet.wait_end(good)
    fleet.wait_end(bad)
    text = probe("/metrics").text
    for line in ('millrace_worker_attempts_total{kind="hash",outcome="finished"} 1',
                 'millrace_worker_attempts_total{kind="matrix",outcome="failed"} 1',
                 "millrace_worker_slots 1", "millrace_worker_busy 0", "millrace_worker_consuming 1",
                 "millrace_broker_up 1", "millrace_store_up 1"):
        assert line in text.splitlines(), text
    assert 'millrace_worker_busy_seconds_total{kind="hash"}' in text
    assert "pod" not in "".join(line for line in text.splitlines() if not line.startswith("#"))


def test_other_paths_and_methods_are_refused(fleet, probe):
    fleet.start_worker(wait=False, **probe.settings)
    eventually(lambda: probe("/healthz").status_code == 200)
    assert probe("/healthz", "HEAD").text == ""
    assert probe("/jobs").status_code == 404
    refused = probe("/metrics", "POST")
    assert refused.status_code == 405 and refused.headers["Allow"] == "GET, HEAD"


def test_a_worker_that_cannot_listen_says_so(fleet, probe):
    fleet.start_worker(wait=False, **probe.settings)
    eventually(lambda: probe("/healthz").status_code == 200)
    second = fleet.start_worker(wait=False, **probe.settings)
    assert second.wait() == 2
    assert "is the port taken" in second.log()


# ---- the pod's deletion cost -------------------------------------------------------------


class Cluster:
    """Takes PATCHes of one pod. behave: what comes of the next ones."""

    def __init__(self, folder):
        self.folder, self.costs, self.faults, self.hold = folder, [], [], None
        self.status = 200
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=api",
                        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key", "-out", folder / "ca.crt"],
                       check=True, capture_output=True)
        (folder / "token").write_text("let-me-in")
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            def do_PATCH(self):  # noqa: N802
                cluster.patch(self)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "ca.crt", folder / "key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def patch(self, handler):
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        expected = {"path": "/api/v1/namespaces/millrace/pods/millrace-worker-spin-0",
                    "Authorization": "Bearer " + (self.folder / "token").read_text(),
                    "Content-Type": "application/merge-patch+json"}
        for name, value in expected.items():
            found = handler.path if name == "path" else handler.headers[name]
            if found != value:
                self.faults.append((name, found))
        if self.hold:
            self.hold.wait(30)
        self.costs.append(json.loads(body)["metadata"]["annotations"][COST])
        handler.send_response(self.status)
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"{}")

    def settings(self):
        return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": self._server.server_port,
                "MILLRACE_POD_NAME": "millrace-worker-spin-0", "MILLRACE_POD_NAMESPACE": "millrace",
                "MILLRACE_POD_COST_SECONDS": 1}

    def within(self):
        """A mount namespace, where the account's folder is ours."""
        script = (f"mount -t tmpfs none /var/run && mkdir -p {ACCOUNT} && mount --bind '{self.folder}' {ACCOUNT} "
                  '&& exec "$@"')
        return ["unshare", "--mount", "sh", "-c", script, "sh"]

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def cluster(tmp_path):
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespace can be made here")
    folder = tmp_path / "account"
    folder.mkdir()
    cluster = Cluster(folder)
    yield cluster
    cluster.close()
    assert not cluster.faults


def start(fleet, cluster, **env):
    fleet.start_gateway()
    return fleet.start_worker(within=cluster.within(), **cluster.settings(), **env)


def test_a_long_job_makes_its_pod_dear_and_its_end_makes_it_cheap(fleet, cluster, probe):
    start(fleet, cluster, **probe.settings)
    job = fleet.submit("spin", seconds=4)
    eventually(lambda: cluster.costs == ["100"], deadline=15)
    (cluster.folder / "token").write_text("a-new-token")  # they are renewed while a pod lives
    assert fleet.job(job)["state"] == "in-progress"
    eventually(lambda: cluster.costs == ["100", "0"], deadline=40)
    assert fleet.job(job)["state"] == "completed"
    lines = probe("/metrics").text.splitlines()
    assert 'millrace_worker_pod_patches_total{result="ok"} 2' in lines
    assert "millrace_worker_pod_deletion_cost 0" in lines


def test_a_job_does_not_care_whether_the_cluster_answers(fleet, cluster, probe):
    cluster.status = 403
    start(fleet, cluster, **probe.settings)
    job = fleet.submit("spin", seconds=3)
    eventually(lambda: cluster.costs, deadline=15)
    fleet.wait_end(job)
    assert fleet.job(job)["losses"] == 0
    eventually(lambda: 'millrace_worker_pod_patches_total{result="failed"} 1' in probe("/metrics").text.splitlines())
    assert "status 403" in fleet.workers[0].log()


def test_a_cluster_that_is_silent_holds_up_neither_jobs_nor_the_end(fleet, cluster):
    cluster.hold = threading.Event()
    worker = start(fleet, cluster)
    try:
        long = fleet.submit("spin", seconds=2)
        fleet.wait_end(long)
        fleet.wait_end(fleet.submit_hash(b"behind it"))
        worker.sigterm()
        assert worker.wait() == 0
    finally:
        cluster.hold.set()


def test_outside_a_cluster_nothing_is_told(fleet):
    """The names alone make no cluster."""
    fleet.start_gateway()
    worker = fleet.start_worker(MILLRACE_POD_NAME="a", MILLRACE_POD_NAMESPACE="b", MILLRACE_POD_COST_SECONDS=1)
    fleet.wait_end(fleet.submit("spin", seconds=2))
    with open(f"/proc/{worker.pid}/maps", encoding="ascii") as maps:
        assert not re.search("libcurl|libmicrohttpd", maps.read())
    assert not worker.events("pod-cost", "pod-cost-not-told")


@pytest.mark.parametrize("name, namespace", [("a/../../secrets", "b"), ("a", ""), ("", "b"), ("A", "b"), ("a", "b?x=1"),
                                             ("..", "b"), ("a", "..")])
def test_names_that_no_pod_has_are_refused(fleet, name, namespace):
    worker = fleet.start_worker(wait=False, MILLRACE_POD_NAME=name, MILLRACE_POD_NAMESPACE=namespace,
                                KUBERNETES_SERVICE_HOST="127.0.0.1")
    assert worker.wait() == 2
    assert "MILLRACE_POD_NAME" in worker.log()


# ---- in a container -----------------------------------------------------------------------


AS_FIRST = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


@pytest.fixture
def first():
    """Words in front of a program that is to be the first process of its world."""
    if subprocess.run([*AS_FIRST, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no process namespace can be made here")
    return AS_FIRST


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def state_of(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return None


def test_a_worker_that_is_process_1_drains_on_sigterm(fleet, first):
    fleet.start_gateway()
    outer = fleet.start_worker(within=first)
    job = fleet.submit("spin", seconds=2)
    fleet.wait_state(job, "in-progress")
    [worker] = children(outer.pid)
    os.kill(worker, signal.SIGTERM)
    assert outer.wait() == 0
    assert fleet.job(job)["state"] == "completed"


def test_a_worker_that_is_process_1_buries_orphans(fleet, first):
    outer = fleet.start_worker(within=first)
    [worker] = children(outer.pid)
    # In the same world: a shell that leaves a child behind, which ends later.
    left = subprocess.run(["nsenter", "--target", str(worker), "--pid", "--mount", "sh", "-c", "sleep 2 >/dev/null & echo $!"],
                          check=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    assert left.stdout.strip()
    eventually(lambda: len(children(worker)) == 2, what="the orphan is the worker's")
    orphan = children(worker)[-1]
    eventually(lambda: state_of(orphan) is None, what="nothing is left of it")
    assert len(children(worker)) == 1


@pytest.mark.parametrize("program", ["api", "worker"])
def test_a_daemon_asks_another_whether_it_lives(fleet, program, probe):
    """What a container's health check runs."""
    daemon = fleet.start_gateway() if program == "api" else fleet.start_worker(**probe.settings)

    def health():
        return subprocess.run([daemon.program.argv[0], "--health"], env=daemon.program.env, capture_output=True,
                              text=True, timeout=30)

    assert health().returncode == 0
    daemon.kill9()
    assert health().returncode == 1 and "nobody answers" in health().stderr
