"""`refkd cluster check FILE`: what is wrong with a cluster file, without any cluster."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from tune.cluster.access import check_access
from tune.cluster.aws import check_aws
from tune.cluster.commands import ray_starts
from tune.cluster.exposure import check_doors
from tune.cluster.files import check_files
from tune.cluster.findings import Checked, Fault, Faults, in_order
from tune.cluster.fit import Capacity, check_study
from tune.cluster.hosts import check_hosts
from tune.cluster.keys import check_keys
from tune.cluster.kube.check import check_kube, kube_capacities
from tune.cluster.kube.keys import check_kube_keys
from tune.cluster.kube.storage import kube_shared
from tune.cluster.numbers import number, whole
from tune.cluster.source import KUBERAY, ClusterFile, items, read_cluster, section
from tune.cluster.starts import check_starts
from tune.cluster.storage import check_storage, shared_of
from tune.cluster.tokens import check_tokens
from tune.cluster.versions import check_versions, lock_of, read_lock
from tune.cluster.wheels import check_wheels

OF_LAUNCHER = (
    *(check_keys, check_hosts, check_access, check_files, check_wheels, check_starts),
    *(check_tokens, check_versions, check_doors, check_storage),
)
"""The checks of a file for `ray up`, whatever its provider."""


def check_file(path: Path, *, study: Path | None = None) -> Checked:
    """Check a file for `ray up` or KubeRay, and whether a study fits it.

    Local paths are those of the folder this is run in, as `ray up` reads them. Raises
    `RefKDError` or `YamlError` where the file cannot be read.
    """
    file = read_cluster(path)
    findings = [file.finding(fault) for fault in _faults(file)]
    if study is not None:
        findings += check_study(study, capacities(file), shared(file), spot=file.kind != "local")
    subject = str(path) if study is None else f"{path} with {study}"
    return Checked(subject=subject, kind=file.kind, findings=in_order(findings))


def shared(file: ClusterFile) -> PurePosixPath | None:
    """Return the folder that all machines of a cluster share, as far as its file says."""
    return kube_shared(file) if file.kind == KUBERAY else shared_of(file)


def capacities(file: ClusterFile) -> list[Capacity]:
    """Return what the machines of a cluster give to trials, as far as its file says."""
    if file.kind == KUBERAY:
        return kube_capacities(file)
    if file.kind == "local":
        return _fixed(file)
    return [
        Capacity(
            name=str(name),
            cpu=number(section(node, "resources").get("CPU")),
            gpu=number(section(node, "resources").get("GPU")),
            count=whole(section(node).get("max_workers", file.content.get("max_workers", 0))),
        )
        for name, node in section(file.content, "available_node_types").items()
        if name != file.content.get("head_node_type")
    ]


def _fixed(file: ClusterFile) -> list[Capacity]:
    """Fixed machines say what they have only where `ray start` is told."""
    found = []
    workers = len(items(file.content, "provider", "worker_ips"))
    for start in ray_starts(file.content):
        head = "head" in start.options()
        cpu, gpu = (number(start.options().get(f"num-{kind}s")) for kind in ("cpu", "gpu"))
        found.append(
            Capacity(
                name="head" if head else "workers",
                cpu=cpu,
                gpu=gpu,
                count=1 if head else workers,
            )
        )
    return found


def _faults(file: ClusterFile) -> Faults:
    if file.kind == KUBERAY:
        yield from check_kube_keys(file)
        yield from check_kube(file, read_lock(lock_of(file)))
        return
    for check in OF_LAUNCHER:
        yield from check(file)
    if file.kind == "aws":
        yield from check_aws(file)
    docker = section(file.content, "docker")
    if docker.get("container_name") and not {"image", "head_image"} & set(docker):
        yield Fault(
            ("docker", "image"),
            None,
            "is missing, though a container is named",
            "name the image, or remove the section docker",
        )
