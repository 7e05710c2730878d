# SPDX-License-Identifier: Apache-2.0
"""What the manifests hand to programs, handed to the programs: RabbitMQ and Redis with the configuration, users and
passwords that they would have in a cluster, and gateways and workers with the settings of their pods. Ports and folders
are this machine's, nothing else is changed."""
import io
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile

import pika
import pytest
import redis
import requests

from harness import IS_SANITIZED, Broker, Fleet, Running, Server, eventually, free_port
from manifests import KINDS, ROOT, rendered

sys.path.insert(0, str(ROOT / "tools"))

from fleet.folder import Folder  # noqa: E402
from fleet.process import Program  # noqa: E402
from fleet.servers import RabbitMQ  # noqa: E402


class ServersOfACluster:
    """As harness.Servers, with what the overlay for a laptop and deploy/secrets say."""

    def __init__(self, cluster, secrets):
        self.path = tempfile.mkdtemp(prefix="millrace-test-")
        self._folder = Folder(self.path)
        self._folder.open()
        self._running = []
        self._secrets = secrets
        try:
            self._start_broker(cluster)
            self._start_store(cluster)
        except BaseException:
            self.close()
            raise

    def _start_broker(self, cluster):
        broker = RabbitMQ(self._folder)
        config, = [one["data"] for one in cluster.all("ConfigMap") if "rabbitmq.conf" in one["data"]]
        self.management = f"http://127.0.0.1:{free_port()}"
        own = f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self.management.rsplit(':', 1)[1]}\n"
        definitions = self._write("definitions.json", self._secrets["millrace-broker"]["definitions"])
        text = config["rabbitmq.conf"].replace("/etc/millrace/definitions.json", definitions)
        broker.node.env["RABBITMQ_CONFIG_FILE"] = self._write("rabbitmq.conf", text + own)
        self._write("advanced.config", config["advanced.config"])
        self._write("enabled_plugins", "[rabbitmq_management].\n")
        self._run(Running(broker.epmd))
        self.rabbitmq = self._run(Broker(broker))
        self.amqp_url = self._secrets["millrace-broker"]["amqp-url"].replace(
            "millrace-rabbitmq:5672", f"127.0.0.1:{broker.port}")
        self.amqp_port = broker.port
        self.rabbitmq.wait_ready(180)

    def _write(self, name, text):
        path = self._folder.file("rabbitmq", name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def _start_store(self, cluster):
        container = cluster.pod("millrace-redis").container
        self.password = self._secrets["millrace-store"]["password"]
        env = {one["name"]: one.get("value", self.password) for one in container["env"]}
        arguments = [one.replace("/data", self._folder.file("redis")) for one in container["args"]]
        for name, value in env.items():
            arguments = [one.replace(f"$({name})", value) for one in arguments]
        port = free_port()
        program = Program("redis", [*container["command"], *arguments, "--port", str(port), "--bind", "127.0.0.1"],
                          {"PATH": os.environ["PATH"]}, self._folder.file("log", "redis.log"))
        self.redis_url = self._secrets["millrace-store"]["redis-url"].replace("millrace-redis:6379", f"127.0.0.1:{port}")
        self.redis_port = port
        self.redis = self._run(Server(program, lambda: self.ask_store(container["readinessProbe"], env) == 0))
        self.redis.wait_ready()

    def ask_store(self, probe, env):
        """The probe's own command; its exit status."""
        command = probe["exec"]["command"]
        asked = subprocess.run([command[0], "-p", str(self.redis_port), *command[1:]], env={**os.environ, **env},
                               capture_output=True, check=False, timeout=20)
        return asked.returncode

    def _run(self, running):
        self._running.append(running)
        return running

    def close(self):
        for running in self._running:
            running.process.kill()
        self._folder.unlock()
        shutil.rmtree(self.path, ignore_errors=True)


@pytest.fixture(scope="module")
def servers_of_cluster(made_secrets):
    servers = ServersOfACluster(rendered("local"), made_secrets)
    yield servers
    servers.close()


@pytest.fixture
def gateway_of(servers_of_cluster, make_fleet, made_secrets, tmp_path):
    """Starts a gateway, or a worker of a kind, as its pod in that overlay would; (fleet, what was started, its pod)."""
    fleet = make_fleet(servers_of_cluster)

    def start(overlay, pod_name="millrace-api"):
        cluster = rendered(overlay)
        pod = cluster.pod(pod_name)
        env = {name: value for name, value in pod.env(cluster).items() if value is not None}
        env["MILLRACE_LISTEN"] = "127.0.0.1"
        env["MILLRACE_BLOB_DIR"] = fleet.blob_dir
        if "MILLRACE_COMMANDS_FILE" in env:
            data, = [one["data"] for one in cluster.all("ConfigMap") if "commands.json" in one["data"]]
            env["MILLRACE_COMMANDS_FILE"] = tmp_path / "commands.json"
            env["MILLRACE_COMMANDS_FILE"].write_text(data["commands.json"])
        if "MILLRACE_API_KEY_FILE" in env:
            env["MILLRACE_API_KEY_FILE"] = tmp_path / "keys"
            env["MILLRACE_API_KEY_FILE"].write_text(made_secrets["millrace-api-keys"]["keys"])
        if pod.app == "millrace-api":
            env["MILLRACE_METRICS_PORT"] = free_port()
            return fleet, fleet.start_gateway(**env), pod
        env["MILLRACE_PROBE_PORT"] = free_port()
        env["MILLRACE_POD_NAME"] = pod_name
        return fleet, fleet.start_worker(*pod.container.get("args", ()), **env), pod

    return start


def probes_answer(pod, urls):
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        wanted = pod.container[name]["httpGet"]
        eventually(lambda: requests.get(urls[wanted["port"]] + wanted["path"], timeout=10).status_code == 200, what=name)


def metrics_url(gateway):
    return f"http://127.0.0.1:{gateway.program.env['MILLRACE_METRICS_PORT']}"


# ---- servers ----------------------------------------------------------------------------------------------------


def test_the_broker_has_the_users_of_the_secret_and_no_other(servers_of_cluster):
    pika.BlockingConnection(pika.URLParameters(servers_of_cluster.amqp_url)).close()
    for user, password in (("guest", "guest"), ("millrace", "guess")):
        login = pika.ConnectionParameters("127.0.0.1", servers_of_cluster.amqp_port,
                                          credentials=pika.PlainCredentials(user, password))
        with pytest.raises(pika.exceptions.ProbableAuthenticationError):
            pika.BlockingConnection(login)


def test_the_scalers_user_reads_queue_lengths_and_can_nothing_else(servers_of_cluster, made_secrets, gateway_of):
    gateway_of("local")  # declares the queues
    secret = made_secrets["millrace-broker"]
    login = secret["keda-username"], secret["keda-password"]
    trigger, = rendered("local").get("ScaledObject", "millrace-worker-spin")["spec"]["triggers"]
    queue = trigger["metadata"]["queueName"]
    connection = pika.BlockingConnection(pika.URLParameters(servers_of_cluster.amqp_url))
    connection.channel().basic_publish("", queue, b"no job", pika.BasicProperties(delivery_mode=2))
    url = f"{servers_of_cluster.management}/api/queues/%2F/{queue}"  # KEDA asks so
    eventually(lambda: requests.get(url, auth=login, timeout=10).json().get("messages") == 1, deadline=30)
    for method, path, body in (("DELETE", f"/api/queues/%2F/{queue}/contents", None),
                               ("DELETE", f"/api/queues/%2F/{queue}", None),
                               ("PUT", "/api/queues/%2F/another", {}),
                               ("PUT", "/api/users/another", {"password": "x", "tags": "administrator"}),
                               ("POST", "/api/exchanges/%2F/amq.default/publish", {
                                   "routing_key": queue, "payload": "x", "payload_encoding": "string", "properties": {}})):
        refused = requests.request(method, servers_of_cluster.management + path, json=body, auth=login, timeout=10)
        assert refused.status_code in (400, 401, 403), path
    reader = pika.BlockingConnection(pika.ConnectionParameters(
        "127.0.0.1", servers_of_cluster.amqp_port, credentials=pika.PlainCredentials(*login)))
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED"):
        reader.channel().basic_get(queue)
    channel = connection.channel()
    assert channel.queue_declare(queue, passive=True).method.message_count == 1
    channel.queue_purge(queue)
    connection.close()


def test_a_backlog_beyond_its_memory_does_not_block_the_broker(servers_of_cluster):
    """400 MB of the largest inputs that a message carries; its watermark is at 400 MB."""
    parameters = pika.URLParameters(servers_of_cluster.amqp_url)
    parameters.blocked_connection_timeout = 10
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare("backlog", durable=True, arguments={"x-queue-type": "quorum"})
    body = os.urandom(256 << 10)
    for _ in range(1600):
        channel.basic_publish("", "backlog", body, pika.BasicProperties(delivery_mode=2))
    channel.queue_delete("backlog")
    connection.close()


def test_the_store_keeps_what_it_takes_and_wants_its_password(servers_of_cluster):
    store = redis.Redis("127.0.0.1", servers_of_cluster.redis_port, password=servers_of_cluster.password,
                        decode_responses=True)
    config = store.config_get("*")
    assert config["appendonly"] == "yes" and config["maxmemory-policy"] == "noeviction" and config["save"] == ""
    assert int(config["maxmemory"]) == 600 << 20
    probe = rendered("local").pod("millrace-redis").container["readinessProbe"]
    assert servers_of_cluster.ask_store(probe, {"REDISCLI_AUTH": servers_of_cluster.password}) == 0
    assert servers_of_cluster.ask_store(probe, {"REDISCLI_AUTH": "wrong"}) != 0


# ---- gateway and workers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlay", ["local", "eks"])
def test_a_gateway_starts_with_the_settings_of_its_pod_and_answers_its_probes(gateway_of, made_secrets, overlay):
    _, gateway, pod = gateway_of(overlay)
    probes_answer(pod, {"metrics": metrics_url(gateway)})
    key = made_secrets["millrace-api-keys"]["client"]
    expected = {"local": (200, 200), "eks": (401, 200)}[overlay]
    headers = {"Authorization": f"Bearer {key}"}
    assert requests.get(gateway.url + "/stats", timeout=10).status_code == expected[0]
    assert requests.get(gateway.url + "/stats", headers=headers, timeout=10).status_code == expected[1]
    assert "millrace_jobs_accepted_total" in requests.get(metrics_url(gateway) + "/metrics", timeout=10).text


def picture():
    image = pytest.importorskip("PIL.Image", reason="python3-pil is not installed")
    file = io.BytesIO()
    image.new("RGB", (640, 480), (10, 200, 30)).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.skipif(IS_SANITIZED, reason="sanitizers take memory of their own")
def test_clients_that_take_every_connection_neither_burst_nor_end_the_pod_of_a_gateway(gateway_of):
    _, gateway, pod = gateway_of("local")
    files, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clients = []
    try:
        host, port = gateway.url.removeprefix("http://").split(":")
        for _ in range(1500):
            client = socket.create_connection((host, int(port)), timeout=10)
            clients.append(client)
            client.setblocking(False)  # nobody reads what those send that wait
            client.send(b"POST /jobs/hash HTTP/1.1\r\nHost: gateway\r\nContent-Length: 262144\r\n\r\n" + bytes(262000))
        status = open(f"/proc/{gateway.process.pid}/status", encoding="ascii").read()
        peak = int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) << 10
        assert len(clients) == 1500, "more than it takes, the rest wait in front of it"
        probes_answer(pod, {"metrics": metrics_url(gateway)})
        assert 128 << 20 < peak < 0.75 * pod.limit("memory"), "what they sent is held, and the rest is for work"
    finally:
        for client in clients:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))


