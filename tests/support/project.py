"""What tests about the project as a whole need: its root, its files, and commands in its texts."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MADE = {"__pycache__", "build", "datasets", "dist", "mlartifacts", "mlruns", "runs"}
_BLOCK = re.compile(r"^```(?:sh|bash|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def project_files(*suffixes: str) -> list[Path]:
    """Return the files that a clone holds, sorted; with suffixes, such as `.md`, only those."""
    return sorted(path for path in _walk() if not suffixes or path.suffix in suffixes)


def shell_commands(text: str) -> list[list[str]]:
    """Return the words of every command in the shell blocks of a Markdown text.

    >>> shell_commands("```sh\\n$ X=1 .venv/bin/refkd best a.yaml --json | jq .  # front\\n```\\n")
    [['refkd', 'best', 'a.yaml', '--json'], ['jq', '.']]
    """
    blocks: list[str] = _BLOCK.findall(text)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [command for line in lines for command in _commands(line.removeprefix("$ "))]


def _commands(line: str) -> Iterator[list[str]]:
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    command: list[str] = []
    for word in [*words, ";"]:
        if set(word) <= set("|&;<>()"):
            if command:
                yield command
            command = []
        elif command or not re.match(r"\w+=", word):
            command.append(word if command else Path(word).name)


def _walk() -> Iterator[Path]:
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in MADE
            and not name.endswith(".egg-info")
            and (name in (".ci", ".github") or not name.startswith("."))
        ]
        yield from (Path(folder) / name for name in files)
