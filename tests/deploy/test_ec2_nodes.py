# SPDX-License-Identifier: Apache-2.0
"""What an instance of deploy/ec2 does when it starts, with its programs replaced (instance.sh): who makes the tokens, who
waits, who joins whom, and who is let in."""
import hashlib
import os
import pathlib
import re
import shutil
import stat
import subprocess

import pytest
import yaml

from manifests import ROOT

FOLDER = ROOT / "deploy" / "ec2" / "node"
SERVERS = ["10.64.0.10", "10.64.1.11", "10.64.2.12"]
RELEASE = "https://github.com/k3s-io/k3s/releases/download/v1.34.9%2Bk3s1"
PROGRAMS = ("curl", "systemctl", "mountpoint", "mount", "blkid", "mkfs.ext4", "apt-get", "exportfs", "mount.nfs", "chown",
            "k3s")
CA = "-----BEGIN CERTIFICATE-----\n"
AGENT_TOKEN = f"K10{hashlib.sha256(CA.encode()).hexdigest()}::0123abcd"


class Instance:
    """The scripts with every path of theirs below a folder."""

    def __init__(self, folder, role, address, **facts):
        self.folder, self.web = folder, {}
        for name in ("etc/millrace", "bin", "state", "rancher", "dev"):
            (folder / name).mkdir(parents=True)
        for name in PROGRAMS:
            program = shutil.copy(pathlib.Path(__file__).with_name("instance.sh"), folder / "bin" / name)
            pathlib.Path(program).chmod(0o755)
        for name in ("millrace-node", "millrace-usher"):
            text = (FOLDER / name).read_text()
            for path, other in (("/var/lib/rancher", "rancher"), ("/dev/disk/by-id", "dev"), ("/usr/local/bin", "bin"),
                                ("/etc/", "etc/")):
                text = re.sub(rf"(?<![\w}}]){path}", f"{folder}/{other}", text)
            (folder / name).write_text(text)
        lines = {"ROLE": role, "NAME": "mill", "SERVERS": " ".join(SERVERS), "GATEWAYS": "10.64.0.20 10.64.1.21",
                 "K3S_VERSION": "v1.34.9+k3s1", **facts}
        (folder / "etc/millrace/node.env").write_text("".join(f'{key}="{value}"\n' for key, value in lines.items()))
        (folder / "dev/nvme-Amazon_Elastic_Block_Store_vol0ab").touch()
        meta = "http://169.254.169.254/latest/"
        self.web = {meta + "api/token": "session", meta + "meta-data/local-ipv4": address,
                    meta + "meta-data/placement/availability-zone": "eu-central-1a", meta + "meta-data/instance-id": "i-0new",
                    RELEASE + "/k3s": "#!/bin/true\n",
                    RELEASE + "/sha256sum-amd64.txt": hashlib.sha256(b"#!/bin/true\n").hexdigest() + "  k3s"}

    def answers(self, *servers):
        for server in servers:
            self.web[f"https://{server}:6443/ping"] = "pong"
            self.web[f"https://{server}:6443/cacerts"] = CA
            self.web[f"https://{server}:6443/static/k3s"] = "#!/bin/true\n"

    def run(self, script="millrace-node", **env):
        shutil.rmtree(self.folder / "state/web", ignore_errors=True)
        (self.folder / "state/web").mkdir()
        for url, content in self.web.items():
            (self.folder / "state/web" / url.replace("/", "_")).write_text(content)
        return subprocess.run(["/bin/sh", self.folder / script], capture_output=True, text=True, check=False, timeout=30,
                              stdin=subprocess.DEVNULL, env={"PATH": f"{self.folder}/bin:{os.environ['PATH']}",
                                                             "STAND_IN_STATE": str(self.folder / "state"), **env})

    def start(self):
        ended = self.run()
        assert not ended.returncode, ended.stderr
        return yaml.safe_load((self.folder / "etc/rancher/k3s/config.yaml").read_text())

    def waits(self, word):
        ended = self.run()
        assert ended.returncode == 1 and word in ended.stderr, ended.stderr
        assert not self.called("systemctl start")

    def called(self, text):
        calls = self.folder / "state/calls"
        return calls.exists() and text in calls.read_text()

    def path(self, name):
        return self.folder / name


@pytest.fixture
def instance(tmp_path):
    count = iter(range(10))
    return lambda role, address, **facts: Instance(tmp_path / str(next(count)), role, address, **facts)


