"""A RayCluster for KubeRay: token, doors, versions, pods that come, and a shared volume."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from tune.cluster.findings import Fault, Faults, Keys
from tune.cluster.fit import Capacity
from tune.cluster.hosts import is_placeholder
from tune.cluster.kube_keys import groups
from tune.cluster.source import ClusterFile, items, section, value_at
from tune.cluster.starts import LOOPBACK

HEAD: Keys = ("spec", "headGroupSpec")
GPU = "nvidia.com/gpu"


def check_kube(file: ClusterFile, locked: Mapping[str, str]) -> Faults:
    """Yield what is wrong with a RayCluster; `locked` is version by name."""
    content = file.content
    yield from _token(content)
    yield from _doors(file)
    yield from _versions(file, locked)
    for keys in groups(file)[1:]:
        yield from _replicas(keys, section(content, *keys))
    if not items(content, "spec", "workerGroupSpecs"):
        yield Fault(("spec", "workerGroupSpecs"), None, "is missing", "add a group of workers")
    if value_at(content, ("spec", "enableInTreeAutoscaling")) is not True:
        yield Fault(
            ("spec", "enableInTreeAutoscaling"),
            value_at(content, ("spec", "enableInTreeAutoscaling")),
            "lets no pod come when trials wait",
            "set it to true",
        )
    cpus = value_at(content, (*HEAD, "rayStartParams", "num-cpus"))
    if cpus != "0":
        yield Fault(
            (*HEAD, "rayStartParams", "num-cpus"),
            cpus,
            "lets trials run on the head, beside the search and its record",
            'write num-cpus: "0"',
        )
    yield from _shared(file)


def kube_capacities(file: ClusterFile) -> list[Capacity]:
    """Return what a pod of each worker group gives to trials."""
    return [
        Capacity(
            name=str(section(file.content, *keys).get("groupName")),
            cpu=_cpus(_limits(file, keys).get("cpu")),
            gpu=float(_limits(file, keys).get(GPU, 0)),
            count=int(section(file.content, *keys).get("maxReplicas", 0)),
        )
        for keys in groups(file)[1:]
    ]


def kube_shared(file: ClusterFile) -> PurePosixPath | None:
    """Return where head and workers mount one claim, or None."""
    mounts = [set(_claims(file, keys)) for keys in groups(file)]
    common = sorted(set.intersection(*mounts)) if mounts else []
    return PurePosixPath(common[0][1]) if common else None


def _token(content: Mapping[str, Any]) -> Faults:
    mode = value_at(content, ("spec", "authOptions", "mode"))
    if mode != "token":
        yield Fault(
            ("spec", "authOptions", "mode"),
            mode,
            "starts Ray without a token: whoever reaches a pod runs code there",
            "write authOptions: {mode: token}",
        )


def _doors(file: ClusterFile) -> Faults:
    content = file.content
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
    for keys, container in _containers(file):
        for position, variable in enumerate(items(container, "env")):
            name, value = section(variable).get("name"), section(variable).get("value")
            place: Keys = (*keys, "env", position)
            if name == "REFKD_HOST" and value not in LOOPBACK:
                remedy = "write 127.0.0.1, and use kubectl port-forward"
                yield Fault(place, value, "lets MLflow's server listen outside the head", remedy)
            if value and re.search(r"PASSWORD|TOKEN|SECRET", str(name)):
                remedy = "take it from a secret by valueFrom: {secretKeyRef: ...}"
                yield Fault(place, f"{name}=***", "is a secret written into the file", remedy)
    if not any(document.get("kind") == "NetworkPolicy" for document in file.others):
        yield Fault(
            ("metadata", "name"),
            None,
            "no NetworkPolicy stands in the file: every pod of the Kubernetes cluster reaches Ray",
            "add the one of the file that ships",
        )


def _versions(file: ClusterFile, locked: Mapping[str, str]) -> Faults:
    wanted, there = locked.get("ray"), str(value_at(file.content, ("spec", "rayVersion")) or "")
    if wanted and there != wanted:
        yield Fault(
            ("spec", "rayVersion"),
            there,
            f"differs from Ray {wanted} of requirements.lock",
            f"write rayVersion: {wanted}, and build the image with it",
        )
    for keys, container in _containers(file):
        image = str(container.get("image") or "")
        tag = image.rpartition("/")[2].partition(":")[2]
        if not image or is_placeholder(image):
            yield Fault((*keys, "image"), image, "is a placeholder", "name the image you built")
        elif tag in ("", "latest") and "@sha256:" not in image:
            yield Fault(
                (*keys, "image"), image, "has no exact version", "add a tag such as :0.1.0"
            )


def _replicas(keys: Keys, group: Mapping[str, Any]) -> Faults:
    least, now = group.get("minReplicas", 0), group.get("replicas", 0)
    most = group.get("maxReplicas", 0)
    if not least <= now <= most or most < 1:
        yield Fault(
            (*keys, "maxReplicas"),
            f"{least} <= {now} <= {most}",
            "minReplicas, replicas and maxReplicas are out of order, or let no pod come",
            "write them so that they rise, the last at least 1",
        )


def _shared(file: ClusterFile) -> Faults:
    if kube_shared(file) is None:
        yield Fault(
            (*HEAD, "template", "spec", "volumes"),
            None,
            "head and workers mount no common claim at one path",
            "mount one PersistentVolumeClaim (ReadWriteMany) in all of them",
        )
    for document in file.others:
        modes = items(document, "spec", "accessModes")
        if document.get("kind") == "PersistentVolumeClaim" and "ReadWriteMany" not in modes:
            yield Fault(
                (*HEAD, "template", "spec", "volumes"),
                ", ".join(map(str, modes)),
                "the claim can be mounted on one machine alone",
                "write accessModes: [ReadWriteMany]",
            )


def _claims(file: ClusterFile, keys: Keys) -> Iterator[tuple[str, str]]:
    pod = section(file.content, *keys, "template", "spec")
    claims = {
        str(volume.get("name")): str(section(volume, "persistentVolumeClaim")["claimName"])
        for volume in map(section, items(pod, "volumes"))
        if "claimName" in section(volume, "persistentVolumeClaim")
    }
    for mount in map(section, items(pod, "containers", 0, "volumeMounts")):
        if mount.get("name") in claims:
            yield claims[str(mount["name"])], str(mount.get("mountPath"))


def _containers(file: ClusterFile) -> Iterator[tuple[Keys, Mapping[str, Any]]]:
    for group in groups(file):
        keys: Keys = (*group, "template", "spec", "containers")
        for position, container in enumerate(items(file.content, *keys)):
            yield (*keys, position), section(container)


def _limits(file: ClusterFile, keys: Keys) -> Mapping[str, Any]:
    return section(file.content, *keys, "template", "spec", "containers", 0, "resources", "limits")


def _cpus(text: object) -> float | None:
    if text is None:
        return None
    whole = str(text)
    return float(whole[:-1]) / 1000 if whole.endswith("m") else float(whole)
