# SPDX-License-Identifier: Apache-2.0
"""The root of deploy/ec2 applied, looked at and destroyed, against a service that answers as AWS does; and what cloud-init
would be given.

Terraform's provider has fixed waits: ten seconds for an instance, twenty for a disk that is attached."""
import base64
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.parse
import urllib.request

import pytest
import yaml

import terraform
from harness import LONG, free_port
from manifests import ROOT

pytestmark = pytest.mark.skipif(not LONG, reason="minutes with an imitation of AWS: with --all")

USER_DATA_MAX = 16384  # bytes, before base64


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    terraform.program()
    made = terraform.Root(tmp_path_factory.mktemp("root"), "ec2")
    made.must("init", "-input=false", "-no-color", f"-backend-config=path={made.path}/terraform.tfstate",
              *terraform.options_of_init())
    return made


class Cloud:
    def __init__(self, folder):
        self.port = free_port()
        self.log = (folder / "moto.log").open("wb")
        self.process = subprocess.Popen(["moto_server", "-H", "127.0.0.1", "-p", str(self.port)], stdout=self.log,
                                        stderr=self.log, start_new_session=True)

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()

    def await_answer(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "moto_server has ended"
            try:
                return self.get("/moto-api/data.json")
            except OSError:
                time.sleep(0.1)
        raise AssertionError("moto_server does not answer")

    def register_image(self, name):
        """An image of the account itself, for the root to find."""
        form = urllib.parse.urlencode({"Action": "RegisterImage", "Version": "2016-11-15", "Name": name,
                                       "RootDeviceName": "/dev/xvda"})
        told = "AWS4-HMAC-SHA256 Credential=test/20260101/eu-central-1/ec2/aws4_request, SignedHeaders=host, Signature=0"
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}/", form.encode(), {"Authorization": told})
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return re.search(r"<imageId>(ami-\w+)<", answer.read().decode())[1]

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(20)
        self.log.close()

    @property
    def env(self):
        return {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}", "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test"}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    if not shutil.which("moto_server"):
        pytest.skip("moto_server is not installed")
    made = Cloud(tmp_path_factory.mktemp("cloud"))
    made.await_answer()
    yield made
    made.stop()


ARGUMENTS = ("-input=false", "-no-color", "-auto-approve", "-parallelism=32", "-var=region=eu-central-1", "-var=name=mill",
             '-var=ami_owners=["123456789012"]', "-var=ssh_public_key=ssh-ed25519 "
             "AAAAC3NzaC1lZDI1NTE5AAAAIKUDxOcZg2nbL6vaVI0/xL1Kk6zpWUZLbdUVmfJXbXrp mill",
             '-var=client_ranges=["192.0.2.0/24"]', '-var=admin_ranges=["203.0.113.7/32"]')


def test_a_dry_run_shows_the_real_plan_and_makes_nothing(cloud, tmp_path):
    for name in ("kubectl", "ssh-keygen"):
        if not shutil.which(name):
            pytest.skip(f"{name} is not installed")
    terraform.program()
    cloud.register_image("debian-12-amd64-20260101-1")
    home = tmp_path / "home"
    own = home / ".config/millrace/ec2-eu-central-1-mill"
    own.mkdir(parents=True)
    (own / "terraform.tfvars").write_text('ami_owners = ["123456789012"]\n')
    ended = subprocess.run(
        [ROOT / "deploy/ec2/up", "eu-central-1", "mill", "--dry-run", "--allow", "192.0.2.0/24"], capture_output=True,
        text=True, check=False, timeout=200,
        env=terraform.environment(HOME=str(home), TF_CLI_ARGS_init=" ".join(terraform.options_of_init()), **cloud.env))
    assert not ended.returncode, ended.stderr
    assert re.search(r"Plan:\S* \d\d to add, 0 to change, 0 to destroy", ended.stdout)
    assert "    server: 10.64.0.10\n" in ended.stdout, "what is planned is what is rendered"
    assert not list(own.glob("terraform.tfstate*"))


def test_all_of_it_is_made_and_goes(root, cloud):
    cloud.register_image("debian-11-amd64-20260101-1")
    image = cloud.register_image("debian-12-amd64-20260101-1")
    root.must("apply", *ARGUMENTS, **cloud.env)
    state = json.loads(root.must("show", "-json", **cloud.env))["values"]["root_module"]["resources"]
    by_address = {one["address"]: one["values"] for one in state}

    assert by_address["aws_instance.gateway[0]"]["ami"] == by_address["aws_launch_template.worker"]["image_id"] == image
    assert len({by_address[f"aws_eip_association.gateway[{i}]"]["public_ip"] for i in range(2)}) == 2
    urls = json.loads(root.must("output", "-json", **cloud.env))["urls"]["value"].split(",")
    assert len(set(urls)) == 2 and all(re.fullmatch(r"http://[0-9.]+:30080", url) for url in urls)
    assert all(not by_address[f"aws_instance.gateway[{i}]"]["iam_instance_profile"] for i in range(2))
    check_user_data([one["values"] for one in state if "user_data" in one["values"]])
    assert not re.search(r"K10[0-9a-f]{8}|PRIVATE KEY|BEGIN ", json.dumps(state)), "the state has a secret"

    root.must("destroy", *ARGUMENTS, **cloud.env)
    assert root.must("state", "list", **cloud.env) == ""


def check_user_data(values):
    """What cloud-init gets: YAML with files and a command, small enough, and every script of it clean."""
    texts = set()
    for one in values:
        texts.add(base64.b64decode(one.get("user_data_base64") or one["user_data"]).decode())
    assert len(texts) == 1 + 1 + 3  # gateways, workers; each server has its own name and volume
    for text in texts:
        assert text.startswith("#cloud-config\n") and len(text.encode()) < USER_DATA_MAX
        said = yaml.safe_load(text)
        assert set(said) == {"write_files", "runcmd"}
        files = {one["path"]: one for one in said["write_files"]}
        assert all(set(one) == {"path", "content", "permissions"} for one in files.values())
        role = re.search(r'^ROLE="(\w+)"$', files["/etc/millrace/node.env"]["content"], re.MULTILINE)[1]
        assert ("/usr/local/sbin/millrace-usher" in files) == (role == "server")
        assert ("/usr/local/sbin/millrace-spot" in files) == (role == "worker")
        for path, one in files.items():
            assert one["content"].startswith("#") or path.endswith("node.env")
            assert (one["permissions"] == "0755") == path.startswith("/usr/local/sbin/")
            if path.startswith("/usr/local/sbin/") and shutil.which("shellcheck"):
                checked = subprocess.run(["shellcheck", "--shell=sh", "-"], input=one["content"], text=True, check=False,
                                         capture_output=True)
                assert not checked.returncode, checked.stdout
        for unit in said["runcmd"][0][4:]:
            assert f"/etc/systemd/system/{unit}" in files
        if shutil.which("cloud-init"):
            checked = subprocess.run(["cloud-init", "schema", "--config-file", "/dev/stdin"], input=text, text=True,
                                     check=False, capture_output=True)
            assert not checked.returncode, checked.stdout + checked.stderr