@pytest.fixture
def server(instance):
    def make(index):
        return instance("server", SERVERS[index], MODE="server", NODE_NAME=f"mill-server-{index + 1}", DATA_VOLUME="vol-0ab",
                        IS_STORE="1" if index == 0 else "", WORKERS="10.64.16.0/20 10.64.32.0/20")
    return make


def give_tokens(one):
    folder = one.path("rancher/millrace/tokens")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("server", "agent"):
        (folder / name).write_text("secret")


# ---- servers -----------------------------------------------------------------------------------------------------


def test_the_first_server_of_all_makes_the_tokens_and_begins(server):
    first = server(0)
    config = first.start()
    assert config["cluster-init"] is True and "server" not in config
    assert config["node-name"] == "mill-server-1" and config["node-label"] == ["millrace/system=true", "millrace/store=true"]
    assert {"provider-id=aws:///eu-central-1a/i-0new", "cloud-provider=external"} <= set(config["kubelet-arg"])
    assert config["disable-cloud-controller"] is config["embedded-registry"] is config["secrets-encryption"] is True
    assert set(SERVERS) == set(config["tls-san"])
    tokens = [pathlib.Path(config[name]) for name in ("token-file", "agent-token-file")]
    assert len({path.read_text() for path in tokens}) == 2
    assert all(len(path.read_text()) == 48 and stat.S_IMODE(path.stat().st_mode) == 0o600 for path in tokens)
    assert stat.S_IMODE(tokens[0].parent.stat().st_mode) == 0o700
    assert first.called("mkfs.ext4") and first.called("systemctl start --no-block k3s.service")
    assert yaml.safe_load(first.path("etc/rancher/k3s/registries.yaml").read_text()) == {"mirrors": {"*": None}}
    kept = [path.read_text() for path in tokens]
    assert first.start() == config and [path.read_text() for path in tokens] == kept


def test_the_first_server_hands_blobs_to_the_gateways_alone(server):
    first = server(0)
    first.start()
    exports = first.path("etc/exports.d/millrace.exports").read_text().splitlines()
    assert [line.split("(")[0].split()[1] for line in exports] == ["10.64.0.20", "10.64.1.21"]
    assert all("all_squash,anonuid=10001,anongid=10001" in line and "sync" in line for line in exports)
    second = server(1)
    give_tokens(second)
    second.answers(SERVERS[0])
    second.start()
    assert not second.path("etc/exports.d/millrace.exports").exists()


def test_a_later_server_waits_for_the_tokens_and_then_for_the_first(server):
    second = server(1)
    second.waits("tokens")
    give_tokens(second)
    second.waits("no server answers")
    second.answers(SERVERS[0])
    config = second.start()
    assert config["server"] == "https://10.64.0.10:6443" and "cluster-init" not in config


def test_a_first_server_without_its_volume_begins_no_second_fleet(server):
    first = server(0)
    first.answers(SERVERS[2])
    first.waits("tokens")
    give_tokens(first)
    config = first.start()
    assert config["server"] == "https://10.64.2.12:6443" and "cluster-init" not in config


def test_a_replaced_server_joins_anew_and_keeps_the_volumes_of_pods(server):
    third = server(2)
    give_tokens(third)
    third.path("rancher/instance").write_text("i-0old\n")
    etcd, volume = third.path("rancher/k3s/server/db/etcd"), third.path("rancher/k3s/storage/pvc-1")
    etcd.mkdir(parents=True)
    volume.mkdir(parents=True)
    third.answers(SERVERS[1])
    assert third.start()["server"] == "https://10.64.1.11:6443"
    assert not etcd.exists() and volume.exists()


def test_a_server_that_only_started_again_keeps_its_etcd(server):
    third = server(2)
    give_tokens(third)
    third.path("rancher/instance").write_text("i-0new\n")
    etcd = third.path("rancher/k3s/server/db/etcd")
    etcd.mkdir(parents=True)
    third.answers(*SERVERS[:2])
    third.start()
    assert etcd.exists()


def test_when_all_servers_were_replaced_etcd_is_kept(server):
    third = server(2)
    give_tokens(third)
    third.path("rancher/instance").write_text("i-0old\n")
    etcd = third.path("rancher/k3s/server/db/etcd")
    etcd.mkdir(parents=True)
    third.start()
    assert etcd.exists()


@pytest.mark.parametrize("filesystem, is_made", [(None, True), ("ext4", False)])
def test_a_volume_is_formatted_once(server, filesystem, is_made):
    first = server(0)
    if filesystem:
        first.path("state/filesystem").write_text(filesystem)
    first.start()
    assert first.called("mkfs.ext4") == is_made


