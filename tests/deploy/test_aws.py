# SPDX-License-Identifier: Apache-2.0
"""deploy/aws as Terraform sees it, without an account: form, types, what must hold of a plan (deploy/aws/tests), and the dry run
that deploy/up makes of it. What Kubernetes has and AWS must match is compared here."""
import os
import re
import subprocess

import pytest
import yaml

import terraform
from cloud import Cloud
from manifests import ROOT, rendered

AWS = ROOT / "deploy" / "aws"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return terraform.Root(tmp_path_factory.mktemp("root"), "aws").init()


def text(name):
    return (AWS / name).read_text()


def test_it_is_written_as_terraform_writes(tmp_path):
    terraform.Root(tmp_path, "aws").must("fmt", "-check", "-recursive", "-diff")


def test_it_is_valid(root):
    root.must("validate", "-no-color")


def test_what_must_hold_of_a_plan_holds(root):
    ended = root.must("test", "-no-color", "-filter=tests/cluster.tftest.hcl")
    runs = len(re.findall(r"^run ", text("tests/cluster.tftest.hcl"), re.MULTILINE))
    assert f"Success! {runs} passed, 0 failed." in ended and runs >= 16


def test_a_wrong_taint_would_be_noticed(tmp_path):
    """The assertions look at what is planned: without the taint they fail."""
    changed = terraform.Root(tmp_path, "aws").init()
    nodes = changed.path / "nodes.tf"
    nodes.write_text(nodes.read_text().replace("for_each = local.workers.taints", "for_each = []"))
    assertions = changed.path / "tests" / "cluster.tftest.hcl"
    assertions.write_text("\nrun ".join(assertions.read_text().split("\nrun ")[:2]))
    failed = changed.run("test", "-no-color", "-filter=tests/cluster.tftest.hcl")
    assert failed.returncode and "nothing but workers may be put on them" in failed.stderr


def test_a_dry_run_needs_no_account(tmp_path):
    init = " ".join(terraform.options_of_init())
    cloud = Cloud(tmp_path, **terraform.environment(TF_CLI_ARGS_init=init, REAL_TERRAFORM=terraform.program(),
                                                   PATH=f"{tmp_path}/bin:{os.environ['PATH']}"))
    (cloud.state / "nobody").touch()
    ended = cloud.up("--allow", "203.0.113.0/24", "--spot", "--dry-run", timeout=300)
    assert not ended.returncode, ended.stdout[-3000:] + ended.stderr
    plan, _, manifests = ended.stdout.partition("# ---- ")
    assert re.search(r"Plan: \d\d to add, 0 to change, 0 to destroy", plan) and "made up" in plan
    assert plan.count('capacity_type          = "SPOT"') == 3 and "on Spot, about" in plan
    objects = list(yaml.safe_load_all(manifests.partition("\n")[2].rpartition("deploy/up:")[0]))
    assert {"RabbitmqCluster", "ScaledObject", "Deployment"} <= {one["kind"] for one in objects}
    assert not any(" apply" in call or "upgrade" in call for call in cloud.calls())


def test_nothing_of_an_account_or_a_region_is_written_down():
    for file in AWS.glob("*.tf"):
        code = re.sub(r"#.*", "", file.read_text())
        code = "\n".join(line for line in code.splitlines() if "description" not in line)
        assert not re.search(r"\b\d{12}\b|ami-[0-9a-f]|\b(us|eu|ap|sa|ca|me|af)-[a-z]+-\d|arn:aws:", code), file
        assert not re.search(r'^module "', code, re.MULTILINE), file


def test_the_cluster_autoscaler_may_what_it_is_documented_to_need():
    said = set(re.findall(r'"(\w+:\w+)"', text("identity.tf").partition("own_policies")[2].partition("logs = [")[0]))
    described = (ROOT / "docs/kubernetes.md").read_text().partition("**Pod Identity**")[2].partition("- **Operators**")[0]
    for name in ("AutoScalingGroups", "AutoScalingInstances", "LaunchConfigurations", "ScalingActivities", "Images",
                 "InstanceTypes", "LaunchTemplateVersions", "Nodegroup", "Tags"):
        assert name in described and any(one.endswith(f":Describe{name}") for one in said)
    assert {"autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"} <= said
    account, = (one for one in rendered("eks").all("ServiceAccount") if one["metadata"]["name"] == "cluster-autoscaler")
    assert account["metadata"]["namespace"] == "kube-system"


def test_types_of_instances_are_as_large_as_the_nodes_that_pods_are_made_for():
    """m and xlarge: 4 CPUs and 16 GiB, in every generation."""
    listed = re.search(r'variable "instance_types".*?default\s*=\s*\[(.*?)\]', text("variables.tf"), re.DOTALL).group(1)
    types = re.findall(r'"([^"]+)"', listed)
    groups = yaml.safe_load((ROOT / "hpa/nodes.yaml").read_text())["groups"]
    assert types[0] == groups[0]["instanceType"] and all(group["cores"] == 4 and group["memory"] == "16Gi" for group in groups)
    assert all(re.fullmatch(r"m\d[ai]?\.xlarge", one) for one in types)
    priced = dict(line.split() for line in text("prices").splitlines() if line and not line.startswith("#"))
    assert set(types) <= set(priced)


def test_every_chart_is_pinned_and_comes_over_tls():
    lines = [line.split() for line in (ROOT / "deploy/charts/versions").read_text().splitlines() if not line.startswith("#")]
    assert [line[0] for line in lines] and all(len(line) == 5 for line in lines)
    for name, repository, _, version, _ in lines:
        assert repository.startswith("https://") and re.fullmatch(r"\d+\.\d+\.\d+", version), name
    keda = yaml.safe_load((ROOT / "deploy/charts/keda.yaml").read_text())
    assert all(keda[part]["replicaCount"] == 2 for part in ("operator", "metricsServer", "webhooks"))
    assert next(line[3] for line in lines if line[0] == "keda") == re.search(
        r"^keda=(\S+)", (ROOT / "deploy/local").read_text(), re.MULTILINE).group(1)


@pytest.mark.parametrize("worker, wanted", [("m7i.xlarge,10,on-demand", 10), ("m7i.xlarge,10,spot", 4)])
def test_the_estimate_is_arithmetic_on_the_list(worker, wanted, tmp_path):
    ended = subprocess.run([AWS / "cost", "eu-central-1", "m7i.xlarge,3", worker, "1"], check=True, capture_output=True,
                           text=True, env={"PATH": os.environ["PATH"], "MILLRACE_OFFLINE": "1", "HOME": str(tmp_path)})
    rows = {line[:58].strip(): float(line[60:].split()[0]) for line in ended.stdout.splitlines()
            if re.search(r"\d\.\d{3} +\d+$", line)}
    parts = [value for name, value in rows.items() if not name.startswith(("with no job", "each worker", "at the most"))]
    idle, most = rows["with no job: all of these"], rows["at the most: 10 workers"]
    assert idle == pytest.approx(sum(parts), abs=0.003)
    assert most - idle == pytest.approx(wanted * 0.2016 + 10 * 40 * 0.08 / 730, abs=0.01)
    assert "Estimate" in ended.stdout and "2025" in ended.stdout
