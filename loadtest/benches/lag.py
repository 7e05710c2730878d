# SPDX-License-Identifier: Apache-2.0
"""How old the length of a queue is that KEDA reads: from twelve publishes to the management API saying so, and from a
purge to the API saying that.

With RabbitMQ's defaults, with one of its clocks set as shipped (k8s/components/rabbitmq-single), and with all of them.
What passes is time and hardly any work, so all brokers are asked side by side.
"""

import base64
import concurrent.futures
import contextlib
import http.client
import json
import os
import random
import re
import time

from rig import REPOSITORY, Failed, Rig, free_port, wait_for

SHIPPED = os.path.join(REPOSITORY, "k8s", "components", "rabbitmq-single")
USER, MESSAGES = "guest", 12
LONGEST_S = 60
MARGIN_S = 0.5  # for the twelve publishes and for asking
QUEUE, EXCHANGE = "/api/queues/%2F/lag", "/api/exchanges/%2F/amq.default"


def shipped():
    """(milliseconds of quorum_tick_interval, lines of rabbitmq.conf with the other clocks)."""
    with open(os.path.join(SHIPPED, "advanced.config"), encoding="utf-8") as file:
        tick_ms = int(re.search(r"quorum_tick_interval, *([0-9]+)", file.read())[1])
    with open(os.path.join(SHIPPED, "rabbitmq.conf"), encoding="utf-8") as file:
        lines = [line for line in file if re.match(r"management\.sample|collect_statistics", line)]
    return tick_ms, "".join(lines)


def seconds_of(lines, name):
    return float(re.search(rf"^{re.escape(name)} *= *([0-9]+)", lines, re.MULTILINE)[1])


class Api:
    """The management plugin of a broker that is still to start."""

    def __init__(self, tick_ms, lines):
        self._tick_ms, self._lines, self._port = tick_ms, lines, free_port()
        login = base64.b64encode(f"{USER}:{USER}".encode()).decode()
        self._headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}

    def prepare(self, broker):
        """broker: fleet.servers.RabbitMQ, whose files are written. With our clocks, and with the plugin."""
        env = broker.node.env
        with open(env["RABBITMQ_ENABLED_PLUGINS_FILE"], "w", encoding="utf-8") as file:
            file.write("[rabbitmq_management].\n")
        conf = os.path.join(env["HOME"], "clocks.conf")
        with open(conf, "w", encoding="utf-8") as file:
            file.write(f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self._port}\n{self._lines}")
        env["RABBITMQ_CONFIG_FILE"] = conf
        if self._tick_ms:
            path = env["RABBITMQ_ADVANCED_CONFIG_FILE"]
            with open(path, encoding="utf-8") as file:
                terms = file.read()
            with open(path, "w", encoding="utf-8") as file:
                file.write(terms.replace("{rabbit, [", f"{{rabbit, [{{quorum_tick_interval, {self._tick_ms}}},", 1))

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), self._headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise Failed(f"{method} {path} was answered by {answer.status}: {text[:200]}")
        return json.loads(text) if text else None

    def declare(self, queue_type):
        self.ask("PUT", QUEUE, {"durable": True, "arguments": {"x-queue-type": queue_type}})
        wait_for(lambda: self._says(0), LONGEST_S, "the length of a new queue")

    def publish(self):
        for _ in range(MESSAGES):
            self.ask("POST", EXCHANGE + "/publish", {"properties": {"delivery_mode": 2}, "routing_key": "lag",
                                                     "payload": "x", "payload_encoding": "string"})

    def purge(self):
        self.ask("DELETE", QUEUE + "/contents")

    def _says(self, messages):
        time.sleep(0.02)  # this asking is not what is measured
        return self.ask("GET", QUEUE).get("messages") == messages

    def seconds_until(self, messages):
        began = time.monotonic()
        wait_for(lambda: self._says(messages), LONGEST_S, f"{messages} messages by the management API")
        return time.monotonic() - began


def measure_one(api, queue_type, repeats):
    """[(seconds after a publish, after a purge)]"""
    api.declare(queue_type)
    found = []
    for _ in range(repeats):
        time.sleep(random.uniform(0, 5))  # the clocks shall not be met at the same point each time
        api.publish()
        published = api.seconds_until(MESSAGES)
        time.sleep(random.uniform(0, 5))
        api.purge()
        found.append((published, api.seconds_until(0)))
    return found


def run(report, options):
    tick_ms, lines = shipped()
    clocks = {"defaults": (None, ""), "tick": (tick_ms, ""), "shipped": (tick_ms, lines)}
    for queue_type in options.queue_types(("quorum",)):
        with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor(len(clocks)) as pool:
            asked = {}
            for name, settings in clocks.items():
                api = Api(*settings)
                stack.enter_context(Rig(queue_type, prepare=api.prepare))
                asked[name] = pool.submit(measure_one, api, queue_type, options.repeats)
            for name, found in asked.items():
                for published, purged in found.result():
                    report.measured(f"{name}_{queue_type}", publish_s=published, purge_s=purged)
        _summary(report, queue_type, tick_ms / 1000, lines)


def _summary(report, queue_type, tick_s, lines):
    collect_s = seconds_of(lines, "collect_statistics_interval") / 1000  # the clock of a classic queue
    sample_s = seconds_of(lines, "management.sample_retention_policies.basic.minute")
    at_most = (tick_s if queue_type == "quorum" else collect_s) + sample_s + MARGIN_S
    for field in ("publish_s", "purge_s"):
        report.bounded(f"{field}_most_{queue_type}", report.most(f"shipped_{queue_type}", field), at_most=at_most)
        report.beside(f"{field}_{queue_type}", report.median(f"shipped_{queue_type}", field),
                      report.median(f"defaults_{queue_type}", field))
