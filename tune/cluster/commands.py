"""The commands of a cluster file: all of them, those that start Ray, and their options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tune.cluster.findings import Keys
from tune.cluster.source import items, section

HEAD_START = "head_start_ray_commands"
WORKER_START = "worker_start_ray_commands"
SETUP = ("setup_commands", "head_setup_commands", "worker_setup_commands")
LISTS = ("initialization_commands", *SETUP, HEAD_START, WORKER_START)
_COMMENT = re.compile(r"""('[^']*'|"(?:\\.|[^"\\])*"|\\.)|(?<![^\s;&|()])#[^\n]*""", re.DOTALL)
_SUBSTITUTED = re.compile(r"\$\([^()]*\)|`[^`]*`")
_RAY_START = re.compile(r"\bray\s+start\b([^;&|<>()\n]*)")


@dataclass(frozen=True)
class Command:
    """One shell command, without its comments, and where it stands."""

    keys: Keys
    text: str

    def variable(self, name: str) -> str | None:
        """Return the last value that the command gives an environment variable, or None."""
        return _last_value(self.text, name)

    def given(self, name: str) -> str | None:
        """Return the value of a variable when `ray start` runs, as far as the command says."""
        before = _RAY_START.split(self.text, maxsplit=1)[0]
        _, unset, after = before.rpartition("unset ")
        undone = unset and re.search(rf"\b{name}\b", after.split(";")[0])
        return _last_value(after if undone else before, name)

    def options(self) -> dict[str, str]:
        """Return the options of its `ray start`; flags have an empty value."""
        found = _RAY_START.search(_SUBSTITUTED.sub("$…", self.text.replace("\\\n", " ")))
        words = split(found[1]) if found else []
        options: dict[str, str] = {}
        for word, after in zip(words, [*words[1:], ""], strict=True):
            name, equals, value = word.removeprefix("--").partition("=")
            if word.startswith("--") and name:
                options[name] = value if equals or after.startswith("-") else after
        return options

    def unsets(self, name: str) -> bool:
        """Return whether the command unsets an environment variable."""
        return re.search(rf"\bunset\b[^;&|]*\b{name}\b", self.text) is not None


def split(text: str) -> list[str]:
    """Return the words of a command; those between blanks where its quotes do not close."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


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
        yield Command((*keys, position), _COMMENT.sub(lambda m: m[1] or "", str(text)))


def _last_value(text: str, name: str) -> str | None:
    found = re.findall(rf"\b{name}=([\"']?)([^\s;&|\"']*)\1", text)
    return found[-1][1] if found else None
