"""`refkd cluster check --address`: what is wrong with a cluster that runs, asked on every node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from refkd.errors import RefKDError
from tune.cluster.findings import Checked, ClusterFinding, in_order
from tune.cluster.nodes import NodeFacts, ask_nodes
from tune.config.study_file import load_study_file

if TYPE_CHECKING:
    from tune.config.study_file import StudyFile

SKEW_SECONDS = 5.0
"""How far clocks may differ; leases and the order of events are told by them."""
VERSIONS = ("python", "refkd", "ray", "torch", "optuna", "numpy")


def check_running(address: str, *, study: Path | None, storage: Path | None) -> Checked:
    """Check versions, shared storage, clocks and the dataset on every node of a cluster.

    `storage` is the shared folder; without it the study's workspace is, or what of its path is
    there before the first search. Raises `RefKDError` where the cluster cannot be joined.
    """
    file = None if study is None else load_study_file(study)
    folder = storage or (_begun(file.workspace) if file else None)
    if folder is None:
        raise RefKDError("give --storage or --study: the folder that all nodes share")
    if not folder.is_absolute():
        raise RefKDError(f"storage {folder} is relative; nodes share an absolute path")
    dataset = file.dataset if file is not None else None
    nodes = ask_nodes(address, folder=folder, dataset=dataset)
    findings = compare(address, nodes, folder=folder, study=file)
    subject = f"{address}, {len(nodes)} nodes"
    return Checked(subject=subject, kind="running", findings=in_order(findings))


def _begun(workspace: Path) -> Path:
    """Return the part of an absolute path that is there; all of it where only the root is."""
    there = (path for path in (workspace, *workspace.parents[:-1]) if path.is_dir())
    return next(there, workspace) if workspace.is_absolute() else workspace


def compare(
    address: str, nodes: Mapping[str, NodeFacts], *, folder: Path, study: StudyFile | None
) -> list[ClusterFinding]:
    """Return where the nodes of a cluster disagree, or cannot do what a search needs."""
    return [
        *_versions(address, nodes),
        *_storage(address, nodes, folder),
        *_clocks(address, nodes),
        *(_dataset(address, nodes, study) if study else ()),
    ]


def _versions(address: str, nodes: Mapping[str, NodeFacts]) -> Iterator[ClusterFinding]:
    for name in VERSIONS:
        found = Counter(facts.versions[name] for facts in nodes.values())
        usual = found.most_common(1)[0][0]
        for node, facts in nodes.items():
            if facts.versions[name] != usual:
                yield ClusterFinding(
                    file=address,
                    field=node,
                    value=f"{name} {facts.versions[name]}",
                    what=f"differs from {usual} of the other nodes",
                    remedy="run `ray up` again, which installs the lock's versions",
                )


def _storage(
    address: str, nodes: Mapping[str, NodeFacts], folder: Path
) -> Iterator[ClusterFinding]:
    for node, facts in nodes.items():
        missing = [other for other in nodes if other not in facts.markers]
        if facts.storage_error:
            what, remedy = facts.storage_error, "mount the shared folder there, writable"
        elif missing:
            what = f"does not see what {len(missing)} of {len(nodes)} nodes wrote"
            remedy = "mount the same file system at this path on every node"
        else:
            continue
        yield ClusterFinding(file=address, field=node, value=str(folder), what=what, remedy=remedy)


def _clocks(address: str, nodes: Mapping[str, NodeFacts]) -> Iterator[ClusterFinding]:
    for node, facts in nodes.items():
        if abs(facts.skew) > SKEW_SECONDS + facts.latency:
            yield ClusterFinding(
                file=address,
                field=node,
                value=f"{facts.skew:+.1f} s",
                what=f"its clock differs from the driver's by more than {SKEW_SECONDS:g} s",
                remedy="let chrony or systemd-timesyncd set the clock of every machine",
            )


def _dataset(
    address: str, nodes: Mapping[str, NodeFacts], file: StudyFile
) -> Iterator[ClusterFinding]:
    prints = Counter(f.fingerprint for f in nodes.values() if f.fingerprint)
    usual = prints.most_common(1)[0][0] if prints else None
    if usual is None and file.simulate is not None:
        return  # the search simulates it first
    for node, facts in nodes.items():
        if facts.fingerprint is None or facts.fingerprint != usual:
            absent = facts.fingerprint is None
            yield ClusterFinding(
                file=address,
                field=node,
                value=str(file.dataset),
                what=(facts.dataset_error or "is absent") if absent else "holds another dataset",
                remedy="put the dataset into the shared folder, and name it in the study",
            )
