"""The commands of `refkd`, with their arguments, options and exit codes, are those written down.

They are what a lab's scripts call. After a change that is meant, write them down anew with
`PYTHONPATH=tests python tests/test_cli_surface.py`, and read the difference.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from support.commands import ROOT_COMMAND, command_paths

from tune.cli import main

SURFACE = Path(__file__).with_name("cli_surface.txt")
MISTAKES = {
    ("cluster", "check"): ["nowhere.yaml"],
    ("compare",): ["nowhere.yaml", "elsewhere.yaml"],
    ("data", "extract"): ["--videos", "nowhere", "--model", "nothing", "--out", "f.h5"],
    ("data", "prepare"): [
        *("charades-cd", "--annotations", "nowhere", "--features", "nowhere"),
        *("--words", "nowhere", "--out", "made"),
    ],
    ("data", "simulate"): ["--out", "made", "--config", "nowhere.yaml"],
    ("data", "show"): ["nowhere"],
    ("evaluate",): ["--final", "nowhere.yaml"],
    ("init",): ["nowhere.yaml"],
    ("predict",): ["--model", "nowhere", "--features", "nowhere.npy", "--query", "a door opens"],
    ("promote",): ["nowhere.yaml", *["--alias", "best-ood", "--trial", "1", "--reason", "why"]],
    ("reproduce",): ["table9", "--dataset", "nowhere"],
}
"""Words after a command that it cannot carry out; others are given a study that is not there."""


def surface() -> list[str]:
    """Return a line a parameter, such as `watch --every: float, default 2.0`, and exit codes."""
    lines = []
    for path in command_paths():
        command = ROOT_COMMAND
        for word in path:
            command = command.commands[word]
        name = " ".join(path)
        codes = sorted({0, 2, *map(int, re.findall(r"\bwith\s+(\d+)\b", command.help or ""))})
        lines.append(f"{name}: exits with {', '.join(map(str, codes))}")
        lines += [f"{name} {told(parameter)}" for parameter in command.params]
    return lines


def told(parameter: Any) -> str:
    """Return a parameter's names, type, default, and whether it must be given."""
    names = "/".join(parameter.opts) if parameter.opts[0].startswith("-") else parameter.name
    kind = parameter.type_descriptor.annotation
    said = [
        kind.__name__
        if isinstance(kind, type)
        else "|".join(getattr(one, "__name__", str(one)) for one in get_args(kind))
    ]
    limits = [
        f"{word} {n}" for word, n in (("least", parameter.min), ("most", parameter.max)) if n
    ]
    if parameter.required:
        said.append("required")
    elif parameter.default not in (None, False):
        said.append(f"default {parameter.default}")
    if parameter.multiple or parameter.nargs not in (0, 1):
        said.append("several")
    return f"{names}: {', '.join([*said, *limits])}"


def test_the_command_line_is_the_one_that_is_written_down() -> None:
    assert surface() == SURFACE.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("path", [p for p in command_paths() if p != ["schema"]], ids=" ".join)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    path: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if path == ["init"]:
        (tmp_path / "nowhere.yaml").touch()
    words = MISTAKES.get(tuple(path), ["nowhere.yaml"])
    monkeypatch.setattr(sys, "argv", ["refkd", *path, *words])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    assert end.value.code == 2
    assert said.out == ""
    assert said.err.startswith("refkd: ")
    assert "Traceback" not in said.err
    assert said.err.count("\n") == 1


if __name__ == "__main__":
    SURFACE.write_text("\n".join(surface()) + "\n", encoding="utf-8")
