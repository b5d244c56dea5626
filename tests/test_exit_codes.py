"""Exit codes mean the same for every command, and are those of the table for people."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
from support.commands import ROOT_COMMAND, command_paths
from support.project import ROOT, project_files

from refkd.errors import DataError, RefKDError
from tune import cli
from tune.ending.exits import ClusterLostError, ExitCode, NoneCompleteError, UnfinishedError
from tune.execution.jobs import InterruptedSearchError

ENDS: list[tuple[BaseException, ExitCode]] = [
    (RefKDError("field: value; remedy"), ExitCode.MISTAKE),
    (DataError("file: fault; remedy"), ExitCode.MISTAKE),
    (UnfinishedError("2 trials left; free some space"), ExitCode.LEFT),
    (NoneCompleteError("no trial completed"), ExitCode.NONE_COMPLETE),
    (ClusterLostError("Ray died; run the same command again"), ExitCode.RUN_AGAIN),
    (InterruptedSearchError("stopped; run the same command again"), ExitCode.INTERRUPTED),
    (KeyboardInterrupt(), ExitCode.INTERRUPTED),
    (ZeroDivisionError("nobody thought of this"), ExitCode.FAULT),
    (OSError(22, "nobody thought of this"), ExitCode.FAULT),
    (OSError(28, "No space left on device"), ExitCode.LEFT),
]
OF_EVERY_COMMAND = {ExitCode.DONE, ExitCode.MISTAKE, ExitCode.LEFT, ExitCode.FAULT} | {
    code for code in ExitCode if code > 128
}


def documented() -> dict[int, set[str]]:
    """Return the commands of each code in the table of `docs/search.md`."""
    section = (ROOT / "docs/search.md").read_text(encoding="utf-8").split("## Exit codes\n")[1]
    rows = re.findall(r"^\| (\d[\d, ]*) \| .+? \| (.+?) \|$", section.split("\n## ")[0], re.M)
    every = {" ".join(path) for path in command_paths()}
    return {
        int(code): every if commands == "every command" else set(re.findall("`(.+?)`", commands))
        for codes, commands in rows
        for code in codes.split(", ")
    }


def help_of(path: list[str]) -> str:
    command = ROOT_COMMAND
    for word in path:
        command = command.commands[word]
    return " ".join((command.help or "").split())


def test_the_table_for_people_has_every_code() -> None:
    assert sorted(documented()) == sorted(ExitCode)


@pytest.mark.parametrize("path", command_paths(), ids=" ".join)
def test_a_commands_help_and_the_table_name_the_same_codes(path: list[str]) -> None:
    told = {int(code) for code in re.findall(r"\bwith (\d+)\b", help_of(path))}
    listed = {code for code, commands in documented().items() if " ".join(path) in commands}
    assert told | OF_EVERY_COMMAND == listed | ({ExitCode.DONE} & told)


def infos(app: Any, path: list[str]) -> Any:
    """Return what typer knows of a command."""
    groups = {group.name: group.typer_instance for group in app.registered_groups}
    if len(path) > 1:
        return infos(groups[path[0]], path[1:])
    names = {(one.name or one.callback.__name__): one for one in app.registered_commands}
    return names[path[0]]


@pytest.mark.parametrize(("error", "code"), ENDS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("path", command_paths(), ids=" ".join)
def test_every_command_ends_with_the_code_of_its_error(
    path: list[str],
    error: BaseException,
    code: ExitCode,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(infos(cli.app, path), "callback", raising(error, path[-1]))
    monkeypatch.setattr(sys, "argv", ["refkd", *path])
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr()
    assert end.value.code == code
    assert said.out == ""
    assert ("Traceback" in said.err) is (code == ExitCode.FAULT)
    if isinstance(error, RefKDError):
        assert said.err == f"refkd: {error}\n"


def raising(error: BaseException, name: str) -> Callable[[], None]:
    """Return a command that raises; typer names it by its function."""

    def command() -> None:
        raise error

    command.__name__ = name
    return command


def test_no_exit_code_is_written_as_a_number() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in project_files(".py")
        if (ROOT / "tune") in path.parents
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) in ("exit", "Exit", "_exit")
        if any(isinstance(word, ast.Constant | ast.BinOp) for word in node.args)
    ]
    assert found == [], "name it in tune/ending/exits.py"
