"""Does a study fit a cluster: resources of its trials, and where it keeps what all must see."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from tune.cluster.findings import ClusterFinding, Fault, Faults, dotted, shown
from tune.cluster.storage import within
from tune.config.study_file import StudyFile, load_study_file
from tune.config.yaml_file import read_yaml

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:/")
"""Of an address; a path that was one has lost a slash."""


@dataclass(frozen=True)
class Capacity:
    """What one machine of a type gives to trials; None is what the file does not say."""

    name: str
    cpu: float | None
    gpu: float | None
    count: int | None
    """Machines of the type at most."""

    def trials(self, study: StudyFile) -> int | None:
        """Return how many trials of a study fit at once; None where that is not known."""
        wanted = study.resources
        pairs = [(self.cpu, wanted.cpu), (self.gpu, wanted.gpu)]
        fits = [None if has is None else has // wants for has, wants in pairs if wants]
        known = [fit for fit in fits if fit is not None]
        if 0 in known:
            return 0
        if self.count is None or not known or len(known) < len(fits):
            return None
        return int(min(known)) * self.count

    def __str__(self) -> str:
        pairs = ((self.cpu, "CPUs"), (self.gpu, "GPUs"))
        has = ", ".join(f"{amount:g} {kind}" for amount, kind in pairs if amount is not None)
        return f"{self.name}: {has}"


def check_study(
    path: Path, capacities: list[Capacity], shared: PurePosixPath | None, *, spot: bool
) -> list[ClusterFinding]:
    """Return what of a study cannot work on a cluster."""
    study = load_study_file(path)
    lines = read_yaml(path)
    faults = [*_resources(study, capacities, path), *_places(study, shared)]
    if spot and study.retries < 3:
        what = "gives up a trial soon, where machines are taken away often"
        faults.append(Fault(("retries",), study.retries, what, "set retries: 3", level="note"))
    return [
        ClusterFinding(
            level=fault.level,
            file=str(path),
            line=lines.line(fault.keys),
            field=dotted(fault.keys),
            value=shown(fault.value),
            what=fault.what,
            remedy=fault.remedy,
        )
        for fault in faults
    ]


def _resources(study: StudyFile, capacities: list[Capacity], path: Path) -> Faults:
    known = [(c, fits) for c in capacities if (fits := c.trials(study)) is not None]
    unknown = [c.name for c in capacities if c.trials(study) is None]
    wanted = study.resources
    asked = f"{wanted.cpu:g} CPUs and {wanted.gpu:g} GPUs"
    if unknown and (wanted.cpu > 1 or wanted.gpu):
        yield Fault(
            ("resources",),
            asked,
            f"may fit or not: the cluster's file does not say what {', '.join(unknown)} have",
            f"once it runs, on its head: refkd cluster check --address auto --study {path}",
            level="note",
        )
    if not known or unknown:
        return
    total = sum(fits for _, fits in known)
    if total == 0:
        there = "; ".join(str(capacity) for capacity, _ in known)
        yield Fault(
            ("resources",),
            asked,
            f"fits no machine ({there}): no trial could ever start",
            "lower the study's resources, or choose larger machines",
        )
    elif study.workers > total:
        yield Fault(
            ("workers",),
            study.workers,
            f"is more than the {total} trials that fit at once",
            f"set workers: {total}, or allow more machines",
            level="note",
        )
    if wanted.gpu == 0 and any(c.gpu for c, _ in known):
        yield Fault(
            ("resources", "gpu"),
            0,
            "leaves the machines' GPUs idle",
            "set it to 1, or to 0.5 for two trials to a GPU",
            level="note",
        )


def _places(study: StudyFile, shared: PurePosixPath | None) -> Faults:
    if shared is None:
        return
    if _SCHEME.match(str(study.workspace)):
        yield Fault(
            ("workspace",),
            study.workspace,
            "is an address, and a workspace is a folder",
            f"give a path in {shared}",
        )
    elif not within(str(study.workspace), shared):
        yield _outside("workspace", study.workspace, shared)
    dataset = str(study.dataset)
    if dataset.startswith("file:") or not _SCHEME.match(dataset):
        path = unquote(urlsplit(dataset).path) if dataset.startswith("file:") else dataset
        if not within(path, shared):
            yield _outside("dataset", dataset, shared)
    storage = None if study.storage is None else str(study.storage)
    own = f"journal:{shared}/runs/studies/{study.name}/study.journal"
    if storage is None or (_is_sqlite(storage) and within(_file(storage), shared)):
        yield Fault(
            ("storage",),
            storage or "SQLite in the workspace",
            "puts SQLite on a network file system, which can damage it",
            f"set storage: {own}, or PostgreSQL, or a SQLite file on the head's own disk",
        )
    elif storage.startswith("journal:") and not within(storage.removeprefix("journal:"), shared):
        yield Fault(
            ("storage",),
            storage,
            "is lost with the head",
            f"set storage: {own}",
            level="note",
        )
    if study.tracking.enabled and study.tracking.uri is None:
        yield Fault(
            ("tracking", "uri"),
            None,
            "keeps the record beside MLflow's server on the head, which does not show it",
            "set tracking: {uri: http://127.0.0.1:5000}",
            level="note",
        )


def _outside(key: str, value: object, shared: PurePosixPath) -> Fault:
    what = "is not in the folder that the machines share"
    return Fault((key,), value, what, f"give a path in {shared}")


def _is_sqlite(url: str) -> bool:
    return url.partition(":")[0].partition("+")[0] == "sqlite"


def _file(url: str) -> str:
    """Return the absolute path of a SQLite URL."""
    return "/" + url.partition(":")[2].partition("?")[0].lstrip("/")
