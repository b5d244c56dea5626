"""The `refkd` command explains itself, and quickly."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

import pytest
from support.commands import command_paths, parse
from support.project import ROOT
from typer.testing import CliRunner

from tune.cli import app

PLATFORM = {"torch", "ray", "mlflow", "optuna", "pandas", "scipy", "pyarrow", "sqlalchemy"}
HEAVY = PLATFORM | {"numpy", "rich", "yaml"}
HELP = """
import json, sys
from tune.cli import main
for path in json.loads(sys.argv[1]):
    sys.argv = ["refkd", *path, "--help"]
    try:
        main()
    except SystemExit as end:
        assert not end.code, path
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})), file=sys.stderr)
"""


def test_help_loads_nothing_heavy() -> None:
    paths = json.dumps([[], *command_paths()])
    done = subprocess.run(
        [sys.executable, "-c", HELP, paths], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert "tune" in loaded
    assert loaded & HEAVY == set()


def test_looking_at_a_study_loads_nothing_that_trains() -> None:
    modules = "tune.study.locate, tune.study.search_study, tune.display.study"
    code = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) & {"torch", "ray", "mlflow", "pandas", "pyarrow"} == set()


@pytest.mark.parametrize("path", command_paths(), ids=" ".join)
def test_every_command_has_an_example_that_it_accepts(path: list[str]) -> None:
    shown = CliRunner().invoke(app, [*path, "--help"], terminal_width=300)
    assert shown.exit_code == 0, shown.output
    assert "Example" in shown.output
    examples = re.findall(r"\b(refkd [^`│\n]+)", shown.output.split("Example", 1)[1])
    own = [words for words in map(split, examples) if words[1 : len(path) + 1] == path]
    assert own, f"no example of `refkd {' '.join(path)}` itself"
    for words in own:
        parse(words[1:])


def test_a_mistake_is_one_line_and_exit_code_2() -> None:
    command = [sys.executable, "-c", "from tune.cli import main; main()", "status", "nowhere.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert " ".join(done.stderr.split()).startswith("refkd: nowhere.yaml: no such file")


def split(example: str) -> list[str]:
    """Return the words of an example up to its first pipe or redirection."""
    return shlex.split(re.split(r"\s[|>&]", example)[0], comments=True)


def test_version_names_what_a_bug_report_needs() -> None:
    told = CliRunner().invoke(app, ["--version"])
    assert told.exit_code == 0
    for name in ("refkd", "torch", "ray", "optuna", "mlflow"):
        assert re.search(rf"\b{name} \d+\.\d+", told.output)
