# SPDX-License-Identifier: Apache-2.0
"""Stands in for aws, terraform, kubectl, helm, docker and curl in tests of deploy/up and deploy/down: an account and a cluster
that remember what they were told, as far as the scripts ask. Every call is a line of STAND_IN_STATE/calls.

What a test puts there changes the answers: `nobody` (no credentials), `push-fails`, `cluster-lost`, `no-answer`, `volumes`
and `disks` (what stays behind), `interface` (what a node leaves), `status` (of the cluster),
`unfinished-RELEASE` (a killed Helm was at it).
REAL_KUBECTL is what `kubectl kustomize` is passed on to, REAL_TERRAFORM, where it is set, all of terraform.
"""
import base64
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import stand_in  # noqa: E402
from stand_in import STATE, said  # noqa: E402

OUTPUTS = {"file_system": "fs-0123456789abcdef0", "source_ranges": "203.0.113.0/24", "kubernetes_version": "1.35",
           "nodes_max": "9", "spot": "false", "registry": "111122223333.dkr.ecr.eu-central-1.amazonaws.com/mill",
           "log_bucket": "mill-logs-1", "log_days": "14"}
PRICED = "system=m7i.xlarge systems=3 worker=on-demand type=m7i.xlarge nats=1 workers=6"
BUCKET = ["aws_s3_bucket.logs", "aws_s3_bucket_policy.logs"]


def is_made():
    return (STATE / "made").exists()


def terraform(arguments):
    verb, *rest = arguments[1:] if arguments[0].startswith("-chdir=") else arguments
    if verb == "plan":
        pathlib.Path(next(one for one in rest if one.startswith("-out="))[5:]).touch()
        (STATE / "files").write_text("".join(pathlib.Path(one[10:]).read_text() for one in rest if one.startswith("-var-file=")))
        return 0 if is_made() else 2
    if verb == "show":
        outputs = ",".join(f'"{name}":{{"sensitive":false,"type":"string","value":"{value}"}}'
                           for name, value in {**OUTPUTS, "priced": PRICED}.items())
        return print(f'{{"planned_values":{{"outputs":{{{outputs}}}}},"prior_state":{{"priced":{{"value":"system=old"}}}}}}')
    if verb == "apply":
        return (STATE / "made").touch()
    if verb == "destroy" and (STATE / "interface").exists():
        return "DependencyViolation: The subnet has dependencies and cannot be deleted"
    if verb == "destroy":
        return (STATE / "made").unlink()
    if verb == "output":
        return print('{"coredns":"v1"}') if rest[0] == "-json" else print(OUTPUTS[rest[1]], end="")
    if verb == "state" and rest[0] == "list":
        return print("\n".join(["aws_vpc.this", *(() if (STATE / "bucket-let-go").exists() else BUCKET)]))
    if verb == "state" and rest[0] == "rm":
        return (STATE / "bucket-let-go").write_text(" ".join(rest[1:])) and None
    return None if verb == "init" else f"the scripts' terraform {verb} is not foreseen"


def aws(arguments):
    line = " ".join(arguments)
    options = dict(zip(arguments, arguments[1:]))
    if line.startswith("sts get-caller-identity"):
        return 255 if (STATE / "nobody").exists() else None
    if line.startswith("eks list-clusters"):
        if (STATE / "no-answer").exists():
            return 255
        return print("mill" if is_made() and not (STATE / "cluster-lost").exists() else "None")
    if line.startswith("eks update-kubeconfig"):
        return pathlib.Path(options["--kubeconfig"]).write_text("cluster") and None
    if line.startswith("ecr describe-images"):
        pushed = STATE / "pushed" / (options["--repository-name"] + ":" + options["--image-ids"].split("=")[1]).replace("/", "_")
        return print(pushed.read_text()) if pushed.exists() else 254
    if line.startswith("ecr get-login-password"):
        return print("a password")
    if line.startswith("eks describe-cluster"):
        return print(said("status", "ACTIVE"))
    if line.startswith("ec2 describe-network-interfaces"):
        return print("eni-1" if (STATE / "interface").exists() else "")
    if line.startswith("ec2 delete-network-interface"):
        return (STATE / "interface").unlink() if "eni-1" in arguments else 255
    if line.startswith("ec2 describe-security-groups"):
        return print("sg-1")
    if line.startswith("ec2 delete-security-group"):
        return None if "sg-1" in arguments else 255
    if line.startswith("logs delete-log-group"):
        return None if "/aws/eks/mill/cluster" in arguments else 255
    if line.startswith("ec2 describe-volumes"):
        return print(said("disks"))
    return 255 if line.startswith("pricing") else f"the scripts' aws {line} is not foreseen"


