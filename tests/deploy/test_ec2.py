# SPDX-License-Identifier: Apache-2.0
"""overlays/ec2 against the root of deploy/ec2, and the scripts up, down and tunnel, with programs that stand in for
Terraform, ssh and the cluster: in which order they do what, what they keep, and what nobody gets to see."""
import os
import pathlib
import re
import shutil
import stat
import subprocess

import pytest
import yaml

from manifests import ROOT, groups_of_nodes, quantity, rendered, settings

FOLDER = ROOT / "deploy" / "ec2"
SCRIPTS = [FOLDER / name for name in ("up", "down", "tunnel")]
ON_NODES = [FOLDER / "node" / name for name in ("millrace-node", "millrace-usher", "millrace-spot")]
ROOT_TEXT = "".join(path.read_text() for path in sorted(FOLDER.glob("*.tf")))


def default(name):
    """Of a variable of the root, as it is written."""
    return re.search(rf'variable "{name}" \{{.*?default +=\s*(.*?)$', ROOT_TEXT, re.MULTILINE | re.DOTALL)[1]


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_the_scripts_are_clean():
    checked = subprocess.run(["shellcheck", "--shell=sh", "--external-sources", "--check-sourced", f"--source-path={ROOT}",
                              *SCRIPTS, *ON_NODES], capture_output=True, text=True, check=False)
    assert not checked.returncode, checked.stdout


def test_no_managed_service_is_in_the_root():
    kinds = set(re.findall(r'^resource "(\w+)"', ROOT_TEXT, re.MULTILINE))
    assert kinds and all(re.match(r"aws_(vpc|subnet|route_table|internet_gateway|default_security_group|security_group|"
                                  r"instance|eip|ebs_volume|volume_attachment|launch_template|autoscaling_group|key_pair|"
                                  r"iam_)", kind) for kind in kinds), kinds
    assert not re.search(r"\b(eu|us|ap|sa|ca|me|af|cn)-[a-z]+-\d", ROOT_TEXT), "a region is written down"
    assert not re.search(r"arn:aws:|amazonaws\.com|ami-0", ROOT_TEXT)


# ---- the overlay and the root ----------------------------------------------------------------------------------------


def test_the_port_that_is_open_is_the_one_that_is_served_by_each_gateway_itself():
    spec = rendered("ec2").get("Service", "millrace-api")["spec"]
    port, = spec["ports"]
    assert spec["type"] == "NodePort" and spec["externalTrafficPolicy"] == "Local"
    assert port["nodePort"] == int(re.search(r"^ *port *= (\d+) #", ROOT_TEXT, re.MULTILINE)[1])


def test_labels_and_taints_are_those_that_instances_get():
    node = (FOLDER / "node" / "millrace-node").read_text()
    assert 'node-label: ["millrace/$ROLE=true"]' in node and 'node-taint: ["millrace/$ROLE=true:NoSchedule"]' in node
    cluster = rendered("ec2")
    roles = {"millrace-api": "gateway", "millrace-worker": "worker"}
    for pod in cluster.pods:
        role = roles.get(pod.app)
        taints = {one["key"] for one in pod.spec.get("tolerations", ()) if one["key"].startswith("millrace/")}
        assert taints == ({f"millrace/{role}"} if role else set()), pod.name
        if role:
            assert pod.spec["nodeSelector"] == {f"millrace/{role}": "true"}
        for label in pod.spec.get("nodeSelector", ()):
            assert f'"{label}=true"' in node or label == f"millrace/{role}"
    assert cluster.pod("millrace-redis").spec["nodeSelector"] == {"millrace/store": "true"}  # with the blobs


def test_gateways_are_one_on_each_instance_and_room_is_there_for_the_next():
    pod = rendered("ec2").pod("millrace-api")
    spread, = pod.spec["topologySpreadConstraints"]
    assert spread["topologyKey"] == "kubernetes.io/hostname" and spread["whenUnsatisfiable"] == "DoNotSchedule"
    assert spread["matchLabelKeys"] == ["pod-template-hash"]
    assert default("gateway_instance_type").strip('"').endswith(".xlarge"), "four CPUs"
    assert 2 * pod.request("cpu") <= 4 - 0.08 - quantity(groups_of_nodes()["system"]["daemons"]["cpu"])


