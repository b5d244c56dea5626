"""The tree of `refkd` commands, and a parser that tells whether a command line is accepted."""

from __future__ import annotations

from typing import Any

import typer
from typer.main import get_command

from tune.cli import app

ROOT_COMMAND: Any = get_command(app)


def command_paths() -> list[list[str]]:
    """Return the path of every command, such as `["data", "show"]`."""

    def below(command: Any, path: list[str]) -> list[list[str]]:
        children = getattr(command, "commands", None)
        if children is None:
            return [path]
        return [
            found for name in sorted(children) for found in below(children[name], [*path, name])
        ]

    return below(ROOT_COMMAND, [])


def parse(words: list[str]) -> None:
    """Parse the words after `refkd` without running anything; a usage error is raised."""
    command, context = ROOT_COMMAND, None
    while children := getattr(command, "commands", None):
        if words == ["--help"]:
            return
        assert words, "names no command"
        assert words[0] in children, f"there is no command {words[0]!r}"
        context = typer.Context(command, info_name=words[0], parent=context)
        command, words = children[words[0]], words[1:]
    if "--help" not in words:
        command.make_context(command.name, list(words), parent=context)
