"""Ray, started here or joined: whether a trial fits its machines, how long each is used."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from refkd.errors import RefKDError
from refkd.scoped import handlers_kept, log_levels, variables
from tune import compat
from tune.config.limits import Resources
from tune.execution.local_ray import local_ray
from tune.execution.token import token_without_home

_log = logging.getLogger(__name__)

Machine = Mapping[str, float]
"""The resources of a machine by Ray's names, `CPU` and `GPU` among them."""
NODE_TYPE = "ray.io/node-group"
"""Ray's label of a node: the name of its type in the cluster file."""
# Set before Ray is imported: its own loggers and metrics would write what the study holds already.
_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ENABLE_METRICS_COLLECTION": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
}
_PATIENCE = 20.0
"""Seconds that a head has to accept a connection."""


@contextmanager
def ray_session(resources: Resources, *, address: str | None) -> Iterator[None]:
    """Run the body with Ray: one started here, or the cluster at `address`."""
    with joined(address, level=logging.WARNING):
        coming = [] if address is None else machines_coming()
        check_resources(resources, machines_there(), coming)
        yield


@contextmanager
def joined(address: str | None, *, level: int = logging.ERROR) -> Iterator[None]:
    """Run the body with Ray as a search wants it: started here, or joined at `address`.

    Raises `RefKDError` where no cluster can be joined, `ClusterLostError` where one that was
    started here dies under the body.
    """
    own = _ENVIRONMENT | (token_without_home() if address is None else {})
    with variables(own, kept=["PYTHONBREAKPOINT"]), handlers_kept(signal.SIGTERM):
        import ray

        levels = {"ray": level, compat.TOKEN_LOGGER: logging.ERROR}
        with log_levels(levels), compat.raylet_silenced():
            if address is None:
                with local_ray(level):
                    yield
                return
            _join(address, level)
            try:
                yield
            finally:
                ray.shutdown()


def _join(address: str, level: int) -> None:
    """Connect to a cluster; fail at once where nothing listens: Ray would try for minutes."""
    import ray

    host, _, port = address.rpartition(":")
    try:
        if host and port.isdigit() and "/" not in host:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
        ray.init(address=address, log_to_driver=False, logging_level=level)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RefKDError(
            f"--address {address}: no cluster answers ({reason}); run this on the head, with "
            "RAY_AUTH_MODE and the token of the cluster"
        ) from None


def check_resources(
    wanted: Resources, there: Sequence[Machine], coming: Sequence[Machine]
) -> None:
    """Refuse a trial that could never start; `RefKDError` names what the machines have.

    `coming` are those that an autoscaler may add; of one without resources nothing is known.
    """
    if any(_fits(wanted, machine) for machine in there):
        return
    asked = f"resources ask for cpu {wanted.cpu:g} and gpu {wanted.gpu:g} on one machine"
    if any(not machine or _fits(wanted, machine) for machine in coming):
        _log.warning("%s, which none has yet: the cluster's autoscaler is to add one", asked)
        return
    known = [*map(_text, there), *(f"{_text(machine)} (not there yet)" for machine in coming)]
    raise RefKDError(
        f"{asked}, but the machines are: {'; '.join(dict.fromkeys(known)) or 'none'}. No trial "
        "could ever start: lower resources in the study or add machines"
    )


def machines_there() -> list[Machine]:
    """Return the machines of the cluster that this process has joined."""
    return [node["Resources"] for node in _nodes() if node["Alive"]]


def machines_coming() -> list[Machine]:
    """Return a machine of every kind that the autoscaler on this machine, the head, may add.

    The file that Ray starts it with says so; on Kubernetes nothing is known.
    """
    if os.environ.get(compat.KUBERAY_VARIABLE) == "1":
        return [{}]
    found: list[Machine] = []
    for process in psutil.process_iter(["cmdline", "uids"]):
        uids = process.info["uids"]
        if uids is None or uids.real != os.getuid():
            continue  # another user's cluster is not the one joined
        for word in process.info["cmdline"] or ():
            path = Path(word.removeprefix(compat.AUTOSCALING_OPTION)).expanduser()
            if word.startswith(compat.AUTOSCALING_OPTION) and path.is_file():
                found += _kinds(path)
    return found


def _kinds(path: Path) -> Iterator[Machine]:
    """Yield the machines of a cluster file; fixed machines, which have no kinds, are none."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    head = content.get("head_node_type")
    for name, kind in (content.get("available_node_types") or {}).items():
        if name != head and kind.get("max_workers", 0) > 0:
            yield kind.get("resources") or {}


def _fits(wanted: Resources, machine: Machine) -> bool:
    return wanted.cpu <= machine.get("CPU", 0.0) and wanted.gpu <= machine.get("GPU", 0.0)


def _text(machine: Machine) -> str:
    return f"{machine.get('CPU', 0.0):g} CPU, {machine.get('GPU', 0.0):g} GPU"


def _nodes() -> list[dict[str, Any]]:
    import ray

    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return found


def _known_nodes() -> list[dict[str, Any]]:
    """Return Ray's nodes; none where the cluster is gone, which others have to say."""
    import ray

    try:
        return _nodes() if ray.is_initialized() else []
    except (ray.exceptions.RayError, ConnectionError) as error:
        _log.warning("the machines at work cannot be counted now (%s)", error)
        return []


class NodeUsage:
    """Counts the seconds that every node is there, from the first call on: what a cloud bills.

    A call asks Ray once.
    """

    def __init__(
        self,
        nodes: Callable[[], list[dict[str, Any]]] = _known_nodes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nodes, self._clock = nodes, clock
        self._last: float | None = None
        self._usage: dict[str, dict[str, Any]] = {}

    def __call__(self) -> list[dict[str, Any]]:
        """Return all nodes until now: `type`, `cpu`, `gpu` and the `seconds` it was there.

        A node that has gone counts up to the call before; one that has come, from this one on.
        """
        now = self._clock()
        passed = 0.0 if self._last is None else now - self._last
        self._last = now
        for node in (one for one in self._nodes() if one["Alive"]):
            if node["NodeID"] in self._usage:
                self._usage[node["NodeID"]]["seconds"] += passed
            else:
                self._usage[node["NodeID"]] = _unused(node)
        return [dict(usage) for usage in self._usage.values()]


def _unused(node: Mapping[str, Any]) -> dict[str, Any]:
    cpu, gpu = (float(node["Resources"].get(name, 0.0)) for name in ("CPU", "GPU"))
    plain = f"{cpu:g} CPU" + (f", {gpu:g} GPU" if gpu else "")
    kind = node.get("Labels", {}).get(NODE_TYPE) or plain
    return {"type": kind, "cpu": cpu, "gpu": gpu, "seconds": 0.0}
