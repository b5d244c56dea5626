"""The volume that all pods of a RayCluster share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from tune.cluster.findings import Fault, Faults, Keys
from tune.cluster.kube.keys import groups
from tune.cluster.source import ClusterFile, items, section
from tune.config.yaml_file import YamlFile


def check_kube_storage(file: ClusterFile) -> Faults:
    """Yield pods without a common claim, and claims that one machine alone can mount."""
    volumes: Keys = ("spec", "headGroupSpec", "template", "spec", "volumes")
    if kube_shared(file) is None:
        yield Fault(
            volumes,
            None,
            "head and workers mount no common claim at one path",
            "mount one PersistentVolumeClaim (ReadWriteMany) in all of them",
        )
    claims = {claim for keys in groups(file) for claim, _ in _claims(file, keys)}
    known = {str(section(d.content, "metadata").get("name")) for d in _documents(file)}
    for claim in sorted(claims - known):
        yield Fault(
            volumes,
            claim,
            "is a claim that the file does not make: pods wait for it until it is there",
            "add a PersistentVolumeClaim of this name, unless it is there already",
            level="note",
        )
    for document in _documents(file):
        modes = items(document.content, "spec", "accessModes")
        if "ReadWriteMany" not in modes:
            yield Fault(
                ("spec", "accessModes"),
                ", ".join(map(str, modes)),
                "the claim can be mounted on one machine alone",
                "write accessModes: [ReadWriteMany]",
                document=document,
            )


def kube_shared(file: ClusterFile) -> PurePosixPath | None:
    """Return where head and workers mount one claim, or None."""
    mounts = [set(_claims(file, keys)) for keys in groups(file)]
    common = sorted(set.intersection(*mounts)) if mounts else []
    return PurePosixPath(common[0][1]) if common else None


def _documents(file: ClusterFile) -> list[YamlFile]:
    return file.of_kind("PersistentVolumeClaim")


def _claims(file: ClusterFile, keys: Keys) -> Iterator[tuple[str, str]]:
    pod = section(file.content, *keys, "template", "spec")
    claims = {
        str(volume.get("name")): str(section(volume, "persistentVolumeClaim")["claimName"])
        for volume in map(section, items(pod, "volumes"))
        if "claimName" in section(volume, "persistentVolumeClaim")
    }
    for mount in map(section, items(pod, "containers", 0, "volumeMounts")):
        if str(mount.get("name")) in claims:
            yield claims[str(mount["name"])], str(mount.get("mountPath"))