def test_a_volume_with_something_else_on_it_is_left_alone(server):
    first = server(0)
    first.path("state/filesystem").write_text("xfs")
    first.waits("something else")
    assert not first.called("mkfs.ext4")


def test_a_release_that_arrives_damaged_is_not_run(server):
    first = server(0)
    first.web[RELEASE + "/k3s"] = "half"
    first.waits("damaged")


# ---- gateways and workers ------------------------------------------------------------------------------------------


def test_a_worker_asks_for_the_token_and_joins_with_label_and_taint(instance):
    worker = instance("worker", "10.64.16.7", MODE="agent", IS_SPOT="")
    worker.waits("no server hands out")
    worker.web["http://10.64.1.11:6450/"] = AGENT_TOKEN
    worker.waits("no server answers")
    worker.answers(SERVERS[1])
    worker.path("bin/k3s").unlink()
    config = worker.start()
    assert config["server"] == "https://10.64.1.11:6443" and config["node-name"] == "i-0new"
    assert config["node-label"] == ["millrace/worker=true"] and config["node-taint"] == ["millrace/worker=true:NoSchedule"]
    token = pathlib.Path(config["token-file"])
    assert token.read_text().strip() == AGENT_TOKEN and stat.S_IMODE(token.stat().st_mode) == 0o600
    assert os.access(worker.path("bin/k3s"), os.X_OK)
    assert not worker.called("apt-get") and not worker.called("millrace-spot")
    grace = yaml.safe_load(worker.path("rancher/k3s/agent/etc/kubelet.conf.d/50-millrace.conf").read_text())
    assert grace["kind"] == "KubeletConfiguration" and grace["shutdownGracePeriod"] == "112s"


def test_a_server_of_another_fleet_gets_no_token(instance):
    worker = instance("worker", "10.64.16.7", MODE="agent")
    worker.path("etc/millrace/token").write_text(AGENT_TOKEN + "\n")
    worker.answers(SERVERS[0])
    worker.web["https://10.64.0.10:6443/cacerts"] = "-----BEGIN CERTIFICATE-----other\n"
    worker.waits("not of this fleet")


def test_a_spot_worker_listens_for_its_end(instance):
    worker = instance("worker", "10.64.16.7", MODE="agent", IS_SPOT="1")
    worker.web["http://10.64.0.10:6450/"] = AGENT_TOKEN
    worker.answers(SERVERS[0])
    worker.start()
    assert worker.called("systemctl enable --now millrace-spot.service")


def test_a_gateway_waits_for_the_token_that_is_brought_to_it(instance):
    gateway = instance("gateway", "10.64.0.20", MODE="agent")
    gateway.web["http://10.64.0.10:6450/"] = AGENT_TOKEN
    gateway.answers(*SERVERS)
    gateway.waits("not brought the token")
    gateway.path("etc/millrace/token").write_text(AGENT_TOKEN + "\n")
    assert gateway.start()["node-taint"] == ["millrace/gateway=true:NoSchedule"]


# ---- who is let in -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address, is_let_in", [
    ("10.64.16.7", True), ("10.64.31.254", True), ("10.64.40.1", True),
    ("10.64.16.8", False),                          # a node already: whoever asks may be a pod on it
    ("10.42.3.9", False), ("10.64.0.20", False),    # a pod; a gateway
    ("10.64.48.1", False), ("10.65.16.7", False),
])
def test_only_an_instance_of_a_workers_subnet_that_is_no_node_gets_the_token(server, address, is_let_in):
    first = server(0)
    first.path("rancher/k3s/server").mkdir(parents=True)
    first.path("rancher/k3s/server/agent-token").write_text(AGENT_TOKEN + "\n")
    first.path("state/nodes").write_text("10.64.0.10\n10.64.16.8\n")
    said = first.run("millrace-usher", REMOTE_ADDR=address).stdout
    assert said.startswith("HTTP/1.0 200" if is_let_in else "HTTP/1.0 403")
    assert (AGENT_TOKEN in said) == is_let_in


def test_a_server_that_does_not_know_its_nodes_lets_nobody_in(server):
    first = server(0)
    first.path("rancher/k3s/server").mkdir(parents=True)
    first.path("rancher/k3s/server/agent-token").write_text(AGENT_TOKEN + "\n")
    said = first.run("millrace-usher", REMOTE_ADDR="10.64.16.7")  # its k3s fails: no list of nodes
    assert said.returncode and AGENT_TOKEN not in said.stdout and "200" not in said.stdout
