"""PriMO, as NePS (`neural-pipeline-search`) has it, in a process of an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

from tune.config.space import Dimension

WORKER = Path(__file__).with_name("primo_worker.py")


class Trained(Protocol):
    """What a point reaches after each epoch."""

    def at(self, epoch: int) -> Mapping[str, float]:
        """Return the objectives after an epoch, counted from 1; more is better in each."""
        ...


def search(
    python: Path,
    curve_of: Callable[[Mapping[str, float]], Trained],
    space: Mapping[str, Dimension],
    *,
    epochs: int,
    first_rung: int,
    reduction: int,
    workers: int,
    seed: int,
) -> Generator[tuple[bool, list[float]]]:
    """Yield what each epoch measured, in the order of their ends, and whether it was a last one.

    `python` is the interpreter of the environment that has NePS. Its trainings take turns; one
    that continues another trains only the epochs that are new.
    """
    ranges = {name: (*one.ends, one.log) for name, one in space.items()}
    asked = {"space": ranges, "epochs": epochs, "first_rung": first_rung}
    settings = {**asked, "reduction": reduction, "seed": seed}
    quiet = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [str(python), str(WORKER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=quiet,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            _say(process.stdin, settings)
            yield from _trained(process.stdin, process.stdout, curve_of, epochs, workers)
        finally:
            process.kill()


def _trained(
    out: IO[str],
    answers: IO[str],
    curve_of: Callable[[Mapping[str, float]], Trained],
    epochs: int,
    workers: int,
) -> Iterator[tuple[bool, list[float]]]:
    running: list[tuple[dict[str, Any], Iterator[int]] | None] = [None] * workers
    reached: dict[str, int] = {}
    while True:
        for place, held in enumerate(running):
            if held is None:
                _say(out, None)
                line = answers.readline()
                if not line:
                    raise RuntimeError("NePS ended early; its last words are above")
                trial = json.loads(line)
                if trial is None:
                    continue
                begun = reached.get(trial["continues"], 0)
                held = running[place] = trial, iter(range(begun + 1, trial["epochs"] + 1))
            trial, left = held
            epoch = next(left)
            measured = list(curve_of(trial["values"]).at(epoch).values())
            yield epoch == epochs, measured
            if epoch == trial["epochs"]:
                reached[trial["trial"]] = epoch
                losses = [-value for value in measured]
                _say(out, {"trial": trial["trial"], "losses": losses})
                running[place] = None


def _say(out: IO[str], what: object) -> None:
    print(json.dumps(what), file=out, flush=True)
