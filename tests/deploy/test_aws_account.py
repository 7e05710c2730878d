# SPDX-License-Identifier: Apache-2.0
"""deploy/up and deploy/down make and unmake an account for real, as far as moto has one: Terraform, its provider and the API are
real programs on this machine; the cluster inside is stood in for.

Left out of the root, since moto does not have them or never finishes them: EKS's add-ons, pod identity associations, access
entries, tags of Auto Scaling groups, the bucket's lifecycle, the rule that names the cluster's own security group.
"""
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import time

import pytest
import requests

import terraform
from cloud import Cloud
from harness import LONG

pytestmark = pytest.mark.skipif(not LONG, reason="minutes with an imitation of AWS: with --all")

LACKING = ("aws_eks_addon", "aws_eks_pod_identity_association", "aws_eks_access_entry", "aws_eks_access_policy_association",
           "aws_autoscaling_group_tag", "aws_s3_bucket_lifecycle_configuration", "aws_vpc_security_group_ingress_rule")
SERVICES = ("autoscaling", "ec2", "ecr", "efs", "eks", "iam", "logs", "s3", "s3control", "sts")
ADDONS = ("vpc-cni", "kube-proxy", "eks-pod-identity-agent", "coredns", "metrics-server", "aws-ebs-csi-driver",
          "aws-efs-csi-driver")


@pytest.fixture
def moto(tmp_path):
    if not shutil.which("moto_server"):
        pytest.skip("moto_server is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with open(tmp_path / "moto.log", "w", encoding="utf-8") as log:
        server = subprocess.Popen(["moto_server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log,
                                  env={**os.environ, "MOTO_IAM_LOAD_MANAGED_POLICIES": "true"})
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until and server.poll() is None:
            with contextlib.suppress(requests.ConnectionError):
                requests.get(url, timeout=10)
                break
            time.sleep(0.1)
        if server.poll() is not None:
            pytest.skip("moto_server does not start: " + (tmp_path / "moto.log").read_text()[-300:])
        yield url
    finally:
        server.terminate()
        server.wait(20)


def asked(url, service, query=""):
    """The account's own answer, to somebody whose signature nobody checks."""
    signed = f"AWS4-HMAC-SHA256 Credential=nobody/20260101/eu-central-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    return requests.get(f"{url}/{query}", headers={"Authorization": signed}, timeout=60).text


def networks(url):
    return set(re.findall(r"<vpcId>([^<]+)", asked(url, "ec2", "?Action=DescribeVpcs&Version=2016-11-15")))


def buckets(url):
    return re.findall(r"<Name>([^<]+)", asked(url, "s3"))


def without_what_is_lacking(root):
    for file in root.glob("*.tf"):
        text = re.sub(rf'^resource "({"|".join(LACKING)})" .*?^}}\n', "", file.read_text(), flags=re.MULTILINE | re.DOTALL)
        text = text.replace("aws_eks_addon.before_nodes, ", "")
        file.write_text(text)


def towards(root, url):
    endpoints = "\n".join(f'    {service} = "{url}"' for service in SERVICES)
    (root / "moto_override.tf").write_text(f"""
provider "aws" {{
  access_key                  = "nobody"
  secret_key                  = "nobody"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  s3_use_path_style           = true
  endpoints {{
{endpoints}
  }}
}}
""")
    (root / "eu-central-1-mill.tfvars").write_text(
        'github_repository = "someone/mill"\nmax_workers = 6\naddon_versions = ' + json.dumps(dict.fromkeys(ADDONS, "v1")))


def test_up_makes_an_account_and_down_unmakes_it_but_for_the_logs(tmp_path, moto):
    init = " ".join(terraform.options_of_init())
    cloud = Cloud(tmp_path, **terraform.environment(TF_CLI_ARGS_init=init, TF_CLI_ARGS_destroy="-refresh=false",
                                                   REAL_TERRAFORM=terraform.program(), PATH=f"{tmp_path}/bin:{os.environ['PATH']}"))
    root = cloud.tree / "deploy" / "aws"
    without_what_is_lacking(root)
    towards(root, moto)
    (cloud.state / "made").touch()
    before = networks(moto)

    ended = cloud.up("--allow", "203.0.113.0/24", "--yes", timeout=500)
    assert not ended.returncode, ended.stdout[-5000:] + ended.stderr[-5000:]
    facts = dict(line.split("=", 1) for line in (cloud.own / "facts").read_text().splitlines())
    assert re.fullmatch(r"fs-[0-9a-f]+", facts["FILE_SYSTEM"]) and facts["NODES_MAX"] == "9" and facts["CLUSTER"] == "mill"
    state = json.loads((cloud.own / "terraform.tfstate").read_text())["resources"]
    of = {(one["type"], one["name"]): [instance["attributes"] for instance in one["instances"]] for one in state}
    assert len(of["aws_eks_node_group", "worker"]) == 3
    default, = of["aws_default_security_group", "this"]
    assert not default["ingress"] and not default["egress"]
    assert not any(subnet["map_public_ip_on_launch"] for name in ("private", "public") for subnet in of["aws_subnet", name])
    assert networks(moto) == before | {of["aws_vpc", "this"][0]["id"]}
    applied = {one["metadata"]["name"]: one for one in cloud.applied("classes.yaml")}
    assert applied["millrace-files"]["parameters"]["fileSystemId"] == facts["FILE_SYSTEM"]

    ended = cloud.run("down", "--yes", timeout=500)
    assert not ended.returncode, ended.stdout[-5000:] + ended.stderr[-5000:]
    assert not json.loads((cloud.own / "terraform.tfstate").read_text())["resources"]
    assert networks(moto) == before
    bucket, = buckets(moto)
    assert bucket.startswith("mill-logs-") and bucket in ended.stdout
