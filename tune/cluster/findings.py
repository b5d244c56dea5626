"""What a check of a cluster finds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from refkd.config import Config
from tune.cluster.secret import hidden
from tune.config.yaml_file import YamlFile

Keys = tuple[str | int, ...]
"""A place in a file, such as `("provider", "worker_ips", 1)`."""


class ClusterFinding(Config):
    """One fault, where it stands, and what puts it right."""

    level: Literal["problem", "note"] = "problem"
    """A problem has to be mended before the cluster is used; a note is good to know."""
    file: str
    """The file it stands in, or the address of a cluster."""
    line: int | None = None
    """Line of the file."""
    field: str
    """Dotted key of the file, or the node of a cluster."""
    value: str
    """What stands there, shortened; empty where something is missing."""
    what: str
    """What is wrong with it."""
    remedy: str
    """What the user does about it."""


class Checked(Config):
    """The outcome of a check."""

    subject: str
    """What was checked: files, or an address."""
    kind: str
    """Kind of the cluster file (local, aws, kuberay), or `running`."""
    findings: list[ClusterFinding]

    @property
    def problems(self) -> list[ClusterFinding]:
        """Return what has to be mended."""
        return [finding for finding in self.findings if finding.level == "problem"]


@dataclass(frozen=True)
class Fault:
    """A finding before its file and line are known."""

    keys: Keys
    value: object
    what: str
    remedy: str
    level: Literal["problem", "note"] = "problem"
    document: YamlFile | None = None
    """The document it stands in, where that is not the cluster's own."""


Faults = Iterator[Fault]


def dotted(keys: Sequence[str | int]) -> str:
    """Return a place as people write it.

    >>> dotted(("provider", "worker_ips", 1))
    'provider.worker_ips[1]'
    """
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


def shown(value: object, *, width: int = 60) -> str:
    """Return a value in one line, shortened and without secrets; nothing for None."""
    text = "" if value is None else hidden(" ".join(str(value).split()))
    return text if len(text) <= width else f"{text[: width - 1]}…"


def in_order(findings: Iterable[ClusterFinding]) -> list[ClusterFinding]:
    """Return problems before notes, each from the top of the file down."""
    return sorted(findings, key=lambda f: (f.level != "problem", f.file, f.line or 0))
