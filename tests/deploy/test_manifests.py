# SPDX-License-Identifier: Apache-2.0
"""The manifests fit together, and fit the programs, the scripts and the images: names, keys, ports, settings, rights."""
import re

import pytest
import yaml

from manifests import KINDS, ROOT, build, each_rendering, rendered, settings

VERSION = re.search(r"^project\(.*VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text(), re.MULTILINE)[1]
OF_NODES = ("cluster-autoscaler", "cloud-controller-manager")  # programs of kube-system that overlays bring along
CLUSTER_WIDE = {"Namespace", "PriorityClass", "StorageClass", "PersistentVolume", "ClusterRole", "ClusterRoleBinding",
                "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
READERS = {"millrace-api": ("API", "BOTH"), "millrace-worker": ("WORKER", "BOTH")}


def ours(cluster):
    return [pod for pod in cluster.pods if pod.app in READERS]


# ---- names ---------------------------------------------------------------------------------------------------


@each_rendering()
def test_every_object_has_one_name_in_a_namespace_that_is_there(cluster):
    names = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in cluster.objects]
    assert len(names) == len(set(names))
    for kind, namespace, name in names:
        assert namespace in ({None} if kind in CLUSTER_WIDE else {cluster.namespace, "kube-system"}), f"{kind} {name}"
        assert namespace != "kube-system" or name.startswith(OF_NODES)


@each_rendering()
def test_no_secret_is_in_the_manifests(cluster):
    assert not cluster.all("Secret")


@each_rendering()
def test_every_service_selects_pods_with_the_ports_it_names(cluster):
    assert cluster.all("Service")
    for service in cluster.all("Service"):
        pods = cluster.selected({"matchLabels": service["spec"]["selector"]}, service["metadata"]["namespace"])
        assert len({pod.app for pod in pods}) == 1, service["metadata"]["name"]
        for port in service["spec"]["ports"]:
            for pod in pods:
                pod.port(port["targetPort"])


@each_rendering()
def test_every_selector_of_a_budget_policy_or_monitor_selects_pods(cluster):
    for kind, field in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector"), ("PodMonitor", "selector")):
        for one in cluster.all(kind):
            spaces = one["spec"].get("namespaceSelector", {}).get("matchNames", [one["metadata"]["namespace"]])
            if spaces == ["keda"]:
                continue  # comes from elsewhere
            pods = [pod for space in spaces for pod in cluster.selected(one["spec"][field], space)]
            assert pods, f"{kind} {one['metadata']['name']}"
            for endpoint in one["spec"].get("podMetricsEndpoints", ()):
                assert all(pod.port(endpoint["port"]) for pod in pods)


@each_rendering()
def test_a_deployment_selects_its_own_pods_and_nobody_elses(cluster):
    for pod in cluster.pods:
        if "selector" in pod.owner["spec"]:
            assert cluster.selected(pod.owner["spec"]["selector"], pod.namespace) == [pod]


@each_rendering()
def test_what_a_pod_mounts_or_refers_to_is_there(cluster, made_secrets):
    for pod in cluster.pods:
        spec = pod.spec
        for container in spec["containers"] + spec.get("initContainers", []):
            for mount in container.get("volumeMounts", ()):
                assert any(mount["name"] == volume["name"] for volume in volumes_of(pod)), f"{pod.name}: {mount['name']}"
        for volume in spec.get("volumes", ()):
            if "persistentVolumeClaim" in volume:
                cluster.get("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
            if "configMap" in volume:
                data = cluster.get("ConfigMap", volume["configMap"]["name"])["data"]
                for mount in pod.container["volumeMounts"]:
                    assert mount["name"] != volume["name"] or mount.get("subPath", next(iter(data))) in data
            if "secret" in volume:
                keys = made_secrets[volume["secret"]["secretName"]]
                assert {item["key"] for item in volume["secret"]["items"]} <= set(keys), pod.name
        for variable in pod.container.get("env", ()):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference:
                assert reference["key"] in made_secrets[reference["name"]], f"{pod.name}: {variable['name']}"
        if spec["priorityClassName"] != "system-cluster-critical":
            cluster.get("PriorityClass", spec["priorityClassName"])
        if "serviceAccountName" in spec:
            cluster.get("ServiceAccount", spec["serviceAccountName"])


def volumes_of(pod):
    claims = [{"name": claim["metadata"]["name"]} for claim in pod.owner["spec"].get("volumeClaimTemplates", ())]
    return pod.spec.get("volumes", []) + claims


@each_rendering()
def test_whoever_scales_reads_a_key_that_the_scripts_make(cluster, made_secrets):
    for one in cluster.all("TriggerAuthentication"):
        for reference in one["spec"]["secretTargetRef"]:
            assert reference["key"] in made_secrets[reference["name"]]


@each_rendering("local", "eks")
def test_the_urls_in_the_secrets_name_servers_and_ports_that_are_there(cluster, secrets_of):
    made = secrets_of(cluster.namespace)
    assert f".{cluster.namespace}.svc:" in made["millrace-broker"]["keda-host"]  # asked from another namespace
    for url in (made["millrace-broker"]["amqp-url"], made["millrace-broker"]["keda-host"],
                made["millrace-store"]["redis-url"]):
        host, port = re.search(rf"(?:@|//)([\w-]+)(?:\.{cluster.namespace}\.svc)?:(\d+)/", url).groups()
        pod, = [pod for pod in cluster.pods if pod.app == host]
        pod.port(int(port))
        assert host in {one["metadata"]["name"] for one in cluster.all("Service") + cluster.all("RabbitmqCluster")}


# ---- programs ------------------------------------------------------------------------------------------------


@each_rendering()
def test_every_variable_is_a_setting_of_its_program_within_bounds(cluster):
    assert len(ours(cluster)) == 1 + len(KINDS)
    for pod in ours(cluster):
        for name, value in pod.env(cluster).items():
            who, kind, least, most, words = settings()[name]
            shared = any(name in one["data"] for one in cluster.all("ConfigMap"))
            assert shared or who in READERS[pod.app], f"{pod.name} does not read {name}"
            if value is None:
                continue
            if kind == "TEXT":
                assert least <= len(value) <= most, name
            elif kind == "CHOICE":
                assert value in words, name
            else:
                number = re.fullmatch(r"(\d+)([KMG]?)", value)
                assert number and (not number[2] or kind == "BYTES"), f"{name}={value}"
                assert least <= int(number[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[number[2]] <= most, name


@each_rendering()
def test_services_of_the_namespace_are_kept_out_of_the_environment(cluster):
    """A Service millrace-api would be MILLRACE_API_PORT and so on, which no program takes."""
    for pod in ours(cluster):
        assert pod.spec["enableServiceLinks"] is False, pod.name


@each_rendering()
def test_the_ports_of_a_program_are_those_of_its_settings(cluster):
    for pod in ours(cluster):
        env = pod.env(cluster)
        assert env["MILLRACE_LISTEN"] == "0.0.0.0"
        if pod.app == "millrace-api":
            assert pod.port("http") == int(env.get("MILLRACE_PORT", 8080))
            assert pod.port("metrics") == int(env["MILLRACE_METRICS_PORT"])
        else:
            assert pod.port("metrics") == int(env["MILLRACE_PROBE_PORT"])


@each_rendering()
def test_every_probe_asks_a_port_that_is_there_and_waits_long_enough(cluster):
    for pod in cluster.pods:
        for container in pod.spec["containers"]:
            for name in ("startupProbe", "readinessProbe", "livenessProbe"):
                probe = container.get(name, {})
                target = probe.get("httpGet") or probe.get("tcpSocket")
                if target:
                    pod.port(target["port"])
                if probe and pod.app in (*READERS, "millrace-redis", "millrace-rabbitmq"):
                    assert probe["timeoutSeconds"] >= 5
                if name == "livenessProbe" and probe:
                    assert probe.get("failureThreshold", 3) * probe["periodSeconds"] >= 60


@each_rendering()
def test_a_worker_is_not_called_unready_or_dead_for_want_of_cpu(cluster):
    """A pod that is not ready is the first that scaling in deletes."""
    for pod in cluster.workers:
        for name in ("readinessProbe", "livenessProbe"):
            probe = pod.container[name]
            assert probe["timeoutSeconds"] >= 10 and probe["periodSeconds"] * probe["failureThreshold"] >= 60


@each_rendering()
def test_images_are_those_that_are_built(cluster):
    programs = dict(KINDS)
    for pod in ours(cluster):
        name, tag = pod.container["image"].split(":")
        assert tag == VERSION
        if pod.app == "millrace-api":
            assert name == "millrace-api"
        else:
            assert name == ("millrace-worker-image" if programs[pod.kind] == "image" else "millrace-worker")
    everywhere = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert cluster.pod("millrace-redis").container["image"] == everywhere["store"]["image"]
    assert cluster.pod("millrace-rabbitmq").container["image"] == everywhere["broker"]["image"]


def test_every_image_has_its_dockerfile():
    names = {pod.container["image"].split(":")[0] for pod in ours(rendered("eks"))}
    script = (ROOT / "deploy" / "local").read_text()
    built = re.findall(r"^    build (millrace-\S+) (\S+)(?: (\S+))?$", script, re.MULTILINE)
    assert {name for name, _, _ in built} == names
    for name, file, target in built:
        dockerfile = (ROOT / "docker" / file).read_text()
        last = re.findall(r"^FROM \S+(?: AS (\S+))?$", dockerfile, re.MULTILINE)[-1]
        assert not last if not target else re.search(rf"^FROM \S+ AS {target}$", dockerfile, re.MULTILINE), name
        assert "\nUSER 10001:10001\n" in dockerfile and "\nENTRYPOINT [" in dockerfile


@each_rendering()
def test_each_kind_has_its_worker_and_the_folder_that_all_share(cluster):
    assert sorted(pod.kind for pod in cluster.workers) == sorted(kind for kind, _ in KINDS)
    claims = set()
    for pod in ours(cluster):
        env = pod.env(cluster)
        assert pod.app == "millrace-api" or env["MILLRACE_KINDS"] == pod.kind
        assert pod.app == "millrace-api" or pod.kind == "command" or "MILLRACE_COMMANDS_FILE" not in env
        mount, = [one for one in pod.container["volumeMounts"] if one["mountPath"] == env["MILLRACE_BLOB_DIR"]]
        volume, = [one for one in volumes_of(pod) if one["name"] == mount["name"]]
        if "MILLRACE_BLOB_URL" in env:  # through a gateway: what is mounted is its own cache
            assert pod.app == "millrace-worker" and set(volume) == {"name", "emptyDir"}, pod.name
        else:
            claims.add(volume["persistentVolumeClaim"]["claimName"])
    assert claims == {"millrace-blobs"}


# ---- who may what --------------------------------------------------------------------------------------------


@each_rendering()
def test_every_pod_is_as_locked_up_as_the_namespace_demands_and_more(cluster):
    if cluster.namespace == "millrace":
        labels = cluster.get("Namespace", "millrace")["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in cluster.pods:
        assert pod.spec["securityContext"]["runAsNonRoot"] is True, pod.name
        assert pod.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod.spec["containers"] + pod.spec.get("initContainers", []):
            assert container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                                    "capabilities": {"drop": ["ALL"]}}, pod.name
        for volume in pod.spec.get("volumes", ()):
            assert set(volume) & {"configMap", "secret", "emptyDir", "persistentVolumeClaim"}, pod.name
        assert not pod.spec.get("hostNetwork") or (cluster.name == "ec2" and pod.app in OF_NODES)
        assert not pod.spec.get("hostPID")


@each_rendering()
def test_gateways_and_workers_run_as_the_user_of_the_images(cluster):
    for pod in ours(cluster):
        context = pod.spec["securityContext"]
        assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] == 10001
        assert any(mount["mountPath"] == "/tmp" for mount in pod.container["volumeMounts"])


@each_rendering()
def test_a_token_of_the_cluster_is_where_it_is_used_and_nowhere_else(cluster):
    for pod in cluster.pods:
        if pod.app in OF_NODES or pod.owner["kind"] == "RabbitmqCluster":
            continue
        uses = "MILLRACE_POD_NAME" in pod.env(cluster)
        assert pod.spec["automountServiceAccountToken"] is uses, pod.name
        assert uses == (pod.app == "millrace-worker" and pod.owner["kind"] == "Deployment")


@each_rendering()
def test_a_worker_may_change_pods_and_the_policy_says_which_and_what(cluster):
    account, = {pod.spec["serviceAccountName"] for pod in cluster.workers}
    role = cluster.get("Role", account)
    assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}]
    binding = cluster.get("RoleBinding", account)
    assert binding["roleRef"]["name"] == account
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": cluster.namespace}]
    policy = cluster.get("ValidatingAdmissionPolicy", account)["spec"]
    assert policy["failurePolicy"] == "Fail"
    condition, = policy["matchConditions"]
    assert condition["expression"] == ("request.userInfo.username == "
                                       f"'system:serviceaccount:' + request.namespace + ':{account}'")
    cost, = [one["expression"] for one in policy["variables"] if one["name"] == "cost"]
    assert cost.strip("'") + '\\":' in (ROOT / "worker" / "pod.c").read_text()  # what the worker asks for
    bound = cluster.get("ValidatingAdmissionPolicyBinding", account)["spec"]
    assert bound == {"policyName": account, "validationActions": ["Deny"]}  # in every namespace


@each_rendering()
def test_two_gateways_of_which_one_always_stays(cluster):
    gateway = cluster.get("Deployment", "millrace-api")["spec"]
    assert gateway["replicas"] == 2 and gateway["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert cluster.get("PodDisruptionBudget", "millrace-api")["spec"]["minAvailable"] == 1
    assert not any(one["spec"]["scaleTargetRef"]["name"] == "millrace-api"
                   for one in cluster.all("ScaledObject") + cluster.all("HorizontalPodAutoscaler"))


@each_rendering()
def test_workers_give_way_to_gateways_and_evict_nobody(cluster):
    critical, worker = (cluster.get("PriorityClass", f"millrace-{name}") for name in ("critical", "worker"))
    assert critical["value"] > worker["value"] >= 0 and worker["preemptionPolicy"] == "Never"
    for pod in cluster.pods:
        if pod.app.startswith("millrace"):
            assert pod.spec["priorityClassName"] == ("millrace-worker" if pod in cluster.workers else "millrace-critical")


# ---- how it is reached ---------------------------------------------------------------------------------------


def test_a_laptops_fleet_is_where_tools_look_that_are_told_nothing():
    """minikube service, for one, looks in default whatever kubectl's context says. That namespace is shared."""
    cluster = rendered("local")
    assert not cluster.all("Namespace")
    for one in cluster.objects:
        name = one["metadata"]["name"]
        assert one["kind"] in CLUSTER_WIDE or one["metadata"]["namespace"] == "default"
        assert name.startswith("millrace-"), f"{one['kind']} {name} may be the name of somebody else's"


def test_a_laptops_gateway_is_open_on_a_node_port():
    cluster = rendered("local")
    env = cluster.pod("millrace-api").env(cluster)
    assert env["MILLRACE_INSECURE"] == "1" and "MILLRACE_API_KEY_FILE" not in env
    assert cluster.get("Service", "millrace-api")["spec"]["type"] == "NodePort"


def test_a_clouds_gateway_wants_keys_and_says_who_may_come():
    cluster = rendered("eks")
    gateway = cluster.pod("millrace-api")
    env = gateway.env(cluster)
    assert "MILLRACE_INSECURE" not in env
    folder, file = env["MILLRACE_API_KEY_FILE"].rsplit("/", 1)
    mount, = [one for one in gateway.container["volumeMounts"] if one["mountPath"] == folder]
    volume, = [one for one in gateway.spec["volumes"] if one["name"] == mount["name"]]
    assert volume["secret"]["items"] == [{"key": "keys", "path": file}]
    service = cluster.get("Service", "millrace-api")
    assert service["spec"]["type"] == "LoadBalancer"
    ranges = service["metadata"]["annotations"]["service.beta.kubernetes.io/load-balancer-source-ranges"]
    assert ranges == "192.0.2.0/24"  # nobody, until somebody says who


def test_what_is_particular_to_a_cluster_comes_from_one_file():
    said = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / "k8s/overlays/eks/eks.env").read_text(), re.MULTILINE))
    cluster = rendered("eks")
    env = {one["name"]: one["value"] for one in cluster.pod("cluster-autoscaler").container["env"]}
    service = cluster.get("Service", "millrace-api")["metadata"]["annotations"]
    assert said == {"CLUSTER": env["CLUSTER"], "REGION": env["AWS_REGION"],
                    "FILE_SYSTEM": cluster.get("StorageClass", "millrace-files")["parameters"]["fileSystemId"],
                    "SOURCE_RANGES": service["service.beta.kubernetes.io/load-balancer-source-ranges"]}
    assert not [one for one in cluster.all("ConfigMap") if one["metadata"]["name"].startswith("eks")]


