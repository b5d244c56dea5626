"""The tree of `refkd` commands, a parser that accepts a command line, and what runs one."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from dataclasses import dataclass
from typing import Any

import pytest
import typer
from typer.main import get_command

from tune.cli import app, main

ROOT_COMMAND: Any = get_command(app)
LOOKS: dict[str, list[str]] = {
    "status": [],
    "best": [],
    "bill": [],
    "doctor": [],
    "report": [],
    "replay": [],
    "watch": ["--once"],
    "export": [],
    "ui": ["--print"],
}
"""Commands that only look, with what else they need."""
WRITES: dict[str, list[str]] = {
    "sync": [],
    "doctor": ["--fix"],
    "promote": ["--alias", "mine", "--trial", "0", "--reason", "why"],
    "finalists": [],
    "evaluate": ["--final"],
    "search": [],
    "teach": ["--tune"],
}
"""Commands of one study that change something."""


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


@dataclass(frozen=True)
class Ended:
    """How a command has ended, and what it said."""

    code: object
    out: str
    err: str


def run_refkd(monkeypatch: pytest.MonkeyPatch, *words: object) -> Ended:
    """Run a command in this process as the program does."""
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "argv", ["refkd", *map(str, words)])
    code: object = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code
    return Ended(code, out.getvalue(), err.getvalue())


def is_one_line(ended: Ended, code: int, said: str) -> None:
    """Check that a command has said one thing, with its remedy and without a password."""
    assert ended.code == code, ended
    (line,) = ended.err.splitlines()
    assert re.match(f"refkd: .*(?:{said})", line), line
    assert "; " in line, "names no remedy"
    assert "s3cret" not in ended.err + ended.out
    assert "Traceback" not in ended.err + ended.out
