# SPDX-License-Identifier: Apache-2.0
"""Stands in for kubectl, docker, minikube, kind and curl in tests of the scripts: says what a cluster would, as far as the
scripts ask, remembers what it was told to make, and writes down every call.

STAND_IN_STATE is its folder: `calls` has a line for each call, `secrets/NAMESPACE/NAME/KEY` what was made; `cluster` says what kind of
cluster it is, `version` its minor version, `keda` whether KEDA is there, in part or whole, and `unreachable` that its nodes
are not; what contains `broken` fails.
"""
import base64
import json
import os
import pathlib
import re
import shutil
import sys

STATE = pathlib.Path(os.environ["STAND_IN_STATE"])
NODES = {"minikube": ("mill", ""), "kind": ("", "kind://docker/mill/mill-control-plane"), "other": ("", "cloud://1")}


def said(name, otherwise=""):
    file = STATE / name
    return file.read_text() if file.exists() else otherwise


def options(arguments):
    return dict(one.lstrip("-").split("=", 1) for one in arguments if one.startswith("--") and "=" in one)


def kubectl(arguments):
    namespace = ""
    if arguments[0] == "-n":
        namespace, arguments = arguments[1], arguments[2:]
    line = " ".join(arguments)
    if said("broken", "nothing of all") in line:
        return "that does not work today"
    if arguments[:2] == ["create", "secret"]:
        return create_secret(STATE / "secrets" / namespace / arguments[3], options(arguments)["from-file"])
    if arguments[:2] == ["get", "secret"] and "jsonpath={.data.client}" in line:
        return print(base64.b64encode((STATE / "secrets" / namespace / arguments[2] / "client").read_bytes()).decode(), end="")
    if arguments[:2] == ["get", "secret"]:
        return print(f"secret/{arguments[2]}" if (STATE / "secrets" / namespace / arguments[2]).exists() else "")
    if line.startswith("create --save-config -f"):
        return (STATE / re.search(r"kind: Namespace\nmetadata:\n  name: (\w+)", pathlib.Path(arguments[3]).read_text())[1]).touch()
    if arguments[:2] == ["get", "namespace"]:
        is_there = arguments[2] == "default" or (STATE / arguments[2]).exists()
        return print(f"namespace/{arguments[2]}" if is_there else "")
    if line == "get deployment keda-operator":
        return None if namespace == "keda" and said("keda") else 1
    if line == "get apiservice v1beta1.external.metrics.k8s.io":
        return None if said("keda") == "whole" else 1
    if line.startswith("apply --server-side") and "keda" in line:
        return (STATE / "keda").write_text("whole") and None
    if line == "get --raw /version":
        return print(json.dumps({"major": "1", "minor": said("version", "34")}))
    if line == "get crd scaledobjects.keda.sh -o json":
        return print('{"tolerance": {}}' if not (STATE / "old-keda").exists() else "{}")
    if arguments[:2] == ["get", "nodes"]:
        minikube, provider = NODES[said("cluster", "minikube")]
        return print("192.0.2.9 2001:db8::9" if "InternalIP" in line else minikube if "minikube" in line else provider, end="")
    if arguments[:2] == ["get", "service"]:
        return print("30123", end="")
    if arguments[:2] == ["apply", "-k"]:
        return shutil.copy(pathlib.Path(arguments[2]) / "kustomization.yaml", STATE / "applied.yaml") and None
    if arguments[0] == "port-forward":
        return print("Forwarding from 127.0.0.1:45678 -> 8080", flush=True)
    if line == "config current-context":
        return print("test")
    if line.startswith("config view --minify"):
        return print(said("namespace-of-context"), end="")
    known = re.match(r"wait --for=condition=(Available deployment --all|Ready scaledobject -l \S+)|rollout status \S+", line)
    return None if known else f"the scripts' kubectl {line} is not foreseen"


def create_secret(place, folder):
    if place.exists():
        return f"secret {place.name} already exists"
    return shutil.copytree(folder, place) and None


def docker(arguments):
    if arguments[0] == "build" and os.environ.get("BUILDX_NO_DEFAULT_ATTESTATIONS") != "1":
        return "such an image has another name each time"
    if arguments[:2] == ["image", "inspect"]:
        print("sha256:" + said("image", "0123456789abcdef") * 4)


def curl(arguments):
    url = arguments[-1] if arguments[-1].startswith("http") else next(one for one in arguments if one.startswith("http"))
    if "192.0.2.9" in url and (STATE / "unreachable").exists():
        return 7
    answer = '{"id":"019"}' if "matrix_multiplication" in url else said("product", '{"C":[[19,22],[43,50]]}')
    pathlib.Path(arguments[arguments.index("-o") + 1]).write_text("ready" if "readyz" in url else answer)
    return 0


if __name__ == "__main__":
    program = sys.argv[1]
    with open(STATE / "calls", "a", encoding="utf-8") as calls:
        print(program, *sys.argv[2:], file=calls)
    answer = {"kubectl": kubectl, "docker": docker, "curl": curl}.get(program, lambda _: None)
    sys.exit(answer(sys.argv[2:]))