def test_blobs_are_shared_between_nodes_where_there_are_several():
    for name, mode in (("local", "ReadWriteOnce"), ("eks", "ReadWriteMany")):
        assert rendered(name).get("PersistentVolumeClaim", "millrace-blobs")["spec"]["accessModes"] == [mode]
    cluster = rendered("eks")
    classes = {one["metadata"]["name"] for one in cluster.all("StorageClass")}
    claims = [cluster.get("PersistentVolumeClaim", "millrace-blobs")["spec"],
              cluster.pod("millrace-redis").owner["spec"]["volumeClaimTemplates"][0]["spec"],
              cluster.get("RabbitmqCluster", "millrace-rabbitmq")["spec"]["persistence"]]
    assert all(claim["storageClassName"] in classes for claim in claims)


def test_one_node_is_enough_for_a_laptop():
    """Whatever needs a second node, a label or a taint is of overlays/eks."""
    for pod in rendered("local").pods:
        assert not {"nodeSelector", "affinity", "topologySpreadConstraints", "tolerations"} & set(pod.spec), pod.name


@pytest.mark.parametrize("components", [("cpu-hpa", "scaledjob"), ("scaledjob", "cpu-hpa")])
def test_components_that_exclude_each_other_cannot_be_built_together(components):
    refused = build("local", components)
    assert refused.returncode and "ScaledObject" in refused.stderr and "millrace-worker-command" in refused.stderr
