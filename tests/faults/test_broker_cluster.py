# SPDX-License-Identifier: Apache-2.0
"""Three brokers: a queue lives while two of them do, and the one that is alone takes nothing."""
import os

import pika
import pytest

from harness import LONG, Program, Running, eventually, free_port

pytestmark = pytest.mark.skipif(not LONG, reason="three brokers: with --all")

CONFIG = """\
[{{rabbit, [{{consumer_timeout, 604800000}}, {{disk_free_limit, 67108864}},
           {{cluster_nodes, {{[{nodes}], disc}}}}, {{cluster_partition_handling, pause_minority}}]}},
 {{ra, [{{wal_max_size_bytes, 67108864}}]}}].
"""


class Node(Running):
    """A broker that joins the others of `names`; all share the epmd, and the cookie, of `servers`."""

    def __init__(self, servers, folder, name, names):
        self.name, self.port = name, free_port()
        model = servers.rabbitmq.program
        home = os.path.join(folder, name.split("@")[0])
        os.makedirs(home)
        with open(os.path.join(home, "advanced.config"), "w", encoding="ascii") as file:
            file.write(CONFIG.format(nodes=",".join(f"'{each}'" for each in names)))
        env = {key: value.replace(model.env["HOME"], home) for key, value in model.env.items()}
        env.update(HOME=model.env["HOME"], RABBITMQ_NODENAME=name, RABBITMQ_NODE_PORT=str(self.port),
                   RABBITMQ_DIST_PORT=str(free_port()),
                   RABBITMQ_ENABLED_PLUGINS_FILE=model.env["RABBITMQ_ENABLED_PLUGINS_FILE"])
        super().__init__(Program(name.split("@")[0], model.argv, env, os.path.join(home, "log")))

    @property
    def url(self):
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"

    def greets(self):
        try:
            pika.BlockingConnection(pika.URLParameters(self.url + "?socket_timeout=2")).close()
        except (pika.exceptions.AMQPError, OSError):
            return False
        return True


@pytest.fixture
def cluster(servers, tmp_path):
    names = [f"{servers.rabbitmq.program.env['RABBITMQ_NODENAME'].split('@')[0]}-{i}@localhost" for i in range(3)]
    nodes = []
    try:
        for name in names:
            nodes.append(Node(servers, str(tmp_path), name, names))
            eventually(nodes[-1].greets, deadline=90, what=f"{name} ready")
        yield nodes
    finally:
        for node in nodes:
            if node.is_alive():
                node.sigcont()
            node.process.kill()


def test_a_broker_in_the_minority_takes_nothing_and_loses_nothing(servers, make_fleet, cluster):
    """Jobs go to the outbox meanwhile, and run when two brokers are there again."""
    fleet = make_fleet(servers, MILLRACE_AMQP_URL=cluster[0].url, MILLRACE_HEARTBEAT_SECONDS=2,
                       MILLRACE_CONFIRM_DEADLINE_MS=1000)
    fleet.start_gateway()
    fleet.start_worker()
    jobs = [fleet.submit_hash(b"%d" % i) for i in range(20)]
    for job in jobs:
        assert fleet.wait_end(job, 60)["state"] == "completed"
    cluster[1].kill9()
    jobs = [fleet.submit_hash(b"two of three %d" % i) for i in range(5)]
    for job in jobs:
        assert fleet.wait_end(job, 60)["state"] == "completed"
    running = fleet.submit("spin", seconds=3)
    fleet.wait_state(running, "in-progress", deadline=60)
    cluster[2].kill9()
    eventually(lambda: fleet.call("GET", "/readyz").json()["accepts_by"] == "outbox", deadline=60)
    answers = [fleet.call("PUT", "/enqueue?iterations=1", data=b"alone %d" % i) for i in range(5)]
    assert {(answer.status_code, answer.json().get("held")) for answer in answers} == {(202, "outbox")}
    record = fleet.wait_end(running, 60)  # without a broker to ack to
    assert (record["state"], record["attempt"], record["losses"]) == ("completed", 1, 0)
    cluster[1].start()
    for answer in answers:
        assert fleet.wait_end(answer.json()["id"], 120)["state"] == "completed"
    fleet.assert_adds_up()