def test_blobs_lie_where_the_first_server_exports_them_and_leave_room():
    cluster = rendered("ec2")
    volume = cluster.get("PersistentVolume", "millrace-blobs")["spec"]
    claim = cluster.get("PersistentVolumeClaim", "millrace-blobs")["spec"]
    node = (FOLDER / "node" / "millrace-node").read_text()
    data = re.search(r"^data=(\S+)", node, re.MULTILINE)[1]
    assert volume["nfs"]["path"] == f"{data}/millrace/blobs" and "$data/millrace/blobs $gateway(" in node
    assert claim["volumeName"] == "millrace-blobs" and claim["storageClassName"] == volume["storageClassName"] == ""
    assert volume["accessModes"] == claim["accessModes"] == ["ReadWriteMany"]
    quota = quantity(cluster.pod("millrace-api").env(cluster)["MILLRACE_BLOB_QUOTA"])
    others = sum(quantity(size) for size in (
        cluster.get("RabbitmqCluster", "millrace-rabbitmq")["spec"]["persistence"]["storage"],
        cluster.pod("millrace-redis").owner["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]))
    assert quota + others + quantity("20Gi") <= int(default("disk_gib")) * 2**30


def test_workers_share_no_directory_and_have_a_key_for_either_gateway():
    cluster = rendered("ec2")
    assert "MILLRACE_BLOB_KEY_FILE" in settings()
    for pod in cluster.workers:
        env = pod.env(cluster)
        service = cluster.get("Service", "millrace-api")
        assert env["MILLRACE_BLOB_URL"] == f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
        mount, = [one for one in pod.container["volumeMounts"] if env["MILLRACE_BLOB_KEY_FILE"].startswith(one["mountPath"])]
        volume, = [one for one in pod.spec["volumes"] if one["name"] == mount["name"]]
        assert volume["secret"]["items"] == [{"key": "client", "path": env["MILLRACE_BLOB_KEY_FILE"].rsplit("/", 1)[1]}]
        assert not any("persistentVolumeClaim" in one for one in pod.spec["volumes"])


def test_the_autoscaler_counts_the_nodes_of_the_root_and_is_of_the_version_of_k3s():
    cluster = rendered("ec2")
    flags = cluster.pod("cluster-autoscaler").container["command"]
    assert int(default("worker_max")) == groups_of_nodes()["millrace-worker"]["max"]
    assert f"--max-nodes-total={int(default('worker_max')) + 5}" in flags
    minor = re.match(r'"v(1\.\d+)\.', default("k3s_version"))[1]
    for name in ("cluster-autoscaler", "cloud-controller-manager"):
        assert cluster.pod(name).container["image"].split(":v")[1].startswith(minor + "."), name
        assert cluster.pod(name).spec["nodeSelector"] == {"millrace/system": "true"}, "where the role is"


def test_what_is_always_there_fits_the_servers():
    """Three of 4 CPUs and 16 GiB, less what is kept for the system; KEDA, the operator, DNS and k3s itself need room too."""
    cluster = rendered("ec2")
    here = [pod for pod in cluster.pods if pod.app not in ("millrace-api", "millrace-worker")]
    assert {pod.app for pod in here} >= {"millrace-redis", "millrace-rabbitmq"}
    for what, of_one in (("cpu", 3.92), ("memory", quantity("14Gi"))):
        assert sum(pod.request(what) * pod.owner["spec"].get("replicas", 1) for pod in here) <= 0.6 * 3 * of_one


def test_what_is_particular_to_a_fleet_comes_from_one_file():
    said = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / "k8s/overlays/ec2/ec2.env").read_text(), re.MULTILINE))
    cluster = rendered("ec2")
    env = {one["name"]: one["value"] for one in cluster.pod("cluster-autoscaler").container["env"]}
    assert said == {"CLUSTER": env["CLUSTER"], "REGION": env["AWS_REGION"],
                    "BLOB_SERVER": cluster.get("PersistentVolume", "millrace-blobs")["spec"]["nfs"]["server"]}


# ---- the scripts -------------------------------------------------------------------------------------------------------


