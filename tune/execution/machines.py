"""The machines that a cluster has or may get, and whether a trial fits into one of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import yaml

from refkd.errors import RefKDError
from tune import compat
from tune.config.limits import Resources

_log = logging.getLogger(__name__)

Machine = Mapping[str, float]
"""The resources of a machine by Ray's names, `CPU` and `GPU` among them."""


def check_resources(
    wanted: Resources, there: Sequence[Machine], coming: Sequence[Machine]
) -> None:
    """Refuse a trial that could never start; `RefKDError` names what the machines have.

    `there` are the machines of now, `coming` those that an autoscaler may add; one without any
    resources is one of which nothing is known, and holds every trial.
    """
    if any(_fits(wanted, machine) for machine in there):
        return
    asked = f"resources ask for cpu {wanted.cpu:g} and gpu {wanted.gpu:g} on one machine"
    if any(not machine or _fits(wanted, machine) for machine in coming):
        _log.warning("%s, which none has yet: the cluster's autoscaler is to add one", asked)
        return
    known = [*map(_told, there), *(f"{_told(machine)} (not there yet)" for machine in coming)]
    raise RefKDError(
        f"{asked}, but the machines are: {'; '.join(dict.fromkeys(known)) or 'none'}. No trial "
        "could ever start: lower resources in the study or add machines"
    )


def machines_there() -> list[Machine]:
    """Return the machines of the cluster that this process has joined."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]


def machines_coming() -> list[Machine]:
    """Return a machine of every kind that the autoscaler on this machine, the head, may add.

    Ray tells no client what its autoscaler may add, but starts it with a file that says so. On
    Kubernetes it runs in a container of its own: nothing is known.
    """
    if os.environ.get(compat.KUBERAY_VARIABLE) == "1":
        return [{}]
    return [machine for path in _autoscaling_files() for machine in _kinds(path)]


def _autoscaling_files() -> Iterator[Path]:
    """Yield the files of this user's autoscalers: another user's cluster is not the one joined."""
    for process in psutil.process_iter(["cmdline", "uids"]):
        uids = process.info["uids"]
        if uids is None or uids.real != os.getuid():
            continue
        for word in process.info["cmdline"] or ():
            path = Path(word.removeprefix(compat.AUTOSCALING_OPTION)).expanduser()
            if word.startswith(compat.AUTOSCALING_OPTION) and path.is_file():
                yield path


def _kinds(path: Path) -> Iterator[Machine]:
    """Yield the machines of a cluster file; fixed machines, which have no kinds, are none."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    head = content.get("head_node_type")
    for name, kind in (content.get("available_node_types") or {}).items():
        if name != head and kind.get("max_workers", 0) > 0:
            yield kind.get("resources") or {}


def _fits(wanted: Resources, machine: Machine) -> bool:
    return wanted.cpu <= machine.get("CPU", 0.0) and wanted.gpu <= machine.get("GPU", 0.0)


def _told(machine: Machine) -> str:
    return f"{machine.get('CPU', 0.0):g} CPU, {machine.get('GPU', 0.0):g} GPU"