JOBS = {  # a first one of each kind: parameters, input, what the result holds
    "matrix": ({}, lambda: json.dumps({"A": [[1, 2], [3, 4]], "B": [[5, 6], [7, 8]]}), b"22"),
    "hash": ({"iterations": 1000}, lambda: b"grain", b""),
    "spin": ({"seconds": 1}, lambda: b"", b""),
    "image": ({"ops": "rotate:30"}, picture, b"\xff\xd8"),
    "command": ({"command": "sort"}, lambda: b"b\na\n", b"a\nb\n"),
}


@pytest.mark.parametrize("kind", [kind for kind, _ in KINDS])
def test_a_worker_starts_with_the_settings_of_its_pod_and_does_its_kind(gateway_of, kind):
    fleet, _, _ = gateway_of("local")
    _, worker, pod = gateway_of("eks", f"millrace-worker-{kind}")
    probes_answer(pod, {"metrics": f"http://127.0.0.1:{worker.program.env['MILLRACE_PROBE_PORT']}"})
    params, make_input, wanted = JOBS[kind]
    headers = {"Content-Type": "application/json"} if kind == "matrix" else {}
    job = fleet.submit(kind, make_input(), headers=headers, **params)
    result = eventually(lambda: fleet.call("GET", f"/jobs/{job}/result?wait=20", headers={"Accept": "application/json, */*"}),
                        deadline=60)
    assert result.status_code == 200 and wanted in result.content, result.text
    worker.sigterm()
    assert worker.wait(20) == 0


def test_a_worker_for_one_job_ends_behind_it(gateway_of):
    fleet, _, _ = gateway_of("local")
    _, worker, _ = gateway_of("eks-scaledjob", "millrace-worker-command")
    job = fleet.submit("command", b"b\na\n", command="sort")
    assert worker.wait(60) == 0
    assert fleet.call("GET", f"/jobs/{job}").json()["state"] == "completed"