@pytest.fixture
def fleet(stand_ins, tmp_path):
    """Runs a script of deploy/ec2 with a home of its own; .state is what its programs remember."""
    home, state, programs = tmp_path / "home", tmp_path / "state", tmp_path / "bin"
    for folder in (home, state, programs):
        folder.mkdir()
    for name in ("terraform", "ssh", "k3s", "kubectl"):
        program = shutil.copy(pathlib.Path(__file__).with_name("fleet_stand_in.sh"), programs / name)
        pathlib.Path(program).chmod(0o755)

    def run(name, *arguments):
        return subprocess.run([FOLDER / name, *arguments], capture_output=True, text=True, check=False, timeout=120,
                              stdin=subprocess.DEVNULL,
                              env={"PATH": f"{programs}:{stand_ins}:{os.environ['PATH']}", "HOME": str(home),
                                   "STAND_IN_STATE": str(state), "STAND_IN_PROGRAMS": str(stand_ins)})

    run.state, run.folder = state, home / ".config/millrace/ec2-xx-test-1-mill"
    return run


def calls(fleet):
    return (fleet.state / "calls").read_text().splitlines()


needs_keygen = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="ssh-keygen is not installed")
needs_both = pytest.mark.skipif(not all(map(shutil.which, ("kubectl", "ssh-keygen"))),
                                reason="kubectl or ssh-keygen is not installed")
UP = ("xx-test-1", "mill", "--allow", "192.0.2.0/24", "--yes")


@needs_both
def test_one_command_makes_instances_hands_over_applies_and_multiplies(fleet):
    ended = fleet("up", *UP)
    assert not ended.returncode, ended.stderr
    assert "export MILLRACE_URL=http://198.51.100.1:30080,http://198.51.100.2:30080\n" in ended.stdout
    assert '{"C":[[19,22],[43,50]]}' in ended.stdout
    said = calls(fleet)
    steps = [next(index for index, call in enumerate(said) if word in call) for word in (
        "terraform -chdir=", "plan -input=false", "apply -input=false", "cat /var/lib/rancher/millrace/tokens/server",
        "16443:127.0.0.1:6443", "apply -k " + str(ROOT / "k8s/cloud-controller"), "keda-2.", "cluster-operator.yml",
        "docker build", "images import", "crictl pull", "create secret", "apply -k " + str(fleet.folder / "manifests"),
        "rabbitmqcluster/millrace-rabbitmq", "curl")]
    assert steps == sorted(steps)
    asked = [call for call in said if call.startswith("curl")]
    assert any("198.51.100.1:30080/matrix" in call for call in asked)
    assert any("198.51.100.2:30080/jobs/019/result" in call for call in asked), "the other gateway knows of it"
    applied = yaml.safe_load((fleet.folder / "manifests/kustomization.yaml").read_text())
    assert [one["newName"] for one in applied["images"]] == [f"millrace.internal/{one['name']}" for one in applied["images"]]
    assert (fleet.folder / "manifests/k8s/overlays/ec2/ec2.env").read_text() == (
        "CLUSTER=mill\nREGION=xx-test-1\nBLOB_SERVER=10.64.0.10\n")
    assert said[-1].startswith("ssh") and said[-1].endswith("-O exit"), "the tunnel is left open"


@needs_both
def test_an_image_that_was_imported_is_shared_as_a_whole(fleet):
    """Nodes give away only what says where it comes from, and by digest; an import says neither."""
    assert not fleet("up", *UP).returncode
    shared = (fleet.state / "shared").read_text().split()
    assert shared == [f"millrace.internal/{name}" for name in ("millrace-api", "millrace-worker", "millrace-worker-image")]
    pulled = [call for call in calls(fleet) if "crictl pull" in call]
    assert len(pulled) == 6 and all("HostKeyAlias=i-s1 " not in call for call in pulled)


@needs_keygen
def test_every_secret_is_in_the_users_own_folder_and_in_no_call(fleet):
    ended = fleet("up", *UP)
    assert not ended.returncode, ended.stderr
    for path in [fleet.folder, *fleet.folder.rglob("*")]:
        if path.name in ("key", "client.key", "header", "kubeconfig", fleet.folder.name):
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    everything = "\n".join(calls(fleet)) + ended.stdout + ended.stderr
    key = (fleet.folder / "client.key").read_text()
    assert len(key) > 8 and key not in everything and "SERVER-SECRET" not in everything
    assert not any(re.search("SERVER-SECRET|K10SECRET", path.read_text(errors="replace"))
                   for path in fleet.folder.rglob("*") if path.is_file())
    # tokens went to those that had none, and to the gateways, in the form that knows the cluster's certificate
    got = {path.name: path.read_text() for path in (fleet.state / "written").iterdir()}
    assert {name for name in got if "tokens" in name} == {
        f"{server}_var_lib_rancher_millrace_tokens_{token}" for server in ("i-s2", "i-s3") for token in ("server", "agent")}
    assert {name: text for name, text in got.items() if "etc_millrace" in name} == {
        f"{gateway}_etc_millrace_token": "K10SECRET::agent\n" for gateway in ("i-g1", "i-g2")}


