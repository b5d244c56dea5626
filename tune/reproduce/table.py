"""A table for people and programs: Markdown, CSV, LaTeX, and the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from refkd.evaluation.comparison import MEANING, Figure
from refkd.evaluation.metrics import LOGGED
from tune.reproduce.experiments import Experiment
from tune.reproduce.scores import SIDES, Claim, Scored

HEADS = {**{f"r1_iou{threshold}": f"R1@{threshold}" for threshold in LOGGED}, "miou": "mIoU"}
PRINTED = tuple((side, metric) for side in SIDES for metric in HEADS)
"""Side and metric of the numbers that the paper prints, in this order."""
CONVENTION = (
    "percent; seconds, truth and prediction clamped to the video, a hit is tIoU >= m, every "
    "annotated pair counts"
)


@dataclass(frozen=True, kw_only=True)
class Result:
    """The numbers of a table or figure, and how they came about."""

    experiment: Experiment
    scored: Scored
    command: str
    """What to type for the same table."""
    dataset: str
    family: str | None
    """Whose printed numbers stand beside ours."""
    scale: str
    seeds: int
    caveats: Mapping[str, str]
    """By row: that it is a reconstruction, or leaks."""
    subset: str | None
    """What part of the published dataset this is; None for all of it."""
    simulated: bool
    """Whether the features were made from the annotations."""
    test_evaluations: Sequence[str]
    """Every evaluation of the test roles so far; empty where validation is shown."""

    @property
    def cells(self) -> list[tuple[str, str]]:
        """Side and metric of each column."""
        return [(side, metric) for side in SIDES for metric in self.experiment.metrics]

    @property
    def heads(self) -> list[str]:
        """What stands above each column."""
        return [f"{side.upper()} {HEADS[metric]}" for side, metric in self.cells]

    def rows(self, cell: Callable[[Figure], str]) -> Iterator[tuple[str, list[str], list[str]]]:
        """Yield each row's name, its cells, and the paper's cells where it has the row."""
        for label, row in self.scored.rows.items():
            paper = printed(self.family, self.experiment.name, label)
            theirs = [f"{paper[key]:.2f}" if key in paper else "–" for key in self.cells]
            ours = [cell(row[side][metric]) for side, metric in self.cells]
            name = f"{label} ({self.caveats[label]})" if label in self.caveats else label
            yield name, ours, theirs if paper else []


def notes(result: Result) -> list[str]:
    """Return the sentences below a table."""
    scored = result.scored
    roles = " and ".join(f"{scored.roles[s]} ({scored.pairs[s]:,} pairs)" for s in SIDES)
    seeds = f"{result.seeds} seeds" if result.seeds > 1 else "1 seed"
    found = [
        f"Made by `{result.command}`; every row's settings: settings.yaml, its runs: runs.jsonl.",
        f"{result.dataset}, scale {result.scale}, {seeds} a row; {roles}; {CONVENTION}.",
        f"Cell: mean ± standard deviation over seeds, and interval. {MEANING} Teachers and "
        "student of a seed belong together.",
    ]
    if result.subset:
        found.append(f"Subset: {result.subset}. The paper's numbers are of the whole dataset.")
    if result.simulated:
        found.append(
            "Simulated: the features were made from the annotations, no video was looked at; only "
            "differences between rows of this table mean anything."
        )
    if result.experiment.kind == "table" and result.family:
        split = "test_id and test_ood"
        found.append(f"paper: as printed there, on {split}, one seed, convention not stated.")
    found += [f"{label}: {caveat}." for label, caveat in result.caveats.items()]
    found += [f"Test roles: {title}." for title in result.test_evaluations]
    floors = "; ".join(f"{s.upper()} {max(scored.floors[s].values()):.2f}" for s in SIDES)
    found.append(f"Best predictor that never sees the video, mIoU: {floors}.")
    found += [_claim(claim) for claim in scored.claims]
    for label, cells in scored.ablations.items():
        parts = [f"{s.upper()} {cells[s]['miou'].text(sign=True)}" for s in SIDES]
        found.append(f"{label} - RefKD (mIoU, paired): {', '.join(parts)}")
    return found


def _claim(claim: Claim) -> str:
    parts = [
        f"{side.upper()} against the {teacher.upper()} teacher "
        f"{cells[side]['miou'].text(sign=True)}"
        for side in SIDES
        for teacher, cells in claim.differences.items()
    ]
    return (
        f'{claim.student}, "at least as good as both teachers on both" (mIoU, paired): '
        f"{claim.verdict}; {'; '.join(parts)}"
    )


def family_of(dataset: str) -> str | None:
    """Return whose numbers belong beside a dataset of this name; None for any other.

    >>> family_of("charades-cd-clip"), family_of("charades-sta")
    ('charades-cd', None)
    """
    known = {"charades-cd": "charades-cd", "activitynet-cd": "activitynet-cd"}
    name = dataset.lower().replace("_", "-").replace("anet-", "activitynet-")
    return next((family for word, family in known.items() if word in name), None)


def printed(family: str | None, table: str, row: str) -> dict[tuple[str, str], float]:
    """Return the paper's cells of a row by side (`id`, `ood`) and metric, those it has."""
    tables = {} if family is None else paper_numbers()[family]
    values = tables.get(table, {}).get(row, [None] * len(PRINTED))
    return {cell: v for cell, v in zip(PRINTED, values, strict=True) if v is not None}


@cache
def paper_numbers() -> dict[str, dict[str, dict[str, list[float | None]]]]:
    """Return what the paper prints, by family, table and row."""
    text = files("tune.reproduce").joinpath("paper.yaml").read_text(encoding="utf-8")
    numbers: dict[str, dict[str, dict[str, list[float | None]]]] = yaml.safe_load(text)
    return numbers
