"""How long each machine was there while a driver was at work: what a cloud bills."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

_log = logging.getLogger(__name__)
NODE_TYPE = "ray.io/node-group"
"""Ray's label of a node: the name of its type in the cluster file."""


class Census:
    """Counts the seconds of every node from the first call on; a call asks Ray once."""

    def __init__(
        self,
        nodes: Callable[[], list[dict[str, Any]]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nodes = nodes or _ray_nodes
        self._clock = clock
        self._last: float | None = None
        self._held: dict[str, dict[str, Any]] = {}

    def __call__(self) -> list[dict[str, Any]]:
        """Return the nodes seen so far: `type`, `cpu`, `gpu` and the `seconds` it was there.

        A node that has gone counts up to the call before; one that has come, from this one on.
        """
        now = self._clock()
        passed = 0.0 if self._last is None else now - self._last
        self._last = now
        for node in (one for one in self._nodes() if one["Alive"]):
            held = self._held.get(node["NodeID"])
            if held is None:
                self._held[node["NodeID"]] = _described(node)
            else:
                held["seconds"] += passed
        return [dict(held) for held in self._held.values()]


def _described(node: Mapping[str, Any]) -> dict[str, Any]:
    cpu, gpu = (float(node["Resources"].get(name, 0.0)) for name in ("CPU", "GPU"))
    plain = f"{cpu:g} CPU" + (f", {gpu:g} GPU" if gpu else "")
    kind = node.get("Labels", {}).get(NODE_TYPE) or plain
    return {"type": kind, "cpu": cpu, "gpu": gpu, "seconds": 0.0}


def _ray_nodes() -> list[dict[str, Any]]:
    """Return Ray's nodes; none where the cluster is gone, which others have to say."""
    import ray

    if not ray.is_initialized():
        return []
    try:
        found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    except (ray.exceptions.RayError, ConnectionError) as error:
        _log.warning("the machines at work cannot be counted now (%s)", error)
        return []
    return found