@needs_keygen
def test_a_second_run_asks_nobody_and_hands_out_nothing(fleet):
    assert not fleet("up", *UP).returncode
    key = (fleet.folder / "key").read_text()
    written = sorted((fleet.state / "written").iterdir())
    for path in written:
        path.touch()
    (fleet.state / "unchanged").touch()
    (fleet.state / "calls").unlink()
    ended = fleet("up", "xx-test-1", "mill")
    assert not ended.returncode, ended.stderr
    assert 'admin_ranges  = ["192.0.2.0/24"]' in (fleet.folder / "said.tfvars").read_text()
    said = calls(fleet)
    assert not any("apply -input=false" in call for call in said if call.startswith("terraform"))
    assert not any("cat >" in call or "images import" in call or "create secret" in call for call in said)
    assert (fleet.folder / "key").read_text() == key


@needs_keygen
def test_without_approval_or_networks_nothing_is_made(fleet):
    refused = fleet("up", "xx-test-1", "mill", "--yes")
    assert refused.returncode == 1 and "--allow" in refused.stderr
    refused = fleet("up", *UP[:-1])
    assert refused.returncode == 1 and "approve" in refused.stderr
    assert not any("apply" in call for call in calls(fleet))


def test_what_is_no_argument_is_refused(fleet):
    for name, arguments in (("up", ()), ("up", ("xx-test-1", "mill", "--size=7")), ("down", ("xx-test-1",)),
                            ("down", ("xx-test-1", "mill", "--spot")), ("tunnel", ())):
        assert fleet(name, *arguments).returncode == 2, name
    assert fleet("up", "xx-test-1", "../mill").returncode == 1
    assert not (fleet.state / "calls").exists() and not fleet.folder.exists()


@needs_both
def test_a_dry_run_shows_the_manifests_and_touches_nothing(fleet):
    ended = fleet("up", "xx-test-1", "mill", "--dry-run", "--spot")
    assert not ended.returncode, ended.stderr
    shown = [one for one in yaml.safe_load_all(ended.stdout[ended.stdout.index("apiVersion:"):]) if one]
    volume, = [one for one in shown if one["kind"] == "PersistentVolume"]
    assert volume["spec"]["nfs"]["server"] == "10.64.0.10"
    assert not (fleet.folder / "said.tfvars").read_text(), "what is said to a dry run does not hold"
    worker, = [one for one in shown if one["kind"] == "Deployment" and one["metadata"]["name"] == "millrace-worker-spin"]
    node = (FOLDER / "node" / "millrace-node").read_text()
    granted = [int(re.search(rf"^shutdownGracePeriod{name}: (\d+)s$", node, re.MULTILINE)[1])
               for name in ("", "CriticalPods")]
    assert worker["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] <= granted[0] - granted[1] < 120
    said = calls(fleet)
    assert not any(call.startswith(("ssh", "docker")) or " apply" in call for call in said)
    for name in ("made", "unchanged"):
        (fleet.state / name).touch()
    assert "server: 10.64.0.10" in fleet("up", "xx-test-1", "mill", "--dry-run").stdout


@needs_keygen
def test_down_destroys_and_forgets_the_keys_but_not_who_may_come(fleet):
    assert fleet("down", "xx-test-1", "mill").returncode == 1  # there is none
    assert not fleet("up", *UP).returncode
    assert fleet("down", "xx-test-1", "mill").returncode == 1, "nobody approved"
    assert (fleet.folder / "key").exists()
    ended = fleet("down", "xx-test-1", "mill", "--yes")
    assert not ended.returncode, ended.stderr
    said = [call for call in calls(fleet) if call.startswith("terraform")]
    assert "-destroy" in said[-2] and " apply " in said[-1]
    assert {path.name for path in fleet.folder.iterdir()} <= {"terraform.tfvars", "said.tfvars", "terraform.tfstate"}


def test_versions_are_those_of_the_other_ways():
    local, here = ((ROOT / "deploy" / name).read_text() for name in ("local", "ec2/up"))
    assert re.search(r"^keda=(\S+)$", here, re.MULTILINE)[1] == re.search(r"^keda=(\S+)$", local, re.MULTILINE)[1]
    for built in re.findall(r"^    build .*$", local, re.MULTILINE):
        assert built in here
