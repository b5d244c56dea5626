"""What every node of a running cluster says of itself, asked by one small task each."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from refkd.errors import RefKDError
from refkd.urls import Url
from tune.execution.cluster import joined

DEADLINE = 180.0
"""Seconds a node has for an answer."""
PACKAGES = ("refkd", "ray", "torch", "optuna", "numpy")


@dataclass
class NodeFacts:
    """The answers of one node."""

    versions: dict[str, str]
    skew: float = 0.0
    """Seconds its clock is ahead of the driver's."""
    latency: float = 0.0
    """Seconds the question took: how little `skew` can be trusted."""
    storage_error: str | None = None
    markers: list[str] = field(default_factory=list)
    """Nodes whose mark it sees in the shared folder."""
    fingerprint: str | None = None
    dataset_error: str | None = None


def ask_nodes(address: str, *, folder: Path, dataset: Path | Url | None) -> dict[str, NodeFacts]:
    """Return the facts of every living node, by host name and the start of its id.

    Every node leaves a mark in the shared folder, then every node looks for all of them; the marks
    are removed again. Raises `RefKDError` where the cluster or a node gives no answer.
    """
    marks = folder / f".refkd-check-{uuid4().hex[:8]}"
    with joined(address):
        names = _nodes()
        try:
            facts = _asked(names, str(marks), dataset)
        finally:
            # All are begun before any is waited for: a node that died keeps none from it.
            removed = [(_begin(node, _remove, str(marks)), name) for node, name in names.items()]
            for task, name in removed:
                _answer(task, name)
    return facts


def _asked(
    names: Mapping[str, str], marks: str, dataset: Path | Url | None
) -> dict[str, NodeFacts]:
    # The first task of a node starts a process there: all at once, and no clock is read by it.
    begun = {n: _begin(n, _describe, marks, names[n], dataset) for n in names}
    facts = {names[n]: NodeFacts(**_answer(task, names[n])) for n, task in begun.items()}
    for node, name in names.items():
        began = time.time()
        now, facts[name].markers = _answer(_begin(node, _marks, marks), name)
        facts[name].latency = (time.time() - began) / 2
        facts[name].skew = now - (began + facts[name].latency)
    return facts


def _nodes() -> dict[str, str]:
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    return {n["NodeID"]: f"{n['NodeManagerHostname']} ({n['NodeID'][:6]})" for n in alive}


def _begin(node: str, task: Any, *arguments: object) -> Any:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(node, soft=False)
    # No CPU is asked for: the head has none to give, and trials may hold the others.
    remote = ray.remote(num_cpus=0, max_retries=0)(task).options(scheduling_strategy=here)
    return remote.remote(*arguments)


def _answer(task: Any, name: str) -> Any:
    import ray

    try:
        return ray.get(task, timeout=DEADLINE)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise RefKDError(
            f"node {name} gave no answer ({reason}); see `ray status`, and install refkd there"
        ) from None


def _describe(marks: str, name: str, dataset: Path | Url | None) -> dict[str, Any]:
    """Run on a node: versions, the dataset's fingerprint, and a mark left in storage."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    told: dict[str, Any] = {"versions": versions, "storage_error": None}
    told |= {"fingerprint": None, "dataset_error": None}
    try:
        if not Path(marks).parent.is_dir():
            raise FileNotFoundError(f"there is no folder {Path(marks).parent}")
        Path(marks).mkdir(exist_ok=True)
        (Path(marks) / name).touch()
    except OSError as error:
        told["storage_error"] = error.strerror or str(error)
    if dataset:
        told |= _fingerprint(dataset)
    return told


def _fingerprint(dataset: Path | Url) -> dict[str, str | None]:
    from refkd.data.local_copy import local_copy
    from refkd.data.manifest import read_manifest

    try:
        folder = local_copy(dataset) if isinstance(dataset, Url) else dataset
        return {"fingerprint": read_manifest(folder).fingerprint}
    except (RefKDError, OSError) as error:
        return {"dataset_error": str(error).splitlines()[0]}


def _marks(marks: str) -> tuple[float, list[str]]:
    """Run on a node: its time, and the marks that it sees."""
    folder = Path(marks)
    seen = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return time.time(), seen


def _remove(marks: str) -> None:
    import shutil

    shutil.rmtree(marks, ignore_errors=True)
