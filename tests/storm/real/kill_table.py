"""What is killed and when: every target in every phase, or the reason why it makes no sense."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal, get_args

Target = Literal["driver", "group", "worker", "raylet", "gcs_server", "mlflow", "database"]
TARGETS: tuple[Target, ...] = get_args(Target)
Kind = Literal["files", "server", "database"]
"""Where a study and its record lie: in SQLite, with a server of MLflow, or in PostgreSQL."""
KINDS: dict[Target, Kind] = {"mlflow": "server", "database": "database"}
"""Of the targets that are servers; all others are killed where study and record are files."""
MOST = 3
"""How often a target is killed at most, before it is left in peace."""
Begin = Literal["new", "taught", "searched", "finals", "unsent"]
"""What a workspace holds as a phase begins, each made from the one before."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A part of a command: from the call of one function to that of another."""

    name: str
    command: tuple[str, ...]
    """Words after `refkd`; `STUDY` stands for the study file, `TRACKING` for the record's URI."""
    start: Begin
    begins: str | None = None
    """The function, such as `module:Class.method`; None where it begins with the process."""
    ends: str | None = None
    """None where it ends with the process."""
    without: tuple[tuple[Target, str], ...] = ()
    """What cannot be killed in it, with the reasons."""
    grown: bool = False
    """Whether the study file allows more than what the workspace was made with."""


_RAY: tuple[Target, ...] = ("worker", "raylet", "gcs_server")
_NO_RAY = tuple((target, "it starts no Ray") for target in _RAY)
_NO_STUDY: tuple[tuple[Target, str], ...] = (("database", "it opens no study"),)
_NO_RECORD: tuple[tuple[Target, str], ...] = (("mlflow", "it speaks to no tracking server"),)
_SEARCH = ("search", "STUDY")
_TEACHERS, _STUDENTS = "tune.launch:train_missing", "tune.launch:_Launch._train_students"

PHASES = {
    phase.name: phase
    for phase in (
        Phase(
            name="first start",
            command=_SEARCH,
            start="new",
            ends=_TEACHERS,
            without=(("worker", "none is at work before the teachers are trained"),),
        ),
        Phase(name="teachers", command=_SEARCH, start="new", begins=_TEACHERS, ends=_STUDENTS),
        Phase(name="students", command=_SEARCH, start="taught", begins=_STUDENTS),
        Phase(name="growth", command=_SEARCH, start="searched", begins=_STUDENTS, grown=True),
        Phase(
            name="finalists",
            command=("finalists", "--top", "1", "--seeds", "2", "STUDY"),
            start="searched",
            begins="tune.results.finalists:_Finals.run",
        ),
        Phase(
            name="look",
            command=("evaluate", "--final", "STUDY"),
            start="finals",
            begins="tune.results.sealed_scores:evaluate_final",
            without=(*_NO_RAY, *_NO_RECORD),
        ),
        Phase(
            name="promote",
            command=(
                *("promote", "--alias", "chosen", "--trial", "0", "--reason", "a storm"),
                "STUDY",
            ),
            start="finals",
            begins="tune.results.promote:promote",
            without=_NO_RAY,
        ),
        Phase(
            name="sync",
            command=("sync", "STUDY"),
            start="unsent",
            begins="tune.tracking.sync:sync",
            without=_NO_RAY,
        ),
        Phase(
            name="report",
            command=("report", "STUDY"),
            start="finals",
            begins="tune.report.make:report",
            without=_NO_RAY,
        ),
        Phase(
            name="reproduce",
            command=(
                *("reproduce", "table5", "--dataset", "dataset", "--scale", "smoke"),
                *("--seeds", "1", "--epochs", "2", "--tracking", "TRACKING"),
            ),
            start="new",
            begins="tune.reproduce.reproduce:reproduce",
            without=_NO_STUDY,
        ),
        Phase(
            name="prepare",
            command=(
                *("data", "prepare", "charades-cd", "--annotations", "published"),
                *("--features", "features", "--words", "words.txt", "--out", "made/prepared"),
                *("--missing-features", "skip"),
            ),
            start="new",
            begins="refkd.data.prepare:prepare",
            without=(*_NO_RAY, *_NO_STUDY, *_NO_RECORD),
        ),
        Phase(
            name="simulate",
            command=("data", "simulate", "--videos", "60", "--out", "made/simulated"),
            start="new",
            begins="refkd.data.simulate:simulate",
            without=(*_NO_RAY, *_NO_STUDY, *_NO_RECORD),
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class Kills:
    """Kills of one target in one phase, drawn from a seed: each in the run that goes on."""

    seed: int
    phase: Phase
    target: Target
    moments: tuple[float, ...]
    """After which share of the phase's length each comes."""
    early: bool
    """Whether a server that was killed comes back while the command is at work."""

    @property
    def kind(self) -> Kind:
        return KINDS.get(self.target, "files")

    def __str__(self) -> str:
        moments = ", ".join(f"{moment:.3f}" for moment in self.moments)
        return f"seed {self.seed}: {self.target} in {self.phase.name} at {moments}"


CELLS = [
    (name, target)
    for name, phase in PHASES.items()
    for target in TARGETS
    if target not in dict(phase.without)
]
"""What can be killed in what."""


def draw(seed: int) -> Kills:
    """Return the kills of a seed: as many seeds in a row as there are cells hit each of them."""
    turn = random.Random(f"cells {seed // len(CELLS)}").sample(CELLS, len(CELLS))
    return kill_in(*turn[seed % len(CELLS)], seed)


def kill_in(phase: str, target: Target, seed: int, *, most: int = MOST) -> Kills:
    """Return the kills of a target in a phase at the moments of a seed."""
    chance = random.Random(f"kill {phase} {target} {seed}")
    return Kills(
        seed=seed,
        phase=PHASES[phase],
        target=target,
        moments=tuple(chance.random() for _ in range(chance.randint(1, most))),
        early=chance.random() < 0.5,
    )


def shown() -> str:
    """Return the table as text: a line a phase, then what is left out and why."""
    lines = [f"{len(CELLS)} of {len(PHASES) * len(TARGETS)} can be killed:"]
    for name, phase in PHASES.items():
        left = dict(phase.without)
        lines.append(f"  {name}: {', '.join(t for t in TARGETS if t not in left)}")
        lines += [f"    not {target}: {reason}" for target, reason in phase.without]
    return "\n".join(lines)
