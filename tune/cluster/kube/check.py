"""A RayCluster for KubeRay: its name, its head, its autoscaler, and what its pods give."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from tune.cluster.findings import Fault, Faults, Keys
from tune.cluster.fit import Capacity
from tune.cluster.kube.keys import groups
from tune.cluster.kube.network import check_network
from tune.cluster.kube.pods import check_pods
from tune.cluster.kube.sizes import GPU, check_sizes, limits
from tune.cluster.kube.storage import check_kube_storage, kube_shared
from tune.cluster.numbers import number, quantity, whole
from tune.cluster.source import ClusterFile, items, section, value_at
from tune.cluster.starts import LOOPBACK

HEAD: Keys = ("spec", "headGroupSpec")
API = "ray.io/v1"
AUTOSCALER = {
    "version": ("v1", "v2"),
    "upscalingMode": ("Default", "Aggressive", "Conservative"),
}


def check_kube(file: ClusterFile, locked: Mapping[str, str]) -> Faults:
    """Yield what is wrong with a RayCluster; `locked` is version by name."""
    yield from _identity(file.content)
    yield from _head(file.content)
    yield from check_network(file)
    yield from check_pods(file, locked, kube_shared(file))
    yield from check_sizes(file)
    if not items(file.content, "spec", "workerGroupSpecs"):
        yield Fault(("spec", "workerGroupSpecs"), None, "is missing", "add a group of workers")
    yield from _autoscaler(file.content)
    yield from check_kube_storage(file)


def kube_capacities(file: ClusterFile) -> list[Capacity]:
    """Return what a pod of each worker group gives to trials."""
    return [_capacity(file, keys) for keys in groups(file)[1:]]


def _capacity(file: ClusterFile, keys: Keys) -> Capacity:
    group = section(file.content, *keys)
    has, told = limits(section(group, "template", "spec")), section(group, "rayStartParams")
    cpu = quantity(has.get("cpu"))
    return Capacity(
        name=str(group.get("groupName")),
        cpu=number(told["num-cpus"]) if "num-cpus" in told else cpu and math.ceil(cpu),
        gpu=number(told["num-gpus"]) if "num-gpus" in told else quantity(has.get(GPU, 0)),
        count=whole(group.get("maxReplicas")),
    )


def _identity(content: Mapping[str, Any]) -> Faults:
    if content.get("apiVersion") != API:
        yield Fault(
            ("apiVersion",),
            content.get("apiVersion"),
            "is no version that KubeRay's operator 1.6 keeps",
            f"write apiVersion: {API}",
        )
    name = section(content, "metadata").get("name")
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", str(name or "")):
        yield Fault(
            ("metadata", "name"),
            name,
            "is no name of a RayCluster" if name else "is missing",
            "write small letters, digits and -, such as refkd",
        )


def _head(content: Mapping[str, Any]) -> Faults:
    mode = value_at(content, ("spec", "authOptions", "mode"))
    if mode != "token":
        yield Fault(
            ("spec", "authOptions", "mode"),
            mode,
            "starts Ray without a token: whoever reaches a pod runs code there",
            "write authOptions: {mode: token}",
        )
    service = value_at(content, (*HEAD, "serviceType"))
    if service != "ClusterIP":
        what = "opens the head to the world outside" if service else "is not said"
        remedy = "write serviceType: ClusterIP, and use kubectl port-forward"
        yield Fault((*HEAD, "serviceType"), service, what, remedy)
    host = value_at(content, (*HEAD, "rayStartParams", "dashboard-host"))
    if host not in LOOPBACK:
        yield Fault(
            (*HEAD, "rayStartParams", "dashboard-host"),
            host,
            "does not keep the dashboard on the head's loopback",
            "write dashboard-host: 127.0.0.1, and use kubectl port-forward",
        )
    cpus = value_at(content, (*HEAD, "rayStartParams", "num-cpus"))
    if cpus != "0":
        yield Fault(
            (*HEAD, "rayStartParams", "num-cpus"),
            cpus,
            "lets trials run on the head, beside the search and its record",
            'write num-cpus: "0"',
        )


def _autoscaler(content: Mapping[str, Any]) -> Faults:
    enabled = value_at(content, ("spec", "enableInTreeAutoscaling"))
    if enabled is not True:
        yield Fault(
            ("spec", "enableInTreeAutoscaling"),
            enabled,
            "lets no pod come when trials wait",
            "set it to true",
        )
    place: Keys = ("spec", "autoscalerOptions")
    options = section(content, *place)
    for key, known in AUTOSCALER.items():
        if key in options and options[key] not in known:
            what = f"is none of {', '.join(known)}"
            yield Fault((*place, key), options[key], what, f"write {key}: {known[-1]}")
    idle = whole(options.get("idleTimeoutSeconds", 60))
    if idle is None or idle < 0:
        yield Fault(
            (*place, "idleTimeoutSeconds"),
            options["idleTimeoutSeconds"],
            "is no whole number of seconds",
            "write idleTimeoutSeconds: 600 or the like",
        )
