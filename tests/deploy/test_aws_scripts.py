# SPDX-License-Identifier: Apache-2.0
"""The steps of deploy/up and deploy/down: their order, what a second run leaves alone, what a broken one goes on with. Account
and cluster are stood in for (stand_in_aws.py); test_aws_account.py has Terraform itself make and unmake an account."""
import shutil
import subprocess

import pytest

from cloud import Cloud, in_order, place
from manifests import ROOT

SCRIPTS = ["deploy/up", "deploy/down", "deploy/aws/common.sh", "deploy/aws/cost", "deploy/aws/render"]
ALLOW = ("--allow", "203.0.113.0/24", "--yes")


@pytest.fixture
def cloud(tmp_path):
    return Cloud(tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A cloud after one deploy/up: .ended, .called."""
    cloud = Cloud(tmp_path_factory.mktemp("made"))
    cloud.ended = cloud.up(*ALLOW)
    cloud.called = cloud.calls()
    assert not cloud.ended.returncode, cloud.ended.stdout + cloud.ended.stderr
    return cloud


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_the_scripts_are_clean():
    checked = subprocess.run(["shellcheck", "-x", *SCRIPTS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert not checked.returncode, checked.stdout


@pytest.mark.parametrize("script", ["up", "down"])
@pytest.mark.parametrize("arguments", [(), ("eu-central-1",), ("eu-central-1", "mill", "more"), ("eu-central-1", "mill", "--all")])
def test_what_is_no_argument_is_explained(cloud, script, arguments):
    refused = subprocess.run([cloud.tree / "deploy" / script, *arguments], capture_output=True, text=True, check=False,
                             env=cloud.env)
    assert refused.returncode == 2 and "REGION NAME" in refused.stderr and not cloud.calls()


# ---- up -------------------------------------------------------------------------------------------------------------


def test_up_makes_everything_in_this_order(made):
    in_order(made.called, ("terraform", " init "), ("terraform", " plan "), ("terraform", " apply "), "docker push",
             "kubectl kustomize", "aws eks update-kubeconfig", ("kubectl apply", "classes.yaml"),
             "helm upgrade --install kube-prometheus-stack", "helm upgrade --install keda",
             "helm upgrade --install loki", ("kubectl apply", "cluster-operator.yml"), "kubectl -n millrace create secret",
             ("kubectl apply", "millrace.yaml"), "rollout status deployment/millrace-api", "Ready scaledobject",
             ("curl", "matrix_multiplication"))
    said = made.ended.stdout
    assert '{"C":[[19,22],[43,50]]}' in said and "MILLRACE_URL=http://mill.elb.test:8080" in said
    assert not (made.own / "header").exists() and "the key" not in said + "\n".join(made.called)


def test_a_plan_is_shown_with_what_it_costs_before_anything_is_made(cloud):
    refused = cloud.up("--allow", "203.0.113.0/24")
    assert refused.returncode == 1 and "nobody is there to ask" in refused.stderr
    assert "with no job" in refused.stdout and "each worker, m7i.xlarge" in refused.stdout and "Estimate" in refused.stdout
    assert not any(" apply " in call for call in cloud.calls())


def test_manifests_are_of_this_cluster(made):
    objects = {(one["kind"], one["metadata"]["name"]): one for one in made.applied()}

    def container(kind, name):
        return objects[kind, name]["spec"]["template"]["spec"]["containers"][0]

    registry = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/mill"
    for name, image in (("millrace-api", "millrace-api"), ("millrace-worker-hash", "millrace-worker"),
                        ("millrace-worker-image", "millrace-worker-image")):
        assert container("Deployment", name)["image"].startswith(f"{registry}/{image}@sha256:")
    autoscaler = container("Deployment", "cluster-autoscaler")
    assert "--max-nodes-total=9" in autoscaler["command"] and autoscaler["image"].endswith(":v1.35.0")
    assert {one["name"]: one["value"] for one in autoscaler["env"]} == {"CLUSTER": "mill", "AWS_REGION": "eu-central-1"}
    assert objects["StorageClass", "millrace-files"]["parameters"]["fileSystemId"] == "fs-0123456789abcdef0"
    ranges = "service.beta.kubernetes.io/load-balancer-source-ranges"
    assert objects["Service", "millrace-api"]["metadata"]["annotations"][ranges] == "203.0.113.0/24"
    scaler = objects["ScaledObject", "millrace-worker-hash"]["spec"]["advanced"]["horizontalPodAutoscalerConfig"]
    assert float(scaler["behavior"]["scaleUp"]["tolerance"]) == 0  # known from 1.35 on
    assert {one["metadata"]["name"] for one in made.applied("classes.yaml")} == {"millrace-disk", "millrace-files"}


def test_charts_get_their_values_and_loki_its_bucket(made):
    call = next(call for call in made.called if "--install loki" in call)
    assert f"-f {made.own}/values/loki.yaml" in call
    values = (made.own / "values" / "loki.yaml").read_text()
    assert "chunks: mill-logs-1" in values and "region: eu-central-1" in values and "retention_period: 336h" in values


def test_a_second_run_makes_nothing_new(made):
    ended = made.up()  # neither who may, nor a yes: there is nothing to ask
    assert not ended.returncode, ended.stdout + ended.stderr
    calls = made.calls()
    assert not any(word in call for call in calls for word in (" apply -input", "docker", "create secret"))
    assert '"coredns":"v1"' in (made.state / "files").read_text()  # versions as they were found


def test_a_changed_source_is_another_image(made):
    with open(made.tree / "worker" / "main.c", "a", encoding="utf-8") as source:
        source.write("/* changed */\n")
    assert not made.up().returncode
    assert sum(call.startswith("docker push") for call in made.calls()) == 3


def test_what_was_said_holds_until_something_else_is_said(cloud):
    refused = cloud.up("--yes")
    assert refused.returncode == 1 and "--allow" in refused.stderr and not cloud.calls()
    cloud.up("--allow", "203.0.113.0/24,198.51.100.0/24", "--spot")  # which is as far as the question
    cloud.up()
    said = (cloud.state / "files").read_text()
    assert 'source_ranges = ["203.0.113.0/24", "198.51.100.0/24"]' in said and "spot = true" in said
    cloud.up("--on-demand")
    said = (cloud.state / "files").read_text()
    assert "198.51.100.0/24" in said and "spot = false" in said and "spot = true" not in said


def test_a_run_that_broke_off_goes_on_where_it_was(cloud):
    (cloud.state / "push-fails").touch()
    broken = cloud.up(*ALLOW)
    assert broken.returncode and not any("helm" in call for call in cloud.calls())
    (cloud.state / "push-fails").unlink()
    ended = cloud.up("--yes")
    assert not ended.returncode, ended.stdout + ended.stderr
    calls = cloud.calls()
    assert not any(" apply -input" in call for call in calls)
    assert [call.split("/")[-1].split(":")[0] for call in calls if call.startswith("docker push")] == [
        "millrace-worker", "millrace-worker-image"]


def test_a_chart_that_a_killed_run_was_at_is_gone_on_with(made):
    (made.state / "unfinished-loki").touch()
    ended = made.up()
    assert not ended.returncode, ended.stdout + ended.stderr
    assert not (made.state / "unfinished-loki").exists()


def test_a_rollout_reaches_the_gateway_from_where_the_balancer_lets_nobody_in(made):
    """A build machine is in no network of --allow; the API of the cluster knows it."""
    folder = made.tree / "rollout"
    folder.mkdir()
    for name in ("facts", "images"):
        shutil.copy(made.own / name, folder)
    made.calls()
    ended = subprocess.run([made.tree / "deploy" / "ci" / "rollout", folder], capture_output=True, text=True, check=False,
                           env=made.env, stdin=subprocess.DEVNULL, timeout=120)
    assert not ended.returncode, ended.stdout + ended.stderr
    assert '{"C":[[19,22],[43,50]]}' in ended.stdout
    calls = made.calls()
    in_order(calls, "kubectl kustomize", "aws eks update-kubeconfig", ("kubectl apply", "millrace.yaml"),
             "rollout status deployment/millrace-api", "port-forward service/millrace-api", ("curl", "matrix_multiplication"))
    assert all("http://127.0.0.1:45678/" in call for call in calls if call.startswith("curl"))
    assert "the key" not in "\n".join(calls) + ended.stdout


def test_without_credentials_nothing_begins(cloud):
    (cloud.state / "nobody").touch()
    refused = cloud.up(*ALLOW)
    assert refused.returncode == 1 and "credentials" in refused.stderr
    assert not any(call.startswith(("terraform", "kubectl", "docker")) for call in cloud.calls())


def test_a_dry_run_changes_nothing(cloud):
    ended = cloud.up("--allow", "203.0.113.0/24", "--dry-run")
    assert not ended.returncode, ended.stdout + ended.stderr
    assert "kind: RabbitmqCluster" in ended.stdout and "with no job" in ended.stdout
    for call in cloud.calls():
        assert not any(word in call for word in (" apply", "docker", "upgrade", "create", "update-kubeconfig")), call
    refused = cloud.up("--yes")
    assert refused.returncode == 1 and "--allow" in refused.stderr  # nobody has been let in by looking


def test_workers_on_spot_hand_their_jobs_back_within_the_notice(cloud):
    dry = cloud.own / "dry"
    dry.mkdir(parents=True)
    (dry / "images").write_text("millrace-api registry.test/millrace-api@sha256:" + "0" * 64 + "\n")
    facts = {"CLUSTER": "mill", "REGION": "eu-central-1", "FILE_SYSTEM": "fs-1", "SOURCE_RANGES": "203.0.113.0/24",
             "KUBERNETES": "1.34", "NODES_MAX": "9", "SPOT": "true"}
    (dry / "facts").write_text("".join(f"{key}={value}\n" for key, value in facts.items()))
    subprocess.run([cloud.tree / "deploy" / "aws" / "render", dry], check=True, env=cloud.env)
    (cloud.state / "applied-millrace.yaml").write_text((dry / "millrace.yaml").read_text())
    workers = [one["spec"]["template"]["spec"] for one in cloud.applied()
               if one["kind"] == "Deployment" and one["metadata"]["name"].startswith("millrace-worker-")]
    assert len(workers) == 5
    for pod in workers:
        env = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
        assert int(env["MILLRACE_GRACE_SECONDS"]) + 30 <= pod["terminationGracePeriodSeconds"] < 120
        assert int(env["MILLRACE_LOSSES_MAX"]) > 5
    assert "tolerance" not in (dry / "millrace.yaml").read_text()  # 1.34 does not know it


# ---- down -------------------------------------------------------------------------------------------------------------


def test_down_removes_what_the_cluster_made_before_the_cluster(cloud):
    cloud.make()
    ended = cloud.run("down", "--yes")
    assert not ended.returncode, ended.stdout + ended.stderr
    calls = cloud.calls()
    in_order(calls, "delete scaledobject", "delete triggerauthentication", "helm uninstall keda")
    in_order(calls, "delete scaledobject", "delete pod -l app.kubernetes.io/name=millrace-worker",
             "-n millrace delete service millrace-api", "delete rabbitmqcluster", "helm uninstall loki",
             "delete namespace millrace", "delete persistentvolumeclaim", "get persistentvolume -o name",
             "ec2 describe-volumes", ("terraform", " state rm aws_s3_bucket.logs"), ("terraform", " destroy "),
             "aws logs delete-log-group")  # which EKS may have made anew
    assert "mill-logs-1" in ended.stdout  # is said to stay
    assert not (cloud.own / "kubeconfig").exists() and not (cloud.own / "images").exists()


@pytest.mark.parametrize("what, where", [("volumes", "persistentvolume/pvc-1"), ("disks", "vol-1")])
def test_a_volume_that_stays_keeps_the_cluster(cloud, what, where):
    (cloud.make().state / what).write_text(where)
    failed = cloud.run("down", "--yes")
    assert failed.returncode == 1 and where.split("/")[-1] in failed.stderr
    assert not any(" destroy " in call for call in cloud.calls())
    (cloud.state / what).unlink()
    assert not cloud.run("down", "--yes").returncode


def test_down_with_logs_takes_the_bucket_too(cloud):
    assert not cloud.make().run("down", "--yes", "--logs").returncode
    assert not any(" state rm " in call for call in cloud.calls())


def test_down_asks_for_the_name(cloud):
    refused = cloud.make().run("down")
    assert refused.returncode == 1 and not any(word in call for call in cloud.calls() for word in (" delete ", " destroy "))


def test_an_account_that_does_not_answer_is_not_taken_for_an_empty_one(cloud):
    (cloud.make().state / "no-answer").touch()
    failed = cloud.run("down", "--yes")
    assert failed.returncode == 1 and not any(" destroy " in call for call in cloud.calls())


@pytest.mark.parametrize("status", ["CREATING", "DELETING", "FAILED"])
def test_a_cluster_that_cannot_be_asked_is_not(cloud, status):
    (cloud.make().state / "status").write_text(status)
    ended = cloud.run("down", "--yes")
    assert not ended.returncode, ended.stdout + ended.stderr
    calls = cloud.calls()
    assert not any(call.startswith(("kubectl", "helm")) or "update-kubeconfig" in call for call in calls)
    assert place(calls, "terraform", " destroy ")


@pytest.mark.parametrize("is_cluster_gone", [True, False])
def test_what_nodes_left_in_the_network_goes_when_it_is_in_the_way(cloud, is_cluster_gone):
    (cloud.make().state / "interface").touch()
    if is_cluster_gone:
        (cloud.state / "cluster-lost").touch()
    ended = cloud.run("down", "--yes")
    assert not ended.returncode, ended.stdout + ended.stderr
    calls = cloud.calls()
    assert sum(" destroy " in call for call in calls) == 2
    assert any("delete-security-group" in call for call in calls) == is_cluster_gone  # else it is in use


def test_down_without_a_cluster_takes_away_the_rest(cloud):
    (cloud.make().state / "cluster-lost").touch()
    assert not cloud.run("down", "--yes").returncode
    calls = cloud.calls()
    assert not any(call.startswith(("kubectl", "helm")) for call in calls) and place(calls, "terraform", " destroy ")
