"""A cluster file as read: its kind, its content, and the lines of its keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refkd.errors import RefKDError
from tune.cluster.findings import ClusterFinding, Fault, Keys, dotted, shown
from tune.config.yaml_file import YamlFile, read_yaml_documents

LAUNCHER = ("local", "aws")
KUBERAY = "kuberay"


@dataclass(frozen=True)
class ClusterFile:
    """One cluster file; Kubernetes' may hold several documents, of which one is the RayCluster."""

    path: Path
    kind: str
    """`local`, `aws` or `kuberay`."""
    main: YamlFile
    others: Sequence[YamlFile]
    """The other documents."""

    @property
    def content(self) -> Mapping[str, Any]:
        """Return what the cluster's own document says."""
        return self.main.content

    def of_kind(self, kind: str) -> list[YamlFile]:
        """Return the other documents of a kind."""
        return [document for document in self.others if document.content.get("kind") == kind]

    def finding(self, fault: Fault) -> ClusterFinding:
        """Return a fault with its file and line."""
        other = fault.document
        return ClusterFinding(
            level=fault.level,
            file=str(self.path),
            line=(other or self.main).line(fault.keys),
            field=dotted((other.content.get("kind", "?"), *fault.keys) if other else fault.keys),
            value=shown(fault.value),
            what=fault.what,
            remedy=fault.remedy,
        )


def read_cluster(path: Path) -> ClusterFile:
    """Read a file for `ray up` or KubeRay; `RefKDError` where it is neither."""
    if not path.is_file():
        raise RefKDError(f"{path}: no such file; give one such as cluster.yaml")
    documents = read_yaml_documents(path)
    clusters = [d for d in documents if d.content.get("kind") == "RayCluster"]
    main = clusters[0] if clusters else documents[0]
    others = [d for d in documents if d is not main]
    if clusters:
        return ClusterFile(path, KUBERAY, main, others)
    if "kind" in main.content:
        kinds = ", ".join(str(d.content.get("kind")) for d in documents)
        raise RefKDError(
            f"{path}:{main.line(('kind',))}: kind is {kinds}; refkd checks a RayCluster: write "
            "kind: RayCluster, or start from cluster/kuberay.yaml"
        )
    provider = section(main.content, "provider")
    kind = provider.get("type")
    if kind not in LAUNCHER:
        raise RefKDError(
            f"{path}:{main.line(('provider', 'type'))}: provider.type is {kind!r}; refkd checks "
            f"{', '.join(LAUNCHER)} and Kubernetes' RayCluster: start from one that ships"
        )
    return ClusterFile(path, str(kind), main, others)


def section(content: object, *keys: str | int) -> Mapping[str, Any]:
    """Return a mapping inside a mapping; an empty one where it is absent or something else."""
    found = value_at(content, keys)
    return found if isinstance(found, Mapping) else {}


def items(content: object, *keys: str | int) -> Sequence[Any]:
    """Return a list inside a mapping; an empty one where it is absent or something else."""
    found = value_at(content, keys)
    return found if isinstance(found, list) else ()


def value_at(content: object, keys: Keys) -> Any:
    """Return what stands at a place, or None."""
    for key in keys:
        known = (
            key < len(content)
            if isinstance(content, list) and isinstance(key, int)
            else isinstance(content, Mapping) and key in content
        )
        if not known:
            return None
        content = content[key]  # type: ignore[index]
    return content
