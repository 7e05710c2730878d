# SPDX-License-Identifier: Apache-2.0
"""Several machines: a gateway with its servers, and two hosts that share nothing with it but the network.

The three are network namespaces on one bridge. Where those may not be made the tests are skipped.
"""

import hashlib
import os
import secrets
import subprocess

import pytest
from PIL import Image

from cli import Client
from harness import Fleet, Servers, eventually
from network import Network, inside, why_not_here

KEY = "a-key-that-travels"
FILES = 60
BIG = (1400, 1000)  # of random pixels: 4 MB in, as much out, and some 0.3 s of work
SMALL = (24, 18)  # in and out with the message
INLINE_MAX = 64 * 1024


@pytest.fixture
def machines(tmp_path, request):
    """head: gateway, RabbitMQ, Redis; mill-a and mill-b: a worker of two slots each. The test itself runs on head."""
    reason = why_not_here()
    if reason:
        pytest.skip(f"network namespaces cannot be made: {reason}")
    network = Network(["head", "mill-a", "mill-b"], tmp_path)
    try:
        with inside(network.head):
            yield from start_fleet(network, tmp_path, request)
    finally:
        network.close()


def start_fleet(network, tmp_path, request):
    servers = Servers(network.head.address, secrets.token_hex(16))
    folder = tmp_path / "fleet"
    folder.mkdir()
    fleet = Fleet(servers, folder, MILLRACE_INLINE_MAX=INLINE_MAX, MILLRACE_HEARTBEAT_SECONDS=2,
                  MILLRACE_LEASE_SECONDS=3)
    request.node.fleets = [fleet]
    try:
        start_programs(fleet, network, tmp_path)
        yield fleet, network
    finally:
        fleet.stop()
        servers.close()


