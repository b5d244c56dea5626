"""The commands of a cluster file: all of them, those that start Ray, and their options."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tune.cluster.findings import Keys
from tune.cluster.source import items, section

HEAD_START = "head_start_ray_commands"
WORKER_START = "worker_start_ray_commands"
LISTS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    HEAD_START,
    WORKER_START,
)
_RAY_START = re.compile(r"\bray start\b([^;&|]*)")
_OPTION = re.compile(r"--([a-z][\w-]*)(?:[=\s]+([^\s-]\S*))?")


@dataclass(frozen=True)
class Command:
    """One shell command and where it stands."""

    keys: Keys
    text: str

    def variable(self, name: str) -> str | None:
        """Return the last value that the command gives an environment variable, or None."""
        found = re.findall(rf"\b{name}=(\S*?)(?=[\s;'\"]|$)", self.text)
        return found[-1] if found else None

    def options(self) -> dict[str, str]:
        """Return the options of its `ray start`; flags have an empty value."""
        found = _RAY_START.search(self.text)
        return {k: v or "" for k, v in _OPTION.findall(found[1])} if found else {}

    def unsets(self, name: str) -> bool:
        """Return whether the command unsets an environment variable."""
        return re.search(rf"\bunset\b[^;&|]*\b{name}\b", self.text) is not None


def commands(content: Mapping[str, Any]) -> Iterator[Command]:
    """Yield every command of a file, those of the node types included."""
    for name in LISTS:
        yield from _listed(content, (name,))
    for node in section(content, "available_node_types"):
        for name in LISTS:
            yield from _listed(content, ("available_node_types", node, name))


def ray_starts(content: Mapping[str, Any]) -> Iterator[Command]:
    """Yield the commands that start Ray on the head and on workers."""
    for name in (HEAD_START, WORKER_START):
        yield from (c for c in _listed(content, (name,)) if _RAY_START.search(c.text))


def _listed(content: Mapping[str, Any], keys: Keys) -> Iterator[Command]:
    for position, text in enumerate(items(content, *keys)):
        yield Command((*keys, position), str(text))