def docker(arguments):
    if arguments[0] == "login":
        return None if sys.stdin.read() == "a password\n" else 1
    if arguments[0] == "push":
        if (STATE / "push-fails").exists() and arguments[-1].count("millrace-worker:"):
            return 1
        (STATE / "pushed").mkdir(exist_ok=True)
        repository = arguments[-1].split("/", 1)[1]
        (STATE / "pushed" / repository.replace("/", "_")).write_text("sha256:" + f"{len(repository):064x}")
    return None


def kubectl(arguments):
    line = " ".join(arguments)
    if arguments[0] == "kustomize":
        return subprocess.run([os.environ["REAL_KUBECTL"], *arguments], check=False).returncode
    if os.environ.get("KUBECONFIG", "").startswith("/") and not pathlib.Path(os.environ["KUBECONFIG"]).exists():
        return "nobody has said which cluster"
    if "delete secret" in line:
        return [one.unlink() for one in STATE.glob("unfinished-*") if f"name={one.name[11:]},status in (pending-" in line] and None
    if "port-forward" in line or line == "-n millrace get statefulset -o name":
        return print("Forwarding from 127.0.0.1:45678 -> 8080" if "port-forward" in line else "statefulset/millrace-redis")
    if line == "-n millrace get deployment -o name":
        return print("deployment/millrace-api")
    if "jsonpath={.data.client}" in line:
        return print(base64.b64encode(b"the key").decode(), end="")
    if "ingress[0].hostname" in line:
        return print("mill.elb.test", end="")
    if "apply --server-side" in line and "://" not in line:
        name = pathlib.Path(arguments[-1]).name
        return shutil.copy(arguments[-1], STATE / f"applied-{name}") and None
    if "get service --all-namespaces" in line:
        return print("millrace millrace-api")
    if line.startswith("get persistentvolume"):
        return print(said("volumes"), end="")
    if "secret" in arguments or "namespace" in arguments and "delete" not in arguments or "create" in arguments:
        return stand_in.kubectl(arguments)
    known = ("delete", "wait", "rollout", "get crd", "get statefulset", "apply --server-side")
    return None if any(one in line for one in known) else f"the scripts' kubectl {line} is not foreseen"


def helm(arguments):
    if arguments[:2] == ["upgrade", "--install"] and (STATE / f"unfinished-{arguments[2]}").exists():
        return "another operation (install/upgrade/rollback) is in progress"
    return None


def curl(arguments):
    if "readyz" not in arguments[-1] and sys.stdin.read() != 'header = "Authorization: Bearer the key"\n':
        return 22
    return stand_in.curl(arguments)


if __name__ == "__main__":
    program = sys.argv[1]
    with open(STATE / "calls", "a", encoding="utf-8") as calls:
        print(program, *sys.argv[2:], file=calls)
    if program == "terraform" and "REAL_TERRAFORM" in os.environ:
        os.execv(os.environ["REAL_TERRAFORM"], ["terraform", *sys.argv[2:]])
    answer = {"kubectl": kubectl, "docker": docker, "curl": curl, "helm": helm, "aws": aws, "terraform": terraform}
    sys.exit(answer.get(program, lambda _: None)(sys.argv[2:]))
