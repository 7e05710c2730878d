# SPDX-License-Identifier: Apache-2.0
"""deploy/secrets and deploy/local, with programs that stand in for the cluster (stand_in.py): what they make, what they
keep, and what they tell the cluster on the way."""
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from manifests import KINDS, ROOT

SCRIPTS = [ROOT / "deploy" / "secrets", ROOT / "deploy" / "local"]


@pytest.fixture
def script(stand_ins, tmp_path):
    """Runs a script of deploy/ in a copy of the folders that it reads; .state is what the cluster remembers."""
    tree, state = tmp_path / "tree", tmp_path / "state"
    state.mkdir()
    for name in ("deploy", "k8s", "hpa"):
        shutil.copytree(ROOT / name, tree / name)
    shutil.copy(ROOT / "CMakeLists.txt", tree)

    def run(name, *arguments):
        return subprocess.run([tree / "deploy" / name, *arguments], capture_output=True, text=True, check=False,
                              timeout=120, env={"PATH": f"{stand_ins}:{os.environ['PATH']}",
                                                "STAND_IN_STATE": str(state)})

    run.state, run.tree = state, tree
    return run


def calls(script):
    return (script.state / "calls").read_text().splitlines()


def applied(script):
    return yaml.safe_load((script.state / "applied.yaml").read_text())


def secrets(script):
    return {path.relative_to(script.state): path.read_text() for path in (script.state / "secrets").rglob("*")
            if path.is_file()}


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_the_scripts_are_clean():
    checked = subprocess.run(["shellcheck", "--shell=sh", "-x", f"--source-path={ROOT}", *SCRIPTS], capture_output=True,
                             text=True, check=False)
    assert not checked.returncode, checked.stdout


# ---- secrets --------------------------------------------------------------------------------------------------


def test_secrets_are_made_once_and_kept(script):
    assert not script("secrets").returncode
    first = secrets(script)
    assert {path.parts[1:3] for path in first} == {("millrace", "millrace-broker"), ("millrace", "millrace-store")}
    assert not script("secrets").returncode
    assert secrets(script) == first
    assert not script("secrets", "--keys").returncode
    assert secrets(script).items() > first.items()


def test_each_namespace_has_secrets_of_its_own(script):
    assert not script("secrets", "default").returncode
    assert {path.parts[1] for path in secrets(script)} == {"default"}
    assert ".default.svc:" in secrets(script)[Path("secrets/default/millrace-broker/keda-host")]
    assert not any("create --save-config" in call for call in calls(script))
    assert not script("secrets", "--keys").returncode
    assert ".millrace.svc:" in secrets(script)[Path("secrets/millrace/millrace-broker/keda-host")]
    assert sum("create --save-config" in call for call in calls(script)) == 1


def test_a_namespace_that_is_not_there_is_not_made_by_a_slip(script):
    refused = script("secrets", "milrace")
    assert refused.returncode == 1 and "milrace" in refused.stderr
    assert not secrets(script)


def test_a_secret_that_was_deleted_comes_again_and_the_others_stay(script):
    script("secrets")
    first = secrets(script)
    shutil.rmtree(script.state / "secrets" / "millrace" / "millrace-store")
    assert not script("secrets").returncode
    changed = {path.parts[2] for path, content in secrets(script).items() if first[path] != content}
    assert changed == {"millrace-store"}


def test_every_fleet_has_other_passwords_and_no_call_shows_one(script, made_secrets):
    ended = script("secrets", "--keys")
    passwords = [content for path, content in secrets(script).items() if path.name in ("password", "keda-password", "client")]
    assert len(set(passwords)) == 3 and all(len(one) == 48 for one in passwords)
    assert made_secrets["millrace-store"]["password"] not in passwords
    everything = "\n".join(calls(script)) + ended.stdout + ended.stderr
    assert not any(one in everything for one in passwords)


def test_secrets_agree_with_each_other(made_secrets):
    broker, store, keys = (made_secrets[f"millrace-{name}"] for name in ("broker", "store", "api-keys"))
    users = {user["name"]: user for user in json.loads(broker["definitions"])["users"]}
    assert set(users) == {"millrace", "keda"}
    assert broker["amqp-url"] == f"amqp://millrace:{users['millrace']['password']}@millrace-rabbitmq:5672/%2F"
    assert broker["keda-username"] == "keda" and broker["keda-password"] == users["keda"]["password"]
    assert store["redis-url"] == f"redis://:{store['password']}@millrace-redis:6379/0"
    assert keys["keys"] == f"client:{hashlib.sha256(keys['client'].encode()).hexdigest()}\n"


def test_what_is_no_argument_is_refused(script):
    for name in ("secrets", "local"):
        refused = script(name, "--help-me")
        assert refused.returncode == 2 and "--keys" in refused.stderr + "--keys" * (name == "local")
    assert not (script.state / "calls").exists()


# ---- a cluster of one node ---------------------------------------------------------------------------------------


