"""What a RayCluster of KubeRay, its pods and their containers may say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tune.cluster.findings import Fault, Faults, Keys
from tune.cluster.source import ClusterFile, items, section
from tune.cluster.starts import OPTIONS
from tune.cluster.unknown import unknown

TOP = {"apiVersion", "kind", "metadata", "spec"}
SPEC = {
    *("authOptions", "autoscalerOptions", "enableInTreeAutoscaling", "gcsFaultToleranceOptions"),
    *("headGroupSpec", "headServiceAnnotations", "managedBy", "networkPolicy", "rayVersion"),
    *("suspend", "upgradeStrategy", "workerGroupSpecs"),
}
AUTOSCALER = {
    *("env", "envFrom", "idleTimeoutSeconds", "image", "imagePullPolicy", "resources"),
    *("securityContext", "upscalingMode", "version", "volumeMounts"),
}
HEAD = {
    *("enableIngress", "headService", "labels", "rayStartParams", "resources", "serviceType"),
    "template",
}
WORKER = {
    *("groupName", "idleTimeoutSeconds", "labels", "maxReplicas", "minReplicas", "numOfHosts"),
    *("rayStartParams", "replicas", "resources", "scaleStrategy", "suspend", "template"),
}
POD = {
    *("activeDeadlineSeconds", "affinity", "automountServiceAccountToken", "containers"),
    *("dnsConfig", "dnsPolicy", "enableServiceLinks", "hostAliases", "hostIPC", "hostNetwork"),
    *("hostPID", "hostUsers", "hostname", "imagePullSecrets", "initContainers", "nodeName"),
    *("nodeSelector", "os", "overhead", "preemptionPolicy", "priority", "priorityClassName"),
    *("readinessGates", "resourceClaims", "restartPolicy", "runtimeClassName", "schedulerName"),
    *("schedulingGates", "securityContext", "serviceAccountName", "setHostnameAsFQDN"),
    *("shareProcessNamespace", "subdomain", "terminationGracePeriodSeconds", "tolerations"),
    *("topologySpreadConstraints", "volumes"),
}
CONTAINER = {
    *("args", "command", "env", "envFrom", "image", "imagePullPolicy", "lifecycle"),
    *("livenessProbe", "name", "ports", "readinessProbe", "resizePolicy", "resources"),
    *("restartPolicy", "securityContext", "startupProbe", "terminationMessagePath"),
    *("terminationMessagePolicy", "volumeDevices", "volumeMounts", "workingDir"),
}


def groups(file: ClusterFile) -> list[Keys]:
    """Return where the head's and each worker group's section stands."""
    workers = items(file.content, "spec", "workerGroupSpecs")
    return [
        ("spec", "headGroupSpec"),
        *(("spec", "workerGroupSpecs", i) for i in range(len(workers))),
    ]


def containers(file: ClusterFile) -> Iterator[tuple[Keys, Mapping[str, Any]]]:
    """Yield where each container stands, and what it says."""
    for group in groups(file):
        keys: Keys = (*group, "template", "spec", "containers")
        for position, container in enumerate(items(file.content, *keys)):
            yield (*keys, position), section(container)


def check_kube_keys(file: ClusterFile) -> Faults:
    """Yield keys that the operator or Kubernetes would refuse or drop."""
    content = file.content
    places: list[tuple[Keys, set[str]]] = [
        ((), TOP),
        (("spec",), SPEC),
        (("spec", "autoscalerOptions"), AUTOSCALER),
        (("spec", "authOptions"), {"mode", "enableK8sTokenAuth", "secretName"}),
    ]
    for group in groups(file):
        pod: Keys = (*group, "template", "spec")
        places += [(group, HEAD if group[-1] == "headGroupSpec" else WORKER), (pod, POD)]
        yield from _params((*group, "rayStartParams"), section(content, *group, "rayStartParams"))
    places += [(keys, CONTAINER) for keys, _ in containers(file)]
    for keys, known in places:
        yield from _unknown(keys, section(content, *keys), known)


def _params(keys: Keys, params: Mapping[str, object]) -> Faults:
    """Ray's options of a group, which the operator hands on to `ray start`."""
    for key, value in params.items():
        if key not in OPTIONS:
            yield unknown((*keys, key), sorted(OPTIONS))
        elif not isinstance(value, str):
            what = "is no text, and KubeRay takes nothing else"
            yield Fault((*keys, key), value, what, "put the value into quotes")


def _unknown(keys: Keys, there: Mapping[str, object], known: Iterable[str]) -> Faults:
    names = sorted(known)
    yield from (unknown((*keys, key), names) for key in there if key not in names)