def start_programs(fleet, network, tmp_path):
    keys, key = tmp_path / "keys", tmp_path / "key"
    keys.write_text(f"everybody:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
    key.write_text(KEY + "\n")
    gateway = fleet.start_gateway(MILLRACE_LISTEN=network.head.address, MILLRACE_API_KEY_FILE=keys)
    for machine in network.machines[1:]:
        machine.hide(fleet.blob_dir)
        fleet.start_worker(within=machine.within, wait=False, MILLRACE_SLOTS=2, MILLRACE_BLOB_URL=gateway.url,
                           MILLRACE_BLOB_KEY_FILE=key, MILLRACE_BLOB_DIR=os.path.join(machine.folder, "cache"))
    for worker in fleet.workers:
        worker.wait_ready()


def make_dataset(folder, count):
    """Name -> its picture. Every third one is too large for a message."""
    folder.mkdir()
    pictures = {}
    for number in range(count):
        size = SMALL if number % 3 else BIG
        picture = Image.frombytes("RGB", size, os.urandom(size[0] * size[1] * 3))
        picture.save(folder / f"leaf-{number:03}.tif")
        pictures[f"leaf-{number:03}.png"] = picture
    return pictures


class Caller:
    """Calls of the gateway with the key, and the client with it."""

    def __init__(self, fleet):
        self._fleet = fleet
        self.client = Client(fleet.gateways[0].url, MILLRACE_API_KEY=KEY)

    def get(self, path):
        answer = self._fleet.call("GET", path, headers={"Authorization": f"Bearer {KEY}"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def start_map(self, dataset, output):
        return self.client.start("map", "--kind", "image", "--ops", "rotate:180,convert:png", "--joblog",
                                 f"{output}.log", dataset, output)

    def running_on(self, group, machine):
        """The ids of the group's jobs that a worker of this machine has now."""
        jobs = self.get(f"/jobs?group={group}&state=in-progress&limit=1000")["jobs"]
        return {job["id"] for job in jobs if host_of(job) == machine.name}

    def ends(self, group):
        return self.get(f"/groups/{group}/ends?limit=1000")["ends"]


def host_of(record):
    return "-".join(record["worker"].split("-")[:2])


def group_of(output):
    with open(os.path.join(output, ".millrace", "journal"), encoding="utf-8") as file:
        return next(line.split("\t")[1].strip() for line in file if line.startswith("group\t"))


def has_done(mapping, output, count):
    if mapping.poll() is not None:
        pytest.fail(f"map ended: {mapping.communicate()}")
    return len(done_in(output)) >= count


def done_in(output):
    return [name for name in os.listdir(output) if name.endswith(".png")] if os.path.isdir(output) else []


def finish(mapping, deadline=150):
    try:
        out, err = mapping.communicate(timeout=deadline)
    except subprocess.TimeoutExpired:
        mapping.kill()
        out, err = mapping.communicate()
        raise AssertionError(f"map goes on for {deadline} s: {out} {err}") from None
    assert mapping.returncode == 0, f"{out}\n{err}"
    return out


def cut_at_work(network, machine, jobs_of):
    """Cuts the machine off while it has jobs, and returns those that it has then."""
    for _ in range(20):
        eventually(jobs_of, what=f"{machine.name} at work")
        network.cut(machine)
        held = jobs_of()
        if held:
            return held
        network.mend(machine)  # it was between two jobs
    raise AssertionError(f"{machine.name} never held a job when it was cut off")


def assert_right(output, pictures):
    assert sorted(done_in(output)) == sorted(pictures)
    for name, picture in pictures.items():
        with Image.open(output / name) as made:
            turned = picture.transpose(Image.Transpose.ROTATE_180)
            assert made.format == "PNG" and made.size == turned.size, name
            assert made.convert("RGB").tobytes() == turned.tobytes(), name


def test_a_host_that_is_cut_off_costs_time_and_nothing_else(machines, tmp_path):
    fleet, network = machines
    _, mill_a, mill_b = network.machines
    caller = Caller(fleet)
    dataset, output = tmp_path / "dataset", tmp_path / "output"
    pictures = make_dataset(dataset, FILES)

    mapping = caller.start_map(dataset, output)
    eventually(lambda: has_done(mapping, output, FILES // 3), deadline=60, what="a third of the outputs")
    group = group_of(output)
    held = cut_at_work(network, mill_b, lambda: caller.running_on(group, mill_b))
    out = finish(mapping)

    # every output, each once
    assert f"{FILES} of {FILES} files done, 0 failed" in out
    assert_right(output, pictures)
    ends = caller.ends(group)
    assert len(ends) == FILES == len({end["id"] for end in ends})
    assert {end["state"] for end in ends} == {"completed"}
    log = (tmp_path / "output.log").read_text().splitlines()[1:]
    assert sorted(line.split("\t")[0] for line in log) == sorted(str(number + 1) for number in range(FILES))

    # by both hosts; what the lost one held was run again by the other
    hosts = {end["id"]: host_of(end) for end in ends}
    assert set(hosts.values()) == {"mill-a", "mill-b"}
    again = [end for end in ends if end["id"] in held]
    assert len(again) == len(held)
    for end in again:
        assert host_of(end) == "mill-a" and end["losses"] >= 1 and end["attempt"] >= 2, end

    # they had nothing but the network: no file of the gateway's, and large results went up to it
    for machine in (mill_a, mill_b):
        assert machine.run("ls", fleet.blob_dir) == ""
    assert len(os.listdir(fleet.blob_dir)) >= FILES // 3

    # the same process works again when its cable is back
    worker = fleet.workers[1]
    eventually(lambda: not worker.is_ready(), what="mill-b knows that it is alone")
    network.mend(mill_b)
    worker.wait_ready(60)
    pictures = make_dataset(tmp_path / "more", 24)
    finish(caller.start_map(tmp_path / "more", tmp_path / "later"))
    assert_right(tmp_path / "later", pictures)
    ends = caller.ends(group_of(tmp_path / "later"))
    assert {host_of(end) for end in ends} == {"mill-a", "mill-b"}
    assert worker.is_alive()


def test_the_servers_are_closed_to_who_has_no_password(machines):
    fleet, _ = machines
    assert fleet.call("GET", "/stats").status_code == 401
    redis = subprocess.run(["redis-cli", "-h", "192.0.2.1", "-p", str(fleet.servers.redis_port), "ping"],
                           capture_output=True, text=True, check=False)
    assert "NOAUTH" in redis.stdout + redis.stderr