def test_one_command_installs_hands_over_applies_and_multiplies(script):
    ended = script("local")
    assert not ended.returncode, ended.stderr
    assert '{"C":[[19,22],[43,50]]}' in ended.stdout and "http://192.0.2.9:30123" in ended.stdout
    said = calls(script)
    assert sum("releases/download/v2." in call and "keda-2." in call for call in said) == 1
    assert applied(script)["resources"] == ["../../k8s/overlays/local"]
    assert [one["name"] for one in applied(script)["images"]] == ["millrace-api", "millrace-worker",
                                                                 "millrace-worker-image"]
    for one in applied(script)["images"]:
        assert f"minikube -p mill image load {one['newName']}:{one['newTag']}" in said
    steps = [next(index for index, call in enumerate(said) if word in call) for word in (
        "keda-2.", "docker build", "create secret", "apply -k", "rollout status deployment/millrace-api", "Ready scaledobject")]
    assert steps == sorted(steps)


def test_a_second_run_changes_nothing(script):
    script("local")
    first, before = secrets(script), applied(script)
    (script.state / "calls").unlink()
    assert not script("local").returncode
    assert secrets(script) == first and applied(script) == before
    assert not any("keda-2." in call or "create" in call for call in calls(script))


def test_a_changed_image_has_another_name(script):
    script("local")
    before = applied(script)["images"]
    (script.state / "image").write_text("fedcba9876543210")
    script("local")
    assert all(old["newTag"] != new["newTag"] for old, new in zip(before, applied(script)["images"]))


@pytest.mark.parametrize("step", ["keda-2.", "-n keda wait", "generic millrace-store", "apply -k", "rollout status",
                                  "Ready scaledobject"])
def test_what_broke_off_goes_on_where_it_was(script, step):
    (script.state / "broken").write_text(step.removeprefix("-n keda "))
    if step == "keda-2.":
        (script.state / "keda").write_text("in part")
    assert script("local").returncode
    before = secrets(script)
    (script.state / "broken").unlink()
    ended = script("local")
    assert not ended.returncode, ended.stderr
    assert "[[19,22],[43,50]]" in ended.stdout
    assert before.items() <= secrets(script).items() and (script.state / "keda").read_text() == "whole"


@pytest.mark.parametrize("meant, is_told", [("", False), ("default", False), ("mine", True)])
def test_plain_kubectl_shows_the_fleet_or_somebody_is_told_why_not(script, meant, is_told):
    """The namespace of the context stays whose it is."""
    (script.state / "namespace-of-context").write_text(meant)
    ended = script("local")
    assert not ended.returncode
    assert ("kubectl -n default get pods" in ended.stdout) == is_told
    assert {path.parts[1] for path in secrets(script)} == {"default"}
    spaces = {call.split()[2] for call in calls(script) if call.startswith("kubectl -n")}
    assert spaces == {"default", "keda"}


@pytest.mark.parametrize("kind, arguments, wanted", [
    ("kind", (), "kind load docker-image --name mill millrace-api:"),
    ("other", ("--registry", "registry.test/mill"), "docker push -q registry.test/mill/millrace-api:"),
])
def test_images_find_their_way_into_other_clusters(script, kind, arguments, wanted):
    (script.state / "cluster").write_text(kind)
    assert not script("local", *arguments).returncode
    assert any(call.startswith(wanted) for call in calls(script))
    assert not any(call.startswith("minikube") for call in calls(script))


def test_images_that_are_there_are_left_alone(script):
    assert not script("local", "--no-images").returncode
    assert "images" not in applied(script) and not any(call.startswith("docker") for call in calls(script))


@pytest.mark.parametrize("version, has_old_keda, is_known", [("34", False, False), ("35", False, True), ("36+", False, True),
                                                            ("36", True, False)])
def test_a_tolerance_is_asked_for_where_it_is_known(script, version, has_old_keda, is_known):
    (script.state / "version").write_text(version)
    if has_old_keda:
        (script.state / "old-keda").touch()
    assert not script("local").returncode
    assert ("components" in applied(script)) == is_known


def test_a_node_out_of_reach_is_reached_through_a_tunnel(script):
    (script.state / "unreachable").touch()
    ended = script("local")
    assert not ended.returncode, ended.stderr
    assert any("port-forward service/millrace-api :8080" in call for call in calls(script))
    assert any("http://127.0.0.1:45678/matrix_multiplication" in call for call in calls(script))
    assert "port-forward service/millrace-api 8080:8080" in ended.stdout


def test_a_wrong_product_is_no_success(script):
    (script.state / "product").write_text('{"C":[[19,22],[43,51]]}')
    failed = script("local")
    assert failed.returncode == 1 and "not the product" in failed.stderr


def test_the_example_list_of_commands_is_one_that_workers_have():
    assert ("command", "command") in KINDS
    listed = json.loads((ROOT / "k8s/base/commands.json").read_text())
    assert listed and all(one["argv"][0].startswith("/usr/bin/") for one in listed.values())
