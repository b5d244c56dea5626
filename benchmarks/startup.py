"""How soon the command answers."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

import yaml

from benchmarks.measure import timed
from benchmarks.rows import Aim, Row, row
from benchmarks.studies import drive, study_file
from tune.study.search_study import SearchStudy

LIBRARIES = "import numpy, pydantic, yaml, sqlite3, rich.table, typer"
"""What reads, checks and prints a study."""
WHY = """What is left is importing: Typer and click for `--help`, and for `status` what the notes
measure alone."""
COMMAND = "import sys; sys.argv[0] = 'refkd'; from tune.cli import main; main()"


def run(smoke: bool) -> Iterator[Row]:
    """Yield the processor time of a whole process, the interpreter's own start included."""
    trials, repeats = (3, 1) if smoke else (30, 9)
    with tempfile.TemporaryDirectory() as name:
        path = _ended_study(Path(name), trials)
        status = [f"refkd status, {trials} trials", "status", str(path)]
        for (case, *arguments), bound, floor, of in (
            (["refkd --help", "--help"], 0.15, "pass", "the interpreter"),
            (status, 0.5, LIBRARIES, "the import of NumPy, pydantic, PyYAML, Rich and Typer"),
        ):
            _python(COMMAND, *arguments)
            taken, least = [], []
            for _ in range(repeats):
                taken.append(timed(partial(_python, COMMAND, *arguments)))
                least.append(timed(partial(_python, floor)))
            note = f"{of} alone takes {median(least):.3f} s of it"
            aim = Aim(at="<=", bound=bound)
            yield row("startup", case, taken, unit="s", aim=aim, note=note)


def _python(code: str, *arguments: str) -> None:
    """Run Python as an installed command does: without the working directory in its path."""
    root = str(Path(__file__).parents[1])
    subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": root},
    )


def _ended_study(folder: Path, trials: int) -> Path:
    file = study_file(folder, budget={"trials": trials})
    study = SearchStudy(file.search_spec(), f"sqlite:///{file.folder / 'study.db'}")
    study.bind("objectives", file.objectives)
    study.begin_launch()
    drive(study, trials)
    path = folder / "study.yaml"
    settings = file.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path
